//! The record of a zone: what all its negative answers share.
//!
//! Nodes that a change leaves as they are keep their zone's record, and so the record is the one that
//! changes: its SOA and its NSEC3 index take the place of the older ones once every name of the newer
//! version is in the table. A zone has as many records as versions of which nodes are left.

use super::{Address, Window};
use crate::bytes::{u8_at, u16_at, u32_at};

/// Offsets of the fields, in octets.
pub mod at {
    #![allow(missing_docs, reason = "each is explained at the method of its name")]
    // The first two are replaced together, by one store of 64 bits.
    pub const SOA: usize = 0;
    pub const CHAIN: usize = 4;
    pub const SERIAL: usize = 8;
    pub const DENIAL: usize = 12;
    pub const APEX_LEN: usize = 13;
    pub const LABELS: usize = 14;
}

/// Octets of a zone record.
pub const LEN: usize = 16;

/// Offsets of what stands before the entries of the NSEC3 index, in octets.
pub mod chain_at {
    #![allow(missing_docs, reason = "each is explained at the method of its name")]
    pub const COUNT: usize = 0;
    pub const DIRECTORY: usize = 4;
    pub const SHIFT: usize = 8;
    pub const SALT_LEN: usize = 9;
    pub const ITERATIONS: usize = 10;
    pub const SALT: usize = 12;
    pub const ENTRIES: usize = 16;
}

/// How a zone proves that names do not exist.
pub mod denial {
    /// It does not: the zone is not signed.
    pub const NONE: u8 = 0;
    /// NSEC (RFC 4034).
    pub const NSEC: u8 = 1;
    /// NSEC3 (RFC 5155).
    pub const NSEC3: u8 = 2;
}

/// A zone record, read.
#[derive(Clone, Copy)]
pub struct Zone<'a> {
    window: &'a Window,
}

impl<'a> Zone<'a> {
    /// The zone in a record.
    #[inline(always)]
    pub fn new(window: &'a Window) -> Zone<'a> {
        Zone { window }
    }

    /// The SOA as it stands in negative answers: its TTL is theirs (RFC 2308 section 3).
    #[inline(always)]
    pub fn soa(self) -> Address {
        u32_at(self.window, at::SOA)
    }

    /// One of [`denial`].
    #[inline(always)]
    pub fn denial(self) -> u8 {
        u8_at(self.window, at::DENIAL)
    }

    /// Octets of the apex' name.
    #[inline(always)]
    pub fn apex_len(self) -> u8 {
        u8_at(self.window, at::APEX_LEN)
    }

    /// Labels of the apex' name, the root not counted.
    #[inline(always)]
    pub fn labels(self) -> u8 {
        u8_at(self.window, at::LABELS)
    }

    /// The SOA's serial.
    #[inline(always)]
    pub fn serial(self) -> u32 {
        u32_at(self.window, at::SERIAL)
    }

    /// The NSEC3 [`Chain`].
    #[inline(always)]
    pub fn chain(self) -> Address {
        u32_at(self.window, at::CHAIN)
    }
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
        u32_at(self.window, chain_at::COUNT)
    }

    /// Its directory: for each value of the top bits, the first entry (32 bits).
    #[inline(always)]
    pub fn directory(self) -> Address {
        u32_at(self.window, chain_at::DIRECTORY)
    }

    /// How far to shift the upper 64 bits of an NSEC3 hash for its place in the directory.
    #[inline(always)]
    pub fn shift(self) -> u32 {
        u8_at(self.window, chain_at::SHIFT) as u32 & 63
    }

    /// Octets of the salt.
    #[inline(always)]
    pub fn salt_len(self) -> usize {
        u8_at(self.window, chain_at::SALT_LEN) as usize
    }

    /// The record with the salt; 0 if there is none.
    #[inline(always)]
    pub fn salt(self) -> Address {
        u32_at(self.window, chain_at::SALT)
    }

    /// Additional iterations of the hash.
    #[inline(always)]
    pub fn iterations(self) -> usize {
        u16_at(self.window, chain_at::ITERATIONS) as usize
    }
}
