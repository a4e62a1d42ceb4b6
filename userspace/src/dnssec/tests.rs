//! A zone signed and then broken in every way that [`verify`](super::verify::verify) must notice.

use super::authority::{NameStatus, places};
use super::keys::{Algorithm, Key, NewKey, Role};
use super::policy::{AnyResponse, Denial, SerialPolicy, SigningPolicy};
use super::rrsig::Rrsig;
use super::sign::{SignError, sign, sign_again};
use super::verify::{Reason, first_expiration, verify, verify_again};
use crate::cli::zone_file::parse_zone;
use crate::zone::{Name, Rtype, Version, Zone, ZoneBuilder};

const NOW: u32 = 1_800_000_000;
const ZONE: &str = include_str!("../../../tests/zones/signing.zone");

fn name(text: &str) -> Name {
    format!("{text}.signing.example").parse().unwrap()
}

fn unsigned() -> Zone {
    parse_zone(ZONE.as_bytes(), &"signing.example".parse().unwrap()).unwrap()
}

fn keys(roles: &[Role]) -> Vec<Key> {
    let zone = "signing.example".parse::<Name>().unwrap();
    let make = |&role| NewKey::generate(&zone, role, Algorithm::default(), &[], NOW).unwrap().key;
    roles.iter().map(make).collect()
}

fn policy(denial: Denial) -> SigningPolicy {
    SigningPolicy { denial, ..SigningPolicy::default() }
}

fn signed(denial: Denial) -> Zone {
    sign(&unsigned(), &keys(&[Role::Ksk, Role::Zsk]), &policy(denial), NOW).unwrap().0
}

/// The zone with each record as `change` makes it, or without it.
fn changed(zone: &Zone, mut change: impl FnMut(&Name, Rtype, &mut Vec<u8>) -> bool) -> Zone {
    let mut builder = ZoneBuilder::new(zone.apex().clone());
    for owner in zone.owners() {
        for rrset in owner.rrsets() {
            for rdata in rrset.rdatas() {
                let mut rdata = rdata.to_vec();
                let name = Name::from_wire(owner.name()).unwrap();
                if change(&name, rrset.rtype(), &mut rdata) {
                    builder.push(owner.name(), rrset.rtype(), rrset.ttl(), &rdata).unwrap();
                }
            }
        }
    }
    builder.finish().unwrap()
}

fn covers(rdata: &[u8], rtype: Rtype) -> bool {
    Rrsig::parse(rdata).is_some_and(|rrsig| rrsig.fields.covered == rtype)
}

#[track_caller]
fn faults(zone: &Zone) -> Vec<(Name, Rtype, Reason)> {
    let faults = verify(zone, NOW).unwrap_err();
    faults.into_iter().map(|fault| (fault.owner, fault.rtype, fault.reason)).collect()
}

const ALL: [Denial; 3] =
    [Denial::Nsec, Denial::Nsec3 { opt_out: false }, Denial::Nsec3 { opt_out: true }];

#[test]
fn what_is_signed_is_valid_in_every_way_of_signing() {
    for denial in ALL {
        for roles in [&[Role::Ksk, Role::Zsk][..], &[Role::Csk]] {
            let (zone, statistics) = sign(&unsigned(), &keys(roles), &policy(denial), NOW).unwrap();
            let report = verify(&zone, NOW).unwrap_or_else(|faults| panic!("{faults:?}"));
            assert_eq!(report.denial, denial);
            assert_eq!(report.rrsets, statistics.rrsets);
            assert_eq!(report.denials, statistics.denials);
            assert_eq!(report.expiration, NOW + 14 * 86400);
            // Signed once more, nothing is left of the first time but the serial.
            let policy = SigningPolicy { serial: SerialPolicy::Increment, ..policy(denial) };
            let (again, more) = sign(&zone, &keys(roles), &policy, NOW).unwrap();
            assert_eq!(more.denials, statistics.denials);
            assert_eq!(again.serial().0, 8);
            // The keys of the first time stay, as a zone's own DNSKEY records do.
            assert_eq!(verify(&again, NOW).map(|report| report.keys), Ok(2 * roles.len()));
        }
    }
}

#[test]
fn every_algorithm_signs_and_verifies() {
    let apex = "signing.example".parse::<Name>().unwrap();
    for algorithm in [Algorithm::EcdsaP384Sha384, Algorithm::Ed25519] {
        let key = NewKey::generate(&apex, Role::Csk, algorithm, &[], NOW).unwrap().key;
        let zone = sign(&unsigned(), &[key], &policy(Denial::Nsec), NOW).unwrap().0;
        assert!(verify(&zone, NOW).is_ok());
    }
}

#[test]
fn glue_and_what_a_dname_hides_are_not_signed() {
    let zone = unsigned();
    let mut builder = ZoneBuilder::new(zone.apex().clone());
    builder.copy(&zone, |_, _| true).unwrap();
    builder.push(name("hidden.moved").as_wire(), Rtype::TXT, 60, b"\x0anever seen").unwrap();
    let zone = builder.finish().unwrap();
    let place = |text| places(&zone)[zone.index_of(&zone.find(name(text).as_wire()).unwrap())];
    assert_eq!(place("ns1.insecure"), NameStatus::Occluded);
    assert_eq!(place("hidden.moved"), NameStatus::Occluded);
    assert_eq!(place("moved"), NameStatus::Authoritative);
    assert_eq!(place("self"), NameStatus::Cut);
    for denial in ALL {
        let zone = sign(&zone, &keys(&[Role::Csk]), &policy(denial), NOW).unwrap().0;
        assert!(verify(&zone, NOW).is_ok());
        for hidden in ["ns1.insecure", "ns1.secure", "hidden.moved"] {
            let owner = zone.find(name(hidden).as_wire()).unwrap();
            assert!(owner.rrset(Rtype::RRSIG).is_none() && owner.rrset(Rtype::NSEC).is_none());
        }
        let cut = zone.find(name("self").as_wire()).unwrap();
        assert_eq!(cut.signatures(Rtype::NS).count() + cut.signatures(Rtype::A).count(), 0);
        let secure = zone.find(name("secure").as_wire()).unwrap();
        assert_eq!(secure.signatures(Rtype::DS).count(), 1);
    }
}

#[test]
fn wildcards_and_ttls_are_as_the_rfcs_say() {
    let zone = signed(Denial::Nsec);
    let wildcard = zone.find(name("*.wild").as_wire()).unwrap();
    let rrsig = Rrsig::parse(wildcard.signatures(Rtype::A).next().unwrap()).unwrap();
    assert_eq!((rrsig.fields.labels, rrsig.fields.original_ttl), (3, 3600));
    assert_eq!((rrsig.fields.inception, rrsig.fields.expiration), (NOW - 3600, NOW + 1_209_600));
    // RFC 9077: the lower of SOA TTL (7200) and MINIMUM (300).
    assert_eq!(wildcard.rrset(Rtype::NSEC).unwrap().ttl(), 300);
    let zone = signed(Denial::Nsec3 { opt_out: false });
    let hashed = zone.owners().find_map(|owner| owner.rrset(Rtype::NSEC3)).unwrap();
    assert_eq!(hashed.ttl(), 300);
}

#[test]
fn the_smallest_zone_and_the_root_are_signed() {
    let alone = "@ 60 SOA ns.example.net. mail.example.net. 1 2 3 4 5\n@ 60 NS ns.example.net.\n";
    let tlds = format!("{alone}example 60 NS ns.example.net.\n*.b 60 TXT a\n");
    for (apex, text) in [("a.example".parse::<Name>().unwrap(), alone), (Name::root(), &tlds)] {
        let zone = parse_zone(text.as_bytes(), &apex).unwrap();
        for denial in ALL {
            let key = NewKey::generate(&apex, Role::Csk, Algorithm::Ed25519, &[], NOW).unwrap();
            let zone = sign(&zone, &[key.key], &policy(denial), NOW).unwrap().0;
            assert_eq!(verify(&zone, NOW).map(|report| report.denial), Ok(denial));
        }
    }
}

#[test]
fn opting_out_leaves_out_what_is_only_insecure() {
    let count = |denial| {
        let keys = keys(&[Role::Csk]);
        sign(&unsigned(), &keys, &policy(denial), NOW).unwrap().1.denials
    };
    let (all, secure_only) =
        (count(Denial::Nsec3 { opt_out: false }), count(Denial::Nsec3 { opt_out: true }));
    // insecure, self, only.cuts.below, other.cuts.below and plain.mixed.below; not the empty
    // cuts.below, though it stands above insecure delegations only.
    assert_eq!(all - secure_only, 5);
}

#[test]
fn signatures_end_at_different_times_if_told_to() {
    let policy = SigningPolicy { jitter: 86400, ..policy(Denial::Nsec) };
    let zone = sign(&unsigned(), &keys(&[Role::Csk]), &policy, NOW).unwrap().0;
    let mut ends: Vec<u32> = zone
        .owners()
        .filter_map(|owner| owner.rrset(Rtype::RRSIG)?.rdatas().next())
        .map(|rdata| Rrsig::parse(rdata).unwrap().fields.expiration)
        .collect();
    assert!(ends.iter().all(|end| (NOW + 13 * 86400..=NOW + 14 * 86400).contains(end)));
    ends.sort_unstable();
    ends.dedup();
    assert!(ends.len() > 20, "{} different ends", ends.len());
}

#[test]
fn keys_that_cannot_sign_the_whole_zone_are_refused() {
    let policy = policy(Denial::Nsec);
    let sign = |keys: &[Key]| sign(&unsigned(), keys, &policy, NOW).err();
    assert!(matches!(sign(&[]), Some(SignError::NoKey(_))));
    assert!(matches!(sign(&keys(&[Role::Zsk])), Some(SignError::Incomplete { .. })));
    assert!(matches!(sign(&keys(&[Role::Ksk])), Some(SignError::Incomplete { .. })));
    let other = "other.example".parse::<Name>().unwrap();
    let other = NewKey::generate(&other, Role::Csk, Algorithm::default(), &[], NOW).unwrap().key;
    assert!(matches!(sign(&[other]), Some(SignError::OtherZone { .. })));
}

#[test]
fn a_flipped_bit_in_a_signature_is_found() {
    let zone = changed(&signed(Denial::Nsec), |owner, rtype, rdata| {
        if *owner == name("www") && rtype == Rtype::RRSIG && covers(rdata, Rtype::AAAA) {
            *rdata.last_mut().unwrap() ^= 1;
        }
        true
    });
    let found = faults(&zone);
    assert!(matches!(&found[..], [(owner, Rtype::AAAA, Reason::Invalid { .. })]
        if *owner == name("www")));
    let shown = verify(&zone, NOW).unwrap_err()[0].to_string();
    assert!(shown.starts_with("www.signing.example. AAAA: the signature by key "), "{shown}");
}

#[test]
fn a_changed_record_is_found() {
    let zone = changed(&signed(Denial::Nsec), |owner, rtype, rdata| {
        if *owner == name("www") && rtype == Rtype::A {
            rdata[3] ^= 1;
        }
        true
    });
    assert!(matches!(&faults(&zone)[..], [(_, Rtype::A, Reason::Invalid { .. })]));
}

#[test]
fn a_missing_signature_is_found() {
    let zone = changed(&signed(Denial::Nsec), |owner, rtype, rdata| {
        !(*owner == name("secure") && rtype == Rtype::RRSIG && covers(rdata, Rtype::DS))
    });
    assert_eq!(faults(&zone), [(name("secure"), Rtype::DS, Reason::NoSignature)]);
}

#[test]
fn signatures_outside_their_time_are_found() {
    let zone = signed(Denial::Nsec);
    let reason = |now| verify(&zone, now).unwrap_err().remove(0).reason;
    assert!(matches!(reason(NOW + 14 * 86400 + 1), Reason::Expired { .. }));
    let shown = reason(NOW + 14 * 86400 + 1).to_string();
    assert!(shown.ends_with("expired at 2027-01-29T08:00:00Z, now is 2027-01-29T08:00:01Z"));
    assert!(matches!(reason(NOW - 3601), Reason::NotYetValid { .. }));
    assert!(verify(&zone, NOW + 14 * 86400).is_ok());
    assert!(verify(&zone, NOW - 3600).is_ok());
}

#[test]
fn a_missing_nsec_is_found() {
    let zone = changed(&signed(Denial::Nsec), |owner, rtype, rdata| {
        let gone = rtype == Rtype::NSEC || (rtype == Rtype::RRSIG && covers(rdata, Rtype::NSEC));
        !(*owner == name("mail") && gone)
    });
    assert_eq!(faults(&zone), [(name("mail"), Rtype::NSEC, Reason::NoNsec)]);
}

/// The zone without one name, its signatures left: the chain then leads to a name that is gone.
#[test]
fn a_name_taken_out_breaks_the_nsec_chain() {
    let zone = changed(&signed(Denial::Nsec), |owner, _, _| *owner != name("mail2"));
    let found = faults(&zone);
    assert!(
        matches!(&found[..], [(_, Rtype::NSEC, Reason::NextName { found, .. })]
        if *found == name("mail2")),
        "{found:?}"
    );
}

#[test]
fn wrong_bitmaps_are_found_though_signed() {
    // A record taken out, though its type is in the bit map.
    for denial in ALL {
        let zone = changed(&signed(denial), |owner, rtype, rdata| {
            let gone = rtype == Rtype::AAAA || covers(rdata, Rtype::AAAA);
            !(*owner == name("www") && gone)
        });
        let found = faults(&zone);
        let expected = if denial == Denial::Nsec { Rtype::NSEC } else { Rtype::NSEC3 };
        assert!(
            matches!(&found[..], [(owner, rtype, Reason::Bitmap { found, .. })]
            if *owner == name("www") && *rtype == expected && found.contains("AAAA")),
            "{found:?}"
        );
    }
}

#[test]
fn broken_nsec3_chains_are_found() {
    let zone = signed(Denial::Nsec3 { opt_out: false });
    let is_nsec3 = |rtype, rdata: &[u8]| {
        rtype == Rtype::NSEC3 || (rtype == Rtype::RRSIG && covers(rdata, Rtype::NSEC3))
    };
    // The record of an empty non-terminal (without types) is taken out.
    let victim = zone
        .owners()
        .find(|owner| {
            let rdata = owner.rrset(Rtype::NSEC3).and_then(|rrset| rrset.rdatas().next());
            rdata.is_some_and(|rdata| rdata.len() == 26)
        })
        .unwrap();
    let victim = Name::from_wire(victim.name()).unwrap();
    let without =
        changed(&zone, |owner, rtype, rdata| !(*owner == victim && is_nsec3(rtype, rdata)));
    let mut reasons: Vec<Reason> = faults(&without).into_iter().map(|fault| fault.2).collect();
    reasons.sort_by_key(|reason| *reason == Reason::NextHash);
    assert_eq!(reasons, [Reason::NoNsec3(victim), Reason::NextHash]);
    // A name is gone, its NSEC3 record is left.
    let stale = changed(&zone, |owner, _, _| *owner != name("mail2"));
    assert!(matches!(&faults(&stale)[..], [(_, Rtype::NSEC3, Reason::NeedlessNsec3)]));
    // A delegation is added that no record knows, and none of them opts out.
    let mut builder = ZoneBuilder::new(zone.apex().clone());
    builder.copy(&zone, |_, _| true).unwrap();
    builder.push(name("new").as_wire(), Rtype::NS, 60, b"\x02ns\x07example\x00").unwrap();
    let new = builder.finish().unwrap();
    assert!(matches!(&faults(&new)[..], [(owner, _, Reason::NoNsec3(_))] if *owner == name("new")));
    // With opt-out it may be added.
    let mut builder = ZoneBuilder::new(zone.apex().clone());
    builder.copy(&signed(Denial::Nsec3 { opt_out: true }), |_, _| true).unwrap();
    builder.push(name("new").as_wire(), Rtype::NS, 60, b"\x02ns\x07example\x00").unwrap();
    assert!(verify(&builder.finish().unwrap(), NOW).is_ok());
}

#[test]
fn a_zone_without_keys_or_chain_is_refused() {
    assert!(matches!(&faults(&unsigned())[..], [(_, Rtype::DNSKEY, Reason::NoDnskey)]));
    let zone = changed(&signed(Denial::Nsec3 { opt_out: false }), |_, rtype, rdata| {
        rtype != Rtype::NSEC3PARAM && !covers(rdata, Rtype::NSEC3PARAM)
    });
    assert!(matches!(&faults(&zone)[..], [(_, Rtype::NSEC, Reason::NoChain)]));
    // Without the key-signing key there is no way from the parent's DS.
    let zone = changed(&signed(Denial::Nsec), |_, rtype, rdata| {
        !(rtype == Rtype::DNSKEY && rdata[1] == 1)
    });
    let found = faults(&zone);
    assert!(matches!(&found[..], [(_, Rtype::DNSKEY, Reason::UnknownKey { .. })]), "{found:?}");
}

#[test]
fn zones_made_to_keep_a_validator_busy_are_refused_early() {
    let zone = signed(Denial::Nsec);
    let with = |rtype, rdatas: Vec<Vec<u8>>| {
        let mut builder = ZoneBuilder::new(zone.apex().clone());
        builder.copy(&zone, |_, _| true).unwrap();
        for rdata in rdatas {
            builder.push(zone.apex().as_wire(), rtype, 3600, &rdata).unwrap();
        }
        builder.finish().unwrap()
    };
    // Octets two apart swapped: other keys, the same tag.
    let key = zone.find(zone.apex().as_wire()).unwrap().rrset(Rtype::DNSKEY).unwrap();
    let key = key.rdatas().next().unwrap().to_vec();
    let same_tag = (0..8)
        .map(|at| {
            let mut key = key.clone();
            key.swap(10 + at, 12 + at);
            key
        })
        .collect();
    let reason = |zone: &Zone| faults(zone).remove(0).2;
    assert!(matches!(reason(&with(Rtype::DNSKEY, same_tag)), Reason::TooManyKeysOfOneTag(_)));
    let many = (0..70).map(|at| [&key[..], &[at]].concat()).collect();
    assert_eq!(reason(&with(Rtype::DNSKEY, many)), Reason::TooManyKeys);
    let owner = zone.find(zone.apex().as_wire()).unwrap();
    let good = owner.signatures(Rtype::A).next().unwrap().to_vec();
    let bad = (0..20)
        .map(|at| {
            // Sorts before the good one: an earlier expiration, but still in the future.
            let expiration = Rrsig::parse(&good).unwrap().fields.expiration - 1 - at;
            let mut bad = good.clone();
            bad[8..12].copy_from_slice(&expiration.to_be_bytes());
            bad
        })
        .collect();
    let found = faults(&with(Rtype::RRSIG, bad));
    assert!(found.iter().all(|fault| fault.2 == Reason::TooManySignatures), "{found:?}");
}

proptest::proptest! {
    /// Whatever octets of the DNSSEC records change, the zone is refused and nothing panics.
    #[test]
    fn no_octet_of_a_dnssec_record_can_change(
        record in 0usize..200,
        at in 0usize..200,
        mask in 1u8..=255,
        cut in proptest::bool::ANY,
        nsec3 in proptest::bool::ANY,
    ) {
        static ZONES: std::sync::LazyLock<[Zone; 2]> = std::sync::LazyLock::new(|| {
            [signed(Denial::Nsec), signed(Denial::Nsec3 { opt_out: false })]
        });
        let zone = &ZONES[usize::from(nsec3)];
        let is_ours = |rtype| matches!(
            rtype,
            Rtype::RRSIG | Rtype::NSEC | Rtype::DNSKEY | Rtype::NSEC3 | Rtype::NSEC3PARAM
        );
        let all: Vec<_> = zone
            .owners()
            .flat_map(|owner| owner.rrsets().map(move |rrset| (owner, rrset)))
            .filter(|(_, rrset)| is_ours(rrset.rtype()))
            .flat_map(|(owner, rrset)| rrset.rdatas().map(move |rdata| (owner, rrset, rdata)))
            .collect();
        let (owner, rrset, rdata) = all[record % all.len()];
        let at = at % rdata.len();
        let mut wrong = rdata.to_vec();
        match cut {
            true => wrong.truncate(at),
            false => wrong[at] ^= mask,
        }
        let mut builder = ZoneBuilder::new(zone.apex().clone());
        builder
            .copy(zone, |other, kept| {
                (other.name(), kept.rtype()) != (owner.name(), rrset.rtype())
            })
            .unwrap();
        let mut fits = true;
        for other in rrset.rdatas() {
            let rdata = if other == rdata { &wrong[..] } else { other };
            // What is no RDATA of its type does not get into a zone at all.
            fits &= builder.push(owner.name(), rrset.rtype(), rrset.ttl(), rdata).is_ok();
        }
        // Names in RDATA are compared without regard to case.
        if fits && !wrong.eq_ignore_ascii_case(rdata) {
            proptest::prop_assert!(verify(&builder.finish().unwrap(), NOW).is_err());
        }
    }
}

//----------- One version after the other --------------------------------------------------------------

/// Signatures of what did not change are kept, unless they are due or by a key that is gone.
#[test]
fn signatures_of_what_did_not_change_are_kept() {
    for (denial, any) in
        ALL.into_iter().flat_map(|one| [(one, AnyResponse::Rrset), (one, AnyResponse::Hinfo)])
    {
        let keys = keys(&[Role::Ksk, Role::Zsk]);
        let policy = SigningPolicy { any, ..policy(denial) };
        let (first, all) = sign(&unsigned(), &keys, &policy, NOW).unwrap();
        let other = changed(&unsigned(), |_, rtype, rdata| {
            if rtype == Rtype::MX {
                rdata[1] ^= 1;
            }
            true
        });
        let (later, first) = (NOW + 86400, Version::of(first));
        let again = |least, keys: &[Key]| {
            sign_again(&other, Some((&first, least)), keys, &policy, later).unwrap()
        };
        let (second, statistics) = again(7 * 86400, &keys);
        assert!(statistics.signatures > 0 && statistics.signatures < 10, "{statistics:?}");
        assert_eq!(statistics.signatures + statistics.kept, all.signatures);
        let report = verify(&second, later).unwrap();
        assert_eq!(first_expiration(&second, later), Some(report.expiration));
        assert_eq!(verify_again(&second, Some(&first), later).unwrap(), report);

        assert_eq!(again(13 * 86400 + 1, &keys).1.kept, 0, "they are due");
        assert_eq!(again(0, &self::keys(&[Role::Ksk, Role::Zsk])).1.kept, 0, "other keys");
    }
}

/// What was verified once is taken for good only where nothing of it changed.
#[test]
fn what_changed_is_verified_again() {
    let first = signed(Denial::Nsec);
    let version = Version::of(first.clone());
    for at_fault in [Rtype::MX, Rtype::RRSIG, Rtype::DNSKEY] {
        let mut broken = false;
        let second = changed(&first, |_, rtype, rdata| {
            let is_meant = rtype == at_fault && (rtype != Rtype::RRSIG || covers(rdata, Rtype::MX));
            if is_meant && !broken {
                broken = true;
                // An MX without the root's label would be malformed.
                let at = if rtype == Rtype::MX { 1 } else { rdata.len() - 1 };
                rdata[at] ^= 1;
            }
            true
        });
        assert!(broken && verify_again(&second, Some(&version), NOW).is_err(), "{at_fault}");
    }
    let expired = NOW + 15 * 86400;
    assert!(verify_again(&first, Some(&version), expired).is_err());
}
