//! What `sealdns cache status` prints.

use serde_json::Value;

use super::super::output::{cell, table};
use super::super::xdp::rows;

/// Zones that are listed one by one: those that take most. `--json` has all of them.
const LISTED: usize = 20;

/// The maps, what zones take of them, and what a name costs.
pub fn shown(status: &Value) -> String {
    let columns = ["name", "used", "capacity", "memory_octets"];
    let mut text = table(&["map", "used", "capacity", "octets"], rows(&status["maps"], &columns));
    if text.is_empty() {
        text += "there are no maps: XDP is not in use\n";
    }
    let mut zones: Vec<&Value> = status["zones"].as_array().into_iter().flatten().collect();
    // What is not whole is looked for first.
    zones.sort_by_key(|zone| {
        (zone["held"] != "partial", std::cmp::Reverse(zone["octets"].as_u64().unwrap_or(0)))
    });
    let listed = zones.iter().take(LISTED).map(|zone| {
        let per_name = zone["octets"].as_u64().zip(zone["names"].as_u64());
        let per_name = per_name.and_then(|(octets, names)| octets.checked_div(names));
        let fields = ["zone", "held", "names", "names_held", "records", "octets"];
        let mut row: Vec<String> = fields.iter().map(|field| cell(&zone[*field])).collect();
        row.push(per_name.map_or_else(|| "-".into(), |octets| octets.to_string()));
        row
    });
    let heads = ["zone", "held", "names", "in XDP", "records", "octets", "octets/name"];
    text += &table(&heads, listed);
    if zones.len() > LISTED {
        text += &format!("and {} zones more\n", zones.len() - LISTED);
    }
    let memory = &status["memory"];
    text += &format!(
        "{} octets for {} names and {} records of zones: {} per name, {} per record, of which the \
         table takes a part\n",
        cell(&memory["image_octets"]),
        cell(&memory["names"]),
        cell(&memory["records"]),
        cell(&memory["octets_per_name"]),
        cell(&memory["octets_per_record"]),
    );
    text
}
