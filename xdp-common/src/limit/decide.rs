//! The decisions: whether a query is taken on, whether its response is sent, whether it is passed up.
//!
//! In the order of the verdicts: what is blocked is dropped; who is exempt or has shown a valid cookie is
//! answered; what is over a limit is slipped every so many-th time, else dropped. With `dry-run` the same is
//! counted, and all is answered.

use super::list::{ListEntry, NameListing, flag};
use super::netblock::masked;
use super::policy::{IPV6_LEVELS, LEVEL_PLACES, Mode, Rate, Rules};
use super::table::{Charge, Table, WEIGHT_ONE, charge, key};
use super::verdict::{Class, Hit, Limited, PASSED, Verdict};
use crate::Outcome;
use crate::launder::{forget, recall};
use crate::state::config::limits;
use crate::state::{Layers, LimitState};

/// Where accounts, policies and lists are, what time it is, and who counts.
pub trait Limiter: Table {
    /// Bits of [`limits`]: what there is.
    fn limit_bits(&self) -> u32;

    /// The key of the accounts' hashes.
    fn seed(&self) -> u64;

    /// The time in units of the table's clock. It never goes back.
    fn now(&self) -> u64;

    /// Seconds since 1970, which entries of lists expire by.
    fn now_s(&self) -> u64;

    /// A policy by its place.
    fn rules(&self, place: u32) -> Option<&Rules>;

    /// The longest exempt prefix of an address.
    fn exempt(&self, source: [u64; 2]) -> Option<ListEntry>;

    /// The longest blocked prefix of an address.
    fn block(&self, source: [u64; 2]) -> Option<ListEntry>;

    /// Counts a decision.
    fn count(&self, what: Count);

    /// Shows a netblock that is limited, or near it, to [`Limited::see`] of the entry for a hash.
    fn sight(&self, hash: u64, sighting: &Sighting);
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// A response, by the place of its class (or [`PASSED`]).
    Class(usize, Verdict),
    /// A query over the total of its netblock.
    Total(Verdict),
    /// A response over a limit, to who is exempt.
    Exempt,
    /// A query from a blocked prefix.
    BlockedPrefix,
    /// A query for a blocked name.
    BlockedName,
}

/// A netblock that is limited, or near it.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// Its address, bits behind the prefix zero.
    pub netblock: [u64; 2],
    /// Its prefix in bits, as IPv6.
    pub prefix: u32,
    /// Which limit.
    pub hit: u32,
    /// What became of the response.
    pub verdict: Verdict,
    /// When, in seconds since 1970.
    pub now_s: u64,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The address as IPv6 (IPv4 mapped), as it lies in memory.
    pub source: [u64; 2],
    /// 0 for IPv4, 1 for IPv6.
    pub family: usize,
}

impl Client {
    /// Who has sent the packet with these headers.
    #[inline(always)]
    pub fn of(layers: &Layers) -> Client {
        Client { source: recall(&layers.source), family: recall(&layers.ipv6) as usize & 1 }
    }
}

/// A response that is planned, as the limiter sees it.
#[derive(Clone, Copy, Debug)]
pub struct PlannedResponse {
    /// The [`Class::index`], or [`PASSED`].
    pub class: usize,
    /// What of the name and the type is counted together.
    pub name: u64,
    /// What it costs where amplification is weighed: [`weight`].
    pub weight: u64,
    /// The place of the policy.
    pub policy: u32,
}

/// Prefix lengths at which a query is counted, at the most.
const LEVELS: usize = IPV6_LEVELS;

/// What accounts are for, so that those of a netblock are told apart.
mod purpose {
    pub(super) const TOTAL: u64 = 0x746f_7461_6c00_0000;
    pub(super) const CLASS: u64 = 0x636c_6173_7300_0000;
    pub(super) const PASSED_TOTAL: u64 = 0x616c_6c70_6173_0000;
}

/// What a response costs where amplification is weighed: the more the larger it is than its query, both in octets
/// of message; no less than one.
#[inline(always)]
pub fn weight(response: usize, query: usize) -> u64 {
    if response <= query || query == 0 {
        return WEIGHT_ONE;
    }
    (response as u64 * WEIGHT_ONE).div_ceil(query as u64)
}

/// Decides whether a query is taken on, before it is read. `may_vouch` is whether it may hold a cookie: then it
/// must be read first.
#[inline(always)]
pub fn arrive<L: Limiter>(
    limiter: &L,
    client: &Client,
    may_vouch: impl Fn() -> bool,
    state: &mut LimitState,
) -> Result<(), Outcome> {
    state.over = 0;
    if limiter.limit_bits() & limits::BLOCK != 0
        && let Some(entry) = limiter.block(client.source)
        && entry.holds(limiter.now_s())
    {
        limiter.count(Count::BlockedPrefix);
        if entry.flags & flag::DRY_RUN == 0 {
            return Err(Outcome::Blocked);
        }
    }
    if limiter.limit_bits() & limits::TOTALS == 0 {
        return Ok(());
    }
    let Some(rules) = limiter.rules(0) else { return Ok(()) };
    let family = client.family & 1;
    let mut level = 0;
    while level < LEVELS {
        let total = &rules.totals[family][level];
        if total.rate.interval != 0 {
            let netblock = masked(client.source, total.mask);
            let hash = key(limiter.seed(), netblock, purpose::TOTAL + level as u64);
            state.hashes[level] = hash;
            // All buckets are waited for at once: a compare-and-exchange waits for its own before the next is read.
            if let Some(bucket) = limiter.bucket(hash) {
                limiter.load(bucket, 0);
            }
        }
        level += 1;
    }
    let now = limiter.now();
    let (mut over, mut level) = (0u64, 0);
    while level < LEVELS {
        let rate = rules.totals[family][level].rate;
        let ahead = take(limiter, state.hashes[level], rate, WEIGHT_ONE, 0, now, state);
        if ahead > rate.tolerance as u64 {
            over = 1 + level as u64;
            break;
        }
        level += 1;
    }
    let over = forget(&mut state.forgotten, over);
    if over == 0 {
        return Ok(());
    }
    let level = (over as usize - 1) & (LEVEL_PLACES - 1);
    let total = &rules.totals[family][level];
    let netblock = masked(client.source, total.mask);
    let hash = recall(&state.hashes[level]);
    let hit = Hit::Total(level).number();
    let slips = state.is_turn(rules.total_slip, hash);
    let (enforced, exempt) = (rules.mode == Mode::On as u32, is_exempt(limiter, client));
    if exempt {
        limiter.count(Count::Exempt);
        return Ok(());
    }
    let verdict = if slips { Verdict::Slip } else { Verdict::Drop };
    limiter.sight(
        hash,
        &Sighting { netblock, prefix: total.prefix, hit, verdict, now_s: limiter.now_s() },
    );
    if enforced && (slips || may_vouch()) {
        // What is said decides, once it is known whether the client has a cookie.
        state.over = hit + 1;
        state.slips = slips as u32;
        return Ok(());
    }
    limiter.count(Count::Total(verdict));
    if enforced { Err(Outcome::Limited) } else { Ok(()) }
}

/// Decides what becomes of a response that is planned, or of what would be passed up: by the blocks of its name, which
/// count for every client; by the cookie that the client has shown, with which it is answered and not counted; by the
/// policy for its name. What is dropped is an error: [`Outcome::Blocked`] or [`Outcome::Limited`]. `planned` is called only
/// where it decides. What would be passed up (class [`PASSED`]) is never slipped. After what is sent comes [`charge_amplification`].
///
/// All who answer ask this: the programs in the kernel, the daemon's sockets, and `ratelimit test`.
#[inline(always)]
pub fn decide<L: Limiter>(
    limiter: &L,
    client: &Client,
    listed: NameListing,
    is_vouched_for: bool,
    planned: impl FnOnce() -> Result<PlannedResponse, Outcome>,
    state: &mut LimitState,
) -> Result<Verdict, Outcome> {
    state.owed = 0;
    if listed.block != 0 {
        limiter.count(Count::BlockedName);
        if listed.block & flag::BLOCK != 0 {
            return Err(Outcome::Blocked);
        }
    }
    if is_vouched_for {
        return Ok(Verdict::Answer);
    }
    let verdict = respond(limiter, client, &planned()?, state);
    if verdict == Verdict::Drop {
        return Err(Outcome::Limited);
    }
    Ok(verdict)
}

/// What is sent in place of a response that is slipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slip {
    /// BADCOOKIE, with the server cookie that the client should have had (RFC 7873 section 5.2.3).
    BadCookie,
    /// TC=1 without records and without options, so that it is no larger than the query.
    Truncated,
}

impl Slip {
    /// What is sent to a client that has sent a cookie, or has not.
    #[inline(always)]
    pub const fn to(has_cookie: bool) -> Slip {
        if has_cookie { Slip::BadCookie } else { Slip::Truncated }
    }
}

/// Decides whether a response is sent, or what is not answered (class [`PASSED`]) passed up to the daemon. Who has
/// shown a valid cookie is not asked about.
#[inline(always)]
fn respond<L: Limiter>(
    limiter: &L,
    client: &Client,
    planned: &PlannedResponse,
    state: &mut LimitState,
) -> Verdict {
    let Some(rules) = limiter.rules(planned.policy) else { return Verdict::Answer };
    let class = if planned.class <= PASSED { planned.class } else { PASSED };
    let over = recall(&state.over);
    if over != 0 {
        let slips = recall(&state.slips) != 0 && class != PASSED;
        let verdict = if slips { Verdict::Slip } else { Verdict::Drop };
        limiter.count(Count::Total(verdict));
        return verdict;
    }
    if rules.mode == Mode::Off as u32 {
        return Verdict::Answer;
    }
    let rate = rules.rates[class];
    let family = client.family & 1;
    let netblock = masked(client.source, rules.masks[family]);
    let hash = key(limiter.seed() ^ planned.name, netblock, purpose::CLASS + class as u64);
    // Arithmetic: nobody stays in debt for what is passed up.
    let window = rules.window as u64 * (class != PASSED) as u64;
    let now = limiter.now();
    let mut hit = class as u32;
    let weight = if rules.amplification != 0 { planned.weight } else { WEIGHT_ONE };
    let mut ahead = take(limiter, hash, rate, weight, window, now, state);
    let mut tolerance = rate.tolerance as u64;
    if class == PASSED && ahead <= tolerance {
        let all = key(limiter.seed(), [0; 2], purpose::PASSED_TOTAL);
        ahead = take(limiter, all, rules.passed_total, WEIGHT_ONE, 0, now, state);
        tolerance = rules.passed_total.tolerance as u64;
        hit = PASSED as u32 + 1;
    }
    let ahead = forget(&mut state.forgotten, ahead);
    let tolerance = forget(&mut state.forgotten, tolerance);
    let verdict = if ahead <= tolerance {
        Verdict::Answer
    } else if is_exempt(limiter, client) {
        limiter.count(Count::Exempt);
        return Verdict::Answer;
    } else if class == Class::Error.index() {
        if state.is_turn(rules.leak, hash) { Verdict::Leak } else { Verdict::Drop }
    } else if class != PASSED && state.is_turn(rules.slip, hash) {
        Verdict::Slip
    } else {
        Verdict::Drop
    };
    limiter.count(Count::Class(class, verdict));
    if ahead * 4 > tolerance * 3 {
        let prefix = rules.prefixes[family];
        let hit =
            if hit < PASSED as u32 { hit } else { hit + Hit::Passed.number() - PASSED as u32 };
        let now_s = limiter.now_s();
        limiter.sight(hash, &Sighting { netblock, prefix, hit, verdict, now_s });
    }
    if matches!(verdict, Verdict::Answer | Verdict::Leak) {
        state.owed = planned.weight.saturating_sub(WEIGHT_ONE);
    }
    if rules.mode == Mode::On as u32 { verdict } else { Verdict::Answer }
}

/// Takes from the totals what a response that is sent costs beyond the one that was taken when its query came. It was not known then,
/// and is not asked for now: who is over for it is so from the next query on.
#[inline(always)]
pub fn charge_amplification<L: Limiter>(limiter: &L, client: &Client, state: &mut LimitState) {
    const BOTH: u32 = limits::TOTALS | limits::AMPLIFICATION;
    let weight = recall(&state.owed);
    if limiter.limit_bits() & BOTH != BOTH || weight == 0 {
        return;
    }
    let Some(rules) = limiter.rules(0).filter(|rules| rules.amplification != 0) else { return };
    let now = limiter.now();
    let mut level = 0;
    while level < LEVELS {
        let total = &rules.totals[client.family & 1][level];
        let rate = Rate { tolerance: u32::MAX, ..total.rate };
        take(limiter, state.hashes[level], rate, weight, 0, now, state);
        level += 1;
    }
}

/// [`charge`], with what it returns sent through memory; nothing where there is no limit.
#[inline(always)]
fn take<L: Limiter>(
    limiter: &L,
    hash: u64,
    rate: Rate,
    weight: u64,
    window: u64,
    now: u64,
    state: &mut LimitState,
) -> u64 {
    if rate.interval == 0 {
        return 0;
    }
    let what = Charge { hash, rate, weight, window };
    let ahead = charge(limiter, &what, now, &mut state.forgotten);
    forget(&mut state.forgotten, ahead)
}

/// Whether a client is exempt; asked only when it would be refused.
#[inline(always)]
fn is_exempt<L: Limiter>(limiter: &L, client: &Client) -> bool {
    limiter.limit_bits() & limits::EXEMPT != 0
        && limiter.exempt(client.source).is_some_and(|entry| entry.holds(limiter.now_s()))
}

/// The most that [`Limited::votes`] can be.
const MAX_VOTES: u32 = 1 << 12;

/// After so many seconds without being limited it is another time.
const PAUSE_S: u64 = 10;

impl Limited {
    /// Notes that a netblock was limited, or near it. Of those that share an entry the one that comes most often
    /// holds it (the majority vote of Boyer and Moore).
    #[inline(always)]
    pub fn see(&mut self, sighting: &Sighting) {
        let is_same = self.netblock[0] == sighting.netblock[0]
            && self.netblock[1] == sighting.netblock[1]
            && self.prefix == sighting.prefix
            && self.hit == sighting.hit;
        let is_over = sighting.now_s.saturating_sub(self.last_s) > PAUSE_S;
        if !is_same && !is_over && self.votes > 1 {
            self.votes -= 1;
            return;
        }
        if !is_same || is_over {
            self.netblock = sighting.netblock;
            self.prefix = sighting.prefix;
            self.hit = sighting.hit;
            (self.since_s, self.slips, self.drops, self.votes) = (0, 0, 0, 0);
        }
        self.last_s = sighting.now_s;
        if self.votes < MAX_VOTES {
            self.votes += 1;
        }
        match sighting.verdict {
            Verdict::Answer => return,
            Verdict::Slip | Verdict::Leak => self.slips += 1,
            Verdict::Drop => self.drops += 1,
        }
        if self.since_s == 0 {
            self.since_s = sighting.now_s;
        }
    }
}
