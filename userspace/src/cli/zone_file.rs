//! Zones in and out of files for the commands that work offline.

use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, bail};

use crate::files;
use crate::zone::text::{self, Options};
use crate::zone::{Name, Zone};

/// Reads a zone file. Without an apex, it is the owner of the SOA record, which must be written
/// in full in the file itself.
pub fn read_zone(path: &Path, apex: Option<&Name>) -> anyhow::Result<Zone> {
    let apex = match apex {
        Some(apex) => apex.clone(),
        None => {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            match soa_owner(&String::from_utf8_lossy(&text)) {
                Some(apex) => apex,
                None => bail!("{}: name the zone with --zone", path.display()),
            }
        }
    };
    Ok(text::read(path, &apex, Options::default())?)
}

/// The owner of the first SOA record if it is an absolute name, or `@` behind `$ORIGIN` with one.
fn soa_owner(text: &str) -> Option<Name> {
    let mut origin = None;
    for line in text.lines().filter(|line| !line.starts_with(';')) {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next().filter(|_| !line.starts_with([' ', '\t'])) else { continue };
        if first.eq_ignore_ascii_case("$ORIGIN") {
            origin = words.next();
            continue;
        }
        // Owner, then TTL and class in either order or not at all, then the type.
        if words.take(3).any(|word| word.eq_ignore_ascii_case("SOA")) {
            let owner = if first == "@" { origin? } else { first };
            return owner.ends_with('.').then(|| owner.parse().ok()).flatten();
        }
    }
    None
}

/// Reads a zone from the text of a zone file without `$INCLUDE`.
pub fn parse_zone(text: &[u8], apex: &Name) -> anyhow::Result<Zone> {
    let mut none = |_: &str| Err(std::io::ErrorKind::Unsupported.into());
    Ok(text::parse(text.to_vec(), "zone", apex, Options::default(), &mut none)?.zone)
}

/// Writes a zone file whole or not at all: beside its place first, then over what was there.
pub fn write_zone(path: &Path, zone: &Zone) -> anyhow::Result<()> {
    let written = files::replace_with(path, 0o666, |out| text::write(zone, out));
    written.with_context(|| path.display().to_string())
}

/// Writes a zone to standard output.
pub fn print_zone(zone: &Zone) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    text::write(zone, &mut out)?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_names_itself_by_its_soa() {
        let apex = |text: &str| soa_owner(text).map(|apex| apex.to_string());
        let found = Some("a.example.".to_string());
        assert_eq!(apex("; SOA\n$TTL 1h\na.example. 60 IN SOA a. b. 1 2 3 4 5\n"), found);
        assert_eq!(apex("$ORIGIN a.example.\n@ SOA a. b. (\n 1 2 3 4 5)\n"), found);
        assert_eq!(apex("@ SOA a. b. 1 2 3 4 5\n"), None);
        assert_eq!(apex("a SOA a. b. 1 2 3 4 5\n"), None);
    }
}
