//! What tells a changed file from an unchanged one.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file looked like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    len: u64,
    /// Seconds since 1970 and nanoseconds.
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    /// Looks at the file now; `None` if it cannot be seen.
    pub fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            path: path.to_owned(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        })
    }

    /// Whether the file still looks the same.
    pub fn holds(&self) -> bool {
        Stamp::of(&self.path).as_ref() == Some(self)
    }

    /// How long it was, in octets.
    pub fn octets(&self) -> u64 {
        self.len
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it for [`Stamp::read`].
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let path = self.path.as_os_str().as_bytes();
        out.write_all(&(path.len() as u32).to_be_bytes())?;
        out.write_all(path)?;
        let (seconds, nanoseconds) = self.modified;
        let numbers = [self.len, seconds as u64, nanoseconds as u64, self.inode];
        out.write_all(numbers.map(u64::to_be_bytes).as_flattened())
    }

    /// Reads what [`Stamp::write`] wrote.
    pub fn read(from: &mut impl Read) -> io::Result<Stamp> {
        let mut len = [0; 4];
        from.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len).into();
        let mut path = Vec::new();
        // No more memory than there are octets.
        from.take(len).read_to_end(&mut path)?;
        let mut numbers = [[0; 8]; 4];
        from.read_exact(numbers.as_flattened_mut())?;
        let [len, seconds, nanoseconds, inode] = numbers.map(u64::from_be_bytes);
        let path = PathBuf::from(OsString::from_vec(path));
        Ok(Stamp { path, len, modified: (seconds as i64, nanoseconds as i64), inode })
    }
}
