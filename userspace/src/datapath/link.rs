//! Links: a program on an interface, held by a descriptor.
//!
//! A program stays attached as long as its link has a descriptor or a pin, so it ends with the process that
//! holds it, however that ends. What may be done with a link takes its descriptor and no capability: to put
//! another program into it, to ask what it is attached to, and to detach it though it is pinned.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::memory::bpf::{self, AttachPoint, LinkInfo};

/// How a program is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// XDP, in the driver.
    Native,
    /// XDP, behind the driver.
    Generic,
    /// TCX, before all that are there.
    Tcx,
}

/// Flags of BPF_LINK_CREATE (linux/if_link.h, linux/bpf.h).
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const BPF_F_BEFORE: u32 = 1 << 3;

/// A program on an interface.
#[derive(Debug)]
pub struct Link(OwnedFd);

impl Link {
    /// Attaches a program.
    pub fn attach(program: BorrowedFd<'_>, index: u32, hook: Hook) -> io::Result<Link> {
        let (place, flags) = match hook {
            Hook::Native => (AttachPoint::Xdp, XDP_FLAGS_DRV_MODE),
            Hook::Generic => (AttachPoint::Xdp, XDP_FLAGS_SKB_MODE),
            // Before nobody in particular: before all.
            Hook::Tcx => (AttachPoint::TcxIngress, BPF_F_BEFORE),
        };
        bpf::create_link(program, index, place, flags).map(Link)
    }

    /// Puts another program in the place of this one, between two packets.
    pub fn replace(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        bpf::update_link(self.as_fd(), program)
    }

    /// Detaches, also where a pin would keep it.
    pub fn detach(&self) -> io::Result<()> {
        bpf::detach_link(self.as_fd())
    }

    /// What it runs, and where.
    pub fn info(&self) -> io::Result<LinkInfo> {
        bpf::link_info(self.as_fd())
    }

    /// The id of the program that it runs.
    pub fn program(&self) -> io::Result<u32> {
        Ok(self.info()?.program)
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> OwnedFd {
        link.0
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Link {
    fn from(descriptor: OwnedFd) -> Link {
        Link(descriptor)
    }
}
