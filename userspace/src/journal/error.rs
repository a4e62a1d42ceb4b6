//! What goes wrong with a journal.

use std::io;

use crate::zone::Name;

/// Why a journal is not read, or not written to.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk says so: nothing of the change is in the journal.
    #[error("the journal cannot be written: {0}")]
    Write(#[source] io::Error),
    /// The disk did not say that the octets are on it. Whether they are is not known, and a later success would not
    /// say it either: the journal takes no more before it is trimmed.
    #[error("the journal cannot be synced: {0}")]
    Sync(#[source] io::Error),
    /// A write or a sync failed before.
    #[error("the journal failed before, and takes nothing until it is made anew")]
    Failed,
    /// The file cannot be read.
    #[error("the journal cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The file does not begin as one.
    #[error("this is not a journal, or its header is damaged")]
    NoJournal,
    /// The file was written by a later version of sealdns.
    #[error("the journal has format {found}, which a newer sealdns writes; this one knows {known}")]
    Newer {
        /// The format of the file.
        found: u16,
        /// The newest format that is known here.
        known: u16,
    },
    /// The journal is another zone's.
    #[error("the journal is of {found}, not of {wanted}")]
    OtherZone {
        /// The zone of the file.
        found: Name,
        /// The zone that was asked for.
        wanted: Name,
    },
    /// What is to be written behind a place of the chain is not the next there.
    #[error("the journal leads to another version of the zone than the one that changes")]
    OtherPlace,
    /// The change is larger than a journal may be, or what waits is.
    #[error("with {needed} octets the journal exceeds the limit of {limit}")]
    TooLarge {
        /// Octets that it would have.
        needed: u64,
        /// Octets that it may have.
        limit: u64,
    },
}
