//! A zone compiled apart: into memory of its own, without the image, and so without a lock or an older version. Its size is
//! known exactly in the end. It is published by being placed in the image ([`Image::reserve`](super::Image::reserve)).

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use xdp_common::image::{Bucket, UNIT, WINDOW, Window};
use xdp_common::maps::CHUNK_LEN;

use super::build::compile;
use super::error::CompileError;
use super::memory::Memory;
use super::slab::Slab;
use super::version::CompiledZone;
use crate::zone::{Name, Zone};

/// The most that addresses lead to: 2^32 units of eight octets.
const ADDRESSABLE: usize = UNIT << 32;

/// A zone compiled by itself. Its addresses are those of its own chunks, from 0 on.
pub struct ApartZone {
    pub(super) apex: Name,
    pub(super) zone: CompiledZone,
    /// Its chunks.
    pub(super) octets: Bytes,
    pub(super) max_labels: u32,
    /// When it was compiled.
    pub(super) compiled_at: u32,
}

impl ApartZone {
    /// Compiles a zone. `seed` keys the names' hash, `now` is seconds since 1970 truncated to 32 bits.
    ///
    /// # Errors
    /// If it cannot be compiled, or takes more than 32 GiB.
    pub fn compile(zone: &Zone, seed: u64, now: u32) -> Result<ApartZone, CompileError> {
        let mut slab = Slab::new(ADDRESSABLE);
        let memory = WrittenMemory::default();
        let mut unsendable = Vec::new();
        let compiled = compile(zone, None, None, seed, now, &mut slab, &memory, &mut unsendable)?;
        let mut octets = memory.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        octets.resize(slab.high_water(), 0);
        Ok(ApartZone {
            apex: zone.apex().clone(),
            zone: CompiledZone { unsendable, ..compiled.zone },
            octets: octets.into(),
            max_labels: compiled.max_labels,
            compiled_at: now,
        })
    }

    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// When it was compiled, in seconds since 1970 truncated to 32 bits.
    pub fn compiled_at(&self) -> u32 {
        self.compiled_at
    }

    /// Octets of its records, whole chunks.
    pub fn octets(&self) -> usize {
        self.octets.len()
    }

    /// How many names it has, empty non-terminals included.
    pub fn names(&self) -> usize {
        self.zone.nodes.len()
    }

    /// The runs of chunks that must stay runs, in order: what is longer than a window goes through several.
    pub(super) fn runs(&self) -> Vec<usize> {
        let chunks = self.octets.len() / CHUNK_LEN;
        let mut runs = Vec::with_capacity(chunks);
        let long = self.zone.extents.iter().filter(|extent| extent.len as usize > WINDOW);
        let mut next = 0;
        for extent in long {
            let first = extent.address as usize * UNIT / CHUNK_LEN;
            runs.resize(runs.len() + first.saturating_sub(next), 1);
            let len = (extent.len as usize).div_ceil(CHUNK_LEN);
            runs.push(len);
            next = first + len;
        }
        runs.resize(runs.len() + chunks.saturating_sub(next), 1);
        runs
    }
}

/// Memory that grows with what is written. Nothing is read while a zone is compiled that has no older version.
#[derive(Default)]
struct WrittenMemory(Mutex<Vec<u8>>);

impl Memory for WrittenMemory {
    fn slab_len(&self) -> usize {
        ADDRESSABLE
    }

    fn bucket_count(&self) -> usize {
        0
    }

    fn write(&self, at: usize, octets: &[u8]) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = at + octets.len();
        if end > memory.len() {
            memory.resize(end.next_multiple_of(CHUNK_LEN), 0);
        }
        memory[at..end].copy_from_slice(octets);
    }

    fn read(&self, at: usize, len: usize) -> Option<&[u8]> {
        static NOTHING: [u8; size_of::<Window>()] = [0; size_of::<Window>()];
        (at == 0).then_some(())?;
        NOTHING.get(..len)
    }

    fn bucket(&self, _: usize) -> Bucket {
        [0; 8]
    }

    fn store(&self, _: usize, _: usize, _: u64) {}

    fn replace(&self, _: usize, _: u64) {}

    fn changes(&self) -> u64 {
        0
    }
}
