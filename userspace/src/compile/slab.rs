//! The allocator of the slab: which octets are taken, not what is in them.
//!
//! Records of up to [`WINDOW`] octets are packed into chunks by size class and never straddle the
//! window that the kernel reads through. Anything longer gets whole chunks in a row. A chunk of which nothing is in use
//! any more becomes a whole chunk again.

use std::collections::BTreeMap;

use xdp_common::image::{Address, UNIT, WINDOW, Window};
use xdp_common::maps::CHUNK_LEN;

/// Octets at the start of the slab that are never handed out: address 0 is no place.
const RESERVED: usize = 64;

/// The last place in a chunk where a record can start: its window must end with the chunk.
const LAST_START: usize = CHUNK_LEN - size_of::<Window>();

/// What is said to be in use of a chunk that was taken as a whole.
const WHOLE: u32 = u32::MAX;

/// The slab looks for chunks of which nothing is in use when they may be this part of what is free.
const GATHERED_PART: usize = 4;

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
    /// Octets that are in use of each chunk that was ever handed out, or [`WHOLE`].
    in_use: Vec<u32>,
    /// How often a chunk was left with nothing in use since these were gathered.
    emptied: usize,
    /// What was done to the two since [`Slab::begin`], if it can be undone.
    done: Option<Vec<Step>>,
    /// What there was beside the two.
    before: Head,
    /// What was in use of the chunk that was being filled.
    filled_before: u32,
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
            in_use: Vec::new(),
            emptied: 0,
            done: None,
            before: head,
            filled_before: 0,
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
        self.filled_before = self.in_use.get(self.filled()).copied().unwrap_or(0);
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
                Step::Taken { size, address } => {
                    self.free[size].push(address);
                    self.in_use[chunk_of(address)] -= (size * UNIT) as u32;
                }
                Step::Left { size } => {
                    if let Some(left) = self.free[size].pop() {
                        self.in_use[chunk_of(left)] += (size * UNIT) as u32;
                    }
                }
                Step::RunTaken { first, free, taken } => {
                    self.in_use[first..first + taken].fill(0);
                    if free > taken {
                        self.free_runs.remove(&(first + taken));
                    }
                    self.free_runs.insert(first, free);
                }
            }
        }
        self.head = self.before;
        self.in_use.truncate(self.head.next_chunk);
        let filled = self.filled();
        if let Some(octets) = self.in_use.get_mut(filled) {
            *octets = self.filled_before;
        }
    }

    /// The chunk that is being filled with small records.
    fn filled(&self) -> usize {
        self.head.bump_limit / CHUNK_LEN
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
        let chunk = chunk_of(extent.address);
        if size <= WINDOW {
            self.free[size / UNIT].push(extent.address);
            self.in_use[chunk] -= size as u32;
            self.emptied += usize::from(self.in_use[chunk] == 0);
        } else {
            self.give_run(chunk, size.div_ceil(CHUNK_LEN));
        }
    }

    /// Makes whole chunks of those of which nothing is in use, where they may be many: freed records alone would never
    /// become room for a zone.
    pub fn gather(&mut self) {
        let free = self.high_water().saturating_sub(self.head.used);
        if self.emptied == 0 || self.emptied * CHUNK_LEN * GATHERED_PART < free {
            return;
        }
        self.emptied = 0;
        let filled = self.filled();
        // The start of the first one is no place.
        let is_free = |chunk: usize| chunk != 0 && chunk != filled && self.in_use[chunk] == 0;
        for list in &mut self.free {
            list.retain(|&address| !is_free(chunk_of(address)));
        }
        self.free_runs.clear();
        let mut chunk = 0;
        while chunk < self.head.next_chunk {
            let count = (chunk..self.head.next_chunk).take_while(|&chunk| is_free(chunk)).count();
            if count > 0 {
                self.free_runs.insert(chunk, count);
            }
            chunk += count + 1;
        }
        self.forget_last_run();
    }

    /// Octets that are free in whole chunks.
    pub fn free_in_chunks(&self) -> usize {
        let behind = self.head.chunks.saturating_sub(self.head.next_chunk);
        (behind + self.free_runs.values().sum::<usize>()) * CHUNK_LEN
    }

    //--- Whole chunks, for records that have their places in them already

    /// Takes runs of chunks, each of these lengths, and returns the first chunk of each. Nothing is counted as in use yet.
    ///
    /// # Errors
    /// How many chunks there should be beyond those that there are; nothing is taken then.
    pub fn take_runs(&mut self, lens: &[usize]) -> Result<Vec<usize>, usize> {
        let mut taken = Vec::with_capacity(lens.len());
        for (place, &len) in lens.iter().enumerate() {
            if let Some(first) = self.take_chunks(len) {
                taken.push(first);
                continue;
            }
            let room = self.head.chunks.saturating_sub(self.head.next_chunk);
            let missing = lens[place..].iter().sum::<usize>() - room;
            taken.iter().zip(lens).for_each(|(&first, &len)| self.give_run(first, len));
            return Err(missing);
        }
        Ok(taken)
    }

    /// Gives a run of chunks back.
    pub fn give_run(&mut self, first: usize, len: usize) {
        self.in_use[first..first + len].fill(0);
        let (mut first, mut len) = (first, len);
        if let Some(behind) = self.free_runs.remove(&(first + len)) {
            len += behind;
        }
        let before =
            self.free_runs.range(..first).next_back().map(|(&start, &count)| (start, count));
        if let Some((start, count)) = before.filter(|(start, count)| start + count == first) {
            (first, len) = (start, count + len);
        }
        self.free_runs.insert(first, len);
        self.forget_last_run();
    }

    /// What is free behind all that is in use was never handed out.
    fn forget_last_run(&mut self) {
        let last = self.free_runs.last_key_value().map(|(&first, &len)| (first, len));
        if let Some((first, _)) = last.filter(|(first, len)| first + len == self.head.next_chunk) {
            self.free_runs.remove(&first);
            self.head.next_chunk = first;
            self.in_use.truncate(first);
        }
    }

    /// Counts records as in use that lie in chunks which were taken for them by [`Slab::take_runs`].
    pub fn fill_runs(
        &mut self,
        chunks: impl Iterator<Item = usize>,
        records: impl Iterator<Item = Extent>,
    ) {
        chunks.for_each(|chunk| self.in_use[chunk] = 0);
        for Extent { address, len } in records {
            let size = (len as usize).max(1).next_multiple_of(UNIT);
            self.head.used += size;
            let chunk = chunk_of(address);
            match size <= WINDOW {
                true => self.in_use[chunk] += size as u32,
                false => self.in_use[chunk..][..size.div_ceil(CHUNK_LEN)].fill(WHOLE),
            }
        }
    }

    fn take_small(&mut self, size: usize) -> Option<Address> {
        let address = self.find_small(size)?;
        self.in_use[chunk_of(address)] += size as u32;
        Some(address)
    }

    fn find_small(&mut self, size: usize) -> Option<Address> {
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
        self.in_use[chunk] = 0;
        self.head.bump = chunk * CHUNK_LEN;
        self.head.bump_limit = self.head.bump + LAST_START;
        Some(())
    }

    fn take_run(&mut self, size: usize) -> Option<Address> {
        let chunk = self.take_chunks(size.div_ceil(CHUNK_LEN))?;
        Some((chunk * CHUNK_LEN / UNIT) as Address)
    }

    /// The first run of free chunks that is long enough, as one that is taken as a whole.
    fn take_chunks(&mut self, count: usize) -> Option<usize> {
        if let Some((&first, &free)) = self.free_runs.iter().find(|&(_, &free)| free >= count) {
            self.free_runs.remove(&first);
            if free > count {
                self.free_runs.insert(first + count, free - count);
            }
            self.note(Step::RunTaken { first, free, taken: count });
            self.in_use[first..first + count].fill(WHOLE);
            return Some(first);
        }
        if self.head.next_chunk + count > self.head.chunks {
            return None;
        }
        let first = self.head.next_chunk;
        self.head.next_chunk += count;
        self.in_use.resize(self.head.next_chunk, WHOLE);
        Some(first)
    }
}

/// The chunk in which a record begins.
fn chunk_of(address: Address) -> usize {
    address as usize * UNIT / CHUNK_LEN
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

    #[test]
    fn what_was_free_in_records_becomes_room_for_whole_chunks() {
        let mut slab = Slab::new(16 * CHUNK_LEN);
        let mut small: Vec<Extent> = std::iter::from_fn(|| slab.take(64)).collect();
        assert_eq!(slab.take(CHUNK_LEN), None);
        // One record stays in a chunk in the middle.
        let stays = small.remove(small.len() / 2);
        small.into_iter().for_each(|extent| slab.give(extent));
        slab.gather();
        let middle = chunk_of(stays.address);
        let mut runs = Vec::new();
        while let Some(first) = slab.take_chunks(1) {
            runs.push(first);
        }
        // The first one, the one that was being filled, and the one in the middle are none.
        let expected: Vec<usize> = (1..15).filter(|&chunk| chunk != middle).collect();
        assert_eq!(runs, expected);
        assert_eq!(slab.used(), 64);
    }

    #[test]
    fn runs_are_taken_all_or_none() {
        let mut slab = Slab::new(8 * CHUNK_LEN);
        let taken = slab.take_runs(&[2, 1]).unwrap();
        assert_eq!(taken, [1, 3]);
        assert_eq!(slab.take_runs(&[1, 1, 3]), Err(1));
        assert_eq!(slab.take_runs(&[4]).unwrap(), [4]);
        slab.give_run(4, 4);
        let [long, short] = [(1, CHUNK_LEN + 1), (3, 100)].map(|(chunk, len)| Extent {
            address: (chunk * CHUNK_LEN / UNIT) as Address,
            len: len as u32,
        });
        slab.fill_runs(1..4, [long, short].into_iter());
        assert_eq!(slab.used(), CHUNK_LEN + 8 + 104);
        [long, short].into_iter().for_each(|extent| slab.give(extent));
        slab.gather();
        // What is free next to each other is one run, with what lies behind.
        assert_eq!((slab.used(), slab.take_runs(&[7])), (0, Ok(vec![1])));
    }

    /// What can be taken next of each length, and in all.
    fn state(slab: &Slab) -> String {
        let Head { chunks, next_chunk, bump, bump_limit, used } = slab.head;
        let head = [chunks, next_chunk, bump, bump_limit, used];
        format!("{head:?} {:?} {:?} {:?}", slab.free, slab.free_runs, slab.in_use)
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
                if pick % 5 == 0 {
                    slab.gather();
                }
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
