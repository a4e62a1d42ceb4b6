//! What the headers of a frame say, below DNS.

use network_types::udp::UdpHdr;

use crate::launder::recall;

/// Where the headers are and what the reply needs of them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Layers {
    /// The client's address as IPv6 (IPv4 mapped), as it lies in memory.
    pub source: [u64; 2],
    /// One's-complement sum of both addresses.
    pub address_sum: u64,
    /// The UDP header as it lies in memory, one little-endian word: ports, length, checksum.
    pub udp_header: u64,
    /// Octets before the IP header: 14, 18 or 22.
    pub ip_at: u32,
    /// Octets before the UDP header.
    pub udp_at: u32,
    /// 1 for IPv6.
    pub ipv6: u32,
    /// The UDP length field, in octets.
    pub udp_len: u32,
    /// 1 if the UDP checksum is only the sum of the pseudo-header, which a device was to complete.
    pub partial: u32,
    _zero: u32,
}

impl Layers {
    /// No headers.
    pub const fn new() -> Layers {
        Layers {
            source: [0; 2],
            address_sum: 0,
            udp_header: 0,
            ip_at: 0,
            udp_at: 0,
            ipv6: 0,
            udp_len: 0,
            partial: 0,
            _zero: 0,
        }
    }

    /// Octets before the DNS message.
    #[inline(always)]
    pub fn message_at(&self) -> usize {
        (recall(&self.udp_at) as usize & 0x7f) + UdpHdr::LEN
    }

    /// Octets of DNS message that the UDP header announces.
    #[inline(always)]
    pub fn message_len(&self) -> usize {
        (recall(&self.udp_len) as usize & 0xffff).wrapping_sub(UdpHdr::LEN) & 0xffff
    }
}

impl Default for Layers {
    fn default() -> Layers {
        Layers::new()
    }
}
