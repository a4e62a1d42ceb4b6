//! Zones from master files and from primaries: read, signed, verified.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xdp_common::image::bounds::MAX_SALT;

use super::kept::{
    self, FromPrimary, KeptFacts, KeptVersion, KeptZones, KnownDigests, UnsummedFiles, settings,
};
use super::life::refresh::Timers;
use super::secondary::Confirmations;
use super::signing::{Signing, check_owners, rejection, with_serial};
use super::stamp::Stamp;
use super::state::{CurrentVersion, LastServed, NoTransfer, Prepare, Prepared};
use super::store::is_merged_at_once;
use super::verified::{Step, Verification};
use crate::check::{self, Severity};
use crate::compile::{self, FaultyRecord};
use crate::config::{self, CatalogRole, Config};
use crate::datapath::seam::ExpectedSize;
use crate::dnssec::any;
use crate::dnssec::denial::Parameters;
use crate::dnssec::lasting::begins_at;
use crate::dnssec::policy::AnyResponse;
use crate::dnssec::times::is_before;
use crate::dnssec::verify::{Fault, first_expiration, verify};
use crate::dnssec::zonemd;
use crate::transfer::catalog;
use crate::transfer::incoming::Transferred;
use crate::zone::difference::{ApplyError, Difference, Rules};
use crate::zone::text::{self, Options, Place, Places};
use crate::zone::{Name, Rtype, Serial, Version, Zone};

/// Takes zones from the files that the configuration names.
pub struct ZoneFiles {
    signing: Signing,
    /// When primaries were heard of last.
    confirmations: Confirmations,
    /// Where versions are kept of zones that sealdns does not sign.
    served: KeptZones,
}

/// How much room the zones of a configuration will take that are kept compiled.
pub fn expected_size(config: &Config) -> ExpectedSize {
    kept::expected_size(config, &kept_folders(config))
}

/// The large files that [`ZoneFiles`] will read of what was served last.
pub fn unsummed_files(config: &Config) -> UnsummedFiles {
    kept::unsummed_files(config, &kept_folders(config))
}

fn kept_folders(config: &Config) -> [PathBuf; 2] {
    ["signed", "served"].map(|folder| config.server.state_dir.join(folder))
}

impl ZoneFiles {
    /// Keys and what else is kept of zones are in the configuration's state directory.
    pub fn new(config: &Config) -> ZoneFiles {
        let served = KeptZones::new(config.server.state_dir.join("served"));
        let confirmations = Confirmations::of(&config.server.state_dir);
        ZoneFiles { signing: Signing::new(config), confirmations, served }
    }

    /// The same, with files some of which were summed up already.
    pub fn knowing(self, digests: KnownDigests) -> ZoneFiles {
        let digests = Arc::new(digests);
        let (signing, served) = (self.signing.knowing(&digests), self.served.knowing(digests));
        ZoneFiles { signing, served, ..self }
    }

    /// The version that was served when the daemon ran last of a zone that sealdns does not sign.
    fn last_served(&self, section: &config::Zone) -> Option<KeptVersion> {
        let kept = self.served.open(&section.name)?;
        // What is signed and what is not are not the same zone to a resolver: it changes when the whole is known.
        let apex = kept.zone.find(section.name.as_wire());
        let is_signed = apex.is_some_and(|apex| apex.rrset(Rtype::DNSKEY).is_some());
        let fits = match section.dnssec {
            config::Dnssec::Off => !is_signed,
            config::Dnssec::Presigned => {
                is_signed && (kept.facts.is_verified || section.verify != config::Verify::First)
            }
            config::Dnssec::Sign => false,
        };
        fits.then_some(kept)
    }
}

impl Prepare for ZoneFiles {
    fn prepare(
        &self,
        section: &config::Zone,
        policy: &config::Policy,
        before: CurrentVersion<'_>,
        now: u32,
    ) -> anyhow::Result<Prepared> {
        if section.dnssec == config::Dnssec::Sign {
            let prepared = self.signing.prepare(section, policy, before, now)?;
            let known = prepared.from_primary;
            let from_primary = known.or_else(|| from_primary(before, &prepared.zone, now));
            return Ok(Prepared { from_primary, ..prepared });
        }
        if section.catalog == CatalogRole::Produce {
            return made_catalog(section, before, now);
        }
        let is_begun = section.is_updated() && before.is_unchanged && before.served.is_some();
        let is_updated = before.incoming.is_some() || is_begun && before.instead.is_none();
        if section.is_transferred() || is_updated {
            let prepared = transferred(section, policy, before, now)?;
            let from_primary = from_primary(before, &prepared.zone, now);
            return Ok(Prepared { from_primary, ..prepared });
        }
        if let Some(instead) = before.instead {
            return roll_back(section, policy, before, &instead.zone);
        }
        let read = text::load(&section.file, &section.name, Options::default())?;
        for warning in &read.warnings {
            tracing::warn!(zone = %section.name, "{warning}");
        }
        let files = Some(read.files.iter().map(PathBuf::from).collect());
        Ok(Prepared { files, ..of_whole(section, policy, before, read.zone, now)? })
    }

    fn kept_zones(&self, section: &config::Zone) -> Option<&KeptZones> {
        Some(match section.dnssec {
            config::Dnssec::Sign => self.signing.kept_zones(),
            config::Dnssec::Presigned | config::Dnssec::Off => &self.served,
        })
    }

    fn note_serial(
        &self,
        section: &config::Zone,
        serial: Serial,
        must_last: bool,
    ) -> anyhow::Result<()> {
        match section.dnssec {
            config::Dnssec::Sign => self.signing.note_serial(&section.name, serial, must_last),
            // Whoever makes the zone sees to its serials.
            config::Dnssec::Presigned | config::Dnssec::Off => Ok(()),
        }
    }

    fn kept(
        &self,
        section: &config::Zone,
        policy: &config::Policy,
        now: u32,
    ) -> Option<LastServed> {
        let is_ours = section.dnssec == config::Dnssec::Sign;
        let mut kept = match is_ours {
            true => self.signing.last_served(&section.name),
            false => self.last_served(section),
        }?;
        if section.is_transferred() {
            let known = kept.facts.from_primary.as_mut()?;
            known.at = self.confirmations.last(&section.name, known.at);
            // What a catalog listed last stays so; what is served of it expires at once.
            let is_catalog = section.catalog == CatalogRole::Consume;
            if !is_catalog && is_expired(&kept.zone, known.at, now) {
                tracing::error!(
                    zone = %section.name,
                    "what was served before is not served again: it has expired while the daemon did not run"
                );
                let kept_zones = self.kept_zones(section)?;
                if let Err(error) = kept_zones.forget(&section.name) {
                    tracing::warn!(zone = %section.name, "it is kept all the same: {error:#}");
                }
                return None;
            }
        }
        let is_unverified = !kept.facts.is_verified && section.verify != config::Verify::First;
        let verification = match section.dnssec {
            config::Dnssec::Off => None,
            config::Dnssec::Presigned if is_unverified => None,
            config::Dnssec::Presigned | config::Dnssec::Sign => Some(kept.verify_again(now).ok()??),
        };
        let expiration = match (&verification, section.dnssec) {
            (Some(known), _) => Some(known.report.expiration),
            (None, config::Dnssec::Off) => None,
            (None, _) => match kept.facts.expiration.filter(|at| is_before(now, *at)) {
                None => first_expiration(&kept.zone.flat().ok()?, now),
                known => known,
            },
        };
        let begins_at = match (section.dnssec, &kept.facts.report) {
            (config::Dnssec::Presigned, None) => begins_at(&kept.zone.flat().ok()?, now),
            (config::Dnssec::Presigned, Some(_)) => kept.facts.begins_at,
            (config::Dnssec::Off | config::Dnssec::Sign, _) => None,
        };
        let KeptVersion { zone, files: kept_in, base, facts, place, .. } = kept;
        let KeptFacts { origin, is_verified, stamps, settings: then, from_primary, .. } = facts;
        let from_primary = from_primary.filter(|_| section.is_transferred());
        let is_as_file_says = stamps.first().is_some_and(|stamp| stamp.path() == section.file)
            && stamps.iter().all(Stamp::holds);
        let known = verification.as_ref().filter(|_| is_ours);
        let inception = known.and_then(|known| known.times.validity(now));
        // Of a zone that sealdns signs the keys and the policy must be looked at, too.
        let is_current = !is_ours
            && then == settings(section, policy)
            // Of a primary's version the primary is asked; the file of a zone that is updated is what it began with.
            && (is_as_file_says || from_primary.is_some() || section.is_updated());
        let prepared = Prepared {
            expiration,
            inception: inception.map(|validity| validity.inception),
            begins_at,
            // What is withheld was found wrong: it is verified again while it is served.
            verification: verification.filter(|_| is_verified),
            origin,
            from_primary,
            ..Prepared::of(zone)
        };
        Some(LastServed { prepared, kept_in, base, stamps, place, is_current })
    }
}

/// The next version of a zone that sealdns does not sign, of all of its records, which were read or have come from a
/// primary.
fn of_whole(
    section: &config::Zone,
    policy: &config::Policy,
    before: CurrentVersion<'_>,
    read: Zone,
    now: u32,
) -> anyhow::Result<Prepared> {
    if section.dnssec == config::Dnssec::Off {
        let (zone, change) = after(before.served, with_any_answers(read, policy)?)?;
        return Ok(Prepared { change, ..Prepared::of(zone) });
    }
    if let Some(advice) = advice(&read) {
        tracing::warn!(zone = %section.name, "{advice}");
    }
    let (zone, change) = after(before.served, read.clone())?;
    let flat = || Ok(read.clone());
    of_presigned(section, before, (zone, change), &flat, now)
}

/// The next version of a zone that somebody else signed, and how it differs from the one that is served. `flat`: all of
/// its records, for what must look at all of them.
fn of_presigned(
    section: &config::Zone,
    before: CurrentVersion<'_>,
    (zone, change): (Version, Option<Difference>),
    flat: &dyn Fn() -> anyhow::Result<Zone>,
    now: u32,
) -> anyhow::Result<Prepared> {
    let verification = match section.verify {
        config::Verify::Never => None,
        how => verified(how == config::Verify::First, flat, before, &zone, &change, now)?,
    };
    let (expiration, begins_at) = match &verification {
        Some(known) => {
            let begins_at = match known.has_later_begin(now) {
                true => begins_at(&flat()?, now),
                false => None,
            };
            (Some(known.report.expiration), begins_at)
        }
        None => {
            let flat = flat()?;
            (first_expiration(&flat, now), begins_at(&flat, now))
        }
    };
    Ok(Prepared { change, expiration, begins_at, verification, ..Prepared::of(zone) })
}

/// The next version of a zone that comes from primaries and that sealdns does not sign: of what has come, or of the records
/// that are served if nothing has.
fn transferred(
    section: &config::Zone,
    policy: &config::Policy,
    before: CurrentVersion<'_>,
    now: u32,
) -> anyhow::Result<Prepared> {
    anyhow::ensure!(
        before.instead.is_none(),
        "it comes from a primary: what that has is served with the serial that it has there"
    );
    let served = match (before.incoming.map(|incoming| &incoming.transferred), before.served) {
        (Some(Transferred::Zone(zone)), _) => {
            check_digest(section, zone)?;
            return of_whole(section, policy, before, zone.clone(), now);
        }
        (_, None) => return Err(NoTransfer::None.into()),
        (_, Some(served)) => served,
    };
    let of_flat = |version: &Version| -> anyhow::Result<Prepared> {
        let zone = version.flat()?.split_any_answers().0.withholding(BTreeSet::new());
        of_whole(section, policy, before, zone, now)
    };
    let Some(Transferred::Differences(differences)) =
        before.incoming.map(|incoming| &incoming.transferred)
    else {
        return of_flat(served);
    };
    let (zone, change) = led_on(served, differences)?;
    if served.any_answers().is_some() || served.withheld().next().is_some() {
        // What stands beside a zone, or is withheld of it, changes by no difference of its records.
        return of_flat(&zone);
    }
    match section.dnssec {
        config::Dnssec::Off => Ok(Prepared { change: Some(change), ..Prepared::of(zone) }),
        config::Dnssec::Presigned | config::Dnssec::Sign => {
            let flat = || Ok(zone.flat()?);
            of_presigned(section, before, (zone.clone(), Some(change)), &flat, now)
        }
    }
}

/// The version to which differences lead from a served one, and how the two differ; at the cost of what changes.
///
/// # Errors
/// [`NoTransfer::Unfit`] if they do not fit; or if what comes out must not be served.
fn led_on(served: &Version, differences: &[Difference]) -> anyhow::Result<(Version, Difference)> {
    let unfit = |error: ApplyError| NoTransfer::Unfit(error.to_string());
    let Some(all) = Difference::condensed(differences).map_err(unfit)? else {
        anyhow::bail!("there is no difference")
    };
    let zone = served.apply(&all, Rules::Strict).map_err(unfit)?;
    let names = || all.removed().iter().chain(all.added().iter()).map(|record| record.owner);
    check_owners(&zone, names())?;
    let change = Difference::between_owners(served, &zone, names());
    let zone = match is_merged_at_once(&zone) {
        true => Version::of(zone.flat()?),
        false => zone,
    };
    Ok((zone, change))
}

/// The next version of a catalog that is made here. Its serial is the time, or one more if that is not later.
fn made_catalog(
    section: &config::Zone,
    before: CurrentVersion<'_>,
    now: u32,
) -> anyhow::Result<Prepared> {
    let made = |serial| catalog::made(&section.name, serial, before.members);
    if let Some(served) = before.served {
        let same = Version::of(made(served.serial())?);
        let differs = Difference::between_at_most(served, &same, 0, &|_, _| true);
        if differs.is_some() {
            return Ok(Prepared { is_served: true, ..Prepared::of(served.clone()) });
        }
    }
    let serial = match before.serial {
        Some(serial) if !Serial(now).is_newer_than(serial) => serial.next(),
        _ => Serial(now),
    };
    let (zone, change) = after(before.served, made(serial)?)?;
    Ok(Prepared { change, ..Prepared::of(zone) })
}

/// Verifies the digest over all of a zone that has come from a primary, if it has one that can be (RFC 8976 section 4).
fn check_digest(section: &config::Zone, zone: &Zone) -> anyhow::Result<()> {
    match zonemd::check(zone) {
        Some(Err(mismatch)) if section.verify != config::Verify::Never => {
            anyhow::bail!("the digest over the zone is wrong: {mismatch}")
        }
        _ => Ok(()),
    }
}

/// Where the next version comes from, if that is a primary: of differences the last one tells its serial there.
fn from_primary(before: CurrentVersion<'_>, zone: &Version, now: u32) -> Option<FromPrimary> {
    let serial = match &before.incoming?.transferred {
        Transferred::Zone(zone) => zone.serial(),
        Transferred::Differences(differences) => differences.last()?.new_serial(),
        Transferred::UpToDate(_) => zone.serial(),
    };
    Some(FromPrimary { serial, at: now })
}

/// Whether a version that a primary had at a time is not to be served any more.
fn is_expired(zone: &Version, at: u32, now: u32) -> bool {
    let timers = zone.soa_fields().map(|soa| Timers::new(soa.refresh, soa.retry, soa.expire));
    timers.is_none_or(|timers| now.wrapping_sub(at) as i32 >= timers.expire as i32)
}

/// An unsigned zone with the records of an earlier version of it, under the next serial.
fn roll_back(
    section: &config::Zone,
    policy: &config::Policy,
    before: CurrentVersion<'_>,
    to: &Version,
) -> anyhow::Result<Prepared> {
    anyhow::ensure!(
        section.dnssec == config::Dnssec::Off,
        "it is signed elsewhere: its SOA record cannot get another serial here"
    );
    let serial = before.serial.unwrap_or(to.serial()).next();
    let zone = with_serial(to.flat()?.split_any_answers().0, serial)?;
    let (zone, change) = after(before.served, with_any_answers(zone, policy)?)?;
    Ok(Prepared { change, ..Prepared::of(zone) })
}

/// An unsigned zone, and beside it what is said to ANY.
fn with_any_answers(zone: Zone, policy: &config::Policy) -> anyhow::Result<Zone> {
    Ok(match policy.any {
        AnyResponse::Rrset => zone,
        AnyResponse::Hinfo => {
            let any_answers = any::unsigned(&zone)?;
            zone.with_any_answers(any_answers)
        }
    })
}

/// A part of a zone's records: where more of them change, a difference would take memory and save no work.
const CHANGED_PART: usize = 4;

/// A zone that was read, as a version that follows the one that is served, and how it differs from that: where little
/// changed, what did not is not in memory twice.
fn after(served: Option<&Version>, zone: Zone) -> anyhow::Result<(Version, Option<Difference>)> {
    let zone = Version::of(zone);
    // What stands beside a zone, or is withheld of it, changes by no difference of its records.
    let is_plain =
        |version: &&Version| version.any_answers().is_none() && version.withheld().next().is_none();
    let Some(served) = served.filter(is_plain).filter(|_| is_plain(&&zone)) else {
        return Ok((zone, None));
    };
    let most = served.record_count() / CHANGED_PART;
    let Some(change) = Difference::between_at_most(served, &zone, most, &|_, _| true) else {
        return Ok((zone, None));
    };
    let next = served.apply(&change, Rules::Strict)?;
    let next = if is_merged_at_once(&next) { zone } else { next };
    Ok((next, Some(change)))
}

/// What is known of a version of a zone that somebody else signed, after what is served: by what
/// changed, or else by all of it where it must be verified before it is served (`is_first`); `None` if that is done while it is.
fn verified(
    is_first: bool,
    flat: &dyn Fn() -> anyhow::Result<Zone>,
    before: CurrentVersion<'_>,
    new: &Version,
    change: &Option<Difference>,
    now: u32,
) -> anyhow::Result<Option<Verification>> {
    let old = before.served.zip(before.verification);
    let step = old.zip(change.as_ref());
    let step = step.map(|((old, verification), change)| Step { old, verification, new, change });
    let verified = match step.map_or(Ok(None), |step| Verification::of_change(step, now)) {
        Ok(Some(verification)) => return Ok(Some(verification)),
        // What is wrong is found there, and withheld.
        _ if !is_first => return Ok(None),
        Ok(None) => Verification::of_whole(&flat()?, before.verified, now),
        Err(faults) => Err(faults),
    };
    let why = |faults: Vec<Fault>| rejection(&faults).to_string();
    verified.map(Some).or_else(|faults| {
        Err(RejectedZone { why: why(faults), begins_at: begins_at(&flat()?, now) }.into())
    })
}

/// A zone that a validator would reject.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct RejectedZone {
    why: String,
    /// When that may be otherwise: a signature begins to be valid.
    pub begins_at: Option<u32>,
}

/// The most faults of a file's text that `zone check` tells.
const CHECKED_FAULTS: usize = 100;

/// What `zone check` finds in a master file.
#[derive(Debug, Default)]
pub struct Report {
    /// The serial, if the file is a zone.
    pub serial: Option<Serial>,
    /// The number of records, if the file is a zone.
    pub records: Option<usize>,
    /// Whether the zone is signed.
    pub is_signed: bool,
    /// All that is wrong: errors before warnings, each in the order of the text.
    pub findings: Vec<Finding>,
    /// Whether there may be more.
    pub has_more: bool,
}

/// Something that is wrong with a master file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a word.
    pub code: &'static str,
    /// What it is, in a sentence.
    pub message: String,
    /// The same for people, with its place, and the line where that helps.
    pub text: String,
}

impl Finding {
    fn new(place: Place, severity: Severity, code: &'static str, message: String) -> Finding {
        let text = match severity {
            Severity::Error => format!("{place}: {message}"),
            Severity::Warning => format!("warning: {place}: {message}"),
        };
        Finding { place, severity, code, message, text }
    }
}

impl Report {
    /// Whether others would take the zone, and it would be served whole.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// Reads the zone `apex` from `file`, looks at it as a whole and, if it is signed, verifies it at the time `now`.
pub fn check(file: &Path, apex: &Name, now: u32) -> Report {
    let read = text::check_file(file, apex, Options::default(), CHECKED_FAULTS);
    let mut report = Report { has_more: read.has_more, ..Report::default() };
    for error in read.faults {
        let text = error.to_string();
        let finding = Finding::new(error.place, Severity::Error, error.code, error.message);
        report.findings.push(Finding { text, ..finding });
    }
    for warning in read.warnings {
        let text::Warning { place, message, code } = warning;
        report.findings.push(Finding::new(place, Severity::Warning, code, message));
    }
    if let Some(zone) = &read.zone {
        check_zone(zone, &read.places, now, &mut report);
    }
    // Stable: what stands at one place stays in the order in which it was found.
    let order = |finding: &Finding| (finding.severity, finding.place.line == 0);
    report.findings.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.place.cmp(&b.place)));
    report
}

fn check_zone(zone: &Zone, places: &Places, now: u32, report: &mut Report) {
    let apex = zone.find(zone.apex().as_wire());
    report.serial = Some(zone.serial());
    report.records = Some(zone.record_count());
    report.is_signed = apex.is_some_and(|owner| owner.rrset(Rtype::DNSKEY).is_some());
    let place = |owner: &Name, rtype| {
        let owner = zone.find(owner.as_wire());
        owner
            .and_then(|owner| places.of_rrset(zone, &owner, rtype))
            .unwrap_or_else(|| places.of_file())
    };
    for found in check::check(zone) {
        let at = places.of_rrset(zone, &zone.owner(found.owner), found.rtype);
        let at = at.unwrap_or_else(|| places.of_file());
        report.findings.push(Finding::new(at, found.severity, found.code, found.message));
    }
    if let Some(Err(mismatch)) = zonemd::check(zone) {
        let at = place(zone.apex(), Rtype::ZONEMD);
        let message = format!("{} {}: {mismatch}", zone.apex(), Rtype::ZONEMD);
        report.findings.push(Finding::new(at, Severity::Error, "zonemd", message));
    }
    if let Some(advice) = advice(zone) {
        let at = place(zone.apex(), Rtype::NSEC3PARAM);
        report.findings.push(Finding::new(at, Severity::Warning, "nsec3-parameters", advice));
    }
    let verified = if report.is_signed { verify(zone, now).err() } else { None };
    let verified = verified.unwrap_or_default();
    let count = verified.len();
    for (number, (faulty_record, message)) in unserved(zone, verified, now).into_iter().enumerate()
    {
        let at = place(&faulty_record.owner, faulty_record.rtype.unwrap_or(Rtype::SOA));
        let code = if number < count { "dnssec" } else { "not-served" };
        report.findings.push(Finding::new(at, Severity::Error, code, message));
    }
}

/// What a validator found in a zone, and what keeps it or a part of it from being served: the daemon compiles it
/// by the same steps.
pub fn unserved(zone: &Zone, verified: Vec<Fault>, now: u32) -> Vec<(FaultyRecord, String)> {
    let blamed = |fault: Fault| {
        let text = fault.to_string();
        (FaultyRecord { owner: fault.owner, rtype: Some(fault.rtype) }, text)
    };
    let mut faults: Vec<_> = verified.into_iter().map(blamed).collect();
    for fault in compile::faults(zone, now) {
        // What both find is one.
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults
}

/// Faults of a zone with the places of the records to blame in its file, in the order of the text; those that have
/// none there come last.
pub fn placed<'f>(
    file: &Path,
    apex: &Name,
    faults: &'f [(FaultyRecord, String)],
) -> Vec<(Option<text::Place>, &'f (FaultyRecord, String))> {
    if faults.is_empty() {
        return Vec::new();
    }
    // It was read before, and is read again with the places of its records.
    let checked = text::check_file(file, apex, Options::default(), 1);
    let (zone, places) = (&checked.zone, &checked.places);
    let place = |faulty_record: &FaultyRecord| {
        let zone = zone.as_ref()?;
        let owner = zone.find(faulty_record.owner.as_wire())?;
        let rtype = faulty_record.rtype.or_else(|| Some(owner.rrsets().next()?.rtype()))?;
        places.of_rrset(zone, &owner, rtype)
    };
    let places = faults.iter().map(|(faulty_record, _)| place(faulty_record)).collect::<Vec<_>>();
    let mut all: Vec<_> = places.into_iter().zip(faults).collect();
    all.sort_by(|(a, _), (b, _)| (a.is_none(), a).cmp(&(b.is_none(), b)));
    all
}

/// The same as lines for people.
pub fn placed_lines(file: &Path, apex: &Name, faults: &[(FaultyRecord, String)]) -> Vec<String> {
    let line = |(place, (_, text)): (Option<text::Place>, &(FaultyRecord, String))| match place {
        Some(place) => format!("{place}: {text}"),
        None => format!("{}: {text}", file.display()),
    };
    placed(file, apex, faults).into_iter().map(line).collect()
}

/// What a signer is advised against and is served all the same (RFC 9276).
fn advice(zone: &Zone) -> Option<String> {
    let apex = zone.find(zone.apex().as_wire())?;
    let Ok(Parameters { iterations, salt }) = Parameters::of(&apex)? else { return None };
    let (what, by_whom) = match (iterations, salt.len()) {
        (0, 0) => return None,
        (0, 1..=MAX_SALT) => ("a salt".to_owned(), ""),
        (0, len) => (format!("a salt of {len} octets"), DAEMON_PROVES),
        (iterations, _) => (format!("{iterations} additional iterations"), DAEMON_PROVES),
    };
    Some(format!("NSEC3 with {what} is advised against (RFC 9276 section 3.1){by_whom}"))
}

/// What is said of NSEC3 that takes more work than XDP does.
const DAEMON_PROVES: &str = ": the daemon, not XDP, proves that names do not exist";
