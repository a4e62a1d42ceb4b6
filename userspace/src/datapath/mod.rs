//! The data plane: compiled zones in memory and, where XDP is attached, in its maps.
//!
//! | to … | use |
//! |---|---|
//! | serve zones | [`Plane`], behind the seam [`DataPlane`](seam::DataPlane) |
//! | attach without a daemon | [`foreground`] |
//! | load the programs | [`load::Loaded`] |
//! | attach one | [`attach::Attachment`] |
//! | share memory with the kernel | [`memory`] |

pub mod attach;
pub mod foreground;
mod hot;
pub mod interface;
pub mod load;
pub mod memory;
pub mod object;
pub mod plane;
pub mod seam;

pub use plane::{Plane, open};
