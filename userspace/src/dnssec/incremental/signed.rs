//! A signed difference, and why there is none.

use crate::dnssec::keys::SigningFailed;
use crate::dnssec::sign::SignError;
use crate::zone::difference::{ApplyError, Difference};

/// What changes a signed version of a zone into the next.
#[derive(Clone, Debug)]
pub struct SignedDifference {
    /// Of the zone. It has no record that does not change.
    pub zone: Difference,
    /// Of the RRsets that stand beside it and are said to ANY, if the zone has such.
    pub any_answers: Option<Difference>,
    /// What was done.
    pub statistics: Statistics,
}

/// What signing a difference took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Names that were looked at because of what they are, or were, in the zone.
    pub names: usize,
    /// RRsets that were signed.
    pub rrsets: usize,
    /// Signatures made.
    pub signatures: usize,
    /// NSEC or NSEC3 records that are new or changed.
    pub denials: usize,
}

/// Why a difference was not signed.
#[derive(Debug, thiserror::Error)]
pub enum DifferenceError {
    /// What changes cannot be told from the rest: the caller signs the zone as a whole.
    #[error("the zone must be signed as a whole: {0}")]
    Whole(WholeReason),
    /// The zone cannot be signed, nor could it as a whole.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The difference does not fit the zone.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl From<SigningFailed> for DifferenceError {
    fn from(error: SigningFailed) -> DifferenceError {
        DifferenceError::Sign(error.into())
    }
}

/// Why the difference of a signed zone cannot be made of that of the unsigned zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WholeReason {
    /// RFC 8976: every record changes the digest.
    #[error("its ZONEMD record is a digest of all of it")]
    Digest,
    /// What keys sign is a matter of the whole zone.
    #[error("its DNSKEY records change, or lack one of the keys")]
    Keys,
    /// It has another chain or other answers to ANY than the policy asks for, or no signatures at all.
    #[error("it is not signed in the way that the policy asks for")]
    Manner,
}
