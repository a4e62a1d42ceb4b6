//! Checking a whole zone.

use rayon::prelude::*;

use super::fault::{Fault, Faults, Reason, fault};
use super::keys::{has_same_keys, zone_keys};
use super::nsec3::ChainCounts;
use super::report::VerifyReport;
use super::rrset::{Found, RrsetVerifier, VersionBefore};
use super::{nsec, nsec3};
use crate::dnssec::authority::{NameStatus, places};
use crate::dnssec::denial::Parameters;
use crate::dnssec::lasting::Signers;
use crate::dnssec::policy::Denial;
use crate::zone::{Rtype, Serial, Version, Zone};

/// Checks every RRset that the zone has authority over, and the chain that denies the rest.
///
/// `now` is seconds since 1970, truncated to 32 bits. Returns the faults, at most
/// [`MAX_FAULTS`](super::MAX_FAULTS) or a few more, sorted by name. Runs in the current rayon pool.
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
    let before = before
        .filter(|before| has_same_keys(before.find(apex.name()).as_ref(), Some(&apex)))
        .and_then(VersionBefore::of);
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
        is_expiration_exact: true,
        verified_at: now,
        opt_outs: counts.opt_outs,
        beside_others: counts.beside_others,
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
