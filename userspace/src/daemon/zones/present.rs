//! What changed presented to the sockets and to XDP.

use super::list::{ReloadResult, Zones};
use crate::daemon::presented::RefreshScope;
use crate::datapath::seam::DataPlane;
use crate::zone::Name;

impl Zones {
    /// Presents the configuration and all zones.
    pub(super) fn refresh_all(&self) {
        self.refresh(&mut **self.plane.hold(), RefreshScope::All);
    }

    /// Presents the zones that changed.
    pub(super) fn refresh_served(&self, changes: &[(Name, ReloadResult)]) {
        let names: Vec<&Name> = changes.iter().map(|(name, _)| name).collect();
        self.refresh(&mut **self.plane.hold(), RefreshScope::Zones(&names));
    }

    /// Presents the zones that were loaded meanwhile: the next one may take long. The caller holds the data plane.
    pub fn follow(&self, plane: &mut dyn DataPlane) {
        let names = std::mem::take(&mut *self.unfollowed.hold());
        if !names.is_empty() {
            self.refresh(plane, RefreshScope::Zones(&names.iter().collect::<Vec<_>>()));
        }
    }

    fn refresh(&self, plane: &mut dyn DataPlane, changed: RefreshScope<'_>) {
        let config = self.config();
        self.presented.refresh(plane, &config, &self.states.hold(), changed);
    }

    /// Makes cookies with the secrets that it is the time for.
    pub fn exchange_secrets(&self) {
        if !self.presented.has_other_secrets() {
            return;
        }
        // Who changes zones does the same when that is done.
        if let Some(_change) = self.change.try_hold() {
            self.refresh_served(&[]);
        }
    }
}
