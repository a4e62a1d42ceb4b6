//! A version of a zone that has a change of the unsigned zone, and no signatures of what changed yet.

use std::collections::BTreeSet;

use super::signed::{DifferenceError, WholeReason};
use crate::dnssec::denial::{self, Nsec3};
use crate::dnssec::keys::Key;
use crate::dnssec::policy::{AnyResponse, Denial, SigningPolicy};
use crate::dnssec::sign::is_dropped;
use crate::zone::difference::{ApplyError, Difference, RecordRef, Rules};
use crate::zone::{Name, Owner, Rtype, Serial, Soa, Version, ZoneError, soa};

use crate::dnssec::states::ordinary;

/// Whether a version was signed in such a way that the next can be made of it.
pub(super) fn check_manner(
    signed: &Version,
    keys: &[Key],
    policy: &SigningPolicy,
) -> Result<(), DifferenceError> {
    let whole = |reason| Err(DifferenceError::Whole(reason));
    let Some(apex) = signed.find(signed.apex().as_wire()) else {
        return whole(WholeReason::Manner);
    };
    if policy.zonemd || apex.rrset(Rtype::ZONEMD).is_some() {
        return whole(WholeReason::Digest);
    }
    let published = apex.rrset(Rtype::DNSKEY);
    let is_published = |key: &Key| {
        published.iter().flat_map(|rrset| rrset.rdatas()).any(|rdata| rdata == key.dnskey())
    };
    if !keys.iter().all(is_published) {
        return whole(WholeReason::Keys);
    }
    let has_hinfo = signed.any_answers().is_some();
    if denial_of(signed, &apex) != Some(policy.denial)
        || has_hinfo != (policy.any == AnyResponse::Hinfo)
    {
        return whole(WholeReason::Manner);
    }
    Ok(())
}

/// How a version that was signed here denies existence; `None` if it was not.
fn denial_of(signed: &Version, apex: &Owner<'_>) -> Option<Denial> {
    let Some(parameters) = apex.rrset(Rtype::NSEC3PARAM) else {
        return apex.rrset(Rtype::NSEC).map(|_| Denial::Nsec);
    };
    let mut owner = Vec::new();
    denial::write_hash_owner(&denial::nsec3_hash(apex.name(), 0, b""), apex.name(), &mut owner);
    let hashed = signed.find(&owner)?.rrset(Rtype::NSEC3)?;
    let nsec3 = hashed.rdatas().next().and_then(Nsec3::parse)?;
    let is_ours =
        parameters.rdatas().eq([&denial::NSEC3PARAM[..]]) && apex.rrset(Rtype::NSEC).is_none();
    is_ours.then_some(Denial::Nsec3 { opt_out: nsec3.flags & denial::OPT_OUT != 0 })
}

/// A version that has the change.
pub(super) struct Prepared {
    /// The owners that have other records, or the same as before.
    pub(super) changed: BTreeSet<Name>,
    /// The signed version with other records and another SOA record: the changed owners have neither signatures nor
    /// NSEC records, and all other records are as they were.
    pub(super) version: Version,
}

/// Applies the difference of an unsigned zone to the version that was signed before it. What is the signer's to make
/// is left out of it, as when a whole zone is signed.
pub(super) fn prepare(
    signed: &Version,
    difference: &Difference,
    rules: Rules,
    policy: &SigningPolicy,
    now: u32,
) -> Result<Prepared, DifferenceError> {
    let apex = signed.apex();
    let is_left_out = |record: &RecordRef<'_>| {
        let is_soa_or_digest = matches!(record.rtype, Rtype::SOA | Rtype::ZONEMD);
        is_dropped(record.rtype) || record.owner == apex.as_wire() && is_soa_or_digest
    };
    let is_data = |record: &RecordRef<'_>| !is_left_out(record);
    let data = || difference.removed().iter().chain(difference.added().iter()).filter(is_data);
    if data().any(|record| record.owner == apex.as_wire() && record.rtype == Rtype::DNSKEY) {
        return Err(DifferenceError::Whole(WholeReason::Keys));
    }
    let names = data().map(|record| record.owner).chain([apex.as_wire()]);
    let changed: BTreeSet<Name> = names.filter_map(Name::from_wire).collect();

    let old_soa = signed.soa().ok_or_else(|| no_soa(apex, 0))?;
    let soa = next_soa(signed, difference, policy, now)?;
    let serial = Soa::parse(&soa.1).map_or(Serial(0), |soa| soa.serial);
    let old_soas = old_soa.rdatas().map(|rdata| record(apex, Rtype::SOA, old_soa.ttl(), rdata));
    let new_soa = record(apex, Rtype::SOA, soa.0, &soa.1);
    let parameters = parameters_with_ttl(signed, &soa);
    let removed = difference.removed().iter().filter(is_data).chain(old_soas);
    let removed = removed.chain(parameters.iter().map(|[old, _]| *old));
    let removed = removed.chain(changed.iter().flat_map(|name| signatures_of(signed, name)));
    let added = difference.added().iter().filter(is_data).chain([new_soa]);
    let added = added.chain(parameters.iter().map(|[_, new]| *new));
    let prepared = Difference::of_records(apex, [signed.serial(), serial], removed, added);
    let version = signed.apply(&prepared, rules)?;
    Ok(Prepared { changed, version })
}

/// The TTL in seconds and the RDATA of the next version's SOA record. Its serial is newer than the one before: that of
/// the unsigned zone if it is, else the next one.
fn next_soa(
    signed: &Version,
    difference: &Difference,
    policy: &SigningPolicy,
    now: u32,
) -> Result<(u32, Vec<u8>), DifferenceError> {
    let apex = signed.apex();
    let is_soa =
        |record: &RecordRef<'_>| record.rtype == Rtype::SOA && record.owner == apex.as_wire();
    let mut changed = difference.added().iter().filter(is_soa);
    let (ttl, mut rdata) = match (changed.next(), changed.next()) {
        (Some(soa), None) => (soa.ttl, soa.rdata.to_vec()),
        (None, _) => {
            let soa = signed.soa().ok_or_else(|| no_soa(apex, 0))?;
            (soa.ttl(), soa.rdatas().next().unwrap_or_default().to_vec())
        }
        (Some(_), Some(_)) => return Err(no_soa(apex, 2 + changed.count()).into()),
    };
    let malformed = ApplyError::NoZone(ZoneError::Malformed(Rtype::SOA));
    let unsigned = Soa::parse(&rdata).ok_or(malformed)?.serial;
    soa::set_serial(&mut rdata, next_serial(signed, unsigned, policy, now));
    Ok((ttl, rdata))
}

/// The serial of the version after `signed`, made of an unsigned zone with another serial: always newer.
pub(super) fn next_serial(
    signed: &Version,
    unsigned: Serial,
    policy: &SigningPolicy,
    now: u32,
) -> Serial {
    let (served, serial) = (signed.serial(), policy.serial.apply(unsigned, now));
    if serial.is_newer_than(served) { serial } else { served.next() }
}

fn no_soa(apex: &Name, count: usize) -> ApplyError {
    ApplyError::NoZone(ZoneError::SoaCount { apex: apex.clone(), count })
}

/// The NSEC3PARAM records as they are and as they will be, if their TTL changes: it is that of negative answers.
fn parameters_with_ttl<'v>(
    signed: &'v Version,
    (soa_ttl, soa): &(u32, Vec<u8>),
) -> Vec<[RecordRef<'v>; 2]> {
    let ttl = Soa::parse(soa).map_or(0, |soa| soa.minimum).min(*soa_ttl);
    let apex = signed.find(signed.apex().as_wire());
    let rrset = apex.and_then(|apex| apex.rrset(Rtype::NSEC3PARAM));
    let changed = rrset.filter(|rrset| rrset.ttl() != ttl);
    let pair = |old: RecordRef<'v>| [old, RecordRef { ttl, ..old }];
    let records = changed.into_iter().flat_map(|rrset| {
        rrset
            .rdatas()
            .map(move |rdata| record(signed.apex(), Rtype::NSEC3PARAM, rrset.ttl(), rdata))
    });
    records.map(pair).collect()
}

/// The signatures and NSEC records of an owner.
fn signatures_of<'v>(
    signed: &'v Version,
    name: &'v Name,
) -> impl Iterator<Item = RecordRef<'v>> + use<'v> {
    let owner = ordinary(signed, name.as_wire());
    let rrsets = owner.into_iter().flat_map(|owner| {
        [Rtype::RRSIG, Rtype::NSEC].into_iter().filter_map(move |rtype| owner.rrset(rtype))
    });
    rrsets.flat_map(move |rrset| {
        rrset.rdatas().map(move |rdata| record(name, rrset.rtype(), rrset.ttl(), rdata))
    })
}

fn record<'r>(owner: &'r Name, rtype: Rtype, ttl: u32, rdata: &'r [u8]) -> RecordRef<'r> {
    RecordRef { owner: owner.as_wire(), rtype, ttl, rdata }
}
