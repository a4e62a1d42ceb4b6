//! The configuration file: TOML, read once into types that hold only what is valid.
//!
//! Nothing is accepted that has no effect: an unknown key is an error with line, column and a
//! suggestion, and a key of a feature that this version lacks is an error that says so.

mod edns;
mod pin;
pub mod ratelimit;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use toml::Spanned;

use crate::zone::Name;
pub use edns::{CookieSecret, Cookies, Derive, Nsid};
pub use pin::{DEFAULT_PIN, OnExit, PinFolder};
use ratelimit::{RateLimit, ZoneRateLimit};

/// Where the daemon and the commands look when `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/sealdns/sealdns.toml";
/// Where the control socket is unless the configuration says otherwise.
pub const DEFAULT_CONTROL: &str = "/run/sealdns/control.sock";

const TCP_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
const TCP_CONNECTIONS_PER_CLIENT: NonZeroUsize = NonZeroUsize::new(100).unwrap();

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
            udp_payload: UdpPayload(1232),
            tcp_idle_timeout: Period(10),
            tcp_write_timeout: Period(10),
            tcp_connections: TCP_CONNECTIONS,
            tcp_connections_per_client: TCP_CONNECTIONS_PER_CLIENT,
            shutdown_timeout: Period(5),
        }
    }
}

/// `[xdp]`: where and how the XDP program is attached.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Xdp {
    /// Interfaces to attach to; empty: no XDP, the sockets answer everything.
    pub interfaces: Vec<String>,
    /// In which way to attach.
    pub mode: XdpMode,
    /// Where a program on TCX stands behind XDP.
    pub tcx: TcxMode,
    /// UDP ports answered.
    pub ports: Vec<u16>,
    /// Destination addresses answered; empty: those of `listen`.
    pub addresses: Vec<IpAddr>,
    /// Whether queries for names of no zone are refused in XDP.
    pub refuse: Refuse,
    /// Memory for the maps.
    pub memory: ByteSize,
    /// Where programs, maps and links are pinned, so that they outlive the daemon.
    pub pin: PinFolder,
    /// What becomes of them when the daemon is told to end.
    pub on_exit: OnExit,
}

impl Default for Xdp {
    fn default() -> Xdp {
        Xdp {
            interfaces: Vec::new(),
            mode: XdpMode::Auto,
            tcx: TcxMode::Auto,
            ports: vec![53],
            addresses: Vec::new(),
            refuse: Refuse::Auto,
            memory: ByteSize(512 << 20),
            pin: PinFolder::default(),
            on_exit: OnExit::Detach,
        }
    }
}

/// In which way the XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum XdpMode {
    /// Native if the driver can, else generic, said aloud.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// On socket buffers: for devices whose driver has no XDP.
    Generic,
}

/// Where a program on TCX stands behind XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcxMode {
    /// Where packets have no room for an answer.
    Auto,
    /// Everywhere.
    On,
    /// Nowhere.
    Off,
}

/// Whether queries for names of no zone are refused in XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refuse {
    /// Unless another name server may have the zone: there are addresses to listen on.
    Auto,
    /// They are.
    On,
    /// They pass on.
    Off,
}

/// `[[zone]]`: one zone to serve.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Zone {
    /// The apex.
    #[serde(deserialize_with = "zone_name")]
    pub name: Name,
    /// The master file.
    pub file: PathBuf,
    /// Where its signatures come from.
    #[serde(default)]
    pub dnssec: Dnssec,
    /// The signing policy's name.
    #[serde(default = "default_policy_name")]
    pub policy: String,
    /// Who may transfer the zone; empty: nobody.
    #[serde(default)]
    pub allow_transfer: Vec<AddressPrefix>,
    /// The section `[zone.ratelimit]`.
    pub ratelimit: Option<ZoneRateLimit>,
    /// Whether signatures of a file that is signed already are verified before it is served.
    #[serde(default = "yes")]
    pub verify: bool,
}

fn yes() -> bool {
    true
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

/// `[policy.NAME]`: how zones are signed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// The algorithm of new keys.
    pub algorithm: Algorithm,
    /// Which keys there are.
    pub keys: KeyLayout,
    /// How absence is proven.
    pub denial: Denial,
    /// What is said to ANY.
    pub any: Any,
    /// From a signature's making to its expiration.
    pub signature_validity: Period,
    /// Zones are re-signed when this little is left of their earliest signature.
    pub refresh: Period,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            algorithm: Algorithm::Ecdsap256sha256,
            keys: KeyLayout::KskZsk,
            denial: Denial::Nsec,
            any: Any::Rrset,
            signature_validity: Period(14 * 86400),
            refresh: Period(7 * 86400),
        }
    }
}

/// A signing algorithm by its mnemonic (IANA registry "DNS Security Algorithm Numbers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256 (RFC 6605).
    #[serde(rename = "ECDSAP256SHA256")]
    Ecdsap256sha256,
    /// ECDSA over P-384 with SHA-384 (RFC 6605).
    #[serde(rename = "ECDSAP384SHA384")]
    Ecdsap384sha384,
    /// Ed25519 (RFC 8080).
    #[serde(rename = "ED25519")]
    Ed25519,
}

/// Which keys a zone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyLayout {
    /// A KSK that signs the DNSKEY RRset and a ZSK that signs the rest.
    KskZsk,
    /// One key that signs everything.
    Csk,
}

/// How a zone proves absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    /// NSEC (RFC 4034 section 4).
    Nsec,
    /// NSEC3 with 0 iterations and no salt (RFC 5155, RFC 9276).
    Nsec3,
    /// NSEC3 that skips delegations without DS (RFC 5155 section 6).
    Nsec3OptOut,
}

/// What is said to ANY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Any {
    /// One RRset of the name (RFC 8482 section 4.1).
    Rrset,
    /// A synthesised HINFO (RFC 8482 section 4.2).
    Hinfo,
}

/// Keys and values of features that this version lacks, and what they belong to.
const NOT_YET: [(&str, &str); 11] = [
    ("tsig", "TSIG"),
    ("primaries", "zone transfer from a primary"),
    ("notify", "NOTIFY"),
    ("catalog", "catalog zones"),
    ("metrics", "the metrics endpoint"),
    ("jitter", "signature jitter"),
    ("RSASHA256", "this algorithm"),
    ("RSASHA512", "this algorithm"),
    ("ksk-lifetime", "automatic key rollover"),
    ("zsk-lifetime", "automatic key rollover"),
    ("csk-lifetime", "automatic key rollover"),
];

/// Why a configuration cannot be used, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The configuration file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}", DisplayAt { path, line: *line, column: *column, message, source_line })]
    Invalid {
        /// The configuration file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// The line itself.
        source_line: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl ConfigError {
    /// What to do about it, where that can be told.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ConfigError::Read { .. } => {
                Some("`sealdns config template` prints a configuration to start from")
            }
            ConfigError::Invalid { hint, .. } => hint.as_deref(),
        }
    }
}

struct DisplayAt<'a> {
    path: &'a Path,
    line: usize,
    column: usize,
    message: &'a str,
    source_line: &'a str,
}

impl fmt::Display for DisplayAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DisplayAt { path, line, column, message, source_line } = self;
        write!(f, "{}:{line}:{column}: {message}", path.display())?;
        if !source_line.trim().is_empty() {
            write!(f, "\n  {source_line}\n  {:>column$}", "^")?;
        }
        Ok(())
    }
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
        for zone in &mut config.zones {
            let zone = zone.get_mut();
            zone.file = folder.join(&zone.file);
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
        let mut seen = HashSet::new();
        for zone in &config.zones {
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
        }
        if config.xdp.on_exit == OnExit::Keep && config.xdp.pin.path().is_none() {
            let place = text.find("on-exit").unwrap_or(0);
            let message = "on-exit = \"keep\" needs `pin`: what is not pinned ends with the daemon";
            let hint = format!("set pin = \"{DEFAULT_PIN}\" in [xdp]");
            return Err(at(place..place, message.to_owned(), Some(&hint)));
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

    /// The signing policy of a zone of this configuration.
    pub fn policy(&self, zone: &Zone) -> Policy {
        self.policies.get(&zone.policy).cloned().unwrap_or_default()
    }

    /// Whether queries for names of no zone are refused in XDP.
    pub fn refuses(&self) -> bool {
        match self.xdp.refuse {
            Refuse::Auto => !self.server.listen.is_empty(),
            Refuse::On => true,
            Refuse::Off => false,
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

/// Turns what the TOML reader says into a sentence with a place and, where possible, advice.
fn explain(error: &toml::de::Error, text: &str, path: &Path) -> ConfigError {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    // For an element of a list the reader gives the place of the list: look for the element, which
    // our own messages quote first.
    let element = message.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let within = element.and_then(|(element, _)| text.get(span.clone())?.find(element));
    let at = match within {
        Some(offset) => (span.start + offset).saturating_sub(1).max(span.start),
        None => span.start,
    };
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((&found, expected)) = quoted.split_first() else {
        return invalid(text, path, at, message.to_owned(), None);
    };
    if message.starts_with("missing field") {
        let (message, hint) = match found {
            "version" => (
                "the key `version` is missing".to_owned(),
                Some("write version = \"v1\" on the first line".to_owned()),
            ),
            _ => (format!("the key `{found}` is missing in this section"), None),
        };
        return invalid(text, path, at, message, hint);
    }
    let is_key = message.starts_with("unknown field");
    if !is_key && !message.starts_with("unknown variant") {
        return invalid(text, path, at, message.to_owned(), None);
    }
    if let Some((_, feature)) = NOT_YET.iter().find(|(word, _)| *word == found) {
        let message = format!("`{found}` is not supported yet: this version lacks {feature}");
        let hint = "remove it: what has no effect is not accepted".to_owned();
        return invalid(text, path, at, message, Some(hint));
    }
    let what = if is_key { "key" } else { "value" };
    let nearest = expected
        .iter()
        .map(|word| (strsim::damerau_levenshtein(found, word), *word))
        .min()
        .filter(|(distance, word)| *distance <= 1 + word.len() / 3);
    let hint = match nearest {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None => format!("known here: {}", expected.join(", ")),
    };
    invalid(text, path, at, format!("unknown {what} `{found}`"), Some(hint))
}

fn invalid(
    text: &str,
    path: &Path,
    at: usize,
    message: String,
    hint: Option<String>,
) -> ConfigError {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError::Invalid {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
        source_line: text[line_start..].lines().next().unwrap_or_default().to_owned(),
        hint,
    }
}

/// An address and port to listen on; never a wildcard address.
///
/// A socket on `0.0.0.0` or `[::]` does not know by itself which address a query came to, and XDP
/// answers only on addresses it is told; so they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
            (Ok(address), _) => address,
            (_, Ok(ip)) => SocketAddr::new(ip, 53),
            _ => {
                let message = format!(
                    "\"{text}\" is not an address: write \"192.0.2.1:53\" or \"[2001:db8::1]:53\""
                );
                return Err(de::Error::custom(message));
            }
        };
        if address.ip().is_unspecified() {
            let message = format!(
                "\"{text}\" is a wildcard: list the addresses that clients ask, so that answers \
                 leave from the address that was asked"
            );
            return Err(de::Error::custom(message));
        }
        Ok(ListenAddress(address))
    }
}

/// An address prefix; a lone address is a prefix of its full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPrefix(pub IpNet);

impl AddressPrefix {
    /// Reads a prefix or an address; on an error says what is wrong with it.
    pub fn from_text(text: &str) -> Result<AddressPrefix, String> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(AddressPrefix).map_err(|_| {
            format!(
                "\"{text}\" is not an address prefix: write \"192.0.2.0/24\" or \"2001:db8::/32\""
            )
        })
    }
}

impl<'de> Deserialize<'de> for AddressPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with("key ") {
            let message = "TSIG keys are not supported yet: only address prefixes are";
            return Err(de::Error::custom(message));
        }
        AddressPrefix::from_text(&text).map_err(de::Error::custom)
    }
}

/// A span of time in whole seconds, written `"90s"`, `"15m"`, `"1h30m"`, `"2w"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u32);

impl Period {
    /// In seconds; at least 1.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    /// Reads it; at least one second.
    pub fn from_text(text: &str) -> Option<Period> {
        let mut total = 0u32;
        let mut digits = String::new();
        for character in text.trim().chars() {
            if character.is_ascii_digit() {
                digits.push(character);
                continue;
            }
            let unit = match character {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86400,
                'w' => 604_800,
                _ => return None,
            };
            total = total.checked_add(digits.parse::<u32>().ok()?.checked_mul(unit)?)?;
            digits.clear();
        }
        (digits.is_empty() && total > 0).then_some(Period(total))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Period::from_text(&text).ok_or_else(|| {
            let message = format!(
                "\"{text}\" is not a duration: write for example \"10s\", \"1h30m\", \"2w\""
            );
            de::Error::custom(message)
        })
    }
}

impl fmt::Display for Period {
    /// In the largest unit that it is a multiple of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(604_800, 'w'), (86400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
        let fits = units.iter().find(|(seconds, _)| self.0.is_multiple_of(*seconds));
        fits.map_or(Ok(()), |(seconds, unit)| write!(f, "{}{unit}", self.0 / seconds))
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A size in octets, written `"512MiB"` (KiB, MiB, GiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(u64);

impl ByteSize {
    /// In octets; at least 1.
    pub fn octets(self) -> u64 {
        self.0
    }

    fn from_text(text: &str) -> Option<ByteSize> {
        let text = text.trim();
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let shift = match unit.trim_start() {
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return None,
        };
        let octets = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
        (octets > 0).then_some(ByteSize(octets))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ByteSize::from_text(&text).ok_or_else(|| {
            let message = format!("\"{text}\" is not a size: write for example \"512MiB\"");
            de::Error::custom(message)
        })
    }
}

/// The largest UDP response in octets: 512 (RFC 1035) to 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpPayload(u16);

impl UdpPayload {
    /// In octets.
    pub fn octets(self) -> usize {
        usize::from(self.0)
    }
}

impl<'de> Deserialize<'de> for UdpPayload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let octets = u16::deserialize(deserializer)?;
        if (512..=4096).contains(&octets) {
            Ok(UdpPayload(octets))
        } else {
            let message = format!("{octets} is not a UDP payload size: choose 512 to 4096");
            Err(de::Error::custom(message))
        }
    }
}

/// One character string of a TXT record: at most 255 octets (RFC 1035 section 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChaosText(String);

impl ChaosText {
    /// The text; `None` if there is none to say.
    pub fn text(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for ChaosText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > 255 {
            return Err(de::Error::custom("this text is longer than the 255 octets a TXT holds"));
        }
        Ok(ChaosText(text))
    }
}

fn default_policy_name() -> String {
    "default".into()
}

fn zone_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = String::deserialize(deserializer)?;
    name_from_text(&text)
        .ok_or_else(|| de::Error::custom(format!("\"{text}\" is not a domain name")))
}

/// A domain name in presentation format (RFC 1035 section 5.1 escapes), with or without the last
/// dot.
pub fn name_from_text(text: &str) -> Option<Name> {
    if text.is_empty() || text == "." {
        return (text == ".").then(Name::root);
    }
    let mut wire = vec![0u8];
    let mut label_at = 0;
    let mut octets = text.bytes();
    let mut ended = false;
    while let Some(octet) = octets.next() {
        if ended {
            label_at = wire.len();
            wire.push(0);
            ended = false;
        }
        let octet = match octet {
            b'.' => {
                if wire[label_at] == 0 {
                    return None;
                }
                ended = true;
                continue;
            }
            b'\\' => match octets.next()? {
                hundreds @ b'0'..=b'9' => {
                    let digits = [hundreds, octets.next()?, octets.next()?];
                    std::str::from_utf8(&digits).ok()?.parse::<u8>().ok()?
                }
                escaped => escaped,
            },
            b' ' | b'\t' => return None,
            plain => plain,
        };
        if wire[label_at] == 63 {
            return None;
        }
        wire[label_at] += 1;
        wire.push(octet);
    }
    wire.push(0);
    Name::from_wire(&wire)
}

/// A configuration with every setting at its default, and why the default is what it is.
pub const TEMPLATE: &str = r##"# sealdns configuration. Every setting is shown with its default.
# Durations: "10s" "15m" "1h30m" "2w". Sizes: "512MiB". Relative paths start at this file's folder.
# `sealdns config check FILE` reports errors with line and column.

# The format of this file. Required, so that a later format can never be misread.
version = "v1"

[server]
# UDP and TCP sockets: the addresses clients ask, for example ["192.0.2.1:53", "[2001:db8::1]:53"].
# Wildcards are refused: an answer must leave from the address that was asked, and XDP answers only
# on addresses it knows. Empty: no sockets; another name server on this host serves what XDP does
# not.
listen = []
# The socket that the other sealdns commands talk to. Mode 0600: whoever may open it may control.
control = "/run/sealdns/control.sock"
# Keys and state, and without a name the records of large zones; made with mode 0700.
state-dir = "/var/lib/sealdns"
# The user to become once sockets are bound and XDP is attached, so that no code that reads the
# network runs as root. Empty: stay who started the daemon.
user = ""
# What id.server and hostname.bind (class CH, type TXT) say, to tell anycast nodes apart (RFC 4892).
# Empty: refused.
identity = ""
# What version.server and version.bind say. Empty: refused; it mostly helps attackers.
version = ""
# What the EDNS option NSID says to who asks for it (RFC 5001), to tell anycast nodes apart: text, or octets
# as "0x" and hexadecimal digits; 128 octets at most. Empty: nothing.
nsid = ""
# Largest UDP response in octets, 512 to 4096. 1232 passes every IPv6 path unfragmented (RFC 9715).
udp-payload = 1232
# A TCP connection that sends no whole query for this long is closed (RFC 7766 section 6.2.3: a few
# seconds).
tcp-idle-timeout = "10s"
# A TCP client that does not take its answer for this long is cut off: it would hold memory.
tcp-write-timeout = "10s"
# TCP connections at once. No official reference: each holds 12 KiB between queries and 200 KiB at
# most, so 1000 hold 12 to 200 MiB.
tcp-connections = 1000
# TCP connections at once from one address (IPv6: one /64), so that one client cannot take all.
tcp-connections-per-client = 100
# How long open TCP connections may take to finish when the daemon stops.
shutdown-timeout = "5s"

[xdp]
# Interfaces whose queries XDP answers, for example ["eth0"]. Empty: no XDP.
interfaces = []
# "native": in the driver, or fail. "generic": works on every device, slower. "auto": native where
# the driver can, else generic, with a warning.
mode = "auto"
# Some devices hand XDP packets with no room for an answer: veth and other virtual devices, and generic
# mode. There a program on TCX (Linux 6.6) answers on the socket buffer behind XDP. "auto": on such
# devices. "on": on all. "off": the daemon's sockets answer what XDP has no room for. `sealdns xdp probe`
# tells what a device needs.
tcx = "auto"
# UDP ports answered in XDP.
ports = [53]
# Destination addresses answered in XDP. Empty: the addresses of `listen`.
addresses = []
# Queries for names of no zone here. "on": XDP says REFUSED, as the daemon does. "off": XDP passes them on.
# "auto": "on" if `listen` names addresses; without, another name server on this host may have the zone.
# While a zone that is configured is not loaded, they are passed on.
refuse = "auto"
# Memory for the maps that hold compiled zones. No official reference: half a million typical names.
# They start small and grow up to it; with `user` set they are made this large at start, since only
# root can make maps. While they grow, the old maps are there as well. A zone for which they may not
# grow is held hot: XDP has the names that are asked for often, and the daemon answers the rest.
memory = "512MiB"
# A folder of sealdns's own on a BPF file system, such as "/sys/fs/bpf/sealdns", mode 0700: what is pinned
# there outlives the daemon. If the daemon crashes, XDP goes on answering, until signatures expire, and
# the next daemon takes it over once its zones are loaded, without a lost query; until then both have
# maps. Empty: XDP ends with the daemon, however it ends, and nothing can be left behind.
pin = ""
# What becomes of pinned XDP when the daemon is told to end: "detach": no answers come from a server that
# was stopped. "keep": it goes on answering, so that restarts and upgrades go unnoticed; to end it,
# `sealdns xdp detach --all`.
on-exit = "detach"

[cookies]
# DNS cookies (RFC 7873): who sends back the one it was given has not spoofed its address. They cost clients
# and servers nearly nothing. `false`: the option is ignored.
enabled = true
# The secret that cookies are made with, 32 hexadecimal digits, the same on all servers of an address (RFC
# 9018) or they would not accept each other's. Empty, and no file: a random one at each start.
secret = ""
# One that is accepted as well. To exchange secrets, make the new one the other here, on all servers; then
# the first, and the old one the other; after an hour remove that (RFC 9018 section 5).
other-secret = ""
# A file that holds the secret on its first line and the other one on its second, if there is one, readable
# by its owner only. It is read again when the daemon is told to reload. Empty: none.
secret-file = ""
# Exchange secrets by the clock: for each such period, counted from 1970, one is derived from the secret
# (HKDF with SHA-256), the same on all servers that know it. No less than two hours, for example "1d".
# Empty: the secret itself is used.
derive = ""

[ratelimit]
# Whether responses over UDP are limited, so that nobody can use this server against a third party
# whose address is forged. "off"; "dry-run": everybody is answered, and who would not be is counted
# and listed by `sealdns ratelimit top`; "on". Start with "dry-run".
# The words of BIND (responses-per-second, nxdomains-per-second, ipv4-prefix-length, exempt-clients,
# log-only, …) and of Knot (rate-limit, instant-limit, whitelist, dry-run) are understood where they mean
# the same; `sealdns ratelimit import FILE` translates the rest.
mode = "off"
# Responses per second of one class about one name to one netblock (all of a wildcard's count at the
# wildcard, names that do not exist at their closest encloser). 0: no limit. 50 is Knot's, well above
# what a resolver that caches asks.
rate = 50
# The same for one class only: a number, or "rate": that of `rate`.
positive-rate = "rate"
nodata-rate = "rate"
nxdomain-rate = "rate"
referral-rate = "rate"
# REFUSED, FORMERR, SERVFAIL, NOTIMP, BADVERS.
error-rate = "rate"
dnskey-rate = "rate"
any-rate = "rate"
# Responses of a class that may come at once after a pause. 0: as many as its rate (BIND's way).
burst = 0
# For how long a netblock that keeps asking over its rate stays in debt and gets nothing. "0s": it gets
# its rate all the same. BIND's is "15s"; at most "1h".
window = "0s"
# Of the responses over a rate every n-th is sent cut short, with TC, so that an honest client asks
# over TCP. 1: all are, which does not lower the number of packets. 0: none; then who is limited sees
# nothing, and is easier to deceive. At most 10. 2 is BIND's and NSD's.
slip = 2
# Errors have no shorter form: of those over their rate every n-th is sent whole. 0: none. At most 10.
leak = 2
# Length of the prefix of netblocks for these rates. 24 and 56 are BIND's.
ipv4-prefix = 24
ipv6-prefix = 56
# All responses per second to one netblock, whatever they are, at several prefix lengths at once: times
# the multiplier of `ipv4-levels` and `ipv6-levels`. Who floods from all over a network is limited as a
# network. 0: no limit. 200 is four times `rate` (BIND's advice). Knot's rate-limit.
total-rate = 200
# So many at once after a pause, times the multiplier. 0: as many as `total-rate`. Knot's instant-limit.
total-burst = 0
# As `slip`, for what is over a total.
total-slip = 2
# At most 4 and 5. The defaults are Knot's.
ipv4-levels = ["/32 x1", "/24 x32", "/20 x256", "/18 x768"]
ipv6-levels = ["/128 x1", "/64 x2", "/56 x3", "/48 x4", "/32 x64"]
# When there are more queries per second than this, all rates fall in proportion. 0: never.
qps-scale = 0
# What a response costs. "response": one. "amplification": its octets divided by the query's, so that
# what is worth most to an attacker is limited first.
cost = "response"
# Queries per second of one netblock (`ipv4-prefix`, `ipv6-prefix`) that XDP passes up to the daemon. A
# client has no reason to ask the daemon more often than that over UDP. 0: no limit.
miss-rate = 50
# The same of all clients together, so that nobody floods the daemon with what only it answers. No
# official reference: a tenth of what one core of the daemon answers. 0: no limit.
miss-total-rate = 10000
# Clients that are never limited: ["192.0.2.0/24", "2001:db8::/32"].
exempt = []
# A file with more of them, one a line; large lists are welcome. Empty: none.
exempt-file = ""

[policy.default]
# The algorithm of new keys, "ECDSAP256SHA256", "ECDSAP384SHA384" or "ED25519". The default is
# small, fast, and validated everywhere (RFC 9904).
algorithm = "ECDSAP256SHA256"
# "ksk-zsk": a KSK that the parent's DS points to, and a ZSK that can change without the parent.
# "csk": one key for everything.
keys = "ksk-zsk"
# "nsec": small and fast. "nsec3": hides names from zone walking; 0 iterations, no salt (RFC 9276).
# "nsec3-opt-out": smaller where most names are delegations without DS (RFC 5155 section 6).
denial = "nsec"
# What is said to ANY (RFC 8482). "rrset": one RRset of the name. "hinfo": a synthesised HINFO "RFC8482", of
# which nobody can amplify much; it costs one more signature and some 250 octets for each name, and is in no
# transfer and no zone file. Names with a CNAME or with HINFO records of their own say one RRset, and so do
# zones that are presigned, for which there is no key.
any = "rrset"
# From signing to expiration: two weeks leave time to repair a broken signer.
signature-validity = "2w"
# Zones are signed again when this little is left of their earliest signature: half the validity.
refresh = "1w"

# One section per zone:
# [[zone]]
# # The apex.
# name = "example.com"
# # The master file (RFC 1035 section 5).
# file = "example.com.zone"
# # "sign": sealdns signs, with keys made on first use. "presigned": the file is signed already.
# # "off": not signed.
# dnssec = "sign"
# # The [policy.NAME] it is signed by.
# policy = "default"
# # Address prefixes that may transfer the zone (AXFR), for example ["192.0.2.0/24"]. Empty:
# # refused.
# allow-transfer = []
# # Whether the signatures of a presigned file are verified before it is served. For a large zone that
# # takes most of the time (a million signatures: 30 seconds of a core); false is for files whose maker
# # has verified them. What did not change since the version before is never verified again.
# verify = true
# # What the zone does otherwise than [ratelimit]; at most 31 zones. Here stand mode, rate and the rates of
# # classes, burst, window, slip, leak, prefixes, qps-scale, cost. The rest is the same for all zones: it
# # counts before it is known which zone it is.
# [zone.ratelimit]
"##;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("sealdns.toml"))
    }

    /// Line, column, message and hint of what is wrong with `text`.
    fn fault(text: &str) -> (usize, usize, String, String) {
        match parse(text).expect_err("a faulty configuration") {
            ConfigError::Invalid { line, column, message, hint, .. } => {
                (line, column, message, hint.unwrap_or_default())
            }
            error => panic!("{error}"),
        }
    }

    #[test]
    fn the_template_says_the_defaults() {
        let defaults = parse("version = \"v1\"\n").unwrap();
        assert_eq!(parse(TEMPLATE).unwrap(), defaults);
    }

    #[test]
    fn the_template_s_zone_section_is_valid_and_says_the_defaults() {
        let (head, zone) = TEMPLATE.split_once("# [[zone]]\n").unwrap();
        let zone: String = zone.lines().map(|line| format!("{}\n", &line[2..])).collect();
        let config = parse(&format!("{head}[[zone]]\n{zone}")).unwrap();
        let least =
            "version = \"v1\"\n[[zone]]\nname = \"example.com\"\nfile = \"example.com.zone\"";
        let mut zones: Vec<Zone> = config.zones().cloned().collect();
        assert_eq!(zones[0].ratelimit.take(), Some(ZoneRateLimit::default()));
        assert_eq!(zones, parse(least).unwrap().zones().cloned().collect::<Vec<_>>());
    }

    #[test]
    fn the_template_has_every_setting() {
        let sections = [
            ("", "qq = 1"),
            ("[server]", "[server]\nqq = 1"),
            ("[xdp]", "[xdp]\nqq = 1"),
            ("[cookies]", "[cookies]\nqq = 1"),
            ("[ratelimit]", "[ratelimit]\nqq = 1"),
            ("[policy.default]", "[policy.default]\nqq = 1"),
            ("[[zone]]", "[[zone]]\nqq = 1"),
        ];
        for (section, text) in sections {
            let (_, _, _, hint) = fault(&format!("version = \"v1\"\n{text}"));
            let known = hint.strip_prefix("known here: ").expect(&hint);
            let is_alias = |key: &&str| {
                *key == "dry-run" || ratelimit::ALIASES.iter().any(|(alias, _)| alias == key)
            };
            for key in known.split(", ").filter(|key| !is_alias(key)) {
                let shown = TEMPLATE.lines().any(|line| {
                    let line = line.strip_prefix("# ").unwrap_or(line);
                    line.starts_with(&format!("{key} = "))
                        || line.starts_with(&format!("[{key}"))
                        || line.starts_with(&format!("[[{key}]]"))
                        || line == format!("[zone.{key}]")
                });
                assert!(shown, "{section}: {key} is not in the template");
            }
        }
    }

    #[test]
    fn unknown_keys_have_a_place_and_a_suggestion() {
        let text = "version = \"v1\"\n[server]\n  lisen = []\n";
        let (line, column, message, hint) = fault(text);
        assert_eq!((line, column), (3, 3));
        assert_eq!(message, "unknown key `lisen`");
        assert_eq!(hint, "did you mean `listen`?");
        let shown = parse(text).unwrap_err().to_string();
        assert_eq!(shown, "sealdns.toml:3:3: unknown key `lisen`\n    lisen = []\n    ^");
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        let zone = "version = \"v1\"\n[[zone]]\nname = \"a.\"\nfile = \"f\"\n";
        for text in [
            "version = \"v1\"\n[[tsig]]\nname = \"a\"\n".to_owned(),
            format!("{zone}primaries = [\"192.0.2.53:53\"]\n"),
            format!("{zone}notify = []\n"),
            format!("{zone}tsig = \"transfer.\"\n"),
            "version = \"v1\"\n[policy.default]\nalgorithm = \"RSASHA256\"\n".to_owned(),
            "version = \"v1\"\n[policy.default]\nksk-lifetime = \"365d\"\n".to_owned(),
        ] {
            assert!(fault(&text).2.contains("not supported yet"), "{text}");
        }
        let (_, _, message, _) = fault(&format!("{zone}allow-transfer = [\"key transfer.\"]\n"));
        assert!(message.contains("not supported yet"), "{message}");
    }

    #[test]
    fn faults_are_said_where_they_stand() {
        assert_eq!(fault("[server]\n").2, "the key `version` is missing");
        let (line, _, message, hint) = fault("version = \"v2\"\n");
        assert_eq!((line, message.as_str()), (1, "unknown value `v2`"));
        assert_eq!(hint, "did you mean `v1`?");
        let (line, column, message, _) =
            fault("version = \"v1\"\n[server]\nlisten = [\"192.0.2.1:53\", \"0.0.0.0:53\"]\n");
        assert_eq!((line, column), (3, 27), "{message}");
        assert!(message.contains("wildcard"), "{message}");
        for (key, value) in [
            ("tcp-idle-timeout", "\"10\""),
            ("tcp-idle-timeout", "\"0s\""),
            ("tcp-idle-timeout", "\"s\""),
            ("tcp-idle-timeout", "10"),
            ("udp-payload", "100"),
            ("tcp-connections", "0"),
            ("listen", "[\"192.0.2.1\", \"192.0.2.1:53\"]"),
            ("listen", "[\"example.com:53\"]"),
        ] {
            let (line, ..) = fault(&format!("version = \"v1\"\n[server]\n{key} = {value}\n"));
            assert_eq!(line, 3, "{key} = {value}");
        }
        let twice = "version = \"v1\"\n[[zone]]\nname = \"a\"\nfile = \"f\"\n\
                     [[zone]]\nname = \"A.\"\nfile = \"g\"\n";
        let (line, _, message, _) = fault(twice);
        assert_eq!((line, message.as_str()), (5, "the zone a. is configured twice"));
        let (_, _, message, hint) =
            fault("version = \"v1\"\n[[zone]]\nname = \"a\"\nfile = \"f\"\npolicy = \"x\"\n");
        assert_eq!(message, "zone a.: there is no policy named \"x\"");
        assert_eq!(hint, "add a section [policy.x]");
    }

    #[test]
    fn settings_of_xdp_have_their_values() {
        let xdp = |text: &str| parse(&format!("version = \"v1\"\n[xdp]\n{text}\n")).unwrap().xdp;
        let fault = |text: &str| fault(&format!("version = \"v1\"\n[xdp]\n{text}\n"));
        for (word, tcx) in [("auto", TcxMode::Auto), ("on", TcxMode::On), ("off", TcxMode::Off)] {
            assert_eq!(xdp(&format!("tcx = \"{word}\"")).tcx, tcx);
        }
        let (line, _, message, hint) = fault("tcx = \"onn\"");
        assert_eq!((line, message.as_str()), (3, "unknown value `onn`"));
        assert_eq!(hint, "did you mean `on`?");

        assert_eq!(xdp("").pin.path(), None);
        let kept = xdp("pin = \"/sys/fs/bpf/sealdns\"\non-exit = \"keep\"");
        assert_eq!(kept.pin.path(), Some(Path::new(DEFAULT_PIN)));
        assert_eq!(kept.on_exit, OnExit::Keep);
        for folder in ["sealdns", "/", "/sealdns"] {
            let (line, _, message, _) = fault(&format!("pin = \"{folder}\""));
            assert_eq!(line, 3);
            assert!(message.contains("a BPF file system"), "{message}");
        }
        let (line, _, message, hint) = fault("on-exit = \"keep\"");
        assert_eq!(line, 3);
        assert!(message.contains("needs `pin`") && hint.contains("set pin ="), "{message} {hint}");
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(Period::from_text("1h30m"), Some(Period(5400)));
        assert_eq!(Period::from_text("2w"), Some(Period(1_209_600)));
        assert_eq!(Period::from_text("99999999w"), None);
        assert_eq!(ByteSize::from_text("512MiB"), Some(ByteSize(512 << 20)));
        assert_eq!(ByteSize::from_text("1 GiB"), Some(ByteSize(1 << 30)));
        assert_eq!(ByteSize::from_text("512"), None);
        assert_eq!(ByteSize::from_text("99999999999GiB"), None);
    }

    #[test]
    fn names_are_read_as_written_in_master_files() {
        let wire = |text| name_from_text(text).map(|name| name.as_wire().to_vec());
        assert_eq!(wire("Example.COM").unwrap(), b"\x07example\x03com\x00");
        assert_eq!(wire("a\\.b\\065.").unwrap(), b"\x04a.ba\x00");
        assert_eq!(wire(".").unwrap(), b"\x00");
        for bad in ["", "a..b", ".a", "a b", "\\", "\\25", "\\300", &"a".repeat(64)] {
            assert_eq!(wire(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn paths_start_at_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealdns.toml");
        let text = "version = \"v1\"\n[server]\nstate-dir = \"state\"\n\
                    [[zone]]\nname = \"a\"\nfile = \"a.zone\"\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.zones().next().unwrap().file, folder.path().join("a.zone"));
        assert_eq!(config.server.state_dir, folder.path().join("state"));
        assert_eq!(config.server.control, Path::new(DEFAULT_CONTROL));
    }

    proptest::proptest! {
        /// Whatever is in the file, there is an answer, and an error has a place in it.
        #[test]
        fn damaged_files_are_said(
            damage in proptest::collection::vec(
                (proptest::prelude::any::<proptest::sample::Index>(), ".{0,3}"), 1..4),
        ) {
            let mut text = TEMPLATE.to_owned();
            for (place, insert) in damage {
                let mut at = place.index(text.len());
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                text.insert_str(at, &insert);
            }
            if let Err(ConfigError::Invalid { line, column, .. }) = parse(&text) {
                proptest::prop_assert!(line <= text.lines().count() + 1 && column >= 1);
            }
        }
    }
}
