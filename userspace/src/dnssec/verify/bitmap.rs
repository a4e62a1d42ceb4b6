//! Type bit maps compared (RFC 4034 section 4.1.2).

use super::fault::Reason;
use crate::dnssec::denial;
use crate::zone::Rtype;

/// Refuses a bit map that is not as expected, octet for octet.
pub(super) fn compare_bitmaps(found: &[u8], expected: &[u8]) -> Result<(), Reason> {
    if found == expected {
        return Ok(());
    }
    Err(Reason::Bitmap { found: list_types(found), expected: list_types(expected) })
}

/// The types in a bit map in words; what is malformed ends the list.
fn list_types(mut bitmap: &[u8]) -> String {
    let mut types = Vec::new();
    while let Some((&window, rest)) = bitmap.split_first() {
        let Some((block, rest)) = denial::split_string(rest) else {
            types.push("(cut short)".to_string());
            break;
        };
        for (at, octet) in block.iter().enumerate() {
            for bit in (0..8).filter(|bit| octet & (0x80 >> bit) != 0) {
                let number = u16::from(window) << 8 | ((at as u16 * 8 + bit) & 0xff);
                types.push(Rtype(number).to_string());
            }
        }
        bitmap = rest;
    }
    if types.is_empty() { "no types".into() } else { types.join(" ") }
}
