//! Where the records of large zones are kept: in files without a name, mapped to be read.
//!
//! Who answers has a zone in the maps. Its records are wanted again for a transfer, and when the zone is
//! signed, verified or published anew. In between they need not be in memory: what is mapped is page cache,
//! which the kernel takes back when it is short of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;

use crate::datapath::memory::FileMap;
use crate::zone::Zone;

/// Octets of a zone from which on it is kept in a file. A mapping takes some hundred octets of the kernel's,
/// and a process may have 65,530 of them (vm.max_map_count): many small zones stay in the heap.
const LARGE: usize = 1 << 20;

/// Keeps zones in a folder.
pub struct Store {
    folder: PathBuf,
    large: usize,
    has_warned: AtomicBool,
}

/// A zone and the files that it lies in.
pub struct Kept {
    /// The zone.
    pub zone: Zone,
    /// Its file and that of what stands beside it, where these are large.
    pub files: Vec<FileMap>,
}

impl Store {
    /// Keeps zones in this folder, which may not be there.
    pub fn new(folder: PathBuf) -> Store {
        Store { folder, large: LARGE, has_warned: AtomicBool::new(false) }
    }

    /// The same zone in a file, if it is large. Where the folder cannot hold it, it stays where it is.
    pub fn keep(&self, zone: Zone) -> Kept {
        let mut files = Vec::new();
        let zone = match zone.beside().cloned() {
            Some(beside) => {
                let beside = self.keep_one(beside, &mut files);
                zone.with_beside(beside)
            }
            None => zone,
        };
        let zone = self.keep_one(zone, &mut files);
        Kept { zone, files }
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
                    tracing::warn!("large zones stay in memory: a file in {folder}: {error}");
                }
                zone
            }
        }
    }
}
