//! The headers below DNS: Ethernet, VLAN tags, IPv4 or IPv6, UDP; read and turned round.
//!
//! XDP stands where the network stack's checks would have been, so it makes them here. What fails
//! one is passed up, where the kernel judges it; dropped is only what can have no honest sender.

use crate::Outcome;
use crate::address::{MAPPED, is_mapped};
use crate::bytes::is_zero;
use crate::checksum::{add_u64, fold};
use crate::dns::HEADER_LEN;
use crate::frame::{Frame, be16, le16, le32, le64};
use crate::launder::{forget, recall};
use crate::state::config::{MAX_ADDRESSES, MAX_BROADCASTS, MAX_MACS, MAX_PORTS};
use crate::state::{Config, Layers};
use network_types::eth::EthHdr;
use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};
use network_types::udp::UdpHdr;

/// Octets of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = EthHdr::LEN;
/// Octets of one VLAN tag (IEEE 802.1Q).
pub const VLAN_LEN: usize = 4;
/// Octets of an IPv4 header without options.
pub const IPV4_LEN: usize = Ipv4Hdr::LEN;
/// Octets of an IPv6 header.
pub const IPV6_LEN: usize = Ipv6Hdr::LEN;
/// Octets of a UDP header.
pub const UDP_LEN: usize = UdpHdr::LEN;

/// The hop limit and TTL of replies (IANA's recommended default).
const HOP_LIMIT: u8 = 64;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const UDP: u8 = IpProto::Udp as u8;
const IPV6_FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const DESTINATION: u8 = IpProto::Ipv6Opts as u8;

/// Both addresses as IPv6 (IPv4 mapped, RFC 4291 section 2.5.5.2), as they lie in memory.
struct Addresses {
    source: [u64; 2],
    destination: [u64; 2],
}

/// Reads the headers into `layers`; `forgotten` is a cell for values that are read back at once.
#[inline(always)]
pub fn decode<F: Frame>(
    frame: &F,
    config: &Config,
    layers: &mut Layers,
    forgotten: &mut u64,
) -> Result<(), Outcome> {
    let mut ip_at = ETHERNET_LEN;
    // The source MAC address, and the ethertype above it.
    let source_mac_and_type = le64(frame, 6).ok_or(Outcome::NotIp)?;
    let mut ethertype = u16::from_be((source_mac_and_type >> 48) as u16);
    let mut tags = 0;
    while tags < 2 && (ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ) {
        ethertype = be16(frame, ip_at + 2).ok_or(Outcome::NotIp)?;
        ip_at += VLAN_LEN;
        tags += 1;
    }
    let ip_at = forget(forgotten, ip_at as u64) as usize & 0x1f;
    layers.ip_at = ip_at as u32;

    let addresses;
    let (udp_at, room);
    match ethertype {
        ETHERTYPE_IPV4 => {
            let first = le64(frame, ip_at).ok_or(Outcome::NotIp)?;
            let second = le64(frame, ip_at + 8).ok_or(Outcome::NotIp)?;
            let third = le32(frame, ip_at + 16).ok_or(Outcome::NotIp)? as u64;
            let [version_and_len, _, len_high, len_low, _, _, fragment_high, fragment_low] =
                first.to_le_bytes();
            if version_and_len != 0x45 {
                return Err(Outcome::IpOptions);
            }
            // All but "don't fragment": more fragments, an offset, or the reserved bit.
            if fragment_high & 0xbf | fragment_low != 0 {
                return Err(Outcome::Fragment);
            }
            if (second >> 8) as u8 != UDP {
                return Err(Outcome::NotUdp);
            }
            if fold(add_u64(add_u64(third, first), second)) != 0xffff {
                return Err(Outcome::BadChecksum);
            }
            let source = second >> 32;
            layers.ipv6 = 0;
            layers.address_sum = source + third;
            addresses = Addresses {
                source: [0, MAPPED | source << 32],
                destination: [0, MAPPED | third << 32],
            };
            udp_at = ip_at + IPV4_LEN;
            room = (u16::from_be_bytes([len_high, len_low]) as usize).wrapping_sub(IPV4_LEN);
        }
        ETHERTYPE_IPV6 => {
            let first = le64(frame, ip_at).ok_or(Outcome::NotIp)?;
            let [version, _, _, _, len_high, len_low, next, _] = first.to_le_bytes();
            if version >> 4 != 6 {
                return Err(Outcome::NotIp);
            }
            if next != UDP {
                return Err(match next {
                    HOP_BY_HOP | ROUTING | DESTINATION => Outcome::IpOptions,
                    IPV6_FRAGMENT => Outcome::Fragment,
                    _ => Outcome::NotUdp,
                });
            }
            let source = [
                le64(frame, ip_at + 8).ok_or(Outcome::NotIp)?,
                le64(frame, ip_at + 16).ok_or(Outcome::NotIp)?,
            ];
            let destination = [
                le64(frame, ip_at + 24).ok_or(Outcome::NotIp)?,
                le64(frame, ip_at + 32).ok_or(Outcome::NotIp)?,
            ];
            if is_mapped(source) || is_mapped(destination) {
                return Err(Outcome::MappedAddress);
            }
            layers.ipv6 = 1;
            let sum = add_u64(add_u64(0, source[0]), source[1]);
            layers.address_sum = add_u64(add_u64(sum, destination[0]), destination[1]);
            addresses = Addresses { source, destination };
            udp_at = ip_at + IPV6_LEN;
            room = u16::from_be_bytes([len_high, len_low]) as usize;
        }
        _ => return Err(Outcome::NotIp),
    }
    let udp_at = forget(forgotten, udp_at as u64) as usize & 0x7f;
    layers.udp_at = udp_at as u32;
    layers.source = addresses.source;

    let udp = le64(frame, udp_at).ok_or(Outcome::NotUdp)?;
    if !is_served(config, udp >> 16 & 0xffff, forgotten) {
        return Err(Outcome::NotOurPort);
    }
    check_macs(frame, source_mac_and_type & MAC, config, forgotten)?;
    check_addresses(config, &addresses, layers, forgotten)?;
    // An IP packet that is to be shorter than a UDP header, down to where `room` is below zero, or longer
    // than what the frame holds of it.
    let held = frame.len().wrapping_sub(udp_at);
    if room.wrapping_sub(UDP_LEN) > held.wrapping_sub(UDP_LEN) {
        return Err(Outcome::IpLength);
    }
    if udp & 0xffff == 0 {
        return Err(Outcome::SourcePort);
    }
    let udp_len = (udp >> 32) as u16;
    let udp_len = u16::from_be(udp_len) as usize;
    // A header that announces more than its packet holds.
    if udp_len > room {
        return Err(Outcome::BadLength);
    }
    if udp_len < UDP_LEN + HEADER_LEN {
        return Err(Outcome::Malformed);
    }
    layers.udp_len = udp_len as u32;
    layers.udp_header = udp;
    Ok(())
}

/// Whether a UDP port (as it lies in memory) is one that is answered.
#[inline(always)]
fn is_served(config: &Config, port: u64, cell: &mut u64) -> bool {
    let (mut served, mut index) = (0u64, 0);
    while index < MAX_PORTS {
        let known = config.ports[index] as u64;
        if known == 0 {
            break;
        }
        served |= is_zero(known ^ port);
        index += 1;
    }
    forget(cell, served) != 0
}

/// What of a word that starts with a MAC address is it.
const MAC: u64 = 0xffff_ffff_ffff;
/// The bit of a MAC address, as it lies in memory, by which it is a group's (IEEE 802).
const GROUP: u64 = 1;

/// Checks that the frame is to one of our MAC addresses, and from one that another station can have.
#[inline(always)]
fn check_macs<F: Frame>(
    frame: &F,
    source: u64,
    config: &Config,
    forgotten: &mut u64,
) -> Result<(), Outcome> {
    let destination = le64(frame, 0).ok_or(Outcome::NotIp)? & MAC;
    let (mut ours, mut own_source, mut index) = (0u64, 0u64, 0);
    while index < MAX_MACS {
        let known = config.macs[index];
        if known == 0 {
            break;
        }
        ours |= is_zero(known ^ destination);
        own_source |= is_zero(known ^ source);
        index += 1;
    }
    if forget(forgotten, ours) == 0 {
        return Err(Outcome::NotOurAddress);
    }
    // Measured: branches that are never taken, of what is at hand, cost 10 ns less than one of all as a number.
    if source & GROUP != 0 || source == 0 || forget(forgotten, own_source) != 0 {
        return Err(Outcome::SourceMac);
    }
    Ok(())
}

/// Checks that the packet is to an address that is served, and from one that an honest client can have.
#[inline(always)]
fn check_addresses(
    config: &Config,
    addresses: &Addresses,
    layers: &Layers,
    forgotten: &mut u64,
) -> Result<(), Outcome> {
    let (mut ours, mut own_source, mut index) = (0u64, 0u64, 0);
    while index < MAX_ADDRESSES {
        if index >= config.address_count as usize {
            break;
        }
        let address = &config.addresses[index];
        ours |= is_zero(difference(address, &addresses.destination));
        own_source |= is_zero(difference(address, &addresses.source));
        index += 1;
    }
    let ours = forget(forgotten, ours);
    if ours == 0 {
        return Err(Outcome::NotOurAddress);
    }
    if forget(forgotten, own_source) != 0 || !is_honest_source(addresses.source) {
        return Err(Outcome::BadSource);
    }
    // No IPv6 address is one: above 32 bits they differ.
    let source = addresses.source[1] >> 32 | (recall(&layers.ipv6) as u64) << 32;
    // Hardly any client has what all of them have in common, and no other is looked up.
    if (source ^ config.broadcast_bits) & config.broadcast_mask != 0 {
        return Ok(());
    }
    let (mut broadcast, mut index) = (0u64, 0);
    while index < MAX_BROADCASTS {
        let known = config.broadcasts[index];
        if known == 0 {
            break;
        }
        broadcast |= is_zero(known ^ source);
        index += 1;
    }
    if forget(forgotten, broadcast) != 0 {
        return Err(Outcome::BroadcastSource);
    }
    Ok(())
}

/// 0 if two addresses are the same.
#[inline(always)]
fn difference(one: &[u64; 2], other: &[u64; 2]) -> u64 {
    let bits = (one[0] ^ other[0]) | (one[1] ^ other[1]);
    (bits | bits << 1) >> 1
}

/// Whether a client can send from this address: not "this network" or loopback (RFC 1122 section
/// 3.2.1.3), not multicast or reserved (RFC 1112 section 4), not unspecified, loopback, multicast or
/// IPv4-mapped on the wire (RFC 4291 section 2).
#[inline(always)]
fn is_honest_source(address: [u64; 2]) -> bool {
    let [high, low] = address;
    if is_mapped(address) {
        let first = (low >> 32) as u8;
        return first != 0 && first != 127 && first < 224;
    }
    let unspecified_or_loopback = high == 0 && low & 0xffff_ffff == 0;
    high as u8 != 0xff && !unspecified_or_loopback
}

/// Whether the UDP checksum is right, given the sum of the DNS message: none on IPv4, a full one,
/// or the bare sum of the pseudo-header as veth and virtio leave it for the device to complete.
#[inline(always)]
pub fn checksum_holds(layers: &mut Layers, message_sum: u64) -> bool {
    let sent = (layers.udp_header >> 48) as u16;
    let length = layers.udp_header >> 32 & 0xffff;
    let pseudo = layers.address_sum + ((UDP as u64) << 8) + length;
    let is_full = fold(add_u64(pseudo + message_sum, layers.udp_header)) == 0xffff;
    // A full one may be equal to the bare sum by chance.
    let is_partial = sent == fold(pseudo) && !is_full;
    layers.partial = is_partial as u32;
    if sent == 0 { layers.ipv6 == 0 } else { is_full || is_partial }
}

/// Turns the headers round for a DNS message of `message_len` octets with the sum `message_sum`:
/// addresses and ports swapped, lengths, hop limit and checksums written. VLAN tags stay.
#[inline(always)]
pub fn reply<F: Frame>(
    frame: &mut F,
    layers: &Layers,
    message_len: usize,
    message_sum: u64,
) -> Option<()> {
    let destination: [u8; 6] = frame.get(0)?;
    let source: [u8; 6] = frame.get(6)?;
    frame.put(0, source)?;
    frame.put(6, destination)?;

    let ip_at = recall(&layers.ip_at) as usize & 0x1f;
    let udp_at = recall(&layers.udp_at) as usize & 0x7f;
    let udp_len = (UDP_LEN + message_len) as u16;
    if recall(&layers.ipv6) == 0 {
        let [source, destination] = [le32(frame, ip_at + 12)?, le32(frame, ip_at + 16)?];
        let total_len = IPV4_LEN as u16 + udp_len;
        let [len_high, len_low] = total_len.to_be_bytes();
        // Identification 0 is right for atomic datagrams (RFC 6864 section 4.1); ECN is 0.
        let first = u64::from_le_bytes([0x45, 0, len_high, len_low, 0, 0, 0x40, 0]);
        let ttl_and_protocol = HOP_LIMIT as u64 | (UDP as u64) << 8;
        let sum = add_u64(source as u64 + destination as u64 + ttl_and_protocol, first);
        let checksum = !fold(sum) as u64;
        let second = ttl_and_protocol | checksum << 16 | (destination as u64) << 32;
        frame.put(ip_at, first.to_le_bytes())?;
        frame.put(ip_at + 8, second.to_le_bytes())?;
        frame.put(ip_at + 16, source.to_le_bytes())?;
    } else {
        let [len_high, len_low] = udp_len.to_be_bytes();
        let source: [[u8; 8]; 2] = [frame.get(ip_at + 8)?, frame.get(ip_at + 16)?];
        let destination: [[u8; 8]; 2] = [frame.get(ip_at + 24)?, frame.get(ip_at + 32)?];
        frame.put(ip_at, [0x60, 0, 0, 0, len_high, len_low, UDP, HOP_LIMIT])?;
        frame.put(ip_at + 8, destination[0])?;
        frame.put(ip_at + 16, destination[1])?;
        frame.put(ip_at + 24, source[0])?;
        frame.put(ip_at + 32, source[1])?;
    }
    let ports = [le16(frame, udp_at)?, le16(frame, udp_at + 2)?];
    let length = udp_len.to_be() as u64;
    let pseudo = recall(&layers.address_sum) + ((UDP as u64) << 8) + length;
    let checksum = if F::COMPLETES_CHECKSUMS && recall(&layers.partial) != 0 {
        fold(pseudo)
    } else {
        // The length counts twice: in the pseudo-header and in the header (RFC 768).
        let sum = pseudo + length + ports[0] as u64 + ports[1] as u64 + message_sum;
        // A checksum that comes out as zero is sent as all ones (RFC 768).
        match !fold(sum) {
            0 => 0xffff,
            checksum => checksum,
        }
    };
    let udp = ports[1] as u64 | (ports[0] as u64) << 16 | length << 32 | (checksum as u64) << 48;
    frame.put(udp_at, udp.to_le_bytes())
}
