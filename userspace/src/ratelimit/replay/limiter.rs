//! The limiter over memory, with a clock that is told.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use xdp_common::Outcome;
use xdp_common::limit::decide::{self, Client, Count, Sighting};
use xdp_common::limit::list::ListEntry;
use xdp_common::limit::netblock::masked;
use xdp_common::limit::table::{SLOTS, Table, UNIT_NS};
use xdp_common::limit::{Hit, Rules, Verdict};
use xdp_common::maps::{RATE_BUCKETS, address_words};
use xdp_common::state::LimitState;

use super::response::CountedResponse;
use crate::ratelimit::compiled::CompiledLimits;
use crate::ratelimit::limits::{Limits, net};

/// Netblocks over a limit that are listed one by one: a capture of forged addresses may have any number.
const MAX_LISTED: usize = 1 << 18;

/// Any number: nobody outside chooses what lies in a capture that is replayed here.
const SEED: u64 = 0x7265_706c_6179_2121;

/// When the capture starts by the table's clock: well after zero, which stands for never.
const START: u64 = 1 << 30;

/// Who was over a limit, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    netblock: [u64; 2],
    /// In bits, as IPv6.
    prefix: u32,
    /// [`Hit::number`].
    hit: u32,
    /// The place of the policy.
    policy: u32,
}

/// What was slipped and dropped of a netblock by one limit.
#[derive(Debug, Default, Clone, Copy)]
pub struct LimitHits {
    /// How often.
    pub slips: u64,
    /// How often.
    pub drops: u64,
    /// Seconds since 1970.
    pub first_s: u64,
    /// The same.
    pub last_s: u64,
}

/// The limiter, as it would have decided on a capture.
pub struct ReplayLimiter {
    accounts: Accounts,
    /// The names that policies are of, by place; the default policy's has none.
    zones: Vec<String>,
    state: LimitState,
    start_ns: Option<u64>,
    /// Queries of the second that is going on, for qps-scale.
    second: u64,
    queries: u64,
}

struct Accounts {
    slots: Box<[[Cell<u64>; SLOTS]]>,
    limits: CompiledLimits,
    /// The place of the policy by which it is decided.
    policy: Cell<u32>,
    now: Cell<u64>,
    now_s: Cell<u64>,
    over: RefCell<HashMap<Key, LimitHits>>,
    not_listed: Cell<u64>,
}

impl ReplayLimiter {
    /// Over empty accounts.
    pub fn new(limits: &Limits) -> ReplayLimiter {
        let empty = || [const { Cell::new(0) }; SLOTS];
        ReplayLimiter {
            accounts: Accounts {
                slots: (0..RATE_BUCKETS).map(|_| empty()).collect(),
                limits: CompiledLimits::new(limits, 0),
                policy: Cell::new(0),
                now: Cell::new(0),
                now_s: Cell::new(0),
                over: RefCell::default(),
                not_listed: Cell::new(0),
            },
            zones: limits.overrides.keys().map(ToString::to_string).collect(),
            state: LimitState::new(),
            start_ns: None,
            second: 0,
            queries: 0,
        }
    }

    /// Decides on one response; `time_ns` is since 1970. Time that goes back stands still.
    pub fn decide(
        &mut self,
        client: IpAddr,
        counted: &CountedResponse,
        time_ns: u64,
    ) -> Result<Verdict, Outcome> {
        self.scale(time_ns / 1_000_000_000);
        let accounts = &self.accounts;
        let since_ns = time_ns.saturating_sub(*self.start_ns.get_or_insert(time_ns));
        accounts.now.set(accounts.now.get().max(START + since_ns / UNIT_NS));
        accounts.now_s.set(time_ns / 1_000_000_000);
        let client = client.to_canonical();
        let client =
            Client { source: address_words(client), family: usize::from(client.is_ipv6()) };
        // As the sockets do it.
        if let Err(outcome) = decide::arrive(accounts, &client, || true, &mut self.state) {
            accounts.note_block(&client, Hit::BlockedPrefix, outcome);
            return Err(outcome);
        }
        let response = &counted.response();
        let decided = accounts.limits.respond(accounts, &client, response, &mut self.state);
        if let Err(outcome) = decided {
            accounts.note_block(&client, Hit::BlockedName, outcome);
        }
        decided
    }

    /// Makes the rates follow the queries per second, once a second.
    fn scale(&mut self, second: u64) {
        if second != self.second {
            let qps = if second == self.second + 1 { self.queries } else { 0 };
            self.accounts.limits.scale(qps);
            (self.second, self.queries) = (second, 0);
        }
        self.queries += 1;
    }

    /// Netblocks that were over a limit, which one, and the zone whose policy says so; none for the default
    /// policy and for blocks.
    pub fn over(&self) -> impl Iterator<Item = (IpNet, Hit, Option<&str>, LimitHits)> {
        let over = self.accounts.over.borrow().clone();
        over.into_iter().filter_map(|(key, over)| {
            let place = key.policy.checked_sub(1);
            let zone = place.and_then(|place| self.zones.get(place as usize)).map(String::as_str);
            Some((net(key.netblock, key.prefix)?, Hit::of_number(key.hit)?, zone, over))
        })
    }

    /// How often a netblock was over a limit that is not among them: there were too many.
    pub fn not_listed(&self) -> u64 {
        self.accounts.not_listed.get()
    }
}

impl Accounts {
    fn note(&self, key: Key, verdict: Verdict) {
        let mut over = self.over.borrow_mut();
        if over.len() >= MAX_LISTED && !over.contains_key(&key) {
            self.not_listed.set(self.not_listed.get() + 1);
            return;
        }
        let now_s = self.now_s.get();
        let row = over.entry(key).or_insert(LimitHits { first_s: now_s, ..LimitHits::default() });
        row.last_s = now_s;
        match verdict {
            Verdict::Drop => row.drops += 1,
            _ => row.slips += 1,
        }
    }

    /// Notes what was blocked, under the netblock of the default policy.
    fn note_block(&self, client: &Client, hit: Hit, outcome: Outcome) {
        let Some(rules) = self.limits.rules(0).filter(|_| outcome == Outcome::Blocked) else {
            return;
        };
        let family = client.family & 1;
        let netblock = masked(client.source, rules.masks[family]);
        let key = Key { netblock, prefix: rules.prefixes[family], hit: hit.number(), policy: 0 };
        self.note(key, Verdict::Drop);
    }
}

impl Table for Accounts {
    type Bucket = usize;

    fn bucket(&self, hash: u64) -> Option<usize> {
        Some(hash as usize & (self.slots.len() - 1))
    }

    fn load(&self, bucket: usize, slot: usize) -> u64 {
        self.slots[bucket][slot].get()
    }

    fn exchange(&self, bucket: usize, slot: usize, _old: u64, new: u64) -> bool {
        self.slots[bucket][slot].set(new);
        true
    }
}

impl decide::Limiter for Accounts {
    fn limit_bits(&self) -> u32 {
        self.limits.bits()
    }

    fn seed(&self) -> u64 {
        SEED
    }

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn now_s(&self) -> u64 {
        self.now_s.get()
    }

    fn rules(&self, place: u32) -> Option<&Rules> {
        // Each decision asks for its policy first.
        self.policy.set(place);
        self.limits.rules(place)
    }

    fn exempt(&self, source: [u64; 2]) -> Option<ListEntry> {
        self.limits.exempt(source)
    }

    fn block(&self, source: [u64; 2]) -> Option<ListEntry> {
        self.limits.block(source)
    }

    fn count(&self, _what: Count) {}

    fn sight(&self, _hash: u64, sighting: &Sighting) {
        if sighting.verdict != Verdict::Answer {
            let Sighting { netblock, prefix, hit, verdict, .. } = *sighting;
            self.note(Key { netblock, prefix, hit, policy: self.policy.get() }, verdict);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratelimit::limiter::{self, Moment};
    use crate::ratelimit::limits::Block;
    use crate::zone::Name;
    use proptest::prelude::*;
    use xdp_common::limit::{Class, Mode, Policy};

    const NAMES: [&str; 6] =
        ["a.example", "b.a.example", "c.b.a.example", "d.example", "bad.a.example", "."];
    const CLIENTS: [&str; 5] =
        ["192.0.2.1", "192.0.2.2", "198.51.100.1", "203.0.113.1", "2001:db8::1"];

    /// Zones in zones, exempt clients, blocks, and every kind of policy.
    fn limits() -> Limits {
        let of = |rate, mode: Mode| Policy {
            mode: mode as u32,
            rates: [rate; Class::COUNT],
            total: 30,
            slip: 2,
            leak: 3,
            ..Policy::new()
        };
        let name = |text: &str| text.parse::<Name>().unwrap();
        let block = Block::default();
        Limits {
            policy: of(8, Mode::On),
            overrides: [
                (name("a.example"), Policy { amplification: 1, slip: 0, ..of(4, Mode::On) }),
                (name("b.a.example"), Policy { window_s: 2, ipv4_prefix: 32, ..of(2, Mode::On) }),
                (name("d.example"), of(1, Mode::DryRun)),
            ]
            .into(),
            exempt: [("203.0.113.0/24".parse().unwrap(), 0)].into(),
            block: [("192.0.2.2/32".parse().unwrap(), block)].into(),
            block_names: [
                (name("bad.a.example"), block),
                (name("c.b.a.example"), Block { dry_run: true, ..block }),
            ]
            .into(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// What a replay says is what the daemon does with the same queries at the same times.
        #[test]
        fn the_daemon_decides_the_same(
            queries in proptest::collection::vec(
                (0..CLIENTS.len(), 0..NAMES.len(), 0..Class::COUNT, 0..60u64, 20..600usize),
                1..400,
            ),
        ) {
            let decide = || {
                let mut replayed = ReplayLimiter::new(&limits());
                let daemon = limiter::Limiter::new(SEED);
                daemon.set(&limits(), 0);
                let (mut ms, mut verdicts) = (0, Vec::new());
                for (client, name, class, pause_ms, octets) in &queries {
                    let client: IpAddr = CLIENTS[*client].parse().unwrap();
                    let counted = CountedResponse {
                        class: Class::ALL[*class],
                        qname: NAMES[*name].parse::<Name>().unwrap().as_wire().to_vec(),
                        name: *name as u64,
                        octets: *octets,
                        query_octets: 40,
                    };
                    let now = Moment { units: START + ms * 1_000_000 / UNIT_NS, seconds: ms / 1000 };
                    let live = daemon
                        .arrive(client, now)
                        .and_then(|()| daemon.respond(client, &counted.response(), now));
                    verdicts.push((replayed.decide(client, &counted, ms * 1_000_000), live));
                    // Afterwards: the replay's clock starts with the first query.
                    ms += pause_ms;
                }
                verdicts
            };
            // The sockets remember by thread whose turn it is to be slipped.
            let verdicts = std::thread::scope(|scope| scope.spawn(decide).join().unwrap());
            for (replayed, live) in verdicts {
                prop_assert_eq!(replayed, live);
            }
        }
    }
}
