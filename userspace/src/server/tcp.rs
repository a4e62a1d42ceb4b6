//! DNS over TCP (RFC 7766, RFC 9210): messages behind two octets of length, pipelined, answered in
//! the order they came.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::responder::{Reply, Transfer, respond};
use super::stats::{Stats, Transport};
use super::{Shared, now};
use crate::transfer::axfr;

/// Connections the system holds for us before we take them.
const BACKLOG: i32 = 1024;

/// Octets read ahead per connection.
const READ_AHEAD: usize = 4096;

/// Responses are written once they are this many octets together, or no whole query waits.
const WRITE_TOGETHER: usize = 64 * 1024;

/// Octets of a buffer that a connection keeps between queries.
const KEPT_BUFFER: usize = 4096;

/// Queries answered before other connections get their turn.
const QUERIES_PER_TURN: u32 = 32;

/// How long no connection is taken after taking one failed (as it does when files run out).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What one connection, and all together, may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without a whole query arriving.
    pub idle_timeout: Duration,
    /// Without the client taking what is sent.
    pub write_timeout: Duration,
    /// All clients together.
    pub connections: usize,
    /// From one IPv4 address or one IPv6 /64.
    pub connections_per_client: usize,
}

/// What all listening sockets of a server share.
pub struct Context {
    /// What is served.
    pub shared: Arc<Shared>,
    /// Where it is counted.
    pub stats: Arc<Stats>,
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    per_client: HashMap<IpAddr, usize>,
}

impl Context {
    /// Limits hold for all listening sockets of one context together.
    pub fn new(shared: Arc<Shared>, stats: Arc<Stats>, limits: Limits) -> Context {
        Context { shared, stats, limits, open: Mutex::default() }
    }

    /// Takes a place for a connection; `None` if there is none left.
    fn admit(self: &Arc<Context>, client: IpAddr) -> Option<Place> {
        let client = client_key(client);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = open.per_client.get(&client).copied().unwrap_or(0);
        if open.total >= self.limits.connections || of_client >= self.limits.connections_per_client
        {
            return None;
        }
        open.total += 1;
        open.per_client.insert(client, of_client + 1);
        self.stats.tcp_connections.store(open.total as u64, Relaxed);
        Some(Place { context: Arc::clone(self), client })
    }
}

/// One connection's place, given back when dropped.
struct Place {
    context: Arc<Context>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.context.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        if let Some(of_client) = open.per_client.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                open.per_client.remove(&self.client);
            }
        }
        self.context.stats.tcp_connections.store(open.total as u64, Relaxed);
    }
}

/// A client is an IPv4 address, or the /64 that one IPv6 site has at least.
fn client_key(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes()),
    }
}

/// Binds a listening socket.
pub fn bind(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves one listening socket until `stop` says true, then waits for its connections to finish
/// what they began; dropping the future cuts them off. To be called within a tokio runtime.
pub async fn serve(
    listener: StdTcpListener,
    context: Arc<Context>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "taking a TCP connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = context.admit(client.ip()) else {
            context.stats.tcp_refused.fetch_add(1, Relaxed);
            continue;
        };
        context.stats.tcp_accepted.fetch_add(1, Relaxed);
        let stop = stop.clone();
        connections.spawn(async move {
            // How a connection ended is counted where it ended; a client that goes away is no
            // event for an operator.
            let _ = connection(stream, client, &place.context, stop).await;
        });
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    Ok(())
}

/// A connection that panics ends alone; that it did must not go unseen.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a TCP connection was ended by a fault of this program");
    }
}

/// Serves one connection until the client closes it, is too slow, or `stop` says true.
async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    context: &Context,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let mut reader = BufReader::with_capacity(READ_AHEAD, read);
    let mut writer = Writer { write, waiting: Vec::new(), context };
    let (mut query, mut response) = (Vec::new(), Vec::new());
    let mut turn = 0;
    loop {
        if !holds_message(reader.buffer()) {
            writer.flush().await?;
            query.shrink_to(KEPT_BUFFER);
            response.shrink_to(KEPT_BUFFER);
        }
        let read = tokio::select! {
            biased;
            read = timeout(context.limits.idle_timeout, read_message(&mut reader, &mut query)) => {
                read
            }
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match read {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => break,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                context.stats.tcp_idle.fetch_add(1, Relaxed);
                break;
            }
        }
        let served = context.shared.get();
        let (stats, transport) = (&context.stats, Transport::Tcp);
        match respond(&served, stats, &query, client, transport, now(), &mut response) {
            Reply::Response => writer.push(&response).await?,
            Reply::Transfer(transfer) => {
                drop(served);
                writer.send_zone(&transfer, client, &mut response).await?;
            }
            // What deserves no response comes from nobody who will ask properly later.
            Reply::Silent => break,
        }
        turn += 1;
        if turn % QUERIES_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    writer.flush().await?;
    writer.write.shutdown().await
}

/// Whether `octets` start with a whole message and its length.
fn holds_message(octets: &[u8]) -> bool {
    octets
        .split_first_chunk::<2>()
        .is_some_and(|(length, rest)| rest.len() >= usize::from(u16::from_be_bytes(*length)))
}

/// Reads one message; `false` if the client has no more. Memory is taken as octets arrive, not as
/// the length announces them.
async fn read_message(
    reader: &mut (impl AsyncRead + Unpin),
    message: &mut Vec<u8>,
) -> io::Result<bool> {
    message.clear();
    let mut length = [0u8; 2];
    if reader.read(&mut length[..1]).await? == 0 {
        return Ok(false);
    }
    reader.read_exact(&mut length[1..]).await?;
    let length = u16::from_be_bytes(length);
    let read = reader.take(length.into()).read_to_end(message).await?;
    if read < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(true)
}

/// Gathers responses and writes them in time or not at all.
struct Writer<'c> {
    write: OwnedWriteHalf,
    waiting: Vec<u8>,
    context: &'c Context,
}

impl Writer<'_> {
    async fn push(&mut self, message: &[u8]) -> io::Result<()> {
        // The engine's limit is 65,535 octets, so the length always fits; a longer message would
        // break the framing of all that follow.
        let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        self.waiting.extend_from_slice(&length.to_be_bytes());
        self.waiting.extend_from_slice(message);
        if self.waiting.len() >= WRITE_TOGETHER { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let written =
            timeout(self.context.limits.write_timeout, self.write.write_all(&self.waiting)).await;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT_BUFFER);
        written.unwrap_or_else(|_| {
            self.context.stats.tcp_slow.fetch_add(1, Relaxed);
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    /// Sends a zone, message by message: no more of it is in memory than waits to be written.
    async fn send_zone(
        &mut self,
        transfer: &Transfer,
        client: SocketAddr,
        message: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (zone, stats) = (&transfer.zone, &self.context.stats);
        let result = async {
            let mut messages = axfr::messages(zone, &transfer.heading);
            while messages.next_message(message).map_err(io::Error::other)? {
                self.push(message).await?;
            }
            self.flush().await
        }
        .await;
        let (zone, serial) = (zone.apex(), zone.serial());
        match &result {
            Ok(()) => {
                stats.transfers.fetch_add(1, Relaxed);
                tracing::info!(%zone, serial, %client, "zone transferred");
            }
            Err(error) => {
                stats.transfers_failed.fetch_add(1, Relaxed);
                tracing::warn!(%zone, serial, %client, %error, "zone transfer failed");
            }
        }
        result
    }
}
