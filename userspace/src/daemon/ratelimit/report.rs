//! What the commands show of rate limits.

use ipnet::IpNet;
use serde_json::{Value, json};
use xdp_common::limit::policy::Policy;
use xdp_common::limit::{Class, Hit, Limited};

use super::{Origin, RateLimits, Target, failure};
use crate::config::AddressPrefix;
use crate::config::ratelimit::LimitMode;
use crate::control::protocol::Failure;
use crate::server::limits::net;

/// Who was over a limit so many seconds ago is said to be limited now.
const LATELY_S: u64 = 10;

/// What is in effect, and where that was said.
pub fn show(limits: &RateLimits) -> Result<Value, Failure> {
    let settings = limits.settings().map_err(failure)?;
    let (now, file) = (settings.settings(), limits.file.settings());
    let of = |key: &str| {
        let origin = match () {
            () if limits.live.set.contains_key(key) => Origin::UntilRestart,
            () if limits.saved.set.contains_key(key) => Origin::Saved,
            () => Origin::File,
        };
        json!({
            "key": key,
            "value": now.get(key),
            "file": file.get(key),
            "drift": now.get(key) != file.get(key),
            "origin": origin.word(),
        })
    };
    let rows: Vec<Value> = now.keys().map(|key| of(key)).collect();
    let zones = limits
        .zones
        .iter()
        .map(|(name, zone)| json!({ "zone": name.to_string(), "settings": zone.settings() }));
    let (exempt, blocks) = (limits.exempt(), limits.blocks());
    let file_exempt: std::collections::BTreeSet<IpNet> =
        limits.file.exempt.iter().map(|prefix| prefix.0.trunc()).collect();
    let exempt_drift = exempt.values().any(|origin| *origin != Origin::File)
        || file_exempt.iter().any(|prefix| !exempt.contains_key(prefix));
    Ok(json!({
        "mode": settings.mode,
        "drift": rows.iter().any(|row| row["drift"] == true) || exempt_drift || !blocks.is_empty(),
        "settings": rows,
        "zones": zones.collect::<Vec<_>>(),
        "exempt": exempt.len(),
        "exempt_drift": exempt_drift,
        "blocked": blocks.len(),
        "unsaved": !limits.live.is_empty(),
        "saved_in": limits.path,
    }))
}

/// All exempt prefixes, and those of the file that are not exempt any longer.
pub fn exempt(limits: &RateLimits) -> Value {
    let exempt = limits.exempt();
    let deleted = limits.file.exempt.iter().map(|prefix| prefix.0.trunc());
    let deleted = deleted.filter(|prefix| !exempt.contains_key(prefix));
    let deleted =
        deleted.map(|prefix| json!({ "prefix": prefix, "origin": "file", "exempt": false }));
    let there = exempt.iter().map(
        |(prefix, origin)| json!({ "prefix": prefix, "origin": origin.word(), "exempt": true }),
    );
    json!({ "exempt": there.chain(deleted).collect::<Vec<_>>() })
}

/// All that is blocked.
pub fn blocks(limits: &RateLimits) -> Value {
    let blocks = limits.blocks();
    let blocks = blocks.iter().map(|(target, (block, origin))| {
        json!({
            "target": target.to_string(),
            "until": (block.until > 0).then_some(block.until),
            "dry_run": block.dry_run,
            "origin": origin.word(),
        })
    });
    json!({ "blocked": blocks.collect::<Vec<_>>() })
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

/// One netblock that is limited, or near it.
fn row(limits: &RateLimits, limited: &Limited, now_s: u64) -> Option<(IpNet, Value)> {
    let net = net(limited.netblock, limited.prefix)?;
    let hit = Hit::of_number(limited.hit)?;
    let was_over = limited.since_s > 0;
    let state = match was_over {
        true if now_s.saturating_sub(limited.last_s) <= LATELY_S => "limited",
        true => "was-limited",
        false => "near",
    };
    let seconds = limited.last_s.saturating_sub(limited.since_s) as f64;
    let over = (limited.slips + limited.drops) as f64 / seconds.max(1.0);
    let value = json!({
        "netblock": net,
        "state": state,
        "limit": hit.word(),
        "class": if let Hit::Class(class) = hit { Some(class.word()) } else { None },
        "allowed_per_second": allowed(&limits.limits.policy, hit, net),
        "over_per_second": (over * 10.0).round() / 10.0,
        "since": was_over.then_some(limited.since_s),
        "last": limited.last_s,
        "slips": limited.slips,
        "drops": limited.drops,
    });
    Some((net, value))
}

/// Netblocks that are limited, or near it, worst first.
pub fn top(limits: &RateLimits, limited: &[Limited], now_s: u64) -> Value {
    let mut worst: Vec<&Limited> = limited.iter().collect();
    worst.sort_by_key(|one| std::cmp::Reverse((one.since_s > 0, one.slips + one.drops)));
    let rows = worst.into_iter().filter_map(|one| row(limits, one, now_s));
    json!({
        "mode": mode(limits),
        "netblocks": rows.map(|(_, row)| row).collect::<Vec<_>>(),
    })
}

fn mode(limits: &RateLimits) -> LimitMode {
    limits.settings().map_or(LimitMode::Off, |settings| settings.mode)
}

/// What is done to a netblock, and why.
pub fn explain(
    limits: &RateLimits,
    prefix: &str,
    limited: &[Limited],
    now_s: u64,
) -> Result<Value, Failure> {
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
    let mut rows: Vec<(IpNet, Value)> = limited
        .iter()
        .filter_map(|one| row(limits, one, now_s))
        .filter(|(net, _)| touches(net))
        .collect();
    rows.sort_by_key(|(_, row)| {
        std::cmp::Reverse(row["slips"].as_u64().max(row["drops"].as_u64()))
    });
    let over = rows.iter().find(|(_, row)| row["state"] == "limited").map(|(_, row)| row);
    let mode = mode(limits);
    let (verdict, reason) = match (block, exempt, over, mode) {
        (Some((prefix, block, _)), ..) if !block.dry_run => {
            ("blocked", format!("{prefix} is blocked"))
        }
        (_, Some((prefix, _)), ..) => ("exempt", format!("{prefix} is exempt")),
        (.., LimitMode::Off) => ("not-limited", "the mode is off".to_owned()),
        (_, _, Some(row), mode) => {
            let what = match row["class"].as_str() {
                Some(class) => format!("responses of class {class} about one name"),
                None => format!("limit \"{}\"", row["limit"].as_str().unwrap_or_default()),
            };
            let reason = format!(
                "{} is over its {} per second: {what}",
                row["netblock"].as_str().unwrap_or_default(),
                row["allowed_per_second"],
            );
            (if mode == LimitMode::On { "limited" } else { "would-be-limited" }, reason)
        }
        _ => ("not-limited", "no netblock of it was over a limit lately".to_owned()),
    };
    Ok(json!({
        "netblock": asked,
        "verdict": verdict,
        "reason": reason,
        "mode": mode,
        "blocked_by": block.map(|(prefix, block, origin)| json!({
            "prefix": prefix,
            "until": (block.until > 0).then_some(block.until),
            "dry_run": block.dry_run,
            "origin": origin.word(),
        })),
        "exempt_by": exempt.map(|(prefix, origin)| json!({ "prefix": prefix, "origin": origin.word() })),
        "limits": rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>(),
        "allowed": allowances(&limits.limits.policy, asked),
    }))
}

/// Every limit that counts for an address.
fn allowances(policy: &Policy, asked: IpNet) -> Value {
    let (prefix, levels): (u32, &[_]) = match asked {
        IpNet::V4(_) => (policy.ipv4_prefix, &policy.ipv4_levels),
        IpNet::V6(_) => (policy.ipv6_prefix, &policy.ipv6_levels),
    };
    let block = |length: u32| IpNet::new(asked.addr(), length as u8).ok().map(|net| net.trunc());
    let totals =
        levels.iter().filter(|level| level.multiplier > 0 && policy.total > 0).map(|level| {
            let per_second = u64::from(policy.total) * u64::from(level.multiplier);
            json!({ "netblock": block(level.prefix), "per_second": per_second })
        });
    let classes: serde_json::Map<String, Value> = Class::ALL
        .into_iter()
        .map(|class| (class.word().to_owned(), json!(policy.rates[class.index()])))
        .collect();
    json!({
        "total": totals.collect::<Vec<_>>(),
        "netblock": block(prefix),
        "classes_per_second": classes,
        "passed_per_second": policy.passed,
    })
}
