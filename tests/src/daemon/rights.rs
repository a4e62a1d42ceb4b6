//! What a daemon that was started as root gives up, keeps, and refuses to touch.

use std::{
    fs,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown, lchown, symlink,
    },
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::Signal,
    unistd::{Pid, User},
};
use testbed::net;
use tests::{
    dns::Message,
    harness::Verdict,
    servers::{self, DEMO},
};

use crate::{
    devices::pinned::{Pins, attached},
    wire::{
        client::{A, Client, WITH_DNSSEC, query},
        stage::{PATIENCE, Settings, Stage, configure, obstacle},
    },
};

/// Who the daemon becomes.
const USER: &str = "user = \"nobody\"";
const ZONE: &[(&str, &str, &str)] = &[(DEMO.0, DEMO.1, "")];

pub fn nobody() -> Result<User> {
    User::from_name("nobody")?.context("no user nobody")
}

/// Settings of a daemon that becomes another user, with these lines in `[xdp]`.
pub fn as_nobody(xdp: &str) -> Settings<'_> {
    Settings { server: USER, xdp, sections: "" }
}

/// Runs the daemon as [`as_nobody`] says; that user may read the zones.
pub fn stage(test: &str, settings: &Settings<'_>) -> Result<Stage> {
    let open = Settings { server: "", xdp: "mode = \"native\"\nmemory = \"64MiB\"", sections: "" };
    let mut stage = Stage::with(&open, test, ZONE)?;
    end(&mut stage)?;
    fs::set_permissions(stage.folder.path(), fs::Permissions::from_mode(0o755))?;
    fs::remove_dir_all(stage.folder.path().join("state"))?;
    configure(stage.folder.path(), settings, ZONE)?;
    stage.restart()?;
    Ok(stage)
}

fn end(stage: &mut Stage) -> Result<()> {
    stage.server.process.signal(Signal::SIGTERM)?;
    wait_for_the_end(stage)
}

fn wait_for_the_end(stage: &mut Stage) -> Result<()> {
    let process = &mut stage.server.process;
    net::wait_until("it has ended", PATIENCE, || process.ended().is_ok_and(|end| end.is_some()))
}

/// The children of a process.
fn children(process: u32) -> Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    Ok(text.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}

/// A field of /proc/PID/status.
fn status(process: u32, field: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {field}"))?.trim().to_owned())
}

fn lives(process: u32) -> bool {
    // What has ended and is not waited for yet does nothing more.
    status(process, "State").is_ok_and(|state| !state.starts_with('Z'))
}

/// With `user`, pins are root's all the same, and a daemon without privileges that is told to end detaches and
/// leaves nothing behind: with the loader, and when that was killed before.
pub fn pins_stay_root_s_and_go_with_the_daemon() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pins = Pins::new("rights")?;
    let lines = pins.lines("on-exit = \"detach\"");
    let mut stage = stage("rights", &as_nobody(&lines))?;
    let client = Client::new(&stage.pair)?;
    let www = query("www.example.org", A, WITH_DNSSEC);
    let ask = |stage: &Stage| stage.pair.client.enter(|| client.send(0, &www));
    let daemon = stage.server.process.id();
    let nobody = nobody()?.uid.to_string();
    ensure!(status(daemon, "Uid")?.split_whitespace().all(|uid| uid == nobody));
    for entry in pins.files().iter().map(String::as_str).chain(["", "links", "set-1"]) {
        let found = fs::symlink_metadata(pins.folder().join(entry))?;
        ensure!(found.uid() == 0 && found.mode() & 0o77 == 0, "{entry}: {found:?}");
    }
    let programs = attached(&stage)?;
    ensure!(programs.len() == 2 && stage.sent_by_xdp()? == 0);
    ensure!(!Message::read(&ask(&stage)??)?.answer.is_empty() && stage.sent_by_xdp()? == 1);

    // What it holds of root is small, and asks for nothing more.
    let [loader] = children(daemon)?[..] else { bail!("{:?}", children(daemon)) };
    ensure!(status(loader, "Uid")?.split_whitespace().all(|uid| uid == "0"));
    // CAP_NET_ADMIN 12, CAP_PERFMON 38, CAP_BPF 39 (linux/capability.h).
    let kept = format!("{:016x}", 1u64 << 12 | 1 << 38 | 1 << 39);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        ensure!(status(loader, set)? == kept, "{set} {}", status(loader, set)?);
    }
    ensure!(status(loader, "NoNewPrivs")? == "1" && status(loader, "Threads")? == "1");
    let sockets = fs::read_dir(format!("/proc/{loader}/fd"))?.flatten();
    let sockets = sockets.filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets: Vec<PathBuf> =
        sockets.filter(|to| to.to_string_lossy().starts_with("socket:")).collect();
    ensure!(sockets.iter().all(|one| *one == sockets[0]), "{sockets:?}");

    // At run time too.
    ensure!(stage.command(&["xdp", "detach", "--all"])?.status.success());
    ensure!(attached(&stage)?.is_empty() && !pins.folder().exists(), "{:?}", pins.files());
    let again = stage.command(&["xdp", "attach", "server"])?;
    ensure!(again.status.success(), "{again:?}");
    ensure!(attached(&stage)?.len() == 2 && pins.files().len() > 10, "{:?}", pins.files());

    end(&mut stage)?;
    ensure!(attached(&stage)?.is_empty() && !pins.folder().exists(), "{:?}", pins.files());
    net::wait_until("the loader has ended", PATIENCE, || !lives(loader))?;
    let is_gone = |id: &u32| !aya::programs::loaded_programs().flatten().any(|one| one.id() == *id);
    net::wait_until("the programs are gone", PATIENCE, || programs.iter().all(is_gone))?;

    // Without its loader it detaches all the same; what is left of the pins is the next start's.
    stage.restart()?;
    let [loader] = children(stage.server.process.id())?[..] else { bail!("not one loader") };
    nix::sys::signal::kill(Pid::from_raw(loader as i32), Signal::SIGKILL)?;
    net::wait_until("the loader is dead", PATIENCE, || !lives(loader))?;
    end(&mut stage)?;
    ensure!(attached(&stage)?.is_empty(), "{:?}", attached(&stage));
    stage.restart()?;
    ensure!(attached(&stage)?.len() == 2);
    let sets = pins.files().iter().filter(|file| file.ends_with("/META")).count();
    ensure!(sets == 1, "{:?}", pins.files());
    Ok(Verdict::Passed)
}

/// However a daemon without pins dies, its programs and its loader go with it.
pub fn nothing_is_left_when_a_daemon_dies() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for lines in ["mode = \"native\"\nmemory = \"64MiB\"", "mode = \"tcx\"\nmemory = \"64MiB\""] {
        let mut stage = stage("orphan", &as_nobody(lines))?;
        let [loader] = children(stage.server.process.id())?[..] else { bail!("not one loader") };
        ensure!(!attached(&stage)?.is_empty());
        stage.server.process.signal(Signal::SIGKILL)?;
        wait_for_the_end(&mut stage)?;
        net::wait_until("nothing is attached", PATIENCE, || {
            attached(&stage).is_ok_and(|programs| programs.is_empty())
        })?;
        net::wait_until("the loader has ended", PATIENCE, || !lives(loader))?;
    }
    Ok(Verdict::Passed)
}

/// Where another than root could have put something among the pins, or in the way to them, the daemon does not
/// start, and changes nothing of what a symbolic link there leads to.
pub fn what_others_put_among_the_pins_is_refused() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pins = Pins::new("attack")?;
    let lines = pins.lines("");
    let mut stage = stage("attack", &as_nobody(&lines))?;
    end(&mut stage)?;
    ensure!(!pins.folder().exists());
    let (user, folder) = (nobody()?, pins.folder());
    let victim = stage.folder.path().join("victim");
    fs::create_dir(&victim)?;
    let before = fs::metadata(&victim)?;

    type Attack<'a> = &'a dyn Fn(&Path) -> std::io::Result<()>;
    let make = |path: &Path, mode: u32| fs::DirBuilder::new().mode(mode).create(path);
    let give = |path: &Path| chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    let attacks: [(&str, Attack<'_>); 7] = [
        ("has a symbolic link in it", &|folder| symlink(&victim, folder)),
        ("is a symbolic link", &|folder| {
            make(folder, 0o700)?;
            symlink(&victim, folder.join("links"))
        }),
        ("is a symbolic link", &|folder| {
            make(folder, 0o700)?;
            symlink(&victim, folder.join("set-1"))
        }),
        ("is a symbolic link", &|folder| {
            make(folder, 0o700)?;
            make(&folder.join("links"), 0o700)?;
            symlink(&victim, folder.join("links/xdp-1"))
        }),
        ("belongs to the user", &|folder| {
            make(folder, 0o700)?;
            give(folder)
        }),
        ("belongs to the user", &|folder| {
            make(folder, 0o700)?;
            make(&folder.join("set-1"), 0o700)?;
            give(&folder.join("set-1"))
        }),
        ("others may write there", &|folder| {
            make(folder, 0o700)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777))
        }),
    ];
    for (place, (said, attack)) in attacks.iter().enumerate() {
        attack(&folder).with_context(|| format!("attack {place}"))?;
        ensure!(stage.restart().is_err(), "{place}: it starts");
        let removed = stage.command(&["xdp", "detach", "--all"])?;
        let words = [&removed.stdout, &removed.stderr].map(|text| String::from_utf8_lossy(text));
        ensure!(removed.status.code() == Some(1) && words.concat().contains(said), "{words:?}");
        let after = fs::metadata(&victim)?;
        let of = |found: &fs::Metadata| (found.uid(), found.gid(), found.mode());
        ensure!(of(&before) == of(&after) && fs::read_dir(&victim)?.count() == 0, "{place}");
        let is_link = fs::symlink_metadata(&folder)?.is_symlink();
        if is_link { fs::remove_file(&folder) } else { fs::remove_dir_all(&folder) }?;
    }
    // And so the folder above, where anybody may replace it.
    let above = folder.parent().context("no folder above")?;
    give(above)?;
    ensure!(stage.restart().is_err(), "in a folder of another's it starts");
    chown(above, Some(0), Some(0))?;
    stage.restart()?;
    ensure!(attached(&stage)?.len() == 2);
    Ok(Verdict::Passed)
}

/// Without `user` the daemon stays root, says so, and keeps what it needs of root's capabilities; no way of running
/// leaves keys in a core dump.
pub fn a_daemon_that_stays_root_keeps_little() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let settings = Settings { xdp: "mode = \"native\"\nmemory = \"64MiB\"", ..Settings::NATIVE };
    let mut stage = Stage::with(&settings, "root", ZONE)?;
    let daemon = stage.server.process.id();
    // CAP_DAC_OVERRIDE 1, CAP_NET_BIND_SERVICE 10, CAP_NET_ADMIN 12, CAP_PERFMON 38, CAP_BPF 39.
    let kept = format!("{:016x}", 1u64 << 1 | 1 << 10 | 1 << 12 | 1 << 38 | 1 << 39);
    let nothing = format!("{:016x}", 0);
    let tasks = fs::read_dir(format!("/proc/{daemon}/task"))?.flatten();
    let threads = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    for thread in threads.collect::<Vec<u32>>() {
        for (set, expected) in [
            ("CapPrm", &kept),
            ("CapEff", &kept),
            ("CapBnd", &kept),
            ("CapInh", &nothing),
            ("CapAmb", &nothing),
        ] {
            ensure!(status(thread, set)? == *expected, "{set}: {}", status(thread, set)?);
        }
        ensure!(status(thread, "NoNewPrivs")? == "1");
    }
    ensure!(
        stage.server.process.log().contains("the daemon goes on as root: set `user`"),
        "not said"
    );
    ensure!(children(daemon)?.is_empty(), "a loader of root's");
    without_core_dumps(daemon)?;
    // It can all that it could: maps that grow, programs that go and come.
    ensure!(stage.command(&["xdp", "detach", "--all"])?.status.success());
    let attach = stage.command(&["xdp", "attach", "server"])?;
    ensure!(attach.status.success() && attached(&stage)?.len() == 2, "{attach:?}");
    end(&mut stage)?;

    configure(stage.folder.path(), &as_nobody(settings.xdp), ZONE)?;
    fs::set_permissions(stage.folder.path(), fs::Permissions::from_mode(0o755))?;
    fs::remove_dir_all(stage.folder.path().join("state"))?;
    stage.restart()?;
    let daemon = stage.server.process.id();
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        ensure!(status(daemon, set)? == nothing, "{set}: {}", status(daemon, set)?);
    }
    without_core_dumps(daemon)?;
    for loader in children(daemon)? {
        without_core_dumps(loader)?;
    }
    Ok(Verdict::Passed)
}

fn without_core_dumps(process: u32) -> Result<()> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits"))?;
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let core = core.context("no limit of core files")?;
    ensure!(core.split_whitespace().take(2).all(|limit| limit == "0"), "{core}");
    Ok(())
}

/// What the daemon makes for its user it makes as that user, or where that user can change nothing: a symbolic link
/// in a folder of the user's leads nowhere.
pub fn root_makes_nothing_where_its_user_leads_it() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let xdp = "mode = \"native\"\nmemory = \"64MiB\"";
    let mut stage = stage("paths", &as_nobody(xdp))?;
    let user = nobody()?;
    let here = stage.folder.path().to_owned();
    // In a folder of root's it has been done by root.
    for (name, mode) in [("state", 0o40700), ("control.sock", 0o140_600)] {
        let found = fs::symlink_metadata(here.join(name))?;
        ensure!((found.uid(), found.mode()) == (user.uid.as_raw(), mode), "{name}: {found:?}");
    }
    end(&mut stage)?;

    let own = here.join("own");
    fs::create_dir(&own)?;
    chown(&own, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    let victim = here.join("victim");
    fs::create_dir(&victim)?;
    fs::write(victim.join("control.sock"), "root's")?;
    symlink(&victim, own.join("away"))?;
    let start = |stage: &mut Stage, state: &str, control: &str| -> Result<()> {
        configure(&here, &as_nobody(xdp), ZONE)?;
        let file = here.join("sealdns.toml");
        let text = fs::read_to_string(&file)?;
        let text = text.replace("\"control.sock\"", &format!("\"{control}\""));
        fs::write(&file, text.replace("\"state\"", &format!("\"{state}\"")))?;
        stage.restart()
    };
    for (state, control) in [
        ("own/away/state", "control.sock"),
        ("own/away/more/state", "control.sock"),
        ("own/state", "own/away/control.sock"),
        ("own/state", "own/away/new/control.sock"),
    ] {
        ensure!(start(&mut stage, state, control).is_err(), "{state} {control}: it starts");
        let left: Vec<_> = fs::read_dir(&victim)?.flatten().map(|entry| entry.path()).collect();
        ensure!(left == [victim.join("control.sock")], "{state} {control}: {left:?}");
        ensure!(
            fs::read(victim.join("control.sock"))? == b"root's"
                && fs::metadata(&victim)?.uid() == 0
        );
    }
    // In the user's own folders it is done by the user.
    start(&mut stage, "own/more/state", "own/run/control.sock")?;
    for name in ["own/more", "own/more/state", "own/run", "own/run/control.sock"] {
        ensure!(fs::symlink_metadata(here.join(name))?.uid() == user.uid.as_raw(), "{name}");
    }
    end(&mut stage)?;
    ensure!(!here.join("own/run/control.sock").exists(), "the socket's file is left");
    Ok(Verdict::Passed)
}

/// What root makes by command in a folder of another user's is that user's, as if that user had made it; a link
/// there leads root nowhere.
pub fn keys_that_root_makes_are_the_folder_s_owner_s() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let (user, folder) = (nobody()?, tempfile::tempdir()?);
    let binary = servers::sealdns().context("no sealdns")?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let (own, victim) = (folder.path().join("own"), folder.path().join("victim"));
    fs::create_dir(&victim)?;
    fs::create_dir(&own)?;
    chown(&own, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    fs::write(folder.path().join("zone"), DEMO.1)?;
    let run = |arguments: &str| -> Result<bool> {
        let mut command = Command::new(&binary);
        command.args(arguments.split_whitespace()).current_dir(folder.path());
        Ok(net::output_within(&mut command, PATIENCE)?.status.success())
    };
    let sign = "sign example.org --in zone --out signed --keys";
    ensure!(run("key generate example.org --keys own/a")? && run(&format!("{sign} own/b"))?);
    for keys in [own.join("a"), own.join("b")] {
        let mut made = 0;
        for entry in fs::read_dir(&keys)?.flatten().filter(|entry| entry.path().is_file()) {
            let found = entry.metadata()?;
            ensure!((found.uid(), found.mode() & 0o777) == (user.uid.as_raw(), 0o600), "{entry:?}");
            made += 1;
        }
        ensure!(made >= 2 && fs::metadata(&keys)?.uid() == user.uid.as_raw(), "{keys:?}: {made}");
    }
    ensure!(fs::metadata(folder.path().join("signed"))?.uid() == 0);
    symlink(&victim, own.join("away"))?;
    lchown(own.join("away"), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    ensure!(!run("key generate example.org --keys own/away/keys")?);
    ensure!(!run(&format!("{sign} own/away/keys"))?);
    ensure!(fs::read_dir(&victim)?.count() == 0, "something was made in root's folder");
    Ok(Verdict::Passed)
}
