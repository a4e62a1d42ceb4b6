//! Header and frame of a journal as octets. Numbers are big-endian.
//!
//! | octets | header |
//! |---|---|
//! | 8 | `sealdnsj` |
//! | 2, 2 | the format: 1, and its complement: a flipped bit makes no newer one |
//! | 1, n | length of the apex, and the apex |
//! | 8, 32 | the [`Place`] behind which the first frame comes: sequence number and hash |
//! | 4 | CRC-32C of all this |
//!
//! | octets | frame |
//! |---|---|
//! | 4 | length of what follows the checksum; 0: here is no frame |
//! | 4 | CRC-32C of length and content |
//! | 8 | sequence number |
//! | 32 | hash of the frame before: SHA-256 of its content |
//! | 8 | when it was made, in seconds since 1970 |
//! | 1 | kind |
//! | 1 | bit 0: a second difference follows, of what stands beside the zone |
//! | 4, n | length of what is known of the version that it leads to, and this as its writer has it |
//! | … | the difference, or both |
//!
//! | octets | difference |
//! |---|---|
//! | 4, 4 | the older serial and the newer one |
//! | 4, 4 | how many RRsets are removed, and added |
//! | … | the RRsets removed, then those added |
//!
//! | octets | RRset |
//! |---|---|
//! | 1, n | length of the owner name, and the name |
//! | 2, 4, 4 | type, TTL in seconds, and how many records |
//! | 2, n | of each record the length of its RDATA, and the RDATA |

use itertools::Itertools as _;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::error::JournalError;
use crate::zone::difference::{Difference, RecordRef, Records};
use crate::zone::name::{is_at_or_below, wire_name_len};
use crate::zone::{Name, Rtype, Serial};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

const MAGIC: &[u8; 8] = b"sealdnsj";

/// The format that is written, and the newest that is read.
pub(super) const FORMAT: u16 = 1;

/// Octets before the content of a frame.
pub(super) const PREFIX: usize = 8;

const HAS_BESIDE: u8 = 1;

/// A place in the chain of a zone's frames, and with it a version of the zone: that to which a frame leads, or that with
/// which the chain begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The number of the frame; 0 at the beginning of a chain.
    pub sequence: u64,
    /// The hash of the frame; at the beginning of a chain the digest of the version with which it begins.
    pub hash: Digest,
}

impl Place {
    /// The beginning of a chain of frames, which lead on from the version with this digest.
    pub fn beginning(digest: Digest) -> Place {
        Place { sequence: 0, hash: digest }
    }
}

/// What a file begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub apex: Name,
    /// The place behind which the first frame comes.
    pub before: Place,
}

impl Header {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.extend_from_slice(&(!FORMAT).to_be_bytes());
        write_name(self.apex.as_wire(), out);
        out.extend_from_slice(&self.before.sequence.to_be_bytes());
        out.extend_from_slice(&self.before.hash);
        let sum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&sum.to_be_bytes());
    }

    /// The header of a file and how many octets it has.
    pub(super) fn read(file: &[u8]) -> Result<(Header, usize), JournalError> {
        let mut rest = Octets(file);
        if rest.array() != Some(*MAGIC) {
            return Err(JournalError::NoJournal);
        }
        let mut number = || rest.array().map(u16::from_be_bytes).ok_or(JournalError::NoJournal);
        let (format, complement) = (number()?, number()?);
        if format != !complement {
            return Err(JournalError::NoJournal);
        }
        if format > FORMAT {
            return Err(JournalError::Newer { found: format, known: FORMAT });
        }
        let header = Header::read_fields(&mut rest).ok_or(JournalError::NoJournal)?;
        let len = file.len() - rest.0.len();
        let sum = rest.array().map(u32::from_be_bytes);
        if sum != Some(crc32c::crc32c(&file[..len])) || format != FORMAT {
            return Err(JournalError::NoJournal);
        }
        Ok((header, len + 4))
    }

    fn read_fields(rest: &mut Octets<'_>) -> Option<Header> {
        Some(Header {
            apex: Name::from_wire(rest.name()?)?,
            before: Place { sequence: u64::from_be_bytes(rest.array()?), hash: rest.array()? },
        })
    }
}

/// What made a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum FrameKind {
    /// The zone's file changed.
    File = 1,
    /// A dynamic update (RFC 2136).
    Update = 2,
    /// A transfer from the primary (RFC 1995, RFC 5936).
    Transfer = 3,
    /// Signatures that fell due, keys, policy.
    Signing = 4,
    /// The way back to an earlier version.
    Rollback = 5,
}

impl FrameKind {
    fn of(number: u8) -> Option<FrameKind> {
        use FrameKind::{File, Rollback, Signing, Transfer, Update};
        [File, Update, Transfer, Signing, Rollback].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A difference to be journalled.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// What made it.
    pub kind: FrameKind,
    /// Of the signed zone.
    pub zone: &'a Difference,
    /// Of what stands beside it and is said to ANY.
    pub any_answers: Option<&'a Difference>,
    /// What is known of the version that it leads to, as who writes it has it.
    pub facts: &'a [u8],
}

impl Entry<'_> {
    /// Appends the frame that comes behind a place. Returns its own place, or `None` if it is longer than a length says.
    pub(super) fn write(&self, before: &Place, out: &mut Vec<u8>) -> Option<Place> {
        let (start, sequence) = (out.len(), before.sequence + 1);
        out.extend_from_slice(&[0; PREFIX]);
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&before.hash);
        out.extend_from_slice(&self.time.to_be_bytes());
        let beside = if self.any_answers.is_some() { HAS_BESIDE } else { 0 };
        out.extend_from_slice(&[self.kind as u8, beside]);
        out.extend_from_slice(&u32::try_from(self.facts.len()).ok()?.to_be_bytes());
        out.extend_from_slice(self.facts);
        for difference in std::iter::once(self.zone).chain(self.any_answers) {
            write_difference(difference, out);
        }
        let content = start + PREFIX;
        let len = u32::try_from(out.len() - content).ok()?;
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
        let sum = checksum(len, &out[content..]);
        out[start + 4..content].copy_from_slice(&sum.to_be_bytes());
        Some(Place { sequence, hash: hash(&out[content..]) })
    }
}

fn checksum(len: u32, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&len.to_be_bytes()), content)
}

fn hash(content: &[u8]) -> Digest {
    digest(&SHA256, content).as_ref().try_into().unwrap_or_default()
}

fn write_name(name: &[u8], out: &mut Vec<u8>) {
    // 255 at most (RFC 1035 section 3.1).
    out.push(name.len() as u8);
    out.extend_from_slice(name);
}

fn write_difference(difference: &Difference, out: &mut Vec<u8>) {
    out.extend_from_slice(&difference.old_serial().0.to_be_bytes());
    out.extend_from_slice(&difference.new_serial().0.to_be_bytes());
    let counts = out.len();
    out.extend_from_slice(&[0; 8]);
    for (side, records) in [difference.removed(), difference.added()].into_iter().enumerate() {
        let count = write_rrsets(records, out);
        out[counts + 4 * side..][..4].copy_from_slice(&count.to_be_bytes());
    }
}

/// Records with the same owner, type and TTL as one RRset. Returns how many RRsets there are.
fn write_rrsets(records: &Records, out: &mut Vec<u8>) -> u32 {
    let mut count = 0;
    let rrsets = records.iter().chunk_by(|record| (record.owner, record.rtype, record.ttl));
    for ((owner, rtype, ttl), records) in &rrsets {
        count += 1;
        write_name(owner, out);
        out.extend_from_slice(&rtype.0.to_be_bytes());
        out.extend_from_slice(&ttl.to_be_bytes());
        let (at, mut len) = (out.len(), 0u32);
        out.extend_from_slice(&[0; 4]);
        for record in records {
            len += 1;
            // RDATA has less than 64 KiB.
            out.extend_from_slice(&(record.rdata.len() as u16).to_be_bytes());
            out.extend_from_slice(record.rdata);
        }
        out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }
    count
}

/// A frame of a file. Its records are read where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its number: one more than that of the frame before.
    pub sequence: u64,
    /// The hash of the frame before.
    pub before: Digest,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// What made it.
    pub kind: FrameKind,
    /// What is known of the version that it leads to, as who wrote it has it.
    pub facts: &'a [u8],
    /// The serials of the version before and of the one that it leads to.
    pub serials: [Serial; 2],
    content: &'a [u8],
    /// The difference of the zone, and that of what stands beside it.
    differences: &'a [u8],
    has_beside: bool,
}

/// A frame whose checksum is right and whose content is none that is written here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the content of a frame of the journal is malformed")]
pub struct MalformedFrame;

/// What is wrong with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CutReason {
    /// It says that it is longer than the file.
    #[error("a frame is cut short")]
    Length,
    /// Its octets changed, or were not all written.
    #[error("the checksum of a frame is wrong")]
    Checksum,
    /// It is another one than the next.
    #[error("a frame has not the next sequence number")]
    Sequence,
    /// It is the next of another frame.
    #[error("a frame does not follow the one before it")]
    Chain,
    /// What it says is nothing that is written here.
    #[error("a frame is malformed")]
    Malformed,
    /// Behind the last frame there is more than zeros.
    #[error("octets lie behind the last frame")]
    Behind,
    /// What it says changes is not so in the version before it.
    #[error("a frame does not fit the version before it")]
    Unfit,
}

/// The octets that one frame of `file` has at `at`, prefix and content, if its length and its checksum are right.
/// `None` where there is none: at a length of zero.
pub(super) fn frame_at(file: &[u8], at: usize) -> Option<Result<&[u8], CutReason>> {
    use CutReason::{Checksum, Length};
    let rest = file.get(at..).filter(|rest| !rest.is_empty())?;
    let Some((prefix, content)) = rest.split_first_chunk::<PREFIX>() else {
        return rest.iter().any(|octet| *octet != 0).then_some(Err(Length));
    };
    let (words, _) = prefix.as_chunks::<4>();
    let [len, sum] = [0, 1].map(|word| u32::from_be_bytes(words[word]));
    if len == 0 {
        return None;
    }
    let Some(content) = content.get(..len as usize) else { return Some(Err(Length)) };
    let is_right = sum == checksum(len, content);
    Some(if is_right { Ok(&rest[..PREFIX + content.len()]) } else { Err(Checksum) })
}

impl<'a> Frame<'a> {
    /// Reads the octets of a frame, its prefix among them.
    pub(super) fn read(octets: &'a [u8]) -> Option<Frame<'a>> {
        let content = octets.get(PREFIX..)?;
        let mut rest = Octets(content);
        let sequence = u64::from_be_bytes(rest.array()?);
        let before = rest.array()?;
        let time = u64::from_be_bytes(rest.array()?);
        let [kind, flags] = rest.array()?;
        let facts_len = u32::from_be_bytes(rest.array()?);
        let facts = rest.take(usize::try_from(facts_len).ok()?)?;
        let serials = Octets(rest.0).array::<8>()?;
        let (words, _) = serials.as_chunks::<4>();
        Some(Frame {
            sequence,
            before,
            time,
            kind: FrameKind::of(kind).filter(|_| flags & !HAS_BESIDE == 0)?,
            facts,
            serials: [0, 1].map(|word| Serial(u32::from_be_bytes(words[word]))),
            content,
            differences: rest.0,
            has_beside: flags & HAS_BESIDE != 0,
        })
    }

    /// The place of the version that it leads to: by its hash the next frame knows this one.
    pub fn place(&self) -> Place {
        Place { sequence: self.sequence, hash: hash(self.content) }
    }

    /// The difference of the zone, and that of what stands beside it.
    ///
    /// # Errors
    /// If it is none. Nothing is allocated then but for the records that were read until there.
    pub fn differences(
        &self,
        apex: &Name,
    ) -> Result<(Difference, Option<Difference>), MalformedFrame> {
        let mut rest = Octets(self.differences);
        let zone = read_difference(apex, &mut rest).ok_or(MalformedFrame)?;
        let beside = match self.has_beside {
            true => Some(read_difference(apex, &mut rest).ok_or(MalformedFrame)?),
            false => None,
        };
        if rest.0.is_empty() { Ok((zone, beside)) } else { Err(MalformedFrame) }
    }
}

fn read_difference(apex: &Name, rest: &mut Octets<'_>) -> Option<Difference> {
    let [old, new] =
        [rest.array()?, rest.array()?].map(|octets| Serial(u32::from_be_bytes(octets)));
    let counts = [rest.array()?, rest.array()?].map(u32::from_be_bytes);
    let [removed, added] = counts.map(|count| read_rrsets(apex, count, rest));
    Some(Difference::of_records(apex, [old, new], removed?.into_iter(), added?.into_iter()))
}

fn read_rrsets<'a>(apex: &Name, count: u32, rest: &mut Octets<'a>) -> Option<Vec<RecordRef<'a>>> {
    let mut records = Vec::new();
    for _ in 0..count {
        let owner = rest.name().filter(|name| is_at_or_below(name, apex.as_wire()))?;
        let rtype = Rtype(u16::from_be_bytes(rest.array()?));
        let ttl = u32::from_be_bytes(rest.array()?);
        for _ in 0..u32::from_be_bytes(rest.array()?) {
            let len = u16::from_be_bytes(rest.array()?);
            records.push(RecordRef { owner, rtype, ttl, rdata: rest.take(usize::from(len))? });
        }
    }
    Some(records)
}

/// Octets that are read from the front.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A lower-case wire name behind its length.
    fn name(&mut self) -> Option<&'a [u8]> {
        let [len] = self.array()?;
        let name = self.take(usize::from(len))?;
        let is_lower = !name.iter().any(u8::is_ascii_uppercase);
        (wire_name_len(name) == Some(name.len()) && is_lower).then_some(name)
    }
}
