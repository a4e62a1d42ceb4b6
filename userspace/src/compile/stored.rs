//! A zone that was compiled apart as octets, to be kept in a file.
//!
//! Numbers are little-endian, as they are in records. Who reads them knows that they are what was written: what is looked at
//! here is that nothing lies outside of them.
//!
//! | octets | what |
//! |---|---|
//! | 4, 4 | when it was compiled; the most labels of a name |
//! | 8 | how many nodes have another name's proofs |
//! | 7 × 8 | how many there are of each of the lists that follow |
//! | 8 | octets of the records |
//! | 4 each | nodes |
//! | 8 each | extents: address and length |
//! | 8 each | aliases, hosts, names by hash: key and node |
//! | 4 each | zone records |
//! | 4, n each | what no message can carry: length of its owner, kind, type; the owner |
//! | n | the records, whole chunks |

use std::io::{self, Read, Write};

use bytes::Bytes;
use xdp_common::image::{Address, UNIT};
use xdp_common::maps::CHUNK_LEN;

use super::apart::ApartZone;
use super::error::{Unsendable, UnsendableKind};
use super::slab::Extent;
use super::sorted::SortedList;
use super::version::CompiledZone;
use crate::zone::{Name, Rtype};

/// Lists of different lengths.
const LISTS: usize = 7;

/// Where the numbers of their elements stand.
const COUNTS_AT: usize = 16;

/// Octets before the lists.
const HEAD: usize = COUNTS_AT + (LISTS + 1) * 8;

impl ApartZone {
    /// Writes it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let zone = &self.zone;
        let pairs = [&zone.aliases, &zone.hosts, &zone.by_hash];
        let [aliases, hosts, by_hash] = pairs.map(SortedList::len);
        out.write_all(&self.compiled_at.to_le_bytes())?;
        out.write_all(&self.max_labels.to_le_bytes())?;
        let counts: [usize; LISTS] = [
            zone.nodes.len(),
            zone.extents.len(),
            aliases,
            hosts,
            by_hash,
            zone.records.len(),
            zone.unsendable.len(),
        ];
        for number in [zone.dependents].into_iter().chain(counts).chain([self.octets.len()]) {
            out.write_all(&(number as u64).to_le_bytes())?;
        }
        write_words(zone.nodes.iter().copied(), out)?;
        write_words(zone.extents.iter().flat_map(|extent| [extent.address, extent.len]), out)?;
        for list in pairs {
            write_words(list.iter().flat_map(|&(key, node)| [key, node]), out)?;
        }
        write_words(zone.records.iter().copied(), out)?;
        for Unsendable { owner, kind } in &zone.unsendable {
            let (kind, rtype) = match *kind {
                UnsendableKind::Rrset(rtype) => (0, rtype.0),
                UnsendableKind::Referral => (1, 0),
                UnsendableKind::Glue => (2, 0),
                UnsendableKind::Types => (3, 0),
            };
            let wire = owner.as_wire();
            out.write_all(&[wire.len() as u8, kind])?;
            out.write_all(&rtype.to_le_bytes())?;
            out.write_all(wire)?;
        }
        out.write_all(&self.octets)
    }

    /// Of a zone that is read, how many names it has and how many octets of the slab it takes.
    ///
    /// # Errors
    /// Those of `from`.
    pub fn read_size(from: &mut impl Read) -> io::Result<(u64, u64)> {
        let mut head = [0; HEAD];
        from.read_exact(&mut head)?;
        let number = |at: usize| head[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        Ok((number(COUNTS_AT), number(HEAD - 8)))
    }

    /// Reads the zone `apex` from octets that were written so; its records stay where they are. `None` if these are others.
    pub fn read(apex: &Name, stored: &Bytes) -> Option<ApartZone> {
        let mut from = Cursor(stored);
        let (compiled_at, max_labels) = (from.word()?, from.word()?);
        let dependents = from.number()?;
        let mut counts = [0; LISTS];
        for count in &mut counts {
            *count = from.number()?;
        }
        let octets = from.number()?;
        let [nodes, extents, aliases, hosts, by_hash, records, unsendable] = counts;
        let nodes = SortedList::of(&from.words(nodes)?);
        let extents = from.pairs(extents)?;
        let extents = extents.into_iter().map(|(address, len)| Extent { address, len });
        let extents: Vec<Extent> = extents.collect();
        let mut pairs = |count| from.pairs(count).map(|pairs| SortedList::of(&pairs));
        let (aliases, hosts, by_hash) = (pairs(aliases)?, pairs(hosts)?, pairs(by_hash)?);
        let records = from.words(records)?;
        let mut unsent = Vec::new();
        for _ in 0..unsendable {
            unsent.push(from.unsendable()?);
        }
        let rest = from.0;
        if rest.len() != octets || !octets.is_multiple_of(CHUNK_LEN) {
            return None;
        }
        let taken = extents.iter().map(|extent| (extent.len as usize).next_multiple_of(UNIT));
        let zone = CompiledZone {
            nodes,
            octets: taken.sum(),
            extents: SortedList::of(&extents),
            aliases,
            hosts,
            by_hash,
            dependents,
            records,
            is_partial: false,
            unsendable: unsent,
            is_gone: Default::default(),
        };
        let octets = stored.slice_ref(rest);
        Some(ApartZone { apex: apex.clone(), zone, octets, max_labels, compiled_at })
    }
}

fn write_words(words: impl Iterator<Item = u32>, out: &mut impl Write) -> io::Result<()> {
    words.map(u32::to_le_bytes).try_for_each(|word| out.write_all(&word))
}

/// What is left to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn number(&mut self) -> Option<usize> {
        let number = self.take(8)?.try_into().ok().map(u64::from_le_bytes)?;
        usize::try_from(number).ok()
    }

    fn words(&mut self, count: usize) -> Option<Vec<u32>> {
        let words = self.take(count.checked_mul(4)?)?.as_chunks::<4>().0;
        Some(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    fn pairs(&mut self, count: usize) -> Option<Vec<(u32, Address)>> {
        let words = self.words(count.checked_mul(2)?)?;
        Some(words.as_chunks::<2>().0.iter().map(|&[one, other]| (one, other)).collect())
    }

    fn unsendable(&mut self) -> Option<Unsendable> {
        let [len, kind, low, high] = *self.take(4)?.first_chunk()?;
        let kind = match kind {
            0 => UnsendableKind::Rrset(Rtype(u16::from_le_bytes([low, high]))),
            1 => UnsendableKind::Referral,
            2 => UnsendableKind::Glue,
            3 => UnsendableKind::Types,
            _ => return None,
        };
        Some(Unsendable { owner: Name::from_wire(self.take(len.into())?)?, kind })
    }
}
