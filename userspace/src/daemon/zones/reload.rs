//! The configuration read again, and zones loaded on request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use super::list::Zones;
use super::loading::octets_of;
use crate::config::{CatalogRole, Config, Policy, Zone};
use crate::control::protocol::Failure;
use crate::daemon::life::Asked;
use crate::daemon::life::refresh::{RoundReason, Wanted};
use crate::daemon::listening::endpoints;
use crate::daemon::stamp::Stamp;
use crate::daemon::state::{Membership, ReloadResult, ZoneState};
use crate::daemon::{tls_files, tsig_keys};
use crate::zone::Name;

/// What became of zones in a reload, and of those that are still to be loaded who tells it.
#[derive(Default)]
struct Changes {
    known: BTreeMap<Name, ReloadResult>,
    awaited: Vec<(Name, Receiver<ReloadResult>)>,
}

/// Whether a zone is to be read again.
enum Staleness {
    /// It is, whatever its files look like.
    Stale(Asked),
    /// If its files do not look like this any more.
    IfChanged(Vec<Stamp>),
}

impl Zones {
    /// Reads the configuration again, and loads the zones whose section, policy or files changed. Waits for these zones and
    /// for no others.
    pub fn reload(self: &Arc<Zones>) -> Result<BTreeMap<Name, ReloadResult>, Failure> {
        let (Changes { mut known, awaited }, limited) = self.exchange()?;
        if !awaited.is_empty() {
            known.extend(awaited.into_iter().map(|(name, result)| (name, wait(&result))));
            self.settle();
        }
        limited.map(|()| known)
    }

    /// Loads one zone, whatever its files look like; `None` if it is not configured.
    pub fn reload_one(self: &Arc<Zones>, name: &Name) -> Option<Vec<(Name, ReloadResult)>> {
        let section = self.states.hold().get(name)?.section.clone();
        if section.is_transferred() {
            self.ask_primaries(name, Wanted::Newer);
            return Some(vec![(name.clone(), ReloadResult::Unchanged)]);
        }
        let file = section.file;
        let octets = octets_of(&file);
        let result = {
            let mut states = self.states.hold();
            self.ask(&mut states, name, Asked::Always, octets)?
        };
        let result = wait(&result);
        self.settle();
        Some(vec![(name.clone(), result)])
    }

    /// Asks for a zone's file of this size to be read; tells what becomes of it.
    fn ask(
        self: &Arc<Zones>,
        states: &mut BTreeMap<Name, ZoneState>,
        name: &Name,
        asked: Asked,
        octets: u64,
    ) -> Option<Receiver<ReloadResult>> {
        let state = states.get_mut(name)?;
        let (sender, receiver) = mpsc::channel();
        state.life.ask(asked);
        if state.section.is_transferred() {
            state.life.ask_primaries(RoundReason::Asked, Wanted::Newer);
        }
        state.work.waiting.push(sender);
        state.work.octets = state.work.octets.max(octets);
        self.queue(states, name);
        Some(receiver)
    }

    /// Puts a configuration in effect that is read now, and asks for zones that are not as it and their files say.
    /// Nobody else does so meanwhile; zones have their turns.
    fn exchange(self: &Arc<Zones>) -> Result<(Changes, Result<(), Failure>), Failure> {
        let _exchange = self.exchange.hold();
        let mut config = self.source.load().map_err(|error| Failure {
            code: "config".into(),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        })?;
        let old = self.config();
        if old.front != config.front {
            let message = "[front] has changed, which takes effect when the daemon is restarted";
            return Err(Failure::new("config", message));
        }
        let placed = self.follow_places(&old, &mut config);
        let mut catalogs = self.catalogs.hold();
        let configured: BTreeSet<&Name> = config.zones().map(|section| &section.name).collect();
        let members = catalogs.reconsider(&config, &|zone| configured.contains(zone));
        let members = members.into_iter().map(|(section, catalog)| (section, Some(catalog)));
        let sections = config.zones().map(|section| (section.clone(), None));
        let wanted: Vec<(Zone, Option<Membership>)> = sections.chain(members).collect();
        let stale = self.stale(&config, &wanted);
        let (changes, gone) = self.exchange_zones(&config, &wanted, stale);
        if let Err(error) = self.presented.load_secrets(&self.source.path, &config.cookies) {
            tracing::error!("the secrets of DNS cookies stay as they were: {error:#}");
        }
        match tsig_keys::load(&config) {
            Ok(keys) => self.presented.set_tsig_keys(keys),
            Err(error) => tracing::error!("the TSIG keys stay as they were: {error:#}"),
        }
        let limited = self.limits.follow(&config);
        let is_same = *old == config;
        *self.config.hold() = Arc::new(config);
        drop(catalogs);
        self.remove_from_plane(&gone);
        // What is said of zones that are not loaded again may be another now.
        if !is_same || changes.awaited.is_empty() {
            self.replace_adopted();
            self.refresh_all();
        }
        Ok((changes, placed.and(limited)))
    }

    /// Sockets are opened and closed and XDP is attached and detached as `listen`, `listen-tls` and `interfaces` say now; of
    /// what else stands in their sections all stays as it was. On an error what was there stays, and the configuration
    /// says so.
    fn follow_places(&self, old: &Config, config: &mut Config) -> Result<(), Failure> {
        let (mut server, mut xdp) = (old.server.clone(), old.xdp.clone());
        server.listen.clone_from(&config.server.listen);
        server.listen_tls.clone_from(&config.server.listen_tls);
        server.tls_certificate.clone_from(&config.server.tls_certificate);
        server.tls_key.clone_from(&config.server.tls_key);
        xdp.interfaces.clone_from(&config.xdp.interfaces);
        if server != config.server || xdp != config.xdp {
            tracing::warn!(
                "changes in [server] and [xdp] but of `listen`, `listen-tls` and `interfaces` take effect when the \
                 daemon is restarted"
            );
        }
        (config.server, config.xdp) = (server, old.xdp.clone());
        let failed = |code: &str, error: anyhow::Error| {
            tracing::error!("{error:#}");
            Failure { code: code.to_owned(), message: format!("{error:#}"), hint: None }
        };
        let followed = tls_files::load(config).and_then(|identity| {
            let wanted = endpoints(config);
            if wanted != endpoints(old) {
                self.listening.follow(&wanted)?;
            }
            self.listening.tls().set(identity);
            Ok(())
        });
        if let Err(error) = followed {
            config.server = old.server.clone();
            return Err(failed("listen", error));
        }
        if config.server.listen == old.server.listen && xdp.interfaces == old.xdp.interfaces {
            return Ok(());
        }
        config.xdp.interfaces = xdp.interfaces;
        let followed = self.plane.hold().follow(old, config);
        followed.map_err(|error| {
            config.xdp.interfaces.clone_from(&old.xdp.interfaces);
            failed("interfaces", error.context("XDP stays where it was"))
        })
    }

    /// The zones that are not as this configuration and their files say, and how large their files are. Files are looked
    /// at without a lock: there may be a hundred thousand of them.
    fn stale<'w>(
        &self,
        config: &Config,
        wanted: &'w [(Zone, Option<Membership>)],
    ) -> BTreeMap<Name, (Asked, u64)> {
        let looked_at: Vec<(&'w Zone, Staleness)> = {
            let states = self.states.hold();
            let look = |(section, _): &'w (Zone, Option<Membership>)| {
                (section, staleness(&states, section, &config.policy(section)))
            };
            wanted.iter().map(look).collect()
        };
        let stale = looked_at.into_iter().filter_map(|(section, staleness)| {
            let asked = match staleness {
                Staleness::Stale(asked) => asked,
                Staleness::IfChanged(stamps) if stamps.iter().all(Stamp::holds) => return None,
                Staleness::IfChanged(_) => Asked::IfChanged,
            };
            Some((section.name.clone(), (asked, octets_of(&section.file))))
        });
        stale.collect()
    }

    /// Has the zones that are known be those of this configuration, and asks for those that are stale. Tells which have
    /// gone, too.
    fn exchange_zones(
        self: &Arc<Zones>,
        config: &Config,
        wanted: &[(Zone, Option<Membership>)],
        stale: BTreeMap<Name, (Asked, u64)>,
    ) -> (Changes, Vec<Name>) {
        let mut changes = Changes::default();
        let names: BTreeSet<&Name> = wanted.iter().map(|(section, _)| &section.name).collect();
        let mut states = self.states.hold();
        let gone: Vec<Name> = states.keys().filter(|name| !names.contains(name)).cloned().collect();
        for (section, member_of) in wanted {
            let policy = config.policy(section);
            match states.get_mut(&section.name) {
                Some(state) => {
                    state.follow(section, policy);
                    state.member_of.clone_from(member_of);
                }
                None => {
                    let mut state = ZoneState::new(section.clone(), policy);
                    state.member_of.clone_from(member_of);
                    states.insert(section.name.clone(), state);
                    self.awaited.hold().order.add(section.name.clone());
                }
            }
            if !stale.contains_key(&section.name) {
                changes.known.insert(section.name.clone(), ReloadResult::Unchanged);
            }
        }
        for name in &gone {
            states.remove(name);
            self.note_tried(&mut states, name);
            changes.known.insert(name.clone(), ReloadResult::Removed);
        }
        for (name, (asked, octets)) in stale {
            if let Some(result) = self.ask(&mut states, &name, asked, octets) {
                changes.awaited.push((name, result));
            }
        }
        (changes, gone)
    }
}

fn staleness(states: &BTreeMap<Name, ZoneState>, section: &Zone, policy: &Policy) -> Staleness {
    let Some(state) = states.get(&section.name) else { return Staleness::Stale(Asked::Always) };
    if state.has_other_settings(section, policy) {
        return Staleness::Stale(Asked::Always);
    }
    if section.catalog == CatalogRole::Produce {
        // What it lists may be another.
        return Staleness::Stale(Asked::IfChanged);
    }
    match &state.loaded {
        Some(loaded) if !state.is_otherwise() => Staleness::IfChanged(loaded.stamps.clone()),
        _ => Staleness::Stale(Asked::IfChanged),
    }
}

/// What became of a zone. One that goes meanwhile tells nothing.
fn wait(result: &Receiver<ReloadResult>) -> ReloadResult {
    result.recv().unwrap_or(ReloadResult::Removed)
}
