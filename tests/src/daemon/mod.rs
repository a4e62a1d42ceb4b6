//! The life of the daemon's process.

pub mod rights;
