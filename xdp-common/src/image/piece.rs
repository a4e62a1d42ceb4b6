//! A piece: an RRset with its signatures, a denial or a referral, as finished wire octets that can
//! stand in any message.
//!
//! What must not be repeated comes first, the DNSSEC records after it: with DO clear the first part
//! is sent, with DO set all of it. Pointers are made relative to the *context*: the name that the
//! piece is about, which stands in the question or in the RDATA of a CNAME.

use super::Window;
use crate::bytes::{u8_at, u16_at, u32_at};
use crate::rtype;

/// Offsets of a piece's fields, in octets.
pub mod at {
    #![allow(missing_docs, reason = "each is explained at the method of its name")]
    pub const LEN: usize = 0;
    pub const SIGNED_LEN: usize = 2;
    pub const SUM: usize = 4;
    pub const SIGNED_SUM: usize = 6;
    pub const COUNT: usize = 8;
    pub const SIGNED_COUNT: usize = 10;
    pub const NOT_AFTER: usize = 12;
    pub const FIXUPS: usize = 16;
    pub const SIGNED_FIXUPS: usize = 17;
    pub const OWNER: usize = 18;
    pub const FIXUP_LIST: usize = 24;
}

/// Octets of one fix-up: its place in the body, and what to write there.
pub const FIXUP_LEN: usize = 4;

/// The most fix-ups a piece can have; the compiler spells names out rather than need more.
pub const MAX_FIXUPS: usize = 190;

/// Set in a fix-up: the pointer is to a place in the piece itself. Clear: it is to the suffix of
/// this length of the context's name.
pub const FIXUP_START: u16 = 0x8000;

/// [`Piece::fixups`] of a piece that has more pointers than that: its names themselves say where they lead, each by a
/// [`mark`] at its end. Only the host sends one, as [`long`](crate::engine::long) writes it.
pub const MARKED: usize = 255;

/// The most octets before a place that a [`mark`] can lead to.
pub const MAX_MARKED_PLACE: usize = 0x3fff;

/// [`Piece::owner`] of a piece whose owner names are spelled out or fixed one by one.
pub const OWNER_INSIDE: u8 = 255;

/// The pointer that stands in place of owner names: to the question (RFC 1035 section 4.1.4).
pub const QUESTION_POINTER: u16 = 0xc00c;

/// Octets of a piece that are copied from one window: the largest piece that XDP sends.
pub const PART: usize = 1280;

/// The length of a piece that no message can carry: it has no octets. No limit has room for it, so that TC is set, and
/// over TCP the answer is SERVFAIL.
pub const TOO_LARGE: usize = 0xffff;

/// A `not after` that never comes: nothing in the piece is signed.
pub const NEVER: u32 = u32::MAX;

/// Octets from a record to its name, type, class, TTL and length: where RDATA starts if the owner
/// name is a pointer.
pub const RDATA_AT: usize = 12;

/// A piece, read from its record.
///
/// `dnssec` is 1 for all of the piece, 0 for what is sent with DO clear: a number and no bool, so that
/// fields are found by arithmetic and not by branches, of which the verifier would follow both ways.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    window: &'a Window,
}

impl<'a> Piece<'a> {
    /// The piece in a record.
    #[inline(always)]
    pub fn new(window: &'a Window) -> Piece<'a> {
        Piece { window }
    }

    /// Octets that are sent, or [`TOO_LARGE`].
    #[inline(always)]
    pub fn len(self, dnssec: usize) -> usize {
        u16_at(self.window, at::LEN + (dnssec & 1) * 2) as usize
    }

    /// Whether nothing is sent.
    #[inline(always)]
    pub fn is_empty(self, dnssec: usize) -> bool {
        self.len(dnssec) == 0
    }

    /// Their one's-complement sum; the pointers to be fixed are zero in it, those of
    /// [`Piece::owner`] are [`QUESTION_POINTER`].
    #[inline(always)]
    pub fn sum(self, dnssec: usize) -> u16 {
        u16_at(self.window, at::SUM + (dnssec & 1) * 2)
    }

    /// Records in them.
    #[inline(always)]
    pub fn count(self, dnssec: usize) -> usize {
        u16_at(self.window, at::COUNT + (dnssec & 1) * 2) as usize
    }

    /// Until when one of its signatures holds, in seconds since 1970 modulo 2^32: one is enough (RFC 4035 section
    /// 5.3.3).
    #[inline(always)]
    pub fn not_after(self) -> u32 {
        u32_at(self.window, at::NOT_AFTER)
    }

    /// How many pointers to fix, or [`MARKED`].
    #[inline(always)]
    pub fn fixups(self, dnssec: usize) -> usize {
        u8_at(self.window, at::FIXUPS + (dnssec & 1)) as usize
    }

    /// Whose the records are: 0 for the context's name, [`OWNER_INSIDE`], or the length in octets of
    /// the suffix of the context's name that owns all of them.
    #[inline(always)]
    pub fn owner(self) -> u8 {
        u8_at(self.window, at::OWNER)
    }

    /// A fix-up: place in the body, and what to write.
    #[inline(always)]
    pub fn fixup(self, index: usize) -> (usize, u16) {
        let fixup = u32_at(self.window, at::FIXUP_LIST + index * FIXUP_LEN);
        ((fixup & 0xffff) as usize, (fixup >> 16) as u16)
    }

    /// Where the body starts in the record: behind the fix-ups, at a multiple of eight.
    #[inline(always)]
    pub fn body_at(self) -> usize {
        body_at(u8_at(self.window, at::SIGNED_FIXUPS) as usize)
    }

    /// The record's window.
    #[inline(always)]
    pub fn window(self) -> &'a Window {
        self.window
    }
}

/// The octets that stand in a [`MARKED`] piece where a pointer is to be written; `what` is as in a fix-up. They begin
/// like no label: of the first two bits a label has both clear and a pointer both set (RFC 1035 section 4.1.4).
pub const fn mark(what: u16) -> [u8; 2] {
    let is_inside = what & FIXUP_START != 0;
    let marked = if is_inside { 0x4000 | (what & 0x3fff) } else { 0x8000 | what };
    marked.to_be_bytes()
}

/// What is to be written for these two octets of a name in a [`MARKED`] piece, if they are a [`mark`].
pub const fn marked(octets: [u8; 2]) -> Option<u16> {
    let said = u16::from_be_bytes(octets) & 0x3fff;
    match octets[0] >> 6 {
        0b01 => Some(FIXUP_START | said),
        0b10 => Some(said),
        _ => None,
    }
}

/// How many octets stand before the names in RDATA that are shortened, and how many names there are. They are
/// in the types of RFC 1035 only, as RFC 3597 section 4 has it, and not in CNAME, whose target must stand whole
/// for what follows it.
pub const fn names_in(rtype: u16) -> Option<(usize, usize)> {
    match rtype {
        rtype::NS | rtype::PTR => Some((0, 1)),
        rtype::MX => Some((2, 1)),
        rtype::SOA => Some((0, 2)),
        _ => None,
    }
}

/// Where the body of a piece with this many fix-ups starts.
#[inline(always)]
pub const fn body_at(fixups: usize) -> usize {
    at::FIXUP_LIST + (fixups * FIXUP_LEN).next_multiple_of(8)
}

// A part copied from the first window lies inside it.
const _: () = assert!(body_at(MAX_FIXUPS) + PART <= super::WINDOW + crate::bytes::SLACK);
