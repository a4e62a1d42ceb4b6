//! An XDP program on an interface: natively, else in generic mode, never in another's place. And behind
//! it, where it is needed, one on TCX; or that one alone. Both may be pinned, and taken over from where
//! they are pinned.
//!
//! This asks the loader; the call of the kernel is in `link.rs`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp};

use super::attach_error::{AttachError, errno, word};
use super::interface::Interface;
use super::link::{Hook, Link};
use super::load::{LoadedPrograms, ProgramSet};
use super::loader::request::{Kind, Refusal};
use super::path::PathChoice;
use super::pins::Links;
use super::probe::findings::lacks_room;
use crate::config::{TcxMode, XdpMode};

/// A program attached to an interface; detached when dropped, or when the process ends, however, unless it
/// is pinned.
#[derive(Debug)]
pub struct Attachment {
    interface: Interface,
    mode: XdpMode,
    link: Option<Link>,
    tcx: Option<Link>,
    /// How links are made, and where they are pinned, if they are.
    links: Links,
    /// The program of an earlier daemon that still runs.
    adopted: Option<u32>,
    /// Why nothing is attached any more.
    lost: Option<&'static str>,
}

impl Attachment {
    /// Attaches programs, and pins their link if there is a place to. [`XdpMode::Auto`] is what [`PathChoice`] says.
    pub fn new(
        loaded: &mut LoadedPrograms,
        interface: Interface,
        mode: XdpMode,
        tcx: TcxMode,
        links: Links,
    ) -> Result<Attachment, AttachError> {
        let mut path = PathChoice::new(&interface, mode, tcx)?;
        loop {
            match Attachment::by(loaded, interface.clone(), path.mode(), links.clone()) {
                Ok(attachment) => return Ok(attachment),
                Err(error) => path = path.next(error)?,
            }
        }
    }

    /// Attaches in this mode, which is not [`XdpMode::Auto`].
    fn by(
        loaded: &mut LoadedPrograms,
        interface: Interface,
        mode: XdpMode,
        links: Links,
    ) -> Result<Attachment, AttachError> {
        if mode == XdpMode::Tcx {
            let mut alone = Attachment {
                interface,
                mode,
                link: None,
                tcx: None,
                links,
                adopted: None,
                lost: None,
            };
            alone.add_tcx(loaded.tcx_entry()?)?;
            tracing::info!(interface = alone.interface.name, "TCX answers alone");
            return Ok(alone);
        }
        check_free(&interface, mode)?;
        let link = link(loaded.entry()?, &interface, mode, &links)?;
        tracing::info!(interface = interface.name, mode = word(mode), "XDP is attached");
        Ok(Attachment {
            interface,
            mode,
            link: Some(link),
            tcx: None,
            links,
            adopted: None,
            lost: None,
        })
    }

    /// Takes over what an earlier daemon pinned, whose programs go on running. `None` if there is nothing,
    /// or nothing that fits: then it is detached.
    pub fn adopt(
        interface: &Interface,
        mode: XdpMode,
        links: Links,
    ) -> Result<Option<Attachment>, AttachError> {
        if mode == XdpMode::Tcx {
            return adopt_tcx(interface, links);
        }
        let name = &interface.name;
        let Some((link, program)) = pinned(name, &links, Kind::Xdp)? else {
            links.unpin(Kind::Tcx);
            return Ok(None);
        };
        let runs = interface.xdp.filter(|attached| attached.id == program);
        let Some(attached) = runs.filter(|one| mode == XdpMode::Auto || mode == one.mode) else {
            match runs {
                Some(one) => tracing::warn!(
                    interface = name,
                    "XDP is attached again: it is pinned in {} mode",
                    word(one.mode)
                ),
                None => tracing::warn!(interface = name, "what is pinned is not attached here"),
            }
            if let Some((tcx, _)) = pinned(name, &links, Kind::Tcx)? {
                detach(&tcx, name);
            }
            detach(&link, name);
            links.unpin(Kind::Xdp);
            links.unpin(Kind::Tcx);
            return Ok(None);
        };
        let tcx = pinned_tcx(name, &links)?;
        tracing::info!(interface = name, program, "taken over: it answers until zones are loaded");
        Ok(Some(Attachment {
            interface: interface.clone(),
            mode: attached.mode,
            link: Some(link),
            tcx: tcx.map(|(link, _)| link),
            links,
            adopted: Some(program),
            lost: None,
        }))
    }

    /// The program of an earlier daemon, if it still runs.
    pub fn adopted(&self) -> Option<u32> {
        self.adopted
    }

    /// Whether it outlives the daemon.
    pub fn is_pinned(&self) -> bool {
        self.links.are_pinned()
    }

    /// Detaches by the links themselves, whatever holds them, and removes the pins if that can be done.
    pub fn detach(self) {
        for link in [&self.link, &self.tcx].into_iter().flatten() {
            detach(link, &self.interface.name);
        }
        self.unpin();
    }

    fn unpin(&self) {
        self.links.unpin(Kind::Xdp);
        self.links.unpin(Kind::Tcx);
    }

    /// The interface as it was when the program was attached.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// How the program is attached: never [`XdpMode::Auto`].
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// Whether a program on TCX is to stand behind XDP.
    pub fn wants_tcx(&self, mode: TcxMode) -> bool {
        match mode {
            _ if self.mode == XdpMode::Tcx => false,
            TcxMode::Auto => lacks_room(&self.interface.kind, self.mode),
            TcxMode::On => true,
            TcxMode::Off => false,
        }
    }

    /// The hooks that its programs stand on.
    pub fn hooks(&self) -> impl Iterator<Item = ProgramSet> + use<> {
        let hooks = [(ProgramSet::Xdp, self.link.is_some()), (ProgramSet::Tcx, self.tcx.is_some())];
        hooks.into_iter().filter(|(_, is_there)| *is_there).map(|(hook, _)| hook)
    }

    /// Whether a program stands on TCX.
    pub fn has_tcx(&self) -> bool {
        self.tcx.is_some()
    }

    /// Whether a program stands on TCX behind XDP.
    pub fn has_tcx_behind(&self) -> bool {
        self.mode != XdpMode::Tcx && self.has_tcx()
    }

    /// Attaches a loaded program to TCX, before all that are there, or puts it in the place of the one
    /// before.
    pub fn add_tcx(&mut self, program: &mut SchedClassifier) -> Result<(), AttachError> {
        let name = &self.interface.name;
        let program = program.fd().map_err(|error| other(error, name))?.as_fd();
        match &self.tcx {
            Some(tcx) => {
                tcx.replace(program).map_err(|error| explain_tcx(error.into(), name))?;
            }
            None => {
                let link = self.links.attach(program, Hook::Tcx);
                self.tcx = Some(link.map_err(|refused| explain_tcx(refused, name))?);
            }
        }
        Ok(())
    }

    /// Detaches from TCX.
    pub fn remove_tcx(&mut self) {
        if let Some(tcx) = self.tcx.take() {
            detach(&tcx, &self.interface.name);
        }
        self.links.unpin(Kind::Tcx);
    }

    /// Looks at the interface again: it may be gone, or have another MAC address or name, or not have our programs
    /// any more. Says whether anything changed.
    pub fn look_again(&mut self) -> bool {
        let was = &self.interface;
        match Interface::at(was.index, &was.name) {
            Ok(Some(_)) if !self.holds() => {
                tracing::error!(
                    interface = was.name,
                    "another program has detached those of sealdns"
                );
                self.lose("another program has detached those of sealdns");
                true
            }
            Ok(Some(now)) if now.name == was.name && now.mac == was.mac => false,
            Ok(Some(now)) => {
                tracing::info!(
                    interface = now.name,
                    was = was.name,
                    "the interface has another name or MAC address"
                );
                self.interface = now;
                true
            }
            Ok(None) => {
                tracing::error!(interface = was.name, "the interface is gone, and XDP with it");
                self.lose("the interface went away");
                true
            }
            // What cannot be asked now is asked again.
            Err(_) => false,
        }
    }

    /// Whether the kernel still has our links on the device. A link that cannot be asked is taken to hold.
    fn holds(&self) -> bool {
        let links = [&self.link, &self.tcx];
        links.into_iter().flatten().all(|link| link.info().map_or(true, |info| info.index != 0))
    }

    /// Gives up all that is left of it.
    fn lose(&mut self, why: &'static str) {
        for link in [self.link.take(), self.tcx.take()].into_iter().flatten() {
            detach(&link, &self.interface.name);
        }
        self.unpin();
        self.lost = Some(why);
    }

    /// Why it is not there any more, if it is not.
    pub fn why_gone(&self) -> Option<String> {
        let why = self.lost.filter(|_| !self.is_there());
        why.map(str::to_owned)
    }

    /// Whether the program is attached still.
    pub fn is_there(&self) -> bool {
        if self.mode == XdpMode::Tcx { self.tcx.is_some() } else { self.link.is_some() }
    }

    /// Puts another loaded program in this one's place, between two packets.
    pub fn replace(&mut self, loaded: &mut LoadedPrograms) -> Result<(), AttachError> {
        if self.mode == XdpMode::Tcx {
            self.add_tcx(loaded.tcx_entry()?)?;
            self.adopted = None;
            return Ok(());
        }
        let program = loaded.entry()?;
        let descriptor = descriptor(program, &self.interface.name)?;
        let replaced = match &self.link {
            Some(link) => link.replace(descriptor),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if let Err(error) = replaced {
            // The kernel has no reason to refuse but that the link is attached no more.
            tracing::error!(
                interface = self.interface.name,
                "replacing the XDP program: {error}; it is attached again"
            );
            if let Some(old) = self.link.take() {
                detach(&old, &self.interface.name);
            }
            self.link = Some(link(program, &self.interface, self.mode, &self.links)?);
        }
        self.adopted = None;
        Ok(())
    }
}

/// [`Attachment::adopt`] where TCX is to answer alone.
fn adopt_tcx(interface: &Interface, links: Links) -> Result<Option<Attachment>, AttachError> {
    let name = &interface.name;
    if let Some((link, _)) = pinned(name, &links, Kind::Xdp)? {
        tracing::warn!(interface = name, "XDP is detached: TCX is to answer alone");
        detach(&link, name);
        links.unpin(Kind::Xdp);
    }
    let Some((link, program)) = pinned_tcx(name, &links)? else { return Ok(None) };
    tracing::info!(interface = name, program, "taken over: it answers until zones are loaded");
    Ok(Some(Attachment {
        interface: interface.clone(),
        mode: XdpMode::Tcx,
        link: None,
        tcx: Some(link),
        links,
        adopted: Some(program),
        lost: None,
    }))
}

/// A link that is pinned, and the program that it runs.
fn pinned(name: &str, links: &Links, kind: Kind) -> Result<Option<(Link, u32)>, AttachError> {
    let opened = links.open(kind);
    opened.map_err(|source| AttachError::Pins { interface: name.to_owned(), source })
}

/// The link on TCX that is pinned, and the program that it runs; a pin of one that is not attached is removed.
fn pinned_tcx(name: &str, links: &Links) -> Result<Option<(Link, u32)>, AttachError> {
    let pinned = pinned(name, links, Kind::Tcx)?;
    let attached = pinned.filter(|(_, program)| is_on_tcx(name, *program));
    if attached.is_none() {
        links.unpin(Kind::Tcx);
    }
    Ok(attached)
}

/// Detaches a link, also where something else holds it. One whose interface is gone is detached already.
fn detach(link: &Link, interface: &str) {
    if let Err(error) = link.detach() {
        tracing::debug!(interface, "detaching: {error}");
    }
}

fn descriptor<'p>(program: &'p Xdp, name: &str) -> Result<BorrowedFd<'p>, AttachError> {
    Ok(program.fd().map_err(|error| other(error, name))?.as_fd())
}

fn other(error: ProgramError, interface: &str) -> AttachError {
    let source = Refusal { errno: errno(&error), message: error.to_string() };
    AttachError::Other { interface: interface.to_owned(), source }
}

/// Whether a program is on TCX. Who may not ask is told that it is not.
fn is_on_tcx(name: &str, program: u32) -> bool {
    let query = SchedClassifier::query_tcx(name, TcAttachType::Ingress);
    query.is_ok_and(|(_, there)| there.iter().any(|one| one.id() == program))
}

/// Refuses an interface that has an XDP program already, unless there is to be none of ours.
pub fn check_free(interface: &Interface, mode: XdpMode) -> Result<(), AttachError> {
    let in_the_way = interface.xdp.filter(|_| mode != XdpMode::Tcx);
    in_the_way.map_or(Ok(()), |attached| Err(busy(interface, attached)))
}

fn link(
    program: &Xdp,
    interface: &Interface,
    mode: XdpMode,
    links: &Links,
) -> Result<Link, AttachError> {
    let hook = if mode == XdpMode::Generic { Hook::Generic } else { Hook::Native };
    let attached = links.attach(descriptor(program, &interface.name)?, hook);
    attached.map_err(|refused| explain(refused, interface, mode))
}

fn explain(error: Refusal, interface: &Interface, mode: XdpMode) -> AttachError {
    let name = interface.name.clone();
    match error.errno {
        Some(libc::EPERM | libc::EACCES) => AttachError::Permission(name),
        // Another was attached between our look and our attempt.
        Some(libc::EBUSY | libc::EEXIST) => match Interface::find(&name) {
            Ok(Interface { xdp: Some(attached), .. }) => busy(interface, attached),
            _ => AttachError::Other { interface: name, source: error },
        },
        Some(errno) => AttachError::Unsupported {
            interface: name,
            mode: word(mode),
            source: io::Error::from_raw_os_error(errno),
            hint: match mode {
                XdpMode::Generic => "",
                _ => {
                    ". If the driver supports it, the usual obstacles are an MTU above one page and too few \
                     queues; else use mode = \"generic\" in [xdp]"
                }
            },
        },
        None => AttachError::Other { interface: name, source: error },
    }
}

fn explain_tcx(error: Refusal, name: &str) -> AttachError {
    match error.errno {
        Some(libc::EPERM | libc::EACCES) => AttachError::Permission(name.to_owned()),
        Some(libc::EINVAL) => AttachError::NoTcx(name.to_owned()),
        _ => AttachError::Other { interface: name.to_owned(), source: error },
    }
}

fn busy(interface: &Interface, attached: super::interface::AttachedProgram) -> AttachError {
    let name = &interface.name;
    let off = if attached.mode == XdpMode::Generic { "xdpgeneric" } else { "xdp" };
    AttachError::Busy {
        interface: name.clone(),
        id: attached.id,
        mode: word(attached.mode),
        hint: format!(
            " (`sealdns xdp detach --all` if sealdns has pinned it, `ip link set dev {name} {off} off` if \
             no link holds it)"
        ),
    }
}
