//! What is read before and after: counters of both ends, and how long the server's side ran.

use std::{fs, path::PathBuf, thread, time::Duration};

use anyhow::Result;
use xdp_common::lab::counter;

use super::{
    generator::{Counters, Generator},
    wire::Wire,
};

/// For how long queries are sent before anything is counted, in each trial.
const WARM_UP: Duration = Duration::from_millis(50);
/// How long the last answers may take.
const DRAIN: Duration = Duration::from_millis(30);

/// What happened in a while.
#[derive(Clone, Debug)]
pub struct Reading {
    /// How long it was.
    pub seconds: f64,
    /// What was sent and received.
    pub counters: Counters,
    /// How long the server's threads ran and those of its end of the wire, in nanoseconds.
    pub cpu_ns: f64,
    /// The part of the answers that a program sent back, warming up included.
    pub by_xdp: f64,
}

impl Reading {
    /// Queries per second.
    pub fn asked(&self) -> f64 {
        self.counters[counter::SENT] as f64 / self.seconds
    }

    /// Answers per second.
    pub fn answered(&self) -> f64 {
        self.replies() / self.seconds
    }

    /// Answers.
    pub fn replies(&self) -> f64 {
        self.counters[counter::REPLIES] as f64
    }

    /// The part of the queries that was answered.
    pub fn share(&self) -> f64 {
        self.replies() / self.counters[counter::SENT] as f64
    }

    /// The part of the answers that a counter counts.
    pub fn part(&self, counter: usize) -> f64 {
        self.counters[counter] as f64 / self.replies()
    }

    /// How long the server's side ran for each answer, in nanoseconds.
    pub fn ns_per_answer(&self) -> f64 {
        self.cpu_ns / self.replies()
    }

    /// The part of the server's core that the server's side took.
    pub fn core_used(&self) -> f64 {
        self.cpu_ns / 1e9 / self.seconds
    }

    /// Octets of a reply's frame, on the average.
    pub fn octets(&self) -> f64 {
        self.part(counter::OCTETS)
    }
}

/// Asks for a while and reads what happened. The calling thread must be in the client's namespace.
pub fn read(
    wire: &Wire,
    generator: &mut Generator,
    rate: Option<f64>,
    duration: Duration,
) -> Result<Reading> {
    let accounts = wire.server_accounts()?;
    let sent_before = wire.transmitted()?;
    let replies_before = generator.counters()?[counter::REPLIES];
    generator.pace(rate)?;
    generator.run(WARM_UP)?;
    thread::sleep(DRAIN);
    let (ran, counted) = (run_time(&accounts), generator.counters()?);
    let seconds = generator.run(duration)?.as_secs_f64();
    thread::sleep(DRAIN);
    let cpu_ns = run_time(&accounts) - ran;
    let counters = difference(&generator.counters()?, &counted);
    let replies = generator.counters()?[counter::REPLIES] - replies_before;
    let sent = wire.transmitted()? - sent_before;
    Ok(Reading { seconds, counters, cpu_ns, by_xdp: sent as f64 / replies as f64 })
}

/// How long all these threads have run, in nanoseconds.
fn run_time(accounts: &[PathBuf]) -> f64 {
    // The first of three numbers; a thread that has ended says nothing.
    let account = |path: &PathBuf| -> Option<f64> {
        fs::read_to_string(path).ok()?.split(' ').next()?.parse().ok()
    };
    accounts.iter().filter_map(account).sum()
}

fn difference(after: &Counters, before: &Counters) -> Counters {
    std::array::from_fn(|word| after[word] - before[word])
}
