//! The configuration file: TOML, read once into types that hold only what is valid.
//!
//! Nothing is accepted that has no effect: an unknown key is an error with line, column and a
//! suggestion, and a key of a feature that this version lacks is an error that says so.

mod edns;
mod error;
mod health;
mod pin;
mod policy;
pub mod ratelimit;
mod template;
#[cfg(test)]
mod tests;
mod transfer;
mod values;
mod xdp;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use toml::Spanned;
use xdp_common::dns::MAX_PAYLOAD;

use crate::duration::Period;
use crate::zone::Name;
pub use edns::{CookieSecret, Cookies, DerivationPeriod, Nsid};
pub use error::ConfigError;
pub(crate) use error::explain;
use error::invalid;
pub use health::Health;
pub use pin::{DEFAULT_PIN, OnExit, PinFolder};
pub use policy::Policy;
use ratelimit::{RateLimit, ZoneRateLimit};
pub use template::TEMPLATE;
pub use transfer::{
    AllowTransfer, AllowUpdate, MIN_TSIG_SECRET, NamePattern, Primary, ServerAddress,
    TsigAlgorithm, TsigKey, TsigSecret,
};
pub use values::{AddressPrefix, ByteSize, ChaosText, ListenAddress, UdpPayload, Verify};
pub use xdp::{RefuseMode, TcxMode, Xdp, XdpMode};

/// Where the daemon and the commands look when `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/sealdns/sealdns.toml";
/// Where the control socket is unless the configuration says otherwise.
pub const DEFAULT_CONTROL: &str = "/run/sealdns/control.sock";

const TCP_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
const TCP_CONNECTIONS_PER_CLIENT: NonZeroUsize = NonZeroUsize::new(100).unwrap();

/// Octets of a transfer from a primary: a zone of ten million signed delegations, more or less, and no more than memory that
/// servers have.
const TRANSFER_SIZE: u64 = 2 << 30;

/// A whole configuration, valid in itself; files it names may still be missing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    #[allow(dead_code, reason = "read to be required: later formats will differ by it")]
    version: FormatVersion,
    /// The section `[server]`.
    #[serde(default)]
    pub server: Server,
    /// The section `[xdp]`.
    #[serde(default)]
    pub xdp: Xdp,
    /// The section `[cookies]`.
    #[serde(default)]
    pub cookies: Cookies,
    /// The section `[ratelimit]`.
    #[serde(default)]
    pub ratelimit: RateLimit,
    /// The section `[health]`.
    #[serde(default)]
    pub health: Health,
    /// The sections `[[tsig]]`.
    #[serde(default, rename = "tsig")]
    tsig_keys: Vec<Spanned<TsigKey>>,
    /// The sections `[[zone]]`, in the order of the file.
    #[serde(default, rename = "zone")]
    zones: Vec<Spanned<Zone>>,
    /// The sections `[policy.NAME]`; `default` always exists.
    #[serde(default, rename = "policy")]
    pub policies: BTreeMap<String, Policy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
enum FormatVersion {
    #[serde(rename = "v1")]
    V1,
}

/// `[server]`: the daemon's sockets, places and limits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Server {
    /// Addresses of the UDP and TCP sockets; empty in front of another name server.
    pub listen: Vec<ListenAddress>,
    /// The control socket's path.
    pub control: PathBuf,
    /// Where keys, state and the records of large zones are kept.
    pub state_dir: PathBuf,
    /// The user to become once sockets are bound and XDP is attached; empty: stay.
    pub user: String,
    /// What `id.server` and `hostname.bind` (class CH) say (RFC 4892); empty: refused.
    pub identity: ChaosText,
    /// What `version.server` and `version.bind` (class CH) say; empty: refused.
    pub version: ChaosText,
    /// What the EDNS option NSID says (RFC 5001); empty: nothing.
    pub nsid: Nsid,
    /// The largest UDP response in octets, whatever the client accepts.
    pub udp_payload: UdpPayload,
    /// How long a TCP connection may stand without a whole query arriving.
    pub tcp_idle_timeout: Period,
    /// How long a TCP client may take to accept a response.
    pub tcp_write_timeout: Period,
    /// TCP connections at once, all clients together.
    pub tcp_connections: NonZeroUsize,
    /// TCP connections at once from one address (IPv6: one /64).
    pub tcp_connections_per_client: NonZeroUsize,
    /// How long open connections may take to finish when the daemon stops.
    pub shutdown_timeout: Period,
    /// How large a transfer from a primary may be, in octets of its messages.
    pub transfer_size: ByteSize,
    /// How long a transfer from a primary may take.
    pub transfer_timeout: Period,
}

impl Server {
    /// The folder of the keys that zones are signed with.
    pub fn key_dir(&self) -> PathBuf {
        self.state_dir.join("keys")
    }
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: Vec::new(),
            control: DEFAULT_CONTROL.into(),
            state_dir: "/var/lib/sealdns".into(),
            user: String::new(),
            identity: ChaosText::default(),
            version: ChaosText::default(),
            nsid: Nsid::default(),
            udp_payload: UdpPayload(MAX_PAYLOAD),
            tcp_idle_timeout: Period::from_seconds(10),
            tcp_write_timeout: Period::from_seconds(10),
            tcp_connections: TCP_CONNECTIONS,
            tcp_connections_per_client: TCP_CONNECTIONS_PER_CLIENT,
            shutdown_timeout: Period::from_seconds(5),
            transfer_size: ByteSize(TRANSFER_SIZE),
            transfer_timeout: Period::from_seconds(3600),
        }
    }
}

/// `[[zone]]`: one zone to serve.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Zone {
    /// The apex.
    #[serde(deserialize_with = "zone_name")]
    pub name: Name,
    /// The master file; empty if the zone comes from `primaries`.
    #[serde(default)]
    pub file: PathBuf,
    /// The servers that the zone is transferred from, the first one first; none if it comes from `file`.
    #[serde(default)]
    pub primaries: Vec<Primary>,
    /// Where its signatures come from.
    #[serde(default)]
    pub dnssec: Dnssec,
    /// The signing policy's name.
    #[serde(default = "default_policy_name")]
    pub policy: String,
    /// The key of the zone's transfers and NOTIFY messages, in and out; none: they are not signed.
    #[serde(default, deserialize_with = "transfer::name_or_none")]
    pub tsig: Option<Name>,
    /// The servers that are told of each new serial.
    #[serde(default)]
    pub notify: Vec<ServerAddress>,
    /// Who may transfer the zone; empty: nobody.
    #[serde(default)]
    pub allow_transfer: Vec<AllowTransfer>,
    /// Who may change the zone by dynamic updates, and what of it; empty: nobody.
    #[serde(default)]
    pub allow_update: Vec<AllowUpdate>,
    /// The section `[zone.ratelimit]`.
    pub ratelimit: Option<ZoneRateLimit>,
    /// How long before the earliest expiration `health` warns; none: as `[health]` says.
    pub warn_before: Option<Period>,
    /// When the signatures of a file that is signed already are verified.
    #[serde(default)]
    pub verify: Verify,
}

impl Zone {
    /// Whether it is transferred from primaries, and not read from a file.
    pub fn is_transferred(&self) -> bool {
        !self.primaries.is_empty()
    }

    /// Whether it is changed by dynamic updates, so that its file is only what it began with.
    pub fn is_updated(&self) -> bool {
        !self.allow_update.is_empty()
    }

    /// What is wrong with where the zone comes from and who it is transferred to, if these are the keys that there are:
    /// a word that stands there, what is wrong, and what to do about it.
    fn transfer_fault(&self, keys: &HashSet<&Name>) -> Option<(String, String, &'static str)> {
        let fault = |word: &str, message: String, hint| {
            Some((word.to_owned(), format!("zone {}: {message}", self.name), hint))
        };
        match (self.file.as_os_str().is_empty(), self.primaries.is_empty()) {
            (true, true) => {
                let message = "the key `file` is missing in this section".to_owned();
                return fault("[[zone]]", message, "set `file`");
            }
            (false, false) => {
                let message = "both `file` and `primaries` are set".to_owned();
                return fault("primaries", message, "remove one of them");
            }
            (true, false) | (false, true) => {}
        }
        if self.is_updated() && self.is_transferred() {
            let message = "a zone that comes from `primaries` is changed there".to_owned();
            return fault("allow-update", message, "remove one of the two");
        }
        if self.is_updated() && self.dnssec == Dnssec::Presigned {
            let message = "nobody here could sign what updates change".to_owned();
            return fault("allow-update", message, "set `dnssec = \"sign\"`, or remove it");
        }
        let in_primaries = self.primaries.iter().filter_map(|primary| primary.tsig.as_ref());
        let in_allowed = self.allow_transfer.iter().filter_map(|allowed| match allowed {
            AllowTransfer::Key(name) => Some(name),
            AllowTransfer::Address(_) => None,
        });
        let in_updates = self.allow_update.iter().map(|allowed| &allowed.key);
        let named = self.tsig.iter().chain(in_primaries).chain(in_allowed).chain(in_updates);
        let unknown = named.into_iter().find(|name| !keys.contains(name))?;
        let written = unknown.to_string();
        let word = written.trim_end_matches('.');
        let message = format!("there is no TSIG key named \"{unknown}\"");
        fault(word, message, "add a section [[tsig]] of this name")
    }
}

/// Where a zone's signatures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dnssec {
    /// sealdns signs.
    #[default]
    Sign,
    /// The file is signed already; it is verified before it is served.
    Presigned,
    /// The zone is not signed.
    Off,
}

impl Config {
    /// Reads the file at `path`. Relative paths in it are taken from its folder.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config = Config::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for place in [&mut config.server.control, &mut config.server.state_dir] {
            *place = folder.join(&*place);
        }
        if let Some(file) = &mut config.cookies.secret_file {
            *file = folder.join(&*file);
        }
        for key in &mut config.tsig_keys {
            if let Some(file) = &mut key.get_mut().secret_file {
                *file = folder.join(&*file);
            }
        }
        for zone in &mut config.zones {
            let zone = zone.get_mut();
            if !zone.file.as_os_str().is_empty() {
                zone.file = folder.join(&zone.file);
            }
        }
        config.ratelimit.load_exempt(folder)?;
        Ok(config)
    }

    /// Reads a configuration from text; `path` is for error messages only, and relative paths
    /// stay as they are.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let mut config: Config =
            toml::from_str(text).map_err(|error| explain(&error, text, path))?;
        config.policies.entry("default".into()).or_default();
        config.ratelimit.resolve();
        let at = |span: Range<usize>, message: String, hint: Option<&str>| {
            invalid(text, path, span.start, message, hint.map(str::to_owned))
        };
        let mut listening = HashSet::new();
        if let Some(twice) = config.server.listen.iter().find(|one| !listening.insert(one.0)) {
            let place = text.find("listen").unwrap_or(0);
            return Err(at(place..place, format!("{} is listed twice", twice.0), None));
        }
        if let Some((key, message)) = config.cookies.fault() {
            let section = text.find("[cookies]").unwrap_or(0);
            let place = section + text[section..].find(key).unwrap_or(0);
            return Err(at(place..place, message.to_owned(), None));
        }
        let keys = config.tsig_key_names().map_err(|(span, message)| at(span, message, None))?;
        let mut seen = HashSet::new();
        for zone in &config.zones {
            if let Some((word, message, hint)) = zone.get_ref().transfer_fault(&keys) {
                // The span of a section is that of its heading.
                let section = text.get(zone.span().start..).unwrap_or_default();
                let section = section.split_once("\n[[").map_or(section, |(section, _)| section);
                let start = zone.span().start + section.find(&word).unwrap_or(0);
                return Err(at(start..start, message, Some(hint)));
            }
            let (span, zone) = (zone.span(), zone.get_ref());
            if !seen.insert(zone.name.clone()) {
                let message = format!("the zone {} is configured twice", zone.name);
                return Err(at(span, message, Some("remove one of the two [[zone]] sections")));
            }
            if !config.policies.contains_key(&zone.policy) {
                let message =
                    format!("zone {}: there is no policy named \"{}\"", zone.name, zone.policy);
                let hint = format!("add a section [policy.{}]", zone.policy);
                return Err(at(span, message, Some(&hint)));
            }
            let is_in_front = config.server.listen.is_empty() && !config.xdp.interfaces.is_empty();
            if zone.verify == Verify::Background && is_in_front {
                let message = format!(
                    "zone {}: verify = \"background\" needs `listen`: where another server answers what XDP does not, \
                     it would send what must not be sent",
                    zone.name
                );
                return Err(at(span, message, Some("set verify = \"first\"")));
            }
        }
        if config.xdp.on_exit == OnExit::Keep && config.xdp.pin.path().is_none() {
            let place = text.find("on-exit").unwrap_or(0);
            let message = "on-exit = \"keep\" needs `pin`: what is not pinned ends with the daemon";
            let hint = format!("set pin = \"{DEFAULT_PIN}\" in [xdp]");
            return Err(at(place..place, message.to_owned(), Some(&hint)));
        }
        if config.xdp.mode == XdpMode::Tcx && config.xdp.tcx == TcxMode::Off {
            let place = text.find("\ntcx").map_or(0, |at| at + 1);
            let message = "mode = \"tcx\" and tcx = \"off\": then nothing would answer but sockets";
            let hint = "remove one of the two, or empty `interfaces`";
            return Err(at(place..place, message.to_owned(), Some(hint)));
        }
        for (name, policy) in &config.policies {
            if policy.refresh >= policy.signature_validity {
                let message = format!(
                    "policy {name}: refresh is not shorter than signature-validity: zones would \
                     be signed again without end"
                );
                return Err(at(0..0, message, None));
            }
        }
        Ok(config)
    }

    /// The zones, in the order of the file.
    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().map(Spanned::get_ref)
    }

    /// The keys that are shared with other servers.
    pub fn tsig_keys(&self) -> impl Iterator<Item = &TsigKey> {
        self.tsig_keys.iter().map(Spanned::get_ref)
    }

    /// The names of the keys that are shared with other servers; or what is wrong with one, and where it is.
    fn tsig_key_names(&self) -> Result<HashSet<&Name>, (Range<usize>, String)> {
        let mut names = HashSet::new();
        for section in &self.tsig_keys {
            let key = section.get_ref();
            let fault = match (&key.secret, &key.secret_file) {
                _ if !names.insert(&key.name) => "is configured twice: remove one of the two",
                (None, None) => "has no secret: set `secret` or `secret-file`",
                (Some(_), Some(_)) => "has both `secret` and `secret-file`: remove one of them",
                _ => continue,
            };
            return Err((section.span(), format!("the TSIG key {} {fault}", key.name)));
        }
        Ok(names)
    }

    /// The signing policy of a zone of this configuration.
    pub fn policy(&self, zone: &Zone) -> Policy {
        self.policies.get(&zone.policy).cloned().unwrap_or_default()
    }

    /// How long before the earliest expiration of a zone's signatures `health` warns, in seconds. Of a zone
    /// that sealdns signs no more than half the time that is left when it signs again: in between signing
    /// has failed for as long, and else short signatures would be warned of all the time.
    pub fn warns_before(&self, zone: &Zone, policy: &Policy) -> u32 {
        let told = zone.warn_before.unwrap_or(self.health.warn_before).seconds();
        match zone.dnssec {
            Dnssec::Sign => told.min(policy.refresh.seconds() / 2),
            Dnssec::Presigned | Dnssec::Off => told,
        }
    }

    /// Whether queries for names of no zone are refused in XDP.
    pub fn refuses(&self) -> bool {
        match self.xdp.refuse {
            RefuseMode::Auto => !self.server.listen.is_empty(),
            RefuseMode::On => true,
            RefuseMode::Off => false,
        }
    }

    /// Destination addresses that XDP answers.
    pub fn xdp_addresses(&self) -> Vec<IpAddr> {
        if self.xdp.addresses.is_empty() {
            self.server.listen.iter().map(|listen| listen.0.ip()).collect()
        } else {
            self.xdp.addresses.clone()
        }
    }
}

fn default_policy_name() -> String {
    "default".into()
}

fn zone_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}
