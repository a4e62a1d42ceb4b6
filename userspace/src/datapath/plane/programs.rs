//! The programs: loaded over maps, attached, and what those that were replaced have counted.

use std::collections::BTreeMap;
use std::mem::offset_of;

use anyhow::{Context, bail};
use xdp_common::Outcome;
use xdp_common::maps::{self, Stats};

use super::Plane;
use super::size::{fitting, too_large};
use crate::compile::PublishError;
use crate::config::TcxMode;
use crate::datapath::attach::Attachment;
use crate::datapath::clock;
use crate::datapath::device::Device;
use crate::datapath::interface::Interface;
use crate::datapath::limiting::Written;
use crate::datapath::load::{self, Counters, Loaded, Programs};
use crate::datapath::memory::Size;
use crate::datapath::path::has_tcx;
use crate::datapath::probe::findings::{self, Severity};
use crate::datapath::seam::Tried;

impl Plane {
    pub(super) fn move_to_maps(&mut self, mut want: Size, mut least: Size) -> anyhow::Result<()> {
        let before = self.loaded.is_some().then_some(self.size);
        let (size, mut loaded) = loop {
            // Larger than before, or all that follows would be for nothing.
            let size = fitting(want, least, self.limit).filter(|size| Some(*size) != before);
            let size = size.ok_or_else(|| too_large(least, self.limit))?;
            let mut loaded = Loaded::new(size)?;
            // What is attached is to go on, or all that follows would be for nothing.
            for hook in [Programs::Xdp, Programs::Tcx] {
                if self.loaded.as_ref().is_some_and(|old| old.has(hook)) {
                    loaded.verify(hook)?;
                }
            }
            match self.image.move_to(loaded.memory()) {
                Ok(()) => break (size, loaded),
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed }.rounded();
                    let more = Size {
                        slab: least.slab.max(needed.slab),
                        buckets: least.buckets.max(needed.buckets),
                    };
                    if more == least && want == least {
                        bail!(too_large(least, self.limit));
                    }
                    least = more;
                    want = Size {
                        slab: want.slab.max(more.slab),
                        buckets: want.buckets.max(more.buckets),
                    };
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.size = size;
        self.config.bucket_mask = (size.buckets - 1) as u32;
        self.config.booted_at_s = clock::booted_at_s(clock::now_s());
        let mut written = Written::default();
        let circumstances = self.circumstances();
        written.write(&mut loaded, &self.limits, circumstances, &mut self.config)?;
        self.written = written;
        loaded.config.write(&self.config);
        loaded.manners.write(&self.manners_told());
        let old = self.loaded.replace(loaded);
        self.carry(old.as_ref());
        if let Err(error) = self.pin(true) {
            tracing::error!("what is pinned ends with the daemon: {error}");
        }
        // What was taken over goes on until zones are loaded.
        self.replace_programs(|attachment| attachment.adopted().is_none())?;
        if let Some(old) = &old {
            // The last packets are still on their way through the old programs.
            self.wait_for_readers();
            for ((hook, _), carried) in HOOKS.into_iter().zip(&mut self.carried) {
                match old.counters(hook) {
                    Ok(counters) => load::add(carried, &counters),
                    Err(error) => {
                        tracing::warn!("the counters before the change are lost: {error}")
                    }
                }
                if let Ok(verdicts) = old.verdicts(hook) {
                    self.carried_verdicts.add(&verdicts);
                }
            }
            self.carry(None);
        }
        self.keep_pins();
        let (slab, buckets) = (size.slab >> 20, size.buckets);
        tracing::info!("the maps have room for {slab} MiB of records and {buckets} buckets");
        Ok(())
    }

    /// Puts the loaded programs in the place of those that run where `is_meant` says.
    pub(super) fn replace_programs(
        &mut self,
        is_meant: impl Fn(&Attachment) -> bool,
    ) -> anyhow::Result<()> {
        let loaded = self.loaded.as_mut().context(NOT_LOADED)?;
        for attachment in self.attachments.iter_mut().filter(|one| is_meant(one)) {
            if let Err(error) = attachment.replace(loaded) {
                let name = &attachment.interface().name;
                tracing::error!(interface = name, "XDP is detached: {error}");
            }
            if attachment.has_tcx_behind() && attachment.wants_tcx(self.tcx) {
                add_tcx(attachment, loaded, self.tcx);
            } else if attachment.has_tcx_behind() {
                attachment.remove_tcx();
            }
        }
        self.attachments.retain(Attachment::is_there);
        Ok(())
    }
}

pub(super) const NOT_LOADED: &str = "the programs are not loaded";

/// Says what is known to stand in the way of answers on a device.
pub(super) fn warn_of(interface: &Interface) {
    // A device that cannot be asked has been attached to all the same.
    let Ok(device) = Device::at(interface.index) else { return };
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let found = findings::of(&interface.name, &device, cpus).into_iter();
    for problem in found.filter(|finding| finding.severity == Severity::Problem) {
        let (interface, fix) = (&interface.name, problem.fix.unwrap_or_default());
        tracing::warn!(interface, fix, "{}", problem.what);
    }
}

pub(super) fn try_frame(loaded: &mut Loaded, frame: &[u8]) -> anyhow::Result<Tried> {
    let hook = loaded.tried_hook().counters();
    let before = loaded.counters(hook)?;
    let (action, frame) = loaded.test_run(frame).context("BPF_PROG_TEST_RUN")?;
    let after = loaded.counters(hook)?;
    let moved = |outcome: &Outcome| before[outcome.index()] != after[outcome.index()];
    Ok(Tried { action, frame, counted: Outcome::ALL.into_iter().filter(moved).collect() })
}

/// Attaches to TCX too. Without it the sockets answer what XDP has no room for.
pub(super) fn add_tcx(attachment: &mut Attachment, loaded: &mut Loaded, mode: TcxMode) {
    let name = &attachment.interface().name;
    if mode == TcxMode::Auto && !has_tcx(name) {
        tracing::info!(
            interface = name,
            "this kernel has no TCX (Linux 6.6): the sockets answer what XDP has no room for"
        );
        return;
    }
    let added = match loaded.tcx_entry() {
        Ok(program) => attachment.add_tcx(program).map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    let interface = &attachment.interface().name;
    match added {
        Ok(()) => tracing::info!(interface, "TCX answers what XDP has no room for"),
        Err(error) => tracing::warn!(
            interface,
            "no program on TCX, and answers that XDP has no room for are the sockets': {error:#}"
        ),
    }
}

/// The hooks by the place of their counters, and what the names of their counters begin with.
pub(super) const HOOKS: [(u32, &str); maps::COUNTERS_COUNT as usize] =
    [(maps::XDP_COUNTERS, ""), (maps::TCX_COUNTERS, maps::TCX_PREFIX)];

/// Counters by the words of their outcomes, and the sums beside them.
pub(in crate::datapath) fn named(counters: &Counters, prefix: &str) -> BTreeMap<String, u64> {
    let outcomes = Outcome::ALL.iter().map(|one| (one.word(), counters[one.index()]));
    let sums = [
        ("octets_in", counters[offset_of!(Stats, octets_in) / size_of::<u64>()]),
        ("octets_out", counters[offset_of!(Stats, octets_out) / size_of::<u64>()]),
        ("grown_at_head", counters[offset_of!(Stats, grown_at_head) / size_of::<u64>()]),
    ];
    outcomes.chain(sums).map(|(name, count)| (format!("{prefix}{name}"), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_name() {
        let mut counters: Counters = std::array::from_fn(|index| index as u64);
        counters[Outcome::Miss.index()] = 1000;
        let named = named(&counters, "");
        assert_eq!(named["miss"], 1000);
        assert_eq!((named["octets_in"], named["octets_out"], named["grown_at_head"]), (64, 65, 66));
        assert_eq!(named.len(), Outcome::ALL.len() + 3);
    }
}
