//! The answering engine: find the name, plan what is said, compose it.
//!
//! | stage | module |
//! |---|---|
//! | find nodes by name and the closest encloser | [`find`] |
//! | plan the answer at a name that exists | [`exact`] |
//! | plan the answer at a name that does not, and take all steps | [`deny`] |
//! | what a plan is, how large it gets | [`plan`] |
//! | write it | [`compose`] |
//!
//! [`respond`] runs all of them over one message, as the host does.

pub mod compose;
pub mod deny;
pub mod exact;
pub mod find;
pub mod plan;

use crate::Outcome;
use crate::dns::{query, rcode};
use crate::frame::Frame;
use crate::image::Store;
use crate::scratch::Scratch;

/// What the server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest response in octets.
    pub response: usize,
    /// Whether the client's payload size counts; over TCP it does not.
    pub over_udp: bool,
    /// Seconds since 1970 modulo 2^32: signatures that expire before are not sent.
    pub now_s: u32,
    /// The payload size that responses announce, in octets.
    pub payload: u16,
}

/// Answers the DNS message of `len` octets at the start of `frame` in place. If the outcome
/// [is answered](Outcome::is_answered) the frame holds the response; otherwise it is as it was.
pub fn respond<S: Store, F: Frame>(
    store: &S,
    frame: &mut F,
    len: usize,
    limits: &Limits,
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
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<Outcome, Outcome> {
    query::decode(frame, 0, len, store.seed(), scratch)?;
    scratch.plan.clear();
    let outcome = if scratch.query.version != 0 {
        scratch.plan.rcode = rcode::BADVERS;
        Outcome::BadVersion
    } else {
        let found = find::question(store, scratch).ok_or(Outcome::Broken)?;
        let step = exact::first(scratch, found);
        deny::run(store, scratch, step)?
    };
    scratch.plan.outcome = outcome.index() as u32;
    let limit = if limits.over_udp {
        scratch.query.payload_limit(limits.response)
    } else {
        limits.response
    };
    let total = plan::measure(store, scratch, limit, limits.now_s)?;
    let keep =
        crate::dns::HEADER_LEN + scratch.query.name_len as usize + crate::dns::QUESTION_TAIL_LEN;
    frame.resize(total, keep).ok_or(Outcome::NoRoom)?;
    compose::write(store, frame, 0, limits.payload, scratch).ok_or(Outcome::Broken)?;
    Ok(if scratch.plan.truncated != 0 { Outcome::Truncated } else { outcome })
}
