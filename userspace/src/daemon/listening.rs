//! The sockets that questions come to: bound at the start, and opened and closed as `listen` changes. What stays in it is
//! not touched, so no query to it is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::descriptors::MAX_UDP_WORKERS;
use super::locks::{Lock, Rank};
use super::startup;
use super::supervise::{Pulse, Pulses, keep_running};
use crate::config::Config;
use crate::server::stats::SocketStats;
use crate::server::tcp::{Security, TlsIdentity};
use crate::server::{Shared, tcp, udp};

/// Where questions come to, and whether they are encrypted.
pub type Endpoint = (SocketAddr, Security);

/// The sockets of one address.
pub struct AddressSockets {
    /// The address.
    pub endpoint: Endpoint,
    /// One for each core; none for TLS.
    pub udp: Vec<UdpSocket>,
    /// The listening one.
    pub tcp: TcpListener,
}

impl AddressSockets {
    /// Binds them.
    pub fn bind(endpoint: Endpoint) -> anyhow::Result<AddressSockets> {
        AddressSockets::bind_by(endpoint, tcp::bind)
    }

    fn bind_by(
        endpoint: Endpoint,
        bind_tcp: fn(SocketAddr) -> std::io::Result<TcpListener>,
    ) -> anyhow::Result<AddressSockets> {
        let (address, security) = endpoint;
        let workers = match security {
            Security::Plain => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            Security::Tls => 0,
        };
        startup::warn_if_elsewhere(address);
        let udp = udp::bind(address, workers.min(MAX_UDP_WORKERS));
        let udp = udp.with_context(|| cannot_listen("UDP", address))?;
        let tcp = bind_tcp(address).with_context(|| cannot_listen("TCP", address))?;
        Ok(AddressSockets { endpoint, udp, tcp })
    }
}

/// What a configuration has listened on.
pub fn endpoints(config: &Config) -> BTreeSet<Endpoint> {
    let server = &config.server;
    let notify = config.front.as_ref().and_then(|front| front.notify);
    let plain = server.listen.iter().map(|listen| listen.0).chain(notify);
    let plain = plain.map(|address| (address, Security::Plain));
    let encrypted = server.listen_tls.iter().map(|listen| (listen.0, Security::Tls));
    plain.chain(encrypted).collect()
}

fn cannot_listen(transport: &str, address: SocketAddr) -> String {
    format!(
        "listening on {address} over {transport} (does another server use it, and may this user use ports below 1024?)"
    )
}

/// What all sockets need.
pub struct SocketParts {
    /// What is served.
    pub shared: Arc<Shared>,
    /// Where it is counted.
    pub stats: Arc<SocketStats>,
    /// What TCP connections may use.
    pub limits: tcp::ConnectionLimits,
    /// Where tasks show that they are not stuck.
    pub pulses: Pulses,
}

/// The sockets that are served, once they are.
pub struct Listening {
    served: Lock<Option<Served>>,
    tls: Arc<TlsIdentity>,
}

struct Served {
    runtime: Handle,
    parts: SocketParts,
    context: Arc<tcp::Context>,
    addresses: BTreeMap<Endpoint, ServedAddress>,
    tasks: JoinSet<()>,
}

struct ServedAddress {
    stop: watch::Sender<bool>,
    /// A copy of its descriptor.
    tcp: TcpListener,
}

impl Listening {
    /// Nothing is served yet.
    pub fn new() -> Listening {
        Listening { served: Lock::new(Rank::Sockets, None), tls: Arc::default() }
    }

    /// What is shown to clients over TLS.
    pub fn tls(&self) -> &TlsIdentity {
        &self.tls
    }

    /// Serves these sockets. To be called within a tokio runtime.
    ///
    /// # Errors
    /// If a descriptor cannot be copied.
    pub fn start(&self, sockets: Vec<AddressSockets>, parts: SocketParts) -> anyhow::Result<()> {
        let (shared, stats) = (Arc::clone(&parts.shared), Arc::clone(&parts.stats));
        let context =
            Arc::new(tcp::Context::new(shared, stats, Arc::clone(&self.tls), parts.limits));
        let mut served = Served {
            runtime: Handle::current(),
            parts,
            context,
            addresses: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        let started = sockets.into_iter().try_for_each(|one| served.add(one));
        *self.served.hold() = Some(served);
        started
    }

    /// Opens and closes sockets so that these addresses are listened on.
    ///
    /// # Errors
    /// If one cannot be bound: then all stays as it was.
    pub fn follow(&self, listen: &BTreeSet<Endpoint>) -> anyhow::Result<()> {
        let mut served = self.served.hold();
        let served = served.as_mut().context("the sockets are not served yet")?;
        while served.tasks.try_join_next().is_some() {}
        let is_gone = |address: &&Endpoint| !listen.contains(address);
        let gone: Vec<Endpoint> = served.addresses.keys().filter(is_gone).copied().collect();
        // A wildcard takes the place of an address, or an address that of a wildcard: both are bound for a moment.
        for address in gone.iter().filter_map(|address| served.addresses.get(address)) {
            tcp::share_port(&address.tcp)?;
        }
        let bind = if gone.is_empty() { tcp::bind } else { tcp::bind_beside };
        let new = listen.iter().filter(|address| !served.addresses.contains_key(address));
        let bound = new.map(|address| AddressSockets::bind_by(*address, bind));
        let bound: Vec<AddressSockets> = bound.collect::<anyhow::Result<_>>().context(CANNOT)?;
        for sockets in bound {
            tracing::info!(address = %sockets.endpoint.0, "listening");
            served.add(sockets)?;
        }
        for address in gone {
            if let Some(old) = served.addresses.remove(&address) {
                tracing::info!(address = %address.0, "not listening any more");
                old.stop.send_replace(true);
            }
        }
        Ok(())
    }

    /// Has all sockets end, and waits until what was asked is answered.
    pub async fn end(&self) {
        let mut tasks = match &mut *self.served.hold() {
            Some(served) => {
                for (_, address) in std::mem::take(&mut served.addresses) {
                    address.stop.send_replace(true);
                }
                std::mem::take(&mut served.tasks)
            }
            None => return,
        };
        while tasks.join_next().await.is_some() {}
    }
}

/// What to do where a socket cannot be bound later.
const CANNOT: &str = "the addresses that were listened on stay; a daemon with `user` may bind no port below \
                      net.ipv4.ip_unprivileged_port_start once it has given its privileges up: restart it, or \
                      lower that";

impl Served {
    fn add(&mut self, sockets: AddressSockets) -> anyhow::Result<()> {
        let (stop, stopped) = watch::channel(false);
        let copied = sockets.tcp.try_clone().context("copying a descriptor")?;
        for socket in sockets.udp {
            let (shared, stats) = (Arc::clone(&self.parts.shared), Arc::clone(&self.parts.stats));
            let stop = stopped.clone();
            let make = move || {
                let (shared, stats) = (Arc::clone(&shared), Arc::clone(&stats));
                Ok(udp::serve(socket.try_clone()?, shared, stats, stop.clone()))
            };
            self.spawn("a UDP socket", stopped.clone(), make);
        }
        let (context, stop_tcp, listener) =
            (Arc::clone(&self.context), stopped.clone(), sockets.tcp);
        let security = sockets.endpoint.1;
        let make = move || {
            Ok(tcp::serve(listener.try_clone()?, Arc::clone(&context), security, stop_tcp.clone()))
        };
        self.spawn("a TCP socket", stopped, make);
        self.addresses.insert(sockets.endpoint, ServedAddress { stop, tcp: copied });
        Ok(())
    }

    fn spawn<F>(
        &mut self,
        what: &str,
        stopped: watch::Receiver<bool>,
        make: impl FnMut() -> std::io::Result<F> + Send + 'static,
    ) where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let pulse = Pulse::new();
        self.parts.pulses.add(pulse.clone());
        let task = keep_running(what.to_owned(), pulse, stopped, make);
        self.tasks.spawn_on(task, &self.runtime);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::server::testing;

    /// A query for the SOA record of `example`.
    const QUERY: &[u8] = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x07example\0\0\x06\0\x01";

    fn loopback(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port))
    }

    fn over_udp(server: SocketAddr) -> bool {
        let client = UdpSocket::bind(loopback(1, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.connect(server).unwrap();
        client.send(QUERY).is_ok() && client.recv(&mut [0; 512]).is_ok()
    }

    fn over_tcp(server: SocketAddr) -> bool {
        let Ok(mut stream) = TcpStream::connect(server) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let query = [&[0, QUERY.len() as u8], QUERY].concat();
        stream.write_all(&query).is_ok() && stream.read_exact(&mut [0; 14]).is_ok()
    }

    #[test]
    fn sockets_come_and_go_and_those_that_stay_answer_all_along() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listening = Listening::new();
        let first = loopback(1, 0);
        let (udp, tcp) = (udp::bind(first, 1).unwrap(), tcp::bind(first).unwrap());
        // Over UDP port 0 is another one than over TCP.
        let (udp_at, tcp_at) = (udp[0].local_addr().unwrap(), tcp.local_addr().unwrap());
        let served = testing::served(&testing::zone(7, 0));
        let second = Duration::from_secs(1);
        let limits = tcp::ConnectionLimits {
            idle_timeout: second,
            write_timeout: second,
            connections: 9,
            connections_per_client: 9,
        };
        let parts = SocketParts {
            shared: Arc::new(Shared::new(served)),
            stats: Arc::default(),
            limits,
            pulses: Pulses::default(),
        };
        let entered = runtime.enter();
        let plain = |address| (address, Security::Plain);
        listening.start(vec![AddressSockets { endpoint: plain(first), udp, tcp }], parts).unwrap();
        drop(entered);
        let more = loopback(2, tcp_at.port());
        listening.follow(&[first, more].map(plain).into()).unwrap();
        assert!(over_udp(udp_at) && over_tcp(tcp_at) && over_udp(more) && over_tcp(more));

        // Another has the port: all stays as it was.
        let other = TcpListener::bind(loopback(3, 0)).unwrap();
        let taken = other.local_addr().unwrap();
        let refused = listening.follow(&[first, taken].map(plain).into()).unwrap_err();
        assert!(format!("{refused:#}").contains(&taken.to_string()), "{refused:#}");
        assert!(over_udp(udp_at) && over_tcp(tcp_at) && over_udp(more) && over_tcp(more));

        // A wildcard in the place of its addresses, and back.
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, more.port()));
        for wanted in
            [[any].map(plain).into(), [first, more].map(plain).into(), [more].map(plain).into()]
        {
            listening.follow(&wanted).unwrap();
            // A connection that was made to the socket that is closed is closed, too.
            assert!(over_udp(more) && (0..9).any(|_| over_tcp(more)), "{wanted:?}");
        }
        // What is gone is closed, if not at once.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let elsewhere = loopback(4, more.port());
        while over_tcp(elsewhere) {
            assert!(std::time::Instant::now() < deadline, "the wildcard is still there");
        }
        runtime.block_on(listening.end());
        assert!(!over_tcp(more));
    }
}
