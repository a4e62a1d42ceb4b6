//! EDNS options and DNS cookies: from the programs in the kernel, from the daemon, from dig's point of view, and
//! beside other servers that have the same secret.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use sealdns::{
    dnssec::policy::Denial,
    server::{
        Engine, Manners, Served, ServedZone,
        responder::{Reply, respond},
        stats::{Stats, Transport},
    },
    zone::Zone,
};
use tests::{
    dns::{Edns, Message, Query},
    frames::Frame,
    harness::Verdict,
    net::{self, Process},
    oracle::{chance::Chance, questions::questions},
    prog_test_run::Action,
    servers::{DEMO, signed},
};
use xdp_common::{
    Outcome, Scratch,
    cookie::ServerCookie,
    dns::query as dns_query,
    engine::{compose, exact, find, options, plan},
    frame::{Frame as _, SliceFrame},
    image::Store as _,
    maps::{self, address_words},
};

use super::{
    kernel::{self, Rig, TAGS, framed},
    serving::{self, Client, PATIENCE, Settings, Stage, WITH_DNSSEC},
};

const NSID: u16 = 3;
const COOKIE: u16 = 10;
const ZONEVERSION: u16 = 19;
const A: u16 = 1;

const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const OTHER_SECRET: &str = "445536bcd2513298075a5d379663c962";
const CLIENT_COOKIE: u64 = 0x5710_c9ab_c464_24;

/// An option.
fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value].concat()
}

/// A query with an OPT record becomes one with these options in it.
fn with_options(mut query: Vec<u8>, options: &[u8]) -> Vec<u8> {
    let len_at = query.len() - 2;
    query[len_at..].copy_from_slice(&(options.len() as u16).to_be_bytes());
    query.extend(options);
    query
}

/// The options of a response, whose OPT record comes last and is the only record in its section whose owner
/// is the root.
fn options_of(response: &[u8]) -> Result<BTreeMap<u16, Vec<u8>>> {
    Message::read(response)?;
    for at in (12..response.len().saturating_sub(10)).rev() {
        let [0, 0, 41, ..] = response[at..] else { continue };
        let len = usize::from(u16::from_be_bytes([response[at + 9], response[at + 10]]));
        if at + 11 + len != response.len() {
            continue;
        }
        let (mut options, mut rest) = (BTreeMap::new(), &response[at + 11..]);
        while let [a, b, c, d, behind @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*c, *d]));
            let (value, others) = behind.split_at_checked(len).context("a cut option")?;
            let before = options.insert(u16::from_be_bytes([*a, *b]), value.to_vec());
            ensure!(before.is_none(), "an option twice");
            rest = others;
        }
        ensure!(rest.is_empty(), "a cut option");
        return Ok(options);
    }
    bail!("no OPT record at the end")
}

fn secret(hex: &str) -> [u64; 2] {
    [0, 16].map(|at| u64::from_str_radix(&hex[at..at + 16], 16).unwrap_or_default().swap_bytes())
}

//----------- In the kernel --------------------------------------------------------------------------

/// How servers present themselves, more and less.
fn all_manners() -> [maps::Manners; 4] {
    let secrets = [secret(SECRET), secret(OTHER_SECRET)];
    let none = maps::Manners::new();
    [
        maps::Manners { refuse: 1, ..none },
        maps::Manners { secrets, secret_count: 1, refuse: 1, ..none.with_nsid(b"odd") },
        maps::Manners { secrets, secret_count: 2, refuse: 1, ..none.with_nsid(b"node-1") },
        maps::Manners { secrets, secret_count: 2, refuse: 1, ..none.with_nsid(&[b'n'; 128]) },
    ]
}

/// Options that clients send, right and wrong; cookies are those of this client.
fn all_options(client: IpAddr, now: u32) -> Vec<Vec<u8>> {
    let mut all = vec![
        option(NSID, b""),
        option(NSID, b"ignored"),
        option(ZONEVERSION, b""),
        option(ZONEVERSION, &[1, 2, 3]),
        option(65001, b"unknown"),
        option(12, &[0; 99]),
        option(COOKIE, &[7; 8]),
        option(COOKIE, &[7; 16]),
        option(COOKIE, &[7; 24]),
        option(COOKIE, &[7; 40]),
    ];
    for (secret, age) in [
        (SECRET, 10),
        (SECRET, 1900),
        (SECRET, 4000),
        (SECRET, -200),
        (SECRET, -400),
        (OTHER_SECRET, 10),
        (OTHER_SECRET, 4000),
        ("00000000000000000000000000000001", 10),
    ] {
        let made_at = now.wrapping_add_signed(-age);
        let address = address_words(client);
        let server = ServerCookie::new(&self::secret(secret), CLIENT_COOKIE, address, made_at);
        let words = [CLIENT_COOKIE, server.head, server.hash];
        all.push(option(COOKIE, &words.map(u64::to_le_bytes).concat()));
    }
    all.extend([0, 1, 7, 9, 15, 41, 60].map(|len| option(COOKIE, &vec![1; len])));
    all
}

/// What the daemon's sockets serve over the same image.
fn served(rig: &Rig, zone: &Zone, said: maps::Manners) -> Served {
    let apex = zone.apex().clone();
    let zone = ServedZone { zone: Some(Arc::new(zone.clone())), allow_transfer: Vec::new() };
    let engine: Arc<dyn Engine> = rig.reader.clone();
    Served::new(
        engine,
        [(apex, zone)],
        Manners { identity: None, version: None, udp_payload: 1232, said },
    )
}

/// Any number of options up to eight on queries of all kinds, over both families, of all payload sizes: the
/// programs send what the daemon would, octet for octet; REFUSED too, which the daemon puts together by
/// other code.
pub fn options_are_those_of_the_daemon() -> Result<Verdict> {
    if let Some(obstacle) = kernel::obstacle() {
        return Ok(obstacle);
    }
    let directory = tempfile::tempdir()?;
    for denial in [Denial::Nsec, Denial::Nsec3 { opt_out: false }] {
        let zone = signed(DEMO, denial, directory.path())?;
        let mut rig = Rig::new(&zone)?;
        let mut chance = Chance(7);
        let mut fates = BTreeMap::new();
        for manners in all_manners() {
            rig.loaded.manners.write(&manners);
            let plain = maps::Manners { refuse: 0, ..manners };
            let daemons = [manners, plain].map(|said| served(&rig, &zone, said));
            let mut asked = questions(&zone, []);
            asked.extend(of_no_zone());
            for (index, query) in asked.iter().enumerate().filter(|(_, query)| query.edns.is_some())
            {
                let family = index % 2;
                let mut frame = framed(Vec::new(), family, TAGS[index % TAGS.len()])?;
                frame.payload = message(query, frame.source.ip(), rig.now, &mut chance);
                let outcome = compare(&mut rig, &frame, &daemons)
                    .with_context(|| format!("{query:?} {:02x?}", frame.payload))?;
                *fates.entry(outcome.index()).or_insert(0u32) += 1;
            }
        }
        let told: Vec<String> = fates
            .iter()
            .map(|(&index, count)| format!("{count} {}", Outcome::ALL[index].word()))
            .collect();
        println!("  {}", told.join(", "));
        use Outcome::{BadVersion, FormErr, Miss, Nodata, Nxdomain, Positive, Referral, Refused};
        for outcome in
            [Positive, Nodata, Referral, Nxdomain, Outcome::Truncated, Refused, FormErr, BadVersion]
        {
            ensure!(fates.contains_key(&outcome.index()), "not one {}", outcome.word());
        }
        ensure!(!fates.contains_key(&Miss.index()), "XDP left some to the daemon");
    }
    Ok(Verdict::Passed)
}

fn of_no_zone() -> impl Iterator<Item = Query> {
    (1..40).map(|len| Query {
        name: [&[len][..], &vec![b'n'; len.into()], b"\x07example\x03net\0"].concat(),
        rtype: A,
        edns: Some(Edns { payload: 1232, dnssec_ok: len % 2 == 0 }),
    })
}

/// The query with options, a payload size and a version by chance.
fn message(query: &Query, client: IpAddr, now: u32, chance: &mut Chance) -> Vec<u8> {
    let all = all_options(client, now);
    let mut throw = |sides: usize| chance.throw(sides as u64) as usize;
    let count = throw(9);
    let mut options = Vec::new();
    let mut has_cookie = false;
    for _ in 0..count {
        // Malformed cookies come last and seldom, or nothing else would be answered.
        let place = throw(all.len());
        let is_cookie = all[place][..2] == COOKIE.to_be_bytes();
        let is_malformed = is_cookie && !matches!(all[place].len() - 4, 8 | 16..=40);
        if is_malformed && !has_cookie && throw(4) != 0 {
            continue;
        }
        has_cookie |= is_cookie;
        options.extend(&all[place]);
    }
    let mut message = with_options(query.message(0x1234), &options);
    let opt_at = 12 + query.name.len() + 4;
    let payload = [1232u16, 512, 700, 0, 65535][throw(5)];
    message[opt_at + 3..opt_at + 5].copy_from_slice(&payload.to_be_bytes());
    message[opt_at + 6] = u8::from(throw(16) == 0);
    message
}

/// Asks the kernel once, and each daemon.
fn compare(rig: &mut Rig, asked: &Frame, daemons: &[Served]) -> Result<Outcome> {
    let octets = asked.encode()?;
    let (run, outcome) = rig.run_counted(&octets)?;
    if run.action == Action::Pass {
        ensure!(run.frame == octets, "changed, though passed");
        ensure!(outcome == Outcome::MetaType, "{outcome:?}");
        return Ok(outcome);
    }
    ensure!(run.action == Action::Tx, "{:?}", run.action);
    let reply = Frame::decode(&run.frame)?;
    for daemon in daemons {
        let (stats, mut said) = (Stats::default(), Vec::new());
        let (client, now) = (asked.source, rig.now);
        let kind = respond(daemon, &stats, &asked.payload, client, Transport::Udp, now, &mut said);
        ensure!(matches!(kind, Reply::Response), "the daemon says nothing");
        let expected = asked.reply(said);
        ensure!(reply == expected, "{outcome:?}\n{reply:02x?}\n{expected:02x?}");
    }
    // Every response to a query with EDNS has an OPT record, with whole options in it.
    options_of(&reply.payload)?;
    Ok(outcome)
}

//----------- BADCOOKIE ------------------------------------------------------------------------------

/// What a limiter does to an answer that it does not send: the code, and a cookie to ask again with.
pub fn a_plan_becomes_badcookie_with_a_cookie() -> Result<Verdict> {
    const NOW: u32 = 1_700_000_000;
    let directory = tempfile::tempdir()?;
    let zone = signed(DEMO, Denial::Nsec, directory.path())?;
    let size = sealdns::datapath::memory::Size { slab: 16 << 20, buckets: 4096 };
    let memory = sealdns::datapath::memory::Mapping::anonymous(size)?;
    let mut image = sealdns::compile::Image::new(Arc::new(memory), 5);
    drop(image.publish(&zone)?);
    let store = image.reader();
    let client = address_words("192.0.2.1".parse()?);
    let manners =
        maps::Manners { secrets: [secret(SECRET); 2], secret_count: 1, ..maps::Manners::new() };

    let cookie = option(COOKIE, &CLIENT_COOKIE.to_le_bytes());
    let query = with_options(serving::query("www.example.org", A, WITH_DNSSEC), &cookie);
    let mut room = [0; 4096];
    room[..query.len()].copy_from_slice(&query);
    let mut frame = SliceFrame::new(&mut room, query.len());
    let mut scratch = Box::new(Scratch::new());
    let failed = |outcome: Outcome| anyhow::anyhow!("{outcome:?}");
    dns_query::decode(&frame, 0, query.len(), store.seed(), &mut scratch).map_err(failed)?;
    scratch.plan.clear();
    let found = find::question(&store, &mut scratch).context("damaged")?;
    let exact::Step::At(found, context) = exact::first(&mut scratch, found) else {
        bail!("absent")
    };
    exact::run(&store, &mut scratch, found, context).map_err(failed)?;
    scratch.layers.source = client;
    options::answer(&store, &mut scratch, &manners, NOW).map_err(failed)?;
    ensure!((scratch.query.has_cookie, scratch.query.has_valid_cookie) == (1, 0));
    options::bad_cookie(&mut scratch);
    let total = plan::measure(&store, &mut scratch, 1232, NOW).map_err(failed)?;
    let keep = compose::records_at(scratch.query.name_len as usize);
    frame.resize(total, keep).context("no room")?;
    compose::write(&store, &mut frame, 0, 1232, &mut scratch).context("not written")?;

    let message = Message::read(frame.octets())?;
    ensure!(message.rcode == 23 && message.answer.is_empty(), "{message:?}");
    ensure!(!message.is_authoritative(), "{message:?}");
    let made = ServerCookie::new(&secret(SECRET), CLIENT_COOKIE, client, NOW);
    let expected = [CLIENT_COOKIE, made.head, made.hash].map(u64::to_le_bytes).concat();
    ensure!(options_of(frame.octets())? == BTreeMap::from([(COOKIE, expected)]));
    Ok(Verdict::Passed)
}

//----------- The daemon as it is run ----------------------------------------------------------------

fn cookies(more: &str) -> String {
    format!("[cookies]\n{more}\n")
}

/// A stage whose daemon has an identifier and a secret. With the client there is a program at its end, without
/// which veth does not deliver what XDP sends back.
fn stage(test: &str, sections: &str) -> Result<(Client, Stage)> {
    let settings = Settings { server: "nsid = \"node-1\"\n", sections, ..Settings::default() };
    let stage = Stage::with_settings(&settings, test, &ZONES)?;
    Ok((Client::new(&stage.pair)?, stage))
}

const ZONES: [serving::Section<'_>; 1] = [(DEMO.0, DEMO.1, "")];

/// Answers sent without the daemon.
fn sent(stage: &Stage) -> Result<u64> {
    Ok(stage.sent_by_xdp()? + stage.sent_by_tcx()?)
}

/// What dig or kdig prints, asked from the client's end over both families in turn, and whether it came
/// without the daemon.
fn dig(stage: &Stage, program: &str, family: usize, arguments: &str) -> Result<(String, bool)> {
    let before = sent(stage)?;
    let mut command = Command::new(program);
    command.args(["-b", &serving::client(family)?.to_string()]);
    command.arg(format!("@{}", serving::server(family)?.ip()));
    command.args(arguments.split_whitespace());
    let output = stage.pair.client.output(&mut command, PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((said, sent(stage)? == before + 1))
}

/// The value of what dig prints after `; COOKIE: `.
fn printed_cookie(said: &str) -> Result<&str> {
    let (_, rest) = said.split_once("; COOKIE: ").with_context(|| format!("no cookie: {said}"))?;
    rest.split_whitespace().next().context("no cookie")
}

/// What clients see: each option as dig understands it, and never the daemon's answer.
pub fn dig_gets_its_options_without_the_daemon() -> Result<Verdict> {
    if let Some(obstacle) = serving::obstacle() {
        return Ok(obstacle);
    }
    let (_client, stage) = stage("options", &cookies(&format!("secret = \"{SECRET}\"")))?;
    for family in 0..2 {
        let ask = |arguments: &str| -> Result<String> {
            let name = if arguments.contains("example") { "" } else { "www.example.org A " };
            let (said, is_without) = dig(&stage, "dig", family, &format!("{name}{arguments}"))?;
            ensure!(is_without, "{arguments}: the daemon answered: {said}");
            Ok(said)
        };
        for (arguments, expected) in [
            ("+nsid", &["NOERROR", "; NSID: 6e 6f 64 65 2d 31"][..]),
            ("+ednsopt=65001:abcd +nocookie", &["NOERROR", "EDNS: version: 0, flags:; udp: 1232"]),
            ("+dnssec +nocookie", &["flags: do; udp: 1232", "RRSIG"]),
            // Two labels, a SOA's serial.
            ("+ednsopt=19 +nocookie", &["NOERROR", "OPT=19: 02 00 "]),
            ("nobody.example.org +dnssec +ednsopt=19", &["NXDOMAIN", "OPT=19: 02 00 "]),
            ("partner.example.org +ednsopt=19", &["NOERROR", "OPT=19: 02 00 "]),
            ("+edns=1 +noednsnegotiation +nocookie", &["BADVERS", "version: 0"]),
            ("+cookie=0011", &["FORMERR"]),
            (
                "www.example.net +nsid",
                &["REFUSED", "EDE: 20 (Not Authoritative)", "(good)", "node-1"],
            ),
        ] {
            let said = ask(arguments)?;
            for expected in expected {
                ensure!(said.contains(expected), "{arguments}: no {expected:?} in {said}");
            }
            let is_quiet = !said.contains("OPT=65001")
                && said.contains("; COOKIE:") != arguments.contains("cookie");
            ensure!(is_quiet, "{arguments}: {said}");
        }
        let first = ask("+cookie=0123456789abcdef")?;
        ensure!(first.contains("(good)"), "{first}");
        let cookie = printed_cookie(&first)?;
        thread::sleep(Duration::from_millis(1100));
        let second = ask(&format!("+cookie={cookie}"))?;
        ensure!(printed_cookie(&second)? == cookie, "{second}");
        let invalid = ask(&format!("+cookie={}", cookie.replace("01000000", "02000000")))?;
        ensure!(printed_cookie(&invalid)? != cookie, "{invalid}");

        let (said, is_without) =
            dig(&stage, "kdig", family, "www.example.org A +cookie=0123456789abcdef +nsid")?;
        ensure!(is_without && said.contains("node-1"), "{said}");
        ensure!(said.to_lowercase().contains("0123456789abcdef01000000"), "{said}");
    }
    Ok(Verdict::Passed)
}

/// Names of no zone: refused in XDP, unless it is told to pass them on, and not while one of the daemon's
/// zones is missing.
pub fn names_of_no_zone_are_refused_where_it_is_told() -> Result<Verdict> {
    if let Some(obstacle) = serving::obstacle() {
        return Ok(obstacle);
    }
    let broken = ("broken.example", "no zone\n", "");
    for (xdp, zones, from_xdp) in [
        ("", &ZONES[..], true),
        ("refuse = \"off\"\n", &ZONES[..], false),
        ("refuse = \"on\"\n", &ZONES[..], true),
        ("refuse = \"on\"\n", &[ZONES[0], broken][..], false),
    ] {
        let stage =
            Stage::with_settings(&Settings { xdp, ..Settings::default() }, "refuse", zones)?;
        let client = Client::new(&stage.pair)?;
        let before = sent(&stage)?;
        let asked = serving::query("www.example.net", A, WITH_DNSSEC);
        let refused = stage.pair.client.enter(|| client.send(0, &asked))??;
        let over_tcp =
            stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&[asked.clone()]))??;
        ensure!(Message::read(&refused)?.rcode == 5, "{refused:02x?}");
        ensure!(options_of(&refused)? == BTreeMap::from([(15, vec![0, 20])]), "{refused:02x?}");
        ensure!(refused[2..] == over_tcp[0][2..], "{refused:02x?} {over_tcp:02x?}");
        ensure!(sent(&stage)? - before == u64::from(from_xdp), "{xdp} {}", zones.len());
        if zones.len() > 1 {
            let asked = serving::query("www.broken.example", A, WITH_DNSSEC);
            let failed = stage.pair.client.enter(|| client.send(0, &asked))??;
            ensure!(Message::read(&failed)?.rcode == 2, "{failed:02x?}");
        }
    }
    Ok(Verdict::Passed)
}

/// Asks from the client's end, for the demo's `www` with these options.
fn ask(stage: &Stage, to: SocketAddr, options: &[u8]) -> Result<(u16, BTreeMap<u16, Vec<u8>>)> {
    let query = with_options(serving::query("www.example.org", A, WITH_DNSSEC), options);
    let response = stage.pair.client.enter(|| -> Result<Vec<u8>> {
        let family = usize::from(to.is_ipv6());
        let socket = UdpSocket::bind(SocketAddr::new(serving::client(family)?, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        socket.connect(to)?;
        socket.send(&query)?;
        let mut buffer = vec![0; 4096];
        let len = socket.recv(&mut buffer).context("no answer")?;
        buffer.truncate(len);
        Ok(buffer)
    })??;
    Ok((Message::read(&response)?.rcode, options_of(&response)?))
}

/// Asks with a cookie and gives the one that comes back.
fn exchange(stage: &Stage, to: SocketAddr, cookie: &[u8]) -> Result<(u16, Vec<u8>)> {
    let (rcode, options) = ask(stage, to, &option(COOKIE, cookie))?;
    Ok((rcode, options.get(&COOKIE).context("no cookie")?.clone()))
}

/// Servers of one address accept each other's cookies (RFC 9018): BIND's and Knot's that want one, with the
/// secret of ours; and not with another.
pub fn cookies_are_those_of_named_and_knotd() -> Result<Verdict> {
    if let Some(obstacle) = serving::obstacle() {
        return Ok(obstacle);
    }
    const NOERROR: u16 = 0;
    const BADCOOKIE: u16 = 23;
    let (_client, stage) = stage("peers", &cookies(&format!("secret = \"{SECRET}\"")))?;
    let zone = stage.folder.path().join("example.org.zone");
    let peers = [
        (named(&stage, &zone, SECRET, 5301)?, 5301, true),
        (knotd(&stage, &zone, SECRET, 5302)?, 5302, true),
        (named(&stage, &zone, OTHER_SECRET, 5303)?, 5303, false),
        (knotd(&stage, &zone, OTHER_SECRET, 5304)?, 5304, false),
    ];
    for family in 0..2 {
        for (peer, port, is_of_our_secret) in &peers {
            let what = || format!("port {port}, family {family}: {}", peer.said());
            let ours = serving::server(family)?;
            let theirs = SocketAddr::new(ours.ip(), *port);
            let client = CLIENT_COOKIE.to_le_bytes();
            let before = sent(&stage)?;
            let (rcode, from_us) = exchange(&stage, ours, &client)?;
            ensure!(rcode == NOERROR && from_us.len() == 24);
            let (rcode, from_them) = exchange(&stage, theirs, &client).with_context(what)?;
            ensure!(rcode == BADCOOKIE && from_them.len() == 24, "{}", what());
            // So that a new one differs.
            thread::sleep(Duration::from_millis(1100));
            let (rcode, _) = exchange(&stage, theirs, &from_us)?;
            ensure!(rcode == if *is_of_our_secret { NOERROR } else { BADCOOKIE }, "{}", what());
            let (rcode, answered) = exchange(&stage, ours, &from_them)?;
            ensure!(rcode == NOERROR, "{}", what());
            ensure!((answered == from_them) == *is_of_our_secret, "{}", what());
            ensure!(sent(&stage)? == before + 2, "the daemon answered");
        }
    }
    Ok(Verdict::Passed)
}

/// BIND's name server at the daemon's addresses on a port of its own, which answers nobody without a cookie.
fn named(stage: &Stage, zone: &Path, secret: &str, port: u16) -> Result<Process> {
    let here = stage.folder.path().join(format!("named-{port}"));
    fs::create_dir(&here)?;
    let addresses = [serving::server(0)?.ip(), serving::server(1)?.ip()];
    let mut config = format!(
        "options {{\n  directory \"{0}\";\n  pid-file none;\n  session-keyfile none;\n  recursion no;\n  \
         listen-on port {port} {{ {1}; }};\n  listen-on-v6 port {port} {{ {2}; }};\n  \
         cookie-algorithm siphash24;\n  cookie-secret \"{secret}\";\n  require-server-cookie yes;\n}};\n\
         controls {{ }};\n",
        here.display(),
        addresses[0],
        addresses[1],
    );
    writeln!(config, "zone \"example.org\" {{ type primary; file \"{}\"; }};", zone.display())?;
    let path = here.join("named.conf");
    fs::write(&path, config)?;
    let binary = net::find_program("named").context("no named: `cargo xtask setup`")?;
    let mut command = Command::new(binary);
    command.args(["-g", "-n", "1", "-c"]).arg(&path);
    let mut process = stage.pair.server.spawn("named", &mut command)?;
    process.wait_for_line(PATIENCE, |line| line.trim_end().ends_with(" running"))?;
    Ok(process)
}

/// Knot's.
fn knotd(stage: &Stage, zone: &Path, secret: &str, port: u16) -> Result<Process> {
    let here = stage.folder.path().join(format!("knotd-{port}"));
    fs::create_dir(&here)?;
    let addresses = [serving::server(0)?.ip(), serving::server(1)?.ip()];
    let here_text = here.display();
    let config = format!(
        "server:\n  listen: [ {}@{port}, {}@{port} ]\n  rundir: {here_text}\n  pidfile: {here_text}/pid\n  \
         udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {here_text}/db\nlog:\n  - target: stderr\n    any: info\n\
         mod-cookies:\n  - id: default\n    secret: 0x{secret}\n    badcookie-slip: 1\n\
         template:\n  - id: default\n    global-module: mod-cookies/default\n\
         zone:\n  - domain: example.org\n    file: {}\n    zonefile-sync: -1\n    journal-content: none\n",
        addresses[0],
        addresses[1],
        zone.display()
    );
    let path = here.join("knotd.conf");
    fs::write(&path, config)?;
    let binary = net::find_program("knotd").context("no knotd: `cargo xtask setup`")?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&path);
    let mut process = stage.pair.server.spawn("knotd", &mut command)?;
    process.wait_for_line(PATIENCE, |line| line.contains("server started"))?;
    Ok(process)
}

/// SIGHUP reads the file of secrets again: the new one makes cookies, the old one's stay good; a file that
/// others may read changes nothing.
pub fn secrets_are_exchanged_by_reloads() -> Result<Verdict> {
    if let Some(obstacle) = serving::obstacle() {
        return Ok(obstacle);
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cookie.secret");
    let write = |text: &str, mode| -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        fs::write(&file, text)?;
        Ok(fs::set_permissions(&file, PermissionsExt::from_mode(mode))?)
    };
    write(&format!("{SECRET}\n"), 0o600)?;
    let (_client, mut stage) =
        stage("secrets", &cookies(&format!("secret-file = \"{}\"", file.display())))?;
    let ours = serving::server(0)?;
    let client = address_words(serving::client(0)?);
    let is_of = |cookie: &[u8], secret_text: &str| -> Result<bool> {
        let word = |at: usize| cookie[at..at + 8].try_into().map(u64::from_le_bytes);
        let server = ServerCookie { head: word(8)?, hash: word(16)? };
        Ok(server.is_of(&secret(secret_text), CLIENT_COOKIE, client))
    };
    let (_, old) = exchange(&stage, ours, &CLIENT_COOKIE.to_le_bytes())?;
    ensure!(is_of(&old, SECRET)?, "{old:02x?}");

    let mut reloads = 0;
    let mut reload = |stage: &mut Stage| -> Result<()> {
        reloads += 1;
        stage.server.process.signal(Signal::SIGHUP)?;
        let process = &stage.server.process;
        let reloaded = || process.said().matches("reloaded zones=1").count() == reloads;
        net::wait_until("the secrets are read", PATIENCE, reloaded).with_context(|| process.said())
    };
    write(&format!("{OTHER_SECRET}\n{SECRET}\n"), 0o600)?;
    reload(&mut stage)?;
    let (_, new) = exchange(&stage, ours, &old)?;
    ensure!(is_of(&new, OTHER_SECRET)?, "{new:02x?}");
    let (_, again) = exchange(&stage, ours, &new)?;
    ensure!(again == new, "{again:02x?}");
    // Over TCP it is the daemon that says so.
    let query =
        with_options(serving::query("www.example.org", A, WITH_DNSSEC), &option(COOKIE, &new));
    let over_tcp = stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&[query]))??;
    ensure!(options_of(&over_tcp[0])?.get(&COOKIE) == Some(&new), "{over_tcp:02x?}");

    write(&format!("{SECRET}\n"), 0o644)?;
    reload(&mut stage)?;
    stage.server.process.wait_for_line(PATIENCE, |line| line.contains("has mode 0644"))?;
    let (_, still) = exchange(&stage, ours, &new)?;
    ensure!(still == new, "{still:02x?}");
    Ok(Verdict::Passed)
}
