//! A plan: which pieces an answer is made of, in which section each goes, how large it gets.

use crate::Outcome;
use crate::dns::{HEADER_LEN, QUESTION_TAIL_LEN, edns};
use crate::engine::made::{self, Made};
use crate::image::piece::{OWNER_INSIDE, PART, Piece, RDATA_AT};
use crate::image::{Address, Store};
use crate::launder::{forget, recall};
use crate::scratch::Scratch;

/// Places for pieces in a plan. The longest: a chain of CNAMEs through wildcards, and a denial.
pub const PLAN_LEN: usize = 32;

/// Answer, authority or additional section.
#[allow(missing_docs, reason = "the names of RFC 1035 section 4.1")]
pub mod section {
    pub const ANSWER: u32 = 0;
    pub const AUTHORITY: u32 = 1;
    pub const ADDITIONAL: u32 = 2;
}

/// The context of pieces about the question's name.
pub const QUESTION: u32 = 0;

/// The address of the first piece in [`Scratch::made`].
pub const SYNTHESIS: Address = made::address(0);

/// One piece of an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where its record is.
    pub address: Address,
    /// One of [`section`].
    pub section: u32,
    /// [`QUESTION`], or one more than the place of the CNAME in whose RDATA the name it is about
    /// stands.
    pub context: u32,
    /// Octets of that name.
    pub context_len: u32,
    /// Where it comes in the message, in octets.
    pub at: u32,
    /// Octets that are sent of it.
    pub len: u32,
}

/// What will be said.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many of `parts` count.
    pub count: u32,
    /// The response code, extended bits included.
    pub rcode: u32,
    /// 1 if the answer is authoritative.
    pub authoritative: u32,
    /// 1 if TC is set and no piece is sent.
    pub truncated: u32,
    /// 1 if the last part may be left out.
    pub last_is_optional: u32,
    /// What the answer is called: the [`Outcome::index`](crate::Outcome::index).
    pub outcome: u32,
    /// 1 if TC is set since the answer is over its rate limit.
    pub slipped: u32,
    /// The extended error (RFC 8914); 0 if there is none to tell: "Other Error" tells nothing.
    pub extended_error: u32,
    /// Octets of the whole message.
    pub total: u32,
    /// The record of the zone that encloses the question's name; 0 if none does.
    pub zone: Address,
    /// Records in the three sections, 16 bits each.
    pub counts: u64,
    /// The pieces.
    pub parts: [Part; PLAN_LEN],
}

impl Plan {
    /// Nothing to say.
    pub const fn new() -> Plan {
        let part = Part { address: 0, section: 0, context: 0, context_len: 0, at: 0, len: 0 };
        Plan {
            count: 0,
            rcode: 0,
            authoritative: 0,
            truncated: 0,
            last_is_optional: 0,
            outcome: 0,
            slipped: 0,
            extended_error: 0,
            total: 0,
            zone: 0,
            counts: 0,
            parts: [part; PLAN_LEN],
        }
    }

    /// Forgets what was planned.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.count = 0;
        self.rcode = 0;
        self.authoritative = 0;
        self.truncated = 0;
        self.last_is_optional = 0;
        self.slipped = 0;
        self.extended_error = 0;
        self.zone = 0;
    }

    /// Plans to say no more than that the client must ask over TCP, with the response code that was planned.
    #[inline(always)]
    pub fn slip(&mut self) {
        self.count = 0;
        self.truncated = 1;
        self.slipped = 1;
    }

    /// The place of the outcome, once it is known whether the answer fits.
    #[inline(always)]
    pub fn said(&self) -> usize {
        if recall(&self.slipped) != 0 {
            Outcome::Slipped.index()
        } else if recall(&self.truncated) != 0 {
            Outcome::Truncated.index()
        } else {
            recall(&self.outcome) as usize
        }
    }

    /// Adds a piece about the context's name.
    #[inline(always)]
    pub fn add(&mut self, address: Address, section: u32, context: Context) {
        let index = self.count as usize & (PLAN_LEN - 1);
        let part = &mut self.parts[index];
        part.address = address;
        part.section = section;
        part.context = context.from;
        part.context_len = context.len;
        self.count = index as u32 + 1;
    }
}

impl Default for Plan {
    fn default() -> Plan {
        Plan::new()
    }
}

/// The name that pieces are about: where it stands in the message and how long it is.
///
/// It is copied as one word, and the verifier wants words on the stack aligned.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// [`QUESTION`], or one more than the place in the plan of the CNAME that leads to it.
    pub from: u32,
    /// Octets of the name.
    pub len: u32,
}

/// Where the context's name of a part starts in the message and where it ends.
#[inline(always)]
pub fn context_of(plan: &Plan, part: &Part) -> (usize, usize) {
    let start = if part.context == QUESTION {
        HEADER_LEN
    } else {
        let cname = &plan.parts[(part.context as usize - 1) & (PLAN_LEN - 1)];
        cname.at as usize + RDATA_AT
    };
    (start, start + part.context_len as usize)
}

/// The piece of a part: from the store, or one made from a DNAME.
#[inline(always)]
pub fn piece_of<'a, S: Store>(store: &'a S, made: &'a Made, address: Address) -> Option<Piece<'a>> {
    if S::UNBOUNDED {
        if let Some(number) = made::number(address) {
            return Some(Piece::new(made.get(number)));
        }
    } else if S::SYNTHESIS && address == SYNTHESIS {
        return Some(Piece::new(made.first()));
    }
    Some(Piece::new(store.record(address)?))
}

/// Gives every piece its place and sums up; if the whole is larger than `limit` octets, what is
/// optional goes, and if that is not enough, everything, and TC is set. Returns the message's length.
/// `now_s` is wall-clock seconds, truncated; 0 is a time that is not known, and no signature is sent.
#[inline(always)]
pub fn measure<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    limit: usize,
    now_s: u32,
) -> Result<usize, Outcome> {
    let dnssec = scratch.query.dnssec();
    let name_len = recall(&scratch.query.name_len) as usize & 0xff;
    let opt_len = scratch.query.opt() * (edns::OPT_LEN + scratch.options.len());
    let head_len = HEADER_LEN + name_len + QUESTION_TAIL_LEN;
    let count = recall(&scratch.plan.count) as usize;
    if count > S::MAX_PIECES {
        return Err(S::EXCEEDED);
    }
    let (mut total, mut counts, mut index) = (head_len, 0u64, 0);
    let (mut total_before_last, mut counts_before_last) = (head_len, 0u64);
    let (mut expired, mut too_much, mut too_much_before_last) = (0u64, 0u64, 0u64);
    while index < S::MAX_PIECES {
        if index >= count {
            break;
        }
        let address = scratch.plan.parts[index].address;
        let piece = piece_of(store, &scratch.made, address).ok_or(Outcome::Broken)?;
        let len = piece.len(dnssec);
        // Serial arithmetic (RFC 4034 section 3.1.5): expired if now is after.
        let not_after = piece.not_after();
        let is_after = not_after.wrapping_sub(now_s) >> 31 != 0;
        let late = not_after != crate::image::piece::NEVER && (is_after || now_s == 0);
        expired |= late as u64 & dnssec as u64;
        too_much_before_last = too_much;
        too_much |= exceeds_bounds::<S>(piece, dnssec, &scratch.plan.parts[index]) as u64;
        total_before_last = total;
        counts_before_last = counts;
        let part = &mut scratch.plan.parts[index];
        part.at = total as u32;
        part.len = len as u32;
        total += len;
        counts += (piece.count(dnssec) as u64) << ((part.section & 3) * 16);
        index += 1;
    }
    let mut total = forget(&mut scratch.slots[0], total as u64) as usize & 0xf_ffff;
    let mut counts = forget(&mut scratch.slots[1], counts);
    scratch.slots[3] = too_much;
    if forget(&mut scratch.slots[2], expired) != 0 {
        return Err(Outcome::Expired);
    }
    if total + opt_len > limit && recall(&scratch.plan.last_is_optional) != 0 && count > 0 {
        total = forget(&mut scratch.slots[0], total_before_last as u64) as usize & 0xf_ffff;
        counts = forget(&mut scratch.slots[1], counts_before_last);
        scratch.slots[3] = too_much_before_last;
        scratch.plan.count = count as u32 - 1;
    }
    if total + opt_len > limit {
        total = head_len;
        counts = 0;
        scratch.slots[3] = 0;
        scratch.plan.count = 0;
        scratch.plan.truncated = 1;
    }
    // Only what is sent has to be written.
    if recall(&scratch.slots[3]) != 0 {
        return Err(S::EXCEEDED);
    }
    let total = forget(&mut scratch.slots[0], (total + opt_len) as u64) as usize & 0xf_ffff;
    scratch.plan.total = total as u32;
    scratch.plan.counts = counts;
    Ok(total)
}

/// Octets of the planned message, or of its question alone if it is larger than `limit`: what a response costs, before
/// [`measure`] gives every piece its place.
#[inline(always)]
pub fn octets<S: Store>(store: &S, scratch: &mut Scratch, limit: usize) -> usize {
    let dnssec = scratch.query.dnssec();
    let name_len = recall(&scratch.query.name_len) as usize & 0xff;
    let opt_len = scratch.query.opt() * (edns::OPT_LEN + scratch.options.len());
    let head = HEADER_LEN + name_len + QUESTION_TAIL_LEN + opt_len;
    let count = recall(&scratch.plan.count) as usize;
    let (mut total, mut index) = (head, 0);
    while index < S::MAX_PIECES {
        if index >= count {
            break;
        }
        let address = scratch.plan.parts[index].address;
        if let Some(piece) = piece_of(store, &scratch.made, address) {
            total += piece.len(dnssec);
        }
        index += 1;
    }
    let total = forget(&mut scratch.slots[0], total as u64) as usize & 0xf_ffff;
    if total > limit { head } else { total }
}

/// Whether the piece is none that this host of the engine writes: it takes too many steps, or its body lies
/// too far behind its start. It is asked before anything is edited, so that the packet can be passed up whole.
#[inline(always)]
fn exceeds_bounds<S: Store>(piece: Piece<'_>, dnssec: usize, part: &Part) -> bool {
    let owner = piece.owner();
    let stays = owner == OWNER_INSIDE || (owner == 0 && part.context == QUESTION);
    piece.fixups(dnssec) > S::MAX_FIXUPS
        || piece.fixups(1) > S::MAX_FIXUPS_BEFORE
        || piece.len(dnssec) > S::MAX_PARTS * PART
        || (!stays && piece.count(dnssec) > S::MAX_OWNERS)
}
