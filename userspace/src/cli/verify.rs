//! `sealdns verify`: checks a signed zone file as a validator would.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::output::{print_json, print_line};
use super::zone_file::read_zone;
use crate::clock::WallTime;
use crate::compile::FaultyRecord;
use crate::daemon::prepare::{placed, placed_lines, unserved};
use crate::dnssec::policy::Denial;
use crate::dnssec::verify::{Fault, MAX_FAULTS, verify};
use crate::dnssec::zonemd;
use crate::duration::Rounded;
use crate::zone::{Name, Rtype, Zone};

/// Exit code of a check that found problems.
pub const FOUND_PROBLEMS: u8 = 3;

/// Checks every signature of a zone file and its NSEC or NSEC3 chain, and whether all of it can be served.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The signed zone file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The zone's name; that of the file's SOA record if not given
    #[arg(long, value_name = "NAME")]
    pub zone: Option<Name>,
    /// Check as if it were this time: seconds since 1970, or YYYYMMDDHHMMSS in UTC
    #[arg(long, value_name = "TIME", value_parser = super::time::parse_time)]
    pub time: Option<u32>,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// Checks a zone file; the exit code is 3 if it has faults.
pub fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let zone = read_zone(&args.file, args.zone.as_ref())?;
    let now = args.time.unwrap_or_else(|| WallTime::now().signature_time());
    let name = zone.apex().to_string();
    let mut verified = verify(&zone, now);
    if let Some(Err(mismatch)) = zonemd::check(&zone) {
        let (owner, rtype) = (zone.apex().clone(), Rtype::ZONEMD);
        let fault = Fault { owner, rtype, reason: mismatch.into() };
        verified = Err(verified.err().into_iter().flatten().chain([fault]).collect());
    }
    let faults = unserved(&zone, verified.as_ref().err().cloned().unwrap_or_default(), now);
    match verified {
        Ok(report) if faults.is_empty() => {
            let denial = match report.denial {
                Denial::Nsec => "NSEC",
                Denial::Nsec3 { opt_out: false } => "NSEC3",
                Denial::Nsec3 { opt_out: true } => "NSEC3 with opt-out",
            };
            if args.json {
                print_json(&Valid {
                    zone: name,
                    valid: true,
                    rrsets: report.rrsets,
                    keys: report.keys,
                    denial: denial.to_owned(),
                    denials: report.denials,
                    expiration: report.expiration,
                });
            } else {
                print_line(format_args!(
                    "{name} is signed: {} RRsets, {} keys, {} {denial} records; the first \
                     signature ends in {}",
                    report.rrsets,
                    report.keys,
                    report.denials,
                    Rounded(report.expiration.wrapping_sub(now)),
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
        _ => Ok(report(args, &zone, &faults)),
    }
}

/// A zone that is signed as it should be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Valid {
    /// Its apex.
    pub zone: String,
    /// It is.
    pub valid: bool,
    /// RRsets with a signature.
    pub rrsets: usize,
    /// Keys.
    pub keys: usize,
    /// How the absence of names is proven.
    pub denial: String,
    /// Records of the chain.
    pub denials: usize,
    /// When the first signature ends, in seconds since 1970.
    pub expiration: u32,
}

/// A zone that is not.
#[derive(Debug, Serialize, Deserialize)]
pub struct Invalid {
    /// Its apex.
    pub zone: String,
    /// It is not.
    pub valid: bool,
    /// What is wrong with it.
    pub faults: Vec<ReportedFault>,
}

/// Something that is wrong with a zone.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReportedFault {
    /// The name.
    pub owner: String,
    /// The type of the records; none: it is the name as a whole.
    #[serde(rename = "type")]
    pub rtype: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// The file that it stands in, if that is known.
    pub file: Option<String>,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// Its column, from 1.
    pub column: Option<usize>,
}

/// Prints what is wrong.
fn report(args: &VerifyArgs, zone: &Zone, faults: &[(FaultyRecord, String)]) -> ExitCode {
    let name = zone.apex().to_string();
    if args.json {
        let faults = placed(&args.file, zone.apex(), faults);
        let faults = faults.into_iter().map(|(place, (faulty_record, text))| {
            let rtype = faulty_record.rtype.map(|rtype| rtype.to_string());
            let head =
                format!("{} {}: ", faulty_record.owner, rtype.as_deref().unwrap_or_default());
            ReportedFault {
                owner: faulty_record.owner.to_string(),
                rtype,
                reason: text.strip_prefix(&head).unwrap_or(text).to_owned(),
                file: place.as_ref().map(|place| place.file.clone()),
                line: place.as_ref().map(|place| place.line),
                column: place.as_ref().map(|place| place.column),
            }
        });
        print_json(&Invalid { zone: name, valid: false, faults: faults.collect() });
    } else {
        for fault in placed_lines(&args.file, zone.apex(), faults) {
            print_line(fault);
        }
        let more = if faults.len() < MAX_FAULTS { "" } else { " or more" };
        eprintln!("{name} faults: {}{more}", faults.len());
    }
    ExitCode::from(FOUND_PROBLEMS)
}
