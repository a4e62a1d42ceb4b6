//! Zones from master files: read, signed, verified.

use std::path::{Path, PathBuf};

use xdp_common::image::bounds::MAX_SALT;

use super::kept::{KeptFacts, KeptVersion, KeptZones, settings};
use super::signing::{Signing, rejection, with_serial};
use super::stamp::Stamp;
use super::state::{CurrentVersion, LastServed, Prepare, Prepared};
use super::store::is_merged_at_once;
use super::verified::{Step, Verification};
use crate::check::{self, Severity};
use crate::compile::{self, FaultyRecord};
use crate::config::{self, Config};
use crate::dnssec::any;
use crate::dnssec::denial::Parameters;
use crate::dnssec::lasting::begins_at;
use crate::dnssec::policy::AnyResponse;
use crate::dnssec::times::is_before;
use crate::dnssec::verify::{Fault, first_expiration, verify};
use crate::dnssec::zonemd;
use crate::zone::difference::{Difference, Rules};
use crate::zone::text::{self, Options, Place, Places};
use crate::zone::{Name, Rtype, Serial, Version, Zone};

/// Takes zones from the files that the configuration names.
pub struct ZoneFiles {
    signing: Signing,
    /// Where versions are kept of zones that sealdns does not sign.
    served: KeptZones,
}

impl ZoneFiles {
    /// Keys and what else is kept of zones are in the configuration's state directory.
    pub fn new(config: &Config) -> ZoneFiles {
        let served = KeptZones::new(config.server.state_dir.join("served"));
        ZoneFiles { signing: Signing::new(config), served }
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
            return self.signing.prepare(section, policy, before, now);
        }
        if let Some(instead) = before.instead {
            return roll_back(section, policy, before, &instead.zone);
        }
        let read = text::load(&section.file, &section.name, Options::default())?;
        for warning in &read.warnings {
            tracing::warn!(zone = %section.name, "{warning}");
        }
        if section.dnssec == config::Dnssec::Presigned
            && let Some(advice) = advice(&read.zone)
        {
            tracing::warn!(zone = %section.name, "{advice}");
        }
        let files = Some(read.files.iter().map(PathBuf::from).collect());
        if section.dnssec == config::Dnssec::Off {
            let (zone, change) = after(before.served, with_any_answers(read.zone, policy)?)?;
            return Ok(Prepared { files, change, ..Prepared::of(zone) });
        }
        let file = read.zone;
        let (zone, change) = after(before.served, file.clone())?;
        let verification = match section.verify {
            config::Verify::Never => None,
            how => verified(how == config::Verify::First, &file, before, &zone, &change, now)?,
        };
        let (expiration, begins_at) = match &verification {
            Some(known) => (Some(known.report.expiration), known.begins_at(&file, now)),
            None => (first_expiration(&file, now), begins_at(&file, now)),
        };
        Ok(Prepared { files, change, expiration, begins_at, verification, ..Prepared::of(zone) })
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
        let kept = match is_ours {
            true => self.signing.last_served(&section.name),
            false => self.last_served(section),
        }?;
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
        let KeptVersion { zone, files: kept_in, facts, place, .. } = kept;
        let KeptFacts { origin, is_verified, stamps, settings: then, .. } = facts;
        let known = verification.as_ref().filter(|_| is_ours);
        let inception = known.and_then(|known| known.times.validity(now));
        // Of a zone that sealdns signs the keys and the policy must be looked at, too.
        let is_current = !is_ours
            && then == settings(section, policy)
            && stamps.first().is_some_and(|stamp| stamp.path() == section.file)
            && stamps.iter().all(Stamp::holds);
        let prepared = Prepared {
            expiration,
            inception: inception.map(|validity| validity.inception),
            begins_at,
            // What is withheld was found wrong: it is verified again while it is served.
            verification: verification.filter(|_| is_verified),
            origin,
            ..Prepared::of(zone)
        };
        Some(LastServed { prepared, kept_in, stamps, place, is_current })
    }
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

/// What is known of a version of a zone that somebody else signed and whose file was read, after what is served: by what
/// changed, or else by all of it where it must be verified before it is served (`is_first`); `None` if that is done while it is.
fn verified(
    is_first: bool,
    file: &Zone,
    before: CurrentVersion<'_>,
    new: &Version,
    change: &Option<Difference>,
    now: u32,
) -> Result<Option<Verification>, RejectedZone> {
    let old = before.served.zip(before.verification);
    let step = old.zip(change.as_ref());
    let step = step.map(|((old, verification), change)| Step { old, verification, new, change });
    let verified = match step.map_or(Ok(None), |step| Verification::of_change(step, now)) {
        Ok(Some(verification)) => return Ok(Some(verification)),
        // What is wrong is found there, and withheld.
        _ if !is_first => return Ok(None),
        Ok(None) => Verification::of_whole(file, before.verified, now),
        Err(faults) => Err(faults),
    };
    let why = |faults: Vec<Fault>| rejection(&faults).to_string();
    let rejected = |faults| RejectedZone { why: why(faults), begins_at: begins_at(file, now) };
    verified.map(Some).map_err(rejected)
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
