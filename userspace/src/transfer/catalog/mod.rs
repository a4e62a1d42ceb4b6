//! Catalog zones (RFC 9432): zones whose records are a list of zones. What one lists, read as a whole or by what changed; and
//! one made of such a list.

mod made;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;

pub use made::{MadeMember, made};
pub use read::{BrokenCatalog, MemberChange, Members};

use crate::zone::Name;

/// What the TXT record `version` of a catalog zone must say (RFC 9432 section 4.2.1).
const VERSION: &[u8] = b"2";

/// The label below which members are listed (RFC 9432 section 4.1).
const ZONES: &[u8] = b"zones";

/// The label of the member property that says where a member goes (RFC 9432 section 4.3.1).
const COO: &[u8] = b"coo";

/// The label of the member property that says how a member is to be treated (RFC 9432 section 4.3.2).
const GROUP: &[u8] = b"group";

/// A zone that a catalog lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The label that it is listed under: another one means another zone of the same name.
    pub label: Label,
    /// The groups that it is in, in canonical order.
    pub groups: Vec<String>,
    /// The catalog that it goes to, as soon as that lists it (change of ownership).
    pub moves_to: Option<Name>,
}

/// One label in lower case, at most 63 octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<[u8]>);

impl Label {
    /// The same as octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name in wire format with a label before it.
fn below(label: &[u8], name: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(1 + label.len() + name.len());
    wire.push(label.len() as u8);
    wire.extend_from_slice(label);
    wire.extend_from_slice(name);
    wire
}
