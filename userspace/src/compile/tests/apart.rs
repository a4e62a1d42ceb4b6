//! Zones compiled apart and placed: they are what they would be had they been compiled in the image.

use super::incremental::{PASSING_NAMES, PASSING_SLOTS, SLOT_NAMES, SLOTS, after_each};
use super::*;
use crate::compile::ApartZone;
use crate::compile::inspect::verify::{verify, verify_table};
use crate::zone::difference::{Difference, Rules};

/// Publishes a zone that was compiled apart.
pub(super) fn publish_apart(
    image: &mut Image,
    zone: &Zone,
) -> Result<super::Difference, PublishError> {
    let apart = ApartZone::compile(zone, image.seed, NOW).expect("compiled");
    let room = image.reserve(&apart)?;
    let mut placed = room.fill(&apart).map_err(|(error, _)| error).expect("filled");
    let (difference, retired) = image.publish_placed(&mut placed)?;
    image.release(retired);
    Ok(difference)
}

fn sound(image: &Image, zone: &Zone) {
    let reader = image.reader();
    let findings = verify(&reader, zone.apex(), &image.nodes(zone.apex()), NOW);
    assert_eq!(findings.expect("no other version").problems, []);
    assert_eq!(verify_table(&reader), []);
}

/// A zone with names of all kinds; those of `more` come besides.
fn records(more: &str) -> String {
    let mut records = String::from(
        "a A 192.0.2.1\nb.ent A 192.0.2.2\n*.w A 192.0.2.3\nx.w TXT x\nc CNAME a\nto CNAME q.w\ncut NS ns.cut\n\
         ns.cut A 192.0.2.4\nsafe NS ns.cut\nsafe DS 1 13 2 0707070707070707070707070707070707070707070707070707070707070707\n\
         lost CNAME nobody\nd DNAME a\n@ MX 1 a\n",
    );
    // So many that indexes have several blocks and ranges, and records lie in several chunks.
    for number in 0..300 {
        records += &format!("n{number:03} TXT {}\n", "t".repeat(200));
        records += &format!("z{number:03}.deep NS ns.cut\n");
    }
    records + more
}

fn asked() -> Vec<Vec<u8>> {
    let names = [
        "@",
        "a",
        "ent",
        "b.ent",
        "q.w",
        "x.w",
        "c",
        "to",
        "cut",
        "x.cut",
        "safe",
        "lost",
        "x.d",
        "n007",
        "n007x",
        "z123.deep",
        "q.z123.deep",
        "q.deep",
        "deep",
        "nobody",
        "zzz",
        "new",
        "sub",
        "www.sub",
    ];
    super::incremental::questions(&names).into_iter().map(|(_, query)| query).collect()
}

fn large_image() -> Image {
    image(64 << 16, 1 << 12)
}

#[test]
fn a_zone_compiled_apart_is_the_same() {
    for denial in DENIALS {
        let zone = versions(&[&zone("example.org.", 1, &records(""))], denial).remove(0);
        let (mut image, mut expected) = (large_image(), large_image());
        image.at(NOW);
        drop(expected.at(NOW).publish(&zone).expect("published"));
        // Others before it, so that it lies elsewhere.
        drop(image.publish(&super::zone("other.org.", 1, &records(""))).expect("published"));
        let others = image.usage();
        publish_apart(&mut image, &zone).expect("published");
        sound(&image, &zone);
        let (reader, other) = (image.reader(), expected.reader());
        for query in asked() {
            assert_eq!(answer(&reader, &query), answer(&other, &query));
        }
        assert_eq!(image.usage_of(zone.apex()), expected.usage_of(zone.apex()));
        let [apart, known] = [&image, &expected].map(|image| &image.zones[zone.apex()]);
        assert_eq!(apart.dependents, known.dependents);
        let keys = |list: &crate::compile::sorted::SortedList<(u32, u32)>| {
            list.iter().map(|(key, _)| *key).collect::<Vec<_>>()
        };
        for (one, other) in [
            (&apart.aliases, &known.aliases),
            (&apart.hosts, &known.hosts),
            (&apart.by_hash, &known.by_hash),
        ] {
            assert_eq!(keys(one), keys(other));
        }
        let retired = image.remove(zone.apex());
        image.release(retired);
        assert_eq!(image.usage(), others);
    }
}

/// A zone that is there already, one below it, and one above.
#[test]
fn it_takes_the_place_of_another_version_among_other_zones() {
    for denial in DENIALS {
        let first = zone("example.org.", 1, &records("gone A 192.0.2.9\ngone.ent A 192.0.2.9"));
        let second = zone("example.org.", 2, &records("new A 192.0.2.8\nsub NS ns.cut"));
        let versions = versions(&[&first, &second], denial);
        let below = zone("sub.example.org.", 1, "www A 192.0.2.7");
        let above = zone("org.", 1, "example NS ns.example\nns.example A 192.0.2.6");
        let (mut image, mut expected) = (large_image(), large_image());
        for image in [&mut image, &mut expected] {
            image.at(NOW);
            drop(image.publish(&below).expect("published"));
            drop(image.publish(&above).expect("published"));
            drop(image.publish(&versions[0]).expect("published"));
        }
        drop(expected.publish(&versions[1]).expect("published"));
        publish_apart(&mut image, &versions[1]).expect("published");
        for zone in [&versions[1], &below, &above] {
            sound(&image, zone);
        }
        let (reader, other) = (image.reader(), expected.reader());
        for query in asked() {
            assert_eq!(answer(&reader, &query), answer(&other, &query));
        }
        for zone in [&versions[1], &below, &above] {
            let retired = image.remove(zone.apex());
            image.release(retired);
        }
        let usage = image.usage();
        assert_eq!((usage.slab_octets, usage.entries, usage.names, usage.records), (0, 0, 0, 0));
    }
}

/// What is asked while one version takes the other's place is answered with one of them.
#[test]
fn every_moment_is_right_for_one_version() {
    use super::changes::Watched;
    let first =
        zone("example.org.", 1, "a A 192.0.2.1\ngone A 192.0.2.2\nb.c.d A 192.0.2.3\nto CNAME a");
    let second = zone(
        "example.org.",
        2,
        "a A 192.0.2.4\nnew.e A 192.0.2.2\nc.d A 192.0.2.3\nto CNAME new.e",
    );
    let questions =
        super::incremental::questions(&["@", "a", "gone", "c.d", "b.c.d", "new.e", "e", "to", "q"]);
    for denial in DENIALS {
        let versions = versions(&[&first, &second], denial);
        let expected: Vec<Vec<Vec<u8>>> = versions
            .iter()
            .map(|zone| {
                let mut image = small_image();
                drop(image.publish(zone).expect("published"));
                let reader = image.reader();
                questions.iter().map(|(_, query)| answer(&reader, query)).collect()
            })
            .collect();
        let memory = Arc::new(Watched::new());
        let mut image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, 0x5eed);
        drop(image.at(NOW).publish(&versions[0]).expect("published"));
        let (reader, asked, known) = (image.reader(), questions.clone(), expected.clone());
        let hook = move || {
            for (place, (name, query)) in asked.iter().enumerate() {
                let said = answer(&reader, query);
                if !known.iter().any(|answers| answers[place] == said) {
                    let all = known.iter().flatten().flat_map(|said| links(said));
                    let all: BTreeSet<String> = all.collect();
                    let said = links(&said);
                    assert!(said.len() > 1 && said.is_subset(&all), "{name}: {said:#?}");
                }
            }
        };
        *memory.after_store.lock().expect("one thread") = Some(Box::new(hook));
        publish_apart(&mut image, &versions[1]).expect("published");
        *memory.after_store.lock().expect("one thread") = None;
        let reader = image.reader();
        for ((_, query), expected) in questions.iter().zip(&expected[1]) {
            assert_eq!(answer(&reader, query), *expected);
        }
    }
}

/// The image moves to larger memory, and other zones come and go, while a zone is placed.
#[test]
fn the_image_may_move_meanwhile() {
    for denial in DENIALS {
        let zone = versions(&[&zone("example.org.", 1, &records(""))], denial).remove(0);
        let mut image = large_image();
        let other = super::zone("other.org.", 1, &records(""));
        drop(image.at(NOW).publish(&other).expect("published"));
        let apart = ApartZone::compile(&zone, image.seed, NOW).expect("compiled");
        let larger = || {
            Arc::new(
                Mapping::anonymous(Size { slab: 128 << 16, buckets: 1 << 13 }).expect("memory"),
            )
        };
        let room = image.reserve(&apart).expect("room");
        image.move_to(larger()).expect("moved");
        let (_, retired) =
            image.publish(&super::zone("other.org.", 2, "a A 192.0.2.1")).expect("published");
        image.release(retired);
        let mut placed = room.fill(&apart).map_err(|(error, _)| error).expect("filled");
        drop(image.publish(&super::zone("third.org.", 1, &records(""))).expect("published"));
        image.move_to(larger()).expect("moved");
        drop(image.publish_placed(&mut placed).expect("published"));
        image.move_to(larger()).expect("moved");
        sound(&image, &zone);
        let mut expected = large_image();
        drop(expected.publish(&zone).expect("published"));
        let (reader, expected) = (image.reader(), expected.reader());
        for query in asked() {
            assert_eq!(answer(&reader, &query), answer(&expected, &query));
        }
    }
}

/// What is needed is said exactly, all at once; what was taken is given back; and a zone that changes as a whole again and
/// again takes no more than twice its size.
#[test]
fn room_is_what_is_needed_and_comes_back() {
    let zone = signed(&zone("example.org.", 1, &records("")), Denial::Nsec);
    let mut image = image(1 << 16, 8);
    let apart = ApartZone::compile(&zone, image.seed, NOW).expect("compiled");
    let Err(PublishError::Full { slab_needed, buckets_needed }) = image.reserve(&apart) else {
        panic!("it fits");
    };
    let size = Size { slab: slab_needed.next_multiple_of(1 << 16), buckets: buckets_needed };
    assert!(size.slab <= apart.octets() + (5 << 16), "{slab_needed} for {}", apart.octets());
    image.move_to(Arc::new(Mapping::anonymous(size).expect("memory"))).expect("moved");
    // Nothing else is needed, in either way of giving up.
    for _ in 0..3 {
        let room = image.reserve(&apart).expect("room");
        image.cancel(room);
        let room = image.reserve(&apart).expect("room");
        let placed = room.fill(&apart).map_err(|(error, _)| error).expect("filled");
        image.cancel_placed(placed);
        let abandoned = RetiredExtents::of(std::mem::take(&mut image.abandoned));
        image.release(abandoned);
        assert_eq!(image.usage().slab_octets, 0);
    }
    publish_apart(&mut image, &zone).expect("published");
    sound(&image, &zone);
    assert!(matches!(publish_apart(&mut image, &zone), Err(PublishError::Full { .. })));
    let twice = Size { slab: 2 * size.slab + (4 << 16), ..size };
    image.move_to(Arc::new(Mapping::anonymous(twice).expect("memory"))).expect("moved");
    for number in 0..20 {
        // Another zone holds what was free between.
        let small = super::zone("small.org.", number + 1, &format!("a{number} TXT small"));
        let (_, retired) = image.publish(&small).expect("published");
        image.release(retired);
        publish_apart(&mut image, &zone).unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    sound(&image, &zone);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A version that was written, read, placed among others and changed before it is published is what it would be had
    /// the next one been published first.
    #[test]
    fn what_was_kept_and_changed_is_what_it_should_be(
        first in proptest::collection::vec(0u8..3, SLOTS.len() + PASSING_SLOTS.len()),
        change in proptest::collection::vec((0..SLOTS.len() + PASSING_SLOTS.len(), 0u8..3), 0..6),
        denial in 0usize..4,
    ) {
        let zones = after_each(first, &[change]);
        let versions = versions(&zones.iter().collect::<Vec<_>>(), DENIALS[denial]);
        let mut octets = Vec::new();
        let apart = ApartZone::compile(&versions[0], 0x5eed, NOW).expect("compiled");
        apart.write(&mut octets).expect("written");
        let apart = ApartZone::read(versions[0].apex(), &octets.into()).expect("read");
        let mut image = large_image();
        let below = super::zone("b.c.d.example.org.", 1, "www A 192.0.2.7");
        drop(image.at(NOW).publish(&below).expect("published"));
        let before = image.usage();
        let difference = Difference::between(&versions[0], &versions[1]);
        let next = Version::of(versions[0].clone()).apply(&difference, Rules::Strict).expect("it fits");
        let room = image.reserve(&apart).expect("room");
        let mut placed = room.fill(&apart).map_err(|(error, _)| error).expect("filled");
        image.change_placed(&mut placed, &next, &difference).expect("changed");
        image.cancel_placed(placed);
        let abandoned = RetiredExtents::of(std::mem::take(&mut image.abandoned));
        image.release(abandoned);
        prop_assert_eq!(image.usage(), before);

        let room = image.reserve(&apart).expect("room");
        let mut placed = room.fill(&apart).map_err(|(error, _)| error).expect("filled");
        image.change_placed(&mut placed, &next, &difference).expect("changed");
        let (_, retired) = image.publish_placed(&mut placed).expect("published");
        image.release(retired);
        sound(&image, &versions[1]);
        sound(&image, &below);
        let mut expected = large_image();
        drop(expected.at(NOW).publish(&below).expect("published"));
        drop(expected.publish(&versions[1]).expect("published"));
        let (reader, other) = (image.reader(), expected.reader());
        let names = [&SLOT_NAMES[..], &PASSING_NAMES].concat();
        for (name, query) in super::incremental::questions(&names) {
            prop_assert_eq!(answer(&reader, &query), answer(&other, &query), "{}", name);
        }
        for apex in [versions[0].apex(), below.apex()] {
            let retired = image.remove(apex);
            image.release(retired);
        }
        let usage = image.usage();
        prop_assert_eq!((usage.slab_octets, usage.entries, usage.names, usage.records), (0, 0, 0, 0));
    }
}
