//! The parts of a daemon, and what they do each second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::Notify;

use super::presented::Presented;
use super::ratelimit::RateLimiting;
use super::shared_plane::SharedPlane;
use super::source::Source;
use super::state::{Prepare, ZoneState};
use super::supervise::Pulse;
use super::trace::Traces;
use super::zones::Zones;
use crate::clock::Clock;
use crate::config::Config;
use crate::datapath::seam::DataPlane;
use crate::server::stats::SocketStats;
use crate::zone::Name;

/// Ticks after which memory is given back that reading large zones has taken: transfers are that, and what
/// chooses names of a zone that does not fit.
const REST_TICKS: u64 = 60;

/// A daemon. Each part has locks of its own, which are taken in the order of [`Rank`](super::locks::Rank); methods
/// may block.
pub struct Daemon {
    /// What is printed when all is served.
    pub(super) ready: &'static str,
    pub(super) plane: Arc<SharedPlane>,
    pub(super) presented: Arc<Presented>,
    pub(super) limits: Arc<RateLimiting>,
    pub(super) zones: Arc<Zones>,
    pub(super) traces: Traces,
    pub(super) stats: Arc<SocketStats>,
    pub(super) stop: Notify,
    /// Beaten by each tick.
    pub(super) pulse: Pulse,
    pub(super) clock: Clock,
    /// When it was, by the monotonic clock.
    pub(super) started: Instant,
    pub(super) ticks: AtomicU64,
}

impl Daemon {
    /// A daemon that has loaded nothing yet.
    pub fn new(
        source: Source,
        config: Config,
        plane: Box<dyn DataPlane>,
        prepare: Arc<dyn Prepare>,
        clock: Clock,
    ) -> Daemon {
        let states = config
            .zones()
            .map(|zone| (zone.name.clone(), ZoneState::new(zone.clone(), config.policy(zone))));
        let states: BTreeMap<Name, ZoneState> = states.collect();
        let plane = Arc::new(SharedPlane::new(plane));
        let presented = Arc::new(Presented::new(&config, &states, &plane, &clock));
        let stats: Arc<SocketStats> = Arc::default();
        let limits = RateLimiting::new(&config, &plane, presented.shared(), &stats, &clock);
        let limits = Arc::new(limits);
        Daemon {
            ready: source.ready,
            zones: Arc::new(Zones::new(
                source, config, states, prepare, &presented, &limits, &plane,
            )),
            traces: Traces::new(&plane, &clock),
            plane,
            presented,
            limits,
            stats,
            stop: Notify::new(),
            pulse: Pulse::new(),
            started: clock.monotonic(),
            clock,
            ticks: AtomicU64::new(0),
        }
    }

    /// What is done each second. Never waits for a change: the watchdog takes a tick that does not end for
    /// a daemon that hangs.
    pub(super) fn tick(&self) {
        // While a zone is published XDP keeps the time that it was told before.
        if let Some(mut plane) = self.plane.hold_if_free() {
            plane.tick();
            self.traces.tick(&mut **plane);
            self.plane.note(&**plane);
            self.zones.follow(&mut **plane);
        }
        self.limits.tick(self.clock.monotonic());
        if self.ticks.fetch_add(1, Relaxed) % REST_TICKS == REST_TICKS - 1 {
            self.zones.rest();
        }
        self.zones.exchange_secrets();
        self.pulse.beat();
    }
}
