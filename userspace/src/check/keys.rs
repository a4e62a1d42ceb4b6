//! Records that belong to the apex alone, and CDS and CDNSKEY, which name keys of the zone (RFC 7344 section 4.1,
//! RFC 8078 section 4).

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};

use super::findings::Findings;
use crate::dnssec::keys::parse_dnskey;
use crate::zone::{Owner, Rtype, Zone};

pub(super) fn check(zone: &Zone, findings: &mut Findings) {
    for owner in zone.owners() {
        if owner.name() == zone.apex().as_wire() {
            children(&owner, findings);
            continue;
        }
        for rrset in owner.rrsets() {
            let rtype = rrset.rtype();
            match rtype {
                Rtype::CDS | Rtype::CDNSKEY => {
                    let message = "it stands below the apex, where no parent looks for it";
                    findings.error(&owner, rtype, "cds-below-apex", message.into());
                }
                Rtype::DNSKEY | Rtype::NSEC3PARAM | Rtype::ZONEMD => {
                    let message = "it stands below the apex, where it has no meaning";
                    findings.warn(&owner, rtype, "apex-type-below-apex", message.into());
                }
                _ => {}
            }
        }
    }
}

/// What the apex tells its parent: each must be of a key that is there.
fn children(apex: &Owner<'_>, findings: &mut Findings) {
    let of = |rtype| apex.rrset(rtype).into_iter().flat_map(|rrset| rrset.rdatas());
    let keys: Vec<&[u8]> = of(Rtype::DNSKEY).collect();
    for rtype in [Rtype::CDS, Rtype::CDNSKEY] {
        let is_delete = |rdata: &[u8]| match rtype {
            Rtype::CDS => rdata == [0, 0, 0, 0, 0],
            _ => rdata == [0, 0, 3, 0, 0],
        };
        let (deletes, others) = of(rtype).partition::<Vec<_>, _>(|rdata| is_delete(rdata));
        if !deletes.is_empty() && !others.is_empty() {
            let message = "the record that asks to delete all DS stands beside others";
            findings.error(apex, rtype, "cds-delete-and-other", message.into());
        }
        for rdata in others {
            let is_own = match rtype {
                Rtype::CDS => keys.iter().any(|key| is_digest_of(rdata, apex.name(), key)),
                _ => keys.contains(&rdata),
            };
            if !is_own {
                let message = "it is of no DNSKEY record of this zone";
                findings.error(apex, rtype, "cds-foreign", message.into());
            }
        }
    }
}

/// Whether CDS RDATA is of a key (RFC 4034 section 5.1); digests of unknown types are taken on trust.
fn is_digest_of(cds: &[u8], owner: &[u8], dnskey: &[u8]) -> bool {
    let Some((&[tag_high, tag_low, algorithm, digest_type], expected)) = cds.split_first_chunk()
    else {
        return false;
    };
    let Some(key) = parse_dnskey(dnskey) else { return false };
    if key.key_tag() != u16::from_be_bytes([tag_high, tag_low]) || dnskey.get(3) != Some(&algorithm)
    {
        return false;
    }
    let hash = match digest_type {
        1 => &SHA1_FOR_LEGACY_USE_ONLY,
        2 => &SHA256,
        4 => &SHA384,
        _ => return true,
    };
    digest(hash, &[owner, dnskey].concat()).as_ref() == expected
}
