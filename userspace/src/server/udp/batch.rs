//! Datagrams received and sent many at a time: recvmmsg(2), sendmmsg(2).

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
    recvmmsg, sendmmsg, sendmsg,
};

use crate::server::stats::SocketStats;

/// Datagrams of a batch. No official reference: what a call of the kernel costs is then a small part of what its datagrams
/// cost, and the last of a batch waits for the others for 0.1 ms at most.
pub(super) const BATCH: usize = 32;

/// Octets for each datagram: more than the longest has (RFC 768: a 16-bit length). Pages that nobody writes to take no
/// memory.
const DATAGRAM_ROOM: usize = 1 << 16;

/// Of what sockets the room is: the kernel writes less to what it was given for each, and what is left of it must do for
/// the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RoomKind {
    /// Bound to an IPv4 address.
    OneV4,
    /// Bound to an IPv6 address: addresses of clients are longer.
    OneV6,
    /// Bound to all IPv4 addresses.
    AnyV4,
    /// Bound to all IPv6 addresses.
    AnyV6,
}

impl RoomKind {
    /// That of a socket that is bound to this address.
    pub(super) fn of(local: SocketAddr) -> RoomKind {
        match local.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => RoomKind::AnyV4,
            IpAddr::V4(_) => RoomKind::OneV4,
            IpAddr::V6(ip) if ip.is_unspecified() => RoomKind::AnyV6,
            IpAddr::V6(_) => RoomKind::OneV6,
        }
    }

    /// Room for what is told beside a datagram.
    fn control_room(self) -> Option<Vec<u8>> {
        match self {
            RoomKind::OneV4 | RoomKind::OneV6 => None,
            RoomKind::AnyV4 => Some(nix::cmsg_space!(libc::in_pktinfo)),
            RoomKind::AnyV6 => Some(nix::cmsg_space!(libc::in6_pktinfo)),
        }
    }
}

/// The address of ours that a datagram was sent to, where the socket does not say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LocalAddress {
    ip: IpAddr,
    /// The interface, of addresses that mean something on that one alone (RFC 4007); else 0.
    interface: u32,
}

impl LocalAddress {
    /// What the kernel tells beside a datagram.
    fn of(received: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<LocalAddress> {
        received.cmsgs().ok()?.find_map(|told| match told {
            // Of a datagram to a broadcast address the one that answers it (ip(7)).
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let ip = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                Some(LocalAddress { ip: ip.into(), interface: 0 })
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                (!ip.is_multicast()).then_some(LocalAddress { ip: ip.into(), interface })
            }
            _ => None,
        })
    }
}

/// Does something with what tells the kernel from which address to send: nothing, of a socket that has one.
fn with_source<T>(
    kind: RoomKind,
    local: Option<LocalAddress>,
    send: impl FnOnce(&[ControlMessage<'_>]) -> T,
) -> T {
    let address = |default: IpAddr| local.map_or(default, |local| local.ip);
    let interface = local.map_or(0, |local| local.interface);
    let unspecified_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let unspecified_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match kind {
        RoomKind::OneV4 | RoomKind::OneV6 => send(&[]),
        RoomKind::AnyV4 => {
            let octets = match address(unspecified_v4) {
                IpAddr::V4(ip) => ip.octets(),
                IpAddr::V6(_) => [0; 4],
            };
            let source = libc::in_addr { s_addr: u32::from_ne_bytes(octets) };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        RoomKind::AnyV6 => {
            let octets = match address(unspecified_v6) {
                IpAddr::V4(_) => [0; 16],
                IpAddr::V6(ip) => ip.octets(),
            };
            let source = libc::in6_addr { s6_addr: octets };
            let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: interface };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
    }
}

/// Who has sent a datagram, and to which address.
#[derive(Clone, Copy)]
pub(super) struct Endpoints {
    client: Option<SockaddrStorage>,
    local: Option<LocalAddress>,
    kind: RoomKind,
}

impl Endpoints {
    /// Who has sent it.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        let client = self.client?;
        match (client.as_sockaddr_in(), client.as_sockaddr_in6()) {
            (Some(address), _) => Some(SocketAddr::V4((*address).into())),
            (_, Some(address)) => Some(SocketAddr::V6((*address).into())),
            _ => None,
        }
    }
}

/// A response that is to be sent by itself.
pub(super) struct Outgoing {
    /// The message.
    pub(super) octets: Vec<u8>,
    /// The way back.
    pub(super) endpoints: Endpoints,
    /// Octets of its query.
    pub(super) query_len: usize,
}

/// Sends one response.
pub(super) fn send_one(socket: &impl AsRawFd, outgoing: &Outgoing) -> io::Result<usize> {
    let Outgoing { octets, endpoints, .. } = outgoing;
    let sent = with_source(endpoints.kind, endpoints.local, |source| {
        let slices = [IoSlice::new(octets)];
        sendmsg(socket.as_raw_fd(), &slices, source, NOW, endpoints.client.as_ref())
    });
    Ok(sent?)
}

/// Nobody waits in a call of the kernel.
const NOW: MsgFlags = MsgFlags::MSG_DONTWAIT;

/// Room for the datagrams of a batch and their responses.
pub(super) struct Room {
    kind: RoomKind,
    received: MultiHeaders<SockaddrStorage>,
    sent: MultiHeaders<SockaddrStorage>,
    queries: Vec<u8>,
    /// Of each datagram that was received its octets, and between whom it came.
    datagrams: Vec<(usize, Endpoints)>,
    responses: [Vec<u8>; BATCH],
}

thread_local! {
    /// Room that a thread keeps. A socket has none for itself: a batch is received, answered and sent by one thread.
    static ROOMS: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
}

/// Does something with this thread's room for such sockets.
pub(super) fn with_room<T>(kind: RoomKind, work: impl FnOnce(&mut Room) -> T) -> T {
    ROOMS.with_borrow_mut(|rooms| {
        let known = rooms.iter().position(|room| room.kind == kind);
        let place = known.unwrap_or_else(|| {
            rooms.push(Room::new(kind));
            rooms.len() - 1
        });
        work(&mut rooms[place])
    })
}

impl Room {
    fn new(kind: RoomKind) -> Room {
        Room {
            kind,
            received: MultiHeaders::preallocate(BATCH, kind.control_room()),
            sent: MultiHeaders::preallocate(BATCH, kind.control_room()),
            queries: vec![0; BATCH * DATAGRAM_ROOM],
            datagrams: Vec::with_capacity(BATCH),
            responses: [const { Vec::new() }; BATCH],
        }
    }

    /// Receives the datagrams that wait, [`BATCH`] at most, and says how many.
    pub(super) fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        let kind = self.kind;
        self.datagrams.clear();
        let mut rooms = self.queries.chunks_exact_mut(DATAGRAM_ROOM);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let received = recvmmsg(socket.as_raw_fd(), &mut self.received, &mut slices, NOW, None)?;
        self.datagrams.extend(received.map(|one| {
            let local = LocalAddress::of(&one);
            (one.bytes, Endpoints { client: one.address, local, kind })
        }));
        Ok(self.datagrams.len())
    }

    /// A datagram that was received: its octets, between whom it came, and where its response goes. A response without
    /// octets is not sent.
    pub(super) fn datagram(&mut self, place: usize) -> (&[u8], Endpoints, &mut Vec<u8>) {
        let (len, endpoints) = self.datagrams[place];
        let start = place * DATAGRAM_ROOM;
        (&self.queries[start..start + len], endpoints, &mut self.responses[place])
    }

    /// Sends the responses to the first `count` datagrams in this second since 1970, and counts them. What the system has
    /// no room for is left in `unsent`.
    pub(super) fn send(
        &mut self,
        socket: &impl AsRawFd,
        count: usize,
        stats: &SocketStats,
        second: u32,
        unsent: &mut Vec<Outgoing>,
    ) {
        let (datagrams, responses) = (&self.datagrams, &self.responses);
        let mut due = [0; BATCH];
        let mut end = 0;
        for place in (0..count).filter(|place| !responses[*place].is_empty()) {
            due[end] = place;
            end += 1;
        }
        let mut rest = &due[..end];
        while let Some(&first) = rest.first() {
            // One call sends from one address.
            let local = datagrams[first].1.local;
            let together = rest.iter().take_while(|place| datagrams[**place].1.local == local);
            let (group, _) = rest.split_at(together.count());
            match send_group(socket, self.kind, &mut self.sent, group, datagrams, responses) {
                Ok(sent) => {
                    for &place in &group[..sent] {
                        stats.count_sent(second, datagrams[place].0, responses[place].len());
                    }
                    rest = &rest[sent..];
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    unsent.extend(rest.iter().map(|&place| Outgoing {
                        octets: responses[place].clone(),
                        endpoints: datagrams[place].1,
                        query_len: datagrams[place].0,
                    }));
                    return;
                }
                // The first of them cannot be sent; the others may.
                Err(_) => {
                    stats.udp_send_failed.fetch_add(1, Relaxed);
                    rest = &rest[1..];
                }
            }
        }
    }
}

/// Sends some responses from one address, and says how many the system took.
fn send_group(
    socket: &impl AsRawFd,
    kind: RoomKind,
    headers: &mut MultiHeaders<SockaddrStorage>,
    group: &[usize],
    datagrams: &[(usize, Endpoints)],
    responses: &[Vec<u8>; BATCH],
) -> Result<usize, Errno> {
    let slice = |at: usize| group.get(at).map_or(&[][..], |place| &responses[*place][..]);
    let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|at| [IoSlice::new(slice(at))]);
    let client = |at: usize| group.get(at).and_then(|place| datagrams[*place].1.client);
    let clients: [Option<SockaddrStorage>; BATCH] = std::array::from_fn(client);
    let len = group.len();
    let local = group.first().and_then(|place| datagrams[*place].1.local);
    with_source(kind, local, |source| {
        let sent =
            sendmmsg(socket.as_raw_fd(), headers, &slices[..len], &clients[..len], source, NOW);
        sent.map(Iterator::count)
    })
}
