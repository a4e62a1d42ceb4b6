//! What of a zone cannot be compiled, or not sent.

use std::fmt;

use xdp_common::image::node::MAX_TYPES;

use super::piece::MAX_TCP_MESSAGE;
use crate::dnssec::denial::ParametersError;
use crate::zone::{Name, Rtype};

/// Why a zone cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There is no SOA at the apex.
    #[error("the zone has no SOA at its apex")]
    NoApex,
    /// NSEC3 with too many iterations, or none that is known.
    #[error(transparent)]
    Nsec3Parameters(#[from] ParametersError),
    /// NSEC3PARAM, but no NSEC3 of that chain.
    #[error("the zone has an NSEC3PARAM record, but no NSEC3 records of that chain")]
    NoNsec3,
    /// More hashes alike than chance explains.
    #[error(
        "more than {} NSEC3 hashes of the zone start alike",
        xdp_common::image::chain::MAX_SCAN
    )]
    CrowdedHashes,
    /// There is no room in the slab.
    #[error("the zone needs {slab_end} octets of slab, those in use included")]
    Full {
        /// Where the zone's last record would end.
        slab_end: usize,
        /// Names that it has.
        names: usize,
    },
}

/// Why a zone is not published. The version before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The memory is too small.
    #[error("the image needs {slab_needed} octets of slab and {buckets_needed} buckets")]
    Full {
        /// Octets of slab that would do.
        slab_needed: usize,
        /// Buckets that would do.
        buckets_needed: usize,
    },
    /// The zone cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Why a difference is not published by itself. The version before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The version to be must be published as a whole.
    #[error(transparent)]
    Whole(#[from] WholeReason),
    /// That would fail, too.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What of a difference, or of what is published, is not compiled without the rest of the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WholeReason {
    /// No version of the zone is published.
    #[error("no version of the zone is published")]
    NotPublished,
    /// Of the version that is published only some names are.
    #[error("only some names of the zone are published")]
    Partial,
    /// Another version is published than the one that the difference changes.
    #[error("another version is published than the one that changes")]
    OtherVersion,
    /// Zones below this one are published: they may hide names of it.
    #[error("zones below it are published")]
    ZonesBelow,
    /// RRsets that are said to ANY stand beside the zone.
    #[error("RRsets stand beside the zone")]
    AnyAnswers,
    /// Keys of the zone or parameters of its NSEC3 chain change, which decide for all names.
    #[error("the zone's keys or NSEC3 parameters change")]
    Parameters,
    /// NSEC or NSEC3 records change, or the way in which the zone denies existence does.
    #[error("the denial of existence changes")]
    Denial,
    /// Names come or go.
    #[error("names come or go")]
    Names,
    /// A CNAME leads into a circle, or to a long chain of others.
    #[error("CNAMEs may lead in a circle")]
    CnameCircle,
    /// No message can carry what changes.
    #[error("no message can carry what changes")]
    Unsendable,
}

/// Something in a zone that no message can carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsendable {
    /// The owner name.
    pub owner: Name,
    /// What it is.
    pub kind: UnsendableKind,
}

/// What no message can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnsendableKind {
    /// The RRset of a type, with its signatures, is too large.
    Rrset(Rtype),
    /// So are the NS records of a delegation with its DS.
    Referral,
    /// So are these with the addresses of those name servers that are at or below the delegation.
    Glue,
    /// The name has more types than are held.
    Types,
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = &self.owner;
        match self.kind {
            UnsendableKind::Rrset(rtype) => write!(
                f,
                "{owner} {rtype}: the RRset, its signatures included, is larger than a DNS message \
                 ({MAX_TCP_MESSAGE} octets); queries for it are answered SERVFAIL"
            ),
            UnsendableKind::Referral => write!(
                f,
                "{owner} NS: the referral with its DS is larger than a DNS message ({MAX_TCP_MESSAGE} octets); queries at or \
         below it are answered SERVFAIL"
            ),
            UnsendableKind::Glue => write!(
                f,
                "{owner} NS: the referral with the addresses of its name servers is larger than a DNS message \
                 ({MAX_TCP_MESSAGE} octets); addresses are left out, and TC is set"
            ),
            UnsendableKind::Types => write!(
                f,
                "{owner} has records of more than {MAX_TYPES} types; queries for it are answered SERVFAIL"
            ),
        }
    }
}

/// The record to blame, where a fault has one: owner and type, or any type of the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultyRecord {
    /// The owner name.
    pub owner: Name,
    /// The type.
    pub rtype: Option<Rtype>,
}

impl Unsendable {
    /// Where it begins.
    pub fn faulty_record(&self) -> FaultyRecord {
        let rtype = match self.kind {
            UnsendableKind::Rrset(rtype) => Some(rtype),
            UnsendableKind::Referral | UnsendableKind::Glue => Some(Rtype::NS),
            UnsendableKind::Types => None,
        };
        FaultyRecord { owner: self.owner.clone(), rtype }
    }
}

impl CompileError {
    /// The record of a zone that is to blame: what lacks is lacking at the apex.
    pub fn faulty_record(&self, apex: &Name) -> FaultyRecord {
        let rtype = match self {
            CompileError::NoApex | CompileError::Full { .. } => Rtype::SOA,
            CompileError::Nsec3Parameters(_)
            | CompileError::NoNsec3
            | CompileError::CrowdedHashes => Rtype::NSEC3PARAM,
        };
        FaultyRecord { owner: apex.clone(), rtype: Some(rtype) }
    }
}
