//! What is pinned, so that it outlives the daemon, and what an earlier daemon left there.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::Config;
use crate::datapath::attach::Attachment;
use crate::datapath::load::{LoadedPrograms, PinnedCounters};
use crate::datapath::loader::Loader;
use crate::datapath::loader::request::Kind;
use crate::datapath::pins::{Links, Pins};

/// Where programs, maps and links are pinned, and what does that.
pub(super) struct Pinning {
    /// What is pinned; `None` if nothing is yet, or is to be.
    pins: Option<Pins>,
    folder: Option<PathBuf>,
    /// Does what takes privileges.
    loader: Loader,
}

impl Pinning {
    /// As a configuration says; nothing is pinned yet.
    pub(super) fn new(config: &Config) -> Pinning {
        let folder = config.xdp.pin.path().map(Path::to_owned);
        Pinning { pins: None, loader: Loader::here(folder.clone()), folder }
    }

    /// What takes privileges is done by it.
    pub(super) fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Whether there is a folder of pins, an earlier daemon's perhaps.
    pub(super) fn has_folder(&self) -> bool {
        self.folder.as_deref().is_some_and(Path::exists)
    }

    /// The folder, if anything may be pinned there now.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.pins.as_ref().map(Pins::folder)
    }

    /// Makes the folder, if there is to be one, or takes the one that is there.
    pub(super) fn open(&mut self) -> Result<()> {
        if let (Some(folder), None) = (&self.folder, &self.pins) {
            self.pins = Some(Pins::open(folder, &self.loader)?);
        }
        Ok(())
    }

    /// How the links of an interface are made.
    pub(super) fn links_of(&self, index: u32) -> Links {
        Links::of(&self.loader, index, self.pins.is_some())
    }

    /// Pins what is loaded, or what is new of it; `is_new` if it is all new.
    pub(super) fn pin(&mut self, loaded: Option<&LoadedPrograms>, is_new: bool) -> Result<()> {
        if let (Some(pins), Some(loaded)) = (&mut self.pins, loaded) {
            pins.pin(loaded, is_new)?;
        }
        Ok(())
    }

    /// The set that the programs of what was taken over are in, if they are in one.
    pub(super) fn set_of(&self, adopted: &Attachment) -> Option<u32> {
        self.pins.as_ref()?.set_of(adopted.adopted()?)
    }

    /// The counters of a set.
    pub(super) fn counters_of(&self, set: u32) -> Option<PinnedCounters> {
        self.pins.as_ref()?.counters_of(set)
    }

    /// Detaches what is pinned for interfaces that are not among these.
    pub(super) fn unpin_others(&self, attached: &[u32]) {
        let interfaces = self.pins.iter().flat_map(Pins::interfaces);
        for index in interfaces.filter(|index| !attached.contains(index)) {
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

    /// Removes the pins of maps and programs that neither this daemon runs nor, from the set `previous`, an
    /// earlier one.
    pub(super) fn keep(&self, previous: Option<u32>) {
        if let Some(pins) = &self.pins {
            pins.keep(previous.as_slice());
        }
    }

    /// Removes this daemon's maps and programs, and leaves those of an earlier one.
    pub(super) fn leave(&mut self, previous: Option<u32>) {
        if let Some(pins) = &mut self.pins {
            pins.drop_set(previous.as_slice());
        }
    }

    /// Removes all that is pinned, and the folder.
    pub(super) fn remove(&mut self) {
        if let Some(pins) = self.pins.take() {
            pins.remove();
        }
    }
}
