//! Zones that sealdns signs: from the file or, where that cannot be, from the records in hand.
//!
//! A signature that falls due must be made whatever else is ill. So nothing is asked for that is not needed:
//! the records in hand are signed when the file has not changed, cannot be read, or is no zone; serials and
//! signed zones that cannot be kept are told, and do not stop it.

mod change;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use change::{KEPT_PART, MadeVersion, NextVersion, SignedVersion, Unsigned};

use super::kept::{KeptVersion, KeptZones, KnownDigests};
use super::locks::{Lock, Rank};
use super::serials::SerialFile;
use super::state::{CurrentVersion, NoTransfer, Prepared, is_due};
use super::store::is_merged_at_once;
use super::verified::{Step, Verification};
use crate::config::{self, Config};
use crate::dnssec::keys::store::{KeyStore, StoreError};
use crate::dnssec::keys::{Key, in_use};
use crate::dnssec::origin::{self, Origin};
use crate::dnssec::policy::SigningPolicy;
use crate::dnssec::sign::sign_again;
use crate::dnssec::verify::Fault;
use crate::files;
use crate::transfer::incoming::Transferred;
use crate::zone::difference::{Difference, RecordRef};
use crate::zone::text::{self, Options};
use crate::zone::{Name, Rtype, Serial, Version, Zone, ZoneError, ZoneWriter, faults, soa};

/// Whether a version becomes flat in the change when so much changed that this is due: not in unit tests, where it is always due, since
/// their zones are small.
const IS_MERGED: bool = !cfg!(test);

/// Signs zones with the keys of a state directory.
pub struct Signing {
    keys: KeyStore,
    serials: PathBuf,
    kept: KeptZones,
    /// Of zones whose signatures are made anew in steps the name with which to go on.
    renewed_to: Lock<BTreeMap<Name, Name>>,
}

/// The records to be signed.
struct Input<'a> {
    /// They, and the files that they were read from if they were. `None`: those in hand.
    read: Option<(Zone, Option<Vec<PathBuf>>)>,
    /// What has come from a primary that changes those in hand.
    differences: Option<&'a [Difference]>,
    /// Why those in hand are taken, if it is not because nothing changed.
    fault: Option<anyhow::Error>,
}

impl Signing {
    /// Keys are in the folder `keys` of the state directory, serials that were used in `serials`, what was
    /// served in `signed`.
    pub fn new(config: &Config) -> Signing {
        let state_dir = &config.server.state_dir;
        let signing = Signing {
            keys: KeyStore::new(config.server.key_dir()),
            serials: state_dir.join("serials"),
            kept: KeptZones::new(state_dir.join("signed")),
            renewed_to: Lock::new(Rank::Renewals, BTreeMap::new()),
        };
        for folder in [&signing.serials, &config.server.key_dir()] {
            files::sweep(folder);
        }
        signing
    }

    /// The same, with files some of which were summed up already.
    pub fn knowing(self, digests: &Arc<KnownDigests>) -> Signing {
        Signing { kept: self.kept.knowing(Arc::clone(digests)), ..self }
    }

    /// Where what is served is kept for the next start.
    pub fn kept_zones(&self) -> &KeptZones {
        &self.kept
    }

    /// As [`Prepare::note_serial`](super::state::Prepare::note_serial).
    ///
    /// # Errors
    /// As there.
    pub fn note_serial(&self, zone: &Name, serial: Serial, must_last: bool) -> anyhow::Result<()> {
        let file = SerialFile::of(&self.serials, zone);
        if must_last { file.write(serial) } else { file.hint(serial) }
    }

    /// What was served when the daemon ran last, if no newer serial may have been served since.
    pub fn last_served(&self, apex: &Name) -> Option<KeptVersion> {
        let kept = self.kept.open(apex)?;
        let last = SerialFile::of(&self.serials, apex).read().ok()?;
        let is_last = last.is_none_or(|last| !last.is_newer_than(kept.zone.serial()));
        (kept.facts.origin.is_some() && is_last).then_some(kept)
    }

    /// A signed version of the zone, of the newest records that can be had. `now` is seconds since 1970,
    /// truncated to 32 bits.
    pub fn prepare(
        &self,
        section: &config::Zone,
        policy: &config::Policy,
        before: CurrentVersion<'_>,
        now: u32,
    ) -> anyhow::Result<Prepared> {
        if let (Some(zone), Some(origin)) = (before.verified, before.origin) {
            let is_served = before.served.is_some_and(|served| served.is_same(zone));
            let looked_at = match before.verification.filter(|_| is_served) {
                Some(_) => None,
                None => Verification::of_whole(&zone.flat()?, Some(zone), now).ok(),
            };
            let verification = before.verification.filter(|_| is_served).or(looked_at.as_ref());
            let served = SignedVersion::new(zone, origin, is_served, verification, now);
            return self.prepare_after(section, policy, before, Some(&served), now);
        }
        // Nothing is served yet that we signed.
        let Some((kept, origin)) = self.kept(&section.name, before) else {
            return self.prepare_after(section, policy, before, None, now);
        };
        let from_primary = kept.facts.from_primary;
        let (known, zone) = (kept.verify_again(now)?, kept.zone);
        let kept = SignedVersion::new(&zone, &origin, false, known.as_ref(), now);
        let prepared = match self.prepare_after(section, policy, before, Some(&kept), now) {
            Err(error) if known.is_some() => {
                Ok(Prepared { fault: Some(error), ..unchanged(&kept, None) })
            }
            prepared => prepared,
        };
        // Nothing that has come is in it: what it is made of is as old as it was.
        let from_primary = from_primary.filter(|_| before.incoming.is_none());
        prepared.map(|prepared| Prepared { from_primary, ..prepared })
    }

    /// What was served before the daemon was started, if that is known and nothing has been served since.
    fn kept(&self, apex: &Name, before: CurrentVersion<'_>) -> Option<(KeptVersion, Origin)> {
        if before.serial.is_some() {
            return None;
        }
        let mut kept = self.kept.open(apex)?;
        let origin = kept.facts.origin.take()?;
        Some((kept, origin))
    }

    fn prepare_after(
        &self,
        section: &config::Zone,
        policy: &config::Policy,
        before: CurrentVersion<'_>,
        hand: Option<&SignedVersion<'_>>,
        now: u32,
    ) -> anyhow::Result<Prepared> {
        let serials = SerialFile::of(&self.serials, &section.name);
        let input = input(section, before, hand)?;
        let unfit = |why: &str| NoTransfer::Unfit(why.to_owned());
        let keys = self.keys(section, policy, before, hand.is_some() || serials.exists(), now)?;
        // What keys are used for changes at the times in their files.
        let begins_at = in_use::next_change(&keys, now);
        let keys = in_use::in_use(keys, now)?;
        let policy_of_signing = policy.signing();
        let origin = match (&input.read, hand) {
            (Some((zone, _)), _) => Origin::new(zone, &keys, &policy_of_signing),
            (None, Some(hand)) if input.differences.is_some() => {
                let manner = origin::manner(&keys, &policy_of_signing);
                let differences = input.differences.unwrap_or_default();
                let content = origin::content_after(&hand.origin.content, differences);
                Origin { content, manner, ..hand.origin.clone() }
            }
            (None, Some(hand)) => {
                let manner = origin::manner(&keys, &policy_of_signing);
                Origin { manner, ..hand.origin.clone() }
            }
            (None, None) => anyhow::bail!("there is nothing to sign"),
        };
        let files = input.read.as_ref().and_then(|(_, files)| files.clone());
        let last = self.last_serial(&serials, &section.name, before, hand);
        let is_last = |hand: &&SignedVersion<'_>| last == Some(hand.zone.serial());
        let fresh = hand.filter(is_last).filter(|hand| is_fresh(hand, &origin, policy, now));
        if let Some(hand) = fresh {
            return match input.fault {
                // Nothing would be other than it is: that the file is at fault is all there is to say.
                Some(fault) if hand.is_served => Err(fault),
                fault => Ok(Prepared { fault, begins_at, ..unchanged(hand, files) }),
            };
        }
        let base = hand.filter(is_last).filter(|hand| hand.verification.is_some());
        let (keys, how) = (&keys[..], &policy_of_signing);
        let changed = match base {
            Some(base) => {
                let renewed_to = Cell::new(self.renewed_to.hold().remove(&section.name));
                let origin = &origin;
                let next = NextVersion { base, origin, keys, how, policy, renewed_to, now };
                let unsigned = match (input.differences, &input.read) {
                    (Some(differences), _) => Unsigned::Differences(differences),
                    (None, Some((zone, _))) => Unsigned::Zone(zone),
                    (None, None) => Unsigned::Same,
                };
                let changed = changed(&next, unsigned)?;
                if let Some(name) = next.renewed_to.take() {
                    self.renewed_to.hold().insert(section.name.clone(), name);
                }
                changed
            }
            None => None,
        };
        let (signed, change, verification) = match changed {
            Some((signed, change, verification)) => (signed, Some(change), verification),
            None if input.differences.is_some() => {
                return Err(unfit("the zone must be signed as a whole").into());
            }
            None => {
                let unsigned = match (input.read, hand) {
                    (Some((zone, _)), _) => zone,
                    (None, Some(hand)) => hand.origin.unsigned(hand.zone)?,
                    (None, None) => anyhow::bail!("there is nothing to sign"),
                };
                let serial = serial_to_serve(unsigned.serial(), last);
                let unsigned = with_serial(unsigned, serial)?;
                let valid = hand.filter(|hand| hand.verification.is_some());
                let valid = valid.map(|hand| hand.zone);
                let valid = valid.or(before.verified);
                let signed = sign(&unsigned, valid, keys, how, policy, now)?;
                drop(unsigned);
                let verified = Verification::of_whole(&signed, valid, now);
                let verification = verified.map_err(|faults| rejection(&faults))?;
                (Version::of(signed), None, verification)
            }
        };
        let inception = verification.times.validity(now).map(|validity| validity.inception);
        if let Err(error) = self.keys.mark(&section.name) {
            tracing::debug!(zone = %section.name, "marking its keys: {error}");
        }
        Ok(Prepared {
            files,
            change: change.filter(|_| base.is_some_and(|base| base.is_served)),
            expiration: Some(verification.report.expiration),
            inception,
            begins_at,
            verification: Some(verification),
            origin: Some(origin),
            fault: input.fault,
            ..Prepared::of(signed)
        })
    }

    /// The zone's keys, which are made if it never had any.
    fn keys(
        &self,
        section: &config::Zone,
        policy: &config::Policy,
        before: CurrentVersion<'_>,
        was_signed: bool,
        now: u32,
    ) -> anyhow::Result<Vec<Key>> {
        let zone = &section.name;
        let layout = policy.keys;
        let was_signed = was_signed || before.is_signed || self.kept.exists(zone);
        let found = if was_signed {
            self.keys.load_known(zone, layout).map(|keys| (keys, false))
        } else {
            self.keys.load_or_generate(zone, layout, policy.algorithm, now)
        };
        let (keys, are_new) = found.map_err(|error| match error {
            // It says which keys it means.
            StoreError::Gone { .. } => error.into(),
            error => anyhow::Error::from(error).context("the zone's keys"),
        })?;
        if are_new {
            for key in &keys {
                let file = self.keys.path_of(key);
                tracing::info!(%zone, tag = key.tag(), "made {}", file.display());
            }
        }
        Ok(keys)
    }

    /// The newest serial that may have been served.
    fn last_serial(
        &self,
        serials: &SerialFile,
        zone: &Name,
        before: CurrentVersion<'_>,
        hand: Option<&SignedVersion<'_>>,
    ) -> Option<Serial> {
        let hint = serials.read().unwrap_or_else(|error| {
            tracing::warn!(%zone, "the last serial cannot be read: {error:#}");
            None
        });
        newer(newer(hint, before.serial), hand.map(|hand| hand.zone.serial()))
    }
}

/// The next version of a zone, how it differs from the one before, and what is known of it; made of what changed. `None`
/// if it must be signed as a whole.
fn changed(
    next: &NextVersion<'_>,
    unsigned: Unsigned<'_>,
) -> anyhow::Result<Option<(Version, Difference, Verification)>> {
    let (base, now) = (next.base, next.now);
    let has_digest = match unsigned {
        Unsigned::Zone(zone) => zone.at_apex().rrset(Rtype::ZONEMD).is_some(),
        Unsigned::Differences(_) | Unsigned::Same => false,
    };
    let Some(MadeVersion { zone, change }) = next.make(unsigned)? else {
        return Ok(None);
    };
    let step = |verification| Step { old: base.zone, verification, new: &zone, change: &change };
    if let Unsigned::Differences(differences) = unsigned {
        let records =
            differences.iter().flat_map(|one| one.removed().iter().chain(one.added().iter()));
        check_owners(&zone, records.map(|record| record.owner))?;
    }
    let by_change = base.verification.map(|known| Verification::of_change(step(known), now));
    let verified = match by_change.unwrap_or(Ok(None)) {
        Ok(Some(verification)) => Ok(verification),
        Ok(None) => Verification::of_whole(&zone.flat()?, Some(base.zone), now),
        Err(faults) => Err(faults),
    };
    match verified {
        Ok(verification) => {
            if has_digest {
                warn_of_dropped_digests(base.zone.apex());
            }
            let zone = match IS_MERGED && is_merged_at_once(&zone) {
                true => Version::of(zone.flat()?),
                false => zone,
            };
            Ok(Some((zone, change, verification)))
        }
        Err(faults) => {
            let why = rejection(&faults);
            tracing::error!(
                zone = %base.zone.apex(),
                "signed as a whole, since what changed came out wrong; please report this fault: {why}"
            );
            Ok(None)
        }
    }
}

/// The records of the file, or those in hand if it has not changed or is at fault.
fn input<'a>(
    section: &config::Zone,
    before: CurrentVersion<'a>,
    hand: Option<&SignedVersion<'_>>,
) -> anyhow::Result<Input<'a>> {
    if section.is_transferred() || before.incoming.is_some() {
        return transferred(before, hand);
    }
    if let Some(instead) = before.instead {
        let origin = instead.origin.as_ref().or(before.origin).context("it was not signed here")?;
        let zone = origin.unsigned(&instead.zone)?;
        return Ok(Input { read: Some((zone, None)), differences: None, fault: None });
    }
    if hand.is_some() && before.is_unchanged {
        return Ok(Input { read: None, differences: None, fault: None });
    }
    match text::load(&section.file, &section.name, Options::default()) {
        Ok(read) => {
            for warning in &read.warnings {
                tracing::warn!(zone = %section.name, "{warning}");
            }
            let files = read.files.iter().map(PathBuf::from).collect();
            Ok(Input { read: Some((read.zone, Some(files))), differences: None, fault: None })
        }
        Err(error) if hand.is_some() => {
            Ok(Input { read: None, differences: None, fault: Some(error.into()) })
        }
        Err(error) => Err(error.into()),
    }
}

/// The records that have come from a primary, or those in hand if none have.
fn transferred<'a>(
    before: CurrentVersion<'a>,
    hand: Option<&SignedVersion<'_>>,
) -> anyhow::Result<Input<'a>> {
    anyhow::ensure!(before.instead.is_none(), "it comes from a primary, whose records it has");
    let same = Input { read: None, differences: None, fault: None };
    match before.incoming.map(|incoming| &incoming.transferred) {
        Some(Transferred::Zone(zone)) => Ok(Input { read: Some((zone.clone(), None)), ..same }),
        Some(Transferred::Differences(differences)) if hand.is_some_and(|hand| hand.is_served) => {
            let is_key = |record: RecordRef<'_>| record.rtype == Rtype::DNSKEY;
            let mut records =
                differences.iter().flat_map(|one| one.removed().iter().chain(one.added().iter()));
            if records.any(is_key) {
                let why = "keys of the primary come or go".to_owned();
                return Err(NoTransfer::Unfit(why).into());
            }
            Ok(Input { differences: Some(&differences[..]), ..same })
        }
        Some(Transferred::Differences(_)) => {
            Err(NoTransfer::Unfit("what they change is not served".to_owned()).into())
        }
        Some(Transferred::UpToDate(_)) | None if hand.is_some() => Ok(same),
        // It was served unsigned before.
        Some(Transferred::UpToDate(_)) | None => {
            let served = before.served.filter(|_| !before.is_signed).ok_or(NoTransfer::None)?;
            Ok(Input { read: Some((served.flat()?.split_any_answers().0, None)), ..same })
        }
    }
}

/// Whether a version is what signing would make, and not due yet.
fn is_fresh(
    version: &SignedVersion<'_>,
    origin: &Origin,
    policy: &config::Policy,
    now: u32,
) -> bool {
    version.origin == origin
        && version.validity.is_some_and(|validity| !is_due(validity, policy, now))
}

/// Whether a version may be served as far as it changed at these owners.
///
/// # Errors
/// If records stand where they must not.
pub(super) fn check_owners<'n>(
    version: &Version,
    owners: impl Iterator<Item = &'n [u8]>,
) -> anyhow::Result<()> {
    for owner in owners.filter_map(|name| version.find(name)) {
        if let Some(fault) = faults::of_owner(version, &owner).first() {
            anyhow::bail!("{}: {}", fault.owner, fault.kind);
        }
    }
    Ok(())
}

/// Faults of a zone that are told in one message; more are only counted.
const TOLD_FAULTS: usize = 5;

/// What is wrong with a zone's signatures, for people.
pub(super) fn rejection(faults: &[Fault]) -> anyhow::Error {
    let mut text = String::from("a validator would reject the zone: ");
    for (index, fault) in faults.iter().take(TOLD_FAULTS).enumerate() {
        let _ = write!(text, "{}{fault}", if index == 0 { "" } else { "; " });
    }
    if faults.len() > TOLD_FAULTS {
        let _ = write!(text, "; and {} more", faults.len() - TOLD_FAULTS);
    }
    anyhow::Error::msg(text)
}

/// A version as it is.
fn unchanged(version: &SignedVersion<'_>, files: Option<Vec<PathBuf>>) -> Prepared {
    let validity = version.validity;
    Prepared {
        files,
        expiration: validity.map(|validity| validity.expiration),
        inception: validity.map(|validity| validity.inception),
        verification: version.verification.cloned(),
        origin: Some(version.origin.clone()),
        is_served: version.is_served,
        // A clone has the same octets.
        ..Prepared::of(version.zone.clone())
    }
}

fn sign(
    zone: &Zone,
    before: Option<&Version>,
    keys: &[Key],
    how: &SigningPolicy,
    policy: &config::Policy,
    now: u32,
) -> anyhow::Result<Zone> {
    let refresh = policy.refresh.seconds();
    let fresh = policy.signature_validity.seconds().saturating_sub(refresh);
    let least = refresh + fresh / KEPT_PART;
    let before = before.map(|before| (before, least));
    let (signed, statistics) = sign_again(zone, before, keys, how, now)?;
    if statistics.dropped_digests > 0 {
        warn_of_dropped_digests(zone.apex());
    }
    let (made, kept) = (statistics.signatures, statistics.kept);
    tracing::debug!(zone = %zone.apex(), made, kept, "signed");
    Ok(signed)
}

fn warn_of_dropped_digests(zone: &Name) {
    tracing::warn!(
        %zone,
        "the ZONEMD records of the file are left out: they are digests of the zone before it was signed"
    );
}

/// The newer of two serials (RFC 1982).
fn newer(a: Option<Serial>, b: Option<Serial>) -> Option<Serial> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.is_newer_than(a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The file's serial if secondaries will take it for newer than the last one, else one that they
/// will: every signing makes other records, which they must fetch.
fn serial_to_serve(in_file: Serial, last: Option<Serial>) -> Serial {
    match last {
        Some(last) if !in_file.is_newer_than(last) => last.next(),
        _ => in_file,
    }
}

/// The same zone with another SOA serial.
pub(super) fn with_serial(zone: Zone, serial: Serial) -> Result<Zone, ZoneError> {
    if zone.serial() == serial {
        return Ok(zone);
    }
    let mut writer = ZoneWriter::with_capacity(zone.apex().clone(), zone.octets());
    for owner in zone.owners() {
        writer.owner(owner.name())?;
        for rrset in owner.rrsets() {
            if rrset.rtype() != Rtype::SOA {
                writer.rrset(rrset.rtype(), rrset.ttl(), rrset.rdatas())?;
                continue;
            }
            let mut soas: Vec<Vec<u8>> = rrset.rdatas().map(<[u8]>::to_vec).collect();
            for soa in &mut soas {
                soa::set_serial(soa, serial);
            }
            writer.rrset(Rtype::SOA, rrset.ttl(), soas.iter().map(Vec::as_slice))?;
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
