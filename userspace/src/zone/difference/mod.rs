//! What changes one version of a zone into another: records removed and records added, as incremental transfer
//! sends them (RFC 1995).
//!
//! | file | what |
//! |---|---|
//! | `between.rs` | a difference, made of two versions |
//! | `records.rs` | records in canonical order, of any zone |
//! | `apply.rs` | what a difference makes of one owner; `version` makes versions of it |
//! | `sequence.rs` | a difference as the records of an IXFR, and read from them |
//! | `condense.rs` | differences that lead on from each other made into one |

mod apply;
mod between;
mod condense;
mod records;
mod sequence;
#[cfg(test)]
pub(in crate::zone) mod tests;

pub use apply::{ApplyError, Rules};
pub(in crate::zone) use apply::{Change, ChangedRrset};
pub(in crate::zone) use between::OwnerPair;
pub use between::{Difference, Size};
pub use records::{RecordRef, Records};
pub use sequence::SequenceError;
