use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::zone::difference::Rules;
use crate::zone::{Name, Serial, Soa, Version, ZoneBuilder};

const APEX: &[u8] = b"\x07example\0";
const NAMES: [&[u8]; 6] = [
    APEX,
    b"\x01a\x07example\0",
    b"\x01b\x01a\x07example\0",
    b"\x01b\x07example\0",
    b"\x01*\x07example\0",
    b"\x01a\x03org\0",
];

fn soa(serial: u32) -> Vec<u8> {
    let mut rdata = b"\x02ns\0\x04mail\0".to_vec();
    for number in [serial, 3600, 600, 86_400, 60] {
        rdata.extend(number.to_be_bytes());
    }
    rdata
}

/// RDATA of a type, of which there are few.
fn rdata(rtype: Rtype, value: u8) -> Vec<u8> {
    match rtype {
        Rtype::A => vec![192, 0, 2, value],
        Rtype::TXT => vec![1, b'a' + value],
        Rtype::SOA => soa(u32::from(value)),
        _ => vec![1, b'm' + value, 0],
    }
}

fn record(class: u16, owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]) -> UpdateRecord {
    UpdateRecord { owner: owner.to_vec(), rtype, class, ttl, rdata: rdata.to_vec() }
}

fn zone(records: &[(&[u8], Rtype, &[u8])]) -> Version {
    let mut builder = ZoneBuilder::new(Name::from_wire(APEX).unwrap());
    for (owner, rtype, rdata) in records {
        builder.push(owner, *rtype, 300, rdata).unwrap();
    }
    Version::of(builder.finish().unwrap())
}

fn small_zone() -> Version {
    zone(&[
        (APEX, Rtype::SOA, &soa(7)),
        (APEX, Rtype::NS, b"\x02ns\0"),
        (NAMES[1], Rtype::A, &[192, 0, 2, 1]),
        (NAMES[1], Rtype::A, &[192, 0, 2, 2]),
        (NAMES[3], Rtype::CNAME, b"\x01m\0"),
    ])
}

fn all(_: &[u8], _: Rtype) -> bool {
    true
}

/// What comes of one update of [`small_zone`].
fn asked(prerequisites: &[UpdateRecord], changes: &[UpdateRecord]) -> Result<bool, UpdateError> {
    let base = small_zone();
    let update = Update { prerequisites: prerequisites.to_vec(), changes: changes.to_vec() };
    Draft::new(&base, &all).update(&update)
}

#[test]
fn prerequisites_have_the_codes_of_rfc_2136_section_3_2() {
    let [a, below, alias, away] = [NAMES[1], NAMES[2], NAMES[3], NAMES[5]];
    let of = |class, owner, rtype, rdata: &[u8]| record(class, owner, rtype, 0, rdata);
    let both = [of(IN, a, Rtype::A, &[192, 0, 2, 2]), of(IN, a, Rtype::A, &[192, 0, 2, 1])];
    let cases: [(&[UpdateRecord], Result<bool, UpdateError>); 16] = [
        (&[of(ANY, a, Rtype::ANY, b"")], Ok(false)),
        (&[of(ANY, below, Rtype::ANY, b"")], Err(UpdateError::NameNotInUse)),
        (&[of(NONE, below, Rtype::ANY, b"")], Ok(false)),
        (&[of(NONE, alias, Rtype::ANY, b"")], Err(UpdateError::NameInUse)),
        (&[of(ANY, a, Rtype::A, b"")], Ok(false)),
        (&[of(ANY, a, Rtype::TXT, b"")], Err(UpdateError::NoRrset)),
        (&[of(NONE, a, Rtype::TXT, b"")], Ok(false)),
        (&[of(NONE, a, Rtype::A, b"")], Err(UpdateError::RrsetExists)),
        // Whatever their order.
        (&both, Ok(false)),
        (&both[..1], Err(UpdateError::NoRrset)),
        (&[of(IN, a, Rtype::TXT, b"\x01a")], Err(UpdateError::NoRrset)),
        (&[of(ANY, away, Rtype::A, b"")], Err(UpdateError::NotInZone)),
        (&[record(ANY, a, Rtype::A, 1, b"")], Err(UpdateError::Malformed)),
        (&[of(ANY, a, Rtype::A, &[192, 0, 2, 1])], Err(UpdateError::Malformed)),
        (&[of(IN, a, Rtype::ANY, b"")], Err(UpdateError::Malformed)),
        (&[of(3, a, Rtype::A, b"")], Err(UpdateError::Malformed)),
    ];
    for (prerequisites, expected) in cases {
        assert_eq!(asked(prerequisites, &[]), expected, "{prerequisites:?}");
    }
}

#[test]
fn what_may_not_stand_in_an_update_does_nothing() {
    let good = record(IN, NAMES[2], Rtype::A, 60, &[192, 0, 2, 9]);
    let cases = [
        (record(IN, NAMES[5], Rtype::A, 60, &[192, 0, 2, 1]), UpdateError::NotInZone),
        (record(IN, NAMES[1], Rtype::ANY, 60, b""), UpdateError::Malformed),
        (record(IN, NAMES[1], Rtype::AXFR, 60, b""), UpdateError::Malformed),
        (record(ANY, NAMES[1], Rtype::A, 60, b""), UpdateError::Malformed),
        (record(ANY, NAMES[1], Rtype::A, 0, &[192, 0, 2, 1]), UpdateError::Malformed),
        (record(ANY, NAMES[1], Rtype::AXFR, 0, b""), UpdateError::Malformed),
        (record(NONE, NAMES[1], Rtype::A, 60, &[192, 0, 2, 1]), UpdateError::Malformed),
        (record(NONE, NAMES[1], Rtype::ANY, 0, b""), UpdateError::Malformed),
        (record(3, NAMES[1], Rtype::A, 0, &[192, 0, 2, 1]), UpdateError::Malformed),
        (record(IN, NAMES[1], Rtype::NSEC, 60, b"\0\0\x01\x40"), UpdateError::Made(Rtype::NSEC)),
    ];
    let base = small_zone();
    let is_taken = |_: &[u8], rtype: Rtype| rtype != Rtype::NSEC;
    for (bad, expected) in cases {
        for changes in [vec![good.clone(), bad.clone()], vec![bad.clone(), good.clone()]] {
            let mut draft = Draft::new(&base, &is_taken);
            let update = Update { prerequisites: Vec::new(), changes };
            assert_eq!(draft.update(&update), Err(expected), "{update:?}");
            assert_eq!(draft.difference(), None, "{update:?}");
        }
    }
}

#[test]
fn an_update_that_fails_leaves_those_before_it() {
    let base = zone(&[
        (APEX, Rtype::SOA, &soa(7)),
        (APEX, Rtype::NS, b"\x02ns\0"),
        (NAMES[1], Rtype::DNAME, b"\x03org\0"),
    ]);
    let mut draft = Draft::new(&base, &all);
    let add = |owner: &[u8]| record(IN, owner, Rtype::A, 60, &[192, 0, 2, 9]);
    let update = |changes| Update { prerequisites: Vec::new(), changes };
    assert_eq!(draft.update(&update(vec![add(NAMES[3])])), Ok(true));
    let first = draft.difference().unwrap();
    // Below the DNAME record; the name before is touched as well.
    let dname = record(IN, NAMES[3], Rtype::TXT, 60, b"\x01a");
    let below = update(vec![dname, add(NAMES[2])]);
    assert_eq!(draft.update(&below), Err(UpdateError::BelowDname));
    assert_eq!(draft.difference(), Some(first.clone()));
    // A DNAME record above names; once these are gone it may come.
    let above = record(IN, APEX, Rtype::DNAME, 60, b"\x03org\0");
    assert_eq!(draft.update(&update(vec![above.clone()])), Err(UpdateError::BelowDname));
    assert_eq!(draft.difference(), Some(first));
    let gone = [NAMES[1], NAMES[3]].map(|owner| record(ANY, owner, Rtype::ANY, 0, b""));
    assert_eq!(draft.update(&update([&gone[..], &[above]].concat())), Ok(true));
    let next = base.apply(&draft.difference().unwrap(), Rules::Strict).unwrap();
    assert_eq!((next.owner_count(), next.serial()), (1, Serial(8)));
}

/// The names of a zone's records that the signer has not made stay those of the zone.
#[test]
fn what_the_signer_makes_is_not_looked_at() {
    let base = zone(&[
        (APEX, Rtype::SOA, &soa(7)),
        (APEX, Rtype::NS, b"\x02ns\0"),
        (NAMES[1], Rtype::NSEC3, b"\x01\0\0\0\0\x01a\0"),
        (NAMES[3], Rtype::A, &[192, 0, 2, 1]),
        (NAMES[3], Rtype::NSEC, b"\0\0\x01\x40"),
    ]);
    let is_taken = |_: &[u8], rtype| !matches!(rtype, Rtype::NSEC | Rtype::NSEC3);
    let mut draft = Draft::new(&base, &is_taken);
    let update = Update {
        prerequisites: vec![record(NONE, NAMES[1], Rtype::ANY, 0, b"")],
        changes: vec![record(ANY, NAMES[3], Rtype::ANY, 0, b"")],
    };
    assert_eq!(draft.update(&update), Ok(true));
    let difference = draft.difference().unwrap();
    let types: Vec<Rtype> = difference.removed().iter().map(|record| record.rtype).collect();
    assert_eq!(types, [Rtype::SOA, Rtype::A]);
}

//----------- As messages ---------------------------------------------------------------------------------

/// A message with these records, whose names are not compressed.
fn message(update: &Update) -> Vec<u8> {
    let sections = [&update.prerequisites, &update.changes];
    let mut octets = vec![0x12, 0x34, 0x28, 0, 0, 1];
    octets.extend(sections.iter().flat_map(|section| (section.len() as u16).to_be_bytes()));
    octets.extend([0, 0]);
    octets.extend(APEX);
    octets.extend([0, 6, 0, 1]);
    for record in sections.into_iter().flatten() {
        octets.extend(&record.owner);
        octets.extend(record.rtype.0.to_be_bytes());
        octets.extend(record.class.to_be_bytes());
        octets.extend(record.ttl.to_be_bytes());
        octets.extend((record.rdata.len() as u16).to_be_bytes());
        octets.extend(&record.rdata);
    }
    octets
}

#[test]
fn names_may_be_compressed_and_of_any_case() {
    let mut octets = message(&Update::default());
    octets[9] = 2;
    // `B` and a pointer to the zone; a name server below it, whose name leads to the one before.
    octets.extend(b"\x01B\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
    let name_at = octets.len();
    octets.extend(b"\xc0\x19\0\x02\0\x01\x80\0\0\0\0\x05\x02NS\xc0\x0c");
    assert_eq!(name_at, 25 + 18);
    let request = Request::read(&octets).unwrap();
    let expected = [
        record(IN, NAMES[3], Rtype::A, 60, &[192, 0, 2, 1]),
        // A TTL of more than 31 bits is none (RFC 2181 section 8).
        record(IN, NAMES[3], Rtype::NS, 0, b"\x02ns\x07example\0"),
    ];
    assert_eq!((request.zone.as_wire(), &request.update.changes[..]), (APEX, &expected[..]));
    octets[name_at + 1] = 0xff;
    assert_eq!(Request::read(&octets), Err(UpdateError::Malformed));
}

#[test]
fn rdata_has_the_form_of_its_type() {
    for (class, rtype, rdata, is_read) in [
        (IN, Rtype::A, &[192, 0, 2][..], false),
        (IN, Rtype::A, &[], false),
        (NONE, Rtype::A, &[192, 0, 2], false),
        (NONE, Rtype::NS, &[], true),
        (ANY, Rtype::NS, &[], true),
        (ANY, Rtype::ANY, &[], true),
        (IN, Rtype(65_400), &[1, 2, 3], true),
    ] {
        let record = record(class, NAMES[1], rtype, 0, rdata);
        let update = Update { prerequisites: Vec::new(), changes: vec![record] };
        let read = Request::read(&message(&update)).map(|request| request.update);
        assert_eq!(read.is_ok(), is_read, "{update:?}");
        assert!(read.is_err() || read == Ok(update));
    }
}

//----------- Beside the pseudocode of the RFC -----------------------------------------------------------

/// A zone as a list of records, changed as the pseudocode of RFC 2136 section 3.4.2.7 says.
type Listed = BTreeSet<(Vec<u8>, Rtype, Vec<u8>, u32)>;

fn listed(version: &Version) -> Listed {
    let owners = version.owners().flat_map(|owner| {
        owner.rrsets().flat_map(move |rrset| {
            rrset.rdatas().map(move |rdata| {
                (owner.name().to_vec(), rrset.rtype(), rdata.to_vec(), rrset.ttl())
            })
        })
    });
    owners.collect()
}

fn by_pseudocode(zone: &mut Listed, rr: &UpdateRecord) {
    let has =
        |zone: &Listed, rtype: Rtype| zone.iter().any(|(o, t, ..)| *o == rr.owner && *t == rtype);
    let other = |zone: &Listed| zone.iter().any(|(o, t, ..)| *o == rr.owner && *t != Rtype::CNAME);
    let is_apex = rr.owner == APEX;
    if rr.class == IN {
        if rr.rtype == Rtype::CNAME && other(zone) {
            return;
        }
        if rr.rtype != Rtype::CNAME && has(zone, Rtype::CNAME) {
            return;
        }
        if rr.rtype == Rtype::SOA {
            let serial = |rdata: &[u8]| Soa::parse(rdata).unwrap().serial;
            let now = zone.iter().find(|(_, t, ..)| *t == Rtype::SOA).unwrap().2.clone();
            if !is_apex || !serial(&rr.rdata).is_newer_than(serial(&now)) {
                return;
            }
        }
        let is_single = matches!(rr.rtype, Rtype::CNAME | Rtype::SOA);
        let rrset: Vec<_> =
            zone.iter().filter(|(o, t, ..)| *o == rr.owner && *t == rr.rtype).cloned().collect();
        for old in rrset {
            zone.remove(&old);
            if !is_single {
                zone.insert((old.0, old.1, old.2, rr.ttl));
            }
        }
        zone.insert((rr.owner.clone(), rr.rtype, rr.rdata.clone(), rr.ttl));
    } else if rr.class == ANY {
        zone.retain(|(o, t, ..)| {
            let is_meant = *o == rr.owner && (rr.rtype == Rtype::ANY || *t == rr.rtype);
            !is_meant || is_apex && matches!(*t, Rtype::SOA | Rtype::NS)
        });
    } else {
        let count = zone.iter().filter(|(o, t, ..)| *o == rr.owner && *t == Rtype::NS).count();
        if rr.rtype == Rtype::SOA || is_apex && rr.rtype == Rtype::NS && count == 1 {
            return;
        }
        zone.retain(|(o, t, r, _)| !(*o == rr.owner && *t == rr.rtype && *r == rr.rdata));
    }
}

fn change() -> impl Strategy<Value = UpdateRecord> {
    let types = [Rtype::A, Rtype::TXT, Rtype::NS, Rtype::CNAME, Rtype::SOA];
    (0..5usize, 0..6usize, 0..3u16, 0..4u8, 0..2u32).prop_map(
        move |(name, rtype, class, value, ttl)| {
            let class = [IN, ANY, NONE][usize::from(class)];
            let rtype = types.get(rtype).copied();
            let rtype = rtype.unwrap_or(if class == ANY { Rtype::ANY } else { Rtype::A });
            let data = if class == ANY { Vec::new() } else { rdata(rtype, value + 5) };
            let ttl = if class == IN { 300 + ttl } else { 0 };
            record(class, NAMES[name], rtype, ttl, &data)
        },
    )
}

proptest! {
    /// What is written is read; what is cut short or changed is read as something else, or refused.
    #[test]
    fn messages_are_read_as_they_were_written(
        changes in proptest::collection::vec(change(), 0..6), at in 0..400usize, octet in any::<u8>(),
    ) {
        let update = Update { prerequisites: Vec::new(), changes };
        let mut octets = message(&update);
        prop_assert_eq!(Request::read(&octets).map(|request| request.update), Ok(update.clone()));
        for len in 0..octets.len() {
            prop_assert_eq!(Request::read(&octets[..len]), Err(UpdateError::Malformed), "{}", len);
        }
        if let Some(place) = octets.get_mut(at) {
            *place = octet;
            let base = small_zone();
            if let Ok(request) = Request::read(&octets) {
                let _ = Draft::new(&base, &all).update(&request.update);
            }
        }
    }

    /// Any sequence of updates leaves the records that the pseudocode does, and the difference leads there.
    #[test]
    fn sequences_leave_what_the_pseudocode_does(
        updates in proptest::collection::vec(proptest::collection::vec(change(), 1..6), 1..6),
    ) {
        let base = small_zone();
        let mut draft = Draft::new(&base, &all);
        let mut expected = listed(&base);
        for changes in updates {
            let before = expected.clone();
            changes.iter().for_each(|record| by_pseudocode(&mut expected, record));
            let update = Update { prerequisites: Vec::new(), changes };
            prop_assert_eq!(draft.update(&update), Ok(before != expected), "{:?}", update);
        }
        let next = match draft.difference() {
            Some(difference) => base.apply(&difference, Rules::Strict).unwrap(),
            None => base.clone(),
        };
        // The serial goes up with what changes, unless an update has brought one.
        let is_soa = |record: &&(Vec<u8>, Rtype, Vec<u8>, u32)| record.1 == Rtype::SOA;
        let [serial, old] = [&expected, &listed(&base)]
            .map(|zone| Soa::parse(&zone.iter().find(is_soa).unwrap().2).unwrap().serial);
        let is_changed = expected != listed(&base);
        prop_assert_eq!(next.serial(), if is_changed && serial == old { old.next() } else { serial });
        let without_serial = |zone: Listed| -> Listed {
            zone.into_iter()
                .map(|(owner, rtype, mut rdata, ttl)| {
                    if rtype == Rtype::SOA {
                        crate::zone::soa::set_serial(&mut rdata, Serial(0));
                    }
                    (owner, rtype, rdata, ttl)
                })
                .collect()
        };
        prop_assert_eq!(without_serial(listed(&next)), without_serial(expected));
    }
}
