//! The index of a zone's NSEC3 chain: it finds the last record whose hash is not after another.
//!
//! Hashes that share their top bits are in one *range*. The *root* has references to *pages*, and a page has references
//! to ranges, both in order, so that a hash's range is found without a search. A range has the entries of its hashes,
//! sorted, and before them the last record of the ranges before it, which is the one sought where a hash is before them
//! all. A record of the chain that comes, goes or changes changes its range, a page and the root, and with the last record
//! of a range the one behind it, too; all others stay, however many there are.

use super::{Address, Entry, UNIT, Window};
use crate::bytes::{u8_at, u16_at, u32_at};

/// Offsets of what stands in the root, in octets.
pub mod at {
    #![allow(missing_docs, reason = "each is explained at the method of its name")]
    pub const COUNT: usize = 0;
    pub const APEX_MATCH: usize = 4;
    pub const SHIFT: usize = 8;
    pub const SALT_LEN: usize = 9;
    pub const ITERATIONS: usize = 10;
    pub const SALT: usize = 12;
    pub const PAGES: usize = 16;
}

/// Offsets of what stands in a range, in octets.
pub mod range_at {
    #![allow(missing_docs, reason = "each is explained at the function of its name")]
    pub const BEFORE: usize = 0;
    pub const COUNT: usize = 4;
    pub const ENTRIES: usize = 8;
}

/// The most references of a page: with them it is as long as a window. All pages but the last have so many.
pub const PAGE_LEN: usize = 512;

/// The most entries of a range, plus one.
pub const MAX_SCAN: usize = 48;

/// The most top bits by which there are ranges.
pub const MAX_BITS: u32 = 28;

/// Octets of a reference to a page or a range. There are zeros behind them up to a multiple of an [`Entry`]'s octets.
pub const REFERENCE_LEN: usize = size_of::<Address>();

/// References that are read at a time.
const AT_A_TIME: u32 = (size_of::<Entry>() / REFERENCE_LEN) as u32;

/// The sixteen octets in which a reference stands, given where the references begin.
#[inline(always)]
pub const fn reference_entry(references: Address, place: u32) -> Address {
    references.wrapping_add(place / AT_A_TIME * (size_of::<Entry>() / UNIT) as u32)
}

/// The reference in these.
#[inline(always)]
pub fn reference(entry: &Entry, place: u32) -> Address {
    word(entry, (place % AT_A_TIME) as usize * REFERENCE_LEN)
}

/// The last record of the ranges before a range, of all if there is none, and how many entries the range has.
#[inline(always)]
pub fn range_head(entry: &Entry) -> (Address, u32) {
    (word(entry, range_at::BEFORE), word(entry, range_at::COUNT))
}

/// Where an entry of a range is.
#[inline(always)]
pub const fn range_entry(range: Address, place: u32) -> Address {
    let entries = range.wrapping_add((range_at::ENTRIES / UNIT) as u32);
    entries.wrapping_add(place.wrapping_mul((size_of::<Entry>() / UNIT) as u32))
}

#[inline(always)]
fn word(entry: &Entry, at: usize) -> u32 {
    u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
}

/// The root: what is said about the chain, and where its pages are.
#[derive(Clone, Copy)]
pub struct Chain<'a> {
    window: &'a Window,
}

impl<'a> Chain<'a> {
    /// The root in a record.
    #[inline(always)]
    pub fn new(window: &'a Window) -> Chain<'a> {
        Chain { window }
    }

    /// How many entries the ranges have in all.
    #[inline(always)]
    pub fn count(self) -> u32 {
        u32_at(self.window, at::COUNT)
    }

    /// The NSEC3 that matches the apex; 0 if there is none. Names without one of their own may be so many that it stands
    /// here in their place, and need not change with it.
    #[inline(always)]
    pub fn apex_match(self) -> Address {
        u32_at(self.window, at::APEX_MATCH)
    }

    /// How far to shift the upper 64 bits of an NSEC3 hash for the number of its range.
    #[inline(always)]
    pub fn shift(self) -> u32 {
        u8_at(self.window, at::SHIFT) as u32 & 63
    }

    /// Octets of the salt.
    #[inline(always)]
    pub fn salt_len(self) -> usize {
        u8_at(self.window, at::SALT_LEN) as usize
    }

    /// The record with the salt; 0 if there is none.
    #[inline(always)]
    pub fn salt(self) -> Address {
        u32_at(self.window, at::SALT)
    }

    /// Additional iterations of the hash.
    #[inline(always)]
    pub fn iterations(self) -> usize {
        u16_at(self.window, at::ITERATIONS) as usize
    }
}
