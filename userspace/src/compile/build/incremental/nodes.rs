//! The nodes of names that change, and the places that lead to them.

use std::collections::HashMap;

use xdp_common::image::children::Block;
use xdp_common::image::node::{self, flag};
use xdp_common::image::zone::denial;
use xdp_common::image::{Address, UNIT};

use super::changes::{ChangedName, exists};
use super::children::references;
use super::drafted::{DraftedNode, Drafts};
use super::input::Change;
use crate::compile::build::nsec3::hashes_of;
use crate::compile::build::records::{alias_key, first_label, node_len};
use crate::compile::build::state::PlacedNode;
use crate::compile::error::WholeReason;
use crate::compile::hashes::{hash_key, hash_prefix};
use crate::zone::{Rtype, name};

/// The most CNAMEs that are followed to know whether they go in a circle.
const MAX_CNAMES: usize = 32;

impl<'a> Change<'a, '_> {
    /// Writes the nodes of these names, but for those that stay as they are.
    pub(super) fn nodes(&mut self, changed: Vec<ChangedName<'a>>) -> Result<(), WholeReason> {
        let nodes = Vec::with_capacity(changed.len());
        let mut drafts = Drafts { nodes, places: HashMap::with_capacity(changed.len()) };
        for name in changed {
            drafts.places.insert(name.wire, drafts.nodes.len());
            drafts.nodes.push(self.draft(name)?);
        }
        self.surroundings(&mut drafts);
        // From below, so that what is known of the names below is known above.
        for place in (0..drafts.nodes.len()).rev() {
            self.settle_node(&mut drafts, place)?;
        }
        for node in drafts.nodes.iter().filter(|node| node.is_moved()) {
            let [target, wildcard] = [node.target, self.wildcard_of(&drafts, node)]
                .map(|name| name.map_or(0, |name| self.address_of(&drafts, name)));
            let zone = self.compiled.record;
            let wire = node.changed.wire;
            let record = node.placed.record(wire, self.context.seed, zone, target, wildcard);
            self.writer.write(node.placed.address, &record);
            self.compiled.written.push((node.placed.address, node.changed.older));
        }
        for node in drafts.nodes.iter().filter(|node| node.is_moved() && node.changed.older != 0) {
            self.refer(&drafts, node)?;
        }
        let gone = drafts.nodes.iter().filter(|node| !node.changed.exists);
        self.compiled.gone = gone.map(|node| node.changed.older).collect();
        Ok(())
    }

    /// Makes the pieces of a name, and gives them their addresses.
    fn draft(&mut self, changed: ChangedName<'a>) -> Result<DraftedNode<'a>, WholeReason> {
        let ChangedName { wire, older, ref owner, is_cut, .. } = changed;
        let (mut placed, mut own) = (PlacedNode::default(), Vec::new());
        let mut target = None;
        if changed.exists {
            let draft = self.context.draft_node(wire, owner.as_ref(), is_cut);
            (placed, own) = draft.place(wire, older, self.slab, self.writer);
            target = self.target(&changed, &mut placed)?;
        }
        Ok(DraftedNode { changed, placed, own, target })
    }

    /// Decides whether a node moves, and notes what it leaves behind then.
    fn settle_node(&mut self, drafts: &mut Drafts<'a>, place: usize) -> Result<(), WholeReason> {
        let index = self.child_index(drafts, &drafts.nodes[place])?;
        let node = &mut drafts.nodes[place];
        (node.placed.children, node.placed.child_count) = index;
        let changed = &node.changed;
        if changed.exists && node.placed.address == 0 {
            if !changed.must_move && self.is_same(node) {
                return Ok(());
            }
            let len = node_len(changed.wire, node.placed.types.len());
            node.placed.address = self.writer.take(len);
        }
        let (seed, address) = (self.context.seed, node.placed.address);
        if changed.older != 0 {
            self.compiled.unused.push(changed.older);
            let left = self.slab.own_pieces_of(changed.older);
            let is_left = |piece: &Address| !node.own.contains(piece);
            self.compiled.unused.extend(left.into_iter().filter(is_left));
        }
        let alias = self.alias_of(changed).filter(|_| changed.exists);
        let [gone, come] = &mut self.compiled.aliases;
        gone.extend(changed.older_alias.map(|target| (alias_key(target, seed), changed.older)));
        come.extend(alias.map(|target| (alias_key(target, seed), address)));
        if self.context.denial == denial::NSEC3 {
            let was_cut = self.slab.node(changed.older).is_some_and(|(node, _)| node.is(flag::CUT));
            let keys = |is_cut| {
                let hashes = hashes_of(&self.context.nsec3, changed.wire, is_cut);
                hashes.into_iter().flatten().map(|hash| hash_prefix(hash_key(&hash)))
            };
            let [gone, come] = &mut self.compiled.by_hash;
            gone.extend(
                keys(was_cut).filter(|_| changed.older != 0).map(|key| (key, changed.older)),
            );
            come.extend(keys(changed.is_cut).filter(|_| changed.exists).map(|key| (key, address)));
        }
        let cut = changed.owner.filter(|_| changed.is_cut);
        let removed = changed.removed_servers.iter().map(|server| alias_key(server, seed));
        let kept = changed.in_zone.iter().flat_map(|cut| self.context.host_keys(cut));
        let [gone, come] = &mut self.compiled.hosts;
        gone.extend(kept.chain(removed).map(|key| (key, changed.older)));
        let keys = cut.iter().flat_map(|cut| self.context.host_keys(cut));
        come.extend(keys.map(|key| (key, address)));
        Ok(())
    }

    /// Whether a node is as it was, but for where the nodes are that it refers to.
    fn is_same(&self, node: &DraftedNode<'a>) -> bool {
        let Some((before, window)) = self.slab.node(node.changed.older) else { return false };
        let target = node.target.map_or(0, |target| (self.input.node_of)(target));
        let record = node.placed.record(
            node.changed.wire,
            self.context.seed,
            before.zone(),
            target,
            before.wildcard(),
        );
        window.starts_with(&record)
    }

    /// Where the node of a name is in the version to be; 0 if it has none.
    pub(super) fn address_of(&self, drafts: &Drafts<'a>, wire: &[u8]) -> Address {
        match drafts.of(wire) {
            Some(node) if !node.changed.exists => 0,
            Some(node) if node.placed.address == 0 => node.changed.older,
            Some(node) => node.placed.address,
            None => (self.input.node_of)(wire),
        }
    }

    /// The wildcard right below a name, if it may be there.
    fn wildcard_of(&self, drafts: &Drafts<'a>, node: &DraftedNode<'a>) -> Option<&'a [u8]> {
        let star = [b"\x01*", node.changed.wire].concat();
        if let Some(known) = drafts.of(&star) {
            return Some(known.changed.wire);
        }
        let (before, _) = self.slab.node(node.changed.older).filter(|_| node.changed.older != 0)?;
        Some(before.wildcard()).filter(|star| *star != 0).map(|star| self.slab.name_of(star))
    }

    /// The name in the zone that a name's CNAME leads to, whether it is there or not.
    fn alias_of(&self, changed: &ChangedName<'a>) -> Option<&'a [u8]> {
        let cname = changed.owner.filter(|_| !changed.is_cut)?.rrset(Rtype::CNAME)?;
        cname.rdatas().next().filter(|target| name::is_at_or_below(target, self.context.apex))
    }

    /// The node that the name's CNAME leads to; marks the node if the target must be looked for.
    fn target(
        &self,
        changed: &ChangedName<'a>,
        placed: &mut PlacedNode,
    ) -> Result<Option<&'a [u8]>, WholeReason> {
        let dname = changed.owner.filter(|_| !changed.is_cut).and_then(|it| it.rrset(Rtype::DNAME));
        let dname = dname.and_then(|dname| dname.rdatas().next());
        if dname.is_some_and(|target| name::is_at_or_below(target, self.context.apex)) {
            placed.flags |= flag::CHASE;
        }
        let Some(target) = self.alias_of(changed) else { return Ok(None) };
        if !self.is_there(target) {
            placed.flags |= flag::CHASE;
            return Ok(None);
        }
        self.follow(changed.wire, target)?;
        Ok(Some(target))
    }

    /// Follows the CNAMEs from a target. Those in a circle are marked, all of them.
    fn follow(&self, start: &[u8], target: &[u8]) -> Result<(), WholeReason> {
        let mut at = target;
        for _ in 0..MAX_CNAMES {
            if at == start {
                return Err(WholeReason::CnameCircle);
            }
            let owner = self.input.new.find(at).filter(|_| self.is_there(at));
            let next = owner.and_then(|owner| owner.rrset(Rtype::CNAME)?.rdatas().next());
            let Some(next) = next else { return Ok(()) };
            at = next;
        }
        Err(WholeReason::CnameCircle)
    }

    /// Whether a name of the zone has a node in the version to be.
    fn is_there(&self, wire: &[u8]) -> bool {
        exists(self.input, wire)
    }

    /// Notes the words that lead to a node which moves, of records that do not.
    fn refer(&mut self, drafts: &Drafts<'a>, node: &DraftedNode<'a>) -> Result<(), WholeReason> {
        let (wire, older, address) = (node.changed.wire, node.changed.older, node.placed.address);
        if wire != self.context.apex && self.context.denial == denial::NSEC {
            let above = name::parent(wire).unwrap_or(&[0]);
            // An index that was written has the new address.
            let (before, _) =
                self.slab.node((self.input.node_of)(above)).ok_or(WholeReason::OtherVersion)?;
            let index = drafts.of(above).map_or(before.children(), |above| above.placed.children);
            if index == before.children() {
                self.refer_child(index, wire, older, address)?;
            }
        }
        let sources: Vec<Address> =
            self.input.sources(alias_key(wire, self.context.seed)).collect();
        for source in sources {
            // Others have a name with the same key, or are in a circle.
            let is_led = self.slab.node(source).is_some_and(|(node, _)| node.target() == older);
            let is_written = drafts.of(self.slab.name_of(source));
            let is_written = is_written.is_some_and(|one| one.is_moved() || !one.changed.exists);
            if is_led && !is_written {
                self.refer_alias(source, older, address)?;
            }
        }
        Ok(())
    }

    /// Notes the word of a CNAME's node that leads to its target.
    fn refer_alias(
        &mut self,
        source: Address,
        older: Address,
        address: Address,
    ) -> Result<(), WholeReason> {
        const { assert!(node::at::GLUE.is_multiple_of(8)) };
        let at = source as usize * UNIT + node::at::GLUE;
        let word = self.word(at).filter(|word| *word as Address == older);
        let word = word.ok_or(WholeReason::OtherVersion)?;
        let word = word & !u64::from(Address::MAX) | u64::from(address);
        self.compiled.references.push((at, word));
        Ok(())
    }

    /// Notes the entries of a child in the index of the name above it. Their key stays, and the last NSEC at or below the
    /// child, which is all that is found through the index.
    fn refer_child(
        &mut self,
        index: Block,
        wire: &[u8],
        older: Address,
        address: Address,
    ) -> Result<(), WholeReason> {
        let label = first_label(wire);
        let references = references(self.input.memory, index, label, [older, address])?;
        self.compiled.references.extend(references);
        Ok(())
    }

    fn word(&self, at: usize) -> Option<u64> {
        let octets = self.input.memory.read(at, 8)?;
        Some(u64::from_le_bytes(octets.try_into().ok()?))
    }
}
