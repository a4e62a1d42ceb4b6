//! Response-rate limiting: who gets how many answers, and what becomes of the rest.
//!
//! | to … | use |
//! |---|---|
//! | say what is allowed, as an operator does | [`Policy`] |
//! | have it as the limiter reads it | [`Rules`] |
//! | name what is said, and what becomes of it | [`Class`], [`Verdict`], [`Hit`] |
//! | name those who ask, and list them | [`Netblock`], [`ListEntry`] |
//! | say what of a response is counted together | [`response_key`] |
//! | decide | [`decide`] |
//! | count responses in fixed memory | [`table`] |
//! | note which response was largest for its query | [`amplified`] |
//!
//! Every response is counted twice, as BIND does. When its query comes it counts for its *netblock*, at
//! several prefix lengths at once (as Knot does): that bounds all that is sent there, and what is over is
//! dropped before the question is read. When it is planned it counts for *(netblock, class, name)*, where the
//! name is that of the closest encloser if the name itself does not exist or comes from a wildcard: random
//! names share one account. What is passed up to the daemon has accounts of its own.

pub mod amplified;
pub mod decide;
pub mod list;
pub mod netblock;
pub mod policy;
pub mod response_key;
pub mod table;
pub mod verdict;

pub use list::{ListEntry, NameEntry};
pub use netblock::Netblock;
pub use policy::{Level, Mode, Policy, Rate, Rules};
pub use verdict::{Class, Hit, Limited, Verdict};
