//! The embedded object in the kernel, without a device.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::Xdp;
use sealdns::{
    cli::clock,
    compile::{Image, Reader},
    datapath::{load::Loaded, memory::Size, object},
    dnssec::{
        authority::{Place, places},
        policy::Denial,
    },
    zone::Zone,
};
use tests::{
    frames::Frame,
    harness::Verdict,
    prog_test_run::{self, Action, Run},
    servers::{DEMO, DENIALS, signed},
};
use xdp_common::{Outcome, maps::Config};

/// Why a test that needs the kernel cannot run, if it cannot.
pub fn obstacle() -> Option<Verdict> {
    if !nix::unistd::geteuid().is_root() {
        return Some(Verdict::Skipped("needs root".into()));
    }
    object::object().err().map(|missing| Verdict::Skipped(missing.to_string()))
}

/// Every program of the object passes the verifier.
pub fn the_object_loads() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let ebpf = prog_test_run::load(object::object()?)?;
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

//----------- Answers and outcomes -------------------------------------------------------------------

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENTS: [&str; 2] = ["198.51.100.1:5353", "[2001:db8::1]:5353"];
const SERVERS: [&str; 2] = ["198.51.100.2:53", "[2001:db8::2]:53"];
const SEED: u64 = 0x5ea1_d115;
/// Tags that frames have in turn: none, a VLAN's, a provider's and a VLAN's.
const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 7)], &[(0x88a8, 9), (0x8100, 7)]];
/// Where the headers of an untagged IPv4 frame start.
const IP: usize = 14;
const UDP: usize = 34;
const DNS: usize = 42;

/// The programs with the demo's zone in their maps, and the host's engine over the same memory.
struct Rig {
    loaded: Loaded,
    reader: Reader,
    zone: Zone,
    now: u32,
}

impl Rig {
    fn new(denial: Denial) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let zone = signed(DEMO, denial, directory.path())?;
        let size = Size { slab: 16 << 20, buckets: 4096 };
        let loaded = Loaded::new(size)?;
        let mut image = Image::new(loaded.memory(), SEED);
        drop(image.publish(&zone)?);
        let mut rig = Self { loaded, reader: image.reader(), zone, now: clock::now() };
        rig.configure(&image, size)?;
        Ok(rig)
    }

    fn configure(&mut self, image: &Image, size: Size) -> Result<()> {
        let mut config = Config::new();
        config.now_s = u64::from(self.now);
        config.seed = SEED;
        let [a, b, c, d, e, f] = SERVER_MAC;
        config.macs[0] = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        for (place, server) in config.addresses.iter_mut().zip(SERVERS) {
            let octets = match server.parse::<SocketAddr>()?.ip() {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            *place = [0, 8]
                .map(|at| u64::from_le_bytes(std::array::from_fn(|octet| octets[at + octet])));
        }
        config.address_count = SERVERS.len() as u32;
        config.ports[0] = 53u16.to_be();
        config.bucket_mask = u32::try_from(size.buckets - 1)?;
        config.payload_limit = 1232;
        config.max_labels = image.max_labels();
        self.loaded.config.write(&config);
        Ok(())
    }

    fn run(&mut self, frame: &[u8]) -> Result<Run> {
        prog_test_run::run(self.loaded.entry()?, frame, 1)
    }
}

/// A question; `edns` is whether there is an OPT record and whether DO is set in it.
fn question(name: &[u8], rtype: u16, edns: Option<bool>) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    query.extend(name);
    query.extend(rtype.to_be_bytes());
    query.extend([0, 1]);
    if let Some(dnssec_ok) = edns {
        query.extend([0, 0, 41, 0x04, 0xd0, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]);
    }
    query
}

fn framed(payload: Vec<u8>, family: usize, tags: &[(u16, u16)]) -> Result<Frame> {
    Ok(Frame {
        source_mac: CLIENT_MAC,
        destination_mac: SERVER_MAC,
        tags: tags.to_vec(),
        source: CLIENTS[family].parse()?,
        destination: SERVERS[family].parse()?,
        ttl: 63,
        payload,
    })
}

/// Every name of the zone and every type: what XDP sends is what the daemon would say, octet for octet,
/// in a frame whose headers and checksums are right; and it sends it for all names that exist.
pub fn xdp_answers_as_the_daemon_does() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    const TYPES: [u16; 16] = [1, 2, 5, 6, 15, 16, 28, 33, 35, 43, 47, 48, 51, 52, 65, 257];
    for (denial_name, denial) in DENIALS {
        let mut rig = Rig::new(denial)?;
        let places = places(&rig.zone);
        let names: Vec<(Vec<u8>, bool)> = rig
            .zone
            .owners()
            .zip(places)
            .map(|(owner, place)| {
                let is_asked = matches!(place, Place::Authoritative | Place::Cut);
                (owner.name().to_vec(), is_asked)
            })
            .collect();
        let (mut sent, mut passed) = (0, 0);
        for (index, (name, exists)) in names.iter().enumerate() {
            // Letters as clients mix them to be hard to forge.
            let mixed: Vec<u8> = name
                .iter()
                .enumerate()
                .map(
                    |(at, octet)| {
                        if (at + index) % 2 == 0 { octet.to_ascii_uppercase() } else { *octet }
                    },
                )
                .collect();
            for (rtype, edns) in TYPES
                .iter()
                .flat_map(|&rtype| [None, Some(false), Some(true)].map(|edns| (rtype, edns)))
            {
                let family = (index + usize::from(rtype)) % 2;
                let tags = TAGS[(index + usize::from(rtype)) % TAGS.len()];
                let asked = framed(question(&mixed, rtype, edns), family, tags)?;
                let octets = asked.encode()?;
                let run = rig.run(&octets)?;
                let what = || format!("{denial_name}: {asked:?}");
                if run.action == Action::Pass {
                    ensure!(run.frame == octets, "{}: changed, though passed", what());
                    ensure!(!exists, "{}: passed, though the name exists", what());
                    passed += 1;
                    continue;
                }
                ensure!(run.action == Action::Tx, "{}: {:?}", what(), run.action);
                let mut said = Vec::new();
                let outcome = rig.reader.answer(&asked.payload, false, 1232, rig.now, &mut said);
                ensure!(outcome.is_answered(), "{}: the daemon says {outcome:?}", what());
                let expected = Frame {
                    source_mac: asked.destination_mac,
                    destination_mac: asked.source_mac,
                    source: asked.destination,
                    destination: asked.source,
                    ttl: 64,
                    payload: said,
                    ..asked.clone()
                };
                // Taking it apart recomputes both checksums by the tests' own arithmetic.
                let reply = Frame::decode(&run.frame).with_context(what)?;
                ensure!(reply == expected, "{}:\n{reply:?}\n{expected:?}", what());
                sent += 1;
            }
        }
        ensure!(sent > 500 && passed > 0, "{sent} sent, {passed} passed");
    }
    Ok(Verdict::Passed)
}

/// Every fate that a frame can meet: the frame, the counter, the verdict; what is passed is unchanged.
pub fn each_outcome_has_its_frame() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut rig = Rig::new(Denial::Nsec)?;
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
    let from = |source: &str, destination: &str| {
        let mut frame = framed(good.clone(), 0, &[])?;
        frame.source = source.parse()?;
        frame.destination = destination.parse()?;
        frame.encode()
    };
    let mut without_checksum = base.clone();
    without_checksum[UDP + 6..UDP + 8].fill(0);
    let mut v6_without_checksum = framed(good.clone(), 1, &[])?.encode()?;
    v6_without_checksum[54 + 6..54 + 8].fill(0);
    let mut many = good[..12].to_vec();
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
        (Outcome::Class, message(&[(12 + www.len() + 3, 3)])?),
        (Outcome::Malformed, message(&[(12, 0xc0)])?),
        (Outcome::Malformed, message(&[(good.len() - 1, 9)])?),
        (Outcome::MetaType, encoded(question(&www, 255, None))?),
        (Outcome::MetaType, encoded(question(&www, 252, None))?),
        (Outcome::Miss, encoded(question(&name("nobody.example.org"), 1, Some(true)))?),
        (Outcome::Response, message(&[(2, 0x80)])?),
        (Outcome::SourcePort, from("198.51.100.1:0", SERVERS[0])?),
        (Outcome::BadLength, with(&[(UDP + 4, 0x40)])),
    ];
    ensure!(base[DNS..] == good[..], "the message is not where the table has it");
    for (outcome, frame) in frames {
        let before = rig.loaded.counters()?;
        let run = rig.run(&frame)?;
        let after = rig.loaded.counters()?;
        let counted: Vec<&str> = Outcome::ALL
            .into_iter()
            .filter(|outcome| after[outcome.index()] != before[outcome.index()])
            .map(Outcome::word)
            .collect();
        ensure!(counted == [outcome.word()], "expected {}: {counted:?}", outcome.word());
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
    Ok(Verdict::Passed)
}

/// Queries damaged at random: never an abort, never changed if passed; and where something is sent, it is
/// what the daemon says to the same message.
pub fn damaged_frames_do_no_harm() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    const FRAMES: u64 = 20_000;
    let mut rig = Rig::new(Denial::Nsec)?;
    let queries = [1u16, 16, 43, 48]
        .map(|rtype| question(b"\x03www\x07example\x03org\0", rtype, Some(rtype != 16)));
    // Knuth's MMIX generator: the same frames at every run.
    let mut state = 1u64;
    let mut throw = move |sides: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % sides
    };
    for number in 0..FRAMES {
        let mut payload = queries[throw(queries.len())].clone();
        let mut frame = if throw(2) == 0 {
            for _ in 0..=throw(3) {
                let at = throw(payload.len());
                payload[at] = throw(256) as u8;
            }
            payload.truncate(payload.len() - throw(8) / 5);
            framed(payload, throw(2), TAGS[throw(3)])?.encode()?
        } else {
            let mut frame = framed(payload, throw(2), TAGS[throw(3)])?.encode()?;
            for _ in 0..=throw(3) {
                let at = throw(frame.len());
                frame[at] = throw(256) as u8;
            }
            frame
        };
        if throw(16) == 0 {
            frame.truncate(14 + throw(frame.len() - 14));
        }
        let run = rig.run(&frame)?;
        match run.action {
            Action::Pass | Action::Drop => {
                ensure!(run.frame == frame, "{number}: changed: {frame:02x?}");
            }
            Action::Tx => {
                let asked = Frame::decode(&frame);
                let reply = Frame::decode(&run.frame).with_context(|| format!("{frame:02x?}"))?;
                // Without a checksum, or with a bare pseudo-header's, the tests' reader refuses it.
                let Ok(asked) = asked else { continue };
                let mut said = Vec::new();
                rig.reader.answer(&asked.payload, false, 1232, rig.now, &mut said);
                ensure!(reply.payload == said, "{number}: {frame:02x?}");
            }
            other => bail!("{number}: {other:?} for {frame:02x?}"),
        }
    }
    Ok(Verdict::Passed)
}
