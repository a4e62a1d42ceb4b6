//! What the server answers itself and what is answered for it are the same; and what is not sealdns' reaches the server.

use super::*;
use crate::oracle::legal::{self, LEGAL, Pair as Both, Peer as Judged};
use tests::{
    dns::{Edns, Message, Query},
    questions::{PAYLOAD, questions},
};

/// Differences that are shown.
const SHOWN: usize = 20;

/// The zone of a version before knotd.
pub fn they_are_those_of_knotd() -> Result<Verdict> {
    compare("frontknotd", Kind::Knotd)
}

/// Before nsd.
pub fn they_are_those_of_nsd() -> Result<Verdict> {
    compare("frontnsd", Kind::Nsd)
}

/// Before named.
pub fn they_are_those_of_named() -> Result<Verdict> {
    compare("frontnamed", Kind::Named)
}

fn compare(test: &str, kind: Kind) -> Result<Verdict> {
    if let Some(obstacle) = obstacle(kind) {
        return Ok(obstacle);
    }
    for (denial_name, denial) in servers::DENIALS.into_iter().take(2) {
        let keys = tempfile::tempdir()?;
        let (zone, other) = (version(0, denial, keys.path())?, other()?);
        let interfaces = "interfaces = [\"server\"]";
        let scene = Scene::new(test, kind, &[&zone, &other], "", interfaces)?;
        scene.wait_for(&zone)?;
        let before = scene.counted(Outcome::is_answered)?;
        let queries = questions(&zone, []);
        let faults = differences(kind, &zone, &queries, &scene)?;
        let answered = scene.counted(Outcome::is_answered)? - before;
        println!("  {denial_name}: {answered} of {} answered for {kind:?}", queries.len());
        ensure!(
            faults.is_empty(),
            "{denial_name}: {} differences:\n{}",
            faults.len(),
            faults[..faults.len().min(SHOWN)].join("\n")
        );
        ensure!(2 * answered > queries.len() as u64, "most was left to the server");
        all_else_passes(&scene, &zone).with_context(|| format!("{kind:?}"))?;
    }
    Ok(Verdict::Passed)
}

/// In what answers differ that XDP sees and those that it does not.
fn differences(kind: Kind, zone: &Zone, queries: &[Query], scene: &Scene) -> Result<Vec<String>> {
    let peer = match kind {
        Kind::Knotd => Judged::Knotd,
        Kind::Nsd => Judged::Nsd,
        Kind::Named => Judged::Named,
    };
    let messages: Vec<Vec<u8>> = queries.iter().map(|query| query.message(0)).collect();
    let [through, direct] = [53, SECOND_PORT].map(|port| scene.ask(port, &messages));
    let mut faults = Vec::new();
    for ((query, ours), theirs) in queries.iter().zip(through?).zip(direct?) {
        let read = |octets: &[u8]| {
            Message::read(octets).with_context(|| format!("{query:?}: {octets:02x?}"))
        };
        let (ours, theirs) = (read(&ours)?, read(&theirs)?);
        let both = Both { peer, zone, query, ours: &ours, theirs: &theirs };
        let found = legal::differences(&both);
        if !found.is_empty() && !LEGAL.iter().any(|legal| legal.covers(&both)) {
            faults.push(format!("{query:?}: {}", found.join("; ")));
        }
    }
    Ok(faults)
}

/// Other zones, TCP, transfers, cookies, other options and other messages are the server's.
fn all_else_passes(scene: &Scene, zone: &Zone) -> Result<()> {
    let edns = Some(Edns { payload: PAYLOAD, dnssec_ok: false });
    let www = Query { name: b"\x03www\x07example\x03org\0".to_vec(), rtype: 1, edns };
    let with = |option: &[u8]| {
        let mut message = www.message(0);
        let len = message.len();
        message[len - 1] = option.len() as u8;
        [&message, option].concat()
    };
    let mut response = www.message(0);
    response[2] |= 0x80;
    let mut version = www.message(0);
    let len = version.len();
    version[len - 5] = 1;
    // A cookie, an identifier, a client subnet, ANY, EDNS version 1.
    let any = Query { rtype: 255, ..www.clone() };
    let passed = [
        with(b"\0\x0a\0\x08abcdefgh"),
        with(b"\0\x03\0\0"),
        with(b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02"),
        any.message(0),
        version,
        Query { name: b"\x02ns\x05other\x07example\0".to_vec(), rtype: 1, edns }.message(0),
    ];
    let before = scene.counted(Outcome::is_answered)?;
    for (place, octets) in scene.ask(53, &passed)?.iter().enumerate() {
        let said = Message::read(octets).with_context(|| format!("message {place}"))?;
        ensure!(said.rcode != 5, "message {place} is refused: {said:?}");
    }
    let answered = scene.counted(Outcome::is_answered)? - before;
    ensure!(answered == 0, "{answered} were answered that are the server's");
    // A response may be one that the server waits for.
    let dropped = scene.counted(Outcome::is_dropped)?;
    let opcodes = scene.counted(|outcome| outcome == Outcome::Opcode)?;
    scene.pair.client.enter(|| -> Result<()> {
        let socket = std::net::UdpSocket::bind((CLIENT_ADDRESS, 0))?;
        socket.send_to(&response, (ADDRESS, 53))?;
        Ok(())
    })??;
    let has_passed =
        || scene.counted(|outcome| outcome == Outcome::Opcode).is_ok_and(|count| count > opcodes);
    net::wait_until("the response has passed", PATIENCE, has_passed)?;
    ensure!(scene.counted(Outcome::is_dropped)? == dropped, "something was dropped");
    let said = scene.dig(&["www.example.org", "A", "+tcp"])?;
    ensure!(said.contains("NOERROR") && said.contains("192.0.2.80"), "TCP: {said}");
    let said = scene.dig(&["example.org", "AXFR"])?;
    let soas = said.lines().filter(|line| line.contains(&zone.serial().to_string())).count();
    ensure!(soas >= 2, "AXFR: {said}");
    Ok(())
}
