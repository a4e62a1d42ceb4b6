//! What a node says of the names around it: the proofs of what is absent there.

use xdp_common::image::Address;
use xdp_common::image::zone::denial;

use super::drafted::Drafts;
use super::input::Change;
use crate::compile::build::nsec3::{Nsec3Proofs, hashes_of};
use crate::zone::Rtype;
use crate::zone::name::{self, behind_subtree, canonical_order};

impl<'a> Change<'a, '_> {
    /// Gives all nodes their proofs.
    pub(super) fn surroundings(&self, drafts: &mut Drafts<'a>) {
        match self.context.denial {
            denial::NSEC => self.nsec_surroundings(drafts),
            denial::NSEC3 => self.nsec3_surroundings(drafts),
            _ => {}
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

    /// With NSEC3, as `build::nsec3` has it.
    fn nsec3_surroundings(&self, drafts: &mut Drafts<'a>) {
        for node in drafts.nodes.iter_mut().filter(|node| node.changed.exists) {
            let (wire, is_cut) = (node.changed.wire, node.changed.is_cut);
            // The closest name at or above it that has an NSEC3, and the one below that on the way.
            let (mut provable, mut next_closer) = (wire, None);
            let matched = loop {
                if let Some(matched) = self.matching(&self.context.nsec3.hash(provable)) {
                    break matched;
                }
                let above = name::parent(provable).filter(|_| provable != self.context.apex);
                let Some(above) = above else { break 0 };
                next_closer = Some(provable);
                provable = above;
            };
            let [_, star] = hashes_of(&self.context.nsec3, provable, self.is_cut(provable));
            let proofs = Nsec3Proofs {
                matched,
                is_of_apex: provable == self.context.apex,
                cover: next_closer.map(|below| self.covering(&self.context.nsec3.hash(below))),
                wildcard_cover: star.map_or(0, |hash| self.covering(&hash)),
            };
            node.placed.prove(wire, is_cut, &proofs);
        }
    }

    fn is_cut(&self, wire: &[u8]) -> bool {
        let owner = self.input.new.find(wire).filter(|_| wire != self.context.apex);
        owner.is_some_and(|owner| owner.rrset(Rtype::NS).is_some())
    }
}
