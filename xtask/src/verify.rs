//! verify
use anyhow::Result;
/// Arguments.
#[derive(clap::Args)]
pub struct Arguments {}
/// Runs.
pub fn run(_a: &Arguments) -> Result<()> {
    Ok(())
}
