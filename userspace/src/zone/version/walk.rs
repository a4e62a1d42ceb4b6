//! Two sequences of owners as one, from both ends.

use std::cmp::Ordering;

use crate::zone::arrays::Owner;
use crate::zone::name::canonical_order;

/// Owners of `below` and `above` in canonical order; of a name that both have, that of `above`.
#[derive(Clone)]
pub(super) struct Overlaid<B, A> {
    pub below: B,
    pub above: A,
}

impl<'a, B, A> Iterator for Overlaid<B, A>
where
    B: Iterator<Item = Owner<'a>> + Clone,
    A: Iterator<Item = Owner<'a>> + Clone,
{
    type Item = Owner<'a>;

    fn next(&mut self) -> Option<Owner<'a>> {
        // A step does no more than to count: it is taken again once it is clear on which side.
        match order(self.below.clone().next(), self.above.clone().next()) {
            Ordering::Less => self.below.next(),
            Ordering::Greater => self.above.next(),
            Ordering::Equal => {
                self.below.next();
                self.above.next()
            }
        }
    }
}

impl<'a, B, A> DoubleEndedIterator for Overlaid<B, A>
where
    B: DoubleEndedIterator<Item = Owner<'a>> + Clone,
    A: DoubleEndedIterator<Item = Owner<'a>> + Clone,
{
    fn next_back(&mut self) -> Option<Owner<'a>> {
        let (below, above) = (self.below.clone().next_back(), self.above.clone().next_back());
        match (below, above) {
            (Some(_), None) => self.below.next_back(),
            (None, _) => self.above.next_back(),
            (Some(_), Some(_)) => match order(below, above) {
                Ordering::Greater => self.below.next_back(),
                Ordering::Less => self.above.next_back(),
                Ordering::Equal => {
                    self.below.next_back();
                    self.above.next_back()
                }
            },
        }
    }
}

/// Which of two owners comes first: any before none.
fn order(below: Option<Owner<'_>>, above: Option<Owner<'_>>) -> Ordering {
    match (below, above) {
        (Some(below), Some(above)) => canonical_order(below.name(), above.name()),
        (Some(_), None) => Ordering::Less,
        (None, _) => Ordering::Greater,
    }
}
