//! The XDP program.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::PerCpuArray,
    programs::XdpContext,
};

/// Packets seen, by outcome.
#[map]
static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(64, 0);

/// Counts the packet and passes it up.
#[xdp]
pub fn serve(_ctx: XdpContext) -> u32 {
    if let Some(counter) = STATS.get_ptr_mut(0) {
        // SAFETY: the map lives as long as the program, and its value belongs to this CPU, on which
        // nothing else runs between these two instructions.
        unsafe { *counter += 1 };
    }
    xdp_action::XDP_PASS
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
