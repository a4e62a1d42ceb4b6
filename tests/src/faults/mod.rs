//! What is ill around the daemon, and does not end what is served: disks, clocks, files, and an end at any
//! moment.
//!
//! Each test has mounts and a network of its own, which are gone when it is, whatever became of it.

pub mod changes;
pub mod keys;
pub mod signing;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use sealdns::{control::reply::zone::ZoneStatus, zone::Serial};
use testbed::net::{self, Process};
use tests::{harness::Verdict, servers};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The zone's name.
const APEX: &str = "faults.test";

const ZONE: &str = "$TTL 300\n@ IN SOA ns hostmaster 7 3600 900 604800 60\n@ NS ns\n\
                    ns A 192.0.2.1\nwww A 192.0.2.2\n*.w TXT \"any\"\n";

/// Signatures of which a part falls due each second or two.
const SHORT: &str = "signature-validity = \"20s\"\nrefresh = \"18s\"\n";

/// Why a test cannot run, if it cannot; `programs` are what it needs besides dig and dnssec-verify.
fn obstacle(programs: &[&str]) -> Option<Verdict> {
    if !nix::unistd::geteuid().is_root() {
        return Some(Verdict::Skipped("needs root".into()));
    }
    if servers::sealdns().is_none() {
        let missing = "no sealdns beside this test: `cargo xtask build`";
        return Some(Verdict::Skipped(missing.into()));
    }
    let mut needed = ["dig", "dnssec-verify"].into_iter().chain(programs.iter().copied());
    let missing = needed.find(|name| net::find_program(name).is_none())?;
    Some(Verdict::Skipped(format!("no {missing}: `cargo xtask setup`")))
}

/// Runs a test on a thread with mounts and a network of its own.
fn apart(test: impl FnOnce() -> Result<()> + Send) -> Result<Verdict> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
                .context("no mounts and network of its own")?;
            run(&["mount", "--make-rprivate", "/"])?;
            run(&["ip", "link", "set", "lo", "up"])?;
            test()
        });
        inside.join().map_err(|_| anyhow!("the test panicked"))?
    })?;
    Ok(Verdict::Passed)
}

/// Runs a command, which must succeed.
fn run(words: &[&str]) -> Result<()> {
    let output = net::output_within(Command::new(words[0]).args(&words[1..]), PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {said}");
    Ok(())
}

/// Something mounted, until this is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, words: &[&str]) -> Result<Self> {
        let text = at.to_str().context("a path that is text")?;
        run(&[&["mount"], words, &[text]].concat())?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A folder with a daemon's configuration and one zone, and the daemon while it runs.
struct Stage {
    daemon: Option<Process>,
    variables: Vec<(String, PathBuf)>,
    folder: tempfile::TempDir,
}

impl Stage {
    /// With these lines in the policy. The daemon does not run yet.
    fn new(policy: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = format!(
            "version = \"v1\"\n[server]\nlisten = [\"127.0.0.1:53\"]\ncontrol = \"run/control\"\n\
             state-dir = \"state\"\n[policy.default]\n{policy}\n[[zone]]\nname = \"{APEX}\"\n\
             file = \"zone\"\nallow-transfer = [\"127.0.0.1\"]\n"
        );
        fs::write(folder.path().join("sealdns.toml"), config)?;
        let stage = Self { daemon: None, variables: Vec::new(), folder };
        fs::create_dir(stage.path("state"))?;
        stage.write_zone(ZONE)?;
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_zone(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.path("zone"), text)?)
    }

    /// The command that runs the daemon.
    fn command(&self) -> Command {
        let mut command = Command::new(servers::sealdns().unwrap_or_default());
        command.args(["run", "--config"]).arg(self.path("sealdns.toml"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn start(&mut self) -> Result<()> {
        let mut daemon = Process::spawn("sealdns", &mut self.command())?;
        daemon.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        daemon.signal(Signal::SIGTERM)?;
        let ended = || daemon.ended().is_ok_and(|status| status.is_some());
        net::wait_until("the daemon has ended", PATIENCE, ended)
    }

    /// The log of the daemon so far.
    fn log(&self) -> String {
        self.daemon.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Runs a command of `sealdns` for this daemon.
    fn sealdns(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(servers::sealdns().context("no sealdns")?);
        command.args(words).arg("--config").arg(self.path("sealdns.toml"));
        net::output_within(&mut command, PATIENCE)
    }

    /// The exit code of `sealdns health`, and what it says.
    fn health(&self) -> Result<(Option<i32>, String)> {
        let output = self.sealdns(&["health"])?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn status(&self) -> Result<ZoneStatus> {
        servers::reply_of(&self.sealdns(&["zone", "status", APEX, "--json"])?)
    }

    fn serial(&self) -> Result<u32> {
        let status = self.status()?;
        status.summary.serial.with_context(|| format!("{status:?}"))
    }

    /// Waits until the zone was signed again so often.
    fn wait_for_signings(&self, count: i32) -> Result<()> {
        let before = self.serial()?;
        let signed = || self.serial().is_ok_and(|now| Serial(now).since(Serial(before)) >= count);
        net::wait_until("the zone is signed again", PATIENCE, signed)
            .with_context(|| format!("{}\n{:?}", self.log(), self.status()))
    }

    /// The records of the zone, as they are transferred.
    fn transfer(&self) -> Result<Vec<String>> {
        let words = ["@127.0.0.1", APEX, "AXFR", "+noall", "+answer", "+tries=1", "+time=10"];
        let output = net::output_within(Command::new("dig").args(words), PATIENCE)?;
        let text = String::from_utf8(output.stdout)?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.is_empty() && !line.starts_with(';'));
        // The SOA record comes twice.
        lines.pop();
        ensure!(!lines.is_empty(), "no transfer: {}", self.log());
        Ok(lines)
    }

    /// What is served is right for a validator now, as BIND's tool sees it, and each name answers.
    fn is_right(&self) -> Result<()> {
        let zone = self.path("transferred");
        fs::write(&zone, self.transfer()?.join("\n") + "\n")?;
        let mut verify = Command::new("dnssec-verify");
        let output = net::output_within(verify.args(["-o", APEX]).arg(&zone), PATIENCE)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}\n{}", self.log());
        for name in ["www", "a.w", "nobody"] {
            let name = format!("{name}.{APEX}");
            let words = ["@127.0.0.1", &name, "TXT", "+dnssec", "+tries=1", "+time=10"];
            let output = net::output_within(Command::new("dig").args(words), PATIENCE)?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let is_answered = text.contains("NOERROR") || text.contains("NXDOMAIN");
            ensure!(is_answered && text.contains("RRSIG"), "{text}");
        }
        Ok(())
    }

    /// The tags of the keys whose files lie in the folder of the keys, or in a folder within.
    fn stored_tags(&self) -> BTreeSet<String> {
        tags_in(&self.path("state/keys"))
    }

    /// The tags of the keys that are published.
    fn published_tags(&self) -> Result<BTreeSet<String>> {
        let words =
            ["@127.0.0.1", APEX, "DNSKEY", "+noall", "+answer", "+multi", "+tries=1", "+time=10"];
        let output = net::output_within(Command::new("dig").args(words), PATIENCE)?;
        let text = String::from_utf8(output.stdout)?;
        Ok(tags_of(&text))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Before its folder goes.
        drop(self.daemon.take());
    }
}

/// The key tags in what dig says with `+multi`.
fn tags_of(text: &str) -> BTreeSet<String> {
    let ids = text.split("key id = ").skip(1);
    let tag = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    ids.map(|text| format!("{:05}", tag(text).parse::<u16>().unwrap_or(0))).collect()
}

/// The tags of keys that are the zone's: in the folder, and in those within that are finished.
fn tags_in(folder: &Path) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".finished-") {
            tags.extend(tags_in(&entry.path()));
        }
        if let Some(stem) = name.strip_suffix(".key") {
            tags.extend(stem.rsplit('+').next().map(str::to_owned));
        }
    }
    tags
}
