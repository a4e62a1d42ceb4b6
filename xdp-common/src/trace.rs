//! What a trace shows: the packets that are chosen, and what is known of one.
//!
//! Programs that trace are those that answer, compiled a second time with their log lines; they share all maps with
//! them. What is chosen is decided in the kernel, so that a trace of a server under attack shows what is asked for and
//! costs little else.

use crate::address::address_words;
use crate::{Outcome, maps};

/// Which packets are shown, and until when.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// When the trace ends, in nanoseconds of the kernel's boot clock (CLOCK_BOOTTIME): nothing is shown from then on,
    /// even if no daemon is there to end it.
    pub until_ns: u64,
    /// A bit for each outcome that is shown, at [`Outcome::index`].
    pub outcomes: u64,
    /// The prefix of clients that are shown, as an address lies in memory, IPv4 mapped into IPv6.
    pub client: [u64; 2],
    /// Its bits that count: none for all clients, and for packets of which no client is known.
    pub client_mask: [u64; 2],
    /// How many lines a CPU may have written since the trace began; the reader raises it. So a reader that is slower than
    /// packets come finds an end.
    pub most: u64,
    /// Of so many packets of a CPU that the above chooses, one is shown; at least 1.
    pub sample: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Filter>() == 64);
const _: () = assert!(maps::OUTCOMES <= u64::BITS as usize);

/// What is known of the packet on a CPU, and how many were chosen there.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets of which all but their turn in a sample was right.
    pub matched: u64,
    /// Packets for which a line was to be written.
    pub chosen: u64,
    /// Those of them for which one was, had the ring buffer room for it.
    pub written: u64,
    /// How much was read: one of [`known`].
    pub known: u32,
    /// The client's port, if headers were read.
    pub port: u32,
    /// What became of it: the place of the outcome that was counted.
    pub outcome: u32,
    /// The program that decided that: the place of a [`Stage`](crate::engine::sequence::Stage), or
    /// [`maps::ENTRY_STAGE`].
    pub stage: u32,
    /// What the kernel is to do with it: one of [`fate`].
    pub fate: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Seen>() == 48);

/// How much of a packet was read.
pub mod known {
    /// Nothing that can be relied on.
    pub const NOTHING: u32 = 0;
    /// Its headers: who the client is.
    pub const CLIENT: u32 = 1;
    /// Its question too.
    pub const QUESTION: u32 = 2;
}

/// What the kernel is to do with a packet.
pub mod fate {
    /// To pass it up.
    pub const PASSED: u32 = 0;
    /// To drop it.
    pub const DROPPED: u32 = 1;
    /// To send it, since it is a response now.
    pub const ANSWERED: u32 = 2;
}

impl Filter {
    /// Shows nothing.
    pub const fn new() -> Filter {
        Filter {
            until_ns: 0,
            outcomes: 0,
            client: [0; 2],
            client_mask: [0; 2],
            most: 0,
            sample: 1,
            reserved: 0,
        }
    }

    /// The words of a prefix of `len` bits (of 32 or of 128): its address, and its bits that count.
    pub fn prefix(address: core::net::IpAddr, len: u8) -> ([u64; 2], [u64; 2]) {
        let before = if address.is_ipv4() { 96 } else { 0 };
        let len = u32::from(len) + before;
        let mask = if len == 0 { 0 } else { u128::MAX << (128 - len.min(128)) };
        let octets = mask.to_be_bytes();
        let word = |at: usize| {
            let mut octet = [0; 8];
            octet.copy_from_slice(&octets[at..at + 8]);
            u64::from_ne_bytes(octet)
        };
        let mask = [word(0), word(8)];
        let [upper, lower] = address_words(address);
        ([upper & mask[0], lower & mask[1]], mask)
    }

    /// Whether a line is to be written for a packet that came from `source` and that is finished with at `now_ns`; counts
    /// it.
    #[inline(always)]
    pub fn chooses(&self, seen: &mut Seen, source: [u64; 2], now_ns: u64) -> bool {
        let is_any = self.client_mask[0] | self.client_mask[1] == 0;
        let differs = ((source[0] ^ self.client[0]) & self.client_mask[0])
            | ((source[1] ^ self.client[1]) & self.client_mask[1]);
        let is_client = is_any || (seen.known != known::NOTHING && differs == 0);
        let is_outcome = self.outcomes >> (seen.outcome & 63) & 1 != 0;
        if now_ns >= self.until_ns || !is_client || !is_outcome {
            return false;
        }
        let turn = seen.matched;
        seen.matched = turn + 1;
        let sample = if self.sample == 0 { 1 } else { self.sample };
        if !turn.is_multiple_of(u64::from(sample)) {
            return false;
        }
        seen.chosen += 1;
        let written = seen.written;
        if written >= self.most {
            return false;
        }
        seen.written = written + 1;
        true
    }
}

impl Default for Filter {
    fn default() -> Filter {
        Filter::new()
    }
}

/// What the kernel is to do with a packet of this outcome: one of [`fate`].
#[inline(always)]
pub const fn fate_of(outcome: Outcome) -> u32 {
    if outcome.is_answered() {
        fate::ANSWERED
    } else if outcome.is_dropped() {
        fate::DROPPED
    } else {
        fate::PASSED
    }
}

/// An outcome for which the kernel does that with a packet.
#[inline(always)]
pub const fn outcome_for(fate: u32) -> Outcome {
    match fate {
        fate::ANSWERED => Outcome::Positive,
        fate::DROPPED => Outcome::Limited,
        _ => Outcome::Miss,
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn seen(outcome: Outcome, known: u32) -> Seen {
        Seen { outcome: outcome.index() as u32, known, ..Seen::default() }
    }

    fn all() -> Filter {
        Filter { until_ns: 10, outcomes: u64::MAX, most: u64::MAX, ..Filter::new() }
    }

    #[test]
    fn an_outcome_s_fate_is_what_the_kernel_does_with_it() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome_for(fate_of(outcome)).action(), outcome.action(), "{outcome:?}");
        }
    }

    #[test]
    fn each_outcome_is_chosen_by_its_own_bit_alone() {
        for shown in Outcome::ALL {
            let filter = Filter { outcomes: 1 << shown.index(), ..all() };
            for outcome in Outcome::ALL {
                let mut seen = seen(outcome, known::QUESTION);
                assert_eq!(filter.chooses(&mut seen, [0; 2], 0), outcome == shown);
            }
        }
    }

    #[test]
    fn nothing_is_chosen_once_the_time_is_up() {
        for (now_ns, is_chosen) in [(0, true), (9, true), (10, false), (11, false)] {
            let mut seen = seen(Outcome::Positive, known::QUESTION);
            assert_eq!(all().chooses(&mut seen, [0; 2], now_ns), is_chosen, "{now_ns}");
            assert_eq!([seen.matched, seen.chosen], [u64::from(is_chosen); 2]);
        }
    }

    #[test]
    fn a_prefix_chooses_the_addresses_in_it() {
        let addresses = ["192.0.2.1", "192.0.2.255", "192.0.3.1", "2001:db8::1", "2001:db8:1::1"];
        let addresses = addresses.map(|text| text.parse::<IpAddr>().unwrap());
        for prefix in addresses {
            let bits = if prefix.is_ipv4() { 32 } else { 128 };
            for len in 0..=bits {
                let (client, client_mask) = Filter::prefix(prefix, len);
                let filter = Filter { client, client_mask, ..all() };
                for address in addresses {
                    let mut seen = seen(Outcome::Positive, known::CLIENT);
                    let is_chosen = filter.chooses(&mut seen, address_words(address), 0);
                    assert_eq!(
                        is_chosen,
                        contains(prefix, len, address),
                        "{prefix}/{len} {address}"
                    );
                }
            }
        }
    }

    fn contains(prefix: IpAddr, len: u8, address: IpAddr) -> bool {
        match (prefix, address) {
            (IpAddr::V4(prefix), IpAddr::V4(address)) => {
                (u32::from(prefix) ^ u32::from(address)).leading_zeros() >= u32::from(len)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
            // IPv4 is a part of what begins with zeros.
            (IpAddr::V6(prefix), address) => {
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                (u128::from(prefix) ^ u128::from(address)).leading_zeros() >= u32::from(len)
            }
        }
    }

    #[test]
    fn a_packet_without_a_client_is_chosen_only_where_any_client_is() {
        let (client, client_mask) = Filter::prefix(IpAddr::from([192, 0, 2, 1]), 32);
        let one = Filter { client, client_mask, ..all() };
        for (filter, is_chosen) in [(one, false), (all(), true)] {
            let mut seen = seen(Outcome::NotIp, known::NOTHING);
            // What an earlier packet left there.
            let source = address_words(IpAddr::from([192, 0, 2, 1]));
            assert_eq!(filter.chooses(&mut seen, source, 0), is_chosen);
        }
    }

    #[test]
    fn no_more_lines_are_written_than_the_reader_lets() {
        let mut seen = seen(Outcome::Positive, known::QUESTION);
        let mut written = 0;
        for most in [0, 3, 3, 5] {
            let filter = Filter { most, ..all() };
            written += (0..10).filter(|_| filter.chooses(&mut seen, [0; 2], 0)).count();
            assert_eq!(written as u64, most);
        }
        assert_eq!([seen.chosen, seen.written], [40, 5]);
    }

    #[test]
    fn of_a_sample_the_first_is_chosen_and_then_each_nth() {
        for sample in [0, 1, 2, 3, 7, 100] {
            let filter = Filter { sample, ..all() };
            let mut seen = seen(Outcome::Positive, known::QUESTION);
            for turn in 0..300 {
                let is_chosen = filter.chooses(&mut seen, [0; 2], 0);
                assert_eq!(is_chosen, turn % sample.max(1) == 0, "{turn} of {sample}");
            }
            assert_eq!(seen.matched, 300);
            assert_eq!(seen.chosen, 300_u64.div_ceil(sample.max(1).into()));
        }
    }
}
