//! Long answers: those with a [`MARKED`] piece, and those behind octet 16,383, where compression pointers do not reach
//! (RFC 1035 section 4.1.4) and names are written out. Over TCP only, and so the host's alone.
//!
//! Of glue that has no room what does not fit is left out, and TC says so (RFC 9471 section 3.1).
//!
//! What a pointer reaches lies before it, and so does all that was written before that. So wherever a pointer
//! can be written, what it points to lies where it would if all could be.

use crate::Outcome;
use crate::dns::{HEADER_LEN, QUESTION_TAIL_LEN};
use crate::engine::compose::{self, MAX_POINTER};
use crate::engine::measure::{context_of, opt_len, piece_of};
use crate::frame::Frame;
use crate::image::piece::{
    FIXUP_START, MARKED, OWNER_INSIDE, PART, Piece, RDATA_AT, TOO_LARGE, marked, names_in,
};
use crate::image::{Address, Store, UNIT, Window};
use crate::state::plan::{PLAN_LEN, Part, section};
use crate::state::{Scratch, made};

/// The most labels and pointers of one name.
const MAX_STEPS: usize = 256;

/// Whether the planned answer of `total` octets is written here.
pub fn is_long<S: Store>(store: &S, scratch: &Scratch, total: usize) -> bool {
    // No marked piece is as small as a part: it would not be marked.
    total > compose::MAX_POINTER + 1 || (total > PART && has_marked(store, scratch))
}

fn has_marked<S: Store>(store: &S, scratch: &Scratch) -> bool {
    scratch.plan.parts[..(scratch.plan.count as usize).min(PLAN_LEN)].iter().any(|part| {
        piece_of(store, &scratch.made, part.address).is_some_and(|piece| piece.fixups(1) == MARKED)
    })
}

/// Writes the planned answer into `frame`, which holds its query at its start, in at most `limit` octets. If there is
/// no room for all of it, glue is left out; if that is not enough, everything, and TC is set.
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
            Err(Unwritten::NoRoom) if scratch.plan.count > 0 => {
                scratch.plan.count = 0;
                scratch.plan.truncated = 1;
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

/// Writes all pieces from `at` on and up to `limit`, of glue as many records as fit; returns where they end, and how
/// many records are in which section.
fn parts<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    at: usize,
    limit: usize,
    scratch: &mut Scratch,
) -> Result<(usize, u64), Unwritten> {
    let dnssec = scratch.query.dnssec();
    let (mut at, mut counts) = (at, 0u64);
    let count = (scratch.plan.count as usize).min(PLAN_LEN);
    for index in 0..count {
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
            is_marked: piece.fixups(1) == MARKED,
            fixups: piece.fixups(dnssec),
            next_fixup: 0,
            whole: (at, 0),
        };
        let written = writer.records(piece.len(dnssec));
        let (whole_end, whole_records) = writer.whole;
        let first_rdata = match written {
            Err(Unwritten::NoRoom) if part.section == section::ADDITIONAL => {
                // What is optional is left out whole, so that no RRset is there in part (RFC 2181 section 9).
                if index + 1 < count || scratch.plan.last_is_optional == 0 {
                    scratch.plan.truncated = 1;
                    at = whole_end;
                    counts += whole_records << (section::ADDITIONAL * 16);
                }
                break;
            }
            written => written?,
        };
        at = whole_end;
        counts += whole_records << ((part.section & 3) * 16);
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
    /// Whether names end in marks, and there are no fix-ups.
    is_marked: bool,
    fixups: usize,
    next_fixup: usize,
    /// Where the last record that was written whole ends, and how many there are.
    whole: (usize, u64),
}

impl<'a, S: Store, F: Frame> Writer<'a, S, F> {
    /// Writes the records in the first `len` octets of the body; returns where the first one's RDATA starts.
    fn records(&mut self, len: usize) -> Result<usize, Unwritten> {
        if len == TOO_LARGE {
            return Err(Unwritten::NoRoom);
        }
        let (mut from, mut first) = (0, None);
        while from < len {
            from = self.owner(from)?;
            let rtype = u16::from_be_bytes([self.octet(from)?, self.octet(from + 1)?]);
            self.copy(from, 8)?;
            let rdata_len =
                u16::from_be_bytes([self.octet(from + 8)?, self.octet(from + 9)?]) as usize;
            let len_at = self.at;
            self.copy(from + 8, 2)?;
            first.get_or_insert(self.at);
            from = self.rdata(rtype, from + 10, from + 10 + rdata_len)?;
            let written = (self.at - len_at - 2) as u16;
            self.frame.put(len_at, written.to_be_bytes()).ok_or(Unwritten::NoRoom)?;
            self.whole = (self.at, self.whole.1 + 1);
        }
        Ok(first.unwrap_or(self.at))
    }

    /// Writes an owner name; returns where it ends in the body.
    fn owner(&mut self, from: usize) -> Result<usize, Unwritten> {
        match self.piece.owner() {
            OWNER_INSIDE => self.name(from),
            owner => {
                let suffix = if owner == 0 { self.end - self.start } else { owner as usize };
                self.suffix(suffix)?;
                Ok(from + 2)
            }
        }
    }

    /// Writes a name that is spelled out, as far as it is; returns where it ends in the body.
    fn name(&mut self, from: usize) -> Result<usize, Unwritten> {
        let mut from = from;
        for _ in 0..MAX_STEPS {
            if let Some(what) = self.fixup_at(from)? {
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

    /// Writes the RDATA between two places of the body; returns where it ends.
    fn rdata(&mut self, rtype: u16, from: usize, end: usize) -> Result<usize, Unwritten> {
        let mut from = from;
        if self.is_marked {
            let (before, names) = names_in(rtype).unwrap_or((0, 0));
            self.copy(from, before)?;
            from += before;
            for _ in 0..names {
                from = self.name(from)?;
            }
        }
        while !self.is_marked && self.next_fixup < self.fixups {
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
    fn fixup_at(&mut self, place: usize) -> Result<Option<u16>, Unwritten> {
        if self.is_marked {
            return self.what_at(place);
        }
        let is_there = self.next_fixup < self.fixups;
        let next = is_there.then(|| self.piece.fixup(self.next_fixup));
        let what = next.filter(|(at, _)| *at == place).map(|(_, what)| what);
        self.next_fixup += what.is_some() as usize;
        Ok(what)
    }

    /// What to write at any place of the body, if a pointer goes there.
    fn what_at(&self, place: usize) -> Result<Option<u16>, Unwritten> {
        if self.is_marked {
            // The root is one octet, and may be the last one.
            let first = self.octet(place)?;
            return Ok(if first > 63 { marked([first, self.octet(place + 1)?]) } else { None });
        }
        let mut known = (0..self.fixups).map(|index| self.piece.fixup(index));
        Ok(known.find(|(at, _)| *at == place).map(|(_, what)| what))
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
            match self.what_at(from)? {
                Some(what) if what & FIXUP_START == 0 => return self.suffix(what as usize),
                Some(what) => from = (what & !FIXUP_START) as usize,
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
