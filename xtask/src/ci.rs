//! `cargo xtask ci`: what must hold before a change is taken. `.ci/run` calls it.
//!
//! Everything is compiled in the release profile: the linters and the documentation read the same
//! metadata, the tests and the demo run the same objects, and nothing is compiled for a third time.

use std::{process::Command, time::Instant};

use anyhow::Result;
use testbed::shell;

use crate::{build, demo, fuzz, imports, matrix, setup, test, verify};

/// Arguments of `ci`.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long each fuzz target runs
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    fuzz: u32,
}

/// Runs the task, and stops at the first failure.
pub fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    setup::ensure(setup::Purpose::Ci)?;
    shell::step("format", format)?;
    shell::step("imports", imports::check)?;
    // Before the linters, for they too look at `sealdns` with the object embedded.
    build::run(&build::Arguments { ebpf_only: true })?;
    shell::step("lint", lint)?;
    shell::step("documentation", documentation)?;
    test::run(&test::Arguments { ci: true, ..test::Arguments::default() })?;
    shell::step("licences, bans, sources", dependencies)?;
    fuzz::run(&fuzz::Arguments { target: None, seconds: arguments.fuzz })?;
    shell::step("verifier's budget", || {
        let arguments = verify::Arguments { budget: true, untraced: true, ..Default::default() };
        verify::run(&arguments)
    })?;
    matrix::run(&matrix::Arguments { short: true, strict: true, ..Default::default() })?;
    shell::step("demo", || demo::run(&demo::Arguments::default()))?;
    eprintln!("==> ci: all is well, in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The workspaces besides the main one: each has a lock file of its own.
const APART: [&str; 2] = ["xdp-ebpf", "tests/fuzz"];

fn format() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    for workspace in APART {
        let directory = shell::root().join(workspace);
        shell::run(shell::cargo().current_dir(directory).args(["fmt", "--check"]))?;
    }
    Ok(())
}

fn lint() -> Result<()> {
    shell::run(
        shell::cargo()
            .args(["clippy", "--release", "--locked", "--workspace", "--all-targets"])
            .args(["--", "--deny", "warnings"]),
    )?;
    shell::run(build::ebpf_clippy()?.args(["--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    shell::run(shell::cargo().env("RUSTDOCFLAGS", "--deny warnings").args([
        "doc",
        "--release",
        "--locked",
        "--workspace",
        "--no-deps",
    ]))
}

fn dependencies() -> Result<()> {
    let deny = setup::find_cargo_deny().unwrap_or_else(|| "cargo-deny".into());
    for workspace in [".", APART[0], APART[1]] {
        shell::run(
            Command::new(&deny)
                .current_dir(shell::root())
                .arg("--manifest-path")
                .arg(shell::root().join(workspace).join("Cargo.toml"))
                .arg("--config")
                .arg(shell::root().join("deny.toml"))
                .args(["--log-level", "error", "check", "--hide-inclusion-graph"])
                .args(["licenses", "bans", "sources"]),
        )?;
    }
    Ok(())
}
