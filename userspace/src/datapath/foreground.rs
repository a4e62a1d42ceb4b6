//! XDP attached without a daemon: to see that an interface can run it.

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};

use super::attach::Attachment;
use super::interface::Interface;
use super::load::{LoadedPrograms, ProgramSet};
use super::loader::Loader;
use super::memory::Size;
use super::pins::Links;
use super::plane;
use crate::config::{TcxMode, XdpMode};
use crate::observe::KernelCounters;

/// Room for no zone.
const SIZE: Size = Size { slab: xdp_common::maps::CHUNK_LEN, buckets: 64 };

/// Attaches XDP (or TCX alone) to an interface until the process is told to end (SIGINT, SIGTERM), and gives the
/// counters. It answers nothing, since there are no zones, and passes every packet up. `attached` is
/// called once it stands.
///
/// To be called before threads are started: they must not take the signals.
pub fn attach(
    interface: &str,
    mode: XdpMode,
    attached: impl FnOnce(&Attachment),
) -> anyhow::Result<KernelCounters> {
    let interface = Interface::find(interface)?;
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block().context("waiting for signals")?;
    let mut loaded = LoadedPrograms::new(SIZE)?;
    let links = Links::of(&Loader::here(None), interface.index, false);
    let attachment = Attachment::new(&mut loaded, interface, mode, TcxMode::Auto, links)?;
    attached(&attachment);
    signals.wait().context("waiting for signals")?;
    let hook = loaded.tried_hook();
    drop(attachment);
    let counters = Some(plane::counters_of(&loaded.counters(hook.counters())?));
    Ok(match hook {
        ProgramSet::Xdp => KernelCounters { xdp: counters, tcx: None },
        ProgramSet::Tcx => KernelCounters { xdp: None, tcx: counters },
    })
}
