//! What a driver counts beside what all devices count (`ethtool -S`): the one thing that is asked for by an
//! ioctl still (linux/ethtool.h), since netlink has no driver's own names.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::mman::mprotect;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{MapFlags, NonNull, NonZeroUsize, ProtFlags, READ_WRITE, Region, mmap_anonymous};

/// Commands, and the set of strings that names statistics.
const GET_STRINGS: u32 = 0x1b;
const GET_STATISTICS: u32 = 0x1d;
const GET_SET_SIZE: u32 = 0x37;
const STATISTICS: u32 = 1;

/// Octets of a name, zeros behind it.
const NAME: usize = 32;

/// Octets before what the kernel fills in, of all three commands at most: command, set, count or mask.
const HEADER: usize = 16;

/// No driver has more: mlx5 with 128 queues has some 10,000.
const MOST: u32 = 1 << 16;

/// An end of memory that the kernel finds closed: more than any page.
const GUARD: usize = 1 << 16;

/// A driver's counters by their names without blanks around them; what several queues count under one name is
/// summed up. None for a device whose driver counts nothing of its own.
pub fn statistics(interface: &str) -> io::Result<BTreeMap<String, u64>> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut size = Room::new(HEADER + size_of::<u32>())?;
    size.put(0, &GET_SET_SIZE.to_ne_bytes());
    size.put(8, &(1u64 << STATISTICS).to_ne_bytes());
    match ask(&socket, interface, &mut size) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(BTreeMap::new()),
        result => result?,
    }
    let count = if size.word(8) == 0 { 0 } else { size.word(16) };
    if count == 0 || count > MOST {
        return Ok(BTreeMap::new());
    }
    let count = count as usize;
    let mut names = Room::new(HEADER + count * NAME)?;
    names.put(0, &GET_STRINGS.to_ne_bytes());
    names.put(4, &STATISTICS.to_ne_bytes());
    names.put(8, &(count as u32).to_ne_bytes());
    ask(&socket, interface, &mut names)?;
    let mut values = Room::new(HEADER + count * size_of::<u64>())?;
    values.put(0, &GET_STATISTICS.to_ne_bytes());
    values.put(4, &(count as u32).to_ne_bytes());
    ask(&socket, interface, &mut values)?;
    if (names.word(8) as usize, values.word(4) as usize) != (count, count) {
        return Err(io::Error::other("the driver's counters changed while they were read"));
    }
    let mut statistics = BTreeMap::new();
    for place in 0..count {
        let name = names.get(12 + place * NAME, NAME);
        let name = name.split(|octet| *octet == 0).next().unwrap_or_default();
        let value = values.get(8 + place * size_of::<u64>(), size_of::<u64>());
        let value = value.try_into().map_or(0, u64::from_ne_bytes);
        let sum: &mut u64 =
            statistics.entry(String::from_utf8_lossy(name).trim().to_owned()).or_default();
        *sum = sum.wrapping_add(value);
    }
    Ok(statistics)
}

/// Memory for an answer, behind which the kernel cannot write: if a driver's queues change between two
/// questions it writes as many entries as there are then, whatever it said and was told.
struct Room {
    region: Region,
    len: usize,
}

impl Room {
    fn new(len: usize) -> io::Result<Room> {
        let whole = NonZeroUsize::new(len.next_multiple_of(GUARD) + GUARD);
        let whole = whole.ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses the address, so no memory of ours is replaced.
        let start = unsafe { mmap_anonymous(None, whole, ProtFlags::PROT_NONE, flags)? };
        let region = Region { start: start.cast(), len: whole };
        // SAFETY: these are pages of the region, and there are no references into it yet.
        unsafe { mprotect(start, len.next_multiple_of(GUARD), READ_WRITE)? };
        Ok(Room { region, len })
    }

    fn octets(&self) -> &[u8] {
        // SAFETY: so many octets can be read, and are initialised: the kernel made them zeros. It writes
        // there only while this value is borrowed mutably.
        unsafe { std::slice::from_raw_parts(self.region.start.as_ptr(), self.len) }
    }

    fn get(&self, at: usize, len: usize) -> &[u8] {
        self.octets().get(at..at + len).unwrap_or_default()
    }

    fn word(&self, at: usize) -> u32 {
        self.get(at, size_of::<u32>()).try_into().map_or(0, u32::from_ne_bytes)
    }

    fn put(&mut self, at: usize, octets: &[u8]) {
        // SAFETY: as above, and the value is borrowed mutably.
        let room = unsafe { std::slice::from_raw_parts_mut(self.region.start.as_ptr(), self.len) };
        if let Some(place) = room.get_mut(at..at + octets.len()) {
            place.copy_from_slice(octets);
        }
    }
}

/// Has the kernel carry out the command that `room` begins with.
fn ask(socket: &OwnedFd, interface: &str, room: &mut Room) -> io::Result<()> {
    let data: NonNull<u8> = room.region.start;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data.as_ptr().cast() },
    };
    if interface.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, octet) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *place = octet as libc::c_char;
    }
    // SAFETY: the request is a whole `struct ifreq` and lives until the call returns. What it points to is
    // borrowed mutably, and the kernel writes there from the start on: what does not fit it meets at the pages
    // behind, which it may not write, and says EFAULT.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_counts_nothing_of_its_own_is_no_error() {
        assert_eq!(statistics("lo").unwrap(), BTreeMap::new());
        assert!(statistics("qqq0").is_err());
        assert!(statistics("a-name-longer-than-fits").is_err());
    }

    #[test]
    fn what_an_answer_has_no_room_for_ends_at_closed_pages() {
        let mut room = Room::new(20).unwrap();
        room.put(16, &7u32.to_ne_bytes());
        room.put(17, &[1; 8]);
        assert_eq!((room.word(16), room.word(18), room.get(20, 1)), (7, 0, &[][..]));
        let size = room.region.len.get();
        assert_eq!(size, 2 * GUARD);
        // What the kernel is to write across the end it refuses to write.
        let end = GUARD - 4;
        let (_reader, writer) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&writer, &[1; 64]).unwrap();
        // SAFETY: the kernel writes up to the closed pages, all of which are this region's.
        let read = unsafe {
            libc::read(_reader.as_raw_fd(), room.region.start.as_ptr().add(end).cast(), 64)
        };
        assert!(read <= 4, "{read}");
    }
}
