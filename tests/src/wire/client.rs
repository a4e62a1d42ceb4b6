//! Who asks the daemon: by frames as a driver has them, or through a socket.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, Result};
use testbed::{
    frames::Frame,
    inject::{Injector, exchange, exchange_by},
    net,
};
use tests::{
    dns::{Edns, Query},
    measure::zones,
    prog_test_run::lab,
};

use super::pair::{CLIENTS, Pair, SERVERS};

/// The client's whole offer (DNS flag day 2020).
pub const WITH_DNSSEC: Option<Edns> = Some(Edns { payload: 1232, dnssec_ok: true });
pub const WITHOUT_DNSSEC: Option<Edns> = Some(Edns { payload: 1232, dnssec_ok: false });

pub const A: u16 = 1;
pub const CNAME: u16 = 5;
pub const TXT: u16 = 16;
pub const RRSIG: u16 = 46;
pub const ANY: u16 = 255;

pub fn server(family: usize) -> Result<SocketAddr> {
    Ok(SocketAddr::new(net::address_of(SERVERS[family])?, 53))
}

pub fn client(family: usize) -> Result<IpAddr> {
    net::address_of(CLIENTS[family])
}

/// Who asks, over both families: by frames that have the room which a network card's have, or through
/// the socket, whose packets have little. All calls are made inside the client's namespace.
pub struct Client {
    injector: Mutex<Injector>,
    ends: Vec<(UdpSocket, Frame)>,
}

impl Client {
    pub fn new(pair: &Pair) -> Result<Self> {
        pair.client.enter(|| -> Result<Self> {
            let injector = Mutex::new(Injector::new(&lab(), "client")?);
            let source_mac = net::mac_address("client")?;
            let mut ends = Vec::new();
            for family in 0..2 {
                let socket = UdpSocket::bind(SocketAddr::new(client(family)?, 0))?;
                let frame = Frame {
                    source_mac,
                    destination_mac: pair.server_mac,
                    tags: Vec::new(),
                    source: socket.local_addr()?,
                    destination: server(family)?,
                    ttl: 64,
                    payload: Vec::new(),
                };
                ends.push((socket, frame));
            }
            Ok(Self { injector, ends })
        })?
    }

    /// Asks by a frame with room.
    pub fn inject(&self, family: usize, query: &[u8]) -> Result<Vec<u8>> {
        let (socket, frame) = &self.ends[family];
        exchange(socket, &self.injector, frame, query)
    }

    /// Asks by a frame with this much room behind it, in octets.
    pub fn inject_with_room(&self, family: usize, query: &[u8], tail: usize) -> Result<Vec<u8>> {
        let (socket, frame) = &self.ends[family];
        exchange_by(socket, &self.injector, frame, query, |injector, octets| {
            injector.send_with_room(octets, tail)
        })
    }

    /// Asks through the socket.
    pub fn send(&self, family: usize, query: &[u8]) -> Result<Vec<u8>> {
        let (socket, frame) = &self.ends[family];
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        socket.send_to(query, frame.destination)?;
        let mut buffer = [0; 4096];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).context("no answer")?;
            if from == frame.destination && buffer[..2] == query[..2] {
                return Ok(buffer[..len].to_vec());
            }
        }
    }
}

/// A name in the letters in which it is asked.
fn wire(name: &str) -> Vec<u8> {
    let labels: Vec<&str> = name.split('.').filter(|label| !label.is_empty()).collect();
    zones::wire(&labels)
}

pub fn query(name: &str, rtype: u16, edns: Option<Edns>) -> Vec<u8> {
    Query { name: wire(name), rtype, edns }.message(0x1234)
}
