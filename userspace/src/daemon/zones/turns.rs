//! Zones have their turns: what is due is handed to threads, done, and noted.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::list::{LARGE_ZONE, Turn, Zones};
use super::updates::answer_updates;
use crate::daemon::life::{Asked, Event, EventKind, EventReason, Outcome, choose};
use crate::daemon::locks::{Rank, Ranked};
use crate::daemon::state::{ReloadResult, ZoneState};
use crate::daemon::workers::LaneKind;
use crate::datapath::memory::trim_heap;
use crate::zone::Name;

/// Octets of a zone from which on threads for large zones work on it: a second of signing, more or less.
pub(super) const LARGE: u64 = 1 << 20;

/// By so many octets a zone is put off for a second when many are to be loaded: small ones come first.
const OCTETS_A_SECOND: u64 = 1 << 18;

impl Zones {
    /// Lets the zones have their turn for which something is due. To be called about once a second; waits for none.
    pub fn live(self: &Arc<Zones>) {
        let now = self.now();
        {
            let mut states = self.states.hold();
            let lives = states.iter().map(|(name, state)| (name, &state.life));
            let chosen = choose(lives, now).into_iter();
            let chosen: Vec<Name> = chosen.map(|(name, _)| name.clone()).collect();
            for name in &chosen {
                self.queue(&mut states, name);
            }
        }
        self.pass_what_is_behind();
        self.workers.catch_up();
    }

    /// Has a zone wait for its turn, if something is due, unless it waits already.
    pub(super) fn queue(self: &Arc<Zones>, states: &mut BTreeMap<Name, ZoneState>, name: &Name) {
        let now = self.now();
        let Some(state) = states.get_mut(name) else { return };
        let Some(event) = state.life.due(now) else { return };
        if state.life.is_untried() && !self.awaited.hold().order.may_begin(name) {
            return;
        }
        let work = &mut state.work;
        let deadline = now.tick + patience(&event, work.octets);
        if work.queued.is_some_and(|queued| queued <= deadline) {
            return;
        }
        work.queued = Some(deadline);
        let lane = match work.octets < LARGE {
            true => LaneKind::Small,
            false if is_look(&event) => LaneKind::Background,
            false => LaneKind::Large,
        };
        let (zones, name) = (Arc::clone(self), name.clone());
        self.workers.submit(lane, deadline, Box::new(move || zones.take_turn(&name)));
    }

    /// Does what is due for a zone.
    pub(super) fn take_turn(self: &Arc<Zones>, name: &Name) {
        let Some(mut turn) = self.begin_turn(name) else { return };
        let done = {
            let _rank = Ranked::take(Rank::Turn);
            catch_unwind(AssertUnwindSafe(|| {
                let (outcome, result) = self.perform(&mut turn);
                self.follow_catalog(&turn, &outcome);
                (outcome, result)
            }))
        };
        let (outcome, result) = done.unwrap_or_else(|_| self.say_fault(&turn));
        let waiting = std::mem::take(&mut turn.waiting);
        let updates = std::mem::take(&mut turn.updates);
        self.end_turn(&turn, outcome);
        if !is_look(&turn.event) {
            self.answer_or_pass_anew(&turn.name);
        }
        self.compile_if_due(&turn);
        if !is_look(&turn.event) {
            // Who has started the daemon waits for what is loaded, and who has asked for what he hears of.
            let is_settled = turn.event.kind == EventKind::Load || !waiting.is_empty();
            self.note_unfollowed(name, is_settled);
            if !updates.is_empty() {
                // Who is told that it is done finds it in a transfer, too.
                self.follow(&mut **self.plane.hold());
                answer_updates(updates, &result);
            }
            if turn.event.reason == EventReason::Failed {
                // Nobody waits for it who would do so.
                self.replace_adopted();
            }
            self.give_back(&turn);
            self.merge_if_due(&turn);
        }
        for one in waiting {
            // Who has asked may have gone.
            let _ = one.send(result.clone());
        }
    }

    pub(super) fn begin_turn(self: &Arc<Zones>, name: &Name) -> Option<Turn> {
        let mut states = self.states.hold();
        let Some(state) = states.get_mut(name) else {
            self.note_tried(&mut states, name);
            return None;
        };
        state.work.queued = None;
        let event = state.life.due(self.now())?;
        // A zone of this name that is gone: when its turn has ended, this one is looked at again.
        if !is_look(&event) && !self.turns.hold().insert(name.clone()) {
            return None;
        }
        let asked = state.life.asked().filter(|_| event.reason == EventReason::Asked);
        // What is to be served instead of the file comes first, each in a turn of its own: then the file is read.
        let is_one = asked.is_some() && !state.work.rollbacks.is_empty();
        let rollback = is_one.then(|| state.work.rollbacks.remove(0));
        let (instead, waiting) = match (rollback, asked) {
            (Some((version, sender)), _) => (Some(version), vec![sender]),
            (None, Some(_)) => (None, std::mem::take(&mut state.work.waiting)),
            (None, None) => (None, Vec::new()),
        };
        let is_transferred = event.reason == EventReason::Transferred;
        let incoming = is_transferred.then(|| state.work.incoming.take()).flatten();
        state.life.begin(event);
        if is_one && !(state.work.rollbacks.is_empty() && state.work.waiting.is_empty()) {
            state.life.ask(asked.unwrap_or(Asked::IfChanged));
        }
        let identity = Arc::clone(&state.work.identity);
        let updates = Vec::new();
        Some(Turn {
            name: name.clone(),
            identity,
            event,
            asked,
            instead,
            incoming,
            updates,
            waiting,
        })
    }

    fn perform(&self, turn: &mut Turn) -> (Outcome, ReloadResult) {
        match (turn.event.kind, turn.event.reason) {
            (_, EventReason::Updated) => self.update(turn),
            (EventKind::Verify, EventReason::Verified) => {
                (self.heed_found(turn), ReloadResult::Unchanged)
            }
            (EventKind::Verify, _) => (self.look_behind(turn), ReloadResult::Unchanged),
            (EventKind::Keep, _) => (self.keep_behind(turn), ReloadResult::Unchanged),
            (EventKind::Expire, _) => (self.expire(turn), ReloadResult::Unchanged),
            _ => {
                if turn.event.is_renewal() {
                    tracing::info!(
                        zone = %turn.name,
                        "prepared again: its signatures are due, later signatures become valid, or a key is used otherwise"
                    );
                }
                self.change(turn)
            }
        }
    }

    pub(super) fn end_turn(self: &Arc<Zones>, turn: &Turn, outcome: Outcome) {
        let now = self.now();
        let is_journal_long = self.is_journal_long(turn);
        let mut states = self.states.hold();
        let is_there = match turn.state(&mut states) {
            Some(state) => {
                state.life.end(turn.event, outcome, now);
                state.life.keep(state.keep_reason(is_journal_long), now);
                true
            }
            None => false,
        };
        if !is_look(&turn.event) {
            self.turns.hold().remove(&turn.name);
        }
        if is_there && turn.event.kind == EventKind::Load {
            self.note_tried(&mut states, &turn.name);
        }
        // What somebody waits for; all else comes with the next second.
        let next = states.get(&turn.name).and_then(|state| state.life.due(now));
        if next.is_some_and(|event| is_pressing(&event)) {
            self.queue(&mut states, &turn.name);
        }
        let asks = states.get(&turn.name).is_some_and(|state| state.life.round_due(now).is_some());
        drop(states);
        if asks {
            // Its primaries are asked now, and not in the next second.
            self.presented.notified().wake();
        }
        if !is_look(&turn.event) {
            self.take_merged(&turn.name);
        }
        if !is_there {
            self.forget_left(&turn.name);
        }
    }

    /// A zone has been tried, or is not there: those that wait for it may be.
    pub(super) fn note_tried(
        self: &Arc<Zones>,
        states: &mut BTreeMap<Name, ZoneState>,
        name: &Name,
    ) {
        let freed = {
            let mut awaited = self.awaited.hold();
            let freed = awaited.order.done(name);
            if awaited.order.is_done() {
                awaited.waiting.clear();
            }
            freed
        };
        if let Some(freed) = freed {
            self.queue(states, &freed);
        }
    }

    fn give_back(&self, turn: &Turn) {
        let owners = turn
            .state(&mut self.states.hold())
            .and_then(|state| state.loaded.as_ref().map(|loaded| loaded.zone.owner_count()));
        give_back_memory(owners.unwrap_or(0));
    }
}

/// Gives back what reading or merging a zone of so many names has left behind, if it is large.
pub(super) fn give_back_memory(owners: usize) {
    if owners >= LARGE_ZONE {
        trim_heap();
    }
}

/// Whether the event only looks at a zone: others may change it meanwhile.
fn is_look(event: &Event) -> bool {
    let is_verified = event.reason == EventReason::Verified;
    matches!(event.kind, EventKind::Verify | EventKind::Keep) && !is_verified
}

/// Whether an event has its turn as soon as the one before has ended.
fn is_pressing(event: &Event) -> bool {
    use EventReason::{Asked, NotTried, Transferred, Updated, Verified};
    matches!(event.reason, Asked | NotTried | Transferred | Updated | Verified)
}

/// How long an event may wait while there are others.
fn patience(event: &Event, octets: u64) -> Duration {
    let seconds = match (event.kind, event.reason) {
        (EventKind::Load, _) => {
            return Duration::from_millis(octets.saturating_mul(1000) / OCTETS_A_SECOND);
        }
        (
            _,
            EventReason::Asked
            | EventReason::Verified
            | EventReason::Transferred
            | EventReason::Updated,
        ) => 0,
        (EventKind::Expire | EventKind::Refresh, _) => 0,
        (EventKind::Sign | EventKind::Change, _) => 2,
        (EventKind::FollowUp | EventKind::Keep, _) => 60,
        (EventKind::Verify, EventReason::NotVerified) => 120,
        (EventKind::Verify, _) => 600,
    };
    Duration::from_secs(seconds)
}
