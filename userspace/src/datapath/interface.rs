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
    pub xdp: Option<Attached>,
}

/// An XDP program on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
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
    let Ok(interfaces) = if_nameindex() else { return "none that can be listed".into() };
    let names = interfaces.iter().map(|one| one.name().to_string_lossy().into_owned());
    names.collect::<Vec<_>>().join(", ")
}

/// Octets of what describes a link (struct ifinfomsg).
const LINK: usize = 16;

/// Attributes of a link (linux/if_link.h).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;

/// Asks for one link (RTM_GETLINK).
pub(super) fn link(index: u32) -> io::Result<Link> {
    read(&ask(index)?).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, CUT_OFF))
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
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Its hardware type (linux/if_arp.h).
    hardware: u16,
    name: String,
    pub(super) kind: String,
    mac: Option<[u8; 6]>,
    xdp: Option<Attached>,
    /// The largest packet without its Ethernet header, in octets.
    pub(super) mtu: u32,
    /// The number of the bridge or bond that it is a port of.
    pub(super) master: Option<u32>,
    /// The bus that its hardware is on, and its name there.
    pub(super) bus: String,
    pub(super) parent: String,
}

/// Reads the body of a message about a link; `None` if it is cut off.
fn read(message: &[u8]) -> Option<Link> {
    let header = message.get(..LINK)?;
    let hardware = u16::from_ne_bytes([header[2], header[3]]);
    let mut link = Link { hardware, ..Link::default() };
    for (attribute, value) in attributes(&message[LINK..]) {
        match attribute {
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = word(value, 0)?,
            IFLA_MASTER => link.master = word(value, 0),
            IFLA_PARENT_DEV_NAME => link.parent = text(value),
            IFLA_PARENT_DEV_BUS_NAME => link.bus = text(value),
            IFLA_LINKINFO => {
                let found = attributes(value).find(|(attribute, _)| *attribute == IFLA_INFO_KIND);
                link.kind = found.map(|(_, value)| text(value)).unwrap_or_default();
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
                link.xdp = mode.map(|mode| Attached { id, mode });
            }
            _ => {}
        }
    }
    Some(link)
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
    fn messages_that_are_cut_off_do_no_harm() {
        let message = ask(if_nametoindex("lo").unwrap()).unwrap();
        assert!(read(&message).is_some());
        for len in 0..message.len() {
            assert_eq!(read(&message[..len]).is_some(), len >= LINK);
        }
    }
}
