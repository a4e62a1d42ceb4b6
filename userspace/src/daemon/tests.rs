//! The daemon over a data plane and a reader of zones that are told what to do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;

use super::cookies::Secrets;
use super::run::{DnsSockets, Sockets};
use super::state::{Before, Prepare, Prepared};
use super::zones::REFRESH;
use super::{Daemon, Source};
use crate::compile::{Asked, Engine};
use crate::config::{self, Config, Policy, XdpMode};
use crate::control::client::{CallError, call};
use crate::control::protocol::{Failure, MAX_REQUEST, PROTOCOL, Request, Response, read_response};
use crate::control::ratelimit::RateLimitAction;
use crate::control::socket;
use xdp_common::Outcome;
use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::maps::{Manners, Verdicts};

use crate::control::reply::status::{Status, Stopping};
use crate::control::reply::xdp::{XdpAttached, XdpDetached, XdpStatus};
use crate::control::reply::zone::{
    self, ServingState, ZoneChange, ZoneList, ZoneReload, ZoneStatus,
};
use crate::control::reply::{Kind, Reply};
use crate::datapath::seam::{
    Attaching, DataPlane, Detached, Observing, PlaneStatus, Published, Publishing,
};
use crate::observe::plane::Attachment;
use crate::observe::{KernelCounters, Snapshot};
use crate::ratelimit::limits::Limits;
use crate::server::{tcp, testing, udp};
use crate::zone::Name;

const WEEK: u32 = 7 * 86400;

/// What the daemon told the data plane.
#[derive(Default)]
pub(super) struct Told {
    zones: BTreeMap<Name, u32>,
    refuse: bool,
    interfaces: Vec<String>,
    replaced_adopted: usize,
    manners: Manners,
    /// How often the sockets and XDP were told what is served.
    refreshed: usize,
    pub(super) limits: Arc<Limits>,
    pub(super) qps: u64,
    pub(super) counters: KernelCounters,
    /// How many ticks there were, and how many of the next ones panic.
    ticks: usize,
    panics: usize,
    /// Makes the next publication last until it is let go.
    gate: Option<Gate>,
}

/// Where a publication stands until a test has seen what it wanted to see.
struct Gate {
    arrived: mpsc::Sender<()>,
    let_go: mpsc::Receiver<()>,
}

impl Gate {
    /// The gate, and the test's ends of it.
    fn new() -> (Gate, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (arrived, arrival) = mpsc::channel();
        let (open, let_go) = mpsc::channel();
        (Gate { arrived, let_go }, arrival, open)
    }
}

/// What a test and its daemon share.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine that panics at queries for names below `panic.`
struct Brittle(testing::Plain);

impl Engine for Brittle {
    fn respond(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Outcome {
        assert!(!query.windows(7).any(|part| part == b"\x05panic\x00"), "injected");
        self.0.respond(query, asked, response)
    }
}

struct FakePlane(Arc<Mutex<Told>>);

impl Publishing for FakePlane {
    fn publish(&mut self, zone: &Arc<crate::zone::Zone>) -> anyhow::Result<Published> {
        let gate = lock(&self.0).gate.take();
        if let Some(Gate { arrived, let_go }) = gate {
            arrived.send(()).unwrap();
            // A test that failed has let go too.
            let _ = let_go.recv();
        }
        let mut told = lock(&self.0);
        anyhow::ensure!(!told.refuse, "the maps are full");
        told.zones.insert(zone.apex().clone(), zone.serial().0);
        Ok(Published::default())
    }

    fn remove(&mut self, apex: &Name) -> anyhow::Result<()> {
        lock(&self.0).zones.remove(apex);
        Ok(())
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Brittle(testing::Plain(None)))
    }

    fn set_manners(&mut self, manners: &Manners) {
        let told = &mut lock(&self.0);
        told.manners = *manners;
        told.refreshed += 1;
    }

    fn set_limits(&mut self, limits: &Arc<Limits>, qps: u64) -> anyhow::Result<()> {
        let told = &mut lock(&self.0);
        (told.limits, told.qps) = (Arc::clone(limits), qps);
        Ok(())
    }
}

impl Attaching for FakePlane {
    fn attach(&mut self, interface: &str) -> anyhow::Result<()> {
        assert_ne!(interface, "panic", "injected");
        lock(&self.0).interfaces.push(interface.to_owned());
        Ok(())
    }

    fn detach(&mut self, interface: Option<&str>) -> anyhow::Result<Detached> {
        let interfaces = &mut lock(&self.0).interfaces;
        let gone = interfaces.extract_if(.., |one| interface.is_none_or(|name| name == one));
        Ok(Detached { detached: gone.collect(), forgotten: Vec::new() })
    }

    fn replace_adopted(&mut self) -> anyhow::Result<()> {
        lock(&self.0).replaced_adopted += 1;
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.detach(None).map(drop)
    }
}

impl Observing for FakePlane {
    fn status(&self) -> PlaneStatus {
        let interfaces = lock(&self.0).interfaces.clone();
        let attach = |interface| Attachment {
            interface,
            mode: XdpMode::Native,
            tcx: false,
            pinned: false,
            adopted: false,
        };
        let attachments = interfaces.into_iter().map(attach).collect();
        PlaneStatus { attachments, ..PlaneStatus::default() }
    }

    fn counters(&self) -> KernelCounters {
        let mut counters = lock(&self.0).counters.clone();
        counters.xdp.get_or_insert_default().outcomes[Outcome::Positive] = 3;
        counters
    }

    fn amplified(&self) -> Vec<Amplified> {
        Vec::new()
    }

    fn verdicts(&self) -> Verdicts {
        Verdicts::default()
    }

    fn limited(&self) -> Vec<Limited> {
        Vec::new()
    }
}

impl DataPlane for FakePlane {
    fn tick(&mut self) {
        let told = &mut lock(&self.0);
        told.ticks += 1;
        if let Some(fewer) = told.panics.checked_sub(1) {
            told.panics = fewer;
            panic!("injected");
        }
    }
}

/// A file "zone" is a serial, for how many seconds its signatures are still valid, and a number of hosts, if it
/// has any.
#[derive(Default)]
struct FakePrepare {
    calls: AtomicUsize,
}

impl Prepare for FakePrepare {
    fn prepare(
        &self,
        section: &config::Zone,
        _policy: &Policy,
        _before: Before<'_>,
        now: u32,
    ) -> anyhow::Result<Prepared> {
        self.calls.fetch_add(1, Relaxed);
        let text = std::fs::read_to_string(&section.file)?;
        if section.file.ends_with("slow") {
            std::thread::sleep(REFRESH);
        }
        assert_ne!(text.trim(), "panic", "injected");
        let (serial, rest) = text.trim().split_once(' ').context("the zone is broken")?;
        let (valid, hosts) = rest.split_once(' ').unwrap_or((rest, "0"));
        let zone = crate::zone::Zone::clone(&testing::zone(serial.parse()?, hosts.parse()?));
        let valid: i64 = valid.parse()?;
        let expiration = Some((i64::from(now) + valid) as u32);
        Ok(Prepared {
            zone,
            files: Some(vec![section.file.clone()]),
            expiration,
            inception: None,
            begins_at: None,
            is_verified: true,
            origin: None,
            is_served: false,
            fault: None,
            unkept: None,
        })
    }
}

pub(super) struct Stage {
    pub(super) folder: tempfile::TempDir,
    pub(super) told: Arc<Mutex<Told>>,
    prepare: Arc<FakePrepare>,
    pub(super) daemon: Arc<Daemon>,
}

const ONE_ZONE: &str = "version = \"v1\"\n[[zone]]\nname = \"example\"\nfile = \"zone\"\n";

impl Stage {
    fn new() -> Stage {
        Stage::with(&format!("1 {}", 2 * WEEK))
    }

    /// As [`Stage::new`], with this in the zone's file.
    fn with(zone: &str) -> Stage {
        Stage::of(tempfile::tempdir().unwrap(), ONE_ZONE, zone)
    }

    /// A daemon with this configuration, whose relative paths start in `folder`.
    pub(super) fn over(folder: tempfile::TempDir, config: &str) -> Stage {
        Stage::of(folder, config, &format!("1 {}", 2 * WEEK))
    }

    fn of(folder: tempfile::TempDir, config: &str, zone: &str) -> Stage {
        let path = folder.path().join("sealdns.toml");
        std::fs::write(&path, config).unwrap();
        std::fs::write(folder.path().join("zone"), zone).unwrap();
        let told = Arc::new(Mutex::new(Told::default()));
        let prepare = Arc::new(FakePrepare::default());
        let daemon = Daemon::new(
            Source { path: path.clone(), control: None, ready: "ready" },
            Config::load(&path).unwrap(),
            Box::new(FakePlane(Arc::clone(&told))),
            Arc::clone(&prepare) as Arc<dyn Prepare>,
        );
        daemon.zones.load_all();
        Stage { folder, told, prepare, daemon: Arc::new(daemon) }
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        // Another length, so that the change is seen however coarse the file system's clock is.
        let padded = format!("{text}{}", " ".repeat(1 + self.prepare.calls.load(Relaxed)));
        std::fs::write(self.folder.path().join(file), padded).unwrap();
    }

    /// Does what is asked for.
    pub(super) fn tell(&self, request: Request) -> Reply {
        match self.daemon.handle(request) {
            Response::Reply(reply) => reply,
            Response::Error(failure) => panic!("{failure}"),
        }
    }

    pub(super) fn ask<K: Kind>(&self, request: Request) -> K {
        K::of(self.tell(request)).expect("the reply to this request")
    }

    pub(super) fn fail(&self, request: Request) -> Failure {
        match self.daemon.handle(request) {
            Response::Reply(reply) => panic!("{reply:?}"),
            Response::Error(failure) => failure,
        }
    }

    pub(super) fn reload(&self) -> Vec<ZoneChange> {
        self.ask::<ZoneReload>(Request::ZoneReload { zone: None }).zones
    }

    fn status(&self) -> ZoneStatus {
        self.ask(Request::ZoneStatus { zone: "example".into() })
    }

    fn published(&self) -> Option<u32> {
        lock(&self.told).zones.get(&testing::name("example")).copied()
    }
}

#[test]
fn a_zone_that_did_not_change_is_not_loaded_again() {
    let stage = Stage::new();
    assert_eq!(stage.status().summary.state, ServingState::Serving);
    assert_eq!(stage.reload()[0].change, zone::Change::Unchanged);
    assert_eq!(stage.prepare.calls.load(Relaxed), 1);
    stage.write("zone", &format!("2 {}", 2 * WEEK));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    assert_eq!((stage.published(), stage.status().summary.serial), (Some(2), Some(2)));
    // By name it is loaded whatever the file looks like.
    stage.tell(Request::ZoneReload { zone: Some("Example.".into()) });
    assert_eq!(stage.prepare.calls.load(Relaxed), 3);
}

#[test]
fn what_is_served_is_made_anew_once_a_reload() {
    let stage = Stage::new();
    let refreshed = || lock(&stage.told).refreshed;
    assert_eq!(refreshed(), 1);
    stage.reload();
    assert_eq!(refreshed(), 2);
    stage.write("zone", &format!("2 {}", 2 * WEEK));
    stage.reload();
    assert_eq!(refreshed(), 3);
}

#[test]
fn zones_that_are_loaded_do_not_wait_for_slow_ones() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("slow"), format!("1 {}", 2 * WEEK)).unwrap();
    let zone = |name: &str, file: &str| format!("[[zone]]\nname = \"{name}\"\nfile = \"{file}\"\n");
    let config = "version = \"v1\"\n".to_owned() + &zone("a", "slow") + &zone("example", "zone");
    let stage = Stage::over(folder, &config);
    assert_eq!(lock(&stage.told).refreshed, 2);
}

#[test]
fn a_large_zone_lies_in_one_file_until_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    std::fs::create_dir(&state_dir).unwrap();
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(state_dir.to_str().unwrap())).count()
    };
    let config = ONE_ZONE.replacen("[[zone]]", "[server]\nstate-dir = \"state\"\n[[zone]]", 1);
    let stage = Stage::of(folder, &config, &format!("1 {} 30000", 2 * WEEK));
    assert_eq!(mapped(), 1);
    stage.write("zone", &format!("2 {} 30001", 2 * WEEK));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    assert_eq!((mapped(), stage.status().summary.serial), (1, Some(2)));
    let served = stage.daemon.presented.shared().get();
    assert_eq!(served.zone_at(b"\x07example\x00").unwrap().zone.as_ref().unwrap().serial().0, 2);
    let zone = {
        let states = stage.daemon.zones.states();
        Arc::clone(&states[&testing::name("example")].loaded.as_ref().unwrap().zone)
    };
    assert!(zone.find(b"\x09host30000\x07example\x00").is_some());
    stage.write("zone", &format!("3 {}", 2 * WEEK));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    // Whoever still reads the version before has its file.
    assert_eq!(mapped(), 1);
    assert_eq!(zone.record_count(), 30028);
    drop((served, zone));
    assert_eq!(mapped(), 0);
    assert!(std::fs::read_dir(&state_dir).unwrap().next().is_none());
}

#[test]
fn a_broken_zone_leaves_the_old_one_serving() {
    let stage = Stage::new();
    stage.write("zone", "broken");
    for _ in 0..2 {
        let change = &stage.reload()[0];
        assert_eq!(
            (change.change, change.error.as_deref()),
            (zone::Change::Failed, Some("the zone is broken"))
        );
        assert_eq!(
            (stage.status().summary.state, stage.status().summary.serial),
            (ServingState::ServingOld, Some(1))
        );
        assert_eq!(stage.published(), Some(1));
    }
    let served = stage.daemon.presented.shared().get();
    assert_eq!(served.zone_at(b"\x07example\x00").unwrap().zone.as_ref().unwrap().serial().0, 1);
    stage.write("zone", &format!("3 {}", 2 * WEEK));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    assert_eq!(
        (stage.status().summary.state, stage.status().summary.error),
        (ServingState::Serving, None)
    );
}

#[test]
fn what_an_earlier_daemon_left_answers_until_a_zone_is_loaded() {
    assert_eq!(lock(&Stage::new().told).replaced_adopted, 1);
    let stage = Stage::with("broken");
    stage.reload();
    assert_eq!(lock(&stage.told).replaced_adopted, 0);
    stage.write("zone", &format!("1 {}", 2 * WEEK));
    stage.reload();
    assert_eq!(lock(&stage.told).replaced_adopted, 1);
}

/// Everything that may be asked without changing anything.
fn questions() -> Vec<Request> {
    vec![
        Request::Status,
        Request::ZoneList,
        Request::ZoneStatus { zone: "example".into() },
        Request::XdpStatus,
        Request::CacheStatus,
        Request::Stats,
        Request::RateLimit { request: RateLimitAction::Show },
        Request::RateLimit { request: RateLimitAction::Top },
        Request::RateLimit { request: RateLimitAction::Explain { prefix: "192.0.2.1".into() } },
    ]
}

#[test]
fn a_long_publication_holds_nobody_up() {
    let stage = Stage::new();
    let query = [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], &b"\x07example\x00\x00\x06\x00\x01"[..]];
    let query = query.concat();
    let (gate, arrival, open) = Gate::new();
    lock(&stage.told).gate = Some(gate);
    let open = Some(open);
    std::thread::scope(|scope| {
        let reload =
            || stage.ask::<ZoneReload>(Request::ZoneReload { zone: Some("example".into()) });
        let reloading = scope.spawn(reload);
        arrival.recv().unwrap();
        let asked = scope.spawn(|| {
            for question in questions() {
                stage.tell(question);
            }
            stage.daemon.tick();
            let (client, mut response) = (([192, 0, 2, 1], 5353).into(), Vec::new());
            let (shared, stats) = (stage.daemon.presented.shared(), &stage.daemon.stats);
            assert!(udp::answer(shared, stats, &query, client, &mut response));
            // What cannot do without the data plane says so.
            stage.fail(Request::XdpAttach { interface: "eth7".into() })
        });
        // Nothing lets the publication go before all of that was answered.
        let failure = asked.join();
        assert!(!reloading.is_finished());
        drop(open);
        assert_eq!(failure.expect("all was answered").code, "busy");
        assert_eq!(reloading.join().unwrap().zones[0].change, zone::Change::Loaded);
    });
    assert!(lock(&stage.told).interfaces.is_empty());
}

#[test]
fn monitors_ask_while_zones_change() {
    const TURNS: usize = 200;
    let (stage, questions) = (Stage::new(), questions());
    let change = || stage.tell(Request::ZoneReload { zone: Some("example".into()) });
    std::thread::scope(|scope| {
        for question in &questions {
            scope.spawn(|| (0..TURNS).for_each(|_| drop(stage.tell(question.clone()))));
        }
        scope.spawn(|| (0..TURNS).for_each(|_| drop(change())));
        scope.spawn(|| (0..TURNS).for_each(|_| drop(stage.reload())));
        scope.spawn(|| {
            for turn in 0..TURNS {
                // Each turn the secrets change, and what is served follows.
                stage.daemon.presented.set_secrets(Secrets::Derived([1, 2], 7200 + turn as u32));
                stage.daemon.tick();
            }
        });
        scope.spawn(|| {
            for _ in 0..TURNS {
                let set = vec![("rate".to_owned(), "50".to_owned())];
                let request = RateLimitAction::Set { settings: set, save: false };
                stage.tell(Request::RateLimit { request });
            }
        });
    });
}

#[test]
fn a_zone_that_the_data_plane_refuses_leaves_the_old_one_serving() {
    let stage = Stage::new();
    lock(&stage.told).refuse = true;
    stage.write("zone", &format!("2 {}", 2 * WEEK));
    let change = &stage.reload()[0];
    assert_eq!(change.error.as_deref(), Some("publishing the zone: the maps are full"));
    assert_eq!(stage.status().summary.serial, Some(1));
}

#[test]
fn a_file_that_goes_away_is_said() {
    let stage = Stage::new();
    std::fs::remove_file(stage.folder.path().join("zone")).unwrap();
    assert_eq!(stage.reload()[0].change, zone::Change::Failed);
    assert_eq!(stage.status().summary.state, ServingState::ServingOld);
}

#[test]
fn a_broken_configuration_changes_nothing() {
    let stage = Stage::new();
    stage.write("sealdns.toml", "version = \"v1\"\n[[zone]]\nnam = \"example\"\n");
    let failure = stage.fail(Request::ZoneReload { zone: None });
    assert_eq!(failure.code, "config");
    assert!(failure.message.contains("sealdns.toml:3:1: unknown key `nam`"), "{failure}");
    assert_eq!(failure.hint.as_deref(), Some("did you mean `name`?"));
    assert_eq!(stage.published(), Some(1));
}

#[test]
fn zones_come_and_go_with_the_configuration() {
    let stage = Stage::new();
    let second = ONE_ZONE.replace("\"example\"", "\"second\"");
    stage.write("sealdns.toml", &second);
    let changes = stage.reload();
    assert_eq!(changes.len(), 2);
    let change = |zone: &str| changes.iter().find(|change| change.zone == zone).unwrap().change;
    assert_eq!(
        (change("example."), change("second.")),
        (zone::Change::Removed, zone::Change::Loaded)
    );
    assert_eq!(stage.fail(Request::ZoneStatus { zone: "example".into() }).code, "zone");
    let served = stage.daemon.presented.shared().get();
    assert!(served.zone_at(b"\x07example\x00").is_none());
    assert!(served.zone_at(b"\x06second\x00").is_some());
}

#[test]
fn another_policy_loads_the_zone_again_and_another_acl_takes_effect() {
    let stage = Stage::new();
    let policy = "[policy.default]\ndenial = \"nsec3\"\n";
    stage.write("sealdns.toml", &format!("{ONE_ZONE}{policy}"));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    let acl = "allow-transfer = [\"192.0.2.0/24\"]\n";
    stage.write("sealdns.toml", &format!("{ONE_ZONE}{acl}{policy}"));
    assert_eq!(stage.reload()[0].change, zone::Change::Unchanged);
    let served = stage.daemon.presented.shared().get();
    let zone = served.zone_at(b"\x07example\x00").unwrap();
    assert_eq!(zone.allow_transfer, ["192.0.2.0/24".parse().unwrap()]);
}

#[test]
fn zones_are_signed_again_in_time() {
    let stage = Stage::new();
    let name = testing::name("example");
    let due = |now| stage.daemon.zones.states()[&name].is_due(now, Instant::now());
    let loaded_at = stage.status().loaded_at.unwrap();
    assert_eq!(stage.status().resign_at, Some(loaded_at + WEEK));
    assert!(!due(loaded_at) && !due(loaded_at + WEEK - 1));
    assert!(due(loaded_at + WEEK) && due(loaded_at + 3 * WEEK));
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 1);

    // Signatures of five seconds are due at once, and again at the next tick.
    stage.write("zone", "2 5");
    stage.reload();
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 3);
    // A failure is not repeated every second.
    stage.write("zone", "broken");
    stage.daemon.zones.renew();
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 4);
    assert_eq!(stage.status().summary.state, ServingState::ServingOld);
}

#[test]
fn zones_that_others_signed_are_not_signed_again() {
    let stage = Stage::new();
    stage.write("zone", "2 5");
    stage.write("sealdns.toml", &format!("{ONE_ZONE}dnssec = \"presigned\"\n"));
    stage.reload();
    let calls = stage.prepare.calls.load(Relaxed);
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), calls);
    assert_eq!(stage.status().resign_at, None);
}

#[test]
fn expired_signatures_are_said() {
    let stage = Stage::new();
    assert_eq!(stage.ask::<Status>(Request::Status).zones_expired, [""; 0]);
    stage.write("zone", "2 -5");
    stage.reload();
    assert_eq!(stage.ask::<Status>(Request::Status).zones_expired, ["example."]);
}

#[test]
fn xdp_is_attached_and_detached() {
    let stage = Stage::new();
    stage.tell(Request::XdpAttach { interface: "eth7".into() });
    let status: XdpStatus = stage.ask(Request::XdpStatus);
    assert_eq!(
        status.attachments,
        [Attachment {
            interface: "eth7".into(),
            mode: XdpMode::Native,
            tcx: false,
            pinned: false,
            adopted: false,
        }]
    );
    assert_eq!(status.counters.xdp.unwrap().outcomes[Outcome::Positive], 3);
    let detached: XdpDetached = stage.ask(Request::XdpDetach { interface: None });
    assert_eq!(detached.detached, ["eth7"]);
}

// --- the control socket -------------------------------------------------------------------------

struct Socket {
    runtime: Option<tokio::runtime::Runtime>,
    _stop: watch::Sender<bool>,
}

impl Socket {
    fn serve(path: &Path, daemon: &Arc<Daemon>) -> Socket {
        let listener = socket::bind(path).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let daemon = Arc::clone(daemon);
        let handler: socket::Handler = Arc::new(move |request| daemon.handle(request));
        runtime.spawn(socket::serve(listener, handler, stopped));
        Socket { runtime: Some(runtime), _stop: stop }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn the_control_socket_answers_its_owner() {
    let stage = Stage::new();
    let path = stage.folder.path().join("control.sock");
    let unreachable = call::<Status>(&path, &Request::Status, PATIENCE).unwrap_err();
    assert!(matches!(unreachable, CallError::Unreachable { .. }));

    let socket = Socket::serve(&path, &stage.daemon);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        call::<ZoneList>(&path, &Request::ZoneList, PATIENCE).unwrap().zones[0].serial,
        Some(1)
    );
    let refused = call::<ZoneStatus>(&path, &Request::ZoneStatus { zone: "org".into() }, PATIENCE)
        .unwrap_err();
    assert!(matches!(refused, CallError::Refused(failure) if failure.code == "zone"));
    // While somebody answers, nobody takes the place; afterwards what is left is no obstacle.
    assert_eq!(socket::bind(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(socket);
    std::thread::sleep(Duration::from_millis(50));
    let _socket = Socket::serve(&path, &stage.daemon);
    assert!(call::<Snapshot>(&path, &Request::Stats, PATIENCE).is_ok());
}

#[test]
fn the_control_socket_bounds_what_it_reads() {
    let stage = Stage::new();
    let path = stage.folder.path().join("control.sock");
    let _socket = Socket::serve(&path, &stage.daemon);
    let say = |text: &[u8]| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The daemon may close before everything is written.
        let _ = stream.write_all(text);
        let mut line = String::new();
        let _ = BufReader::new(&mut stream).read_line(&mut line);
        let _ = stream.read(&mut [0]);
        line
    };
    let request = |request: &str| {
        format!("{{\"protocol\":{PROTOCOL},\"version\":\"1\",\"request\":{request}}}\n")
    };
    for (text, code) in [
        ("hello\n".to_owned(), "request"),
        (request("{\"command\":\"fly\"}"), "request"),
        (request("{\"command\":\"zone-status\"}"), "request"),
        (request("{\"command\":\"zone-status\",\"zone\":\"a\",\"more\":1}"), "request"),
        // As before there were versions, and as there may be one day.
        ("{\"command\":\"status\"}\n".to_owned(), "version"),
        ("{\"protocol\":99,\"question\":1}\n".to_owned(), "version"),
    ] {
        let response = read_response(&say(text.as_bytes())).unwrap();
        assert!(matches!(response, Response::Error(failure) if failure.code == code), "{text}");
    }
    // A line that is too long is cut, and so is no request.
    let long = say(&vec![b'x'; 2 * MAX_REQUEST as usize]);
    assert!(long.is_empty() || long.contains("\"error\""), "{long}");
    assert!(call::<Status>(&path, &Request::Status, PATIENCE).is_ok());
}

#[test]
fn derived_secrets_follow_the_clock() {
    let stage = Stage::new();
    let said = || stage.daemon.presented.shared().get().said();
    assert_eq!(said().secret_count, 0);
    stage.daemon.presented.set_secrets(Secrets::Derived([1, 2], 7200));
    stage.daemon.tick();
    assert_eq!((said().secret_count, lock(&stage.told).manners), (2, said()));
    // Another period, another secret.
    let before = said();
    stage.daemon.presented.set_secrets(Secrets::Derived([1, 2], 7201));
    stage.daemon.tick();
    assert_ne!(said().secrets[0], before.secrets[0]);
    assert_eq!(lock(&stage.told).manners, said());
}

// --- what goes on ---------------------------------------------------------------------------------

/// A query for the SOA of a name of one label.
fn query(label: &str) -> Vec<u8> {
    let name = [&[label.len() as u8], label.as_bytes(), &[0]].concat();
    [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], &name[..], &[0, 6, 0, 1]].concat()
}

/// What a server says over TCP to one query; nothing if it closes instead.
fn ask_over_tcp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let message = [&(query.len() as u16).to_be_bytes(), query].concat();
    stream.write_all(&message).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut response = Vec::new();
    // A connection may be reset as well as closed.
    let _ = stream.read_to_end(&mut response);
    response
}

#[test]
fn a_panic_costs_what_panicked_and_nothing_else() {
    let stage = Stage::new();
    let control = stage.folder.path().join("control.sock");
    let loopback = "127.0.0.1:0".parse().unwrap();
    let (udp, tcp) = (udp::bind(loopback, 1).unwrap(), tcp::bind(loopback).unwrap());
    let (over_udp, over_tcp) = (udp[0].local_addr().unwrap(), tcp.local_addr().unwrap());
    let dns = DnsSockets { udp, tcp: vec![tcp] };
    let sockets = Sockets { dns, control: socket::bind(&control).unwrap() };
    let daemon = Arc::clone(&stage.daemon);
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let served = runtime.block_on(daemon.serve(sockets, PATIENCE));
        runtime.shutdown_background();
        served
    });

    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        // No response to the one, and at once one to the other.
        client.send_to(&query("panic"), over_udp).unwrap();
        client.send_to(&query("example"), over_udp).unwrap();
        assert!(client.recv_from(&mut [0; 512]).unwrap().0 > 12);
        assert!(ask_over_tcp(over_tcp, &query("panic")).is_empty());
        assert!(ask_over_tcp(over_tcp, &query("example")).len() > 12);

        let attach = Request::XdpAttach { interface: "panic".into() };
        let refused = call::<XdpAttached>(&control, &attach, PATIENCE).unwrap_err();
        assert!(matches!(refused, CallError::Refused(failure) if failure.code == "internal"));
        assert!(call::<Status>(&control, &Request::Status, PATIENCE).is_ok());
    }
    let stats: Snapshot = call(&control, &Request::Stats, PATIENCE).unwrap();
    assert_eq!(stats.udp.fault, 3);

    // A zone that panics fails alone, and the older version stays.
    stage.write("zone", "panic");
    let reload = Request::ZoneReload { zone: None };
    let reloaded: ZoneReload = call(&control, &reload, PATIENCE).unwrap();
    assert_eq!(
        reloaded.zones[0].error.as_deref(),
        Some("a fault of this program, which is in the log")
    );
    assert_eq!(stage.status().summary.state, ServingState::ServingOld);

    let before = {
        let mut told = lock(&stage.told);
        told.panics = 2;
        told.ticks
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while lock(&stage.told).ticks < before + 4 {
        assert!(Instant::now() < deadline, "the clock stands still");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(call::<Stopping>(&control, &Request::Stop, PATIENCE).is_ok());
    serving.join().unwrap().unwrap();
}
