//! The daemon's own DNS service: what XDP passes up over UDP, and everything over TCP.
//!
//! | to … | use |
//! |---|---|
//! | answer one message | [`responder::respond`] |
//! | hold what is served right now | [`Served`], [`Shared`] |
//! | run the sockets | [`udp::serve`], [`tcp::serve`] |
//! | say what is limited, and limit it | [`limits::Limits`], [`limiter::Limiter`] |
//! | count | [`stats::Stats`] |

pub mod limiter;
pub mod limits;
pub mod message;
pub mod options;
pub mod responder;
pub mod stats;
pub mod tcp;
pub mod told;
pub mod udp;
mod zones;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;
use socket2::Socket;
use xdp_common::limit::account::Account;
use xdp_common::{Outcome, maps};

use self::limiter::Limiter;
use crate::compile::{Asked, Found, Reader};
use crate::zone::{Name, Zone, name};
use zones::Zones;

/// What composes answers: the engine over compiled zones.
pub trait Engine: Send + Sync {
    /// Answers one message; see [`Reader::respond`], whose contract this is.
    fn respond(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Outcome;

    /// Answers one question for signatures; see [`Reader::signatures`], whose contract this is.
    fn signatures(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Found {
        Found { outcome: self.respond(query, asked, response), records: 0 }
    }

    /// What of the answer that this thread was given last the rate limiter counts together.
    fn account(&self) -> Account {
        Account::default()
    }
}

impl Engine for Reader {
    fn respond(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Outcome {
        Reader::respond(self, query, asked, response)
    }

    fn signatures(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Found {
        Reader::signatures(self, query, asked, response)
    }

    fn account(&self) -> Account {
        Reader::account(self)
    }
}

/// What is served at one moment; a change makes a new one.
pub struct Served {
    engine: Arc<dyn Engine>,
    zones: Zones,
    /// Whether one of them could not be loaded.
    lacks_zones: bool,
    manners: Manners,
}

/// One configured zone.
#[derive(Clone)]
pub struct ServedZone {
    /// Its records; `None` while it could not be loaded.
    pub zone: Option<Arc<Zone>>,
    /// Who may transfer it.
    pub allow_transfer: Vec<IpNet>,
}

/// How the server presents itself.
#[derive(Clone, Debug)]
pub struct Manners {
    /// What id.server says in class CH; `None`: refused.
    pub identity: Option<String>,
    /// What version.server says in class CH; `None`: refused.
    pub version: Option<String>,
    /// The largest UDP response in octets.
    pub udp_payload: usize,
    /// What options of responses say, and whether names of no zone are refused: as XDP is told.
    pub said: maps::Manners,
}

impl Served {
    /// Puts together what is served.
    pub fn new(
        engine: Arc<dyn Engine>,
        zones: impl IntoIterator<Item = (Name, ServedZone)>,
        manners: Manners,
    ) -> Served {
        let zones = zones.into_iter().map(|(name, zone)| (name.as_wire().into(), Some(zone)));
        Served::of(engine, Zones::default().with(zones), manners)
    }

    /// The same with another engine and other options of responses, and with these zones in the place of
    /// what was served of them.
    pub fn with(
        &self,
        engine: Arc<dyn Engine>,
        zones: impl IntoIterator<Item = (Name, ServedZone)>,
        said: maps::Manners,
    ) -> Served {
        let zones = zones.into_iter().map(|(name, zone)| (name.as_wire().into(), Some(zone)));
        Served::of(engine, self.zones.with(zones), Manners { said, ..self.manners.clone() })
    }

    fn of(engine: Arc<dyn Engine>, zones: Zones, manners: Manners) -> Served {
        let lacks_zones = zones.lacks_some();
        Served { engine, zones, lacks_zones, manners }
    }

    /// What options of responses say.
    pub fn said(&self) -> maps::Manners {
        self.manners.said
    }

    /// The zone with this lower-case apex.
    pub fn zone_at(&self, apex: &[u8]) -> Option<&ServedZone> {
        self.zones.get(apex)
    }

    /// The closest enclosing zone of a lower-case name.
    pub fn zone_of(&self, qname: &[u8]) -> Option<&ServedZone> {
        name::ancestors(qname).find_map(|apex| self.zones.get(apex))
    }
}

impl ServedZone {
    /// Whether `client` may transfer this zone.
    fn may_transfer(&self, client: IpAddr) -> bool {
        self.allow_transfer.iter().any(|net| net.contains(&client))
    }
}

/// The place where what is served is exchanged whole.
pub struct Shared {
    served: RwLock<Arc<Served>>,
    limiter: Limiter,
}

impl Shared {
    /// Starts with `served`, and limits nothing.
    pub fn new(served: Served) -> Shared {
        // Randomly keyed by the standard library, which needs no error here.
        let seed = RandomState::new().hash_one(0);
        Shared { served: RwLock::new(Arc::new(served)), limiter: Limiter::new(seed) }
    }

    /// Who limits what is sent over UDP.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// What is served now. The lock is held for the copy of a pointer.
    pub fn get(&self) -> Arc<Served> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves `served` from the next message on.
    pub fn set(&self, served: Served) {
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }
}

/// Lets a socket be bound to an address that this host does not have yet (IP_FREEBIND in ip(7)): a routing
/// daemon may give it to the host once this server is healthy.
fn bind_before_it_is_here(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    }
}

/// Seconds since 1970, truncated to 32 bits as RRSIG times are (RFC 4034 section 3.1.5).
pub fn now() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as u32)
}
