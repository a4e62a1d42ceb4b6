//! Knot's section `mod-rrl` (knot.conf).

use super::Section;
use crate::foreign::lines::{Style, read_all};
use crate::foreign::{Fault, Files, Setting};

/// Knot's defaults (3.4.3), said aloud: they are not ours.
const RATE_LIMIT: &str = "50";
const INSTANT_LIMIT: &str = "125";
const SLIP: &str = "1";

/// The section's item `default`, or its first.
pub(super) fn section(files: &mut Files) -> Result<Option<Section>, Fault> {
    let sections = read_all(files, Style::Knot)?.into_iter();
    let sections: Vec<_> = sections.filter(|section| section.name == "mod-rrl").collect();
    if sections.is_empty() {
        return Ok(None);
    }
    let items: Vec<Vec<Setting>> = sections.into_iter().flat_map(|section| section.items).collect();
    let mut firsts = items.iter().filter_map(|item| item.first());
    if let Some(first) = firsts.find(|first| first.key != "id") {
        let message = "an item of mod-rrl begins with `- id: NAME`";
        return Err(first.place.as_ref().map_or(Fault(message.to_owned()), |at| at.fault(message)));
    }
    let name = |item: &[Setting]| {
        item.iter().find(|said| said.key == "id").map(|said| said.value().to_owned())
    };
    let chosen =
        items.iter().position(|item| name(item).as_deref() == Some("default")).unwrap_or(0);
    let mut section = translate(items.get(chosen).map_or(&[], Vec::as_slice))?;
    for (place, item) in items.iter().enumerate() {
        if place != chosen {
            let name = name(item).unwrap_or_default();
            if let Some(place) = item.first().and_then(|said| said.place.as_ref()) {
                let note = format!("{place}: a second section of mod-rrl, {name}, is ignored");
                section.notes.push(note);
            }
        }
    }
    Ok(Some(section))
}

fn translate(item: &[Setting]) -> Result<Section, Fault> {
    let mut section = Section::default();
    let find = |key: &str| item.iter().find(|said| said.key == key);
    let default =
        |value: &str| Setting { place: None, key: String::new(), values: vec![value.into()] };
    let or = |key: &str, value: &str| find(key).cloned().unwrap_or_else(|| default(value));
    let is_dry = find("dry-run").is_some_and(Setting::is_true);
    section.set("mode", if is_dry { "\"dry-run\"" } else { "\"on\"" });
    // Knot's knows no classes: only what goes to a netblock in total.
    section.set("rate", "0");
    section.number("total-rate", &or("rate-limit", RATE_LIMIT))?;
    section.number("total-burst", &or("instant-limit", INSTANT_LIMIT))?;
    section.number("total-slip", &or("slip", SLIP))?;
    for said in item {
        match said.key.as_str() {
            "whitelist" => {
                for text in &said.values {
                    section.exempt(said, text)?;
                }
            }
            "time-rate-limit" | "time-instant-limit" => section.note(
                said,
                "sealdns limits rates, not \
                                                                            processing \
                                                                            time",
            ),
            "table-size" => section.note(said, "the table of sealdns has a fixed size"),
            "log-period" => section.note(said, "`sealdns ratelimit top` tells who is limited"),
            "id" | "rate-limit" | "instant-limit" | "slip" | "dry-run" | "comment" => {}
            _ => section.note(said, "unknown"),
        }
    }
    Ok(section)
}
