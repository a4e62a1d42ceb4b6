//! `sealdns key`: the keys of a zone.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::clock::now;
use super::output::print_line;
use super::zone_file::parse_name;
use crate::daemon::privileges;
use crate::dnssec::keys::store::KeyStore;
use crate::dnssec::keys::{Algorithm, DsDigest, Key, NewKey, Role};
use crate::zone::Name;

/// Makes, lists and exports keys.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// What to do
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What to do with keys.
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Make a key and store it
    Generate {
        /// The zone and where its keys are
        #[command(flatten)]
        of: KeysOf,
        /// What the key signs: ksk, zsk or csk
        #[arg(long, value_name = "ROLE", default_value = "csk")]
        role: Role,
        /// ECDSAP256SHA256, ECDSAP384SHA384 or ED25519
        #[arg(long, value_name = "ALGORITHM", default_value = "ECDSAP256SHA256")]
        algorithm: Algorithm,
        /// Make a key, show it, and forget it
        #[arg(long)]
        dry_run: bool,
    },
    /// List the keys of a zone
    List {
        /// The zone and where its keys are
        #[command(flatten)]
        of: KeysOf,
    },
    /// Print the DS records for the parent zone
    Ds {
        /// The zone and where its keys are
        #[command(flatten)]
        of: KeysOf,
        /// sha256 or sha384
        #[arg(long, value_name = "DIGEST", default_value = "sha256")]
        digest: DsDigest,
    },
}

/// A zone and where its keys are.
#[derive(Args, Debug)]
pub struct KeysOf {
    /// The zone's name
    #[arg(value_name = "ZONE", value_parser = parse_name)]
    pub zone: Name,
    /// The directory of the keys, in BIND's format
    #[arg(long, value_name = "DIR", default_value = "keys")]
    pub keys: PathBuf,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

impl KeysOf {
    fn load(&self) -> anyhow::Result<Vec<Key>> {
        let keys = KeyStore::new(&self.keys).load(&self.zone)?;
        if keys.is_empty() {
            let (zone, dir) = (&self.zone, self.keys.display());
            bail!(
                "there is no key for {zone} in {dir}; make one with: sealdns key generate {zone}"
            );
        }
        Ok(keys)
    }
}

/// Runs a `key` command.
pub fn run(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    let (KeyCommand::Generate { of, .. } | KeyCommand::List { of } | KeyCommand::Ds { of, .. }) =
        &args.command;
    if let Some(owner) = privileges::other_owner(&of.keys)? {
        privileges::drop_to(&owner)?;
    }
    match &args.command {
        KeyCommand::Generate { of, role, algorithm, dry_run } => {
            let store = KeyStore::new(&of.keys);
            let key = if *dry_run {
                let taken: Vec<u16> = store.load(&of.zone)?.iter().map(Key::tag).collect();
                NewKey::generate(&of.zone, *role, *algorithm, &taken, now())?.key
            } else {
                store.generate(&of.zone, *role, *algorithm, now())?
            };
            if !dry_run {
                let found = store.load(&of.zone)?;
                let found = found.iter().find(|found| found.tag() == key.tag());
                if let Some(found) = found.filter(|found| found.role() != *role) {
                    // Both have the same flags: the other keys of the algorithm decide.
                    let (tag, found) = (key.tag(), found.role());
                    let also = if found == Role::Csk { "no" } else { "a" };
                    eprintln!("key {tag} will sign as {found}: there is {also} {algorithm} zsk");
                }
            }
            if of.json {
                print_line(serde_json::json!({ "schema": 1, "key": describe(&key) }));
            } else {
                print_line(store.path_of(&key).display());
            }
        }
        KeyCommand::List { of } => {
            let keys = of.load()?;
            if of.json {
                let keys: Vec<_> = keys.iter().map(describe).collect();
                print_line(serde_json::json!({ "schema": 1, "keys": keys }));
            } else {
                print_line(format_args!("{:<5} {:<5} {:<16} file", "tag", "role", "algorithm"));
                let store = KeyStore::new(&of.keys);
                for key in &keys {
                    let (tag, role, algorithm) = (key.tag(), key.role(), key.algorithm());
                    let path = store.path_of(key);
                    print_line(format_args!(
                        "{tag:<5} {:<5} {:<16} {}.key",
                        role.to_string(),
                        algorithm.mnemonic(),
                        path.display()
                    ));
                }
            }
        }
        KeyCommand::Ds { of, digest } => {
            let keys = of.load()?;
            let ds: Vec<String> = keys
                .iter()
                .filter(|key| key.role() != Role::Zsk)
                .map(|key| key.ds(*digest))
                .collect();
            if of.json {
                print_line(serde_json::json!({ "schema": 1, "ds": ds }));
            } else {
                ds.iter().for_each(print_line);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A key for JSON.
pub(super) fn describe(key: &Key) -> serde_json::Value {
    serde_json::json!({
        "zone": key.zone().to_string(),
        "tag": key.tag(),
        "role": key.role().to_string(),
        "algorithm": key.algorithm().mnemonic(),
    })
}
