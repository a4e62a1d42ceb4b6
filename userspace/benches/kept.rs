//! What it costs to have a zone again that is kept: `cargo bench -p sealdns --bench kept -- [NAMES] [nsec|nsec3|nsec3-opt-out]`
//! signs a zone of as many names (300,000), keeps it as a base and opens that, beside what a digest of the same octets
//! costs; and tells what memory each step takes.
//!
//! Half of the names are delegations, half of those with DS. Times are those of this thread on a processor. Memory is the
//! heap: the base is mapped, and what is read of it is page cache.

use std::fs;

use ring::digest::{SHA256, digest};

use sealdns::daemon::kept::{KeepableVersion, KeptFacts, KeptZones};
use sealdns::dnssec::origin::DIGEST_LEN;
use sealdns::dnssec::policy::SigningPolicy;
use sealdns::dnssec::sign::sign;
use sealdns::zone::Version;

use large::{Arguments, NOW, keys, zone};

#[expect(dead_code, reason = "other benches use the rest")]
mod large;

const RUNS: usize = 5;

fn main() {
    let Arguments { names, denials, .. } = Arguments::read();
    let keys = keys();
    for denial in denials {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = SigningPolicy { denial, ..SigningPolicy::default() };
        let unsigned = zone(names);
        let before = Memory::now();
        let signed = sign(&unsigned, &keys, &policy, NOW).expect("a signed zone").0;
        let (octets, records) = (signed.octets(), signed.record_count());
        println!("{denial:?}: {names} names, {records} records, {octets} octets");
        before.tell("signing", octets);
        drop(unsigned);
        let version = Version::of(signed);
        let before = Memory::now();
        let kept = KeptZones::new(folder.path().to_owned());
        let facts = KeptFacts::new([0; DIGEST_LEN], None);
        let keepable = KeepableVersion { zone: &version, facts: &facts, times: None };
        let written = processor_time();
        kept.keep(&keepable).expect("a base");
        println!("  writing: {:.0} ms", processor_time() - written);
        before.tell("writing", octets);
        let apex = version.apex().clone();
        drop(version);
        let path = fs::read_dir(folder.path()).expect("a folder").next().expect("a file");
        let base = fs::read(path.expect("a file").path()).expect("a base");
        let (mut summing, mut opening) = (f64::MAX, f64::MAX);
        for _ in 0..RUNS {
            let begun = processor_time();
            let sum = digest(&SHA256, &base);
            assert_eq!(sum.as_ref().len(), DIGEST_LEN);
            let summed = processor_time();
            let again = kept.open(&apex).expect("a version");
            assert_eq!(again.zone.record_count(), records);
            summing = summing.min(summed - begun);
            opening = opening.min(processor_time() - summed);
        }
        drop(base);
        println!("  opening: {opening:.0} ms, its digest {summing:.0} ms");
        let before = Memory::now();
        let again = kept.open(&apex).expect("a version");
        before.tell("opening", octets);
        drop(again);
    }
}

/// Milliseconds that this thread has been on a processor.
fn processor_time() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    nanoseconds.expect("a number") as f64 / 1e6
}

/// Octets of memory that are not a file's.
struct Memory(u64);

impl Memory {
    /// What is in use; what was in use at most is counted from now on.
    fn now() -> Memory {
        fs::write("/proc/self/clear_refs", "5").expect("Linux");
        Memory(kibibytes("RssAnon:") << 10)
    }

    /// Tells what a step takes, as a part of the zone that it makes or has.
    fn tell(&self, what: &str, octets: usize) {
        let part = |now: u64| (now as f64 - self.0 as f64) / octets as f64;
        let now = kibibytes("RssAnon:") << 10;
        // The peak has what is mapped, too: that is told apart as of now.
        let mapped = (kibibytes("VmRSS:") << 10) - now;
        let peak = (kibibytes("VmHWM:") << 10).saturating_sub(mapped);
        println!(
            "  {what}: memory {:.2} of the zone's octets, {:.2} at most",
            part(now),
            part(peak)
        );
    }
}

fn kibibytes(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
