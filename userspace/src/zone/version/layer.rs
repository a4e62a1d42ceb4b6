//! What changed since the flat zone: owners in canonical order, in leaves that versions share.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::zone::arrays::{Arrays, Owner};
use crate::zone::difference::ChangedRrset;
use crate::zone::error::ZoneError;
use crate::zone::name::canonical_order;
use crate::zone::writer::Draft;

/// Owners of a leaf at most; few in unit tests, so that small zones have many leaves. A change writes its leaf anew, some ten microseconds for as many signed names, and a
/// pointer to each leaf: some hundred pointers for ten thousand owners.
const LEAF_OWNERS: usize = if cfg!(test) { 4 } else { 128 };

/// Octets of a leaf beside its arrays: what says where they are, two counters, a pointer to it in each version, and
/// about what the allocator takes for four pieces of memory.
const LEAF_OCTETS: usize = size_of::<Arrays>() + 5 * size_of::<usize>() + 4 * 16;

/// Owners in canonical order. One without RRsets says that a name of the flat zone is no owner here. A clone, and
/// what is made by a few edits, share leaves.
#[derive(Clone, Default)]
pub(super) struct Layer {
    /// None of them is empty.
    leaves: Arc<[Arc<Arrays>]>,
    octets: usize,
}

/// What becomes of one owner in a layer.
pub(super) struct Edit<'a> {
    pub name: &'a [u8],
    /// The RRsets that it has there, perhaps none; `None` if the layer says nothing of it.
    pub content: Option<&'a [ChangedRrset<'a>]>,
}

/// Where an owner stands, or would stand. Behind the last one: the number of leaves, and 0.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    leaf: usize,
    slot: usize,
}

impl Layer {
    /// Octets of memory that it takes.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Whether the two are one layer in the same memory, or both say nothing.
    pub fn is_same(&self, other: &Layer) -> bool {
        Arc::ptr_eq(&self.leaves, &other.leaves) || self.is_empty() && other.is_empty()
    }

    /// What the layer says of a name.
    pub fn find(&self, name: &[u8]) -> Option<Owner<'_>> {
        let leaf = self.leaves.get(self.leaf_of(name))?;
        Some(leaf.owner(leaf.search(name).ok()?))
    }

    /// All owners.
    pub fn owners(&self) -> Owners<'_> {
        let (front, back) = (Place { leaf: 0, slot: 0 }, self.end());
        Owners { leaves: &self.leaves, front, back }
    }

    /// Those before a name, and those at and after it.
    pub fn split(&self, name: &[u8]) -> [Owners<'_>; 2] {
        let all = self.owners();
        let at = self.place(name);
        [Owners { back: at, ..all.clone() }, Owners { front: at, ..all }]
    }

    fn end(&self) -> Place {
        Place { leaf: self.leaves.len(), slot: 0 }
    }

    fn place(&self, name: &[u8]) -> Place {
        let at = self.leaf_of(name);
        let Some(leaf) = self.leaves.get(at) else { return self.end() };
        match leaf.search(name).unwrap_or_else(|slot| slot) {
            slot if slot == leaf.len() => Place { leaf: at + 1, slot: 0 },
            slot => Place { leaf: at, slot },
        }
    }

    /// The leaf in which a name is or would be.
    fn leaf_of(&self, name: &[u8]) -> usize {
        let is_at_or_before =
            |leaf: &Arc<Arrays>| canonical_order(leaf.owner(0).name(), name).is_le();
        self.leaves.partition_point(is_at_or_before).saturating_sub(1)
    }

    /// The layer with these edits, which come in canonical order. Leaves without an edit are shared.
    pub fn edited(&self, edits: &[Edit<'_>]) -> Result<Layer, ZoneError> {
        if edits.is_empty() {
            return Ok(self.clone());
        }
        let mut next = Growing { leaves: Vec::new(), octets: self.octets };
        next.leaves.reserve(self.leaves.len() + edits.len() / LEAF_OWNERS + 2);
        let (mut taken, mut rest) = (0, edits);
        while let Some(first) = rest.first() {
            let at = self.leaf_of(first.name);
            next.share(&self.leaves[taken..at])?;
            let end = self.leaves.get(at + 1).map_or(rest.len(), |after| {
                let after = after.owner(0).name();
                rest.partition_point(|edit| canonical_order(edit.name, after).is_lt())
            });
            let (here, after) = rest.split_at(end);
            let empty = Arrays::default();
            let leaf = self.leaves.get(at).map_or(&empty, |leaf| leaf);
            next.octets -= self.leaves.get(at).map_or(0, |leaf| octets_of(leaf));
            next.rewrite(leaf, here)?;
            (taken, rest) = ((at + 1).min(self.leaves.len()), after);
        }
        next.share(&self.leaves[taken..])?;
        Ok(Layer { leaves: next.leaves.into(), octets: next.octets })
    }

    /// The owners of leaves that two layers do not share: those of the one, and those of the other. Where both share
    /// leaves nothing is read.
    pub fn unshared<'a>(&'a self, other: &'a Layer) -> [Vec<Owner<'a>>; 2] {
        let mut owners = [Vec::new(), Vec::new()];
        let all = |leaf: &'a Arrays| (0..leaf.len()).map(|slot| leaf.owner(slot));
        let [mut ours, mut theirs] = [&self.leaves[..], &other.leaves[..]];
        loop {
            // Leaves that are shared have one order in both layers: what comes first of two others is in one alone.
            let order = match (ours.first(), theirs.first()) {
                (None, None) => return owners,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(our), Some(their)) if Arc::ptr_eq(our, their) => {
                    (ours, theirs) = (&ours[1..], &theirs[1..]);
                    continue;
                }
                (Some(our), Some(their)) => {
                    canonical_order(our.owner(0).name(), their.owner(0).name())
                }
            };
            if order.is_le()
                && let Some((leaf, rest)) = ours.split_first()
            {
                owners[0].extend(all(leaf));
                ours = rest;
            }
            if order.is_ge()
                && let Some((leaf, rest)) = theirs.split_first()
            {
                owners[1].extend(all(leaf));
                theirs = rest;
            }
        }
    }
}

#[cfg(test)]
impl Layer {
    /// Checks what holds between calls.
    pub fn assert_sound(&self) {
        assert!(self.leaves.iter().all(|leaf| (1..=LEAF_OWNERS).contains(&leaf.len())));
        assert_eq!(self.octets, self.leaves.iter().map(|leaf| octets_of(leaf)).sum::<usize>());
        assert!(self.owners().is_sorted_by(|a, b| canonical_order(a.name(), b.name()).is_lt()));
        let are_small = |pair: &[Arc<Arrays>]| are_small(&pair[0], &pair[1]);
        let small = self.leaves.windows(2).filter(|pair| are_small(pair)).count();
        // A leaf that becomes small is joined with the ones beside it.
        assert_eq!(small, 0, "of {}", self.leaves.len());
    }

    /// How many leaves another layer does not have.
    pub fn unshared_leaves(&self, other: &Layer) -> usize {
        let is_in = |leaf: &Arc<Arrays>| other.leaves.iter().any(|one| Arc::ptr_eq(leaf, one));
        self.leaves.iter().filter(|leaf| !is_in(leaf)).count()
    }
}

fn octets_of(leaf: &Arrays) -> usize {
    leaf.octets() + LEAF_OCTETS
}

/// A layer while it is made.
struct Growing {
    leaves: Vec<Arc<Arrays>>,
    octets: usize,
}

impl Growing {
    /// Adds leaves as they are; the first one is joined with what came before it, if both are small.
    fn share(&mut self, leaves: &[Arc<Arrays>]) -> Result<(), ZoneError> {
        let Some((first, rest)) = leaves.split_first() else { return Ok(()) };
        if self.leaves.last().is_some_and(|last| are_small(last, first)) {
            self.octets -= octets_of(first);
            self.push(first)?;
        } else {
            self.leaves.push(first.clone());
        }
        self.leaves.extend_from_slice(rest);
        Ok(())
    }

    /// Adds what edits make of a leaf: leaves that are about as large as each other.
    fn rewrite(&mut self, leaf: &Arrays, edits: &[Edit<'_>]) -> Result<(), ZoneError> {
        let steps = steps(leaf, edits);
        let owners: usize = steps.iter().map(Step::owners).sum();
        let per_leaf = owners.div_ceil(owners.div_ceil(LEAF_OWNERS).max(1));
        let mut draft = Draft::default();
        for step in steps {
            match step {
                Step::Keep(from, to) => {
                    let mut from = from;
                    while from < to {
                        let end = to.min(from + per_leaf - draft.len());
                        draft.copy(leaf, from..end)?;
                        from = end;
                        self.push_full(&mut draft, per_leaf)?;
                    }
                }
                Step::Put(name, rrsets) => {
                    draft.owner(name)?;
                    for rrset in rrsets {
                        draft.rrset(rrset.rtype, rrset.ttl, rrset.rdatas.iter().copied())?;
                    }
                    self.push_full(&mut draft, per_leaf)?;
                }
            }
        }
        self.push_full(&mut draft, 1)
    }

    /// Adds a leaf of what was drafted, if it is of so many owners.
    fn push_full(&mut self, draft: &mut Draft, owners: usize) -> Result<(), ZoneError> {
        if draft.len() < owners {
            return Ok(());
        }
        self.push(&std::mem::take(draft).finish())
    }

    /// Adds a leaf; two small ones that follow each other become one.
    fn push(&mut self, leaf: &Arrays) -> Result<(), ZoneError> {
        let leaf = match self.leaves.pop_if(|last| are_small(last, leaf)) {
            Some(last) => {
                self.octets -= octets_of(&last);
                let mut joined = Draft::default();
                joined.copy(&last, 0..last.len())?;
                joined.copy(leaf, 0..leaf.len())?;
                joined.finish()
            }
            None => leaf.clone(),
        };
        self.octets += octets_of(&leaf);
        self.leaves.push(Arc::new(leaf));
        Ok(())
    }
}

fn are_small(one: &Arrays, other: &Arrays) -> bool {
    one.len() + other.len() <= LEAF_OWNERS / 2
}

/// What a leaf is written anew from.
enum Step<'a> {
    /// Owners of the leaf before, from one place to another.
    Keep(usize, usize),
    /// A name and its RRsets.
    Put(&'a [u8], &'a [ChangedRrset<'a>]),
}

impl Step<'_> {
    fn owners(&self) -> usize {
        match self {
            Step::Keep(from, to) => to - from,
            Step::Put(..) => 1,
        }
    }
}

fn steps<'a>(leaf: &Arrays, edits: &'a [Edit<'a>]) -> Vec<Step<'a>> {
    let (mut steps, mut at) = (Vec::with_capacity(2 * edits.len() + 1), 0);
    for edit in edits {
        let (found, after) = match leaf.search(edit.name) {
            Ok(slot) => (slot, slot + 1),
            Err(slot) => (slot, slot),
        };
        if at < found {
            steps.push(Step::Keep(at, found));
        }
        steps.extend(edit.content.map(|rrsets| Step::Put(edit.name, rrsets)));
        at = after;
    }
    if at < leaf.len() {
        steps.push(Step::Keep(at, leaf.len()));
    }
    steps
}

/// Owners of a layer that stand next to each other, from both ends.
#[derive(Clone)]
pub(super) struct Owners<'a> {
    leaves: &'a [Arc<Arrays>],
    front: Place,
    back: Place,
}

impl<'a> Iterator for Owners<'a> {
    type Item = Owner<'a>;

    fn next(&mut self) -> Option<Owner<'a>> {
        if self.front == self.back {
            return None;
        }
        let Place { leaf, slot } = self.front;
        let arrays = &self.leaves[leaf];
        self.front = match slot + 1 {
            slot if slot == arrays.len() => Place { leaf: leaf + 1, slot: 0 },
            slot => Place { leaf, slot },
        };
        Some(arrays.owner(slot))
    }
}

impl DoubleEndedIterator for Owners<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front == self.back {
            return None;
        }
        self.back = match self.back {
            Place { leaf, slot: 0 } => {
                Place { leaf: leaf - 1, slot: self.leaves[leaf - 1].len() - 1 }
            }
            Place { leaf, slot } => Place { leaf, slot: slot - 1 },
        };
        Some(self.leaves[self.back.leaf].owner(self.back.slot))
    }
}
