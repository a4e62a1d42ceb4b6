//! A zone made of RRsets that come in canonical order.

use super::arrays::{OwnerEntry, RrsetEntry};
use super::error::ZoneError;
use super::name::{Name, canonical_order};
use super::rtype::Rtype;
use super::tree::Zone;

/// Makes a zone of RRsets that are in canonical form and come in canonical order already, without
/// holding them twice as a [`ZoneBuilder`](super::ZoneBuilder) does.
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
pub(super) struct Draft {
    apex: Name,
    owners: Vec<[u8; OwnerEntry::LEN]>,
    pub(super) rrsets: Vec<[u8; RrsetEntry::LEN]>,
    pub(super) bytes: Vec<u8>,
}

impl Draft {
    pub(super) fn with_capacity(apex: Name, bytes: usize) -> Draft {
        let (owners, rrsets) = (Vec::new(), Vec::new());
        Draft { apex, owners, rrsets, bytes: Vec::with_capacity(bytes) }
    }

    /// Where the next octet goes.
    pub(super) fn end(&self) -> Result<u32, ZoneError> {
        u32::try_from(self.bytes.len()).map_err(|_| ZoneError::TooLarge)
    }

    pub(super) fn owner(&mut self, name: &[u8]) -> Result<(), ZoneError> {
        let (name_at, name_len) = (self.end()?, name.len() as u8);
        self.bytes.extend_from_slice(name);
        let first_rrset = self.rrsets.len() as u32;
        self.owners.push(OwnerEntry { name_at, name_len, first_rrset }.write());
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Zone, ZoneError> {
        self.owners.shrink_to_fit();
        self.rrsets.shrink_to_fit();
        self.bytes.shrink_to_fit();
        Zone::of_arrays(
            self.apex,
            self.owners.into_flattened().into(),
            self.rrsets.into_flattened().into(),
            self.bytes.into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::builder::tests::{SOA, apex};

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
