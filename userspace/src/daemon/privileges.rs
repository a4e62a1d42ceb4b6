//! Giving up root once there is nothing left that needs it.

use std::ffi::CString;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;

use anyhow::{Context, bail};
use nix::unistd::{Uid, User};

/// Looks up the user to become; `None` if the configuration names none.
pub fn target(user: &str) -> anyhow::Result<Option<User>> {
    if user.is_empty() {
        return Ok(None);
    }
    match User::from_name(user).with_context(|| format!("looking up the user \"{user}\""))? {
        Some(found) => Ok(Some(found)),
        None => bail!(
            "there is no user \"{user}\" on this system: make one (`useradd --system {user}`), or \
             set `user = \"\"` in [server] to stay who started the daemon"
        ),
    }
}

/// Makes `path` with `mode`, owned by `owner`, and what is missing above it, unless it exists.
pub fn make_folder(path: &Path, mode: u32, owner: Option<&User>) -> anyhow::Result<()> {
    // The folder of a relative path that names none is the one we are in.
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    // What lies above is everybody's way to it, and so has the usual mode.
    let made = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::create_dir_all(parent),
        _ => Ok(()),
    };
    made.and_then(|()| std::fs::DirBuilder::new().mode(mode).create(path))
        .with_context(|| format!("making the folder {}", path.display()))?;
    give(path, owner)
}

/// Gives `path` to `owner`, if that is not who we are already.
pub fn give(path: &Path, owner: Option<&User>) -> anyhow::Result<()> {
    match owner.filter(|owner| owner.uid != Uid::effective()) {
        Some(owner) => chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))
            .with_context(|| format!("giving {} to {}", path.display(), owner.name)),
        None => Ok(()),
    }
}

/// Becomes `user`, for good, and gives up every capability.
///
/// To be called before threads are started: capabilities belong to a thread.
pub fn drop_to(user: &User) -> anyhow::Result<()> {
    if user.uid != Uid::effective() {
        let name = CString::new(user.name.as_str()).context("the user's name")?;
        let became = nix::unistd::initgroups(&name, user.gid)
            .and_then(|()| nix::unistd::setresgid(user.gid, user.gid, user.gid))
            .and_then(|()| nix::unistd::setresuid(user.uid, user.uid, user.uid));
        became.with_context(|| {
            format!("becoming the user \"{}\" (only root can: start the daemon as root)", user.name)
        })?;
    }
    for set in [caps::CapSet::Ambient, caps::CapSet::Inheritable, caps::CapSet::Effective] {
        caps::clear(None, set).context("giving up capabilities")?;
    }
    caps::clear(None, caps::CapSet::Permitted).context("giving up capabilities")?;
    // Nor may a program that is started hereafter get any back.
    nix::sys::prctl::set_no_new_privs().context("giving up new privileges")?;
    let root = Uid::from_raw(0);
    if !user.uid.is_root() && nix::unistd::setresuid(root, root, root).is_ok() {
        bail!("root could be taken back after giving it up");
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
