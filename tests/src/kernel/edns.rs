//! EDNS options and DNS cookies as the programs in the kernel and the engine make them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use sealdns::{
    clock::WallTime,
    compile::{Engine, Image},
    datapath::memory::{Mapping, Size},
    dnssec::policy::Denial,
    server::{
        ResponseSettings, Served, ServedZone,
        responder::{Reply, respond},
        stats::{SocketStats, Transport},
    },
    transfer::{access::TransferAccess, notified::NotifySources},
    zone::{Version, Zone},
};
use testbed::frames::Frame;
use tests::{
    chance::Chance,
    dns::{Edns, HEADER_LEN, Message, Query},
    harness::Verdict,
    prog_test_run::Action,
    questions::questions,
    servers::{DEMO, signed},
};
use xdp_common::{
    Outcome, Scratch,
    cookie::ServerCookie,
    dns::query as dns_query,
    engine::{compose, exact, find, measure, options},
    frame::{Frame as _, SliceFrame},
    image::Store as _,
    maps::{self, address_words},
    state::Step,
};

use crate::{
    kernel::{self, Rig, TAGS, framed},
    wire::client::{self, WITH_DNSSEC},
};

const NSID: u16 = 3;
pub const COOKIE: u16 = 10;
const ZONEVERSION: u16 = 19;
pub const A: u16 = 1;

pub const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
pub const OTHER_SECRET: &str = "445536bcd2513298075a5d379663c962";
pub const CLIENT_COOKIE: u64 = 0x57c9_10cf_abc4_6424;

/// An option.
pub fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value].concat()
}

/// A query with an OPT record becomes one with these options in it.
pub fn with_options(mut query: Vec<u8>, options: &[u8]) -> Vec<u8> {
    let len_at = query.len() - 2;
    query[len_at..].copy_from_slice(&(options.len() as u16).to_be_bytes());
    query.extend(options);
    query
}

/// The options of a response, whose OPT record comes last and is the only record in its section whose owner
/// is the root.
pub fn options_of(response: &[u8]) -> Result<BTreeMap<u16, Vec<u8>>> {
    Message::read(response)?;
    for at in (HEADER_LEN..response.len().saturating_sub(10)).rev() {
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

pub fn secret(hex: &str) -> [u64; 2] {
    [0, 16].map(|at| u64::from_str_radix(&hex[at..at + 16], 16).unwrap_or_default().swap_bytes())
}

//----------- In the kernel --------------------------------------------------------------------------

/// How servers present themselves, more and less.
pub fn all_edns_settings() -> [maps::EdnsSettings; 4] {
    let secrets = [secret(SECRET), secret(OTHER_SECRET)];
    let none = maps::EdnsSettings::new();
    [
        maps::EdnsSettings { refuse: 1, ..none },
        maps::EdnsSettings { secrets, secret_count: 1, refuse: 1, ..none.with_nsid(b"odd") },
        maps::EdnsSettings { secrets, secret_count: 2, refuse: 1, ..none.with_nsid(b"node-1") },
        maps::EdnsSettings { secrets, secret_count: 2, refuse: 1, ..none.with_nsid(&[b'n'; 128]) },
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
pub fn served(rig: &Rig, zone: &Zone, edns: maps::EdnsSettings) -> Served {
    let apex = zone.apex().clone();
    let zone = ServedZone {
        zone: Some(Arc::new(Version::of(zone.clone()))),
        past: Arc::default(),
        access: TransferAccess::default(),
        notify_sources: NotifySources::default(),
        update_keys: Arc::default(),
        withholds: false,
    };
    let engine: Arc<dyn Engine> = rig.reader.clone();
    Served::new(
        engine,
        [(apex, zone)],
        ResponseSettings {
            identity: None,
            version: None,
            udp_payload: 1232,
            edns,
            tsig_keys: Arc::default(),
            notified: Arc::default(),
            updates: Arc::default(),
        },
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
        for edns_settings in all_edns_settings() {
            rig.loaded.edns_settings.write(&edns_settings);
            let plain = maps::EdnsSettings { refuse: 0, ..edns_settings };
            let daemons = [edns_settings, plain].map(|edns| served(&rig, &zone, edns));
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
        let line: Vec<String> = fates
            .iter()
            .map(|(&index, count)| format!("{count} {}", Outcome::ALL[index].word()))
            .collect();
        println!("  {}", line.join(", "));
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
pub fn message(query: &Query, client: IpAddr, now: u32, chance: &mut Chance) -> Vec<u8> {
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
    let opt_at = HEADER_LEN + query.name.len() + 4;
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
    // A new cookie says what time it is.
    let times = rig.times()?;
    for daemon in daemons {
        let expected = times.map(|now| said(daemon, asked, now));
        let is_said = expected.iter().flatten().any(|expected| *expected == reply);
        ensure!(is_said, "{outcome:?}\n{reply:02x?}\n{expected:02x?}");
    }
    // Every response to a query with EDNS has an OPT record, with whole options in it.
    options_of(&reply.payload)?;
    Ok(outcome)
}

/// What the daemon says at a time; `None` if nothing.
fn said(daemon: &Served, asked: &Frame, now: u32) -> Option<Frame> {
    let (stats, mut said) = (SocketStats::default(), Vec::new());
    let (message, client) = (&asked.payload, asked.source);
    let now = WallTime::from_seconds(now.into());
    let kind = respond(daemon, &stats, message, client, Transport::Udp, now, &mut said);
    matches!(kind, Reply::Response).then(|| asked.reply(said))
}

//----------- BADCOOKIE ------------------------------------------------------------------------------

/// What a limiter does to an answer that it does not send: the code, and a cookie to ask again with.
pub fn a_plan_becomes_badcookie_with_a_cookie() -> Result<Verdict> {
    const NOW: u32 = 1_700_000_000;
    let directory = tempfile::tempdir()?;
    let zone = signed(DEMO, Denial::Nsec, directory.path())?;
    let size = Size { slab: 16 << 20, buckets: 4096 };
    let memory = Mapping::anonymous(size)?;
    let mut image = Image::new(Arc::new(memory), 5);
    drop(image.publish(&zone)?);
    let store = image.reader();
    let client = address_words("192.0.2.1".parse()?);
    let edns_settings = maps::EdnsSettings {
        secrets: [secret(SECRET); 2],
        secret_count: 1,
        ..maps::EdnsSettings::new()
    };

    let cookie = option(COOKIE, &CLIENT_COOKIE.to_le_bytes());
    let query = with_options(client::query("www.example.org", A, WITH_DNSSEC), &cookie);
    let mut room = [0; 4096];
    room[..query.len()].copy_from_slice(&query);
    let mut frame = SliceFrame::new(&mut room, query.len());
    let mut scratch = Box::new(Scratch::new());
    let failed = |outcome: Outcome| anyhow!("{outcome:?}");
    dns_query::decode(&frame, 0, query.len(), store.seed(), || false, &mut scratch)
        .map_err(failed)?;
    scratch.plan.clear();
    let Scratch { query, plan, absence, name, cells, .. } = &mut *scratch;
    let found = find::question(&store, query, name, cells).context("damaged")?;
    let Step::At(found, context) = exact::first(query, plan, absence, found) else {
        bail!("absent")
    };
    exact::run(&store, query, plan, absence, cells, found, context).map_err(failed)?;
    scratch.layers.source = client;
    options::answer(&store, &mut scratch, &edns_settings, NOW).map_err(failed)?;
    ensure!((scratch.query.has_cookie, scratch.query.has_valid_cookie) == (1, 0));
    let Scratch { plan, absence, options, .. } = &mut *scratch;
    options::bad_cookie(plan, absence, options);
    let total = measure::measure(&store, &mut scratch, 1232, NOW).map_err(failed)?;
    let keep = compose::records_at(scratch.query.name_len as usize);
    frame.resize(total, keep).map_err(failed)?;
    compose::write(&store, &mut frame, 0, 1232, &mut scratch).context("not written")?;

    let message = Message::read(frame.octets())?;
    ensure!(message.rcode == 23 && message.answer.is_empty(), "{message:?}");
    ensure!(!message.is_authoritative(), "{message:?}");
    let made = ServerCookie::new(&secret(SECRET), CLIENT_COOKIE, client, NOW);
    let expected = [CLIENT_COOKIE, made.head, made.hash].map(u64::to_le_bytes).concat();
    ensure!(options_of(frame.octets())? == BTreeMap::from([(COOKIE, expected)]));
    Ok(Verdict::Passed)
}
