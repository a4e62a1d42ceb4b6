//! DNS over TCP (RFC 7766, RFC 9210): messages behind two octets of length, pipelined, answered in
//! the order they came. `pool` decides which connections are kept while there are not enough for all.

mod pool;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use xdp_common::Outcome;

use super::bind::bind_before_it_is_here;
use super::keepalive;
use super::proxy;
use super::responder::{Reply, Transfer, respond};
use super::served::Shared;
use super::stats::{SocketStats, Transport};
use crate::clock::WallTime;
use pool::{AcceptedConnection, Pool, PoolLimits, Seat, idle_time};
pub use tls::{Security, TlsIdentity};

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

/// How long no connection is taken after taking one failed for a reason that stays (as it does when descriptors run
/// out).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often such a failure is said in the log; it is counted each time.
const ACCEPT_COMPLAINT: Duration = Duration::from_secs(60);

/// How often connections are looked for that have waited too long for a pool that has filled since.
const SWEEP: Duration = Duration::from_millis(250);

/// What one connection, and all together, may use.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
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
    pub stats: Arc<SocketStats>,
    /// What is shown to clients over TLS.
    tls: Arc<TlsIdentity>,
    limits: ConnectionLimits,
    pool: Mutex<Pool>,
    started: Instant,
    /// When taking a connection last failed and that was said.
    complained: Mutex<Option<Instant>>,
}

impl Context {
    /// ConnectionLimits hold for all listening sockets of one context together.
    pub fn new(
        shared: Arc<Shared>,
        stats: Arc<SocketStats>,
        tls: Arc<TlsIdentity>,
        limits: ConnectionLimits,
    ) -> Context {
        let bounds = PoolLimits {
            connections: limits.connections,
            per_client: limits.connections_per_client,
        };
        Context {
            shared,
            stats,
            tls,
            limits,
            pool: Mutex::new(Pool::new(bounds)),
            started: Instant::now(),
            complained: Mutex::new(None),
        }
    }

    /// Milliseconds of a clock that does not go back.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX >> 1)
    }

    /// Does something with the pool, and says how many connections it has then.
    fn with_pool<T>(&self, act: impl FnOnce(&mut Pool) -> T) -> T {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut pool);
        self.stats.tcp_connections.store(pool.len() as u64, Relaxed);
        result
    }

    /// Takes a place for a connection, and says whose it was; `None` if there is none, nor another's to take. A proxy stands
    /// for many clients, and has as many places as there are.
    fn admit(self: &Arc<Context>, client: IpAddr) -> Option<(ConnectionGuard, Option<Arc<Seat>>)> {
        let (now_ms, is_proxy) = (self.now_ms(), self.shared.is_proxy(client));
        let AcceptedConnection { seat, ended } =
            self.with_pool(|pool| pool.admit(client_key(client), is_proxy, now_ms))?;
        self.end(ended.as_ref());
        Some((ConnectionGuard { context: Arc::clone(self), seat }, ended))
    }

    /// Tells a connection that another has its place.
    fn end(&self, ended: Option<&Arc<Seat>>) {
        if let Some(seat) = ended {
            self.stats.tcp_gave_way.fetch_add(1, Relaxed);
            seat.end.notify_one();
        }
    }

    /// How long a connection may wait for a query now.
    fn idle_time(&self) -> Duration {
        let open = self.stats.tcp_connections.load(Relaxed) as usize;
        idle_time(self.limits.idle_timeout, open, self.limits.connections)
    }

    /// Whether connections may have waited too long for as full as the pool is now.
    fn is_pressed(&self) -> bool {
        self.idle_time() < self.limits.idle_timeout
    }

    /// Ends the connections that have waited too long for as full as the pool is now, and waits until they are closed.
    async fn sweep(&self) {
        let (idle, now_ms) = (self.idle_time(), self.now_ms());
        let overdue = self.with_pool(|pool| pool.end_overdue(idle, now_ms));
        for seat in &overdue {
            self.stats.tcp_idle.fetch_add(1, Relaxed);
            seat.end.notify_one();
        }
        for seat in overdue {
            seat.closed.notified().await;
        }
    }

    /// Counts a connection that could not be taken, and makes room for it where descriptors have run out.
    fn accept_failed(&self, error: &io::Error) {
        self.stats.tcp_accept_failed.fetch_add(1, Relaxed);
        if matches!(errno(error), Errno::EMFILE | Errno::ENFILE) {
            self.end(self.with_pool(Pool::end_one).as_ref());
        }
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|when| when.elapsed() >= ACCEPT_COMPLAINT) {
            *complained = Some(Instant::now());
            tracing::warn!(%error, "taking TCP connections fails; `stats` counts how often");
        }
    }
}

/// One connection's place, given back when dropped.
struct ConnectionGuard {
    context: Arc<Context>,
    seat: Arc<Seat>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.context.with_pool(|pool| pool.leave(&self.seat));
        self.seat.closed.notify_one();
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// Whether taking a connection failed for a reason of that connection alone (accept(2)): the next one is taken at once.
fn is_of_connection(error: &io::Error) -> bool {
    use Errno::*;
    matches!(
        errno(error),
        ECONNABORTED
            | ECONNRESET
            | EPROTO
            | EPERM
            | ENETDOWN
            | ENOPROTOOPT
            | EHOSTDOWN
            | ENONET
            | EHOSTUNREACH
            | EOPNOTSUPP
            | ENETUNREACH
    )
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
    bind_by(address, false)
}

/// Binds a listening socket beside one of the same port that is to be closed and that [shares it](share_port).
pub fn bind_beside(address: SocketAddr) -> io::Result<StdTcpListener> {
    bind_by(address, true)
}

/// Lets another socket of ours be bound to the port of this one (SO_REUSEPORT).
pub fn share_port(listener: &StdTcpListener) -> io::Result<()> {
    socket2::SockRef::from(listener).set_reuse_port(true)
}

fn bind_by(address: SocketAddr, shares_port: bool) -> io::Result<StdTcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    bind_before_it_is_here(&socket, address)?;
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
    security: Security,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            _ = sweep.tick(), if context.is_pressed() => None,
            accepted = listener.accept() => Some(accepted),
        };
        let Some(accepted) = accepted else {
            context.sweep().await;
            continue;
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                context.accept_failed(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some((place, ended)) = context.admit(client.ip()) else {
            context.stats.tcp_refused.fetch_add(1, Relaxed);
            continue;
        };
        context.stats.tcp_accepted.fetch_add(1, Relaxed);
        let stop = stop.clone();
        connections.spawn(async move {
            // How a connection ended is counted where it ended; a client that goes away is no
            // event for an operator.
            tokio::select! {
                () = place.seat.end.notified() => {}
                _ = connection(stream, client, security, &place, stop) => {}
            }
        });
        // Its descriptor is free before the next connection takes one: a crowd of clients must not be faster than
        // the connections that make room for it.
        if let Some(ended) = ended {
            ended.closed.notified().await;
        }
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
    mut stream: TcpStream,
    address: SocketAddr,
    security: Security,
    place: &ConnectionGuard,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let context = &*place.context;
    stream.set_nodelay(true)?;
    let mut client = address;
    if context.shared.is_proxy(address.ip()) {
        match timeout(context.idle_time(), proxy::receive(&mut stream)).await {
            Ok(Ok(Some(header))) => client = header.client.unwrap_or(address),
            Ok(Ok(None)) => {
                context.stats.outcome(Transport::Tcp, Outcome::Malformed);
                return Ok(());
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                context.stats.tcp_idle.fetch_add(1, Relaxed);
                return Ok(());
            }
        }
    }
    if security == Security::Plain {
        let (read, write) = stream.into_split();
        return messages(read, write, client, place, stop).await;
    }
    let config = context.tls.get().ok_or(io::ErrorKind::NotFound)?;
    // The handshake has the time of a query.
    let accepted = timeout(context.idle_time(), TlsAcceptor::from(config).accept(stream)).await;
    let Ok(accepted) = accepted else {
        context.stats.tcp_idle.fetch_add(1, Relaxed);
        return Ok(());
    };
    let (read, write) = tokio::io::split(accepted?);
    messages(read, write, client, place, stop).await
}

/// Answers what comes over one connection, encrypted or not.
async fn messages(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    client: SocketAddr,
    place: &ConnectionGuard,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let context = &*place.context;
    let mut reader = BufReader::with_capacity(READ_AHEAD, read);
    let mut writer = Writer { write, waiting: Vec::new(), place };
    let (mut query, mut response) = (Vec::new(), Vec::new());
    let mut turn = 0;
    loop {
        if !holds_message(reader.buffer()) {
            writer.flush().await?;
            query.shrink_to(KEPT_BUFFER);
            response.shrink_to(KEPT_BUFFER);
            place.seat.waits(context.now_ms());
        }
        let read = tokio::select! {
            biased;
            read = timeout(context.idle_time(), read_message(&mut reader, &mut query)) => read,
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
        match respond(&served, stats, &query, client, transport, WallTime::now(), &mut response) {
            Reply::Response => {
                keepalive::answer(&query, &mut response, context.idle_time());
                writer.push(&response).await?;
            }
            // Nothing can be added to what is signed.
            Reply::SignedResponse => writer.push(&response).await?,
            Reply::Later(pending) => {
                drop(served);
                writer.push(&pending.response().await).await?;
            }
            Reply::Transfer(mut transfer) => {
                drop(served);
                writer.send_zone(&mut transfer, client, &mut response).await?;
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
struct Writer<'c, W> {
    write: W,
    waiting: Vec<u8>,
    place: &'c ConnectionGuard,
}

impl<W: AsyncWrite + Unpin> Writer<'_, W> {
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
        let context = &self.place.context;
        self.place.seat.answers(context.now_ms());
        let writing = async {
            self.write.write_all(&self.waiting).await?;
            self.write.flush().await
        };
        let written = timeout(context.limits.write_timeout, writing).await;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT_BUFFER);
        written.unwrap_or_else(|_| {
            context.stats.tcp_slow.fetch_add(1, Relaxed);
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    /// Sends a zone or what changed of it, message by message: no more of it is in memory than waits to be written.
    async fn send_zone(
        &mut self,
        transfer: &mut Transfer,
        client: SocketAddr,
        message: &mut Vec<u8>,
    ) -> io::Result<()> {
        let stats = &self.place.context.stats;
        let mut signer = transfer.signer.take();
        let result = async {
            let mut messages = transfer.messages();
            while messages.next_message(message).map_err(io::Error::other)? {
                if let Some(signer) = &mut signer {
                    signer.sign(message, WallTime::now().seconds());
                }
                self.push(message).await?;
            }
            self.flush().await
        }
        .await;
        let (zone, serial) = (transfer.zone.apex(), transfer.zone.serial());
        let is_whole = transfer.differences.is_none();
        match &result {
            Ok(()) => {
                let counter =
                    if is_whole { &stats.transfers } else { &stats.transfers_incremental };
                counter.fetch_add(1, Relaxed);
                tracing::info!(%zone, serial = serial.0, %client, is_whole, "zone transferred");
            }
            Err(error) => {
                stats.transfers_failed.fetch_add(1, Relaxed);
                tracing::warn!(%zone, serial = serial.0, %client, %error, "zone transfer failed");
            }
        }
        result
    }
}
