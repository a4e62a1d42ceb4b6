//! The difference of two versions.

use std::cell::Cell;
use std::cmp::Ordering;

use itertools::{EitherOrBoth, Itertools as _};

use super::Version;
use crate::zone::arrays::Owner;
use crate::zone::difference::{Difference, OwnerPair, Size};
use crate::zone::name::canonical_order;
use crate::zone::rtype::Rtype;
use crate::zone::serial::Serial;

impl Difference {
    /// The difference of two versions of one zone. Of versions with one flat zone, only those leaves are walked over
    /// that they do not share.
    ///
    /// # Panics
    /// As [`Difference::between`] does.
    pub fn between_versions(old: &Version, new: &Version) -> Difference {
        assert_eq!(old.apex(), new.apex(), "two zones have no difference");
        Difference::of_pairs(old.apex(), serials(old, new), pairs(old, new), &|_, _| true)
    }

    /// The same of those types alone that `is_meant` says of an owner; `None` if it has more than `most` records, which
    /// is known as soon as there are as many: of all records of a zone it would take more memory than the zone.
    ///
    /// # Panics
    /// As [`Difference::between`] does.
    pub fn between_at_most(
        old: &Version,
        new: &Version,
        most: usize,
        is_meant: &dyn Fn(&[u8], Rtype) -> bool,
    ) -> Option<Difference> {
        assert_eq!(old.apex(), new.apex(), "two zones have no difference");
        let found = Cell::new(0);
        let is_counted = |owner: &[u8], rtype| {
            let is_meant = is_meant(owner, rtype);
            found.set(found.get() + usize::from(is_meant));
            is_meant
        };
        let owners = pairs(old, new).take_while(|_| found.get() <= most);
        let difference = Difference::of_pairs(old.apex(), serials(old, new), owners, &is_counted);
        (found.get() <= most).then_some(difference)
    }

    /// The difference of two versions of one zone that have the same records at all owners but these: at the cost of
    /// these.
    pub fn between_owners<'n>(
        old: &Version,
        new: &Version,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Difference {
        let mut names: Vec<&[u8]> = names.collect();
        names.sort_unstable_by(|a, b| canonical_order(a, b));
        names.dedup();
        let owners = names.into_iter().filter_map(|name| pair(old.find(name), new.find(name)));
        Difference::of_pairs(old.apex(), serials(old, new), owners, &|_, _| true)
    }
}

impl Size {
    /// The size of the difference of two versions, without the memory that the difference would take; at the cost of
    /// [`Difference::between_versions`].
    pub fn between_versions(old: &Version, new: &Version) -> Size {
        Size::of_pairs(pairs(old, new))
    }
}

fn serials(old: &Version, new: &Version) -> [Serial; 2] {
    [old.serial(), new.serial()]
}

/// The owners of two versions by name: all that may differ.
fn pairs<'a>(old: &'a Version, new: &'a Version) -> Box<dyn Iterator<Item = OwnerPair<'a>> + 'a> {
    if old.has_same_flat_zone(new) {
        let names = changed_names(old, new).into_iter();
        return Box::new(names.filter_map(|name| pair(old.find(name), new.find(name))));
    }
    let order = |old: &Owner<'_>, new: &Owner<'_>| match old.name() == new.name() {
        // Nearly all are.
        true => Ordering::Equal,
        false => canonical_order(old.name(), new.name()),
    };
    // One that was read from a file has no layers to be looked at with each owner.
    match new.is_flat() {
        true => Box::new(old.owners().merge_join_by(new.base.zone.owners(), order)),
        false => Box::new(old.owners().merge_join_by(new.owners(), order)),
    }
}

/// In canonical order, the names of which the layers of two versions with one flat zone do not say the same.
fn changed_names<'a>(old: &'a Version, new: &'a Version) -> Vec<&'a [u8]> {
    let mut names = Vec::new();
    for [old, new] in [[&old.names, &new.names], [&old.hashes, &new.hashes]] {
        let [old, new] = old.unshared(new);
        let order = |old: &Owner<'_>, new: &Owner<'_>| canonical_order(old.name(), new.name());
        for pair in old.into_iter().merge_join_by(new, order) {
            match pair {
                EitherOrBoth::Both(old, new) if old.has_same_rrsets(&new) => {}
                EitherOrBoth::Both(owner, _)
                | EitherOrBoth::Left(owner)
                | EitherOrBoth::Right(owner) => names.push(owner.name()),
            }
        }
    }
    names.sort_unstable_by(|a, b| canonical_order(a, b));
    names.dedup();
    names
}

fn pair<'a>(old: Option<Owner<'a>>, new: Option<Owner<'a>>) -> Option<OwnerPair<'a>> {
    Some(match (old, new) {
        (Some(old), Some(new)) => EitherOrBoth::Both(old, new),
        (Some(old), None) => EitherOrBoth::Left(old),
        (None, Some(new)) => EitherOrBoth::Right(new),
        (None, None) => return None,
    })
}
