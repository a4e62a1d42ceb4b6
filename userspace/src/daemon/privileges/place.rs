//! Folders that root may work in for another user: those that nobody but root can have put where they are.
//!
//! A path is walked folder by folder, each by the descriptor of the one before. In a folder that others may
//! change a name may mean something else a moment later; such a folder is refused, and a symbolic link is
//! followed only where root made it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{Uid, User, fchown};

const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Symbolic links that are followed in a path at most, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What of a mode lets others write, and what keeps them from replacing what is not theirs.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// What folders on the way are made with: they are everybody's way.
const ON_THE_WAY: Mode = Mode::from_bits_truncate(0o755);

/// Makes a folder that is not there, and those above it, and gives the last one to a user.
pub fn make(path: &Path, mode: u32, owner: &User) -> anyhow::Result<()> {
    let name = path.file_name().context("it has no name")?;
    let above = reach(&above(path), true)?;
    mkdirat(&above, name, Mode::from_bits_truncate(mode))?;
    let made = openat(&above, name, FOLDER, Mode::empty())?;
    check(&fstat(&made)?, path)?;
    fchown(&made, Some(owner.uid), Some(owner.gid)).context("giving it away")
}

/// The folder that a path lies in.
pub fn above(path: &Path) -> PathBuf {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
        _ => ".".into(),
    }
}

/// Opens a folder that only root can have put where it is and that only root may change; with `makes`, what is
/// missing of it is made.
pub fn reach(path: &Path, makes: bool) -> anyhow::Result<OwnedFd> {
    let mut left: VecDeque<OsString> = parts(path);
    let mut folder = start(path)?;
    let mut walked = if path.is_absolute() { PathBuf::from("/") } else { PathBuf::from(".") };
    check(&fstat(&folder)?, &walked)?;
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        let here = walked.join(&name);
        let found = match fstatat(&folder, &*name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) if makes => {
                mkdirat(&folder, &*name, ON_THE_WAY).with_context(|| here.display().to_string())?;
                fstatat(&folder, &*name, AtFlags::AT_SYMLINK_NOFOLLOW)
            }
            found => found,
        };
        let found = found.with_context(|| here.display().to_string())?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK {
            links += 1;
            ensure!(links <= MAX_LINKS, "{}: too many symbolic links", path.display());
            ensure!(
                is_ours(&found),
                "{} is a symbolic link of the user {}, which root does not follow",
                here.display(),
                found.st_uid
            );
            let to = PathBuf::from(readlinkat(&folder, &*name)?);
            if to.is_absolute() {
                (folder, walked) = (start(&to)?, "/".into());
            }
            for part in parts(&to).into_iter().rev() {
                left.push_front(part);
            }
            continue;
        }
        folder = openat(&folder, &*name, FOLDER, Mode::empty())
            .with_context(|| here.display().to_string())?;
        walked = here;
        check(&fstat(&folder)?, &walked)?;
    }
    Ok(folder)
}

/// Where a path begins.
fn start(path: &Path) -> nix::Result<OwnedFd> {
    openat(AT_FDCWD, if path.is_absolute() { "/" } else { "." }, FOLDER, Mode::empty())
}

/// The names in a path, in order. Those that lead upwards stay: they are folders like others.
fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from_vec(b"..".to_vec())),
        _ => None,
    });
    parts.collect()
}

/// Refuses a folder in which another than root may put something in the place of what is there.
fn check(found: &FileStat, path: &Path) -> anyhow::Result<()> {
    let path = path.display();
    if !is_ours(found) {
        bail!("{path} belongs to the user {}, and root does nothing in it", found.st_uid);
    }
    if found.st_mode & OTHERS_WRITE != 0 && found.st_mode & STICKY == 0 {
        let mode = found.st_mode & 0o7777;
        bail!("{path} has mode {mode:04o}: others may write there, and root does nothing in it");
    }
    Ok(())
}

fn is_ours(found: &FileStat) -> bool {
    found.st_uid == 0 || found.st_uid == Uid::effective().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_missing_is_made_below_folders_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let user = User::from_uid(Uid::effective()).unwrap().unwrap();
        let path = folder.path().join("a/b/state");
        make(&path, 0o700, &user).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.path().join("a"))), (0o700, 0o755));
        assert!(make(&path, 0o700, &user).is_err());
        // Links of ours lead on, also upwards.
        symlink("a/../a/b", folder.path().join("there")).unwrap();
        make(&folder.path().join("there/other"), 0o755, &user).unwrap();
        assert!(folder.path().join("a/b/other").is_dir());
    }

    #[test]
    fn folders_that_others_may_change_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        std::fs::create_dir_all(open.join("below")).unwrap();
        chmod(&open, 0o777);
        for path in [open.clone(), open.join("below"), open.join("new")] {
            let error = reach(&path, true).unwrap_err().to_string();
            assert!(error.contains("others may write there"), "{error}");
        }
        assert!(!open.join("new").exists());
        chmod(&open, 0o1777);
        assert!(reach(&open.join("below"), false).is_ok());
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        let error = reach(&folder.path().join("a"), true).unwrap_err().to_string();
        assert!(error.contains("too many symbolic links"), "{error}");
    }
}
