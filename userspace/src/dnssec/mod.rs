//! DNSSEC: keys, signing a zone, and checking a signed one as a validator would.
//!
//! | to … | use |
//! |---|---|
//! | find, make and store keys | [`keys::store::KeyStore`], [`keys::Key`] |
//! | say how a zone is signed | [`policy::SigningPolicy`] |
//! | decide how long signatures are valid | [`lifetime`] |
//! | sign a zone | [`sign::sign`] |
//! | sign what changes of a signed zone | [`incremental::sign_difference`] |
//! | sign it again without its file | [`origin::Origin`] |
//! | check a signed zone | [`verify::verify`] |
//! | know of each version when its signatures are valid | [`times::SignatureTimes`] |
//! | check the digest over a zone | [`zonemd::check`] |
//! | know which names the zone has authority over | [`authority::places`] |
//!
//! Nothing here reads a clock: the time is an argument, in seconds since 1970 truncated to 32
//! bits (RFC 4034 section 3.1.5). Files are met in [`keys::store`] alone.

pub mod any;
pub mod authority;
mod chains;
mod choice;
pub mod denial;
pub mod incremental;
pub mod keys;
pub mod lasting;
pub mod lifetime;
pub mod origin;
pub mod policy;
mod previous;
pub mod rrset_signer;
pub mod rrsig;
pub mod sign;
mod states;
pub mod times;
pub mod verify;
pub mod zonemd;

#[cfg(test)]
mod tests;
