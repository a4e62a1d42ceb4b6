//! Zones from master files: read, signed, verified.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::state::{Before, Prepare, Prepared};
use crate::config::{self, Config};
use crate::dnssec::any;
use crate::dnssec::keys::store::KeyStore;
use crate::dnssec::keys::{Algorithm, KeyLayout};
use crate::dnssec::policy::{Any, Denial, SerialPolicy, SigningPolicy};
use crate::dnssec::sign::sign_again;
use crate::dnssec::verify::{Fault, first_expiration, verify, verify_again};
use crate::zone::text::{self, Options};
use crate::zone::{Name, Rtype, Zone, ZoneBuilder, ZoneError, name, serial};

/// Faults of a zone that are told in one message; more are only counted.
const TOLD_FAULTS: usize = 5;

/// Signatures are kept unless they are due within this part of the time from their making until then:
/// else a zone that changed often would be signed again in as many small parts.
const KEPT_PART: u32 = 4;

/// Takes zones from the files that the configuration names.
pub struct FromFiles {
    keys: KeyStore,
    serials: PathBuf,
}

impl FromFiles {
    /// Keys are in the folder `keys` of the state directory, serials that were used in `serials`.
    pub fn new(config: &Config) -> FromFiles {
        let state_dir = &config.server.state_dir;
        FromFiles {
            keys: KeyStore::new(state_dir.join("keys")),
            serials: state_dir.join("serials"),
        }
    }
}

impl Prepare for FromFiles {
    fn prepare(
        &self,
        section: &config::Zone,
        policy: &config::Policy,
        before: Before<'_>,
        now: u32,
    ) -> anyhow::Result<Prepared> {
        let read = text::load(&section.file, &section.name, Options::default())?;
        for warning in &read.warnings {
            tracing::warn!(zone = %section.name, "{warning}");
        }
        let files = read.files.iter().map(PathBuf::from).collect();
        let mut is_verified = section.dnssec != config::Dnssec::Off;
        let (zone, expiration) = match section.dnssec {
            config::Dnssec::Off => match policy.any {
                config::Any::Rrset => (read.zone, None),
                config::Any::Hinfo => {
                    let beside = any::unsigned(&read.zone)?;
                    (read.zone.with_beside(beside), None)
                }
            },
            config::Dnssec::Presigned if !section.verify => {
                let expiration = first_expiration(&read.zone, now);
                is_verified = false;
                (read.zone, expiration)
            }
            config::Dnssec::Presigned => {
                let report = verify_again(&read.zone, before.verified, now)
                    .map_err(|faults| told(&faults))?;
                (read.zone, Some(report.expiration))
            }
            config::Dnssec::Sign => {
                let serials = SerialFile::of(&self.serials, &section.name);
                let last = newer(before.serial, serials.read()?);
                let serial = serial_to_serve(read.zone.serial(), last);
                let zone = with_serial(read.zone, serial)?;
                let signed = self.sign(&zone, before.verified, policy, now)?;
                let report =
                    verify_again(&signed, before.verified, now).map_err(|faults| told(&faults))?;
                serials.write(serial)?;
                (signed, Some(report.expiration))
            }
        };
        Ok(Prepared { zone, files, expiration, is_verified })
    }
}

impl FromFiles {
    fn sign(
        &self,
        zone: &Zone,
        before: Option<&Zone>,
        policy: &config::Policy,
        now: u32,
    ) -> anyhow::Result<Zone> {
        let refresh = policy.refresh.seconds();
        let fresh = policy.signature_validity.seconds().saturating_sub(refresh);
        let least = refresh + fresh / KEPT_PART;
        let layout = match policy.keys {
            config::KeyLayout::KskZsk => KeyLayout::KskZsk,
            config::KeyLayout::Csk => KeyLayout::Csk,
        };
        let algorithm = match policy.algorithm {
            config::Algorithm::Ecdsap256sha256 => Algorithm::EcdsaP256Sha256,
            config::Algorithm::Ecdsap384sha384 => Algorithm::EcdsaP384Sha384,
            config::Algorithm::Ed25519 => Algorithm::Ed25519,
        };
        let (keys, are_new) = self
            .keys
            .load_or_generate(zone.apex(), layout, algorithm, now)
            .context("the zone's keys")?;
        if are_new {
            for key in &keys {
                let file = self.keys.path_of(key);
                tracing::info!(zone = %zone.apex(), tag = key.tag(), "made {}", file.display());
            }
        }
        let policy = SigningPolicy {
            denial: match policy.denial {
                config::Denial::Nsec => Denial::Nsec,
                config::Denial::Nsec3 => Denial::Nsec3 { opt_out: false },
                config::Denial::Nsec3OptOut => Denial::Nsec3 { opt_out: true },
            },
            any: match policy.any {
                config::Any::Rrset => Any::Rrset,
                config::Any::Hinfo => Any::Hinfo,
            },
            serial: SerialPolicy::Keep,
            validity: policy.signature_validity.seconds(),
            ..SigningPolicy::default()
        };
        let before = before.map(|before| (before, least));
        let (signed, statistics) = sign_again(zone, before, &keys, &policy, now)?;
        if statistics.dropped_digests > 0 {
            tracing::warn!(
                zone = %zone.apex(),
                "the ZONEMD records of the file are left out: they are of the zone before it was signed"
            );
        }
        let (made, kept) = (statistics.signatures, statistics.kept);
        tracing::debug!(zone = %zone.apex(), made, kept, "signed");
        Ok(signed)
    }
}

/// What is wrong with a zone's signatures, for people.
fn told(faults: &[Fault]) -> anyhow::Error {
    let mut text = String::from("a validator would reject the zone: ");
    for (index, fault) in faults.iter().take(TOLD_FAULTS).enumerate() {
        let _ = write!(text, "{}{fault}", if index == 0 { "" } else { "; " });
    }
    if faults.len() > TOLD_FAULTS {
        let _ = write!(text, "; and {} more", faults.len() - TOLD_FAULTS);
    }
    anyhow::Error::msg(text)
}

/// The newer of two serials (RFC 1982).
fn newer(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if serial::is_newer(b, a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The file's serial if secondaries will take it for newer than the last one, else one that they
/// will: every signing makes other records, which they must fetch.
fn serial_to_serve(in_file: u32, last: Option<u32>) -> u32 {
    match last {
        Some(last) if !serial::is_newer(in_file, last) => serial::next(last),
        _ => in_file,
    }
}

/// The same zone with another SOA serial.
fn with_serial(zone: Zone, serial: u32) -> Result<Zone, ZoneError> {
    if zone.serial() == serial {
        return Ok(zone);
    }
    let mut builder = ZoneBuilder::new(zone.apex().clone());
    builder.copy(&zone, |_, rrset| rrset.rtype() != Rtype::SOA)?;
    if let Some(soa) = zone.soa() {
        for rdata in soa.rdatas() {
            let mut rdata = rdata.to_vec();
            // Five numbers of 32 bits end the RDATA; the serial is the first of them.
            if let Some(place) =
                rdata.len().checked_sub(20).and_then(|at| rdata.get_mut(at..at + 4))
            {
                place.copy_from_slice(&serial.to_be_bytes());
            }
            builder.push(zone.apex().as_wire(), Rtype::SOA, soa.ttl(), &rdata)?;
        }
    }
    builder.finish()
}

/// Where the last serial that was served of a zone is kept, so that it does not go back when the
/// daemon is started again.
struct SerialFile(PathBuf);

impl SerialFile {
    fn of(folder: &Path, zone: &Name) -> SerialFile {
        let mut file = String::new();
        for label in name::labels(zone.as_wire()) {
            for &octet in label {
                if octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_' {
                    file.push(octet.into());
                } else {
                    let _ = write!(file, "%{octet:02X}");
                }
            }
            file.push('.');
        }
        // The root zone has no label, and a file needs a name.
        file.push_str("serial");
        SerialFile(folder.join(file))
    }

    fn read(&self) -> anyhow::Result<Option<u32>> {
        let text = match std::fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.0.display().to_string()),
        };
        let serial = text.trim().parse().with_context(|| {
            format!("{} holds no serial: remove it or write one", self.0.display())
        })?;
        Ok(Some(serial))
    }

    fn write(&self, serial: u32) -> anyhow::Result<()> {
        let written = (|| {
            if let Some(folder) = self.0.parent() {
                std::fs::create_dir_all(folder)?;
            }
            // A crash leaves the old file or the new one, never half of one.
            let mut temporary = self.0.clone().into_os_string();
            temporary.push(".new");
            std::fs::write(&temporary, format!("{serial}\n"))?;
            std::fs::rename(&temporary, &self.0)
        })();
        written.with_context(|| self.0.display().to_string())
    }
}

/// What `zone check` finds in a master file.
#[derive(Debug, Default)]
pub struct Report {
    /// The serial, if the file is a zone.
    pub serial: Option<u32>,
    /// The number of records, if the file is a zone.
    pub records: Option<usize>,
    /// Whether the zone is signed.
    pub is_signed: bool,
    /// What keeps it from being served.
    pub problems: Vec<String>,
    /// What does not, but is likely a mistake.
    pub warnings: Vec<String>,
}

/// Reads the zone `apex` from `file` and, if it is signed, verifies it at the time `now`.
pub fn check(file: &Path, apex: &Name, now: u32) -> Report {
    let read = match text::load(file, apex, Options::default()) {
        Ok(read) => read,
        Err(error) => return Report { problems: vec![error.to_string()], ..Report::default() },
    };
    let apex_owner = read.zone.find(apex.as_wire());
    let is_signed = apex_owner.is_some_and(|owner| owner.rrset(Rtype::DNSKEY).is_some());
    let faults = if is_signed { verify(&read.zone, now).err() } else { None };
    Report {
        serial: Some(read.zone.serial()),
        records: Some(read.zone.record_count()),
        is_signed,
        problems: faults.into_iter().flatten().map(|fault| fault.to_string()).collect(),
        warnings: read.warnings.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::name_from_text;
    use crate::server::testing;

    #[test]
    fn serials_go_forward_and_follow_the_file_where_it_does() {
        assert_eq!(serial_to_serve(5, None), 5);
        assert_eq!(serial_to_serve(6, Some(5)), 6);
        assert_eq!(serial_to_serve(5, Some(5)), 6);
        assert_eq!(serial_to_serve(5, Some(9)), 10);
        assert_eq!(serial_to_serve(1, Some(u32::MAX)), 1);
        assert_eq!(newer(Some(1), Some(u32::MAX)), Some(1));
        assert_eq!(newer(None, Some(3)), Some(3));
    }

    #[test]
    fn a_zone_takes_another_serial_and_nothing_else_changes() {
        let zone = testing::zone(7, 3);
        let other = with_serial(Zone::clone(&zone), 9).unwrap();
        assert_eq!((zone.serial(), other.serial()), (7, 9));
        assert_eq!(other.negative_ttl(), zone.negative_ttl());
        assert_eq!(other.record_count(), zone.record_count());
    }

    #[test]
    fn serials_are_kept_under_names_that_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        for zone in ["example.", ".", "\\.\\./x.", "a/b."] {
            let file = SerialFile::of(folder.path(), &name_from_text(zone).unwrap());
            assert_eq!(file.0.parent(), Some(folder.path()), "{zone}");
            assert_eq!(file.read().unwrap(), None);
            file.write(4_000_000_000).unwrap();
            assert_eq!(file.read().unwrap(), Some(4_000_000_000));
        }
    }
}
