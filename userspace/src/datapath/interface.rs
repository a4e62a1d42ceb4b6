//! Network interfaces as rtnetlink tells of them (rtnetlink(7)).
//!
//! Not from /sys: that shows the network namespace it was mounted in, which need not be ours.

use std::io;

use nix::errno::Errno;
use nix::net::if_::{if_nameindex, if_nametoindex};
use nix::sys::socket::SockProtocol;

use super::netlink::{self, attributes, text, word};
use crate::config::XdpMode;

/// An Ethernet interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// What kind of virtual device it is ("veth", "bridge"); empty for a network card.
    pub kind: String,
    /// The XDP program that is attached to it, whoever did that.
    pub xdp: Option<AttachedProgram>,
}

/// An XDP program on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachedProgram {
    /// The program's id, as `bpftool prog show id` takes it; 0 if the kernel does not say.
    pub id: u32,
    /// How it is attached.
    pub mode: XdpMode,
}

/// Why an interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// There is none of this name.
    #[error("there is no network interface \"{name}\" here; there are: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// It has no MAC address to be asked by.
    #[error("{0} is not an Ethernet interface: XDP answers only Ethernet frames")]
    NotEthernet(String),
    /// The kernel did not tell.
    #[error("asking the kernel about the interface {name}: {source}")]
    Ask {
        /// The name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Interface {
    /// Looks up an interface of this network namespace.
    pub fn find(name: &str) -> Result<Interface, InterfaceError> {
        let index = if_nametoindex(name).map_err(|errno| match errno {
            Errno::ENODEV | Errno::ENXIO | Errno::ENAMETOOLONG => {
                InterfaceError::Unknown { name: name.to_owned(), known: known() }
            }
            errno => InterfaceError::Ask { name: name.to_owned(), source: errno.into() },
        })?;
        let unknown = || InterfaceError::Unknown { name: name.to_owned(), known: known() };
        Interface::at(index, name)?.ok_or_else(unknown)
    }

    /// Looks up an interface by its number, which stays when it is renamed; `None` if it is gone.
    /// `name` is what it was called last, for errors.
    pub fn at(index: u32, name: &str) -> Result<Option<Interface>, InterfaceError> {
        let cannot_ask = |source| InterfaceError::Ask { name: name.to_owned(), source };
        let link = match link(index) {
            Ok(link) => link,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            Err(error) => return Err(cannot_ask(error)),
        };
        match link.mac {
            Some(mac) if link.hardware == libc::ARPHRD_ETHER => {
                Ok(Some(Interface { name: link.name, index, mac, kind: link.kind, xdp: link.xdp }))
            }
            _ => Err(InterfaceError::NotEthernet(name.to_owned())),
        }
    }
}

/// The names of all interfaces, for an error message.
fn known() -> String {
    let Ok(interfaces) = if_nameindex() else {
        return "unknown, since they cannot be listed".into();
    };
    let names = interfaces.iter().map(|one| one.name().to_string_lossy().into_owned());
    names.collect::<Vec<_>>().join(", ")
}

/// Octets of what describes a link (struct ifinfomsg).
const LINK: usize = 16;

/// Attributes of a link (linux/if_link.h).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_STATS64: u16 = 23;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;

/// Asks for one link (RTM_GETLINK).
pub(super) fn link(index: u32) -> io::Result<Link> {
    read(&ask(index)?).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, CUT_OFF))
}

/// Packets that a device has received and sent.
pub(super) fn packets(index: u32) -> io::Result<[u64; 2]> {
    link(index).map(|link| link.packets)
}

/// Asks for all links of this network namespace.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let (ask, told) = (libc::RTM_GETLINK, libc::RTM_NEWLINK);
    let links = netlink::ask_all(SockProtocol::NetlinkRoute, ask, told, &[0; LINK])?;
    Ok(links.iter().filter_map(|link| read(link)).collect())
}

const CUT_OFF: &str = "an answer that is cut off";

fn ask(index: u32) -> io::Result<Vec<u8>> {
    let mut request = [0; LINK];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    let reply = netlink::ask(SockProtocol::NetlinkRoute, libc::RTM_GETLINK, &request)?;
    match reply.kind {
        libc::RTM_NEWLINK => Ok(reply.body),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer of another kind")),
    }
}

/// What a message says of a link.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    /// The kernel's number for it.
    pub(super) index: u32,
    /// Its hardware type (linux/if_arp.h).
    hardware: u16,
    pub(super) name: String,
    pub(super) kind: String,
    mac: Option<[u8; 6]>,
    xdp: Option<AttachedProgram>,
    /// The largest packet without its Ethernet header, in octets.
    pub(super) mtu: u32,
    /// The number of the bridge or bond that it is a port of.
    pub(super) master: Option<u32>,
    /// The number of the device that a VLAN device lies on, if that is in the same network namespace; of a veth,
    /// its peer.
    pub(super) lower: Option<u32>,
    /// Whether it is a bridge that keeps VLANs apart.
    pub(super) filters_vlans: bool,
    /// Packets received and sent, as all drivers count them.
    pub(super) packets: [u64; 2],
    /// The bus that its hardware is on, and its name there.
    pub(super) bus: String,
    pub(super) parent: String,
}

/// Reads the body of a message about a link; `None` if it is cut off.
fn read(message: &[u8]) -> Option<Link> {
    let header = message.get(..LINK)?;
    let hardware = u16::from_ne_bytes([header[2], header[3]]);
    let index = word(header, 4)?;
    let mut link = Link { index, hardware, ..Link::default() };
    let mut is_lower_elsewhere = false;
    for (attribute, value) in attributes(&message[LINK..]) {
        match attribute {
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = word(value, 0)?,
            IFLA_MASTER => link.master = word(value, 0),
            IFLA_LINK => link.lower = word(value, 0),
            IFLA_LINK_NETNSID => is_lower_elsewhere = true,
            // struct rtnl_link_stats64 begins with these two.
            IFLA_STATS64 => link.packets = [long(value, 0), long(value, 8)],
            IFLA_PARENT_DEV_NAME => link.parent = text(value),
            IFLA_PARENT_DEV_BUS_NAME => link.bus = text(value),
            IFLA_LINKINFO => {
                let found = attributes(value).find(|(attribute, _)| *attribute == IFLA_INFO_KIND);
                link.kind = found.map(|(_, value)| text(value)).unwrap_or_default();
                let data = attributes(value).find(|(attribute, _)| *attribute == IFLA_INFO_DATA);
                let data = data.map(|(_, value)| value).unwrap_or_default();
                link.filters_vlans = link.kind == "bridge"
                    && attributes(data).any(|(attribute, value)| {
                        attribute == IFLA_BR_VLAN_FILTERING && value == [1]
                    });
            }
            IFLA_XDP => {
                let (mut mode, mut id) = (None, 0);
                for (attribute, value) in attributes(value) {
                    match attribute {
                        // XDP_ATTACHED_NONE is 0, XDP_ATTACHED_SKB is 2.
                        IFLA_XDP_ATTACHED => {
                            mode = match value.first() {
                                None | Some(0) => None,
                                Some(2) => Some(XdpMode::Generic),
                                Some(_) => Some(XdpMode::Native),
                            };
                        }
                        IFLA_XDP_PROG_ID => id = word(value, 0)?,
                        _ => {}
                    }
                }
                link.xdp = mode.map(|mode| AttachedProgram { id, mode });
            }
            _ => {}
        }
    }
    if is_lower_elsewhere {
        link.lower = None;
    }
    Some(link)
}

/// 64 bits at an offset; 0 if they are not there.
fn long(octets: &[u8], at: usize) -> u64 {
    let found = octets.get(at..).and_then(|octets| octets.first_chunk().copied());
    found.map_or(0, u64::from_ne_bytes)
}

/// The names of the devices on which packets with VLAN tags come that a device receives: VLAN devices on it or on
/// a bridge or bond that it is a port of, and such bridges that keep VLANs apart. Those in other network
/// namespaces are not seen.
pub(super) fn taggers(index: u32, links: &[Link]) -> Vec<String> {
    let mut carriers = vec![index];
    while let Some(master) = links
        .iter()
        .find(|link| Some(&link.index) == carriers.last())
        .and_then(|link| link.master.filter(|master| !carriers.contains(master)))
    {
        carriers.push(master);
    }
    let lies_on_one = |link: &&Link| link.lower.is_some_and(|lower| carriers.contains(&lower));
    let vlans = links.iter().filter(|link| link.kind == "vlan").filter(lies_on_one);
    let bridges = links.iter().filter(|link| link.filters_vlans && carriers.contains(&link.index));
    vlans.chain(bridges).map(|link| link.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_that_do_not_exist_are_said_with_those_that_do() {
        let error = Interface::find("qqq0").unwrap_err().to_string();
        assert!(error.starts_with("there is no network interface \"qqq0\" here; there are: lo"));
        let error = Interface::find("a-name-longer-than-fits").unwrap_err().to_string();
        assert!(error.contains("there are: lo"), "{error}");
    }

    #[test]
    fn the_loopback_is_no_ethernet() {
        let error = Interface::find("lo").unwrap_err().to_string();
        assert_eq!(error, "lo is not an Ethernet interface: XDP answers only Ethernet frames");
    }

    #[test]
    fn all_links_are_told_of() {
        let links = links().unwrap();
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let known = if_nameindex().unwrap();
        let known: Vec<_> = known.iter().map(|one| one.name().to_str().unwrap()).collect();
        assert_eq!(names, known);
    }

    #[test]
    fn vlans_are_found_on_a_device_and_on_what_it_is_a_port_of() {
        let link = |index, name: &str, kind: &str| Link {
            index,
            name: name.into(),
            kind: kind.into(),
            ..Link::default()
        };
        let on = |lower, link: Link| Link { lower: Some(lower), ..link };
        let port = |master, link: Link| Link { master: Some(master), ..link };
        let links = [
            port(3, link(1, "eth0", "")),
            link(2, "eth1", ""),
            Link { filters_vlans: true, ..link(3, "bridge", "bridge") },
            on(1, link(4, "eth0.5", "vlan")),
            on(3, link(5, "bridge.6", "vlan")),
            // Another's VLAN; a device on this one that is no VLAN; one whose lower device is elsewhere.
            on(2, link(6, "eth1.5", "vlan")),
            on(1, link(7, "macvlan0", "macvlan")),
            link(8, "far.5", "vlan"),
        ];
        assert_eq!(taggers(1, &links), ["eth0.5", "bridge.6", "bridge"]);
        assert_eq!(taggers(2, &links), ["eth1.5"]);
        assert_eq!(taggers(9, &links), [""; 0]);
        // Ports of each other, which the kernel does not make.
        assert_eq!(taggers(1, &[port(2, link(1, "a", "")), port(1, link(2, "b", ""))]), [""; 0]);
    }

    #[test]
    fn messages_that_are_cut_off_do_no_harm() {
        let message = ask(if_nametoindex("lo").unwrap()).unwrap();
        assert!(read(&message).is_some());
        for len in 0..message.len() {
            assert_eq!(read(&message[..len]).is_some(), len >= LINK);
        }
    }
}
