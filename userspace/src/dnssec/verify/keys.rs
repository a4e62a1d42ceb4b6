//! The keys that signatures of a zone are checked with.

use domain::crypto::common::PublicKey;

use super::fault::{Fault, Reason, fault};
use super::limits::{MAX_KEYS, MAX_KEYS_PER_TAG};
use crate::dnssec::keys::{
    Algorithm, KeyError, REVOKED, SECURE_ENTRY_POINT, ZONE_KEY, parse_dnskey,
};
use crate::zone::{Owner, Rtype};

/// A key of the zone that signatures are checked with.
pub(super) struct ZoneKey {
    pub tag: u16,
    pub algorithm: u8,
    pub is_sep: bool,
    pub public: PublicKey,
}

/// The keys in the DNSKEY RRset of a zone's apex.
pub(super) fn zone_keys(apex: &Owner<'_>) -> Result<Vec<ZoneKey>, Fault> {
    let at_apex = |reason| fault(apex.name(), Rtype::DNSKEY, reason);
    let rrset = apex.rrset(Rtype::DNSKEY).ok_or_else(|| at_apex(Reason::NoDnskey))?;
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

/// Whether two versions of a zone have the same keys, from the owners of their apexes.
pub(super) fn has_same_keys(a: Option<&Owner<'_>>, b: Option<&Owner<'_>>) -> bool {
    let keys = [a, b].map(|apex| apex.and_then(|apex| apex.rrset(Rtype::DNSKEY)));
    match keys {
        [Some(a), Some(b)] => a.rdatas().eq(b.rdatas()),
        _ => false,
    }
}
