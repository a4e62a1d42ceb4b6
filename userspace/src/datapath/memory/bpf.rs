//! Calls of bpf(2) on links and pins, by descriptors that aya keeps to itself.
//!
//! Numbers and layouts are those of linux/bpf.h, where each call reads as many octets as it is given.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Commands (`enum bpf_cmd`).
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
const LINK_DETACH: libc::c_int = 34;

/// Where a program is attached to an interface (`enum bpf_attach_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum AttachPoint {
    /// Before the network stack.
    Xdp = 37,
    /// Behind it, on what comes in.
    TcxIngress = 46,
}

/// What the kernel tells of a link (`struct bpf_link_info`, its first part).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LinkInfo {
    kind: u32,
    /// The link's id.
    pub id: u32,
    /// The id of its program.
    pub program: u32,
    padding: u32,
    /// The number of the interface; 0 when it is attached to none any more.
    pub index: u32,
    attach_type: u32,
}

#[repr(C)]
struct Create {
    program: u32,
    index: u32,
    place: u32,
    flags: u32,
    relative: u32,
    padding: u32,
    revision: u64,
}

#[repr(C)]
struct Update {
    link: u32,
    program: u32,
    flags: u32,
    old: u32,
}

#[repr(C)]
struct Pin {
    path: u64,
    object: u32,
    flags: u32,
}

#[repr(C)]
struct Ask {
    object: u32,
    len: u32,
    info: u64,
}

/// Attaches a program to an interface; it stays as long as the link has a descriptor or a pin.
pub fn create_link(
    program: BorrowedFd<'_>,
    index: u32,
    place: AttachPoint,
    flags: u32,
) -> io::Result<OwnedFd> {
    let (program, place) = (number(program), place as u32);
    let mut create = Create { program, index, place, flags, relative: 0, padding: 0, revision: 0 };
    let made = call(LINK_CREATE, &mut create)?;
    // SAFETY: the kernel has just made this descriptor for this call, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// Puts another program into a link, between two packets.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut update = Update { link: number(link), program: number(program), flags: 0, old: 0 };
    call(LINK_UPDATE, &mut update).map(drop)
}

/// Detaches a link, whoever else holds it and wherever it is pinned.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    call(LINK_DETACH, &mut number(link)).map(drop)
}

/// What a link is attached to.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let len = size_of::<LinkInfo>() as u32;
    let mut ask =
        Ask { object: number(link), len, info: (&raw mut info).expose_provenance() as u64 };
    call(OBJ_GET_INFO_BY_FD, &mut ask)?;
    Ok(info)
}

/// The id of a program: the second word of what the kernel tells of one (`struct bpf_prog_info`).
pub fn object_id(object: BorrowedFd<'_>) -> io::Result<u32> {
    // A program's has the kind and the id where a link's has them.
    link_info(object).map(|info| info.id)
}

/// Pins a link, a map or a program by a path that does not exist.
pub fn pin(object: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let path = path.as_ptr().expose_provenance() as u64;
    call(OBJ_PIN, &mut Pin { path, object: number(object), flags: 0 }).map(drop)
}

/// Opens what is pinned.
pub fn open_pin(path: &CStr) -> io::Result<OwnedFd> {
    let path = path.as_ptr().expose_provenance() as u64;
    let made = call(OBJ_GET, &mut Pin { path, object: 0, flags: 0 })?;
    // SAFETY: as in `create_link`.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    // Descriptors are not negative.
    descriptor.as_fd().as_raw_fd() as u32
}

/// Calls bpf(2).
fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    let size = size_of::<T>() as libc::c_uint;
    // SAFETY: the kernel reads and writes `size` octets of `attributes`, all of which are there and are
    // integers. Addresses in them are those of values that the callers above hold until this returns: strings
    // that end in a zero and are only read, and a `LinkInfo`, of which as many octets are written as it has.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *mut T, size) };
    Ok(Errno::result(result)? as RawFd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_link_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(link_info(file.as_fd()).is_err());
        assert!(detach_link(file.as_fd()).is_err());
        assert!(update_link(file.as_fd(), file.as_fd()).is_err());
        assert!(create_link(file.as_fd(), 1, AttachPoint::Xdp, 0).is_err());
        assert!(pin(file.as_fd(), c"/sys/fs/bpf/nothing").is_err());
        assert!(open_pin(c"/dev/null").is_err());
    }
}
