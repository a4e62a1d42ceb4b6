//! `sealdns key`: the keys of a zone.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{CliError, CommandResult, Exit, print_json, print_line};
use super::{Global, PATIENCE};
use crate::clock::WallTime;
use crate::config::Config;
use crate::control::client::{CallError, call};
use crate::control::protocol::Request;
use crate::control::reply::status::Status;
use crate::daemon::privileges;
use crate::dnssec::keys::in_use;
use crate::dnssec::keys::store::KeyStore;
use crate::dnssec::keys::timing::{KeyState, KeyTimes};
use crate::dnssec::keys::{Algorithm, DsDigest, Key, NewKey, Role};
use crate::dnssec::lifetime::DNSKEY_TTL_S;
use crate::zone::text::write_record;
use crate::zone::{Name, Rtype};

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
    /// Make keys and store all of them, or none
    Generate {
        /// The zone and where its keys are
        #[command(flatten)]
        of: KeyDirArgs,
        /// What the keys sign: ksk, zsk or csk, or several of them, such as ksk,zsk
        #[arg(long, value_name = "ROLES", default_value = "csk", value_delimiter = ',')]
        role: Vec<Role>,
        /// ECDSAP256SHA256, ECDSAP384SHA384 or ED25519
        #[arg(long, value_name = "ALGORITHM", default_value_t)]
        algorithm: Algorithm,
        /// Make keys and show them, but store none
        #[arg(long)]
        dry_run: bool,
    },
    /// List the keys of a zone
    List {
        /// The zone and where its keys are
        #[command(flatten)]
        of: KeyDirArgs,
    },
    /// Print the DS records for the parent zone
    Ds {
        /// The zone and where its keys are
        #[command(flatten)]
        of: KeyDirArgs,
        /// sha256 or sha384
        #[arg(long, value_name = "DIGEST", default_value_t)]
        digest: DsDigest,
    },
    /// Print the DNSKEY records, for other servers of the zone that sign it too (RFC 8901)
    Dnskey {
        /// The zone and where its keys are
        #[command(flatten)]
        of: KeyDirArgs,
    },
}

impl KeyCommand {
    /// The zone and where its keys are.
    pub(super) fn of(&mut self) -> &mut KeyDirArgs {
        match self {
            KeyCommand::Generate { of, .. }
            | KeyCommand::List { of }
            | KeyCommand::Ds { of, .. }
            | KeyCommand::Dnskey { of } => of,
        }
    }
}

/// A zone and where its keys are.
#[derive(Args, Debug)]
pub struct KeyDirArgs {
    /// The zone's name
    #[arg(value_name = "ZONE")]
    pub zone: Name,
    /// The directory of the keys, in BIND's format [default: the daemon's, with --config or if a daemon
    /// answers; else "keys"]
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

impl KeyDirArgs {
    /// The keys that were meant: of the directory given, of the daemon, or of `keys` here.
    fn store(&self, global: &Global) -> Result<KeyStore, CliError> {
        let dir = match &self.keys {
            Some(dir) => dir.clone(),
            None if global.config.is_some() => {
                Config::load(&global.config_path())?.server.key_dir()
            }
            None => {
                match call::<Status>(&global.control_path()?, &Request::Status, PATIENCE) {
                    Ok(status) => status.key_dir.context(
                        "the daemon does not say where the keys are: use --keys or --config",
                    )?,
                    // Only a daemon that was named must be there.
                    Err(error @ CallError::Unreachable { .. }) if global.control.is_some() => {
                        return Err(error.into());
                    }
                    Err(CallError::Unreachable { .. }) => "keys".into(),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        // Root works in a daemon's folder as the daemon's user does: keys are to be its own, and it may have put
        // anything there.
        if let Some(owner) = privileges::other_owner(&dir)? {
            privileges::drop_to(&owner)?;
        }
        Ok(KeyStore::new(dir))
    }

    fn load(&self, store: &KeyStore) -> anyhow::Result<Vec<Key>> {
        let keys = store.load(&self.zone)?;
        if keys.is_empty() {
            let (zone, dir) = (&self.zone, store.dir().display());
            return Err(anyhow!(
                "there is no key for {zone} in {dir}; make one with: sealdns key generate {zone}"
            ));
        }
        Ok(in_use::at(keys, WallTime::now().signature_time()))
    }

    /// Prints lines, or a JSON object with a list of them.
    fn print(&self, list: fn(Vec<String>) -> KeyRecords, lines: Vec<String>) {
        if self.json {
            print_json(&list(lines));
        } else {
            lines.iter().for_each(print_line);
        }
    }
}

/// Runs a `key` command.
pub(super) fn run(args: &KeyArgs, global: &Global) -> CommandResult {
    match &args.command {
        KeyCommand::Generate { of, role, algorithm, dry_run } => {
            let store = of.store(global)?;
            generate(of, &store, role, *algorithm, *dry_run)?;
        }
        KeyCommand::List { of } => {
            let store = of.store(global)?;
            let keys = of.load(&store)?;
            if of.json {
                print_json(&KeyList { keys: keys.iter().map(KeySummary::of).collect() });
            } else {
                print_line(format_args!(
                    "{:<5} {:<5} {:<16} {:<9} file",
                    "tag", "role", "algorithm", "state"
                ));
                for key in &keys {
                    let (tag, role, algorithm) = (key.tag(), key.role(), key.algorithm());
                    let path = store.path_of(key);
                    print_line(format_args!(
                        "{tag:<5} {:<5} {:<16} {:<9} {}.key",
                        role.to_string(),
                        algorithm.mnemonic(),
                        key.state().word(),
                        path.display()
                    ));
                }
            }
        }
        KeyCommand::Ds { of, digest } => {
            let keys = of.load(&of.store(global)?)?;
            // The parent must not be given what is about to leave, or what nobody can see yet.
            let is_for_parent = |key: &&Key| {
                key.role() != Role::Zsk
                    && matches!(key.state(), KeyState::Published | KeyState::Active)
            };
            let parents = keys.iter().filter(is_for_parent);
            of.print(KeyRecords::Ds, parents.map(|key| key.ds(*digest)).collect());
        }
        KeyCommand::Dnskey { of } => {
            let keys = of.load(&of.store(global)?)?;
            let record = |key: &Key| {
                let line =
                    write_record(key.zone().as_wire(), Rtype::DNSKEY, DNSKEY_TTL_S, key.dnskey());
                line.trim_end().to_owned()
            };
            let in_zone = keys.iter().filter(|key| key.state().is_in_zone());
            of.print(KeyRecords::Dnskey, in_zone.map(record).collect());
        }
    }
    Ok(Exit::Ok)
}

fn generate(
    of: &KeyDirArgs,
    store: &KeyStore,
    roles: &[Role],
    algorithm: Algorithm,
    dry_run: bool,
) -> anyhow::Result<()> {
    let keys = if dry_run {
        let mut taken: Vec<u16> = store.load(&of.zone)?.iter().map(Key::tag).collect();
        let make = |&role: &Role| -> anyhow::Result<Key> {
            let key = NewKey::generate(
                &of.zone,
                role,
                algorithm,
                &taken,
                WallTime::now().signature_time(),
            )?
            .key;
            taken.push(key.tag());
            Ok(key)
        };
        roles.iter().map(make).collect::<anyhow::Result<_>>()?
    } else {
        let keys = store.generate(&of.zone, roles, algorithm, WallTime::now().signature_time())?;
        warn_of_other_roles(&of.load(store)?, &keys);
        keys
    };
    if of.json {
        let keys: Vec<KeySummary> = keys.iter().map(KeySummary::of).collect();
        print_json(&GeneratedKeys { key: keys.first().cloned(), keys });
    } else {
        keys.iter().for_each(|key| print_line(store.path_of(key).display()));
    }
    Ok(())
}

/// Says where a key will sign otherwise than it was made to: a KSK and a CSK have the same flags, and the
/// other keys of the algorithm decide.
fn warn_of_other_roles(stored: &[Key], made: &[Key]) {
    for key in made {
        let found = stored.iter().find(|found| found.tag() == key.tag());
        if let Some(found) = found.filter(|found| found.role() != key.role()) {
            let (tag, algorithm, found) = (key.tag(), key.algorithm(), found.role());
            let also = if found == Role::Csk { "no" } else { "a" };
            eprintln!("key {tag} will sign as {found}: there is {also} {algorithm} zsk");
        }
    }
}

/// Records of keys, a line each.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum KeyRecords {
    Ds(Vec<String>),
    Dnskey(Vec<String>),
}

/// The keys of a zone.
#[derive(Serialize)]
struct KeyList {
    keys: Vec<KeySummary>,
}

/// Keys that were made, and the first of them.
#[derive(Serialize)]
struct GeneratedKeys {
    key: Option<KeySummary>,
    keys: Vec<KeySummary>,
}

/// A key in short.
#[derive(Debug, Clone, Serialize)]
pub(super) struct KeySummary {
    zone: String,
    tag: u16,
    role: String,
    algorithm: &'static str,
    state: &'static str,
    #[serde(flatten)]
    times: Option<KeyTimes>,
}

impl KeySummary {
    /// What is told of a key.
    pub(super) fn of(key: &Key) -> KeySummary {
        KeySummary {
            zone: key.zone().to_string(),
            tag: key.tag(),
            role: key.role().to_string(),
            algorithm: key.algorithm().mnemonic(),
            state: key.state().word(),
            times: key.times().copied(),
        }
    }
}
