//! What is presented: to the sockets the zones that are served, to them and to XDP what is said beside records.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use xdp_common::cookie::Secret;
use xdp_common::maps;

use super::cookies::{self, Secrets};
use super::locks::{Lock, Rank};
use super::notifying::{NewSerial, Notifier};
use super::shared_plane::SharedPlane;
use super::state::ZoneState;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::datapath::seam::DataPlane;
use crate::server::{ResponseSettings, Served, ServedZone, Shared};
use crate::transfer::access::TransferAccess;
use crate::transfer::axfr;
use crate::transfer::notified::{NotifiedZones, NotifySources};
use crate::transfer::tsig::{Key, Keys};
use crate::transfer::update::WaitingUpdates;
use crate::zone::Name;

/// What the sockets serve, and what XDP is told beside zones.
///
/// It is made anew from all that the daemon knows, and handed over whole: the side of the sockets takes no lock of
/// the daemon's and sees no key.
pub struct Presented {
    shared: Arc<Shared>,
    notified: Arc<NotifiedZones>,
    updates: Arc<WaitingUpdates>,
    clock: Clock,
    secrets: Lock<HeldSecrets>,
    notifier: Arc<Notifier>,
}

/// What nobody else is to know.
struct HeldSecrets {
    /// The secrets of DNS cookies.
    used: Secrets,
    /// The secret where none is configured: the same from start to end.
    random: Option<Secret>,
    /// The keys that are shared with other servers.
    tsig_keys: Arc<Keys>,
}

/// What the sockets do not follow yet.
#[derive(Clone, Copy)]
pub enum RefreshScope<'a> {
    /// The configuration, and any zone.
    All,
    /// These zones, which may be gone.
    Zones(&'a [&'a Name]),
}

impl Presented {
    /// Presents zones that are not loaded yet, without cookies.
    pub fn new(
        config: &Config,
        zones: &BTreeMap<Name, ZoneState>,
        plane: &Arc<SharedPlane>,
        clock: &Clock,
    ) -> Presented {
        let edns = edns_settings(config, !zones.is_empty(), &Secrets::Off, clock);
        let served = served(config, zones, &**plane.hold(), edns);
        let notified: Arc<NotifiedZones> = Arc::default();
        let updates: Arc<WaitingUpdates> = Arc::default();
        let served = served.with_notified(Arc::clone(&notified)).with_updates(Arc::clone(&updates));
        Presented {
            shared: Arc::new(Shared::new(served)),
            notified,
            updates,
            clock: clock.clone(),
            secrets: Lock::new(
                Rank::Secrets,
                HeldSecrets { used: Secrets::Off, random: None, tsig_keys: Arc::default() },
            ),
            notifier: Arc::new(Notifier::new()),
        }
    }

    /// What the sockets are given.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Who tells other servers of new serials.
    pub fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }

    /// The clock that cookies are made by, and all that the daemon does.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    //--- Secrets of cookies

    /// Takes the secrets of DNS cookies from where a configuration says, which was read from `path`. On an error the
    /// old ones stay. They are used once the sockets follow.
    pub fn load_secrets(&self, path: &Path, section: &config::Cookies) -> anyhow::Result<()> {
        if section.secret.is_some() {
            warn_if_open(path);
        }
        let random = {
            let mut secrets = self.secrets.hold();
            match secrets.random {
                Some(random) => random,
                None => *secrets.random.insert(cookies::random()?),
            }
        };
        let used = Secrets::load(section, random)?;
        self.secrets.hold().used = used;
        Ok(())
    }

    /// The key of this name that is shared with other servers.
    pub fn tsig_key(&self, name: &Name) -> Option<Arc<Key>> {
        self.secrets.hold().tsig_keys.get(name).cloned()
    }

    /// Zones of which a primary has said that there is a newer version.
    pub fn notified(&self) -> &Arc<NotifiedZones> {
        &self.notified
    }

    /// Updates of clients that wait to be done.
    pub fn updates(&self) -> &Arc<WaitingUpdates> {
        &self.updates
    }

    /// Uses these keys once the sockets follow.
    pub fn set_tsig_keys(&self, keys: Keys) {
        self.secrets.hold().tsig_keys = Arc::new(keys);
    }

    /// Uses these secrets from now on.
    #[cfg(test)]
    pub fn set_secrets(&self, secrets: Secrets) {
        self.secrets.hold().used = secrets;
    }

    /// Whether it is the time for other secrets than those that are presented.
    pub fn has_other_secrets(&self) -> bool {
        let secrets = self.secrets.hold();
        if !matches!(secrets.used, Secrets::Derived(..)) {
            return false;
        }
        let before = self.shared.get().edns();
        let mut edns = before;
        secrets.used.put(&mut edns, self.clock.wall().signature_time());
        edns != before
    }

    //--- What is served

    /// Tells XDP what options of responses say, and the sockets that and what has changed. Who holds the data plane
    /// is the only one who changes what the sockets serve.
    pub fn refresh(
        &self,
        plane: &mut dyn DataPlane,
        config: &Config,
        zones: &BTreeMap<Name, ZoneState>,
        changed: RefreshScope<'_>,
    ) {
        let edns = |lacks_zones| {
            edns_settings(config, lacks_zones, &self.secrets.hold().used, &self.clock)
        };
        let served = match changed {
            RefreshScope::All => {
                served(config, zones, plane, edns(zones.values().any(|zone| zone.loaded.is_none())))
            }
            RefreshScope::Zones(names) => {
                let changed = names.iter().map(|name| match zones.get(*name) {
                    Some(state) => {
                        let (name, served) = served_zone(name, state);
                        (name, Some(served))
                    }
                    None => ((*name).clone(), None),
                });
                self.shared.get().with(plane.engine(), changed, edns)
            }
        };
        let served = served
            .with_tsig_keys(Arc::clone(&self.secrets.hold().tsig_keys))
            .with_notified(Arc::clone(&self.notified))
            .with_updates(Arc::clone(&self.updates));
        plane.set_edns_settings(&served.edns());
        self.shared.set(served);
        self.notify(zones, changed);
    }

    /// Has other servers told of what is served from now on.
    fn notify(&self, zones: &BTreeMap<Name, ZoneState>, changed: RefreshScope<'_>) {
        let now = self.clock.monotonic();
        let tell = |(name, state): (&Name, &ZoneState)| {
            let Some(loaded) = &state.loaded else { return };
            let section = &state.section;
            let new = NewSerial {
                zone: name,
                addresses: section.notify.iter().map(|server| server.0).collect(),
                key: section.tsig.clone(),
                serial: loaded.zone.serial(),
                soa: axfr::soa_after_owner(&loaded.zone),
            };
            self.notifier.follow(new, now);
        };
        match changed {
            RefreshScope::All => {
                self.notifier.retain(|name| zones.contains_key(name));
                zones.iter().for_each(tell);
            }
            RefreshScope::Zones(names) => {
                if names.iter().any(|name| !zones.contains_key(*name)) {
                    self.notifier.retain(|name| zones.contains_key(name));
                }
                names.iter().filter_map(|name| zones.get_key_value(*name)).for_each(tell);
            }
        }
    }
}

/// What options of responses say now, and whether names of no zone are refused: not while there are zones that
/// could not be loaded, whose names are not known not to be ours.
fn edns_settings(
    config: &Config,
    lacks_zones: bool,
    secrets: &Secrets,
    clock: &Clock,
) -> maps::EdnsSettings {
    let mut edns_settings = maps::EdnsSettings::new().with_nsid(&config.server.nsid.0);
    edns_settings.refuse = (config.refuses() && !lacks_zones).into();
    edns_settings.front = config.front.is_some().into();
    secrets.put(&mut edns_settings, clock.wall().signature_time());
    edns_settings
}

/// Warns of a configuration with a secret in it that others may read.
pub fn warn_if_open(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777);
    if mode & 0o077 != 0 {
        tracing::warn!(
            "{} contains a secret and has mode {mode:04o}: run chmod 600 {0}, or use `secret-file`",
            path.display()
        );
    }
}

fn served(
    config: &Config,
    zones: &BTreeMap<Name, ZoneState>,
    plane: &dyn DataPlane,
    edns: maps::EdnsSettings,
) -> Served {
    let settings = ResponseSettings {
        identity: config.server.identity.text().map(str::to_owned),
        version: config.server.version.text().map(str::to_owned),
        udp_payload: config.server.udp_payload.octets(),
        edns,
        tsig_keys: Arc::default(),
        notified: Arc::default(),
        updates: Arc::default(),
    };
    let zones = zones.iter().map(|(name, state)| served_zone(name, state));
    Served::new(plane.engine(), zones, settings)
}

/// Whose updates are looked at.
fn update_keys(section: &config::Zone) -> Arc<[Name]> {
    section.allow_update.iter().map(|allowed| allowed.key.clone()).collect()
}

fn served_zone(name: &Name, state: &ZoneState) -> (Name, ServedZone) {
    let loaded = state.loaded.as_ref();
    let served = ServedZone {
        zone: loaded.map(|loaded| Arc::new(loaded.zone.clone()) as _),
        past: loaded.map(|loaded| Arc::clone(&loaded.past)).unwrap_or_default(),
        access: TransferAccess::of(&state.section),
        notify_sources: NotifySources::of(&state.section),
        update_keys: update_keys(&state.section),
        withholds: loaded.is_some_and(|loaded| loaded.zone.withheld().next().is_some()),
    };
    (name.clone(), served)
}
