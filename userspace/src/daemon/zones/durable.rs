//! What is served made durable: a change before it is published, and what is made as a whole before that or after.
//!
//! | what | when it is on the disk |
//! |---|---|
//! | a change of records | before it is published; if it cannot be, it is refused |
//! | signatures made anew, as a difference | before they are published; if they cannot be, they are published all the same |
//! | the same for all of a zone: other keys, another policy | after they are published, before the event has ended |
//! | the first version that is served since the daemon was started | as those |
//!
//! A zone that somebody else signed, or nobody, is durable in its file: what cannot be kept of it is published, and
//! what was kept before is forgotten.

use super::list::{Turn, Zones};
use crate::config::{self, CatalogRole};
use crate::daemon::kept::{
    KEPT_FROM, KeepableVersion, KeptFacts, KeptZones, RecordedChange, settings,
};
use crate::daemon::life::Outcome;
use crate::daemon::state::{LoadedZone, ZoneState};
use crate::dnssec::origin::Origin;
use crate::dnssec::times::SignatureTimes;
use crate::journal::{FrameKind, JournalError, Place};
use crate::zone::Version;
use crate::zone::difference::Difference;

/// A change that is not made since it could not be made durable.
#[derive(Debug, thiserror::Error)]
#[error("the change is refused, since it could not be made durable: {0:#}")]
pub(super) struct NotDurable(anyhow::Error);

/// How one version follows another.
pub(super) struct Succession<'a> {
    /// The version that is served, and where it stands in what is kept.
    pub served: Option<(&'a Version, Option<Place>)>,
    /// The next one.
    pub next: KeepableVersion<'a>,
    /// What changes of the zone, if that is known.
    pub change: Option<&'a Difference>,
    /// What made it.
    pub kind: FrameKind,
}

/// How far a version that is to be published is durable.
#[derive(Debug)]
pub(super) enum Durability {
    /// It is kept, at this place.
    Kept(Place),
    /// It is to be kept once it is published.
    AfterPublishing,
    /// It is not.
    Unkept(anyhow::Error),
}

/// What made a version of which this is the origin follow one with that origin; or whether it has come from a primary.
pub(super) fn kind_of(
    is_transferred: bool,
    next: Option<&Origin>,
    served: Option<&Origin>,
) -> FrameKind {
    match (next, served) {
        _ if is_transferred => FrameKind::Transfer,
        (Some(next), Some(served)) if next.content == served.content => FrameKind::Signing,
        _ => FrameKind::File,
    }
}

/// Whether what is served is kept however small it is: it is in no file, or it is a catalog, whose members are served at
/// the next start even if its file is broken then, or whose serial must not go back.
fn is_always_kept(section: &config::Zone) -> bool {
    section.is_updated() || section.catalog != CatalogRole::None
}

impl Zones {
    /// Makes a version durable that is to be published, where that comes first.
    ///
    /// # Errors
    /// [`NotDurable`] if it is not to be published therefore.
    pub(super) fn make_durable(
        &self,
        section: &config::Zone,
        step: &Succession<'_>,
    ) -> Result<Durability, NotDurable> {
        let zone = step.next.zone;
        let is_ours = step.next.facts.origin.is_some();
        let kept_zones = self.prepare.kept_zones(section);
        // It is in no file but these.
        let is_alone = step.next.facts.from_primary.is_some() || is_always_kept(section);
        let is_kept = is_ours || is_alone || zone.octets() >= KEPT_FROM;
        let (Some(kept_zones), Some(served), true) = (kept_zones, step.served, is_kept) else {
            return Ok(self.postponed(section, zone));
        };
        let kept = match (served.1, beside(served.0, step)) {
            (Some(from), Some((change, any_answers))) => {
                self.record(kept_zones, from, step, (change, any_answers.as_ref()))
            }
            _ if step.kind != FrameKind::Signing => kept_zones.keep(&step.next),
            (None, Some(_)) => Err(anyhow::anyhow!("the version before it could not be kept")),
            _ => return Ok(self.postponed(section, zone)),
        };
        let error = match kept {
            Ok(place) => return Ok(Durability::Kept(place)),
            Err(error) => error,
        };
        // Else the file has its records.
        let is_lost = is_ours || is_alone || step.kind == FrameKind::Rollback;
        if is_lost && step.kind != FrameKind::Signing {
            return Err(NotDurable(error));
        }
        if !is_ours && !is_alone {
            // The first error is the one to be told.
            let _ = kept_zones.forget(zone.apex());
        }
        let _ = self.postponed(section, zone);
        Ok(Durability::Unkept(error))
    }

    /// A version that is published before it is kept: at least its serial is known at the next start.
    fn postponed(&self, section: &config::Zone, zone: &Version) -> Durability {
        if let Err(error) = self.prepare.note_serial(section, zone.serial(), true) {
            tracing::debug!(zone = %section.name, "noting its serial: {error:#}");
        }
        Durability::AfterPublishing
    }

    fn record(
        &self,
        kept_zones: &KeptZones,
        from: Place,
        step: &Succession<'_>,
        (zone, any_answers): (&Difference, Option<&Difference>),
    ) -> anyhow::Result<Place> {
        let (kind, facts, time) = (step.kind, step.next.facts, self.clock.wall().seconds());
        let change = RecordedChange { from, time, kind, zone, any_answers, facts };
        let recorded = kept_zones.record(step.next.zone.apex(), &change);
        match recorded {
            // A change that a journal has no room for, or whose version before is kept elsewhere, is one as a whole.
            Err(error) if is_for_no_journal(&error) => kept_zones.keep(&step.next),
            recorded => recorded,
        }
    }

    /// Takes back what was made durable and could not be published.
    pub(super) fn take_back(&self, turn: &Turn, section: &config::Zone, durability: &Durability) {
        if !matches!(durability, Durability::Kept(_)) {
            return;
        }
        let mut states = self.states.hold();
        let Some(loaded) = turn.state(&mut states).and_then(|state| state.loaded.as_ref()) else {
            return;
        };
        let served = loaded.kept_at;
        drop(states);
        let taken_back = match (self.prepare.kept_zones(section), &served) {
            (Some(kept_zones), Some(from)) => kept_zones.take_back(&section.name, from),
            _ => Err(anyhow::anyhow!("it was kept as a whole")),
        };
        let Err(error) = taken_back else { return };
        let message = format!("what could not be published is kept in its place: {error:#}");
        tracing::warn!(zone = %section.name, "{message}");
        if let Some(state) = turn.state(&mut self.states.hold()) {
            state.loaded.iter_mut().for_each(|loaded| loaded.kept_at = None);
            state.unkept = Some(message);
        }
    }

    /// Makes a version durable that was published, where that was put off. Returns where it stands, and why it is not kept
    /// if it should be.
    pub(super) fn finish_durable(
        &self,
        section: &config::Zone,
        version: &KeepableVersion<'_>,
        durability: Durability,
    ) -> (Option<Place>, Option<anyhow::Error>) {
        let Some(kept_zones) = self.prepare.kept_zones(section) else { return (None, None) };
        match durability {
            Durability::Kept(place) => {
                // What is kept says it too, unless it is damaged.
                let noted = self.prepare.note_serial(section, version.zone.serial(), false);
                if let Err(error) = noted {
                    tracing::debug!(zone = %section.name, "noting its serial: {error:#}");
                }
                (Some(place), None)
            }
            Durability::Unkept(error) => (None, Some(error)),
            Durability::AfterPublishing if is_always_kept(section) => {
                match kept_zones.keep(version) {
                    Ok(place) => (Some(place), None),
                    Err(error) => (None, Some(error)),
                }
            }
            Durability::AfterPublishing => match kept_zones.keep_or_forget(version) {
                Ok(place) => (place, None),
                Err(error) => (None, Some(error)),
            },
        }
    }

    //--- What is known of a version changes, and nothing of its records

    /// Keeps for the next start what is known now of what is served; `is_another`: of which other RRsets are withheld.
    pub(super) fn keep_served(&self, turn: &Turn, is_another: bool) {
        let Some(snapshot) = self.snapshot(turn) else { return };
        let Some(kept_zones) = self.prepare.kept_zones(&snapshot.section) else { return };
        let version = snapshot.version();
        let nothing = nothing_of(version.zone);
        let (place, error) = match snapshot.kept_at.filter(|_| !is_another) {
            Some(from) => {
                let step = Succession {
                    served: Some((version.zone, Some(from))),
                    next: version,
                    change: Some(&nothing),
                    kind: FrameKind::Signing,
                };
                match self.record(kept_zones, from, &step, (&nothing, None)) {
                    Ok(place) => (Some(place), None),
                    // What was known before is known at the next start.
                    Err(error) => (Some(from), Some(error)),
                }
            }
            None => self.finish_durable(&snapshot.section, &version, Durability::AfterPublishing),
        };
        if let Some(error) = &error {
            tracing::warn!(zone = %turn.name, "what is known of it could not be saved: {error:#}");
        }
        if let Some(state) = turn.state(&mut self.states.hold()) {
            if let Some(loaded) = &mut state.loaded {
                loaded.kept_at = place;
            }
            if place.is_none() || error.is_none() {
                state.unkept = error.map(|error| format!("{error:#}"));
            }
        }
    }

    /// Keeps nothing of a zone for the next start: what was served must not be any more.
    pub(super) fn forget(&self, section: &config::Zone) {
        let forgotten = self.prepare.kept_zones(section).map(|kept| kept.forget(&section.name));
        if let Some(Err(error)) = forgotten {
            tracing::error!(zone = %section.name, "what was served is kept for the next start: {error:#}");
        }
    }

    //--- In the background

    /// Whether so much changed since a zone was written as a whole that this is to be done again.
    pub(super) fn is_journal_long(&self, turn: &Turn) -> bool {
        let section = turn.state(&mut self.states.hold()).map(|state| state.section.clone());
        let kept_zones = section.as_ref().and_then(|section| self.prepare.kept_zones(section));
        kept_zones.is_some_and(|kept_zones| kept_zones.is_rebase_due(&turn.name))
    }

    /// Writes what is served as a whole, from which the journal leads on, while changes go on.
    pub(super) fn keep_behind(&self, turn: &Turn) -> Outcome {
        let Some(snapshot) = self.snapshot(turn) else { return Outcome::Outdated };
        let Some(kept_zones) = self.prepare.kept_zones(&snapshot.section) else {
            return Outcome::Outdated;
        };
        let written = kept_zones.rebase(&snapshot.version(), snapshot.kept_at);
        let mut states = self.states.hold();
        let Some(state) = turn.state(&mut states) else { return Outcome::Outdated };
        match written {
            Err(error) => {
                let message = format!("{error:#}");
                tracing::warn!(zone = %turn.name, "writing what is served for the next start: {message}");
                if snapshot.kept_at.is_none() {
                    state.unkept = Some(message);
                }
                Outcome::Failed { begins_at: None }
            }
            Ok(None) => Outcome::Outdated,
            Ok(Some(place)) => {
                if snapshot.kept_at.is_some() {
                    return Outcome::Kept;
                }
                let loaded = state.loaded.as_mut();
                let Some(loaded) = loaded.filter(|loaded| loaded.zone.is_same(&snapshot.zone))
                else {
                    // It changed meanwhile, and what changed is kept nowhere.
                    return Outcome::Outdated;
                };
                loaded.kept_at = Some(place);
                state.unkept = None;
                Outcome::Kept
            }
        }
    }

    fn snapshot(&self, turn: &Turn) -> Option<Snapshot> {
        let mut states = self.states.hold();
        let ZoneState { section, policy, loaded, life, .. } = turn.state(&mut states)?;
        let loaded: &LoadedZone = loaded.as_ref()?;
        let verification = loaded.verification.as_ref();
        Some(Snapshot {
            facts: KeptFacts {
                origin: loaded.origin.clone(),
                stamps: loaded.stamps.clone(),
                expiration: loaded.expiration,
                begins_at: life.begins_at(),
                from_primary: loaded.from_primary,
                ..KeptFacts::new(settings(section, policy), verification)
            },
            times: verification.map(|known| known.times.clone()),
            section: section.clone(),
            zone: loaded.zone.clone(),
            kept_at: loaded.kept_at,
        })
    }
}

/// What is served at a moment, and what is known of it.
struct Snapshot {
    section: config::Zone,
    zone: Version,
    facts: KeptFacts,
    times: Option<SignatureTimes>,
    kept_at: Option<Place>,
}

impl Snapshot {
    fn version(&self) -> KeepableVersion<'_> {
        KeepableVersion { zone: &self.zone, facts: &self.facts, times: self.times.as_ref() }
    }
}

/// What changes of a zone, and of what stands beside it; `None` if that is no difference.
fn beside<'a>(
    served: &Version,
    step: &Succession<'a>,
) -> Option<(&'a Difference, Option<Difference>)> {
    let change = step.change?;
    match (served.any_answers(), step.next.zone.any_answers()) {
        (None, None) => Some((change, None)),
        (Some(old), Some(new)) => Some((change, Some(Difference::between_versions(old, new)))),
        _ => None,
    }
}

/// The difference of a version and itself.
fn nothing_of(version: &Version) -> Difference {
    let serial = version.serial();
    let none = || std::iter::empty();
    Difference::of_records(version.apex(), [serial, serial], none(), none())
}

fn is_for_no_journal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(JournalError::TooLarge { .. } | JournalError::OtherPlace))
}
