//! NOTIFY where XDP answers: it passes what is no query to the daemon, which asks the primary and publishes what comes into
//! XDP.

use sealdns::control::reply::xdp::XdpStatus;
use xdp_common::Outcome;

use super::{faults::Scripted, *};
use crate::wire::{
    client::{self, Client},
    stage::{self, Settings, Stage},
};

const NOTIFY: u8 = 4 << 3;

/// A NOTIFY of the zone.
fn notify() -> Vec<u8> {
    let head = [0x5e, 0xa1, NOTIFY | 4, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&head[..], b"\x05moved\x04test\0\0\x06\0\x01"].concat()
}

/// The flags of the response to a message that the client sends over a family.
fn told(stage: &Stage, family: usize, message: &[u8]) -> Result<[u8; 2]> {
    let (from, to) = (client::client(family)?, client::server(family)?);
    stage.pair.client.enter(|| -> Result<[u8; 2]> {
        let socket = std::net::UdpSocket::bind((from, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(message)?;
        let mut room = [0; 512];
        let len = socket.recv(&mut room)?;
        ensure!(len >= 12 && room[..2] == message[..2], "no response to it");
        Ok([room[2], room[3]])
    })?
}

/// A primary's NOTIFY over XDP brings the next version into XDP; a stranger's brings nothing.
pub fn a_notify_over_xdp_brings_the_next_version() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let address = "198.51.100.1:5300";
    let sections =
        format!("[[zone]]\nname = \"{APEX}\"\ndnssec = \"off\"\nprimaries = [\"{address}\"]\n");
    let settings = Settings { sections: &sections, ..Settings::NATIVE };
    let stage = Stage::with(&settings, "notify", &[])?;
    // Without a program at its end veth does not deliver what XDP sends back.
    let _client = Client::new(&stage.pair)?;
    let primary = stage.pair.client.enter(|| Scripted::start(address))??;
    let status = || stage.reply::<ZoneStatus>(&["zone", "status", APEX]);
    let has = |serial: u32| {
        let serial_of = |status: ZoneStatus| status.summary.serial;
        move |status: ZoneStatus| serial_of(status) == Some(serial)
    };
    // Of the first try there may have been no primary yet.
    net::wait_until("the first version", PATIENCE, || status().is_ok_and(has(7)))
        .with_context(|| stage.server.process.log())?;
    let passed = || -> Result<u64> {
        let counters = stage.reply::<XdpStatus>(&["xdp", "status"])?.counters.xdp;
        Ok(counters.context("no counters")?.outcomes[Outcome::Opcode])
    };
    let before = passed()?;
    primary.conducts(super::faults::Conduct::Right, 8);
    ensure!(told(&stage, 1, &notify())?[1] & 15 == 5, "a stranger is refused");
    ensure!(told(&stage, 0, &notify())? == [0x80 | NOTIFY | 4, 0], "the primary is heeded");
    ensure!(passed()? == before + 2, "both came by XDP: {} {before}", passed()?);
    net::wait_until("the next version", PATIENCE, || status().is_ok_and(has(8)))
        .with_context(|| stage.server.process.log())?;
    // XDP has it.
    let query = b"\x5e\xa1\0\0\0\x01\0\0\0\0\0\0\x03www\x05moved\x04test\0\0\x01\0\x01";
    let answered = || -> Result<u64> {
        let counters = stage.reply::<XdpStatus>(&["xdp", "status"])?.counters;
        let [xdp, tcx] = [counters.xdp, counters.tcx];
        Ok(xdp.iter().chain(&tcx).map(|one| one.outcomes[Outcome::Positive]).sum())
    };
    let before = answered()?;
    ensure!(told(&stage, 0, query)? == [0x84, 0], "an answer");
    ensure!(answered()? == before + 1, "the answer came from the daemon");
    Ok(Verdict::Passed)
}
