//! What happens to a zone, and when: a pure function of what is known of it and of the time.
//!
//! There is no clock, no file and no lock in here. Who does the work asks what is due ([`Life::due`]), says that it
//! begins ([`Life::begin`]) and how it ended ([`Life::end`]). A zone has one event at a time, but for verifying, which
//! only reads: what it found takes effect in an event of its own.
//!
//! | event | when | after a failure |
//! |---|---|---|
//! | load | at once; again if nothing is served since files could not be read | later and later, at most an hour |
//! | follow up | at once, if what is served is of the last run | never again by itself |
//! | change | when somebody asks, or a signature of somebody else's begins to be valid | the latter as signing |
//! | sign | `refresh` before the first signature ends; at once if one is not valid yet; when the use of a key changes | later and later, at most an hour or a part of `refresh` |
//! | verify | at once if it was never done, and a day after it was | as loading |
//! | refresh | as [`refresh`] has it; who asks primaries does so beside all else ([`Life::round_due`]) | as there |
//! | change | when a version has come from a primary | the whole zone is asked for if differences did not fit; else as a round that failed |
//! | change | when updates of clients wait (RFC 2136) | who asked is told |
//! | expire | EXPIRE after the last success of a round | it is served again with the next version |
//! | keep | at once if the journal is long; if what is served could not be kept, as signing after a failure | as signing |
//!
//! A change that could not be made durable is refused, and made again as signing is after a failure.
//!
//! Times of signatures are those of the wall clock, which may be set forwards and back by years; waits after failures
//! are on the monotonic clock. Not all that is due for many zones at once is done at once: see [`choose`].

pub mod refresh;
mod retry;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transferred;
mod values;

use refresh::{Refresh, RoundOutcome, RoundReason, Wanted};
use retry::Retry;

use crate::dnssec::times::is_before;
pub use crate::observe::event::{EventKind, EventReason};
pub use values::{Asked, Confirmed, Event, Facts, KeepReason, Moment, Outcome, Signatures, Terms};

/// Seconds after which a zone's signatures are verified again.
const VERIFIED_AGAIN: u32 = 86400;

/// Calls of [`choose`], one a second, in which all zones may be signed again or verified for the day.
const SPREAD_OVER: usize = 600;

/// How many may be at each call, however few there are.
const AT_LEAST: usize = 4;

/// Whether something is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Untried,
    Served,
    /// Nothing, since it could not be loaded.
    Failed,
    /// Nothing, since what was served was wrong.
    Withdrawn,
}

/// How far verifying is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verifying {
    Idle,
    Looking,
    /// It has ended, and what it found is to take effect.
    Found,
}

/// What is known of one zone, as far as what happens to it goes by that.
#[derive(Debug, Clone)]
pub struct Life {
    terms: Terms,
    stage: Stage,
    is_behind: bool,
    signatures: Option<Signatures>,
    begins_at: Option<u32>,
    verified_at: Option<u32>,
    asked: Option<Asked>,
    /// Whether updates of clients wait.
    has_updates: bool,
    running: Option<Event>,
    verifying: Verifying,
    /// Whether the last change was refused, since it could not be made durable.
    is_refused: bool,
    to_keep: Option<KeepReason>,
    is_keeping: bool,
    /// Whether the last event was one that may be due again at once.
    was_recurring: bool,
    /// Of loading, signing and changes that are due by themselves.
    retry: Retry,
    verify_retry: Retry,
    keep_retry: Retry,
    /// Of a zone that comes from primaries.
    refresh: Refresh,
}

impl Life {
    /// That of a zone that was not tried yet. `seed` is of the zone alone: it spreads what many zones try again.
    pub fn new(terms: Terms, seed: u32) -> Life {
        Life {
            terms,
            stage: Stage::Untried,
            is_behind: false,
            signatures: None,
            begins_at: None,
            verified_at: None,
            asked: None,
            has_updates: false,
            running: None,
            verifying: Verifying::Idle,
            is_refused: false,
            to_keep: None,
            is_keeping: false,
            was_recurring: false,
            retry: Retry::new(seed),
            verify_retry: Retry::new(seed),
            keep_retry: Retry::new(seed),
            refresh: Refresh::new(seed, terms.poll),
        }
    }

    /// The configuration wants this from now on.
    pub fn follow(&mut self, terms: Terms) {
        self.terms = terms;
        self.refresh.poll(terms.poll);
    }

    /// Somebody asks for its file to be read.
    pub fn ask(&mut self, asked: Asked) {
        self.asked = self.asked.max(Some(asked));
    }

    /// Updates of clients wait.
    pub fn note_updates(&mut self) {
        self.has_updates = true;
    }

    /// Whether what is served is to be written as a whole, and why. What could not be kept was tried just now.
    pub fn keep(&mut self, reason: Option<KeepReason>, now: Moment) {
        if reason == Some(KeepReason::NotKept) && self.to_keep != reason {
            self.keep_retry.fail(now.tick, self.keep_time());
        }
        self.to_keep = reason;
    }

    //--- Primaries

    /// Since how many seconds its primaries are to be asked; none if they are not.
    pub fn round_due(&self, now: Moment) -> Option<i64> {
        let (_, wait) = self.next_round(now)?;
        (wait <= 0).then_some(-wait)
    }

    /// Somebody asks for its primaries to be asked.
    pub fn ask_primaries(&mut self, reason: RoundReason, wanted: Wanted) {
        self.refresh.ask(reason, wanted);
    }

    /// Its primaries are being asked from now on. Returns for what.
    pub fn begin_round(&mut self, now: Moment) -> Wanted {
        self.refresh.begin(now.tick)
    }

    /// They have been asked.
    pub fn end_round(&mut self, outcome: RoundOutcome, now: Moment) {
        self.refresh.end(outcome, now.tick);
    }

    /// In how many seconds it expires without a primary, if it does.
    pub fn expires(&self, now: Moment) -> Option<i64> {
        self.refresh.expires(now.tick).filter(|_| self.terms.is_transferred)
    }

    /// Whether it expires so soon that somebody should look.
    pub fn is_expiring(&self, now: Moment) -> bool {
        self.terms.is_transferred && self.refresh.is_alarming(now.tick)
    }

    fn next_round(&self, now: Moment) -> Option<(RoundReason, i64)> {
        // What was kept when the daemon ran last comes first.
        let is_asking = self.terms.is_transferred && !self.is_untried();
        is_asking.then(|| self.refresh.round(now.tick))?
    }

    fn round_event(&self, now: Moment) -> Option<Event> {
        let (reason, wait) = self.next_round(now)?;
        let reason = match reason {
            RoundReason::NoVersion => EventReason::NotTransferred,
            RoundReason::Refresh => EventReason::RefreshPassed,
            RoundReason::Retry => EventReason::Failed,
            RoundReason::Notified => EventReason::Notified,
            RoundReason::Asked => EventReason::Asked,
        };
        Some(Event { kind: EventKind::Refresh, reason, wait })
    }

    fn has_received(&self) -> bool {
        self.terms.is_transferred && self.refresh.is_received() && !self.is_untried()
    }

    fn expire(&self, now: Moment) -> Option<Event> {
        let wait = self.expires(now).filter(|_| self.is_served())?;
        Some(Event { kind: EventKind::Expire, reason: EventReason::Unconfirmed, wait })
    }

    //--- To look at

    /// Whether it was not tried yet.
    pub fn is_untried(&self) -> bool {
        self.stage == Stage::Untried
    }

    /// Whether what is served is of the last run, and the files may say something else.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// What somebody asks for that was not begun.
    pub fn asked(&self) -> Option<Asked> {
        self.asked
    }

    /// When what is served was verified last.
    pub fn verified_at(&self) -> Option<u32> {
        self.verified_at
    }

    /// When a signature of somebody else's begins to be valid, or the use of a key changes.
    pub fn begins_at(&self) -> Option<u32> {
        self.begins_at
    }

    /// What goes on: a change, or verifying.
    pub fn running(&self) -> Option<EventKind> {
        let verifying = (self.verifying == Verifying::Looking).then_some(EventKind::Verify);
        let keeping = self.is_keeping.then_some(EventKind::Keep);
        let asking = self.refresh.is_running().then_some(EventKind::Refresh);
        self.running.map(|event| event.kind).or(verifying).or(keeping).or(asking)
    }

    /// When its signatures are to be made anew, if sealdns makes them.
    pub fn sign_at(&self) -> Option<u32> {
        let signatures = self.signatures.filter(|_| self.terms.signs && self.is_served())?;
        Some(signatures.expiration.wrapping_sub(self.terms.refresh))
    }

    fn is_served(&self) -> bool {
        self.stage == Stage::Served
    }

    //--- What comes

    /// What comes, of each kind the next, the first one first.
    pub fn events(&self, now: Moment) -> Vec<Event> {
        let round = self.round_event(now);
        let mut events: Vec<Event> =
            self.candidates(now).into_iter().chain([round]).flatten().collect();
        // Stable: of those that are due the order is that of the candidates.
        events.sort_by_key(|event| event.wait.max(0));
        events
    }

    /// What comes next, due or not; none while something goes on.
    pub fn next(&self, now: Moment) -> Option<Event> {
        if self.running.is_some() {
            return None;
        }
        let candidates = self.candidates(now);
        let mut due = candidates.iter().flatten().filter(|event| event.wait <= 0);
        let first = due.next();
        // What is always due must not keep another from its turn.
        let next = first.map(|first| match self.was_recurring && first.is_renewal() {
            true => due.next().unwrap_or(first),
            false => first,
        });
        let soonest = || candidates.iter().flatten().min_by_key(|event| event.wait.max(0));
        next.or_else(soonest).copied()
    }

    /// What is to be done now.
    pub fn due(&self, now: Moment) -> Option<Event> {
        self.next(now).filter(|event| event.wait <= 0)
    }

    /// Of each kind the next event; those that are due have their turn in this order.
    fn candidates(&self, now: Moment) -> [Option<Event>; 11] {
        [
            self.load(now),
            // A version that has come keeps it from expiring.
            self.has_received().then_some(Event {
                kind: EventKind::Change,
                reason: EventReason::Transferred,
                wait: 0,
            }),
            self.expire(now),
            (self.has_updates && !self.is_untried()).then_some(Event {
                kind: EventKind::Change,
                reason: EventReason::Updated,
                wait: 0,
            }),
            self.asked.filter(|_| !self.is_untried()).map(|_| Event {
                kind: EventKind::Change,
                reason: EventReason::Asked,
                wait: 0,
            }),
            (self.is_behind && self.is_served()).then_some(Event {
                kind: EventKind::FollowUp,
                reason: EventReason::FromLastRun,
                wait: 0,
            }),
            self.sign(now),
            self.begin_of_signatures(now),
            // Behind signing: a disk that stays full must not keep from it.
            self.is_refused.then(|| Event {
                kind: EventKind::Change,
                reason: EventReason::Refused,
                wait: self.retry.wait(now.tick).unwrap_or(0),
            }),
            self.verify(now),
            self.writing(now),
        ]
    }

    fn load(&self, now: Moment) -> Option<Event> {
        let (reason, wait) = match self.stage {
            Stage::Untried if self.asked.is_some() => (EventReason::Asked, 0),
            Stage::Untried => (EventReason::NotTried, 0),
            // Its primaries are asked.
            Stage::Failed if self.terms.is_transferred => return None,
            Stage::Failed => (EventReason::Failed, self.retry.wait(now.tick)?),
            Stage::Served | Stage::Withdrawn => return None,
        };
        Some(Event { kind: EventKind::Load, reason, wait })
    }

    fn sign(&self, now: Moment) -> Option<Event> {
        let sign_at = self.sign_at()?;
        let end = match self.signatures?.is_ahead(now.wall) {
            true => (0, EventReason::SignaturesAhead),
            false => (seconds_until(sign_at, now.wall), EventReason::SignaturesEnd),
        };
        let keys = self.begins_at.map(|at| (seconds_until(at, now.wall), EventReason::KeysChange));
        let (wait, reason) = keys.filter(|keys| keys.0 < end.0).unwrap_or(end);
        let wait = self.retry.wait(now.tick).map_or(wait, |retry| retry.max(wait));
        Some(Event { kind: EventKind::Sign, reason, wait })
    }

    /// Whether its signatures end so soon, or begin so late, that it is signed before others.
    fn is_urgent(&self, now: Moment) -> bool {
        self.signatures.is_some_and(|signatures| {
            let late = signatures.expiration.wrapping_sub(self.terms.refresh / 2);
            signatures.is_ahead(now.wall) || !is_before(now.wall, late)
        })
    }

    fn begin_of_signatures(&self, now: Moment) -> Option<Event> {
        let is_meant = !self.terms.signs && !self.is_untried();
        let wait = seconds_until(self.begins_at.filter(|_| is_meant)?, now.wall);
        let wait = self.retry.wait(now.tick).map_or(wait, |retry| retry.max(wait));
        Some(Event { kind: EventKind::Change, reason: EventReason::SignaturesBegin, wait })
    }

    fn verify(&self, now: Moment) -> Option<Event> {
        let event = |reason, wait| Some(Event { kind: EventKind::Verify, reason, wait });
        match self.verifying {
            Verifying::Looking => return None,
            Verifying::Found => return event(EventReason::Verified, 0),
            Verifying::Idle if !(self.terms.verifies && self.is_served()) => return None,
            Verifying::Idle => {}
        }
        let (reason, wait) = match self.verified_at {
            None => (EventReason::NotVerified, 0),
            Some(at) => {
                let since = -seconds_until(at, now.wall);
                let left = i64::from(VERIFIED_AGAIN) - since;
                // The clock was set back.
                (EventReason::Daily, if since < 0 { 0 } else { left })
            }
        };
        let wait = self.verify_retry.wait(now.tick).map_or(wait, |retry| retry.max(wait));
        event(reason, wait)
    }

    fn writing(&self, now: Moment) -> Option<Event> {
        let reason = match self.to_keep.filter(|_| !self.is_keeping && self.is_served())? {
            KeepReason::NotKept => EventReason::NotKept,
            KeepReason::JournalLong => EventReason::JournalLong,
        };
        let wait = self.keep_retry.wait(now.tick).unwrap_or(0);
        Some(Event { kind: EventKind::Keep, reason, wait })
    }

    /// How much time there is for what is served to be kept, in seconds.
    fn keep_time(&self) -> u32 {
        if self.terms.signs { self.terms.refresh } else { u32::MAX }
    }

    //--- What happens

    /// What [`Life::due`] said begins.
    pub fn begin(&mut self, event: Event) {
        debug_assert!(self.running.is_none(), "one event at a time");
        match (event.kind, event.reason) {
            (EventKind::Verify, EventReason::Verified) => self.running = Some(event),
            (EventKind::Verify, _) => self.verifying = Verifying::Looking,
            (EventKind::Keep, _) => self.is_keeping = true,
            (_, EventReason::Asked) => {
                self.asked = None;
                self.running = Some(event);
            }
            (_, EventReason::Updated) => {
                self.has_updates = false;
                self.running = Some(event);
            }
            _ => self.running = Some(event),
        }
        self.was_recurring = event.is_renewal();
    }

    /// It has ended so.
    pub fn end(&mut self, event: Event, outcome: Outcome, now: Moment) {
        if event.kind == EventKind::Verify {
            return self.end_verifying(event, outcome, now);
        }
        if event.kind == EventKind::Keep {
            return self.end_keeping(outcome, now);
        }
        self.running = None;
        if event.reason == EventReason::Transferred {
            self.end_transfer(outcome, now);
        }
        match outcome {
            Outcome::Served(facts) => {
                self.stage = Stage::Served;
                if let Some(Confirmed { timers, at }) = facts.confirmed {
                    self.refresh.put(timers, refresh::age(at, now.wall), now.tick);
                }
                self.note(facts);
                self.retry.succeed();
            }
            Outcome::Unchanged { begins_at } => {
                (self.is_behind, self.is_refused) = (false, false);
                self.retry.succeed();
                self.begins_at = begins_at;
            }
            Outcome::Refused => {
                // What has come from a primary is asked for again.
                let is_kept =
                    !matches!(event.reason, EventReason::Transferred | EventReason::Updated);
                (self.is_behind, self.is_refused) = (false, is_kept);
                self.retry.fail(now.tick, self.terms.refresh);
            }
            Outcome::Withdrawn => {
                self.withdraw();
                if event.kind == EventKind::Expire {
                    self.refresh.expire();
                }
            }
            Outcome::Failed { .. }
            | Outcome::Unfit
            | Outcome::Kept
            | Outcome::LookedAt
            | Outcome::Outdated
            | Outcome::Verified => {
                self.is_behind = false;
                if let Outcome::Failed { begins_at: Some(at) } = outcome {
                    self.begins_at = Some(at);
                }
                if self.stage == Stage::Untried {
                    self.stage = Stage::Failed;
                }
                // What somebody asks for is not tried again, unless nothing is served.
                let is_asked = matches!(
                    event.reason,
                    EventReason::Asked | EventReason::Transferred | EventReason::Updated
                );
                if self.stage == Stage::Failed
                    || !is_asked && event.reason != EventReason::FromLastRun
                {
                    self.retry.fail(now.tick, self.terms.refresh);
                }
            }
        }
    }

    /// What has come from a primary was put in place, or not.
    fn end_transfer(&mut self, outcome: Outcome, now: Moment) {
        match outcome {
            // With the times that it has.
            Outcome::Served(Facts { confirmed: Some(_), .. }) => {}
            Outcome::Served(_) | Outcome::Unchanged { .. } => {
                self.refresh.end(RoundOutcome::UpToDate, now.tick)
            }
            Outcome::Unfit => self.refresh.refuse(true, now.tick),
            _ => self.refresh.refuse(false, now.tick),
        }
    }

    fn end_verifying(&mut self, event: Event, outcome: Outcome, now: Moment) {
        if event.reason == EventReason::Verified {
            self.running = None;
        }
        self.verifying = Verifying::Idle;
        match outcome {
            Outcome::LookedAt => self.verifying = Verifying::Found,
            Outcome::Verified | Outcome::Unchanged { .. } | Outcome::Served(_) => {
                self.verified_at = Some(now.wall);
                self.verify_retry.succeed();
            }
            Outcome::Outdated | Outcome::Kept => {}
            Outcome::Failed { .. } | Outcome::Unfit | Outcome::Refused => {
                self.verify_retry.fail(now.tick, u32::MAX);
            }
            Outcome::Withdrawn => self.withdraw(),
        }
    }

    fn end_keeping(&mut self, outcome: Outcome, now: Moment) {
        self.is_keeping = false;
        match outcome {
            Outcome::Kept => {
                self.to_keep = None;
                self.keep_retry.succeed();
            }
            Outcome::Failed { .. } => self.keep_retry.fail(now.tick, self.keep_time()),
            // What was written is not served any more.
            _ => {}
        }
    }

    fn note(&mut self, facts: Facts) {
        let Facts { signatures, begins_at, verified_at, is_behind, is_refused, .. } = facts;
        (self.signatures, self.begins_at, self.is_behind) = (signatures, begins_at, is_behind);
        self.is_refused = is_refused;
        self.verified_at = verified_at;
        self.verify_retry.succeed();
    }

    fn withdraw(&mut self) {
        self.stage = Stage::Withdrawn;
        (self.signatures, self.begins_at, self.verified_at) = (None, None, None);
        (self.is_behind, self.is_refused) = (false, false);
    }
}

/// Which of many zones have their turn now, of those for which something is due. To be called about once a second.
///
/// Zones that were loaded together would be signed and verified together for ever. So of those that are to be signed,
/// and of those that are verified for the day, so many have their turn that all had it in ten minutes: those that are due
/// the longest. What cannot wait for as long is not held back: a zone that was not signed in half of the time that there
/// is for it. All else has its turn at once.
pub fn choose<'a, K>(zones: impl Iterator<Item = (K, &'a Life)>, now: Moment) -> Vec<(K, Event)> {
    let (mut chosen, mut spread) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut count = 0;
    for (zone, life) in zones {
        count += 1;
        let Some(event) = life.due(now) else { continue };
        match (event.kind, event.reason) {
            (EventKind::Sign, _) if !life.is_urgent(now) => spread[0].push((zone, event)),
            (EventKind::Verify, EventReason::Daily) => spread[1].push((zone, event)),
            _ => chosen.push((zone, event)),
        }
    }
    for mut some in spread {
        some.sort_by_key(|(_, event)| event.wait);
        chosen.extend(some.into_iter().take(share(count)));
    }
    chosen
}

/// How many of so many zones have their turn at once.
fn share(count: usize) -> usize {
    count.div_ceil(SPREAD_OVER).max(AT_LEAST)
}

/// Seconds from now to a time, both truncated to 32 bits (RFC 4034 section 3.1.5).
fn seconds_until(at: u32, now: u32) -> i64 {
    i64::from(at.wrapping_sub(now) as i32)
}
