//! The table of accounts: fixed memory, no lock, no list of who was there.
//!
//! An account is one 64-bit word: a tag of its key's hash, and the time at which all that was taken from it is
//! paid back (the *theoretical arrival time* of the generic cell rate algorithm, ITU-T I.371). A response that
//! costs `c` is allowed if that time, put forward by `c`, is not more than the tolerance after now; with rate `r`
//! responses cost 1/r seconds each, and the tolerance is what `burst` of them cost.
//!
//! # The bound
//!
//! Of one key, in any time `t`, with `n` CPUs: responses allowed `<= r * (t + tick) + max(burst, 1 + r * tick) + n -
//! 1`, where a tick is what the clock moves by (a jiffy in the kernel, nothing on the host). If responses are
//! weighted, read weights for responses. In octets it is that times the payload limit, or, if responses cost as
//! much as they are larger than their queries, that times the octets of the largest query. Totals are asked for one
//! when the query comes and charged the rest when the response is known: with weights they may be exceeded by what one
//! response weighs for each CPU, and by those that lose a race for the account [`ATTEMPTS`] times.
//!
//! It holds whatever else is in the table. A bucket is a cache line of eight accounts. A key that is not there
//! takes over the account that will be paid back first, *with what is still to be paid* (Metwally's
//! Space-Saving, 2005): an account may say too much for its key, never too little, and who takes most is never
//! thrown out by those who take little. As long as a bucket has an account that is paid back, nobody pays for
//! another. A response at 50/s is paid back after 20 ms, so that is so while fewer than half a million keys
//! are asked for in 20 ms: 25 million queries a second, or a fifth of it with all levels in use.
//!
//! CPUs change accounts by compare-and-exchange; one that loses the race looks again, and after
//! [`ATTEMPTS`] it refuses. The `n - 1` are CPUs that put the same new key into two accounts of a bucket at the same
//! moment, since a tick came in between; later look-ups find only one of them.

use super::policy::Rate;
pub use super::policy::UNIT_NS;
use crate::bytes::is_zero;
use crate::dns::name::{finish, mix};
use crate::launder::forget;

/// Slots in a bucket: one cache line.
pub const SLOTS: usize = 8;

/// Accounts whose keys share a hash's lower bits.
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots(pub [u64; SLOTS]);

/// How often an account is tried before another CPU's changes to it are taken for a refusal.
pub const ATTEMPTS: usize = 3;

/// Where the tag starts in an account; below it is the time.
const TAG_SHIFT: u32 = 48;
const TIME: u64 = (1 << TAG_SHIFT) - 1;

/// Where in a hash the place stands that its account is looked for first.
const FAVOURITE_SHIFT: u32 = 45;

/// What is no limit in the weight of a response; see [`WEIGHT_ONE`].
pub const WEIGHT_ONE: u64 = 16;

/// Where accounts are: a map in the kernel, memory on the host.
pub trait Table {
    /// A bucket that was found.
    type Bucket: Copy;

    /// The bucket for a hash, by its lower bits. `None` if the kernel has not made the map, which cannot be.
    fn bucket(&self, hash: u64) -> Option<Self::Bucket>;

    /// The account at a place below [`SLOTS`].
    fn load(&self, bucket: Self::Bucket, slot: usize) -> u64;

    /// Stores `new` if what is there is `old`, and says whether it was.
    fn exchange(&self, bucket: Self::Bucket, slot: usize, old: u64, new: u64) -> bool;
}

/// What is taken from an account.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    /// The [`key`] of the account.
    pub hash: u64,
    /// What it may have.
    pub rate: Rate,
    /// How much is taken: sixteenths of a response ([`WEIGHT_ONE`]).
    pub weight: u64,
    /// For how long at most who is over the limit pays for asking on, in units.
    pub window: u64,
}

/// The keyed hash of an account: whose it is (an address without the bits behind its prefix), and what for.
/// It decides alone. That strangers share an account has a chance of one in 65,536 times the accounts of a
/// bucket; then both are limited as one.
#[inline(always)]
pub const fn key(seed: u64, netblock: [u64; 2], purpose: u64) -> u64 {
    finish(mix(mix(seed ^ purpose, netblock[0]), netblock[1]))
}

/// Takes from an account if its rate allows. Returns how far the account is in advance of now, in units: more
/// than [`Rate::tolerance`] if it is over, and then nothing was taken but what `window` says.
///
/// `cell` is a place to launder values in.
#[inline(always)]
pub fn charge<T: Table>(table: &T, charge: &Charge, now: u64, cell: &mut u64) -> u64 {
    let Some(bucket) = table.bucket(charge.hash) else { return 0 };
    let tag = charge.hash & !TIME;
    let cost = (charge.rate.interval as u64 * charge.weight) / WEIGHT_ONE;
    let tolerance = charge.rate.tolerance as u64;
    let mut attempt = 0;
    while attempt < ATTEMPTS {
        let place = find(table, bucket, charge.hash, now, cell);
        let place = forget(cell, place as u64) as usize % SLOTS;
        let account = table.load(bucket, place);
        let paid = account & TIME;
        let ahead = paid.saturating_sub(now) + cost;
        if ahead > tolerance {
            if charge.window != 0 {
                let most = tolerance + charge.window;
                let end = now + if ahead < most { ahead } else { most };
                // Who loses this race leaves the account as another has put it: in debt.
                if end > paid {
                    table.exchange(bucket, place, account, tag | (end & TIME));
                }
            }
            return ahead;
        }
        if table.exchange(bucket, place, account, tag | ((now + ahead) & TIME)) {
            return ahead;
        }
        attempt += 1;
    }
    u64::MAX
}

/// The place of the account for a hash: its own, or the one that it takes over.
#[inline(always)]
fn find<T: Table>(table: &T, bucket: T::Bucket, hash: u64, now: u64, cell: &mut u64) -> usize {
    let favourite = (hash >> FAVOURITE_SHIFT) as usize % SLOTS;
    let account = table.load(bucket, favourite);
    if (account ^ hash) >> TAG_SHIFT == 0 {
        return favourite;
    }
    // One more than the place of its own account: arithmetic, where the verifier would follow both ways of
    // eight branches.
    let (mut own, mut place) = (0, 0);
    while place < SLOTS {
        let differs = (table.load(bucket, place) ^ hash) >> TAG_SHIFT;
        own |= (place as u64 + 1) & 0u64.wrapping_sub(is_zero(differs));
        place += 1;
    }
    // Nobody has two accounts but by the race that the documentation tells of: then it is some account.
    let own = forget(cell, own) as usize;
    if own != 0 {
        return (own - 1) % SLOTS;
    }
    if account & TIME <= now {
        return favourite;
    }
    least(table, bucket, cell)
}

/// The place of the account that will be paid back first.
#[inline(always)]
fn least<T: Table>(table: &T, bucket: T::Bucket, cell: &mut u64) -> usize {
    let (mut best, mut place) = (u64::MAX, 0);
    while place < SLOTS {
        let paid = (table.load(bucket, place) & TIME) * SLOTS as u64 + place as u64;
        best = forget(cell, if paid < best { paid } else { best });
        place += 1;
    }
    best as usize % SLOTS
}

#[cfg(test)]
pub(super) mod testing {
    //! A table in a test's memory, with a thread or several at it.
    extern crate std;

    use core::sync::atomic::{AtomicU64, Ordering};
    use std::boxed::Box;
    use std::vec::Vec;

    use super::*;

    pub(crate) struct Memory {
        buckets: Box<[[AtomicU64; SLOTS]]>,
    }

    impl Memory {
        /// So many buckets, a power of two.
        pub(crate) fn new(buckets: usize) -> Memory {
            assert!(buckets.is_power_of_two());
            let empty = || [const { AtomicU64::new(0) }; SLOTS];
            Memory { buckets: (0..buckets).map(|_| empty()).collect::<Vec<_>>().into() }
        }
    }

    impl Table for Memory {
        type Bucket = usize;

        fn bucket(&self, hash: u64) -> Option<usize> {
            Some(hash as usize & (self.buckets.len() - 1))
        }

        fn load(&self, bucket: usize, slot: usize) -> u64 {
            self.buckets[bucket][slot].load(Ordering::Relaxed)
        }

        fn exchange(&self, bucket: usize, slot: usize, old: u64, new: u64) -> bool {
            let slot = &self.buckets[bucket][slot];
            slot.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::testing::Memory;
    use super::*;
    use crate::limit::policy::UNITS_PER_SECOND;
    use proptest::prelude::*;
    use std::vec::Vec;

    const SEED: u64 = 0x5ea1_d115;

    fn one(hash: u64, rate: Rate) -> Charge {
        Charge { hash, rate, weight: WEIGHT_ONE, window: 0 }
    }

    fn block(number: u64) -> u64 {
        key(SEED, [0, number], 0)
    }

    fn is_allowed(table: &Memory, what: &Charge, now: u64) -> bool {
        charge(table, what, now, &mut 0) <= what.rate.tolerance as u64
    }

    /// Whether at any moment what was allowed since any other is more than the bound.
    fn exceeds(allowed: &[(u64, u64)], rate: Rate) -> Option<(u64, u64)> {
        // Sum of intervals taken in [start, end] <= end - start + tolerance, for all starts and ends.
        let (mut worst, mut sum) = (i128::MAX, 0i128);
        for &(at, cost) in allowed {
            worst = worst.min(sum - at as i128);
            sum += cost as i128;
            if sum - at as i128 - worst > rate.tolerance as i128 {
                return Some((at, cost));
            }
        }
        None
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate::new(50, 125, 0);
        let table = Memory::new(1);
        let asked = one(block(1), rate);
        let start = 7 * UNITS_PER_SECOND;
        let at_once = (0..1000).filter(|_| is_allowed(&table, &asked, start)).count();
        assert_eq!(at_once, 125);
        // A thousand a second for ten seconds: 50 of them each second.
        let steps = (1..=10_000).map(|step| start + step * UNITS_PER_SECOND / 1000);
        let after = steps.filter(|now| is_allowed(&table, &asked, *now)).count();
        assert!((495..=500).contains(&after), "{after}");
    }

    #[test]
    fn who_asks_on_in_debt_gets_nothing_until_the_window_has_passed() {
        let rate = Rate::new(10, 10, 0);
        let asked = Charge { window: 5 * UNITS_PER_SECOND, ..one(block(1), rate) };
        let table = Memory::new(1);
        let second = |tenths: u64| 1000 + tenths * UNITS_PER_SECOND / 10;
        // A hundred a second for ten seconds: the burst, then nothing.
        let flood = (0..1000).map(|step| 1000 + step * UNITS_PER_SECOND / 100);
        assert_eq!(flood.filter(|now| is_allowed(&table, &asked, *now)).count(), 10);
        // Silent for less than the window: still in debt. Asking prolongs it, as in BIND.
        assert!(!is_allowed(&table, &asked, second(100 + 48)));
        assert!(is_allowed(&table, &asked, second(100 + 48 + 53)));
    }

    #[test]
    fn no_limit_is_rate_zero_and_rates_are_never_exceeded_by_rounding() {
        assert_eq!(Rate::new(0, 5, 0), Rate::NONE);
        for per_second in [1, 3, 50, 999, 1000, 30_000, 976_563, 5_000_000] {
            let rate = Rate::new(per_second, 1, 0);
            assert!(rate.interval as u64 * per_second >= UNITS_PER_SECOND, "{per_second}");
        }
        // What comes within a tick comes at once to a clock that ticks.
        let tick = 4_000_000 / UNIT_NS;
        let rate = Rate::new(1000, 1, tick);
        assert_eq!(rate.tolerance as u64, rate.interval as u64 + tick);
    }

    #[test]
    fn a_key_finds_its_account_wherever_it_is() {
        // All in one bucket, most of them not at their favourite place.
        let rate = Rate::new(1, 3, 0);
        let table = Memory::new(1);
        let keys: Vec<Charge> = (0..8).map(|number| one(block(number), rate)).collect();
        for round in 0..5 {
            for asked in &keys {
                assert_eq!(is_allowed(&table, asked, 1000), round < 3, "{round}");
            }
        }
    }

    #[test]
    fn who_comes_new_takes_over_what_is_left_to_pay() {
        let rate = Rate::new(1, 3, 0);
        let table = Memory::new(1);
        for number in 0..8 {
            assert!(is_allowed(&table, &one(block(number), rate), 1000));
        }
        // All places are taken, one response in each: the ninth has two left.
        let ninth = one(block(8), rate);
        assert!(is_allowed(&table, &ninth, 1000));
        assert!(is_allowed(&table, &ninth, 1000));
        assert!(!is_allowed(&table, &ninth, 1000));
        // Once they are paid back it costs nothing.
        let later = 1000 + 4 * UNITS_PER_SECOND;
        let tenth = one(block(9), rate);
        assert_eq!((0..9).filter(|_| is_allowed(&table, &tenth, later)).count(), 3);
    }

    /// A flood of 1,000,000 netblocks, each asking as often as the others, and two that are watched: one over its
    /// limit, one below.
    #[test]
    fn a_flood_of_a_million_netblocks_neither_hides_the_heavy_nor_hurts_the_light() {
        let rate = Rate::new(50, 50, 0);
        let (heavy, light) = (one(block(1 << 40), rate), one(block(2 << 40), rate));
        const SECONDS: u64 = 4;
        // A million queries a second from the flood, 5,000 from the heavy one, 40 from the light one.
        let run = |flood: bool| {
            let table = Memory::new(1 << 16);
            let (mut from_heavy, mut from_light, mut lost) = (0u64, 0u64, 0u64);
            for query in 0..SECONDS * 1_000_000 {
                let now = 5 + query * UNITS_PER_SECOND / 1_000_000;
                if flood && !is_allowed(&table, &one(block(query % 1_000_000), rate), now) {
                    lost += 1;
                }
                if query % 200 == 0 {
                    from_heavy += is_allowed(&table, &heavy, now) as u64;
                }
                if query % 25_000 == 0 {
                    from_light += is_allowed(&table, &light, now) as u64;
                }
            }
            (from_heavy, from_light, lost)
        };
        let (alone, flooded) = (run(false), run(true));
        let expected = 50 * SECONDS + 50;
        assert!(alone.0.abs_diff(expected) <= expected / 100, "{alone:?}");
        assert!(flooded.0.abs_diff(expected) <= expected / 10, "{flooded:?}");
        assert_eq!(flooded.1, alone.1, "the light one lost by the flood");
        assert_eq!(alone.1, 40 * SECONDS);
        assert_eq!(flooded.2, 0, "of the flood each asks once a second");
    }

    #[test]
    fn cpus_at_one_account_allow_no_more_than_one_would() {
        let rate = Rate::new(1000, 500, 0);
        let table = Memory::new(1);
        let asked = one(block(1), rate);
        let counts: Vec<usize> = std::thread::scope(|scope| {
            let thread = || {
                let times = (0..200_000u64).map(|step| 9 + step * UNITS_PER_SECOND / 100_000);
                times.filter(|now| is_allowed(&table, &asked, *now)).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let allowed: usize = counts.iter().sum();
        assert!(allowed <= 2 * 1000 + 500 + 3, "{counts:?}");
        assert!(allowed >= 2 * 1000, "{counts:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Any arrivals of any keys, weights and pauses, in a table much too small for them.
        #[test]
        fn no_window_has_more_than_the_bound(
            arrivals in prop::collection::vec((0u64..12, 0u64..21_000, 1u64..200), 1..3000),
            per_second in 1u64..5000,
            burst in 0u64..50,
            window_s in 0u64..20,
        ) {
            let rate = Rate::new(per_second, burst, 0);
            let table = Memory::new(1);
            let mut allowed: Vec<Vec<(u64, u64)>> = (0..12).map(|_| Vec::new()).collect();
            let mut now = 1;
            for (number, pause, sixteenths) in arrivals {
                // Mostly at the same moment or close, sometimes after seconds.
                now += if pause < 20_000 { pause / 200 } else { (pause - 20_000) * 9000 };
                let weight = WEIGHT_ONE + sixteenths / 8;
                let window = window_s * UNITS_PER_SECOND;
                let what = Charge { hash: block(number), rate, weight, window };
                if is_allowed(&table, &what, now) {
                    let cost = rate.interval as u64 * weight / WEIGHT_ONE;
                    allowed[number as usize].push((now, cost));
                }
            }
            for (number, times) in allowed.iter().enumerate() {
                prop_assert_eq!(exceeds(times, rate), None, "netblock {}", number);
            }
        }

        /// The same by a clock that ticks: what is allowed in any time is as the documentation says.
        #[test]
        fn a_clock_that_ticks_adds_a_tick(
            arrivals in prop::collection::vec(0u64..2000, 1..2000),
            per_second in 1u64..5000,
            burst in 1u64..50,
        ) {
            let tick = 4_000_000 / UNIT_NS;
            let rate = Rate::new(per_second, burst, tick);
            let table = Memory::new(1);
            let (mut now, mut times) = (tick, Vec::new());
            for pause in arrivals {
                now += pause;
                if is_allowed(&table, &one(block(1), rate), now - now % tick) {
                    times.push(now);
                }
            }
            let slack = (burst as f64).max(1.0 + per_second as f64 * tick as f64 / UNITS_PER_SECOND as f64);
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let seconds = (end - start + tick) as f64 / UNITS_PER_SECOND as f64;
                    let bound = per_second as f64 * seconds + slack;
                    prop_assert!((last - first + 1) as f64 <= bound + 1e-6, "{} in {}", last - first + 1, seconds);
                }
            }
        }
    }
}
