//! Checking only what a difference can make wrong.
//!
//! The check of a whole zone says that many statements hold, each about a name and its neighbours: that its RRsets are
//! signed, that its NSEC or NSEC3 record lists its types and the name that follows. A statement that held of the version
//! before, and of which nothing changed, still holds. So what is looked at again is
//!
//! - owners that change, and those below a zone cut or a DNAME record that comes or goes: signatures, and what denies
//!   other names and types there;
//! - names before those that join or leave the NSEC chain;
//! - names above all these, with NSEC3: they come and go as empty non-terminals;
//! - NSEC3 records that change, and those before records that come or go.
//!
//! Some differences cannot be told to be right in this way: the whole check is made then
//! ([`NotVerified::Whole`]).

mod check;
mod nsec;
mod nsec3;

use std::collections::BTreeSet;

use rayon::prelude::*;

use self::check::{Counts, DifferenceCheck};
use super::fault::{Faults, Reason};
use super::keys::{has_same_keys, zone_keys};
use super::report::{
    DifferenceReport, LookedAt, NotVerified, Verified, VerifyReport, WholeCheckReason,
};
use super::rrset::{Found, RrsetVerifier, VersionBefore};
use crate::dnssec::authority::{is_signed, place_among};
use crate::dnssec::denial::Parameters;
use crate::dnssec::lasting::Signers;
use crate::dnssec::policy::Denial;
use crate::dnssec::states::affected_owners;
use crate::zone::difference::Difference;
use crate::zone::{Name, Owner, Rtype, Serial, Version, faults};

/// Checks that `new`, which `difference` makes of a verified version, has no faults: finds one if [`verify`](super::verify) or
/// [`faults::of_owner`] would, without a walk over the zone.
///
/// `now` is seconds since 1970, truncated to 32 bits. Runs in the current rayon pool. What lies below a zone cut or a
/// DNAME record that comes or goes is looked at owner by owner. The first check of a flat zone with NSEC3 finds its
/// hashed owners in a walk (10 ms for a million names).
///
/// # Errors
/// If there are faults, or if only the whole check can tell.
pub fn verify_difference(
    old: Verified<'_>,
    new: &Version,
    difference: &Difference,
    now: u32,
) -> Result<DifferenceReport, NotVerified> {
    let apexes = [old.version, new].map(|version| version.find(version.apex().as_wire()));
    let [Some(old_apex), Some(new_apex)] = apexes else {
        return Err(NotVerified::Whole(WholeCheckReason::Keys));
    };
    let any_answers = check_manner(old, new, [&old_apex, &new_apex], now)?;
    let keys = zone_keys(&new_apex).map_err(|fault| NotVerified::Faults(vec![fault]))?;
    let before = VersionBefore::of(old.version);
    let verifier = RrsetVerifier { apex: new.apex(), before, keys: &keys, now };
    let changed = changed_names(difference);
    let affected = affected_owners(old.version, new, &changed);
    let mut check = DifferenceCheck {
        old,
        new,
        changed: &changed,
        affected: &affected,
        faults: Faults::default(),
        found: Found::default(),
        looked_at: LookedAt { owners: affected.len(), ..LookedAt::default() },
        denials: Counts::default(),
        opt_outs: Counts::default(),
    };
    check.structure();
    check.signatures(&verifier, any_answers.as_ref());
    // Where the chain cannot be judged by itself, a fault that was found is one all the same.
    let judged = match Parameters::of(&new_apex) {
        Some(Ok(parameters)) => nsec3::check(&mut check, &parameters),
        Some(Err(_)) => Err(WholeCheckReason::Parameters),
        None if new_apex.rrset(Rtype::NSEC).is_none() => {
            check.fault(new_apex.name(), Rtype::NSEC, Reason::NoChain);
            Ok(())
        }
        None => {
            nsec::check(&mut check);
            Ok(())
        }
    };
    if !check.found.faults.is_empty() {
        let mut faults = check.found.faults;
        faults.sort_by(|a, b| (&a.owner, a.rtype).cmp(&(&b.owner, b.rtype)));
        return Err(NotVerified::Faults(faults));
    }
    judged.map_err(NotVerified::Whole)?;
    Ok(check.report([&old_apex, &new_apex], any_answers.as_ref(), now))
}

/// Refuses what concerns the whole zone. Returns what changes of the RRsets that stand beside it.
fn check_manner(
    old: Verified<'_>,
    new: &Version,
    [old_apex, new_apex]: [&Owner<'_>; 2],
    now: u32,
) -> Result<Option<Difference>, NotVerified> {
    let whole = |reason| Err(NotVerified::Whole(reason));
    let VerifyReport { verified_at, expiration, beside_others, .. } = *old.report;
    if !has_same_keys(Some(old_apex), Some(new_apex)) {
        return whole(WholeCheckReason::Keys);
    }
    if new_apex.rrset(Rtype::ZONEMD).is_some() {
        return whole(WholeCheckReason::Digest);
    }
    let [old_parameters, new_parameters] = [old_apex, new_apex].map(|apex| {
        let rrset = apex.rrset(Rtype::NSEC3PARAM);
        rrset.into_iter().flat_map(|rrset| rrset.rdatas())
    });
    if !old_parameters.eq(new_parameters) {
        return whole(WholeCheckReason::Parameters);
    }
    let from_now = |time: u32| Serial(time).since(Serial(now));
    if from_now(verified_at) > 0 || from_now(expiration) < 0 {
        return whole(WholeCheckReason::Time);
    }
    if beside_others > 0 {
        return whole(WholeCheckReason::BesideOthers);
    }
    match (old.version.any_answers(), new.any_answers()) {
        (None, None) => Ok(None),
        (Some(old), Some(new)) if old.has_same_flat_zone(new) => {
            Ok(Some(Difference::between_versions(old, new)))
        }
        _ => whole(WholeCheckReason::AnyAnswers),
    }
}

/// The owners of which a difference has records.
fn changed_names(difference: &Difference) -> BTreeSet<Name> {
    let records = difference.removed().iter().chain(difference.added().iter());
    records.filter_map(|record| Name::from_wire(record.owner)).collect()
}

impl DifferenceCheck<'_> {
    /// What records must not stand beside or below others.
    fn structure(&mut self) {
        let new = self.new;
        for owner in self.changed.iter().filter_map(|name| new.find(name.as_wire())) {
            for zone_fault in faults::of_owner(new, &owner) {
                let rtype = zone_fault.kind.rtype();
                self.fault(zone_fault.owner.as_wire(), rtype, zone_fault.kind.into());
            }
        }
    }

    /// The signatures of all owners that are affected.
    fn signatures(&mut self, verifier: &RrsetVerifier<'_>, any_answers: Option<&Difference>) {
        let names: Vec<&Name> = self.affected.iter().collect();
        let (new, faults) = (self.new, &self.faults);
        let of_owner = |name: &&Name| {
            let Some(owner) = new.find(name.as_wire()) else { return Found::default() };
            let place = place_among(new.apex(), &owner, |name| new.find(name));
            verifier.owner(&owner, place, faults)
        };
        let found = names.par_iter().map(of_owner).reduce(Found::default, Found::and);
        let names = any_answers.map(changed_names).unwrap_or_default();
        let beside = names.iter().filter_map(|name| new.any_answers()?.find(name.as_wire()));
        let beside = beside.map(|owner| verifier.any_answer(&owner, faults));
        let found = beside.fold(found, Found::and);
        self.looked_at.owners += names.len();
        self.found = std::mem::take(&mut self.found).and(found);
    }

    fn report(
        &self,
        [old_apex, new_apex]: [&Owner<'_>; 2],
        any_answers: Option<&Difference>,
        now: u32,
    ) -> DifferenceReport {
        let before = self.old.report;
        let gone = self.gone(&Signers::at(old_apex), any_answers, now);
        let from_now = |time: u32| i64::from(Serial(time).since(Serial(now)));
        let (first, found) = (from_now(before.expiration), self.found.remaining);
        let opt_outs = self.opt_outs.of_all(before.opt_outs);
        DifferenceReport {
            report: VerifyReport {
                rrsets: (before.rrsets + self.found.rrsets).saturating_sub(gone.rrsets),
                keys: before.keys,
                denial: match before.denial {
                    Denial::Nsec => Denial::Nsec,
                    Denial::Nsec3 { .. } => Denial::Nsec3 { opt_out: opt_outs > 0 },
                },
                denials: self.denials.of_all(before.denials),
                expiration: now.wrapping_add(first.min(found) as u32),
                is_expiration_exact: found <= first
                    || before.is_expiration_exact && gone.remaining > first,
                verified_at: now,
                opt_outs,
                beside_others: before.beside_others,
            },
            begins_at: self.begins_at(&Signers::at(new_apex), now),
            looked_at: self.looked_at,
        }
    }

    /// What there was before at the owners that were looked at.
    fn gone(&self, signers: &Signers<'_>, any_answers: Option<&Difference>, now: u32) -> Found {
        let old = self.old.version;
        let mut gone = Found::default();
        let mut add = |owner: &Owner<'_>, rtype: Rtype| {
            let until = owner.rrset(rtype).and_then(|rrset| signers.until(owner, &rrset, now));
            let remaining = until.map(|until| i64::from(Serial(until).since(Serial(now))));
            gone.rrsets += 1;
            gone.remaining = gone.remaining.min(remaining.unwrap_or(i64::MIN));
        };
        for owner in self.affected.iter().filter_map(|name| old.find(name.as_wire())) {
            let place = place_among(old.apex(), &owner, |name| old.find(name));
            let types = owner.rrsets().map(|rrset| rrset.rtype());
            types.filter(|rtype| is_signed(place, *rtype)).for_each(|rtype| add(&owner, rtype));
        }
        let names = any_answers.map(changed_names).unwrap_or_default();
        let beside = names.iter().filter_map(|name| old.any_answers()?.find(name.as_wire()));
        let beside = beside.filter(|owner| owner.rrset(Rtype::HINFO).is_some());
        beside.for_each(|owner| add(&owner, Rtype::HINFO));
        gone
    }

    fn begins_at(&self, signers: &Signers<'_>, now: u32) -> Option<u32> {
        let owners = self.affected.iter().filter_map(|name| self.new.find(name.as_wire()));
        let begins = owners.flat_map(|owner| {
            let begins =
                owner.rrsets().filter_map(move |rrset| signers.begins_at(&owner, &rrset, now));
            begins.collect::<Vec<_>>()
        });
        begins.min_by_key(|begin| begin.wrapping_sub(now) as i32)
    }
}
