//! The XDP program: reads a query off the wire and sends the answer back.
//!
//! All decisions are `xdp-common`'s; here are the maps, the packet and the order of the steps.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod count;
mod frame;
mod store;

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::XdpContext;
use core::arch::asm;
use frame::Packet;
use store::Maps;
use xdp_common::dns::query;
use xdp_common::engine::exact::{self, Step};
use xdp_common::engine::{compose, deny, find, plan};
use xdp_common::frame::Frame;
use xdp_common::launder::recall;
use xdp_common::{Outcome, Scratch, layers, maps};

/// The programs that others call at their end, by place. A call costs a nanosecond, and each program
/// has the verifier's whole budget to itself.
#[map]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(maps::PROGRAM_COUNT, 0);

/// Reads the query and plans the answer for names that exist: positive, CNAME, NODATA, the referral
/// at the cut, the apex.
#[xdp]
pub fn serve(context: XdpContext) -> u32 {
    stage(&context, |maps: &Maps, scratch| served(&context, maps, scratch))
}

#[inline(always)]
fn served(context: &XdpContext, maps: &Maps, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let packet = Packet::new(context).ok_or(Outcome::Broken)?;

    layers::decode(&packet, maps.config(), scratch)?;
    let message_at = scratch.layers.message_at();
    let query_len = scratch.layers.message_len();
    let sum = query::decode(&packet, message_at, query_len, maps.config().seed, scratch)?;
    if !layers::checksum_holds(scratch, sum) {
        return Err(Outcome::BadChecksum);
    }
    if scratch.query.version != 0 {
        return Err(Outcome::Miss);
    }

    scratch.plan.clear();
    let found = find::question(maps, scratch).ok_or(Outcome::Broken)?;
    match exact::first(scratch, found) {
        Step::At(found, context) => exact::run(maps, scratch, found, context),
        step => Ok(step),
    }
}

/// Finds the closest encloser of a name that does not exist, and plans the referral above it.
#[xdp]
pub fn deny(context: XdpContext) -> u32 {
    stage(&context, deny::enclose::<Maps>)
}

/// Finds the NSEC3 that proves that the next closer name does not exist.
#[xdp]
pub fn hash(context: XdpContext) -> u32 {
    stage(&context, deny::hash::<Maps>)
}

/// Finds the NSEC that does, and plans the wildcard's answer or NXDOMAIN.
#[xdp]
pub fn conclude(context: XdpContext) -> u32 {
    stage(&context, deny::conclude::<Maps>)
}

/// Goes where a CNAME leads that the image has not resolved, or that a wildcard has.
#[xdp]
pub fn follow(context: XdpContext) -> u32 {
    stage(&context, deny::follow::<Maps<true>>)
}

/// Makes a CNAME from a DNAME.
#[xdp]
pub fn redirect(context: XdpContext) -> u32 {
    stage(&context, deny::redirect::<Maps>)
}

/// Takes a step and calls the program that takes the next one.
#[inline(always)]
fn stage<const MADE: bool>(
    context: &XdpContext,
    take: impl Fn(&Maps<MADE>, &mut Scratch) -> Result<Step, Outcome>,
) -> u32 {
    let outcome = match step(context, take) {
        // Here only if the daemon has not filled the place.
        Ok(()) => Outcome::Broken,
        Err(outcome) => outcome,
    };
    count::outcome(outcome);
    outcome.action()
}

#[inline(always)]
fn step<const MADE: bool>(
    context: &XdpContext,
    take: impl Fn(&Maps<MADE>, &mut Scratch) -> Result<Step, Outcome>,
) -> Result<(), Outcome> {
    let maps = Maps::new().ok_or(Outcome::Broken)?;
    let scratch = store::scratch().ok_or(Outcome::Broken)?;
    let step = take(&maps, scratch)?;
    scratch.absence.note(&step);
    match step {
        Step::Done(outcome) => {
            let outcome = deny::finish::<Maps>(scratch, outcome)?;
            scratch.plan.outcome = outcome.index() as u32;
            if scratch.absence.is_redirected() {
                tail_call::<{ maps::SEND_MADE }>(context);
            } else {
                tail_call::<{ maps::SEND }>(context);
            }
        }
        Step::Absent(..) => tail_call::<{ maps::DENY }>(context),
        Step::Redirect => tail_call::<{ maps::REDIRECT }>(context),
        Step::Hash => tail_call::<{ maps::HASH }>(context),
        Step::Conclude => tail_call::<{ maps::CONCLUDE }>(context),
        Step::At(..) | Step::Chase(_) => tail_call::<{ maps::FOLLOW }>(context),
    }
    Ok(())
}

/// Calls a program; comes back only if there is none. The place is part of the instructions, so that calls
/// of different programs are not merged into one with a computed place: only those with a constant one
/// become plain jumps.
#[inline(always)]
fn tail_call<const PLACE: u32>(context: &XdpContext) {
    // SAFETY: the context is the one the kernel passed in, the map is a program array, and registers
    // are used as linux/bpf.h says of bpf_tail_call, which is number 12.
    unsafe {
        asm!(
            "r3 = {place}",
            "call 12",
            place = const PLACE,
            inlateout("r1") context.as_ptr() => _,
            inlateout("r2") &raw const PROGRAMS => _,
            lateout("r0") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
}

/// Makes room for the planned answer, writes it, and turns the headers round.
#[xdp]
pub fn send(context: XdpContext) -> u32 {
    end(sent(&context, Maps::<false>::new()))
}

/// The same for an answer with a CNAME in it that was made from a DNAME.
#[xdp]
pub fn send_made(context: XdpContext) -> u32 {
    end(sent(&context, Maps::<true>::new()))
}

#[inline(always)]
fn end(sent: Result<(), Outcome>) -> u32 {
    match sent {
        Ok(()) => Outcome::Positive.action(),
        Err(outcome) => {
            count::outcome(outcome);
            outcome.action()
        }
    }
}

#[inline(always)]
fn sent<const MADE: bool>(context: &XdpContext, maps: Option<Maps<MADE>>) -> Result<(), Outcome> {
    let mut packet = Packet::new(context).ok_or(Outcome::Broken)?;
    let maps = maps.ok_or(Outcome::Broken)?;
    let scratch = store::scratch().ok_or(Outcome::Broken)?;

    let payload = maps.config().payload_limit;
    let limit = scratch.query.payload_limit(payload as usize);
    let total = plan::measure(&maps, scratch, limit, maps.config().now_s as u32)?;

    let message_at = scratch.layers.message_at();
    let name_len = recall(&scratch.query.name_len) as usize & 0xff;
    let keep = message_at + compose::records_at(name_len);
    packet.resize(message_at + total, keep).ok_or(Outcome::NoRoom)?;
    // From here on the packet is edited, and what fails cannot be passed up.
    let sum = compose::write(&maps, &mut packet, message_at, payload as u16, scratch)
        .ok_or(Outcome::Torn)?;
    let total = recall(&scratch.plan.total) as usize & 0xffff;
    layers::reply(&mut packet, scratch, total, sum).ok_or(Outcome::Torn)?;
    let outcome = if recall(&scratch.plan.truncated) != 0 {
        Outcome::Truncated.index()
    } else {
        recall(&scratch.plan.outcome) as usize
    };
    count::answer(outcome, scratch.layers.message_len(), total);
    Ok(())
}

/// Never reached: the verifier refuses a program in which it could be.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends GPL-only helpers to programs that say they are compatible.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
