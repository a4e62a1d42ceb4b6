//! What is published: zones in the image that XDP reads, and, as long as some of them do not fit there, in an image
//! of the daemon's own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use anyhow::Context;
use xdp_common::image::Bucket;
use xdp_common::maps::{self, CHUNK_LEN};

use super::programs::Programs;
use super::size::{Demand, FLOOR, Sizes, TooLarge};
use crate::clock::WallTime;
use crate::compile::{
    ChangeError, Difference, Engine, Image, Listing, PublishError, Reader, RetiredExtents,
    buckets_for,
};
use crate::datapath::load::LoadedPrograms;
use crate::datapath::memory::{Mapping, Size};
use crate::datapath::partial::{self, HeldNames, MissCounter, Misses};
use crate::datapath::seam::{PlaneStatus, Published, PublishedManner};
use crate::observe::usage::{Completeness, MapUsage, ZoneUsage};
use crate::zone::{self, Name, Version};

/// Slots of a bucket.
const SLOTS: usize = size_of::<Bucket>() / size_of::<u64>();

/// Zones that are published, in the daemon's memory until programs are loaded, then in their maps.
///
/// What changes the maps is handed the programs that read them.
pub(super) struct PublishedZones {
    pub(super) image: Image,
    /// What is published, complete or partial.
    pub(super) zones: BTreeMap<Name, Version>,
    /// Those of which only these names are in `image`.
    pub(super) partial: BTreeMap<Name, HeldNames>,
    /// All zones, complete, as long as some are partial.
    own: Option<Image>,
    misses: Arc<Misses>,
    ticks: u64,
    size: Size,
    sizes: Sizes,
    /// What was replaced and may still be read. It is freed once a second and when memory runs out, not
    /// after each change: waiting takes some 10 ms.
    pub(super) retired: Vec<RetiredExtents>,
}

impl PublishedZones {
    /// No zone, in memory of this size; names are hashed with `seed`.
    pub(super) fn new(size: Size, seed: u64, sizes: Sizes) -> anyhow::Result<PublishedZones> {
        let memory = Mapping::anonymous(size).context("making memory for zones")?;
        Ok(PublishedZones {
            image: Image::new(Arc::new(memory), seed),
            zones: BTreeMap::new(),
            partial: BTreeMap::new(),
            own: None,
            misses: Arc::default(),
            ticks: 0,
            size,
            sizes,
            retired: Vec::new(),
        })
    }

    //--- Zones

    /// Answers from `zone` from now on. On an error the older version stays. `change` is how it differs from the
    /// version that was published last, if that is known.
    pub(super) fn publish(
        &mut self,
        zone: &Version,
        change: Option<&zone::difference::Difference>,
        programs: &mut Programs,
    ) -> anyhow::Result<Published> {
        let apex = zone.apex();
        self.prepare(zone, programs)?;
        let published = match change {
            Some(change) => self.publish_change(zone, change, programs),
            None => Ok(None),
        };
        let published = match published {
            Ok(Some(published)) => Ok(published),
            Ok(None) => self.publish_complete(zone, programs),
            Err(error) => Err(error),
        };
        let published = match published {
            Err(error) if error.is::<TooLarge>() => {
                if !self.partial.contains_key(apex) {
                    tracing::warn!(
                        zone = %apex,
                        "the zone is partial: XDP has some of its names, and the daemon answers for all others: \
                         {error:#}"
                    );
                }
                self.hold_in_part(zone, programs)
            }
            published => published.inspect(|_| self.forget_partial(apex, programs)),
        };
        set_max_labels(self.image.max_labels(), programs);
        let published = published?;
        self.zones.insert(apex.clone(), zone.clone());
        Ok(published)
    }

    /// Does for a version that is about to be published what zones in part need.
    pub(super) fn prepare(
        &mut self,
        zone: &Version,
        programs: &mut Programs,
    ) -> anyhow::Result<()> {
        self.say_whether_passed(Some(zone.apex()), programs);
        // Readers of an image of the daemon's own must not see an older version than XDP has.
        if let Some(own) = &mut self.own {
            publish_in_memory(own, zone)?;
        }
        // A zone above it that is partial must not lose sight of the cut.
        for above in self.partial_above(zone.apex()) {
            self.publish_in_part(&above, Some(zone.apex()), programs)?;
        }
        Ok(())
    }

    /// In front of another server, answers for a zone, or passes queries for its names on.
    pub(super) fn set_answered(&mut self, apex: &Name, is_answered: bool, programs: &mut Programs) {
        self.image.set_answered(apex, is_answered);
        self.say_whether_passed(None, programs);
    }

    /// Tells the programs whether to look for zones that are passed on. It costs each answer a program more, and is said before
    /// such a zone is there.
    fn say_whether_passed(&self, next: Option<&Name>, programs: &mut Programs) {
        let (settings, loaded) = programs.settings_mut();
        settings.set_passes_zones(self.image.passes_zones(next), loaded);
    }

    /// Keeps a version in the place of the one that is published, which has the same records.
    pub(super) fn exchange(&mut self, zone: &Version) {
        if let Some(published) = self.zones.get_mut(zone.apex()) {
            *published = zone.clone();
        }
    }

    /// Answers nothing for the zone at `apex` any more.
    pub(super) fn remove(&mut self, apex: &Name, programs: &mut Programs) {
        let retired = self.image.remove(apex);
        self.retired.push(retired);
        self.zones.remove(apex);
        self.say_whether_passed(None, programs);
        if let Some(own) = &mut self.own {
            let retired = own.remove(apex);
            wait_for_own_readers(own);
            own.release(retired);
        }
        self.forget_partial(apex, programs);
        set_max_labels(self.image.max_labels(), programs);
    }

    /// Publishes what changed since the version that is published. `None` if the version must be published as a whole.
    pub(super) fn publish_change(
        &mut self,
        zone: &Version,
        change: &zone::difference::Difference,
        programs: &mut Programs,
    ) -> anyhow::Result<Option<Published>> {
        // Known before the names are: an encloser is looked for from there.
        set_max_labels(self.image.labels_with_change(zone, change), programs);
        loop {
            match self.image.at(WallTime::now().signature_time()).publish_change(zone, change) {
                Ok((difference, retired)) => {
                    self.retired.push(retired);
                    let Difference { written, kept, .. } = difference;
                    let manner = PublishedManner::Difference;
                    return Ok(Some(Published { written, kept, is_partial: false, manner }));
                }
                Err(ChangeError::Whole(reason)) => {
                    tracing::debug!(zone = %zone.apex(), "published as a whole: {reason}");
                    return Ok(None);
                }
                Err(ChangeError::Publish(PublishError::Full { .. }))
                    if !self.retired.is_empty() =>
                {
                    self.release(programs);
                }
                Err(ChangeError::Publish(PublishError::Full { slab_needed, buckets_needed })) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed };
                    match self.grow(needed, programs) {
                        // It may end with a part of the zone: that is decided where all of it is published.
                        Err(error) if error.is::<TooLarge>() => return Ok(None),
                        grown => grown?,
                    }
                }
                Err(ChangeError::Publish(error)) => return Err(error.into()),
            }
        }
    }

    /// Publishes all names of a zone into the image that XDP reads, which grows as far as it may.
    fn publish_complete(
        &mut self,
        zone: &Version,
        programs: &mut Programs,
    ) -> anyhow::Result<Published> {
        let zone = zone.flat()?;
        // Known before the names are: an encloser is looked for from there.
        set_max_labels(self.image.labels_with(&zone), programs);
        loop {
            match self.image.at(WallTime::now().signature_time()).publish(&zone) {
                Err(PublishError::Full { .. }) if !self.retired.is_empty() => {
                    self.release(programs);
                }
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed };
                    self.grow(needed, programs)?;
                }
                Err(error) => return Err(error.into()),
                Ok((difference, retired)) => {
                    self.retired.push(retired);
                    let Difference { written, kept, .. } = difference;
                    let manner = PublishedManner::Whole;
                    return Ok(Published { written, kept, is_partial: false, manner });
                }
            }
        }
    }

    //--- Zones in part

    /// Goes on with some names of a zone that does not fit.
    fn hold_in_part(
        &mut self,
        zone: &Version,
        programs: &mut Programs,
    ) -> anyhow::Result<Published> {
        let apex = zone.apex();
        if self.own.is_none() {
            let memory = Mapping::anonymous(self.sizes.floor_of_own());
            let memory = memory.context("making memory for zones")?;
            let mut own = Image::new(Arc::new(memory), self.image.seed());
            for other in self.zones.values().filter(|other| other.apex() != apex) {
                publish_in_memory(&mut own, other)?;
            }
            publish_in_memory(&mut own, zone)?;
            self.own = Some(own);
        }
        let older = self.zones.insert(apex.clone(), zone.clone());
        self.partial.entry(apex.clone()).or_default();
        self.say_whether_complete(programs);
        let published = self.publish_in_part(apex, None, programs);
        if let (Err(_), older) = (&published, older) {
            // A zone of which nothing is left in the maps stays partial: the daemon answers for it.
            if older.is_none() || self.image.usage_of(apex).is_some_and(|usage| !usage.is_partial) {
                self.forget_partial(apex, programs);
            }
            match older {
                Some(older) => drop(self.zones.insert(apex.clone(), older)),
                None => drop(self.zones.remove(apex)),
            }
        }
        published
    }

    /// Publishes the names of a partial zone that are to be held; `below` is the apex of a zone that is about to
    /// be published.
    fn publish_in_part(
        &mut self,
        apex: &Name,
        below: Option<&Name>,
        programs: &mut Programs,
    ) -> anyhow::Result<Published> {
        let zone = self.zones.get(apex).context("a partial zone that is not published")?.flat()?;
        loop {
            let mut names = self.partial.get(apex).map(HeldNames::names).unwrap_or_default();
            // Questions for the DS of a zone below are this zone's to answer.
            let beneath = self.zones.range::<Name, _>(apex..).map(|(other, _)| other);
            let beneath = beneath.take_while(|other| other.is_at_or_below(apex)).chain(below);
            names.extend(beneath.cloned());
            match self.image.at(WallTime::now().signature_time()).publish_partial(&zone, &names) {
                Ok((difference, retired)) => {
                    self.retired.push(retired);
                    let Difference { written, kept, .. } = difference;
                    let manner = PublishedManner::Whole;
                    return Ok(Published { written, kept, is_partial: true, manner });
                }
                Err(PublishError::Full { .. }) if !self.retired.is_empty() => {
                    self.release(programs);
                }
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed };
                    self.make_room_for_part(apex, needed, programs)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes room for names of a partial zone: larger maps if they may grow, or fewer names. Whatever complete
    /// version was there before goes last.
    fn make_room_for_part(
        &mut self,
        apex: &Name,
        needed: Size,
        programs: &mut Programs,
    ) -> anyhow::Result<()> {
        let Err(error) = self.grow(needed, programs) else { return Ok(()) };
        if !error.is::<TooLarge>() {
            return Err(error);
        }
        if let Some(held) = self.partial.get_mut(apex).filter(|held| !held.is_empty()) {
            held.halve();
            return Ok(());
        }
        if self.image.usage_of(apex).is_none_or(|usage| usage.is_partial) {
            return Err(error);
        }
        let retired = self.image.remove(apex);
        self.retired.push(retired);
        Ok(())
    }

    /// The zones that are partial and above a name.
    fn partial_above(&self, apex: &Name) -> Vec<Name> {
        let is_above = |above: &&Name| *above != apex && apex.is_at_or_below(above);
        self.partial.keys().filter(is_above).cloned().collect()
    }

    pub(super) fn forget_partial(&mut self, apex: &Name, programs: &mut Programs) {
        if self.partial.remove(apex).is_none() {
            return;
        }
        if self.partial.is_empty() {
            self.own = None;
        }
        self.say_whether_complete(programs);
    }

    /// Tells the programs whether names of no zone may be refused. While a zone is partial its apex may be missing for
    /// a moment, or as long as the maps have no room for it: they must not take the absence of all zones
    /// above a name for the name being nobody's here.
    fn say_whether_complete(&self, programs: &mut Programs) {
        let (settings, loaded) = programs.settings_mut();
        settings.set_may_refuse(self.partial.is_empty(), loaded);
    }

    /// Follows what is asked for.
    fn choose_names(&mut self, programs: &mut Programs) {
        if self.partial.is_empty() {
            return;
        }
        let zones = &self.zones;
        let zone_of = |apex: &Name| zones.get(apex).cloned();
        for apex in partial::choose(&mut self.partial, zone_of, &self.misses, self.ticks) {
            match self.publish_in_part(&apex, None, programs) {
                Ok(published) => {
                    tracing::debug!(zone = %apex, written = published.written, "other names are in XDP");
                }
                Err(error) => {
                    tracing::warn!(zone = %apex, "the names in XDP stay the same: {error:#}")
                }
            }
        }
    }

    //--- Memory

    /// Loads programs over maps that hold what is published, and moves the image there.
    pub(super) fn load(&mut self, programs: &mut Programs) -> anyhow::Result<()> {
        let usage = self.image.usage();
        let used = Size {
            slab: usage.slab_octets.next_multiple_of(CHUNK_LEN),
            buckets: buckets_for(usage.entries),
        };
        self.move_to_maps(self.sizes.to_hold(used), programs)
    }

    /// Leaves maps that no program reads: they have a limit that memory has not.
    pub(super) fn leave_maps(&mut self) -> anyhow::Result<()> {
        let memory = Mapping::anonymous(FLOOR).context("making memory for zones")?;
        self.image.move_to(Arc::new(memory))?;
        self.size = FLOOR;
        Ok(())
    }

    /// Makes room for what a publication needs.
    pub(super) fn grow(&mut self, needed: Size, programs: &mut Programs) -> anyhow::Result<()> {
        let demand = Demand::beyond(self.size, needed);
        if programs.are_loaded() {
            return self.move_to_maps(demand, programs);
        }
        let size = demand.of_memory(self.size).context("the zones need more than 32 GiB")?;
        let memory = Mapping::anonymous(size).context("making memory for zones")?;
        self.image.move_to(Arc::new(memory))?;
        self.size = size;
        Ok(())
    }

    /// Moves the image to maps that meet a demand. Where programs run, those over the new maps take their place.
    fn move_to_maps(&mut self, mut demand: Demand, programs: &mut Programs) -> anyhow::Result<()> {
        let before = programs.are_loaded().then_some(self.size);
        let (size, loaded): (Size, LoadedPrograms) = loop {
            let size = self.sizes.of_maps(demand, before)?;
            let loaded = programs.load(size)?;
            match self.image.move_to(loaded.memory()) {
                Ok(()) => break (size, loaded),
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed };
                    let least = demand.least;
                    let raised = demand.raised(needed);
                    demand = raised.ok_or_else(|| self.sizes.too_large(least))?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.size = size;
        programs.exchange(loaded, size)?;
        let (slab, buckets) = (size.slab >> 20, size.buckets);
        tracing::info!("the maps have room for {slab} MiB of records and {buckets} buckets");
        Ok(())
    }

    /// Frees what was replaced before, once nobody reads it any more: neither XDP nor our own engine.
    pub(super) fn release(&mut self, programs: &Programs) {
        if self.retired.is_empty() {
            return;
        }
        programs.wait_until_passed();
        wait_for_own_readers(&self.image);
        for retired in self.retired.drain(..) {
            self.image.release(retired);
        }
    }

    /// What is done each second.
    pub(super) fn tick(&mut self, programs: &mut Programs) {
        self.release(programs);
        self.ticks += 1;
        if self.ticks.is_multiple_of(partial::CHOICE_TICKS) {
            self.choose_names(programs);
        }
    }

    //--- Asking

    /// The engine over everything that is published now.
    pub(super) fn engine(&self) -> Arc<dyn Engine> {
        match &self.own {
            Some(own) => {
                Arc::new(MissCounter { engine: own.reader(), misses: Arc::clone(&self.misses) })
            }
            None => Arc::new(self.image.reader()),
        }
    }

    /// Reads what XDP reads.
    pub(super) fn reader(&self) -> Reader {
        self.image.reader()
    }

    /// Reads what the daemon answers from: all names of all zones.
    pub(super) fn whole(&self) -> Reader {
        self.own.as_ref().unwrap_or(&self.image).reader()
    }

    /// The nodes of a zone, with the hashes of their names, the apex first.
    pub(super) fn nodes(&self, apex: &Name) -> Listing {
        self.image.nodes(apex)
    }

    /// Puts in how full the maps are, if there are any, and what zones take.
    pub(super) fn describe(&self, has_maps: bool, status: &mut PlaneStatus) {
        let usage = self.image.usage();
        let (slab, table) = (self.size.slab as u64, (self.size.buckets * SLOTS) as u64);
        let maps = [
            MapUsage {
                name: maps::SLAB.into(),
                used: usage.slab_octets as u64,
                capacity: slab,
                memory_octets: slab,
            },
            MapUsage {
                name: maps::TABLE.into(),
                used: usage.entries as u64,
                capacity: table,
                memory_octets: table * size_of::<u64>() as u64,
            },
        ];
        status.maps = maps.into_iter().filter(|_| has_maps).collect();
        let zones = self.zones.keys().filter_map(|apex| self.status_of(apex));
        status.zones = zones.collect();
        let own = self.own.as_ref().map(Image::usage);
        let image_octets = [Some(usage), own].into_iter().flatten().map(|usage| {
            let buckets = buckets_for(usage.entry_capacity);
            usage.slab_octets + buckets * size_of::<Bucket>()
        });
        status.image_octets = image_octets.sum::<usize>() as u64;
    }

    fn status_of(&self, apex: &Name) -> Option<ZoneUsage> {
        let own = self.own.as_ref().and_then(|own| own.usage_of(apex));
        let held = self.image.usage_of(apex)?;
        let whole = own.unwrap_or(held);
        Some(ZoneUsage {
            zone: apex.to_string(),
            held: if held.is_partial { Completeness::Partial } else { Completeness::Complete },
            names: whole.names as u64,
            names_held: held.names as u64,
            records: whole.records as u64,
            octets: whole.octets as u64,
            octets_held: held.octets as u64,
        })
    }
}

/// Tells the programs how many labels the longest name of all zones has.
pub(super) fn set_max_labels(max_labels: u32, programs: &mut Programs) {
    let (settings, loaded) = programs.settings_mut();
    settings.set_max_labels(max_labels, loaded);
}

/// Publishes a zone into an image in the daemon's memory, which grows without a limit but its own.
fn publish_in_memory(own: &mut Image, zone: &Version) -> anyhow::Result<()> {
    let zone = zone.flat()?;
    loop {
        match own.at(WallTime::now().signature_time()).publish(&zone) {
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
