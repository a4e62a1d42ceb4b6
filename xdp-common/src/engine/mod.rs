//! The answering engine: find the name, plan what is said, compose it.
//!
//! | stage | module |
//! |---|---|
//! | find nodes by name and the closest encloser | [`find`] |
//! | plan the answer at a name that exists | [`exact`] |
//! | plan the answer at a name that does not | [`deny`] |
//! | plan the referral at and below a zone cut | `referral` |
//! | find the proof that it does not | [`gap`] |
//! | follow CNAMEs, make them from DNAMEs | [`alias`] |
//! | put proofs into a plan | [`proofs`] |
//! | read the query's options, make the response's | [`options`] |
//! | know how large the planned answer gets | [`measure`] |
//! | write it | [`compose`]; more than pointers reach over, [`long`] |
//!
//! [`sequence`] is the order of them, for all who answer; [`Host`] takes them over one message.

pub mod alias;
pub mod compose;
pub mod deny;
pub mod exact;
pub mod find;
pub mod gap;
mod host;
pub mod long;
pub mod measure;
pub mod options;
pub mod proofs;
mod referral;
pub mod sequence;

pub use host::{Host, MessageContext};
