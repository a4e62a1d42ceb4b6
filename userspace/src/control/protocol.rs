//! Requests and responses.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ratelimit::RateLimitAction;
use super::reply::{Reply, read as strict};

/// The version of requests and replies: who changes one raises it, and the samples in `userspace/tests/replies/`
/// show that one has changed. Daemon and command understand each other only if it is the same.
pub const PROTOCOL: u32 = 9;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

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
    /// What changed in a zone, as far back as that is known.
    ZoneHistory {
        /// Its apex in presentation format.
        zone: String,
    },
    /// How two versions of a zone differ.
    ZoneDiff {
        /// Its apex in presentation format.
        zone: String,
        /// The serial of the one version; none: that before the last change.
        from: Option<u32>,
        /// The serial of the other one; none: that which is served.
        to: Option<u32>,
    },
    /// Serves the records of an earlier version of a zone, until its file changes.
    ZoneRollback {
        /// Its apex in presentation format.
        zone: String,
        /// The serial of the version.
        serial: u32,
    },
    /// Asks the primaries of a zone for a newer version.
    ZoneRefresh {
        /// Its apex in presentation format.
        zone: String,
        /// Whether all of it is to be transferred, whatever its serial.
        whole: bool,
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
    /// Shows what becomes of packets, for a while.
    XdpTrace(TraceChoice),
    /// The lines of a trace since they were read last.
    XdpTraceRead {
        /// Its number.
        trace: u64,
        /// Whether it is to end now.
        stop: bool,
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
    CacheExplain(ExplainQuery),
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
            Request::ZoneRollback { zone, serial } => {
                Some(format!("zone rollback {} {serial}", zone.escape_debug()))
            }
            Request::ZoneRefresh { zone, whole } => {
                let word = if *whole { "retransfer" } else { "refresh" };
                Some(format!("zone {word} {}", zone.escape_debug()))
            }
            Request::XdpAttach { interface } => {
                Some(format!("xdp attach {}", interface.escape_debug()))
            }
            Request::XdpDetach { interface: Some(interface) } => {
                Some(format!("xdp detach {}", interface.escape_debug()))
            }
            Request::XdpDetach { interface: None } => Some("xdp detach --all".to_owned()),
            Request::XdpTrace(choice) => Some(choice.to_string()),
            Request::RateLimit { request } => request.action(),
            Request::Stop => Some("stop".to_owned()),
            Request::Status
            | Request::ZoneList
            | Request::ZoneStatus { .. }
            | Request::ZoneHistory { .. }
            | Request::ZoneDiff { .. }
            | Request::XdpStatus
            | Request::XdpTraceRead { .. }
            | Request::CacheStatus
            | Request::CacheLookup { .. }
            | Request::CacheExplain(_)
            | Request::CacheVerify { .. }
            | Request::Stats => None,
        }
    }

    /// Whether the answer may take as long as a zone takes to load.
    pub fn may_wait(&self) -> bool {
        let reads_much = matches!(
            self,
            Request::CacheLookup { .. }
                | Request::CacheExplain(_)
                | Request::CacheVerify { .. }
                | Request::ZoneHistory { .. }
                | Request::ZoneDiff { .. }
        );
        reads_much || (self.action().is_some() && *self != Request::Stop)
    }
}

/// A query to be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainQuery {
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

/// Which packets a trace shows, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceChoice {
    /// For how long, in seconds.
    pub seconds: u32,
    /// Words of outcomes; none: all.
    pub outcomes: Vec<String>,
    /// Who has sent it; none: anybody, and packets of which no client is known.
    pub client: Option<IpNet>,
    /// Of how many packets one is shown, on each CPU.
    pub sample: u32,
}

impl fmt::Display for TraceChoice {
    /// As the command that asks for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "xdp trace --for {}s", self.seconds)?;
        for outcome in &self.outcomes {
            write!(f, " --outcome {}", outcome.escape_debug())?;
        }
        if let Some(client) = self.client {
            write!(f, " --client {client}")?;
        }
        write!(f, " --sample 1/{}", self.sample)
    }
}

/// What goes over the socket, a line each way, with who says it.
#[derive(Serialize, Deserialize)]
struct Message<T> {
    /// [`PROTOCOL`].
    protocol: u32,
    /// [`VERSION`].
    version: String,
    #[serde(flatten)]
    content: T,
}

/// What a client says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RequestContent {
    Request(Request),
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on its way to the socket")]
pub enum Response {
    /// It was done.
    Reply(Reply),
    /// It was not.
    Error(Failure),
}

/// Why a line is not understood.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The other end speaks another version.
    #[error("it is {}, which speaks {}; this is sealdns {VERSION}, which speaks protocol {PROTOCOL}",
            version.as_ref().map_or("an earlier sealdns".into(), |version| format!("sealdns {version}")),
            protocol.map_or("a protocol that is not known here".into(), |protocol| format!("protocol {protocol}")))]
    Version {
        /// Its version, if it says so.
        version: Option<String>,
        /// Its protocol, if it says so.
        protocol: Option<u64>,
    },
    /// It says that it speaks the same and does not.
    #[error("its message is not understood here: {0}")]
    Content(String),
}

/// What to do about a [`ProtocolError`].
pub const SAME_VERSION: &str = "use the `sealdns` command of the daemon's version; a daemon that was updated must be restarted";

/// A request as a line.
pub fn write_request(request: &Request) -> serde_json::Result<Vec<u8>> {
    write(RequestContent::Request(request.clone()))
}

/// A response as a line.
pub fn write_response(response: &Response) -> serde_json::Result<Vec<u8>> {
    write(response)
}

/// Reads a request.
pub fn read_request(line: &str) -> Result<Request, ProtocolError> {
    let RequestContent::Request(request) = read(line)?;
    Ok(request)
}

/// Reads a response.
pub fn read_response(line: &str) -> Result<Response, ProtocolError> {
    read(line)
}

fn write(content: impl Serialize) -> serde_json::Result<Vec<u8>> {
    let message = Message { protocol: PROTOCOL, version: VERSION.to_owned(), content };
    let mut line = serde_json::to_vec(&message)?;
    line.push(b'\n');
    Ok(line)
}

fn read<T: strict::Readable>(line: &str) -> Result<T, ProtocolError> {
    // What is written again as it was read has no more and no less: the replies about a hundred thousand zones are read
    // without a tree of values. Else it is looked at piece by piece, for what is wrong.
    if let Ok(message) = serde_json::from_str::<Message<T>>(line)
        && message.protocol == PROTOCOL
        && serde_json::to_string(&message).is_ok_and(|again| again == line.trim_end())
    {
        return Ok(message.content);
    }
    let content = |error: serde_json::Error| ProtocolError::Content(error.to_string());
    let message: Value = serde_json::from_str(line).map_err(content)?;
    // Before anything else is looked at, which another version may write otherwise.
    let protocol = message.get("protocol").and_then(Value::as_u64);
    if protocol != Some(PROTOCOL.into()) {
        let version = message.get("version").and_then(Value::as_str).map(str::to_owned);
        return Err(ProtocolError::Version { version, protocol });
    }
    let message: Message<T> = strict::from_value(message).map_err(ProtocolError::Content)?;
    Ok(message.content)
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
