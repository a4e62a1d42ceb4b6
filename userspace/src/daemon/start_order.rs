//! In which order zones are loaded first: none before those below its apex.
//!
//! What a zone says of names below another zone's apex must not be heard while that other zone is only on its way. Beside
//! that, small zones come before large ones: the deadlines of their work say so.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use crate::zone::Name;

/// Zones that were not tried yet.
#[derive(Default)]
pub struct StartOrder {
    /// In canonical order, in which names come directly before those below them.
    awaited: BTreeSet<Name>,
    /// Those of them that could have their turn but for others.
    held: BTreeSet<Name>,
}

impl StartOrder {
    /// A zone that is to be loaded.
    pub fn add(&mut self, name: Name) {
        self.awaited.insert(name);
    }

    /// Whether every zone has been tried.
    pub fn is_done(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Whether a zone may be loaded. If not, [`StartOrder::done`] tells when.
    pub fn may_begin(&mut self, name: &Name) -> bool {
        let is_free = self.is_free(name);
        if !is_free {
            self.held.insert(name.clone());
        }
        is_free
    }

    /// A zone has been tried, or there is no such zone any more: the one that may be loaded now, if there is one.
    pub fn done(&mut self, name: &Name) -> Option<Name> {
        self.awaited.remove(name);
        self.held.remove(name);
        let mut above = name.parent();
        while let Some(other) = above {
            if self.awaited.contains(&other) {
                // Those further up wait for this one.
                let is_free = self.held.contains(&other) && self.is_free(&other);
                return is_free.then(|| {
                    self.held.remove(&other);
                    other
                });
            }
            above = other.parent();
        }
        None
    }

    fn is_free(&self, name: &Name) -> bool {
        let next = self.awaited.range::<Name, _>((Excluded(name), Unbounded)).next();
        next.is_none_or(|next| !next.is_at_or_below(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order in which seven zones, some below others, may be tried and become ready.
    #[test]
    fn no_zone_is_loaded_before_one_below_it_and_each_is_loaded() {
        let names = [".", "org", "a.org", "b.a.org", "c.b.a.org", "b.org", "com"]
            .map(|name| name.parse::<Name>().unwrap());
        for mut choice in 0..5040u32 {
            let mut order = StartOrder::default();
            names.iter().for_each(|name| order.add(name.clone()));
            let mut ready: Vec<&Name> = names.iter().filter(|name| order.may_begin(name)).collect();
            let mut loaded: Vec<Name> = Vec::new();
            while !ready.is_empty() {
                let place = choice as usize % ready.len();
                choice /= ready.len() as u32;
                let name = ready.swap_remove(place);
                assert!(!loaded.iter().any(|other| name.is_at_or_below(other)), "{loaded:?}");
                loaded.push(name.clone());
                let freed = order.done(name);
                ready.extend(names.iter().filter(|name| freed.as_ref() == Some(*name)));
            }
            assert_eq!(loaded.len(), names.len());
            assert!(order.is_done());
        }
    }

    #[test]
    fn a_zone_that_goes_lets_those_above_it_go_on() {
        let [org, a] = ["org", "a.org"].map(|name| name.parse::<Name>().unwrap());
        let mut order = StartOrder::default();
        [&org, &a].into_iter().for_each(|name| order.add(name.clone()));
        assert!(!order.may_begin(&org) && order.may_begin(&a));
        assert_eq!(order.done(&a), Some(org.clone()));
        assert!(order.may_begin(&org) && order.done(&org).is_none() && order.is_done());
    }
}
