//! BIND's configuration (named.conf): its words, its statements, its lists of addresses.

use std::collections::HashMap;

use super::files::{Fault, Files, Place, Start};

/// How deep lists of addresses may name others.
const MAX_DEPTH: usize = 8;

/// Addresses of one statement at most: lists that name each other often would have no end.
const MAX_ADDRESSES: usize = 100_000;

/// A word or a mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Where it begins.
    pub place: Place,
    /// `{`, `}`, `;` or a word.
    pub text: String,
    /// Whether it stood in quotes: then it is a word whatever it is.
    pub quoted: bool,
}

impl Token {
    /// Whether it is this, and stands in no quotes.
    pub fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }
}

/// The words and marks of a configuration, with those of the files that it includes.
///
/// # Errors
/// If a file cannot be read, or is no configuration.
pub fn read_all(files: &mut Files) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    files.outermost(|files, text, start| read(files, text, &start, &mut tokens))?;
    Ok(tokens)
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

/// The lists of addresses that the file gives names.
pub fn acls(tokens: &[Token]) -> HashMap<String, Vec<String>> {
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

/// Puts lists of addresses in place of their names.
pub fn resolve(words: &[String], acls: &HashMap<String, Vec<String>>) -> Vec<String> {
    let mut addresses = Vec::new();
    resolve_within(words, acls, MAX_DEPTH, &mut addresses);
    addresses
}

fn resolve_within(
    words: &[String],
    acls: &HashMap<String, Vec<String>>,
    depth: usize,
    addresses: &mut Vec<String>,
) {
    for word in words {
        match acls.get(word) {
            Some(list) if depth > 0 && addresses.len() < MAX_ADDRESSES => {
                resolve_within(list, acls, depth - 1, addresses);
            }
            _ => addresses.push(word.clone()),
        }
    }
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
