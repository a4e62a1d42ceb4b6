//! What becomes of a zone that is served when its signatures turn out to be wrong.

use std::collections::BTreeSet;

use crate::dnssec::verify::{Fault, MAX_FAULTS, Reason};
use crate::zone::{Name, Rtype, Version};

/// What is not sent of a zone, since a validator would refuse it.
#[derive(Debug, PartialEq, Eq)]
pub enum Withheld {
    /// These RRsets, and answers that have them: queries for them are answered SERVFAIL.
    Rrsets(BTreeSet<(Name, Rtype)>),
    /// The zone.
    All,
}

/// What must not be sent of a zone with these faults. A fault that is in one RRset, an NSEC or NSEC3 record too, takes
/// nothing but this away. One that is no RRset's takes the zone: keys that cannot be used, proofs that lack. Signatures
/// that have ended, or have not begun, take nothing: pieces have their times, and a clock that is wrong may be ours.
pub fn withheld(zone: &Version, faults: &[Fault]) -> Withheld {
    let is_lasting = |fault: &&Fault| {
        !matches!(fault.reason, Reason::Expired { .. } | Reason::NotYetValid { .. })
    };
    let mut lasting = faults.iter().filter(is_lasting).peekable();
    let is_cut_short = faults.len() >= MAX_FAULTS && lasting.peek().is_some();
    if is_cut_short || !lasting.clone().all(|fault| is_of_one_rrset(zone, fault)) {
        return Withheld::All;
    }
    Withheld::Rrsets(lasting.map(|fault| (fault.owner.clone(), fault.rtype)).collect())
}

fn is_of_one_rrset(zone: &Version, fault: &Fault) -> bool {
    let is_there = || zone.find(fault.owner.as_wire())?.rrset(fault.rtype);
    match fault.reason {
        Reason::NoDnskey
        | Reason::Digest(_)
        | Reason::Zone(_)
        | Reason::NoUsableKey(_)
        | Reason::TooManyKeys
        | Reason::TooManyKeysOfOneTag(_)
        | Reason::NoNsec
        | Reason::NoChain
        | Reason::Parameters(_)
        | Reason::NoNsec3(_)
        | Reason::NoOptOut(_) => false,
        Reason::NoSignature
        | Reason::TooManySignatures
        | Reason::MalformedSignature
        | Reason::Expired { .. }
        | Reason::NotYetValid { .. }
        | Reason::UnknownKey { .. }
        | Reason::OtherSigner { .. }
        | Reason::Labels { .. }
        | Reason::Ttl { .. }
        | Reason::Invalid { .. }
        | Reason::NotBySep
        | Reason::SeveralNsec
        | Reason::NeedlessNsec
        | Reason::MalformedDenial
        | Reason::NextName { .. }
        | Reason::Bitmap { .. }
        | Reason::NotAHash
        | Reason::NeedlessNsec3
        | Reason::SeveralNsec3
        | Reason::NextHash => is_there().is_some(),
    }
}
