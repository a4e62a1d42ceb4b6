//! What must be right before a daemon starts, and is said by `sealdns config check` as well.
//!
//! What belongs to the daemon's user is looked at with that user's rights: so what is said is what will be,
//! and no path that the user may change leads root anywhere.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, Uid, User, eaccess};

use super::privileges::{self, as_user};
use crate::config::{Config, ConfigFile};
use crate::files;

/// Files and folders of the state directory that are told in one message; more are only counted.
const TOLD: usize = 3;

/// Entries that are looked at: the keys of some ten thousand zones, in a blink.
const MAX_ENTRIES: usize = 100_000;

/// How deep the state directory is looked into: `keys/` and `serials/` have no folders.
const MAX_DEPTH: usize = 2;

/// The lock on a state directory, until it is dropped or the process ends.
#[derive(Debug)]
pub struct StateLock {
    _folder: Flock<File>,
}

/// Makes the state directory if it is not there, and takes it: no other daemon may have it, and `user`, or
/// who we are, must be able to use it.
pub fn take_state(config: &Config, user: Option<&User>) -> anyhow::Result<StateLock> {
    let folder = &config.server.state_dir;
    privileges::make_folder(folder, 0o700, user)?;
    let lock = lock(folder)?;
    let problems = as_user(user, || unusable(folder))?;
    match problems {
        Some(problem) => bail!("{problem}"),
        None => Ok(lock),
    }
}

/// Locks the folder itself: that takes no file in it, which a full disk or a read-only one would not give.
fn lock(folder: &Path) -> anyhow::Result<StateLock> {
    let said = || format!("the state directory {}", folder.display());
    let opened = File::open(folder).with_context(said)?;
    let inode = opened.metadata().with_context(said)?.ino();
    match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => Ok(StateLock { _folder: locked }),
        Err((_, Errno::EWOULDBLOCK)) => {
            let holder = match holder(inode) {
                Some(pid) => format!("process {pid}"),
                None => "a process that is not visible from here".to_owned(),
            };
            bail!(
                "the state directory {} is in use by {holder}: another daemon; end it, or give this one a \
                 `state-dir` of its own",
                folder.display()
            )
        }
        Err((_, errno)) => Err(errno).with_context(said),
    }
}

/// Who holds a lock on the file with this inode, as the kernel tells (proc_locks(5)).
fn holder(inode: u64) -> Option<u32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words[..] else { return None };
        let found = file.rsplit(':').next()?.parse::<u64>().ok()?;
        (found == inode).then(|| pid.parse().ok())?
    })
}

/// Why we cannot use the state directory, if we cannot.
fn unusable(folder: &Path) -> Option<String> {
    let mut found = Vec::new();
    let mut left = MAX_ENTRIES;
    look_into(folder, 0, &mut left, &mut found);
    let first: Vec<String> =
        found.iter().take(TOLD).map(|path| path.display().to_string()).collect();
    let (first, more) = match (first.join(", "), found.len().saturating_sub(TOLD)) {
        (first, _) if first.is_empty() => return None,
        (first, 0) => (first, String::new()),
        (first, more) => (first, format!(" and {more} more")),
    };
    let who = User::from_uid(Uid::effective()).ok().flatten();
    let who = who.map_or_else(|| Uid::effective().to_string(), |user| user.name);
    Some(format!(
        "the user {who} may not use what is in the state directory: {first}{more}; run chown -R {who}: {}",
        folder.display()
    ))
}

/// Adds what we may not read, or in a folder's case write, to `found`.
fn look_into(path: &Path, depth: usize, left: &mut usize, found: &mut Vec<PathBuf>) {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return };
    let is_folder = metadata.is_dir();
    let wanted = match is_folder {
        true => AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
        false => AccessFlags::R_OK,
    };
    // A file system that is read-only belongs to nobody else: zones are served and signed from it still.
    if eaccess(path, wanted).is_err_and(|errno| errno != Errno::EROFS) {
        found.push(path.to_owned());
        return;
    }
    if !is_folder || depth == MAX_DEPTH {
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let Some(fewer) = left.checked_sub(1) else { return };
        *left = fewer;
        look_into(&entry.path(), depth + 1, left, found);
    }
}

/// What would keep a daemon with this configuration from its files, as the user that it will be.
pub fn problems(config: &Config) -> Vec<String> {
    let user = match privileges::target(&config.server.user) {
        Ok(user) => user,
        Err(error) => return vec![format!("{error:#}")],
    };
    let looked = as_user(user.as_ref(), || {
        let mut problems = Vec::new();
        problems.extend(unusable(&config.server.state_dir));
        for ConfigFile { path, .. } in &config.files {
            let Err(error) = File::open(path) else { continue };
            let path = path.display();
            problems.push(format!("a reload could not read the configuration {path}: {error}"));
        }
        for zone in config.zones() {
            if !zone.file.as_os_str().is_empty()
                && let Err(error) = files::open(&zone.file)
            {
                problems.push(format!("zone {}: {}: {error}", zone.name, zone.file.display()));
            }
        }
        if let Err(error) = super::cookies::Secrets::load(&config.cookies, [0; 2]) {
            problems.push(format!("the secret of DNS cookies: {error:#}"));
        }
        if let Err(error) = super::tsig_keys::load(config) {
            problems.push(format!("{error:#}"));
        }
        if let Err(error) = super::tls_files::load(config) {
            problems.push(format!("{error:#}"));
        }
        problems
    });
    looked.unwrap_or_else(|error| vec![format!("{error:#}")])
}

/// Warns of sockets that nobody listens on, with nobody else there who would answer what XDP does not.
pub fn warn_if_alone(config: &Config) {
    if config.server.listen.is_empty()
        && config.front.is_none()
        && !config.xdp.interfaces.is_empty()
    {
        tracing::warn!(
            "`listen` in [server] is empty: TCP, and what XDP passes on, is answered only if another server is there; \
             with the section [front] its zones are followed"
        );
    }
}

/// Warns of an address that this host does not have yet. It is listened on all the same: a routing daemon
/// may give it to the host once this one is healthy. So it is no problem that `health` would say either.
pub fn warn_if_elsewhere(address: SocketAddr) {
    let mut any_port = address;
    any_port.set_port(0);
    let bound = UdpSocket::bind(any_port);
    if bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable) {
        tracing::warn!(
            "{} is not an address of this host yet: queries to it are answered as soon as it is",
            address.ip()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_has_one_daemon_and_the_other_is_told_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let said = lock(folder.path()).unwrap_err().to_string();
        assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
        drop(held);
        lock(folder.path()).unwrap();
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
