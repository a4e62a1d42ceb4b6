//! The daemon dies and comes again; what is pinned goes on.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::Ordering::SeqCst,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::{
    maps::{Array, Map, MapData},
    programs::{SchedClassifier, TcAttachType},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sealdns::{control::reply::zone::ZoneStatus, datapath::pins, observe::Snapshot};
use testbed::net;
use tests::{dns::Message, harness::Verdict, servers::DEMO};
use xdp_common::{
    Outcome,
    maps::{self, Meta},
};

use crate::wire::{
    client::{A, Client, WITH_DNSSEC, query},
    pair::{Pair, link},
    reload::{Load, Versions, presigned},
    stage::{PATIENCE, Settings, Stage, configure, obstacle},
};

/// Settings with these lines in `[xdp]`.
fn xdp(lines: &str) -> Settings<'_> {
    Settings { xdp: lines, ..Settings::NATIVE }
}

/// Where BPF's file system is mounted.
const BPFFS: &str = "/sys/fs/bpf";
/// Before every folder of ours there; this process's id and the test follow.
const PREFIX: &str = "sealdns-test-";

/// A folder to pin to, gone with all that is in it when this is dropped.
pub struct Pins(PathBuf);

impl Pins {
    pub fn new(test: &str) -> Result<Self> {
        for entry in fs::read_dir(BPFFS)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            let owner = owner.and_then(|owner| owner.parse().ok());
            if owner.is_some_and(|owner: i32| kill(Pid::from_raw(owner), None).is_err()) {
                drop(Self(entry.path()));
            }
        }
        // Nobody but root may pass through the folder above, as where systemd has mounted it.
        Ok(Self(Path::new(BPFFS).join(format!("{PREFIX}{}-{test}", std::process::id()))))
    }

    pub fn folder(&self) -> PathBuf {
        self.0.join("sealdns")
    }

    /// What `[xdp]` says.
    pub fn lines(&self, more: &str) -> String {
        format!(
            "mode = \"native\"\nmemory = \"64MiB\"\npin = \"{}\"\n{more}",
            self.folder().display()
        )
    }

    /// All that is pinned, relative to the folder.
    pub fn files(&self) -> Vec<String> {
        fn all(folder: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => all(&path, files),
                    path => files.push(path),
                }
            }
        }
        let (folder, mut files) = (self.folder(), Vec::new());
        all(&folder, &mut files);
        let relative = files.iter().filter_map(|file| file.strip_prefix(&folder).ok());
        let mut names: Vec<String> = relative.map(|file| file.display().to_string()).collect();
        names.sort();
        names
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = pins::remove_all(&self.folder());
        let _ = fs::remove_dir(&self.0);
    }
}

/// Ends the daemon at once, as a crash would.
pub fn crash(stage: &mut Stage) -> Result<()> {
    stage.server.process.signal(Signal::SIGKILL)?;
    let process = &mut stage.server.process;
    net::wait_until("the daemon is dead", PATIENCE, || {
        process.ended().is_ok_and(|end| end.is_some())
    })
}

/// The ids of the programs on the server's device: XDP's, then TCX's.
pub fn attached(stage: &Stage) -> Result<Vec<u32>> {
    let text = link(&stage.pair.server)?;
    let xdp = text.split("prog/xdp id ").nth(1);
    let xdp = xdp.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let tcx = stage
        .pair
        .server
        .enter(|| SchedClassifier::query_tcx("server", TcAttachType::Ingress))??;
    Ok(xdp.into_iter().chain(tcx.1.iter().map(|program| program.id())).collect())
}

/// How many queries XDP and TCX have answered, or left to the sockets for a change of the zone, as the daemon counts.
fn answered(stage: &Stage) -> Result<u64> {
    let kernel = stage.reply::<Snapshot>(&["stats"])?.kernel;
    // While the zone changes, the last program that has the packet passes a query up now and then, and the daemon's
    // sockets answer it.
    let passed_up = kernel.tcx.as_ref().or(kernel.xdp.as_ref());
    let passed_up = passed_up.map_or(0, |counters| counters.outcomes[Outcome::Miss]);
    Ok(kernel.sum(|counters| counters.outcomes.sum(Outcome::is_answered)) + passed_up)
}

fn output_text(output: &std::process::Output) -> String {
    [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream)).concat()
}

//----------- Tests ----------------------------------------------------------------------------------

/// The daemon is killed under load and started with the next version of the zone, again and again. Each
/// query is answered, by the version before or by the one after, and each is counted.
pub fn a_crash_goes_unnoticed() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let Versions { queries, files, expected } = Versions::new()?;
    let pins = Pins::new("crash")?;
    let zone = presigned(&files[0])?;
    let mut stage = Stage::with(&xdp(&pins.lines("")), "crash", &[zone])?;
    let client = Client::new(&stage.pair)?;
    let load = Load::new(&queries, &expected, 2);
    let namespace = stage.pair.client.name().to_owned();
    // The kernel makes a pool of pages for each frame and has numbers for 65,534 in all namespaces, which
    // it takes back seconds later: the rate is what the test gives. Sockets ask without pause.
    let inject = |query: &[u8]| {
        thread::sleep(Duration::from_millis(2));
        client.inject(0, query)
    };
    let asked = thread::scope(|scope| -> Result<[u64; 2]> {
        let by_frame = scope.spawn(|| net::within(&namespace, || load.ask(0, inject))?);
        let by_socket =
            scope.spawn(|| net::within(&namespace, || load.ask(1, |query| client.send(1, query)))?);
        let restarted = restart_often(&mut stage, &files, &load, 2);
        load.over.store(true, SeqCst);
        let [by_frame, by_socket] =
            [by_frame, by_socket].map(|asker| asker.join().map_err(|_| anyhow!("a panic"))?);
        restarted?;
        Ok([by_frame?, by_socket?])
    })?;
    ensure!(asked.iter().all(|count| *count > 1000), "{asked:?} queries prove nothing");
    let counted = answered(&stage)?;
    ensure!(counted == asked.iter().sum::<u64>(), "{asked:?} were answered, {counted} counted");
    let sets = pins.files().iter().filter(|file| file.ends_with("/META")).count();
    ensure!(sets == 1, "{sets} sets of maps: {:?}", pins.files());
    Ok(Verdict::Passed)
}

/// The same where TCX answers alone, and where pins of XDP are found first.
pub fn a_crash_goes_unnoticed_on_tcx() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let Versions { queries, files, expected } = Versions::new()?;
    let pins = Pins::new("alone")?;
    let zone = presigned(&files[0])?;
    let mut stage = Stage::with(&xdp(&pins.lines("")), "alone", &[zone])?;
    let [native, behind] = attached(&stage)?[..] else { bail!("not two programs") };
    crash(&mut stage)?;
    let lines = pins.lines("").replace("native", "tcx");
    configure(stage.folder.path(), &xdp(&lines), &[zone])?;
    stage.restart()?;
    let alone = attached(&stage)?;
    ensure!(alone.len() == 1 && ![native, behind].contains(&alone[0]), "{alone:?}");

    let client = Client::new(&stage.pair)?;
    let load = Load::new(&queries, &expected, 1);
    let namespace = stage.pair.client.name().to_owned();
    let before = answered(&stage)?;
    let asked = thread::scope(|scope| -> Result<u64> {
        let asker =
            scope.spawn(|| net::within(&namespace, || load.ask(0, |query| client.send(1, query)))?);
        let restarted = restart_often(&mut stage, &files, &load, 1);
        load.over.store(true, SeqCst);
        let asked = asker.join().map_err(|_| anyhow!("a panic"))?;
        restarted?;
        asked
    })?;
    ensure!(asked > 1000, "{asked} queries prove nothing");
    let counted = answered(&stage)? - before;
    ensure!(counted == asked, "{asked} were answered, {counted} counted");

    // And back: what is pinned of TCX alone is not behind XDP.
    crash(&mut stage)?;
    configure(stage.folder.path(), &xdp(&pins.lines("")), &[zone])?;
    stage.restart()?;
    ensure!(attached(&stage)?.len() == 2 && pins.files().len() > 2, "{:?}", pins.files());
    Ok(Verdict::Passed)
}

/// Queries that each client asks before the daemon is killed, and before it is started again.
const ASKED: u64 = 100;

/// Each time `count` programs are attached.
fn restart_often(
    stage: &mut Stage,
    files: &[Vec<u8>],
    load: &Load<'_>,
    count: usize,
) -> Result<()> {
    let file = stage.folder.path().join("example.org.zone");
    for (place, version) in files.iter().enumerate().skip(1) {
        load.wait_for_more(ASKED)?;
        let (counted, programs) = (answered(stage)?, attached(stage)?);
        ensure!(programs.len() == count, "{programs:?} are attached");
        crash(stage)?;
        ensure!(attached(stage)? == programs, "the programs went with the daemon");
        load.wait_for_more(ASKED)?;
        load.newest.store(place, SeqCst);
        fs::write(&file, version)?;
        stage.restart()?;
        // Until it has read the file, the daemon serves what was served before.
        let is_read = || {
            let status = stage.reply::<ZoneStatus>(&["zone", "status", DEMO.0]);
            status.is_ok_and(|status| !status.from_last_run)
        };
        net::wait_until("the zone's file is read", PATIENCE, is_read)?;
        load.served.store(place, SeqCst);
        let now = attached(stage)?;
        ensure!(now.len() == count && now.iter().all(|id| !programs.contains(id)), "{now:?}");
        let again = answered(stage)?;
        ensure!(again > counted, "{counted} answers, and {again} later");
    }
    load.wait_for_more(ASKED)
}

/// What is pinned is the owner's alone, is shown, and goes without a trace; a daemon's is not taken away.
pub fn what_is_pinned_goes_without_a_trace() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pins = Pins::new("trace")?;
    let folder = pins.folder().display().to_string();
    let mut stage = Stage::with(&xdp(&pins.lines("")), "trace", &[(DEMO.0, DEMO.1, "")])?;
    let files = pins.files();
    for name in [maps::SLAB, maps::TABLE, maps::CONFIG, maps::SCRATCH, maps::STATS, maps::PROGRAMS]
        .into_iter()
        .chain([maps::ENTRY_PROGRAM, maps::TCX_ENTRY_PROGRAM, "send", "tcx_send"])
    {
        ensure!(files.contains(&format!("set-1/{name}")), "{name} is not among {files:?}");
    }
    ensure!(files.iter().filter(|file| file.starts_with("links/")).count() == 2, "{files:?}");
    for (path, mode) in [("", 0o40700), ("links", 0o40700), ("set-1", 0o40700)]
        .into_iter()
        .chain(files.iter().map(|file| (file.as_str(), 0o100_600)))
    {
        let found = fs::metadata(pins.folder().join(path))?;
        ensure!((found.mode(), found.uid()) == (mode, 0), "{path}: {:o}", found.mode());
    }

    // A command that does not find the daemon must not take its pins.
    let elsewhere = ["xdp", "detach", "--all", "--control", "/nowhere", "--pin", &folder];
    let refused = stage.command(&elsewhere)?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(output_text(&refused).contains("another daemon holds"), "{}", output_text(&refused));

    let programs = attached(&stage)?;
    crash(&mut stage)?;
    let status = stage.command(&["xdp", "status"])?;
    ensure!(status.status.code() == Some(4), "{status:?}");
    ensure!(
        output_text(&status).contains("links/xdp-") && output_text(&status).contains("server"),
        "{status:?}"
    );
    let detached = stage.command(&["xdp", "detach", "--all"])?;
    ensure!(detached.status.success(), "{detached:?}");
    ensure!(
        output_text(&detached).contains("detached: server (xdp, tcx)"),
        "{}",
        output_text(&detached)
    );
    ensure!(attached(&stage)?.is_empty() && !pins.folder().exists(), "{:?}", pins.files());
    let is_gone = |id: &u32| !aya::programs::loaded_programs().flatten().any(|one| one.id() == *id);
    net::wait_until("the programs are gone", PATIENCE, || programs.iter().all(is_gone))?;
    let again = stage.command(&["xdp", "detach", "--all"])?;
    ensure!(
        again.status.success() && output_text(&again).contains("nothing is pinned"),
        "{again:?}"
    );

    // A daemon does the same.
    stage.restart()?;
    ensure!(attached(&stage)?.len() == 2);
    ensure!(stage.command(&["xdp", "detach", "--all"])?.status.success());
    ensure!(attached(&stage)?.is_empty() && !pins.folder().exists(), "{:?}", pins.files());
    ensure!(stage.command(&["xdp", "attach", "server"])?.status.success());
    ensure!(attached(&stage)?.len() == 2 && pins.files().len() == files.len());
    // And so it does when it is told to end.
    stage.server.process.signal(Signal::SIGTERM)?;
    let process = &mut stage.server.process;
    net::wait_until("it has ended", PATIENCE, || process.ended().is_ok_and(|end| end.is_some()))?;
    ensure!(attached(&stage)?.is_empty() && !pins.folder().exists(), "{:?}", pins.files());
    Ok(Verdict::Passed)
}

/// Pins of another layout are replaced all the same, and so are those in another mode.
pub fn pins_that_do_not_fit_are_replaced() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pins = Pins::new("layout")?;
    let mut stage = Stage::with(&xdp(&pins.lines("")), "layout", &[(DEMO.0, DEMO.1, "")])?;
    let client = Client::new(&stage.pair)?;
    let www = query("www.example.org", A, WITH_DNSSEC);
    ask(&client, &stage.pair, &www)?;
    ensure!(answered(&stage)? == 1);
    let before = attached(&stage)?;
    crash(&mut stage)?;
    let meta = MapData::from_pin(pins.folder().join("set-1/META"))?;
    const WORDS: usize = size_of::<Meta>() / 8;
    Array::<_, [u64; WORDS]>::try_from(Map::Array(meta))?.set(0, [7; WORDS], 0)?;
    stage.restart()?;
    ensure!(stage.server.process.log().contains("another version of sealdns"), "not said");
    let now = attached(&stage)?;
    ensure!(now.len() == 2 && now.iter().all(|id| !before.contains(id)), "{before:?} {now:?}");
    ensure!(answered(&stage)? == 0);
    ask(&client, &stage.pair, &www)?;
    ensure!(answered(&stage)? == 1);

    crash(&mut stage)?;
    let lines = pins.lines("").replace("native", "generic");
    configure(stage.folder.path(), &xdp(&lines), &[(DEMO.0, DEMO.1, "")])?;
    stage.restart()?;
    ensure!(stage.server.process.log().contains("pinned in native mode"), "not said");
    ensure!(link(&stage.pair.server)?.contains("xdpgeneric"), "{}", link(&stage.pair.server)?);
    Ok(Verdict::Passed)
}

fn ask(client: &Client, pair: &Pair, query: &[u8]) -> Result<()> {
    let answer = pair.client.enter(|| client.send(0, query))??;
    ensure!(!Message::read(&answer)?.answer.is_empty(), "{answer:02x?}");
    Ok(())
}

/// A daemon that cannot start, or cannot load a zone, leaves what is pinned answering; one that gives up
/// its privileges takes over and leaves no less; one that is told to stop may leave it too.
pub fn what_is_pinned_answers_while_nobody_can() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pins = Pins::new("leave")?;
    let zone = [(DEMO.0, DEMO.1, "")];
    let user = "user = \"nobody\"";
    let mut stage = Stage::with(&xdp(&pins.lines("")), "leave", &zone)?;
    let client = Client::new(&stage.pair)?;
    let www = query("www.example.org", A, WITH_DNSSEC);
    let programs = attached(&stage)?;
    crash(&mut stage)?;

    // A configuration that cannot be.
    let lines = pins.lines("").replace("mode =", "ports = [53, 0]\nmode =");
    configure(stage.folder.path(), &xdp(&lines), &zone)?;
    ensure!(stage.restart().is_err(), "port 0 is served");
    ensure!(attached(&stage)? == programs && pins.files().len() > 10, "{:?}", pins.files());
    ask(&client, &stage.pair, &www)?;

    // No zone that loads.
    configure(stage.folder.path(), &xdp(&pins.lines("on-exit = \"keep\"")), &zone)?;
    let file = stage.folder.path().join("example.org.zone");
    fs::write(&file, "broken")?;
    fs::remove_dir_all(stage.folder.path().join("state/signed"))
        .context("removing what is kept of the zone")?;
    stage.restart()?;
    ensure!(attached(&stage)? == programs, "programs with no zone answer");
    ask(&client, &stage.pair, &www)?;
    let status = output_text(&stage.command(&["xdp", "status", "--json"])?);
    ensure!(status.contains("\"adopted\":true"), "{status}");
    stage.server.process.signal(Signal::SIGTERM)?;
    let process = &mut stage.server.process;
    net::wait_until("it has ended", PATIENCE, || process.ended().is_ok_and(|end| end.is_some()))?;
    ensure!(attached(&stage)? == programs);
    ensure!(pins.files().iter().all(|file| !file.starts_with("set-2")), "{:?}", pins.files());
    ask(&client, &stage.pair, &www)?;

    // As another user, twice: what is pinned is root's and is taken over.
    fs::set_permissions(stage.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let _ = fs::remove_dir_all(stage.folder.path().join("state"));
    configure(
        stage.folder.path(),
        &Settings { server: user, ..xdp(&pins.lines("on-exit = \"keep\"")) },
        &zone,
    )?;
    let mut before = programs;
    for _ in 0..2 {
        stage.restart()?;
        let now = attached(&stage)?;
        ensure!(now.len() == 2 && now.iter().all(|id| !before.contains(id)), "{before:?} {now:?}");
        before = now;
        ask(&client, &stage.pair, &www)?;
        ensure!(answered(&stage)? > 0);
        let sets = pins.files().iter().filter(|file| file.ends_with("/META")).count();
        ensure!(sets == 1, "{:?}\n{}", pins.files(), stage.server.process.log());
        crash(&mut stage)?;
    }
    configure(stage.folder.path(), &Settings { server: user, ..xdp(&pins.lines("")) }, &zone)?;
    stage.restart()?;
    stage.server.process.signal(Signal::SIGTERM)?;
    let process = &mut stage.server.process;
    net::wait_until("it has ended", PATIENCE, || process.ended().is_ok_and(|end| end.is_some()))?;
    ensure!(attached(&stage)?.is_empty() && !pins.folder().exists(), "{:?}", pins.files());
    Ok(Verdict::Passed)
}
