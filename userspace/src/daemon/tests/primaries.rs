//! Zones that come from primaries: what comes is put in place by what it changes, kept, and served again after a restart
//! without a primary; what does not fit is refused; what no primary has expires.

use std::collections::BTreeMap;
use std::fs;

use super::last_run::{Machine, Run};
use super::*;
use crate::control::reply::zone::{PrimariesStatus, ZoneHistory, ZoneRefreshing};
use crate::daemon::life::refresh::Wanted;
use crate::daemon::secondary::{Answer, Round, RoundEnd};
use crate::daemon::state::Incoming;
use crate::dnssec::policy::SigningPolicy;
use crate::dnssec::verify::verify;
use crate::journal::FrameKind;
use crate::transfer::incoming::Transferred;
use crate::zone::{Rtype, Serial, Zone, visits};

const KINDS: [&str; 3] = ["off", "presigned", "sign"];

const HOSTS: u32 = 3000;

/// Looks at owners that are fewer than any walk takes.
const FEW: usize = HOSTS as usize / 2;

fn apex() -> Name {
    testing::name("example")
}

fn primary() -> SocketAddr {
    "192.0.2.53:53".parse().unwrap()
}

/// A machine whose zone comes from a primary.
fn machine(dnssec: &str) -> Machine {
    let machine = Machine::new(dnssec);
    let config = format!(
        "version = \"v1\"\n[server]\nstate-dir = \"state\"\n[[zone]]\nname = \"example\"\n\
         primaries = [\"192.0.2.53\", \"192.0.2.54\"]\ndnssec = \"{dnssec}\"\n"
    );
    fs::write(machine.path("sealdns.toml"), config).unwrap();
    machine
}

/// A version as the primary has it.
fn at_primary(machine: &Machine, dnssec: &str, serial: u32, hosts: u32) -> Zone {
    match dnssec {
        "presigned" => machine.signed(serial, hosts, SigningPolicy::default()),
        _ => Zone::clone(&testing::zone(serial, hosts)),
    }
}

/// What changes one version at the primary into another.
fn change(machine: &Machine, dnssec: &str, old: (u32, u32), new: (u32, u32)) -> Difference {
    let [old, new] = [old, new].map(|(serial, hosts)| at_primary(machine, dnssec, serial, hosts));
    Difference::between(&old, &new)
}

/// The records of a zone that are no matter of signing, without the SOA record.
fn records(zone: &Zone) -> Vec<(Vec<u8>, Rtype, Vec<Vec<u8>>)> {
    let is_made =
        |rtype: Rtype| matches!(rtype, Rtype::SOA | Rtype::RRSIG | Rtype::NSEC | Rtype::DNSKEY);
    let rrsets = zone.owners().flat_map(|owner| {
        owner.rrsets().map(move |rrset| {
            let rdatas = rrset.rdatas().map(<[u8]>::to_vec).collect();
            (owner.name().to_vec(), rrset.rtype(), rdatas)
        })
    });
    rrsets.filter(|(_, rtype, _)| !is_made(*rtype)).collect()
}

impl Run {
    /// The round that is due.
    fn round(&self) -> Option<Round> {
        self.daemon.zones.begin_rounds(BTreeMap::new(), 10).pop()
    }

    /// Ends a round so, and has all happen that is due then.
    fn end(&self, round: &Round, answer: Option<Answer>) {
        let failures = match answer {
            None => vec![(primary(), "connecting: nothing in 5 s".to_owned())],
            Some(_) => Vec::new(),
        };
        let answer = answer.map(|answer| (primary(), answer));
        self.daemon.zones.hold_round(round).end(RoundEnd { failures, answer });
        self.daemon.zones.live();
        self.daemon.zones.until_idle();
    }

    /// A round that brings this.
    fn bring(&self, transferred: Transferred) {
        let round = self.round().expect("a round is due");
        let since = round.since;
        self.end(&round, Some(Answer::Incoming(Incoming { transferred, since })));
    }

    fn served(&self) -> Zone {
        lock(&self.calls).versions[&apex()].flat().unwrap()
    }

    fn request<K: Kind>(&self, request: Request) -> K {
        match self.daemon.handle(request) {
            Response::Reply(reply) => K::of(reply).unwrap(),
            Response::Error(failure) => panic!("{failure}"),
        }
    }

    fn primaries(&self) -> PrimariesStatus {
        let status: ZoneStatus = self.request(Request::ZoneStatus { zone: "example".into() });
        status.primaries.expect("it comes from primaries")
    }

    /// A person or a NOTIFY asks.
    fn refresh(&self, whole: bool, clock: &Clock) {
        clock.pass(Duration::from_secs(2));
        let refreshing: ZoneRefreshing =
            self.request(Request::ZoneRefresh { zone: "example".into(), whole });
        assert_eq!(refreshing.whole, whole);
    }
}

/// The first transfer, differences, a restart without a primary, and differences again: at the cost of what they change.
#[test]
fn what_changes_is_put_in_place_by_itself_and_found_after_a_restart() {
    for dnssec in KINDS {
        let machine = machine(dnssec);
        let run = machine.start();
        assert!(run.serves().1.unwrap().contains("no version of it has come"), "{dnssec}");
        let round = run.round().unwrap();
        assert_eq!((round.wanted, round.since), (Wanted::Whole, None));
        assert_eq!(round.primaries.len(), 2);
        run.end(&round, None);
        let status = run.primaries();
        assert!(run.serves().1.unwrap().contains("nothing in 5 s"), "{dnssec}");
        assert_eq!((status.last_success, status.asked), (None, Some(primary())));
        assert_eq!(status.failure.unwrap(), "192.0.2.53:53: connecting: nothing in 5 s");
        assert!(run.round().is_none(), "only after a while");
        machine.clock.pass(Duration::from_secs(10));
        run.bring(Transferred::Zone(at_primary(&machine, dnssec, 7, HOSTS)));
        assert_eq!(run.serves(), (Some(7), None), "{dnssec}");
        assert_eq!(run.primaries().serial, Some(7));
        assert!(run.round().is_none(), "REFRESH has not passed");

        // Two differences at once.
        machine.clock.pass(Duration::from_secs(300));
        let one = change(&machine, dnssec, (7, HOSTS), (8, HOSTS + 1));
        let two = change(&machine, dnssec, (8, HOSTS + 1), (9, HOSTS - 1));
        let changes = lock(&run.calls).changes;
        run.bring(Transferred::Differences(vec![one, two]));
        assert_eq!(run.serves(), (Some(9), None), "{dnssec}");
        assert_eq!(lock(&run.calls).changes, changes + 1, "{dnssec}: published by what changed");
        let expected = at_primary(&machine, dnssec, 9, HOSTS - 1);
        assert_eq!(records(&run.served()), records(&expected), "{dnssec}");
        let history: ZoneHistory = run.request(Request::ZoneHistory { zone: "example".into() });
        assert_eq!(history.changes[0].why, FrameKind::Transfer, "{dnssec}");

        let before = run.served();
        drop(run);
        let run = machine.start();
        assert_eq!(run.serves(), (Some(9), None), "{dnssec}");
        assert_eq!(run.served().arrays(), before.arrays(), "{dnssec}");
        let run = run.follow_up();
        run.refresh(false, &machine.clock);
        let round = run.round().unwrap();
        assert_eq!((round.wanted, round.since), (Wanted::Newer, Some(Serial(9))), "{dnssec}");
        run.end(&round, Some(Answer::UpToDate));
        machine.clock.pass(Duration::from_secs(300));
        let three = change(&machine, dnssec, (9, HOSTS - 1), (10, HOSTS));
        run.bring(Transferred::Differences(vec![three]));
        assert_eq!(run.serves(), (Some(10), None), "{dnssec}");
        assert_eq!(records(&run.served()), records(&at_primary(&machine, dnssec, 10, HOSTS)));
        if dnssec != "off" {
            verify(&run.served(), machine.clock.wall().signature_time()).unwrap();
        }
    }
}

/// The serial that sealdns gives a zone that it signs leaves that of the primary behind; differences fit all the same.
#[test]
fn a_zone_that_is_signed_here_is_asked_for_by_the_serial_of_its_primary() {
    let machine = machine("sign");
    let run = machine.start();
    run.bring(Transferred::Zone(at_primary(&machine, "sign", 7, 20)));
    // Its signatures are made anew. A primary is heard of meanwhile.
    machine.clock.pass(Duration::from_secs(8 * 86400));
    let round = run.round().unwrap();
    run.end(&round, Some(Answer::UpToDate));
    let (serial, _) = run.serves();
    assert!(serial > Some(7), "{serial:?}");
    drop(run);
    let run = machine.start();
    assert_eq!(run.serves(), (serial, None));
    run.refresh(false, &machine.clock);
    let round = run.round().unwrap();
    assert_eq!((round.wanted, round.since), (Wanted::Newer, Some(Serial(7))));
    run.end(
        &round,
        Some(Answer::Incoming(Incoming {
            transferred: Transferred::Zone(at_primary(&machine, "sign", 8, 20)),
            since: None,
        })),
    );
    let (serial, error) = run.serves();
    assert!(serial > Some(8) && error.is_none(), "{serial:?} {error:?}");
    run.refresh(false, &machine.clock);
    let round = run.round().unwrap();
    assert_eq!(round.since, Some(Serial(8)));
    let change = change(&machine, "sign", (8, 20), (9, 21));
    let transferred = Transferred::Differences(vec![change]);
    run.end(&round, Some(Answer::Incoming(Incoming { transferred, since: round.since })));
    assert!(run.serves().0 > serial);
    assert_eq!(records(&run.served()), records(&at_primary(&machine, "sign", 9, 21)));
    assert_eq!(run.primaries().serial, Some(9));
}

/// Differences that do not fit, records that must not be served: what is served stays, and the reason is told.
#[test]
fn what_must_not_be_served_changes_nothing() {
    for dnssec in KINDS {
        let machine = machine(dnssec);
        let run = machine.start();
        run.bring(Transferred::Zone(at_primary(&machine, dnssec, 7, 20)));
        let before = run.served();
        run.refresh(false, &machine.clock);
        let unfit = change(&machine, dnssec, (7, 22), (8, 21));
        run.bring(Transferred::Differences(vec![unfit]));
        assert_eq!(run.serves(), (Some(7), None), "{dnssec}");
        assert_eq!(run.served().arrays(), before.arrays());
        // All of it, at once.
        let round = run.round().unwrap();
        assert_eq!(round.wanted, Wanted::Whole, "{dnssec}");
        run.end(
            &round,
            Some(Answer::Incoming(Incoming {
                transferred: Transferred::Zone(at_primary(&machine, dnssec, 8, 21)),
                since: round.since,
            })),
        );
        assert_eq!(run.serves(), (Some(8), None), "{dnssec}");

        // A CNAME record beside others.
        run.refresh(false, &machine.clock);
        let good = at_primary(&machine, dnssec, 9, 21);
        let mut builder = crate::zone::ZoneBuilder::new(apex());
        builder.copy(&good, |_, _| true).unwrap();
        let owner = good.owners().nth(5).unwrap().name().to_vec();
        builder.push(&owner, Rtype::CNAME, 60, b"\x02to\0").unwrap();
        let bad = builder.finish().unwrap();
        let bad = Difference::between(&at_primary(&machine, dnssec, 8, 21), &bad);
        run.bring(Transferred::Differences(vec![bad]));
        let (serial, error) = run.serves();
        assert_eq!(serial, Some(8), "{dnssec}");
        assert!(error.is_some(), "{dnssec}");
        machine.clock.pass(Duration::from_secs(300));
        run.bring(Transferred::Zone(good));
        assert_eq!(run.serves(), (Some(9), None), "{dnssec}: {:?}", run.primaries());
    }
}

/// No primary is heard of: the zone is served until its SOA record's EXPIRE, with an alarm before, across restarts, and not
/// any longer.
#[test]
fn a_zone_expires() {
    for dnssec in KINDS {
        let machine = machine(dnssec);
        let mut run = machine.start();
        let zone = at_primary(&machine, dnssec, 7, 20);
        let expire = zone.soa_fields().unwrap().expire;
        run.bring(Transferred::Zone(zone));
        let problems = |run: &Run| {
            let status: Status = run.request(Request::Status);
            status.problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(problems(&run), Vec::<String>::new(), "{dnssec}");
        for eighth in 1..8 {
            machine.clock.pass(Duration::from_secs(u64::from(expire / 8)));
            if eighth == 4 {
                drop(run);
                run = machine.start();
            }
            if let Some(round) = run.round() {
                run.end(&round, None);
            }
            assert!(run.serves().0.is_some(), "{dnssec}: {eighth} of 8");
            let said = problems(&run).concat();
            assert_eq!(said.contains("it expires in"), eighth >= 6, "{dnssec}, {eighth}: {said}");
        }
        machine.clock.pass(Duration::from_secs(u64::from(expire / 8) + 60));
        run.daemon.zones.live();
        run.daemon.zones.until_idle();
        let (serial, error) = run.serves();
        assert_eq!(serial, None, "{dnssec}");
        assert!(error.unwrap().contains("it has expired"), "{dnssec}");
        // Nor by the next daemon, until there is another version.
        drop(run);
        let run = machine.start();
        assert_eq!(run.serves().0, None, "{dnssec}");
        run.bring(Transferred::Zone(machine_zone_now(&machine, dnssec, 8)));
        assert!(run.serves().0.is_some(), "{dnssec}: {:?}", run.serves());
    }
}

/// A version whose signatures hold by the machine's clock.
fn machine_zone_now(machine: &Machine, dnssec: &str, serial: u32) -> Zone {
    match dnssec {
        "presigned" => machine.signed_at(serial, 20, machine.clock.wall().signature_time()),
        _ => at_primary(machine, dnssec, serial, 20),
    }
}

/// Nobody walks over a zone for what changed of it.
#[test]
fn differences_are_no_walk() {
    for dnssec in KINDS {
        let machine = machine(dnssec);
        let run = machine.start();
        run.bring(Transferred::Zone(at_primary(&machine, dnssec, 7, HOSTS)));
        // The first one finds what all later ones go by.
        let mut looked_at = usize::MAX;
        for serial in 8..10 {
            let hosts = HOSTS + serial - 8;
            let change = change(&machine, dnssec, (serial - 1, hosts), (serial, hosts + 1));
            let states = run.daemon.zones.states();
            let loaded = states[&apex()].loaded.as_ref().unwrap();
            let (served, known) = (loaded.zone.clone(), loaded.verification.clone());
            let origin = loaded.origin.clone();
            drop(states);
            let incoming = Incoming {
                transferred: Transferred::Differences(vec![change.clone()]),
                since: Some(Serial(serial - 1)),
            };
            let config = Config::load(&machine.path("sealdns.toml")).unwrap();
            let section = config.zones().next().unwrap();
            let before = CurrentVersion {
                serial: Some(served.serial()),
                served: Some(&served),
                verified: known.as_ref().map(|_| &served),
                verification: known.as_ref(),
                origin: origin.as_ref(),
                is_signed: dnssec != "off",
                incoming: Some(&incoming),
                ..CurrentVersion::default()
            };
            let files = crate::daemon::prepare::ZoneFiles::new(&config);
            let now = machine.clock.wall().signature_time();
            let policy = config.policy(section);
            let (prepared, visited) = visits::of(|| files.prepare(section, &policy, before, now));
            assert_eq!(prepared.unwrap().zone.serial(), Serial(serial), "{dnssec}");
            looked_at = visited;
            run.refresh(false, &machine.clock);
            run.bring(Transferred::Differences(vec![change]));
        }
        assert!(looked_at < FEW, "{dnssec}: {looked_at}");
    }
}
