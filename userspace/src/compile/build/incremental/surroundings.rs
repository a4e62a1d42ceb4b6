//! What a node says of the names around it: the proofs of what is absent there.

use xdp_common::image::chain::{self, Chain};
use xdp_common::image::node::flag;
use xdp_common::image::zone::denial;
use xdp_common::image::{Address, UNIT};

use super::drafted::Drafts;
use super::input::Change;
use crate::compile::build::nsec3::hash_key;
use crate::compile::build::records::read_entry;
use crate::compile::error::WholeReason;
use crate::compile::memory::{ENTRY_LEN, window};
use crate::dnssec::denial::{Hash, write_hash_owner};
use crate::zone::Rtype;
use crate::zone::name::{self, MAX_NAME_LEN, behind_subtree, canonical_order};

impl<'a> Change<'a, '_> {
    /// Gives all nodes their proofs.
    pub(super) fn surroundings(&self, drafts: &mut Drafts<'a>) -> Result<(), WholeReason> {
        match self.context.denial {
            denial::NSEC => {
                self.nsec_surroundings(drafts);
                Ok(())
            }
            _ => self.other_surroundings(drafts),
        }
    }

    /// With NSEC, as `build::nsec` has it.
    fn nsec_surroundings(&self, drafts: &mut Drafts<'a>) {
        for place in 0..drafts.nodes.len() {
            let node = &drafts.nodes[place];
            if !node.changed.exists {
                continue;
            }
            // An empty non-terminal has no NSEC; the one before it covers it.
            let own = match node.placed.proofs[0] {
                0 => self.nsec_before(drafts, Some(node.changed.wire)),
                own => own,
            };
            let node = &mut drafts.nodes[place];
            node.placed.proofs = [own, 0];
            node.placed.first_cover = own;
        }
        for place in 0..drafts.nodes.len() {
            let wire = drafts.nodes[place].changed.wire;
            if !drafts.nodes[place].changed.exists {
                continue;
            }
            let last = self.nsec_before(drafts, behind_subtree(wire).as_deref());
            let star = [b"\x01*", wire].concat();
            let wildcard = self.nsec_before(drafts, Some(&star));
            let placed = &mut drafts.nodes[place].placed;
            (placed.last_cover, placed.wildcard_cover) = (last, wildcard);
        }
    }

    /// The NSEC of the last owner before a name, or of the last of all.
    fn nsec_before(&self, drafts: &Drafts<'a>, wire: Option<&[u8]>) -> Address {
        let is_before = |other: &[u8]| wire.is_none_or(|wire| canonical_order(other, wire).is_lt());
        let drafted = drafts.nodes.partition_point(|node| is_before(node.changed.wire));
        let drafted = drafts.nodes[..drafted].iter().rfind(|node| node.changed.exists);
        let nodes = &self.input.older.nodes;
        let place = nodes.search(|&node| match is_before(self.slab.name_of(node)) {
            true => std::cmp::Ordering::Less,
            false => std::cmp::Ordering::Greater,
        });
        let before = nodes.before(place.unwrap_or_else(|place| place)).copied();
        for node in before {
            let wire = self.slab.name_of(node);
            if drafted.is_some_and(|one| canonical_order(one.changed.wire, wire).is_ge()) {
                break;
            }
            if drafts.of(wire).is_none() {
                return self.slab.node(node).map_or(0, |(node, _)| node.first_cover());
            }
        }
        drafted.map_or(0, |one| one.placed.first_cover)
    }

    /// Without NSEC: a name that stays has the proofs that it had, since no NSEC3 record changes.
    fn other_surroundings(&self, drafts: &mut Drafts<'a>) -> Result<(), WholeReason> {
        for node in drafts.nodes.iter_mut().filter(|node| node.changed.exists) {
            let (older, wire, placed) = (node.changed.older, node.changed.wire, &mut node.placed);
            if let Some((before, _)) = self.slab.node(older).filter(|_| older != 0) {
                if before.is(flag::NO_NSEC3) {
                    placed.flags |= flag::NO_NSEC3;
                }
                placed.proofs = before.proofs();
                placed.encloser_match = before.encloser_match();
                placed.wildcard_cover = before.wildcard_cover();
                placed.first_cover = before.first_cover();
            } else if self.context.denial == denial::NSEC3 {
                // The closest name at or above it that has an NSEC3, and the one below that on the way.
                let (mut provable, mut next_closer) = (wire, None);
                let matched = loop {
                    if let Some(matched) = self.matching(&self.context.nsec3.hash(provable)) {
                        break matched;
                    }
                    let above = name::parent(provable).filter(|_| provable != self.context.apex);
                    next_closer = Some(provable);
                    provable = above.ok_or(WholeReason::Denial)?;
                };
                // What has one of its own comes with a change of the chain.
                let below = next_closer.ok_or(WholeReason::Denial)?;
                let cover = self.covering(&self.context.nsec3.hash(below));
                let star = [b"\x01*", provable].concat();
                let wildcard = match star.len() <= MAX_NAME_LEN && !self.is_cut(provable) {
                    true => self.covering(&self.context.nsec3.hash(&star)),
                    false => 0,
                };
                placed.proofs = [matched, if cover == matched { 0 } else { cover }];
                placed.encloser_match = matched;
                placed.wildcard_cover = wildcard;
                placed.flags |= flag::NO_NSEC3;
                placed.first_cover = cover;
            }
        }
        Ok(())
    }
}

//--- The NSEC3 index

impl<'a> Change<'a, '_> {
    fn is_cut(&self, wire: &[u8]) -> bool {
        let owner = self.input.new.find(wire).filter(|_| wire != self.context.apex);
        owner.is_some_and(|owner| owner.rrset(Rtype::NS).is_some())
    }

    /// The NSEC3 record that matches a hash.
    fn matching(&self, hash: &Hash) -> Option<Address> {
        let mut owner = Vec::new();
        write_hash_owner(hash, self.context.apex, &mut owner);
        self.input.new.find(&owner)?.rrset(Rtype::NSEC3)?;
        let (key, piece) = self.last_at_or_before(hash)?;
        (key == hash_key(hash)).then_some(piece)
    }

    /// The NSEC3 record before a hash that none matches, the last being before the first.
    fn covering(&self, hash: &Hash) -> Address {
        let last = || self.chain().and_then(|(at, count)| self.hashed(at, count.checked_sub(1)?));
        self.last_at_or_before(hash).or_else(last).map_or(0, |(_, piece)| piece)
    }

    fn last_at_or_before(&self, hash: &Hash) -> Option<((u64, u32), Address)> {
        let (at, count) = self.chain()?;
        let key = hash_key(hash);
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            if self.hashed(at, middle)?.0 <= key { low = middle + 1 } else { high = middle }
        }
        self.hashed(at, low.checked_sub(1)?)
    }

    /// Where the entries of the index are, in octets, and how many.
    fn chain(&self) -> Option<(usize, u32)> {
        let chain = self.zone_record()?.chain();
        let found = window(self.input.memory, chain).map(Chain::new).filter(|_| chain != 0)?;
        Some((chain as usize * UNIT + chain::at::ENTRIES, found.count()))
    }

    /// An entry of the index: the start of the hash, and the record.
    fn hashed(&self, at: usize, entry: u32) -> Option<((u64, u32), Address)> {
        let entry = self.input.memory.read(at + entry as usize * ENTRY_LEN, ENTRY_LEN)?;
        Some(read_entry(entry))
    }
}
