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
pub mod privileges;
pub mod ratelimit;
pub mod serials;
mod serving;
pub mod signed;
pub mod signing;
pub mod startup;
pub mod state;
pub mod store;
mod supervise;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::unistd::User;
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::sync::Notify;
use xdp_common::cookie::Secret;
use xdp_common::maps;

use crate::config::{self, Config, ConfigError, name_from_text};
use crate::control::file::SocketFile;
use crate::control::protocol::{Failure, Request, Response};
use crate::control::socket;
use crate::datapath::memory::{FileMap, trim_heap};
use crate::datapath::seam::{DataPlane, Published};
use crate::dnssec::origin::Origin;
use crate::server::stats::Stats;
use crate::server::{Manners, Served, ServedZone, Shared, now, tcp, udp};
use crate::zone::{Name, Rtype};
use cookies::Secrets;
use glance::{GLANCE, Watched};
use locks::{Lock, Rank};
use ratelimit::RateLimits;
pub use serving::{hold_hangup, let_hangup_come};
use state::{Before, Loaded, Prepare, Prepared, Stamp, ZoneState};
use store::{Kept, Store};
use supervise::Pulse;

/// How often the clock is looked at, for signing again and for XDP's idea of the time.
const TICK: Duration = Duration::from_secs(1);

/// How long to wait after a failure to sign again, at most: seldom enough not to fill the log. It
/// is also no more than this part of the refresh time, so that many attempts are made before
/// signatures expire.
const RESIGN_RETRY_SECONDS: u32 = 3600;
const RESIGN_ATTEMPTS: u32 = 16;

/// Ticks after which memory is given back that reading large zones has taken: transfers are that, and what
/// chooses names of a zone that does not fit.
const REST_TICKS: u64 = 60;

/// How long the sockets may be behind the data plane while many zones are loaded.
const REFRESH: Duration = Duration::from_secs(1);

/// Owner names from which on reading a zone leaves so much free memory behind that it is worth some
/// milliseconds to give it back.
const LARGE_ZONE: usize = 50_000;

/// UDP sockets per address at most: one per core, and no more than this many.
const MAX_UDP_WORKERS: usize = 16;

/// Opens the data plane: loads XDP and attaches it where the configuration says.
pub type OpenPlane = fn(&Config) -> anyhow::Result<Box<dyn DataPlane>>;

/// Runs the daemon with the configuration at `path` until it is told to stop. `control` is the
/// control socket's path, if not the configured one.
/// `ready` is the line that is printed to stderr when all is served.
pub fn run(
    path: &Path,
    control: Option<&Path>,
    ready: &'static str,
    open_plane: OpenPlane,
) -> anyhow::Result<()> {
    let source = Source { path: path.to_owned(), control: control.map(Path::to_owned), ready };
    let mut config = source.load()?;
    descriptors::secure(&mut config);
    supervise::log_panics();
    let user = privileges::target(&config.server.user)?;
    let _state = startup::take_state(&config, user.as_ref())?;
    let sockets = Sockets::bind(&config, user.as_ref())?;
    let plane = open_plane(&config)?;
    match &user {
        Some(user) => privileges::drop_to(user)?,
        None if nix::unistd::Uid::effective().is_root() => {
            privileges::stay_root()?;
        }
        None => {}
    }
    let control = SocketFile::at(&config.server.control);
    let prepare = Arc::new(prepare::FromFiles::new(&config));
    let drain = config.server.shutdown_timeout.duration();
    let section = config.cookies.clone();
    let daemon = Arc::new(Daemon::new(source, config, plane, prepare));
    daemon.load_secrets(&section).context("the secret of DNS cookies")?;
    daemon.enforce(&mut daemon.limits.hold())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(daemon.serve(sockets, drain));
    // Whatever still runs was given its time.
    runtime.shutdown_background();
    if let Ok(control) = control {
        control.remove();
    }
    result
}

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The control socket that the command line names instead of the file's.
    pub control: Option<PathBuf>,
    /// What is printed when all is served.
    pub ready: &'static str,
}

impl Source {
    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(&self.path)?;
        if let Some(control) = &self.control {
            config.server.control = control.clone();
        }
        Ok(config)
    }
}

/// Everything bound before privileges are given up.
struct Sockets {
    dns: DnsSockets,
    control: UnixListener,
}

#[derive(Default)]
struct DnsSockets {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Sockets {
    fn bind(config: &Config, user: Option<&User>) -> anyhow::Result<Sockets> {
        let server = &config.server;
        if let Some(folder) = server.control.parent() {
            privileges::make_folder(folder, 0o755, user)?;
        }
        let control = privileges::bind(&server.control, user, socket::bind)
            .with_context(|| format!("the control socket {}", server.control.display()))?;
        let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let mut dns = DnsSockets::default();
        for listen in &server.listen {
            let address = listen.0;
            startup::warn_if_elsewhere(address);
            let bound = udp::bind(address, workers.min(MAX_UDP_WORKERS));
            dns.udp.extend(bound.with_context(|| cannot_listen("UDP", address))?);
            dns.tcp.push(tcp::bind(address).with_context(|| cannot_listen("TCP", address))?);
        }
        Ok(Sockets { dns, control })
    }
}

fn cannot_listen(transport: &str, address: SocketAddr) -> String {
    format!(
        "listening on {address} over {transport} (is another server using it, and may we use ports \
         below 1024?)"
    )
}

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

/// Why a zone is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It is to be what the configuration and its files say.
    Told,
    /// Its signatures must be made anew, whatever else there is.
    Due,
}

/// The version of a zone that is served while the next one is made.
struct ServedVersion {
    zone: Arc<crate::zone::Zone>,
    is_verified: bool,
    origin: Option<Origin>,
    stamps: Vec<Stamp>,
}

impl ServedVersion {
    fn of(loaded: &Loaded) -> ServedVersion {
        ServedVersion {
            zone: Arc::clone(&loaded.zone),
            is_verified: loaded.is_verified,
            origin: loaded.origin.clone(),
            stamps: loaded.stamps.clone(),
        }
    }

    fn before(&self, why: Why) -> Before<'_> {
        let apex = self.zone.find(self.zone.apex().as_wire());
        Before {
            serial: Some(self.zone.serial()),
            verified: self.is_verified.then_some(&*self.zone),
            origin: self.origin.as_ref(),
            is_signed: apex.is_some_and(|apex| apex.rrset(Rtype::DNSKEY).is_some()),
            is_unchanged: why == Why::Due
                && !self.stamps.is_empty()
                && self.stamps.iter().all(Stamp::holds),
        }
    }
}

/// What became of one zone in a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Unchanged,
    Loaded,
    Removed,
    Failed(String),
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

    /// Takes the secrets of DNS cookies from where a configuration says. On an error the old ones stay.
    pub fn load_secrets(&self, section: &config::Cookies) -> anyhow::Result<()> {
        if let Some(path) = section.secret.and(Some(&self.source.path)) {
            warn_if_open(path);
        }
        let mut random = self.random.hold();
        let random = match *random {
            Some(random) => random,
            None => *random.insert(cookies::random()?),
        };
        let secrets = Secrets::load(section, random)?;
        *self.secrets.hold() = secrets;
        Ok(())
    }

    /// Loads every zone of the configuration; those that fail are said in the log.
    pub fn load_all(&self) {
        let _change = self.change.hold();
        let mut names: Vec<Name> = self.zones.hold().keys().cloned().collect();
        // What a zone says of names below another zone's apex must not be heard while that other zone is
        // only on its way.
        names.sort_by_key(|name| Reverse(name.label_count()));
        self.load_each(names, Why::Told, Daemon::refresh_served);
    }

    /// Brings zones up to date. The sockets follow at least every [`REFRESH`] and with each tick, and not after
    /// each zone: with many zones that would be most of the work. `finish` lets them follow at the end; it is given
    /// what they do not follow yet. The caller holds `change`.
    fn load_each(
        &self,
        names: Vec<Name>,
        why: Why,
        finish: impl FnOnce(&Daemon, &[(Name, Change)]),
    ) -> Vec<(Name, Change)> {
        let mut refreshed = Instant::now();
        let mut changes: Vec<(Name, Change)> = Vec::with_capacity(names.len());
        let mut told = 0;
        for name in names {
            let change = self.load_or_say_fault(&name, why);
            self.unfollowed.hold().push(name.clone());
            changes.push((name, change));
            if refreshed.elapsed() >= REFRESH {
                self.unfollowed.hold().clear();
                self.refresh_served(&changes[told..]);
                told = changes.len();
                refreshed = Instant::now();
            }
        }
        self.settle();
        self.unfollowed.hold().clear();
        finish(self, &changes[told..]);
        let loaded =
            |name: &Name| self.zones.hold().get(name)?.loaded.as_ref().map(|one| one.zone.clone());
        let loaded = changes.iter().filter_map(|(name, _)| loaded(name));
        if loaded.map(|zone| zone.owners().len()).max() >= Some(LARGE_ZONE) {
            trim_heap();
        }
        changes
    }

    /// Replaces the programs of an earlier daemon, unless there is nothing to answer in their place: then
    /// what they answer is better than nothing.
    fn settle(&self) {
        let has_zone = {
            let zones = self.zones.hold();
            zones.is_empty() || zones.values().any(|zone| zone.loaded.is_some())
        };
        if has_zone && let Err(error) = self.plane.hold().settle() {
            tracing::error!("replacing the programs of an earlier daemon: {error:#}");
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

    /// Signs the zones again for which it is the time; waits for other changes.
    fn renew(&self) {
        let (now, tick) = (now(), Instant::now());
        let due: Vec<Name> = self
            .zones
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
            tracing::info!(zone = %name, "signing again: signatures reach their refresh time");
        }
        self.load_each(due, Why::Due, Daemon::refresh_served);
    }

    fn reload_on_signal(&self) {
        let micros = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
            .map_or(0, |time| {
                i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_nsec()) / 1000
            });
        notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(micros)]);
        match self.reload() {
            Ok(changes) => {
                let failed = changes.values().filter(|change| matches!(change, Change::Failed(_)));
                tracing::info!(zones = changes.len(), failed = failed.count(), "reloaded");
            }
            Err(failure) => tracing::error!("not reloaded: {failure}"),
        }
        notify(&[NotifyState::Ready]);
    }

    /// Reads the configuration again, and loads the zones whose section, policy or files changed.
    fn reload(&self) -> Result<BTreeMap<Name, Change>, Failure> {
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
            let mut zones = self.zones.hold();
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
                    changes.insert(section.name.clone(), Change::Unchanged);
                }
                state.section = section.clone();
                state.policy = policy;
            }
            for name in &gone {
                zones.remove(name);
            }
        }
        if let Err(error) = self.load_secrets(&config.cookies) {
            tracing::error!("the secrets of DNS cookies stay as they were: {error:#}");
        }
        let limited = self.follow_limits(&config);
        *self.config.hold() = Arc::new(config);
        for name in gone {
            if let Err(error) = self.plane.hold().remove(&name) {
                tracing::error!(zone = %name, "removing the zone from the data plane: {error:#}");
            }
            changes.insert(name, Change::Removed);
        }
        // The configuration may have changed what is said of zones that are not loaded again.
        changes.extend(self.load_each(stale, Why::Told, |daemon, _| daemon.refresh_all()));
        limited.map(|()| changes)
    }

    /// As [`Daemon::load`]; a zone that makes it panic fails alone.
    fn load_or_say_fault(&self, name: &Name, why: Why) -> Change {
        catch_unwind(AssertUnwindSafe(|| self.load(name, why))).unwrap_or_else(|_| {
            let message = "a fault of this program, which the log has".to_owned();
            if let Some(state) = self.zones.hold().get_mut(name) {
                state.error = Some(message.clone());
                state.retry_at =
                    Some(Instant::now() + Duration::from_secs(RESIGN_RETRY_SECONDS.into()));
            }
            Change::Failed(message)
        })
    }

    /// Brings one zone up to date; the sockets do not follow yet. The caller holds `change`.
    fn load(&self, name: &Name, why: Why) -> Change {
        let Some((section, policy, served)) = self.zones.hold().get(name).map(|state| {
            let served = state.loaded.as_ref().map(ServedVersion::of);
            (state.section.clone(), state.policy.clone(), served)
        }) else {
            return Change::Removed;
        };
        let now = now();
        // A file that changes while it is read looks changed afterwards.
        let stamp = Stamp::of(&section.file);
        let ready = {
            let before = served.as_ref().map(|served| served.before(why)).unwrap_or_default();
            self.prepare.prepare(&section, &policy, before, now)
        };
        let ready = match ready {
            Ok(ready) if ready.is_served => return self.leave(name, ready, &section.file, stamp),
            ready => ready,
        };
        let stamps = served.map(|served| served.stamps);
        let loaded = ready.and_then(|ready| {
            // Before publishing, which takes most memory.
            let Kept { zone, files } = self.store.keep(ready.zone);
            let zone = Arc::new(zone);
            let mut plane = self.plane.hold();
            if zone.owners().len() >= LARGE_ZONE {
                // Publishing it holds the data plane for long.
                self.follow(&mut **plane);
            }
            let published = plane.publish(&zone).context("publishing the zone");
            drop(plane);
            let published = published?;
            files.iter().for_each(FileMap::rest);
            let unkept = ready.unkept.or_else(|| {
                let origin = ready.origin.as_ref()?;
                self.prepare.keep(&zone, origin).err()
            });
            let stamps = match ready.files {
                Some(files) => stamps_of(stamp, &files, &section.file),
                // Of a file that could not be read nothing is known.
                None => stamps.unwrap_or_default(),
            };
            let loaded = Loaded {
                zone,
                kept_in: files,
                loaded_at: now,
                expiration: ready.expiration,
                inception: ready.inception,
                is_verified: ready.is_verified,
                origin: ready.origin,
                published,
                stamps,
            };
            Ok((loaded, ready.fault, unkept))
        });
        let mut zones = self.zones.hold();
        let Some(state) = zones.get_mut(name) else { return Change::Removed };
        match loaded {
            Ok((loaded, fault, unkept)) => {
                let (serial, records) = (loaded.zone.serial(), loaded.zone.record_count());
                let Published { written, kept, .. } = loaded.published;
                tracing::info!(zone = %name, serial, records, written, kept, "zone loaded");
                state.loaded = Some(loaded);
                state.retry_at = None;
                state.unkept = unkept.map(|error| format!("{error:#}"));
                if let Some(error) = &state.unkept {
                    tracing::warn!("zone {name}: at the next start it is not known: {error}");
                }
                state.error = fault.map(|error| format!("{error:#}"));
                let Some(error) = &state.error else { return Change::Loaded };
                tracing::error!("zone {name}: its records stay, serial {serial}: {error}");
                Change::Failed(error.clone())
            }
            Err(error) => {
                let message = format!("{error:#}");
                let served = state.loaded.as_ref().map(|loaded| loaded.zone.serial());
                match served {
                    Some(serial) => tracing::error!(
                        "zone {name}: the older version, serial {serial}, stays: {message}"
                    ),
                    None => tracing::error!("zone {name} is not served: {message}"),
                }
                state.error = Some(message.clone());
                if why == Why::Due {
                    let wait = policy.refresh.seconds() / RESIGN_ATTEMPTS;
                    let wait = Duration::from_secs(wait.min(RESIGN_RETRY_SECONDS).into());
                    state.retry_at = Some(Instant::now() + wait);
                }
                Change::Failed(message)
            }
        }
    }

    /// Leaves a zone as it is, which is what its files say.
    fn leave(&self, name: &Name, ready: Prepared, file: &Path, stamp: Option<Stamp>) -> Change {
        let mut zones = self.zones.hold();
        let Some(state) = zones.get_mut(name) else { return Change::Removed };
        state.error = None;
        state.retry_at = None;
        if let (Some(loaded), Some(files)) = (&mut state.loaded, ready.files) {
            loaded.stamps = stamps_of(stamp, &files, file);
        }
        Change::Unchanged
    }

    /// Makes cookies with the secrets that it is the time for.
    fn exchange_secrets(&self) {
        let mut said = self.shared.get().said();
        let before = said;
        self.secrets.hold().put(&mut said, now());
        if said == before {
            return;
        }
        // Who changes zones does the same when that is done.
        if let Some(_change) = self.change.try_hold() {
            self.refresh_served(&[]);
        }
    }

    /// Lets the sockets follow the zones that changed, and XDP with what options of responses say.
    fn refresh_served(&self, changes: &[(Name, Change)]) {
        let names: Vec<&Name> = changes.iter().map(|(name, _)| name).collect();
        self.refresh(&mut **self.plane.hold(), |_, zones, plane, said| {
            self.served_with(zones, plane, said, &names)
        });
    }

    /// Lets the sockets follow the configuration and all zones.
    fn refresh_all(&self) {
        self.refresh(&mut **self.plane.hold(), served);
    }

    /// Lets the sockets follow the zones that were loaded meanwhile: the next one may take long.
    fn follow(&self, plane: &mut dyn DataPlane) {
        let names = std::mem::take(&mut *self.unfollowed.hold());
        if !names.is_empty() {
            self.refresh(plane, |_, zones, plane, said| {
                self.served_with(zones, plane, said, &names.iter().collect::<Vec<_>>())
            });
        }
    }

    fn served_with(
        &self,
        zones: &BTreeMap<Name, ZoneState>,
        plane: &dyn DataPlane,
        said: maps::Manners,
        names: &[&Name],
    ) -> Served {
        let changed = names.iter().filter_map(|name| zones.get_key_value(*name));
        let changed = changed.map(|(name, state)| served_zone(name, state));
        self.shared.get().with(plane.engine(), changed, said)
    }

    /// Tells XDP what options of responses say, and the sockets that and what `serve` makes of it. Who holds
    /// the data plane is the only one who changes what the sockets serve.
    fn refresh(
        &self,
        plane: &mut dyn DataPlane,
        serve: impl FnOnce(&Config, &BTreeMap<Name, ZoneState>, &dyn DataPlane, maps::Manners) -> Served,
    ) {
        let config = self.config.hold().clone();
        let served = {
            let zones = self.zones.hold();
            let said = manners(&config, &zones, &self.secrets.hold());
            plane.set_manners(&said);
            self.watched.look(plane);
            serve(&config, &zones, plane, said)
        };
        self.shared.set(served);
    }

    /// Does what the control socket asks for.
    pub fn handle(&self, request: Request) -> Response {
        let result = match request {
            Request::Status => Ok(self.status()),
            Request::ZoneList => {
                let zones = self.zones.hold();
                Ok(json!(zones.iter().map(|(name, state)| brief(name, state)).collect::<Vec<_>>()))
            }
            Request::ZoneStatus { zone } => self.zone_status(&zone),
            Request::ZoneReload { zone: Some(zone) } => self.reload_one(&zone),
            Request::ZoneReload { zone: None } => self.reload().map(|changes| {
                json!(changes.iter().map(|(name, change)| told(name, change)).collect::<Vec<_>>())
            }),
            Request::XdpStatus => Ok(json!({
                "attachments": self.plane_status().attachments,
                "missing": self.plane_status().missing,
                "faults": self.plane_status().faults,
                "counters": *self.plane_counters(),
            })),
            Request::XdpAttach { interface } => self.plane_soon().and_then(|mut plane| {
                let attached = plane.attach(&interface);
                self.watched.look(&**plane);
                attached
                    .map(|()| json!({ "attached": interface }))
                    .map_err(|error| Failure::new("xdp", format!("{error:#}")))
            }),
            Request::XdpDetach { interface } => self.plane_soon().and_then(|mut plane| {
                let detached = plane.detach(interface.as_deref());
                self.watched.look(&**plane);
                detached
                    .map(|interfaces| json!({ "detached": interfaces }))
                    .map_err(|error| Failure::new("xdp", format!("{error:#}")))
            }),
            Request::CacheStatus => Ok(self.cache_status()),
            Request::CacheLookup { name, rtype } => self.cache_lookup(&name, rtype.as_deref()),
            Request::CacheExplain(asked) => self.cache_explain(&asked),
            Request::CacheVerify { zone } => self.cache_verify(zone.as_deref()),
            Request::Stats => Ok(json!({
                "xdp": *self.plane_counters(),
                "ratelimit": self.decisions(),
                "worst-response": self.worst_response(),
                "server": self.stats.snapshot(),
            })),
            Request::RateLimit { request } => self.rate_limit(request),
            Request::Stop => {
                self.stop.notify_one();
                Ok(json!({ "stopping": true }))
            }
        };
        match result {
            Ok(data) => Response::Data(data),
            Err(failure) => Response::Error(failure),
        }
    }

    fn status(&self) -> Value {
        let config = self.config.hold().clone();
        // Before zones are: the data plane comes first in the order.
        let plane = self.plane_status();
        let zones = self.zones.hold();
        let failed: Vec<String> = zones
            .iter()
            .filter(|(_, state)| state.loaded.is_none() || state.error.is_some())
            .map(|(name, _)| name.to_string())
            .collect();
        let unserved = zones.values().filter(|state| state.loaded.is_none()).count();
        let now = now();
        let expired: Vec<String> = zones
            .iter()
            .filter(|(_, state)| {
                let expiration = state.loaded.as_ref().and_then(|loaded| loaded.expiration);
                expiration.is_some_and(|expiration| state::is_before(expiration, now))
            })
            .map(|(name, _)| name.to_string())
            .collect();
        let seen = health::Seen { config: &config, zones: &zones, plane: &plane, now };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "key_dir": std::path::absolute(config.server.key_dir()).ok(),
            "listen": config.server.listen.iter().map(|listen| listen.0.to_string())
                .collect::<Vec<_>>(),
            "xdp": plane.attachments,
            "zones": zones.len(),
            "zones_not_served": unserved,
            "zones_loading": zones.values().filter(|state| state.is_loading()).count(),
            "zones_failed": failed,
            "zones_expired": expired,
            "problems": health::problems(&seen),
        })
    }

    /// How full the maps are, and what a name and a record take of all memory for the image.
    fn cache_status(&self) -> Value {
        let status = self.plane_status();
        let loaded = self.zones.hold();
        let loaded = loaded.values().filter_map(|state| state.loaded.as_ref());
        let records: usize = loaded.map(|loaded| loaded.zone.record_count()).sum();
        let names: u64 = status.zones.iter().map(|zone| zone.names).sum();
        let octets = status.image_octets;
        json!({
            "maps": status.maps,
            "zones": status.zones,
            "memory": {
                "image_octets": octets,
                "names": names,
                "records": records,
                "octets_per_name": octets.checked_div(names),
                "octets_per_record": octets.checked_div(records as u64),
            },
        })
    }

    fn zone_status(&self, zone: &str) -> Result<Value, Failure> {
        let name = known_name(zone)?;
        let zones = self.zones.hold();
        let state = zones.get(&name).ok_or_else(|| unknown_zone(&name))?;
        let mut status = brief(&name, state);
        let loaded = state.loaded.as_ref();
        if let Value::Object(fields) = &mut status {
            fields.insert("file".into(), json!(state.section.file));
            fields.insert("policy".into(), json!(state.section.policy));
            fields.insert("records".into(), json!(loaded.map(|zone| zone.zone.record_count())));
            fields.insert("owners".into(), json!(loaded.map(|zone| zone.zone.owners().len())));
            fields.insert("loaded_at".into(), json!(loaded.map(|zone| zone.loaded_at)));
            let published = loaded.map(|zone| zone.published);
            fields.insert("records_written".into(), json!(published.map(|one| one.written)));
            fields.insert("records_kept".into(), json!(published.map(|one| one.kept)));
            let held = published.map(|one| if one.is_hot { "hot" } else { "complete" });
            fields.insert("held".into(), json!(held));
            fields.insert("resign_at".into(), json!(state.resign_at()));
            fields.insert("unkept".into(), json!(state.unkept));
            let prefixes = state.section.allow_transfer.iter().map(|prefix| prefix.0.to_string());
            fields.insert("allow_transfer".into(), json!(prefixes.collect::<Vec<_>>()));
        }
        Ok(status)
    }

    fn reload_one(&self, zone: &str) -> Result<Value, Failure> {
        let name = known_name(zone)?;
        let _change = self.change.hold();
        if !self.zones.hold().contains_key(&name) {
            return Err(unknown_zone(&name));
        }
        let changes = self.load_each(vec![name], Why::Told, Daemon::refresh_served);
        Ok(json!(changes.iter().map(|(name, change)| told(name, change)).collect::<Vec<_>>()))
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!(%error, "telling the service manager failed");
    }
}

fn limits(server: &config::Server) -> tcp::Limits {
    tcp::Limits {
        idle_timeout: server.tcp_idle_timeout.duration(),
        write_timeout: server.tcp_write_timeout.duration(),
        connections: server.tcp_connections.get(),
        connections_per_client: server.tcp_connections_per_client.get(),
    }
}

/// What options of responses say now, and whether names of no zone are refused: not while there are zones that
/// could not be loaded, whose names are not known not to be ours.
fn manners(config: &Config, zones: &BTreeMap<Name, ZoneState>, secrets: &Secrets) -> maps::Manners {
    let mut manners = maps::Manners::new().with_nsid(&config.server.nsid.0);
    let lacks_zones = zones.values().any(|zone| zone.loaded.is_none());
    manners.refuse = (config.refuses() && !lacks_zones).into();
    secrets.put(&mut manners, now());
    manners
}

/// Warns of a file with a secret in it that others may read.
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777);
    if mode & 0o077 != 0 {
        tracing::warn!(
            "{} has a secret in it and mode {mode:04o}: run chmod 600 {0}, or use `secret-file`",
            path.display()
        );
    }
}

fn served(
    config: &Config,
    zones: &BTreeMap<Name, ZoneState>,
    plane: &dyn DataPlane,
    said: maps::Manners,
) -> Served {
    let manners = Manners {
        identity: config.server.identity.text().map(str::to_owned),
        version: config.server.version.text().map(str::to_owned),
        udp_payload: config.server.udp_payload.octets(),
        said,
    };
    let zones = zones.iter().map(|(name, state)| served_zone(name, state));
    Served::new(plane.engine(), zones, manners)
}

fn served_zone(name: &Name, state: &ZoneState) -> (Name, ServedZone) {
    let served = ServedZone {
        zone: state.loaded.as_ref().map(|loaded| Arc::clone(&loaded.zone)),
        allow_transfer: state.section.allow_transfer.iter().map(|prefix| prefix.0).collect(),
    };
    (name.clone(), served)
}

/// What a zone's files looked like: `stamp` is of `file`, which was looked at before it was read.
fn stamps_of(stamp: Option<Stamp>, files: &[PathBuf], file: &Path) -> Vec<Stamp> {
    let others = files.iter().filter(|other| *other != file);
    stamp.into_iter().chain(others.filter_map(|other| Stamp::of(other))).collect()
}

fn known_name(text: &str) -> Result<Name, Failure> {
    name_from_text(text)
        .ok_or_else(|| Failure::new("zone", format!("\"{text}\" is not a domain name")))
}

fn unknown_zone(name: &Name) -> Failure {
    Failure::new("zone", format!("the zone {name} is not configured"))
        .with_hint("`sealdns zone list` shows those that are")
}

fn brief(name: &Name, state: &ZoneState) -> Value {
    json!({
        "zone": name.to_string(),
        "state": match (&state.loaded, &state.error) {
            (Some(_), None) => "serving",
            (Some(_), Some(_)) => "serving-old",
            (None, Some(_)) => "failed",
            (None, None) => "loading",
        },
        "dnssec": state.section.dnssec,
        "serial": state.loaded.as_ref().map(|loaded| loaded.zone.serial()),
        "expiration": state.loaded.as_ref().and_then(|loaded| loaded.expiration),
        "error": state.error,
    })
}

fn told(name: &Name, change: &Change) -> Value {
    let (change, error) = match change {
        Change::Unchanged => ("unchanged", None),
        Change::Loaded => ("loaded", None),
        Change::Removed => ("removed", None),
        Change::Failed(error) => ("failed", Some(error)),
    };
    json!({ "zone": name.to_string(), "change": change, "error": error })
}
