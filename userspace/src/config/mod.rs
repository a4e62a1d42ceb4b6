//! The configuration file: TOML, read once into types that hold only what is valid.
//!
//! Nothing is accepted that has no effect: an unknown key is an error with line, column and a
//! suggestion, and a key of a feature that this version lacks is an error that says so.

mod edns;
mod error;
mod faults;
mod front;
mod health;
mod pin;
mod policy;
pub mod ratelimit;
mod sections;
mod template;
#[cfg(test)]
mod tests;
mod transfer;
mod values;
mod xdp;
mod zone;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, Deserializer};
use xdp_common::dns::MAX_PAYLOAD;

use crate::duration::Period;
use crate::zone::Name;
pub use edns::{CookieSecret, Cookies, DerivationPeriod, Nsid};
pub use error::ConfigError;
pub(crate) use error::explain;
use faults::ZoneSections;
pub use front::{Delay, Front, ZoneFront};
pub use health::Health;
pub use pin::{DEFAULT_PIN, OnExit, PinFolder};
pub use policy::Policy;
use ratelimit::RateLimit;
use sections::{MainSections, Sections};
pub use template::TEMPLATE;
pub use transfer::{
    AllowTransfer, AllowUpdate, KeyPin, MIN_TSIG_SECRET, NamePattern, Primary, PrimaryTls,
    ServerAddress, TsigAlgorithm, TsigKey, TsigSecret,
};
pub use values::{AddressPrefix, ByteSize, ChaosText, Families, ListenAddress, UdpPayload, Verify};
pub use xdp::{RefuseMode, TcxMode, Xdp, XdpMode};
pub use zone::{CatalogRole, Dnssec, Zone};
use zone::{MemberTemplates, ZoneSettings};

/// Where the daemon and the commands look when `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/sealdns/sealdns.toml";
/// Where the control socket is unless the configuration says otherwise.
pub const DEFAULT_CONTROL: &str = "/run/sealdns/control.sock";

const TCP_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
const TCP_CONNECTIONS_PER_CLIENT: NonZeroUsize = NonZeroUsize::new(100).unwrap();

/// The policy that always exists.
const DEFAULT_POLICY: &str = "default";

/// Octets of a transfer from a primary: a zone of ten million signed delegations, more or less, and no more than memory that
/// servers have.
const TRANSFER_SIZE: u64 = 2 << 30;

/// A whole configuration, valid in itself; files it names may still be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The files that it was read from: its own, and those that it includes.
    pub files: Vec<ConfigFile>,
    /// The section `[server]`.
    pub server: Server,
    /// The section `[xdp]`.
    pub xdp: Xdp,
    /// The section `[cookies]`.
    pub cookies: Cookies,
    /// The section `[ratelimit]`.
    pub ratelimit: RateLimit,
    /// The section `[health]`.
    pub health: Health,
    /// The section `[front]`, if there is one.
    pub front: Option<Front>,
    /// The sections `[[tsig]]`.
    tsig_keys: Vec<TsigKey>,
    /// The sections `[[zone]]`, in the order of the files.
    zones: Vec<Zone>,
    /// The sections `[template.NAME]`.
    templates: BTreeMap<String, ZoneSettings>,
    /// The catalogs whose members are served, and by which templates.
    followed: BTreeMap<Name, MemberTemplates>,
    /// The sections `[policy.NAME]`; `default` always exists.
    pub policies: BTreeMap<String, Policy>,
}

/// A file of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// The file.
    pub path: PathBuf,
    /// Whether the secret of a TSIG key stands in it.
    pub has_tsig_secret: bool,
}

/// `[server]`: the daemon's sockets, places and limits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Server {
    /// Addresses of the UDP and TCP sockets; empty in front of another name server.
    pub listen: Vec<ListenAddress>,
    /// Addresses of the sockets for DNS over TLS (RFC 7858).
    #[serde(deserialize_with = "values::tls_addresses")]
    pub listen_tls: Vec<ListenAddress>,
    /// The certificate for these, with those above it, in PEM; empty: none.
    pub tls_certificate: PathBuf,
    /// Its private key, in PEM; empty: none.
    pub tls_key: PathBuf,
    /// Proxies, which say of each query who has sent it.
    pub proxy_from: Vec<AddressPrefix>,
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
            listen_tls: Vec::new(),
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            proxy_from: Vec::new(),
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

impl Config {
    /// Reads the file at `path` and those that it includes. Relative paths in each are taken from its folder.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::of_sections(Sections::load(path)?)
    }

    /// Reads a configuration from text; `path` is for error messages only, relative paths
    /// stay as they are, and what it includes is not read.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        Config::of_sections(Sections::of_text(text, path)?)
    }

    fn of_sections(sections: Sections) -> Result<Config, ConfigError> {
        sections.check_main()?;
        let keys = sections.tsig_key_names()?;
        let ZoneSections { zones, followed } = sections.zones(&keys)?;
        let has_secret = |number: usize| {
            let mut keys = sections.tsig_keys.iter().filter(|key| key.place.file == number);
            keys.any(|key| key.value.secret.is_some())
        };
        let files = sections.files.iter().enumerate().map(|(number, file)| ConfigFile {
            path: file.path.clone(),
            has_tsig_secret: has_secret(number),
        });
        let files = files.collect();
        let MainSections { server, xdp, mut cookies, mut ratelimit, health, front } = sections.main;
        if front.is_some() && cookies.secret.is_none() && cookies.secret_file.is_none() {
            // A secret that the server does not have makes cookies that it does not accept.
            cookies.enabled = false;
        }
        ratelimit.resolve();
        let policies = sections.policies.into_iter().map(|(name, policy)| (name, policy.value));
        let mut policies: BTreeMap<String, Policy> = policies.collect();
        policies.entry(DEFAULT_POLICY.into()).or_default();
        let tsig_keys = sections.tsig_keys.into_iter().map(|key| key.value).collect();
        let templates = sections.templates.into_iter();
        let templates = templates.map(|(name, template)| (name, template.value)).collect();
        Ok(Config {
            files,
            server,
            xdp,
            cookies,
            ratelimit,
            health,
            front,
            tsig_keys,
            zones,
            templates,
            followed,
            policies,
        })
    }

    /// The zones, in the order of the files.
    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter()
    }

    /// The keys that are shared with other servers.
    pub fn tsig_keys(&self) -> impl Iterator<Item = &TsigKey> {
        self.tsig_keys.iter()
    }

    /// Whether the members of a catalog are served.
    pub fn follows(&self, catalog: &Name) -> bool {
        self.followed.contains_key(catalog)
    }

    /// The zone of this name as a member of a catalog with these groups, and the group that it is served by; `None` if the
    /// members of that catalog are not served.
    pub fn member(
        &self,
        catalog: &Name,
        zone: &Name,
        groups: &[String],
    ) -> Option<(Zone, Option<String>)> {
        let templates = self.followed.get(catalog)?;
        let by_group = groups.iter().find_map(|group| Some((group, templates.groups.get(group)?)));
        let template = by_group.map_or(&templates.others, |(_, template)| template);
        let settings = self.templates.get(template)?;
        Some((settings.zone(zone, self.front.as_ref()), by_group.map(|(group, _)| group.clone())))
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

    /// Destination addresses that XDP answers, beside those of its interfaces
    /// ([`xdp_follows`](Config::xdp_follows)).
    pub fn xdp_addresses(&self) -> Vec<IpAddr> {
        if self.xdp.addresses.is_empty() {
            let named = self.server.listen.iter().filter(|listen| !listen.is_wildcard());
            named.map(|listen| listen.0.ip()).collect()
        } else {
            self.xdp.addresses.clone()
        }
    }

    /// Of which families XDP answers on all addresses of its interfaces: those of which sockets listen on all addresses.
    pub fn xdp_follows(&self) -> Families {
        let wildcards = self.server.listen.iter().filter(|listen| listen.is_wildcard());
        let mut families = Families::default();
        for listen in wildcards.filter(|_| self.xdp.addresses.is_empty()) {
            match listen.0.is_ipv4() {
                true => families.ipv4 = true,
                false => families.ipv6 = true,
            }
        }
        families
    }
}

fn zone_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}
