//! Zones in and out of files for the commands that work offline.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use domain::base::name::ToName;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};

use crate::dnssec::rrsig::Rrsig;
use crate::zone::{Name, Rtype, Zone, ZoneBuilder};

/// Reads a name in presentation format; one without a dot at its end is absolute too.
pub fn parse_name(text: &str) -> Result<Name, String> {
    let name: domain::base::Name<Vec<u8>> =
        text.parse().map_err(|error| format!("`{text}` is not a domain name: {error}"))?;
    Name::from_wire(name.as_slice()).ok_or_else(|| format!("`{text}` is not a domain name"))
}

/// Reads a zone file. Without an apex, the owner of the first SOA record is the apex and names in
/// the file must be absolute or under an `$ORIGIN`.
pub fn read_zone(path: &Path, apex: Option<&Name>) -> anyhow::Result<Zone> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    parse_zone(&text, apex).with_context(|| path.display().to_string())
}

/// Reads a zone from the text of a zone file without `$INCLUDE`.
pub fn parse_zone(text: &[u8], apex: Option<&Name>) -> anyhow::Result<Zone> {
    let mut file = Zonefile::with_capacity(text.len() + 1);
    file.extend_from_slice(text);
    let origin = apex.map_or(&[0][..], Name::as_wire).to_vec();
    file.set_origin(domain::base::Name::from_octets(origin.into())?);
    let mut builder = apex.map(|apex| ZoneBuilder::new(apex.clone()));
    let (mut owner, mut rdata) = (Vec::new(), Vec::new());
    while let Some(entry) = file.next_entry()? {
        let Entry::Record(record) = entry else {
            bail!("$INCLUDE is not followed here");
        };
        owner.clear();
        rdata.clear();
        record.owner().compose(&mut owner)?;
        record.data().compose_rdata(&mut rdata)?;
        let rtype = Rtype(record.rtype().to_int());
        if builder.is_none() && rtype == Rtype::SOA {
            builder = Name::from_wire(&owner).map(ZoneBuilder::new);
        }
        let Some(builder) = &mut builder else {
            bail!("the first record is not an SOA record; name the zone with --zone");
        };
        builder.push(&owner, rtype, record.ttl().as_secs(), &rdata)?;
    }
    let Some(builder) = builder else { bail!("there is no record") };
    Ok(builder.finish()?)
}

/// Writes a zone file whole or not at all: beside its place first, then over what was there.
pub fn write_zone(path: &Path, zone: &Zone) -> anyhow::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = Path::new(&temporary);
    let written = (|| -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(temporary)?);
        print_zone(zone, &mut out)?;
        out.into_inner()?.sync_all()?;
        std::fs::rename(temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(temporary);
    }
    written.with_context(|| path.display().to_string())
}

/// Writes a zone in zone file format, RDATA in the form of RFC 3597 section 5.
pub fn print_zone(zone: &Zone, out: &mut impl Write) -> std::io::Result<()> {
    let mut line = String::new();
    for owner in zone.owners() {
        let mut name = String::new();
        let _ = crate::zone::name::write_name(&mut name, owner.name());
        for rrset in owner.rrsets() {
            for rdata in rrset.rdatas() {
                // The TTL of an RRSIG record is that of the RRset it covers (RFC 4034 section 3).
                let ttl = match Rrsig::parse(rdata).filter(|_| rrset.rtype() == Rtype::RRSIG) {
                    Some(rrsig) => rrsig.fields.original_ttl,
                    None => rrset.ttl(),
                };
                line.clear();
                line.push_str(&name);
                let rtype = domain::base::iana::Rtype::from_int(rrset.rtype().0);
                use std::fmt::Write;
                let _ = write!(line, "\t{ttl}\tIN\t{rtype}\t\\# {} ", rdata.len());
                for octet in rdata {
                    for digit in [octet >> 4, octet & 15] {
                        line.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                    }
                }
                line.push('\n');
                out.write_all(line.as_bytes())?;
            }
        }
    }
    Ok(())
}
