//! What is presented to the sockets and to XDP: the zones that are served, and what is said beside their records.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use xdp_common::maps;

use super::Daemon;
use super::cookies::{self, Secrets};
use super::state::ZoneState;
use super::zones::Change;
use crate::config::{self, Config};
use crate::datapath::seam::DataPlane;
use crate::server::{Manners, Served, ServedZone, now};
use crate::zone::Name;

impl Daemon {
    /// Takes the secrets of DNS cookies from where a configuration says. On an error the old ones stay.
    pub fn load_secrets(&self, section: &config::Cookies) -> anyhow::Result<()> {
        if let Some(path) = section.secret.and(Some(&self.source.path)) {
            warn_if_open(path);
        }
        let mut random = self.random.hold();
        let random = match *random {
            Some(random) => random,
            None => *random.insert(cookies::random()?),
        };
        let secrets = Secrets::load(section, random)?;
        *self.secrets.hold() = secrets;
        Ok(())
    }

    /// Makes cookies with the secrets that it is the time for.
    pub(super) fn exchange_secrets(&self) {
        let mut said = self.shared.get().said();
        let before = said;
        self.secrets.hold().put(&mut said, now());
        if said == before {
            return;
        }
        // Who changes zones does the same when that is done.
        if let Some(_change) = self.change.try_hold() {
            self.refresh_served(&[]);
        }
    }

    /// Lets the sockets follow the zones that changed, and XDP with what options of responses say.
    pub(super) fn refresh_served(&self, changes: &[(Name, Change)]) {
        let names: Vec<&Name> = changes.iter().map(|(name, _)| name).collect();
        self.refresh(&mut **self.plane.hold(), |_, zones, plane, said| {
            self.served_with(zones, plane, said, &names)
        });
    }

    /// Lets the sockets follow the configuration and all zones.
    pub(super) fn refresh_all(&self) {
        self.refresh(&mut **self.plane.hold(), served);
    }

    /// Lets the sockets follow the zones that were loaded meanwhile: the next one may take long.
    pub(super) fn follow(&self, plane: &mut dyn DataPlane) {
        let names = std::mem::take(&mut *self.unfollowed.hold());
        if !names.is_empty() {
            self.refresh(plane, |_, zones, plane, said| {
                self.served_with(zones, plane, said, &names.iter().collect::<Vec<_>>())
            });
        }
    }

    fn served_with(
        &self,
        zones: &BTreeMap<Name, ZoneState>,
        plane: &dyn DataPlane,
        said: maps::Manners,
        names: &[&Name],
    ) -> Served {
        let changed = names.iter().filter_map(|name| zones.get_key_value(*name));
        let changed = changed.map(|(name, state)| served_zone(name, state));
        self.shared.get().with(plane.engine(), changed, said)
    }

    /// Tells XDP what options of responses say, and the sockets that and what `serve` makes of it. Who holds
    /// the data plane is the only one who changes what the sockets serve.
    fn refresh(
        &self,
        plane: &mut dyn DataPlane,
        serve: impl FnOnce(&Config, &BTreeMap<Name, ZoneState>, &dyn DataPlane, maps::Manners) -> Served,
    ) {
        let config = self.config.hold().clone();
        let served = {
            let zones = self.zones.hold();
            let said = manners(&config, &zones, &self.secrets.hold());
            plane.set_manners(&said);
            self.watched.look(plane);
            serve(&config, &zones, plane, said)
        };
        self.shared.set(served);
    }
}

/// What options of responses say now, and whether names of no zone are refused: not while there are zones that
/// could not be loaded, whose names are not known not to be ours.
pub(super) fn manners(
    config: &Config,
    zones: &BTreeMap<Name, ZoneState>,
    secrets: &Secrets,
) -> maps::Manners {
    let mut manners = maps::Manners::new().with_nsid(&config.server.nsid.0);
    let lacks_zones = zones.values().any(|zone| zone.loaded.is_none());
    manners.refuse = (config.refuses() && !lacks_zones).into();
    secrets.put(&mut manners, now());
    manners
}

/// Warns of a file with a secret in it that others may read.
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777);
    if mode & 0o077 != 0 {
        tracing::warn!(
            "{} has a secret in it and mode {mode:04o}: run chmod 600 {0}, or use `secret-file`",
            path.display()
        );
    }
}

pub(super) fn served(
    config: &Config,
    zones: &BTreeMap<Name, ZoneState>,
    plane: &dyn DataPlane,
    said: maps::Manners,
) -> Served {
    let manners = Manners {
        identity: config.server.identity.text().map(str::to_owned),
        version: config.server.version.text().map(str::to_owned),
        udp_payload: config.server.udp_payload.octets(),
        said,
    };
    let zones = zones.iter().map(|(name, state)| served_zone(name, state));
    Served::new(plane.engine(), zones, manners)
}

fn served_zone(name: &Name, state: &ZoneState) -> (Name, ServedZone) {
    let served = ServedZone {
        zone: state.loaded.as_ref().map(|loaded| Arc::clone(&loaded.zone)),
        allow_transfer: state.section.allow_transfer.iter().map(|prefix| prefix.0).collect(),
    };
    (name.clone(), served)
}
