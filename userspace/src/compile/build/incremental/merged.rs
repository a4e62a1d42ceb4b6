//! The NSEC3 chain of the version to be, before its index is written.

use xdp_common::image::Address;

use crate::compile::hashes::{HashEntry, HashIndex, HashKey};

/// The chain of the version to be, as that of the version before and what differs.
#[derive(Default)]
pub(super) struct MergedChain<'a> {
    /// That of the version before; `None` if it cannot be read.
    pub older: Option<HashIndex<'a>>,
    /// Records that come or are others, and those that go, as 0. Sorted by hash.
    pub edits: Vec<HashEntry>,
}

impl MergedChain<'_> {
    fn edited(&self, key: HashKey) -> Option<Address> {
        let found = self.edits.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.edits[found].1)
    }

    /// The record whose hash starts so.
    pub fn matching(&self, key: HashKey) -> Option<Address> {
        let edited = self.edited(key).map(Some);
        let found = edited.unwrap_or_else(|| self.older?.matching(key))?;
        Some(found).filter(|piece| *piece != 0)
    }

    /// The record with the last hash that is not after this one, the last of all being before the first.
    pub fn covering(&self, key: HashKey) -> Address {
        let last = || self.last_until((u64::MAX, u32::MAX));
        self.last_until(key).or_else(last).map_or(0, |(_, piece)| piece)
    }

    fn last_until(&self, key: HashKey) -> Option<HashEntry> {
        let edits = self.edits.partition_point(|(edit, _)| *edit <= key);
        let edit = self.edits[..edits].iter().rfind(|(_, piece)| *piece != 0).copied();
        let mut older = self.older.into_iter().flat_map(|older| older.until(key));
        edit.max(older.find(|(key, _)| self.edited(*key).is_none()))
    }

    /// The first hash after this one, or the first of all.
    pub fn next(&self, key: Option<HashKey>) -> Option<HashKey> {
        let is_after = |other: &HashKey| key.is_none_or(|key| *other > key);
        let edits = self.edits.partition_point(|(edit, _)| !is_after(edit));
        let edit = self.edits[edits..].iter().find(|(_, piece)| *piece != 0).map(|(key, _)| *key);
        let mut older = self.older.into_iter().flat_map(|older| older.after(key));
        let older = older.find(|(key, _)| self.edited(*key).is_none()).map(|(key, _)| key);
        edit.into_iter().chain(older).min()
    }
}
