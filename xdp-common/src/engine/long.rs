//! Answers behind octet 16,383, where compression pointers do not reach (RFC 1035 section 4.1.4): names there
//! are written out. Over TCP only, and so the host's alone.
//!
//! What a pointer reaches lies before it, and so does all that was written before that. So wherever a pointer
//! can be written, what it points to lies where it would if all could be.

use crate::Outcome;
use crate::dns::{HEADER_LEN, QUESTION_TAIL_LEN};
use crate::engine::compose::{self, MAX_POINTER};
use crate::engine::plan::{context_of, opt_len, piece_of};
use crate::frame::Frame;
use crate::image::piece::{FIXUP_START, OWNER_INSIDE, PART, Piece, RDATA_AT};
use crate::image::{Address, Store, UNIT, Window};
use crate::state::plan::{PLAN_LEN, Part};
use crate::state::{Scratch, made};

/// The most labels and pointers of one name.
const MAX_STEPS: usize = 256;

/// Writes the planned answer into `frame`, which holds its query at its start, in at most `limit` octets; what
/// does not fit is left out as [`plan::measure`](super::plan::measure) does.
pub fn write<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    limit: usize,
    payload: u16,
    scratch: &mut Scratch,
) -> Result<(), Outcome> {
    let head = HEADER_LEN + scratch.query.name_len as usize + QUESTION_TAIL_LEN;
    let opt_len = opt_len(&scratch.query, &scratch.options);
    loop {
        frame.resize(limit, head)?;
        let written = parts(store, frame, head, limit.saturating_sub(opt_len), scratch);
        let total = match written {
            Ok((end, counts)) => {
                scratch.plan.counts = counts;
                end + opt_len
            }
            Err(Unwritten::Damaged) => return Err(Outcome::Broken),
            // What is optional goes first.
            Err(Unwritten::NoRoom) if scratch.plan.count > 0 => {
                let is_optional = core::mem::take(&mut scratch.plan.last_is_optional) != 0;
                scratch.plan.count = if is_optional { scratch.plan.count - 1 } else { 0 };
                scratch.plan.truncated = !is_optional as u32;
                continue;
            }
            Err(Unwritten::NoRoom) => return Err(Outcome::Oversize),
        };
        scratch.plan.total = total as u32;
        compose::header(frame, 0, &scratch.query, &scratch.plan).ok_or(Outcome::Broken)?;
        frame.resize(total, total)?;
        if scratch.query.opt() != 0 {
            let Scratch { query, plan, options, .. } = scratch;
            compose::opt(frame, 0, payload, query, plan, options).ok_or(Outcome::Broken)?;
        }
        return Ok(());
    }
}

/// Why a piece was not written.
enum Unwritten {
    /// It does not fit.
    NoRoom,
    /// The image is damaged.
    Damaged,
}

/// Writes all pieces from `at` on and up to `limit`; returns where they end, and how many records are in which
/// section.
fn parts<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    at: usize,
    limit: usize,
    scratch: &mut Scratch,
) -> Result<(usize, u64), Unwritten> {
    let dnssec = scratch.query.dnssec();
    let (mut at, mut counts) = (at, 0u64);
    for index in 0..(scratch.plan.count as usize).min(PLAN_LEN) {
        scratch.plan.parts[index].at = at as u32;
        let part = scratch.plan.parts[index];
        let piece = piece_of(store, &scratch.made, part.address).ok_or(Unwritten::Damaged)?;
        let (start, end) = context_of(&scratch.plan, &part);
        let mut writer = Writer {
            store,
            frame: &mut *frame,
            part,
            piece,
            place: at,
            start,
            end,
            at,
            limit,
            fixups: piece.fixups(dnssec),
            next_fixup: 0,
        };
        let first_rdata = writer.records(piece.len(dnssec))?;
        at = writer.at;
        counts += (piece.count(dnssec) as u64) << ((part.section & 3) * 16);
        // Where the target of a CNAME stands is reckoned from an owner name of two octets.
        scratch.plan.parts[index].at = (first_rdata.saturating_sub(RDATA_AT)) as u32;
    }
    Ok((at, counts))
}

/// Writes one piece.
struct Writer<'a, S, F> {
    store: &'a S,
    frame: &'a mut F,
    part: Part,
    piece: Piece<'a>,
    /// Where the piece starts in the message.
    place: usize,
    /// Where the context's name starts and ends.
    start: usize,
    end: usize,
    /// Where the next octet goes.
    at: usize,
    limit: usize,
    fixups: usize,
    next_fixup: usize,
}

impl<'a, S: Store, F: Frame> Writer<'a, S, F> {
    /// Writes the records in the first `len` octets of the body; returns where the first one's RDATA starts.
    fn records(&mut self, len: usize) -> Result<usize, Unwritten> {
        let (mut from, mut first) = (0, None);
        while from < len {
            from = self.owner(from)?;
            self.copy(from, 8)?;
            let rdata_len =
                u16::from_be_bytes([self.octet(from + 8)?, self.octet(from + 9)?]) as usize;
            let len_at = self.at;
            self.copy(from + 8, 2)?;
            first.get_or_insert(self.at);
            from = self.rdata(from + 10, from + 10 + rdata_len)?;
            let written = (self.at - len_at - 2) as u16;
            self.frame.put(len_at, written.to_be_bytes()).ok_or(Unwritten::NoRoom)?;
        }
        Ok(first.unwrap_or(self.at))
    }

    /// Writes an owner name; returns where it ends in the body.
    fn owner(&mut self, from: usize) -> Result<usize, Unwritten> {
        match self.piece.owner() {
            OWNER_INSIDE => {
                let mut from = from;
                for _ in 0..MAX_STEPS {
                    if let Some(what) = self.fixup_at(from) {
                        self.pointer(what)?;
                        return Ok(from + 2);
                    }
                    let label = self.octet(from)? as usize & 63;
                    self.copy(from, label + 1)?;
                    from += label + 1;
                    if label == 0 {
                        return Ok(from);
                    }
                }
                Err(Unwritten::Damaged)
            }
            owner => {
                let suffix = if owner == 0 { self.end - self.start } else { owner as usize };
                self.suffix(suffix)?;
                Ok(from + 2)
            }
        }
    }

    /// Writes the RDATA between two places of the body; returns where it ends.
    fn rdata(&mut self, from: usize, end: usize) -> Result<usize, Unwritten> {
        let mut from = from;
        while self.next_fixup < self.fixups {
            let (place, what) = self.piece.fixup(self.next_fixup);
            if place >= end {
                break;
            }
            self.copy(from, place.checked_sub(from).ok_or(Unwritten::Damaged)?)?;
            self.pointer(what)?;
            self.next_fixup += 1;
            from = place + 2;
        }
        self.copy(from, end.checked_sub(from).ok_or(Unwritten::Damaged)?)?;
        Ok(end)
    }

    /// What to write at a place of the body, if that is the next one with a pointer.
    fn fixup_at(&mut self, place: usize) -> Option<u16> {
        let is_there = self.next_fixup < self.fixups;
        let (at, what) = is_there.then(|| self.piece.fixup(self.next_fixup))?;
        (at == place).then(|| {
            self.next_fixup += 1;
            what
        })
    }

    /// Writes a pointer, or the name in its place.
    fn pointer(&mut self, what: u16) -> Result<(), Unwritten> {
        let distance = (what & !FIXUP_START) as usize;
        if what & FIXUP_START == 0 {
            return self.suffix(distance);
        }
        if self.place + distance <= MAX_POINTER {
            return self.put_pointer(self.place + distance);
        }
        let mut from = distance;
        for _ in 0..MAX_STEPS {
            let known = (0..self.fixups).map(|index| self.piece.fixup(index));
            match known.into_iter().find(|(place, _)| *place == from) {
                Some((_, what)) if what & FIXUP_START == 0 => return self.suffix(what as usize),
                Some((_, what)) => from = (what & !FIXUP_START) as usize,
                None => {
                    let label = self.octet(from)? as usize & 63;
                    self.copy(from, label + 1)?;
                    from += label + 1;
                    if label == 0 {
                        return Ok(());
                    }
                }
            }
        }
        Err(Unwritten::Damaged)
    }

    /// Writes the last `len` octets of the context's name: a pointer to them, or themselves.
    fn suffix(&mut self, len: usize) -> Result<(), Unwritten> {
        let from = self.end.checked_sub(len).ok_or(Unwritten::Damaged)?;
        if from <= MAX_POINTER {
            return self.put_pointer(from);
        }
        for octet in from..self.end {
            let [octet] = self.frame.get::<1>(octet).ok_or(Unwritten::Damaged)?;
            self.put(octet)?;
        }
        Ok(())
    }

    fn put_pointer(&mut self, to: usize) -> Result<(), Unwritten> {
        let [high, low] = (0xc000 | to as u16).to_be_bytes();
        self.put(high)?;
        self.put(low)
    }

    fn put(&mut self, octet: u8) -> Result<(), Unwritten> {
        if self.at >= self.limit {
            return Err(Unwritten::NoRoom);
        }
        self.frame.put(self.at, [octet]).ok_or(Unwritten::NoRoom)?;
        self.at += 1;
        Ok(())
    }

    /// Copies octets of the body.
    fn copy(&mut self, from: usize, len: usize) -> Result<(), Unwritten> {
        if self.at + len > self.limit {
            return Err(Unwritten::NoRoom);
        }
        let mut done = 0;
        while done < len {
            let run = if len - done < PART { len - done } else { PART };
            let (window, at) = self.window(from + done)?;
            self.frame.copy_in(self.at + done, window, at, run).ok_or(Unwritten::Damaged)?;
            done += run;
        }
        self.at += len;
        Ok(())
    }

    fn octet(&self, at: usize) -> Result<u8, Unwritten> {
        let (window, at) = self.window(at)?;
        window.get(at).copied().ok_or(Unwritten::Damaged)
    }

    /// A window on the body, and where in it an octet of the body is: at least [`PART`] octets come behind it.
    fn window(&self, at: usize) -> Result<(&'a Window, usize), Unwritten> {
        let at = self.piece.body_at() + at;
        if made::number(self.part.address).is_some() {
            return Ok((self.piece.window(), at));
        }
        let address = self.part.address + (at / UNIT) as Address;
        Ok((self.store.record(address).ok_or(Unwritten::Damaged)?, at % UNIT))
    }
}
