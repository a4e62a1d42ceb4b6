//! A zone as octets that are kept and used where they lie: its arrays (`arrays.rs`) one after the other.
//!
//! | octets | what |
//! |---|---|
//! | 1, n | length of the apex, and the apex |
//! | 8, 8, 8 | octets of each of the three arrays |
//! | n | of each owner in canonical order: where its name lies among the names and RDATA (4), which is the first of its RRsets (4), length of its name (1) |
//! | n | of each RRset: TTL (4), where its RDATA begin (4) and end (4) among the names and RDATA, how many they are (4), type (2) |
//! | n | names and RDATA: of each owner its name, then of each record the length of its RDATA (2), and the RDATA |
//!
//! Numbers of the first two arrays are little-endian, as those who use them read them; the lengths before the arrays and
//! before each RDATA are big-endian. Nothing is aligned to anything: all is read octet by octet.

use std::io::{self, ErrorKind, Read, Write};

use bytes::{Buf, Bytes};

use super::arrays::{Arrays, OwnerEntry, RrsetEntry, Shift};
use super::error::ZoneError;
use super::stored::{read_name, write_name};
use super::tree::Zone;
use super::version::{Run, Version};

/// Writes a version without what stands beside it. It is never in memory as a whole: what changed since the flat zone is
/// laid over that once for each array.
pub fn write(zone: &Version, out: &mut impl Write) -> io::Result<()> {
    let [owners, rrsets, octets] = zone.flat_counts();
    if u32::try_from(octets).is_err() {
        return Err(io::Error::other(ZoneError::TooLarge));
    }
    write_name(zone.apex().as_wire(), out)?;
    for len in [owners * OwnerEntry::LEN, rrsets * RrsetEntry::LEN, octets] {
        out.write_all(&(len as u64).to_be_bytes())?;
    }
    for (Run { arrays, owners }, by) in shifted(zone) {
        let mut entries = arrays.owner_entries()[owners].iter().map(OwnerEntry::read);
        entries.try_for_each(|owner| out.write_all(&owner.shifted(by).write()))?;
    }
    for (Run { arrays, owners }, by) in shifted(zone) {
        let entries = &arrays.rrset_entries()[arrays.rrsets_of(owners)];
        let mut entries = entries.iter().map(RrsetEntry::read);
        entries.try_for_each(|rrset| out.write_all(&rrset.shifted(by).write()))?;
    }
    zone.runs().try_for_each(|Run { arrays, owners }| out.write_all(arrays.bytes_of(owners)))
}

/// The runs of a version, and how far each one lies from where it is in the flat zone.
fn shifted(zone: &Version) -> impl Iterator<Item = (Run<'_>, Shift)> {
    let (mut bytes, mut rrsets) = (0, 0);
    zone.runs().filter_map(move |run| {
        let first = run.arrays.owner_entries().get(run.owners.clone())?.first()?;
        let by = Shift::of(OwnerEntry::read(first), bytes, rrsets);
        // They are no more than four octets hold.
        bytes += run.arrays.bytes_of(run.owners.clone()).len() as u32;
        rrsets += run.arrays.rrsets_of(run.owners.clone()).len() as u32;
        Some((run, by))
    })
}

/// Takes a zone off the front of octets, which it shares from then on.
///
/// # Errors
/// If they are none: all that may be asked of a zone has been looked at in a walk over it.
pub fn take(from: &mut Bytes) -> io::Result<Zone> {
    let invalid = || io::Error::from(ErrorKind::InvalidData);
    let mut rest = &from[..];
    let apex = read_name(&mut rest)?.ok_or_else(invalid)?;
    let mut len = || -> io::Result<usize> {
        let mut octets = [0; 8];
        rest.read_exact(&mut octets)?;
        usize::try_from(u64::from_be_bytes(octets)).map_err(|_| invalid())
    };
    let lens = [len()?, len()?, len()?];
    from.advance(from.len() - rest.len());
    let mut array = |len| (len <= from.len()).then(|| from.split_to(len)).ok_or_else(invalid);
    let arrays = Arrays::new(array(lens[0])?, array(lens[1])?, array(lens[2])?);
    let records = arrays.records_if_sound(apex.as_wire()).ok_or_else(invalid)?;
    Zone::of_counted(apex, arrays, records).map_err(io::Error::other)
}
