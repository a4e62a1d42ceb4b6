//! A daemon as a process, and the folder that it runs in.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sealdns::control::reply::read::{self, Readable};
use sealdns::control::reply::zone::ZoneStatus;

pub const SEALDNS: &str = env!("CARGO_BIN_EXE_sealdns");
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const ZONE: &str = "$TTL 300\n@ IN SOA ns hostmaster 7 3600 900 604800 60\n@ NS ns\n\
                    ns A 192.0.2.1\nwww A 192.0.2.2\n*.w TXT \"any\"\n";

/// A running daemon; ended when dropped.
pub struct Daemon {
    pub child: Child,
    pub lines: Receiver<String>,
}

impl Daemon {
    pub fn start(config: &Path) -> Daemon {
        Daemon::start_with(config, &[])
    }

    pub fn start_with(config: &Path, variables: &[(&str, &Path)]) -> Daemon {
        let daemon = Daemon::begin(config, variables);
        daemon.wait_for("ready");
        daemon
    }

    /// As [`Daemon::start_with`], and does not wait until it is ready.
    pub fn begin(config: &Path, variables: &[(&str, &Path)]) -> Daemon {
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
    pub fn wait_for(&self, text: &str) -> String {
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

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a signal");
    }

    pub fn wait(self) -> ExitStatus {
        self.wait_and_hear().0
    }

    /// Waits until it has ended; what it said since a line was last waited for.
    pub fn wait_and_hear(mut self) -> (ExitStatus, Vec<String>) {
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

pub struct Stage {
    pub folder: tempfile::TempDir,
    pub config: PathBuf,
    pub port: u16,
}

impl Stage {
    pub fn new() -> Stage {
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

    pub fn write_zone(&self, text: &str) {
        std::fs::write(self.folder.path().join("example.com.zone"), text).expect("the zone");
    }

    /// A command, its exit code and what it printed as JSON.
    pub fn reply<T: Readable>(&self, arguments: &[&str]) -> (i32, T) {
        let (code, said) = self.command(arguments);
        let read = read::printed(&said);
        (code, read.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}")))
    }

    /// A command, its exit code and what it printed.
    pub fn command(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(SEALDNS)
            .args(arguments)
            .args(["--json", "--config"])
            .arg(&self.config)
            .output()
            .expect("sealdns runs");
        let said = String::from_utf8(output.stdout).expect("text");
        (output.status.code().expect("an exit code"), said)
    }

    pub fn zone(&self) -> ZoneStatus {
        let (code, status) = self.reply(&["zone", "status", "example.com"]);
        assert_eq!(code, 0, "{status:?}");
        status
    }

    /// The lines of the zone as dig transfers it, SOA first and last.
    pub fn transferred(&self) -> Vec<String> {
        let port = self.port.to_string();
        let arguments = ["@127.0.0.1", "-p", &port, "example.com", "AXFR", "+noall", "+answer"];
        let Output { status, stdout, .. } =
            Command::new("dig").args(arguments).output().expect("dig is installed");
        assert!(status.success());
        let text = String::from_utf8(stdout).expect("text");
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

/// Runs a daemon that does not start, and says why. Fails at once if it starts all the same, and soon if it does
/// neither.
pub fn refused(config: &Path) -> String {
    let daemon = Daemon::begin(config, &[]);
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    // Its log ends when it does.
    loop {
        match daemon.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => said.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", said.join("\n")),
        }
        assert!(said.last().is_none_or(|line| line != "ready"), "it starts:\n{}", said.join("\n"));
    }
    let said = said.join("\n");
    assert_eq!(daemon.wait().code(), Some(1), "{said}");
    said
}

/// A port on the loopback address that is free.
pub fn free_port() -> u16 {
    // Free a moment ago; nobody else is given it so soon.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// How dig ends and what it prints.
pub fn dig(server: &str, port: u16, arguments: &[&str]) -> String {
    let output = Command::new("dig")
        .args([&format!("@{server}"), "-p", &port.to_string(), "+tries=1", "+time=5"])
        .args(arguments)
        .output()
        .expect("dig is installed");
    String::from_utf8(output.stdout).expect("text")
}
