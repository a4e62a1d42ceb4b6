//! Many zones brought up to date, one after the other.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::change::LoadReason;
use super::list::{LARGE_ZONE, REFRESH, ReloadResult, Zones};
use crate::daemon::start_order::start_order;
use crate::daemon::state::ZoneState;
use crate::datapath::memory::trim_heap;
use crate::zone::Name;

impl Zones {
    /// Serves every zone of the configuration: what was served when the daemon ran last, or else what its file says.
    /// Those that fail are told in the log.
    pub fn load_all(&self) {
        let _change = self.change.hold();
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let files: Vec<(Name, PathBuf)> = {
            let states = self.states.hold();
            states.iter().map(|(name, zone)| (name.clone(), zone.section.file.clone())).collect()
        };
        let sizes = files.into_iter().map(|(name, file)| (name, size(&file))).collect();
        self.load_each(start_order(&sizes), LoadReason::Start, Zones::refresh_served);
    }

    /// Brings zones up to date that are served as they were when the daemon ran last.
    pub fn follow_up(&self) {
        let behind: Vec<Name> = {
            let states = self.states.hold();
            let behind = states.iter().filter(|(_, zone)| zone.is_from_last_run);
            behind.map(|(name, _)| name.clone()).collect()
        };
        // One by one: other changes need not wait for all of them.
        for name in behind {
            let _change = self.change.hold();
            let is_behind = |zone: &ZoneState| zone.is_from_last_run;
            if self.states.hold().get(&name).is_some_and(is_behind) {
                self.load_each(vec![name], LoadReason::FollowUp, Zones::refresh_served);
            }
        }
    }

    /// Brings zones up to date. The sockets follow at least every [`REFRESH`] and with each tick, and not after
    /// each zone: with many zones that would be most of the work. `finish` lets them follow at the end; it is given
    /// what they do not follow yet. The caller holds `change`.
    pub(super) fn load_each(
        &self,
        names: Vec<Name>,
        why: LoadReason,
        finish: impl FnOnce(&Zones, &[(Name, ReloadResult)]),
    ) -> Vec<(Name, ReloadResult)> {
        let mut refreshed = Instant::now();
        let mut changes: Vec<(Name, ReloadResult)> = Vec::with_capacity(names.len());
        let mut refreshed_count = 0;
        for name in names {
            let change = self.load_or_say_fault(&name, why);
            self.unfollowed.hold().push(name.clone());
            changes.push((name, change));
            if refreshed.elapsed() >= REFRESH {
                self.unfollowed.hold().clear();
                self.refresh_served(&changes[refreshed_count..]);
                refreshed_count = changes.len();
                refreshed = Instant::now();
            }
        }
        self.replace_adopted();
        self.unfollowed.hold().clear();
        finish(self, &changes[refreshed_count..]);
        let loaded =
            |name: &Name| self.states.hold().get(name)?.loaded.as_ref().map(|one| one.zone.clone());
        let loaded = changes.iter().filter_map(|(name, _)| loaded(name));
        if loaded.map(|zone| zone.owner_count()).max() >= Some(LARGE_ZONE) {
            trim_heap();
        }
        changes
    }

    /// Replaces the programs of an earlier daemon, unless there is nothing to answer in their place: then
    /// what they answer is better than nothing.
    fn replace_adopted(&self) {
        let has_zone = {
            let zones = self.states.hold();
            zones.is_empty() || zones.values().any(|zone| zone.loaded.is_some())
        };
        if has_zone && let Err(error) = self.plane.hold().replace_adopted() {
            tracing::error!("replacing the programs of an earlier daemon: {error:#}");
        }
    }

    /// Signs the zones again for which it is the time; waits for other changes.
    pub fn renew(&self) {
        let (now, tick) = (self.clock.wall().signature_time(), self.clock.monotonic());
        let due: Vec<Name> = self
            .states
            .hold()
            .iter()
            .filter(|(_, zone)| zone.is_due(now, tick))
            .map(|(name, _)| name.clone())
            .collect();
        if due.is_empty() {
            return;
        }
        let _change = self.change.hold();
        for name in &due {
            tracing::info!(
                zone = %name,
                "prepared again: its signatures are due, or later signatures become valid"
            );
        }
        self.load_each(due, LoadReason::Due, Zones::refresh_served);
    }
}
