//! All zones loaded when the daemon is started.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use super::list::Zones;
#[cfg(test)]
use crate::daemon::life::{Event, EventKind, choose};
#[cfg(test)]
use crate::daemon::state::ZoneState;
use crate::zone::Name;

impl Zones {
    /// Serves every zone of the configuration: what was served when the daemon ran last, or else what its file says. Small
    /// ones come first, and none before those below it. Waits until every zone has been tried. Those that fail are
    /// told in the log.
    pub fn load_all(self: &Arc<Zones>) {
        let files: Vec<(Name, PathBuf)> = {
            let states = self.states.hold();
            states.iter().map(|(name, zone)| (name.clone(), zone.section.file.clone())).collect()
        };
        let sizes: Vec<(Name, u64)> =
            files.into_iter().map(|(name, file)| (name, octets_of(&file))).collect();
        let (waiting, all_tried) = mpsc::channel::<()>();
        {
            let mut states = self.states.hold();
            let untried: Vec<Name> = sizes
                .into_iter()
                .filter_map(|(name, octets)| {
                    let state = states.get_mut(&name)?;
                    state.work.octets = octets;
                    state.life.is_untried().then_some(name)
                })
                .collect();
            if !untried.is_empty() {
                let mut awaited = self.awaited.hold();
                awaited.waiting.push(waiting);
                untried.iter().for_each(|name| awaited.order.add(name.clone()));
            }
            for name in &untried {
                self.queue(&mut states, name);
            }
        }
        // Nothing is ever sent: it ends when the last one was tried.
        let _ = all_tried.recv();
        self.settle();
    }
}

/// How large a file is, in octets; none if it cannot be seen.
pub(super) fn octets_of(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// For tests: what is due of a kind, done by the thread that asks.
#[cfg(test)]
impl Zones {
    /// Signs the zones again for which it is the time.
    pub fn renew(self: &Arc<Zones>) {
        self.take_turns(Event::is_renewal);
    }

    /// Brings zones up to date that are served as they were when the daemon ran last.
    pub fn follow_up(self: &Arc<Zones>) {
        self.take_turns(|event| event.kind == EventKind::FollowUp);
    }

    /// Verifies zones for which it is the time.
    pub fn verify_behind(self: &Arc<Zones>) {
        let is_meant = |event: &Event| event.kind == EventKind::Verify;
        self.take_turns(is_meant);
        self.until_idle();
        self.settle();
    }

    /// Verifies a zone for which it is the time, while something else is done with it.
    pub fn verify_while(self: &Arc<Zones>, name: &Name, meanwhile: impl FnOnce()) {
        let turn = self.begin_turn(name).expect("it is due");
        assert_eq!(turn.event.kind, EventKind::Verify);
        let outcome = self.look_behind(&turn);
        meanwhile();
        self.end_turn(&turn, outcome);
        self.until_idle();
    }

    /// Merges what changed of a zone that is served, while something else is done with it.
    pub fn merge_while(self: &Arc<Zones>, name: &Name, meanwhile: impl FnOnce()) {
        let (snapshot, identity) = {
            let states = self.states.hold();
            let state = &states[name];
            let zone = state.loaded.as_ref().expect("it is served").zone.clone();
            (zone, Arc::clone(&state.work.identity))
        };
        let merged = self.merged(&snapshot);
        meanwhile();
        self.note_merged(name, &identity, merged);
    }

    /// Waits until no zone has its turn or waits for it, and nothing is merged.
    pub fn until_idle(&self) {
        let is_idle = || {
            let states = self.states.hold();
            let is_at_rest = |state: &ZoneState| {
                let is_done = state.life.running().is_none() && state.work.queued.is_none();
                is_done && !state.work.is_merging && !state.work.is_compiling
            };
            // Who exchanges a flat zone has its turn, and then lets it wait for the next one.
            states.values().all(is_at_rest) && self.turns.hold().is_empty()
        };
        while !is_idle() {
            std::thread::yield_now();
        }
    }

    fn take_turns(self: &Arc<Zones>, is_meant: impl Fn(&Event) -> bool) {
        let due: Vec<Name> = {
            let states = self.states.hold();
            let lives = states.iter().map(|(name, state)| (name, &state.life));
            let chosen = choose(lives, self.now()).into_iter();
            let meant = chosen.filter(|(_, event)| is_meant(event));
            meant.map(|(name, _)| name.clone()).collect()
        };
        if !due.is_empty() {
            due.iter().for_each(|name| self.take_turn(name));
            self.settle();
        }
    }
}
