//! The programs that trace: those that answer, compiled once more on a hook that notes what becomes of a packet, and the
//! ones that they end in, which write the line.

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use xdp_common::engine::sequence::Stage;
use xdp_common::maps::ENTRY_STAGE;

use super::{Traced, begin, tell};
use crate::{hook, stages};

/// [`stages::serve`], traced.
#[xdp]
pub fn traced_serve(context: XdpContext) -> u32 {
    begin();
    stages::serve(&Traced::<_, ENTRY_STAGE>(context))
}

/// [`stages::serve`] on TCX, traced.
#[classifier]
pub fn tcx_traced_serve(context: TcContext) -> i32 {
    begin();
    hook::gather(&context);
    stages::serve(&Traced::<_, ENTRY_STAGE>(context))
}

/// [`tell()`] on XDP.
#[xdp]
pub fn traced_tell(context: XdpContext) -> u32 {
    tell(&context)
}

/// [`tell()`] on TCX.
#[classifier]
pub fn tcx_traced_tell(context: TcContext) -> i32 {
    tell(&context)
}

/// [`stages::deny`], traced.
#[xdp]
pub fn traced_deny(context: XdpContext) -> u32 {
    stages::deny(&Traced::<_, { Stage::Deny as u32 }>(context))
}

/// [`stages::deny`] on TCX, traced.
#[classifier]
pub fn tcx_traced_deny(context: TcContext) -> i32 {
    stages::deny(&Traced::<_, { Stage::Deny as u32 }>(context))
}

/// [`stages::hash`], traced.
#[xdp]
pub fn traced_hash(context: XdpContext) -> u32 {
    stages::hash(&Traced::<_, { Stage::Hash as u32 }>(context))
}

/// [`stages::hash`] on TCX, traced.
#[classifier]
pub fn tcx_traced_hash(context: TcContext) -> i32 {
    stages::hash(&Traced::<_, { Stage::Hash as u32 }>(context))
}

/// [`stages::conclude`], traced.
#[xdp]
pub fn traced_conclude(context: XdpContext) -> u32 {
    stages::conclude(&Traced::<_, { Stage::Conclude as u32 }>(context))
}

/// [`stages::conclude`] on TCX, traced.
#[classifier]
pub fn tcx_traced_conclude(context: TcContext) -> i32 {
    stages::conclude(&Traced::<_, { Stage::Conclude as u32 }>(context))
}

/// [`stages::follow`], traced.
#[xdp]
pub fn traced_follow(context: XdpContext) -> u32 {
    stages::follow(&Traced::<_, { Stage::Follow as u32 }>(context))
}

/// [`stages::follow`] on TCX, traced.
#[classifier]
pub fn tcx_traced_follow(context: TcContext) -> i32 {
    stages::follow(&Traced::<_, { Stage::Follow as u32 }>(context))
}

/// [`stages::redirect`], traced.
#[xdp]
pub fn traced_redirect(context: XdpContext) -> u32 {
    stages::redirect(&Traced::<_, { Stage::Redirect as u32 }>(context))
}

/// [`stages::redirect`] on TCX, traced.
#[classifier]
pub fn tcx_traced_redirect(context: TcContext) -> i32 {
    stages::redirect(&Traced::<_, { Stage::Redirect as u32 }>(context))
}

/// [`stages::options`], traced.
#[xdp]
pub fn traced_options(context: XdpContext) -> u32 {
    stages::options(&Traced::<_, { Stage::Options as u32 }>(context))
}

/// [`stages::options`] on TCX, traced.
#[classifier]
pub fn tcx_traced_options(context: TcContext) -> i32 {
    stages::options(&Traced::<_, { Stage::Options as u32 }>(context))
}

/// [`stages::send`], traced.
#[xdp]
pub fn traced_send(context: XdpContext) -> u32 {
    stages::send(&Traced::<_, { Stage::Send as u32 }>(context))
}

/// [`stages::send`] on TCX, traced.
#[classifier]
pub fn tcx_traced_send(context: TcContext) -> i32 {
    stages::send(&Traced::<_, { Stage::Send as u32 }>(context))
}

/// [`stages::send_made`], traced.
#[xdp]
pub fn traced_send_made(context: XdpContext) -> u32 {
    stages::send_made(&Traced::<_, { Stage::SendMade as u32 }>(context))
}

/// [`stages::send_made`] on TCX, traced.
#[classifier]
pub fn tcx_traced_send_made(context: TcContext) -> i32 {
    stages::send_made(&Traced::<_, { Stage::SendMade as u32 }>(context))
}

/// [`stages::limit`], traced.
#[xdp]
pub fn traced_limit(context: XdpContext) -> u32 {
    stages::limit(&Traced::<_, { Stage::Limit as u32 }>(context))
}

/// [`stages::limit`] on TCX, traced.
#[classifier]
pub fn tcx_traced_limit(context: TcContext) -> i32 {
    stages::limit(&Traced::<_, { Stage::Limit as u32 }>(context))
}
