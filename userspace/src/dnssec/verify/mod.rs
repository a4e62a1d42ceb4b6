//! Checking a signed zone as a validator would, name by name.
//!
//! The work is bounded: a validator that tries every key for every signature can be kept busy by
//! a zone made for it (KeyTrap, CVE-2023-50387), so [`MAX_KEYS_PER_TAG`] and
//! [`MAX_SIGNATURES`] say what is tried, and what lies beyond is a fault.

use rayon::prelude::*;

use self::fault::{Faults, fault};
use self::keys::{has_same_keys, zone_keys};
use self::nsec3::ChainCounts;
use self::rrset::{Found, RrsetVerifier};
use super::authority::{NameStatus, places};
use super::denial::Parameters;
use super::lasting::Signers;
use super::policy::Denial;
use crate::zone::{Rtype, Serial, Version, Zone};

mod bitmap;
mod fault;
mod keys;
mod nsec;
mod nsec3;
mod rrset;

pub use fault::{Fault, Reason};

/// How many keys of the same tag and algorithm are tried for a signature. Two meet by accident with
/// a chance of 1 in 65,536; signers avoid it.
pub const MAX_KEYS_PER_TAG: usize = 4;

/// How many signatures of one RRset are tried: a zone has one per key, and a few more while keys
/// are replaced.
pub const MAX_SIGNATURES: usize = 8;

/// How many zone keys are looked at.
pub const MAX_KEYS: usize = 64;

/// How many faults are collected before the rest of the zone is left alone.
pub const MAX_FAULTS: usize = 1000;

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
}

/// Checks every RRset that the zone has authority over, and the chain that denies the rest.
///
/// `now` is seconds since 1970, truncated to 32 bits. Returns the faults, at most
/// [`MAX_FAULTS`] or a few more, sorted by name. Runs in the current rayon pool.
pub fn verify(zone: &Zone, now: u32) -> Result<VerifyReport, Vec<Fault>> {
    verify_again(zone, None, now)
}

/// As [`verify`]; signatures that `before` has of the same records, a version of the zone without
/// faults, are not computed again.
pub fn verify_again(
    zone: &Zone,
    before: Option<&Version>,
    now: u32,
) -> Result<VerifyReport, Vec<Fault>> {
    let apex = zone.at_apex();
    let keys = zone_keys(&apex).map_err(|fault| vec![fault])?;
    // Whatever was said about a signature holds as long as the keys are the same.
    let before =
        before.filter(|before| has_same_keys(before.find(apex.name()).as_ref(), Some(&apex)));
    let faults = Faults::default();
    let verifier = RrsetVerifier { apex: zone.apex(), before, keys: &keys, now };
    let places = places(zone);
    let mut found = check_rrsets(zone, &places, &verifier, &faults);
    let (denial, counts) = check_denial(zone, &places, &faults, &mut found.faults);
    if !found.faults.is_empty() {
        found.faults.sort_by(|a, b| (&a.owner, a.rtype).cmp(&(&b.owner, b.rtype)));
        return Err(found.faults);
    }
    let remaining = found.remaining.clamp(0, i64::from(u32::MAX)) as u32;
    Ok(VerifyReport {
        rrsets: found.rrsets,
        keys: keys.len(),
        denial,
        denials: counts.records,
        expiration: now.wrapping_add(remaining),
    })
}

/// Checks the signatures of a zone and of what stands beside it.
fn check_rrsets(
    zone: &Zone,
    places: &[NameStatus],
    verifier: &RrsetVerifier<'_>,
    faults: &Faults,
) -> Found {
    let found = (0..places.len())
        .into_par_iter()
        .map(|index| verifier.owner(&zone.owner(index), places[index], faults))
        .reduce(Found::default, Found::and);
    let Some(any_answers) = zone.any_answers() else { return found };
    let beside = (0..any_answers.owners().len())
        .into_par_iter()
        .map(|index| verifier.any_answer(&any_answers.owner(index), faults))
        .reduce(Found::default, Found::and);
    found.and(beside)
}

/// Checks the chain that a zone is served with.
fn check_denial(
    zone: &Zone,
    places: &[NameStatus],
    faults: &Faults,
    found: &mut Vec<Fault>,
) -> (Denial, ChainCounts) {
    let apex = zone.at_apex();
    match Parameters::of(&apex) {
        Some(Ok(parameters)) => {
            let counts = nsec3::check_chain(zone, places, &parameters, faults, found);
            (Denial::Nsec3 { opt_out: counts.opt_outs > 0 }, counts)
        }
        Some(Err(error)) => {
            found.push(fault(apex.name(), Rtype::NSEC3PARAM, error.into()));
            (Denial::Nsec3 { opt_out: false }, ChainCounts::default())
        }
        None if apex.rrset(Rtype::NSEC).is_none() => {
            found.push(fault(apex.name(), Rtype::NSEC, Reason::NoChain));
            (Denial::Nsec, ChainCounts::default())
        }
        None => {
            let records = nsec::check_chain(zone, places, faults, found);
            (Denial::Nsec, ChainCounts { records, ..ChainCounts::default() })
        }
    }
}

/// When the first of a zone's RRsets is no more held by a signature; `None` if it has none. Nothing is verified.
pub fn first_expiration(zone: &Zone, now: u32) -> Option<u32> {
    let signers = Signers::of(zone);
    let ends =
        zone.owners().filter(|owner| owner.rrset(Rtype::RRSIG).is_some()).flat_map(|owner| {
            let ends = owner.rrsets().filter_map(|rrset| signers.until(&owner, &rrset, now));
            ends.collect::<Vec<_>>()
        });
    ends.min_by_key(|end| Serial(*end).since(Serial(now)))
}
