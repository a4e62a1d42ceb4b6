//! `sealdns stats`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;

use super::output::{CommandResult, Exit, Output, table};
use super::{Global, PATIENCE};
use crate::control::protocol::Request;
use crate::observe::Snapshot;

/// What to show of the counters.
#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Show the counters again every SECONDS seconds, with the rate of each
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// Show counters that are zero as well
    #[arg(long)]
    all: bool,
}

type Counters = BTreeMap<String, u64>;

/// Shows them, once or until interrupted.
pub fn run(args: &StatsArgs, global: &Global, output: &Output) -> CommandResult {
    let mut before: Option<(Instant, Counters)> = None;
    loop {
        let snapshot: Snapshot = global.call(&Request::Stats, PATIENCE)?;
        let at = Instant::now();
        let counters: Counters = snapshot.named().into_iter().collect();
        output.data(&snapshot, |_| {
            let last = before.as_ref().map(|(then, counters)| {
                (at.duration_since(*then).as_secs_f64().max(1e-3), counters)
            });
            text(&counters, last, args.all)
        });
        let Some(seconds) = args.watch else { return Ok(Exit::Ok) };
        before = Some((at, counters));
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

fn text(counters: &Counters, last: Option<(f64, &Counters)>, all: bool) -> String {
    let rows = counters.iter().filter(|(_, count)| all || **count > 0).map(|(name, count)| {
        let mut row = vec![name.clone(), count.to_string()];
        if let Some((seconds, before)) = last {
            let more = count.saturating_sub(before.get(name).copied().unwrap_or(0));
            row.push(format!("{:.1}/s", more as f64 / seconds));
        }
        row
    });
    let shown = table(&["counter", "count", if last.is_some() { "rate" } else { "" }], rows);
    if shown.is_empty() { "all counters are zero\n".into() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{KernelCounters, ProgramCounters};
    use xdp_common::Outcome;

    fn counters(positive: u64) -> Counters {
        let mut xdp = ProgramCounters::default();
        xdp.outcomes[Outcome::Positive] = positive;
        let kernel = KernelCounters { xdp: Some(xdp), tcx: None };
        Snapshot { kernel, ..Snapshot::default() }.named().into_iter().collect()
    }

    #[test]
    fn rates_are_differences_by_time() {
        let (before, after) = (counters(10), counters(30));
        let shown = text(&after, Some((2.0, &before)), false);
        assert!(shown.contains("xdp.positive") && shown.contains("10.0/s"), "{shown}");
        assert!(!shown.contains("xdp.miss"), "{shown}");
        assert!(text(&after, None, true).contains("xdp.miss"));
    }
}
