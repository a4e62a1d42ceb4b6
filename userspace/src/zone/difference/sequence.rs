//! A difference as IXFR has it: a difference sequence (RFC 1995 section 4), which is the older SOA record, the
//! records removed, the newer SOA record, the records added.

use super::between::Difference;
use super::records::{RecordRef, Records};
use crate::zone::name::{Name, is_at_or_below};
use crate::zone::rtype::Rtype;
use crate::zone::serial::Serial;
use crate::zone::soa::Soa;

/// Why records are no difference sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// There are not two SOA records of the apex, each before one part of the sequence.
    #[error("a difference of {0} has not the two SOA records that begin its parts")]
    Soa(Name),
    /// A record is not in the zone.
    #[error("{owner} is not in the zone {apex}")]
    OutOfZone {
        /// The record's owner.
        owner: Name,
        /// The zone's apex.
        apex: Name,
    },
    /// The newer serial is not newer (RFC 1982).
    #[error("the difference leads from serial {old} to {new}, which is not newer")]
    NotNewer {
        /// The serial of the older SOA record.
        old: Serial,
        /// That of the newer one.
        new: Serial,
    },
}

impl Difference {
    /// The difference sequence; nothing if the SOA record does not change, for then the two versions have one serial
    /// and nobody could ask for the difference.
    pub fn sequence(&self) -> impl Iterator<Item = RecordRef<'_>> {
        let is_soa = |record: &RecordRef<'_>| record.rtype == Rtype::SOA;
        let soa = |part: &'_ Records| part.iter().any(|record| is_soa(&record));
        let is_whole = soa(&self.removed) && soa(&self.added);
        let parts = [&self.removed, &self.added].into_iter().filter(move |_| is_whole);
        parts.flat_map(move |part| {
            part.iter().filter(is_soa).chain(part.iter().filter(move |record| !is_soa(record)))
        })
    }

    /// Reads one difference sequence: the records from its first SOA record to where the next sequence or the message
    /// ends. They are in canonical form, in any order within their part.
    ///
    /// # Errors
    /// If they are none.
    pub fn from_sequence<'a>(
        apex: &Name,
        records: impl Iterator<Item = RecordRef<'a>>,
    ) -> Result<Difference, SequenceError> {
        let mut parts: [Vec<RecordRef<'a>>; 2] = Default::default();
        let mut serials = Vec::new();
        for record in records {
            if !is_at_or_below(record.owner, apex.as_wire()) {
                let owner = Name::from_wire(record.owner).unwrap_or_else(Name::root);
                return Err(SequenceError::OutOfZone { owner, apex: apex.clone() });
            }
            if record.rtype == Rtype::SOA {
                let soa = Soa::parse(record.rdata).filter(|_| record.owner == apex.as_wire());
                serials.push(soa.ok_or_else(|| SequenceError::Soa(apex.clone()))?.serial);
            }
            let part = serials.len().checked_sub(1).and_then(|part| parts.get_mut(part));
            part.ok_or_else(|| SequenceError::Soa(apex.clone()))?.push(record);
        }
        let &[old, new] = &serials[..] else { return Err(SequenceError::Soa(apex.clone())) };
        if !new.is_newer_than(old) {
            return Err(SequenceError::NotNewer { old, new });
        }
        let [removed, added] = parts.map(|part| Records::sorted(part.into_iter()));
        Ok(Difference { apex: apex.clone(), old, new, removed, added })
    }
}
