//! `sealdns xdp trace`: what it shows, that nobody who asks sees it, and that it ends.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use sealdns::{
    control::reply::read,
    observe::trace::{TraceAction, TraceLine, TracePath},
};
use testbed::net::{self, Process};
use tests::{harness::Verdict, servers::DEMO};
use xdp_common::Outcome;

use crate::{
    devices::pinned::{Pins, attached, crash},
    wire::{
        client::{A, Client, TXT, WITH_DNSSEC, WITHOUT_DNSSEC, client, query},
        stage::{PATIENCE, Settings, Stage, obstacle},
    },
};

/// Over these names of the demo's zone, what is made of a query that has room and is asked with DNSSEC.
const ASKED: [(&str, u16, Outcome); 7] = [
    ("www.example.org", A, Outcome::Positive),
    ("www.example.org", TXT, Outcome::Nodata),
    ("nobody.example.org", A, Outcome::Nxdomain),
    ("any.apps.example.org", A, Outcome::Wildcard),
    ("host.partner.example.org", A, Outcome::Referral),
    ("a.old.example.org", A, Outcome::Wildcard),
    ("www.example.net", A, Outcome::Refused),
];

/// The demo's zone, and a name that has moved.
fn zone() -> String {
    format!("{}\nold DNAME apps\n", DEMO.1)
}

/// A command that traces.
struct Trace(Process);

impl Trace {
    /// Begins to trace; returns when programs that trace run.
    fn begin(stage: &Stage, arguments: &[&str]) -> Result<Trace> {
        let before = attached(stage)?;
        let trace = Trace::start(stage, arguments)?;
        net::wait_until("programs that trace run", PATIENCE, || {
            attached(stage).is_ok_and(|now| now.len() == before.len() && now[0] != before[0])
        })?;
        Ok(trace)
    }

    /// The same, and returns at once.
    fn start(stage: &Stage, arguments: &[&str]) -> Result<Trace> {
        let mut command = Command::new(stage.binary());
        command.args(["xdp", "trace", "--config"]).arg(stage.folder.path().join("sealdns.toml"));
        command.args(arguments);
        Ok(Trace(stage.pair.server.spawn("sealdns xdp trace", &mut command)?))
    }

    /// The packets that it has shown in JSON.
    fn lines(&self) -> Result<Vec<TraceLine>> {
        let said = self.0.log();
        let lines = said.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| read::printed(line).map_err(anyhow::Error::msg)).collect()
    }

    /// Waits for a packet that asks for this name, and gives all that were shown until then.
    fn wait_for(&self, name: &str) -> Result<Vec<TraceLine>> {
        let asks = |line: &TraceLine| line.question.as_ref().is_some_and(|it| it.name == name);
        let shown = || self.lines().is_ok_and(|lines| lines.iter().any(asks));
        let waited = net::wait_until(&format!("a line for {name}"), PATIENCE, shown);
        waited.with_context(|| self.0.log())?;
        self.lines()
    }

    /// Waits until it has ended by itself. What it says last may be read after its end.
    fn wait_for_end(&mut self) -> Result<()> {
        let says_so = || self.0.log().contains("the trace has ended: its time is up");
        net::wait_until("the end of the trace", PATIENCE, says_so).with_context(|| self.0.log())
    }

    /// Kills it.
    fn kill(mut self) -> Result<()> {
        self.0.signal(Signal::SIGKILL)?;
        net::wait_until("it is dead", PATIENCE, || self.0.ended().is_ok_and(|end| end.is_some()))
    }
}

/// Waits until these programs are attached, and no others.
fn wait_for_programs(stage: &Stage, ids: &[u32]) -> Result<()> {
    net::wait_until("the programs are back that were there before", PATIENCE, || {
        attached(stage).is_ok_and(|now| now == ids)
    })
}

/// Each outcome is shown under its name; who asks gets the same octets before, meanwhile and after; and when the command
/// is killed the programs are back that were there before.
pub fn answers_are_the_same_while_they_are_traced() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("traced", &[(DEMO.0, &zone(), "")])?;
    let clients = Client::new(&stage.pair)?;
    // By frames, which XDP has room in, and through sockets, where TCX answers what it has none for.
    let answers = || -> Result<Vec<Vec<u8>>> {
        let mut answers = Vec::new();
        for family in 0..2 {
            for (name, rtype, outcome) in ASKED {
                for edns in [None, WITHOUT_DNSSEC, WITH_DNSSEC] {
                    let query = query(name, rtype, edns);
                    let sent = stage.pair.client.enter(|| clients.send(family, &query))?;
                    answers.push(sent.with_context(|| format!("{name} {outcome:?}"))?);
                    let sent = stage.pair.client.enter(|| clients.inject(family, &query))?;
                    answers.push(sent.with_context(|| format!("{name} {outcome:?}"))?);
                }
            }
        }
        Ok(answers)
    };
    let (programs, before) = (attached(&stage)?, answers()?);
    ensure!(programs.len() == 2, "{programs:?}: XDP and TCX");

    let trace = Trace::begin(&stage, &["--for", "10m", "--json"])?;
    let meanwhile = answers()?;
    ensure!(meanwhile == before, "answers differ while they are traced");
    // Where there is room: a frame.
    let last = query("last.example.org", A, WITH_DNSSEC);
    stage.pair.client.enter(|| clients.inject(0, &last))??;
    let lines = trace.wait_for("last.example.org.")?;
    for (name, _, outcome) in ASKED {
        let of_name = lines.iter().filter(|line| {
            let question = line.question.as_ref();
            question.is_some_and(|it| it.name.trim_end_matches('.') == name && it.dnssec_ok)
        });
        let mut shown =
            of_name.filter(|line| line.outcome == outcome && line.interface == "server");
        ensure!(shown.clone().any(|line| line.path == TracePath::Xdp), "{name}: {lines:#?}");
        let addresses = [client(0)?, client(1)?];
        let is_client = |line: &TraceLine| {
            line.client.is_some_and(|it| addresses.contains(&it.address) && it.port != 0)
        };
        ensure!(shown.all(is_client), "{name}: {lines:#?}");
    }
    let by_tcx = lines.iter().filter(|line| line.path == TracePath::Tcx);
    ensure!(
        by_tcx.filter(|line| line.outcome.is_answered()).count() > 0,
        "none on TCX: {lines:#?}"
    );
    let is_handed_on = |line: &TraceLine| {
        (line.path, line.outcome, line.action)
            == (TracePath::Xdp, Outcome::NoRoom, TraceAction::PassedUp)
    };
    ensure!(lines.iter().any(is_handed_on), "XDP had room for all: {lines:#?}");
    for (name, stage) in [("www.example.org.", "send"), ("a.old.example.org.", "send_made")] {
        let asks = |line: &&TraceLine| line.question.as_ref().is_some_and(|it| it.name == name);
        let mut of_name = lines.iter().filter(asks);
        ensure!(of_name.all(|line| line.stage == stage), "{name}: {lines:#?}");
    }

    trace.kill()?;
    wait_for_programs(&stage, &programs)?;
    ensure!(answers()? == before, "answers differ after they were traced");
    Ok(Verdict::Passed)
}

/// A trace ends when its time is up, and there is one at a time; the log says of both.
pub fn a_trace_ends_by_itself() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut stage = Stage::new("ends", &[(DEMO.0, DEMO.1, "")])?;
    let programs = attached(&stage)?;
    let mut trace = Trace::begin(&stage, &["--for", "3s"])?;
    let second = stage.command(&["xdp", "trace", "--for", "1s"])?;
    let refused = String::from_utf8(second.stderr)?;
    ensure!(
        second.status.code() == Some(1) && refused.contains("another trace goes on"),
        "{refused}"
    );
    trace.wait_for_end()?;
    wait_for_programs(&stage, &programs)?;
    for said in ["xdp trace --for 3s --sample 1/1: asked for by", "xdp trace: ended after 3 s"] {
        stage.server.process.wait_for_line(PATIENCE, |line| line.contains(said))?;
    }
    // Its programs stay loaded: the next one begins with them.
    let mut again = Trace::begin(&stage, &["--for", "1s"])?;
    again.wait_for_end()?;
    wait_for_programs(&stage, &programs)?;
    Ok(Verdict::Passed)
}

/// What is not chosen is not shown, and names cannot do anything to a terminal.
pub fn a_trace_shows_what_is_chosen() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("chosen", &[(DEMO.0, &zone(), "")])?;
    let clients = Client::new(&stage.pair)?;
    let ask = |family: usize, query: &[u8]| {
        stage.pair.client.enter(|| clients.inject(family, query))?.map(drop)
    };
    let programs = attached(&stage)?;

    let prefix = format!("{}/24", client(0)?);
    let arguments =
        ["--for", "10m", "--json", "--outcome", "nxdomain,wildcard", "--client", &prefix];
    let trace = Trace::begin(&stage, &arguments)?;
    for family in [1, 0] {
        for (name, rtype, _) in ASKED {
            ask(family, &query(name, rtype, WITH_DNSSEC))?;
        }
    }
    ask(0, &query("last.example.org", A, WITH_DNSSEC))?;
    let lines = trace.wait_for("last.example.org.")?;
    let outcomes: Vec<Outcome> = lines.iter().map(|line| line.outcome).collect();
    ensure!(
        outcomes == [Outcome::Nxdomain, Outcome::Wildcard, Outcome::Wildcard, Outcome::Nxdomain],
        "{lines:#?}"
    );
    trace.kill()?;
    wait_for_programs(&stage, &programs)?;

    let mut trace = Trace::begin(&stage, &["--for", "5s", "--json", "--sample", "1/4"])?;
    let asked = 40;
    for _ in 0..asked {
        ask(0, &query("www.example.org", A, WITH_DNSSEC))?;
    }
    trace.wait_for_end()?;
    let shown = trace.lines()?.iter().filter(|line| line.question.is_some()).count();
    // Of each CPU the first, and then each fourth.
    let cpus = std::thread::available_parallelism()?.get();
    ensure!((asked / 4..=asked / 4 + cpus).contains(&shown), "{shown} of {asked}");
    wait_for_programs(&stage, &programs)?;

    let mut trace = Trace::begin(&stage, &["--for", "10m"])?;
    let mut hostile = query("xxxxxxxx.example.org", A, WITH_DNSSEC);
    hostile[13..21].copy_from_slice(b"\x1b[2J\n\r\"\xff");
    ask(0, &hostile)?;
    let line = trace.0.wait_for_line(PATIENCE, |line| line.contains("2J"))?;
    ensure!(
        line.contains(" \\027[2J\\010\\013\\\"\\255.example.org. IN A +E(DO) -> nxdomain"),
        "{line:?}"
    );
    trace.kill()?;
    Ok(Verdict::Passed)
}

/// A daemon that is killed while it traces leaves programs that answer, and the next one takes over what they have
/// counted.
pub fn a_daemon_killed_while_it_traces_leaves_answers() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pins = Pins::new("trace")?;
    let lines = pins.lines("");
    let settings = Settings { xdp: &lines, ..Settings::NATIVE };
    let mut stage = Stage::with(&settings, "killed", &[(DEMO.0, DEMO.1, "")])?;
    let clients = Client::new(&stage.pair)?;
    let ask = || {
        let query = query("www.example.org", A, WITH_DNSSEC);
        stage.pair.client.enter(|| clients.inject(0, &query))?
    };
    let before = ask()?;
    let trace = Trace::begin(&stage, &["--for", "10m"])?;
    let traced = attached(&stage)?;
    crash(&mut stage)?;
    let query = query("www.example.org", A, WITH_DNSSEC);
    for _ in 0..10 {
        let answer = stage.pair.client.enter(|| clients.inject(0, &query))??;
        ensure!(answer == before, "another answer");
    }
    ensure!(attached(&stage)? == traced, "{traced:?}");
    trace.kill()?;
    stage.restart()?;
    let now = attached(&stage)?;
    ensure!(now.iter().all(|id| !traced.contains(id)), "{now:?} {traced:?}");
    ensure!(stage.pair.client.enter(|| clients.inject(0, &query))?? == before, "another answer");
    let counted = stage.reply::<sealdns::observe::Snapshot>(&["stats"])?.kernel;
    let counted = counted.sum(|counters| counters.outcomes[Outcome::Positive]);
    ensure!(counted == 12, "{counted} of 12 answers are counted");
    Ok(Verdict::Passed)
}

/// A daemon that has given up its privileges has loaded the programs that trace before.
pub fn a_daemon_without_privileges_traces() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let Some(user) = nix::unistd::User::from_name("nobody")? else {
        return Ok(Verdict::Skipped("no user `nobody`".into()));
    };
    let settings = Settings {
        server: "user = \"nobody\"",
        xdp: "mode = \"native\"\nmemory = \"64MiB\"",
        ..Settings::NATIVE
    };
    let stage = Stage::with(&settings, "rights", &[(DEMO.0, DEMO.1, "")])?;
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(Path::new(&format!(
        "/proc/{}",
        stage.server.process.id()
    )))?);
    ensure!(owner == user.uid.as_raw() || owner == 0, "{owner}");
    let clients = Client::new(&stage.pair)?;
    let programs = attached(&stage)?;
    let mut trace = Trace::begin(&stage, &["--for", "3s", "--json"])?;
    let query = query("www.example.org", A, WITH_DNSSEC);
    stage.pair.client.enter(|| clients.inject(0, &query))??;
    trace.wait_for("www.example.org.")?;
    trace.wait_for_end()?;
    wait_for_programs(&stage, &programs)?;
    if programs.is_empty() {
        bail!("nothing was attached");
    }
    Ok(Verdict::Passed)
}
