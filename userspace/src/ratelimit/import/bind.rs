//! BIND's `rate-limit` statement (named.conf).

use std::collections::HashMap;

use super::files::{Fault, Files, Place, Start};
use super::{PeerOption, Section};

/// BIND's defaults, said aloud where they are not ours.
const WINDOW: &str = "15";
const SLIP: &str = "2";
const IPV4_PREFIX: &str = "24";
const IPV6_PREFIX: &str = "56";

/// How deep lists of addresses may name others.
const MAX_DEPTH: usize = 8;

/// Addresses of one statement at most: lists that name each other often would have no end.
const MAX_ADDRESSES: usize = 100_000;

#[derive(Debug, Clone, PartialEq)]
struct Token {
    place: Place,
    /// `{`, `}`, `;` or a word.
    text: String,
    /// Whether it stood in quotes: then it is a word whatever it is.
    quoted: bool,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }
}

/// The first statement of a configuration as a section; `None` if there is none.
pub(super) fn section(files: &mut Files) -> Result<Option<Section>, Fault> {
    let mut tokens = Vec::new();
    files.outermost(|files, text, start| read(files, text, &start, &mut tokens))?;
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

/// Adds the tokens of a file, with those of the files that it includes where it does. Braces must be balanced in each
/// file, and each statement ends with a semicolon (BIND Reference Manual, "Configuration File (named.conf)").
fn read(files: &mut Files, text: &str, start: &Start, all: &mut Vec<Token>) -> Result<(), Fault> {
    let tokens = tokens(text, start)?;
    let mut open: Vec<&Place> = Vec::new();
    // The first word of the statement at hand.
    let mut statement: Option<&Token> = None;
    let mut rest = tokens.iter();
    while let Some(token) = rest.next() {
        if statement.is_none() && token.is("include") {
            let pattern = rest.next().filter(|file| file.quoted || !is_mark(file));
            let pattern = pattern.ok_or_else(|| token.place.fault("`include` needs a file"))?;
            if !rest.next().is_some_and(|end| end.is(";")) {
                return Err(pattern.place.fault("`;` is missing behind this"));
            }
            files.included(&pattern.text, &pattern.place, |files, text, start| {
                read(files, text, &start, all)
            })?;
            continue;
        }
        match token {
            _ if token.is("{") => {
                open.push(&token.place);
                statement = None;
            }
            _ if token.is("}") => {
                if let Some(unended) = statement {
                    return Err(unended.place.fault("`;` is missing at the end of this statement"));
                }
                if open.pop().is_none() {
                    return Err(token.place.fault("`}` closes nothing"));
                }
                statement = Some(token);
            }
            _ if token.is(";") => statement = None,
            _ => statement = statement.or(Some(token)),
        }
        all.push(token.clone());
    }
    match (open.pop(), statement) {
        (Some(brace), _) => Err(brace.fault("this `{` is not closed")),
        (None, Some(unended)) => {
            Err(unended.place.fault("`;` is missing at the end of this statement"))
        }
        (None, None) => Ok(()),
    }
}

fn is_mark(token: &Token) -> bool {
    ["{", "}", ";"].iter().any(|mark| token.is(mark))
}

fn translate(
    options: &[PeerOption],
    acls: &HashMap<String, Vec<String>>,
) -> Result<Section, Fault> {
    let mut section = Section::default();
    let find = |key: &str| options.iter().find(|said| said.key == key);
    let default = |key: &str, value: &str| PeerOption {
        place: None,
        key: key.into(),
        values: vec![value.into()],
    };
    let or = |key: &str, value: &str| find(key).cloned().unwrap_or_else(|| default(key, value));
    let is_dry = find("log-only").is_some_and(PeerOption::is_true);
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
                let mut addresses = Vec::new();
                resolve(&said.values, acls, MAX_DEPTH, &mut addresses);
                for address in addresses {
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

/// Puts lists of addresses in place of their names.
fn resolve(
    words: &[String],
    acls: &HashMap<String, Vec<String>>,
    depth: usize,
    addresses: &mut Vec<String>,
) {
    for word in words {
        match acls.get(word) {
            Some(list) if depth > 0 && addresses.len() < MAX_ADDRESSES => {
                resolve(list, acls, depth - 1, addresses);
            }
            _ => addresses.push(word.clone()),
        }
    }
}

/// The options of a statement, whose `{` comes before `tokens`, to its `}`.
fn options(tokens: &[Token]) -> Result<Vec<PeerOption>, Fault> {
    let mut options = Vec::new();
    let mut open: Option<PeerOption> = None;
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
                    open = Some(PeerOption { place, key: word.to_owned(), values: Vec::new() });
                }
            },
        }
    }
    match options.iter().find(|said: &&PeerOption| said.values.is_empty()) {
        Some(said) => Err(said.fault("a value is missing")),
        None => Ok(options),
    }
}

/// The lists of addresses that the file gives names.
fn acls(tokens: &[Token]) -> HashMap<String, Vec<String>> {
    let mut acls = HashMap::new();
    for (place, window) in tokens.windows(3).enumerate() {
        if let [acl, name, brace] = window
            && acl.is("acl")
            && brace.is("{")
        {
            let words = tokens[place + 3..].iter().take_while(|token| !token.is("}"));
            let words = words.filter(|token| !token.is(";")).map(|token| token.text.clone());
            acls.insert(name.text.clone(), words.collect());
        }
    }
    acls
}

/// Words and punctuation without comments (`//`, `#`, `/* */`).
fn tokens(text: &str, start: &Start) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let (mut line, mut line_start) = (1, 0);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let column = text[line_start..at].chars().count() + 1;
        let place = || start.place(line, column);
        let token = |text: &str, quoted| Token { place: place(), text: text.to_owned(), quoted };
        let len = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => {
                rest[2..].find("*/").ok_or_else(|| place().fault("this comment does not end"))? + 4
            }
            '{' | '}' | ';' => {
                tokens.push(token(&rest[..1], false));
                1
            }
            '"' => {
                let end =
                    rest[1..].find(['"', '\n']).filter(|end| rest[1 + end..].starts_with('"'));
                let end = end.ok_or_else(|| place().fault("this string does not end"))?;
                tokens.push(token(&rest[1..=end], true));
                end + 2
            }
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"' | '#');
                let len = rest.find(ends).unwrap_or(rest.len());
                tokens.push(token(&rest[..len], false));
                len
            }
        };
        if let Some(last) = rest[..len].rfind('\n') {
            line += rest[..len].matches('\n').count();
            line_start = at + last + 1;
        }
        rest = &rest[len..];
    }
    Ok(tokens)
}
