//! What is published: zones in the image that XDP reads, and, as long as some of them do not fit, in one of the
//! daemon's own.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use xdp_common::maps::CHUNK_LEN;

use super::Plane;
use super::size::{ADDRESSABLE, FLOOR, LARGE, TooLarge, fitting};
use crate::compile::{Difference, Image, PublishError, buckets_for};
use crate::datapath::hot::{self, Held};
use crate::datapath::memory::{Mapping, Size, wait_for_programs};
use crate::datapath::seam::Published;
use crate::server::now;
use crate::zone::{Name, Zone};

/// How long to wait for running programs where the kernel does not tell when they have ended: a
/// program runs for microseconds.
const LONG_AFTER: Duration = Duration::from_secs(1);

impl Plane {
    /// Loads the programs over maps that hold what is published, and moves the image there.
    pub(super) fn load(&mut self) -> anyhow::Result<()> {
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

    /// Waits until nobody reads any more what was replaced before: neither XDP nor our own engine.
    pub(super) fn wait_for_readers(&self) {
        if self.loaded.is_some()
            && let Err(error) = wait_for_programs()
        {
            tracing::debug!(%error, "the kernel does not tell when programs have ended");
            std::thread::sleep(LONG_AFTER);
        }
        wait_for_own_readers(&self.image);
    }

    /// Frees what was replaced before, once nobody reads it any more.
    pub(super) fn release(&mut self) {
        if self.retired.is_empty() {
            return;
        }
        self.wait_for_readers();
        for retired in self.retired.drain(..) {
            self.image.release(retired);
        }
    }
}

impl Plane {
    /// Publishes all names of a zone into the image that XDP reads, which grows as far as it may.
    pub(super) fn publish_complete(&mut self, zone: &Arc<Zone>) -> anyhow::Result<Published> {
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
    pub(super) fn hold_hot(&mut self, zone: &Arc<Zone>) -> anyhow::Result<Published> {
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
    pub(super) fn publish_hot(
        &mut self,
        apex: &Name,
        below: Option<&Name>,
    ) -> anyhow::Result<Published> {
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
    pub(super) fn hot_above(&self, apex: &Name) -> Vec<Name> {
        let is_above = |above: &&Name| *above != apex && apex.is_at_or_below(above);
        self.hot.keys().filter(is_above).cloned().collect()
    }

    pub(super) fn forget_hot(&mut self, apex: &Name) {
        if self.hot.remove(apex).is_none() {
            return;
        }
        if self.hot.is_empty() {
            self.own = None;
        }
        self.tell_manners();
    }

    /// Follows what is asked for.
    pub(super) fn choose_hot(&mut self) {
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
pub(super) fn publish_beside(own: &mut Image, zone: &Zone) -> anyhow::Result<()> {
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
pub(super) fn wait_for_own_readers(image: &Image) {
    drop(image.reader().gate().write().unwrap_or_else(PoisonError::into_inner));
}
