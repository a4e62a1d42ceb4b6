//! Replies about zones.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Dnssec;
use crate::journal::FrameKind;
use crate::observe::event::{EventKind, EventReason};
use crate::observe::usage::Completeness;

/// All zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneList {
    /// By name.
    pub zones: Vec<ZoneSummary>,
}

/// A zone in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneSummary {
    /// Its apex.
    pub zone: String,
    /// Whether it is served.
    pub state: ServingState,
    /// Where its signatures come from.
    pub dnssec: Dnssec,
    /// Where its records come from.
    pub source: ZoneSource,
    /// The catalog that it is served for; none if it has a section of its own.
    pub catalog: Option<String>,
    /// The serial that is served.
    pub serial: Option<u32>,
    /// When the earliest of its signatures expires, in seconds since 1970.
    pub expiration: Option<u32>,
    /// Why its last version could not be loaded.
    pub error: Option<String>,
}

/// Whether a zone is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServingState {
    /// Its last version is.
    Serving,
    /// The version before is: the last one could not be loaded.
    ServingOld,
    /// No version could be loaded.
    Failed,
    /// None was tried yet.
    Loading,
}

/// Where the records of a zone come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZoneSource {
    /// A file.
    File,
    /// Primaries.
    Primaries,
    /// The zones of this server: it is a catalog that is made here.
    Zones,
}

/// What is known of a catalog whose members are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogStatus {
    /// How many zones it lists.
    pub members: u64,
    /// How many of its members are not served.
    pub refused: u64,
    /// The first of them.
    pub first_refused: Vec<RefusedMember>,
}

/// A member that is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMember {
    /// The zone.
    pub zone: String,
    /// Why it is not.
    pub why: String,
}

/// All of one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// What the list says of it.
    #[serde(flatten)]
    pub summary: ZoneSummary,
    /// Its file.
    pub file: PathBuf,
    /// The name of its policy.
    pub policy: String,
    /// How many records it has.
    pub records: Option<u64>,
    /// How many owner names it has.
    pub owners: Option<u64>,
    /// When it was loaded, in seconds since 1970.
    pub loaded_at: Option<u32>,
    /// Whether this is the version that was served when the daemon ran last, and it is not known yet whether the files
    /// say the same.
    pub from_last_run: bool,
    /// When its signatures were verified last, in seconds since 1970; none if they have not been since it was loaded.
    pub verified_at: Option<u32>,
    /// Why some of its RRsets are not sent: a validator would refuse them.
    pub withheld: Option<String>,
    /// Records of the image that were written when it was published.
    pub records_written: Option<u64>,
    /// Those that were there already.
    pub records_kept: Option<u64>,
    /// How much of it XDP has.
    pub held: Option<Completeness>,
    /// When it is signed again, in seconds since 1970; none if sealdns does not sign it.
    pub resign_at: Option<u32>,
    /// Why what should be known of it at the next start could not be kept.
    pub unkept: Option<String>,
    /// Who may transfer it: address prefixes, and keys behind the word `key`.
    pub allow_transfer: Vec<String>,
    /// The group by which the template was chosen that it is served by, if it is a member of a catalog.
    pub group: Option<String>,
    /// What is known of it as a catalog, if its members are served.
    pub lists: Option<CatalogStatus>,
    /// What was heard of its primaries, if it comes from some.
    pub primaries: Option<PrimariesStatus>,
    /// What the server has of it that sealdns stands in front of, if it does.
    pub front: Option<FrontStatus>,
    /// The servers that are told of its serials.
    pub notify: Vec<NotifyStatus>,
    /// What goes on with it now.
    pub running: Option<EventKind>,
    /// What happens to it by itself, of each kind the next, the first one first.
    pub events: Vec<ZoneEvent>,
}

/// What is known of a server that is told of the serials of a zone (NOTIFY).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyStatus {
    /// Its address.
    pub server: SocketAddr,
    /// The serial that it is to know.
    pub serial: u32,
    /// Messages with this serial that were sent.
    pub messages: u32,
    /// Whether no more are: it does not answer.
    pub is_given_up: bool,
    /// The last serial that it has acknowledged.
    pub acknowledged: Option<u32>,
    /// When it did, in seconds since 1970.
    pub acknowledged_at: Option<u32>,
    /// Why the last message was in vain.
    pub error: Option<String>,
}

/// Something that is to happen to a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneEvent {
    /// What.
    pub event: EventKind,
    /// When, in seconds since 1970; a time that is past: as soon as there is a thread for it.
    pub at: u32,
    /// Why.
    pub why: EventReason,
}

/// A zone in front of another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontStatus {
    /// The serial that the server said last.
    pub serial: Option<u32>,
    /// Why queries for its names are passed to the server; none: XDP answers.
    pub passed: Option<String>,
}

/// What was heard of the primaries of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimariesStatus {
    /// Those of the configuration.
    pub configured: Vec<SocketAddr>,
    /// The one that was asked last.
    pub asked: Option<SocketAddr>,
    /// The serial of what is served there; another than the zone's where sealdns signs it.
    pub serial: Option<u32>,
    /// When one was heard of last, in seconds since 1970.
    pub last_success: Option<u32>,
    /// When one failed last, in seconds since 1970.
    pub last_failure: Option<u32>,
    /// Which, and why.
    pub failure: Option<String>,
    /// When the zone is not served any more if none is heard of, in seconds since 1970.
    pub expires_at: Option<u32>,
}

/// The primaries of a zone are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRefreshing {
    /// Its apex.
    pub zone: String,
    /// Whether all of it is transferred.
    pub whole: bool,
}

/// What became of zones in a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneReload {
    /// In the order in which they were loaded.
    pub zones: Vec<ZoneChange>,
}

/// What became of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneChange {
    /// Its apex.
    pub zone: String,
    /// What became of it.
    pub change: Change,
    /// How the version that is served now differs from the one before; none if one of them is not there.
    pub difference: Option<VersionDifference>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How two versions of a zone differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionDifference {
    /// The serial of the older version.
    pub old_serial: u32,
    /// That of the newer one.
    pub new_serial: u32,
    /// Records that the newer version does not have: of a signed zone those of DNSSEC too.
    pub removed: u64,
    /// Records that the older version does not have.
    pub added: u64,
}

/// What changed in a zone, as far back as the journal goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneHistory {
    /// Its apex.
    pub zone: String,
    /// The serial that is served.
    pub serial: u32,
    /// The newest first.
    pub changes: Vec<PastZoneChange>,
}

/// A change of a zone that was made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastZoneChange {
    /// When it was made, in seconds since 1970.
    pub at: u64,
    /// What made it.
    pub why: FrameKind,
    /// How the version before and the one after it differ.
    pub difference: VersionDifference,
}

/// How two versions of a zone differ, record by record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneDiff {
    /// Its apex.
    pub zone: String,
    /// The serial of the one version.
    pub from: u32,
    /// The serial of the other one.
    pub to: u32,
    /// Records that only the one has, in presentation format.
    pub removed: Vec<String>,
    /// Records that only the other one has.
    pub added: Vec<String>,
}

/// The records of an earlier version are served again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRolledBack {
    /// The zone's apex.
    pub zone: String,
    /// The serial of the version whose records are served.
    pub to: u32,
    /// How the version that is served now differs from the one before.
    pub difference: VersionDifference,
}

/// What may become of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Its files say what is served.
    Unchanged,
    /// It was loaded.
    Loaded,
    /// It is served no more.
    Removed,
    /// It could not be loaded.
    Failed,
}
