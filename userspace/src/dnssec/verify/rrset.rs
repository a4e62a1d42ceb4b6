//! Whether signatures hold an RRset (RFC 4035 section 5.3).

use super::fault::{Fault, Faults, Reason, fault};
use super::keys::ZoneKey;
use super::limits::MAX_SIGNATURES;
use crate::dnssec::authority::{NameStatus, is_signed, place_among};
use crate::dnssec::lasting::{self, Span};
use crate::dnssec::rrsig::{Rrsig, RrsigFields, is_within, label_count};
use crate::zone::{Name, Owner, Rrset, Rtype, Serial, Version};

/// Checks the signatures of RRsets.
pub(super) struct RrsetVerifier<'a> {
    pub apex: &'a Name,
    /// A version without faults and with the same keys.
    pub before: Option<VersionBefore<'a>>,
    pub keys: &'a [ZoneKey],
    /// Seconds since 1970, truncated to 32 bits.
    pub now: u32,
}

/// A version that was verified before.
#[derive(Clone, Copy)]
pub(super) struct VersionBefore<'a> {
    version: &'a Version,
    apex: Owner<'a>,
}

impl<'a> VersionBefore<'a> {
    /// `None` if it has nothing at its apex, as no version of a zone has.
    pub(super) fn of(version: &'a Version) -> Option<VersionBefore<'a>> {
        Some(VersionBefore { version, apex: version.find(version.apex().as_wire())? })
    }

    /// An owner of that version, and its place there.
    pub(super) fn owner(&self, name: &[u8]) -> Option<(Owner<'a>, NameStatus)> {
        let owner = self.version.find(name)?;
        let apex = self.version.apex();
        // The apex is asked for with each name.
        let find = |name: &[u8]| match name == apex.as_wire() {
            true => Some(self.apex),
            false => self.version.find(name),
        };
        Some((owner, place_among(apex, &owner, find)))
    }

    fn any_answer(&self, name: &[u8]) -> Option<Owner<'a>> {
        self.version.any_answers()?.find(name)
    }
}

/// What was found of some RRsets.
pub(super) struct Found {
    /// How many have a valid signature.
    pub rrsets: usize,
    /// How many seconds from now the first of them is no more held.
    pub remaining: i64,
    pub faults: Vec<Fault>,
}

impl Default for Found {
    fn default() -> Found {
        Found { rrsets: 0, remaining: i64::MAX, faults: Vec::new() }
    }
}

impl Found {
    /// What was found of these RRsets and of others.
    pub(super) fn and(mut self, mut other: Found) -> Found {
        self.faults.append(&mut other.faults);
        Found {
            rrsets: self.rrsets + other.rrsets,
            remaining: self.remaining.min(other.remaining),
            faults: self.faults,
        }
    }
}

impl<'a> RrsetVerifier<'a> {
    /// Checks the RRsets of one owner that the zone signs there.
    pub(super) fn owner(&self, owner: &Owner<'_>, place: NameStatus, faults: &Faults) -> Found {
        let before = self.before.and_then(|before| before.owner(owner.name()));
        let rrsets = owner.rrsets().filter(|rrset| is_signed(place, rrset.rtype()));
        let known = |rtype| {
            // Signatures below a cut and a DNAME were not looked at.
            let (before, place) = before?;
            is_signed(place, rtype).then_some(before)
        };
        self.rrsets(owner, rrsets, known, faults)
    }

    /// The same of what is said to ANY and stands beside the zone (RFC 8482 section 4.2).
    pub(super) fn any_answer(&self, owner: &Owner<'_>, faults: &Faults) -> Found {
        let before = self.before.and_then(|before| before.any_answer(owner.name()));
        self.rrsets(owner, owner.rrset(Rtype::HINFO).into_iter(), |_| before, faults)
    }

    fn rrsets<'o>(
        &self,
        owner: &Owner<'o>,
        rrsets: impl Iterator<Item = Rrset<'o>>,
        known: impl Fn(Rtype) -> Option<Owner<'a>>,
        faults: &Faults,
    ) -> Found {
        let mut found = Found::default();
        for rrset in rrsets {
            if faults.are_enough() {
                break;
            }
            match self.rrset(owner, &rrset, known(rrset.rtype()).as_ref()) {
                Ok(expiration) => {
                    found.rrsets += 1;
                    found.remaining = found.remaining.min(self.seconds_until(expiration));
                }
                Err(reason) => found.faults.push(fault(owner.name(), rrset.rtype(), reason)),
            }
        }
        faults.count(found.faults.len());
        found
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
        if rrsig.signer != self.apex.as_wire() {
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
}
