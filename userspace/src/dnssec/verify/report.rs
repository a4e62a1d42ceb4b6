//! What is found of a zone, or of a difference.

use super::fault::Fault;
use crate::dnssec::policy::Denial;
use crate::zone::Version;

/// What was found in a zone without faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// RRsets with a valid signature.
    pub rrsets: usize,
    /// Keys in the DNSKEY RRset that can be used.
    pub keys: usize,
    /// How the absence of names is proven.
    pub denial: Denial,
    /// NSEC or NSEC3 records in the chain.
    pub denials: usize,
    /// When the first RRset is no more held by a signature, in seconds since 1970 truncated to 32 bits.
    pub expiration: u32,
    /// Whether it is no more held right then. Else it is held longer, perhaps: of a difference, an RRset changed that
    /// ended then, and only a look at the whole zone would tell whether others do.
    pub is_expiration_exact: bool,
    /// When it was verified, in seconds since 1970 truncated to 32 bits.
    pub verified_at: u32,
    /// NSEC3 records in the chain that have the opt-out flag.
    pub opt_outs: usize,
    /// NSEC3 records in the chain at owners that have other records, too.
    pub beside_others: usize,
}

/// A version of a zone that was verified, and what was found.
#[derive(Clone, Copy)]
pub struct Verified<'a> {
    /// The version.
    pub version: &'a Version,
    /// What was found of it: by the whole check, or of differences one after the other since.
    pub report: &'a VerifyReport,
}

/// What was found of a version by what changed since the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DifferenceReport {
    /// What the whole check would find, but perhaps for `expiration`.
    pub report: VerifyReport,
    /// When the first of the RRsets that were looked at begins to be held after a time in which it is not; as
    /// [`begins_at`](crate::dnssec::lasting::begins_at) has it for a whole zone.
    pub begins_at: Option<u32>,
    /// What it took.
    pub looked_at: LookedAt,
}

/// What the check of a difference took. It does not depend on how large the zone is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LookedAt {
    /// Owners of which every RRset was looked at.
    pub owners: usize,
    /// Names, empty non-terminals among them, of which it was asked what denies others there.
    pub names: usize,
    /// NSEC and NSEC3 records.
    pub denials: usize,
}

/// Why a difference was not found to be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotVerified {
    /// The new version has these faults; perhaps more.
    Faults(Vec<Fault>),
    /// Only the whole check can tell.
    Whole(WholeCheckReason),
}

/// Why only the whole check can tell whether a version is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WholeCheckReason {
    /// Which signatures hold depends on them.
    #[error("its DNSKEY records change")]
    Keys,
    /// RFC 8976: every record changes the digest.
    #[error("its ZONEMD record is a digest of all of it")]
    Digest,
    /// Every name is in another chain.
    #[error("its NSEC3PARAM records change")]
    Parameters,
    /// A signature of an RRset that did not change may have ended, or not begun.
    #[error("the time is not one at which all signatures that do not change are known to hold")]
    Time,
    /// They are not a version that shares memory with the one before.
    #[error("what is said to ANY was made anew")]
    AnyAnswers,
    /// A name that has no NSEC3 record is not found by its hash.
    #[error("delegations without NSEC3 records may lack ones that they need")]
    OptOut,
    /// RFC 5155 section 7.1 knows of no such owner: a walk along hashes misses its NSEC3 record.
    #[error("an NSEC3 record stands at an owner that has other records")]
    BesideOthers,
    /// Whether an empty non-terminal needs an NSEC3 record, all names below it say.
    #[error("an empty non-terminal above many delegations has no NSEC3 record")]
    EmptyNonTerminal,
}
