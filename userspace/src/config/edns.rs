//! What options of EDNS say: the section `[cookies]`, and the name server identifier.

use std::fmt;
use std::path::PathBuf;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use xdp_common::cookie::Secret;
use xdp_common::maps::MAX_NSID;

use crate::duration::{self, Period};

/// `[cookies]`: DNS cookies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Cookies {
    /// Whether there are any.
    pub enabled: bool,
    /// What they are made with; none, and no file: a random one.
    #[serde(deserialize_with = "secret_or_none")]
    pub secret: Option<CookieSecret>,
    /// What is accepted as well.
    #[serde(deserialize_with = "secret_or_none")]
    pub other_secret: Option<CookieSecret>,
    /// A file that holds both.
    #[serde(deserialize_with = "path_or_none")]
    pub secret_file: Option<PathBuf>,
    /// How long each secret is used that is derived from the configured one; none: that one itself is.
    pub derive: DerivationPeriod,
}

impl Default for Cookies {
    fn default() -> Cookies {
        Cookies {
            enabled: true,
            secret: None,
            other_secret: None,
            secret_file: None,
            derive: DerivationPeriod(None),
        }
    }
}

impl Cookies {
    /// What does not go together: the key, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let is_given = self.secret.is_some() || self.secret_file.is_some();
        if self.secret.is_some() && self.secret_file.is_some() {
            Some(("secret-file", "both `secret` and `secret-file` are set: remove one of them"))
        } else if self.other_secret.is_some() && self.secret.is_none() {
            Some((
                "other-secret",
                "`other-secret` is a second secret, and `secret` is not set: set it",
            ))
        } else if self.derive.0.is_some() && !is_given {
            Some((
                "derive",
                "there is no secret to derive others from: set `secret` or `secret-file`",
            ))
        } else if self.derive.0.is_some() && self.other_secret.is_some() {
            Some(("other-secret", "`derive` makes all secrets from one: remove `other-secret`"))
        } else {
            None
        }
    }
}

/// A secret of cookies. It is not shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CookieSecret(pub Secret);

impl CookieSecret {
    /// From 32 hexadecimal digits.
    pub fn from_text(text: &str) -> Option<CookieSecret> {
        let octets = octets(text)?;
        let (first, second) = octets.split_first_chunk()?;
        let words = [*first, second.try_into().ok()?];
        Some(CookieSecret(words.map(u64::from_le_bytes)))
    }
}

impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret(..)")
    }
}

fn secret_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<CookieSecret>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    // The text itself is not for logs.
    CookieSecret::from_text(&text)
        .map(Some)
        .ok_or_else(|| de::Error::custom("a secret of cookies is 32 hexadecimal digits"))
}

fn path_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// How long a derived secret is used, if they are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DerivationPeriod(pub Option<Period>);

/// Cookies live for an hour, and clocks differ by five minutes: so two secrets are enough at a time.
const MIN_DERIVE_S: u32 = 2 * 3600;

impl<'de> Deserialize<'de> for DerivationPeriod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(DerivationPeriod(None));
        }
        let seconds = duration::at_least(MIN_DERIVE_S, &text).map_err(de::Error::custom)?;
        Ok(DerivationPeriod(Some(Period::from_seconds(seconds))))
    }
}

/// A name server identifier.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nsid(pub Vec<u8>);

impl<'de> Deserialize<'de> for Nsid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let nsid = match text.strip_prefix("0x") {
            Some(digits) => octets(digits).ok_or_else(|| {
                de::Error::custom(format!("\"{text}\" is not hexadecimal digits, two for an octet"))
            })?,
            None => text.into_bytes(),
        };
        if nsid.len() > MAX_NSID {
            let message = format!("{} octets: an identifier has {MAX_NSID} at most", nsid.len());
            return Err(de::Error::custom(message));
        }
        Ok(Nsid(nsid))
    }
}

/// Octets in hexadecimal digits.
fn octets(digits: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError};
    use std::path::Path;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(&format!("version = \"v1\"\n{text}"), Path::new("sealdns.toml"))
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    #[test]
    fn secrets_lie_in_memory_as_they_are_written() {
        let config = parse(&format!("[cookies]\nsecret = \"{SECRET}\"\nderive = \"1d\"")).unwrap();
        let octets = config.cookies.secret.unwrap().0.map(u64::to_le_bytes).concat();
        assert_eq!(octets[..4], [0xe5, 0xe9, 0x73, 0xe5]);
        assert_eq!(octets[15], 0xcf);
        assert_eq!(config.cookies.derive.0.unwrap().seconds(), 86400);
        assert!(!format!("{config:?}").contains("e5e9"));
    }

    #[test]
    fn what_does_not_go_together_is_said_where_it_stands() {
        for (text, line, said) in [
            (
                format!("secret = \"{SECRET}\"\nsecret-file = \"f\""),
                4,
                "both `secret` and `secret-file`",
            ),
            (format!("other-secret = \"{SECRET}\""), 3, "`secret` is not set"),
            ("derive = \"1d\"".into(), 3, "no secret to derive"),
            ("derive = \"1h\"".into(), 3, "from 2h to"),
            ("secret = \"abc\"".into(), 3, "32 hexadecimal digits"),
            (format!("secret = \"{SECRET}00\""), 3, "32 hexadecimal digits"),
            ("secret = \"é5e973e5a6b2a43f48e7dc849e37bfcf\"".into(), 3, "32 hexadecimal digits"),
        ] {
            let error = parse(&format!("[cookies]\n{text}")).unwrap_err();
            let ConfigError::Invalid { line: found, message, .. } = error else { panic!() };
            assert!(found == line && message.contains(said), "{text}: {found}: {message}");
        }
    }

    #[test]
    fn identifiers_are_text_or_octets() {
        let nsid =
            |text: &str| parse(&format!("[server]\nnsid = \"{text}\"")).map(|c| c.server.nsid.0);
        assert_eq!(nsid("node-1").unwrap(), b"node-1");
        assert_eq!(nsid("0x00ff7F").unwrap(), [0, 255, 127]);
        assert_eq!(nsid(&"x".repeat(128)).unwrap().len(), 128);
        for bad in ["0x0", "0xgg", &"x".repeat(129)] {
            assert!(nsid(bad).is_err(), "{bad}");
        }
    }
}
