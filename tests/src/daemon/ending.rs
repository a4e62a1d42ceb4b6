//! How the daemon ends: with a sentence where it cannot start, and in order where it is told to.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use hickory_proto::{op, rr::RecordType, serialize::binary::BinDecodable as _};
use nix::sys::{
    signal::Signal,
    socket::{setsockopt, sockopt},
};
use sealdns::zone::Rtype;
use testbed::net;
use tests::{harness::Verdict, servers};

use crate::wire::{
    client::{client, query, server},
    pair::{Pair, link},
    stage::{PATIENCE, Stage, obstacle},
};

/// What keeps XDP from being attached ends the daemon with a sentence and leaves nothing attached.
pub fn an_interface_that_is_not_there_is_said() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let (pair, folder) = (Pair::new("missing")?, tempfile::tempdir()?);
    let path = folder.path().join("sealdns.toml");
    fs::write(
        &path,
        format!(
            "version = \"v1\"\n[server]\nlisten = [\"{}\"]\ncontrol = \"control.sock\"\n\
             state-dir = \"state\"\n[xdp]\ninterfaces = [\"server\", \"servre\"]\n\
             required = true\n",
            server(0)?
        ),
    )?;
    let mut command = Command::new(servers::sealdns().context("no sealdns")?);
    let output = pair.server.output(command.args(["run", "--config"]).arg(&path), PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{:?}: {said}", output.status);
    ensure!(said.contains("no network interface \"servre\""), "{said}");
    ensure!(said.contains("there are: lo, server"), "{said}");
    ensure!(!link(&pair.server)?.contains("xdp"), "{}", link(&pair.server)?);
    Ok(Verdict::Passed)
}

/// SIGTERM: XDP is detached at once, what clients were promised over TCP is sent, and the exit code is 0.
pub fn sigterm_detaches_and_drains() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    const HOSTS: usize = 20_000;
    // More than sockets hold: the daemon is in the middle of the transfer when it is told to stop.
    let text = format!(
        "$TTL 300\n@ SOA ns hostmaster 1 4h 1h 2w 60\n@ NS ns\nns A 192.0.2.53\n\
         $GENERATE 1-{HOSTS} host$ TXT {}\n",
        format!("\"{}\" ", "x".repeat(250)).repeat(3)
    );
    let more = format!("dnssec = \"off\"\nallow-transfer = [\"{}\"]", client(0)?);
    let mut stage = Stage::new("term", &[("example.org", &text, &more)])?;
    let status = link(&stage.pair.server)?;
    let id: u32 = status
        .split("prog/xdp id ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("XDP is not attached: {status}"))?;

    let address = stage.server.address;
    let mut transfer = stage.pair.client.enter(|| TcpStream::connect(address))??;
    setsockopt(&transfer, sockopt::RcvBuf, &65536)?;
    transfer.set_read_timeout(Some(PATIENCE))?;
    let axfr = query("example.org", Rtype::AXFR.0, None);
    transfer.write_all(&[&(axfr.len() as u16).to_be_bytes()[..], &axfr].concat())?;
    let mut records = transferred(&mut transfer)?;
    ensure!(records.first() == Some(&RecordType::SOA), "{:?}", records.first());

    stage.server.process.signal(Signal::SIGTERM)?;
    let detached = || link(&stage.pair.server).is_ok_and(|status| !status.contains("xdp"));
    net::wait_until("XDP is detached", PATIENCE, detached)?;
    ensure!(stage.server.process.ended()?.is_none(), "a transfer was cut off");
    while records.len() < HOSTS + 4 {
        records.extend(transferred(&mut transfer)?);
    }
    ensure!(records.len() == HOSTS + 4, "{} records", records.len());
    ensure!(records.last() == Some(&RecordType::SOA), "{:?}", records.last());
    ensure!(transfer.read(&mut [0])? == 0, "more than was asked for");
    let ended = || stage.server.process.ended().is_ok_and(|status| status.is_some());
    net::wait_until("the daemon has ended", PATIENCE, ended)?;
    let status = stage.server.process.ended()?.context("it has ended")?;
    ensure!(status.code() == Some(0), "{status}: {}", stage.server.process.log());
    let is_loaded = aya::programs::loaded_programs().flatten().any(|program| program.id() == id);
    ensure!(!is_loaded, "program {id} is still there");
    Ok(Verdict::Passed)
}

/// The types of the records of the next message of a transfer.
fn transferred(stream: &mut TcpStream) -> Result<Vec<RecordType>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).context("the transfer ends too early")?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).context("a message is cut off")?;
    let message = op::Message::from_bytes(&message)?;
    Ok(message.answers.iter().map(|record| record.record_type()).collect())
}
