//! The addresses that XDP answers on: those that are named, and those that its interfaces have, where sockets listen on all
//! addresses.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use xdp_common::maps::{Config, MAX_ADDRESSES, address_words};

use crate::config::{self, Families};

/// What XDP answers on, and what it had no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    named: BTreeSet<IpAddr>,
    follows: Families,
    /// Addresses of interfaces for which there was no place, when that was last said.
    left_out: usize,
}

impl Answered {
    /// As a configuration says.
    pub fn of(config: &config::Config) -> Answered {
        let named = config.xdp_addresses().into_iter().collect();
        Answered { named, follows: config.xdp_follows(), left_out: 0 }
    }

    /// How many are named.
    pub fn named(&self) -> usize {
        self.named.len()
    }

    /// Whether there can be none.
    pub fn are_none(&self) -> bool {
        self.named.is_empty() && !self.follows.any()
    }

    /// Writes those that are named.
    pub fn set_named(&self, config: &mut Config) {
        put(config, self.named.iter().copied());
    }

    /// Brings [`Config::addresses`] up to date with what these interfaces have. What there is no place for is the sockets',
    /// and is logged when that changes.
    pub fn follow(&mut self, config: &mut Config, interfaces: &[&str]) {
        if !self.follows.any() {
            return;
        }
        let found = match found_on(interfaces, self.follows) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("the addresses of interfaces cannot be read: {error}");
                return;
            }
        };
        let found: Vec<IpAddr> = found.difference(&self.named).copied().collect();
        let left_out = (self.named.len() + found.len()).saturating_sub(MAX_ADDRESSES);
        if left_out > self.left_out {
            tracing::warn!(
                "XDP can answer on {MAX_ADDRESSES} addresses: the sockets answer on {left_out} that its interfaces have \
                 beside; name those that matter most in `addresses` of [xdp]"
            );
        }
        self.left_out = left_out;
        put(config, self.named.iter().copied().chain(found));
    }
}

fn put(config: &mut Config, addresses: impl Iterator<Item = IpAddr>) {
    let mut count = 0;
    for (place, address) in config.addresses.iter_mut().zip(addresses) {
        *place = address_words(address);
        count += 1;
    }
    config.address_count = count;
}

/// The addresses of these interfaces that are good for more than one link.
fn found_on(interfaces: &[&str], families: Families) -> io::Result<BTreeSet<IpAddr>> {
    let addresses = getifaddrs()?
        .filter(|one| interfaces.contains(&one.interface_name.as_str()))
        .filter_map(|one| ip_of(one.address.as_ref()?));
    // A resolver elsewhere cannot ask at an address of one link (RFC 4007), and there are few places.
    let is_of_link = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    Ok(addresses.filter(|ip| families.include(*ip) && !is_of_link(ip)).collect())
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn answered(text: &str) -> Answered {
        let text = format!("version = \"v1\"\n[server]\n{text}\n");
        Answered::of(&config::Config::parse(&text, Path::new("sealdns.toml")).unwrap())
    }

    #[test]
    fn wildcards_stand_for_the_addresses_of_the_interfaces() {
        let mut told = Config::new();
        let mut both = answered("listen = [\"0.0.0.0:53\", \"[::]:53\", \"192.0.2.1:5353\"]");
        assert!(!both.are_none());
        both.set_named(&mut told);
        assert_eq!(told.address_count, 1);
        both.follow(&mut told, &["lo"]);
        let known = &told.addresses[..told.address_count as usize];
        for ip in ["192.0.2.1", "127.0.0.1"] {
            assert!(known.contains(&address_words(ip.parse().unwrap())), "{ip}");
        }
        // Of one family, and of no interface.
        let mut one = answered("listen = [\"[::]:53\"]");
        one.follow(&mut told, &["lo"]);
        let known = &told.addresses[..told.address_count as usize];
        assert!(!known.contains(&address_words("127.0.0.1".parse().unwrap())));
        one.follow(&mut told, &[]);
        assert_eq!(told.address_count, 0);
    }

    #[test]
    fn what_is_named_in_xdp_is_all() {
        let text = "listen = [\"0.0.0.0:53\"]\n[xdp]\naddresses = [\"192.0.2.7\"]";
        let mut told = Config::new();
        let mut named = answered(text);
        named.set_named(&mut told);
        named.follow(&mut told, &["lo"]);
        assert_eq!((told.address_count, named.named()), (1, 1));
    }
}
