//! UDP sockets: one datagram in, at most one out; many of both with one call of the kernel.
//!
//! An answer leaves from the address that its query was sent to (RFC 2181 section 4): a socket that is bound to an address
//! has no other, and one that is bound to all of them is told with each datagram, and tells it with each answer (IP_PKTINFO
//! in ip(7), IPV6_RECVPKTINFO in ipv6(7)).

mod answer;
mod batch;

use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::bind::bind_before_it_is_here;
use super::responder::Pending;
use super::served::Shared;
use super::stats::SocketStats;
use crate::clock::WallTime;
pub use answer::{Answerer, Datagram};
use batch::{BATCH, Endpoints, Outgoing, Room, RoomKind};

/// Octets of socket buffer asked for in each direction: a burst of 40,000 small queries. The
/// system may give less to who is not root (net.core.rmem_max).
const SOCKET_BUFFER: usize = 4 << 20;

/// How long a socket rests after the system failed to receive, so that a lasting failure does not
/// take a whole core.
const RECEIVE_PAUSE: Duration = Duration::from_millis(10);

/// Binds `count` sockets to one address; the kernel spreads clients over them (SO_REUSEPORT).
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdUdpSocket>> {
    let mut sockets = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        match address.ip().is_unspecified() {
            true if address.is_ipv6() => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            true => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            false => {}
        }
        socket.set_reuse_port(true)?;
        bind_before_it_is_here(&socket, address)?;
        // Root may have more than net.core.rmem_max.
        if setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
            socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        }
        if setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER).is_err() {
            socket.set_send_buffer_size(SOCKET_BUFFER)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = StdUdpSocket::from(socket);
        // Port 0 lets the system choose: the other sockets take the port it chose.
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Serves one socket until `stop` says true. To be called within a tokio runtime.
pub async fn serve(
    socket: StdUdpSocket,
    shared: Arc<Shared>,
    stats: Arc<SocketStats>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let kind = RoomKind::of(socket.local_addr()?);
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    loop {
        let is_over = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            ready = socket.readable() => ready.map(|()| false)?,
        };
        let mut turn = Turn::default();
        let mut take = || batch::with_room(kind, |room| turn.take(room, &socket, &shared, &stats));
        // What waits when the socket is to be closed is still answered.
        let taken = if is_over { take() } else { socket.try_io(Interest::READABLE, take) };
        for (endpoints, pending, query_len) in turn.later {
            let (socket, stats) = (Arc::clone(&socket), Arc::clone(&stats));
            tokio::spawn(async move {
                let octets = pending.response().await;
                send(&socket, &stats, Outgoing { octets, endpoints, query_len }).await;
            });
        }
        // While they wait for room no more queries are received.
        for outgoing in turn.unsent {
            send(&socket, &stats, outgoing).await;
        }
        match taken {
            Ok(()) => {}
            Err(_) if is_over => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "receiving datagrams failed");
                tokio::time::sleep(RECEIVE_PAUSE).await;
            }
        }
    }
}

/// What is left to do of a batch.
#[derive(Default)]
struct Turn {
    /// What becomes of updates is told once that is known: those that wait have a bound
    /// ([`WaitingUpdates`](crate::transfer::update::WaitingUpdates)). With each the octets of its query.
    later: Vec<(Endpoints, Pending, usize)>,
    /// What the system had no room for.
    unsent: Vec<Outgoing>,
}

impl Turn {
    /// Receives a batch, answers it, and sends the answers.
    ///
    /// # Errors
    /// If receiving fails; [`WouldBlock`](io::ErrorKind::WouldBlock) if no more datagrams wait, whether there were some or
    /// not: so nobody asks in vain.
    fn take(
        &mut self,
        room: &mut Room,
        socket: &UdpSocket,
        shared: &Shared,
        stats: &SocketStats,
    ) -> io::Result<()> {
        let count = room.receive(socket)?;
        let answerer = Answerer::new(shared, stats);
        for place in 0..count {
            let (query, endpoints, response) = room.datagram(place);
            response.clear();
            let Some(client) = endpoints.client() else { continue };
            // A query that makes us panic costs its answer: not the other queries that wait here.
            let answered = || answerer.answer_from(query, client, response);
            let answered = catch_unwind(AssertUnwindSafe(answered)).unwrap_or_else(|_| {
                stats.udp_faults.fetch_add(1, Relaxed);
                Datagram::None
            });
            match answered {
                Datagram::Response => {}
                Datagram::None => response.clear(),
                Datagram::Later(pending) => {
                    response.clear();
                    self.later.push((endpoints, pending, query.len()));
                }
            }
        }
        let second = answerer.now().signature_time();
        room.send(socket, count, stats, second, &mut self.unsent);
        if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

/// Sends one response, once there is room for it.
async fn send(socket: &UdpSocket, stats: &SocketStats, outgoing: Outgoing) {
    match socket.async_io(Interest::WRITABLE, || batch::send_one(socket, &outgoing)).await {
        Ok(octets) => {
            stats.count_sent(WallTime::now().signature_time(), outgoing.query_len, octets);
        }
        Err(_) => {
            stats.udp_send_failed.fetch_add(1, Relaxed);
        }
    }
}
