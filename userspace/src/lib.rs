//! sealdns: an authoritative DNS edge whose answers leave from XDP.
//!
//! Arrows only point down: `main` -> [`cli`] -> [`daemon`] -> {[`datapath`], [`server`],
//! [`control`], [`transfer`]} -> {[`ratelimit`], [`compile`], [`check`]} -> [`dnssec`] -> [`zone`].
//! From [`compile`] downwards there is no tokio, no aya, no clock and no file, but for
//! [`zone::text::files`], which opens master files, and [`dnssec::keys::store`], which keeps keys.
//! [`files`] is how everybody writes them, and [`journal`] keeps the differences of a zone in one. Above, clocks are in [`clock`]. [`duration`] is how all rooms
//! read durations. [`foreign`] reads configurations of other servers. [`observe`] is what is known and counted, as
//! values that [`control`] tells.

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod duration;
pub mod foreign;
pub mod ratelimit;
pub mod server;
pub mod transfer;

pub mod check;
pub mod compile;
pub mod dnssec;
pub mod file_pattern;
pub mod files;
pub mod journal;
pub mod observe;
pub mod zone;
