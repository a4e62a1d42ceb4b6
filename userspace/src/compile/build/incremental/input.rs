//! What a change is compiled from, what it is while it is compiled, and what comes out.

use xdp_common::image::Address;

use super::merged::MergedChain;
use crate::compile::build::context::VersionContext;
use crate::compile::build::writer::Writer;
use crate::compile::memory::Memory;
use crate::compile::reuse::SlabRecords;
use crate::compile::slab::Extent;
use crate::compile::sorted::SortedList;
use crate::compile::version::CompiledZone;
use crate::zone::Version;
use crate::zone::difference::Difference;
use crate::zone::name::{canonical_order, is_at_or_below};

/// What a difference makes of a version in the slab.
#[derive(Default)]
pub struct CompiledChange {
    /// The nodes that were written, in canonical order, and those that they take the place of; 0 for a name that comes.
    pub written: Vec<(Address, Address)>,
    /// The nodes of names that go, in canonical order.
    pub gone: Vec<Address>,
    /// Copies of these, if they must stay until the zone records have changed, which theirs does not.
    pub gone_copies: Vec<Address>,
    /// Words of records that stay, each with its place in octets, which lead to nodes that were written.
    pub references: Vec<(usize, u64)>,
    /// The two words that the zone records must say, and the serial.
    pub heading: (u64, u32),
    /// The zone record that nodes refer to which were written. It is needed until all zone records say the same.
    pub record: Address,
    /// What was taken.
    pub taken: Vec<Extent>,
    /// The addresses of records that nothing refers to any more.
    pub unused: Vec<Address>,
    /// What is kept of which CNAMEs lead to which names: what goes, and what comes.
    pub aliases: [Vec<(u32, Address)>; 2],
    /// The same of which zone cuts have which name servers.
    pub hosts: [Vec<(u32, Address)>; 2],
    /// The same of which names' proofs depend on which hashes.
    pub by_hash: [Vec<(u32, Address)>; 2],
}

/// What a change is compiled from.
pub struct ChangeInput<'a> {
    /// The version that is published.
    pub older: &'a CompiledZone,
    /// The version to be.
    pub new: &'a Version,
    /// What changes the one into the other.
    pub difference: &'a Difference,
    /// The key of the names' hash.
    pub seed: u64,
    /// Seconds since 1970, truncated to 32 bits.
    pub now: u32,
    /// Where the image lies.
    pub memory: &'a dyn Memory,
    /// The node of a name of this zone; 0 if it has none.
    pub node_of: &'a dyn Fn(&[u8]) -> Address,
}

impl ChangeInput<'_> {
    /// The nodes of CNAMEs whose target has this key.
    pub fn sources(&self, key: u32) -> impl Iterator<Item = Address> {
        with_key(&self.older.aliases, key)
    }

    /// The nodes of zone cuts with a name server elsewhere that has this key.
    pub fn served_by(&self, key: u32) -> impl Iterator<Item = Address> {
        with_key(&self.older.hosts, key)
    }

    /// The names below one that the version which is published has.
    pub fn nodes_below<'n>(&'n self, wire: &'n [u8]) -> impl Iterator<Item = &'n [u8]> {
        let slab = SlabRecords::new(self.memory);
        let place = self.older.nodes.search(|&node| canonical_order(slab.name_of(node), wire));
        let from = self.older.nodes.from(place.unwrap_or_else(|place| place));
        let names = from.map(move |&node| slab.name_of(node));
        names.take_while(move |name| is_at_or_below(name, wire)).filter(move |name| *name != wire)
    }
}

fn with_key(list: &SortedList<(u32, Address)>, key: u32) -> impl Iterator<Item = Address> {
    let first = list.search(|one| one.cmp(&(key, 0))).unwrap_or_else(|place| place);
    let found = list.from(first).take_while(move |(one, _)| *one == key);
    found.map(|(_, node)| *node)
}

/// A change while it is compiled.
pub(super) struct Change<'a, 'w> {
    pub input: &'a ChangeInput<'a>,
    pub context: VersionContext<'a>,
    pub slab: SlabRecords<'a>,
    pub writer: &'w mut Writer<'a>,
    pub compiled: CompiledChange,
    pub chain: MergedChain<'a>,
}
