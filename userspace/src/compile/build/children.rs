//! The indexes of children in which the NSEC is searched that covers a name, written in blocks
//! ([`xdp_common::image::children`]): what a block of the version before has already is not written again.

use std::iter::once;

use xdp_common::image::Address;
use xdp_common::image::children::{Block, ENTRY_LEN, MAX_DEPTH, MAX_ROOT, REFERENCE_LEN};
use xdp_common::image::zone::denial;

use super::division::{BRANCHES, Bounds, LEAVES, Part, divide};
use super::records::{first_label, label_key, push_entry};
use super::state::{Build, PlacedNode};

/// A block, and the place of the first child in it or below it.
struct Written {
    block: Block,
    first: u32,
}

/// The blocks of one level of the index of the version before.
#[derive(Clone, Copy)]
struct OlderLevel<'a> {
    blocks: &'a [Block],
    /// Whether the root is on a level above.
    has_above: bool,
}

impl Build<'_, '_, '_> {
    /// How many children of a name an index has an entry for.
    pub(super) fn child_count(&self, place: usize) -> u32 {
        if self.context.denial == denial::NSEC {
            self.names[place].children.len() as u32
        } else {
            0
        }
    }

    /// With NSEC writes the index of children of each name, unless it is there.
    pub(super) fn children(&mut self) {
        if self.context.denial_said() != denial::NSEC {
            return;
        }
        for place in 0..self.names.len() {
            if self.names[place].children.is_empty() {
                continue;
            }
            let PlacedNode { address, older, .. } = self.nodes[place];
            let known = self.older.slab.blocks_of(older);
            if address == older {
                self.used.extend(known.iter().flatten().map(|block| block.address));
                let root = known.last().and_then(|level| level.first());
                self.nodes[place].children = root.copied().unwrap_or_default();
                continue;
            }
            let children = std::mem::take(&mut self.names[place].children);
            self.nodes[place].children = self.index(&children, &known);
            self.names[place].children = children;
        }
    }

    /// Writes the index of these children, given the levels of the one before, leaves first.
    fn index(&mut self, children: &[u32], known: &[Vec<Block>]) -> Block {
        let level = |depth: usize| OlderLevel {
            blocks: known.get(depth).map_or(&[], Vec::as_slice),
            has_above: known.len() > depth + 1,
        };
        let parts = self.parts(children.len(), |at| children[at], level(0), &LEAVES);
        let mut blocks = Vec::with_capacity(parts.len());
        for Part { entries, older } in parts {
            let mut octets = Vec::with_capacity(entries.len() * ENTRY_LEN);
            for &child in &children[entries.clone()] {
                self.push_child(&mut octets, child);
            }
            let block = Block { address: 0, entries: entries.len() as u32, depth: 0 };
            blocks.push(self.written(block, &octets, level(0), older, children[entries.start]));
        }
        let mut depth = 0;
        while blocks.len() > 1 {
            depth += 1;
            blocks = self.branches(&blocks, depth, level(depth));
        }
        blocks.first().map_or_else(Block::default, |root| root.block)
    }

    /// Writes the level of branches above these blocks: one, if that can be the root.
    fn branches(&mut self, below: &[Written], depth: usize, older: OlderLevel<'_>) -> Vec<Written> {
        // A level that comes and goes with every child would be written whole each time.
        let most = if older.has_above { MAX_ROOT / 3 } else { MAX_ROOT };
        let parts = if below.len() <= most || depth == MAX_DEPTH {
            vec![Part { entries: 0..below.len(), older: 0 }]
        } else {
            self.parts(below.len(), |at| below[at].first, older, &BRANCHES)
        };
        let mut branches = Vec::with_capacity(parts.len());
        for Part { entries, older: number } in parts {
            let below = &below[entries];
            let mut octets = Vec::with_capacity(below.len() * (ENTRY_LEN + REFERENCE_LEN));
            below.iter().for_each(|one| self.push_child(&mut octets, one.first));
            for Written { block, .. } in below {
                octets.extend(block.address.to_le_bytes());
                octets.extend(u32::from(block.shape()).to_le_bytes());
            }
            let block = Block { address: 0, entries: below.len() as u32, depth: depth as u32 };
            branches.push(self.written(block, &octets, older, number, below[0].first));
        }
        branches
    }

    /// How `count` entries are divided into blocks; `first` has the place of each one's first child.
    fn parts(
        &self,
        count: usize,
        first: impl Fn(usize) -> u32,
        older: OlderLevel<'_>,
        bounds: &Bounds,
    ) -> Vec<Part> {
        let label_at = |at: usize| first_label(self.names[first(at) as usize].wire);
        let start = |block: &Block| {
            let label = self.older.slab.first_label_in(*block);
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low.midpoint(high);
                if label_at(middle) < label { low = middle + 1 } else { high = middle }
            }
            low
        };
        let starts: Vec<usize> = once(0).chain(older.blocks.iter().skip(1).map(start)).collect();
        divide(count, &starts, bounds)
    }

    /// Writes a block, unless the one in its place is the same.
    fn written(
        &mut self,
        block: Block,
        octets: &[u8],
        older: OlderLevel<'_>,
        number: usize,
        first: u32,
    ) -> Written {
        let same = older.blocks.get(number).filter(|older| older.shape() == block.shape());
        let address = self.place(octets, same.map_or(0, |older| older.address));
        Written { block: Block { address, ..block }, first }
    }

    /// Adds the entry of a child.
    fn push_child(&self, octets: &mut Vec<u8>, child: u32) {
        let label = first_label(self.names[child as usize].wire);
        let address: Address = self.nodes[child as usize].address;
        push_entry(octets, label_key(label), address);
    }
}
