//! Memory that the daemon shares with the kernel: mapped arrays, anonymous memory of the same shape, and
//! mapped files.
//!
//! This module, with what is below it, is the one of the crate that holds unsafe code.
#![expect(unsafe_code, reason = "mapped memory is read and written through pointers")]

pub mod bpf;
pub mod driver;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::{NonNull, addr_of_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use xdp_common::image::{Bucket, Window};
use xdp_common::limit::{Limited, ListEntry, NameEntry, Rules};
use xdp_common::maps::{CHUNK_LEN, Clock, Config, EdnsSettings, Verdicts};
use xdp_common::trace::{Filter, Seen};

use crate::compile::Memory;

/// Octets behind the slab that read as zero, so that a window at its end is whole: a chunk is a
/// multiple of every page size, so what follows can be mapped apart from the slab.
const SLACK: usize = CHUNK_LEN;
const _: () = assert!(SLACK >= size_of::<Window>());

/// Slots of a bucket.
const SLOTS: usize = size_of::<Bucket>() / size_of::<u64>();

/// How large a slab and a table are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Octets of the slab, a multiple of [`CHUNK_LEN`].
    pub slab: usize,
    /// Buckets of the table, a power of two.
    pub buckets: usize,
}

impl Size {
    /// Octets of both; `None` if they are too many to count.
    pub fn octets(self) -> Option<usize> {
        self.buckets.checked_mul(size_of::<Bucket>())?.checked_add(self.slab)
    }
}

//----------- Region ---------------------------------------------------------------------------------

/// A run of mapped pages, unmapped when dropped.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    len: NonZeroUsize,
}

// SAFETY: the pages belong to the process and not to a thread, and nobody but this value unmaps them.
unsafe impl Send for Region {}
// SAFETY: as above; what is read and written through the pointer is the business of those who do it.
unsafe impl Sync for Region {}

impl Region {
    /// Pages of zeros. They take memory when they are first written.
    fn anonymous(len: usize) -> Result<Region, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // NORESERVE: a large slab is an upper limit, most of which may never be used.
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses the address, so no memory of ours is replaced.
        let start = unsafe { mmap_anonymous(None, len, READ_WRITE, flags)? };
        Ok(Region { start: start.cast(), len })
    }

    /// A file's first `len` octets, to be read.
    fn of_file(file: &File, len: usize) -> Result<Region, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // SAFETY: as in `anonymous`.
        let start =
            unsafe { mmap(None, len, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file, 0)? };
        Ok(Region { start: start.cast(), len })
    }

    /// The first `len` octets of a BPF array.
    fn of_array(map: BorrowedFd<'_>, len: usize) -> Result<Region, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // SAFETY: as in `anonymous`.
        let start = unsafe { mmap(None, len, READ_WRITE, MapFlags::MAP_SHARED, map, 0)? };
        Ok(Region { start: start.cast(), len })
    }

    /// Puts the first `len` octets of a BPF array in the place of this region's first.
    fn lay_array(&mut self, map: BorrowedFd<'_>, len: usize) -> Result<(), Errno> {
        let len = NonZeroUsize::new(len).filter(|len| *len <= self.len).ok_or(Errno::EINVAL)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        // SAFETY: the pages replaced are this region's, by the check above, and nobody has a
        // reference into them: the region is borrowed mutably.
        unsafe { mmap(Some(self.start.addr()), len, READ_WRITE, flags, map, 0)? };
        Ok(())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly these pages were mapped, and references into them borrow this value.
        let unmapped = unsafe { munmap(self.start.cast(), self.len.get()) };
        if let Err(error) = unmapped {
            tracing::error!(%error, "unmapping memory");
        }
    }
}

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

//----------- Mapping --------------------------------------------------------------------------------

/// A slab and a table, in the daemon's memory or in BPF maps.
#[derive(Debug)]
pub struct Mapping {
    size: Size,
    slab: Region,
    table: Region,
}

impl Mapping {
    /// Memory of the daemon's own, all zero.
    pub fn anonymous(size: Size) -> Result<Mapping, Errno> {
        check(size)?;
        let slab = Region::anonymous(size.slab + SLACK)?;
        let table = Region::anonymous(size.buckets * size_of::<Bucket>())?;
        Ok(Mapping { size, slab, table })
    }

    /// BPF arrays with at least these sizes, made to be mapped (BPF_F_MMAPABLE). They stay mapped
    /// when the file descriptors are closed.
    pub fn of_maps(slab: impl AsFd, table: impl AsFd, size: Size) -> Result<Mapping, Errno> {
        check(size)?;
        // The array ends with its last chunk; the pages behind it stay zero.
        let mut region = Region::anonymous(size.slab + SLACK)?;
        region.lay_array(slab.as_fd(), size.slab)?;
        let table = Region::of_array(table.as_fd(), size.buckets * size_of::<Bucket>())?;
        Ok(Mapping { size, slab: region, table })
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.size
    }

    fn slot(&self, bucket: usize, slot: usize) -> &AtomicU64 {
        assert!(bucket < self.size.buckets && slot < SLOTS, "slot {slot} of bucket {bucket}");
        let slots = self.table.start.cast::<u64>();
        // SAFETY: the slot lies inside the table, by the check above, is aligned since pages are, and
        // all accesses to it in this process are atomic.
        unsafe { AtomicU64::from_ptr(slots.add(bucket * SLOTS + slot).as_ptr()) }
    }

    /// The first word of the slab, in which no record ever lies.
    fn count(&self) -> &AtomicU64 {
        // SAFETY: the slab is a page at least, pages are aligned, and all accesses to its first word in
        // this process are atomic.
        unsafe { AtomicU64::from_ptr(self.slab.start.cast::<u64>().as_ptr()) }
    }
}

fn check(size: Size) -> Result<(), Errno> {
    let fits = size.octets().is_some_and(|octets| octets <= isize::MAX as usize - SLACK);
    let is_valid = fits
        && size.slab != 0
        && size.slab.is_multiple_of(CHUNK_LEN)
        && size.buckets.is_power_of_two();
    if is_valid { Ok(()) } else { Err(Errno::EINVAL) }
}

impl Memory for Mapping {
    fn slab_len(&self) -> usize {
        self.size.slab
    }

    fn bucket_count(&self) -> usize {
        self.size.buckets
    }

    fn write(&self, at: usize, octets: &[u8]) {
        let end = at.checked_add(octets.len());
        assert!(end.is_some_and(|end| end <= self.size.slab), "{} at {at}", octets.len());
        // SAFETY: the octets lie inside the slab, by the check above. No published record lies there
        // (the contract of `Memory`), so no reader uses what is there now.
        unsafe {
            let to = self.slab.start.add(at);
            to.copy_from_nonoverlapping(NonNull::from(octets).cast(), octets.len());
        }
    }

    fn read(&self, at: usize, len: usize) -> Option<&[u8]> {
        if at.checked_add(len)? > self.size.slab + SLACK {
            return None;
        }
        // SAFETY: the octets lie inside the region, by the check above, which stays mapped as long as
        // the borrow. A published record in them does not change while it can be read; what happens
        // to lie beside it may, and readers do not use it.
        Some(unsafe { NonNull::slice_from_raw_parts(self.slab.start.add(at), len).as_ref() })
    }

    fn bucket(&self, index: usize) -> Bucket {
        std::array::from_fn(|slot| self.slot(index, slot).load(Ordering::Acquire))
    }

    fn store(&self, bucket: usize, slot: usize, entry: u64) {
        self.count().fetch_add(1, Ordering::AcqRel);
        self.slot(bucket, slot).store(entry, Ordering::Release);
    }

    fn replace(&self, at: usize, word: u64) {
        let is_inside = at.checked_add(8).is_some_and(|end| end <= self.size.slab);
        assert!(is_inside && at.is_multiple_of(8), "a word at {at}");
        self.count().fetch_add(1, Ordering::AcqRel);
        // SAFETY: the word lies inside the slab and is aligned, by the check above and since pages are.
        // Readers may have a reference to it: they read each half of it at once, and see what it was
        // or what it is (the contract of `Memory`).
        let to = unsafe { AtomicU64::from_ptr(self.slab.start.add(at).cast::<u64>().as_ptr()) };
        to.store(word.to_le(), Ordering::Release);
    }

    fn changes(&self) -> u64 {
        self.count().load(Ordering::Acquire)
    }
}

//----------- FileMap --------------------------------------------------------------------------------

/// Octets in a file that does not change. They are memory only while they are read, and as long as the kernel likes to
/// cache them.
#[derive(Clone, Debug)]
pub struct FileMap(Arc<Region>);

impl FileMap {
    /// Writes these octets, one after the other, to a file in a folder that has no name: it is gone when the last clone is
    /// dropped.
    pub fn holding(folder: &Path, octets: &[&[u8]]) -> std::io::Result<FileMap> {
        let mut file = nameless(folder)?;
        for octets in octets {
            file.write_all(octets)?;
        }
        // What is written and has no room on the disk would be lost later, when nobody can be told.
        file.sync_data()?;
        let len = octets.iter().map(|octets| octets.len()).sum();
        Ok(FileMap(Arc::new(Region::of_file(&file, len)?)))
    }

    /// The octets of a file that has a name, which gets another content only by becoming that of another file
    /// ([`files::replace_with`](crate::files::replace_with)): this one stays what it is.
    ///
    /// # Errors
    /// If it is not our user's alone to write (or root's), or cannot be mapped.
    pub fn of(file: &File) -> std::io::Result<FileMap> {
        let metadata = file.metadata()?;
        let is_ours = [0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid());
        if !metadata.is_file() || !is_ours || metadata.mode() & 0o022 != 0 {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        let len = usize::try_from(metadata.len()).map_err(|_| Errno::EFBIG)?;
        Ok(FileMap(Arc::new(Region::of_file(file, len)?)))
    }

    /// Gives back the memory that reading has taken: until it is read again the process has none of it.
    pub fn rest(&self) {
        let Region { start, len } = *self.0;
        // SAFETY: the pages are this region's, and of a file that they were never written over: who reads
        // them again, through a reference that is there now, finds what the file has, which is the same.
        let rested = unsafe { madvise(start.cast(), len.get(), MmapAdvise::MADV_DONTNEED) };
        if let Err(error) = rested {
            tracing::debug!(%error, "giving back memory");
        }
    }
}

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the pages are mapped as long as the region is there. Nobody changes or cuts off the file below them.
        // Of `holding`: it was made there, for our user alone, has no name, and its one descriptor was closed when it had
        // been mapped. Of `of`: our user alone may write to it, no program of ours does, and one daemon has the folder
        // that it lies in.
        unsafe { NonNull::slice_from_raw_parts(self.0.start, self.0.len.get()).as_ref() }
    }
}

/// A new file in a folder, for our user alone, that nobody can open by a name.
fn nameless(folder: &Path) -> std::io::Result<File> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    // EXCL: nor can it be given a name later (open(2)).
    let made = options.custom_flags(libc::O_TMPFILE | libc::O_EXCL).open(folder);
    match made {
        // Some file systems have no such files, and what does not know the flag sees a folder.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".{}-{number}", std::process::id()));
            let file = options.custom_flags(0).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        made => made,
    }
}

//----------- ConfigMap ------------------------------------------------------------------------------

/// The programs' configuration, in the map [`xdp_common::maps::CONFIG`].
#[derive(Debug)]
pub struct ConfigMap(Region);

impl ConfigMap {
    /// Maps the array's one entry.
    pub fn new(map: impl AsFd) -> Result<ConfigMap, Errno> {
        Region::of_array(map.as_fd(), size_of::<Config>()).map(ConfigMap)
    }

    /// Writes each field as a whole. The programs may see some fields before and others after: each
    /// is right by itself.
    pub fn write(&mut self, config: &Config) {
        let to = self.0.start.cast::<Config>().as_ptr();
        macro_rules! store {
            ($($field:ident)*) => {$(
                // SAFETY: the field lies inside the mapped page, aligned since pages are. The store is
                // volatile so that it happens, once, though nobody in this process reads it.
                unsafe { addr_of_mut!((*to).$field).write_volatile(config.$field) };
            )*};
        }
        store!(seed bucket_mask max_labels payload_limit ports macs addresses address_count);
        store!(broadcasts broadcast_mask broadcast_bits booted_at_s);
        store!(tick_ns name_depths policies_at limits);
    }
}

//----------- Values ---------------------------------------------------------------------------------

/// A value of a map, as aya wants it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Value<T>(pub T);

macro_rules! pod {
    ($($value:ty)*) => {$(
        // SAFETY: integers without padding: the sizes are asserted where the type is defined.
        unsafe impl aya::Pod for Value<$value> {}
    )*};
}
pod!(Rules ListEntry NameEntry Limited Verdicts Clock Filter Seen);

/// How the server presents itself, in the map [`xdp_common::maps::EDNS_SETTINGS`].
#[derive(Debug)]
pub struct EdnsSettingsMap(Region);

impl EdnsSettingsMap {
    /// Maps the array's one entry.
    pub fn new(map: impl AsFd) -> Result<EdnsSettingsMap, Errno> {
        Region::of_array(map.as_fd(), size_of::<EdnsSettings>()).map(EdnsSettingsMap)
    }

    /// Writes all of it. The programs may see some of it before and the rest after.
    pub fn write(&mut self, edns_settings: &EdnsSettings) {
        // SAFETY: the value lies inside the mapped page, aligned since pages are, and any mix of two is one
        // that programs may read. The store is volatile so that it happens though nobody in this process
        // reads it.
        unsafe { self.0.start.cast::<EdnsSettings>().as_ptr().write_volatile(*edns_settings) };
    }
}

//----------- The heap -------------------------------------------------------------------------------

/// Gives the system back what lies free in the heap: reading and signing a large zone leaves hundreds of
/// MiB in pieces behind, which the allocator would keep.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number and touches nothing that is in use (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

//----------- Grace period ---------------------------------------------------------------------------

/// Waits until every XDP program that is running now has ended.
///
/// XDP programs run inside RCU read-side sections, and MEMBARRIER_CMD_GLOBAL waits for an RCU grace
/// period (about 10 ms). A kernel with CPUs in full dynticks mode refuses it (membarrier(2)).
pub fn wait_for_programs() -> Result<(), Errno> {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result =
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0u32, 0i32) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SMALL: Size = Size { slab: 2 * CHUNK_LEN, buckets: 4 };

    #[test]
    fn what_is_written_is_read() {
        let memory = Mapping::anonymous(SMALL).unwrap();
        memory.write(0, b"first");
        memory.write(SMALL.slab - 4, b"last");
        assert_eq!(memory.read(0, 6).unwrap(), b"first\0");
        assert_eq!(memory.read(SMALL.slab - 4, 4).unwrap(), b"last");
    }

    #[test]
    fn a_window_at_the_end_reads_zeros_behind_it() {
        let memory = Mapping::anonymous(SMALL).unwrap();
        memory.write(SMALL.slab - 8, &[0xff; 8]);
        let window = memory.read(SMALL.slab - 8, size_of::<Window>()).unwrap();
        assert_eq!(window[..8], [0xff; 8]);
        assert!(window[8..].iter().all(|octet| *octet == 0));
        assert!(memory.read(SMALL.slab, SLACK).is_some());
        assert!(memory.read(SMALL.slab, SLACK + 1).is_none());
        assert!(memory.read(usize::MAX, 2).is_none());
    }

    #[test]
    #[should_panic(expected = "8 at 131065")]
    fn nothing_is_written_behind_the_slab() {
        Mapping::anonymous(SMALL).unwrap().write(SMALL.slab - 7, &[0xff; 8]);
    }

    #[test]
    fn slots_are_stored_one_by_one() {
        let memory = Mapping::anonymous(SMALL).unwrap();
        memory.store(3, 7, u64::MAX);
        memory.store(0, 1, 5);
        assert_eq!(memory.bucket(3), [0, 0, 0, 0, 0, 0, 0, u64::MAX]);
        assert_eq!(memory.bucket(0), [0, 5, 0, 0, 0, 0, 0, 0]);
        assert_eq!(memory.bucket(1), [0; 8]);
    }

    #[test]
    #[should_panic(expected = "slot 0 of bucket 4")]
    fn there_are_no_more_buckets_than_said() {
        Mapping::anonymous(SMALL).unwrap().bucket(4);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (slab, buckets) in
            [(0, 4), (CHUNK_LEN + 1, 4), (CHUNK_LEN, 0), (CHUNK_LEN, 3), (CHUNK_LEN, 1 << 62)]
        {
            assert!(Mapping::anonymous(Size { slab, buckets }).is_err(), "{slab} {buckets}");
        }
    }

    #[test]
    fn a_file_has_what_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let map = FileMap::holding(folder.path(), &[b"first, ", &[], b"second"]).unwrap();
        assert_eq!(map.as_ref(), b"first, second");
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        let clone = map.clone();
        map.rest();
        drop(map);
        assert_eq!(clone.as_ref(), b"first, second");
        assert!(FileMap::holding(&folder.path().join("missing"), &[b"octets"]).is_err());
        assert!(FileMap::holding(folder.path(), &[]).is_err());
    }

    #[test]
    fn a_file_that_others_may_write_to_is_not_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"content").unwrap();
        for (mode, is_mapped) in [(0o600, true), (0o444, true), (0o620, false), (0o602, false)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let map = FileMap::of(&File::open(&path).unwrap());
            assert_eq!(map.is_ok(), is_mapped, "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let map = FileMap::of(&File::open(&path).unwrap()).unwrap();
        crate::files::replace(&path, 0o600, b"another").unwrap();
        map.rest();
        assert_eq!(map.as_ref(), b"content");
        assert!(FileMap::of(&File::open(folder.path()).unwrap()).is_err());
    }

    #[test]
    fn programs_can_be_waited_for() {
        wait_for_programs().unwrap();
    }
}
