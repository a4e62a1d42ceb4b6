//! Catalog zones (RFC 9432) between the daemon and servers of others: members come and go on the one side as they do on the
//! other, with no restart and no word to the side that follows.
//!
//! Each test has mounts and a network of its own: the daemon has port 53 of the loopback address, the other server another.

mod others;

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use sealdns::control::reply::zone::ZoneStatus;
use testbed::net::{self, Process};
use tests::{harness::Verdict, servers};

use crate::secondary::{PATIENCE, Secondary, apart, obstacle};

/// Where the daemon listens.
const OURS: u16 = 53;

/// Where the other server does.
const THEIRS: u16 = 5300;

/// The catalog.
const CATALOG: &str = "cat.test";

/// A zone, and the group that it has in the catalog, if it has one.
type Member = (&'static str, Option<&'static str>);

/// knotd makes the catalog, the daemon follows it.
pub fn what_knotd_lists_is_served() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["knotd"]) {
        return Ok(obstacle);
    }
    apart(|| {
        let stage = Stage::new()?;
        let first: [Member; 2] = [("one.test", Some("gold")), ("two.test", None)];
        stage.write_zones(&["one.test", "two.test", "three.test"], 1)?;
        let knotd = stage.knotd(&others::knotd_produces(&stage.theirs(), &first))?;
        let daemon = stage.daemon(&consuming(&[CATALOG]))?;
        daemon.wait_for_members(&["one.test", "two.test"], &["three.test"], &knotd)?;
        daemon.wait_until("one.test is signed", |daemon| daemon.is_signed("one.test"))?;
        let status = daemon.status_of("one.test")?;
        ensure!(status.group.as_deref() == Some("gold"), "{status:?}");
        ensure!(status.summary.catalog.as_deref() == Some("cat.test."), "{status:?}");

        let second: [Member; 2] = [("one.test", None), ("three.test", Some("gold"))];
        stage.write_knotd(&others::knotd_produces(&stage.theirs(), &second))?;
        knotd.signal(Signal::SIGHUP)?;
        daemon.wait_for_members(&["one.test", "three.test"], &["two.test"], &knotd)?;
        daemon.wait_until("the groups are others", |daemon| {
            Ok(daemon.is_signed("three.test")? && !daemon.is_signed("one.test")?)
        })?;

        // What was listed last is served by a daemon that is started again without the producer.
        drop(knotd);
        daemon.stop()?;
        let daemon = stage.daemon(&consuming(&[CATALOG]))?;
        for zone in ["one.test", "three.test"] {
            ensure!(serial(OURS, zone)?.is_some(), "{zone}: {}", daemon.process.log());
        }
        daemon.stop()
    })
}

/// The daemon makes the catalog, knotd follows it.
pub fn knotd_serves_what_is_listed() -> Result<Verdict> {
    consumed_by("knotd", Stage::knotd, others::knotd_consumes)
}

/// The daemon makes the catalog, named follows it.
pub fn named_serves_what_is_listed() -> Result<Verdict> {
    consumed_by("named", Stage::named, others::named_consumes)
}

fn consumed_by(
    program: &str,
    start: fn(&Stage, &str) -> Result<Process>,
    config: fn(&str) -> String,
) -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[program]) {
        return Ok(obstacle);
    }
    apart(|| {
        let stage = Stage::new()?;
        stage.write_zones(&["one.test", "two.test", "three.test"], 1)?;
        let daemon = stage.daemon(&producing(&[("one.test", None), ("two.test", Some("gold"))]))?;
        let before = serial(OURS, CATALOG)?.context("the catalog is not served")?;
        let other = start(&stage, &config(&stage.theirs()))?;
        let wait = |served: &[&str], gone: &[&str]| {
            net::wait_until("the other server follows", PATIENCE, || {
                agrees(THEIRS, served, gone).unwrap_or(false)
            })
            .with_context(|| format!("{}\n{}", daemon.process.log(), other.log()))
        };
        wait(&["one.test", "two.test"], &["three.test"])?;
        stage.write_config(&producing(&[("three.test", None), ("two.test", Some("gold"))]))?;
        daemon.command(&["zone", "reload"])?;
        wait(&["two.test", "three.test"], &["one.test"])?;
        let after = serial(OURS, CATALOG)?.context("the catalog is not served")?;
        ensure!(after > before, "{before} to {after}");

        // A member's new version goes the usual way, and a start changes nothing.
        daemon.stop()?;
        let daemon =
            stage.daemon(&producing(&[("three.test", None), ("two.test", Some("gold"))]))?;
        ensure!(serial(OURS, CATALOG)? == Some(after), "{}", daemon.process.log());
        stage.write_zones(&["two.test"], 2)?;
        daemon.command(&["zone", "reload"])?;
        net::wait_until("the member's version has come", PATIENCE, || {
            serial(THEIRS, "two.test").is_ok_and(|serial| serial == Some(2))
        })
        .with_context(|| other.log())?;
        daemon.stop()
    })
}

/// Two catalogs of named, from files: members come, go, change hands, and are others under the same name.
pub fn what_named_lists_is_served() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["named"]) {
        return Ok(obstacle);
    }
    apart(|| {
        let stage = Stage::new()?;
        let zones = ["one.test", "two.test", "three.test"];
        let catalogs = [CATALOG, "new.test"];
        stage.write_zones(&zones, 1)?;
        stage.write_catalog(CATALOG, 1, "a.zones PTR one.test.\nb.zones PTR two.test.\n")?;
        stage.write_catalog("new.test", 1, "")?;
        let all: Vec<&str> = catalogs.iter().chain(&zones).copied().collect();
        let named = stage.named(&others::named_produces(&stage.theirs(), &all))?;
        let daemon = stage.daemon(&consuming(&catalogs))?;
        daemon.wait_for_members(&["one.test", "two.test"], &["three.test"], &named)?;

        let write = |catalog: &str, serial: u32, records: &str| {
            stage.write_catalog(catalog, serial, records)?;
            named.signal(Signal::SIGHUP)
        };
        // One changes hands: the new catalog lists it, and the old one says so.
        write("new.test", 2, "a.zones PTR one.test.\nc.zones PTR three.test.\n")?;
        daemon.wait_for_members(&zones, &[], &named)?;
        daemon.wait_until("the clash is told", |daemon| {
            Ok(daemon.status_of("new.test")?.lists.is_some_and(|lists| lists.refused == 1))
        })?;
        let transfers = daemon.transfers("one.test");
        write(
            CATALOG,
            2,
            "a.zones PTR one.test.\ncoo.a.zones PTR new.test.\nb.zones PTR two.test.\n",
        )?;
        daemon.wait_until("it has changed hands", |daemon| {
            Ok(daemon.status_of("one.test")?.summary.catalog.as_deref() == Some("new.test."))
        })?;
        write(CATALOG, 3, "b.zones PTR two.test.\n")?;
        daemon.wait_until("the old catalog has two no more", |daemon| {
            Ok(daemon.status_of(CATALOG)?.lists.is_some_and(|lists| lists.members == 1))
        })?;
        ensure!(daemon.transfers("one.test") == transfers, "{}", daemon.process.log());

        // Another label: all of it is transferred again.
        let before = daemon.transfers("two.test");
        write(CATALOG, 4, "other.zones PTR two.test.\n")?;
        daemon.wait_until("it was transferred anew", |daemon| {
            Ok(daemon.transfers("two.test") > before)
        })?;
        daemon.wait_for_members(&zones, &[], &named)?;

        // What is broken changes nothing and is told; what comes after it does.
        stage.write_catalog(CATALOG, 5, "x.zones PTR two.test.\nx.zones PTR three.test.\n")?;
        named.signal(Signal::SIGHUP)?;
        daemon.wait_until("the fault is told", |daemon| {
            let error = daemon.status_of(CATALOG)?.summary.error;
            Ok(error.is_some_and(|error| error.contains("the catalog is broken")))
        })?;
        ensure!(agrees(OURS, &zones, &[])?, "{}", daemon.process.log());
        write(CATALOG, 6, "")?;
        daemon.command(&["zone", "refresh", CATALOG])?;
        daemon.wait_for_members(&["one.test", "three.test"], &["two.test"], &named)?;
        daemon.stop()
    })
}

/// The configuration of a daemon whose zones are these members.
fn producing(members: &[Member]) -> String {
    let mut config = format!(
        "[template.member]\nfile = \"../{{zone}}.zone\"\ndnssec = \"off\"\nin-catalog = \"{CATALOG}\"\n\
         allow-transfer = [\"127.0.0.1\"]\nnotify = [\"127.0.0.1:{THEIRS}\"]\n\
         [[zone]]\nname = \"{CATALOG}\"\ncatalog = \"produce\"\nallow-transfer = [\"127.0.0.1\"]\n\
         notify = [\"127.0.0.1:{THEIRS}\"]\n"
    );
    for (zone, group) in members {
        let group = group.unwrap_or_default();
        let _ = write!(
            config,
            "[[zone]]\nname = \"{zone}\"\ntemplate = \"member\"\ncatalog-group = \"{group}\"\n"
        );
    }
    config
}

/// The configuration of a daemon that follows these catalogs.
fn consuming(catalogs: &[&str]) -> String {
    let from = format!("primaries = [\"127.0.0.1:{THEIRS}\"]\n");
    let mut config = format!(
        "[template.plain]\ndnssec = \"off\"\n{from}[template.gold]\ndnssec = \"sign\"\n{from}"
    );
    for catalog in catalogs {
        let _ = write!(
            config,
            "[[zone]]\nname = \"{catalog}\"\n{from}catalog = \"consume\"\nmember-template = \"plain\"\n\
             member-groups = {{ gold = \"gold\" }}\n"
        );
    }
    config
}

/// A folder with a daemon's files and the other server's.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Result<Stage> {
        let stage = Stage { folder: tempfile::tempdir()? };
        fs::create_dir_all(stage.ours())?;
        Ok(stage)
    }

    fn ours(&self) -> PathBuf {
        self.folder.path().join("sealdns")
    }

    /// Where the files of zones are, and all that the other server has.
    fn theirs(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn write(&self, zone: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join(format!("{zone}.zone")), text)?)
    }

    fn write_zones(&self, zones: &[&str], serial: u32) -> Result<()> {
        zones.iter().try_for_each(|zone| {
            let soa = format!("@ SOA ns hostmaster {serial} 3600 900 604800 60");
            self.write(zone, &format!("$ORIGIN {zone}.\n$TTL 60\n{soa}\n@ NS ns\nns A 192.0.2.1\n"))
        })
    }

    fn write_catalog(&self, catalog: &str, serial: u32, records: &str) -> Result<()> {
        let head = format!(
            "$ORIGIN {catalog}.\n$TTL 0\n@ SOA invalid. invalid. {serial} 3600 600 2147483646 0\n\
             @ NS invalid.\nversion TXT \"2\"\n"
        );
        self.write(catalog, &format!("{head}{records}"))
    }

    fn write_config(&self, zones: &str) -> Result<()> {
        let head = format!(
            "version = \"v1\"\n[server]\nlisten = [\"127.0.0.1:{OURS}\"]\ncontrol = \"control.sock\"\n\
             state-dir = \"state\"\n"
        );
        Ok(fs::write(self.ours().join("sealdns.toml"), format!("{head}{zones}"))?)
    }

    fn daemon(&self, zones: &str) -> Result<Secondary> {
        self.write_config(zones)?;
        Secondary::run(&self.ours(), &[])
    }

    fn write_knotd(&self, config: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join("knotd.conf"), config)?)
    }

    fn knotd(&self, config: &str) -> Result<Process> {
        fs::create_dir_all(self.folder.path().join("knotd"))?;
        self.write_knotd(config)?;
        self.other("knotd", &["-c"], "server started")
    }

    fn named(&self, config: &str) -> Result<Process> {
        fs::write(self.folder.path().join("named.conf"), config)?;
        self.other("named", &["-g", "-n", "1", "-c"], " running")
    }

    fn other(&self, name: &str, arguments: &[&str], started: &str) -> Result<Process> {
        let binary = net::find_program(name).context("no such program")?;
        let path = self.folder.path().join(format!("{name}.conf"));
        let mut process = Process::spawn(name, Command::new(binary).args(arguments).arg(path))?;
        process.wait_for_line(PATIENCE, |line| line.trim_end().contains(started))?;
        Ok(process)
    }
}

impl Secondary {
    fn status_of(&self, zone: &str) -> Result<ZoneStatus> {
        servers::reply_of(&self.command(&["zone", "status", zone, "--json"])?)
    }

    /// How often all of a zone was transferred.
    fn transfers(&self, zone: &str) -> usize {
        let log = self.process.log();
        let of_zone = log.lines().filter(|line| line.contains(&format!("{zone}.")));
        of_zone.filter(|line| line.contains("transferred: the whole zone")).count()
    }

    fn is_signed(&self, zone: &str) -> Result<bool> {
        Ok(!ask(OURS, zone, "DNSKEY")?.is_empty())
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Secondary) -> Result<bool>) -> Result<()> {
        let is_so = || is_so(self).unwrap_or(false);
        net::wait_until(what, PATIENCE, is_so).with_context(|| self.process.log())
    }

    /// Waits until these are served, and those are not.
    fn wait_for_members(&self, served: &[&str], gone: &[&str], other: &Process) -> Result<()> {
        self.wait_until("members are served", |_| agrees(OURS, served, gone))
            .with_context(|| other.log())
    }
}

/// Whether a server has these zones, and refuses queries for those.
fn agrees(port: u16, served: &[&str], gone: &[&str]) -> Result<bool> {
    for zone in served {
        if serial(port, zone)?.is_none() {
            return Ok(false);
        }
    }
    for zone in gone {
        let said = dig(port, zone, "SOA", "+comments")?;
        if !said.contains("status: REFUSED") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The serial that a server has of a zone, if it has one.
fn serial(port: u16, zone: &str) -> Result<Option<u32>> {
    let said = ask(port, zone, "SOA")?;
    Ok(said.split_whitespace().nth(2).and_then(|serial| serial.parse().ok()))
}

fn ask(port: u16, zone: &str, rtype: &str) -> Result<String> {
    dig(port, zone, rtype, "+short")
}

fn dig(port: u16, zone: &str, rtype: &str, shown: &str) -> Result<String> {
    let mut command = Command::new("dig");
    command.args(["@127.0.0.1", "-p", &port.to_string(), zone, rtype, "+norec", "+tries=1"]);
    command.args(["+time=5", "+noall", "+answer", shown]);
    Ok(String::from_utf8(net::output_within(&mut command, PATIENCE)?.stdout)?)
}
