//! Pieces read back: what a piece says in the context of a name, and whether its record is whole. Nothing here
//! is shared with the code that builds pieces or sends them.

use std::fmt;

use xdp_common::checksum;
use xdp_common::dns::name::MAX_LABELS;
use xdp_common::image::piece::{
    FIXUP_START, MARKED, MAX_FIXUPS, NEVER, OWNER_INSIDE, Piece, QUESTION_POINTER, TOO_LARGE, at,
    marked, names_in,
};
use xdp_common::image::{Address, UNIT, WINDOW, Window};
use xdp_common::maps::CHUNK_LEN;

use super::super::memory::{Memory, window};
use crate::zone::{Rtype, name};

/// The most pointers of one name that lead on to another: an owner name of the piece, whose end is in the
/// context.
const MAX_POINTERS: usize = 2;

/// What is wrong with a piece.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say it")]
pub enum PieceFault {
    #[error("no record of its length can be at its address {0:#x}")]
    Outside(Address),
    #[error("its header is wrong: {0}")]
    Header(&'static str),
    #[error("the stored sum {stored:04x} is not that of its octets, {is:04x}")]
    Sum { stored: u16, is: u16 },
    #[error("the pointer at octet {0} is wrong: {1}")]
    Fixup(usize, &'static str),
    #[error("it ends within a record")]
    CutShort,
    #[error("it holds {found} records and counts {counted}")]
    Count { found: usize, counted: usize },
    #[error("it is marked as valid until {stored}, and its signatures are valid until {is}")]
    NotAfter { stored: u32, is: u32 },
    #[error("it is marked as valid until {0}, when none of its signatures ends")]
    NoEnd(u32),
    #[error("no message has room for it: queries for it are answered SERVFAIL")]
    TooLarge,
}

/// One record of a piece, its names in full.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Owner name in wire format.
    pub owner: Vec<u8>,
    /// Its type.
    pub rtype: Rtype,
    /// In seconds.
    pub ttl: u32,
    /// RDATA, uncompressed.
    pub rdata: Vec<u8>,
    /// Whether it is sent only with DO set.
    pub needs_dnssec: bool,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::write_name(f, &self.owner)?;
        write!(f, " {} {} ({} octets)", self.ttl, self.rtype, self.rdata.len())
    }
}

/// A piece in the slab whose record lies where it may and is as long as it says.
#[derive(Clone, Copy)]
pub struct LocatedPiece<'a> {
    /// As the engine reads it.
    pub piece: Piece<'a>,
    body: &'a [u8],
    /// How many there are; none if it is [`MARKED`].
    fixups: usize,
}

/// The `len` octets of a record at an address, if the slab has a record of that length there: the allocator puts
/// small ones where their window ends with the chunk, and large ones at a chunk's start.
pub fn record(memory: &dyn Memory, address: Address, len: usize) -> Option<&[u8]> {
    let start = address as usize * UNIT;
    let in_chunk = start % CHUNK_LEN;
    let may_start = match len.next_multiple_of(UNIT) {
        ..=WINDOW => in_chunk <= CHUNK_LEN - size_of::<Window>(),
        _ => in_chunk == 0,
    };
    if address == 0 || !may_start || start.checked_add(len)? > memory.slab_len() {
        return None;
    }
    memory.read(start, len)
}

impl<'a> LocatedPiece<'a> {
    /// Reads the piece at an address.
    pub fn new(memory: &'a dyn Memory, address: Address) -> Result<LocatedPiece<'a>, PieceFault> {
        let outside = PieceFault::Outside(address);
        let head = record(memory, address, at::FIXUP_LIST).ok_or_else(|| outside.clone())?;
        let piece = Piece::new(window(memory, address).ok_or_else(|| outside.clone())?);
        if piece.len(1) == TOO_LARGE {
            return Err(PieceFault::TooLarge);
        }
        let is_marked = piece.fixups(1) == MARKED;
        let fixups = if is_marked { 0 } else { piece.fixups(1) };
        let start = piece.body_at();
        let whole = record(memory, address, start + piece.len(1)).ok_or(outside)?;
        let read = LocatedPiece { piece, body: &whole[start..], fixups };
        let list_end = at::FIXUP_LIST + fixups * 4;
        for (holds, what) in [
            (piece.len(0) <= piece.len(1), "it is longer without DNSSEC records than with them"),
            (piece.count(0) <= piece.count(1), "it counts more records without DNSSEC than with"),
            (
                piece.fixups(0) <= piece.fixups(1),
                "it has more pointers without DNSSEC records than with",
            ),
            (!is_marked || piece.fixups(0) == MARKED, "only a part of it is marked as too large"),
            (fixups <= MAX_FIXUPS, "it has more pointers than any piece"),
            (head[at::OWNER + 1..at::FIXUP_LIST] == [0; 5], "unused octets are not zero"),
            (whole[list_end..start].iter().all(|octet| *octet == 0), "unused octets are not zero"),
        ] {
            if !holds {
                return Err(PieceFault::Header(what));
            }
        }
        Ok(read)
    }

    /// Octets of its record.
    pub fn octets(&self) -> usize {
        self.piece.body_at() + self.body.len()
    }

    /// Its records in the context of a name, if sums, pointers, counts and time are right.
    pub fn records(&self, context: &[u8]) -> Result<Vec<Record>, PieceFault> {
        let plain_len = self.piece.len(0);
        for (dnssec, len) in [(0, plain_len), (1, self.body.len())] {
            let (stored, is) = (self.piece.sum(dnssec), checksum::of(&self.body[..len]));
            if stored != is {
                return Err(PieceFault::Sum { stored, is });
            }
        }
        let mut reader = Reader { read: self, context, at: 0, used: [0; MAX_FIXUPS] };
        let mut records = Vec::with_capacity(self.piece.count(1));
        while reader.at < self.body.len() {
            let needs_dnssec = reader.at >= plain_len;
            records.push(reader.record(needs_dnssec)?);
            if !needs_dnssec && reader.at > plain_len {
                return Err(PieceFault::CutShort);
            }
        }
        for dnssec in [0, 1] {
            let found = records.iter().filter(|record| dnssec == 1 || !record.needs_dnssec).count();
            let counted = self.piece.count(dnssec);
            if found != counted {
                return Err(PieceFault::Count { found, counted });
            }
        }
        self.check_fixups(&reader.used)?;
        self.check_time(&records)?;
        Ok(records)
    }

    /// Whether every pointer is written into a name once, and those before the DNSSEC records are counted so.
    fn check_fixups(&self, used: &[u8; MAX_FIXUPS]) -> Result<(), PieceFault> {
        let mut in_plain = 0;
        for (index, times) in used.iter().enumerate().take(self.fixups) {
            let (place, _) = self.piece.fixup(index);
            if *times != 1 {
                return Err(PieceFault::Fixup(place, "it is not the end of one name"));
            }
            in_plain += usize::from(place < self.piece.len(0));
            // Those of the part that is sent without DNSSEC records must come first.
            if in_plain != (index + 1).min(self.piece.fixups(0)) {
                return Err(PieceFault::Fixup(place, "it is counted in the wrong part"));
            }
        }
        Ok(())
    }

    fn check_time(&self, records: &[Record]) -> Result<(), PieceFault> {
        let times = records.iter().filter(|record| record.rtype == Rtype::RRSIG).map(|record| {
            let octets = record.rdata.get(8..12).and_then(|octets| octets.try_into().ok());
            octets.map(u32::from_be_bytes).ok_or(PieceFault::CutShort)
        });
        let stored = self.piece.not_after();
        let (mut is_signed, mut ends_then) = (false, false);
        for time in times {
            is_signed = true;
            ends_then |= time?.min(NEVER - 1) == stored;
        }
        // Which of them it must be takes to know the zone.
        let is_right = if is_signed { ends_then } else { stored == NEVER };
        if is_right { Ok(()) } else { Err(PieceFault::NoEnd(stored)) }
    }
}

/// Walks over the body of a piece.
struct Reader<'r, 'a> {
    read: &'r LocatedPiece<'a>,
    context: &'r [u8],
    at: usize,
    /// How often each pointer ended a name.
    used: [u8; MAX_FIXUPS],
}

impl<'r> Reader<'r, '_> {
    fn take(&mut self, len: usize) -> Result<&[u8], PieceFault> {
        let taken = self.read.body.get(self.at..self.at + len).ok_or(PieceFault::CutShort)?;
        self.at += len;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, PieceFault> {
        let octets = self.take(2)?;
        Ok(u16::from_be_bytes([octets[0], octets[1]]))
    }

    fn record(&mut self, needs_dnssec: bool) -> Result<Record, PieceFault> {
        let owner = self.owner()?;
        let rtype = Rtype(self.u16()?);
        if self.u16()? != 1 {
            return Err(PieceFault::Header("a record is not of class IN"));
        }
        let ttl = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        let len = usize::from(self.u16()?);
        let end = self.at + len;
        let mut rdata = Vec::with_capacity(len);
        if let Some((before, names)) = names_in(rtype.0) {
            rdata.extend(self.take(before)?);
            for _ in 0..names {
                let name = self.name()?;
                rdata.extend(name);
            }
        }
        let rest = end.checked_sub(self.at).ok_or(PieceFault::CutShort)?;
        rdata.extend(self.take(rest)?);
        Ok(Record { owner, rtype, ttl, rdata, needs_dnssec })
    }

    fn owner(&mut self) -> Result<Vec<u8>, PieceFault> {
        let len = match self.read.piece.owner() {
            OWNER_INSIDE => return self.name(),
            0 => self.context.len(),
            len => usize::from(len),
        };
        let place = self.at;
        if self.u16()? != QUESTION_POINTER {
            return Err(PieceFault::Fixup(place, "the owner name is no pointer to the question"));
        }
        self.suffix(place, len).map(<[u8]>::to_vec)
    }

    /// The suffix of the context's name with this length.
    fn suffix(&self, place: usize, len: usize) -> Result<&'r [u8], PieceFault> {
        let fault = PieceFault::Fixup(place, "it leads to no end of the name asked for");
        let from = self.context.len().checked_sub(len).ok_or_else(|| fault.clone())?;
        let suffix = &self.context[from..];
        if name::is_at_or_below(self.context, suffix) { Ok(suffix) } else { Err(fault) }
    }

    /// The pointer that is to be written at a place, if one is; `is_end` if a name ends with it.
    fn pointer(&mut self, at: usize, is_end: bool) -> Result<Option<u16>, PieceFault> {
        let octets: Option<[u8; 2]> =
            self.read.body.get(at..at + 2).and_then(|two| two.try_into().ok());
        if self.read.piece.fixups(1) == MARKED {
            return Ok(octets.and_then(marked));
        }
        let fixup = (0..self.read.fixups).find(|&index| self.read.piece.fixup(index).0 == at);
        let Some(index) = fixup else { return Ok(None) };
        if octets != Some([0, 0]) {
            return Err(PieceFault::Fixup(at, "its place is not empty"));
        }
        self.used[index] = self.used[index].saturating_add(u8::from(is_end));
        Ok(Some(self.read.piece.fixup(index).1))
    }

    /// A name that is spelled out, as far as it is.
    fn name(&mut self) -> Result<Vec<u8>, PieceFault> {
        let mut wire = Vec::new();
        let (mut at, mut after, mut pointers) = (self.at, None, 0);
        loop {
            let body = self.read.body;
            if let Some(what) = self.pointer(at, after.is_none())? {
                after.get_or_insert(at + 2);
                pointers += 1;
                if what & FIXUP_START == 0 {
                    wire.extend(self.suffix(at, usize::from(what))?);
                    break;
                }
                let target = usize::from(what & !FIXUP_START);
                let most =
                    if self.read.piece.fixups(1) == MARKED { MAX_LABELS } else { MAX_POINTERS };
                if target >= at || pointers > most {
                    return Err(PieceFault::Fixup(at, "it leads to no name before it"));
                }
                at = target;
                continue;
            }
            let len = usize::from(*body.get(at).ok_or(PieceFault::CutShort)?);
            if len > 63 {
                return Err(PieceFault::Fixup(at, "a name has no such label"));
            }
            wire.extend(body.get(at..at + 1 + len).ok_or(PieceFault::CutShort)?);
            at += 1 + len;
            if len == 0 {
                after.get_or_insert(at);
                break;
            }
        }
        self.at = after.unwrap_or(at);
        if name::wire_name_len(&wire) != Some(wire.len()) {
            return Err(PieceFault::Fixup(at, "the name is too long"));
        }
        Ok(wire)
    }
}
