//! One target, one mix: the flood, the knee, and what an answer costs short of it.

use std::{
    hint,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use xdp_common::lab::counter;

use super::{
    generator::Generator,
    meter::{self, Reading},
    schedule::{self, ASK, GENERATOR_CORE, GUARD, SERVER_CORE},
    wire::Wire,
};

/// The part of the queries that is answered up to the knee.
const ANSWERED: f64 = 0.98;
/// How far below the knee costs are taken.
const BELOW_KNEE: f64 = 0.8;
/// How often a rate is tried before it counts as too high.
const TRIES: usize = 3;
/// How exactly the knee is looked for: the ratio of a rate that is too high to one that is not.
const KNEE_RATIO: f64 = 1.05;
/// Any server can answer so many a second.
const LEAST: f64 = 2000.0;
/// How long a server is asked to see whether it has started.
const LOOK: Duration = Duration::from_millis(100);

/// What was found.
#[derive(Clone, Debug)]
pub struct Trial {
    /// As fast as the generator asks.
    pub flood: Reading,
    /// The highest rate that is answered, in queries per second.
    pub knee: f64,
    /// The server answers all that the generator can send.
    pub is_generator_bound: bool,
    /// At four fifths of the knee.
    pub below_knee: Reading,
    /// The part of the answers that sealdns counts as TCX's.
    pub by_tcx: f64,
}

/// Finds it.
pub fn run(wire: &Wire, generator: &mut Generator, duration: Duration) -> Result<Trial> {
    asking(wire, || {
        let flood = meter::read(wire, generator, None, duration)?;
        ensure!(flood.replies() > 0.0, "no answers in a flood");
        let is_generator_bound = flood.share() >= ANSWERED;
        let knee = if is_generator_bound {
            flood.asked()
        } else {
            knee(wire, generator, &flood, duration / 3)?
        };
        let below_knee = meter::read(wire, generator, Some(knee * BELOW_KNEE), duration)?;
        Ok(Trial { flood, knee, is_generator_bound, below_knee, by_tcx: 0.0 })
    })
}

/// Whether the server answers, and with this response code if one is given.
pub fn is_answering(wire: &Wire, generator: &mut Generator, rcode: Option<usize>) -> Result<bool> {
    let reading = asking(wire, || meter::read(wire, generator, Some(LEAST), LOOK))?;
    let right = rcode.map_or(1.0, |rcode| reading.part(counter::RCODES + rcode));
    Ok(reading.share() >= ANSWERED && right >= ANSWERED)
}

/// Runs `work` on a thread that may ask. Meanwhile nobody else is let onto the server's core when the
/// server waits: neither other programs, whose system calls would delay it, nor the idle loop, from which
/// a virtual processor takes long to come back.
pub fn asking<T: Send>(wire: &Wire, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let guard = scope.spawn(|| -> Result<()> {
            schedule::pin_this_thread(SERVER_CORE, GUARD)?;
            while !over.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
            Ok(())
        });
        let worked = wire.client.enter(|| {
            schedule::pin_this_thread(GENERATOR_CORE, ASK)?;
            work()
        });
        over.store(true, Ordering::Relaxed);
        guard.join().map_err(|_| anyhow!("the guard panicked"))??;
        worked?
    })
}

/// Looks for the highest rate of which [`ANSWERED`] is, by halving the ratio of one that is too high
/// to one that is not. A rate that is not answered is tried again: a twentieth of each second belongs to
/// programs of no priority, if there are any (Linux 6.12 and later), and then nobody answers.
fn knee(
    wire: &Wire,
    generator: &mut Generator,
    flood: &Reading,
    duration: Duration,
) -> Result<f64> {
    let mut is_answered = |rate: f64| -> Result<bool> {
        for _ in 0..TRIES {
            if meter::read(wire, generator, Some(rate), duration)?.share() >= ANSWERED {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let (mut low, mut high) = (flood.answered(), flood.asked());
    while !is_answered(low)? {
        ensure!(low > LEAST, "not even {low:.0} queries a second are answered");
        (low, high) = (low / 2.0, low);
    }
    while high / low > KNEE_RATIO {
        let middle = (low * high).sqrt();
        if is_answered(middle)? { low = middle } else { high = middle }
    }
    Ok(low)
}
