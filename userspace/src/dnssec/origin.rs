//! What a signed zone was made of: so that it is seen that nothing changed, and so that it can be signed
//! again without the file that it came from.

use ring::digest::{Context, SHA256};

use super::any::HINFO_TTL;
use super::keys::Key;
use super::policy::SigningPolicy;
use super::sign::is_dropped;
use crate::zone::difference::Difference;
use crate::zone::{Rtype, Version, Zone, ZoneError, ZoneWriter};

/// Octets of a digest.
pub const DIGEST_LEN: usize = 32;

/// A SHA-256 digest.
pub type Digest = [u8; DIGEST_LEN];

/// What a signed zone was made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Digest of its records before they were signed, with the serial that they had.
    pub content: Digest,
    /// Digest of how it was signed: the policy, the keys, and by which version of sealdns.
    pub manner: Digest,
    /// DNSKEY records that it had before, such as those of other signers (RFC 8901), and their TTL.
    pub dnskeys: (u32, Vec<Vec<u8>>),
}

impl Origin {
    /// What comes of `zone`, which is not signed yet, when it is signed in this manner.
    pub fn new(zone: &Zone, keys: &[Key], policy: &SigningPolicy) -> Origin {
        let rrset = zone.find(zone.apex().as_wire()).and_then(|apex| apex.rrset(Rtype::DNSKEY));
        let dnskeys = rrset.map(|keys| (keys.ttl(), keys.rdatas().map(<[u8]>::to_vec).collect()));
        Origin {
            content: content(zone),
            manner: manner(keys, policy),
            dnskeys: dnskeys.unwrap_or_default(),
        }
    }

    /// The records that `signed` was made of, with its serial.
    pub fn unsigned(&self, signed: &Version) -> Result<Zone, ZoneError> {
        let apex = signed.apex().as_wire();
        let is_taken = |owner: &[u8], rtype| is_taken(apex, owner, rtype);
        let (dnskey_ttl, dnskeys) = &self.dnskeys;
        let mut writer = ZoneWriter::with_capacity(signed.apex().clone(), 0);
        for owner in signed.owners() {
            let is_apex = owner.name() == apex;
            if !is_apex && owner.rrsets().all(|rrset| !is_taken(owner.name(), rrset.rtype())) {
                continue;
            }
            writer.owner(owner.name())?;
            for rrset in owner.rrsets() {
                if is_apex && rrset.rtype() == Rtype::DNSKEY && !dnskeys.is_empty() {
                    let rdatas = dnskeys.iter().map(Vec::as_slice);
                    writer.rrset(Rtype::DNSKEY, *dnskey_ttl, rdatas)?;
                } else if is_taken(owner.name(), rrset.rtype()) {
                    writer.rrset(rrset.rtype(), rrset.ttl(), rrset.rdatas())?;
                }
            }
        }
        writer.finish()
    }
}

/// Whether records of a type at an owner are signed as they come in a zone with this apex. All others the signer makes
/// itself; those DNSKEY records that come are beside them.
pub fn is_taken(apex: &[u8], owner: &[u8], rtype: Rtype) -> bool {
    let is_of_apex = matches!(rtype, Rtype::DNSKEY | Rtype::ZONEMD);
    !(is_dropped(rtype) || is_of_apex && owner == apex)
}

/// What changes the records that `signed` was made of into those of the zone `unsigned`, if they are not more than
/// `most`; but for DNSKEY records at the apex. The older SOA record is that of `signed`, with its serial.
pub fn unsigned_difference(
    signed: &Version,
    unsigned: &Version,
    most: usize,
) -> Option<Difference> {
    let apex = signed.apex().as_wire();
    let is_taken = |owner: &[u8], rtype| is_taken(apex, owner, rtype);
    Difference::between_at_most(signed, unsigned, most, &is_taken)
}

/// Digest of all records of a zone.
pub fn content(zone: &Zone) -> Digest {
    let mut context = Context::new(&SHA256);
    let mut add = |octets: &[u8]| {
        context.update(&(octets.len() as u64).to_be_bytes());
        context.update(octets);
    };
    add(zone.apex().as_wire());
    zone.arrays().into_iter().for_each(add);
    finish(context)
}

/// A digest of the records of a zone with this digest after these differences: at the cost of what changes. It is not the
/// one that [`content`] makes of these records, and none that it makes of others.
pub fn content_after(before: &Digest, differences: &[Difference]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(b"after");
    context.update(before);
    for difference in differences {
        for (mark, records) in [(0u8, difference.removed()), (1, difference.added())] {
            for record in records.iter() {
                context.update(&[mark]);
                context.update(record.owner);
                context.update(&record.rtype.0.to_be_bytes());
                context.update(&record.ttl.to_be_bytes());
                context.update(&(record.rdata.len() as u64).to_be_bytes());
                context.update(record.rdata);
            }
        }
    }
    finish(context)
}

/// Digest of how zones are signed with this policy and these keys.
pub fn manner(keys: &[Key], policy: &SigningPolicy) -> Digest {
    let mut context = Context::new(&SHA256);
    // Every setting is in its `Debug`, also one that comes later.
    let settings = format!("{} {policy:?} {HINFO_TTL}", env!("CARGO_PKG_VERSION"));
    context.update(settings.as_bytes());
    for key in keys {
        context.update(format!(" {} {} ", key.role(), key.state().word()).as_bytes());
        context.update(key.dnskey());
    }
    finish(context)
}

fn finish(context: Context) -> Digest {
    let digest = context.finish();
    digest.as_ref().try_into().unwrap_or([0; DIGEST_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::keys::{Algorithm, NewKey, Role};
    use crate::dnssec::policy::{AnyResponse, Denial};
    use crate::dnssec::sign::sign;
    use crate::dnssec::times::SignatureTimes;
    use crate::server::testing;
    use crate::zone::ZoneBuilder;

    const NOW: u32 = 1_800_000_000;

    fn keys() -> Vec<Key> {
        let apex = testing::name("example");
        let make =
            |role| NewKey::generate(&apex, role, Algorithm::default(), &[], NOW).unwrap().key;
        [Role::Ksk, Role::Zsk].map(make).into()
    }

    /// A zone with a DNSKEY record of another signer, if it is to have one.
    fn zone(other: Option<&Key>) -> Zone {
        let apex = testing::name("example");
        let mut builder = ZoneBuilder::new(apex.clone());
        builder.copy(&testing::zone(7, 20), |_, _| true).unwrap();
        if let Some(key) = other {
            builder.push(apex.as_wire(), Rtype::DNSKEY, 600, key.dnskey()).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn the_records_that_were_signed_are_found_again() {
        let (keys, others) = (keys(), keys());
        for denial in
            [Denial::Nsec, Denial::Nsec3 { opt_out: false }, Denial::Nsec3 { opt_out: true }]
        {
            for other in [None, Some(&others[0])] {
                for any in [AnyResponse::Rrset, AnyResponse::Hinfo] {
                    let policy = SigningPolicy { denial, any, ..SigningPolicy::default() };
                    let zone = zone(other);
                    let origin = Origin::new(&zone, &keys, &policy);
                    let signed = Version::of(sign(&zone, &keys, &policy, NOW).unwrap().0);
                    let again = origin.unsigned(&signed).unwrap();
                    assert_eq!(again.arrays(), zone.arrays());
                    assert_eq!(Origin::new(&again, &keys, &policy), origin);
                    let times = SignatureTimes::of(&signed.flat().unwrap());
                    let validity = times.validity(NOW).unwrap();
                    assert_eq!(validity.inception, NOW - policy.inception_offset);
                    assert_eq!(validity.expiration, NOW + policy.validity);
                }
            }
        }
    }

    #[test]
    fn another_record_serial_policy_or_key_is_another_origin() {
        let keys = keys();
        let policy = SigningPolicy::default();
        let origin = Origin::new(&zone(None), &keys, &policy);
        for other in [
            zone(Some(&keys[0])),
            Zone::clone(&testing::zone(8, 20)),
            Zone::clone(&testing::zone(7, 21)),
        ] {
            assert_ne!(content(&other), origin.content);
        }
        let other = SigningPolicy { validity: policy.validity + 1, ..policy.clone() };
        assert_ne!(manner(&keys, &other), origin.manner);
        assert_ne!(manner(&keys[..1], &policy), origin.manner);
        assert_eq!(Origin::new(&zone(None), &keys, &policy), origin);
    }

    #[test]
    fn a_zone_without_signatures_has_no_validity() {
        assert_eq!(SignatureTimes::of(&zone(None)).validity(NOW), None);
    }
}
