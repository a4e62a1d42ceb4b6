//! What is allowed: as an operator says it, and as the limiter reads it.

use super::netblock::{MAPPED_BITS, mask};
use super::verdict::Class;
pub use crate::state::limit::LEVEL_PLACES;

/// Nanoseconds in a unit of the table's clock. A time has 48 bits: nine years.
pub const UNIT_NS: u64 = 1 << 10;

/// Whether limits are enforced.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Nothing is counted.
    Off,
    /// All is counted, nothing is slipped or dropped.
    DryRun,
    /// Limits are enforced.
    On,
}

impl Mode {
    /// All of them, by number.
    pub const ALL: [Mode; 3] = [Mode::Off, Mode::DryRun, Mode::On];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::DryRun => "dry-run",
            Mode::On => "on",
        }
    }
}

/// A prefix length at which all responses to a netblock are counted.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// Length of the prefix in bits, of its own address family.
    pub prefix: u32,
    /// How often [`Policy::total`] such a netblock gets; 0 if it is not counted.
    pub multiplier: u32,
}

/// How many prefix lengths there are for IPv4.
pub const IPV4_LEVELS: usize = 4;
/// How many there are for IPv6.
pub const IPV6_LEVELS: usize = 5;
const _: () = assert!(IPV4_LEVELS <= IPV6_LEVELS && IPV6_LEVELS <= LEVEL_PLACES);

/// The most policies: the default one at place 0, and those of names.
pub const MAX_POLICIES: usize = 32;

/// What is allowed, in an operator's numbers. Rates are in responses a second; 0 is no limit.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The [`Mode`] as a number.
    pub mode: u32,
    /// Responses of a class about a name to a netblock, by [`Class::index`] (BIND:
    /// `responses-per-second` and its kin).
    pub rates: [u32; Class::COUNT],
    /// Responses of a class that may come at once; 0 for as many as its rate (BIND).
    pub burst: u32,
    /// Seconds for which a netblock that keeps asking over its rate stays in debt (BIND's `window`); with 0 it
    /// gets its rate all the same.
    pub window_s: u32,
    /// Of the responses over the limit of their class every so many-th is slipped; 0 for none, at most
    /// [`MAX_SLIP`].
    pub slip: u32,
    /// Of the errors over their limit every so many-th is sent as it is; 0 for none, at most [`MAX_SLIP`].
    pub leak: u32,
    /// Length of the prefix of netblocks for `rates`, IPv4.
    pub ipv4_prefix: u32,
    /// The same for IPv6.
    pub ipv6_prefix: u32,
    /// All responses to a netblock, times the multiplier of its level (BIND: `all-per-second`). Of the
    /// default policy only.
    pub total: u32,
    /// As many may come at once, times the multiplier; 0 for as many as `total`.
    pub total_burst: u32,
    /// As `slip`, for what is over the total (BIND's `all-per-second` never slips).
    pub total_slip: u32,
    /// Where totals are counted, longest prefix first.
    pub ipv4_levels: [Level; IPV4_LEVELS],
    /// The same for IPv6.
    pub ipv6_levels: [Level; IPV6_LEVELS],
    /// Above so many queries a second all rates fall in proportion; 0 for never.
    pub qps_scale: u32,
    /// 1 if a response costs as much as it is larger than its query, 0 if each costs one.
    pub amplification: u32,
    /// Queries that are passed up to the daemon from a netblock (`ipv4_prefix`, `ipv6_prefix`). Of the default
    /// policy only.
    pub passed: u32,
    /// Queries that are passed up to the daemon from all. Of the default policy only.
    pub passed_total: u32,
}

/// The most that [`Policy::slip`] and [`Policy::leak`] can be, as in BIND.
pub const MAX_SLIP: u32 = 10;
/// The most that [`Policy::window_s`] can be, as in BIND.
pub const MAX_WINDOW_S: u32 = 3600;
/// The highest rate that can be told from none: one response in a unit of the table's clock.
pub const MAX_RATE: u32 = (1_000_000_000 / UNIT_NS) as u32;

impl Policy {
    /// The defaults, switched off. Numbers are Knot's where it has them: BIND's defaults are no limit.
    pub const fn new() -> Policy {
        Policy {
            mode: Mode::Off as u32,
            // Knot's `rate-limit`: well above what a resolver that caches asks.
            rates: [50; Class::COUNT],
            burst: 0,
            window_s: 0,
            // BIND's and NSD's: half of the packets are saved, and a victim's own queries come through.
            slip: 2,
            leak: 2,
            // BIND's and the advice of its authors.
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            // BIND's advice: at least four times the other rates.
            total: 200,
            total_burst: 0,
            total_slip: 2,
            // Knot's.
            ipv4_levels: [
                Level { prefix: 32, multiplier: 1 },
                Level { prefix: 24, multiplier: 32 },
                Level { prefix: 20, multiplier: 256 },
                Level { prefix: 18, multiplier: 768 },
            ],
            ipv6_levels: [
                Level { prefix: 128, multiplier: 1 },
                Level { prefix: 64, multiplier: 2 },
                Level { prefix: 56, multiplier: 3 },
                Level { prefix: 48, multiplier: 4 },
                Level { prefix: 32, multiplier: 64 },
            ],
            qps_scale: 0,
            amplification: 0,
            // A client has no reason to ask the daemon more often than that over UDP.
            passed: 50,
            // A tenth of what one core of the daemon answers.
            passed_total: 10_000,
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::new()
    }
}

/// A rate as the limiter reads it, in units of the table's clock.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// What one response takes; 0 for no limit.
    pub interval: u32,
    /// What may be taken in advance.
    pub tolerance: u32,
}

/// A [`Level`] as the limiter reads it.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Total {
    /// The bits that all addresses of a netblock share.
    pub mask: [u64; 2],
    /// What it gets.
    pub rate: Rate,
    /// Length of the prefix in bits, as IPv6.
    pub prefix: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

impl Rate {
    /// No limit.
    pub const NONE: Rate = Rate { interval: 0, tolerance: 0 };

    /// So many responses a second, of which `burst` (or as many as in a second, if that is 0) may come at
    /// once. A clock that only moves every `tick` units asks for more in advance: what a tick brings.
    ///
    /// The interval is rounded up, so that what passes is never more than the rate.
    pub fn new(per_second: u64, burst: u64, tick: u64) -> Rate {
        if per_second == 0 {
            return Rate::NONE;
        }
        let interval = UNITS_PER_SECOND.div_ceil(per_second).max(1);
        let burst = if burst == 0 { per_second } else { burst };
        let tolerance = interval.saturating_mul(burst).max(interval + tick);
        Rate { interval: saturated(interval), tolerance: saturated(tolerance) }
    }
}

/// Units of the table's clock in a second, rounded up.
pub const UNITS_PER_SECOND: u64 = 1_000_000_000u64.div_ceil(UNIT_NS);

fn saturated(number: u64) -> u32 {
    number.min(u32::MAX as u64) as u32
}

/// What a policy depends on that is not the operator's to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circumstances {
    /// Nanoseconds between two ticks of the limiter's clock.
    pub tick_ns: u64,
    /// Queries a second that come now, for [`Policy::qps_scale`].
    pub qps: u64,
}

impl Rules {
    /// A policy as the limiter reads it.
    pub fn new(policy: &Policy, circumstances: Circumstances) -> Rules {
        let tick = circumstances.tick_ns.div_ceil(UNIT_NS);
        let scaled = |rate: u64| match policy.qps_scale as u64 {
            scale if scale != 0 && circumstances.qps > scale && rate != 0 => {
                (rate.saturating_mul(scale) / circumstances.qps).max(1)
            }
            _ => rate,
        };
        let rate = |rate: u64, burst: u64| Rate::new(scaled(rate), burst, tick);
        let total = |level: Level, mapped: u32| {
            let times = level.multiplier as u64;
            let (per_second, burst) = (policy.total as u64, policy.total_burst as u64);
            let prefix = level.prefix + mapped;
            let rate = rate(per_second * times, burst * times);
            Total { mask: mask(prefix), rate, prefix, reserved: 0 }
        };
        let mut totals = [[Total::default(); LEVEL_PLACES]; 2];
        for (place, level) in totals[0].iter_mut().zip(policy.ipv4_levels) {
            *place = total(level, MAPPED_BITS);
        }
        for (place, level) in totals[1].iter_mut().zip(policy.ipv6_levels) {
            *place = total(level, 0);
        }
        let mut rates = [rate(policy.passed as u64, 0); Class::COUNT + 1];
        for (place, per_second) in rates.iter_mut().zip(policy.rates) {
            *place = rate(per_second as u64, policy.burst as u64);
        }
        let prefixes = [policy.ipv4_prefix + MAPPED_BITS, policy.ipv6_prefix];
        Rules {
            rates,
            passed_total: rate(policy.passed_total as u64, 0),
            totals,
            masks: prefixes.map(mask),
            prefixes,
            window: saturated(policy.window_s as u64 * UNITS_PER_SECOND),
            mode: policy.mode,
            slip: policy.slip,
            leak: policy.leak,
            total_slip: policy.total_slip,
            amplification: policy.amplification,
        }
    }
}

/// A policy as the limiter reads it; made from a [`Policy`] by the daemon. All zeros allows everything.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// By [`Class::index`]; the last is [`Policy::passed`].
    pub rates: [Rate; Class::COUNT + 1],
    /// [`Policy::passed_total`].
    pub passed_total: Rate,
    /// [`Policy::total`] at each level; the places behind the last one are empty.
    pub totals: [[Total; LEVEL_PLACES]; 2],
    /// The bits of netblocks for `rates`: IPv4, IPv6.
    pub masks: [[u64; 2]; 2],
    /// Their prefixes in bits, as IPv6.
    pub prefixes: [u32; 2],
    /// [`Policy::window_s`] in units of the table's clock.
    pub window: u32,
    /// The [`Mode`] as a number.
    pub mode: u32,
    /// [`Policy::slip`].
    pub slip: u32,
    /// [`Policy::leak`].
    pub leak: u32,
    /// [`Policy::total_slip`].
    pub total_slip: u32,
    /// [`Policy::amplification`].
    pub amplification: u32,
}

const _: () = assert!(size_of::<Rules>() == (Class::COUNT + 2) * 8 + 16 * 32 + 32 + 8 + 24);
