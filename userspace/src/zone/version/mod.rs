//! Versions of a zone: each is a zone, and a new one costs what it changes.
//!
//! | to … | use |
//! |---|---|
//! | begin with a zone | [`Version::of`] |
//! | make the next version | [`Version::apply`] |
//! | look at one | [`Version::find`], [`Version::owners`], [`Version::from`], [`Version::before`] |
//! | walk along the NSEC3 chain | [`Version::hashed_from`], [`Version::hashed_before`] |
//! | know what changed | [`Difference::between_versions`](super::difference::Difference::between_versions) |
//! | make a flat zone of one | [`Version::flat`], if [`Version::is_merge_due`] |
//! | lay what changed meanwhile over that | [`Version::rebased`] |
//!
//! | file | what |
//! |---|---|
//! | `layer.rs` | what changed since the flat zone |
//! | `walk.rs` | flat zone and layers as one sequence |
//! | `apply.rs`, `between.rs` | differences applied, and made of two versions |

mod apply;
mod between;
mod layer;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::arrays::{Arrays, Owner, OwnerEntry, Rrset, RrsetEntry};
use super::canonical::canonical_prefix;
use super::difference::{Difference, Rules};
use super::error::ZoneError;
use super::name::{Name, is_at_or_below};
use super::rtype::Rtype;
use super::serial::Serial;
use super::soa::Soa;
use super::tree::Zone;
use super::writer::Draft;
use layer::Layer;
use walk::Overlaid;

/// What changed takes at most this part of what the flat zone takes, or the two should be merged.
const MERGED_AT: usize = 16;

/// What changed takes at most this part of what the flat zone takes, or merging the two must not be put off.
const OVERDUE_AT: usize = 4;

/// The start of what orders names is kept in memory of each owner at this distance from the one before. In a flat zone
/// of a million owners, which is mapped, a search then reads the names of some eight owners next to each other and not
/// of twenty all over the file. Small in unit tests, so that their zones have such keys.
const KEY_DISTANCE: usize = if cfg!(test) { 4 } else { 256 };

/// A version of a zone: a flat zone, and what changed since. It does not change, and a clone shares its memory.
///
/// Owners that changed lie in two layers over the flat zone, as a whole or as gone: those that are a hash
/// ([`Owner::is_hash`]) in one, all others in the other. So the NSEC3 chain is walked along, and found in, without
/// a look at the names that lie between two hashes.
#[derive(Clone)]
pub struct Version {
    base: Arc<Base>,
    /// Says of a name more than `hashes` does.
    names: Layer,
    /// Of a hash of the flat zone that became an ordinary name it says that it is gone.
    hashes: Layer,
    counts: Counts,
    serial: Serial,
    any_answers: Option<Arc<Version>>,
}

/// The flat zone.
struct Base {
    zone: Zone,
    /// Of each [`KEY_DISTANCE`]th owner the start of what orders names, if there are as many.
    keys: OnceLock<Box<[u128]>>,
    hashes: OnceLock<Box<[u32]>>,
}

/// Owners that stand next to each other in some arrays.
pub(super) struct Run<'v> {
    pub arrays: &'v Arrays,
    pub owners: Range<usize>,
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    owners: usize,
    rrsets: usize,
    records: usize,
    /// Of names and RDATA.
    octets: usize,
}

impl Version {
    /// The version that is this zone.
    pub fn of(zone: Zone) -> Version {
        let (zone, any_answers) = zone.split_any_answers();
        let arrays = zone.parts();
        let counts = Counts {
            owners: arrays.len(),
            rrsets: arrays.rrset_entries().len(),
            records: zone.record_count(),
            octets: arrays.bytes_of(0..arrays.len()).len(),
        };
        let serial = zone.serial();
        Version {
            base: Arc::new(Base { zone, keys: OnceLock::new(), hashes: OnceLock::new() }),
            names: Layer::default(),
            hashes: Layer::default(),
            counts,
            serial,
            any_answers: any_answers.map(|any_answers| Arc::new(Version::of(any_answers))),
        }
    }

    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        self.base.zone.apex()
    }

    /// The serial of the SOA record (RFC 1035 section 3.3.13).
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// The SOA RRset at the apex; every version has one.
    pub fn soa(&self) -> Option<Rrset<'_>> {
        self.find(self.apex().as_wire())?.rrset(Rtype::SOA)
    }

    /// The fields of the SOA record; `None` if it is malformed.
    pub fn soa_fields(&self) -> Option<Soa<'_>> {
        self.soa().and_then(|soa| soa.rdatas().next()).and_then(Soa::parse)
    }

    /// The TTL of negative answers in seconds, as [`Zone::negative_ttl`] has it.
    pub fn negative_ttl(&self) -> u32 {
        let minimum = self.soa_fields().map_or(0, |soa| soa.minimum);
        minimum.min(self.soa().map_or(0, |soa| soa.ttl()))
    }

    /// The number of records.
    pub fn record_count(&self) -> usize {
        self.counts.records
    }

    /// The number of owner names.
    pub fn owner_count(&self) -> usize {
        self.counts.owners
    }

    /// RRsets that stand beside the zone, as [`Zone::any_answers`] has them. They have versions of their own: a
    /// difference of the zone leaves them as they are.
    pub fn any_answers(&self) -> Option<&Version> {
        self.any_answers.as_deref()
    }

    /// The same version with these RRsets beside it.
    pub fn with_any_answers(self, any_answers: Version) -> Version {
        Version { any_answers: Some(Arc::new(any_answers)), ..self }
    }

    /// Octets that it takes as a flat zone, without what stands beside it.
    pub fn octets(&self) -> usize {
        let [owners, rrsets, octets] = self.flat_counts();
        owners * OwnerEntry::LEN + rrsets * RrsetEntry::LEN + octets
    }

    /// Whether the two are one version in the same memory: a version and its clones. What was made anew is another one,
    /// whatever it says.
    pub fn is_same(&self, other: &Version) -> bool {
        let is_same_beside = match (&self.any_answers, &other.any_answers) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        is_same_beside
            && self.has_same_flat_zone(other)
            && self.names.is_same(&other.names)
            && self.hashes.is_same(&other.hashes)
    }

    /// Whether the two are made of the same flat zone.
    pub fn has_same_flat_zone(&self, other: &Version) -> bool {
        Arc::ptr_eq(&self.base, &other.base)
    }

    /// RRsets that are not sent, as [`Zone::withheld`] has them.
    pub fn withheld(&self) -> impl Iterator<Item = &(Name, Rtype)> {
        let is_still = |(owner, rtype): &&(Name, Rtype)| self.is_withheld(owner.as_wire(), *rtype);
        self.base.zone.withheld().filter(is_still)
    }

    /// The same records, of which these RRsets are not sent, as [`Zone::withholding`] has it.
    ///
    /// # Errors
    /// As [`Version::flat`].
    pub fn withholding(&self, rrsets: BTreeSet<(Name, Rtype)>) -> Result<Version, ZoneError> {
        Ok(Version::of(self.flat()?.withholding(rrsets)))
    }

    /// As [`Zone::is_withheld`]. An RRset of the flat zone that changed, or whose signatures did, is withheld no more:
    /// the fault was that of what it was.
    pub fn is_withheld(&self, owner: &[u8], rtype: Rtype) -> bool {
        let said = |owner: Option<Owner<'_>>| {
            let rrset = owner.and_then(|owner| owner.rrset(rtype));
            let rdatas = rrset.into_iter().flat_map(|rrset| rrset.rdatas());
            let signatures = owner.into_iter().flat_map(|owner| owner.signatures(rtype));
            let rdatas: Vec<_> = rdatas.chain(signatures).map(<[u8]>::to_vec).collect();
            (rrset.map(|rrset| (rrset.ttl(), rrset.len())), rdatas)
        };
        let base = &self.base.zone;
        base.is_withheld(owner, rtype) && said(self.base.find(owner)) == said(self.find(owner))
    }

    /// The owner with this lower-case wire name.
    pub fn find(&self, name: &[u8]) -> Option<Owner<'_>> {
        match self.names.find(name).or_else(|| self.hashes.find(name)) {
            Some(changed) => Some(changed).filter(Owner::has_rrsets),
            None => self.base.find(name),
        }
    }

    /// The owners in canonical order; empty non-terminals are not among them.
    pub fn owners(&self) -> impl DoubleEndedIterator<Item = Owner<'_>> + Clone {
        self.walk(0..self.base.zone.owners().len(), [self.names.owners(), self.hashes.owners()])
    }

    /// The owners at and after a lower-case wire name, which need not be there, in canonical order. What a step
    /// costs does not depend on the size of the zone, but names that are gone since the last merge are stepped over
    /// one by one.
    pub fn from<'v>(
        &'v self,
        name: &[u8],
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + Clone + use<'v> {
        let [names, hashes] = [&self.names, &self.hashes].map(|layer| layer.split(name));
        let end = self.base.zone.owners().len();
        let ([_, names], [_, hashes]) = (names, hashes);
        self.walk(self.base.place(name)..end, [names, hashes])
    }

    /// The owners before a lower-case wire name, which need not be there: the nearest first. A step costs as one of
    /// [`Version::from`].
    pub fn before<'v>(
        &'v self,
        name: &[u8],
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + Clone + use<'v> {
        let [names, hashes] = [&self.names, &self.hashes].map(|layer| layer.split(name));
        let ([names, _], [hashes, _]) = (names, hashes);
        self.walk(0..self.base.place(name), [names, hashes]).rev()
    }

    fn walk<'v>(
        &'v self,
        base: Range<usize>,
        [names, hashes]: [layer::Owners<'v>; 2],
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + Clone + use<'v> {
        let below = base.map(|index| self.base.zone.owner(index));
        let above = Overlaid { below: hashes, above: names };
        Overlaid { below, above }.filter(Owner::has_rrsets)
    }

    /// Whether an owner stands below this lower-case wire name: if the name itself is no owner, it is an empty
    /// non-terminal.
    pub fn has_names_below(&self, name: &[u8]) -> bool {
        let next = self.from(name).find(|owner| owner.name() != name);
        next.is_some_and(|next| is_at_or_below(next.name(), name))
    }

    /// As [`Version::from`], but only of owners that have NSEC3 records and their signatures alone
    /// ([`Owner::is_hash`]): no other owner is walked over. The first call of all, for whichever version of the same
    /// flat zone, looks for them in all of that zone.
    pub fn hashed_from<'v>(
        &'v self,
        name: &[u8],
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + Clone + use<'v> {
        let (all, at) = (self.base.hashes(), self.base.hash_place(name));
        let [_, changed] = self.hashes.split(name);
        self.walk_hashes(&all[at..], changed)
    }

    /// As [`Version::before`], but only of owners that have NSEC3 records and their signatures alone, as
    /// [`Version::hashed_from`] has them.
    pub fn hashed_before<'v>(
        &'v self,
        name: &[u8],
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + Clone + use<'v> {
        let (all, at) = (self.base.hashes(), self.base.hash_place(name));
        let [changed, _] = self.hashes.split(name);
        self.walk_hashes(&all[..at], changed).rev()
    }

    fn walk_hashes<'v>(
        &'v self,
        base: &'v [u32],
        changed: layer::Owners<'v>,
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + Clone + use<'v> {
        let below = base.iter().map(|&index| self.base.zone.owner(index as usize));
        Overlaid { below, above: changed }.filter(Owner::has_rrsets)
    }

    /// How many owners and RRsets its flat zone has, and octets of names and RDATA.
    pub(super) fn flat_counts(&self) -> [usize; 3] {
        let Counts { owners, rrsets, octets, .. } = self.counts;
        [owners, rrsets, octets]
    }

    /// All owners in canonical order, in runs; some of these may be empty.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let base = self.base.zone.parts();
        let changed = Overlaid { below: self.hashes.owners(), above: self.names.owners() };
        let mut at = 0;
        changed.map(Some).chain(std::iter::once(None)).flat_map(move |changed| {
            let place = match &changed {
                Some(changed) => base.search_in(at..base.len(), changed.name()),
                None => Err(base.len()),
            };
            let end = place.unwrap_or_else(|place| place);
            let unchanged = Run { arrays: base, owners: at..end };
            at = end + usize::from(place.is_ok());
            let changed = changed.filter(Owner::has_rrsets);
            let changed =
                changed.map(|Owner { arrays, index }| Run { arrays, owners: index..index + 1 });
            std::iter::once(unchanged).chain(changed)
        })
    }

    /// The zone that this version is: in memory of its own, unless nothing changed since the flat zone.
    ///
    /// # Errors
    /// If it exceeds 4 GiB.
    pub fn flat(&self) -> Result<Zone, ZoneError> {
        let zone = match self.is_flat() {
            true => self.base.zone.clone(),
            false => self.merged()?,
        };
        Ok(match &self.any_answers {
            Some(any_answers) => zone.with_any_answers(any_answers.flat()?),
            None => zone,
        })
    }

    /// Whether nothing changed since the flat zone, but perhaps beside it.
    fn is_flat(&self) -> bool {
        self.names.is_empty() && self.hashes.is_empty()
    }

    /// The flat zone with what changed since.
    fn merged(&self) -> Result<Zone, ZoneError> {
        let [owners, rrsets, octets] = self.flat_counts();
        let mut draft = Draft::with_capacity(owners, rrsets, octets);
        for Run { arrays, owners } in self.runs() {
            draft.copy(arrays, owners)?;
        }
        let zone = Zone::of_arrays(self.apex().clone(), draft.finish())?;
        Ok(zone.withholding(self.withheld().cloned().collect()))
    }

    /// Octets of memory that it takes beside the flat zone, much of it shared with other versions.
    pub fn overlay_octets(&self) -> usize {
        self.names.octets() + self.hashes.octets()
    }

    /// Whether so much changed since the flat zone, or beside it, that another one should be made ([`Version::flat`]), which takes
    /// as long as a walk over the zone.
    pub fn is_merge_due(&self) -> bool {
        let is_due_beside = self.any_answers.as_ref().is_some_and(|beside| beside.is_merge_due());
        is_due_beside || self.overlay_octets() > self.base.zone.octets() / MERGED_AT
    }

    /// Whether so much changed that nobody should wait for the next flat zone: it takes as much memory as a large part of
    /// the zone.
    pub fn is_merge_overdue(&self) -> bool {
        let is_overdue = |beside: &Arc<Version>| beside.is_merge_overdue();
        self.any_answers.as_ref().is_some_and(is_overdue)
            || self.overlay_octets() > self.base.zone.octets() / OVERDUE_AT
    }

    /// The same records over the flat zone of `merged`, which has those of `snapshot`: an older version of the same flat
    /// zone as this one's. The cost is that of what changed since. `None` if they have another flat zone, or what stands
    /// beside them has.
    pub fn rebased(&self, snapshot: &Version, merged: &Version) -> Option<Version> {
        if !self.has_same_flat_zone(snapshot) {
            return None;
        }
        let change = Difference::between_versions(snapshot, self);
        let rebased = merged.apply(&change, Rules::Strict).ok()?;
        match (self.any_answers(), snapshot.any_answers(), merged.any_answers()) {
            (None, None, None) => Some(rebased),
            (Some(one), Some(snapshot), Some(merged)) => {
                Some(rebased.with_any_answers(one.rebased(snapshot, merged)?))
            }
            _ => None,
        }
    }
}

impl From<Zone> for Version {
    fn from(zone: Zone) -> Version {
        Version::of(zone)
    }
}

impl Base {
    fn find(&self, name: &[u8]) -> Option<Owner<'_>> {
        self.search(name).ok().map(|place| self.zone.owner(place))
    }

    /// The place of the first owner at or after a name.
    fn place(&self, name: &[u8]) -> usize {
        self.search(name).unwrap_or_else(|place| place)
    }

    /// The place of the owner with this name, or else the place where it would be.
    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        let (arrays, apex) = (self.zone.parts(), self.zone.apex().as_wire());
        // The keys order names of the zone only.
        if arrays.len() <= KEY_DISTANCE || !is_at_or_below(name, apex) {
            return arrays.search(name);
        }
        let key_of = |name: &[u8]| canonical_prefix(name, apex.len());
        let keys = self.keys.get_or_init(|| {
            let places = (0..arrays.len()).step_by(KEY_DISTANCE);
            places.map(|place| key_of(arrays.owner(place).name())).collect()
        });
        // Names with the same key may come before the name and after it.
        let key = key_of(name);
        let start = keys.partition_point(|&one| one < key).saturating_sub(1);
        let end = keys.partition_point(|&one| one <= key);
        arrays.search_in(start * KEY_DISTANCE..arrays.len().min(end * KEY_DISTANCE), name)
    }

    /// The places of the owners that are hashes, in canonical order.
    fn hashes(&self) -> &[u32] {
        self.hashes.get_or_init(|| {
            let owners = self.zone.owners().enumerate();
            owners.filter(|(_, owner)| owner.is_hash()).map(|(index, _)| index as u32).collect()
        })
    }

    /// How many hashes come before a name.
    fn hash_place(&self, name: &[u8]) -> usize {
        let place = self.place(name);
        self.hashes().partition_point(|&hash| (hash as usize) < place)
    }
}

impl Counts {
    /// One owner.
    fn of(owner: &Owner<'_>) -> Counts {
        Counts {
            owners: 1,
            rrsets: owner.rrsets().len(),
            records: owner.rrsets().map(|rrset| rrset.len()).sum(),
            octets: owner.bytes().len(),
        }
    }

    fn add(&mut self, other: Counts) {
        self.owners += other.owners;
        self.rrsets += other.rrsets;
        self.records += other.records;
        self.octets += other.octets;
    }

    fn remove(&mut self, other: Counts) {
        self.owners -= other.owners;
        self.rrsets -= other.rrsets;
        self.records -= other.records;
        self.octets -= other.octets;
    }
}
