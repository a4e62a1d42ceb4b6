//! Zones that come and go as a catalog says, and a catalog of the zones that are served.

use std::fs;

use super::last_run::{Machine, Run};
use super::*;
use crate::control::reply::zone::{CatalogStatus, ZoneSource};
use crate::daemon::life::refresh::Wanted;
use crate::transfer::catalog::Members;

/// The catalog is the zone `example`, whose file is `zone`.
const CONFIG: &str = "version = \"v1\"\n[server]\nstate-dir = \"state\"\n\
    [template.member]\nfile = \"{zone}.zone\"\ndnssec = \"off\"\nin-catalog = \"made\"\n\
    [template.gold]\nfile = \"{zone}.zone\"\nin-catalog = \"made\"\ncatalog-group = \"signed\"\n\
    [template.far]\nprimaries = [\"192.0.2.53\"]\ndnssec = \"off\"\n\
    [[zone]]\nname = \"example\"\nfile = \"zone\"\ncatalog = \"consume\"\nmember-template = \"member\"\n\
    member-groups = { gold = \"gold\", far = \"far\" }\n\
    [[zone]]\nname = \"own\"\nfile = \"own.zone\"\ndnssec = \"off\"\n\
    [[zone]]\nname = \"made\"\ncatalog = \"produce\"\n";

fn machine() -> Machine {
    let machine = Machine::new("off");
    fs::write(machine.path("sealdns.toml"), CONFIG).unwrap();
    for zone in ["one", "two", "three", "own"] {
        write_zone(&machine, zone, 1);
    }
    machine
}

fn write_zone(machine: &Machine, zone: &str, serial: u32) {
    let text = format!(
        "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns host {serial} 3600 900 86400 60\n@ NS ns\nns A 192.0.2.1\n"
    );
    fs::write(machine.path(&format!("{zone}.zone")), text).unwrap();
}

fn write_catalog(machine: &Machine, serial: u32, records: &str) {
    let text = format!(
        "$TTL 0\n@ SOA invalid. invalid. {serial} 3600 600 86400 0\n@ NS invalid.\n{records}\n"
    );
    fs::write(machine.path("zone"), text).unwrap();
}

const V2: &str = "version TXT \"2\"\n";

impl Run {
    /// The catalog's file is read again, and all happens that is due then.
    fn reload_catalog(&self) {
        self.daemon.handle(Request::ZoneReload { zone: Some("example".into()) });
        self.settle();
    }

    fn settle(&self) {
        self.daemon.zones.until_idle();
        self.daemon.zones.live();
        self.daemon.zones.until_idle();
        self.daemon.zones.follow(&mut **self.daemon.plane.hold());
    }

    fn handle<K: Kind>(&self, request: Request) -> K {
        match self.daemon.handle(request) {
            Response::Reply(reply) => K::of(reply).unwrap(),
            Response::Error(failure) => panic!("{failure}"),
        }
    }

    fn zone(&self, zone: &str) -> ZoneStatus {
        self.handle(Request::ZoneStatus { zone: zone.into() })
    }

    fn lists(&self) -> CatalogStatus {
        self.zone("example").lists.expect("it is a catalog")
    }

    /// The members that are served: by the data plane, and by the sockets, which must be the same.
    fn members(&self) -> Vec<String> {
        let published: Vec<Name> = lock(&self.calls).zones.keys().cloned().collect();
        let served = self.daemon.presented.shared().get();
        let listed: ZoneList = self.handle(Request::ZoneList);
        for zone in &listed.zones {
            let name: Name = zone.zone.parse().unwrap();
            let by_sockets = served.zone_at(name.as_wire()).is_some_and(|zone| zone.zone.is_some());
            assert_eq!(published.contains(&name), by_sockets, "{name}");
        }
        for name in &published {
            assert!(listed.zones.iter().any(|zone| zone.zone == name.to_string()), "{name}");
        }
        let members = listed.zones.iter().filter(|zone| zone.catalog.is_some());
        members
            .map(|zone| zone.zone.clone())
            .filter(|zone| published.contains(&zone.parse().unwrap()))
            .collect()
    }

    /// What the catalog lists that is made here, with its serial.
    fn made(&self) -> (u32, Vec<(String, Vec<String>)>) {
        let version = lock(&self.calls).versions[&testing::name("made")].clone();
        let mut members = Members::default();
        members.follow(None, &version).unwrap();
        let listed = members.iter().map(|(zone, member)| (zone.to_string(), member.groups.clone()));
        (version.serial().0, listed.collect())
    }
}

#[test]
fn members_come_and_go_without_a_reload_and_are_there_after_a_restart() {
    let machine = machine();
    let both = format!(
        "{V2}a.zones PTR one.\nb.zones PTR two.\ngroup.b.zones TXT gold\nc.zones PTR own.\n"
    );
    write_catalog(&machine, 1, &both);
    let run = machine.start();
    assert_eq!(run.members(), ["one.", "two."], "all are served when the start is over");
    let status = run.zone("two");
    assert_eq!((status.group.as_deref(), status.summary.source), (Some("gold"), ZoneSource::File));
    assert_eq!(status.summary.catalog.as_deref(), Some("example."));
    let lists = run.lists();
    assert_eq!((lists.members, lists.refused), (3, 1));
    assert_eq!(lists.first_refused[0].zone, "own.");
    run.settle();
    let group = |zone: &str, group: &[&str]| {
        (zone.to_owned(), group.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>())
    };
    let (serial, made) = run.made();
    assert_eq!(made, [group("one.", &[]), group("two.", &["signed"])]);

    write_catalog(
        &machine,
        2,
        &format!("{V2}b.zones PTR two.\ngroup.b.zones TXT gold\nd.zones PTR three.\n"),
    );
    run.reload_catalog();
    assert_eq!(run.members(), ["three.", "two."]);
    let (next, made) = run.made();
    assert_eq!(made, [group("three.", &[]), group("two.", &["signed"])]);
    assert!(next > serial);
    assert!(matches!(
        run.daemon.handle(Request::ZoneStatus { zone: "one".into() }),
        Response::Error(_)
    ));

    // A reload of all changes nothing of members, and finds their files.
    write_zone(&machine, "three", 22);
    let reload: ZoneReload = run.handle(Request::ZoneReload { zone: None });
    let changed: Vec<&str> = reload
        .zones
        .iter()
        .filter(|zone| zone.change == zone::Change::Loaded)
        .map(|zone| &zone.zone[..])
        .collect();
    assert_eq!(changed, ["three."]);
    assert_eq!(run.members(), ["three.", "two."]);
    assert_eq!(run.made().0, next, "nothing came or went");
    let keys = |name: &str| {
        fs::read_dir(machine.path("state/keys"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(name))
            .count()
    };
    assert!(keys("two") > 0);

    // What is broken changes nothing, now and after a restart.
    for broken in
        ["", "version TXT \"1\"\n", "version TXT \"2\"\na.zones PTR one.\na.zones PTR two.\n"]
    {
        write_catalog(&machine, 3, broken);
        run.reload_catalog();
        let status = run.zone("example");
        assert_eq!(status.summary.serial, Some(2));
        assert!(status.summary.error.unwrap().contains("the catalog is broken"), "{broken}");
        assert_eq!(run.members(), ["three.", "two."]);
    }
    drop(run);
    let run = machine.start();
    run.settle();
    assert_eq!(run.members(), ["three.", "two."]);
    assert_eq!(run.made(), (next, vec![group("three.", &[]), group("two.", &["signed"])]));

    // Nothing that was served is kept of a member that leaves; its keys are.
    let kept = || machine.path("state/signed/two.signed").exists();
    assert!(kept());
    write_catalog(&machine, 4, V2);
    run.reload_catalog();
    assert_eq!(run.members(), [""; 0]);
    assert!(!kept() && keys("two") > 0);
    assert_eq!(run.lists().members, 0);
}

#[test]
fn another_label_is_another_zone() {
    let machine = machine();
    write_catalog(&machine, 1, &format!("{V2}a.zones PTR two.\ngroup.a.zones TXT gold\n"));
    let run = machine.start();
    let identity = || Arc::clone(&run.daemon.zones.states()[&testing::name("two")].work.identity);
    let before = identity();
    // Else what is kept would be served.
    fs::write(machine.path("two.zone"), "what is this").unwrap();
    write_catalog(&machine, 2, &format!("{V2}a.zones PTR two.\n"));
    run.reload_catalog();
    assert!(Arc::ptr_eq(&before, &identity()), "another group is the same zone");
    assert_eq!(run.members(), ["two."]);
    write_catalog(&machine, 3, &format!("{V2}b.zones PTR two.\ngroup.b.zones TXT gold\n"));
    run.reload_catalog();
    assert!(!Arc::ptr_eq(&before, &identity()));
    assert_eq!(run.members(), [""; 0]);
    assert!(run.zone("two").summary.error.is_some());
    write_zone(&machine, "two", 3);
    run.daemon.handle(Request::ZoneReload { zone: Some("two".into()) });
    run.settle();
    assert_eq!(run.members(), ["two."]);
}

#[test]
fn members_are_asked_for_from_the_primaries_of_their_template() {
    let machine = machine();
    write_catalog(&machine, 1, &format!("{V2}a.zones PTR faraway.\ngroup.a.zones TXT far\n"));
    let run = machine.start();
    let round =
        run.daemon.zones.begin_rounds(BTreeMap::new(), 10).pop().expect("it is due at once");
    assert_eq!((round.name.to_string(), round.wanted), ("faraway.".to_owned(), Wanted::Whole));
    assert_eq!(round.primaries.len(), 1);
    assert!(run.daemon.zones.states()[&round.name].member_of.is_some());
    // It goes while it is asked for.
    let held = run.daemon.zones.hold_round(&round);
    write_catalog(&machine, 2, V2);
    run.reload_catalog();
    drop(held);
    assert!(!run.daemon.zones.states().contains_key(&round.name));
    assert_eq!(run.members(), [""; 0]);
}
