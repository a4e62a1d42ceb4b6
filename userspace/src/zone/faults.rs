//! What is wrong or odd about a zone as a whole, though each of its records is right.

use super::arrays::Owner;
use super::name::{Name, ancestors, is_at_or_below};
use super::record::Record;
use super::rtype::Rtype;
use super::version::Version;

/// What is wrong or odd about a zone as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ZoneFaultKind {
    /// The apex has no SOA record (RFC 1035 section 5.2).
    #[error("the zone has no SOA record at its apex")]
    NoSoa,
    /// The apex has different SOA records.
    #[error("the apex has more than one SOA record")]
    SeveralSoa,
    /// An SOA record stands below the apex.
    #[error("an SOA record stands only at the apex of its zone")]
    SoaAway,
    /// The apex has no NS record (RFC 1034 section 4.2.1).
    #[error("the zone has no NS record at its apex")]
    NoApexNs,
    /// A name has different CNAME records (RFC 2181 section 10.1).
    #[error("the name has more than one CNAME record")]
    SeveralCname,
    /// A name has a CNAME record and others that are not of DNSSEC (RFC 1034 section 3.6.2).
    #[error("a CNAME record stands beside other records of its name")]
    CnameAndOther,
    /// A name has different DNAME records (RFC 6672 section 2.4).
    #[error("the name has more than one DNAME record")]
    SeveralDname,
    /// A name stands below one that has a DNAME record (RFC 6672 section 2.4).
    #[error("the name stands below a DNAME record, which redirects all names there")]
    BelowDname,
    /// The same record is there twice (RFC 2181 section 5).
    #[error("the record is a duplicate")]
    Duplicate,
    /// Records of one RRset have different TTLs (RFC 2181 section 5.2); the lowest holds.
    #[error("the TTL differs from that of another record of its RRset; the lowest holds")]
    TtlDiffers,
}

impl ZoneFaultKind {
    /// The fault in a word, for programs.
    pub fn code(self) -> &'static str {
        match self {
            ZoneFaultKind::NoSoa => "soa-missing",
            ZoneFaultKind::SeveralSoa => "soa-several",
            ZoneFaultKind::SoaAway => "soa-below-apex",
            ZoneFaultKind::NoApexNs => "ns-missing",
            ZoneFaultKind::SeveralCname => "cname-several",
            ZoneFaultKind::CnameAndOther => "cname-and-other",
            ZoneFaultKind::SeveralDname => "dname-several",
            ZoneFaultKind::BelowDname => "below-dname",
            ZoneFaultKind::Duplicate => "duplicate",
            ZoneFaultKind::TtlDiffers => "ttl-differs",
        }
    }

    /// The type of the records that it is about.
    pub fn rtype(self) -> Rtype {
        match self {
            ZoneFaultKind::NoSoa | ZoneFaultKind::SeveralSoa | ZoneFaultKind::SoaAway => Rtype::SOA,
            ZoneFaultKind::NoApexNs => Rtype::NS,
            ZoneFaultKind::SeveralCname | ZoneFaultKind::CnameAndOther => Rtype::CNAME,
            ZoneFaultKind::SeveralDname | ZoneFaultKind::BelowDname => Rtype::DNAME,
            ZoneFaultKind::Duplicate | ZoneFaultKind::TtlDiffers => Rtype::ANY,
        }
    }

    /// Whether a zone with this fault must not be served; others are worth a warning.
    pub fn is_error(self) -> bool {
        !matches!(self, ZoneFaultKind::Duplicate | ZoneFaultKind::TtlDiffers)
    }
}

/// A fault of a zone and the records to blame, numbered in the order in which they were pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFault {
    /// What it is.
    pub kind: ZoneFaultKind,
    /// The owner name at fault.
    pub owner: Name,
    /// The record to blame, the later one of two; `None` if a record is missing.
    pub record: Option<usize>,
    /// The record that it disagrees with.
    pub other: Option<usize>,
}

/// What is wrong or odd about records in canonical order, whose octets are `bytes`.
pub(super) fn find(zone: &Name, records: &[Record], bytes: &[u8]) -> Vec<ZoneFault> {
    let apex = zone.as_wire();
    let mut faults = Vec::new();
    let (mut apex_soa, mut apex_ns) = (false, false);
    // The last DNAME that may stand above the owner at hand.
    let mut dname: Option<Record> = None;
    for group in records.chunk_by(|a, b| a.owner(bytes) == b.owner(bytes)) {
        let owner = group[0].owner(bytes);
        let mut blame = |kind, record: &Record, other: Option<&Record>| {
            let numbers = other.map(|other| (other.number, record.number));
            let (other, record) = match numbers {
                Some((a, b)) => (Some(a.min(b) as usize), a.max(b)),
                None => (None, record.number),
            };
            let owner = Name::from_wire(owner).unwrap_or_else(Name::root);
            faults.push(ZoneFault { kind, owner, record: Some(record as usize), other });
        };
        // NSEC3 records are no names of the zone, and nobody is led to them: they may stand below a
        // DNAME at the apex.
        let is_hash = group.iter().all(|one| may_stand_below_dname(one.rtype));
        match dname {
            Some(above) if is_at_or_below(owner, above.owner(bytes)) && is_hash => {}
            Some(above) if is_at_or_below(owner, above.owner(bytes)) => {
                blame(ZoneFaultKind::BelowDname, &group[0], None);
            }
            _ => dname = group.iter().find(|record| record.rtype == Rtype::DNAME).copied(),
        }
        let cname = group.iter().find(|record| record.rtype == Rtype::CNAME);
        let other = group.iter().find(|record| !may_stand_at_cname(record.rtype));
        if let (Some(cname), Some(other)) = (cname, other) {
            blame(ZoneFaultKind::CnameAndOther, cname, Some(other));
        }
        for rrset in group.chunk_by(|a, b| a.rtype == b.rtype) {
            let (first, rtype) = (&rrset[0], rrset[0].rtype);
            match rtype {
                Rtype::SOA if owner != apex => blame(ZoneFaultKind::SoaAway, first, None),
                Rtype::SOA => apex_soa = true,
                Rtype::NS => apex_ns |= owner == apex,
                _ => {}
            }
            let single = single(rtype);
            for (last, record) in rrset.iter().zip(&rrset[1..]) {
                if last.rdata(bytes) == record.rdata(bytes) {
                    blame(ZoneFaultKind::Duplicate, record, Some(last));
                } else if let Some(kind) = single {
                    blame(kind, record, Some(last));
                } else if last.ttl != record.ttl && rtype != Rtype::RRSIG {
                    // The TTL of an RRSIG is that of the RRset it covers
                    // (RFC 4034 section 3).
                    blame(ZoneFaultKind::TtlDiffers, record, Some(last));
                }
            }
        }
    }
    for (there, kind) in [(apex_soa, ZoneFaultKind::NoSoa), (apex_ns, ZoneFaultKind::NoApexNs)] {
        if !there {
            let owner = zone.clone();
            faults.push(ZoneFault { kind, owner, record: None, other: None });
        }
    }
    faults
}

/// Whether records of a type make no name of the zone, were they alone at their owner.
fn may_stand_below_dname(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::NSEC3 | Rtype::RRSIG)
}

/// What is wrong with an RRset of several records, if there must be one only.
fn single(rtype: Rtype) -> Option<ZoneFaultKind> {
    match rtype {
        Rtype::SOA => Some(ZoneFaultKind::SeveralSoa),
        Rtype::CNAME => Some(ZoneFaultKind::SeveralCname),
        Rtype::DNAME => Some(ZoneFaultKind::SeveralDname),
        _ => None,
    }
}

/// What is wrong about one owner of a version. Where the version before had no such fault, a change of this owner made
/// no other ones. What stands below a DNAME record of the owner is said of the first name there.
pub fn of_owner(version: &Version, owner: &Owner<'_>) -> Vec<ZoneFault> {
    let (apex, name) = (version.apex().as_wire(), owner.name());
    let mut faults = Vec::new();
    let mut blame = |kind, owner: &[u8]| {
        let owner = Name::from_wire(owner).unwrap_or_else(Name::root);
        faults.push(ZoneFault { kind, owner, record: None, other: None });
    };
    let has_dname = |owner: &Owner<'_>| owner.rrset(Rtype::DNAME).is_some();
    let is_name =
        |owner: &Owner<'_>| !owner.rrsets().all(|rrset| may_stand_below_dname(rrset.rtype()));
    if is_name(owner) {
        let above = ancestors(name).skip(1).take_while(|above| above.len() >= apex.len());
        if above.filter_map(|above| version.find(above)).any(|above| has_dname(&above)) {
            blame(ZoneFaultKind::BelowDname, name);
        }
    }
    if has_dname(owner) {
        let below = version.from(name).take_while(|below| is_at_or_below(below.name(), name));
        let below = below.filter(|below| below.name() != name && is_name(below));
        below.take(1).for_each(|below| blame(ZoneFaultKind::BelowDname, below.name()));
    }
    let is_beside = owner.rrsets().any(|rrset| !may_stand_at_cname(rrset.rtype()));
    if is_beside && owner.rrset(Rtype::CNAME).is_some() {
        blame(ZoneFaultKind::CnameAndOther, name);
    }
    for rrset in owner.rrsets() {
        if let Some(kind) = single(rrset.rtype()).filter(|_| rrset.len() > 1) {
            blame(kind, name);
        }
        if rrset.rtype() == Rtype::SOA && name != apex {
            blame(ZoneFaultKind::SoaAway, name);
        }
    }
    if name == apex && owner.rrset(Rtype::NS).is_none() {
        blame(ZoneFaultKind::NoApexNs, name);
    }
    faults
}

/// Whether a type may stand beside CNAME: those of DNSSEC, the old ones among them (RFC 4034
/// sections 3 and 4, RFC 3007 section 3.1.1).
fn may_stand_at_cname(rtype: Rtype) -> bool {
    // SIG KEY NXT
    matches!(rtype, Rtype::CNAME | Rtype::RRSIG | Rtype::NSEC | Rtype(24 | 25 | 30))
}
