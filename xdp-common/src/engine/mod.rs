//! The answering engine: find the name, plan what is said, compose it.
//!
//! | stage | module |
//! |---|---|
//! | find nodes by name and the closest encloser | [`find`] |
//! | plan the answer at a name that exists | [`exact`] |
//! | plan the answer at a name that does not | [`deny`] |
//! | find the proof that it does not | [`gap`] |
//! | follow CNAMEs, make them from DNAMEs | [`alias`] |
//! | put proofs into a plan | [`proofs`] |
//! | take these steps one after the other | [`sequence`] |
//! | read the query's options, make the response's | [`options`] |
//! | know how large the planned answer gets | [`plan`] |
//! | write it | [`compose`]; more than pointers reach over, [`long`] |
//!
//! [`respond`] runs all of them over one message, as the host does.

pub mod alias;
pub mod compose;
pub mod deny;
pub mod exact;
pub mod find;
pub mod gap;
pub mod long;
pub mod options;
pub mod plan;
pub mod proofs;
pub mod sequence;

use crate::Outcome;
use crate::dns::query;
use crate::frame::Frame;
use crate::image::Store;
use crate::state::{Manners, Scratch, Step};

/// What the server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// The largest response in octets.
    pub response: usize,
    /// Whether the client's payload size counts; over TCP it does not.
    pub over_udp: bool,
    /// Seconds since 1970 modulo 2^32: signatures that expire before are not sent.
    pub now_s: u32,
    /// The payload size that responses announce, in octets.
    pub payload: u16,
    /// The client's address as [`address_words`](crate::address::address_words) has it.
    pub client: [u64; 2],
    /// What options of responses say, and whether names of no zone are refused.
    pub manners: &'a Manners,
}

/// Answers the DNS message of `len` octets at the start of `frame` in place. If the outcome
/// [is answered](Outcome::is_answered) the frame holds the response; otherwise it is as it was.
pub fn respond<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    len: usize,
    limits: &Limits<'_>,
    scratch: &mut Scratch,
) -> Outcome {
    match answer(store, frame, len, limits, scratch) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn answer<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    len: usize,
    limits: &Limits<'_>,
    scratch: &mut Scratch,
) -> Result<Outcome, Outcome> {
    query::decode(frame, 0, len, store.seed(), scratch)?;
    scratch.plan.clear();
    let outcome = plan_answer(store, limits.manners, scratch)?;
    send(store, frame, limits, scratch, outcome)
}

/// Writes the response that was planned into `frame`, which has its query; `outcome` is what it is called.
pub fn send<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    limits: &Limits<'_>,
    scratch: &mut Scratch,
    outcome: Outcome,
) -> Result<Outcome, Outcome> {
    scratch.plan.outcome = outcome.index() as u32;
    if options::are_due(&scratch.query, &scratch.plan) {
        scratch.layers.source = limits.client;
        options::answer(store, scratch, limits.manners, limits.now_s)?;
    }
    let limit = if limits.over_udp {
        scratch.query.payload_limit(limits.response)
    } else {
        limits.response
    };
    let planned = scratch.plan.count;
    let total = plan::measure(store, scratch, limit, limits.now_s)?;
    let is_too_large = !limits.over_udp && scratch.plan.truncated != 0;
    if is_too_large {
        // Nobody can be told to come again: all is sent but the glue that there is no room for.
        scratch.plan.count = planned;
        scratch.plan.truncated = 0;
    }
    if is_too_large || long::is_long(store, scratch, total) {
        long::write(store, frame, limit, limits.payload, scratch)?;
        return said(limits, scratch);
    }
    let keep =
        crate::dns::HEADER_LEN + scratch.query.name_len as usize + crate::dns::QUESTION_TAIL_LEN;
    frame.resize(total, keep)?;
    compose::write(store, frame, 0, limits.payload, scratch).ok_or(Outcome::Broken)?;
    said(limits, scratch)
}

/// What became of a response that was written. Over TCP nobody can be told to come again over TCP: there TC says that
/// glue was left out, and what has nothing in it is no answer.
fn said(limits: &Limits<'_>, scratch: &Scratch) -> Result<Outcome, Outcome> {
    match (scratch.plan.truncated != 0, limits.over_udp) {
        (true, true) => Ok(Outcome::Truncated),
        (true, false) if scratch.plan.count == 0 => Err(Outcome::Oversize),
        _ => Ok(Outcome::ALL[scratch.plan.outcome as usize]),
    }
}

/// Plans what is said to a query that was read, without its options; all steps in one go, as the host does.
pub fn plan_answer<S: Store>(
    store: &S,
    manners: &Manners,
    scratch: &mut Scratch,
) -> Result<Outcome, Outcome> {
    let first = if scratch.query.version != 0 {
        options::bad_version(&mut scratch.plan, &mut scratch.absence)
    } else {
        let Scratch { query, plan, absence, name, cells, .. } = &mut *scratch;
        let found = find::question(store, query, name, cells).ok_or(Outcome::Broken)?;
        exact::first(query, plan, absence, found)
    };
    plan_from(store, manners, scratch, Ok(first))
}

/// The same from this step on.
pub fn plan_from<S: Store>(
    store: &S,
    manners: &Manners,
    scratch: &mut Scratch,
    step: Result<Step, Outcome>,
) -> Result<Outcome, Outcome> {
    match step.and_then(|step| sequence::run(store, scratch, step)) {
        Err(Outcome::NotOurs) if manners.refuse != 0 => {
            let refusal = options::refuse(&mut scratch.plan, &mut scratch.absence);
            sequence::run(store, scratch, refusal)
        }
        planned => planned,
    }
}
