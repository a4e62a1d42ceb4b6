//! Captures that are made here, replayed.

use std::path::Path;

use super::*;
use crate::control::reply::ratelimit::{BlockedTarget, ExemptPrefix, Origin};

/// A frame of Ethernet and IPv4 with a UDP datagram.
fn frame(source: ([u8; 4], u16), destination: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    // One VLAN tag.
    frame.extend([0x81, 0, 0, 7, 8, 0]);
    let len = (28 + payload.len()) as u16;
    frame.extend([0x45, 0]);
    frame.extend(len.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(source.0);
    frame.extend(destination.0);
    frame.extend(source.1.to_be_bytes());
    frame.extend(destination.1.to_be_bytes());
    frame.extend((len - 20).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// A message about `label`.example: header, question, and then what `rest` says.
fn message(label: &str, rtype: u16, flags: u16, counts: [u16; 2], rest: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 1];
    message.extend(flags.to_be_bytes());
    message.extend([0, 1]);
    message.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    message.extend([0, 0]);
    message.push(label.len() as u8);
    message.extend(label.as_bytes());
    message.extend(b"\x07example\x00");
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1]);
    message.extend(rest);
    message
}

/// A record whose owner is `example`, in a message about `label`.example.
fn record(label: &str, rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 13 + label.len() as u8];
    record.extend(rtype.to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 60]);
    record.extend((rdata.len() as u16).to_be_bytes());
    record.extend(rdata);
    record
}

const A: u16 = 1;
const SOA: u16 = 6;
const NS: u16 = 2;
const RRSIG: u16 = 46;
const RESPONSE: u16 = 0x8400;
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 53);

fn answer(label: &str) -> Vec<u8> {
    message(label, A, RESPONSE, [1, 0], &record(label, A, &[192, 0, 2, 7]))
}

/// A pcap file of frames with their times in microseconds.
fn pcap(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(65535u32.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for (time, frame) in frames {
        let len = frame.len() as u32;
        let fields = [(time / 1_000_000) as u32, (time % 1_000_000) as u32, len, len];
        file.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        file.extend(frame);
    }
    file
}

/// The same as pcapng, with times in nanoseconds.
fn pcapng(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let body = [body, &vec![0; body.len().next_multiple_of(4) - body.len()]].concat();
        let len = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &len, &body, &len].concat()
    };
    let mut file =
        block(0x0a0d_0d0a, b"\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    // Ethernet; option if_tsresol: 9 digits.
    file.extend(block(1, b"\x01\0\0\0\0\0\x04\0\x09\0\x01\0\x09\0\0\0\0\0\0\0"));
    for (time, frame) in frames {
        let ns = time * 1000;
        let len = frame.len() as u32;
        let fields = [0, (ns >> 32) as u32, ns as u32, len, len];
        let fields: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        file.extend(block(6, &[&fields[..], frame].concat()));
    }
    file
}

/// A capture in a file, to be replayed with settings; the file lives as long as its folder.
fn args(file: &[u8], set: &[&str]) -> (TestArgs, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    std::fs::write(&path, file).unwrap();
    let args = TestArgs {
        file: path,
        set: set.iter().map(|setting| (*setting).to_owned()).collect(),
        live: false,
        port: 53,
        limit: 20,
    };
    (args, folder)
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn replay(file: &[u8], set: &[&str]) -> Result<ReplayReport, String> {
    replay_with(None, file, set)
}

/// The same with a configuration.
fn replay_with(config: Option<&str>, file: &[u8], set: &[&str]) -> Result<ReplayReport, String> {
    let folder = tempfile::tempdir().unwrap();
    let config = config.map(|text| {
        let path = folder.path().join("sealdns.toml");
        std::fs::write(&path, text).unwrap();
        path
    });
    let (args, _capture) = args(file, set);
    let global = Global { json: false, config, control: None };
    let limits = limits(&args, &global).map_err(|error| error.failure.message)?;
    measure(&args, &limits)
}

/// Twenty a second from one client for ten seconds, and one a second from another.
fn traffic(of: impl Fn(&str) -> Vec<u8>, from_server: bool) -> Vec<(u64, Vec<u8>)> {
    let mut frames = Vec::new();
    for step in 0..200u64 {
        let time = 1_700_000_000_000_000 + step * 50_000;
        let mut add = |client: [u8; 4]| {
            let payload = of("www");
            frames.push((
                time,
                match from_server {
                    true => frame(SERVER, (client, 4000), &payload),
                    false => frame((client, 4000), SERVER, &payload),
                },
            ));
        };
        add([198, 51, 100, 7]);
        if step % 20 == 0 {
            add([203, 0, 113, 9]);
        }
    }
    frames
}

const FIVE: [&str; 4] = ["rate=5", "burst=5", "total-rate=0", "slip=2"];

#[test]
fn who_is_over_the_rate_is_told_from_who_is_not() {
    let frames = traffic(answer, true);
    let from_pcap = replay(&pcap(&frames), &FIVE).unwrap();
    assert_eq!(from_pcap.counted, CountedAs::Responses);
    assert_eq!(from_pcap.responses, 210);
    // Five at once, and then five a second for ten seconds; ten of the other client.
    let answered = from_pcap.answered;
    assert!((54 + 10 - 1..=55 + 10).contains(&answered), "{from_pcap:?}");
    let (slipped, dropped) = (from_pcap.slipped, from_pcap.dropped);
    assert_eq!(answered + slipped + dropped, 210);
    assert!(slipped.abs_diff(dropped) <= 1, "{from_pcap:?}");
    assert_eq!(from_pcap.netblocks_limited, 1);
    let row = &from_pcap.netblocks[0];
    assert_eq!((row.netblock, row.limit), (net("198.51.100.0/24"), "positive"));
    assert_eq!(row.last, 1_700_000_009);
    assert_eq!(replay(&pcapng(&frames), &FIVE).unwrap(), from_pcap);
    assert!(text(&from_pcap).contains("198.51.100.0/24"));
}

#[test]
fn queries_count_where_there_are_no_responses() {
    let query = |label: &str| message(label, A, 0, [0, 0], &[]);
    let report = replay(&pcap(&traffic(query, false)), &FIVE).unwrap();
    assert_eq!((report.counted, report.responses), (CountedAs::Queries, 210));
    assert_eq!(report.netblocks[0].netblock, net("198.51.100.0/24"));
    assert_eq!(report.octets, 210 * 512);
}

#[test]
fn zones_have_their_own_policy() {
    let zone = |name: &str, limits: &str| {
        format!("[[zone]]\nname = \"{name}\"\nfile = \"f\"\n[zone.ratelimit]\n{limits}\n")
    };
    let config = "version = \"v1\"\n[ratelimit]\nmode = \"dry-run\"\n".to_owned()
        + &zone("a.example", "rate = 2\nslip = 0")
        + &zone("b.example", "mode = \"off\"")
        + &zone("c.example", "mode = \"dry-run\"\nrate = 1\nipv4-prefix = 32");
    let report = |label: &str| {
        let frames = traffic(|_| answer(label), true);
        replay_with(Some(&config), &pcap(&frames), &FIVE).unwrap()
    };
    let over = |report: &ReplayReport| {
        let row = &report.netblocks[0];
        (row.netblock, row.zone.clone(), row.slips + row.drops)
    };
    // Of 200 in ten seconds what is over 5, 2 and 1 a second, and what may come at once.
    let (netblock, zone, count) = over(&report("www"));
    assert_eq!((netblock, zone), (net("198.51.100.0/24"), None));
    assert!((144..=147).contains(&count), "{count}");
    let of_a = report("a");
    let (netblock, zone, count) = over(&of_a);
    assert_eq!((netblock, zone), (net("198.51.100.0/24"), Some("a.example.".to_owned())));
    assert!((174..=178).contains(&count), "{count}");
    assert_eq!(of_a.slipped, 0);
    assert!(text(&of_a).contains("a.example."));
    assert_eq!(report("b").answered, 210);
    let (netblock, zone, count) = over(&report("c"));
    assert_eq!((netblock, zone), (net("198.51.100.7/32"), Some("c.example.".to_owned())));
    assert!((184..=188).contains(&count), "{count}");
}

#[test]
fn what_a_daemon_has_in_effect_is_read() {
    let setting = |key: &str, value: toml::Value| Setting {
        key: key.into(),
        file: None,
        value: Some(value),
        drift: true,
        origin: Origin::Saved,
    };
    let set = [setting("rate", 7.into()), setting("ipv4-levels", vec!["/32 x1"].into())];
    let settings = live_settings(&RateLimit::default(), set.into()).unwrap();
    assert_eq!(settings.policy().rates, [7; Class::COUNT]);
    let own = toml::toml! {
        rate = 3
        window = "1m"
    };
    let zones = vec![ZoneSettings { zone: "example.".into(), settings: own }];
    let zones = live_zones(zones).unwrap();
    let zone = zones[&"example".parse().unwrap()].over(&settings).policy();
    assert_eq!((zone.rates, zone.window_s), ([3; Class::COUNT], 60));
    let exempt = [("192.0.2.0/24", true), ("192.0.3.0/24", false)]
        .map(|(prefix, exempt)| ExemptPrefix { prefix: net(prefix), origin: Origin::File, exempt });
    let exempt = live_exempt(&ExemptList { exempt: exempt.into() });
    assert_eq!((exempt.len(), exempt[0].0.to_string()), (1, "192.0.2.0/24".to_owned()));
    let mut limits = Limits::default();
    let blocked = |target: &str, until, dry_run| BlockedTarget {
        target: target.into(),
        until,
        dry_run,
        origin: Origin::UntilRestart,
    };
    let blocked = [blocked("198.51.100.0/24", Some(7), false), blocked("bad.example.", None, true)];
    live_blocks(&BlockList { blocked: blocked.into() }, &mut limits).unwrap();
    assert_eq!(limits.block.values().next(), Some(&Block::default()));
    assert!(limits.block_names[&"bad.example".parse().unwrap()].dry_run);
}

#[test]
fn what_is_blocked_is_told_from_what_is_over_a_limit() {
    let (args, _folder) = args(&pcap(&traffic(answer, true)), &[]);
    let blocks = |prefix: &str, name: &str| {
        let mut limits = Limits::default();
        limits.block.insert(prefix.parse().unwrap(), Block::default());
        limits.block_names.insert(name.parse().unwrap(), Block::default());
        measure(&args, &limits).unwrap()
    };
    let by_prefix = blocks("203.0.113.9/32", "example.net");
    assert_eq!((by_prefix.blocked, by_prefix.answered), (10, 200));
    let row = &by_prefix.netblocks[0];
    assert_eq!((row.limit, row.netblock), ("blocked-prefix", net("203.0.113.0/24")));
    let by_name = blocks("192.0.2.0/24", "example");
    assert_eq!((by_name.blocked, by_name.netblocks[0].limit), (210, "blocked-name"));
}

#[test]
fn settings_matter() {
    let capture = pcap(&traffic(answer, true));
    let limited = |set: &[&str]| {
        let report = replay(&capture, set).unwrap();
        report.slipped + report.dropped
    };
    assert_eq!(limited(&["rate=0", "total-rate=0"]), 0);
    assert_eq!(limited(&["rate=50"]), 0);
    let total = ["rate=0", "total-rate=2", "ipv4-levels=32x1"];
    assert!(limited(&total) > 150);
    assert_eq!(replay(&capture, &total).unwrap().netblocks[0].netblock, net("198.51.100.7/32"));
    // Half the queries per second that there are: half the rate.
    assert!(limited(&["rate=20", "burst=1", "total-rate=0", "qps-scale=10"]) > 50);
    assert!(replay(&capture, &["slip=11"]).unwrap_err().contains("slip: 11"));
}

#[test]
fn classes_are_those_of_the_messages() {
    let soa = || record("www", SOA, &[0; 22]);
    let class = |message: &[u8]| response::of_response(message).unwrap().class;
    assert_eq!(class(&answer("www")), Class::Positive);
    assert_eq!(class(&message("www", A, RESPONSE | 3, [0, 1], &soa())), Class::Nxdomain);
    assert_eq!(class(&message("www", A, RESPONSE, [0, 1], &soa())), Class::Nodata);
    assert_eq!(
        class(&message("www", A, 0x8000, [0, 1], &record("www", NS, &[0]))),
        Class::Referral
    );
    assert_eq!(class(&message("www", A, 0x8005, [0, 0], &[])), Class::Error);
    assert_eq!(class(&message("www", 48, RESPONSE, [1, 0], &[])), Class::Dnskey);
    assert_eq!(class(&message("www", 255, RESPONSE, [1, 0], &[])), Class::Any);
    // TC: data that did not fit.
    assert_eq!(class(&message("www", A, 0x8600, [0, 0], &[])), Class::Positive);
    let name = |message: &[u8]| response::of_response(message).unwrap().name;
    let denied =
        |label: &str| name(&message(label, A, RESPONSE | 3, [0, 1], &record(label, SOA, &[0; 22])));
    assert_eq!(denied("a"), denied("bcd"));
    assert_ne!(name(&answer("a")), name(&answer("b")));
    assert_eq!(name(&answer("a")), name(&answer("A")));
    // One label signed: *.example.
    let wild = |label: &str| {
        name(&message(label, A, RESPONSE, [1, 0], &record(label, RRSIG, &[0, 1, 13, 1, 0, 0])))
    };
    assert_eq!(wild("a"), wild("b"));
}

#[test]
fn what_is_no_capture_is_said() {
    assert!(
        replay(b"#!/bin/sh\nexit 0\nand more than a header\n", &[])
            .unwrap_err()
            .contains("neither")
    );
    assert!(replay(b"", &[]).unwrap_err().contains("neither"));
    assert!(replay(&pcap(&[]), &[]).unwrap_err().contains("no DNS"));
    // Cut off in the middle of a packet.
    let capture = pcap(&traffic(answer, true));
    assert_eq!(replay(&capture[..capture.len() - 5], &[]).unwrap().responses, 209);
    assert!(capture::read(Path::new("/no/such/file"), |_| ()).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// Whatever is in a capture, it comes to an end.
    #[test]
    fn damaged_captures_do_no_harm(
        damage in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 1..30),
        is_ng in proptest::prelude::any::<bool>(),
    ) {
        let frames = traffic(answer, true);
        let mut capture = if is_ng { pcapng(&frames[..20]) } else { pcap(&frames[..20]) };
        for (place, octet) in damage {
            let at = place.index(capture.len());
            capture[at] = octet;
        }
        let _ = replay(&capture, &["rate=1"]);
    }
}
