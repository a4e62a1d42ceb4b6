//! Records in any order made into a zone: canonical form, order, and no record twice.

use super::arrays::{Owner, Rrset, RrsetEntry};
use super::canonical::{canonical_prefix, canonical_rdata};
use super::error::ZoneError;
use super::faults::{self, ZoneFault};
use super::name::{Name, canonical_order, is_at_or_below, lowercase, wire_name_len};
use super::record::Record;
use super::rtype::Rtype;
use super::tree::Zone;
use super::writer::Draft;

/// Gathers records in any order; [`ZoneBuilder::finish`] makes the [`Zone`].
pub struct ZoneBuilder {
    apex: Name,
    records: Vec<Record>,
    /// Nothing was pushed since the records were sorted.
    sorted: bool,
    bytes: Vec<u8>,
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
        faults::find(&self.apex, &self.records, &self.bytes)
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
        let mut zone = Draft::with_capacity(0, 0, bytes.len());
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
        Zone::of_arrays(apex, zone.finish())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Names in upper case, serial 7.
    pub const SOA: &[u8] = b"\x02NS\x00\x04mail\x00\x00\x00\x00\x07\x00\x00\x0e\x10\x00\x00\x03\x84\x00\x09\x3a\x80\x00\x00\x00\x3c";

    /// `example.`
    pub fn apex() -> Name {
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
        assert_eq!((zone.serial().0, zone.negative_ttl()), (7, 60));
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
}
