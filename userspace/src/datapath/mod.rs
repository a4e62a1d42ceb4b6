//! The data plane: compiled zones in memory and, where XDP is attached, in its maps.
//!
//! | to … | use |
//! |---|---|
//! | serve zones | [`Plane`], behind the seam [`DataPlane`](seam::DataPlane) |
//! | attach without a daemon | [`foreground`] |
//! | load the programs | [`load::LoadedPrograms`] |
//! | attach one | [`attach::Attachment`] |
//! | keep XDP when the daemon ends | [`pins`] |
//! | do what takes privileges | [`loader`] |
//! | tell the limiter | [`limiting`] |
//! | find out what a device needs | [`probe`] |
//! | share memory with the kernel | [`memory`] |
//! | show what becomes of packets | [`tracing`] |

mod addresses;
pub mod attach;
pub mod attach_error;
mod broadcasts;
pub mod device;
pub mod foreground;
pub mod interface;
pub mod limiting;
pub mod link;
pub mod load;
mod load_error;
pub mod loader;
pub mod memory;
mod netlink;
pub mod object;
mod partial;
pub mod path;
pub mod pins;
pub mod plane;
pub mod probe;
pub mod seam;
pub mod tracing;
pub mod watch;

pub use plane::{Plane, open};
