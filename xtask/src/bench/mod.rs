//! `cargo xtask bench`: what an answer costs, what a flood costs, what a signature costs, what a change costs.
//!
//! Four parts, each a bench of the tests' package that prints JSON; here they are called, and shown
//! as tables, as a picture, and in `docs/figures.md` and the README.
//!
//! - `run`: nanoseconds per run of the real programs (`BPF_PROG_TEST_RUN` with repeat), per kind of
//!   query, less an empty program and less what writing the query costs that is measured with;
//! - `flood`: CPU time of the server's core per answer, of sealdns, of other servers and of a bare
//!   reflector, over one veth pair;
//! - `sign`: signatures per CPU second and peak memory, of sealdns and of other signers;
//! - `change`: how long one change of a large signed zone takes until it is in the maps, and how many knotd takes a
//!   second; a file of which one line changed, and a start.

mod change;
mod picture;
mod readme;
mod tables;
mod versions;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use testbed::shell;

use crate::{build, setup};

/// Names in the zones of `run`: more than any cache holds.
const RUN_NAMES: u32 = 1_000_000;
/// Names in the zones of `flood` and `sign`, and where only few are wanted.
const NAMES: u32 = 100_000;
const FEW_NAMES: u32 = 1000;
/// Delegations in the zones of `change`, and changes one after the other; where only few are wanted.
const CHANGED_NAMES: u32 = 1_000_000;
const CHANGES: u32 = 1000;
const FEW_CHANGES: u32 = 50;

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to measure; everything if nothing is named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Names in the zones that are asked at random, signed or changed [default: 1000000 (run, change), 100000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    names: Option<u32>,
    /// Runs that each figure of `run` is the mean of
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// How often `flood` and `sign` take each figure; medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// How long `flood` measures at one rate, in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(100..=60_000))]
    milliseconds: u32,
    /// Few names, short runs, one round: whether it works, not how fast
    #[arg(long, conflicts_with_all = ["names", "repeat", "rounds", "milliseconds"])]
    quick: bool,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure nothing: show the figures that --json wrote to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["parts", "quick", "json"])]
    from: Option<PathBuf>,
    /// Draw the figures of `flood` into this file as SVG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Put all figures and their picture into docs/, and a few of them into README.md; with `change` alone, its own
    #[arg(long)]
    readme: bool,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Part {
    /// Nanoseconds per run of the programs, for each kind of query
    Run,
    /// CPU time per answer over a wire, beside other servers
    Flood,
    /// Signatures per CPU second, beside other signers
    Sign,
    /// How long a change of a large zone takes, beside knotd
    Change,
}

impl Part {
    const ALL: [Self; 4] = [Self::Run, Self::Flood, Self::Sign, Self::Change];

    /// The field of the figures.
    fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Flood => "flood",
            Self::Sign => "sign",
            Self::Change => "change",
        }
    }
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> Result<()> {
    let figures = match &arguments.from {
        Some(path) => read(path)?,
        None => measure(arguments)?,
    };
    tables::print(&figures)?;
    if let Some(path) = &arguments.json {
        write(path, &format!("{figures:#}\n"))?;
    }
    if let Some(path) = &arguments.picture {
        write(path, &picture::draw(&figures["flood"])?)?;
    }
    if arguments.readme {
        document(&figures)?;
    }
    Ok(())
}

/// Writes the figures into the documents; none is written if one of them cannot be made.
fn document(figures: &Value) -> Result<()> {
    let root = shell::root();
    let [all, short] = [readme::FIGURES, readme::README].map(|name| root.join(name));
    let old = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let mut of_all = old(&all)?;
    let mut new = Vec::new();
    if !figures["change"].is_null() {
        of_all = change::with_figures(&of_all, figures)?;
    }
    if figures["change"].is_null() || !figures["flood"].is_null() {
        of_all = readme::with_figures(&of_all, figures)?;
        new.push((root.join(readme::PICTURE), picture::draw(&figures["flood"])?));
        new.push((short.clone(), readme::with_short_figures(&old(&short)?, figures)?));
    }
    new.push((all, of_all));
    new.iter().try_for_each(|(path, text)| write(path, text))
}

fn read(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<Value> {
    if !shell::is_root() {
        bail!("loading programs needs root (CAP_BPF and CAP_NET_ADMIN): run this as root");
    }
    let parts = if arguments.parts.is_empty() { &Part::ALL[..] } else { &arguments.parts };
    if parts.contains(&Part::Flood) && thread::available_parallelism()?.get() < 2 {
        bail!("flood needs two cores: one for the server, one for who asks");
    }
    let alone = parts == [Part::Run];
    setup::ensure(if alone { setup::Purpose::Build } else { setup::Purpose::Test })?;
    build::run(&build::Arguments { ebpf_only: alone })?;
    // Ctrl-C is for the bench, which cleans up; this program waits until it has.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let quick = arguments.quick;
    let names = |usual| arguments.names.unwrap_or(if quick { FEW_NAMES } else { usual });
    let rounds = if quick { 1 } else { arguments.rounds };
    let mut figures = json!({ "machine": machine(), "versions": versions::all() });
    for &part in parts {
        let (title, bench, numbers) = match part {
            Part::Run => {
                let repeat = if quick { 20_000 } else { arguments.repeat };
                ("run: nanoseconds per run", "test_run", vec![names(RUN_NAMES), repeat])
            }
            Part::Flood => {
                let milliseconds = if quick { 500 } else { arguments.milliseconds };
                let numbers = vec![names(NAMES), rounds, milliseconds];
                ("flood: CPU time per answer", "flood", numbers)
            }
            Part::Sign => {
                ("sign: signatures per CPU second", "signers", vec![names(NAMES), rounds])
            }
            Part::Change => {
                let changes = if quick { FEW_CHANGES } else { CHANGES };
                ("change: a change of a large zone", "changes", vec![names(CHANGED_NAMES), changes])
            }
        };
        figures[part.word()] = shell::step(title, || measured_by(bench, &numbers))?;
    }
    Ok(figures)
}

/// Runs a bench of the tests' package, which knows the library.
fn measured_by(bench: &str, numbers: &[u32]) -> Result<Value> {
    let mut command = shell::cargo();
    let arguments = ["bench", "--quiet", "--locked", "--package", "tests", "--bench", bench, "--"];
    command.args(arguments).args(numbers.iter().map(u32::to_string)).stderr(Stdio::inherit());
    let said = shell::output_of(&mut command)?;
    serde_json::from_str(&said).with_context(|| format!("this is no JSON: {said}"))
}

/// What the figures are true of.
fn machine() -> Value {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = processors.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "processor": field("model name"),
        "cores": thread::available_parallelism().map_or(0, usize::from),
        "is_virtual": field("flags")
            .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        "kernel": kernel.trim(),
    })
}
