//! Names that do not exist among very many: the programs go down the same indexes as the daemon.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use sealdns::datapath::memory::Size;
use sealdns::dnssec::denial::{hash_owner, nsec3_hash};
use sealdns::zone::Name;
use tests::harness::Verdict;
use xdp_common::Outcome;

use super::{Rig, TAGS, compare_one, framed, obstacle, question, unsigned};

const APEX: &str = "many.example";

/// Names right below the apex: indexes of one block, of two levels, and of three.
const COUNTS: [usize; 5] = [100, 127, 1000, 10_000, 100_000];

/// Names beside a wildcard.
const BESIDE_WILDCARD: usize = 400;

/// How many of the names are asked for, and the gaps behind them.
const ASKED: usize = 500;

/// Delegations without a record of the NSEC3 chain.
const DELEGATIONS: usize = 200;

const TXT: u16 = 16;
const A: u16 = 1;
const DS: u16 = 43;

/// Every third label is longer than a key, and differs from others behind it alone.
fn label(number: usize) -> String {
    match number % 3 {
        0 => format!("n{:04}-long-{:03}", number / 1000, number % 1000),
        _ => format!("n{number:07}"),
    }
}

/// The names that have records, but for the apex, in canonical order.
fn owners(count: usize) -> Vec<String> {
    let mut children: Vec<String> = (0..count).map(label).collect();
    children.sort_unstable();
    let mut beside: Vec<String> =
        (0..BESIDE_WILDCARD).map(|number| label(number) + ".wild").collect();
    beside.sort_unstable();
    children.into_iter().chain(["wild".into(), "*.wild".into()]).chain(beside).collect()
}

const HEAD: &str = "$TTL 5m\n@ SOA a b 1 4h 1h 2w 1m\n@ NS ns.example.net.\n";

/// A zone in a chain of NSEC records that nobody has signed, which takes a while with so many names.
fn nsec_text(count: usize) -> String {
    let owners = owners(count);
    let mut text = format!("{HEAD}@ NSEC {} NS SOA NSEC\n", owners[0]);
    let nexts = owners.iter().skip(1).map(String::as_str).chain(["@"]);
    for (owner, next) in owners.iter().zip(nexts) {
        let _ = writeln!(text, "{owner} TXT here\n{owner} NSEC {next} TXT NSEC");
    }
    text
}

/// The same with NSEC3 and opt-out, and delegations that have no record of the chain.
fn nsec3_text(count: usize) -> Result<String> {
    let apex: Name = APEX.parse()?;
    let mut text = format!("{HEAD}@ NSEC3PARAM 1 0 0 -\n");
    let mut hashed = vec![(nsec3_hash(apex.as_wire(), 0, &[]), "NS SOA NSEC3PARAM")];
    for owner in owners(count) {
        let _ = writeln!(text, "{owner} TXT here");
        let name: Name = format!("{owner}.{APEX}").parse()?;
        hashed.push((nsec3_hash(name.as_wire(), 0, &[]), "TXT"));
    }
    for number in 0..DELEGATIONS {
        let _ = writeln!(text, "cut{number} NS ns.example.net.");
    }
    hashed.sort_unstable();
    let owner = |hash| hash_owner(hash, &apex).to_string();
    let label = |hash| owner(hash).split('.').next().unwrap_or_default().to_owned();
    for (place, (hash, types)) in hashed.iter().enumerate() {
        let (next, _) = &hashed[(place + 1) % hashed.len()];
        let _ = writeln!(text, "{} NSEC3 1 1 0 - {} {types}", label(hash), label(next));
    }
    Ok(text)
}

/// Names, the gaps behind them and before all, missing types and what a wildcard answers, however many names there
/// are: what XDP sends is what the daemon would say.
pub fn gaps_among_many_names_are_those_of_the_daemon() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let text_of = |count, denial: &str| match denial {
        "NSEC" => Ok(nsec_text(count)),
        _ => nsec3_text(count),
    };
    for (count, denial) in COUNTS.into_iter().flat_map(|count| [(count, "NSEC"), (count, "NSEC3")])
    {
        let zone = unsigned((APEX, &text_of(count, denial)?))?;
        let buckets = (count / 2).max(4096).next_power_of_two();
        let mut rig = Rig::of_size(&zone, Size { slab: 64 << 20, buckets })?;
        let mut frames = 0;
        let mut compare = |name: &str, rtype, expected| -> Result<()> {
            let wire = name.parse::<Name>()?;
            let asked = question(wire.as_wire(), rtype, Some(true));
            let asked = framed(asked, frames % 2, TAGS[frames % TAGS.len()])?;
            frames += 1;
            let what = || format!("{name} {rtype} among {count}, {denial}");
            let outcome = compare_one(&mut rig, &asked).with_context(what)?;
            ensure!(outcome == expected, "{}: {outcome:?}", what());
            Ok(())
        };
        compare(&format!("-.{APEX}"), A, Outcome::Nxdomain)?;
        compare(&format!("zz.{APEX}"), A, Outcome::Nxdomain)?;
        for number in (0..count).step_by(count / ASKED + 1) {
            let label = label(number);
            compare(&format!("{label}.{APEX}"), TXT, Outcome::Positive)?;
            compare(&format!("{label}.{APEX}"), A, Outcome::Nodata)?;
            compare(&format!("{label}-.{APEX}"), A, Outcome::Nxdomain)?;
            compare(&format!("below.{label}.{APEX}"), A, Outcome::Nxdomain)?;
        }
        for number in 0..BESIDE_WILDCARD {
            let label = label(number);
            compare(&format!("{label}-.wild.{APEX}"), TXT, Outcome::Wildcard)?;
            compare(&format!("{label}-.wild.{APEX}"), A, Outcome::Wildcard)?;
        }
        let delegations = if denial == "NSEC3" { DELEGATIONS } else { 0 };
        for number in 0..delegations {
            compare(&format!("www.cut{number}.{APEX}"), A, Outcome::Referral)?;
            compare(&format!("cut{number}.{APEX}"), DS, Outcome::Nodata)?;
        }
        println!("  {count} names, {denial}: {frames} frames");
    }
    Ok(Verdict::Passed)
}
