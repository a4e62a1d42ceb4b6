//! Zones in presentation format: absolute names, one record per line, canonical order.

use super::cursor::Fields;
use super::lexer::Lexer;
use super::well_formed::well_formed;
use super::{scanner, show, svcb};
use crate::zone::name::write_name;
use crate::zone::{Rtype, Zone};
use data_encoding::HEXLOWER;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::rdata::ZoneRecordData;
use std::fmt::Write as _;
use std::io;

/// Writes a zone so that any name server, and [`super::parse`], reads it back. The SOA record comes
/// first; RDATA is written by `domain` where it knows the type, or by the table of field kinds if
/// other tools know the type, else as RFC 3597 section 5 has it.
/// RRSIG records get the TTL of the RRset that they cover (RFC 4034 section 3).
pub fn write(zone: &Zone, out: &mut impl io::Write) -> io::Result<()> {
    let mut line = String::new();
    let mut name = String::new();
    if let Some(soa) = zone.soa() {
        for rdata in soa.rdatas() {
            record(&mut line, &zone.apex().to_string(), Rtype::SOA, soa.ttl(), rdata);
            out.write_all(line.as_bytes())?;
        }
    }
    for owner in zone.owners() {
        name.clear();
        // A `String` takes everything.
        let _ = write_name(&mut name, owner.name());
        let at_apex = owner.name() == zone.apex().as_wire();
        for rrset in owner.rrsets() {
            if at_apex && rrset.rtype() == Rtype::SOA {
                continue;
            }
            for rdata in rrset.rdatas() {
                let ttl = owner.record_ttl(&rrset, rdata);
                record(&mut line, &name, rrset.rtype(), ttl, rdata);
                out.write_all(line.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// One record as [`write()`] writes it, with its line end: the owner is in wire format, RDATA
/// uncompressed.
pub fn write_record(owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]) -> String {
    let (mut line, mut name) = (String::new(), String::new());
    let _ = write_name(&mut name, owner);
    record(&mut line, &name, rtype, ttl, rdata);
    line
}

fn record(line: &mut String, owner: &str, rtype: Rtype, ttl: u32, rdata: &[u8]) {
    line.clear();
    let _ = write!(line, "{owner}\t{ttl}\tIN\t{rtype}\t");
    let start = line.len();
    // What does not read back the same, whoever is to blame, is written octet by octet, and its
    // type by number: not every tool knows every mnemonic.
    if !(presentation(line, rtype, rdata) && reads_as(&line[start..], rtype, rdata)) {
        line.clear();
        let space = if rdata.is_empty() { "" } else { " " };
        let _ = write!(line, "{owner}\t{ttl}\tIN\tTYPE{}\t\\# {}{space}", rtype.0, rdata.len());
        HEXLOWER.encode_append(rdata, line);
    }
    line.push('\n');
}

/// Writes RDATA in the presentation format of its type; false if there is none.
fn presentation(line: &mut String, rtype: Rtype, rdata: &[u8]) -> bool {
    if matches!(rtype, SVCB | HTTPS) {
        return well_formed(rtype, rdata) && svcb::write(rdata, line).is_ok();
    }
    if rtype == Rtype::RRSIG {
        // NSD 4.6 does not read times in seconds, as `domain` writes them.
        return show::write(line, rtype, rdata).is_some();
    }
    match scanner::parse(rtype, rdata) {
        None | Some(ZoneRecordData::Unknown(_)) => show::write(line, rtype, rdata).is_some(),
        Some(parsed) => write!(line, "{}", parsed.display_zonefile(DisplayKind::Simple)).is_ok(),
    }
}

const SVCB: Rtype = Rtype(64);
const HTTPS: Rtype = Rtype(65);

/// Whether a text is read as this RDATA.
fn reads_as(text: &str, rtype: Rtype, rdata: &[u8]) -> bool {
    let (mut tokens, mut read, mut types) = (Vec::new(), Vec::new(), Vec::new());
    // The lexer is for entries of less than 4 GiB; RDATA is far below that in any notation.
    let Ok(Some(entry)) = Lexer::new(text.as_bytes()).next_entry(&mut tokens) else {
        return false;
    };
    let fields = &mut Fields {
        text: text.as_bytes(),
        tokens: &tokens,
        next: 0,
        origin: &[0],
        out: &mut read,
        end: entry.end,
        types: &mut types,
    };
    fields.read(rtype).is_ok() && read == rdata
}
