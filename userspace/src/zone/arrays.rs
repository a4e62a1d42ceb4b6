//! Owner names and their RRsets, as they lie in flat arrays of octets.

use super::rtype::Rtype;
use super::tree::Zone;

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
    pub(super) zone: &'a Zone,
    pub(super) index: usize,
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
