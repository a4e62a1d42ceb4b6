//! The programs: they read a query off the wire and send the answer back.
//!
//! All decisions are `xdp-common`'s; here are the maps, the packet and the order of the steps. Each
//! stage is there twice, for XDP and for TCX: devices whose packets have no room for an answer in the
//! driver have it in the socket buffer.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![feature(core_intrinsics)]
#![allow(internal_features, reason = "the target has no atomic types, but the instructions")]

mod count;
mod frame;
mod hook;
mod limiter;
mod probe;
mod stages;
mod store;
#[cfg(feature = "trace")]
mod trace;

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// Packets come here first: see [`stages::serve`].
#[xdp]
pub fn serve(context: XdpContext) -> u32 {
    stages::serve(&context)
}

/// [`stages::deny`].
#[xdp]
pub fn deny(context: XdpContext) -> u32 {
    stages::deny(&context)
}

/// [`stages::hash`].
#[xdp]
pub fn hash(context: XdpContext) -> u32 {
    stages::hash(&context)
}

/// [`stages::conclude`].
#[xdp]
pub fn conclude(context: XdpContext) -> u32 {
    stages::conclude(&context)
}

/// [`stages::follow`].
#[xdp]
pub fn follow(context: XdpContext) -> u32 {
    stages::follow(&context)
}

/// [`stages::redirect`].
#[xdp]
pub fn redirect(context: XdpContext) -> u32 {
    stages::redirect(&context)
}

/// [`stages::options`].
#[xdp]
pub fn options(context: XdpContext) -> u32 {
    stages::options(&context)
}

/// [`stages::send`].
#[xdp]
pub fn send(context: XdpContext) -> u32 {
    stages::send(&context)
}

/// [`stages::send_made`].
#[xdp]
pub fn send_made(context: XdpContext) -> u32 {
    stages::send_made(&context)
}

/// [`stages::limit`].
#[xdp]
pub fn limit(context: XdpContext) -> u32 {
    stages::limit(&context)
}

/// [`stages::serve`] on TCX.
#[classifier]
pub fn tcx_serve(context: TcContext) -> i32 {
    hook::gather(&context);
    stages::serve(&context)
}

/// [`stages::deny`] on TCX.
#[classifier]
pub fn tcx_deny(context: TcContext) -> i32 {
    stages::deny(&context)
}

/// [`stages::hash`] on TCX.
#[classifier]
pub fn tcx_hash(context: TcContext) -> i32 {
    stages::hash(&context)
}

/// [`stages::conclude`] on TCX.
#[classifier]
pub fn tcx_conclude(context: TcContext) -> i32 {
    stages::conclude(&context)
}

/// [`stages::follow`] on TCX.
#[classifier]
pub fn tcx_follow(context: TcContext) -> i32 {
    stages::follow(&context)
}

/// [`stages::redirect`] on TCX.
#[classifier]
pub fn tcx_redirect(context: TcContext) -> i32 {
    stages::redirect(&context)
}

/// [`stages::options`] on TCX.
#[classifier]
pub fn tcx_options(context: TcContext) -> i32 {
    stages::options(&context)
}

/// [`stages::send`] on TCX.
#[classifier]
pub fn tcx_send(context: TcContext) -> i32 {
    stages::send(&context)
}

/// [`stages::send_made`] on TCX.
#[classifier]
pub fn tcx_send_made(context: TcContext) -> i32 {
    stages::send_made(&context)
}

/// [`stages::limit`] on TCX.
#[classifier]
pub fn tcx_limit(context: TcContext) -> i32 {
    stages::limit(&context)
}

/// [`probe::xdp`]; not of the chain above.
#[xdp]
pub fn probe(context: XdpContext) -> u32 {
    probe::xdp(&context)
}

/// [`probe::tcx`].
#[classifier]
pub fn tcx_probe(context: TcContext) -> i32 {
    probe::tcx(&context)
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
