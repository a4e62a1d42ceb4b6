//! A version of a zone in the slab: what is kept of it, and what sets it apart from the one before.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use xdp_common::image::Address;

use super::error::Unsendable;
use super::slab::Extent;
use super::sorted::SortedList;

/// A zone in the slab.
#[derive(Default)]
pub struct CompiledZone {
    /// Its nodes, in canonical order of their names.
    pub nodes: SortedList<Address>,
    /// All that it occupies, sorted by address.
    pub extents: SortedList<Extent>,
    /// Of each CNAME that leads into the zone a part of its target's hash, and its node; sorted. So the nodes are found
    /// that lead to one which moves.
    pub aliases: SortedList<(u32, Address)>,
    /// Of each name server of a zone cut that is in the zone, and not at or below the cut, a part of its hash, and the
    /// cut's node; sorted. So the cuts are found whose glue has the addresses of a host.
    pub hosts: SortedList<(u32, Address)>,
    /// With NSEC3, the start of each hash on which the proofs of a name depend, and the name's node; sorted: its own hash,
    /// and that of the wildcard below it. So the nodes are found whose proofs change with a record of the chain.
    pub by_hash: SortedList<(u32, Address)>,
    /// With NSEC3, how many nodes have the proofs of another name, which are in them and change with that name's. Zone cuts
    /// that have none but the apex's are not among them.
    pub dependents: usize,
    /// The zone records that its nodes refer to. They say the same.
    pub records: Vec<Address>,
    /// Octets of all that it occupies.
    pub octets: usize,
    /// Whether it is a part of the zone's names only.
    pub is_partial: bool,
    /// What of it no message can carry.
    pub unsendable: Vec<Unsendable>,
    /// Whether another version takes its place, or none: then what is its own may be freed.
    pub is_gone: Arc<AtomicBool>,
}

/// A version of a zone in the slab, and what sets it apart from the version before.
#[derive(Default)]
pub struct Compiled {
    /// The version.
    pub zone: CompiledZone,
    /// Its nodes that were written, in canonical order.
    pub written: Vec<Address>,
    /// The nodes of the version before in whose place those were written.
    pub replaced: Vec<Address>,
    /// The nodes of the version before whose names it does not have, in canonical order.
    pub gone: Vec<Address>,
    /// Copies of these, if they must stay until the zone records have changed, which theirs does not.
    pub gone_copies: Vec<Address>,
    /// What was taken for it.
    pub taken: Vec<Extent>,
    /// How many records it has that the version before has not.
    pub fresh: usize,
    /// What is not in use any more once it is published.
    pub retired: Vec<Extent>,
    /// The two words that the older zone records must say, and its serial.
    pub heading: (u64, u32),
    /// The most labels of any of its names.
    pub max_labels: u32,
}

/// A version of a zone.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Its nodes with the hashes of their names, the apex first.
    pub nodes: Vec<(u64, Address)>,
    /// Whether another version has taken its place or begins to. Until then nothing of it is freed, and
    /// afterwards not before readers are gone.
    pub is_gone: Arc<AtomicBool>,
}
