//! The nodes of names that change, and the places that lead to them.

use std::collections::HashMap;

use xdp_common::image::node::{self, flag};
use xdp_common::image::zone::denial;
use xdp_common::image::{Address, UNIT};

use super::changes::ChangedName;
use super::input::Change;
use crate::compile::build::records::{alias_key, first_label, label_key, node_len};
use crate::compile::build::state::PlacedNode;
use crate::compile::error::WholeReason;
use crate::compile::memory::ENTRY_LEN;
use crate::zone::{Rtype, name};

/// The most CNAMEs that are followed to know whether they go in a circle.
const MAX_CNAMES: usize = 32;

/// A node that is about to be written.
struct DraftedNode<'a> {
    wire: &'a [u8],
    placed: PlacedNode,
    /// The name that its CNAME leads to, if that is a node.
    target: Option<&'a [u8]>,
}

impl<'a> Change<'a, '_> {
    /// Writes the nodes of these names, but for those that stay as they are.
    pub(super) fn nodes(&mut self, changed: &[ChangedName<'a>]) -> Result<(), WholeReason> {
        let mut drafted = Vec::with_capacity(changed.len());
        for name in changed {
            drafted.extend(self.draft(name)?);
        }
        let moved: HashMap<Address, Address> =
            drafted.iter().map(|one| (one.placed.older, one.placed.address)).collect();
        let now_at = |older: Address| moved.get(&older).copied().unwrap_or(older);
        for DraftedNode { wire, placed, target } in &drafted {
            let Some((before, _)) = self.slab.node(placed.older) else { continue };
            let target = target.map_or(0, |target| now_at((self.input.node_of)(target)));
            let wildcard = now_at(before.wildcard());
            let record =
                placed.record(wire, self.context.seed, self.compiled.record, target, wildcard);
            self.writer.write(placed.address, &record);
            self.compiled.written.push((placed.address, placed.older));
        }
        for DraftedNode { wire, placed, .. } in &drafted {
            self.refer(wire, placed, &moved)?;
        }
        Ok(())
    }

    /// Makes the node of a name, and notes what it leaves behind; `None` if it is as it was.
    fn draft(&mut self, changed: &ChangedName<'a>) -> Result<Option<DraftedNode<'a>>, WholeReason> {
        let &ChangedName { wire, older, ref owner, is_cut, .. } = changed;
        let Some((before, window)) = self.slab.node(older) else { return Err(WholeReason::Names) };
        let draft = self.context.draft_node(wire, owner.as_ref(), is_cut);
        let (mut placed, own) = draft.place(wire, older, self.slab, self.writer);
        // What is around the name is as it was.
        if before.is(flag::NO_NSEC3) {
            placed.flags |= flag::NO_NSEC3;
        }
        if self.context.denial != denial::NSEC || placed.proofs[0] == 0 {
            placed.proofs = before.proofs();
        }
        placed.encloser_match = before.encloser_match();
        placed.wildcard_cover = before.wildcard_cover();
        placed.first_cover = before.first_cover();
        placed.last_cover = before.last_cover();
        placed.children = before.children();
        let target = self.target(changed, &mut placed)?;
        let led_to = target.map_or(0, |target| (self.input.node_of)(target));
        let record =
            placed.record(wire, self.context.seed, before.zone(), led_to, before.wildcard());
        if placed.address == 0 {
            if !changed.must_move && window.starts_with(&record) {
                return Ok(None);
            }
            placed.address = self.writer.take(node_len(wire, placed.types.len()));
        }
        self.compiled.unused.push(older);
        let left = self.slab.own_pieces_of(older);
        self.compiled.unused.extend(left.into_iter().filter(|piece| !own.contains(piece)));
        let seed = self.context.seed;
        let alias = self.alias_of(changed);
        let [gone, come] = &mut self.compiled.aliases;
        gone.extend(changed.older_alias.map(|target| (alias_key(target, seed), older)));
        come.extend(alias.map(|target| (alias_key(target, seed), placed.address)));
        Ok(Some(DraftedNode { wire, placed, target }))
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
        if (self.input.node_of)(target) == 0 {
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
            let owner = self.input.new.find(at).filter(|_| (self.input.node_of)(at) != 0);
            let next = owner.and_then(|owner| owner.rrset(Rtype::CNAME)?.rdatas().next());
            let Some(next) = next else { return Ok(()) };
            at = next;
        }
        Err(WholeReason::CnameCircle)
    }

    /// Notes the words that lead to a node which moves, of records that do not.
    fn refer(
        &mut self,
        wire: &[u8],
        placed: &PlacedNode,
        moved: &HashMap<Address, Address>,
    ) -> Result<(), WholeReason> {
        let &PlacedNode { older, address, .. } = placed;
        if wire != self.context.apex {
            let above = name::parent(wire).unwrap_or(&[0]);
            if self.context.denial == denial::NSEC {
                self.refer_child((self.input.node_of)(above), wire, older, address)?;
            }
        }
        let key = alias_key(wire, self.context.seed);
        let aliases = &self.input.older.aliases;
        let first = aliases.search(|alias| alias.cmp(&(key, 0))).unwrap_or_else(|place| place);
        let sources = aliases.from(first).take_while(|(target, _)| *target == key);
        for &(_, source) in sources.filter(|(_, source)| !moved.contains_key(source)) {
            // Others have a name with the same key, or are in a circle.
            let is_led = self.slab.node(source).is_some_and(|(node, _)| node.target() == older);
            if is_led {
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

    /// Notes the entry of a child in the index of the name above it. Its key stays, and the last NSEC at or below the
    /// child, which is all that is found through the index.
    fn refer_child(
        &mut self,
        parent: Address,
        wire: &[u8],
        older: Address,
        address: Address,
    ) -> Result<(), WholeReason> {
        let (node, _) = self.slab.node(parent).ok_or(WholeReason::OtherVersion)?;
        let (index, count) = node.children();
        let at = |entry: u32| index as usize * UNIT + entry as usize * ENTRY_LEN;
        let key = label_key(first_label(wire));
        let key_at = |entry: u32| {
            let (high, rest) = (self.word(at(entry))?, self.word(at(entry) + 8)?);
            Some(((high, rest as u32), (rest >> 32) as Address))
        };
        let (mut low, mut high): (u32, u32) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            let (found, _) = key_at(middle).ok_or(WholeReason::OtherVersion)?;
            if found < key { low = middle + 1 } else { high = middle }
        }
        while low < count {
            let (found, child) = key_at(low).ok_or(WholeReason::OtherVersion)?;
            if found != key {
                break;
            }
            if child == older {
                let word = u64::from(key.1) | u64::from(address) << 32;
                self.compiled.references.push((at(low) + 8, word));
                return Ok(());
            }
            low += 1;
        }
        Err(WholeReason::OtherVersion)
    }

    fn word(&self, at: usize) -> Option<u64> {
        let octets = self.input.memory.read(at, 8)?;
        Some(u64::from_le_bytes(octets.try_into().ok()?))
    }
}
