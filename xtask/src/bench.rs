//! `cargo xtask bench`: what an answer costs.
//!
//! Nanoseconds per run of the real programs (`BPF_PROG_TEST_RUN` with repeat), per kind of query,
//! less an empty program and less what writing the query costs that is measured with.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{build, setup, shell};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names in the zone that is asked at random; it is signed once and kept in target/bench
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    names: u32,
    /// Runs that each figure is the mean of
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Few names and few runs: whether it works, not how fast
    #[arg(long, conflicts_with_all = ["names", "repeat"])]
    quick: bool,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> Result<()> {
    if !shell::is_root() {
        bail!("loading programs needs root (CAP_BPF and CAP_NET_ADMIN): run this as root");
    }
    setup::ensure(setup::Purpose::Build)?;
    build::run(&build::Arguments { ebpf_only: true })?;
    let (names, repeat) =
        if arguments.quick { (1000, 20_000) } else { (arguments.names, arguments.repeat) };
    let figures = shell::step("ns per run", || test_run(names, repeat))?;
    print_table(&figures)?;
    if let Some(path) = &arguments.json {
        fs::write(path, format!("{figures:#}\n"))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// Runs the bench of the tests' package, which knows the library.
fn test_run(names: u32, repeat: u32) -> Result<Value> {
    let mut command = shell::cargo();
    command.args([
        "bench",
        "--quiet",
        "--locked",
        "--package",
        "tests",
        "--bench",
        "test_run",
        "--",
    ]);
    command.args([names.to_string(), repeat.to_string()]);
    let said = shell::output_of(&mut command)?;
    serde_json::from_str(&said).with_context(|| format!("this is no JSON: {said}"))
}

fn print_table(figures: &Value) -> Result<()> {
    println!();
    println!(
        "{:28} {:>8} {:>6} {:>8} {:>13} {:>9}",
        "question", "names", "reply", "net ns", "min-max", "wrapper"
    );
    for row in figures["cases"].as_array().context("the bench names no cases")? {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let net = &row["net_ns"];
        let reply =
            row["reply_octets"].as_u64().map_or("-".to_owned(), |octets| octets.to_string());
        println!(
            "{:28} {:>8} {reply:>6} {:>8.0} {:>13} {:>9.0}",
            row["case"].as_str().unwrap_or_default(),
            row["names"]
                .as_u64()
                .filter(|names| *names != 0)
                .map_or("1".to_owned(), |n| n.to_string()),
            number(&net["median"]),
            format!("{:.0}-{:.0}", number(&net["min"]), number(&net["max"])),
            number(&row["wrapper_ns"]["median"]),
        );
    }
    println!(
        "\nMedians of {} rounds of {} runs; less the wrapper (an empty program included), and less \
         {:.0} ns where it makes the reply as short as the query again. Load average {}.",
        figures["rounds"],
        figures["repeat"],
        figures["shrink_ns"]["median"].as_f64().unwrap_or(f64::NAN),
        figures["load_average"],
    );
    println!(
        "Reply: octets of the frame. Of each question one reply was compared with the engine's on the \
         host, and 1000 were counted."
    );
    Ok(())
}
