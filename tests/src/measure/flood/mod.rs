//! A flood of queries over a wire between two namespaces, and what the server's side spends on it.

pub mod generator;
pub mod meter;
pub mod mix;
pub mod schedule;
pub mod trial;
pub mod wire;
