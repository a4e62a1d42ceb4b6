//! Ethernet frames that carry UDP over IPv4 or IPv6: made, and taken apart, with plain arithmetic
//! that shares nothing with the code under test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};

/// Octets of an Ethernet header without tags. The lengths here are a second set on purpose: who judges the program does
/// not ask it how long a header is.
pub const ETHERNET_LEN: usize = MACS_LEN + ETHERTYPE_LEN;
/// Octets of the two link-layer addresses, behind which the first tag or the type stands.
pub const MACS_LEN: usize = 12;
/// Octets of the type of what comes next, in the header and in a tag.
pub const ETHERTYPE_LEN: usize = 2;
/// Octets of a VLAN tag with the type in it (IEEE 802.1Q).
pub const TAG_LEN: usize = 4;
/// Octets of an IPv4 header without options (RFC 791 section 3.1).
pub const IPV4_LEN: usize = 20;
/// Octets of an IPv6 header (RFC 8200 section 3).
pub const IPV6_LEN: usize = 40;
/// Octets of a UDP header (RFC 768).
pub const UDP_LEN: usize = 8;
/// Octets of a DNS header (RFC 1035 section 4.1.1).
pub const DNS_LEN: usize = 12;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad.
const ETHERTYPE_TAGS: [u16; 2] = [0x8100, 0x88a8];
const PROTOCOL_UDP: u8 = 17;

/// A UDP datagram with its link-layer addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Sender's link-layer address.
    pub source_mac: [u8; 6],
    /// Receiver's link-layer address.
    pub destination_mac: [u8; 6],
    /// VLAN tags, outermost first: type and tag control information.
    pub tags: Vec<(u16, u16)>,
    /// Sender.
    pub source: SocketAddr,
    /// Receiver, of the sender's address family.
    pub destination: SocketAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// What the datagram carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The frame's octets, with right checksums.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut frame = Vec::with_capacity(ETHERNET_LEN + IPV6_LEN + UDP_LEN + self.payload.len());
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        for (kind, control) in &self.tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        let length = u16::try_from(UDP_LEN + self.payload.len()).context("payload too long")?;
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(ETHERTYPE_IPV4.to_be_bytes());
                let total = length.checked_add(IPV4_LEN as u16).context("payload too long")?;
                let mut header = vec![0x45, 0];
                header.extend(total.to_be_bytes());
                // No identification, DF.
                header.extend([0, 0, 0x40, 0, self.ttl, PROTOCOL_UDP, 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                let checksum = !sum(&header);
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
                frame.extend(header);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(ETHERTYPE_IPV6.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([PROTOCOL_UDP, self.ttl]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => bail!("one address is IPv4, the other IPv6"),
        }
        let mut datagram = Vec::with_capacity(usize::from(length));
        datagram.extend(self.source.port().to_be_bytes());
        datagram.extend(self.destination.port().to_be_bytes());
        datagram.extend(length.to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(&self.payload);
        let checksum = udp_checksum(self.source.ip(), self.destination.ip(), &datagram);
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(datagram);
        Ok(frame)
    }

    /// The frame that goes back to who sent this one.
    pub fn reply(&self, payload: Vec<u8>) -> Frame {
        Frame {
            source_mac: self.destination_mac,
            destination_mac: self.source_mac,
            tags: self.tags.clone(),
            source: self.destination,
            destination: self.source,
            ttl: 64,
            payload,
        }
    }

    /// Takes a frame apart; fails on anything but UDP with right lengths and checksums. Octets behind
    /// the IP packet are an error too: an answer has no padding.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        let (ethernet, mut rest) = split(frame, MACS_LEN)?;
        let mut tags = Vec::new();
        let kind = loop {
            let (kind, after) = split(rest, ETHERTYPE_LEN)?;
            let kind = u16::from_be_bytes([kind[0], kind[1]]);
            rest = after;
            if !ETHERTYPE_TAGS.contains(&kind) {
                break kind;
            }
            let (control, after) = split(rest, ETHERTYPE_LEN)?;
            tags.push((kind, u16::from_be_bytes([control[0], control[1]])));
            rest = after;
        };
        let (source, destination, ttl, datagram): (IpAddr, IpAddr, u8, &[u8]) = match kind {
            ETHERTYPE_IPV4 => {
                let (header, datagram) = split(rest, IPV4_LEN)?;
                ensure!(header[0] == 0x45, "not IPv4 without options: {:#04x}", header[0]);
                ensure!(sum(header) == 0xffff, "wrong IPv4 header checksum");
                ensure!(header[9] == PROTOCOL_UDP, "not UDP");
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                ensure!(total == rest.len(), "IPv4 length {total}, but {} octets", rest.len());
                let source = <[u8; 4]>::try_from(&header[12..16])?;
                let destination = <[u8; 4]>::try_from(&header[16..20])?;
                (
                    Ipv4Addr::from(source).into(),
                    Ipv4Addr::from(destination).into(),
                    header[8],
                    datagram,
                )
            }
            ETHERTYPE_IPV6 => {
                let (header, datagram) = split(rest, IPV6_LEN)?;
                ensure!(header[0] >> 4 == 6, "not IPv6");
                ensure!(header[6] == PROTOCOL_UDP, "not UDP without extension headers");
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                ensure!(length == datagram.len(), "IPv6 length {length}, but {}", datagram.len());
                let source = <[u8; 16]>::try_from(&header[8..24])?;
                let destination = <[u8; 16]>::try_from(&header[24..40])?;
                (
                    Ipv6Addr::from(source).into(),
                    Ipv6Addr::from(destination).into(),
                    header[7],
                    datagram,
                )
            }
            other => bail!("EtherType {other:#06x}"),
        };
        let (header, payload) = split(datagram, UDP_LEN)?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        ensure!(length == datagram.len(), "UDP length {length}, but {} octets", datagram.len());
        ensure!(header[6..8] != [0, 0], "no UDP checksum");
        let mut unsummed = datagram.to_vec();
        unsummed[6..8].fill(0);
        let checksum = udp_checksum(source, destination, &unsummed);
        ensure!(
            header[6..8] == checksum.to_be_bytes(),
            "UDP checksum {:02x}{:02x}, but it is {checksum:04x}",
            header[6],
            header[7]
        );
        Ok(Self {
            destination_mac: ethernet[0..6].try_into()?,
            source_mac: ethernet[6..12].try_into()?,
            tags,
            source: SocketAddr::new(source, u16::from_be_bytes([header[0], header[1]])),
            destination: SocketAddr::new(destination, u16::from_be_bytes([header[2], header[3]])),
            ttl,
            payload: payload.to_vec(),
        })
    }
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(at).with_context(|| format!("{} octets, {at} awaited", bytes.len()))
}

/// One's-complement sum of big-endian words (RFC 1071), folded.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of a UDP datagram whose checksum field is zero (RFC 768, RFC 8200 section 8.1);
/// never zero, which would say that there is none.
fn udp_checksum(source: IpAddr, destination: IpAddr, datagram: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(IPV6_LEN + datagram.len());
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes.extend((datagram.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, PROTOCOL_UDP]);
    bytes.extend(datagram);
    match !sum(&bytes) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: &str, destination: &str, payload: &[u8]) -> Frame {
        Frame {
            source_mac: [2, 0, 0, 0, 0, 1],
            destination_mac: [2, 0, 0, 0, 0, 2],
            tags: vec![(0x8100, 7)],
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            ttl: 64,
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn frames_survive_both_ways() {
        for payload in [&b""[..], b"odd", b"even"] {
            for (source, destination) in
                [("192.0.2.1:5353", "192.0.2.2:53"), ("[2001:db8::1]:5353", "[2001:db8::2]:53")]
            {
                let frame = frame(source, destination, payload);
                let bytes = frame.encode().expect("short enough");
                assert_eq!(Frame::decode(&bytes).expect("right"), frame);
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let bytes = frame("192.0.2.1:5353", "192.0.2.2:53", b"payload").encode().expect("short");
        for at in ETHERNET_LEN + TAG_LEN..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Frame::decode(&damaged).is_err(), "octet {at}");
        }
    }

    /// A header whose checksum is given in many textbooks.
    #[test]
    fn checksums_are_those_of_others() {
        let words =
            [0x4500u16, 0x003c, 0x1c46, 0x4000, 0x4006, 0xb1e6, 0xac10, 0x0a63, 0xac10, 0x0a0c];
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(sum(&header), 0xffff);
    }
}
