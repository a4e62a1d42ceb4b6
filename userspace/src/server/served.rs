//! What is served right now, and the place where it is exchanged whole.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use ipnet::IpNet;
use xdp_common::maps;

use super::zones::{ServedZone, Zones};
use crate::compile::Engine;
use crate::ratelimit::limiter::Limiter;
use crate::transfer::notified::NotifiedZones;
use crate::transfer::tsig::Keys;
use crate::transfer::update::WaitingUpdates;
use crate::zone::{Name, name};

/// What is served at one moment; a change makes a new one.
pub struct Served {
    pub(super) engine: Arc<dyn Engine>,
    zones: Zones,
    /// Whether one of them could not be loaded.
    pub(super) lacks_zones: bool,
    pub(super) settings: ResponseSettings,
}

/// How the server presents itself.
#[derive(Clone, Debug)]
pub struct ResponseSettings {
    /// What id.server says in class CH; `None`: refused.
    pub identity: Option<String>,
    /// What version.server says in class CH; `None`: refused.
    pub version: Option<String>,
    /// The largest UDP response in octets.
    pub udp_payload: usize,
    /// What options of responses say, and whether names of no zone are refused: as XDP is told.
    pub edns: maps::EdnsSettings,
    /// The keys that are shared with other servers.
    pub tsig_keys: Arc<Keys>,
    /// Where zones are noted of which a primary says that there is a newer version.
    pub notified: Arc<NotifiedZones>,
    /// Where updates of clients wait to be done.
    pub updates: Arc<WaitingUpdates>,
}

impl Served {
    /// Puts together what is served.
    pub fn new(
        engine: Arc<dyn Engine>,
        zones: impl IntoIterator<Item = (Name, ServedZone)>,
        settings: ResponseSettings,
    ) -> Served {
        let zones = zones.into_iter().map(|(name, zone)| (name.as_wire().into(), Some(zone)));
        Served::of(engine, Zones::default().with(zones), settings)
    }

    /// The same with another engine and other options of responses, and with these zones in the place of
    /// what was served of them, or with `None` without them. `edns` is told whether one of all zones could not be loaded.
    pub fn with(
        &self,
        engine: Arc<dyn Engine>,
        zones: impl IntoIterator<Item = (Name, Option<ServedZone>)>,
        edns: impl FnOnce(bool) -> maps::EdnsSettings,
    ) -> Served {
        let zones = zones.into_iter().map(|(name, zone)| (name.as_wire().into(), zone));
        let zones = self.zones.with(zones);
        let edns = edns(zones.lacks_some());
        Served::of(engine, zones, ResponseSettings { edns, ..self.settings.clone() })
    }

    fn of(engine: Arc<dyn Engine>, zones: Zones, settings: ResponseSettings) -> Served {
        let lacks_zones = zones.lacks_some();
        Served { engine, zones, lacks_zones, settings }
    }

    /// The same with these keys that are shared with other servers.
    pub fn with_tsig_keys(mut self, keys: Arc<Keys>) -> Served {
        self.settings.tsig_keys = keys;
        self
    }

    /// The same, having updates of clients wait there.
    pub fn with_updates(mut self, updates: Arc<WaitingUpdates>) -> Served {
        self.settings.updates = updates;
        self
    }

    /// The same, noting there the zones of which a primary says that there is a newer version.
    pub fn with_notified(mut self, notified: Arc<NotifiedZones>) -> Served {
        self.settings.notified = notified;
        self
    }

    /// The keys that are shared with other servers.
    pub fn tsig_keys(&self) -> Arc<Keys> {
        Arc::clone(&self.settings.tsig_keys)
    }

    /// What options of responses say.
    pub fn edns(&self) -> maps::EdnsSettings {
        self.settings.edns
    }

    /// The zone with this lower-case apex.
    pub fn zone_at(&self, apex: &[u8]) -> Option<&ServedZone> {
        self.zones.get(apex)
    }

    /// The closest enclosing zone of a lower-case name.
    pub fn zone_of(&self, qname: &[u8]) -> Option<&ServedZone> {
        name::ancestors(qname).find_map(|apex| self.zones.get(apex))
    }
}

/// The place where what is served is exchanged whole.
pub struct Shared {
    served: RwLock<Arc<Served>>,
    limiter: Limiter,
    proxies: OnceLock<Vec<IpNet>>,
}

impl Shared {
    /// Starts with `served`, and limits nothing.
    pub fn new(served: Served) -> Shared {
        // Randomly keyed by the standard library, which needs no error here.
        let seed = RandomState::new().hash_one(0);
        Shared {
            served: RwLock::new(Arc::new(served)),
            limiter: Limiter::new(seed),
            proxies: OnceLock::new(),
        }
    }

    /// Who says of each query who has sent it. To be set before there are queries, and once.
    pub fn set_proxies(&self, proxies: Vec<IpNet>) {
        let _ = self.proxies.set(proxies);
    }

    /// Whether one at this address does so.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let proxies = self.proxies.get().map_or(&[][..], Vec::as_slice);
        proxies.iter().any(|proxies| proxies.contains(&address))
    }

    /// Who limits what is sent over UDP.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// What is served now. The lock is held for the copy of a pointer.
    pub fn get(&self) -> Arc<Served> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves `served` from the next message on.
    pub fn set(&self, served: Served) {
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }
}
