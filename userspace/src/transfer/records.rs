//! Where the records of a message lie (RFC 1035 section 4.1.3): names are passed over, and expanded only on request.

use xdp_common::dns::HEADER_LEN;

use crate::zone::Rtype;
use crate::zone::name::{MAX_NAME_LEN, wire_name_len};

/// Where the parts of one record lie in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace {
    /// TYPE.
    pub rtype: Rtype,
    /// CLASS.
    pub class: u16,
    /// TTL as it is on the wire.
    pub ttl: [u8; 4],
    /// Where the owner name starts.
    pub owner_at: usize,
    /// Where RDATA starts.
    pub rdata_at: usize,
    /// Where RDATA ends, and the next record starts.
    pub end: usize,
}

impl RecordPlace {
    /// Reads the record at `at`; `None` if the message ends before it, or a name is malformed.
    pub fn read(message: &[u8], at: usize) -> Option<RecordPlace> {
        let fixed_at = skip_name(message, at)?;
        let fixed: &[u8; 10] = message.get(fixed_at..)?.first_chunk()?;
        let rdata_len = u16::from_be_bytes([fixed[8], fixed[9]]);
        let end = fixed_at + 10 + usize::from(rdata_len);
        (end <= message.len()).then_some(RecordPlace {
            rtype: Rtype(u16::from_be_bytes([fixed[0], fixed[1]])),
            class: u16::from_be_bytes([fixed[2], fixed[3]]),
            ttl: [fixed[4], fixed[5], fixed[6], fixed[7]],
            owner_at: at,
            rdata_at: fixed_at + 10,
            end,
        })
    }
}

/// Where the name at `start` ends; a compression pointer must point backwards, and is not followed.
pub fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while at - start < MAX_NAME_LEN {
        match *message.get(at)? {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            0xc0..=0xff => {
                let target = pointer_at(message, at)?;
                return (target >= HEADER_LEN && target < at).then_some(at + 2);
            }
            _ => return None,
        }
    }
    None
}

/// The name at `at` in uncompressed form and as it was sent; `None` if it is malformed. Pointers must point backwards, so
/// that following them ends.
pub fn expand_name(message: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    // Of the labels that were read last: what a pointer leads to must lie before them.
    let mut labels_at = at;
    loop {
        match *message.get(at)? {
            0xc0..=0xff => {
                let target = pointer_at(message, at)?;
                if target < HEADER_LEN || target >= labels_at {
                    return None;
                }
                (at, labels_at) = (target, target);
            }
            len @ 0..=63 => {
                let end = at + 1 + usize::from(len);
                name.extend_from_slice(message.get(at..end)?);
                if name.len() > MAX_NAME_LEN {
                    return None;
                }
                if len == 0 {
                    return (wire_name_len(&name)? == name.len()).then_some(name);
                }
                at = end;
            }
            _ => return None,
        }
    }
}

fn pointer_at(message: &[u8], at: usize) -> Option<usize> {
    let pointer: &[u8; 2] = message.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_be_bytes(*pointer) & 0x3fff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_expanded_only_along_pointers_that_lead_back() {
        let mut message = vec![0; HEADER_LEN];
        message.extend_from_slice(
            b"\x01a\x07Example\x00\x01b\xc0\x0e\xc0\x17\xc0\x19\x40\x01c\xc0\x20",
        );
        let name = |at| expand_name(&message, at);
        assert_eq!(name(12).unwrap(), b"\x01a\x07Example\x00");
        assert_eq!(name(23).unwrap(), b"\x01b\x07Example\x00");
        assert_eq!(name(27).unwrap(), b"\x01b\x07Example\x00");
        // To a pointer, which leads to what lies before it; to itself; a label type that nobody has; cut short.
        assert_eq!(skip_name(&message, 23), Some(27));
        for (at, fault) in
            [(31, "a label type"), (32, "a loop"), (35, "cut short"), (99, "outside")]
        {
            assert_eq!(name(at), None, "{fault}");
        }
    }
}
