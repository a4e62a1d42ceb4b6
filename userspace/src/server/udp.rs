//! UDP sockets: one datagram in, at most one out.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use xdp_common::Outcome;
use xdp_common::dns::{HEADER_LEN, MAX_PAYLOAD, QUESTION_TAIL_LEN};
use xdp_common::limit::decide::Slip;
use xdp_common::limit::response_key::ResponseKey;
use xdp_common::limit::{Class, Verdict};

use super::bind::bind_before_it_is_here;
use super::message::{Rcode, add_opt};
use super::responder::{self, Pending, Reply};
use super::served::Shared;
use super::stats::{SocketStats, Transport};
use crate::clock::WallTime;
use crate::compile::Answered;
use crate::ratelimit::compiled::Response;

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
    let socket = Arc::new(UdpSocket::from_std(socket)?);
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
        // A query that makes us panic costs its answer: not the other queries that wait here.
        let query = &message[..len];
        let answered = || answer(&shared, &stats, query, client, &mut response);
        let answered = catch_unwind(AssertUnwindSafe(answered)).unwrap_or_else(|_| {
            stats.udp_faults.fetch_add(1, Relaxed);
            Datagram::None
        });
        match answered {
            Datagram::None => {}
            Datagram::Response => send(&socket, &stats, len, &response, client).await,
            Datagram::Later(pending) => {
                let (socket, stats) = (Arc::clone(&socket), Arc::clone(&stats));
                tokio::spawn(async move {
                    let response = pending.response().await;
                    send(&socket, &stats, len, &response, client).await;
                });
            }
        }
    }
}

/// What is sent in return for a datagram.
pub enum Datagram {
    /// Nothing.
    None,
    /// The response that was written.
    Response,
    /// What became of an update, once that is known: those that wait have a bound
    /// ([`WaitingUpdates`](crate::transfer::update::WaitingUpdates)).
    Later(Pending),
}

/// Sends the response to a query of so many octets.
async fn send(
    socket: &UdpSocket,
    stats: &SocketStats,
    len: usize,
    response: &[u8],
    client: SocketAddr,
) {
    match socket.send_to(response, client).await {
        Ok(octets) => stats.count_sent(WallTime::now().signature_time(), len, octets),
        Err(_) => {
            stats.udp_send_failed.fetch_add(1, Relaxed);
        }
    }
}

/// Answers one message, as far as the rate limiter lets.
pub fn answer(
    shared: &Shared,
    stats: &SocketStats,
    query: &[u8],
    client: SocketAddr,
    response: &mut Vec<u8>,
) -> Datagram {
    let limiter = shared.limiter();
    let moment = limiter.now();
    if let Err(outcome) = limiter.arrive(client.ip(), moment) {
        stats.outcome(Transport::Udp, outcome);
        return Datagram::None;
    }
    let served = shared.get();
    let now = WallTime::now();
    let (reply, answered) =
        responder::answer(&served, stats, query, client, Transport::Udp, now, response);
    let is_signed = match reply {
        Reply::Response => false,
        Reply::SignedResponse => true,
        // Nobody has it done who has no key.
        Reply::Later(pending) => return Datagram::Later(pending),
        Reply::Silent | Reply::Transfer(_) => return Datagram::None,
    };
    if !limiter.is_on() {
        return Datagram::Response;
    }
    // The question, as the response repeats it: its name, type and class.
    let question = response.get(HEADER_LEN..HEADER_LEN + answered.question_octets);
    let qname = question.and_then(|question| question.split_last_chunk::<QUESTION_TAIL_LEN>());
    let qname = qname.map_or(vec![0], |(name, _)| name.to_ascii_lowercase());
    let ready = Response {
        qname: &qname,
        key: key_of(answered.key, response),
        octets: response.len(),
        query_octets: query.len(),
        is_vouched_for: is_signed || answered.cookie.as_ref().is_some_and(|cookie| cookie.is_valid),
    };
    match limiter.respond(client.ip(), &ready, moment) {
        Ok(Verdict::Slip) => {
            stats.outcome(Transport::Udp, Outcome::Slipped);
            slip(&answered, response);
            Datagram::Response
        }
        Ok(_) => Datagram::Response,
        Err(outcome) => {
            stats.outcome(Transport::Udp, outcome);
            Datagram::None
        }
    }
}

/// What of a response is counted together: the engine knows of its own, errors are plain code's.
fn key_of(engine: ResponseKey, response: &[u8]) -> ResponseKey {
    const NXDOMAIN: u8 = 3;
    let rcode = response.get(3).map_or(0, |octet| octet & 0x0f);
    let is_error = rcode != 0 && rcode != NXDOMAIN;
    if is_error { ResponseKey { class: Class::Error as u32, name: 0 } } else { engine }
}

/// Puts in the place of a response what is no larger than its query: BADCOOKIE, with the cookie that the client should
/// have had, or TC=1 and no record.
fn slip(answered: &Answered, response: &mut Vec<u8>) {
    const AA: u8 = 0x04;
    const TC: u8 = 0x02;
    let rcode = rcode_of(response, answered.question_octets);
    response.truncate(HEADER_LEN + answered.question_octets);
    // The question alone is left.
    response[6..HEADER_LEN].fill(0);
    let (rcode, options) = match (Slip::to(answered.cookie.is_some()), &answered.cookie) {
        (Slip::BadCookie, Some(cookie)) => {
            response[2] &= !(AA | TC);
            (Rcode::BADCOOKIE, &cookie.option[..])
        }
        _ => {
            response[2] |= TC;
            (rcode, &[][..])
        }
    };
    response[3] = response[3] & 0xf0 | (rcode.0 & 0x0f) as u8;
    if let Some(dnssec_ok) = answered.dnssec_ok {
        add_opt(rcode, MAX_PAYLOAD, dnssec_ok, options, response);
    }
}

/// The response code, with the extended bits of the OPT record. Those stand only in responses without any other record
/// (BADVERS, BADCOOKIE), and so the OPT record stands behind the question.
fn rcode_of(response: &[u8], question_octets: usize) -> Rcode {
    let low = u16::from(response[3] & 0x0f);
    match response[HEADER_LEN..].get(question_octets..) {
        Some([0, 0, 41, _, _, high, ..]) => Rcode(u16::from(*high) << 4 | low),
        _ => Rcode(low),
    }
}
