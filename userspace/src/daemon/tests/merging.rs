//! What changed of a zone merged while it goes on changing.

use std::cell::Cell;

use super::last_run::{Machine, Run};
use super::*;
use crate::config::Dnssec;
use crate::dnssec::verify::verify;
use crate::zone::{Rtype, Zone};

/// Hosts of a zone of which a few changes are no reason to merge it.
const MANY_HOSTS: u32 = 3000;

/// Hosts of a zone that is merged after some changes.
const HOSTS: u32 = 400;

/// What is served.
fn served(run: &Run) -> Version {
    let states = run.daemon.zones.states();
    states[&testing::name("example")].loaded.as_ref().unwrap().zone.clone()
}

/// All records but those that a signer makes.
fn records(version: &Version) -> Vec<(Name, Rtype, u32, Vec<u8>)> {
    let mut records = Vec::new();
    for owner in version.owners() {
        for rrset in owner.rrsets() {
            if matches!(rrset.rtype(), Rtype::RRSIG | Rtype::NSEC | Rtype::DNSKEY) {
                continue;
            }
            let name = Name::from_wire(owner.name()).unwrap();
            let of_rrset = rrset.rdatas().map(|rdata| {
                (name.clone(), rrset.rtype(), owner.record_ttl(&rrset, rdata), rdata.to_vec())
            });
            records.extend(of_rrset);
        }
    }
    records
}

/// Whatever comes while a zone is merged is there afterwards; what is merged and not served any more is left.
#[test]
fn changes_that_come_while_a_zone_is_merged_are_kept() {
    for dnssec in [Dnssec::Off, Dnssec::Sign] {
        let machine = Machine::new(if dnssec == Dnssec::Off { "off" } else { "sign" });
        let name = testing::name("example");
        machine.write_zone(&testing::zone(1, MANY_HOSTS));
        let run = machine.start();
        run.daemon.zones.until_idle();
        let last = Cell::new(1);
        let zone = || testing::zone(last.get(), MANY_HOSTS + last.get() % 3);
        let change = || {
            last.set(last.get() + 1);
            machine.write_zone(&zone());
            run.daemon.handle(Request::ZoneReload { zone: None });
            assert_eq!(run.serves(), (Some(last.get()), None));
        };
        for changes in [0, 1, 3, 1] {
            change();
            let (before, exchanged) = (served(&run), lock(&run.calls).exchanged);
            assert!(before.overlay_octets() > 0);
            run.daemon.zones.merge_while(&name, || (0..changes).for_each(|_| change()));
            let after = served(&run);
            assert_eq!(lock(&run.calls).exchanged, exchanged + 1);
            assert!(!after.has_same_flat_zone(&before));
            // No more lies over the flat zone than what came meanwhile.
            assert_eq!(after.overlay_octets() > 0, changes > 0);
            assert_eq!(records(&after), records(&Version::of(Zone::clone(&zone()))));
            if dnssec == Dnssec::Sign {
                let now = machine.clock.wall().signature_time();
                assert!(verify(&after.flat().unwrap(), now).is_ok());
            }
        }
        // The next ones are differences still.
        let by_difference = lock(&run.calls).changes;
        change();
        assert_eq!(lock(&run.calls).changes, by_difference + 1);
        // A zone that is made anew meanwhile stays as it was made.
        let exchanged = lock(&run.calls).exchanged;
        run.daemon.zones.merge_while(&name, || {
            machine.write_zone(&testing::zone(101, 3 * MANY_HOSTS));
            run.daemon.handle(Request::ZoneReload { zone: None });
        });
        assert_eq!(run.serves(), (Some(101), None));
        assert_eq!(lock(&run.calls).exchanged, exchanged);
        assert_eq!(served(&run).serial().0, 101);
    }
}

/// A zone that is merged by itself, again and again: the memory that changes take stays a part of the zone's.
#[test]
fn a_zone_is_merged_when_it_is_due() {
    let machine = Machine::new("sign");
    machine.write_zone(&testing::zone(1, HOSTS));
    let run = machine.start();
    for serial in 2..60 {
        machine.write_zone(&testing::zone(serial, HOSTS + serial));
        run.daemon.handle(Request::ZoneReload { zone: None });
        assert_eq!(run.serves(), (Some(serial), None));
    }
    let is_merging = || {
        let states = run.daemon.zones.states();
        states[&testing::name("example")].work.is_merging
    };
    while is_merging() {
        std::thread::yield_now();
    }
    assert!(lock(&run.calls).exchanged > 0);
    assert!(!served(&run).is_merge_due());
    let served = served(&run);
    let now = machine.clock.wall().signature_time();
    assert!(verify(&served.flat().unwrap(), now).is_ok());
}
