//! Queries with the header of a proxy, where XDP answers: to it they are messages of an opcode that it does not know.

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context as _, Result, ensure};
use sealdns::{control::reply::xdp::XdpStatus, observe::Snapshot};
use tests::{dns::Message, harness::Verdict};
use xdp_common::Outcome;

use super::{
    client::{self, A, Client, WITHOUT_DNSSEC, query},
    stage::{self, Section, Settings, Stage},
};

const ZONE: Section<'static> =
    ("example.org", "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n", "dnssec = \"off\"");

/// The header (version 2, PROXY, UDP over IPv4) of a query by 203.0.113.7, port 5353.
const HEADER: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xcb\0\x71\x07\xc0\0\x02\x35\x14\xe9\0\x35";

/// XDP neither answers nor drops them, and the daemon answers; what is no header it drops and counts.
pub fn xdp_passes_up_what_a_proxy_sends() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let settings =
        Settings { server: "proxy-from = [\"198.51.100.1\", \"2001:db8::1\"]", ..Settings::NATIVE };
    let stage = Stage::with(&settings, "proxy", &[ZONE])?;
    // Without a program at its end veth does not deliver what XDP sends back.
    let _client = Client::new(&stage.pair)?;
    let passed = || -> Result<u64> {
        let counters = stage.reply::<XdpStatus>(&["xdp", "status"])?.counters;
        let of = |programs: Option<sealdns::observe::ProgramCounters>| {
            programs.map_or(0, |programs| programs.outcomes[Outcome::Opcode])
        };
        Ok(of(counters.xdp) + of(counters.tcx))
    };
    for family in 0..2 {
        let sent = || -> Result<u64> { Ok(stage.sent_by_xdp()? + stage.sent_by_tcx()?) };
        let (answered, opcode) = (sent()?, passed()?);
        let (from, to) = (client::client(family)?, client::server(family)?);
        let response = stage.pair.client.enter(|| -> Result<Vec<u8>> {
            let socket = UdpSocket::bind((from, 0))?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            socket.connect(to)?;
            // Cut off; then whole.
            socket.send(&HEADER[..20])?;
            let asked = query("ns.example.org", A, WITHOUT_DNSSEC);
            socket.send(&[HEADER, &asked].concat())?;
            let mut room = vec![0; 4096];
            let len = socket.recv(&mut room).context("no answer")?;
            room.truncate(len);
            Ok(room)
        })??;
        let message = Message::read(&response)?;
        ensure!(message.rcode == 0 && message.answer.len() == 1, "{message:?}");
        ensure!(sent()? == answered, "XDP answered");
        ensure!(passed()? > opcode, "XDP has not seen it");
        let malformed = stage.reply::<Snapshot>(&["stats"])?.udp.outcomes[Outcome::Malformed];
        ensure!(malformed == family as u64 + 1, "{malformed}");
    }
    Ok(Verdict::Passed)
}
