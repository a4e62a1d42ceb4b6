//! What changed presented to the sockets and to XDP.

use std::time::Instant;

use super::list::{REFRESH, Zones};
use crate::daemon::presented::RefreshScope;
use crate::datapath::seam::DataPlane;
use crate::zone::Name;

impl Zones {
    /// Presents the configuration and all zones.
    pub(super) fn refresh_all(&self) {
        let mut plane = self.plane.hold();
        self.unfollowed.hold().clear();
        self.refresh(&mut **plane, RefreshScope::All);
    }

    /// Presents what the sockets do not follow yet, and replaces the programs of an earlier daemon.
    pub(super) fn settle(&self) {
        self.replace_adopted();
        let mut plane = self.plane.hold();
        let names = std::mem::take(&mut *self.unfollowed.hold());
        self.refresh(&mut **plane, RefreshScope::Zones(&names.iter().collect::<Vec<_>>()));
    }

    /// A zone changed: the sockets follow at once if no other is being worked on, and nobody waits who settles it
    /// (`is_settled`). Else they do at least every [`REFRESH`] and with each tick, and not after each zone: with many zones
    /// that would be most of the work.
    pub(super) fn note_unfollowed(&self, name: &Name, is_settled: bool) {
        self.unfollowed.hold().push(name.clone());
        let is_last = !is_settled && self.turns.hold().is_empty();
        let is_time = {
            let mut refreshed = self.refreshed.hold();
            let is_time = is_last || refreshed.elapsed() >= REFRESH;
            if is_time {
                *refreshed = Instant::now();
            }
            is_time
        };
        if is_time {
            self.follow(&mut **self.plane.hold());
        }
    }

    /// Presents the zones that were loaded meanwhile: the next one may take long. The caller holds the data plane.
    pub fn follow(&self, plane: &mut dyn DataPlane) {
        let names = std::mem::take(&mut *self.unfollowed.hold());
        if !names.is_empty() {
            self.refresh(plane, RefreshScope::Zones(&names.iter().collect::<Vec<_>>()));
        }
    }

    fn refresh(&self, plane: &mut dyn DataPlane, changed: RefreshScope<'_>) {
        let config = self.config();
        self.presented.refresh(plane, &config, &self.states.hold(), changed);
    }

    /// Replaces the programs of an earlier daemon, unless there is nothing to answer in their place: then
    /// what they answer is better than nothing.
    pub(super) fn replace_adopted(&self) {
        let has_zone = {
            let zones = self.states.hold();
            zones.is_empty() || zones.values().any(|zone| zone.loaded.is_some())
        };
        if has_zone && let Err(error) = self.plane.hold().replace_adopted() {
            tracing::error!("replacing the programs of an earlier daemon: {error:#}");
        }
    }

    /// Makes cookies with the secrets that it is the time for. Never waits: it is done again a second later.
    pub fn exchange_secrets(&self) {
        if !self.presented.has_other_secrets() {
            return;
        }
        if let Some(mut plane) = self.plane.hold_if_free() {
            self.refresh(&mut **plane, RefreshScope::Zones(&[]));
        }
    }
}
