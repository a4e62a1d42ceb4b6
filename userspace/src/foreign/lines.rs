//! Configurations of lines `key: value` in sections: Knot's (knot.conf), whose sections have items and lists, and NSD's
//! (nsd.conf), whose sections follow each other, several of one name.

use super::Setting;
use super::files::{Fault, Files, Place, Start};

/// Whose lines they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Knot's: what begins a line begins a section, `-` an item, or one value of a list.
    Knot,
    /// NSD's: a key without a value begins a section, wherever it stands.
    Nsd,
}

/// A section, or one of those with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its items; one where it has no more than settings.
    pub items: Vec<Vec<Setting>>,
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
        match line.text.trim_start().strip_prefix("include:") {
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

/// The sections of a configuration, with those of the files that it includes.
///
/// # Errors
/// If a file cannot be read, or is no configuration.
pub fn read_all(files: &mut Files, style: Style) -> Result<Vec<Section>, Fault> {
    let mut lines = Vec::new();
    files.outermost(|files, text, start| read(files, text, &start, &mut lines))?;
    let mut sections: Vec<Section> = Vec::new();
    // Where the dashes of this section's items stand.
    let mut indent = None;
    for line in &lines {
        let said = line.text.trim_start();
        let here = line.text.len() - said.len();
        let (said, has_dash) = match said.strip_prefix('-') {
            Some(said) if style == Style::Knot => (said.trim(), true),
            _ => (said, false),
        };
        let (key, value) = said.split_once(':').unwrap_or((said, ""));
        let begins_section = match style {
            // A list may stand where its key stands; another section does not begin with a dash.
            Style::Knot => here == 0 && !has_dash,
            Style::Nsd => value.trim().is_empty(),
        };
        if begins_section {
            sections.push(Section { name: key.trim().to_owned(), items: Vec::new() });
            indent = None;
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err(line.place().fault("this stands in no section"));
        };
        let is_value = has_dash && !said.contains(": ") && !said.ends_with(':');
        let is_deep = has_dash && indent.is_some_and(|indent| here > indent);
        if is_value || is_deep {
            // One value of a list.
            if let Some(setting) = section.items.last_mut().and_then(|item| item.last_mut()) {
                setting.values.push(unquoted(said).to_owned());
            }
            continue;
        }
        if has_dash {
            indent = Some(here);
            section.items.push(Vec::new());
        }
        let setting = Setting {
            place: Some(line.place()),
            key: key.trim().to_owned(),
            values: values(value.trim()),
        };
        match section.items.last_mut() {
            Some(item) => item.push(setting),
            None => section.items.push(vec![setting]),
        }
    }
    Ok(sections)
}

/// One value, or those of a list in brackets.
fn values(said: &str) -> Vec<String> {
    let values: Vec<&str> = match said.strip_prefix('[') {
        Some(list) => list.trim_end_matches(']').split(',').map(unquoted).collect(),
        None => vec![unquoted(said)],
    };
    values.into_iter().filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}
