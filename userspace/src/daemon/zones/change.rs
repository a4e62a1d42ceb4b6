//! One zone brought up to date: read, signed, verified, kept, published.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::durable::{Durability, NotDurable, Succession, kind_of};
use super::list::{LARGE_ZONE, Turn, Zones};
use crate::control::reply::zone::VersionDifference;
use crate::daemon::kept::{KeepableVersion, KeptFacts, settings};
use crate::daemon::life::{
    Asked, Event, EventKind, EventReason, Facts, Moment, Outcome, Signatures,
};
use crate::daemon::prepare;
use crate::daemon::stamp::Stamp;
use crate::daemon::state::{CurrentVersion, LoadedZone, Prepared, ReloadResult};
use crate::daemon::store::StoredVersion;
use crate::daemon::verified::Verification;
use crate::datapath::memory::FileMap;
use crate::datapath::seam::Published;
use crate::dnssec::origin::Origin;
use crate::journal::{FrameKind, Place};
use crate::zone::difference::Size;
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
    /// Where it stands in what is kept of the zone.
    pub(super) kept_at: Option<Place>,
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
            kept_at: loaded.kept_at,
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
        }
    }
}

impl Zones {
    /// Does what a zone's turn is for. The sockets do not follow yet.
    pub(super) fn change(&self, turn: &Turn) -> (Outcome, ReloadResult) {
        let (is_otherwise, stamps, begins_at) = {
            let mut states = self.states.hold();
            let Some(state) = turn.state(&mut states) else { return GONE };
            let stamps = state.loaded.as_ref().map_or(&[][..], |loaded| &loaded.stamps);
            (state.is_otherwise(), stamps.to_vec(), state.life.begins_at())
        };
        let is_asked_for = turn.asked == Some(Asked::IfChanged) && turn.instead.is_none();
        // Whoever had the turn before may have read what is asked for.
        if is_asked_for && !is_otherwise && stamps.iter().all(Stamp::holds) {
            return (Outcome::Unchanged { begins_at }, ReloadResult::Unchanged);
        }
        let last_will_do = turn.event.kind == EventKind::Load && turn.asked.is_none();
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
    fn load(&self, turn: &Turn, how: How) -> (Outcome, ReloadResult) {
        let (name, last_will_do) = (&turn.name, how == How::AsLast);
        let Some((section, policy, served)) = turn.state(&mut self.states.hold()).map(|state| {
            let served = state.loaded.as_ref().map(ServedVersion::of);
            (state.section.clone(), state.policy.clone(), served)
        }) else {
            return GONE;
        };
        let Moment { wall: now, tick: begun } = self.now();
        // A file that changes while it is read looks changed afterwards.
        let stamp = Stamp::of(&section.file);
        let last = match (last_will_do, &served) {
            (true, None) => self.prepare.kept(&section, &policy, now),
            _ => None,
        };
        let is_behind = last.as_ref().is_some_and(|last| !last.is_current);
        let last_place = last.as_ref().map(|last| last.place);
        let (last, last_stamps) = last.map(|last| (last.prepared, last.stamps)).unzip();
        let is_from_last_run = last.is_some();
        let ready = if let Some(last) = last {
            Ok(last)
        } else {
            let before =
                served.as_ref().map(|served| served.before(turn.event)).unwrap_or_default();
            let instead = turn.instead.as_ref();
            let is_unchanged = before.is_unchanged || how == How::WithoutFile;
            let before = CurrentVersion { instead, is_unchanged, ..before };
            self.prepare.prepare(&section, &policy, before, now)
        };
        let ready = match ready {
            Ok(ready) if ready.is_served => {
                return self.leave(turn, how, ready, (&section.file, stamp));
            }
            ready => ready,
        };
        let verified_before = served.as_ref().and_then(|served| served.verified.clone());
        let served_origin = served.as_ref().and_then(|served| served.origin.clone());
        let older_place = served.as_ref().and_then(|served| served.kept_at);
        let (stamps, older) =
            served.map(|served| (served.stamps, (served.zone, served.kept_in))).unzip();
        let loaded = ready.and_then(|ready| {
            // Before publishing, which takes most memory.
            let stored = older.as_ref().map(|(older, files)| (older, &files[..]));
            let StoredVersion { zone, files } = self.store.keep(ready.zone, stored)?;
            let is_large = zone.owner_count() >= LARGE_ZONE;
            if is_large && last_will_do {
                self.workers.let_small_ones_pass(begun + SMALL_ONES_WITHIN, SMALL_ONES_FIRST);
            }
            let stamps = match ready.files {
                Some(files) => stamps_of(stamp, &files, &section.file),
                // Of a file that could not be read nothing is known.
                None => last_stamps.or(stamps).unwrap_or_default(),
            };
            let verification = ready.verification.as_ref();
            let known = KeptFacts {
                origin: ready.origin.clone(),
                stamps: stamps.clone(),
                expiration: ready.expiration,
                begins_at: ready.begins_at,
                ..KeptFacts::new(settings(&section, &policy), verification)
            };
            let times = verification.map(|known| &known.times);
            let version = KeepableVersion { zone: &zone, facts: &known, times };
            let durability = match last_place {
                Some(place) => Durability::Kept(place),
                None => {
                    let kind = match turn.instead {
                        Some(_) => FrameKind::Rollback,
                        None => kind_of(ready.origin.as_ref(), served_origin.as_ref()),
                    };
                    let served = older.as_ref().map(|(older, _)| (older, older_place));
                    let change = ready.change.as_ref();
                    let step = Succession { served, next: version, change, kind };
                    self.make_durable(&section, &step)?
                }
            };
            let mut plane = self.plane.hold();
            if is_large {
                // Publishing it holds the data plane for long.
                self.plane.note(&**plane);
                self.follow(&mut **plane);
            }
            // Who takes a zone from the configuration does so before the data plane is told.
            anyhow::ensure!(turn.state(&mut self.states.hold()).is_some(), "it is not configured");
            let change = ready.change.as_ref();
            let published = plane.publish(&zone, change).context("publishing the zone");
            drop(plane);
            let published = match published {
                Ok(published) => published,
                Err(error) => {
                    self.take_back(turn, &section, &durability);
                    return Err(error);
                }
            };
            // Before the files are at rest: it reads all of the zone.
            let difference = older.map(|(older, _)| match &ready.change {
                Some(change) => version_difference(&older, &zone, Size::of(change)),
                None => version_difference(&older, &zone, Size::between_versions(&older, &zone)),
            });
            drop(ready.change);
            files.iter().for_each(FileMap::rest);
            let (kept_at, unkept) = self.finish_durable(&section, &version, durability);
            let verified_at = ready.verification.as_ref().map(|verification| verification.whole_at);
            let withheld = zone.withheld().next().is_some().then(|| FOUND_BEFORE.to_owned());
            let loaded = LoadedZone {
                zone,
                kept_in: files,
                loaded_at: now,
                expiration: ready.expiration,
                verification: ready.verification,
                withheld,
                verified_before: verified_before.filter(|_| verified_at.is_none()),
                origin: ready.origin,
                published,
                stamps,
                kept_at,
            };
            let inception = ready.inception;
            let signatures =
                ready.expiration.map(|expiration| Signatures { inception, expiration });
            let is_refused = how == How::WithoutFile;
            let begins_at = ready.begins_at;
            let facts = Facts { signatures, begins_at, verified_at, is_behind, is_refused };
            Ok((loaded, difference, facts, ready.fault, unkept))
        });
        let mut zones = self.states.hold();
        let Some(state) = turn.state(&mut zones) else { return GONE };
        match loaded {
            Ok((loaded, difference, facts, fault, unkept)) => {
                let (serial, records) = (loaded.zone.serial(), loaded.zone.record_count());
                let Published { written, kept, .. } = loaded.published;
                let removed = difference.map(|difference| difference.removed);
                let added = difference.map(|difference| difference.added);
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
                tracing::error!(
                    "zone {name}: its records stay as they are, serial {serial}: {error}"
                );
                (outcome, ReloadResult::Failed(error.clone()))
            }
            Err(error) if is_from_last_run => {
                drop(zones);
                tracing::warn!("zone {name}: what was served before cannot be: {error:#}");
                self.load(turn, How::AsFilesSay)
            }
            Err(error) if turn.instead.is_some() => {
                let message = format!("{error:#}");
                tracing::error!("zone {name}: an earlier version cannot be served: {message}");
                (Outcome::Failed { begins_at: None }, ReloadResult::Failed(message))
            }
            // The signatures that are due are made all the same.
            Err(error)
                if error.is::<NotDurable>()
                    && turn.event.is_renewal()
                    && how == How::AsFilesSay =>
            {
                drop(zones);
                let message = format!("{error:#}");
                tracing::error!("zone {name}: its records stay as they are: {message}");
                let (outcome, _) = self.load(turn, How::WithoutFile);
                if let Some(state) = turn.state(&mut self.states.hold()) {
                    state.error = Some(message.clone());
                }
                (outcome, ReloadResult::Failed(message))
            }
            Err(error) => {
                let message = format!("{error:#}");
                let served = state.loaded.as_ref().map(|loaded| loaded.zone.serial());
                match served {
                    Some(serial) => tracing::error!(
                        "zone {name}: the older version, serial {serial}, is still served: {message}"
                    ),
                    None => tracing::error!("zone {name} is not served: {message}"),
                }
                state.error = Some(message.clone());
                let refused = error.downcast_ref::<prepare::RejectedZone>();
                let begins_at = refused.and_then(|refused| refused.begins_at);
                let outcome = match error.is::<NotDurable>() {
                    true => Outcome::Refused,
                    false => Outcome::Failed { begins_at },
                };
                (outcome, ReloadResult::Failed(message))
            }
        }
    }

    /// Leaves a zone as it is, which is what its files say.
    fn leave(
        &self,
        turn: &Turn,
        how: How,
        ready: Prepared,
        (file, stamp): (&Path, Option<Stamp>),
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
            match (&mut state.loaded, ready.files) {
                (Some(loaded), Some(files)) => {
                    let stamps = stamps_of(stamp, &files, file);
                    std::mem::replace(&mut loaded.stamps, stamps) != loaded.stamps
                }
                _ => false,
            }
        };
        if has_other_stamps {
            self.keep_served(turn, false);
        }
        (Outcome::Unchanged { begins_at: ready.begins_at }, ReloadResult::Unchanged)
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
