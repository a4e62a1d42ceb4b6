//! `cargo xtask bench`: what an answer costs the processor.
//!
//! Nanoseconds per run of the real programs on one query (`BPF_PROG_TEST_RUN`), less what measuring
//! costs. That resolves a nanosecond and needs no quiet machine. What a flood over a wire costs, beside
//! other servers, is not measured here yet.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{build, setup, shell};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names of the large zone, which are asked for in random order; the zone is signed once and
    /// kept under target/bench
    #[arg(long, default_value_t = 1_000_000)]
    names: u32,
    /// Runs over which one figure is averaged
    #[arg(long, default_value_t = 300_000)]
    repeat: u32,
    /// 10,000 names and 100,000 runs
    #[arg(long, conflicts_with_all = ["names", "repeat"])]
    quick: bool,
    /// Write the figures to this file as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Builds, measures, prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    if !shell::is_root() {
        bail!("measuring loads XDP programs, and that needs root: run this as root");
    }
    setup::ensure(setup::Purpose::Build)?;
    build::run(&build::Arguments { ebpf_only: true })?;
    let (names, repeat) = match arguments.quick {
        true => (10_000, 100_000),
        false => (arguments.names, arguments.repeat),
    };
    let mut command = shell::cargo();
    command.args(["bench", "--locked", "--package", "tests", "--bench", "test_run", "--"]);
    command.args([names.to_string(), repeat.to_string()]);
    let text = shell::step("test runs", || shell::output_of(&mut command))?;
    let figures: Value = serde_json::from_str(&text).context("the bench did not print JSON")?;
    print!("{}", table(&figures)?);
    if let Some(path) = &arguments.json {
        fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The figures for people.
fn table(figures: &Value) -> Result<String> {
    let mut table = format!(
        "{:<28} {:>9} {:>7} {:>8}  {:<13} {:>10}\n",
        "query", "names", "octets", "ns/run", "min-max", "subtracted"
    );
    let shrink = number(figures, "/shrink_ns/median")?;
    for case in figures["cases"].as_array().context("no cases")? {
        let span =
            format!("{:.0}-{:.0}", number(case, "/net_ns/min")?, number(case, "/net_ns/max")?);
        let names = match case["names"].as_u64().unwrap_or(0) {
            0 => "hot".to_owned(),
            names => names.to_string(),
        };
        let octets = case["reply_octets"].as_u64().map_or("-".to_owned(), |n| n.to_string());
        table.push_str(&format!(
            "{:<28} {names:>9} {octets:>7} {:>8.0}  {span:<13} {:>10.0}\n",
            case["case"].as_str().unwrap_or_default(),
            number(case, "/net_ns/median")?,
            number(case, "/wrapper_ns/median")?,
        ));
    }
    table.push_str(&format!(
        "Medians of {} rounds of {} runs; octets of the reply's frame. Subtracted: writing the query\n\
         anew, calling the program and an empty program; where the reply is longer than the query,\n\
         {shrink:.0} ns for undoing that, too. Load average {:.2}.\n",
        figures["rounds"],
        figures["repeat"],
        figures["load_average"].as_f64().unwrap_or(f64::NAN),
    ));
    Ok(table)
}

fn number(value: &Value, place: &str) -> Result<f64> {
    value.pointer(place).and_then(Value::as_f64).with_context(|| format!("no figure {place}"))
}
