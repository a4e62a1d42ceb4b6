//! The zones of the configuration, and what they are made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::reply::zone::VersionDifference;
use crate::daemon::locks::{Lock, LockGuard, Rank};
use crate::daemon::presented::Presented;
use crate::daemon::ratelimit::RateLimiting;
use crate::daemon::shared_plane::SharedPlane;
use crate::daemon::source::Source;
use crate::daemon::state::{Prepare, ZoneState};
use crate::daemon::store::Store;
use crate::datapath::memory::FileMap;
use crate::zone::Name;

/// How long to wait after a failure to sign again, at most: seldom enough not to fill the log.
pub(super) const RESIGN_RETRY_SECONDS: u32 = 3600;

/// How long the sockets may be behind the data plane while many zones are loaded.
pub const REFRESH: Duration = Duration::from_secs(1);

/// Owner names from which on reading a zone leaves so much free memory behind that it is worth some
/// milliseconds to give it back.
pub(super) const LARGE_ZONE: usize = 50_000;

/// What became of one zone in a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadResult {
    Unchanged,
    /// How it differs from the version before, if there was one.
    Loaded(Option<VersionDifference>),
    Removed,
    Failed(String),
}

/// The zones of the configuration, the files that they are made of, and who is told when they change.
///
/// One change at a time; who only looks at zones waits for none.
pub struct Zones {
    pub(super) source: Source,
    pub(super) config: Lock<Arc<Config>>,
    pub(super) states: Lock<BTreeMap<Name, ZoneState>>,
    /// Zones that are loaded and that the sockets do not follow yet.
    pub(super) unfollowed: Lock<Vec<Name>>,
    pub(super) change: Lock<()>,
    pub(super) prepare: Arc<dyn Prepare>,
    pub(super) store: Store,
    pub(super) plane: Arc<SharedPlane>,
    pub(super) presented: Arc<Presented>,
    pub(super) limits: Arc<RateLimiting>,
    pub(super) clock: Clock,
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
            change: Lock::new(Rank::Change, ()),
            prepare,
            store: Store::new(config.server.state_dir.clone()),
            config: Lock::new(Rank::Config, Arc::new(config)),
            plane: Arc::clone(plane),
            presented: Arc::clone(presented),
            limits: Arc::clone(limits),
            clock: presented.clock().clone(),
        }
    }

    /// What is known of each.
    pub fn states(&self) -> LockGuard<'_, BTreeMap<Name, ZoneState>> {
        self.states.hold()
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
