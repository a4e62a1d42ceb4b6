//! Signed zones compiled into the image that the engine answers from.
//!
//! | to … | use |
//! |---|---|
//! | publish and withdraw zones | [`Image`] |
//! | answer from what is published | [`Reader`] |
//! | know what memory that needs | [`Memory`] |

mod build;
mod image;
pub mod inspect;
mod memory;
mod names;
mod piece;
mod reader;
mod reuse;
mod slab;
mod table;
#[cfg(test)]
mod tests;

pub use image::{Difference, Image, PublishError, Retired, Usage, ZoneUsage};
pub use memory::Memory;
pub use reader::{Asked, PAYLOAD, Reader};
pub use table::buckets_for;

use crate::zone::name::write_name;

/// The largest DNS message over TCP in octets (RFC 1035 section 4.2.2).
pub const MAX_TCP_MESSAGE: usize = 65535;

/// Why a zone cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There is no SOA at the apex.
    #[error("the zone has no SOA at its apex")]
    NoApex,
    /// A name has more types than a node holds.
    #[error("{} has more than {} types", Shown(.0), xdp_common::image::node::MAX_TYPES)]
    TooManyTypes(Box<[u8]>),
    /// An RRset does not fit a DNS message.
    #[error("an RRset at {} is larger than a DNS message", Shown(.0))]
    TooLarge(Box<[u8]>),
    /// NSEC3 with iterations or a salt.
    #[error(
        "NSEC3 with iterations or a salt is not served: RFC 9276 asks for none of either; \
         sign the zone with 0 iterations and without salt"
    )]
    Nsec3Parameters,
    /// NSEC3PARAM, but no NSEC3.
    #[error("the zone has an NSEC3PARAM record, but no NSEC3 records")]
    NoNsec3,
    /// More hashes alike than chance explains.
    #[error("more than {} NSEC3 hashes of the zone start alike", xdp_common::image::MAX_SCAN)]
    CrowdedHashes,
    /// There is no room in the slab.
    #[error("the zone needs {slab_end} octets of slab, those in use included")]
    Full {
        /// Where the zone's last record would end.
        slab_end: usize,
        /// Names that it has.
        names: usize,
    },
}

/// A wire name for people.
struct Shown<'a>(&'a [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_name(f, self.0)
    }
}

/// The hash by which the engine finds a name.
fn node_hash(wire: &[u8], seed: u64) -> u64 {
    let mut room = [0; 544];
    room[..wire.len()].copy_from_slice(wire);
    xdp_common::dns::name::hash(&room, 0, wire.len(), seed)
}
