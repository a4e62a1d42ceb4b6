//! Zones of the configuration, brought up to date: loaded, reloaded, signed again when that is due.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::locks::{Lock, LockGuard, Rank};
use super::prepare;
use super::presented::{Presented, RefreshScope};
use super::ratelimit::RateLimiting;
use super::shared_plane::SharedPlane;
use super::signing::rejection;
use super::source::Source;
use super::stamp::Stamp;
use super::start_order::start_order;
use super::state::{CurrentVersion, KeepableVersion, LoadedZone, Prepare, Prepared, ZoneState};
use super::store::{Store, StoredZone};
use super::verification::{Withheld, withheld};
use crate::clock::Clock;
use crate::config::{Config, Dnssec};
use crate::control::protocol::Failure;
use crate::control::reply::zone::VersionDifference;
use crate::datapath::memory::{FileMap, trim_heap};
use crate::datapath::seam::{DataPlane, Published};
use crate::dnssec::origin::Origin;
use crate::dnssec::verify::{Fault, verify_again};
use crate::zone::difference::Size;
use crate::zone::{Name, Rtype, Zone};

/// How long to wait after a failure to sign again, at most: seldom enough not to fill the log. It
/// is also no more than this part of the refresh time, so that many attempts are made before
/// signatures expire.
const RESIGN_RETRY_SECONDS: u32 = 3600;
const RESIGN_ATTEMPTS: u32 = 16;

/// How long the sockets may be behind the data plane while many zones are loaded.
pub const REFRESH: Duration = Duration::from_secs(1);

/// Owner names from which on reading a zone leaves so much free memory behind that it is worth some
/// milliseconds to give it back.
const LARGE_ZONE: usize = 50_000;

/// Why RRsets are withheld of a zone that is served as it was when the daemon ran last.
const FOUND_BEFORE: &str = "they were found wrong before the daemon was started";

/// Why a zone is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoadReason {
    /// The daemon is started: what was served when it ran last will do for the moment.
    Start,
    /// What is served is of the last run, and is to be what the configuration and its files say.
    FollowUp,
    /// It is to be what the configuration and its files say.
    Requested,
    /// Its signatures must be made anew, whatever else there is.
    Due,
}

/// The version of a zone that is served while the next one is made.
struct ServedVersion {
    zone: Arc<Zone>,
    /// The newest version that was verified.
    verified: Option<Arc<Zone>>,
    origin: Option<Origin>,
    stamps: Vec<Stamp>,
}

impl ServedVersion {
    fn of(loaded: &LoadedZone) -> ServedVersion {
        ServedVersion {
            zone: Arc::clone(&loaded.zone),
            verified: match loaded.is_verified {
                true => Some(Arc::clone(&loaded.zone)),
                false => loaded.verified_before.clone(),
            },
            origin: loaded.origin.clone(),
            stamps: loaded.stamps.clone(),
        }
    }

    fn before(&self, why: LoadReason) -> CurrentVersion<'_> {
        let apex = self.zone.find(self.zone.apex().as_wire());
        CurrentVersion {
            serial: Some(self.zone.serial()),
            verified: self.verified.as_deref(),
            origin: self.origin.as_ref(),
            is_signed: apex.is_some_and(|apex| apex.rrset(Rtype::DNSKEY).is_some()),
            is_unchanged: matches!(why, LoadReason::Due | LoadReason::FollowUp)
                && !self.stamps.is_empty()
                && self.stamps.iter().all(Stamp::holds),
        }
    }
}

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
    source: Source,
    config: Lock<Arc<Config>>,
    states: Lock<BTreeMap<Name, ZoneState>>,
    /// Zones that are loaded and that the sockets do not follow yet.
    unfollowed: Lock<Vec<Name>>,
    change: Lock<()>,
    prepare: Arc<dyn Prepare>,
    store: Store,
    plane: Arc<SharedPlane>,
    presented: Arc<Presented>,
    limits: Arc<RateLimiting>,
    clock: Clock,
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

    /// Serves every zone of the configuration: what was served when the daemon ran last, or else what its file says.
    /// Those that fail are told in the log.
    pub fn load_all(&self) {
        let _change = self.change.hold();
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let files: Vec<(Name, PathBuf)> = {
            let states = self.states.hold();
            states.iter().map(|(name, zone)| (name.clone(), zone.section.file.clone())).collect()
        };
        let sizes = files.into_iter().map(|(name, file)| (name, size(&file))).collect();
        self.load_each(start_order(&sizes), LoadReason::Start, Zones::refresh_served);
    }

    /// Brings zones up to date that are served as they were when the daemon ran last.
    pub fn follow_up(&self) {
        let behind: Vec<Name> = {
            let states = self.states.hold();
            let behind = states.iter().filter(|(_, zone)| zone.is_from_last_run);
            behind.map(|(name, _)| name.clone()).collect()
        };
        // One by one: other changes need not wait for all of them.
        for name in behind {
            let _change = self.change.hold();
            let is_behind = |zone: &ZoneState| zone.is_from_last_run;
            if self.states.hold().get(&name).is_some_and(is_behind) {
                self.load_each(vec![name], LoadReason::FollowUp, Zones::refresh_served);
            }
        }
    }

    /// Brings zones up to date. The sockets follow at least every [`REFRESH`] and with each tick, and not after
    /// each zone: with many zones that would be most of the work. `finish` lets them follow at the end; it is given
    /// what they do not follow yet. The caller holds `change`.
    fn load_each(
        &self,
        names: Vec<Name>,
        why: LoadReason,
        finish: impl FnOnce(&Zones, &[(Name, ReloadResult)]),
    ) -> Vec<(Name, ReloadResult)> {
        let mut refreshed = Instant::now();
        let mut changes: Vec<(Name, ReloadResult)> = Vec::with_capacity(names.len());
        let mut refreshed_count = 0;
        for name in names {
            let change = self.load_or_say_fault(&name, why);
            self.unfollowed.hold().push(name.clone());
            changes.push((name, change));
            if refreshed.elapsed() >= REFRESH {
                self.unfollowed.hold().clear();
                self.refresh_served(&changes[refreshed_count..]);
                refreshed_count = changes.len();
                refreshed = Instant::now();
            }
        }
        self.replace_adopted();
        self.unfollowed.hold().clear();
        finish(self, &changes[refreshed_count..]);
        let loaded =
            |name: &Name| self.states.hold().get(name)?.loaded.as_ref().map(|one| one.zone.clone());
        let loaded = changes.iter().filter_map(|(name, _)| loaded(name));
        if loaded.map(|zone| zone.owners().len()).max() >= Some(LARGE_ZONE) {
            trim_heap();
        }
        changes
    }

    /// Replaces the programs of an earlier daemon, unless there is nothing to answer in their place: then
    /// what they answer is better than nothing.
    fn replace_adopted(&self) {
        let has_zone = {
            let zones = self.states.hold();
            zones.is_empty() || zones.values().any(|zone| zone.loaded.is_some())
        };
        if has_zone && let Err(error) = self.plane.hold().replace_adopted() {
            tracing::error!("replacing the programs of an earlier daemon: {error:#}");
        }
    }

    /// Signs the zones again for which it is the time; waits for other changes.
    pub fn renew(&self) {
        let (now, tick) = (self.clock.wall().signature_time(), self.clock.monotonic());
        let due: Vec<Name> = self
            .states
            .hold()
            .iter()
            .filter(|(_, zone)| zone.is_due(now, tick))
            .map(|(name, _)| name.clone())
            .collect();
        if due.is_empty() {
            return;
        }
        let _change = self.change.hold();
        for name in &due {
            tracing::info!(
                zone = %name,
                "prepared again: its signatures are due, or later signatures become valid"
            );
        }
        self.load_each(due, LoadReason::Due, Zones::refresh_served);
    }

    /// Reads the configuration again, and loads the zones whose section, policy or files changed.
    pub fn reload(&self) -> Result<BTreeMap<Name, ReloadResult>, Failure> {
        let _change = self.change.hold();
        let mut config = self.source.load().map_err(|error| Failure {
            code: "config".into(),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        })?;
        let mut changes = BTreeMap::new();
        let old = self.config.hold().clone();
        if old.server != config.server || old.xdp != config.xdp {
            tracing::warn!(
                "changes in [server] and [xdp] take effect when the daemon is restarted"
            );
        }
        // Sockets and XDP stay as they were started; only zones and policies follow the file.
        (config.server, config.xdp) = (old.server.clone(), old.xdp.clone());
        let (mut stale, mut gone) = (Vec::new(), Vec::new());
        {
            let mut zones = self.states.hold();
            for name in zones.keys() {
                if !config.zones().any(|zone| zone.name == *name) {
                    gone.push(name.clone());
                }
            }
            for section in config.zones() {
                let policy = config.policy(section);
                let state = zones
                    .entry(section.name.clone())
                    .or_insert_with(|| ZoneState::new(section.clone(), policy.clone()));
                if state.is_stale(section, &policy) {
                    stale.push(section.name.clone());
                } else {
                    changes.insert(section.name.clone(), ReloadResult::Unchanged);
                }
                state.section = section.clone();
                state.policy = policy;
            }
            for name in &gone {
                zones.remove(name);
            }
        }
        if let Err(error) = self.presented.load_secrets(&self.source.path, &config.cookies) {
            tracing::error!("the secrets of DNS cookies stay as they were: {error:#}");
        }
        let limited = self.limits.follow(&config);
        *self.config.hold() = Arc::new(config);
        for name in gone {
            if let Err(error) = self.plane.hold().remove(&name) {
                tracing::error!(zone = %name, "removing the zone from the data plane: {error:#}");
            }
            changes.insert(name, ReloadResult::Removed);
        }
        // The configuration may have changed what is said of zones that are not loaded again.
        changes
            .extend(self.load_each(stale, LoadReason::Requested, |zones, _| zones.refresh_all()));
        limited.map(|()| changes)
    }

    /// Loads one zone, whatever its files look like; `None` if it is not configured.
    pub fn reload_one(&self, name: &Name) -> Option<Vec<(Name, ReloadResult)>> {
        let _change = self.change.hold();
        if !self.states.hold().contains_key(name) {
            return None;
        }
        Some(self.load_each(vec![name.clone()], LoadReason::Requested, Zones::refresh_served))
    }

    /// As [`Zones::load`]; a zone that makes it panic fails alone.
    fn load_or_say_fault(&self, name: &Name, why: LoadReason) -> ReloadResult {
        catch_unwind(AssertUnwindSafe(|| self.load(name, why))).unwrap_or_else(|_| {
            let message = "a fault of this program, which is in the log".to_owned();
            if let Some(state) = self.states.hold().get_mut(name) {
                state.error = Some(message.clone());
                state.retry_at =
                    Some(self.clock.monotonic() + Duration::from_secs(RESIGN_RETRY_SECONDS.into()));
            }
            ReloadResult::Failed(message)
        })
    }

    /// Brings one zone up to date; the sockets do not follow yet. The caller holds `change`.
    fn load(&self, name: &Name, why: LoadReason) -> ReloadResult {
        let Some((section, policy, served)) = self.states.hold().get(name).map(|state| {
            let served = state.loaded.as_ref().map(ServedVersion::of);
            (state.section.clone(), state.policy.clone(), served)
        }) else {
            return ReloadResult::Removed;
        };
        let now = self.clock.wall().signature_time();
        // A file that changes while it is read looks changed afterwards.
        let stamp = Stamp::of(&section.file);
        let last = match (why, &served) {
            (LoadReason::Start, None) => self.prepare.kept(&section, &policy, now),
            _ => None,
        };
        let is_behind = last.as_ref().is_some_and(|last| !last.is_current);
        let (last, last_stamps) = last.map(|last| (last.prepared, last.stamps)).unzip();
        let is_from_last_run = last.is_some();
        let ready = if let Some(last) = last {
            Ok(last)
        } else {
            let before = served.as_ref().map(|served| served.before(why)).unwrap_or_default();
            self.prepare.prepare(&section, &policy, before, now)
        };
        let ready = match ready {
            Ok(ready) if ready.is_served => return self.leave(name, ready, &section.file, stamp),
            ready => ready,
        };
        let verified_before = served.as_ref().and_then(|served| served.verified.clone());
        let (stamps, older) = served.map(|served| (served.stamps, served.zone)).unzip();
        let loaded = ready.and_then(|ready| {
            // Before publishing, which takes most memory.
            let StoredZone { zone, files } = self.store.keep(ready.zone);
            let zone = Arc::new(zone);
            let mut plane = self.plane.hold();
            if zone.owners().len() >= LARGE_ZONE {
                // Publishing it holds the data plane for long.
                self.follow(&mut **plane);
            }
            let published = plane.publish(&zone).context("publishing the zone");
            drop(plane);
            let published = published?;
            // Before the files are at rest: it reads all of the zone.
            let difference = older.map(|older| difference(&older, &zone));
            files.iter().for_each(FileMap::rest);
            let stamps = match ready.files {
                Some(files) => stamps_of(stamp, &files, &section.file),
                // Of a file that could not be read nothing is known.
                None => last_stamps.or(stamps).unwrap_or_default(),
            };
            let (origin, is_verified) = (ready.origin.as_ref(), ready.is_verified);
            let version = KeepableVersion { zone: &zone, origin, is_verified, stamps: &stamps };
            let keep = || self.prepare.keep(&section, &policy, &version).err();
            let unkept = ready.unkept.or_else(|| if is_from_last_run { None } else { keep() });
            let withheld = zone.withheld().next().is_some().then(|| FOUND_BEFORE.to_owned());
            let loaded = LoadedZone {
                zone,
                kept_in: files,
                loaded_at: now,
                expiration: ready.expiration,
                inception: ready.inception,
                is_verified: ready.is_verified,
                verified_at: if ready.is_verified { now } else { 0 },
                withheld,
                verified_before: verified_before.filter(|_| !ready.is_verified),
                origin: ready.origin,
                published,
                stamps,
            };
            Ok((loaded, difference, ready.begins_at, ready.fault, unkept))
        });
        let mut zones = self.states.hold();
        let Some(state) = zones.get_mut(name) else { return ReloadResult::Removed };
        match loaded {
            Ok((loaded, difference, begins_at, fault, unkept)) => {
                let (serial, records) = (loaded.zone.serial(), loaded.zone.record_count());
                let Published { written, kept, .. } = loaded.published;
                let removed = difference.map(|difference| difference.removed);
                let added = difference.map(|difference| difference.added);
                tracing::info!(
                    zone = %name, serial = serial.0, records, removed, added, written, kept,
                    "zone loaded"
                );
                state.loaded = Some(loaded);
                state.is_from_last_run = is_behind;
                (state.begins_at, state.retry_at) = (begins_at, None);
                state.unkept = unkept.map(|error| format!("{error:#}"));
                if let Some(error) = &state.unkept {
                    tracing::warn!(
                        "zone {name}: what is served could not be saved for the next start: {error}"
                    );
                }
                state.error = fault.map(|error| format!("{error:#}"));
                let Some(error) = &state.error else { return ReloadResult::Loaded(difference) };
                tracing::error!(
                    "zone {name}: its records stay as they are, serial {serial}: {error}"
                );
                ReloadResult::Failed(error.clone())
            }
            Err(error) if is_from_last_run => {
                drop(zones);
                tracing::warn!("zone {name}: what was served before cannot be: {error:#}");
                self.load(name, LoadReason::Requested)
            }
            Err(error) => {
                let message = format!("{error:#}");
                state.is_from_last_run = false;
                let served = state.loaded.as_ref().map(|loaded| loaded.zone.serial());
                match served {
                    Some(serial) => tracing::error!(
                        "zone {name}: the older version, serial {serial}, is still served: {message}"
                    ),
                    None => tracing::error!("zone {name} is not served: {message}"),
                }
                state.error = Some(message.clone());
                // What could not be read is tried again.
                if let Some(refused) = error.downcast_ref::<prepare::RejectedZone>() {
                    state.begins_at = refused.begins_at;
                }
                if why == LoadReason::Due {
                    let wait = policy.refresh.seconds() / RESIGN_ATTEMPTS;
                    let wait = Duration::from_secs(wait.min(RESIGN_RETRY_SECONDS).into());
                    state.retry_at = Some(self.clock.monotonic() + wait);
                }
                ReloadResult::Failed(message)
            }
        }
    }

    //--- Verifying behind

    /// Verifies zones whose signatures nobody has verified since they are served, and once a day all that are to be
    /// verified. What is wrong is no longer sent.
    pub fn verify_behind(&self) {
        let now = self.clock.wall().signature_time();
        let wanting: Vec<Name> = {
            let states = self.states.hold();
            let wanting = states.iter().filter(|(_, zone)| zone.wants_verification(now));
            wanting.map(|(name, _)| name.clone()).collect()
        };
        for name in wanting {
            self.verify_one_behind(&name);
        }
    }

    fn verify_one_behind(&self, name: &Name) {
        let looked_at = {
            let states = self.states.hold();
            let loaded = states.get(name).and_then(|state| state.loaded.as_ref());
            loaded.map(|loaded| (Arc::clone(&loaded.zone), loaded.verified_before.clone()))
        };
        let Some((zone, before)) = looked_at else { return };
        let now = self.clock.wall().signature_time();
        let verified = verify_again(&zone, before.as_deref(), now);
        // What follows is a change like others.
        let _change = self.change.hold();
        let is_same = |loaded: &&mut LoadedZone| Arc::ptr_eq(&loaded.zone, &zone);
        if let Some(state) = self.states.hold().get_mut(name)
            && let Some(loaded) = state.loaded.as_mut().filter(is_same)
        {
            loaded.verified_at = now;
            loaded.verified_before = None;
        } else {
            return;
        }
        match verified {
            Ok(report) => self.accept(name, &zone, report.expiration),
            Err(faults) => self.withhold(name, &zone, &faults),
        }
        self.refresh_served(&[(name.clone(), ReloadResult::Loaded(None))]);
    }

    /// What is served was verified.
    fn accept(&self, name: &Name, zone: &Arc<Zone>, expiration: u32) {
        if zone.withheld().next().is_some() {
            tracing::info!(zone = %name, "a validator would accept the zone now: all of it is sent again");
            let whole = Zone::clone(zone).withholding(BTreeSet::new());
            return self.replace_served(name, whole, None);
        }
        let is_news = {
            let mut states = self.states.hold();
            let Some(loaded) = states.get_mut(name).and_then(|state| state.loaded.as_mut()) else {
                return;
            };
            loaded.expiration = Some(expiration);
            !std::mem::replace(&mut loaded.is_verified, true)
        };
        if is_news {
            tracing::info!(zone = %name, serial = zone.serial().0, "verified while it is served");
            self.keep_served(name);
        }
    }

    /// Keeps for the next start what is known now of what is served.
    fn keep_served(&self, name: &Name) {
        let served = {
            let states = self.states.hold();
            states.get(name).and_then(|state| {
                let served = ServedVersion::of(state.loaded.as_ref()?);
                let is_verified = state.loaded.as_ref()?.is_verified;
                Some((state.section.clone(), state.policy.clone(), served, is_verified))
            })
        };
        let Some((section, policy, served, is_verified)) = served else { return };
        let ServedVersion { zone, origin, stamps, .. } = &served;
        let version = KeepableVersion { zone, origin: origin.as_ref(), is_verified, stamps };
        let kept = self.prepare.keep(&section, &policy, &version);
        if let (Err(error), Some(state)) = (kept, self.states.hold().get_mut(name)) {
            state.unkept = Some(format!("{error:#}"));
        }
    }

    /// What is served would be refused by a validator.
    fn withhold(&self, name: &Name, zone: &Arc<Zone>, faults: &[Fault]) {
        let text = rejection(faults).to_string();
        match withheld(zone, faults) {
            Withheld::Rrsets(rrsets) if zone.withheld().eq(&rrsets) => {}
            Withheld::Rrsets(rrsets) => {
                tracing::error!("zone {name}: RRsets are no longer sent: {text}");
                self.replace_served(name, Zone::clone(zone).withholding(rrsets), Some(text));
            }
            Withheld::All => {
                tracing::error!("zone {name} is no longer served: {text}");
                if let Err(error) = self.plane.hold().remove(name) {
                    tracing::error!(zone = %name, "removing the zone from the data plane: {error:#}");
                }
                let section = self.states.hold().get_mut(name).map(|state| {
                    state.loaded.iter_mut().for_each(|loaded| loaded.is_verified = false);
                    state.section.clone()
                });
                match section {
                    // What it was made of is in there: it is signed again of that if there is nothing else.
                    Some(section) if section.dnssec == Dnssec::Sign => self.keep_served(name),
                    Some(section) => self.prepare.forget(&section),
                    None => {}
                }
                if let Some(state) = self.states.hold().get_mut(name) {
                    state.loaded = None;
                    state.error = Some(text);
                }
            }
        }
    }

    /// Publishes the records that are served, with others withheld.
    fn replace_served(&self, name: &Name, zone: Zone, withheld: Option<String>) {
        let zone = Arc::new(zone);
        let published = self.plane.hold().publish(&zone);
        self.note_replaced(name, zone, published, withheld);
        self.keep_served(name);
    }

    fn note_replaced(
        &self,
        name: &Name,
        zone: Arc<Zone>,
        published: anyhow::Result<Published>,
        withheld: Option<String>,
    ) {
        let mut states = self.states.hold();
        let Some(state) = states.get_mut(name) else { return };
        let Some(loaded) = &mut state.loaded else { return };
        match published {
            Ok(published) => {
                let is_verified = withheld.is_none();
                (loaded.zone, loaded.published) = (zone, published);
                (loaded.withheld, loaded.is_verified) = (withheld, is_verified);
            }
            Err(error) => {
                let message = format!("{error:#}");
                tracing::error!("zone {name}: publishing what a validator accepts: {message}");
                // At once again: what is wrong must not be sent.
                loaded.verified_at = 0;
                state.error = withheld.or(Some(message));
            }
        }
    }

    /// Leaves a zone as it is, which is what its files say.
    fn leave(
        &self,
        name: &Name,
        ready: Prepared,
        file: &Path,
        stamp: Option<Stamp>,
    ) -> ReloadResult {
        let mut zones = self.states.hold();
        let Some(state) = zones.get_mut(name) else { return ReloadResult::Removed };
        state.error = None;
        state.retry_at = None;
        state.is_from_last_run = false;
        if let (Some(loaded), Some(files)) = (&mut state.loaded, ready.files) {
            loaded.stamps = stamps_of(stamp, &files, file);
        }
        ReloadResult::Unchanged
    }

    //--- Presenting

    /// Presents the configuration and all zones.
    fn refresh_all(&self) {
        self.refresh(&mut **self.plane.hold(), RefreshScope::All);
    }

    /// Presents the zones that changed.
    fn refresh_served(&self, changes: &[(Name, ReloadResult)]) {
        let names: Vec<&Name> = changes.iter().map(|(name, _)| name).collect();
        self.refresh(&mut **self.plane.hold(), RefreshScope::Zones(&names));
    }

    /// Presents the zones that were loaded meanwhile: the next one may take long. The caller holds the data plane.
    pub fn follow(&self, plane: &mut dyn DataPlane) {
        let names = std::mem::take(&mut *self.unfollowed.hold());
        if !names.is_empty() {
            self.refresh(plane, RefreshScope::Zones(&names.iter().collect::<Vec<_>>()));
        }
    }

    fn refresh(&self, plane: &mut dyn DataPlane, changed: RefreshScope<'_>) {
        let config = self.config();
        self.presented.refresh(plane, &config, &self.states.hold(), changed);
    }

    //--- Each second

    /// Makes cookies with the secrets that it is the time for.
    pub fn exchange_secrets(&self) {
        if !self.presented.has_other_secrets() {
            return;
        }
        // Who changes zones does the same when that is done.
        if let Some(_change) = self.change.try_hold() {
            self.refresh_served(&[]);
        }
    }

    /// Gives back the memory that reading large zones has taken.
    pub fn rest(&self) {
        let states = self.states.hold();
        let loaded = states.values().filter_map(|state| state.loaded.as_ref());
        loaded.flat_map(|loaded| &loaded.kept_in).for_each(FileMap::rest);
    }
}

/// What a zone's files looked like: `stamp` is of `file`, which was looked at before it was read.
fn stamps_of(stamp: Option<Stamp>, files: &[PathBuf], file: &Path) -> Vec<Stamp> {
    let others = files.iter().filter(|other| *other != file);
    stamp.into_iter().chain(others.filter_map(|other| Stamp::of(other))).collect()
}

fn difference(old: &Zone, new: &Zone) -> VersionDifference {
    let Size { removed, added } = Size::between(old, new);
    let [old_serial, new_serial] = [old, new].map(|zone| zone.serial().0);
    VersionDifference { old_serial, new_serial, removed, added }
}
