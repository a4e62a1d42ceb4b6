//! What the measuring programs of `xdp-ebpf/src/bench.rs` share with `cargo xtask bench`.
//!
//! All of it is 64-bit words: maps of them are read and written without a conversion.

/// Octets of the longest query frame that is asked.
pub const MAX_FRAME: usize = 352;

/// Words of a [`Template`].
const TEMPLATE_WORDS: usize = MAX_FRAME / 8 + 7;

/// A query to ask: the frame's octets from word 0 on, then the words named by [`template`].
pub type Template = [u64; TEMPLATE_WORDS];

/// Words of a [`Template`] behind the frame.
pub mod template {
    use super::MAX_FRAME;

    /// Octets of the frame.
    pub const LEN: usize = MAX_FRAME / 8;
    /// Where in the frame the eight hexadecimal digits of the name stand that change; 0 for none.
    pub const DIGITS_AT: usize = LEN + 1;
    /// How many names there are: the digits are a number below it. Less than 2^32.
    pub const NAMES: usize = LEN + 2;
    /// Where in the frame the UDP checksum stands.
    pub const CHECKSUM_AT: usize = LEN + 3;
    /// One's-complement sum of pseudo-header and datagram with digits, source address and checksum zero
    /// where they change.
    pub const SUM: usize = LEN + 4;
    /// How many netblocks of 256 IPv4 addresses queries come from, at random, from [`FIRST_SOURCE`](super::FIRST_SOURCE)
    /// on; 0 for always the same address.
    pub const SOURCES: usize = LEN + 5;
    /// One's-complement sum of the IPv4 header with source address and checksum zero.
    pub const HEADER_SUM: usize = LEN + 6;
}

/// The first address of the first netblock that queries come from if they come from many: 64.0.0.1.
pub const FIRST_SOURCE: u32 = 0x4000_0001;

/// How many templates there can be; one is drawn at random each time.
pub const MAX_TEMPLATES: usize = 64;

/// Words of the map that tells the programs what to do.
pub mod control {
    /// How many templates there are.
    pub const TEMPLATES: usize = 0;
    /// Nanoseconds from one burst of queries to the next; 0 for as fast as it goes.
    pub const INTERVAL_NS: usize = 1;
    /// Octets by which `regrow` makes the frame longer.
    pub const GROW: usize = 2;
    /// How often `regrow` makes it one octet shorter.
    pub const SHRINKS: usize = 3;
    /// Another number for each run: then the time counts from the first query on.
    pub const RUN: usize = 4;
    /// Words in all.
    pub const WORDS: usize = 5;
}

/// Queries in a burst: like a network card that coalesces interrupts.
pub const BURST: u64 = 32;

/// Words that the programs count in, per CPU.
pub mod counter {
    /// Queries sent.
    pub const SENT: usize = 0;
    /// Replies received.
    pub const REPLIES: usize = 1;
    /// Octets of their frames.
    pub const OCTETS: usize = 2;
    /// Those with TC set.
    pub const TRUNCATED: usize = 3;
    /// Those with records in the answer section.
    pub const WITH_ANSWERS: usize = 4;
    /// When the first and the last burst of a run left, in nanoseconds of the kernel's clock.
    pub const FIRST_NS: usize = 5;
    /// See [`FIRST_NS`].
    pub const LAST_NS: usize = 6;
    /// Those with response code 0, and so on to 15.
    pub const RCODES: usize = 8;
    /// Words in all.
    pub const WORDS: usize = 24;
}

/// Eight lower-case hexadecimal digits as they lie in memory, most significant first.
#[inline(always)]
pub const fn digits(number: u32) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut spread = number as u64;
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let from_ten = ((spread + 6 * EACH) >> 4) & EACH;
    (spread + b'0' as u64 * EACH + from_ten * (b'a' - b'0' - 10) as u64).swap_bytes()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;

    use super::*;

    #[test]
    fn digits_are_those_of_the_formatter() {
        for number in [0, 1, 9, 10, 15, 16, 0xdead_beef, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            let octets = digits(number).to_le_bytes();
            assert_eq!(octets, format!("{number:08x}").as_bytes());
        }
    }
}
