//! How large the maps and the memory for zones are made.

use xdp_common::image::Bucket;
use xdp_common::maps::CHUNK_LEN;

use crate::compile::buckets_for;
use crate::datapath::memory::Size;
use crate::datapath::seam::ExpectedSize;

/// The least memory that is made: some 40,000 typical names.
pub(super) const FLOOR: Size = Size { slab: 16 << 20, buckets: 8192 };

/// From so many octets on a slab grows by a quarter and not to twice its size.
const LARGE: usize = 256 << 20;

/// The part of all memory that a table takes which is made as large as may be: a name takes some 400
/// octets of the slab and, with the table filled to 0.5, 16 of the table.
const TABLE_PART: usize = 16;

/// The part of what is expected that is made besides.
const EXPECTED_SPARE_PART: usize = 32;

/// The most that can be addressed: 2^32 units of eight octets.
const ADDRESSABLE: usize = 1 << 35;

/// The bounds of what is made.
pub(super) struct Sizes {
    /// The least that is made.
    floor: Size,
    /// The most that the maps may take in octets.
    limit: usize,
}

/// How much is wanted, and the least that will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) want: Size,
    pub(super) least: Size,
}

impl Sizes {
    /// `floor` is the least that is made, `limit` the most that the maps may take in octets.
    pub(super) fn new(floor: Size, limit: usize) -> Sizes {
        Sizes { floor, limit: limit.min(ADDRESSABLE) }
    }

    /// Makes maps as large as they may be, at once.
    pub(super) fn start_at_limit(&mut self) {
        self.floor = largest(self.limit);
    }

    /// The least that is made for an image of the daemon's own.
    pub(super) fn floor_of_own(&self) -> Size {
        self.floor.min(FLOOR)
    }

    /// What maps need that are to hold `used`, and as much again.
    pub(super) fn to_hold(&self, used: Size) -> Demand {
        let twice = Size { slab: 2 * used.slab, buckets: 2 * used.buckets };
        Demand { want: twice.max(self.floor), least: used }
    }

    /// The size of maps that meets a demand within the limit; not `before`, or making them would be for nothing.
    pub(super) fn of_maps(&self, demand: Demand, before: Option<Size>) -> Result<Size, TooLarge> {
        let size = fitting(demand.want, demand.least, self.limit);
        size.filter(|size| Some(*size) != before).ok_or_else(|| self.too_large(demand.least))
    }

    /// The maps may not hold `least`.
    pub(super) fn too_large(&self, least: Size) -> TooLarge {
        TooLarge { needed: least.octets().unwrap_or(usize::MAX), limit: self.limit }
    }
}

impl Demand {
    /// What is to follow on `now`, which is full: `needed` would do.
    pub(super) fn beyond(now: Size, needed: Size) -> Demand {
        let needed = needed.rounded();
        let least = now.max(needed);
        let mut want = least;
        if needed.slab > now.slab {
            // A change takes room for what it changes: large maps need not be twice as large.
            let more = if now.slab < LARGE { now.slab } else { now.slab / 4 };
            want.slab = want.slab.max((now.slab + more).next_multiple_of(CHUNK_LEN));
        }
        if needed.buckets > now.buckets {
            want.buckets = want.buckets.max(2 * now.buckets);
        }
        if want == now {
            // Full though the sums say otherwise: names crowd in some buckets, or the slab is cut into
            // pieces too small.
            want = Size { slab: 2 * now.slab, buckets: 2 * now.buckets };
        }
        Demand { want, least }
    }

    /// The same, now that `needed` would do; `None` if that is asked for already, and still was not enough.
    pub(super) fn raised(self, needed: Size) -> Option<Demand> {
        let least = self.least.max(needed.rounded());
        if least == self.least && self.want == self.least {
            return None;
        }
        Some(Demand { want: self.want.max(least), least })
    }

    /// The size of memory that meets it, which only what can be addressed bounds; `None` if that is `now` or less.
    pub(super) fn of_memory(self, now: Size) -> Option<Size> {
        fitting(self.want, self.least, ADDRESSABLE).filter(|size| *size != now)
    }
}

impl Size {
    /// Room for zones of this size besides, with some for changes.
    pub(super) fn with(self, expected: ExpectedSize) -> Size {
        let [names, slab] = [expected.names, expected.slab]
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX).min(ADDRESSABLE));
        if names == 0 {
            return self;
        }
        // As an image asks for it.
        let spare = slab / EXPECTED_SPARE_PART + 4 * CHUNK_LEN;
        let size = Size { slab: self.slab + slab + spare, buckets: buckets_for(names + names / 4) };
        self.max(size.rounded())
    }

    /// What holds this much: whole chunks and a power of two of buckets.
    pub(super) fn rounded(self) -> Size {
        Size {
            slab: self.slab.max(1).next_multiple_of(CHUNK_LEN),
            buckets: self.buckets.next_power_of_two(),
        }
    }

    /// The larger of each.
    fn max(self, other: Size) -> Size {
        Size { slab: self.slab.max(other.slab), buckets: self.buckets.max(other.buckets) }
    }

    /// The smaller of each.
    fn min(self, other: Size) -> Size {
        Size { slab: self.slab.min(other.slab), buckets: self.buckets.min(other.buckets) }
    }
}

/// The largest size up to `want` that `limit` octets hold, with no less than `least`.
fn fitting(want: Size, least: Size, limit: usize) -> Option<Size> {
    [want.buckets, least.buckets].into_iter().find_map(|buckets| {
        let room = limit.checked_sub(buckets.checked_mul(size_of::<Bucket>())?)?;
        let slab = want.slab.min(room - room % CHUNK_LEN);
        (slab >= least.slab.max(CHUNK_LEN)).then_some(Size { slab, buckets })
    })
}

/// The most that `limit` octets hold.
fn largest(limit: usize) -> Size {
    let buckets = (limit / TABLE_PART / size_of::<Bucket>()).max(1);
    // The largest power of two below.
    let buckets = 1 << buckets.ilog2();
    let slab = limit.saturating_sub(buckets * size_of::<Bucket>());
    Size { slab: slab - slab % CHUNK_LEN, buckets }
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
    fn what_is_expected_has_room() {
        assert_eq!(FLOOR.with(ExpectedSize::default()), FLOOR);
        let (names, slab) = (1_500_000, 620 * MIB as u64);
        let size = FLOOR.with(ExpectedSize { names, slab });
        assert!(size.slab > 650 * MIB && size.slab.is_multiple_of(CHUNK_LEN));
        assert!(size.buckets.is_power_of_two() && size.buckets * 4 > 1_500_000);
        // Whatever it says, the limit holds.
        let most = FLOOR.with(ExpectedSize { names: 1 << 20, slab: u64::MAX });
        let sizes = Sizes::new(most, 640 * MIB);
        let demand = sizes.to_hold(Size { slab: MIB, buckets: 64 });
        assert!(sizes.of_maps(demand, None).unwrap().octets().unwrap() <= 640 * MIB);
    }

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
