//! What `sealdns cache explain` says that the kernel would do, and what the kernel does.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use sealdns::{
    compile::inspect::explain::explain,
    control::reply::cache::Fate,
    dnssec::policy::{AnyResponse, SigningPolicy},
    zone::Zone,
};
use tests::{
    harness::Verdict,
    prog_test_run::Action,
    questions::questions,
    servers::{CORNER, DEMO, DENIALS, signed, signed_as},
};
use xdp_common::{Outcome, maps::EdnsSettings};

use super::{Rig, SHORT, TAGS, at_the_limits, framed, obstacle, unsigned};

/// Every question, at the bounds and beyond them: the stages end as the programs do, with the frame that they
/// send.
pub fn what_is_foretold_happens() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let directory = tempfile::tempdir()?;
    let mut fates = BTreeMap::new();
    for zone in [DEMO, SHORT, CORNER] {
        for denial in DENIALS.map(Some).into_iter().chain([None]) {
            let zone = match denial {
                Some((_, denial)) => signed(zone, denial, directory.path())?,
                None => unsigned(zone)?,
            };
            foretell(&zone, &mut fates)?;
        }
    }
    let (denial, any) = (DENIALS[1].1, AnyResponse::Hinfo);
    let policy = SigningPolicy { denial, any, ..SigningPolicy::default() };
    foretell(&signed_as(DEMO, policy, directory.path())?, &mut fates)?;
    // What is beyond the bounds is among it.
    for outcome in [Outcome::Positive, Outcome::Nxdomain, Outcome::Dname, Outcome::Truncated] {
        ensure!(fates.contains_key(outcome.word()), "not one {}: {fates:?}", outcome.word());
    }
    let (miss, broken) = (fates.contains_key("miss"), fates.contains_key("broken"));
    ensure!(miss && !broken, "{fates:?}");
    println!("  {fates:?}");
    Ok(Verdict::Passed)
}

fn foretell(zone: &Zone, fates: &mut BTreeMap<&'static str, u32>) -> Result<()> {
    let mut rig = Rig::new(zone)?;
    let mut queries = questions(zone, []);
    queries.extend(at_the_limits(zone));
    for (index, query) in queries.iter().enumerate() {
        let asked = framed(query.message(index as u16), index % 2, TAGS[index % TAGS.len()])?;
        let octets = asked.encode()?;
        let foretold = explain(&rig.reader, &rig.config, &EdnsSettings::new(), &octets, rig.now);
        let (run, outcome) = rig.run_counted(&octets)?;
        let what = || format!("{query:?}: {:?}", foretold.stages);
        ensure!(outcome == foretold.outcome, "{}: {}", outcome.word(), what());
        ensure!(run.frame == foretold.frame, "another frame: {}", what());
        let fate = match run.action {
            Action::Tx => Fate::Answered,
            Action::Pass => Fate::PassedUp,
            _ => Fate::Dropped,
        };
        ensure!(fate == foretold.outcome.into(), "{fate:?}: {}", what());
        let exceeded = foretold.bounds.iter().any(|bound| bound.needed > bound.limit);
        ensure!(!exceeded || fate == Fate::PassedUp, "beyond a bound: {}", what());
        ensure!(foretold.pieces.iter().all(|piece| piece.piece.problem.is_none()), "{}", what());
        *fates.entry(foretold.outcome.word()).or_default() += 1;
    }
    Ok(())
}
