//! Members of catalogs: zones that come and go as catalogs change, with no reload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::list::{Turn, Zones};
use crate::config::{self, CatalogRole, Config};
use crate::daemon::catalogs::Step;
use crate::daemon::life::{Asked, Outcome};
use crate::daemon::state::ZoneState;
use crate::transfer::catalog::MadeMember;
use crate::zone::Name;

impl Zones {
    /// Has the members of a catalog be what its new version lists, if the zone is a catalog and has one.
    pub(super) fn follow_catalog(self: &Arc<Zones>, turn: &Turn, outcome: &Outcome) {
        if !matches!(outcome, Outcome::Served(_)) {
            return;
        }
        let version = {
            let mut states = self.states.hold();
            let state = turn.state(&mut states);
            let catalog = state.filter(|state| state.section.catalog == CatalogRole::Consume);
            catalog.and_then(|state| Some(state.loaded.as_ref()?.zone.clone()))
        };
        let Some(version) = version else { return };
        let mut catalogs = self.catalogs.hold();
        let config = self.config();
        let is_configured = |zone: &Name| {
            let states = self.states.hold();
            states.get(zone).is_some_and(|state| state.member_of.is_none())
        };
        let steps = catalogs.follow(&turn.name, &version, &config, &is_configured);
        if !steps.is_empty() {
            tracing::info!(zone = %turn.name, "the catalog has changed {} zones", steps.len());
            self.take_steps(steps, &config);
        }
    }

    /// Has zones come and go. Who calls holds the catalogs.
    fn take_steps(self: &Arc<Zones>, steps: Vec<Step>, config: &Config) {
        let mut changed: Vec<Name> = Vec::with_capacity(steps.len());
        let mut made = BTreeSet::new();
        // What goes is gone before anything of its name comes: whoever still works on it publishes nothing.
        let mut gone = Vec::new();
        {
            let mut states = self.states.hold();
            for step in &steps {
                let (name, is_gone) = match step {
                    Step::Serve { section, is_reset, .. } => (&section.name, *is_reset),
                    Step::Remove(name) => (name, true),
                };
                changed.push(name.clone());
                if is_gone && let Some(state) = states.remove(name) {
                    self.note_tried(&mut states, name);
                    made.extend(state.section.in_catalog.clone());
                    self.leaving.hold().insert(name.clone(), state.section);
                    gone.push(name.clone());
                }
            }
        }
        self.remove_from_plane(&gone);
        {
            let mut states = self.states.hold();
            for step in steps {
                let Step::Serve { section, membership, .. } = step else { continue };
                let (name, policy) = (section.name.clone(), config.policy(&section));
                made.extend(section.in_catalog.clone());
                match states.get_mut(&name) {
                    Some(state) => {
                        let is_other = state.has_other_settings(&section, &policy);
                        made.extend(state.section.in_catalog.clone());
                        state.follow(&section, policy);
                        state.member_of = Some(membership);
                        if is_other {
                            state.life.ask(Asked::Always);
                        }
                    }
                    None => {
                        let mut state = ZoneState::new(*section, policy);
                        state.member_of = Some(membership);
                        // What is kept of a zone that has left is that zone's.
                        state.work.is_reset = self.leaving.hold().remove(&name).is_some();
                        states.insert(name.clone(), state);
                        self.awaited.hold().order.add(name.clone());
                    }
                }
            }
            // Those above others wait for them: all are known before the first may begin.
            for name in &changed {
                self.queue(&mut states, name);
            }
            for catalog in &made {
                self.ask_for_catalog(&mut states, catalog);
            }
        }
        self.unfollowed.hold().append(&mut changed);
        self.follow(&mut **self.plane.hold());
        for name in &gone {
            self.forget_left(name);
        }
    }

    /// Has a catalog be made again that is made here. One whose first turn has not begun looks at all zones then.
    fn ask_for_catalog(self: &Arc<Zones>, states: &mut BTreeMap<Name, ZoneState>, catalog: &Name) {
        let state = states.get_mut(catalog);
        let is_begun =
            |state: &&mut ZoneState| !state.life.is_untried() || state.life.running().is_some();
        if let Some(state) = state.filter(is_begun) {
            state.life.ask(Asked::IfChanged);
            self.queue(states, catalog);
        }
    }

    /// The zones that a catalog is to list, if it is made here.
    pub(super) fn made_members(&self, section: &config::Zone) -> Vec<MadeMember> {
        if section.catalog != CatalogRole::Produce {
            return Vec::new();
        }
        let states = self.states.hold();
        let is_member =
            |state: &&ZoneState| state.section.in_catalog.as_ref() == Some(&section.name);
        let members = states.values().filter(is_member);
        let members = members.map(|state| MadeMember {
            zone: state.section.name.clone(),
            group: state.section.catalog_group.clone(),
        });
        members.collect()
    }

    /// Forgets what is kept of a zone of the same name, if it was another. Returns whether it was.
    pub(super) fn forget_if_reset(&self, turn: &Turn) -> bool {
        let section = {
            let mut states = self.states.hold();
            let Some(state) = turn.state(&mut states) else { return false };
            std::mem::take(&mut state.work.is_reset).then(|| state.section.clone())
        };
        section.inspect(|section| self.forget(section)).is_some()
    }

    /// Has zones no longer be published.
    pub(super) fn remove_from_plane(&self, gone: &[Name]) {
        for name in gone {
            if let Err(error) = self.plane.hold().remove(name) {
                tracing::error!(zone = %name, "removing the zone from the data plane: {error:#}");
            }
        }
    }

    /// Keeps nothing of a member that has left, unless it is being worked on: then that is done when its turn has ended.
    pub(super) fn forget_left(self: &Arc<Zones>, name: &Name) {
        if !self.leaving.hold().contains_key(name) || !self.turns.hold().insert(name.clone()) {
            return;
        }
        let section = self.leaving.hold().remove(name);
        if let Some(section) = section {
            self.forget(&section);
        }
        self.turns.hold().remove(name);
        // It may have come again meanwhile.
        self.queue(&mut self.states.hold(), name);
    }
}
