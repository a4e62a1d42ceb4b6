//! Signing what changes: the difference of a signed zone that follows from one of the unsigned zone, and from time.
//!
//! | to … | use |
//! |---|---|
//! | sign a change of the zone's records | [`sign_difference`] |
//! | make signatures again that fall due | [`renew`] |
//!
//! Both give what [`sign`](super::sign::sign) would give for the whole zone, but for the times of signatures that
//! still hold, and neither walks over the zone.
//!
//! | file | what |
//! |---|---|
//! | `changed.rs` | a change of the zone's records, signed |
//! | `prepared.rs` | the version that has the change and no signatures of it yet |
//! | `edit.rs` | records that come and go, and signatures that are to be made |
//! | `renewal.rs` | signatures that fall due |
//! | `signed.rs` | what comes out, and why nothing does |

mod changed;
mod edit;
mod prepared;
mod renewal;
mod signed;
#[cfg(test)]
pub(in crate::dnssec) mod tests;

pub use changed::sign_difference;
pub use renewal::{Renewal, RenewalLimits, renew};
pub use signed::{DifferenceError, SignedDifference, Statistics, WholeReason};
