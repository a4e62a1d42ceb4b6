//! What keeps a daemon from starting, and what does not.

use std::process::Command;
use std::sync::mpsc::TryRecvError;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::stage::{Daemon, PATIENCE, SEALDNS, Stage, dig, free_port, refused};

#[test]
fn what_keeps_a_daemon_from_starting_is_said() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(&stage.config).expect("the configuration");
    for (from, to, said) in [
        ("identity", "identiti", "did you mean `identity`?"),
        ("127.0.0.1:", "localhost:", "is not an address"),
        ("identity = \"here\"", "user = \"no-such-user-here\"", "there is no user"),
    ] {
        std::fs::write(&stage.config, text.replacen(from, to, 1)).expect("the configuration");
        let stderr = refused(&stage.config);
        assert!(stderr.contains(said), "{stderr}");
    }
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
