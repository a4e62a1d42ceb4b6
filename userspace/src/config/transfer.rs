//! Who zones are transferred to and from, and who changes them: the sections `[[tsig]]`, and the keys `primaries`,
//! `notify`, `allow-transfer`, `allow-update` and `tsig` of `[[zone]]`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use data_encoding::BASE64;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::values::{AddressPrefix, TLS_PORT};
use super::zone_name;
use crate::zone::name::is_at_or_below;
use crate::zone::{Name, Rtype};

/// The shortest secret in octets. RFC 8945 section 8 would have as many as the algorithm's hash has, which old peers
/// often cannot be brought to; 128 bits cannot be guessed.
pub const MIN_TSIG_SECRET: usize = 16;

/// `[[tsig]]`: a key that is shared with another server (RFC 8945).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TsigKey {
    /// Its name, the same on both servers.
    #[serde(deserialize_with = "zone_name")]
    pub name: Name,
    /// What signs with it.
    #[serde(default)]
    pub algorithm: TsigAlgorithm,
    /// The secret, if it stands in the configuration.
    #[serde(default, deserialize_with = "secret_or_none")]
    pub secret: Option<TsigSecret>,
    /// The file that has it, if it does not.
    #[serde(default, deserialize_with = "path_or_none")]
    pub secret_file: Option<PathBuf>,
}

/// An algorithm of TSIG (RFC 8945 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum TsigAlgorithm {
    /// HMAC with SHA-1, for servers that have nothing else.
    #[serde(rename = "hmac-sha1")]
    Sha1,
    /// HMAC with SHA-256, which all servers must have.
    #[default]
    #[serde(rename = "hmac-sha256")]
    Sha256,
    /// HMAC with SHA-384.
    #[serde(rename = "hmac-sha384")]
    Sha384,
    /// HMAC with SHA-512.
    #[serde(rename = "hmac-sha512")]
    Sha512,
}

/// The secret of a TSIG key. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct TsigSecret(pub Zeroizing<Vec<u8>>);

impl TsigSecret {
    /// From base64 (RFC 4648 section 4).
    ///
    /// # Errors
    /// If it is no base64, or too short; the text itself is not told.
    pub fn from_text(text: &str) -> Result<TsigSecret, String> {
        let octets = BASE64.decode(text.as_bytes()).map_err(|_| {
            "the secret of a TSIG key is written in base64, as `tsig-keygen` and `keymgr -t` print it"
        })?;
        let octets = Zeroizing::new(octets);
        match octets.len() {
            len if len < MIN_TSIG_SECRET => Err(format!(
                "the secret of a TSIG key has at least {MIN_TSIG_SECRET} octets, this one has {len}"
            )),
            _ => Ok(TsigSecret(octets)),
        }
    }
}

impl fmt::Debug for TsigSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TsigSecret(..)")
    }
}

/// Who may transfer a zone: an entry of `allow-transfer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowTransfer {
    /// Clients with these addresses, which sign with the zone's key if it has one.
    Address(AddressPrefix),
    /// Who signs with the key of this name, at whatever address.
    Key(Name),
}

/// What starts an entry of `allow-transfer` that names a key.
const KEY_PREFIX: &str = "key ";

impl<'de> Deserialize<'de> for AllowTransfer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = match text.strip_prefix(KEY_PREFIX) {
            Some(name) => name
                .trim()
                .parse()
                .map(AllowTransfer::Key)
                .map_err(|error| format!("\"{text}\" names no key: {error}")),
            None => AddressPrefix::from_text(&text).map(AllowTransfer::Address).map_err(|_| {
                format!(
                    "\"{text}\" is neither an address prefix nor a key: write \"192.0.2.0/24\", \
                     \"2001:db8::/32\" or \"key transfer.\""
                )
            }),
        };
        read.map_err(de::Error::custom)
    }
}

impl fmt::Display for AllowTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllowTransfer::Address(prefix) => prefix.0.fmt(f),
            AllowTransfer::Key(name) => write!(f, "{KEY_PREFIX}{name}"),
        }
    }
}

/// What the holder of a key may change of a zone: an entry of `allow-update`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AllowUpdate {
    /// The name of the key.
    #[serde(deserialize_with = "zone_name")]
    pub key: Name,
    /// Of which names; none: of all in the zone.
    #[serde(default)]
    pub names: Vec<NamePattern>,
    /// Of which types; none: of all, but for SOA and NS of the apex, which make the zone what it is.
    #[serde(default, deserialize_with = "types")]
    pub types: Vec<Rtype>,
}

/// Names of which something holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// This name alone: `www.example.com`.
    Exact(Name),
    /// All names below this one, and not itself: `*.example.com`.
    Below(Name),
}

impl NamePattern {
    /// Whether a name is one of them: lower case, uncompressed wire format.
    pub fn takes(&self, name: &[u8]) -> bool {
        match self {
            NamePattern::Exact(exact) => exact.as_wire() == name,
            NamePattern::Below(above) => {
                name != above.as_wire() && is_at_or_below(name, above.as_wire())
            }
        }
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = match text.strip_prefix("*.") {
            Some(above) => above.parse().map(NamePattern::Below),
            None => text.parse().map(NamePattern::Exact),
        };
        read.map_err(|error| de::Error::custom(format!("\"{text}\" names nothing: {error}")))
    }
}

fn types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rtype>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let types = texts.iter().map(|text| {
        let known = Rtype::from_mnemonic(text.as_bytes()).filter(|rtype| !rtype.is_meta());
        known.ok_or_else(|| {
            format!("\"{text}\" is no type of records: write \"A\" or \"TYPE65280\"")
        })
    });
    types.collect::<Result<_, _>>().map_err(de::Error::custom)
}

/// The address and port of another server: port 53 unless another is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerAddress(pub SocketAddr);

impl ServerAddress {
    fn from_text(text: &str) -> Result<ServerAddress, String> {
        ServerAddress::with_default_port(text, 53)
    }

    fn with_default_port(text: &str, port: u16) -> Result<ServerAddress, String> {
        let address = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
            (Ok(address), _) => address,
            (_, Ok(ip)) => SocketAddr::new(ip, port),
            _ => {
                return Err(format!(
                    "\"{text}\" is not an address: write \"192.0.2.53\" or \"[2001:db8::53]:53\""
                ));
            }
        };
        match address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 {
            true => Err(format!("\"{text}\" is the address of no server")),
            false => Ok(ServerAddress(address)),
        }
    }
}

impl<'de> Deserialize<'de> for ServerAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ServerAddress::from_text(&text).map_err(de::Error::custom)
    }
}

/// A server that a zone is transferred from: an entry of `primaries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// Where it is.
    pub address: ServerAddress,
    /// The key that is shared with this server, if it is not the zone's.
    pub tsig: Option<Name>,
    /// How it is known over TLS; none: transfers are not encrypted.
    pub tls: Option<PrimaryTls>,
}

/// How a primary is known over TLS: by its name, by its public key, or by both.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrimaryTls {
    /// The name that its certificate must have.
    #[serde(default)]
    pub name: Option<String>,
    /// The certificates of the authorities that may have signed it, in PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Public keys of which it must have one.
    #[serde(default)]
    pub pins: Vec<KeyPin>,
}

impl PrimaryTls {
    /// What is wrong with it.
    fn fault(&self) -> Option<&'static str> {
        match (&self.name, &self.ca_file, self.pins.is_empty()) {
            (None, None, true) => Some("`tls` needs `name` and `ca-file`, or `pins`"),
            (Some(_), None, _) => Some("`name` needs `ca-file`: whose certificates are believed"),
            (None, Some(_), _) => Some("`ca-file` needs `name`: which name the certificate has"),
            _ => None,
        }
    }
}

/// The SHA-256 digest of a public key, written in base64 (RFC 7858 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPin(pub [u8; 32]);

impl<'de> Deserialize<'de> for KeyPin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = BASE64.decode(text.as_bytes()).ok();
        let pin = octets.and_then(|octets| octets.try_into().ok()).map(KeyPin);
        pin.ok_or_else(|| {
            de::Error::custom(format!("\"{text}\" is no SHA-256 digest in base64 (44 characters)"))
        })
    }
}

impl<'de> Deserialize<'de> for Primary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PrimaryVisitor)
    }
}

/// Reads an entry of `primaries`, which is an address or a table.
struct PrimaryVisitor;

impl<'de> Visitor<'de> for PrimaryVisitor {
    type Value = Primary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a table like { address = \"192.0.2.53\", tsig = \"transfer.\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Primary, E> {
        let address = ServerAddress::from_text(text).map_err(E::custom)?;
        Ok(Primary { address, tsig: None, tls: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Primary, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct Table {
            address: String,
            #[serde(default, deserialize_with = "name_or_none")]
            tsig: Option<Name>,
            #[serde(default)]
            tls: Option<PrimaryTls>,
        }
        let Table { address, tsig, tls } =
            Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
        if let Some(fault) = tls.as_ref().and_then(PrimaryTls::fault) {
            return Err(de::Error::custom(fault));
        }
        let port = if tls.is_some() { TLS_PORT } else { 53 };
        let address = ServerAddress::with_default_port(&address, port);
        Ok(Primary { address: address.map_err(de::Error::custom)?, tsig, tls })
    }
}

/// A name, or nothing if the text is empty.
pub(super) fn name_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Name>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.is_empty() {
        true => Ok(None),
        false => text.parse().map(Some).map_err(de::Error::custom),
    }
}

fn secret_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TsigSecret>, D::Error> {
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    match text.is_empty() {
        true => Ok(None),
        false => TsigSecret::from_text(&text).map(Some).map_err(de::Error::custom),
    }
}

fn path_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}
