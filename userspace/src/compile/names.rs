//! The names of a zone as the image knows them: owner names that can be asked for, and the empty
//! non-terminals between them, in canonical order with their parents.

use crate::dnssec::authority::{Place, places};
use crate::zone::{Owner, Zone, name};

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
        if matches!(place, Place::Occluded | Place::Hash) {
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
        let own = (wire, Some(owner), place == Place::Cut);
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

/// Finds a name by its wire format.
pub fn find(names: &[ExistingName<'_>], wire: &[u8]) -> Option<usize> {
    names.binary_search_by(|existing| name::canonical_order(existing.wire, wire)).ok()
}

/// The most labels of any name, the root not counted.
pub fn max_labels(names: &[ExistingName<'_>]) -> u32 {
    names.iter().map(|existing| name::labels(existing.wire).count() as u32).max().unwrap_or(0)
}
