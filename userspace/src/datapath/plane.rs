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

mod takeover;
mod watch;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ring::rand::SecureRandom;
use xdp_common::Outcome;
use xdp_common::image::Bucket;
use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::limit::policy::Circumstances;
use xdp_common::maps::{
    self, CHUNK_LEN, MAX_ADDRESSES, MAX_MACS, MAX_PORTS, Stats, Verdicts, address_words, mac_word,
};

use super::attach::{self, Attachment};
use super::broadcasts;
use super::clock;
use super::device::Device;
use super::hot::{self, Counting, Held, Misses};
use super::interface::Interface;
use super::limiting::{self, Written};
use super::load::{self, Counters, HookCounters, Loaded, Programs};
use super::loader::Loader;
use super::memory::{Mapping, Size, wait_for_programs};
use super::path::{Path as AnswerPath, has_tcx};
use super::pins::Pins;
use super::probe::findings::{self, Severity};
use super::seam::{
    self, DataPlane, Inspection, MapStatus, PlaneStatus, Published, Tried, ZoneStatus,
};
use crate::compile::inspect::verify::Listing;
use crate::compile::{Difference, Image, PublishError, Retired, buckets_for};
use crate::config::{Config, OnExit, TcxMode, XdpMode};
use crate::server::limits::Limits;
use crate::server::{Engine, now};
use crate::zone::{Name, Zone};
use takeover::Previous;
use watch::Wanted;
use watching::Watching;

/// The least memory that is made: some 40,000 typical names.
const FLOOR: Size = Size { slab: 16 << 20, buckets: 8192 };

/// From so many octets on a slab grows by a quarter and not to twice its size.
const LARGE: usize = 256 << 20;

/// Slots of a bucket.
const SLOTS: usize = size_of::<Bucket>() / size_of::<u64>();

/// The part of all memory that a table takes which is made as large as may be: a name takes some 400
/// octets of the slab and, with the table filled to 0.5, 16 of the table.
const TABLE_PART: usize = 16;

/// The most that can be addressed: 2^32 units of eight octets.
const ADDRESSABLE: usize = 1 << 35;

/// The largest response over UDP that XDP sends in octets of DNS message: what passes every path
/// unfragmented (RFC 9715).
const MAX_PAYLOAD: usize = 1232;

/// How long to wait for running programs where the kernel does not tell when they have ended: a
/// program runs for microseconds.
const LONG_AFTER: Duration = Duration::from_secs(1);

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

    /// Loads the programs over maps that hold what is published, and moves the image there.
    fn load(&mut self) -> anyhow::Result<()> {
        let usage = self.image.usage();
        let least = Size {
            slab: usage.slab_octets.next_multiple_of(CHUNK_LEN),
            buckets: buckets_for(usage.entries),
        };
        let want = Size {
            slab: (2 * least.slab).max(self.floor.slab),
            buckets: (2 * least.buckets).max(self.floor.buckets),
        };
        self.move_to_maps(want, least)
    }

    /// Makes room for what a publication needs.
    fn grow(&mut self, needed: Size) -> anyhow::Result<()> {
        let (now, needed) = (self.size, needed.rounded());
        let least =
            Size { slab: now.slab.max(needed.slab), buckets: now.buckets.max(needed.buckets) };
        let mut want = least;
        if needed.slab > now.slab {
            // A change takes room for what it changes: large maps need not be twice as large.
            let more = if now.slab < LARGE { now.slab } else { now.slab / 4 };
            want.slab = want.slab.max((now.slab + more).next_multiple_of(CHUNK_LEN));
        }
        if needed.buckets > now.buckets {
            want.buckets = want.buckets.max(2 * now.buckets);
        }
        if want == now {
            // Full though the sums say otherwise: names crowd in some buckets, or the slab is cut into
            // pieces too small.
            want = Size { slab: 2 * now.slab, buckets: 2 * now.buckets };
        }
        if self.loaded.is_some() {
            return self.move_to_maps(want, least);
        }
        let size = fitting(want, least, ADDRESSABLE).filter(|size| *size != now);
        let size = size.context("the zones need more than 32 GiB")?;
        let memory = Mapping::anonymous(size).context("making memory for zones")?;
        self.image.move_to(Arc::new(memory))?;
        self.size = size;
        Ok(())
    }

    fn move_to_maps(&mut self, mut want: Size, mut least: Size) -> anyhow::Result<()> {
        let before = self.loaded.is_some().then_some(self.size);
        let (size, mut loaded) = loop {
            // Larger than before, or all that follows would be for nothing.
            let size = fitting(want, least, self.limit).filter(|size| Some(*size) != before);
            let size = size.ok_or_else(|| too_large(least, self.limit))?;
            let mut loaded = Loaded::new(size)?;
            // What is attached is to go on, or all that follows would be for nothing.
            for hook in [Programs::Xdp, Programs::Tcx] {
                if self.loaded.as_ref().is_some_and(|old| old.has(hook)) {
                    loaded.verify(hook)?;
                }
            }
            match self.image.move_to(loaded.memory()) {
                Ok(()) => break (size, loaded),
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed }.rounded();
                    let more = Size {
                        slab: least.slab.max(needed.slab),
                        buckets: least.buckets.max(needed.buckets),
                    };
                    if more == least && want == least {
                        bail!(too_large(least, self.limit));
                    }
                    least = more;
                    want = Size {
                        slab: want.slab.max(more.slab),
                        buckets: want.buckets.max(more.buckets),
                    };
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.size = size;
        self.config.bucket_mask = (size.buckets - 1) as u32;
        self.config.booted_at_s = clock::booted_at_s(clock::now_s());
        let mut written = Written::default();
        let circumstances = self.circumstances();
        written.write(&mut loaded, &self.limits, circumstances, &mut self.config)?;
        self.written = written;
        loaded.config.write(&self.config);
        loaded.manners.write(&self.manners_told());
        let old = self.loaded.replace(loaded);
        self.carry(old.as_ref());
        if let Err(error) = self.pin(true) {
            tracing::error!("what is pinned ends with the daemon: {error}");
        }
        // What was taken over goes on until zones are loaded.
        self.replace_programs(|attachment| attachment.adopted().is_none())?;
        if let Some(old) = &old {
            // The last packets are still on their way through the old programs.
            self.wait_for_readers();
            for ((hook, _), carried) in HOOKS.into_iter().zip(&mut self.carried) {
                match old.counters(hook) {
                    Ok(counters) => load::add(carried, &counters),
                    Err(error) => {
                        tracing::warn!("the counters before the change are lost: {error}")
                    }
                }
                if let Ok(verdicts) = old.verdicts(hook) {
                    self.carried_verdicts.add(&verdicts);
                }
            }
            self.carry(None);
        }
        self.keep_pins();
        let (slab, buckets) = (size.slab >> 20, size.buckets);
        tracing::info!("the maps have room for {slab} MiB of records and {buckets} buckets");
        Ok(())
    }

    /// Puts the loaded programs in the place of those that run where `is_meant` says.
    fn replace_programs(&mut self, is_meant: impl Fn(&Attachment) -> bool) -> anyhow::Result<()> {
        let loaded = self.loaded.as_mut().context(NOT_LOADED)?;
        for attachment in self.attachments.iter_mut().filter(|one| is_meant(one)) {
            if let Err(error) = attachment.replace(loaded) {
                let name = &attachment.interface().name;
                tracing::error!(interface = name, "XDP is detached: {error}");
            }
            if attachment.has_tcx_behind() && attachment.wants_tcx(self.tcx) {
                add_tcx(attachment, loaded, self.tcx);
            } else if attachment.has_tcx_behind() {
                attachment.remove_tcx();
            }
        }
        self.attachments.retain(Attachment::is_there);
        Ok(())
    }

    /// Waits until nobody reads any more what was replaced before: neither XDP nor our own engine.
    fn wait_for_readers(&self) {
        if self.loaded.is_some()
            && let Err(error) = wait_for_programs()
        {
            tracing::debug!(%error, "the kernel does not tell when programs have ended");
            std::thread::sleep(LONG_AFTER);
        }
        wait_for_own_readers(&self.image);
    }

    /// Frees what was replaced before, once nobody reads it any more.
    fn release(&mut self) {
        if self.retired.is_empty() {
            return;
        }
        self.wait_for_readers();
        for retired in self.retired.drain(..) {
            self.image.release(retired);
        }
    }

    /// Brings the limiter's maps up to date, if there are any.
    fn tell_limits(&mut self) -> anyhow::Result<()> {
        let circumstances = self.circumstances();
        let Some(loaded) = &mut self.loaded else { return Ok(()) };
        self.written.write(loaded, &self.limits, circumstances, &mut self.config)?;
        loaded.config.write(&self.config);
        self.written.clear(loaded, &self.limits, self.config.seed)
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances { tick_ns: self.config.tick_ns, qps: self.qps }
    }

    fn tell(&mut self) {
        self.config.booted_at_s = clock::booted_at_s(clock::now_s());
        if let Some(loaded) = &mut self.loaded {
            loaded.config.write(&self.config);
        }
    }

    /// What the programs are told of options and refusals. While a zone is hot its apex may be missing for
    /// a moment, or as long as the maps have no room for it: they must not take the absence of all zones
    /// above a name for the name being nobody's here.
    fn manners_told(&self) -> maps::Manners {
        let refuse = if self.hot.is_empty() { self.manners.refuse } else { 0 };
        maps::Manners { refuse, ..self.manners }
    }

    fn tell_manners(&mut self) {
        let told = self.manners_told();
        if let Some(loaded) = &mut self.loaded {
            loaded.manners.write(&told);
        }
    }

    /// Tells the programs the MAC addresses of all devices, and the broadcast addresses of our subnets.
    fn tell_macs(&mut self) {
        self.config.macs = [0; MAX_MACS];
        for (place, attachment) in self.config.macs.iter_mut().zip(&self.attachments) {
            *place = mac_word(attachment.interface().mac);
        }
        self.tell_broadcasts();
    }

    fn tell_broadcasts(&mut self) {
        if !self.attachments.is_empty() {
            let names = self.attachments.iter().map(|one| one.interface().name.as_str());
            broadcasts::tell(&mut self.config, &names.collect::<Vec<_>>());
        }
        self.tell();
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

    fn detach(&mut self, interface: Option<&str>) -> anyhow::Result<Vec<String>> {
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
        let names = gone.iter().map(|one| one.interface().name.clone()).collect();
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
        Ok(names)
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

const NOT_LOADED: &str = "the programs are not loaded";

/// Says what is known to stand in the way of answers on a device.
fn warn_of(interface: &Interface) {
    // A device that cannot be asked has been attached to all the same.
    let Ok(device) = Device::at(interface.index) else { return };
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let found = findings::of(&interface.name, &device, cpus).into_iter();
    for problem in found.filter(|finding| finding.severity == Severity::Problem) {
        let (interface, fix) = (&interface.name, problem.fix.unwrap_or_default());
        tracing::warn!(interface, fix, "{}", problem.what);
    }
}

fn try_frame(loaded: &mut Loaded, frame: &[u8]) -> anyhow::Result<Tried> {
    let hook = loaded.tried_hook().counters();
    let before = loaded.counters(hook)?;
    let (action, frame) = loaded.test_run(frame).context("BPF_PROG_TEST_RUN")?;
    let after = loaded.counters(hook)?;
    let moved = |outcome: &Outcome| before[outcome.index()] != after[outcome.index()];
    Ok(Tried { action, frame, counted: Outcome::ALL.into_iter().filter(moved).collect() })
}

impl Plane {
    /// Publishes all names of a zone into the image that XDP reads, which grows as far as it may.
    fn publish_complete(&mut self, zone: &Arc<Zone>) -> anyhow::Result<Published> {
        // Known before the names are: an encloser is looked for from there.
        self.config.max_labels = self.image.labels_with(zone);
        self.tell();
        loop {
            match self.image.at(now()).publish(zone) {
                Err(PublishError::Full { .. }) if !self.retired.is_empty() => self.release(),
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    self.grow(Size { slab: slab_needed, buckets: buckets_needed })?;
                }
                Err(error) => return Err(error.into()),
                Ok((difference, retired)) => {
                    self.retired.push(retired);
                    let Difference { written, kept, .. } = difference;
                    return Ok(Published { written, kept, is_hot: false });
                }
            }
        }
    }

    /// Goes on with some names of a zone that does not fit.
    fn hold_hot(&mut self, zone: &Arc<Zone>) -> anyhow::Result<Published> {
        let apex = zone.apex();
        if self.own.is_none() {
            let memory =
                Mapping::anonymous(self.floor_beside()).context("making memory for zones")?;
            let mut own = Image::new(Arc::new(memory), self.config.seed);
            for other in self.zones.values().filter(|other| other.apex() != apex) {
                publish_beside(&mut own, other)?;
            }
            publish_beside(&mut own, zone)?;
            self.own = Some(own);
        }
        let older = self.zones.insert(apex.clone(), Arc::clone(zone));
        self.hot.entry(apex.clone()).or_default();
        self.tell_manners();
        let published = self.publish_hot(apex, None);
        if let (Err(_), older) = (&published, older) {
            // A zone of which nothing is left in the maps stays hot: the daemon answers for it.
            if older.is_none() || self.image.usage_of(apex).is_some_and(|usage| !usage.is_part) {
                self.forget_hot(apex);
            }
            match older {
                Some(older) => drop(self.zones.insert(apex.clone(), older)),
                None => drop(self.zones.remove(apex)),
            }
        }
        published
    }

    /// Publishes the names of a hot zone that are to be held; `below` is the apex of a zone that is about to
    /// be published.
    fn publish_hot(&mut self, apex: &Name, below: Option<&Name>) -> anyhow::Result<Published> {
        let zone = Arc::clone(self.zones.get(apex).context("a hot zone that is not published")?);
        loop {
            let mut names = self.hot.get(apex).map(Held::names).unwrap_or_default();
            // Questions for the DS of a zone below are this zone's to answer.
            let beneath = self.zones.range::<Name, _>(apex..).map(|(other, _)| other);
            let beneath = beneath.take_while(|other| other.is_at_or_below(apex)).chain(below);
            names.extend(beneath.cloned());
            match self.image.at(now()).publish_part(&zone, &names) {
                Ok((difference, retired)) => {
                    self.retired.push(retired);
                    let Difference { written, kept, .. } = difference;
                    return Ok(Published { written, kept, is_hot: true });
                }
                Err(PublishError::Full { .. }) if !self.retired.is_empty() => self.release(),
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    self.make_room_for_hot(
                        apex,
                        Size { slab: slab_needed, buckets: buckets_needed },
                    )?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes room for names of a hot zone: larger maps if they may grow, or fewer names. Whatever complete
    /// version was there before goes last.
    fn make_room_for_hot(&mut self, apex: &Name, needed: Size) -> anyhow::Result<()> {
        let Err(error) = self.grow(needed) else { return Ok(()) };
        if !error.is::<TooLarge>() {
            return Err(error);
        }
        if let Some(held) = self.hot.get_mut(apex).filter(|held| !held.is_empty()) {
            held.halve();
            return Ok(());
        }
        if self.image.usage_of(apex).is_none_or(|usage| usage.is_part) {
            return Err(error);
        }
        let retired = self.image.remove(apex);
        self.retired.push(retired);
        Ok(())
    }

    /// The zones that are hot and above a name.
    fn hot_above(&self, apex: &Name) -> Vec<Name> {
        let is_above = |above: &&Name| *above != apex && apex.is_at_or_below(above);
        self.hot.keys().filter(is_above).cloned().collect()
    }

    fn forget_hot(&mut self, apex: &Name) {
        if self.hot.remove(apex).is_none() {
            return;
        }
        if self.hot.is_empty() {
            self.own = None;
        }
        self.tell_manners();
    }

    /// Follows what is asked for.
    fn choose_hot(&mut self) {
        if self.hot.is_empty() {
            return;
        }
        let zones = &self.zones;
        let zone_of = |apex: &Name| zones.get(apex).cloned();
        for apex in hot::choose(&mut self.hot, zone_of, &self.misses, self.ticks) {
            match self.publish_hot(&apex, None) {
                Ok(published) => {
                    tracing::debug!(zone = %apex, written = published.written, "other names are hot");
                }
                Err(error) => tracing::warn!(zone = %apex, "its hot names stay: {error:#}"),
            }
        }
    }

    fn floor_beside(&self) -> Size {
        Size {
            slab: self.floor.slab.min(FLOOR.slab),
            buckets: self.floor.buckets.min(FLOOR.buckets),
        }
    }
}

/// Publishes a zone into an image in the daemon's memory, which grows without a limit but its own.
fn publish_beside(own: &mut Image, zone: &Zone) -> anyhow::Result<()> {
    loop {
        match own.at(now()).publish(zone) {
            Ok((_, retired)) => {
                wait_for_own_readers(own);
                own.release(retired);
                return Ok(());
            }
            Err(PublishError::Full { slab_needed, buckets_needed }) => {
                let now = own.usage();
                let now =
                    Size { slab: now.slab_capacity, buckets: buckets_for(now.entry_capacity) };
                let needed = Size { slab: slab_needed, buckets: buckets_needed }.rounded();
                let mut want = Size {
                    slab: needed.slab.max(now.slab),
                    buckets: needed.buckets.max(now.buckets),
                };
                if want == now {
                    want = Size { slab: 2 * now.slab, buckets: 2 * now.buckets };
                }
                let memory = Mapping::anonymous(want).context("making memory for zones")?;
                own.move_to(Arc::new(memory))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until no thread of ours reads what was replaced in an image before.
fn wait_for_own_readers(image: &Image) {
    drop(image.reader().gate().write().unwrap_or_else(PoisonError::into_inner));
}

/// The maps may not become as large as the zones need.
#[derive(Debug, thiserror::Error)]
#[error(
    "the zones need more than {} MiB of maps, and `memory` in [xdp] allows {} MiB: raise it \
     and restart the daemon",
    .needed.div_ceil(1 << 20), .limit >> 20
)]
struct TooLarge {
    needed: usize,
    limit: usize,
}

/// Attaches to TCX too. Without it the sockets answer what XDP has no room for.
fn add_tcx(attachment: &mut Attachment, loaded: &mut Loaded, mode: TcxMode) {
    let name = &attachment.interface().name;
    if mode == TcxMode::Auto && !has_tcx(name) {
        tracing::info!(
            interface = name,
            "this kernel has no TCX (Linux 6.6): the sockets answer what XDP has no room for"
        );
        return;
    }
    let added = match loaded.tcx_entry() {
        Ok(program) => attachment.add_tcx(program).map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    let interface = &attachment.interface().name;
    match added {
        Ok(()) => tracing::info!(interface, "TCX answers what XDP has no room for"),
        Err(error) => tracing::warn!(
            interface,
            "no program on TCX, and answers that XDP has no room for are the sockets': {error:#}"
        ),
    }
}

/// The hooks by the place of their counters, and what the names of their counters begin with.
const HOOKS: [(u32, &str); maps::COUNTERS_COUNT as usize] =
    [(maps::XDP_COUNTERS, ""), (maps::TCX_COUNTERS, maps::TCX_PREFIX)];

/// Counters by the words of their outcomes, and the sums beside them.
pub(super) fn named(counters: &Counters, prefix: &str) -> BTreeMap<String, u64> {
    let outcomes = Outcome::ALL.iter().map(|one| (one.word(), counters[one.index()]));
    let sums = [
        ("octets_in", counters[offset_of!(Stats, octets_in) / size_of::<u64>()]),
        ("octets_out", counters[offset_of!(Stats, octets_out) / size_of::<u64>()]),
        ("grown_at_head", counters[offset_of!(Stats, grown_at_head) / size_of::<u64>()]),
    ];
    outcomes.chain(sums).map(|(name, count)| (format!("{prefix}{name}"), count)).collect()
}

const NO_ADDRESS: &str = "XDP would answer nothing: it knows no address; set `listen` in [server], \
                          or `addresses` in [xdp]";

/// What the programs are told from the start.
fn told(config: &Config) -> anyhow::Result<maps::Config> {
    let mut told = maps::Config::new();
    let mut seed = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| anyhow!("the system has no random numbers"))?;
    told.seed = u64::from_ne_bytes(seed);
    told.tick_ns = limiting::tick_ns()?;
    told.payload_limit = config.server.udp_payload.octets().min(MAX_PAYLOAD) as u32;

    let addresses: BTreeSet<IpAddr> = config.xdp_addresses().into_iter().collect();
    if addresses.len() > MAX_ADDRESSES {
        bail!(
            "XDP can answer on {MAX_ADDRESSES} addresses, and there are {}: name those that matter \
             most in `addresses` of [xdp]; the sockets serve the others",
            addresses.len()
        );
    }
    for (place, address) in told.addresses.iter_mut().zip(&addresses) {
        *place = address_words(*address);
    }
    told.address_count = addresses.len() as u32;

    let ports: BTreeSet<u16> = config.xdp.ports.iter().copied().collect();
    if ports.len() > MAX_PORTS {
        bail!("XDP can answer on {MAX_PORTS} ports: `ports` in [xdp] has {}", ports.len());
    }
    for (place, port) in told.ports.iter_mut().zip(&ports) {
        *place = port.to_be();
    }

    let interfaces = config.xdp.interfaces.len();
    if interfaces > MAX_MACS {
        bail!("XDP can be on {MAX_MACS} interfaces: `interfaces` in [xdp] has {interfaces}");
    }
    if interfaces > 0 && addresses.is_empty() {
        bail!(NO_ADDRESS);
    }
    if interfaces > 0 && (ports.is_empty() || ports.contains(&0)) {
        bail!(
            "XDP would answer nothing: `ports` in [xdp] must be UDP ports from 1 on, mostly [53]"
        );
    }
    Ok(told)
}

impl Size {
    /// What holds this much: whole chunks and a power of two of buckets.
    fn rounded(self) -> Size {
        Size {
            slab: self.slab.max(1).next_multiple_of(CHUNK_LEN),
            buckets: self.buckets.next_power_of_two(),
        }
    }
}

/// The largest size up to `want` that `limit` octets hold, with no less than `least`.
fn fitting(want: Size, least: Size, limit: usize) -> Option<Size> {
    [want.buckets, least.buckets].into_iter().find_map(|buckets| {
        let room = limit.checked_sub(buckets.checked_mul(size_of::<Bucket>())?)?;
        let slab = want.slab.min(room - room % CHUNK_LEN);
        (slab >= least.slab.max(CHUNK_LEN)).then_some(Size { slab, buckets })
    })
}

/// The most that `limit` octets hold.
fn largest(limit: usize) -> Size {
    let buckets = (limit / TABLE_PART / size_of::<Bucket>()).max(1);
    // The largest power of two below.
    let buckets = 1 << buckets.ilog2();
    let slab = limit.saturating_sub(buckets * size_of::<Bucket>());
    Size { slab: slab - slab % CHUNK_LEN, buckets }
}

fn too_large(least: Size, limit: usize) -> TooLarge {
    TooLarge { needed: least.octets().unwrap_or(usize::MAX), limit }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MIB: usize = 1 << 20;

    fn config(text: &str) -> Config {
        let text = format!("version = \"v1\"\n{text}");
        Config::parse(&text, Path::new("sealdns.toml")).unwrap()
    }

    #[test]
    fn what_programs_are_told_lies_as_packets_have_it() {
        let config = config(
            "[server]\nlisten = [\"192.0.2.1:53\", \"192.0.2.1:5353\", \"[2001:db8::1]:53\"]\n\
             udp-payload = 1400\n[xdp]\nports = [53, 5353, 53]\n",
        );
        let told = told(&config).unwrap();
        assert_eq!(told.address_count, 2);
        let octets = |words: [u64; 2]| words.map(u64::to_ne_bytes).concat();
        assert_eq!(octets(told.addresses[0]), b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01");
        assert_eq!(octets(told.addresses[1]), b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01");
        assert_eq!(told.ports.map(u16::to_ne_bytes), [[0, 53], [20, 233], [0, 0], [0, 0]]);
        assert_eq!(told.payload_limit, 1232);
        assert_eq!(mac_word([2, 0, 0, 0, 0, 1]).to_ne_bytes(), [2, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn what_programs_have_no_room_for_is_refused() {
        let addresses: Vec<String> = (0..=16).map(|host| format!("\"192.0.2.{host}\"")).collect();
        let addresses = addresses.join(", ");
        for (text, said) in [
            (format!("addresses = [{addresses}]"), "16 addresses, and there are 17"),
            ("ports = [1, 2, 3, 4, 5]".into(), "4 ports"),
            ("interfaces = [\"a\"]".into(), "knows no address"),
            (
                "interfaces = [\"a\"]\naddresses = [\"192.0.2.1\"]\nports = []".into(),
                "`ports` in [xdp]",
            ),
            (
                "interfaces = [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]".into(),
                "8 interfaces",
            ),
        ] {
            let error = told(&config(&format!("[xdp]\n{text}"))).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn memory_is_made_as_large_as_wanted_and_allowed() {
        let size = |slab, buckets| Size { slab, buckets };
        // All that is wanted.
        let want = size(16 * MIB, 8192);
        assert_eq!(fitting(want, size(MIB, 64), 32 * MIB), Some(want));
        // Less of the slab.
        assert_eq!(fitting(want, size(MIB, 64), 16 * MIB), Some(size(16 * MIB - 8192 * 64, 8192)));
        // And less of the table.
        assert_eq!(
            fitting(want, size(16 * MIB - CHUNK_LEN, 64), 16 * MIB),
            Some(size(16 * MIB - CHUNK_LEN, 64))
        );
        assert_eq!(fitting(want, size(16 * MIB, 64), 16 * MIB), None);
        assert_eq!(fitting(want, size(0, 64), 0), None);
        let all = largest(512 * MIB);
        assert_eq!(all, size(480 * MIB, 32 * MIB / 64));
        assert!(largest(100 * MIB).octets().unwrap() <= 100 * MIB);
        assert_eq!(largest(1).slab, 0);
    }

    #[test]
    fn every_counter_has_a_name() {
        let mut counters: Counters = std::array::from_fn(|index| index as u64);
        counters[Outcome::Miss.index()] = 1000;
        let named = named(&counters, "");
        assert_eq!(named["miss"], 1000);
        assert_eq!((named["octets_in"], named["octets_out"], named["grown_at_head"]), (64, 65, 66));
        assert_eq!(named.len(), Outcome::ALL.len() + 3);
    }
}
