//! The names that updates change, with the records that they have from now on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Update, UpdateError};
use crate::zone::difference::{Difference, RecordRef};
use crate::zone::name::{ancestors, is_at_or_below};
use crate::zone::{Name, Owner, Rtype, Serial, Version, soa};

/// Whether records of a type at an owner are of the zone that is changed, and not made by its signer.
pub type IsTaken<'a> = dyn Fn(&[u8], Rtype) -> bool + 'a;

/// An RRset: its TTL in seconds and its RDATA, sorted, each once. Without RDATA it is not there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct DraftRrset {
    pub ttl: u32,
    pub rdatas: Vec<Vec<u8>>,
}

/// The RRsets of a name. One that is not there has no entry.
pub(super) type Rrsets = BTreeMap<Rtype, DraftRrset>;

/// A zone's records as updates leave them.
pub struct Draft<'a> {
    base: &'a Version,
    is_taken: &'a IsTaken<'a>,
    /// The names that were looked at to be changed.
    names: BTreeMap<Name, Rrsets>,
    /// What the update at hand found of the names that it changes, to be put back if it is not done.
    before: BTreeMap<Name, Rrsets>,
}

impl<'a> Draft<'a> {
    /// A zone as a version has it. If it is signed here, `is_taken` leaves out what the signer makes.
    pub fn new(base: &'a Version, is_taken: &'a IsTaken<'a>) -> Draft<'a> {
        Draft { base, is_taken, names: BTreeMap::new(), before: BTreeMap::new() }
    }

    /// Does what an update asks for; says whether anything changed.
    ///
    /// # Errors
    /// If what it demands does not hold, or if it may not be done: then nothing of it is.
    pub fn update(&mut self, update: &Update) -> Result<bool, UpdateError> {
        self.before.clear();
        self.check_prerequisites(&update.prerequisites)?;
        self.check_changes(&update.changes)?;
        let done = update.changes.iter().try_for_each(|record| self.change(record));
        match done.and_then(|()| self.check_names()) {
            Ok(()) => {
                Ok(self.before.iter().any(|(name, before)| self.names.get(name) != Some(before)))
            }
            Err(error) => {
                self.names.append(&mut self.before);
                Err(error)
            }
        }
    }

    /// The types of the records that a name has now.
    pub fn types_at(&self, name: &[u8]) -> Vec<Rtype> {
        self.rrsets(name).keys().copied().collect()
    }

    /// What the updates have changed of the version; `None` if nothing. The serial is that of a SOA record that an update
    /// brought, or the next one (RFC 2136 section 3.6).
    pub fn difference(&self) -> Option<Difference> {
        let apex = self.base.apex();
        let old = self.base.serial();
        let mut changed: BTreeMap<&Name, (Rrsets, Rrsets)> = BTreeMap::new();
        for (name, now) in &self.names {
            let before = self.of_base(name.as_wire());
            if before != *now {
                changed.insert(name, (before, now.clone()));
            }
        }
        if changed.is_empty() {
            return None;
        }
        let (before, now) = changed.entry(apex).or_insert_with(|| {
            let before = self.of_base(apex.as_wire());
            (before.clone(), before)
        });
        let new = now_with_serial(before, now, old);
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (name, (before, now)) in &changed {
            let owner = name.as_wire();
            for (&rtype, rrset) in before {
                let other = now.get(&rtype).filter(|other| other.ttl == rrset.ttl);
                removed.extend(missing_in(owner, rtype, rrset, other));
            }
            for (&rtype, rrset) in now {
                let other = before.get(&rtype).filter(|other| other.ttl == rrset.ttl);
                added.extend(missing_in(owner, rtype, rrset, other));
            }
        }
        let (removed, added) = (removed.into_iter(), added.into_iter());
        Some(Difference::of_records(apex, [old, new], removed, added))
    }

    pub(super) fn apex(&self) -> &[u8] {
        self.base.apex().as_wire()
    }

    /// Whether records of a type at an owner are not the signer's.
    pub(super) fn is_taken(&self, owner: &[u8], rtype: Rtype) -> bool {
        (self.is_taken)(owner, rtype)
    }

    /// The RRsets of a name as they are now.
    fn rrsets(&self, name: &[u8]) -> Cow<'_, Rrsets> {
        match Name::from_wire(name).and_then(|name| self.names.get(&name)) {
            Some(rrsets) => Cow::Borrowed(rrsets),
            None => Cow::Owned(self.of_base(name)),
        }
    }

    /// The same, remembered: a message may ask for one name in each of its records.
    pub(super) fn looked_up(&mut self, name: &[u8]) -> Result<&mut Rrsets, UpdateError> {
        let name = Name::from_wire(name).ok_or(UpdateError::Malformed)?;
        if !self.names.contains_key(&name) {
            let base = self.of_base(name.as_wire());
            self.names.insert(name.clone(), base);
        }
        self.names.get_mut(&name).ok_or(UpdateError::Malformed)
    }

    /// The RRsets of a name, to be changed by the update at hand.
    pub(super) fn rrsets_mut(&mut self, name: &[u8]) -> Result<&mut Rrsets, UpdateError> {
        let key = Name::from_wire(name).ok_or(UpdateError::Malformed)?;
        if !self.before.contains_key(&key) {
            let before = self.looked_up(name)?.clone();
            self.before.insert(key, before);
        }
        self.looked_up(name)
    }

    /// The RRsets of a name in the version.
    fn of_base(&self, name: &[u8]) -> Rrsets {
        let owner = self.base.find(name);
        let rrsets = owner.iter().flat_map(Owner::rrsets);
        let taken = rrsets.filter(|rrset| self.is_taken(name, rrset.rtype()));
        let draft = taken.map(|rrset| {
            let rdatas = rrset.rdatas().map(<[u8]>::to_vec).collect();
            (rrset.rtype(), DraftRrset { ttl: rrset.ttl(), rdatas })
        });
        draft.collect()
    }

    /// That no name that the update at hand changes stands below a DNAME record, or has names below one that it brings.
    fn check_names(&self) -> Result<(), UpdateError> {
        for name in self.before.keys() {
            let Some(rrsets) = self.names.get(name).filter(|rrsets| !rrsets.is_empty()) else {
                continue;
            };
            let above = ancestors(name.as_wire()).skip(1);
            let mut above = above.take_while(|above| above.len() >= self.apex().len());
            let is_below = above.any(|above| self.rrsets(above).contains_key(&Rtype::DNAME));
            let has_dname = rrsets.contains_key(&Rtype::DNAME);
            if is_below || has_dname && self.has_names_below(name) {
                return Err(UpdateError::BelowDname);
            }
        }
        Ok(())
    }

    fn has_names_below(&self, name: &Name) -> bool {
        let is_below =
            |other: &[u8]| other != name.as_wire() && is_at_or_below(other, name.as_wire());
        let drafts = self.names.range::<Name, _>(name..).skip_while(|(other, _)| *other == name);
        let drafts = drafts.take_while(|(other, _)| is_below(other.as_wire()));
        if drafts.filter(|(_, rrsets)| !rrsets.is_empty()).count() > 0 {
            return true;
        }
        let owners =
            self.base.from(name.as_wire()).skip_while(|owner| owner.name() == name.as_wire());
        let mut owners = owners.take_while(|owner| is_below(owner.name()));
        owners.any(|owner| !self.rrsets(owner.name()).is_empty())
    }
}

/// The records of an RRset that another one of the same name, type and TTL does not have.
fn missing_in<'r>(
    owner: &'r [u8],
    rtype: Rtype,
    rrset: &'r DraftRrset,
    other: Option<&'r DraftRrset>,
) -> impl Iterator<Item = RecordRef<'r>> {
    let is_missing = move |rdata: &&Vec<u8>| {
        other.is_none_or(|other| other.rdatas.binary_search(rdata).is_err())
    };
    let ttl = rrset.ttl;
    rrset.rdatas.iter().filter(is_missing).map(move |rdata| RecordRef { owner, rtype, ttl, rdata })
}

/// Puts the next serial into the SOA record at the apex, if it has that of the version still; says which it is.
fn now_with_serial(before: &Rrsets, now: &mut Rrsets, old: Serial) -> Serial {
    let soa_of =
        |rrsets: &Rrsets| rrsets.get(&Rtype::SOA).and_then(|soa| soa.rdatas.first().cloned());
    let is_new = soa_of(before) != soa_of(now);
    let Some(rdata) = now.get_mut(&Rtype::SOA).and_then(|soa| soa.rdatas.first_mut()) else {
        return old.next();
    };
    if !is_new {
        soa::set_serial(rdata, old.next());
    }
    crate::zone::Soa::parse(rdata).map_or(old.next(), |soa| soa.serial)
}
