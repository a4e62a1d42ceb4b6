//! Updates of clients (RFC 2136): all that wait for a zone are made into one difference, which goes the way of those that
//! come from a primary. So they share one look at their neighbours, one sync of the disk and one publication.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::list::{Turn, Zones};
use crate::config::Dnssec;
use crate::daemon::life::Outcome;
use crate::daemon::state::{Incoming, ReloadResult};
use crate::dnssec::origin;
use crate::server::message::Rcode;
use crate::transfer::incoming::Transferred;
use crate::transfer::update::{Draft, WaitingUpdate, is_let};
use crate::zone::difference::Rules;

impl Zones {
    /// Has the zones have a turn that have updates waiting. Those of zones that are not served are not done.
    pub fn note_updates(self: &Arc<Zones>) {
        let waiting = self.presented.updates();
        let mut states = self.states.hold();
        for name in waiting.zones() {
            match states.get_mut(&name).filter(|state| state.loaded.is_some()) {
                Some(state) => state.life.note_updates(),
                None => drop(waiting.take(&name)),
            }
            self.queue(&mut states, &name);
        }
    }

    /// Whether a zone is changed by updates, and so is not what its file says.
    pub(super) fn is_begun(&self, turn: &Turn) -> bool {
        let mut states = self.states.hold();
        let state = turn.state(&mut states);
        state.is_some_and(|state| state.section.is_updated() && state.loaded.is_some())
    }

    /// Does what the updates ask for that wait.
    pub(super) fn update(&self, turn: &mut Turn) -> (Outcome, ReloadResult) {
        let waiting = self.presented.updates().take(&turn.name);
        let unchanged = |begins_at| (Outcome::Unchanged { begins_at }, ReloadResult::Unchanged);
        let known = turn.state(&mut self.states.hold()).and_then(|state| {
            let loaded = state.loaded.as_ref()?;
            let (zone, origin) = (loaded.zone.clone(), loaded.origin.clone());
            Some((state.section.clone(), zone, origin, state.life.begins_at()))
        });
        let Some((section, served, origin, begins_at)) = known else { return unchanged(None) };
        let apex = served.apex().clone();
        let is_signed = section.dnssec == Dnssec::Sign;
        let is_taken =
            |owner: &[u8], rtype| !is_signed || origin::is_taken(apex.as_wire(), owner, rtype);
        let mut draft = Draft::new(&served, &is_taken);
        let rules = &section.allow_update;
        for one in waiting {
            let WaitingUpdate { update, key, answer, .. } = one;
            let types_at = |name: &[u8]| draft.types_at(name);
            let refused =
                update.changes.iter().find(|record| !is_let(rules, &apex, &key, record, types_at));
            let rcode = match refused {
                Some(record) => {
                    tracing::warn!(zone = %apex, %key, "an update is refused: no rule lets the key change {record}");
                    Rcode::REFUSED.0
                }
                None => match draft.update(&update) {
                    Ok(_) => Rcode::NOERROR.0,
                    Err(error) => {
                        tracing::info!(zone = %apex, %key, "an update is not done: {error}");
                        error.rcode()
                    }
                },
            };
            turn.updates.push((rcode, answer));
        }
        let Some(difference) = draft.difference() else { return unchanged(begins_at) };
        let of = |transferred| Some(Incoming { transferred, since: None });
        turn.incoming = of(Transferred::Differences(vec![difference.clone()]));
        let done = self.load_changed(turn);
        if !matches!(done.0, Outcome::Unfit) {
            return done;
        }
        // What must be signed as a whole.
        let unsigned = match &origin {
            Some(origin) => origin.unsigned(&served),
            None => served.flat(),
        };
        let whole = unsigned.map_err(anyhow::Error::from);
        match whole.and_then(|zone| Ok(difference.apply(&zone, Rules::Lenient)?)) {
            Ok(zone) => {
                turn.incoming = of(Transferred::Zone(zone));
                self.load_changed(turn)
            }
            Err(error) => {
                tracing::error!(zone = %apex, "updates cannot be done: {error:#}");
                (Outcome::Failed { begins_at }, ReloadResult::Failed(format!("{error:#}")))
            }
        }
    }
}

/// Tells clients what became of their updates.
pub(super) fn answer_updates(updates: Vec<(u16, oneshot::Sender<u16>)>, result: &ReloadResult) {
    let is_done = !matches!(result, ReloadResult::Failed(_) | ReloadResult::Removed);
    for (rcode, answer) in updates {
        let is_true = is_done || rcode != Rcode::NOERROR.0;
        // Who has asked may have gone.
        let _ = answer.send(if is_true { rcode } else { Rcode::SERVFAIL.0 });
    }
}
