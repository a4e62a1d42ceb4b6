//! What may be asked of the loader, and how it travels: one JSON text in one packet, with at most one
//! descriptor beside it (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::datapath::link::Hook;

/// Octets of the largest packet: no official reference, a list of all sets and links is far smaller.
const LARGEST: usize = 1 << 14;

/// What a loader is told before anything is asked of it, while its daemon is root still. Where the pins are
/// held, their folder comes with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The folder of pins.
    pub pins: Option<PathBuf>,
}

/// One thing to do. None names a path: what is pinned has its place in the one folder that the loader was
/// started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Nothing: says that it is there.
    Ready,
    /// Attaches the program that comes with it, and gives the link.
    Attach {
        /// The number of the interface.
        index: u32,
        /// How.
        hook: Hook,
    },
    /// Makes the folder of pins, or takes the one that is there, and locks it.
    OpenPins,
    /// Pins what comes with it, unless that entry is there.
    Pin(Entry),
    /// Gives what is pinned there, if anything is.
    OpenPin(Entry),
    /// Removes an entry that may be there.
    Unpin(Entry),
    /// Lists the links that are pinned.
    Links,
    /// Lists the sets, in order.
    Sets,
    /// Removes a set.
    RemoveSet(u32),
    /// Removes all that is pinned, and the folder.
    RemovePins,
}

/// What may be pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// A link, by its interface.
    Link {
        /// The hook.
        kind: Kind,
        /// The interface's number.
        index: u32,
    },
    /// A map or a program, by its name.
    Object {
        /// The set that it belongs to.
        set: u32,
        /// Letters, digits and underscores.
        name: String,
    },
}

/// The hooks that have a link each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// XDP's.
    Xdp,
    /// TCX's.
    Tcx,
}

impl Kind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Xdp => "xdp",
            Kind::Tcx => "tcx",
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// It is done; what was asked for comes with it, if anything was and is there.
    Done,
    /// The links that are pinned.
    Links(Vec<(u32, Kind)>),
    /// The sets.
    Sets(Vec<u32>),
    /// It could not be done.
    Refused(Refusal),
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What the system said, if it was the system.
    pub errno: Option<i32>,
    /// In words.
    pub message: String,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal { errno: error.raw_os_error(), message: error.to_string() }
    }
}

/// Sends one packet.
pub fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    object: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    if text.len() > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let object = object.map(|object| [object]);
    if let Some(object) = &object {
        ancillary.push(SendAncillaryMessage::ScmRights(object));
    }
    sendmsg(socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet; `None` when the other end is closed.
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut text = vec![0; LARGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let into = &mut [IoSliceMut::new(&mut text)];
        match recvmsg(socket, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => continue,
            received => break received?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet that is too long"));
    }
    let mut object = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            object = descriptors.next();
        }
    }
    Ok(Some((serde_json::from_slice(&text[..received.bytes])?, object)))
}
