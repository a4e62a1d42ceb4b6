//! What is limited, exempt and blocked, as an operator says it: one value for XDP and the sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use xdp_common::limit::list::flag;
use xdp_common::limit::netblock::MAPPED_BITS;
use xdp_common::limit::policy::MAX_POLICIES;
use xdp_common::limit::{ListEntry, Mode, Netblock, Policy};
use xdp_common::maps::{MAX_NAMES, MAX_PREFIXES, limits};

use crate::zone::Name;

/// All that the limiters are told. A change makes a new value, which takes the place of the old one whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The default policy.
    pub policy: Policy,
    /// Policies of names and what is below them, mostly zones; the longest name counts.
    pub overrides: BTreeMap<Name, Policy>,
    /// Prefixes that are not limited (but may be blocked), with when that ends.
    pub exempt: BTreeMap<IpNet, EndSecond>,
    /// Prefixes from which queries are dropped.
    pub block: BTreeMap<IpNet, Block>,
    /// Names for which, and for what is below them, queries are dropped.
    pub block_names: BTreeMap<Name, Block>,
}

/// The second since 1970 from which on something does not count any more; 0 for never.
pub type EndSecond = u64;

/// A block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// When it ends.
    pub until: EndSecond,
    /// Whether it is only counted.
    pub dry_run: bool,
}

/// A netblock as the limiters have it, as an operator writes it. `prefix` is in bits, as IPv6.
pub fn net(netblock: [u64; 2], prefix: u32) -> Option<IpNet> {
    let octets: [u8; 16] = std::array::from_fn(|at| netblock[at / 8].to_ne_bytes()[at % 8]);
    let address = Ipv6Addr::from(octets);
    match address.to_ipv4_mapped() {
        Some(address) if prefix >= MAPPED_BITS => {
            IpNet::new(address.into(), (prefix - MAPPED_BITS) as u8).ok()
        }
        _ => IpNet::new(address.into(), u8::try_from(prefix).ok()?).ok(),
    }
}

/// More than there is room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} {what}: there is room for {most}")]
pub struct TooManyEntries {
    what: &'static str,
    count: usize,
    most: usize,
}

impl Limits {
    /// Sees that there is room for all.
    pub fn check(&self) -> Result<(), TooManyEntries> {
        // One place is the default policy's.
        let names = self.overrides.len() + self.block_names.len();
        for (what, count, most) in [
            ("policies of zones", self.overrides.len(), MAX_POLICIES - 1),
            ("exempt prefixes", self.exempt.len(), MAX_PREFIXES as usize),
            ("blocked prefixes", self.block.len(), MAX_PREFIXES as usize),
            ("names with a policy or blocked", names, MAX_NAMES as usize),
        ] {
            if count > most {
                return Err(TooManyEntries { what, count, most });
            }
        }
        Ok(())
    }

    /// What there is to look at: bits of [`limits`].
    pub fn bits(&self) -> u32 {
        let policies = || [&self.policy].into_iter().chain(self.overrides.values());
        let is_limiting = policies().any(|policy| policy.mode != Mode::Off as u32);
        let has_totals = self.policy.mode != Mode::Off as u32 && self.policy.total != 0;
        let weighs = policies().any(|policy| policy.amplification != 0);
        let has_names = !self.overrides.is_empty() || !self.block_names.is_empty();
        let mut bits = 0;
        for (bit, is_there) in [
            (limits::RATES, is_limiting),
            (limits::BLOCK, !self.block.is_empty()),
            (limits::EXEMPT, !self.exempt.is_empty()),
            (limits::NAMES, has_names),
            (limits::TOTALS, has_totals),
            (limits::AMPLIFICATION, weighs),
        ] {
            bits |= if is_there { bit } else { 0 };
        }
        bits
    }

    /// The exempt prefixes.
    pub fn exempt_prefixes(&self) -> Prefixes {
        let entry = |until: &EndSecond| ListEntry { expires_s: *until, ..ListEntry::default() };
        self.exempt.iter().map(|(net, until)| (prefix(*net), entry(until))).collect()
    }

    /// The blocked prefixes.
    pub fn blocked_prefixes(&self) -> Prefixes {
        self.block.iter().map(|(net, block)| (prefix(*net), block.entry())).collect()
    }
}

impl Block {
    /// As lists have it.
    pub fn entry(self) -> ListEntry {
        let flags = flag::BLOCK | if self.dry_run { flag::DRY_RUN } else { 0 };
        ListEntry { expires_s: self.until, flags, reserved: 0 }
    }
}

/// Prefixes as the limiters have them: length in bits as IPv6, and octets.
pub type Prefixes = BTreeMap<(u32, [u8; 16]), ListEntry>;

fn prefix(net: IpNet) -> (u32, [u8; 16]) {
    match net.network() {
        IpAddr::V4(address) => {
            (u32::from(net.prefix_len()) + MAPPED_BITS, address.to_ipv6_mapped().octets())
        }
        IpAddr::V6(address) => (u32::from(net.prefix_len()), address.octets()),
    }
}

/// The longest of some prefixes that an address (as IPv6, as it lies in memory) has.
pub fn longest(prefixes: &Prefixes, address: [u64; 2]) -> Option<ListEntry> {
    // From one length that there is to the next shorter one.
    let mut end = 129;
    while let Some((&(length, _), _)) = prefixes.range(..(end, [0; 16])).next_back() {
        let key = Netblock::of(address, length);
        if let Some(entry) = prefixes.get(&(length, key.address)) {
            return Some(*entry);
        }
        end = length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use xdp_common::maps::address_words;

    #[test]
    fn the_longest_prefix_is_found() {
        let mut limits = Limits::default();
        for (until, net) in [
            (1, "192.0.2.0/24"),
            (2, "192.0.2.128/25"),
            (3, "192.0.2.200/32"),
            (4, "0.0.0.0/0"),
            (5, "2001:db8::/32"),
        ] {
            limits.exempt.insert(net.parse().unwrap(), until);
        }
        let prefixes = limits.exempt_prefixes();
        for (address, until) in [
            ("192.0.2.1", Some(1)),
            ("192.0.2.129", Some(2)),
            ("192.0.2.200", Some(3)),
            ("198.51.100.1", Some(4)),
            ("2001:db8:1::1", Some(5)),
            ("2001:db9::1", None),
        ] {
            let found = longest(&prefixes, address_words(address.parse().unwrap()));
            assert_eq!(found.map(|entry| entry.expires_s), until, "{address}");
        }
    }

    #[test]
    fn there_is_no_room_for_more_policies_than_places() {
        let mut limits = Limits::default();
        for number in 0..MAX_POLICIES as u8 {
            limits.check().unwrap();
            let name = Name::from_wire(&[1, b'a' + number, 0]).unwrap();
            limits.overrides.insert(name, Policy::new());
        }
        let error = limits.check().unwrap_err().to_string();
        assert_eq!(error, "32 policies of zones: there is room for 31");
    }
}
