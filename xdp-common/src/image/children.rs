//! The index of a name's children, where a zone has NSEC: it finds the last child before a label.
//!
//! It is a tree of *blocks*, so that a child whose node moves changes one block on each level, and not all of the
//! index. A *leaf* has an [`Entry`] for each child, in canonical order (RFC 4034 section 6.1). A *branch* has an entry
//! for each block below it, which is that block's own first entry, and behind all its entries the references to
//! these blocks in the same order. So a search goes through both alike. The node refers to the root. Most names have so
//! few children that the root is a leaf.

use super::{Address, Entry, UNIT};

/// The most entries of a leaf: with them it is as long as a window, but for one entry.
pub const MAX_LEAF: usize = 126;

/// The most entries of a branch that is not the root: with their references they are as long as a full leaf's.
pub const MAX_BRANCH: usize = 84;

/// The most entries of a root that is a branch.
pub const MAX_ROOT: usize = 1024;

/// The most levels of branches: with more a search might take more than [`MAX_STEPS`] steps. Three levels of half-full
/// branches hold some hundred million children.
pub const MAX_DEPTH: usize = 3;

/// The most steps of a search: 11 halve a root, 7 each other block, and one goes down from each branch.
pub const MAX_STEPS: usize = 40;

const _: () = assert!(11 + MAX_DEPTH * (7 + 1) < MAX_STEPS);

/// Octets of an entry.
pub const ENTRY_LEN: usize = size_of::<Entry>();

/// Octets of a reference to a block: its address, its shape (16 bits), 16 bits zero.
pub const REFERENCE_LEN: usize = 8;

/// Bits of a shape that count entries; those above count the levels below.
const ENTRIES_BITS: u32 = 12;

const _: () = assert!(MAX_ROOT < 1 << ENTRIES_BITS);

/// A reference to a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Where it is; 0 for none.
    pub address: Address,
    /// How many entries it has.
    pub entries: u32,
    /// How many levels of blocks are below it: 0 for a leaf.
    pub depth: u32,
}

impl Block {
    /// The block at an address whose [`Block::shape`] is this.
    #[inline(always)]
    pub const fn new(address: Address, shape: u16) -> Block {
        let shape = shape as u32;
        Block { address, entries: shape & ((1 << ENTRIES_BITS) - 1), depth: shape >> ENTRIES_BITS }
    }

    /// Its entries and its depth in one number.
    pub const fn shape(self) -> u16 {
        (self.entries | self.depth << ENTRIES_BITS) as u16
    }

    /// Octets of its record.
    pub const fn octets(self) -> usize {
        let references = if self.depth == 0 { 0 } else { REFERENCE_LEN };
        self.entries as usize * (ENTRY_LEN + references)
    }

    /// Where its entry with this number is.
    #[inline(always)]
    pub const fn entry(self, place: u32) -> Address {
        self.address.wrapping_add(place.wrapping_mul((ENTRY_LEN / UNIT) as u32))
    }

    /// Where the reference that belongs to this entry of a branch is.
    #[inline(always)]
    pub const fn reference(self, place: u32) -> Address {
        self.entry(self.entries).wrapping_add(place.wrapping_mul((REFERENCE_LEN / UNIT) as u32))
    }
}
