//! The control socket's file: removed when the daemon ends if it is the one that the daemon bound.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The file of a socket that was bound.
#[derive(Debug)]
pub struct SocketFile {
    folder: OwnedFd,
    name: OsString,
    /// What tells it from another file of this name: device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// The file at this path, which has just been bound.
    pub fn at(path: &Path) -> io::Result<SocketFile> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = openat(AT_FDCWD, folder.unwrap_or(Path::new(".")), flags, Mode::empty())?;
        let identity = identity(&folder, &name)?;
        Ok(SocketFile { folder, name, identity })
    }

    /// Removes it, if it is still the same file.
    pub fn remove(self) {
        if identity(&self.folder, &self.name).is_ok_and(|now| now == self.identity) {
            let removed = unlinkat(&self.folder, &*self.name, UnlinkatFlags::NoRemoveDir);
            if let Err(errno) = removed {
                // The next daemon takes its place.
                tracing::debug!("the file of the control socket could not be removed: {errno}");
            }
        }
    }
}

fn identity(folder: &OwnedFd, name: &OsString) -> nix::Result<(u64, u64)> {
    let found = fstatat(folder, &**name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_the_file_that_was_bound_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let bound = UnixListener::bind(&path).unwrap();
        SocketFile::at(&path).unwrap().remove();
        assert!(!path.exists());
        drop(bound);

        let _bound = UnixListener::bind(&path).unwrap();
        let file = SocketFile::at(&path).unwrap();
        std::fs::rename(&path, folder.path().join("away")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        file.remove();
        assert!(path.exists());
    }
}
