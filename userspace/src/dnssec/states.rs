//! What a name is in a version of a zone, and which names a change makes something else
//! (RFC 4035 section 2.2; RFC 6672 section 2.4; RFC 5155 section 7.1).

use std::collections::BTreeSet;

use super::authority::{NameStatus, occluder_among};
use crate::zone::name::{ancestors, is_at_or_below};
use crate::zone::{Name, Owner, Rtype, Version};

/// What a name is in a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NameState {
    /// Neither it nor anything below it is there; or only what is hidden below a cut or a DNAME.
    Absent,
    /// Names below it are there, and it has no records.
    EmptyNonTerminal,
    Authoritative,
    /// A zone cut without DS.
    InsecureCut,
    SecureCut,
    /// It has records and lies below a cut or a DNAME.
    Occluded,
}

impl NameState {
    pub(super) fn of(version: &Version, name: &[u8]) -> NameState {
        let owner = ordinary(version, name);
        if is_hidden(version, name) {
            return owner.map_or(NameState::Absent, |_| NameState::Occluded);
        }
        let Some(owner) = owner else {
            let is_above = version.has_names_below(name);
            return if is_above { NameState::EmptyNonTerminal } else { NameState::Absent };
        };
        match owner.rrset(Rtype::NS).filter(|_| name != version.apex().as_wire()) {
            None => NameState::Authoritative,
            Some(_) if owner.rrset(Rtype::DS).is_some() => NameState::SecureCut,
            Some(_) => NameState::InsecureCut,
        }
    }

    /// What it is as an owner; `None` if it is none.
    pub(super) fn status(self) -> Option<NameStatus> {
        match self {
            NameState::Absent | NameState::EmptyNonTerminal => None,
            NameState::Authoritative => Some(NameStatus::Authoritative),
            NameState::InsecureCut | NameState::SecureCut => Some(NameStatus::Cut),
            NameState::Occluded => Some(NameStatus::Occluded),
        }
    }

    /// Whether it has an NSEC record (RFC 4035 section 2.3).
    pub(super) fn has_nsec(self) -> bool {
        matches!(self.status(), Some(NameStatus::Authoritative | NameStatus::Cut))
    }

    /// Whether an NSEC3 record stands for it.
    pub(super) fn has_nsec3(self, opt_out: bool) -> bool {
        match self {
            NameState::Absent | NameState::Occluded => false,
            NameState::InsecureCut => !opt_out,
            _ => true,
        }
    }
}

/// The owner with this name, unless its records are NSEC3 records and their signatures alone.
pub(super) fn ordinary<'v>(version: &'v Version, name: &[u8]) -> Option<Owner<'v>> {
    version.find(name).filter(|owner| !owner.is_hash())
}

/// Whether a cut or a DNAME above a name hides it.
pub(super) fn is_hidden(version: &Version, name: &[u8]) -> bool {
    hiding_owner(version, name).is_some()
}

/// The highest owner above a name that hides it.
pub(super) fn hiding_owner<'v>(version: &'v Version, name: &[u8]) -> Option<Owner<'v>> {
    let find = |name: &[u8]| version.find(name);
    occluder_among(version.apex(), name, find).map(|occluder| occluder.owner())
}

/// Whether an owner hides what is below it, were it not hidden itself.
pub(super) fn hides(version: &Version, owner: Option<&Owner<'_>>) -> bool {
    owner.is_some_and(|owner| {
        let is_cut = owner.name() != version.apex().as_wire() && owner.rrset(Rtype::NS).is_some();
        is_cut || owner.rrset(Rtype::DNAME).is_some()
    })
}

/// The owners that a change makes something else or gives other records, from `old` to `new`: those that `changed`
/// names, and all below one that begins or ceases to hide what is below it.
pub(super) fn affected_owners(
    old: &Version,
    new: &Version,
    changed: &BTreeSet<Name>,
) -> BTreeSet<Name> {
    let mut affected = changed.clone();
    for name in changed {
        let wire = name.as_wire();
        let hid = hides(old, ordinary(old, wire).as_ref());
        if hid == hides(new, ordinary(new, wire).as_ref())
            || is_hidden(old, wire) && is_hidden(new, wire)
        {
            continue;
        }
        // What only `old` has is among the changed names.
        let below = new.from(wire).take_while(|owner| is_at_or_below(owner.name(), wire));
        let below = below.filter(|owner| !owner.is_hash());
        affected.extend(below.filter_map(|owner| Name::from_wire(owner.name())));
    }
    affected
}

/// The names between these and the apex that are not among them: they may come or go as empty non-terminals.
pub(super) fn names_above(names: &BTreeSet<Name>, apex: &Name) -> BTreeSet<Name> {
    let mut above = BTreeSet::new();
    for name in names {
        let ancestors = ancestors(name.as_wire()).skip(1);
        for ancestor in ancestors.take_while(|name| name.len() > apex.as_wire().len()) {
            let Some(ancestor) = Name::from_wire(ancestor) else { continue };
            // All above one that is known are known.
            if names.contains(&ancestor) || !above.insert(ancestor) {
                break;
            }
        }
    }
    above
}
