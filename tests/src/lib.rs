//! What the tests stand on besides the crate `testbed`: programs that are run without a device,
//! programs of others as oracles, and a list of tests that says what it could not run.

pub mod chance;
pub mod dns;
pub mod harness;
pub mod judge;
pub mod measure;
pub mod prog_test_run;
pub mod questions;
pub mod servers;
pub mod stack;
