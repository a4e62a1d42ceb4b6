//! Where the blocks of an index begin and end.
//!
//! A block of a newer version begins where one of the older version did, as long as neither becomes too long or too short.
//! So a child that comes or goes changes one block on each level, or two, and all others stay what they were.

use std::ops::Range;

use xdp_common::image::children::{MAX_BRANCH, MAX_LEAF};

/// How many entries blocks have.
pub struct Bounds {
    /// With more a block is divided.
    most: usize,
    /// With less a block is joined with the one before or behind.
    pub least: usize,
    /// What a block that is made from many entries is to have, so that there is room for more.
    filled: usize,
}

/// Of leaves.
pub const LEAVES: Bounds = Bounds::of(MAX_LEAF);

/// Of branches that are not the root.
pub const BRANCHES: Bounds = Bounds::of(MAX_BRANCH);

impl Bounds {
    const fn of(most: usize) -> Bounds {
        Bounds { most, least: most / 3, filled: most * 7 / 10 }
    }
}

/// Entries that become a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Their places.
    pub entries: Range<usize>,
    /// The number of the older block in whose place it stands.
    pub older: usize,
}

/// Divides `count` entries into blocks. `starts` has, for each block of the older version, how many entries sort before
/// its first one, as it was; the first block begins with the first entry, wherever it began.
pub fn divide(count: usize, starts: &[usize], bounds: &Bounds) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut start = 0;
    for older in 0..starts.len().max(1) {
        let end = starts.get(older + 1).map_or(count, |&next| next.min(count));
        if end <= start {
            continue;
        }
        let is_short = |part: &Part| part.entries.len() < bounds.least;
        let mut part = Part { entries: start..end, older };
        if let Some(before) = parts.pop_if(|before| is_short(before) || is_short(&part)) {
            part = Part { entries: before.entries.start..end, older: before.older };
        }
        start = end;
        push(&mut parts, part, bounds);
    }
    parts
}

/// Adds a part, or several of equal length if it is too long.
fn push(parts: &mut Vec<Part>, Part { entries, older }: Part, bounds: &Bounds) {
    let len = entries.len();
    let count = if len > bounds.most { len.div_ceil(bounds.filled) } else { 1 };
    let place = |number: usize| entries.start + len * number / count;
    parts
        .extend((0..count).map(|number| Part { entries: place(number)..place(number + 1), older }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths(count: usize, starts: &[usize]) -> Vec<usize> {
        divide(count, starts, &LEAVES).iter().map(|part| part.entries.len()).collect()
    }

    #[test]
    fn what_fits_is_one_block_and_more_is_divided_evenly() {
        assert_eq!(lengths(0, &[]), [0; 0]);
        assert_eq!(lengths(1, &[]), [1]);
        assert_eq!(lengths(126, &[]), [126]);
        assert_eq!(lengths(127, &[]), [63, 64]);
        assert_eq!(lengths(1000, &[]), [83, 83, 84, 83, 83, 84, 83, 83, 84, 83, 83, 84]);
    }

    #[test]
    fn blocks_begin_where_they_began() {
        assert_eq!(lengths(300, &[0, 100, 200]), [100, 100, 100]);
        assert_eq!(lengths(300, &[7, 50, 176]), [50, 126, 124]);
        // Too long, too short, and gone.
        assert_eq!(lengths(300, &[0, 100, 227]), [100, 63, 64, 73]);
        assert_eq!(lengths(300, &[0, 100, 141, 200]), [70, 71, 59, 100]);
        assert_eq!(lengths(142, &[0, 50, 91]), [91, 51]);
        assert_eq!(lengths(120, &[0, 41]), [120]);
        assert_eq!(lengths(200, &[0, 100, 100, 200]), [100, 100]);
    }

    proptest! {
        /// Whatever blocks there were.
        #[test]
        fn no_block_is_too_long_or_too_short(
            count in 0usize..3000,
            starts in proptest::collection::vec(0usize..3000, 0..40),
        ) {
            let mut starts = starts;
            starts.sort_unstable();
            for bounds in [LEAVES, BRANCHES] {
                let parts = divide(count, &starts, &bounds);
                let mut end = 0;
                for part in &parts {
                    prop_assert_eq!(part.entries.start, end);
                    end = part.entries.end;
                    prop_assert!(part.entries.len() <= bounds.most);
                    prop_assert!(part.entries.len() >= bounds.least || parts.len() == 1);
                    prop_assert!(part.older < starts.len().max(1));
                }
                prop_assert_eq!(end, count);
            }
        }
    }
}
