//! What an answer costs a server that is flooded: CPU time of the server's core per answer, of sealdns
//! and of others, over one veth pair in one run.
//!
//! `cargo xtask bench flood` calls it and shows the figures; by itself it prints them as JSON.

mod mixes;
mod report;
mod targets;

use std::{
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use testbed::net;
use tests::measure::{
    self,
    flood::{
        generator::Generator,
        mix::Mix,
        trial::{self, Trial},
        wire::Wire,
    },
    zones,
};
use xdp_common::lab::counter;

use report::Row;
use targets::{Serving, Target, ZoneFile};

/// Hosts in the zone of which one name is asked all the time.
const SMALL_NAMES: usize = 128;

/// How long a server may take from its start to its first answers: sealdns verifies each signature of
/// a zone that it did not sign.
const START: Duration = Duration::from_secs(180);

fn main() -> Result<()> {
    // `cargo test --all-targets` calls it without an argument that `cargo bench` gives.
    let (bench, arguments): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|argument| argument == "--bench");
    if bench.is_empty() && arguments.is_empty() {
        println!("not run: `cargo xtask bench flood` does");
        return Ok(());
    }
    let numbers: Vec<u32> = arguments.iter().map(|one| one.parse()).collect::<Result<_, _>>()?;
    let [names, rounds, milliseconds] = numbers[..] else {
        bail!("arguments: names of the large zone, rounds, milliseconds of a trial")
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let trial = Duration::from_millis(milliseconds.into());
    println!("{:#}", measured(names, rounds, trial, interrupted)?);
    Ok(())
}

fn measured(
    names: u32,
    rounds: u32,
    duration: Duration,
    interrupted: Arc<AtomicBool>,
) -> Result<Value> {
    net::sweep();
    let cache = measure::cache()?.canonicalize()?;
    let zones = [(mixes::SMALL, SMALL_NAMES), (mixes::LARGE, names as usize)]
        .map(|(labels, names)| -> Result<ZoneFile> {
            Ok(ZoneFile { apex: labels.join("."), path: zones::served(&cache, labels, names)? })
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let directory = tempfile::tempdir()?;
    let wire = Wire::new()?;
    let mut generator = Generator::new(&wire, Arc::clone(&interrupted))?;
    let mixes = mixes::all(names);
    let mut rows: Vec<Row> = mixes
        .iter()
        .flat_map(|mix| {
            Target::ALL.map(|target| Row {
                mix: mix.title,
                rcode: mix.rcode,
                target,
                trials: Vec::new(),
            })
        })
        .collect();
    let before = measure::load_average();
    for round in 1..=rounds {
        for target in Target::ALL {
            eprintln!("round {round} of {rounds}: {}", target.title());
            let directory = directory.path().join(format!("{round}-{}", target.word()));
            let stage = Stage { wire: &wire, zones: &zones, interrupted: &interrupted };
            let trials = stage.measure(target, &directory, &mut generator, &mixes, duration)?;
            for (mix, trial) in mixes.iter().zip(trials) {
                let row = rows.iter_mut().find(|row| row.mix == mix.title && row.target == target);
                row.into_iter().for_each(|row| row.trials.push(trial.clone()));
            }
        }
    }
    Ok(json!({
        "names": names,
        "rounds": rounds,
        "milliseconds": duration.as_millis() as u64,
        "load_average": { "before": before, "after": measure::load_average() },
        "rows": report::rows(&rows),
    }))
}

/// What all targets have in common.
struct Stage<'a> {
    wire: &'a Wire,
    zones: &'a [ZoneFile],
    interrupted: &'a AtomicBool,
}

impl Stage<'_> {
    /// Starts a target, asks it each mix, and ends it.
    fn measure(
        &self,
        target: Target,
        directory: &Path,
        generator: &mut Generator,
        mixes: &[Mix],
        duration: Duration,
    ) -> Result<Vec<Trial>> {
        std::fs::create_dir_all(directory)?;
        let mut serving = target.start(self.wire, directory, self.zones)?;
        let mut trials = Vec::new();
        for mix in mixes {
            generator.ask(mix, self.wire)?;
            self.wire.moderate(mix.by_socket)?;
            let rcode = (target != Target::Reflector).then_some(mix.rcode);
            self.wait(&mut serving, generator, rcode)?;
            // Threads that are there now: knotd has pinned its own to the first processor.
            self.wire.pin()?;
            let before = (serving.by_tcx()?, generator.counters()?[counter::REPLIES]);
            let mut trial = trial::run(self.wire, generator, duration)?;
            let after = (serving.by_tcx()?, generator.counters()?[counter::REPLIES]);
            trial.by_tcx = (after.0 - before.0) as f64 / (after.1 - before.1) as f64;
            trials.push(trial);
        }
        serving.stop(self.wire)?;
        Ok(trials)
    }

    /// Waits until nearly all is answered at a rate that anybody can.
    fn wait(
        &self,
        serving: &mut Serving,
        generator: &mut Generator,
        rcode: Option<usize>,
    ) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            serving.is_alive()?;
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted; all is cleaned up");
            }
            if trial::is_answering(self.wire, generator, rcode)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("it does not answer as it should within {START:?}; {}", serving.log());
            }
        }
    }
}
