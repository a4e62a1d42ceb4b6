//! What `sealdns cache status` prints.

use super::super::output::{cell, table, word};
use crate::control::reply::cache::CacheStatus;
use crate::observe::usage::ZoneUsage;

/// Zones that are listed one by one: those that take most. `--json` has all of them.
const LISTED: usize = 20;

/// The maps, what zones take of them, and what a name costs.
pub fn shown(status: &CacheStatus) -> String {
    let maps = status.maps.iter().map(|map| {
        let numbers = [map.used, map.capacity, map.memory_octets].map(|number| number.to_string());
        [vec![map.name.clone()], numbers.to_vec()].concat()
    });
    let mut text = table(&["map", "used", "capacity", "octets"], maps);
    if text.is_empty() {
        text += "there are no maps: XDP is not in use\n";
    }
    let mut zones: Vec<&ZoneUsage> = status.zones.iter().collect();
    // What is not whole is looked for first.
    zones.sort_by_key(|zone| (zone.held, std::cmp::Reverse(zone.octets)));
    let heads = ["zone", "held", "names", "in XDP", "records", "octets", "octets/name"];
    text += &table(&heads, zones.iter().take(LISTED).map(|zone| row(zone)));
    if zones.len() > LISTED {
        text += &format!("and {} zones more\n", zones.len() - LISTED);
    }
    let memory = &status.memory;
    text += &format!(
        "{} octets for {} names and {} records of zones: {} per name, {} per record, of which the \
         table takes a part\n",
        memory.image_octets,
        memory.names,
        memory.records,
        cell(memory.octets_per_name),
        cell(memory.octets_per_record),
    );
    text
}

fn row(zone: &ZoneUsage) -> Vec<String> {
    let per_name = zone.octets.checked_div(zone.names);
    let numbers = [zone.names, zone.names_held, zone.records, zone.octets];
    let mut row = vec![zone.zone.clone(), word(&zone.held)];
    row.extend(numbers.map(|number| number.to_string()));
    row.push(cell(per_name));
    row
}
