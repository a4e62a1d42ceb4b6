//! The stages of an answer, each a program of its own: the same on both hooks.

// A function shared by two programs would be called, and what it returns go over the stack, where the
// verifier loses sight of it: a closure is compiled into each.
#![expect(clippy::redundant_closure, reason = "each program has its own copy of its stage")]

use xdp_common::dns::query;
use xdp_common::engine::{alias, compose, deny, exact, find, gap, options, plan, proofs};
use xdp_common::frame::Frame;
use xdp_common::launder::{forget, recall};
use xdp_common::limit::Verdict;
use xdp_common::limit::account::{self, Listed};
use xdp_common::limit::decide::{self, Count, Limiter, Said};
use xdp_common::limit::list::flag;
use xdp_common::limit::table::WEIGHT_ONE;
use xdp_common::maps::{Config, limits};
use xdp_common::state::Step;
use xdp_common::{Outcome, Scratch, layers, maps};

use crate::count;
use crate::frame::Packet;
use crate::hook::Hook;
use crate::limiter::{self, Limits};
use crate::store::{self, Maps};

/// Reads the query and plans the answer for names that exist: positive, CNAME, NODATA, the referral
/// at the cut, the apex.
#[inline(always)]
pub fn serve<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false, false>(context, |maps: &Maps, scratch| served(context, maps, scratch))
}

#[inline(always)]
fn served<H: Hook>(context: &H, maps: &Maps, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let packet = Packet::new(context).ok_or(Outcome::Broken)?;

    let forgotten = &mut scratch.cells.forgotten;
    layers::decode(&packet, maps.config(), &mut scratch.layers, forgotten)?;
    if maps.config().limits != 0 {
        limiter::arrive(&packet, maps.config(), scratch)?;
    }
    let message_at = scratch.layers.message_at();
    let query_len = scratch.layers.message_len();
    let sum = query::decode(&packet, message_at, query_len, maps.config().seed, scratch)?;
    if !layers::checksum_holds(&mut scratch.layers, sum) {
        return Err(Outcome::BadChecksum);
    }
    scratch.plan.clear();
    if scratch.query.version != 0 {
        return Ok(options::bad_version(&mut scratch.plan, &mut scratch.absence));
    }
    scratch.changes = maps.changes().ok_or(Outcome::Broken)?;
    let Scratch { query, plan, absence, name, cells, .. } = scratch;
    let found = find::question(maps, query, name, cells).ok_or(Outcome::Broken)?;
    match exact::first(query, plan, absence, found) {
        Step::At(found, context) => exact::run(maps, query, plan, absence, cells, found, context),
        step => Ok(step),
    }
}

/// Finds the closest encloser of a name that does not exist, and plans the referral above it.
#[inline(always)]
pub fn deny<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false, true>(context, |maps, scratch| match deny::enclose(maps, scratch) {
        Err(Outcome::NotOurs) if store::manners().is_some_and(|manners| manners.refuse != 0) => {
            Ok(options::refuse(&mut scratch.plan, &mut scratch.absence))
        }
        step => step,
    })
}

/// Finds the NSEC3 that proves that the next closer name does not exist.
#[inline(always)]
pub fn hash<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false, true>(context, |maps, scratch| gap::hash(maps, scratch))
}

/// Finds the NSEC that does, and plans the wildcard's answer or NXDOMAIN.
#[inline(always)]
pub fn conclude<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false, true>(context, |maps, scratch| deny::conclude(maps, scratch))
}

/// Goes where a CNAME leads that the image has not resolved, or that a wildcard has.
#[inline(always)]
pub fn follow<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, true, true>(context, |maps, scratch| alias::follow(maps, scratch))
}

/// Makes a CNAME from a DNAME.
#[inline(always)]
pub fn redirect<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false, true>(context, |maps, scratch| alias::redirect(maps, scratch))
}

/// What the limiter is asked for once it is known what will be said.
const ASKED: u32 = limits::RATES | limits::NAMES;

/// Takes a step and calls the program that takes the next one.
#[inline(always)]
fn stage<H: Hook, const MADE: bool, const CONCLUDES: bool>(
    context: &H,
    take: impl Fn(&Maps<MADE>, &mut Scratch) -> Result<Step, Outcome>,
) -> H::Verdict {
    let outcome = match step::<_, MADE, CONCLUDES>(context, take) {
        // Here only if the daemon has not filled the place.
        Ok(()) => Outcome::Broken,
        Err(outcome) => outcome,
    };
    count::outcome::<H>(outcome);
    context.verdict(outcome)
}

#[inline(always)]
fn step<H: Hook, const MADE: bool, const CONCLUDES: bool>(
    context: &H,
    take: impl Fn(&Maps<MADE>, &mut Scratch) -> Result<Step, Outcome>,
) -> Result<(), Outcome> {
    let maps = Maps::new().ok_or(Outcome::Broken)?;
    let scratch = store::scratch().ok_or(Outcome::Broken)?;
    let step = match take(&maps, scratch) {
        Ok(step) => step,
        Err(outcome) => return Err(passed_up(context, maps.config(), scratch, outcome)),
    };
    scratch.absence.note(&step);
    match step {
        Step::Done(outcome) => {
            // The name may have come since it was looked up, and the proof be of a version that has it.
            let finished = if CONCLUDES && maps.changes() != Some(recall(&scratch.changes)) {
                Err(Outcome::Miss)
            } else {
                let Scratch { plan, absence, cells, .. } = &mut *scratch;
                proofs::finish::<Maps>(plan, absence, cells, outcome)
            };
            match finished {
                Ok(outcome) => scratch.plan.outcome = outcome.index() as u32,
                Err(outcome) => return Err(passed_up(context, maps.config(), scratch, outcome)),
            }
            if options::are_due(&scratch.query, &scratch.plan) {
                context.tail_call::<{ maps::OPTIONS }>();
            } else {
                depart(context, maps.config(), scratch);
            }
        }
        Step::Absent(..) => context.tail_call::<{ maps::DENY }>(),
        Step::Redirect => context.tail_call::<{ maps::REDIRECT }>(),
        Step::Hash => context.tail_call::<{ maps::HASH }>(),
        Step::Conclude => context.tail_call::<{ maps::CONCLUDE }>(),
        Step::At(..) | Step::Chase(_) => context.tail_call::<{ maps::FOLLOW }>(),
    }
    Ok(())
}

/// Decides whether the planned answer is sent, or what is not answered passed up.
#[inline(always)]
pub fn limit<H: Hook>(context: &H) -> H::Verdict {
    let outcome = match limited(context) {
        // Here only if the daemon has not filled the place.
        Ok(()) => Outcome::Broken,
        Err(Unsent::Counted(outcome)) => {
            count::outcome::<H>(outcome);
            outcome
        }
        Err(Unsent::Passed(place)) => {
            count::outcome_at::<H>(place);
            Outcome::Miss
        }
    };
    context.verdict(outcome)
}

/// What is not sent.
enum Unsent {
    /// It is called that.
    Counted(Outcome),
    /// It is passed up; its outcome has this place.
    Passed(usize),
}

#[inline(always)]
fn limited<H: Hook>(context: &H) -> Result<(), Unsent> {
    let broken = Unsent::Counted(Outcome::Broken);
    let Some(maps) = Maps::<true>::new() else { return Err(broken) };
    let Some(scratch) = store::scratch() else { return Err(broken) };
    let outcome = recall(&scratch.plan.outcome) as usize;
    let client = limiter::client(scratch);
    let limiter = Limits::<H>::new(maps.config());
    let listed = if maps.config().limits & limits::NAMES != 0 && is_read(outcome) {
        limiter::listed(maps.config(), scratch)
    } else {
        Listed { block: 0, policy: 0 }
    };
    if listed.block != 0 {
        limiter.count(Count::BlockedName);
        if listed.block & flag::BLOCK != 0 {
            return Err(Unsent::Counted(Outcome::Blocked));
        }
    }
    let is_passed = outcome > Outcome::Slipped.index();
    if !is_passed && recall(&scratch.query.has_valid_cookie) != 0 {
        depart_unlimited(context, scratch);
        return Ok(());
    }
    let (class, name) = if is_passed {
        (maps::PASSED, 0)
    } else {
        let Scratch { query, plan, absence, cells, .. } = &mut *scratch;
        let class = account::class(query, plan, cells, outcome);
        let Some(name) = account::name(&maps, query, absence, class) else { return Err(broken) };
        (class, name)
    };
    let class = forget(&mut scratch.cells.forgotten, class as u64) as usize;
    let name = forget(&mut scratch.cells.forgotten, name);
    let policy = recall(&listed.policy);
    let weight = if maps.config().limits & limits::AMPLIFICATION != 0 && !is_passed {
        let limit = scratch.query.payload_limit(maps.config().payload_limit as usize);
        let Scratch { query, plan, options, made, cells, .. } = &mut *scratch;
        let opt_len = plan::opt_len(query, options);
        let response = plan::octets(&maps, query, plan, made, cells, opt_len, limit);
        decide::weight(response, scratch.layers.message_len())
    } else {
        WEIGHT_ONE
    };
    let weight = forget(&mut scratch.cells.forgotten, weight);
    let said = Said { class, name, weight, policy };
    match decide::respond(&limiter, &client, &said, &mut scratch.limit) {
        Verdict::Answer | Verdict::Leak if is_passed => return Err(Unsent::Passed(outcome)),
        Verdict::Answer | Verdict::Leak => {}
        Verdict::Slip if recall(&scratch.query.has_cookie) != 0 => {
            let Scratch { plan, absence, options, .. } = &mut *scratch;
            options::bad_cookie(plan, absence, options);
            scratch.plan.slipped = 1;
        }
        Verdict::Slip => {
            scratch.plan.slip();
            // So that it is no larger than the query.
            scratch.options.clear();
        }
        Verdict::Drop => return Err(Unsent::Counted(Outcome::Limited)),
    }
    decide::settle(&limiter, &client, &mut scratch.limit);
    depart_unlimited(context, scratch);
    Ok(())
}

/// Whether a question has been read whose outcome has this place.
#[inline(always)]
fn is_read(outcome: usize) -> bool {
    outcome <= Outcome::Slipped.index() || outcome >= Outcome::MetaType.index()
}

/// Goes on to where it is decided whether what is planned, options included, is sent.
#[inline(always)]
fn depart<H: Hook>(context: &H, config: &Config, scratch: &Scratch) {
    if recall(&config.limits) & ASKED != 0 {
        context.tail_call::<{ maps::LIMIT }>();
    }
    depart_unlimited(context, scratch);
}

/// Goes on to where it is sent.
#[inline(always)]
fn depart_unlimited<H: Hook>(context: &H, scratch: &Scratch) {
    if scratch.absence.is_redirected() {
        context.tail_call::<{ maps::SEND_MADE }>();
    } else {
        context.tail_call::<{ maps::SEND }>();
    }
}

/// What is passed up and this server's has a budget: goes on to where that is kept.
#[inline(always)]
fn passed_up<H: Hook>(
    context: &H,
    config: &Config,
    scratch: &mut Scratch,
    outcome: Outcome,
) -> Outcome {
    if recall(&config.limits) & ASKED != 0 && outcome.is_ours() {
        scratch.plan.outcome = forget(&mut scratch.cells.forgotten, outcome.index() as u64) as u32;
        context.tail_call::<{ maps::LIMIT }>();
    }
    outcome
}

/// Reads the options of the query and makes those of the response.
#[inline(always)]
pub fn options<H: Hook>(context: &H) -> H::Verdict {
    let outcome = match with_options(context) {
        Ok(()) => Outcome::Broken,
        Err(outcome) => outcome,
    };
    count::outcome::<H>(outcome);
    context.verdict(outcome)
}

#[inline(always)]
fn with_options<H: Hook>(context: &H) -> Result<(), Outcome> {
    let maps = Maps::<false>::new().ok_or(Outcome::Broken)?;
    let manners = store::manners().ok_or(Outcome::Broken)?;
    let scratch = store::scratch().ok_or(Outcome::Broken)?;
    match options::answer(&maps, scratch, manners, store::now_s(maps.config())) {
        Ok(()) => depart(context, maps.config(), scratch),
        Err(outcome) => return Err(passed_up(context, maps.config(), scratch, outcome)),
    }
    Ok(())
}

/// Makes room for the planned answer, writes it, and turns the headers round.
#[inline(always)]
pub fn send<H: Hook>(context: &H) -> H::Verdict {
    end(context, sent(context, Maps::<false>::new()))
}

/// The same for an answer with a CNAME in it that was made from a DNAME.
#[inline(always)]
pub fn send_made<H: Hook>(context: &H) -> H::Verdict {
    end(context, sent(context, Maps::<true>::new()))
}

#[inline(always)]
fn end<H: Hook>(context: &H, sent: Result<(), Outcome>) -> H::Verdict {
    match sent {
        // What it is called in particular was counted.
        Ok(()) => context.verdict(Outcome::Positive),
        Err(outcome) => {
            count::outcome::<H>(outcome);
            context.verdict(outcome)
        }
    }
}

#[inline(always)]
fn sent<H: Hook, const MADE: bool>(context: &H, maps: Option<Maps<MADE>>) -> Result<(), Outcome> {
    let mut packet = Packet::new(context).ok_or(Outcome::Broken)?;
    let maps = maps.ok_or(Outcome::Broken)?;
    let scratch = store::scratch().ok_or(Outcome::Broken)?;

    let payload = maps.config().payload_limit;
    let limit = scratch.query.payload_limit(payload as usize);
    let total = plan::measure(&maps, scratch, limit, store::now_s(maps.config()))?;

    let message_at = scratch.layers.message_at();
    let name_len = recall(&scratch.query.name_len) as usize & 0xff;
    let keep = message_at + compose::records_at(name_len);
    packet.resize(message_at + total, keep)?;
    // From here on the packet is edited, and what fails cannot be passed up.
    let sum = compose::write(&maps, &mut packet, message_at, payload as u16, scratch)
        .ok_or(Outcome::Torn)?;
    let total = recall(&scratch.plan.total) as usize & 0xffff;
    layers::reply(&mut packet, &scratch.layers, total, sum).ok_or(Outcome::Torn)?;
    let outcome = scratch.plan.said();
    count::answer::<H>(outcome, scratch.layers.message_len(), total);
    store::sent(maps.config(), scratch.layers.message_len(), total);
    Ok(())
}
