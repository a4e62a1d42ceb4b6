//! Which names of a zone it has authority over: zone cuts, and what lies hidden below them
//! (RFC 4035 section 2.2; RFC 6672 section 2.4 for DNAME).

use crate::zone::name::is_at_or_below;
use crate::zone::{Owner, Rtype, Zone};

/// What an owner name is to its zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The zone answers for it.
    Authoritative,
    /// NS records delegate it; only DS and the denial of existence are the zone's own there.
    Cut,
    /// Below a cut or a DNAME: glue, or never seen by a resolver.
    Occluded,
    /// It has NSEC3 records and their signatures only: an owner name made from a hash.
    Hash,
}

/// The place of every owner, in the order of [`Zone::owners`].
pub fn places(zone: &Zone) -> Vec<Place> {
    // The last name whose descendants are occluded. They follow it directly in canonical order.
    let mut hides: Option<&[u8]> = None;
    let mut places = Vec::with_capacity(zone.owners().len());
    for owner in zone.owners() {
        let name = owner.name();
        let place = if is_hash(&owner) {
            Place::Hash
        } else if hides.is_some_and(|above| is_at_or_below(name, above)) {
            Place::Occluded
        } else if name != zone.apex().as_wire() && owner.rrset(Rtype::NS).is_some() {
            hides = Some(name);
            Place::Cut
        } else {
            hides = owner.rrset(Rtype::DNAME).map(|_| name);
            Place::Authoritative
        };
        places.push(place);
    }
    places
}

/// Whether the zone signs RRsets of this type at such a place.
pub fn is_signed(place: Place, rtype: Rtype) -> bool {
    match place {
        Place::Authoritative => rtype != Rtype::RRSIG,
        Place::Cut => rtype == Rtype::DS || rtype == Rtype::NSEC,
        Place::Hash => rtype == Rtype::NSEC3,
        Place::Occluded => false,
    }
}

/// Whether an owner has NSEC3 records and their signatures only.
pub fn is_hash(owner: &Owner<'_>) -> bool {
    owner.rrset(Rtype::NSEC3).is_some()
        && owner.rrsets().all(|rrset| matches!(rrset.rtype(), Rtype::NSEC3 | Rtype::RRSIG))
}
