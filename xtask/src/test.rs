//! `cargo xtask test`: everything that proves it.

use std::process::Command;

use anyhow::{Result, ensure};
use testbed::shell;

use crate::{build, matrix, setup};

/// Arguments of `test`.
#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Fail if a test cannot be run
    #[arg(long)]
    pub ci: bool,
    /// Run the tests of large zones and of many, as large as they are made for, and print their figures:
    /// a million names, a million delegations beside knotd, a hundred thousand zones; then, without
    /// filters, other kernels as `matrix` does. It takes some 20 minutes, 12 GiB of memory and 4 GiB of disk
    #[arg(long, conflicts_with_all = ["ci", "package"])]
    pub heavy: bool,
    /// Run tests of this package only
    #[arg(short, long)]
    pub package: Option<String>,
    /// Run tests whose names contain one of these, and further arguments to the test binaries
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub filters: Vec<String>,
}

/// Runs the task.
///
/// The tests are built like the binary, so that what both need is compiled once. As root they run
/// the programs in the kernel and on the wire; without, those tests are skipped, and counted.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Purpose::Test)?;
    build::run(&build::Arguments::default())?;
    let mut command = shell::cargo();
    command.args(["test", "--release", "--locked", "--no-fail-fast"]);
    match &arguments.package {
        Some(package) => command.args(["--package", package]),
        None if arguments.heavy => &mut command,
        None => command.arg("--workspace"),
    };
    if !shell::is_root() {
        eprintln!("note: not root, so no test can load a program; those are skipped");
    }
    if arguments.ci {
        command.env("SEALDNS_NO_SKIP", "1");
    }
    let mut filters = arguments.filters.clone();
    if arguments.heavy {
        command.args(["--package", "tests", "--test", "all"]).env("SEALDNS_HEAVY", "1");
        if filters.is_empty() {
            filters.push("scale::".into());
        }
    }
    if !filters.is_empty() {
        command.env("SEALDNS_SHARED_FILTERS", "1").arg("--").args(&filters);
        all_find_a_test(&filters, &command)?;
    }
    shell::step("tests", || shell::run(&mut command))?;
    if arguments.heavy && arguments.filters.is_empty() {
        matrix::run(&matrix::Arguments { strict: true, ..Default::default() })?;
    }
    Ok(())
}

/// Fails if one of the filters is in the name of no test. Each test binary is given all filters, and has no test for
/// most of them: only over all binaries together can be seen that there is none.
fn all_find_a_test(filters: &[String], command: &Command) -> Result<()> {
    let mut list = shell::cargo();
    list.args(command.get_args()).arg("--list").env("SEALDNS_SHARED_FILTERS", "1");
    let names = shell::output_of(&mut list)?;
    let names: Vec<&str> = names.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    // What follows the first option may be its value.
    for filter in filters.iter().take_while(|filter| !filter.starts_with('-')) {
        let is_found = names.iter().any(|name| name.contains(filter.as_str()));
        ensure!(
            is_found,
            "no test has a name with \"{filter}\"; `cargo xtask test --list` lists all"
        );
    }
    ensure!(!names.is_empty(), "no test has a name with {filters:?}");
    Ok(())
}
