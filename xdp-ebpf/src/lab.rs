//! Programs for tests and measurements; never attached where sealdns serves.
#![no_std]
#![no_main]

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

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
