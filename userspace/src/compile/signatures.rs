//! The signatures of a name by themselves, for QTYPE RRSIG: those of one RRset.
//!
//! They are as many RRsets as the name has types, so that what RFC 8482 says of ANY holds for them too (its
//! section 7). They stand in the piece of the RRset that they sign, at the node to which the engine comes by
//! the same look-up as for any other type: a flood of queries for deep names below a zone costs no more.

use xdp_common::Outcome;
use xdp_common::engine::{Host, MessageContext, exact, find, sequence};
use xdp_common::frame::SliceFrame;
use xdp_common::image::node::{Node, flag};
use xdp_common::image::piece::{NEVER, Piece, QUESTION_POINTER, RDATA_AT, TOO_LARGE};
use xdp_common::image::{Address, Store, UNIT, WINDOW};
use xdp_common::state::plan::section;
use xdp_common::state::{Context, Scratch, Step};

use super::answered::Answered;
use crate::dnssec::any::preferred_among;
use crate::zone::{Rtype, Serial};

/// What a question for signatures is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureAnswer {
    /// What became of the question.
    pub answered: Answered,
    /// How many RRSIG records were found. If none, the response is that to any other type that is not there.
    pub records: u16,
}

/// Plans and answers the query of `len` octets in `frame`, which asks for a type that no zone has. Where the
/// name, or the wildcard in its place, has signatures, they are written to `signatures` instead: finished
/// records whose owner is the question's name. Returns what the answer is called, and how many they are.
pub(super) fn respond<S: Store>(
    store: &S,
    frame: &mut SliceFrame<'_>,
    len: usize,
    message_context: &MessageContext<'_>,
    scratch: &mut Scratch,
    signatures: &mut Vec<u8>,
) -> Result<(Outcome, u16), Outcome> {
    signatures.clear();
    let mut host = Host { store, context: message_context };
    host.read(frame, len, scratch)?;
    scratch.plan.clear();
    let Scratch { query, plan, absence, name, cells, .. } = &mut *scratch;
    let found = find::question(store, query, name, cells).ok_or(Outcome::Broken)?;
    let first = exact::first(query, plan, absence, found);
    let (step, source) = source(&mut host, scratch, first)?;
    if let Some((address, outcome)) = source
        && let Some(piece) = signed_piece(store, address)?
    {
        let context = Context { from: 0, len: scratch.query.name_len };
        scratch.plan.add(piece, section::ANSWER, context);
        scratch.plan.outcome = outcome.index() as u32;
        let records = write(store, piece, message_context.now_s, signatures)?;
        return Ok((outcome, records));
    }
    let stage = sequence::go_on::<_, false>(&mut host, scratch, step)?;
    let outcome = sequence::run(&mut host, frame, scratch, stage)?;
    Ok((outcome, 0))
}

/// The node whose records answer for the question's name: its own, or the wildcard's, and what such an answer is
/// called; and the step with which planning goes on if there is none.
#[expect(clippy::type_complexity, reason = "both are wanted, or the first alone")]
fn source<S: Store>(
    host: &mut Host<'_, S>,
    scratch: &mut Scratch,
    first: Step,
) -> Result<(Result<Step, Outcome>, Option<(Address, Outcome)>), Outcome> {
    let mut step = first;
    loop {
        let (address, outcome) = match step {
            Step::At(address, context) => {
                let node = Node::new(host.store.record(address).ok_or(Outcome::Broken)?);
                if node.is(flag::VIRTUAL) {
                    step = Step::Absent(node.labels(), context);
                    continue;
                }
                // Below a cut the child's servers know.
                let address = if node.is(flag::CUT) { 0 } else { address };
                (address, Outcome::Positive)
            }
            Step::Absent(..) => {
                scratch.absence.note(&step);
                match sequence::closest_encloser(host, scratch) {
                    Ok(next) => step = next,
                    Err(outcome) => return Ok((Err(outcome), None)),
                }
                continue;
            }
            Step::Hash | Step::Conclude => {
                let encloser =
                    host.store.record(scratch.absence.encloser()).ok_or(Outcome::Broken)?;
                (Node::new(encloser).wildcard(), Outcome::Wildcard)
            }
            Step::Done(_) | Step::Chase(_) | Step::Redirect => (0, Outcome::Positive),
        };
        return Ok((Ok(step), Some((address, outcome)).filter(|_| address != 0)));
    }
}

/// The piece of that RRset of a node that is said to ANY, if it is signed.
fn signed_piece<S: Store>(store: &S, address: Address) -> Result<Option<Address>, Outcome> {
    let node = Node::new(store.record(address).ok_or(Outcome::Broken)?);
    let count = node.type_count();
    if count > S::MAX_TYPES {
        return Err(Outcome::Oversize);
    }
    let types = (0..count).map(|index| Rtype(node.type_at(index).0));
    let Some(preferred) = preferred_among(types) else { return Ok(None) };
    let mut pieces = (0..count).map(|index| node.type_at(index));
    let Some((_, address)) = pieces.find(|(rtype, _)| *rtype == preferred.0) else {
        return Ok(None);
    };
    let piece = Piece::new(store.record(address).ok_or(Outcome::Broken)?);
    let is_signed = piece.count(1) > piece.count(0) || piece.len(1) == TOO_LARGE;
    Ok(is_signed.then_some(address))
}

/// Writes the signatures of a piece as records of the question's name; returns how many there are.
fn write<S: Store>(
    store: &S,
    address: Address,
    now_s: u32,
    out: &mut Vec<u8>,
) -> Result<u16, Outcome> {
    let piece = Piece::new(store.record(address).ok_or(Outcome::Broken)?);
    if piece.len(1) == TOO_LARGE {
        return Err(Outcome::Oversize);
    }
    let not_after = piece.not_after();
    if not_after != NEVER && (now_s == 0 || Serial(not_after).since(Serial(now_s)) < 0) {
        return Err(Outcome::Expired);
    }
    let (mut at, end) = (piece.body_at() + piece.len(0), piece.body_at() + piece.len(1));
    while at < end {
        let run = (end - at).min(WINDOW - UNIT);
        let window = store.record(address + (at / UNIT) as Address).ok_or(Outcome::Broken)?;
        out.extend_from_slice(&window[at % UNIT..at % UNIT + run]);
        at += run;
    }
    let (mut at, mut records) = (0, 0);
    while at < out.len() {
        let rdata_len = out.get(at + 10..at + RDATA_AT).ok_or(Outcome::Broken)?;
        let rdata_len = usize::from(u16::from_be_bytes([rdata_len[0], rdata_len[1]]));
        // In the piece of a proof it is a pointer to the record before.
        out[at..at + 2].copy_from_slice(&QUESTION_POINTER.to_be_bytes());
        at += RDATA_AT + rdata_len;
        records += 1;
    }
    Ok(records)
}
