//! The times in key files, as dnssec-signzone obeys them (`-S`).

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, bail, ensure};
use sealdns::cli::zone_file::{parse_zone, write_zone};
use sealdns::dnssec::keys::in_use::in_use;
use sealdns::dnssec::keys::store::KeyStore;
use sealdns::dnssec::keys::timing::KeyState;
use sealdns::dnssec::keys::{Algorithm, Key, KeyLayout, Role};
use sealdns::dnssec::policy::SigningPolicy;
use sealdns::dnssec::sign::sign;
use sealdns::dnssec::verify::verify;
use sealdns::zone::Name;

use super::signing::{now, run};

const APEX: &str = "times.example";
const ZONE: &str =
    "@ 300 IN SOA ns1 host 1 7200 3600 1209600 300\n@ 300 IN NS ns1\nns1 300 IN A 192.0.2.1\n";

/// The times of a key file that govern its use.
const TIMES: [&str; 5] = ["Publish", "Activate", "Revoke", "Inactive", "Delete"];

/// Where a time is: nowhere, long ago, or years ahead.
const PLACES: [Option<&str>; 3] = [None, Some("20200101000000"), Some("20700101000000")];

/// How many keys a zone has at once.
const TOGETHER: usize = 12;

/// Keys with all combinations of times, key-signing and zone-signing ones, beside two that are in use: the zone has the
/// DNSKEY records that dnssec-signzone gives it, and each signs what it signs there.
pub fn all_combinations() -> anyhow::Result<()> {
    let combinations: Vec<usize> = (0..PLACES.len().pow(TIMES.len() as u32)).collect();
    let mut states = BTreeSet::new();
    for role in [Role::Ksk, Role::Zsk] {
        for some in combinations.chunks(TOGETHER) {
            states.extend(as_bind_does(role, some)?);
        }
    }
    // Others are not in the zone.
    use KeyState::{Active, Inactive, Published, Revoked};
    ensure!(states == BTreeSet::from([Published, Active, Inactive, Revoked]), "{states:?}");
    Ok(())
}

/// A zone with keys that have these combinations of times; the states of those that are in it.
fn as_bind_does(role: Role, combinations: &[usize]) -> anyhow::Result<Vec<KeyState>> {
    let dir = tempfile::tempdir()?;
    let apex: Name = APEX.parse()?;
    let store = KeyStore::new(dir.path().join("keys"));
    let algorithm = Algorithm::default();
    store.load_or_generate(&apex, KeyLayout::KskZsk, algorithm, now())?;
    let made = store.generate(&apex, &vec![role; combinations.len()], algorithm, now())?;
    for (combination, key) in combinations.iter().zip(&made) {
        let places = places(*combination);
        write_times(&store, key, &places)?;
        // dnssec-signzone makes signatures by such a key and leaves its DNSKEY record out.
        if is_unseen_signer(&places) {
            for ending in ["key", "private"] {
                fs::remove_file(file(&store, key, ending))?;
            }
        }
    }
    let keys = in_use(store.load(&apex)?, now())?;
    let zone = parse_zone(ZONE.as_bytes(), &apex)?;
    let (signed, _) = sign(&zone, &keys, &SigningPolicy::default(), now())?;
    if let Err(faults) = verify(&signed, now()) {
        bail!("{faults:#?}");
    }
    write_zone(&dir.path().join("ours.zone"), &signed)?;
    let ours = Signers::of(&fs::read_to_string(dir.path().join("ours.zone"))?);

    fs::write(dir.path().join("unsigned.zone"), ZONE)?;
    let options = ["-S", "-P", "-x", "-K", "keys", "-o", APEX, "-O", "full", "-f", "bind.zone"];
    run(dir.path(), "dnssec-signzone", &[&options[..], &["unsigned.zone"]].concat())?;
    let theirs = Signers::of(&fs::read_to_string(dir.path().join("bind.zone"))?);
    ensure!(ours == theirs, "{role}, {combinations:?}: {ours:#?}\ndnssec-signzone: {theirs:#?}");
    Ok(keys.iter().map(Key::state).collect())
}

/// The place of each time in a combination.
fn places(combination: usize) -> [Option<&'static str>; TIMES.len()] {
    let mut rest = combination;
    TIMES.map(|_| {
        let place = PLACES[rest % PLACES.len()];
        rest /= PLACES.len();
        place
    })
}

/// Whether a key is to sign while it is not to be in the zone.
fn is_unseen_signer([publish, activate, ..]: &[Option<&str>; TIMES.len()]) -> bool {
    *publish == PLACES[2] && *activate == PLACES[1]
}

fn write_times(store: &KeyStore, key: &Key, places: &[Option<&str>]) -> anyhow::Result<()> {
    let path = file(store, key, "private");
    let text = fs::read_to_string(&path)?;
    let is_time = |line: &&str| TIMES.iter().any(|time| line.starts_with(&format!("{time}:")));
    let mut new: Vec<String> =
        text.lines().filter(|line| !is_time(line)).map(str::to_owned).collect();
    for (time, place) in TIMES.iter().zip(places) {
        new.extend(place.map(|place| format!("{time}: {place}")));
    }
    // As it was but for its text, with its rights.
    fs::write(&path, new.join("\n") + "\n").with_context(|| path.clone())
}

/// One of the two files of a key.
fn file(store: &KeyStore, key: &Key, ending: &str) -> String {
    format!("{}.{ending}", store.path_of(key).display())
}

/// The keys of a signed zone.
#[derive(Debug, PartialEq, Eq, Default)]
struct Signers {
    /// Flags and public key of each DNSKEY record.
    dnskeys: BTreeSet<(String, String)>,
    /// Tags of those that sign the DNSKEY RRset.
    of_dnskeys: BTreeSet<String>,
    /// Tags of those that sign the SOA record.
    of_data: BTreeSet<String>,
}

impl Signers {
    /// Of the text of a zone, a record a line.
    fn of(text: &str) -> Signers {
        let mut signers = Signers::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                [_, _, _, "DNSKEY", flags, _, _, ref key @ ..] => {
                    signers.dnskeys.insert((flags.to_owned(), key.concat()));
                }
                [_, _, _, "RRSIG", "DNSKEY", _, _, _, _, _, tag, ..] => {
                    signers.of_dnskeys.insert(tag.to_owned());
                }
                [_, _, _, "RRSIG", "SOA", _, _, _, _, _, tag, ..] => {
                    signers.of_data.insert(tag.to_owned());
                }
                _ => {}
            }
        }
        signers
    }
}
