//! A change of a zone's records, signed.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::edit::Edit;
use super::prepared::{Prepared, check_manner, prepare};
use super::signed::{DifferenceError, SignedDifference, Statistics};
use crate::dnssec::any::{HINFO_RDATA, HINFO_TTL, has_hinfo};
use crate::dnssec::authority::is_signed;
use crate::dnssec::chains::{nsec_after, nsec_before, nsec3_after, nsec3_before};
use crate::dnssec::denial::{self, Nsec3};
use crate::dnssec::keys::Key;
use crate::dnssec::policy::{Denial, SigningPolicy};
use crate::dnssec::rrset_signer::RrsetSigner;
use crate::dnssec::sign::{SignError, check};
use crate::dnssec::states::{NameState, affected_owners, names_above, ordinary};
use crate::zone::difference::{Difference, Rules};
use crate::zone::{Name, Owner, Rtype, Version};

/// Signs the difference of an unsigned zone: what changes `signed`, the version made of it before by the same keys
/// under the same policy, into the version that signing the new unsigned zone would give. `None` if nothing changes.
///
/// RRSIG, NSEC, NSEC3 and NSEC3PARAM records of the difference, and ZONEMD records at the apex, are left out, as
/// [`sign`](crate::dnssec::sign::sign) leaves out those of a zone. `rules` say how the rest must fit; serials in
/// the difference are not compared, since the unsigned zone has its own. The new serial is that of a new SOA record
/// if it is newer than the one of `signed`, else the next one. `now` is seconds since 1970, truncated to 32 bits.
/// Runs in the current rayon pool.
///
/// The cost is that of the names that change, of the empty non-terminals above them and of their neighbours in the
/// chain, each found in logarithmic time, with two exceptions, where the result itself is as large: what lies below a
/// name that becomes or ceases to be a zone cut or the owner of a DNAME record is looked at name by name, and another
/// TTL of negative answers changes every record of the chain (RFC 9077 section 3). The first change of a flat zone with
/// NSEC3 also finds its hashed owners, in a walk (10 ms for a million names).
///
/// # Errors
/// If the difference does not fit, if the zone cannot be signed, or if it must be signed as a whole.
pub fn sign_difference(
    signed: &Version,
    difference: &Difference,
    rules: Rules,
    keys: &[Key],
    policy: &SigningPolicy,
    now: u32,
) -> Result<Option<SignedDifference>, DifferenceError> {
    check(signed.apex(), keys, policy)?;
    check_manner(signed, keys, policy)?;
    let Prepared { changed, version } = prepare(signed, difference, rules, policy, now)?;
    let mut change = Change {
        old: signed,
        new: &version,
        changed: &changed,
        policy,
        zone: Edit::default(),
        any_answers: Edit::default(),
        statistics: Statistics::default(),
    };
    change.data();
    if !change.is_any(difference) {
        return Ok(None);
    }
    change.names()?;

    let Change { mut zone, mut any_answers, mut statistics, .. } = change;
    let signer = RrsetSigner { apex: signed.apex().as_wire(), keys, policy, now };
    zone.make_signatures(&signer, &mut statistics)?;
    any_answers.make_signatures(&signer, &mut statistics)?;
    let serial = version.serial();
    let beside =
        |beside: &Version| any_answers.difference(signed.apex(), [beside.serial(), serial]);
    Ok(Some(SignedDifference {
        zone: zone.difference(signed.apex(), [signed.serial(), serial]),
        any_answers: signed.any_answers().map(beside),
        statistics,
    }))
}

/// How many names a core looks at at once: fewer are not worth waking it.
const MIN_PER_CORE: usize = 64;

/// A change while it is signed.
struct Change<'a> {
    /// The version before, signed.
    old: &'a Version,
    /// What the change makes of it, its changed owners without signatures.
    new: &'a Version,
    changed: &'a BTreeSet<Name>,
    policy: &'a SigningPolicy,
    zone: Edit,
    /// What stands beside the zone.
    any_answers: Edit,
    statistics: Statistics,
}

/// A name that may be something else than before.
struct Transition {
    name: Name,
    before: NameState,
    after: NameState,
}

impl Change<'_> {
    /// The records of the unsigned zone that come and go.
    fn data(&mut self) {
        for name in self.changed {
            let old = ordinary(self.old, name.as_wire());
            let new = ordinary(self.new, name.as_wire());
            let rrsets = [old, new].into_iter().flatten().flat_map(|owner| owner.rrsets());
            let types = rrsets.map(|rrset| rrset.rtype());
            let types: BTreeSet<Rtype> = types.filter(|rtype| !is_made(*rtype)).collect();
            for rtype in types {
                let [old, new] = [old, new].map(|owner| owner.and_then(|owner| owner.rrset(rtype)));
                let new = new.map(|rrset| (rrset.ttl(), rrset.rdatas()));
                self.zone.replace(name, rtype, old, new);
            }
        }
    }

    /// Whether anything changes but the serial; a new SOA record of the unsigned zone counts.
    fn is_any(&self, difference: &Difference) -> bool {
        let apex = self.old.apex().as_wire();
        let mut added = difference.added().iter();
        let is_new_soa = added.any(|record| record.rtype == Rtype::SOA && record.owner == apex);
        is_new_soa || !self.zone.is_all_of(Rtype::SOA)
    }

    /// Denial of existence and signatures.
    fn names(&mut self) -> Result<(), DifferenceError> {
        let (old, new, apex) = (self.old, self.new, self.old.apex());
        let affected = affected_owners(old, new, self.changed);
        let above = match self.policy.denial {
            Denial::Nsec => BTreeSet::new(),
            Denial::Nsec3 { .. } => names_above(&affected, apex),
        };
        self.statistics.names = affected.len() + above.len();
        let transition = |name: Name| {
            let wire = name.as_wire();
            let (before, after) = (NameState::of(old, wire), NameState::of(new, wire));
            Transition { name, before, after }
        };
        let transitions = |names: BTreeSet<Name>| -> Vec<Transition> {
            let names = Vec::from_iter(names).into_par_iter().with_min_len(MIN_PER_CORE);
            names.map(transition).collect()
        };
        let (owners, mut above) = (transitions(affected), transitions(above));
        // Those that are what they were have the same types, too.
        above.retain(|name| name.before != name.after);
        match self.policy.denial {
            Denial::Nsec => self.owners_with_nsec(&owners),
            Denial::Nsec3 { opt_out } => {
                let states = owners.iter().map(|owner| (&owner.name, owner.after)).collect();
                let made = self.owners(states, |_, _| None);
                self.zone.append(made);
                self.nsec3_chain(owners.iter().chain(&above), opt_out)?;
            }
        }
        if self.old.any_answers().is_some() {
            owners.iter().for_each(|owner| self.any_answer(owner));
            self.soa_of_any_answers();
        }
        Ok(())
    }

    fn has_other_denial_ttl(&self) -> bool {
        self.old.negative_ttl() != self.new.negative_ttl()
    }

    fn owners_with_nsec(&mut self, owners: &[Transition]) {
        let mut all: BTreeMap<Name, NameState> =
            owners.iter().map(|owner| (owner.name.clone(), owner.after)).collect();
        for owner in owners.iter().filter(|one| one.before.has_nsec() != one.after.has_nsec()) {
            let before = nsec_before(self.new, owner.name.as_wire());
            self.unchanged_owner(before, &mut all);
        }
        if self.has_other_denial_ttl() {
            self.new.owners().for_each(|owner| self.unchanged_owner(Some(owner), &mut all));
        }
        let all = all.iter().map(|(name, state)| (name, *state)).collect();
        let made = self.owners(all, |name, state| self.nsec(name, state));
        self.zone.append(made);
    }

    /// The signatures and the NSEC records of these owners, found on all cores if they are many.
    fn owners(
        &self,
        owners: Vec<(&Name, NameState)>,
        nsec: impl Fn(&Name, NameState) -> Option<Vec<u8>> + Sync,
    ) -> Edit {
        let made = owners.into_par_iter().with_min_len(MIN_PER_CORE);
        let made = made.fold(Edit::default, |mut edit, (name, state)| {
            self.owner(&mut edit, name, state, nsec(name, state));
            edit
        });
        made.reduce(Edit::default, |mut all, edit| {
            all.append(edit);
            all
        })
    }

    /// Adds an owner, unless it is known.
    fn unchanged_owner(&self, owner: Option<Owner<'_>>, all: &mut BTreeMap<Name, NameState>) {
        if let Some(name) = owner.and_then(|owner| Name::from_wire(owner.name())) {
            let state = |name: &Name| NameState::of(self.new, name.as_wire());
            all.entry(name).or_insert_with_key(state);
        }
    }

    /// The NSEC RDATA of a name, if it has such a record.
    fn nsec(&self, name: &Name, state: NameState) -> Option<Vec<u8>> {
        let status = state.status().filter(|_| state.has_nsec())?;
        let owner = ordinary(self.new, name.as_wire())?;
        let next = nsec_after(self.new, name.as_wire())?;
        Some(denial::nsec_rdata(next.name(), &denial::bitmap(&owner, status, Denial::Nsec)))
    }

    /// The signatures and the NSEC record of one owner. A signature stays where the RRset is as it was.
    fn owner(&self, edit: &mut Edit, name: &Name, state: NameState, nsec: Option<Vec<u8>>) {
        let [old, new] = [self.old, self.new].map(|version| ordinary(version, name.as_wire()));
        let mut kept = Vec::new();
        if let Some((new, status)) = new.zip(state.status()) {
            let rrsets = new.rrsets().filter(|rrset| !is_made(rrset.rtype()));
            for rrset in rrsets.filter(|rrset| is_signed(status, rrset.rtype())) {
                let what = (rrset.rtype(), rrset.ttl());
                if is_signed_so(old.as_ref(), what, rrset.rdatas()) {
                    kept.push(rrset.rtype());
                } else {
                    edit.sign(name, what, rrset.rdatas());
                }
            }
        }
        let (ttl, old_nsec) = (self.new.negative_ttl(), old.and_then(|old| old.rrset(Rtype::NSEC)));
        if let Some(nsec) = &nsec {
            if is_signed_so(old.as_ref(), (Rtype::NSEC, ttl), std::iter::once(&nsec[..])) {
                kept.push(Rtype::NSEC);
            } else {
                edit.sign(name, (Rtype::NSEC, ttl), std::iter::once(&nsec[..]));
            }
        }
        let nsec = nsec.as_ref().map(|nsec| (ttl, std::iter::once(&nsec[..])));
        edit.replace(name, Rtype::NSEC, old_nsec, nsec);
        if let Some((old, signatures)) = old.and_then(|old| Some((old, old.rrset(Rtype::RRSIG)?))) {
            let is_kept = |rdata: &[u8]| covered(rdata).is_some_and(|rtype| kept.contains(&rtype));
            edit.remove_from(&old, &signatures, |rdata| !is_kept(rdata));
        }
    }

    /// The NSEC3 records of these names and of their neighbours by hash (RFC 5155 sections 7.1 and 7.5).
    fn nsec3_chain<'t>(
        &mut self,
        names: impl Iterator<Item = &'t Transition>,
        opt_out: bool,
    ) -> Result<(), DifferenceError> {
        let (mut bitmaps, mut joined, mut left) = (BTreeMap::new(), Vec::new(), Vec::new());
        for Transition { name, before, after } in names {
            let hashed =
                denial::hash_owner(&denial::nsec3_hash(name.as_wire(), 0, b""), self.old.apex());
            let (had, has) = (before.has_nsec3(opt_out), after.has_nsec3(opt_out));
            if has && bitmaps.insert(hashed.clone(), self.nsec3_bitmap(name, *after)).is_some() {
                return Err(SignError::HashCollision(hashed).into());
            }
            match (had, has) {
                (false, true) => joined.push(hashed),
                (true, false) => left.push(hashed),
                _ => {}
            }
        }
        self.check_collisions(&joined)?;
        let chain = self.chain(&joined, &left, opt_out)?;
        let mut written: BTreeSet<Name> = bitmaps.keys().cloned().collect();
        let neighbours = joined.iter().chain(&left);
        let neighbours =
            neighbours.filter_map(|hashed| nsec3_before(&chain, hashed.as_wire()).next());
        written.extend(neighbours.filter_map(|owner| Name::from_wire(owner.name())));
        if self.has_other_denial_ttl() {
            let all = chain.hashed_from(chain.apex().as_wire());
            written.extend(all.filter_map(|owner| Name::from_wire(owner.name())));
        }
        for hashed in &left {
            self.hashed_owner(hashed, None);
        }
        for hashed in &written {
            let next = nsec3_after(&chain, hashed.as_wire()).next();
            let next = next.and_then(|next| denial::read_hash_owner(next.name()));
            let known = bitmaps.get(hashed).map(Vec::as_slice);
            let bitmap = known.or_else(|| nsec3(self.old, hashed).map(|nsec3| nsec3.bitmap));
            let rdata =
                next.map(|next| denial::nsec3_rdata(opt_out, &next, bitmap.unwrap_or_default()));
            self.hashed_owner(hashed, rdata);
        }
        Ok(())
    }

    /// The types at a name, of which an empty non-terminal has none.
    fn nsec3_bitmap(&self, name: &Name, state: NameState) -> Vec<u8> {
        let owner = ordinary(self.new, name.as_wire()).zip(state.status());
        let bitmap = |(owner, status)| denial::bitmap(&owner, status, self.policy.denial);
        owner.map(bitmap).unwrap_or_default()
    }

    /// Refuses names that have another's hash or hashed owner name.
    fn check_collisions(&self, joined: &[Name]) -> Result<(), DifferenceError> {
        let is_hashed = |name: &&Name| {
            let owner = self.new.find(name.as_wire());
            owner.is_some_and(|owner| owner.rrset(Rtype::NSEC3).is_some() && !owner.is_hash())
        };
        let is_taken = |name: &&Name| self.new.find(name.as_wire()).is_some();
        let collision = self.changed.iter().find(is_hashed);
        match collision.or_else(|| joined.iter().find(is_taken)) {
            Some(name) => Err(SignError::HashCollision(name.clone()).into()),
            None => Ok(()),
        }
    }

    /// The new version with the owners of the new chain, so that neighbours are found in it: the records of those that
    /// join say nothing yet.
    fn chain(
        &self,
        joined: &[Name],
        left: &[Name],
        opt_out: bool,
    ) -> Result<Version, DifferenceError> {
        let mut edit = Edit::default();
        for owner in left.iter().filter_map(|hashed| self.new.find(hashed.as_wire())) {
            owner.rrsets().for_each(|rrset| edit.remove_from(&owner, &rrset, |_| true));
        }
        let nothing = denial::nsec3_rdata(opt_out, &[0; denial::HASH_LEN], b"");
        joined.iter().for_each(|hashed| edit.add(hashed, Rtype::NSEC3, 0, &nothing));
        if edit.is_empty() {
            return Ok(self.new.clone());
        }
        let difference = edit.difference(self.new.apex(), [self.new.serial(); 2]);
        Ok(self.new.apply(&difference, Rules::Strict)?)
    }

    /// The NSEC3 record at a hashed owner name, and its signatures.
    fn hashed_owner(&mut self, hashed: &Name, rdata: Option<Vec<u8>>) {
        let old = self.old.find(hashed.as_wire());
        let ttl = self.new.negative_ttl();
        let is_same = |rdata: &Vec<u8>| {
            is_signed_so(old.as_ref(), (Rtype::NSEC3, ttl), std::iter::once(&rdata[..]))
        };
        if rdata.as_ref().is_some_and(is_same) {
            return;
        }
        if let Some(rdata) = &rdata {
            self.zone.sign(hashed, (Rtype::NSEC3, ttl), std::iter::once(&rdata[..]));
        }
        let new = rdata.as_ref().map(|rdata| (ttl, std::iter::once(&rdata[..])));
        self.zone.replace(hashed, Rtype::NSEC3, old.and_then(|old| old.rrset(Rtype::NSEC3)), new);
        if let Some((old, signatures)) = old.and_then(|old| Some((old, old.rrset(Rtype::RRSIG)?))) {
            self.zone.remove_from(&old, &signatures, |_| true);
        }
    }

    /// What a name says to ANY, if that is synthesised.
    fn any_answer(&mut self, owner: &Transition) {
        let Transition { name, after, .. } = owner;
        let new = ordinary(self.new, name.as_wire()).zip(after.status());
        let has = new.is_some_and(|(owner, status)| has_hinfo(&owner, status));
        let old = self.old.any_answers().and_then(|beside| beside.find(name.as_wire()));
        let old = old.filter(|old| old.rrset(Rtype::HINFO).is_some());
        match (old, has) {
            (None, true) => {
                self.any_answers.add(name, Rtype::HINFO, HINFO_TTL, HINFO_RDATA);
                let rdatas = std::iter::once(HINFO_RDATA);
                self.any_answers.sign(name, (Rtype::HINFO, HINFO_TTL), rdatas);
            }
            (Some(old), false) => {
                for rrset in old.rrsets().filter(|rrset| rrset.rtype() != Rtype::SOA) {
                    self.any_answers.remove_from(&old, &rrset, |_| true);
                }
            }
            _ => {}
        }
    }

    /// What stands beside a zone has its SOA record.
    fn soa_of_any_answers(&mut self) {
        let old = self.old.any_answers().and_then(Version::soa);
        let new = self.new.soa().map(|soa| (soa.ttl(), soa.rdatas()));
        self.any_answers.replace(self.old.apex(), Rtype::SOA, old, new);
    }
}

/// Whether an ordinary owner's records of a type are the signer's alone and made owner by owner.
fn is_made(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::RRSIG | Rtype::NSEC)
}

/// Whether an owner has this RRset, a type and a TTL in seconds, with a signature.
fn is_signed_so<'r>(
    owner: Option<&Owner<'_>>,
    (rtype, ttl): (Rtype, u32),
    rdatas: impl Iterator<Item = &'r [u8]>,
) -> bool {
    owner.is_some_and(|owner| {
        owner.signatures(rtype).next().is_some()
            && owner
                .rrset(rtype)
                .is_some_and(|rrset| rrset.ttl() == ttl && rrset.rdatas().eq(rdatas))
    })
}

/// The type that a signature covers.
pub(super) fn covered(rrsig: &[u8]) -> Option<Rtype> {
    rrsig.first_chunk().map(|rtype| Rtype(u16::from_be_bytes(*rtype)))
}

/// The NSEC3 record at a hashed owner name.
fn nsec3<'v>(version: &'v Version, hashed: &Name) -> Option<Nsec3<'v>> {
    let rrset = version.find(hashed.as_wire())?.rrset(Rtype::NSEC3)?;
    rrset.rdatas().next().and_then(Nsec3::parse)
}
