//! A version of a zone made of another one and a difference.

use itertools::{EitherOrBoth, Itertools as _};

use super::between::Difference;
use super::records::{OwnerRecords, RecordRef};
use crate::zone::arrays::Owner;
use crate::zone::error::ZoneError;
use crate::zone::name::{Name, canonical_order};
use crate::zone::rtype::Rtype;
use crate::zone::serial::Serial;
use crate::zone::tree::Zone;
use crate::zone::writer::ZoneWriter;

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
    /// The version that the difference makes of `base`. An RRset to which a record is added has the lowest TTL of
    /// those that are added (RFC 2136 section 3.4.2.2 as RFC 2181 section 5.2 limits it).
    ///
    /// # Errors
    /// If the difference does not fit under `rules`, if a record to be added lies outside the zone, or if what comes
    /// out has not one SOA record.
    pub fn apply(&self, base: &Zone, rules: Rules) -> Result<Zone, ApplyError> {
        if rules == Rules::Strict && self.old != base.serial() {
            return Err(ApplyError::Serial { wanted: self.old, found: base.serial() });
        }
        let room = base.octets() + self.added.octets();
        let mut made = Made { writer: ZoneWriter::with_capacity(base.apex().clone(), room), rules };
        let order =
            |owner: &Owner<'_>, change: &Change<'_>| canonical_order(owner.name(), change.name());
        for pair in base.owners().merge_join_by(self.changes(), order) {
            match pair {
                EitherOrBoth::Left(owner) => made.copy(&owner)?,
                EitherOrBoth::Right(change) => made.change(None, &change)?,
                EitherOrBoth::Both(owner, change) => made.change(Some(&owner), &change)?,
            }
        }
        Ok(made.writer.finish()?)
    }

    /// What changes of each owner, in canonical order of the owners.
    fn changes(&self) -> impl Iterator<Item = Change<'_>> {
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
struct Change<'a> {
    removed: OwnerRecords<'a>,
    added: OwnerRecords<'a>,
}

impl<'a> Change<'a> {
    fn name(&self) -> &'a [u8] {
        let removed = self.removed.name();
        if removed.is_empty() { self.added.name() } else { removed }
    }
}

/// A version while it is made.
struct Made {
    writer: ZoneWriter,
    rules: Rules,
}

impl Made {
    /// An owner that does not change.
    fn copy(&mut self, owner: &Owner<'_>) -> Result<(), ApplyError> {
        self.writer.owner(owner.name())?;
        for rrset in owner.rrsets() {
            self.writer.rrset(rrset.rtype(), rrset.ttl(), rrset.rdatas())?;
        }
        Ok(())
    }

    /// An owner that changes, which `base` may not have.
    fn change(&mut self, base: Option<&Owner<'_>>, change: &Change<'_>) -> Result<(), ApplyError> {
        let kept = base.into_iter().flat_map(|owner| owner.rrsets()).map(|rrset| rrset.rtype());
        let changed = change.removed.records().chain(change.added.records());
        let types = kept.chain(changed.map(|record| record.rtype)).sorted_unstable().dedup();
        let mut is_new = true;
        for rtype in types {
            let (ttl, rdatas) = self.rrset(base, change, rtype)?;
            if rdatas.is_empty() {
                continue;
            }
            if std::mem::take(&mut is_new) {
                self.writer.owner(change.name())?;
            }
            self.writer.rrset(rtype, ttl, rdatas.into_iter())?;
        }
        Ok(())
    }

    /// What becomes of the RRset of one type: its TTL, and its RDATA in canonical order.
    fn rrset<'a>(
        &self,
        base: Option<&Owner<'a>>,
        change: &Change<'a>,
        rtype: Rtype,
    ) -> Result<(u32, Vec<&'a [u8]>), ApplyError> {
        let base = base.and_then(|owner| owner.rrset(rtype));
        let present = base.iter().flat_map(|rrset| rrset.rdatas());
        let rdata = |record: RecordRef<'a>| record.rdata;
        let owner = || Name::from_wire(change.name()).unwrap_or_else(Name::root);
        let is_strict = self.rules == Rules::Strict;

        let mut rdatas = Vec::new();
        for pair in present.merge_join_by(change.removed.of_type(rtype).map(rdata), Ord::cmp) {
            match pair {
                EitherOrBoth::Left(kept) => rdatas.push(kept),
                EitherOrBoth::Right(_) if is_strict => {
                    return Err(ApplyError::Missing { owner: owner(), rtype });
                }
                EitherOrBoth::Right(_) | EitherOrBoth::Both(..) => {}
            }
        }
        let is_emptied = rdatas.is_empty();
        let added = change.added.of_type(rtype);
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
