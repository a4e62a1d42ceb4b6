//! Owner names and their RRsets in canonical order, as they lie in flat arrays of octets: of a zone, or of a part of
//! one.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::canonical::is_canonical_rdata;
use super::name::{canonical_order, is_at_or_below, wire_name_len};
use super::rtype::Rtype;

/// Owners in canonical order with their RRsets. They do not change, and a clone has the same octets.
#[derive(Clone, Default)]
pub(super) struct Arrays {
    /// Of each owner an [`OwnerEntry`].
    owners: Bytes,
    /// Of each RRset an [`RrsetEntry`].
    rrsets: Bytes,
    /// Owner names, and after each its RRsets' RDATA as (16-bit length, octets).
    bytes: Bytes,
}

impl Arrays {
    pub(super) fn new(owners: Bytes, rrsets: Bytes, bytes: Bytes) -> Arrays {
        Arrays { owners, rrsets, bytes }
    }

    /// How many owners there are.
    pub(super) fn len(&self) -> usize {
        self.owner_entries().len()
    }

    /// Owners, RRsets, names and RDATA.
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [&self.owners, &self.rrsets, &self.bytes]
    }

    /// The same in other memory, which has [`Arrays::parts`] one after the other.
    ///
    /// # Panics
    /// If `octets` are not as many.
    pub(super) fn within(&self, octets: &Bytes) -> Arrays {
        assert_eq!(octets.len(), self.octets());
        let rrsets_at = self.owners.len();
        let bytes_at = rrsets_at + self.rrsets.len();
        let (owners, rrsets) = (octets.slice(..rrsets_at), octets.slice(rrsets_at..bytes_at));
        Arrays { owners, rrsets, bytes: octets.slice(bytes_at..) }
    }

    /// The same with other octets from one place on, as many.
    pub(super) fn patched(self, at: usize, octets: &[u8]) -> Arrays {
        let mut bytes = BytesMut::from(self.bytes);
        bytes[at..at + octets.len()].copy_from_slice(octets);
        Arrays { bytes: bytes.freeze(), ..self }
    }

    /// Octets of memory that they take.
    pub(super) fn octets(&self) -> usize {
        self.parts().map(<[u8]>::len).iter().sum()
    }

    /// The owner at a place in canonical order, which is below [`Arrays::len`].
    pub(super) fn owner(&self, index: usize) -> Owner<'_> {
        #[cfg(test)]
        super::visits::count(1);
        Owner { arrays: self, index }
    }

    /// The place of the owner with this lower-case name, or else the place where it would be.
    pub(super) fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.search_in(0..self.len(), name)
    }

    /// The same where its place is known to be one of these, or the end of them.
    pub(super) fn search_in(&self, places: Range<usize>, name: &[u8]) -> Result<usize, usize> {
        let start = places.start;
        let order = |entry: &_| canonical_order(OwnerEntry::read(entry).name(&self.bytes), name);
        let found = self.owner_entries()[places].binary_search_by(order);
        found.map(|place| start + place).map_err(|place| start + place)
    }

    /// How many records they hold, if they are those of a zone with this apex: owners at and below it in canonical order,
    /// each with RRsets in the order of their types and RDATA in canonical form, and nothing in the arrays that is none of theirs. `None` if not: whoever
    /// looks at such arrays may be led out of them.
    pub(super) fn records_if_sound(&self, apex: &[u8]) -> Option<usize> {
        let (owners, rest) = self.owners.as_chunks::<{ OwnerEntry::LEN }>();
        let (rrsets, rest_of_rrsets) = self.rrsets.as_chunks::<{ RrsetEntry::LEN }>();
        let (mut at, mut first_rrset, mut records) = (0, 0, 0);
        let mut before: Option<&[u8]> = None;
        for (index, owner) in owners.iter().enumerate() {
            let owner = OwnerEntry::read(owner);
            let name = self.bytes.get(at..at + usize::from(owner.name_len))?;
            let is_next = (owner.name_at as usize, owner.first_rrset as usize) == (at, first_rrset)
                && is_lower_case_name(name)
                && is_at_or_below(name, apex)
                && before.is_none_or(|before| canonical_order(before, name).is_lt());
            let next =
                owners.get(index + 1).map(|next| OwnerEntry::read(next).first_rrset as usize);
            let next = next.unwrap_or(rrsets.len());
            if !is_next || next == first_rrset {
                return None;
            }
            at += name.len();
            let mut type_before = None;
            for rrset in rrsets.get(first_rrset..next)? {
                let rrset = RrsetEntry::read(rrset);
                let octets = self.bytes.get(at..rrset.end as usize)?;
                let is_next = rrset.at as usize == at
                    && type_before < Some(rrset.rtype)
                    && rrset.count > 0
                    && count_of_rdatas(rrset.rtype, octets) == Some(rrset.count);
                if !is_next {
                    return None;
                }
                records += rrset.count as usize;
                (at, type_before) = (rrset.end as usize, Some(rrset.rtype));
            }
            (first_rrset, before) = (next, Some(name));
        }
        let is_all = (at, first_rrset) == (self.bytes.len(), rrsets.len());
        (is_all && rest.is_empty() && rest_of_rrsets.is_empty()).then_some(records)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        self.rrset_entries().iter().map(|entry| RrsetEntry::read(entry).count as usize).sum()
    }

    /// Whether the two are the same owners in the same memory.
    pub(super) fn is_same(&self, other: &Arrays) -> bool {
        std::ptr::eq(self.owner_entries(), other.owner_entries())
            && std::ptr::eq(&*self.bytes, &*other.bytes)
    }

    pub(super) fn owner_entries(&self) -> &[[u8; OwnerEntry::LEN]] {
        self.owners.as_chunks().0
    }

    pub(super) fn rrset_entries(&self) -> &[[u8; RrsetEntry::LEN]] {
        self.rrsets.as_chunks().0
    }

    /// The entries of the RRsets that some owners next to each other have.
    pub(super) fn rrsets_of(&self, owners: Range<usize>) -> Range<usize> {
        let entries = self.owner_entries();
        let end = self.rrset_entries().len();
        let first = |index| {
            entries.get(index).map_or(end, |owner| OwnerEntry::read(owner).first_rrset as usize)
        };
        first(owners.start)..first(owners.end)
    }

    /// The names and RDATA of some owners next to each other.
    pub(super) fn bytes_of(&self, owners: Range<usize>) -> &[u8] {
        let entries = self.owner_entries();
        let end = self.bytes.len();
        let start = |index| {
            entries.get(index).map_or(end, |owner| OwnerEntry::read(owner).name_at as usize)
        };
        &self.bytes[start(owners.start)..start(owners.end)]
    }
}

/// Whether octets are one name in the form in which zones have it.
fn is_lower_case_name(octets: &[u8]) -> bool {
    // Lengths of labels are below `A`.
    wire_name_len(octets) == Some(octets.len()) && !octets.iter().any(u8::is_ascii_uppercase)
}

/// How many RDATA of a type in canonical form these octets are, each with its length before it; `None` if they are not.
fn count_of_rdatas(rtype: Rtype, octets: &[u8]) -> Option<u32> {
    let (mut rest, mut count) = (octets, 0);
    while let Some((len, after)) = rest.split_first_chunk() {
        let (rdata, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        if !is_canonical_rdata(rtype, rdata) {
            return None;
        }
        (rest, count) = (after, count + 1);
    }
    rest.is_empty().then_some(count)
}

/// How far the octets and the RRsets of owners lie from where the same owners have them in other arrays.
#[derive(Clone, Copy)]
pub(super) struct Shift {
    bytes: u32,
    rrsets: u32,
}

impl Shift {
    /// From where `first` has them to these places.
    pub(super) fn of(first: OwnerEntry, bytes: u32, rrsets: u32) -> Shift {
        Shift {
            bytes: bytes.wrapping_sub(first.name_at),
            rrsets: rrsets.wrapping_sub(first.first_rrset),
        }
    }
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
        let word = |at: usize| u32::from_le_bytes(octets.as_chunks().0[at]);
        OwnerEntry { name_at: word(0), first_rrset: word(1), name_len: octets[8] }
    }

    pub(super) fn shifted(self, by: Shift) -> OwnerEntry {
        let name_at = self.name_at.wrapping_add(by.bytes);
        OwnerEntry { name_at, first_rrset: self.first_rrset.wrapping_add(by.rrsets), ..self }
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
        let word = |at: usize| u32::from_le_bytes(octets.as_chunks().0[at]);
        let rtype = Rtype(u16::from_le_bytes([octets[16], octets[17]]));
        RrsetEntry { ttl: word(0), at: word(1), end: word(2), count: word(3), rtype }
    }

    pub(super) fn shifted(self, by: Shift) -> RrsetEntry {
        let [at, end] = [self.at, self.end].map(|at| at.wrapping_add(by.bytes));
        RrsetEntry { at, end, ..self }
    }
}

/// One owner name of a zone with its RRsets.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub(super) arrays: &'a Arrays,
    pub(super) index: usize,
}

impl<'a> Owner<'a> {
    /// The owner name: lower case, uncompressed wire format.
    pub fn name(&self) -> &'a [u8] {
        OwnerEntry::read(&self.arrays.owner_entries()[self.index]).name(&self.arrays.bytes)
    }

    /// Its name and RDATA, each RDATA with its length before it.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.arrays.bytes_of(self.index..self.index + 1)
    }

    /// Whether it has any: one of a zone has, one of a layer of a version may be there to say that it is gone.
    pub(super) fn has_rrsets(&self) -> bool {
        !self.entries().is_empty()
    }

    /// Whether another owner of the same name has the same RRsets.
    pub(super) fn has_same_rrsets(&self, other: &Owner<'_>) -> bool {
        let shape = |rrset: Rrset<'_>| (rrset.rtype(), rrset.ttl(), rrset.len());
        self.bytes() == other.bytes() && self.rrsets().map(shape).eq(other.rrsets().map(shape))
    }

    /// Its RRsets in the order of their type numbers. All RRSIG records are one RRset here.
    pub fn rrsets(
        &self,
    ) -> impl DoubleEndedIterator<Item = Rrset<'a>> + ExactSizeIterator + use<'a> {
        let bytes = &self.arrays.bytes;
        self.entries().iter().map(move |entry| Rrset { bytes, entry: RrsetEntry::read(entry) })
    }

    /// Its RRset of one type.
    pub fn rrset(&self, rtype: Rtype) -> Option<Rrset<'a>> {
        let entries = self.entries();
        let found = entries.binary_search_by_key(&rtype, |entry| RrsetEntry::read(entry).rtype);
        let entry = RrsetEntry::read(&entries[found.ok()?]);
        Some(Rrset { bytes: &self.arrays.bytes, entry })
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

    pub(super) fn entries(&self) -> &'a [[u8; RrsetEntry::LEN]] {
        &self.arrays.rrset_entries()[self.arrays.rrsets_of(self.index..self.index + 1)]
    }
}

/// The records of one owner name and type, in canonical order of their RDATA
/// (RFC 4034 section 6.3).
#[derive(Clone, Copy)]
pub struct Rrset<'a> {
    bytes: &'a [u8],
    pub(super) entry: RrsetEntry,
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

    /// The RDATA of all records, each with its length before it.
    pub(super) fn octets(&self) -> &'a [u8] {
        &self.bytes[self.entry.at as usize..self.entry.end as usize]
    }

    /// The RDATA of each record: canonical form, uncompressed.
    pub fn rdatas(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut rest = self.octets();
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (rdata, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            rest = after;
            Some(rdata)
        })
    }
}
