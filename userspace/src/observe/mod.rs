//! What is counted and known of a running daemon, as plain values: made by the part that counts, read by the control
//! socket, the command line and `health`.
//!
//! A counter has one name: its path in [`Snapshot`], such as `udp.positive` or `ratelimit.nxdomain.slip`. It is what
//! `stats` prints and what its JSON has, nested. Names of outcomes, classes and verdicts are their
//! [words](word::Word) and are written nowhere else.

pub mod attachment;
mod counters;
pub mod event;
pub mod trace;
pub mod usage;
pub mod word;

pub use counters::{
    Connections, Decisions, KernelCounters, ProgramCounters, Responses, Snapshot, Tcp, Transfers,
    Tsig, Udp, WorstResponse, ZoneCounts, named,
};
