//! Whether a zone can be served: it is compiled as the daemon does, into no memory.
//!
//! What keeps a zone from being served as a whole is a [`CompileError`]. What no message can carry takes nothing
//! but itself away: questions that come to it are answered SERVFAIL, and all others as ever.

use std::fmt;

use xdp_common::image::node::MAX_TYPES;
use xdp_common::image::{Bucket, WINDOW, Window};

use super::build::compile;
use super::memory::Memory;
use super::slab::Slab;
use super::{CompileError, MAX_TCP_MESSAGE};
use crate::zone::{Name, Rtype, Zone};

/// Something in a zone that no message can carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsendable {
    /// The owner name.
    pub owner: Name,
    /// What it is.
    pub what: What,
}

/// What no message can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The RRset of a type, with its signatures, is too large.
    Rrset(Rtype),
    /// So are the NS records of a delegation with its DS, or the addresses of its name servers.
    Referral,
    /// The name has more types than are held.
    Types,
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = &self.owner;
        match self.what {
            What::Rrset(rtype) => write!(
                f,
                "{owner} {rtype}: the RRset, its signatures included, is larger than a DNS message \
                 ({MAX_TCP_MESSAGE} octets); who asks for it is answered SERVFAIL"
            ),
            What::Referral => write!(
                f,
                "{owner} NS: the referral with its DS, or the addresses of the name servers, is larger than a DNS \
                 message ({MAX_TCP_MESSAGE} octets); who asks at or below it is answered SERVFAIL"
            ),
            What::Types => write!(
                f,
                "{owner} has records of more than {MAX_TYPES} types; who asks for it is answered SERVFAIL"
            ),
        }
    }
}

/// The record to blame, where a fault has one: owner and type, or any type of the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// The owner name.
    pub owner: Name,
    /// The type.
    pub rtype: Option<Rtype>,
}

impl Unsendable {
    /// Where it begins.
    pub fn blame(&self) -> Blame {
        let rtype = match self.what {
            What::Rrset(rtype) => Some(rtype),
            What::Referral => Some(Rtype::NS),
            What::Types => None,
        };
        Blame { owner: self.owner.clone(), rtype }
    }
}

impl CompileError {
    /// The record of a zone that is to blame: what lacks is lacking at the apex.
    pub fn blame(&self, apex: &Name) -> Blame {
        let rtype = match self {
            CompileError::NoApex | CompileError::Full { .. } => Rtype::SOA,
            CompileError::Nsec3Parameters(_)
            | CompileError::NoNsec3
            | CompileError::CrowdedHashes => Rtype::NSEC3PARAM,
        };
        Blame { owner: apex.clone(), rtype: Some(rtype) }
    }
}

/// Compiles a zone and throws the result away. Returns what of it cannot be sent; an error if none of it could be.
/// Room is none of its matters: that is what the daemon's memory has.
pub fn check(zone: &Zone, now: u32) -> Result<Vec<Unsendable>, CompileError> {
    let mut unsendable = Vec::new();
    let mut slab = Slab::new(0);
    match compile(zone, None, None, 0, now, &mut slab, &Nowhere, &mut unsendable) {
        Ok(_) | Err(CompileError::Full { .. }) => Ok(unsendable),
        Err(error) => Err(error),
    }
}

/// The same as a list of faults, each with the record to blame.
pub fn faults(zone: &Zone, now: u32) -> Vec<(Blame, String)> {
    match check(zone, now) {
        Ok(unsendable) => unsendable.iter().map(|one| (one.blame(), one.to_string())).collect(),
        Err(error) => {
            let blame = error.blame(zone.apex());
            let rtype = blame.rtype.map(|rtype| format!(" {rtype}")).unwrap_or_default();
            let text = format!("{}{rtype}: {error}", blame.owner);
            vec![(blame, text)]
        }
    }
}

/// No memory: all that is taken of it lies behind its end.
struct Nowhere;

impl Memory for Nowhere {
    fn slab_len(&self) -> usize {
        0
    }

    fn bucket_count(&self) -> usize {
        0
    }

    fn write(&self, _: usize, _: &[u8]) {}

    fn read(&self, at: usize, len: usize) -> Option<&[u8]> {
        static NOTHING: [u8; size_of::<Window>()] = [0; size_of::<Window>()];
        const { assert!(size_of::<Window>() >= WINDOW) };
        (at == 0).then_some(())?;
        NOTHING.get(..len)
    }

    fn bucket(&self, _: usize) -> Bucket {
        [0; 8]
    }

    fn store(&self, _: usize, _: usize, _: u64) {}

    fn replace(&self, _: usize, _: u64) {}

    fn changes(&self) -> u64 {
        0
    }
}
