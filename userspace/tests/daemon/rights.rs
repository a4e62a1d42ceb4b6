//! Who may do what, and who is told: users, keys, the log of what was asked for, the service manager.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sealdns::control::reply::zone::{Change, ServingState, ZoneReload};

use super::stage::{Daemon, PATIENCE, SEALDNS, Stage, refused};

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
        let stderr = refused(&stage.config);
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
