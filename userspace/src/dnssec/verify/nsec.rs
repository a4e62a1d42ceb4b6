//! The NSEC chain (RFC 4034 section 4): one record at each name that the zone has authority over, with its types and the
//! name that follows.

use super::bitmap::compare_bitmaps;
use super::fault::{Fault, Faults, Reason, fault};
use crate::dnssec::authority::NameStatus;
use crate::dnssec::denial;
use crate::dnssec::policy::Denial;
use crate::zone::name::wire_name_len;
use crate::zone::{Name, Owner, Rtype, Zone};

/// Checks the chain of a zone whose owners are `places`. Returns how many records it has.
pub(super) fn check_chain(
    zone: &Zone,
    places: &[NameStatus],
    faults: &Faults,
    found: &mut Vec<Fault>,
) -> usize {
    let mut count = 0;
    for (index, (owner, &status)) in zone.owners().zip(places).enumerate() {
        if faults.are_enough() {
            break;
        }
        let next = || denial::next_nsec_owner(zone, places, index);
        match check_owner(&owner, status, next) {
            Ok(has_record) => count += usize::from(has_record),
            Err(reason) => {
                found.push(fault(owner.name(), Rtype::NSEC, reason));
                faults.count(1);
            }
        }
    }
    count
}

/// Checks the NSEC record of one owner, which `next` follows in the chain. Returns whether it has one.
pub(super) fn check_owner<'z>(
    owner: &Owner<'_>,
    status: NameStatus,
    next: impl FnOnce() -> Owner<'z>,
) -> Result<bool, Reason> {
    match (owner.rrset(Rtype::NSEC), status) {
        (None, NameStatus::Occluded | NameStatus::Hash) => Ok(false),
        (Some(_), NameStatus::Occluded | NameStatus::Hash) => Err(Reason::NeedlessNsec),
        (None, _) => Err(Reason::NoNsec),
        (Some(rrset), _) if rrset.len() > 1 => Err(Reason::SeveralNsec),
        (Some(rrset), _) => {
            let rdata = rrset.rdatas().next().unwrap_or_default();
            check_record(owner, status, &next(), rdata).map(|()| true)
        }
    }
}

fn check_record(
    owner: &Owner<'_>,
    status: NameStatus,
    next: &Owner<'_>,
    rdata: &[u8],
) -> Result<(), Reason> {
    let len = wire_name_len(rdata).ok_or(Reason::MalformedDenial)?;
    let (found, bitmap) = rdata.split_at(len);
    // RFC 6840 section 5.1: the case of the next name is kept, and does not matter.
    let found = Name::from_wire(found).ok_or(Reason::MalformedDenial)?;
    if found.as_wire() != next.name() {
        let expected = Name::from_wire(next.name()).unwrap_or_else(Name::root);
        return Err(Reason::NextName { found, expected });
    }
    compare_bitmaps(bitmap, &denial::bitmap(owner, status, Denial::Nsec))
}
