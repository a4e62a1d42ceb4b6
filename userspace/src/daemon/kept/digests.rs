//! The digests that end the files of kept zones: what the octets before sum up to is found when a file is read, or ahead of
//! that, at a start, by a thread beside the one that has the programs verified.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use ring::digest;

use crate::daemon::store::LARGE;
use crate::dnssec::origin::{DIGEST_LEN, Digest};
use crate::files;

/// Octets that are read or written at once.
pub(super) const BUFFER: usize = 1 << 20;

/// Files that were opened to be summed up. Those that cannot be opened are left to who reads them, and so are small ones.
#[derive(Default)]
pub struct UnsummedFiles(Vec<File>);

impl UnsummedFiles {
    /// Opens files.
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> UnsummedFiles {
        let opened = paths.into_iter().filter_map(|path| files::open(&path).ok());
        let is_large =
            |file: &File| file.metadata().is_ok_and(|metadata| metadata.len() >= LARGE as u64);
        UnsummedFiles(opened.filter(is_large).collect())
    }

    /// Reads all of them.
    pub fn sum_up(self) -> KnownDigests {
        let known = self.0.iter().filter_map(|file| {
            let looks = Looks::of(file).ok()?;
            let ending = Ending::of(file, looks.content()?).ok()?;
            // What was written meanwhile was not there when it was read.
            (Looks::of(file).ok()? == looks).then_some((looks, ending))
        });
        KnownDigests(known.collect())
    }
}

/// What files were found to sum up to.
#[derive(Default)]
pub struct KnownDigests(BTreeMap<Looks, Ending>);

impl KnownDigests {
    /// The digest that ends a file.
    ///
    /// # Errors
    /// If it is not that of the octets before it, or the disk refuses to give them.
    pub(super) fn checked(&self, file: &File) -> anyhow::Result<Digest> {
        let looks = Looks::of(file)?;
        let content = looks.content().context("it is cut short")?;
        let Ending { found, told } = match self.0.get(&looks) {
            Some(known) => *known,
            None => Ending::of(file, content)?,
        };
        ensure!(found == told, "its digest does not match");
        Ok(told)
    }
}

/// By what a file is known again: device, inode, octets, and when its octets and its inode changed last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Looks {
    file: [u64; 2],
    octets: u64,
    changed: [(i64, i64); 2],
}

impl Looks {
    fn of(file: &File) -> io::Result<Looks> {
        let metadata = file.metadata()?;
        Ok(Looks {
            file: [metadata.dev(), metadata.ino()],
            octets: metadata.len(),
            changed: [
                (metadata.mtime(), metadata.mtime_nsec()),
                (metadata.ctime(), metadata.ctime_nsec()),
            ],
        })
    }

    /// Octets before the digest.
    fn content(&self) -> Option<u64> {
        self.octets.checked_sub(DIGEST_LEN as u64)
    }
}

/// What the octets of a file sum up to, and what its end says.
#[derive(Clone, Copy)]
struct Ending {
    found: Digest,
    told: Digest,
}

impl Ending {
    fn of(file: &File, content: u64) -> anyhow::Result<Ending> {
        let mut sum = digest::Context::new(&digest::SHA256);
        let mut buffer = vec![0; BUFFER.min(usize::try_from(content)?)];
        let mut at = 0;
        while at < content {
            let most = buffer.len().min(usize::try_from(content - at)?);
            match file.read_at(&mut buffer[..most], at) {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(len) => {
                    sum.update(&buffer[..len]);
                    at += len as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut told = [0; DIGEST_LEN];
        file.read_exact_at(&mut told, content)?;
        Ok(Ending { found: sum.finish().as_ref().try_into()?, told })
    }
}

/// Sums up what is written through it.
pub(super) struct Summed<T> {
    pub inner: T,
    pub sum: digest::Context,
}

impl<T: Write> Summed<T> {
    pub fn new(inner: T) -> Summed<T> {
        Summed { inner, sum: digest::Context::new(&digest::SHA256) }
    }
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(octets)?;
        self.sum.update(&octets[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A large file that ends with its digest.
    fn written(folder: &tempfile::TempDir, name: &str) -> PathBuf {
        let mut octets = b"a zone".repeat(LARGE / 6 + 1);
        let sum = digest::digest(&digest::SHA256, &octets);
        octets.extend(sum.as_ref());
        let path = folder.path().join(name);
        fs::write(&path, octets).unwrap();
        path
    }

    #[test]
    fn what_is_summed_up_ahead_is_what_is_found_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| written(&folder, name));
        let small = folder.path().join("small");
        fs::write(&small, [7; DIGEST_LEN]).unwrap();
        let missing = folder.path().join("missing");
        let ahead = UnsummedFiles::open([one.clone(), two.clone(), small.clone(), missing]);
        let (ahead, nothing) = (ahead.sum_up(), KnownDigests::default());
        assert_eq!(ahead.0.len(), 2);
        for known in [&ahead, &nothing] {
            let expected =
                &fs::read(&one).unwrap()[fs::metadata(&one).unwrap().len() as usize - DIGEST_LEN..];
            assert_eq!(known.checked(&File::open(&one).unwrap()).unwrap(), expected);
            let error = known.checked(&File::open(&small).unwrap()).unwrap_err();
            assert_eq!(error.to_string(), "its digest does not match");
        }
        fs::write(&small, [7; DIGEST_LEN - 1]).unwrap();
        assert!(ahead.checked(&File::open(&small).unwrap()).is_err());
    }

    /// What is known of a file holds for no other octets: those that are written to it later, or another file in its place.
    #[test]
    fn a_file_that_changed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| written(&folder, name));
        let ahead = UnsummedFiles::open([one.clone(), two.clone()]).sum_up();
        let file = fs::OpenOptions::new().read(true).write(true).open(&one).unwrap();
        file.write_all_at(b"another", 3).unwrap();
        assert!(ahead.checked(&file).is_err());
        fs::rename(&one, &two).unwrap();
        assert!(ahead.checked(&File::open(&two).unwrap()).is_err());
    }
}
