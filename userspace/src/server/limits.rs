//! What is limited, exempt and blocked, as an operator says it: one value for XDP and the sockets.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::IpNet;
use xdp_common::limit::Policy;
use xdp_common::limit::netblock::MAPPED_BITS;
use xdp_common::limit::policy::MAX_POLICIES;
use xdp_common::maps::{MAX_NAMES, MAX_PREFIXES};

use crate::zone::Name;

/// All that the limiters are told. A change makes a new value, which takes the place of the old one whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The default policy.
    pub policy: Policy,
    /// Policies of names and what is below them, mostly zones; the longest name counts.
    pub overrides: BTreeMap<Name, Policy>,
    /// Prefixes that are not limited (but may be blocked), with when that ends.
    pub exempt: BTreeMap<IpNet, Until>,
    /// Prefixes from which queries are dropped.
    pub block: BTreeMap<IpNet, Block>,
    /// Names for which, and for what is below them, queries are dropped.
    pub block_names: BTreeMap<Name, Block>,
}

/// The second since 1970 from which on something does not count any more; 0 for never.
pub type Until = u64;

/// A block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// When it ends.
    pub until: Until,
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
#[error("{count} {what}, and {most} is the most")]
pub struct TooMany {
    what: &'static str,
    count: usize,
    most: usize,
}

impl Limits {
    /// Sees that there is room for all.
    pub fn check(&self) -> Result<(), TooMany> {
        // One place is the default policy's.
        let names = self.overrides.len() + self.block_names.len();
        for (what, count, most) in [
            ("policies of zones", self.overrides.len(), MAX_POLICIES - 1),
            ("exempt prefixes", self.exempt.len(), MAX_PREFIXES as usize),
            ("blocked prefixes", self.block.len(), MAX_PREFIXES as usize),
            ("names with a policy or blocked", names, MAX_NAMES as usize),
        ] {
            if count > most {
                return Err(TooMany { what, count, most });
            }
        }
        Ok(())
    }
}
