//! What keeps XDP from answering on a device, as facts that the log, `xdp status` and `health` tell.

use serde::Serialize;

/// Something that is wrong with an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The interface's name.
    pub interface: String,
    /// What kind of fault it is.
    pub kind: Kind,
    /// What is wrong, without a full stop.
    pub what: String,
    /// The command or setting that mends it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Programs could not be loaded or attached when the daemon started: sockets answer.
    NotAttached,
    /// Answers would be lost as the device has been set up since programs were attached.
    Obstacle,
    /// Answers are counted as sent and do not leave.
    AnswersLost,
    /// Packets that the device receives are not shown to the programs.
    PacketsUnseen,
}
