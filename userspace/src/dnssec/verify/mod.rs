//! Checking a signed zone as a validator would, name by name.
//!
//! The work is bounded: a validator that tries every key for every signature can be kept busy by
//! a zone made for it (KeyTrap, CVE-2023-50387), so [`MAX_KEYS_PER_TAG`] and
//! [`MAX_SIGNATURES`] say what is tried, and what lies beyond is a fault.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::crypto::common::PublicKey;
use rayon::prelude::*;

use crate::dnssec::authority::{NameStatus, is_signed, places};
use crate::dnssec::denial::{self, Hash, Nsec3, OptOutScope, Parameters, ParametersError};
use crate::dnssec::keys::{
    Algorithm, KeyError, REVOKED, SECURE_ENTRY_POINT, ZONE_KEY, parse_dnskey,
};
use crate::dnssec::lasting::{self, Signers, Span};
use crate::dnssec::policy::Denial;
use crate::dnssec::rrsig::{Rrsig, RrsigFields, is_within, label_count};
use crate::dnssec::zonemd::Mismatch;
use crate::zone::name::wire_name_len;
use crate::zone::{Name, Owner, Rrset, Rtype, Serial, Version, Zone};

/// How many keys of the same tag and algorithm are tried for a signature. Two meet by accident with
/// a chance of 1 in 65,536; signers avoid it.
pub const MAX_KEYS_PER_TAG: usize = 4;

/// How many signatures of one RRset are tried: a zone has one per key, and a few more while keys
/// are replaced.
pub const MAX_SIGNATURES: usize = 8;

/// How many zone keys are looked at.
pub const MAX_KEYS: usize = 64;

/// How many faults are collected before the rest of the zone is left alone.
pub const MAX_FAULTS: usize = 1000;

/// What was found in a zone without faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// RRsets with a valid signature.
    pub rrsets: usize,
    /// Keys in the DNSKEY RRset that can be used.
    pub keys: usize,
    /// How the absence of names is proven.
    pub denial: Denial,
    /// NSEC or NSEC3 records in the chain.
    pub denials: usize,
    /// When the first RRset is no more held by a signature, in seconds since 1970 truncated to 32 bits.
    pub expiration: u32,
}

/// Something that a validator would reject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The owner name.
    pub owner: Name,
    /// The type.
    pub rtype: Rtype,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.owner, self.rtype, self.reason)
    }
}

impl std::error::Error for Fault {}

/// What is wrong with an RRset.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say it")]
pub enum Reason {
    #[error("the zone is not signed: it has no DNSKEY record")]
    NoDnskey,
    #[error(transparent)]
    Digest(#[from] Mismatch),
    #[error("none of the DNSKEY records can be used: {0}")]
    NoUsableKey(String),
    #[error("there are more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("more than {MAX_KEYS_PER_TAG} keys have the tag {0}")]
    TooManyKeysOfOneTag(u16),
    #[error("there is no signature")]
    NoSignature,
    #[error("there are more than {MAX_SIGNATURES} signatures, and none of the first is valid")]
    TooManySignatures,
    #[error("an RRSIG record is cut short")]
    MalformedSignature,
    #[error("the signature by key {tag} expired at {}, now is {}", date(*expiration), date(*now))]
    Expired { tag: u16, expiration: u32, now: u32 },
    #[error("the signature by key {tag} is not valid before {}, now is {}",
            date(*inception), date(*now))]
    NotYetValid { tag: u16, inception: u32, now: u32 },
    #[error(
        "the signature is by key {tag} of algorithm {algorithm}, which is not among the \
             zone's usable keys"
    )]
    UnknownKey { tag: u16, algorithm: u8 },
    #[error("the signature by key {tag} names {signer} as the signer, not the zone")]
    OtherSigner { tag: u16, signer: Name },
    #[error("the signature by key {tag} says {found} labels, the name has {expected}")]
    Labels { tag: u16, found: u8, expected: u8 },
    #[error(
        "the TTL {ttl} is higher than the original TTL {original} in the signature by key {tag}"
    )]
    Ttl { tag: u16, ttl: u32, original: u32 },
    #[error("the signature by key {tag} does not match the records")]
    Invalid { tag: u16 },
    #[error("no valid signature is by a key with the SEP flag, as a DS record points to")]
    NotBySep,
    #[error("the name has no NSEC record")]
    NoNsec,
    #[error("the name has more than one NSEC record")]
    SeveralNsec,
    #[error("there is an NSEC record where the zone has no authority")]
    NeedlessNsec,
    #[error("the record is cut short")]
    MalformedDenial,
    #[error("the next name is {found}, but should be {expected}")]
    NextName { found: Name, expected: Name },
    #[error("the type bit map is wrong: it lists {found}, but should list {expected}")]
    Bitmap { found: String, expected: String },
    #[error("the zone has neither an NSEC record at its apex nor an NSEC3PARAM record")]
    NoChain,
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error("the name has no NSEC3 record {0}")]
    NoNsec3(Name),
    #[error(
        "the name is a delegation without an NSEC3 record {0}, and the record that covers \
             it is without the opt-out flag"
    )]
    NoOptOut(Name),
    #[error("the owner is not a hash before the zone's name")]
    NotAHash,
    #[error("no name of the zone has this hash")]
    NeedlessNsec3,
    #[error("the name has several NSEC3 records of one chain")]
    SeveralNsec3,
    #[error("the next hash is not that of the next NSEC3 record: the chain is broken")]
    NextHash,
}

/// A time as people read it; those after 2106 are taken for earlier ones.
fn date(time: u32) -> String {
    jiff::Timestamp::from_second(time.into())
        .map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// Checks every RRset that the zone has authority over, and the chain that denies the rest.
///
/// `now` is seconds since 1970, truncated to 32 bits. Returns the faults, at most
/// [`MAX_FAULTS`] or a few more, sorted by name. Runs in the current rayon pool.
pub fn verify(zone: &Zone, now: u32) -> Result<VerifyReport, Vec<Fault>> {
    verify_again(zone, None, now)
}

/// As [`verify`]; signatures that `before` has of the same records, a version of the zone without
/// faults, are not computed again.
pub fn verify_again(
    zone: &Zone,
    before: Option<&Version>,
    now: u32,
) -> Result<VerifyReport, Vec<Fault>> {
    let faults = Faults::default();
    let keys = match zone_keys(zone) {
        Ok(keys) => keys,
        Err(fault) => return Err(vec![fault]),
    };
    let places = places(zone);
    // Whatever was said about a signature holds as long as the keys are the same.
    let before = before.filter(|before| has_same_keys(before, zone));
    let verifier = Verifier { zone, before, places: &places, keys: &keys, now };
    let by_owner: Vec<(usize, i64, Vec<Fault>)> = (0..places.len())
        .into_par_iter()
        .map(|index| verifier.owner(index, &faults))
        .filter(|(rrsets, _, found)| *rrsets > 0 || !found.is_empty())
        .fold(
            || (0, i64::MAX, Vec::new()),
            |mut sum, (rrsets, remaining, mut found)| {
                sum.2.append(&mut found);
                (sum.0 + rrsets, sum.1.min(remaining), sum.2)
            },
        )
        .collect();
    let mut found = Vec::new();
    let (mut rrsets, mut remaining) = (0, i64::MAX);
    for (some_rrsets, some_remaining, mut some_found) in by_owner {
        rrsets += some_rrsets;
        remaining = remaining.min(some_remaining);
        found.append(&mut some_found);
    }

    if let Some(any_answers) = zone.any_answers() {
        let (some_rrsets, some_remaining) = verifier.any_answers(any_answers, &faults, &mut found);
        rrsets += some_rrsets;
        remaining = remaining.min(some_remaining);
    }

    let chain = match verifier.denial() {
        Some((_, None)) => verifier.nsec_chain(&faults, &mut found),
        Some((_, Some(parameters))) => verifier.nsec3_chain(parameters, &faults, &mut found),
        None => {
            found.push(fault(zone.apex().as_wire(), Rtype::NSEC, Reason::NoChain));
            (Denial::Nsec, 0)
        }
    };
    if !found.is_empty() {
        found.sort_by(|a, b| (&a.owner, a.rtype).cmp(&(&b.owner, b.rtype)));
        return Err(found);
    }
    let expiration = now.wrapping_add(remaining.clamp(0, i64::from(u32::MAX)) as u32);
    Ok(VerifyReport { rrsets, keys: keys.len(), denial: chain.0, denials: chain.1, expiration })
}

/// When the first of a zone's RRsets is no more held by a signature; `None` if it has none. Nothing is verified.
pub fn first_expiration(zone: &Zone, now: u32) -> Option<u32> {
    let signers = Signers::of(zone);
    let ends =
        zone.owners().filter(|owner| owner.rrset(Rtype::RRSIG).is_some()).flat_map(|owner| {
            let ends = owner.rrsets().filter_map(|rrset| signers.until(&owner, &rrset, now));
            ends.collect::<Vec<_>>()
        });
    ends.min_by_key(|end| Serial(*end).since(Serial(now)))
}

fn has_same_keys(a: &Version, b: &Zone) -> bool {
    let apex = b.apex().as_wire();
    let a_keys = a.find(apex).and_then(|apex| apex.rrset(Rtype::DNSKEY));
    let b_keys = b.find(apex).and_then(|apex| apex.rrset(Rtype::DNSKEY));
    match (a_keys, b_keys) {
        (Some(a_keys), Some(b_keys)) => a.apex() == b.apex() && a_keys.rdatas().eq(b_keys.rdatas()),
        _ => false,
    }
}

/// Counts faults, so that a zone that is wrong everywhere does not fill the memory with them.
#[derive(Default)]
struct Faults(AtomicUsize);

impl Faults {
    fn count(&self, new: usize) {
        self.0.fetch_add(new, Ordering::Relaxed);
    }

    fn are_enough(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MAX_FAULTS
    }
}

fn fault(owner: &[u8], rtype: Rtype, reason: Reason) -> Fault {
    Fault { owner: Name::from_wire(owner).unwrap_or_else(Name::root), rtype, reason }
}

/// A key of the zone that signatures are checked with.
struct ZoneKey {
    tag: u16,
    algorithm: u8,
    is_sep: bool,
    public: PublicKey,
}

fn zone_keys(zone: &Zone) -> Result<Vec<ZoneKey>, Fault> {
    let apex = zone.apex().as_wire();
    let at_apex = |reason| fault(apex, Rtype::DNSKEY, reason);
    let rrset = zone
        .find(apex)
        .and_then(|owner| owner.rrset(Rtype::DNSKEY))
        .ok_or_else(|| at_apex(Reason::NoDnskey))?;
    if rrset.len() > MAX_KEYS {
        return Err(at_apex(Reason::TooManyKeys));
    }
    let mut keys: Vec<ZoneKey> = Vec::new();
    let mut why_not = Vec::new();
    for rdata in rrset.rdatas() {
        match zone_key(rdata) {
            Ok(key) => keys.push(key),
            Err(error) => why_not.push(error.to_string()),
        }
    }
    if keys.is_empty() {
        return Err(at_apex(Reason::NoUsableKey(why_not.join("; "))));
    }
    for key in &keys {
        let same = |other: &&ZoneKey| (other.tag, other.algorithm) == (key.tag, key.algorithm);
        if keys.iter().filter(same).count() > MAX_KEYS_PER_TAG {
            return Err(at_apex(Reason::TooManyKeysOfOneTag(key.tag)));
        }
    }
    Ok(keys)
}

fn zone_key(rdata: &[u8]) -> Result<ZoneKey, KeyError> {
    let dnskey = parse_dnskey(rdata).ok_or(KeyError::Public)?;
    let (flags, protocol) = (dnskey.flags(), dnskey.protocol());
    // RFC 4034 sections 2.1.1 and 2.1.2; RFC 5011 section 2.1 for revoked keys.
    if flags & ZONE_KEY == 0 || flags & REVOKED != 0 || protocol != 3 {
        return Err(KeyError::NotAZoneKey { flags, protocol });
    }
    let algorithm = Algorithm::from_number(dnskey.algorithm().to_int())?;
    Ok(ZoneKey {
        tag: dnskey.key_tag(),
        algorithm: algorithm.number(),
        is_sep: flags & SECURE_ENTRY_POINT != 0,
        public: PublicKey::from_dnskey(&dnskey).map_err(|_| KeyError::Public)?,
    })
}

struct Verifier<'a> {
    zone: &'a Zone,
    before: Option<&'a Version>,
    places: &'a [NameStatus],
    keys: &'a [ZoneKey],
    now: u32,
}

impl<'a> Verifier<'a> {
    /// The number of RRsets with a valid signature at one owner, how many seconds from now the
    /// first of these signatures ends, and the faults.
    fn owner(&self, index: usize, faults: &Faults) -> (usize, i64, Vec<Fault>) {
        let owner = self.zone.owner(index);
        let place = self.places[index];
        let before = self.before.and_then(|before| before.find(owner.name()));
        let (mut rrsets, mut remaining, mut found) = (0, i64::MAX, Vec::new());
        for rrset in owner.rrsets().filter(|rrset| is_signed(place, rrset.rtype())) {
            if faults.are_enough() {
                break;
            }
            match self.rrset(&owner, &rrset, before.as_ref()) {
                Ok(expiration) => {
                    rrsets += 1;
                    remaining = remaining.min(self.seconds_until(expiration));
                }
                Err(reason) => found.push(fault(owner.name(), rrset.rtype(), reason)),
            }
        }
        faults.count(found.len());
        (rrsets, remaining, found)
    }

    /// The same of what is said to ANY and stands beside the zone (RFC 8482 section 4.2).
    fn any_answers(
        &self,
        any_answers: &Zone,
        faults: &Faults,
        found: &mut Vec<Fault>,
    ) -> (usize, i64) {
        let before = self.before.and_then(Version::any_answers);
        let by_owner: Vec<(usize, i64, Vec<Fault>)> = (0..any_answers.owners().len())
            .into_par_iter()
            .filter_map(|index| {
                let owner = any_answers.owner(index);
                let rrset = owner.rrset(Rtype::HINFO).filter(|_| !faults.are_enough())?;
                let before = before.and_then(|before| before.find(owner.name()));
                Some(match self.rrset(&owner, &rrset, before.as_ref()) {
                    Ok(expiration) => (1, self.seconds_until(expiration), Vec::new()),
                    Err(reason) => {
                        faults.count(1);
                        (0, i64::MAX, vec![fault(owner.name(), Rtype::HINFO, reason)])
                    }
                })
            })
            .collect();
        let (mut rrsets, mut remaining) = (0, i64::MAX);
        for (some_rrsets, some_remaining, mut some_found) in by_owner {
            rrsets += some_rrsets;
            remaining = remaining.min(some_remaining);
            found.append(&mut some_found);
        }
        (rrsets, remaining)
    }

    fn seconds_until(&self, time: u32) -> i64 {
        Serial(time).since(Serial(self.now)).into()
    }

    /// Until when valid signatures hold an RRset; or why none holds now, from the last signature looked at.
    fn rrset(
        &self,
        owner: &Owner<'_>,
        rrset: &Rrset<'_>,
        before: Option<&Owner<'_>>,
    ) -> Result<u32, Reason> {
        let known = before.and_then(|before| Some((before, before.rrset(rrset.rtype())?)));
        let known = known.filter(|(_, known)| known.rdatas().eq(rrset.rdatas()));
        let mut reason = Reason::NoSignature;
        let mut spans = Vec::new();
        let mut data = Vec::new();
        let (mut holds, mut is_by_sep) = (false, false);
        for (tried, rdata) in owner.signatures(rrset.rtype()).enumerate() {
            if tried == MAX_SIGNATURES {
                reason = Reason::TooManySignatures;
                break;
            }
            let Some(rrsig) = Rrsig::parse(rdata) else {
                reason = Reason::MalformedSignature;
                continue;
            };
            // A name's version without faults has one valid signature at least: if it has only one, that.
            let is_known = known.is_some_and(|(before, _)| {
                let mut signatures = before.signatures(rrset.rtype());
                signatures.next() == Some(rdata) && signatures.next().is_none()
            });
            match self.signature(owner, rrset, &rrsig, is_known, &mut data) {
                Ok(key) => {
                    let RrsigFields { inception, expiration, key_tag: tag, .. } = rrsig.fields;
                    let now = self.now;
                    if is_within(inception, expiration, now) {
                        holds = true;
                        is_by_sep |= key.is_sep;
                    } else {
                        reason = Reason::NotYetValid { tag, inception, now };
                    }
                    if key.is_sep || rrset.rtype() != Rtype::DNSKEY {
                        spans.push(Span { inception, expiration });
                    }
                }
                Err(error) => reason = error,
            }
        }
        match lasting::until(&spans, self.now).filter(|_| holds) {
            // A resolver comes from the parent's DS to the DNSKEY RRset by such a key.
            _ if holds && rrset.rtype() == Rtype::DNSKEY && !is_by_sep => Err(Reason::NotBySep),
            Some(until) => Ok(until),
            None => Err(reason),
        }
    }

    /// The key whose valid signature this is, even if it has not begun.
    fn signature(
        &self,
        owner: &Owner<'_>,
        rrset: &Rrset<'_>,
        rrsig: &Rrsig<'_>,
        is_known: bool,
        data: &mut Vec<u8>,
    ) -> Result<&'a ZoneKey, Reason> {
        let fields = &rrsig.fields;
        let tag = fields.key_tag;
        if rrsig.signer != self.zone.apex().as_wire() {
            let signer = Name::from_wire(rrsig.signer).unwrap_or_else(Name::root);
            return Err(Reason::OtherSigner { tag, signer });
        }
        let expected = label_count(owner.name());
        if fields.labels != expected {
            return Err(Reason::Labels { tag, found: fields.labels, expected });
        }
        if rrset.ttl() > fields.original_ttl {
            let original = fields.original_ttl;
            return Err(Reason::Ttl { tag, ttl: rrset.ttl(), original });
        }
        let (now, expiration) = (self.now, fields.expiration);
        if Serial(expiration).since(Serial(now)) < 0 {
            return Err(Reason::Expired { tag, expiration, now });
        }
        let mut reason = Reason::UnknownKey { tag, algorithm: fields.algorithm };
        let fits = |key: &&ZoneKey| key.tag == tag && key.algorithm == fields.algorithm;
        if is_known && self.keys.iter().filter(fits).count() == 1 {
            return self.keys.iter().find(fits).ok_or(reason);
        }
        for key in self.keys.iter().filter(fits) {
            fields.signed_data(rrsig.signer, owner.name(), rrset.rdatas(), data);
            if key.public.verify(data, rrsig.signature).is_ok() {
                return Ok(key);
            }
            reason = Reason::Invalid { tag };
        }
        Err(reason)
    }

    /// How the zone denies existence, with the chain's parameters if it is by NSEC3.
    fn denial(&self) -> Option<(Denial, Option<Result<Parameters<'a>, ParametersError>>)> {
        let apex = self.zone.find(self.zone.apex().as_wire())?;
        match Parameters::of(&apex) {
            Some(parameters) => Some((Denial::Nsec3 { opt_out: false }, Some(parameters))),
            None => apex.rrset(Rtype::NSEC).map(|_| (Denial::Nsec, None)),
        }
    }

    fn nsec_chain(&self, faults: &Faults, found: &mut Vec<Fault>) -> (Denial, usize) {
        let mut count = 0;
        for (owner, &place) in self.zone.owners().zip(self.places) {
            if faults.are_enough() {
                break;
            }
            let nsec = owner.rrset(Rtype::NSEC);
            let before = found.len();
            let mut add = |reason| found.push(fault(owner.name(), Rtype::NSEC, reason));
            match (nsec, place) {
                (None, NameStatus::Occluded | NameStatus::Hash) => {}
                (Some(_), NameStatus::Occluded | NameStatus::Hash) => add(Reason::NeedlessNsec),
                (None, _) => add(Reason::NoNsec),
                (Some(rrset), _) if rrset.len() > 1 => add(Reason::SeveralNsec),
                (Some(rrset), _) => {
                    count += 1;
                    let rdata = rrset.rdatas().next().unwrap_or_default();
                    if let Err(reason) = self.nsec(&owner, place, rdata) {
                        add(reason);
                    }
                }
            }
            faults.count(found.len() - before);
        }
        (Denial::Nsec, count)
    }

    fn nsec(&self, owner: &Owner<'_>, place: NameStatus, rdata: &[u8]) -> Result<(), Reason> {
        let len = wire_name_len(rdata).ok_or(Reason::MalformedDenial)?;
        let (next, bitmap) = rdata.split_at(len);
        // RFC 6840 section 5.1: the case of the next name is kept, and does not matter.
        let found = Name::from_wire(next).ok_or(Reason::MalformedDenial)?;
        let next = denial::next_nsec_owner(self.zone, self.places, self.zone.index_of(owner));
        if found.as_wire() != next.name() {
            let expected = Name::from_wire(next.name()).unwrap_or_else(Name::root);
            return Err(Reason::NextName { found, expected });
        }
        compare_bitmaps(bitmap, &denial::bitmap(owner, place, Denial::Nsec))
    }

    fn nsec3_chain(
        &self,
        parameters: Result<Parameters<'a>, ParametersError>,
        faults: &Faults,
        found: &mut Vec<Fault>,
    ) -> (Denial, usize) {
        let apex = self.zone.apex().as_wire();
        let nothing = (Denial::Nsec3 { opt_out: false }, 0);
        let Parameters { iterations, salt } = match parameters {
            Ok(parameters) => parameters,
            Err(error) => {
                found.push(fault(apex, Rtype::NSEC3PARAM, error.into()));
                return nothing;
            }
        };
        let records = self.nsec3_records(iterations, salt, faults, found);
        let opt_out = records.iter().any(|(_, nsec3, _)| nsec3.flags & denial::OPT_OUT != 0);
        let all =
            denial::hashed_names(self.zone, self.places, OptOutScope::Nothing, iterations, salt);
        // What may be missing under opt-out is the most that a signer which opts out leaves out.
        let most = OptOutScope::DelegationsAndAbove;
        let required = match opt_out {
            true => denial::hashed_names(self.zone, self.places, most, iterations, salt),
            false => Vec::new(),
        };
        let is_required =
            |hash: &Hash| !opt_out || required.binary_search_by_key(hash, |name| name.hash).is_ok();

        for name in &all {
            if faults.are_enough() {
                break;
            }
            let owner = name.owner.map(|index| self.zone.owner(index as usize));
            let hashed = || {
                let mut wire = Vec::new();
                denial::write_hash_owner(&name.hash, apex, &mut wire);
                Name::from_wire(&wire).unwrap_or_else(Name::root)
            };
            let shown = owner.map(|owner| owner.name());
            let reason = match records.binary_search_by_key(&name.hash, |record| record.0) {
                Ok(at) => {
                    let expected = name.owner.map_or(Vec::new(), |index| {
                        let index = index as usize;
                        let denial = Denial::Nsec3 { opt_out };
                        denial::bitmap(&self.zone.owner(index), self.places[index], denial)
                    });
                    compare_bitmaps(records[at].1.bitmap, &expected).err()
                }
                Err(_) if is_required(&name.hash) => Some(Reason::NoNsec3(hashed())),
                Err(at) => {
                    // The record before covers it; before the first comes the last.
                    let covering = at.checked_sub(1).map_or(records.last(), |at| records.get(at));
                    let opts_out =
                        covering.is_some_and(|(_, nsec3, _)| nsec3.flags & denial::OPT_OUT != 0);
                    (!opts_out).then(|| Reason::NoOptOut(hashed()))
                }
            };
            if let Some(reason) = reason {
                // An empty non-terminal has no owner here: the hashed name stands for it.
                let hash_name = hashed();
                let shown = shown.unwrap_or(hash_name.as_wire());
                found.push(fault(shown, Rtype::NSEC3, reason));
                faults.count(1);
            }
        }
        for (at, (hash, nsec3, owner)) in records.iter().enumerate() {
            if faults.are_enough() {
                break;
            }
            let next = records[(at + 1) % records.len()].0;
            let is_known = all.binary_search_by_key(hash, |name| name.hash).is_ok();
            let reason = if !is_known {
                Reason::NeedlessNsec3
            } else if nsec3.next != next {
                Reason::NextHash
            } else {
                continue;
            };
            found.push(fault(owner, Rtype::NSEC3, reason));
            faults.count(1);
        }
        (Denial::Nsec3 { opt_out }, records.len())
    }

    /// The NSEC3 records of the chain with these parameters, sorted by hash.
    fn nsec3_records(
        &self,
        iterations: u16,
        salt: &[u8],
        faults: &Faults,
        found: &mut Vec<Fault>,
    ) -> Vec<(Hash, Nsec3<'a>, &'a [u8])> {
        let zone = self.zone;
        let mut records = Vec::new();
        for owner in zone.owners() {
            let Some(rrset) = owner.rrset(Rtype::NSEC3) else { continue };
            if faults.are_enough() {
                break;
            }
            let mut add = |reason| {
                found.push(fault(owner.name(), Rtype::NSEC3, reason));
                faults.count(1);
            };
            let is_child = crate::zone::name::parent(owner.name()) == Some(zone.apex().as_wire());
            let Some(hash) = denial::read_hash_owner(owner.name()).filter(|_| is_child) else {
                add(Reason::NotAHash);
                continue;
            };
            let mut of_chain = 0;
            for rdata in rrset.rdatas() {
                let Some(nsec3) = Nsec3::parse(rdata) else {
                    add(Reason::MalformedDenial);
                    continue;
                };
                if (nsec3.algorithm, nsec3.iterations, nsec3.salt)
                    == (denial::SHA1, iterations, salt)
                {
                    of_chain += 1;
                    records.push((hash, nsec3, owner.name()));
                }
            }
            if of_chain > 1 {
                add(Reason::SeveralNsec3);
            }
        }
        // In canonical order they are sorted already: base32hex keeps the order of hashes.
        records
    }
}

fn compare_bitmaps(found: &[u8], expected: &[u8]) -> Result<(), Reason> {
    if found == expected {
        return Ok(());
    }
    Err(Reason::Bitmap { found: list_types(found), expected: list_types(expected) })
}

/// The types in a bit map in words; what is malformed ends the list.
fn list_types(mut bitmap: &[u8]) -> String {
    let mut types = Vec::new();
    while let Some((&window, rest)) = bitmap.split_first() {
        let Some((block, rest)) = denial::split_string(rest) else {
            types.push("(cut short)".to_string());
            break;
        };
        for (at, octet) in block.iter().enumerate() {
            for bit in (0..8).filter(|bit| octet & (0x80 >> bit) != 0) {
                let number = u16::from(window) << 8 | ((at as u16 * 8 + bit) & 0xff);
                types.push(Rtype(number).to_string());
            }
        }
        bitmap = rest;
    }
    if types.is_empty() { "no types".into() } else { types.join(" ") }
}
