//! `sealdns cache` beside a daemon that has XDP attached.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{harness::Verdict, servers::DEMO};

use crate::wire::stage::{Stage, obstacle};

/// A daemon with XDP attached, asked by its commands: what is held, what is foretold and tried, and that all
/// of it is right.
pub fn the_commands_look_in() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
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
