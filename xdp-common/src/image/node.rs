//! A node: one existing name of a zone, empty non-terminals included.

use super::children::Block;
use super::{Address, Window};
use crate::bytes::{u8_at, u16_at, u32_at, u64_at};

/// Offsets of a node's fields, in octets.
pub mod at {
    #![allow(missing_docs, reason = "each is explained at the method of its name")]
    pub const HASH: usize = 0;
    pub const NAME_LEN: usize = 8;
    pub const LABELS: usize = 9;
    pub const FLAGS: usize = 10;
    pub const TYPE_COUNT: usize = 12;
    pub const CHILDREN_SHAPE: usize = 14;
    pub const ZONE: usize = 16;
    pub const OTHERWISE: usize = 20;
    pub const PROOFS: usize = 24;
    pub const GLUE: usize = 32;
    pub const OPTIONAL_GLUE: usize = 36;
    pub const WILDCARD: usize = 40;
    pub const ENCLOSER_MATCH: usize = 44;
    pub const WILDCARD_COVER: usize = 48;
    pub const FIRST_COVER: usize = 52;
    pub const CHILDREN: usize = 56;
    pub const CHILD_COUNT: usize = 60;
    pub const LAST_COVER: usize = 64;
    pub const ANY: usize = 68;
    pub const TYPES: usize = 72;
}

/// Octets of an entry of the table of types: type (16 bits), 16 bits zero, address of the piece.
pub const TYPE_LEN: usize = 8;

/// The most types at one name. One with more is held with none, and with [`TOO_MANY_TYPES`] in their place: who asks
/// for it is answered SERVFAIL.
pub const MAX_TYPES: usize = 128;

/// [`Node::type_count`] of a name with more than [`MAX_TYPES`].
pub const TOO_MANY_TYPES: usize = MAX_TYPES + 1;

/// What kind of name it is.
pub mod flag {
    /// The apex of a zone.
    pub const APEX: u16 = 1;
    /// A zone cut: what is asked at or below it is referred, but its DS.
    pub const CUT: u16 = 2;
    /// It owns a DNAME: names below are redirected.
    pub const DNAME: u16 = 4;
    /// It owns a CNAME.
    pub const CNAME: u16 = 8;
    /// It stands above an apex and belongs to no zone; it is here so that existence is monotonic.
    pub const VIRTUAL: u16 = 16;
    /// Its CNAME points to a name in the zone that must be looked for: it does not exist as such, or
    /// the CNAMEs go in a circle. Or its DNAME points into the zone.
    pub const CHASE: u16 = 32;
    /// Opt-out has left it without an NSEC3: the proofs of its closest provable encloser stand here,
    /// [`Node::first_cover`](super::Node::first_cover) among them. At a zone cut only those that deny its DS do.
    pub const NO_NSEC3: u16 = 64;
    /// Its zone is here in part: nothing follows from the absence of names below it, except at a cut.
    pub const PARTIAL: u16 = 128;
}

/// A node, read from its record.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    window: &'a Window,
}

impl<'a> Node<'a> {
    /// The node in a record.
    #[inline(always)]
    pub fn new(window: &'a Window) -> Node<'a> {
        Node { window }
    }

    #[inline(always)]
    fn address(self, at: usize) -> Address {
        u32_at(self.window, at)
    }

    /// The hash of the name.
    #[inline(always)]
    pub fn hash(self) -> u64 {
        u64_at(self.window, at::HASH)
    }

    /// Octets of the name.
    #[inline(always)]
    pub fn name_len(self) -> usize {
        u8_at(self.window, at::NAME_LEN) as usize
    }

    /// Labels of the name, the root not counted.
    #[inline(always)]
    pub fn labels(self) -> usize {
        u8_at(self.window, at::LABELS) as usize
    }

    /// Whether one of the [`flag`]s in `mask` is set.
    #[inline(always)]
    pub fn is(self, mask: u16) -> bool {
        u16_at(self.window, at::FLAGS) & mask != 0
    }

    /// How many types it has.
    #[inline(always)]
    pub fn type_count(self) -> usize {
        u16_at(self.window, at::TYPE_COUNT) as usize
    }

    /// The zone record.
    #[inline(always)]
    pub fn zone(self) -> Address {
        self.address(at::ZONE)
    }

    /// The piece that is said for types that are not in the table: the CNAME, or at a zone cut the
    /// referral; for a DNAME, the piece with it.
    #[inline(always)]
    pub fn otherwise(self) -> Address {
        self.address(at::OTHERWISE)
    }

    /// The first and the second piece that prove that a type is absent. The second is used with
    /// opt-out. With [`flag::NO_NSEC3`], if the first is 0, it is the NSEC3 that matches the apex
    /// ([`Chain::apex_match`](super::chain::Chain::apex_match)).
    #[inline(always)]
    pub fn proofs(self) -> [Address; 2] {
        [self.address(at::PROOFS), self.address(at::PROOFS + 4)]
    }

    /// At a zone cut, the addresses of name servers whose names are below it.
    #[inline(always)]
    pub fn glue(self) -> Address {
        self.address(at::GLUE)
    }

    /// At a zone cut, the addresses of name servers elsewhere below other cuts of the zone.
    #[inline(always)]
    pub fn optional_glue(self) -> Address {
        self.address(at::OPTIONAL_GLUE)
    }

    /// At a CNAME, the node it points to, if that is one of the same zone (shares the place of
    /// [`Node::glue`], which only cuts have).
    #[inline(always)]
    pub fn target(self) -> Address {
        self.address(at::GLUE)
    }

    /// The node of `*` below it.
    #[inline(always)]
    pub fn wildcard(self) -> Address {
        self.address(at::WILDCARD)
    }

    /// The NSEC3 that matches it, for the closest encloser proof (RFC 5155 section 7.2.1).
    #[inline(always)]
    pub fn encloser_match(self) -> Address {
        self.address(at::ENCLOSER_MATCH)
    }

    /// The proof that there is no `*` below it.
    #[inline(always)]
    pub fn wildcard_cover(self) -> Address {
        self.address(at::WILDCARD_COVER)
    }

    /// With NSEC: what covers names below it that sort before its first child. With
    /// [`flag::NO_NSEC3`]: what covers the next closer name.
    #[inline(always)]
    pub fn first_cover(self) -> Address {
        self.address(at::FIRST_COVER)
    }

    /// With NSEC: the root of the index of its children.
    #[inline(always)]
    pub fn children(self) -> Block {
        Block::new(self.address(at::CHILDREN), u16_at(self.window, at::CHILDREN_SHAPE))
    }

    /// With NSEC: how many children it has.
    #[inline(always)]
    pub fn child_count(self) -> u32 {
        u32_at(self.window, at::CHILD_COUNT)
    }

    /// With NSEC: the NSEC of the last name at or below it; it covers what comes after.
    #[inline(always)]
    pub fn last_cover(self) -> Address {
        self.address(at::LAST_COVER)
    }

    /// What it says to ANY (RFC 8482): one of its RRsets, or one made for it. 0 if it has none.
    #[inline(always)]
    pub fn any(self) -> Address {
        self.address(at::ANY)
    }

    /// Type and piece at a place of the table of types.
    #[inline(always)]
    pub fn type_at(self, index: usize) -> (u16, Address) {
        let entry = u64_at(self.window, at::TYPES + index * TYPE_LEN);
        (entry as u16, (entry >> 32) as Address)
    }

    /// Where the name starts in the record.
    #[inline(always)]
    pub fn name_at(self) -> usize {
        at::TYPES + (self.type_count() & (2 * MAX_TYPES - 1)) * TYPE_LEN
    }

    /// Eight octets of the name from `place` on; zeros follow the name.
    #[inline(always)]
    pub fn name_word(self, name_at: usize, place: usize) -> u64 {
        u64_at(self.window, name_at + place)
    }
}
