//! What a difference makes of one owner.

use itertools::{EitherOrBoth, Itertools as _};

use super::between::Difference;
use super::records::{OwnerRecords, RecordRef};
use crate::zone::arrays::Owner;
use crate::zone::error::ZoneError;
use crate::zone::name::{Name, canonical_order};
use crate::zone::rtype::Rtype;
use crate::zone::serial::Serial;

/// What is demanded of the version that a difference is applied to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rules {
    /// It has the difference's older serial, all that is removed and nothing that is added: as IXFR has it, whose
    /// sender and receiver start from the same version (RFC 1995 section 4).
    Strict,
    /// What is not there need not be removed, and what is there need not be added: as UPDATE has it (RFC 2136
    /// sections 3.4.2.2 and 3.4.2.4).
    Lenient,
}

/// Why a difference does not fit a version of its zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The version has another serial.
    #[error("the difference is for serial {wanted}, and the zone has serial {found}")]
    Serial {
        /// The serial that the difference changes.
        wanted: Serial,
        /// The serial of the version.
        found: Serial,
    },
    /// A record that is to be removed is not there.
    #[error("a record {rtype} of {owner} is to be removed, and the zone does not have it")]
    Missing {
        /// The record's owner.
        owner: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// A record that is to be added is there already.
    #[error("a record {rtype} of {owner} is to be added, and the zone has it already")]
    Present {
        /// The record's owner.
        owner: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// What comes out is no zone.
    #[error(transparent)]
    NoZone(#[from] ZoneError),
}

impl Difference {
    /// What changes of each owner, in canonical order of the owners.
    pub(in crate::zone) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let order = |removed: &OwnerRecords<'_>, added: &OwnerRecords<'_>| {
            canonical_order(removed.name(), added.name())
        };
        let pairs = self.removed.by_owner().merge_join_by(self.added.by_owner(), order);
        pairs.map(|pair| {
            let (removed, added) = pair.left_and_right();
            Change { removed: removed.unwrap_or_default(), added: added.unwrap_or_default() }
        })
    }
}

/// What changes of one owner.
pub(in crate::zone) struct Change<'a> {
    removed: OwnerRecords<'a>,
    added: OwnerRecords<'a>,
}

/// An RRset of an owner that changes.
pub(in crate::zone) struct ChangedRrset<'a> {
    pub rtype: Rtype,
    pub ttl: u32,
    /// In canonical order, at least one.
    pub rdatas: Vec<&'a [u8]>,
}

impl<'a> Change<'a> {
    /// The owner's name.
    pub fn name(&self) -> &'a [u8] {
        let removed = self.removed.name();
        if removed.is_empty() { self.added.name() } else { removed }
    }

    /// The RRsets that the owner has afterwards, in the order of their types; none if it goes.
    pub fn apply(
        &self,
        base: Option<&Owner<'a>>,
        rules: Rules,
    ) -> Result<Vec<ChangedRrset<'a>>, ApplyError> {
        let kept = base.into_iter().flat_map(|owner| owner.rrsets()).map(|rrset| rrset.rtype());
        let changed = self.removed.records().chain(self.added.records());
        let types = kept.chain(changed.map(|record| record.rtype)).sorted_unstable().dedup();
        let mut rrsets = Vec::new();
        for rtype in types {
            let (ttl, rdatas) = self.rrset(base, rules, rtype)?;
            if !rdatas.is_empty() {
                rrsets.push(ChangedRrset { rtype, ttl, rdatas });
            }
        }
        Ok(rrsets)
    }

    /// What becomes of the RRset of one type: its TTL, and its RDATA in canonical order.
    fn rrset(
        &self,
        base: Option<&Owner<'a>>,
        rules: Rules,
        rtype: Rtype,
    ) -> Result<(u32, Vec<&'a [u8]>), ApplyError> {
        let base = base.and_then(|owner| owner.rrset(rtype));
        let present = base.iter().flat_map(|rrset| rrset.rdatas());
        let rdata = |record: RecordRef<'a>| record.rdata;
        let owner = || Name::from_wire(self.name()).unwrap_or_else(Name::root);
        let is_strict = rules == Rules::Strict;

        let mut rdatas = Vec::new();
        for pair in present.merge_join_by(self.removed.of_type(rtype).map(rdata), Ord::cmp) {
            match pair {
                EitherOrBoth::Left(kept) => rdatas.push(kept),
                EitherOrBoth::Right(_) if is_strict => {
                    return Err(ApplyError::Missing { owner: owner(), rtype });
                }
                EitherOrBoth::Right(_) | EitherOrBoth::Both(..) => {}
            }
        }
        let is_emptied = rdatas.is_empty();
        let added = self.added.of_type(rtype);
        let mut merged = Vec::with_capacity(rdatas.len());
        for pair in rdatas.into_iter().merge_join_by(added.clone().map(rdata), Ord::cmp) {
            if is_strict && pair.has_left() && pair.has_right() {
                return Err(ApplyError::Present { owner: owner(), rtype });
            }
            merged.push(pair.into_left());
        }
        let old = base.map(|rrset| rrset.ttl());
        let new = added.map(|record| record.ttl).min();
        let ttl = match (old, new) {
            // Signatures of one owner have many TTLs; what is kept for all of them decides nothing.
            (Some(old), Some(new)) if rtype == Rtype::RRSIG && !is_emptied => old.min(new),
            (old, new) => new.or(old).unwrap_or(0),
        };
        Ok((ttl, merged))
    }
}
