//! What is in the file of a journal, up to where it is right.

use std::ops::Range;

use super::error::JournalError;
use super::format::{CutReason, Digest, Frame, Header, frame_at};
use crate::zone::Name;

/// What is in the file of a journal. It has the octets of the file and a place for each frame, and nothing else.
#[derive(Clone, Debug)]
pub struct Contents {
    file: Vec<u8>,
    pub(super) header: Header,
    /// Octets of the header.
    start: usize,
    pub(super) frames: Vec<Range<usize>>,
    /// The hash of the last frame.
    pub(super) last: Digest,
    cut: Option<Cut>,
}

/// Where a journal is no more right. What lies before is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Octets from the start of the file.
    pub at: usize,
    /// What is wrong there.
    pub reason: CutReason,
}

impl Contents {
    /// Reads the octets of a file.
    ///
    /// # Errors
    /// If it does not begin as a journal, or as one of a newer format.
    pub fn read(file: Vec<u8>) -> Result<Contents, JournalError> {
        let (header, start) = Header::read(&file)?;
        let (mut frames, mut last, mut at) = (Vec::new(), header.before, start);
        let mut cut = None;
        while let Some(octets) = frame_at(&file, at) {
            let sequence = header.first_sequence.wrapping_add(frames.len() as u64);
            match octets.and_then(|octets| checked(octets, sequence, &last)) {
                Ok((len, hash)) => {
                    frames.push(at..at + len);
                    (last, at) = (hash, at + len);
                }
                Err(reason) => {
                    cut = Some(Cut { at, reason });
                    break;
                }
            }
        }
        let is_more = file[at..].iter().any(|octet| *octet != 0);
        let behind = Cut { at, reason: CutReason::Behind };
        let cut = cut.or(is_more.then_some(behind));
        let mut contents = Contents { file, header, start, frames, last, cut };
        if contents.lacks_history() {
            // What is left does not reach to the base, and nothing leads on from it.
            contents.frames.clear();
        }
        Ok(contents)
    }

    /// The zone.
    pub fn apex(&self) -> &Name {
        &self.header.apex
    }

    /// The digest of the base.
    pub fn base(&self) -> &Digest {
        &self.header.base
    }

    /// The digest of the version that all frames lead to: that of the base without any.
    pub fn digest(&self) -> &Digest {
        if self.forward().len() == 0 { self.base() } else { &self.last }
    }

    /// Where the file is no more right, if it is not all right.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// The frames that lead on from the base, the oldest first.
    pub fn forward(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        self.frames[self.history()..].iter().map(|place| self.frame(place))
    }

    /// All frames, the newest first: those that led to the base, too. The reverse of each leads back.
    pub fn backward(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        self.frames.iter().rev().map(|place| self.frame(place))
    }

    /// How many frames led to the base.
    fn history(&self) -> usize {
        let Header { base_sequence, first_sequence, .. } = self.header;
        let led = base_sequence.saturating_add(1).saturating_sub(first_sequence);
        self.frames.len().min(usize::try_from(led).unwrap_or(usize::MAX))
    }

    /// Whether frames that led to the base are missing, and with them all that may have led on.
    pub(super) fn lacks_history(&self) -> bool {
        let Header { base_sequence, first_sequence, .. } = self.header;
        first_sequence.saturating_add(self.frames.len() as u64) <= base_sequence
    }

    /// The number of the frame that comes next.
    pub(super) fn next_sequence(&self) -> u64 {
        let Header { base_sequence, first_sequence, .. } = self.header;
        let behind = first_sequence.saturating_add(self.frames.len() as u64);
        behind.max(base_sequence.saturating_add(1))
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

/// The length and the hash of a frame that is the next.
fn checked(octets: &[u8], sequence: u64, last: &Digest) -> Result<(usize, Digest), CutReason> {
    let frame = Frame::read(octets).ok_or(CutReason::Malformed)?;
    match () {
        () if frame.sequence != sequence => Err(CutReason::Sequence),
        () if frame.before != *last => Err(CutReason::Chain),
        () => Ok((octets.len(), frame.hash())),
    }
}
