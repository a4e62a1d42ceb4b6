//! Knot's section `mod-rrl` (knot.conf).

use super::files::{Fault, Files, Place, Start};
use super::{PeerOption, Section};

/// Knot's defaults (3.4.3), said aloud: they are not ours.
const RATE_LIMIT: &str = "50";
const INSTANT_LIMIT: &str = "125";
const SLIP: &str = "1";

/// The section's item `default`, or its first.
pub(super) fn section(files: &mut Files) -> Result<Option<Section>, Fault> {
    let mut lines = Vec::new();
    files.outermost(|files, text, start| read(files, text, &start, &mut lines))?;
    let Some(items) = items(&lines)? else { return Ok(None) };
    let name = |item: &[PeerOption]| {
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

fn translate(item: &[PeerOption]) -> Result<Section, Fault> {
    let mut section = Section::default();
    let find = |key: &str| item.iter().find(|said| said.key == key);
    let default =
        |value: &str| PeerOption { place: None, key: String::new(), values: vec![value.into()] };
    let or = |key: &str, value: &str| find(key).cloned().unwrap_or_else(|| default(value));
    let is_dry = find("dry-run").is_some_and(PeerOption::is_true);
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

/// A line without its comment, not empty.
struct Line {
    start: Start,
    number: usize,
    text: String,
}

impl Line {
    /// The place of its first character that is not white space.
    fn place(&self) -> Place {
        self.start.place(self.number, self.text.len() - self.text.trim_start().len() + 1)
    }
}

/// Adds the lines of a file, with those of the files that it includes where it does.
fn read(files: &mut Files, text: &str, start: &Start, all: &mut Vec<Line>) -> Result<(), Fault> {
    for (index, text) in text.lines().enumerate() {
        let text = without_comment(text).trim_end().to_owned();
        let line = Line { start: start.clone(), number: index + 1, text };
        let mark = line.text.trim_start().strip_prefix('-').unwrap_or(&line.text).trim();
        if mark.is_empty() {
            continue;
        }
        let is_item = line.text.trim_start().starts_with('-');
        if !is_item && !mark.contains(':') {
            return Err(line.place().fault("this is no `key: value`"));
        }
        let value = mark.split_once(':').map_or(mark, |(_, value)| value).trim();
        if value.starts_with('[') != value.ends_with(']') {
            return Err(line.place().fault("the list in this line has one bracket only"));
        }
        if value.matches('"').count() % 2 == 1 {
            return Err(line.place().fault("the string in this line does not end"));
        }
        match line.text.strip_prefix("include:") {
            None => all.push(line),
            Some(pattern) if unquoted(pattern).is_empty() => {
                return Err(line.place().fault("`include` needs a file"));
            }
            Some(pattern) => {
                let at = line.place();
                files.included(unquoted(pattern), &at, |files, text, start| {
                    read(files, text, &start, all)
                })?;
            }
        }
    }
    Ok(())
}

/// The items of the sections: each a list of options. `None` if there is no such section.
fn items(lines: &[Line]) -> Result<Option<Vec<Vec<PeerOption>>>, Fault> {
    let mut items: Vec<Vec<PeerOption>> = Vec::new();
    let mut indent = None;
    let (mut is_within, mut is_there) = (false, false);
    for read in lines {
        let line = read.text.as_str();
        let here = line.len() - line.trim_start().len();
        // A list may stand where its key stands; another section does not begin with a dash.
        if here == 0 && !line.starts_with('-') {
            is_within = line == "mod-rrl:";
            is_there |= is_within;
            indent = None;
            continue;
        }
        if !is_within {
            continue;
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
        let (Some(item), true) = (items.last_mut(), said.contains(':')) else {
            return Err(read.place().fault("an item of mod-rrl begins with `- id: NAME`"));
        };
        let (key, value) = said.split_once(':').unwrap_or((said, ""));
        said = value.trim();
        let values = match said.strip_prefix('[') {
            Some(list) => list.trim_end_matches(']').split(',').map(unquoted).collect(),
            None => vec![unquoted(said)],
        };
        let values = values.into_iter().filter(|value| !value.is_empty()).map(str::to_owned);
        item.push(PeerOption {
            place: Some(read.place()),
            key: key.trim().to_owned(),
            values: values.collect(),
        });
    }
    Ok(is_there.then_some(items))
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}
