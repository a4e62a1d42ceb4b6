//! Giving up root once there is nothing left that needs it, and what root does for another user before.
//!
//! A path that this user may change can mean something else a moment later. So what the user can do is done as
//! the user, and what only root can is done where nobody but root may change the path ([`place`]).

pub mod place;

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use caps::Capability;
use nix::fcntl::AtFlags;
use nix::unistd::{
    Gid, Uid, User, fchownat, getegid, getgroups, initgroups, setegid, seteuid, setgroups,
};

use crate::datapath::loader::capabilities;

/// What a daemon that stays root keeps: to attach and to load programs, when maps grow too; to listen on
/// ports below 1024; and to read zones and write state that belong to others, as root does.
const KEPT: [Capability; 5] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_DAC_OVERRIDE,
];

/// Looks up the user to become; `None` if the configuration names none.
pub fn target(user: &str) -> anyhow::Result<Option<User>> {
    if user.is_empty() {
        return Ok(None);
    }
    match User::from_name(user).with_context(|| format!("looking up the user \"{user}\""))? {
        Some(found) => Ok(Some(found)),
        None => bail!(
            "there is no user \"{user}\" on this system: make one (`useradd --system {user}`), or set `user \
             = \"\"` in [server] to keep the user that started the daemon"
        ),
    }
}

/// Makes `path` with `mode`, owned by `owner`, and what is missing above it, unless it exists.
pub fn make_folder(path: &Path, mode: u32, owner: Option<&User>) -> anyhow::Result<()> {
    // The folder of a relative path that names none is the one we are in.
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let create = || {
        // What lies above is everybody's way to it, and so has the usual mode.
        std::fs::create_dir_all(place::above(path))?;
        std::fs::DirBuilder::new().mode(mode).create(path)
    };
    let made = match (as_user(owner, create)?, owner) {
        (Err(error), Some(owner)) if error.kind() == io::ErrorKind::PermissionDenied => {
            place::make(path, mode, owner)
        }
        (made, _) => made.map_err(anyhow::Error::from),
    };
    made.with_context(|| format!("making the folder {}", path.display()))
}

/// Binds a socket to `path` that belongs to `owner`.
pub fn bind(
    path: &Path,
    owner: Option<&User>,
    bind: impl Fn(&Path) -> io::Result<UnixListener>,
) -> anyhow::Result<UnixListener> {
    match (as_user(owner, || bind(path))?, owner) {
        (Err(error), Some(owner)) if error.kind() == io::ErrorKind::PermissionDenied => {
            let name = path.file_name().context("it has no name")?;
            let folder = place::reach(&place::above(path), false)?;
            let way = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
            let bound = bind(&way)?;
            let (uid, gid) = (Some(owner.uid), Some(owner.gid));
            fchownat(&folder, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
                .with_context(|| format!("giving it to {}", owner.name))?;
            Ok(bound)
        }
        (bound, _) => Ok(bound?),
    }
}

/// Does something with the rights of `user`, if that is not who we are already.
///
/// All threads have these rights meanwhile: to be called before there is one that needs others.
pub fn as_user<T>(user: Option<&User>, work: impl FnOnce() -> T) -> anyhow::Result<T> {
    let own = Uid::effective();
    let Some(user) = user.filter(|user| user.uid != own) else { return Ok(work()) };
    let (group, groups): (Gid, Vec<Gid>) = (getegid(), getgroups()?);
    let became = initgroups(&c_name(user)?, user.gid)
        .and_then(|()| setegid(user.gid))
        .and_then(|()| seteuid(user.uid));
    became.with_context(|| cannot_become(user))?;
    let done = work();
    let returned = seteuid(own).and_then(|()| setegid(group)).and_then(|()| setgroups(&groups));
    returned.context("becoming root again")?;
    Ok(done)
}

fn c_name(user: &User) -> anyhow::Result<CString> {
    CString::new(user.name.as_str()).context("the user's name")
}

fn cannot_become(user: &User) -> String {
    format!("becoming the user \"{}\" (only root can: start the daemon as root)", user.name)
}

/// Who a folder belongs to, or what there is above it, or who has led the way there by a symbolic link; `None` unless
/// we are root and it is another. What root made there its owner could not read, and could have led elsewhere.
pub fn other_owner(folder: &Path) -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let mut there = folder.to_owned();
    while !there.exists() {
        there = place::above(&there);
    }
    let links = there.ancestors().filter_map(|one| one.symlink_metadata().ok());
    let links = links.filter(|found| found.is_symlink());
    let found = there.metadata().with_context(|| there.display().to_string())?;
    let owners = links.chain([found]).map(|found| Uid::from_raw(found.uid()));
    let Some(owner) = owners.into_iter().find(|owner| !owner.is_root()) else { return Ok(None) };
    match User::from_uid(owner).context("looking up a user")? {
        Some(user) => Ok(Some(user)),
        None => bail!(
            "{} belongs to the user {owner}, whom this system does not know: run the command as that user",
            there.display()
        ),
    }
}

/// Stays root, but with what a daemon needs of it only.
///
/// To be called before threads are started: capabilities belong to a thread.
pub fn stay_root() -> anyhow::Result<()> {
    tracing::warn!(
        "the daemon goes on as root: set `user` in [server], and it becomes that user after start. Of root's \
         capabilities it keeps those to attach XDP, to listen, and to read and write all files"
    );
    capabilities::keep_only(&KEPT)
}

/// Becomes `user`, for good, and gives up every capability.
///
/// To be called before threads are started: capabilities belong to a thread.
pub fn drop_to(user: &User) -> anyhow::Result<()> {
    if user.uid != Uid::effective() {
        let became = initgroups(&c_name(user)?, user.gid)
            .and_then(|()| nix::unistd::setresgid(user.gid, user.gid, user.gid))
            .and_then(|()| nix::unistd::setresuid(user.uid, user.uid, user.uid));
        became.with_context(|| cannot_become(user))?;
    }
    for set in [caps::CapSet::Ambient, caps::CapSet::Inheritable, caps::CapSet::Effective] {
        caps::clear(None, set).context("giving up capabilities")?;
    }
    caps::clear(None, caps::CapSet::Permitted).context("giving up capabilities")?;
    // Nor may a program that is started hereafter get any back.
    nix::sys::prctl::set_no_new_privs().context("giving up new privileges")?;
    let root = Uid::from_raw(0);
    if !user.uid.is_root() && nix::unistd::setresuid(root, root, root).is_ok() {
        bail!("the process could become root again after it had given root's privileges up");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_last_folder_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("above/state");
        make_folder(&path, 0o700, None).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(path.parent().unwrap()) & 0o500, 0o500);
        assert_ne!(mode(path.parent().unwrap()), 0o700);
        // A folder that is there stays as it is.
        make_folder(&path, 0o755, None).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_user_that_is_not_there_is_said() {
        assert!(target("").unwrap().is_none());
        assert!(target("root").unwrap().is_some_and(|user| user.uid.is_root()));
        let error = target("no-such-user-here").unwrap_err().to_string();
        assert!(error.contains("useradd"), "{error}");
    }
}
