//! The responder, and the sockets over loopback, asked as RFC 8906 and others ask.

mod answers;
mod edns;
mod errors;
mod notify;
mod sockets;
mod transfers;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::*;
use tokio::sync::watch;
use xdp_common::cookie::ServerCookie;
use xdp_common::limit::{Class, Mode, Policy, Verdict};
use xdp_common::maps::address_words;

use super::responder::{Reply, respond};
use super::stats::{SocketStats, Transport};
use super::testing::{self, served};
use super::{Shared, tcp, udp};
use crate::clock::WallTime;
use crate::compile::Image;
use crate::datapath::memory::{Mapping, Size};
use crate::ratelimit::limits::Limits;
use crate::transfer::axfr;

const NOW: WallTime = WallTime::from_seconds(7);
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 4000);

// --- building queries ---------------------------------------------------------------------------

/// A query by octets: what libraries refuse to build is what matters here.
#[derive(Clone)]
struct Ask {
    flags: u16,
    name: Vec<u8>,
    rtype: u16,
    class: u16,
    additional: Vec<Vec<u8>>,
    authority: Vec<Vec<u8>>,
}

/// A question in the case it is written in.
fn ask(name: &str, rtype: u16) -> Ask {
    let labels =
        name.split('.').flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    Ask {
        flags: 0,
        name: labels.chain([0]).collect(),
        rtype,
        class: 1,
        additional: Vec::new(),
        authority: Vec::new(),
    }
}

/// An OPT record with version, flags and options.
fn opt(version: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 41, 0x10, 0x00, 0, version];
    record.extend_from_slice(&flags.to_be_bytes());
    record.extend_from_slice(&(options.len() as u16).to_be_bytes());
    record.extend_from_slice(options);
    record
}

impl Ask {
    fn flags(self, flags: u16) -> Ask {
        Ask { flags, ..self }
    }

    fn class(self, class: u16) -> Ask {
        Ask { class, ..self }
    }

    fn with(mut self, record: Vec<u8>) -> Ask {
        self.additional.push(record);
        self
    }

    fn wire(&self) -> Vec<u8> {
        let mut wire = vec![0xab, 0xcd];
        wire.extend_from_slice(&self.flags.to_be_bytes());
        wire.extend_from_slice(&[0, 1, 0, 0, 0, self.authority.len() as u8]);
        wire.extend_from_slice(&(self.additional.len() as u16).to_be_bytes());
        wire.extend_from_slice(&self.name);
        wire.extend_from_slice(&self.rtype.to_be_bytes());
        wire.extend_from_slice(&self.class.to_be_bytes());
        wire.extend(self.authority.concat());
        wire.extend(self.additional.concat());
        wire
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

// --- asking the responder -----------------------------------------------------------------------

fn reply_to(message: &[u8], client: SocketAddr, transport: Transport) -> (Reply, Vec<u8>) {
    let (stats, mut out) = (SocketStats::default(), Vec::new());
    let served = served(&testing::zone(7, 0));
    let reply = respond(&served, &stats, message, client, transport, NOW, &mut out);
    (reply, out)
}

/// The response over UDP, read by hickory-proto.
fn answer(ask: &Ask) -> Message {
    let (reply, out) = reply_to(&ask.wire(), CLIENT, Transport::Udp);
    assert!(matches!(reply, Reply::Response));
    read(&out)
}

fn read(wire: &[u8]) -> Message {
    let message = Message::from_vec(wire).expect("a message");
    assert_eq!(message.metadata.id, 0xabcd);
    assert_eq!(message.metadata.message_type, MessageType::Response);
    message
}

fn extended_error(wire: &[u8]) -> Option<u16> {
    // The only option that is sent ends the message.
    let option = wire.get(wire.len() - 6..)?;
    (option[..4] == [0, 15, 0, 2]).then(|| u16::from_be_bytes([option[4], option[5]]))
}

/// What every answer with an SOA record of the zone must look like.
fn is_soa_answer(message: &Message) {
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    assert!(message.metadata.authoritative && !message.metadata.recursion_available);
    assert!(!message.metadata.authentic_data);
    assert_eq!(message.answers.len(), 1);
    assert_eq!(message.answers[0].record_type(), RecordType::SOA);
}

// --- sockets over loopback ----------------------------------------------------------------------

struct Running {
    udp: SocketAddr,
    tcp: SocketAddr,
    stats: Arc<SocketStats>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    runtime: Option<tokio::runtime::Runtime>,
    tasks: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
}

const QUICK: tcp::ConnectionLimits = tcp::ConnectionLimits {
    idle_timeout: Duration::from_millis(300),
    write_timeout: Duration::from_millis(300),
    connections: 8,
    connections_per_client: 4,
};

impl Running {
    fn start(ip: IpAddr, hosts: u32, limits: tcp::ConnectionLimits) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let shared = Arc::new(Shared::new(served(&testing::zone(7, hosts))));
        let stats = Arc::new(SocketStats::default());
        let (stop, stopped) = watch::channel(false);
        let sockets = udp::bind(SocketAddr::new(ip, 0), 2).unwrap();
        let listener = tcp::bind(SocketAddr::new(ip, 0)).unwrap();
        let (udp, tcp) = (sockets[0].local_addr().unwrap(), listener.local_addr().unwrap());
        let mut tasks = Vec::new();
        for socket in sockets {
            let (shared, stats) = (Arc::clone(&shared), Arc::clone(&stats));
            tasks.push(runtime.spawn(udp::serve(socket, shared, stats, stopped.clone())));
        }
        let context = Arc::new(tcp::Context::new(
            Arc::clone(&shared),
            Arc::clone(&stats),
            Arc::default(),
            limits,
        ));
        tasks.push(runtime.spawn(tcp::serve(listener, context, tcp::Security::Plain, stopped)));
        Running { udp, tcp, stats, shared, stop, runtime: Some(runtime), tasks }
    }

    fn local() -> Running {
        Running::start(Ipv4Addr::LOCALHOST.into(), 0, QUICK)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads one message; `None` at the end of the stream.
fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    Some(message)
}
