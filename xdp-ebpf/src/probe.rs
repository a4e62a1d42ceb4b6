//! Programs that find out what room a device's packets have, and change nothing: for `sealdns xdp probe`.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::{TcContext, XdpContext};
use xdp_common::frame::Frame;
use xdp_common::maps::{PROBE_ETHERTYPE, PROBE_GROWTH};

use crate::count;
use crate::frame::{HEAD_ROOM, Packet};
use crate::hook::Hook;

/// Where the ethertype of a frame without tags is.
const ETHERTYPE_AT: usize = 12;

/// Tries to make each packet longer, at its tail or else in its head room, undoes that, and lets it pass.
#[inline(always)]
pub fn xdp(context: &XdpContext) -> u32 {
    let len = context.data_end() - context.data();
    let (mut at_tail, mut at_head) = (0, 0);
    if context.resize(len, PROBE_GROWTH).is_some() {
        at_tail = 1;
        // What was made longer can be made shorter.
        let _ = context.resize(len, -PROBE_GROWTH);
    } else if context.adjust_head(-(HEAD_ROOM as i32)).is_some() {
        at_head = 1;
        let _ = context.adjust_head(HEAD_ROOM as i32);
    }
    count::probed::<XdpContext>(at_tail, at_head);
    XDP_PASS
}

/// Makes a frame of the probe's own longer and drops it; all others pass.
#[inline(always)]
pub fn tcx(context: &TcContext) -> i32 {
    let Some(packet) = Packet::new(context) else { return TC_ACT_UNSPEC };
    if packet.get(ETHERTYPE_AT) != Some(PROBE_ETHERTYPE.to_be_bytes()) {
        return TC_ACT_UNSPEC;
    }
    let len = context.len() as usize + PROBE_GROWTH as usize;
    let grown = context.resize(len, PROBE_GROWTH);
    count::probed::<TcContext>(grown.is_some() as u64, 0);
    TC_ACT_SHOT
}
