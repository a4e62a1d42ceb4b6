//! A query: header, question, and what EDNS adds (RFC 1035 section 4.1, RFC 6891, RFC 9619).

use crate::Outcome;
use crate::bytes::u8_at;
use crate::checksum::add_u64;
use crate::dns::{HEADER_LEN, MIN_PAYLOAD, QUESTION_TAIL_LEN, edns, name, rtype};
use crate::frame::{Frame, le32, le64};
use crate::launder::forget;
use crate::state::scratch::MAX_QUERY;
use crate::state::{Query, Scratch};

/// The header bits of the second 16-bit word, as they lie in a little-endian load.
mod flags {
    pub(super) const QR: u64 = 0x0080;
    pub(super) const OPCODE: u64 = 0x0078;
    pub(super) const RD: u64 = 0x0001;
    pub(super) const CD: u64 = 0x1000;
}

/// The class IN as it lies in memory.
const CLASS_IN: u32 = 0x0100;

impl Query {
    /// The largest response over UDP in octets: 512 without EDNS, else the client's payload size but
    /// not below 512, and never above the server's `limit`.
    #[inline(always)]
    pub fn payload_limit(&self, limit: usize) -> usize {
        let asked = if self.edns != 0 { self.payload as usize } else { 0 };
        let asked = if asked < MIN_PAYLOAD { MIN_PAYLOAD } else { asked };
        if asked < limit { asked } else { limit }
    }
}

/// Reads the message of `len` octets at `at`: checks it and fills [`Scratch::query`],
/// [`Scratch::question`] and [`Scratch::name`]. Returns the one's-complement
/// sum of the whole message. `is_any_passed` says whether ANY is somebody else's to answer.
#[inline(always)]
pub fn decode<F: Frame>(
    frame: &F,
    at: usize,
    len: usize,
    seed: u64,
    is_any_passed: impl Fn() -> bool,
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
    let sum = forget(&mut scratch.cells.forgotten, sum);
    // The copying loop has compared the length with its counter: each exit knows it differently.
    let len = forget(&mut scratch.cells.forgotten, (len - HEADER_LEN) as u64) as usize & 0x7ff;
    scratch.query.id_and_flags =
        ((header & 0xffff) | ((second & (flags::RD | flags::CD)) << 16)) as u32;

    let question = &scratch.question;
    let read = |place: usize| u8_at(question, place);
    let forgotten = &mut scratch.cells.forgotten;
    let Some((name_len, labels)) = name::walk(read, &mut scratch.name.offsets, forgotten) else {
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
    } else if edns::decode(frame, at, question_end, len, &mut scratch.query).is_none() {
        return Err(Outcome::Malformed);
    }

    let Scratch { question, name, cells, .. } = &mut *scratch;
    let (hash, name_sum) =
        name::lowercase(question, &mut name.octets, name_len, seed, &mut cells.forgotten);
    scratch.query.hash = hash;
    let tail_sum = crate::checksum::fold(tail as u64);
    scratch.query.question_sum = name_sum + crate::checksum::at(name_len, tail_sum);
    if rtype::is_meta_or_any(qtype)
        && (qtype != rtype::ANY || is_any_passed())
        && scratch.query.version == 0
    {
        return Err(Outcome::MetaType);
    }
    Ok(sum)
}
