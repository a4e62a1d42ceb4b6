//! How large a planned answer gets, and where in it each piece goes.

use crate::Outcome;
use crate::dns::{HEADER_LEN, QUESTION_TAIL_LEN, edns};
use crate::image::piece::{OWNER_INSIDE, PART, Piece, RDATA_AT};
use crate::image::{Address, Store};
use crate::launder::{forget, recall};
use crate::state::made::{self, Made, SYNTHESIS};
use crate::state::plan::{PLAN_LEN, Part, QUESTION};
use crate::state::{Cells, Options, Plan, Query, Scratch};

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
    let opt_len = opt_len(&scratch.query, &scratch.options);
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
    let mut total = forget(&mut scratch.cells.forgotten, total as u64) as usize & 0xf_ffff;
    let mut counts = forget(&mut scratch.cells.forgotten, counts);
    scratch.cells.is_exceeded = too_much;
    if forget(&mut scratch.cells.forgotten, expired) != 0 {
        return Err(Outcome::Expired);
    }
    if total + opt_len > limit && recall(&scratch.plan.last_is_optional) != 0 && count > 0 {
        total = forget(&mut scratch.cells.forgotten, total_before_last as u64) as usize & 0xf_ffff;
        counts = forget(&mut scratch.cells.forgotten, counts_before_last);
        scratch.cells.is_exceeded = too_much_before_last;
        scratch.plan.count = count as u32 - 1;
    }
    if total + opt_len > limit {
        total = head_len;
        counts = 0;
        scratch.cells.is_exceeded = 0;
        scratch.plan.count = 0;
        scratch.plan.truncated = 1;
    }
    // Only what is sent has to be written.
    if recall(&scratch.cells.is_exceeded) != 0 {
        return Err(S::EXCEEDED);
    }
    let total = forget(&mut scratch.cells.forgotten, (total + opt_len) as u64) as usize & 0xf_ffff;
    scratch.plan.total = total as u32;
    scratch.plan.counts = counts;
    Ok(total)
}

/// Octets of the OPT record of a response, its options included; 0 if it has none.
#[inline(always)]
pub fn opt_len(query: &Query, options: &Options) -> usize {
    query.opt() * (edns::OPT_LEN + options.len())
}

/// Octets of the planned message, or of its question alone if it is larger than `limit`: what a response costs, before
/// [`measure`] gives every piece its place. `opt_len` is what [`opt_len`] says.
#[inline(always)]
pub fn octets<S: Store>(
    store: &S,
    query: &Query,
    plan: &Plan,
    made: &Made,
    cells: &mut Cells,
    opt_len: usize,
    limit: usize,
) -> usize {
    let dnssec = query.dnssec();
    let name_len = recall(&query.name_len) as usize & 0xff;
    let head = HEADER_LEN + name_len + QUESTION_TAIL_LEN + opt_len;
    let count = recall(&plan.count) as usize;
    let (mut total, mut index) = (head, 0);
    while index < S::MAX_PIECES {
        if index >= count {
            break;
        }
        let address = plan.parts[index].address;
        if let Some(piece) = piece_of(store, made, address) {
            total += piece.len(dnssec);
        }
        index += 1;
    }
    let total = forget(&mut cells.forgotten, total as u64) as usize & 0xf_ffff;
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
