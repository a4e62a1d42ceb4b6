//! sealdns ends, or cannot be there: the server answers all.

use super::*;
use nix::sys::signal::Signal;
use tests::dns::{Message, Query};

/// How often it is killed.
const KILLED: usize = 3;

fn www() -> Vec<u8> {
    Query { name: b"\x03www\x07example\x03org\0".to_vec(), rtype: 1, edns: None }.message(0)
}

/// Each query that comes while sealdns is killed and started again is answered, by whomever.
pub fn a_sealdns_that_is_killed_leaves_all_to_the_server() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(Kind::Knotd) {
        return Ok(obstacle);
    }
    let keys = tempfile::tempdir()?;
    let zone = version(0, Denial::Nsec, keys.path())?;
    let interfaces = "interfaces = [\"server\"]";
    let mut scene = Scene::new("frontkill", Kind::Knotd, &[&zone], "", interfaces)?;
    let queries = vec![www(); 200];
    let all_answered = |scene: &Scene| -> Result<()> {
        for octets in scene.ask(53, &queries)? {
            let said = Message::read(&octets)?;
            ensure!(said.rcode == 0 && said.answer.len() == 1, "{said:?}");
        }
        Ok(())
    };
    for _ in 0..KILLED {
        scene.wait_for(&zone)?;
        let before = scene.counted(Outcome::is_answered)?;
        all_answered(&scene)?;
        ensure!(scene.counted(Outcome::is_answered)? >= before + 200, "XDP does not answer");
        scene.sealdns.signal(Signal::SIGKILL)?;
        all_answered(&scene)?;
        let ended = || scene.sealdns.ended().is_ok_and(|status| status.is_some());
        net::wait_until("sealdns has ended", PATIENCE, ended)?;
        // What has changed meanwhile is not answered as it was before.
        all_answered(&scene)?;
        scene.sealdns = start(&scene.pair, scene.folder.path())?;
        all_answered(&scene)?;
    }
    Ok(Verdict::Passed)
}

/// An interface that is not there: the server answers, `health` says it, and XDP comes with the interface. If it is
/// required, the daemon ends.
pub fn attaching_that_fails_leaves_all_to_the_server() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(Kind::Knotd) {
        return Ok(obstacle);
    }
    let keys = tempfile::tempdir()?;
    let zone = version(0, Denial::Nsec, keys.path())?;
    let interfaces = "interfaces = [\"later0\"]";
    let scene = Scene::new("frontattach", Kind::Knotd, &[&zone], "", interfaces)?;
    let said = Message::read(&scene.ask(53, &[www()])?[0])?;
    ensure!(said.rcode == 0 && said.answer.len() == 1, "{said:?}");
    let health = scene.command(&["health"])?;
    let told = String::from_utf8_lossy(&health.stdout).into_owned();
    ensure!(!health.status.success() && told.contains("later0"), "{health:?}");

    let path = scene.folder.path().join("required.toml");
    let config = fs::read_to_string(scene.folder.path().join("sealdns.toml"))?;
    let config = config.replace("[xdp]\n", "[xdp]\nrequired = true\n");
    let config = config.replace("\"state\"", "\"other-state\"");
    fs::write(&path, config.replace("control.sock", "other.sock").replace(":5353", ":5354"))?;
    let mut command = Command::new(servers::sealdns().context("no sealdns")?);
    command.args(["run", "--config"]).arg(&path);
    let ended = scene.pair.server.output(&mut command, PATIENCE)?;
    ensure!(!ended.status.success(), "{ended:?}");

    scene.pair.server.ip("link set server down")?;
    scene.pair.server.ip("link set server name later0")?;
    scene.pair.server.ip("link set later0 up")?;
    scene.wait_for(&zone)?;
    let is_answered = || -> Result<bool> {
        let before = scene.counted(Outcome::is_answered)?;
        scene.ask(53, &[www()])?;
        Ok(scene.counted(Outcome::is_answered)? > before)
    };
    net::wait_until("XDP answers", PATIENCE, || is_answered().is_ok_and(|is_answered| is_answered))
        .with_context(|| scene.sealdns.log())?;
    Ok(Verdict::Passed)
}
