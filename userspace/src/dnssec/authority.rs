//! Which names of a zone it has authority over: zone cuts, and what lies hidden below them
//! (RFC 4035 section 2.2; RFC 6672 section 2.4 for DNAME).

use crate::zone::name::{ancestors, is_at_or_below};
use crate::zone::{Name, Owner, Rtype, Zone};

/// What an owner name is to its zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameStatus {
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
pub fn places(zone: &Zone) -> Vec<NameStatus> {
    // The last name whose descendants are occluded. They follow it directly in canonical order.
    let mut hides: Option<&[u8]> = None;
    let mut places = Vec::with_capacity(zone.owners().len());
    for owner in zone.owners() {
        let name = owner.name();
        let place = if is_hash(&owner) {
            NameStatus::Hash
        } else if hides.is_some_and(|above| is_at_or_below(name, above)) {
            NameStatus::Occluded
        } else if name != zone.apex().as_wire() && owner.rrset(Rtype::NS).is_some() {
            hides = Some(name);
            NameStatus::Cut
        } else {
            hides = owner.rrset(Rtype::DNAME).map(|_| name);
            NameStatus::Authoritative
        };
        places.push(place);
    }
    places
}

/// What takes the names below it from the zone.
#[derive(Clone, Copy)]
pub enum Occluder<'z> {
    /// A zone cut: they are the child's.
    Cut(Owner<'z>),
    /// A DNAME record: they are redirected.
    Dname(Owner<'z>),
}

impl<'z> Occluder<'z> {
    /// The owner that hides what is below it.
    pub fn owner(self) -> Owner<'z> {
        match self {
            Occluder::Cut(owner) | Occluder::Dname(owner) => owner,
        }
    }
}

/// What hides a name at or below the apex: the highest name above it that is a zone cut or has a DNAME record. That
/// the name is itself one of these is no matter.
pub fn occluder<'z>(zone: &'z Zone, name: &[u8]) -> Option<Occluder<'z>> {
    occluder_among(zone.apex(), name, |name| zone.find(name))
}

/// The same in any version of a zone, of which `find` finds an owner.
pub fn occluder_among<'z>(
    apex: &Name,
    name: &[u8],
    find: impl Fn(&[u8]) -> Option<Owner<'z>>,
) -> Option<Occluder<'z>> {
    let apex = apex.as_wire();
    let redirects = |owner: &Owner<'_>| owner.rrset(Rtype::DNAME).is_some();
    let at_apex = find(apex).filter(|owner| redirects(owner) && name.len() > apex.len());
    if let Some(at_apex) = at_apex {
        return Some(Occluder::Dname(at_apex));
    }
    let above = ancestors(name).skip(1).take_while(|above| above.len() > apex.len());
    let hides = |above| {
        let owner = find(above)?;
        if owner.rrset(Rtype::NS).is_some() {
            return Some(Occluder::Cut(owner));
        }
        redirects(&owner).then_some(Occluder::Dname(owner))
    };
    above.filter_map(hides).last()
}

/// The place of one owner of any version of a zone, of which `find` finds an owner: what [`places`] says of it.
pub fn place_among<'z>(
    apex: &Name,
    owner: &Owner<'_>,
    find: impl Fn(&[u8]) -> Option<Owner<'z>>,
) -> NameStatus {
    let is_delegated = || owner.name() != apex.as_wire() && owner.rrset(Rtype::NS).is_some();
    match () {
        () if is_hash(owner) => NameStatus::Hash,
        () if occluder_among(apex, owner.name(), find).is_some() => NameStatus::Occluded,
        () if is_delegated() => NameStatus::Cut,
        () => NameStatus::Authoritative,
    }
}

/// Whether a name is a zone cut, or lies below one, in any version of a zone, of which `find` finds an owner.
pub fn is_delegated_among<'z>(
    apex: &Name,
    name: &[u8],
    find: impl Fn(&[u8]) -> Option<Owner<'z>>,
) -> bool {
    let is_cut =
        |owner: Owner<'_>| owner.name() != apex.as_wire() && owner.rrset(Rtype::NS).is_some();
    is_at_or_below(name, apex.as_wire())
        && match occluder_among(apex, name, &find) {
            Some(Occluder::Cut(_)) => true,
            Some(Occluder::Dname(_)) => false,
            None => find(name).is_some_and(is_cut),
        }
}

/// Whether the zone signs RRsets of this type at such a place.
pub fn is_signed(place: NameStatus, rtype: Rtype) -> bool {
    match place {
        NameStatus::Authoritative => rtype != Rtype::RRSIG,
        NameStatus::Cut => rtype == Rtype::DS || rtype == Rtype::NSEC,
        NameStatus::Hash => rtype == Rtype::NSEC3,
        NameStatus::Occluded => false,
    }
}

/// Whether an owner has NSEC3 records and their signatures only.
pub fn is_hash(owner: &Owner<'_>) -> bool {
    owner.is_hash()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::ZoneBuilder;

    /// Every zone of up to three cuts and DNAMEs over names of two labels, some below others: the walk over all names
    /// and the look-up of one agree.
    #[test]
    fn places_and_look_ups_agree() {
        const SOA: &[u8] = b"\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01";
        let name = |text: &str| text.parse::<Name>().unwrap();
        let names =
            ["example", "a.example", "b.a.example", "a.b.a.example", "b.example", "aa.example"]
                .map(name);
        // Of each name: nothing but an address, a cut, or a DNAME.
        let kinds = 3usize.pow(names.len() as u32);
        for kind in 0..kinds {
            let mut builder = ZoneBuilder::new(names[0].clone());
            builder.push(names[0].as_wire(), Rtype::SOA, 60, SOA).unwrap();
            for (place, name) in names.iter().enumerate() {
                let (rtype, rdata): (_, &[u8]) = match kind / 3usize.pow(place as u32) % 3 {
                    0 => (Rtype::A, &[192, 0, 2, 1]),
                    1 => (Rtype::NS, b"\x02ns\0"),
                    _ => (Rtype::DNAME, b"\x02to\0"),
                };
                builder.push(name.as_wire(), rtype, 60, rdata).unwrap();
            }
            let zone = builder.finish().unwrap();
            for (owner, place) in zone.owners().zip(places(&zone)) {
                let hidden = occluder(&zone, owner.name());
                let found = place_among(zone.apex(), &owner, |name| zone.find(name));
                assert_eq!(found, place, "{kind}");
                assert_eq!(hidden.is_some(), place == NameStatus::Occluded, "{kind}");
                let Some(Occluder::Cut(above) | Occluder::Dname(above)) = hidden else { continue };
                let is_cut = places(&zone)[zone.index_of(&above)] == NameStatus::Cut;
                assert_eq!(matches!(hidden, Some(Occluder::Cut(_))), is_cut, "{kind}");
                let is_delegated =
                    is_delegated_among(zone.apex(), owner.name(), |name| zone.find(name));
                assert_eq!(is_delegated, is_cut, "{kind}");
            }
        }
    }
}
