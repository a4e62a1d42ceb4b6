//! The index of a name's children, where the zone has NSEC, changed where children come and go.

use std::cmp::Ordering;

use xdp_common::image::{Address, UNIT};

use super::drafted::{DraftedNode, Drafts};
use super::input::Change;
use crate::compile::build::records::{first_label, label_key, push_entry, read_entry};
use crate::compile::error::WholeReason;
use crate::compile::memory::{ENTRY_LEN, Memory};
use crate::compile::reuse::SlabRecords;
use crate::zone::name;
use xdp_common::image::zone::denial;

/// An index as it lies in the slab.
pub(super) struct FlatIndex<'a> {
    slab: SlabRecords<'a>,
    address: Address,
    octets: &'a [u8],
}

impl<'a> FlatIndex<'a> {
    /// The index at an address, of so many entries.
    pub fn new(memory: &'a dyn Memory, (address, count): (Address, u32)) -> Option<FlatIndex<'a>> {
        let octets = memory.read(address as usize * UNIT, count as usize * ENTRY_LEN)?;
        Some(FlatIndex { slab: SlabRecords::new(memory), address, octets })
    }

    fn len(&self) -> usize {
        self.octets.len() / ENTRY_LEN
    }

    /// The key of an entry, and the child that it leads to.
    fn entry(&self, at: usize) -> ((u64, u32), Address) {
        read_entry(&self.octets[at * ENTRY_LEN..][..ENTRY_LEN])
    }

    /// The place of the child with this first label, or else the place where it would be.
    pub fn search(&self, label: &[u8]) -> Result<usize, usize> {
        let key = label_key(label);
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let (found, child) = self.entry(middle);
            let order = found.cmp(&key).then_with(|| match found == key {
                true => first_label(self.slab.name_of(child)).cmp(label),
                false => Ordering::Equal,
            });
            match order {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// The place of a child with this first label, and at this address.
    pub fn place_of(&self, label: &[u8], child: Address) -> Option<usize> {
        self.search(label).ok().filter(|at| self.entry(*at).1 == child)
    }

    /// The word of an entry that leads to its child, with another address, and where it is.
    pub fn reference(&self, at: usize, child: Address) -> (usize, u64) {
        let (key, _) = self.entry(at);
        let place = self.address as usize * UNIT + at * ENTRY_LEN + 8;
        (place, u64::from(key.1) | u64::from(child) << 32)
    }
}

impl<'a> Change<'a, '_> {
    /// The index of a node's children: the one that it had, unless children come or go, or the last NSEC at or below one
    /// of them does. Then another is written.
    pub(super) fn child_index(
        &mut self,
        drafts: &Drafts<'a>,
        node: &DraftedNode<'a>,
    ) -> Result<(Address, u32), WholeReason> {
        let before = self.slab.node(node.changed.older).filter(|_| node.changed.older != 0);
        let older = before.map_or((0, 0), |(before, _)| before.children());
        if self.context.denial != denial::NSEC {
            return Ok(older);
        }
        if !node.changed.exists {
            self.compiled.unused.extend(Some(older.0).filter(|older| *older != 0));
            return Ok((0, 0));
        }
        let children = drafts.children_of(node.changed.wire);
        let is_other = |child: &&DraftedNode<'a>| {
            let before = self.slab.node(child.changed.older).filter(|_| child.changed.older != 0);
            let kept = before.filter(|_| child.changed.exists);
            kept.is_none_or(|(before, _)| before.last_cover() != child.placed.last_cover)
        };
        if !children.iter().any(is_other) {
            return Ok(older);
        }
        let index = FlatIndex::new(self.input.memory, older).ok_or(WholeReason::OtherVersion)?;
        let mut octets = Vec::with_capacity(index.octets.len() + children.len() * ENTRY_LEN);
        let mut copied = 0;
        for child in children {
            let label = first_label(child.changed.wire);
            let place = index.search(label);
            let at = place.unwrap_or_else(|at| at);
            octets.extend_from_slice(&index.octets[copied * ENTRY_LEN..at * ENTRY_LEN]);
            if child.changed.exists {
                let address = self.address_of(drafts, child.changed.wire);
                push_entry(&mut octets, label_key(label), address);
            }
            copied = at + usize::from(place.is_ok());
        }
        octets.extend_from_slice(&index.octets[copied * ENTRY_LEN..]);
        self.compiled.unused.extend(Some(older.0).filter(|older| *older != 0));
        let count = (octets.len() / ENTRY_LEN) as u32;
        Ok(if count == 0 { (0, 0) } else { (self.writer.place(&octets), count) })
    }
}

impl<'a> Drafts<'a> {
    /// The nodes among these whose names are right below a name, in canonical order.
    fn children_of(&self, wire: &[u8]) -> Vec<&DraftedNode<'a>> {
        let Some(&place) = self.places.get(wire) else { return Vec::new() };
        let below = self.nodes[place + 1..].iter();
        let below = below.take_while(|node| name::is_at_or_below(node.changed.wire, wire));
        below.filter(|node| name::parent(node.changed.wire) == Some(wire)).collect()
    }
}
