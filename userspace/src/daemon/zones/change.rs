//! One zone brought up to date: read, signed, verified, kept, published.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::durable::{Durability, NotDurable, Succession, kind_of};
use super::list::{LARGE_ZONE, Turn, Zones};
use crate::config::{self, CatalogRole};
use crate::control::reply::zone::VersionDifference;
use crate::daemon::kept::{
    FromPrimary, HistoryError, KeepableVersion, KeptBase, KeptFacts, settings,
};
use crate::daemon::life::refresh::Timers;
use crate::daemon::life::{
    Asked, Confirmed, Event, EventKind, EventReason, Facts, Moment, Outcome, Signatures,
};
use crate::daemon::prepare;
use crate::daemon::stamp::Stamp;
use crate::daemon::state::{
    CurrentVersion, Incoming, LastServed, LoadedZone, NoTransfer, Prepared, ReloadResult,
};
use crate::daemon::store::{StoredVersion, is_merged_at_once};
use crate::daemon::verified::Verification;
use crate::datapath::memory::FileMap;
use crate::datapath::seam::Published;
use crate::dnssec::origin::Origin;
use crate::journal::{FrameKind, Place};
use crate::transfer::incoming::Transferred;
use crate::transfer::ixfr::Past;
use crate::zone::difference::{Difference, Size};
use crate::zone::{Rtype, Version};

/// How long a large zone that is ready waits for small ones that are to be loaded, at most.
const SMALL_ONES_FIRST: Duration = Duration::from_secs(60);

/// It waits for those that were to be loaded until so long after its own turn began: they are put off by less.
const SMALL_ONES_WITHIN: Duration = Duration::from_secs(5);

/// Why RRsets are withheld of a zone that is served as it was when the daemon ran last.
const FOUND_BEFORE: &str = "they were found wrong before the daemon was started";

/// To what a zone is brought up to date.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// To what was served when the daemon ran last, if that is known, or else to what the configuration and its files say.
    AsLast,
    /// To what the configuration and its files say.
    AsFilesSay,
    /// To what the configuration says of the records that are served: what its files say could not be made durable.
    WithoutFile,
}

/// The version of a zone that is served while the next one is made.
pub(super) struct ServedVersion {
    pub(super) zone: Version,
    /// The files that it lies in.
    kept_in: Vec<FileMap>,
    /// The newest version that was verified.
    verified: Option<Version>,
    /// What is known of `zone`, if that was verified.
    verification: Option<Verification>,
    pub(super) origin: Option<Origin>,
    pub(super) stamps: Vec<Stamp>,
    from_primary: Option<FromPrimary>,
    /// Where it stands in what is kept of the zone.
    pub(super) kept_at: Option<Place>,
    past: Arc<Past>,
}

impl ServedVersion {
    pub(super) fn of(loaded: &LoadedZone) -> ServedVersion {
        ServedVersion {
            zone: loaded.zone.clone(),
            kept_in: loaded.kept_in.clone(),
            verified: match loaded.verification {
                Some(_) => Some(loaded.zone.clone()),
                None => loaded.verified_before.clone(),
            },
            verification: loaded.verification.clone(),
            origin: loaded.origin.clone(),
            stamps: loaded.stamps.clone(),
            from_primary: loaded.from_primary,
            kept_at: loaded.kept_at,
            past: Arc::clone(&loaded.past),
        }
    }

    /// As it is for an event: what the file says is as good as known where only signatures are due.
    fn before(&self, event: Event) -> CurrentVersion<'_> {
        let apex = self.zone.find(self.zone.apex().as_wire());
        CurrentVersion {
            serial: Some(self.zone.serial()),
            served: Some(&self.zone),
            verified: self.verified.as_ref(),
            verification: self.verification.as_ref(),
            origin: self.origin.as_ref(),
            is_signed: apex.is_some_and(|apex| apex.rrset(Rtype::DNSKEY).is_some()),
            is_unchanged: event.reason != EventReason::Asked
                && !self.stamps.is_empty()
                && self.stamps.iter().all(Stamp::holds),
            instead: None,
            incoming: None,
            members: &[],
        }
    }
}

/// What is known of a zone when it is to be brought up to date.
struct Beginning {
    section: config::Zone,
    policy: config::Policy,
    served: Option<ServedVersion>,
    /// Seconds since 1970, truncated to 32 bits.
    now: u32,
    begun: Instant,
    /// What its file looks like.
    stamp: Option<Stamp>,
}

/// A version that is ready to be served.
struct Ready {
    prepared: Prepared,
    /// What else is known of it if it was served when the daemon ran last.
    last: Option<Last>,
}

/// As [`LastServed`] has it.
pub(super) struct Last {
    /// The version, and the files that its flat zone lies in.
    pub(super) zone: Version,
    kept_in: Vec<FileMap>,
    pub(super) base: KeptBase,
    stamps: Vec<Stamp>,
    place: Place,
    is_current: bool,
}

/// A version that is served from now on.
struct NewlyServed {
    loaded: LoadedZone,
    difference: Option<VersionDifference>,
    facts: Facts,
    /// Why it is not what the configuration and the files say.
    fault: Option<anyhow::Error>,
    /// Why it is not kept for the next start.
    unkept: Option<anyhow::Error>,
}

impl Zones {
    /// Does what a zone's turn is for. The sockets do not follow yet.
    pub(super) fn change(&self, turn: &Turn) -> (Outcome, ReloadResult) {
        let (is_otherwise, is_made, stamps, begins_at) = {
            let mut states = self.states.hold();
            let Some(state) = turn.state(&mut states) else { return GONE };
            let stamps = state.loaded.as_ref().map_or(&[][..], |loaded| &loaded.stamps);
            let is_made = state.section.catalog == CatalogRole::Produce;
            (state.is_otherwise(), is_made, stamps.to_vec(), state.life.begins_at())
        };
        let is_asked_for = turn.asked == Some(Asked::IfChanged) && turn.instead.is_none();
        if turn.asked == Some(Asked::IfChanged) && turn.instead.is_none() && self.is_begun(turn) {
            return (Outcome::Unchanged { begins_at }, ReloadResult::Unchanged);
        }
        // Whoever had the turn before may have read what is asked for.
        if is_asked_for && !is_otherwise && !is_made && stamps.iter().all(Stamp::holds) {
            return (Outcome::Unchanged { begins_at }, ReloadResult::Unchanged);
        }
        let is_reset = self.forget_if_reset(turn);
        let last_will_do = turn.event.kind == EventKind::Load && turn.asked.is_none() && !is_reset;
        self.load(turn, if last_will_do { How::AsLast } else { How::AsFilesSay })
    }

    /// What is told of a zone whose turn has ended in a panic.
    pub(super) fn say_fault(&self, turn: &Turn) -> (Outcome, ReloadResult) {
        let message = "a fault of this program, which is in the log".to_owned();
        if let Some(state) = turn.state(&mut self.states.hold()) {
            state.error = Some(message.clone());
        }
        (Outcome::Failed { begins_at: None }, ReloadResult::Failed(message))
    }

    /// Brings one zone up to date.
    pub(super) fn load_changed(&self, turn: &Turn) -> (Outcome, ReloadResult) {
        self.load(turn, How::AsFilesSay)
    }

    /// Brings one zone up to date.
    fn load(&self, turn: &Turn, how: How) -> (Outcome, ReloadResult) {
        let Some(beginning) = self.beginning(turn) else { return GONE };
        let ready = match self.ready(turn, how, &beginning) {
            Ok(Ready { prepared, .. }) if prepared.is_served => {
                return self.leave(turn, how, prepared, &beginning);
            }
            ready => ready,
        };
        let is_from_last_run = ready.as_ref().is_ok_and(|ready| ready.last.is_some());
        match ready.and_then(|ready| self.serve(turn, how, beginning, ready)) {
            Ok(served) => self.note_served(turn, served),
            Err(error) if is_from_last_run => {
                let name = &turn.name;
                tracing::warn!("zone {name}: what was served before cannot be: {error:#}");
                self.load(turn, How::AsFilesSay)
            }
            // The signatures that are due are made all the same.
            Err(error)
                if error.is::<NotDurable>()
                    && turn.event.is_renewal()
                    && turn.instead.is_none()
                    && how == How::AsFilesSay =>
            {
                self.renew_without_file(turn, &error)
            }
            Err(error) => self.note_failure(turn, &error),
        }
    }

    fn beginning(&self, turn: &Turn) -> Option<Beginning> {
        let mut states = self.states.hold();
        let state = turn.state(&mut states)?;
        let (section, policy) = (state.section.clone(), state.policy.clone());
        let served = state.loaded.as_ref().map(ServedVersion::of);
        drop(states);
        let Moment { wall: now, tick: begun } = self.now();
        // A file that changes while it is read looks changed afterwards.
        let stamp = Stamp::of(&section.file);
        Some(Beginning { section, policy, served, now, begun, stamp })
    }

    /// Makes the next version.
    fn ready(&self, turn: &Turn, how: How, beginning: &Beginning) -> anyhow::Result<Ready> {
        let Beginning { section, policy, served, now, .. } = beginning;
        if how == How::AsLast
            && served.is_none()
            && let Some(last) = self.prepare.kept(section, policy, *now)
        {
            let LastServed { prepared, kept_in, base, stamps, place, is_current } = last;
            let zone = prepared.zone.clone();
            let last = Last { zone, kept_in, base, stamps, place, is_current };
            return Ok(Ready { prepared, last: Some(last) });
        }
        let before = served.as_ref().map(|served| served.before(turn.event)).unwrap_or_default();
        // The file of a zone that is changed by updates is what it began with.
        let is_begun =
            section.is_updated() && served.is_some() && turn.asked != Some(Asked::Always);
        let is_unchanged = before.is_unchanged || how == How::WithoutFile || is_begun;
        let (instead, incoming) = (turn.instead.as_ref(), turn.incoming.as_ref());
        if let Some(Incoming { transferred: Transferred::Differences(_), since }) = incoming {
            // Its own serial says that only of a zone that sealdns does not sign.
            let known = served.as_ref().and_then(|served| served.from_primary);
            let is_same = known.map(|known| known.serial) == *since;
            let unfit = || NoTransfer::Unfit("another version is served by now".to_owned());
            anyhow::ensure!(is_same, unfit());
        }
        let members = &self.made_members(section)[..];
        let before = CurrentVersion { instead, incoming, is_unchanged, members, ..before };
        let prepared = self.prepare.prepare(section, policy, before, *now)?;
        if section.catalog == CatalogRole::Consume {
            // What changes nothing is not served either, so that the next start finds what was followed last.
            let checked = self.catalogs.hold().check(&section.name, &prepared.zone);
            checked.context("the catalog is broken, and changes nothing")?;
        }
        Ok(Ready { prepared, last: None })
    }

    /// Stores the next version, makes it durable, and publishes it.
    fn serve(
        &self,
        turn: &Turn,
        how: How,
        beginning: Beginning,
        ready: Ready,
    ) -> anyhow::Result<NewlyServed> {
        let Beginning { section, policy, served, now, begun, stamp } = beginning;
        let Ready { prepared, last } = ready;
        // Before publishing, which takes most memory.
        let stored = match (&last, &served) {
            // It lies in what is kept of it, unless too much changed since that was written, or it is small.
            (Some(last), _) => (!last.kept_in.is_empty() && !is_merged_at_once(&last.zone))
                .then_some((&last.zone, &last.kept_in[..])),
            (None, served) => served.as_ref().map(|served| (&served.zone, &served.kept_in[..])),
        };
        let StoredVersion { zone, files } = self.store.keep(prepared.zone, stored)?;
        if how == How::AsLast && zone.owner_count() >= LARGE_ZONE {
            self.workers.let_small_ones_pass(begun + SMALL_ONES_WITHIN, SMALL_ONES_FIRST);
        }
        let stamps = match (prepared.files, &last, &served) {
            (Some(files), ..) => stamps_of(stamp, &files, &section.file),
            // Of a file that could not be read nothing is known.
            (None, Some(last), _) => last.stamps.clone(),
            (None, None, served) => {
                served.as_ref().map(|served| served.stamps.clone()).unwrap_or_default()
            }
        };
        let verification = prepared.verification.as_ref();
        let confirmed = prepared.from_primary.and_then(|known| confirmed(&zone, known));
        let before = served.as_ref().and_then(|served| served.from_primary);
        let from_primary = prepared.from_primary.or(before).filter(|_| section.is_transferred());
        let known = KeptFacts {
            from_primary,
            origin: prepared.origin.clone(),
            stamps: stamps.clone(),
            expiration: prepared.expiration,
            begins_at: prepared.begins_at,
            ..KeptFacts::new(settings(&section, &policy), verification)
        };
        let times = verification.map(|known| &known.times);
        let version = KeepableVersion { zone: &zone, facts: &known, times };
        let change = prepared.change.as_ref();
        let durability = match &last {
            Some(last) => Durability::Kept(last.place),
            None => {
                let kind = match turn.instead {
                    Some(_) => FrameKind::Rollback,
                    None if turn.event.reason == EventReason::Updated => FrameKind::Update,
                    None => {
                        let before = served.as_ref().and_then(|served| served.origin.as_ref());
                        kind_of(turn.incoming.is_some(), prepared.origin.as_ref(), before)
                    }
                };
                let served = served.as_ref().map(|served| (&served.zone, served.kept_at));
                let succession = Succession { served, next: version, change, kind };
                self.workers.aside(|| self.make_durable(&section, &succession))?
            }
        };
        let from_disk = match &last {
            Some(last) => self.publish_compiled(turn, &section, &zone, last),
            None => None,
        };
        let published = match from_disk.map_or_else(|| self.publish(turn, &zone, change), Ok) {
            Ok(published) => published,
            Err(error) => {
                self.take_back(turn, &section, &durability);
                return Err(error);
            }
        };
        let difference = served.as_ref().map(|served| match change {
            Some(change) => version_difference(&served.zone, &zone, Size::of(change)),
            None => {
                let size = Size::between_versions(&served.zone, &zone);
                version_difference(&served.zone, &zone, size)
            }
        });
        let past = match &last {
            Some(last) => self.past_of_last_run(&section, &zone, &last.place),
            None => next_past(&section, served.as_ref(), &zone, change, difference),
        };
        let verified_before = served.and_then(|served| served.verified);
        drop(prepared.change);
        let finish = || self.finish_durable(&section, &version, durability);
        let (kept_at, unkept) = self.workers.aside(finish);
        // What compares it with the version before, and what keeps it as a whole, reads all of the zone.
        files.iter().for_each(FileMap::rest);
        let verified_at = prepared.verification.as_ref().map(|verification| verification.whole_at);
        let withheld = zone.withheld().next().is_some().then(|| FOUND_BEFORE.to_owned());
        let (inception, begins_at) = (prepared.inception, prepared.begins_at);
        let signatures = prepared.expiration.map(|expiration| Signatures { inception, expiration });
        let is_behind = last.is_some_and(|last| !last.is_current);
        let is_refused = how == How::WithoutFile;
        Ok(NewlyServed {
            loaded: LoadedZone {
                zone,
                kept_in: files,
                loaded_at: now,
                expiration: prepared.expiration,
                verification: prepared.verification,
                withheld,
                verified_before: verified_before.filter(|_| verified_at.is_none()),
                origin: prepared.origin,
                published,
                stamps,
                from_primary,
                kept_at,
                past: Arc::new(past),
            },
            difference,
            facts: Facts { signatures, begins_at, verified_at, is_behind, is_refused, confirmed },
            fault: prepared.fault,
            unkept,
        })
    }

    /// What the journal remembers of the changes that led to a version of the last run.
    fn past_of_last_run(&self, section: &config::Zone, zone: &Version, place: &Place) -> Past {
        let kept = self.prepare.kept_zones(section).filter(|_| !section.allow_transfer.is_empty());
        let Some(kept) = kept else { return Past::default() };
        let read = || {
            let history = kept.history(&section.name, place)?;
            Past::of_newest_first(history.differences(), zone.serial(), zone.octets())
        };
        read().unwrap_or_else(|error: HistoryError| {
            tracing::warn!(zone = %section.name, "what changed before is not known: {error}");
            Past::default()
        })
    }

    fn note_served(&self, turn: &Turn, served: NewlyServed) -> (Outcome, ReloadResult) {
        let NewlyServed { loaded, difference, facts, fault, unkept } = served;
        let mut zones = self.states.hold();
        let Some(state) = turn.state(&mut zones) else { return GONE };
        let (serial, records) = (loaded.zone.serial(), loaded.zone.record_count());
        let Published { written, kept, .. } = loaded.published;
        let removed = difference.map(|difference| difference.removed);
        let added = difference.map(|difference| difference.added);
        let name = &turn.name;
        tracing::info!(
            zone = %name, serial = serial.0, records, removed, added, written, kept,
            "zone loaded"
        );
        let files = loaded.stamps.iter().map(Stamp::octets).sum::<u64>();
        state.work.octets = files.max(loaded.zone.octets() as u64);
        state.loaded = Some(loaded);
        state.unkept = unkept.map(|error| format!("{error:#}"));
        if let Some(error) = &state.unkept {
            tracing::warn!(
                "zone {name}: what is served could not be saved for the next start: {error}"
            );
        }
        let outcome = Outcome::Served(facts);
        if turn.instead.is_some() {
            // What is wrong with the file still is.
            return (outcome, ReloadResult::Loaded(difference));
        }
        state.error = fault.map(|error| format!("{error:#}"));
        let Some(error) = &state.error else {
            return (outcome, ReloadResult::Loaded(difference));
        };
        tracing::error!("zone {name}: its records stay as they are, serial {serial}: {error}");
        (outcome, ReloadResult::Failed(error.clone()))
    }

    /// Makes the signatures that are due, of the records that are served: those of the file could not be made durable.
    fn renew_without_file(&self, turn: &Turn, error: &anyhow::Error) -> (Outcome, ReloadResult) {
        let message = format!("{error:#}");
        tracing::error!("zone {}: its records stay as they are: {message}", turn.name);
        let (outcome, _) = self.load(turn, How::WithoutFile);
        if let Some(state) = turn.state(&mut self.states.hold()) {
            state.error = Some(message.clone());
        }
        (outcome, ReloadResult::Failed(message))
    }

    /// Tells why no other version is served.
    fn note_failure(&self, turn: &Turn, error: &anyhow::Error) -> (Outcome, ReloadResult) {
        let mut zones = self.states.hold();
        let Some(state) = turn.state(&mut zones) else { return GONE };
        let (name, message) = (&turn.name, format!("{error:#}"));
        match error.downcast_ref() {
            Some(NoTransfer::Unfit(_)) => {
                tracing::warn!("zone {name}: all of it is asked for: {message}");
                return (Outcome::Unfit, ReloadResult::Failed(message));
            }
            Some(NoTransfer::None) => {
                tracing::info!("zone {name}: {message}");
                state.error = Some(message.clone());
                return (Outcome::Failed { begins_at: None }, ReloadResult::Failed(message));
            }
            None => {}
        }
        if turn.instead.is_some() {
            tracing::error!("zone {name}: an earlier version cannot be served: {message}");
            return (Outcome::Failed { begins_at: None }, ReloadResult::Failed(message));
        }
        match state.loaded.as_ref().map(|loaded| loaded.zone.serial()) {
            Some(serial) => tracing::error!(
                "zone {name}: the older version, serial {serial}, is still served: {message}"
            ),
            None => tracing::error!("zone {name} is not served: {message}"),
        }
        state.error = Some(message.clone());
        let refused = error.downcast_ref::<prepare::RejectedZone>();
        let outcome = match error.is::<NotDurable>() {
            true => Outcome::Refused,
            false => Outcome::Failed { begins_at: refused.and_then(|refused| refused.begins_at) },
        };
        (outcome, ReloadResult::Failed(message))
    }

    /// Leaves a zone as it is, which is what its files say.
    fn leave(
        &self,
        turn: &Turn,
        how: How,
        prepared: Prepared,
        beginning: &Beginning,
    ) -> (Outcome, ReloadResult) {
        if how == How::WithoutFile {
            return (Outcome::Refused, ReloadResult::Unchanged);
        }
        let has_other_stamps = {
            let mut zones = self.states.hold();
            let Some(state) = turn.state(&mut zones) else { return GONE };
            if turn.instead.is_none() {
                state.error = None;
            }
            match (&mut state.loaded, prepared.files) {
                (Some(loaded), Some(files)) => {
                    let stamps =
                        stamps_of(beginning.stamp.clone(), &files, &beginning.section.file);
                    std::mem::replace(&mut loaded.stamps, stamps) != loaded.stamps
                }
                _ => false,
            }
        };
        if has_other_stamps {
            self.keep_served(turn, false);
        }
        (Outcome::Unchanged { begins_at: prepared.begins_at }, ReloadResult::Unchanged)
    }
}

/// The times of a version that a primary has had.
fn confirmed(zone: &Version, known: FromPrimary) -> Option<Confirmed> {
    let soa = zone.soa_fields()?;
    Some(Confirmed { timers: Timers::new(soa.refresh, soa.retry, soa.expire), at: known.at })
}

/// What is remembered of the changes that led to `zone`: nothing if nobody may transfer it.
fn next_past(
    section: &config::Zone,
    served: Option<&ServedVersion>,
    zone: &Version,
    change: Option<&Difference>,
    told: Option<VersionDifference>,
) -> Past {
    let Some((served, told)) = served.zip(told).filter(|_| !section.allow_transfer.is_empty())
    else {
        return Past::default();
    };
    match change {
        Some(change) => served.past.with(change, zone.octets()),
        // It was made as a whole. More than the zone has is of no use.
        None if told.removed + told.added <= zone.record_count() as u64 => {
            let change = Difference::between_versions(&served.zone, zone);
            served.past.with(&change, zone.octets())
        }
        None => Past::default(),
    }
}

/// What becomes of a turn whose zone is not configured any more.
const GONE: (Outcome, ReloadResult) = (Outcome::Failed { begins_at: None }, ReloadResult::Removed);

/// What a zone's files looked like: `stamp` is of `file`, which was looked at before it was read.
fn stamps_of(stamp: Option<Stamp>, files: &[PathBuf], file: &Path) -> Vec<Stamp> {
    let others = files.iter().filter(|other| *other != file);
    stamp.into_iter().chain(others.filter_map(|other| Stamp::of(other))).collect()
}

fn version_difference(old: &Version, new: &Version, size: Size) -> VersionDifference {
    let Size { removed, added } = size;
    let [old_serial, new_serial] = [old, new].map(|zone| zone.serial().0);
    VersionDifference { old_serial, new_serial, removed, added }
}
