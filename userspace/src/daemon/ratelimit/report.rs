//! What the commands show of rate limits.

use ipnet::IpNet;
use xdp_common::limit::policy::Policy;
use xdp_common::limit::{Class, Hit, Limited, Mode};

use super::failure;
use crate::clock::WallTime;
use crate::config::AddressPrefix;
use crate::control::protocol::Failure;
use crate::control::reply::ratelimit::{
    self as reply, Allowance, BlockList, BlockedBy, BlockedTarget, ExemptBy, ExemptList,
    ExemptPrefix, Netblock, NetblockExplanation, NetblockState, PolicyLimits, PolicyMode, Setting,
    TotalLimit, Verdict, ZoneSettings,
};
use crate::observe::word::PerWord;
use crate::ratelimit::changes::Target;
use crate::ratelimit::effective::{EffectiveLimits, Origin};
use crate::ratelimit::limits::{Block, Limits, net};
use crate::zone::Name;

/// Who was over a limit so many seconds ago is said to be limited now.
const LATELY_S: u64 = 10;

/// What is in effect, and where that was said.
pub fn show(limits: &EffectiveLimits) -> Result<reply::RateLimits, Failure> {
    let in_effect = limits.settings().map_err(failure)?;
    let (now, file) = (in_effect.settings(), limits.file.settings());
    let setting = |key: &String| {
        let origin = match () {
            () if limits.live.set.contains_key(key) => Origin::UntilRestart,
            () if limits.saved.set.contains_key(key) => Origin::Saved,
            () => Origin::File,
        };
        let (value, file) = (now.get(key).cloned(), file.get(key).cloned());
        Setting { key: key.clone(), drift: value != file, value, file, origin: origin_of(origin) }
    };
    let settings: Vec<Setting> = now.keys().map(setting).collect();
    let zones = limits
        .zones
        .iter()
        .map(|(name, zone)| ZoneSettings { zone: name.to_string(), settings: zone.settings() });
    let (exempt, blocks) = (limits.exempt(), limits.blocks());
    let file_exempt: std::collections::BTreeSet<IpNet> =
        limits.file.exempt.iter().map(|prefix| prefix.0.trunc()).collect();
    let exempt_drift = exempt.values().any(|origin| *origin != Origin::File)
        || file_exempt.iter().any(|prefix| !exempt.contains_key(prefix));
    let are_changed = settings.iter().any(|setting| setting.drift);
    Ok(reply::RateLimits {
        mode: mode(&in_effect.policy()),
        drift: are_changed || exempt_drift || !blocks.is_empty(),
        settings,
        zones: zones.collect(),
        exempt: exempt.len() as u64,
        exempt_drift,
        blocked: blocks.len() as u64,
        unsaved: !limits.live.is_empty(),
        saved_in: limits.path.clone(),
    })
}

/// All exempt prefixes, and those of the file that are not exempt any longer.
pub fn exempt(limits: &EffectiveLimits) -> ExemptList {
    let exempt = limits.exempt();
    let deleted = limits.file.exempt.iter().map(|prefix| prefix.0.trunc());
    let deleted = deleted.filter(|prefix| !exempt.contains_key(prefix));
    let deleted =
        deleted.map(|prefix| ExemptPrefix { prefix, origin: reply::Origin::File, exempt: false });
    let there = exempt.iter().map(|(prefix, origin)| ExemptPrefix {
        prefix: *prefix,
        origin: origin_of(*origin),
        exempt: true,
    });
    ExemptList { exempt: there.chain(deleted).collect() }
}

/// All that is blocked.
pub fn blocks(limits: &EffectiveLimits) -> BlockList {
    let blocks = limits.blocks();
    let blocked = blocks.iter().map(|(target, (block, origin))| BlockedTarget {
        target: target.to_string(),
        until: until(block),
        dry_run: block.dry_run,
        origin: origin_of(*origin),
    });
    BlockList { blocked: blocked.collect() }
}

/// Where something was said, as it is told.
fn origin_of(origin: Origin) -> reply::Origin {
    match origin {
        Origin::File => reply::Origin::File,
        Origin::Saved => reply::Origin::Saved,
        Origin::UntilRestart => reply::Origin::UntilRestart,
    }
}

/// When a block ends, in seconds since 1970; none: never.
pub fn until(block: &Block) -> Option<u64> {
    (block.until > 0).then_some(block.until)
}

/// What a limit allows per second; none if it is a block.
fn allowed(policy: &Policy, hit: Hit, of: IpNet) -> Option<u64> {
    let total = u64::from(policy.total);
    match hit {
        Hit::Class(class) => Some(policy.rates[class.index()].into()),
        Hit::Total(level) => {
            let multiplier = match of {
                IpNet::V4(_) => policy.ipv4_levels.get(level)?.multiplier,
                IpNet::V6(_) => policy.ipv6_levels.get(level)?.multiplier,
            };
            Some(total * u64::from(multiplier))
        }
        Hit::Passed => Some(policy.passed.into()),
        Hit::PassedTotal => Some(policy.passed_total.into()),
        Hit::BlockedPrefix | Hit::BlockedName => None,
    }
}

/// The default policy, and those of zones.
fn policies(limits: &Limits) -> impl Iterator<Item = (Option<&Name>, &Policy)> {
    let zones = limits.overrides.iter().map(|(zone, policy)| (Some(zone), policy));
    [(None, &limits.policy)].into_iter().chain(zones)
}

/// A policy that a limit may be of, and what it allows per second.
struct Candidate<'a> {
    zone: Option<&'a Name>,
    mode: Mode,
    per_second: u64,
}

/// The policies that a limit that was hit may be of. Which one it was is not recorded; it is one that counts
/// netblocks of this size and has such a limit, unless it was changed since. Totals are of the default policy.
fn candidates(limits: &Limits, hit: Hit, of: IpNet) -> Vec<Candidate<'_>> {
    let is_one = |zone: Option<&Name>, policy: &Policy| match (hit, of) {
        (Hit::Total(_), _) => zone.is_none(),
        (_, IpNet::V4(_)) => policy.ipv4_prefix == u32::from(of.prefix_len()),
        (_, IpNet::V6(_)) => policy.ipv6_prefix == u32::from(of.prefix_len()),
    };
    let candidates = policies(limits).filter(|(zone, policy)| is_one(*zone, policy));
    let candidates = candidates.filter_map(|(zone, policy)| {
        let per_second = allowed(policy, hit, of).filter(|per_second| *per_second > 0)?;
        Some(Candidate { zone, mode: mode(policy), per_second })
    });
    candidates.filter(|candidate| candidate.mode != Mode::Off).collect()
}

fn mode(policy: &Policy) -> Mode {
    Mode::ALL.into_iter().find(|mode| *mode as u32 == policy.mode).unwrap_or(Mode::Off)
}

/// One netblock that is limited, or near it.
struct Row {
    hit: Hit,
    /// Whether a policy that it may be of is enforced.
    is_enforced: bool,
    /// Which policy allows how much.
    allowance: String,
    shown: Netblock,
}

impl Row {
    fn new(limits: &EffectiveLimits, limited: &Limited, now: WallTime) -> Option<Row> {
        let net = net(limited.netblock, limited.prefix)?;
        let hit = Hit::of_number(limited.hit)?;
        let was_over = limited.since_s > 0;
        let state = match was_over {
            true if now.seconds().saturating_sub(limited.last_s) <= LATELY_S => {
                NetblockState::Limited
            }
            true => NetblockState::WasLimited,
            false => NetblockState::Near,
        };
        let seconds = limited.last_s.saturating_sub(limited.since_s) as f64;
        let over = (limited.slips + limited.drops) as f64 / seconds.max(1.0);
        let candidates = candidates(&limits.limits, hit, net);
        let mut rates: Vec<u64> = candidates.iter().map(|one| one.per_second).collect();
        rates.sort_unstable();
        rates.dedup();
        let policies = candidates.iter().map(|one| Allowance {
            zone: one.zone.map(ToString::to_string),
            mode: one.mode,
            allowed_per_second: one.per_second,
        });
        let class = if let Hit::Class(class) = hit { Some(class) } else { None };
        let shown = Netblock {
            netblock: net,
            state,
            limit: hit.word().to_owned(),
            class: class.map(|class| class.word().to_owned()),
            allowed_per_second: if let [rate] = rates[..] { Some(rate) } else { None },
            policies: policies.collect(),
            over_per_second: (over * 10.0).round() / 10.0,
            since: was_over.then_some(limited.since_s),
            last: limited.last_s,
            slips: limited.slips,
            drops: limited.drops,
        };
        let is_enforced = candidates.iter().any(|one| one.mode == Mode::On);
        let allowance = allowance(&candidates, &rates, !limits.limits.overrides.is_empty());
        Some(Row { hit, is_enforced, allowance, shown })
    }

    /// Why it is limited.
    fn reason(&self) -> String {
        let what = match self.hit {
            Hit::Class(class) => format!("responses of class {} about one name", class.word()),
            hit => format!("limit \"{}\"", hit.word()),
        };
        format!("{} is over {}: {what}", self.shown.netblock, self.allowance)
    }
}

/// In words which policy allows how much, and no more than is known.
fn allowance(candidates: &[Candidate<'_>], rates: &[u64], are_zones: bool) -> String {
    let words: Vec<String> = rates.iter().map(ToString::to_string).collect();
    let rates = words.join(" or ");
    let is_default = candidates.iter().any(|one| one.zone.is_none());
    let allowance = match candidates {
        [] => return "a limit that has been changed since".to_owned(),
        [Candidate { zone: None, .. }] if !are_zones => format!("its {rates} per second"),
        [Candidate { zone: None, .. }] => format!("its {rates} per second of the default policy"),
        [Candidate { zone: Some(zone), .. }] => format!("its {rates} per second of zone {zone}"),
        _ if is_default => format!("its {rates} per second of the default or of a zone's policy"),
        _ => format!("its {rates} per second of a zone's policy"),
    };
    let differ = candidates.iter().any(|one| one.mode != candidates[0].mode);
    allowance + if differ { " (not all of them enforced)" } else { "" }
}

/// Netblocks that are limited, or near it, worst first.
pub fn netblocks(limits: &EffectiveLimits, limited: &[Limited], now: WallTime) -> Vec<Netblock> {
    let mut worst: Vec<&Limited> = limited.iter().collect();
    worst.sort_by_key(|one| std::cmp::Reverse((one.since_s > 0, one.slips + one.drops)));
    let rows = worst.into_iter().filter_map(|one| Row::new(limits, one, now));
    rows.map(|row| row.shown).collect()
}

/// The mode of `[ratelimit]`, and all modes that a policy has.
pub fn modes(limits: &Limits) -> (Mode, Vec<PolicyMode>) {
    let is_one = |one: &Mode| policies(limits).any(|(_, policy)| mode(policy) == *one);
    let modes = Mode::ALL.into_iter().filter(is_one).map(PolicyMode);
    (mode(&limits.policy), modes.collect())
}

/// What is done to a netblock, and why.
pub fn explain(
    limits: &EffectiveLimits,
    prefix: &str,
    limited: &[Limited],
    now: WallTime,
) -> Result<NetblockExplanation, Failure> {
    let asked = AddressPrefix::from_text(prefix)
        .map_err(|message| Failure::new("ratelimit", message))?
        .0
        .trunc();
    let blocks = limits.blocks();
    let block = blocks.iter().rev().find_map(|(target, (block, origin))| match target {
        Target::Prefix(prefix) if prefix.contains(&asked) => Some((prefix, block, origin)),
        _ => None,
    });
    let exempt = limits.exempt();
    let exempt = exempt.iter().rev().find(|(prefix, _)| prefix.contains(&asked));
    let touches = |net: &IpNet| net.contains(&asked) || asked.contains(net);
    let mut rows: Vec<Row> = limited
        .iter()
        .filter_map(|one| Row::new(limits, one, now))
        .filter(|row| touches(&row.shown.netblock))
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.shown.slips.max(row.shown.drops)));
    let over = rows.iter().find(|row| row.shown.state == NetblockState::Limited);
    let is_off = policies(&limits.limits).all(|(_, policy)| mode(policy) == Mode::Off);
    let (verdict, reason) = match (block, exempt, over) {
        (Some((prefix, block, _)), ..) if !block.dry_run => {
            (Verdict::Blocked, format!("{prefix} is blocked"))
        }
        (_, Some((prefix, _)), _) => (Verdict::Exempt, format!("{prefix} is exempt")),
        _ if is_off => (Verdict::NotLimited, "the mode is off".to_owned()),
        (.., Some(row)) => {
            let is_limited = row.is_enforced;
            let verdict = if is_limited { Verdict::Limited } else { Verdict::WouldBeLimited };
            (verdict, row.reason())
        }
        _ => (Verdict::NotLimited, "none of its netblocks was over a limit recently".to_owned()),
    };
    let is_over = matches!(verdict, Verdict::Limited | Verdict::WouldBeLimited);
    let since = over.filter(|_| is_over).and_then(|row| row.shown.since);
    let default = allowances(None, &limits.limits.policy, asked);
    let policies = policies(&limits.limits);
    let policies = policies.map(|(zone, policy)| allowances(zone, policy, asked)).collect();
    Ok(NetblockExplanation {
        netblock: asked,
        verdict,
        reason,
        since,
        mode: mode(&limits.limits.policy),
        blocked_by: block.map(|(prefix, block, origin)| BlockedBy {
            prefix: *prefix,
            until: until(block),
            dry_run: block.dry_run,
            origin: origin_of(*origin),
        }),
        exempt_by: exempt
            .map(|(prefix, origin)| ExemptBy { prefix: *prefix, origin: origin_of(*origin) }),
        limits: rows.into_iter().map(|row| row.shown).collect(),
        allowed: default,
        policies,
        queries_per_second: limits.qps,
    })
}

/// Every limit of a policy that counts for an address. What is the same for all zones stands with the default
/// policy only.
fn allowances(zone: Option<&Name>, policy: &Policy, asked: IpNet) -> PolicyLimits {
    let (prefix, levels): (u32, &[_]) = match asked {
        IpNet::V4(_) => (policy.ipv4_prefix, &policy.ipv4_levels),
        IpNet::V6(_) => (policy.ipv6_prefix, &policy.ipv6_levels),
    };
    let block = |length: u32| IpNet::new(asked.addr(), length as u8).ok().map(|net| net.trunc());
    let levels = levels.iter().filter(|level| level.multiplier > 0 && policy.total > 0);
    let totals = levels.map(|level| TotalLimit {
        netblock: block(level.prefix),
        per_second: u64::from(policy.total) * u64::from(level.multiplier),
    });
    let is_default = zone.is_none();
    PolicyLimits {
        zone: zone.map(ToString::to_string),
        mode: mode(policy),
        netblock: block(prefix),
        classes_per_second: PerWord::new(|class: Class| policy.rates[class.index()]),
        qps_scale: (policy.qps_scale > 0).then_some(policy.qps_scale),
        total: is_default.then(|| totals.collect()),
        passed_per_second: is_default.then_some(policy.passed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A default policy and a zone's, and what is said of a netblock that hit a limit.
    fn said(zone: Policy, netblock: &str, hit: Hit) -> (Vec<u64>, String) {
        let policy = Policy { mode: Mode::On as u32, rates: [40; 7], ..Policy::new() };
        let name = "example".parse().unwrap();
        let limits = Limits { policy, overrides: [(name, zone)].into(), ..Limits::default() };
        let candidates = candidates(&limits, hit, netblock.parse().unwrap());
        let rates: Vec<u64> = candidates.iter().map(|one| one.per_second).collect();
        let words = allowance(&candidates, &rates, true);
        (rates, words)
    }

    #[test]
    fn no_policy_is_named_that_is_not_known() {
        let on = Policy { mode: Mode::On as u32, rates: [7; 7], ..Policy::new() };
        let positive = Hit::Class(Class::Positive);
        for (zone, netblock, hit, expected) in [
            (
                on,
                "192.0.2.0/24",
                positive,
                "its 40 or 7 per second of the default or of a zone's policy",
            ),
            (
                Policy { mode: Mode::DryRun as u32, ..on },
                "192.0.2.0/24",
                positive,
                "its 40 or 7 per second of the default or of a zone's policy (not all of them enforced)",
            ),
            (
                Policy { mode: Mode::Off as u32, ..on },
                "192.0.2.0/24",
                positive,
                "its 40 per second of the default policy",
            ),
            (
                Policy { rates: [0; 7], ..on },
                "192.0.2.0/24",
                positive,
                "its 40 per second of the default policy",
            ),
            (
                Policy { ipv4_prefix: 32, ..on },
                "192.0.2.1/32",
                positive,
                "its 7 per second of zone example.",
            ),
            (on, "192.0.2.1/32", positive, "a limit that has been changed since"),
            (on, "192.0.2.1/32", Hit::Total(0), "its 200 per second of the default policy"),
            (
                on,
                "2001:db8::/56",
                positive,
                "its 40 or 7 per second of the default or of a zone's policy",
            ),
        ] {
            assert_eq!(said(zone, netblock, hit).1, expected, "{netblock}");
        }
    }
}
