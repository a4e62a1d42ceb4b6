//! Whether a zone can be served: it is compiled as the daemon does, into no memory.
//!
//! What keeps a zone from being served as a whole is a [`CompileError`]. What no message can carry takes nothing
//! but itself away: questions that come to it are answered SERVFAIL, and all others as ever.

use xdp_common::image::{Bucket, WINDOW, Window};

use super::build::compile;
use super::error::{CompileError, FaultyRecord, Unsendable};
use super::memory::Memory;
use super::slab::Slab;
use crate::zone::Zone;

/// Compiles a zone and throws the result away. Returns what of it cannot be sent; an error if none of it could be.
/// Room is none of its matters: that is what the daemon's memory has.
pub fn check(zone: &Zone, now: u32) -> Result<Vec<Unsendable>, CompileError> {
    let mut unsendable = Vec::new();
    let mut slab = Slab::new(0);
    match compile(zone, None, None, 0, now, &mut slab, &NoMemory, &mut unsendable) {
        Ok(_) | Err(CompileError::Full { .. }) => Ok(unsendable),
        Err(error) => Err(error),
    }
}

/// The same as a list of faults, each with the record to blame.
pub fn faults(zone: &Zone, now: u32) -> Vec<(FaultyRecord, String)> {
    match check(zone, now) {
        Ok(unsendable) => {
            unsendable.iter().map(|one| (one.faulty_record(), one.to_string())).collect()
        }
        Err(error) => {
            let faulty_record = error.faulty_record(zone.apex());
            let rtype = faulty_record.rtype.map(|rtype| format!(" {rtype}")).unwrap_or_default();
            let text = format!("{}{rtype}: {error}", faulty_record.owner);
            vec![(faulty_record, text)]
        }
    }
}

/// No memory: all that is taken of it lies behind its end.
struct NoMemory;

impl Memory for NoMemory {
    fn slab_len(&self) -> usize {
        0
    }

    fn bucket_count(&self) -> usize {
        0
    }

    fn write(&self, _: usize, _: &[u8]) {}

    fn read(&self, at: usize, len: usize) -> Option<&[u8]> {
        static NOTHING: [u8; size_of::<Window>()] = [0; size_of::<Window>()];
        const { assert!(size_of::<Window>() >= WINDOW) };
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
