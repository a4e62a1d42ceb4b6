//! What was served when the daemon ran last is served at once when it is started again.

use std::fs::{self, File};
use std::path::PathBuf;

use super::*;
use crate::daemon::prepare::ZoneFiles;
use crate::dnssec::keys::{Algorithm, Key, NewKey, Role};
use crate::dnssec::policy::SigningPolicy;
use crate::dnssec::sign::sign;
use crate::zone::{Zone, text};

const NOW: u32 = 1_800_000_000;
const DAY: u32 = 86400;

/// How many hosts make a zone so large that it is kept, if it is not signed and if it is.
const HOSTS: u32 = 3000;
const SIGNED_HOSTS: u32 = 400;

/// A folder in which daemons run one after the other.
pub(super) struct Machine {
    folder: tempfile::TempDir,
    pub(super) clock: Clock,
    key: Key,
}

/// One run of the daemon.
pub(super) struct Run {
    pub(super) daemon: Daemon,
    pub(super) calls: Arc<Mutex<PlaneCalls>>,
}

impl Machine {
    pub(super) fn new(dnssec: &str) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let apex = testing::name("example");
        // Its signatures of the same records are the same.
        let key = NewKey::generate(&apex, Role::Csk, Algorithm::Ed25519, &[], NOW).unwrap().key;
        let clock = Clock::standing_at(WallTime::from_seconds(NOW.into()));
        let machine = Machine { folder, clock, key };
        machine.configure(&format!("dnssec = {dnssec:?}\n"));
        machine
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn configure(&self, settings: &str) {
        let config = ONE_ZONE.replacen("[[zone]]", "[server]\nstate-dir = \"state\"\n[[zone]]", 1);
        fs::write(self.path("sealdns.toml"), config + settings).unwrap();
    }

    pub(super) fn write_zone(&self, zone: &Zone) {
        let mut octets = Vec::new();
        text::write(zone, &mut octets).unwrap();
        fs::write(self.path("zone"), octets).unwrap();
    }

    /// The zone's file as a zone of this kind has it.
    fn write(&self, dnssec: &str, serial: u32) {
        match dnssec {
            "presigned" => self.write_signed(serial),
            "off" => self.write_zone(&testing::zone(serial, HOSTS)),
            // What sealdns signs is kept whatever its size.
            _ => self.write_zone(&testing::zone(serial, 20)),
        }
    }

    pub(super) fn write_signed(&self, serial: u32) {
        self.write_zone(&self.signed(serial, SIGNED_HOSTS, SigningPolicy::default()));
    }

    pub(super) fn signed(&self, serial: u32, hosts: u32, policy: SigningPolicy) -> Zone {
        let zone = testing::zone(serial, hosts);
        sign(&zone, std::slice::from_ref(&self.key), &policy, NOW).unwrap().0
    }

    /// A signed zone whose signatures are made at another time.
    pub(super) fn signed_at(&self, serial: u32, hosts: u32, now: u32) -> Zone {
        let zone = testing::zone(serial, hosts);
        let keys = std::slice::from_ref(&self.key);
        sign(&zone, keys, &SigningPolicy::default(), now).unwrap().0
    }

    /// Changes an octet of the file's text, and nothing by which that would be seen without reading it.
    fn change_unseen(&self, from: &str, to: &str) {
        let path = self.path("zone");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(from.len(), to.len());
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    }

    /// A daemon that has been started, and has not looked at files since that it need not look at.
    pub(super) fn start(&self) -> Run {
        let calls = Arc::new(Mutex::new(PlaneCalls::default()));
        let daemon = self.start_over(Box::new(FakePlane(Arc::clone(&calls))));
        Run { daemon, calls }
    }

    /// The same over this data plane.
    pub(super) fn start_over(&self, plane: Box<dyn DataPlane>) -> Daemon {
        let path = self.path("sealdns.toml");
        let config = Config::load(&path).unwrap();
        let prepare = Arc::new(ZoneFiles::new(&config));
        let source = Source { path, control: None, ready: "ready" };
        let daemon = Daemon::new(source, config, plane, prepare, self.clock.clone());
        daemon.zones.load_all();
        daemon
    }
}

impl Run {
    /// The serial that is published, and what is wrong with the zone.
    pub(super) fn serves(&self) -> (Option<u32>, Option<String>) {
        let name = testing::name("example");
        let serial = lock(&self.calls).zones.get(&name).copied();
        (serial, self.daemon.zones.states()[&name].error.clone())
    }

    pub(super) fn follow_up(self) -> Run {
        self.daemon.zones.follow_up();
        assert!(!self.daemon.zones.states()[&testing::name("example")].life.is_behind());
        self
    }

    pub(super) fn is_verified(&self) -> bool {
        let states = self.daemon.zones.states();
        states[&testing::name("example")].loaded.as_ref().unwrap().verification.is_some()
    }
}

#[test]
fn an_unchanged_zone_is_served_without_its_file_being_read() {
    for dnssec in ["off", "presigned", "sign"] {
        let machine = Machine::new(dnssec);
        machine.write(dnssec, 7);
        assert_eq!(machine.start().serves(), (Some(7), None), "{dnssec}");
        machine.change_unseen("192.0.2.1\n", "192.0.2.9\n");
        machine.clock.pass(Duration::from_secs(DAY.into()));
        for _ in 0..2 {
            let run = machine.start();
            assert_eq!(run.serves(), (Some(7), None), "{dnssec}");
            assert_eq!(run.is_verified(), dnssec != "off");
            assert_eq!(run.follow_up().serves(), (Some(7), None), "{dnssec}");
        }
    }
}

#[test]
fn a_zone_that_changed_is_served_as_it_was_and_then_as_it_is() {
    for dnssec in ["off", "presigned", "sign"] {
        let machine = Machine::new(dnssec);
        let write = |serial| machine.write(dnssec, serial);
        write(7);
        machine.start();
        write(12);
        let run = machine.start();
        assert_eq!(run.serves().0, Some(7), "{dnssec}");
        assert_eq!(run.follow_up().serves(), (Some(12), None), "{dnssec}");
        // What is at fault, or gone, leaves what was served.
        fs::write(machine.path("zone"), "@ SOA").unwrap();
        let run = machine.start().follow_up();
        assert!(run.serves().0 == Some(12) && run.serves().1.is_some(), "{dnssec}");
        fs::remove_file(machine.path("zone")).unwrap();
        let run = machine.start().follow_up();
        assert!(run.serves().0 == Some(12) && run.serves().1.is_some(), "{dnssec}");
        write(13);
        assert_eq!(machine.start().follow_up().serves(), (Some(13), None), "{dnssec}");
    }
}

#[test]
fn signatures_that_ended_meanwhile_are_not_served() {
    let machine = Machine::new("presigned");
    machine.write_signed(7);
    machine.start();
    machine.clock.pass(Duration::from_secs(u64::from(30 * DAY)));
    let (serial, error) = machine.start().serves();
    assert!(serial.is_none() && error.unwrap().contains("expired"));
    let machine = Machine::new("sign");
    machine.write("sign", 7);
    machine.start();
    machine.clock.pass(Duration::from_secs(u64::from(30 * DAY)));
    assert_eq!(machine.start().serves(), (Some(8), None));
}

/// A zone is not served as another configuration had it.
#[test]
fn another_setting_takes_effect_at_the_start() {
    let kinds =
        ["dnssec = \"off\"", "dnssec = \"presigned\"", "dnssec = \"presigned\"\nverify = false"];
    for before in kinds {
        for after in kinds {
            let machine = Machine::new("off");
            machine.write_signed(7);
            machine.configure(before);
            machine.start();
            machine.configure(after);
            let run = machine.start().follow_up();
            assert_eq!(run.serves(), (Some(7), None), "{before} {after}");
            assert_eq!(run.is_verified(), after == kinds[1], "{before} {after}");
        }
    }
}

/// Whatever stands in the place of what was kept, the zone is served.
#[test]
fn what_cannot_be_read_or_kept_does_no_harm() {
    for (dnssec, kept) in [("off", "served"), ("presigned", "served"), ("sign", "signed")] {
        let machine = Machine::new(dnssec);
        let write = |serial| machine.write(dnssec, serial);
        write(7);
        machine.start();
        let file = machine.path("state").join(kept).join("example.signed");
        let octets = fs::read(&file).unwrap();
        for garbled in [&octets[..0], &octets[..octets.len() - 1], b"sealdns zone 3\n"] {
            fs::write(&file, garbled).unwrap();
            let (serial, error) = machine.start().serves();
            assert!(serial >= Some(7) && error.is_none(), "{dnssec}");
        }
        // Nothing can be kept any more: at the next start there is no older version in its place.
        fs::remove_file(&file).unwrap();
        fs::remove_dir(machine.path("state").join(kept)).unwrap();
        fs::write(machine.path("state").join(kept), "").unwrap();
        write(20);
        let run = machine.start();
        assert_eq!(run.serves(), (Some(20), None), "{dnssec}");
        let states = run.daemon.zones.states();
        assert!(states[&testing::name("example")].unkept.is_some(), "{dnssec}");
    }
}
