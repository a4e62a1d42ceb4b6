//! A zone as a sequence of records that are kept, as versions of sealdns wrote it before `stored_arrays.rs`.
//!
//! Numbers are big-endian. The apex, then each owner that has RRsets, then a zero:
//!
//! | octets | what |
//! |---|---|
//! | 1, n | length of the owner name, and the name |
//! | 4 | how many RRsets |
//! | 2, 4, 4 | of each its type, TTL, and how many records |
//! | 2, n | of each record the length of its RDATA, and the RDATA |

use std::io::{self, ErrorKind, Read, Write};

use super::name::{Name, is_at_or_below, wire_name_len};
use super::rtype::Rtype;
use super::tree::Zone;
#[cfg(test)]
use super::version::Version;
use super::writer::ZoneWriter;

/// Writes a zone without what stands beside it.
#[cfg(test)]
pub fn write(zone: &Version, out: &mut impl Write) -> io::Result<()> {
    write_name(zone.apex().as_wire(), out)?;
    for owner in zone.owners() {
        write_name(owner.name(), out)?;
        out.write_all(&(owner.rrsets().len() as u32).to_be_bytes())?;
        for rrset in owner.rrsets() {
            out.write_all(&rrset.rtype().0.to_be_bytes())?;
            out.write_all(&rrset.ttl().to_be_bytes())?;
            out.write_all(&(rrset.len() as u32).to_be_bytes())?;
            for rdata in rrset.rdatas() {
                out.write_all(&(rdata.len() as u16).to_be_bytes())?;
                out.write_all(rdata)?;
            }
        }
    }
    out.write_all(&[0])
}

/// Reads one, and nothing behind it. What is none is an error, and takes no more memory than it
/// has octets.
pub fn read(from: &mut impl Read) -> io::Result<Zone> {
    let invalid = || io::Error::from(ErrorKind::InvalidData);
    let apex = read_name(from)?.ok_or_else(invalid)?;
    let mut writer = ZoneWriter::with_capacity(apex.clone(), 0);
    let mut rdatas = Vec::new();
    let mut ends = Vec::new();
    while let Some(owner) = read_name(from)? {
        if !is_at_or_below(owner.as_wire(), apex.as_wire()) {
            return Err(invalid());
        }
        writer.owner(owner.as_wire()).map_err(io::Error::other)?;
        for _ in 0..u32::from_be_bytes(read_array(from)?) {
            let rtype = Rtype(u16::from_be_bytes(read_array(from)?));
            let ttl = u32::from_be_bytes(read_array(from)?);
            rdatas.clear();
            ends.clear();
            for _ in 0..u32::from_be_bytes(read_array(from)?) {
                let len = u16::from_be_bytes(read_array(from)?);
                let at = rdatas.len();
                rdatas.resize(at + usize::from(len), 0);
                from.read_exact(&mut rdatas[at..])?;
                ends.push(rdatas.len());
            }
            let begins = std::iter::once(0).chain(ends.iter().copied());
            let each = begins.zip(&ends).map(|(at, &end)| &rdatas[at..end]);
            writer.rrset(rtype, ttl, each).map_err(io::Error::other)?;
        }
    }
    writer.finish().map_err(io::Error::other)
}

/// Writes a name with its length.
pub fn write_name(name: &[u8], out: &mut impl Write) -> io::Result<()> {
    // 255 at most (RFC 1035 section 3.1).
    out.write_all(&[name.len() as u8])?;
    out.write_all(name)
}

/// A name; `None` for the zero that ends a zone.
pub fn read_name(from: &mut impl Read) -> io::Result<Option<Name>> {
    let [len] = read_array(from)?;
    if len == 0 {
        return Ok(None);
    }
    let mut wire = vec![0; usize::from(len)];
    from.read_exact(&mut wire)?;
    let name = Name::from_wire(&wire).filter(|_| wire_name_len(&wire) == Some(wire.len()));
    name.map(Some).ok_or_else(|| ErrorKind::InvalidData.into())
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    from.read_exact(&mut octets)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing;

    #[test]
    fn what_is_written_is_read() {
        for hosts in [0, 1, 300] {
            let zone = testing::zone(7, hosts);
            let mut octets = Vec::new();
            write(&testing::version(7, hosts), &mut octets).unwrap();
            let mut rest = &[&octets[..], b"more"].concat()[..];
            let again = read(&mut rest).unwrap();
            assert_eq!(rest, b"more");
            assert_eq!((again.apex(), again.arrays()), (zone.apex(), zone.arrays()));
            assert_eq!((again.serial().0, again.record_count()), (7, zone.record_count()));
        }
    }

    #[test]
    fn what_is_cut_short_or_changed_does_no_harm() {
        let mut octets = Vec::new();
        write(&testing::version(7, 2), &mut octets).unwrap();
        for len in 0..octets.len() {
            assert!(read(&mut &octets[..len]).is_err(), "{len}");
        }
        for at in 0..octets.len() {
            for bit in 0..8 {
                octets[at] ^= 1 << bit;
                // An error, or a zone that can be walked over.
                if let Ok(zone) = read(&mut &octets[..]) {
                    let rdatas = zone
                        .owners()
                        .flat_map(|owner| owner.rrsets())
                        .map(|one| one.rdatas().count());
                    assert_eq!(rdatas.sum::<usize>(), zone.record_count());
                }
                octets[at] ^= 1 << bit;
            }
        }
    }
}
