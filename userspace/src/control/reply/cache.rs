//! Replies about compiled zones.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xdp_common::Outcome;

use crate::compile::inspect::lookup::{Lookup, PieceView};
use crate::compile::inspect::verify::Findings;
use crate::observe::usage::{MapUsage, ZoneUsage};
use crate::observe::word::{self, Word};

/// How full the maps are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStatus {
    /// The maps; none if XDP is not in use.
    pub maps: Vec<MapUsage>,
    /// What each zone takes.
    pub zones: Vec<ZoneUsage>,
    /// What all of them take.
    pub memory: ImageMemory,
}

/// What names and records take of all memory for the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMemory {
    /// Octets of records in use, and of the table.
    pub image_octets: u64,
    /// Names, empty non-terminals included.
    pub names: u64,
    /// Records of zones.
    pub records: u64,
    /// None without names.
    pub octets_per_name: Option<u64>,
    /// None without records.
    pub octets_per_record: Option<u64>,
}

/// What is held for a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheLookup {
    /// The zone that encloses it.
    pub zone: Option<String>,
    /// Its nodes.
    #[serde(flatten)]
    pub found: Lookup,
}

/// What becomes of a query, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheExplain {
    /// The query.
    pub query: ExplainedQuery,
    /// What each stage found, in their order.
    pub stages: Vec<Stage>,
    /// The pieces of the answer.
    pub pieces: Vec<AnswerPiece>,
    /// What was needed of what the kernel is bounded to.
    pub bounds: Vec<Bound>,
    /// What becomes of it in XDP.
    #[serde(with = "word")]
    pub outcome: Outcome,
    /// What is done with the packet.
    pub fate: Fate,
    /// Octets of the DNS message that is sent, if one is.
    pub response_octets: Option<u64>,
    /// What the daemon's engine answers.
    pub daemon: DaemonAnswer,
    /// What the programs in the kernel did with it.
    pub kernel: KernelTrial,
}

/// A query that is explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedQuery {
    /// QNAME.
    pub name: String,
    /// QTYPE.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The payload size that the client announces in octets; none without EDNS.
    pub payload: Option<u16>,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// The client's address.
    pub from: IpAddr,
    /// The server's address.
    pub to: IpAddr,
    /// Over what it comes.
    pub transport: Transport,
}

/// Over what a query comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// What a stage found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// What it found.
    pub found: String,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerPiece {
    /// Its section.
    pub section: String,
    /// Octets of it that are sent.
    pub sent_octets: u64,
    /// The piece.
    #[serde(flatten)]
    pub piece: PieceView,
}

/// What was needed of one of the engine's bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Its name.
    pub bound: String,
    /// What the query needed, as far as it came.
    pub needed: u64,
    /// What the kernel allows.
    pub limit: u64,
}

/// What is done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It leaves as a response.
    Answered,
    /// It goes on to the network stack.
    PassedUp,
    /// Nothing comes of it.
    Dropped,
    /// The programs failed.
    Aborted,
}

impl Word for Fate {
    const WHAT: &'static str = "fate";
    const ALL: &'static [Fate] = &[Fate::Answered, Fate::PassedUp, Fate::Dropped, Fate::Aborted];

    fn word(self) -> &'static str {
        match self {
            Fate::Answered => "answered",
            Fate::PassedUp => "passed up",
            Fate::Dropped => "dropped",
            Fate::Aborted => "aborted",
        }
    }
}

impl Serialize for Fate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        word::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Fate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fate, D::Error> {
        word::deserialize(deserializer)
    }
}

impl From<Outcome> for Fate {
    fn from(outcome: Outcome) -> Fate {
        match () {
            () if outcome.is_answered() => Fate::Answered,
            () if outcome.is_dropped() => Fate::Dropped,
            () => Fate::PassedUp,
        }
    }
}

/// What the daemon's engine answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonAnswer {
    /// The outcome.
    #[serde(with = "word")]
    pub outcome: Outcome,
    /// Octets of the response.
    pub response_octets: u64,
}

/// Whether the programs in the kernel were run on the query. In JSON `tried` says which it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "KernelTrialFields", into = "KernelTrialFields")]
pub enum KernelTrial {
    /// They were not.
    NotTried {
        /// Why.
        why: String,
    },
    /// They were.
    Tried {
        /// What they did.
        action: Fate,
        /// Octets of the frame as they left it.
        frame_octets: u64,
        /// What they did otherwise than foretold.
        differences: Vec<String>,
    },
}

/// [`KernelTrial`] as JSON has it: all fields, whichever it is.
#[derive(Clone, Serialize, Deserialize)]
struct KernelTrialFields {
    tried: bool,
    why: Option<String>,
    action: Option<Fate>,
    frame_octets: Option<u64>,
    agrees: Option<bool>,
    differences: Option<Vec<String>>,
}

impl From<KernelTrial> for KernelTrialFields {
    fn from(trial: KernelTrial) -> KernelTrialFields {
        let nothing = KernelTrialFields {
            tried: false,
            why: None,
            action: None,
            frame_octets: None,
            agrees: None,
            differences: None,
        };
        match trial {
            KernelTrial::NotTried { why } => KernelTrialFields { why: Some(why), ..nothing },
            KernelTrial::Tried { action, frame_octets, differences } => KernelTrialFields {
                tried: true,
                action: Some(action),
                frame_octets: Some(frame_octets),
                agrees: Some(differences.is_empty()),
                differences: Some(differences),
                ..nothing
            },
        }
    }
}

impl TryFrom<KernelTrialFields> for KernelTrial {
    type Error = &'static str;

    fn try_from(fields: KernelTrialFields) -> Result<KernelTrial, &'static str> {
        let KernelTrialFields { tried, why, action, frame_octets, differences, .. } = fields;
        match (tried, why, action, frame_octets, differences) {
            (false, Some(why), None, None, None) => Ok(KernelTrial::NotTried { why }),
            (true, None, Some(action), Some(frame_octets), Some(differences)) => {
                Ok(KernelTrial::Tried { action, frame_octets, differences })
            }
            _ => Err(
                "the fields `why`, `action`, `frame_octets` and `differences` are not those of `tried`",
            ),
        }
    }
}

/// What a check of compiled zones found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheVerify {
    /// Zones that were checked.
    pub zones: u64,
    /// Those that changed meanwhile, or are not published.
    pub unfinished: Vec<String>,
    /// What was found in them.
    #[serde(flatten)]
    pub found: Findings,
}
