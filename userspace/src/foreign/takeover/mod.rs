//! What the configuration of a name server says that sealdns is to stand in front of: its addresses, its zones, the secret of
//! its cookies; and what it must be told so that its zones can be had.
//!
//! | file | whose configuration |
//! |---|---|
//! | `named.rs` | BIND's named.conf |
//! | `knot.rs` | Knot's knot.conf |
//! | `nsd.rs` | NSD's nsd.conf |
//! | `pdns.rs` | PowerDNS's pdns.conf |
//! | `listening.rs` | on which addresses of this host a server listens |
//! | `write.rs` | the configuration of sealdns |

mod knot;
mod listening;
mod named;
mod nsd;
mod pdns;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::{Fault, Files, Place, Setting};
use crate::config::CookieSecret;
use crate::zone::Name;
pub use listening::LocalAddress;
use write::NOTIFIED_AT;

/// The port of DNS.
const PORT: u16 = 53;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// BIND's named.conf.
    Named,
    /// Knot's knot.conf.
    Knot,
    /// NSD's nsd.conf.
    Nsd,
    /// PowerDNS's pdns.conf.
    Pdns,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Named => "named",
            Server::Knot => "knotd",
            Server::Nsd => "nsd",
            Server::Pdns => "pdns_server",
        })
    }
}

/// What is known of a server that runs on this host.
#[derive(Debug, PartialEq)]
pub struct Takeover {
    /// Which server it is.
    pub server: Server,
    /// Where it answers: addresses of this host, never wildcards.
    pub listens: Vec<SocketAddr>,
    /// Its zones, and whether they are signed; `None`: that is not known. No configuration tells it of a file that is signed
    /// elsewhere: the server does.
    pub zones: BTreeMap<Name, Option<bool>>,
    /// The secret of its cookies (RFC 9018), as hexadecimal digits.
    pub cookie_secret: Option<String>,
    /// What it must be told, line by line.
    pub advice: Vec<String>,
    /// What was left out, and why; what else a person should know.
    pub notes: Vec<String>,
}

impl Takeover {
    fn new(server: Server) -> Takeover {
        Takeover {
            server,
            listens: Vec::new(),
            zones: BTreeMap::new(),
            cookie_secret: None,
            advice: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Reads the configuration of a server: of the one that it looks like, unless `server` says which. `local`: the addresses
    /// of this host.
    ///
    /// # Errors
    /// If a file cannot be read, or is no configuration, with its place.
    pub fn read(
        file: &Path,
        server: Option<Server>,
        local: &[LocalAddress],
    ) -> Result<Takeover, Fault> {
        let server = match server {
            Some(server) => server,
            None => Files::new(file).outermost(|_, text, _| Ok(by_looks(text)))?,
        };
        let mut files = Files::new(file);
        match server {
            Server::Named => named::read(&mut files, local),
            Server::Knot => knot::read(&mut files, local),
            Server::Nsd => nsd::read(&mut files, local),
            Server::Pdns => pdns::read(&mut files, local),
        }
    }

    /// Where the server is asked over loopback, if it listens there; else at its first address.
    pub fn asked_at(&self) -> SocketAddr {
        listening::asked_at(&self.listens)
            .unwrap_or_else(|| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT))
    }

    /// Adds zones that a server has beside those of its configuration: a name in each line, as `pdnsutil list-all-zones` and
    /// others list them.
    ///
    /// # Errors
    /// If a line is no name of a zone.
    pub fn add_zones(&mut self, list: &str, place: &Path) -> Result<(), Fault> {
        for (index, line) in list.lines().enumerate() {
            let Some(word) = line.split_whitespace().next().filter(|word| !word.starts_with('#'))
            else {
                continue;
            };
            let name = word.parse::<Name>().map_err(|error| {
                Fault(format!("{}:{}:1: \"{word}\": {error}", place.display(), index + 1))
            })?;
            self.zones.entry(name).or_insert(None);
        }
        Ok(())
    }

    /// Adds a zone, or notes that its name is none.
    fn add_zone(&mut self, place: &Place, name: &str) {
        match name.parse::<Name>() {
            Ok(name) => {
                self.zones.insert(name, None);
            }
            Err(error) => self.notes.push(format!("{place}: zone \"{name}\" is left out: {error}")),
        }
    }

    /// Takes a secret of cookies, if it is one of RFC 9018: others are of no use here.
    fn share_cookies(&mut self, secret: &str) {
        match CookieSecret::from_text(secret) {
            Some(_) => self.cookie_secret = Some(secret.to_owned()),
            None => {
                let note =
                    "its cookies are not those of RFC 9018: queries with cookies are the server's";
                self.notes.push(note.to_owned());
            }
        }
    }

    fn leave_out(&mut self, place: &Place, name: &str, why: impl fmt::Display) {
        self.notes.push(format!("{place}: zone {name} is left out: {why}"));
    }
}

/// Where a setting stands.
fn place_of(setting: &Setting) -> String {
    setting.place.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Whose configuration a text is. Braces are BIND's, `key=value` is PowerDNS's; Knot's and NSD's have sections of
/// `key: value`, and only Knot's have items, which begin with a dash.
fn by_looks(text: &str) -> Server {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let is_key = |key: &str| {
        let is_of_keys = |octet: u8| octet.is_ascii_lowercase() || matches!(octet, b'-' | b'_');
        !key.is_empty() && key.trim_end().trim_end_matches('+').bytes().all(is_of_keys)
    };
    let has = |mark: char| {
        let keys = lines.iter().filter_map(|line| line.split_once(mark));
        keys.filter(|(key, _)| is_key(key.trim_start_matches('-').trim())).count()
    };
    let ends_statements = lines.iter().filter(|line| line.ends_with([';', '{'])).count();
    let (pairs, settings) = (has('='), has(':'));
    if ends_statements > pairs.max(settings) {
        Server::Named
    } else if pairs > settings {
        Server::Pdns
    } else if lines.iter().any(|line| {
        ["- ", "listen:", "rundir:", "storage:", "automatic-acl:"]
            .iter()
            .any(|mark| line.starts_with(mark))
    }) {
        Server::Knot
    } else {
        Server::Nsd
    }
}
