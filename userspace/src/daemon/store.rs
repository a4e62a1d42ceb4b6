//! Where the records of large zones are kept: in files without a name, mapped to be read.
//!
//! Who answers has a zone in the maps. Its records are wanted again for a transfer, and when the zone is
//! signed, verified or published anew. In between they need not be in memory: what is mapped is page cache,
//! which the kernel takes back when it is short of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;

use crate::datapath::memory::FileMap;
use crate::zone::{Version, Zone, ZoneError};

/// Octets of a zone from which on it is kept in a file. A mapping takes some hundred octets of the kernel's,
/// and a process may have 65,530 of them (vm.max_map_count): many small zones stay in the heap.
pub const LARGE: usize = 1 << 20;

/// Whether a change makes the flat zone of the version anew to which it leads: of a small zone as soon as that is due, of a
/// large one only if it was not done in the background in time.
pub fn is_merged_at_once(zone: &Version) -> bool {
    zone.is_merge_overdue() || zone.octets() < LARGE && zone.is_merge_due()
}

/// Keeps zones in a folder.
pub struct Store {
    folder: PathBuf,
    large: usize,
    has_warned: AtomicBool,
}

/// A version of a zone and the files that it lies in.
pub struct StoredVersion {
    /// The version.
    pub zone: Version,
    /// Its file and that of what stands beside it, where these are large.
    pub files: Vec<FileMap>,
}

impl Store {
    /// Keeps zones in this folder, which may not be there.
    pub fn new(folder: PathBuf) -> Store {
        Store { folder, large: LARGE, has_warned: AtomicBool::new(false) }
    }

    /// The same records in a file, if they are many. Where the folder cannot hold them, they stay where they are. The
    /// flat zone of `older` is in its files already, and what changed since stays in memory.
    pub fn keep(
        &self,
        zone: Version,
        older: Option<(&Version, &[FileMap])>,
    ) -> Result<StoredVersion, ZoneError> {
        let has_same_flat_zone = |(older, _): &(&Version, _)| zone.has_same_flat_zone(older);
        if let Some((_, files)) = older.filter(has_same_flat_zone) {
            return Ok(StoredVersion { zone, files: files.to_vec() });
        }
        let (mut files, zone) = (Vec::new(), zone.flat()?);
        let zone = match zone.any_answers().cloned() {
            Some(any_answers) => {
                let any_answers = self.keep_one(any_answers, &mut files);
                zone.with_any_answers(any_answers)
            }
            None => zone,
        };
        let zone = self.keep_one(zone, &mut files);
        Ok(StoredVersion { zone: Version::of(zone), files })
    }

    fn keep_one(&self, zone: Zone, files: &mut Vec<FileMap>) -> Zone {
        if zone.octets() < self.large {
            return zone;
        }
        match FileMap::holding(&self.folder, &zone.arrays()) {
            Ok(file) => {
                files.push(file.clone());
                zone.within(&Bytes::from_owner(file))
            }
            Err(error) => {
                if !self.has_warned.swap(true, Relaxed) {
                    let folder = self.folder.display();
                    tracing::warn!(
                        "large zones are kept in memory: no file can be made in {folder}: {error}"
                    );
                }
                zone
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::dnssec::any;
    use crate::server::testing;
    use crate::transfer::axfr::{Heading, messages};
    use crate::zone::{Rtype, ZoneBuilder};

    /// A store that takes every zone for large.
    fn store(folder: &Path) -> Store {
        Store { large: 0, ..Store::new(folder.to_owned()) }
    }

    /// An RRset: owner, type, TTL, RDATA.
    type Content<'z> = (&'z [u8], Rtype, u32, Vec<&'z [u8]>);

    /// All that is in a zone, where every name is found.
    fn content(zone: &Zone) -> Vec<Content<'_>> {
        let mut content = Vec::new();
        for owner in zone.owners() {
            assert_eq!(zone.index_of(&zone.find(owner.name()).unwrap()), zone.index_of(&owner));
            for rrset in owner.rrsets() {
                let rdatas = rrset.rdatas().collect();
                assert_eq!(owner.rrset(rrset.rtype()).unwrap().len(), rrset.len());
                content.push((owner.name(), rrset.rtype(), rrset.ttl(), rdatas));
            }
        }
        content
    }

    /// A transfer's messages.
    fn transferred(zone: &Zone) -> Vec<Vec<u8>> {
        let question = [&[0; 12], zone.apex().as_wire(), &[0, 252, 0, 1]].concat();
        let heading = Heading::new(question, Vec::new());
        let (mut all, mut message) = (Vec::new(), Vec::new());
        let zone = Version::of(zone.clone());
        let mut messages = messages(&zone, &heading);
        while messages.next_message(&mut message).unwrap() {
            all.push(message.clone());
        }
        all
    }

    proptest! {
        #[test]
        fn a_zone_in_a_file_is_the_same_zone(
            records in proptest::collection::vec(
                ("[a-c]{1,2}(\\.[a-c]){0,2}", 1u16..70, 0u32..3, proptest::collection::vec(any::<u8>(), 0..40)),
                0..60,
            ),
        ) {
            let mut builder = ZoneBuilder::new(testing::name("example"));
            builder.copy(&testing::zone(7, 0), |_, _| true).unwrap();
            for (name, rtype, ttl, rdata) in records {
                let owner = testing::name(&format!("{name}.example"));
                // What is malformed is refused.
                let _ = builder.push(owner.as_wire(), Rtype(rtype), ttl, &rdata);
            }
            let Ok(zone) = builder.finish() else { return Ok(()) };
            let folder = tempfile::tempdir().unwrap();
            let StoredVersion { zone: kept, files } =
                store(folder.path()).keep(zone.clone().into(), None).unwrap();
            let kept = kept.flat().unwrap();
            prop_assert_eq!(files.len(), 1);
            files.iter().for_each(FileMap::rest);
            prop_assert_eq!(content(&kept), content(&zone));
            prop_assert_eq!(kept.serial(), zone.serial());
            prop_assert_eq!(kept.record_count(), zone.record_count());
            prop_assert!(kept.find(b"\x09not-there\x07example\x00").is_none());
            prop_assert_eq!(transferred(&kept), transferred(&zone));
        }
    }

    #[test]
    fn what_stands_beside_a_zone_is_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        let zone = Zone::clone(&testing::zone(7, 100));
        let any_answers = any::unsigned(&zone).unwrap();
        let zone = zone.with_any_answers(any_answers.clone());
        let StoredVersion { zone: kept, files } =
            store(folder.path()).keep(zone.into(), None).unwrap();
        let kept = kept.flat().unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(content(kept.any_answers().unwrap()), content(&any_answers));
    }

    #[test]
    fn small_zones_and_those_without_a_folder_stay_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let zone = Zone::clone(&testing::zone(7, 100));
        for store in [Store::new(folder.path().into()), store(&folder.path().join("missing"))] {
            let StoredVersion { zone: kept, files } =
                store.keep(zone.clone().into(), None).unwrap();
            let kept = kept.flat().unwrap();
            assert!(files.is_empty());
            assert_eq!(content(&kept), content(&zone));
            assert_eq!(store.has_warned.into_inner(), store.large == 0);
        }
    }
}
