//! What a trace shows of a packet.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use xdp_common::Outcome;

use super::word;

/// What became of a packet, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceLine {
    /// When it was finished with, in UTC (RFC 3339), to the microsecond.
    pub at: String,
    /// Where.
    pub path: TracePath,
    /// The interface that it came from; its number, if it has no name any more.
    pub interface: String,
    /// Who sent it, if its headers were read.
    pub client: Option<TracedClient>,
    /// What it asks, if that was read.
    pub question: Option<TracedQuestion>,
    /// What became of it.
    #[serde(with = "word")]
    pub outcome: Outcome,
    /// What the kernel does with it.
    pub action: TraceAction,
    /// The program that decided that.
    pub stage: String,
}

/// The programs that a packet came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TracePath {
    /// XDP's.
    Xdp,
    /// TCX's.
    Tcx,
}

/// What the kernel does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceAction {
    /// It sends the response that was made of it.
    Answered,
    /// It hands it to what stands behind.
    PassedUp,
    /// Nothing.
    Dropped,
}

impl TraceAction {
    /// What follows from an outcome.
    pub fn of(outcome: Outcome) -> TraceAction {
        if outcome.is_answered() {
            TraceAction::Answered
        } else if outcome.is_dropped() {
            TraceAction::Dropped
        } else {
            TraceAction::PassedUp
        }
    }
}

/// Who sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedClient {
    /// The source address.
    pub address: IpAddr,
    /// The source port.
    pub port: u16,
}

/// What a query asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedQuestion {
    /// QNAME as it was sent, in presentation format, with its escapes (RFC 1035 section 5.1).
    pub name: String,
    /// QCLASS: IN, since the programs read no other.
    pub class: String,
    /// QTYPE.
    pub rtype: String,
    /// Whether it has an OPT record.
    pub edns: bool,
    /// Whether the DO bit is set.
    pub dnssec_ok: bool,
}
