//! What the benches share: zones, the lab's programs and what they ask, figures taken several times.

pub mod figures;
pub mod flood;
pub mod programs;
pub mod waits;
pub mod zones;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Where zones are kept from one run to the next.
pub fn cache() -> std::io::Result<PathBuf> {
    let cache = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"));
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

/// Keeps the calling thread on one core.
pub fn pin_to_core(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("pinning a thread")
}

/// How many tasks wanted a processor, as the kernel averages it over the last minute.
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
