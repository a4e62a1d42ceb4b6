//! Zones live for weeks on a virtual clock, while disk, keys and clock fail as a seed says.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 86400;
const YEAR: i64 = 365 * DAY;

/// What the wall clock shows at first, in seconds since 1970.
const START: i64 = 1_800_000_000;

/// Within how many seconds what is due must begin: the longest wait after a failure, and a queue before it.
const PATIENCE: i64 = HOUR + 900;

/// Workers for small zones and for large ones.
const WORKERS: [usize; 2] = [2, 1];

/// Random numbers: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: i64) -> i64 {
        (self.next() % end as u64) as i64
    }

    fn one_in(&mut self, count: i64) -> bool {
        self.below(count) == 0
    }
}

/// What fails at the moment.
#[derive(Default)]
struct Faults {
    /// No file can be read.
    reading: bool,
    /// No zone can be signed.
    signing: bool,
    /// Nothing can be published.
    publishing: bool,
    /// Nothing can be written to the disk.
    disk: bool,
    /// The zone with this number panics.
    panics: Option<usize>,
}

/// A zone as it really is.
struct Zone {
    life: Life,
    lane: usize,
    validity: i64,
    /// How long work on it takes, in seconds.
    work: i64,
    /// When the signatures of what is served end, if something is; of a zone that nobody signs never.
    served: Option<i64>,
    /// The same of what is known when the daemon is started again.
    kept: Option<i64>,
    is_withdrawn: bool,
    /// Whether its files say something that could not be made durable.
    is_refused: bool,
    /// Whether what is served could not be kept.
    is_unkept: bool,
    queued: bool,
    changing: bool,
    looking: bool,
    keeping: bool,
    /// What is due, since when by the monotonic clock.
    due_since: BTreeMap<(EventKind, EventReason), i64>,
    /// Since when it is to be signed and could be.
    signable_since: Option<i64>,
    /// How many attempts in a row have failed, and when the last one did.
    failed: (u32, i64),
}

struct Work {
    zone: usize,
    event: Event,
    ends: i64,
}

struct World {
    random: Random,
    start: Instant,
    /// Seconds since the start.
    tick: i64,
    wall: i64,
    faults: Faults,
    zones: Vec<Zone>,
    work: Vec<Work>,
    queue: Vec<usize>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let count = 1 + random.below(24);
        let zones = (0..count).map(|_| zone(&mut random)).collect();
        World {
            random,
            start: Instant::now(),
            tick: 0,
            wall: START,
            faults: Faults::default(),
            zones,
            work: Vec::new(),
            queue: Vec::new(),
        }
    }

    fn now(&self) -> Moment {
        let tick = self.start + Duration::from_secs(self.tick as u64);
        Moment { wall: self.wall as u32, tick }
    }

    /// One look at the zones, as the daemon has it each second.
    fn turn(&mut self) {
        let now = self.now();
        let lives = self.zones.iter().enumerate();
        let chosen = choose(lives.map(|(number, zone)| (number, &zone.life)), now);
        let is_spread =
            |event: &Event| event.reason == EventReason::Daily || event.kind == EventKind::Sign;
        let spread = chosen.iter().filter(|(number, event)| {
            is_spread(event) && !(event.kind == EventKind::Sign && self.is_urgent(*number))
        });
        assert!(spread.count() <= 2 * share(self.zones.len()), "a wave");
        for (number, _) in chosen {
            if !std::mem::replace(&mut self.zones[number].queued, true) {
                self.queue.push(number);
            }
        }
        self.start_work();
        self.look_for_what_waits();
    }

    fn is_urgent(&self, number: usize) -> bool {
        self.zones[number].life.is_urgent(self.now())
    }

    fn start_work(&mut self) {
        let now = self.now();
        let mut left = Vec::new();
        for number in std::mem::take(&mut self.queue) {
            let lane = self.zones[number].lane;
            let at_work = self.work.iter().filter(|work| self.zones[work.zone].lane == lane);
            if at_work.count() >= WORKERS[lane] {
                left.push(number);
                continue;
            }
            let zone = &mut self.zones[number];
            zone.queued = false;
            let Some(event) = zone.life.due(now) else { continue };
            if event.kind == EventKind::Keep {
                assert!(!std::mem::replace(&mut zone.keeping, true), "written twice at once");
            } else if event.kind == EventKind::Verify && event.reason != EventReason::Verified {
                assert!(!std::mem::replace(&mut zone.looking, true), "verified twice at once");
            } else {
                assert!(!std::mem::replace(&mut zone.changing, true), "two changes of one zone");
            }
            zone.life.begin(event);
            zone.due_since.remove(&(event.kind, event.reason));
            self.work.push(Work { zone: number, event, ends: self.tick + zone.work });
        }
        self.queue = left;
    }

    /// Nothing that is due waits for ever, and no signature for long.
    fn look_for_what_waits(&mut self) {
        let now = self.now();
        for zone in &mut self.zones {
            let due: Vec<_> = zone.life.events(now).into_iter().filter(|e| e.wait <= 0).collect();
            zone.due_since.retain(|what, _| due.iter().any(|e| (e.kind, e.reason) == *what));
            for event in due {
                let since = zone.due_since.entry((event.kind, event.reason)).or_insert(self.tick);
                assert!(self.tick - *since <= PATIENCE, "{event:?} is starved");
            }
            let is_due = zone.life.sign_at().is_some_and(|at| seconds_until(at, now.wall) <= 0);
            let can =
                !self.faults.signing && !self.faults.publishing && self.faults.panics.is_none();
            match is_due && can {
                true => {
                    let since = *zone.signable_since.get_or_insert(self.tick);
                    assert!(self.tick - since <= PATIENCE, "not signed though it could be");
                }
                false => zone.signable_since = None,
            }
        }
    }

    fn end_work(&mut self) {
        let mut work = std::mem::take(&mut self.work);
        work.sort_by_key(|work| work.ends);
        for work in work {
            match work.ends <= self.tick {
                true => self.end_one(work.zone, work.event),
                false => self.work.push(work),
            }
        }
    }

    fn end_one(&mut self, number: usize, event: Event) {
        let now = self.now();
        let outcome = match self.faults.panics == Some(number) {
            true => Outcome::Failed { begins_at: None },
            false => self.outcome(number, event),
        };
        let zone = &mut self.zones[number];
        let had = zone.served;
        match (event.kind, event.reason) {
            (EventKind::Keep, _) => zone.keeping = false,
            (EventKind::Verify, reason) if reason != EventReason::Verified => zone.looking = false,
            _ => zone.changing = false,
        }
        zone.life.end(event, outcome, now);
        let reason = if zone.is_unkept { KeepReason::NotKept } else { KeepReason::JournalLong };
        let is_long = self.random.one_in(20) && zone.served.is_some();
        zone.life.keep((zone.is_unkept || is_long).then_some(reason), now);
        if let Outcome::Withdrawn = outcome {
            (zone.served, zone.kept, zone.is_withdrawn) = (None, None, true);
            (zone.is_refused, zone.is_unkept) = (false, false);
        } else {
            assert!(had.is_none() || zone.served.is_some());
            assert_eq!(zone.life.is_served(), zone.served.is_some(), "{event:?} {outcome:?}");
        }
        // Who is asked is told, and does it again when told to: this is of what is tried by itself.
        let is_work = !matches!(event.kind, EventKind::Verify | EventKind::Keep);
        let by_itself = is_work && event.reason != EventReason::Asked;
        match outcome {
            Outcome::Refused if !by_itself || event.reason == EventReason::FromLastRun => {
                zone.failed = (zone.failed.0 + 1, self.tick);
            }
            Outcome::Failed { .. } | Outcome::Refused
                if by_itself && event.reason != EventReason::FromLastRun =>
            {
                let (count, last) = zone.failed;
                if count > 0 {
                    let most = (i64::from(zone.life.terms.refresh) / 16).clamp(1, HOUR);
                    let least = (60i64 << (count - 1).min(10)).min(most) * 3 / 4 - 1;
                    assert!(self.tick - last >= least, "tried again after {}", self.tick - last);
                }
                zone.failed = (count + 1, self.tick);
            }
            Outcome::Failed { .. } => {}
            _ if !is_work => {}
            _ => zone.failed = (0, self.tick),
        }
    }

    /// How work on a zone ends, as things are.
    fn outcome(&mut self, number: usize, event: Event) -> Outcome {
        let zone = &mut self.zones[number];
        let terms = zone.life.terms;
        let failed = Outcome::Failed { begins_at: None };
        if event.kind == EventKind::Verify {
            return match event.reason {
                EventReason::Verified if self.faults.publishing => failed,
                EventReason::Verified if zone.served.is_none() => Outcome::Outdated,
                EventReason::Verified if self.random.one_in(200) => Outcome::Withdrawn,
                EventReason::Verified => Outcome::Verified,
                _ => Outcome::LookedAt,
            };
        }
        if event.kind == EventKind::Keep {
            if self.faults.disk {
                return failed;
            }
            (zone.is_unkept, zone.kept) = (false, zone.served);
            return Outcome::Kept;
        }
        let is_kept = zone.kept.is_some_and(|ends| ends > self.wall);
        if event.kind == EventKind::Load && is_kept && !self.faults.publishing {
            zone.served = zone.kept;
            return served(zone, self.wall, true);
        }
        let in_hand = terms.signs && zone.served.is_some();
        let is_readable = !self.faults.reading || in_hand;
        if !is_readable || self.faults.publishing || terms.signs && self.faults.signing {
            return failed;
        }
        if event.reason == EventReason::Asked && self.random.one_in(3) && zone.served.is_some() {
            zone.is_refused = false;
            return Outcome::Unchanged { begins_at: None };
        }
        let is_renewal = event.kind == EventKind::Sign;
        if self.faults.disk && zone.served.is_some() && !is_renewal {
            zone.is_refused = true;
            return Outcome::Refused;
        }
        zone.served = Some(if terms.signs { self.wall + zone.validity } else { i64::MAX });
        zone.is_withdrawn = false;
        zone.is_unkept = self.faults.disk;
        // Signatures alone, as long as what the files say cannot be made durable.
        zone.is_refused = zone.is_refused && self.faults.disk;
        if !zone.is_unkept {
            zone.kept = zone.served;
        }
        served(zone, self.wall, false)
    }

    /// Lets time pass: to the next thing that happens, or a part of the way.
    fn pass(&mut self) {
        let now = self.now();
        let mut next = HOUR;
        for work in &self.work {
            next = next.min(work.ends - self.tick);
        }
        for zone in &self.zones {
            if let Some(event) = zone.life.next(now) {
                next = next.min(event.wait);
            }
        }
        let seconds = if self.random.one_in(5) { 1 } else { next.max(1) };
        self.tick += seconds;
        self.wall += seconds;
    }

    /// Something goes wrong, is mended, or is asked for.
    fn happen(&mut self) {
        let zones = self.zones.len() as i64;
        match self.random.below(24) {
            0 => self.faults.reading = true,
            1 => self.faults.signing = true,
            2 => self.faults.publishing = true,
            16 | 17 => self.faults.disk = true,
            3 => self.faults.panics = Some(self.random.below(zones) as usize),
            4..=7 => self.faults = Faults::default(),
            8 if self.wall <= START => self.wall += self.random.below(20 * YEAR),
            9 if self.wall >= START => self.wall -= self.random.below(20 * YEAR),
            10 => self.wall += self.random.below(3 * HOUR) - HOUR,
            11 => self.restart(self.random.0 as i64 & 1),
            12..=15 => {
                let number = self.random.below(zones) as usize;
                let asked = if self.random.one_in(2) { Asked::Always } else { Asked::IfChanged };
                self.zones[number].life.ask(asked);
            }
            _ => {}
        }
    }

    /// The daemon is killed, and started at once or after a month.
    fn restart(&mut self, months: i64) {
        self.wall += months * 30 * DAY;
        (self.work, self.queue) = (Vec::new(), Vec::new());
        for zone in &mut self.zones {
            zone.life = Life::new(zone.life.terms, self.random.next() as u32);
            (zone.served, zone.queued, zone.changing, zone.looking) = (None, false, false, false);
            (zone.is_refused, zone.is_unkept, zone.keeping) = (false, false, false);
            (zone.failed, zone.is_withdrawn) = ((0, self.tick), false);
            zone.due_since.clear();
        }
    }

    fn step(&mut self) {
        self.turn();
        self.pass();
        self.end_work();
    }

    fn run(&mut self) {
        for _ in 0..200 {
            self.step();
            self.happen();
        }
        // All is well again; a day later it shows.
        self.faults = Faults::default();
        let until = self.tick + 26 * HOUR;
        while self.tick < until {
            self.step();
        }
        let now = self.now();
        for zone in self.zones.iter().filter(|zone| !zone.is_withdrawn) {
            let life = &zone.life;
            assert!(life.is_served() && !life.is_behind() && life.asked().is_none(), "{life:?}");
            assert!(!(zone.is_refused || zone.is_unkept), "{life:?}");
            let has_refused = |event: &Event| event.reason == EventReason::Refused;
            assert!(!life.events(now).iter().any(has_refused), "{life:?}");
            if life.terms.signs {
                let left = zone.served.unwrap() - self.wall;
                let meant = i64::from(life.terms.refresh).min(zone.validity) - PATIENCE;
                assert!(left >= meant, "{left} s are left: {life:?}");
            }
            if life.terms.verifies {
                // None: it has just been changed.
                let since = life.verified_at().map_or(0, |at| -seconds_until(at, now.wall));
                assert!((0..=DAY + PATIENCE).contains(&since), "{since} s: {life:?}");
            }
        }
    }
}

/// A zone of any kind, which was served when the daemon ran last or was not.
fn zone(random: &mut Random) -> Zone {
    let signs = random.one_in(2);
    let refresh = [HOUR, DAY, 7 * DAY][random.below(3) as usize];
    let terms = Terms {
        signs,
        verifies: signs || random.one_in(2),
        refresh: refresh as u32,
        is_transferred: false,
        poll: None,
    };
    Zone {
        life: Life::new(terms, random.next() as u32),
        lane: random.one_in(6).into(),
        validity: refresh * 2,
        work: [0, 1, 20][random.below(3) as usize],
        served: None,
        kept: random.one_in(2).then(|| START + random.below(20 * DAY)),
        is_withdrawn: false,
        is_refused: false,
        is_unkept: false,
        keeping: false,
        queued: false,
        changing: false,
        looking: false,
        due_since: BTreeMap::new(),
        signable_since: None,
        failed: (0, 0),
    }
}

fn served(zone: &Zone, wall: i64, is_behind: bool) -> Outcome {
    let terms = zone.life.terms;
    let signatures = terms.signs.then(|| Signatures {
        inception: Some((zone.served.unwrap_or(0) - zone.validity - HOUR) as u32),
        expiration: zone.served.unwrap_or(0) as u32,
    });
    // A signature of somebody else's that begins to be valid in an hour, again and again.
    let begins_at = (!terms.signs && zone.work == 1).then_some((wall + HOUR) as u32);
    Outcome::Served(Facts {
        signatures,
        begins_at,
        verified_at: terms.signs.then_some(wall as u32),
        is_behind,
        is_refused: zone.is_refused,
        confirmed: None,
    })
}

#[test]
fn zones_live_through_all_that_fails() {
    for seed in 0..2000 {
        let lived = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
        assert!(lived.is_ok(), "with the seed {seed}, see above");
    }
}

//----------- Single rules ---------------------------------------------------------------------------

const SIGNED: Terms = Terms {
    signs: true,
    verifies: true,
    refresh: 7 * DAY as u32,
    is_transferred: false,
    poll: None,
};

/// A zone was signed and verified just now.
fn newly_signed(inception: u32, expiration: u32, now: Moment) -> Outcome {
    Outcome::Served(Facts {
        signatures: Some(Signatures { inception: Some(inception), expiration }),
        begins_at: None,
        verified_at: Some(now.wall),
        is_behind: false,
        is_refused: false,
        confirmed: None,
    })
}

/// A zone that was served at `START` with signatures that end so many seconds later.
fn signed(start: Instant, seconds: i64) -> Life {
    let mut life = Life::new(SIGNED, 0);
    let now = Moment { wall: START as u32, tick: start };
    let event = life.due(now).unwrap();
    life.begin(event);
    let expiration = (START + seconds) as u32;
    life.end(event, newly_signed(START as u32, expiration, now), now);
    life
}

fn after(start: Instant, seconds: i64) -> Moment {
    let tick = start + Duration::from_secs(seconds as u64);
    Moment { wall: (START + seconds) as u32, tick }
}

#[test]
fn what_comes_is_told_in_its_order() {
    let start = Instant::now();
    let told = |life: &Life, seconds| -> Vec<_> {
        let events = life.events(after(start, seconds));
        events.into_iter().map(|event| (event.kind, event.reason, event.wait)).collect()
    };
    use {EventKind as Kind, EventReason as Reason};
    let life = Life::new(SIGNED, 0);
    assert_eq!(told(&life, 0), [(Kind::Load, Reason::NotTried, 0)]);
    let mut life = signed(start, 14 * DAY);
    let (verify, sign) = ((Kind::Verify, Reason::Daily), (Kind::Sign, Reason::SignaturesEnd));
    assert_eq!(told(&life, 0), [(verify.0, verify.1, DAY), (sign.0, sign.1, 7 * DAY)]);
    life.ask(Asked::IfChanged);
    life.ask(Asked::Always);
    life.ask(Asked::IfChanged);
    assert_eq!(life.asked(), Some(Asked::Always));
    assert_eq!(told(&life, 5)[0], (Kind::Change, Reason::Asked, 0));
    // The clock goes back: signatures are not valid yet, and when they were verified is not known.
    let earlier = Moment { wall: (START - YEAR) as u32, tick: start };
    let reasons: Vec<_> = life.events(earlier).into_iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [Reason::Asked, Reason::SignaturesAhead, Reason::Daily]);
}

/// Signatures that hold for less than `refresh` are made anew all the time, and verified all the same.
#[test]
fn what_is_always_due_keeps_nothing_else_from_its_turn() {
    let start = Instant::now();
    let mut life = signed(start, 5);
    let mut kinds = Vec::new();
    for second in DAY + 60..DAY + 66 {
        let event = life.due(after(start, second)).unwrap();
        kinds.push(event.kind);
        life.begin(event);
        let outcome = match event.kind {
            EventKind::Verify => Outcome::Outdated,
            _ => Outcome::Unchanged { begins_at: None },
        };
        life.end(event, outcome, after(start, second));
    }
    let turns = [EventKind::Sign, EventKind::Verify];
    assert_eq!(kinds, turns.repeat(3));
}

/// Also of a zone that is what it should be: what is known of its keys may have changed.
#[test]
fn a_zone_is_signed_when_the_use_of_its_keys_changes() {
    let start = Instant::now();
    let mut life = signed(start, 14 * DAY);
    life.ask(Asked::Always);
    let now = after(start, 1);
    let asked = life.due(now).unwrap();
    life.begin(asked);
    let at = now.wall + HOUR as u32;
    life.end(asked, Outcome::Unchanged { begins_at: Some(at) }, now);
    let is_sign = |event: &Event| event.kind == EventKind::Sign;
    let next = life.events(now).into_iter().find(is_sign).unwrap();
    assert_eq!((next.reason, next.wait), (EventReason::KeysChange, HOUR));
    let later = after(start, HOUR + 1);
    let due = life.due(later).unwrap();
    assert_eq!(due.reason, EventReason::KeysChange);
    life.begin(due);
    // A failure is no reason to forget it, or to try without a pause.
    life.end(due, Outcome::Failed { begins_at: None }, later);
    let again = life.events(later).into_iter().find(is_sign).unwrap();
    assert_eq!(again.reason, EventReason::KeysChange);
    assert!(again.wait > 0);
}

#[test]
fn a_change_need_not_wait_until_a_zone_is_verified() {
    let start = Instant::now();
    let mut life = signed(start, 14 * DAY);
    let (look, now) = (life.due(after(start, DAY)).unwrap(), after(start, DAY));
    life.begin(look);
    assert_eq!((life.running(), life.due(now)), (Some(EventKind::Verify), None));
    life.ask(Asked::Always);
    let change = life.due(now).unwrap();
    life.begin(change);
    // What was found waits until the change has ended.
    life.end(look, Outcome::LookedAt, now);
    assert_eq!(life.due(now), None);
    life.end(change, Outcome::Unchanged { begins_at: None }, now);
    let found = life.due(now).unwrap();
    assert_eq!((found.kind, found.reason), (EventKind::Verify, EventReason::Verified));
}

/// A hundred thousand zones that were loaded together are signed in ten minutes, and not at once.
#[test]
fn zones_that_are_due_together_are_spread() {
    const ZONES: usize = 100_000;
    let start = Instant::now();
    let mut zones = vec![signed(start, 14 * DAY); ZONES];
    let mut sign_again = |second: i64| {
        let now = after(start, second);
        zones.iter_mut().for_each(|life| life.verified_at = Some(now.wall));
        let chosen: Vec<_> = choose(zones.iter().enumerate(), now)
            .into_iter()
            .filter(|(_, event)| event.kind == EventKind::Sign)
            .collect();
        for (number, event) in &chosen {
            zones[*number].begin(*event);
            let expiration = now.wall + 14 * DAY as u32;
            zones[*number].end(*event, newly_signed(now.wall, expiration, now), now);
        }
        chosen.len()
    };
    let due = 7 * DAY;
    let turns: Vec<usize> = (due..due + 601).map(&mut sign_again).collect();
    assert_eq!(turns.iter().sum::<usize>(), ZONES);
    assert_eq!(turns.iter().max(), Some(&ZONES.div_ceil(600)));
    // Those that can wait no longer are not held back, whatever their number.
    assert_eq!(sign_again(due + 600 + 11 * DAY), ZONES);
}
