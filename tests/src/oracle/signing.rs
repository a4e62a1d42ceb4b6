//! Signed zones before ldns-verify-zone, dnssec-verify, kzonecheck and named-checkzone.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use sealdns::cli::zone_file::{parse_zone, write_zone};
use sealdns::dnssec::keys::store::KeyStore;
use sealdns::dnssec::keys::{Algorithm, KeyLayout, Role};
use sealdns::dnssec::policy::{Denial, SigningPolicy};
use sealdns::dnssec::sign::sign;
use sealdns::dnssec::verify::verify;
use sealdns::zone::Zone;

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

/// dnssec-signzone takes the key files, ldns and BIND compute the same DS, and a zone that
/// BIND and ldns signed passes this program's verifier.
pub fn keys_and_zones_of_others() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let apex = apex()?;
    let store = KeyStore::new(dir.path());
    let (keys, _) = store.load_or_generate(&apex, KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256)?;
    let ksk = keys.iter().find(|key| key.role() == Role::Ksk).context("a key-signing key")?;
    let stem = |key| store.path_of(key).display().to_string();

    let bind = run(dir.path(), "dnssec-dsfromkey", &["-2", &format!("{}.key", stem(ksk))])?;
    ensure!(bind.trim() == ksk.ds(Default::default()), "dnssec-dsfromkey says {bind}");

    // Flags 8 of 10 bits: RSA keys, which only others can make.
    let rsa = |ksk: bool| -> anyhow::Result<String> {
        let mut args = vec!["-q", "-a", "RSASHA256", "-b", "2048"];
        if ksk {
            args.extend(["-f", "KSK"]);
        }
        args.push(APEX);
        Ok(run(dir.path(), "dnssec-keygen", &args)?.trim().to_string())
    };
    let unsigned = dir.path().join("unsigned.zone");
    std::fs::write(&unsigned, ZONE)?;
    let zsk = keys.iter().find(|key| key.role() == Role::Zsk).context("a zone-signing key")?;
    for (nsec3, name) in [(false, "bind-nsec"), (true, "bind-nsec3")] {
        let mut args = vec!["-P", "-o", APEX, "-f", name];
        if nsec3 {
            args.extend(["-3", "-", "-A"]);
        }
        let (ksk, zsk) = (stem(ksk), stem(zsk));
        args.extend(["-k", &ksk, "unsigned.zone", &zsk]);
        run(dir.path(), "dnssec-signzone", &args)?;
        // -O text would do as well: the parser here wants one record per line no more than BIND.
        valid_here(&dir.path().join(name))?;
    }
    let (ksk, zsk) = (rsa(true)?, rsa(false)?);
    let args = ["-n", "-p", "-f", "ldns-nsec3", "unsigned.zone", &ksk, &zsk];
    run(dir.path(), "ldns-signzone", &args)?;
    valid_here(&dir.path().join("ldns-nsec3"))?;

    // And the RSA keys sign here too, beside the ECDSA keys: both algorithms everywhere.
    let both = store.load(&apex)?;
    ensure!(both.len() == 4, "{both:?}");
    let zone = parse_zone(ZONE.as_bytes(), Some(&apex))?;
    let (signed, _) = sign(&zone, &both, &SigningPolicy::default(), now())?;
    accepted(dir.path(), &signed, Denial::Nsec, KeyLayout::KskZsk)
}

fn valid_here(path: &Path) -> anyhow::Result<()> {
    let zone = parse_zone(&std::fs::read(path)?, Some(&apex()?))?;
    match verify(&zone, now()) {
        Ok(_) => Ok(()),
        Err(faults) => bail!("{}: {faults:#?}", path.display()),
    }
}

fn accepted_by_all(denial: Denial, layout: KeyLayout, algorithm: Algorithm) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let apex = apex()?;
    let (keys, _) = KeyStore::new(dir.path()).load_or_generate(&apex, layout, algorithm)?;
    let zone = parse_zone(ZONE.as_bytes(), Some(&apex))?;
    let policy = SigningPolicy { denial, ..SigningPolicy::default() };
    let (signed, _) = sign(&zone, &keys, &policy, now())?;
    if let Err(faults) = verify(&signed, now()) {
        bail!("{faults:#?}");
    }
    accepted(dir.path(), &signed, denial, layout)
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
    Ok(())
}

fn apex() -> anyhow::Result<sealdns::zone::Name> {
    sealdns::cli::zone_file::parse_name(APEX).map_err(anyhow::Error::msg)
}

fn now() -> u32 {
    sealdns::cli::clock::now()
}

/// Runs a tool and returns what it prints; an error with all of that if it fails or is missing.
fn run(dir: &Path, tool: &str, args: &[&str]) -> anyhow::Result<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(tool)
        .args(args)
        .current_dir(dir)
        .env("PATH", path)
        .output()
        .with_context(|| format!("{tool} cannot be run; `cargo xtask setup` installs it"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{tool} {}: {out}{err}", args.join(" "));
    Ok(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn signed_zones_are_accepted_by_all() {
        for (name, test) in [
            ("nsec_with_ksk_and_zsk", super::nsec_with_ksk_and_zsk as fn() -> _),
            ("nsec_with_csk", super::nsec_with_csk),
            ("nsec3_with_ksk_and_zsk", super::nsec3_with_ksk_and_zsk),
            ("nsec3_with_csk", super::nsec3_with_csk),
            ("nsec3_opt_out", super::nsec3_opt_out),
            ("other_algorithms", super::other_algorithms),
            ("keys_and_zones_of_others", super::keys_and_zones_of_others),
        ] {
            test().unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    }
}
