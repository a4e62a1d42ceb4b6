//! Tests of reading and writing: what errors look like, includes, and properties.

use super::well_formed::well_formed;
use super::{Options, ReadError, ReadZone, parse, write};
use crate::zone::{Name, Rtype, Zone, ZoneBuilder};
use proptest::prelude::*;
use std::collections::HashMap;
use std::io;
use std::sync::LazyLock;

const HEAD: &str = "$TTL 3600\n@ SOA ns host 1 7200 900 1209600 300\n@ NS ns\nns A 192.0.2.53\n";

fn apex() -> Name {
    Name::from_wire(b"\x07example\x00").unwrap()
}

/// Reads `files[0]`, with the others to include.
fn read_files(files: &[(&str, &[u8])]) -> Result<ReadZone, ReadError> {
    let texts: HashMap<&str, &[u8]> = files.iter().copied().collect();
    let mut loader = |path: &str| {
        texts.get(path).map(|text| text.to_vec()).ok_or(io::ErrorKind::NotFound.into())
    };
    parse(files[0].1.to_vec(), files[0].0, &apex(), Options::default(), &mut loader)
}

fn read(text: &str) -> Result<ReadZone, ReadError> {
    read_files(&[("example.zone", text.as_bytes())])
}

fn written(zone: &Zone) -> String {
    let mut out = Vec::new();
    write(zone, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_error_shows_place_line_caret_and_the_files_above() {
    let top = format!("{HEAD}$INCLUDE \"zones/a.inc\"\n");
    let files: &[(&str, &[u8])] = &[
        ("etc/example.zone", top.as_bytes()),
        ("etc/zones/a.inc", b"a A 192.0.2.1\n\n$INCLUDE b.inc\n"),
        ("etc/zones/b.inc", b"\tTXT ok\nm\xc3\xbcn\tMX\tten mail ; preference?\n"),
    ];
    let error = read_files(files).err().unwrap();
    let expected = "MX: \"ten\" is not a number from 0 to 65535\n \
                    --> etc/zones/b.inc:2:8\n  |\n\
                    2 | mün\tMX\tten mail ; preference?\n  |    \t  \t^\n  \
                    = included from etc/zones/a.inc:3\n  \
                    = included from etc/example.zone:5";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn includes_keep_origin_and_owner_apart() {
    let top = format!("{HEAD}$INCLUDE a.inc sub\n TXT of-ns\nb A 192.0.2.2\n");
    let inc = b"$ORIGIN deeper\nx A 192.0.2.1\n";
    let loaded = read_files(&[("z", top.as_bytes()), ("a.inc", inc)]).unwrap();
    let text = written(&loaded.zone);
    assert!(text.contains("x.deeper.sub.example.\t") && text.contains("b.example.\t"), "{text}");
    assert!(text.contains("ns.example.\t3600\tIN\tTXT"), "{text}");
    assert_eq!(loaded.files, ["z", "a.inc"]);
}

#[test]
fn includes_end() {
    // Each file includes the next twice: 2^15 files if nothing bounds them.
    let texts: Vec<(String, String)> = (0..16)
        .map(|depth| {
            let next = format!("$INCLUDE f{}\n$INCLUDE f{}\n", depth + 1, depth + 1);
            (format!("f{depth}"), if depth < 15 { next } else { String::new() })
        })
        .collect();
    let files: Vec<(&str, &[u8])> =
        texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let error = read_files(&files).err().unwrap();
    assert!(error.message.contains("more than 10000 files"), "{error}");
    let deep: Vec<(String, String)> =
        (0..20).map(|depth| (format!("f{depth}"), format!("$INCLUDE f{}\n", depth + 1))).collect();
    let files: Vec<(&str, &[u8])> =
        deep.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let error = read_files(&files).err().unwrap();
    assert!(error.message.contains("deeper than 16"), "{error}");
    assert_eq!(error.included_from.len(), 16);
}

#[test]
fn oddities_are_warned_of() {
    let text = format!("{HEAD}w 60 A 192.0.2.1\nw 30 A 192.0.2.2\nv A 192.0.2.1\nV A 192.0.2.1\n");
    let loaded = read(&text).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "example.zone:6:1: w.example.: the TTL differs from that of another record of its \
             RRset; the lowest holds (the other is on line 5)",
            "example.zone:8:1: v.example.: the record is a duplicate (the other is on line 7)",
        ]
    );
    let w = loaded.zone.find(b"\x01w\x07example\x00").unwrap().rrset(Rtype::A).unwrap();
    assert_eq!(w.ttl(), 30);
}

#[test]
fn an_empty_file_has_no_soa() {
    for text in ["", "\n", "; nothing\n", "\u{feff}", "()"] {
        let error = read(text).err().unwrap();
        assert_eq!(error.place.line, 0, "{error}");
        assert!(error.message.contains("no SOA"), "{error}");
    }
}

#[test]
fn the_default_ttl_of_the_options_comes_last() {
    let text = "@ NS ns\n@ 600 SOA ns host 1 7200 900 1209600 300\n";
    let options = Options { default_ttl: Some(77) };
    let mut none = |_: &str| Err(io::ErrorKind::NotFound.into());
    let loaded = parse(text.into(), "z", &apex(), options, &mut none).unwrap();
    let apex_records = loaded.zone.find(apex().as_wire()).unwrap();
    assert_eq!(apex_records.rrset(Rtype::NS).unwrap().ttl(), 77);
    assert_eq!(read(text).err().unwrap().place.line, 1);
}

/// A name of one to three labels of any octets below the apex.
fn owners() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..4).prop_map(
        |labels| {
            let mut wire = Vec::new();
            for label in labels {
                wire.push(label.len() as u8);
                wire.extend(label);
            }
            wire.extend_from_slice(apex().as_wire());
            wire
        },
    )
}

/// A type that may stand beside others, and RDATA that has its form.
fn rdatas() -> impl Strategy<Value = (Rtype, Vec<u8>)> {
    let types = proptest::sample::select(vec![
        1u16, 2, 12, 13, 15, 16, 17, 18, 24, 28, 29, 33, 35, 36, 37, 42, 43, 44, 45, 46, 47, 48,
        50, 51, 52, 53, 55, 60, 61, 62, 63, 64, 65, 99, 104, 108, 256, 257, 260, 65400,
    ]);
    // Names, strings and lengths that random octets would hardly make.
    let pieces = proptest::collection::vec(
        prop_oneof![
            Just(b"\x01A\x02\x00.\x00".to_vec()),
            Just(b"\x05a\"\\b;\x00".to_vec()),
            Just(b"\x00\x01\x00\x03\x02h2".to_vec()),
            Just(b"\x00".to_vec()),
            Just(b"\x00\x06\x40\x01\x00\x00\x00\x03".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..6),
            proptest::collection::vec(0u8..8, 0..4),
        ],
        0..7,
    );
    (types, pieces).prop_map(|(rtype, pieces)| {
        let rtype = Rtype(rtype);
        let rdata = pieces.concat();
        // What is not RDATA of the type is that of an unknown one.
        if well_formed(rtype, &rdata) { (rtype, rdata) } else { (Rtype(65401), rdata) }
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_equal(
        records in proptest::collection::vec((owners(), rdatas(), 0u32..=i32::MAX as u32), 0..40)
    ) {
        let mut builder = ZoneBuilder::new(apex());
        let soa = b"\x02ns\x00\x04mail\x00\x00\x00\x00\x07\x00\x00\x0e\x10\x00\x00\x03\x84\x00\x09\x3a\x80\x00\x00\x00\x3c";
        builder.push(apex().as_wire(), Rtype::SOA, 3600, soa).unwrap();
        builder.push(apex().as_wire(), Rtype::NS, 3600, b"\x02ns\x00").unwrap();
        for (owner, (rtype, rdata), ttl) in &records {
            builder.push(owner, *rtype, *ttl, rdata).unwrap();
        }
        let zone = builder.finish().unwrap();
        let text = written(&zone);
        let again = read(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(again.zone.record_count(), zone.record_count());
        for owner in zone.owners() {
            let found = again.zone.find(owner.name()).unwrap();
            for rrset in owner.rrsets() {
                let read = found.rrset(rrset.rtype()).unwrap();
                prop_assert!(read.rdatas().eq(rrset.rdatas()));
                if rrset.rtype() != Rtype::RRSIG {
                    prop_assert_eq!(read.ttl(), rrset.ttl());
                }
            }
        }
        // The TTL of an RRSIG that covers nothing is not kept apart from that of the others.
        if !records.iter().any(|(_, (rtype, _), _)| *rtype == Rtype::RRSIG) {
            prop_assert_eq!(written(&again.zone), text);
        }
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = [HEAD.as_bytes(), &octets].concat();
        if let Err(error) = read_files(&[("z", &octets), ("z", &text)]) {
            prop_assert!(!error.to_string().is_empty());
        }
        let _ = read_files(&[("z", &text)]).map_err(|error| error.to_string());
    }

    /// The fixtures with a few octets changed, taken out or put in.
    #[test]
    fn damaged_fixtures_are_read_or_refused(
        file in any::<proptest::sample::Index>(),
        edits in proptest::collection::vec(
            (any::<proptest::sample::Index>(), 0usize..3, proptest::sample::select(WORDS)), 1..4)
    ) {
        let mut text = file.get(&FIXTURES).clone();
        for (at, edit, word) in edits {
            let at = at.index(text.len().max(1)).min(text.len());
            let until = (at + edit * word.len()).min(text.len());
            text.splice(at..until, if edit == 1 { &[] } else { word.as_bytes() }.iter().copied());
        }
        if let Ok(loaded) = read_files(&[("z", &text)]) {
            let again = written(&loaded.zone);
            prop_assert!(read(&again).is_ok(), "{}", again);
        }
    }

    /// Words of master files in any order reach further than random octets.
    #[test]
    fn any_words_are_read_or_refused(
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)
    ) {
        let text = [HEAD, &words.concat()].concat();
        let inc = words[words.len() / 2..].concat();
        match read_files(&[("z", text.as_bytes()), ("inc", inc.as_bytes())]) {
            Ok(loaded) => {
                let again = written(&loaded.zone);
                prop_assert!(read(&again).is_ok(), "{}", again);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    /// The order of owners that sorting uses is the canonical one.
    #[test]
    fn zones_are_in_canonical_order(
        owners in proptest::collection::vec(owners(), 0..30)
    ) {
        let mut builder = ZoneBuilder::new(apex());
        for owner in &owners {
            builder.push(owner, Rtype::A, 60, &[192, 0, 2, 1]).unwrap();
        }
        let soa = b"\x00\x00\x00\x00\x00\x07\x00\x00\x0e\x10\x00\x00\x03\x84\x00\x09\x3a\x80\x00\x00\x00\x3c";
        builder.push(apex().as_wire(), Rtype::SOA, 3600, soa).unwrap();
        let zone = builder.finish().unwrap();
        let names: Vec<Name> =
            zone.owners().map(|owner| Name::from_wire(owner.name()).unwrap()).collect();
        prop_assert!(names.is_sorted_by(|a, b| a < b));
    }
}

/// The zones that the oracle tests read.
static FIXTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/zones/text");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let paths = paths.iter().filter(|path| path.is_file());
    paths.map(|path| std::fs::read(path).unwrap()).collect()
});

/// What master files are made of, and what breaks them.
const WORDS: &[&str] = &[
    " ",
    "\n",
    "\n",
    "\t",
    "\r\n",
    "(",
    ")",
    "\"",
    ";",
    "\\",
    "@",
    ".",
    "www",
    "a.b",
    "$TTL ",
    "$ORIGIN ",
    "\n$INCLUDE inc\n",
    "\n$GENERATE ",
    "1-3 ",
    "h$ ",
    "${0,3,x}",
    " IN ",
    " A ",
    "192.0.2.1",
    " AAAA ",
    "::1",
    " MX ",
    "10 ",
    " TXT ",
    "\"a b\"",
    "\\065",
    "\\# ",
    "2 ",
    "00ff",
    " SVCB ",
    "1 . alpn=",
    "h2",
    "key9=",
    "mandatory=",
    " LOC ",
    "1 N 2 E 3m",
    " APL ",
    "1:0.0.0.0/0 ",
    " NSEC ",
    " NSEC3 1 0 0 - ",
    "00",
    " HIP ",
    " IPSECKEY ",
    " 10 1 2 192.0.2.38 ",
    "AQNR",
    " CNAME ",
    " DNAME ",
    " CAA 0 issue ",
    " CERT PGP 0 0 ",
    " WKS 192.0.2.1 6 25",
    "4294967295",
    "1w2d ",
    " TYPE65400 ",
    " CLASS1 ",
    "\u{feff}",
    "é",
    "\0",
];
