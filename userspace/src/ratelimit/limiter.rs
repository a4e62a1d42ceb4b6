//! The daemon's own limiter, for what its sockets answer over UDP: the decisions of
//! [`xdp_common::limit::decide`] over memory of its own. Over TCP nobody is limited by it: who has completed a
//! handshake is who he says.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use xdp_common::Outcome;
use xdp_common::limit::decide::{self, Client, Count, Sighting};
use xdp_common::limit::table::{SLOTS, Table, UNIT_NS};
use xdp_common::limit::{Limited, ListEntry, Rules, Verdict};
use xdp_common::maps::{LIMITED_COUNT, Verdicts, address_words};
use xdp_common::state::LimitState;

use super::compiled::CompiledLimits;
pub use super::compiled::Response;
use super::limits::Limits;
use crate::clock::WallTime;

/// Buckets of the table, a power of two: 1 MiB, 131,072 accounts. Sockets take a tenth of the queries that XDP does.
const BUCKETS: usize = 1 << 14;

/// A moment, as the limiter counts time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// In units of [`UNIT_NS`] since any beginning.
    pub units: u64,
    /// In seconds since 1970.
    pub seconds: u64,
}

/// Accounts, policies and lists; shared by all sockets.
pub struct Limiter {
    buckets: Box<[[AtomicU64; SLOTS]]>,
    seed: u64,
    start: Instant,
    compiled: RwLock<Arc<CompiledLimits>>,
    verdicts: Mutex<Verdicts>,
    limited: Mutex<Box<[Limited]>>,
}

thread_local! {
    static STATE: RefCell<LimitState> = const { RefCell::new(LimitState::new()) };
}

impl Limiter {
    /// Limits nothing yet. `seed` is a secret: who knows it can choose netblocks that share an account.
    pub fn new(seed: u64) -> Limiter {
        let empty = || [const { AtomicU64::new(0) }; SLOTS];
        Limiter {
            buckets: (0..BUCKETS).map(|_| empty()).collect(),
            seed,
            start: Instant::now(),
            compiled: RwLock::default(),
            verdicts: Mutex::default(),
            limited: Mutex::new(vec![Limited::default(); LIMITED_COUNT as usize].into()),
        }
    }

    /// Limits from now on as this says. `qps` is how many queries a second come, for policies that are scaled by
    /// it.
    pub fn set(&self, limits: &Limits, qps: u64) {
        let compiled = CompiledLimits::new(limits, qps);
        *self.compiled.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(compiled);
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment {
            // Later than any account that was never used is paid back.
            units: 1 + self.start.elapsed().as_nanos() as u64 / UNIT_NS,
            seconds: WallTime::now().seconds(),
        }
    }

    /// Whether there is anything to decide.
    pub fn is_on(&self) -> bool {
        self.compiled.read().unwrap_or_else(PoisonError::into_inner).bits() != 0
    }

    /// Decides whether a query is taken on, before it is read.
    pub fn arrive(&self, client: IpAddr, now: Moment) -> Result<(), Outcome> {
        let view = self.view(now);
        if view.compiled.bits() == 0 {
            return Ok(());
        }
        STATE.with_borrow_mut(|state| decide::arrive(&view, &who(client), || true, state))
    }

    /// Decides whether the response to a query that was taken on is sent; both by the same thread, with no other
    /// query between.
    pub fn respond(
        &self,
        client: IpAddr,
        response: &Response<'_>,
        now: Moment,
    ) -> Result<Verdict, Outcome> {
        let view = self.view(now);
        if view.compiled.bits() == 0 {
            return Ok(Verdict::Answer);
        }
        STATE.with_borrow_mut(|state| view.compiled.respond(&view, &who(client), response, state))
    }

    /// What was decided.
    pub fn verdicts(&self) -> Verdicts {
        *self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The netblocks that are limited, or were some seconds ago.
    pub fn limited(&self) -> Vec<Limited> {
        let limited = self.limited.lock().unwrap_or_else(PoisonError::into_inner);
        limited.iter().filter(|entry| entry.votes != 0).copied().collect()
    }

    fn view(&self, now: Moment) -> View<'_> {
        let compiled = Arc::clone(&self.compiled.read().unwrap_or_else(PoisonError::into_inner));
        View { limiter: self, compiled, now }
    }
}

fn who(client: IpAddr) -> Client {
    let client = client.to_canonical();
    Client { source: address_words(client), family: usize::from(client.is_ipv6()) }
}

/// The limiter at one moment.
struct View<'a> {
    limiter: &'a Limiter,
    compiled: Arc<CompiledLimits>,
    now: Moment,
}

impl Table for View<'_> {
    type Bucket = usize;

    fn bucket(&self, hash: u64) -> Option<usize> {
        Some(hash as usize & (BUCKETS - 1))
    }

    fn load(&self, bucket: usize, slot: usize) -> u64 {
        self.limiter.buckets[bucket][slot].load(Relaxed)
    }

    fn exchange(&self, bucket: usize, slot: usize, old: u64, new: u64) -> bool {
        let account = &self.limiter.buckets[bucket][slot];
        account.compare_exchange(old, new, Relaxed, Relaxed).is_ok()
    }
}

impl decide::Limiter for View<'_> {
    fn limit_bits(&self) -> u32 {
        self.compiled.bits()
    }

    fn seed(&self) -> u64 {
        self.limiter.seed
    }

    fn now(&self) -> u64 {
        self.now.units
    }

    fn now_s(&self) -> u64 {
        self.now.seconds
    }

    fn rules(&self, place: u32) -> Option<&Rules> {
        self.compiled.rules(place)
    }

    fn exempt(&self, source: [u64; 2]) -> Option<ListEntry> {
        self.compiled.exempt(source)
    }

    fn block(&self, source: [u64; 2]) -> Option<ListEntry> {
        self.compiled.block(source)
    }

    fn count(&self, what: Count) {
        self.limiter.verdicts.lock().unwrap_or_else(PoisonError::into_inner).count(what);
    }

    fn sight(&self, hash: u64, sighting: &Sighting) {
        let mut limited = self.limiter.limited.lock().unwrap_or_else(PoisonError::into_inner);
        limited[hash as usize & (LIMITED_COUNT as usize - 1)].see(sighting);
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Block;
    use super::*;
    use crate::zone::Name;
    use xdp_common::limit::policy::UNITS_PER_SECOND;
    use xdp_common::limit::response_key::ResponseKey;
    use xdp_common::limit::{Class, Mode, Policy};

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const QNAME: &[u8] = b"\x03www\x07example\0";
    const POSITIVE: ResponseKey = ResponseKey { class: Class::Positive as u32, name: 7 };

    fn at(second: u64) -> Moment {
        Moment { units: 1 + second * UNITS_PER_SECOND, seconds: 1_000_000 + second }
    }

    fn limits() -> Limits {
        let policy = Policy {
            mode: Mode::On as u32,
            rates: [10; Class::COUNT],
            total: 0,
            slip: 2,
            leak: 3,
            ..Policy::new()
        };
        Limits { policy, ..Limits::default() }
    }

    fn limiter(limits: &Limits) -> Limiter {
        let limiter = Limiter::new(1);
        limiter.set(limits, 0);
        limiter
    }

    fn of(qname: &[u8], key: ResponseKey, octets: usize) -> Response<'_> {
        Response { qname, key, octets, query_octets: 40, is_vouched_for: false }
    }

    fn ask(limiter: &Limiter, key: ResponseKey, now: Moment) -> Result<Verdict, Outcome> {
        limiter.arrive(CLIENT, now)?;
        limiter.respond(CLIENT, &of(QNAME, key, 400), now)
    }

    #[test]
    fn responses_over_the_limit_are_slipped_and_errors_leaked() {
        let limiter = limiter(&limits());
        let error = ResponseKey { class: Class::Error as u32, name: 0 };
        for (key, turn, said) in [(POSITIVE, 2, Verdict::Slip), (error, 3, Verdict::Leak)] {
            for number in 0..10 {
                assert_eq!(ask(&limiter, key, at(0)), Ok(Verdict::Answer), "{number}");
            }
            for number in 1..=12 {
                let expected = if number % turn == 0 { Ok(said) } else { Err(Outcome::Limited) };
                assert_eq!(ask(&limiter, key, at(0)), expected, "{key:?} {number}");
            }
            assert_eq!(ask(&limiter, key, at(1)), Ok(Verdict::Answer));
        }
        assert_eq!(limiter.verdicts().classes[Class::Positive.index()], [11, 6, 6, 0]);
        assert_eq!(limiter.verdicts().classes[Class::Error.index()], [11, 0, 8, 4]);
        assert_eq!(limiter.limited().len(), 2);
    }

    #[test]
    fn large_answers_cost_more_if_amplification_is_weighed() {
        let mut limits = limits();
        limits.policy.amplification = 1;
        let limiter = limiter(&limits);
        // Ten times the query: one of them is all that ten responses may cost.
        assert_eq!(ask(&limiter, POSITIVE, at(0)), Ok(Verdict::Answer));
        assert_eq!(ask(&limiter, POSITIVE, at(0)), Err(Outcome::Limited));
    }

    #[test]
    fn totals_are_charged_what_responses_amplify() {
        let policy = Policy { rates: [0; Class::COUNT], total: 20, ..limits().policy };
        for (amplification, answered) in [(0, 20), (1, 2)] {
            let limiter = limiter(&Limits {
                policy: Policy { amplification, ..policy },
                ..Limits::default()
            });
            let answers = (0..30).filter(|_| ask(&limiter, POSITIVE, at(0)) == Ok(Verdict::Answer));
            assert_eq!(answers.count(), answered);
        }
    }

    #[test]
    fn lists_are_those_of_the_operator() {
        let mut limits = limits();
        let name = |wire: &[u8]| Name::from_wire(wire).unwrap();
        limits.block.insert("192.0.2.128/25".parse().unwrap(), Block::default());
        limits.block_names.insert(name(b"\x03bad\x07example\0"), Block::default());
        limits.overrides.insert(name(b"\x07example\0"), Policy { rates: [3; 7], ..limits.policy });
        let limiter = limiter(&limits);
        let blocked = "192.0.2.200".parse().unwrap();
        assert_eq!(limiter.arrive(blocked, at(0)), Err(Outcome::Blocked));
        assert_eq!(limiter.arrive(CLIENT, at(0)), Ok(()));
        let below = of(b"\x01x\x03bad\x07example\0", POSITIVE, 40);
        assert_eq!(limiter.respond(CLIENT, &below, at(0)), Err(Outcome::Blocked));
        // A cookie helps against limits only.
        let vouched_for = Response { is_vouched_for: true, ..below };
        assert_eq!(limiter.respond(CLIENT, &vouched_for, at(0)), Err(Outcome::Blocked));
        let allowed = (0..20).filter(|_| ask(&limiter, POSITIVE, at(0)) == Ok(Verdict::Answer));
        assert_eq!(allowed.count(), 3);
        assert_eq!((limiter.verdicts().blocked_prefix, limiter.verdicts().blocked_name), (1, 2));

        // Counted only, below or above what is blocked, it is still blocked.
        let counted = Block { dry_run: true, ..Block::default() };
        for wire in [&b"\x07example\0"[..], b"\x01x\x03bad\x07example\0"] {
            let mut limits = limits.clone();
            limits.block_names.insert(name(wire), counted);
            limiter.set(&limits, 0);
            let below = of(b"\x01x\x03bad\x07example\0", POSITIVE, 40);
            assert_eq!(limiter.respond(CLIENT, &below, at(0)), Err(Outcome::Blocked));
        }

        limits.exempt.insert("192.0.2.0/24".parse().unwrap(), 0);
        limiter.set(&limits, 0);
        assert_eq!(ask(&limiter, POSITIVE, at(0)), Ok(Verdict::Answer));
    }

    #[test]
    fn rates_fall_as_queries_grow_more_than_the_scale() {
        let mut limits = limits();
        limits.policy.qps_scale = 1000;
        let limiter = limiter(&limits);
        for (qps, allowed) in [(500, 10), (1000, 10), (2000, 5), (1_000_000, 1)] {
            limiter.set(&limits, qps);
            // What was taken before is paid back.
            let start = 100 * qps;
            let seconds = (0..200).map(|step| start + step / 20);
            let answers =
                seconds.filter(|now| ask(&limiter, POSITIVE, at(*now)) == Ok(Verdict::Answer));
            let answers = answers.count();
            // The rate for ten seconds, rounded down to units of the clock, and the burst.
            assert!((9 * allowed..=10 * allowed + 10).contains(&answers), "{qps}: {answers}");
        }
    }
}
