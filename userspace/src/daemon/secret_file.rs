//! Files that hold a secret, which only their owner may read.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{anyhow, bail};

use crate::files;

/// Opens one.
///
/// # Errors
/// If it cannot be opened, or others may read it.
pub fn open(path: &Path) -> anyhow::Result<File> {
    let file = files::open(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            anyhow!(
                "{error}: it must belong to the user that the daemon runs as (`user` in [server])"
            )
        }
        _ => error.into(),
    })?;
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        bail!("has mode {mode:04o}; run chmod 600 {}", path.display());
    }
    Ok(file)
}
