//! What the loader does, in whichever process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::folder::{Folder, PinsError};
use super::request::{Refusal, Reply, Request};
use crate::datapath::link::Link;

/// What does the requests.
#[derive(Debug)]
pub struct Work {
    pins: Option<PathBuf>,
    folder: Option<Folder>,
}

impl Work {
    /// Pins go to this folder, if to any; it is not opened yet.
    pub fn new(pins: Option<PathBuf>) -> Work {
        Work { pins, folder: None }
    }

    /// Goes on where another process has opened the folder.
    pub fn taken_over(pins: Option<PathBuf>, held: Option<OwnedFd>) -> Work {
        let folder = held.and_then(|held| Some(Folder::from_descriptor(pins.clone()?, held)));
        Work { pins, folder }
    }

    /// Where pins go.
    pub fn pins(&self) -> Option<PathBuf> {
        self.pins.clone()
    }

    /// The folder of pins, if it is open.
    pub fn held(&self) -> Option<BorrowedFd<'_>> {
        self.folder.as_ref().map(Folder::as_fd)
    }

    /// Does one request; `object` came with it.
    pub fn answer(
        &mut self,
        request: &Request,
        object: Option<BorrowedFd<'_>>,
    ) -> (Reply, Option<OwnedFd>) {
        match self.try_answer(request, object) {
            Ok(answer) => answer,
            Err(refused) => (Reply::Refused(refused), None),
        }
    }

    fn try_answer(
        &mut self,
        request: &Request,
        object: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Option<OwnedFd>), Refusal> {
        let mut found = None;
        match request {
            Request::Ready => {}
            Request::Attach { index, hook } => {
                found = Some(Link::attach(given(object)?, *index, *hook)?.into());
            }
            Request::OpenPins => {
                if let (Some(pins), None) = (&self.pins, &self.folder) {
                    self.folder = Some(Folder::open(pins)?);
                }
            }
            Request::Pin(entry) => self.folder()?.pin(entry, given(object)?)?,
            Request::OpenPin(entry) => found = self.folder()?.open_pin(entry)?,
            Request::Unpin(entry) => self.folder()?.unpin(entry)?,
            Request::Links => return Ok((Reply::Links(self.folder()?.links()?), None)),
            Request::Sets => return Ok((Reply::Sets(self.folder()?.sets()?), None)),
            Request::RemoveSet(set) => self.folder()?.remove_set(*set)?,
            Request::RemovePins => {
                if let Some(folder) = self.folder.take() {
                    folder.remove()?;
                }
            }
        }
        Ok((Reply::Done, found))
    }

    fn folder(&self) -> Result<&Folder, Refusal> {
        self.folder.as_ref().ok_or_else(|| refused("no folder of pins is open"))
    }
}

impl From<PinsError> for Refusal {
    fn from(error: PinsError) -> Refusal {
        let errno = match &error {
            PinsError::Io { source, .. } => source.raw_os_error(),
            _ => None,
        };
        Refusal { errno, message: error.to_string() }
    }
}

fn given(object: Option<BorrowedFd<'_>>) -> Result<BorrowedFd<'_>, Refusal> {
    object.ok_or_else(|| refused("no file descriptor came with the request"))
}

fn refused(message: &str) -> Refusal {
    Refusal { errno: None, message: message.into() }
}
