//! Zones that come from primaries: rounds begun and ended, and zones that expire.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use itertools::Itertools as _;

use super::list::{Turn, Zones};
use crate::config::{self, CatalogRole};
use crate::daemon::life::Outcome;
use crate::daemon::life::refresh::{RoundOutcome, RoundReason, Wanted};
use crate::daemon::secondary::{Answer, Confirmations, Round, RoundEnd};
use crate::daemon::state::ZoneState;
use crate::transfer::client::Peer;
use crate::transfer::incoming::{Limits, Transferred};
use crate::zone::Name;

/// A round that goes on. If it is dropped without an end, as by a panic, it has failed.
pub struct HeldRound {
    zones: Arc<Zones>,
    name: Name,
    identity: Arc<()>,
    is_ended: bool,
}

impl Zones {
    /// Begins the rounds that are due, `most` at the most: those that wait the longest. These primaries have said that
    /// there are newer versions.
    pub fn begin_rounds(
        self: &Arc<Zones>,
        notified: BTreeMap<Name, IpAddr>,
        most: usize,
    ) -> Vec<Round> {
        let now = self.now();
        let mut states = self.states.hold();
        for (name, from) in notified {
            if let Some(state) = states.get_mut(&name) {
                state.primaries.notified_by = Some(from);
                state.life.ask_primaries(RoundReason::Notified, Wanted::Newer);
            }
        }
        let due = states
            .iter()
            .filter_map(|(name, state)| Some((Reverse(state.life.round_due(now)?), name)));
        // There may be a hundred thousand, of which a few can begin.
        let due: Vec<Name> = due.k_smallest(most).map(|(_, name)| name.clone()).collect();
        let mut begun = Vec::with_capacity(due.len());
        for name in due {
            if let Some(state) = states.get_mut(&name) {
                begun.push(self.begin_round(&name, state));
            }
        }
        begun
    }

    fn begin_round(self: &Arc<Zones>, name: &Name, state: &mut ZoneState) -> Round {
        let wanted = state.life.begin_round(self.now());
        let config = self.config();
        let since = state.loaded.as_ref().and_then(|loaded| loaded.from_primary);
        let primaries = state.primaries.in_order(&state.section).into_iter();
        let primaries = primaries.map(|primary| {
            let address = primary.address.0;
            let key = primary.tsig.as_ref().or(state.section.tsig.as_ref());
            let key = key.map(|name| self.presented.tsig_key(name).ok_or(name));
            let tls = primary.tls.clone();
            let peer = key.transpose().map(|key| Peer { address, key, tls });
            (address, peer.map_err(|name| format!("the TSIG key {name} is not known")))
        });
        let primaries = primaries.collect();
        state.primaries.notified_by = None;
        Round {
            name: name.clone(),
            identity: Arc::clone(&state.work.identity),
            wanted: if since.is_some() { wanted } else { wanted.max(Wanted::Whole) },
            since: since.map(|known| known.serial),
            primaries,
            limits: limits(&config.server),
            within: config.server.transfer_timeout.duration(),
            listener: state.section.front.map(|_| Arc::clone(self) as _),
        }
    }

    /// What ends a round that has begun.
    pub fn hold_round(self: &Arc<Zones>, round: &Round) -> HeldRound {
        HeldRound {
            zones: Arc::clone(self),
            name: round.name.clone(),
            identity: Arc::clone(&round.identity),
            is_ended: false,
        }
    }

    fn end_round(self: &Arc<Zones>, name: &Name, identity: &Arc<()>, end: RoundEnd) {
        let now = self.now();
        let mut states = self.states.hold();
        let state = states.get_mut(name);
        let Some(state) = state.filter(|state| Arc::ptr_eq(&state.work.identity, identity)) else {
            return;
        };
        for (primary, why) in end.failures {
            // A server that is polled may fail each second in the same way.
            if state.primaries.is_news(primary, &why) {
                tracing::warn!(zone = %name, %primary, "no transfer: {why}");
            }
            state.primaries.fail(primary, why, now.wall);
        }
        let outcome = match end.answer {
            None => RoundOutcome::Failed,
            Some((primary, answer)) => {
                state.primaries.succeed(primary, now.wall);
                self.take_answer(name, state, primary, answer, now.wall)
            }
        };
        if outcome == RoundOutcome::Failed
            && state.loaded.is_none()
            && let Some((_, primary, why)) = &state.primaries.last_failure
        {
            state.error =
                Some(format!("no version of it has come from a primary yet: {primary}: {why}"));
        }
        state.life.end_round(outcome, now);
        let is_to_be_noted =
            outcome == RoundOutcome::UpToDate && state.primaries.is_note_due(now.wall);
        self.queue(&mut states, name);
        drop(states);
        self.answer_or_pass(name);
        if is_to_be_noted {
            self.confirmations().note(name, now.wall);
        }
    }

    fn take_answer(
        &self,
        name: &Name,
        state: &mut ZoneState,
        primary: SocketAddr,
        answer: Answer,
        now: u32,
    ) -> RoundOutcome {
        let incoming = match answer {
            Answer::UpToDate => {
                let known = state.loaded.as_mut().and_then(|loaded| loaded.from_primary.as_mut());
                known.into_iter().for_each(|known| known.at = now);
                return RoundOutcome::UpToDate;
            }
            Answer::Incoming(incoming) => incoming,
        };
        tracing::info!(zone = %name, %primary, "transferred: {}", what(&incoming.transferred));
        if let Some(serial) = incoming.transferred.serial() {
            state.at_server.hear(Ok(serial));
        }
        if let Transferred::Zone(zone) = &incoming.transferred {
            state.work.octets = zone.octets() as u64;
        }
        state.work.incoming = Some(incoming);
        RoundOutcome::Received
    }

    fn confirmations(&self) -> Confirmations {
        Confirmations::of(&self.config().server.state_dir)
    }

    /// A person asks for the primaries of a zone to be asked; `None` if it is not configured, `false` if it has none.
    pub fn ask_primaries(&self, name: &Name, wanted: Wanted) -> Option<bool> {
        let mut states = self.states.hold();
        let state = states.get_mut(name)?;
        if !state.section.is_transferred() {
            return Some(false);
        }
        state.life.ask_primaries(RoundReason::Asked, wanted);
        drop(states);
        self.presented.notified().wake();
        Some(true)
    }

    /// A zone is not served any more: no primary has had it for as long as its SOA record allows.
    pub(super) fn expire(&self, turn: &Turn) -> Outcome {
        let name = &turn.name;
        let section = match turn.state(&mut self.states.hold()) {
            Some(state) => state.section.clone(),
            None => return Outcome::Outdated,
        };
        tracing::error!("zone {name} is no longer served: it has expired");
        if let Err(error) = self.plane.hold().remove(name) {
            tracing::error!(zone = %name, "removing the zone from the data plane: {error:#}");
        }
        // What a catalog listed last stays so, after a restart, too.
        if section.catalog != CatalogRole::Consume {
            self.forget(&section);
        }
        if let Some(state) = turn.state(&mut self.states.hold()) {
            let why = state.primaries.last_failure.as_ref();
            let why = why.map(|(_, primary, why)| format!(": {primary}: {why}"));
            state.loaded = None;
            state.error = Some(format!(
                "it has expired: no primary has had it for as long as its SOA record allows{}",
                why.unwrap_or_default()
            ));
        }
        Outcome::Withdrawn
    }
}

impl HeldRound {
    /// It has ended so.
    pub fn end(mut self, end: RoundEnd) {
        self.is_ended = true;
        self.zones.end_round(&self.name, &self.identity, end);
    }
}

impl Drop for HeldRound {
    fn drop(&mut self) {
        if !self.is_ended {
            let end = RoundEnd { failures: Vec::new(), answer: None };
            self.zones.end_round(&self.name, &self.identity, end);
        }
    }
}

/// How much one transfer may have.
fn limits(server: &config::Server) -> Limits {
    let octets = server.transfer_size.octets();
    Limits { octets, records: octets / MIN_RECORD, messages: octets / MIN_RECORD }
}

/// Octets that a record takes at least in a transfer: a pointer and the fixed fields (RFC 1035 section 4.1.3).
const MIN_RECORD: u64 = 12;

fn what(transferred: &Transferred) -> String {
    match transferred {
        Transferred::UpToDate(serial) => format!("nothing newer than serial {serial}"),
        Transferred::Zone(zone) => {
            format!("the whole zone, serial {}, {} records", zone.serial(), zone.record_count())
        }
        Transferred::Differences(all) => {
            let records: usize =
                all.iter().map(|one| one.removed().len() + one.added().len()).sum();
            let serial = all.last().map_or(0, |last| last.new_serial().0);
            format!("{records} records in {} differences, to serial {serial}", all.len())
        }
    }
}
