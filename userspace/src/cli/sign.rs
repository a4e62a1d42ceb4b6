//! `sealdns sign`: signs a zone file offline.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::key::KeySummary;
use super::output::{json, print_line};
use super::time::parse_time;
use super::verify::FOUND_PROBLEMS;
use super::zone_file::{print_zone, read_zone, write_zone};
use crate::clock::{WallTime, cpu_seconds};
use crate::compile;
use crate::daemon::prepare::placed_lines;
use crate::daemon::privileges;
use crate::dnssec::keys::store::KeyStore;
use crate::dnssec::keys::{Algorithm, Key, KeyLayout, NewKey, in_use};
use crate::dnssec::lifetime::{JITTER_S, VALIDITY_S};
use crate::dnssec::policy::{Denial, SerialPolicy, SigningPolicy};
use crate::dnssec::sign::sign;
use crate::duration::{self, Period};
use crate::zone::Name;

/// Signs a zone file. Keys are made on first use. The exit code is 3 if the daemon would not serve all of it.
#[derive(Args, Debug)]
pub struct SignArgs {
    /// The zone's name
    #[arg(value_name = "ZONE")]
    pub zone: Name,
    /// The zone file to sign; what is signed in it already is signed anew
    #[arg(long = "in", value_name = "FILE")]
    pub input: PathBuf,
    /// The signed zone file to write; `-` is standard output, and then all else goes to standard error
    #[arg(long = "out", value_name = "FILE")]
    pub output: PathBuf,
    /// The directory of the keys, in BIND's format
    #[arg(long, value_name = "DIR", default_value = "keys")]
    pub keys: PathBuf,
    /// Keys to make if there are none: ksk-zsk or csk
    #[arg(long, value_name = "LAYOUT", default_value_t)]
    pub layout: KeyLayout,
    /// The algorithm of keys to make: ECDSAP256SHA256, ECDSAP384SHA384 or ED25519
    #[arg(long, value_name = "ALGORITHM", default_value_t)]
    pub algorithm: Algorithm,
    /// How the absence of names is proven: nsec, nsec3 or nsec3-opt-out
    #[arg(long, value_name = "DENIAL", default_value_t)]
    pub denial: Denial,
    /// How the SOA serial changes: keep, increment or unixtime
    #[arg(long, value_name = "POLICY", default_value_t)]
    pub serial: SerialPolicy,
    /// How long signatures are valid from now on, such as 14d or 1w12h
    #[arg(long, value_name = "DURATION", default_value_t = Period::from_seconds(VALIDITY_S))]
    pub validity: Period,
    /// Let signatures expire at different times, up to this much before the end of --validity [default: all at once]
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| duration::at_least(0, text))]
    pub jitter: Option<u32>,
    /// Add a digest of the whole zone (ZONEMD, RFC 8976: scheme SIMPLE, SHA-384)
    #[arg(long)]
    pub zonemd: bool,
    /// Sign as if it were this time: seconds since 1970, or YYYYMMDDHHMMSS in UTC
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub time: Option<u32>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Sign, but write neither the zone nor keys
    #[arg(long)]
    pub dry_run: bool,
    /// Print the statistics as JSON
    #[arg(long)]
    pub json: bool,
}

/// Signs a zone file as told.
pub fn run(args: &SignArgs) -> anyhow::Result<ExitCode> {
    let zone = read_zone(&args.input, Some(&args.zone))?;
    let signing_time = args.time.unwrap_or_else(|| WallTime::now().signature_time());
    let owner = privileges::other_owner(&args.keys)?;
    let keys = privileges::as_user(owner.as_ref(), || find_keys(args))??;
    let keys = in_use::in_use(keys, signing_time)?;
    let policy = SigningPolicy {
        denial: args.denial,
        serial: args.serial,
        validity: args.validity.seconds(),
        jitter: args.jitter.unwrap_or(JITTER_S),
        zonemd: args.zonemd,
        ..SigningPolicy::default()
    };
    let threads = usize::from(args.jobs.unwrap_or(0));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let (signed, statistics) = pool.install(|| sign(&zone, &keys, &policy, signing_time))?;
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    drop(zone);
    if statistics.dropped_digests > 0 {
        eprintln!(
            "warning: the ZONEMD records of {} are left out: they are digests of the zone before it was signed",
            args.input.display()
        );
    }
    // What the daemon would not serve: the rest is signed and served all the same.
    let faults = pool.install(|| compile::faults(&signed, signing_time));
    for fault in placed_lines(&args.input, &args.zone, &faults) {
        eprintln!("{fault}");
    }
    let to_stdout = args.output.as_os_str() == "-";
    if !args.dry_run {
        if to_stdout {
            print_zone(&signed)?;
        } else {
            write_zone(&args.output, &signed)?;
        }
    }
    // Data alone is on standard output.
    let tell = |line: &dyn std::fmt::Display| match to_stdout {
        true => eprintln!("{line}"),
        false => print_line(line),
    };
    if args.json {
        tell(&json(&SigningReport {
            zone: args.zone.to_string(),
            serial: signed.serial().0,
            records: signed.record_count(),
            rrsets: statistics.rrsets,
            signatures: statistics.signatures,
            denials: statistics.denials,
            wall_seconds: wall,
            cpu_seconds: cpu,
            keys: keys.iter().map(KeySummary::of).collect(),
            written: !args.dry_run,
        }));
    } else {
        tell(&format_args!(
            "{} serial {}: {} records, {} RRsets signed with {} signatures, {} denial records",
            args.zone,
            signed.serial(),
            signed.record_count(),
            statistics.rrsets,
            statistics.signatures,
            statistics.denials,
        ));
        tell(&format_args!(
            "signing took {wall:.3} s, {cpu:.3} CPU seconds: {:.0} signatures per CPU second",
            statistics.signatures as f64 / cpu.max(1e-6),
        ));
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_PROBLEMS) })
}

/// What signing took and made.
#[derive(Serialize)]
struct SigningReport {
    zone: String,
    serial: u32,
    records: usize,
    rrsets: usize,
    signatures: usize,
    denials: usize,
    wall_seconds: f64,
    cpu_seconds: f64,
    keys: Vec<KeySummary>,
    /// Whether it was written.
    written: bool,
}

fn find_keys(args: &SignArgs) -> anyhow::Result<Vec<Key>> {
    let store = KeyStore::new(&args.keys);
    if args.dry_run {
        let keys = store.load(&args.zone)?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        let mut keys: Vec<Key> = Vec::new();
        for &role in args.layout.roles() {
            let taken: Vec<u16> = keys.iter().map(Key::tag).collect();
            keys.push(
                NewKey::generate(
                    &args.zone,
                    role,
                    args.algorithm,
                    &taken,
                    WallTime::now().signature_time(),
                )?
                .key,
            );
        }
        return Ok(keys);
    }
    let (keys, new) = store
        .load_or_generate(&args.zone, args.layout, args.algorithm, WallTime::now().signature_time())
        .context("the zone's keys")?;
    if new {
        for key in &keys {
            eprintln!("made {}", store.path_of(key).display());
        }
    }
    Ok(keys)
}
