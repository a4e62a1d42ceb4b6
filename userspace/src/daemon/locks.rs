//! The daemon's locks, which are taken in one order.
//!
//! Two threads that take two locks in two orders wait for each other for ever, seldom enough for no
//! test to see it. So a lock here has a [`Rank`], and who holds one may only take locks of a higher
//! rank. Each taking is checked against what the thread holds already, whether another thread is
//! there to collide with or not: one pass over a piece of code finds its order. In tests a wrong order
//! is a panic; a daemon that serves says it in the log and goes on, since the deadlock is possible and
//! not certain.
//!
//! The data plane is held for as long as a zone is published, which may be minutes. Who must answer
//! meanwhile takes it with [`Lock::hold_for`] or not at all: see `plane`.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Where a lock stands in the order: the first is taken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Held by a thread that exchanges the configuration.
    Exchange,
    /// No lock: the rank of a thread that works on a zone whose turn it has. A zone has one at a time.
    Turn,
    /// Which zones are served since catalogs list them.
    Catalogs,
    /// The layers of rate limits.
    Limits,
    /// The data plane.
    Plane,
    /// The trace that goes on.
    Trace,
    /// What is known of each zone.
    Zones,
    /// Which zones were not tried yet.
    Awaited,
    /// Members that have left their catalogs.
    Leaving,
    /// Which zones are being worked on.
    Turns,
    /// The secrets of DNS cookies, and of TSIG keys.
    Secrets,
    /// Who is told of new serials.
    Notified,
    /// The configuration in effect.
    Config,
    /// The zones that the sockets do not follow yet.
    Unfollowed,
    /// How far signatures were made anew that are due.
    Renewals,
    /// Which zones are kept for the next start.
    KeptZones,
    /// What is kept of one zone. Held while a change is written to the disk.
    KeptZone,
    /// What waits for a thread that works on zones.
    Queue,
    /// The sockets that questions come to.
    Sockets,
    /// What the data plane said last. Nothing is taken behind it.
    PlaneSnapshot,
}

/// A mutex with a place in the order. A panic of its holder leaves it usable: what the daemon's locks
/// guard is whole between any two statements.
pub struct Lock<T> {
    rank: Rank,
    value: Mutex<T>,
}

/// A lock that is held, until this is dropped.
pub struct LockGuard<'a, T> {
    // Dropped in this order: the lock is free before its rank is.
    value: MutexGuard<'a, T>,
    _rank: Ranked,
}

impl<T> Lock<T> {
    /// A lock of this rank.
    pub fn new(rank: Rank, value: T) -> Lock<T> {
        Lock { rank, value: Mutex::new(value) }
    }

    /// Waits for the lock for as long as it takes.
    pub fn hold(&self) -> LockGuard<'_, T> {
        let rank = Ranked::take(self.rank);
        LockGuard { value: self.value.lock(), _rank: rank }
    }

    /// Waits for the lock no longer than `patience`.
    pub fn hold_for(&self, patience: Duration) -> Option<LockGuard<'_, T>> {
        let rank = Ranked::take(self.rank);
        Some(LockGuard { value: self.value.try_lock_for(patience)?, _rank: rank })
    }

    /// Takes the lock if nobody holds it.
    pub fn try_hold(&self) -> Option<LockGuard<'_, T>> {
        self.hold_for(Duration::ZERO)
    }
}

impl<T> LockGuard<'_, T> {
    /// Lets go of the lock until somebody tells of a change or `patience` is over, and takes it again. Its rank stays
    /// taken meanwhile.
    pub fn wait_for(&mut self, changed: &Condvar, patience: Duration) {
        changed.wait_for(&mut self.value, patience);
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

thread_local! {
    /// The ranks that this thread holds, or is waiting for.
    static RANKS: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
}

/// A rank that this thread holds, until this is dropped.
pub struct Ranked(Rank);

impl Ranked {
    /// Takes a rank, of a lock or of what is held as a lock is.
    pub fn take(rank: Rank) -> Ranked {
        let last = RANKS.with_borrow(|ranks| ranks.iter().max().copied());
        if let Some(last) = last.filter(|last| *last >= rank) {
            if cfg!(any(test, debug_assertions)) {
                panic!("the lock {rank:?} is taken by a thread that holds {last:?}");
            }
            tracing::error!("{WRONG_ORDER}: {rank:?} after {last:?}; please report this fault");
        }
        RANKS.with_borrow_mut(|ranks| ranks.push(rank));
        Ranked(rank)
    }
}

impl Drop for Ranked {
    fn drop(&mut self) {
        RANKS.with_borrow_mut(|ranks| {
            // Guards may be dropped in any order.
            if let Some(at) = ranks.iter().rposition(|rank| *rank == self.0) {
                ranks.remove(at);
            }
        });
    }
}

/// What the log says of a wrong order.
pub const WRONG_ORDER: &str = "two locks were taken in the wrong order";

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const RANKS_IN_ORDER: [Rank; 13] = [
        Rank::Exchange,
        Rank::Turn,
        Rank::Limits,
        Rank::Plane,
        Rank::Trace,
        Rank::Zones,
        Rank::Awaited,
        Rank::Turns,
        Rank::Secrets,
        Rank::Config,
        Rank::Unfollowed,
        Rank::Queue,
        Rank::PlaneSnapshot,
    ];

    #[test]
    fn of_all_pairs_only_those_in_order_may_be_held_together() {
        for first in RANKS_IN_ORDER {
            for second in RANKS_IN_ORDER {
                let (one, two) = (Lock::new(first, ()), Lock::new(second, ()));
                let takes: [fn(&Lock<()>); 2] = [
                    |lock| drop(lock.hold()),
                    |lock| drop(lock.hold_for(Duration::from_millis(1))),
                ];
                for take in takes {
                    let taken = catch_unwind(AssertUnwindSafe(|| {
                        let _held = one.hold();
                        take(&two);
                    }));
                    assert_eq!(taken.is_ok(), first < second, "{first:?}, {second:?}");
                    // Neither what was let go of nor a panic leaves a rank behind.
                    assert!(RANKS.with_borrow(Vec::is_empty));
                }
            }
        }
    }

    #[test]
    fn a_rank_is_free_once_its_lock_is() {
        let (zones, plane) = (Lock::new(Rank::Zones, 1), Lock::new(Rank::Plane, 2));
        let one = *zones.hold();
        assert_eq!(one + *plane.hold(), 3);
        let held = plane.hold();
        let other = zones.hold();
        drop(held);
        drop(other);
        drop(plane.hold());
        // Who is refused a lock does not hold it.
        std::thread::scope(|scope| {
            let _held = plane.hold();
            let other = scope.spawn(|| {
                assert!(plane.try_hold().is_none());
                drop(Lock::new(Rank::Turn, ()).hold());
            });
            other.join().expect("no rank was left behind");
        });
    }
}
