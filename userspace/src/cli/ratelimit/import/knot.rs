//! Knot's section `mod-rrl` (knot.conf).

use super::{Said, Section};

/// Knot's defaults (3.4.3), said aloud: they are not ours.
const RATE_LIMIT: &str = "50";
const INSTANT_LIMIT: &str = "125";
const SLIP: &str = "1";

/// The section's item `default`, or its first.
pub(super) fn section(text: &str) -> Option<Section> {
    let items = items(text)?;
    let name = |item: &[Said]| {
        item.iter().find(|said| said.key == "id").map(|said| said.value().to_owned())
    };
    let chosen =
        items.iter().position(|item| name(item).as_deref() == Some("default")).unwrap_or(0);
    let mut section = translate(items.get(chosen).map_or(&[], Vec::as_slice));
    for (place, item) in items.iter().enumerate() {
        if place != chosen {
            let line = item.first().map_or(0, |said| said.line);
            let name = name(item).unwrap_or_default();
            section
                .notes
                .push(format!("line {line}: another section of mod-rrl, {name}: left out"));
        }
    }
    Some(section)
}

fn translate(item: &[Said]) -> Section {
    let mut section = Section::default();
    let find = |key: &str| item.iter().find(|said| said.key == key);
    let default = |value: &str| Said { line: 0, key: String::new(), values: vec![value.into()] };
    let or = |key: &str, value: &str| find(key).cloned().unwrap_or_else(|| default(value));
    let is_dry = find("dry-run").is_some_and(Said::is_true);
    section.set("mode", if is_dry { "\"dry-run\"" } else { "\"on\"" });
    // Knot's knows no classes: only what goes to a netblock in total.
    section.set("rate", "0");
    section.number("total-rate", &or("rate-limit", RATE_LIMIT));
    section.number("total-burst", &or("instant-limit", INSTANT_LIMIT));
    section.number("total-slip", &or("slip", SLIP));
    for said in item {
        match said.key.as_str() {
            "whitelist" => {
                for text in &said.values {
                    section.exempt(said, text);
                }
            }
            "time-rate-limit" | "time-instant-limit" => section.note(said, "time is not counted"),
            "table-size" => section.note(said, "memory is fixed"),
            "log-period" => section.note(said, "`sealdns ratelimit top` tells who is limited"),
            "id" | "rate-limit" | "instant-limit" | "slip" | "dry-run" | "comment" => {}
            _ => section.note(said, "unknown"),
        }
    }
    section
}

/// The items of the section: each a list of options. `None` if there is no such section.
fn items(text: &str) -> Option<Vec<Vec<Said>>> {
    let mut lines =
        text.lines().enumerate().map(|(number, line)| (number + 1, without_comment(line)));
    lines.find(|(_, line)| line.trim_end() == "mod-rrl:")?;
    let mut items: Vec<Vec<Said>> = Vec::new();
    let mut indent = None;
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let here = line.len() - line.trim_start().len();
        // A list may stand where its key stands; another section does not begin with a dash.
        if here == 0 && !line.starts_with('-') {
            break;
        }
        let (mut said, dash) = match line.trim_start().strip_prefix('-') {
            Some(said) => (said.trim(), true),
            None => (line.trim(), false),
        };
        if dash && indent.is_none_or(|indent| here <= indent) {
            indent = Some(here);
            items.push(Vec::new());
        } else if dash {
            // One value of a list.
            if let Some(option) = items.last_mut().and_then(|item| item.last_mut()) {
                option.values.push(unquoted(said).to_owned());
            }
            continue;
        }
        let Some(item) = items.last_mut() else { continue };
        let (key, value) = said.split_once(':').unwrap_or((said, ""));
        said = value.trim();
        let values = match said.strip_prefix('[') {
            Some(list) => list.trim_end_matches(']').split(',').map(unquoted).collect(),
            None => vec![unquoted(said)],
        };
        let values = values.into_iter().filter(|value| !value.is_empty()).map(str::to_owned);
        item.push(Said { line: number, key: key.trim().to_owned(), values: values.collect() });
    }
    Some(items)
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}
