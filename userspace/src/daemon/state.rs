//! What the daemon knows of its zones, and the seam to what prepares them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::kept::{FromPrimary, KeptBase, KeptZones, PastVersion};
#[cfg(test)]
use super::life::Moment;
use super::life::refresh::{RoundReason, Wanted};
use super::life::{KeepReason, Life, Terms};
use super::secondary::{AtServer, Primaries};
use super::stamp::Stamp;
use super::verified::{Line, Verification};
use crate::config;
use crate::control::reply::zone::VersionDifference;
use crate::datapath::memory::FileMap;
use crate::datapath::seam::Published;
use crate::dnssec::origin::Origin;
use crate::dnssec::times::{Validity, is_before};
use crate::dnssec::verify::Fault;
use crate::journal::Place;
use crate::transfer::catalog::MadeMember;
use crate::transfer::incoming::Transferred;
use crate::transfer::ixfr::Past;
use crate::zone::difference::Difference;
use crate::zone::{Name, Serial, Version};

/// Makes a zone that may be served out of a section `[[zone]]`: reads, signs, verifies.
pub trait Prepare: Send + Sync {
    /// `now` is seconds since 1970, truncated to 32 bits.
    fn prepare(
        &self,
        section: &config::Zone,
        policy: &config::Policy,
        before: CurrentVersion<'_>,
        now: u32,
    ) -> anyhow::Result<Prepared>;

    /// Where what is served of a zone is kept for the next start of the daemon, if it is.
    fn kept_zones(&self, _section: &config::Zone) -> Option<&KeptZones> {
        None
    }

    /// Notes a serial that is to be served: the next one will be a later one, whatever else is kept. If nothing else is
    /// (`must_last`), this is on the disk when it returns.
    ///
    /// # Errors
    /// If it cannot be noted.
    fn note_serial(
        &self,
        _section: &config::Zone,
        _serial: Serial,
        _must_last: bool,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    /// What was served when the daemon ran last, if that is known and a validator would still accept it.
    fn kept(
        &self,
        _section: &config::Zone,
        _policy: &config::Policy,
        _now: u32,
    ) -> Option<LastServed> {
        None
    }
}

/// A version that was served when the daemon ran last.
pub struct LastServed {
    /// The version.
    pub prepared: Prepared,
    /// The files that its flat zone lies in, if it is large.
    pub kept_in: Vec<FileMap>,
    /// The base from which the journal leads to it.
    pub base: KeptBase,
    /// What its files looked like.
    pub stamps: Vec<Stamp>,
    /// Where it stands in what is kept.
    pub place: Place,
    /// Whether it is known to be what the configuration and the files say.
    pub is_current: bool,
}

/// The version of a zone that is served.
#[derive(Clone, Copy, Default)]
pub struct CurrentVersion<'a> {
    /// Its serial; `None` if none is served.
    pub serial: Option<Serial>,
    /// Its records.
    pub served: Option<&'a Version>,
    /// The newest version that was verified, which may be an older one than that: what did not change need not be signed
    /// or verified again.
    pub verified: Option<&'a Version>,
    /// What is known of `served`, if that was verified.
    pub verification: Option<&'a Verification>,
    /// What it was made of, if sealdns signed it.
    pub origin: Option<&'a Origin>,
    /// Whether it is signed, by whomever.
    pub is_signed: bool,
    /// Whether the records of its file are as good as known: the file looks as it did, and only its signatures
    /// are due.
    pub is_unchanged: bool,
    /// The version whose records are to be served instead of the file's.
    pub instead: Option<&'a PastVersion>,
    /// What has come from a primary, and is to be served.
    pub incoming: Option<&'a Incoming>,
    /// Of a catalog that is made here: what it is to list, by name.
    pub members: &'a [MadeMember],
}

/// What has come from a primary.
pub struct Incoming {
    /// A zone, or differences.
    pub transferred: Transferred,
    /// The serial of the version to which differences are to be applied, at the primary.
    pub since: Option<Serial>,
}

/// A version of a zone that comes from primaries cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NoTransfer {
    /// None has come yet.
    #[error("no version of it has come from a primary yet")]
    None,
    /// Differences have come that do not fit what is served.
    #[error("the differences that a primary has sent do not fit what is served: {0}")]
    Unfit(String),
}

/// A zone that may be served.
pub struct Prepared {
    /// Its records, with their signatures.
    pub zone: Version,
    /// The files it was read from; `None`: those of the version before, or none.
    pub files: Option<Vec<PathBuf>>,
    /// How it differs from the version that is served, if that is known.
    pub change: Option<Difference>,
    /// When the earliest of its signatures expires; `None` if it is not signed.
    pub expiration: Option<u32>,
    /// From when on all its signatures are valid; `None` if sealdns did not make them.
    pub inception: Option<u32>,
    /// When an RRset begins to be valid that is not before, if somebody else signed it and made it so; or when the use
    /// of one of its keys changes, if sealdns signs it.
    pub begins_at: Option<u32>,
    /// What is known of its signatures, if they were verified.
    pub verification: Option<Verification>,
    /// What it was made of, if sealdns signed it.
    pub origin: Option<Origin>,
    /// Whether it is the version that is served, to the last octet.
    pub is_served: bool,
    /// Why it is not what the configuration and the files say.
    pub fault: Option<anyhow::Error>,
    /// Where it came from, if that is a primary and news.
    pub from_primary: Option<FromPrimary>,
}

impl Prepared {
    /// These records, of which nothing more is known.
    pub fn of(zone: impl Into<Version>) -> Prepared {
        Prepared {
            zone: zone.into(),
            files: None,
            change: None,
            expiration: None,
            inception: None,
            begins_at: None,
            verification: None,
            origin: None,
            is_served: false,
            fault: None,
            from_primary: None,
        }
    }
}

/// The catalog that a zone is served for (RFC 9432).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The catalog that lists it.
    pub catalog: Name,
    /// The group by which its template was chosen.
    pub group: Option<String>,
}

/// One zone that is to be served.
pub struct ZoneState {
    /// Its section, or what its catalog's template says of it.
    pub section: config::Zone,
    /// The catalog that it is served for; `None` if it has a section of its own.
    pub member_of: Option<Membership>,
    /// Its policy.
    pub policy: config::Policy,
    /// What is served; `None` until it could be loaded once.
    pub loaded: Option<LoadedZone>,
    /// What happens to it, and when.
    pub life: Life,
    /// Why the last attempt to load it failed, if it did.
    pub error: Option<String>,
    /// Why what should be known of it at the next start could not be kept, if so.
    pub unkept: Option<String>,
    /// Its work, as it is handed from thread to thread.
    pub work: Work,
    /// What was heard of its primaries, if it comes from some.
    pub primaries: Primaries,
    /// In front of another server, what that has of it.
    pub at_server: AtServer,
}

/// What waits to be done with a zone.
#[derive(Default)]
pub struct Work {
    /// Another for a zone that went and came again: what was begun for the one before is of no account.
    pub identity: Arc<()>,
    /// Until when its turn is to come that it waits for.
    pub queued: Option<Instant>,
    /// Who waits for a change.
    pub waiting: Vec<Sender<ReloadResult>>,
    /// Versions whose records are to be served instead of the file's, and who waits for that.
    pub rollbacks: Vec<(PastVersion, Sender<ReloadResult>)>,
    /// Whether what is kept of a zone of this name is not to be served.
    pub is_reset: bool,
    /// How large it is in octets, by its files or by what is served.
    pub octets: u64,
    /// What verifying has found, which is to take effect.
    pub found: Option<Found>,
    /// Whether what changed of it is being merged into another flat zone.
    pub is_merging: bool,
    /// Whether it is being compiled for the next start.
    pub is_compiling: bool,
    /// What was merged, which is to take the place of what is served.
    pub merged: Option<Merged>,
    /// What has come from a primary, and is to be served.
    pub incoming: Option<Incoming>,
}

/// A version as a flat zone of its own.
pub struct Merged {
    /// The version.
    pub snapshot: Version,
    /// The same records.
    pub zone: Version,
    /// The files that they lie in.
    pub files: Vec<FileMap>,
}

/// What verifying has found.
pub struct Found {
    /// What was looked at.
    pub zone: Version,
    /// Which versions are made of it by what changed, if it was verified before.
    pub line: Option<Line>,
    /// What is wrong with it, if anything is.
    pub verified: Result<Verification, Vec<Fault>>,
}

impl Found {
    /// Whether a version was made of what was looked at, or of what that was made of, by differences that were verified.
    pub fn is_of(&self, loaded: &LoadedZone) -> bool {
        let line = loaded.verification.as_ref().map(Verification::line);
        self.line.as_ref().zip(line.as_ref()).is_some_and(|(one, other)| one.is_same(other))
    }
}

/// What became of one zone in a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadResult {
    /// It is what its files say.
    Unchanged,
    /// How it differs from the version before, if there was one.
    Loaded(Option<VersionDifference>),
    /// It is not configured any more.
    Removed,
    /// It could not be loaded, and why.
    Failed(String),
}

/// A zone that is served.
pub struct LoadedZone {
    /// Its records.
    pub zone: Version,
    /// The files that they lie in, if they are many.
    pub kept_in: Vec<FileMap>,
    /// When it was loaded, in seconds since 1970.
    pub loaded_at: u32,
    /// When the earliest of its signatures expires.
    pub expiration: Option<u32>,
    /// What is known of its signatures, if they were verified.
    pub verification: Option<Verification>,
    /// What is wrong with RRsets that are not sent therefore.
    pub withheld: Option<String>,
    /// An older version that was verified, of which what did not change need not be verified again, until this one is.
    pub verified_before: Option<Version>,
    /// What it was made of, if sealdns signed it.
    pub origin: Option<Origin>,
    /// What its files looked like.
    pub stamps: Vec<Stamp>,
    /// Where it came from, if that is a primary.
    pub from_primary: Option<FromPrimary>,
    /// Where it stands in what is kept of the zone; `None` if it is not kept.
    pub kept_at: Option<Place>,
    /// What led to it, for incremental transfers.
    pub past: Arc<Past>,
    /// What publishing it took.
    pub published: Published,
}

impl ZoneState {
    /// A zone that was not loaded yet.
    pub fn new(section: config::Zone, policy: config::Policy) -> ZoneState {
        let mut hasher = DefaultHasher::new();
        section.name.as_wire().hash(&mut hasher);
        let life = Life::new(terms(&section, &policy), hasher.finish() as u32);
        ZoneState {
            section,
            member_of: None,
            policy,
            loaded: None,
            life,
            error: None,
            unkept: None,
            work: Work::default(),
            primaries: Primaries::default(),
            at_server: AtServer::default(),
        }
    }

    /// Goes by this section and policy from now on.
    pub fn follow(&mut self, section: &config::Zone, policy: config::Policy) {
        self.life.follow(terms(section, &policy));
        if section.primaries != self.section.primaries {
            self.primaries.follow(section);
            self.life.ask_primaries(RoundReason::Asked, Wanted::Newer);
        }
        if section.dnssec != self.section.dnssec && section.is_transferred() {
            // Of a version that is signed here, what the primary has of it is not kept.
            self.life.ask_primaries(RoundReason::Asked, Wanted::Whole);
        }
        self.section = section.clone();
        self.policy = policy;
    }

    /// Whether it has not been tried yet.
    pub fn is_loading(&self) -> bool {
        self.loaded.is_none() && self.error.is_none()
    }

    /// Whether it is to be made in another way than what is served was.
    pub fn has_other_settings(&self, section: &config::Zone, policy: &config::Policy) -> bool {
        self.section.file != section.file
            || self.section.is_transferred() != section.is_transferred()
            || self.section.catalog != section.catalog
            || self.section.dnssec != section.dnssec
            || self.section.verify != section.verify
            || self.policy != *policy
    }

    /// Whether what is served is known not to be what the configuration and the files say.
    pub fn is_otherwise(&self) -> bool {
        self.life.is_behind() || self.error.is_some() || self.loaded.is_none()
    }

    /// Why what is served is to be written as a whole for the next start, if it is.
    pub fn keep_reason(&self, is_journal_long: bool) -> Option<KeepReason> {
        let loaded = self.loaded.as_ref()?;
        match (loaded.kept_at, &self.unkept) {
            (None, Some(_)) => Some(KeepReason::NotKept),
            (Some(_), _) if is_journal_long => Some(KeepReason::JournalLong),
            _ => None,
        }
    }

    /// When the zone must be signed again: `refresh` before the earliest expiration. `None` if
    /// sealdns does not sign it.
    pub fn resign_at(&self) -> Option<u32> {
        self.life.sign_at()
    }

    /// Whether the zone must be signed again now, or loaded again since signatures of others begin to be valid; `tick`
    /// is now on a clock that nobody sets.
    #[cfg(test)]
    pub fn is_due(&self, now: u32, tick: Instant) -> bool {
        let events = self.life.events(Moment { wall: now, tick }).into_iter();
        let mut due = events.filter(|event| event.wait <= 0);
        due.any(|event| event.is_renewal())
    }
}

/// What the configuration wants of a zone.
fn terms(section: &config::Zone, policy: &config::Policy) -> Terms {
    Terms {
        signs: section.dnssec == config::Dnssec::Sign,
        verifies: match section.dnssec {
            config::Dnssec::Off => false,
            config::Dnssec::Presigned => section.verify != config::Verify::Never,
            config::Dnssec::Sign => true,
        },
        refresh: policy.refresh.seconds(),
        is_transferred: section.is_transferred(),
        poll: section.front.map(|front| front.poll.duration()),
    }
}

/// Whether signatures with this validity must be made anew: they end soon, or are not valid yet, as those are
/// that were made while the clock was ahead.
pub fn is_due(validity: Validity, policy: &config::Policy, now: u32) -> bool {
    let resign_at = validity.expiration.wrapping_sub(policy.refresh.seconds());
    !is_before(now, resign_at) || is_before(now, validity.inception)
}
