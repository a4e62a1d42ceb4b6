//! A version made of another one and a difference.

use super::layer::Edit;
use super::{Counts, Version};
use crate::zone::arrays::Owner;
use crate::zone::difference::{ApplyError, Change, ChangedRrset, Difference, Rules};
use crate::zone::error::ZoneError;
use crate::zone::name::{Name, is_at_or_below};
use crate::zone::rtype::Rtype;
use crate::zone::serial::Serial;
use crate::zone::tree::Zone;

impl Version {
    /// The version that a difference makes of this one, at the cost of the owners that it changes. An RRset to which
    /// a record is added has the lowest TTL of those that are added (RFC 2136 section 3.4.2.2 as RFC 2181 section 5.2
    /// limits it).
    ///
    /// # Errors
    /// If the difference does not fit under `rules`, if a record to be added lies outside the zone, if what comes
    /// out has not one SOA record, or if it exceeds 4 GiB.
    pub fn apply(&self, difference: &Difference, rules: Rules) -> Result<Version, ApplyError> {
        let (wanted, found) = (difference.old_serial(), self.serial());
        if rules == Rules::Strict && wanted != found {
            return Err(ApplyError::Serial { wanted, found });
        }
        let mut counts = self.counts;
        let mut changed = Vec::new();
        for change in difference.changes() {
            changed.extend(self.change(&change, rules, &mut counts)?);
        }
        if changed.is_empty() {
            return Ok(self.clone());
        }
        if u32::try_from(counts.octets).is_err() {
            return Err(ZoneError::TooLarge.into());
        }
        let [names, hashes] = [Changed::of_name, Changed::of_hash].map(|edit| {
            changed.iter().filter_map(|changed| edit(changed, self)).collect::<Vec<_>>()
        });
        let version = Version {
            base: self.base.clone(),
            names: self.names.edited(&names)?,
            hashes: self.hashes.edited(&hashes)?,
            counts,
            serial: Serial(0),
            any_answers: self.any_answers.clone(),
        };
        let serial = version.soa_fields().map_or(Serial(0), |soa| soa.serial);
        match version.soa().map_or(0, |soa| soa.len()) {
            1 => Ok(Version { serial, ..version }),
            count => Err(ZoneError::SoaCount { apex: self.apex().clone(), count }.into()),
        }
    }

    /// What becomes of one owner; `None` if it stays as it is.
    fn change<'a>(
        &'a self,
        change: &Change<'a>,
        rules: Rules,
        counts: &mut Counts,
    ) -> Result<Option<Changed<'a>>, ApplyError> {
        let name = change.name();
        let before = self.find(name);
        let rrsets = change.apply(before.as_ref(), rules)?;
        if !rrsets.is_empty() && !is_at_or_below(name, self.apex().as_wire()) {
            let owner = Name::from_wire(name).unwrap_or_else(Name::root);
            return Err(ZoneError::OutOfZone { owner, apex: self.apex().clone() }.into());
        }
        if is_same(before.as_ref(), &rrsets) {
            return Ok(None);
        }
        if let Some(before) = before {
            counts.remove(Counts::of(&before));
        }
        if !rrsets.is_empty() {
            counts.add(counts_of(name, &rrsets));
        }
        let base = self.base.find(name);
        let is_as_in_base = is_same(base.as_ref(), &rrsets);
        Ok(Some(Changed { name, rrsets, base, is_as_in_base }))
    }
}

impl Difference {
    /// The zone that the difference makes of `base`, as [`Version::apply`] has it.
    ///
    /// # Errors
    /// As there.
    pub fn apply(&self, base: &Zone, rules: Rules) -> Result<Zone, ApplyError> {
        Ok(Version::of(base.clone()).apply(self, rules)?.flat()?)
    }
}

/// An owner that changes.
struct Changed<'a> {
    name: &'a [u8],
    /// What it has from now on; nothing if it goes.
    rrsets: Vec<ChangedRrset<'a>>,
    /// What the flat zone says of the name.
    base: Option<Owner<'a>>,
    is_as_in_base: bool,
}

impl Changed<'_> {
    /// What the layer of names says from now on; `None` if nothing is to be done there.
    fn of_name(&self, version: &Version) -> Option<Edit<'_>> {
        let is_hash = is_hash(&self.rrsets);
        let hides_base = self.rrsets.is_empty() && self.base.is_some_and(|base| !base.is_hash());
        let is_told = !self.is_as_in_base && (hides_base || !self.rrsets.is_empty() && !is_hash);
        let content = is_told.then_some(&self.rrsets[..]);
        let is_needed = is_told || version.names.find(self.name).is_some();
        is_needed.then_some(Edit { name: self.name, content })
    }

    /// What the layer of hashes says from now on; `None` if nothing is to be done there. A name that the flat zone has
    /// as a hash and that is one no more is hidden here, whatever it is now: the layer of names lies above.
    fn of_hash(&self, version: &Version) -> Option<Edit<'_>> {
        let is_hash = is_hash(&self.rrsets);
        let hides_base = !is_hash && self.base.is_some_and(|base| base.is_hash());
        let content = match (is_hash, hides_base) {
            _ if self.is_as_in_base => None,
            (true, _) => Some(&self.rrsets[..]),
            (false, true) => Some(&[][..]),
            (false, false) => None,
        };
        let is_needed = content.is_some() || version.hashes.find(self.name).is_some();
        is_needed.then_some(Edit { name: self.name, content })
    }
}

/// As [`Owner::is_hash`].
fn is_hash(rrsets: &[ChangedRrset<'_>]) -> bool {
    let mut types = rrsets.iter().map(|rrset| rrset.rtype);
    let has_nsec3 = types.clone().any(|rtype| rtype == Rtype::NSEC3);
    has_nsec3 && types.all(|rtype| matches!(rtype, Rtype::NSEC3 | Rtype::RRSIG))
}

/// Whether an owner has these RRsets.
fn is_same(owner: Option<&Owner<'_>>, rrsets: &[ChangedRrset<'_>]) -> bool {
    let Some(owner) = owner else { return rrsets.is_empty() };
    owner.rrsets().len() == rrsets.len()
        && owner.rrsets().zip(rrsets).all(|(old, new)| {
            (old.rtype(), old.ttl()) == (new.rtype, new.ttl)
                && old.rdatas().eq(new.rdatas.iter().copied())
        })
}

fn counts_of(name: &[u8], rrsets: &[ChangedRrset<'_>]) -> Counts {
    let rdatas = || rrsets.iter().flat_map(|rrset| &rrset.rdatas);
    Counts {
        owners: 1,
        rrsets: rrsets.len(),
        records: rdatas().count(),
        octets: name.len() + rdatas().map(|rdata| 2 + rdata.len()).sum::<usize>(),
    }
}
