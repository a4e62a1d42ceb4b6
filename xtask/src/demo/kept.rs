//! Scenes of the demo that stay up, and how they are taken down.
//!
//! `demo --keep` starts this program once more, with `--stay`. That process runs the demo, and goes on holding the scene
//! in the background until it is told to end (SIGTERM): its relay, its namespaces, the daemon and the resolver all end
//! with it. Nothing is written down about it: the names of its namespaces hold its process id.

use std::{
    env, fs,
    fs::File,
    io,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, dup2_stderr, dup2_stdout, setsid},
};
use testbed::net;

/// What tells such a process from others.
const STAY: &str = "--stay";
/// How a client's namespace is called, around the process id.
const AROUND: [&str; 2] = ["sealdns-", "-demo-client"];
/// How long a scene may take to end.
const END: Duration = Duration::from_secs(20);

/// Runs the demo in a process that keeps the scene; returns when the scene is up or the demo has failed.
pub fn start(binary: &Path) -> Result<()> {
    let mut keeper = Command::new(env::current_exe()?)
        .args(["demo", STAY, "--binary"])
        .arg(binary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = keeper.stdout.take().context("no pipe")?;
    // Ends when the process lets go of its standard output: the scene is up then, or the process has ended.
    io::copy(&mut said, &mut io::stdout())?;
    // A process that has ended has closed its streams a moment before that is known.
    let mut status = None;
    let pid = keeper.id();
    net::wait_until("the demo to end or to stay", END, || {
        status = keeper.try_wait().ok().flatten();
        status.is_some() || is_detached(pid)
    })?;
    match status {
        None => Ok(()),
        Some(status) => bail!("the demo ended and keeps nothing up ({status})"),
    }
}

/// Lets go of the terminal, so that this process outlives who started it.
pub fn detach() -> Result<()> {
    setsid()?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    dup2_stderr(&nowhere)?;
    dup2_stdout(&nowhere)?;
    Ok(())
}

/// Ends all scenes that are kept.
pub fn take_down() -> Result<()> {
    let keepers = keepers();
    if keepers.is_empty() {
        eprintln!("no scene is kept up");
    }
    for id in keepers {
        kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM)
            .with_context(|| format!("process {id} cannot be told to end"))?;
        net::wait_until("the scene to end", END, || !is_keeper(id))?;
        eprintln!("took down the scene of process {id}");
    }
    // What a process left that was killed.
    net::sweep();
    Ok(())
}

/// The processes that keep a scene up.
fn keepers() -> Vec<u32> {
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = namespaces.filter_map(|entry| entry.file_name().into_string().ok());
    let ids = names.filter_map(|name| {
        name.strip_prefix(AROUND[0])?.strip_suffix(AROUND[1])?.parse::<u32>().ok()
    });
    ids.filter(|&id| is_keeper(id)).collect()
}

/// Whether a process keeps a scene. One that has ended has no command line, waited for or not.
fn is_keeper(id: u32) -> bool {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    line.split(|octet| *octet == 0).any(|argument| argument == STAY.as_bytes())
}

/// Whether a process leads a session of its own.
fn is_detached(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // Behind the name in brackets: state, parent, group, session.
    let session = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(3));
    session.is_some_and(|session| session == id.to_string())
}
