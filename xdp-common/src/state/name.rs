//! The name that is looked up.

use crate::bytes::SLACK;

/// Room for a name in lower case, followed by zeros.
pub type NameRoom = [u8; 512 + SLACK];

/// Offsets of labels; a name has at most 127 labels and the root (RFC 1035 section 3.1).
pub type Offsets = [u8; 128];

/// The name that is looked up: the question's, or the one that a CNAME points to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LowerName {
    /// The name: lower case, wire format, at least 16 zeros after it.
    pub octets: NameRoom,
    /// Where each label of it starts; the root's octet comes last.
    pub offsets: Offsets,
}

impl LowerName {
    /// No name.
    pub const fn new() -> LowerName {
        LowerName { octets: [0; 512 + SLACK], offsets: [0; 128] }
    }
}

impl Default for LowerName {
    fn default() -> LowerName {
        LowerName::new()
    }
}
