//! How full the maps are, and how much of each zone is in them.

use serde::{Deserialize, Serialize};

/// One map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapUsage {
    /// Its name.
    pub name: String,
    /// Entries in use.
    pub used: u64,
    /// Entries there is room for.
    pub capacity: u64,
    /// Memory in octets.
    pub memory_octets: u64,
}

/// One zone in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneUsage {
    /// Its apex.
    pub zone: String,
    /// How much of it XDP has.
    pub held: Completeness,
    /// Its names, empty non-terminals included.
    pub names: u64,
    /// Those that XDP has.
    pub names_held: u64,
    /// Records of the image: nodes, pieces, indexes.
    pub records: u64,
    /// Octets of these.
    pub octets: u64,
    /// Octets of those that XDP has.
    pub octets_held: u64,
}

/// How much of a zone XDP has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Completeness {
    /// Some of its names: it does not fit.
    Partial,
    /// All of it.
    Complete,
}
