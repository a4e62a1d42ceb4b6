//! RRsets with several signatures: as long as one of them holds they are sent (RFC 4035 section 5.3.3).

use xdp_common::Outcome;

use super::{NOW, image, name, query, signed, small_image, zone};
use crate::dnssec::keys::store::KeyStore;
use crate::dnssec::keys::{Algorithm, KeyLayout};
use crate::dnssec::policy::{Denial, SigningPolicy};
use crate::dnssec::sign::sign;
use crate::dnssec::verify::{first_expiration, verify};
use crate::zone::{Rtype, Zone, ZoneBuilder};

const DAY: i64 = 86_400;

/// When signatures begin and end, in days from now: ended long ago, just now, in time to hand over; holding for
/// long and for short; not yet begun, before the others end and after.
const SPANS: [(i64, i64); 7] = [(-40, -30), (-20, -1), (-9, 1), (-1, 13), (0, 5), (1, 20), (8, 25)];

/// The zone with the signatures of one RRset replaced by those that it has when it is signed at these times.
fn with_signatures(versions: &[Zone], chosen: &[usize], owner: &str, rtype: Rtype) -> Zone {
    let base = &versions[SPANS.len()];
    let mut builder = ZoneBuilder::new(base.apex().clone());
    let wire = name(owner);
    let covers = |rdata: &[u8]| rdata[..2] == rtype.0.to_be_bytes();
    for at in base.owners() {
        for rrset in at.rrsets() {
            for rdata in rrset.rdatas() {
                let is_replaced =
                    at.name() == wire.as_wire() && rrset.rtype() == Rtype::RRSIG && covers(rdata);
                if !is_replaced {
                    builder.push(at.name(), rrset.rtype(), rrset.ttl(), rdata).expect("as it was");
                }
            }
        }
    }
    for &place in chosen {
        let at = versions[place].find(wire.as_wire()).expect("the name");
        for rdata in at.signatures(rtype) {
            builder.push(wire.as_wire(), Rtype::RRSIG, 300, rdata).expect("a signature");
        }
    }
    builder.finish().expect("a zone")
}

/// All choices of up to three kinds of signatures, each in every order: the image sends the RRset as long as one
/// holds without a gap, `verify` and what `zone status` shows say the same time, and what has no signature that
/// holds is refused by `verify`.
#[test]
fn an_rrset_is_sent_as_long_as_one_signature_holds() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = zone("example.org.", 1, "a A 192.0.2.1");
    let store = KeyStore::new(directory.path());
    let algorithm = Algorithm::EcdsaP256Sha256;
    let (keys, _) =
        store.load_or_generate(plain.apex(), KeyLayout::KskZsk, algorithm, NOW).expect("keys");
    let at = |days: i64| (i64::from(NOW) + days * DAY) as u32;
    let signed = |inception: i64, expiration: i64| {
        let policy = SigningPolicy {
            denial: Denial::Nsec,
            validity: ((expiration - inception) * DAY) as u32,
            inception_offset: 0,
            ..SigningPolicy::default()
        };
        sign(&plain, &keys, &policy, at(inception)).expect("signed").0
    };
    let mut versions: Vec<Zone> = SPANS.iter().map(|&(from, to)| signed(from, to)).collect();
    // All else holds longer than any of them.
    versions.push(signed(-1, 90));
    let mut choices: Vec<Vec<usize>> = (0..SPANS.len()).map(|a| vec![a]).collect();
    choices.extend((0..SPANS.len()).flat_map(|a| (0..SPANS.len()).map(move |b| vec![a, b])));
    choices.extend((0..SPANS.len()).flat_map(|a| {
        (0..SPANS.len()).flat_map(move |b| (0..SPANS.len()).map(move |c| vec![a, b, c]))
    }));
    for (owner, rtype) in [
        ("a.example.org.", Rtype::A),
        ("example.org.", Rtype::SOA),
        ("example.org.", Rtype::DNSKEY),
        ("example.org.", Rtype::NSEC),
    ] {
        for chosen in &choices {
            let zone = with_signatures(&versions, chosen, owner, rtype);
            let holds = |time: i64| {
                chosen
                    .iter()
                    .any(|&place| (SPANS[place].0 * DAY..=SPANS[place].1 * DAY).contains(&time))
            };
            let mut image = image(64 << 16, 64);
            drop(image.at(NOW).publish(&zone).expect("published"));
            let reader = image.reader();
            let sent = |time: i64| {
                let mut response = Vec::new();
                let query = query(name(owner).as_wire(), rtype);
                let now = (i64::from(NOW) + time) as u32;
                match reader.answer(&query, true, 65_535, now, &mut response) {
                    Outcome::Positive => true,
                    Outcome::Expired => false,
                    other => panic!("{other:?}"),
                }
            };
            if !holds(0) {
                assert!(verify(&zone, NOW).is_err(), "{chosen:?}");
                continue;
            }
            // Second by second would take long: the ends, and what is around them.
            let mut ends: Vec<i64> = chosen.iter().map(|&place| SPANS[place].1 * DAY).collect();
            ends.sort_unstable();
            let until = ends.into_iter().filter(|&end| end >= 0).find(|&end| !holds(end + 1));
            let until = until.expect("it ends");
            assert!((0..=until).step_by(DAY as usize / 2).all(&holds), "{chosen:?}");
            for (time, expected) in
                [(0, true), (until - 1, true), (until, true), (until + 1, false)]
            {
                assert_eq!(
                    sent(time),
                    expected || time < 0,
                    "{owner} {rtype} {chosen:?} at {time}"
                );
            }
            let expected = (i64::from(NOW) + until) as u32;
            let report =
                verify(&zone, NOW).unwrap_or_else(|faults| panic!("{chosen:?}: {faults:?}"));
            assert_eq!(report.expiration, expected, "{owner} {rtype} {chosen:?}");
            assert_eq!(first_expiration(&zone, NOW), Some(expected), "{owner} {rtype} {chosen:?}");
        }
    }
}

#[test]
fn expired_signatures_are_not_sent() {
    let mut image = small_image();
    let signed = signed(&zone("example.org.", 1, "a A 192.0.2.1"), Denial::Nsec);
    drop(image.publish(&signed).expect("published"));
    let mut response = Vec::new();
    let mut at = |now: u32| {
        let query = query(name("a.example.org.").as_wire(), Rtype::A);
        image.reader().answer(&query, false, 1232, now, &mut response)
    };
    let end = NOW + 14 * 86400;
    assert_eq!(at(end), Outcome::Positive);
    assert_eq!(at(end + 1), Outcome::Expired);
}
