//! Zones verified while they are served.

use std::collections::BTreeSet;

use super::change::ServedVersion;
use super::list::{Turn, Zones};
use crate::config::Dnssec;
use crate::daemon::life::Outcome;
use crate::daemon::signing::rejection;
use crate::daemon::state::{Found, KeepableVersion, LoadedZone};
use crate::daemon::verification::{Withheld, withheld};
use crate::datapath::seam::Published;
use crate::dnssec::verify::{Fault, verify_again};
use crate::zone::{Name, Version, ZoneError};

impl Zones {
    /// Verifies what is served of a zone. Others may change it meanwhile: what is found takes effect in a turn of its own,
    /// by [`Zones::heed_found`].
    pub(super) fn look_behind(&self, turn: &Turn) -> Outcome {
        let looked_at = {
            let mut states = self.states.hold();
            let loaded = turn.state(&mut states).and_then(|state| state.loaded.as_ref());
            loaded.map(|loaded| (loaded.zone.clone(), loaded.verified_before.clone()))
        };
        let Some((zone, before)) = looked_at else { return Outcome::Outdated };
        let now = self.clock.wall().signature_time();
        let verified = match zone.flat() {
            Ok(flat) => verify_again(&flat, before.as_ref(), now),
            Err(error) => {
                tracing::error!(zone = %turn.name, "verifying: {error}");
                return Outcome::Failed { begins_at: None };
            }
        };
        match turn.state(&mut self.states.hold()) {
            Some(state) => state.work.found = Some(Found { zone, verified }),
            None => return Outcome::Outdated,
        }
        Outcome::LookedAt
    }

    /// Has what was found take effect: what is wrong is no longer sent.
    pub(super) fn heed_found(&self, turn: &Turn) -> Outcome {
        let found = {
            let mut states = self.states.hold();
            let Some(state) = turn.state(&mut states) else { return Outcome::Outdated };
            let Some(found) = state.work.found.take() else { return Outcome::Outdated };
            let is_same = |loaded: &&mut LoadedZone| loaded.zone.is_same(&found.zone);
            let Some(loaded) = state.loaded.as_mut().filter(is_same) else {
                return Outcome::Outdated;
            };
            loaded.verified_before = None;
            found
        };
        match found.verified {
            Ok(report) => self.accept(&turn.name, &found.zone, report.expiration),
            Err(faults) => self.withhold(&turn.name, &found.zone, &faults),
        }
    }

    /// What is served was verified.
    fn accept(&self, name: &Name, zone: &Version, expiration: u32) -> Outcome {
        if zone.withheld().next().is_some() {
            tracing::info!(zone = %name, "a validator would accept the zone now: all of it is sent again");
            return self.replace_served(name, zone.withholding(BTreeSet::new()), None);
        }
        let is_news = {
            let mut states = self.states.hold();
            let Some(loaded) = states.get_mut(name).and_then(|state| state.loaded.as_mut()) else {
                return Outcome::Outdated;
            };
            loaded.expiration = Some(expiration);
            !std::mem::replace(&mut loaded.is_verified, true)
        };
        if is_news {
            tracing::info!(zone = %name, serial = zone.serial().0, "verified while it is served");
            self.keep_served(name);
        }
        Outcome::Verified
    }

    /// Keeps for the next start what is known now of what is served.
    fn keep_served(&self, name: &Name) {
        let served = {
            let states = self.states.hold();
            states.get(name).and_then(|state| {
                let served = ServedVersion::of(state.loaded.as_ref()?);
                let is_verified = state.loaded.as_ref()?.is_verified;
                Some((state.section.clone(), state.policy.clone(), served, is_verified))
            })
        };
        let Some((section, policy, served, is_verified)) = served else { return };
        let ServedVersion { zone, origin, stamps, .. } = &served;
        let version = KeepableVersion { zone, origin: origin.as_ref(), is_verified, stamps };
        let kept = self.prepare.keep(&section, &policy, &version);
        if let (Err(error), Some(state)) = (kept, self.states.hold().get_mut(name)) {
            state.unkept = Some(format!("{error:#}"));
        }
    }

    /// What is served would be refused by a validator.
    fn withhold(&self, name: &Name, zone: &Version, faults: &[Fault]) -> Outcome {
        let text = rejection(faults).to_string();
        match withheld(zone, faults) {
            Withheld::Rrsets(rrsets) if zone.withheld().eq(&rrsets) => Outcome::Verified,
            Withheld::Rrsets(rrsets) => {
                tracing::error!("zone {name}: RRsets are no longer sent: {text}");
                self.replace_served(name, zone.withholding(rrsets), Some(text))
            }
            Withheld::All => {
                tracing::error!("zone {name} is no longer served: {text}");
                if let Err(error) = self.plane.hold().remove(name) {
                    tracing::error!(zone = %name, "removing the zone from the data plane: {error:#}");
                }
                let section = self.states.hold().get_mut(name).map(|state| {
                    state.loaded.iter_mut().for_each(|loaded| loaded.is_verified = false);
                    state.section.clone()
                });
                match section {
                    // What it was made of is in there: it is signed again of that if there is nothing else.
                    Some(section) if section.dnssec == Dnssec::Sign => self.keep_served(name),
                    Some(section) => self.prepare.forget(&section),
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

    /// Publishes the records that are served, with others withheld.
    fn replace_served(
        &self,
        name: &Name,
        zone: Result<Version, ZoneError>,
        withheld: Option<String>,
    ) -> Outcome {
        let published = zone.map_err(anyhow::Error::from).and_then(|zone| {
            let published = self.plane.hold().publish(&zone, None)?;
            Ok((zone, published))
        });
        let outcome = self.note_replaced(name, published, withheld);
        self.keep_served(name);
        outcome
    }

    fn note_replaced(
        &self,
        name: &Name,
        published: anyhow::Result<(Version, Published)>,
        withheld: Option<String>,
    ) -> Outcome {
        let mut states = self.states.hold();
        let Some(state) = states.get_mut(name) else { return Outcome::Outdated };
        let Some(loaded) = &mut state.loaded else { return Outcome::Outdated };
        match published {
            Ok((zone, published)) => {
                let is_verified = withheld.is_none();
                (loaded.zone, loaded.published) = (zone, published);
                (loaded.withheld, loaded.is_verified) = (withheld, is_verified);
                Outcome::Verified
            }
            Err(error) => {
                let message = format!("{error:#}");
                tracing::error!("zone {name}: publishing what a validator accepts: {message}");
                state.error = withheld.or(Some(message));
                // Soon again: what is wrong must not be sent.
                Outcome::Failed { begins_at: None }
            }
        }
    }
}
