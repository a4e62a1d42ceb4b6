//! Programs for tests and measurements; never attached where sealdns serves.
#![no_std]
#![no_main]

use aya_ebpf::{
    EbpfContext,
    bindings::xdp_action,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    macros::{map, xdp},
    maps::ProgramArray,
    programs::XdpContext,
};

/// The program that [`strip`] goes on in.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Passes every packet up. A veth end delivers what its peer transmits by XDP_TX only if it has an
/// XDP program itself.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Transmits every packet as it is. With BPF_PROG_TEST_RUN's live frames this puts a frame on the
/// wire as a network driver receives it: on a page of its own, with room around it.
#[xdp]
pub fn transmit(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// Transmits every frame of UDP over IPv4 as it is and passes the rest up: a namespace's kernel sends
/// frames on its own account (IPv6's neighbour discovery and listener reports), never such ones.
#[xdp]
pub fn transmit_udp(context: XdpContext) -> u32 {
    let (start, end) = (context.data(), context.data_end());
    if start + PROTOCOL_AT + 1 > end {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: both octets lie in the packet, by the check above.
    let (ethertype, protocol) = unsafe {
        (((start + 12) as *const u16).read_unaligned(), ((start + PROTOCOL_AT) as *const u8).read())
    };
    if ethertype == 0x0800_u16.to_be() && protocol == 17 {
        return xdp_action::XDP_TX;
    }
    xdp_action::XDP_PASS
}

/// Takes as many octets off the front as the first two of them say, little-endian, and goes on in the
/// program in [`NEXT`]. What a test run is given starts at the front of a page: so a frame can be made to
/// end where the page does, with as little room behind it as is wanted.
#[xdp]
pub fn strip(context: XdpContext) -> u32 {
    if stripped(&context).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: the context is the one the kernel passed in.
    unsafe { NEXT.tail_call(&context, 0) };
    xdp_action::XDP_ABORTED
}

/// The same, and transmits what is left.
#[xdp]
pub fn strip_and_transmit(context: XdpContext) -> u32 {
    stripped(&context).map_or(xdp_action::XDP_ABORTED, |()| xdp_action::XDP_TX)
}

/// Makes a frame longer by as many octets as its first two say, and passes it up if there is room for them.
#[xdp]
pub fn lengthen(context: XdpContext) -> u32 {
    let Some(by) = number(&context) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the context is the one the kernel passed in.
    if unsafe { bpf_xdp_adjust_tail(context.as_ptr().cast(), by) } == 0 {
        xdp_action::XDP_PASS
    } else {
        xdp_action::XDP_ABORTED
    }
}

/// What the first two octets say, little-endian.
#[inline(always)]
fn number(context: &XdpContext) -> Option<i32> {
    let (start, end) = (context.data(), context.data_end());
    if start + 2 > end {
        return None;
    }
    // SAFETY: both octets lie in the packet, by the check above.
    let octets = unsafe { (start as *const [u8; 2]).read() };
    Some(i32::from(u16::from_le_bytes(octets)))
}

#[inline(always)]
fn stripped(context: &XdpContext) -> Option<()> {
    let by = number(context)?;
    // SAFETY: the context is the one the kernel passed in.
    (unsafe { bpf_xdp_adjust_head(context.as_ptr().cast(), by) } == 0).then_some(())
}

/// Where an IPv4 header behind an untagged Ethernet header names its protocol, in octets.
const PROTOCOL_AT: usize = 14 + 9;

/// The licence that the kernel asks for before it lends its helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A reachable panic would be an endless loop, which the verifier refuses: so there is none.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
