//! A daemon's life: it serves, is reloaded, asked and stopped, and starts again with what it served.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use sealdns::control::client::call;
use sealdns::control::protocol::Request;
use sealdns::control::reply::status::Health;
use sealdns::control::reply::zone::{
    Change, ServingState, VersionDifference, ZoneList, ZoneReload,
};
use sealdns::control::reply::{FailedCommand, Reply};
use sealdns::daemon::locks::WRONG_ORDER;

use super::stage::{Daemon, PATIENCE, SEALDNS, Stage, ZONE, dig, refused};

#[test]
fn a_daemon_s_life() {
    let stage = Stage::new();
    let (code, failed) = stage.reply::<FailedCommand>(&["zone", "list"]);
    assert_eq!((code, failed.error.code.as_str()), (4, "unreachable"));

    let daemon = Daemon::start(&stage.config);
    let zone = stage.zone();
    assert_eq!((zone.summary.state, zone.summary.serial), (ServingState::Serving, Some(7)));
    assert_eq!(stage.command(&["health"]).0, 0);

    // What is transferred is the signed zone, and other people's tools accept it.
    let records = stage.transferred();
    assert_eq!(zone.records, Some(records.len() as u64 - 1));
    assert_eq!(records.first(), records.last());
    let signed = stage.folder.path().join("transferred");
    std::fs::write(&signed, records[..records.len() - 1].join("\n") + "\n").expect("a file");
    let verified = Command::new("dnssec-verify")
        .args(["-o", "example.com"])
        .arg(&signed)
        .output()
        .expect("dnssec-verify is installed");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));

    // A zone that is broken leaves the old one serving, by signal and by command.
    stage.write_zone(&format!("{ZONE}www A 192.0.2.300\n"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("the older version, serial 7, is still served");
    let (code, reload) = stage.reply::<ZoneReload>(&["zone", "reload"]);
    assert_eq!((code, reload.zones[0].change), (1, Change::Failed));
    let zone = stage.zone();
    assert_eq!((zone.summary.state, zone.summary.serial), (ServingState::ServingOld, Some(7)));
    assert!(zone.summary.error.is_some_and(|error| error.contains("example.com.zone:7:7")));
    let (code, health) = stage.reply::<Health>(&["health"]);
    let problem = &health.problems[0];
    assert_eq!((code, problem.subject.as_str()), (3, "zone example.com."), "{health:?}");
    assert!(problem.what.contains("example.com.zone:7:7"));
    assert_eq!(stage.transferred(), records);

    // Repaired, it has a serial that secondaries take for newer, though the file's is the same.
    stage.write_zone(&format!("{ZONE}new A 192.0.2.3\n"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("reloaded zones=1 failed=0");
    assert_eq!(stage.zone().summary.serial, Some(8));
    let repaired = stage.transferred();
    assert!(repaired.iter().any(|line| line.starts_with("new.example.com.")));

    // What a reload tells of the difference is what a transfer before and one after it show.
    stage.write_zone(&format!("{ZONE}new A 192.0.2.4\n"));
    let (code, reload) = stage.reply::<ZoneReload>(&["zone", "reload"]);
    let changed = stage.transferred();
    let only = |these: &[String], those: &[String]| {
        these[1..].iter().filter(|record| !those.contains(record)).count() as u64
    };
    let difference = VersionDifference {
        old_serial: 8,
        new_serial: 9,
        removed: only(&repaired, &changed),
        added: only(&changed, &repaired),
    };
    assert!(difference.added >= 4, "SOA, A and two signatures: {difference:?}");
    assert_eq!((code, reload.zones[0].difference), (0, Some(difference)));

    // A second daemon does not take the first one's place.
    let said = refused(&stage.config);
    assert!(said.contains("is in use by process"), "{said}");
    assert_eq!(stage.command(&["health"]).0, 0);

    // An idle client does not keep it from ending.
    let _idle = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, stage.port)).expect("TCP");
    daemon.signal(Signal::SIGTERM);
    let (status, said) = daemon.wait_and_hear();
    assert!(status.success(), "{status}");
    assert!(said.iter().any(|line| line.contains("stopping")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("`shutdown-timeout` has passed")), "{said:?}");
    assert!(!stage.folder.path().join("run/control.sock").exists());

    // Started again, it serves what it served, with the same signatures and so with the same serial.
    let daemon = Daemon::start(&stage.config);
    assert_eq!(stage.zone().summary.serial, Some(9));
    assert_eq!(stage.transferred(), changed);
    assert_eq!(stage.command(&["stop"]).0, 0);
    assert!(daemon.wait().success());
}

#[test]
fn monitors_ask_while_zones_change() {
    const TURNS: usize = 300;
    let stage = Stage::new();
    let daemon = Daemon::start(&stage.config);
    let control = stage.folder.path().join("run/control.sock");
    let ask = |request: &Request| {
        let reply = call::<Reply>(&control, request, PATIENCE);
        reply.unwrap_or_else(|error| panic!("{request:?}: {error}"))
    };
    let questions = [Request::Status, Request::Status, Request::CacheStatus, Request::Stats];
    std::thread::scope(|scope| {
        for question in &questions {
            scope.spawn(|| (0..TURNS).for_each(|_| drop(ask(question))));
        }
        let zone = Some("example.com".to_owned());
        let reloads = [Request::ZoneReload { zone }, Request::ZoneReload { zone: None }];
        for _ in 0..TURNS / 10 {
            reloads.iter().for_each(|reload| drop(ask(reload)));
        }
    });
    assert_eq!(stage.command(&["health"]).0, 0);
    daemon.signal(Signal::SIGTERM);
    let mut said = Vec::new();
    while let Ok(line) = daemon.lines.recv_timeout(PATIENCE) {
        said.push(line);
    }
    assert!(daemon.wait().success());
    assert!(!said.iter().any(|line| line.contains(WRONG_ORDER)), "{}", said.join("\n"));
}

#[test]
fn zones_are_served_as_they_are_loaded() {
    let stage = Stage::new();
    std::fs::write(stage.folder.path().join("slow.zone"), ZONE).expect("the zone");
    // Who signs waits until nobody writes keys.
    let keys = stage.folder.path().join("state/keys");
    std::fs::create_dir_all(&keys).expect("a folder");
    let keys = std::fs::File::open(&keys).expect("the folder");
    let keys = Flock::lock(keys, FlockArg::LockExclusiveNonblock).expect("nobody writes keys");
    let text = std::fs::read_to_string(&stage.config).expect("the configuration");
    let text = format!(
        "{text}dnssec = \"off\"\n[[zone]]\nname = \"slow.example\"\nfile = \"slow.zone\"\n"
    );
    std::fs::write(&stage.config, text).expect("the configuration");
    let daemon = Daemon::begin(&stage.config, &[]);
    daemon.wait_for("zone loaded");
    // One is served while the other is on its way; how soon is a matter of the next tick.
    let deadline = Instant::now() + PATIENCE;
    while !dig("127.0.0.1", stage.port, &["example.com", "SOA"]).contains("status: NOERROR") {
        assert!(Instant::now() < deadline, "the zone that is loaded is not served");
    }
    let said = dig("127.0.0.1", stage.port, &["www.slow.example", "A"]);
    assert!(said.contains("status: SERVFAIL") && said.contains("EDE: 14"), "{said}");
    let said = dig("127.0.0.1", stage.port, &["www.example.org", "A"]);
    assert!(said.contains("status: REFUSED"), "{said}");
    let (_, list) = stage.reply::<ZoneList>(&["zone", "list"]);
    let states: Vec<ServingState> = list.zones.iter().map(|zone| zone.state).collect();
    assert_eq!(states, [ServingState::Serving, ServingState::Loading]);
    let (code, health) = stage.reply::<Health>(&["health"]);
    assert_eq!((code, health.problems[0].subject.as_str()), (3, "zones"), "{health:?}");
    daemon.wait_for("loading zones: 1 of 2");
    drop(keys);
    daemon.wait_for("ready");
    let said = dig("127.0.0.1", stage.port, &["www.slow.example", "A"]);
    assert!(said.contains("status: NOERROR"), "{said}");
    assert_eq!(stage.command(&["health"]).0, 0);
}

#[test]
fn a_log_that_nobody_reads_harms_nobody() {
    let stage = Stage::new();
    let start = |until: &str| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let child = Command::new(SEALDNS)
            .args(["run", "--config"])
            .arg(&stage.config)
            .stdout(writer.try_clone().expect("a copy"))
            .stderr(writer)
            .spawn()
            .expect("sealdns starts");
        let mut lines = BufReader::new(reader).lines();
        let found = lines.any(|line| line.is_ok_and(|line| line.contains(until)));
        assert!(found, "no line with {until}");
        // The reader goes with its last line.
        drop(lines);
        Daemon { child, lines: channel().1 }
    };
    let daemon = start("ready");
    for _ in 0..3 {
        assert_eq!(stage.command(&["zone", "reload", "example.com"]).0, 0);
    }
    daemon.signal(Signal::SIGHUP);
    assert_eq!(stage.command(&["health"]).0, 0);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    // It may go while the daemon starts.
    let daemon = start("INFO");
    let deadline = Instant::now() + PATIENCE;
    while stage.command(&["health"]).0 != 0 {
        assert!(Instant::now() < deadline, "it does not serve");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}
