//! A query: header, question, and what EDNS adds (RFC 1035 section 4.1, RFC 6891, RFC 9619).

use crate::Outcome;
use crate::bytes::u8_at;
use crate::checksum::add_u64;
use crate::dns::{HEADER_LEN, MIN_PAYLOAD, QUESTION_TAIL_LEN, edns, name, rtype};
use crate::frame::{Frame, le32, le64};
use crate::launder::{forget, recall};
use crate::scratch::{MAX_QUERY, Scratch};

/// The header bits of the second 16-bit word, as they lie in a little-endian load.
mod flags {
    pub(super) const QR: u64 = 0x0080;
    pub(super) const OPCODE: u64 = 0x0078;
    pub(super) const RD: u64 = 0x0001;
    pub(super) const CD: u64 = 0x1000;
}

/// The class IN as it lies in memory.
const CLASS_IN: u32 = 0x0100;

/// What a query asks. All numbers are in the machine's order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// One's-complement sum of the question as sent.
    pub question_sum: u64,
    /// The hash of the name.
    pub hash: u64,
    /// The message identifier as it lies in memory, and RD and CD in their places above it.
    pub id_and_flags: u32,
    /// Octets of the name on the wire.
    pub name_len: u32,
    /// Labels of the name, the root not counted.
    pub labels: u32,
    /// QTYPE.
    pub qtype: u32,
    /// 1 if there is an OPT record.
    pub edns: u32,
    /// The EDNS version.
    pub version: u32,
    /// 1 if the DO bit is set.
    pub dnssec_ok: u32,
    /// The client's payload size in octets as sent; [`Query::payload_limit`] is what it means.
    pub payload: u32,
    /// Where the options start in [`Scratch::question`].
    pub options_at: u32,
    /// Octets of options that are to be looked at.
    pub options_len: u32,
    /// Where the value of the first COOKIE option starts in [`Scratch::question`]; 0 if there is none.
    pub cookie_at: u32,
    /// Octets of it.
    pub cookie_len: u32,
    /// 1 if NSID is asked for.
    pub nsid: u32,
    /// 1 if ZONEVERSION is asked for.
    pub zone_version: u32,
    /// 1 if the client has sent a cookie of a right length, to a server that has cookies.
    pub has_cookie: u32,
    /// 1 if that cookie is one that this server has given it: its address is its own.
    pub has_valid_cookie: u32,
}

impl Query {
    /// No query.
    pub const fn new() -> Query {
        Query {
            question_sum: 0,
            hash: 0,
            id_and_flags: 0,
            name_len: 0,
            labels: 0,
            qtype: 0,
            edns: 0,
            version: 0,
            dnssec_ok: 0,
            payload: 0,
            options_at: 0,
            options_len: 0,
            cookie_at: 0,
            cookie_len: 0,
            nsid: 0,
            zone_version: 0,
            has_cookie: 0,
            has_valid_cookie: 0,
        }
    }

    /// 1 if DNSSEC records are wanted, as a number that the verifier does not know.
    #[inline(always)]
    pub fn dnssec(&self) -> usize {
        recall(&self.dnssec_ok) as usize & 1
    }

    /// 1 if the response has an OPT record.
    #[inline(always)]
    pub fn opt(&self) -> usize {
        recall(&self.edns) as usize & 1
    }

    /// The largest response over UDP in octets: 512 without EDNS, else the client's payload size but
    /// not below 512, and never above the server's `limit`.
    #[inline(always)]
    pub fn payload_limit(&self, limit: usize) -> usize {
        let asked = if self.edns != 0 { self.payload as usize } else { 0 };
        let asked = if asked < MIN_PAYLOAD { MIN_PAYLOAD } else { asked };
        if asked < limit { asked } else { limit }
    }
}

impl Default for Query {
    fn default() -> Query {
        Query::new()
    }
}

/// Reads the message of `len` octets at `at`: checks it and fills [`Scratch::query`],
/// [`Scratch::question`], [`Scratch::name`] and [`Scratch::offsets`]. Returns the one's-complement
/// sum of the whole message.
#[inline(always)]
pub fn decode<F: Frame>(
    frame: &F,
    at: usize,
    len: usize,
    seed: u64,
    scratch: &mut Scratch,
) -> Result<u64, Outcome> {
    if len < HEADER_LEN {
        return Err(Outcome::Malformed);
    }
    if len > MAX_QUERY {
        return Err(Outcome::TooLong);
    }
    let header = le64(frame, at).ok_or(Outcome::BadLength)?;
    let counts = le32(frame, at + 8).ok_or(Outcome::BadLength)?;
    let second = header >> 16;
    if second & flags::QR != 0 {
        return Err(Outcome::Response);
    }
    if second & flags::OPCODE != 0 {
        return Err(Outcome::Opcode);
    }
    // One question (RFC 9619), no answer and authority records, at most one additional record.
    let additionals = counts >> 24;
    if header >> 32 != 0x0000_0100 || counts & 0x00ff_ffff != 0 || additionals > 1 {
        return Err(Outcome::Counts);
    }
    let at = at + HEADER_LEN;
    let sum = frame.copy_out(at, len - HEADER_LEN, &mut scratch.question);
    let sum = add_u64(sum.ok_or(Outcome::BadLength)? + counts as u64, header);
    let sum = forget(&mut scratch.slots[6], sum);
    // The copying loop has compared the length with its counter: each exit knows it differently.
    let len = forget(&mut scratch.slots[7], (len - HEADER_LEN) as u64) as usize & 0x7ff;
    scratch.query.id_and_flags =
        ((header & 0xffff) | ((second & (flags::RD | flags::CD)) << 16)) as u32;

    let question = &scratch.question;
    let read = |place: usize| u8_at(question, place);
    let Some((name_len, labels)) = name::walk(read, &mut scratch.offsets, &mut scratch.slots)
    else {
        return Err(Outcome::Malformed);
    };
    let question_end = name_len + QUESTION_TAIL_LEN;
    if question_end > len {
        return Err(Outcome::Malformed);
    }
    // From the frame: a load from the copy would wait for the stores that it straddles.
    let tail = le32(frame, at + name_len).ok_or(Outcome::BadLength)?;
    if tail >> 16 != CLASS_IN {
        return Err(Outcome::Class);
    }
    let qtype = (tail as u16).swap_bytes();

    scratch.query.name_len = name_len as u32;
    scratch.query.labels = labels as u32;
    scratch.query.qtype = qtype as u32;
    scratch.query.edns = 0;
    scratch.query.version = 0;
    scratch.query.dnssec_ok = 0;
    scratch.query.payload = 0;
    scratch.query.options_len = 0;
    scratch.query.has_cookie = 0;
    scratch.query.has_valid_cookie = 0;
    scratch.options.clear();
    if additionals == 0 {
        if question_end != len {
            return Err(Outcome::Malformed);
        }
    } else if edns::decode(frame, at, question_end, len, scratch).is_none() {
        return Err(Outcome::Malformed);
    }

    let (hash, name_sum) = name::lowercase(scratch, name_len, seed);
    scratch.query.hash = hash;
    let tail_sum = crate::checksum::fold(tail as u64);
    scratch.query.question_sum = name_sum + crate::checksum::at(name_len, tail_sum);
    if rtype::is_meta(qtype) && scratch.query.version == 0 {
        return Err(Outcome::MetaType);
    }
    Ok(sum)
}
