//! A large zone, changes of it, and what both benches of these have in common.

use std::time::Duration;

use sealdns::dnssec::keys::{Algorithm, Key, NewKey, Role};
use sealdns::dnssec::policy::Denial;
use sealdns::zone::difference::{Difference, RecordRef};
use sealdns::zone::{Name, Rtype, Serial, Zone, ZoneWriter};

/// The apex.
pub const APEX: &[u8] = b"\x05bench\x07example\0";
const SERVER: &[u8] = b"\x02ns\0";
const SOA: &[u8] =
    b"\x02ns\0\x04mail\0\0\0\0\x01\0\0\x0e\x10\0\0\x03\x84\0\x09\x3a\x80\0\0\x01\x2c";

/// Owner, type and RDATA of a record.
pub type Record = (Vec<u8>, Rtype, Vec<u8>);

/// When the zone is signed, in seconds since 1970.
pub const NOW: u32 = 1_800_000_000;

/// What is measured one after the other.
pub const CHANGES: [&str; 3] = ["changed", "name added", "name removed"];

/// What to measure.
pub struct Arguments {
    /// How many names the zone has.
    pub names: usize,
    /// How many changes there are of each kind.
    pub changes: usize,
    /// How absence is denied.
    pub denials: Vec<Denial>,
}

impl Arguments {
    /// Those of the command line.
    pub fn read() -> Arguments {
        // `cargo bench` adds `--bench`; `cargo test --all-targets` does not, and wants no more than to see that it runs.
        let (bench, args): (Vec<String>, Vec<String>) =
            std::env::args().skip(1).partition(|arg| arg == "--bench");
        let (default, changes) = if bench.is_empty() { (200, 10) } else { (1_000_000, 1_000) };
        let names = args.first().map_or(default, |arg| arg.parse().expect("a number"));
        let denials = match args.get(1) {
            Some(denial) => vec![denial.parse().expect("a way of denial")],
            None => {
                ["nsec", "nsec3", "nsec3-opt-out"].map(|denial| denial.parse().expect("one")).into()
            }
        };
        Arguments { names, changes, denials }
    }
}

/// A key-signing and a zone-signing key.
pub fn keys() -> Vec<Key> {
    let apex = Name::from_wire(APEX).expect("a name");
    let make = |role| NewKey::generate(&apex, role, Algorithm::default(), &[], NOW);
    [Role::Ksk, Role::Zsk].map(|role| make(role).expect("a key").key).into()
}

/// The records that the change of this number removes and adds, in a zone of so many names.
pub fn change(what: &str, number: usize, names: usize) -> [Vec<Record>; 2] {
    match what {
        "changed" => {
            let (name, rtype, rdata) = host(2 * (number * 7919 % (names / 2)));
            [vec![(name.clone(), rtype, rdata)], vec![(name, rtype, vec![192, 0, 2, 2])]]
        }
        "name added" => [vec![], vec![new(number)]],
        _ => [vec![new(number)], vec![]],
    }
}

/// A record of a name that is not in the zone at first.
pub fn new(number: usize) -> Record {
    (label(&format!("new-{number}")), Rtype::A, vec![192, 0, 2, 3])
}

/// The median of times, and what one in a hundred takes.
pub fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("median {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100])
}

/// The difference of these records.
pub fn difference(removed: &[Record], added: &[Record]) -> Difference {
    let apex = Name::from_wire(APEX).expect("a name");
    let serials = [Serial(1), Serial(2)];
    let [removed, added] = [removed, added].map(|records| records.iter().map(record));
    Difference::of_records(&apex, serials, removed, added)
}

/// A record with the TTL that all have.
fn record((owner, rtype, rdata): &Record) -> RecordRef<'_> {
    RecordRef { owner, rtype: *rtype, ttl: 3600, rdata }
}

/// A name right below the apex.
fn label(label: &str) -> Vec<u8> {
    [&[label.len() as u8], label.as_bytes(), APEX].concat()
}

/// The name of this number in canonical order: those of even numbers are hosts, the others are delegations.
fn name(number: usize) -> Vec<u8> {
    label(&format!("host-{number:08}"))
}

/// The host of this number, and its address.
fn host(number: usize) -> Record {
    (name(number), Rtype::A, vec![198, 51, (number / 250 % 250) as u8, (number % 250) as u8])
}

/// A zone of so many names: half of them are delegations, half of those with DS.
pub fn zone(names: usize) -> Zone {
    let mut writer = ZoneWriter::with_capacity(Name::from_wire(APEX).expect("a name"), 0);
    writer.owner(APEX).expect("room");
    writer.rrset(Rtype::NS, 3600, std::iter::once(SERVER)).expect("room");
    writer.rrset(Rtype::SOA, 3600, std::iter::once(SOA)).expect("room");
    for number in 0..names {
        let (owner, rtype, address) = host(number);
        writer.owner(&owner).expect("order");
        if number % 2 == 0 {
            writer.rrset(rtype, 3600, std::iter::once(&address[..])).expect("room");
            continue;
        }
        writer.rrset(Rtype::NS, 3600, std::iter::once(SERVER)).expect("room");
        if number % 4 == 1 {
            let ds = [&[0, 1, 13, 2][..], &[7; 32]].concat();
            writer.rrset(Rtype::DS, 3600, std::iter::once(&ds[..])).expect("room");
        }
    }
    writer.finish().expect("a zone")
}
