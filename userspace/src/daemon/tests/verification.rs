//! Signatures that are verified while the zone is served.

use super::last_run::Machine;
use super::*;
use crate::dnssec::policy::{Denial, SigningPolicy};
use crate::zone::{Owner, Rrset, Rtype, Zone, ZoneBuilder};

/// The zone with an octet of the signature of one RRset changed.
fn spoilt(zone: &Zone, owner: &[u8], covered: Rtype) -> Zone {
    let mut builder = ZoneBuilder::new(zone.apex().clone());
    for at in zone.owners() {
        for rrset in at.rrsets() {
            for rdata in rrset.rdatas() {
                let mut rdata = rdata.to_vec();
                let is_it = at.name() == owner
                    && rrset.rtype() == Rtype::RRSIG
                    && rdata[..2] == covered.0.to_be_bytes();
                if is_it {
                    *rdata.last_mut().unwrap() ^= 1;
                }
                builder.push(at.name(), rrset.rtype(), rrset.ttl(), &rdata).unwrap();
            }
        }
    }
    builder.finish().unwrap()
}

fn background() -> Machine {
    let machine = Machine::new("presigned");
    machine.configure("dnssec = \"presigned\"\nverify = \"background\"\n");
    machine
}

fn status(daemon: &Daemon) -> ZoneStatus {
    match daemon.handle(Request::ZoneStatus { zone: "example".into() }) {
        Response::Reply(reply) => ZoneStatus::of(reply).unwrap(),
        Response::Error(failure) => panic!("{failure}"),
    }
}

/// What is withheld of what is served.
fn withheld(daemon: &Daemon) -> Vec<(Name, Rtype)> {
    let states = daemon.zones.states();
    let loaded = states[&testing::name("example")].loaded.as_ref();
    loaded.map(|loaded| loaded.zone.withheld().cloned().collect()).unwrap_or_default()
}

#[test]
fn a_zone_is_served_before_it_is_verified_and_known_afterwards() {
    let machine = background();
    machine.write_signed(7);
    let run = machine.start();
    assert_eq!((run.serves(), run.is_verified()), ((Some(7), None), false));
    assert_eq!(status(&run.daemon).verified_at, None);
    run.daemon.zones.verify_behind();
    assert!(run.is_verified() && withheld(&run.daemon).is_empty());
    let verified_at = status(&run.daemon).verified_at;
    assert!(verified_at.is_some());
    // Once a day, and not sooner.
    machine.clock.pass(Duration::from_secs(86399));
    run.daemon.zones.verify_behind();
    assert_eq!(status(&run.daemon).verified_at, verified_at);
    machine.clock.pass(Duration::from_secs(1));
    run.daemon.zones.verify_behind();
    assert_eq!(status(&run.daemon).verified_at, verified_at.map(|at| at + 86400));
    drop(run);
    assert!(machine.start().is_verified(), "the next run knows it by its digest");
}

/// A zone that changes all the time is verified as a whole once a day all the same, a zone that sealdns signs too: what was
/// looked at was another version when that has ended, and what changed since was verified by itself.
#[test]
fn a_zone_that_changes_meanwhile_is_verified() {
    let machine = Machine::new("sign");
    machine.write_zone(&testing::zone(7, 20));
    let run = machine.start();
    let day = Duration::from_secs(86400);
    let first = status(&run.daemon).verified_at.unwrap();
    let change = |serial| {
        machine.write_zone(&testing::zone(serial, 20));
        run.daemon.handle(Request::ZoneReload { zone: None });
        assert_eq!(run.serves(), (Some(serial), None));
    };
    for days in 1..4 {
        // What changed is verified by itself: that is no look at the whole.
        machine.clock.pass(day / 2);
        change(10 * days);
        assert_eq!(status(&run.daemon).verified_at, Some(first + 86400 * (days - 1)));
        machine.clock.pass(day / 2);
        run.daemon.zones.verify_while(&testing::name("example"), || change(10 * days + 1));
        assert_eq!(status(&run.daemon).verified_at, Some(first + 86400 * days));
        assert!(run.is_verified());
    }
}

/// What a zone's daily verification finds in a version that changed meanwhile is looked for in what is served, and withheld
/// if it is there still: of a zone that sealdns signs, whose every change was right by itself.
#[test]
fn what_is_wrong_is_found_though_the_zone_changes_meanwhile() {
    for is_mended in [false, true] {
        let machine = Machine::new("sign");
        machine.write_zone(&testing::zone(7, 20));
        let run = machine.start();
        let name = testing::name("example");
        let www = (testing::name("www.example"), Rtype::A);
        {
            // As if the memory that it lies in had changed.
            let mut states = run.daemon.zones.states();
            let loaded = states.get_mut(&name).unwrap().loaded.as_mut().unwrap();
            let flat = loaded.zone.flat().unwrap();
            loaded.zone = Version::of(spoilt(&flat, www.0.as_wire(), www.1));
            lock(&run.calls).versions.insert(name.clone(), loaded.zone.clone());
        }
        machine.clock.pass(Duration::from_secs(86400));
        run.daemon.zones.verify_while(&name, || {
            let mut builder = ZoneBuilder::new(name.clone());
            let is_kept =
                |owner: &Owner<'_>, _: &Rrset<'_>| !is_mended || owner.name() != www.0.as_wire();
            builder.copy(&testing::zone(8, 20), is_kept).unwrap();
            machine.write_zone(&builder.finish().unwrap());
            run.daemon.handle(Request::ZoneReload { zone: None });
            assert_eq!(run.serves(), (Some(8), None));
        });
        let expected: &[_] = if is_mended { &[] } else { std::slice::from_ref(&www) };
        assert_eq!(withheld(&run.daemon), expected);
        let status = status(&run.daemon);
        assert_eq!(status.verified_at, Some(machine.clock.wall().signature_time()));
        assert_eq!(status.withheld.is_some(), !is_mended);
        let Response::Reply(told) = run.daemon.handle(Request::Status) else { panic!() };
        let problems = Status::of(told).unwrap().problems;
        let is_told = problems.iter().any(|problem| problem.what.contains("SERVFAIL"));
        assert_eq!(is_told, !is_mended, "{problems:?}");
    }
}

/// Each RRset with a wrong signature: it and nothing else is withheld, until a version comes that has a right one.
#[test]
fn what_is_wrong_is_withheld_and_nothing_else() {
    for denial in [Denial::Nsec, Denial::Nsec3 { opt_out: false }, Denial::Nsec3 { opt_out: true }]
    {
        let machine = background();
        let whole = machine.signed(7, 2, SigningPolicy { denial, ..SigningPolicy::default() });
        for owner in whole.owners() {
            let types = owner.rrsets().map(|rrset| rrset.rtype());
            for rtype in types.filter(|rtype| owner.signatures(*rtype).next().is_some()) {
                machine.write_zone(&spoilt(&whole, owner.name(), rtype));
                let run = machine.start();
                assert_eq!(run.serves(), (Some(7), None));
                run.daemon.zones.verify_behind();
                let rrset = (Name::from_wire(owner.name()).unwrap(), rtype);
                assert_eq!(withheld(&run.daemon), std::slice::from_ref(&rrset), "{denial:?}");
                assert!(!run.is_verified());
                let status = status(&run.daemon);
                assert!(status.withheld.unwrap().contains(&rrset.0.to_string()));
                assert!(status.verified_at.is_some());
            }
        }
        let run = machine.start();
        run.daemon.zones.verify_behind();
        assert!(!withheld(&run.daemon).is_empty());
        machine.write_zone(&machine.signed(
            8,
            2,
            SigningPolicy { denial, ..SigningPolicy::default() },
        ));
        run.daemon.handle(Request::ZoneReload { zone: None });
        run.daemon.zones.verify_behind();
        assert!(run.is_verified() && withheld(&run.daemon).is_empty());
        assert_eq!(status(&run.daemon).withheld, None);
    }
}

/// The next run does not send what the last one found to be wrong.
#[test]
fn what_was_withheld_is_withheld_at_the_next_start() {
    let machine = background();
    let whole = machine.signed(7, 400, SigningPolicy::default());
    let www = b"\x03www\x07example\0";
    machine.write_zone(&spoilt(&whole, www, Rtype::A));
    machine.start().daemon.zones.verify_behind();
    for _ in 0..2 {
        let run = machine.start().follow_up();
        assert_eq!(withheld(&run.daemon), [(testing::name("www.example"), Rtype::A)]);
        assert!(status(&run.daemon).withheld.is_some() && !run.is_verified());
        run.daemon.zones.verify_behind();
    }
    // Taken as a whole from who asks, it is not served from what was kept.
    let mut builder = ZoneBuilder::new(whole.apex().clone());
    let keep =
        |owner: &Owner<'_>, rrset: &Rrset<'_>| owner.name() != www || rrset.rtype() != Rtype::NSEC;
    builder.copy(&whole, keep).unwrap();
    machine.write_zone(&builder.finish().unwrap());
    let run = machine.start().follow_up();
    assert_eq!(run.serves().0, Some(7));
    run.daemon.zones.verify_behind();
    assert!(run.serves().0.is_none());
    assert!(!machine.path("state/served/example.signed").exists());
}

/// Signatures that have ended are not sent by the clock; that so many have is no reason to take the zone away.
#[test]
fn a_zone_of_ended_signatures_stays_as_it_is() {
    for dnssec in ["dnssec = \"presigned\"\n", "dnssec = \"presigned\"\nverify = \"background\"\n"]
    {
        let machine = Machine::new("presigned");
        machine.configure(dnssec);
        // More signatures than a verifier tells faults.
        machine.write_zone(&machine.signed(7, 700, SigningPolicy::default()));
        let run = machine.start();
        run.daemon.zones.verify_behind();
        machine.clock.pass(Duration::from_secs(30 * 86400));
        run.daemon.zones.verify_behind();
        assert_eq!(run.serves(), (Some(7), None));
        assert!(withheld(&run.daemon).is_empty() && run.is_verified());
    }
}

/// What is no RRset's fault takes the zone: its proofs would lack.
#[test]
fn a_zone_whose_proofs_lack_is_not_served() {
    let machine = background();
    let whole = machine.signed(7, 2, SigningPolicy::default());
    let mut builder = ZoneBuilder::new(whole.apex().clone());
    let www = b"\x03www\x07example\0";
    let keep =
        |owner: &Owner<'_>, rrset: &Rrset<'_>| owner.name() != www || rrset.rtype() != Rtype::NSEC;
    builder.copy(&whole, keep).unwrap();
    machine.write_zone(&builder.finish().unwrap());
    let run = machine.start();
    assert_eq!(run.serves(), (Some(7), None));
    run.daemon.zones.verify_behind();
    let (serial, error) = run.serves();
    assert!(serial.is_none() && error.unwrap().contains("NSEC"));
}

/// With the default a zone that is wrong is not served at all, and an older version stays.
#[test]
fn by_default_a_zone_is_verified_first() {
    let machine = Machine::new("presigned");
    machine.write_zone(&spoilt(
        &machine.signed(7, 2, SigningPolicy::default()),
        b"\x03www\x07example\0",
        Rtype::A,
    ));
    assert_eq!(machine.start().serves().0, None);
}
