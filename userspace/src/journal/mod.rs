//! The journal of a zone: differences one after the other, on the disk before they are acknowledged.
//!
//! A version of the zone, its *base*, is kept elsewhere, with the [`Place`] at which it stands in the chain of differences. The
//! journal has those that lead on from it, and before these some of those that led to it: reversed, they lead back, for
//! rollback and for incremental transfer. What comes out of a file is one of the versions that were written, whatever
//! became of the file: each difference lies in a *frame* with a checksum, which says of which frame it is the next.
//!
//! | to … | use |
//! |---|---|
//! | begin a journal | [`Journal::create`] |
//! | read one, and go on with it | [`Contents::open`], [`Journal::behind`] |
//! | add differences | [`Journal::append`], then [`Journal::sync`] |
//! | take them back | [`Journal::retract`] |
//! | go through them | [`Contents::after`], [`Contents::backward`] |
//! | leave out those that a later base has | [`Journal::trim`] |
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
pub use format::{CutReason, Digest, Entry, Frame, FrameKind, MalformedFrame, Place};
pub use writer::{Journal, JournalFile, Limits, Storage};
