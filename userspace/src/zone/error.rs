//! Why records make no zone.

use super::name::Name;
use super::rtype::Rtype;

/// Why gathered records do not make a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// An owner name is not at or below the apex.
    #[error("{owner} is not in the zone {apex}")]
    OutOfZone {
        /// The offending owner name.
        owner: Name,
        /// The zone's apex.
        apex: Name,
    },
    /// An owner name or RDATA is not in wire format.
    #[error("a record of type {0} is malformed")]
    Malformed(Rtype),
    /// The apex has no SOA RRset, or one of several records.
    #[error("the zone {apex} has {count} SOA records at its apex, not one")]
    SoaCount {
        /// The zone's apex.
        apex: Name,
        /// How many there are.
        count: usize,
    },
    /// Records given to a [`ZoneWriter`](super::ZoneWriter) do not come in canonical order.
    #[error("records do not come in canonical order")]
    OutOfOrder,
    /// The records exceed 4 GiB on the wire.
    #[error("the zone is larger than 4 GiB")]
    TooLarge,
}
