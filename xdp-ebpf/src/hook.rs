//! The hooks that packets come from: XDP in the driver, and TCX on the socket buffer behind it. Here is
//! all that they differ in.

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::{
    bpf_redirect, bpf_skb_change_tail, bpf_skb_pull_data, bpf_xdp_adjust_head, bpf_xdp_adjust_tail,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::{TcContext, XdpContext};
use xdp_common::frame::Frame;
use xdp_common::{Outcome, Scratch, maps};

/// The programs that others call at their end, by place. A call costs a nanosecond, and each program
/// has the verifier's whole budget to itself.
#[map]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(maps::PROGRAM_COUNT, 0);
/// The same for TCX: the kernel wants programs of one kind in an array.
#[map]
static TCX_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(maps::PROGRAM_COUNT, 0);

/// Where a packet comes from.
pub trait Hook {
    /// The place of its counters in the map of counters.
    const COUNTERS: u32;
    /// Whether a checksum that is only the sum of the pseudo-header is completed on the way out, as the
    /// query's would have been.
    const COMPLETES_CHECKSUMS: bool;
    /// Whether the packet's start can be moved to make room.
    const HAS_HEAD_ROOM: bool;
    /// What the kernel takes for a verdict.
    type Verdict;

    /// Where the packet starts.
    fn data(&self) -> usize;

    /// Where what can be read of it ends.
    fn data_end(&self) -> usize;

    /// Makes the packet `len` octets long, which is `by` more than it has. `None`, and nothing changed, if
    /// there is no room.
    fn resize(&self, len: usize, by: i32) -> Option<()>;

    /// Moves the packet's start by `by` octets, to the front if that is negative.
    fn adjust_head(&self, by: i32) -> Option<()>;

    /// Goes on in another program; returns only if the daemon has not filled its place.
    fn tail_call<const PLACE: u32>(&self);

    /// What the kernel is to do with the packet. An answer leaves through the device it came from.
    fn verdict(&self, outcome: Outcome) -> Self::Verdict;

    //--- What a trace is shown

    /// Whether there is a trace that looks. Where there is none what follows is not compiled, and the instructions are as
    /// they would be without.
    const IS_TRACED: bool = false;

    /// The headers were read.
    #[inline(always)]
    fn note_headers<F: Frame>(&self, _frame: &F, _scratch: &Scratch) {}

    /// The question was read.
    #[inline(always)]
    fn note_question(&self) {}

    /// The packet's outcome is the one of this place, and not the one that its [verdict](Hook::verdict) is made of.
    #[inline(always)]
    fn note_outcome(_place: usize) {}
}

impl Hook for XdpContext {
    const COUNTERS: u32 = maps::XDP_COUNTERS;
    const COMPLETES_CHECKSUMS: bool = false;
    const HAS_HEAD_ROOM: bool = true;
    type Verdict = u32;

    #[inline(always)]
    fn data(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn resize(&self, _len: usize, by: i32) -> Option<()> {
        // SAFETY: the context is the one the kernel passed in.
        let error = unsafe { bpf_xdp_adjust_tail(self.as_ptr().cast(), by) };
        (error == 0).then_some(())
    }

    #[inline(always)]
    fn adjust_head(&self, by: i32) -> Option<()> {
        // SAFETY: the context is the one the kernel passed in.
        let error = unsafe { bpf_xdp_adjust_head(self.as_ptr().cast(), by) };
        (error == 0).then_some(())
    }

    #[inline(always)]
    fn tail_call<const PLACE: u32>(&self) {
        // SAFETY: the context is the one the kernel passed in, and the map an array of programs.
        unsafe { jump::<PLACE>(self.as_ptr(), &raw const PROGRAMS) };
    }

    #[inline(always)]
    fn verdict(&self, outcome: Outcome) -> u32 {
        outcome.action()
    }
}

impl Hook for TcContext {
    const COUNTERS: u32 = maps::TCX_COUNTERS;
    const COMPLETES_CHECKSUMS: bool = true;
    const HAS_HEAD_ROOM: bool = false;
    type Verdict = i32;

    #[inline(always)]
    fn data(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn resize(&self, len: usize, _by: i32) -> Option<()> {
        // SAFETY: the context is the one the kernel passed in.
        let error = unsafe { bpf_skb_change_tail(self.as_ptr().cast(), len as u32, 0) };
        (error == 0).then_some(())
    }

    #[inline(always)]
    fn adjust_head(&self, _by: i32) -> Option<()> {
        None
    }

    #[inline(always)]
    fn tail_call<const PLACE: u32>(&self) {
        // SAFETY: the context is the one the kernel passed in, and the map an array of programs.
        unsafe { jump::<PLACE>(self.as_ptr(), &raw const TCX_PROGRAMS) };
    }

    #[inline(always)]
    fn verdict(&self, outcome: Outcome) -> i32 {
        if outcome.is_answered() {
            // SAFETY: the context is the one the kernel passed in; the helper takes numbers only.
            unsafe { bpf_redirect((*self.skb.skb).ifindex, 0) as i32 }
        } else if outcome.is_dropped() {
            TC_ACT_SHOT
        } else {
            // The next program's, and at last the stack's.
            TC_ACT_UNSPEC
        }
    }
}

/// Calls a program; comes back only if there is none. The place is part of the instructions, so that calls
/// of different programs are not merged into one with a computed place: only those with a constant one
/// become plain jumps.
///
/// # Safety
/// The context must be the one the kernel passed in.
#[inline(always)]
pub unsafe fn jump<const PLACE: u32>(context: *mut c_void, programs: *const ProgramArray) {
    // SAFETY: registers are used as linux/bpf.h says of bpf_tail_call, which is number 12.
    unsafe {
        asm!(
            "r3 = {place}",
            "call 12",
            place = const PLACE,
            inlateout("r1") context => _,
            inlateout("r2") programs => _,
            lateout("r0") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
}

/// Makes the whole of a short packet readable: drivers may have left its end in fragments.
#[inline(always)]
pub fn gather(context: &TcContext) {
    let len = context.len();
    if context.data() + (len as usize & 0x7ff) > context.data_end() {
        // SAFETY: the context is the one the kernel passed in. If it fails, reads past the end do.
        unsafe { bpf_skb_pull_data(context.as_ptr().cast(), len) };
    }
}
