//! Requests and responses.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ratelimit::RateLimitAction;

/// The longest request in octets, its newline included: some 40,000 prefixes to exempt.
pub const MAX_REQUEST: u64 = 1 << 20;

/// The longest response in octets that a client reads: some 100,000 zones listed.
pub const MAX_RESPONSE: u64 = 64 << 20;

/// What can be asked of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The daemon as a whole.
    Status,
    /// All zones, in short.
    ZoneList,
    /// One zone.
    ZoneStatus {
        /// Its apex in presentation format.
        zone: String,
    },
    /// Loads a zone again even if its files did not change, or all that changed.
    ZoneReload {
        /// Its apex in presentation format.
        zone: Option<String>,
    },
    /// Where XDP is attached.
    XdpStatus,
    /// Attaches XDP.
    XdpAttach {
        /// The interface's name.
        interface: String,
    },
    /// Detaches XDP.
    XdpDetach {
        /// The interface's name; none: from all.
        interface: Option<String>,
    },
    /// How full the maps are.
    CacheStatus,
    /// What the image holds for a name.
    CacheLookup {
        /// The name in presentation format.
        name: String,
        /// The type that matters; none: all.
        rtype: Option<String>,
    },
    /// Why a query is answered in XDP, passed up or dropped.
    CacheExplain(Asked),
    /// Checks what the image holds of a zone, or of all.
    CacheVerify {
        /// Its apex in presentation format.
        zone: Option<String>,
    },
    /// All counters.
    Stats,
    /// Rate limits.
    RateLimit {
        /// What to do with them.
        request: RateLimitAction,
    },
    /// Ends the daemon.
    Stop,
}

impl Request {
    /// What the request changes, as the command that asks for it; none if it only asks.
    pub fn action(&self) -> Option<String> {
        match self {
            Request::ZoneReload { zone: Some(zone) } => {
                Some(format!("zone reload {}", zone.escape_debug()))
            }
            Request::ZoneReload { zone: None } => Some("zone reload".to_owned()),
            Request::XdpAttach { interface } => {
                Some(format!("xdp attach {}", interface.escape_debug()))
            }
            Request::XdpDetach { interface: Some(interface) } => {
                Some(format!("xdp detach {}", interface.escape_debug()))
            }
            Request::XdpDetach { interface: None } => Some("xdp detach --all".to_owned()),
            Request::RateLimit { request } => request.action(),
            Request::Stop => Some("stop".to_owned()),
            Request::Status
            | Request::ZoneList
            | Request::ZoneStatus { .. }
            | Request::XdpStatus
            | Request::CacheStatus
            | Request::CacheLookup { .. }
            | Request::CacheExplain(_)
            | Request::CacheVerify { .. }
            | Request::Stats => None,
        }
    }

    /// Whether the answer may take as long as a zone takes to load.
    pub fn may_wait(&self) -> bool {
        let reads_image = matches!(
            self,
            Request::CacheLookup { .. } | Request::CacheExplain(_) | Request::CacheVerify { .. }
        );
        reads_image || (self.action().is_some() && *self != Request::Stop)
    }
}

/// A query to be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// QNAME in presentation format.
    pub name: String,
    /// QTYPE.
    pub rtype: String,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// The payload size that the client announces in octets; 0: it has no EDNS.
    pub payload: u16,
    /// Whether it comes over TCP.
    pub tcp: bool,
    /// The client's address; none: one for documentation (RFC 5737, RFC 3849).
    pub from: Option<IpAddr>,
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It was done.
    Data(serde_json::Value),
    /// It was not.
    Error(Failure),
}

/// An error in words for people (`message`, `hint`) and for programs (`code`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One of a few short words that do not change.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: &str, message: impl Into<String>) -> Failure {
        Failure { code: code.to_owned(), message: message.into(), hint: None }
    }

    /// The same with a hint.
    pub fn with_hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }
}
