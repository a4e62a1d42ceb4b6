//! The data plane: one image, in the daemon's memory until XDP is attached, then in the maps.
//!
//! When the image outgrows its memory, larger memory is made and the image moves; where XDP is attached
//! the programs are loaded once more over the larger maps and take the others' place between two
//! packets, so that no query is lost. The same happens to what an earlier daemon has pinned, once the zones
//! are loaded: until then its programs answer from its maps.
//!
//! A zone for which the maps may not grow is held *hot*: they have some of its names, and the daemon has
//! all zones in an image of its own, from which it answers what XDP passes up. Meanwhile XDP refuses no
//! names.

mod programs;
mod published;
mod settings;
mod size;
mod takeover;
mod watch;
mod watching;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use xdp_common::image::Bucket;
use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::maps::{self, MAX_MACS, Verdicts, mac_word};

use super::attach::{self, Attachment};
use super::broadcasts;
use super::hot::{self, Counting, Held, Misses};
use super::interface::Interface;
use super::limiting::Written;
use super::load::{self, HookCounters, Loaded};
use super::loader::Loader;
use super::memory::{Mapping, Size};
use super::path::Path as AnswerPath;
use super::pins::Pins;
use super::seam::{
    self, DataPlane, Detached, Inspection, MapStatus, PlaneStatus, Published, Tried, ZoneStatus,
};
use crate::compile::{Image, Listing, Retired, buckets_for};
use crate::config::{Config, OnExit, TcxMode, XdpMode};
use crate::server::Engine;
use crate::server::limits::Limits;
use crate::zone::{Name, Zone};
pub(super) use programs::named;
use programs::{HOOKS, NOT_LOADED, add_tcx, try_frame, warn_of};
use published::{publish_beside, wait_for_own_readers};
use settings::{NO_ADDRESS, told};
use size::{ADDRESSABLE, FLOOR, TooLarge, largest};
use takeover::Previous;
use watch::Wanted;
use watching::Watching;

/// Slots of a bucket.
const SLOTS: usize = size_of::<Bucket>() / size_of::<u64>();

/// Opens the data plane that a configuration describes: where it names interfaces, XDP is attached
/// when this returns, and answers nothing yet, or what an earlier daemon pinned. Where privileges will be
/// given up a loader is there that keeps them.
pub fn open(config: &Config) -> anyhow::Result<Box<dyn DataPlane>> {
    let plane = Plane::new(config, FLOOR)?;
    if !config.xdp.interfaces.is_empty() && !config.server.user.is_empty() {
        plane.loader.start_process()?;
    }
    Ok(Box::new(plane))
}

/// Compiled zones, and XDP where it is attached.
pub struct Plane {
    image: Image,
    /// What is published, complete or hot.
    zones: BTreeMap<Name, Arc<Zone>>,
    /// Those of which only these names are in `image`.
    hot: BTreeMap<Name, Held>,
    /// All zones, complete, as long as some are hot.
    own: Option<Image>,
    misses: Arc<Misses>,
    ticks: u64,
    size: Size,
    floor: Size,
    /// The most that the maps may take in octets.
    limit: usize,
    /// What the programs are told.
    config: maps::Config,
    manners: maps::Manners,
    mode: XdpMode,
    tcx: TcxMode,
    // Dropped before the programs that they run.
    attachments: Vec<Attachment>,
    loaded: Option<Loaded>,
    /// What was replaced and may still be read. It is freed once a second and when memory runs out, not
    /// after each change: waiting takes some 10 ms.
    retired: Vec<Retired>,
    /// The counters of programs that were replaced, by hook.
    carried: HookCounters,
    /// What is pinned, and where; `None` if nothing is to be.
    pins: Option<Pins>,
    pin_folder: Option<PathBuf>,
    /// Does what takes privileges.
    loader: Loader,
    /// Where XDP is to be.
    wanted: Wanted,
    on_exit: OnExit,
    /// What an earlier daemon pinned, while its programs run.
    previous: Option<Previous>,
    /// What is wrong where they are attached.
    watching: Watching,
    /// Whether the programs that are attached have anything to answer.
    is_settled: bool,
    limits: Arc<Limits>,
    /// What of them stands in the maps.
    written: Written,
    /// What was decided by programs that were replaced.
    carried_verdicts: Verdicts,
    /// Queries a second, for the limits that are scaled by them.
    qps: u64,
}

impl Plane {
    /// As [`open`]; `floor` is the least memory that is made.
    pub fn new(config: &Config, floor: Size) -> anyhow::Result<Plane> {
        let told = told(config)?;
        let limit = usize::try_from(config.xdp.memory.octets()).unwrap_or(usize::MAX);
        let memory = Mapping::anonymous(floor).context("making memory for zones")?;
        let mut plane = Plane {
            image: Image::new(Arc::new(memory), told.seed),
            zones: BTreeMap::new(),
            hot: BTreeMap::new(),
            own: None,
            misses: Arc::default(),
            ticks: 0,
            size: floor,
            floor,
            limit: limit.min(ADDRESSABLE),
            config: told,
            manners: maps::Manners::new(),
            mode: config.xdp.mode,
            tcx: config.xdp.tcx,
            attachments: Vec::new(),
            loaded: None,
            retired: Vec::new(),
            carried: [[0; _]; HOOKS.len()],
            pins: None,
            pin_folder: config.xdp.pin.path().map(Path::to_owned),
            loader: Loader::here(config.xdp.pin.path().map(Path::to_owned)),
            on_exit: config.xdp.on_exit,
            wanted: Wanted::default(),
            previous: None,
            watching: Watching::default(),
            is_settled: false,
            limits: Arc::default(),
            written: Written::default(),
            carried_verdicts: Verdicts::default(),
            qps: 0,
        };
        if !config.xdp.interfaces.is_empty() && !config.server.user.is_empty() {
            // A daemon without privileges cannot make larger maps later.
            plane.floor = largest(plane.limit);
        }
        // A folder of pins that others could change is no matter of `required`: nothing starts beside it.
        let has_pins = plane.pin_folder.as_deref().is_some_and(Path::exists);
        if has_pins || !config.xdp.interfaces.is_empty() {
            plane.open_pins()?;
        }
        plane.attach_all(config)?;
        plane.unpin_others();
        Ok(plane)
    }
}

impl DataPlane for Plane {
    fn publish(&mut self, zone: &Arc<Zone>) -> anyhow::Result<Published> {
        let apex = zone.apex();
        // Readers of an image of the daemon's own must not see an older version than XDP has.
        if let Some(own) = &mut self.own {
            publish_beside(own, zone)?;
        }
        // A zone above it that is hot must not lose sight of the cut.
        for above in self.hot_above(apex) {
            self.publish_hot(&above, Some(apex))?;
        }
        let published = match self.publish_complete(zone) {
            Err(error) if error.is::<TooLarge>() => {
                if !self.hot.contains_key(apex) {
                    tracing::warn!(zone = %apex, "held hot, most names by the daemon alone: {error:#}");
                }
                self.hold_hot(zone)
            }
            published => published.inspect(|_| self.forget_hot(apex)),
        };
        self.config.max_labels = self.image.max_labels();
        self.tell();
        let published = published?;
        self.zones.insert(apex.clone(), Arc::clone(zone));
        Ok(published)
    }

    fn remove(&mut self, apex: &Name) -> anyhow::Result<()> {
        let retired = self.image.remove(apex);
        self.retired.push(retired);
        self.zones.remove(apex);
        if let Some(own) = &mut self.own {
            let retired = own.remove(apex);
            wait_for_own_readers(own);
            own.release(retired);
        }
        self.forget_hot(apex);
        self.config.max_labels = self.image.max_labels();
        self.tell();
        Ok(())
    }

    fn set_manners(&mut self, manners: &maps::Manners) {
        self.manners = *manners;
        self.tell_manners();
    }

    fn engine(&self) -> Arc<dyn Engine> {
        match &self.own {
            Some(own) => {
                Arc::new(Counting { engine: own.reader(), misses: Arc::clone(&self.misses) })
            }
            None => Arc::new(self.image.reader()),
        }
    }

    fn attach(&mut self, interface: &str) -> anyhow::Result<()> {
        if self.attachments.iter().any(|one| one.interface().name == interface) {
            bail!("XDP is attached to {interface} already");
        }
        if self.attachments.len() == MAX_MACS {
            bail!("XDP is attached to {MAX_MACS} interfaces, and that is the most");
        }
        if self.config.address_count == 0 {
            bail!(NO_ADDRESS);
        }
        let mut interface = Interface::find(interface)?;
        self.open_pins()?;
        let mode = AnswerPath::new(&interface, self.mode, self.tcx)?.mode();
        let adopted = self.adopt(&interface, mode)?;
        if adopted.is_none() {
            // What did not fit is detached now.
            interface = Interface::find(&interface.name)?;
            attach::check_free(&interface, mode)?;
        }
        if self.loaded.is_none() {
            self.load()?;
        }
        self.pin(false)?;
        // Known before the first packet comes.
        self.config.macs[self.attachments.len()] = mac_word(interface.mac);
        broadcasts::tell(&mut self.config, &[&interface.name]);
        self.tell();
        let links = self.links_of(interface.index);
        let loaded = self.loaded.as_mut().context(NOT_LOADED)?;
        let attached = match adopted {
            Some(adopted) => Ok(adopted),
            None => Attachment::new(loaded, interface, self.mode, self.tcx, links),
        };
        let attached = attached.map(|mut attachment| {
            if attachment.adopted().is_some() {
                // Once privileges are given up it is too late.
                for hook in attachment.hooks() {
                    if let Err(error) = loaded.verify(hook) {
                        tracing::warn!("no program to replace what was taken over: {error}");
                    }
                }
            } else if attachment.wants_tcx(self.tcx) {
                add_tcx(&mut attachment, loaded, self.tcx);
            }
            // What stands in the way of XDP does not in that of TCX.
            if attachment.mode() != XdpMode::Tcx {
                warn_of(attachment.interface());
            }
            let interface = attachment.interface();
            self.wanted.attached(&interface.name, interface.index);
            self.watching.attached(&interface.name);
            self.attachments.push(attachment);
        });
        self.tell_macs();
        self.pin(false)?;
        Ok(attached?)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.is_settled = true;
        if self.attachments.iter().all(|one| one.adopted().is_none()) {
            return Ok(());
        }
        // If we are killed from here on, the next daemon finds in one place what was counted.
        self.carry(None);
        self.replace_programs(|attachment| attachment.adopted().is_some())?;
        self.wait_for_readers();
        self.inherit();
        tracing::info!("the programs that were taken over are replaced");
        Ok(())
    }

    fn detach(&mut self, interface: Option<&str>) -> anyhow::Result<Detached> {
        let is_meant =
            |one: &Attachment| interface.is_none_or(|interface| one.interface().name == interface);
        let gone: Vec<Attachment> = self.attachments.extract_if(.., |one| is_meant(one)).collect();
        // Who detaches means it: nothing is attached again.
        gone.iter().for_each(|one| self.wanted.forget(one.interface().index));
        let waited_for = self.wanted.forget_name(interface);
        if let (Some(interface), true) = (interface, gone.is_empty() && waited_for.is_empty()) {
            let names: Vec<&str> =
                self.attachments.iter().map(|one| one.interface().name.as_str()).collect();
            match names.as_slice() {
                [] => bail!("XDP is not attached to {interface}, nor to any other interface"),
                names => bail!("XDP is not attached to {interface}, but to {}", names.join(", ")),
            }
        }
        let names: Vec<String> = gone.iter().map(|one| one.interface().name.clone()).collect();
        gone.into_iter().for_each(Attachment::detach);
        if self.previous.is_some() && self.attachments.iter().all(|one| one.adopted().is_none()) {
            self.inherit();
        }
        if self.attachments.is_empty()
            && self.wanted.is_empty()
            && let Some(pins) = self.pins.take()
        {
            pins.remove();
        }
        self.tell_macs();
        Ok(Detached { forgotten: waited_for, detached: names })
    }

    fn end(&mut self) -> anyhow::Result<()> {
        match &self.pins {
            Some(pins) if self.on_exit == OnExit::Keep && !self.attachments.is_empty() => {
                tracing::info!(pins = %pins.folder().display(), "XDP goes on answering");
                Ok(())
            }
            _ => self.detach(None).map(drop),
        }
    }

    fn status(&self) -> PlaneStatus {
        let attachments = self.attachments.iter().map(|one| seam::Attachment {
            interface: one.interface().name.clone(),
            mode: one.mode(),
            tcx: one.has_tcx(),
            pinned: one.is_pinned(),
            adopted: one.adopted().is_some(),
        });
        let usage = self.image.usage();
        let (slab, table) = (self.size.slab as u64, (self.size.buckets * SLOTS) as u64);
        let maps = [
            MapStatus {
                name: maps::SLAB.into(),
                used: usage.slab_octets as u64,
                capacity: slab,
                memory_octets: slab,
            },
            MapStatus {
                name: maps::TABLE.into(),
                used: usage.entries as u64,
                capacity: table,
                memory_octets: table * size_of::<u64>() as u64,
            },
        ];
        let zones = self.zones.keys().filter_map(|apex| {
            let own = self.own.as_ref().and_then(|own| own.usage_of(apex));
            let held = self.image.usage_of(apex)?;
            let whole = own.unwrap_or(held);
            Some(ZoneStatus {
                zone: apex.to_string(),
                held: if held.is_part { "hot" } else { "complete" },
                names: whole.names as u64,
                names_held: held.names as u64,
                records: whole.records as u64,
                octets: whole.octets as u64,
                octets_held: held.octets as u64,
            })
        });
        let beside = self.own.as_ref().map(Image::usage);
        let image_octets = [Some(usage), beside].into_iter().flatten().map(|usage| {
            let buckets = buckets_for(usage.entry_capacity);
            usage.slab_octets + buckets * size_of::<Bucket>()
        });
        PlaneStatus {
            zones: zones.collect(),
            image_octets: image_octets.sum::<usize>() as u64,
            attachments: attachments.collect(),
            missing: self.missing(),
            loader_lost: self.loader.lost(),
            faults: self.faults(),
            maps: maps.into_iter().filter(|_| self.loaded.is_some()).collect(),
        }
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let Some(loaded) = &self.loaded else { return BTreeMap::new() };
        let mut all = BTreeMap::new();
        for ((hook, prefix), carried) in HOOKS.into_iter().zip(&self.carried) {
            match loaded.counters(hook) {
                Ok(mut counters) => {
                    load::add(&mut counters, carried);
                    load::add(&mut counters, &self.counted_before(hook));
                    all.extend(named(&counters, prefix));
                }
                Err(error) => {
                    tracing::warn!(
                        "XDP's counters cannot be read: {error} (before Linux 5.19 it takes CAP_BPF)"
                    );
                }
            }
        }
        all
    }

    fn inspect(&self) -> Option<Inspection> {
        let (told, is_loaded) = (self.config, self.loaded.is_some());
        let whole = self.own.as_ref().unwrap_or(&self.image).reader();
        let (reader, manners) = (self.image.reader(), self.manners_told());
        Some(Inspection { reader, whole, told, manners, is_loaded })
    }

    fn nodes(&self, apex: &Name) -> Listing {
        self.image.nodes(apex)
    }

    fn try_frame(&mut self, frame: &[u8]) -> Option<anyhow::Result<Tried>> {
        self.loaded.as_mut().map(|loaded| try_frame(loaded, frame))
    }

    fn set_limits(&mut self, limits: &Arc<Limits>, qps: u64) -> anyhow::Result<()> {
        limits.check()?;
        let before = (std::mem::replace(&mut self.limits, Arc::clone(limits)), self.qps);
        self.qps = qps;
        let told = self.tell_limits();
        if told.is_err() {
            (self.limits, self.qps) = before;
            if let Err(error) = self.tell_limits() {
                tracing::error!("the limits before cannot be set again: {error:#}");
            }
        }
        told
    }

    fn amplified(&self) -> Vec<Amplified> {
        let amplified = self.loaded.as_ref().map(Loaded::amplified).transpose();
        amplified.map(Option::unwrap_or_default).unwrap_or_else(|error| {
            tracing::warn!("the worst responses cannot be read: {error}");
            Vec::new()
        })
    }

    fn verdicts(&self) -> Verdicts {
        let mut sums = self.carried_verdicts;
        for (hook, _) in HOOKS {
            match self.loaded.as_ref().map(|loaded| loaded.verdicts(hook)) {
                Some(Ok(verdicts)) => sums.add(&verdicts),
                Some(Err(error)) => tracing::warn!("the verdicts cannot be read: {error}"),
                None => {}
            }
        }
        sums
    }

    fn limited(&self) -> Vec<Limited> {
        let limited = self.loaded.as_ref().map(Loaded::limited).transpose();
        limited.map(Option::unwrap_or_default).unwrap_or_else(|error| {
            tracing::warn!("the limited netblocks cannot be read: {error}");
            Vec::new()
        })
    }

    fn tick(&mut self) {
        let (mut changed, mut gone) = (false, Vec::new());
        for attachment in &mut self.attachments {
            changed |= attachment.look_again();
            gone.extend(attachment.why_gone().map(|why| (attachment.interface().index, why)));
        }
        self.attachments.retain(Attachment::is_there);
        self.note_gone(&gone);
        if changed {
            self.tell_macs();
        } else {
            self.tell_broadcasts();
        }
        self.attach_missing();
        self.release();
        self.watch();
        self.ticks += 1;
        if self.ticks.is_multiple_of(hot::CHOICE_TICKS) {
            self.choose_hot();
        }
    }
}
