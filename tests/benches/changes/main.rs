//! What a change of a large signed zone costs: from a difference in hand until it is in the maps, beside knotd, which
//! is sent the same changes as dynamic updates (RFC 2136); a file of which one line changed; a start; and what a flood notices of changes.
//!
//! `cargo xtask bench change` calls it and shows the figures; by itself it prints them as JSON.

mod files;
mod flooded;
mod knot;
mod own;
mod zone;

use std::env;

use anyhow::{Result, bail};
use sealdns::dnssec::policy::Denial;
use serde_json::{Value, json};
use tests::{measure, servers::DENIALS};

use zone::Change;

/// Changes that are in one difference.
const TOGETHER: usize = 10_000;

fn main() -> Result<()> {
    // `cargo test --all-targets` calls it without an argument that `cargo bench` gives.
    let (bench, arguments): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|argument| argument == "--bench");
    if bench.is_empty() && arguments.is_empty() {
        println!("not run: `cargo xtask bench change` does");
        return Ok(());
    }
    if let [part, names] = &arguments[..]
        && part == "flooded"
    {
        println!("{:#}", flooded(names.parse()?)?);
        return Ok(());
    }
    let numbers: Vec<usize> = arguments.iter().map(|one| one.parse()).collect::<Result<_, _>>()?;
    let [names, changes] = numbers[..] else {
        bail!(
            "arguments: delegations of the zone, changes one after the other; or \"flooded\" and delegations"
        )
    };
    println!("{:#}", measured(names, changes)?);
    Ok(())
}

fn measured(names: usize, changes: usize) -> Result<Value> {
    let before = measure::load_average();
    let mut rows = Vec::new();
    for (title, denial) in DENIALS {
        rows.push(of_denial(title, denial, names, changes)?);
    }
    let flooded = flooded(names)?;
    Ok(json!({
        "names": names,
        "changes": changes,
        "flooded": flooded,
        "together": TOGETHER.min(names / 4),
        "denials": rows,
        "files": files::measured(names)?,
        "load_average": { "before": before, "after": measure::load_average() },
    }))
}

/// A flood of a zone that changes.
fn flooded(names: usize) -> Result<Value> {
    eprintln!("a flood, and one change a second");
    let directory = tempfile::tempdir()?;
    flooded::measured(directory.path(), &zone::unsigned(names)?, names)
}

/// One zone, changed by sealdns and by knotd.
fn of_denial(title: &str, denial: Denial, names: usize, changes: usize) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    let unsigned = zone::unsigned(names)?;
    eprintln!("{title}: knotd signs {names} delegations");
    let knotd = knot::Signer::start(directory.path(), &unsigned, denial)?;
    let mut updates = Vec::new();
    for change in Change::ALL {
        eprintln!("{title}: knotd, {}", change.title());
        updates.push(knotd.per_second(change, changes, names)?);
    }
    drop(knotd);
    eprintln!("{title}: sealdns signs the same");
    let mut house = own::House::new(directory.path(), &unsigned, denial)?;
    drop(unsigned);
    let mut rows = Vec::new();
    for (change, knotd) in Change::ALL.into_iter().zip(updates) {
        eprintln!("{title}: sealdns, {}", change.title());
        let mut row = house.one_by_one(change, changes, names)?;
        row["change"] = json!(change.title());
        row["knotd_per_second"] = json!(knotd);
        rows.push(row);
    }
    eprintln!("{title}: sealdns, many changes in one difference");
    let together = house.together(TOGETHER.min(names / 4), names)?;
    Ok(json!({ "denial": title, "one_by_one": rows, "together": together }))
}
