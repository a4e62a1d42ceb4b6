//! Questions to the kernel over netlink(7): one request, and one answer or a list of them.
//!
//! By hand, since no library makes it less code: what is asked is of three families (route, ethtool, netdev), and the
//! crates for the first two (rtnetlink, ethtool) are asynchronous and bring some forty packages, none knows the third,
//! and neli brings macros for typed messages while each of these answers is one walk over [`attributes`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// Octets of a netlink header, of a generic one (linux/genetlink.h), and of an attribute's.
const HEADER: usize = 16;
const GENERIC: usize = 4;
const ATTRIBUTE: usize = 4;

/// Larger than any answer to what is asked here.
const LARGEST: usize = 1 << 16;

/// Flags beside the number of an attribute's type, and the one of a nest.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 0x8000;

/// The family that knows the others: its number, its request, and attributes (linux/genetlink.h).
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// An answer: what kind of message, and what comes after its header.
pub struct Reply {
    /// Its type.
    pub kind: u16,
    /// What it says.
    pub body: Vec<u8>,
}

/// Sends a request, whose answers come on the socket that is returned.
fn send(protocol: SockProtocol, kind: u16, flags: i32, body: &[u8]) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    let mut request = vec![0; HEADER];
    request[..4].copy_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    request.extend(body);
    sendto(socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    Ok(socket)
}

/// Asks for all that there are of a kind: the bodies of the messages of type `answer`.
pub fn ask_all(
    protocol: SockProtocol,
    kind: u16,
    answer: u16,
    body: &[u8],
) -> io::Result<Vec<Vec<u8>>> {
    let socket = send(protocol, kind, libc::NLM_F_DUMP, body)?;
    let (mut bodies, mut room) = (Vec::new(), vec![0; LARGEST]);
    loop {
        let len = recv(socket.as_raw_fd(), &mut room, MsgFlags::empty())?;
        let mut rest = &room[..len];
        while let Some((kind, body, after)) = message(rest) {
            match kind {
                kind if kind == libc::NLMSG_DONE as u16 => return Ok(bodies),
                kind if kind == libc::NLMSG_ERROR as u16 => {
                    let errno = word(body, 0).map_or(0, |errno| (errno as i32).wrapping_neg());
                    return Err(io::Error::from_raw_os_error(errno));
                }
                kind if kind == answer => bodies.push(body.to_vec()),
                _ => {}
            }
            rest = after;
        }
        if rest.len() == len {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is cut off"));
        }
    }
}

/// The first message of several: its type, its body, and what comes behind it.
fn message(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let header = octets.get(..HEADER)?;
    let len = word(header, 0)? as usize;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    let body = octets.get(HEADER..len)?;
    Some((kind, body, octets.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

/// Sends a request, and receives the message that answers it.
pub fn ask(protocol: SockProtocol, kind: u16, body: &[u8]) -> io::Result<Reply> {
    let socket = send(protocol, kind, 0, body)?;
    let mut reply = vec![0; LARGEST];
    let len = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    reply.truncate(len);
    let Some(kind) = reply.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]])) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is cut off"));
    };
    if kind == libc::NLMSG_ERROR as u16 {
        // A negative errno (struct nlmsgerr).
        let errno = word(&reply, HEADER).map_or(0, |errno| (errno as i32).wrapping_neg());
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok(Reply { kind, body: reply.split_off(HEADER.min(len)) })
}

/// Asks a family of generic netlink, by its name; gives the attributes of the answer.
pub fn ask_family(family: &str, command: u8, attributes_of: &[u8]) -> io::Result<Vec<u8>> {
    let named = attribute(FAMILY_NAME, &[family.as_bytes(), b"\0"].concat());
    let control = ask_generic(CONTROL, GET_FAMILY, &named)?;
    let found = attributes(&control).find(|(attribute, _)| *attribute == FAMILY_ID);
    let number = found.and_then(|(_, value)| Some(u16::from_ne_bytes(value.try_into().ok()?)));
    let number = number.ok_or(io::ErrorKind::NotFound)?;
    ask_generic(number, command, attributes_of)
}

fn ask_generic(family: u16, command: u8, attributes_of: &[u8]) -> io::Result<Vec<u8>> {
    let request = [&[command, 1, 0, 0], attributes_of].concat();
    let mut reply = ask(SockProtocol::NetlinkGeneric, family, &request)?.body;
    Ok(reply.split_off(GENERIC.min(reply.len())))
}

/// An attribute, padded.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = ((ATTRIBUTE + value.len()) as u16).to_ne_bytes();
    let mut octets = [&len[..], &kind.to_ne_bytes(), value].concat();
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

/// An attribute of attributes.
pub fn nest(kind: u16, inner: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, inner)
}

/// A string that may end in a zero.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}

/// 32 bits at an offset.
pub fn word(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..)?.first_chunk().copied()?))
}

/// The attributes in a run of them, up to one that is cut off.
pub fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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
    fn of_several_messages_each_is_read_once() {
        let of = |kind: u16, body: &[u8]| {
            let len = ((HEADER + body.len()) as u32).to_ne_bytes();
            let mut octets = [&len[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
            octets.resize(octets.len().next_multiple_of(4), 0);
            octets
        };
        let octets = [of(16, b"abcde"), of(3, b"")].concat();
        let (kind, body, rest) = message(&octets).unwrap();
        assert_eq!((kind, body), (16, &b"abcde"[..]));
        assert_eq!(message(rest), Some((3, &b""[..], &b""[..])));
        // One that is cut off, or says that it is shorter than its header, is none.
        for len in 0..HEADER + 5 {
            assert_eq!(message(&octets[..len]), None, "{len}");
        }
        assert_eq!(message(&[1; HEADER]), None);
        assert_eq!(message(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
