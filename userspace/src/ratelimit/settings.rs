//! Settings of `[ratelimit]` one by one, as `sealdns ratelimit set` takes them.

use std::path::Path;

use toml::{Table, Value};

use crate::config::ratelimit::{ALIASES, RateLimit};
use crate::config::{ConfigError, explain};

/// Keys that are not set one by one, and how it is done instead.
const ELSEWHERE: [(&str, &str); 2] = [
    ("exempt", "use `sealdns ratelimit exempt add` and `del`"),
    ("exempt-file", "it is read at start and on reload: `sealdns ratelimit exempt add` adds to it"),
];

/// What is wrong with a setting, and what to do about it.
#[derive(Debug, PartialEq)]
pub struct BadSetting {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl RateLimit {
    /// All settings but the exempt prefixes, in the order in which they are explained.
    pub fn settings(&self) -> Table {
        // It is made of strings, numbers and lists: nothing that TOML has not.
        Table::try_from(self).unwrap_or_default()
    }

    /// The same with some settings in place of those that were.
    pub fn with(&self, changes: &Table) -> Result<RateLimit, BadSetting> {
        let mut settings = self.settings();
        settings.extend(changes.clone());
        let mut changed: RateLimit = settings.try_into().map_err(|error: toml::de::Error| {
            BadSetting { message: error.message().to_owned(), hint: None }
        })?;
        changed.exempt.clone_from(&self.exempt);
        Ok(changed)
    }
}

/// Reads one setting. The value is TOML, or a bare word where TOML wants quotes; the key may be one of
/// BIND's or Knot's.
pub fn setting(key: &str, text: &str) -> Result<(String, Value), BadSetting> {
    let (key, text) = match (key, text) {
        ("dry-run" | "log-only", "true" | "yes") => ("mode", "dry-run"),
        ("dry-run" | "log-only", "false" | "no") => ("mode", "on"),
        _ => (ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, ours)| *ours), text),
    };
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(name, _)| *name == key) {
        let message = format!("`{key}` is a list, not a setting");
        return Err(BadSetting { message, hint: Some((*hint).to_owned()) });
    }
    let is_key = |key: &str| {
        key.bytes()
            .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
    };
    if key.is_empty() || !is_key(key) {
        let message = format!("\"{key}\" is not a key");
        return Err(BadSetting { message, hint: Some("write KEY=VALUE, such as rate=50".into()) });
    }
    let quoted = || Value::String(text.to_owned());
    let value = toml::from_str::<Table>(&format!("{key} = {text}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove(key))
        .unwrap_or_else(quoted);
    let line = Table::from_iter([(key.to_owned(), value.clone())]).to_string();
    match toml::from_str::<RateLimit>(&line) {
        Ok(_) => Ok((key.to_owned(), value)),
        Err(error) => Err(match explain(&error, &line, Path::new("")) {
            ConfigError::Invalid { message, hint, .. } if message.starts_with("unknown key") => {
                BadSetting { message, hint }
            }
            ConfigError::Invalid { message, hint, .. } => {
                BadSetting { message: format!("{key}: {message}"), hint }
            }
            ConfigError::Read { .. } => BadSetting { message: error.to_string(), hint: None },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_need_no_quotes() {
        for (key, text, expected) in [
            ("rate", "5", ("rate", Value::Integer(5))),
            ("responses-per-second", "5", ("rate", Value::Integer(5))),
            ("nodata-rate", "rate", ("nodata-rate", Value::String("rate".into()))),
            ("window", "15s", ("window", Value::String("15s".into()))),
            ("window", "\"15s\"", ("window", Value::String("15s".into()))),
            ("mode", "on", ("mode", Value::String("on".into()))),
            ("log-only", "yes", ("mode", Value::String("dry-run".into()))),
            ("ipv4-levels", "24x1,16x9", ("ipv4-levels", Value::String("24x1,16x9".into()))),
        ] {
            let (key, value) = setting(key, text).unwrap();
            assert_eq!((key.as_str(), value), expected);
        }
    }

    #[test]
    fn bad_settings_are_said() {
        let bad = |key, text| {
            let BadSetting { message, hint } = setting(key, text).unwrap_err();
            (message, hint.unwrap_or_default())
        };
        let expected = "slip: 11 is out of range: choose a number from 0 (none) to 10";
        assert_eq!(bad("slip", "11"), (expected.into(), String::new()));
        let expected = ("unknown key `slib`".into(), "did you mean `slip`?".into());
        assert_eq!(bad("slib", "1"), expected);
        assert_eq!(bad("mode", "onn").1, "did you mean `on`?");
        assert!(bad("exempt", "[]").1.contains("exempt add"));
        // Not a way to set what was not asked for.
        assert!(bad("rate", "5\nslip = 3").0.starts_with("rate: "));
        assert_eq!(bad("a b", "1").0, "\"a b\" is not a key");
    }

    #[test]
    fn changes_leave_the_rest() {
        let mut before = RateLimit::default();
        before.exempt.push(crate::config::AddressPrefix::from_text("192.0.2.1").unwrap());
        let after = before.with(&Table::from_iter([setting("slip", "7").unwrap()])).unwrap();
        assert_eq!(after.policy().slip, 7);
        assert_eq!(after.with(&Table::from_iter([setting("slip", "2").unwrap()])).unwrap(), before);
    }
}
