//! Digests over whole zones (RFC 8976): ZONEMD records are checked, and made for zones that are signed here.

use ring::digest::{Context, SHA384, SHA384_OUTPUT_LEN, SHA512};

use crate::zone::{Owner, Rtype, Serial, Zone};

/// The scheme SIMPLE (RFC 8976 section 2.2.2).
const SIMPLE: u8 = 1;

/// The hash algorithm SHA-384 (RFC 8976 section 2.2.3), which everyone who checks must know.
const SHA384_NUMBER: u8 = 1;

/// Serial, scheme, hash algorithm: what stands before the digest.
const HEAD: usize = 6;

/// Why nobody who checks it takes a zone with its ZONEMD records (RFC 8976 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    /// Of another version of the zone.
    #[error("the digest is of serial {digest}, the zone has {zone}")]
    Serial {
        /// In the ZONEMD record.
        digest: Serial,
        /// In the SOA record.
        zone: Serial,
    },
    /// Of other records.
    #[error("the digest is not that of the zone's records")]
    Digest,
    /// Cut short.
    #[error("the record is cut short")]
    Malformed,
    /// RFC 8976 section 4: the scheme and hash of each must be its own.
    #[error("there are several of the same scheme and hash algorithm")]
    Several,
}

/// RDATA with zeros for the digest, as it stands in the zone until that is known (RFC 8976 section 3.1).
pub fn placeholder(serial: Serial) -> Vec<u8> {
    let mut rdata = serial.0.to_be_bytes().to_vec();
    rdata.extend([SIMPLE, SHA384_NUMBER]);
    rdata.resize(HEAD + SHA384_OUTPUT_LEN, 0);
    rdata
}

/// RDATA with the digest of a zone: scheme SIMPLE, SHA-384. Neither the ZONEMD records that it has nor their signatures
/// count.
pub fn of(zone: &Zone) -> Vec<u8> {
    let mut rdata = placeholder(zone.serial());
    rdata[HEAD..].copy_from_slice(&of_zone(zone, Context::new(&SHA384)));
    rdata
}

/// Checks the digests at a zone's apex: one that can be checked and holds is enough. `None` if there is none whose
/// scheme and hash algorithm are known (SIMPLE; SHA-384, SHA-512).
pub fn check(zone: &Zone) -> Option<Result<(), Mismatch>> {
    let zonemd = zone.find(zone.apex().as_wire())?.rrset(Rtype::ZONEMD)?;
    let mut result = None;
    for rdata in zonemd.rdatas() {
        let Some((head, digest)) = rdata.split_first_chunk::<HEAD>() else {
            return Some(Err(Mismatch::Malformed));
        };
        let algorithm = match (head[4], head[5]) {
            (SIMPLE, SHA384_NUMBER) => &SHA384,
            (SIMPLE, 2) => &SHA512,
            _ => continue,
        };
        let serial = Serial(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let same = |other: &[u8]| other.get(4..HEAD) == Some(&head[4..]);
        let found = if zonemd.rdatas().filter(|other| same(other)).count() > 1 {
            Err(Mismatch::Several)
        } else if serial != zone.serial() {
            Err(Mismatch::Serial { digest: serial, zone: zone.serial() })
        } else if of_zone(zone, Context::new(algorithm)) != digest {
            Err(Mismatch::Digest)
        } else {
            return Some(Ok(()));
        };
        result = Some(found);
    }
    result
}

/// The digest over all records in canonical form and order (RFC 8976 section 3.4) but the ZONEMD RRset at the apex and
/// its signatures.
fn of_zone(zone: &Zone, mut digest: Context) -> Vec<u8> {
    let mut record = Vec::new();
    for owner in zone.owners() {
        let is_apex = owner.name() == zone.apex().as_wire();
        for rrset in owner.rrsets().filter(|rrset| !(is_apex && rrset.rtype() == Rtype::ZONEMD)) {
            for rdata in rrset.rdatas() {
                let mut ttl = rrset.ttl();
                if rrset.rtype() == Rtype::RRSIG {
                    let Some(covered) = rdata.first_chunk().map(|of| u16::from_be_bytes(*of))
                    else {
                        continue;
                    };
                    let covered = Rtype(covered);
                    if is_apex && covered == Rtype::ZONEMD {
                        continue;
                    }
                    ttl = ttl_of_signature(&owner, covered, ttl);
                }
                record.clear();
                record.extend_from_slice(owner.name());
                record.extend_from_slice(&rrset.rtype().0.to_be_bytes());
                record.extend_from_slice(&[0, 1]);
                record.extend_from_slice(&ttl.to_be_bytes());
                record.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
                record.extend_from_slice(rdata);
                digest.update(&record);
            }
        }
    }
    digest.finish().as_ref().to_vec()
}

/// The TTL of a signature is that of the RRset that it covers (RFC 4034 section 3); a zone here has one for all.
fn ttl_of_signature(owner: &Owner<'_>, covered: Rtype, ttl: u32) -> u32 {
    owner.rrset(covered).map_or(ttl, |rrset| rrset.ttl())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Name;
    use crate::zone::text::{Options, parse};

    /// RFC 8976 appendix A.1 and A.3 (in part), and A.1 with what must not hold.
    #[test]
    fn the_examples_of_rfc_8976_hold() {
        let simple = "example. 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400\n\
            86400 IN NS ns1\n86400 IN NS ns2\n\
            86400 IN ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c\n\
            ns1 3600 IN A 203.0.113.63\nns2 3600 IN AAAA 2001:db8::63\n"
            .replace("\n86400", "\n 86400");
        let checked = |text: &str| {
            let apex = Name::from_wire(b"\x07example\0").unwrap();
            let mut none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
            let read = parse(text.into(), "zone", &apex, Options::default(), &mut none).unwrap();
            check(&read.zone)
        };
        assert_eq!(checked(&simple), Some(Ok(())));
        let other = simple.replace("203.0.113.63", "203.0.113.64");
        assert_eq!(checked(&other), Some(Err(Mismatch::Digest)));
        let newer = simple.replace("admin 2018031900", "admin 2018031901");
        let expected = Mismatch::Serial { digest: Serial(2018031900), zone: Serial(2018031901) };
        assert_eq!(checked(&newer), Some(Err(expected)));
        assert_eq!(checked(&simple.replace(" 1 1 c68090", " 1 240 c68090")), None);
        assert_eq!(checked(&simple.replace(" 1 1 c68090", " 240 1 c68090")), None);
        let line = simple.lines().find(|line| line.contains("ZONEMD")).unwrap();
        let twice = line.replace("c68090", "c68091");
        assert_eq!(checked(&format!("{simple}example. {twice}\n")), Some(Err(Mismatch::Several)));
        // One that holds is enough.
        let unknown = line.replace(" 1 1 c68090", " 1 241 c68090");
        assert_eq!(checked(&format!("{simple}example. {unknown}\n")), Some(Ok(())));
    }
}
