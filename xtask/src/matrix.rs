//! `cargo xtask matrix`: the object on the kernels that people have.
//!
//! Debian's kernels are fetched and booted in QEMU; the verifier of each looks at every program of the object, and
//! what it took is compared with the budget of that build.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    build,
    guest::{
        Guest,
        initramfs::Initramfs,
        kernels::{self, Kernel},
    },
    setup, shell,
    verify::budget,
};

/// Whose kernels are booted: the oldest that works (6.1), Debian's stable, and the newest.
const SUITES: [&str; 3] = ["bookworm", "trixie", "sid"];

/// What this program is called in a guest.
const PROGRAM: &str = "xtask";

/// How long one kernel may take: half a minute where nothing else runs.
const LIMIT: Duration = Duration::from_secs(600);

/// Memory of a guest that verifies; less, and the states of the largest program do not fit.
const MEMORY_MIB: u32 = 1024;

/// Arguments of `matrix`.
#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Boot the newest kernel of these suites of Debian only
    #[arg(long, num_args = 1.., value_parser = SUITES)]
    pub kernel: Vec<String>,
    /// Commit to the figures seen now, for these kernels
    #[arg(long)]
    pub write_budget: bool,
}

/// Runs the task. Every kernel is tried, also after one that refuses a program.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Purpose::Matrix)?;
    build::run(&build::Arguments { ebpf_only: true })?;
    let all = || SUITES.iter().map(|suite| (*suite).to_owned()).collect();
    let suites: Vec<String> =
        if arguments.kernel.is_empty() { all() } else { arguments.kernel.clone() };
    let (mut columns, mut faults) = (Vec::new(), Vec::new());
    for suite in &suites {
        let result = shell::step(&format!("kernel of {suite}"), || {
            let kernel = kernels::fetch(suite)?;
            eprintln!("Linux {}", kernel.release);
            verified_on(&kernel)
        });
        match result {
            Ok(verified) => {
                faults.extend(faults_of(&verified, arguments.write_budget));
                columns.push(verified);
            }
            Err(error) => faults.push(format!("{suite}: {error:#}")),
        }
    }
    print_table(&columns);
    if !faults.is_empty() {
        bail!("{} faults:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}

/// What `cargo xtask verify --json` says inside of a kernel.
fn verified_on(kernel: &Kernel) -> Result<Value> {
    let folder = shell::target().join("matrix/guest");
    let files = Initramfs::new(folder.join("root"))?;
    // By its number: the file may have been replaced since, where another task is built meanwhile.
    files.program(Path::new(&format!("/proc/{}/exe", std::process::id())), PROGRAM)?;
    files.file("object", &build::object_path(build::SERVING))?;
    let script = format!("{PROGRAM} verify --json --object /object 2> /dev/null");
    let guest = Guest {
        kernel,
        files: &files,
        devices: &[],
        script: &script,
        memory_mib: MEMORY_MIB,
        limit: LIMIT,
    };
    let ended = guest.run(&folder)?;
    let _ = fs::remove_dir_all(folder);
    serde_json::from_str(&ended.said)
        .with_context(|| format!("it ended with {} and said: {}", ended.code, ended.said))
}

/// What is wrong on a kernel: programs that it refuses, figures over the budget.
fn faults_of(verified: &Value, write_budget: bool) -> Vec<String> {
    let kernel = verified["kernel"].as_str().unwrap_or("unknown");
    let refused = verified["refused"].as_object();
    let mut faults: Vec<String> = refused
        .into_iter()
        .flatten()
        .map(|(name, reason)| {
            format!("Linux {kernel} refuses {name}: {}", reason.as_str().unwrap_or("?"))
        })
        .collect();
    let no_program = verified["programs"].as_object().is_none_or(serde_json::Map::is_empty);
    if no_program && faults.is_empty() {
        faults.push(format!("Linux {kernel} was shown no program"));
    }
    if faults.is_empty() {
        let judged = if write_budget { budget::write(verified) } else { budget::check(verified) };
        faults.extend(judged.err().map(|error| format!("{error:#}")));
    }
    faults
}

/// Instructions that each verifier processed, program by program.
fn print_table(columns: &[Value]) {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (place, column) in columns.iter().enumerate() {
        let programs = column["programs"].as_object().into_iter().flatten();
        let accepted =
            programs.map(|(name, figures)| (name, figures["instructions_processed"].to_string()));
        let refused = column["refused"].as_object().into_iter().flatten();
        let refused = refused.map(|(name, _)| (name, "refused".to_owned()));
        for (name, text) in accepted.chain(refused) {
            let row = rows.entry(name).or_insert_with(|| vec![String::new(); columns.len()]);
            row[place] = text;
        }
    }
    let line = |name: &str, cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>24}")).collect();
        println!("{name:16}{}", cells.concat());
    };
    let kernels: Vec<String> = columns
        .iter()
        .map(|column| column["kernel"].as_str().unwrap_or_default().to_owned())
        .collect();
    println!();
    line("instructions", &kernels);
    for (name, cells) in rows {
        line(name, &cells);
    }
    println!();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_refusal_is_a_fault_and_no_program_too() {
        let refused = json!({ "kernel": "6.1", "programs": { "deny": {} },
            "refused": { "serve": "too large", "send": "unbounded" } });
        let faults = faults_of(&refused, false);
        assert_eq!(
            faults,
            ["Linux 6.1 refuses send: unbounded", "Linux 6.1 refuses serve: too large"]
        );
        let nothing = json!({ "kernel": "6.1", "programs": {}, "refused": {} });
        assert_eq!(faults_of(&nothing, false), ["Linux 6.1 was shown no program"]);
    }
}
