//! Rate limits as text.

use serde_json::Value;

use super::fields;
use crate::cli::output::{cell, table, time_cell};

fn list<'a>(data: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    data[field].as_array().into_iter().flatten()
}

/// `ratelimit show`: what differs from the file has an asterisk.
pub fn policy(data: &Value) -> String {
    let rows = list(data, "settings").map(|row| {
        let differs = row["drift"] == true;
        let mark = if differs { "*" } else { "" };
        let file = if differs { cell(&row["file"]) } else { String::new() };
        let origin = if differs { cell(&row["origin"]) } else { String::new() };
        vec![mark.to_owned(), cell(&row["key"]), cell(&row["value"]), file, origin]
    });
    let mut text = table(&["", "setting", "in effect", "file", "changed"], rows);
    for zone in list(data, "zones") {
        let settings = zone["settings"].as_object().into_iter().flatten();
        let settings = settings.map(|(key, value)| format!("{key} = {}", cell(value)));
        let settings = settings.collect::<Vec<_>>().join(", ");
        text.push_str(&format!("zone {}: {settings}\n", cell(&zone["zone"])));
    }
    let mark = if data["exempt_drift"] == true { "* " } else { "" };
    text.push_str(&format!("{mark}exempt prefixes: {}\n", data["exempt"]));
    text.push_str(&format!("blocked: {}\n", data["blocked"]));
    if data["drift"] == true {
        text.push_str(
            "* differs from the configuration file; `sealdns ratelimit reset` goes back to it\n",
        );
    }
    text
}

/// `ratelimit exempt list`.
pub fn exempt(data: &Value) -> String {
    let rows = list(data, "exempt").map(|row| {
        let note = if row["exempt"] == false { "not any longer" } else { "" };
        vec![cell(&row["prefix"]), cell(&row["origin"]), note.to_owned()]
    });
    let shown = table(&["prefix", "said in", ""], rows);
    if shown.is_empty() { "nobody is exempt\n".into() } else { shown }
}

/// `ratelimit block list`.
pub fn blocks(data: &Value) -> String {
    let rows = list(data, "blocked").map(|row| {
        let note = if row["dry_run"] == true { "only counted" } else { "" };
        vec![cell(&row["target"]), time_cell(&row["until"]), cell(&row["origin"]), note.to_owned()]
    });
    let shown = table(&["blocked", "until", "said in", ""], rows);
    if shown.is_empty() { "nothing is blocked\n".into() } else { shown }
}

/// Netblocks of `top` and `explain`.
fn netblocks<'a>(rows: impl Iterator<Item = &'a Value>) -> String {
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
    let rows = rows.map(|row| {
        let mut shown = fields(row, &["netblock", "state", "limit"]);
        shown.extend(may_be_of(row));
        shown.extend(fields(row, &["over_per_second", "slips", "drops"]));
        shown.extend([time_cell(&row["since"]), time_cell(&row["last"])]);
        shown
    });
    table(&head, rows)
}

/// The policy that a limit is of, and what it allows; where that is not known, those that it may be of.
fn may_be_of(row: &Value) -> [String; 2] {
    let policies: Vec<&Value> = list(row, "policies").collect();
    let of_zones = policies.iter().filter(|policy| policy["zone"].is_string()).count();
    let who = match (&policies[..], of_zones) {
        ([], _) => "-".to_owned(),
        ([one], 1) => cell(&one["zone"]),
        (_, 0) => "default".to_owned(),
        (all, zones) if zones < all.len() => "default or a zone's".to_owned(),
        _ => "a zone's".to_owned(),
    };
    let mut rates: Vec<u64> =
        policies.iter().filter_map(|policy| policy["allowed_per_second"].as_u64()).collect();
    rates.sort_unstable();
    let rates = match (rates.first(), rates.last()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "-".to_owned(),
    };
    [who, rates]
}

/// `ratelimit top`.
pub fn top(data: &Value) -> String {
    let shown = netblocks(list(data, "netblocks"));
    let has = |mode: &str| list(data, "modes").any(|one| one == mode);
    let mut text = match (has("on"), has("dry-run")) {
        (false, false) => format!("{shown}the mode is off: nothing is counted\n"),
        (false, true) => format!("{shown}dry-run: all of it was answered\n"),
        _ if shown.is_empty() => "no netblock is limited\n".into(),
        _ => shown,
    };
    let second = data["worst_second"].as_f64().unwrap_or_default();
    text.push_str(&format!(
        "worst second of the last minute: {second:.1} octets sent for each received\n"
    ));
    let octets = |what: &str| data["worst_response"][what].as_f64();
    if let (Some(query), Some(response)) = (octets("query_octets"), octets("response_octets")) {
        let times = response / query;
        text.push_str(&format!(
            "worst response: {response} octets to a query of {query}, {times:.1} times as many\n"
        ));
    }
    text
}

/// `ratelimit explain`.
pub fn explained(data: &Value) -> String {
    let since = match data["since"].is_null() {
        true => String::new(),
        false => format!(", since {}", time_cell(&data["since"])),
    };
    let words = ["netblock", "verdict", "reason"].map(|field| cell(&data[field]));
    let mut text = format!("{}{since}\n", words.join(": "));
    for (field, what) in [("blocked_by", "blocked by"), ("exempt_by", "exempt by")] {
        if data[field].is_object() {
            let (prefix, origin) = (cell(&data[field]["prefix"]), cell(&data[field]["origin"]));
            text.push_str(&format!("{what} {prefix} ({origin})"));
            match data[field]["until"].is_null() {
                true => text.push('\n'),
                false => text.push_str(&format!(" until {}\n", time_cell(&data[field]["until"]))),
            }
        }
    }
    text.push_str(&netblocks(list(data, "limits")));
    let allowed = &data["allowed"];
    let totals = list(allowed, "total")
        .map(|total| format!("{} {}/s", cell(&total["netblock"]), cell(&total["per_second"])));
    let totals = totals.collect::<Vec<_>>().join(", ");
    text.push_str(&format!(
        "allowed in total: {}\n",
        if totals.is_empty() { "no limit" } else { &totals }
    ));
    let mut are_scaled = false;
    for policy in list(data, "policies") {
        let classes = policy["classes_per_second"].as_object().into_iter().flatten();
        let classes = classes.map(|(class, rate)| match rate.as_u64() {
            Some(0) => format!("{class} no limit"),
            _ => format!("{class} {}/s", cell(rate)),
        });
        let classes = classes.collect::<Vec<_>>().join(", ");
        let zone = match policy["zone"].as_str() {
            Some(zone) => format!(" in zone {zone}"),
            None => String::new(),
        };
        let mode = match policy["mode"].as_str() {
            Some("on") | None => String::new(),
            Some(mode) => format!(" (mode {mode})"),
        };
        let scale = match policy["qps_scale"].as_u64() {
            Some(scale) => format!("; less above {scale} queries/s"),
            None => String::new(),
        };
        are_scaled |= !scale.is_empty();
        let netblock = cell(&policy["netblock"]);
        text.push_str(&format!("allowed per name to {netblock}{zone}{mode}: {classes}{scale}\n"));
    }
    if are_scaled {
        text.push_str(&format!("queries/s now: {}\n", data["queries_per_second"]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_policy_is_shown() {
        let policy = |zone: Value, mode: &str, netblock: &str, rate: u32, scale: Value| {
            json!({
                "zone": zone, "mode": mode, "netblock": netblock,
                "classes_per_second": { "positive": rate, "any": 0 }, "qps_scale": scale,
            })
        };
        let default = policy(Value::Null, "on", "192.0.2.0/24", 40, Value::Null);
        let zone = policy(json!("example."), "dry-run", "192.0.2.7/32", 7, json!(1000));
        let of = |zone: Value, rate: u32| json!({ "zone": zone, "allowed_per_second": rate });
        let text = explained(&json!({
            "netblock": "192.0.2.7/32", "verdict": "limited", "reason": "it is", "since": 0,
            "limits": [{
                "netblock": "192.0.2.0/24", "state": "limited", "limit": "positive",
                "policies": [of(Value::Null, 40), of(json!("example."), 7)],
                "over_per_second": 3.0, "slips": 1, "drops": 2, "since": 0, "last": 1,
            }],
            "allowed": default, "policies": [default, zone], "queries_per_second": 5,
        }));
        for expected in [
            "192.0.2.7/32: limited: it is, since 1970-01-01T00:00:00Z\n",
            "default or a zone's",
            "7 to 40",
            "allowed in total: no limit\n",
            "allowed per name to 192.0.2.0/24: any no limit, positive 40/s\n",
            "allowed per name to 192.0.2.7/32 in zone example. (mode dry-run): any no limit, positive \
             7/s; less above 1000 queries/s\nqueries/s now: 5\n",
        ] {
            assert!(text.contains(expected), "{expected}:\n{text}");
        }
    }
}
