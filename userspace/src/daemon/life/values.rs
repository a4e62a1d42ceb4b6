//! What the life of a zone goes by, and how its events end, as plain values.

use std::time::{Duration, Instant};

use super::refresh::Timers;
use crate::dnssec::times::is_before;
use crate::observe::event::{EventKind, EventReason};

/// What the clocks show.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The wall clock: seconds since 1970, truncated to 32 bits.
    pub wall: u32,
    /// The monotonic clock.
    pub tick: Instant,
}

/// What the configuration wants of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Whether sealdns signs it.
    pub signs: bool,
    /// Whether its signatures are verified while it is served.
    pub verifies: bool,
    /// How long before the end of a signature the next one is made, in seconds.
    pub refresh: u32,
    /// Whether it comes from primaries, and not from a file.
    pub is_transferred: bool,
    /// How often its primary is asked, if not by the times of the zone's SOA record.
    pub poll: Option<Duration>,
}

/// A version that a primary has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// The times of its SOA record.
    pub timers: Timers,
    /// When a primary had it last, in seconds since 1970 truncated to 32 bits.
    pub at: u32,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// To read the file if it or the settings changed.
    IfChanged,
    /// To read the file.
    Always,
}

/// Something that happens to a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// Why.
    pub reason: EventReason,
    /// In how many seconds; not more than none: it is due since then.
    pub wait: i64,
}

impl Event {
    /// Whether the zone is made anew for its signatures' or its keys' sake. It may be due again as soon as it has ended:
    /// signatures that hold for less than `refresh`.
    pub fn is_renewal(&self) -> bool {
        self.kind == EventKind::Sign || self.reason == EventReason::SignaturesBegin
    }
}

/// When the signatures of a zone are valid, in seconds since 1970, truncated to 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signatures {
    /// From when on all are, if that is known.
    pub inception: Option<u32>,
    /// Until when all are.
    pub expiration: u32,
}

impl Signatures {
    /// Whether one is not valid yet: it was made while the clock was ahead.
    pub(super) fn is_ahead(self, now: u32) -> bool {
        self.inception.is_some_and(|inception| is_before(now, inception))
    }
}

/// What is known of a version that is served from now on.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// When its signatures are valid, if sealdns made them.
    pub signatures: Option<Signatures>,
    /// When a signature begins to be valid that is not yet, if somebody else made it; or when the use of a key changes.
    pub begins_at: Option<u32>,
    /// When all of its signatures were verified last, seconds since 1970 truncated to 32 bits: those of a version of which
    /// what changed since was verified, too. `None` if they were not.
    pub verified_at: Option<u32>,
    /// Whether it is of the last run, and the files may say something else.
    pub is_behind: bool,
    /// Whether the files say something else that could not be made durable.
    pub is_refused: bool,
    /// Of a version that has come from a primary, now or when the daemon ran last: when that was.
    pub confirmed: Option<Confirmed>,
}

/// Why what is served is to be written as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepReason {
    /// It could not be kept.
    NotKept,
    /// The journal is long.
    JournalLong,
}

/// How an event ended.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// A version is served in place of the one before, if there was one.
    Served(Facts),
    /// What is served is what is to be served.
    Unchanged {
        /// As [`Facts::begins_at`].
        begins_at: Option<u32>,
    },
    /// What was served is served still.
    Failed {
        /// When that may be otherwise since a signature begins to be valid.
        begins_at: Option<u32>,
    },
    /// What was served is served still: differences that have come do not fit.
    Unfit,
    /// What was served is served still: the next version could not be made durable.
    Refused,
    /// What is served was written as a whole.
    Kept,
    /// Verifying has looked at all, and what it found is to take effect.
    LookedAt,
    /// Verifying has looked at a version that is not served any more.
    Outdated,
    /// What is served was verified; what a validator would refuse is no longer sent.
    Verified,
    /// Nothing is served any more, and nothing will be until somebody asks for it.
    Withdrawn,
}
