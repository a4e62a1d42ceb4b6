//! How long many changes take that come in one difference: 10,000 RRsets of a large zone, signed and published, again and again.
//!
//! `cargo bench -p sealdns --bench together -- [NAMES] [nsec|nsec3|nsec3-opt-out]`; a million names without the first argument.
//! The lowest times of some runs, on the clock and on a processor (of all threads).

use std::sync::Arc;
use std::time::Instant;

use sealdns::compile::{Image, PublishError};
use sealdns::datapath::memory::{Mapping, Size};
use sealdns::dnssec::incremental::sign_difference;
use sealdns::dnssec::policy::SigningPolicy;
use sealdns::dnssec::sign::sign;
use sealdns::zone::difference::Rules;
use sealdns::zone::{Version, Zone};

use xdp_common::maps::CHUNK_LEN;

use large::{Arguments, NOW, Record, change, difference, keys, zone};

#[expect(dead_code, reason = "other benches use the rest")]
mod large;

/// Changes in one difference.
const TOGETHER: usize = 10_000;

const RUNS: usize = 10;

fn main() {
    let Arguments { names, denials, .. } = Arguments::read();
    let keys = keys();
    for denial in denials {
        let policy = SigningPolicy { denial, ..SigningPolicy::default() };
        let signed = sign(&zone(names), &keys, &policy, NOW).expect("a signed zone").0;
        let mut image = image(&signed);
        let mut version = Version::of(signed);
        let count = TOGETHER.min(names / 8);
        let [mut there, mut others]: [Vec<Record>; 2] = [Vec::new(), Vec::new()];
        for number in 0..count {
            let [removed, added] = change("changed", number, names);
            there.extend(removed);
            others.extend(added);
        }
        let mut best = [f64::MAX; 3];
        for _ in 0..RUNS {
            let difference = difference(&there, &others);
            let mut times = Vec::new();
            let mut begun = Instant::now();
            let mut lap = || {
                times.push(begun.elapsed().as_secs_f64() * 1e3);
                begun = Instant::now();
            };
            let made = sign_difference(&version, &difference, Rules::Strict, &keys, &policy, NOW);
            let made = made.expect("a difference").expect("a change").zone;
            lap();
            let next = version.apply(&made, Rules::Strict).expect("a version");
            lap();
            let (_, retired) = image.publish_change(&next, &made).expect("published");
            lap();
            image.release(retired);
            version = next;
            std::mem::swap(&mut there, &mut others);
            best = std::array::from_fn(|part| best[part].min(times[part]));
        }
        let [signing, applying, publishing] = best;
        println!(
            "{denial:?}: {count} of {names} names: signing {signing:.1} ms, applying {applying:.1} ms, \
             publishing {publishing:.1} ms"
        );
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
                let slab = (slab_needed + slab_needed / 4).next_multiple_of(CHUNK_LEN);
                size = Size { slab, buckets: buckets_needed };
            }
            Err(error) => panic!("{error}"),
        }
    }
}
