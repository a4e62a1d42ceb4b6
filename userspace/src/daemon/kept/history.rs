//! The versions of a zone that led to the one that is served, as the journal has them.

use super::facts::KeptFacts;
use crate::dnssec::origin::Origin;
use crate::journal::{Contents, Frame, FrameKind, JournalError, MalformedFrame, Place};
use crate::zone::difference::{ApplyError, Difference, Rules, Size};
use crate::zone::{Serial, Version};

/// The changes that led to a version.
pub struct History {
    /// Nothing is known of what was before without them.
    contents: Option<(Contents, Place)>,
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PastChange {
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// What made it.
    pub kind: FrameKind,
    /// The serials of the version before and of the one after it.
    pub serials: [Serial; 2],
    /// How many records it changed: of a signed zone those of DNSSEC too.
    pub size: Size,
}

/// A version that was served before.
#[derive(Clone)]
pub struct PastVersion {
    /// Its records, without what stands beside them.
    pub zone: Version,
    /// What it was made of, if sealdns signed it and that is known.
    pub origin: Option<Origin>,
}

/// Why it is not known what was before.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A frame is none that is written here.
    #[error(transparent)]
    Frame(#[from] MalformedFrame),
    /// A frame does not lead to the version after it.
    #[error("the journal does not lead back: {0}")]
    Apply(#[from] ApplyError),
    /// No change is known.
    #[error("no change that led to serial {0} is known")]
    None(Serial),
    /// No version had this serial, or it is too long ago.
    #[error("no version with serial {0} is known: `sealdns zone history` lists those that are")]
    Unknown(Serial),
}

impl History {
    /// What a journal says of the version at this place.
    pub(super) fn new(contents: Contents, place: Place) -> History {
        History { contents: Some((contents, place)) }
    }

    /// Nothing.
    pub(super) fn empty() -> History {
        History { contents: None }
    }

    /// The newest first.
    fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let contents = self.contents.as_ref();
        contents.and_then(|(contents, place)| contents.before(place)).into_iter().flatten()
    }

    /// What each change has changed, the newest first.
    pub fn differences(&self) -> impl Iterator<Item = Result<Difference, HistoryError>> {
        let apex = self.contents.as_ref().map(|(contents, _)| contents.apex());
        self.frames()
            .zip(apex.into_iter().cycle())
            .map(|(frame, apex)| Ok(frame.differences(apex)?.0))
    }

    /// All changes, the newest first; those that changed no record are left out.
    ///
    /// # Errors
    /// If the journal has something else in it.
    pub fn changes(&self) -> Result<Vec<PastChange>, HistoryError> {
        let mut changes = Vec::new();
        let Some((contents, _)) = &self.contents else { return Ok(changes) };
        for frame in self.frames() {
            let change = frame.differences(contents.apex())?.0;
            if change.is_empty() {
                continue;
            }
            let Frame { time, kind, serials, .. } = frame;
            changes.push(PastChange { time, kind, serials, size: Size::of(&change) });
        }
        Ok(changes)
    }

    /// The newest version that had this serial, from which the changes led to `served`.
    ///
    /// # Errors
    /// If none is known.
    pub fn version(&self, served: &Version, serial: Serial) -> Result<PastVersion, HistoryError> {
        let mut zone = served.clone();
        let mut frames = self.frames().peekable();
        while zone.serial() != serial {
            let frame = frames.next().ok_or(HistoryError::Unknown(serial))?;
            let change = frame.differences(served.apex())?.0;
            zone = zone.apply(&change.reversed(), Rules::Strict)?;
        }
        // The frame that led to it knows what it was made of.
        let facts = frames.peek().and_then(|frame| KeptFacts::read(&mut &*frame.facts).ok());
        Ok(PastVersion { zone, origin: facts.and_then(|facts| facts.origin) })
    }

    /// The serial of the version before `served`.
    ///
    /// # Errors
    /// If none is known.
    pub fn serial_before(&self, served: &Version) -> Result<Serial, HistoryError> {
        let changes = self.changes()?;
        let last = changes.first().ok_or(HistoryError::None(served.serial()))?;
        Ok(last.serials[0])
    }

    /// What changed from one version to another, either of which may be the newer one.
    ///
    /// # Errors
    /// If one of them is not known.
    pub fn difference(
        &self,
        served: &Version,
        from: Serial,
        to: Serial,
    ) -> Result<Difference, HistoryError> {
        let [from, to] = [self.version(served, from)?, self.version(served, to)?];
        Ok(Difference::between_versions(&from.zone, &to.zone))
    }
}
