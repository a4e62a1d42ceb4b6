//! What a difference can make wrong of the NSEC3 chain.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::check::DifferenceCheck;
use crate::dnssec::chains::{nsec3_after, nsec3_before};
use crate::dnssec::denial::{self, Hash, Parameters};
use crate::dnssec::states::{NameState, names_above, ordinary};
use crate::dnssec::verify::bitmap::compare_bitmaps;
use crate::dnssec::verify::fault::Reason;
use crate::dnssec::verify::nsec3::{Nsec3Record, check_missing, records_of};
use crate::dnssec::verify::report::WholeCheckReason;
use crate::zone::name::{behind_subtree, is_at_or_below};
use crate::zone::{Name, Owner, Rtype, Version};

/// How many delegations below an empty non-terminal are looked at to know whether it needs a record.
const MAX_BELOW: usize = 256;

/// Checks the records of names that are affected and of those above them, and the records that change.
///
/// # Errors
/// If only the whole check can tell; the faults that were found are faults all the same.
pub(super) fn check(
    check: &mut DifferenceCheck<'_>,
    parameters: &Parameters<'_>,
) -> Result<(), WholeCheckReason> {
    let changed = check.changed.iter().filter_map(|name| check.new.find(name.as_wire()));
    let mut with_nsec3 = changed.filter(|owner| owner.rrset(Rtype::NSEC3).is_some());
    if with_nsec3.any(|owner| !owner.is_hash()) {
        return Err(WholeCheckReason::BesideOthers);
    }
    let touched = touched_names(check, parameters);
    let by_hash: BTreeMap<Hash, &Touched> = touched.values().map(|one| (one.hash, one)).collect();
    let of_names = check_names(check, parameters, &touched);
    let of_records = check_records(check, parameters, &by_hash);
    of_names.and(of_records)
}

/// A name that may be something else than before, or have other types.
struct Touched {
    hash: Hash,
    before: NameState,
    after: NameState,
}

/// The names that are affected, and those above them: an empty non-terminal may come to need a record though it was
/// one before.
fn touched_names(
    check: &mut DifferenceCheck<'_>,
    parameters: &Parameters<'_>,
) -> BTreeMap<Name, Touched> {
    let (old, new) = (check.old.version, check.new);
    let above = names_above(check.affected, new.apex());
    let touched = |name: &Name| {
        let [before, after] = [old, new].map(|version| NameState::of(version, name.as_wire()));
        (name.clone(), Touched { hash: parameters.hash(name.as_wire()), before, after })
    };
    let touched: BTreeMap<Name, Touched> =
        check.affected.iter().chain(&above).map(touched).collect();
    check.looked_at.names += touched.len();
    touched
}

/// Checks that each name has the record that it needs, and no other.
fn check_names(
    check: &mut DifferenceCheck<'_>,
    parameters: &Parameters<'_>,
    touched: &BTreeMap<Name, Touched>,
) -> Result<(), WholeCheckReason> {
    let (new, apex) = (check.new, check.new.apex());
    let mut judged = Ok(());
    for (name, Touched { hash, after, .. }) in touched {
        if check.faults.are_enough() {
            break;
        }
        let hashed = denial::hash_owner(hash, apex);
        let record = record_at(new, &hashed, parameters);
        let is_name = !matches!(after, NameState::Absent | NameState::Occluded);
        check.looked_at.denials += usize::from(record.is_some());
        let result = match record {
            Some(_) if !is_name => Err(Reason::NeedlessNsec3),
            Some(record) => {
                let owner = ordinary(new, name.as_wire()).zip(after.status());
                record.check_types(owner.as_ref().map(|(owner, place)| (owner, *place)))
            }
            None if !is_name => Ok(()),
            None => match is_required(check, parameters, touched, name) {
                Ok(is_required) => {
                    let covering = record_before(new, &hashed, parameters);
                    check_missing(hash, apex, is_required, covering.as_ref())
                }
                Err(reason) => {
                    judged = Err(reason);
                    Ok(())
                }
            },
        };
        check.checked(name.as_wire(), Rtype::NSEC3, result);
    }
    judged
}

/// Whether a name needs a record, whatever the record that covers it says: all names but delegations without DS and
/// empty non-terminals that stand above nothing else (RFC 5155 section 7.1).
fn is_required(
    check: &DifferenceCheck<'_>,
    parameters: &Parameters<'_>,
    touched: &BTreeMap<Name, Touched>,
    name: &Name,
) -> Result<bool, WholeCheckReason> {
    let Some(Touched { hash, before, after }) = touched.get(name) else { return Ok(true) };
    match after {
        NameState::InsecureCut => return Ok(false),
        NameState::EmptyNonTerminal => {}
        _ => return Ok(true),
    }
    let needs =
        |one: &Touched| matches!(one.after, NameState::Authoritative | NameState::SecureCut);
    let behind = (Bound::Excluded(name), Bound::Unbounded);
    let below = touched.range(behind).take_while(|(below, _)| below.is_at_or_below(name));
    if below.into_iter().any(|(_, one)| needs(one)) {
        return Ok(true);
    }
    // Of what did not change below it, nothing needed it before if it had none or was not there.
    let hashed = denial::hash_owner(hash, check.new.apex());
    let had_none = record_at(check.old.version, &hashed, parameters).is_none();
    match before {
        NameState::Absent => Ok(false),
        NameState::EmptyNonTerminal if had_none => Ok(false),
        _ => has_more_than_insecure_cuts(check.new, name),
    }
}

/// Whether a name that is not hidden stands above an owner that is no delegation without DS.
fn has_more_than_insecure_cuts(version: &Version, name: &Name) -> Result<bool, WholeCheckReason> {
    let mut from = name.as_wire().to_vec();
    for _ in 0..MAX_BELOW {
        let next = version.from(&from).find(|owner| owner.name() != name.as_wire());
        let below = next.filter(|next| is_at_or_below(next.name(), name.as_wire()));
        let Some(below) = below else { return Ok(false) };
        if !below.is_hash() && NameState::of(version, below.name()) != NameState::InsecureCut {
            return Ok(true);
        }
        let Some(behind) = behind_subtree(below.name()) else { return Ok(false) };
        from = behind;
    }
    Err(WholeCheckReason::EmptyNonTerminal)
}

/// Checks records that change, and those before records that come or go.
fn check_records(
    check: &mut DifferenceCheck<'_>,
    parameters: &Parameters<'_>,
    touched: &BTreeMap<Hash, &Touched>,
) -> Result<(), WholeCheckReason> {
    let (old, new) = (check.old.version, check.new);
    let mut judged = Ok(());
    let mut written: BTreeSet<Name> = BTreeSet::new();
    for name in check.changed {
        let of_old = record_at(old, name, parameters);
        let of_new = record_with_faults(check, name, parameters);
        let Some(hash) = of_old.or(of_new).map(|record| record.hash) else { continue };
        check.denials.old += usize::from(of_old.is_some());
        check.denials.new += usize::from(of_new.is_some());
        check.opt_outs.old += usize::from(of_old.is_some_and(|record| record.opts_out()));
        check.opt_outs.new += usize::from(of_new.is_some_and(|record| record.opts_out()));
        let before = record_before(new, name, parameters);
        if of_new.is_some() {
            written.insert(name.clone());
        }
        if of_old.is_some() != of_new.is_some() {
            written.extend(before.and_then(|before| Name::from_wire(before.owner.name())));
        }
        // Names that have no record and did not change are covered by another record than before, or by one with
        // another flag.
        let opted_out = of_old.or_else(|| record_before(old, name, parameters));
        let opts_out = of_new.or(before);
        let [opted_out, opts_out] =
            [opted_out, opts_out].map(|record| record.is_some_and(|record| record.opts_out()));
        if opted_out && !opts_out {
            judged = Err(WholeCheckReason::OptOut);
        }
        if touched.contains_key(&hash) {
            continue;
        }
        // It stands for a name that did not change, if for one.
        let result = match (of_old, of_new) {
            (Some(of_old), Some(of_new)) => {
                compare_bitmaps(of_new.nsec3.bitmap, of_old.nsec3.bitmap)
            }
            // A name without a record would be one that need not have one, under opt-out.
            (None, Some(_)) if !opted_out => Err(Reason::NeedlessNsec3),
            (Some(_), None) if !opts_out => Err(Reason::NoNsec3(name.clone())),
            _ => {
                judged = Err(WholeCheckReason::OptOut);
                Ok(())
            }
        };
        check.checked(name.as_wire(), Rtype::NSEC3, result);
    }
    for name in written {
        let Some(record) = record_at(new, &name, parameters) else { continue };
        let next = record_after(new, &name, parameters).unwrap_or(record);
        check.looked_at.denials += 1;
        check.checked(name.as_wire(), Rtype::NSEC3, record.check_next(&next.hash));
    }
    judged
}

/// The record of the chain at a hashed owner name.
fn record_at<'v>(
    version: &'v Version,
    hashed: &Name,
    parameters: &Parameters<'_>,
) -> Option<Nsec3Record<'v>> {
    record_of(version, version.find(hashed.as_wire())?, parameters)
}

fn record_of<'v>(
    version: &Version,
    owner: Owner<'v>,
    parameters: &Parameters<'_>,
) -> Option<Nsec3Record<'v>> {
    records_of(&owner, version.apex(), parameters, &mut Vec::new()).into_iter().next()
}

/// The same in the new version, with what is wrong about the NSEC3 records there.
fn record_with_faults<'v>(
    check: &mut DifferenceCheck<'v>,
    name: &Name,
    parameters: &Parameters<'_>,
) -> Option<Nsec3Record<'v>> {
    let mut found = Vec::new();
    let new: &'v Version = check.new;
    let owner = new.find(name.as_wire())?;
    let records = records_of(&owner, new.apex(), parameters, &mut found);
    check.faults.count(found.len());
    check.found.faults.append(&mut found);
    records.into_iter().next()
}

/// The record before a hashed owner name in the chain.
fn record_before<'v>(
    version: &'v Version,
    hashed: &Name,
    parameters: &Parameters<'_>,
) -> Option<Nsec3Record<'v>> {
    nsec3_before(version, hashed.as_wire()).find_map(|owner| record_of(version, owner, parameters))
}

/// The record after a hashed owner name in the chain.
fn record_after<'v>(
    version: &'v Version,
    hashed: &Name,
    parameters: &Parameters<'_>,
) -> Option<Nsec3Record<'v>> {
    nsec3_after(version, hashed.as_wire()).find_map(|owner| record_of(version, owner, parameters))
}
