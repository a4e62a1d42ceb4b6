//! `sealdns xdp probe` on devices of each kind there is here.

use std::{
    net::UdpSocket,
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use serde_json::Value;
use testbed::net::{self, Namespace};
use tests::{harness::Verdict, servers};

use crate::wire::{
    pair::{CLIENTS, Pair, SERVERS, link},
    stage::obstacle,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn probe(namespace: &Namespace, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(servers::sealdns().context("no sealdns")?);
    namespace.output(command.args(["xdp", "probe"]).args(arguments), PATIENCE)
}

/// The exit code, and the findings as JSON.
fn found(namespace: &Namespace, arguments: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = probe(namespace, &[arguments, &["--json"]].concat())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&said).with_context(|| format!("{said} {output:?}"))?;
    Ok((output.status.code(), value))
}

/// The fixes of all problems.
fn problems(found: &Value) -> Vec<&str> {
    let findings = found["findings"].as_array().into_iter().flatten();
    let problems = findings.filter(|finding| finding["severity"] == "problem");
    problems.map(|finding| finding["fix"].as_str().unwrap_or_default()).collect()
}

/// Each device gets the path that it needs, and the command that mends it; nothing stays attached.
pub fn each_device_gets_its_path() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pair = Pair::new("probe")?;
    let (code, veth) = found(&pair.server, &["server"])?;
    ensure!(code == Some(0) && veth["path"] == "tcx", "{code:?} {veth}");
    ensure!(veth["device"]["driver"] == "veth" && veth["device"]["mtu"] == 1500, "{veth}");
    for room in ["test_run", "tcx"] {
        ensure!(veth[room]["packets"] == 1 && veth[room]["at_tail"] == 1, "{room}: {veth}");
    }
    ensure!(veth["received"].is_null(), "attached without leave: {veth}");
    let failed = veth["tried"].as_array().into_iter().flatten().find(|one| !one["error"].is_null());
    ensure!(failed.is_none(), "{failed:?}");

    let (code, lo) = found(&pair.server, &["lo"])?;
    ensure!(code == Some(3) && lo["path"] == "sockets", "{code:?} {lo}");

    let (code, unknown) = found(&pair.server, &["servre"])?;
    ensure!(code == Some(1) && unknown["error"]["message"].is_string(), "{code:?} {unknown}");

    if pair.server.ip("link add bridge type bridge").is_err() {
        return Ok(Verdict::Skipped("this kernel has no bridges".into()));
    }
    pair.server.ip("link set bridge up")?;
    for arguments in [&["bridge"][..], &["bridge", "--try-attach", "1"]] {
        let (code, bridge) = found(&pair.server, arguments)?;
        ensure!(code == Some(3) && bridge["path"] == "tcx", "{code:?} {bridge}");
        ensure!(problems(&bridge).iter().any(|fix| fix.contains("master bridge")), "{bridge}");
    }

    // In words, with a line to copy.
    pair.client.ip("link set client mtu 9000")?;
    pair.server.ip("link set server mtu 9000")?;
    let output = probe(&pair.server, &["server"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(3), "{said}");
    ensure!(said.lines().any(|line| line.trim() == "ip link set dev server mtu 3498"), "{said}");
    ensure!(said.contains("path       TCX alone"), "{said}");
    // The line does what it says.
    pair.client.ip("link set client mtu 3498")?;
    pair.server.ip("link set dev server mtu 3498")?;
    let (code, mended) = found(&pair.server, &["server", "--try-attach", "1"])?;
    ensure!(code == Some(0), "{mended}");
    Ok(Verdict::Passed)
}

/// Where a program may be attached, what comes is looked at: it has no room on veth, and arrives as it was.
pub fn what_comes_is_looked_at() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pair = Pair::new("tried")?;
    let server = (net::address_of(SERVERS[0])?, 4242);
    let receiver = pair.server.enter(|| UdpSocket::bind(server))??;
    receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
    let client = (net::address_of(CLIENTS[0])?, 0);
    let sender = pair.client.enter(|| UdpSocket::bind(client))??;
    let over = AtomicBool::new(false);
    let payload = [0x5a; 40];
    let (found, sent, received) = thread::scope(|scope| -> Result<_> {
        let sending = scope.spawn(|| {
            let mut sent = 0u64;
            while !over.load(Relaxed) {
                sent += u64::from(sender.send_to(&payload, server).is_ok());
                // The rate is what the test gives.
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        let receiving = scope.spawn(|| {
            let (mut buffer, mut whole) = ([0; 128], 0u64);
            loop {
                match receiver.recv(&mut buffer) {
                    Ok(len) => whole += u64::from(buffer[..len] == payload),
                    // Nothing comes, and no more is sent.
                    Err(_) if over.load(Relaxed) => return whole,
                    Err(_) => {}
                }
            }
        });
        let found = found(&pair.server, &["server", "--try-attach", "2"]);
        over.store(true, Relaxed);
        let [sent, received] = [sending, receiving].map(|thread| thread.join().unwrap_or_default());
        Ok((found?, sent, received))
    })?;
    let (code, veth) = found;
    ensure!(code == Some(0) && veth["path"] == "tcx", "{code:?} {veth}");
    let tried = veth["received"]["packets"].as_u64().context("nothing was received")?;
    ensure!(tried > 100, "{tried} packets prove nothing");
    ensure!(veth["received"]["at_tail"] == 0, "{veth}");
    ensure!(veth["received"]["at_head"] == tried, "{veth}");
    // Attaching and detaching may lose packets; growing and shrinking must not change any.
    ensure!(received + 20 >= sent && received > 100, "{sent} sent, {received} arrived whole");
    ensure!(!link(&pair.server)?.contains("xdp"), "{}", link(&pair.server)?);
    let query = || SchedClassifier::query_tcx("server", TcAttachType::Ingress);
    ensure!(pair.server.enter(query)??.1.is_empty(), "a program stays on TCX");
    Ok(Verdict::Passed)
}
