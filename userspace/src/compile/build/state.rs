//! What is known of a version while it is compiled.

use std::collections::BTreeSet;

use xdp_common::image::Address;
use xdp_common::image::children::Block;

use super::context::{Source, VersionContext};
use super::writer::Writer;
use crate::compile::error::CompileError;
use crate::compile::names::{self, ExistingName};
use crate::compile::reuse::PreviousNodes;
use crate::dnssec::denial::Hash;
use crate::zone::{Name, Zone};

/// A node whose pieces have addresses, before it is written itself.
#[derive(Clone, Default)]
pub(super) struct PlacedNode {
    /// 0 as long as it seems that the node of the version before can stay.
    pub(super) address: Address,
    /// That of the version before; 0 if it has none.
    pub(super) older: Address,
    pub(super) flags: u16,
    pub(super) types: Vec<(u16, Address)>,
    pub(super) otherwise: Address,
    pub(super) proofs: [Address; 2],
    pub(super) glue: Address,
    pub(super) optional_glue: Address,
    pub(super) target: Option<usize>,
    pub(super) wildcard: Option<usize>,
    pub(super) encloser_match: Address,
    pub(super) wildcard_cover: Address,
    pub(super) first_cover: Address,
    pub(super) children: Block,
    /// How many children that index has an entry for, once it is known.
    pub(super) child_count: u32,
    pub(super) last_cover: Address,
    pub(super) any: Address,
}

/// An NSEC3 record of the zone.
pub(super) struct HashedName {
    pub(super) hash: Hash,
    pub(super) piece: Address,
}

/// A zone while it is compiled.
pub(super) struct Build<'a, 'w, 'm> {
    pub(super) zone: &'a Zone,
    pub(super) context: VersionContext<'a>,
    pub(super) names: Vec<ExistingName<'a>>,
    pub(super) nodes: Vec<PlacedNode>,
    pub(super) hashed: Vec<HashedName>,
    /// With NSEC3: the start of each hash on which a name's proofs depend, and the name's place.
    pub(super) hash_places: Vec<(u32, u32)>,
    pub(super) older: PreviousNodes<'m>,
    /// The addresses of all records that the version refers to.
    pub(super) used: Vec<Address>,
    pub(super) writer: &'w mut Writer<'m>,
}

impl<'a, 'w, 'm> Build<'a, 'w, 'm> {
    pub(super) fn new(
        zone: &'a Zone,
        part: Option<&BTreeSet<Name>>,
        older: PreviousNodes<'m>,
        seed: u64,
        now: u32,
        writer: &'w mut Writer<'m>,
    ) -> Result<Self, CompileError> {
        let context = VersionContext::new(Source::Zone(zone), part.is_some(), seed, now)?;
        let names = match part {
            Some(part) => names::partial(zone, part),
            None => names::existing(zone),
        };
        let nodes = vec![PlacedNode::default(); names.len()];
        let (hashed, hash_places, used) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Build { zone, context, names, nodes, hashed, hash_places, older, used, writer })
    }

    /// Places a record that belongs to no node, unless it is there.
    pub(super) fn place(&mut self, octets: &[u8], older: Address) -> Address {
        let is_there = self.older.slab.holds(older, octets);
        let address = if is_there { older } else { self.writer.place(octets) };
        self.used.push(address);
        address
    }
}
