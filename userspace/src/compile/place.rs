//! A zone that was compiled apart placed in the image, and published.
//!
//! | step | who holds the image |
//! |---|---|
//! | chunks are taken for it ([`Image::reserve`]) | its owner, for a moment |
//! | its records are copied there, and made to refer to each other there ([`Room::fill`]) | nobody |
//! | names appear in the table ([`Image::publish_placed`]) | its owner |
//!
//! Meanwhile others may publish, and the image may move to other memory: chunks that are reserved are not copied then, since
//! somebody writes to them, but when the zone is published.

use std::sync::Arc;

use xdp_common::image::UNIT;
use xdp_common::image::zone as zone_record;
use xdp_common::maps::CHUNK_LEN;

use super::apart::ApartZone;
use super::build::ChangeInput;
use super::change::{account, compile_or_undo};
use super::error::{ChangeError, PublishError, WholeReason};
use super::image::{Difference, Image, RetiredExtents};
use super::memory::Memory;
use super::moves::{Dangling, Moves, relocate};
use super::reuse::{PreviousNodes, SlabRecords};
use super::version::Compiled;
use crate::zone::{Name, Version, canonical_order, difference};

/// A part by which another version of a zone may be larger than the one before.
const ANOTHER_PART: usize = 16;

/// Chunks of an image that were taken for a zone. What is reserved must be given back by [`Image::cancel`], unless it is
/// published.
#[must_use = "the chunks are lost unless they are filled and published, or given back"]
pub struct Room {
    moves: Moves,
    /// The lengths of the runs that they were taken in.
    runs: Vec<usize>,
    memory: Arc<dyn Memory>,
}

/// A zone whose records are in their place, and that no name leads to yet.
#[must_use = "the chunks are lost unless it is published or given back"]
pub struct PlacedZone {
    apex: Name,
    compiled: Compiled,
    /// `None`: its records are counted among those of the image.
    room: Option<Room>,
}

impl Room {
    /// Copies a zone to the place that was reserved for it.
    ///
    /// # Errors
    /// If its records do not refer to each other, with the room, which must be given back.
    pub fn fill(self, zone: &ApartZone) -> Result<PlacedZone, (Dangling, Room)> {
        for (chunk, octets) in self.moves.chunks().iter().zip(zone.octets.chunks(CHUNK_LEN)) {
            self.memory.write(chunk * CHUNK_LEN, octets);
        }
        let moved = match relocate(&zone.zone, &*self.memory, &self.moves) {
            Ok(moved) => moved,
            Err(error) => return Err((error, self)),
        };
        let record = moved.records.first().copied().unwrap_or(0) as usize * UNIT;
        let field = |at: usize| self.memory.read(record + at, 4).and_then(|it| it.try_into().ok());
        let field = |at: usize| field(at).map_or(0, u32::from_le_bytes);
        let [soa, chain, serial] =
            [zone_record::at::SOA, zone_record::at::CHAIN, zone_record::at::SERIAL].map(field);
        let compiled = Compiled {
            written: moved.nodes.iter().copied().collect(),
            fresh: moved.extents.len(),
            heading: (u64::from(soa) | u64::from(chain) << 32, serial),
            max_labels: zone.max_labels,
            zone: moved,
            ..Compiled::default()
        };
        Ok(PlacedZone { apex: zone.apex.clone(), compiled, room: Some(self) })
    }
}

impl PlacedZone {
    /// The most labels of any of its names.
    pub fn max_labels(&self) -> u32 {
        self.compiled.max_labels
    }
}

impl Image {
    /// Takes chunks for a zone that was compiled apart, unless there is no room for it beside the version that is published.
    ///
    /// # Errors
    /// [`PublishError::Full`] says what would do.
    pub fn reserve(&mut self, zone: &ApartZone) -> Result<Room, PublishError> {
        let runs = zone.runs();
        let firsts = self.slab.take_runs(&runs).map_err(|missing| {
            let slab_end = self.memory.slab_len() + missing * CHUNK_LEN;
            self.full(slab_end, zone.names())
        })?;
        let older = self.zones.get(&zone.apex).map_or(0, |older| older.nodes.len());
        if let Err(full) = self.check_table(&zone.apex, older, zone.names()) {
            firsts.iter().zip(&runs).for_each(|(&first, &len)| self.slab.give_run(first, len));
            return Err(full);
        }
        let chunks = firsts.iter().zip(&runs).flat_map(|(&first, &len)| first..first + len);
        let chunks: Vec<usize> = chunks.collect();
        self.reserved.extend(&chunks);
        Ok(Room { moves: Moves::new(chunks), runs, memory: Arc::clone(&self.memory) })
    }

    /// Whether there is room for another version of a zone, as large as the one that is published and a part more, beside
    /// that one; or none is published.
    pub fn has_room_beside(&self, apex: &Name) -> bool {
        let needed =
            self.zones.get(apex).map_or(0, |zone| zone.octets + zone.octets / ANOTHER_PART);
        self.slab.free_in_chunks() >= needed
    }

    /// Gives back what was reserved.
    pub fn cancel(&mut self, room: Room) {
        let mut next = 0;
        for len in room.runs {
            let first = room.moves.chunks()[next];
            for chunk in first..first + len {
                self.reserved.remove(&chunk);
            }
            self.slab.give_run(first, len);
            next += len;
        }
    }

    /// Gives back what a zone that is not published has taken. Names may have led to it for a moment: it is freed with what
    /// is withdrawn next.
    pub fn cancel_placed(&mut self, mut placed: PlacedZone) {
        self.take_in(&mut placed);
        self.abandoned.extend(placed.compiled.zone.extents.iter().copied());
    }

    /// Counts the records of a zone that was placed as in use, and its chunks as reserved no more. If the image has moved
    /// since, they are copied: nobody writes to them now.
    fn take_in(&mut self, placed: &mut PlacedZone) {
        let Some(room) = placed.room.take() else { return };
        let is_elsewhere = !Arc::ptr_eq(&self.memory, &room.memory);
        for &chunk in room.moves.chunks() {
            self.reserved.remove(&chunk);
            let at = chunk * CHUNK_LEN;
            if let Some(octets) = room.memory.read(at, CHUNK_LEN).filter(|_| is_elsewhere) {
                self.memory.write(at, octets);
            }
        }
        let extents = placed.compiled.zone.extents.iter().copied();
        self.slab.fill_runs(room.moves.chunks().iter().copied(), extents);
    }

    /// Answers from a zone that was placed from now on, in place of any version before it.
    ///
    /// # Errors
    /// As [`Image::publish`]. It may be tried again, or must be given back by [`Image::cancel_placed`].
    pub fn publish_placed(
        &mut self,
        placed: &mut PlacedZone,
    ) -> Result<(Difference, RetiredExtents), PublishError> {
        self.take_in(placed);
        let PlacedZone { apex, compiled, .. } = placed;
        self.succeed(apex, compiled);
        let older = self.zones.get(&*apex).map_or(0, |older| older.nodes.len());
        self.check_table(apex, older, compiled.written.len() + compiled.gone.len())?;
        self.put(apex, compiled)
    }

    /// Makes of a zone that was placed the version to which a difference leads. Nobody sees that: no name leads to it yet.
    ///
    /// # Errors
    /// As [`Image::publish_change`]; it is what it was.
    pub fn change_placed(
        &mut self,
        placed: &mut PlacedZone,
        new: &Version,
        difference: &difference::Difference,
    ) -> Result<(), ChangeError> {
        if new.any_answers().is_some() {
            return Err(WholeReason::AnyAnswers.into());
        }
        self.take_in(placed);
        let memory = Arc::clone(&self.memory);
        let slab = SlabRecords::new(&*memory);
        let older = &placed.compiled.zone;
        let node_of = |wire: &[u8]| {
            let found = older.nodes.search(|&node| canonical_order(slab.name_of(node), wire));
            found.ok().and_then(|place| older.nodes.from(place).next().copied()).unwrap_or(0)
        };
        let (seed, now) = (self.seed, self.now);
        let input =
            ChangeInput { older, new, difference, seed, now, memory: &*memory, node_of: &node_of };
        let compiled =
            compile_or_undo(&input, &mut self.slab).map_err(|error| self.fuller(error))?;
        self.slab.keep();
        for &(at, word) in &compiled.references {
            memory.replace(at, word);
        }
        let zone = &mut placed.compiled.zone;
        self.head(&zone.records, compiled.heading);
        let record = zone.records.first().copied().unwrap_or(0);
        compiled.written.iter().for_each(|&(node, _)| self.settle(node, record));
        let unused = account(zone, &*memory, &compiled);
        // Nobody has read them.
        self.release(RetiredExtents::of(unused));
        let labels = self.labels_with_change(new, difference);
        let placed = &mut placed.compiled;
        placed.max_labels = placed.max_labels.max(labels);
        placed.written = placed.zone.nodes.iter().copied().collect();
        placed.fresh = placed.zone.extents.len();
        placed.heading = compiled.heading;
        Ok(())
    }

    /// Says of a version that was written anew what becomes of the one that is published.
    fn succeed(&self, apex: &Name, compiled: &mut Compiled) {
        let older = self.zones.get(apex);
        let slab = SlabRecords::new(&*self.memory);
        let mut walk = PreviousNodes::new(older, &*self.memory);
        let replaced = compiled.written.iter().map(|&node| walk.node_of(slab.name_of(node)));
        compiled.replaced = replaced.filter(|&node| node != 0).collect();
        walk.finish();
        compiled.gone = walk.gone;
        compiled.retired =
            older.into_iter().flat_map(|older| older.extents.iter()).copied().collect();
    }
}
