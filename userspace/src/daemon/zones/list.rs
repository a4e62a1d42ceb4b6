//! The zones of the configuration, and what they are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::daemon::catalogs::{CatalogSummary, Catalogs};
use crate::daemon::kept::PastVersion;
use crate::daemon::life::{Asked, Event, Moment};
use crate::daemon::listening::Listening;
use crate::daemon::locks::{Lock, LockGuard, Rank};
use crate::daemon::presented::Presented;
use crate::daemon::ratelimit::RateLimiting;
use crate::daemon::shared_plane::SharedPlane;
use crate::daemon::source::Source;
use crate::daemon::start_order::StartOrder;
use crate::daemon::state::{Incoming, Prepare, ReloadResult, ZoneState};
use crate::daemon::store::Store;
use crate::daemon::workers::Workers;
use crate::datapath::memory::FileMap;
use crate::zone::Name;

/// How long the sockets may be behind the data plane while many zones are loaded.
pub const REFRESH: Duration = Duration::from_millis(200);

/// Owner names from which on reading a zone leaves so much free memory behind that it is worth some
/// milliseconds to give it back.
pub(super) const LARGE_ZONE: usize = 50_000;

/// The zones of the configuration, the files that they are made of, and who is told when they change.
///
/// Each zone has its turn for itself, on one of a few threads ([`Workers`]); who only looks at zones waits for none.
pub struct Zones {
    pub(super) source: Source,
    pub(super) config: Lock<Arc<Config>>,
    pub(super) states: Lock<BTreeMap<Name, ZoneState>>,
    /// Zones that are loaded and that the sockets do not follow yet.
    pub(super) unfollowed: Lock<Vec<Name>>,
    /// When they followed last.
    pub(super) refreshed: Lock<Instant>,
    /// Held while the configuration is read and exchanged.
    pub(super) exchange: Lock<()>,
    /// Zones that were not tried yet, and who waits for all of them.
    pub(super) awaited: Lock<Awaited>,
    /// Which zones are served since catalogs list them.
    pub(super) catalogs: Lock<Catalogs>,
    /// Members that have left their catalogs, of which nothing is to be kept.
    pub(super) leaving: Lock<BTreeMap<Name, config::Zone>>,
    /// Zones that are being worked on: they stay here if they go from the configuration meanwhile.
    pub(super) turns: Lock<BTreeSet<Name>>,
    pub(super) workers: Workers,
    pub(super) prepare: Arc<dyn Prepare>,
    pub(super) store: Store,
    pub(super) plane: Arc<SharedPlane>,
    pub(super) presented: Arc<Presented>,
    pub(super) limits: Arc<RateLimiting>,
    pub(super) clock: Clock,
    /// The sockets, which a reload may open and close.
    pub listening: Listening,
}

/// Zones that were not tried yet.
#[derive(Default)]
pub struct Awaited {
    /// In which order they may be.
    pub(super) order: StartOrder,
    /// Each is dropped once all have been.
    pub(super) waiting: Vec<Sender<()>>,
}

/// The turn of a zone: what its thread is to do.
pub struct Turn {
    /// The zone.
    pub(super) name: Name,
    /// Which zone of that name.
    pub(super) identity: Arc<()>,
    /// What happens.
    pub(super) event: Event,
    /// What was asked for, if that is why it happens.
    pub(super) asked: Option<Asked>,
    /// The version whose records are to be served instead of the file's, if that was asked for.
    pub(super) instead: Option<PastVersion>,
    /// What has come from a primary, if that is why it happens.
    pub(super) incoming: Option<Incoming>,
    /// The updates of clients that it is for, each with the response code if it is done, and where that is told.
    pub(super) updates: Vec<(u16, oneshot::Sender<u16>)>,
    /// Who waits for it.
    pub(super) waiting: Vec<Sender<ReloadResult>>,
}

impl Turn {
    /// What is known of the zone, unless it is not configured any more.
    pub(super) fn state<'s>(
        &self,
        states: &'s mut BTreeMap<Name, ZoneState>,
    ) -> Option<&'s mut ZoneState> {
        let state = states.get_mut(&self.name)?;
        Arc::ptr_eq(&state.work.identity, &self.identity).then_some(state)
    }
}

impl Zones {
    /// Zones that are not loaded yet, as they are presented.
    pub fn new(
        source: Source,
        config: Config,
        states: BTreeMap<Name, ZoneState>,
        prepare: Arc<dyn Prepare>,
        presented: &Arc<Presented>,
        limits: &Arc<RateLimiting>,
        plane: &Arc<SharedPlane>,
    ) -> Zones {
        Zones {
            source,
            states: Lock::new(Rank::Zones, states),
            unfollowed: Lock::new(Rank::Unfollowed, Vec::new()),
            refreshed: Lock::new(Rank::Unfollowed, Instant::now()),
            exchange: Lock::new(Rank::Exchange, ()),
            awaited: Lock::new(Rank::Awaited, Awaited::default()),
            catalogs: Lock::new(Rank::Catalogs, Catalogs::default()),
            leaving: Lock::new(Rank::Leaving, BTreeMap::new()),
            turns: Lock::new(Rank::Turns, BTreeSet::new()),
            workers: Workers::new(),
            prepare,
            listening: Listening::new(),
            store: Store::new(config.server.state_dir.clone()),
            config: Lock::new(Rank::Config, Arc::new(config)),
            plane: Arc::clone(plane),
            presented: Arc::clone(presented),
            limits: Arc::clone(limits),
            clock: presented.clock().clone(),
        }
    }

    /// What the clocks show.
    pub fn now(&self) -> Moment {
        Moment { wall: self.clock.wall().signature_time(), tick: self.clock.monotonic() }
    }

    /// What is known of each.
    pub fn states(&self) -> LockGuard<'_, BTreeMap<Name, ZoneState>> {
        self.states.hold()
    }

    /// What is known of a catalog whose members are served.
    pub fn catalog(&self, name: &Name) -> CatalogSummary {
        self.catalogs.hold().summary(name)
    }

    /// The configuration in effect.
    pub fn config(&self) -> Arc<Config> {
        self.config.hold().clone()
    }

    /// Gives back the memory that reading large zones has taken.
    pub fn rest(&self) {
        let states = self.states.hold();
        let loaded = states.values().filter_map(|state| state.loaded.as_ref());
        loaded.flat_map(|loaded| &loaded.kept_in).for_each(FileMap::rest);
    }
}
