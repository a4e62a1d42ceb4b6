//! Names that change and their nodes, before these are written.

use std::collections::HashMap;

use xdp_common::image::Address;

use super::changes::ChangedName;
use crate::compile::build::state::PlacedNode;

/// A name whose node may be written.
pub(super) struct DraftedNode<'a> {
    pub changed: ChangedName<'a>,
    pub placed: PlacedNode,
    /// Its own pieces.
    pub own: Vec<Address>,
    /// The name that its CNAME leads to, if that is a node.
    pub target: Option<&'a [u8]>,
}

impl DraftedNode<'_> {
    /// Whether its node is another than before.
    pub fn is_moved(&self) -> bool {
        self.changed.exists && self.placed.address != 0
    }
}

/// All of them, and which is of which name.
pub(super) struct Drafts<'a> {
    pub nodes: Vec<DraftedNode<'a>>,
    pub places: HashMap<&'a [u8], usize>,
}

impl<'a> Drafts<'a> {
    pub fn of(&self, wire: &[u8]) -> Option<&DraftedNode<'a>> {
        Some(&self.nodes[*self.places.get(wire)?])
    }
}
