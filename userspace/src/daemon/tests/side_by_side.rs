//! Zones side by side: none holds up another, and each has one change at a time.

use std::collections::BTreeSet;
use std::sync::Condvar;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::daemon::life::EventKind;
use crate::zone::{Rtype, Zone, ZoneBuilder};

/// Prepares a zone of any name whose file is a serial; one whose file begins with `stand` stands until it is let go.
#[derive(Default)]
struct Standing {
    gate: Mutex<bool>,
    opened: Condvar,
    /// Zones that are being prepared, and those that were by two threads at once.
    at_work: Mutex<BTreeSet<Name>>,
    has_overlapped: AtomicBool,
    count: AtomicUsize,
    /// How many stand.
    standing: AtomicUsize,
}

impl Standing {
    fn open(&self) {
        *lock(&self.gate) = true;
        self.opened.notify_all();
    }

    fn stand(&self) {
        self.standing.fetch_add(1, Relaxed);
        let mut is_open = lock(&self.gate);
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap();
        }
        self.standing.fetch_sub(1, Relaxed);
    }
}

impl Prepare for Standing {
    fn prepare(
        &self,
        section: &config::Zone,
        _policy: &Policy,
        _before: CurrentVersion<'_>,
        now: u32,
    ) -> anyhow::Result<Prepared> {
        let is_alone = lock(&self.at_work).insert(section.name.clone());
        self.has_overlapped.fetch_or(!is_alone, Relaxed);
        self.count.fetch_add(1, Relaxed);
        let text = std::fs::read_to_string(&section.file)?;
        let serial = match text.strip_prefix("stand") {
            Some(serial) => {
                self.stand();
                serial
            }
            None => &text,
        };
        std::thread::yield_now();
        let zone = zone(&section.name, serial.trim().parse()?);
        lock(&self.at_work).remove(&section.name);
        Ok(Prepared {
            files: Some(vec![section.file.clone()]),
            expiration: Some(now + 2 * WEEK),
            verification: Some(Verification::until(now.wrapping_add(2 * WEEK), now)),
            ..Prepared::of(zone)
        })
    }
}

fn zone(apex: &Name, serial: u32) -> Zone {
    let mut builder = ZoneBuilder::new(apex.clone());
    let mut soa = vec![0, 0];
    soa.extend_from_slice(&serial.to_be_bytes());
    soa.extend_from_slice(&[0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 60]);
    builder.push(apex.as_wire(), Rtype::SOA, 300, &soa).unwrap();
    builder.push(apex.as_wire(), Rtype::NS, 300, &[0]).unwrap();
    builder.finish().unwrap()
}

/// A daemon with zones of these names, each with a file of its own of that name, not loaded yet.
struct Sides {
    folder: tempfile::TempDir,
    calls: Arc<Mutex<PlaneCalls>>,
    prepare: Arc<Standing>,
    clock: Clock,
    daemon: Arc<Daemon>,
}

impl Sides {
    fn new(zones: &[(String, String)]) -> Sides {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealdns.toml");
        for (name, text) in zones {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        configure(&folder, zones.iter().map(|(name, _)| name.as_str()));
        let calls = Arc::new(Mutex::new(PlaneCalls::default()));
        let prepare = Arc::new(Standing::default());
        let clock = Clock::standing_at(WallTime::now());
        let daemon = Arc::new(Daemon::new(
            Source { path: path.clone(), control: None, ready: "ready" },
            Config::load(&path).unwrap(),
            Box::new(FakePlane(Arc::clone(&calls))),
            Arc::clone(&prepare) as Arc<dyn Prepare>,
            clock.clone(),
        ));
        Sides { folder, calls, prepare, clock, daemon }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn served(&self, name: &str) -> Option<u32> {
        lock(&self.calls).zones.get(&testing::name(name)).copied()
    }

    fn status(&self, zone: &str) -> ZoneStatus {
        match self.daemon.handle(Request::ZoneStatus { zone: zone.into() }) {
            Response::Reply(reply) => ZoneStatus::of(reply).unwrap(),
            Response::Error(failure) => panic!("{failure}"),
        }
    }

    fn reload(&self, zone: Option<&str>) -> Vec<ZoneChange> {
        match self.daemon.handle(Request::ZoneReload { zone: zone.map(str::to_owned) }) {
            Response::Reply(reply) => ZoneReload::of(reply).unwrap().zones,
            Response::Error(failure) => panic!("{failure}"),
        }
    }

    /// Waits for something that another thread does.
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + STUCK;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    }
}

fn configure<'n>(folder: &tempfile::TempDir, zones: impl Iterator<Item = &'n str>) {
    let zone = |name| format!("[[zone]]\nname = \"{name}\"\nfile = \"{name}\"\n");
    let text = format!("version = \"v1\"\n{}", zones.map(zone).collect::<String>());
    std::fs::write(folder.path().join("sealdns.toml"), text).unwrap();
}

fn named(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect()
}

/// More than a megabyte, so that it is large.
fn large(text: &str) -> String {
    format!("{text}{}", " ".repeat(1 << 20))
}

#[test]
fn a_large_zone_that_takes_for_ever_holds_nobody_up() {
    const COUNT: usize = 1000;
    let small: Vec<String> = (0..COUNT).map(|number| format!("zone{number}")).collect();
    let mut zones: Vec<_> = small.iter().map(|name| (name.clone(), "1".to_owned())).collect();
    // More of them than there are threads for them.
    for name in ["huge", "giant"] {
        zones.push((name.to_owned(), large("stand1")));
    }
    let sides = Sides::new(&zones);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| sides.daemon.zones.load_all());
        let all_small = || lock(&sides.calls).zones.len() == COUNT;
        sides.until("small zones wait for a large one", all_small);
        sides.until("the large one stands", || sides.prepare.standing.load(Relaxed) > 0);
        // What is asked, and one of them changed, and the configuration read again.
        assert_eq!(sides.status("huge").summary.state, ServingState::Loading);
        sides.write("zone7", "2");
        assert_eq!(sides.reload(Some("zone7"))[0].change, zone::Change::Loaded);
        assert_eq!((sides.served("zone7"), sides.served("huge")), (Some(2), None));
        let served = sides.daemon.presented.shared().get();
        assert!(served.zone_at(b"\x05zone8\0").is_some_and(|zone| zone.zone.is_some()));
        // What is due for others.
        sides.clock.pass(Duration::from_secs((WEEK + 1).into()));
        let before = sides.prepare.count.load(Relaxed);
        let turns = || {
            sides.daemon.zones.live();
            sides.prepare.count.load(Relaxed) >= before + COUNT
        };
        sides.until("small zones are signed again", turns);
        assert!(!loading.is_finished());
        sides.prepare.open();
        loading.join().unwrap();
    });
    assert_eq!((sides.served("huge"), sides.served("giant")), (Some(1), Some(1)));
    assert!(!sides.prepare.has_overlapped.load(Relaxed));
}

#[test]
fn a_reload_waits_for_what_it_changes_and_for_no_other_zone() {
    let sides = Sides::new(&named(&["a", "b", "c"]));
    sides.daemon.zones.load_all();
    sides.write("a", &large("stand2"));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| sides.reload(Some("a")));
        sides.until("it stands", || sides.prepare.standing.load(Relaxed) == 1);
        sides.write("b", "12");
        assert_eq!(sides.reload(Some("b"))[0].change, zone::Change::Loaded);
        // Another configuration takes effect meanwhile, which does without `c` and has a new zone.
        sides.write("d", "4");
        configure(&sides.folder, ["b", "d"].into_iter());
        let changes = sides.reload(None);
        let told: Vec<_> = changes.iter().map(|one| (one.zone.as_str(), one.change)).collect();
        use zone::Change::{Loaded, Removed, Unchanged};
        assert_eq!(told, [("a.", Removed), ("b.", Unchanged), ("c.", Removed), ("d.", Loaded)]);
        assert_eq!((sides.served("a"), sides.served("d")), (None, Some(4)));
        // A zone that went is not served by who was at it.
        sides.prepare.open();
        assert_eq!(slow.join().unwrap()[0].change, Removed);
    });
    assert_eq!(sides.served("a"), None);
}

/// While all of a large zone is compiled, others are published, and requests that need the data plane itself are answered.
#[test]
fn a_large_zone_that_is_compiled_holds_nobody_up() {
    let sides =
        Sides::new(&[("huge".to_owned(), large("1")), ("small".to_owned(), "1".to_owned())]);
    sides.daemon.zones.load_all();
    let stand = |version: &str| {
        let (gate, arrival, open) = Gate::new();
        lock(&sides.calls).apart.insert(testing::name("huge"), gate);
        sides.write("huge", &large(version));
        (arrival, open)
    };
    std::thread::scope(|scope| {
        let (arrival, open) = stand("22");
        let slow = scope.spawn(|| sides.reload(Some("huge")));
        arrival.recv().unwrap();
        sides.write("small", "22");
        assert_eq!(sides.reload(Some("small"))[0].change, zone::Change::Loaded);
        assert_eq!((sides.served("small"), sides.served("huge")), (Some(22), Some(1)));
        let attach = Request::XdpAttach { interface: "eth0".into() };
        assert!(matches!(sides.daemon.handle(attach), Response::Reply(_)));
        open.send(()).unwrap();
        assert_eq!(slow.join().unwrap()[0].change, zone::Change::Loaded);
        assert_eq!(sides.served("huge"), Some(22));
        // What leaves the configuration meanwhile is not published when it is compiled.
        let (arrival, open) = stand("333");
        let slow = scope.spawn(|| sides.reload(Some("huge")));
        arrival.recv().unwrap();
        configure(&sides.folder, ["small"].into_iter());
        assert_eq!(sides.reload(None)[0].change, zone::Change::Removed);
        open.send(()).unwrap();
        assert_eq!(slow.join().unwrap()[0].change, zone::Change::Removed);
    });
    assert_eq!((sides.served("huge"), sides.served("small")), (None, Some(22)));
}

#[test]
fn a_zone_that_goes_and_comes_again_has_one_change_at_a_time() {
    let sides = Sides::new(&named(&["a", "b"]));
    sides.daemon.zones.load_all();
    sides.write("a", "stand2");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| sides.reload(Some("a")));
        sides.until("it stands", || sides.prepare.standing.load(Relaxed) == 1);
        sides.write("a", "33");
        configure(&sides.folder, ["b"].into_iter());
        sides.reload(None);
        configure(&sides.folder, ["a", "b"].into_iter());
        let again = scope.spawn(|| sides.reload(None));
        sides.until("it is known again", || {
            sides.daemon.zones.states().contains_key(&testing::name("a"))
        });
        assert_eq!(sides.prepare.count.load(Relaxed), 3);
        sides.prepare.open();
        assert_eq!(slow.join().unwrap()[0].change, zone::Change::Removed);
        again.join().unwrap();
    });
    assert_eq!(sides.served("a"), Some(33));
    assert!(!sides.prepare.has_overlapped.load(Relaxed));
}

#[test]
fn changes_of_one_zone_come_one_after_the_other() {
    let sides = Sides::new(&named(&["a", "b"]));
    sides.daemon.zones.load_all();
    std::thread::scope(|scope| {
        for turn in 0..8 {
            let sides = &sides;
            scope.spawn(move || {
                for _ in 0..50 {
                    match turn {
                        0 => drop(sides.reload(None)),
                        1 => {
                            sides.clock.pass(Duration::from_secs(WEEK.into()));
                            sides.daemon.zones.live();
                        }
                        _ => {
                            let zone = ["a", "b"][turn % 2];
                            assert_eq!(sides.reload(Some(zone))[0].change, zone::Change::Loaded);
                        }
                    }
                }
            });
        }
    });
    sides.daemon.zones.until_idle();
    assert!(!sides.prepare.has_overlapped.load(Relaxed));
    assert!(sides.prepare.count.load(Relaxed) >= 2 + 6);
}

#[test]
fn a_zone_waits_for_those_below_it() {
    let sides = Sides::new(&[
        ("org".to_owned(), "1".to_owned()),
        ("a.org".to_owned(), large("stand1")),
        ("b.a.org".to_owned(), "1".to_owned()),
        ("com".to_owned(), "1".to_owned()),
    ]);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| sides.daemon.zones.load_all());
        sides.until("it stands", || sides.prepare.standing.load(Relaxed) == 1);
        sides.until("others are loaded", || sides.served("com").is_some());
        assert_eq!((sides.served("b.a.org"), sides.served("org")), (Some(1), None));
        sides.prepare.open();
        loading.join().unwrap();
    });
    assert_eq!((sides.served("a.org"), sides.served("org")), (Some(1), Some(1)));
}

#[test]
fn what_comes_is_told() {
    let sides = Sides::new(&named(&["a"]));
    let kinds = || -> Vec<_> { sides.status("a").events.iter().map(|one| one.event).collect() };
    assert_eq!(kinds(), [EventKind::Load]);
    sides.daemon.zones.load_all();
    assert_eq!(kinds(), [EventKind::Verify, EventKind::Sign]);
    let status = sides.status("a");
    assert_eq!(status.events[1].at, status.resign_at.unwrap());
    sides.write("a", "stand2");
    std::thread::scope(|scope| {
        scope.spawn(|| sides.reload(None));
        sides.until("it stands", || sides.prepare.standing.load(Relaxed) == 1);
        assert_eq!(sides.status("a").running, Some(EventKind::Change));
        sides.prepare.open();
    });
    assert_eq!(sides.status("a").running, None);
}
