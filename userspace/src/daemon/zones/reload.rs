//! The configuration read again, and zones loaded on request.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::LoadReason;
use super::list::{ReloadResult, Zones};
use crate::control::protocol::Failure;
use crate::daemon::state::ZoneState;
use crate::zone::Name;

impl Zones {
    /// Reads the configuration again, and loads the zones whose section, policy or files changed.
    pub fn reload(&self) -> Result<BTreeMap<Name, ReloadResult>, Failure> {
        let _change = self.change.hold();
        let mut config = self.source.load().map_err(|error| Failure {
            code: "config".into(),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        })?;
        let mut changes = BTreeMap::new();
        let old = self.config.hold().clone();
        if old.server != config.server || old.xdp != config.xdp {
            tracing::warn!(
                "changes in [server] and [xdp] take effect when the daemon is restarted"
            );
        }
        // Sockets and XDP stay as they were started; only zones and policies follow the file.
        (config.server, config.xdp) = (old.server.clone(), old.xdp.clone());
        let (mut stale, mut gone) = (Vec::new(), Vec::new());
        {
            let mut zones = self.states.hold();
            for name in zones.keys() {
                if !config.zones().any(|zone| zone.name == *name) {
                    gone.push(name.clone());
                }
            }
            for section in config.zones() {
                let policy = config.policy(section);
                let state = zones
                    .entry(section.name.clone())
                    .or_insert_with(|| ZoneState::new(section.clone(), policy.clone()));
                if state.is_stale(section, &policy) {
                    stale.push(section.name.clone());
                } else {
                    changes.insert(section.name.clone(), ReloadResult::Unchanged);
                }
                state.section = section.clone();
                state.policy = policy;
            }
            for name in &gone {
                zones.remove(name);
            }
        }
        if let Err(error) = self.presented.load_secrets(&self.source.path, &config.cookies) {
            tracing::error!("the secrets of DNS cookies stay as they were: {error:#}");
        }
        let limited = self.limits.follow(&config);
        *self.config.hold() = Arc::new(config);
        for name in gone {
            if let Err(error) = self.plane.hold().remove(&name) {
                tracing::error!(zone = %name, "removing the zone from the data plane: {error:#}");
            }
            changes.insert(name, ReloadResult::Removed);
        }
        // The configuration may have changed what is said of zones that are not loaded again.
        changes
            .extend(self.load_each(stale, LoadReason::Requested, |zones, _| zones.refresh_all()));
        limited.map(|()| changes)
    }

    /// Loads one zone, whatever its files look like; `None` if it is not configured.
    pub fn reload_one(&self, name: &Name) -> Option<Vec<(Name, ReloadResult)>> {
        let _change = self.change.hold();
        if !self.states.hold().contains_key(name) {
            return None;
        }
        Some(self.load_each(vec![name.clone()], LoadReason::Requested, Zones::refresh_served))
    }
}
