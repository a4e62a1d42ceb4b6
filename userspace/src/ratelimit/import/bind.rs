//! BIND's `rate-limit` statement (named.conf).

use std::collections::HashMap;

use super::Section;
use crate::foreign::named::{Token, acls, read_all, resolve};
use crate::foreign::{Fault, Files, Setting};

/// BIND's defaults, said aloud where they are not ours.
const WINDOW: &str = "15";
const SLIP: &str = "2";
const IPV4_PREFIX: &str = "24";
const IPV6_PREFIX: &str = "56";

/// The first statement of a configuration as a section; `None` if there is none.
pub(super) fn section(files: &mut Files) -> Result<Option<Section>, Fault> {
    let tokens = read_all(files)?;
    let is_statement = |at: &usize| {
        tokens[*at].is("rate-limit") && tokens.get(at + 1).is_some_and(|next| next.is("{"))
    };
    let mut places = (0..tokens.len()).filter(is_statement);
    let Some(first) = places.next() else { return Ok(None) };
    let options = options(&tokens[first + 2..])?;
    let mut section = translate(&options, &acls(&tokens))?;
    for place in places {
        let place = &tokens[place].place;
        section.notes.push(format!("{place}: a second rate-limit statement is ignored"));
    }
    Ok(Some(section))
}

fn translate(options: &[Setting], acls: &HashMap<String, Vec<String>>) -> Result<Section, Fault> {
    let mut section = Section::default();
    let find = |key: &str| options.iter().find(|said| said.key == key);
    let default = |key: &str, value: &str| Setting {
        place: None,
        key: key.into(),
        values: vec![value.into()],
    };
    let or = |key: &str, value: &str| find(key).cloned().unwrap_or_else(|| default(key, value));
    let is_dry = find("log-only").is_some_and(Setting::is_true);
    section.set("mode", if is_dry { "\"dry-run\"" } else { "\"on\"" });
    section.number("rate", &or("responses-per-second", "0"))?;
    for (theirs, ours) in [
        ("nodata-per-second", "nodata-rate"),
        ("nxdomains-per-second", "nxdomain-rate"),
        ("referrals-per-second", "referral-rate"),
        ("errors-per-second", "error-rate"),
    ] {
        if let Some(said) = find(theirs) {
            section.number(ours, said)?;
        }
    }
    section.set("window", format!("\"{}s\"", or("window", WINDOW).number()?));
    // REFUSED and SERVFAIL leak as often as others slip.
    section.number("slip", &or("slip", SLIP))?;
    section.number("leak", &or("slip", SLIP))?;
    let (ipv4, ipv6) =
        (or("ipv4-prefix-length", IPV4_PREFIX), or("ipv6-prefix-length", IPV6_PREFIX));
    section.number("ipv4-prefix", &ipv4)?;
    section.number("ipv6-prefix", &ipv6)?;
    section.number("total-rate", &or("all-per-second", "0"))?;
    if find("all-per-second").is_some() {
        // It never slips, and counts at one prefix length.
        section.set("total-slip", "0");
        section.set("ipv4-levels", format!("[\"/{} x1\"]", ipv4.number()?));
        section.set("ipv6-levels", format!("[\"/{} x1\"]", ipv6.number()?));
    }
    if let Some(said) = find("qps-scale") {
        section.number("qps-scale", said)?;
    }
    for said in options {
        match said.key.as_str() {
            "exempt-clients" => {
                for address in resolve(&said.values, acls) {
                    section.exempt(said, &address)?;
                }
            }
            "max-table-size" | "min-table-size" => {
                section.note(said, "the table of sealdns has a fixed size")
            }
            "responses-per-second"
            | "nodata-per-second"
            | "nxdomains-per-second"
            | "referrals-per-second"
            | "errors-per-second"
            | "all-per-second"
            | "window"
            | "slip"
            | "ipv4-prefix-length"
            | "ipv6-prefix-length"
            | "qps-scale"
            | "log-only" => {}
            _ => section.note(said, "unknown"),
        }
    }
    Ok(section)
}

/// The options of a statement, whose `{` comes before `tokens`, to its `}`.
fn options(tokens: &[Token]) -> Result<Vec<Setting>, Fault> {
    let mut options = Vec::new();
    let mut open: Option<Setting> = None;
    let mut depth = 0usize;
    for token in tokens {
        match token.text.as_str() {
            "{" if !token.quoted => depth += 1,
            "}" if !token.quoted && depth == 0 => break,
            "}" if !token.quoted => depth -= 1,
            ";" if !token.quoted && depth > 0 => {}
            ";" if !token.quoted => options.extend(open.take()),
            word => match &mut open {
                Some(said) => said.values.push(word.to_owned()),
                None => {
                    let place = Some(token.place.clone());
                    open = Some(Setting { place, key: word.to_owned(), values: Vec::new() });
                }
            },
        }
    }
    match options.iter().find(|said: &&Setting| said.values.is_empty()) {
        Some(said) => Err(said.fault("a value is missing")),
        None => Ok(options),
    }
}
