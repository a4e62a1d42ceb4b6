//! NSEC3 with salts and additional iterations (RFC 5155, RFC 9276), signed by dnssec-signzone and ldns-signzone:
//! served as knotd and nsd serve it, and valid to unbound.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sealdns::cli::zone_file::parse_zone;
use sealdns::zone::Zone;
use testbed::net;

use super::answers::ZoneQueries;
use tests::questions::questions;
use tests::servers::DEMO;

/// Octets of salts: none, as most have it, around the ends of SHA-1's first block and of what XDP hashes, and the
/// longest.
const SALTS: [usize; 12] = [0, 1, 4, 8, 16, 40, 54, 55, 56, 64, 128, 255];

/// Additional iterations.
const ITERATIONS: [u16; 4] = [0, 1, 10, 50];

/// Who signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signer {
    /// BIND's.
    DnssecSignzone,
    /// That of ldns.
    LdnsSignzone,
}

/// One way to sign.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// By whom.
    pub signer: Signer,
    /// Octets of salt.
    pub salt: usize,
    /// Additional iterations.
    pub iterations: u16,
    /// Whether delegations without DS are left out.
    pub opt_out: bool,
}

/// Every salt without iterations, and all iterations with some salts, by both signers in turn, opt-out in every
/// second pair of them.
pub fn ways() -> Vec<Way> {
    let without = SALTS.map(|salt| (salt, 0));
    let with =
        [0, 8, 255].into_iter().flat_map(|salt| ITERATIONS[1..].iter().map(move |&n| (salt, n)));
    let all = without.into_iter().chain(with).enumerate();
    all.flat_map(|(place, (salt, iterations))| {
        let signers = [Signer::DnssecSignzone, Signer::LdnsSignzone];
        // That of ldns 1.8 overwrites its own memory with the longest salt.
        let signer = if salt == 255 { signers[0] } else { signers[place % 2] };
        let opt_out = place % 4 >= 2;
        Some(Way { signer, salt, iterations, opt_out })
    })
    .collect()
}

/// The demo's zone signed in this way, with keys made in `directory`.
pub fn signed(way: Way, directory: &Path) -> Result<Zone> {
    signed_of(DEMO, way, directory)
}

/// Another zone signed in this way.
pub fn signed_of((apex, text): (&str, &str), way: Way, directory: &Path) -> Result<Zone> {
    let run = |tool: &str, args: &[&str]| -> Result<String> {
        let program =
            net::find_program(tool).with_context(|| format!("no {tool}: `cargo xtask setup`"))?;
        let output = Command::new(program).args(args).current_dir(directory).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{tool} {args:?}: {said}{errors}");
        Ok(said.trim().to_owned())
    };
    let folder = tempfile::tempdir_in(directory)?;
    let keys = folder.path().display().to_string();
    let keygen = |flags: &[&str]| {
        run(
            "dnssec-keygen",
            &[&["-q", "-K", &keys, "-a", "ECDSAP256SHA256"], flags, &[apex]].concat(),
        )
    };
    let (ksk, zsk) = (keygen(&["-f", "KSK"])?, keygen(&[])?);
    let (plain, out) = (folder.path().join("plain"), folder.path().join("signed"));
    std::fs::write(&plain, text)?;
    let salt = (0..way.salt).fold(String::new(), |mut salt, n| {
        let _ = write!(salt, "{:02x}", n as u8 ^ 0xa5);
        salt
    });
    let salt = if salt.is_empty() { "-" } else { &salt };
    let (iterations, out_name) = (way.iterations.to_string(), out.display().to_string());
    let plain = plain.display().to_string();
    let key = |name: &str| format!("{keys}/{name}");
    let (ksk, zsk) = (key(&ksk), key(&zsk));
    match way.signer {
        Signer::DnssecSignzone => {
            let opt_out: &[&str] = if way.opt_out { &["-A"] } else { &[] };
            let head = [
                "-S",
                "-P",
                "-K",
                &keys,
                "-3",
                salt,
                "-H",
                &iterations,
                "-o",
                apex,
                "-f",
                &out_name,
            ];
            run("dnssec-signzone", &[&head, opt_out, &[&plain]].concat())?;
        }
        Signer::LdnsSignzone => {
            let opt_out: &[&str] = if way.opt_out { &["-p"] } else { &[] };
            let salt: &[&str] = if salt == "-" { &[] } else { &["-s", salt] };
            let head = ["-n", "-t", &iterations, "-o", apex, "-f", &out_name];
            run("ldns-signzone", &[&head, opt_out, salt, &[&plain, &ksk, &zsk]].concat())?;
        }
    }
    let apex = apex.parse()?;
    parse_zone(&std::fs::read(&out)?, &apex)
}

/// The zone and what it is asked for.
pub(super) fn asked(way: Way, directory: &Path) -> Result<ZoneQueries> {
    let zone = signed(way, directory).with_context(|| format!("{way:?}"))?;
    Ok(ZoneQueries { queries: questions(&zone, []), zone })
}
