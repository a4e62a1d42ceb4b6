//! The zone reader and writer against named-compilezone and dnspython, on the tiny zones of
//! `tests/zones/text` (each one feature) and `tests/zones/broken` (each one fault).

use anyhow::{Context, Result, bail, ensure};
use sealdns::zone::text::{self, Options};
use sealdns::zone::{Name, Rtype, Zone, ZoneBuilder};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where an oracle reads a file differently and may: file, oracle, reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("a6", "dnspython", "2.3 has no A6"),
    ("atma", "dnspython", "2.3 has no ATMA"),
    ("byte-order-mark", "dnspython", "does not skip it when it opens the file itself"),
    ("byte-order-mark", "named", "does not skip it"),
    ("cds-cdnskey", "named", "wants the DNSKEY of a CDS in the zone, whatever its checks are"),
    ("dnskey", "dnspython", "2.3 has no KEY"),
    ("doa", "dnspython", "2.3 has no DOA"),
    ("dsync", "dnspython", "2.3 has no DSYNC"),
    ("dsync", "named", "9.18 has no DSYNC"),
    ("eid-nimloc", "dnspython", "2.3 has no EID and NIMLOC"),
    ("generate-formats", "dnspython", "knows neither $$ nor several bases in one template"),
    ("generate-quoted", "dnspython", "wants the RDATA of $GENERATE bare"),
    ("https-dohpath", "dnspython", "2.3 has no dohpath"),
    ("include", "dnspython", "takes the argument of $ORIGIN for absolute"),
    ("include-nested", "dnspython", "opens included files in the working directory"),
    ("include-nested-from-the-top", "dnspython", "takes the argument of $ORIGIN for absolute"),
    ("include-nested", "named", "opens included files in the working directory"),
    ("include-origin", "dnspython", "takes the argument of $ORIGIN for absolute"),
    ("minfo", "dnspython", "2.3 has no MINFO"),
    ("obsolete-mail", "dnspython", "2.3 has no MB, MG and MR"),
    ("origin-changes", "dnspython", "takes the argument of $ORIGIN for absolute"),
    ("owner-utf8", "dnspython", "makes an IDNA A-label of it; RFC 1035 has octets as they are"),
    ("resinfo", "dnspython", "2.3 has no RESINFO"),
    ("rkey", "dnspython", "2.3 has no RKEY"),
    ("sink", "dnspython", "2.3 has no SINK"),
    ("ta-dlv", "dnspython", "2.3 has no DLV in presentation format"),
    ("talink", "dnspython", "2.3 has no TALINK"),
    ("ttl-class-orders", "dnspython", "takes the TTL before the class only"),
    ("ttl-missing-last-ttl", "dnspython", "prefers the SOA's MINIMUM to the last TTL of RFC 1035"),
    ("ttl-units", "dnspython", "takes the TTL before the class only"),
    ("wallet", "dnspython", "2.3 has no WALLET"),
];

/// Broken zones that an oracle takes: file, reason.
const TAKEN_BY_NAMED: &[(&str, &str)] = &[];

fn zones() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/zones")
}

/// The apex of all zones here.
fn apex() -> Name {
    Name::from_wire(b"\x07example\x00").expect("a name")
}

/// The zone files of a folder, in the order of their names.
fn files(folder: &str) -> Result<Vec<(String, PathBuf)>> {
    let folder = zones().join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "zone") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.push((stem, path));
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "no zones in {}", folder.display());
    Ok(found)
}

/// The records of a zone, one per line, in hexadecimal digits; the TTL of RRSIG RRsets is left out
/// because it is that of each record's covered RRset.
fn records(zone: &Zone) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for owner in zone.owners() {
        for rrset in owner.rrsets() {
            for rdata in rrset.rdatas() {
                let ttl = if rrset.rtype() == Rtype::RRSIG { 0 } else { rrset.ttl() };
                let (owner, rtype) = (hex(owner.name()), rrset.rtype());
                lines.insert(format!("{owner} {ttl} {rtype} {}", hex(rdata)));
            }
        }
    }
    lines
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits = text.as_bytes();
    ensure!(digits.len().is_multiple_of(2), "odd hexadecimal digits: {text}");
    digits.chunks(2).map(|pair| Ok(u8::from_str_radix(str::from_utf8(pair)?, 16)?)).collect()
}

/// What named-compilezone makes of a file, as a zone.
fn named(path: &Path) -> Result<Zone> {
    let folder = tempfile::tempdir()?;
    let raw = folder.path().join("raw");
    let output = Command::new("named-compilezone")
        .current_dir(path.parent().context("a folder")?)
        .args(["-q", "-i", "none", "-k", "ignore", "-m", "ignore", "-n", "ignore", "-r", "ignore"])
        .args(["-M", "ignore", "-S", "ignore", "-T", "ignore", "-F", "raw=1", "-o"])
        .arg(&raw)
        .args(["example"])
        .arg(path)
        .output()
        .context("named-compilezone (Debian package bind9-utils)")?;
    if !output.status.success() {
        // It is quiet above; ask again why.
        let why = Command::new("named-compilezone")
            .current_dir(path.parent().context("a folder")?)
            .args(["-i", "none", "-k", "ignore", "-o", "/dev/null", "example"])
            .arg(path)
            .output()?;
        bail!("{}", String::from_utf8_lossy(&why.stdout).trim());
    }
    zone_of_raw(&std::fs::read(&raw)?)
}

/// BIND's raw format, version 1: a header of 24 octets, then per RRset its length, class, type,
/// covered type, TTL, number of records, owner, and the RDATA, all numbers big-endian.
fn zone_of_raw(raw: &[u8]) -> Result<Zone> {
    let mut builder = ZoneBuilder::new(apex());
    let mut rest = raw.get(24..).context("a header")?;
    fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
        let (taken, after) = rest.split_at_checked(length).context("cut short")?;
        *rest = after;
        Ok(taken)
    }
    fn number(rest: &mut &[u8], length: usize) -> Result<usize> {
        Ok(take(rest, length)?.iter().fold(0, |value, &octet| value << 8 | usize::from(octet)))
    }
    while !rest.is_empty() {
        let _length = number(&mut rest, 4)?;
        let _class = number(&mut rest, 2)?;
        let rtype = Rtype(number(&mut rest, 2)? as u16);
        let _covered = number(&mut rest, 2)?;
        let ttl = number(&mut rest, 4)? as u32;
        let count = number(&mut rest, 4)?;
        let owner_len = number(&mut rest, 2)?;
        let owner = take(&mut rest, owner_len)?;
        for _ in 0..count {
            let length = number(&mut rest, 2)?;
            builder.push(owner, rtype, ttl, take(&mut rest, length)?)?;
        }
    }
    Ok(builder.finish()?)
}

/// Prints each record of a file as owner, type, TTL and RDATA in hexadecimal digits.
const DNSPYTHON: &str = r#"
import sys, dns.name, dns.zone
zone = dns.zone.from_file(sys.argv[1], dns.name.from_text("example."), relativize=False,
                          allow_include=True, check_origin=False)
for name, rdataset in zone.iterate_rdatasets():
    for rdata in rdataset:
        print(name.to_wire().hex(), int(rdataset.rdtype), rdataset.ttl, "-" + rdata.to_wire().hex())
"#;

/// What dnspython makes of a file, as a zone.
fn dnspython(path: &Path) -> Result<Zone> {
    let output = Command::new("/usr/bin/python3")
        .current_dir(path.parent().context("a folder")?)
        .args(["-c", DNSPYTHON])
        .arg(path)
        .output()
        .context("/usr/bin/python3 with dnspython (Debian package python3-dnspython)")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{}", why.lines().last().unwrap_or_default());
    }
    let mut builder = ZoneBuilder::new(apex());
    for line in String::from_utf8(output.stdout)?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [owner, rtype, ttl, rdata] = words[..] else { bail!("not a record: {line}") };
        let rdata = unhex(rdata.trim_start_matches('-'))?;
        builder.push(&unhex(owner)?, Rtype(rtype.parse()?), ttl.parse()?, &rdata)?;
    }
    Ok(builder.finish()?)
}

/// Reads each zone with each oracle and compares the records octet by octet.
pub fn zones_read_as_the_oracles_do() -> Result<()> {
    let mut complaints = String::new();
    let mut used = BTreeSet::new();
    for (name, path) in files("text")? {
        let ours = match text::read(&path, &apex(), Options::default()) {
            Ok(zone) => records(&zone),
            Err(error) => {
                writeln!(complaints, "{name}: refused: {error}")?;
                continue;
            }
        };
        let oracles: [(&str, fn(&Path) -> Result<Zone>); 2] =
            [("named", named), ("dnspython", dnspython)];
        for (oracle, read) in oracles {
            let complaint = match read(&path) {
                Ok(zone) => {
                    let theirs = records(&zone);
                    if theirs == ours {
                        continue;
                    }
                    let only_ours: Vec<_> = ours.difference(&theirs).collect();
                    let only_theirs: Vec<_> = theirs.difference(&ours).collect();
                    format!("only ours: {only_ours:#?}\nonly theirs: {only_theirs:#?}")
                }
                Err(error) => format!("refused: {error}"),
            };
            let listed = DIFFERENCES.iter().find(|item| item.0 == name && item.1 == oracle);
            match listed {
                Some(item) => drop(used.insert((item.0, item.1))),
                None => writeln!(complaints, "{name}: {oracle}: {complaint}")?,
            }
        }
    }
    for item in DIFFERENCES {
        if !used.contains(&(item.0, item.1)) {
            writeln!(complaints, "{} no longer differs from {}", item.0, item.1)?;
        }
    }
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}
