//! Addresses as words, as they lie in memory: IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2).

use core::net::{IpAddr, Ipv4Addr};

/// The lower word of an IPv4-mapped address, without the IPv4 address in its upper half.
pub const MAPPED: u64 = 0x0000_0000_ffff_0000;

/// A MAC address as a word, upper 16 bits zero.
pub const fn mac_word(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// An IPv4 address as a word, upper 32 bits zero.
pub fn broadcast_word(address: Ipv4Addr) -> u64 {
    u32::from_ne_bytes(address.octets()) as u64
}

/// An address as IPv6, in two words.
pub fn address_words(address: IpAddr) -> [u64; 2] {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    [0, 8].map(|at| u64::from_ne_bytes(core::array::from_fn(|octet| octets[at + octet])))
}

/// Whether an address is IPv4-mapped. The first question decides it for nearly all.
#[inline(always)]
pub fn is_mapped([high, low]: [u64; 2]) -> bool {
    high == 0 && low & 0xffff_ffff == MAPPED
}
