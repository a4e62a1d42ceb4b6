//! The index of a zone's NSEC3 chain: it finds the last record whose hash is not after another.

use super::{Address, Window};
use crate::bytes::{u8_at, u16_at, u32_at};

/// Offsets of what stands before the entries of the NSEC3 index, in octets.
pub mod at {
    #![allow(missing_docs, reason = "each is explained at the method of its name")]
    pub const COUNT: usize = 0;
    pub const DIRECTORY: usize = 4;
    pub const SHIFT: usize = 8;
    pub const SALT_LEN: usize = 9;
    pub const ITERATIONS: usize = 10;
    pub const SALT: usize = 12;
    pub const ENTRIES: usize = 16;
}

/// The NSEC3 index: what is said about it, and behind that its entries, sorted by hash.
#[derive(Clone, Copy)]
pub struct Chain<'a> {
    window: &'a Window,
}

impl<'a> Chain<'a> {
    /// The index in a record.
    #[inline(always)]
    pub fn new(window: &'a Window) -> Chain<'a> {
        Chain { window }
    }

    /// How many entries it has.
    #[inline(always)]
    pub fn count(self) -> u32 {
        u32_at(self.window, at::COUNT)
    }

    /// Its directory: for each value of the top bits, the first entry (32 bits).
    #[inline(always)]
    pub fn directory(self) -> Address {
        u32_at(self.window, at::DIRECTORY)
    }

    /// How far to shift the upper 64 bits of an NSEC3 hash for its place in the directory.
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
