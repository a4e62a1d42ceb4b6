//! The seam between the daemon and its data plane.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::config::XdpMode;
use crate::server::Engine;
use crate::zone::{Name, Zone};

/// The data plane: compiled zones in memory and, where XDP is attached, in its maps.
///
/// Calls come one at a time, from threads that may block.
pub trait DataPlane: Send {
    /// Answers from `zone` from now on, in place of any older version of it. On an error the older
    /// version stays.
    fn publish(&mut self, zone: &Arc<Zone>) -> anyhow::Result<Published>;

    /// Answers nothing for the zone at `apex` any more.
    fn remove(&mut self, apex: &Name) -> anyhow::Result<()>;

    /// The engine over everything that is published now; asked for after each change.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Attaches XDP to one more interface.
    fn attach(&mut self, interface: &str) -> anyhow::Result<()>;

    /// Detaches XDP from one interface, or from all; says which those were.
    fn detach(&mut self, interface: Option<&str>) -> anyhow::Result<Vec<String>>;

    /// Where XDP is attached, and how full the maps are.
    fn status(&self) -> PlaneStatus;

    /// Packets by the word of their outcome.
    fn counters(&self) -> BTreeMap<String, u64>;

    /// Called about once a second, so that XDP's idea of wall-clock time stays right.
    fn tick(&mut self);
}

/// What became of a zone that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Published {
    /// Records of the image that were written.
    pub written: usize,
    /// Records that were there already and are the same in the version before.
    pub kept: usize,
    /// Whether XDP has only some of the zone's names.
    pub is_hot: bool,
}

/// The state of a [`DataPlane`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct PlaneStatus {
    /// Where XDP is attached.
    pub attachments: Vec<Attachment>,
    /// How full the maps are.
    pub maps: Vec<MapStatus>,
    /// What the zones take.
    pub zones: Vec<ZoneStatus>,
    /// Octets in use for them, in the maps or in the daemon's memory: records, and the table.
    pub image_octets: u64,
}

/// One zone in the image.
#[derive(Debug, Clone, Serialize)]
pub struct ZoneStatus {
    /// Its apex.
    pub zone: String,
    /// `complete`, or `hot`: XDP has only some of its names.
    pub held: &'static str,
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

/// XDP on one interface.
#[derive(Debug, Clone, Serialize)]
pub struct Attachment {
    /// The interface's name.
    pub interface: String,
    /// How: never `Auto`.
    pub mode: XdpMode,
    /// Whether a program on TCX answers behind it what it has no room for.
    pub tcx: bool,
}

/// One map.
#[derive(Debug, Clone, Serialize)]
pub struct MapStatus {
    /// Its name.
    pub name: String,
    /// Entries in use.
    pub used: u64,
    /// Entries there is room for.
    pub capacity: u64,
    /// Memory in octets.
    pub memory_octets: u64,
}
