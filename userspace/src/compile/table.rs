//! The table's writer: entries put, replaced and taken out, each by one store of 64 bits, so that the
//! engine sees the old entry or the new one and never half of either.

use xdp_common::image::{Address, MAX_PROBES, TOMBSTONE};

use super::memory::Memory;

/// Slots in a bucket.
const SLOTS: usize = 8;

/// How full the table may get: entries per slot. Beyond, buckets overflow too often.
const MAX_LOAD: f64 = 0.5;

/// The most entries for a number of buckets.
pub fn capacity(buckets: usize) -> usize {
    (buckets as f64 * SLOTS as f64 * MAX_LOAD) as usize
}

/// The buckets that so many entries need: a power of two.
pub fn buckets_for(entries: usize) -> usize {
    let mut buckets = 64;
    while capacity(buckets) < entries {
        buckets *= 2;
    }
    buckets
}

/// The hash by which the engine finds a name.
pub fn node_hash(wire: &[u8], seed: u64) -> u64 {
    let mut room = [0; 544];
    room[..wire.len()].copy_from_slice(wire);
    xdp_common::dns::name::hash(&room, 0, wire.len(), seed)
}

/// No slot was free in the buckets that a look-up visits, or another name's tag stood in its way.
#[derive(Debug, PartialEq, Eq)]
pub struct NoSlot;

fn entry(place: u64, address: Address) -> u64 {
    place & 0xffff_ffff_0000_0000 | u64::from(address)
}

fn bucket_index(memory: &dyn Memory, place: u64, probe: usize) -> usize {
    (place as u32).wrapping_add(probe as u32) as usize & (memory.bucket_count() - 1)
}

/// Whether a slot holds an entry.
fn is_entry(slot: u64) -> bool {
    slot as Address != 0
}

/// Puts an entry that is not there yet.
pub fn insert(memory: &dyn Memory, place: u64, address: Address) -> Result<(), NoSlot> {
    let tag = place >> 32;
    for probe in 0..MAX_PROBES {
        let index = bucket_index(memory, place, probe);
        let bucket = memory.bucket(index);
        // A look-up takes the last slot with its tag: two of them in a bucket would hide one name.
        let has_tag = bucket.iter().any(|&slot| is_entry(slot) && slot >> 32 == tag);
        let free = bucket.iter().position(|&slot| !is_entry(slot));
        match free {
            Some(slot) if !has_tag => {
                memory.store(index, slot, entry(place, address));
                return Ok(());
            }
            // The look-up goes on only if the last slot says so.
            _ if bucket[SLOTS - 1] == 0 => memory.store(index, SLOTS - 1, TOMBSTONE),
            _ => {}
        }
    }
    Err(NoSlot)
}

/// The addresses that a look-up at `place` would compare names with.
pub fn candidates(memory: &dyn Memory, place: u64) -> impl Iterator<Item = Address> {
    let mut is_last = false;
    let buckets = (0..MAX_PROBES).map_while(move |probe| {
        let bucket = memory.bucket(bucket_index(memory, place, probe));
        let is_visited = !is_last;
        is_last = bucket[SLOTS - 1] == 0;
        is_visited.then_some(bucket)
    });
    let is_tagged = move |slot: &u64| is_entry(*slot) && *slot >> 32 == place >> 32;
    buckets.flatten().filter(is_tagged).map(|slot| slot as Address)
}

/// Puts `new` in the place of `old`; returns whether `old` was there.
pub fn replace(memory: &dyn Memory, place: u64, old: Address, new: Address) -> bool {
    store_over(memory, place, old, |_| entry(place, new))
}

/// Takes an entry out; returns whether it was there.
pub fn remove(memory: &dyn Memory, place: u64, address: Address) -> bool {
    // The last slot must go on saying that the next bucket may hold an entry of this one.
    store_over(memory, place, address, |slot| if slot == SLOTS - 1 { TOMBSTONE } else { 0 })
}

fn store_over(
    memory: &dyn Memory,
    place: u64,
    address: Address,
    new: impl Fn(usize) -> u64,
) -> bool {
    let sought = entry(place, address);
    for probe in 0..MAX_PROBES {
        let index = bucket_index(memory, place, probe);
        let bucket = memory.bucket(index);
        if let Some(slot) = bucket.iter().position(|&slot| slot == sought) {
            memory.store(index, slot, new(slot));
            return true;
        }
        if bucket[SLOTS - 1] == 0 {
            break;
        }
    }
    false
}
