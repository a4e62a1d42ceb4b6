//! A version handed to the data plane: by what changed or, if it is small, as a whole while the data plane is held; a large
//! zone as a whole compiled apart, so that no other zone and no request waits for that.

use std::sync::Arc;

use anyhow::Context;

use super::list::{LARGE_ZONE, Turn, Zones};
use crate::datapath::seam::{ApartCompiler, Publication, Published};
use crate::zone::Version;
use crate::zone::difference::Difference;

impl Zones {
    /// Publishes a version. `change` is how it differs from the one that is published, if that is known.
    ///
    /// # Errors
    /// If it is not published: the one before is still.
    pub(super) fn publish(
        &self,
        turn: &Turn,
        zone: &Version,
        change: Option<&Difference>,
    ) -> anyhow::Result<Published> {
        let publication = {
            let mut plane = self.plane.hold();
            if zone.owner_count() >= LARGE_ZONE {
                // Publishing it may hold the data plane for long.
                self.plane.note(&**plane);
                self.follow(&mut **plane);
            }
            self.check_configured(turn)?;
            plane.publish_at_once(zone, change).context(PUBLISHING)?
        };
        match publication {
            Publication::Done(published) => Ok(published),
            Publication::Apart(compiler) => {
                self.publish_apart(turn, zone, &compiler).context(PUBLISHING)
            }
        }
    }

    /// Compiles a zone apart, places it and publishes it. The data plane is held to take room and for the stores.
    fn publish_apart(
        &self,
        turn: &Turn,
        zone: &Version,
        compiler: &Arc<dyn ApartCompiler>,
    ) -> anyhow::Result<Published> {
        let apart = compiler.compile(zone, self.now().wall)?;
        let room = {
            let mut plane = self.plane.hold();
            self.check_configured(turn)?;
            match plane.reserve(&apart)? {
                Some(room) => room,
                None => return plane.publish(zone, None),
            }
        };
        let filled = room.fill(&apart);
        drop(apart);
        let mut plane = self.plane.hold();
        let placed = match filled {
            Ok(placed) => placed,
            Err((error, room)) => {
                plane.cancel(room);
                return Err(error.into());
            }
        };
        if let Err(error) = self.check_configured(turn) {
            plane.cancel_placed(placed);
            return Err(error);
        }
        plane.publish_placed(zone, placed)
    }

    /// Whether the zone is configured still: who takes it from the configuration does so before the data plane is told.
    pub(super) fn check_configured(&self, turn: &Turn) -> anyhow::Result<()> {
        anyhow::ensure!(turn.state(&mut self.states.hold()).is_some(), "it is not configured");
        Ok(())
    }
}

/// What failed, if it did.
const PUBLISHING: &str = "publishing the zone";
