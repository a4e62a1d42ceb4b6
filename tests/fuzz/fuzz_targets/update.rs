//! Dynamic updates: whatever a client with a key sends is refused as a whole, or leaves a zone to which its difference leads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealdns::transfer::update::{Draft, Request};
use sealdns::zone::difference::Rules;
use sealdns::zone::{Name, Rtype, Version, ZoneBuilder};

/// Header and zone section of an update of `example`, without its counts of records.
const HEAD: &[u8] = b"\x5e\xa1\x28\0\0\x01\0\0\0\0\0\0\x07example\0\0\x06\0\x01";

/// Starts of records of which a fuzzer seldom finds one.
const STARTS: [&[u8]; 6] = [
    b"\x01a\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02",
    b"\x01a\xc0\x0c\0\x01\0\xfe\0\0\0\0\0\x04\xc0\0\x02",
    b"\xc0\x0c\0\xff\0\xff\0\0\0\0\0\0",
    b"\xc0\x0c\0\x02\0\x01\0\0\0\x3c\0\x02\xc0",
    b"\x01a\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0",
    b"\x01a\xc0\x0c\0\x27\0\x01\0\0\0\x3c\0\x02\xc0",
];

fuzz_target!(|input: (&[u8], u8, Vec<(u8, &[u8])>)| {
    let (raw, prerequisites, parts) = input;
    let zone = zone();
    done(&zone, raw);
    let mut message = HEAD.to_vec();
    message[7] = prerequisites % 3;
    message[9] = parts.len() as u8;
    for (choice, octets) in parts {
        message.extend_from_slice(STARTS.get(usize::from(choice % 8)).unwrap_or(&&[][..]));
        message.extend_from_slice(octets);
    }
    done(&zone, &message);
});

fn done(zone: &Version, message: &[u8]) {
    let Ok(request) = Request::read(message) else { return };
    let mut draft = Draft::new(zone, &|_, rtype| rtype != Rtype::NSEC);
    let is_changed = draft.update(&request.update);
    match draft.difference() {
        Some(difference) => {
            assert_eq!(is_changed, Ok(true));
            let next = zone.apply(&difference, Rules::Strict).expect("it fits what it was made of");
            assert!(next.soa().is_some_and(|soa| soa.len() == 1));
        }
        // It may have brought and taken away again.
        None => assert_ne!(is_changed, Ok(true)),
    }
}

fn zone() -> Version {
    let apex = Name::from_wire(b"\x07example\0").expect("a name");
    let mut builder = ZoneBuilder::new(apex);
    let soa = [&b"\x02ns\0\x04mail\0"[..], &[0, 0, 0, 9].repeat(5)].concat();
    for (owner, rtype, rdata) in [
        (&b"\x07example\0"[..], Rtype::SOA, &soa[..]),
        (b"\x07example\0", Rtype::NS, b"\x02ns\0"),
        (b"\x01a\x07example\0", Rtype::A, &[192, 0, 2, 1]),
        (b"\x01b\x01a\x07example\0", Rtype::A, &[192, 0, 2, 2]),
    ] {
        builder.push(owner, rtype, 60, rdata).expect("a record");
    }
    Version::of(builder.finish().expect("a zone"))
}
