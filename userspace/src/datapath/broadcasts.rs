//! Broadcast addresses of the IPv4 subnets that this machine is in. No datagram comes from one (RFC 1122
//! section 3.2.1.3), and the network stack drops what claims to.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;
use xdp_common::maps::{Config, MAX_BROADCASTS, broadcast_word};

/// Brings [`Config::broadcasts`] up to date. If there are too many, those of `interfaces` are told first, and
/// what is left out is logged when it changes.
pub fn set(config: &mut Config, interfaces: &[&str]) {
    match Broadcasts::known(interfaces) {
        Ok(known) if known.words == config.broadcasts => {}
        Ok(known) => {
            config.set_broadcasts(known.words);
            if known.left_out > 0 {
                tracing::warn!(
                    "this machine is in more than {MAX_BROADCASTS} IPv4 subnets: queries that claim to come from \
                     the broadcast addresses of {} of them are answered by XDP",
                    known.left_out
                );
            }
        }
        Err(error) => {
            tracing::warn!(
                "the broadcast addresses of this machine's subnets cannot be read: {error}"
            )
        }
    }
}

/// Broadcast addresses, as the programs want them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Broadcasts {
    words: [u64; MAX_BROADCASTS],
    /// How many there was no place for.
    left_out: usize,
}

impl Broadcasts {
    /// Those of all interfaces of this network namespace, those of `interfaces` first.
    fn known(interfaces: &[&str]) -> io::Result<Broadcasts> {
        let (mut first, mut others) = (BTreeSet::new(), BTreeSet::new());
        for one in getifaddrs()? {
            let is_ours = interfaces.contains(&one.interface_name.as_str());
            (if is_ours { &mut first } else { &mut others }).extend(of(&one));
        }
        others.retain(|one| !first.contains(one));
        Ok(Broadcasts::list(first.into_iter().chain(others)))
    }

    fn list(addresses: impl Iterator<Item = Ipv4Addr>) -> Broadcasts {
        let mut broadcasts = Broadcasts::default();
        let mut places = broadcasts.words.iter_mut();
        for address in addresses {
            match places.next() {
                Some(place) => *place = broadcast_word(address),
                None => broadcasts.left_out += 1,
            }
        }
        broadcasts
    }
}

/// The broadcast addresses of one address of an interface: the one that it was given, and the last of its
/// subnet, as the kernel has them.
fn of(one: &InterfaceAddress) -> impl Iterator<Item = Ipv4Addr> {
    let ip = |address: &Option<SockaddrStorage>| Some(address.as_ref()?.as_sockaddr_in()?.ip());
    let (address, mask) = (ip(&one.address), ip(&one.netmask));
    let last = address.zip(mask).and_then(|(address, mask)| last_of(address, mask));
    let given = ip(&one.broadcast).filter(|given| address.is_some_and(|own| own != *given));
    // Those of this machine alone, and the one of every network, are no source anyway.
    let is_meant =
        |one: &Ipv4Addr| !one.is_loopback() && !one.is_broadcast() && !one.is_unspecified();
    last.into_iter().chain(given).filter(is_meant)
}

/// The last address of a subnet; `None` for those that have no broadcast address (RFC 3021).
fn last_of(address: Ipv4Addr, mask: Ipv4Addr) -> Option<Ipv4Addr> {
    let hosts = !mask.to_bits();
    (hosts > 1).then(|| Ipv4Addr::from_bits(address.to_bits() | hosts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_end_with_their_broadcast_address() {
        for prefix in 0..=32 {
            let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - prefix).unwrap_or(0));
            let last = last_of(Ipv4Addr::new(192, 0, 2, 77), mask);
            let expected = match prefix {
                31 | 32 => None,
                0 => Some(Ipv4Addr::BROADCAST),
                24 => Some(Ipv4Addr::new(192, 0, 2, 255)),
                26 => Some(Ipv4Addr::new(192, 0, 2, 127)),
                30 => Some(Ipv4Addr::new(192, 0, 2, 79)),
                _ => last,
            };
            assert_eq!(last, expected, "/{prefix}");
        }
    }

    #[test]
    fn what_there_is_no_place_for_is_counted() {
        let addresses = |count: u32| (1..=count).map(Ipv4Addr::from_bits);
        assert_eq!(Broadcasts::list(addresses(16)).left_out, 0);
        let more = Broadcasts::list(addresses(20));
        assert_eq!(more.left_out, 4);
        assert_eq!(more.words[15], broadcast_word(Ipv4Addr::new(0, 0, 0, 16)));
    }
}
