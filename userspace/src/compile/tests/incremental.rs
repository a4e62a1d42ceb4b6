//! Differences published one by one: whatever changes, the image is what it would be had the version been published
//! first, every step between is one version or the other, and the work is that of the change.

use super::changes::Watched;
use super::*;
use crate::compile::hashes::HashIndex;
use crate::compile::inspect::verify::{verify, verify_table};
use crate::compile::{ChangeError, WholeReason};
use crate::zone::Version;
use crate::zone::difference::{Difference, Rules};

/// What is asked of every version.
pub(super) fn questions(names: &[&str]) -> Vec<(Name, Vec<u8>)> {
    const TYPES: [Rtype; 4] = [Rtype::A, Rtype::TXT, Rtype::NS, Rtype::DS];
    let names = names.iter().flat_map(|label| {
        let own = name(&format!("{label}.example.org.").replace("@.", ""));
        let below = ["!", "zz"].map(|label| {
            let wire = [&[label.len() as u8], label.as_bytes(), own.as_wire()].concat();
            Name::from_wire(&wire).expect("a name")
        });
        [own].into_iter().chain(below)
    });
    names.flat_map(|name| TYPES.map(|rtype| (name.clone(), query(name.as_wire(), rtype)))).collect()
}

/// What a version is answered with by itself.
fn alone(zone: &Zone, questions: &[(Name, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut image = small_image();
    drop(image.publish(zone).expect("published"));
    let reader = image.reader();
    questions.iter().map(|(_, query)| answer(&reader, query)).collect()
}

/// How many differences were published by themselves, and why others were not.
#[derive(Default, Debug)]
pub(super) struct Counted {
    pub(super) by_themselves: usize,
    pub(super) whole: Vec<WholeReason>,
}

/// Publishes versions one after the other as differences, and looks after every store what is answered.
pub(super) fn publish_all(versions: &[Zone], questions: Vec<(Name, Vec<u8>)>) -> Counted {
    let expected: Vec<_> = versions.iter().map(|version| alone(version, &questions)).collect();
    let (questions, expected) = (Arc::new(questions), Arc::new(expected));
    let memory = Arc::new(Watched::new());
    let mut image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, 0x5eed);
    image.at(NOW);
    drop(image.publish(&versions[0]).expect("published"));
    let mut counted = Counted::default();
    let mut published = Version::of(versions[0].clone());
    for number in 1..versions.len() {
        let difference = Difference::between(&versions[number - 1], &versions[number]);
        let next = published.apply(&difference, Rules::Strict).expect("it fits");
        let reader = image.reader();
        let (asked, answers) = (Arc::clone(&questions), Arc::clone(&expected));
        let table = image.reader();
        let hook = move || {
            assert_eq!(verify_table(&table), []);
            for (place, (name, query)) in asked.iter().enumerate() {
                let said = answer(&reader, query);
                let both = [number - 1, number].map(|one| &answers[one][place]);
                if both.contains(&&said) {
                    continue;
                }
                let all = [number - 1, number].into_iter().flat_map(|one| &answers[one]);
                let known: BTreeSet<String> = all.flat_map(|said| links(said)).collect();
                let said = links(&said);
                assert!(said.len() > 1 && said.is_subset(&known), "{number}: {name} {said:#?}");
            }
        };
        *memory.after_store.lock().expect("one thread") = Some(Box::new(hook));
        let retired = match image.publish_change(&next, &difference) {
            Ok((_, retired)) => {
                counted.by_themselves += 1;
                retired
            }
            Err(ChangeError::Whole(reason)) => {
                counted.whole.push(reason);
                image.publish(&next.flat().expect("a zone")).expect("published").1
            }
            Err(error) => panic!("{error}"),
        };
        *memory.after_store.lock().expect("one thread") = None;
        image.release(retired);
        published = next;
        let reader = image.reader();
        for (place, (name, query)) in questions.iter().enumerate() {
            assert_eq!(answer(&reader, query), expected[number][place], "{number}: {name}");
        }
        sound(&image, &versions[number]);
    }
    let retired = image.remove(versions[0].apex());
    image.release(retired);
    let usage = image.usage();
    assert_eq!((usage.slab_octets, usage.entries, usage.names, usage.records), (0, 0, 0, 0));
    counted
}

/// Whether nothing dangles, and nothing is held that is not needed.
fn sound(image: &Image, zone: &Zone) {
    let (apex, reader) = (zone.apex(), image.reader());
    let findings = verify(&reader, apex, &image.nodes(apex), NOW).expect("no other version");
    assert_eq!(findings.problems, [], "{}", zone.serial().0);
    let mut fresh = small_image();
    drop(fresh.publish(zone).expect("published"));
    let [held, needed] = [image, &fresh].map(|image| {
        let usage = image.usage_of(apex).expect("published");
        // Of these there may be more or fewer, depending on what was before.
        let records = usage.records - index_records(image, apex);
        (usage.names, records - image.zones[apex].records.len())
    });
    assert_eq!(held, needed);
}

/// How many records the NSEC3 index of a zone consists of.
pub(super) fn index_records(image: &Image, apex: &Name) -> usize {
    let record = crate::compile::memory::window(&*image.memory, image.zones[apex].records[0]);
    let root = record.map_or(0, |record| xdp_common::image::zone::Zone::new(record).chain());
    let index = HashIndex::new(&*image.memory, root);
    index.map_or(0, |index| (1 + index.page_count() + index.range_count()) as usize)
}

/// RRsets that stay; of each the value changes.
pub(super) const SLOTS: [&str; 18] = [
    "@ MX {} mail.example.net.",
    "@ A 192.0.2.{}",
    "a A 192.0.2.{}",
    "a TXT v{}",
    "b.c.d TXT v{}",
    "d A 192.0.2.{}",
    "*.w A 192.0.2.{}",
    "*.w TXT v{}",
    "x.w A 192.0.2.{}",
    "to 30{} CNAME a",
    "over 30{} CNAME to",
    "wide 30{} CNAME q.w",
    "lost 30{} CNAME nobody",
    "cut NS ns{}.example.net.",
    "secure NS ns{}.example.net.",
    "secure DS {} 13 2 0707070707070707070707070707070707070707070707070707070707070707",
    "away DNAME t{}.example.net.",
    "near 30{} DNAME d",
];

pub(super) const SLOT_NAMES: [&str; 19] = [
    "@", "a", "b.c.d", "c.d", "d", "w", "x.w", "to", "over", "wide", "lost", "cut", "secure",
    "away", "near", "nobody", "q.w", "aaa", "zzz",
];

/// RRsets that come and go besides, with the names that they are of.
pub(super) const PASSING_SLOTS: [&str; 26] = [
    "deep NS ns{}.example.net.",
    "d NS ns1.child",
    "*.d A 192.0.2.{}",
    "m.aab.d CNAME a",
    "y.z.deep A 192.0.2.{}",
    "z.deep TXT v{}",
    "x.y.z.deep TXT v{}",
    "nobody A 192.0.2.{}",
    "*.z.deep A 192.0.2.{}",
    "q.w TXT v{}",
    "*.a A 192.0.2.{}",
    "to-deep 30{} CNAME z.deep",
    "to-q 30{} CNAME q.w",
    "aaa NS ns{}.example.net.",
    "aab.d NS ns{}.example.net.",
    "zzz DS {} 13 2 0707070707070707070707070707070707070707070707070707070707070707",
    "zzz NS ns{}.example.net.",
    "child NS ns{}.child",
    "ns1.child A 192.0.2.{}",
    "ns2.child AAAA 2001:db8::{}",
    "aaa NS ns1.child",
    "secure NS ns2.child",
    "zzz A 192.0.2.{}",
    "cut NS zzz",
    "long-label-that-shares-its-first-octets-1 TXT v{}",
    "long-label-that-shares-its-first-octets-2 TXT v{}",
];

pub(super) const PASSING_NAMES: [&str; 12] = [
    "deep",
    "z.deep",
    "y.z.deep",
    "x.y.z.deep",
    "b.z.deep",
    "to-deep",
    "to-q",
    "aab.d",
    "child",
    "long-label-that-shares-its-first-octets-1",
    "long-label-that-shares-its-first-octets-2",
    "long-label-that-shares-its-first-octets-11",
];

/// A version with these values in the slots; those of 0 are not there.
fn with_values(serial: u32, values: &[u8]) -> Zone {
    let slots = SLOTS.iter().chain(&PASSING_SLOTS).zip(values).filter(|(_, value)| **value != 0);
    let records = slots.map(|(slot, value)| slot.replace("{}", &value.to_string()));
    zone("example.org.", serial, &records.collect::<Vec<_>>().join("\n"))
}

/// The zone with these values, and as it is after each change: places and their values.
pub(super) fn after_each(mut values: Vec<u8>, changes: &[Vec<(usize, u8)>]) -> Vec<Zone> {
    let mut zones = vec![with_values(1, &values)];
    for change in changes {
        change.iter().for_each(|&(slot, value)| values[slot] = value);
        zones.push(with_values(zones.len() as u32 + 1, &values));
    }
    zones
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// RDATA, TTLs and signatures change at names that stay.
    #[test]
    fn changed_rrsets_are_published_by_themselves(
        first in proptest::collection::vec(1u8..4, SLOTS.len()),
        changes in proptest::collection::vec(
            proptest::collection::vec((0..SLOTS.len(), 1u8..4), 0..4), 1..6),
        denial in 0usize..4,
    ) {
        let zones = after_each(first, &changes);
        let zones: Vec<&Zone> = zones.iter().collect();
        let counted = publish_all(&super::versions(&zones, DENIALS[denial]), questions(&SLOT_NAMES));
        let by_themselves = counted.by_themselves;
        prop_assert_eq!((by_themselves, &counted.whole), (changes.len(), &vec![]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Names and types come and go, with empty non-terminals, wildcards, targets of CNAMEs and delegations.
    #[test]
    fn names_that_come_and_go_are_published_by_themselves(
        first in proptest::collection::vec(0u8..3, SLOTS.len() + PASSING_SLOTS.len()),
        changes in proptest::collection::vec(
            proptest::collection::vec((0..SLOTS.len() + PASSING_SLOTS.len(), 0u8..3), 0..5), 1..6),
        denial in 0usize..4,
    ) {
        let zones = after_each(first, &changes);
        let zones: Vec<&Zone> = zones.iter().collect();
        let names = [&SLOT_NAMES[..], &PASSING_NAMES].concat();
        let counted = publish_all(&super::versions(&zones, DENIALS[denial]), questions(&names));
        prop_assert_eq!((counted.by_themselves, &counted.whole), (changes.len(), &vec![]));
    }
}

/// Fifty differences of one image.
#[test]
fn many_differences_follow_each_other() {
    let slots = SLOTS.len() + PASSING_SLOTS.len();
    let mut values = vec![1u8; slots];
    let mut zones = vec![with_values(1, &values)];
    for step in 0usize..50 {
        // Neighbours and what is far from each other, in no order.
        [step * 7, step * 7 + 1, step * step].iter().for_each(|at| {
            let value = &mut values[at % slots];
            *value = (*value + 1 + (step % 2) as u8) % 3;
        });
        zones.push(with_values(step as u32 + 2, &values));
    }
    let questions = questions(&["@", "a", "w", "deep", "z.deep", "child", "to"]);
    let zones: Vec<&Zone> = zones.iter().collect();
    for denial in DENIALS {
        let counted = publish_all(&super::versions(&zones, denial), questions.clone());
        assert_eq!((counted.by_themselves, &counted.whole[..]), (50, &[][..]), "{denial:?}");
    }
}

/// A difference of many names takes as much for each as one of few.
#[test]
fn the_work_for_many_names_is_that_for_each() {
    for denial in [None, Some(Denial::Nsec)] {
        let each = [100, 1000].map(|count| {
            let hosts = |value: usize, range: std::ops::Range<usize>| -> String {
                range.map(|number| format!("n{number:05} A 192.0.2.{value}\n")).collect()
            };
            // A third stays and changes, a third goes, a third comes.
            let before = hosts(1, 0..2 * count);
            let after = hosts(2, 0..count) + &hosts(1, 2 * count..3 * count);
            let zones = [zone("example.org.", 1, &before), zone("example.org.", 2, &after)];
            accesses(&super::versions(&[&zones[0], &zones[1]], denial)).0 / count
        });
        assert!(each[1] <= each[0] + each[0] / 2, "{denial:?}: {each:?}");
    }
}

/// However many names a zone has, a change reads and writes as much of the image, but for the steps of searches: an RRset
/// that changes, and a name that comes with an empty non-terminal above it.
#[test]
fn the_work_is_that_of_the_change() {
    let before = "a A 192.0.2.1\nto CNAME a\ncut.sub NS ns.example.net.\n";
    let changed = before.replace("a A 192.0.2.1", "a A 192.0.2.2");
    let added = |record: &str| format!("{before}{record}\n");
    let delegation = added("new.sub NS ns.example.net.");
    let host = added("new.above A 192.0.2.1");
    let opt_out = Some(Denial::Nsec3 { opt_out: true });
    let all = DENIALS.into_iter().map(|denial| (denial, &changed));
    let hosts = DENIALS.into_iter().map(|denial| (denial, &host));
    let more = hosts.chain([(opt_out, &delegation)]);
    for (denial, after) in all.chain(more) {
        let counts = [100, 10_000].map(|hosts| {
            let others: String = (0..hosts).map(|number| format!("n{number:05} TXT a\n")).collect();
            let zones = [(1, before), (2, after)]
                .map(|(serial, own)| zone("example.org.", serial, &format!("{others}{own}")));
            let (accesses, written) = accesses(&super::versions(&[&zones[0], &zones[1]], denial));
            // With NSEC3 names of which the wildcard is behind a record that changes, and the index.
            let most = if matches!(denial, Some(Denial::Nsec3 { .. })) { 40 } else { 16 };
            assert!(written <= most, "{denial:?}: {written}");
            accesses
        });
        // A search halves the names, the children or the records; a dozen of them takes seven steps more each.
        assert!(counts[1] <= counts[0] + 300, "{denial:?}: {counts:?}");
    }
}

/// How often the image is read and written for a difference, and how many records are written.
fn accesses(versions: &[Zone]) -> (usize, usize) {
    let memory = Arc::new(Watched::of(Size { slab: 256 << 16, buckets: 1 << 12 }));
    let mut image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, 0x5eed);
    drop(image.publish(&versions[0]).expect("published"));
    let difference = Difference::between(&versions[0], &versions[1]);
    let published = Version::of(versions[0].clone());
    let next = published.apply(&difference, Rules::Strict).expect("it fits");
    memory.accesses.store(0, Relaxed);
    let (difference, retired) = image.publish_change(&next, &difference).expect("published");
    image.release(retired);
    (memory.accesses.load(Relaxed), difference.written)
}

/// A zone cut that goes uncovers the names below it, and one that comes hides them: whichever there are.
#[test]
fn what_a_cut_uncovers_and_hides_is_published_by_itself() {
    // Those of `deep` among all slots, its zone cut first.
    let slots = [0, 4, 5, 6, 8].map(|place| SLOTS.len() + place);
    let questions = questions(&["@", "deep", "z.deep", "y.z.deep", "x.y.z.deep", "b.z.deep"]);
    for below in 0u8..1 << (slots.len() - 1) {
        let mut values = vec![0; SLOTS.len() + PASSING_SLOTS.len()];
        for (place, &slot) in slots[1..].iter().enumerate() {
            values[slot] = below >> place & 1;
        }
        values[slots[0]] = 1;
        let zones = after_each(values, &[vec![(slots[0], 0)], vec![(slots[0], 1)]]);
        let zones: Vec<&Zone> = zones.iter().collect();
        for denial in DENIALS {
            let counted = publish_all(&super::versions(&zones, denial), questions.clone());
            assert_eq!((counted.by_themselves, &counted.whole[..]), (2, &[][..]), "{denial:?}");
        }
    }
}
