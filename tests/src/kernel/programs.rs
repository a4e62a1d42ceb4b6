//! What the programs answer, and what becomes of each kind of frame.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aya::programs::Xdp;
use sealdns::{
    clock::WallTime,
    datapath::object,
    dnssec::policy::Denial,
    zone::{Rtype, Zone},
};
use testbed::{
    frames::{ETHERNET_LEN, Frame, IPV4_LEN, IPV6_LEN, UDP_LEN},
    net,
};
use tests::{
    dns::{Edns, HEADER_LEN, Query},
    harness::Verdict,
    prog_test_run::{self, Action},
    questions::questions,
    servers::{CORNER, DEMO, DENIALS, signed},
};
use xdp_common::{Outcome, image::bounds, maps::EdnsSettings};

use super::{
    CLIENTS, Rig, SERVERS, SHORT, TAGS, at_the_limits, compare_one, framed, obstacle, question,
    unsigned,
};
use crate::{oracle::salted, wire::stage::PATIENCE};

/// Where the headers of an untagged IPv4 frame start.
const IP: usize = ETHERNET_LEN;
const UDP: usize = IP + IPV4_LEN;
const DNS: usize = UDP + UDP_LEN;

/// Every program of the object in the binary passes the verifier, with its lines of source and without DWARF.
pub fn the_object_loads() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let object = object::object()?;
    let has = |section: &[u8]| object.windows(section.len()).any(|octets| octets == section);
    ensure!(!has(b".debug_"), "the object in the binary has DWARF");
    ensure!(has(b".BTF.ext"), "the object in the binary has no lines of source");
    let ebpf = prog_test_run::load(object)?;
    ensure!(ebpf.program("serve").is_some(), "there is no program \"serve\"");
    Ok(Verdict::Passed)
}

/// What is not for us reaches the network stack, octet for octet.
pub fn a_foreign_frame_passes() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let ebpf = prog_test_run::load(object::object()?)?;
    let serve: &Xdp = ebpf.program("serve").context("there is no program \"serve\"")?.try_into()?;
    let frame = Frame {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        tags: Vec::new(),
        source: "192.0.2.1:5353".parse()?,
        destination: "192.0.2.2:4242".parse()?,
        ttl: 64,
        payload: b"not for port 53".to_vec(),
    }
    .encode()?;
    let run = prog_test_run::run(serve, &frame, 1)?;
    ensure!(run.action == Action::Pass, "{:?}", run.action);
    ensure!(run.frame == frame, "the frame was changed");
    Ok(Verdict::Passed)
}

/// Names that exist, at all depths, and names around them, with the types they have and others: what XDP
/// sends is what the daemon would say, octet for octet, in a frame whose headers and checksums are right.
/// Of the demo's zone it sends all, of the zone of the corners what its bounds allow.
pub fn xdp_answers_as_the_daemon_does() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let directory = tempfile::tempdir()?;
    for (zone, may_pass) in [(DEMO, false), (SHORT, false), (CORNER, true)] {
        for denial in DENIALS.map(Some).into_iter().chain([None]) {
            let (kind, zone) = match denial {
                Some((kind, denial)) => (kind, signed(zone, denial, directory.path())?),
                None => ("nothing", unsigned(zone)?),
            };
            let summary = compare_with_daemon(&zone, may_pass)
                .with_context(|| format!("{} signed with {kind}", zone.apex()))?;
            println!("  {} signed with {kind}: {summary}", zone.apex());
        }
    }
    Ok(Verdict::Passed)
}

/// NSEC3 with a salt: as long as XDP hashes it, it answers as the daemon does, and what is longer or iterated is the
/// daemon's, under a name of its own.
pub fn xdp_hashes_salts_and_leaves_iterations() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for tool in ["dnssec-signzone", "ldns-signzone", "dnssec-keygen"] {
        if testbed::net::find_program(tool).is_none() {
            return Ok(Verdict::Skipped(format!("{tool} is not installed: `cargo xtask setup`")));
        }
    }
    let directory = tempfile::tempdir()?;
    for way in salted::ways() {
        let zone = salted::signed(way, directory.path())?;
        let is_left = way.iterations > 0 || way.salt > bounds::MAX_SALT;
        let (mut rig, mut left) = (Rig::new(&zone)?, 0);
        for (index, query) in questions(&zone, []).iter().enumerate() {
            let asked = framed(query.message(index as u16), index % 2, TAGS[index % TAGS.len()])?;
            let outcome =
                compare_one(&mut rig, &asked).with_context(|| format!("{way:?}: {query:?}"))?;
            let is_by_rule = matches!(outcome, Outcome::MetaType | Outcome::NotOurs)
                || (is_left && outcome == Outcome::Hashing);
            ensure!(outcome.is_answered() || is_by_rule, "{way:?}: {query:?}: {outcome:?}");
            left += usize::from(outcome == Outcome::Hashing);
        }
        ensure!((left > 0) == is_left, "{way:?}: {left} were left to the daemon");
    }
    Ok(Verdict::Passed)
}

fn compare_with_daemon(zone: &Zone, may_pass: bool) -> Result<String> {
    let mut rig = Rig::new(zone)?;
    let mut queries = questions(zone, []);
    queries.extend(at_the_limits(zone));
    let mut fates = BTreeMap::new();
    for (index, query) in queries.iter().enumerate() {
        let asked = framed(query.message(index as u16), index % 2, TAGS[index % TAGS.len()])?;
        let what = || format!("{query:?}");
        let outcome = compare_one(&mut rig, &asked).with_context(what)?;
        let is_passed_by_rule = matches!(outcome, Outcome::MetaType | Outcome::NotOurs)
            || (may_pass && outcome == Outcome::Miss);
        ensure!(outcome.is_answered() || is_passed_by_rule, "{}: {outcome:?}", what());
        *fates.entry(outcome.index()).or_insert(0u32) += 1;
    }
    let expected = [Outcome::Positive, Outcome::Referral, Outcome::Wildcard, Outcome::Nxdomain];
    let is_redirecting = zone.owners().any(|owner| owner.rrset(Rtype::DNAME).is_some());
    for outcome in expected.into_iter().chain(is_redirecting.then_some(Outcome::Dname)) {
        ensure!(fates.contains_key(&outcome.index()), "not one {}", outcome.word());
    }
    let passed = fates.iter().filter(|(index, _)| !Outcome::ALL[**index].is_answered());
    let passed: u32 = passed.map(|(_, count)| count).sum();
    ensure!(passed as usize * 20 < queries.len(), "{passed} of {} passed up", queries.len());
    let line: Vec<String> = fates
        .iter()
        .map(|(&index, count)| format!("{count} {}", Outcome::ALL[index].word()))
        .collect();
    Ok(line.join(", "))
}

/// Outcomes that take more than a frame and the demo's zone, and the test in which each is met.
const MET_ELSEWHERE: [(Outcome, &str); 14] = [
    (Outcome::Dname, "kernel::programs, by questions"),
    (Outcome::Slipped, "kernel::limiting"),
    (Outcome::Limited, "kernel::limiting"),
    (Outcome::Blocked, "kernel::limiting"),
    (Outcome::BroadcastSource, "kernel::foul"),
    (Outcome::MappedAddress, "kernel::foul"),
    (Outcome::SourceMac, "kernel::foul"),
    (Outcome::IpLength, "kernel::foul"),
    (Outcome::Expired, "kernel::programs::signatures_expire_without_a_daemon"),
    (Outcome::Hashing, "kernel::programs, by salts"),
    (Outcome::NoRoom, "kernel::room"),
    (Outcome::Oversize, "the daemon's alone: unit messages, oracle::answers"),
    (Outcome::Broken, "never, of an image that is whole: kernel::room"),
    (Outcome::Torn, "never: kernel::room, kernel::random"),
];

/// Fates that a frame meets: the frame, the counter, the verdict; what is passed is unchanged. Of each outcome there is
/// a frame here, or it is said where it is met.
pub fn each_outcome_has_its_frame() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut rig = Rig::of_demo(Denial::Nsec)?;
    let name = |labels: &str| {
        let mut wire = Vec::new();
        for label in labels.split('.') {
            wire.push(label.len() as u8);
            wire.extend(label.as_bytes());
        }
        wire.push(0);
        wire
    };
    let www = name("www.example.org");
    let good = question(&www, 1, Some(true));
    let encoded = |payload: Vec<u8>| framed(payload, 0, &[])?.encode();
    let base = encoded(good.clone())?;
    // The same frame with some octets changed; checksums are not made right again.
    let with = |changes: &[(usize, u8)]| {
        let mut frame = base.clone();
        for &(at, octet) in changes {
            frame[at] = octet;
        }
        frame
    };
    // The same message with some octets changed, in a right frame.
    let message = |changes: &[(usize, u8)]| {
        let mut payload = good.clone();
        for &(at, octet) in changes {
            payload[at] = octet;
        }
        encoded(payload)
    };
    let with_options = |options: &[u8]| {
        let mut payload = good.clone();
        let len_at = payload.len() - 2;
        payload[len_at..].copy_from_slice(&(options.len() as u16).to_be_bytes());
        payload.extend(options);
        payload
    };
    let from = |source: &str, destination: &str| {
        let mut frame = framed(good.clone(), 0, &[])?;
        frame.source = source.parse()?;
        frame.destination = destination.parse()?;
        frame.encode()
    };
    let mut without_checksum = base.clone();
    without_checksum[UDP + 6..UDP + 8].fill(0);
    let mut v6_without_checksum = framed(good.clone(), 1, &[])?.encode()?;
    let v6_udp = IP + IPV6_LEN;
    v6_without_checksum[v6_udp + 6..v6_udp + 8].fill(0);
    let mut many = good[..HEADER_LEN].to_vec();
    many.extend([63u8; 1].iter().chain(&[b'a'; 63]).cycle().take(64 * 3));
    many.extend(name("www.example.org"));
    many.extend([0, 1, 0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0]);
    many.extend([0x04, 0x00]);
    many.extend([0, 12, 0x03, 0xfc]);
    many.resize(many.len() + 1020, 0);
    // A payload size of 512, which the text fits, but not with its signature.
    let mut small = question(&name("long.example.org"), 16, Some(true));
    let size_at = small.len() - 8;
    small[size_at..size_at + 2].copy_from_slice(&[2, 0]);
    let frames: Vec<(Outcome, Vec<u8>)> = vec![
        (Outcome::Positive, base.clone()),
        (Outcome::Positive, without_checksum),
        (Outcome::Nodata, encoded(question(&www, 15, Some(true)))?),
        (Outcome::Referral, encoded(question(&name("partner.example.org"), 1, Some(true)))?),
        (Outcome::Truncated, encoded(small)?),
        (Outcome::NotIp, with(&[(13, 0x06)])),
        (Outcome::IpOptions, with(&[(IP, 0x46)])),
        (Outcome::Fragment, with(&[(IP + 6, 0x20)])),
        (Outcome::Fragment, with(&[(IP + 7, 1)])),
        (Outcome::NotUdp, with(&[(IP + 9, 6)])),
        (Outcome::NotOurPort, from(CLIENTS[0], "198.51.100.2:54")?),
        (Outcome::NotOurAddress, from(CLIENTS[0], "198.51.100.3:53")?),
        (Outcome::NotOurAddress, with(&[(5, 9)])),
        (Outcome::BadSource, from("127.0.0.1:5353", SERVERS[0])?),
        (Outcome::BadSource, from("224.0.0.251:5353", SERVERS[0])?),
        (Outcome::BadSource, from(SERVERS[0], SERVERS[0])?),
        (Outcome::BadChecksum, with(&[(IP + 10, !base[IP + 10])])),
        (Outcome::BadChecksum, with(&[(UDP + 6, !base[UDP + 6])])),
        (Outcome::BadChecksum, v6_without_checksum),
        (Outcome::TooLong, encoded(many)?),
        (Outcome::Opcode, message(&[(2, 0x28)])?),
        (Outcome::Counts, message(&[(5, 2)])?),
        (Outcome::Counts, message(&[(7, 1)])?),
        (Outcome::Class, message(&[(HEADER_LEN + www.len() + 3, 3)])?),
        (Outcome::Malformed, message(&[(HEADER_LEN, 0xc0)])?),
        (Outcome::Malformed, message(&[(good.len() - 1, 9)])?),
        (Outcome::Positive, encoded(question(&www, 255, None))?),
        (Outcome::MetaType, encoded(question(&www, 251, None))?),
        (Outcome::MetaType, encoded(question(&www, 252, None))?),
        (Outcome::Wildcard, encoded(question(&name("any.apps.example.org"), 1, Some(true)))?),
        (Outcome::Nxdomain, encoded(question(&name("nobody.example.org"), 1, Some(true)))?),
        (Outcome::BadVersion, message(&[(good.len() - 5, 1)])?),
        (Outcome::Miss, encoded(with_options(&[[0xfd, 0xe9, 0, 0]; 9].concat()))?),
        (Outcome::Response, message(&[(2, 0x80)])?),
        (Outcome::SourcePort, from("198.51.100.1:0", SERVERS[0])?),
        (Outcome::BadLength, with(&[(UDP + 4, 0x40)])),
        (Outcome::NotOurs, encoded(question(&name("www.example.net"), 1, Some(true)))?),
    ];
    let cookies = EdnsSettings { secret_count: 1, refuse: 1, ..EdnsSettings::new() };
    let with_manners: Vec<(Outcome, Vec<u8>)> = vec![
        (Outcome::Refused, encoded(question(&name("www.example.net"), 1, Some(true)))?),
        (Outcome::FormErr, encoded(with_options(&[0, 10, 0, 1, 7]))?),
        (Outcome::Malformed, encoded(with_options(&[0, 10, 0, 2, 7]))?),
    ];
    ensure!(base[DNS..] == good[..], "the message is not where the table has it");
    let edns_settings = [EdnsSettings::new(), cookies];
    let frames = [frames, with_manners].into_iter().zip(edns_settings);
    let frames = frames.flat_map(|(frames, edns_settings)| {
        frames.into_iter().map(move |(outcome, frame)| (outcome, frame, edns_settings))
    });
    let mut met: Vec<Outcome> = MET_ELSEWHERE.iter().map(|(outcome, _)| *outcome).collect();
    for (outcome, frame, edns_settings) in frames {
        met.push(outcome);
        rig.loaded.edns_settings.write(&edns_settings);
        let (run, counted) = rig.run_counted(&frame)?;
        ensure!(counted == outcome, "expected {}: {}", outcome.word(), counted.word());
        let action = if outcome.is_answered() {
            Action::Tx
        } else if outcome.is_dropped() {
            Action::Drop
        } else {
            Action::Pass
        };
        ensure!(run.action == action, "{}: {:?}", outcome.word(), run.action);
        if !outcome.is_answered() {
            ensure!(run.frame == frame, "{}: the frame was changed", outcome.word());
        }
    }
    let forgotten: Vec<&str> =
        Outcome::ALL.iter().filter(|one| !met.contains(one)).map(|one| one.word()).collect();
    ensure!(forgotten.is_empty(), "no frame meets {forgotten:?}");
    Ok(Verdict::Passed)
}

/// Signatures are not sent past their expiration, though nobody tells the programs the time any more; and
/// none is sent before anybody has told it.
pub fn signatures_expire_without_a_daemon() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut rig = Rig::of_demo(Denial::Nsec)?;
    let [plain, signed] = [false, true].map(|dnssec_ok| {
        let edns = Some(Edns { payload: 1232, dnssec_ok });
        let query = Query { name: b"\x03www\x07example\x03org\0".to_vec(), rtype: 1, edns };
        framed(query.message(1), 0, &[])
    });
    let (plain, signed) = (plain?, signed?);
    // The last second at which the engine sends the signature.
    let (mut valid, mut late) = (rig.now, rig.now + (1 << 25));
    while late - valid > 1 {
        let middle = valid + (late - valid) / 2;
        let outcome = rig.reader.answer(&signed.payload, false, 1232, middle, &mut Vec::new());
        *(if outcome == Outcome::Expired { &mut late } else { &mut valid }) = middle;
    }
    let (plain, signed) = (plain.encode()?, signed.encode()?);
    // Some seconds before, in which even a busy machine runs it once.
    rig.config.booted_at_s = WallTime::from_seconds((valid - 5).into()).booted_at_s();
    rig.loaded.config.write(&rig.config);
    ensure!(rig.run_counted(&signed)?.1 == Outcome::Positive);
    let late = || rig.times().is_ok_and(|[_, at_least]| at_least > valid);
    net::wait_until("the time to pass", PATIENCE, late)?;
    ensure!(rig.run_counted(&signed)?.1 == Outcome::Expired);
    ensure!(rig.run_counted(&plain)?.1 == Outcome::Positive);
    rig.config.booted_at_s = 0;
    rig.loaded.config.write(&rig.config);
    ensure!(rig.run_counted(&signed)?.1 == Outcome::Expired);
    ensure!(rig.run_counted(&plain)?.1 == Outcome::Positive);
    Ok(Verdict::Passed)
}
