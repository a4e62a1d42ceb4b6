//! The daemon over a data plane and a reader of zones that are told what to do.

mod catalogs;
mod changes;
mod clock;
mod compiled;
mod configuration;
mod control;
mod durable;
mod last_run;
mod merging;
mod panics;
mod primaries;
mod side_by_side;
mod updates;
mod verification;
mod visits;
mod waiting;
mod zones;

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
use super::listening::AddressSockets;
use super::run::Sockets;
use super::state::{CurrentVersion, Prepare, Prepared};
use super::verified::Verification;
use super::zones::REFRESH;
use super::{Daemon, Source};
use crate::clock::{Clock, WallTime};
use crate::compile::{Answered, ApartZone, Engine, QueryContext};
use crate::config::{self, Config, Policy, XdpMode};
use crate::control::client::{CallError, call};
use crate::control::protocol::{Failure, MAX_REQUEST, PROTOCOL, Request, Response, read_response};
use crate::control::ratelimit::RateLimitAction;
use crate::control::socket;
use xdp_common::Outcome;
use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::maps::{EdnsSettings, Verdicts};
use xdp_common::trace::Filter;

use crate::control::reply::status::{Status, Stopping};
use crate::control::reply::xdp::{XdpAttached, XdpDetached, XdpStatus};
use crate::control::reply::zone::{
    self, ServingState, ZoneChange, ZoneList, ZoneReload, ZoneStatus,
};
use crate::control::reply::{Kind, Reply};
use crate::datapath::seam::{
    ApartCompiler, Attaching, DataPlane, Detached, Observing, PlaneStatus, Publication, Published,
    Publishing, TraceLines, TraceRead,
};
use crate::observe::attachment::Attachment;
use crate::observe::trace::{TraceAction, TraceLine, TracePath};
use crate::observe::{KernelCounters, Snapshot};
use crate::ratelimit::limits::Limits;
use crate::server::{tcp, testing, udp};
use crate::zone::difference::Difference;
use crate::zone::{Name, Version};

const WEEK: u32 = 7 * 86400;

/// What the daemon told the data plane.
#[derive(Default)]
pub(super) struct PlaneCalls {
    zones: BTreeMap<Name, u32>,
    /// What is published, so that a change is seen to be what it is said to be.
    versions: BTreeMap<Name, Version>,
    /// How many versions were published by what changed.
    pub(super) changes: usize,
    /// How often a version took the place of one with the same records.
    pub(super) exchanged: usize,
    pub(super) refuse: bool,
    interfaces: Vec<String>,
    replaced_adopted: usize,
    edns_settings: EdnsSettings,
    /// How often the sockets and XDP were told what is served.
    refreshed: usize,
    pub(super) limits: Arc<Limits>,
    pub(super) qps: u64,
    pub(super) counters: KernelCounters,
    /// How many ticks there were, and how many of the next ones panic.
    ticks: usize,
    panics: usize,
    pub(super) is_tracing: bool,
    /// Makes the next publication last until it is let go.
    gate: Option<Gate>,
    /// The zones of which the next version is compiled apart, and where that stands.
    apart: BTreeMap<Name, Gate>,
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

    /// Stands here until the test has let go.
    fn pass(&self) -> anyhow::Result<()> {
        self.arrived.send(()).unwrap();
        // A test that failed has let go too; one that waits for what waits for this would wait for ever.
        let is_stuck = self.let_go.recv_timeout(STUCK) == Err(mpsc::RecvTimeoutError::Timeout);
        anyhow::ensure!(!is_stuck, "nobody let it go");
        Ok(())
    }
}

/// Compiles a zone once it is let go.
struct StandingCompiler(Mutex<Gate>);

impl ApartCompiler for StandingCompiler {
    fn compile(&self, zone: &Version, now: u32) -> anyhow::Result<ApartZone> {
        lock(&self.0).pass()?;
        Ok(ApartZone::compile(&zone.flat()?, self.hash_key(), now)?)
    }

    fn hash_key(&self) -> u64 {
        0x5eed
    }
}

/// What a test and its daemon share.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine that panics at queries for names below `panic.`
struct Brittle(testing::Plain);

impl Engine for Brittle {
    fn respond(&self, query: &[u8], asked: &QueryContext<'_>, response: &mut Vec<u8>) -> Answered {
        assert!(!query.windows(7).any(|part| part == b"\x05panic\x00"), "injected");
        self.0.respond(query, asked, response)
    }
}

struct FakePlane(Arc<Mutex<PlaneCalls>>);

impl Publishing for FakePlane {
    fn publish(
        &mut self,
        zone: &Version,
        change: Option<&Difference>,
    ) -> anyhow::Result<Published> {
        let gate = lock(&self.0).gate.take();
        gate.map_or(Ok(()), |gate| gate.pass())?;
        let mut calls = lock(&self.0);
        anyhow::ensure!(!calls.refuse, "the maps are full");
        let older = calls.versions.insert(zone.apex().clone(), zone.clone());
        if let Some(change) = change {
            let older = older.context("what changes is not published")?;
            assert_eq!(Difference::between_versions(&older, zone), *change);
            calls.changes += 1;
        }
        calls.zones.insert(zone.apex().clone(), zone.serial().0);
        Ok(Published::default())
    }

    fn publish_at_once(
        &mut self,
        zone: &Version,
        change: Option<&Difference>,
    ) -> anyhow::Result<Publication> {
        let gate = lock(&self.0).apart.remove(zone.apex());
        match gate {
            Some(gate) => Ok(Publication::Apart(Arc::new(StandingCompiler(Mutex::new(gate))))),
            None => self.publish(zone, change).map(Publication::Done),
        }
    }

    fn exchange(&mut self, zone: &Version) {
        let mut calls = lock(&self.0);
        let older =
            calls.versions.insert(zone.apex().clone(), zone.clone()).expect("it is published");
        assert!(Difference::between_versions(&older, zone).is_empty());
        calls.exchanged += 1;
    }

    fn remove(&mut self, apex: &Name) -> anyhow::Result<()> {
        let mut calls = lock(&self.0);
        calls.versions.remove(apex);
        calls.zones.remove(apex);
        Ok(())
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Brittle(testing::Plain(None)))
    }

    fn set_edns_settings(&mut self, edns_settings: &EdnsSettings) {
        let calls = &mut lock(&self.0);
        calls.edns_settings = *edns_settings;
        calls.refreshed += 1;
    }

    fn set_limits(&mut self, limits: &Arc<Limits>, qps: u64) -> anyhow::Result<()> {
        let calls = &mut lock(&self.0);
        (calls.limits, calls.qps) = (Arc::clone(limits), qps);
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

    fn begin_trace(
        &mut self,
        _filter: Filter,
        _duration: Duration,
    ) -> anyhow::Result<Arc<dyn TraceLines>> {
        let told = &mut lock(&self.0);
        anyhow::ensure!(!told.refuse, "no programs that trace");
        told.is_tracing = true;
        Ok(Arc::new(OneLine))
    }

    fn end_trace(&mut self) -> anyhow::Result<()> {
        lock(&self.0).is_tracing = false;
        Ok(())
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

    fn is_tracing(&self) -> bool {
        lock(&self.0).is_tracing
    }
}

/// A trace of one packet, again with each reading, and of another that is lost.
pub(super) struct OneLine;

impl TraceLines for OneLine {
    fn read(&self) -> anyhow::Result<TraceRead> {
        let line = TraceLine {
            at: String::new(),
            path: TracePath::Xdp,
            interface: "eth0".into(),
            client: None,
            question: None,
            outcome: Outcome::NotIp,
            action: TraceAction::PassedUp,
            stage: "serve".into(),
        };
        Ok(TraceRead { lines: vec![line], lost: 1 })
    }
}

impl DataPlane for FakePlane {
    fn tick(&mut self) {
        let calls = &mut lock(&self.0);
        calls.ticks += 1;
        if let Some(fewer) = calls.panics.checked_sub(1) {
            calls.panics = fewer;
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
        _before: CurrentVersion<'_>,
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
        let zone = testing::version(serial.parse()?, hosts.parse()?);
        let valid: i64 = valid.parse()?;
        let expiration = Some((i64::from(now) + valid) as u32);
        Ok(Prepared {
            files: Some(vec![section.file.clone()]),
            expiration,
            verification: Some(Verification::until(now.wrapping_add(2 * WEEK), now)),
            ..Prepared::of(zone)
        })
    }
}

pub(super) struct Stage {
    pub(super) folder: tempfile::TempDir,
    pub(super) calls: Arc<Mutex<PlaneCalls>>,
    prepare: Arc<FakePrepare>,
    /// What the daemon takes for the time.
    pub(super) clock: Clock,
    pub(super) daemon: Arc<Daemon>,
}

const ONE_ZONE: &str = "version = \"v1\"\n[[zone]]\nname = \"example\"\nfile = \"zone\"\n";

impl Stage {
    pub(super) fn new() -> Stage {
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
        let calls = Arc::new(Mutex::new(PlaneCalls::default()));
        let prepare = Arc::new(FakePrepare::default());
        let clock = Clock::standing_at(WallTime::now());
        let daemon = Daemon::new(
            Source { path: path.clone(), control: None, ready: "ready" },
            Config::load(&path).unwrap(),
            Box::new(FakePlane(Arc::clone(&calls))),
            Arc::clone(&prepare) as Arc<dyn Prepare>,
            clock.clone(),
        );
        daemon.zones.load_all();
        Stage { folder, calls, prepare, clock, daemon: Arc::new(daemon) }
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
        lock(&self.calls).zones.get(&testing::name("example")).copied()
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

/// How long a publication waits to be let go: longer than all that a test asks meanwhile, commands included.
const STUCK: Duration = Duration::from_secs(60);
