//! A zone: owner names and RRsets in canonical form and order, held in flat arrays of octets (`arrays.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::arrays::{Arrays, Owner, Rrset};
use super::error::ZoneError;
use super::name::Name;
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
    arrays: Arrays,
}

impl Zone {
    /// The zone that these arrays hold; its apex must have one SOA record.
    pub(super) fn of_arrays(apex: Name, arrays: Arrays) -> Result<Zone, ZoneError> {
        let records = arrays.records();
        Zone::of_counted(apex, arrays, records)
    }

    /// The same of arrays that hold so many records.
    pub(super) fn of_counted(
        apex: Name,
        arrays: Arrays,
        records: usize,
    ) -> Result<Zone, ZoneError> {
        let (any_answers, withheld, serial) = (None, None, Serial(0));
        let mut zone = Zone { apex, any_answers, withheld, records, serial, arrays };
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

    /// The zone, and what stands beside it.
    pub fn split_any_answers(self) -> (Zone, Option<Zone>) {
        let any_answers = self.any_answers.map(|any_answers| *any_answers);
        (Zone { any_answers: None, ..self }, any_answers)
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
        Zone { arrays: self.arrays.patched(at, new), ..self }
    }

    /// Octets that it takes, without what stands beside it.
    pub fn octets(&self) -> usize {
        self.arrays.octets()
    }

    /// All that it consists of but its apex and what stands beside it.
    pub fn arrays(&self) -> [&[u8]; 3] {
        self.arrays.parts()
    }

    /// The same zone in other memory, which has [`Zone::arrays`] one after the other.
    ///
    /// # Panics
    /// If `octets` are not as many.
    pub fn within(self, octets: &Bytes) -> Zone {
        Zone { arrays: self.arrays.within(octets), ..self }
    }

    /// The owner names in canonical order; empty non-terminals are not among them.
    pub fn owners(&self) -> impl DoubleEndedIterator<Item = Owner<'_>> + ExactSizeIterator {
        (0..self.arrays.len()).map(|index| self.arrays.owner(index))
    }

    /// The owner at a place in canonical order.
    ///
    /// # Panics
    /// If `index` is not below `self.owners().len()`.
    pub fn owner(&self, index: usize) -> Owner<'_> {
        assert!(index < self.arrays.len());
        self.arrays.owner(index)
    }

    /// The owner with this lower-case wire name.
    pub fn find(&self, name: &[u8]) -> Option<Owner<'_>> {
        self.arrays.search(name).ok().map(|index| self.arrays.owner(index))
    }

    /// The place in canonical order of an owner of this zone. Owners of a [`Version`](super::Version) have none.
    ///
    /// # Panics
    /// If the owner is another zone's.
    pub fn index_of(&self, owner: &Owner<'_>) -> usize {
        assert!(owner.arrays.is_same(&self.arrays), "a place is one of the owner's own zone");
        owner.index
    }

    /// The place of an RRset among all of the zone in canonical order; of the owner's first if it has none of the type.
    ///
    /// # Panics
    /// As [`Zone::index_of`] does.
    pub fn rrset_index_of(&self, owner: &Owner<'_>, rtype: Rtype) -> usize {
        let index = self.index_of(owner);
        let before = owner.rrsets().position(|rrset| rrset.rtype() == rtype);
        self.arrays.rrsets_of(index..index + 1).start + before.unwrap_or(0)
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

    /// What the zone consists of.
    pub(super) fn parts(&self) -> &Arrays {
        &self.arrays
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
