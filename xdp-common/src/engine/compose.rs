//! Writing a planned answer: header, pieces with their pointers fixed, OPT; and its sum on the way.
//!
//! The question stays where it is, its letters as sent (the 0x20 practice).

use crate::checksum::{self, add_u64};
use crate::dns::{HEADER_LEN, QUESTION_TAIL_LEN, edns};
use crate::engine::measure::{self, piece_of};
use crate::frame::Frame;
use crate::image::piece::{FIXUP_START, OWNER_INSIDE, PART, Piece, QUESTION_POINTER};
use crate::image::{Address, Store, UNIT};
use crate::launder::{forget, recall};
use crate::state::plan::PLAN_LEN;
use crate::state::{Options, Plan, Query, Scratch, made};

/// The greatest offset that a compression pointer reaches (RFC 1035 section 4.1.4).
pub const MAX_POINTER: usize = 0x3fff;

/// Header bits in their places in the first four octets of a message, little-endian.
mod flags {
    pub(super) const QR: u32 = 0x80 << 16;
    pub(super) const AA: u32 = 0x04 << 16;
    pub(super) const TC: u32 = 0x02 << 16;
}

/// Writes the planned answer into `frame`, whose message starts at `at` and is as long as
/// [`measure::measure`] said. Returns the one's-complement sum of the message; `None` if the image is
/// damaged or a pointer does not reach, and then what the frame holds is undefined.
#[inline(always)]
pub fn write<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    at: usize,
    payload: u16,
    scratch: &mut Scratch,
) -> Option<u64> {
    let mut sum = header(frame, at, &scratch.query, &scratch.plan)?;
    sum += recall(&scratch.query.question_sum);
    let sum = forget(&mut scratch.cells.message_sum, sum);

    scratch.cells.message_sum = sum;
    let mut index = 0;
    while index < S::MAX_PIECES {
        // Read each time, as other counts here: if the compiler makes one bound of the two, Linux 6.1 follows paths
        // on which the count is less than itself.
        if index >= recall(&scratch.plan.count) as usize {
            break;
        }
        let added = part(store, frame, at, index, scratch)?;
        scratch.cells.message_sum += added;
        index += 1;
    }
    let mut sum = recall(&scratch.cells.message_sum);

    if scratch.query.opt() != 0 {
        sum += opt(frame, at, payload, &scratch.query, &scratch.plan, &scratch.options)?;
    }
    Some(sum)
}

/// Writes the OPT record, which comes last, and returns its sum.
#[inline(always)]
pub(super) fn opt<F: Frame>(
    frame: &mut F,
    at: usize,
    payload: u16,
    query: &Query,
    plan: &Plan,
    options: &Options,
) -> Option<u64> {
    let options_len = options.len();
    let total = recall(&plan.total) as usize;
    let opt_at = total.wrapping_sub(edns::OPT_LEN + options_len) & 0xffff;
    let mut sum = 0;
    if options_len != 0 {
        let (octets, start) = options.room();
        // With the head, which is written below: so what is copied is never shorter than what frames copy at a time.
        frame.copy_in(at + opt_at, octets, start - edns::OPT_LEN, edns::OPT_LEN + options_len)?;
        sum = checksum::at(opt_at + edns::OPT_LEN, options.sum());
    }
    let extended = (recall(&plan.rcode) >> 4) as u8;
    let dnssec_ok = query.dnssec() as u8;
    let (first, rest) = edns::response(payload, extended, dnssec_ok, options_len as u16);
    frame.put(at + opt_at, first.to_le_bytes())?;
    let [a, b, c, _] = rest.to_le_bytes();
    frame.put(at + opt_at + 8, [a, b, c])?;
    Some(sum + checksum::at(opt_at, checksum::fold(add_u64(rest as u64, first))))
}

/// Writes the header and returns its sum.
#[inline(always)]
pub(super) fn header<F: Frame>(
    frame: &mut F,
    at: usize,
    query: &Query,
    plan: &Plan,
) -> Option<u64> {
    let mut first = recall(&query.id_and_flags) | flags::QR;
    first |= (recall(&plan.rcode) & 0xf) << 24;
    first |= (recall(&plan.authoritative) & 1) * flags::AA;
    first |= (recall(&plan.truncated) & 1) * flags::TC;
    let counts = recall(&plan.counts);
    let answers = (counts as u16).to_be() as u32;
    let authorities = ((counts >> 16) as u16).to_be() as u32;
    let additionals = ((counts >> 32) as u16 + query.opt() as u16).to_be() as u32;
    // QDCOUNT is 1.
    let words = first as u64 | ((0x0100 | (answers << 16)) as u64) << 32;
    let second = authorities | (additionals << 16);
    frame.put(at, words.to_le_bytes())?;
    frame.put(at + 8, second.to_le_bytes())?;
    Some(add_u64(second as u64, words))
}

/// Copies one piece to its place, fixes its pointers, and returns its sum.
#[inline(always)]
fn part<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    message_at: usize,
    index: usize,
    scratch: &mut Scratch,
) -> Option<u64> {
    let part = scratch.plan.parts[index & (PLAN_LEN - 1)];
    let dnssec = scratch.query.dnssec();
    let len = part.len as usize & 0xffff;
    let place = forget(&mut scratch.cells.forgotten, part.at as u64) as usize & 0xffff;
    let piece = piece_of(store, &scratch.made, part.address)?;
    let body = piece.body_at();
    copy(store, frame, message_at + place, piece, part.address, len)?;
    let mut sum = checksum::at(place, piece.sum(dnssec));

    let (start, end) = measure::context_of(&scratch.plan, &part);
    let fixups = piece.fixups(dnssec);
    if fixups > S::MAX_FIXUPS {
        return None;
    }
    let mut fixup = 0;
    while fixup < S::MAX_FIXUPS {
        if fixup >= fixups {
            break;
        }
        let (offset, what) = piece.fixup(fixup);
        let target = fixed(what, place, end);
        if S::UNBOUNDED && target > MAX_POINTER {
            return None;
        }
        let octets = (0xc000 | target as u16).to_be_bytes();
        let offset = place + offset;
        frame.put(message_at + offset, octets)?;
        sum += checksum::at(offset, u16::from_le_bytes(octets));
        fixup += 1;
    }

    let owner = piece.owner();
    if owner == OWNER_INSIDE {
        return Some(sum);
    }
    let pointer = if owner == 0 { start } else { end.wrapping_sub(owner as usize) };
    if S::UNBOUNDED && pointer > MAX_POINTER {
        return None;
    }
    let pointer = 0xc000 | pointer as u16;
    if pointer == QUESTION_POINTER {
        return Some(sum);
    }
    let records = piece.count(dnssec);
    if records > S::MAX_OWNERS {
        return None;
    }
    let octets = pointer.to_be_bytes();
    // Taking the pointer to the question out and putting this one in.
    let stored = u16::from_le_bytes(QUESTION_POINTER.to_be_bytes());
    let change = checksum::fold(u16::from_le_bytes(octets) as u64 + !stored as u64);
    scratch.cells.record_at = 0;
    let mut record = 0;
    while record < S::MAX_OWNERS {
        if record >= records {
            break;
        }
        let offset = recall(&scratch.cells.record_at) as usize & 0xffff;
        frame.put(message_at + place + offset, octets)?;
        sum += checksum::at(place + offset, change);
        // The next record starts behind this one's RDATA.
        let rdata_len = if S::MAX_PARTS == 1 {
            crate::frame::window_be16(piece.window(), body + offset + 10)
        } else {
            let units = (offset / UNIT) as Address;
            let window = match part.address {
                address if made::number(address).is_some() => piece.window(),
                address => store.record(address + units)?,
            };
            crate::frame::window_be16(window, body + offset % UNIT + 10)
        };
        scratch.cells.record_at = (offset + 12 + rdata_len as usize) as u64;
        record += 1;
    }
    Some(sum)
}

/// Where a pointer points to: forward from the piece's place, or back from the end of the context's
/// name. Without a branch, of which the verifier would follow both ways at every step of the loop.
#[inline(always)]
fn fixed(what: u16, place: usize, end: usize) -> usize {
    let distance = (what & !FIXUP_START) as usize;
    // All ones if the pointer is to the piece itself.
    let itself = 0usize.wrapping_sub((what >> 15) as usize);
    let base = end.wrapping_add(place.wrapping_sub(end) & itself);
    base.wrapping_add((distance ^ !itself).wrapping_sub(!itself))
}

/// Copies the body of a piece. One that is larger than [`PART`] lies in the slab in one run, and
/// only the host sends it.
#[inline(always)]
fn copy<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    to: usize,
    piece: Piece<'_>,
    address: Address,
    len: usize,
) -> Option<()> {
    if S::MAX_PARTS == 1 {
        return frame.copy_in(to, piece.window(), piece.body_at(), len);
    }
    let (mut done, mut index) = (0, 0);
    while done < len && index < S::MAX_PARTS {
        let run = if len - done < PART { len - done } else { PART };
        let window = match address {
            address if made::number(address).is_some() => piece.window(),
            address => store.record(address + (done / UNIT) as Address)?,
        };
        frame.copy_in(to + done, window, piece.body_at(), run)?;
        done += run;
        index += 1;
    }
    (done == len).then_some(())
}

/// Where the message's first record stands.
pub const fn records_at(name_len: usize) -> usize {
    HEADER_LEN + name_len + QUESTION_TAIL_LEN
}
