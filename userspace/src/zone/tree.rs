//! A zone: owner names and RRsets in canonical form and order, held in three flat arrays of octets.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

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
    bytes: Bytes,
}

/// An owner. Entries are octets, so that they can lie anywhere: in a mapped file too, at any address and
/// whatever its content.
#[derive(Clone, Copy)]
pub(super) struct OwnerEntry {
    pub(super) name_at: u32,
    pub(super) first_rrset: u32,
    pub(super) name_len: u8,
}

/// An RRset.
#[derive(Clone, Copy)]
pub(super) struct RrsetEntry {
    pub(super) ttl: u32,
    pub(super) at: u32,
    pub(super) end: u32,
    pub(super) count: u32,
    pub(super) rtype: Rtype,
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

    fn owner_entries(&self) -> &[[u8; OwnerEntry::LEN]] {
        self.owners.as_chunks().0
    }

    fn rrset_entries(&self) -> &[[u8; RrsetEntry::LEN]] {
        self.rrsets.as_chunks().0
    }

    /// The fields of the SOA record; `None` if it is malformed.
    pub fn soa_fields(&self) -> Option<Soa<'_>> {
        self.soa().and_then(|soa| soa.rdatas().next()).and_then(Soa::parse)
    }
}

impl OwnerEntry {
    pub(super) const LEN: usize = 9;

    pub(super) fn write(self) -> [u8; OwnerEntry::LEN] {
        let mut octets = [0; OwnerEntry::LEN];
        octets[..4].copy_from_slice(&self.name_at.to_le_bytes());
        octets[4..8].copy_from_slice(&self.first_rrset.to_le_bytes());
        octets[8] = self.name_len;
        octets
    }

    pub(super) fn read(octets: &[u8; OwnerEntry::LEN]) -> OwnerEntry {
        let (words, rest) = octets.as_chunks();
        let [name_at, first_rrset] = [0, 1].map(|at| u32::from_le_bytes(words[at]));
        OwnerEntry { name_at, first_rrset, name_len: rest[0] }
    }

    pub(super) fn name(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.name_at as usize..][..usize::from(self.name_len)]
    }
}

impl RrsetEntry {
    pub(super) const LEN: usize = 18;

    pub(super) fn write(self) -> [u8; RrsetEntry::LEN] {
        let mut octets = [0; RrsetEntry::LEN];
        let words = [self.ttl, self.at, self.end, self.count];
        octets[..16].copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
        octets[16..].copy_from_slice(&self.rtype.0.to_le_bytes());
        octets
    }

    pub(super) fn read(octets: &[u8; RrsetEntry::LEN]) -> RrsetEntry {
        let (words, rest) = octets.as_chunks();
        let [ttl, at, end, count] = [0, 1, 2, 3].map(|at| u32::from_le_bytes(words[at]));
        RrsetEntry { ttl, at, end, count, rtype: Rtype(u16::from_le_bytes([rest[0], rest[1]])) }
    }
}

/// One owner name of a zone with its RRsets.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    zone: &'a Zone,
    index: usize,
}

impl<'a> Owner<'a> {
    /// The owner name: lower case, uncompressed wire format.
    pub fn name(&self) -> &'a [u8] {
        OwnerEntry::read(&self.zone.owner_entries()[self.index]).name(&self.zone.bytes)
    }

    /// Its place in canonical order.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its RRsets in the order of their type numbers. All RRSIG records are one RRset here.
    pub fn rrsets(
        &self,
    ) -> impl DoubleEndedIterator<Item = Rrset<'a>> + ExactSizeIterator + use<'a> {
        let zone = self.zone;
        self.entries().iter().map(move |entry| Rrset { zone, entry: RrsetEntry::read(entry) })
    }

    /// Its RRset of one type.
    pub fn rrset(&self, rtype: Rtype) -> Option<Rrset<'a>> {
        let entries = self.entries();
        let found = entries.binary_search_by_key(&rtype, |entry| RrsetEntry::read(entry).rtype);
        Some(Rrset { zone: self.zone, entry: RrsetEntry::read(&entries[found.ok()?]) })
    }

    /// The place of an RRset among all of the zone in canonical order; of the owner's first if it has none of the type.
    pub fn rrset_index(&self, rtype: Rtype) -> usize {
        let entries = self.entries();
        let found = entries.binary_search_by_key(&rtype, |entry| RrsetEntry::read(entry).rtype);
        let first = OwnerEntry::read(&self.zone.owner_entries()[self.index]).first_rrset;
        first as usize + found.unwrap_or(0)
    }

    /// The RDATA of the RRSIG records that cover one type.
    pub fn signatures(&self, covered: Rtype) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.rrset(Rtype::RRSIG)
            .into_iter()
            .flat_map(|rrset| rrset.rdatas())
            .filter(move |rdata| rdata.get(..2) == Some(&covered.0.to_be_bytes()[..]))
    }

    /// Whether it has NSEC3 records and their signatures only: an owner name made from a hash.
    pub fn is_hash(&self) -> bool {
        self.rrset(Rtype::NSEC3).is_some()
            && self.rrsets().all(|rrset| matches!(rrset.rtype(), Rtype::NSEC3 | Rtype::RRSIG))
    }

    /// The TTL of one of its records in seconds. All RRSIG records of an owner are one RRset here, but the TTL of each
    /// "MUST match the TTL value of the RRset it covers" (RFC 4034 section 3).
    pub fn record_ttl(&self, rrset: &Rrset<'_>, rdata: &[u8]) -> u32 {
        let covered = match rdata.first_chunk() {
            Some(covered) if rrset.rtype() == Rtype::RRSIG => {
                self.rrset(Rtype(u16::from_be_bytes(*covered)))
            }
            _ => None,
        };
        covered.map_or(rrset.ttl(), |covered| covered.ttl())
    }

    fn entries(&self) -> &'a [[u8; RrsetEntry::LEN]] {
        let (owners, rrsets) = (self.zone.owner_entries(), self.zone.rrset_entries());
        let first = |owner| OwnerEntry::read(owner).first_rrset as usize;
        let end = owners.get(self.index + 1).map_or(rrsets.len(), first);
        &rrsets[first(&owners[self.index])..end]
    }
}

/// The records of one owner name and type, in canonical order of their RDATA
/// (RFC 4034 section 6.3).
#[derive(Clone, Copy)]
pub struct Rrset<'a> {
    zone: &'a Zone,
    entry: RrsetEntry,
}

#[allow(clippy::len_without_is_empty, reason = "an RRset is never empty")]
impl<'a> Rrset<'a> {
    /// The type.
    pub fn rtype(&self) -> Rtype {
        self.entry.rtype
    }

    /// The TTL in seconds.
    pub fn ttl(&self) -> u32 {
        self.entry.ttl
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.entry.count as usize
    }

    /// The RDATA of each record: canonical form, uncompressed.
    pub fn rdatas(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut rest = &self.zone.bytes[self.entry.at as usize..self.entry.end as usize];
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (rdata, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            rest = after;
            Some(rdata)
        })
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
