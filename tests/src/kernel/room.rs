//! Every way in which an answer gets its room: queries of every length, with EDNS and without, over both
//! families, with tags and without, in frames with every little room behind them, for answers of many lengths.
//!
//! A plain test run leaves the rest of a page behind a frame. Here the lab's program `strip` is given the whole
//! page, takes off what stands before the frame, and calls `serve`: the frame ends as near to the page's end as
//! is wanted.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{SchedClassifier, Xdp},
};
use sealdns::zone::Zone;
use testbed::frames::Frame;
use tests::{
    harness::Verdict,
    prog_test_run::{self, Action, LARGEST, lab},
};
use xdp_common::{Outcome, maps};

use crate::{
    kernel::{Rig, TAGS, framed, unsigned},
    wire::pair,
};

/// Lengths of queries, in octets of DNS message: the header alone, and more than a question of the longest name
/// and an OPT record are.
pub const LENGTHS: std::ops::RangeInclusive<usize> = 12..=300;

/// The room behind frames, in octets. A socket's packet has 42 on Linux 6.18.
const TAIL_ROOMS: std::ops::RangeInclusive<usize> = 0..=64;

/// What programs take of the head room at most, in octets (`HEAD_ROOM` in `xdp-ebpf/src/frame.rs`).
const HEAD_ROOM: usize = 216;

/// Octets by which answers are larger than their queries, each the RDATA of a type and the twelve octets of a
/// record before it: for the tail alone, for the head alone, for both, and for neither.
pub const GROWTHS: [&[usize]; 4] = [
    &[12],
    &[65, 66, 67, 68, 69, 70, 71, 72, 128, 200, 215, 216],
    &[217, 218, 219, 224, 240, 263, 279, 280],
    &[281, 400, 700, 900],
];

/// The type whose records make an answer larger by as much as the type at this place of [`GROWTHS`] is to.
pub const FIRST_TYPE: u16 = 0xff00;

/// Octets of a wrong frame that are shown.
const LARGEST_SHOWN: usize = 400;

/// The server's limit, in octets of DNS message.
pub const LIMIT: usize = 1232;

/// What `TC_ACT_REDIRECT` and `TC_ACT_UNSPEC` of linux/pkt_cls.h are.
const REDIRECT: i32 = 7;
const UNSPEC: i32 = -1;

/// The root with a wildcard: every name has answers of all lengths.
fn zone() -> Result<Zone> {
    unsigned((".", &zone_text()))
}

pub fn zone_text() -> String {
    let mut text = String::from("$TTL 5m\n@ SOA a b 1 4h 1h 2w 1m\n@ NS a\na A 192.0.2.1\n");
    for (place, growth) in GROWTHS.concat().into_iter().enumerate() {
        let len = growth - 12;
        let rdata: String = (0..len).map(|at| format!("{:02x}", (at * 7 + place) & 0xff)).collect();
        for owner in ["@", "*"] {
            text += &format!("{owner} TYPE{} \\# {len} {rdata}\n", usize::from(FIRST_TYPE) + place);
        }
    }
    text
}

/// What fills a query up to its length.
#[derive(Clone, Copy, Debug)]
pub enum Filler {
    /// Its name, and there is no EDNS.
    Name,
    /// Its name, and an OPT record follows.
    NameAndOpt,
    /// An option that nobody knows, which no response has.
    Option,
}

/// A name of `len` octets, if there is one.
fn name(len: usize) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(len);
    while name.len() + 1 < len {
        let left = len - 1 - name.len();
        // No label may be left that has no room for an octet.
        let label = if left == 65 { 62 } else { left.saturating_sub(1).min(63) };
        name.push(label as u8);
        name.extend(std::iter::repeat_n(b'x', label));
    }
    name.push(0);
    (len <= 255 && name.len() == len && len != 2).then_some(name)
}

/// A query of `len` octets. Where there is none, since no name has that length, these are octets that begin
/// like one.
pub fn message(len: usize, filler: Filler, rtype: u16) -> Vec<u8> {
    let has_opt = !matches!(filler, Filler::Name);
    let opt_len = 11 * usize::from(has_opt);
    let name = match filler {
        Filler::Option => name(5.min(len.saturating_sub(16 + opt_len + 4))),
        _ => name(len.saturating_sub(16 + opt_len).min(255)),
    };
    let mut message = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(has_opt)];
    message.extend(name.unwrap_or_else(|| vec![1]));
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1]);
    if has_opt {
        let options_len = len.saturating_sub(message.len() + 11);
        message.extend([0, 0, 41, (LIMIT >> 8) as u8, LIMIT as u8, 0, 0, 0, 0]);
        message.extend((options_len as u16).to_be_bytes());
        if let Some(data_len) = options_len.checked_sub(4) {
            message.extend(0xfde9_u16.to_be_bytes());
            message.extend((data_len as u16).to_be_bytes());
        }
    }
    message.resize(len, 0);
    message
}

/// How an answer got its room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Room {
    /// It needed none, or gave some back.
    None,
    Tail,
    Head,
    HeadAndTail,
    /// There was not enough, and the frame is passed up.
    NotEnough,
    /// By TCX, in the socket buffer.
    Tcx,
    /// Nothing that is answered.
    Unanswered,
}

impl Room {
    /// How an answer that is larger by `by` gets room in a frame that has `tail` behind it.
    fn of(by: isize, tail: usize) -> Self {
        match usize::try_from(by) {
            Err(_) | Ok(0) => Self::None,
            Ok(by) if by <= tail => Self::Tail,
            Ok(by) if by <= HEAD_ROOM => Self::Head,
            Ok(by) if by <= HEAD_ROOM + tail => Self::HeadAndTail,
            Ok(_) => Self::NotEnough,
        }
    }
}

/// The programs, and a page for frames.
struct Bench {
    rig: Rig,
    lab: Ebpf,
    /// The most octets that a test run takes: a page without what the kernel keeps of it.
    page: Vec<u8>,
    left: Vec<u8>,
    rooms: BTreeMap<Room, u64>,
}

impl Bench {
    fn new() -> Result<Self> {
        let mut rig = Rig::new(&zone()?)?;
        let mut lab = prog_test_run::load(&std::fs::read(lab())?)?;
        let next = lab.map_mut("NEXT").context("the lab has no map NEXT")?;
        ProgramArray::try_from(next)?.set(0, rig.loaded.entry()?.fd()?, 0)?;
        rig.loaded.tcx_entry()?;
        let (page, left) = (vec![0; whole_page(&lab)?], vec![0; LARGEST]);
        Ok(Self { rig, lab, page, left, rooms: BTreeMap::new() })
    }

    /// Runs `serve` on a frame that has `tail` octets behind it.
    fn run(&mut self, frame: &[u8], tail: usize) -> Result<(Action, &[u8])> {
        let end = self.page.len() - tail;
        let before = end - frame.len();
        self.page[before..end].copy_from_slice(frame);
        self.page[..2].copy_from_slice(&u16::try_from(before)?.to_le_bytes());
        let strip: &Xdp = self.lab.program("strip").context("the lab has no strip")?.try_into()?;
        let (action, len, _) = prog_test_run::run_in(strip, &self.page[..end], 1, &mut self.left)?;
        Ok((action, &self.left[..len]))
    }

    /// Runs all on a frame: `reply` is what is to come back, if it is answered, and `tails` is the rooms behind it.
    fn compare(
        &mut self,
        frame: &[u8],
        reply: Option<&[u8]>,
        tails: impl Iterator<Item = usize>,
    ) -> Result<()> {
        for tail in tails {
            let room = reply.map_or(Room::Unanswered, |reply| {
                Room::of(reply.len() as isize - frame.len() as isize, tail)
            });
            let (action, left) = self.run(frame, tail)?;
            match reply.filter(|_| room != Room::NotEnough) {
                Some(reply) => is(&(action, left), &(Action::Tx, reply)),
                None => is(&(action, left), &(Action::Pass, frame)),
            }
            .with_context(|| format!("{tail} behind it, {room:?}"))?;
            *self.rooms.entry(room).or_default() += 1;
        }
        let (tcx, left): (&SchedClassifier, _) = (self.rig.loaded.tcx_entry()?, &mut self.left);
        let (verdict, len) = prog_test_run::run_skb_in(tcx, frame, left)?;
        let (expected, room) = match reply {
            Some(reply) => ((REDIRECT, reply), Room::Tcx),
            None => ((UNSPEC, frame), Room::Unanswered),
        };
        is(&(verdict, &left[..len]), &expected).context("TCX")?;
        *self.rooms.entry(room).or_default() += 1;
        Ok(())
    }
}

/// Sees that a verdict and a frame are what they are to be.
fn is<T: PartialEq + std::fmt::Debug>(got: &(T, &[u8]), expected: &(T, &[u8])) -> Result<()> {
    let shown = |frame: &[u8]| format!("{:02x?}", &frame[..frame.len().min(LARGEST_SHOWN)]);
    ensure!(
        got == expected,
        "{:?}\n{}\nis to be {:?}\n{}",
        got.0,
        shown(got.1),
        expected.0,
        shown(expected.1)
    );
    Ok(())
}

/// How long a frame can become that a test run starts with.
fn whole_page(lab: &Ebpf) -> Result<usize> {
    const LEN: usize = 64;
    let lengthen: &Xdp = lab.program("lengthen").context("no lengthen")?.try_into()?;
    let (mut room, mut too_much) = (0, 1 << 15);
    while too_much - room > 1 {
        let by = u16::midpoint(room, too_much);
        let mut frame = [0; LEN];
        frame[..2].copy_from_slice(&by.to_le_bytes());
        let fits = prog_test_run::run(lengthen, &frame, 1)?.action == Action::Pass;
        *(if fits { &mut room } else { &mut too_much }) = by;
    }
    ensure!(room > 2048, "a test run has only {room} octets of room");
    Ok(LEN + usize::from(room))
}

/// What is sent is what the daemon says, octet for octet, and what is passed up is what came, whatever the way
/// in which the answer gets its room. All of the lengths of a query, EDNS or none, family, tags and
/// room behind the frame are there together, once for each way; and all of the first four with all lengths of
/// answers.
pub fn every_frame_is_answered_or_left_as_it_came() -> Result<Verdict> {
    if let Some(obstacle) = pair::obstacle() {
        return Ok(obstacle);
    }
    let mut bench = Bench::new()?;
    let before = bench.rig.counters()?;
    for filler in [Filler::Name, Filler::NameAndOpt, Filler::Option] {
        for len in LENGTHS {
            ask(&mut bench, len, filler).with_context(|| format!("{filler:?}, {len} octets"))?;
        }
    }
    let rooms = &bench.rooms;
    println!("  {rooms:?}");
    for way in [Room::None, Room::Tail, Room::Head, Room::HeadAndTail, Room::NotEnough, Room::Tcx] {
        ensure!(rooms.get(&way).is_some_and(|&count| count > 1000), "{way:?} is missing");
    }
    let after = bench.rig.counters()?;
    let counted = |outcome: Outcome| after[outcome.index()] - before[outcome.index()];
    ensure!(counted(Outcome::NoRoom) == rooms[&Room::NotEnough], "{}", counted(Outcome::NoRoom));
    for outcome in [Outcome::Torn, Outcome::Broken, Outcome::Miss] {
        ensure!(counted(outcome) == 0, "{} {}", counted(outcome), outcome.word());
    }
    let grown_at_head = maps::OUTCOMES + 2;
    let grown = after[grown_at_head] - before[grown_at_head];
    ensure!(grown == rooms[&Room::Head] + rooms[&Room::HeadAndTail], "{grown} grown at the head");
    Ok(Verdict::Passed)
}

/// Asks with one message for answers of all lengths.
fn ask(bench: &mut Bench, len: usize, filler: Filler) -> Result<()> {
    let mut rtype = FIRST_TYPE;
    for growths in GROWTHS {
        for place in 0..growths.len() {
            let query = message(len, filler, rtype);
            let mut said = Vec::new();
            let outcome = bench.rig.reader.answer(&query, false, LIMIT, bench.rig.now, &mut said);
            // Each length of an answer has its turn to meet all rooms.
            let step = if len % growths.len() == place { 1 } else { *TAIL_ROOMS.end() };
            for family in 0..2 {
                for tags in TAGS {
                    let asked: Frame = framed(query.clone(), family, tags)?;
                    let reply = outcome.is_answered().then(|| asked.reply(said.clone()).encode());
                    let reply = reply.transpose()?;
                    bench
                        .compare(&asked.encode()?, reply.as_deref(), TAIL_ROOMS.step_by(step))
                        .with_context(|| format!("TYPE{rtype}, family {family}, {tags:x?}"))?;
                }
            }
            rtype += 1;
        }
    }
    Ok(())
}
