//! Signed zones before ldns-verify-zone, dnssec-verify, kzonecheck, named-checkzone and nsd-checkzone.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, bail, ensure};
use sealdns::cli::zone_file::{parse_zone, write_zone};
use sealdns::dnssec::incremental::sign_difference;
use sealdns::dnssec::keys::store::KeyStore;
use sealdns::dnssec::keys::{Algorithm, KeyLayout, Role};
use sealdns::dnssec::policy::{Denial, SigningPolicy};
use sealdns::dnssec::sign::{sign, sign_again};
use sealdns::dnssec::verify::verify;
use sealdns::dnssec::zonemd;
use sealdns::zone::difference::{Difference, Rules};
use sealdns::zone::{Name, Rtype, Version, Zone, ZoneBuilder};

const ZONE: &str = include_str!("../../zones/signing.zone");
const APEX: &str = "signing.example";

/// NSEC, with a key-signing and a zone-signing key.
pub fn nsec_with_ksk_and_zsk() -> anyhow::Result<()> {
    accepted_by_all(Denial::Nsec, KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256)
}

/// NSEC, with one key for everything.
pub fn nsec_with_csk() -> anyhow::Result<()> {
    accepted_by_all(Denial::Nsec, KeyLayout::Csk, Algorithm::EcdsaP256Sha256)
}

/// NSEC3, with a key-signing and a zone-signing key.
pub fn nsec3_with_ksk_and_zsk() -> anyhow::Result<()> {
    let denial = Denial::Nsec3 { opt_out: false };
    accepted_by_all(denial, KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256)
}

/// NSEC3, with one key for everything.
pub fn nsec3_with_csk() -> anyhow::Result<()> {
    let denial = Denial::Nsec3 { opt_out: false };
    accepted_by_all(denial, KeyLayout::Csk, Algorithm::EcdsaP256Sha256)
}

/// NSEC3 with opt-out.
pub fn nsec3_opt_out() -> anyhow::Result<()> {
    let denial = Denial::Nsec3 { opt_out: true };
    accepted_by_all(denial, KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256)
}

/// The other algorithms that keys are made of.
pub fn other_algorithms() -> anyhow::Result<()> {
    accepted_by_all(Denial::Nsec, KeyLayout::KskZsk, Algorithm::EcdsaP384Sha384)?;
    accepted_by_all(Denial::Nsec3 { opt_out: false }, KeyLayout::Csk, Algorithm::Ed25519)
}

/// BIND computes the same DS and signs with the same key files, what BIND and ldns signed is valid
/// here, and RSA keys that BIND made sign here.
pub fn keys_and_zones_of_others() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let apex = apex()?;
    let store = KeyStore::new(dir.path());
    let (keys, _) =
        store.load_or_generate(&apex, KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256, now())?;
    let ksk = keys.iter().find(|key| key.role() == Role::Ksk).context("a key-signing key")?;
    let file = format!("{}.key", store.path_of(ksk).display());
    let bind = run(dir.path(), "dnssec-dsfromkey", &["-2", &file])?;
    ensure!(bind.trim() == ksk.ds(Default::default()), "dnssec-dsfromkey says {bind}");

    std::fs::write(dir.path().join("unsigned.zone"), ZONE)?;
    for (name, nsec3) in [("bind-nsec", &[][..]), ("bind-nsec3", &["-3", "-", "-A"])] {
        let args = [&["-S", "-P", "-o", APEX, "-f", name], nsec3, &["unsigned.zone"]].concat();
        run(dir.path(), "dnssec-signzone", &args)?;
        valid_here(&dir.path().join(name))?;
    }
    // ring makes no RSA keys, but signs and verifies with them.
    let rsa = |flags: &[&str]| -> anyhow::Result<String> {
        let args = [&["-q", "-a", "RSASHA256", "-b", "2048"], flags, &[APEX]].concat();
        Ok(run(dir.path(), "dnssec-keygen", &args)?.trim().to_string())
    };
    let (ksk, zsk) = (rsa(&["-f", "KSK"])?, rsa(&[])?);
    let args = ["-n", "-p", "-f", "ldns-nsec3", "unsigned.zone", &ksk, &zsk];
    run(dir.path(), "ldns-signzone", &args)?;
    valid_here(&dir.path().join("ldns-nsec3"))?;

    // The RSA keys sign here too, beside the ECDSA keys: both algorithms everywhere.
    let both = store.load(&apex)?;
    ensure!(both.len() == 4, "{both:?}");
    let zone = parse_zone(ZONE.as_bytes(), &apex)?;
    let (signed, _) = sign(&zone, &both, &SigningPolicy::default(), now())?;
    accepted(dir.path(), &signed, Denial::Nsec, KeyLayout::KskZsk)
}

/// Small zones thrown together of few labels, so that cuts lie below cuts, glue beside wildcards,
/// and empty non-terminals above all of them.
pub fn zones_thrown_together() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let apex = apex()?;
    let store = KeyStore::new(dir.path());
    let algorithm = Algorithm::EcdsaP256Sha256;
    let (keys, _) = store.load_or_generate(&apex, KeyLayout::KskZsk, algorithm, now())?;
    for seed in 1..=12 {
        let text = thrown_together(seed);
        let zone = parse_zone(text.as_bytes(), &apex).with_context(|| text.clone())?;
        for denial in
            [Denial::Nsec, Denial::Nsec3 { opt_out: false }, Denial::Nsec3 { opt_out: true }]
        {
            let policy = SigningPolicy { denial, ..SigningPolicy::default() };
            let (signed, _) = sign(&zone, &keys, &policy, now())?;
            if let Err(faults) = verify(&signed, now()) {
                bail!("{denial:?}, seed {seed}: {faults:#?}\n{text}");
            }
            accepted(dir.path(), &signed, denial, KeyLayout::KskZsk)
                .with_context(|| format!("{denial:?}, seed {seed}:\n{text}"))?;
        }
    }
    Ok(())
}

/// Such zones as versions of one: the difference of each to the next is signed, on what the one before became.
pub fn versions_signed_by_their_difference() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let apex = apex()?;
    let store = KeyStore::new(dir.path());
    let algorithm = Algorithm::EcdsaP256Sha256;
    let (keys, _) = store.load_or_generate(&apex, KeyLayout::KskZsk, algorithm, now())?;
    for denial in [Denial::Nsec, Denial::Nsec3 { opt_out: false }, Denial::Nsec3 { opt_out: true }]
    {
        let policy = SigningPolicy { denial, ..SigningPolicy::default() };
        let zone = |seed| parse_zone(thrown_together(seed).as_bytes(), &apex);
        let mut unsigned = zone(1)?;
        let mut version = Version::of(sign(&unsigned, &keys, &policy, now())?.0);
        for seed in 2..=12 {
            let next = zone(seed)?;
            let difference = Difference::between(&unsigned, &next);
            let rules = Rules::Strict;
            let signed = sign_difference(&version, &difference, rules, &keys, &policy, now())?;
            let signed = signed.context("other zones have a difference")?;
            version = version.apply(&signed.zone, rules)?;
            ensure!(version.serial() == next.serial(), "{}", version.serial());
            accepted(dir.path(), &version.flat()?, denial, KeyLayout::KskZsk)
                .with_context(|| format!("{denial:?}, seed {seed}:\n{}", thrown_together(seed)))?;
            unsigned = next;
        }
    }
    Ok(())
}

/// The text of a zone that depends on `seed` alone.
fn thrown_together(seed: u64) -> String {
    let mut state = seed;
    // Knuth's MMIX generator; its high bits are good enough to throw with.
    let mut throw = |sides: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let mut text = format!(
        "$TTL 300\n@ SOA ns.example.net. mail.example.net. {seed} 3600 900 604800 60\n\
         @ NS ns.example.net.\n"
    );
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let labels: Vec<&str> = (0..=throw(4))
            .map(|_| ["a", "b", "c", "*", "\\000", "zz"][throw(6) as usize])
            .collect();
        let name = labels.join(".");
        let kinds = if labels[0] == "*" { 3 } else { 7 };
        let kind = throw(kinds);
        if !names.insert(name.clone()) {
            continue;
        }
        text += &match kind {
            0 => format!("{name} A 192.0.2.1\n{name} AAAA 2001:db8::1\n"),
            1 => format!("{name} 60 TXT \"one\"\n{name} 60 TXT \"two\"\n"),
            2 => format!("{name} MX 10 mail.example.net.\n"),
            3 => format!("{name} CNAME www.example.net.\n"),
            4 => format!("{name} NS ns.example.net.\n{name} DS 1 13 2 {}\n", "ab".repeat(32)),
            _ => format!("{name} NS ns.example.net.\n"),
        };
    }
    text
}

/// What this program's verifier refuses, the others refuse too: an oracle that accepts everything
/// would prove nothing.
pub fn broken_zones_are_refused_by_all() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let apex = apex()?;
    let store = KeyStore::new(dir.path());
    let algorithm = Algorithm::EcdsaP256Sha256;
    let (keys, _) = store.load_or_generate(&apex, KeyLayout::KskZsk, algorithm, now())?;
    let zone = parse_zone(ZONE.as_bytes(), &apex)?;
    let (signed, _) = sign(&zone, &keys, &SigningPolicy::default(), now())?;
    let mut builder = ZoneBuilder::new(apex);
    for owner in signed.owners() {
        for rrset in owner.rrsets() {
            for rdata in rrset.rdatas() {
                let mut rdata = rdata.to_vec();
                // The address of a name, after it was signed.
                if rrset.rtype() == Rtype::A && owner.name().starts_with(b"\x03www") {
                    rdata[3] ^= 1;
                }
                builder.push(owner.name(), rrset.rtype(), rrset.ttl(), &rdata)?;
            }
        }
    }
    let broken = builder.finish()?;
    ensure!(verify(&broken, now()).is_err(), "accepted here");
    write_zone(&dir.path().join("signed.zone"), &broken)?;
    for (tool, args) in [
        ("ldns-verify-zone", &["signed.zone"][..]),
        ("dnssec-verify", &["-o", APEX, "signed.zone"]),
        ("kzonecheck", &["-d", "on", "-o", APEX, "signed.zone"]),
    ] {
        let refused = !output(dir.path(), tool, args)?.status.success();
        ensure!(refused, "{tool} accepts it");
    }
    Ok(())
}

fn valid_here(path: &Path) -> anyhow::Result<()> {
    let zone = parse_zone(&std::fs::read(path)?, &apex()?)?;
    match verify(&zone, now()) {
        Ok(_) => Ok(()),
        Err(faults) => bail!("{}: {faults:#?}", path.display()),
    }
}

fn accepted_by_all(denial: Denial, layout: KeyLayout, algorithm: Algorithm) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let apex = apex()?;
    let (keys, _) = KeyStore::new(dir.path()).load_or_generate(&apex, layout, algorithm, now())?;
    let zone = parse_zone(ZONE.as_bytes(), &apex)?;
    let mut before = None;
    for zonemd in [false, true] {
        let policy = SigningPolicy { denial, zonemd, ..SigningPolicy::default() };
        // What is kept of the version before does not change what the digest is of.
        let before_and_least = before.as_ref().map(|before| (before, 0));
        let (signed, _) = sign_again(&zone, before_and_least, &keys, &policy, now())?;
        if let Err(faults) = verify(&signed, now()) {
            bail!("{faults:#?}");
        }
        let digest = zonemd::check(&signed);
        ensure!(digest == zonemd.then_some(Ok(())), "ZONEMD {zonemd}: {digest:?}");
        accepted(dir.path(), &signed, denial, layout)?;
        if zonemd && denial != (Denial::Nsec3 { opt_out: true }) {
            run(dir.path(), "ldns-verify-zone", &["-Z", "-Z", "-V", "2", "signed.zone"])?;
        }
        before = Some(Version::of(signed));
    }
    Ok(())
}

fn accepted(dir: &Path, signed: &Zone, denial: Denial, layout: KeyLayout) -> anyhow::Result<()> {
    write_zone(&dir.join("signed.zone"), signed)?;
    // Its NSEC3 check knows no opt-out, as its own help says.
    if denial != (Denial::Nsec3 { opt_out: true }) {
        run(dir, "ldns-verify-zone", &["-V", "2", "signed.zone"])?;
    }
    let mut args = vec!["-o", APEX];
    if layout == KeyLayout::Csk {
        args.push("-z");
    }
    args.push("signed.zone");
    run(dir, "dnssec-verify", &args)?;
    run(dir, "kzonecheck", &["-d", "on", "-o", APEX, "signed.zone"])?;
    run(dir, "named-checkzone", &["-i", "local", APEX, "signed.zone"])?;
    // It checks no signature, but reads fewer notations than the others: no times in seconds.
    run(dir, "nsd-checkzone", &[APEX, "signed.zone"])?;
    Ok(())
}

fn apex() -> anyhow::Result<Name> {
    Ok(APEX.parse()?)
}

pub(super) fn now() -> u32 {
    sealdns::clock::WallTime::now().signature_time()
}

/// Runs a tool and returns what it prints; an error with all of that if it fails or is missing.
pub(super) fn run(dir: &Path, tool: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = output(dir, tool, args)?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{tool} {}: {out}{err}", args.join(" "));
    Ok(out)
}

/// Runs a tool; an error only if it is missing.
fn output(dir: &Path, tool: &str, args: &[&str]) -> anyhow::Result<Output> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    Command::new(tool)
        .args(args)
        .current_dir(dir)
        .env("PATH", path)
        .output()
        .with_context(|| format!("{tool} cannot be run; `cargo xtask setup` installs it"))
}
