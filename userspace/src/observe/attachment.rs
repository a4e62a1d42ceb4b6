//! Where XDP is attached, and what is wrong there.

use serde::{Deserialize, Serialize};

use crate::config::XdpMode;

/// XDP on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The interface's name.
    pub interface: String,
    /// How: never `Auto`.
    pub mode: XdpMode,
    /// Whether a program on TCX answers behind it what it has no room for.
    pub tcx: bool,
    /// Whether it is pinned, so that it outlives the daemon.
    pub pinned: bool,
    /// Whether the programs of an earlier daemon answer still.
    pub adopted: bool,
}

/// An interface that XDP is to be on and is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The interface's name.
    pub interface: String,
    /// Why, as an operator is told.
    pub why: String,
}

/// Something that is wrong with an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The interface's name.
    pub interface: String,
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// What is wrong, without a full stop.
    pub what: String,
    /// The command or setting that mends it, if there is one.
    pub fix: Option<String>,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Programs could not be loaded or attached when the daemon started: sockets answer.
    NotAttached,
    /// Answers would be lost as the device has been set up since programs were attached.
    Obstacle,
    /// Answers are counted as sent and do not leave.
    AnswersLost,
    /// Packets that the device receives are not shown to the programs.
    PacketsUnseen,
}
