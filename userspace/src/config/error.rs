//! What is wrong with a configuration: where, in words, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The configuration file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}", DisplayAt { path, line: *line, column: *column, message, source_line })]
    Invalid {
        /// The configuration file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// The line itself.
        source_line: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl ConfigError {
    /// What to do about it, where that can be told.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ConfigError::Read { .. } => {
                Some("`sealdns config template` prints a configuration to start from")
            }
            ConfigError::Invalid { hint, .. } => hint.as_deref(),
        }
    }
}

struct DisplayAt<'a> {
    path: &'a Path,
    line: usize,
    column: usize,
    message: &'a str,
    source_line: &'a str,
}

impl fmt::Display for DisplayAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DisplayAt { path, line, column, message, source_line } = self;
        write!(f, "{}:{line}:{column}: {message}", path.display())?;
        if !source_line.trim().is_empty() {
            write!(f, "\n  {source_line}\n  {:>column$}", "^")?;
        }
        Ok(())
    }
}

/// Turns what the TOML reader says into a sentence with a place and, where possible, advice.
pub(crate) fn explain(error: &toml::de::Error, text: &str, path: &Path) -> ConfigError {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    // For an element of a list the reader gives the place of the list: look for the element, which
    // our own messages quote first.
    let element = message.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let within = element.and_then(|(element, _)| text.get(span.clone())?.find(element));
    let at = match within {
        Some(offset) => (span.start + offset).saturating_sub(1).max(span.start),
        None => span.start,
    };
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((&found, expected)) = quoted.split_first() else {
        return invalid(text, path, at, message.to_owned(), None);
    };
    if message.starts_with("missing field") {
        let message = format!("the key `{found}` is missing in this section");
        return invalid(text, path, at, message, None);
    }
    let is_key = message.starts_with("unknown field");
    if !is_key && !message.starts_with("unknown variant") {
        return invalid(text, path, at, message.to_owned(), None);
    }
    if let Some((_, feature)) = NOT_YET.iter().find(|(word, _)| *word == found) {
        let message = format!("`{found}` is not supported yet: this version lacks {feature}");
        let hint = "remove it: what has no effect is not accepted".to_owned();
        return invalid(text, path, at, message, Some(hint));
    }
    let what = if is_key { "key" } else { "value" };
    let nearest = expected
        .iter()
        .map(|word| (strsim::damerau_levenshtein(found, word), *word))
        .min()
        .filter(|(distance, word)| *distance <= 1 + word.len() / 3);
    let hint = match nearest {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None => format!("known here: {}", expected.join(", ")),
    };
    invalid(text, path, at, format!("unknown {what} `{found}`"), Some(hint))
}

pub(super) fn invalid(
    text: &str,
    path: &Path,
    at: usize,
    message: String,
    hint: Option<String>,
) -> ConfigError {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError::Invalid {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
        source_line: shown(text[line_start..].lines().next().unwrap_or_default()).to_owned(),
        hint,
    }
}

/// The line, as far as it may be shown: not if there is a secret in it.
fn shown(line: &str) -> &str {
    let has_secret = line.split_once("secret").is_some_and(|(_, behind)| {
        let value = behind.trim_start();
        value.starts_with('=') || value.starts_with(['"', '\''])
    });
    if has_secret { "" } else { line }
}

/// Keys and values of features that this version lacks, and what they belong to.
const NOT_YET: [(&str, &str); 7] = [
    ("metrics", "the metrics endpoint"),
    ("jitter", "signature jitter"),
    ("RSASHA256", "this algorithm"),
    ("RSASHA512", "this algorithm"),
    ("ksk-lifetime", "automatic key rollover"),
    ("zsk-lifetime", "automatic key rollover"),
    ("csk-lifetime", "automatic key rollover"),
];
