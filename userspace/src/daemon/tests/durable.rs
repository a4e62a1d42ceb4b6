//! Changes are durable before they are published, or refused; what was served is found at the next start without a look at
//! it; and what was before can be served again.

use std::fs;

use super::last_run::{Machine, Run};
use super::*;
use crate::control::reply::zone::{Change, ZoneDiff, ZoneHistory, ZoneRolledBack};
use crate::daemon::prepare::ZoneFiles;
use crate::dnssec::policy::SigningPolicy;
use crate::dnssec::verify::verify;
use crate::journal::FrameKind;
use crate::observe::event::{EventKind, EventReason};
use crate::zone::{Rtype, visits};

/// How many hosts make a zone so large that it is kept whoever signs it.
const HOSTS: u32 = 3000;

/// Looks at owners that are fewer than any walk takes: finding one for the first time looks at a part of all.
const FEW: usize = HOSTS as usize / 2;

fn apex() -> Name {
    testing::name("example")
}

/// The zone's file with so many hosts, as a zone of this kind has it.
fn write(machine: &Machine, dnssec: &str, serial: u32, hosts: u32) {
    match dnssec {
        "presigned" => {
            machine.write_zone(&machine.signed(serial, hosts, SigningPolicy::default()));
        }
        _ => machine.write_zone(&testing::zone(serial, hosts)),
    }
}

impl Run {
    fn published(&self) -> Version {
        lock(&self.calls).versions[&apex()].clone()
    }

    fn tell(&self, request: Request) -> Result<Reply, Failure> {
        match self.daemon.handle(request) {
            Response::Reply(reply) => Ok(reply),
            Response::Error(failure) => Err(failure),
        }
    }

    fn ask<K: Kind>(&self, request: Request) -> K {
        K::of(self.tell(request).unwrap()).unwrap()
    }

    fn reload(&self) -> ZoneChange {
        self.ask::<ZoneReload>(Request::ZoneReload { zone: None }).zones.remove(0)
    }

    fn status(&self) -> ZoneStatus {
        self.ask(Request::ZoneStatus { zone: "example".into() })
    }

    /// Why something is to happen.
    fn reasons(&self) -> Vec<(EventKind, EventReason)> {
        self.status().events.iter().map(|event| (event.event, event.why)).collect()
    }

    /// Has all happen that is due now.
    fn live(&self) {
        self.daemon.zones.live();
        self.daemon.zones.until_idle();
    }

    pub(super) fn history(&self) -> ZoneHistory {
        self.ask(Request::ZoneHistory { zone: "example".into() })
    }

    fn diff(&self, from: Option<u32>, to: Option<u32>) -> ZoneDiff {
        self.ask(Request::ZoneDiff { zone: "example".into(), from, to })
    }

    fn roll_back(&self, serial: u32) -> Result<ZoneRolledBack, Failure> {
        let reply = self.tell(Request::ZoneRollback { zone: "example".into(), serial });
        reply.map(|reply| ZoneRolledBack::of(reply).unwrap())
    }
}

/// The records of a version that are no matter of signing, without the SOA record.
fn records(version: &Version) -> Vec<(Vec<u8>, Rtype, Vec<Vec<u8>>)> {
    let is_made =
        |rtype: Rtype| matches!(rtype, Rtype::SOA | Rtype::RRSIG | Rtype::NSEC | Rtype::DNSKEY);
    let mut records = Vec::new();
    for owner in version.owners() {
        for rrset in owner.rrsets().filter(|rrset| !is_made(rrset.rtype())) {
            let rdatas = rrset.rdatas().map(<[u8]>::to_vec).collect();
            records.push((owner.name().to_vec(), rrset.rtype(), rdatas));
        }
    }
    records
}

#[test]
fn a_restart_looks_at_no_name() {
    for dnssec in ["sign", "presigned", "off"] {
        let machine = Machine::new(dnssec);
        write(&machine, dnssec, 7, HOSTS);
        let run = machine.start();
        write(&machine, dnssec, 8, HOSTS + 1);
        assert_eq!(run.reload().change, Change::Loaded, "{dnssec}");
        let history = run.history();
        assert_eq!((history.serial, history.changes.len()), (8, 1), "{dnssec}");
        machine.clock.pass(Duration::from_secs(3600));
        let config = Config::load(&machine.path("sealdns.toml")).unwrap();
        let (section, now) = (config.zones().next().unwrap(), machine.clock.wall());
        let (last, looked_at) = visits::of(|| {
            ZoneFiles::new(&config).kept(section, &config.policy(section), now.signature_time())
        });
        let last = last.unwrap();
        assert!(looked_at < FEW, "{dnssec}: {looked_at}");
        assert_eq!(last.is_current, dnssec != "sign");
        let (found, served) = (last.prepared.zone, run.published());
        assert_eq!(found.flat().unwrap().arrays(), served.flat().unwrap().arrays(), "{dnssec}");
        let states = run.daemon.zones.states();
        let loaded = states[&apex()].loaded.as_ref().unwrap();
        let known = [&last.prepared.verification, &loaded.verification]
            .map(|known| known.as_ref().map(|known| (known.report, known.times.clone())));
        assert_eq!(known[0], known[1], "{dnssec}");
        assert_eq!(known[0].is_some(), dnssec != "off");
        assert_eq!(last.stamps, loaded.stamps);
    }
}

/// Nothing can be written: the change is refused until it can be, and signatures are made meanwhile.
#[test]
fn a_change_that_cannot_be_made_durable_is_refused_and_then_made() {
    let machine = Machine::new("sign");
    write(&machine, "sign", 7, 20);
    let run = machine.start();
    let before = run.published();
    let (folder, away) = (machine.path("state").join("signed"), machine.path("away"));
    fs::rename(&folder, &away).unwrap();
    fs::write(&folder, "in its place").unwrap();
    write(&machine, "sign", 8, 21);
    let refused = run.reload();
    let error = refused.error.unwrap();
    assert!(refused.change == Change::Failed && error.contains("could not be made durable"));
    assert!(run.published().is_same(&before));
    assert_eq!(run.status().summary.error, Some(error));
    assert!(run.reasons().contains(&(EventKind::Change, EventReason::Refused)));
    // It is tried again, and refused again.
    machine.clock.pass(Duration::from_secs(3600));
    run.live();
    assert!(run.published().is_same(&before));
    // Signatures that are due are made of the records that are served.
    machine.clock.pass(Duration::from_secs(8 * 86400));
    run.live();
    let signed = run.published();
    assert!(signed.serial().0 == 8 && records(&signed) == records(&before));
    verify(&signed.flat().unwrap(), machine.clock.wall().signature_time()).unwrap();
    assert!(run.status().unkept.is_some() && run.status().summary.error.is_some());
    let reasons = run.reasons();
    assert!(reasons.contains(&(EventKind::Change, EventReason::Refused)), "{reasons:?}");
    assert!(reasons.contains(&(EventKind::Keep, EventReason::NotKept)), "{reasons:?}");
    // The daemon that is started now does not go back behind it.
    assert!(machine.start().serves().0 > Some(8));

    fs::remove_file(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    machine.clock.pass(Duration::from_secs(3600));
    run.live();
    let made = run.published();
    assert!(records(&made) != records(&before));
    let status = run.status();
    assert_eq!((status.summary.error, status.unkept), (None, None));
    assert_eq!(machine.start().published().serial(), made.serial());
}

/// A zone whose file has all of it is published though it cannot be kept, and the older version is not served again.
#[test]
fn what_is_in_its_file_is_durable_there() {
    for dnssec in ["off", "presigned"] {
        let machine = Machine::new(dnssec);
        write(&machine, dnssec, 7, HOSTS);
        let run = machine.start();
        let journal = machine.path("state").join("served").join("example.journal");
        fs::create_dir(&journal).unwrap();
        write(&machine, dnssec, 8, HOSTS + 1);
        let change = run.reload();
        assert_eq!((change.change, run.serves().0), (Change::Loaded, Some(8)), "{dnssec}");
        assert!(run.status().unkept.is_some());
        assert_eq!(machine.start().serves(), (Some(8), None), "{dnssec}");
    }
}

/// What is durable and could not be published is taken back.
#[test]
fn what_the_data_plane_refuses_is_not_kept() {
    for (dnssec, hosts) in [("sign", 21), ("sign", 400), ("off", HOSTS + 1)] {
        let machine = Machine::new(dnssec);
        write(&machine, dnssec, 7, if dnssec == "off" { HOSTS } else { 20 });
        let run = machine.start();
        let before = run.published();
        write(&machine, dnssec, 8, hosts);
        lock(&run.calls).refuse = true;
        assert_eq!(run.reload().change, Change::Failed);
        lock(&run.calls).refuse = false;
        // What is made as a whole was a base before it was published: another one takes its place.
        machine.clock.pass(Duration::from_secs(3600));
        fs::write(machine.path("zone"), "@ SOA").unwrap();
        run.live();
        let again = machine.start().follow_up().published();
        let is_whole = hosts == 400;
        assert!(again.serial() == before.serial() || is_whole, "{dnssec} {hosts}");
        write(&machine, dnssec, 9, hosts);
        assert_eq!(run.reload().change, Change::Loaded, "{dnssec} {hosts}");
        let found = machine.start().published();
        assert_eq!(found.serial(), run.published().serial());
    }
}

#[test]
fn what_was_before_is_told_and_served_again() {
    for dnssec in ["sign", "off"] {
        let machine = Machine::new(dnssec);
        write(&machine, dnssec, 7, HOSTS);
        let run = machine.start();
        let versions: Vec<Version> = (0..3)
            .map(|number| {
                if number > 0 {
                    write(&machine, dnssec, 7 + number, HOSTS + number);
                    run.reload();
                }
                run.published()
            })
            .collect();
        let history = run.history();
        let serials = history
            .changes
            .iter()
            .map(|change| (change.why, change.difference.old_serial, change.difference.new_serial));
        let expected = [(FrameKind::File, 8, 9), (FrameKind::File, 7, 8)];
        assert!(serials.eq(expected), "{dnssec}: {history:?}");
        for (from, to) in [(None, None), (Some(7), None), (Some(9), Some(7)), (Some(8), Some(8))] {
            let diff = run.diff(from, to);
            let [old, new] = [from.unwrap_or(8), to.unwrap_or(9)];
            assert_eq!((diff.from, diff.to), (old, new));
            let [old, new] = [old, new].map(|serial| &versions[serial as usize - 7]);
            let between = Difference::between_versions(old, new);
            let counts = [between.removed().len(), between.added().len()];
            assert_eq!([diff.removed.len(), diff.added.len()], counts, "{dnssec}");
        }
        assert!(
            run.diff(None, None)
                .added
                .iter()
                .any(|line| line == "host3001.example.\t300\tIN\tA\t0.0.11.185")
        );

        let rolled_back = run.roll_back(7).unwrap();
        assert_eq!((rolled_back.to, rolled_back.difference.new_serial), (7, 10), "{dnssec}");
        let is_first = |run: &Run, serial: u32| {
            let served = run.published();
            assert!(records(&served) == records(&versions[0]), "{dnssec}");
            assert_eq!(served.serial().0, serial);
            if dnssec == "sign" {
                let now = machine.clock.wall().signature_time();
                verify(&served.flat().unwrap(), now).unwrap();
            }
        };
        is_first(&run, 10);
        assert_eq!(run.history().changes[0].why, FrameKind::Rollback);
        // It holds, for a daemon that is started later too, until the file changes.
        assert_eq!(run.reload().change, Change::Unchanged);
        is_first(&run, 10);
        let again = machine.start().follow_up();
        is_first(&again, 10);
        assert_eq!(again.reload().change, Change::Unchanged);
        // From there forward again.
        assert_eq!(again.roll_back(9).unwrap().difference.new_serial, 11);
        assert_eq!(records(&again.published()), records(&versions[2]));
        write(&machine, dnssec, 20, HOSTS + 1);
        assert_eq!(again.reload().change, Change::Loaded);
        assert_eq!(records(&again.published()), records(&versions[1]), "{dnssec}");
        assert_eq!(again.published().serial().0, 20);

        for serial in [3, 20, 99] {
            assert!(again.roll_back(serial).is_err(), "{serial}");
        }
        assert_eq!(again.status().summary.error, None);
        let unknown =
            again.tell(Request::ZoneDiff { zone: "example".into(), from: Some(3), to: None });
        assert!(unknown.unwrap_err().message.contains("no version with serial 3"));
    }
}

#[test]
fn a_zone_that_is_signed_elsewhere_is_not_rolled_back_and_a_small_one_has_no_history() {
    let machine = Machine::new("presigned");
    write(&machine, "presigned", 7, HOSTS);
    let run = machine.start();
    write(&machine, "presigned", 8, HOSTS + 1);
    run.reload();
    assert_eq!(run.history().changes.len(), 1);
    let refused = run.roll_back(7).unwrap_err();
    assert!(refused.message.contains("is signed elsewhere"), "{refused}");
    assert_eq!(run.serves(), (Some(8), None));

    let machine = Machine::new("off");
    write(&machine, "off", 7, 2);
    let run = machine.start();
    let unknown = run.tell(Request::ZoneHistory { zone: "example".into() }).unwrap_err();
    assert!(unknown.message.contains("nothing is kept"), "{unknown}");
}

/// A journal that is long leads to another base, while the zone is served.
#[test]
fn another_base_is_written_when_the_journal_is_long() {
    let machine = Machine::new("sign");
    write(&machine, "sign", 1, 20);
    let run = machine.start();
    let base = machine.path("state").join("signed").join("example.signed");
    let first = fs::read(&base).unwrap();
    for serial in 2..80 {
        write(&machine, "sign", serial, 20 + serial % 2);
        assert_eq!(run.reload().change, Change::Loaded);
        run.live();
    }
    assert_ne!(fs::read(&base).unwrap(), first);
    let reasons = run.reasons();
    assert!(reasons.iter().all(|(kind, _)| *kind != EventKind::Keep), "{reasons:?}");
    assert_eq!(machine.start().published().serial().0, 79);
}
