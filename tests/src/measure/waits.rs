//! How long this machine waits for memory: the part of an answer's cost that no program can save.

use std::{
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    thread,
    time::Instant,
};

use anyhow::Result;

use super::pin_to_core;

/// Octets of a cache line.
const LINE: usize = 64;

/// Loads per figure.
const LOADS: usize = 1_000_000;

/// How often a line goes to and fro for a figure.
const ROUND_TRIPS: u32 = 20_000;

/// Nanoseconds that a cache line takes from the core 0, which has changed it, to the core 1 and back, halved. A
/// virtual machine's processors may be moved: it says how near they are to each other now.
pub fn between_cores() -> Result<f64> {
    let turn = AtomicU32::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        let both = [0, 1].map(|core| {
            let turn = &turn;
            scope.spawn(move || take_turns(turn, core))
        });
        let ended = both.into_iter().map(|one| one.join().expect("it does not panic"));
        ended.collect::<Result<Vec<()>>>()
    })?;
    Ok(start.elapsed().as_nanos() as f64 / f64::from(2 * ROUND_TRIPS))
}

fn take_turns(turn: &AtomicU32, core: u32) -> Result<()> {
    let pinned = pin_to_core(core as usize);
    // Also if it is not: the other waits for its turn.
    for _ in 0..ROUND_TRIPS {
        while turn.load(SeqCst) % 2 != core {
            spin_loop();
        }
        turn.fetch_add(1, SeqCst);
    }
    pinned
}

/// Nanoseconds until `lines` neighbouring cache lines at a random place of as many octets are here, where
/// the place is known only when the ones before have come.
pub fn of(octets: usize, lines: usize) -> f64 {
    let words = LINE / size_of::<u64>();
    // Written, or all pages would be one page of zeros.
    let memory = black_box(vec![1u64; octets.max(LINE * lines * 2) / size_of::<u64>()]);
    let places = memory.len() / words - lines;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let start = Instant::now();
    for _ in 0..LOADS {
        // xorshift (Marsaglia 2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let place = random as usize % places * words;
        let lines = &memory[place..place + lines * words];
        let sum = lines.iter().step_by(words).sum::<u64>();
        // Always the same number, which the processor does not know before it has come.
        random =
            random.wrapping_add(black_box(sum)).wrapping_sub(lines.len() as u64 / words as u64);
    }
    let wait = start.elapsed().as_nanos() as f64 / LOADS as f64;
    black_box(random);
    wait
}
