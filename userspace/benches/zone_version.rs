//! What a change of a zone of a million delegations costs before it is signed, verified or published:
//! `cargo bench -p sealdns --bench zone_version` prints medians, and what one in a hundred takes.
//!
//! The zone looks as a signed one with NSEC3 does, half of its delegations secure: 3.5 million records. It is measured
//! as it was read, and once so much changed that both should be merged.

use sealdns::zone::difference::{Difference, RecordRef, Rules};
use sealdns::zone::{Name, Rtype, Version, Zone, ZoneBuilder};
use std::time::{Duration, Instant};

const NAMES: u32 = 1_000_000;
/// Changes that are measured.
const RUNS: u32 = 2_000;
/// Delegations of one of the differences that fill the overlay.
const AT_ONCE: u32 = 100;

const APEX: &[u8] = b"\x07example\0";
const TTL: u32 = 3600;

fn main() {
    let zone = signed_zone();
    let (octets, records) = (zone.octets(), zone.record_count());
    println!("{NAMES} delegations, {records} records, {} MB", octets / 1_000_000);
    let mut version = Version::of(zone);
    let hash = hash_name(0);
    let ((), took) = timed(|| assert!(version.hashed_from(&hash).next().is_some()));
    println!("the order of the hashes, once: {} ms", took.as_millis());

    version = measure("as it was read", version);
    let started = Instant::now();
    let mut changes = 0;
    while !version.is_merge_due() {
        let names = (0..AT_ONCE).map(|at| spread((changes + at) * 7));
        version = changed(&version, names);
        changes += AT_ONCE;
    }
    let (took, octets) = (started.elapsed(), version.overlay_octets());
    println!(
        "{changes} delegations, {AT_ONCE} at once: {:.1} us each; {} octets each",
        took.as_secs_f64() * 1e6 / f64::from(changes),
        octets as u32 / changes
    );
    version = measure("before it is merged", version);
    let (flat, took) = timed(|| version.flat().expect("a zone"));
    println!("merged: {} ms", took.as_millis());
    assert_eq!(flat.record_count(), version.record_count());
}

/// Prints what one change costs, and what is done with it.
fn measure(what: &str, mut version: Version) -> Version {
    let [mut applied, mut told, mut found] = [const { Vec::new() }; 3];
    for run in 0..RUNS {
        let name = spread(run * 11);
        let difference = change(&version, std::iter::once(name));
        let (next, took) = timed(|| version.apply(&difference, Rules::Strict).expect("it fits"));
        applied.push(took);
        let (same, took) = timed(|| Difference::between_versions(&version, &next));
        assert_eq!(same.added().len(), difference.added().len());
        told.push(took);
        let (delegation, hash) = (delegation(name), hash_name(name));
        let (count, took) = timed(|| {
            next.find(&delegation).into_iter().count()
                + next.before(&delegation).take(1).count()
                + next.hashed_before(&hash).take(1).count()
                + next.hashed_from(&hash).take(1).count()
        });
        // The first hash of all has none before it.
        assert!(count >= 3);
        found.push(took);
        version = next;
    }
    println!("{what}:");
    for (what, times) in [
        ("one delegation and the serial changed", applied),
        ("the difference of two versions", told),
        ("found, with its neighbours among names and hashes", found),
    ] {
        print(what, times);
    }
    version
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_nanos() as f64 / 1000.0;
    println!("  {what}: {:.1} us, one in a hundred {:.1} us", at(50), at(99));
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let made = run();
    (made, started.elapsed())
}

/// The version with another DS record, its signature, and the NSEC3 record of each of these delegations.
fn changed(version: &Version, names: impl Iterator<Item = u32>) -> Version {
    version.apply(&change(version, names), Rules::Strict).expect("it fits")
}

/// What leads there: the first record of each DS, NSEC3 and RRSIG RRset, and the serial.
fn change(version: &Version, names: impl Iterator<Item = u32>) -> Difference {
    let serials = [version.serial(), version.serial().next()];
    let soas = serials.map(|serial| soa(serial.0));
    let owners = names.flat_map(|name| [delegation(name), hash_name(name)]);
    let mut records = Vec::new();
    for owner in owners.filter_map(|owner| version.find(&owner)) {
        for rrset in owner.rrsets().filter(|rrset| rrset.rtype() != Rtype::NS) {
            let old = rrset.rdatas().next().expect("an RRset has a record");
            let mut new = old.to_vec();
            // Ends in a digest, a signature or a bit map.
            let last = new.last_mut().expect("RDATA");
            *last = last.wrapping_add(1);
            records.push((owner.name(), rrset.rtype(), old, new));
        }
    }
    let record = |owner, rtype, rdata| RecordRef { owner, rtype, ttl: TTL, rdata };
    let [old, new] = soas.each_ref().map(|soa| record(APEX, Rtype::SOA, &soa[..]));
    let removed = records.iter().map(|(owner, rtype, old, _)| record(owner, *rtype, old));
    let added = records.iter().map(|(owner, rtype, _, new)| record(owner, *rtype, new));
    Difference::of_records(version.apex(), serials, removed.chain([old]), added.chain([new]))
}

/// Numbers in no order, none twice: an odd factor, modulo a power of two.
fn spread(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1) % (1 << 19) * 2 % NAMES
}

fn delegation(name: u32) -> Vec<u8> {
    [b"\x08", format!("h{name:07}").as_bytes(), APEX].concat()
}

/// As a hash is written: 32 digits.
fn hash_name(name: u32) -> Vec<u8> {
    let hash = u128::from(name).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    [b"\x20", format!("{hash:032x}").as_bytes(), APEX].concat()
}

fn soa(serial: u32) -> Vec<u8> {
    let mut rdata = b"\x02ns\0\x04mail\0".to_vec();
    rdata.extend_from_slice(&serial.to_be_bytes());
    rdata.extend_from_slice(&[0; 16]);
    rdata
}

fn rrsig(covered: Rtype, name: u32) -> Vec<u8> {
    let mut rdata = covered.0.to_be_bytes().to_vec();
    rdata.extend_from_slice(&[13, 2, 0, 0, 14, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 7]);
    rdata.extend_from_slice(APEX);
    let digest = u128::from(name).wrapping_mul(0xdead_beef_cafe_f00d).to_be_bytes();
    rdata.extend_from_slice(&[digest; 4].concat());
    rdata
}

/// Delegations with two servers, each even one with a DS record; NSEC3 records of half of them.
fn signed_zone() -> Zone {
    let mut builder = ZoneBuilder::new(Name::from_wire(APEX).expect("a name"));
    let mut push = |owner: &[u8], rtype, rdata: &[u8]| {
        builder.push(owner, rtype, TTL, rdata).expect("a record");
    };
    push(APEX, Rtype::SOA, &soa(1));
    for name in 0..NAMES {
        let owner = delegation(name);
        for server in [b"\x03ns1\x03net\0", b"\x03ns2\x03net\0"] {
            push(&owner, Rtype::NS, server);
        }
        if name % 2 == 1 {
            continue;
        }
        let digest = [&[0, 7, 13, 2][..], &rrsig(Rtype::DS, name)[27..59]].concat();
        push(&owner, Rtype::DS, &digest);
        push(&owner, Rtype::RRSIG, &rrsig(Rtype::DS, name));
        let hash = hash_name(name);
        let next = [&[1, 1, 0, 0, 0, 20][..], &[7; 20], &[0, 6, 0x20, 0, 0, 0, 0, 0x12]].concat();
        push(&hash, Rtype::NSEC3, &next);
        push(&hash, Rtype::RRSIG, &rrsig(Rtype::NSEC3, name));
    }
    builder.finish().expect("a zone")
}
