//! Zones as wire bytes.
//!
//! A [`Zone`] holds lower-case owner names, types, TTLs and canonical RDATA (RFC 4034 section 6)
//! as they stand on the wire. Libraries meet it through the wire format only.
//!
//! | to … | use |
//! |---|---|
//! | hold, read or compare an owner name | [`Name`], [`canonical_order`] |
//! | compare serials and times | [`Serial`] |
//! | take an SOA apart | [`Soa`] |
//! | know what is wrong about one owner of a version | [`faults::of_owner`] |
//! | gather records into a zone | [`ZoneBuilder`] |
//! | make a zone of RRsets in order | [`ZoneWriter`] |
//! | read or write a zone as text | [`text::read`], [`text::write()`] |
//! | keep a zone as octets | [`stored_arrays`] |
//! | look at a zone | [`Zone::owners`], [`Zone::find`], [`Owner::rrset`] |
//! | change a zone | [`version`], [`difference`] |

pub mod arrays;
mod builder;
mod canonical;
pub mod difference;
mod error;
pub mod faults;
pub mod name;
mod name_text;
mod record;
pub mod rtype;
pub mod serial;
pub mod soa;
pub mod stored;
pub mod stored_arrays;
pub mod text;
pub mod tree;
pub mod version;
#[cfg(test)]
pub(crate) mod visits;
mod writer;

pub use arrays::{Owner, Rrset};
pub use builder::ZoneBuilder;
pub(crate) use canonical::{canonical_rdata, rdata_names};
pub use error::ZoneError;
pub use faults::{ZoneFault, ZoneFaultKind};
pub use name::{Name, canonical_order};
pub use name_text::{NameError, NameFault, in_file_name};
pub use rtype::Rtype;
pub use serial::Serial;
pub use soa::Soa;
pub use tree::Zone;
pub use version::Version;
pub use writer::ZoneWriter;
