//! What takes privileges while the daemon serves: to attach programs, and to pin.
//!
//! A daemon that gives its privileges up (`user` in `[server]`) starts a process before, the loader, which
//! keeps root with the capabilities that bpf(2) and the network ask for. It does what is asked over a pair of
//! sockets, a request at a time, and there is nothing else that it reads: no packet, no file, no
//! configuration. A request names no path. A daemon that keeps its privileges does the same by itself.
//!
//! The loader keeps no link: it hands them to the daemon, and what is not pinned ends with that, however it
//! ends. The loader ends when the daemon's end of the pair is closed. The folder of pins is locked as long as
//! either has it open.

pub mod capabilities;
pub mod folder;
pub mod process;
pub mod request;
mod work;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::link::{Hook, Link};
use process::Client;
use request::{Entry, Kind, Refusal, Reply, Request};
use work::Work;

/// Does what takes privileges, here or in a process of its own. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Loader(Arc<Mutex<LoaderState>>);

#[derive(Debug)]
enum LoaderState {
    Here(Work),
    There(Client),
    /// The process is gone, for this reason.
    Lost(String),
}

impl Loader {
    /// One in this process, that pins to this folder, if to any.
    pub fn here(pins: Option<PathBuf>) -> Loader {
        Loader(Arc::new(Mutex::new(LoaderState::Here(Work::new(pins)))))
    }

    /// From here on it is a process of its own, which has the privileges that we have now.
    pub fn start_process(&self) -> anyhow::Result<()> {
        let mut place = self.lock();
        if let LoaderState::Here(work) = &*place {
            let client = Client::start(work)?;
            *place = LoaderState::There(client);
        }
        Ok(())
    }

    /// Why nothing can be done any more, if that is so.
    pub fn lost(&self) -> Option<String> {
        let mut place = self.lock();
        if let LoaderState::There(client) = &mut *place
            && let Some(why) = client.ended()
        {
            lose(&mut place, why);
        }
        match &*place {
            LoaderState::Lost(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Attaches a program.
    pub fn attach(&self, program: BorrowedFd<'_>, index: u32, hook: Hook) -> Result<Link, Refusal> {
        let (_, link) = self.ask(&Request::Attach { index, hook }, Some(program))?;
        link.map(Link::from).ok_or_else(unexpected)
    }

    /// Makes the folder of pins, or takes the one that is there.
    pub fn open_pins(&self) -> Result<(), Refusal> {
        self.ask(&Request::OpenPins, None).map(drop)
    }

    /// Pins an object, unless that entry is there.
    pub fn pin(&self, entry: Entry, object: impl AsFd) -> Result<(), Refusal> {
        self.ask(&Request::Pin(entry), Some(object.as_fd())).map(drop)
    }

    /// What is pinned there, if anything is.
    pub fn open_pin(&self, entry: Entry) -> Result<Option<OwnedFd>, Refusal> {
        Ok(self.ask(&Request::OpenPin(entry), None)?.1)
    }

    /// Removes an entry that may be there.
    pub fn unpin(&self, entry: Entry) -> Result<(), Refusal> {
        self.ask(&Request::Unpin(entry), None).map(drop)
    }

    /// The links that are pinned, by interface, XDP's first.
    pub fn links(&self) -> Result<Vec<(u32, Kind)>, Refusal> {
        match self.ask(&Request::Links, None)?.0 {
            Reply::Links(links) => Ok(links),
            _ => Err(unexpected()),
        }
    }

    /// The numbers of the sets, in order.
    pub fn sets(&self) -> Result<Vec<u32>, Refusal> {
        match self.ask(&Request::Sets, None)?.0 {
            Reply::Sets(sets) => Ok(sets),
            _ => Err(unexpected()),
        }
    }

    /// Removes a set.
    pub fn remove_set(&self, set: u32) -> Result<(), Refusal> {
        self.ask(&Request::RemoveSet(set), None).map(drop)
    }

    /// Removes all that is pinned, and the folder.
    pub fn remove_pins(&self) -> Result<(), Refusal> {
        self.ask(&Request::RemovePins, None).map(drop)
    }

    fn ask(
        &self,
        request: &Request,
        object: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Option<OwnedFd>), Refusal> {
        let mut place = self.lock();
        let answer = match &mut *place {
            LoaderState::Here(work) => work.answer(request, object),
            LoaderState::There(client) => match client.ask(request, object) {
                Ok(answer) => answer,
                Err(error) => {
                    let why = client.ended().unwrap_or_else(|| error.to_string());
                    lose(&mut place, why);
                    return Err(lost());
                }
            },
            LoaderState::Lost(_) => return Err(lost()),
        };
        match answer {
            (Reply::Refused(refused), _) => Err(refused),
            answer => Ok(answer),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LoaderState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lose(place: &mut LoaderState, why: String) {
    tracing::error!(
        "the loader is lost: {why}; nothing can be attached or pinned until the daemon is restarted"
    );
    *place = LoaderState::Lost(why);
}

fn lost() -> Refusal {
    let message =
        "the loader, which has the privileges for this, is gone: restart the daemon".into();
    Refusal { errno: None, message }
}

fn unexpected() -> Refusal {
    Refusal { errno: None, message: "the loader has sent a reply of another kind".into() }
}
