//! What the tests stand on: a network of their own, frames, programs that are run without a device,
//! programs of others as oracles, and a list of tests that says what it could not run.

pub mod dns;
pub mod frames;
pub mod harness;
pub mod inject;
pub mod measure;
pub mod net;
pub mod oracle;
pub mod prog_test_run;
#[cfg(test)]
mod rfc;
pub mod servers;
pub mod stack;
