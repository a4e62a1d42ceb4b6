//! A difference while it is checked.

use std::collections::BTreeSet;

use crate::dnssec::verify::fault::{Faults, Reason, fault};
use crate::dnssec::verify::report::{LookedAt, Verified};
use crate::dnssec::verify::rrset::Found;
use crate::zone::{Name, Rtype, Version};

/// How many there were and are among what was looked at.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub old: usize,
    pub new: usize,
}

impl Counts {
    /// How many there are in all, of which there were so many.
    pub(super) fn of_all(self, before: usize) -> usize {
        (before + self.new).saturating_sub(self.old)
    }
}

/// A difference while it is checked.
pub(super) struct DifferenceCheck<'a> {
    pub old: Verified<'a>,
    pub new: &'a Version,
    /// The owners of which the difference has records.
    pub changed: &'a BTreeSet<Name>,
    /// These, and the owners below those that begin or cease to hide names.
    pub affected: &'a BTreeSet<Name>,
    pub faults: Faults,
    pub found: Found,
    pub looked_at: LookedAt,
    /// NSEC or NSEC3 records of the chain.
    pub denials: Counts,
    /// Those with the opt-out flag.
    pub opt_outs: Counts,
}

impl DifferenceCheck<'_> {
    pub(super) fn fault(&mut self, owner: &[u8], rtype: Rtype, reason: Reason) {
        self.found.faults.push(fault(owner, rtype, reason));
        self.faults.count(1);
    }

    /// Adds the fault, if it is one.
    pub(super) fn checked(&mut self, owner: &[u8], rtype: Rtype, result: Result<(), Reason>) {
        if let Err(reason) = result {
            self.fault(owner, rtype, reason);
        }
    }
}
