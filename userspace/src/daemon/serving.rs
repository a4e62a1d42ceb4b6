//! The daemon from its first answer to its end: tasks that serve sockets, jobs that change zones, signals.
//!
//! Sockets are served before zones are loaded, so that each zone is served as soon as it is there; what is
//! configured and not loaded yet is SERVFAIL with the extended error 14, "Not Ready" (RFC 8914 section
//! 4.15), and never REFUSED, for which a resolver would look elsewhere. "ready" is said once, when every zone
//! has been tried: who waits for it sends traffic here. Zones that are served then as they were when the daemon ran
//! last are brought up to date behind it.

use std::future::pending;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal as SignalNumber};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, interval_at};

use super::listening::SocketParts;
use super::notifying;
use super::parts::Daemon;
use super::run::Sockets;
use super::secondary::Rounds;
use super::state::ReloadResult;
use super::supervise::{Pulse, Pulses, Watchdog, keep_running, notify};
use super::zones::Zones;
use crate::clock::monotonic_us;
use crate::config;
use crate::control::socket;
use crate::server::tcp;
use crate::transfer::update::WaitingUpdates;

/// How often the clock is looked at, for signing again and for XDP's idea of the time.
const TICK: Duration = Duration::from_secs(1);

/// How much longer the service manager is asked to wait, at each tick, while zones are loaded.
const MORE_TIME: Duration = Duration::from_secs(30);

/// The signals that the daemon follows.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// Keeps SIGHUP until somebody can follow it: by default it would end a daemon that is starting. To be
/// called first of all.
pub fn hold_hangup() {
    let _ = hangup().thread_block();
}

/// Lets SIGHUP come, one that came meanwhile first.
pub fn let_hangup_come() {
    let _ = hangup().thread_unblock();
}

fn hangup() -> SigSet {
    SigSet::from(SignalNumber::SIGHUP)
}

impl Signals {
    fn hear() -> std::io::Result<Signals> {
        let signals = Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let_hangup_come();
        Ok(signals)
    }
}

/// Work that blocks, of which there is one at a time.
#[derive(Default)]
struct Job(Option<JoinHandle<()>>);

impl Job {
    fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    fn start(&mut self, daemon: &Arc<Daemon>, work: fn(&Daemon)) {
        let daemon = Arc::clone(daemon);
        self.0 = Some(tokio::task::spawn_blocking(move || work(&daemon)));
    }

    /// Waits until the work is done; for ever if there is none. A panic was said where it happened, and
    /// leaves the job free for its next turn.
    async fn ended(&mut self) {
        match &mut self.0 {
            Some(running) => {
                let _ = running.await;
                self.0 = None;
            }
            None => pending().await,
        }
    }
}

/// Has zones have a turn when updates wait for them.
async fn hand_on_updates(
    zones: Arc<Zones>,
    updates: Arc<WaitingUpdates>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    loop {
        tokio::select! {
            _ = stop.changed() => return Ok(()),
            () = updates.come() => {}
        }
        let zones = Arc::clone(&zones);
        let _ = tokio::task::spawn_blocking(move || zones.note_updates()).await;
    }
}

impl Daemon {
    /// Serves and loads the zones until told to stop, then gives open connections `drain` to finish.
    pub(super) async fn serve(
        self: &Arc<Daemon>,
        sockets: Sockets,
        drain: Duration,
    ) -> anyhow::Result<()> {
        let signals = Signals::hear()?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let pulses = Pulses::default();
        pulses.add(self.serve_control(sockets.control, &mut tasks, &stopped));
        let proxies = self.zones.config().server.proxy_from.iter().map(|prefix| prefix.0).collect();
        self.presented.shared().set_proxies(proxies);
        let parts = SocketParts {
            shared: Arc::clone(self.presented.shared()),
            stats: Arc::clone(&self.stats),
            limits: connection_limits(&self.zones.config().server),
            pulses: pulses.clone(),
        };
        self.zones.listening.start(sockets.dns, parts)?;
        let notified = Arc::clone(self.presented.notified());
        let (zones, stop_asking) = (Arc::clone(&self.zones), stopped.clone());
        let rounds = move || Ok(Rounds::new(&zones, &notified).go_on(stop_asking.clone()));
        let what = "the task that asks primaries".to_owned();
        let pulse = Pulse::new();
        tasks.spawn(keep_running(what, pulse.clone(), stopped.clone(), rounds));
        pulses.add(pulse);
        let (zones, updates) = (Arc::clone(&self.zones), Arc::clone(self.presented.updates()));
        let stop_updating = stopped.clone();
        let handed_on = move || {
            Ok(hand_on_updates(Arc::clone(&zones), Arc::clone(&updates), stop_updating.clone()))
        };
        let what = "the task that hands on updates".to_owned();
        let pulse = Pulse::new();
        tasks.spawn(keep_running(what, pulse.clone(), stopped.clone(), handed_on));
        pulses.add(pulse);
        pulses.add(self.serve_notify(&mut tasks, &stopped));
        self.until_told(signals, pulses).await;

        notify(&[NotifyState::Stopping]);
        tracing::info!("stopping");
        // First XDP, so that from here on queries that still come are answered by the sockets or by
        // another server of the address. A change that is being published holds the data plane;
        // what is attached and not pinned when the process ends is detached by the kernel.
        let daemon = Arc::clone(self);
        let end = tokio::task::spawn_blocking(move || daemon.plane.hold().end());
        match tokio::time::timeout(drain, end).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!("detaching XDP: {error:#}"),
            Ok(Err(error)) => tracing::error!("detaching XDP: {error}"),
            Err(_) => tracing::warn!("XDP is being changed, and is detached when the process ends"),
        }
        stop.send_replace(true);
        let finished = tokio::time::timeout(drain, async {
            self.zones.listening.end().await;
            while tasks.join_next().await.is_some() {}
        });
        if finished.await.is_err() {
            tracing::warn!("connections were cut off: `shutdown-timeout` has passed");
        }
        Ok(())
    }

    fn serve_control(
        self: &Arc<Daemon>,
        listener: std::os::unix::net::UnixListener,
        tasks: &mut JoinSet<()>,
        stopped: &watch::Receiver<bool>,
    ) -> Pulse {
        let daemon = Arc::clone(self);
        let handler: socket::Handler = Arc::new(move |request| daemon.handle(request));
        let (pulse, stop) = (Pulse::new(), stopped.clone());
        // A task that is started again needs the socket once more: it is given a copy of the descriptor.
        let make =
            move || Ok(socket::serve(listener.try_clone()?, Arc::clone(&handler), stop.clone()));
        let what = "the control socket".to_owned();
        tasks.spawn(keep_running(what, pulse.clone(), stopped.clone(), make));
        pulse
    }

    fn serve_notify(
        self: &Arc<Daemon>,
        tasks: &mut JoinSet<()>,
        stopped: &watch::Receiver<bool>,
    ) -> Pulse {
        let presented = Arc::clone(&self.presented);
        let (pulse, stop) = (Pulse::new(), stopped.clone());
        let make = move || {
            let (notifier, shared) = (presented.notifier(), presented.shared());
            let clock = presented.clock().clone();
            Ok(notifying::serve(Arc::clone(notifier), Arc::clone(shared), clock, stop.clone()))
        };
        let what = "the socket that NOTIFY is sent from".to_owned();
        tasks.spawn(keep_running(what, pulse.clone(), stopped.clone(), make));
        pulse
    }

    /// Loads the zones, and follows signals and the clock, until told to stop.
    async fn until_told(self: &Arc<Daemon>, signals: Signals, pulses: Pulses) {
        let Signals { mut hangup, mut terminate, mut interrupt } = signals;
        self.pulse.beat();
        pulses.add(self.pulse.clone());
        let watchdog = Watchdog::new(pulses);
        let mut ticks = interval_at((Instant::now() + TICK).into(), TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = interval(watchdog.interval());
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let [mut loading, mut reloading, mut ticking] = <[Job; 3]>::default();
        loading.start(self, |daemon| daemon.zones.load_all());
        let mut wants_reload = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                () = self.stop.notified() => return,
                // However often it comes: one reload goes on, and one follows it.
                _ = hangup.recv() => wants_reload = true,
                () = loading.ended() => {
                    self.say_ready();
                }
                () = reloading.ended() => {}
                () = ticking.ended() => {}
                _ = pings.tick() => watchdog.ping(),
                _ = ticks.tick() => {
                    self.presented.notified().wake();
                    if ticking.is_idle() {
                        ticking.start(self, |daemon| {
                            daemon.zones.live();
                            daemon.tick();
                        });
                    }
                    if !loading.is_idle() {
                        self.say_progress();
                    }
                }
            }
            if wants_reload && reloading.is_idle() {
                wants_reload = false;
                // The service manager takes "ready" after a reload for "ready" after the start.
                match loading.is_idle() {
                    true => reloading.start(self, Daemon::reload_as_service),
                    false => reloading.start(self, Daemon::reload_on_signal),
                }
            }
        }
    }

    /// Every zone has been tried.
    fn say_ready(&self) {
        let (total, lacking) = {
            let zones = self.zones.states();
            (zones.len(), zones.values().filter(|zone| zone.loaded.is_none()).count())
        };
        let status = match lacking {
            0 => format!("zones: {total}"),
            _ => format!("zones: {total}, not served: {lacking}"),
        };
        tracing::info!("every zone has been tried; {status}");
        notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        let _ = writeln!(std::io::stderr(), "{}", self.ready);
    }

    /// Zones are being loaded.
    fn say_progress(&self) {
        let (tried, total) = {
            let zones = self.zones.states();
            (zones.values().filter(|zone| !zone.is_loading()).count(), zones.len())
        };
        let status = format!("loading zones: {tried} of {total}");
        if self.ticks.load(Relaxed).is_multiple_of(PROGRESS_TICKS) {
            tracing::info!("{status}");
        }
        let more = NotifyState::ExtendTimeoutUsec(MORE_TIME.as_micros() as u32);
        notify(&[NotifyState::Status(&status), more]);
    }

    fn reload_as_service(&self) {
        notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(monotonic_us())]);
        self.reload_on_signal();
        notify(&[NotifyState::Ready]);
    }

    fn reload_on_signal(&self) {
        match self.zones.reload() {
            Ok(changes) => {
                let failed =
                    changes.values().filter(|change| matches!(change, ReloadResult::Failed(_)));
                tracing::info!(zones = changes.len(), failed = failed.count(), "reloaded");
            }
            Err(failure) => tracing::error!("not reloaded: {failure}"),
        }
    }
}

fn connection_limits(server: &config::Server) -> tcp::ConnectionLimits {
    tcp::ConnectionLimits {
        idle_timeout: server.tcp_idle_timeout.duration(),
        write_timeout: server.tcp_write_timeout.duration(),
        connections: server.tcp_connections.get(),
        connections_per_client: server.tcp_connections_per_client.get(),
    }
}

/// Ticks between two lines of the log that say how far loading is.
const PROGRESS_TICKS: u64 = 10;
