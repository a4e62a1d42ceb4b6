use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::zone::ZoneBuilder;
use crate::zone::difference::tests::{Small, owner_name, records_of, small_among, zone};
use crate::zone::difference::{ApplyError, Difference, RecordRef, Rules};
use crate::zone::name::canonical_order;
use crate::zone::stored_arrays;

/// Owner names of the world of these tests.
const OWNERS: usize = 65;

/// All that is said of an owner: name, and type, TTL and RDATA of each RRset.
type Content<'z> = (&'z [u8], Vec<(Rtype, u32, Vec<&'z [u8]>)>);

fn content<'z>(owner: Owner<'z>) -> Content<'z> {
    let rrset = |rrset: Rrset<'z>| {
        assert_eq!(owner.rrset(rrset.rtype()).map(|same| same.len()), Some(rrset.len()));
        (rrset.rtype(), rrset.ttl(), rrset.rdatas().collect())
    };
    (owner.name(), owner.rrsets().map(rrset).collect())
}

/// Names that a zone of this world has or has not: its owners, what stands beside and above them, and names around
/// the zone.
fn asked() -> BTreeSet<Name> {
    let beside = |name: &[u8]| {
        let parent = &name[1 + usize::from(name[0])..];
        let mut label = name[1..1 + usize::from(name[0])].to_vec();
        label.push(0);
        [vec![label.len() as u8], label, parent.to_vec()].concat()
    };
    let all = (0..OWNERS).map(owner_name);
    let around =
        [&b"\x01a\0"[..], b"\x04zone\0", b"\0", b"\x01b\x01b\x07example\0"].map(<[u8]>::to_vec);
    all.flat_map(|name| [beside(&name), name])
        .chain(around)
        .map(|name| Name::from_wire(&name).unwrap())
        .collect()
}

/// Takes owners from both ends, in a row and in turn, and compares them with those expected.
fn assert_walk<'v>(
    walk: impl DoubleEndedIterator<Item = Owner<'v>> + Clone,
    expected: impl DoubleEndedIterator<Item = Owner<'v>> + Clone,
) {
    let names = |owner: Owner<'v>| owner.name();
    assert!(walk.clone().map(names).eq(expected.clone().map(names)));
    assert!(walk.clone().rev().map(names).eq(expected.clone().rev().map(names)));
    let (mut walk, mut expected) = (walk, expected.collect::<VecDeque<_>>());
    for turn in 0.. {
        let (one, other) = match turn % 3 {
            0 => (walk.next_back(), expected.pop_back()),
            _ => (walk.next(), expected.pop_front()),
        };
        assert_eq!(one.map(content), other.map(content));
        if one.is_none() {
            return;
        }
    }
}

/// Compares a version with the flat zone that it is.
fn assert_says(version: &Version, zone: &Zone) {
    assert!(version.owners().map(content).eq(zone.owners().map(content)));
    assert_eq!(version.owner_count(), zone.owners().len());
    assert_eq!(version.record_count(), zone.record_count());
    assert_eq!(version.counts.rrsets, zone.parts().rrset_entries().len());
    assert_eq!(version.octets(), zone.octets());
    assert_eq!(version.counts.octets, zone.parts().bytes_of(0..zone.owners().len()).len());
    assert_eq!((version.apex(), version.serial()), (zone.apex(), zone.serial()));
    assert_eq!(version.negative_ttl(), zone.negative_ttl());
    let soa = version.soa().unwrap();
    assert!(soa.rdatas().eq(zone.soa().unwrap().rdatas()));
    assert_eq!(version.soa_fields().map(|soa| soa.serial), zone.soa_fields().map(|soa| soa.serial));
    assert_keeps(version, zone);
}

/// What is written of a version is read as the flat zone that it is.
fn assert_keeps(version: &Version, zone: &Zone) {
    let mut octets = Vec::new();
    stored_arrays::write(version, &mut octets).unwrap();
    let mut rest = Bytes::from([&octets[..], b"more"].concat());
    let kept = stored_arrays::take(&mut rest).unwrap();
    assert_eq!((kept.apex(), kept.arrays()), (zone.apex(), zone.arrays()));
    assert_eq!((kept.serial(), kept.record_count()), (zone.serial(), zone.record_count()));
    assert_eq!(&rest[..], b"more");
}

/// Asks a version for all names of the world, there or not, and compares with the flat zone that it is.
fn assert_finds(version: &Version, zone: &Zone) {
    let owners: Vec<_> = zone.owners().collect();
    for name in asked() {
        let name = name.as_wire();
        assert_eq!(version.find(name).map(content), zone.find(name).map(content));
        let is_below =
            |owner: &Owner<'_>| owner.name() != name && is_at_or_below(owner.name(), name);
        assert_eq!(version.has_names_below(name), owners.iter().any(is_below));

        let at = owners.partition_point(|owner| canonical_order(owner.name(), name).is_lt());
        let [before, from] = [&owners[..at], &owners[at..]].map(|part| part.iter().copied());
        assert_walk(version.from(name), from.clone());
        assert_walk(version.before(name), before.clone().rev());
        assert_walk(version.hashed_from(name), from.filter(Owner::is_hash));
        assert_walk(version.hashed_before(name), before.filter(Owner::is_hash).rev());
    }
    assert_walk(version.owners(), owners.iter().copied());
}

/// What holds of every version: its layers are whole, and say nothing that the flat zone says too.
fn assert_sound(version: &Version) {
    let base = &version.base.zone;
    for (layer, is_of_hashes) in [(&version.names, false), (&version.hashes, true)] {
        layer.assert_sound();
        for owner in layer.owners() {
            let in_base = base.find(owner.name());
            assert!(!in_base.is_some_and(|base| base.has_same_rrsets(&owner)));
            match owner.has_rrsets() {
                true => assert_eq!(owner.is_hash(), is_of_hashes),
                false => assert_eq!(in_base.map(|base| base.is_hash()), Some(is_of_hashes)),
            }
        }
    }
}

/// Records that come and go from one version to the next.
#[derive(Clone, Debug)]
struct Step {
    gone: Vec<prop::sample::Index>,
    come: Vec<Small>,
    /// Whether the next one is merged.
    is_merged: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let gone = prop::collection::vec(any::<prop::sample::Index>(), 0..30);
    let come = prop::collection::vec(small_among(OWNERS), 0..30);
    (gone, come, prop::bool::weighted(0.1)).prop_map(|(gone, come, is_merged)| Step {
        gone,
        come,
        is_merged,
    })
}

/// The records of each version after the first.
fn histories(first: &[Small], steps: &[Step]) -> Vec<Vec<Small>> {
    let mut records = first.to_vec();
    let next = |step: &Step| {
        for gone in step.gone.iter().filter(|_| !records.is_empty()).collect::<Vec<_>>() {
            if !records.is_empty() {
                records.swap_remove(gone.index(records.len()));
            }
        }
        records.extend(&step.come);
        records.clone()
    };
    steps.iter().map(next).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever changes, one difference after the other: each version is the zone made anew of its records, also when
    /// those after it are there, and each leads back.
    #[test]
    fn versions_are_the_zones_made_anew(
        first in prop::collection::vec(small_among(OWNERS), 0..120),
        steps in prop::collection::vec(step(), 1..8),
    ) {
        let mut zones = vec![zone(1, &first)];
        let mut versions = vec![Version::of(zones[0].clone())];
        for (step, records) in steps.iter().zip(histories(&first, &steps)) {
            let next = zone(zones.len() as u32 + 1, &records);
            let (before, last) = (&versions[versions.len() - 1], &zones[zones.len() - 1]);
            let difference = Difference::between(last, &next);
            let version = before.apply(&difference, Rules::Strict).unwrap();
            assert_sound(&version);
            prop_assert_eq!(records_of(&version.flat().unwrap()), records_of(&next));
            let back = version.apply(&difference.clone().reversed(), Rules::Strict).unwrap();
            assert_sound(&back);
            prop_assert_eq!(records_of(&back.flat().unwrap()), records_of(last));
            let sent = Difference::from_sequence(next.apex(), difference.sequence()).unwrap();
            let received = before.apply(&sent, Rules::Strict).unwrap();
            prop_assert!(received.owners().map(content).eq(version.owners().map(content)));
            // Twice does no harm where that is allowed, and changes nothing.
            let again = version.apply(&difference, Rules::Lenient).unwrap();
            prop_assert!(again.owners().map(content).eq(version.owners().map(content)));

            versions.push(match step.is_merged {
                true => Version::of(version.flat().unwrap()),
                false => version,
            });
            zones.push(next);
        }
        let flats: Vec<_> = versions.iter().map(|version| version.flat().unwrap()).collect();
        for ((version, flat), zone) in versions.iter().zip(&flats).zip(&zones) {
            prop_assert_eq!(records_of(flat), records_of(zone));
            assert_says(version, flat);
        }
        for (old, old_flat) in versions.iter().zip(&flats) {
            for (new, new_flat) in versions.iter().zip(&flats) {
                let told = Difference::between_versions(old, new);
                prop_assert_eq!(told, Difference::between(old_flat, new_flat));
            }
        }
        let last = versions.len() - 1;
        assert_finds(&versions[last], &flats[last]);
        // Each may be merged while those after it come.
        for (place, snapshot) in versions.iter().enumerate() {
            let merged = Version::of(flats[place].clone());
            for (version, flat) in versions.iter().zip(&flats).skip(place) {
                let Some(rebased) = version.rebased(snapshot, &merged) else {
                    prop_assert!(!version.has_same_flat_zone(snapshot));
                    continue;
                };
                prop_assert!(version.has_same_flat_zone(snapshot));
                prop_assert!(rebased.has_same_flat_zone(&merged));
                assert_sound(&rebased);
                prop_assert_eq!(records_of(&rebased.flat().unwrap()), records_of(flat));
            }
        }
    }

    /// What layers lie over the flat zone does not decide whether a difference fits, nor what it makes.
    #[test]
    fn a_difference_meets_all_versions_of_a_zone_alike(
        first in prop::collection::vec(small_among(OWNERS), 0..80),
        steps in prop::collection::vec(step(), 1..5),
        other in prop::collection::vec(small_among(OWNERS), 0..80),
        step in step(),
    ) {
        let mut version = Version::of(zone(1, &first));
        let mut last = zone(1, &first);
        for (serial, records) in (2..).zip(histories(&first, &steps)) {
            let next = zone(serial, &records);
            version = version.apply(&Difference::between(&last, &next), Rules::Strict).unwrap();
            last = next;
        }
        let flat = Version::of(version.flat().unwrap());
        // Of a zone that is another one, and of one that is nearly the same.
        let near = histories(&other, std::slice::from_ref(&step)).remove(0);
        let mut mixed = zone(last.serial().0, &other);
        for rules in [Rules::Strict, Rules::Lenient] {
            for next in [zone(99, &near), zone(99, &other)] {
                let difference = Difference::between(&mixed, &next);
                let [made, expected] = [&version, &flat].map(|version| {
                    version.apply(&difference, rules).and_then(|made| {
                        assert_sound(&made);
                        made.flat().map_err(ApplyError::from)
                    })
                });
                let [made, expected] = [made, expected].map(|made| made.map(|made| made.arrays().map(<[u8]>::to_vec)));
                prop_assert_eq!(made, expected);
                mixed = last.clone();
            }
        }
    }
}

/// A zone whose owners have one record each.
fn wide(serial: u32, value: impl Fn(usize) -> u8) -> Zone {
    let mut builder = ZoneBuilder::new(Name::from_wire(b"\x07example\0").unwrap());
    builder.copy(&zone(serial, &[]), |_, _| true).unwrap();
    for owner in 0..1000 {
        builder.push(&wide_name(owner), Rtype::A, 60, &[192, 0, 2, value(owner)]).unwrap();
    }
    builder.finish().unwrap()
}

fn wide_name(owner: usize) -> Vec<u8> {
    [b"\x04", format!("{owner:04}").as_bytes(), b"\x07example\0"].concat()
}

/// One owner changes, many did: two leaves are written, that of the owner and that of the apex with its SOA record.
#[test]
fn a_change_writes_the_leaves_of_what_changes() {
    let zones = [
        wide(1, |_| 1),
        wide(2, |owner| (owner % 3) as u8),
        wide(3, |owner| match owner {
            500 => 9,
            _ => (owner % 3) as u8,
        }),
    ];
    let [first, second] = [0, 1].map(|at| Difference::between(&zones[at], &zones[at + 1]));
    let many = Version::of(zones[0].clone()).apply(&first, Rules::Strict).unwrap();
    let one = many.apply(&second, Rules::Strict).unwrap();
    assert!(one.names.unshared_leaves(&Layer::default()) > 100);
    assert_eq!(one.names.unshared_leaves(&many.names), 2);
    assert_eq!(Difference::between_versions(&many, &one), second);
    // What is as before is told of by the flat zone alone.
    let back = one.apply(&second.reversed(), Rules::Strict).unwrap();
    let back = back.apply(&first.reversed(), Rules::Strict).unwrap();
    assert_eq!((back.overlay_octets(), one.is_merge_due()), (0, true));
    assert!(!back.is_merge_due());
}

#[test]
fn what_stands_beside_a_zone_stays_there() {
    let any_answers = wide(1, |_| 1);
    let zones = [zone(1, &[]), zone(2, &[])];
    let base = zones[0].clone().with_any_answers(any_answers.clone());
    let next = Difference::between(&zones[0], &zones[1]).apply(&base, Rules::Strict).unwrap();
    assert_eq!(next.any_answers().map(Zone::arrays), Some(any_answers.arrays()));
    // They change with a difference of their own.
    let version = Version::of(next);
    let beside = version.any_answers().unwrap();
    let other = wide(1, |_| 2);
    let change = Difference::between(&any_answers, &other);
    let beside = beside.apply(&change, Rules::Strict).unwrap();
    let flat = version.with_any_answers(beside).flat().unwrap();
    assert_eq!(flat.any_answers().map(Zone::arrays), Some(other.arrays()));
}

/// A version is known from its clones; and where nothing changed, a flat zone of it takes no memory.
#[test]
fn a_version_is_the_same_as_its_clones() {
    let zones = [wide(1, |_| 1), wide(2, |owner| u8::from(owner != 3))];
    let base = Version::of(zones[0].clone().with_any_answers(zones[1].clone()));
    let difference = Difference::between(&zones[0], &zones[1]);
    let next = base.apply(&difference, Rules::Strict).unwrap();
    let back = next.apply(&difference.reversed(), Rules::Strict).unwrap();
    let made_anew = Version::of(next.flat().unwrap());
    let beside = base.clone().with_any_answers(Version::of(zones[1].clone()));
    let all = [&base, &next, &made_anew, &beside];
    for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
        assert_eq!(one.is_same(&(*other).clone()), std::ptr::eq(*one, *other));
    }
    assert!(back.is_same(&base), "what is as it was is told of by the flat zone alone");
    assert!(next.has_same_flat_zone(&base) && !made_anew.has_same_flat_zone(&base));
    let address = |zone: &Zone| zone.arrays().map(<[u8]>::as_ptr);
    assert_eq!(address(&base.flat().unwrap()), address(&zones[0]));
    assert_ne!(address(&next.flat().unwrap()), address(&zones[0]));
}

#[test]
fn what_is_withheld_stays_so_until_it_changes() {
    let zones = [wide(1, |_| 1), wide(2, |owner| u8::from(owner != 3))];
    let withheld = [3, 4].map(|owner| {
        let name = Name::from_wire(&wide_name(owner)).unwrap();
        (name, Rtype::A)
    });
    let base = Version::of(zones[0].clone().withholding(withheld.clone().into()));
    let next = base.apply(&Difference::between(&zones[0], &zones[1]), Rules::Strict).unwrap();
    let is_withheld = |version: &Version| {
        withheld.each_ref().map(|(name, rtype)| version.is_withheld(name.as_wire(), *rtype))
    };
    assert_eq!([is_withheld(&base), is_withheld(&next)], [[true, true], [false, true]]);
    assert!(next.flat().unwrap().withheld().eq(&withheld[1..]));
}

#[test]
fn a_version_is_a_zone_or_none() {
    let (base, org) = (zone(1, &[]), Name::from_wire(b"\x03org\0").unwrap());
    let version = Version::of(base.clone());
    let soa = |zone: &Zone| zone.soa().unwrap().rdatas().next().unwrap().to_vec();
    let soa = soa(&base);
    let record = |owner, rtype, rdata| RecordRef { owner, rtype, ttl: 60, rdata };
    let apply = |removed: Option<RecordRef<'_>>, added: Option<RecordRef<'_>>| {
        let serials = [base.serial(); 2];
        let difference =
            Difference::of_records(base.apex(), serials, removed.into_iter(), added.into_iter());
        version.apply(&difference, Rules::Strict).err()
    };
    let at_apex = record(base.apex().as_wire(), Rtype::SOA, &soa[..]);
    let none = ApplyError::NoZone(ZoneError::SoaCount { apex: base.apex().clone(), count: 0 });
    assert_eq!(apply(Some(at_apex), None), Some(none));
    let other = [&soa[..soa.len() - 1], &[1]].concat();
    let two = ApplyError::NoZone(ZoneError::SoaCount { apex: base.apex().clone(), count: 2 });
    assert_eq!(apply(None, Some(record(base.apex().as_wire(), Rtype::SOA, &other))), Some(two));
    let outside = ZoneError::OutOfZone { owner: org, apex: base.apex().clone() };
    assert_eq!(
        apply(None, Some(record(b"\x03org\0", Rtype::A, &[192, 0, 2, 1]))),
        Some(outside.into())
    );
}

/// An owner of a version is none of the flat zone, even where it is of one that lies below.
#[test]
#[should_panic(expected = "a place is one of the owner's own zone")]
fn an_owner_that_changed_has_no_place_in_the_flat_zone() {
    let zones = [wide(1, |_| 1), wide(2, |_| 2)];
    let version = Version::of(zones[0].clone());
    let next = version.apply(&Difference::between(&zones[0], &zones[1]), Rules::Strict).unwrap();
    zones[0].index_of(&next.owners().nth(7).unwrap());
}
