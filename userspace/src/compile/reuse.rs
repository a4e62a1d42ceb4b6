//! What a newer version of a zone takes over from the one before it: every record that would be
//! written anew with the same octets stays where it is.
//!
//! A node says where its pieces are, and an index of children, in blocks, where their nodes are. So a record that
//! moves makes those move that refer to it, up to the apex. Only the zone's own record is referred to
//! by all, and does not move: see [`xdp_common::image::zone`].

use std::cmp::Ordering;
use std::iter::Peekable;

use xdp_common::image::chain::Chain;
use xdp_common::image::children::Block;
use xdp_common::image::node::{MAX_TYPES, Node, flag};
use xdp_common::image::zone as zone_record;
use xdp_common::image::{Address, UNIT, Window};

use super::children;
use super::hashes::{HashIndex, HashKey};
use super::memory::{ENTRY_LEN, Memory, window};
use super::sorted::Elements;
use super::version::CompiledZone;
use crate::zone::{Rtype, canonical_order, name};

/// The most records that a zone has: each is stored to at every change.
const MAX_ZONE_RECORDS: usize = 64;

/// Records of the slab as they are.
#[derive(Clone, Copy)]
pub struct SlabRecords<'a> {
    memory: &'a dyn Memory,
}

impl<'a> SlabRecords<'a> {
    /// Those in this memory.
    pub fn new(memory: &'a dyn Memory) -> SlabRecords<'a> {
        SlabRecords { memory }
    }

    /// The node at an address.
    pub fn node(&self, address: Address) -> Option<(Node<'a>, &'a Window)> {
        let window = window(self.memory, address)?;
        Some((Node::new(window), window))
    }

    /// The name of the node at an address; the root's if there is none.
    pub fn name_of(&self, address: Address) -> &'a [u8] {
        let Some((node, window)) = self.node(address) else { return &[0] };
        &window[node.name_at()..][..node.name_len()]
    }

    /// Whether these octets stand at an address.
    pub fn holds(&self, address: Address, octets: &[u8]) -> bool {
        address != 0 && self.memory.read(address as usize * UNIT, octets.len()) == Some(octets)
    }

    /// The pieces that a node refers to, its own and others.
    pub fn pieces_of(&self, address: Address) -> Vec<Address> {
        let Some((node, _)) = self.node(address).filter(|_| address != 0) else {
            return Vec::new();
        };
        let mut pieces: Vec<Address> =
            (0..node.type_count()).map(|index| node.type_at(index).1).collect();
        pieces.extend([node.otherwise(), node.proofs()[0], node.optional_glue(), node.any()]);
        if !node.is(flag::CNAME) {
            pieces.push(node.glue());
        }
        pieces
    }

    /// The pieces that belong to a node, none of them twice: no other refers to them, but to an NSEC.
    pub fn own_pieces_of(&self, address: Address) -> Vec<Address> {
        let Some((node, _)) = self.node(address).filter(|_| address != 0) else {
            return Vec::new();
        };
        let types = || (0..node.type_count().min(MAX_TYPES)).map(|index| node.type_at(index));
        let mut pieces: Vec<Address> = types().map(|(_, piece)| piece).collect();
        pieces.extend([node.otherwise(), node.optional_glue(), node.any()]);
        if !node.is(flag::CNAME) {
            pieces.push(node.glue());
        }
        if types().any(|(rtype, _)| rtype == Rtype::NSEC.0) {
            pieces.push(node.proofs()[0]);
        }
        pieces.sort_unstable();
        pieces.dedup();
        pieces.retain(|piece| *piece != 0);
        pieces
    }

    /// Whether the proofs of a node are those of another name, and change with that one's.
    pub fn is_dependent(&self, address: Address) -> bool {
        let proofs = self.node(address).map(|(node, _)| node.proofs());
        self.is_without_nsec3(address) && proofs.is_some_and(|[first, _]| first != 0)
    }

    /// Whether opt-out has left a node without an NSEC3.
    pub fn is_without_nsec3(&self, address: Address) -> bool {
        let node = self.node(address).filter(|_| address != 0);
        node.is_some_and(|(node, _)| node.is(flag::NO_NSEC3))
    }

    /// The blocks of the index of a node's children, the leaves first; none if the node is none or has no children.
    pub fn blocks_of(&self, address: Address) -> Vec<Vec<Block>> {
        let Some((node, _)) = self.node(address).filter(|_| address != 0) else {
            return Vec::new();
        };
        let read = |at: Address, len| self.memory.read(at as usize * UNIT, len);
        children::levels(node.children(), node.child_count(), read).unwrap_or_default()
    }

    /// The first label of the first child in a block or below it.
    pub fn first_label_in(&self, block: Block) -> &'a [u8] {
        let entry = self.memory.read(block.entry(0) as usize * UNIT, ENTRY_LEN);
        let child = entry.and_then(|entry| entry.last_chunk());
        let wire = child.map(|address| self.name_of(Address::from_le_bytes(*address)));
        wire.and_then(|wire| name::labels(wire).next()).unwrap_or_default()
    }
}

/// The version before, walked along in canonical order.
pub struct PreviousNodes<'a> {
    /// Its records, and all others.
    pub slab: SlabRecords<'a>,
    nodes: Peekable<Elements<'a, Address>>,
    /// One of its zone records.
    zone: Address,
    /// Whether it has so many zone records that all nodes are to have a new one.
    is_scattered: bool,
    /// Its names that the newer version does not have, as far as it was walked.
    pub gone: Vec<Address>,
}

impl<'a> PreviousNodes<'a> {
    /// The version, or none.
    pub fn new(older: Option<&'a CompiledZone>, memory: &'a dyn Memory) -> PreviousNodes<'a> {
        let zone = older.and_then(|older| older.records.first().copied()).unwrap_or(0);
        let nodes = older.map(|older| older.nodes.iter()).unwrap_or_default();
        let is_scattered = older.is_some_and(|older| older.records.len() >= MAX_ZONE_RECORDS);
        PreviousNodes {
            slab: SlabRecords::new(memory),
            nodes: nodes.peekable(),
            zone,
            is_scattered,
            gone: Vec::new(),
        }
    }

    /// The node of a name, if it has one; 0 if not. Names are asked for in canonical order.
    pub fn node_of(&mut self, wire: &[u8]) -> Address {
        while let Some(&&address) = self.nodes.peek() {
            match canonical_order(self.slab.name_of(address), wire) {
                Ordering::Greater => break,
                order => {
                    self.nodes.next();
                    if order.is_eq() {
                        return address;
                    }
                    self.gone.push(address);
                }
            }
        }
        0
    }

    /// Counts the names behind the last one asked for among those that are gone.
    pub fn finish(&mut self) {
        self.gone.extend(self.nodes.by_ref());
    }

    /// The piece of the NSEC3 record whose hash starts so; 0 if there is none.
    pub fn hashed(&self, key: HashKey) -> Address {
        self.hash_index().and_then(|index| index.matching(key)).unwrap_or(0)
    }

    /// Its NSEC3 index.
    pub fn hash_index(&self) -> Option<HashIndex<'a>> {
        HashIndex::new(self.slab.memory, self.chain_address())
    }

    fn zone(&self) -> Option<(zone_record::Zone<'a>, Option<Chain<'a>>)> {
        let zone =
            zone_record::Zone::new(window(self.slab.memory, self.zone).filter(|_| self.zone != 0)?);
        Some((zone, window(self.slab.memory, zone.chain()).map(Chain::new)))
    }

    /// The octets of one of its zone records.
    pub fn zone_octets(&self) -> Option<&'a [u8]> {
        self.slab
            .memory
            .read(self.zone as usize * UNIT, zone_record::LEN)
            .filter(|_| self.zone != 0)
    }

    /// Whether nodes of a version with this denial of existence can refer to its zone records.
    pub fn fits(&self, denial: u8) -> bool {
        !self.is_scattered && self.zone().is_some_and(|(zone, _)| zone.denial() == denial)
    }

    /// The SOA of its negative answers.
    pub fn soa(&self) -> Address {
        self.zone().map_or(0, |(zone, _)| zone.soa())
    }

    /// The root of its NSEC3 index; 0 if it has none.
    pub fn chain_address(&self) -> Address {
        self.zone().map_or(0, |(zone, _)| zone.chain())
    }

    /// The salt of its NSEC3 index.
    pub fn salt(&self) -> Address {
        let chain = self.zone().filter(|(zone, _)| zone.chain() != 0).and_then(|(_, chain)| chain);
        chain.map_or(0, Chain::salt)
    }
}
