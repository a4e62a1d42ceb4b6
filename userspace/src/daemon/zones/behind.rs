//! Zones verified while they are served.

use std::collections::BTreeSet;

use super::list::{Turn, Zones};
use crate::config::Dnssec;
use crate::daemon::life::Outcome;
use crate::daemon::signing::rejection;
use crate::daemon::state::Found;
use crate::daemon::verification::{Withheld, withheld};
use crate::daemon::verified::Verification;
use crate::datapath::seam::Published;
use crate::dnssec::verify::Fault;
use crate::zone::{Name, Version, ZoneError};

impl Zones {
    /// Verifies what is served of a zone. Others may change it meanwhile: what is found takes effect in a turn of its own,
    /// by [`Zones::heed_found`].
    pub(super) fn look_behind(&self, turn: &Turn) -> Outcome {
        let looked_at = {
            let mut states = self.states.hold();
            let loaded = turn.state(&mut states).and_then(|state| state.loaded.as_ref());
            loaded.map(|loaded| {
                let line = loaded.verification.as_ref().map(Verification::line);
                (loaded.zone.clone(), loaded.verified_before.clone(), line)
            })
        };
        let Some((zone, before, line)) = looked_at else { return Outcome::Outdated };
        let Some(verified) = self.verify_whole(&zone, before.as_ref()) else {
            return Outcome::Failed { begins_at: None };
        };
        match turn.state(&mut self.states.hold()) {
            Some(state) => state.work.found = Some(Found { zone, line, verified }),
            None => return Outcome::Outdated,
        }
        Outcome::LookedAt
    }

    /// What all of a version is found to be; `None` if it cannot be looked at.
    fn verify_whole(
        &self,
        zone: &Version,
        before: Option<&Version>,
    ) -> Option<Result<Verification, Vec<Fault>>> {
        let now = self.clock.wall().signature_time();
        match zone.flat() {
            Ok(flat) => Some(Verification::of_whole(&flat, before, now)),
            Err(error) => {
                tracing::error!(zone = %zone.apex(), "verifying: {error}");
                None
            }
        }
    }

    /// Has what was found take effect: what is wrong is no longer sent.
    pub(super) fn heed_found(&self, turn: &Turn) -> Outcome {
        let (found, since) = {
            let mut states = self.states.hold();
            let Some(state) = turn.state(&mut states) else { return Outcome::Outdated };
            let (Some(found), Some(loaded)) = (state.work.found.take(), &mut state.loaded) else {
                return Outcome::Outdated;
            };
            let since = match loaded.zone.is_same(&found.zone) {
                true => {
                    loaded.verified_before = None;
                    None
                }
                false if found.is_of(loaded) => Some(loaded.zone.clone()),
                false => return Outcome::Outdated,
            };
            (found, since)
        };
        let Some(zone) = since else { return self.heed(turn, &found.zone, found.verified) };
        // It changed meanwhile, and each change was verified by itself.
        match found.verified {
            Ok(verification) => self.note_whole(turn, verification.whole_at),
            // Whether that is wrong still is known of what is served now alone, which nobody changes during this turn.
            Err(_) => match self.verify_whole(&zone, None) {
                Some(verified) => self.heed(turn, &zone, verified),
                None => Outcome::Failed { begins_at: None },
            },
        }
    }

    fn heed(
        &self,
        turn: &Turn,
        zone: &Version,
        verified: Result<Verification, Vec<Fault>>,
    ) -> Outcome {
        match verified {
            Ok(verification) => self.accept(turn, zone, verification),
            Err(faults) => self.withhold(turn, zone, &faults),
        }
    }

    /// A version of which what is served was made by what changed was verified as a whole.
    fn note_whole(&self, turn: &Turn, whole_at: u32) -> Outcome {
        {
            let mut states = self.states.hold();
            let loaded = turn.state(&mut states).and_then(|state| state.loaded.as_mut());
            let Some(known) = loaded.and_then(|loaded| loaded.verification.as_mut()) else {
                return Outcome::Outdated;
            };
            known.whole_at = whole_at;
        }
        self.keep_served(turn, false);
        Outcome::Verified
    }

    /// What is served was verified.
    fn accept(&self, turn: &Turn, zone: &Version, verification: Verification) -> Outcome {
        let name = &turn.name;
        if zone.withheld().next().is_some() {
            tracing::info!(zone = %name, "a validator would accept the zone now: all of it is sent again");
            return self.replace_served(turn, zone.withholding(BTreeSet::new()), Ok(verification));
        }
        let is_news = {
            let mut states = self.states.hold();
            let Some(loaded) = states.get_mut(name).and_then(|state| state.loaded.as_mut()) else {
                return Outcome::Outdated;
            };
            loaded.expiration = Some(verification.report.expiration);
            loaded.verification.replace(verification).is_none()
        };
        if is_news {
            tracing::info!(zone = %name, serial = zone.serial().0, "verified while it is served");
        }
        self.keep_served(turn, false);
        Outcome::Verified
    }

    /// What is served would be refused by a validator.
    fn withhold(&self, turn: &Turn, zone: &Version, faults: &[Fault]) -> Outcome {
        let name = &turn.name;
        let text = rejection(faults).to_string();
        match withheld(zone, faults) {
            Withheld::Rrsets(rrsets) if zone.withheld().eq(&rrsets) => Outcome::Verified,
            Withheld::Rrsets(rrsets) => {
                tracing::error!("zone {name}: RRsets are no longer sent: {text}");
                self.replace_served(turn, zone.withholding(rrsets), Err(text))
            }
            Withheld::All => {
                tracing::error!("zone {name} is no longer served: {text}");
                if let Err(error) = self.plane.hold().remove(name) {
                    tracing::error!(zone = %name, "removing the zone from the data plane: {error:#}");
                }
                let section = self.states.hold().get_mut(name).map(|state| {
                    state.loaded.iter_mut().for_each(|loaded| loaded.verification = None);
                    state.section.clone()
                });
                match section {
                    // What it was made of is in there: it is signed again of that if there is nothing else.
                    Some(section) if section.dnssec == Dnssec::Sign => self.keep_served(turn, true),
                    Some(section) => self.forget(&section),
                    None => {}
                }
                if let Some(state) = self.states.hold().get_mut(name) {
                    state.loaded = None;
                    state.error = Some(text);
                }
                Outcome::Withdrawn
            }
        }
    }

    /// Publishes the records that are served, with others withheld: none if they were verified, else those of which it is
    /// said what is wrong.
    fn replace_served(
        &self,
        turn: &Turn,
        zone: Result<Version, ZoneError>,
        verified: Result<Verification, String>,
    ) -> Outcome {
        let published = zone.map_err(anyhow::Error::from).and_then(|zone| {
            let published = self.publish(turn, &zone, None)?;
            Ok((zone, published))
        });
        let outcome = self.note_replaced(&turn.name, published, verified);
        self.keep_served(turn, true);
        outcome
    }

    fn note_replaced(
        &self,
        name: &Name,
        published: anyhow::Result<(Version, Published)>,
        verified: Result<Verification, String>,
    ) -> Outcome {
        let mut states = self.states.hold();
        let Some(state) = states.get_mut(name) else { return Outcome::Outdated };
        let Some(loaded) = &mut state.loaded else { return Outcome::Outdated };
        match published {
            Ok((zone, published)) => {
                (loaded.zone, loaded.published) = (zone, published);
                (loaded.verification, loaded.withheld) = match verified {
                    Ok(verification) => (Some(verification), None),
                    Err(withheld) => (None, Some(withheld)),
                };
                Outcome::Verified
            }
            Err(error) => {
                let message = format!("{error:#}");
                tracing::error!("zone {name}: publishing what a validator accepts: {message}");
                state.error = verified.err().or(Some(message));
                // Soon again: what is wrong must not be sent.
                Outcome::Failed { begins_at: None }
            }
        }
    }
}
