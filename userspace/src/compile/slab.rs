//! The allocator of the slab: which octets are taken, not what is in them.
//!
//! Records of up to [`WINDOW`] octets are packed into chunks by size class and never straddle the
//! window that the kernel reads through. Anything longer gets whole chunks in a row.

use std::collections::BTreeMap;

use xdp_common::image::{Address, UNIT, WINDOW, Window};
use xdp_common::maps::CHUNK_LEN;

/// Octets at the start of the slab that are never handed out: address 0 is no place.
const RESERVED: usize = 64;

/// The last place in a chunk where a record can start: its window must end with the chunk.
const LAST_START: usize = CHUNK_LEN - size_of::<Window>();

/// A run of octets in the slab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Where it starts.
    pub address: Address,
    /// Octets asked for.
    pub len: u32,
}

/// What is free.
pub struct Slab {
    head: Head,
    /// Freed small records by size in units.
    free: Vec<Vec<Address>>,
    /// Freed runs of chunks: first, count.
    free_runs: BTreeMap<usize, usize>,
    /// What was done to the two since [`Slab::begin`], if it can be undone.
    done: Option<Vec<Step>>,
    /// What there was beside the two.
    before: Head,
}

/// What there is beside lists of what is free.
#[derive(Clone, Copy)]
struct Head {
    chunks: usize,
    /// Chunks before this one have been handed out at least once.
    next_chunk: usize,
    /// Where the next small record goes, in octets, and the chunk's last start.
    bump: usize,
    bump_limit: usize,
    used: usize,
}

/// Something that was done to the lists of what is free.
#[derive(Clone, Copy)]
enum Step {
    /// A small record was taken out of the list of its size.
    Taken { size: usize, address: Address },
    /// What was left of one was put into the list of its size, as the last.
    Left { size: usize },
    /// A run of chunks was taken, its first ones.
    RunTaken { first: usize, free: usize, taken: usize },
}

impl Slab {
    /// A slab of `len` octets, all free.
    pub fn new(len: usize) -> Slab {
        let chunks = len / CHUNK_LEN;
        let head = Head { chunks, next_chunk: 0, bump: 0, bump_limit: 0, used: 0 };
        let mut slab = Slab {
            head,
            free: vec![Vec::new(); WINDOW / UNIT + 1],
            free_runs: BTreeMap::new(),
            done: None,
            before: head,
        };
        if slab.open_chunk().is_some() {
            slab.head.bump = RESERVED;
        }
        slab
    }

    /// From here on what is taken can be given back as if it had never been, until [`Slab::keep`]. Giving records back
    /// one by one would leave the slab cut into pieces of their sizes. Nothing else is given meanwhile.
    pub fn begin(&mut self) {
        self.before = self.head;
        self.done = Some(Vec::new());
    }

    /// What was taken since [`Slab::begin`] stays so.
    pub fn keep(&mut self) {
        self.done = None;
    }

    /// The slab as it was at [`Slab::begin`].
    pub fn undo(&mut self) {
        let Some(done) = self.done.take() else { return };
        for step in done.into_iter().rev() {
            match step {
                Step::Taken { size, address } => self.free[size].push(address),
                Step::Left { size } => drop(self.free[size].pop()),
                Step::RunTaken { first, free, taken } => {
                    if free > taken {
                        self.free_runs.remove(&(first + taken));
                    }
                    self.free_runs.insert(first, free);
                }
            }
        }
        self.head = self.before;
    }

    fn note(&mut self, step: Step) {
        if let Some(done) = &mut self.done {
            done.push(step);
        }
    }

    /// More room behind what there is, or less that was never handed out; `len` is the new length in
    /// octets.
    pub fn resize(&mut self, len: usize) {
        self.head.chunks = (len / CHUNK_LEN).max(self.head.next_chunk);
    }

    /// Octets handed out, rounded up to units.
    pub fn used(&self) -> usize {
        self.head.used
    }

    /// Octets from the start of the slab to the end of the last chunk that was ever handed out.
    pub fn high_water(&self) -> usize {
        self.head.next_chunk * CHUNK_LEN
    }

    /// Takes `len` octets; `None` if there is no room.
    pub fn take(&mut self, len: usize) -> Option<Extent> {
        let size = len.max(1).next_multiple_of(UNIT);
        let address = if size <= WINDOW { self.take_small(size)? } else { self.take_run(size)? };
        self.head.used += size;
        Some(Extent { address, len: u32::try_from(len).ok()? })
    }

    /// Gives octets back.
    pub fn give(&mut self, extent: Extent) {
        let size = (extent.len as usize).max(1).next_multiple_of(UNIT);
        self.head.used -= size;
        if size <= WINDOW {
            self.free[size / UNIT].push(extent.address);
        } else {
            let chunk = extent.address as usize * UNIT / CHUNK_LEN;
            self.free_runs.insert(chunk, size.div_ceil(CHUNK_LEN));
        }
    }

    fn take_small(&mut self, size: usize) -> Option<Address> {
        if let Some(address) = self.free[size / UNIT].pop() {
            self.note(Step::Taken { size: size / UNIT, address });
            return Some(address);
        }
        if (self.head.bump > self.head.bump_limit || self.head.bump_limit == 0)
            && self.open_chunk().is_none()
        {
            return self.split_small(size);
        }
        let address = (self.head.bump / UNIT) as Address;
        self.head.bump += size;
        Some(address)
    }

    /// Takes the start of a larger record that is free. What is left of it must be one that can be taken.
    fn split_small(&mut self, size: usize) -> Option<Address> {
        let units = size / UNIT;
        let is_start =
            |address: Address| (address as usize + units) * UNIT % CHUNK_LEN <= LAST_START;
        let larger = (units + 1..self.free.len())
            .find(|&class| self.free[class].last().is_some_and(|&address| is_start(address)))?;
        let address = self.free[larger].pop()?;
        self.free[larger - units].push(address + units as Address);
        self.note(Step::Taken { size: larger, address });
        self.note(Step::Left { size: larger - units });
        Some(address)
    }

    /// Starts to fill another chunk.
    fn open_chunk(&mut self) -> Option<()> {
        let chunk = match self.take_chunks(1) {
            Some(chunk) => chunk,
            None => {
                self.head.bump = usize::MAX;
                return None;
            }
        };
        self.head.bump = chunk * CHUNK_LEN;
        self.head.bump_limit = self.head.bump + LAST_START;
        Some(())
    }

    fn take_run(&mut self, size: usize) -> Option<Address> {
        let chunk = self.take_chunks(size.div_ceil(CHUNK_LEN))?;
        Some((chunk * CHUNK_LEN / UNIT) as Address)
    }

    /// The first run of free chunks that is long enough.
    fn take_chunks(&mut self, count: usize) -> Option<usize> {
        if let Some((&first, &free)) = self.free_runs.iter().find(|&(_, &free)| free >= count) {
            self.free_runs.remove(&first);
            if free > count {
                self.free_runs.insert(first + count, free - count);
            }
            self.note(Step::RunTaken { first, free, taken: count });
            return Some(first);
        }
        if self.head.next_chunk + count > self.head.chunks {
            return None;
        }
        let first = self.head.next_chunk;
        self.head.next_chunk += count;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_record_s_window_ends_in_its_chunk() {
        let mut slab = Slab::new(4 * CHUNK_LEN);
        while let Some(extent) = slab.take(1000) {
            let at = extent.address as usize * UNIT;
            assert!(at >= RESERVED && at % CHUNK_LEN <= LAST_START);
        }
        assert!(slab.used() > 3 * CHUNK_LEN);
    }

    #[test]
    fn a_slab_that_becomes_smaller_hands_out_less() {
        let mut slab = Slab::new(16 * CHUNK_LEN);
        slab.take(100).unwrap();
        slab.resize(2 * CHUNK_LEN);
        while let Some(extent) = slab.take(1000) {
            assert!(extent.address as usize * UNIT + 1000 <= 2 * CHUNK_LEN);
        }
        slab.resize(CHUNK_LEN);
        assert_eq!(slab.take(CHUNK_LEN), None);
    }

    #[test]
    fn what_was_free_in_large_records_is_taken_in_small_ones() {
        let mut slab = Slab::new(2 * CHUNK_LEN);
        let large: Vec<Extent> = std::iter::from_fn(|| slab.take(1600)).collect();
        large.into_iter().for_each(|extent| slab.give(extent));
        let mut taken: Vec<Address> = Vec::new();
        while let Some(extent) = slab.take(64) {
            assert!(extent.address as usize * UNIT % CHUNK_LEN <= LAST_START);
            taken.push(extent.address);
        }
        assert!(taken.len() > CHUNK_LEN / 64, "{}", taken.len());
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[0] + 8 <= pair[1]));
    }

    /// What can be taken next of each length, and in all.
    fn state(slab: &Slab) -> String {
        let Head { chunks, next_chunk, bump, bump_limit, used } = slab.head;
        let head = [chunks, next_chunk, bump, bump_limit, used];
        format!("{head:?} {:?} {:?}", slab.free, slab.free_runs)
    }

    proptest! {
        #[test]
        fn what_is_undone_was_never_taken(
            steps in proptest::collection::vec((any::<bool>(), 1usize..200_000, any::<usize>()), 1..60),
            tried in proptest::collection::vec((1usize..200_000, any::<bool>()), 1..60),
        ) {
            let mut slab = Slab::new(16 * CHUNK_LEN);
            let mut taken: Vec<Extent> = Vec::new();
            let small = |len: usize, is_small: bool| if is_small { len % WINDOW + 1 } else { len };
            for (take, len, pick) in steps {
                if take || taken.is_empty() {
                    taken.extend(slab.take(small(len, pick % 3 != 0)));
                } else {
                    slab.give(taken.swap_remove(pick % taken.len()));
                }
            }
            let before = state(&slab);
            slab.begin();
            for (len, is_small) in tried {
                if slab.take(small(len, is_small)).is_none() {
                    slab.resize(usize::MAX);
                }
            }
            slab.undo();
            prop_assert_eq!(before, state(&slab));
        }

        #[test]
        fn extents_never_overlap(
            steps in proptest::collection::vec((any::<bool>(), 1usize..200_000, any::<usize>()), 1..200),
        ) {
            let mut slab = Slab::new(64 * CHUNK_LEN);
            let mut taken: Vec<Extent> = Vec::new();
            for (take, len, pick) in steps {
                if take || taken.is_empty() {
                    let len = if pick % 3 == 0 { len } else { len % WINDOW + 1 };
                    taken.extend(slab.take(len));
                } else {
                    slab.give(taken.swap_remove(pick % taken.len()));
                }
                let mut ranges: Vec<_> = taken
                    .iter()
                    .map(|extent| (extent.address as usize * UNIT, extent.len as usize))
                    .collect();
                ranges.sort_unstable();
                for pair in ranges.windows(2) {
                    prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0);
                }
                if let Some(last) = ranges.last() {
                    prop_assert!(last.0 + last.1 <= 64 * CHUNK_LEN);
                }
            }
        }
    }
}
