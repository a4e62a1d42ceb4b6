//! In front of another server: what that says of zones is heard, and by that each is answered or passed on.

use std::sync::Arc;

use super::list::Zones;
use crate::daemon::secondary::SerialListener;
use crate::daemon::state::ZoneState;
use crate::zone::{Name, Serial};

impl SerialListener for Zones {
    fn hear(&self, name: &Name, identity: &Arc<()>, said: Result<Serial, String>) {
        {
            let mut states = self.states.hold();
            let state = states.get_mut(name);
            let is_same = |state: &&mut ZoneState| Arc::ptr_eq(&state.work.identity, identity);
            let Some(state) = state.filter(is_same) else { return };
            state.at_server.hear(said);
        }
        self.answer_or_pass(name);
    }
}

impl Zones {
    /// Decides whether XDP answers for a zone, and tells it so if that is another decision than before.
    pub(super) fn answer_or_pass(&self, name: &Name) {
        if self.decide(name) == Some(true) {
            self.tell_whether_answered(name);
        }
    }

    /// The same after the zone was published, or could not be.
    pub(super) fn answer_or_pass_anew(&self, name: &Name) {
        // Of others nobody waits for the data plane besides.
        if self.decide(name).is_some() {
            self.tell_whether_answered(name);
        }
    }

    /// Passes zones on that were answered as long as they may be while a newer serial is known.
    pub(super) fn pass_what_is_behind(&self) {
        let is_borne = self
            .config()
            .front
            .as_ref()
            .is_some_and(|front| !front.serve_behind.duration().is_zero());
        if !is_borne {
            return;
        }
        let behind: Vec<Name> = {
            let states = self.states.hold();
            let behind = states.iter().filter(|(_, state)| state.at_server.is_borne());
            behind.map(|(name, _)| name.clone()).collect()
        };
        behind.iter().for_each(|name| self.answer_or_pass(name));
    }

    /// Says whether the decision is another than the last one; `None` if the zone stands in front of no server, or is gone.
    fn decide(&self, name: &Name) -> Option<bool> {
        let now = self.now().tick;
        let mut states = self.states.hold();
        let state = states.get_mut(name)?;
        let front = state.section.front?;
        let known = state.loaded.as_ref().and_then(|loaded| loaded.from_primary);
        let published = known.map(|known| known.serial);
        let is_other = state.at_server.decide(published, front.serve_behind, now);
        if is_other {
            match state.at_server.passed() {
                Some(why) => tracing::info!(zone = %name, "passed to the server: {why}"),
                None => tracing::info!(zone = %name, "answered by XDP"),
            }
        }
        Some(is_other)
    }

    /// Tells the data plane the last decision: whoever holds it is the only one who does.
    fn tell_whether_answered(&self, name: &Name) {
        let mut plane = self.plane.hold();
        let is_answered = {
            let states = self.states.hold();
            let Some(state) = states.get(name).filter(|state| state.section.front.is_some()) else {
                return;
            };
            state.at_server.passed().is_none()
        };
        plane.set_answered(name, is_answered);
    }
}
