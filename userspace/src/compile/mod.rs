//! Signed zones compiled into the image that the engine answers from.
//!
//! | to … | use |
//! |---|---|
//! | publish and withdraw zones | [`Image`] |
//! | know whether a zone could be published | [`check()`] |
//! | answer from what is published | [`Reader`] |
//! | know what memory that needs | [`Memory`] |

mod build;
mod check;
mod image;
pub mod inspect;
mod memory;
mod names;
mod piece;
mod reader;
mod reuse;
mod signatures;
mod slab;
mod table;
#[cfg(test)]
mod tests;

pub use check::{Blame, Unsendable, What, check, faults};
pub use image::{Difference, Image, PublishError, Retired, Usage, ZoneUsage};
pub use memory::Memory;
pub use reader::{Asked, PAYLOAD, Reader};
pub use signatures::Found;
pub use table::buckets_for;

use crate::dnssec::denial::ParametersError;

/// The largest DNS message over TCP in octets (RFC 1035 section 4.2.2).
pub const MAX_TCP_MESSAGE: usize = 65535;

/// Why a zone cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There is no SOA at the apex.
    #[error("the zone has no SOA at its apex")]
    NoApex,
    /// NSEC3 with too many iterations, or none that is known.
    #[error(transparent)]
    Nsec3Parameters(#[from] ParametersError),
    /// NSEC3PARAM, but no NSEC3 of that chain.
    #[error("the zone has an NSEC3PARAM record, but no NSEC3 records of that chain")]
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

/// The hash by which the engine finds a name.
fn node_hash(wire: &[u8], seed: u64) -> u64 {
    let mut room = [0; 544];
    room[..wire.len()].copy_from_slice(wire);
    xdp_common::dns::name::hash(&room, 0, wire.len(), seed)
}
