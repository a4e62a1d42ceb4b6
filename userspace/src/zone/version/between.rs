//! The difference of two versions.

use itertools::{EitherOrBoth, Itertools as _};

use super::Version;
use crate::zone::arrays::Owner;
use crate::zone::difference::{Difference, OwnerPair, Size};
use crate::zone::name::canonical_order;
use crate::zone::rtype::Rtype;

impl Difference {
    /// The difference of two versions of one zone. Of versions with one flat zone, only those leaves are walked over
    /// that they do not share.
    ///
    /// # Panics
    /// As [`Difference::between`] does.
    pub fn between_versions(old: &Version, new: &Version) -> Difference {
        Difference::between_some(old, new, &|_, _| true)
    }

    /// The same of those types alone that `is_meant` says of an owner.
    ///
    /// # Panics
    /// As [`Difference::between`] does.
    pub fn between_some(
        old: &Version,
        new: &Version,
        is_meant: &dyn Fn(&[u8], Rtype) -> bool,
    ) -> Difference {
        assert_eq!(old.apex(), new.apex(), "two zones have no difference");
        let serials = [old.serial(), new.serial()];
        Difference::of_pairs(old.apex(), serials, pairs(old, new), is_meant)
    }
}

impl Size {
    /// The size of the difference of two versions, without the memory that the difference would take; at the cost of
    /// [`Difference::between_versions`].
    pub fn between_versions(old: &Version, new: &Version) -> Size {
        Size::between_some(old, new, &|_, _| true)
    }

    /// The same of those types alone that `is_meant` says of an owner.
    pub fn between_some(
        old: &Version,
        new: &Version,
        is_meant: &dyn Fn(&[u8], Rtype) -> bool,
    ) -> Size {
        Size::of_pairs(pairs(old, new), is_meant)
    }
}

/// The owners of two versions by name: all that may differ.
fn pairs<'a>(old: &'a Version, new: &'a Version) -> Box<dyn Iterator<Item = OwnerPair<'a>> + 'a> {
    if old.has_same_flat_zone(new) {
        let names = changed_names(old, new).into_iter();
        return Box::new(names.filter_map(|name| pair(old.find(name), new.find(name))));
    }
    let order = |old: &Owner<'_>, new: &Owner<'_>| canonical_order(old.name(), new.name());
    Box::new(old.owners().merge_join_by(new.owners(), order))
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
