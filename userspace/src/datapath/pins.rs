//! Pins: what stays of XDP when the daemon is gone, in a folder of a BPF file system.
//!
//! ```text
//! links/xdp-3, links/tcx-3    where programs are attached, by the number of the interface
//! set-7/                      the maps and programs of a daemon, a set for each size of the maps
//! ```
//!
//! The next daemon takes over the links, never the content of maps: it loads its own set, fills it, and
//! puts its programs into the links; until then the programs that are there answer from the maps that are
//! there. So nothing depends on how another version lays out its maps, but for the counters.
//!
//! All of it stays root's. The folder is reached by the [loader](super::loader) alone, which pins and removes
//! pins where the daemon may not. Without a loader links are detached all the same, and the next start
//! removes what is left.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use xdp_common::maps;

use super::link::{Hook, Link};
use super::load::{LoadedPrograms, PinnedCounters, ProgramSet, traced_entry};
use super::loader::Loader;
use super::loader::folder::{Folder, PinsError};
use super::loader::request::{Entry, Kind, Refusal};
use super::memory::bpf;

/// A folder of pins, held by this daemon alone.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    loader: Loader,
    /// The number of this daemon's set.
    set: Option<u32>,
}

impl Pins {
    /// Makes the folder that the loader pins to, or takes the one that is there, and locks it.
    pub fn open(folder: &Path, loader: &Loader) -> Result<Pins, Refusal> {
        loader.open_pins()?;
        Ok(Pins { folder: folder.to_owned(), loader: loader.clone(), set: None })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The numbers of the interfaces that have links.
    pub fn interfaces(&self) -> Vec<u32> {
        let links = self.loader.links().unwrap_or_else(|refused| {
            tracing::warn!("listing {}: {refused}", self.folder.display());
            Vec::new()
        });
        let mut indexes: Vec<u32> = links.into_iter().map(|(index, _)| index).collect();
        indexes.dedup();
        indexes
    }

    /// The numbers of the sets, in order.
    fn sets(&self) -> Vec<u32> {
        self.loader.sets().unwrap_or_else(|refused| {
            tracing::warn!("listing {}: {refused}", self.folder.display());
            Vec::new()
        })
    }

    fn open_pin(&self, set: u32, name: &str) -> Option<std::os::fd::OwnedFd> {
        let entry = Entry::Object { set, name: name.into() };
        self.loader.open_pin(entry).ok().flatten()
    }

    /// The set that holds the first program of XDP or TCX with this id. It may be one that traces, if the daemon was
    /// killed meanwhile.
    pub fn set_of(&self, program: u32) -> Option<u32> {
        let traced = [ProgramSet::Xdp, ProgramSet::Tcx].map(traced_entry);
        let entries = [maps::ENTRY_PROGRAM, maps::TCX_ENTRY_PROGRAM, &traced[0], &traced[1]];
        self.sets().into_iter().find(|set| {
            let found = entries.iter().filter_map(|name| self.open_pin(*set, name));
            found.filter_map(|pin| bpf::object_id(pin.as_fd()).ok()).any(|id| id == program)
        })
    }

    /// The counters of a set; `None`, and a word in the log, if they cannot be added to ours.
    pub fn counters_of(&self, set: u32) -> Option<PinnedCounters> {
        let counters = [maps::META, maps::STATS].map(|name| self.open_pin(set, name));
        let [Some(meta), Some(stats)] = counters else {
            tracing::warn!("the counters of what is pinned cannot be opened");
            return None;
        };
        match PinnedCounters::open(meta, stats) {
            Ok(Some(counters)) => Some(counters),
            Ok(None) => {
                tracing::warn!(
                    "what is pinned is of another version of sealdns: its programs are replaced, and its \
                     counters are lost"
                );
                None
            }
            Err(error) => {
                tracing::warn!("the counters of what is pinned cannot be read: {error}");
                None
            }
        }
    }

    /// Pins what is loaded: in a new set, or what is new of it in the set it is in.
    pub fn pin(&mut self, loaded: &LoadedPrograms, is_new: bool) -> Result<(), Refusal> {
        let set = match self.set {
            Some(set) if !is_new => set,
            _ => self.sets().last().map_or(1, |last| last + 1),
        };
        self.set = Some(set);
        for (name, object) in loaded.objects() {
            self.loader.pin(Entry::Object { set, name }, object)?;
        }
        Ok(())
    }

    /// Removes all sets but this daemon's and `others`.
    pub fn keep(&self, others: &[u32]) {
        for set in self.sets() {
            if self.set != Some(set) && !others.contains(&set) {
                log_failure(self.loader.remove_set(set));
            }
        }
    }

    /// Forgets this daemon's set: nothing is attached that needs it.
    pub fn drop_set(&mut self, others: &[u32]) {
        self.set = None;
        self.keep(others);
    }

    /// Removes everything, and the folder.
    pub fn remove(self) {
        log_failure(self.loader.remove_pins());
    }
}

/// How an interface's links are made, and where they are pinned.
#[derive(Debug, Clone)]
pub struct Links {
    loader: Loader,
    index: u32,
    is_pinned: bool,
}

impl Links {
    /// Those of the interface with this number.
    pub fn of(loader: &Loader, index: u32, is_pinned: bool) -> Links {
        Links { loader: loader.clone(), index, is_pinned }
    }

    /// Whether they outlive the daemon.
    pub fn are_pinned(&self) -> bool {
        self.is_pinned
    }

    /// Attaches a program, and pins its link if links are pinned.
    pub fn attach(&self, program: BorrowedFd<'_>, hook: Hook) -> Result<Link, Refusal> {
        let link = self.loader.attach(program, self.index, hook)?;
        if self.is_pinned {
            let kind = match hook {
                Hook::Native | Hook::Generic => Kind::Xdp,
                Hook::Tcx => Kind::Tcx,
            };
            // One that is there belongs to what was here before.
            self.unpin(kind);
            self.loader.pin(self.entry(kind), &link)?;
        }
        Ok(link)
    }

    /// Opens a link that an earlier daemon pinned, and says which program it runs.
    pub fn open(&self, kind: Kind) -> Result<Option<(Link, u32)>, Refusal> {
        if !self.is_pinned {
            return Ok(None);
        }
        let Some(link) = self.loader.open_pin(self.entry(kind))?.map(Link::from) else {
            return Ok(None);
        };
        let program = link.program()?;
        Ok(Some((link, program)))
    }

    /// Removes the pin of a link.
    pub fn unpin(&self, kind: Kind) {
        if self.is_pinned {
            log_failure(self.loader.unpin(self.entry(kind)));
        }
    }

    fn entry(&self, kind: Kind) -> Entry {
        Entry::Link { kind, index: self.index }
    }
}

/// A link that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedLink {
    /// The interface's number.
    pub index: u32,
    /// "xdp" or "tcx".
    pub hook: &'static str,
    /// The id of the program that it runs; `None` if it cannot be asked.
    pub program: Option<u32>,
    /// Where it is pinned.
    pub path: PathBuf,
}

/// What links are pinned in a folder, whoever holds it.
pub fn find(folder: &Path) -> Vec<PinnedLink> {
    let Ok(open) = Folder::look(folder) else { return Vec::new() };
    let links = open.links().unwrap_or_default();
    links.into_iter().map(|(index, kind)| found(&open, index, kind).0).collect()
}

fn found(folder: &Folder, index: u32, kind: Kind) -> (PinnedLink, Option<Link>) {
    let link = folder.open_pin(&Entry::Link { kind, index }).ok().flatten().map(Link::from);
    let program = link.as_ref().and_then(|link| link.program().ok());
    let hook = kind.word();
    let path = folder.path().join("links").join(format!("{hook}-{index}"));
    (PinnedLink { index, hook, program, path }, link)
}

/// Detaches and removes all that is pinned in a folder, where no daemon holds it; gives the links, and says
/// how many sets of maps and programs there were. Where there is nothing, nothing is done.
pub fn remove_all(folder: &Path) -> Result<(Vec<PinnedLink>, usize), PinsError> {
    if let Err(PinsError::Io { source, .. }) = Folder::look(folder)
        && source.kind() == std::io::ErrorKind::NotFound
    {
        return Ok((Vec::new(), 0));
    }
    let open = Folder::open(folder)?;
    let sets = open.sets()?.len();
    let mut all = Vec::new();
    for (index, kind) in open.links()? {
        let (found, link) = found(&open, index, kind);
        if let Some(Err(error)) = link.map(|link| link.detach()) {
            tracing::debug!(index, "detaching a link: {error}");
        }
        all.push(found);
    }
    open.remove()?;
    Ok((all, sets))
}

/// A pin that could not be removed is told, and no reason to end.
fn log_failure(removed: Result<(), Refusal>) {
    if let Err(refused) = removed {
        tracing::error!("removing pins: {refused}");
    }
}
