//! The daemon: zones from files to what is served, and everything that changes it at run time.
//!
//! Start: the state directory is locked, sockets are bound and XDP is attached while we may; privileges are
//! given up; sockets are served and zones are loaded; "ready". From then on signals, the control socket and the clock
//! bring zones up to date, one change at a time, and a zone that cannot be loaded leaves its older
//! version serving.

mod cache;
pub mod cookies;
mod descriptors;
mod glance;
pub mod health;
pub mod locks;
pub mod prepare;
mod presented;
pub mod privileges;
pub mod ratelimit;
mod requests;
mod run;
pub mod serials;
mod serving;
pub mod signed;
pub mod signing;
pub mod startup;
pub mod state;
pub mod store;
mod supervise;
mod zones;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::Notify;
use xdp_common::cookie::Secret;

use crate::config::Config;
use crate::datapath::memory::FileMap;
use crate::datapath::seam::DataPlane;
use crate::server::Shared;
use crate::server::stats::Stats;
use crate::zone::Name;
use cookies::Secrets;
use glance::{GLANCE, Watched};
use locks::{Lock, Rank};
use presented::{manners, served};
use ratelimit::RateLimits;
pub use run::{OpenPlane, Source, run};
pub use serving::{hold_hangup, let_hangup_come};
use state::{Prepare, ZoneState};
use store::Store;
use supervise::Pulse;

/// Ticks after which memory is given back that reading large zones has taken: transfers are that, and what
/// chooses names of a zone that does not fit.
const REST_TICKS: u64 = 60;

/// The daemon's state. Methods may block. What the locks guard is said at [`Rank`], in whose order they
/// are taken.
pub struct Daemon {
    source: Source,
    config: Lock<Arc<Config>>,
    zones: Lock<BTreeMap<Name, ZoneState>>,
    plane: Lock<Box<dyn DataPlane>>,
    watched: Watched,
    shared: Arc<Shared>,
    stats: Arc<Stats>,
    prepare: Arc<dyn Prepare>,
    store: Store,
    secrets: Lock<Secrets>,
    /// The secret where none is configured: the same from start to end.
    random: Lock<Option<Secret>>,
    limits: Lock<RateLimits>,
    change: Lock<()>,
    stop: Notify,
    /// Zones that are loaded and that the sockets do not follow yet.
    unfollowed: Lock<Vec<Name>>,
    /// Beaten by each tick.
    pulse: Pulse,
    started: Instant,
    ticks: AtomicU64,
}

impl Daemon {
    /// A daemon that has loaded nothing yet.
    pub fn new(
        source: Source,
        config: Config,
        plane: Box<dyn DataPlane>,
        prepare: Arc<dyn Prepare>,
    ) -> Daemon {
        let zones = config
            .zones()
            .map(|zone| (zone.name.clone(), ZoneState::new(zone.clone(), config.policy(zone))));
        let zones: BTreeMap<Name, ZoneState> = zones.collect();
        let served = served(&config, &zones, &*plane, manners(&config, &zones, &Secrets::Off));
        Daemon {
            source,
            zones: Lock::new(Rank::Zones, zones),
            watched: Watched::new(&*plane),
            plane: Lock::new(Rank::Plane, plane),
            shared: Arc::new(Shared::new(served)),
            stats: Arc::default(),
            prepare,
            store: Store::new(config.server.state_dir.clone()),
            secrets: Lock::new(Rank::Secrets, Secrets::Off),
            random: Lock::new(Rank::Random, None),
            limits: Lock::new(Rank::Limits, RateLimits::new(&config)),
            config: Lock::new(Rank::Config, Arc::new(config)),
            change: Lock::new(Rank::Change, ()),
            stop: Notify::new(),
            unfollowed: Lock::new(Rank::Unfollowed, Vec::new()),
            pulse: Pulse::new(),
            started: Instant::now(),
            ticks: AtomicU64::new(0),
        }
    }

    /// What is done each second. Never waits for a change: the watchdog takes a tick that does not end for
    /// a daemon that hangs.
    fn tick(&self) {
        // While a zone is published XDP keeps the time that it was told before.
        if let Some(mut plane) = self.plane.hold_for(GLANCE) {
            plane.tick();
            self.watched.look(&**plane);
            self.follow(&mut **plane);
        }
        self.tick_limits(Instant::now());
        if self.ticks.fetch_add(1, Relaxed) % REST_TICKS == REST_TICKS - 1 {
            let zones = self.zones.hold();
            let loaded = zones.values().filter_map(|state| state.loaded.as_ref());
            loaded.flat_map(|loaded| &loaded.kept_in).for_each(FileMap::rest);
        }
        if matches!(*self.secrets.hold(), Secrets::Derived(..)) {
            self.exchange_secrets();
        }
        self.pulse.beat();
    }
}
