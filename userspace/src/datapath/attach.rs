//! An XDP program on an interface: natively, else in generic mode, never in another's place. And behind
//! it, where it is needed, one on TCX; or that one alone. Both may be pinned, and taken over from where
//! they are pinned.

use std::io;
use std::time::Duration;

use aya::programs::links::{FdLink, LinkOrder};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode as Flag};

use super::interface::{Interface, InterfaceError};
use super::load::{LoadError, Loaded};
use super::pins::{LinkPins, PinsError, open_link, pin_link};
use super::probe::findings::lacks_room;
use crate::config::{TcxMode, XdpMode};

/// A program attached to an interface; detached when dropped, or when the process ends, however, unless it
/// is pinned.
#[derive(Debug)]
pub struct Attachment {
    interface: Interface,
    mode: XdpMode,
    link: Option<XdpLink>,
    tcx: Option<SchedClassifierLink>,
    /// Where the links are pinned, if they are.
    pins: Option<LinkPins>,
    /// The program of an earlier daemon that still runs.
    adopted: Option<u32>,
}

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The interface cannot be used.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The programs do not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Somebody else's program is there.
    #[error(
        "{interface} has an XDP program already (id {id}, {mode} mode), and it is not replaced: see \
         whose it is with `bpftool prog show id {id}`, and detach it first{hint}"
    )]
    Busy {
        /// The interface's name.
        interface: String,
        /// The program's id.
        id: u32,
        /// How it is attached.
        mode: &'static str,
        /// How to do that, where it can be told.
        hint: String,
    },
    /// Not allowed.
    #[error(
        "the kernel does not let this process attach to {0}: it takes root, or the capabilities \
         CAP_BPF and CAP_NET_ADMIN"
    )]
    Permission(String),
    /// The driver cannot.
    #[error("{interface} cannot run XDP in {mode} mode: {source}{hint}")]
    Unsupported {
        /// The interface's name.
        interface: String,
        /// The mode that was tried.
        mode: &'static str,
        /// What the system said.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The kernel has no TCX.
    #[error("the kernel cannot attach to TCX on {0}: that came with Linux 6.6")]
    NoTcx(String),
    /// It could not be pinned.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// Anything else.
    #[error("attaching XDP to {interface}: {source}")]
    Other {
        /// The interface's name.
        interface: String,
        /// What went wrong.
        source: ProgramError,
    },
}

/// The word for a mode in messages.
fn word(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Auto => "auto",
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Tcx => "tcx",
    }
}

impl Attachment {
    /// Attaches what is loaded, and pins its link if there is a place to. [`XdpMode::Auto`] tries
    /// natively first and says aloud if it comes to generic mode.
    pub fn new(
        loaded: &mut Loaded,
        interface: Interface,
        mode: XdpMode,
        pins: Option<LinkPins>,
    ) -> Result<Attachment, AttachError> {
        if mode == XdpMode::Tcx {
            let mut alone =
                Attachment { interface, mode, link: None, tcx: None, pins, adopted: None };
            alone.add_tcx(loaded.tcx_entry()?)?;
            tracing::info!(interface = alone.interface.name, "TCX answers alone");
            return Ok(alone);
        }
        check_free(&interface, mode)?;
        let program = loaded.entry()?;
        let (mode, link) = match mode {
            XdpMode::Auto => match link(program, &interface, XdpMode::Native) {
                Ok(link) => (XdpMode::Native, link),
                Err(AttachError::Unsupported { source, .. }) => {
                    let link = link(program, &interface, XdpMode::Generic)?;
                    tracing::warn!(
                        interface = interface.name,
                        "XDP runs in generic mode, which is slower: natively the driver refuses \
                         ({source}). Set mode = \"generic\" in [xdp] if that is meant, or \"tcx\""
                    );
                    (XdpMode::Generic, link)
                }
                Err(error) => return Err(error),
            },
            named => (named, link(program, &interface, named)?),
        };
        tracing::info!(interface = interface.name, mode = word(mode), "XDP is attached");
        let link = match &pins {
            Some(pins) => pin_link(link, &pins.xdp)?,
            None => link,
        };
        Ok(Attachment { interface, mode, link: Some(link), tcx: None, pins, adopted: None })
    }

    /// Takes over what an earlier daemon pinned, whose programs go on running. `None` if there is nothing,
    /// or nothing that fits: then it is detached.
    pub fn adopt(
        interface: &Interface,
        mode: XdpMode,
        pins: LinkPins,
    ) -> Result<Option<Attachment>, AttachError> {
        if mode == XdpMode::Tcx {
            return adopt_tcx(interface, pins);
        }
        let name = &interface.name;
        let Some((link, program)) = open_link::<XdpLink>(&pins.xdp)? else {
            pins.remove_tcx();
            return Ok(None);
        };
        let runs = interface.xdp.filter(|attached| attached.id == program);
        let Some(attached) = runs.filter(|one| mode == XdpMode::Auto || mode == one.mode) else {
            match runs {
                Some(one) => tracing::warn!(
                    interface = name,
                    "XDP is attached anew: it is pinned in {} mode",
                    word(one.mode)
                ),
                None => tracing::warn!(interface = name, "what is pinned is not attached here"),
            }
            pins.remove_xdp();
            pins.remove_tcx();
            drop(link);
            wait_detached(interface.index, program);
            return Ok(None);
        };
        let tcx = pinned_tcx(name, &pins)?;
        tracing::info!(interface = name, program, "taken over: it answers until zones are loaded");
        Ok(Some(Attachment {
            interface: interface.clone(),
            mode: attached.mode,
            link: Some(link),
            tcx: tcx.map(|(link, _)| link),
            pins: Some(pins),
            adopted: Some(program),
        }))
    }

    /// The program of an earlier daemon, if it still runs.
    pub fn adopted(&self) -> Option<u32> {
        self.adopted
    }

    /// Whether it outlives the daemon.
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Detaches, and removes the pins.
    pub fn detach(self) {
        self.unpin();
        let Attachment { interface, mode, pins, link, tcx, .. } = self;
        let tcx_program = tcx.as_ref().and_then(|link| {
            let link = <&FdLink>::try_from(link).ok()?;
            Some(link.info().ok()?.program_id())
        });
        let xdp = Interface::at(interface.index, &interface.name).ok().flatten();
        // Beside TCX alone there may be another's.
        let xdp = xdp.filter(|_| mode != XdpMode::Tcx);
        let xdp_program = xdp.and_then(|interface| Some(interface.xdp?.id));
        drop((link, tcx));
        if pins.is_some() {
            for program in xdp_program.into_iter().chain(tcx_program) {
                wait_detached(interface.index, program);
            }
        }
    }

    fn unpin(&self) {
        if let Some(pins) = &self.pins {
            pins.remove_xdp();
            pins.remove_tcx();
        }
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
        let old = self.tcx.take();
        let to_pin = self.pins.as_ref().filter(|_| old.is_none());
        let attached = match old {
            Some(old) => program.attach_to_link(old),
            None => {
                let first = TcAttachOptions::TcxOrder(LinkOrder::first());
                program.attach_with_options(name, TcAttachType::Ingress, first)
            }
        };
        let link = attached.and_then(|id| program.take_link(id));
        let link = link.map_err(|error| explain_tcx(error, name))?;
        self.tcx = Some(match to_pin {
            Some(pins) => pin_link(link, &pins.tcx)?,
            None => link,
        });
        Ok(())
    }

    /// Detaches from TCX.
    pub fn remove_tcx(&mut self) {
        if let Some(pins) = &self.pins {
            pins.remove_tcx();
        }
        self.tcx = None;
    }

    /// Looks at the interface again: it may be gone, or have another MAC address or name. Says whether
    /// anything changed.
    pub fn look_again(&mut self) -> bool {
        let was = &self.interface;
        match Interface::at(was.index, &was.name) {
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
                self.unpin();
                (self.link, self.tcx) = (None, None);
                true
            }
            // What cannot be asked now is asked again.
            Err(_) => false,
        }
    }

    /// Whether the program is attached still.
    pub fn is_there(&self) -> bool {
        if self.mode == XdpMode::Tcx { self.tcx.is_some() } else { self.link.is_some() }
    }

    /// Puts another loaded program in this one's place, between two packets.
    pub fn replace(&mut self, loaded: &mut Loaded) -> Result<(), AttachError> {
        if self.mode == XdpMode::Tcx {
            self.add_tcx(loaded.tcx_entry()?)?;
            self.adopted = None;
            return Ok(());
        }
        let program = loaded.entry()?;
        let replaced = match self.link.take() {
            // The kernel has no reason to refuse, but if it does, our hold of the link is gone.
            Some(old) => program.attach_to_link(old).and_then(|id| program.take_link(id)),
            None => Err(ProgramError::NotAttached),
        };
        self.link = Some(match replaced {
            Ok(link) => link,
            Err(error) => {
                tracing::error!(
                    interface = self.interface.name,
                    "replacing the XDP program: {error}; attaching it anew"
                );
                match &self.pins {
                    Some(pins) => {
                        pins.remove_xdp();
                        pin_link(link(program, &self.interface, self.mode)?, &pins.xdp)?
                    }
                    None => link(program, &self.interface, self.mode)?,
                }
            }
        });
        self.adopted = None;
        Ok(())
    }
}

/// [`Attachment::adopt`] where TCX is to answer alone.
fn adopt_tcx(interface: &Interface, pins: LinkPins) -> Result<Option<Attachment>, AttachError> {
    let name = &interface.name;
    if let Some((link, program)) = open_link::<XdpLink>(&pins.xdp)? {
        tracing::warn!(interface = name, "XDP is detached: TCX is to answer alone");
        pins.remove_xdp();
        drop(link);
        wait_detached(interface.index, program);
    }
    let Some((link, program)) = pinned_tcx(name, &pins)? else { return Ok(None) };
    tracing::info!(interface = name, program, "taken over: it answers until zones are loaded");
    Ok(Some(Attachment {
        interface: interface.clone(),
        mode: XdpMode::Tcx,
        link: None,
        tcx: Some(link),
        pins: Some(pins),
        adopted: Some(program),
    }))
}

/// The link on TCX that is pinned, and the program that it runs; a pin of one that is not attached is removed.
fn pinned_tcx(
    name: &str,
    pins: &LinkPins,
) -> Result<Option<(SchedClassifierLink, u32)>, AttachError> {
    let pinned = open_link::<SchedClassifierLink>(&pins.tcx)?;
    let attached = pinned.filter(|(_, program)| is_on_tcx(name, *program));
    if attached.is_none() {
        pins.remove_tcx();
    }
    Ok(attached)
}

/// Waits until a program is on an interface no more: the kernel detaches some time after a pin was removed,
/// when it gets to it.
pub fn wait_detached(index: u32, program: u32) {
    let is_there = || match Interface::at(index, "") {
        Ok(Some(interface)) => {
            interface.xdp.is_some_and(|attached| attached.id == program)
                || is_on_tcx(&interface.name, program)
        }
        _ => false,
    };
    for _ in 0..DETACH_LOOKS {
        if !is_there() {
            return;
        }
        std::thread::sleep(DETACH_LOOK);
    }
    tracing::warn!(index, program, "the kernel has not detached XDP yet");
}

/// Whether a program is on TCX. Who may not ask is told that it is not.
fn is_on_tcx(name: &str, program: u32) -> bool {
    let query = SchedClassifier::query_tcx(name, TcAttachType::Ingress);
    query.is_ok_and(|(_, there)| there.iter().any(|one| one.id() == program))
}

/// How often and how many times it is looked whether a program is detached: no official reference, it takes
/// milliseconds.
const DETACH_LOOK: Duration = Duration::from_millis(2);
const DETACH_LOOKS: u32 = 500;

/// Refuses an interface that has an XDP program already, unless there is to be none of ours.
pub fn check_free(interface: &Interface, mode: XdpMode) -> Result<(), AttachError> {
    let in_the_way = interface.xdp.filter(|_| mode != XdpMode::Tcx);
    in_the_way.map_or(Ok(()), |attached| Err(busy(interface, attached)))
}

fn link(program: &mut Xdp, interface: &Interface, mode: XdpMode) -> Result<XdpLink, AttachError> {
    let flag = if mode == XdpMode::Generic { Flag::Skb } else { Flag::Driver };
    let attached = program.attach_to_if_index(interface.index, flag);
    attached.and_then(|id| program.take_link(id)).map_err(|error| explain(error, interface, mode))
}

/// What the system said when a program could not be attached.
pub fn reason(error: &ProgramError) -> io::Error {
    errno(error).map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        // When a link is refused with EINVAL, aya tries the older way, which tells the same.
        ProgramError::XdpError(aya::programs::xdp::XdpError::NetlinkError(error)) => {
            error.raw_os_error()
        }
        _ => None,
    }
}

fn explain(error: ProgramError, interface: &Interface, mode: XdpMode) -> AttachError {
    let name = interface.name.clone();
    let errno = errno(&error);
    match errno {
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
                    ". If the driver can, the usual obstacles are an MTU above one page and too few \
                     queues; else use mode = \"generic\" in [xdp]"
                }
            },
        },
        None => AttachError::Other { interface: name, source: error },
    }
}

fn explain_tcx(error: ProgramError, name: &str) -> AttachError {
    let errno = errno(&error);
    match errno {
        Some(libc::EPERM | libc::EACCES) => AttachError::Permission(name.to_owned()),
        Some(libc::EINVAL) => AttachError::NoTcx(name.to_owned()),
        _ => AttachError::Other { interface: name.to_owned(), source: error },
    }
}

fn busy(interface: &Interface, attached: super::interface::Attached) -> AttachError {
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
