//! Tasks that go on, and the proof that they do.
//!
//! A panic in a task ends the task, not the daemon: what it was doing is lost, it is said in the log, and
//! the task is started again. A task that hangs shows no panic. So each task has a [`Pulse`], beaten by the
//! very task between two pieces of its work; the service manager is told that all is well only while every
//! pulse is fresh, and else starts the daemon again (`WatchdogSec=`, sd_notify(3)).

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often a task shows that it is not stuck.
const BEAT: Duration = Duration::from_secs(1);

/// How long a task that ended is waited with, at first and at most: a lasting fault shall neither take a
/// core nor fill the log.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(5)];

/// A task that ran for so long had not failed at its start: the next pause is a short one again.
const STEADY: Duration = Duration::from_secs(10);

/// Panics said in the log within a second: a query that makes one may come a million times.
const PANICS_SAID: u64 = 10;

/// When a task was last seen between two pieces of work.
#[derive(Clone)]
pub struct Pulse {
    started: Instant,
    beaten_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// A pulse that beats now.
    pub fn new() -> Pulse {
        Pulse { started: Instant::now(), beaten_ms: Arc::default() }
    }

    /// Beats.
    pub fn beat(&self) {
        self.beaten_ms.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    /// The task is over: nothing is expected of it.
    fn end(&self) {
        self.beaten_ms.store(ENDED, Relaxed);
    }

    fn has_ended(&self) -> bool {
        self.beaten_ms.load(Relaxed) == ENDED
    }

    /// How long ago it beat last.
    pub fn age(&self) -> Duration {
        let beaten = Duration::from_millis(self.beaten_ms.load(Relaxed));
        self.started.elapsed().saturating_sub(beaten)
    }

    /// Does `work`, and beats whenever it waits: not while it is stuck.
    async fn beat_during<T>(self, work: impl Future<Output = T>) -> T {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = beats.tick() => self.beat(),
            }
        }
    }
}

/// What stands in the place of a time once a task is over.
const ENDED: u64 = u64::MAX;

/// The pulses of all tasks that go on: some come and go while the daemon serves.
#[derive(Clone, Default)]
pub struct Pulses(Arc<Mutex<Vec<Pulse>>>);

impl Pulses {
    /// One more task.
    pub fn add(&self, pulse: Pulse) {
        self.0.lock().push(pulse);
    }

    /// Whether every task was seen within `period`.
    fn are_fresh(&self, period: Duration) -> bool {
        let mut pulses = self.0.lock();
        pulses.retain(|pulse| !pulse.has_ended());
        pulses.iter().all(|pulse| pulse.age() < period)
    }
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse::new()
    }
}

/// Runs the task that `make` makes until `stop` says true, and starts it again whenever it ends earlier, by
/// a panic too. `what` is the task's name in the log.
pub async fn keep_running<F>(
    what: String,
    pulse: Pulse,
    mut stop: watch::Receiver<bool>,
    mut make: impl FnMut() -> io::Result<F>,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut pause = PAUSES[0];
    loop {
        let started = Instant::now();
        let ended = match make() {
            Ok(task) => tokio::spawn(pulse.clone().beat_during(task)).await.map_err(|error| {
                if error.is_panic() {
                    "a fault of this program".to_owned()
                } else {
                    error.to_string()
                }
            }),
            Err(error) => Ok(Err(error)),
        };
        if *stop.borrow() {
            pulse.end();
            return;
        }
        let why = match ended {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(why) => why,
        };
        if started.elapsed() >= STEADY {
            pause = PAUSES[0];
        }
        tracing::error!("{what} is started again: {why}");
        let stopped = stop.wait_for(|stop| *stop);
        if tokio::time::timeout(pause, stopped).await.is_ok() {
            pulse.end();
            return;
        }
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// Has panics said in the log, in place of lines of their own on stderr.
pub fn log_panics() {
    let started = Instant::now();
    let (second, count) = (AtomicU64::new(0), AtomicU64::new(0));
    std::panic::set_hook(Box::new(move |panic| {
        let now = started.elapsed().as_secs();
        if second.swap(now, Relaxed) != now {
            count.store(0, Relaxed);
        }
        if count.fetch_add(1, Relaxed) >= PANICS_SAID {
            return;
        }
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        tracing::error!(
            "a fault of this program, please report it: thread {thread}: {panic}{trace}"
        );
    }));
}

/// Tells the service manager that the daemon is alive, if it wants to know.
pub struct Watchdog {
    /// How long the service manager waits.
    period: Option<Duration>,
    pulses: Pulses,
}

impl Watchdog {
    /// A watchdog for the tasks with these pulses, as the service manager says (`WATCHDOG_USEC`).
    pub fn new(pulses: Pulses) -> Watchdog {
        let mut micros = 0;
        let is_wanted = sd_notify::watchdog_enabled(false, &mut micros) && micros > 0;
        Watchdog { period: is_wanted.then(|| Duration::from_micros(micros)), pulses }
    }

    /// How often to call [`Watchdog::ping`]: thrice in the time that the service manager waits.
    pub fn interval(&self) -> Duration {
        self.period.map_or(BEAT, |period| (period / 3).clamp(Duration::from_millis(1), BEAT))
    }

    /// Says that all is well if no task is stuck.
    pub fn ping(&self) {
        let Some(period) = self.period else { return };
        if self.is_well(period) {
            notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// Whether every task was seen within `period`, or within the few beats that a shorter one has no room for.
    fn is_well(&self, period: Duration) -> bool {
        self.pulses.are_fresh(period.max(3 * BEAT))
    }
}

/// Tells the service manager.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!(%error, "telling the service manager failed");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    }

    #[test]
    fn a_task_is_started_again_however_it_ends() {
        runtime().block_on(async {
            let (stop, stopped) = watch::channel(false);
            let turns = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&turns);
            let make = move || {
                let turn = counted.fetch_add(1, Relaxed);
                if turn == 0 {
                    return Err(io::Error::other("it cannot be made"));
                }
                Ok(async move {
                    match turn {
                        1 => panic!("injected"),
                        2 => Err(io::Error::other("it failed")),
                        3 => Ok(()),
                        _ => std::future::pending().await,
                    }
                })
            };
            let kept = tokio::spawn(keep_running("a task".into(), Pulse::new(), stopped, make));
            while turns.load(Relaxed) < 5 {
                tokio::time::sleep(PAUSES[0]).await;
            }
            assert!(!kept.is_finished());
            kept.abort();
            drop(stop);
        });
    }

    #[test]
    fn who_is_told_to_stop_is_not_started_again() {
        runtime().block_on(async {
            let (stop, stopped) = watch::channel(false);
            let heard = stopped.clone();
            let make =
                move || {
                    let mut heard = heard.clone();
                    Ok(async move {
                        heard.wait_for(|stop| *stop).await.map(drop).map_err(io::Error::other)
                    })
                };
            let kept = tokio::spawn(keep_running("a task".into(), Pulse::new(), stopped, make));
            stop.send_replace(true);
            kept.await.expect("it ended");
        });
    }

    #[test]
    fn a_task_that_is_stuck_is_not_called_well() {
        // Two pulses of one age, of which one beats.
        let old = Instant::now()
            .checked_sub(Duration::from_secs(60))
            .expect("the machine is up that long");
        let pulse = || Pulse { started: old, beaten_ms: Arc::default() };
        let (first, second) = (pulse(), pulse());
        let watchdog = Watchdog { period: None, pulses: Pulses::default() };
        [&first, &second].into_iter().for_each(|one| watchdog.pulses.add(one.clone()));
        let period = Duration::from_secs(30);
        assert!(!watchdog.is_well(period));
        first.beat();
        assert!(!watchdog.is_well(period));
        second.beat();
        assert!(watchdog.is_well(period));
        // One that is over is not waited for.
        watchdog.pulses.add(pulse());
        assert!(!watchdog.is_well(period));
        let over = pulse();
        over.end();
        let watchdog = Watchdog { period: None, pulses: Pulses::default() };
        watchdog.pulses.add(over);
        assert!(watchdog.is_well(period));
    }

    #[test]
    fn a_pulse_beats_beside_work_that_waits() {
        let pulse =
            Pulse { started: Instant::now(), beaten_ms: Arc::new(AtomicU64::new(u64::MAX - 1)) };
        let seen = pulse.clone();
        runtime().block_on(pulse.clone().beat_during(async move {
            while seen.beaten_ms.load(Relaxed) == u64::MAX - 1 {
                tokio::time::sleep(PAUSES[0]).await;
            }
        }));
    }
}
