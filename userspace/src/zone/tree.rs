//! A zone: owner names and RRsets in canonical form and order, held in three flat arrays of octets.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::arrays::{Owner, OwnerEntry, Rrset, RrsetEntry};
use super::error::ZoneError;
use super::name::{Name, canonical_order};
use super::rtype::Rtype;
use super::serial::Serial;
use super::soa::Soa;

/// A zone in canonical form and order. It does not change; a changed zone is a new one, and a clone has the
/// same octets.
#[derive(Clone)]
pub struct Zone {
    apex: Name,
    any_answers: Option<Box<Zone>>,
    withheld: Option<Arc<BTreeSet<(Name, Rtype)>>>,
    /// What is often asked for: it need not be read out of memory that is at rest.
    records: usize,
    serial: Serial,
    /// Of each owner an [`OwnerEntry`].
    owners: Bytes,
    /// Of each RRset an [`RrsetEntry`].
    rrsets: Bytes,
    /// Owner names, and after each its RRsets' RDATA as (16-bit length, octets).
    pub(super) bytes: Bytes,
}

impl Zone {
    /// The zone that these arrays hold; its apex must have one SOA record.
    pub(super) fn of_arrays(
        apex: Name,
        owners: Bytes,
        rrsets: Bytes,
        bytes: Bytes,
    ) -> Result<Zone, ZoneError> {
        let mut zone = Zone {
            apex,
            any_answers: None,
            withheld: None,
            records: 0,
            serial: Serial(0),
            owners,
            rrsets,
            bytes,
        };
        let count = |entry| RrsetEntry::read(entry).count as usize;
        zone.records = zone.rrset_entries().iter().map(count).sum();
        zone.serial = zone.soa_fields().map_or(Serial(0), |soa| soa.serial);
        match zone.soa().map_or(0, |soa| soa.len()) {
            1 => Ok(zone),
            count => Err(ZoneError::SoaCount { apex: zone.apex, count }),
        }
    }

    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// RRsets of the zone's names that are no part of it: they are said to ANY (RFC 8482 section 4.2), and neither
    /// transferred nor written to files.
    pub fn any_answers(&self) -> Option<&Zone> {
        self.any_answers.as_deref()
    }

    /// The same zone with these RRsets beside it.
    pub fn with_any_answers(self, any_answers: Zone) -> Zone {
        Zone { any_answers: Some(Box::new(any_answers)), ..self }
    }

    /// The same zone, of which these RRsets are not sent to who asks for signatures, since a validator would refuse
    /// them.
    pub fn withholding(self, rrsets: BTreeSet<(Name, Rtype)>) -> Zone {
        Zone { withheld: (!rrsets.is_empty()).then(|| Arc::new(rrsets)), ..self }
    }

    /// RRsets that are not sent.
    pub fn withheld(&self) -> impl Iterator<Item = &(Name, Rtype)> {
        self.withheld.iter().flat_map(|rrsets| rrsets.iter())
    }

    /// Whether the RRset of this type at this lower-case wire name is not sent.
    pub fn is_withheld(&self, owner: &[u8], rtype: Rtype) -> bool {
        let has = |rrsets: &Arc<BTreeSet<(Name, Rtype)>>| {
            Name::from_wire(owner).is_some_and(|owner| rrsets.contains(&(owner, rtype)))
        };
        self.withheld.as_ref().is_some_and(has)
    }

    /// The same zone with another RDATA in the place of one that is as long, and no other order: for what is known only
    /// once all the rest is there. `index` is the owner's place in canonical order.
    pub fn replaced(self, index: usize, rtype: Rtype, old: &[u8], new: &[u8]) -> Zone {
        let Some(rrset) = self.owner(index).rrset(rtype) else { return self };
        let (mut at, mut found) = (rrset.entry.at as usize, None);
        for rdata in rrset.rdatas() {
            if rdata == old && new.len() == old.len() {
                found = Some(at + 2);
            }
            at += 2 + rdata.len();
        }
        let Some(at) = found else { return self };
        let mut bytes = BytesMut::from(self.bytes);
        bytes[at..at + new.len()].copy_from_slice(new);
        Zone { bytes: bytes.freeze(), ..self }
    }

    /// Octets that it takes, without what stands beside it.
    pub fn octets(&self) -> usize {
        self.arrays().map(<[u8]>::len).iter().sum()
    }

    /// All that it consists of but its apex and what stands beside it.
    pub fn arrays(&self) -> [&[u8]; 3] {
        [&self.owners, &self.rrsets, &self.bytes]
    }

    /// The same zone in other memory, which has [`Zone::arrays`] one after the other.
    ///
    /// # Panics
    /// If `octets` are not as many.
    pub fn within(self, octets: &Bytes) -> Zone {
        assert_eq!(octets.len(), self.octets());
        let rrsets_at = self.owners.len();
        let bytes_at = rrsets_at + self.rrsets.len();
        Zone {
            owners: octets.slice(..rrsets_at),
            rrsets: octets.slice(rrsets_at..bytes_at),
            bytes: octets.slice(bytes_at..),
            ..self
        }
    }

    /// The owner names in canonical order; empty non-terminals are not among them.
    pub fn owners(&self) -> impl DoubleEndedIterator<Item = Owner<'_>> + ExactSizeIterator {
        (0..self.owner_entries().len()).map(|index| Owner { zone: self, index })
    }

    /// The owner at a place in canonical order.
    ///
    /// # Panics
    /// If `index` is not below `self.owners().len()`.
    pub fn owner(&self, index: usize) -> Owner<'_> {
        assert!(index < self.owner_entries().len());
        Owner { zone: self, index }
    }

    /// The owner with this lower-case wire name.
    pub fn find(&self, name: &[u8]) -> Option<Owner<'_>> {
        let order = |entry: &_| canonical_order(OwnerEntry::read(entry).name(&self.bytes), name);
        let index = self.owner_entries().binary_search_by(order).ok()?;
        Some(Owner { zone: self, index })
    }

    /// The owner of the apex, which is the first in canonical order: it has the SOA record, without which nothing
    /// is a zone.
    pub fn at_apex(&self) -> Owner<'_> {
        self.owner(0)
    }

    /// The SOA RRset at the apex; every finished zone has one.
    pub fn soa(&self) -> Option<Rrset<'_>> {
        self.find(self.apex.as_wire())?.rrset(Rtype::SOA)
    }

    /// The serial of the SOA record (RFC 1035 section 3.3.13).
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// The TTL of negative answers in seconds: the lower of the SOA's TTL and its MINIMUM field
    /// (RFC 2308 section 5).
    pub fn negative_ttl(&self) -> u32 {
        let minimum = self.soa_fields().map_or(0, |soa| soa.minimum);
        minimum.min(self.soa().map_or(0, |soa| soa.ttl()))
    }

    /// The number of records.
    pub fn record_count(&self) -> usize {
        self.records
    }

    pub(super) fn owner_entries(&self) -> &[[u8; OwnerEntry::LEN]] {
        self.owners.as_chunks().0
    }

    pub(super) fn rrset_entries(&self) -> &[[u8; RrsetEntry::LEN]] {
        self.rrsets.as_chunks().0
    }

    /// The fields of the SOA record; `None` if it is malformed.
    pub fn soa_fields(&self) -> Option<Soa<'_>> {
        self.soa().and_then(|soa| soa.rdatas().next()).and_then(Soa::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::builder::ZoneBuilder;
    use crate::zone::builder::tests::{SOA, apex};

    #[test]
    fn a_zone_may_lie_in_other_memory() {
        let mut builder = ZoneBuilder::new(apex());
        builder.push(b"\x01b\x07example\x00", Rtype::A, 300, &[192, 0, 2, 2]).unwrap();
        builder.push(b"\x01b\x07example\x00", Rtype::TXT, 200, b"\x01a").unwrap();
        builder.push(b"\x07example\x00", Rtype::SOA, 3600, SOA).unwrap();
        let zone = builder.finish().unwrap();
        let mut octets = vec![0xff];
        octets.extend(zone.arrays().concat());
        // Behind one octet: entries need no alignment.
        let moved = zone.clone().within(&Bytes::from(octets).slice(1..));
        assert_eq!((moved.serial().0, moved.record_count()), (7, 3));
        assert_eq!(moved.arrays(), zone.arrays());
        let b = moved.find(b"\x01b\x07example\x00").unwrap();
        assert_eq!(b.rrsets().map(|rrset| rrset.ttl()).collect::<Vec<_>>(), [300, 200]);
    }
}
