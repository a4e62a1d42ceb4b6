//! `sealdns cache`: what it says that the kernel would do, and what the kernel does.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use sealdns::{
    compile::inspect::explain::explain,
    dnssec::policy::{Any, SigningPolicy},
    zone::Zone,
};
use serde_json::Value;
use tests::{
    harness::Verdict,
    prog_test_run::Action,
    questions::questions,
    servers::{CORNER, DEMO, DENIALS, signed, signed_as},
};
use xdp_common::{Outcome, maps::Manners};

use crate::{
    kernel::{self, Rig, SHORT, TAGS, at_the_limits, framed, unsigned},
    wire::serving::{self, Stage},
};

/// Every question, at the bounds and beyond them: the stages end as the programs do, with the frame that they
/// send.
pub fn what_is_foretold_happens() -> Result<Verdict> {
    if let Some(obstacle) = kernel::obstacle() {
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
    let (denial, any) = (DENIALS[1].1, Any::Hinfo);
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
        let foretold = explain(&rig.reader, &rig.config, &Manners::new(), &octets, rig.now);
        let (run, outcome) = rig.run_counted(&octets)?;
        let what = || format!("{query:?}: {:?}", foretold.stages);
        ensure!(outcome.word() == foretold.outcome, "{}: {}", outcome.word(), what());
        ensure!(run.frame == foretold.frame, "another frame: {}", what());
        let fate = match run.action {
            Action::Tx => "answered",
            Action::Pass => "passed up",
            _ => "dropped",
        };
        ensure!(fate == foretold.fate, "{fate}: {}", what());
        let exceeded = foretold.bounds.iter().any(|bound| bound.needed > bound.limit);
        ensure!(!exceeded || fate == "passed up", "beyond a bound: {}", what());
        ensure!(foretold.pieces.iter().all(|piece| piece.piece.problem.is_none()), "{}", what());
        *fates.entry(foretold.outcome).or_default() += 1;
    }
    Ok(())
}

/// A daemon with XDP attached, asked by its commands: what is held, what is foretold and tried, and that all
/// of it is right.
pub fn the_commands_look_in() -> Result<Verdict> {
    if let Some(obstacle) = serving::obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("cache", &[(DEMO.0, DEMO.1, "")])?;
    let run = |arguments: &[&str]| -> Result<(i32, Value)> {
        let output = stage.command(&[arguments, &["--json"]].concat())?;
        let code = output.status.code().context("no exit code")?;
        let data = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{arguments:?}: {output:?}"))?;
        Ok((code, data))
    };

    let (code, held) = run(&["cache", "lookup", "www.example.org"])?;
    ensure!(code == 0 && held["nodes"][0]["kind"] == "name", "{held}");
    ensure!(held["zone"] == "example.org.", "{held}");
    let (_, held) = run(&["cache", "lookup", "a.b.apps.example.org", "A"])?;
    ensure!(held["nodes"].as_array().is_some_and(Vec::is_empty), "{held}");
    ensure!(held["closest_encloser"]["name"] == "apps.example.org.", "{held}");
    ensure!(held["wildcard"]["pieces"][0]["part"] == "A", "{held}");

    for (arguments, outcome, kernel) in [
        (&["www.example.org"][..], "positive", true),
        (&["nobody.example.org", "AAAA", "--no-do"], "nxdomain", true),
        (&["x.apps.example.org", "--bufsize", "0"], "wildcard", true),
        (&["www.example.org", "--from", "2001:db8::9"], "positive", true),
        (&["www.example.org", "--from", "127.0.0.1"], "bad-source", true),
        (&["www.example.net"], "refused", true),
        (&["www.example.org", "--tcp"], "not-udp", false),
    ] {
        let (code, said) = run(&[&["cache", "explain"], arguments].concat())?;
        ensure!(code == 0 && said["outcome"] == outcome, "{arguments:?}: {said}");
        ensure!(said["kernel"]["tried"] == kernel, "{arguments:?}: {said}");
        ensure!(!kernel || said["kernel"]["agrees"] == true, "{arguments:?}: {said}");
    }
    let (code, said) = run(&["cache", "explain", "www.example.org", "NOTYPE"])?;
    ensure!(code == 1 && said["error"]["code"] == "type", "{said}");

    for arguments in [&["cache", "verify"][..], &["cache", "verify", "example.org"]] {
        let (code, found) = run(arguments)?;
        let is_right = found["problems"].as_array().is_some_and(Vec::is_empty);
        ensure!(code == 0 && is_right && found["zones"] == 1, "{found}");
        ensure!(found["signed_rrsets"].as_u64() > Some(20), "{found}");
    }
    let (code, said) = run(&["cache", "verify", "example.net"])?;
    ensure!(code == 1 && said["error"]["code"] == "zone", "{said}");
    let text =
        String::from_utf8(stage.command(&["cache", "explain", "www.example.org", "A"])?.stdout)?;
    println!("{text}");
    ensure!(text.contains("tried in the kernel: the same"), "{text}");
    Ok(Verdict::Passed)
}
