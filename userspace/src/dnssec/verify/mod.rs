//! Checking a signed zone as a validator would, name by name.
//!
//! | to … | use |
//! |---|---|
//! | check a whole zone | [`verify`] |
//! | check one that has much in common with a version that was checked | [`verify_again`] |
//! | check only what a difference can make wrong | [`verify_difference`] |
//!
//! The work is bounded: [`MAX_KEYS_PER_TAG`] and [`MAX_SIGNATURES`] say what is tried, and what lies beyond is a fault.
//!
//! | file | what |
//! |---|---|
//! | `whole.rs` | the check of a whole zone |
//! | `difference/` | the check of a difference |
//! | `rrset.rs`, `nsec.rs`, `nsec3.rs`, `bitmap.rs` | what must hold of one RRset, of one record of a chain |
//! | `keys.rs` | the keys that signatures are checked with |
//! | `report.rs`, `fault.rs` | what is found |
//! | `limits.rs` | how much is tried |

mod bitmap;
mod difference;
mod fault;
mod keys;
mod limits;
mod nsec;
mod nsec3;
mod report;
mod rrset;
#[cfg(test)]
mod tests;
mod whole;

pub use difference::verify_difference;
pub use fault::{Fault, Reason};
pub use limits::{MAX_FAULTS, MAX_KEYS, MAX_KEYS_PER_TAG, MAX_SIGNATURES};
pub use report::{
    DifferenceReport, LookedAt, NotVerified, Verified, VerifyReport, WholeCheckReason,
};
pub use whole::{first_expiration, verify, verify_again};
