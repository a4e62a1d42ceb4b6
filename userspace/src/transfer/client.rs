//! A primary asked over the network: for the serial that it has (SOA over UDP, over TCP where that is truncated), and for a
//! zone or what changed of it (RFC 5936, RFC 1995, over TCP); all of it over TLS where that is configured (RFC 9103). Each step has a time limit, so that a primary that is slow or
//! silent costs a task that waits, and that not for long.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::incoming::{Asked, AskedKind, Limits, Stream, TransferError, read_serial};
use super::tls;
use super::tsig::{Key, ResponseError, Verifier, sign_request};
use crate::clock::WallTime;
use crate::config::PrimaryTls;
use crate::zone::{Name, Rtype, Serial};

/// How often the serial is asked for over UDP, and how long an answer may take each time.
const UDP_TRIES: usize = 3;
const UDP_PATIENCE: Duration = Duration::from_secs(2);

/// How long a TCP connection may take to be made, and the query to be sent.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long each message over TCP may take, from the end of the one before: a primary reads a large zone from its disk first.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(30);

/// The largest response over UDP that is read: SOA records are far smaller.
const UDP_ROOM: usize = 4096;

/// A server that zones are transferred from.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// The key that is shared with it.
    pub key: Option<Arc<Key>>,
    /// How it is known over TLS; none: nothing is encrypted.
    pub tls: Option<PrimaryTls>,
}

/// A connection to a server, encrypted or not.
type Connection = Box<dyn ReadWrite>;

trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// Why a primary has given nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The network or its host refused.
    #[error("{step}: {error}")]
    Network {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// It took too long.
    #[error("{step}: nothing in {} s", .within.as_secs())]
    Silent {
        /// What was waited for.
        step: &'static str,
        /// How long.
        within: Duration,
    },
    /// All of it took too long.
    #[error("the transfer was not over after {} s", .0.as_secs())]
    TooLong(Duration),
    /// What it sent is no transfer.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// What it sent is not signed as it must be.
    #[error("TSIG: {0}")]
    Tsig(#[from] ResponseError),
    /// No random number was to be had.
    #[error("the system has no random number")]
    Random,
}

impl ClientError {
    /// Whether the whole zone may be had where differences could not.
    pub fn may_try_whole(&self) -> bool {
        match self {
            ClientError::Transfer(error) => error.may_try_whole(),
            // Some say nothing to what they do not know.
            ClientError::Silent { .. } => true,
            ClientError::Network { error, .. } => error.kind() == io::ErrorKind::UnexpectedEof,
            ClientError::TooLong(_) | ClientError::Tsig(_) | ClientError::Random => false,
        }
    }
}

/// The response code REFUSED (RFC 1035 section 4.1.1).
const REFUSED: u8 = 5;

/// Asks for the serial of a zone.
///
/// # Errors
/// If the primary gives none.
pub async fn serial(peer: &Peer, apex: &Name) -> Result<Serial, ClientError> {
    if peer.tls.is_some() {
        return serial_over_tcp(peer, apex).await;
    }
    match serial_over_udp(peer, apex).await {
        // Knot DNS refuses queries over UDP for catalog zones, which may be transferred all the same.
        Err(ClientError::Transfer(TransferError::Truncated | TransferError::Rcode(REFUSED))) => {
            serial_over_tcp(peer, apex).await
        }
        answered => answered,
    }
}

async fn serial_over_udp(peer: &Peer, apex: &Name) -> Result<Serial, ClientError> {
    let network = |error| ClientError::Network { step: "asking for the serial", error };
    let any: SocketAddr = match peer.address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A port of its own for each question, which who would answer in the primary's place has to guess, too.
    let socket = UdpSocket::bind(any).await.map_err(network)?;
    socket.connect(peer.address).await.map_err(network)?;
    for _ in 0..UDP_TRIES {
        let Query { id, message, verifier } = Query::new(peer, apex, Rtype::SOA, None)?;
        socket.send(&message).await.map_err(network)?;
        match timeout(UDP_PATIENCE, response(&socket, id)).await {
            Err(_) => {}
            Ok(received) => return read_soa(received.map_err(network)?, id, apex, verifier),
        }
    }
    Err(ClientError::Silent {
        step: "asking for the serial",
        within: UDP_PATIENCE * UDP_TRIES as u32,
    })
}

/// The first datagram that answers the query with this id: others are of earlier ones, or of strangers.
async fn response(socket: &UdpSocket, id: u16) -> io::Result<Vec<u8>> {
    let mut room = vec![0; UDP_ROOM];
    loop {
        let len = socket.recv(&mut room).await?;
        if room[..len].starts_with(&id.to_be_bytes()) {
            room.truncate(len);
            return Ok(room);
        }
    }
}

async fn serial_over_tcp(peer: &Peer, apex: &Name) -> Result<Serial, ClientError> {
    let Query { id, message, verifier } = Query::new(peer, apex, Rtype::SOA, None)?;
    let mut stream = connect(peer, &message).await?;
    let mut received = Vec::new();
    next_message(&mut stream, &mut received).await?;
    read_soa(received, id, apex, verifier)
}

fn read_soa(
    mut message: Vec<u8>,
    id: u16,
    apex: &Name,
    verifier: Option<Verifier>,
) -> Result<Serial, ClientError> {
    if let Some(mut verifier) = verifier {
        verifier.check(&mut message, WallTime::now().seconds())?;
        verifier.finish()?;
    }
    Ok(read_serial(&message, id, apex)?)
}

/// Asks for a zone, or for what changed of it since the version with this SOA record.
///
/// # Errors
/// If no whole transfer comes within this time and these limits.
pub async fn transfer(
    peer: &Peer,
    apex: &Name,
    kind: AskedKind,
    limits: Limits,
    within: Duration,
) -> Result<Stream, ClientError> {
    let transferred = timeout(within, transfer_for_ever(peer, apex, kind, limits)).await;
    transferred.unwrap_or(Err(ClientError::TooLong(within)))
}

async fn transfer_for_ever(
    peer: &Peer,
    apex: &Name,
    kind: AskedKind,
    limits: Limits,
) -> Result<Stream, ClientError> {
    let since = match kind {
        AskedKind::Zone => None,
        AskedKind::Since(serial) => Some(serial),
    };
    let Query { id, message, mut verifier } = Query::new(peer, apex, kind.qtype(), since)?;
    let mut connection = connect(peer, &message).await?;
    let mut stream = Stream::new(Asked { id, apex: apex.clone(), kind }, limits);
    let mut received = Vec::new();
    loop {
        next_message(&mut connection, &mut received).await?;
        if let Some(verifier) = &mut verifier {
            verifier.check(&mut received, WallTime::now().seconds())?;
        }
        if stream.read(&received)? {
            break;
        }
    }
    if let Some(verifier) = &verifier {
        verifier.finish()?;
    }
    Ok(stream)
}

async fn connect(peer: &Peer, query: &[u8]) -> Result<Connection, ClientError> {
    let connecting = async {
        let stream = TcpStream::connect(peer.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let stream = patiently("connecting", CONNECT_PATIENCE, connecting).await?;
    let mut connection: Connection = match &peer.tls {
        None => Box::new(stream),
        Some(tls) => {
            let encrypted = tls::connect(tls, stream);
            Box::new(patiently("connecting over TLS", CONNECT_PATIENCE, encrypted).await?)
        }
    };
    let sending = async {
        let len = (query.len() as u16).to_be_bytes();
        connection.write_all(&[&len, query].concat()).await?;
        connection.flush().await
    };
    patiently("sending the query", CONNECT_PATIENCE, sending).await?;
    Ok(connection)
}

/// The next message; what was in `into` is gone.
async fn next_message(stream: &mut Connection, into: &mut Vec<u8>) -> Result<(), ClientError> {
    let reading = async {
        let len = stream.read_u16().await?;
        into.resize(len.into(), 0);
        stream.read_exact(into).await?;
        Ok(())
    };
    patiently("waiting for the next message", MESSAGE_PATIENCE, reading).await
}

async fn patiently<T>(
    step: &'static str,
    within: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, ClientError> {
    match timeout(within, work).await {
        Ok(done) => done.map_err(|error| ClientError::Network { step, error }),
        Err(_) => Err(ClientError::Silent { step, within }),
    }
}

/// A query, ready to be sent.
struct Query {
    id: u16,
    message: Vec<u8>,
    /// Verifies the response, if the query is signed.
    verifier: Option<Verifier>,
}

impl Query {
    /// A question of class IN for this type; of IXFR with the serial of the version that is here.
    fn new(
        peer: &Peer,
        apex: &Name,
        qtype: Rtype,
        since: Option<Serial>,
    ) -> Result<Query, ClientError> {
        let mut id = [0; 2];
        SystemRandom::new().fill(&mut id).map_err(|_| ClientError::Random)?;
        let mut message = id.to_vec();
        message.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, since.is_some().into(), 0, 0]);
        message.extend_from_slice(apex.as_wire());
        message.extend_from_slice(&qtype.0.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        if let Some(serial) = since {
            // The SOA record of our version (RFC 1995 section 3), of which nothing but the serial is looked at.
            message.extend_from_slice(&[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
            message.extend_from_slice(&serial.0.to_be_bytes());
            message.extend_from_slice(&[0; 16]);
        }
        let now = WallTime::now().seconds();
        let verifier = peer.key.as_ref().map(|key| sign_request(key, &mut message, now));
        Ok(Query { id: u16::from_be_bytes(id), message, verifier })
    }
}
