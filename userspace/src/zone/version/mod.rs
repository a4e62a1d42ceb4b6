//! Versions of a zone: each is a zone, and a new one costs what it changes.
//!
//! | to … | use |
//! |---|---|
//! | begin with a zone | [`Version::of`] |
//! | make the next version | [`Version::apply`] |
//! | look at one | [`Version::find`], [`Version::owners`], [`Version::from`], [`Version::before`] |
//! | walk along the NSEC3 chain | [`Version::hashed_from`], [`Version::hashed_before`] |
//! | know what changed | [`Difference::between_versions`] |
//! | make a flat zone of one | [`Version::flat`], if [`Version::is_merge_due`] |

use std::sync::Arc;

use super::arrays::{Owner, Rrset};
use super::difference::{ApplyError, Difference, Rules};
use super::error::ZoneError;
use super::name::{Name, canonical_order, is_at_or_below};
use super::serial::Serial;
use super::soa::Soa;
use super::tree::Zone;

/// A version of a zone: a flat zone, and what changed since. It does not change, and a clone shares its memory.
#[derive(Clone)]
pub struct Version {
    zone: Zone,
    any_answers: Option<Arc<Version>>,
}

impl Version {
    /// The version that is this zone.
    pub fn of(zone: Zone) -> Version {
        let any_answers = zone.any_answers().cloned().map(|zone| Arc::new(Version::of(zone)));
        Version { zone, any_answers }
    }

    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        self.zone.apex()
    }

    /// The serial of the SOA record (RFC 1035 section 3.3.13).
    pub fn serial(&self) -> Serial {
        self.zone.serial()
    }

    /// The SOA RRset at the apex; every version has one.
    pub fn soa(&self) -> Option<Rrset<'_>> {
        self.zone.soa()
    }

    /// The fields of the SOA record; `None` if it is malformed.
    pub fn soa_fields(&self) -> Option<Soa<'_>> {
        self.zone.soa_fields()
    }

    /// The TTL of negative answers in seconds, as [`Zone::negative_ttl`] has it.
    pub fn negative_ttl(&self) -> u32 {
        self.zone.negative_ttl()
    }

    /// The number of records.
    pub fn record_count(&self) -> usize {
        self.zone.record_count()
    }

    /// The number of owner names.
    pub fn owner_count(&self) -> usize {
        self.zone.owners().len()
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

    /// The owner with this lower-case wire name.
    pub fn find(&self, name: &[u8]) -> Option<Owner<'_>> {
        self.zone.find(name)
    }

    /// The owners in canonical order; empty non-terminals are not among them.
    pub fn owners(&self) -> impl DoubleEndedIterator<Item = Owner<'_>> {
        self.zone.owners()
    }

    /// The owners at and after a lower-case wire name, which need not be there, in canonical order.
    pub fn from<'v>(&'v self, name: &[u8]) -> impl DoubleEndedIterator<Item = Owner<'v>> + use<'v> {
        let name = name.to_vec();
        let is_before = move |owner: &Owner<'_>| canonical_order(owner.name(), &name).is_lt();
        self.zone.owners().filter(move |owner| !is_before(owner))
    }

    /// The owners before a lower-case wire name, which need not be there: the nearest first.
    pub fn before<'v>(
        &'v self,
        name: &[u8],
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + use<'v> {
        let name = name.to_vec();
        let is_before = move |owner: &Owner<'_>| canonical_order(owner.name(), &name).is_lt();
        self.zone.owners().rev().filter(is_before)
    }

    /// Whether an owner stands below this lower-case wire name: if the name itself is no owner, it is an empty
    /// non-terminal.
    pub fn has_names_below(&self, name: &[u8]) -> bool {
        let next = self.from(name).find(|owner| owner.name() != name);
        next.is_some_and(|next| is_at_or_below(next.name(), name))
    }

    /// As [`Version::from`], but only of owners that have NSEC3 records and their signatures alone
    /// ([`Owner::is_hash`]): no other owner is walked over.
    pub fn hashed_from<'v>(
        &'v self,
        name: &[u8],
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + use<'v> {
        self.from(name).filter(Owner::is_hash)
    }

    /// As [`Version::before`], but only of owners that have NSEC3 records and their signatures alone.
    pub fn hashed_before<'v>(
        &'v self,
        name: &[u8],
    ) -> impl DoubleEndedIterator<Item = Owner<'v>> + use<'v> {
        self.before(name).filter(Owner::is_hash)
    }

    /// The version that a difference makes of this one. An RRset to which a record is added has the lowest TTL of
    /// those that are added (RFC 2136 section 3.4.2.2 as RFC 2181 section 5.2 limits it).
    ///
    /// # Errors
    /// If the difference does not fit under `rules`, if a record to be added lies outside the zone, or if what comes
    /// out has not one SOA record.
    pub fn apply(&self, difference: &Difference, rules: Rules) -> Result<Version, ApplyError> {
        let zone = difference.apply(&self.zone, rules)?;
        Ok(Version { zone, any_answers: self.any_answers.clone() })
    }

    /// The zone that this version is, in memory of its own.
    ///
    /// # Errors
    /// If it exceeds 4 GiB.
    pub fn flat(&self) -> Result<Zone, ZoneError> {
        let zone = self.zone.clone();
        Ok(match &self.any_answers {
            Some(any_answers) => zone.with_any_answers(any_answers.flat()?),
            None => zone,
        })
    }

    /// Octets of memory that it takes beside the flat zone.
    pub fn overlay_octets(&self) -> usize {
        0
    }

    /// Whether so much changed since the flat zone that another one should be made ([`Version::flat`]).
    pub fn is_merge_due(&self) -> bool {
        false
    }
}

impl Difference {
    /// The difference of two versions of one zone. Of what they share nothing is walked over.
    ///
    /// # Panics
    /// As [`Difference::between`] does.
    pub fn between_versions(old: &Version, new: &Version) -> Difference {
        Difference::between(&old.zone, &new.zone)
    }
}
