//! The data plane: one image, in the daemon's memory until XDP is attached, then in the maps.
//!
//! When the image outgrows its memory, larger memory is made and the image moves; where XDP is attached
//! the programs are loaded once more over the larger maps and take the others' place between two
//! packets, so that no query is lost. The same happens to what an earlier daemon has pinned, once the zones
//! are loaded: until then its programs answer from its maps.
//!
//! A zone for which the maps may not grow is *partial*: they have some of its names, and the daemon has
//! all zones in an image of its own, from which it answers what XDP passes up. Meanwhile XDP refuses no
//! names.
//!
//! | part | what |
//! |---|---|
//! | `published` | zones in the image, and the memory that it lies in |
//! | `apart` | those that are compiled apart |
//! | `size` | how large that is made |
//! | `programs` | what is loaded and attached |
//! | `settings` | what the programs are told |
//! | `attachments` | where they are, and where they are to be |
//! | `pinning` | what outlives the daemon |
//! | `counters` | what they have counted, those before them too |
//! | `faults` | what is wrong where they are attached |

mod apart;
mod attachments;
mod counters;
mod faults;
mod pinning;
mod programs;
mod published;
mod settings;
mod size;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::net::if_::if_nametoindex;
use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::maps::{self, Verdicts};
use xdp_common::trace::Filter;

use super::memory::Size;
use super::seam::{
    ApartCompiler, Attaching, DataPlane, Detached, ExpectedSize, Inspection, Observing,
    PlaneStatus, Publication, Published, Publishing, TestRunResult, TraceLines,
};
use crate::compile::{ApartZone, Engine, Listing, PlacedZone, Room};
use crate::config::Config;
use crate::observe::KernelCounters;
use crate::ratelimit::limits::Limits;
use crate::zone::difference::Difference;
use crate::zone::{Name, Version};
pub(super) use counters::counters_of;
use programs::Programs;
use published::PublishedZones;
use size::{FLOOR, Sizes};

/// Opens the data plane that a configuration describes: where it names interfaces, XDP is attached
/// when this returns, and answers nothing yet, or what an earlier daemon pinned. Where privileges will be
/// given up a loader is there that keeps them. Room is made for what is expected, as far as the configuration allows.
pub fn open(config: &Config, expected: ExpectedSize) -> Result<Box<dyn DataPlane>> {
    let mut plane = Plane::new(config, FLOOR.with(expected))?;
    if gives_up_privileges(config) {
        plane.programs.load_traced();
        plane.programs.pinning().loader().start_process()?;
    }
    Ok(Box::new(plane))
}

/// Compiled zones, and XDP where it is attached.
pub struct Plane {
    published: PublishedZones,
    programs: Programs,
}

impl Plane {
    /// As [`open`]; `floor` is the least memory that is made.
    pub fn new(config: &Config, floor: Size) -> Result<Plane> {
        let programs = Programs::new(config)?;
        let limit = usize::try_from(config.xdp.memory.octets()).unwrap_or(usize::MAX);
        let mut sizes = Sizes::new(floor, limit);
        if gives_up_privileges(config) {
            // A daemon without privileges cannot make larger maps later.
            sizes.start_at_limit();
        }
        let seed = programs.settings().config().seed;
        let mut published = PublishedZones::new(floor, seed, sizes)?;
        if config.front.is_some() {
            published.image.stand_in_front();
        }
        let mut plane = Plane { published, programs };
        // A folder of pins that others could change is no matter of `required`: nothing starts beside it.
        let pinning = plane.programs.pinning();
        if pinning.has_folder() || !config.xdp.interfaces.is_empty() {
            pinning.open()?;
        }
        plane.attach_all(config)?;
        plane.programs.detach_others();
        Ok(plane)
    }

    /// Attaches to all interfaces of the configuration. One that cannot be attached to is said, and the sockets
    /// serve, unless it is `required` or there are none. One that is not there is waited for.
    fn attach_all(&mut self, config: &Config) -> Result<()> {
        let gives_up = !config.server.user.is_empty();
        for interface in &config.xdp.interfaces {
            let Err(error) = self.attach(interface) else { continue };
            if config.xdp.required {
                return Err(error
                    .context(format!("attaching to {interface}, as `required` in [xdp] demands")));
            }
            if config.front.is_some() {
                // The server answers meanwhile.
                tracing::error!(interface, "not attached, the server answers: {error:#}");
                self.programs.attachments().wait_for(interface, format!("{error:#}"));
                if gives_up {
                    self.load_for_later();
                }
                continue;
            }
            if config.server.listen.is_empty() {
                let nobody = "nobody would answer: `listen` in [server] is empty";
                return Err(
                    error.context(format!("attaching to {interface}, without which {nobody}"))
                );
            }
            if if_nametoindex(interface.as_str()).is_err() {
                self.programs.attachments().wait_for(interface, format!("{error:#}"));
                if gives_up {
                    self.load_for_later();
                }
                continue;
            }
            self.programs.faults().not_attached(interface, &error);
        }
        let is_for_later = gives_up && !self.programs.attachments().are_none();
        if self.programs.are_idle() && !is_for_later {
            self.published.leave_maps()?;
            self.programs.unload();
        }
        Ok(())
    }

    /// Makes maps and loads programs for an interface that comes when this process may do so no more.
    fn load_for_later(&mut self) {
        let is_loaded = self.programs.are_loaded();
        if let Some(Err(error)) = (!is_loaded).then(|| self.published.load(&mut self.programs)) {
            tracing::error!("interfaces that appear later cannot be attached to: {error:#}");
        }
        self.programs.verify_all();
    }

    /// Attaches again where XDP is to be and is not, if there is a device of that name.
    fn attach_missing(&mut self) {
        for name in self.programs.attachments().due() {
            if self.programs.attachments().is_to_be_tried(&name) {
                let attached = self.attach(&name);
                self.programs.attachments().tried(&name, attached);
            }
        }
    }
}

fn gives_up_privileges(config: &Config) -> bool {
    !config.xdp.interfaces.is_empty() && !config.server.user.is_empty()
}

impl Publishing for Plane {
    fn publish(&mut self, zone: &Version, change: Option<&Difference>) -> Result<Published> {
        self.published.publish(zone, change, &mut self.programs)
    }

    fn publish_at_once(
        &mut self,
        zone: &Version,
        change: Option<&Difference>,
    ) -> Result<Publication> {
        self.published.publish_at_once(zone, change, &mut self.programs)
    }

    fn reserve(&mut self, zone: &ApartZone) -> Result<Option<Room>> {
        self.published.reserve(zone, &mut self.programs)
    }

    fn compiler(&self) -> Option<Arc<dyn ApartCompiler>> {
        Some(self.published.compiler())
    }

    fn set_hash_key(&mut self, key: u64) {
        self.published.set_hash_key(key);
        let (settings, loaded) = self.programs.settings_mut();
        settings.set_hash_key(key, loaded);
    }

    fn change_placed(
        &mut self,
        placed: PlacedZone,
        zone: &Version,
        change: &Difference,
    ) -> Result<PlacedZone> {
        self.published.change_placed(placed, zone, change, &mut self.programs)
    }

    fn cancel(&mut self, room: Room) {
        self.published.cancel(room);
    }

    fn cancel_placed(&mut self, placed: PlacedZone) {
        self.published.cancel_placed(placed);
    }

    fn publish_placed(&mut self, zone: &Version, placed: PlacedZone) -> Result<Published> {
        self.published.publish_placed(zone, placed, &mut self.programs)
    }

    fn exchange(&mut self, zone: &Version) {
        self.published.exchange(zone);
    }

    fn set_answered(&mut self, apex: &Name, is_answered: bool) {
        self.published.set_answered(apex, is_answered, &mut self.programs);
    }

    fn remove(&mut self, apex: &Name) -> Result<()> {
        self.published.remove(apex, &mut self.programs);
        Ok(())
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.published.engine()
    }

    fn set_edns_settings(&mut self, edns_settings: &maps::EdnsSettings) {
        let (settings, loaded) = self.programs.settings_mut();
        settings.set_edns_settings(edns_settings, loaded);
    }

    fn set_limits(&mut self, limits: &Arc<Limits>, qps: u64) -> Result<()> {
        let (settings, loaded) = self.programs.settings_mut();
        settings.set_limits(limits, qps, loaded)
    }
}

impl Attaching for Plane {
    fn attach(&mut self, interface: &str) -> Result<()> {
        let place = self.programs.place(interface)?;
        if !self.programs.are_loaded() {
            self.published.load(&mut self.programs)?;
        }
        self.programs.attach(place)
    }

    fn detach(&mut self, interface: Option<&str>) -> Result<Detached> {
        self.programs.detach(interface)
    }

    fn follow(&mut self, before: &Config, now: &Config) -> Result<()> {
        self.programs.answer_on(now)?;
        let is_new = |name: &&String| !before.xdp.interfaces.contains(name);
        let is_gone = |name: &&String| !now.xdp.interfaces.contains(name);
        let mut added = Vec::new();
        for interface in now.xdp.interfaces.iter().filter(is_new) {
            if self.programs.attachments().is_on(interface) {
                continue;
            }
            match self.attach(interface) {
                Ok(()) => added.push(interface),
                // One that is not there is waited for, as at the start.
                Err(error) if if_nametoindex(interface.as_str()).is_err() => {
                    tracing::warn!(interface, "XDP is not attached: {error:#}");
                    self.programs.attachments().wait_for(interface, format!("{error:#}"));
                    added.push(interface);
                }
                Err(error) => {
                    for added in added {
                        self.programs.detach(Some(added))?;
                    }
                    self.programs.answer_on(before)?;
                    return Err(error.context(format!("attaching to {interface}")));
                }
            }
        }
        for interface in before.xdp.interfaces.iter().filter(is_gone) {
            // Somebody may have detached it before.
            if let Err(error) = self.programs.detach(Some(interface)) {
                tracing::warn!("{error:#}");
            }
        }
        Ok(())
    }

    fn replace_adopted(&mut self) -> Result<()> {
        self.programs.replace_adopted()
    }

    fn begin_trace(&mut self, filter: Filter, duration: Duration) -> Result<Arc<dyn TraceLines>> {
        self.programs.begin_trace(filter, duration)
    }

    fn end_trace(&mut self) -> Result<()> {
        self.programs.end_trace()
    }

    fn end(&mut self) -> Result<()> {
        self.programs.end()
    }
}

impl Observing for Plane {
    fn status(&self) -> PlaneStatus {
        let mut status = PlaneStatus::default();
        self.programs.describe(&mut status);
        self.published.describe(self.programs.are_loaded(), &mut status);
        status
    }

    fn counters(&self) -> KernelCounters {
        self.programs.counters()
    }

    fn amplified(&self) -> Vec<Amplified> {
        self.programs.amplified()
    }

    fn verdicts(&self) -> Verdicts {
        self.programs.verdicts()
    }

    fn limited(&self) -> Vec<Limited> {
        self.programs.limited()
    }

    fn is_tracing(&self) -> bool {
        self.programs.are_tracing()
    }

    fn inspect(&self) -> Option<Inspection> {
        let settings = self.programs.settings();
        Some(Inspection {
            reader: self.published.reader(),
            whole: self.published.whole(),
            config: *settings.config(),
            edns_settings: settings.edns_settings(),
            is_loaded: self.programs.are_loaded(),
        })
    }

    fn nodes(&self, apex: &Name) -> Listing {
        self.published.nodes(apex)
    }

    fn try_frame(&mut self, frame: &[u8]) -> Option<Result<TestRunResult>> {
        self.programs.try_frame(frame)
    }
}

impl DataPlane for Plane {
    fn tick(&mut self) {
        self.programs.look_again();
        self.attach_missing();
        self.published.tick(&mut self.programs);
        self.programs.look_for_faults();
    }
}
