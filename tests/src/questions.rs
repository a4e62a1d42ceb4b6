//! What a zone is asked, and the names for it: those it has, and others around them.

use std::collections::BTreeSet;

use sealdns::dnssec::authority::is_hash;
use sealdns::zone::{Rtype, Zone, name};

use crate::chance::Chance;
use crate::dns::{Edns, Query};

/// The payload size of servers and clients.
pub const PAYLOAD: u16 = xdp_common::dns::MAX_PAYLOAD;

/// What clients say of themselves.
const CLIENTS: [Option<Edns>; 3] = [
    None,
    Some(Edns { payload: PAYLOAD, dnssec_ok: false }),
    Some(Edns { payload: PAYLOAD, dnssec_ok: true }),
];

/// Types that every existing name is asked for, beside those it has.
const TYPES: [Rtype; 13] = [
    Rtype::A,
    Rtype::AAAA,
    Rtype::MX,
    Rtype::DS,
    Rtype::NS,
    Rtype::SOA,
    Rtype::NSEC,
    Rtype(52), // TLSA
    Rtype::TXT,
    Rtype::CNAME,
    Rtype::DNSKEY,
    Rtype(65280),
    Rtype::ANY,
];

/// Types that made-up names are asked for.
const TYPES_OF_NOTHING: [Rtype; 5] = [Rtype::A, Rtype::TXT, Rtype::CNAME, Rtype::DS, Rtype::ANY];

/// Every question that the zone is asked.
///
/// `more` are names of the zone that are asked for like those that do not exist.
pub fn questions(zone: &Zone, more: impl IntoIterator<Item = Vec<u8>>) -> Vec<Query> {
    let existing = existing(zone);
    let mut questions = BTreeSet::new();
    for wire in &existing {
        let here = zone.find(wire);
        let present = here.iter().flat_map(|owner| owner.rrsets()).map(|rrset| rrset.rtype());
        questions.extend(present.chain(TYPES).map(|rtype| (wire.clone(), rtype.0)));
    }
    for wire in made_up(&existing).into_iter().chain(more) {
        questions.extend(TYPES_OF_NOTHING.map(|rtype| (wire.clone(), rtype.0)));
    }
    let client = |edns| {
        let ask =
            move |(name, rtype): &(Vec<u8>, u16)| Query { name: name.clone(), rtype: *rtype, edns };
        questions.iter().map(ask)
    };
    CLIENTS.into_iter().flat_map(client).collect()
}

/// All owner names and the empty non-terminals above them. Of the many that a very deep name makes,
/// a few are enough, and of those of NSEC3 records one in eight.
fn existing(zone: &Zone) -> Vec<Vec<u8>> {
    let mut names = BTreeSet::new();
    for (place, owner) in zone.owners().enumerate() {
        if is_hash(&owner) && !place.is_multiple_of(8) {
            continue;
        }
        let mut up = Some(owner.name());
        while let Some(wire) = up.filter(|wire| name::is_at_or_below(wire, zone.apex().as_wire())) {
            let depth = name::labels(wire).count();
            if depth < 10 || depth.is_multiple_of(16) || wire == owner.name() {
                names.insert(wire.to_vec());
            }
            up = name::parent(wire);
        }
    }
    names.into_iter().collect()
}

/// Names around those that exist: below them, before and after them, deep below, wildcards by name,
/// and those that exist in other letters.
fn made_up(existing: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    let mut chance = Chance(1);
    for wire in existing {
        for prefix in [
            &b"\x01x"[..],
            b"\x01*",
            b"\x01\x00",
            b"\x01\xff",
            b"\x01a\x01*",
            b"\x04deep\x05below\x04this\x04name",
            b"\x03\xff\xff\xff\x01*\x01\x00",
        ] {
            names.insert([prefix, wire].concat());
        }
        names.insert([&chance.label()[..], wire].concat());
        let case: Vec<u8> = wire.iter().map(|&octet| chance.case(octet)).collect();
        names.insert(case);
        let (Some(label), Some(parent)) = (name::labels(wire).next(), name::parent(wire)) else {
            continue;
        };
        let beside = |label: &[u8]| [&[label.len() as u8], label, parent].concat();
        if label.len() > 1 {
            names.insert(beside(&label[..label.len() - 1]));
        }
        if label.len() < 63 {
            names.insert(beside(&[label, b"\0"].concat()));
            names.insert(beside(&[label, b"0"].concat()));
        }
        let mut last = label.to_vec();
        if let Some(octet) = last.last_mut() {
            *octet = octet.wrapping_add(1);
        }
        names.insert(beside(&last));
        names.insert([&chance.label()[..], parent].concat());
    }
    names.retain(|wire| name::wire_name_len(wire) == Some(wire.len()));
    names
}
