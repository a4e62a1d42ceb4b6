//! Signatures per CPU second and peak memory: a zone of 100,000 names, each with an A and
//! an AAAA record, read from a file, signed, written to a file.
//!
//! `cargo bench -p sealdns --bench sign -- [NAMES] [nsec|nsec3|nsec3-opt-out]`; without the
//! second argument NSEC and NSEC3, one after the other, so that the peak is that of both.

use std::fmt::Write as _;

use nix::sys::resource::{UsageWho, getrusage};
use sealdns::cli::zone_file::{read_zone, write_zone};
use sealdns::clock::cpu_seconds;
use sealdns::dnssec::keys::{Algorithm, Key, NewKey, Role};
use sealdns::dnssec::policy::{Denial, SigningPolicy};
use sealdns::dnssec::sign::sign;
use sealdns::dnssec::verify::verify;

const NOW: u32 = 1_800_000_000;

fn main() {
    // `cargo bench` adds `--bench`; `cargo test --all-targets` does not, and wants no more than to
    // see that it runs.
    let (bench, args): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg == "--bench");
    let default = if bench.is_empty() { 100 } else { 100_000 };
    let names: usize = args.first().map_or(default, |arg| arg.parse().expect("a number"));
    let denials: Vec<Denial> = match args.get(1) {
        Some(denial) => vec![denial.parse().expect("a way of denial")],
        None => vec![Denial::Nsec, Denial::Nsec3 { opt_out: false }],
    };

    let dir = std::env::temp_dir().join(format!("sealdns-bench-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a directory for the zone files");
    let (input, output) = (dir.join("unsigned.zone"), dir.join("signed.zone"));
    let mut text = String::from(
        "bench.example. 3600 IN SOA ns.bench.example. mail.bench.example. 1 3600 900 604800 300\n\
         bench.example. 3600 IN NS ns.bench.example.\nns.bench.example. 3600 IN A 192.0.2.53\n",
    );
    for at in 0..names {
        let (high, low) = (at / 250 % 250, at % 250);
        let _ = writeln!(text, "host-{at}.bench.example. 3600 IN A 198.51.{high}.{low}");
        let _ = writeln!(text, "host-{at}.bench.example. 3600 IN AAAA 2001:db8::{low:x}");
    }
    std::fs::write(&input, &text).expect("the unsigned zone");
    drop(text);

    let apex = "bench.example".parse().expect("a name");
    let keys: Vec<Key> = [Role::Ksk, Role::Zsk]
        .map(|role| {
            NewKey::generate(&apex, role, Algorithm::default(), &[], NOW).expect("a key").key
        })
        .into();
    for denial in denials {
        let policy = SigningPolicy { denial, ..SigningPolicy::default() };
        let (wall, start) = (std::time::Instant::now(), cpu_seconds());
        let zone = read_zone(&input, Some(&apex)).expect("a zone");
        let read = cpu_seconds();
        let (signed, statistics) = sign(&zone, &keys, &policy, NOW).expect("a signed zone");
        let made = cpu_seconds();
        drop(zone);
        write_zone(&output, &signed).expect("a file");
        let (end, wall) = (cpu_seconds(), wall.elapsed().as_secs_f64());
        // Kilobytes on Linux.
        let peak = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss()) / 1024;
        println!(
            "{denial:?}: {} signatures; per CPU second {:.0} with reading and writing, {:.0} \
             without; read {:.2}, signed {:.2}, written {:.2} CPU s; {wall:.2} s; peak {peak} MiB",
            statistics.signatures,
            statistics.signatures as f64 / (end - start),
            statistics.signatures as f64 / (made - read),
            read - start,
            made - read,
            end - made,
        );
        let start = cpu_seconds();
        let report = verify(&signed, NOW).expect("a valid zone");
        println!(
            "{denial:?}: verified, {:.0} RRsets per CPU second",
            report.rrsets as f64 / (cpu_seconds() - start)
        );
    }
    let _ = std::fs::remove_dir_all(&dir);
}
