//! Where XDP is pinned, and what becomes of it when the daemon ends.

use std::path::{Path, PathBuf};

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

/// Where the commands look for pins when no configuration says.
pub const DEFAULT_PIN: &str = "/sys/fs/bpf/sealdns";

/// A folder on a BPF file system, by an absolute path; or none, and XDP ends with the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PinFolder(Option<PathBuf>);

impl PinFolder {
    /// The folder, if there is to be one.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl<'de> Deserialize<'de> for PinFolder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(PinFolder(None));
        }
        // The folder is removed with all that is in it.
        let path = PathBuf::from(&text);
        if !path.is_absolute() || path.parent().is_none_or(|parent| parent.parent().is_none()) {
            let message = format!(
                "\"{text}\" is not a folder for pins: write one that only sealdns uses, on a BPF file \
                 system, such as \"{DEFAULT_PIN}\""
            );
            return Err(de::Error::custom(message));
        }
        Ok(PinFolder(Some(path)))
    }
}

/// What becomes of XDP that is pinned when the daemon is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExit {
    /// It is detached, and the pins are removed.
    Detach,
    /// It stays and answers.
    Keep,
}
