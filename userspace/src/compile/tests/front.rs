//! In front of another server: zones that are published, and passed on until it is said that they are answered.

use xdp_common::image::zone::Zone as ZoneRecord;

use super::*;
use crate::compile::ChangeError;
use crate::compile::memory::window;
use crate::zone::difference::{Difference as Changes, Rules};

/// Whether a program that finds any name of a zone passes it on: all say the same.
fn is_passed(image: &Image, apex: &Name) -> bool {
    let nodes = image.nodes(apex).nodes;
    let said = nodes.iter().map(|&(_, node)| {
        let record = window(&*image.memory, image.node(node).expect("a node").zone());
        ZoneRecord::new(record.expect("in the slab")).is_passed()
    });
    let said: BTreeSet<bool> = said.collect();
    assert_eq!(said.len(), 1, "{said:?}");
    said.contains(&true)
}

/// However a version is published, it is passed on or answered as the one before.
#[test]
fn versions_are_passed_on_until_it_is_said_that_they_are_answered() {
    for denial in DENIALS {
        let records = ["a A 192.0.2.1", "a A 192.0.2.1\nb A 192.0.2.2", "b A 192.0.2.3"];
        let zones: Vec<Zone> = records
            .iter()
            .zip(1..)
            .map(|(records, serial)| zone("example", serial, records))
            .collect();
        let signed = versions(&zones.iter().collect::<Vec<_>>(), denial);
        let apex = name("example.");
        let mut image = small_image();
        image.stand_in_front();
        assert!(!image.passes_zones(None) && image.passes_zones(Some(&apex)));
        drop(image.publish(&signed[0]).expect("published"));
        assert!(is_passed(&image, &apex) && image.passes_zones(None));
        for is_answered in [true, false] {
            image.set_answered(&apex, is_answered);
            assert_eq!(
                (is_passed(&image, &apex), image.passes_zones(None)),
                (!is_answered, !is_answered)
            );
            drop(image.publish(&signed[1]).expect("published"));
            assert_eq!(is_passed(&image, &apex), !is_answered, "as a whole");
            let changes = Changes::between(&signed[1], &signed[2]);
            let next =
                Version::of(signed[1].clone()).apply(&changes, Rules::Strict).expect("it fits");
            match image.publish_change(&next, &changes) {
                Ok(_) => {}
                Err(ChangeError::Whole(_)) => drop(image.publish(&signed[2]).expect("published")),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(is_passed(&image, &apex), !is_answered, "by what changed");
        }
        image.set_answered(&apex, true);
        drop(image.remove(&apex));
        drop(image.publish(&signed[0]).expect("published"));
        assert!(is_passed(&image, &apex), "one that comes again");
    }
}

/// Without another server nothing is passed on.
#[test]
fn nothing_is_passed_on_to_nobody() {
    let mut image = small_image();
    let apex = name("example.");
    drop(image.publish(&zone("example", 1, "a A 192.0.2.1")).expect("published"));
    image.set_answered(&apex, false);
    assert!(!is_passed(&image, &apex) && !image.passes_zones(Some(&apex)));
}

/// A CNAME of a zone leads into one below it: what is passed on there is passed on here.
#[test]
fn a_zone_is_passed_on_while_one_below_it_is() {
    let mut image = small_image();
    image.stand_in_front();
    let [above, below, beside] = ["example.", "sub.example.", "example2."].map(name);
    for (apex, records) in [
        ("example", "a CNAME b.sub\nsub NS ns.sub\nns.sub A 192.0.2.1"),
        ("sub.example", "b A 192.0.2.2"),
        ("example2", ""),
    ] {
        drop(image.publish(&zone(apex, 1, records)).expect("published"));
    }
    for apex in [&above, &beside] {
        image.set_answered(apex, true);
    }
    assert!(is_passed(&image, &above) && !is_passed(&image, &beside));
    image.set_answered(&below, true);
    assert!(!is_passed(&image, &above) && !image.passes_zones(None));
    image.set_answered(&below, false);
    assert!(is_passed(&image, &above) && is_passed(&image, &below));
}
