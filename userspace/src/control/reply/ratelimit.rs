//! Replies about rate limits.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use xdp_common::limit::{Class, Mode};

use crate::observe::word::{self, PerWord};
use crate::observe::{Decisions, WorstResponse};

/// What is in effect, and what of it the configuration file says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateLimits {
    /// The mode.
    #[serde(with = "word")]
    pub mode: Mode,
    /// Whether anything differs from the file.
    pub drift: bool,
    /// All settings of `[ratelimit]`.
    pub settings: Vec<Setting>,
    /// What zones say otherwise.
    pub zones: Vec<ZoneSettings>,
    /// How many prefixes are exempt.
    pub exempt: u64,
    /// Whether others are exempt than the file says.
    pub exempt_drift: bool,
    /// How much is blocked.
    pub blocked: u64,
    /// Whether there are changes that the next start forgets.
    pub unsaved: bool,
    /// Where saved changes are.
    pub saved_in: PathBuf,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key in `[ratelimit]`.
    pub key: String,
    /// What is in effect.
    pub value: Option<Value>,
    /// What the file says.
    pub file: Option<Value>,
    /// Whether these differ.
    pub drift: bool,
    /// Where that was said.
    pub origin: Origin,
}

/// Settings of `[zone.ratelimit]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneSettings {
    /// The zone.
    pub zone: String,
    /// What it says itself.
    pub settings: Table,
}

/// Where something that is in effect was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// In the configuration file.
    File,
    /// By a command that saved it.
    Saved,
    /// By a command, until the daemon is restarted.
    UntilRestart,
}

/// All exempt prefixes, and those of the file that are not exempt any longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExemptList {
    /// By prefix.
    pub exempt: Vec<ExemptPrefix>,
}

/// A prefix that is exempt, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExemptPrefix {
    /// The prefix.
    pub prefix: IpNet,
    /// Where it was said.
    pub origin: Origin,
    /// Whether it is.
    pub exempt: bool,
}

/// All that is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockList {
    /// Prefixes, then names.
    pub blocked: Vec<BlockedTarget>,
}

/// Something that is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedTarget {
    /// A prefix or a name.
    pub target: String,
    /// Until when, in seconds since 1970; none: for ever.
    pub until: Option<u64>,
    /// Whether it is only counted.
    pub dry_run: bool,
    /// Where it was said.
    pub origin: Origin,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateLimitChange {
    /// What.
    #[serde(flatten)]
    pub change: Change,
    /// Until when, in seconds since 1970, for a block that ends by itself.
    pub until: Option<u64>,
    /// Whether it outlasts a restart of the daemon.
    pub saved: bool,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Settings have these values.
    Set(Table),
    /// What was changed before is forgotten; always `true`.
    Reset(bool),
    /// These prefixes or names are exempt, or blocked.
    Added(Vec<String>),
    /// They are not any longer.
    Deleted(Vec<String>),
}

/// Netblocks that are limited, or near it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopNetblocks {
    /// The mode of `[ratelimit]`.
    #[serde(with = "word")]
    pub mode: Mode,
    /// All modes that a policy has.
    pub modes: Vec<PolicyMode>,
    /// Worst first.
    pub netblocks: Vec<Netblock>,
    /// What was decided, by XDP, TCX and for the sockets together.
    pub decisions: Decisions,
    /// The second of the last minute in which most was sent for what was received: octets for each octet, all
    /// responses of that second together.
    pub worst_second: f64,
    /// The response of the last minute that was largest for its query.
    pub worst_response: Option<WorstResponse>,
}

/// The mode of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyMode(#[serde(with = "word")] pub Mode);

/// A netblock and a limit that it is over, or was, or comes near to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Netblock {
    /// The netblock.
    pub netblock: IpNet,
    /// How it stands.
    pub state: NetblockState,
    /// The limit's word.
    pub limit: String,
    /// The class of responses, if the limit is of one.
    pub class: Option<String>,
    /// What it allows, if that is known.
    pub allowed_per_second: Option<u64>,
    /// The policies that the limit may be of.
    pub policies: Vec<Allowance>,
    /// Responses and queries over the limit, each second since it is over it.
    pub over_per_second: f64,
    /// Since when it is over it, in seconds since 1970.
    pub since: Option<u64>,
    /// When it was last counted, in seconds since 1970.
    pub last: u64,
    /// Slipped.
    pub slips: u64,
    /// Dropped.
    pub drops: u64,
}

/// How a netblock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetblockState {
    /// It is over a limit, or was some seconds ago.
    Limited,
    /// It was.
    WasLimited,
    /// It comes near to a limit.
    Near,
}

/// What a policy allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// The zone; none: the default policy.
    pub zone: Option<String>,
    /// Its mode.
    #[serde(with = "word")]
    pub mode: Mode,
    /// How many a second.
    pub allowed_per_second: u64,
}

/// What is done to a netblock, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetblockExplanation {
    /// The netblock that was asked for.
    pub netblock: IpNet,
    /// What is done.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Since when, in seconds since 1970.
    pub since: Option<u64>,
    /// The mode of `[ratelimit]`.
    #[serde(with = "word")]
    pub mode: Mode,
    /// The block that it is in.
    pub blocked_by: Option<BlockedBy>,
    /// The exempt prefix that it is in.
    pub exempt_by: Option<ExemptBy>,
    /// The limits that it, or a part of it, is over or near.
    pub limits: Vec<Netblock>,
    /// What the default policy allows.
    pub allowed: PolicyLimits,
    /// What each policy allows, the default first.
    pub policies: Vec<PolicyLimits>,
    /// Queries that come, of all clients.
    pub queries_per_second: u64,
}

/// What is done to a netblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Its queries are dropped.
    Blocked,
    /// It is answered whatever the limits.
    Exempt,
    /// Some of its queries are slipped or dropped.
    Limited,
    /// They would be, if the mode were on.
    WouldBeLimited,
    /// Nothing.
    NotLimited,
}

/// A block that a netblock is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedBy {
    /// The blocked prefix.
    pub prefix: IpNet,
    /// Until when, in seconds since 1970; none: for ever.
    pub until: Option<u64>,
    /// Whether it is only counted.
    pub dry_run: bool,
    /// Where it was said.
    pub origin: Origin,
}

/// An exempt prefix that a netblock is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExemptBy {
    /// The exempt prefix.
    pub prefix: IpNet,
    /// Where it was said.
    pub origin: Origin,
}

/// Every limit of a policy that counts for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLimits {
    /// The zone; none: the default policy.
    pub zone: Option<String>,
    /// Its mode.
    #[serde(with = "word")]
    pub mode: Mode,
    /// The netblock that is counted by name and class.
    pub netblock: Option<IpNet>,
    /// Responses a second about one name by class; 0: no limit.
    pub classes_per_second: PerWord<Class, u32>,
    /// Queries a second from which on rates fall; none: they do not.
    pub qps_scale: Option<u32>,
    /// Responses a second of netblocks, largest last. None for zones: totals are of the default policy.
    pub total: Option<Vec<TotalLimit>>,
    /// What XDP may pass up each second; none for zones.
    pub passed_per_second: Option<u32>,
}

/// A limit of all responses to a netblock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalLimit {
    /// The netblock.
    pub netblock: Option<IpNet>,
    /// How many a second.
    pub per_second: u64,
}
