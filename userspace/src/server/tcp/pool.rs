//! Which TCP connections are kept while there are not enough for all (RFC 7766 section 6.2.3, RFC 9210 section 4.1).
//!
//! A connection is closed for a new one, never the new one refused for those that only wait: of the client that holds
//! the most, the one that has waited longest for a query. The client that asks for one more counts as holding it, so
//! nobody takes from who holds less than it would itself. As the pool fills, so shrinks how long a connection may
//! wait. Times are handed in, in milliseconds of any clock that does not go back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a connection may wait at least, however full the pool is. No official reference: more than a connection's
/// first query takes from anywhere, whose SYN ACK must travel there first.
const LEAST_IDLE: Duration = Duration::from_secs(1);

/// What a pool may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// All clients together.
    pub connections: usize,
    /// One client.
    pub per_client: usize,
}

/// A connection's seat: whose it is, and since when it does what it does.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    client: IpAddr,
    /// Milliseconds, twice; odd while a query is answered. Written by the connection, without the pool's lock.
    since: AtomicU64,
    /// Tells the connection that another has its seat.
    pub end: Notify,
    /// Tells a connection that waits for its descriptor that the connection is closed.
    pub closed: Notify,
}

impl Seat {
    /// From `now_ms` on it waits for a query.
    pub fn waits(&self, now_ms: u64) {
        self.since.store(now_ms << 1, Relaxed);
    }

    /// From `now_ms` on its query is answered, or another part of its answer is sent.
    pub fn answers(&self, now_ms: u64) {
        self.since.store(now_ms << 1 | 1, Relaxed);
    }

    /// Those that wait before those that answer, the longest first.
    fn rank(&self) -> (bool, u64, u64) {
        let since = self.since.load(Relaxed);
        (since & 1 == 1, since >> 1, self.id)
    }

    fn is_waiting(&self) -> bool {
        !self.rank().0
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct AcceptedConnection {
    /// Its seat.
    pub seat: Arc<Seat>,
    /// The connection that gave its seat up for it, and is to be told.
    pub ended: Option<Arc<Seat>>,
}

/// The open connections.
#[derive(Debug)]
pub(super) struct Pool {
    bounds: PoolLimits,
    seats: HashMap<u64, Arc<Seat>>,
    /// How many each client holds; none holds 0.
    clients: HashMap<IpAddr, usize>,
    next_id: u64,
}

impl Pool {
    pub fn new(bounds: PoolLimits) -> Pool {
        Pool { bounds, seats: HashMap::new(), clients: HashMap::new(), next_id: 0 }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Lets a new connection in, if need be in place of another; `None` if all that may be closed for it answer.
    ///
    /// With room it costs a look-up; else a walk over the pool. Of a proxy, which stands for many clients, the bound of one
    /// client does not hold.
    pub fn admit(
        &mut self,
        client: IpAddr,
        is_proxy: bool,
        now_ms: u64,
    ) -> Option<AcceptedConnection> {
        let held = self.clients.get(&client).copied().unwrap_or(0);
        let ended = if held >= self.bounds.per_client && !is_proxy {
            Some(self.longest(|seat| seat.client == client && seat.is_waiting())?)
        } else if self.seats.len() >= self.bounds.connections {
            Some(self.make_room(client, held)?)
        } else {
            None
        };
        if let Some(ended) = &ended {
            self.leave(ended);
        }
        let seat = Arc::new(Seat {
            id: self.next_id,
            client,
            since: AtomicU64::new(now_ms << 1),
            end: Notify::new(),
            closed: Notify::new(),
        });
        self.next_id += 1;
        self.seats.insert(seat.id, Arc::clone(&seat));
        *self.clients.entry(client).or_insert(0) += 1;
        Some(AcceptedConnection { seat, ended })
    }

    /// Who goes in a full pool for one more connection of a client that holds `held`.
    fn make_room(&self, client: IpAddr, held: usize) -> Option<Arc<Seat>> {
        let most = self.clients.values().copied().max()?;
        if held + 1 > most {
            return self.longest(|seat| seat.client == client && seat.is_waiting());
        }
        // Of the largest even what answers goes, the slowest first: else those who never read hold the pool.
        self.longest(|seat| self.clients.get(&seat.client) == Some(&most))
    }

    fn longest(&self, may_go: impl Fn(&Seat) -> bool) -> Option<Arc<Seat>> {
        self.seats.values().filter(|seat| may_go(seat)).min_by_key(|seat| seat.rank()).cloned()
    }

    /// Gives a seat back; one that is given back already is left alone.
    pub fn leave(&mut self, seat: &Seat) {
        if self.seats.remove(&seat.id).is_none() {
            return;
        }
        if let Some(held) = self.clients.get_mut(&seat.client) {
            *held -= 1;
            if *held == 0 {
                self.clients.remove(&seat.client);
            }
        }
    }

    /// Takes the seat of the largest holder's longest waiting connection, for who needs what it has: a descriptor.
    pub fn end_one(&mut self) -> Option<Arc<Seat>> {
        let most = self.clients.values().copied().max()?;
        let ended = self.longest(|seat| self.clients.get(&seat.client) == Some(&most))?;
        self.leave(&ended);
        Some(ended)
    }

    /// Takes the seats of those that have waited longer than `idle`.
    pub fn end_overdue(&mut self, idle: Duration, now_ms: u64) -> Vec<Arc<Seat>> {
        let overdue = |seat: &&Arc<Seat>| {
            let (answers, since, _) = seat.rank();
            !answers && u128::from(now_ms.saturating_sub(since)) > idle.as_millis()
        };
        let ended: Vec<_> = self.seats.values().filter(overdue).cloned().collect();
        ended.iter().for_each(|seat| self.leave(seat));
        ended
    }
}

/// How long a connection may wait for a query while so many of `most` are open: `full` up to half of them, then less
/// the more there are, down to [`LEAST_IDLE`].
pub(super) fn idle_time(full: Duration, open: usize, most: usize) -> Duration {
    let half = most / 2;
    let least = full.min(LEAST_IDLE);
    let over = open.saturating_sub(half).min(most - half) as u32;
    let range = u32::try_from(most - half).unwrap_or(u32::MAX).max(1);
    full - (full - least).mul_f64(f64::from(over) / f64::from(range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const BOUNDS: PoolLimits = PoolLimits { connections: 12, per_client: 5 };

    fn client(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    #[test]
    fn idle_clients_of_many_addresses_do_not_shut_the_pool() {
        let mut pool = Pool::new(PoolLimits { connections: 1000, per_client: 100 });
        let mut first = Vec::new();
        for number in 0..10 {
            for _ in 0..100 {
                first.push(pool.admit(client(number), false, u64::from(number)).unwrap().seat);
            }
        }
        let newcomer = pool.admit(client(99), false, 10).unwrap();
        assert_eq!(newcomer.ended.unwrap().id, first[0].id);
        assert_eq!(pool.len(), 1000);
        // Even where nobody reads what is sent, the slowest goes.
        for seat in &first {
            seat.answers(20 + seat.id);
        }
        let newcomer = pool.admit(client(98), false, 30).unwrap();
        assert_eq!(newcomer.ended.unwrap().id, 100, "of who holds the most, the longest");
    }

    #[test]
    fn a_client_s_own_idle_connections_go_for_its_new_one() {
        let mut pool = Pool::new(PoolLimits { connections: 1000, per_client: 100 });
        let seats: Vec<_> = (0..150).map(|at| pool.admit(client(1), false, at).unwrap()).collect();
        assert_eq!(pool.len(), 100);
        let gone: Vec<u64> = seats.iter().filter_map(|one| Some(one.ended.as_ref()?.id)).collect();
        assert_eq!(gone, (0..50).collect::<Vec<u64>>());
        // But none that answers.
        seats[50..].iter().for_each(|one| one.seat.answers(200));
        assert!(pool.admit(client(1), false, 201).is_none());
        assert!(pool.admit(client(2), false, 201).unwrap().ended.is_none());
    }

    #[test]
    fn idle_times_shrink_from_half_full_on() {
        let full = Duration::from_secs(10);
        let of = |open| idle_time(full, open, 1000).as_millis();
        assert_eq!([0, 500, 750, 1000, 2000].map(of), [10_000, 10_000, 5500, 1000, 1000]);
        assert!((0..1100).all(|open| of(open + 1) <= of(open)));
        // A short one is not made longer; the smallest pools have half of nothing.
        assert_eq!(idle_time(Duration::from_millis(300), 9, 9), Duration::from_millis(300));
        assert_eq!(idle_time(full, 1, 1), LEAST_IDLE);
        assert_eq!(idle_time(full, 0, 1), full);
    }

    #[test]
    fn who_waits_too_long_is_ended_and_who_answers_is_not() {
        let mut pool = Pool::new(BOUNDS);
        let seats: Vec<_> =
            (0..4).map(|at| pool.admit(client(1), false, at * 10).unwrap().seat).collect();
        seats[1].answers(10);
        let ended = pool.end_overdue(Duration::from_millis(80), 101);
        let mut ids: Vec<u64> = ended.iter().map(|seat| seat.id).collect();
        ids.sort_unstable();
        assert_eq!((ids, pool.len()), (vec![0, 2], 2));
        assert_eq!(pool.end_one().unwrap().id, 3, "who waits goes first");
        // Given back twice is given back once.
        pool.leave(&seats[3]);
        pool.leave(&seats[0]);
        assert_eq!((pool.len(), pool.clients[&client(1)]), (1, 1));
    }

    /// What happens to a pool: a connection of a client comes, or the n-th of those that are open starts to answer,
    /// waits again, or goes.
    #[derive(Clone, Debug)]
    enum Event {
        Comes(u8),
        Answers(usize),
        Waits(usize),
        Goes(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0u8..8).prop_map(Event::Comes),
            2 => (0usize..12).prop_map(Event::Answers),
            1 => (0usize..12).prop_map(Event::Waits),
            1 => (0usize..12).prop_map(Event::Goes),
        ]
    }

    /// An open connection as the judge has it: seat, client, whether it answers, since when.
    type Open = (Arc<Seat>, u8, bool, u64);

    proptest! {
        /// Whatever happens, bounds hold, and who goes is who should, as a list in the order of waiting tells.
        #[test]
        fn the_right_one_goes(events in proptest::collection::vec(event(), 0..200)) {
            let mut pool = Pool::new(BOUNDS);
            let mut open: Vec<Open> = Vec::new();
            for (now, event) in events.into_iter().enumerate() {
                let now = now as u64;
                match event {
                    Event::Comes(who) => {
                        let held = |who: u8| open.iter().filter(|one| one.1 == who).count();
                        let is_full = open.len() == BOUNDS.connections;
                        let most = (0..8).map(held).max().unwrap_or(0);
                        let own = held(who) == BOUNDS.per_client || (is_full && held(who) == most);
                        let mut may_go: Vec<&Open> = open.iter().filter(|one| match own {
                            true => one.1 == who && !one.2,
                            false => is_full && held(one.1) == most,
                        }).collect();
                        may_go.sort_by_key(|one| (one.2, one.3, one.0.id));
                        let expected = may_go.first().map(|one| one.0.id);
                        let admitted = pool.admit(client(who), false, now);
                        let refused = (own || is_full) && expected.is_none();
                        prop_assert_eq!(admitted.is_none(), refused);
                        if let Some(AcceptedConnection { seat, ended }) = admitted {
                            prop_assert_eq!(ended.map(|seat| seat.id), expected);
                            open.retain(|one| Some(one.0.id) != expected);
                            open.push((seat, who, false, now));
                        }
                    }
                    Event::Answers(at) => if let Some(one) = open.get_mut(at) {
                        one.0.answers(now);
                        (one.2, one.3) = (true, now);
                    },
                    Event::Waits(at) => if let Some(one) = open.get_mut(at) {
                        one.0.waits(now);
                        (one.2, one.3) = (false, now);
                    },
                    Event::Goes(at) => if at < open.len() {
                        pool.leave(&open.remove(at).0);
                    },
                }
                prop_assert_eq!(pool.len(), open.len());
                prop_assert!(pool.len() <= BOUNDS.connections);
                prop_assert!(pool.clients.values().all(|held| (1..=BOUNDS.per_client).contains(held)));
                prop_assert_eq!(pool.clients.values().sum::<usize>(), pool.len());
            }
        }
    }
}
