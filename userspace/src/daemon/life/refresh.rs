//! When a zone is asked for at its primaries, and until when it is served without an answer of theirs: REFRESH, RETRY and
//! EXPIRE of its SOA record (RFC 1034 section 4.3.5, RFC 1912 section 2.2), NOTIFY (RFC 1996), and what a person asks for.
//!
//! | … | when |
//! |---|---|
//! | a round | at once if there is no version yet; REFRESH after the last success; at once after a NOTIFY |
//! | the next one after a failure | RETRY, each time twice that, at most REFRESH and a part of EXPIRE; without a version after seconds, at most ten minutes |
//! | alarm | in the last quarter of EXPIRE |
//! | expired | EXPIRE after the last success |
//!
//! In front of another server that is polled, whatever came of the last round, and asked at once after a NOTIFY.
//!
//! A round asks one primary after the other; who does that is told nothing here but how it ended. A success is a primary
//! that has nothing newer, or a version of one that was put in place: what is refused renews nothing.
//!
//! What a primary says is bounded, so that it can neither have us flood it nor have us sleep.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// REFRESH, in seconds: no more often, since each round is a query; no more seldom than once a day, for what a NOTIFY would
/// have told if it was lost.
const REFRESH_S: RangeInclusive<u32> = 30..=86_400;

/// RETRY, in seconds.
const RETRY_S: RangeInclusive<u32> = 15..=86_400;

/// EXPIRE, in seconds: at most a year.
const EXPIRE_S: RangeInclusive<u32> = 120..=31_536_000;

/// How long after the first failure there is another round for a zone without a version, in seconds, and at most.
const FIRST_RETRY_S: RangeInclusive<u32> = 4..=600;

/// The least time between two rounds that NOTIFY or a person asks for: who sends many is answered by one round.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(1);

/// How often the time between two rounds is doubled at most where what the polled server has is refused here.
const LONGEST_POLL: u32 = 6;

/// The part of EXPIRE, at its end, in which there is an alarm.
const ALARM_PART: u32 = 4;

/// The times of an SOA record, within their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// In seconds.
    pub refresh: u32,
    /// In seconds.
    pub retry: u32,
    /// In seconds; never less than REFRESH and two times RETRY, so that a failure is not the end.
    pub expire: u32,
}

impl Timers {
    /// Those of an SOA record, in seconds.
    pub fn new(refresh: u32, retry: u32, expire: u32) -> Timers {
        let within =
            |value: u32, bounds: RangeInclusive<u32>| value.clamp(*bounds.start(), *bounds.end());
        let (refresh, retry) = (within(refresh, REFRESH_S), within(retry, RETRY_S));
        let expire = within(expire, EXPIRE_S).max(refresh + 2 * retry);
        Timers { refresh, retry, expire }
    }
}

/// Why there is a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundReason {
    /// There is no version yet, or what there was has expired.
    NoVersion,
    /// REFRESH has passed.
    Refresh,
    /// The last round has failed.
    Retry,
    /// A primary has said that there is a newer version.
    Notified,
    /// A person asks for it.
    Asked,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundOutcome {
    /// A primary has nothing newer.
    UpToDate,
    /// A version has come, which is to be put in place.
    Received,
    /// No primary has given anything.
    Failed,
}

/// What is to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A newer version than that which is there, or what changed.
    Newer,
    /// The whole zone, if it is no older than that which is there.
    Whole,
    /// The whole zone, whatever its serial.
    Any,
}

/// When a zone is asked for at its primaries.
#[derive(Debug, Clone)]
pub struct Refresh {
    seed: u32,
    /// How often there is a round, if not by the times of the SOA record.
    poll: Option<Duration>,
    timers: Option<Timers>,
    /// `None`: at once.
    next: Option<Instant>,
    expires: Option<Instant>,
    is_expired: bool,
    failures: u32,
    asked: Option<(RoundReason, Wanted)>,
    begun: Option<Instant>,
    is_running: bool,
    /// Whether what has come is to be put in place.
    is_received: bool,
    /// Whether differences did not fit: the whole zone is asked for next.
    needs_whole: bool,
}

impl Refresh {
    /// That of a zone of which there is no version. `seed` is of the zone alone: it spreads what many zones ask for.
    pub fn new(seed: u32, poll: Option<Duration>) -> Refresh {
        Refresh {
            seed,
            poll,
            timers: None,
            next: None,
            expires: None,
            is_expired: false,
            failures: 0,
            asked: None,
            begun: None,
            is_running: false,
            is_received: false,
            needs_whole: false,
        }
    }

    /// There is a round so often from now on, if not by the times of the SOA record.
    pub fn poll(&mut self, poll: Option<Duration>) {
        self.poll = poll;
    }

    //--- What comes

    /// Why there is to be a round, and in how many seconds; none while there is one.
    pub fn round(&self, now: Instant) -> Option<(RoundReason, i64)> {
        if self.is_running || self.is_received {
            return None;
        }
        if let Some((reason, _)) = self.asked {
            // A server that is polled does not suffer from one question more.
            let begun = self.begun.filter(|_| self.poll.is_none());
            let soonest = begun.map(|begun| begun + BETWEEN_ROUNDS);
            return Some((reason, soonest.map_or(0, |at| seconds(at, now).max(0))));
        }
        let reason = match (self.timers, self.failures) {
            (None, 0) => RoundReason::NoVersion,
            (_, 0) => RoundReason::Refresh,
            _ => RoundReason::Retry,
        };
        Some((reason, self.next.map_or(0, |next| seconds(next, now))))
    }

    /// Whether what has come is to be put in place.
    pub fn is_received(&self) -> bool {
        self.is_received
    }

    /// Whether primaries are being asked.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// In how many seconds the zone expires; not more than none: it has. `None` without a version.
    pub fn expires(&self, now: Instant) -> Option<i64> {
        self.expires.map(|at| seconds(at, now))
    }

    /// Whether it expires soon.
    pub fn is_alarming(&self, now: Instant) -> bool {
        let left = self.expires(now).zip(self.timers);
        left.is_some_and(|(left, timers)| left <= i64::from(timers.expire / ALARM_PART))
    }

    /// Whether it is not to be served any more until there is another version.
    #[cfg(test)]
    pub fn is_expired(&self) -> bool {
        self.is_expired
    }

    //--- What happens

    /// Somebody asks for a round.
    pub fn ask(&mut self, reason: RoundReason, wanted: Wanted) {
        let wanted = self.asked.map_or(wanted, |(_, before)| before.max(wanted));
        self.asked = Some((reason, wanted));
    }

    /// A round begins; what is to be asked for.
    pub fn begin(&mut self, now: Instant) -> Wanted {
        let asked = self.asked.take().map(|(_, wanted)| wanted);
        (self.begun, self.is_running) = (Some(now), true);
        let is_first = self.timers.is_none() || self.needs_whole;
        asked
            .max(Some(if is_first { Wanted::Whole } else { Wanted::Newer }))
            .unwrap_or(Wanted::Newer)
    }

    /// It has ended so.
    pub fn end(&mut self, outcome: RoundOutcome, now: Instant) {
        (self.is_running, self.is_received) = (false, false);
        match outcome {
            RoundOutcome::UpToDate => self.succeed(0, now),
            RoundOutcome::Received => self.is_received = true,
            RoundOutcome::Failed => self.fail(now),
        }
    }

    /// What had come was put in place, or is there already: a version with these times, which a primary had `age` seconds
    /// before. Also of a version that was kept when the daemon ran last.
    pub fn put(&mut self, timers: Timers, age: u32, now: Instant) {
        self.timers = Some(timers);
        (self.is_received, self.needs_whole, self.is_expired) = (false, false, false);
        self.succeed(age, now);
    }

    /// What had come could not be put in place. `is_unfit`: differences did not fit, so that the whole zone is to be asked
    /// for, at once.
    pub fn refuse(&mut self, is_unfit: bool, now: Instant) {
        self.is_received = false;
        if is_unfit && !self.needs_whole {
            self.needs_whole = true;
            self.next = Some(now);
            return;
        }
        self.needs_whole |= is_unfit;
        self.fail(now);
        if let Some(poll) = self.poll {
            // It would be transferred, and looked at, as often as the server is asked.
            let wait = poll * (1 << self.failures.min(LONGEST_POLL));
            self.next = Some(now + wait);
        }
    }

    /// It has expired, and is not served any more.
    pub fn expire(&mut self) {
        (self.timers, self.expires, self.is_expired) = (None, None, true);
    }

    fn succeed(&mut self, age: u32, now: Instant) {
        // That there is nothing newer is of no use without a version.
        let Some(timers) = self.timers else { return self.fail(now) };
        self.failures = 0;
        let left = |seconds: u32| Duration::from_secs(seconds.saturating_sub(age).into());
        self.expires = Some(now + left(timers.expire));
        self.next = Some(match self.poll {
            Some(poll) => self.next_poll(poll, now),
            None => now + self.spread(left(timers.refresh)),
        });
    }

    fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if let Some(poll) = self.poll {
            self.next = Some(self.next_poll(poll, now));
            return;
        }
        let (first, most) = match self.timers {
            Some(Timers { refresh, retry, expire }) => {
                // Many rounds before it expires.
                (retry, refresh.max(retry).min((expire / 8).max(retry)))
            }
            None => (*FIRST_RETRY_S.start(), *FIRST_RETRY_S.end()),
        };
        let wait = first.saturating_mul(1 << (self.failures - 1).min(16)).min(most);
        self.next = Some(now + self.spread(Duration::from_secs(wait.into())));
    }

    /// When the next round may be: who looks every `poll` finds that it is due, and who looks in between that it is not.
    fn next_poll(&self, poll: Duration, now: Instant) -> Instant {
        self.begun.unwrap_or(now) + poll / 2
    }

    /// A time that is up to a quarter shorter, another part each time: what failed or began together does not go on so.
    fn spread(&self, time: Duration) -> Duration {
        let part = self.seed.rotate_left(self.failures).wrapping_mul(0x9e37_79b9) >> 22;
        time - time / 4 * part / 1024
    }
}

/// The seconds until `at`, rounded up; less than none if it is past.
fn seconds(at: Instant, now: Instant) -> i64 {
    let left = at.saturating_duration_since(now).as_millis().div_ceil(1000) as i64;
    left - now.saturating_duration_since(at).as_secs() as i64
}

/// How long ago a time of the wall clock was, both in seconds since 1970 truncated to 32 bits; none if it is to come: the
/// clock was set back.
pub fn age(at: u32, now: u32) -> u32 {
    u32::try_from(now.wrapping_sub(at) as i32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMERS: Timers = Timers { refresh: 3600, retry: 600, expire: 86_400 };

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// Whatever an SOA record says: rounds are neither more often than bounds allow nor seldom, and never none before it expires.
    #[test]
    fn times_of_others_are_bounded() {
        for value in [0, 1, 29, 30, 3600, 86_400, 1 << 31, u32::MAX] {
            for other in [0, 20, 100_000, u32::MAX] {
                for timers in [Timers::new(value, other, other), Timers::new(other, value, value)] {
                    assert!(REFRESH_S.contains(&timers.refresh), "{timers:?}");
                    assert!(RETRY_S.contains(&timers.retry), "{timers:?}");
                    assert!(timers.expire > timers.refresh + timers.retry, "{timers:?}");
                    assert!(timers.expire <= *EXPIRE_S.end(), "{timers:?}");
                }
            }
        }
        assert_eq!(Timers::new(3600, 600, 86_400), TIMERS);
    }

    #[test]
    fn a_zone_is_asked_for_by_its_times_until_it_expires() {
        let start = Instant::now();
        let mut zone = Refresh::new(7, None);
        assert_eq!(zone.round(start), Some((RoundReason::NoVersion, 0)));
        assert_eq!(zone.begin(start), Wanted::Whole);
        assert_eq!(zone.round(start), None);
        zone.end(RoundOutcome::Received, start);
        assert!(zone.is_received() && zone.round(start).is_none());
        zone.put(TIMERS, 0, start);
        let Some((RoundReason::Refresh, wait)) = zone.round(start) else { panic!() };
        assert!((2700..=3600).contains(&wait), "{wait}");
        assert_eq!(zone.expires(start), Some(86_400));

        // No primary answers: later and later, but many times before it expires.
        let (mut now, mut rounds, mut alarm) = (0, 0, None);
        while zone.expires(at(start, now)).is_some_and(|left| left > 0) {
            let (_, wait) = zone.round(at(start, now)).unwrap();
            let left = zone.expires(at(start, now)).unwrap();
            now += wait.clamp(1, left.max(1)) as u64;
            if zone.round(at(start, now)).is_some_and(|(_, wait)| wait <= 0) {
                assert_eq!(zone.begin(at(start, now)), Wanted::Newer);
                zone.end(RoundOutcome::Failed, at(start, now));
                rounds += 1;
            }
            if zone.is_alarming(at(start, now)) {
                alarm.get_or_insert(now);
            }
        }
        assert_eq!(now, 86_400);
        assert!((15..200).contains(&rounds), "{rounds}");
        assert!(alarm.is_some_and(|alarm| (64_800..70_000).contains(&alarm)), "{alarm:?}");
        zone.expire();
        assert!(zone.is_expired());
        // From then on all of it is asked for.
        assert_eq!(zone.begin(at(start, now)), Wanted::Whole);
        zone.end(RoundOutcome::UpToDate, at(start, now));
        assert!(zone.is_expired(), "that there is nothing newer is no version");
        zone.begin(at(start, now));
        zone.end(RoundOutcome::Received, at(start, now));
        zone.put(TIMERS, 0, at(start, now));
        assert!(!zone.is_expired());
    }

    /// In front of another server it is the same whether a round succeeds or fails, and a NOTIFY waits for nothing.
    #[test]
    fn a_server_that_is_polled_is_asked_at_each_look() {
        let start = Instant::now();
        let mut zone = Refresh::new(7, Some(Duration::from_secs(1)));
        for look in 0..20 {
            let now = at(start, look);
            assert!(zone.round(now).is_some_and(|(_, wait)| wait <= 0), "look {look}");
            zone.begin(now);
            match look % 3 {
                0 => zone.end(RoundOutcome::Failed, now),
                1 => {
                    zone.end(RoundOutcome::Received, now);
                    zone.put(TIMERS, 0, now);
                }
                _ => zone.end(RoundOutcome::UpToDate, now),
            }
            assert!(zone.round(now).is_some_and(|(_, wait)| wait > 0), "look {look}");
        }
        zone.ask(RoundReason::Notified, Wanted::Newer);
        assert_eq!(zone.round(at(start, 19)), Some((RoundReason::Notified, 0)));
        // What is refused here is not transferred again and again.
        let mut now = 20;
        for _ in 0..20 {
            zone.begin(at(start, now));
            zone.end(RoundOutcome::Received, at(start, now));
            zone.refuse(false, at(start, now));
            let (_, wait) = zone.round(at(start, now)).unwrap();
            assert!((2..=64).contains(&wait), "{wait}");
            now += wait as u64;
        }
    }

    #[test]
    fn differences_that_do_not_fit_are_followed_by_the_whole_zone_at_once_and_once() {
        let start = Instant::now();
        let mut zone = Refresh::new(7, None);
        zone.put(TIMERS, 0, start);
        for (wanted, is_at_once) in [(Wanted::Newer, true), (Wanted::Whole, false)] {
            zone.ask(RoundReason::Notified, Wanted::Newer);
            assert_eq!(zone.begin(start), wanted);
            zone.end(RoundOutcome::Received, start);
            zone.refuse(true, start);
            let (_, wait) = zone.round(start).unwrap();
            assert_eq!(wait <= 0, is_at_once);
        }
        zone.put(TIMERS, 0, start);
        assert_eq!(zone.begin(start), Wanted::Newer);
    }

    #[test]
    fn what_is_asked_for_often_is_done_once_and_what_comes_meanwhile_once_more() {
        let start = Instant::now();
        let mut zone = Refresh::new(7, None);
        zone.put(TIMERS, 0, start);
        for _ in 0..1000 {
            zone.ask(RoundReason::Notified, Wanted::Newer);
        }
        zone.ask(RoundReason::Asked, Wanted::Whole);
        assert_eq!(zone.round(start), Some((RoundReason::Asked, 0)));
        assert_eq!(zone.begin(start), Wanted::Whole);
        zone.ask(RoundReason::Notified, Wanted::Newer);
        assert_eq!(zone.round(start), None);
        zone.end(RoundOutcome::UpToDate, start);
        assert_eq!(zone.round(start), Some((RoundReason::Notified, 1)));
        assert_eq!(zone.begin(at(start, 1)), Wanted::Newer);
        zone.end(RoundOutcome::UpToDate, at(start, 1));
        assert!(zone.round(at(start, 1)).is_some_and(|(_, wait)| wait > 2000));
    }

    /// What was kept when the daemon ran last is as old as it is: a start renews nothing.
    #[test]
    fn a_start_does_not_renew() {
        let start = Instant::now();
        let mut zone = Refresh::new(7, None);
        zone.put(TIMERS, 80_000, start);
        assert_eq!(zone.expires(start), Some(6400));
        assert!(zone.is_alarming(start));
        assert_eq!(zone.round(start), Some((RoundReason::Refresh, 0)));
        assert_eq!(age(100, 350), 250);
        assert_eq!(age(100, 50), 0);
    }

    /// A thousand seeds of rounds that fail, succeed and bring what is refused, with NOTIFY at any time.
    #[test]
    fn whatever_happens_there_is_a_next_round() {
        for seed in 0..1000u32 {
            let start = Instant::now();
            let mut zone = Refresh::new(seed, None);
            let (mut now, mut state) = (0u64, seed.wrapping_mul(0x9e37_79b9) | 1);
            let mut next = |end: u32| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state % end
            };
            for _ in 0..200 {
                let tick = at(start, now);
                if zone.expires(tick).is_some_and(|left| left <= 0) {
                    zone.expire();
                }
                if next(5) == 0 {
                    zone.ask(RoundReason::Notified, Wanted::Newer);
                }
                let (_, wait) = zone.round(tick).unwrap_or_else(|| panic!("seed {seed}: no round"));
                assert!(wait <= 86_400, "seed {seed}: in {wait} s");
                now += wait.max(0) as u64;
                let tick = at(start, now);
                let has_version = zone.expires(tick).is_some();
                let wanted = zone.begin(tick);
                assert!(has_version || wanted == Wanted::Whole, "seed {seed}");
                now += u64::from(next(60));
                let tick = at(start, now);
                match next(4) {
                    0 => zone.end(RoundOutcome::Failed, tick),
                    1 => zone.end(RoundOutcome::UpToDate, tick),
                    outcome => {
                        zone.end(RoundOutcome::Received, tick);
                        let timers = Timers::new(next(u32::MAX), next(5000), next(u32::MAX));
                        match outcome {
                            2 => zone.refuse(next(2) == 0, tick),
                            _ => zone.put(timers, 0, tick),
                        }
                    }
                }
            }
        }
    }
}
