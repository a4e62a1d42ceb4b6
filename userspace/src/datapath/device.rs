//! What the kernel tells of a device that matters to XDP; nothing is tried, and nothing is changed.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::interface;
use super::netlink::{ask_family, attribute, attributes, nest, text, word};

/// Requests and attributes of the family "ethtool" (linux/ethtool_netlink.h).
const FEATURES_GET: u8 = 11;
const FLAGS_GET: u8 = 13;
const CHANNELS_GET: u8 = 17;
const FLAGS: u16 = 2;
const HEADER: u16 = 1;
const HEADER_INDEX: u16 = 1;
const FEATURES_CHANGEABLE: u16 = 2;
const FEATURES_ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;
const CHANNELS_RX_MAX: u16 = 2;
const CHANNELS_COMBINED_MAX: u16 = 5;
const CHANNELS_RX: u16 = 6;
const CHANNELS_COMBINED: u16 = 9;

/// Requests and attributes of the family "netdev" (linux/netdev.h), since Linux 6.3.
const DEVICE_GET: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_XDP: u16 = 3;
/// Native XDP; frames in several buffers.
const XDP_BASIC: u64 = 1;
const XDP_FRAGMENTS: u64 = 32;

/// A device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Device {
    /// What kind of virtual device it is ("veth", "bridge"); empty for a network card.
    pub kind: String,
    /// The driver of a network card; the kind of a virtual device.
    pub driver: String,
    /// The largest packet without its Ethernet header, in octets.
    pub mtu: u32,
    /// Whether it is a port of a bridge or bond.
    pub is_port: bool,
    /// Whether the driver runs XDP; `None` if the kernel does not say (before Linux 6.3).
    pub native: Option<bool>,
    /// Whether its XDP takes frames in several buffers.
    pub fragments: Option<bool>,
    /// Receive queues now and at most; `None` if it has no such thing.
    pub queues: Option<(u32, u32)>,
    /// Whether the driver receives in the older way, without room in front of a packet (the private flag
    /// "legacy-rx" of Intel's drivers).
    pub legacy_rx: bool,
    /// The VLAN devices on it, and bridges that keep VLANs apart that it is a port of.
    pub vlans: Vec<String>,
    /// The offloads that are on, by the names that `ethtool -k` knows them by in the kernel.
    #[serde(skip)]
    pub offloads: BTreeSet<String>,
    /// Those that cannot be changed from here.
    #[serde(skip)]
    pub fixed: BTreeSet<String>,
}

impl Device {
    /// Asks for one by its number.
    pub fn at(index: u32) -> io::Result<Device> {
        let link = interface::link(index)?;
        let driver = if link.kind.is_empty() {
            driver(&link.bus, &link.parent).unwrap_or_default()
        } else {
            link.kind.clone()
        };
        // What a kernel or driver does not tell is not known, and no error.
        let xdp = xdp_features(index).ok();
        let (offloads, fixed) = offloads(index).unwrap_or_default();
        let links = interface::links().unwrap_or_default();
        Ok(Device {
            kind: link.kind,
            driver,
            mtu: link.mtu,
            is_port: link.master.is_some(),
            native: xdp.map(|features| features & XDP_BASIC != 0),
            fragments: xdp.map(|features| features & XDP_FRAGMENTS != 0),
            queues: queues(index).ok().flatten(),
            legacy_rx: flags(index).unwrap_or_default().contains(LEGACY_RX),
            vlans: interface::taggers(index, &links),
            offloads,
            fixed,
        })
    }
}

const LEGACY_RX: &str = "legacy-rx";

/// The driver of hardware on a bus. These folders of /sys are the same in all network namespaces.
fn driver(bus: &str, parent: &str) -> Option<String> {
    let is_name = |name: &str| !name.is_empty() && !name.contains('/');
    if !is_name(bus) || !is_name(parent) {
        return None;
    }
    let link = Path::new("/sys/bus").join(bus).join("devices").join(parent).join("driver");
    Some(std::fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

fn xdp_features(index: u32) -> io::Result<u64> {
    let reply = ask_family("netdev", DEVICE_GET, &attribute(DEVICE_INDEX, &index.to_ne_bytes()))?;
    let found = attributes(&reply).find(|(attribute, _)| *attribute == DEVICE_XDP);
    let features = found.and_then(|(_, value)| Some(u64::from_ne_bytes(value.try_into().ok()?)));
    features.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn ask_ethtool(command: u8, index: u32) -> io::Result<Vec<u8>> {
    let device = attribute(HEADER_INDEX, &index.to_ne_bytes());
    ask_family("ethtool", command, &nest(HEADER, &device))
}

fn queues(index: u32) -> io::Result<Option<(u32, u32)>> {
    let reply = ask_ethtool(CHANNELS_GET, index)?;
    let sum = |kinds: [u16; 2]| -> u32 {
        let counts = attributes(&reply).filter(|(attribute, _)| kinds.contains(attribute));
        counts.filter_map(|(_, value)| word(value, 0)).sum()
    };
    let most = sum([CHANNELS_RX_MAX, CHANNELS_COMBINED_MAX]);
    Ok((most > 0).then(|| (sum([CHANNELS_RX, CHANNELS_COMBINED]), most)))
}

/// The offloads that are on, and those of them that cannot be changed.
fn offloads(index: u32) -> io::Result<(BTreeSet<String>, BTreeSet<String>)> {
    let reply = ask_ethtool(FEATURES_GET, index)?;
    let active: BTreeSet<String> =
        bits(&reply, FEATURES_ACTIVE).map(|bit| text(inside(bit, BIT_NAME))).collect();
    // This set names all that there are, and marks those that it holds.
    let changeable = marked(&reply, FEATURES_CHANGEABLE);
    let fixed = active.difference(&changeable).cloned().collect();
    Ok((active, fixed))
}

/// The flags of the driver's own that are on.
fn flags(index: u32) -> io::Result<BTreeSet<String>> {
    Ok(marked(&ask_ethtool(FLAGS_GET, index)?, FLAGS))
}

/// The names of the bits that a set holds, of those that it names.
fn marked(reply: &[u8], set: u16) -> BTreeSet<String> {
    let is_marked = |bit: &&[u8]| attributes(bit).any(|(attribute, _)| attribute == BIT_VALUE);
    bits(reply, set).filter(is_marked).map(|bit| text(inside(bit, BIT_NAME))).collect()
}

/// What is said of each bit that a set names.
fn bits(reply: &[u8], set: u16) -> impl Iterator<Item = &[u8]> {
    attributes(inside(inside(reply, set), BITSET_BITS)).map(|(_, bit)| bit)
}

/// The value of an attribute; nothing if it is not there.
fn inside(octets: &[u8], kind: u16) -> &[u8] {
    let found = attributes(octets).find(|(attribute, _)| *attribute == kind);
    found.map(|(_, value)| value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_are_on_are_told_from_those_that_there_are() {
        // What ethtool_netlink.h says of ETHTOOL_A_BITSET_BITS with a mask: each bit has its number and name,
        // and is marked if it is on.
        let bit = |number: u32, name: &str, is_on: bool| {
            let mut bit = attribute(1, &number.to_ne_bytes());
            bit.extend(attribute(BIT_NAME, &[name.as_bytes(), b"\0"].concat()));
            if is_on {
                bit.extend(attribute(BIT_VALUE, &[]));
            }
            nest(1, &bit)
        };
        let reply = |is_on| {
            let bits = [bit(0, "legacy-rx", is_on), bit(1, "other", true)].concat();
            [nest(HEADER, &[]), nest(FLAGS, &nest(BITSET_BITS, &bits))].concat()
        };
        assert!(marked(&reply(true), FLAGS).contains(LEGACY_RX));
        assert!(!marked(&reply(false), FLAGS).contains(LEGACY_RX));
        assert!(marked(&reply(false), FLAGS).contains("other"));
    }

    #[test]
    fn the_loopback_is_described() {
        let index = nix::net::if_::if_nametoindex("lo").unwrap();
        let device = Device::at(index).unwrap();
        assert_eq!(device.mtu, 65536);
        assert!(!device.is_port && device.driver.is_empty(), "{device:?}");
        assert!(device.offloads.contains("rx-checksum"), "{device:?}");
        assert!(device.fixed.contains("rx-checksum"), "{device:?}");
        // Either may be switched, and so is not fixed.
        assert!(!device.fixed.contains("rx-gro"), "{device:?}");
        assert_ne!(device.native, Some(true));
    }
}
