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
//! A daemon that gave up its privileges may not even pass through /sys/fs/bpf: it has pinned before, and
//! what it removes it reaches from the folder that it holds open.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aya::pin::PinError;
use aya::programs::ProgramInfo;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::{Uid, UnlinkatFlags, User, unlinkat};
use xdp_common::maps;

use super::attach::wait_detached;
use super::load::{Loaded, PinnedCounters};

/// The folder of links.
const LINKS: &str = "links";
/// What the folders of maps and programs begin with; a number follows.
const SET: &str = "set-";
/// What the names of links begin with, by hook; the interface's number follows.
const XDP: &str = "xdp-";
const TCX: &str = "tcx-";

/// Only the daemon's user may see or change what is pinned.
const FOLDER_MODE: u32 = 0o700;

/// Why pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// It lies on another kind of file system.
    #[error(
        "{}, which `pin` in [xdp] names, is not on a BPF file system: mount one \
         (`mount -t bpf bpf /sys/fs/bpf`), or choose a folder on one", .0.display()
    )]
    NotBpf(PathBuf),
    /// Another daemon holds them.
    #[error(
        "another daemon holds what is pinned in {}: stop it, or reach it with --config or --control",
        .0.display()
    )]
    Busy(PathBuf),
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel does not pin.
    #[error("pinning {}: {source}", path.display())]
    Pin {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: PinError,
    },
    /// A link cannot be pinned or used.
    #[error("the link {}: {source} (links can be pinned since Linux 5.9)", path.display())]
    Link {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: LinkError,
    },
}

/// A folder of pins, held by this process alone.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    /// Locked, and the way to what is in it.
    held: Arc<Flock<File>>,
    owner: Option<User>,
    /// The number of this daemon's set.
    set: Option<u32>,
}

impl Pins {
    /// Makes the folder, or takes the one that is there, and locks it. It will belong to `user`, if that
    /// is not empty.
    pub fn open(folder: &Path, user: &str) -> Result<Pins, PinsError> {
        let failed = failed(folder);
        // Asked before anything is made: of the folder, or of what there is above it.
        let above = folder.ancestors().find(|above| above.exists()).unwrap_or(folder);
        if statfs(above).map_err(|errno| failed(errno.into()))?.filesystem_type() != BPF_FS_MAGIC {
            return Err(PinsError::NotBpf(folder.to_owned()));
        }
        if !folder.exists() {
            let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
            made.map_err(&failed)?;
        }
        let held = lock(folder)?;
        let owner = User::from_name(user).ok().flatten().filter(|_| !user.is_empty());
        let pins = Pins { folder: folder.to_owned(), held: Arc::new(held), owner, set: None };
        pins.make(&pins.folder)?;
        pins.make(&pins.folder.join(LINKS))?;
        for set in pins.sets() {
            pins.make(&pins.path_of(set))?;
        }
        Ok(pins)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a folder that is not there, and sees to its mode and owner.
    fn make(&self, folder: &Path) -> Result<(), PinsError> {
        let failed = failed(folder);
        if !folder.exists() {
            DirBuilder::new().mode(FOLDER_MODE).create(folder).map_err(&failed)?;
        }
        let found = folder.metadata().map_err(&failed)?;
        if found.mode() & 0o777 != FOLDER_MODE {
            let mode = Permissions::from_mode(FOLDER_MODE);
            std::fs::set_permissions(folder, mode).map_err(&failed)?;
        }
        let (uid, gid) = match &self.owner {
            Some(owner) => (owner.uid.as_raw(), owner.gid.as_raw()),
            None => (Uid::effective().as_raw(), found.gid()),
        };
        if found.uid() != uid {
            chown(folder, Some(uid), Some(gid)).map_err(&failed)?;
        }
        Ok(())
    }

    /// Where the links of an interface are pinned.
    pub fn links_of(&self, index: u32) -> LinkPins {
        let at = |hook: &str| self.folder.join(LINKS).join(format!("{hook}{index}"));
        LinkPins { xdp: at(XDP), tcx: at(TCX), held: Arc::clone(&self.held) }
    }

    /// The numbers of the interfaces that have links.
    pub fn interfaces(&self) -> Vec<u32> {
        let mut indexes: Vec<u32> =
            links(&self.folder).into_iter().map(|(_, index, _)| index).collect();
        indexes.dedup();
        indexes
    }

    fn path_of(&self, set: u32) -> PathBuf {
        self.folder.join(format!("{SET}{set}"))
    }

    /// The numbers of the sets, in order.
    fn sets(&self) -> Vec<u32> {
        sets(self.held.as_fd(), &self.folder)
    }

    /// The set that holds the first program of XDP or TCX with this id.
    pub fn set_of(&self, program: u32) -> Option<u32> {
        let entries = [maps::ENTRY_PROGRAM, maps::TCX_ENTRY_PROGRAM];
        self.sets().into_iter().find(|set| {
            let found = entries.map(|name| ProgramInfo::from_pin(self.path_of(*set).join(name)));
            found.into_iter().flatten().any(|info| info.id() == program)
        })
    }

    /// The counters of a set; `None`, and a word in the log, if they cannot be added to ours.
    pub fn counters_of(&self, set: u32) -> Option<PinnedCounters> {
        match PinnedCounters::open(&self.path_of(set)) {
            Ok(Some(counters)) => Some(counters),
            Ok(None) => {
                tracing::warn!(
                    "what is pinned is another version's: its programs are replaced all the same, and its \
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
    pub fn pin(&mut self, loaded: &mut Loaded, is_new: bool) -> Result<(), PinsError> {
        let set = match self.set {
            Some(set) if !is_new => set,
            _ => self.sets().last().map_or(1, |last| last + 1),
        };
        let path = self.path_of(set);
        self.make(&path)?;
        self.set = Some(set);
        loaded.pin(&path).map_err(|source| PinsError::Pin { path, source })
    }

    /// Removes all sets but this daemon's and `others`.
    pub fn keep(&self, others: &[u32]) {
        for set in self.sets() {
            if self.set != Some(set) && !others.contains(&set) {
                said(remove_folder(self.held.as_fd(), &format!("{SET}{set}")));
            }
        }
    }

    /// Forgets this daemon's set: nothing is attached that needs it.
    pub fn drop_set(&mut self, others: &[u32]) {
        self.set = None;
        self.keep(others);
    }

    /// Removes everything, and the folder if we may.
    pub fn remove(mut self) {
        self.drop_set(&[]);
        said(remove_folder(self.held.as_fd(), LINKS));
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Where the links of an interface are pinned.
#[derive(Debug, Clone)]
pub struct LinkPins {
    /// That of XDP.
    pub xdp: PathBuf,
    /// That of TCX.
    pub tcx: PathBuf,
    held: Arc<Flock<File>>,
}

impl LinkPins {
    /// Removes the pin of XDP's link.
    pub fn remove_xdp(&self) {
        self.remove(&self.xdp);
    }

    /// Removes the pin of TCX's link.
    pub fn remove_tcx(&self) {
        self.remove(&self.tcx);
    }

    fn remove(&self, path: &Path) {
        let Some(name) = path.file_name() else { return };
        let name = Path::new(LINKS).join(name);
        match unlinkat(self.held.as_fd(), &name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => tracing::error!("removing the pin {}: {errno}", path.display()),
        }
    }
}

/// Pins a link, which then stays attached when it is dropped.
pub fn pin_link<L>(link: L, path: &Path) -> Result<L, PinsError>
where
    FdLink: TryFrom<L, Error = LinkError>,
    L: TryFrom<FdLink, Error = LinkError>,
{
    let failed = |source| PinsError::Link { path: path.to_owned(), source };
    let link = FdLink::try_from(link).map_err(failed)?;
    let pinned =
        link.pin(path).map_err(|source| PinsError::Pin { path: path.to_owned(), source })?;
    L::try_from(FdLink::from(pinned)).map_err(failed)
}

/// Opens a pinned link, and says which program it runs; `None` if there is none.
pub fn open_link<L>(path: &Path) -> Result<Option<(L, u32)>, PinsError>
where
    L: TryFrom<FdLink, Error = LinkError>,
{
    if !path.exists() {
        return Ok(None);
    }
    let failed = |source| PinsError::Link { path: path.to_owned(), source };
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(failed)?);
    let program = link.info().map_err(failed)?.program_id();
    Ok(Some((L::try_from(link).map_err(failed)?, program)))
}

/// A link that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
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
pub fn find(folder: &Path) -> Vec<Found> {
    links(folder)
        .into_iter()
        .map(|(hook, index, path)| {
            let link = PinnedLink::from_pin(&path).map(FdLink::from);
            let info = link.and_then(|link| link.info());
            let program = info.map(|info| info.program_id()).ok();
            Found { index, hook: hook.trim_end_matches('-'), program, path }
        })
        .collect()
}

/// Detaches and removes all that is pinned in a folder, where no daemon holds it; gives the links, and says
/// how many sets of maps and programs there were. Where there is nothing, nothing is done.
pub fn remove_all(folder: &Path) -> Result<(Vec<Found>, usize), PinsError> {
    if !folder.exists() {
        return Ok((Vec::new(), 0));
    }
    let found = find(folder);
    let pins = Pins::open(folder, "")?;
    let sets = pins.sets().len();
    for link in &found {
        std::fs::remove_file(&link.path).map_err(failed(&link.path))?;
        if let Some(program) = link.program {
            wait_detached(link.index, program);
        }
    }
    pins.remove();
    Ok((found, sets))
}

/// Links by hook and interface's number, in that order.
fn links(folder: &Path) -> Vec<(&'static str, u32, PathBuf)> {
    let entries = std::fs::read_dir(folder.join(LINKS)).into_iter().flatten().flatten();
    let mut links: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            [XDP, TCX]
                .into_iter()
                .find_map(|hook| Some((hook, name.strip_prefix(hook)?.parse().ok()?, entry.path())))
        })
        .collect();
    links.sort_by_key(|(hook, index, _)| (*index, *hook == TCX));
    links
}

fn sets(held: impl AsFd, folder: &Path) -> Vec<u32> {
    let names = names(held, ".").unwrap_or_else(|errno| {
        tracing::warn!("listing {}: {errno}", folder.display());
        Vec::new()
    });
    let mut sets: Vec<u32> =
        names.iter().filter_map(|name| name.strip_prefix(SET)?.parse().ok()).collect();
    sets.sort_unstable();
    sets
}

/// What is in a folder of the folder that is held.
fn names(held: impl AsFd, folder: &str) -> Result<Vec<String>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut open = Dir::openat(held, folder, flags, Mode::empty())?;
    let names = open.iter().map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Result<Vec<String>, Errno> = names.collect();
    Ok(names?.into_iter().filter(|name| name != "." && name != "..").collect())
}

/// Removes a folder of the folder that is held, and the pins in it.
fn remove_folder(held: impl AsFd, folder: &str) -> Result<(), PinsError> {
    let failed = |errno: Errno| PinsError::Io { path: folder.into(), source: errno.into() };
    let names = match names(&held, folder) {
        Err(Errno::ENOENT) => return Ok(()),
        names => names.map_err(failed)?,
    };
    for name in names {
        let path = Path::new(folder).join(name);
        unlinkat(&held, &path, UnlinkatFlags::NoRemoveDir).map_err(failed)?;
    }
    unlinkat(&held, folder, UnlinkatFlags::RemoveDir).map_err(failed)
}

/// A pin that could not be removed is told, and no reason to end.
fn said(removed: Result<(), PinsError>) {
    if let Err(error) = removed {
        tracing::error!("removing pins: {error}");
    }
}

fn lock(folder: &Path) -> Result<Flock<File>, PinsError> {
    let held = File::open(folder).map_err(failed(folder))?;
    Flock::lock(held, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => PinsError::Busy(folder.to_owned()),
        errno => failed(folder)(errno.into()),
    })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PinsError {
    move |source| PinsError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_system_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pins = folder.path().join("pins");
        let error = Pins::open(&pins, "").unwrap_err().to_string();
        assert!(error.contains("is not on a BPF file system: mount one"), "{error}");
        assert!(!pins.exists());
    }

    #[test]
    fn where_nothing_is_pinned_nothing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (links, sets) = remove_all(&folder.path().join("none")).unwrap();
        assert!(links.is_empty() && sets == 0);
    }

    #[test]
    fn links_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(LINKS)).unwrap();
        for name in ["tcx-3", "xdp-12", "xdp-3", "xdp-", "other"] {
            std::fs::write(folder.path().join(LINKS).join(name), "").unwrap();
        }
        let found = links(folder.path()).into_iter().map(|(hook, index, _)| (hook, index));
        assert_eq!(found.collect::<Vec<_>>(), [("xdp-", 3), ("tcx-", 3), ("xdp-", 12)]);
    }
}
