//! Frames that travel: between namespaces, over veth.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{Xdp, xdp::XdpMode};
use testbed::{
    frames::Frame,
    inject::{Injector, Relay, Route},
    net,
};
use tests::{
    harness::Verdict,
    prog_test_run::{self, lab},
};

use super::pair::{CLIENT, Pair, SERVER, obstacle};

/// A pair with a socket at a port of the server's end.
fn listening(name: &str, port: u16) -> Result<(Pair, SocketAddr, UdpSocket)> {
    let pair = Pair::new(name)?;
    let server = SocketAddr::new(net::address_of(SERVER)?, port);
    let socket = pair.server.enter(|| UdpSocket::bind(server))??;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    // Without a program there, the server's end must poll as if it had one to take such frames.
    pair.server.output(
        std::process::Command::new("ethtool").args(["-K", "server", "gro", "on"]),
        Duration::from_secs(5),
    )?;
    Ok((pair, server, socket))
}

/// An injected frame arrives at a socket behind the other end.
pub fn live_frames_cross_a_veth_pair() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let (pair, server, socket) = listening("cross", 4242)?;
    pair.client.enter(|| -> Result<()> {
        let frame = Frame {
            source_mac: net::mac_address("client")?,
            destination_mac: pair.server_mac,
            tags: Vec::new(),
            source: SocketAddr::new(net::address_of(CLIENT)?, 5353),
            destination: server,
            ttl: 64,
            payload: vec![0x5a; 300],
        };
        Injector::new(&lab(), "client")?.send(&frame.encode()?)
    })??;
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer)?;
    ensure!(buffer[..length] == [0x5a; 300], "{length} other octets");
    ensure!(from == SocketAddr::new(net::address_of(CLIENT)?, 5353), "from {from}");
    Ok(Verdict::Passed)
}

/// The demo's judge of who answered: one frame sent back by XDP is one frame that the driver counts.
pub fn the_driver_counts_what_xdp_sends() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pair = Pair::new("count")?;
    let mut ebpf = prog_test_run::load(&std::fs::read(lab())?)?;
    let transmit: &mut Xdp =
        ebpf.program_mut("transmit_udp").context("no transmit_udp")?.try_into()?;
    pair.server.enter(|| transmit.attach("server", XdpMode::Driver))??;
    let frame = Frame {
        source_mac: pair.client.enter(|| net::mac_address("client"))??,
        destination_mac: pair.server_mac,
        tags: Vec::new(),
        source: SocketAddr::new(net::address_of(CLIENT)?, 5353),
        destination: SocketAddr::new(net::address_of(SERVER)?, 53),
        ttl: 64,
        payload: vec![0x5a; 1100],
    }
    .encode()?;
    let count = || pair.server.enter(|| net::xdp_transmitted("server"))?;
    let before = count()?;
    pair.client.enter(|| -> Result<()> {
        let mut injector = Injector::new(&lab(), "client")?;
        (0..3).try_for_each(|_| injector.send(&frame))
    })??;
    let sent = || count().is_ok_and(|now| now - before >= 3);
    net::wait_until("three frames sent back", Duration::from_secs(2), sent)?;
    ensure!(count()? - before == 3, "{} frames counted", count()? - before);
    Ok(Verdict::Passed)
}

/// What a server answers to relayed queries reaches who asked.
pub fn a_relay_carries_answers_back() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let (pair, server, socket) = listening("relay", 53)?;
    let route =
        Route { listen: "127.0.0.1:5300".parse()?, client: net::address_of(CLIENT)?, server };
    let _relay = Relay::start(&pair.client, &lab(), "client", pair.server_mac, &[route])?;
    let echo = thread::spawn(move || -> Result<()> {
        let mut buffer = [0; 2048];
        let (length, from) = socket.recv_from(&mut buffer)?;
        buffer[2..length].reverse();
        socket.send_to(&buffer[..length], from)?;
        Ok(())
    });
    let asker = pair.client.enter(|| UdpSocket::bind("127.0.0.1:0"))??;
    asker.set_read_timeout(Some(Duration::from_secs(3)))?;
    asker.send_to(b"idquestion", route.listen)?;
    let mut buffer = [0; 512];
    let (length, _) = asker.recv_from(&mut buffer)?;
    echo.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    ensure!(&buffer[..length] == b"idnoitseuq", "{:?}", &buffer[..length]);
    Ok(Verdict::Passed)
}
