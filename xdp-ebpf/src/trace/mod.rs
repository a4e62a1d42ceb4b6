//! Tracing: what becomes of a packet, written as a line of `aya-log` for those that are chosen.
//!
//! Programs that trace are other programs than those that answer: each stage is compiled for [`Traced`] hooks once more,
//! and they call one another through arrays of their own. The daemon puts the first of them in the place of the one
//! that answers for as long as a trace goes on. So that programs which do not trace have not one instruction more. (A constant
//! that the daemon sets when it loads them would not do: the verifier removes the branch, but not the load of the
//! constant before it.)
//!
//! What is written is in [`tell`] alone, which each of these programs ends in.

mod programs;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::info;
use xdp_common::frame::Frame;
use xdp_common::launder::recall;
use xdp_common::maps;
use xdp_common::trace::{Filter, Seen, fate_of, known, outcome_for};
use xdp_common::{Outcome, Scratch};

use crate::hook::{Hook, jump};
use crate::store;

#[map]
static TRACED_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(maps::PROGRAM_COUNT, 0);
#[map]
static TCX_TRACED_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(maps::PROGRAM_COUNT, 0);
#[map]
static TRACE: Array<Filter> = Array::with_max_entries(1, 0);
#[map]
static TRACED: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);

/// Octets of the question that a line has: the longest name.
const NAME_LEN: usize = 255;

/// No outcome yet.
const UNKNOWN: u32 = u32::MAX;

/// What is known of this CPU's packet.
#[inline(always)]
fn seen() -> Option<&'static mut Seen> {
    // SAFETY: the value belongs to this CPU, programs run on it one at a time, and no two references to it live at a
    // time. Any content is a valid `Seen`.
    unsafe { TRACED.get_ptr_mut(0).map(|seen| &mut *seen) }
}

/// A hook whose programs can be traced.
trait Traceable: Hook + EbpfContext {
    /// Its programs that trace.
    fn programs() -> *const ProgramArray;

    /// The number of the device that the packet came from.
    fn interface(&self) -> u32;
}

impl Traceable for XdpContext {
    #[inline(always)]
    fn programs() -> *const ProgramArray {
        &raw const TRACED_PROGRAMS
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the one the kernel passed in.
        unsafe { (*self.ctx).ingress_ifindex }
    }
}

impl Traceable for TcContext {
    #[inline(always)]
    fn programs() -> *const ProgramArray {
        &raw const TCX_TRACED_PROGRAMS
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the one the kernel passed in.
        unsafe { (*self.skb.skb).ifindex }
    }
}

/// A hook that notes what becomes of a packet. `STAGE` is the place of the program.
struct Traced<C, const STAGE: u32>(C);

impl<C: Traceable, const STAGE: u32> Traced<C, STAGE> {
    #[inline(always)]
    fn call<const PLACE: u32>(&self) {
        // SAFETY: the context is the one the kernel passed in, and the map an array of programs.
        unsafe { jump::<PLACE>(self.0.as_ptr(), C::programs()) };
    }
}

impl<C: Traceable, const STAGE: u32> Hook for Traced<C, STAGE> {
    const COUNTERS: u32 = C::COUNTERS;
    const COMPLETES_CHECKSUMS: bool = C::COMPLETES_CHECKSUMS;
    const HAS_HEAD_ROOM: bool = C::HAS_HEAD_ROOM;
    const IS_TRACED: bool = true;
    type Verdict = C::Verdict;

    #[inline(always)]
    fn data(&self) -> usize {
        self.0.data()
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        self.0.data_end()
    }

    #[inline(always)]
    fn resize(&self, len: usize, by: i32) -> Option<()> {
        self.0.resize(len, by)
    }

    #[inline(always)]
    fn adjust_head(&self, by: i32) -> Option<()> {
        self.0.adjust_head(by)
    }

    #[inline(always)]
    fn tail_call<const PLACE: u32>(&self) {
        self.call::<PLACE>();
    }

    #[inline(always)]
    fn verdict(&self, outcome: Outcome) -> C::Verdict {
        if let Some(seen) = seen() {
            seen.stage = STAGE;
            seen.fate = fate_of(outcome);
            if seen.outcome == UNKNOWN {
                seen.outcome = outcome.index() as u32;
            }
            self.call::<{ maps::TELL_PROGRAM.1 }>();
        }
        // Here only if the daemon has not filled the place.
        self.0.verdict(outcome)
    }

    #[inline(always)]
    fn note_headers<F: Frame>(&self, frame: &F, scratch: &Scratch) {
        let port = frame.get::<2>(recall(&scratch.layers.udp_at) as usize & 0x7f);
        if let (Some(seen), Some(port)) = (seen(), port) {
            seen.known = known::CLIENT;
            seen.port = u16::from_be_bytes(port).into();
        }
    }

    #[inline(always)]
    fn note_question(&self) {
        if let Some(seen) = seen() {
            seen.known = known::QUESTION;
        }
    }

    #[inline(always)]
    fn note_outcome(place: usize) {
        if let Some(seen) = seen() {
            seen.outcome = place as u32;
        }
    }
}

/// Forgets the packet before.
#[inline(always)]
fn begin() {
    if let Some(seen) = seen() {
        seen.known = known::NOTHING;
        seen.outcome = UNKNOWN;
    }
}

/// Writes the line of a packet that is chosen, and says what the kernel is to do with it.
#[inline(always)]
fn tell<H: Traceable>(context: &H) -> H::Verdict {
    let Some(seen) = seen() else { return context.verdict(Outcome::Miss) };
    if let (Some(filter), Some(scratch)) = (TRACE.get(0), store::scratch()) {
        // SAFETY: the helper only reads a clock.
        let now_ns = unsafe { bpf_ktime_get_boot_ns() };
        if filter.chooses(seen, recall(&scratch.layers.source), now_ns) {
            write(context, seen, scratch, now_ns);
        }
    }
    context.verdict(outcome_for(seen.fate))
}

/// The fields of a line, between spaces; `datapath/tracing.rs` reads them.
#[inline(always)]
fn write<H: Traceable>(context: &H, seen: &Seen, scratch: &Scratch, now_ns: u64) {
    let [high, low] = scratch.layers.source;
    let flags = scratch.query.edns & 1 | (scratch.query.dnssec_ok & 1) << 1;
    info!(
        context,
        target: "trace",
        "{} {} {} {} {} {} {:x} {:x} {} {} {} {:x}",
        now_ns,
        H::COUNTERS,
        context.interface(),
        seen.known,
        seen.outcome,
        seen.stage,
        high.swap_bytes(),
        low.swap_bytes(),
        seen.port,
        scratch.query.qtype,
        flags,
        &scratch.question[..NAME_LEN]
    );
}
