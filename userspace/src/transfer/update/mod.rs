//! Dynamic update (RFC 2136): what a client asks to change of a zone, and what of the zone must hold for that, made into a
//! difference.
//!
//! Nothing here has a socket or a clock. Requests that wait are made one after the other into one [`Draft`] of a zone's
//! records, each as a whole or not at all (RFC 2136 section 3.7: "All of the updates … or none"), and the draft is told as
//! one [`Difference`](crate::zone::difference::Difference). So many of them are signed, synced to the disk and published
//! together.
//!
//! | file | what |
//! |---|---|
//! | `message.rs` | a request, read |
//! | `waiting.rs` | requests that wait for the zone |
//! | `draft.rs` | the names that change, with the records that they have from now on |
//! | `prerequisites.rs` | what must hold (sections 2.4 and 3.2) |
//! | `rules.rs` | who may change what |
//! | `changes.rs` | what is to be changed (sections 2.5 and 3.4) |

mod changes;
mod draft;
mod message;
mod prerequisites;
mod rules;
#[cfg(test)]
mod tests;
mod waiting;

use std::fmt;

use crate::zone::Rtype;

pub use draft::Draft;
pub use message::Request;
pub use rules::is_let;
pub use waiting::{WaitingUpdate, WaitingUpdates};

/// Class IN, that of all zones here.
pub(in crate::transfer) const IN: u16 = 1;

/// Class NONE: a record that is to go, or must not be there.
pub(in crate::transfer) const NONE: u16 = 254;

/// Class ANY: all records of an RRset or of a name, whatever they are.
pub(in crate::transfer) const ANY: u16 = 255;

/// A record of an update message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateRecord {
    /// Its owner name: lower case, uncompressed wire format.
    pub owner: Vec<u8>,
    /// Its type.
    pub rtype: Rtype,
    /// Its class, which says what is meant by it.
    pub class: u16,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its RDATA in canonical form, uncompressed; none where the whole RRset is meant.
    pub rdata: Vec<u8>,
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    /// What must hold (the section that is the answer section of a query).
    pub prerequisites: Vec<UpdateRecord>,
    /// What is to be changed (the section that is the authority section of a query).
    pub changes: Vec<UpdateRecord>,
}

/// Why nothing of an update is done. Each is a response code (RFC 2136 section 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpdateError {
    /// FORMERR: a record is not such as may stand there.
    #[error("a record has a class, a TTL, a type or RDATA that it may not have there")]
    Malformed,
    /// REFUSED: the signer makes records of this type.
    #[error("{0} records of this zone are made by its signer")]
    Made(Rtype),
    /// REFUSED: a name would stand below a DNAME record (RFC 6672 section 2.4).
    #[error("a name would stand below a DNAME record")]
    BelowDname,
    /// YXDOMAIN: a name has records, and must have none.
    #[error("a name has records that must have none")]
    NameInUse,
    /// YXRRSET: an RRset is there, and must not be.
    #[error("an RRset is there that must not be")]
    RrsetExists,
    /// NXRRSET: an RRset is not there, or another one.
    #[error("an RRset is not there that must be")]
    NoRrset,
    /// NXDOMAIN: a name has no records, and must have some.
    #[error("a name has no records that must have some")]
    NameNotInUse,
    /// NOTZONE: a name is not in the zone.
    #[error("a name is not in the zone")]
    NotInZone,
}

impl UpdateError {
    /// The response code that says it.
    pub fn rcode(self) -> u16 {
        match self {
            UpdateError::Malformed => 1,
            UpdateError::NameNotInUse => 3,
            UpdateError::Made(_) | UpdateError::BelowDname => 5,
            UpdateError::NameInUse => 6,
            UpdateError::RrsetExists => 7,
            UpdateError::NoRrset => 8,
            UpdateError::NotInZone => 10,
        }
    }
}

/// How a record is said in the log.
impl fmt::Display for UpdateRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::zone::name::write_name(f, &self.owner)?;
        write!(f, " {}", self.rtype)
    }
}
