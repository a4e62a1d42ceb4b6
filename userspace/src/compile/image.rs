//! The image and its publisher: versions of zones come and go, and every answer at any moment is right
//! for the old version or for the new one.
//!
//! A version of a zone refers only to itself, and a name proves the absence of what its version does not
//! have below it. So names appear in an order in which a version's name is never in the table without
//! all that the version has below it: first those that are new, from below, then those that both have
//! and that differ, one by one, and last those that are gone leave, from above. Until then they are
//! answered as the version has them that they are of.
//!
//! Names that do not differ stay, and what they say is right for both versions, but for what their zone
//! record says. It changes in the end; but where it says which names there are (NSEC3, no DNSSEC), it
//! changes before the old ones leave, and until then those have a record of their own that does not. The
//! records that only the old version has stay until no reader is left.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, RwLock};

use xdp_common::engine::find::CUT_BESIDE_APEX;
use xdp_common::image::node::{Node, flag};
use xdp_common::image::zone as zone_record;
use xdp_common::image::{Address, UNIT, Window};
use xdp_common::maps::CHUNK_LEN;

use super::build::{compile, node_head};
use super::error::{CompileError, PublishError, Unsendable};
use super::memory::{self, Memory};
use super::reader::Reader;
use super::reuse::SlabRecords;
use super::slab::{Extent, Slab};
use super::table::{self, node_hash};
use super::version::{Compiled, CompiledZone, Listing};
use crate::zone::{Name, Zone, name};

/// The part of what a zone takes that is made for changes besides: one name in a hundred and more may change
/// before a larger slab is needed.
const SPARE_PART: usize = 32;

/// Extents that nothing refers to any more, but a reader may still be in.
#[must_use = "the memory is lost unless it is released after a grace period"]
#[derive(Default)]
pub struct RetiredExtents(Vec<Extent>);

impl RetiredExtents {
    pub(super) fn of(extents: Vec<Extent>) -> RetiredExtents {
        RetiredExtents(extents)
    }
}

/// What a publication took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Difference {
    /// Records of the slab that were written.
    pub written: usize,
    /// Records that both versions have.
    pub kept: usize,
    /// Names whose entries in the table changed.
    pub names: usize,
}

/// How much of an image a zone takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZoneUsage {
    /// Its names, empty non-terminals included.
    pub names: usize,
    /// Its records of the slab.
    pub records: usize,
    /// Octets of slab.
    pub octets: usize,
    /// Whether these are a part of its names.
    pub is_partial: bool,
}

/// How full an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Octets of slab in use.
    pub slab_octets: usize,
    /// Octets of slab there are.
    pub slab_capacity: usize,
    /// Entries in the table.
    pub entries: usize,
    /// Entries that the table takes.
    pub entry_capacity: usize,
    /// Existing names of all zones, empty non-terminals included.
    pub names: usize,
    /// Records of the slab: nodes, pieces, indexes.
    pub records: usize,
}

/// Compiled zones in memory.
pub struct Image {
    pub(super) memory: Arc<dyn Memory>,
    pub(super) seed: u64,
    /// Seconds since 1970, truncated to 32 bits: see [`Image::at`].
    pub(super) now: u32,
    pub(super) slab: Slab,
    pub(super) zones: BTreeMap<Name, CompiledZone>,
    /// Names above the apexes of zones.
    ancestors: HashMap<Box<[u8]>, Ancestor>,
    pub(super) entries: usize,
    pub(super) names: usize,
    pub(super) records: usize,
    /// Shared with all readers: it must be right before deeper names are.
    pub(super) max_labels: Arc<AtomicU32>,
    gate: Arc<RwLock<()>>,
    /// Of versions that could not be published.
    pub(super) abandoned: Vec<Extent>,
    /// Chunks that are written while others hold the image.
    pub(super) reserved: BTreeSet<usize>,
    /// In front of another server the zones whose queries are not passed to it; `None`: there is no other.
    pub(super) answered: Option<BTreeSet<Name>>,
}

/// A name above an apex: its node, which is in the table unless a zone has the name.
struct Ancestor {
    extent: Extent,
    /// How many apexes are below it.
    apexes: usize,
}

/// A lower-case wire name and where the table looks for it.
#[derive(Clone, Copy)]
struct Key<'a> {
    wire: &'a [u8],
    hash: u64,
}

impl Image {
    /// An empty image. `seed` keys the names' hash: random, so that nobody outside can fill a bucket.
    pub fn new(memory: Arc<dyn Memory>, seed: u64) -> Image {
        Image {
            slab: Slab::new(memory.slab_len()),
            memory,
            seed,
            now: 0,
            zones: BTreeMap::new(),
            ancestors: HashMap::new(),
            entries: 0,
            names: 0,
            records: 0,
            max_labels: Arc::default(),
            gate: Arc::default(),
            abandoned: Vec::new(),
            reserved: BTreeSet::new(),
            answered: None,
        }
    }

    /// Hashes names with another key from now on. Nothing may be published yet.
    ///
    /// # Panics
    /// If something is.
    pub fn set_seed(&mut self, seed: u64) {
        assert!(self.entries == 0, "names are hashed with the key before");
        self.seed = seed;
    }

    /// The key of the names' hash.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The most labels of any name that was ever published. Programs that share the memory must know it
    /// before the names are: see [`Image::labels_with`].
    pub fn max_labels(&self) -> u32 {
        self.max_labels.load(Relaxed)
    }

    /// What [`Image::max_labels`] will be once this zone is published.
    pub fn labels_with(&self, zone: &Zone) -> u32 {
        let labels = zone.owners().map(|owner| name::labels(owner.name()).count() as u32);
        labels.max().unwrap_or(0).max(self.max_labels())
    }

    /// The nodes of a zone with the hashes of their names, the apex first; none if it is not published.
    pub fn nodes(&self, apex: &Name) -> Listing {
        let Some(zone) = self.zones.get(apex) else { return Listing::default() };
        let nodes = zone.nodes.iter().map(|&address| (self.hash_of(address), address));
        Listing { nodes: nodes.collect(), is_gone: Arc::clone(&zone.is_gone) }
    }

    /// How full the image is.
    pub fn usage(&self) -> Usage {
        Usage {
            slab_octets: self.slab.used(),
            slab_capacity: self.memory.slab_len(),
            entries: self.entries,
            entry_capacity: table::capacity(self.memory.bucket_count()),
            names: self.names,
            records: self.records,
        }
    }

    /// How much of the image a zone takes.
    pub fn usage_of(&self, apex: &Name) -> Option<ZoneUsage> {
        let zone = self.zones.get(apex)?;
        Some(ZoneUsage {
            names: zone.nodes.len(),
            records: zone.extents.len(),
            octets: zone.octets,
            is_partial: zone.is_partial,
        })
    }

    /// The engine over this image.
    pub fn reader(&self) -> Reader {
        let gate = Arc::clone(&self.gate);
        let max_labels = Arc::clone(&self.max_labels);
        Reader::new(Arc::clone(&self.memory), self.seed, max_labels, gate)
    }

    /// Tells the time, in seconds since 1970 truncated to 32 bits. Of signatures of one RRset that hold at different
    /// times, with a gap between, it says which decide until when what is published next is sent.
    pub fn at(&mut self, now: u32) -> &mut Image {
        self.now = now;
        self
    }

    /// What of a zone no message can carry: questions for it are not answered.
    pub fn unsendable(&self, apex: &Name) -> &[Unsendable] {
        self.zones.get(apex).map_or(&[], |zone| &zone.unsendable)
    }

    /// Answers from `zone` from now on, in place of any version before it.
    pub fn publish(&mut self, zone: &Zone) -> Result<(Difference, RetiredExtents), PublishError> {
        self.publish_names(zone, None)
    }

    /// As [`Image::publish`], but only these names of the zone and its apex are answered for; all others
    /// are a miss.
    pub fn publish_partial(
        &mut self,
        zone: &Zone,
        names: &BTreeSet<Name>,
    ) -> Result<(Difference, RetiredExtents), PublishError> {
        self.publish_names(zone, Some(names))
    }

    fn publish_names(
        &mut self,
        zone: &Zone,
        part: Option<&BTreeSet<Name>>,
    ) -> Result<(Difference, RetiredExtents), PublishError> {
        let older = self.zones.get(zone.apex());
        self.slab.begin();
        let mut unsendable = Vec::new();
        let compiled = compile(
            zone,
            part,
            older,
            self.seed,
            self.now,
            &mut self.slab,
            &*self.memory,
            &mut unsendable,
        );
        let compiled = match compiled {
            Ok(mut compiled) => {
                compiled.zone.unsendable = unsendable;
                compiled
            }
            Err(error) => {
                self.slab.undo();
                return Err(match error {
                    CompileError::Full { slab_end, names } => self.full(slab_end, names),
                    error => PublishError::Compile(error),
                });
            }
        };
        let older = older.map_or(0, |older| older.nodes.len());
        let gone = compiled.gone.len();
        if let Err(error) = self.check_table(zone.apex(), older, compiled.zone.nodes.len() + gone) {
            self.slab.undo();
            return Err(error);
        }
        self.slab.keep();
        let mut compiled = compiled;
        let put = self.put(zone.apex(), &mut compiled);
        if put.is_err() {
            // Nothing refers to them, but a reader may: they go with what is withdrawn next.
            self.abandoned.extend(compiled.taken);
        }
        put
    }

    /// Whether the table has room for so many names of a zone in the place of `older`.
    pub(super) fn check_table(
        &self,
        apex: &Name,
        older: usize,
        names: usize,
    ) -> Result<(), PublishError> {
        // What it will hold at the most while both versions are in it.
        let above = name::labels(apex.as_wire()).count();
        let entries = self.entries + names.saturating_sub(older) + above + 1;
        if entries <= table::capacity(self.memory.bucket_count()) {
            return Ok(());
        }
        let (slab_needed, buckets_needed) = (self.memory.slab_len(), table::buckets_for(entries));
        Err(PublishError::Full { slab_needed, buckets_needed })
    }

    /// Answers from a version that lies in the slab from now on, in the place of the one before, of which it says what
    /// becomes. On an error it is as it was, and nothing in the table leads to it.
    pub(super) fn put(
        &mut self,
        apex: &Name,
        compiled: &mut Compiled,
    ) -> Result<(Difference, RetiredExtents), PublishError> {
        let older = self.zones.get(apex);
        if let Some(older) = older {
            older.is_gone.store(true, SeqCst);
        }
        // Before any name of the version: the table's stores release.
        self.max_labels.fetch_max(compiled.max_labels, Relaxed);
        self.tell_passed_in(apex, &compiled.zone.records);
        let is_new = older.is_none();
        let appeared = match is_new {
            true => self.add_ancestors(apex),
            false => Ok(()),
        };
        if let Err(error) = appeared.and_then(|()| self.appear(&compiled.written)) {
            let ancestors = if is_new { self.drop_ancestors(apex) } else { Vec::new() };
            if let Some(older) = self.zones.get_mut(apex) {
                older.is_gone = Arc::default();
            }
            self.abandoned.extend(ancestors);
            return Err(error);
        }
        let compiled = std::mem::take(compiled);
        self.disappear(&compiled.replaced);
        let (records, heading) = (&compiled.zone.records, compiled.heading);
        self.leave(records, &compiled.gone, &compiled.gone_copies, heading);
        let difference = Difference {
            written: compiled.fresh,
            kept: compiled.zone.extents.len() - compiled.fresh,
            names: compiled.written.len() + compiled.gone.len(),
        };
        self.names += compiled.zone.nodes.len();
        self.records += compiled.zone.extents.len();
        let known = self.zones.get(apex).map_or(&[][..], |older| &older.unsendable);
        if compiled.zone.unsendable != known {
            for one in &compiled.zone.unsendable {
                tracing::warn!("zone {apex}: {one}");
            }
        }
        if let Some(older) = self.zones.insert(apex.clone(), compiled.zone) {
            self.names -= older.nodes.len();
            self.records -= older.extents.len();
        }
        self.tell_passed(apex);
        let mut retired = RetiredExtents(compiled.retired);
        retired.0.append(&mut self.abandoned);
        Ok((difference, retired))
    }

    /// Takes names that are gone out of the table, and makes what the others have in common be that of the new version.
    pub(super) fn leave(
        &mut self,
        records: &[Address],
        gone: &[Address],
        copies: &[Address],
        heading: (u64, u32),
    ) {
        if copies.is_empty() {
            self.disappear(gone);
            self.head(records, heading);
            return;
        }
        for (&old, &copy) in gone.iter().zip(copies) {
            let hash = self.hash_of(old);
            for place in [hash, hash ^ CUT_BESIDE_APEX] {
                table::replace(&*self.memory, place, old, copy);
            }
        }
        self.head(records, heading);
        self.disappear(copies);
    }

    /// Makes what names have in common that do not differ be that of the new version.
    pub(super) fn head(&self, records: &[Address], (word, serial): (u64, u32)) {
        for &record in records {
            let Some(window) = self.window(record) else { continue };
            let second = zone_record::at::SERIAL;
            let mut octets: [u8; 8] = window[second..second + 8].try_into().expect("eight octets");
            octets[..4].copy_from_slice(&serial.to_le_bytes());
            let at = record as usize * UNIT;
            for (at, word) in [(at, word), (at + second, u64::from_le_bytes(octets))] {
                if self.memory.read(at, 8) != Some(&word.to_le_bytes()) {
                    self.memory.replace(at, word);
                }
            }
        }
    }

    /// Answers nothing for a zone any more. Zones around it get back what it hid.
    pub fn remove(&mut self, apex: &Name) -> RetiredExtents {
        let Some(zone) = self.zones.remove(apex) else { return RetiredExtents::default() };
        zone.is_gone.store(true, SeqCst);
        if let Some(answered) = &mut self.answered {
            answered.remove(apex);
        }
        self.names -= zone.nodes.len();
        self.records -= zone.extents.len();
        self.disappear(zone.nodes.iter());
        let mut retired = RetiredExtents(zone.extents.iter().copied().collect());
        retired.0.extend(self.drop_ancestors(apex));
        let mut above = apex.parent();
        while let Some(other) = above {
            above = other.parent();
            if !self.zones.contains_key(&other) {
                continue;
            }
            let nodes = std::mem::take(&mut self.zones.get_mut(&other).expect("listed").nodes);
            for &address in nodes.iter() {
                let (hash, wire) = (self.hash_of(address), self.wire_of(address));
                if self.find(Key { wire, hash }, hash).is_none()
                    && self.insert(hash, address).is_err()
                {
                    tracing::warn!("no slot for a name that {apex} hid");
                }
            }
            self.zones.get_mut(&other).expect("listed").nodes = nodes;
        }
        retired
    }

    /// Frees what was withdrawn. Only after every reader that may have been in it is gone.
    pub fn release(&mut self, retired: RetiredExtents) {
        self.give(retired.0);
    }

    /// Copies everything to the same addresses of other, larger memory and goes on there; the table is
    /// built anew. On an error the image stays where it is.
    pub fn move_to(&mut self, memory: Arc<dyn Memory>) -> Result<(), PublishError> {
        let enough = memory.slab_len() >= self.slab.high_water()
            && self.entries <= table::capacity(memory.bucket_count());
        if !enough {
            return Err(PublishError::Full {
                slab_needed: self.slab.high_water(),
                buckets_needed: table::buckets_for(self.entries),
            });
        }
        for at in (0..self.slab.high_water()).step_by(CHUNK_LEN) {
            // Somebody else writes there ([`Image::reserve`]).
            if self.reserved.contains(&(at / CHUNK_LEN)) {
                continue;
            }
            if let Some(octets) = self.memory.read(at, CHUNK_LEN) {
                memory.write(at, octets);
            }
        }
        for bucket in 0..self.memory.bucket_count() {
            for slot in self.memory.bucket(bucket) {
                let address = slot as Address;
                if address == 0 {
                    continue;
                }
                let place = self.place_of(slot, address);
                table::insert(&*memory, place, address)
                    .map_err(|_| self.crowded(memory.bucket_count()))?;
            }
        }
        self.slab.resize(memory.slab_len());
        self.memory = memory;
        Ok(())
    }

    //--- The names of a version

    /// Puts a version's names into the table: new ones first, from below, then those that are there
    /// already. On an error none of them is there.
    pub(super) fn appear(&mut self, nodes: &[Address]) -> Result<(), PublishError> {
        let (mut inserted, mut replaced) = (Vec::new(), Vec::new());
        for &new in nodes.iter().rev() {
            let (hash, wire) = (self.hash_of(new), self.wire_of(new));
            let key = Key { wire, hash };
            let (place, address) = match self.find(key, hash) {
                None => (hash, new),
                Some(old) => {
                    let (old_flags, new_flags) = (self.flags_of(old), self.flags_of(new));
                    let beside = hash ^ CUT_BESIDE_APEX;
                    if old_flags & flag::APEX != 0 && new_flags & flag::CUT != 0 {
                        // The apex of a zone below: the cut answers only for its DS.
                        match self.find(key, beside) {
                            Some(cut) => {
                                replaced.push((beside, cut, new));
                                continue;
                            }
                            None => (beside, new),
                        }
                    } else if self.apex_len(old) > self.apex_len(new) {
                        // Of another zone, whose apex is nearer to the name.
                        continue;
                    } else {
                        replaced.push((hash, old, new));
                        if old_flags & flag::CUT != 0 && new_flags & flag::APEX != 0 {
                            (beside, old)
                        } else {
                            continue;
                        }
                    }
                }
            };
            if let Err(error) = self.insert(place, address) {
                for (place, address) in inserted.into_iter().rev() {
                    table::remove(&*self.memory, place, address);
                    self.entries -= 1;
                }
                return Err(error);
            }
            inserted.push((place, address));
        }
        for (place, old, new) in replaced {
            table::replace(&*self.memory, place, old, new);
        }
        Ok(())
    }

    /// Takes a version's names out of the table, from above, except those that another version has
    /// replaced.
    fn disappear<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Address>) {
        for &address in nodes {
            let hash = self.hash_of(address);
            if self.flags_of(address) & flag::CUT != 0
                && table::remove(&*self.memory, hash ^ CUT_BESIDE_APEX, address)
            {
                self.entries -= 1;
            }
            let wire = self.wire_of(address);
            // What the name gives way to: the cut of the zone around it, or a node that only keeps
            // existence monotonic.
            let key = Key { wire, hash };
            let cut = self.find(key, hash ^ CUT_BESIDE_APEX);
            let stand_in =
                cut.or_else(|| self.ancestors.get(wire).map(|above| above.extent.address));
            let gone = match stand_in {
                Some(other) => table::replace(&*self.memory, hash, address, other) && cut.is_some(),
                None => table::remove(&*self.memory, hash, address),
            };
            if gone {
                self.entries -= 1;
            }
            if let Some(cut) = cut.filter(|_| gone) {
                table::remove(&*self.memory, hash ^ CUT_BESIDE_APEX, cut);
            }
        }
    }

    /// Octets of the apex of a node's zone; 0 for what belongs to none.
    fn apex_len(&self, address: Address) -> u8 {
        let zone = self.node(address).map_or(0, Node::zone);
        match zone {
            0 => 0,
            zone => self.window(zone).map_or(0, |window| zone_record::Zone::new(window).apex_len()),
        }
    }

    //--- The names above an apex

    fn add_ancestors(&mut self, apex: &Name) -> Result<(), PublishError> {
        // From the root down, so that existence stays monotonic.
        let mut above = Vec::new();
        let mut up = apex.parent();
        while let Some(ancestor) = up {
            up = ancestor.parent();
            above.push(ancestor);
        }
        for ancestor in above.into_iter().rev() {
            let wire = ancestor.as_wire();
            if let Some(known) = self.ancestors.get_mut(wire) {
                known.apexes += 1;
                continue;
            }
            let hash = node_hash(wire, self.seed);
            let record = node_head(wire, hash, flag::VIRTUAL, 0);
            let Some(extent) = self.slab.take(record.len()) else {
                return Err(self.full(self.slab.high_water() + CHUNK_LEN, 1));
            };
            self.memory.write(extent.address as usize * UNIT, &record);
            self.ancestors.insert(wire.into(), Ancestor { extent, apexes: 1 });
            if self.find(Key { wire, hash }, hash).is_none() {
                self.insert(hash, extent.address)?;
            }
        }
        Ok(())
    }

    fn drop_ancestors(&mut self, apex: &Name) -> Vec<Extent> {
        let mut retired = Vec::new();
        let mut up = apex.parent();
        while let Some(ancestor) = up {
            let wire = ancestor.as_wire();
            // After a failure in the middle of adding, those further down are not there.
            if let Some(known) = self.ancestors.get_mut(wire) {
                known.apexes -= 1;
                if known.apexes == 0 {
                    let extent = known.extent;
                    self.ancestors.remove(wire);
                    let hash = node_hash(wire, self.seed);
                    if table::remove(&*self.memory, hash, extent.address) {
                        self.entries -= 1;
                    }
                    retired.push(extent);
                }
            }
            up = ancestor.parent();
        }
        retired
    }

    //--- Below

    fn insert(&mut self, place: u64, address: Address) -> Result<(), PublishError> {
        table::insert(&*self.memory, place, address)
            .map_err(|_| self.crowded(self.memory.bucket_count()))?;
        self.entries += 1;
        Ok(())
    }

    fn find(&self, key: Key<'_>, place: u64) -> Option<Address> {
        find(&*self.memory, key.wire, key.hash, place)
    }

    fn window(&self, address: Address) -> Option<&Window> {
        memory::window(&*self.memory, address)
    }

    pub(super) fn node(&self, address: Address) -> Option<Node<'_>> {
        self.window(address).map(Node::new)
    }

    fn flags_of(&self, address: Address) -> u16 {
        let flags = self.window(address).map(|window| {
            let at = xdp_common::image::node::at::FLAGS;
            u16::from_le_bytes([window[at], window[at + 1]])
        });
        flags.unwrap_or(0)
    }

    fn wire_of(&self, address: Address) -> &[u8] {
        let Some(window) = self.window(address) else { return &[] };
        let node = Node::new(window);
        let at = node.name_at();
        &window[at..at + node.name_len()]
    }

    fn hash_of(&self, address: Address) -> u64 {
        self.node(address).map_or(0, Node::hash)
    }

    /// Where the table looks for an entry that it holds: the tag says whether it is a cut beside an apex.
    fn place_of(&self, slot: u64, address: Address) -> u64 {
        let hash = self.node(address).map_or(0, |node| node.hash());
        if hash >> 32 == slot >> 32 { hash } else { hash ^ CUT_BESIDE_APEX }
    }

    fn give(&mut self, extents: Vec<Extent>) {
        for extent in extents {
            self.slab.give(extent);
        }
        self.slab.gather();
    }

    /// What would do for `names` more and a slab in use up to `slab_end`: with some room for later changes,
    /// since what they replace is freed only afterwards, and so that what fitted in pieces that were free need
    /// not.
    pub(super) fn full(&self, slab_end: usize, names: usize) -> PublishError {
        // A table that is as full as may be has buckets that overflow: then all was written in vain.
        let entries = self.entries + names + names / 4 + xdp_common::dns::name::MAX_LABELS;
        PublishError::Full {
            slab_needed: slab_end
                + (slab_end - self.slab.high_water()) / SPARE_PART
                + 2 * CHUNK_LEN,
            buckets_needed: table::buckets_for(entries).max(self.memory.bucket_count()),
        }
    }

    fn crowded(&self, buckets: usize) -> PublishError {
        PublishError::Full { slab_needed: self.slab.high_water(), buckets_needed: buckets * 2 }
    }
}

/// The node with this name and hash to which the table leads at a place.
pub(super) fn find(memory: &dyn Memory, wire: &[u8], hash: u64, place: u64) -> Option<Address> {
    let slab = SlabRecords::new(memory);
    table::candidates(memory, place).find(|&address| {
        slab.node(address).is_some_and(|(node, _)| node.hash() == hash)
            && slab.name_of(address) == wire
    })
}
