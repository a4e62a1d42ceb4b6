//! On which addresses of this host a server listens.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;

/// An address of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddress {
    /// The interface that has it.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
}

impl LocalAddress {
    /// All addresses that this host has now, without those of one link alone (RFC 4291 section 2.5.6): XDP answers on none of
    /// these.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn all() -> std::io::Result<Vec<LocalAddress>> {
        let mut all = Vec::new();
        for found in getifaddrs()? {
            let Some(address) = found.address else { continue };
            let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(address), _) => IpAddr::V4(address.ip()),
                (_, Some(address)) => IpAddr::V6(address.ip()),
                _ => continue,
            };
            if !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
                all.push(LocalAddress { interface: found.interface_name, address });
            }
        }
        Ok(all)
    }
}

/// Adds where a server listens that was told `address`: each of this host's addresses in the place of a wildcard.
pub(super) fn add(listens: &mut Vec<SocketAddr>, address: SocketAddr, local: &[LocalAddress]) {
    let mut push = |address| {
        if !listens.contains(&address) {
            listens.push(address);
        }
    };
    if !address.ip().is_unspecified() {
        return push(address);
    }
    let of_family = local.iter().filter(|one| one.address.is_ipv4() == address.is_ipv4());
    of_family.for_each(|one| push(SocketAddr::new(one.address, address.port())));
}

/// An address with a port behind a mark (`192.0.2.1@53`, `192.0.2.1:53`, `[2001:db8::1]:53`), or with this one.
pub(super) fn address(text: &str, mark: char, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, port));
    }
    let (address, port) = text.rsplit_once(mark)?;
    let address = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(SocketAddr::new(address, port.parse().ok()?))
}

/// Where a server that listens there is asked over loopback; if it does not listen on that, at its first address.
pub(super) fn asked_at(listens: &[SocketAddr]) -> Option<SocketAddr> {
    let loopback = listens.iter().find(|one| one.ip().is_loopback());
    loopback.or(listens.first()).copied()
}
