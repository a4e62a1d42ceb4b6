//! Differences appended to a journal, and what follows from a disk that is full or fails.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::error::JournalError;
use super::format::{Entry, Frame, Header, PREFIX, Place};
use crate::files;
use crate::zone::Name;

/// By how many octets a file grows at least: where it does not grow, a sync writes its octets alone and not its length.
const LEAST_STEP: u64 = 4 << 10;

/// By how many octets a file grows at most; in between by a quarter.
const STEP: u64 = 1 << 20;

/// Octets of frames that lead back from a base, at most: as long as they are written, no change is.
const MOST_BACK: u64 = 16 << 20;

/// Rights of the file, less what the umask takes: records of a zone are not for all to read at once.
const MODE: u32 = 0o600;

/// Where a journal is written to: a file, but in tests of disks that fail.
pub trait Storage {
    /// Writes all octets at a place, behind the end too.
    ///
    /// # Errors
    /// If it cannot; some of them may be written then.
    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()>;

    /// Returns once what was written is on the disk.
    ///
    /// # Errors
    /// If that is not known.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file of a journal. It is open from a write to the sync that follows: with a hundred thousand zones there are not as
/// many descriptors.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    open: Option<File>,
}

impl JournalFile {
    fn open(&mut self) -> io::Result<&File> {
        let file = match self.open.take() {
            Some(file) => file,
            None => OpenOptions::new().write(true).open(&self.path)?,
        };
        Ok(self.open.insert(file))
    }
}

impl Storage for JournalFile {
    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()> {
        self.open()?.write_all_at(octets, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.open().and_then(File::sync_data);
        self.open = None;
        synced
    }
}

/// How large a journal may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Octets of the file. What exceeds them is refused until the journal is trimmed, for which it is time at half
    /// of them ([`Journal::is_trim_due`]).
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
pub struct Journal<S = JournalFile> {
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
    /// That of the last frame.
    place: Place,
}

impl Journal {
    /// Begins a journal behind a place, instead of whatever was there; it is on the disk when this returns.
    ///
    /// # Errors
    /// If the disk refuses: what was there before is still there then.
    pub fn create(
        path: &Path,
        apex: &Name,
        before: Place,
        limits: Limits,
    ) -> Result<Journal, JournalError> {
        Journal::put(path, &Header { apex: apex.clone(), before }, &[], limits)
    }

    /// Goes on behind the last frame of a journal that was read from this file.
    pub fn behind(path: &Path, contents: &Contents, limits: Limits) -> Journal {
        Journal::on(JournalFile { path: path.to_owned(), open: None }, contents, limits)
    }

    /// Leaves out frames that led to the version at `base`, which is kept elsewhere: of these the newest stay that fit into
    /// a quarter of the limit, and into 16 MiB, to lead back. All that lead on from it stay. A journal that failed is one
    /// again. Returns how many octets the file has up to those that lead on.
    ///
    /// # Errors
    /// If the disk refuses: the journal is as it was then.
    pub fn trim(&mut self, base: &Place) -> Result<u64, JournalError> {
        let path = self.storage.path.clone();
        let mut file = files::read(&path).map_err(JournalError::Read)?;
        // What was written and never synced was not acknowledged.
        file.truncate(usize::try_from(self.synced.at).unwrap_or(usize::MAX));
        let old = Contents::read(file)?;
        let led = old.count_to(base).ok_or(JournalError::OtherPlace)?;
        let mut room = (self.limits.octets / 4).min(MOST_BACK);
        let fits = |place: &&std::ops::Range<usize>| {
            let rest = room.checked_sub(place.len() as u64);
            rest.map(|rest| room = rest).is_some()
        };
        let back = old.frames[..led].iter().rev().take_while(fits).count();
        let kept: Vec<&[u8]> =
            old.frames[led - back..].iter().map(|place| old.octets(place)).collect();
        let before = match kept.first().and_then(|first| Frame::read(first)) {
            Some(first) => Place { sequence: first.sequence - 1, hash: first.before },
            None => *old.last(),
        };
        let header = Header { apex: old.apex().clone(), before };
        let forward: usize = kept[back..].iter().map(|frame| frame.len()).sum();
        *self = Journal::put(&path, &header, &kept, self.limits)?;
        Ok(self.written.at - forward as u64)
    }

    fn put(
        path: &Path,
        header: &Header,
        frames: &[&[u8]],
        limits: Limits,
    ) -> Result<Journal, JournalError> {
        let mut octets = Vec::new();
        header.write(&mut octets);
        frames.iter().for_each(|frame| octets.extend_from_slice(frame));
        octets.resize(grown(octets.len() as u64) as usize, 0);
        files::replace(path, MODE, &octets).map_err(JournalError::Write)?;
        Ok(Journal::behind(path, &Contents::read(octets)?, limits))
    }
}

/// The length of a file that has room for so many octets and some more.
fn grown(needed: u64) -> u64 {
    let step = (needed / 4).clamp(LEAST_STEP, STEP);
    (needed + step).next_multiple_of(LEAST_STEP)
}

impl<S: Storage> Journal<S> {
    /// The journal behind what is in its file.
    pub(super) fn on(storage: S, contents: &Contents, limits: Limits) -> Journal<S> {
        let tail = Tail { at: contents.end() as u64, place: *contents.last() };
        let allocated = contents.file_len() as u64;
        Journal { storage, limits, allocated, synced: tail, written: tail, has_failed: false }
    }

    /// Writes differences behind those that are there. They are on the disk once [`Journal::sync`] returns, one call for
    /// all that were appended until then. What was written, and is to be synced, can be taken back ([`Journal::retract`]).
    ///
    /// # Errors
    /// If there is no room, or the journal failed: none of them is in the journal then, and what was there before is.
    pub fn append(&mut self, entries: &[Entry<'_>]) -> Result<(), JournalError> {
        if self.has_failed {
            return Err(JournalError::Failed);
        }
        let mut octets = Vec::new();
        let Tail { at, mut place } = self.written;
        for entry in entries {
            let written = entry.write(&place, &mut octets);
            let needed = at + octets.len() as u64 + PREFIX as u64;
            let limit = self.limits.octets;
            place = written
                .filter(|_| needed <= limit)
                .ok_or(JournalError::TooLarge { needed, limit })?;
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
        self.written = Tail { at: end, place };
        Ok(())
    }

    /// Makes the file as long as needed, and zeros of what is new.
    fn allocate(&mut self, needed: u64) -> Result<(), JournalError> {
        if needed <= self.allocated {
            return Ok(());
        }
        let end = grown(needed);
        let zeros = vec![0; (end - self.allocated) as usize];
        self.storage.write_at(&zeros, self.allocated).map_err(JournalError::Write)?;
        self.allocated = end;
        Ok(())
    }

    /// Returns once all that was appended is on the disk.
    ///
    /// # Errors
    /// If that is not known. What was appended since the last sync counts as refused, and the journal takes nothing
    /// until it is trimmed: after a failed fsync the kernel may take the octets for written.
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

    /// Takes back what was appended last, synced or not: the journal ends again at a place where it ended before, of which
    /// the file's octets were `octets` ([`Journal::octets`]).
    ///
    /// # Errors
    /// If that is not known to be on the disk. The journal takes nothing until it is trimmed then.
    pub fn retract(&mut self, place: Place, octets: u64) -> Result<(), JournalError> {
        if self.has_failed {
            return Err(JournalError::Failed);
        }
        let tail = Tail { at: octets, place };
        (self.synced, self.written) = (tail, tail);
        let undone = self.storage.write_at(&[0; PREFIX], octets);
        undone.and_then(|()| self.storage.sync()).map_err(|error| {
            self.has_failed = true;
            JournalError::Sync(error)
        })
    }

    /// Whether it takes no more until it is trimmed.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether a later base should be made, and the journal be trimmed: half of the octets are used.
    pub fn is_trim_due(&self) -> bool {
        self.has_failed || self.written.at > self.limits.octets / 2
    }

    /// The place of the version to which the frames on the disk lead.
    pub fn last(&self) -> &Place {
        &self.synced.place
    }

    /// Octets of the file that have something in them.
    pub fn octets(&self) -> u64 {
        self.written.at
    }
}
