//! A record that was gathered for a zone and has no place in it yet.

use super::rtype::Rtype;

/// One gathered record: owner name and RDATA lie one after the other in the arena.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) at: u32,
    /// Its place in the order of pushing.
    pub(super) number: u32,
    pub(super) owner_len: u8,
    pub(super) rdata_len: u16,
    pub(super) rtype: Rtype,
    pub(super) ttl: u32,
}

impl Record {
    pub(super) fn owner(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at as usize..][..usize::from(self.owner_len)]
    }

    pub(super) fn rdata(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at as usize + usize::from(self.owner_len)..][..usize::from(self.rdata_len)]
    }

    /// Owner name and RDATA.
    pub(super) fn whole(self, bytes: &[u8]) -> &[u8] {
        let length = usize::from(self.owner_len) + usize::from(self.rdata_len);
        &bytes[self.at as usize..][..length]
    }
}
