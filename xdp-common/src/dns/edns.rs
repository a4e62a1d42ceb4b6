//! The OPT record of a query and of a response (RFC 6891).

use crate::frame::Frame;
use crate::state::Query;

/// Octets of an OPT record without options.
pub const OPT_LEN: usize = 11;

/// Reads the OPT record that must fill the rest of the message, from `at` to `len` octets behind the
/// header; the header ends at `question_at` of the frame. `None` if the record is none.
///
/// Options are only looked at when the answer is planned: see [`engine::options`](crate::engine::options).
/// Those of a version that is not known are not looked at.
#[inline(always)]
pub fn decode<F: Frame>(
    frame: &F,
    question_at: usize,
    at: usize,
    len: usize,
    query: &mut Query,
) -> Option<()> {
    if at + OPT_LEN > len {
        return None;
    }
    // Eleven octets in two loads: the last eight start three later.
    let first: [u8; 8] = frame.get(question_at + at)?;
    let last: [u8; 8] = frame.get(question_at + at + OPT_LEN - 8)?;
    // The owner name is the root, the type OPT.
    if first[0] != 0 || first[1] != 0 || first[2] != crate::dns::rtype::OPT as u8 {
        return None;
    }
    query.payload = u16::from_be_bytes([first[3], first[4]]) as u32;
    query.version = first[6] as u32;
    query.dnssec_ok = (first[7] >> 7) as u32;
    query.edns = 1;
    let options_len = u16::from_be_bytes([last[6], last[7]]) as usize;
    if at + OPT_LEN + options_len != len {
        return None;
    }
    query.options_at = (at + OPT_LEN) as u32;
    query.options_len = if first[6] == 0 { options_len as u32 } else { 0 };
    Some(())
}

/// The OPT record of a response without its options as two words: eight octets and the three after them,
/// little-endian. `payload` is what the server takes in octets; `extended` the upper bits of the response
/// code, `dnssec_ok` 1 to echo the DO bit, `options_len` the octets of options that follow.
#[inline(always)]
pub fn response(payload: u16, extended: u8, dnssec_ok: u8, options_len: u16) -> (u64, u32) {
    let [high, low] = payload.to_be_bytes();
    let flags = (dnssec_ok & 1) << 7;
    let head = [0, 0, crate::dns::rtype::OPT as u8, high, low, extended, 0, flags];
    (u64::from_le_bytes(head), (options_len.to_be() as u32) << 8)
}
