//! What happens to a zone by itself or on request.

use serde::{Deserialize, Serialize};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// It is served for the first time since the daemon was started: as it was served last, or else as its file says.
    Load,
    /// It is brought up to date: it is served as it was when the daemon ran last.
    FollowUp,
    /// Its file is read.
    Change,
    /// Its signatures are made anew.
    Sign,
    /// Its signatures are verified while it is served.
    Verify,
    /// What is served is written as a whole for the next start.
    Keep,
    /// Its primaries are asked for a newer version.
    Refresh,
    /// It is not served any more: no primary has had it for as long as its SOA record allows.
    Expire,
}

/// Why it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventReason {
    /// It was not tried yet.
    NotTried,
    /// The last attempt has failed.
    Failed,
    /// What is served is of the last run.
    FromLastRun,
    /// A change could not be made durable, and was refused.
    Refused,
    /// Somebody asked for it.
    Asked,
    /// A signature of somebody else's begins to be valid.
    SignaturesBegin,
    /// One of its keys begins or ceases to be used, by the times in its file.
    KeysChange,
    /// Signatures end soon after.
    SignaturesEnd,
    /// Signatures are not valid yet: they were made while the clock was ahead.
    SignaturesAhead,
    /// What is served was never verified.
    NotVerified,
    /// It was verified a day before.
    Daily,
    /// Verifying has ended, and what it found takes effect.
    Verified,
    /// What is served could not be kept for the next start.
    NotKept,
    /// So much changed since it was written as a whole that the journal is long.
    JournalLong,
    /// No version of it has come from a primary yet.
    NotTransferred,
    /// The time that its SOA record names has passed since a primary was asked.
    RefreshPassed,
    /// A primary has said that there is a newer version.
    Notified,
    /// A version has come from a primary.
    Transferred,
    /// Updates of clients wait (RFC 2136).
    Updated,
    /// No primary has had what is served, or anything newer, for long.
    Unconfirmed,
}
