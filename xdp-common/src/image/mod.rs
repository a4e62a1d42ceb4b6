//! How compiled zones lie in memory.
//!
//! A *node* is an existing owner name, a *piece* is finished wire octets of an RRset or a proof, the
//! *table* finds nodes by name, *gap indexes* find the proof that a name does not exist, and the
//! *slab* holds all of them. The daemon writes; the engine reads through a [`Store`].

pub mod bounds;
pub mod chain;
pub mod children;
pub mod node;
pub mod piece;
pub mod zone;

use core::ops::Deref;

use crate::Outcome;
use crate::bytes::SLACK;

/// A place in the slab in units of eight octets; 0 is no place.
pub type Address = u32;

/// Octets in a unit of an [`Address`].
pub const UNIT: usize = 8;

/// Octets that can be read from the address of any record. Records are at most this long, except
/// pieces too large for UDP.
pub const WINDOW: usize = 2048;

/// A record and what happens to lie after it.
pub type Window = [u8; WINDOW + SLACK];

/// Eight slots of the table, each a tag in the upper half and an [`Address`] in the lower. Slots are
/// filled from the first; the last one in use says that the search goes on in the next bucket.
pub type Bucket = [u64; 8];

/// The bucket slot of a deleted entry, if it must still say that the next bucket is in use.
pub const TOMBSTONE: u64 = 1 << 32;

/// How many buckets a look-up visits. The publisher keeps every name within them.
pub const MAX_PROBES: usize = 4;

/// One entry of a gap index: a key of twelve octets in order, and an address.
pub type Entry = [u8; 16];

/// Where the image is: BPF maps in the kernel, memory on the host.
///
/// The constants bound loops. Unless said otherwise they are the kernel's ([`bounds`]), small so that the
/// verifier's work is; what exceeds them is [`Store::EXCEEDED`].
pub trait Store {
    /// The most pieces in an answer.
    const MAX_PIECES: usize = bounds::MAX_PIECES;
    /// The most types at a name, at most [`node::MAX_TYPES`].
    const MAX_TYPES: usize = bounds::MAX_TYPES;
    /// The most CNAMEs that are made from DNAMEs, at most [`made::MAX_MADE`](crate::state::made::MAX_MADE).
    const MAX_MADE: usize = bounds::MAX_MADE;
    /// The most CNAMEs that are followed.
    const MAX_CHAIN: usize = bounds::MAX_CHAIN;
    /// The most probes for the closest encloser of a name: seven halve 127 labels, and one more is for
    /// each name that stands between two apexes and belongs to no zone.
    const MAX_ENCLOSER_STEPS: usize = bounds::MAX_ENCLOSER_STEPS;
    /// The most runs of [`piece::PART`] octets in a piece.
    const MAX_PARTS: usize = bounds::MAX_PARTS;
    /// The most pointers to fix in a piece.
    const MAX_FIXUPS: usize = bounds::MAX_FIXUPS;
    /// The most pointers in the whole of a piece, which stand before its body, whatever is sent of it.
    const MAX_FIXUPS_BEFORE: usize = bounds::MAX_FIXUPS_BEFORE;
    /// The most records in a piece whose owner names are not the question's.
    const MAX_OWNERS: usize = bounds::MAX_OWNERS;
    /// The most EDNS options of a query.
    const MAX_OPTIONS: usize = bounds::MAX_OPTIONS;
    /// Whether a plan may have the piece in it that is made from a DNAME.
    const SYNTHESIS: bool;
    /// Whether there are no bounds but those of messages and plans. Where there are, circles of CNAMEs end
    /// with them, and pieces are small enough for every pointer to reach.
    const UNBOUNDED: bool;
    /// What it is called that a bound is exceeded: a miss where the host has greater ones, and where there are
    /// none beyond these a damaged image.
    const EXCEEDED: Outcome = if Self::UNBOUNDED { Outcome::Broken } else { Outcome::Miss };

    /// The key of the names' hash.
    fn seed(&self) -> u64;

    /// The most labels of any name in the image.
    fn max_labels(&self) -> usize;

    /// The bucket for a hash and the `probe` after it. The daemon stores into buckets while the engine
    /// reads; a host that shares memory with it hands out a copy of whole slots.
    fn bucket(&self, hash: u64, probe: usize) -> Option<impl Deref<Target = Bucket>>;

    /// The record at an address.
    fn record(&self, address: Address) -> Option<&Window>;

    /// The sixteen octets at an address.
    fn entry(&self, address: Address) -> Option<&Entry>;
}
