//! Devices that go and come again, and programs that others detach.

use anyhow::{Context as _, Result, ensure};
use sealdns::{
    control::reply::{status::Health, xdp::XdpDetached},
    datapath::{
        link::Link,
        loader::{
            folder::Folder,
            request::{Entry, Kind},
        },
    },
};
use testbed::net;
use tests::{dns::Message, harness::Verdict, servers::DEMO};

use crate::{
    daemon::rights::{as_nobody, stage},
    devices::pinned::{Pins, attached},
    wire::{
        client::{A, Client, WITH_DNSSEC, query},
        stage::{PATIENCE, Settings, Stage, obstacle},
    },
};

/// What `sealdns` says, and its exit code.
fn run_command(stage: &Stage, command: &[&str]) -> Result<(Option<i32>, String)> {
    let output = stage.command(command)?;
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Ok((output.status.code(), said.concat()))
}

fn wait_for_health(stage: &Stage, code: i32, said: &str) -> Result<()> {
    let mut last = (None, String::new());
    let waited = net::wait_until("health says so", PATIENCE, || {
        last = run_command(stage, &["health"]).unwrap_or_default();
        last.0 == Some(code) && last.1.contains(said)
    });
    waited.with_context(|| {
        format!("not {code} with \"{said}\", but {last:?}\n{}", stage.server.process.log())
    })
}

fn wait_for_programs(stage: &Stage, count: usize) -> Result<()> {
    let waited = net::wait_until("programs are attached", PATIENCE, || {
        attached(stage).is_ok_and(|programs| programs.len() == count)
    });
    waited.with_context(|| format!("{:?}\n{}", attached(stage), stage.server.process.log()))
}

/// Waits until the daemon has run so many seconds more: it ticks every second.
fn wait_for_ticks(stage: &Stage, ticks: u64) -> Result<()> {
    let uptime = || -> Option<u64> {
        let (_, health) = stage.ended::<Health>(&["health"]).ok()?;
        Some(health.status.uptime_seconds)
    };
    let then = uptime().context("no uptime")?;
    net::wait_until("it has looked again", PATIENCE, || {
        uptime().is_some_and(|now| now > then + ticks)
    })
}

/// Two daemons of one configuration: one that stays root, and one with `user` set, which pins.
fn root_s_and_nobody_s(name: &str, pins: &Pins) -> Result<[Stage; 2]> {
    let plain = "mode = \"native\"\nmemory = \"64MiB\"";
    let zone = &[(DEMO.0, DEMO.1, "")];
    Ok([
        Stage::with(&Settings { xdp: plain, ..Settings::NATIVE }, name, zone)?,
        stage(&format!("{name}-user"), &as_nobody(&pins.lines("")))?,
    ])
}

/// A device that is made anew under its name has its programs again, and so has one whose programs another has
/// detached, with `user` set and without; until then `health` and `xdp status` say what is missing. What an operator
/// detaches by command stays so.
pub fn a_device_made_anew_gets_its_programs_back() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pins = Pins::new("again")?;
    let mut stages = root_s_and_nobody_s("again", &pins)?;
    for stage in &mut stages {
        come_again(stage)?;
    }
    let [_, stage] = &mut stages;
    detached_by_others(stage, &pins)?;
    Ok(Verdict::Passed)
}

/// The device that is missing comes: until then that is said, then it has its programs.
fn device_comes(stage: &mut Stage) -> Result<()> {
    wait_for_health(stage, 3, "interface server")?;
    let (_, status) = run_command(stage, &["xdp", "status"])?;
    ensure!(status.contains("not attached: server: "), "{status}");
    stage.pair.connect()?;
    wait_for_programs(stage, 2)?;
    wait_for_health(stage, 0, "healthy")
}

fn come_again(stage: &mut Stage) -> Result<()> {
    wait_for_health(stage, 0, "healthy")?;
    let before = attached(stage)?;
    ensure!(before.len() == 2, "{before:?}");
    for _ in 0..2 {
        stage.pair.server.ip("link delete server")?;
        device_comes(stage)?;
    }
    ensure!(attached(stage)? == before, "other programs than before");
    let client = Client::new(&stage.pair)?;
    let www = query("www.example.org", A, WITH_DNSSEC);
    let before = stage.sent_by_xdp()?;
    let answer = stage.pair.client.enter(|| client.send(0, &www))??;
    ensure!(!Message::read(&answer)?.answer.is_empty());
    ensure!(stage.sent_by_xdp()? == before + 1, "XDP does not answer");

    // A device that is only called otherwise keeps what it has.
    let programs = attached(stage)?;
    for (name, other) in [("server", "renamed"), ("renamed", "server")] {
        stage.pair.server.ip(&format!("link set {name} down"))?;
        stage.pair.server.ip(&format!("link set {name} name {other}"))?;
        match other {
            "server" => wait_for_health(stage, 0, "healthy")?,
            _ => wait_for_health(stage, 3, "is called renamed")?,
        }
    }
    ensure!(attached(stage)? == programs, "they were attached anew");
    Ok(())
}

/// Links that another has detached, by what is pinned.
fn detached_by_others(stage: &mut Stage, pins: &Pins) -> Result<()> {
    let links = || -> Result<Vec<Link>> {
        let folder = Folder::look(&pins.folder())?;
        let entries = folder.links()?.into_iter().map(|(index, kind)| Entry::Link { kind, index });
        let opened = entries.map(|entry| folder.open_pin(&entry)?.context("no such pin"));
        opened.map(|opened| opened.map(Link::from)).collect()
    };
    for kind in [Kind::Xdp, Kind::Tcx] {
        let folder = Folder::look(&pins.folder())?;
        let (index, _) = *folder.links()?.first().context("no link")?;
        let pin = folder.open_pin(&Entry::Link { kind, index })?.context("no such pin")?;
        Link::from(pin).detach()?;
        net::wait_until("it is attached again", PATIENCE, || {
            attached(stage).is_ok_and(|programs| programs.len() == 2)
                && links().is_ok_and(|links| {
                    links.len() == 2
                        && links.iter().all(|link| link.info().is_ok_and(|info| info.index != 0))
                })
        })?;
        let said = stage.server.process.log();
        ensure!(said.contains("another program has detached those of sealdns"), "{said}");
    }

    // Who detaches by command means it.
    ensure!(run_command(stage, &["xdp", "detach", "server"])?.0 == Some(0));
    wait_for_ticks(stage, 3)?;
    ensure!(attached(stage)?.is_empty() && !pins.folder().exists(), "{:?}", pins.files());
    wait_for_health(stage, 3, "sealdns xdp attach server")?;
    ensure!(run_command(stage, &["xdp", "attach", "server"])?.0 == Some(0));
    ensure!(attached(stage)?.len() == 2);
    wait_for_health(stage, 0, "healthy")
}

/// A device that is not there when the daemon starts gets its programs when it comes, with `user` set and without;
/// until then `health` and `xdp status` say so. Who detaches it by command before is told that it is not waited for any
/// longer.
pub fn a_device_that_comes_later_gets_its_programs() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pins = Pins::new("later")?;
    let mut stages = root_s_and_nobody_s("later", &pins)?;
    for stage in &mut stages {
        start_without_device(stage)?;
        device_comes(stage)?;
        let client = Client::new(&stage.pair)?;
        let before = stage.sent_by_xdp()?;
        stage.pair.client.enter(|| client.send(0, &query("www.example.org", A, WITH_DNSSEC)))??;
        ensure!(stage.sent_by_xdp()? == before + 1, "XDP does not answer");

        start_without_device(stage)?;
        let said: XdpDetached = stage.reply(&["xdp", "detach", "server"])?;
        ensure!(said.detached.is_empty() && said.forgotten == ["server"], "{said:?}");
        stage.pair.connect()?;
        wait_for_ticks(stage, 3)?;
        ensure!(attached(stage)?.is_empty(), "it is attached all the same");
        ensure!(
            run_command(stage, &["xdp", "detach", "server"])?.0 == Some(1),
            "it is forgotten twice"
        );
    }
    Ok(Verdict::Passed)
}

/// Runs the daemon again while there is no device of the name that it is to be attached to.
fn start_without_device(stage: &mut Stage) -> Result<()> {
    stage.pair.server.ip("link delete server")?;
    stage.restart_in_order()
}
