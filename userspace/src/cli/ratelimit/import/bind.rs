//! BIND's `rate-limit` statement (named.conf).

use std::collections::HashMap;

use super::{Said, Section};

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
    line: usize,
    /// `{`, `}`, `;` or a word.
    text: String,
}

/// The first statement of the file as a section.
pub(super) fn section(text: &str) -> Option<Section> {
    let tokens = tokens(text);
    let is_statement = |at: &usize| {
        tokens[*at].text == "rate-limit" && tokens.get(at + 1).is_some_and(|next| next.text == "{")
    };
    let mut places = (0..tokens.len()).filter(is_statement);
    let options = options(&tokens[places.next()? + 2..]);
    let mut section = translate(&options, &acls(&tokens));
    for place in places {
        let line = tokens[place].line;
        section.notes.push(format!("line {line}: another rate-limit statement: left out"));
    }
    Some(section)
}

fn translate(options: &[Said], acls: &HashMap<String, Vec<String>>) -> Section {
    let mut section = Section::default();
    let find = |key: &str| options.iter().find(|said| said.key == key);
    let default =
        |key: &str, value: &str| Said { line: 0, key: key.into(), values: vec![value.into()] };
    let or = |key: &str, value: &str| find(key).cloned().unwrap_or_else(|| default(key, value));
    let is_dry = find("log-only").is_some_and(Said::is_true);
    section.set("mode", if is_dry { "\"dry-run\"" } else { "\"on\"" });
    section.number("rate", &or("responses-per-second", "0"));
    for (theirs, ours) in [
        ("nodata-per-second", "nodata-rate"),
        ("nxdomains-per-second", "nxdomain-rate"),
        ("referrals-per-second", "referral-rate"),
        ("errors-per-second", "error-rate"),
    ] {
        if let Some(said) = find(theirs) {
            section.number(ours, said);
        }
    }
    section.set("window", format!("\"{}s\"", or("window", WINDOW).value()));
    // REFUSED and SERVFAIL leak as often as others slip.
    section.number("slip", &or("slip", SLIP));
    section.number("leak", &or("slip", SLIP));
    let (ipv4, ipv6) =
        (or("ipv4-prefix-length", IPV4_PREFIX), or("ipv6-prefix-length", IPV6_PREFIX));
    section.number("ipv4-prefix", &ipv4);
    section.number("ipv6-prefix", &ipv6);
    section.number("total-rate", &or("all-per-second", "0"));
    if find("all-per-second").is_some() {
        // It never slips, and counts at one prefix length.
        section.set("total-slip", "0");
        section.set("ipv4-levels", format!("[\"/{} x1\"]", ipv4.value()));
        section.set("ipv6-levels", format!("[\"/{} x1\"]", ipv6.value()));
    }
    if let Some(said) = find("qps-scale") {
        section.number("qps-scale", said);
    }
    for said in options {
        match said.key.as_str() {
            "exempt-clients" => {
                let mut addresses = Vec::new();
                resolve(&said.values, acls, MAX_DEPTH, &mut addresses);
                for address in addresses {
                    section.exempt(said, &address);
                }
            }
            "max-table-size" | "min-table-size" => section.note(said, "memory is fixed"),
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
    section
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

/// The options of a statement, whose `{` comes before `tokens`, to its `}` or the end.
fn options(tokens: &[Token]) -> Vec<Said> {
    let mut options = Vec::new();
    let mut open: Option<Said> = None;
    let mut depth = 0usize;
    for token in tokens {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            ";" if depth > 0 => {}
            ";" => options.extend(open.take()),
            word => match &mut open {
                Some(said) => said.values.push(word.to_owned()),
                None => {
                    open =
                        Some(Said { line: token.line, key: word.to_owned(), values: Vec::new() });
                }
            },
        }
    }
    options.extend(open);
    options
}

/// The lists of addresses that the file gives names.
fn acls(tokens: &[Token]) -> HashMap<String, Vec<String>> {
    let mut acls = HashMap::new();
    for (place, window) in tokens.windows(3).enumerate() {
        if let [acl, name, brace] = window
            && acl.text == "acl"
            && brace.text == "{"
        {
            let words = tokens[place + 3..].iter().take_while(|token| token.text != "}");
            let words = words.filter(|token| token.text != ";").map(|token| token.text.clone());
            acls.insert(name.text.clone(), words.collect());
        }
    }
    acls
}

/// Words and punctuation without comments (`//`, `#`, `/* */`).
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '\n' => {
                line += 1;
                1
            }
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => {
                let len = rest.find("*/").map_or(rest.len(), |end| end + 2);
                line += rest[..len].matches('\n').count();
                len
            }
            '{' | '}' | ';' => {
                tokens.push(Token { line, text: first.to_string() });
                1
            }
            '"' => {
                let len = rest[1..].find('"').map_or(rest.len() - 1, |end| end) + 1;
                tokens.push(Token { line, text: rest[1..len].to_owned() });
                line += rest[..len].matches('\n').count();
                (len + 1).min(rest.len())
            }
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"' | '#');
                let len = rest.find(ends).unwrap_or(rest.len());
                tokens.push(Token { line, text: rest[..len].to_owned() });
                len
            }
        };
        rest = &rest[len..];
    }
    tokens
}
