//! Pieces built: records written one after the other, with the places that must be fixed when the
//! piece is put into a message. The layout is `xdp_common::image::piece`'s.

use std::collections::HashMap;

use xdp_common::checksum;
use xdp_common::dns::edns::OPT_LEN;
use xdp_common::dns::{HEADER_LEN, QUESTION_TAIL_LEN};
use xdp_common::engine::compose::MAX_POINTER;
use xdp_common::image::piece::{
    self, FIXUP_START, MARKED, MAX_FIXUPS, MAX_MARKED_PLACE, NEVER, OWNER_INSIDE, PART,
    QUESTION_POINTER, TOO_LARGE, at, body_at, mark, marked, names_in,
};

use crate::zone::{Rtype, name};

/// The largest DNS message over TCP in octets (RFC 1035 section 4.2.2).
pub const MAX_TCP_MESSAGE: usize = 65535;

/// Whose a record is, and how its owner name is written.
#[derive(Clone, Copy)]
pub enum OwnerName<'a> {
    /// The context's own name.
    Context,
    /// The suffix of the context's name with this length in octets; all records of the piece alike.
    Suffix(usize),
    /// Spelled out up to what it shares with every context.
    Spelled(&'a [u8]),
    /// That of the piece's first record, which was spelled out.
    First,
}

/// A piece that was built.
pub struct FinishedPiece {
    /// The record of the slab.
    pub record: Vec<u8>,
    /// Whether no message has room for it, at least if DNSSEC records are wanted: then there is only a mark in
    /// their place ([`TOO_LARGE`]).
    pub is_too_large: bool,
}

/// The most pointers that are made to save octets; beyond, names in RDATA are spelled out, so that
/// the kernel's bound on fix-ups is kept for those that must be.
const MAX_SAVING_FIXUPS: usize = 20;

/// Octets of a body from which on it is marked, if that makes it shorter: no answer over UDP is as long.
const LONG: usize = 4096;

/// A piece in the making.
pub struct PieceBuilder<'a> {
    shared: &'a [u8],
    /// Whether pointers are marks in the names, and there may be any number of them.
    is_marked: bool,
    /// Of a marked piece, where each record ends.
    ends: Vec<usize>,
    /// Of a marked piece, the names that are pointers to earlier ones: where those stand, and how many octets longer
    /// they are than a pointer.
    saved: Vec<(u16, usize)>,
    /// Of a marked piece, where in the body names stand that others may end in.
    known: HashMap<Vec<u8>, u16>,
    /// The last owner name that was spelled out, and where in the body.
    spelled: Option<(Vec<u8>, u16)>,
    body: Vec<u8>,
    fixups: Vec<(u16, u16)>,
    owner: u8,
    /// Body length, fix-ups and records before the DNSSEC records.
    plain: Option<(usize, usize, usize)>,
    count: usize,
    not_after: u32,
}

impl<'a> PieceBuilder<'a> {
    /// A piece for contexts that all end in the name `shared`: the zone's apex, or in a referral the cut.
    pub fn new(shared: &'a [u8]) -> PieceBuilder<'a> {
        PieceBuilder {
            shared,
            is_marked: false,
            ends: Vec::new(),
            saved: Vec::new(),
            known: HashMap::new(),
            spelled: None,
            body: Vec::new(),
            fixups: Vec::new(),
            owner: 0,
            plain: None,
            count: 0,
            not_after: NEVER,
        }
    }

    /// A piece with what `add` adds to it, in the form in which most of it fits a message.
    pub fn with(shared: &'a [u8], add: impl Fn(&mut PieceBuilder<'a>)) -> PieceBuilder<'a> {
        let mut piece = PieceBuilder::new(shared);
        add(&mut piece);
        if piece.body.len() <= LONG {
            return piece;
        }
        let mut marked = PieceBuilder { is_marked: true, ..PieceBuilder::new(shared) };
        add(&mut marked);
        // What is not larger than a part is written as it is (`engine::long::is_long`).
        if (PART + 1..piece.body.len()).contains(&marked.body.len()) { marked } else { piece }
    }

    /// Octets that it takes behind the first `before` octets of a message: pointers do not reach everywhere.
    pub fn len_behind(&self, before: usize) -> usize {
        let far = self.saved.iter().filter(|(place, _)| before + usize::from(*place) > MAX_POINTER);
        self.body.len() + far.map(|(_, octets)| octets).sum::<usize>()
    }

    /// Leaves out the last records if otherwise no message about a name of `name_len` octets has room.
    pub fn cut_off(&mut self, name_len: usize) {
        while self.body.len() > room(name_len) && self.ends.pop().is_some() {
            self.body.truncate(self.ends.last().copied().unwrap_or(0));
            self.count -= 1;
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a record.
    pub fn record(&mut self, owner: OwnerName<'_>, rtype: Rtype, ttl: u32, rdata: &[u8]) {
        match owner {
            OwnerName::Context => self.body.extend(QUESTION_POINTER.to_be_bytes()),
            OwnerName::Suffix(len) => {
                self.owner = len as u8;
                self.body.extend(QUESTION_POINTER.to_be_bytes());
            }
            OwnerName::Spelled(wire) => {
                self.owner = OWNER_INSIDE;
                match &self.spelled {
                    Some((before, place))
                        if **before == *wire && self.has_pointers_left(MAX_FIXUPS) =>
                    {
                        self.pointer(FIXUP_START | place);
                    }
                    _ => {
                        let place = self.body.len() as u16;
                        self.name(wire, true);
                        // Only so far does the place fit beside the mark.
                        let fits = place < FIXUP_START && !self.is_marked;
                        self.spelled = fits.then(|| (wire.to_vec(), place));
                    }
                }
            }
            OwnerName::First => match &self.spelled {
                Some((first, _)) if !self.has_pointers_left(MAX_FIXUPS) => self.body.extend(first),
                _ => self.pointer(FIXUP_START),
            },
        }
        self.body.extend(rtype.0.to_be_bytes());
        self.body.extend([0, 1]);
        self.body.extend(ttl.to_be_bytes());
        let len_at = self.body.len();
        self.body.extend([0, 0]);
        self.rdata(rtype, rdata);
        let len = (self.body.len() - len_at - 2) as u16;
        self.body[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
        self.count += 1;
        if self.is_marked {
            self.ends.push(self.body.len());
        }
    }

    /// Says until when the signatures hold that were added; [`NEVER`] if not called.
    pub fn holds_until(&mut self, time: u32) {
        // The time that stands for none is a moment like others: the one before it does as well.
        self.not_after = if time == NEVER { NEVER - 1 } else { time };
    }

    /// What follows is sent only if DNSSEC records are wanted.
    pub fn dnssec_follows(&mut self) {
        if self.plain.is_none() {
            self.plain = Some((self.body.len(), self.fixups.len(), self.count));
        }
    }

    /// The record of the slab, of a piece that is sent about names of `name_len` octets or more.
    pub fn finish(mut self, name_len: usize) -> FinishedPiece {
        let mut whole = (self.body.len(), self.fixups.len(), self.count);
        let mut plain = self.plain.unwrap_or(whole);
        let room = room(name_len);
        let is_too_large = self.body.len() > room;
        let mut lens = [plain.0, whole.0];
        if is_too_large {
            // Without DNSSEC records it may fit.
            if plain.0 > room {
                plain = (0, 0, 0);
                lens[0] = TOO_LARGE;
            }
            whole = plain;
            lens[1] = TOO_LARGE;
            self.body.truncate(plain.0);
            self.fixups.truncate(plain.1);
        }
        let fixups = match self.is_marked {
            true => [MARKED; 2],
            false => [plain.1, whole.1],
        };
        let body_at = body_at(fixups[1]);
        let mut record = vec![0u8; body_at];
        let mut put = |at: usize, octets: &[u8]| {
            record[at..at + octets.len()].copy_from_slice(octets);
        };
        let parts = [(plain, lens[0], 0), (whole, lens[1], 2)];
        for ((len, _, count), said_len, shift) in parts {
            let sum = checksum::of(&self.body[..len]);
            put(at::LEN + shift, &(said_len as u16).to_le_bytes());
            put(at::SUM + shift, &sum.to_le_bytes());
            put(at::COUNT + shift, &(count as u16).to_le_bytes());
        }
        put(at::NOT_AFTER, &self.not_after.to_le_bytes());
        put(at::FIXUPS, &fixups.map(|count| count as u8));
        put(at::OWNER, &[self.owner]);
        for (index, &(place, what)) in self.fixups.iter().enumerate() {
            let fixup_at = at::FIXUP_LIST + index * piece::FIXUP_LEN;
            put(fixup_at, &place.to_le_bytes());
            put(fixup_at + 2, &what.to_le_bytes());
        }
        record.extend(&self.body);
        FinishedPiece { record, is_too_large }
    }

    /// Writes a name: its labels and a pointer to what it shares with every context, or all of it if no
    /// pointer would save anything or none is left.
    fn name(&mut self, wire: &[u8], needed: bool) {
        if self.is_marked {
            return self.marked_name(wire);
        }
        let room = if needed { MAX_FIXUPS } else { MAX_SAVING_FIXUPS };
        let shared = self.shared_len(wire);
        if shared > 2 && self.has_pointers_left(room) {
            self.body.extend(&wire[..wire.len() - shared]);
            self.pointer(shared as u16);
        } else {
            self.body.extend(wire);
        }
    }

    /// Writes a name of a marked piece: labels up to what it shares with every context, or with a name before it.
    fn marked_name(&mut self, wire: &[u8]) {
        let shared = self.shared_len(wire);
        let mut rest = wire;
        while let Some((&label, _)) = rest.split_first().filter(|(label, _)| **label != 0) {
            // A pointer is no longer than what it saves.
            if rest.len() == shared && shared > 2 {
                return self.pointer(shared as u16);
            }
            if let Some(&place) = self.known.get(rest).filter(|_| rest.len() > 2) {
                return self.pointer(FIXUP_START | place);
            }
            if self.body.len() <= MAX_MARKED_PLACE {
                self.known.insert(rest.to_vec(), self.body.len() as u16);
            }
            let (labels, after) = rest.split_at(1 + usize::from(label));
            self.body.extend(labels);
            rest = after;
        }
        self.body.push(0);
    }

    /// Octets of the longest suffix that a name shares with every context.
    fn shared_len(&self, wire: &[u8]) -> usize {
        let mut suffixes = name::ancestors(self.shared);
        let shared = suffixes.find(|suffix| name::is_at_or_below(wire, suffix));
        shared.map_or(0, <[u8]>::len)
    }

    fn has_pointers_left(&self, most: usize) -> bool {
        self.is_marked || self.fixups.len() < most
    }

    fn pointer(&mut self, what: u16) {
        if !self.is_marked {
            self.fixups.push((self.body.len() as u16, what));
            self.body.extend([0, 0]);
            return;
        }
        if what & FIXUP_START != 0 {
            let place = what & !FIXUP_START;
            self.saved.push((place, self.octets_at(usize::from(place)) - 2));
        }
        self.body.extend(mark(what));
    }

    /// Octets of the name that stands in the body of a marked piece, written out up to what it shares with every
    /// context.
    fn octets_at(&self, place: usize) -> usize {
        let (mut at, mut len) = (place, 0);
        let octet = |at: usize| self.body.get(at).copied().unwrap_or(0);
        loop {
            match (octet(at), marked([octet(at), octet(at + 1)])) {
                (0, _) => return len + 1,
                (label, None) => {
                    len += usize::from(label) + 1;
                    at += usize::from(label) + 1;
                }
                (_, Some(what)) if what & FIXUP_START == 0 => return len + 2,
                (_, Some(what)) => at = usize::from(what & !FIXUP_START),
            }
        }
    }

    /// Writes RDATA, the names in it shortened where they may be.
    fn rdata(&mut self, rtype: Rtype, rdata: &[u8]) {
        let (before, names) = names_in(rtype.0).unwrap_or((rdata.len(), 0));
        let (head, mut rest) = rdata.split_at(before.min(rdata.len()));
        self.body.extend(head);
        for _ in 0..names {
            let Some(len) = name::wire_name_len(rest) else { break };
            let (wire, after) = rest.split_at(len);
            self.name(wire, false);
            rest = after;
        }
        self.body.extend(rest);
    }
}

/// Octets of the largest message about a name of this length less its header, question and OPT.
pub fn room(name_len: usize) -> usize {
    MAX_TCP_MESSAGE - HEADER_LEN - name_len - QUESTION_TAIL_LEN - OPT_LEN
}
