//! The journal of a zone: differences one after the other, on the disk before they are acknowledged.
//!
//! A *base* is a version of the zone that is kept elsewhere and known by its digest. The journal has the differences that
//! lead on from it, and before these some of those that led to it: reversed, they lead back, for rollback and for
//! incremental transfer. What comes out of a file is one of the versions that were written, whatever became of the file:
//! each difference lies in a *frame* with a checksum, which says of which frame it is the next.
//!
//! | to … | use |
//! |---|---|
//! | begin a journal | [`Journal::create`] |
//! | read one, and go on with it | [`Journal::open`] |
//! | add differences | [`Journal::append`], then [`Journal::sync`] |
//! | go through them | [`Contents::forward`], [`Contents::backward`] |
//! | begin anew from a later base | [`Journal::rewrite`] |
//!
//! | file | what |
//! |---|---|
//! | `format.rs` | header and frame as octets |
//! | `contents.rs` | what is in a file, up to where it is right |
//! | `writer.rs` | differences appended; what follows from a disk that is full or fails |
//! | `error.rs` | what goes wrong |

mod contents;
mod error;
mod format;
#[cfg(test)]
mod tests;
mod writer;

pub use contents::{Contents, Cut};
pub use error::JournalError;
pub use format::{CutReason, Digest, Entry, Frame, FrameKind, MalformedFrame};
pub use writer::{Journal, Limits, Storage};
