//! The key with which names are hashed, kept for the next start: zones that were compiled have hashes in them
//! (`kept/compiled.rs`).
//!
//! Who knows it could choose names that crowd in one bucket of the table, so the file is our user's alone, and each state
//! directory has another.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::anyhow;
use ring::rand::SecureRandom;

use crate::files;

/// The file, in the state directory.
const FILE: &str = "hash.key";

/// The key that is kept in a state directory; if there is none, or it is not a key that nobody else may read, it is made.
///
/// # Errors
/// If it cannot be kept: then what was compiled is of no use at the next start.
pub fn kept_in(folder: &Path) -> anyhow::Result<u64> {
    let path = folder.join(FILE);
    match read(&path) {
        Ok(Some(key)) => return Ok(key),
        Ok(None) => tracing::warn!(
            "{} is no key, or others may read it: another one is made",
            path.display()
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(anyhow!("{}: {error}", path.display())),
    }
    let mut octets = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| anyhow!("the random number generator of the system failed"))?;
    files::replace(&path, 0o600, &octets)
        .map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(u64::from_le_bytes(octets))
}

fn read(path: &Path) -> io::Result<Option<u64>> {
    let is_ours_alone = files::open(path)?.metadata()?.mode() & 0o077 == 0;
    let octets = files::read(path)?;
    Ok(octets.try_into().ok().map(u64::from_le_bytes).filter(|_| is_ours_alone))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_kept_and_one_that_others_know_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = kept_in(folder.path()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(kept_in(folder.path()).unwrap(), first);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let second = kept_in(folder.path()).unwrap();
        assert_ne!(second, first);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::write(&path, b"short").unwrap();
        assert_ne!(kept_in(folder.path()).unwrap(), second);
        assert!(kept_in(&folder.path().join("missing")).is_err());
    }
}
