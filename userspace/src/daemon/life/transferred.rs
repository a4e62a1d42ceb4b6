//! Zones that come from primaries live for weeks on a virtual clock, while primaries, disk and daemon fail as a seed says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::refresh::Timers;
use super::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// What the wall clock shows at first, in seconds since 1970.
const START: u64 = 1_800_000_000;

/// How long after its time an event may happen: each step is no longer.
const STEP: u64 = 60;

/// What is ill.
#[derive(Clone, Copy, Default)]
struct Faults {
    /// No primary answers.
    network: bool,
    /// Differences that come do not fit.
    unfit: bool,
    /// What comes is refused: a validator would refuse it.
    bogus: bool,
    /// Nothing can be written.
    disk: bool,
}

/// One zone, its primary and the daemon.
struct World {
    random: u64,
    start: Instant,
    /// Seconds since the start, on both clocks.
    now: u64,
    faults: Faults,
    life: Life,
    timers: Timers,
    /// The serial at the primary, of what is served, and of what has come.
    primary: u32,
    served: Option<u32>,
    incoming: Option<(u32, Wanted)>,
    /// What a restart finds: the serial, and when a primary had it.
    kept: Option<(u32, u64)>,
    /// When a primary was known to have what is served, or something newer that was put in place.
    confirmed: u64,
    /// When the round ends that goes on.
    round: Option<(u64, Wanted)>,
    /// When rounds began, in the last hour.
    rounds: Vec<u64>,
    /// Since when there is an alarm.
    alarm: Option<u64>,
    started: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            random: seed,
            start: Instant::now(),
            now: 0,
            faults: Faults::default(),
            life: Life::new(terms(false), seed as u32),
            timers: Timers::new(HOUR as u32, 600, DAY as u32),
            primary: 7,
            served: None,
            incoming: None,
            kept: None,
            confirmed: 0,
            round: None,
            rounds: Vec::new(),
            alarm: None,
            started: 0,
        };
        let [refresh, retry, expire] = [7200, 3000, 700_000].map(|end| world.below(end) as u32);
        world.timers = Timers::new(refresh, retry, expire);
        world.life = Life::new(terms(world.below(2) == 0), seed as u32);
        world
    }

    /// splitmix64.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn moment(&self) -> Moment {
        let tick = self.start + Duration::from_secs(self.now);
        Moment { wall: (START + self.now) as u32, tick }
    }

    fn confirmed(&self, at: u64) -> Option<Confirmed> {
        Some(Confirmed { timers: self.timers, at: (START + at) as u32 })
    }

    fn step(&mut self) {
        self.end_round();
        let moment = self.moment();
        if self.life.round_due(moment).is_some() {
            let wanted = self.life.begin_round(moment);
            assert!(self.served.is_some() || wanted == Wanted::Whole, "nothing to differ from");
            self.round = Some((self.now + self.below(30), wanted));
            self.rounds.push(self.now);
            self.rounds.retain(|at| self.now - at < HOUR);
        }
        // Some hundred seconds of work at the most.
        for _ in 0..10 {
            let Some(event) = self.life.due(moment) else { break };
            self.life.begin(event);
            let outcome = self.outcome(event);
            self.life.end(event, outcome, moment);
        }
        self.look();
        let waits = self.life.events(moment).into_iter().map(|event| event.wait.max(1) as u64);
        let next = waits.chain(self.round.map(|(ends, _)| ends.saturating_sub(self.now).max(1)));
        self.now += next.min().unwrap_or(STEP).min(STEP);
    }

    fn end_round(&mut self) {
        let Some((_, wanted)) = self.round.filter(|(ends, _)| *ends <= self.now) else { return };
        self.round = None;
        let moment = self.moment();
        if self.faults.network {
            return self.life.end_round(RoundOutcome::Failed, moment);
        }
        if wanted == Wanted::Newer && self.served == Some(self.primary) {
            self.confirmed = self.now;
            self.kept = self.kept.map(|(serial, _)| (serial, self.now));
            return self.life.end_round(RoundOutcome::UpToDate, moment);
        }
        self.incoming = Some((self.primary, wanted));
        self.life.end_round(RoundOutcome::Received, moment);
    }

    fn outcome(&mut self, event: Event) -> Outcome {
        let failed = Outcome::Failed { begins_at: None };
        match (event.kind, event.reason) {
            (EventKind::Load, _) => {
                let expire = u64::from(self.timers.expire);
                let kept = self.kept.filter(|(_, at)| self.now - at < expire);
                self.kept = kept;
                let Some((serial, at)) = kept else { return failed };
                (self.served, self.confirmed) = (Some(serial), at);
                Outcome::Served(facts(self.confirmed(at)))
            }
            (EventKind::Expire, _) => {
                assert!(
                    self.now >= self.confirmed + u64::from(self.timers.expire),
                    "too early: {} s after",
                    self.now - self.confirmed
                );
                let had_alarm = self.alarm.is_some_and(|at| self.now >= at);
                assert!(had_alarm || self.now < self.started + 2 * STEP, "no alarm before");
                (self.served, self.kept) = (None, None);
                Outcome::Withdrawn
            }
            (_, EventReason::Transferred) => {
                let (serial, wanted) = self.incoming.take().expect("something has come");
                if self.faults.unfit && wanted == Wanted::Newer {
                    return Outcome::Unfit;
                }
                if self.faults.bogus {
                    return failed;
                }
                if self.faults.disk && self.served.is_some() {
                    return Outcome::Refused;
                }
                (self.served, self.confirmed) = (Some(serial), self.now);
                if !self.faults.disk {
                    self.kept = Some((serial, self.now));
                }
                Outcome::Served(facts(self.confirmed(self.now)))
            }
            (EventKind::Change | EventKind::FollowUp, _) if self.served.is_none() => failed,
            (EventKind::Change | EventKind::FollowUp, _) => Outcome::Unchanged { begins_at: None },
            (EventKind::Verify, EventReason::Verified) => Outcome::Verified,
            (EventKind::Verify, _) => Outcome::LookedAt,
            (kind, reason) => panic!("{kind:?} {reason:?}"),
        }
    }

    /// What holds at any time.
    fn look(&mut self) {
        let moment = self.moment();
        if self.served.is_some() {
            let since = self.now - self.confirmed;
            assert!(since <= u64::from(self.timers.expire) + STEP, "served {since} s unconfirmed");
        }
        self.alarm = match self.life.is_expiring(moment) {
            true => self.alarm.or(Some(self.now)),
            false => None,
        };
        // By themselves every 15 s at the most; by NOTIFY and people every second, of which there are few here.
        assert!(self.rounds.len() <= 300, "{} rounds in an hour", self.rounds.len());
        assert!(
            self.round.is_some()
                || self.life.next_round(moment).is_some()
                || self.incoming.is_some()
        );
    }

    /// Something goes wrong, is mended, or is asked for.
    fn happen(&mut self) {
        match self.below(20) {
            0 | 1 => self.faults.network = true,
            2 => self.faults.unfit = true,
            3 => self.faults.bogus = true,
            4 => self.faults.disk = true,
            5..=8 => self.faults = Faults::default(),
            9..=11 => self.primary += 1,
            12 => self.life.ask_primaries(RoundReason::Notified, Wanted::Newer),
            13 => self.life.ask_primaries(RoundReason::Asked, Wanted::Whole),
            14 => self.life.ask(Asked::Always),
            15 => self.restart(),
            _ => {}
        }
    }

    /// The daemon is killed, and started at once or after two days.
    fn restart(&mut self) {
        self.now += self.below(2) * 2 * DAY;
        self.life = Life::new(self.life.terms, self.random as u32);
        (self.served, self.incoming, self.round, self.alarm) = (None, None, None, None);
        self.rounds.clear();
        self.started = self.now;
    }

    fn run(&mut self) {
        for _ in 0..60 {
            self.happen();
            let until = self.now + self.below(6 * HOUR);
            while self.now < until {
                self.step();
            }
        }
        // All is well again. Whatever an SOA record says, the newest version is served a day later.
        self.faults = Faults::default();
        let until = self.now + DAY + HOUR;
        while self.now < until {
            self.step();
        }
        assert_eq!(self.served, Some(self.primary), "{:?}", self.life);
        assert!(
            !self.life.is_expiring(self.moment()) || self.timers.expire < 4 * self.timers.refresh
        );
    }
}

fn terms(verifies: bool) -> Terms {
    Terms { signs: false, verifies, refresh: 3600, is_transferred: true, poll: None }
}

fn facts(confirmed: Option<Confirmed>) -> Facts {
    Facts {
        signatures: None,
        begins_at: None,
        verified_at: None,
        is_behind: false,
        is_refused: false,
        confirmed,
    }
}

#[test]
fn zones_of_primaries_live_through_all_that_fails() {
    for seed in 0..2000 {
        let lived = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
        assert!(lived.is_ok(), "with the seed {seed}, see above");
    }
}

/// A section that names a file now: what had come before from a primary is of no account, and nothing waits for it.
#[test]
fn what_has_come_is_left_when_the_zone_is_read_from_a_file() {
    let start = Instant::now();
    let now = Moment { wall: START as u32, tick: start };
    let mut life = Life::new(terms(false), 7);
    let load = life.due(now).unwrap();
    life.begin(load);
    life.end(load, Outcome::Failed { begins_at: None }, now);
    assert!(life.round_due(now).is_some());
    life.begin_round(now);
    life.end_round(RoundOutcome::Received, now);
    assert_eq!(life.due(now).map(|event| event.reason), Some(EventReason::Transferred));
    life.follow(Terms { is_transferred: false, ..terms(false) });
    assert_ne!(life.due(now).map(|event| event.reason), Some(EventReason::Transferred));
    // Or it is put in place as the file has it.
    life.follow(terms(false));
    let event = life.due(now).unwrap();
    life.begin(event);
    life.end(event, Outcome::Served(facts(None)), now);
    assert_eq!(life.due(now), None);
}
