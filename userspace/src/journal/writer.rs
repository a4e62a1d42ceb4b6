//! Differences appended to a journal, and what follows from a disk that is full or fails.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::contents::Contents;
use super::error::JournalError;
use super::format::{Digest, Entry, Frame, Header, PREFIX};
use crate::files;
use crate::zone::Name;

/// By how many octets a file grows: where it does not grow, a sync writes its octets alone and not its length.
const STEP: u64 = 1 << 20;

/// Rights of the file, less what the umask takes: what is in it anybody may ask for, but not at once.
const MODE: u32 = 0o640;

/// Where a journal is written to: a file, but in tests of disks that fail.
pub trait Storage {
    /// Writes all octets at a place, behind the end too.
    ///
    /// # Errors
    /// If it cannot; some of them may be written then.
    fn write_at(&self, octets: &[u8], at: u64) -> io::Result<()>;

    /// Returns once what was written is on the disk.
    ///
    /// # Errors
    /// If that is not known.
    fn sync(&self) -> io::Result<()>;
}

impl Storage for File {
    fn write_at(&self, octets: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(octets, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// How large a journal may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Octets of the file. What exceeds them is refused until the journal is rewritten, for which it is time at half
    /// of them ([`Journal::is_rewrite_due`]).
    pub octets: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        // No official reference: some 100,000 changes of one RRset each.
        Limits { octets: 256 << 20 }
    }
}

/// A journal that is written to.
#[derive(Debug)]
pub struct Journal<S = File> {
    storage: S,
    limits: Limits,
    /// How long the file is.
    allocated: u64,
    /// What is on the disk.
    synced: Tail,
    /// What is written, or else as `synced`.
    written: Tail,
    /// A write or a sync failed in such a way that what is in the file is not known.
    has_failed: bool,
}

/// The end of the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tail {
    /// Octets from the start of the file.
    at: u64,
    /// The number of the next frame.
    sequence: u64,
    /// The hash of the last frame.
    last: Digest,
}

impl Journal {
    /// Begins a journal in the place of whatever was there; it is on the disk when this returns.
    ///
    /// # Errors
    /// If the disk refuses: what was there before is still there then.
    pub fn create(
        path: &Path,
        apex: &Name,
        base: Digest,
        limits: Limits,
    ) -> Result<Journal, JournalError> {
        let header =
            Header { apex: apex.clone(), base, base_sequence: 0, first_sequence: 1, before: base };
        Ok(Journal::put(path, &header, &[], limits)?.0)
    }

    /// Reads a journal that leads on from this base, and goes on behind its last frame that is right.
    ///
    /// # Errors
    /// If it cannot be read, is none, or is of another zone, base or time to come.
    pub fn open(
        path: &Path,
        apex: &Name,
        base: &Digest,
        limits: Limits,
    ) -> Result<(Journal, Contents), JournalError> {
        let contents = Contents::read(files::read(path).map_err(JournalError::Read)?)?;
        if contents.apex() != apex {
            let found = contents.apex().clone();
            return Err(JournalError::OtherZone { found, wanted: apex.clone() });
        }
        if contents.base() != base {
            return Err(JournalError::OtherBase);
        }
        let file = OpenOptions::new().write(true).open(path).map_err(JournalError::Write)?;
        Ok((Journal::behind(file, &contents, limits), contents))
    }

    /// Puts a journal in the place of this one that leads on from another base: the version that the frames on the disk
    /// lead to. Of these the newest stay that fit into a quarter of the limit, to lead back. A journal that failed is
    /// one again.
    ///
    /// # Errors
    /// If the disk refuses: the journal is as it was then.
    pub fn rewrite(&mut self, path: &Path, base: Digest) -> Result<Contents, JournalError> {
        let mut file = files::read(path).map_err(JournalError::Read)?;
        // What was written and never synced was not acknowledged.
        file.truncate(usize::try_from(self.synced.at).unwrap_or(usize::MAX));
        let old = Contents::read(file)?;
        let mut room = self.limits.octets / 4;
        let fits = |place: &&std::ops::Range<usize>| {
            let rest = room.checked_sub(place.len() as u64);
            rest.map(|rest| room = rest).is_some()
        };
        let kept: Vec<&[u8]> =
            old.frames.iter().rev().take_while(fits).map(|place| old.octets(place)).collect();
        let kept: Vec<&[u8]> = kept.into_iter().rev().collect();
        let base_sequence = self.synced.sequence - 1;
        let header = Header {
            apex: old.apex().clone(),
            base,
            base_sequence,
            first_sequence: base_sequence + 1 - kept.len() as u64,
            before: match kept.first().and_then(|first| Frame::read(first)) {
                Some(first) => first.before,
                None => self.synced.last,
            },
        };
        let (journal, contents) = Journal::put(path, &header, &kept, self.limits)?;
        *self = journal;
        Ok(contents)
    }

    fn put(
        path: &Path,
        header: &Header,
        frames: &[&[u8]],
        limits: Limits,
    ) -> Result<(Journal, Contents), JournalError> {
        let mut octets = Vec::new();
        header.write(&mut octets);
        frames.iter().for_each(|frame| octets.extend_from_slice(frame));
        octets.resize(octets.len().next_multiple_of(STEP as usize), 0);
        files::replace(path, MODE, &octets).map_err(JournalError::Write)?;
        let file = OpenOptions::new().write(true).open(path).map_err(JournalError::Write)?;
        let contents = Contents::read(octets)?;
        Ok((Journal::behind(file, &contents, limits), contents))
    }
}

impl<S: Storage> Journal<S> {
    /// The journal behind what is in its file.
    pub(super) fn behind(storage: S, contents: &Contents, limits: Limits) -> Journal<S> {
        let tail = Tail {
            at: contents.end() as u64,
            sequence: contents.next_sequence(),
            last: contents.last,
        };
        Journal {
            storage,
            limits,
            allocated: contents.file_len() as u64,
            synced: tail,
            written: tail,
            has_failed: contents.lacks_history(),
        }
    }

    /// Writes differences behind those that are there. They are on the disk once [`Journal::sync`] returns, one call for
    /// all that were appended until then.
    ///
    /// # Errors
    /// If there is no room, or the journal failed: none of them is in the journal then, and what was there before is.
    pub fn append(&mut self, entries: &[Entry<'_>]) -> Result<(), JournalError> {
        if self.has_failed {
            return Err(JournalError::Failed);
        }
        let mut octets = Vec::new();
        let Tail { at, mut sequence, mut last } = self.written;
        for entry in entries {
            let written = entry.write(sequence, &last, &mut octets);
            let needed = at + octets.len() as u64 + PREFIX as u64;
            let limit = self.limits.octets;
            last = written
                .filter(|_| needed <= limit)
                .ok_or(JournalError::TooLarge { needed, limit })?;
            sequence += 1;
        }
        let end = at + octets.len() as u64;
        // Behind the last frame there is none: one that was refused before would follow if this one was refused with it.
        octets.extend_from_slice(&[0; PREFIX]);
        self.allocate(end + PREFIX as u64)?;
        if let Err(error) = self.storage.write_at(&octets, at) {
            // Frames that were refused must not be there after a restart.
            octets.fill(0);
            let undone = self.storage.write_at(&octets, at).and_then(|()| self.storage.sync());
            match undone {
                Ok(()) => self.synced = self.written,
                Err(_) => (self.has_failed, self.written) = (true, self.synced),
            }
            return Err(JournalError::Write(error));
        }
        self.written = Tail { at: end, sequence, last };
        Ok(())
    }

    /// Makes the file as long as needed, and zeros of what is new.
    fn allocate(&mut self, needed: u64) -> Result<(), JournalError> {
        if needed <= self.allocated {
            return Ok(());
        }
        let end = needed.next_multiple_of(STEP);
        let zeros = vec![0; (end - self.allocated) as usize];
        self.storage.write_at(&zeros, self.allocated).map_err(JournalError::Write)?;
        self.allocated = end;
        Ok(())
    }

    /// Returns once all that was appended is on the disk.
    ///
    /// # Errors
    /// If that is not known. What was appended since the last sync counts as refused, and the journal takes nothing
    /// until it is rewritten: after a failed fsync the kernel may take the octets for written.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if self.has_failed {
            return Err(JournalError::Failed);
        }
        if self.written == self.synced {
            return Ok(());
        }
        if let Err(error) = self.storage.sync() {
            // So that a restart does not find what was refused, if the disk still does that.
            let _ = self.storage.write_at(&[0; PREFIX], self.synced.at);
            (self.has_failed, self.written) = (true, self.synced);
            return Err(JournalError::Sync(error));
        }
        self.synced = self.written;
        Ok(())
    }

    /// Whether it takes no more until it is rewritten.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether a later base should be made: half of the octets are used.
    pub fn is_rewrite_due(&self) -> bool {
        self.has_failed || self.written.at > self.limits.octets / 2
    }

    /// The digest of the version that the frames on the disk lead to, if there are any: the hash of the last of them.
    pub fn last_hash(&self) -> &Digest {
        &self.synced.last
    }

    /// Octets of the file that have something in them.
    pub fn octets(&self) -> u64 {
        self.written.at
    }
}
