//! The daemon as a process: started, asked, reloaded, stopped, started again.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sealdns::control::client::call;
use sealdns::control::protocol::Request;
use sealdns::control::reply::read::{self, Readable};
use sealdns::control::reply::status::Health;
use sealdns::control::reply::zone::{
    Change, ServingState, VersionDifference, ZoneList, ZoneReload, ZoneStatus,
};
use sealdns::control::reply::{FailedCommand, Reply};
use sealdns::daemon::locks::WRONG_ORDER;

const SEALDNS: &str = env!("CARGO_BIN_EXE_sealdns");
const PATIENCE: Duration = Duration::from_secs(60);

const ZONE: &str = "$TTL 300\n@ IN SOA ns hostmaster 7 3600 900 604800 60\n@ NS ns\n\
                    ns A 192.0.2.1\nwww A 192.0.2.2\n*.w TXT \"any\"\n";

/// A running daemon; ended when dropped.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

impl Daemon {
    fn start(config: &Path) -> Daemon {
        Daemon::start_with(config, &[])
    }

    fn start_with(config: &Path, variables: &[(&str, &Path)]) -> Daemon {
        let daemon = Daemon::begin(config, variables);
        daemon.wait_for("ready");
        daemon
    }

    /// As [`Daemon::start_with`], and does not wait until it is ready.
    fn begin(config: &Path, variables: &[(&str, &Path)]) -> Daemon {
        let mut child = Command::new(SEALDNS)
            .args(["run", "--config"])
            .arg(config)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sealdns starts");
        let stderr = child.stderr.take().expect("its stderr");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Daemon { child, lines }
    }

    /// Waits for a line of the log that has `text` in it.
    fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline - Instant::now()) {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with {text:?} in:\n{}", seen.join("\n"));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a signal");
    }

    fn wait(self) -> ExitStatus {
        self.wait_and_hear().0
    }

    /// Waits until it has ended; what it said since a line was last waited for.
    fn wait_and_hear(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return (status, self.lines.iter().collect());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("sealdns does not end");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Stage {
    folder: tempfile::TempDir,
    config: PathBuf,
    port: u16,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let config = folder.path().join("sealdns.toml");
        let text = format!(
            "version = \"v1\"\n[server]\nlisten = [\"127.0.0.1:{port}\"]\n\
             control = \"run/control.sock\"\nstate-dir = \"state\"\nidentity = \"here\"\n\
             [[zone]]\nname = \"example.com\"\nfile = \"example.com.zone\"\n\
             allow-transfer = [\"127.0.0.1\"]\n"
        );
        std::fs::write(&config, text).expect("the configuration");
        let stage = Stage { folder, config, port };
        stage.write_zone(ZONE);
        stage
    }

    fn write_zone(&self, text: &str) {
        std::fs::write(self.folder.path().join("example.com.zone"), text).expect("the zone");
    }

    /// A command, its exit code and what it printed as JSON.
    fn reply<T: Readable>(&self, arguments: &[&str]) -> (i32, T) {
        let (code, said) = self.command(arguments);
        let read = read::printed(&said);
        (code, read.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}")))
    }

    /// A command, its exit code and what it printed.
    fn command(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(SEALDNS)
            .args(arguments)
            .args(["--json", "--config"])
            .arg(&self.config)
            .output()
            .expect("sealdns runs");
        let said = String::from_utf8(output.stdout).expect("text");
        (output.status.code().expect("an exit code"), said)
    }

    fn zone(&self) -> ZoneStatus {
        let (code, status) = self.reply(&["zone", "status", "example.com"]);
        assert_eq!(code, 0, "{status:?}");
        status
    }

    /// The lines of the zone as dig transfers it, SOA first and last.
    fn transferred(&self) -> Vec<String> {
        let port = self.port.to_string();
        let arguments = ["@127.0.0.1", "-p", &port, "example.com", "AXFR", "+noall", "+answer"];
        let Output { status, stdout, .. } =
            Command::new("dig").args(arguments).output().expect("dig is installed");
        assert!(status.success());
        let text = String::from_utf8(stdout).expect("text");
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

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
    let second = Command::new(SEALDNS).args(["run", "--config"]).arg(&stage.config).output();
    let second = second.expect("sealdns runs");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
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
fn what_keeps_a_daemon_from_starting_is_said() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(&stage.config).expect("the configuration");
    for (from, to, said) in [
        ("identity", "identiti", "did you mean `identity`?"),
        ("127.0.0.1:", "0.0.0.0:", "is a wildcard"),
        ("identity = \"here\"", "user = \"no-such-user-here\"", "there is no user"),
    ] {
        std::fs::write(&stage.config, text.replacen(from, to, 1)).expect("the configuration");
        let output = Command::new(SEALDNS).args(["run", "--config"]).arg(&stage.config).output();
        let output = output.expect("sealdns runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

/// A port on the loopback address that is free.
fn free_port() -> u16 {
    // Free a moment ago; nobody else is given it so soon.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// How dig ends and what it prints.
fn dig(server: &str, port: u16, arguments: &[&str]) -> String {
    let output = Command::new("dig")
        .args([&format!("@{server}"), "-p", &port.to_string(), "+tries=1", "+time=5"])
        .args(arguments)
        .output()
        .expect("dig is installed");
    String::from_utf8(output.stdout).expect("text")
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

/// Whether a process, by its status (proc_pid_status(5)), has a signal blocked, or catches it, which it does once it
/// follows it: either way the signal does not end it.
fn outlasts(status: &str, signal: Signal) -> bool {
    ["SigBlk:", "SigCgt:"].iter().any(|field| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field)).expect("a mask");
        let mask = u64::from_str_radix(mask.trim(), 16).expect("a number");
        mask >> (signal as i32 - 1) & 1 == 1
    })
}

#[test]
fn no_hangup_ends_a_daemon_that_starts() {
    let stage = Stage::new();
    for _ in 0..10 {
        let daemon = Daemon::begin(&stage.config, &[]);
        let status = format!("/proc/{}/status", daemon.child.id());
        // From the first line of its own on; before that it is the runtime's, which knows no SIGHUP.
        let deadline = Instant::now() + PATIENCE;
        while !outlasts(&std::fs::read_to_string(&status).expect("its status"), Signal::SIGHUP) {
            assert!(Instant::now() < deadline, "SIGHUP would end it");
        }
        let mut count = 0;
        loop {
            daemon.signal(Signal::SIGHUP);
            count += 1;
            match daemon.lines.try_recv() {
                Ok(line) if line.contains("ready") => break,
                Err(TryRecvError::Disconnected) => panic!("{count} hangups ended it"),
                Ok(_) | Err(TryRecvError::Empty) => {}
            }
        }
        // What it does next is a reload, however many there were.
        daemon.wait_for("reloaded zones=1 failed=0");
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.wait().success());
    }
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

/// Runs a daemon that does not start, and says why.
fn refused(config: &Path) -> String {
    let output = Command::new(SEALDNS).args(["run", "--config"]).arg(config).output();
    let output = output.expect("sealdns runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    stderr
}

#[test]
fn a_state_directory_has_one_daemon() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage.config);
    // Nothing else of it is the same.
    let text = std::fs::read_to_string(&stage.config).expect("the configuration");
    let text = text.replace(&stage.port.to_string(), &free_port().to_string());
    let other = stage.folder.path().join("other.toml");
    std::fs::write(&other, text.replace("run/control", "run/other")).expect("a configuration");
    let said = refused(&other);
    assert!(said.contains(&format!("is in use by process {}", daemon.child.id())), "{said}");
    // One that was killed has left it.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    Daemon::start(&other);
}

#[test]
fn what_is_not_the_daemon_s_socket_stays() {
    let stage = Stage::new();
    let control = stage.folder.path().join("run/control.sock");
    std::fs::create_dir_all(stage.folder.path().join("run")).expect("a folder");
    std::fs::write(&control, "precious").expect("a file");
    let said = refused(&stage.config);
    assert!(said.contains("there is a file that is not a socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&control).expect("the file"), "precious");
    std::fs::remove_file(&control).expect("it goes");
    // What a daemon left that was killed is no obstacle.
    let daemon = Daemon::start(&stage.config);
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert!(control.exists());
    Daemon::start(&stage.config);
}

#[test]
fn a_state_directory_of_root_s_is_foretold_and_refused() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("SKIPPED: only root can become somebody else");
        return;
    }
    let stage = Stage::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(stage.folder.path(), mode).expect("a mode");
    let check = || {
        let output = Command::new(SEALDNS).args(["config", "check"]).arg(&stage.config).output();
        let output = output.expect("sealdns runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // It is tried out as root, and then `user` is set.
    let daemon = Daemon::start(&stage.config);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert_eq!(check().0, Some(0));
    let text = std::fs::read_to_string(&stage.config).expect("the configuration");
    let text = text.replacen("[server]\n", "[server]\nuser = \"nobody\"\n", 1);
    std::fs::write(&stage.config, text).expect("the configuration");
    let state = stage.folder.path().join("state");
    let advice = format!("run chown -R nobody: {}", state.display());
    let (code, said) = check();
    assert!(code == Some(3) && said.contains(&advice), "{said}");
    let said = refused(&stage.config);
    assert!(said.contains(&advice), "{said}");
    // The advice is right.
    let done = Command::new("chown").args(["-R", "nobody:"]).arg(&state).status();
    assert!(done.expect("chown").success());
    assert_eq!(check(), (Some(0), check().1));
    let daemon = Daemon::start(&stage.config);
    assert_eq!(stage.command(&["health"]).0, 0);
    drop(daemon);
    // A zone file that only root may read is foretold too.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    let zone = stage.folder.path().join("example.com.zone");
    std::fs::set_permissions(&zone, mode).expect("a mode");
    let (code, said) = check();
    assert!(code == Some(3) && said.contains("example.com.zone: Permission denied"), "{said}");
}

#[test]
fn an_address_may_come_after_the_daemon() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("SKIPPED: only root can make a network namespace");
        return;
    }
    // The namespace is this thread's, and that of what it starts.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a namespace");
    let ip = |arguments: &[&str]| {
        assert!(Command::new("ip").args(arguments).status().expect("ip").success());
    };
    ip(&["link", "set", "lo", "up"]);
    let stage = Stage::new();
    let text = std::fs::read_to_string(&stage.config).expect("the configuration");
    let listen = format!("\"127.0.0.1:{}\"", stage.port);
    let more = format!("{listen}, \"198.51.100.53:53\", \"[2001:db8::53]:53\"");
    std::fs::write(&stage.config, text.replace(&listen, &more)).expect("the configuration");
    let daemon = Daemon::begin(&stage.config, &[]);
    daemon.wait_for("198.51.100.53 is not an address of this host yet");
    daemon.wait_for("2001:db8::53 is not an address of this host yet");
    daemon.wait_for("ready");
    // Who would give it to the host asks first.
    assert_eq!(stage.command(&["health"]).0, 0);
    ip(&["addr", "add", "198.51.100.53/32", "dev", "lo"]);
    ip(&["addr", "add", "2001:db8::53/128", "dev", "lo", "nodad"]);
    for server in ["198.51.100.53", "2001:db8::53"] {
        for transport in ["+notcp", "+tcp"] {
            let said = dig(server, 53, &[transport, "+short", "www.example.com", "A"]);
            assert_eq!(said.trim(), "192.0.2.2", "{server} {transport}");
        }
    }
}

#[test]
fn what_is_asked_by_control_is_logged_with_who_asked() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage.config);
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
    let user = user.expect("users").expect("ours").name;
    for (arguments, action) in [
        (&["zone", "reload", "example.com"][..], "zone reload example.com"),
        (&["ratelimit", "mode", "dry-run"], "ratelimit set mode=dry-run"),
        (
            &["ratelimit", "block", "add", "192.0.2.0/24", "bad.example", "--for", "1h"],
            "ratelimit block add 192.0.2.0/24 bad.example --for 1h",
        ),
        (&["ratelimit", "block", "del", "192.0.2.0/24"], "ratelimit block del 192.0.2.0/24"),
        (&["ratelimit", "exempt", "add", "192.0.2.0/24"], "ratelimit exempt add 192.0.2.0/24"),
        (&["ratelimit", "reset"], "ratelimit reset"),
    ] {
        assert_eq!(stage.command(arguments).0, 0, "{arguments:?}");
        let line = daemon.wait_for(action);
        assert!(line.contains(&format!("{action}: asked for by {user} (process ")), "{line}");
    }
    assert_eq!(stage.command(&["xdp", "attach", "no-such-if"]).0, 1);
    daemon.wait_for("xdp attach no-such-if: not done: ");
    assert_eq!(stage.command(&["stop"]).0, 0);
    daemon.wait_for("stop: asked for by");
}

#[test]
fn the_service_manager_is_told_that_the_daemon_lives() {
    let stage = Stage::new();
    let notify = stage.folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&notify).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // Who is meant by WATCHDOG_PID is known once there is a process: a shell becomes it.
    let mut child = Command::new("sh")
        .args([
            "-c",
            "WATCHDOG_PID=$$ WATCHDOG_USEC=3000000 exec \"$0\" run --config \"$1\"",
            SEALDNS,
        ])
        .arg(&stage.config)
        .env("NOTIFY_SOCKET", &notify)
        .stderr(Stdio::null())
        .spawn()
        .expect("sealdns starts");
    let mut buffer = [0; 256];
    let mut seen = 0;
    while seen < 5 {
        let len = manager.recv(&mut buffer).expect("a notification");
        seen += usize::from(&buffer[..len] == b"WATCHDOG=1\n");
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("a signal");
    assert!(child.wait().expect("its end").success());
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let stage = Stage::new();
    let _daemon = Daemon::start(&stage.config);
    let keys = stage.folder.path().join("state/keys");
    let private = std::fs::read_dir(&keys)
        .expect("keys")
        .map(|entry| entry.expect("a file").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "private"))
        .expect("a private key");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&private, mode).expect("a mode");
    let sentence = format!("private key {0} has mode 0644; run chmod 600 {0}", private.display());

    let (code, reload) = stage.reply::<ZoneReload>(&["zone", "reload", "example.com"]);
    assert_eq!((code, reload.zones[0].change), (1, Change::Failed));
    assert!(reload.zones[0].error.as_ref().is_some_and(|error| error.contains(&sentence)));
    assert_eq!(stage.zone().summary.state, ServingState::ServingOld);

    let folder = stage.folder.path();
    let output = Command::new(SEALDNS)
        .args(["sign", "example.com", "--in"])
        .arg(folder.join("example.com.zone"))
        .arg("--out")
        .arg(folder.join("signed"))
        .arg("--keys")
        .arg(&keys)
        .output()
        .expect("sealdns runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&sentence), "{stderr}");
    assert!(!folder.join("signed").exists());
}

#[test]
fn root_is_given_up_and_the_service_manager_told() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(&stage.config).expect("the configuration");
    let text = text.replacen("[server]\n", "[server]\nuser = \"nobody\"\n", 1);
    std::fs::write(&stage.config, text).expect("the configuration");
    if !nix::unistd::Uid::effective().is_root() {
        // Who is not root cannot become somebody else, and is told so.
        let output = Command::new(SEALDNS).args(["run", "--config"]).arg(&stage.config).output();
        let stderr = String::from_utf8_lossy(&output.expect("sealdns runs").stderr).into_owned();
        assert!(stderr.contains("only root can"), "{stderr}");
        return;
    }
    let open = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("a mode");
    };
    open(stage.folder.path(), 0o755);
    let notify = stage.folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&notify).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    open(&notify, 0o777);
    let told = || loop {
        let mut buffer = [0; 256];
        let len = manager.recv(&mut buffer).expect("a notification");
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        // How far loading is, on a machine that is slow.
        if !text.starts_with("STATUS=") {
            return text;
        }
    };

    let daemon = Daemon::start_with(&stage.config, &[("NOTIFY_SOCKET", &notify)]);
    assert_eq!(told(), "READY=1\nSTATUS=zones: 1\n");
    let nobody = nix::unistd::User::from_name("nobody").expect("users").expect("nobody");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.child.id())).expect("tasks");
    let mut count = 0;
    for task in tasks {
        let status = task.expect("a task").path().join("status");
        let status = std::fs::read_to_string(status).expect("its status");
        let value = |field: &str| {
            let line = status.lines().find(|line| line.starts_with(field)).expect("a field");
            line[field.len()..].trim().to_owned()
        };
        let uid = nobody.uid.to_string();
        assert_eq!(value("Uid:"), [uid.as_str(); 4].join("\t"));
        assert_eq!(value("NoNewPrivs:"), "1");
        for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            assert_eq!(u64::from_str_radix(&value(set), 16), Ok(0), "{set}");
        }
        count += 1;
    }
    assert!(count > 1);

    // What it does from now on, it does as nobody.
    daemon.signal(Signal::SIGHUP);
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told(), "READY=1\n");
    assert_eq!(stage.command(&["zone", "reload", "example.com"]).0, 0);
    assert_eq!(stage.zone().summary.serial, Some(7), "nothing changed");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1\n");
    assert!(daemon.wait().success());
}
