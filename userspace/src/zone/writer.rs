//! A zone made of RRsets that come in canonical order.

use std::ops::Range;

use super::arrays::{Arrays, OwnerEntry, RrsetEntry, Shift};
use super::error::ZoneError;
use super::name::{Name, canonical_order};
use super::rtype::Rtype;
use super::tree::Zone;

/// Makes a zone of RRsets that are in canonical form and come in canonical order already, without
/// holding them twice as a [`ZoneBuilder`](super::ZoneBuilder) does.
pub struct ZoneWriter {
    apex: Name,
    draft: Draft,
}

impl ZoneWriter {
    /// Starts a zone with this apex and room for so many octets.
    pub fn with_capacity(apex: Name, bytes: usize) -> ZoneWriter {
        ZoneWriter { apex, draft: Draft::with_capacity(0, 0, bytes) }
    }

    /// Starts the next owner: a lower-case wire name at or below the apex, after the one before.
    /// At least one RRset must follow.
    pub fn owner(&mut self, name: &[u8]) -> Result<(), ZoneError> {
        if self.draft.last_owner().is_some_and(|last| canonical_order(last, name).is_ge()) {
            return Err(ZoneError::OutOfOrder);
        }
        self.draft.owner(name)
    }

    /// Adds an RRset to the last owner: its type is greater than the one before, its RDATA is
    /// canonical and sorted.
    pub fn rrset<'a>(
        &mut self,
        rtype: Rtype,
        ttl: u32,
        rdatas: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ZoneError> {
        if self.draft.last_type().is_some_and(|last| last >= rtype) {
            return Err(ZoneError::OutOfOrder);
        }
        self.draft.rrset(rtype, ttl, rdatas)
    }

    /// Ends the zone; its apex must have one SOA record.
    pub fn finish(self) -> Result<Zone, ZoneError> {
        Zone::of_arrays(self.apex, self.draft.finish())
    }
}

/// Arrays while they grow. What is added comes in canonical order; a [`ZoneWriter`] sees to it.
#[derive(Default)]
pub(super) struct Draft {
    owners: Vec<[u8; OwnerEntry::LEN]>,
    pub(super) rrsets: Vec<[u8; RrsetEntry::LEN]>,
    pub(super) bytes: Vec<u8>,
}

impl Draft {
    /// Has room for so many owners, RRsets, and octets of names and RDATA.
    pub(super) fn with_capacity(owners: usize, rrsets: usize, bytes: usize) -> Draft {
        Draft {
            owners: Vec::with_capacity(owners),
            rrsets: Vec::with_capacity(rrsets),
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Where the next octet goes.
    pub(super) fn end(&self) -> Result<u32, ZoneError> {
        u32::try_from(self.bytes.len()).map_err(|_| ZoneError::TooLarge)
    }

    /// How many owners there are.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    fn last_owner(&self) -> Option<&[u8]> {
        let last = self.owners.last().map(OwnerEntry::read);
        last.map(|last| last.name(&self.bytes))
    }

    /// The type of the last owner's last RRset.
    fn last_type(&self) -> Option<Rtype> {
        let first = self.owners.last().map_or(0, |owner| OwnerEntry::read(owner).first_rrset);
        let last = self.rrsets[first as usize..].last().map(RrsetEntry::read);
        last.map(|last| last.rtype)
    }

    /// Begins the next owner.
    pub(super) fn owner(&mut self, name: &[u8]) -> Result<(), ZoneError> {
        let (name_at, name_len) = (self.end()?, name.len() as u8);
        self.bytes.extend_from_slice(name);
        let first_rrset = self.rrsets.len() as u32;
        self.owners.push(OwnerEntry { name_at, name_len, first_rrset }.write());
        Ok(())
    }

    /// Adds an RRset to the last owner.
    pub(super) fn rrset<'a>(
        &mut self,
        rtype: Rtype,
        ttl: u32,
        rdatas: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ZoneError> {
        let at = self.end()?;
        let mut count = 0;
        for rdata in rdatas {
            let len = u16::try_from(rdata.len()).map_err(|_| ZoneError::Malformed(rtype))?;
            self.bytes.extend_from_slice(&len.to_be_bytes());
            self.bytes.extend_from_slice(rdata);
            count += 1;
        }
        let end = self.end()?;
        self.rrsets.push(RrsetEntry { rtype, ttl, at, end, count }.write());
        Ok(())
    }

    /// Adds owners that stand next to each other elsewhere: their octets as they are, at other places.
    pub(super) fn copy(&mut self, from: &Arrays, owners: Range<usize>) -> Result<(), ZoneError> {
        #[cfg(test)]
        super::visits::count(owners.len());
        let bytes = from.bytes_of(owners.clone());
        let rrsets = from.rrsets_of(owners.clone());
        let Some(first) = from.owner_entries().get(owners.start).map(OwnerEntry::read) else {
            return Ok(());
        };
        let at = self.end()?;
        let by = Shift::of(first, at, self.rrsets.len() as u32);
        self.bytes.extend_from_slice(bytes);
        // Before any place is made that four octets do not hold.
        self.end()?;
        let owners = from.owner_entries()[owners].iter();
        self.owners.extend(owners.map(|owner| OwnerEntry::read(owner).shifted(by).write()));
        let rrsets = from.rrset_entries()[rrsets].iter();
        self.rrsets.extend(rrsets.map(|rrset| RrsetEntry::read(rrset).shifted(by).write()));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Arrays {
        self.owners.shrink_to_fit();
        self.rrsets.shrink_to_fit();
        self.bytes.shrink_to_fit();
        let (owners, rrsets) = (self.owners.into_flattened(), self.rrsets.into_flattened());
        Arrays::new(owners.into(), rrsets.into(), self.bytes.into())
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
