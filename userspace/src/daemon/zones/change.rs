//! One zone brought up to date: read, signed, verified, kept, published.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::list::{LARGE_ZONE, RESIGN_RETRY_SECONDS, ReloadResult, Zones};
use crate::control::reply::zone::VersionDifference;
use crate::daemon::prepare;
use crate::daemon::stamp::Stamp;
use crate::daemon::state::{CurrentVersion, KeepableVersion, LoadedZone, Prepared};
use crate::daemon::store::StoredVersion;
use crate::datapath::memory::FileMap;
use crate::datapath::seam::Published;
use crate::dnssec::origin::Origin;
use crate::zone::difference::Size;
use crate::zone::{Name, Rtype, Version};

/// A part of the refresh time that attempts to sign again are apart at most, so that many are made before signatures
/// expire.
const RESIGN_ATTEMPTS: u32 = 16;

/// Why RRsets are withheld of a zone that is served as it was when the daemon ran last.
const FOUND_BEFORE: &str = "they were found wrong before the daemon was started";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadReason {
    /// The daemon is started: what was served when it ran last will do for the moment.
    Start,
    /// What is served is of the last run, and is to be what the configuration and its files say.
    FollowUp,
    /// It is to be what the configuration and its files say.
    Requested,
    /// Its signatures must be made anew, whatever else there is.
    Due,
}

/// The version of a zone that is served while the next one is made.
pub(super) struct ServedVersion {
    pub(super) zone: Version,
    /// The files that it lies in.
    kept_in: Vec<FileMap>,
    /// The newest version that was verified.
    verified: Option<Version>,
    pub(super) origin: Option<Origin>,
    pub(super) stamps: Vec<Stamp>,
}

impl ServedVersion {
    pub(super) fn of(loaded: &LoadedZone) -> ServedVersion {
        ServedVersion {
            zone: loaded.zone.clone(),
            kept_in: loaded.kept_in.clone(),
            verified: match loaded.is_verified {
                true => Some(loaded.zone.clone()),
                false => loaded.verified_before.clone(),
            },
            origin: loaded.origin.clone(),
            stamps: loaded.stamps.clone(),
        }
    }

    fn before(&self, why: LoadReason) -> CurrentVersion<'_> {
        let apex = self.zone.find(self.zone.apex().as_wire());
        CurrentVersion {
            serial: Some(self.zone.serial()),
            verified: self.verified.as_ref(),
            origin: self.origin.as_ref(),
            is_signed: apex.is_some_and(|apex| apex.rrset(Rtype::DNSKEY).is_some()),
            is_unchanged: matches!(why, LoadReason::Due | LoadReason::FollowUp)
                && !self.stamps.is_empty()
                && self.stamps.iter().all(Stamp::holds),
        }
    }
}

impl Zones {
    /// As [`Zones::load`]; a zone that makes it panic fails alone.
    pub(super) fn load_or_say_fault(&self, name: &Name, why: LoadReason) -> ReloadResult {
        catch_unwind(AssertUnwindSafe(|| self.load(name, why))).unwrap_or_else(|_| {
            let message = "a fault of this program, which is in the log".to_owned();
            if let Some(state) = self.states.hold().get_mut(name) {
                state.error = Some(message.clone());
                state.retry_at =
                    Some(self.clock.monotonic() + Duration::from_secs(RESIGN_RETRY_SECONDS.into()));
            }
            ReloadResult::Failed(message)
        })
    }

    /// Brings one zone up to date; the sockets do not follow yet. The caller holds `change`.
    fn load(&self, name: &Name, why: LoadReason) -> ReloadResult {
        let Some((section, policy, served)) = self.states.hold().get(name).map(|state| {
            let served = state.loaded.as_ref().map(ServedVersion::of);
            (state.section.clone(), state.policy.clone(), served)
        }) else {
            return ReloadResult::Removed;
        };
        let now = self.clock.wall().signature_time();
        // A file that changes while it is read looks changed afterwards.
        let stamp = Stamp::of(&section.file);
        let last = match (why, &served) {
            (LoadReason::Start, None) => self.prepare.kept(&section, &policy, now),
            _ => None,
        };
        let is_behind = last.as_ref().is_some_and(|last| !last.is_current);
        let (last, last_stamps) = last.map(|last| (last.prepared, last.stamps)).unzip();
        let is_from_last_run = last.is_some();
        let ready = if let Some(last) = last {
            Ok(last)
        } else {
            let before = served.as_ref().map(|served| served.before(why)).unwrap_or_default();
            self.prepare.prepare(&section, &policy, before, now)
        };
        let ready = match ready {
            Ok(ready) if ready.is_served => return self.leave(name, ready, &section.file, stamp),
            ready => ready,
        };
        let verified_before = served.as_ref().and_then(|served| served.verified.clone());
        let (stamps, older) =
            served.map(|served| (served.stamps, (served.zone, served.kept_in))).unzip();
        let loaded = ready.and_then(|ready| {
            // Before publishing, which takes most memory.
            let stored = older.as_ref().map(|(older, files)| (older, &files[..]));
            let StoredVersion { zone, files } = self.store.keep(ready.zone, stored)?;
            let mut plane = self.plane.hold();
            if zone.owner_count() >= LARGE_ZONE {
                // Publishing it holds the data plane for long.
                self.follow(&mut **plane);
            }
            let published = plane.publish(&zone).context("publishing the zone");
            drop(plane);
            let published = published?;
            // Before the files are at rest: it reads all of the zone.
            let difference = older.map(|(older, _)| difference(&older, &zone));
            files.iter().for_each(FileMap::rest);
            let stamps = match ready.files {
                Some(files) => stamps_of(stamp, &files, &section.file),
                // Of a file that could not be read nothing is known.
                None => last_stamps.or(stamps).unwrap_or_default(),
            };
            let (origin, is_verified) = (ready.origin.as_ref(), ready.is_verified);
            let version = KeepableVersion { zone: &zone, origin, is_verified, stamps: &stamps };
            let keep = || self.prepare.keep(&section, &policy, &version).err();
            let unkept = ready.unkept.or_else(|| if is_from_last_run { None } else { keep() });
            let withheld = zone.withheld().next().is_some().then(|| FOUND_BEFORE.to_owned());
            let loaded = LoadedZone {
                zone,
                kept_in: files,
                loaded_at: now,
                expiration: ready.expiration,
                inception: ready.inception,
                is_verified: ready.is_verified,
                verified_at: if ready.is_verified { now } else { 0 },
                withheld,
                verified_before: verified_before.filter(|_| !ready.is_verified),
                origin: ready.origin,
                published,
                stamps,
            };
            Ok((loaded, difference, ready.begins_at, ready.fault, unkept))
        });
        let mut zones = self.states.hold();
        let Some(state) = zones.get_mut(name) else { return ReloadResult::Removed };
        match loaded {
            Ok((loaded, difference, begins_at, fault, unkept)) => {
                let (serial, records) = (loaded.zone.serial(), loaded.zone.record_count());
                let Published { written, kept, .. } = loaded.published;
                let removed = difference.map(|difference| difference.removed);
                let added = difference.map(|difference| difference.added);
                tracing::info!(
                    zone = %name, serial = serial.0, records, removed, added, written, kept,
                    "zone loaded"
                );
                state.loaded = Some(loaded);
                state.is_from_last_run = is_behind;
                (state.begins_at, state.retry_at) = (begins_at, None);
                state.unkept = unkept.map(|error| format!("{error:#}"));
                if let Some(error) = &state.unkept {
                    tracing::warn!(
                        "zone {name}: what is served could not be saved for the next start: {error}"
                    );
                }
                state.error = fault.map(|error| format!("{error:#}"));
                let Some(error) = &state.error else { return ReloadResult::Loaded(difference) };
                tracing::error!(
                    "zone {name}: its records stay as they are, serial {serial}: {error}"
                );
                ReloadResult::Failed(error.clone())
            }
            Err(error) if is_from_last_run => {
                drop(zones);
                tracing::warn!("zone {name}: what was served before cannot be: {error:#}");
                self.load(name, LoadReason::Requested)
            }
            Err(error) => {
                let message = format!("{error:#}");
                state.is_from_last_run = false;
                let served = state.loaded.as_ref().map(|loaded| loaded.zone.serial());
                match served {
                    Some(serial) => tracing::error!(
                        "zone {name}: the older version, serial {serial}, is still served: {message}"
                    ),
                    None => tracing::error!("zone {name} is not served: {message}"),
                }
                state.error = Some(message.clone());
                // What could not be read is tried again.
                if let Some(refused) = error.downcast_ref::<prepare::RejectedZone>() {
                    state.begins_at = refused.begins_at;
                }
                if why == LoadReason::Due {
                    let wait = policy.refresh.seconds() / RESIGN_ATTEMPTS;
                    let wait = Duration::from_secs(wait.min(RESIGN_RETRY_SECONDS).into());
                    state.retry_at = Some(self.clock.monotonic() + wait);
                }
                ReloadResult::Failed(message)
            }
        }
    }

    /// Leaves a zone as it is, which is what its files say.
    fn leave(
        &self,
        name: &Name,
        ready: Prepared,
        file: &Path,
        stamp: Option<Stamp>,
    ) -> ReloadResult {
        let mut zones = self.states.hold();
        let Some(state) = zones.get_mut(name) else { return ReloadResult::Removed };
        state.error = None;
        state.retry_at = None;
        state.is_from_last_run = false;
        if let (Some(loaded), Some(files)) = (&mut state.loaded, ready.files) {
            loaded.stamps = stamps_of(stamp, &files, file);
        }
        ReloadResult::Unchanged
    }
}

/// What a zone's files looked like: `stamp` is of `file`, which was looked at before it was read.
fn stamps_of(stamp: Option<Stamp>, files: &[PathBuf], file: &Path) -> Vec<Stamp> {
    let others = files.iter().filter(|other| *other != file);
    stamp.into_iter().chain(others.filter_map(|other| Stamp::of(other))).collect()
}

fn difference(old: &Version, new: &Version) -> VersionDifference {
    let Size { removed, added } = Size::between_versions(old, new);
    let [old_serial, new_serial] = [old, new].map(|zone| zone.serial().0);
    VersionDifference { old_serial, new_serial, removed, added }
}
