//! How long it takes from the signed difference of a large zone in hand to the last store into memory: 1,000 changes one
//! after the other (one RRset changed, a name added, a name removed), against publishing the whole version.
//!
//! `cargo bench -p sealdns --bench publish_change -- [NAMES] [nsec|nsec3|nsec3-opt-out]`; a million names without the
//! first argument, all ways of denial without the second. Half of the names are delegations, half of those with DS.
//! The time includes the new version ([`Version::apply`]). It has neither a grace period nor anything that is durable.

use std::sync::Arc;
use std::time::Instant;

use sealdns::compile::{ChangeError, Image, PublishError};
use sealdns::datapath::memory::{Mapping, Size};
use sealdns::dnssec::incremental::sign_difference;
use sealdns::dnssec::keys::Key;
use sealdns::dnssec::policy::SigningPolicy;
use sealdns::dnssec::sign::sign;
use sealdns::zone::difference::Rules;
use sealdns::zone::{Version, Zone};

use xdp_common::maps::CHUNK_LEN;

use large::{Arguments, CHANGES, NOW, change, difference, keys, shown, zone};

mod large;

fn main() {
    let Arguments { names, changes, denials } = Arguments::read();
    let keys = keys();
    for denial in denials {
        let policy = SigningPolicy { denial, ..SigningPolicy::default() };
        let signed = sign(&zone(names), &keys, &policy, NOW).expect("a signed zone").0;
        let mut image = image(&signed);
        let started = Instant::now();
        let (written, retired) = image.publish(&signed).expect("published");
        let elapsed = started.elapsed();
        image.release(retired);
        println!(
            "{denial:?}: {names} names again, whole: {} written, {elapsed:?}",
            written.written
        );
        measure(image, Version::of(signed), (names, changes), &keys, &policy);
    }
}

/// An image that is large enough, with this zone.
fn image(zone: &Zone) -> Image {
    let mut size = Size { slab: 1 << 20, buckets: 1 << 10 };
    loop {
        let memory = Mapping::anonymous(size).expect("memory");
        let mut image = Image::new(Arc::new(memory), 0x5eed);
        match image.at(NOW).publish(zone) {
            Ok((_, retired)) => {
                image.release(retired);
                return image;
            }
            Err(PublishError::Full { slab_needed, buckets_needed }) => {
                let slab = (slab_needed + slab_needed / 8).next_multiple_of(CHUNK_LEN);
                size = Size { slab, buckets: buckets_needed };
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn measure(
    mut image: Image,
    mut version: Version,
    (names, changes): (usize, usize),
    keys: &[Key],
    policy: &SigningPolicy,
) {
    for what in CHANGES {
        let (mut times, mut written, mut whole) = (Vec::new(), 0, None);
        for number in 0..changes {
            let [removed, added] = change(what, number, names);
            let difference = difference(&removed, &added);
            let made = sign_difference(&version, &difference, Rules::Strict, keys, policy, NOW);
            let made = made.expect("a difference").expect("a change").zone;
            let started = Instant::now();
            let next = version.apply(&made, Rules::Strict).expect("a version");
            let published = image.publish_change(&next, &made);
            times.push(started.elapsed());
            version = next;
            match published {
                Ok((difference, retired)) => {
                    image.release(retired);
                    written += difference.written;
                }
                Err(ChangeError::Whole(reason)) => {
                    whole = Some(reason);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        match whole {
            Some(reason) => println!("  {what}: as a whole, since {reason}"),
            None => {
                println!("  {what}: {}, {} written each", shown(times), written / changes);
                continue;
            }
        }
        let zone = version.flat().expect("a zone");
        let retired = image.publish(&zone).expect("published").1;
        image.release(retired);
    }
}
