//! The life of the daemon's process.

pub mod cache;
pub mod ending;
pub mod rights;
