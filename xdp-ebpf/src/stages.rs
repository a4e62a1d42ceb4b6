//! The stages of an answer, each a program of its own: the same on both hooks. Their order and what is decided between
//! them is [`xdp_common::engine::sequence`]'s; here is what the kernel does for it.

// A function shared by two programs would be called, and what it returns go over the stack, where the verifier loses
// sight of it: a closure is compiled into each.

use core::convert::Infallible;

use xdp_common::engine::sequence::{
    self, Driver, FrameDriver, LimitingDriver, Sent, Stage, StageResult, Unsent,
};
use xdp_common::frame::Frame;
use xdp_common::launder::recall;
use xdp_common::limit::list::NameListing;
use xdp_common::maps::{Config, EdnsSettings};
use xdp_common::state::Query;
use xdp_common::{Outcome, Scratch};

use crate::count;
use crate::frame::Packet;
use crate::hook::Hook;
use crate::limiter::{self, HookLimiter};
use crate::store::{self, Maps};

/// The programs of a hook, which take the stages: each calls the next one at its end. `MADE` is as in [`Maps`].
struct Programs<'a, H, const MADE: bool> {
    context: &'a H,
    maps: Maps<MADE>,
}

impl<'a, H: Hook, const MADE: bool> Programs<'a, H, MADE> {
    /// `None` if the kernel has not made the maps, which cannot be.
    #[inline(always)]
    fn new(context: &'a H) -> Option<Programs<'a, H, MADE>> {
        Some(Programs { context, maps: Maps::new()? })
    }
}

impl<H: Hook, const MADE: bool> Driver for Programs<'_, H, MADE> {
    type Store = Maps<MADE>;
    type Entered = Infallible;
    const FRAMED: bool = true;

    #[inline(always)]
    fn store(&self) -> &Maps<MADE> {
        &self.maps
    }

    #[inline(always)]
    fn edns_settings(&self) -> Option<&EdnsSettings> {
        store::edns_settings()
    }

    #[inline(always)]
    fn now_s(&self) -> u32 {
        store::now_s(self.maps.config())
    }

    #[inline(always)]
    fn changes(&self) -> Option<u64> {
        self.maps.changes()
    }

    #[inline(always)]
    fn response_limit(&self, query: &Query) -> usize {
        query.payload_limit(self.maps.config().payload_limit as usize)
    }

    #[inline(always)]
    fn payload(&self) -> u16 {
        self.maps.config().payload_limit as u16
    }

    #[inline(always)]
    fn limit_bits(&self) -> u32 {
        recall(&self.maps.config().limits)
    }

    #[inline(always)]
    fn is_stream(&self) -> bool {
        false
    }

    #[inline(always)]
    fn enter(&mut self, stage: Stage) -> Option<Infallible> {
        match stage {
            Stage::Send => self.context.tail_call::<{ Stage::Send as u32 }>(),
            Stage::Deny => self.context.tail_call::<{ Stage::Deny as u32 }>(),
            Stage::Hash => self.context.tail_call::<{ Stage::Hash as u32 }>(),
            Stage::Conclude => self.context.tail_call::<{ Stage::Conclude as u32 }>(),
            Stage::Follow => self.context.tail_call::<{ Stage::Follow as u32 }>(),
            Stage::Redirect => self.context.tail_call::<{ Stage::Redirect as u32 }>(),
            Stage::SendMade => self.context.tail_call::<{ Stage::SendMade as u32 }>(),
            Stage::Options => self.context.tail_call::<{ Stage::Options as u32 }>(),
            Stage::Limit => self.context.tail_call::<{ Stage::Limit as u32 }>(),
        }
        None
    }

    #[inline(always)]
    fn found(&mut self, found: StageResult, _scratch: &Scratch) {
        if H::IS_TRACED
            && let StageResult::Query(Ok(())) = found
        {
            self.context.note_question();
        }
    }
}

impl<H: Hook, const MADE: bool> FrameDriver for Programs<'_, H, MADE> {
    #[inline(always)]
    fn config(&self) -> &Config {
        self.maps.config()
    }

    #[inline(always)]
    fn arrive<F: Frame>(&self, frame: &F, scratch: &mut Scratch) -> Result<(), Outcome> {
        if H::IS_TRACED {
            self.context.note_headers(frame, scratch);
        }
        if self.maps.config().limits == 0 {
            return Ok(());
        }
        limiter::arrive::<H, F>(frame, self.maps.config(), scratch)
    }
}

impl<H: Hook, const MADE: bool> LimitingDriver for Programs<'_, H, MADE> {
    type Limiter = HookLimiter<H>;

    #[inline(always)]
    fn limiter(&self) -> HookLimiter<H> {
        HookLimiter::new(self.maps.config())
    }

    #[inline(always)]
    fn listed(&self, scratch: &mut Scratch) -> NameListing {
        limiter::listed(self.maps.config(), scratch)
    }
}

/// [`sequence::serve`]: packets come here first.
#[inline(always)]
pub fn serve<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false>(context, |programs, scratch| {
        let packet = Packet::new(context).ok_or(Outcome::Broken)?;
        sequence::serve(programs, &packet, scratch)
    })
}

/// [`sequence::deny`].
#[inline(always)]
pub fn deny<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false>(context, |programs, scratch| sequence::deny(programs, scratch))
}

/// [`sequence::hash`].
#[inline(always)]
pub fn hash<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false>(context, |programs, scratch| sequence::hash(programs, scratch))
}

/// [`sequence::conclude`].
#[inline(always)]
pub fn conclude<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false>(context, |programs, scratch| sequence::conclude(programs, scratch))
}

/// [`sequence::follow`].
#[inline(always)]
pub fn follow<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, true>(context, |programs, scratch| sequence::follow(programs, scratch))
}

/// [`sequence::redirect`].
#[inline(always)]
pub fn redirect<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false>(context, |programs, scratch| sequence::redirect(programs, scratch))
}

/// [`sequence::options`].
#[inline(always)]
pub fn options<H: Hook>(context: &H) -> H::Verdict {
    stage::<_, false>(context, |programs, scratch| sequence::options(programs, scratch))
}

/// Takes a stage, which calls the program that takes the next one.
#[inline(always)]
fn stage<H: Hook, const MADE: bool>(
    context: &H,
    take: impl Fn(&mut Programs<'_, H, MADE>, &mut Scratch) -> Result<Infallible, Outcome>,
) -> H::Verdict {
    let Err(outcome) = with_scratch(context, take);
    count::outcome::<H>(outcome);
    context.verdict(outcome)
}

/// Calls it with the programs of a hook and the working memory of this CPU.
#[inline(always)]
fn with_scratch<H: Hook, const MADE: bool>(
    context: &H,
    take: impl Fn(&mut Programs<'_, H, MADE>, &mut Scratch) -> Result<Infallible, Outcome>,
) -> Result<Infallible, Outcome> {
    // First what is used most: the compiler keeps it in a register, which saves an answer 7 ns.
    let scratch = store::scratch().ok_or(Outcome::Broken)?;
    let mut programs = Programs::new(context).ok_or(Outcome::Broken)?;
    take(&mut programs, scratch)
}

/// [`sequence::limit`].
#[inline(always)]
pub fn limit<H: Hook>(context: &H) -> H::Verdict {
    let Err(unsent) = limited(context);
    let outcome = match unsent {
        Unsent::Dropped(outcome) => {
            count::outcome::<H>(outcome);
            outcome
        }
        Unsent::Passed(place) => {
            count::outcome_at::<H>(place);
            if H::IS_TRACED {
                H::note_outcome(place);
            }
            // Counted by its place; what is done with the packet is the same for all that are passed up.
            Outcome::Miss
        }
    };
    context.verdict(outcome)
}

#[inline(always)]
fn limited<H: Hook>(context: &H) -> Result<Infallible, Unsent> {
    let broken = Unsent::Dropped(Outcome::Broken);
    let scratch = store::scratch().ok_or(broken)?;
    let mut programs = Programs::<H, true>::new(context).ok_or(broken)?;
    sequence::limit(&mut programs, scratch)
}

/// [`sequence::send`].
#[inline(always)]
pub fn send<H: Hook>(context: &H) -> H::Verdict {
    end(context, send_and_count::<_, false>(context))
}

/// The same for an answer with a CNAME in it that was made from a DNAME.
#[inline(always)]
pub fn send_made<H: Hook>(context: &H) -> H::Verdict {
    end(context, send_and_count::<_, true>(context))
}

#[inline(always)]
fn end<H: Hook>(context: &H, sent: Result<(), Outcome>) -> H::Verdict {
    match sent {
        // `count::answer` has counted the outcome of the answer; what is done with the packet is the same for all that
        // are answered.
        Ok(()) => context.verdict(Outcome::Positive),
        Err(outcome) => {
            count::outcome::<H>(outcome);
            context.verdict(outcome)
        }
    }
}

#[inline(always)]
fn send_and_count<H: Hook, const MADE: bool>(context: &H) -> Result<(), Outcome> {
    let mut packet = Packet::new(context).ok_or(Outcome::Broken)?;
    let mut programs = Programs::<H, MADE>::new(context).ok_or(Outcome::Broken)?;
    let scratch = store::scratch().ok_or(Outcome::Broken)?;
    let Sent { outcome, octets } = sequence::send(&mut programs, &mut packet, scratch)?;
    let query_octets = scratch.layers.message_len();
    count::answer::<H>(outcome, query_octets, octets);
    store::note_amplified(programs.maps.config(), query_octets, octets);
    if H::IS_TRACED {
        H::note_outcome(outcome);
    }
    Ok(())
}
