//! What was changed by command, and its file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::config::AddressPrefix;
use crate::files;
use crate::ratelimit::limits::Block;
use crate::zone::Name;

/// Above the file of saved changes.
const HEADING: &str = "\
# Written by `sealdns ratelimit … --save`, and laid over [ratelimit] of the configuration at start.
# `sealdns ratelimit show` tells what differs; `sealdns ratelimit reset --save` empties this file.

";

/// Changes of one layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Settings by key.
    pub set: Table,
    /// Prefixes, and whether they are exempt.
    pub exempt: BTreeMap<IpNet, bool>,
    /// Blocks; none: a block of a layer below does not count.
    pub block: BTreeMap<Target, Option<Block>>,
}

/// What can be blocked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Who asks.
    Prefix(IpNet),
    /// What is asked for: the name, and all below it.
    Name(Name),
}

impl Target {
    /// Reads a prefix, an address or a name.
    pub fn from_text(text: &str) -> Result<Target, String> {
        if let Ok(prefix) = AddressPrefix::from_text(text) {
            return Ok(Target::Prefix(prefix.0.trunc()));
        }
        // A prefix that is mistyped is not a name.
        let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let is_name =
            !text.contains([':', '/']) && !last.bytes().all(|octet| octet.is_ascii_digit());
        match text.parse().ok().filter(|_| is_name) {
            Some(name) => Ok(Target::Name(name)),
            None => Err(format!(
                "\"{text}\" is neither an address prefix nor a name: write \"192.0.2.0/24\", \
                 \"2001:db8::/32\" or \"example.com\""
            )),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Prefix(prefix) => write!(f, "{prefix}"),
            Target::Name(name) => write!(f, "{name}"),
        }
    }
}

/// Reads prefixes, all or none.
pub fn prefixes(texts: &[String]) -> Result<Vec<IpNet>, String> {
    let read = texts.iter().map(|text| AddressPrefix::from_text(text).map(|net| net.0.trunc()));
    read.collect()
}

/// Reads targets, all or none.
pub fn targets(texts: &[String]) -> Result<Vec<Target>, String> {
    let read = texts.iter().map(|text| Target::from_text(text));
    read.collect()
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Saved {
    version: String,
    #[serde(default)]
    exempt: Vec<String>,
    #[serde(default)]
    not_exempt: Vec<String>,
    #[serde(default)]
    set: Table,
    #[serde(default)]
    block: Vec<SavedBlock>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SavedBlock {
    target: String,
    /// Seconds since 1970; 0 for never.
    until: u64,
    dry_run: bool,
}

const VERSION: &str = "v1";

impl Changes {
    /// Reads the file; no file is no changes.
    pub fn load(path: &Path) -> anyhow::Result<Changes> {
        let text = match files::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Changes::default());
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Changes::read(&text).with_context(|| path.display().to_string())
    }

    fn read(text: &str) -> anyhow::Result<Changes> {
        let saved: Saved = toml::from_str(text)?;
        anyhow::ensure!(saved.version == VERSION, "its version is \"{}\"", saved.version);
        let mut changes = Changes { set: saved.set, ..Changes::default() };
        crate::config::ratelimit::RateLimit::default()
            .with(&changes.set)
            .map_err(|bad| anyhow::anyhow!(bad.message))?;
        for (list, is_exempt) in [(saved.exempt, true), (saved.not_exempt, false)] {
            changes.exempt.extend(
                prefixes(&list)
                    .map_err(anyhow::Error::msg)?
                    .into_iter()
                    .map(|prefix| (prefix, is_exempt)),
            );
        }
        for SavedBlock { target, until, dry_run } in saved.block {
            let target = Target::from_text(&target).map_err(anyhow::Error::msg)?;
            changes.block.insert(target, Some(Block { until, dry_run }));
        }
        Ok(changes)
    }

    fn write(&self) -> anyhow::Result<String> {
        let exempt = |wanted: bool| {
            let some = self.exempt.iter().filter(|(_, is_exempt)| **is_exempt == wanted);
            some.map(|(prefix, _)| prefix.to_string()).collect()
        };
        let block = self.block.iter().filter_map(|(target, block)| {
            let Block { until, dry_run } = (*block)?;
            Some(SavedBlock { target: target.to_string(), until, dry_run })
        });
        let saved = Saved {
            version: VERSION.into(),
            exempt: exempt(true),
            not_exempt: exempt(false),
            set: self.set.clone(),
            block: block.collect(),
        };
        Ok(format!("{HEADING}{}", toml::to_string(&saved)?))
    }

    /// Writes the file, whole or not at all.
    pub fn store(&self, path: &Path) -> anyhow::Result<()> {
        let text = self.write()?;
        files::replace(path, 0o600, text.as_bytes()).with_context(|| path.display().to_string())
    }

    /// Forgets what `below` says already.
    pub fn forget(&mut self, below: &Changes) {
        self.set.retain(|key, _| !below.set.contains_key(key));
        self.exempt.retain(|prefix, _| !below.exempt.contains_key(prefix));
        self.block.retain(|target, _| !below.block.contains_key(target));
    }

    /// Forgets blocks that are over.
    pub fn prune(&mut self, now_s: u64) {
        self.block.retain(|_, block| block.is_none_or(|one| one.until == 0 || one.until > now_s));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_prefixes_or_names() {
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("Example.COM", "example.com."),
            ("7.example", "7.example."),
        ] {
            assert_eq!(Target::from_text(text).unwrap().to_string(), expected);
        }
        for bad in ["192.0.2.300", "192.0.2.0/33", "2001:db8:::", "a..b", "", "1.2.3"] {
            let message = Target::from_text(bad).unwrap_err();
            assert!(message.contains("neither an address prefix nor a name"), "{bad}: {message}");
        }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ratelimit.toml");
        assert!(Changes::load(&path).unwrap().is_empty());
        let block = |until, dry_run| Some(Block { until, dry_run });
        let mut changes = Changes {
            set: toml::from_str("rate = 5\nmode = \"on\"").unwrap(),
            exempt: BTreeMap::from([
                ("192.0.2.0/24".parse().unwrap(), true),
                ("2001:db8::/32".parse().unwrap(), false),
            ]),
            block: BTreeMap::from([
                (Target::from_text("198.51.100.0/24").unwrap(), block(0, false)),
                (Target::from_text("a\\.b.example").unwrap(), block(77, true)),
            ]),
        };
        changes.store(&path).unwrap();
        assert_eq!(Changes::load(&path).unwrap(), changes);
        changes.prune(77);
        changes.store(&path).unwrap();
        assert_eq!(Changes::load(&path).unwrap().block.len(), 1);
    }

    #[test]
    fn a_file_that_is_not_ours_is_said() {
        for (text, said) in [
            ("version = \"v1\"\n[set]\nslip = 11\n", "11 is out of range"),
            ("version = \"v1\"\n[set]\nslib = 1\n", "slib"),
            ("version = \"v2\"\n", "v2"),
            ("version = \"v1\"\nexempt = [\"a\"]\n", "not an address prefix"),
            ("x", "expected"),
        ] {
            let error = format!("{:#}", Changes::read(text).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
