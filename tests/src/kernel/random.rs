//! Frames made by chance, through the programs: what comes back is right, or what was sent.

use std::{collections::BTreeMap, env, thread};

use anyhow::{Context as _, Result, bail, ensure};
use sealdns::dnssec::policy::Denial;
use testbed::frames::{ETHERNET_LEN, Frame};
use tests::{
    chance::Chance,
    dns::{Edns, HEADER_LEN, Message, Query},
    harness::Verdict,
    prog_test_run::{Action, LARGEST},
    questions::questions,
    servers::{CORNER, DEMO, DENIALS, signed},
    stack::{Host, repaired, udp_len},
};
use xdp_common::Outcome;

use crate::kernel::{self, Rig, TAGS, framed};

/// How many frames: the variable, and what is enough at every run.
const COUNT: (&str, u64) = ("SEALDNS_RANDOM_FRAMES", 20_000);

/// Frames between two looks at the counters.
const BATCH: u64 = 1000;

/// The server's limit and that of clients without EDNS, in octets of DNS message.
const LIMIT: usize = 1232;
const LEAST: usize = 512;

/// The longest frame that is made: an Ethernet frame without its check sequence, and no jumbo.
const LONGEST: usize = 1514;

/// Queries as they are, damaged in a right frame or in the frame itself, cut, made longer, and octets without
/// sense: never an abort; what is passed or dropped is unchanged; what is answered is a query, and the answer is
/// what the daemon says to it, in a right frame; and each is counted once as what became of it.
pub fn random_frames_do_no_harm() -> Result<Verdict> {
    if let Some(obstacle) = kernel::obstacle() {
        return Ok(obstacle);
    }
    let count = match env::var(COUNT.0) {
        Ok(text) => text.parse().with_context(|| format!("{} is no number", COUNT.0))?,
        Err(_) => COUNT.1,
    };
    let directory = tempfile::tempdir()?;
    let zones = [
        signed(DEMO, Denial::Nsec, directory.path())?,
        signed(DEMO, Denial::Nsec3 { opt_out: false }, directory.path())?,
        signed(CORNER, DENIALS[2].1, directory.path())?,
    ];
    let share = count.div_ceil(zones.len() as u64);
    let fates: Vec<BTreeMap<&str, u64>> = thread::scope(|scope| {
        let runs = zones.iter().enumerate().map(|(seed, zone)| {
            scope.spawn(move || {
                Run::new(Rig::new(zone)?, seed as u64 + 1).go(&questions(zone, []), share)
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter()
            .map(|run| run.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
            .collect::<Result<_>>()
    })?;
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (word, count) in fates.into_iter().flatten() {
        *sums.entry(word).or_default() += count;
    }
    let total: u64 = sums.values().sum();
    println!("  {total} frames: {sums:?}");
    ensure!(total >= count, "{total} frames of {count}");
    for outcome in [Outcome::Positive, Outcome::Nxdomain, Outcome::Malformed, Outcome::BadChecksum]
    {
        ensure!(sums.contains_key(outcome.word()), "not one {}", outcome.word());
    }
    Ok(Verdict::Passed)
}

/// One thread's frames.
struct Run {
    rig: Rig,
    chance: Chance,
    host: Host,
    room: Vec<u8>,
    said: Vec<u8>,
    /// Answered, passed, dropped since the counters were last looked at.
    seen: [u64; 3],
}

impl Run {
    fn new(rig: Rig, seed: u64) -> Self {
        let host = Host::of(&rig.config);
        Self {
            rig,
            chance: Chance(seed),
            host,
            room: vec![0; LARGEST],
            said: Vec::new(),
            seen: [0; 3],
        }
    }

    fn go(mut self, queries: &[Query], count: u64) -> Result<BTreeMap<&'static str, u64>> {
        let start = self.rig.counters()?;
        let mut before = start;
        for number in 1..=count {
            let frame = self.frame(queries)?;
            self.check(&frame).with_context(|| format!("frame {number}: {frame:02x?}"))?;
            if number % BATCH == 0 || number == count {
                let after = self.rig.counters()?;
                let counted = |is: &dyn Fn(Outcome) -> bool| -> u64 {
                    let outcomes = Outcome::ALL.into_iter().filter(|outcome| is(*outcome));
                    outcomes.map(|one| after[one.index()] - before[one.index()]).sum()
                };
                let answered = counted(&Outcome::is_answered);
                let dropped = counted(&Outcome::is_dropped);
                let passed = counted(&|one| !one.is_answered() && !one.is_dropped());
                let counted = [answered, passed, dropped];
                ensure!(counted == self.seen, "{counted:?} counted, {:?} seen", self.seen);
                before = after;
                self.seen = [0; 3];
            }
        }
        let torn = [Outcome::Torn, Outcome::NoRoom].map(|one| before[one.index()]);
        ensure!(torn == [0; 2], "torn, no room: {torn:?}");
        let fates = Outcome::ALL
            .into_iter()
            .map(|one| (one.word(), before[one.index()] - start[one.index()]));
        Ok(fates.filter(|(_, count)| *count != 0).collect())
    }

    fn check(&mut self, frame: &[u8]) -> Result<()> {
        let (action, len) = self.rig.run_in(frame, &mut self.room)?;
        let left = &self.room[..len];
        match action {
            Action::Pass | Action::Drop => {
                self.seen[if action == Action::Pass { 1 } else { 2 }] += 1;
                ensure!(left == frame, "{action:?}, and changed");
            }
            Action::Tx => {
                self.seen[0] += 1;
                ensure!(self.host.fault(frame).is_none(), "{:?}", self.host.fault(frame));
                let asked = Frame::decode(&repaired(frame)?).context("answered, and no UDP")?;
                // Taking it apart recomputes both checksums by the tests' own arithmetic.
                let reply = Frame::decode(left)?;
                self.rig.reader.answer(&asked.payload, false, LIMIT, self.rig.now, &mut self.said);
                ensure!(reply == asked.reply(self.said.clone()), "not what the daemon says");
                check_answer(&asked.payload, &reply.payload)?;
            }
            other => bail!("{other:?}"),
        }
        Ok(())
    }

    fn throw(&mut self, sides: usize) -> usize {
        self.chance.throw(sides as u64) as usize
    }

    fn octet(&mut self) -> u8 {
        self.throw(256) as u8
    }

    //--- Frames

    fn frame(&mut self, queries: &[Query]) -> Result<Vec<u8>> {
        if self.throw(16) == 0 {
            let len = ETHERNET_LEN + self.throw(LONGEST - ETHERNET_LEN);
            let mut frame: Vec<u8> = (0..len).map(|_| self.octet()).collect();
            // Often far enough to be looked at.
            let right = framed(self.query(queries), 0, &[])?.encode()?;
            let kept = self.throw(right.len().min(len));
            frame[..kept].copy_from_slice(&right[..kept]);
            return Ok(frame);
        }
        let mut payload = self.query(queries);
        let damaged = self.throw(4);
        if damaged == 1 {
            self.damage(&mut payload);
        }
        let (family, tags) = (self.throw(2), self.throw(TAGS.len()));
        let mut frame = framed(payload, family, TAGS[tags])?.encode()?;
        match damaged {
            2 => self.damage(&mut frame),
            // Without a checksum, which IPv4 allows.
            3 if self.throw(4) == 0 => {
                let at = frame.len() - usize::from(udp_len(&frame)) + 6;
                frame[at..at + 2].fill(0);
            }
            _ => {}
        }
        match self.throw(32) {
            0 => frame.truncate(ETHERNET_LEN + self.throw(frame.len() - ETHERNET_LEN)),
            // What pads a short frame.
            1 => frame.resize((frame.len() + self.throw(64)).min(LONGEST), 0),
            _ => {}
        }
        Ok(frame)
    }

    /// Some octets changed, taken out or put in.
    fn damage(&mut self, octets: &mut Vec<u8>) {
        for _ in 0..=self.throw(3) {
            let at = self.throw(octets.len());
            match self.throw(8) {
                0 if octets.len() > ETHERNET_LEN => drop(octets.remove(at)),
                1 => octets.insert(at, self.chance.throw(256) as u8),
                _ => octets[at] = self.octet(),
            }
        }
    }

    /// A query of the list, in letters and with flags and EDNS by chance.
    fn query(&mut self, queries: &[Query]) -> Vec<u8> {
        let query = &queries[self.throw(queries.len())];
        let name = query.name.iter().map(|octet| self.chance.case(*octet)).collect();
        let rtype = if self.throw(16) == 0 { self.throw(1 << 16) as u16 } else { query.rtype };
        let payload = [0, 512, 1232, 4096, 65535][self.throw(5)];
        let edns = (self.throw(4) != 0).then(|| Edns { payload, dnssec_ok: self.throw(2) == 0 });
        let id = self.throw(1 << 16) as u16;
        let mut message = Query { name, rtype, edns }.message(id);
        // RD and CD, with no say in the answer.
        message[2] |= self.throw(2) as u8;
        message[3] |= (self.throw(2) as u8) << 4;
        if edns.is_some() && self.throw(4) == 0 {
            self.options(&mut message);
        }
        message
    }

    /// Options behind the OPT record, whose length stands in the last two octets.
    fn options(&mut self, message: &mut Vec<u8>) {
        let start = message.len();
        for _ in 0..=self.throw(3) {
            let len = self.throw(40);
            message.extend([0, self.octet(), 0, len as u8]);
            for _ in 0..len {
                message.push(self.octet());
            }
        }
        let len = ((message.len() - start) as u16).to_be_bytes();
        message[start - 2..start].copy_from_slice(&len);
    }
}

/// What must hold of any answer: it is one to this query, another decoder can read it, and it is no larger than
/// client and server allow.
fn check_answer(query: &[u8], answer: &[u8]) -> Result<()> {
    ensure!(query[2] & 0xf8 == 0, "an answer to what is no query");
    let plain = Message::read(answer)?;
    ensure!(
        answer[..2] == query[..2] && answer[2] & 0x80 != 0,
        "another identifier, or no response"
    );
    let asked = sealdns::zone::name::wire_name_len(&query[HEADER_LEN..]).context("no name")? + 4;
    let end = HEADER_LEN + asked;
    ensure!(answer[HEADER_LEN..end] == query[HEADER_LEN..end], "another question");
    ensure!(plain.edns.is_some() == (query[11] == 1), "OPT");
    let payload = match query[11] {
        1 => usize::from(u16::from_be_bytes([query[end + 3], query[end + 4]])),
        _ => 0,
    };
    let limit = payload.clamp(LEAST, LIMIT);
    ensure!(answer.len() <= limit, "{} octets, and {limit} are allowed", answer.len());
    Ok(())
}
