//! What the verifier may take for each program, kernel build by kernel build (`xdp-ebpf/budget.json`).
//!
//! Builds of one minor version work differently (a program took 163,498 instructions on one of 6.18, 95,168 on
//! another), so a budget belongs to a build. Debian's builds come and go: one of which nothing is committed is held
//! to [`UNKNOWN_MOST`], and its figures are printed, to be committed to.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use testbed::shell;

/// By how much a figure may exceed the committed one before it is reported, in per cent.
const TOLERANCE_PERCENT: u64 = 10;

/// Instructions that a program may take on a kernel of which nothing is committed. The kernel refuses a million; what
/// is left is for changes within a release.
const UNKNOWN_MOST: u64 = 800_000;

/// The figure that the kernel limits.
const PROCESSED: &str = "instructions_processed";

/// The figures that do not depend on the machine's speed.
const FIGURES: [&str; 3] = [PROCESSED, "total_states", "jited_bytes"];

fn path() -> PathBuf {
    shell::root().join("xdp-ebpf/budget.json")
}

/// The committed figures, by kernel and then by program.
fn read() -> Result<Map<String, Value>> {
    let path = path();
    let text = fs::read_to_string(&path).with_context(|| {
        format!("{} cannot be read; `cargo xtask verify --write-budget` makes it", path.display())
    })?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not the JSON that --write-budget writes", path.display()))
}

/// What `verify --json` says, taken apart: the kernel, and the figures of each program.
fn parts(verified: &Value) -> Result<(&str, &Map<String, Value>)> {
    let kernel = verified["kernel"].as_str().context("the figures name no kernel")?;
    let programs = verified["programs"].as_object().context("the figures name no programs")?;
    Ok((kernel, programs))
}

/// Commits to figures, as `verify --json` says them, for their kernel.
pub fn write(verified: &Value) -> Result<()> {
    let (kernel, programs) = parts(verified)?;
    let mut kernels = read().unwrap_or_default();
    let mut kept = Map::new();
    for (name, figures) in programs {
        let figures = FIGURES.iter().map(|figure| ((*figure).to_owned(), figures[*figure].clone()));
        kept.insert(name.clone(), Value::Object(figures.collect()));
    }
    kernels.insert(kernel.to_owned(), Value::Object(kept));
    let path = path();
    fs::write(&path, format!("{:#}\n", json!(kernels)))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// Fails if figures, as `verify --json` says them, exceed what is committed for their kernel.
pub fn check(verified: &Value) -> Result<()> {
    let (kernel, programs) = parts(verified)?;
    match read()?.get(kernel).and_then(Value::as_object) {
        Some(budget) => {
            let excesses = excesses(budget, programs);
            if !excesses.is_empty() {
                bail!(
                    "over the budget of Linux {kernel}; if that is wanted, commit to it with \
                     --write-budget:\n{}",
                    excesses.join("\n")
                );
            }
            eprintln!("within the budget of Linux {kernel}");
        }
        None => {
            let (shown, excesses) = on_unknown(programs);
            if !excesses.is_empty() {
                bail!(
                    "programs take more than {UNKNOWN_MOST} instructions on Linux {kernel}:\n{}",
                    excesses.join("\n")
                );
            }
            eprintln!(
                "note: there is no budget of Linux {kernel}; instructions: {}",
                shown.join(", ")
            );
        }
    }
    Ok(())
}

/// The instructions of each program, and those that are over the bound for kernels of which nothing is committed.
fn on_unknown(programs: &Map<String, Value>) -> (Vec<String>, Vec<String>) {
    let (mut shown, mut excesses) = (Vec::new(), Vec::new());
    for (name, figures) in programs {
        let processed = figures[PROCESSED].as_u64().unwrap_or(u64::MAX);
        shown.push(format!("{name} {processed}"));
        if processed > UNKNOWN_MOST {
            excesses.push(format!("  {name}: {processed}"));
        }
    }
    (shown, excesses)
}

fn excesses(budget: &Map<String, Value>, programs: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, figures) in programs {
        for figure in FIGURES {
            let now = figures[figure].as_u64().unwrap_or(u64::MAX);
            match budget.get(name).and_then(|committed| committed[figure].as_u64()) {
                None => found.push(format!("  {name}: {figure} {now}, not in the budget")),
                Some(then) if now.saturating_mul(100) > then * (100 + TOLERANCE_PERCENT) => {
                    found.push(format!("  {name}: {figure} {then} -> {now}"));
                }
                Some(_) => {}
            }
        }
    }
    for name in budget.keys().filter(|name| !programs.contains_key(*name)) {
        found.push(format!("  {name}: in the budget, but no longer in the object"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    fn figures(processed: u64) -> Map<String, Value> {
        programs(json!({ "serve": {
            "instructions_processed": processed, "total_states": 120, "jited_bytes": 900,
        }}))
    }

    #[test]
    fn budget_allows_ten_per_cent_and_no_more() {
        let committed = figures(1000);
        assert_eq!(excesses(&committed, &figures(1100)), Vec::<String>::new());
        assert_eq!(
            excesses(&committed, &figures(1101)),
            ["  serve: instructions_processed 1000 -> 1101"]
        );
    }

    #[test]
    fn budget_misses_no_program() {
        let found = excesses(&programs(json!({ "gone": {} })), &figures(1));
        assert_eq!(found.len(), 4);
        assert_eq!(found[3], "  gone: in the budget, but no longer in the object");
    }

    #[test]
    fn a_kernel_without_a_budget_has_a_bound() {
        assert_eq!(on_unknown(&figures(UNKNOWN_MOST)).1, Vec::<String>::new());
        assert_eq!(on_unknown(&figures(UNKNOWN_MOST + 1)).1, ["  serve: 800001"]);
        assert_eq!(on_unknown(&figures(7)).0, ["serve 7"]);
        assert_eq!(
            on_unknown(&programs(json!({ "serve": {} }))).1.len(),
            1,
            "no figure is no pass"
        );
    }
}
