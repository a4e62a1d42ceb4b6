//! The index of a name's children, where the zone has NSEC, changed where children come and go: of each level only the
//! blocks on the way to them are written.

use std::cmp::Ordering;

use xdp_common::image::children::{Block, MAX_DEPTH, MAX_LEAF, MAX_ROOT, REFERENCE_LEN};
use xdp_common::image::zone::denial;
use xdp_common::image::{Address, UNIT};

use super::drafted::{DraftedNode, Drafts};
use super::input::Change;
use crate::compile::build::division::{BRANCHES, Bounds, LEAVES, divide};
use crate::compile::build::records::{first_label, label_key, push_entry, read_entry};
use crate::compile::error::WholeReason;
use crate::compile::memory::{ENTRY_LEN, Memory};
use crate::compile::reuse::SlabRecords;
use crate::zone::name;

/// A block as it lies in the slab.
struct BlockRecord<'a> {
    slab: SlabRecords<'a>,
    block: Block,
    octets: &'a [u8],
}

/// An entry of a block, and in a branch the block below that it leads to.
#[derive(Clone, Copy)]
struct Item {
    key: (u64, u32),
    child: Address,
    below: Option<Block>,
}

impl<'a> BlockRecord<'a> {
    fn read(memory: &'a dyn Memory, block: Block) -> Result<BlockRecord<'a>, WholeReason> {
        let octets = memory.read(block.address as usize * UNIT, block.octets());
        let octets = octets.ok_or(WholeReason::OtherVersion)?;
        Ok(BlockRecord { slab: SlabRecords::new(memory), block, octets })
    }

    fn len(&self) -> usize {
        self.block.entries as usize
    }

    /// An entry by its place.
    fn item(&self, at: usize) -> Item {
        let (key, child) = read_entry(&self.octets[at * ENTRY_LEN..][..ENTRY_LEN]);
        let below = (self.block.depth != 0).then(|| {
            let reference = &self.octets[self.len() * ENTRY_LEN + at * REFERENCE_LEN..];
            let word = |at: usize| reference[at..at + 4].try_into().unwrap_or_default();
            Block::new(u32::from_le_bytes(word(0)), u32::from_le_bytes(word(4)) as u16)
        });
        Item { key, child, below }
    }

    /// The place of the entry with this first label, or else the place where it would be.
    fn search(&self, label: &[u8]) -> Result<usize, usize> {
        let key = label_key(label);
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let found = self.item(middle);
            let order = found.key.cmp(&key).then_with(|| match found.key == key {
                true => first_label(self.slab.name_of(found.child)).cmp(label),
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

    /// In a branch: the place of the entry whose block has this label, or would have it.
    fn place_below(&self, label: &[u8]) -> usize {
        self.search(label).unwrap_or_else(|place| place.saturating_sub(1))
    }
}

/// The words of an index that lead to a child which is at `older`, with another address, and where they are: in its leaf,
/// and in all branches whose first entry it is.
pub(super) fn references(
    memory: &dyn Memory,
    root: Block,
    label: &[u8],
    [older, address]: [Address; 2],
) -> Result<Vec<(usize, u64)>, WholeReason> {
    let mut found = Vec::new();
    let mut block = root;
    loop {
        let record = BlockRecord::read(memory, block)?;
        if let Ok(at) = record.search(label) {
            let Item { key, child, .. } = record.item(at);
            if child != older {
                return Err(WholeReason::OtherVersion);
            }
            let place = block.address as usize * UNIT + at * ENTRY_LEN + 8;
            found.push((place, u64::from(key.1) | u64::from(address) << 32));
        } else if block.depth == 0 {
            return Err(WholeReason::OtherVersion);
        }
        match record.item(record.place_below(label)).below {
            Some(below) if below.depth < block.depth => block = below,
            Some(_) => return Err(WholeReason::OtherVersion),
            None => return Ok(found),
        }
    }
}

/// A child whose entry is written; 0 if it goes.
struct Edit<'a> {
    label: &'a [u8],
    child: Address,
}

impl<'a> Change<'a, '_> {
    /// The index of a node's children and how many they are: the one that it had, unless children come or go, or the last
    /// NSEC at or below one of them does. Then what leads to them is written anew.
    pub(super) fn child_index(
        &mut self,
        drafts: &Drafts<'a>,
        node: &DraftedNode<'a>,
    ) -> Result<(Block, u32), WholeReason> {
        let before = self.slab.node(node.changed.older).filter(|_| node.changed.older != 0);
        let (older, count) = before
            .map_or((Block::default(), 0), |(before, _)| (before.children(), before.child_count()));
        if self.context.denial != denial::NSEC {
            return Ok((older, count));
        }
        if !node.changed.exists {
            let blocks = self.slab.blocks_of(node.changed.older);
            self.compiled.unused.extend(blocks.iter().flatten().map(|block| block.address));
            return Ok((Block::default(), 0));
        }
        let children = drafts.children_of(node.changed.wire);
        let is_other = |child: &&DraftedNode<'a>| {
            let before = self.slab.node(child.changed.older).filter(|_| child.changed.older != 0);
            let kept = before.filter(|_| child.changed.exists);
            kept.is_none_or(|(before, _)| before.last_cover() != child.placed.last_cover)
        };
        if !children.iter().any(is_other) {
            return Ok((older, count));
        }
        let mut count = count;
        let mut edits = Vec::with_capacity(children.len());
        for child in children {
            let (wire, before) = (child.changed.wire, child.changed.older);
            let address = self.address_of(drafts, wire);
            count =
                count.wrapping_add(u32::from(before == 0)).wrapping_sub(u32::from(address == 0));
            if address != before {
                edits.push(Edit { label: first_label(wire), child: address });
            }
        }
        Ok((self.edited_index(older, &edits)?, count))
    }

    /// An index with these edits, which are in canonical order.
    fn edited_index(&mut self, older: Block, edits: &[Edit<'a>]) -> Result<Block, WholeReason> {
        let mut items = match older == Block::default() {
            true => edited_leaf(None, edits),
            false => self.edited(older, edits)?,
        };
        let mut depth = older.depth;
        while items.len() > if depth == 0 { MAX_LEAF } else { MAX_ROOT } {
            // Made anew, it has fuller blocks.
            if depth as usize == MAX_DEPTH {
                return Err(WholeReason::Names);
            }
            items = self.write_parts(&items, depth);
            depth += 1;
        }
        match items[..] {
            [] => Ok(Block::default()),
            // A root that has but one block below it is needless, and so may be that block.
            [Item { below: Some(below), .. }] => self.without_single(below),
            _ => Ok(self.write_block(&items, depth)),
        }
    }

    /// The first block at or below this one that has more than one entry, or is a leaf.
    fn without_single(&mut self, mut block: Block) -> Result<Block, WholeReason> {
        while block.depth != 0 && block.entries == 1 {
            let below = BlockRecord::read(self.input.memory, block)?.item(0).below;
            self.compiled.unused.push(block.address);
            block =
                below.filter(|below| below.depth < block.depth).ok_or(WholeReason::OtherVersion)?;
        }
        Ok(block)
    }

    /// The entries of a block with these edits; the blocks below it are written as far as they change.
    fn edited(&mut self, block: Block, edits: &[Edit<'a>]) -> Result<Vec<Item>, WholeReason> {
        let record = BlockRecord::read(self.input.memory, block)?;
        self.compiled.unused.push(block.address);
        if block.depth == 0 {
            return Ok(edited_leaf(Some(&record), edits));
        }
        let mut items: Vec<Item> = Vec::with_capacity(record.len() + 1);
        let mut rest = edits;
        let mut edits_of = |at: usize| {
            let here = rest.partition_point(|edit| record.place_below(edit.label) <= at);
            let (edits, behind) = rest.split_at(here);
            rest = behind;
            edits
        };
        let least = bounds(block.depth - 1).least;
        let mut at = 0;
        while at < record.len() {
            let (item, edits) = (record.item(at), edits_of(at));
            at += 1;
            if edits.is_empty() {
                items.push(item);
                continue;
            }
            let mut below = self.edited(self.below(item, block)?, edits)?;
            // What has become short is joined with the block before it, or else with those behind it.
            while below.len() < least {
                if let Some(before) = items.pop() {
                    let mut joined = self.edited(self.below(before, block)?, &[])?;
                    joined.append(&mut below);
                    below = joined;
                } else if at < record.len() {
                    let behind = self.below(record.item(at), block)?;
                    below.append(&mut self.edited(behind, edits_of(at))?);
                    at += 1;
                } else {
                    break;
                }
            }
            items.append(&mut self.write_parts(&below, block.depth - 1));
        }
        Ok(items)
    }

    /// The block that an entry of a branch leads to.
    fn below(&self, item: Item, branch: Block) -> Result<Block, WholeReason> {
        item.below.filter(|below| below.depth + 1 == branch.depth).ok_or(WholeReason::OtherVersion)
    }

    /// Writes blocks that are not roots; returns the entries that lead to them.
    fn write_parts(&mut self, items: &[Item], depth: u32) -> Vec<Item> {
        let parts = divide(items.len(), &[], bounds(depth));
        let written = parts.into_iter().map(|part| {
            let below = self.write_block(&items[part.entries.clone()], depth);
            Item { below: Some(below), ..items[part.entries.start] }
        });
        written.collect()
    }

    fn write_block(&mut self, items: &[Item], depth: u32) -> Block {
        let block = Block { address: 0, entries: items.len() as u32, depth };
        let mut octets = Vec::with_capacity(block.octets());
        items.iter().for_each(|item| push_entry(&mut octets, item.key, item.child));
        for below in items.iter().filter_map(|item| item.below) {
            octets.extend(below.address.to_le_bytes());
            octets.extend(u32::from(below.shape()).to_le_bytes());
        }
        Block { address: self.writer.place(&octets), ..block }
    }
}

fn bounds(depth: u32) -> &'static Bounds {
    if depth == 0 { &LEAVES } else { &BRANCHES }
}

/// The entries of a leaf, if there is one, with these edits.
fn edited_leaf(leaf: Option<&BlockRecord<'_>>, edits: &[Edit<'_>]) -> Vec<Item> {
    let count = leaf.map_or(0, BlockRecord::len);
    let entries = |from: usize, to: usize| {
        leaf.into_iter().flat_map(move |leaf| (from..to).map(|at| leaf.item(at)))
    };
    let mut items = Vec::with_capacity(count + edits.len());
    let mut copied = 0;
    for &Edit { label, child } in edits {
        let place = leaf.map_or(Err(0), |leaf| leaf.search(label));
        let at = place.unwrap_or_else(|at| at);
        items.extend(entries(copied, at));
        if child != 0 {
            items.push(Item { key: label_key(label), child, below: None });
        }
        copied = at + usize::from(place.is_ok());
    }
    items.extend(entries(copied, count));
    items
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
