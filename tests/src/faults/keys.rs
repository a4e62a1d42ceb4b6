//! Keys are made whole or not at all, wherever making them ends.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use super::*;
use tests::chance::Chance;

/// The system calls that change files, or end a change. strace passes over those that this processor lacks.
const CALLS: [&str; 9] =
    ["mkdir", "openat", "write", "fsync", "rename", "renameat2", "unlink", "unlinkat", "rmdir"];

/// More of one call than any run makes.
const MANY: u32 = 1000;

/// Ends that are drawn by lot.
const DRAWN: u64 = 100;

/// A command that is killed before its `nth` such system call.
fn killed_at(call: &str, nth: u32, command: &Command) -> Command {
    let mut strace = Command::new("strace");
    let inject = format!("inject=?{call}:signal=KILL:when={nth}");
    // -D: the program is our child, and strace its child, so that it ends like any other.
    strace.args([
        "-D",
        "-qq",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace=?{call}"),
        "-e",
        &inject,
    ]);
    strace.arg(command.get_program()).args(command.get_args());
    strace
}

/// What is in the folder of keys after an end at any moment and another start: none or a whole set, which is
/// what was there before if that was whole, and no file besides.
fn is_whole(folder: &Path, before: &BTreeSet<String>) -> Result<()> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let tags = tags_in(folder);
    ensure!(!names.iter().any(|name| name.starts_with('.')), "left behind: {names:?}");
    let count = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    let counts = (count(".key"), count(".private"), count("signed"));
    ensure!(matches!(counts, (0, 0, 0) | (2, 2, 1)), "not whole: {names:?}");
    ensure!(names.len() == counts.0 + counts.1 + counts.2, "besides: {names:?}");
    ensure!(before.is_empty() || *before == tags, "{tags:?} after {before:?}");
    Ok(())
}

/// `sealdns key generate`, ended before each of its system calls.
pub fn a_command_that_ends_leaves_all_keys_or_none() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["strace"]) {
        return Ok(obstacle);
    }
    let binary = servers::sealdns().context("no sealdns")?;
    let (mut ends, mut whole) = (0, 0);
    for call in CALLS {
        for nth in 1.. {
            ensure!(nth < MANY, "{call} without end");
            let folder = tempfile::tempdir()?;
            let keys = folder.path().join("keys");
            let mut generate = Command::new(&binary);
            generate.args(["key", "generate", APEX, "--role", "ksk,zsk", "--keys"]).arg(&keys);
            let output = net::output_within(&mut killed_at(call, nth, &generate), PATIENCE)?;
            let before = tags_in(&keys);
            ensure!(before.is_empty() || before.len() == 2, "{call} {nth}: {before:?}");
            let mut list = Command::new(&binary);
            list.args(["key", "list", APEX, "--json", "--keys"]).arg(&keys);
            let listed = net::output_within(&mut list, PATIENCE)?;
            ensure!(listed.status.success() != before.is_empty(), "{call} {nth}: {listed:?}");
            is_whole(&keys, &before).with_context(|| format!("{call} {nth}"))?;
            if output.status.success() {
                ensure!(before.len() == 2, "made without being there");
                break;
            }
            ensure!(output.status.signal() == Some(9), "{call} {nth}: {output:?}");
            ends += 1;
            whole += u32::from(!before.is_empty());
        }
    }
    // Both kinds of ends were met: before the keys were the zone's, and after.
    ensure!(whole > 3 && ends - whole > 10, "{ends} ends, {whole} with keys");
    Ok(Verdict::Passed)
}

/// A daemon that meets a new zone, ended before each system call that changes files, and started again.
pub fn a_daemon_that_ends_leaves_all_keys_or_none() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["strace"]) {
        return Ok(obstacle);
    }
    apart(|| {
        let mut ends = 0;
        for call in CALLS.into_iter().filter(|call| !matches!(*call, "openat" | "write")) {
            for nth in 1.. {
                ensure!(nth < MANY, "{call} without end");
                let mut stage = Stage::new("")?;
                let mut command = killed_at(call, nth, &stage.command());
                let mut killed = Process::spawn("sealdns", &mut command)?;
                let is_ready =
                    killed.wait_for_line(PATIENCE, |line| line.trim() == "ready").is_ok();
                let published = if is_ready { stage.published_tags()? } else { BTreeSet::new() };
                end(killed)?;
                started_again(&mut stage, &published).with_context(|| format!("{call} {nth}"))?;
                if is_ready {
                    break;
                }
                ends += 1;
            }
        }
        ensure!(ends > 10, "only {ends} ends");
        Ok(())
    })
}

/// The same, a hundred times at moments drawn by lot.
pub fn a_daemon_that_is_killed_at_any_moment_leaves_all_keys_or_none() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let mut chance = Chance(0x6b31);
        let mut stage = Stage::new("")?;
        let began = Instant::now();
        stage.start()?;
        let whole = began.elapsed();
        stage.stop()?;
        for round in 0..DRAWN {
            let mut stage = Stage::new("")?;
            let killed = Process::spawn("sealdns", &mut stage.command())?;
            // The moment is what the test gives.
            thread::sleep(whole * chance.throw(130) as u32 / 100);
            let is_ready = killed.log().lines().any(|line| line.trim() == "ready");
            let published = if is_ready { stage.published_tags()? } else { BTreeSet::new() };
            end(killed)?;
            started_again(&mut stage, &published).with_context(|| format!("round {round}"))?;
        }
        Ok(())
    })
}

/// Kills a process, unless that was done already, and waits for its end.
fn end(mut process: Process) -> Result<()> {
    let _ = process.signal(Signal::SIGKILL);
    let ended = || process.ended().is_ok_and(|status| status.is_some());
    net::wait_until("it has ended", PATIENCE, ended)
}

/// After a daemon was ended: the next one has the keys that were there, or new ones if there were none, and
/// serves the zone.
fn started_again(stage: &mut Stage, published: &BTreeSet<String>) -> Result<()> {
    let before = stage.stored_tags();
    ensure!(published.is_empty() || *published == before, "{before:?}, published {published:?}");
    stage.start()?;
    is_whole(&stage.path("state/keys"), &before)?;
    let now = stage.published_tags()?;
    ensure!(now.len() == 2 && now == stage.stored_tags(), "{now:?}");
    ensure!(before.is_empty() || now == before, "{now:?} after {before:?}");
    stage.stop()
}
