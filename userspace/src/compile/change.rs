//! A difference published: the image changes by what the difference changes, and whatever the size of the zone, no more of
//! it is read or written.
//!
//! The order of stores is that of [`Image::publish`]. Nodes that were written refer to a zone record of their own as
//! long as the older ones do not say the same; then each takes one of those, by one store, so that a zone has no more
//! records however often it changes.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use xdp_common::image::node::{self, Node, flag};
use xdp_common::image::{Address, UNIT};

use super::build::{ChangeInput, CompiledChange, compile_change};
use super::error::{ChangeError, CompileError, PublishError, WholeReason};
use super::image::{Difference, Image, RetiredExtents, find};
use super::memory::Memory;
use super::reuse::SlabRecords;
use super::slab::{Extent, Slab};
use super::sorted::SortedList;
use super::table::{self, node_hash};
use super::version::CompiledZone;
use crate::zone::name::is_at_or_below;
use crate::zone::{Name, Rtype, Version, canonical_order, difference, name};

impl Image {
    /// What [`Image::max_labels`] will be at the most once this difference is published, which leads to `new`. Names come
    /// with the records that it adds, and from below zone cuts and DNAME records that it removes.
    pub fn labels_with_change(&self, new: &Version, difference: &difference::Difference) -> u32 {
        let labels = |name: &[u8]| name::labels(name).count() as u32;
        let added = difference.added().iter().map(|record| labels(record.owner));
        let hides = |rtype: Rtype| matches!(rtype, Rtype::NS | Rtype::DNAME);
        let removed = difference.removed().iter().filter(|record| hides(record.rtype));
        // None for the servers of the apex.
        let hiders =
            removed.map(|record| record.owner).filter(|name| *name != new.apex().as_wire());
        let below = hiders.flat_map(|above| {
            new.from(above).map(|owner| owner.name()).take_while(|name| is_at_or_below(name, above))
        });
        added.chain(below.map(labels)).max().unwrap_or(0).max(self.max_labels())
    }

    /// Answers from `new` from now on, in place of the version that is published and that `difference` changes into it:
    /// as [`Image::publish`] would, but for the cost, which is that of the difference.
    ///
    /// # Errors
    /// [`ChangeError::Whole`] if the version must be published as a whole ([`Version::flat`]); else as
    /// [`Image::publish`].
    pub fn publish_change(
        &mut self,
        new: &Version,
        difference: &difference::Difference,
    ) -> Result<(Difference, RetiredExtents), ChangeError> {
        let apex = new.apex();
        let older = self.zones.get(apex).ok_or(WholeReason::NotPublished)?;
        if older.is_partial {
            return Err(WholeReason::Partial.into());
        }
        if new.any_answers().is_some() {
            return Err(WholeReason::AnyAnswers.into());
        }
        if self.has_zones_below(apex) {
            return Err(WholeReason::ZonesBelow.into());
        }
        let memory = Arc::clone(&self.memory);
        let (seed, now) = (self.seed, self.now);
        let node_of = |wire: &[u8]| node_of(&*memory, seed, apex, wire);
        let input =
            ChangeInput { older, new, difference, seed, now, memory: &*memory, node_of: &node_of };
        let compiled =
            compile_or_undo(&input, &mut self.slab).map_err(|error| self.fuller(error))?;
        let come = compiled.written.iter().filter(|(_, older)| *older == 0).count();
        if self.entries + come > table::capacity(self.memory.bucket_count()) {
            self.slab.undo();
            let buckets_needed = table::buckets_for(self.entries + come);
            let slab_needed = self.memory.slab_len();
            return Err(PublishError::Full { slab_needed, buckets_needed }.into());
        }
        self.slab.keep();
        older.is_gone.store(true, SeqCst);
        // Before any name of the version: the table's stores release.
        self.max_labels.fetch_max(self.labels_with_change(new, difference), Relaxed);
        let written: Vec<Address> = compiled.written.iter().map(|(new, _)| *new).collect();
        if let Err(error) = self.appear(&written) {
            if let Some(older) = self.zones.get_mut(apex) {
                older.is_gone = Arc::default();
            }
            self.abandoned.extend(compiled.taken);
            return Err(error.into());
        }
        for &(at, word) in &compiled.references {
            self.memory.replace(at, word);
        }
        let records = self.zones.get(apex).map_or_else(Vec::new, |zone| zone.records.clone());
        self.leave(&records, &compiled.gone, &compiled.gone_copies, compiled.heading);
        let record = records.first().copied().unwrap_or(0);
        written.iter().for_each(|&node| self.settle(node, record));
        let accounted = self.account(apex, compiled);
        self.tell_passed(apex);
        Ok(accounted)
    }

    /// The same error, with what would do where there is no room.
    pub(super) fn fuller(&self, error: ChangeError) -> ChangeError {
        match error {
            ChangeError::Publish(PublishError::Compile(CompileError::Full { slab_end, names })) => {
                self.full(slab_end, names).into()
            }
            error => error,
        }
    }

    /// Whether a zone is published whose apex is below a name.
    fn has_zones_below(&self, apex: &Name) -> bool {
        let mut behind = self.zones.range::<Name, _>(apex..).map(|(other, _)| other);
        behind.find(|other| *other != apex).is_some_and(|other| other.is_at_or_below(apex))
    }

    /// Gives a node a zone record in the place of the one that it has, which says the same.
    pub(super) fn settle(&self, node: Address, record: Address) {
        const { assert!(node::at::ZONE.is_multiple_of(8) && node::at::OTHERWISE == node::at::ZONE + 4) };
        let Some(found) = self.node(node) else { return };
        let word = u64::from(record) | u64::from(found.otherwise()) << 32;
        self.memory.replace(node as usize * UNIT + node::at::ZONE, word);
    }

    /// Keeps in mind what is published now; returns what it took.
    fn account(&mut self, apex: &Name, compiled: CompiledChange) -> (Difference, RetiredExtents) {
        let Some(zone) = self.zones.get_mut(apex) else { return Default::default() };
        let (records, names) = (zone.extents.len(), zone.nodes.len());
        let mut retired = account(zone, &*self.memory, &compiled);
        retired.append(&mut self.abandoned);
        zone.is_gone = Arc::default();
        let now = zone.extents.len();
        self.names = self.names - names + zone.nodes.len();
        self.records = self.records - records + now;
        let written = compiled.taken.len();
        let names = compiled.written.len() + compiled.gone.len();
        let kept = (now + 1).saturating_sub(written);
        (Difference { written, kept, names }, RetiredExtents::of(retired))
    }
}

/// Compiles a difference. If that fails, the slab is what it was; else the caller keeps what was taken, or undoes it.
pub(super) fn compile_or_undo(
    input: &ChangeInput<'_>,
    slab: &mut Slab,
) -> Result<CompiledChange, ChangeError> {
    slab.begin();
    compile_change(input, slab).inspect_err(|_| slab.undo())
}

/// Notes in what is kept of a zone what a change has made of it; returns the records that it has no more.
pub(super) fn account(
    zone: &mut CompiledZone,
    memory: &dyn Memory,
    compiled: &CompiledChange,
) -> Vec<Extent> {
    let slab = SlabRecords::new(memory);
    let place_of = |zone: &CompiledZone, node| {
        let wire = slab.name_of(node);
        zone.nodes.search(|&node| canonical_order(slab.name_of(node), wire))
    };
    for &(new, _) in &compiled.written {
        match place_of(zone, new) {
            Ok(place) => zone.nodes.replace(place, new),
            Err(place) => zone.nodes.insert(place, new),
        }
    }
    for &node in &compiled.gone {
        if let Ok(place) = place_of(zone, node) {
            zone.nodes.remove(place);
        }
    }
    exchange(&mut zone.aliases, &compiled.aliases);
    exchange(&mut zone.hosts, &compiled.hosts);
    exchange(&mut zone.by_hash, &compiled.by_hash);
    let is_dependent = |node: &Address| slab.is_dependent(*node);
    let gone =
        compiled.written.iter().map(|(_, older)| *older).chain(compiled.gone.iter().copied());
    zone.dependents -= gone.filter(is_dependent).count();
    zone.dependents += compiled.written.iter().filter(|(new, _)| is_dependent(new)).count();
    compiled.taken.iter().for_each(|&extent| add(zone, extent));
    compiled.unused.iter().filter_map(|&address| take(zone, address)).collect()
}

/// The node of a name that belongs to the zone at `apex`; 0 if it has none.
fn node_of(memory: &dyn Memory, seed: u64, apex: &Name, wire: &[u8]) -> Address {
    let apex_len = apex.as_wire().len();
    let hash = node_hash(wire, seed);
    let found = find(memory, wire, hash, hash).filter(|&address| {
        let window = super::memory::window(memory, address);
        let node = window.map(Node::new).filter(|node| !node.is(flag::VIRTUAL));
        let zone = node.and_then(|node| super::memory::window(memory, node.zone()));
        let zone = zone.map(xdp_common::image::zone::Zone::new);
        zone.is_some_and(|zone| usize::from(zone.apex_len()) == apex_len)
    });
    found.unwrap_or(0)
}

/// Takes what goes out of a sorted list, and puts in what comes.
fn exchange(list: &mut SortedList<(u32, Address)>, [gone, come]: &[Vec<(u32, Address)>; 2]) {
    for one in gone {
        if let Ok(place) = list.search(|other| other.cmp(one)) {
            list.remove(place);
        }
    }
    for &one in come {
        if let Err(place) = list.search(|other| other.cmp(&one)) {
            list.insert(place, one);
        }
    }
}

/// Counts a record among those of a zone.
fn add(zone: &mut CompiledZone, extent: Extent) {
    let place = zone.extents.search(|one| one.address.cmp(&extent.address));
    debug_assert!(place.is_err(), "a record is taken twice");
    if let Err(place) = place {
        zone.extents.insert(place, extent);
        zone.octets += (extent.len as usize).next_multiple_of(UNIT);
    }
}

/// Counts a record among those of a zone no more.
fn take(zone: &mut CompiledZone, address: Address) -> Option<Extent> {
    let place = zone.extents.search(|one| one.address.cmp(&address));
    debug_assert!(place.is_ok(), "a record is given up that is none of the zone's, or twice");
    let extent = zone.extents.remove(place.ok()?);
    zone.octets -= (extent.len as usize).next_multiple_of(UNIT);
    Some(extent)
}
