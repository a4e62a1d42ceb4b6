//! Rate limits as text.

use xdp_common::limit::Mode;

use crate::cli::output::{cell, list_cell, table, time_cell, word};
use crate::control::reply::ratelimit::{
    BlockList, ExemptList, Netblock, NetblockExplanation, Origin, PolicyLimits, PolicyMode,
    RateLimits, Setting, TopNetblocks,
};

/// `ratelimit show`: what differs from the file has an asterisk.
pub fn policy(limits: &RateLimits) -> String {
    let rows = limits.settings.iter().map(setting);
    let mut text = table(&["", "setting", "in effect", "file", "changed"], rows);
    for zone in &limits.zones {
        let settings = zone.settings.iter();
        let settings: Vec<String> =
            settings.map(|(key, value)| format!("{key} = {}", word(value))).collect();
        text.push_str(&format!("zone {}: {}\n", zone.zone, settings.join(", ")));
    }
    let mark = if limits.exempt_drift { "* " } else { "" };
    text.push_str(&format!("{mark}exempt prefixes: {}\n", limits.exempt));
    text.push_str(&format!("blocked: {}\n", limits.blocked));
    if limits.drift {
        text.push_str(
            "* differs from the configuration file; `sealdns ratelimit reset` goes back to it\n",
        );
    }
    text
}

fn setting(setting: &Setting) -> Vec<String> {
    let value = |value: &Option<toml::Value>| cell(value.as_ref().map(word));
    let (mark, file, origin) = match setting.drift {
        true => ("*", value(&setting.file), word(&setting.origin)),
        false => ("", String::new(), String::new()),
    };
    vec![mark.to_owned(), setting.key.clone(), value(&setting.value), file, origin]
}

/// `ratelimit exempt list`.
pub fn exempt(list: &ExemptList) -> String {
    let rows = list.exempt.iter().map(|one| {
        let note = if one.exempt { "" } else { "not any longer" };
        vec![one.prefix.to_string(), word(&one.origin), note.to_owned()]
    });
    let shown = table(&["prefix", "said in", ""], rows);
    if shown.is_empty() { "nobody is exempt\n".into() } else { shown }
}

/// `ratelimit block list`.
pub fn blocks(list: &BlockList) -> String {
    let rows = list.blocked.iter().map(|one| {
        let note = if one.dry_run { "only counted" } else { "" };
        vec![one.target.clone(), time_cell(one.until), word(&one.origin), note.to_owned()]
    });
    let shown = table(&["blocked", "until", "said in", ""], rows);
    if shown.is_empty() { "nothing is blocked\n".into() } else { shown }
}

/// Netblocks of `top` and `explain`.
fn netblocks(netblocks: &[Netblock]) -> String {
    let head = [
        "netblock",
        "state",
        "limit",
        "policy",
        "allowed/s",
        "over/s",
        "slips",
        "drops",
        "since",
        "last",
    ];
    let rows = netblocks.iter().map(|one| {
        let [policy, allowed] = may_be_of(one);
        vec![
            one.netblock.to_string(),
            word(&one.state),
            one.limit.clone(),
            policy,
            allowed,
            format!("{:.1}", one.over_per_second),
            one.slips.to_string(),
            one.drops.to_string(),
            time_cell(one.since),
            time_cell(Some(one.last)),
        ]
    });
    table(&head, rows)
}

/// The policy that a limit is of, and what it allows; where that is not known, those that it may be of.
fn may_be_of(netblock: &Netblock) -> [String; 2] {
    let policies = &netblock.policies;
    let of_zones = policies.iter().filter(|policy| policy.zone.is_some()).count();
    let who = match (&policies[..], of_zones) {
        ([], _) => "-".to_owned(),
        ([one], 1) => cell(one.zone.as_ref()),
        (_, 0) => "default".to_owned(),
        (all, zones) if zones < all.len() => "default or a zone's".to_owned(),
        _ => "a zone's".to_owned(),
    };
    let rates = || policies.iter().map(|policy| policy.allowed_per_second);
    let rates = match (rates().min(), rates().max()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "-".to_owned(),
    };
    [who, rates]
}

/// `ratelimit top`.
pub fn top(top: &TopNetblocks) -> String {
    let shown = netblocks(&top.netblocks);
    let has = |mode: Mode| top.modes.contains(&PolicyMode(mode));
    let mut text = match (has(Mode::On), has(Mode::DryRun)) {
        (false, false) => format!("{shown}the mode is off: nothing is counted\n"),
        (false, true) => format!("{shown}dry-run: all of it was answered\n"),
        _ if shown.is_empty() => "no netblock is limited\n".into(),
        _ => shown,
    };
    text.push_str(&format!(
        "worst second of the last minute: {:.1} octets sent for each received\n",
        top.worst_second
    ));
    if let Some(worst) = top.worst_response {
        let (query, response) = (worst.query_octets, worst.response_octets);
        let times = f64::from(response) / f64::from(query);
        text.push_str(&format!(
            "worst response: {response} octets to a query of {query}, {times:.1} times as many\n"
        ));
    }
    text
}

/// `ratelimit explain`.
pub fn explained(explained: &NetblockExplanation) -> String {
    let since = explained.since.map(|since| format!(", since {}", time_cell(Some(since))));
    let (netblock, verdict, reason) =
        (explained.netblock, word(&explained.verdict), &explained.reason);
    let mut text = format!("{netblock}: {verdict}: {reason}{}\n", since.unwrap_or_default());
    if let Some(block) = &explained.blocked_by {
        text.push_str(&by("blocked", &block.prefix.to_string(), block.origin, block.until));
    }
    if let Some(exempt) = &explained.exempt_by {
        text.push_str(&by("exempt", &exempt.prefix.to_string(), exempt.origin, None));
    }
    text.push_str(&netblocks(&explained.limits));
    let totals = explained.allowed.total.iter().flatten();
    let totals: Vec<String> =
        totals.map(|total| format!("{} {}/s", cell(total.netblock), total.per_second)).collect();
    let totals = if totals.is_empty() { "no limit".to_owned() } else { list_cell(&totals) };
    text.push_str(&format!("allowed in total: {totals}\n"));
    explained.policies.iter().for_each(|policy| text.push_str(&allowed_per_name(policy)));
    if explained.policies.iter().any(|policy| policy.qps_scale.is_some()) {
        text.push_str(&format!("queries/s now: {}\n", explained.queries_per_second));
    }
    text
}

/// Why a netblock is blocked or exempt.
fn by(what: &str, prefix: &str, origin: Origin, until: Option<u64>) -> String {
    let until = until.map(|until| format!(" until {}", time_cell(Some(until))));
    format!("{what} by {prefix} ({}){}\n", word(&origin), until.unwrap_or_default())
}

/// What a policy allows.
fn allowed_per_name(policy: &PolicyLimits) -> String {
    let classes = policy.classes_per_second.iter().map(|(class, rate)| match rate {
        0 => format!("{} no limit", class.word()),
        rate => format!("{} {rate}/s", class.word()),
    });
    let classes = classes.collect::<Vec<_>>().join(", ");
    let zone = policy.zone.as_ref().map(|zone| format!(" in zone {zone}"));
    let mode = match policy.mode {
        Mode::On => String::new(),
        mode => format!(" (mode {})", mode.word()),
    };
    let scale = policy.qps_scale.map(|scale| format!("; less above {scale} queries/s"));
    let (zone, scale) = (zone.unwrap_or_default(), scale.unwrap_or_default());
    format!("allowed per name to {}{zone}{mode}: {classes}{scale}\n", cell(policy.netblock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::reply::ratelimit::{Allowance, NetblockState, Verdict};
    use crate::observe::word::PerWord;
    use xdp_common::limit::Class;

    #[test]
    fn every_policy_is_shown() {
        let net = |text: &str| text.parse().expect("a netblock");
        let rates = |positive| {
            PerWord::new(|class| match class {
                Class::Positive => positive,
                Class::Any => 0,
                _ => 9,
            })
        };
        let default = PolicyLimits {
            zone: None,
            mode: Mode::On,
            netblock: Some(net("192.0.2.0/24")),
            classes_per_second: rates(40),
            qps_scale: None,
            total: Some(vec![]),
            passed_per_second: Some(0),
        };
        let zone = PolicyLimits {
            zone: Some("example.".into()),
            mode: Mode::DryRun,
            netblock: Some(net("192.0.2.7/32")),
            classes_per_second: rates(7),
            qps_scale: Some(1000),
            total: None,
            passed_per_second: None,
        };
        let of = |zone: Option<&str>, allowed_per_second| Allowance {
            zone: zone.map(str::to_owned),
            mode: Mode::On,
            allowed_per_second,
        };
        let limit = Netblock {
            netblock: net("192.0.2.0/24"),
            state: NetblockState::Limited,
            limit: "positive".into(),
            class: Some("positive".into()),
            allowed_per_second: None,
            policies: vec![of(None, 40), of(Some("example."), 7)],
            over_per_second: 3.0,
            since: Some(0),
            last: 1,
            slips: 1,
            drops: 2,
        };
        let text = explained(&NetblockExplanation {
            netblock: net("192.0.2.7/32"),
            verdict: Verdict::Limited,
            reason: "it is".into(),
            since: Some(0),
            mode: Mode::On,
            blocked_by: None,
            exempt_by: None,
            limits: vec![limit],
            allowed: default.clone(),
            policies: vec![default, zone],
            queries_per_second: 5,
        });
        for expected in [
            "192.0.2.7/32: limited: it is, since 1970-01-01T00:00:00Z\n",
            "default or a zone's",
            "7 to 40",
            "allowed in total: no limit\n",
            "allowed per name to 192.0.2.0/24: positive 40/s, nodata 9/s",
            ", any no limit\n",
            "allowed per name to 192.0.2.7/32 in zone example. (mode dry-run): positive 7/s, nodata 9/s",
            ", any no limit; less above 1000 queries/s\nqueries/s now: 5\n",
        ] {
            assert!(text.contains(expected), "{expected}:\n{text}");
        }
    }
}
