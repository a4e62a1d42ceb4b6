//! How large maps and memory are made.

use xdp_common::image::Bucket;
use xdp_common::maps::CHUNK_LEN;

use crate::datapath::memory::Size;

/// The least memory that is made: some 40,000 typical names.
pub(super) const FLOOR: Size = Size { slab: 16 << 20, buckets: 8192 };

/// From so many octets on a slab grows by a quarter and not to twice its size.
pub(super) const LARGE: usize = 256 << 20;

/// The part of all memory that a table takes which is made as large as may be: a name takes some 400
/// octets of the slab and, with the table filled to 0.5, 16 of the table.
const TABLE_PART: usize = 16;

/// The most that can be addressed: 2^32 units of eight octets.
pub(super) const ADDRESSABLE: usize = 1 << 35;

impl Size {
    /// What holds this much: whole chunks and a power of two of buckets.
    pub(super) fn rounded(self) -> Size {
        Size {
            slab: self.slab.max(1).next_multiple_of(CHUNK_LEN),
            buckets: self.buckets.next_power_of_two(),
        }
    }
}

/// The largest size up to `want` that `limit` octets hold, with no less than `least`.
pub(super) fn fitting(want: Size, least: Size, limit: usize) -> Option<Size> {
    [want.buckets, least.buckets].into_iter().find_map(|buckets| {
        let room = limit.checked_sub(buckets.checked_mul(size_of::<Bucket>())?)?;
        let slab = want.slab.min(room - room % CHUNK_LEN);
        (slab >= least.slab.max(CHUNK_LEN)).then_some(Size { slab, buckets })
    })
}

/// The most that `limit` octets hold.
pub(super) fn largest(limit: usize) -> Size {
    let buckets = (limit / TABLE_PART / size_of::<Bucket>()).max(1);
    // The largest power of two below.
    let buckets = 1 << buckets.ilog2();
    let slab = limit.saturating_sub(buckets * size_of::<Bucket>());
    Size { slab: slab - slab % CHUNK_LEN, buckets }
}

pub(super) fn too_large(least: Size, limit: usize) -> TooLarge {
    TooLarge { needed: least.octets().unwrap_or(usize::MAX), limit }
}

/// The maps may not become as large as the zones need.
#[derive(Debug, thiserror::Error)]
#[error(
    "the zones need more than {} MiB of maps, and `memory` in [xdp] allows {} MiB: raise it \
     and restart the daemon",
    .needed.div_ceil(1 << 20), .limit >> 20
)]
pub(super) struct TooLarge {
    needed: usize,
    limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn memory_is_made_as_large_as_wanted_and_allowed() {
        let size = |slab, buckets| Size { slab, buckets };
        // All that is wanted.
        let want = size(16 * MIB, 8192);
        assert_eq!(fitting(want, size(MIB, 64), 32 * MIB), Some(want));
        // Less of the slab.
        assert_eq!(fitting(want, size(MIB, 64), 16 * MIB), Some(size(16 * MIB - 8192 * 64, 8192)));
        // And less of the table.
        assert_eq!(
            fitting(want, size(16 * MIB - CHUNK_LEN, 64), 16 * MIB),
            Some(size(16 * MIB - CHUNK_LEN, 64))
        );
        assert_eq!(fitting(want, size(16 * MIB, 64), 16 * MIB), None);
        assert_eq!(fitting(want, size(0, 64), 0), None);
        let all = largest(512 * MIB);
        assert_eq!(all, size(480 * MIB, 32 * MIB / 64));
        assert!(largest(100 * MIB).octets().unwrap() <= 100 * MIB);
        assert_eq!(largest(1).slab, 0);
    }
}
