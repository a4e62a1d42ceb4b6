//! The NSEC3 chain (RFC 5155 section 7.1): one record at the hash of each name that the zone has authority over, of each
//! delegation and of the empty non-terminals above them, with its types and the hash that follows. Delegations without
//! DS may lack theirs where the record that covers them has the opt-out flag.

use super::bitmap::compare_bitmaps;
use super::fault::{Fault, Faults, Reason, fault};
use crate::dnssec::authority::NameStatus;
use crate::dnssec::denial::{self, Hash, Nsec3, OptOutScope, Parameters};
use crate::dnssec::policy::Denial;
use crate::zone::{Name, Owner, Rtype, Zone};

/// A record of the chain.
#[derive(Clone, Copy)]
pub(super) struct Nsec3Record<'z> {
    /// What its owner name stands for.
    pub hash: Hash,
    pub nsec3: Nsec3<'z>,
    pub owner: Owner<'z>,
}

impl Nsec3Record<'_> {
    /// Whether delegations without DS that it covers may lack records.
    pub(super) fn opts_out(&self) -> bool {
        self.nsec3.flags & denial::OPT_OUT != 0
    }

    /// Whether it stands at an owner that has other records, too, and is a name of the zone.
    pub(super) fn is_beside_others(&self) -> bool {
        !self.owner.is_hash()
    }

    /// Refuses another next hash than that of the record that follows.
    pub(super) fn check_next(&self, next: &Hash) -> Result<(), Reason> {
        if self.nsec3.next == next { Ok(()) } else { Err(Reason::NextHash) }
    }

    /// Refuses other types than those of the owner that it stands for; an empty non-terminal is none.
    pub(super) fn check_types(&self, of: Option<(&Owner<'_>, NameStatus)>) -> Result<(), Reason> {
        // The types do not depend on the opt-out flag.
        let denial = Denial::Nsec3 { opt_out: false };
        let expected = of.map(|(owner, status)| denial::bitmap(owner, status, denial));
        compare_bitmaps(self.nsec3.bitmap, &expected.unwrap_or_default())
    }
}

/// How many records a chain has.
#[derive(Clone, Copy, Default)]
pub(super) struct ChainCounts {
    pub records: usize,
    /// With the opt-out flag.
    pub opt_outs: usize,
    /// At owners that have other records, too.
    pub beside_others: usize,
}

impl ChainCounts {
    pub(super) fn add(&mut self, record: &Nsec3Record<'_>) {
        self.records += 1;
        self.opt_outs += usize::from(record.opts_out());
        self.beside_others += usize::from(record.is_beside_others());
    }
}

/// Checks the chain of a zone whose owners are `places`.
pub(super) fn check_chain(
    zone: &Zone,
    places: &[NameStatus],
    parameters: &Parameters<'_>,
    faults: &Faults,
    found: &mut Vec<Fault>,
) -> ChainCounts {
    let Parameters { iterations, salt } = *parameters;
    let records = all_records(zone, parameters, faults, found);
    let mut counts = ChainCounts::default();
    records.iter().for_each(|record| counts.add(record));
    let opt_out = counts.opt_outs > 0;
    let all = denial::hashed_names(zone, places, OptOutScope::Nothing, iterations, salt);
    // What may be missing under opt-out is the most that a signer which opts out leaves out.
    let most = OptOutScope::DelegationsAndAbove;
    let required = match opt_out {
        true => denial::hashed_names(zone, places, most, iterations, salt),
        false => Vec::new(),
    };
    let is_required =
        |hash: &Hash| !opt_out || required.binary_search_by_key(hash, |name| name.hash).is_ok();

    for name in &all {
        if faults.are_enough() {
            break;
        }
        let index = name.owner.map(|index| index as usize);
        let owner = index.map(|index| (zone.owner(index), places[index]));
        let checked = match records.binary_search_by_key(&name.hash, |record| record.hash) {
            Ok(at) => records[at].check_types(owner.as_ref().map(|(owner, at)| (owner, *at))),
            Err(at) => {
                // The record before covers it; before the first comes the last.
                let covering = at.checked_sub(1).map_or(records.last(), |at| records.get(at));
                check_missing(&name.hash, zone.apex(), is_required(&name.hash), covering)
            }
        };
        if let Err(reason) = checked {
            // An empty non-terminal has no owner here: the hashed name stands for it.
            let hashed = denial::hash_owner(&name.hash, zone.apex());
            let shown = owner.map_or(hashed.as_wire(), |(owner, _)| owner.name());
            found.push(fault(shown, Rtype::NSEC3, reason));
            faults.count(1);
        }
    }
    for (at, record) in records.iter().enumerate() {
        if faults.are_enough() {
            break;
        }
        let next = &records[(at + 1) % records.len()].hash;
        let is_known = all.binary_search_by_key(&record.hash, |name| name.hash).is_ok();
        let checked = if is_known { record.check_next(next) } else { Err(Reason::NeedlessNsec3) };
        if let Err(reason) = checked {
            found.push(fault(record.owner.name(), Rtype::NSEC3, reason));
            faults.count(1);
        }
    }
    counts
}

/// Refuses that a name with this hash has no record, unless it need not have one and the record that covers it says so.
pub(super) fn check_missing(
    hash: &Hash,
    apex: &Name,
    is_required: bool,
    covering: Option<&Nsec3Record<'_>>,
) -> Result<(), Reason> {
    match covering.is_some_and(Nsec3Record::opts_out) {
        _ if is_required => Err(Reason::NoNsec3(denial::hash_owner(hash, apex))),
        true => Ok(()),
        false => Err(Reason::NoOptOut(denial::hash_owner(hash, apex))),
    }
}

/// The records of the chain, sorted by hash.
fn all_records<'z>(
    zone: &'z Zone,
    parameters: &Parameters<'_>,
    faults: &Faults,
    found: &mut Vec<Fault>,
) -> Vec<Nsec3Record<'z>> {
    let mut records = Vec::new();
    for owner in zone.owners() {
        if faults.are_enough() {
            break;
        }
        let before = found.len();
        records.extend(records_of(&owner, zone.apex(), parameters, found));
        faults.count(found.len() - before);
    }
    // In canonical order they are sorted already: base32hex keeps the order of hashes.
    records
}

/// The records of the chain that one owner has: one or none, if there are no faults.
pub(super) fn records_of<'z>(
    owner: &Owner<'z>,
    apex: &Name,
    parameters: &Parameters<'_>,
    found: &mut Vec<Fault>,
) -> Vec<Nsec3Record<'z>> {
    let Some(rrset) = owner.rrset(Rtype::NSEC3) else { return Vec::new() };
    let mut add = |reason| found.push(fault(owner.name(), Rtype::NSEC3, reason));
    let is_child = crate::zone::name::parent(owner.name()) == Some(apex.as_wire());
    let Some(hash) = denial::read_hash_owner(owner.name()).filter(|_| is_child) else {
        add(Reason::NotAHash);
        return Vec::new();
    };
    let mut records = Vec::new();
    for rdata in rrset.rdatas() {
        match Nsec3::parse(rdata) {
            None => add(Reason::MalformedDenial),
            Some(nsec3) if parameters.are_of(&nsec3) => {
                records.push(Nsec3Record { hash, nsec3, owner: *owner });
            }
            Some(_) => {}
        }
    }
    if records.len() > 1 {
        add(Reason::SeveralNsec3);
    }
    records
}
