//! The folder of pins, by its descriptor.
//!
//! It is reached without following a symbolic link, it is ours and so is all that is in it, and nobody else
//! may write there; what is not so is refused, and nothing is given to anybody. From then on nobody but us
//! can change what is found below the descriptor.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::sys::statfs::{BPF_FS_MAGIC, fstatfs};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};
use rustix::fs::FlockOperation;

use super::request::{Entry, Kind};
use crate::datapath::memory::bpf;

/// The folder of links.
const LINKS: &str = "links";
/// What the folders of maps and programs begin with; a number follows.
const SET: &str = "set-";

/// Nobody else may see or change what is pinned.
const FOLDER_MODE: Mode = Mode::S_IRWXU;

/// What of a mode lets others write.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// How long the lock of another is waited for: a daemon that was killed leaves a loader behind, which ends
/// within milliseconds.
const LOCK_LOOK: Duration = Duration::from_millis(10);
const LOCK_LOOKS: u32 = 200;

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
    /// A symbolic link stands in the way.
    #[error(
        "{} has a symbolic link in it, which is not followed: write the path in `pin` of [xdp] without",
        .0.display()
    )]
    Symlink(PathBuf),
    /// Somebody else could have put it there.
    #[error(
        "{} {what}, so what is pinned there is not used: remove it (`rm -r` follows no links), or name \
         another folder with `pin` in [xdp]",
        path.display()
    )]
    NotOurs {
        /// Which file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A folder of pins, held by this process alone, or by a daemon and its loader.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked.
    held: OwnedFd,
}

impl Folder {
    /// Makes the folder, or takes the one that is there if all in it is ours, and locks it.
    pub fn open(path: &Path) -> Result<Folder, PinsError> {
        let held = match reach(path) {
            Err(PinsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                make_all(path)?
            }
            held => held?,
        };
        check_bpf(&held, path)?;
        check(&stat(&held, path)?, path)?;
        // What lies above may be everybody's only if nobody may replace what is others' in it.
        let above = path.parent().unwrap_or(path);
        check_above(&stat(&reach(above)?, above)?, above)?;
        let held = lock(held, path)?;
        let folder = Folder { path: path.to_owned(), held };
        folder.close(".")?;
        folder.check_all()?;
        folder.make(LINKS)?;
        Ok(folder)
    }

    /// Opens a folder that is there to look at, whoever holds it.
    pub fn look(path: &Path) -> Result<Folder, PinsError> {
        let held = reach(path)?;
        check_bpf(&held, path)?;
        Ok(Folder { path: path.to_owned(), held })
    }

    /// The folder that another process has opened and locked.
    pub fn from_descriptor(path: PathBuf, held: OwnedFd) -> Folder {
        Folder { path, held }
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses all that another could have put here.
    fn check_all(&self) -> Result<(), PinsError> {
        for name in self.names(".")? {
            if self.check(&name)? {
                for inner in self.names(&name)? {
                    self.check(&format!("{name}/{inner}"))?;
                }
            }
        }
        Ok(())
    }

    /// Refuses an entry that is not ours; says whether it is a folder.
    fn check(&self, entry: &str) -> Result<bool, PinsError> {
        let path = self.path.join(entry);
        let found = fstatat(&self.held, entry, AtFlags::AT_SYMLINK_NOFOLLOW);
        let found = found.map_err(|errno| io(&path, errno))?;
        check(&found, &path)?;
        Ok(kind_of(&found) == SFlag::S_IFDIR)
    }

    /// Makes a folder in the folder, unless it is there.
    fn make(&self, name: &str) -> Result<(), PinsError> {
        match mkdirat(&self.held, name, FOLDER_MODE) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(io(&self.path.join(name), errno)),
        }
        self.check(name)?;
        self.close(name)
    }

    /// Closes a folder of ours to others.
    fn close(&self, name: &str) -> Result<(), PinsError> {
        let path = self.path.join(name);
        let opened = openat(&self.held, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty());
        opened.and_then(|folder| fchmod(folder, FOLDER_MODE)).map_err(|errno| io(&path, errno))
    }

    /// Pins an object, unless that entry is there.
    pub fn pin(&self, entry: &Entry, object: BorrowedFd<'_>) -> Result<(), PinsError> {
        let place = place(entry)?;
        if let Entry::Object { set, .. } = entry {
            self.make(&format!("{SET}{set}"))?;
        }
        match bpf::pin(object, &self.way(&place)) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            pinned => {
                pinned.map_err(|source| PinsError::Io { path: self.path.join(place), source })
            }
        }
    }

    /// Opens what is pinned there; `None` if nothing is.
    pub fn open_pin(&self, entry: &Entry) -> Result<Option<OwnedFd>, PinsError> {
        let place = place(entry)?;
        match bpf::open_pin(&self.way(&place)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => {
                let failed = |source| PinsError::Io { path: self.path.join(place), source };
                opened.map(Some).map_err(failed)
            }
        }
    }

    /// A path to an entry that begins at the descriptor: bpf(2) takes one only since Linux 6.5.
    fn way(&self, place: &str) -> CString {
        let held = self.held.as_raw_fd();
        // No place has a zero in it.
        CString::new(format!("/proc/self/fd/{held}/{place}")).unwrap_or_default()
    }

    /// Removes an entry that may be there.
    pub fn unpin(&self, entry: &Entry) -> Result<(), PinsError> {
        self.remove_file(&place(entry)?)
    }

    fn remove_file(&self, place: &str) -> Result<(), PinsError> {
        match unlinkat(&self.held, place, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(io(&self.path.join(place), errno)),
        }
    }

    /// The links that are pinned, by interface, XDP's first.
    pub fn links(&self) -> Result<Vec<(u32, Kind)>, PinsError> {
        let names = self.names_if_any(LINKS)?;
        let mut links: Vec<(u32, Kind)> = names
            .iter()
            .filter_map(|name| {
                let (kind, index) = name.split_once('-')?;
                let kind = [Kind::Xdp, Kind::Tcx].into_iter().find(|one| one.word() == kind)?;
                Some((index.parse().ok()?, kind))
            })
            .collect();
        links.sort_unstable();
        Ok(links)
    }

    /// The numbers of the sets, in order.
    pub fn sets(&self) -> Result<Vec<u32>, PinsError> {
        let names = self.names(".")?;
        let mut sets: Vec<u32> =
            names.iter().filter_map(|name| name.strip_prefix(SET)?.parse().ok()).collect();
        sets.sort_unstable();
        Ok(sets)
    }

    /// Removes a set.
    pub fn remove_set(&self, set: u32) -> Result<(), PinsError> {
        self.remove_folder(&format!("{SET}{set}"))
    }

    /// Removes all that is ours, and the folder if nothing else is in it.
    pub fn remove(self) -> Result<(), PinsError> {
        for set in self.sets()? {
            self.remove_set(set)?;
        }
        self.remove_folder(LINKS)?;
        let (Some(above), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        // A folder that others have put things into is theirs, and so may be the one above.
        let removed = unlinkat(reach(above)?, name, UnlinkatFlags::RemoveDir);
        if let Err(errno) = removed {
            tracing::debug!("{} stays: {errno}", self.path.display());
        }
        Ok(())
    }

    /// Removes a folder in the folder, and the pins in it.
    fn remove_folder(&self, name: &str) -> Result<(), PinsError> {
        for inner in self.names_if_any(name)? {
            self.remove_file(&format!("{name}/{inner}"))?;
        }
        match unlinkat(&self.held, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(io(&self.path.join(name), errno)),
        }
    }

    fn names_if_any(&self, folder: &str) -> Result<Vec<String>, PinsError> {
        match self.names(folder) {
            Err(PinsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            names => names,
        }
    }

    /// What is in a folder in the folder.
    fn names(&self, folder: &str) -> Result<Vec<String>, PinsError> {
        let names = || -> Result<Vec<String>, Errno> {
            let flags = FOLDER | OFlag::O_NOFOLLOW;
            let mut open = Dir::openat(&self.held, folder, flags, Mode::empty())?;
            let names =
                open.iter().map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect()
        };
        let names = names().map_err(|errno| io(&self.path.join(folder), errno))?;
        Ok(names.into_iter().filter(|name| name != "." && name != "..").collect())
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Where an entry lies in the folder.
fn place(entry: &Entry) -> Result<String, PinsError> {
    match entry {
        Entry::Link { kind, index } => Ok(format!("{LINKS}/{}-{index}", kind.word())),
        Entry::Object { set, name } if is_name(name) => Ok(format!("{SET}{set}/{name}")),
        Entry::Object { name, .. } => Err(io(Path::new(name), Errno::EINVAL)),
    }
}

/// Whether it can be the name of a map or program: nothing that leads elsewhere.
fn is_name(name: &str) -> bool {
    let is_letter = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_letter)
}

/// Opens a folder by a path that has no symbolic link in it.
fn reach(path: &Path) -> Result<OwnedFd, PinsError> {
    let how = OpenHow::new().flags(FOLDER).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how).map_err(|errno| match errno {
        Errno::ELOOP => PinsError::Symlink(path.to_owned()),
        errno => io(path, errno),
    })
}

/// Makes a folder, and those above it that are not there.
fn make_all(path: &Path) -> Result<OwnedFd, PinsError> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io(path, Errno::ENOENT));
    };
    let held = match reach(above) {
        Err(PinsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make_all(above)?
        }
        held => held?,
    };
    // Asked before anything is made.
    check_bpf(&held, path)?;
    mkdirat(&held, name, FOLDER_MODE).map_err(|errno| io(path, errno))?;
    openat(&held, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty()).map_err(|errno| io(path, errno))
}

fn check_bpf(folder: &OwnedFd, path: &Path) -> Result<(), PinsError> {
    let found = fstatfs(folder).map_err(|errno| io(path, errno))?;
    let is_bpf = found.filesystem_type() == BPF_FS_MAGIC;
    if is_bpf { Ok(()) } else { Err(PinsError::NotBpf(path.to_owned())) }
}

/// Refuses what another has made, or may change.
fn check(found: &FileStat, path: &Path) -> Result<(), PinsError> {
    let refuse = |what: String| Err(PinsError::NotOurs { path: path.to_owned(), what });
    if kind_of(found) == SFlag::S_IFLNK {
        return refuse("is a symbolic link".into());
    }
    if !is_ours(found.st_uid) {
        return refuse(format!("belongs to the user {}", found.st_uid));
    }
    if found.st_mode & OTHERS_WRITE != 0 {
        return refuse(format!("has mode {:04o}, and others may write there", permissions(found)));
    }
    Ok(())
}

/// Refuses a folder in which others may replace what is ours.
fn check_above(found: &FileStat, path: &Path) -> Result<(), PinsError> {
    let is_shared = found.st_mode & OTHERS_WRITE != 0 && found.st_mode & STICKY == 0;
    if is_ours(found.st_uid) && !is_shared {
        return Ok(());
    }
    let what = format!(
        "belongs to the user {} and has mode {:04o}: others may replace what is in it",
        found.st_uid,
        permissions(found)
    );
    Err(PinsError::NotOurs { path: path.to_owned(), what })
}

/// Whether nobody but us, and who may do everything anyway, can change what belongs to this user.
fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == Uid::effective().as_raw()
}

fn permissions(found: &FileStat) -> u32 {
    found.st_mode & 0o7777
}

fn kind_of(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}

fn stat(folder: &OwnedFd, path: &Path) -> Result<FileStat, PinsError> {
    fstat(folder).map_err(|errno| io(path, errno))
}

fn lock(folder: OwnedFd, path: &Path) -> Result<OwnedFd, PinsError> {
    for _ in 0..LOCK_LOOKS {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_LOOK),
            Err(errno) => {
                return Err(PinsError::Io { path: path.to_owned(), source: errno.into() });
            }
        }
    }
    Err(PinsError::Busy(path.to_owned()))
}

fn io(path: &Path, errno: Errno) -> PinsError {
    PinsError::Io { path: path.to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn another_file_system_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pins = folder.path().join("above/pins");
        let error = Folder::open(&pins).unwrap_err().to_string();
        assert!(error.contains("is not on a BPF file system: mount one"), "{error}");
        assert!(!folder.path().join("above").exists());
    }

    #[test]
    fn no_symbolic_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/sys/fs/bpf", folder.path().join("away")).unwrap();
        let error = Folder::open(&folder.path().join("away/pins")).unwrap_err().to_string();
        assert!(error.contains("has a symbolic link in it"), "{error}");
    }

    /// What takes the place of a folder that was opened is neither read nor changed: all is done by the descriptor.
    #[test]
    fn what_takes_the_place_of_an_opened_folder_is_left_alone() {
        let root = Path::new("/sys/fs/bpf");
        if !Uid::effective().is_root() || reach(root).and_then(|at| check_bpf(&at, root)).is_err() {
            eprintln!("SKIPPED: needs root, and a BPF file system at {}", root.display());
            return;
        }
        let base = root.join(format!("sealdns-folder-test-{}", std::process::id()));
        let (pins, aside) = (base.join("pins"), base.join("aside"));
        let folder = Folder::open(&pins).unwrap();
        std::fs::rename(&pins, &aside).unwrap();
        std::fs::create_dir_all(pins.join("set-8")).unwrap();

        folder.make("set-7").unwrap();
        assert!(aside.join("set-7").exists() && !pins.join("set-7").exists());
        assert_eq!(folder.sets().unwrap(), [7]);
        // The path by which objects are pinned and opened.
        let way = |place| PathBuf::from(folder.way(place).into_string().unwrap());
        assert!(way("set-7").exists() && !way("set-8").exists());
        folder.remove_set(7).unwrap();
        folder.remove_set(8).unwrap();
        assert!(!aside.join("set-7").exists() && pins.join("set-8").exists());

        drop(folder);
        for folder in [aside.join(LINKS), aside, pins.join("set-8"), pins, base] {
            std::fs::remove_dir(folder).unwrap();
        }
    }

    #[test]
    fn names_do_not_lead_elsewhere() {
        for name in ["SLAB", "tcx_send", "_rodata"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "../x", "a.b", "a\0", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
            assert!(place(&Entry::Object { set: 1, name: name.into() }).is_err());
        }
    }
}
