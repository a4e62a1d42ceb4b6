//! Large zones compiled for the next start, and served from what was compiled: then a start compiles nothing but what changed
//! since the base was written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::change::Last;
use super::list::{Turn, Zones};
use super::turns::{LARGE, give_back_memory};
use crate::compile::{ApartZone, PlacedZone};
use crate::config;
use crate::daemon::kept::KeptBase;
use crate::daemon::workers::LaneKind;
use crate::datapath::seam::{APART_FROM, ApartCompiler, Published};
use crate::dnssec::lasting::begins_at;
use crate::zone::Version;
use crate::zone::difference::Difference;

/// How long compiling may wait while there is other work in the background.
const PATIENCE: Duration = Duration::from_secs(60);

impl Zones {
    //--- At a start

    /// Publishes what was served last from what its base was compiled to; what changed since is compiled before it is
    /// served. `None` if it must be compiled as a whole: nothing is published then.
    pub(super) fn publish_compiled(
        &self,
        turn: &Turn,
        section: &config::Zone,
        zone: &Version,
        last: &Last,
    ) -> Option<Published> {
        if zone.owner_count() < APART_FROM {
            return None;
        }
        let published = self.placed(turn, section, zone, last).and_then(|placed| {
            let Some(placed) = placed else { return Ok(None) };
            let mut plane = self.plane.hold();
            if let Err(error) = self.check_configured(turn) {
                plane.cancel_placed(placed);
                return Err(error);
            }
            plane.publish_placed(zone, placed).map(Some)
        });
        published.unwrap_or_else(|error| {
            tracing::info!(zone = %turn.name, "what was compiled is not used: {error:#}");
            None
        })
    }

    /// What was served last, in its place.
    fn placed(
        &self,
        turn: &Turn,
        section: &config::Zone,
        zone: &Version,
        last: &Last,
    ) -> anyhow::Result<Option<PlacedZone>> {
        let compiler = self.plane.hold().compiler();
        let Some((compiler, kept_zones)) = compiler.zip(self.prepare.kept_zones(section)) else {
            return Ok(None);
        };
        let now = self.now().wall;
        let key = compiler.hash_key();
        let Some(apart) = kept_zones.compiled(&turn.name, &last.base.digest, key, now) else {
            return Ok(None);
        };
        let Some(room) = self.plane.hold().reserve(&apart)? else { return Ok(None) };
        let placed = room.fill(&apart).map_err(|(error, room)| {
            self.plane.hold().cancel(room);
            error
        })?;
        if last.zone.is_same(&last.base.zone) {
            return Ok(Some(placed));
        }
        // The way from the one to the other is short, as long as they are of one flat zone.
        let change = Difference::between_versions(&last.base.zone, &last.zone);
        self.plane.hold().change_placed(placed, zone, &change).map(Some)
    }

    //--- In the background

    /// Has the base of a zone compiled for the next start, if it is not and nobody does it.
    pub(super) fn compile_if_due(self: &Arc<Zones>, turn: &Turn) {
        let section = turn.state(&mut self.states.hold()).map(|state| state.section.clone());
        let Some(section) = section else { return };
        let kept_zones = self.prepare.kept_zones(&section);
        if !kept_zones.is_some_and(|kept_zones| kept_zones.is_uncompiled(&turn.name)) {
            return;
        }
        let mut states = self.states.hold();
        let Some(state) = turn.state(&mut states).filter(|state| !state.work.is_compiling) else {
            return;
        };
        state.work.is_compiling = true;
        let lane = if state.work.octets < LARGE { LaneKind::Small } else { LaneKind::Background };
        let (zones, name) = (Arc::clone(self), turn.name.clone());
        let identity = Arc::clone(&state.work.identity);
        let compile = move || {
            zones.compile_for_next_start(&section);
            let mut states = zones.states.hold();
            let state = states.get_mut(&name);
            if let Some(state) = state.filter(|state| Arc::ptr_eq(&state.work.identity, &identity))
            {
                state.work.is_compiling = false;
            }
        };
        self.workers.submit(lane, Instant::now() + PATIENCE, Box::new(compile));
    }

    fn compile_for_next_start(&self, section: &config::Zone) {
        let Some(compiler) = self.plane.hold().compiler() else { return };
        let Some(kept_zones) = self.prepare.kept_zones(section) else { return };
        while let Some(base) = kept_zones.uncompiled(&section.name) {
            let compiled = compiled(&*compiler, &base, self.now().wall);
            match compiled {
                Ok((compiled, until)) => {
                    kept_zones.keep_compiled(&base, &compiled, compiler.hash_key(), until);
                }
                Err(error) => {
                    tracing::warn!(zone = %section.name, "compiling it for the next start: {error:#}");
                }
            }
            give_back_memory(base.zone.owner_count());
        }
    }
}

/// What a base is compiled to, and until when that holds: a signature begins to be valid then, of which it does not know.
fn compiled(
    compiler: &dyn ApartCompiler,
    base: &KeptBase,
    now: u32,
) -> anyhow::Result<(ApartZone, Option<u32>)> {
    let compiled = compiler.compile(&base.zone, now)?;
    let until = begins_at(&base.zone.flat()?, now);
    Ok((compiled, until))
}
