//! Queries of every length over veth, as socket buffers from plain sockets, and as a driver's frames with much room
//! and with little, with tags and without: each has its answer, and the answer is what the daemon says.

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket,
        sockopt::ReceiveTimeout,
    },
    time::{TimeVal, TimeValLike as _},
};
use sealdns::{
    clock::WallTime,
    compile::{Image, Reader},
    control::reply::xdp::XdpStatus,
    datapath::memory::{Mapping, Size},
    observe::KernelCounters,
};
use testbed::{frames::Frame, inject::Injector, net};
use tests::{harness::Verdict, prog_test_run::lab};
use xdp_common::Outcome;

use crate::{
    kernel::room::{FIRST_TYPE, Filler, GROWTHS, LENGTHS, LIMIT, message, zone_text},
    kernel::{TAGS, unsigned},
    wire::{
        client::{Client, client as client_at, server},
        stage::{self, Stage},
    },
};

const APEX: &str = ".";

/// A query and what is said to it.
struct Exchange {
    query: Vec<u8>,
    said: Vec<u8>,
}

/// For every length of a query that is answered, with EDNS and without, an answer that gets its room in each way.
fn exchanges(reader: &Reader) -> Vec<Exchange> {
    let (mut exchanges, now) = (Vec::new(), WallTime::now().signature_time());
    for filler in [Filler::Name, Filler::NameAndOpt] {
        for len in LENGTHS {
            let mut first = FIRST_TYPE;
            for growths in GROWTHS {
                let rtype = first + (len % growths.len()) as u16;
                first += growths.len() as u16;
                let (query, mut said) = (message(len, filler, rtype), Vec::new());
                if reader.answer(&query, false, LIMIT, now, &mut said).is_answered() {
                    exchanges.push(Exchange { query, said });
                }
            }
        }
    }
    exchanges
}

/// XDP or TCX answers all, whatever the room, and what they answer arrives.
pub fn every_query_over_veth_is_answered() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let text = zone_text();
    let memory = Mapping::anonymous(Size { slab: 4 << 20, buckets: 1024 })?;
    let mut image = Image::new(Arc::new(memory), 1);
    drop(image.publish(&unsigned((APEX, &text))?)?);
    let exchanges = exchanges(&image.reader());
    ensure!(exchanges.len() > 1900, "only {} queries", exchanges.len());

    let stage = Stage::new("crossing", &[(APEX, &text, "dnssec = \"off\"")])?;
    let source_mac = stage.pair.client.enter(|| net::mac_address("client"))??;
    let client = Client::new(&stage.pair)?;
    let mut asked = 0;
    stage.pair.client.enter(|| -> Result<()> {
        for family in 0..2 {
            for (place, Exchange { query, said }) in exchanges.iter().enumerate() {
                let is = |way: &str, answer: Result<Vec<u8>>| -> Result<()> {
                    let what = || format!("family {family}, {way}, {query:02x?}");
                    let answer = answer.with_context(what)?;
                    ensure!(answer == *said, "{}: {answer:02x?}", what());
                    Ok(())
                };
                is("socket", client.send(family, query))?;
                is("frame", client.inject(family, query))?;
                let tail = place % 65;
                let little = client.inject_with_room(family, query, tail);
                is(&format!("{tail} octets of room"), little)?;
                asked += 3;
            }
            for tags in &TAGS[1..] {
                let (tap, mut injector) = (tap()?, Injector::sharing_program(&lab(), "client")?);
                for (place, Exchange { query, said }) in exchanges.iter().enumerate() {
                    let asked_for = Frame {
                        source_mac,
                        destination_mac: stage.pair.server_mac,
                        tags: tags.to_vec(),
                        source: SocketAddr::new(client_at(family)?, 5353),
                        destination: server(family)?,
                        ttl: 64,
                        payload: query.clone(),
                    };
                    let tail = place % 65;
                    injector.send_with_room(&asked_for.encode()?, tail)?;
                    let what = || format!("family {family}, {tags:x?}, {tail}, {query:02x?}");
                    let answer = answer_to(&asked_for, &tap).with_context(what)?;
                    ensure!(answer == *said, "{}: {answer:02x?}", what());
                    asked += 1;
                }
            }
        }
        Ok(())
    })??;
    let KernelCounters { xdp, tcx } = stage.reply::<XdpStatus>(&["xdp", "status"])?.counters;
    let (xdp, tcx) = (xdp.context("no counters")?, tcx.context("no counters of TCX")?);
    let by_xdp = xdp.outcomes.sum(Outcome::is_answered);
    let by_tcx = tcx.outcomes.sum(Outcome::is_answered);
    let at_head = xdp.grown_at_head;
    println!("  {by_xdp} by XDP, {at_head} of them grown at the head, {by_tcx} by TCX");
    ensure!(
        by_xdp + by_tcx == asked,
        "{by_xdp} by XDP, {by_tcx} by TCX, of {asked}: {xdp:?} {tcx:?}"
    );
    ensure!(at_head > 1000 && by_tcx > 1000, "{xdp:?} {tcx:?}");
    let torn = [&xdp, &tcx].map(|counters| counters.outcomes[Outcome::Torn]);
    ensure!(torn == [0, 0], "{xdp:?} {tcx:?}");
    Ok(Verdict::Passed)
}

/// A socket that all frames come to which the namespace receives.
fn tap() -> Result<OwnedFd> {
    let (flags, all) = (SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
    let tap = socket(AddressFamily::Packet, SockType::Raw, flags, all)?;
    setsockopt(&tap, ReceiveTimeout, &TimeVal::seconds(3))?;
    Ok(tap)
}

/// Waits for the frame that answers this one. The kernel has taken the outermost tag off.
fn answer_to(asked: &Frame, tap: &OwnedFd) -> Result<Vec<u8>> {
    let mut buffer = [0; 2048];
    loop {
        let len = recv(tap.as_raw_fd(), &mut buffer, MsgFlags::empty()).context("no answer")?;
        let Ok(frame) = Frame::decode(&buffer[..len]) else { continue };
        if frame.destination == asked.source && frame.source == asked.destination {
            ensure!(frame.tags == asked.tags[1..], "tags {:x?}", frame.tags);
            return Ok(frame.payload);
        }
    }
}
