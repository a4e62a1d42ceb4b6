//! A zone: records gathered, put into canonical form and order, and held in three flat arrays of octets.

use bytes::Bytes;

use super::name::{canonical_order, is_at_or_below, lowercase, wire_name_len};
use super::{Name, Rtype};

/// Why gathered records do not make a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// An owner name is not at or below the apex.
    #[error("{owner} is not in the zone {apex}")]
    OutOfZone {
        /// The offending owner name.
        owner: Name,
        /// The zone's apex.
        apex: Name,
    },
    /// An owner name or RDATA is not in wire format.
    #[error("a record of type {0} is malformed")]
    Malformed(Rtype),
    /// The apex has no SOA RRset, or one of several records.
    #[error("the zone {apex} has {count} SOA records at its apex, not one")]
    SoaCount {
        /// The zone's apex.
        apex: Name,
        /// How many there are.
        count: usize,
    },
    /// Records given to a [`ZoneWriter`] do not come in canonical order.
    #[error("records do not come in canonical order")]
    OutOfOrder,
    /// The records exceed 4 GiB on the wire.
    #[error("the zone is larger than 4 GiB")]
    TooLarge,
}

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

/// Gathers records in any order; [`ZoneBuilder::finish`] makes the [`Zone`].
pub struct ZoneBuilder {
    apex: Name,
    records: Vec<Record>,
    /// Nothing was pushed since the records were sorted.
    sorted: bool,
    bytes: Vec<u8>,
}

/// One gathered record: owner name and RDATA lie one after the other in the arena.
#[derive(Clone, Copy)]
struct Record {
    at: u32,
    /// Its place in the order of pushing.
    number: u32,
    owner_len: u8,
    rdata_len: u16,
    rtype: Rtype,
    ttl: u32,
}

impl Record {
    fn owner(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at as usize..][..usize::from(self.owner_len)]
    }

    fn rdata(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at as usize + usize::from(self.owner_len)..][..usize::from(self.rdata_len)]
    }

    /// Owner name and RDATA.
    fn whole(self, bytes: &[u8]) -> &[u8] {
        let length = usize::from(self.owner_len) + usize::from(self.rdata_len);
        &bytes[self.at as usize..][..length]
    }
}

impl ZoneBuilder {
    /// Starts a zone with this apex.
    pub fn new(apex: Name) -> ZoneBuilder {
        ZoneBuilder { apex, records: Vec::new(), sorted: false, bytes: Vec::new() }
    }

    /// The apex the builder was started with.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// Adds one record: owner name and RDATA in uncompressed wire format, of any case. Names in
    /// RDATA become lower case where RFC 4034 section 6.2 (as amended by RFC 6840 section 5.1)
    /// asks for it.
    pub fn push(
        &mut self,
        owner: &[u8],
        rtype: Rtype,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), ZoneError> {
        let malformed = ZoneError::Malformed(rtype);
        if wire_name_len(owner) != Some(owner.len()) {
            return Err(malformed);
        }
        let rdata_len = u16::try_from(rdata.len()).map_err(|_| malformed.clone())?;
        let at = u32::try_from(self.bytes.len()).map_err(|_| ZoneError::TooLarge)?;
        self.bytes.extend_from_slice(owner);
        lowercase(&mut self.bytes[at as usize..]);
        let rdata_at = self.bytes.len();
        self.bytes.extend_from_slice(rdata);
        if canonical_rdata(rtype, &mut self.bytes[rdata_at..]).is_none() {
            self.bytes.truncate(at as usize);
            return Err(malformed);
        }
        let owner_wire = &self.bytes[at as usize..rdata_at];
        if !is_at_or_below(owner_wire, self.apex.as_wire()) {
            let owner = Name::from_wire(owner_wire).unwrap_or_else(Name::root);
            self.bytes.truncate(at as usize);
            return Err(ZoneError::OutOfZone { owner, apex: self.apex.clone() });
        }
        let owner_len = owner.len() as u8;
        let number = u32::try_from(self.records.len()).map_err(|_| ZoneError::TooLarge)?;
        self.sorted = false;
        self.records.push(Record { at, number, owner_len, rdata_len, rtype, ttl });
        Ok(())
    }

    /// Adds every record of `zone` except the RRsets that `keep` refuses.
    pub fn copy(
        &mut self,
        zone: &Zone,
        keep: impl Fn(&Owner<'_>, &Rrset<'_>) -> bool,
    ) -> Result<(), ZoneError> {
        for owner in zone.owners() {
            for rrset in owner.rrsets() {
                if keep(&owner, &rrset) {
                    for rdata in rrset.rdatas() {
                        self.push(owner.name(), rrset.rtype(), rrset.ttl(), rdata)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What is wrong or odd about the records gathered so far, in canonical order.
    pub fn faults(&mut self) -> Vec<ZoneFault> {
        self.sort();
        let bytes = &self.bytes[..];
        let apex = self.apex.as_wire();
        let mut faults = Vec::new();
        let (mut apex_soa, mut apex_ns) = (false, false);
        // The last DNAME that may stand above the owner at hand.
        let mut dname: Option<Record> = None;
        for group in self.records.chunk_by(|a, b| a.owner(bytes) == b.owner(bytes)) {
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
            let is_hash = group.iter().all(|one| matches!(one.rtype, Rtype::NSEC3 | Rtype::RRSIG));
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
                let single = match rtype {
                    Rtype::SOA => Some(ZoneFaultKind::SeveralSoa),
                    Rtype::CNAME => Some(ZoneFaultKind::SeveralCname),
                    Rtype::DNAME => Some(ZoneFaultKind::SeveralDname),
                    _ => None,
                };
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
        for (there, kind) in [(apex_soa, ZoneFaultKind::NoSoa), (apex_ns, ZoneFaultKind::NoApexNs)]
        {
            if !there {
                let owner = self.apex.clone();
                faults.push(ZoneFault { kind, owner, record: None, other: None });
            }
        }
        faults
    }

    /// Of each RRset that the zone will have, in canonical order, the number of its record that was pushed first.
    pub fn rrset_starts(&mut self) -> Vec<u32> {
        self.sort();
        let bytes = &self.bytes[..];
        let same = |a: &Record, b: &Record| a.rtype == b.rtype && a.owner(bytes) == b.owner(bytes);
        let first = |rrset: &[Record]| rrset.iter().map(|record| record.number).min().unwrap_or(0);
        self.records.chunk_by(same).map(first).collect()
    }

    /// Sorts into canonical order of owners, then types, then RDATA.
    fn sort(&mut self) {
        use rayon::prelude::*;
        if std::mem::replace(&mut self.sorted, true) {
            return;
        }
        let bytes = &self.bytes[..];
        let records = &self.records[..];
        let behind_owner = |a: &Record, b: &Record| {
            a.rtype
                .cmp(&b.rtype)
                .then_with(|| a.rdata(bytes).cmp(b.rdata(bytes)))
                .then(a.number.cmp(&b.number))
        };
        let order = |a: &Record, b: &Record| {
            if a.owner(bytes) == b.owner(bytes) {
                return behind_owner(a, b);
            }
            canonical_order(a.owner(bytes), b.owner(bytes))
        };
        // Most files are written in some order already.
        if records.is_sorted_by(|a, b| order(a, b).is_le()) {
            return;
        }
        // Two names mostly differ near the apex: their first octets in canonical order, gathered
        // once, decide without walking over labels at every comparison.
        let apex_len = self.apex.as_wire().len();
        let mut keyed: Vec<(u128, u32)> = records
            .par_iter()
            .enumerate()
            .map(|(at, record)| (canonical_prefix(record.owner(bytes), apex_len), at as u32))
            .collect();
        keyed.par_sort_unstable_by(|&(a_prefix, a), &(b_prefix, b)| {
            a_prefix.cmp(&b_prefix).then_with(|| order(&records[a as usize], &records[b as usize]))
        });
        // The octets follow the order too: those who walk over the records from here on would
        // otherwise wait for memory at each of them.
        let mut ordered_bytes = Vec::with_capacity(bytes.len());
        let ordered = keyed.iter().map(|&(_, index)| {
            let record = records[index as usize];
            let at = ordered_bytes.len() as u32;
            ordered_bytes.extend_from_slice(record.whole(bytes));
            Record { at, ..record }
        });
        self.records = ordered.collect();
        self.bytes = ordered_bytes;
    }

    /// Sorts into canonical order, drops duplicate records (RFC 2181 section 5), gives every RRset
    /// the lowest TTL that one of its records has (section 5.2), and checks that the apex has one
    /// SOA record.
    pub fn finish(mut self) -> Result<Zone, ZoneError> {
        self.sort();
        let ZoneBuilder { apex, records, bytes, .. } = self;
        let mut zone = Draft::with_capacity(apex, bytes.len());
        // The RRset that records are added to; it is written down when it is whole.
        let mut open: Option<RrsetEntry> = None;
        let mut last: Option<Record> = None;
        for record in records {
            let (owner, rdata) = (record.owner(&bytes), record.rdata(&bytes));
            let same_owner = last.is_some_and(|last| last.owner(&bytes) == owner);
            let same_rrset = same_owner && last.is_some_and(|last| last.rtype == record.rtype);
            if same_rrset && last.is_some_and(|last| last.rdata(&bytes) == rdata) {
                if let Some(rrset) = &mut open {
                    rrset.ttl = rrset.ttl.min(record.ttl);
                }
                continue;
            }
            if !same_rrset {
                zone.rrsets.extend(open.take().map(RrsetEntry::write));
            }
            if !same_owner {
                zone.owner(owner)?;
            }
            let rrset = match &mut open {
                Some(rrset) => rrset,
                None => {
                    let (at, count) = (zone.end()?, 0);
                    open.insert(RrsetEntry {
                        rtype: record.rtype,
                        ttl: record.ttl,
                        at,
                        end: at,
                        count,
                    })
                }
            };
            zone.bytes.extend_from_slice(&record.rdata_len.to_be_bytes());
            zone.bytes.extend_from_slice(rdata);
            rrset.end = zone.end()?;
            rrset.count += 1;
            rrset.ttl = rrset.ttl.min(record.ttl);
            last = Some(record);
        }
        zone.rrsets.extend(open.map(RrsetEntry::write));
        zone.finish()
    }
}

/// Makes a zone of RRsets that are in canonical form and come in canonical order already, without
/// holding them twice as a [`ZoneBuilder`] does.
pub struct ZoneWriter(Draft);

impl ZoneWriter {
    /// Starts a zone with this apex and room for so many octets.
    pub fn with_capacity(apex: Name, bytes: usize) -> ZoneWriter {
        ZoneWriter(Draft::with_capacity(apex, bytes))
    }

    /// Starts the next owner: a lower-case wire name at or below the apex, after the one before.
    /// At least one RRset must follow.
    pub fn owner(&mut self, name: &[u8]) -> Result<(), ZoneError> {
        let zone = &mut self.0;
        let last = zone.owners.last().map(OwnerEntry::read);
        let last = last.map(|last| last.name(&zone.bytes));
        if last.is_some_and(|last| canonical_order(last, name).is_ge()) {
            return Err(ZoneError::OutOfOrder);
        }
        zone.owner(name)
    }

    /// Adds an RRset to the last owner: its type is greater than the one before, its RDATA is
    /// canonical and sorted.
    pub fn rrset<'a>(
        &mut self,
        rtype: Rtype,
        ttl: u32,
        rdatas: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ZoneError> {
        let zone = &mut self.0;
        let first = zone.owners.last().map_or(0, |owner| OwnerEntry::read(owner).first_rrset);
        let last = zone.rrsets[first as usize..].last().map(RrsetEntry::read);
        if last.is_some_and(|last| last.rtype >= rtype) {
            return Err(ZoneError::OutOfOrder);
        }
        let at = zone.end()?;
        let mut count = 0;
        for rdata in rdatas {
            let len = u16::try_from(rdata.len()).map_err(|_| ZoneError::Malformed(rtype))?;
            zone.bytes.extend_from_slice(&len.to_be_bytes());
            zone.bytes.extend_from_slice(rdata);
            count += 1;
        }
        let end = zone.end()?;
        zone.rrsets.push(RrsetEntry { rtype, ttl, at, end, count }.write());
        Ok(())
    }

    /// Ends the zone; its apex must have one SOA record.
    pub fn finish(self) -> Result<Zone, ZoneError> {
        self.0.finish()
    }
}

/// The arrays of a zone while they grow.
struct Draft {
    apex: Name,
    owners: Vec<[u8; OwnerEntry::LEN]>,
    rrsets: Vec<[u8; RrsetEntry::LEN]>,
    bytes: Vec<u8>,
}

impl Draft {
    fn with_capacity(apex: Name, bytes: usize) -> Draft {
        let (owners, rrsets) = (Vec::new(), Vec::new());
        Draft { apex, owners, rrsets, bytes: Vec::with_capacity(bytes) }
    }

    /// Where the next octet goes.
    fn end(&self) -> Result<u32, ZoneError> {
        u32::try_from(self.bytes.len()).map_err(|_| ZoneError::TooLarge)
    }

    fn owner(&mut self, name: &[u8]) -> Result<(), ZoneError> {
        let (name_at, name_len) = (self.end()?, name.len() as u8);
        self.bytes.extend_from_slice(name);
        let first_rrset = self.rrsets.len() as u32;
        self.owners.push(OwnerEntry { name_at, name_len, first_rrset }.write());
        Ok(())
    }

    fn finish(mut self) -> Result<Zone, ZoneError> {
        self.owners.shrink_to_fit();
        self.rrsets.shrink_to_fit();
        self.bytes.shrink_to_fit();
        let count = |entry| RrsetEntry::read(entry).count as usize;
        let mut zone = Zone {
            apex: self.apex,
            beside: None,
            records: self.rrsets.iter().map(count).sum(),
            serial: 0,
            owners: self.owners.into_flattened().into(),
            rrsets: self.rrsets.into_flattened().into(),
            bytes: self.bytes.into(),
        };
        zone.serial = zone.soa_field(0);
        match zone.soa().map_or(0, |soa| soa.len()) {
            1 => Ok(zone),
            count => Err(ZoneError::SoaCount { apex: zone.apex, count }),
        }
    }
}

/// A zone in canonical form and order. It does not change; a changed zone is a new one, and a clone has the
/// same octets.
#[derive(Clone)]
pub struct Zone {
    apex: Name,
    beside: Option<Box<Zone>>,
    /// What is often asked for: it need not be read out of memory that is at rest.
    records: usize,
    serial: u32,
    /// Of each owner an [`OwnerEntry`].
    owners: Bytes,
    /// Of each RRset an [`RrsetEntry`].
    rrsets: Bytes,
    /// Owner names, and after each its RRsets' RDATA as (16-bit length, octets).
    bytes: Bytes,
}

/// An owner. Entries are octets, so that they can lie anywhere: in a mapped file too, at any address and
/// whatever its content.
#[derive(Clone, Copy)]
struct OwnerEntry {
    name_at: u32,
    first_rrset: u32,
    name_len: u8,
}

/// An RRset.
#[derive(Clone, Copy)]
struct RrsetEntry {
    ttl: u32,
    at: u32,
    end: u32,
    count: u32,
    rtype: Rtype,
}

impl Zone {
    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// RRsets of the zone's names that are no part of it: they are said to ANY (RFC 8482 section 4.2), and neither
    /// transferred nor written to files.
    pub fn beside(&self) -> Option<&Zone> {
        self.beside.as_deref()
    }

    /// The same zone with these RRsets beside it.
    pub fn with_beside(self, beside: Zone) -> Zone {
        Zone { beside: Some(Box::new(beside)), ..self }
    }

    /// Octets that it takes, without what stands beside it.
    pub fn octets(&self) -> usize {
        self.arrays().map(<[u8]>::len).iter().sum()
    }

    /// All that it consists of but its apex and what stands beside it.
    pub fn arrays(&self) -> [&[u8]; 3] {
        [&self.owners, &self.rrsets, &self.bytes]
    }

    /// The same zone in other memory, which has [`Zone::arrays`] one after the other.
    ///
    /// # Panics
    /// If `octets` are not as many.
    pub fn within(self, octets: &Bytes) -> Zone {
        assert_eq!(octets.len(), self.octets());
        let rrsets_at = self.owners.len();
        let bytes_at = rrsets_at + self.rrsets.len();
        Zone {
            owners: octets.slice(..rrsets_at),
            rrsets: octets.slice(rrsets_at..bytes_at),
            bytes: octets.slice(bytes_at..),
            ..self
        }
    }

    /// The owner names in canonical order; empty non-terminals are not among them.
    pub fn owners(&self) -> impl DoubleEndedIterator<Item = Owner<'_>> + ExactSizeIterator {
        (0..self.owner_entries().len()).map(|index| Owner { zone: self, index })
    }

    /// The owner at a place in canonical order.
    ///
    /// # Panics
    /// If `index` is not below `self.owners().len()`.
    pub fn owner(&self, index: usize) -> Owner<'_> {
        assert!(index < self.owner_entries().len());
        Owner { zone: self, index }
    }

    /// The owner with this lower-case wire name.
    pub fn find(&self, name: &[u8]) -> Option<Owner<'_>> {
        let order = |entry: &_| canonical_order(OwnerEntry::read(entry).name(&self.bytes), name);
        let index = self.owner_entries().binary_search_by(order).ok()?;
        Some(Owner { zone: self, index })
    }

    /// The SOA RRset at the apex; every finished zone has one.
    pub fn soa(&self) -> Option<Rrset<'_>> {
        self.find(self.apex.as_wire())?.rrset(Rtype::SOA)
    }

    /// The serial of the SOA record (RFC 1035 section 3.3.13).
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The TTL of negative answers in seconds: the lower of the SOA's TTL and its MINIMUM field
    /// (RFC 2308 section 5).
    pub fn negative_ttl(&self) -> u32 {
        self.soa_field(4).min(self.soa().map_or(0, |soa| soa.ttl()))
    }

    /// The number of records.
    pub fn record_count(&self) -> usize {
        self.records
    }

    fn owner_entries(&self) -> &[[u8; OwnerEntry::LEN]] {
        self.owners.as_chunks().0
    }

    fn rrset_entries(&self) -> &[[u8; RrsetEntry::LEN]] {
        self.rrsets.as_chunks().0
    }

    /// The `index`th of the five numbers that end the SOA RDATA.
    fn soa_field(&self, index: usize) -> u32 {
        let soa = self.soa().and_then(|soa| soa.rdatas().next());
        soa.and_then(|rdata| {
            rdata
                .len()
                .checked_sub(20)
                .map(|at| at + 4 * index)
                .and_then(|at| rdata.get(at..at + 4))
        })
        .and_then(|octets| octets.try_into().ok())
        .map_or(0, u32::from_be_bytes)
    }
}

impl OwnerEntry {
    const LEN: usize = 9;

    fn write(self) -> [u8; OwnerEntry::LEN] {
        let mut octets = [0; OwnerEntry::LEN];
        octets[..4].copy_from_slice(&self.name_at.to_le_bytes());
        octets[4..8].copy_from_slice(&self.first_rrset.to_le_bytes());
        octets[8] = self.name_len;
        octets
    }

    fn read(octets: &[u8; OwnerEntry::LEN]) -> OwnerEntry {
        let (words, rest) = octets.as_chunks();
        let [name_at, first_rrset] = [0, 1].map(|at| u32::from_le_bytes(words[at]));
        OwnerEntry { name_at, first_rrset, name_len: rest[0] }
    }

    fn name(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.name_at as usize..][..usize::from(self.name_len)]
    }
}

impl RrsetEntry {
    const LEN: usize = 18;

    fn write(self) -> [u8; RrsetEntry::LEN] {
        let mut octets = [0; RrsetEntry::LEN];
        let words = [self.ttl, self.at, self.end, self.count];
        octets[..16].copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
        octets[16..].copy_from_slice(&self.rtype.0.to_le_bytes());
        octets
    }

    fn read(octets: &[u8; RrsetEntry::LEN]) -> RrsetEntry {
        let (words, rest) = octets.as_chunks();
        let [ttl, at, end, count] = [0, 1, 2, 3].map(|at| u32::from_le_bytes(words[at]));
        RrsetEntry { ttl, at, end, count, rtype: Rtype(u16::from_le_bytes([rest[0], rest[1]])) }
    }
}

/// One owner name of a zone with its RRsets.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    zone: &'a Zone,
    index: usize,
}

impl<'a> Owner<'a> {
    /// The owner name: lower case, uncompressed wire format.
    pub fn name(&self) -> &'a [u8] {
        OwnerEntry::read(&self.zone.owner_entries()[self.index]).name(&self.zone.bytes)
    }

    /// Its place in canonical order.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its RRsets in the order of their type numbers. All RRSIG records are one RRset here.
    pub fn rrsets(
        &self,
    ) -> impl DoubleEndedIterator<Item = Rrset<'a>> + ExactSizeIterator + use<'a> {
        let zone = self.zone;
        self.entries().iter().map(move |entry| Rrset { zone, entry: RrsetEntry::read(entry) })
    }

    /// Its RRset of one type.
    pub fn rrset(&self, rtype: Rtype) -> Option<Rrset<'a>> {
        let entries = self.entries();
        let found = entries.binary_search_by_key(&rtype, |entry| RrsetEntry::read(entry).rtype);
        Some(Rrset { zone: self.zone, entry: RrsetEntry::read(&entries[found.ok()?]) })
    }

    /// The place of an RRset among all of the zone in canonical order; of the owner's first if it has none of the type.
    pub fn rrset_index(&self, rtype: Rtype) -> usize {
        let entries = self.entries();
        let found = entries.binary_search_by_key(&rtype, |entry| RrsetEntry::read(entry).rtype);
        let first = OwnerEntry::read(&self.zone.owner_entries()[self.index]).first_rrset;
        first as usize + found.unwrap_or(0)
    }

    /// The RDATA of the RRSIG records that cover one type.
    pub fn signatures(&self, covered: Rtype) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.rrset(Rtype::RRSIG)
            .into_iter()
            .flat_map(|rrset| rrset.rdatas())
            .filter(move |rdata| rdata.get(..2) == Some(&covered.0.to_be_bytes()[..]))
    }

    fn entries(&self) -> &'a [[u8; RrsetEntry::LEN]] {
        let (owners, rrsets) = (self.zone.owner_entries(), self.zone.rrset_entries());
        let first = |owner| OwnerEntry::read(owner).first_rrset as usize;
        let end = owners.get(self.index + 1).map_or(rrsets.len(), first);
        &rrsets[first(&owners[self.index])..end]
    }
}

/// The records of one owner name and type, in canonical order of their RDATA
/// (RFC 4034 section 6.3).
#[derive(Clone, Copy)]
pub struct Rrset<'a> {
    zone: &'a Zone,
    entry: RrsetEntry,
}

#[allow(clippy::len_without_is_empty, reason = "an RRset is never empty")]
impl<'a> Rrset<'a> {
    /// The type.
    pub fn rtype(&self) -> Rtype {
        self.entry.rtype
    }

    /// The TTL in seconds.
    pub fn ttl(&self) -> u32 {
        self.entry.ttl
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.entry.count as usize
    }

    /// The RDATA of each record: canonical form, uncompressed.
    pub fn rdatas(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut rest = &self.zone.bytes[self.entry.at as usize..self.entry.end as usize];
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (rdata, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            rest = after;
            Some(rdata)
        })
    }
}

/// Whether a type may stand beside CNAME: those of DNSSEC, the old ones among them (RFC 4034
/// sections 3 and 4, RFC 3007 section 3.1.1).
fn may_stand_at_cname(rtype: Rtype) -> bool {
    // SIG KEY NXT
    matches!(rtype, Rtype::CNAME | Rtype::RRSIG | Rtype::NSEC | Rtype(24 | 25 | 30))
}

/// The start of what, compared as octets, orders names below one apex canonically: their labels
/// from the right, a 0 octet before each but the first, octets 0 and 1 within labels written as 1 1
/// and 1 2 so that they sort behind the end of a label.
fn canonical_prefix(name: &[u8], apex_len: usize) -> u128 {
    let below = &name[..name.len().saturating_sub(apex_len)];
    let mut starts = [0u8; 128];
    let (mut at, mut count) = (0usize, 0usize);
    while let Some(&length) = below.get(at) {
        starts[count] = at as u8;
        at += 1 + usize::from(length);
        count += 1;
    }
    let (mut prefix, mut room) = (0u128, 16u32);
    let mut push = |octet: u8| {
        room -= 1;
        prefix |= u128::from(octet) << (8 * room);
        room > 0
    };
    for (index, &start) in starts[..count].iter().rev().enumerate() {
        if index > 0 && !push(0) {
            break;
        }
        let start = usize::from(start);
        let label = &below[start + 1..start + 1 + usize::from(below[start])];
        for &octet in label {
            let whole = if octet > 1 { push(octet) } else { push(1) && push(octet + 1) };
            if !whole {
                return prefix;
            }
        }
    }
    prefix
}

/// Where names stand in RDATA that canonical form lower-cases: octets to skip before the first
/// name, and how many names follow each other (RFC 4034 section 6.2 with RFC 6840 section 5.1,
/// which takes NSEC out; HINFO has no names; NXT and A6 are obsolete).
fn names_in_rdata(rtype: Rtype) -> Option<(usize, usize)> {
    Some(match rtype.0 {
        // NS MD MF CNAME MB MG MR PTR, DNAME
        2..=5 | 7..=9 | 12 | 39 => (0, 1),
        // SOA, MINFO, RP
        6 | 14 | 17 => (0, 2),
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => (2, 1),
        // SIG, RRSIG
        24 | 46 => (18, 1),
        // PX
        26 => (2, 2),
        // SRV
        33 => (6, 1),
        _ => return None,
    })
}

/// Puts RDATA into canonical form in place; `None` if a name in it is malformed.
fn canonical_rdata(rtype: Rtype, rdata: &mut [u8]) -> Option<()> {
    if rtype.0 == 35 {
        // NAPTR: order and preference, then three character strings, then a name (RFC 3403).
        let mut at = 4;
        for _ in 0..3 {
            at += 1 + usize::from(*rdata.get(at)?);
        }
        return lowercase_names(rdata.get_mut(at..)?, 1);
    }
    match names_in_rdata(rtype) {
        Some((skip, count)) => lowercase_names(rdata.get_mut(skip..)?, count),
        None => Some(()),
    }
}

fn lowercase_names(mut rest: &mut [u8], count: usize) -> Option<()> {
    for _ in 0..count {
        let len = wire_name_len(rest)?;
        let (name, after) = rest.split_at_mut(len);
        lowercase(name);
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOA: &[u8] = b"\x02NS\x00\x04mail\x00\x00\x00\x00\x07\x00\x00\x0e\x10\x00\x00\x03\x84\x00\x09\x3a\x80\x00\x00\x00\x3c";

    fn apex() -> Name {
        Name::from_wire(b"\x07example\x00").unwrap()
    }

    #[test]
    fn records_become_rrsets_in_canonical_order() {
        let mut builder = ZoneBuilder::new(apex());
        builder.push(b"\x01B\x07EXAMPLE\x00", Rtype::A, 300, &[192, 0, 2, 2]).unwrap();
        builder.push(b"\x01b\x07example\x00", Rtype::A, 200, &[192, 0, 2, 1]).unwrap();
        builder.push(b"\x01b\x07example\x00", Rtype::A, 100, &[192, 0, 2, 1]).unwrap();
        builder.push(b"\x07example\x00", Rtype::SOA, 3600, SOA).unwrap();
        let zone = builder.finish().unwrap();
        assert_eq!(zone.owners().map(|owner| owner.name().len()).collect::<Vec<_>>(), [9, 11]);
        let b = zone.find(b"\x01b\x07example\x00").unwrap().rrset(Rtype::A).unwrap();
        assert_eq!((b.ttl(), b.len()), (100, 2));
        assert_eq!(b.rdatas().collect::<Vec<_>>(), [[192, 0, 2, 1], [192, 0, 2, 2]]);
        assert_eq!((zone.serial(), zone.negative_ttl()), (7, 60));
        assert_eq!(zone.soa().unwrap().rdatas().next().unwrap()[..4], *b"\x02ns\x00");
    }

    #[test]
    fn a_zone_needs_one_soa_and_owners_within_it() {
        let empty = ZoneBuilder::new(apex()).finish();
        assert_eq!(empty.err(), Some(ZoneError::SoaCount { apex: apex(), count: 0 }));
        let mut builder = ZoneBuilder::new(apex());
        let outside = builder.push(b"\x03org\x00", Rtype::A, 300, &[192, 0, 2, 2]);
        assert!(matches!(outside, Err(ZoneError::OutOfZone { .. })));
        let cut_short = builder.push(b"\x07example\x00", Rtype::MX, 300, &[0, 10, 3, b'a']);
        assert_eq!(cut_short, Err(ZoneError::Malformed(Rtype::MX)));
    }

    #[test]
    fn a_zone_may_lie_in_other_memory() {
        let mut builder = ZoneBuilder::new(apex());
        builder.push(b"\x01b\x07example\x00", Rtype::A, 300, &[192, 0, 2, 2]).unwrap();
        builder.push(b"\x01b\x07example\x00", Rtype::TXT, 200, b"\x01a").unwrap();
        builder.push(b"\x07example\x00", Rtype::SOA, 3600, SOA).unwrap();
        let zone = builder.finish().unwrap();
        let mut octets = vec![0xff];
        octets.extend(zone.arrays().concat());
        // Behind one octet: entries need no alignment.
        let moved = zone.clone().within(&Bytes::from(octets).slice(1..));
        assert_eq!((moved.serial(), moved.record_count()), (7, 3));
        assert_eq!(moved.arrays(), zone.arrays());
        let b = moved.find(b"\x01b\x07example\x00").unwrap();
        assert_eq!(b.rrsets().map(|rrset| rrset.ttl()).collect::<Vec<_>>(), [300, 200]);
    }

    #[test]
    fn a_writer_wants_canonical_order() {
        let start = || {
            let mut writer = ZoneWriter::with_capacity(apex(), 0);
            writer.owner(b"\x07example\x00").unwrap();
            writer.rrset(Rtype::SOA, 3600, std::iter::once(SOA)).unwrap();
            writer
        };
        let a = [192, 0, 2, 1];
        let mut writer = start();
        let again = writer.rrset(Rtype::SOA, 3600, std::iter::once(SOA));
        assert_eq!(again, Err(ZoneError::OutOfOrder));
        let lower = writer.rrset(Rtype::A, 300, std::iter::once(&a[..]));
        assert_eq!(lower, Err(ZoneError::OutOfOrder));
        assert_eq!(writer.owner(b"\x07example\x00"), Err(ZoneError::OutOfOrder));
        let mut writer = start();
        writer.owner(b"\x01b\x07example\x00").unwrap();
        writer.rrset(Rtype::A, 300, std::iter::once(&a[..])).unwrap();
        assert_eq!(writer.owner(b"\x01a\x07example\x00"), Err(ZoneError::OutOfOrder));
        let zone = writer.finish().unwrap();
        let b = zone.find(b"\x01b\x07example\x00").unwrap().rrset(Rtype::A).unwrap();
        assert_eq!((b.rdatas().collect::<Vec<_>>(), b.ttl()), (vec![&a[..]], 300));
        let empty = ZoneWriter::with_capacity(apex(), 0).finish();
        assert_eq!(empty.err(), Some(ZoneError::SoaCount { apex: apex(), count: 0 }));
    }
}
