//! `sealdns cache` beside a daemon that has XDP attached.

use anyhow::{Context as _, Result, ensure};
use sealdns::control::reply::{
    FailedCommand,
    cache::{CacheExplain, CacheLookup, CacheVerify, KernelTrial},
};
use tests::{harness::Verdict, servers::DEMO};
use xdp_common::Outcome;

use crate::wire::stage::{Stage, obstacle};

/// A daemon with XDP attached, asked by its commands: what is held, what is foretold and tried, and that all
/// of it is right.
pub fn the_commands_look_in() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("cache", &[(DEMO.0, DEMO.1, "")])?;
    let (code, held): (_, CacheLookup) = stage.ended(&["cache", "lookup", "www.example.org"])?;
    ensure!(code == 0 && held.found.nodes[0].kind == "name", "{held:?}");
    ensure!(held.zone.as_deref() == Some("example.org."), "{held:?}");
    let held: CacheLookup = stage.reply(&["cache", "lookup", "a.b.apps.example.org", "A"])?;
    ensure!(held.found.nodes.is_empty(), "{held:?}");
    let encloser = held.found.closest_encloser.as_ref().context("no closest encloser")?;
    ensure!(encloser.name == "apps.example.org.", "{held:?}");
    let wildcard = held.found.wildcard.as_ref().context("no wildcard")?;
    ensure!(wildcard.pieces[0].part == "A", "{held:?}");

    for (arguments, outcome, kernel) in [
        (&["www.example.org"][..], Outcome::Positive, true),
        (&["nobody.example.org", "AAAA", "--no-do"], Outcome::Nxdomain, true),
        (&["x.apps.example.org", "--bufsize", "0"], Outcome::Wildcard, true),
        (&["www.example.org", "--from", "2001:db8::9"], Outcome::Positive, true),
        (&["www.example.org", "--from", "127.0.0.1"], Outcome::BadSource, true),
        (&["www.example.net"], Outcome::Refused, true),
        (&["www.example.org", "--tcp"], Outcome::NotUdp, false),
    ] {
        let (code, said): (_, CacheExplain) =
            stage.ended(&[&["cache", "explain"], arguments].concat())?;
        ensure!(code == 0 && said.outcome == outcome, "{arguments:?}: {said:?}");
        let is_tried = match &said.kernel {
            KernelTrial::Tried { differences, .. } => {
                ensure!(differences.is_empty(), "{arguments:?}: {said:?}");
                true
            }
            KernelTrial::NotTried { .. } => false,
        };
        ensure!(is_tried == kernel, "{arguments:?}: {said:?}");
    }
    let (code, said): (_, FailedCommand) =
        stage.ended(&["cache", "explain", "www.example.org", "NOTYPE"])?;
    ensure!(code == 1 && said.error.code == "type", "{said:?}");

    for arguments in [&["cache", "verify"][..], &["cache", "verify", "example.org"]] {
        let (code, verified): (_, CacheVerify) = stage.ended(arguments)?;
        let is_right = verified.found.problems.is_empty();
        ensure!(code == 0 && is_right && verified.zones == 1, "{verified:?}");
        ensure!(verified.found.signed_rrsets > 20, "{verified:?}");
    }
    let (code, said): (_, FailedCommand) = stage.ended(&["cache", "verify", "example.net"])?;
    ensure!(code == 1 && said.error.code == "zone", "{said:?}");
    let text =
        String::from_utf8(stage.command(&["cache", "explain", "www.example.org", "A"])?.stdout)?;
    println!("{text}");
    ensure!(text.contains("tried in the kernel: the same"), "{text}");
    Ok(Verdict::Passed)
}
