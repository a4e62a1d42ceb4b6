//! Replies about XDP.

use serde::{Deserialize, Serialize};

use crate::observe::KernelCounters;
use crate::observe::attachment::{Attachment, Fault, Missing};
use crate::observe::trace::TraceLine;

/// Where XDP is attached, and what it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpStatus {
    /// Where it is.
    pub attachments: Vec<Attachment>,
    /// Where it is to be and is not.
    pub missing: Vec<Missing>,
    /// What keeps answers from being given or from leaving.
    pub faults: Vec<Fault>,
    /// What is counted.
    pub counters: KernelCounters,
}

/// XDP was attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpAttached {
    /// To this interface.
    pub attached: String,
}

/// XDP was detached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpDetached {
    /// From these interfaces.
    pub detached: Vec<String>,
    /// The interfaces that it was to be on as soon as they would be there.
    pub forgotten: Vec<String>,
}

/// A trace has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpTraceStarted {
    /// Its number, to read it.
    pub trace: u64,
}

/// What was read of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpTraceRead {
    /// A line for each packet, those of each CPU in order.
    pub lines: Vec<TraceLine>,
    /// Packets, since the trace began, that were chosen and have no line, for want of room.
    pub lost: u64,
    /// Why there will be no more, if that is so.
    pub ended: Option<String>,
}
