//! Pieces built: records written one after the other, with the places that must be fixed when the
//! piece is put into a message. The layout is `xdp_common::image::piece`'s.

use xdp_common::checksum;
use xdp_common::dns::edns::OPT_LEN;
use xdp_common::dns::{HEADER_LEN, QUESTION_TAIL_LEN};
use xdp_common::image::piece::{
    self, FIXUP_START, MAX_FIXUPS, NEVER, OWNER_INSIDE, QUESTION_POINTER, TOO_LARGE, at, body_at,
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
pub struct Finished {
    /// The record of the slab.
    pub record: Vec<u8>,
    /// Whether no message has room for it, at least if DNSSEC records are wanted: then there is only a mark in
    /// their place ([`TOO_LARGE`]).
    pub is_too_large: bool,
}

/// The most pointers that are made to save octets; beyond, names in RDATA are spelled out, so that
/// the kernel's bound on fix-ups is kept for those that must be.
const MAX_SAVING_FIXUPS: usize = 20;

/// A piece in the making.
pub struct PieceBuilder<'a> {
    shared: &'a [u8],
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
            spelled: None,
            body: Vec::new(),
            fixups: Vec::new(),
            owner: 0,
            plain: None,
            count: 0,
            not_after: NEVER,
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
                        if **before == *wire && self.fixups.len() < MAX_FIXUPS =>
                    {
                        self.pointer(FIXUP_START | place);
                    }
                    _ => {
                        let place = self.body.len() as u16;
                        self.name(wire, true);
                        // Only so far does the place fit beside the mark.
                        self.spelled = (place < FIXUP_START).then(|| (wire.to_vec(), place));
                    }
                }
            }
            OwnerName::First => match &self.spelled {
                Some((first, _)) if self.fixups.len() >= MAX_FIXUPS => self.body.extend(first),
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
    pub fn finish(mut self, name_len: usize) -> Finished {
        let mut whole = (self.body.len(), self.fixups.len(), self.count);
        let mut plain = self.plain.unwrap_or(whole);
        // A message has a header, a question and OPT, too.
        let room = MAX_TCP_MESSAGE - HEADER_LEN - name_len - QUESTION_TAIL_LEN - OPT_LEN;
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
        let body_at = body_at(self.fixups.len());
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
        put(at::FIXUPS, &[plain.1 as u8, whole.1 as u8]);
        put(at::OWNER, &[self.owner]);
        for (index, &(place, what)) in self.fixups.iter().enumerate() {
            let fixup_at = at::FIXUP_LIST + index * piece::FIXUP_LEN;
            put(fixup_at, &place.to_le_bytes());
            put(fixup_at + 2, &what.to_le_bytes());
        }
        record.extend(&self.body);
        Finished { record, is_too_large }
    }

    /// Writes a name: its labels and a pointer to what it shares with every context, or all of it if no
    /// pointer would save anything or none is left.
    fn name(&mut self, wire: &[u8], needed: bool) {
        let room = if needed { MAX_FIXUPS } else { MAX_SAVING_FIXUPS };
        let shared = self.shared_len(wire);
        if shared > 2 && self.fixups.len() < room {
            self.body.extend(&wire[..wire.len() - shared]);
            self.pointer(shared as u16);
        } else {
            self.body.extend(wire);
        }
    }

    /// Octets of the longest suffix that a name shares with every context.
    fn shared_len(&self, wire: &[u8]) -> usize {
        let mut suffix = Some(self.shared);
        while let Some(shared) = suffix {
            if name::is_at_or_below(wire, shared) {
                return shared.len();
            }
            suffix = name::parent(shared);
        }
        0
    }

    fn pointer(&mut self, what: u16) {
        self.fixups.push((self.body.len() as u16, what));
        self.body.extend([0, 0]);
    }

    /// Writes RDATA, the names in it shortened where they may be.
    fn rdata(&mut self, rtype: Rtype, rdata: &[u8]) {
        let (before, names) = names_in(rtype).unwrap_or((rdata.len(), 0));
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

/// How many octets stand before the names that are shortened in RDATA, and how many names there are. They are
/// in the types of RFC 1035 only, as RFC 3597 section 4 has it, and not in CNAME, whose target must stand whole
/// for what follows it.
pub(super) fn names_in(rtype: Rtype) -> Option<(usize, usize)> {
    match rtype {
        Rtype::NS | Rtype::PTR => Some((0, 1)),
        Rtype::MX => Some((2, 1)),
        Rtype::SOA => Some((0, 2)),
        _ => None,
    }
}
