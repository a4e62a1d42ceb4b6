//! UDP sockets: one datagram in, at most one out.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::responder::{Reply, respond};
use super::stats::{Stats, Transport};
use super::{Shared, now};

/// Octets of socket buffer asked for in each direction: a burst of 40,000 small queries. The
/// system may give less to who is not root (net.core.rmem_max).
const SOCKET_BUFFER: usize = 4 << 20;

/// The largest datagram (RFC 768: a 16-bit length).
const MAX_DATAGRAM: usize = 65535;

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
        socket.set_reuse_port(true)?;
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
    stats: Arc<Stats>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut message = vec![0; MAX_DATAGRAM];
    let mut response = Vec::new();
    loop {
        let received = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            received = socket.recv_from(&mut message) => received,
        };
        let (len, client) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "receiving a datagram failed");
                tokio::time::sleep(RECEIVE_PAUSE).await;
                continue;
            }
        };
        let served = shared.get();
        let query = &message[..len];
        let reply = respond(&served, &stats, query, client, Transport::Udp, now(), &mut response);
        if matches!(reply, Reply::Response) && socket.send_to(&response, client).await.is_err() {
            stats.udp_send_failed.fetch_add(1, Relaxed);
        }
    }
}
