//! What is kept of zones: the version that is served, so that it is served again at once when the daemon is started, and the
//! way that led to it.
//!
//! A zone has two files. Its *base* is a version as a whole; its journal has the differences that led on from there, each
//! with what is known of the version to which it leads. A base is written when a version is kept that is not made of the one
//! before by a difference, and by itself, from time to time, so that the journal does not grow. Which version is the last
//! one follows from what is in the files, never from the order in which they were written: a base says where in the
//! chain of differences it stands, and the journal goes on from there or is another chain's.
//!
//! | to … | use |
//! |---|---|
//! | know what was served when the daemon ran last | [`KeptZones::open`] |
//! | make a change durable | [`KeptZones::record`] |
//! | keep a version as a whole | [`KeptZones::keep`] |
//! | have a version compiled for the next start | [`KeptZones::uncompiled`], [`KeptZones::keep_compiled`] |
//! | keep the journal short | [`KeptZones::rebase`], if [`KeptZones::is_rebase_due`] |
//! | look back | [`KeptZones::history`] |
//!
//! | file | what |
//! |---|---|
//! | `base.rs` | a version as a whole, in a file |
//! | `compiled.rs` | the same compiled, in another file |
//! | `digests.rs` | the digests that end both |
//! | `facts.rs` | what is known of a version beside its records, as octets |
//! | `history.rs` | the versions that led to one |
//!
//! What is kept is of use, never needed: what cannot be read is as good as nothing, and is told in the log.

mod base;
mod compiled;
mod digests;
mod facts;
mod history;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;
use ring::digest;

use self::base::{Base, BaseFile, Written};
use self::compiled::CompiledFile;
use super::locks::{Lock, Rank};
use super::verified::Verification;
use crate::compile::ApartZone;
use crate::config::{self, Config, Dnssec};
use crate::datapath::memory::FileMap;
use crate::datapath::seam::{APART_FROM, ExpectedSize};
use crate::dnssec::origin::{DIGEST_LEN, Digest};
use crate::dnssec::times::{SignatureTimes, is_before};
use crate::files;
use crate::journal::{Contents, Entry, Frame, FrameKind, Journal, JournalError, Limits, Place};
use crate::zone::difference::{Difference, Rules};
use crate::zone::{Name, Version, ZoneError, in_file_name};

pub use digests::{KnownDigests, UnsummedFiles};
pub use facts::{FromPrimary, KeptFacts, KeptReport};
pub use history::{History, HistoryError, PastChange, PastVersion};

/// Octets of a zone that somebody else signed, or nobody, from which on it is kept: a smaller one is read and verified
/// in less time than it takes to sync a file.
pub const KEPT_FROM: usize = 64 << 10;

/// A part of the base: a journal that has more leads to another base.
const JOURNAL_PART: u64 = 8;

/// Octets of frames that lead on from a base, for which no other one is made, however small it is.
const FEW_OCTETS: u64 = 64 << 10;

/// The least and the most octets that a journal may have; in between as many as four bases. Those of a hundred thousand
/// small zones must have room on a disk.
const LIMITS: [u64; 2] = [256 << 10, 256 << 20];

/// The zones that are kept in one folder.
pub struct KeptZones {
    folder: PathBuf,
    zones: Lock<BTreeMap<Name, Arc<Lock<KeptFiles>>>>,
    /// What some of the files were found to sum up to before they are read.
    known_digests: Arc<KnownDigests>,
    /// Whether it was told that what is compiled cannot be kept.
    has_told: AtomicBool,
}

/// The two files of a zone, as they are known to be.
#[derive(Default)]
struct KeptFiles {
    /// Another number for each base with which a chain begins, so that what was begun before is of no account.
    chain: u64,
    /// `None`: nothing is kept, or it is not what was served last.
    base: Option<Written>,
    /// `None`: the file is made with the next change.
    journal: Option<Box<Journal>>,
    /// Octets of the journal up to the frames that lead on from the base.
    led: u64,
    /// What the journal was before the last change: its last place and its octets.
    before: Option<(Place, u64)>,
    /// The version that the base has, if it is large and is not known to be kept compiled.
    uncompiled: Option<Version>,
}

/// A version that was kept.
pub struct KeptVersion {
    /// Its records.
    pub zone: Version,
    /// The file that its flat zone lies in, if it is large: that of the base.
    pub files: Vec<FileMap>,
    /// The version from which the journal leads to it, and the digest of that base.
    pub base: KeptBase,
    /// What is known of it.
    pub facts: KeptFacts,
    /// When its signatures are valid, if that is known.
    pub times: Option<SignatureTimes>,
    /// Where it stands in the journal.
    pub place: Place,
}

/// A version that is kept as a whole.
#[derive(Clone)]
pub struct KeptBase {
    /// The version.
    pub zone: Version,
    /// The digest of its file.
    pub digest: Digest,
}

/// A version that is to be kept.
#[derive(Clone, Copy)]
pub struct KeepableVersion<'a> {
    /// Its records.
    pub zone: &'a Version,
    /// What is known of it.
    pub facts: &'a KeptFacts,
    /// When its signatures are valid, if that is known.
    pub times: Option<&'a SignatureTimes>,
}

/// A change that is to be made durable.
#[derive(Clone, Copy)]
pub struct RecordedChange<'a> {
    /// Where the version stands in the journal that changes.
    pub from: Place,
    /// When it is made, in seconds since 1970.
    pub time: u64,
    /// What made it.
    pub kind: FrameKind,
    /// What changes of the zone; nothing if it is only known better.
    pub zone: &'a Difference,
    /// What changes of that which stands beside it.
    pub any_answers: Option<&'a Difference>,
    /// What is known of the version to which it leads.
    pub facts: &'a KeptFacts,
}

/// A digest of what a zone's section and policy say of how its file becomes what is served, and of the version of
/// sealdns. Of zones that sealdns signs the [`Origin`](crate::dnssec::origin::Origin) tells more.
pub fn settings(section: &config::Zone, policy: &config::Policy) -> Digest {
    let any = (section.dnssec == Dnssec::Off).then_some(policy.any);
    let said =
        format!("{} {:?} {:?} {any:?}", env!("CARGO_PKG_VERSION"), section.dnssec, section.verify);
    let digest = digest::digest(&digest::SHA256, said.as_bytes());
    digest.as_ref().try_into().unwrap_or([0; DIGEST_LEN])
}

/// How much room the zones of a configuration will take that are kept compiled in one of these folders: the first maps need
/// not be made larger for them.
pub fn expected_size(config: &Config, folders: &[PathBuf]) -> ExpectedSize {
    let mut expected = ExpectedSize::default();
    for file in compiled_files(config, folders) {
        // What cannot be read is told where it is used.
        if let Ok((names, slab)) = compiled::size_of(&file) {
            expected.add(names, slab);
        }
    }
    expected
}

/// The files that the next start reads of these zones: what they are compiled to, and their bases.
pub fn unsummed_files(config: &Config, folders: &[PathBuf]) -> UnsummedFiles {
    let compiled = compiled_files(config, folders).into_iter();
    UnsummedFiles::open(compiled.flat_map(|file| [base::path_beside(&file), file]))
}

/// The files of the zones of a configuration that are kept compiled.
fn compiled_files(config: &Config, folders: &[PathBuf]) -> Vec<PathBuf> {
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let mut files: Vec<PathBuf> = files
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "compiled"))
        .collect();
    if !files.is_empty() {
        let zones = config.zones().map(|zone| format!("{}compiled", in_file_name(&zone.name)));
        let zones: BTreeSet<OsString> = zones.map(OsString::from).collect();
        files.retain(|file| file.file_name().is_some_and(|it| zones.contains(it)));
    }
    files
}

impl KeptZones {
    /// Those in this folder, which may not be there.
    pub fn new(folder: PathBuf) -> KeptZones {
        files::sweep(&folder);
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if BaseFile::is_successor(&entry.path()) {
                // It was whole, and its journal has all that it has.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let zones = Lock::new(Rank::KeptZones, BTreeMap::new());
        let (known_digests, has_told) = (Arc::default(), AtomicBool::new(false));
        KeptZones { folder, zones, known_digests, has_told }
    }

    /// The same, with files some of which were summed up already.
    pub fn knowing(self, known_digests: Arc<KnownDigests>) -> KeptZones {
        KeptZones { known_digests, ..self }
    }

    /// Whether something is kept of a zone, whatever it is.
    pub fn exists(&self, apex: &Name) -> bool {
        self.base_of(apex).exists()
    }

    fn base_of(&self, apex: &Name) -> BaseFile {
        BaseFile::of(&self.folder, apex)
    }

    fn compiled_of(&self, apex: &Name) -> CompiledFile {
        CompiledFile::of(&self.folder, apex)
    }

    fn journal_of(&self, apex: &Name) -> PathBuf {
        self.folder.join(format!("{}journal", in_file_name(apex)))
    }

    fn files_of(&self, apex: &Name) -> Arc<Lock<KeptFiles>> {
        let mut zones = self.zones.hold();
        let files = || Arc::new(Lock::new(Rank::KeptZone, KeptFiles::default()));
        Arc::clone(zones.entry(apex.clone()).or_insert_with(files))
    }

    //--- What was served

    /// The last version that was kept of a zone, if there is one: the base, and what the journal says that changed since. What
    /// is torn or garbled there is left out with all that follows, and told in the log.
    pub fn open(&self, apex: &Name) -> Option<KeptVersion> {
        let said = "the version that was served before cannot be read";
        let base = match self.base_of(apex).read(apex, &self.known_digests) {
            Ok(base) => base?,
            Err(error) => {
                tracing::warn!(zone = %apex, "{said}: {error:#}");
                return None;
            }
        };
        let path = self.journal_of(apex);
        let contents = match Contents::open(&path, apex) {
            Ok(contents) => Some(contents),
            Err(JournalError::Read(error)) if error.kind() == ErrorKind::NotFound => None,
            // What was served last is not known: a version before it would go behind what others have.
            Err(error @ (JournalError::Newer { .. } | JournalError::Read(_))) => {
                tracing::warn!(zone = %apex, "{said}: {}: {error}", path.display());
                return None;
            }
            Err(error) => {
                tracing::warn!(zone = %apex, "{}: {error}; the version before it is used", path.display());
                None
            }
        };
        let Base { zone, files, facts, times, place, digest, octets } = base;
        let base = Written { place, digest, octets };
        let zone = Version::of(zone);
        let uncompiled = to_be_compiled(&zone);
        let kept = KeptBase { zone: zone.clone(), digest };
        let kept = KeptVersion { zone, files, base: kept, facts, times, place };
        let (kept, files) = match contents {
            Some(contents) => led_on(kept, contents, base, &path),
            None => (kept, KeptFiles { base: Some(base), ..KeptFiles::default() }),
        };
        let known = self.files_of(apex);
        let mut known = known.hold();
        *known = KeptFiles { chain: known.chain + 1, uncompiled, ..files };
        Some(kept)
    }

    //--- What is served from now on

    /// Makes a change durable: it is on the disk when this returns. Returns the place of the version to which it leads.
    ///
    /// # Errors
    /// If it is not: what was kept before is kept still, and leads to the version that was to change.
    pub fn record(&self, apex: &Name, change: &RecordedChange<'_>) -> anyhow::Result<Place> {
        let path = self.journal_of(apex);
        let files = self.files_of(apex);
        let recorded = files.hold().record(&path, apex, change);
        recorded.with_context(|| path.display().to_string())
    }

    /// Takes back the change that was recorded last, which led from this place: it is not served.
    ///
    /// # Errors
    /// If that is not durable: the next start takes it for what is served.
    pub fn take_back(&self, apex: &Name, from: &Place) -> anyhow::Result<()> {
        let files = self.files_of(apex);
        let mut files = files.hold();
        let Some((place, octets)) = files.before.take().filter(|before| before.0 == *from) else {
            anyhow::bail!("it is not the last change of the journal");
        };
        let journal = files.journal.as_mut().context("there is no journal")?;
        journal.retract(place, octets).with_context(|| self.journal_of(apex).display().to_string())
    }

    /// Keeps a version as a whole, with which a chain of changes begins. Returns its place.
    ///
    /// # Errors
    /// If it is not kept. What was kept before may be there still, and is not what is served.
    pub fn keep(&self, version: &KeepableVersion<'_>) -> anyhow::Result<Place> {
        let apex = version.zone.apex();
        let files = self.files_of(apex);
        let chain = {
            let mut files = files.hold();
            *files = KeptFiles { chain: files.chain + 1, ..KeptFiles::default() };
            files.chain
        };
        // It is of no use any more, and takes room.
        self.compiled_of(apex).remove();
        let written = version.write(&self.base_of(apex), None)?;
        let mut files = files.hold();
        if files.chain == chain {
            files.base = Some(written);
            files.uncompiled = to_be_compiled(version.zone);
        }
        // Its chain is another one: it is not read, and is in nobody's way.
        let _ = std::fs::remove_file(self.journal_of(apex));
        Ok(written.place)
    }

    /// Keeps a version as a whole, if it is one to be kept: one that sealdns signed, one that came from a primary, or one
    /// that is not small. Of others what
    /// was kept before is forgotten, too if they cannot be kept: it is not what is served, and their files say what is.
    ///
    /// # Errors
    /// As [`KeptZones::keep`].
    pub fn keep_or_forget(&self, version: &KeepableVersion<'_>) -> anyhow::Result<Option<Place>> {
        let zone = version.zone;
        if version.facts.origin.is_some() || version.facts.from_primary.is_some() {
            return self.keep(version).map(Some);
        }
        if zone.octets() < KEPT_FROM {
            return self.forget(zone.apex()).map(|()| None);
        }
        let kept = self.keep(version);
        if kept.is_err() {
            // The first error is the one to be told.
            let _ = self.forget(zone.apex());
        }
        kept.map(Some)
    }

    /// Whether the journal of a zone is so long that [`KeptZones::rebase`] should be called.
    pub fn is_rebase_due(&self, apex: &Name) -> bool {
        let files = self.zones.hold().get(apex).cloned();
        files.is_some_and(|files| files.hold().is_rebase_due())
    }

    /// Writes a version as another base: that at a place of the journal, of which is left out what only led to it but for what
    /// leads back; or without a place one with which a chain of changes begins. Changes may be recorded meanwhile: these are
    /// held up for no longer than the journal takes to be trimmed. Returns its place; `None` if another version was kept
    /// as a whole meanwhile.
    ///
    /// # Errors
    /// If the disk refuses. What is kept is what it was.
    pub fn rebase(
        &self,
        version: &KeepableVersion<'_>,
        place: Option<Place>,
    ) -> anyhow::Result<Option<Place>> {
        let apex = version.zone.apex();
        let files = self.files_of(apex);
        let chain = files.hold().chain;
        let base = self.base_of(apex);
        let successor = base.successor();
        let written = version.write(&successor, place);
        let mut files = files.hold();
        let is_outdated = files.chain != chain || place.is_some() && files.base.is_none();
        if is_outdated || written.is_err() {
            let _ = successor.remove();
            return written.map(|_| None);
        }
        let written = written?;
        base.succeed_by(&successor).with_context(|| base.path().display().to_string())?;
        if place.is_none() {
            *files = KeptFiles { chain: chain + 1, ..KeptFiles::default() };
            let _ = std::fs::remove_file(self.journal_of(apex));
        }
        files.base = Some(written);
        files.uncompiled = to_be_compiled(version.zone);
        self.compiled_of(apex).remove();
        files.trim().with_context(|| self.journal_of(apex).display().to_string())?;
        Ok(Some(written.place))
    }

    /// Keeps nothing of a zone any more.
    ///
    /// # Errors
    /// If what is kept cannot be removed.
    pub fn forget(&self, apex: &Name) -> anyhow::Result<()> {
        let files = self.files_of(apex);
        let mut files = files.hold();
        *files = KeptFiles { chain: files.chain + 1, ..KeptFiles::default() };
        self.compiled_of(apex).remove();
        let base = self.base_of(apex);
        base.remove().with_context(|| base.path().display().to_string())?;
        // Without its base it leads on from nothing.
        let _ = std::fs::remove_file(self.journal_of(apex));
        Ok(())
    }

    //--- What is compiled

    /// What a base was compiled to, if that is kept, was made with this key of the names' hash, and holds at the time `now`,
    /// in seconds since 1970 truncated to 32 bits. What is damaged is told in the log.
    pub fn compiled(
        &self,
        apex: &Name,
        base: &Digest,
        hash_key: u64,
        now: u32,
    ) -> Option<ApartZone> {
        let identity = compiled::identity(base, hash_key);
        match self.compiled_of(apex).read(apex, &identity, now, &self.known_digests) {
            Ok(compiled) => {
                if compiled.is_some() {
                    let files = self.files_of(apex);
                    files.hold().uncompiled = None;
                }
                compiled
            }
            Err(error) => {
                tracing::warn!(zone = %apex, "what was compiled cannot be read, and is compiled again: {error:#}");
                None
            }
        }
    }

    /// Whether [`KeptZones::uncompiled`] is a version.
    pub fn is_uncompiled(&self, apex: &Name) -> bool {
        let files = self.zones.hold().get(apex).cloned();
        files.is_some_and(|files| files.hold().uncompiled.is_some())
    }

    /// The base of a zone that is to be compiled for the next start, if it is. It is not told again.
    pub fn uncompiled(&self, apex: &Name) -> Option<KeptBase> {
        let files = self.zones.hold().get(apex).cloned()?;
        let mut files = files.hold();
        let (zone, base) = (files.uncompiled.take()?, files.base.as_ref()?);
        Some(KeptBase { zone, digest: base.digest })
    }

    /// Keeps what a base was compiled to with this key of the names' hash, and which holds until then. What a disk refuses
    /// is told once.
    pub fn keep_compiled(
        &self,
        base: &KeptBase,
        compiled: &ApartZone,
        hash_key: u64,
        holds_until: Option<u32>,
    ) {
        let apex = base.zone.apex();
        let identity = compiled::identity(&base.digest, hash_key);
        let files = self.files_of(apex);
        // The next base and the journal must have room.
        let spare =
            files.hold().base.as_ref().map_or(0, |base| base.octets + limits_of(base).octets);
        let file = self.compiled_of(apex);
        let written = file.write(compiled, &identity, holds_until, spare);
        let files = files.hold();
        if files.base.as_ref().is_none_or(|now| now.digest != base.digest) {
            // Another base took its place meanwhile.
            file.remove();
        }
        match written {
            Ok(()) => self.has_told.store(false, Relaxed),
            Err(error) if self.has_told.swap(true, Relaxed) => {
                tracing::debug!(zone = %apex, "{}: {error}", file.path().display());
            }
            Err(error) => tracing::warn!(
                zone = %apex,
                "what is compiled is not kept, and will be compiled again at the next start: {}: {error}",
                file.path().display()
            ),
        }
    }

    //--- What was before

    /// The changes that led to the version at a place.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn history(&self, apex: &Name, place: &Place) -> Result<History, HistoryError> {
        match Contents::open(&self.journal_of(apex), apex) {
            Ok(contents) => Ok(History::new(contents, *place)),
            Err(JournalError::Read(error)) if error.kind() == ErrorKind::NotFound => {
                Ok(History::empty())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A version that is kept as a base, if it is so large that it is compiled apart.
fn to_be_compiled(zone: &Version) -> Option<Version> {
    (zone.owner_count() >= APART_FROM).then(|| zone.clone())
}

/// The version to which a journal leads on from the base, and the files as they are then.
fn led_on(
    mut kept: KeptVersion,
    mut contents: Contents,
    base: Written,
    path: &Path,
) -> (KeptVersion, KeptFiles) {
    let without = KeptFiles { base: Some(base), ..KeptFiles::default() };
    let warn_of_cut = |contents: &Contents| {
        if let Some(cut) = contents.cut() {
            let (file, apex, frame) = (path.display(), contents.apex(), cut.sequence);
            tracing::warn!(
                zone = %apex,
                "{file}: frame {frame}, at octet {}: {}; what lies before it is used", cut.at, cut.reason
            );
        }
    };
    let Some(frames) = contents.after(&base.place) else {
        // That of an older chain, which was not removed; or one of which the way to the base was lost.
        warn_of_cut(&contents);
        return (kept, without);
    };
    let mut unfit = None;
    for frame in frames {
        match applied(&kept, &frame, contents.apex()) {
            Ok(next) => kept = next,
            Err(error) => {
                unfit = Some(error);
                break;
            }
        }
    }
    if let Some(error) = unfit {
        contents.cut_behind(&kept.place);
        tracing::debug!(zone = %contents.apex(), "{}: {error:#}", path.display());
    }
    warn_of_cut(&contents);
    let journal = Journal::behind(path, &contents, limits_of(&base));
    let led = contents.octets_to(&base.place).unwrap_or_default();
    (kept, KeptFiles { journal: Some(Box::new(journal)), led, ..without })
}

/// The version that a frame makes of another one.
fn applied(kept: &KeptVersion, frame: &Frame<'_>, apex: &Name) -> anyhow::Result<KeptVersion> {
    let (change, beside) = frame.differences(apex)?;
    let mut rest = frame.facts;
    let facts = KeptFacts::read(&mut rest)?;
    let mut zone = kept.zone.apply(&change, Rules::Strict)?;
    if let Some(beside) = &beside {
        let any_answers = kept.zone.any_answers().context("nothing stands beside the zone")?;
        zone = zone.with_any_answers(any_answers.apply(beside, Rules::Strict)?);
    }
    let times = kept.times.as_ref().filter(|_| facts.report.is_some());
    let times = times.and_then(|times| times.after(std::iter::once(&change).chain(&beside)));
    let (files, base) = (kept.files.clone(), kept.base.clone());
    Ok(KeptVersion { zone, files, base, facts, times, place: frame.place() })
}

/// How large the journal of a zone may become.
fn limits_of(base: &Written) -> Limits {
    let [least, most] = LIMITS;
    Limits { octets: base.octets.saturating_mul(4).clamp(least, most) }
}

impl KeepableVersion<'_> {
    fn write(&self, file: &BaseFile, place: Option<Place>) -> anyhow::Result<Written> {
        file.write(self.zone, (self.facts, self.times), place)
    }
}

impl KeptVersion {
    /// What was found when it was verified, if that is known and holds at the time `now`, in seconds since 1970 truncated to
    /// 32 bits. The digest of its files tells that the signatures are those that were verified; the report, until when
    /// they hold.
    pub fn verification(&self, now: u32) -> Option<Verification> {
        let KeptReport { report, whole_at } = self.facts.report?;
        let holds = !is_before(now, report.verified_at) && is_before(now, report.expiration);
        let times = self.times.clone().filter(|_| holds)?;
        Some(Verification::known(report, whole_at, times))
    }

    /// The same, or else what is found now; `None` if a validator would refuse it.
    ///
    /// # Errors
    /// If it exceeds 4 GiB.
    pub fn verify_again(&self, now: u32) -> Result<Option<Verification>, ZoneError> {
        if let Some(known) = self.verification(now) {
            return Ok(Some(known));
        }
        let flat = self.zone.flat()?;
        let before = self.facts.is_verified.then_some(&self.zone);
        Ok(Verification::of_whole(&flat, before, now).ok())
    }
}

impl KeptFiles {
    fn record(
        &mut self,
        path: &Path,
        apex: &Name,
        change: &RecordedChange<'_>,
    ) -> Result<Place, JournalError> {
        let base = self.base.as_ref().ok_or(JournalError::OtherPlace)?;
        let journal = match &mut self.journal {
            Some(journal) => journal,
            None if base.place != change.from => return Err(JournalError::OtherPlace),
            None => {
                let journal = Journal::create(path, apex, base.place, limits_of(base))?;
                self.led = journal.octets();
                self.journal.insert(Box::new(journal))
            }
        };
        if *journal.last() != change.from {
            return Err(JournalError::OtherPlace);
        }
        if journal.has_failed() {
            self.led = journal.trim(&base.place)?;
        }
        let before = (*journal.last(), journal.octets());
        let mut facts = Vec::new();
        change.facts.write(&mut facts).map_err(JournalError::Write)?;
        let RecordedChange { time, kind, zone, any_answers, .. } = *change;
        journal.append(&[Entry { time, kind, zone, any_answers, facts: &facts }])?;
        journal.sync()?;
        self.before = Some(before);
        Ok(*journal.last())
    }

    fn is_rebase_due(&self) -> bool {
        let Some((journal, base)) = self.journal.as_ref().zip(self.base.as_ref()) else {
            return false;
        };
        let forward = journal.octets() - self.led;
        journal.is_trim_due() || forward > (base.octets / JOURNAL_PART).max(FEW_OCTETS)
    }

    /// Leaves out of the journal what only led to the base.
    fn trim(&mut self) -> Result<(), JournalError> {
        if let (Some(journal), Some(base)) = (&mut self.journal, &self.base) {
            self.led = journal.trim(&base.place)?;
            self.before = None;
        }
        Ok(())
    }
}
