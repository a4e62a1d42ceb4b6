//! What a difference can make wrong of the NSEC chain.

use std::collections::BTreeSet;

use super::check::DifferenceCheck;
use crate::dnssec::authority::place_among;
use crate::dnssec::chains::{nsec_after, nsec_before};
use crate::dnssec::states::NameState;
use crate::dnssec::verify::nsec::check_owner;
use crate::zone::Rtype;

/// Checks the records of owners that are affected, and of those that others join or leave behind in the chain.
pub(super) fn check(check: &mut DifferenceCheck<'_>) {
    let (old, new) = (check.old.version, check.new);
    let mut names: BTreeSet<&[u8]> = BTreeSet::new();
    for name in check.affected {
        let wire = name.as_wire();
        let [had, has] = [old, new].map(|version| NameState::of(version, wire).has_nsec());
        check.denials.old += usize::from(had);
        check.denials.new += usize::from(has);
        names.insert(wire);
        if had != has {
            names.extend(nsec_before(new, wire).map(|before| before.name()));
        }
    }
    check.looked_at.names += names.len();
    for name in names {
        let Some(owner) = new.find(name).filter(|_| !check.faults.are_enough()) else { continue };
        let place = place_among(new.apex(), &owner, |name| new.find(name));
        // The apex follows the last one, so that there is always one.
        let next = || nsec_after(new, name).unwrap_or(owner);
        check.looked_at.denials += 1;
        let result = check_owner(&owner, place, next).map(|_| ());
        check.checked(name, Rtype::NSEC, result);
    }
}
