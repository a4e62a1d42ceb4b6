//! What is said to ANY: one RRset of the name, or a synthesised HINFO (RFC 8482).
//!
//! The HINFO RRsets are no part of the zone: they stand beside it ([`Zone::any_answers`]), in no type bit map, no
//! transfer and no zone file, and questions for HINFO do not find them. A name with a CNAME says that (RFC 8482
//! section 4.2), and one with HINFO records of its own says one of its RRsets as without: two of one name and
//! type, both with valid signatures, would be in each other's place in caches.

use super::authority::{NameStatus, places};
use crate::zone::{Owner, Rtype, Zone, ZoneError, ZoneWriter};

/// CPU "RFC8482", OS "" (RFC 8482 section 4.2).
pub const HINFO_RDATA: &[u8] = b"\x07RFC8482\x00";

/// In seconds. RFC 8482 section 4.2 leaves it to us: long enough that who asked does not ask again soon, short
/// enough for a change of mind.
pub const HINFO_TTL: u32 = 3600;

/// The RRset that stands for all of a name's: the first of the types that a client of ANY most likely wants, else
/// any that is no proof; none if there is none (RFC 8482 section 4.1).
pub fn preferred_type(owner: &Owner<'_>) -> Option<Rtype> {
    preferred_among(owner.rrsets().map(|rrset| rrset.rtype()))
}

/// The same of a name that has these types.
pub fn preferred_among(types: impl Iterator<Item = Rtype>) -> Option<Rtype> {
    const WANTED: [Rtype; 7] =
        [Rtype::CNAME, Rtype::A, Rtype::AAAA, Rtype::MX, Rtype::NS, Rtype::TXT, Rtype::PTR];
    let is_proof = |rtype: &Rtype| matches!(*rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3);
    let rank = |rtype: &Rtype| WANTED.iter().position(|wanted| wanted == rtype);
    // Of those that nobody wants in particular the first.
    types.filter(|rtype| !is_proof(rtype)).min_by_key(|rtype| rank(rtype).unwrap_or(WANTED.len()))
}

/// Whether a synthesised HINFO is what a name says to ANY.
pub fn has_hinfo(owner: &Owner<'_>, place: NameStatus) -> bool {
    let preferred = preferred_type(owner);
    place == NameStatus::Authoritative
        && preferred.is_some_and(|rtype| rtype != Rtype::CNAME)
        && owner.rrset(Rtype::HINFO).is_none()
}

/// Writes the zone that stands beside `zone`: its SOA, without which it would be none, and for each name with a
/// HINFO that and `signatures` of it.
pub fn write_any_answers<'s>(
    zone: &Zone,
    places: &[NameStatus],
    mut signatures: impl FnMut(usize) -> &'s [Vec<u8>],
) -> Result<Zone, ZoneError> {
    let mut writer = ZoneWriter::with_capacity(zone.apex().clone(), 0);
    for (owner, &place) in zone.owners().zip(places) {
        let soa = owner.rrset(Rtype::SOA).filter(|_| owner.name() == zone.apex().as_wire());
        let says_hinfo = has_hinfo(&owner, place);
        if soa.is_none() && !says_hinfo {
            continue;
        }
        writer.owner(owner.name())?;
        if let Some(soa) = soa {
            writer.rrset(Rtype::SOA, soa.ttl(), soa.rdatas())?;
        }
        if says_hinfo {
            writer.rrset(Rtype::HINFO, HINFO_TTL, std::iter::once(HINFO_RDATA))?;
            let signatures = signatures(zone.index_of(&owner));
            if !signatures.is_empty() {
                writer.rrset(Rtype::RRSIG, HINFO_TTL, signatures.iter().map(Vec::as_slice))?;
            }
        }
    }
    writer.finish()
}

/// The HINFO RRsets of a zone without signatures.
pub fn unsigned(zone: &Zone) -> Result<Zone, ZoneError> {
    write_any_answers(zone, &places(zone), |_| &[])
}
