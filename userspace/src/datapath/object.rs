//! The eBPF object, embedded when the binary was built.

use thiserror::Error;

/// The eBPF object, aligned for the loader, or `None` if the binary was built without it.
///
/// It has no DWARF: `build.rs` leaves that out. A static, since a constant has no place of its own: the compiler writes
/// it once per unit of code that names it.
#[cfg(has_ebpf_object)]
pub static OBJECT: Option<&[u8]> =
    Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ebpf-object")));
/// None: the binary was built without it.
#[cfg(not(has_ebpf_object))]
pub static OBJECT: Option<&[u8]> = None;

/// The binary holds no XDP program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "this binary was built without the XDP program; \
     run `cargo xtask setup`, then `cargo xtask build`"
)]
pub struct NoObject;

/// The eBPF object, or the sentence that tells an operator how to get one.
pub fn object() -> Result<&'static [u8], NoObject> {
    OBJECT.ok_or(NoObject)
}
