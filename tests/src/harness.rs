//! What a test is, and how it ends.

use anyhow::Result;

/// How a test ended that did not fail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// What it asserts holds.
    Passed,
    /// It could not be run, for this reason.
    Skipped(String),
}

/// Where nothing can keep a test from running.
impl From<()> for Verdict {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

/// A test: it fails by an error or a panic.
#[derive(Clone, Copy)]
pub struct Test {
    /// Its name: the path of what is run.
    pub name: &'static str,
    /// What is run.
    pub run: fn() -> Result<Verdict>,
}
