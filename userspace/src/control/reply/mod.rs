//! What the daemon replies, as types: the daemon writes them, the commands read them, and `--json` prints them.
//!
//! The name of a field is a contract with all readers of the JSON. `userspace/tests/replies/` has a sample of each
//! reply, and of each request, which a test compares, so that a change of a name is seen. Who changes one raises
//! [`PROTOCOL`](super::protocol::PROTOCOL).

pub mod cache;
pub mod ratelimit;
pub mod read;
pub mod status;
pub mod xdp;
pub mod zone;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::protocol::Failure;
use crate::observe::Snapshot;

/// The version of the JSON that commands print.
pub const SCHEMA: u32 = 1;

/// What a command prints with `--json` that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCommand {
    /// Why.
    pub error: Failure,
}

/// What the daemon replies to a [`Request`](super::protocol::Request).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To `Status`.
    Status(status::Status),
    /// To `ZoneList`.
    ZoneList(zone::ZoneList),
    /// To `ZoneStatus`.
    ZoneStatus(zone::ZoneStatus),
    /// To `ZoneReload`.
    ZoneReload(zone::ZoneReload),
    /// To `ZoneHistory`.
    ZoneHistory(zone::ZoneHistory),
    /// To `ZoneDiff`.
    ZoneDiff(zone::ZoneDiff),
    /// To `ZoneRollback`.
    ZoneRolledBack(zone::ZoneRolledBack),
    /// To `ZoneRefresh`.
    ZoneRefreshing(zone::ZoneRefreshing),
    /// To `XdpStatus`.
    XdpStatus(xdp::XdpStatus),
    /// To `XdpAttach`.
    XdpAttached(xdp::XdpAttached),
    /// To `XdpDetach`.
    XdpDetached(xdp::XdpDetached),
    /// To `XdpTrace`.
    XdpTraceStarted(xdp::XdpTraceStarted),
    /// To `XdpTraceRead`.
    XdpTraceRead(xdp::XdpTraceRead),
    /// To `CacheStatus`.
    CacheStatus(cache::CacheStatus),
    /// To `CacheLookup`.
    CacheLookup(cache::CacheLookup),
    /// To `CacheExplain`.
    CacheExplain(cache::CacheExplain),
    /// To `CacheVerify`.
    CacheVerify(cache::CacheVerify),
    /// To `Stats`.
    Stats(Snapshot),
    /// To `RateLimit` with `Show`.
    RateLimits(ratelimit::RateLimits),
    /// To `RateLimit` with `ExemptList`.
    ExemptList(ratelimit::ExemptList),
    /// To `RateLimit` with `BlockList`.
    BlockList(ratelimit::BlockList),
    /// To `RateLimit` with `TopNetblocks`.
    RateLimitTop(ratelimit::TopNetblocks),
    /// To `RateLimit` with `Explain`.
    RateLimitExplained(ratelimit::NetblockExplanation),
    /// To `RateLimit` that changes something.
    RateLimitChanged(ratelimit::RateLimitChange),
    /// To `Stop`.
    Stopping(status::Stopping),
}

/// A reply of one kind.
pub trait Kind: Sized + Into<Reply> {
    /// The reply, if it is of this kind.
    fn of(reply: Reply) -> Option<Self>;
}

impl Kind for Reply {
    fn of(reply: Reply) -> Option<Reply> {
        Some(reply)
    }
}

macro_rules! kinds {
    ($($kind:ident: $type:ty),* $(,)?) => {
        /// The names of all kinds.
        #[cfg(test)]
        const KINDS: &[&str] = &[$(stringify!($kind)),*];

        $(
            impl From<$type> for Reply {
                fn from(reply: $type) -> Reply {
                    Reply::$kind(reply)
                }
            }

            impl Kind for $type {
                fn of(reply: Reply) -> Option<$type> {
                    match reply {
                        Reply::$kind(reply) => Some(reply),
                        _ => None,
                    }
                }
            }
        )*
    };
}

kinds! {
    Status: status::Status,
    ZoneList: zone::ZoneList,
    ZoneStatus: zone::ZoneStatus,
    ZoneReload: zone::ZoneReload,
    ZoneHistory: zone::ZoneHistory,
    ZoneDiff: zone::ZoneDiff,
    ZoneRolledBack: zone::ZoneRolledBack,
    ZoneRefreshing: zone::ZoneRefreshing,
    XdpStatus: xdp::XdpStatus,
    XdpAttached: xdp::XdpAttached,
    XdpDetached: xdp::XdpDetached,
    XdpTraceStarted: xdp::XdpTraceStarted,
    XdpTraceRead: xdp::XdpTraceRead,
    CacheStatus: cache::CacheStatus,
    CacheLookup: cache::CacheLookup,
    CacheExplain: cache::CacheExplain,
    CacheVerify: cache::CacheVerify,
    Stats: Snapshot,
    RateLimits: ratelimit::RateLimits,
    ExemptList: ratelimit::ExemptList,
    BlockList: ratelimit::BlockList,
    RateLimitTop: ratelimit::TopNetblocks,
    RateLimitExplained: ratelimit::NetblockExplanation,
    RateLimitChanged: ratelimit::RateLimitChange,
    Stopping: status::Stopping,
}
