//! How long a difference of a large signed zone takes to make, to apply and to verify: 1,000 changes one after the
//! other (one RRset changed, a name added, a name removed), 10,000 changes in one, and a round of signatures that are
//! due.
//!
//! `cargo bench -p sealdns --bench sign_difference -- [NAMES] [nsec|nsec3|nsec3-opt-out]`; a million names without the
//! first argument, all ways of denial without the second. Half of the names are delegations, half of those with DS.

use std::time::Instant;

use sealdns::dnssec::incremental::{RenewalLimits, SignedDifference, renew, sign_difference};
use sealdns::dnssec::keys::Key;
use sealdns::dnssec::policy::SigningPolicy;
use sealdns::dnssec::sign::sign;
use sealdns::dnssec::verify::{Verified, verify, verify_difference};
use sealdns::zone::Version;
use sealdns::zone::difference::Rules;

use large::{Arguments, CHANGES, NOW, Record, change, difference, keys, new, shown, zone};

mod large;

const DAY: u32 = 86_400;

fn main() {
    let Arguments { names, changes, denials } = Arguments::read();
    let keys = keys();
    for denial in denials {
        let policy = SigningPolicy { denial, jitter: 3 * DAY, ..SigningPolicy::default() };
        let started = Instant::now();
        let signed = sign(&zone(names), &keys, &policy, NOW).expect("a signed zone").0;
        println!("{denial:?}: {names} names, signed whole in {:?}", started.elapsed());
        measure(Version::of(signed), (names, changes), &keys, &policy);
    }
}

fn measure(
    mut version: Version,
    (names, changes): (usize, usize),
    keys: &[Key],
    policy: &SigningPolicy,
) {
    let sign = |version: &Version, removed: &[Record], added: &[Record]| -> SignedDifference {
        let difference = difference(removed, added);
        let made = sign_difference(version, &difference, Rules::Strict, keys, policy, NOW);
        made.expect("a difference").expect("a change")
    };
    let mut report = verify(&version.flat().expect("a zone"), NOW).expect("a valid zone");
    for what in CHANGES {
        let (mut signing, mut applying, mut signatures) = (Vec::new(), Vec::new(), 0);
        let mut verifying = Vec::new();
        for number in 0..changes {
            let [removed, added] = change(what, number, names);
            let started = Instant::now();
            let made = sign(&version, &removed, &added);
            signing.push(started.elapsed());
            signatures += made.statistics.signatures;
            let started = Instant::now();
            let next = version.apply(&made.zone, Rules::Strict).expect("a version");
            applying.push(started.elapsed());
            let started = Instant::now();
            let old = Verified { version: &version, report: &report };
            report = verify_difference(old, &next, &made.zone, NOW).expect("no faults").report;
            verifying.push(started.elapsed());
            version = next;
        }
        let each = signatures as f64 / changes as f64;
        let [signing, applying, verifying] = [signing, applying, verifying].map(shown);
        println!(
            "  {what}: {each:.1} signatures, {signing}; applied {applying}; verified {verifying}"
        );
    }
    let many: Vec<Record> = (0..10 * changes).map(new).collect();
    let started = Instant::now();
    let made = sign(&version, &[], &many);
    let (elapsed, signatures) = (started.elapsed(), made.statistics.signatures);
    let next = version.apply(&made.zone, Rules::Strict).expect("a version");
    let started = Instant::now();
    let old = Verified { version: &version, report: &report };
    verify_difference(old, &next, &made.zone, NOW).expect("no faults");
    let verified = started.elapsed();
    let count = many.len();
    println!(
        "  {count} names added at once: {signatures} signatures, {elapsed:?}; verified {verified:?}"
    );

    let (started, mut rounds) = (Instant::now(), 0);
    let mut from = Some(version.apex().clone());
    let (mut renewed, limits) = (0, RenewalLimits::default());
    while let Some(name) = from.filter(|_| rounds < changes / 10) {
        let now = NOW + 5 * DAY;
        let made = renew(&version, &name, limits, 7 * DAY, keys, policy, now).expect("signatures");
        renewed += made.difference.map_or(0, |made| made.statistics.signatures);
        from = made.next;
        rounds += 1;
    }
    let each = started.elapsed() / rounds as u32;
    println!("  due: {renewed} signatures in {rounds} rounds, {each:?} each");
}
