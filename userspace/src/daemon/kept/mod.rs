//! What is kept of zones for the next start of the daemon.
//!
//! | file | what |
//! |---|---|
//! | `base.rs` | a version as a whole, in a file |

mod base;

pub use base::{KeptFile, KeptVersion, settings};
