//! The secrets of DNS cookies: where they come from, and which one it is the time for.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use ring::hkdf;
use ring::rand::SecureRandom;
use xdp_common::cookie::{LIFETIME_S, SKEW_S, Secret};
use xdp_common::maps::EdnsSettings;

use super::secret_file;
use crate::config::{self, CookieSecret};

/// The longest file of secrets in octets: two lines, and some blanks.
const MAX_FILE: u64 = 256;

/// What keeps derived secrets apart from all else that may be derived from the same one.
const PURPOSE: &[u8] = b"sealdns DNS cookies";

/// Secrets, and how they are used.
#[derive(Clone, PartialEq, Eq)]
pub enum Secrets {
    /// There are no cookies.
    Off,
    /// The first makes cookies, the other is accepted too.
    Fixed(Secret, Option<Secret>),
    /// One for each period of so many seconds is derived from this.
    Derived(Secret, u32),
}

impl Secrets {
    /// Those of a configuration, with `random` where it names none.
    pub fn load(section: &config::Cookies, random: Secret) -> anyhow::Result<Secrets> {
        if !section.enabled {
            return Ok(Secrets::Off);
        }
        let (first, other) = match &section.secret_file {
            Some(path) => read(path).with_context(|| path.display().to_string())?,
            None => (
                section.secret.map_or(random, |secret| secret.0),
                section.other_secret.map(|secret| secret.0),
            ),
        };
        match (section.derive.0, other) {
            (None, other) => Ok(Secrets::Fixed(first, other)),
            (Some(period), None) => Ok(Secrets::Derived(first, period.seconds())),
            (Some(_), Some(_)) => {
                bail!("`derive` makes all secrets from one, and the file has two")
            }
        }
    }

    /// Puts those for the time `now` where responses are made with them.
    pub fn put(&self, edns_settings: &mut EdnsSettings, now: u32) {
        let (first, other) = match *self {
            Secrets::Off => {
                edns_settings.secret_count = 0;
                return;
            }
            Secrets::Fixed(first, other) => (first, other),
            Secrets::Derived(secret, period_s) => {
                let (place, into_s) = (now / period_s, now % period_s);
                // First those made before the change are still about, then those of whose clock is ahead.
                let is_early = into_s <= (LIFETIME_S + SKEW_S) as u32;
                let other = if is_early { place.wrapping_sub(1) } else { place.wrapping_add(1) };
                (derived(&secret, place), Some(derived(&secret, other)))
            }
        };
        edns_settings.secrets = [first, other.unwrap_or_default()];
        edns_settings.secret_count = 1 + u32::from(other.is_some());
    }
}

/// A secret that nobody else knows.
pub fn random() -> anyhow::Result<Secret> {
    let mut octets = [[0; 8]; 2];
    ring::rand::SystemRandom::new()
        .fill(octets.as_flattened_mut())
        .map_err(|_| anyhow!("the random number generator of the system failed"))?;
    Ok(octets.map(u64::from_le_bytes))
}

/// The secret of a period, by HKDF with SHA-256 (RFC 5869).
fn derived(secret: &Secret, place: u32) -> Secret {
    let master = secret.map(u64::to_le_bytes);
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, PURPOSE).extract(master.as_flattened());
    let mut octets = [[0; 8]; 2];
    let place = place.to_be_bytes();
    // HKDF gives up to 255 times the hash's length; ring asks for a type that says how much it is.
    if let Ok(okm) = key.expand(&[&place], hkdf::HKDF_SHA256) {
        let mut whole = [0; 32];
        if okm.fill(&mut whole).is_ok() {
            octets.as_flattened_mut().copy_from_slice(&whole[..16]);
        }
    }
    octets.map(u64::from_le_bytes)
}

/// The secrets in a file that only its owner may read.
fn read(path: &Path) -> anyhow::Result<(Secret, Option<Secret>)> {
    let file = secret_file::open(path)?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    let mut secrets =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            CookieSecret::from_text(line).context("a line is not 32 hexadecimal digits")
        });
    let first = secrets.next().context("holds no secret")??.0;
    let other = secrets.next().transpose()?.map(|secret| secret.0);
    if secrets.next().is_some() || text.len() as u64 > MAX_FILE {
        bail!("holds more than two secrets");
    }
    Ok((first, other))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DAY: u32 = 86400;

    fn put(secrets: &Secrets, now: u32) -> (u32, [Secret; 2]) {
        let mut edns_settings = EdnsSettings::new();
        secrets.put(&mut edns_settings, now);
        (edns_settings.secret_count, edns_settings.secrets)
    }

    /// HKDF by the openssl command.
    #[test]
    fn derived_secrets_are_those_of_rfc_5869() {
        let secret = CookieSecret::from_text("e5e973e5a6b2a43f48e7dc849e37bfcf").unwrap().0;
        let octets = derived(&secret, 20000).map(u64::to_le_bytes).concat();
        assert_eq!(octets, DERIVED);
    }

    const DERIVED: [u8; 16] = [
        0x16, 0x88, 0x76, 0xb3, 0xba, 0x1f, 0xef, 0x09, 0xe1, 0x73, 0xcd, 0x83, 0x82, 0xdd, 0xec,
        0xe4,
    ];

    #[test]
    fn servers_agree_around_a_change() {
        let secrets = Secrets::Derived([1, 2], DAY);
        let change = 20000 * DAY;
        let (count, [before, next]) = put(&secrets, change - 1);
        assert_eq!(count, 2);
        let (_, [after, last]) = put(&secrets, change);
        assert_eq!((next, last), (after, before));
        assert_ne!(before, after);
        // As long as a cookie of before may come back.
        let until = change + (LIFETIME_S + SKEW_S) as u32;
        assert_eq!(put(&secrets, until).1, [after, before]);
        assert_ne!(put(&secrets, until + 1).1[1], before);
        // A server whose clock is behind accepts what one ahead makes.
        assert_eq!(put(&secrets, change - SKEW_S as u32).1[1], after);
    }

    #[test]
    fn fixed_secrets_stay() {
        assert_eq!(put(&Secrets::Off, 0).0, 0);
        assert_eq!(put(&Secrets::Fixed([1, 2], None), 7), (1, [[1, 2], [0, 0]]));
        assert_eq!(put(&Secrets::Fixed([1, 2], Some([3, 4])), 7), (2, [[1, 2], [3, 4]]));
    }

    #[test]
    fn files_are_read_if_nobody_else_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookie.secret");
        let section = config::Cookies { secret_file: Some(path.clone()), ..Default::default() };
        let load = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            Secrets::load(&section, [9, 9]).map_err(|error| format!("{error:#}"))
        };
        let one = "01000000000000000200000000000000\n";
        assert!(load(one, 0o600) == Ok(Secrets::Fixed([1, 2], None)));
        assert!(load(&one.repeat(2), 0o400) == Ok(Secrets::Fixed([1, 2], Some([1, 2]))));
        for (text, mode, said) in [
            (one, 0o640, "has mode 0640; run chmod 600"),
            ("", 0o600, "holds no secret"),
            ("01", 0o600, "32 hexadecimal digits"),
            (&one.repeat(3), 0o600, "more than two"),
            (&one.repeat(30), 0o600, "more than two"),
        ] {
            let Err(error) = load(text, mode) else { panic!("{text} {mode:o}") };
            assert!(error.contains(said) && error.contains("cookie.secret"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Secrets::load(&section, [9, 9]).is_err());
        let none = config::Cookies::default();
        assert!(Secrets::load(&none, [9, 9]).ok() == Some(Secrets::Fixed([9, 9], None)));
        let off = config::Cookies { enabled: false, ..section };
        assert!(Secrets::load(&off, [9, 9]).ok() == Some(Secrets::Off));
    }
}
