//! What a zone says of a name (RFC 1034 section 4.3.2).

use crate::dnssec::authority::{NameStatus, Occluder, occluder, places};
use crate::zone::name::{ancestors, canonical_order, is_at_or_below};
use crate::zone::{Owner, Rtype, Zone};

/// What was found.
pub(super) enum Found<'z> {
    /// The name is of another zone.
    Outside,
    /// A cut is at or above the name.
    Delegated,
    /// A DNAME is above it.
    Redirected(Owner<'z>),
    /// It has records, or a wildcard's.
    Data(Owner<'z>),
    /// It has none, and may not exist.
    Nothing,
}

/// A zone whose names are looked up.
pub(super) struct Lookup<'z> {
    pub zone: &'z Zone,
    /// Of each owner, in canonical order.
    pub places: Vec<NameStatus>,
}

impl<'z> Lookup<'z> {
    pub fn new(zone: &'z Zone) -> Lookup<'z> {
        Lookup { zone, places: places(zone) }
    }

    /// Looks up a lower-case name.
    pub fn find(&self, name: &[u8]) -> Found<'z> {
        let apex = self.zone.apex().as_wire();
        if !is_at_or_below(name, apex) {
            return Found::Outside;
        }
        if let Some(owner) = self.zone.find(name) {
            match self.places[self.zone.index_of(&owner)] {
                NameStatus::Authoritative => return Found::Data(owner),
                NameStatus::Cut => return Found::Delegated,
                NameStatus::Occluded | NameStatus::Hash => {}
            }
        }
        match occluder(self.zone, name) {
            Some(Occluder::Cut(_)) => return Found::Delegated,
            Some(Occluder::Dname(owner)) => return Found::Redirected(owner),
            None => {}
        }
        // An empty non-terminal has nothing of a wildcard's.
        if self.exists(name) {
            return Found::Nothing;
        }
        let wildcard = self.closest_encloser(name).and_then(|encloser| {
            let wildcard = [b"\x01*", encloser].concat();
            self.zone.find(&wildcard)
        });
        match wildcard {
            Some(owner) if self.places[self.zone.index_of(&owner)] == NameStatus::Authoritative => {
                Found::Data(owner)
            }
            _ => Found::Nothing,
        }
    }
}

impl Lookup<'_> {
    /// The longest name above one at or below the apex that exists (RFC 4592 section 3.3.1).
    fn closest_encloser<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let apex_len = self.zone.apex().as_wire().len();
        let mut above = ancestors(name).skip(1).take_while(|above| above.len() >= apex_len);
        above.find(|above| self.exists(above))
    }

    /// Whether a name at or below the apex exists: it has records, or another below it has (RFC 4592 section 2.2.2).
    pub fn exists(&self, name: &[u8]) -> bool {
        let (mut low, mut high) = (0, self.zone.owners().len());
        while low < high {
            let middle = (low + high) / 2;
            match canonical_order(self.zone.owner(middle).name(), name).is_lt() {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low < self.zone.owners().len() && is_at_or_below(self.zone.owner(low).name(), name)
    }
}

/// Whether a name has addresses.
pub(super) fn has_addresses(owner: &Owner<'_>) -> bool {
    owner.rrset(Rtype::A).is_some() || owner.rrset(Rtype::AAAA).is_some()
}
