//! `[front]`: sealdns in front of a name server that already runs on this host.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::sections::MainSections;
use super::transfer::ServerAddress;
use super::zone::ZoneFault;
use super::{Dnssec, RefuseMode, Verify, Zone};
use crate::duration::{self, Period};

/// `[front]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Front {
    /// The server that answers what XDP does not, and that zones are transferred from.
    pub server: ServerAddress,
    /// Where its NOTIFY messages are heard; none: it is only polled.
    #[serde(default, deserialize_with = "loopback_or_none")]
    pub notify: Option<SocketAddr>,
    /// How often it is asked for the serial of each zone.
    #[serde(default = "default_poll")]
    pub poll: Period,
    /// How long a version is still answered once a newer serial is known.
    #[serde(default)]
    pub serve_behind: Delay,
}

/// How a zone follows the server that sealdns stands in front of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneFront {
    /// How often the server is asked for its serial.
    pub poll: Period,
    /// How long an older version is still answered once a newer serial is known.
    pub serve_behind: Duration,
}

/// A duration of whole seconds that may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delay(u32);

impl Delay {
    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

/// Behind by more than a day nobody wants to be.
const MOST_BEHIND_S: u32 = 86_400;

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::within(&text, 0, MOST_BEHIND_S).map(Delay).map_err(de::Error::custom)
    }
}

/// A query over loopback for each zone: it costs the server little, and nobody waits longer for what is new.
fn default_poll() -> Period {
    Period::from_seconds(1)
}

fn loopback_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse::<SocketAddr>().ok();
    let address = address.filter(|address| address.ip().is_loopback() && address.port() != 0);
    address.map(Some).ok_or_else(|| {
        de::Error::custom(format!(
            "\"{text}\" is not an address and port of loopback: write \"127.0.0.1:5300\""
        ))
    })
}

impl Front {
    /// How each zone follows the server.
    pub(super) fn of_zones(&self) -> ZoneFront {
        ZoneFront { poll: self.poll, serve_behind: self.serve_behind.duration() }
    }
}

impl MainSections {
    /// What has no effect in front of another server, or is missing there: a word that stands there, what is wrong, and what to
    /// do about it.
    pub(super) fn front_fault(&self) -> Option<(&'static str, &'static str, &'static str)> {
        self.front.as_ref()?;
        if !(self.server.listen.is_empty() && self.server.listen_tls.is_empty()) {
            let message =
                "[front] is for a server that keeps its port: sealdns has no sockets then";
            return Some(("listen", message, "remove `listen`, or [front]"));
        }
        if self.xdp.addresses.is_empty() {
            let message = "[front] needs `addresses` in [xdp]: those that the server answers on";
            return Some(("[front]", message, "set `addresses` in [xdp]"));
        }
        if self.xdp.pin.path().is_some() {
            let message = "`pin` with [front]: XDP would go on with zones that nobody compares with the server's";
            return Some(("pin", message, "remove `pin`"));
        }
        if self.xdp.refuse == RefuseMode::On {
            let message = "refuse = \"on\" with [front]: zones of the server would be refused";
            return Some(("refuse", message, "remove `refuse`"));
        }
        None
    }
}

impl Zone {
    /// What has no effect in front of this server.
    pub(super) fn front_fault(&self, front: &Front) -> Option<ZoneFault> {
        let (word, message, hint) = if !self.file.as_os_str().is_empty() {
            ("file", "`file` with [front]: zones come from the server", "remove `file`")
        } else if self.verify == Verify::Background {
            (
                "verify",
                "verify = \"background\" with [front]: what is not verified is the server's to answer",
                "set verify = \"first\"",
            )
        } else if self.dnssec == Dnssec::Sign {
            (
                "dnssec",
                "dnssec = \"sign\" with [front]: answers would not be those of the server",
                "remove `dnssec`, or set it to \"presigned\" or \"off\"",
            )
        } else if self.is_updated() {
            ("allow-update", "`allow-update` with [front]: the server takes updates", "remove it")
        } else if self.primaries.iter().any(|primary| primary.address != front.server) {
            (
                "primaries",
                "`primaries` with [front]: zones come from the server",
                "set it to the address of `server`",
            )
        } else {
            return None;
        };
        let message = format!("zone {}: {message}", self.name);
        Some(ZoneFault { word: word.to_owned(), message, hint: hint.to_owned() })
    }
}
