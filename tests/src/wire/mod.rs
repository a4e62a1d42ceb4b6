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
    net::{self, End, Namespace},
};
use tests::{
    harness::Verdict,
    prog_test_run::{self, lab},
};

pub mod crossing;
pub mod options;
pub mod ratelimit;
pub mod serving;
pub mod slow_tcp;

/// The addresses of both ends, IPv4 and IPv6.
pub(super) const CLIENTS: [&str; 2] = [CLIENT, "2001:db8::1/64"];
pub(super) const SERVERS: [&str; 2] = [SERVER, "2001:db8::2/64"];

const CLIENT: &str = "198.51.100.1/24";
const SERVER: &str = "198.51.100.2/24";

/// Two namespaces joined by a veth pair, whose ends are `client` and `server`.
pub(super) struct Pair {
    pub(super) client: Namespace,
    pub(super) server: Namespace,
    pub(super) server_mac: [u8; 6],
}

impl Pair {
    pub(super) fn new(test: &str) -> Result<Self> {
        net::sweep();
        let client = Namespace::new(&format!("{test}-client"))?;
        let server = Namespace::new(&format!("{test}-server"))?;
        let mut pair = Self { client, server, server_mac: Default::default() };
        pair.connect()?;
        Ok(pair)
    }

    /// Makes the devices, which are not there or not there any more.
    pub(super) fn connect(&mut self) -> Result<()> {
        net::veth(
            &End { namespace: &self.client, interface: "client", addresses: &CLIENTS },
            &End { namespace: &self.server, interface: "server", addresses: &SERVERS },
        )?;
        self.server_mac = self.server.enter(|| net::mac_address("server"))??;
        Ok(())
    }
}

pub(super) fn obstacle() -> Option<Verdict> {
    crate::kernel::obstacle().or_else(|| {
        (!lab().is_file()).then(|| Verdict::Skipped("no lab programs: `cargo xtask build`".into()))
    })
}

/// An injected frame arrives at a socket behind the other end.
pub fn live_frames_cross_a_veth_pair() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let pair = Pair::new("cross")?;
    let server: SocketAddr = SocketAddr::new(net::address_of(SERVER)?, 4242);
    let socket = pair.server.enter(|| UdpSocket::bind(server))??;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    // Without a program there, the server's end must poll as if it had one to take such frames.
    pair.server.output(
        std::process::Command::new("ethtool").args(["-K", "server", "gro", "on"]),
        Duration::from_secs(5),
    )?;
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
    let pair = Pair::new("relay")?;
    let server: SocketAddr = SocketAddr::new(net::address_of(SERVER)?, 53);
    let socket = pair.server.enter(|| UdpSocket::bind(server))??;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    pair.server.output(
        std::process::Command::new("ethtool").args(["-K", "server", "gro", "on"]),
        Duration::from_secs(5),
    )?;
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
