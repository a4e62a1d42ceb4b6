//! Nodes and entries of indexes as the slab has them. The layout is `xdp_common::image`'s.

use xdp_common::image::node::{self, flag};
use xdp_common::image::{Address, UNIT};

use super::state::{Build, PlacedNode};
use crate::compile::table::node_hash;
use crate::zone::name;

impl Build<'_, '_, '_> {
    pub(super) fn record_of(&self, place: usize, zone: Address) -> Vec<u8> {
        let node = &self.nodes[place];
        let address_of = |place: Option<usize>| place.map_or(0, |place| self.nodes[place].address);
        let [target, wildcard] = [node.target, node.wildcard].map(address_of);
        let wire = self.names[place].wire;
        let mut record = node.record(wire, self.context.seed, zone, target, wildcard);
        put32(&mut record, node::at::CHILD_COUNT, self.child_count(place));
        record
    }
}

impl PlacedNode {
    /// The node's record, given the addresses of the nodes that it refers to: the target of its CNAME, and the
    /// wildcard below it.
    pub(super) fn record(
        &self,
        wire: &[u8],
        seed: u64,
        zone: Address,
        target: Address,
        wildcard: Address,
    ) -> Vec<u8> {
        let hash = node_hash(wire, seed);
        let mut record = node_head(wire, hash, self.flags, self.types.len());
        let is_cname = self.flags & flag::CNAME != 0;
        for (at, address) in [
            (node::at::ZONE, zone),
            (node::at::OTHERWISE, self.otherwise),
            (node::at::PROOFS, self.proofs[0]),
            (node::at::PROOFS + 4, self.proofs[1]),
            (node::at::GLUE, if is_cname { target } else { self.glue }),
            (node::at::OPTIONAL_GLUE, self.optional_glue),
            (node::at::WILDCARD, wildcard),
            (node::at::ENCLOSER_MATCH, self.encloser_match),
            (node::at::WILDCARD_COVER, self.wildcard_cover),
            (node::at::FIRST_COVER, self.first_cover),
            (node::at::CHILDREN, self.children.address),
            (node::at::CHILD_COUNT, self.child_count),
            (node::at::LAST_COVER, self.last_cover),
            (node::at::ANY, self.any),
        ] {
            put32(&mut record, at, address);
        }
        put16(&mut record, node::at::CHILDREN_SHAPE, self.children.shape());
        for (index, &(rtype, piece)) in self.types.iter().enumerate() {
            let at = node::at::TYPES + index * node::TYPE_LEN;
            put16(&mut record, at, rtype);
            put32(&mut record, at + 4, piece);
        }
        record
    }
}

/// Octets of a node's record.
pub(super) fn node_len(wire: &[u8], types: usize) -> usize {
    node::at::TYPES + types * node::TYPE_LEN + wire.len().next_multiple_of(UNIT)
}

/// A node's record with nothing in it but its name.
pub fn node_head(wire: &[u8], hash: u64, flags: u16, types: usize) -> Vec<u8> {
    let mut record = vec![0; node_len(wire, types)];
    record[node::at::HASH..node::at::HASH + 8].copy_from_slice(&hash.to_le_bytes());
    record[node::at::NAME_LEN] = wire.len() as u8;
    record[node::at::LABELS] = name::labels(wire).count() as u8;
    put16(&mut record, node::at::FLAGS, flags);
    put16(&mut record, node::at::TYPE_COUNT, types as u16);
    let name_at = node::at::TYPES + types * node::TYPE_LEN;
    record[name_at..name_at + wire.len()].copy_from_slice(wire);
    record
}

/// Adds an entry to a gap index.
pub(super) fn push_entry(index: &mut Vec<u8>, (high, low): (u64, u32), address: Address) {
    index.extend(high.to_le_bytes());
    index.extend(low.to_le_bytes());
    index.extend(address.to_le_bytes());
}

/// The key and the address of an entry of a gap index.
pub(super) fn read_entry(entry: &[u8]) -> ((u64, u32), Address) {
    let word = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap_or_default());
    ((u64::from(word(0)) | u64::from(word(4)) << 32, word(8)), word(12))
}

fn put16(record: &mut [u8], at: usize, value: u16) {
    record[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn put32(record: &mut [u8], at: usize, value: u32) {
    record[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn first_label(wire: &[u8]) -> &[u8] {
    name::labels(wire).next().unwrap_or_default()
}

pub(super) fn key_of(octets: &[u8; 12]) -> (u64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *octets;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}

/// The twelve octets that children are sorted by, as `xdp_common::dns::name::label_key` has them.
pub(super) fn label_key(label: &[u8]) -> (u64, u32) {
    let mut padded = [0u8; 12];
    let len = label.len().min(12);
    padded[..len].copy_from_slice(&label[..len]);
    key_of(&padded)
}

/// What the names are found by that CNAMEs lead to.
pub(super) fn alias_key(target: &[u8], seed: u64) -> u32 {
    (node_hash(target, seed) >> 32) as u32
}
