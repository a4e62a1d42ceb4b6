//! Network interfaces as rtnetlink tells of them (rtnetlink(7)).
//!
//! Not from /sys: that shows the network namespace it was mounted in, which need not be ours.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::net::if_::{if_nameindex, if_nametoindex};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

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
        let reply = match ask(index) {
            Ok(reply) => reply,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            Err(error) => return Err(cannot_ask(error)),
        };
        let link = read(&reply).ok_or_else(|| {
            cannot_ask(io::Error::new(io::ErrorKind::InvalidData, "an answer that is cut off"))
        })?;
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

/// Octets of a netlink header, of what describes a link, and of an attribute's header.
const HEADER: usize = 16;
const LINK: usize = 16;
const ATTRIBUTE: usize = 4;

/// Attributes of a link (linux/if_link.h).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// Flags beside the number of an attribute's type.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Asks for one link (RTM_GETLINK); gives the message that answers.
fn ask(index: u32) -> io::Result<Vec<u8>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let mut request = [0; HEADER + LINK];
    request[..4].copy_from_slice(&((HEADER + LINK) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request[HEADER + 4..HEADER + 8].copy_from_slice(&index.to_ne_bytes());
    sendto(socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    // The kernel's own limit for a message about a link is below this.
    let mut reply = vec![0; 1 << 16];
    let len = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    reply.truncate(len);
    let kind = reply.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    match kind {
        Some(libc::RTM_NEWLINK) => Ok(reply),
        // An error is a negative errno (struct nlmsgerr).
        Some(kind) if kind == libc::NLMSG_ERROR as u16 => {
            let errno = word(&reply, HEADER).map_or(0, |errno| (errno as i32).wrapping_neg());
            Err(io::Error::from_raw_os_error(errno))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer of another kind")),
    }
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..)?.first_chunk().copied()?))
}

/// What a message says of a link.
#[derive(Debug)]
struct Link {
    /// Its hardware type (linux/if_arp.h).
    hardware: u16,
    name: String,
    kind: String,
    mac: Option<[u8; 6]>,
    xdp: Option<Attached>,
}

/// Reads a message about a link; `None` if it is cut off.
fn read(message: &[u8]) -> Option<Link> {
    let link = message.get(HEADER..HEADER + LINK)?;
    let hardware = u16::from_ne_bytes([link[2], link[3]]);
    let (mut name, mut kind, mut mac, mut xdp) = (String::new(), String::new(), None, None);
    for (attribute, value) in attributes(&message[HEADER + LINK..]) {
        match attribute {
            IFLA_ADDRESS => mac = value.try_into().ok(),
            IFLA_IFNAME => name = text(value),
            IFLA_LINKINFO => {
                let found = attributes(value).find(|(attribute, _)| *attribute == IFLA_INFO_KIND);
                kind = found.map(|(_, value)| text(value)).unwrap_or_default();
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
                xdp = mode.map(|mode| Attached { id, mode });
            }
            _ => {}
        }
    }
    Some(Link { hardware, name, kind, mac, xdp })
}

/// A string that may end in a zero.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}

/// The attributes in a run of them, up to one that is cut off.
fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header: [u8; ATTRIBUTE] = *octets.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let attribute = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
        let value = octets.get(ATTRIBUTE..len)?;
        octets = octets.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((attribute, value))
    })
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
            assert_eq!(read(&message[..len]).is_some(), len >= HEADER + LINK);
        }
    }
}
