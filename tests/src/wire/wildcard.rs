//! Sockets on all addresses: each answer leaves from the address that was asked, and XDP answers on those of its interface.
//! And addresses and interfaces that a reload changes.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sealdns::control::reply::xdp::XdpStatus;
use testbed::net::{self, Namespace};
use tests::{dns::Message, harness::Verdict};

use crate::wire::{
    client::{A, Client, WITHOUT_DNSSEC, query},
    stage::{self, PATIENCE, Section, Stage},
};

const ZONE: Section<'static> =
    ("example.org", "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n", "dnssec = \"off\"");

/// More addresses of the server's interface, and addresses that it has on another one.
const MORE: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
const ELSEWHERE: [&str; 2] = ["203.0.113.5", "2001:db8:5::1"];

/// The daemon, which listens on these addresses alone.
fn listening_on(test: &str, listen: &str) -> Result<Stage> {
    let mut stage = Stage::new(test, &[ZONE])?;
    let path = stage.folder.path().join("sealdns.toml");
    let config = fs::read_to_string(&path)?;
    let line = config.lines().find(|line| line.starts_with("listen = ")).context("no `listen`")?;
    fs::write(&path, config.replacen(line, &format!("listen = [{listen}]"), 1))?;
    stage.restart_in_order()?;
    Ok(stage)
}

fn ip(namespace: &Namespace, words: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(words.split_whitespace());
    let output = namespace.output(&mut command, PATIENCE)?;
    ensure!(output.status.success(), "ip {words}: {output:?}");
    Ok(())
}

/// Asks at an address through a socket that takes answers from there alone. Says whether the daemon had no part in it.
fn ask(stage: &Stage, to: &str) -> Result<bool> {
    let sent = || -> Result<u64> { Ok(stage.sent_by_xdp()? + stage.sent_by_tcx()?) };
    let to: IpAddr = to.parse()?;
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let before = sent()?;
    let response = stage.pair.client.enter(|| -> Result<Vec<u8>> {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.connect(SocketAddr::new(to, 53))?;
        socket.send(&query("ns.example.org", A, WITHOUT_DNSSEC))?;
        let mut room = vec![0; 4096];
        let len = socket.recv(&mut room).with_context(|| format!("no answer from {to}"))?;
        room.truncate(len);
        Ok(room)
    })??;
    let message = Message::read(&response)?;
    ensure!(message.rcode == 0 && message.answer.len() == 1, "{to}: {message:?}");
    Ok(sent()? > before)
}

/// Waits until XDP answers at an address, or does not, and is answered each time.
fn wait_until_xdp(stage: &Stage, answers: bool, to: &str) -> Result<()> {
    let mut failed = None;
    net::wait_until(&format!("XDP at {to}: {answers}"), PATIENCE, || match ask(stage, to) {
        Ok(is_by_xdp) => is_by_xdp == answers,
        Err(error) => {
            failed = Some(error);
            true
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// What dig, which takes an answer from nowhere else, says.
fn dig(stage: &Stage, to: &str, more: &[&str]) -> Result<String> {
    let mut command = Command::new("dig");
    command.arg(format!("@{to}")).args(["ns.example.org", "A", "+tries=1", "+time=5"]).args(more);
    let output = stage.pair.client.output(&mut command, PATIENCE)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Addresses of the interface, by XDP as soon as it has them and until it has them no more, and others by the sockets.
pub fn answers_leave_from_the_ipv4_address_that_was_asked() -> Result<Verdict> {
    answers_leave_from_the_address_that_was_asked(0)
}

/// The same.
pub fn answers_leave_from_the_ipv6_address_that_was_asked() -> Result<Verdict> {
    answers_leave_from_the_address_that_was_asked(1)
}

fn answers_leave_from_the_address_that_was_asked(family: usize) -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let stage = listening_on(&format!("wildcard{family}"), "\"0.0.0.0:53\", \"[::]:53\"")?;
    let _client = Client::new(&stage.pair)?;
    let (server, client) = (&stage.pair.server, &stage.pair.client);
    ip(server, "link set lo up")?;
    let (more, elsewhere) = (MORE[family], ELSEWHERE[family]);
    let prefix = [24, 64][family];
    let (length, nodad) = [(32, ""), (128, "nodad")][family];
    let gateway = super::client::server(family)?.ip();
    ip(server, &format!("addr add {elsewhere}/{length} dev lo {nodad}"))?;
    ip(client, &format!("route add {elsewhere}/{length} via {gateway}"))?;
    ensure!(ask(&stage, &gateway.to_string())?, "XDP does not answer at {gateway}");
    // The socket, since XDP does not know the address, or knows it already.
    ip(server, &format!("addr add {more}/{prefix} dev server {nodad}"))?;
    ask(&stage, more)?;
    wait_until_xdp(&stage, true, more)?;
    ensure!(!ask(&stage, elsewhere)?, "XDP answers at {elsewhere}");
    for to in [more, elsewhere] {
        for transport in ["+notcp", "+tcp"] {
            let said = dig(&stage, to, &[transport])?;
            let is_answered = said.contains("NOERROR") && said.contains("192.0.2.1");
            ensure!(is_answered && !said.contains("unexpected source"), "{to}: {said}");
        }
    }
    ip(server, &format!("addr del {more}/{prefix} dev server"))?;
    ip(server, &format!("addr add {more}/{length} dev lo {nodad}"))?;
    wait_until_xdp(&stage, false, more)?;
    Ok(Verdict::Passed)
}

/// A reload detaches XDP from an interface that goes from the configuration and attaches it again, and changes what is
/// listened on; where one of them cannot be had, all stays as it was and the reload says so.
pub fn listen_and_interfaces_follow_a_reload() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("relisten", &[ZONE])?;
    let _client = Client::new(&stage.pair)?;
    let address = super::client::server(0)?.ip().to_string();
    let path = stage.folder.path().join("sealdns.toml");
    let config = fs::read_to_string(&path)?;
    let line = config.lines().find(|line| line.starts_with("listen = ")).context("no `listen`")?;
    let reload = |listen: &str, interfaces: &str| -> Result<(bool, String)> {
        let config = config.replacen(line, listen, 1);
        fs::write(&path, config.replacen("[\"server\"]", interfaces, 1))?;
        let output = stage.command(&["zone", "reload"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.success(), said))
    };
    ensure!(ask(&stage, &address)?, "XDP does not answer at the start");
    let done = reload(line, "[]")?;
    ensure!(done.0, "{}", done.1);
    wait_until_xdp(&stage, false, &address)?;
    let done = reload(line, "[\"server\"]")?;
    ensure!(done.0, "{}", done.1);
    wait_until_xdp(&stage, true, &address)?;
    // All addresses in the place of one of each family, and back.
    let wildcards = "listen = [\"0.0.0.0:53\", \"[::]:53\"]";
    for listen in [wildcards, line] {
        let done = reload(listen, "[\"server\"]")?;
        ensure!(done.0, "{}", done.1);
        for family in 0..2 {
            let to = super::client::server(family)?.ip().to_string();
            ensure!(ask(&stage, &to)?, "XDP does not answer at {to}");
            let said = dig(&stage, &to, &["+tcp"])?;
            ensure!(said.contains("192.0.2.1"), "{said}");
        }
    }
    // The loopback device has no XDP in its driver.
    let (is_done, said) = reload(line, "[\"server\", \"lo\"]")?;
    ensure!(!is_done && said.contains("attaching to lo"), "{said}");
    // Another has the port.
    let taken = "198.51.100.2:5300";
    let _other = stage.pair.server.enter(|| TcpListener::bind(taken))??;
    let listen = line.replacen('[', &format!("[\"{taken}\", "), 1);
    let (is_done, said) = reload(&listen, "[\"server\"]")?;
    ensure!(!is_done && said.contains(taken), "{said}");
    fs::write(&path, &config)?;
    let status: XdpStatus = stage.reply(&["xdp", "status"])?;
    let on: Vec<&str> = status.attachments.iter().map(|one| one.interface.as_str()).collect();
    ensure!(on == ["server"], "{on:?}");
    ensure!(ask(&stage, &address)?, "XDP does not answer any more");
    Ok(Verdict::Passed)
}
