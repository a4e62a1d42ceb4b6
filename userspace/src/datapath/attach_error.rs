//! Why a program could not be attached, in words for an operator.

use std::io;

use aya::programs::ProgramError;

use super::interface::InterfaceError;
use super::load;
use super::load_error::LoadError;
use super::loader::request::Refusal;
use super::probe::finding::Finding;
use crate::config::XdpMode;

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
    #[error(
        "{0}: mode = \"tcx\" needs TCX, which came with Linux 6.6 and this kernel ({release}) lacks: use another \
         mode in [xdp]",
        release = load::release()
    )]
    NoTcx(String),
    /// Answers would leave and never arrive.
    #[error("{interface}: no XDP in {mode} mode: {what}; {fix}")]
    Lost {
        /// The interface's name.
        interface: String,
        /// The mode that was asked for.
        mode: &'static str,
        /// Why.
        what: String,
        /// What to do.
        fix: String,
    },
    /// Nothing works here.
    #[error(
        "{0}: neither XDP nor TCX can answer here (`sealdns xdp probe {0}` says why, and what would mend it)"
    )]
    NoPath(String),
    /// It could not be pinned, or what is pinned cannot be used.
    #[error("what is pinned for {interface}: {source}")]
    Pins {
        /// The interface's name.
        interface: String,
        /// What went wrong.
        source: Refusal,
    },
    /// Anything else.
    #[error("attaching XDP to {interface}: {source}")]
    Other {
        /// The interface's name.
        interface: String,
        /// What went wrong.
        source: Refusal,
    },
}

/// What is known to lose all answers is not attached.
pub fn lost(interface: &str, mode: XdpMode, finding: Finding) -> AttachError {
    let Finding { what, fix, .. } = finding;
    let fix = fix.map_or_else(
        || "use mode = \"auto\" in [xdp]".into(),
        |fix| format!("mend that with `{fix}`, or use mode = \"auto\" in [xdp]"),
    );
    AttachError::Lost { interface: interface.to_owned(), mode: word(mode), what, fix }
}

/// The word for a mode in messages.
pub fn word(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Auto => "auto",
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Tcx => "tcx",
    }
}

/// What the system said when a program could not be attached.
pub fn reason(error: &ProgramError) -> io::Error {
    errno(error).map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

/// The number of the system's error, if it is one.
pub fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        // When a link is refused with EINVAL, aya tries the older way, which tells the same.
        ProgramError::XdpError(aya::programs::xdp::XdpError::NetlinkError(error)) => {
            error.raw_os_error()
        }
        _ => None,
    }
}
