//! Copies of nodes whose names go, for the time until the zone records say that these names are not there.

use xdp_common::image::node::{self, flag};
use xdp_common::image::{Address, UNIT};

use super::records::put32;
use super::writer::Writer;
use crate::compile::reuse::SlabRecords;

/// The copies.
#[derive(Default)]
pub(super) struct FarewellCopies {
    /// One of each node, in the same order.
    pub nodes: Vec<Address>,
    /// The zone record that they refer to, and that stays as it is; 0 if there are none.
    pub zone: Address,
}

/// Writes copies of nodes of the version before, with a zone record of these octets.
pub(super) fn farewell_copies(
    gone: &[Address],
    zone: &[u8],
    slab: SlabRecords<'_>,
    writer: &mut Writer<'_>,
) -> FarewellCopies {
    if gone.is_empty() || zone.is_empty() {
        return FarewellCopies::default();
    }
    let zone = writer.place(zone);
    let mut nodes = Vec::with_capacity(gone.len());
    for &address in gone {
        let Some((node, window)) = slab.node(address) else { continue };
        let name_end = node.name_at() + node.name_len().next_multiple_of(UNIT);
        let mut copy = window[..name_end].to_vec();
        put32(&mut copy, node::at::ZONE, zone);
        // The node that its CNAME leads to may have been replaced: its zone record changes, and it does not. The name
        // is looked for instead.
        if node.is(flag::CNAME) && node.target() != 0 {
            put32(&mut copy, node::at::GLUE, 0);
            copy[node::at::FLAGS] |= flag::CHASE as u8;
        }
        nodes.push(writer.place(&copy));
    }
    FarewellCopies { nodes, zone }
}
