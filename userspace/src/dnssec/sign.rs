//! Signing a zone.
//!
//! What was signed before is taken off, DNSKEY and NSEC3PARAM are put on, and then the zone is
//! written out once in canonical order. On the way, batch by batch, all cores make the denial of
//! existence and the signatures, so that never more than a batch of them is held twice.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rayon::prelude::*;

use super::any;
use super::authority::{NameStatus, is_signed, places};
use super::denial::{self, HashedName, OptOutScope};
use super::keys::{Algorithm, Key, SigningFailed};
use super::policy::{AnyResponse, Denial, SigningPolicy};
use super::previous::PreviousVersion;
use super::rrset_signer::RrsetSigner;
use super::zonemd;
use crate::duration::Exact;
use crate::zone::name::MAX_NAME_LEN;
use crate::zone::{Name, Owner, Rtype, Version, Zone, ZoneError, ZoneWriter, canonical_order, soa};

/// How many owner names are signed before the results are written out: enough to keep many cores
/// busy for tens of milliseconds, and few enough that their signatures take some megabytes.
const BATCH: usize = 16 * 1024;

/// How many owner names a core takes at once.
const MIN_PER_CORE: usize = 32;

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignStatistics {
    /// Owner names in the signed zone.
    pub owners: usize,
    /// RRsets that were signed.
    pub rrsets: usize,
    /// Signatures made.
    pub signatures: usize,
    /// Signatures of the version before that were kept.
    pub kept: usize,
    /// NSEC or NSEC3 records.
    pub denials: usize,
    /// ZONEMD records at the apex that were left out.
    pub dropped_digests: usize,
}

/// Why a zone was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// There is no key.
    #[error("there is no key for the zone {0}")]
    NoKey(Name),
    /// A key belongs to another zone.
    #[error("key {tag} is of the zone {found}, not of {zone}")]
    OtherZone {
        /// The key's tag.
        tag: u16,
        /// The key's zone.
        found: Name,
        /// The zone to be signed.
        zone: Name,
    },
    /// An algorithm would sign the zone in part only, which RFC 4035 section 2.2 forbids.
    #[error("the zone {zone} has a key of algorithm {algorithm}, but none that signs {what}")]
    Incomplete {
        /// The zone.
        zone: Name,
        /// The algorithm.
        algorithm: Algorithm,
        /// What would stay unsigned.
        what: &'static str,
    },
    /// The signatures would outlast what their times can say, or end when they begin.
    #[error(
        "signatures cannot be valid for {0} seconds: for one at least, and RFC 4034 allows for less \
             than 68 years"
    )]
    Validity(u32),
    /// Some signatures would end when they begin.
    #[error("a jitter of {} would leave nothing of a validity of {}", Exact(*jitter), Exact(*validity))]
    Jitter {
        /// How much earlier signatures may end, in seconds.
        jitter: u32,
        /// How long they would be valid, in seconds.
        validity: u32,
    },
    /// A hashed owner name collides with another.
    #[error("two names of the zone have the same NSEC3 owner name {0}; sign with NSEC instead")]
    HashCollision(Name),
    /// A hashed owner name is longer than a name may be.
    #[error("NSEC3 owner names in the zone {0} are longer than 255 octets; sign with NSEC instead")]
    NameTooLong(Name),
    /// A signature could not be made.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// The signed zone does not fit.
    #[error(transparent)]
    Zone(#[from] ZoneError),
}

/// Signs a zone.
///
/// Existing RRSIG, NSEC, NSEC3 and NSEC3PARAM records are replaced; DNSKEY records that are not
/// among `keys` stay. ZONEMD records at the apex are left out, or replaced if the policy wants one: they are of the
/// zone as it was before, and who checks them would refuse the signed one (RFC 8976 section 4). `now` is seconds since 1970, truncated to 32 bits. Runs in the current
/// rayon pool. All signatures of an owner are one RRset here, whose TTL is the lowest among the
/// RRsets covered; each signature's own is its Original TTL.
pub fn sign(
    zone: &Zone,
    keys: &[Key],
    policy: &SigningPolicy,
    now: u32,
) -> Result<(Zone, SignStatistics), SignError> {
    sign_again(zone, None, keys, policy, now)
}

/// As [`sign`], but signatures that `before` has, a version of the zone that was signed and verified,
/// are kept if they are of the same records, by a key among `keys`, and last for so many seconds.
pub fn sign_again(
    zone: &Zone,
    before: Option<(&Version, u32)>,
    keys: &[Key],
    policy: &SigningPolicy,
    now: u32,
) -> Result<(Zone, SignStatistics), SignError> {
    check(zone.apex(), keys, policy)?;
    let base = prepare(zone, keys, policy, now)?;
    let places = places(&base);
    let hashes = match policy.denial {
        Denial::Nsec => Vec::new(),
        Denial::Nsec3 { opt_out } => hashes(&base, &places, opt_out)?,
    };
    let items = in_order(&base, &hashes)?;
    let signing = Signing {
        base: &base,
        places: &places,
        hashes: &hashes,
        policy,
        signer: RrsetSigner { apex: base.apex().as_wire(), keys, policy, now },
        denial_ttl: base.negative_ttl(),
        before: before.map(|(zone, least)| PreviousVersion::new(zone, keys, now, least)),
    };

    let apex_owner = zone.find(zone.apex().as_wire());
    let digests = apex_owner.and_then(|owner| owner.rrset(Rtype::ZONEMD));
    let mut statistics = SignStatistics {
        dropped_digests: digests.filter(|_| !policy.zonemd).map_or(0, |digests| digests.len()),
        ..SignStatistics::default()
    };
    let mut writer = ZoneWriter::with_capacity(base.apex().clone(), 0);
    let mut write = |batch: &[Item], added: &[OwnerAdditions]| -> Result<(), SignError> {
        for (item, added) in batch.iter().zip(added) {
            statistics.owners += 1;
            statistics.rrsets += added.rrsets;
            statistics.signatures += added.signatures.len() - added.kept;
            statistics.kept += added.kept;
            statistics.denials += usize::from(added.denial.is_some());
            signing.write(*item, added, &mut writer)?;
        }
        Ok(())
    };
    // One core writes out a batch while the others sign the next.
    let mut ready: (&[Item], Vec<OwnerAdditions>) = (&[], Vec::new());
    for batch in items.chunks(BATCH) {
        let (added, written) = rayon::join(|| signing.add_all(batch), || write(ready.0, &ready.1));
        written?;
        ready = (batch, added?);
    }
    write(ready.0, &ready.1)?;
    let signed = writer.finish()?;
    let signed = if policy.zonemd { signing.with_digest(signed)? } else { signed };
    let signed = match policy.any {
        AnyResponse::Rrset => signed,
        AnyResponse::Hinfo => {
            let hinfos = signing.hinfos()?;
            for made in hinfos.iter().filter(|made| !made.signatures.is_empty()) {
                statistics.rrsets += 1;
                statistics.signatures += made.signatures.len() - made.kept;
                statistics.kept += made.kept;
            }
            let any_answers =
                any::write_any_answers(&base, &places, |index| &hinfos[index].signatures)?;
            signed.with_any_answers(any_answers)
        }
    };
    Ok((signed, statistics))
}

/// Whether a zone can be signed with these keys and this policy.
pub(super) fn check(apex: &Name, keys: &[Key], policy: &SigningPolicy) -> Result<(), SignError> {
    check_keys(apex, keys)?;
    let (validity, jitter) = (policy.validity, policy.jitter);
    if validity == 0 || validity.saturating_add(policy.inception_offset) > i32::MAX as u32 {
        return Err(SignError::Validity(validity));
    }
    if jitter >= validity {
        return Err(SignError::Jitter { jitter, validity });
    }
    Ok(())
}

fn check_keys(apex: &Name, keys: &[Key]) -> Result<(), SignError> {
    if keys.is_empty() {
        return Err(SignError::NoKey(apex.clone()));
    }
    for key in keys {
        if key.zone() != apex {
            let found = key.zone().clone();
            return Err(SignError::OtherZone { tag: key.tag(), found, zone: apex.clone() });
        }
        let algorithm = key.algorithm();
        for (rtype, what) in [(Rtype::DNSKEY, "its DNSKEY records"), (Rtype::SOA, "its data")] {
            let signs = |key: &&Key| key.algorithm() == algorithm && key.signs(rtype);
            if !keys.iter().any(|key| signs(&key)) {
                return Err(SignError::Incomplete { zone: apex.clone(), algorithm, what });
            }
        }
    }
    Ok(())
}

/// Whether records of a type are the signer's to make, wherever they stand: those that a zone comes with are dropped.
pub(super) fn is_dropped(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM)
}

/// The zone without what was signed before, with its new serial, DNSKEY and NSEC3PARAM records.
fn prepare(zone: &Zone, keys: &[Key], policy: &SigningPolicy, now: u32) -> Result<Zone, SignError> {
    let mut writer = ZoneWriter::with_capacity(zone.apex().clone(), 0);
    for owner in zone.owners() {
        if owner.name() == zone.apex().as_wire() {
            let mut rrsets: BTreeMap<Rtype, (u32, Vec<Vec<u8>>)> = owner
                .rrsets()
                .filter(|rrset| !is_dropped(rrset.rtype()) && rrset.rtype() != Rtype::ZONEMD)
                .map(|rrset| {
                    (rrset.rtype(), (rrset.ttl(), rrset.rdatas().map(<[u8]>::to_vec).collect()))
                })
                .collect();
            let serial = policy.serial.apply(zone.serial(), now);
            if let Some((_, soa)) = rrsets.get_mut(&Rtype::SOA) {
                soa.iter_mut().for_each(|soa| soa::set_serial(soa, serial));
            }
            let (ttl, dnskeys) =
                rrsets.entry(Rtype::DNSKEY).or_insert((policy.dnskey_ttl, Vec::new()));
            *ttl = (*ttl).min(policy.dnskey_ttl);
            dnskeys.extend(keys.iter().map(|key| key.dnskey().to_vec()));
            dnskeys.sort_unstable();
            dnskeys.dedup();
            if policy.denial != Denial::Nsec {
                let rdata = denial::NSEC3PARAM.to_vec();
                rrsets.insert(Rtype::NSEC3PARAM, (zone.negative_ttl(), vec![rdata]));
            }
            if policy.zonemd {
                let ttl = zone.soa().map_or(0, |soa| soa.ttl());
                rrsets.insert(Rtype::ZONEMD, (ttl, vec![zonemd::placeholder(serial)]));
            }
            writer.owner(owner.name())?;
            for (rtype, (ttl, rdatas)) in &rrsets {
                writer.rrset(*rtype, *ttl, rdatas.iter().map(Vec::as_slice))?;
            }
        } else if owner.rrsets().any(|rrset| !is_dropped(rrset.rtype())) {
            writer.owner(owner.name())?;
            for rrset in owner.rrsets().filter(|rrset| !is_dropped(rrset.rtype())) {
                writer.rrset(rrset.rtype(), rrset.ttl(), rrset.rdatas())?;
            }
        }
    }
    Ok(writer.finish()?)
}

fn hashes(base: &Zone, places: &[NameStatus], opt_out: bool) -> Result<Vec<HashedName>, SignError> {
    let apex = base.apex();
    if 1 + denial::HASH_LABEL_LEN + apex.as_wire().len() > MAX_NAME_LEN {
        return Err(SignError::NameTooLong(apex.clone()));
    }
    let omitted = if opt_out { OptOutScope::Delegations } else { OptOutScope::Nothing };
    let hashes = denial::hashed_names(base, places, omitted, 0, b"");
    match hashes.windows(2).find(|pair| pair[0].hash == pair[1].hash) {
        None => Ok(hashes),
        Some(pair) => Err(SignError::HashCollision(denial::hash_owner(&pair[0].hash, apex))),
    }
}

/// An owner name of the signed zone.
#[derive(Clone, Copy)]
enum Item {
    /// One of the prepared zone.
    Owner(u32),
    /// One made from a hash.
    Hash(u32),
}

/// All owner names of the signed zone in canonical order. The NSEC3 owner names all have one label
/// more than the apex and are sorted among themselves, since base32hex keeps the order of hashes.
fn in_order(base: &Zone, hashes: &[HashedName]) -> Result<Vec<Item>, SignError> {
    let mut items = Vec::with_capacity(base.owners().len() + hashes.len());
    let mut owners = base.owners().peekable();
    let mut name = Vec::new();
    for (index, hash) in hashes.iter().enumerate() {
        denial::write_hash_owner(&hash.hash, base.apex().as_wire(), &mut name);
        while let Some(owner) = owners.peek() {
            match canonical_order(owner.name(), &name) {
                Ordering::Less => items.push(Item::Owner(base.index_of(owner) as u32)),
                Ordering::Equal => {
                    let owner = denial::hash_owner(&hash.hash, base.apex());
                    return Err(SignError::HashCollision(owner));
                }
                Ordering::Greater => break,
            }
            owners.next();
        }
        items.push(Item::Hash(index as u32));
    }
    items.extend(owners.map(|owner| Item::Owner(base.index_of(&owner) as u32)));
    Ok(items)
}

/// All that signing one name needs to know.
struct Signing<'a> {
    base: &'a Zone,
    places: &'a [NameStatus],
    hashes: &'a [HashedName],
    policy: &'a SigningPolicy,
    signer: RrsetSigner<'a>,
    /// RFC 9077 section 3: as long as a negative answer may be kept.
    denial_ttl: u32,
    before: Option<PreviousVersion<'a>>,
}

/// What signing adds at one owner name.
#[derive(Default)]
struct OwnerAdditions {
    denial: Option<Vec<u8>>,
    /// RRSIG RDATA, sorted.
    signatures: Vec<Vec<u8>>,
    /// How many of them are of the version before.
    kept: usize,
    /// The lowest TTL among the signed RRsets.
    ttl: u32,
    rrsets: usize,
}

impl Signing<'_> {
    /// Signs a batch on all cores.
    fn add_all(&self, batch: &[Item]) -> Result<Vec<OwnerAdditions>, SigningFailed> {
        batch
            .par_iter()
            .with_min_len(MIN_PER_CORE)
            .map_init(Vec::new, |scratch, item| self.add(*item, scratch))
            .collect()
    }

    /// Makes the denial of existence and the signatures at one owner name.
    fn add(&self, item: Item, scratch: &mut Vec<u8>) -> Result<OwnerAdditions, SigningFailed> {
        let mut added = OwnerAdditions { ttl: u32::MAX, ..OwnerAdditions::default() };
        let denial_ttl = self.denial_ttl;
        match item {
            Item::Owner(index) => {
                let owner = self.base.owner(index as usize);
                let place = self.places[index as usize];
                for rrset in owner.rrsets().filter(|rrset| is_signed(place, rrset.rtype())) {
                    let (rtype, ttl) = (rrset.rtype(), rrset.ttl());
                    let name = owner.name();
                    self.sign_rrset(name, rtype, ttl, rrset.rdatas(), &mut added, scratch)?;
                }
                if self.policy.denial == Denial::Nsec && place != NameStatus::Occluded {
                    let next =
                        denial::next_nsec_owner(self.base, self.places, index as usize).name();
                    let bitmap = denial::bitmap(&owner, place, Denial::Nsec);
                    let rdata = denial::nsec_rdata(next, &bitmap);
                    let (name, rdatas) = (owner.name(), std::iter::once(&rdata[..]));
                    self.sign_rrset(name, Rtype::NSEC, denial_ttl, rdatas, &mut added, scratch)?;
                    added.denial = Some(rdata);
                }
            }
            Item::Hash(index) => {
                let rdata = self.nsec3(index as usize);
                let mut name = Vec::with_capacity(MAX_NAME_LEN);
                let hash = &self.hashes[index as usize].hash;
                denial::write_hash_owner(hash, self.base.apex().as_wire(), &mut name);
                let rdatas = std::iter::once(&rdata[..]);
                self.sign_rrset(&name, Rtype::NSEC3, denial_ttl, rdatas, &mut added, scratch)?;
                added.denial = Some(rdata);
            }
        }
        added.signatures.sort_unstable();
        Ok(added)
    }

    /// The signed zone with its digest in the place of the zeros, and the signatures of that in the place of theirs
    /// (RFC 8976 section 3.1).
    fn with_digest(&self, signed: Zone) -> Result<Zone, SignError> {
        let (name, digest) = (signed.apex().as_wire().to_vec(), zonemd::of(&signed));
        let Some(apex) = signed.find(&name) else { return Ok(signed) };
        let Some(rrset) = apex.rrset(Rtype::ZONEMD) else { return Ok(signed) };
        let mut added = OwnerAdditions::default();
        let rdatas = std::iter::once(&digest[..]);
        let what = (Rtype::ZONEMD, rrset.ttl());
        self.sign_rrset_again(&name, what, rdatas, None, &mut added, &mut Vec::new())?;
        added.signatures.sort_unstable();
        let index = signed.index_of(&apex);
        // By the same keys with the same times, and so in the same order.
        let before: Vec<Vec<u8>> = apex.signatures(Rtype::ZONEMD).map(<[u8]>::to_vec).collect();
        let zeros: Vec<Vec<u8>> = rrset.rdatas().map(<[u8]>::to_vec).collect();
        let digests = zeros.iter().zip([&digest]).map(|(old, new)| (Rtype::ZONEMD, old, new));
        let signatures = before.iter().zip(&added.signatures);
        let signatures = signatures.map(|(old, new)| (Rtype::RRSIG, old, new));
        let all: Vec<_> = digests.chain(signatures).collect();
        Ok(all
            .into_iter()
            .fold(signed, |signed, (rtype, old, new)| signed.replaced(index, rtype, old, new)))
    }

    /// For each owner name the signatures of what it says to ANY, if that is synthesised.
    fn hinfos(&self) -> Result<Vec<OwnerAdditions>, SigningFailed> {
        let owners = (0..self.places.len()).into_par_iter().with_min_len(MIN_PER_CORE);
        let sign = |scratch: &mut Vec<u8>, index: usize| {
            let owner = self.base.owner(index);
            let mut added = OwnerAdditions::default();
            if any::has_hinfo(&owner, self.places[index]) {
                let rdatas = std::iter::once(any::HINFO_RDATA);
                let (name, ttl) = (owner.name(), any::HINFO_TTL);
                let before = self.before.as_ref().and_then(|before| before.any_answers(name));
                self.sign_rrset_again(
                    name,
                    (Rtype::HINFO, ttl),
                    rdatas,
                    before,
                    &mut added,
                    scratch,
                )?;
                added.signatures.sort_unstable();
            }
            Ok(added)
        };
        owners.map_init(Vec::new, sign).collect()
    }

    fn nsec3(&self, index: usize) -> Vec<u8> {
        let opt_out = self.policy.denial == Denial::Nsec3 { opt_out: true };
        let next = &self.hashes[(index + 1) % self.hashes.len()].hash;
        let bitmap = self.hashes[index].owner.map_or(Vec::new(), |owner| {
            let owner = owner as usize;
            denial::bitmap(&self.base.owner(owner), self.places[owner], self.policy.denial)
        });
        denial::nsec3_rdata(opt_out, next, &bitmap)
    }

    fn sign_rrset<'a>(
        &self,
        owner: &[u8],
        rtype: Rtype,
        ttl: u32,
        rdatas: impl Iterator<Item = &'a [u8]> + Clone,
        added: &mut OwnerAdditions,
        scratch: &mut Vec<u8>,
    ) -> Result<(), SigningFailed> {
        let before = self.before.as_ref().and_then(|before| before.owner(owner));
        self.sign_rrset_again(owner, (rtype, ttl), rdatas, before, added, scratch)
    }

    /// As [`Signing::sign_rrset`]; `before` is where the version before has the records.
    fn sign_rrset_again<'a>(
        &self,
        owner: &[u8],
        (rtype, ttl): (Rtype, u32),
        rdatas: impl Iterator<Item = &'a [u8]> + Clone,
        before: Option<Owner<'_>>,
        added: &mut OwnerAdditions,
        scratch: &mut Vec<u8>,
    ) -> Result<(), SigningFailed> {
        let before = self.before.as_ref().zip(before);
        for (place, key) in self.signer.keys_for(rtype) {
            let kept = before.as_ref().and_then(|(before, owner)| {
                before.signature(owner, (rtype, ttl), rdatas.clone(), (place, key))
            });
            if let Some(kept) = kept {
                added.signatures.push(kept.to_vec());
                added.kept += 1;
                continue;
            }
            let made = self.signer.signature(key, owner, (rtype, ttl), rdatas.clone(), scratch)?;
            added.signatures.push(made);
        }
        added.rrsets += 1;
        added.ttl = added.ttl.min(ttl);
        Ok(())
    }

    /// Writes one owner name with all its RRsets.
    fn write(
        &self,
        item: Item,
        added: &OwnerAdditions,
        writer: &mut ZoneWriter,
    ) -> Result<(), ZoneError> {
        let denial_ttl = self.denial_ttl;
        let owner = match item {
            Item::Owner(index) => {
                let owner = self.base.owner(index as usize);
                writer.owner(owner.name())?;
                Some(owner)
            }
            Item::Hash(index) => {
                let mut name = Vec::with_capacity(MAX_NAME_LEN);
                let hash = &self.hashes[index as usize].hash;
                denial::write_hash_owner(hash, self.base.apex().as_wire(), &mut name);
                writer.owner(&name)?;
                None
            }
        };
        let write_signatures = |writer: &mut ZoneWriter| match added.signatures.is_empty() {
            true => Ok(()),
            false => {
                let rdatas = added.signatures.iter().map(Vec::as_slice);
                writer.rrset(Rtype::RRSIG, added.ttl, rdatas)
            }
        };
        let Some(owner) = owner else {
            write_signatures(writer)?;
            return writer.rrset(Rtype::NSEC3, denial_ttl, added.denial.as_deref().into_iter());
        };
        let (before, after): (Vec<_>, Vec<_>) =
            owner.rrsets().partition(|rrset| rrset.rtype() < Rtype::RRSIG);
        for rrset in before {
            writer.rrset(rrset.rtype(), rrset.ttl(), rrset.rdatas())?;
        }
        write_signatures(writer)?;
        if let Some(nsec) = &added.denial {
            writer.rrset(Rtype::NSEC, denial_ttl, std::iter::once(nsec.as_slice()))?;
        }
        for rrset in after {
            writer.rrset(rrset.rtype(), rrset.ttl(), rrset.rdatas())?;
        }
        Ok(())
    }
}
