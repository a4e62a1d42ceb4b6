//! The values that keys take, each with its form and its bounds; `[ratelimit]` has more of its own.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{self, Deserializer};

/// The port of DNS over TLS (RFC 7858 section 3.1).
pub(super) const TLS_PORT: u16 = 853;

/// An address and port to listen on, or all addresses of a family (`0.0.0.0`, `[::]`) and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

impl ListenAddress {
    /// Whether it is all addresses of a family.
    pub fn is_wildcard(self) -> bool {
        self.0.ip().is_unspecified()
    }

    fn from_text(text: &str, port: u16) -> Result<ListenAddress, String> {
        match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
            (Ok(address), _) => Ok(ListenAddress(address)),
            (_, Ok(ip)) => Ok(ListenAddress(SocketAddr::new(ip, port))),
            _ => Err(format!(
                "\"{text}\" is not an address: write \"192.0.2.1:{port}\" or \"[2001:db8::1]:{port}\""
            )),
        }
    }

    /// Whether a socket on this one gets what a socket on the other would get.
    pub fn covers(self, other: ListenAddress) -> bool {
        self.is_wildcard()
            && self.0.is_ipv4() == other.0.is_ipv4()
            && self.0.port() == other.0.port()
            && self != other
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ListenAddress::from_text(&text, 53).map_err(de::Error::custom)
    }
}

/// Addresses to listen on for DNS over TLS.
pub(super) fn tls_addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ListenAddress>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = texts.iter().map(|text| ListenAddress::from_text(text, TLS_PORT));
    read.collect::<Result<_, _>>().map_err(de::Error::custom)
}

/// Families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

impl Families {
    /// Whether there is one.
    pub fn any(self) -> bool {
        self.ipv4 || self.ipv6
    }

    /// Whether an address is of one of them.
    pub fn include(self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// When the signatures of a zone that somebody else signed are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Before it is served.
    #[default]
    First,
    /// While it is served; what is wrong is then no longer sent.
    Background,
    /// Never.
    Never,
}

impl<'de> Deserialize<'de> for Verify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Flag(bool),
            Text(String),
        }
        let written = Written::deserialize(deserializer);
        match written {
            Ok(Written::Flag(true)) => Ok(Verify::First),
            Ok(Written::Flag(false)) => Ok(Verify::Never),
            Ok(Written::Text(text)) if text == "first" => Ok(Verify::First),
            Ok(Written::Text(text)) if text == "background" => Ok(Verify::Background),
            _ => Err(de::Error::custom(
                "write \"first\", which is the same as true, \"background\" or false",
            )),
        }
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
        AddressPrefix::from_text(&text).map_err(de::Error::custom)
    }
}

/// A size in octets, written `"512MiB"` (KiB, MiB, GiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub(super) u64);

impl ByteSize {
    /// In octets; at least 1.
    pub fn octets(self) -> u64 {
        self.0
    }

    pub(super) fn from_text(text: &str) -> Option<ByteSize> {
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
pub struct UdpPayload(pub(super) u16);

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
