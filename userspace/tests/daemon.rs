//! The daemon as a process: started, asked, reloaded, stopped, started again.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sealdns::control::client::call;
use sealdns::control::protocol::Request;
use sealdns::daemon::locks::WRONG_ORDER;
use serde_json::Value;

const SEALDNS: &str = env!("CARGO_BIN_EXE_sealdns");
const PATIENCE: Duration = Duration::from_secs(20);

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
        let daemon = Daemon { child, lines };
        daemon.wait_for("ready");
        daemon
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

    fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
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
        // Free a moment ago; nobody else is given it so soon.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
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
    fn command(&self, arguments: &[&str]) -> (i32, Value) {
        let output = Command::new(SEALDNS)
            .args(arguments)
            .args(["--json", "--config"])
            .arg(&self.config)
            .output()
            .expect("sealdns runs");
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stdout))
        });
        (output.status.code().expect("an exit code"), json)
    }

    fn zone(&self) -> Value {
        let (code, json) = self.command(&["zone", "status", "example.com"]);
        assert_eq!(code, 0, "{json}");
        json
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
    let (code, json) = stage.command(&["zone", "list"]);
    assert_eq!((code, &json["error"]["code"]), (4, &Value::from("unreachable")));

    let daemon = Daemon::start(&stage.config);
    let zone = stage.zone();
    assert_eq!((&zone["state"], &zone["serial"]), (&Value::from("serving"), &Value::from(7)));
    assert_eq!(stage.command(&["health"]).0, 0);

    // What is transferred is the signed zone, and other people's tools accept it.
    let records = stage.transferred();
    assert_eq!(zone["records"].as_u64(), Some(records.len() as u64 - 1));
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
    daemon.wait_for("the older version, serial 7, stays");
    let (code, json) = stage.command(&["zone", "reload"]);
    assert_eq!((code, &json["zones"][0]["change"]), (1, &Value::from("failed")));
    let zone = stage.zone();
    assert_eq!((&zone["state"], &zone["serial"]), (&Value::from("serving-old"), &Value::from(7)));
    assert!(zone["error"].as_str().is_some_and(|error| error.contains("example.com.zone:7:7")));
    let (code, health) = stage.command(&["health"]);
    let problem = &health["problems"][0];
    assert_eq!((code, &problem["subject"]), (3, &Value::from("zone example.com.")), "{health}");
    assert!(problem["what"].as_str().is_some_and(|what| what.contains("example.com.zone:7:7")));
    assert_eq!(stage.transferred(), records);

    // Repaired, it has a serial that secondaries take for newer, though the file's is the same.
    stage.write_zone(&format!("{ZONE}new A 192.0.2.3\n"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("reloaded zones=1 failed=0");
    assert_eq!(stage.zone()["serial"], 8);
    let repaired = stage.transferred();
    assert!(repaired.iter().any(|line| line.starts_with("new.example.com.")));

    // A second daemon does not take the first one's place.
    let second = Command::new(SEALDNS).args(["run", "--config"]).arg(&stage.config).output();
    let second = second.expect("sealdns runs");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another daemon answers there already"), "{said}");
    assert_eq!(stage.command(&["health"]).0, 0);

    // An idle client does not keep it from ending.
    let _idle = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, stage.port)).expect("TCP");
    let started = Instant::now();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(!stage.folder.path().join("run/control.sock").exists());

    // Started again, it serves what it served, with the same signatures and so with the same serial.
    let daemon = Daemon::start(&stage.config);
    assert_eq!(stage.zone()["serial"], 8);
    assert_eq!(stage.transferred(), repaired);
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
        call(&control, request, PATIENCE).unwrap_or_else(|error| panic!("{request:?}: {error}"))
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
        // TEST-NET-1: no host has it.
        ("127.0.0.1:", "192.0.2.99:", "is the address this host's"),
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

    let (code, json) = stage.command(&["zone", "reload", "example.com"]);
    assert_eq!((code, &json["zones"][0]["change"]), (1, &Value::from("failed")));
    assert!(json["zones"][0]["error"].as_str().is_some_and(|error| error.contains(&sentence)));
    assert_eq!(stage.zone()["state"], "serving-old");

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
    let told = || {
        let mut buffer = [0; 256];
        let len = manager.recv(&mut buffer).expect("a notification");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    };

    let daemon = Daemon::start_with(&stage.config, &[("NOTIFY_SOCKET", &notify)]);
    assert_eq!(told(), "READY=1\n");
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
    assert_eq!(stage.zone()["serial"], 7, "nothing changed");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1\n");
    assert!(daemon.wait().success());
}
