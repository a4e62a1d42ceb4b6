//! UDP datagrams out of a capture: pcap or pcapng; Ethernet (with VLAN tags), Linux "any", raw IP, loopback.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use xdp_common::layers::{ETHERNET_LEN, IPV4_LEN, IPV6_LEN, UDP_LEN, VLAN_LEN};

/// One datagram.
pub struct Datagram<'a> {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Sender.
    pub source: IpAddr,
    /// Its port.
    pub source_port: u16,
    /// Receiver.
    pub destination: IpAddr,
    /// Its port.
    pub destination_port: u16,
    /// What was captured of it.
    pub payload: &'a [u8],
}

/// The first buffer in octets; it grows to a block's size.
const BUFFER: usize = 1 << 16;
/// The largest block that is read: more than the largest packet of any interface.
const MAX_BLOCK: usize = 1 << 24;
/// Interfaces of a pcapng section that are told apart.
const MAX_INTERFACES: usize = 1 << 16;

/// Octets of the type at the end of an Ethernet header.
const ETHERTYPE_LEN: usize = 2;
const ETHERNET_IPV4: u16 = 0x0800;
const ETHERNET_IPV6: u16 = 0x86dd;
/// 802.1Q and 802.1ad.
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const UDP: u8 = 17;

#[derive(Clone, Copy)]
struct Source {
    link: Linktype,
    units_per_second: u64,
    offset_s: i64,
}

/// Reads a capture, and hands over each UDP datagram; says how many packets were something else.
pub fn read(path: &Path, mut each: impl FnMut(Datagram<'_>)) -> Result<u64, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut reader = create_reader(BUFFER, file)
        .map_err(|_| "this is neither a pcap nor a pcapng capture".to_owned())?;
    let mut sources: Vec<Source> = Vec::new();
    let mut others = 0;
    let mut size = BUFFER;
    loop {
        let (is_all_read, at) = (reader.reader_exhausted(), reader.consumed());
        let (consumed, block) = match reader.next() {
            Ok(next) => next,
            Err(PcapError::Eof) => return Ok(others),
            Err(PcapError::Incomplete(_)) if !is_all_read => {
                reader.refill().map_err(|_| "reading failed".to_owned())?;
                continue;
            }
            Err(PcapError::BufferTooSmall) if size < MAX_BLOCK => {
                size *= 2;
                reader.grow(size);
                reader.refill().map_err(|_| "reading failed".to_owned())?;
                continue;
            }
            // A capture that is still being written, or was cut off: what is whole counts.
            Err(PcapError::UnexpectedEof | PcapError::Incomplete(_)) => return Ok(others),
            Err(error) => {
                let kind = format!("{error:?}");
                let kind = kind.split(['(', '{']).next().unwrap_or_default().trim().to_owned();
                return Err(format!("it is damaged after {at} octets: {kind}"));
            }
        };
        let packet = match &block {
            PcapBlockOwned::LegacyHeader(header) => {
                let nanoseconds = header.is_nanosecond_precision();
                let units_per_second = if nanoseconds { 1_000_000_000 } else { 1_000_000 };
                sources = vec![Source { link: header.network, units_per_second, offset_s: 0 }];
                None
            }
            PcapBlockOwned::Legacy(packet) => sources.first().map(|source| {
                let units = u64::from(packet.ts_sec) * source.units_per_second;
                (*source, units + u64::from(packet.ts_usec), packet.data, packet.caplen)
            }),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                sources.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                if sources.len() < MAX_INTERFACES {
                    sources.push(Source {
                        link: interface.linktype,
                        units_per_second: interface.ts_resolution().unwrap_or(1_000_000).max(1),
                        offset_s: interface.ts_offset(),
                    });
                }
                None
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let source = sources.get(packet.if_id as usize);
                source.map(|source| (*source, units, packet.data, packet.caplen))
            }
            // Simple packets have no time.
            PcapBlockOwned::NG(Block::SimplePacket(_)) => {
                others += 1;
                None
            }
            PcapBlockOwned::NG(_) => None,
        };
        if let Some((source, units, data, caplen)) = packet {
            let data = &data[..data.len().min(caplen as usize)];
            match datagram(source.link, data) {
                Some(datagram) => each(Datagram { time_ns: time_ns(&source, units), ..datagram }),
                None => others += 1,
            }
        }
        reader.consume(consumed);
    }
}

fn time_ns(source: &Source, units: u64) -> u64 {
    let ns = u128::from(units) * 1_000_000_000 / u128::from(source.units_per_second);
    let ns = i128::try_from(ns).unwrap_or(i128::MAX);
    let ns = ns.saturating_add(i128::from(source.offset_s) * 1_000_000_000);
    u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(data.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The datagram in a packet; `None` if it is something else or cut off before its payload.
fn datagram(link: Linktype, packet: &[u8]) -> Option<Datagram<'_>> {
    let ip = match link {
        Linktype::ETHERNET => {
            let mut at = ETHERNET_LEN - ETHERTYPE_LEN;
            while VLAN.contains(&u16_at(packet, at)?) {
                at += VLAN_LEN;
            }
            is_ip(u16_at(packet, at)?).then(|| packet.get(at + ETHERTYPE_LEN..))?
        }
        // https://www.tcpdump.org/linktypes.html: LINUX_SLL and LINUX_SLL2.
        Linktype::LINUX_SLL => is_ip(u16_at(packet, 14)?).then(|| packet.get(16..))?,
        Linktype(276) => is_ip(u16_at(packet, 0)?).then(|| packet.get(20..))?,
        Linktype::NULL | Linktype::LOOP => packet.get(4..),
        Linktype::RAW | Linktype(12 | 14) | Linktype::IPV4 | Linktype::IPV6 => Some(packet),
        _ => None,
    }?;
    let (source, destination, udp): (IpAddr, IpAddr, &[u8]) = match ip.first()? >> 4 {
        4 => {
            let header = usize::from(ip[0] & 15) * 4;
            let is_fragment = u16_at(ip, 6)? & 0x3fff != 0;
            if *ip.get(9)? != UDP || is_fragment {
                return None;
            }
            let address = |at: usize| <[u8; 4]>::try_from(ip.get(at..at + 4)?).ok();
            (address(12)?.into(), address(16)?.into(), ip.get(header.max(IPV4_LEN)..)?)
        }
        6 => {
            if *ip.get(6)? != UDP {
                return None;
            }
            let address = |at: usize| <[u8; 16]>::try_from(ip.get(at..at + 16)?).ok();
            (address(8)?.into(), address(24)?.into(), ip.get(IPV6_LEN..)?)
        }
        _ => return None,
    };
    let len = usize::from(u16_at(udp, 4)?).max(UDP_LEN);
    Some(Datagram {
        time_ns: 0,
        source,
        source_port: u16_at(udp, 0)?,
        destination,
        destination_port: u16_at(udp, 2)?,
        payload: udp.get(UDP_LEN..len.min(udp.len()))?,
    })
}

fn is_ip(protocol: u16) -> bool {
    matches!(protocol, ETHERNET_IPV4 | ETHERNET_IPV6)
}
