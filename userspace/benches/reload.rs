//! What the reload of a large file costs in which one line changed, beside reading the file alone:
//! `cargo bench -p sealdns --bench reload` prints both and their ratio, of zones that sealdns signs and of one that it does
//! not, without what is kept on disk, stored and published. `-- 1000000` takes as many delegations.
//!
//! All is done on one thread, and its time on a processor is what counts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sealdns::config::Config;
use sealdns::daemon::prepare::ZoneFiles;
use sealdns::daemon::state::{CurrentVersion, Prepare, Prepared};
use sealdns::dnssec::policy::Denial;
use sealdns::zone::Name;
use sealdns::zone::text::{self, Options};

const NOW: u32 = 1_800_000_000;
const RUNS: usize = 5;

fn main() {
    let (bench, args): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg == "--bench");
    let default = if bench.is_empty() { 300 } else { 300_000 };
    let delegations = args.first().map_or(default, |arg| arg.parse().expect("a number"));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    pool.build_global().expect("a thread pool");
    let opt_out = Denial::Nsec3 { opt_out: true };
    for (what, dnssec, denial) in [
        ("not signed", "off", Denial::Nsec),
        ("signed, NSEC", "sign", Denial::Nsec),
        ("signed, opt-out", "sign", opt_out),
    ] {
        let (reading, reload) = measure(delegations, dnssec, denial);
        println!(
            "{what}: {delegations} delegations: reading {reading:.0} ms, reload {reload:.0} ms, \
             ratio {:.2} (at most 1.5)",
            reload / reading
        );
    }
}

/// Milliseconds of reading and of a reload, the lowest of each.
fn measure(delegations: usize, dnssec: &str, denial: Denial) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sealdns.toml");
    let text = format!(
        "version = \"v1\"\n[server]\nstate-dir = \"state\"\n\
         [[zone]]\nname = \"bench\"\nfile = \"zone\"\ndnssec = \"{dnssec}\"\n"
    );
    fs::write(&path, text).expect("a file");
    let mut config = Config::load(&path).expect("a configuration");
    config.policies.get_mut("default").expect("a policy").denial = denial;
    let section = config.zones().next().expect("a zone").clone();
    let policy = config.policy(&section);
    let files = ZoneFiles::new(&config);
    let file = folder.path().join("zone");
    write_zone(&file, delegations, 1);
    let prepare =
        |before: CurrentVersion<'_>| files.prepare(&section, &policy, before, NOW).expect("a zone");
    let mut served = prepare(CurrentVersion::default());
    let apex = Name::from_wire(b"\x05bench\0").expect("a name");
    let (mut reading, mut reload) = (f64::MAX, f64::MAX);
    // The first change finds what all later ones go by.
    for run in 0..=RUNS {
        write_zone(&file, delegations, run as u32 + 2);
        let before = processor_time();
        drop(text::load(&file, &apex, Options::default()).expect("a zone"));
        let read = processor_time();
        let next: Prepared = prepare(CurrentVersion {
            serial: Some(served.zone.serial()),
            served: Some(&served.zone),
            verified: served.verification.as_ref().map(|_| &served.zone),
            verification: served.verification.as_ref(),
            origin: served.origin.as_ref(),
            is_signed: dnssec == "sign",
            is_unchanged: false,
            instead: None,
            incoming: None,
            members: &[],
        });
        let reloaded = processor_time();
        assert!(next.change.is_some());
        served = next;
        if run > 0 {
            reading = reading.min(read - before);
            reload = reload.min(reloaded - read);
        }
    }
    (reading, reload)
}

/// Milliseconds that this thread has been on a processor.
fn processor_time() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    nanoseconds.expect("a number") as f64 / 1e6
}

/// A zone of delegations, of which every other one is secure; one of them goes by the serial.
fn write_zone(file: &Path, delegations: usize, serial: u32) {
    let mut text =
        format!("$TTL 3600\n@ SOA ns mail {serial} 3600 900 604800 300\n@ NS ns\nns A 192.0.2.1\n");
    for number in 0..delegations {
        let _ = writeln!(text, "d{number:07} NS ns1.d{number:07}\nd{number:07} NS ns2.other.");
        let _ = writeln!(text, "ns1.d{number:07} A 192.0.2.2");
        if number % 2 == 0 {
            let tag = if number == delegations / 2 { serial } else { 1 };
            let _ = writeln!(text, "d{number:07} DS {tag} 13 2 {}", "ab".repeat(32));
        }
    }
    fs::write(file, text).expect("a file");
}
