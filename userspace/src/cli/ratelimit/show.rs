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
    let head =
        ["netblock", "state", "limit", "allowed/s", "over/s", "slips", "drops", "since", "last"];
    let rows = rows.map(|row| {
        let names = [
            "netblock",
            "state",
            "limit",
            "allowed_per_second",
            "over_per_second",
            "slips",
            "drops",
        ];
        let mut shown = fields(row, &names);
        shown.extend([time_cell(&row["since"]), time_cell(&row["last"])]);
        shown
    });
    table(&head, rows)
}

/// `ratelimit top`.
pub fn top(data: &Value) -> String {
    let shown = netblocks(list(data, "netblocks"));
    let mut text = match data["mode"].as_str() {
        Some("off") => format!("{shown}the mode is off: nothing is counted\n"),
        Some("dry-run") => format!("{shown}dry-run: all of it was answered\n"),
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
    let mut text = format!(
        "{}: {}: {}\n",
        cell(&data["netblock"]),
        cell(&data["verdict"]),
        cell(&data["reason"])
    );
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
    let classes = allowed["classes_per_second"].as_object().into_iter().flatten();
    let classes = classes.map(|(class, rate)| match rate.as_u64() {
        Some(0) => format!("{class} no limit"),
        _ => format!("{class} {}/s", cell(rate)),
    });
    let classes = classes.collect::<Vec<_>>().join(", ");
    text.push_str(&format!("allowed per name to {}: {classes}\n", cell(&allowed["netblock"])));
    text
}
