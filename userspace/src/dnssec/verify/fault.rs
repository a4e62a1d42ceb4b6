//! What a validator would reject, and how much of it is collected.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::limits::{MAX_FAULTS, MAX_KEYS, MAX_KEYS_PER_TAG, MAX_SIGNATURES};
use crate::dnssec::denial::ParametersError;
use crate::dnssec::zonemd::Mismatch;
use crate::zone::{Name, Rtype, ZoneFaultKind};

/// Something that a validator would reject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The owner name.
    pub owner: Name,
    /// The type.
    pub rtype: Rtype,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.owner, self.rtype, self.reason)
    }
}

impl std::error::Error for Fault {}

/// What is wrong with an RRset.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say it")]
pub enum Reason {
    #[error("the zone is not signed: it has no DNSKEY record")]
    NoDnskey,
    #[error(transparent)]
    Digest(#[from] Mismatch),
    #[error(transparent)]
    Zone(#[from] ZoneFaultKind),
    #[error("none of the DNSKEY records can be used: {0}")]
    NoUsableKey(String),
    #[error("there are more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("more than {MAX_KEYS_PER_TAG} keys have the tag {0}")]
    TooManyKeysOfOneTag(u16),
    #[error("there is no signature")]
    NoSignature,
    #[error("there are more than {MAX_SIGNATURES} signatures, and none of the first is valid")]
    TooManySignatures,
    #[error("an RRSIG record is cut short")]
    MalformedSignature,
    #[error("the signature by key {tag} expired at {}, now is {}", date(*expiration), date(*now))]
    Expired { tag: u16, expiration: u32, now: u32 },
    #[error("the signature by key {tag} is not valid before {}, now is {}",
            date(*inception), date(*now))]
    NotYetValid { tag: u16, inception: u32, now: u32 },
    #[error(
        "the signature is by key {tag} of algorithm {algorithm}, which is not among the \
             zone's usable keys"
    )]
    UnknownKey { tag: u16, algorithm: u8 },
    #[error("the signature by key {tag} names {signer} as the signer, not the zone")]
    OtherSigner { tag: u16, signer: Name },
    #[error("the signature by key {tag} says {found} labels, the name has {expected}")]
    Labels { tag: u16, found: u8, expected: u8 },
    #[error(
        "the TTL {ttl} is higher than the original TTL {original} in the signature by key {tag}"
    )]
    Ttl { tag: u16, ttl: u32, original: u32 },
    #[error("the signature by key {tag} does not match the records")]
    Invalid { tag: u16 },
    #[error("no valid signature is by a key with the SEP flag, as a DS record points to")]
    NotBySep,
    #[error("the name has no NSEC record")]
    NoNsec,
    #[error("the name has more than one NSEC record")]
    SeveralNsec,
    #[error("there is an NSEC record where the zone has no authority")]
    NeedlessNsec,
    #[error("the record is cut short")]
    MalformedDenial,
    #[error("the next name is {found}, but should be {expected}")]
    NextName { found: Name, expected: Name },
    #[error("the type bit map is wrong: it lists {found}, but should list {expected}")]
    Bitmap { found: String, expected: String },
    #[error("the zone has neither an NSEC record at its apex nor an NSEC3PARAM record")]
    NoChain,
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error("the name has no NSEC3 record {0}")]
    NoNsec3(Name),
    #[error(
        "the name is a delegation without an NSEC3 record {0}, and the record that covers \
             it is without the opt-out flag"
    )]
    NoOptOut(Name),
    #[error("the owner is not a hash before the zone's name")]
    NotAHash,
    #[error("no name of the zone has this hash")]
    NeedlessNsec3,
    #[error("the name has several NSEC3 records of one chain")]
    SeveralNsec3,
    #[error("the next hash is not that of the next NSEC3 record: the chain is broken")]
    NextHash,
}

/// A time as people read it; those after 2106 are taken for earlier ones.
fn date(time: u32) -> String {
    jiff::Timestamp::from_second(time.into())
        .map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// Counts faults, so that a zone that is wrong everywhere does not fill the memory with them.
#[derive(Default)]
pub(super) struct Faults(AtomicUsize);

impl Faults {
    pub(super) fn count(&self, new: usize) {
        self.0.fetch_add(new, Ordering::Relaxed);
    }

    pub(super) fn are_enough(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MAX_FAULTS
    }
}

pub(super) fn fault(owner: &[u8], rtype: Rtype, reason: Reason) -> Fault {
    Fault { owner: Name::from_wire(owner).unwrap_or_else(Name::root), rtype, reason }
}
