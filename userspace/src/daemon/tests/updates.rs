//! Updates of clients: all that wait are one change, which is durable before they are answered; what is changed stays
//! whatever the file says.

use std::fs;

use tokio::sync::oneshot::error::TryRecvError;

use super::last_run::{Machine, Run};
use super::*;
use crate::dnssec::verify::verify;
use crate::journal::FrameKind;
use crate::transfer::update::{Update, UpdateRecord};
use crate::zone::Rtype;

const HOSTS: u32 = 3000;

/// Where an update is told what became of it.
type Answered = tokio::sync::oneshot::Receiver<u16>;

fn machine(dnssec: &str) -> Machine {
    let machine = Machine::new(dnssec);
    machine.configure(&format!(
        "dnssec = {dnssec:?}\nallow-update = [{{ key = \"dhcp\", names = [\"*.example\"] }}]\n\
         [[tsig]]\nname = \"dhcp\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n"
    ));
    machine.write_zone(&testing::zone(7, HOSTS));
    machine
}

/// An address comes to a name, or (with class NONE) goes.
fn address(owner: &str, class: u16, last: u8) -> Update {
    let record = UpdateRecord {
        owner: testing::name(owner).as_wire().to_vec(),
        rtype: Rtype::A,
        class,
        ttl: if class == 1 { 300 } else { 0 },
        rdata: vec![192, 0, 2, last],
    };
    Update { prerequisites: Vec::new(), changes: vec![record] }
}

impl Run {
    fn send(&self, key: &str, update: Update) -> Answered {
        let updates = self.daemon.presented.updates();
        updates.add(testing::name("example"), update, testing::name(key), 100).unwrap()
    }

    /// Has all happen that waits. Who sent an update may be told a moment later.
    fn done(&self) {
        self.daemon.zones.note_updates();
        self.daemon.zones.until_idle();
    }

    fn addresses(&self, owner: &str) -> Vec<u8> {
        let calls = lock(&self.calls);
        let owner = calls.versions[&testing::name("example")].find(testing::name(owner).as_wire());
        let rrset = owner.as_ref().and_then(|owner| owner.rrset(Rtype::A));
        rrset.iter().flat_map(|rrset| rrset.rdatas()).map(|rdata| rdata[3]).collect()
    }
}

#[test]
fn all_that_wait_are_one_change_and_each_is_told_what_became_of_it() {
    for dnssec in ["off", "sign"] {
        let machine = machine(dnssec);
        let run = machine.start().follow_up();
        let serial = run.serves().0.unwrap();
        let (published, frames) = (lock(&run.calls).changes, run.history().changes.len());
        let mut answered: Vec<(Answered, u16)> = Vec::new();
        for last in 0..50 {
            let name = format!("host{}.example", u32::from(last) * 7);
            answered.push((run.send("dhcp", address(&name, 1, last)), 0));
        }
        answered.push((run.send("other", address("host1.example", 1, 9)), 5));
        answered.push((run.send("dhcp", address("example", 1, 9)), 5));
        answered.push((run.send("dhcp", address("elsewhere", 1, 9)), 5));
        let must_be_there =
            UpdateRecord { class: 255, ttl: 0, ..address("no.example", 1, 0).changes[0].clone() };
        let must_be_there = UpdateRecord { rdata: Vec::new(), ..must_be_there };
        let update = Update { prerequisites: vec![must_be_there], ..address("a.example", 1, 1) };
        answered.push((run.send("dhcp", update), 8));
        answered[0].0.try_recv().unwrap_err();
        run.done();
        for (number, (answered, expected)) in answered.into_iter().enumerate() {
            assert_eq!(answered.blocking_recv(), Ok(expected), "{dnssec} {number}");
        }
        assert_eq!(run.serves(), (Some(serial + 1), None), "{dnssec}");
        assert_eq!(lock(&run.calls).changes, published + 1, "{dnssec}: published by what changed");
        let history = run.history();
        assert_eq!(history.changes.len(), frames + 1, "{dnssec}: one sync");
        assert_eq!(history.changes[0].why, FrameKind::Update, "{dnssec}");
        assert_eq!(run.addresses("host7.example").last(), Some(&1));
        // What changes nothing is no version.
        let again = run.send("dhcp", address("host7.example", 1, 1));
        run.done();
        assert_eq!(again.blocking_recv(), Ok(0), "{dnssec}");
        assert_eq!(run.serves().0, Some(serial + 1), "{dnssec}");
        if dnssec == "sign" {
            let zone = lock(&run.calls).versions[&testing::name("example")].flat().unwrap();
            verify(&zone, machine.clock.wall().signature_time()).unwrap();
        }
    }
}

#[test]
fn what_is_changed_stays_whatever_the_file_says() {
    for dnssec in ["off", "sign"] {
        let machine = machine(dnssec);
        let run = machine.start().follow_up();
        let answered = run.send("dhcp", address("new.example", 1, 77));
        run.done();
        assert_eq!(answered.blocking_recv(), Ok(0));
        let serial = run.serves().0;
        drop(run);
        // The file changes while no daemon runs, and while one does.
        machine.write_zone(&testing::zone(30, HOSTS));
        let run = machine.start().follow_up();
        assert_eq!((run.serves().0, run.addresses("new.example")), (serial, vec![77]), "{dnssec}");
        machine.write_zone(&testing::zone(40, HOSTS));
        run.daemon.zones.reload().unwrap();
        assert_eq!((run.serves().0, run.addresses("new.example")), (serial, vec![77]), "{dnssec}");
        for (class, last, expected) in [(254, 77, vec![]), (1, 78, vec![78])] {
            let answered = run.send("dhcp", address("new.example", class, last));
            run.done();
            assert_eq!(answered.blocking_recv(), Ok(0));
            assert_eq!(run.addresses("new.example"), expected);
        }
        // Who asks for the file gets it.
        let request = Request::ZoneReload { zone: Some("example".into()) };
        assert!(matches!(run.daemon.handle(request), Response::Reply(_)));
        assert_eq!((run.serves().0, run.addresses("new.example")), (Some(40), vec![]), "{dnssec}");
    }
}

/// Updates of a zone that is not served are told so, and none waits for ever.
#[test]
fn what_cannot_be_done_is_told() {
    let machine = machine("sign");
    fs::remove_file(machine.path("zone")).unwrap();
    let run = machine.start();
    let mut answered = run.send("dhcp", address("new.example", 1, 77));
    assert_eq!(answered.try_recv(), Err(TryRecvError::Empty));
    run.done();
    assert!(answered.blocking_recv().is_err());
}
