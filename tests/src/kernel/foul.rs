//! Frames that a network stack drops, though they are queries to one of its ports: XDP and TCX leave them to it,
//! unchanged, each with a counter that names it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use sealdns::{control::reply::xdp::XdpStatus, dnssec::policy::Denial};
use testbed::{
    frames::{Frame, IPV4_LEN},
    inject::Injector,
    net,
};
use tests::{
    dns::{Edns, Query},
    harness::Verdict,
    prog_test_run::{self, Action, LARGEST, lab},
    servers::DEMO,
    stack::{Host, ip_at, repaired},
};
use xdp_common::{Outcome, Scratch, frame::SliceFrame, layers};

use crate::{
    kernel::{Rig, TAGS, framed, obstacle},
    wire::{
        client,
        stage::{self, Stage},
    },
};

/// Verdicts of TCX (linux/pkt_cls.h).
const UNSPEC: i32 = -1;
const SHOT: i32 = 2;
const REDIRECT: i32 = 7;

/// What tests without a device serve, beside it a device that frames do not come to.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 2], [0x0a, 0x55, 0xc0, 0xff, 0xee, 0x07]];

/// The programs, the host's engine, and who judges both.
struct Bench {
    rig: Rig,
    host: Host,
    scratch: Box<Scratch>,
    left: Vec<u8>,
    /// What is said to the one query.
    said: Vec<u8>,
    /// How often each outcome was right, by its place.
    seen: [u64; Outcome::ALL.len()],
}

impl Bench {
    fn new() -> Result<Self> {
        let mut rig = Rig::of_demo(Denial::Nsec)?;
        let host = Host {
            macs: MACS.to_vec(),
            addresses: vec!["198.51.100.2".parse()?, "2001:db8::2".parse()?],
            broadcasts: vec![Ipv4Addr::new(198, 51, 100, 255), Ipv4Addr::new(192, 0, 2, 127)],
        };
        host.tell(&mut rig.config);
        rig.loaded.config.write(&rig.config);
        let mut said = Vec::new();
        rig.reader.answer(&query(), false, 1232, rig.now, &mut said);
        let (scratch, left) = (Box::<Scratch>::default(), vec![0; LARGEST]);
        Ok(Self { rig, host, scratch, left, said, seen: [0; _] })
    }

    /// Sees that a frame is answered if the judge has nothing against it, and else left as it is: by XDP, by TCX,
    /// and by the host's engine.
    fn check(&mut self, frame: &[u8]) -> Result<()> {
        let fault = self.host.fault(frame);
        let mut octets = frame.to_vec();
        let decoded = layers::decode(
            &SliceFrame::new(&mut octets, frame.len()),
            &self.rig.config,
            &mut self.scratch.layers,
            &mut self.scratch.cells.forgotten,
        );
        ensure!(decoded.err() == fault, "{decoded:?} on the host, {fault:?} to be: {frame:02x?}");
        let reply = match fault {
            None => Frame::decode(&repaired(frame)?)?.reply(self.said.clone()).encode()?,
            Some(_) => frame.to_vec(),
        };
        let (xdp, tcx) = match fault {
            None => (Action::Tx, REDIRECT),
            Some(fault) if fault.is_dropped() => (Action::Drop, SHOT),
            Some(_) => (Action::Pass, UNSPEC),
        };
        let (action, len) = self.rig.run_in(frame, &mut self.left)?;
        let left = &self.left[..len];
        ensure!(action == xdp && left == reply, "{fault:?}, {action:?}: {frame:02x?}\n{left:02x?}");
        let program = self.rig.loaded.tcx_entry()?;
        let (verdict, len) = prog_test_run::run_skb_in(program, frame, &mut self.left)?;
        let left = &self.left[..len];
        ensure!(verdict == tcx && left == reply, "{fault:?}, {verdict}: {frame:02x?}\n{left:02x?}");
        self.seen[fault.unwrap_or(Outcome::Positive).index()] += 1;
        Ok(())
    }
}

fn query() -> Vec<u8> {
    let edns = Some(Edns { payload: 1232, dnssec_ok: false });
    Query { name: b"\x03www\x07example\x03org\0".to_vec(), rtype: 1, edns }.message(0x1234)
}

fn right(family: usize, tags: &[(u16, u16)]) -> Result<Frame> {
    framed(query(), family, tags)
}

/// All values of the IP header's length, and of source MAC addresses and of addresses each kind and all that differ
/// from it by a bit.
pub fn what_a_stack_drops_is_passed_up() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut bench = Bench::new()?;
    let before = bench.rig.counters()?;
    lengths(&mut bench)?;
    macs(&mut bench)?;
    sources_of_ipv4(&mut bench)?;
    addresses_of_ipv6(&mut bench)?;
    let after = bench.rig.counters()?;
    for outcome in Outcome::ALL {
        let counted = after[outcome.index()] - before[outcome.index()];
        let seen = bench.seen[outcome.index()];
        ensure!(counted == seen, "{counted} {}, to be {seen}", outcome.word());
    }
    let named = [Outcome::IpLength, Outcome::SourceMac, Outcome::BroadcastSource];
    for outcome in named.into_iter().chain([Outcome::MappedAddress, Outcome::Positive]) {
        let seen = bench.seen[outcome.index()];
        ensure!(seen > 0, "not one {}", outcome.word());
        println!("  {}: {seen}", outcome.word());
    }
    Ok(Verdict::Passed)
}

/// Every total length of IPv4 and every payload length of IPv6; those of one frame's size with tags and padding too.
fn lengths(bench: &mut Bench) -> Result<()> {
    for family in 0..2 {
        for tags in TAGS {
            for padding in [0, 1, 40] {
                let mut frame = right(family, tags)?.encode()?;
                frame.resize(frame.len() + padding, 0xee);
                let is_plain = tags.is_empty() && padding == 0;
                for len in 0..=if is_plain { u16::MAX } else { 2048 } {
                    set_length(&mut frame, len);
                    bench.check(&frame)?;
                }
            }
        }
    }
    Ok(())
}

/// Writes the length into the IP header, and its checksum.
fn set_length(frame: &mut [u8], len: u16) {
    let (ip, is_ipv6) = ip_at(frame);
    let at = ip + if is_ipv6 { 4 } else { 2 };
    frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
    if !is_ipv6 {
        frame[ip + 10..ip + 12].fill(0);
        let words = frame[ip..ip + IPV4_LEN].chunks_exact(2);
        let mut sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        frame[ip + 10..ip + 12].copy_from_slice(&(!sum as u16).to_be_bytes());
    }
}

/// Every first octet before several ends, and each address of note with each of its bits turned.
fn macs(bench: &mut Bench) -> Result<()> {
    let client = right(0, &[])?.source_mac;
    let notable = [client, MACS[0], MACS[1], [0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 0xfb]];
    let mut sources = notable.to_vec();
    for mac in notable {
        for bit in 0..48 {
            let mut turned = mac;
            turned[bit / 8] ^= 1 << (bit % 8);
            sources.push(turned);
        }
        for first in 0..=255 {
            let mut other = mac;
            other[0] = first;
            sources.push(other);
        }
    }
    for family in 0..2 {
        for tags in TAGS {
            for source_mac in &sources {
                bench
                    .check(&Frame { source_mac: *source_mac, ..right(family, tags)? }.encode()?)?;
            }
        }
    }
    Ok(())
}

/// Every host of the subnets, every first octet, and broadcast addresses with each of their bits turned.
fn sources_of_ipv4(bench: &mut Bench) -> Result<()> {
    let mut sources = Vec::new();
    for broadcast in bench.host.broadcasts.clone() {
        let [a, b, c, d] = broadcast.octets();
        for octet in 0..=255 {
            sources.extend([Ipv4Addr::new(a, b, c, octet), Ipv4Addr::new(octet, b, c, d)]);
        }
        sources.extend((0..32).map(|bit| Ipv4Addr::from_bits(broadcast.to_bits() ^ 1 << bit)));
    }
    for tags in TAGS {
        for source in &sources {
            let source = (IpAddr::V4(*source), 5353).into();
            bench.check(&Frame { source, ..right(0, tags)? }.encode()?)?;
        }
    }
    Ok(())
}

/// IPv4-mapped addresses and our own, as source and as destination, with each of their bits turned, and sources that
/// end as a broadcast address does.
fn addresses_of_ipv6(bench: &mut Bench) -> Result<()> {
    let texts = [
        "::ffff:198.51.100.1",
        "::ffff:198.51.100.2",
        "::ffff:198.51.100.255",
        "::198.51.100.1",
        "::",
        "::1",
        "2001:db8::2",
        "2001:db8::c633:64ff",
        "2001:db8::ffff:c633:64ff",
        "fe80::1",
    ];
    let mut addresses = Vec::new();
    for text in texts {
        let address: Ipv6Addr = text.parse()?;
        addresses.push(address);
        addresses.extend((0..128).map(|bit| Ipv6Addr::from_bits(address.to_bits() ^ 1 << bit)));
    }
    for tags in TAGS {
        for address in &addresses {
            let address = IpAddr::V6(*address);
            let source = (address, 5353).into();
            bench.check(&Frame { source, ..right(1, tags)? }.encode()?)?;
            let destination = (address, 53).into();
            bench.check(&Frame { destination, ..right(1, tags)? }.encode()?)?;
        }
    }
    Ok(())
}

/// The daemon knows the broadcast addresses of its interfaces, and of addresses that they are given later.
pub fn the_daemon_tells_the_broadcast_addresses() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("broadcasts", &[(DEMO.0, DEMO.1, "")])?;
    let counted = |outcome: Outcome| -> Result<u64> {
        let counters = stage.reply::<XdpStatus>(&["xdp", "status"])?.counters.xdp;
        Ok(counters.context("no counters")?.outcomes[outcome])
    };
    let mut injector = stage.pair.client.enter(|| Injector::new(&lab(), "client"))??;
    let source_mac = stage.pair.client.enter(|| net::mac_address("client"))??;
    let mut sends = |source: &str| -> Result<()> {
        let frame = Frame {
            source_mac,
            destination_mac: stage.pair.server_mac,
            tags: Vec::new(),
            source: (source.parse::<IpAddr>()?, 5353).into(),
            destination: client::server(0)?,
            ttl: 64,
            payload: query(),
        };
        stage.pair.client.enter(|| injector.send(&frame.encode()?))?
    };
    sends("198.51.100.255")?;
    net::wait_until("a broadcast address is counted", stage::PATIENCE, || {
        counted(Outcome::BroadcastSource).is_ok_and(|count| count == 1)
    })?;
    stage.pair.server.ip("address add 203.0.113.1/28 dev server")?;
    // The daemon looks once a second: until then the frame is answered.
    net::wait_until("one that came later is counted", stage::PATIENCE, || {
        sends("203.0.113.15").is_ok()
            && counted(Outcome::BroadcastSource).is_ok_and(|count| count > 1)
    })?;
    let before = counted(Outcome::BroadcastSource)?;
    let answered = counted(Outcome::Positive)?;
    sends("203.0.113.14")?;
    net::wait_until("a host of that subnet is answered", stage::PATIENCE, || {
        counted(Outcome::Positive).is_ok_and(|count| count == answered + 1)
    })?;
    ensure!(
        counted(Outcome::BroadcastSource)? == before,
        "a host was taken for the broadcast address"
    );
    Ok(Verdict::Passed)
}
