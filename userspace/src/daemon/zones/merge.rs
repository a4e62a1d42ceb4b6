//! What changed of a large zone merged into another flat zone: in the background, while the zone goes on changing.
//!
//! A version is a flat zone and what changed since. When that is much, a flat zone is made of what is served, which takes
//! as long as a walk over it, and takes the other one's place in a turn of its own: what changed meanwhile is laid over it.
//! If changes come faster than they are merged, the change itself does it
//! ([`is_merged_at_once`](crate::daemon::store::is_merged_at_once)), so that what changed never takes more than a part of the zone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::list::{Turn, Zones};
use super::turns::{LARGE, give_back_memory};
use crate::daemon::locks::{Rank, Ranked};
use crate::daemon::state::{LoadedZone, Merged, ZoneState};
use crate::daemon::store::StoredVersion;
use crate::daemon::workers::LaneKind;
use crate::zone::{Name, Version};

/// How long merging may wait while there is other work in the background.
const PATIENCE: Duration = Duration::from_secs(60);

impl Zones {
    /// Has what changed of a zone merged, if that is due and nobody does it.
    pub(super) fn merge_if_due(self: &Arc<Zones>, turn: &Turn) {
        let mut states = self.states.hold();
        let Some(state) = turn.state(&mut states) else { return };
        let Some(loaded) = &state.loaded else { return };
        if state.work.is_merging || !loaded.zone.is_merge_due() {
            return;
        }
        state.work.is_merging = true;
        let lane = if state.work.octets < LARGE { LaneKind::Small } else { LaneKind::Background };
        let (snapshot, identity) = (loaded.zone.clone(), Arc::clone(&state.work.identity));
        let (zones, name) = (Arc::clone(self), turn.name.clone());
        let merge = move || {
            let merged = zones.merged(&snapshot);
            zones.note_merged(&name, &identity, merged);
        };
        self.workers.submit(lane, Instant::now() + PATIENCE, Box::new(merge));
    }

    /// A version as a flat zone, in its files; `None` if it cannot be made.
    pub(super) fn merged(&self, snapshot: &Version) -> Option<Merged> {
        let flat = snapshot.flat().map(Version::of);
        match flat.and_then(|flat| self.store.keep(flat, None)) {
            Ok(StoredVersion { zone, files }) => {
                Some(Merged { snapshot: snapshot.clone(), zone, files })
            }
            Err(error) => {
                tracing::error!(zone = %snapshot.apex(), "merging what changed: {error}");
                None
            }
        }
    }

    /// What was merged is there, or could not be made.
    pub(super) fn note_merged(
        self: &Arc<Zones>,
        name: &Name,
        identity: &Arc<()>,
        merged: Option<Merged>,
    ) {
        {
            let mut states = self.states.hold();
            let Some(state) = states.get_mut(name) else { return };
            if !Arc::ptr_eq(&state.work.identity, identity) {
                return;
            }
            state.work.is_merging = merged.is_some();
            state.work.merged = merged;
        }
        self.take_merged(name);
    }

    /// Lets a flat zone that was merged take the place of the one before, unless the zone has its turn: then it is done
    /// when that has ended.
    pub(super) fn take_merged(self: &Arc<Zones>, name: &Name) {
        let taken = {
            let mut states = self.states.hold();
            let Some(state) = states.get_mut(name).filter(|state| state.work.merged.is_some())
            else {
                return;
            };
            if !self.turns.hold().insert(name.clone()) {
                return;
            }
            state.work.is_merging = false;
            let loaded = state.loaded.as_ref().map(|loaded| loaded.zone.clone());
            (state.work.merged.take().zip(loaded), Arc::clone(&state.work.identity))
        };
        let (taken, identity) = taken;
        {
            let _rank = Ranked::take(Rank::Turn);
            if let Some((merged, served)) = taken {
                self.exchange_flat_zone(name, &identity, &served, merged);
            }
        }
        let mut states = self.states.hold();
        self.turns.hold().remove(name);
        // What became due meanwhile.
        self.queue(&mut states, name);
    }

    /// Lays what changed since a flat zone was merged over it. The caller has the zone's turn.
    fn exchange_flat_zone(
        &self,
        name: &Name,
        identity: &Arc<()>,
        served: &Version,
        Merged { snapshot, zone, files }: Merged,
    ) {
        let Some(rebased) = served.rebased(&snapshot, &zone) else {
            // Another flat zone is served since: it was read or signed as a whole.
            tracing::debug!(zone = %name, "what was merged is not served any more");
            return;
        };
        drop((snapshot, zone));
        self.plane.hold().exchange(&rebased);
        let mut states = self.states.hold();
        let is_it = |state: &&mut ZoneState| Arc::ptr_eq(&state.work.identity, identity);
        let state = states.get_mut(name).filter(is_it);
        let is_same = |loaded: &&mut LoadedZone| loaded.zone.is_same(served);
        if let Some(loaded) = state.and_then(|state| state.loaded.as_mut()).filter(is_same) {
            tracing::debug!(zone = %name, octets = rebased.octets(), "what changed was merged");
            (loaded.zone, loaded.kept_in) = (rebased, files);
        }
        drop(states);
        self.note_unfollowed(name, false);
        give_back_memory(served.owner_count());
    }
}
