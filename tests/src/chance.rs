//! Zones made by chance: cuts, wildcards, DNAMEs, chains of CNAMEs and empty non-terminals at all depths,
//! and names to ask them for. Few labels are used, so that names meet.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Labels in presentation format, and their octets on the wire.
const LABELS: [(&str, &[u8]); 11] = [
    ("*", b"\x01*"),
    ("a", b"\x01a"),
    ("b", b"\x01b"),
    ("ab", b"\x02ab"),
    ("w", b"\x01w"),
    ("-", b"\x01-"),
    ("\\001", b"\x01\x01"),
    ("\\255", b"\x01\xff"),
    ("a-label-of-some-length", b"\x16a-label-of-some-length"),
    ("a-label-of-some-lengtg", b"\x16a-label-of-some-lengtg"),
    (
        "lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll",
        b"\x3flllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll",
    ),
];

/// Where `*` is among them.
const STAR: usize = 0;

/// Owner names of a zone, about.
const OWNERS: usize = 48;

/// Labels below the apex.
const MAX_DEPTH: u64 = 6;

/// Names that are asked for, beside those made from the zone's own.
const ASKED: usize = 150;

/// Chance that is the same at every run: Knuth's MMIX generator.
pub struct Chance(pub u64);

impl Chance {
    /// From 0 to one less than `sides`.
    pub fn throw(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// A label with its length.
    pub fn label(&mut self) -> Vec<u8> {
        let len = 1 + self.throw(24) as usize;
        let mut label = vec![len as u8];
        label.extend((0..len).map(|_| self.throw(256) as u8));
        label
    }

    /// The octet, or its letter in upper case.
    pub fn case(&mut self, octet: u8) -> u8 {
        if octet.is_ascii_lowercase() && self.throw(2) == 0 {
            octet.to_ascii_uppercase()
        } else {
            octet
        }
    }
}

//----------- Zones ----------------------------------------------------------------------------------

/// A name relative to an apex: places in [`LABELS`], the label next to the apex first.
type Path = Vec<usize>;

/// What stands at a name.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Data,
    Alias,
    Dname,
    Cut,
}

/// A zone with this apex in presentation format. `others` are apexes of zones that CNAMEs lead to.
pub fn zone(apex: &str, others: &[String], chance: &mut Chance) -> String {
    let mut owners: BTreeMap<Path, Kind> = BTreeMap::new();
    for _ in 0..OWNERS {
        let path = new_path(&owners, chance);
        let is_star = path.last() == Some(&STAR);
        let kind = match chance.throw(12) {
            0..=3 => Kind::Alias,
            4 if !is_star => Kind::Dname,
            5 | 6 if !is_star => Kind::Cut,
            _ => Kind::Data,
        };
        let below_dname = (1..path.len()).any(|len| owners.get(&path[..len]) == Some(&Kind::Dname));
        let has_below = owners.keys().any(|other| other.starts_with(&path));
        // Nothing stands below a DNAME (RFC 6672 section 2.4), and one name is one thing.
        if below_dname || owners.contains_key(&path) || (kind == Kind::Dname && has_below) {
            continue;
        }
        owners.insert(path, kind);
    }
    let mut text = format!(
        "$ORIGIN {apex}.\n$TTL 1h\n@ SOA ns host 1 4h 1h 2w 15m\n@ NS ns\nns A 192.0.2.53\n"
    );
    for (path, kind) in &owners {
        let owner = shown(path);
        // A `String` takes everything.
        let _ = match kind {
            Kind::Data => data(&mut text, &owner, chance),
            Kind::Alias => writeln!(text, "{owner} CNAME {}", target(&owners, others, chance)),
            Kind::Dname => writeln!(text, "{owner} DNAME {}", target(&owners, others, chance)),
            Kind::Cut => cut(&mut text, &owner, chance),
        };
    }
    text
}

/// A name that may be new: below another one, or anywhere.
fn new_path(owners: &BTreeMap<Path, Kind>, chance: &mut Chance) -> Path {
    let mut path = Path::new();
    if chance.throw(3) > 0 {
        path.extend(any_of(owners, chance));
    }
    for _ in 0..=chance.throw(3) {
        let is_star = chance.throw(6) == 0;
        path.push(if is_star { STAR } else { chance.throw(LABELS.len() as u64) as usize });
    }
    path.truncate(1 + chance.throw(MAX_DEPTH) as usize);
    fit(&mut path);
    path
}

/// Shortens a name to leave room for the apex and some labels more.
fn fit(path: &mut Path) {
    while wire_len(path) > 200 {
        path.pop();
    }
}

fn any_of(owners: &BTreeMap<Path, Kind>, chance: &mut Chance) -> Path {
    let place = chance.throw(owners.len().max(1) as u64) as usize;
    owners.keys().nth(place).cloned().unwrap_or_default()
}

/// Where a CNAME or a DNAME leads.
fn target(owners: &BTreeMap<Path, Kind>, others: &[String], chance: &mut Chance) -> String {
    match chance.throw(16) {
        0 => "@".into(),
        1 => "www.example.net.".into(),
        2 | 3 => {
            let other = &others[chance.throw(others.len() as u64) as usize];
            format!("{}.{other}.", shown(&new_path(owners, chance)))
        }
        4..=7 => shown(&new_path(owners, chance)),
        _ => shown(&any_of(owners, chance)),
    }
}

fn data(text: &mut String, owner: &str, chance: &mut Chance) -> std::fmt::Result {
    match chance.throw(4) {
        0 => writeln!(text, "{owner} A 192.0.2.1\n{owner} A 192.0.2.2\n{owner} TXT \"text\""),
        1 => writeln!(text, "{owner} TXT \"text\"\n{owner} MX 10 {owner}"),
        _ => writeln!(text, "{owner} A 192.0.2.1"),
    }
}

fn cut(text: &mut String, owner: &str, chance: &mut Chance) -> std::fmt::Result {
    match chance.throw(3) {
        0 => writeln!(text, "{owner} NS ns.example.net."),
        1 => writeln!(text, "{owner} NS ns.{owner}\nns.{owner} A 192.0.2.54"),
        _ => writeln!(
            text,
            "{owner} NS ns.{owner}\nns.{owner} AAAA 2001:db8::54\n{owner} DS 12345 13 2 \
             00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
        ),
    }
}

fn wire_len(path: &[usize]) -> usize {
    path.iter().map(|&label| LABELS[label].1.len()).sum()
}

fn shown(path: &[usize]) -> String {
    let labels: Vec<&str> = path.iter().rev().map(|&label| LABELS[label].0).collect();
    if labels.is_empty() { "@".into() } else { labels.join(".") }
}

/// Names below an apex in wire format, of the labels that its zone is made of.
pub fn names_below(apex: &[u8], chance: &mut Chance) -> Vec<Vec<u8>> {
    let mut names = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let mut path = new_path(&BTreeMap::new(), chance);
        if chance.throw(2) == 0 {
            path.extend(new_path(&BTreeMap::new(), chance));
        }
        fit(&mut path);
        let labels = path.iter().rev().map(|&label| LABELS[label].1);
        names.push(labels.chain([apex]).collect::<Vec<_>>().concat());
    }
    names
}
