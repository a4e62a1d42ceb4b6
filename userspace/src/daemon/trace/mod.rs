//! One trace at a time: begun by a command, which reads its lines until its time is up or the command has gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use xdp_common::Outcome;
use xdp_common::trace::Filter;

use super::locks::{Lock, Rank};
use super::shared_plane::SharedPlane;
use crate::clock::Clock;
use crate::control::protocol::{Failure, TraceChoice};
use crate::control::reply::xdp::{XdpTraceRead, XdpTraceStarted};
use crate::datapath::seam::{DataPlane, TraceLines, TraceRead};

/// The longest trace: programs that trace are slower.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long a command may leave lines unread before it is taken to be gone: it reads some times a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a trace has ended.
const TIME_IS_UP: &str = "its time is up";
const STOPPED: &str = "the command has ended it";
const CLIENT_GONE: &str = "the command that read it is gone";
const REPLACED: &str =
    "its programs are gone: XDP was detached, or zones have outgrown the maps; trace again";

/// The trace that goes on, or the one that was last.
pub struct Traces {
    clock: Clock,
    plane: Arc<SharedPlane>,
    last: Lock<Option<Trace>>,
}

struct Trace {
    number: u64,
    lines: Arc<dyn TraceLines>,
    began: Instant,
    until: Instant,
    read_at: Instant,
    /// Why it has ended, if it has.
    ended: Option<&'static str>,
}

impl Trace {
    /// Why it is to end now, if it is.
    fn due(&self, now: Instant) -> Option<&'static str> {
        if now >= self.until {
            Some(TIME_IS_UP)
        } else if now.duration_since(self.read_at) >= PATIENCE {
            Some(CLIENT_GONE)
        } else {
            None
        }
    }

    /// Ends it, unless that was done.
    fn end(&mut self, plane: &mut dyn DataPlane, why: &'static str, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        let why = if plane.is_tracing() { why } else { REPLACED };
        if let Err(error) = plane.end_trace() {
            tracing::error!("xdp trace: the programs that do not trace are not back: {error:#}");
        }
        tracing::info!(
            "xdp trace: ended after {} s: {why}",
            now.duration_since(self.began).as_secs()
        );
        self.ended = Some(why);
    }

    fn follow(&mut self, plane: &mut dyn DataPlane, now: Instant) {
        let why = if plane.is_tracing() { self.due(now) } else { Some(REPLACED) };
        if let Some(why) = why {
            self.end(plane, why, now);
        }
    }
}

impl Traces {
    /// None yet.
    pub fn new(plane: &Arc<SharedPlane>, clock: &Clock) -> Traces {
        Traces {
            clock: clock.clone(),
            plane: Arc::clone(plane),
            last: Lock::new(Rank::Trace, None),
        }
    }

    /// Begins one, if none goes on.
    pub fn start(&self, choice: &TraceChoice) -> Result<XdpTraceStarted, Failure> {
        let (duration, filter) = filter_of(choice)?;
        let mut plane = self.plane.hold_soon()?;
        let mut last = self.last.hold();
        if let Some(trace) = &mut *last {
            trace.follow(&mut **plane, self.clock.monotonic());
        }
        if let Some(going_on) = last.as_ref().filter(|trace| trace.ended.is_none()) {
            let left = going_on.until.saturating_duration_since(self.clock.monotonic());
            let left = left.as_millis().div_ceil(1000);
            return Err(failure(format!("another trace goes on, for {left} s more"))
                .with_hint("one at a time: ask again then"));
        }
        let lines = plane.begin_trace(filter, duration);
        let lines = lines.map_err(|error| failure(format!("{error:#}")))?;
        let (number, now) =
            (last.as_ref().map_or(1, |trace| trace.number + 1), self.clock.monotonic());
        let (began, until) = (now, now + duration);
        *last = Some(Trace { number, lines, began, until, read_at: now, ended: None });
        Ok(XdpTraceStarted { trace: number })
    }

    /// Reads the lines of one, and ends it if that is asked for or due.
    pub fn read(&self, number: u64, stop: bool) -> Result<XdpTraceRead, Failure> {
        let now = self.clock.monotonic();
        let unknown = || failure(format!("there is no trace {number} any more"));
        let (lines, due) = {
            let mut last = self.last.hold();
            let trace = last.as_mut().filter(|trace| trace.number == number).ok_or_else(unknown)?;
            let due = if stop { Some(STOPPED) } else { trace.due(now) };
            trace.read_at = now;
            (Arc::clone(&trace.lines), due)
        };
        if let Some(why) = due
            && let Some(mut plane) = self.plane.hold_if_free()
            && let Some(trace) = self.last.hold().as_mut().filter(|trace| trace.number == number)
        {
            trace.end(&mut **plane, why, now);
        }
        let ended = {
            let last = self.last.hold();
            let trace = last.as_ref().filter(|trace| trace.number == number).ok_or_else(unknown)?;
            // Where a zone is being published, programs go on tracing without a line until that is done.
            trace.ended.or(due)
        };
        // Behind the end, so that nothing is left.
        let read = lines.read().map_err(|error| failure(format!("{error:#}")))?;
        let TraceRead { lines, lost } = read;
        Ok(XdpTraceRead { lines, lost, ended: ended.map(str::to_owned) })
    }

    /// Ends one whose time is up or that nobody reads. To be called each second.
    pub fn tick(&self, plane: &mut dyn DataPlane) {
        if let Some(trace) = self.last.hold().as_mut().filter(|trace| trace.ended.is_none()) {
            trace.follow(plane, self.clock.monotonic());
        }
    }
}

/// What is asked for, as the programs are told it, all but when it ends; and how long it takes.
fn filter_of(choice: &TraceChoice) -> Result<(Duration, Filter), Failure> {
    let duration = Duration::from_secs(choice.seconds.into());
    if duration.is_zero() || duration > LONGEST {
        return Err(failure(format!(
            "a trace of {} s is not possible: choose 1 s to {} s",
            choice.seconds,
            LONGEST.as_secs()
        )));
    }
    if choice.sample == 0 {
        return Err(failure(
            "a sample of 1/0 has no packets: write 1/1 for all packets".to_owned(),
        ));
    }
    let mut outcomes = 0;
    for word in &choice.outcomes {
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.word() == word);
        let outcome = outcome.ok_or_else(|| failure(format!("there is no outcome {word:?}")))?;
        outcomes |= 1 << outcome.index();
    }
    let (client, client_mask) = choice
        .client
        .map_or(([0; 2], [0; 2]), |client| Filter::prefix(client.addr(), client.prefix_len()));
    let filter = Filter {
        outcomes: if choice.outcomes.is_empty() { u64::MAX } else { outcomes },
        client,
        client_mask,
        sample: choice.sample,
        ..Filter::new()
    };
    Ok((duration, filter))
}

fn failure(message: String) -> Failure {
    Failure::new("trace", message)
}

#[cfg(test)]
mod tests;
