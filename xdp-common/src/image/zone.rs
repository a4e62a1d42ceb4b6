//! The record of a zone: what all its negative answers share.
//!
//! Nodes that a change leaves as they are keep their zone's record, and so the record is the one that
//! changes: its SOA and its NSEC3 index take the place of the older ones once every name of the newer
//! version is in the table. A zone has as many records as versions of which nodes are left.

use super::{Address, Window};
use crate::bytes::{u8_at, u32_at};

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
    pub const PASSED: usize = 15;
}

/// Octets of a zone record.
pub const LEN: usize = 16;

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

    /// Whether queries for its names are passed on to another server.
    #[inline(always)]
    pub fn is_passed(self) -> bool {
        u8_at(self.window, at::PASSED) != 0
    }

    /// The NSEC3 [`Chain`](super::chain::Chain).
    #[inline(always)]
    pub fn chain(self) -> Address {
        u32_at(self.window, at::CHAIN)
    }
}
