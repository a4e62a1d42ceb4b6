//! Zones transferred from other people's servers, and from one that does as it is told, into the daemon.
//!
//! Each test has mounts and a network of its own. After each change of a series the daemon has the zone that its primary has, record
//! by record, as dig transfers it from both.

pub mod faults;
pub mod follows;
pub mod notify;
pub mod tls;

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use sealdns::control::reply::zone::ZoneStatus;
use testbed::net::{self, Process};
use tests::{harness::Verdict, servers};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The zone's name.
pub(crate) const APEX: &str = "moved.test";

/// Where the daemon listens, in a network of its own.
const DAEMON: &str = "127.0.0.1";

/// Where its primaries do: another port of the same address, from which their NOTIFY messages come.
const PRIMARY: &str = "127.0.0.1:5300";

/// A TSIG key, and another one of the same name.
pub(crate) const SECRETS: [&str; 2] =
    ["c2VhbGRucyBpbnRlcm9wZXJhdGlvbiB0ZXN0cw==", "YW5vdGhlciBzZWNyZXQgdGhhdCBpcyB3cm9uZw=="];

/// Types of which a signer makes the records.
pub(crate) const MADE: [&str; 6] = ["RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "SOA"];

/// Why a test cannot run, if it cannot.
pub(crate) fn obstacle(programs: &[&str]) -> Option<Verdict> {
    if !nix::unistd::geteuid().is_root() {
        return Some(Verdict::Skipped("needs root".into()));
    }
    if servers::sealdns().is_none() {
        let missing = "no sealdns beside this test: `cargo xtask build`";
        return Some(Verdict::Skipped(missing.into()));
    }
    let missing = ["dig"].iter().chain(programs).find(|name| net::find_program(name).is_none())?;
    Some(Verdict::Skipped(format!("no {missing}: `cargo xtask setup`")))
}

/// Runs a test on a thread with mounts and a network of its own.
pub(crate) fn apart(test: impl FnOnce() -> Result<()> + Send) -> Result<Verdict> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
                .context("no mounts and network of its own")?;
            run("mount", &["--make-rprivate", "/"])?;
            run("ip", &["link", "set", "lo", "up"])?;
            test()
        });
        inside.join().map_err(|_| anyhow!("the test panicked"))?
    })?;
    Ok(Verdict::Passed)
}

/// Runs a command, which must succeed.
fn run(program: &str, words: &[&str]) -> Result<()> {
    let output = net::output_within(Command::new(program).args(words), PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {words:?}: {said}");
    Ok(())
}

/// How the daemon gets the zone.
#[derive(Clone, Copy)]
struct Settings<'a> {
    dnssec: &'a str,
    /// The secret of the key that it shares with its primary, if it has one.
    secret: Option<&'a str>,
    /// The primaries, the first one first: addresses, or tables as the configuration has them.
    primaries: &'a [&'a str],
    /// More lines of `[server]`.
    server: &'a str,
    /// Variables of the daemon's environment.
    variables: &'a [(&'a str, &'a str)],
}

/// The daemon as a secondary, in a folder of its own.
pub(crate) struct Secondary {
    pub(crate) process: Process,
    pub(crate) folder: PathBuf,
}

impl Secondary {
    fn start(folder: &Path, settings: Settings<'_>) -> Result<Self> {
        let Settings { dnssec, secret, primaries, server, variables } = settings;
        let mut config = format!(
            "version = \"v1\"\n[server]\nlisten = [\"{DAEMON}:53\"]\ncontrol = \"control.sock\"\n\
             state-dir = \"state\"\n{server}\n"
        );
        if let Some(secret) = secret {
            write!(config, "[[tsig]]\nname = \"transfer.\"\nsecret = \"{secret}\"\n")?;
        }
        let tsig = secret.map_or("", |_| ", tsig = \"transfer.\"");
        let primaries: Vec<String> = primaries
            .iter()
            .map(|primary| match primary.starts_with('{') {
                true => (*primary).to_owned(),
                false => format!("{{ address = \"{primary}\"{tsig} }}"),
            })
            .collect();
        write!(
            config,
            "[[zone]]\nname = \"{APEX}\"\ndnssec = \"{dnssec}\"\nprimaries = [{}]\n\
             allow-transfer = [\"127.0.0.1\"]\n",
            primaries.join(", ")
        )?;
        fs::write(folder.join("sealdns.toml"), config)?;
        Secondary::run(folder, variables)
    }

    /// Runs the daemon that is configured in this folder, until it is ready.
    pub(crate) fn run(folder: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        fs::create_dir_all(folder.join("state"))?;
        let mut command = Command::new(servers::sealdns().context("no sealdns")?);
        command.args(["run", "--config"]).arg(folder.join("sealdns.toml"));
        command.envs(variables.iter().copied());
        let mut process = Process::spawn("sealdns", &mut command)?;
        process.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
        Ok(Self { process, folder: folder.to_owned() })
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let ended = || self.process.ended().is_ok_and(|status| status.is_some());
        net::wait_until("the daemon has ended", PATIENCE, ended)
    }

    pub(crate) fn command(&self, words: &[&str]) -> Result<std::process::Output> {
        let mut command = Command::new(servers::sealdns().context("no sealdns")?);
        command.args(words).arg("--config").arg(self.folder.join("sealdns.toml"));
        net::output_within(&mut command, PATIENCE)
    }

    fn status(&self) -> Result<ZoneStatus> {
        servers::reply_of(&self.command(&["zone", "status", APEX, "--json"])?)
    }

    /// Has the primaries be asked now.
    fn refresh(&self) -> Result<()> {
        let output = self.command(&["zone", "refresh", APEX])?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    }

    /// Waits until it has this serial of its primary's.
    fn wait_for(&self, serial: u32) -> Result<ZoneStatus> {
        let has_it = |status: &ZoneStatus| {
            status.primaries.as_ref().is_some_and(|primaries| primaries.serial == Some(serial))
        };
        let come = || self.status().is_ok_and(|status| has_it(&status));
        net::wait_until("the version has come", PATIENCE, come).with_context(|| {
            format!("serial {serial}: {:?}\n{}", self.status(), self.process.log())
        })?;
        self.status()
    }

    /// Waits until a primary has failed for this reason.
    fn wait_for_failure(&self, why: &str) -> Result<ZoneStatus> {
        let failure = |status: ZoneStatus| status.primaries.and_then(|one| one.failure);
        let failed = || {
            self.status().is_ok_and(|status| failure(status).is_some_and(|said| said.contains(why)))
        };
        net::wait_until("the primary has failed", PATIENCE, failed)
            .with_context(|| format!("{why}: {:?}\n{}", self.status(), self.process.log()))?;
        self.status()
    }
}

/// The records that a server transfers, without those of this list of types, in one order.
pub(crate) fn transferred(
    server: &str,
    secret: Option<&str>,
    without: &[&str],
) -> Result<Vec<String>> {
    let address: SocketAddr = server.parse()?;
    let (at, port) = (format!("@{}", address.ip()), address.port().to_string());
    let mut command = Command::new("dig");
    command.args([&at, "-p", &port, APEX, "AXFR"]);
    if let Some(secret) = secret {
        command.args(["-y", &format!("hmac-sha256:transfer.:{secret}")]);
    }
    command.args(["+noall", "+answer", "+onesoa", "+tries=1", "+time=20"]);
    let output = net::output_within(&mut command, PATIENCE)?;
    let text = String::from_utf8(output.stdout)?;
    let record = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_record = words.len() > 4 && !line.starts_with(';');
        (is_record && !without.contains(&words[3])).then(|| words.join(" "))
    };
    let mut records: Vec<String> = text.lines().filter_map(record).collect();
    records.sort();
    ensure!(!records.is_empty(), "no transfer from {server}: {text}");
    Ok(records)
}
