//! The record of a zone: what all its negative answers share.

use super::{Address, Window};
use crate::bytes::{u8_at, u32_at};

/// Offsets of the fields, in octets.
pub mod at {
    #![allow(missing_docs, reason = "each is explained at the method of its name")]
    pub const SOA: usize = 0;
    pub const DENIAL: usize = 4;
    pub const SHIFT: usize = 5;
    pub const APEX_LEN: usize = 6;
    pub const LABELS: usize = 7;
    pub const INDEX: usize = 8;
    pub const INDEX_COUNT: usize = 12;
    pub const DIRECTORY: usize = 16;
    pub const SERIAL: usize = 20;
}

/// Octets of a zone record.
pub const LEN: usize = 24;

/// How a zone proves that names do not exist.
pub mod denial {
    /// It does not: the zone is not signed.
    pub const NONE: u8 = 0;
    /// NSEC (RFC 4034).
    pub const NSEC: u8 = 1;
    /// NSEC3 with zero iterations and no salt (RFC 5155, RFC 9276).
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

    /// How far to shift the upper 64 bits of an NSEC3 hash for its place in the directory.
    #[inline(always)]
    pub fn shift(self) -> u32 {
        u8_at(self.window, at::SHIFT) as u32 & 63
    }

    /// The NSEC3 index, sorted by hash, and how many entries it has.
    #[inline(always)]
    pub fn index(self) -> (Address, u32) {
        (u32_at(self.window, at::INDEX), u32_at(self.window, at::INDEX_COUNT))
    }

    /// The directory of the NSEC3 index: for each value of the top bits, the first entry (32 bits).
    #[inline(always)]
    pub fn directory(self) -> Address {
        u32_at(self.window, at::DIRECTORY)
    }
}
