//! The index of an NSEC3 chain as it lies in memory ([`xdp_common::image::chain`]).

use xdp_common::image::chain::{
    self, Chain, MAX_BITS, MAX_SCAN, PAGE_LEN, REFERENCE_LEN, at, range_at,
};
use xdp_common::image::{Address, UNIT};

use super::memory::{ENTRY_LEN, Memory, window};
use crate::dnssec::denial::Hash;

/// The start of a hash, as the index has it.
pub type HashKey = (u64, u32);

/// An entry of the index: the start of a hash, and the piece of its NSEC3 record.
pub type HashEntry = (HashKey, Address);

/// How many entries ranges have on average once they are made, at most; and at least half of it.
const FILLED: usize = 8;

/// How many they may have on average before they are made anew.
const MOST_FILLED: usize = 16;

/// The start of a hash, as the index has it.
pub fn hash_key(hash: &Hash) -> HashKey {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *hash;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}

/// The part of a hash by which names are found whose proofs depend on it.
pub fn hash_prefix((high, _): HashKey) -> u32 {
    (high >> 32) as u32
}

/// An index that is in memory.
#[derive(Clone, Copy)]
pub struct HashIndex<'a> {
    memory: &'a dyn Memory,
    root: Address,
    /// By how many top bits there are ranges.
    pub bits: u32,
    /// How many entries it has.
    pub count: u32,
}

/// A range as it is read.
#[derive(Clone, Copy)]
pub struct Range<'a> {
    /// The last record of the ranges before it.
    pub before: Address,
    entries: &'a [u8],
}

impl<'a> Range<'a> {
    /// Its entries in order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = HashEntry> + use<'a> {
        self.entries.chunks_exact(ENTRY_LEN).map(read_entry)
    }

    /// The last record of it and the ranges before it.
    pub fn last(&self) -> Address {
        self.entries().next_back().map_or(self.before, |(_, piece)| piece)
    }
}

impl<'a> HashIndex<'a> {
    /// The index whose root is at an address; `None` if there is none or it cannot be read.
    pub fn new(memory: &'a dyn Memory, root: Address) -> Option<HashIndex<'a>> {
        let chain = window(memory, root).map(Chain::new).filter(|_| root != 0)?;
        let bits = 64u32.checked_sub(chain.shift()).filter(|bits| *bits <= MAX_BITS)?;
        Some(HashIndex { memory, root, bits, count: chain.count() })
    }

    /// How many ranges there are.
    pub fn range_count(&self) -> u32 {
        1 << self.bits
    }

    /// How many pages there are.
    pub fn page_count(&self) -> u32 {
        page_count(self.bits)
    }

    /// The number of the range that a hash belongs to.
    pub fn number(&self, (high, _): HashKey) -> u32 {
        range_number(high, self.bits)
    }

    /// The page with this number.
    pub fn page(&self, number: u32) -> Option<Address> {
        self.reference(self.root.checked_add((at::PAGES / UNIT) as Address)?, number)
    }

    /// Where the range with this number is.
    pub fn range_address(&self, number: u32) -> Option<Address> {
        self.reference(self.page(number / PAGE_LEN as u32)?, number % PAGE_LEN as u32)
    }

    /// The addresses of all pages.
    pub fn pages(&self) -> Option<Vec<Address>> {
        self.references(self.root.checked_add((at::PAGES / UNIT) as Address)?, self.page_count())
    }

    /// The addresses of the ranges of a page.
    pub fn ranges_of(&self, page: u32) -> Option<Vec<Address>> {
        let first = page * PAGE_LEN as u32;
        self.references(self.page(page)?, (self.range_count() - first).min(PAGE_LEN as u32))
    }

    fn references(&self, references: Address, count: u32) -> Option<Vec<Address>> {
        let len = count as usize * REFERENCE_LEN;
        let octets = self.memory.read(references as usize * UNIT, len)?;
        let address = |octets: &[u8]| octets.first_chunk().map(|it| Address::from_le_bytes(*it));
        octets.chunks_exact(REFERENCE_LEN).map(address).collect()
    }

    fn reference(&self, references: Address, place: u32) -> Option<Address> {
        let at = references as usize * UNIT + place as usize * REFERENCE_LEN;
        let octets = self.memory.read(at, REFERENCE_LEN)?.try_into().ok()?;
        Some(Address::from_le_bytes(octets)).filter(|address| *address != 0)
    }

    /// The range with this number.
    pub fn range(&self, number: u32) -> Option<Range<'a>> {
        let at = self.range_address(number)? as usize * UNIT;
        let head = self.memory.read(at, range_at::ENTRIES)?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let count = Some(word(range_at::COUNT) as usize).filter(|count| *count < MAX_SCAN)?;
        let entries = self.memory.read(at + range_at::ENTRIES, count * ENTRY_LEN)?;
        Some(Range { before: word(range_at::BEFORE), entries })
    }

    /// The record whose hash starts so.
    pub fn matching(&self, key: HashKey) -> Option<Address> {
        let range = self.range(self.number(key))?;
        range.entries().find(|(has, _)| *has == key).map(|(_, piece)| piece)
    }

    /// The entries up to a hash, from the last one on.
    pub fn until(self, key: HashKey) -> impl Iterator<Item = HashEntry> + use<'a> {
        let ranges = (0..=self.number(key)).rev().filter_map(move |number| self.range(number));
        ranges.flat_map(|range| range.entries().rev()).skip_while(move |(has, _)| *has > key)
    }

    /// The entries after a hash, or all.
    pub fn after(self, key: Option<HashKey>) -> impl Iterator<Item = HashEntry> + use<'a> {
        let first = key.map_or(0, |key| self.number(key));
        let ranges = (first..self.range_count()).filter_map(move |number| self.range(number));
        let entries = ranges.flat_map(|range| range.entries());
        entries.skip_while(move |(has, _)| key.is_some_and(|key| *has <= key))
    }

    /// What stands in the root before its references.
    pub fn head(&self) -> RootHead {
        let chain = window(self.memory, self.root).map(Chain::new);
        RootHead {
            count: self.count,
            apex_match: chain.map_or(0, Chain::apex_match),
            bits: self.bits,
            salt_len: chain.map_or(0, |chain| chain.salt_len() as u8),
            iterations: chain.map_or(0, |chain| chain.iterations() as u16),
            salt: chain.map_or(0, Chain::salt),
        }
    }
}

/// The number of the range that a hash belongs to where there are ranges by so many bits.
pub fn range_number(high: u64, bits: u32) -> u32 {
    (high >> (64 - bits)) as u32
}

/// How many pages hold ranges by so many bits.
pub fn page_count(bits: u32) -> u32 {
    (1u32 << bits).div_ceil(PAGE_LEN as u32)
}

/// By how many bits there may be ranges of these entries, which are in order: as it was, unless ranges would have too
/// few or too many on average or one of them has. `None` if too many hashes start alike.
pub fn bits_for(entries: &[HashEntry], older: Option<u32>) -> Option<u32> {
    let fits = |bits: &u32| {
        let ranges = entries.chunk_by(|((a, _), _), ((b, _), _)| {
            range_number(*a, *bits) == range_number(*b, *bits)
        });
        ranges.map(<[HashEntry]>::len).all(|len| len < MAX_SCAN - 1)
    };
    let kept = older.filter(|bits| is_filled(entries.len(), *bits)).filter(fits);
    let least = (entries.len() / (FILLED / 2)).max(2).ilog2();
    kept.or_else(|| (least..=MAX_BITS).find(fits))
}

/// Whether ranges by so many bits have neither too few entries on average nor too many.
pub fn is_filled(count: usize, bits: u32) -> bool {
    let ranges = 1usize << bits;
    count <= ranges * MOST_FILLED && (bits == 1 || count >= ranges)
}

/// The octets of a range.
pub fn range_octets(before: Address, entries: &[HashEntry]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(range_at::ENTRIES + entries.len() * ENTRY_LEN);
    octets.extend(before.to_le_bytes());
    octets.extend((entries.len() as u32).to_le_bytes());
    for &((high, low), piece) in entries {
        octets.extend(high.to_le_bytes());
        octets.extend(low.to_le_bytes());
        octets.extend(piece.to_le_bytes());
    }
    octets
}

/// The octets of references to pages or ranges.
pub fn reference_octets(addresses: impl Iterator<Item = Address>) -> Vec<u8> {
    let mut octets: Vec<u8> = addresses.flat_map(Address::to_le_bytes).collect();
    octets.resize(octets.len().next_multiple_of(ENTRY_LEN), 0);
    octets
}

/// What stands in a root before its references.
#[derive(Clone, Copy)]
pub struct RootHead {
    /// How many entries the ranges have in all.
    pub count: u32,
    /// The record that matches the apex.
    pub apex_match: Address,
    /// By how many top bits there are ranges.
    pub bits: u32,
    /// Octets of the salt.
    pub salt_len: u8,
    /// Additional iterations of the hash.
    pub iterations: u16,
    /// The record with the salt.
    pub salt: Address,
}

impl RootHead {
    /// Its octets.
    pub fn octets(&self) -> [u8; at::PAGES] {
        const { assert!(chain::at::PAGES == 16) };
        let mut octets = [0; at::PAGES];
        let mut put = |at: usize, value: &[u8]| octets[at..at + value.len()].copy_from_slice(value);
        put(at::COUNT, &self.count.to_le_bytes());
        put(at::APEX_MATCH, &self.apex_match.to_le_bytes());
        put(at::SHIFT, &[(64 - self.bits) as u8]);
        put(at::SALT_LEN, &[self.salt_len]);
        put(at::ITERATIONS, &self.iterations.to_le_bytes());
        put(at::SALT, &self.salt.to_le_bytes());
        octets
    }
}

fn read_entry(entry: &[u8]) -> HashEntry {
    let word =
        |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
    ((u64::from(word(0)) | u64::from(word(4)) << 32, word(8)), word(12))
}
