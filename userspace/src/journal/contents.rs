//! What is in the file of a journal, up to where it is right.

use std::ops::Range;
use std::path::Path;

use super::error::JournalError;
use super::format::{CutReason, Frame, Header, Place, frame_at};
use crate::files;
use crate::zone::Name;

/// What is in the file of a journal. It has the octets of the file and a place for each frame, and nothing else.
#[derive(Clone, Debug)]
pub struct Contents {
    file: Vec<u8>,
    pub(super) header: Header,
    /// Octets of the header.
    start: usize,
    pub(super) frames: Vec<Range<usize>>,
    /// That of the last frame.
    last: Place,
    cut: Option<Cut>,
}

/// Where a journal is no more right. What lies before is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Octets from the start of the file.
    pub at: usize,
    /// The number of the frame that should be there.
    pub sequence: u64,
    /// What is wrong there.
    pub reason: CutReason,
}

impl Contents {
    /// Reads the journal of a zone.
    ///
    /// # Errors
    /// If it cannot be read, or is none, one of a newer format or another zone's.
    pub fn open(path: &Path, apex: &Name) -> Result<Contents, JournalError> {
        let contents = Contents::read(files::read(path).map_err(JournalError::Read)?)?;
        match contents.apex() == apex {
            true => Ok(contents),
            false => {
                let found = contents.apex().clone();
                Err(JournalError::OtherZone { found, wanted: apex.clone() })
            }
        }
    }

    /// Reads the octets of a file.
    ///
    /// # Errors
    /// If it does not begin as a journal, or as one of a newer format.
    pub fn read(file: Vec<u8>) -> Result<Contents, JournalError> {
        let (header, start) = Header::read(&file)?;
        let (mut frames, mut last, mut at) = (Vec::new(), header.before, start);
        let mut cut = None;
        while let Some(octets) = frame_at(&file, at) {
            match octets.and_then(|octets| checked(octets, &last)) {
                Ok((len, place)) => {
                    frames.push(at..at + len);
                    (last, at) = (place, at + len);
                }
                Err(reason) => {
                    cut = Some(Cut { at, sequence: last.sequence.saturating_add(1), reason });
                    break;
                }
            }
        }
        let is_more = file[at..].iter().any(|octet| *octet != 0);
        let sequence = last.sequence.saturating_add(1);
        let behind = Cut { at, sequence, reason: CutReason::Behind };
        let cut = cut.or(is_more.then_some(behind));
        Ok(Contents { file, header, start, frames, last, cut })
    }

    /// The zone.
    pub fn apex(&self) -> &Name {
        &self.header.apex
    }

    /// The place of the version to which all frames lead: without any, the one behind which the first would come.
    pub fn last(&self) -> &Place {
        &self.last
    }

    /// Where the file is no more right, if it is not all right.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// The frames that lead on from a place, the oldest first. `None` if none of the frames leads to it, and the first
    /// one does not lead on from it.
    pub fn after(
        &self,
        place: &Place,
    ) -> Option<impl ExactSizeIterator<Item = Frame<'_>> + DoubleEndedIterator> {
        let count = self.count_to(place)?;
        Some(self.frames[count..].iter().map(|place| self.frame(place)))
    }

    /// All frames, the newest first. The reverse of each leads back.
    pub fn backward(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        self.frames.iter().rev().map(|place| self.frame(place))
    }

    /// The frames that led to a place, the newest first. `None` if none of the frames leads to it, and the first one does
    /// not lead on from it.
    pub fn before(&self, place: &Place) -> Option<impl ExactSizeIterator<Item = Frame<'_>>> {
        let count = self.count_to(place)?;
        Some(self.frames[..count].iter().rev().map(|place| self.frame(place)))
    }

    /// Octets of the file up to the end of the frame that leads to a place.
    pub fn octets_to(&self, place: &Place) -> Option<u64> {
        let last = self.count_to(place)?.checked_sub(1);
        Some(last.map_or(self.start, |last| self.frames[last].end) as u64)
    }

    /// How many frames there are up to a place, with that which leads to it.
    pub(super) fn count_to(&self, place: &Place) -> Option<usize> {
        let count = place.sequence.checked_sub(self.header.before.sequence)?;
        let count = usize::try_from(count).ok().filter(|count| *count <= self.frames.len())?;
        let found = match count.checked_sub(1) {
            Some(index) => self.frame(&self.frames[index]).place(),
            None => self.header.before,
        };
        (found == *place).then_some(count)
    }

    /// Leaves out all frames behind a place: they fit no version, for a reason that only who uses them can see.
    pub fn cut_behind(&mut self, place: &Place) {
        let Some(count) = self.count_to(place).filter(|count| *count < self.frames.len()) else {
            return;
        };
        let (at, sequence) = (self.frames[count].start, place.sequence + 1);
        self.frames.truncate(count);
        self.last = *place;
        self.cut = Some(Cut { at, sequence, reason: CutReason::Unfit });
    }

    /// Octets of the file up to the end of the last frame.
    pub(super) fn end(&self) -> usize {
        self.frames.last().map_or(self.start, |last| last.end)
    }

    /// Octets of the file.
    pub fn file_len(&self) -> usize {
        self.file.len()
    }

    pub(super) fn octets(&self, place: &Range<usize>) -> &[u8] {
        &self.file[place.clone()]
    }

    fn frame(&self, place: &Range<usize>) -> Frame<'_> {
        Frame::read(self.octets(place)).expect("it was read when the file was")
    }
}

/// The length and the place of a frame that is the next one.
fn checked(octets: &[u8], last: &Place) -> Result<(usize, Place), CutReason> {
    let frame = Frame::read(octets).ok_or(CutReason::Malformed)?;
    match () {
        () if Some(frame.sequence) != last.sequence.checked_add(1) => Err(CutReason::Sequence),
        () if frame.before != last.hash => Err(CutReason::Chain),
        () => Ok((octets.len(), frame.place())),
    }
}
