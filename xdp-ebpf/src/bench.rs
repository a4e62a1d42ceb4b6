//! Programs that `cargo xtask bench` measures with; never attached where sealdns serves.
//!
//! An answered query lies in the place of the query, so that a program cannot be run on the same frame
//! again and again. `measure` writes the query anew and calls what is measured, `finish` ends at
//! once, `regrow` undoes what answering does to a frame's length: their times are what `measure`
//! alone costs. `generate`, `reflect` and `receive` are the two ends of a wire.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_xdp_adjust_tail,
};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use core::arch::asm;
use xdp_common::checksum::{add_u64, at, fold};
use xdp_common::lab::{
    BURST, FIRST_SOURCE, MAX_FRAME, MAX_TEMPLATES, Template, control, counter, digits, template,
};
use xdp_common::launder::forget;
use xdp_common::limit::table::{SLOTS, Slots, key};
use xdp_common::maps::RATE_BUCKETS;

#[map]
static TEMPLATES: Array<Template> = Array::with_max_entries(MAX_TEMPLATES as u32, 0);
#[map]
static CONTROL: Array<[u64; control::WORDS]> = Array::with_max_entries(1, 0);
#[map]
static COUNTERS: PerCpuArray<[u64; counter::WORDS]> = PerCpuArray::with_max_entries(1, 0);
#[map]
static STATE: PerCpuArray<State> = PerCpuArray::with_max_entries(1, 0);
/// Netblocks as a map of the kernel's counts them, and one of ours; both for as many.
#[map]
static LRU: LruHashMap<u32, u64> = LruHashMap::with_max_entries(RATE_BUCKETS * SLOTS as u32, 0);
#[map]
static BUCKETS: Array<Slots> = Array::with_max_entries(RATE_BUCKETS, BPF_F_MMAPABLE);
/// What `measure` calls.
#[map]
static MEASURED: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// What a CPU remembers from one frame to the next.
#[repr(C)]
struct State {
    /// The pseudo-random sequence.
    random: u64,
    /// When the next burst may leave.
    next_ns: u64,
    /// Queries that are left of this burst.
    left: u64,
    /// The run that this one belongs to.
    run: u64,
    /// A place to launder values in.
    slot: u64,
}

/// The longest step of the length that `regrow` can take.
const MAX_GROW: u64 = 0xfff;
/// The most steps back.
const MAX_SHRINKS: u64 = 16;

/// Octets that the ethertype, IPv4 and UDP headers take.
const IPV4_AT: usize = 14;
const HEADER_CHECKSUM_AT: usize = IPV4_AT + 10;
const SOURCE_AT: usize = IPV4_AT + 12;
const UDP_AT: usize = IPV4_AT + 20;
const DNS_AT: usize = UDP_AT + 8;
/// Port 53 and ethertype IPv4 as they lie in memory.
const PORT: u16 = 53u16.to_be();
const IPV4: u16 = 0x0800u16.to_be();

#[inline(always)]
fn state() -> Option<&'static mut State> {
    // SAFETY: the value belongs to this CPU, and each program takes the reference once.
    unsafe { STATE.get_ptr_mut(0).map(|state| &mut *state) }
}

#[inline(always)]
fn counters() -> Option<&'static mut [u64; counter::WORDS]> {
    // SAFETY: as in `state`.
    unsafe { COUNTERS.get_ptr_mut(0).map(|counters| &mut *counters) }
}

/// Keeps the compiler from computing an address a second time, past its check.
#[inline(always)]
fn pinned(pointer: usize) -> usize {
    let mut pointer = pointer;
    // SAFETY: a register is moved to itself; no memory is touched.
    unsafe { asm!("{0} = {0}", inout(reg) pointer, options(pure, nomem, nostack)) };
    pointer
}

#[inline(always)]
fn adjust_tail(context: &XdpContext, by: i32) -> Option<()> {
    // SAFETY: the context is the one the kernel passed in.
    let error = unsafe { bpf_xdp_adjust_tail(context.as_ptr().cast(), by) };
    (error == 0).then_some(())
}

/// Where `len` octets of the packet from `offset` on are; `None` past its end.
#[inline(always)]
fn place(context: &XdpContext, offset: usize, len: usize) -> Option<usize> {
    let start = pinned(context.data() + (offset & 0x1ff));
    if start + len > context.data_end() {
        return None;
    }
    Some(start)
}

/// Writes a query into the frame: one of the templates, with a random name where it says so.
#[inline(always)]
fn ask(context: &XdpContext, control: &[u64; control::WORDS], state: &mut State) -> Option<()> {
    if state.random == 0 {
        // Each CPU begins elsewhere: two that drew the same numbers at a time would meet at every account.
        // SAFETY: the helper only reads a number.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        state.random = (cpu as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    // Knuth's MMIX generator; its upper bits are the random ones.
    state.random = state.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    let random = state.random;
    let which = ((random >> 48) * control[control::TEMPLATES]) >> 16;
    let query = TEMPLATES.get(which as u32)?;
    let len = query[template::LEN] as usize & 0x1ff;
    let present = forget(&mut state.slot, (context.data_end() - context.data()) as u64) as i32;
    if present != len as i32 {
        adjust_tail(context, (len as i32).wrapping_sub(present))?;
    }

    let mut done = 0;
    while done < MAX_FRAME {
        if done + 8 > len {
            break;
        }
        let to = place(context, done, 8)?;
        // SAFETY: inside the packet, by the check in `place`.
        unsafe { (to as *mut u64).write_unaligned(query[done / 8]) };
        done += 8;
    }
    forget(&mut state.slot, done as u64);
    // The last octets, with those before them once more.
    let last = forget(&mut state.slot, len as u64).wrapping_sub(8) as usize & 0x1ff;
    if last > MAX_FRAME - 8 {
        return None;
    }
    let to = place(context, last, 8)?;
    // SAFETY: inside the template and inside the packet, by the checks above.
    unsafe {
        let word = query.as_ptr().cast::<u8>().add(pinned(last)).cast::<u64>().read_unaligned();
        (to as *mut u64).write_unaligned(word);
    }

    let mut sum = query[template::SUM];
    let digits_at = query[template::DIGITS_AT] as usize & 0x1ff;
    if digits_at != 0 {
        let name = (((random >> 16) & 0xffff_ffff) * query[template::NAMES]) >> 32;
        let word = digits(name as u32);
        let to = place(context, digits_at, 8)?;
        // SAFETY: inside the packet, by the check in `place`.
        unsafe { (to as *mut u64).write_unaligned(word) };
        sum += at(digits_at, fold(add_u64(0, word)));
    }
    let sources = query[template::SOURCES];
    if sources != 0 {
        let number = (((random >> 24) & 0xffff_ffff) * sources) >> 32;
        let source = FIRST_SOURCE.wrapping_add((number as u32) << 8).to_be();
        let to = place(context, SOURCE_AT, 4)?;
        // SAFETY: as above.
        unsafe { (to as *mut u32).write_unaligned(source) };
        let checksum = !fold(query[template::HEADER_SUM] + source as u64);
        let to = place(context, HEADER_CHECKSUM_AT, 2)?;
        // SAFETY: as above.
        unsafe { (to as *mut u16).write_unaligned(checksum) };
        sum += source as u64;
    }
    if digits_at != 0 || sources != 0 {
        let checksum = match !fold(sum) {
            0 => 0xffff,
            checksum => checksum,
        };
        let to = place(context, query[template::CHECKSUM_AT] as usize, 2)?;
        // SAFETY: as above.
        unsafe { (to as *mut u16).write_unaligned(checksum) };
    }
    Some(())
}

/// Writes a query over whatever the frame holds, and calls what is measured.
#[xdp]
pub fn measure(context: XdpContext) -> u32 {
    let Some((control, state)) = CONTROL.get(0).zip(state()) else { return XDP_ABORTED };
    if ask(&context, control, state).is_none() {
        return XDP_ABORTED;
    }
    // SAFETY: the context is the one the kernel passed in.
    unsafe { MEASURED.tail_call(&context, 0) };
    XDP_ABORTED
}

/// Measured to know what `measure` costs by itself.
#[xdp]
pub fn finish(_context: XdpContext) -> u32 {
    XDP_TX
}

/// Makes the frame longer, and then a number of times one octet shorter: measured to know what it
/// costs that `measure` makes a reply as short as the query again.
#[xdp]
pub fn regrow(context: XdpContext) -> u32 {
    let Some((control, state)) = CONTROL.get(0).zip(state()) else { return XDP_ABORTED };
    let grow = control[control::GROW] & MAX_GROW;
    if adjust_tail(&context, grow as i32).is_none() {
        return XDP_ABORTED;
    }
    let mut shrinks = 0;
    while shrinks < MAX_SHRINKS {
        if shrinks >= control[control::SHRINKS] {
            break;
        }
        if adjust_tail(&context, -1).is_none() {
            return XDP_ABORTED;
        }
        shrinks += 1;
    }
    forget(&mut state.slot, shrinks);
    XDP_TX
}

/// The netblock that a query comes from.
#[inline(always)]
fn netblock(context: &XdpContext) -> Option<u32> {
    let from = place(context, SOURCE_AT, 4)?;
    // SAFETY: inside the packet, by the check in `place`.
    Some(unsafe { (from as *const u32).read_unaligned() } & 0x00ff_ffff)
}

/// Counts a query's netblock in a map as the kernel has it: what the limiter would cost with one of those.
#[xdp]
pub fn count_in_lru(context: XdpContext) -> u32 {
    let Some(netblock) = netblock(&context) else { return XDP_ABORTED };
    if let Some(count) = LRU.get_ptr_mut(netblock) {
        // SAFETY: the pointer is the map's; other CPUs may write the word too, and nobody minds.
        unsafe { *count += 1 };
    } else if LRU.insert(netblock, 1, 0).is_err() {
        return XDP_ABORTED;
    }
    XDP_TX
}

/// Counts it in an array of buckets, as the limiter does: the memory that it touches, without what it computes.
#[xdp]
pub fn count_in_bucket(context: XdpContext) -> u32 {
    let Some(netblock) = netblock(&context) else { return XDP_ABORTED };
    let hash = key(0, [0, netblock as u64], 0);
    let Some(bucket) = BUCKETS.get_ptr_mut(hash as u32 & (RATE_BUCKETS - 1)) else {
        return XDP_ABORTED;
    };
    let place = pinned((hash >> 32) as usize) & (SLOTS - 1);
    // SAFETY: the place lies inside the bucket, by the mask.
    unsafe { *bucket.cast::<u64>().add(place) += 1 };
    XDP_TX
}

/// Sends queries, in bursts an interval apart if it is told one. A frame for which it is too early is
/// dropped; a caller with live frames gets it back and tries again.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    let Some((control, state)) = CONTROL.get(0).zip(state()) else { return XDP_ABORTED };
    let Some(counters) = counters() else { return XDP_ABORTED };
    if state.run != control[control::RUN] {
        // What the run before has left over is not asked in this one.
        state.left = 0;
    }
    if state.left == 0 {
        // SAFETY: the helper only reads a clock.
        let now = unsafe { bpf_ktime_get_ns() };
        let interval = control[control::INTERVAL_NS];
        if state.run != control[control::RUN] {
            state.run = control[control::RUN];
            state.next_ns = now;
            counters[counter::FIRST_NS] = now;
        }
        if now < state.next_ns {
            return XDP_DROP;
        }
        // What a pause has missed is made up for, but not more than a few bursts of it.
        let earliest = now.saturating_sub(interval * 8);
        let due = if state.next_ns < earliest { earliest } else { state.next_ns };
        state.next_ns = due + interval;
        state.left = BURST;
        counters[counter::LAST_NS] = now;
    }
    state.left -= 1;
    if ask(&context, control, state).is_none() {
        return XDP_ABORTED;
    }
    counters[counter::SENT] += 1;
    XDP_TX
}

/// Sends every UDP datagram over IPv4 back to where it came from, as it is: addresses and ports
/// swapped, which no checksum minds. The least that a server can do.
#[xdp]
pub fn reflect(context: XdpContext) -> u32 {
    let Some(start) = place(&context, 0, DNS_AT) else { return XDP_PASS };
    let octets = start as *mut [u8; DNS_AT];
    // SAFETY: inside the packet, by the check in `place`; no other reference to it lives.
    let octets = unsafe { &mut *octets };
    if octets[12] != 0x08 || octets[13] != 0 || octets[IPV4_AT + 9] != 17 {
        return XDP_PASS;
    }
    let (mut index, macs) = (0, 6);
    while index < macs {
        octets.swap(index, index + macs);
        index += 1;
    }
    let mut index = IPV4_AT + 12;
    while index < IPV4_AT + 16 {
        octets.swap(index, index + 4);
        index += 1;
    }
    octets.swap(UDP_AT, UDP_AT + 2);
    octets.swap(UDP_AT + 1, UDP_AT + 3);
    XDP_TX
}

/// Counts replies and ends them here.
#[xdp]
pub fn receive(context: XdpContext) -> u32 {
    let Some(start) = place(&context, 0, DNS_AT + 12) else { return XDP_PASS };
    // SAFETY: inside the packet, by the check in `place`.
    let (ethertype, port, flags, answers) = unsafe {
        (
            ((start + 12) as *const u16).read_unaligned(),
            ((start + UDP_AT) as *const u16).read_unaligned(),
            ((start + DNS_AT + 2) as *const [u8; 2]).read_unaligned(),
            ((start + DNS_AT + 6) as *const u16).read_unaligned(),
        )
    };
    if ethertype != IPV4 || port != PORT {
        return XDP_PASS;
    }
    let Some(counters) = counters() else { return XDP_DROP };
    counters[counter::REPLIES] += 1;
    counters[counter::OCTETS] += (context.data_end() - context.data()) as u64;
    counters[counter::TRUNCATED] += (flags[0] >> 1 & 1) as u64;
    counters[counter::WITH_ANSWERS] += (answers != 0) as u64;
    counters[counter::RCODES + (flags[1] & 15) as usize] += 1;
    XDP_DROP
}

/// The licence that the kernel asks for before it lends its helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A reachable panic would be an endless loop, which the verifier refuses: so there is none.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
