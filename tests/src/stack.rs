//! What a network stack would say of a frame of UDP to one of its ports, by plain arithmetic that shares nothing
//! with the code under test.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use testbed::frames::{ETHERTYPE_LEN, Frame, IPV4_LEN, IPV6_LEN, MACS_LEN, TAG_LEN, UDP_LEN};
use xdp_common::{
    Outcome,
    maps::{Config, MAX_BROADCASTS, address_words, broadcast_word, mac_word},
};

/// A machine that frames come to.
#[derive(Clone, Debug)]
pub struct Host {
    /// The MAC addresses of its devices.
    pub macs: Vec<[u8; 6]>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The broadcast addresses of its subnets.
    pub broadcasts: Vec<Ipv4Addr>,
}

impl Host {
    /// Tells the programs of itself.
    pub fn tell(&self, config: &mut Config) {
        for (place, mac) in config.macs.iter_mut().zip(&self.macs) {
            *place = mac_word(*mac);
        }
        for (place, address) in config.addresses.iter_mut().zip(&self.addresses) {
            *place = address_words(*address);
        }
        config.address_count = self.addresses.len() as u32;
        let mut broadcasts = [0; MAX_BROADCASTS];
        for (place, address) in broadcasts.iter_mut().zip(&self.broadcasts) {
            *place = broadcast_word(*address);
        }
        config.set_broadcasts(broadcasts);
    }

    /// Who is told so: the MAC addresses and addresses of a configuration, and no broadcast address.
    pub fn of(config: &Config) -> Self {
        let macs = config.macs.iter().filter(|word| **word != 0).map(|word| {
            let [a, b, c, d, e, f, ..] = word.to_ne_bytes();
            [a, b, c, d, e, f]
        });
        let addresses = config.addresses[..config.address_count as usize].iter().map(|words| {
            let mut octets = [0; 16];
            for (place, word) in octets.chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::from(octets).to_canonical()
        });
        Self { macs: macs.collect(), addresses: addresses.collect(), broadcasts: Vec::new() }
    }

    /// Why it takes no notice of a frame of UDP without IP options; `None` if it does.
    pub fn fault(&self, frame: &[u8]) -> Option<Outcome> {
        let (destination, source) = (&frame[..6], &frame[6..12]);
        if !self.macs.iter().any(|mac| mac == destination) {
            return Some(Outcome::NotOurAddress);
        }
        let is_own = self.macs.iter().any(|mac| mac == source);
        if is_own || source == [0; 6] || source[0] % 2 == 1 {
            return Some(Outcome::SourceMac);
        }
        let (ip, is_ipv6) = ip_at(frame);
        self.address_fault(&frame[ip..], is_ipv6).or_else(|| length_fault(&frame[ip..], is_ipv6))
    }

    fn address_fault(&self, packet: &[u8], is_ipv6: bool) -> Option<Outcome> {
        let [source, destination]: [IpAddr; 2] = if is_ipv6 {
            [8, 24].map(|at| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap_or_default().into())
        } else {
            [12, 16].map(|at| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap_or_default().into())
        };
        let is_mapped = |address: IpAddr| matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
        if is_mapped(source) || is_mapped(destination) {
            return Some(Outcome::MappedAddress);
        }
        if !self.addresses.contains(&destination) {
            return Some(Outcome::NotOurAddress);
        }
        let is_honest = match source {
            IpAddr::V4(source) => !matches!(source.octets()[0], 0 | 127 | 224..),
            // The unspecified address, the loopback, and what was IPv4-compatible (RFC 4291 section 2.5.5.1).
            IpAddr::V6(source) => !source.is_multicast() && source.octets()[..12] != [0; 12],
        };
        if !is_honest || self.addresses.contains(&source) {
            return Some(Outcome::BadSource);
        }
        let is_broadcast = self.broadcasts.iter().any(|one| IpAddr::V4(*one) == source);
        is_broadcast.then_some(Outcome::BroadcastSource)
    }
}

/// What is wrong with the lengths of a packet: octets behind it are padding.
fn length_fault(packet: &[u8], is_ipv6: bool) -> Option<Outcome> {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let (header, total) =
        if is_ipv6 { (IPV6_LEN, IPV6_LEN + word(4)) } else { (IPV4_LEN, word(2)) };
    if total < header + UDP_LEN || total > packet.len() {
        Some(Outcome::IpLength)
    } else {
        (header + word(header + 4) > total).then_some(Outcome::BadLength)
    }
}

/// Where the IP header of a frame starts, and whether it is IPv6.
pub fn ip_at(frame: &[u8]) -> (usize, bool) {
    let mut at = MACS_LEN;
    while matches!(frame.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8])) {
        at += TAG_LEN;
    }
    (at + ETHERTYPE_LEN, frame.get(at..at + 2) == Some(&[0x86, 0xdd]))
}

/// The UDP length field of a right frame.
pub fn udp_len(frame: &[u8]) -> u16 {
    let (at, is_ipv6) = ip_at(frame);
    let at = at + if is_ipv6 { IPV6_LEN } else { IPV4_LEN } + 4;
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// The frame without padding, its lengths the UDP header's (which are right if [`Host::fault`] found nothing), and with a checksum if it had none or the bare sum of a
/// pseudo-header, as who leaves it to the device sends it: the tests' reader wants all of that. An error if the
/// checksum was none of these.
pub fn repaired(frame: &[u8]) -> Result<Vec<u8>> {
    let (ip, is_ipv6) = ip_at(frame);
    let udp = ip + if is_ipv6 { IPV6_LEN } else { IPV4_LEN };
    let sent = frame.get(..udp + usize::from(udp_len(frame))).context("longer than its frame")?;
    let address = |at: usize| -> Result<IpAddr> {
        Ok(match is_ipv6 {
            true => <[u8; 16]>::try_from(&sent[at..at + 16])?.into(),
            false => <[u8; 4]>::try_from(&sent[at..at + 4])?.into(),
        })
    };
    let word = |at: usize| u16::from_be_bytes([sent[at], sent[at + 1]]);
    let (source, destination) = if is_ipv6 { (ip + 8, ip + 24) } else { (ip + 12, ip + 16) };
    let tags = sent[MACS_LEN..ip - ETHERTYPE_LEN].chunks_exact(TAG_LEN);
    let tags = tags
        .map(|tag| (u16::from_be_bytes([tag[0], tag[1]]), u16::from_be_bytes([tag[2], tag[3]])));
    let right = Frame {
        destination_mac: sent[..6].try_into()?,
        source_mac: sent[6..12].try_into()?,
        tags: tags.collect(),
        source: (address(source)?, word(udp)).into(),
        destination: (address(destination)?, word(udp + 2)).into(),
        ttl: sent[if is_ipv6 { ip + 7 } else { ip + 8 }],
        payload: sent[udp + UDP_LEN..].to_vec(),
    }
    .encode()?;
    let is_right = match word(udp + 6) {
        0 => !is_ipv6,
        sum => sum.to_be_bytes() == right[udp + 6..udp + 8] || sum == bare_sum(sent, ip, is_ipv6),
    };
    ensure!(is_right, "answered, and its checksum is wrong");
    Ok(right)
}

/// The sum of the pseudo-header of a frame whose IP header starts there.
fn bare_sum(frame: &[u8], ip: usize, is_ipv6: bool) -> u16 {
    let addresses = if is_ipv6 { &frame[ip + 8..ip + 40] } else { &frame[ip + 12..ip + 20] };
    let words = addresses.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum = words.sum::<u32>() + u32::from(udp_len(frame)) + 17;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
