//! The limiter over memory, with a clock that is told.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use ipnet::IpNet;
use xdp_common::limit::decide::{self, Client, Count, Limiter, Said, Sighting, State};
use xdp_common::limit::list::ListEntry;
use xdp_common::limit::netblock::MAPPED_BITS;
use xdp_common::limit::policy::Circumstances;
use xdp_common::limit::table::{SLOTS, Table, UNIT_NS};
use xdp_common::limit::{Hit, Netblock, Policy, Rules, Verdict};
use xdp_common::maps::{RATE_BUCKETS, address_words, limits};

use super::response::Counted;
use crate::config::ratelimit::RateLimit;
use crate::server::limits::net;

/// Netblocks over a limit that are listed one by one: a capture of forged addresses may have any number.
const MAX_LISTED: usize = 1 << 18;

/// Any number: nobody outside chooses what lies in a capture that is replayed here.
const SEED: u64 = 0x7265_706c_6179_2121;

/// When the capture starts by the table's clock: well after zero, which stands for never.
const START: u64 = 1 << 30;

/// What was slipped and dropped of a netblock by one limit.
#[derive(Debug, Default, Clone, Copy)]
pub struct Over {
    /// How often.
    pub slips: u64,
    /// How often.
    pub drops: u64,
    /// Seconds since 1970.
    pub first_s: u64,
    /// The same.
    pub last_s: u64,
}

/// Netblock, prefix in bits as IPv6, [`Hit::number`].
type Key = ([u64; 2], u32, u32);

/// The limiter.
pub struct Limits {
    accounts: Accounts,
    policy: Policy,
    state: State,
    start_ns: Option<u64>,
    /// Queries of the second that is going on, for qps-scale.
    second: u64,
    queries: u64,
}

struct Accounts {
    slots: Box<[[Cell<u64>; SLOTS]]>,
    rules: Rules,
    now: Cell<u64>,
    now_s: Cell<u64>,
    exempt: HashSet<Netblock>,
    /// The lengths of prefixes in `exempt`.
    lengths: Vec<u32>,
    over: RefCell<HashMap<Key, Over>>,
    not_listed: Cell<u64>,
}

impl Limits {
    /// Over empty accounts.
    pub fn new(settings: &RateLimit) -> Limits {
        let netblock = |prefix: &IpNet| {
            let mapped = if prefix.addr().is_ipv4() { MAPPED_BITS } else { 0 };
            Netblock::of(address_words(prefix.addr()), u32::from(prefix.prefix_len()) + mapped)
        };
        let exempt: HashSet<Netblock> =
            settings.exempt.iter().map(|one| netblock(&one.0)).collect();
        let lengths: HashSet<u32> = exempt.iter().map(|one| one.prefix).collect();
        let policy = settings.policy();
        let empty = || [const { Cell::new(0) }; SLOTS];
        Limits {
            accounts: Accounts {
                slots: (0..RATE_BUCKETS).map(|_| empty()).collect(),
                rules: Rules::new(&policy, Circumstances { tick_ns: 0, qps: 0 }),
                now: Cell::new(0),
                now_s: Cell::new(0),
                exempt,
                lengths: lengths.into_iter().collect(),
                over: RefCell::default(),
                not_listed: Cell::new(0),
            },
            policy,
            state: State::new(),
            start_ns: None,
            second: 0,
            queries: 0,
        }
    }

    /// Decides on one response; `time_ns` is since 1970. Time that goes back stands still.
    pub fn decide(
        &mut self,
        source: [u64; 2],
        family: usize,
        counted: &Counted,
        time_ns: u64,
    ) -> Verdict {
        self.scale(time_ns / 1_000_000_000);
        let accounts = &self.accounts;
        let since_ns = time_ns.saturating_sub(*self.start_ns.get_or_insert(time_ns));
        accounts.now.set(accounts.now.get().max(START + since_ns / UNIT_NS));
        accounts.now_s.set(time_ns / 1_000_000_000);
        let client = Client { source, family };
        if decide::arrive(accounts, &client, || false, &mut self.state).is_err() {
            return Verdict::Drop;
        }
        let said = Said {
            class: counted.class.index(),
            name: counted.name,
            weight: decide::weight(counted.octets, counted.query_octets),
            policy: 0,
        };
        let verdict = decide::respond(accounts, &client, &said, &mut self.state);
        decide::settle(accounts, &client, &mut self.state);
        verdict
    }

    /// Makes the rates follow the queries per second, once a second.
    fn scale(&mut self, second: u64) {
        if second != self.second {
            let qps = if second == self.second + 1 { self.queries } else { 0 };
            self.accounts.rules = Rules::new(&self.policy, Circumstances { tick_ns: 0, qps });
            (self.second, self.queries) = (second, 0);
        }
        self.queries += 1;
    }

    /// Netblocks that were over a limit, and which.
    pub fn over(&self) -> impl Iterator<Item = ((IpNet, Hit), Over)> {
        let over = self.accounts.over.borrow().clone();
        over.into_iter().filter_map(|((netblock, prefix, hit), over)| {
            Some(((net(netblock, prefix)?, Hit::of_number(hit)?), over))
        })
    }

    /// How often a netblock was over a limit that is not among them: there were too many.
    pub fn not_listed(&self) -> u64 {
        self.accounts.not_listed.get()
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

impl Limiter for Accounts {
    fn limits(&self) -> u32 {
        let always = limits::RATES | limits::TOTALS | limits::AMPLIFICATION;
        always | if self.exempt.is_empty() { 0 } else { limits::EXEMPT }
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

    fn rules(&self, _place: u32) -> Option<&Rules> {
        Some(&self.rules)
    }

    fn exempt(&self, source: [u64; 2]) -> Option<ListEntry> {
        let is_there = |length: &u32| self.exempt.contains(&Netblock::of(source, *length));
        self.lengths.iter().any(is_there).then(ListEntry::default)
    }

    fn block(&self, _source: [u64; 2]) -> Option<ListEntry> {
        None
    }

    fn count(&self, _what: Count) {}

    fn sight(&self, _hash: u64, sighting: &Sighting) {
        if sighting.verdict == Verdict::Answer {
            return;
        }
        let mut over = self.over.borrow_mut();
        let key = (sighting.netblock, sighting.prefix, sighting.hit);
        if over.len() >= MAX_LISTED && !over.contains_key(&key) {
            self.not_listed.set(self.not_listed.get() + 1);
            return;
        }
        let row = over.entry(key).or_insert(Over { first_s: sighting.now_s, ..Over::default() });
        row.last_s = sighting.now_s;
        match sighting.verdict {
            Verdict::Drop => row.drops += 1,
            _ => row.slips += 1,
        }
    }
}
