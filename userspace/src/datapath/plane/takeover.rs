//! What one daemon leaves to the next: programs and maps that are pinned, and what they have counted.

use anyhow::Result;

use super::Plane;
use super::programs::HOOKS;
use crate::config::XdpMode;
use crate::datapath::attach::Attachment;
use crate::datapath::interface::Interface;
use crate::datapath::load::{self, Counters, Loaded, PinnedCounters};
use crate::datapath::loader::request::Kind;
use crate::datapath::pins::{Links, Pins};

/// What an earlier daemon pinned.
pub(super) struct Previous {
    /// The set that its programs are in; none if they are not among what is pinned.
    pub(super) set: Option<u32>,
    pub(super) counters: Option<PinnedCounters>,
}

impl Plane {
    pub(super) fn open_pins(&mut self) -> Result<()> {
        if let (Some(folder), None) = (&self.pin_folder, &self.pins) {
            self.pins = Some(Pins::open(folder, &self.loader)?);
        }
        Ok(())
    }

    /// How the links of an interface are made.
    pub(super) fn links_of(&self, index: u32) -> Links {
        Links::of(&self.loader, index, self.pins.is_some())
    }

    /// Pins what is loaded, or what is new of it; `is_new` if it is all new.
    pub(super) fn pin(&mut self, is_new: bool) -> Result<()> {
        if let (Some(pins), Some(loaded)) = (&mut self.pins, &self.loaded) {
            pins.pin(loaded, is_new)?;
        }
        Ok(())
    }

    /// Takes over what an earlier daemon pinned for this interface, if there is anything that fits.
    /// [`XdpMode::Auto`] takes XDP however it is attached, unless TCX is to answer alone: `mode` is the first that
    /// would be tried.
    pub(super) fn adopt(
        &mut self,
        interface: &Interface,
        mode: XdpMode,
    ) -> Result<Option<Attachment>> {
        let Some(pins) = &self.pins else { return Ok(None) };
        let links = self.links_of(interface.index);
        let mode = if mode == XdpMode::Tcx { mode } else { self.mode };
        let Some(adopted) = Attachment::adopt(interface, mode, links)? else {
            return Ok(None);
        };
        let set = adopted.adopted().and_then(|program| pins.set_of(program));
        // If a daemon was killed while it replaced programs there are two, and the later counts for both.
        if self.previous.as_ref().is_none_or(|previous| previous.set < set) {
            let counters = set.and_then(|set| pins.counters_of(set));
            self.previous = Some(Previous { set, counters });
        }
        Ok(Some(adopted))
    }

    /// Detaches what is pinned for interfaces that are not the configuration's any more.
    pub(super) fn unpin_others(&mut self) {
        let Some(pins) = &self.pins else { return };
        for index in pins.interfaces() {
            if self.attachments.iter().all(|one| one.interface().index != index) {
                tracing::warn!(
                    index,
                    "detached from an interface that the configuration does not name"
                );
                let links = self.links_of(index);
                for kind in [Kind::Xdp, Kind::Tcx] {
                    if let Ok(Some((link, _))) = links.open(kind)
                        && let Err(error) = link.detach()
                    {
                        tracing::debug!(index, "detaching: {error}");
                    }
                    links.unpin(kind);
                }
            }
        }
        self.keep_pins();
    }

    /// Removes the pins of maps and programs that nothing runs.
    pub(super) fn keep_pins(&self) {
        if let Some(pins) = &self.pins {
            let runs: Vec<u32> = self.previous.iter().filter_map(|one| one.set).collect();
            pins.keep(&runs);
        }
    }

    /// Tells a next daemon what was counted before, now that `old` programs are replaced too.
    pub(super) fn carry(&mut self, old: Option<&Loaded>) {
        let sums = HOOKS.map(|(hook, _)| {
            let mut sums = self.carried[hook as usize];
            load::add(&mut sums, &self.counted_before(hook));
            if let Some(Ok(counters)) = old.map(|old| old.counters(hook)) {
                load::add(&mut sums, &counters);
            }
            sums
        });
        if let Some(Err(error)) = self.loaded.as_mut().map(|loaded| loaded.carry(&sums)) {
            tracing::warn!("a next daemon will not know what was counted: {error}");
        }
    }

    /// What the programs of an earlier daemon have counted, while they run.
    pub(super) fn counted_before(&self, hook: u32) -> Counters {
        let previous = self.previous.as_ref().and_then(|previous| previous.counters.as_ref());
        match previous.map(|previous| previous.counters(hook)) {
            Some(Ok(counters)) => counters,
            Some(Err(error)) => {
                tracing::warn!("the counters of what is pinned cannot be read: {error}");
                [0; _]
            }
            None => [0; _],
        }
    }

    /// From here on what the earlier daemon's programs have counted is ours, and they are gone.
    pub(super) fn inherit(&mut self) {
        for (hook, _) in HOOKS {
            let counted = self.counted_before(hook);
            load::add(&mut self.carried[hook as usize], &counted);
        }
        self.previous = None;
        self.carry(None);
        self.keep_pins();
    }
}

/// A daemon that fails before it serves leaves what is pinned as it was.
impl Drop for Plane {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let is_ours = |one: &mut Attachment| one.adopted().is_none();
        self.attachments.extract_if(.., is_ours).for_each(Attachment::detach);
        match self.pins.take() {
            Some(pins) if self.attachments.is_empty() => pins.remove(),
            Some(mut pins) => {
                let runs: Vec<u32> = self.previous.iter().filter_map(|one| one.set).collect();
                pins.drop_set(&runs);
            }
            None => {}
        }
    }
}
