//! Netblocks: prefixes of client addresses, IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2).

/// Bits of an IPv6 address in front of a mapped IPv4 address.
pub const MAPPED_BITS: u32 = 96;

/// A prefix. As octets it is the key of the maps of prefixes: `bpf_lpm_trie_key` of linux/bpf.h.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Netblock {
    /// Length of the prefix in bits, 0 to 128; for IPv4 [`MAPPED_BITS`] more than its own.
    pub prefix: u32,
    /// The address, bits behind the prefix zero.
    pub address: [u8; 16],
}

impl Netblock {
    /// The netblock with this prefix of an address that lies in two words as it does in memory.
    #[inline(always)]
    pub fn of(address: [u64; 2], prefix: u32) -> Netblock {
        let kept = masked(address, mask(prefix));
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&kept[0].to_ne_bytes());
        octets[8..].copy_from_slice(&kept[1].to_ne_bytes());
        Netblock { prefix, address: octets }
    }
}

const _: () = assert!(size_of::<Netblock>() == 20);

/// A mask of the first `prefix` bits of an address in two words as it lies in memory.
pub const fn mask(prefix: u32) -> [u64; 2] {
    let bits = match prefix {
        0 => 0,
        1..128 => u128::MAX << (128 - prefix),
        _ => u128::MAX,
    };
    [((bits >> 64) as u64).to_be(), (bits as u64).to_be()]
}

/// The bits of an address that a mask keeps.
#[inline(always)]
pub const fn masked(address: [u64; 2], mask: [u64; 2]) -> [u64; 2] {
    [address[0] & mask[0], address[1] & mask[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::address_words;

    #[test]
    fn bits_behind_the_prefix_are_zero() {
        let words = |text: &str| address_words(text.parse().unwrap());
        for (address, prefix, kept) in [
            ("192.0.2.255", MAPPED_BITS + 24, "192.0.2.0"),
            ("192.0.255.1", MAPPED_BITS + 18, "192.0.192.0"),
            ("192.0.2.1", MAPPED_BITS + 32, "192.0.2.1"),
            ("2001:db8:1:2ff::1", 56, "2001:db8:1:200::"),
            ("2001:db8::1", 128, "2001:db8::1"),
            ("2001:db8:ffff::1", 32, "2001:db8::"),
            ("2001:db8::1", 0, "::"),
        ] {
            assert_eq!(masked(words(address), mask(prefix)), words(kept), "{address}/{prefix}");
            let block = Netblock::of(words(address), prefix);
            assert_eq!(block, Netblock::of(words(kept), prefix));
            assert_eq!(block.prefix, prefix);
        }
    }
}
