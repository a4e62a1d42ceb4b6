//! The OPT record of a query and of a response (RFC 6891).

use crate::bytes::{get, u8_at};
use crate::launder::forget;
use crate::scratch::Scratch;

/// Octets of an OPT record without options.
pub const OPT_LEN: usize = 11;

/// The most options that are stepped over; a query with more is malformed to us.
pub const MAX_OPTIONS: usize = 32;

/// Reads the OPT record that must fill the message from `at` to `len`. `None` if it does not.
///
/// Unknown options are ignored (RFC 6891 section 6.1.2), but they must be whole.
#[inline(always)]
pub fn decode(scratch: &mut Scratch, at: usize, len: usize) -> Option<()> {
    if at + OPT_LEN > len {
        return None;
    }
    let fixed: [u8; 16] = get(&scratch.message, at);
    // The owner name is the root, the type OPT.
    if fixed[0] != 0 || fixed[1] != 0 || fixed[2] != crate::dns::rtype::OPT as u8 {
        return None;
    }
    scratch.query.payload = u16::from_be_bytes([fixed[3], fixed[4]]) as u32;
    scratch.query.version = fixed[6] as u32;
    scratch.query.dnssec_ok = (fixed[7] >> 7) as u32;
    scratch.query.edns = 1;
    let options_len = u16::from_be_bytes([fixed[9], fixed[10]]) as usize;
    if at + OPT_LEN + options_len != len {
        return None;
    }
    let (mut option, mut count) = (at + OPT_LEN, 0);
    while count < MAX_OPTIONS {
        if option + 4 > len {
            break;
        }
        let high = u8_at(&scratch.message, option + 2) as usize;
        option += 4 + (high << 8) + u8_at(&scratch.message, option + 3) as usize;
        option = forget(&mut scratch.slots[5], option as u64) as usize & 0x1_ffff;
        count += 1;
    }
    (option == len).then_some(())
}

/// The OPT record of a response as two words: eight octets and the three after them, little-endian.
/// `payload` is what the server takes in octets; `extended` the upper bits of the response code,
/// `dnssec_ok` 1 to echo the DO bit.
#[inline(always)]
pub fn response(payload: u16, extended: u8, dnssec_ok: u8) -> (u64, u32) {
    let [high, low] = payload.to_be_bytes();
    let flags = (dnssec_ok & 1) << 7;
    let head = [0, 0, crate::dns::rtype::OPT as u8, high, low, extended, 0, flags];
    (u64::from_le_bytes(head), 0)
}
