//! Names that stand for others: where a CNAME leads (RFC 1034 section 4.3.2), and the CNAME that is made from a DNAME
//! (RFC 6672).

use crate::Outcome;
use crate::bytes::{get, put, u8_at, u16_at, u64_at};
use crate::checksum;
use crate::dns::name::{self, MAX_NAME_WORDS};
use crate::dns::{rcode, rtype};
use crate::engine::exact::{self, end_of_chain, is_full};
use crate::engine::find;
use crate::engine::measure::piece_of;
use crate::image::Store;
use crate::image::node::{Node, flag};
use crate::image::piece::{self, Piece, RDATA_AT};
use crate::launder::{forget, recall};
use crate::state::made;
use crate::state::plan::{PLAN_LEN, QUESTION, section};
use crate::state::{Context, Scratch, Step};

/// Goes where a CNAME leads.
#[inline(always)]
pub fn follow<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let hops = recall(&scratch.absence.hops) as usize;
    if hops > S::MAX_CHAIN || is_full::<S>(&scratch.plan, &scratch.absence) {
        return end_of_chain::<S>();
    }
    scratch.absence.hops = hops as u32 + 1;
    let context = scratch.absence.context();
    let target = recall(&scratch.absence.target);
    if target != 0 {
        if S::UNBOUNDED && context.from != QUESTION {
            let window = store.record(target).ok_or(Outcome::Broken)?;
            let node = Node::new(window);
            let name = window[node.name_at()..].get(..node.name_len());
            if is_followed(store, scratch, context, name.ok_or(Outcome::Broken)?) {
                return Ok(Step::Done(Outcome::Positive));
            }
        }
        let Scratch { query, plan, absence, cells, .. } = scratch;
        return exact::run(store, query, plan, absence, cells, target, context);
    }
    match chase(store, scratch, context)? {
        Step::At(found, context) => {
            let Scratch { query, plan, absence, cells, .. } = scratch;
            exact::run(store, query, plan, absence, cells, found, context)
        }
        step => Ok(step),
    }
}

/// Puts the name that a CNAME points to into [`Scratch::name`] and looks it up.
#[inline(always)]
fn chase<S: Store>(store: &S, scratch: &mut Scratch, context: Context) -> Result<Step, Outcome> {
    let cname = scratch.plan.parts[(context.from as usize).wrapping_sub(1) & (PLAN_LEN - 1)];
    let Scratch { name, cells, made, .. } = &mut *scratch;
    let piece = piece_of(store, made, cname.address).ok_or(Outcome::Broken)?;
    let window = piece.window();
    let at = piece.body_at() + RDATA_AT;
    let read = |place: usize| u8_at(window, at + place);
    let (len, labels) =
        name::walk(read, &mut name.offsets, &mut cells.forgotten).ok_or(Outcome::Broken)?;
    cells.name_len = len as u64;
    let mut word = 0;
    while word < MAX_NAME_WORDS {
        let octets = name::lowercase8(u64_at(window, at + word * 8));
        put(&mut name.octets, word * 8, octets.to_le_bytes());
        word += 1;
    }
    let len = recall(&cells.name_len) as usize & 0xff;
    let mut after = 0;
    while after < 16 {
        put(&mut name.octets, len + after, [0; 8]);
        after += 8;
    }
    let context = Context { from: context.from, len: len as u32 };
    // Where steps are bounded, a circle ends with them.
    if S::UNBOUNDED && is_followed(store, scratch, context, &scratch.name.octets[..len]) {
        return Ok(Step::Done(Outcome::Positive));
    }
    let hash = name::hash(&scratch.name.octets, 0, len, store.seed());
    let hash = forget(&mut scratch.cells.forgotten, hash);
    let len = recall(&scratch.cells.name_len) as usize & 0xff;
    let Scratch { name, cells, .. } = scratch;
    let found =
        find::suffix(store, &name.octets, cells, 0, len, hash, hash).ok_or(Outcome::Broken)?;
    Ok(if found != 0 { Step::At(found, context) } else { Step::Absent(labels, context) })
}

/// Whether a name, the context's, is the question's or one that a CNAME points to that stands in the
/// plan before the context's. So a circle ends: what was found is the answer.
fn is_followed<S: Store>(store: &S, scratch: &Scratch, context: Context, name: &[u8]) -> bool {
    let question = scratch.question.get(..scratch.query.name_len as usize);
    if question.is_some_and(|question| question.eq_ignore_ascii_case(name)) {
        return true;
    }
    let before = (context.from as usize).wrapping_sub(1) & (PLAN_LEN - 1);
    scratch.plan.parts[..before].iter().any(|part| {
        let Some(piece) = piece_of(store, &scratch.made, part.address) else { return false };
        let record = &piece.window()[piece.body_at()..];
        let target = record.get(RDATA_AT..RDATA_AT + name.len());
        record[2..4] == rtype::CNAME.to_be_bytes()
            && target.is_some_and(|target| target.eq_ignore_ascii_case(name))
    })
}

/// Plans the DNAME, the CNAME made from it, and goes where that leads (RFC 6672 section 3.2);
/// YXDOMAIN if the name would be too long.
#[inline(always)]
pub fn redirect<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let made = recall(&scratch.absence.made) as usize;
    if made >= S::MAX_MADE || is_full::<S>(&scratch.plan, &scratch.absence) {
        return end_of_chain::<S>();
    }
    let context = scratch.absence.context();
    let encloser = recall(&scratch.absence.encloser);
    let node = Node::new(store.record(encloser).ok_or(Outcome::Broken)?);
    scratch.plan.add(node.otherwise(), section::ANSWER, context);
    let dname = Piece::new(store.record(node.otherwise()).ok_or(Outcome::Broken)?);
    let target_len = u16_at(dname.window(), dname.body_at() + 10).swap_bytes() as usize;
    let prefix_len = (context.len as usize).wrapping_sub(node.name_len()) & 0xff;
    if prefix_len + target_len > 255 {
        scratch.plan.rcode = rcode::YXDOMAIN;
        return Ok(Step::Done(Outcome::Dname));
    }
    scratch.absence.made = made as u32 + 1;
    synthesise::<S>(scratch, dname, prefix_len, target_len, made);
    let number = if S::UNBOUNDED { made } else { 0 };
    scratch.plan.add(made::address(number), section::ANSWER, context);
    let from = recall(&scratch.plan.count);
    // A question for the CNAME itself is answered; names outside the zone are the resolver's to follow.
    if recall(&scratch.query.qtype) as u16 == rtype::CNAME || !node.is(flag::CHASE) {
        return Ok(Step::Done(Outcome::Dname));
    }
    Ok(Step::Chase(Context { from, len: 0 }))
}

/// Makes the piece of a CNAME that leads to the first `prefix_len` octets of the context's name before
/// the target of a DNAME: the one with this number.
#[inline(always)]
fn synthesise<S: Store>(
    scratch: &mut Scratch,
    dname: Piece<'_>,
    prefix_len: usize,
    target_len: usize,
    number: usize,
) {
    let is_question = scratch.absence.context().from == QUESTION;
    let Scratch { made, question, name, cells, .. } = scratch;
    let synthesis = if S::UNBOUNDED { made.get_mut(number) } else { made.first_mut() };
    let (window, body) = (dname.window(), dname.body_at());
    let at = piece::body_at(0);
    let ttl: [u8; 4] = get(window, body + 6);
    put(synthesis, at, piece::QUESTION_POINTER.to_be_bytes());
    put(synthesis, at + 2, [0, rtype::CNAME as u8, 0, 1]);
    put(synthesis, at + 6, ttl);
    put(synthesis, at + 10, ((prefix_len + target_len) as u16).to_be_bytes());
    // Loops narrow what they compare with: what is needed behind them goes through memory.
    cells.prefix_len = prefix_len as u64;
    cells.cname_len = (RDATA_AT + prefix_len + target_len) as u64;
    let mut word = 0;
    while word < MAX_NAME_WORDS {
        if word * 8 >= prefix_len {
            break;
        }
        // As the client wrote it; but a followed name stands only in lower case.
        let octets =
            if is_question { get(question, word * 8) } else { get(&name.octets, word * 8) };
        put::<_, 8>(synthesis, at + RDATA_AT + word * 8, octets);
        word += 1;
    }
    let target_at = at + RDATA_AT + (recall(&cells.prefix_len) as usize & 0xff);
    let mut word = 0;
    while word < MAX_NAME_WORDS {
        if word * 8 >= target_len {
            break;
        }
        let octets: [u8; 8] = get(window, body + RDATA_AT + word * 8);
        put(synthesis, target_at + word * 8, octets);
        word += 1;
    }
    let len = recall(&cells.cname_len) as usize & 0x1ff;
    put(synthesis, at + len, [0; 8]);
    let (mut sum, mut word) = (0, 0);
    while word < MAX_NAME_WORDS + RDATA_AT.div_ceil(8) {
        if word * 8 >= len {
            break;
        }
        sum = checksum::add_u64(sum, u64_at(synthesis, at + word * 8));
        word += 1;
    }
    let sum = checksum::fold(forget(&mut cells.forgotten, sum));
    let len = recall(&cells.cname_len) as u16;
    for (field, value) in [
        (piece::at::LEN, len),
        (piece::at::SIGNED_LEN, len),
        (piece::at::SUM, sum),
        (piece::at::SIGNED_SUM, sum),
        (piece::at::COUNT, 1),
        (piece::at::SIGNED_COUNT, 1),
    ] {
        put(synthesis, field, value.to_le_bytes());
    }
    put(synthesis, piece::at::NOT_AFTER, piece::NEVER.to_le_bytes());
    // No fix-ups, and the owner is the context's name.
    put(synthesis, piece::at::FIXUPS, [0; 8]);
}
