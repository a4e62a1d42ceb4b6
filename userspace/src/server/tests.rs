//! The responder, and the sockets over loopback, asked as RFC 8906 and others ask.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::*;
use tokio::sync::watch;

use super::responder::{Reply, respond};
use super::stats::{Stats, Transport};
use super::testing::{self, served};
use super::{Shared, tcp, udp};
use crate::transfer::axfr;

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

fn ask(name: &str, rtype: u16) -> Ask {
    Ask {
        flags: 0,
        name: testing::name(name).as_wire().to_vec(),
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
    let (stats, mut out) = (Stats::default(), Vec::new());
    let served = served(&testing::zone(7, 0));
    let reply = respond(&served, &stats, message, client, transport, 0, &mut out);
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
