//! What the daemon answers beside XDP and TCX: who says what, and that all say the same.

use std::{net::UdpSocket, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use nix::sys::socket::{setsockopt, sockopt};
use sealdns::{config::XdpMode, control::reply::xdp::XdpStatus};
use testbed::inject::Injector;
use tests::{
    dns::{Edns, HEADER_LEN, Message},
    harness::Verdict,
    prog_test_run::lab,
    servers::DEMO,
};

use super::{
    client::{
        A, ANY, CNAME, Client, RRSIG, TXT, WITH_DNSSEC, WITHOUT_DNSSEC, client, query, server,
    },
    pair::link,
    stage::{PATIENCE, Settings, Stage, obstacle},
};

/// Letters come back as they were sent (0x20), whoever answers, over every transport.
pub fn letters_come_back_as_they_were_sent() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("letters", &[(DEMO.0, DEMO.1, "")])?;
    let client = Client::new(&stage.pair)?;
    // Names, and whether XDP answers for them.
    let asked = [
        ("wWw.ExAmPlE.oRg", A, true),
        ("WWW.EXAMPLE.ORG", TXT, true),
        ("sHoP.eXample.oRG", A, true),
        ("pARTNer.example.ORG", A, true),
        ("NoBody.eXAMPLE.org", A, true),
        ("aNy.aPPs.example.ORG", A, true),
        ("nS1.SECure.example.Org", A, true),
        ("Www.example.org", ANY, true),
        ("Www.example.org", RRSIG, false),
        ("wWw.eXample.NET", A, true),
    ];
    let queries: Vec<Vec<u8>> = asked
        .iter()
        .flat_map(|(name, rtype, _)| {
            [None, WITHOUT_DNSSEC, WITH_DNSSEC].map(|edns| query(name, *rtype, edns))
        })
        .collect();
    let echoes = |query: &[u8], answer: &[u8]| -> Result<()> {
        let (asked, said) = (question(query), question(answer));
        ensure!(answer[2] & 0x80 != 0 && asked == said, "{asked:02x?} {said:02x?}");
        Message::read(answer).map(drop)
    };
    for family in 0..2 {
        for (place, query) in queries.iter().enumerate() {
            let (name, rtype, from_xdp) = asked[place / 3];
            let before = stage.sent_by_xdp()?;
            let answer = stage.pair.client.enter(|| client.inject(family, query))??;
            echoes(query, &answer).with_context(|| format!("{name} {rtype}"))?;
            let sent = stage.sent_by_xdp()? - before;
            ensure!(sent == u64::from(from_xdp), "{name} {rtype}: XDP sent {sent} frames");
        }
    }
    let answers = stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&queries))??;
    for (query, answer) in queries.iter().zip(answers) {
        echoes(query, &answer)?;
    }
    Ok(Verdict::Passed)
}

/// The question of a message that has one without pointers.
fn question(message: &[u8]) -> &[u8] {
    let name = sealdns::zone::name::wire_name_len(&message[HEADER_LEN..]).unwrap_or(0);
    &message[HEADER_LEN..HEADER_LEN + name + 4]
}

/// Answers that find no room in the packet, or that are more than XDP composes, are the daemon's: whole,
/// or with TC where the client's payload size asks it; over TCP they are whole.
pub fn what_xdp_has_no_room_for_the_daemon_says() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let text = format!(
        "$TTL 300\n@ SOA ns hostmaster 1 4h 1h 2w 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\n\
         middle TXT {middle}\n*.wild TXT {middle}\nlarge TXT {large}\n\
         c1 CNAME c2\nc2 CNAME c3\nc3 CNAME c4\nc4 CNAME c5\nc5 CNAME c6\nc6 CNAME c7\nc7 CNAME www\n",
        middle = format!("\"{}\" ", "m".repeat(200)).repeat(4),
        large = format!("\"{}\" ", "l".repeat(200)).repeat(8),
    );
    let settings = Settings { xdp: "mode = \"native\"\ntcx = \"off\"", ..Settings::NATIVE };
    let stage = Stage::with(&settings, "room", &[("example.org", &text, "")])?;
    let client = Client::new(&stage.pair)?;
    let small = Some(Edns { payload: 512, dnssec_ok: true });
    let greedy = Some(Edns { payload: 4096, dnssec_ok: true });
    // What is asked, whether the frame has room, whether XDP answers, and whether with TC.
    for (name, rtype, edns, has_room, from_xdp, truncated) in [
        ("www.example.org", A, WITH_DNSSEC, false, true, false),
        ("middle.example.org", TXT, WITH_DNSSEC, true, true, false),
        ("middle.example.org", TXT, WITH_DNSSEC, false, false, false),
        ("middle.example.org", TXT, small, false, true, true),
        ("x.wild.example.org", TXT, WITH_DNSSEC, true, true, false),
        ("x.wild.example.org", TXT, small, true, true, true),
        ("x.wild.example.org", TXT, None, false, true, true),
        ("large.example.org", TXT, greedy, true, true, true),
        ("large.example.org", TXT, greedy, false, true, true),
        ("c1.example.org", A, WITHOUT_DNSSEC, true, false, false),
        ("c6.example.org", CNAME, WITH_DNSSEC, true, true, false),
    ] {
        let what = || format!("{name} {rtype} {edns:?}, room: {has_room}");
        let query = query(name, rtype, edns);
        let before = stage.sent_by_xdp()?;
        let answer = stage
            .pair
            .client
            .enter(|| if has_room { client.inject(0, &query) } else { client.send(0, &query) })??;
        let sent = stage.sent_by_xdp()? - before;
        let message = Message::read(&answer).with_context(what)?;
        ensure!(sent == u64::from(from_xdp), "{}: XDP sent {sent} frames", what());
        ensure!(message.is_truncated() == truncated, "{}: {message:?}", what());
        ensure!(message.answer.is_empty() == truncated, "{}: {message:?}", what());
        let limit = edns.map_or(512, |edns| usize::from(edns.payload)).min(1232);
        ensure!(answer.len() <= limit, "{}: {} octets", what(), answer.len());

        let queries = [query];
        let over_tcp = stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&queries))??;
        let whole = Message::read(&over_tcp[0]).with_context(what)?;
        ensure!(!whole.is_truncated() && !whole.answer.is_empty(), "{}: {whole:?}", what());
        if !truncated {
            ensure!(whole.answer == message.answer, "{}: {whole:?} {message:?}", what());
        }
    }
    Ok(Verdict::Passed)
}

/// What XDP has no room for TCX answers, with checksums that arrive: whether the devices at the ends
/// complete them or not.
pub fn what_xdp_has_no_room_for_tcx_says() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("tcx", &[(DEMO.0, DEMO.1, "")])?;
    let client = Client::new(&stage.pair)?;
    let asked = [("shop", A), ("nobody", A), ("x.apps", A), ("www.legacy", A), ("long", TXT)]
        .map(|(label, rtype)| query(&format!("{label}.example.org"), rtype, WITH_DNSSEC));
    let whole = stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&asked))??;
    for offloads in [["on", "on"], ["off", "on"], ["on", "off"], ["off", "off"]] {
        for ((end, interface), state) in
            [(&stage.pair.client, "client"), (&stage.pair.server, "server")]
                .into_iter()
                .zip(offloads)
        {
            let mut command = Command::new("ethtool");
            command.args(["-K", interface, "tx", state]);
            ensure!(end.output(&mut command, PATIENCE)?.status.success(), "{interface} {state}");
        }
        for family in 0..2 {
            let before = (stage.sent_by_xdp()?, stage.sent_by_tcx()?);
            for (query, whole) in asked.iter().zip(&whole) {
                let what = || format!("{offloads:?} {family} {query:02x?}");
                let said =
                    stage.pair.client.enter(|| client.send(family, query))?.with_context(what)?;
                ensure!(said[2..] == whole[2..], "{}: {said:02x?}", what());
            }
            let by_xdp = stage.sent_by_xdp()? - before.0;
            let by_tcx = stage.sent_by_tcx()? - before.1;
            ensure!(by_tcx > 0, "TCX answered nothing");
            ensure!(by_xdp + by_tcx == asked.len() as u64, "{by_xdp} by XDP, {by_tcx} by TCX");
        }
    }
    Ok(Verdict::Passed)
}

/// Without XDP of ours, and behind another's, TCX answers all that comes in packets; of a burst that the
/// sender has not cut into packets the daemon's sockets answer each query.
pub fn tcx_answers_alone() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let settings = Settings { xdp: "mode = \"tcx\"", ..Settings::default() };
    let mut stage = Stage::with(&settings, "alone", &[(DEMO.0, DEMO.1, "")])?;
    ensure!(!link(&stage.pair.server)?.contains("xdp"), "{}", link(&stage.pair.server)?);
    let asked = [("shop", A), ("nobody", A), ("x.apps", A), ("www.legacy", A), ("long", TXT)]
        .map(|(label, rtype)| query(&format!("{label}.example.org"), rtype, WITH_DNSSEC));
    for has_other in [false, true] {
        let _other = if has_other {
            let other = stage.pair.server.enter(|| Injector::new(&lab(), "server"))??;
            // It is there already when the daemon starts.
            stage.restart_in_order()?;
            Some(other)
        } else {
            None
        };
        ensure!(link(&stage.pair.server)?.contains("prog/xdp") == has_other);
        let status: XdpStatus = stage.reply(&["xdp", "status"])?;
        let attachment = &status.attachments[0];
        ensure!(attachment.mode == XdpMode::Tcx && attachment.tcx, "{status:?}");
        let whole = stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&asked))??;
        let client = Client::new(&stage.pair)?;
        for family in 0..2 {
            let before = stage.sent_by_tcx()?;
            for (query, whole) in asked.iter().zip(&whole) {
                let said = stage.pair.client.enter(|| client.send(family, query))??;
                ensure!(said[2..] == whole[2..], "{has_other} {family} {said:02x?}");
            }
            let sent = stage.sent_by_tcx()? - before;
            ensure!(sent == asked.len() as u64, "{sent} of {} by TCX", asked.len());
        }
        drop(client);
    }

    let whole = stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&asked[..1]))??;
    let source = (client(0)?, 0);
    let socket = stage.pair.client.enter(|| UdpSocket::bind(source))??;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let burst = [0u8; 8].map(|_| asked[0].clone()).concat();
    setsockopt(&socket, sockopt::UdpGsoSegment, &i32::try_from(asked[0].len())?)?;
    socket.send_to(&burst, server(0)?)?;
    let mut buffer = [0; 4096];
    for number in 0..8 {
        let len = socket.recv(&mut buffer).with_context(|| format!("{number} answers"))?;
        ensure!(buffer[2..len] == whole[0][2..], "{:02x?}", &buffer[..len]);
    }
    ensure!(stage.command(&["xdp", "detach", "server"])?.status.success());
    let at = || SchedClassifier::query_tcx("server", TcAttachType::Ingress);
    ensure!(stage.pair.server.enter(at)??.1.is_empty(), "it was detached, and is there");
    Ok(Verdict::Passed)
}

/// TCP has the same address and port as what XDP answers: pipelined queries, and transfers to who may.
pub fn tcp_is_served_beside_xdp() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let allowed = format!("allow-transfer = [\"{}\"]", client(0)?);
    let stage = Stage::new("tcp", &[(DEMO.0, DEMO.1, &allowed)])?;
    let client = Client::new(&stage.pair)?;
    let queries: Vec<Vec<u8>> = ["www", "nobody", "shop", "x.apps", "mail", "long"]
        .iter()
        .flat_map(|name| {
            [A, TXT].map(|rtype| query(&format!("{name}.example.org"), rtype, WITH_DNSSEC))
        })
        .collect();
    let before = stage.sent_by_xdp()?;
    let over_tcp = stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&queries))??;
    ensure!(stage.sent_by_xdp()? == before, "XDP answered over TCP");
    for (query, answer) in queries.iter().zip(&over_tcp) {
        let over_udp = stage.pair.client.enter(|| client.inject(0, query))??;
        ensure!(over_udp[2..] == answer[2..], "{over_udp:02x?}\n{answer:02x?}");
    }
    ensure!(stage.sent_by_xdp()? > before, "XDP answered nothing");

    let granted = stage.transfer(DEMO.0, 0)?;
    let records: Vec<&str> =
        granted.lines().filter(|line| !line.is_empty() && !line.starts_with(';')).collect();
    ensure!(records.len() > 100, "{granted}");
    ensure!(records[0].contains("SOA") && records.first() == records.last(), "{granted}");
    let refused = stage.transfer(DEMO.0, 1)?;
    ensure!(refused.contains("Transfer failed") && !refused.contains("SOA"), "{refused}");
    Ok(Verdict::Passed)
}

/// A signed query is the daemon's, and its answer is signed, while XDP answers the same query without TSIG.
pub fn signed_queries_are_the_daemon_s() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let sections = format!("[[tsig]]\nname = \"key.test\"\nsecret = \"{secret}\"");
    let settings = Settings { sections: &sections, ..Settings::NATIVE };
    let stage = Stage::with(&settings, "tsig", &[(DEMO.0, DEMO.1, "")])?;
    // It takes what XDP sends over veth.
    let _client = Client::new(&stage.pair)?;
    let ask = |options: &[&str]| -> Result<String> {
        let name = format!("www.{}", DEMO.0);
        let mut dig = Command::new("dig");
        dig.arg(format!("@{}", server(0)?.ip()))
            .args([&name, "A", "+tries=1", "+time=5"])
            .args(options);
        let output = stage.pair.client.output(&mut dig, PATIENCE)?;
        Ok([output.stdout, output.stderr]
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .concat())
    };
    let key = format!("hmac-sha256:key.test:{secret}");
    // What sockets send over veth has no room for XDP, and is TCX's.
    let sent = || anyhow::Ok(stage.sent_by_xdp()? + stage.sent_by_tcx()?);
    // With OPT before it, and alone.
    for edns in ["+edns", "+noedns"] {
        let before = sent()?;
        ask(&[edns])?;
        let after = sent()?;
        ensure!(after > before, "{edns}: XDP does not answer without TSIG");
        let signed = ask(&[edns, "-y", &key])?;
        ensure!(signed.contains("TSIG PSEUDOSECTION") && signed.contains("NOERROR"), "{signed}");
        ensure!(!signed.contains("Couldn't verify"), "{signed}");
        ensure!(sent()? == after, "{edns}: XDP answers what is signed");
    }
    Ok(Verdict::Passed)
}
