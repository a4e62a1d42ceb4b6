//! The sections `[[zone]]` and `[template.NAME]`: settings as they are written, and zones with a value for each.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::DEFAULT_POLICY;
use super::front::{Front, ZoneFront};
use super::ratelimit::ZoneRateLimit;
use super::transfer::{AllowTransfer, AllowUpdate, Primary, ServerAddress, name_or_none};
use super::values::Verify;
use crate::duration::Period;
use crate::zone::{Name, in_file_name};

/// What stands for the zone's name in `file`.
const ZONE_PLACEHOLDER: &str = "{zone}";

/// What it becomes for the root zone, which has no label. No other zone's name is written so.
const ROOT_IN_FILE_NAME: &str = "@";

/// One zone to serve, with a value for each setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// The apex.
    pub name: Name,
    /// The master file; empty if the zone comes from `primaries`.
    pub file: PathBuf,
    /// The servers that the zone is transferred from, the first one first; none if it comes from `file`.
    pub primaries: Vec<Primary>,
    /// Where its signatures come from.
    pub dnssec: Dnssec,
    /// The signing policy's name.
    pub policy: String,
    /// The key of the zone's transfers and NOTIFY messages, in and out; none: they are not signed.
    pub tsig: Option<Name>,
    /// The servers that are told of each new serial.
    pub notify: Vec<ServerAddress>,
    /// Who may transfer the zone; empty: nobody.
    pub allow_transfer: Vec<AllowTransfer>,
    /// Who may change the zone by dynamic updates, and what of it; empty: nobody.
    pub allow_update: Vec<AllowUpdate>,
    /// The section `[zone.ratelimit]`.
    pub ratelimit: Option<ZoneRateLimit>,
    /// How long before the earliest expiration `health` warns; none: as `[health]` says.
    pub warn_before: Option<Period>,
    /// When the signatures of a file that is signed already are verified.
    pub verify: Verify,
    /// How it follows the server that sealdns stands in front of, if it does.
    pub front: Option<ZoneFront>,
    /// Whether it is a catalog zone (RFC 9432), and on which side.
    pub catalog: CatalogRole,
    /// The catalog that it is listed in, which is made here; none: in none.
    pub in_catalog: Option<Name>,
    /// The group that it has there.
    pub catalog_group: Option<String>,
}

/// What a catalog zone (RFC 9432) is to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CatalogRole {
    /// It is none.
    #[default]
    None,
    /// The zones that it lists are served.
    Consume,
    /// It is made here, of the zones that say so.
    Produce,
}

/// By which templates the members of a catalog are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberTemplates {
    /// That of members that have no group, or none that is listed.
    pub others: String,
    /// By group.
    pub groups: BTreeMap<String, String>,
}

impl MemberTemplates {
    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        [&self.others].into_iter().chain(self.groups.values())
    }
}

/// A fault of a zone's settings: a word that stands there, what is wrong, and what to do about it.
pub(super) struct ZoneFault {
    pub word: String,
    pub message: String,
    pub hint: String,
}

impl Zone {
    /// Whether it is transferred from primaries, and not read from a file.
    pub fn is_transferred(&self) -> bool {
        !self.primaries.is_empty()
    }

    /// Whether it is changed by dynamic updates, so that its file is only what it began with.
    pub fn is_updated(&self) -> bool {
        !self.allow_update.is_empty()
    }

    /// What is wrong with where the zone comes from and who it is transferred to, if these are the keys that there are.
    pub(super) fn transfer_fault(&self, keys: &HashSet<Name>) -> Option<ZoneFault> {
        let fault = |word: &str, message: &str, hint: &str| {
            let message = format!("zone {}: {message}", self.name);
            Some(ZoneFault { word: word.to_owned(), message, hint: hint.to_owned() })
        };
        match (self.file.as_os_str().is_empty(), self.primaries.is_empty()) {
            (true, true) if self.catalog == CatalogRole::Produce => {}
            _ if self.catalog == CatalogRole::Produce => {
                let message = "a catalog that is produced is made of zones, and comes from nowhere";
                return fault("catalog", message, "remove `file` and `primaries`");
            }
            (true, true) => {
                let message = "the key `file` is missing in this section";
                return fault("[[zone]]", message, "set `file`");
            }
            (false, false) => {
                let message = "both `file` and `primaries` are set";
                return fault("primaries", message, "remove one of them");
            }
            (true, false) | (false, true) => {}
        }
        if self.catalog == CatalogRole::Produce && (self.is_updated() || self.dnssec != Dnssec::Off)
        {
            let message = "a catalog that is produced is neither signed nor updated";
            return fault("catalog", message, "remove `dnssec` and `allow-update`");
        }
        if self.is_updated() && self.is_transferred() {
            let message = "a zone that comes from `primaries` is changed there";
            return fault("allow-update", message, "remove one of the two");
        }
        if self.is_updated() && self.dnssec == Dnssec::Presigned {
            let message = "nobody here could sign what updates change";
            return fault("allow-update", message, "set `dnssec = \"sign\"`, or remove it");
        }
        let in_primaries = self.primaries.iter().filter_map(|primary| primary.tsig.as_ref());
        let in_allowed = self.allow_transfer.iter().filter_map(|allowed| match allowed {
            AllowTransfer::Key(name) => Some(name),
            AllowTransfer::Address(_) => None,
        });
        let in_updates = self.allow_update.iter().map(|allowed| &allowed.key);
        let named = self.tsig.iter().chain(in_primaries).chain(in_allowed).chain(in_updates);
        let unknown = named.into_iter().find(|name| !keys.contains(name))?;
        let written = unknown.to_string();
        let message = format!("there is no TSIG key named \"{unknown}\"");
        fault(written.trim_end_matches('.'), &message, "add a section [[tsig]] of this name")
    }
}

/// What a section `[[zone]]` or `[template.NAME]` says. What it does not say has the template's value, or the default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ZoneSettings {
    #[serde(deserialize_with = "some_name")]
    pub name: Option<Name>,
    pub template: Option<String>,
    /// With the folder of the file that it stands in before it, if it is relative.
    pub file: Option<PathBuf>,
    primaries: Option<Vec<Primary>>,
    dnssec: Option<Dnssec>,
    policy: Option<String>,
    tsig: Option<OptionalName>,
    notify: Option<Vec<ServerAddress>>,
    allow_transfer: Option<Vec<AllowTransfer>>,
    allow_update: Option<Vec<AllowUpdate>>,
    ratelimit: Option<ZoneRateLimit>,
    warn_before: Option<Period>,
    verify: Option<Verify>,
    pub catalog: Option<CatalogRole>,
    pub member_template: Option<String>,
    pub member_groups: Option<BTreeMap<String, String>>,
    in_catalog: Option<OptionalName>,
    catalog_group: Option<String>,
}

/// A name, or none where the text is empty.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct OptionalName(#[serde(deserialize_with = "name_or_none")] Option<Name>);

impl ZoneSettings {
    /// Takes a relative path from this folder.
    pub fn take_paths_from(&mut self, folder: &Path) {
        if let Some(file) = &mut self.file
            && !file.as_os_str().is_empty()
        {
            *file = folder.join(&*file);
        }
        let primaries = self.primaries.iter_mut().flatten();
        let tls = primaries.filter_map(|primary| primary.tls.as_mut());
        for file in tls.filter_map(|tls| tls.ca_file.as_mut()) {
            *file = folder.join(&*file);
        }
    }

    /// These settings, and those of a template where these say nothing.
    pub fn over(&self, template: &ZoneSettings) -> ZoneSettings {
        // A zone has one of the two: its own takes the place of either.
        let is_set = self.file.as_ref().is_some_and(|file| !file.as_os_str().is_empty())
            || self.primaries.as_ref().is_some_and(|primaries| !primaries.is_empty());
        let mut all = template.clone();
        if is_set {
            (all.file, all.primaries) = (None, None);
        }
        fn put<T: Clone>(place: &mut Option<T>, own: &Option<T>) {
            if own.is_some() {
                place.clone_from(own);
            }
        }
        put(&mut all.name, &self.name);
        put(&mut all.file, &self.file);
        put(&mut all.primaries, &self.primaries);
        put(&mut all.dnssec, &self.dnssec);
        put(&mut all.policy, &self.policy);
        put(&mut all.tsig, &self.tsig);
        put(&mut all.notify, &self.notify);
        put(&mut all.allow_transfer, &self.allow_transfer);
        put(&mut all.allow_update, &self.allow_update);
        put(&mut all.ratelimit, &self.ratelimit);
        put(&mut all.warn_before, &self.warn_before);
        put(&mut all.verify, &self.verify);
        put(&mut all.catalog, &self.catalog);
        put(&mut all.member_template, &self.member_template);
        put(&mut all.member_groups, &self.member_groups);
        put(&mut all.in_catalog, &self.in_catalog);
        put(&mut all.catalog_group, &self.catalog_group);
        all
    }

    /// The zone of this name with these settings, and the default of each that is not said: in front of another server others.
    pub fn zone(&self, name: &Name, front: Option<&Front>) -> Zone {
        let settings = self.clone();
        let catalog = settings.catalog.unwrap_or_default();
        let dnssec = match (catalog, front) {
            (CatalogRole::None, None) => Dnssec::default(),
            (CatalogRole::None, Some(_)) => Dnssec::Presigned,
            // No resolver looks into a catalog.
            (CatalogRole::Consume | CatalogRole::Produce, _) => Dnssec::Off,
        };
        let has_file = settings.file.as_ref().is_some_and(|file| !file.as_os_str().is_empty());
        let server = front.filter(|_| !has_file).map(|front| front.server);
        let server = server.map(|address| Primary { address, tsig: None, tls: None });
        let primaries = settings.primaries.filter(|some| !some.is_empty());
        Zone {
            name: name.clone(),
            file: settings.file.map(|file| with_zone_name(file, name)).unwrap_or_default(),
            primaries: primaries.unwrap_or_else(|| server.into_iter().collect()),
            dnssec: settings.dnssec.unwrap_or(dnssec),
            policy: settings.policy.unwrap_or_else(|| DEFAULT_POLICY.to_owned()),
            tsig: settings.tsig.and_then(|OptionalName(name)| name),
            notify: settings.notify.unwrap_or_default(),
            allow_transfer: settings.allow_transfer.unwrap_or_default(),
            allow_update: settings.allow_update.unwrap_or_default(),
            ratelimit: settings.ratelimit,
            warn_before: settings.warn_before,
            verify: settings.verify.unwrap_or_default(),
            catalog,
            in_catalog: settings.in_catalog.and_then(|OptionalName(name)| name),
            catalog_group: settings.catalog_group.filter(|group| !group.is_empty()),
            front: front.map(Front::of_zones),
        }
    }

    /// By which templates members are served, if the zone is a catalog whose members are.
    pub fn member_templates(&self) -> Option<MemberTemplates> {
        (self.catalog == Some(CatalogRole::Consume)).then(|| MemberTemplates {
            others: self.member_template.clone().unwrap_or_default(),
            groups: self.member_groups.clone().unwrap_or_default(),
        })
    }
}

/// The path with the zone's name where that is to stand. Whatever the name is, it is one part of a path: an octet that is
/// no letter, digit, `-` or `_` is written as `%` and two hexadecimal digits.
fn with_zone_name(file: PathBuf, zone: &Name) -> PathBuf {
    match file.to_str() {
        Some(text) if text.contains(ZONE_PLACEHOLDER) => {
            let written = in_file_name(zone);
            let written = match written.trim_end_matches('.') {
                "" => ROOT_IN_FILE_NAME,
                written => written,
            };
            text.replace(ZONE_PLACEHOLDER, written).into()
        }
        _ => file,
    }
}

/// Where a zone's signatures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dnssec {
    /// sealdns signs.
    #[default]
    Sign,
    /// The file is signed already; it is verified before it is served.
    Presigned,
    /// The zone is not signed.
    Off,
}

fn some_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Name>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}
