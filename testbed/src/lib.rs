//! What the tests and the tasks of `cargo xtask` share: network namespaces and the wires between them,
//! processes, frames, and who sends them as a network driver does; virtual machines, name servers of others; commands that are shown.
//!
//! Nothing here knows of sealdns: `xtask` depends on this crate, and compiles nothing of the program before its
//! first task can run.

pub mod frames;
pub mod guest;
pub mod inject;
pub mod net;
pub mod servers;
pub mod shell;
