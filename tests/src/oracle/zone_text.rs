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
    ("eid-nimloc", "dnspython", "2.3 has no EID and NIMLOC"),
    ("generate-before-blank-owner", "dnspython", "gives the record to the last name made"),
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

/// Broken zones that named-compilezone is not asked about, or takes: file, reason.
const NOT_BROKEN_TO_NAMED: &[(&str, &str)] = &[
    ("carriage-return-alone", "it takes it for a line end"),
    ("dname-names-below", "it serves them not and says nothing; RFC 6672 section 2.4 forbids them"),
    ("generate-too-many", "not asked: it has no bound and makes 2^31 records"),
    ("include-itself", "not asked: it has no bound but that of open files"),
    ("owner-out-of-zone", "it leaves them out with a warning"),
    ("ttl-above-31-bits", "it makes them 0 with a warning"),
];

fn zones() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/zones")
}

/// The apex of all zones here.
pub(super) fn apex() -> Name {
    Name::from_wire(b"\x07example\x00").expect("a name")
}

/// The zone files of a folder, in the order of their names.
pub(super) fn files(folder: &str) -> Result<Vec<(String, PathBuf)>> {
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
pub(super) fn records(zone: &Zone) -> BTreeSet<String> {
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
pub(super) fn named(path: &Path) -> Result<Zone> {
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

/// Who reads a file independently of us.
type Oracle = fn(&Path) -> Result<Zone>;

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
        let oracles: [(&str, Oracle); 2] = [("named", named), ("dnspython", dnspython)];
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

/// Every broken zone is refused at the line and column and with the words that its first line
/// names (`; expect LINE:COLUMN: MESSAGE`, with `FILE:` before if it is an included one), and
/// named-compilezone refuses it too.
pub fn broken_zones_are_refused_where_the_fault_is() -> Result<()> {
    let mut complaints = String::new();
    for (name, path) in files("broken")? {
        let text = std::fs::read(&path)?;
        // UTF-16 is one of the faults; its expectation stands there without the NULs.
        let text: Vec<u8> = text.into_iter().filter(|&octet| octet != 0).collect();
        let text = String::from_utf8(text)?;
        let first = text.lines().next().unwrap_or_default();
        let expected = first.strip_prefix("; expect ").with_context(|| name.clone())?;
        let folder = path.parent().context("a folder")?;
        let Err(error) = text::read(&path, &apex(), Options::default()) else {
            writeln!(complaints, "{name}: taken, but expected: {expected}")?;
            continue;
        };
        let file = Path::new(&error.place.file).strip_prefix(folder).unwrap_or(Path::new(""));
        let file = file.to_string_lossy();
        let prefix =
            if error.included_from.is_empty() { String::new() } else { format!("{file}:") };
        let place = match error.place.line {
            0 => String::new(),
            line => format!("{prefix}{line}:{}: ", error.place.column),
        };
        let folder_prefix = format!("{}/", folder.display());
        let found = format!("{place}{}", error.message.replace(&folder_prefix, ""));
        if !found.starts_with(expected) {
            writeln!(complaints, "{name}: expected {expected}\n  found {found}\n{error}")?;
        }
        if error.place.line > 0 {
            let shown = error.to_string();
            let caret = shown
                .lines()
                .find(|line| line.trim_start_matches(' ').starts_with("| "))
                .is_some_and(|line| line.ends_with('^'));
            if !caret || !shown.contains(&*error.source_line) {
                writeln!(complaints, "{name}: no caret under the column in\n{shown}")?;
            }
        }
        let listed = NOT_BROKEN_TO_NAMED.iter().any(|item| item.0 == name);
        if !listed && named(&path).is_ok() {
            writeln!(complaints, "{name}: named takes it")?;
        }
    }
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}

/// What is written reads back equal, here and in named-compilezone, and its checkers take it.
pub fn what_is_written_reads_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut complaints = String::new();
    for (name, path) in files("text")? {
        let zone = text::read(&path, &apex(), Options::default())?;
        let written = folder.path().join(format!("{name}.zone"));
        let mut out = Vec::new();
        text::write(&zone, &mut out)?;
        std::fs::write(&written, &out)?;
        let again =
            text::read(&written, &apex(), Options::default()).with_context(|| name.clone())?;
        if records(&zone) != records(&again) {
            writeln!(
                complaints,
                "{name}: reads back differently:\n{}",
                String::from_utf8_lossy(&out)
            )?;
        }
        if WANTS_DNSKEY.contains(&&name[..]) {
            continue;
        }
        match named(&written) {
            Ok(theirs) if records(&theirs) == records(&zone) => {}
            Ok(_) => writeln!(complaints, "{name}: named reads it back differently")?,
            Err(error) => writeln!(complaints, "{name}: named refuses: {error}")?,
        }
        let file = format!("{name}.zone");
        let tools: [(&str, &[&str]); 2] =
            [("ldns-read-zone", &[&file]), ("kzonecheck", &["-o", "example", &file])];
        for (tool, arguments) in tools {
            if REFUSED_WHEN_WRITTEN.iter().any(|item| item.0 == name && item.1 == tool) {
                continue;
            }
            if let Err(error) = run(folder.path(), tool, arguments) {
                writeln!(complaints, "{name}: {error}")?;
            }
        }
    }
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}

/// Written zones that a tool refuses and may: file, tool, reason.
const REFUSED_WHEN_WRITTEN: &[(&str, &str, &str)] =
    &[("obsolete-mail", "kzonecheck", "3.2 does not know MB, MG and MR by name")];

/// Zones whose CDS records named-compilezone wants a DNSKEY record for.
const WANTS_DNSKEY: &[&str] = &["cds-cdnskey"];

/// Runs a tool; an error has what it said.
fn run(folder: &Path, tool: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(tool)
        .current_dir(folder)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {tool}"))?;
    ensure!(
        output.status.success(),
        "{tool} {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A zone with every kind of answer, signed by dnssec-signzone with NSEC and with NSEC3, is read
/// and written, and then still passes all checkers.
pub fn signed_zones_pass_the_checkers() -> Result<()> {
    let text = "$TTL 1h\n\
        @ IN SOA ns hostmaster 2026112401 2h 15m 2w 5m\n@ IN NS ns\n@ MX 10 @\n\
        @ TXT \"quotes \\\" and \\\\ and \\200\" two\n@ CAA 0 issue \"ca.example.net\"\n\
        @ A 192.0.2.1\nns A 192.0.2.53\n ns AAAA 2001:db8::53\n\
        www 300 CNAME @\n* TXT wild\na.b.c A 192.0.2.3\nsub NS ns.sub\nns.sub A 192.0.2.54\n\
        safe NS ns.safe\nns.safe A 192.0.2.55\n\
        safe DS 60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A\n\
        old DNAME new\n_sip._tcp SRV 0 5 5060 sip.example.org.\nsip\\.1 A 192.0.2.9\n\
        _443._tcp TLSA 3 1 1 0C72AC70B745AC19998811B131D662C9AC69DBDBE7CB23E5B514B56664C5D3D6\n\
        svc HTTPS 1 . alpn=\"h2,h3\" ipv4hint=192.0.2.1 no-default-alpn key65399=x\n\
        loc LOC 52 22 23.000 N 4 53 32.000 E -2.00m\nuri URI 10 1 \"ftp://ftp.example/\"\n\
        apl APL 1:192.168.32.0/21 !1:192.168.38.0/28\nnew TYPE65400 \\# 3 abcdef\n"
        .replace("\n ns AAAA", "\n AAAA");
    for denial in ["nsec", "nsec3"] {
        let folder = tempfile::tempdir()?;
        let folder = folder.path();
        std::fs::write(folder.join("plain"), &text)?;
        for arguments in [&["-a", "13", "example"][..], &["-a", "13", "-f", "KSK", "example"]] {
            run(folder, "dnssec-keygen", &[&["-q"], arguments].concat())?;
        }
        let mut arguments = vec!["-S", "-q", "-o", "example", "-f", "signed"];
        if denial == "nsec3" {
            arguments.extend(["-3", "-", "-H", "0"]);
        }
        arguments.push("plain");
        run(folder, "dnssec-signzone", &arguments)?;
        let zone = text::read(&folder.join("signed"), &apex(), Options::default())?;
        ensure!(records(&zone) == records(&named(&folder.join("signed"))?), "read differently");
        let mut out = Vec::new();
        text::write(&zone, &mut out)?;
        std::fs::write(folder.join("written"), &out)?;
        let again = text::read(&folder.join("written"), &apex(), Options::default())?;
        ensure!(records(&zone) == records(&again), "{denial}: reads back differently");
        run(folder, "dnssec-verify", &["-q", "-o", "example", "written"])?;
        run(folder, "ldns-verify-zone", &["written"])?;
        run(folder, "kzonecheck", &["-o", "example", "-d", "on", "written"])?;
        run(folder, "named-checkzone", &["-q", "-i", "none", "example", "written"])?;
    }
    Ok(())
}
