//! Signatures of the version of a zone before: those of RRsets that did not change are still good.

use super::keys::Key;
use super::rrsig::{Rrsig, is_within, label_count};
use crate::zone::{Owner, Rtype, Serial, Version};

/// A version of the zone that was signed and verified before.
pub struct PreviousVersion<'a> {
    zone: &'a Version,
    now: u32,
    /// How many seconds a signature must still be valid for.
    least: u32,
    /// For each key whether its signatures can be told from those of other keys.
    is_known: Vec<bool>,
}

impl<'a> PreviousVersion<'a> {
    /// `least` is how many seconds a signature must last from `now` on to be kept.
    pub fn new(zone: &'a Version, keys: &[Key], now: u32, least: u32) -> PreviousVersion<'a> {
        let rrset = zone.find(zone.apex().as_wire()).and_then(|apex| apex.rrset(Rtype::DNSKEY));
        let of_tag = |key: &Key| {
            let published = rrset.iter().flat_map(|keys| keys.rdatas());
            let mut same = published.filter(|rdata| {
                let parsed = super::keys::parse_dnskey(rdata);
                parsed.is_some_and(|other| {
                    (other.key_tag(), other.algorithm().to_int())
                        == (key.tag(), key.algorithm().number())
                })
            });
            same.next() == Some(key.dnskey()) && same.next().is_none()
        };
        PreviousVersion { zone, now, least, is_known: keys.iter().map(of_tag).collect() }
    }

    /// The owner of that version with this name.
    pub fn owner(&self, name: &[u8]) -> Option<Owner<'a>> {
        self.zone.find(name)
    }

    /// The owner of what stood beside that version with this name.
    pub fn any_answers(&self, name: &[u8]) -> Option<Owner<'a>> {
        self.zone.any_answers().and_then(|any_answers| any_answers.find(name))
    }

    /// The signature by a key, given by its place, that `owner` has of these records.
    pub fn signature<'r, 'o>(
        &self,
        owner: &Owner<'o>,
        (rtype, ttl): (Rtype, u32),
        rdatas: impl Iterator<Item = &'r [u8]>,
        (place, key): (usize, &Key),
    ) -> Option<&'o [u8]> {
        let rrset = owner.rrset(rtype).filter(|_| self.is_known[place])?;
        if !rrset.rdatas().eq(rdatas) {
            return None;
        }
        owner.signatures(rtype).find(|rdata| {
            let Some(Rrsig { fields, signer, .. }) = Rrsig::parse(rdata) else { return false };
            let expiration = fields.expiration;
            (fields.key_tag, fields.algorithm) == (key.tag(), key.algorithm().number())
                && fields.original_ttl == ttl
                && fields.labels == label_count(owner.name())
                && signer == self.zone.apex().as_wire()
                && is_within(fields.inception, expiration, self.now)
                && i64::from(Serial(expiration).since(Serial(self.now))) >= i64::from(self.least)
        })
    }
}
