//! The embedded object in the kernel, without a device.

use anyhow::{Context as _, Result, ensure};
use sealdns::datapath::object;
use tests::{
    frames::Frame,
    harness::Verdict,
    prog_test_run::{self, Action},
};

use aya::programs::Xdp;

/// Why a test that needs the kernel cannot run, if it cannot.
pub fn obstacle() -> Option<Verdict> {
    if !nix::unistd::geteuid().is_root() {
        return Some(Verdict::Skipped("needs root".into()));
    }
    object::object().err().map(|missing| Verdict::Skipped(missing.to_string()))
}

/// Every program of the object passes the verifier.
pub fn the_object_loads() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let ebpf = prog_test_run::load(object::object()?)?;
    ensure!(ebpf.program("serve").is_some(), "there is no program \"serve\"");
    Ok(Verdict::Passed)
}

/// What is not for us reaches the network stack, octet for octet.
pub fn a_foreign_frame_passes() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let ebpf = prog_test_run::load(object::object()?)?;
    let serve: &Xdp = ebpf.program("serve").context("there is no program \"serve\"")?.try_into()?;
    let frame = Frame {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        tags: Vec::new(),
        source: "192.0.2.1:5353".parse()?,
        destination: "192.0.2.2:4242".parse()?,
        ttl: 64,
        payload: b"not for port 53".to_vec(),
    }
    .encode()?;
    let run = prog_test_run::run(serve, &frame, 1)?;
    ensure!(run.action == Action::Pass, "{:?}", run.action);
    ensure!(run.frame == frame, "the frame was changed");
    Ok(Verdict::Passed)
}
