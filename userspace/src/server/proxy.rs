//! The header that a proxy puts before a query to say who has sent it (PROXY protocol version 2, of haproxy's
//! `doc/proxy-protocol.txt`, section 2.2): over UDP before each message, over TCP and TLS once, before all else.
//!
//! It is believed of configured addresses alone, and expected of them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What it begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Octets before the addresses: the signature, version and command, family and transport, length.
const HEAD_LEN: usize = 16;

/// The most octets behind these that are read over TCP: more than the addresses and what proxies add to them.
const MOST_BEHIND: usize = 2048;

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Who has sent the query; none: the proxy itself (LOCAL), as to see whether this server is well.
    pub client: Option<SocketAddr>,
    /// Octets of the header.
    pub len: usize,
}

/// Reads the header that a message begins with; `None` if it begins with none that is whole and right.
pub fn read(message: &[u8]) -> Option<ProxyHeader> {
    let (head, behind) = message.split_first_chunk::<HEAD_LEN>()?;
    let (len, addresses) = (octets_behind(head)?, head[13]);
    let client = client(head[12], addresses, behind.get(..len)?)?;
    Some(ProxyHeader { client, len: HEAD_LEN + len })
}

/// Reads the header that a connection begins with; `Ok(None)` if it does not begin with one.
///
/// # Errors
/// If the connection ends or fails.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<ProxyHeader>> {
    let mut message = vec![0; HEAD_LEN];
    stream.read_exact(&mut message).await?;
    let behind = message.first_chunk().and_then(octets_behind);
    let Some(behind) = behind.filter(|behind| *behind <= MOST_BEHIND) else { return Ok(None) };
    message.resize(HEAD_LEN + behind, 0);
    stream.read_exact(&mut message[HEAD_LEN..]).await?;
    Ok(read(&message))
}

/// How many octets follow, if it is a header of version 2.
fn octets_behind(head: &[u8; HEAD_LEN]) -> Option<usize> {
    let is_ours = head.starts_with(&SIGNATURE) && head[12] >> 4 == 2;
    is_ours.then(|| u16::from_be_bytes([head[14], head[15]]).into())
}

/// Who has sent the query, by version and command, family and transport, and addresses.
fn client(command: u8, family: u8, addresses: &[u8]) -> Option<Option<SocketAddr>> {
    const LOCAL: u8 = 0;
    const PROXY: u8 = 1;
    // "the receiver must accept this connection as valid and must use the real connection endpoints"
    match command & 0x0f {
        LOCAL => return Some(None),
        PROXY => {}
        _ => return None,
    }
    let ip: IpAddr = match family >> 4 {
        0 => return Some(None),
        1 => IpAddr::from(*addresses.first_chunk::<4>()?),
        2 => IpAddr::from(*addresses.first_chunk::<16>()?),
        _ => return None,
    };
    let ip_len = if ip.is_ipv4() { 4 } else { 16 };
    // Source and destination, then the ports of both.
    let ports = addresses.get(2 * ip_len..)?.first_chunk::<4>()?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    let is_possible = !ip.is_unspecified() && !ip.is_multicast();
    is_possible.then(|| Some(SocketAddr::new(ip.to_canonical(), port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let len = (behind.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &len, behind].concat()
    }

    /// What is before a query of this client.
    fn of(client: SocketAddr, more: &[u8]) -> Vec<u8> {
        let (family, octets) = match client.ip() {
            IpAddr::V4(ip) => (0x12, [ip.octets(), [192, 0, 2, 53]].concat()),
            IpAddr::V6(ip) => (0x22, [ip.octets(), [7; 16]].concat()),
        };
        header(1, family, &[&octets[..], &client.port().to_be_bytes(), &[0, 53], more].concat())
    }

    fn received(octets: &[u8]) -> io::Result<Option<ProxyHeader>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut octets = octets;
        runtime.block_on(receive(&mut octets))
    }

    #[test]
    fn what_is_no_header_is_none() {
        let v4 = of("192.0.2.7:5353".parse().unwrap(), &[]);
        for (place, octet) in
            [(0, 0), (11, 0), (12, 0x11), (12, 0x22), (13, 0x31), (13, 0x41), (15, 11)]
        {
            let mut wrong = v4.clone();
            wrong[place] = octet;
            assert_eq!(read(&wrong), None, "{place}");
        }
        for client in ["0.0.0.0:7", "224.0.0.1:7", "[::]:7", "[ff02::1]:7"] {
            assert_eq!(read(&of(client.parse().unwrap(), &[])), None, "{client}");
        }
        for len in 0..v4.len() {
            assert_eq!(read(&v4[..len]), None);
        }
        // A query has none.
        assert_eq!(read(b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x07example\0\0\x06\0\x01"), None);
        let long = header(0, 0, &vec![0; MOST_BEHIND + 1]);
        assert_eq!(received(&long).unwrap(), None);
    }

    #[test]
    fn a_proxy_may_ask_for_itself() {
        let none = |len| Some(ProxyHeader { client: None, len });
        assert_eq!(read(&header(0, 0, &[])), none(16));
        assert_eq!(read(&header(0, 0x11, &[9; 30])), none(46));
        assert_eq!(read(&header(1, 0, &[1, 2, 3])), none(19));
    }

    proptest! {
        /// Whoever the client is and whatever the proxy adds, both ways of reading say who it is and where the query begins.
        #[test]
        fn clients_are_who_they_are_said_to_be(
            v6 in any::<bool>(), ip in any::<[u8; 16]>(), port in any::<u16>(),
            more in proptest::collection::vec(any::<u8>(), 0..300),
            query in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let address = match v6 {
                true => IpAddr::from(ip),
                false => IpAddr::from([ip[0], ip[1], ip[2], ip[3]]),
            };
            prop_assume!(!address.is_unspecified() && !address.is_multicast());
            let client = SocketAddr::new(address, port);
            let header = of(client, &more);
            let len = header.len();
            let expected = ProxyHeader { client: Some(SocketAddr::new(address.to_canonical(), port)), len };
            let message = [header, query].concat();
            prop_assert_eq!(read(&message), Some(expected));
            prop_assert_eq!(received(&message).unwrap(), Some(expected));
        }

        /// Nothing that a stranger sends does more than be no header, and what is read never ends behind its message.
        #[test]
        fn anything_may_come(
            begins_well in any::<bool>(),
            octets in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let start: &[u8] = if begins_well { &SIGNATURE } else { &[] };
            let message = [start, &octets].concat();
            let found = read(&message);
            prop_assert!(found.is_none_or(|header| header.len <= message.len()));
            if let Ok(received) = received(&message) {
                prop_assert_eq!(received, found);
            }
        }
    }
}
