//! A query as a client would send it, in an Ethernet frame.

use std::net::IpAddr;

use xdp_common::checksum;
use xdp_common::layers::{ETHERNET_LEN, IPV4_LEN, IPV6_LEN, UDP_LEN};

use crate::zone::{Name, Rtype};

const UDP: u8 = 17;

/// What is asked, and by whom.
#[derive(Debug, Clone)]
pub struct ClientQuery {
    /// QNAME.
    pub name: Name,
    /// QTYPE.
    pub rtype: Rtype,
    /// The payload size that the client announces in octets; without it there is no EDNS.
    pub payload: Option<u16>,
    /// Whether DNSSEC records are wanted (with EDNS only).
    pub dnssec_ok: bool,
    /// The client's address.
    pub from: IpAddr,
    /// The server's address, of the same family.
    pub to: IpAddr,
    /// The server's UDP port.
    pub port: u16,
    /// The server's MAC address.
    pub mac: [u8; 6],
}

/// The client's port: any above 1023.
const CLIENT_PORT: u16 = 53_000;

/// The client's MAC address, one that is nobody's (locally administered).
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x53];

impl ClientQuery {
    /// The DNS message (RFC 1035 section 4.1, RFC 6891 section 6.1.2).
    pub fn message(&self) -> Vec<u8> {
        let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.payload.is_some())];
        message.extend(self.name.as_wire());
        message.extend(self.rtype.0.to_be_bytes());
        message.extend([0, 1]);
        if let Some(payload) = self.payload {
            message.extend([0, 0, 41]);
            message.extend(payload.to_be_bytes());
            message.extend([0, 0, u8::from(self.dnssec_ok) << 7, 0, 0, 0]);
        }
        message
    }

    /// The frame with right checksums. An IPv4 client that asks an IPv6 server is taken for one whose address is
    /// mapped.
    pub fn frame(&self) -> Vec<u8> {
        let message = self.message();
        let udp_len = (UDP_LEN + message.len()) as u16;
        let mut frame = [&self.mac[..], &CLIENT_MAC].concat();
        let pseudo = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let addresses = [from.octets(), to.octets()].concat();
                let total = (IPV4_LEN as u16 + udp_len).to_be_bytes();
                let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, UDP, 0, 0];
                header.extend(&addresses);
                let sum = !checksum::of(&header);
                header[10..12].copy_from_slice(&sum.to_le_bytes());
                frame.extend([0x08, 0x00]);
                frame.extend(header);
                addresses
            }
            (from, to) => {
                let addresses = [from, to].map(mapped).concat();
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(udp_len.to_be_bytes());
                frame.extend([UDP, 64]);
                frame.extend(&addresses);
                addresses
            }
        };
        let mut datagram = Vec::new();
        for field in [CLIENT_PORT, self.port, udp_len, 0] {
            datagram.extend(field.to_be_bytes());
        }
        datagram.extend(message);
        let pseudo = [&pseudo[..], &[0, UDP], &udp_len.to_be_bytes(), &datagram].concat();
        // A checksum that comes out as zero is sent as all ones (RFC 768).
        let sum = Some(!checksum::of(&pseudo)).filter(|sum| *sum != 0).unwrap_or(0xffff);
        datagram[6..8].copy_from_slice(&sum.to_le_bytes());
        frame.extend(datagram);
        frame
    }

    /// Where the DNS message starts in the frame.
    pub fn message_at(&self) -> usize {
        let is_ipv4 = self.from.is_ipv4() && self.to.is_ipv4();
        ETHERNET_LEN + if is_ipv4 { IPV4_LEN } else { IPV6_LEN } + UDP_LEN
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
