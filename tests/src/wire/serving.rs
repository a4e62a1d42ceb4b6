//! The daemon as it is run: XDP attached natively to a veth, asked from the namespace at the other end.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use hickory_proto::{op, rr::RecordType, serialize::binary::BinDecodable as _};
use nix::sys::{
    signal::Signal,
    socket::{setsockopt, sockopt},
};
use sealdns::{
    compile::Image,
    datapath::memory::{Mapping, Size},
    dnssec::policy::Denial,
    zone::Rtype,
};
use testbed::{
    frames::Frame,
    inject::{Injector, exchange, exchange_by},
    net::{self, Process},
};
use tests::{
    dns::{Edns, Message, Query},
    harness::Verdict,
    measure::zones,
    prog_test_run::lab,
    servers::{self, DEMO, Server, signed},
};

use serde_json::Value;
use xdp_common::Outcome;

use crate::{
    devices::attach::link,
    wire::{self, CLIENTS, Pair, SERVERS},
};

/// How long a process has for what it is told.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The client's whole offer (DNS flag day 2020).
pub const WITH_DNSSEC: Option<Edns> = Some(Edns { payload: 1232, dnssec_ok: true });
const WITHOUT_DNSSEC: Option<Edns> = Some(Edns { payload: 1232, dnssec_ok: false });

pub const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;
const RRSIG: u16 = 46;
const ANY: u16 = 255;

/// Both ends, and the daemon at one of them. It is ended before its namespace goes.
pub struct Stage {
    pub server: Server,
    binary: PathBuf,
    pub pair: Pair,
    pub folder: tempfile::TempDir,
}

/// Lines for `[server]` and `[xdp]`, and sections besides.
#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    pub server: &'a str,
    pub xdp: &'a str,
    pub sections: &'a str,
}

impl Settings<'static> {
    /// In the driver, or not at all.
    pub const NATIVE: Self = Settings { server: "", xdp: "mode = \"native\"", sections: "" };
}

/// A zone to be served: apex, file's text, further settings.
pub type Section<'a> = (&'a str, &'a str, &'a str);

/// Why a test that runs the daemon beside XDP cannot run, if it cannot.
pub fn obstacle() -> Option<Verdict> {
    wire::obstacle().or_else(|| {
        let missing = "no sealdns beside this test: `cargo xtask build`";
        servers::sealdns().is_none().then(|| Verdict::Skipped(missing.into()))
    })
}

impl Stage {
    /// Runs the daemon over these zones, with XDP on its end of the pair, and TCX behind it.
    pub fn new(test: &str, zones: &[Section<'_>]) -> Result<Self> {
        Self::with(&Settings::NATIVE, test, zones)
    }

    /// As [`Stage::new`], with these settings.
    pub fn with(settings: &Settings<'_>, test: &str, zones: &[Section<'_>]) -> Result<Self> {
        Self::with_patience(PATIENCE, settings, test, zones)
    }

    /// As [`Stage::with`]; loading the zones may take `patience`.
    pub fn with_patience(
        patience: Duration,
        settings: &Settings<'_>,
        test: &str,
        zones: &[Section<'_>],
    ) -> Result<Self> {
        let (pair, folder) = (Pair::new(test)?, tempfile::tempdir()?);
        let binary = servers::sealdns().context("no sealdns")?;
        configure(folder.path(), settings, zones)?;
        let process = start(&binary, &pair, folder.path(), patience)?;
        Ok(Self { server: Server { address: server(0)?, process }, binary, pair, folder })
    }

    /// As [`Stage::with`], by another program than the one that was built.
    pub fn by(
        binary: PathBuf,
        settings: &Settings<'_>,
        test: &str,
        zones: &[Section<'_>],
    ) -> Result<Self> {
        let (pair, folder) = (Pair::new(test)?, tempfile::tempdir()?);
        configure(folder.path(), settings, zones)?;
        let process = start(&binary, &pair, folder.path(), PATIENCE)?;
        Ok(Self { server: Server { address: server(0)?, process }, binary, pair, folder })
    }

    /// Runs the daemon again, after it has ended.
    pub fn restart(&mut self) -> Result<()> {
        self.server.process = start(&self.binary, &self.pair, self.folder.path(), PATIENCE)?;
        Ok(())
    }

    /// Ends the daemon and runs it again over the same files.
    pub fn restart_in_order(&mut self) -> Result<()> {
        self.server.process.signal(Signal::SIGTERM)?;
        let ended = || self.server.process.ended().is_ok_and(|status| status.is_some());
        net::wait_until("the daemon has ended", PATIENCE, ended)?;
        self.restart()
    }

    /// How often XDP has sent a frame back, as the driver counts.
    pub fn sent_by_xdp(&self) -> Result<u64> {
        self.pair.server.enter(|| net::xdp_transmitted("server"))?
    }

    /// How many answers TCX has sent, as the daemon counts.
    pub fn sent_by_tcx(&self) -> Result<u64> {
        let status: Value =
            serde_json::from_slice(&self.command(&["xdp", "status", "--json"])?.stdout)?;
        let counters = status["counters"].as_object().context("no counters")?;
        let answers = Outcome::ALL.iter().filter(|outcome| outcome.is_answered());
        let counts = answers.map(|outcome| &counters[&format!("tcx_{}", outcome.word())]);
        Ok(counts.filter_map(Value::as_u64).sum())
    }

    /// Runs a command of `sealdns` for this daemon.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--config").arg(self.folder.path().join("sealdns.toml"));
        self.pair.server.output(&mut command, PATIENCE)
    }

    /// As [`Stage::command`], but without reading the configuration, which may have many zones.
    pub fn command_by_socket(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--control").arg(self.folder.path().join("control.sock"));
        self.pair.server.output(&mut command, PATIENCE)
    }

    /// What dig prints about a transfer of the zone, asked for from this address of the client.
    fn transfer(&self, zone: &str, family: usize) -> Result<String> {
        let mut dig = Command::new("dig");
        dig.args(["-b", &client(family)?.to_string(), &format!("@{}", server(family)?.ip())])
            .args([zone, "AXFR", "+noall", "+answer", "+comments", "+tries=1", "+time=5"]);
        let output = self.pair.client.output(&mut dig, PATIENCE)?;
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Writes the daemon's configuration, and the files of its zones.
pub fn configure(folder: &Path, settings: &Settings<'_>, zones: &[Section<'_>]) -> Result<()> {
    let Settings { server: server_lines, xdp, sections } = settings;
    let mut config = format!(
        "version = \"v1\"\n[server]\nlisten = [\"{}\", \"{}\"]\ncontrol = \"control.sock\"\n\
         state-dir = \"state\"\n{server_lines}\n[xdp]\ninterfaces = [\"server\"]\n{xdp}\n{sections}\n",
        server(0)?,
        server(1)?
    );
    for (apex, text, more) in zones {
        fs::write(folder.join(format!("{apex}.zone")), text)?;
        config += &format!("[[zone]]\nname = \"{apex}\"\nfile = \"{apex}.zone\"\n{more}\n");
    }
    Ok(fs::write(folder.join("sealdns.toml"), config)?)
}

fn start(binary: &Path, pair: &Pair, folder: &Path, patience: Duration) -> Result<Process> {
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(folder.join("sealdns.toml"));
    let mut process = pair.server.spawn("sealdns", &mut command)?;
    process.wait_for_line(patience, |line| line.trim() == "ready")?;
    Ok(process)
}

pub fn server(family: usize) -> Result<SocketAddr> {
    Ok(SocketAddr::new(net::address_of(SERVERS[family])?, 53))
}

pub fn client(family: usize) -> Result<std::net::IpAddr> {
    net::address_of(CLIENTS[family])
}

/// Who asks, over both families: by frames that have the room which a network card's have, or through
/// the socket, whose packets have little. All calls are made inside the client's namespace.
pub struct Client {
    injector: Mutex<Injector>,
    ends: Vec<(UdpSocket, Frame)>,
}

impl Client {
    pub fn new(pair: &Pair) -> Result<Self> {
        pair.client.enter(|| -> Result<Self> {
            let injector = Mutex::new(Injector::new(&lab(), "client")?);
            let source_mac = net::mac_address("client")?;
            let mut ends = Vec::new();
            for family in 0..2 {
                let socket = UdpSocket::bind(SocketAddr::new(client(family)?, 0))?;
                let frame = Frame {
                    source_mac,
                    destination_mac: pair.server_mac,
                    tags: Vec::new(),
                    source: socket.local_addr()?,
                    destination: server(family)?,
                    ttl: 64,
                    payload: Vec::new(),
                };
                ends.push((socket, frame));
            }
            Ok(Self { injector, ends })
        })?
    }

    /// Asks by a frame with room.
    pub fn inject(&self, family: usize, query: &[u8]) -> Result<Vec<u8>> {
        let (socket, frame) = &self.ends[family];
        exchange(socket, &self.injector, frame, query)
    }

    /// Asks by a frame with this much room behind it, in octets.
    pub fn inject_with_room(&self, family: usize, query: &[u8], tail: usize) -> Result<Vec<u8>> {
        let (socket, frame) = &self.ends[family];
        exchange_by(socket, &self.injector, frame, query, |injector, octets| {
            injector.send_with_room(octets, tail)
        })
    }

    /// Asks through the socket.
    pub fn send(&self, family: usize, query: &[u8]) -> Result<Vec<u8>> {
        let (socket, frame) = &self.ends[family];
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        socket.send_to(query, frame.destination)?;
        let mut buffer = [0; 4096];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).context("no answer")?;
            if from == frame.destination && buffer[..2] == query[..2] {
                return Ok(buffer[..len].to_vec());
            }
        }
    }
}

/// A name in the letters in which it is asked.
fn wire(name: &str) -> Vec<u8> {
    let labels: Vec<&str> = name.split('.').filter(|label| !label.is_empty()).collect();
    zones::wire(&labels)
}

pub fn query(name: &str, rtype: u16, edns: Option<Edns>) -> Vec<u8> {
    Query { name: wire(name), rtype, edns }.message(0x1234)
}

//----------- Tests ----------------------------------------------------------------------------------

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
    let name = sealdns::zone::name::wire_name_len(&message[12..]).unwrap_or(0);
    &message[12..12 + name + 4]
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
        let status = stage.command(&["xdp", "status", "--json"])?;
        let status: Value = serde_json::from_slice(&status.stdout)?;
        let attachment = &status["attachments"][0];
        ensure!(attachment["mode"] == "tcx" && attachment["tcx"] == true, "{status}");
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

/// A zone that is broken when the daemon reads it again leaves the old one serving, from XDP and from the
/// daemon; where it is broken is in the log and in what the commands print.
pub fn a_broken_zone_leaves_the_old_one_serving() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut stage = Stage::new("broken", &[(DEMO.0, DEMO.1, "")])?;
    let client = Client::new(&stage.pair)?;
    let from_xdp = query("www.example.org", A, WITH_DNSSEC);
    let from_daemon = query("www.example.org", RRSIG, WITH_DNSSEC);
    let asked = || -> Result<[Vec<u8>; 2]> {
        stage.pair.client.enter(|| -> Result<_> {
            Ok([client.inject(0, &from_xdp)?, client.inject(0, &from_daemon)?])
        })?
    };
    let old = asked()?;
    let file = stage.folder.path().join("example.org.zone");
    let line = DEMO.1.lines().count() + 1;
    fs::write(&file, format!("{}www A 192.0.2.300\n", DEMO.1))?;
    stage.server.process.signal(Signal::SIGHUP)?;
    let place = format!("{}:{line}:7", file.display());
    stage.server.process.wait_for_line(PATIENCE, |line| line.contains("the older version"))?;
    stage.server.process.wait_for_line(PATIENCE, |line| line.contains(&place))?;
    let asked = || -> Result<[Vec<u8>; 2]> {
        stage.pair.client.enter(|| -> Result<_> {
            Ok([client.inject(0, &from_xdp)?, client.inject(0, &from_daemon)?])
        })?
    };
    let before = stage.sent_by_xdp()?;
    ensure!(asked()? == old, "the broken zone changed what is said");
    ensure!(stage.sent_by_xdp()? == before + 1, "XDP did not answer once");

    let status = stage.command(&["zone", "status", "example.org"])?;
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(said.contains("serving-old") && said.contains(&place), "{said}");
    ensure!(stage.command(&["health"])?.status.code() == Some(3), "health does not mind");
    let reload = stage.command(&["zone", "reload"])?;
    ensure!(reload.status.code() == Some(1), "{reload:?}");
    Ok(Verdict::Passed)
}

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
    ensure!(status.code() == Some(0), "{status}: {}", stage.server.process.said());
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

//----------- Reloading under load -------------------------------------------------------------------

/// Versions that are served one after the other.
const VERSIONS: usize = 6;

/// One version of a zone: every record says which, and names come and go.
fn version(number: usize) -> String {
    let come_and_go = if number.is_multiple_of(2) {
        format!(
            "a.b.c.d TXT \"version {number}\"\nnew A 192.0.2.{number}\n*.e TXT \"{number}\"\n\
             x.wild TXT \"version {number}\"\n"
        )
    } else {
        format!("old A 192.0.2.{number}\n*.d TXT \"version {number}\"\n")
    };
    format!(
        "$TTL 300\n@ SOA ns hostmaster {number} 4h 1h 2w 60\n@ NS ns\nns A 192.0.2.53\n\
         www A 192.0.2.{number}\nwww A 198.51.100.{number}\nwww TXT \"version {number}\"\n\
         chain CNAME step\nstep CNAME www\n*.wild TXT \"version {number}\"\n\
         large TXT {}\ncut NS ns{number}.example.net.\n{come_and_go}\
         $GENERATE 1-1000 host$ A 192.0.2.{number}\n",
        format!("\"{number}{}\" ", "x".repeat(200)).repeat(3),
    )
}

/// The files of all versions, signed, and what is said of each.
pub struct Versions {
    pub queries: Vec<Vec<u8>>,
    pub files: Vec<Vec<u8>>,
    pub expected: Vec<Vec<Vec<u8>>>,
}

impl Versions {
    pub fn new() -> Result<Self> {
        const NAMES: [&str; 18] = [
            "", "www.", "chain.", "nobody.", "x.wild.", "y.wild.", "large.", "x.cut.", "host7.",
            "new.", "old.", "a.b.c.d.", "b.c.d.", "c.d.", "d.", "x.b.c.d.", "x.e.", "x.d.",
        ];
        let queries: Vec<Vec<u8>> = NAMES
            .iter()
            .flat_map(|name| [A, TXT].map(|rtype| (format!("{name}example.org"), rtype)))
            .flat_map(|(name, rtype)| {
                [WITHOUT_DNSSEC, WITH_DNSSEC].map(|edns| query(&name, rtype, edns))
            })
            .collect();
        let keys = tempfile::tempdir()?;
        let (mut files, mut expected) = (Vec::new(), Vec::new());
        for number in 1..=VERSIONS {
            let zone = signed(("example.org", &version(number)), Denial::Nsec, keys.path())?;
            let mut text = Vec::new();
            sealdns::zone::text::write(&zone, &mut text)?;
            files.push(text);
            let memory = Mapping::anonymous(Size { slab: 16 << 20, buckets: 4096 })?;
            let mut image = Image::new(std::sync::Arc::new(memory), number as u64);
            drop(image.publish(&zone)?);
            let reader = image.reader();
            let answers: Result<Vec<Vec<u8>>> = queries
                .iter()
                .map(|query| {
                    let (mut said, now) = (Vec::new(), sealdns::cli::clock::now());
                    let outcome = reader.answer(query, false, 1232, now, &mut said);
                    ensure!(outcome.is_answered(), "{outcome:?}");
                    Ok(said)
                })
                .collect();
            expected.push(answers?);
        }
        Ok(Self { queries, files, expected })
    }
}

/// A version of the zone as the daemon is to serve it.
pub fn presigned(file: &[u8]) -> Result<Section<'_>> {
    Ok(("example.org", str::from_utf8(file)?, "dnssec = \"presigned\""))
}

/// While clients ask without pause, by frames and through sockets, every query is answered, and every
/// answer is octet for octet that of the version before or of the version after.
pub fn reloads_go_unnoticed() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let Versions { queries, files, expected } = Versions::new()?;
    let stage = Stage::new("reload", &[presigned(&files[0])?])?;
    let client = Client::new(&stage.pair)?;
    let load = Load::new(&queries, &expected);
    let before = stage.sent_by_xdp()?;
    let asked = stage.pair.client.enter(|| -> Result<[u64; 3]> {
        thread::scope(|scope| {
            let by_frame = scope.spawn(|| load.ask(|query| client.inject(0, query)));
            let by_socket = scope.spawn(|| load.ask(|query| client.send(1, query)));
            let over_tcp = scope.spawn(|| {
                let mut stream = TcpStream::connect(server(0)?)?;
                stream.set_read_timeout(Some(Duration::from_secs(3)))?;
                load.ask(|query| ask_over_tcp(&mut stream, query))
            });
            let reloaded = reload(&stage, &files, &load);
            load.over.store(true, SeqCst);
            let asked = [by_frame, by_socket, over_tcp]
                .map(|asker| asker.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
            reloaded?;
            let [by_frame, by_socket, over_tcp] = asked;
            Ok([by_frame?, by_socket?, over_tcp?])
        })
    })??;
    let sent = stage.sent_by_xdp()? - before;
    ensure!(asked.iter().all(|count| *count > 1000), "{asked:?} queries prove nothing");
    ensure!(sent > asked[0] / 3, "of {asked:?} queries XDP answered {sent}");
    Ok(Verdict::Passed)
}

/// Serves one version after the other.
fn reload(stage: &Stage, files: &[Vec<u8>], load: &Load<'_>) -> Result<()> {
    let file = stage.folder.path().join("example.org.zone");
    let process: &Process = &stage.server.process;
    for (place, text) in files.iter().enumerate().skip(1) {
        thread::sleep(Duration::from_millis(200));
        let new = file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &file)?;
        load.told.store(place, SeqCst);
        process.signal(Signal::SIGHUP)?;
        let reloaded = || process.said().matches("reloaded zones=1 failed=0").count() == place;
        net::wait_until("the zone is reloaded", PATIENCE, reloaded)
            .with_context(|| process.said())?;
        load.served.store(place, SeqCst);
    }
    thread::sleep(Duration::from_millis(200));
    Ok(())
}

/// What clients ask while zones are reloaded.
pub struct Load<'a> {
    pub queries: &'a [Vec<u8>],
    /// The answers of each version.
    pub expected: &'a [Vec<Vec<u8>>],
    /// The version that is served at least.
    pub served: AtomicUsize,
    /// The newest version that may be served.
    pub told: AtomicUsize,
    pub over: AtomicBool,
}

impl<'a> Load<'a> {
    /// Nothing was asked yet, and the first version is served.
    pub fn new(queries: &'a [Vec<u8>], expected: &'a [Vec<Vec<u8>>]) -> Self {
        Self {
            queries,
            expected,
            served: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Asks one query after the other until it is over; says how many.
    pub fn ask(&self, mut exchange: impl FnMut(&[u8]) -> Result<Vec<u8>>) -> Result<u64> {
        let started = Instant::now();
        let mut asked = 0u64;
        while !self.over.load(SeqCst) {
            let place = asked as usize % self.queries.len();
            let mut query = self.queries[place].clone();
            query[..2].copy_from_slice(&(asked as u16).to_be_bytes());
            let oldest = self.served.load(SeqCst);
            let answer = exchange(&query)
                .with_context(|| format!("query {asked} after {:?}", started.elapsed()))?;
            let newest = self.told.load(SeqCst);
            let is_one =
                (oldest..=newest).any(|version| self.expected[version][place][2..] == answer[2..]);
            if !is_one {
                let read = |answer: &[u8]| Message::read(answer);
                let (said, old) = (read(&answer), read(&self.expected[oldest][place]));
                let new = read(&self.expected[newest][place]);
                bail!("versions {oldest} to {newest}: {said:?}\nold {old:?}\nnew {new:?}");
            }
            asked += 1;
        }
        Ok(asked)
    }
}

/// Asks one query over a connection.
fn ask_over_tcp(stream: &mut TcpStream, query: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], query].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
