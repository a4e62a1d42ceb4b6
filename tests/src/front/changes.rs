//! The server's zone changes: what is answered is of the version that the server has, or that it had within a poll.

use super::*;
use tests::dns::{Message, Query};

/// Versions of the zone.
const VERSIONS: u32 = 8;

/// knotd, which sends NOTIFY.
pub fn of_knotd_are_followed() -> Result<Verdict> {
    follow("changesknotd", Kind::Knotd)
}

/// nsd.
pub fn of_nsd_are_followed() -> Result<Verdict> {
    follow("changesnsd", Kind::Nsd)
}

/// named.
pub fn of_named_are_followed() -> Result<Verdict> {
    follow("changesnamed", Kind::Named)
}

fn follow(test: &str, kind: Kind) -> Result<Verdict> {
    if let Some(obstacle) = obstacle(kind) {
        return Ok(obstacle);
    }
    let keys = tempfile::tempdir()?;
    let versions: Vec<Zone> = (0..VERSIONS)
        .map(|number| version(number, Denial::Nsec, keys.path()))
        .collect::<Result<_>>()?;
    let interfaces = "interfaces = [\"server\"]";
    let scene = Scene::new(test, kind, &[&versions[0]], "", interfaces)?;
    scene.wait_for(&versions[0])?;
    for pair in versions.windows(2) {
        let [old, new] = [&pair[0], &pair[1]].map(|zone| zone.serial().0);
        scene.peer.change(&pair[1])?;
        // All the while it is one of the two, and never the old one behind the new one.
        let mut seen = old;
        let is_followed = || -> Result<bool> {
            let status = scene.reply::<ZoneStatus>(&["zone", "status", "example.org"])?;
            let is_passed = status.front.is_none_or(|front| front.passed.is_some());
            Ok(status.summary.serial == Some(new) && !is_passed)
        };
        let mut fault = None;
        let followed = net::wait_until("the version is answered", PATIENCE, || {
            let last = is_followed();
            match serial(&scene, 53) {
                Ok(serial) if serial >= seen && [old, new].contains(&serial) => seen = serial,
                other => fault = Some(format!("{other:?} behind {seen}")),
            }
            fault.is_some() || last.is_ok_and(|is_followed| is_followed)
        });
        followed.with_context(|| format!("{kind:?}, serial {new}: {}", scene.sealdns.log()))?;
        ensure!(fault.is_none(), "{kind:?}, from {old} to {new}: {fault:?}");
        let before = scene.counted(Outcome::is_answered)?;
        ensure!(serial(&scene, 53)? == new, "the old version is answered");
        ensure!(scene.counted(Outcome::is_answered)? == before + 1, "XDP does not answer");
    }
    Ok(Verdict::Passed)
}

/// The serial that is said at a port of the server.
fn serial(scene: &Scene, port: u16) -> Result<u32> {
    let soa = Query { name: b"\x07example\x03org\0".to_vec(), rtype: 6, edns: None };
    let said = Message::read(&scene.ask(port, &[soa.message(0)])?[0])?;
    let rdata = &said.answer.first().context("no SOA")?.rdata;
    let at = rdata.len().checked_sub(20).context("a short SOA")?;
    Ok(u32::from_be_bytes(rdata[at..at + 4].try_into()?))
}
