//! A list in order that changes at the cost of a small part of it: what is kept of a zone of a million names must not be
//! moved because one name changes.

use std::cmp::Ordering;

/// The most elements of a run. A change moves half of a run at the most, 2 KiB of addresses, and where a run is divided a
/// pointer to each run: 50 KiB for a million elements.
const MAX_RUN: usize = if cfg!(test) { 4 } else { 512 };

/// Elements in an order that is the caller's.
#[derive(Clone)]
pub struct SortedList<T> {
    /// None of them is empty.
    runs: Vec<Vec<T>>,
    len: usize,
}

/// The elements of a [`SortedList`] in order.
pub type Elements<'a, T> = std::iter::Flatten<std::slice::Iter<'a, Vec<T>>>;

/// Where an element stands in a [`SortedList`], until that changes. Of what is not there it is where it would stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    run: usize,
    at: usize,
}

impl<T> Default for SortedList<T> {
    fn default() -> SortedList<T> {
        SortedList { runs: Vec::new(), len: 0 }
    }
}

impl<T: Copy> SortedList<T> {
    /// The list of elements that are in order already.
    pub fn of(sorted: &[T]) -> SortedList<T> {
        let runs = sorted.chunks(MAX_RUN).map(<[T]>::to_vec).collect();
        SortedList { runs, len: sorted.len() }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All elements in order.
    pub fn iter(&self) -> Elements<'_, T> {
        self.runs.iter().flatten()
    }

    /// Finds the element of which `order` says that it is equal to what is sought; `order` says of any element where it
    /// stands. An error is where it would be.
    pub fn search(&self, order: impl Fn(&T) -> Ordering) -> Result<Place, Place> {
        let is_at_or_before = |run: &Vec<T>| run.first().is_some_and(|first| order(first).is_le());
        let run = self.runs.partition_point(is_at_or_before).saturating_sub(1);
        let Some(elements) = self.runs.get(run) else { return Err(Place { run, at: 0 }) };
        let found = elements.binary_search_by(order);
        found.map(|at| Place { run, at }).map_err(|at| Place { run, at })
    }

    /// Puts another element in the place of one that stands where it would.
    ///
    /// # Panics
    /// If none is there.
    pub fn replace(&mut self, place: Place, element: T) {
        self.runs[place.run][place.at] = element;
    }

    /// Adds an element where it would stand.
    pub fn insert(&mut self, Place { run, at }: Place, element: T) {
        self.len += 1;
        let Some(elements) = self.runs.get_mut(run) else {
            self.runs.push(vec![element]);
            return;
        };
        elements.insert(at, element);
        if elements.len() > MAX_RUN {
            let behind = elements.split_off(elements.len() / 2);
            elements.shrink_to_fit();
            self.runs.insert(run + 1, behind);
        }
    }

    /// Takes an element out.
    ///
    /// # Panics
    /// If none is there.
    pub fn remove(&mut self, Place { run, at }: Place) -> T {
        let elements = &mut self.runs[run];
        let element = elements.remove(at);
        self.len -= 1;
        if elements.is_empty() {
            self.runs.remove(run);
        } else if elements.len() < MAX_RUN / 4
            && self.runs.get(run + 1).is_some_and(|next| next.len() <= MAX_RUN / 4)
        {
            let next = self.runs.remove(run + 1);
            self.runs[run].extend(next);
        }
        element
    }

    /// The elements at and behind a place.
    pub fn from(&self, place: Place) -> impl DoubleEndedIterator<Item = &T> + Clone {
        let (here, behind) = match self.runs.get(place.run..) {
            Some([here, behind @ ..]) => (&here[place.at..], behind),
            _ => (&[][..], &[][..]),
        };
        here.iter().chain(behind.iter().flatten())
    }

    /// The elements before a place, the nearest first.
    pub fn before(&self, place: Place) -> impl Iterator<Item = &T> + Clone {
        let here = self.runs.get(place.run).map_or(&[][..], |run| &run[..place.at]);
        here.iter()
            .rev()
            .chain(self.runs[..place.run].iter().rev().flat_map(|run| run.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is added and taken out, it is the list that a plain one would be.
        #[test]
        fn it_is_as_a_plain_list(
            start in proptest::collection::btree_set(0u8..60, 0..40),
            steps in proptest::collection::vec((any::<bool>(), 0u8..60), 0..120),
        ) {
            let mut plain: Vec<u8> = start.into_iter().collect();
            let mut list = SortedList::of(&plain);
            for (is_added, element) in steps {
                let found = list.search(|one| one.cmp(&element));
                let expected = plain.binary_search(&element);
                prop_assert_eq!(found.is_ok(), expected.is_ok());
                let (place, at) = (found.unwrap_or_else(|at| at), expected.unwrap_or_else(|at| at));
                if found.is_ok() {
                    prop_assert_eq!(list.from(place).next(), Some(&element));
                }
                prop_assert!(list.from(place).eq(&plain[at..]));
                prop_assert!(list.before(place).eq(plain[..at].iter().rev()));
                match (is_added, found) {
                    (true, Err(place)) => {
                        list.insert(place, element);
                        plain.insert(at, element);
                    }
                    (true, Ok(place)) => list.replace(place, element),
                    (false, Ok(place)) => {
                        prop_assert_eq!(list.remove(place), element);
                        plain.remove(at);
                    }
                    (false, Err(_)) => {}
                }
                prop_assert_eq!(list.len(), plain.len());
                prop_assert!(list.iter().eq(&plain));
                prop_assert!(list.runs.iter().all(|run| (1..=MAX_RUN).contains(&run.len())));
            }
        }
    }
}
