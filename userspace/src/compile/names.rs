//! The names of a zone as the image knows them: owner names that can be asked for, and the empty
//! non-terminals between them, in canonical order with their parents.

use std::collections::BTreeSet;

use crate::dnssec::authority::{NameStatus, is_hash, occluder, places};
use crate::dnssec::denial::{Parameters, write_hash_owner};
use crate::zone::{Name, Owner, Rtype, Zone, name};

/// One existing name.
pub struct ExistingName<'a> {
    /// Lower-case wire format.
    pub wire: &'a [u8],
    /// Its records; `None` for an empty non-terminal.
    pub owner: Option<Owner<'a>>,
    /// Whether it is a zone cut.
    pub is_cut: bool,
    /// The place of the name one label shorter; the apex's own is 0.
    pub parent: usize,
    /// The place after the last name at or below it.
    pub end: usize,
    /// The places of the names one label longer, in canonical order.
    pub children: Vec<u32>,
}

/// The names in canonical order; the apex comes first. What lies below a zone cut or a DNAME, and the
/// owner names of NSEC3 records, are not among them.
pub fn existing<'a>(zone: &'a Zone) -> Vec<ExistingName<'a>> {
    let apex = zone.apex().as_wire();
    let mut names: Vec<ExistingName<'a>> = Vec::with_capacity(zone.owners().len());
    // The path from the apex to the last name: places in `names`.
    let mut path: Vec<usize> = Vec::new();
    for (owner, place) in zone.owners().zip(places(zone)) {
        if matches!(place, NameStatus::Occluded | NameStatus::Hash) {
            continue;
        }
        let wire = owner.name();
        while let Some(&last) = path.last() {
            if name::is_at_or_below(wire, names[last].wire) {
                break;
            }
            names[last].end = names.len();
            path.pop();
        }
        // The empty non-terminals between the last name of the path and this one, from above.
        let above = path.last().map_or(apex, |&last| names[last].wire);
        let mut between = Vec::new();
        let mut up = name::parent(wire);
        while let Some(ancestor) = up.filter(|ancestor| ancestor.len() > above.len()) {
            between.push(ancestor);
            up = name::parent(ancestor);
        }
        let own = (wire, Some(owner), place == NameStatus::Cut);
        let added = between.into_iter().rev().map(|ancestor| (ancestor, None, false)).chain([own]);
        for (wire, owner, is_cut) in added {
            let place = names.len();
            let parent = path.last().copied().unwrap_or(0);
            if let Some(&parent) = path.last() {
                names[parent].children.push(place as u32);
            }
            names.push(ExistingName { wire, owner, is_cut, parent, end: 0, children: Vec::new() });
            path.push(place);
        }
    }
    let end = names.len();
    for place in path {
        names[place].end = end;
    }
    names
}

/// Some of the names, and the apex: those of `chosen` that have records and a denial of their own, so that
/// a node says all about them. They are given without what lies above and below them.
pub fn partial<'a>(zone: &'a Zone, chosen: &BTreeSet<Name>) -> Vec<ExistingName<'a>> {
    let apex = zone.apex();
    let owners = chosen.iter().filter(|name| *name != apex).map(Name::as_wire);
    let owners = owners.filter_map(|wire| zone.find(wire)).filter(|owner| is_whole(zone, owner));
    zone.find(apex.as_wire())
        .into_iter()
        .chain(owners)
        .enumerate()
        .map(|(place, owner)| ExistingName {
            wire: owner.name(),
            owner: Some(owner),
            is_cut: place > 0 && owner.rrset(Rtype::NS).is_some(),
            parent: 0,
            end: place + 1,
            children: Vec::new(),
        })
        .collect()
}

/// Whether a name is the zone's own and, if the zone is signed, has an NSEC or NSEC3 of its own.
fn is_whole(zone: &Zone, owner: &Owner<'_>) -> bool {
    if is_hash(owner) || occluder(zone, owner.name()).is_some() {
        return false;
    }
    let apex = zone.at_apex();
    match Parameters::of(&apex) {
        Some(Ok(nsec3)) => nsec3_of(zone, &nsec3, owner.name()).is_some(),
        _ => apex.rrset(Rtype::NSEC).is_none() || owner.rrset(Rtype::NSEC).is_some(),
    }
}

/// The owner of the NSEC3 that matches a name.
pub fn nsec3_of<'a>(zone: &'a Zone, nsec3: &Parameters<'_>, wire: &[u8]) -> Option<Owner<'a>> {
    let mut owner = Vec::new();
    write_hash_owner(&nsec3.hash(wire), zone.apex().as_wire(), &mut owner);
    zone.find(&owner).filter(|owner| owner.rrset(Rtype::NSEC3).is_some())
}

/// Finds a name by its wire format.
pub fn find(names: &[ExistingName<'_>], wire: &[u8]) -> Option<usize> {
    names.binary_search_by(|existing| name::canonical_order(existing.wire, wire)).ok()
}

/// The most labels of any name, the root not counted.
pub fn max_labels(names: &[ExistingName<'_>]) -> u32 {
    names.iter().map(|existing| name::labels(existing.wire).count() as u32).max().unwrap_or(0)
}
