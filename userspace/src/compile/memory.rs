//! Where an image lies: a slab of records and a table of buckets, in the daemon's memory or in BPF maps
//! that it shares with the kernel.

use xdp_common::image::{Address, Bucket, Entry, UNIT, Window};

/// Octets of an entry of a gap index.
pub const ENTRY_LEN: usize = size_of::<Entry>();

/// Memory for an image. It is written by one publisher while the engine reads elsewhere in it: the
/// publisher writes only where no published record lies, and stores slots of the table as a whole. So do those write for
/// whom it has reserved chunks ([`Room`](super::Room)), each in its own alone, which nobody else reads or writes.
pub trait Memory: Send + Sync {
    /// Octets of the slab, a multiple of [`xdp_common::maps::CHUNK_LEN`].
    fn slab_len(&self) -> usize;

    /// Buckets in the table, a power of two.
    fn bucket_count(&self) -> usize;

    /// Writes into the slab.
    ///
    /// # Panics
    /// If the octets do not lie inside the slab.
    fn write(&self, at: usize, octets: &[u8]);

    /// Octets of the slab; `None` if they do not lie inside it. The last
    /// [`xdp_common::image::WINDOW`] octets and more behind the slab's end read as zero.
    fn read(&self, at: usize, len: usize) -> Option<&[u8]>;

    /// One bucket, each of its slots read as a whole.
    ///
    /// # Panics
    /// If there is no such bucket.
    fn bucket(&self, index: usize) -> Bucket;

    /// Stores a slot of the table as a whole (an aligned store of 64 bits, release), and counts that
    /// before.
    ///
    /// # Panics
    /// If there is no such slot.
    fn store(&self, bucket: usize, slot: usize, entry: u64);

    /// Stores eight octets of a published record as a whole, as [`Memory::store`] does those of a slot: a zone record's,
    /// or a reference to a node or to a zone record with what stands beside it.
    ///
    /// # Panics
    /// If the octets do not lie inside the slab, or `at` is not a multiple of eight.
    fn replace(&self, at: usize, word: u64);

    /// How many stores into the table were begun: the first word of the slab, where the programs see it,
    /// too. A reader that concludes from absence, and finds the number changed, looks again.
    fn changes(&self) -> u64;
}

/// What the engine sees of a record: its window. `None` if it does not start inside the slab.
pub fn window(memory: &dyn Memory, address: Address) -> Option<&Window> {
    memory.read(address as usize * UNIT, size_of::<Window>())?.try_into().ok()
}
