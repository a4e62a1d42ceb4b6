//! A large zone, and changes of it.

use sealdns::zone::difference::{Difference, RecordRef};
use sealdns::zone::{Name, Rtype, Serial, Zone, ZoneWriter};

/// The apex.
pub const APEX: &[u8] = b"\x05bench\x07example\0";
const SOA: &[u8] =
    b"\x02ns\0\x04mail\0\0\0\0\x01\0\0\x0e\x10\0\0\x03\x84\0\x09\x3a\x80\0\0\x01\x2c";

/// Owner, type and RDATA of a record.
pub type Record = (Vec<u8>, Rtype, Vec<u8>);

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
pub fn label(label: &str) -> Vec<u8> {
    [&[label.len() as u8], label.as_bytes(), APEX].concat()
}

/// The name of this number in canonical order: those of even numbers are hosts, the others are delegations.
fn name(number: usize) -> Vec<u8> {
    label(&format!("host-{number:08}"))
}

/// The host of this number, and its address.
pub fn host(number: usize) -> Record {
    (name(number), Rtype::A, vec![198, 51, (number / 250 % 250) as u8, (number % 250) as u8])
}

/// A zone of so many names: half of them are delegations, half of those with DS.
pub fn zone(names: usize) -> Zone {
    let mut writer = ZoneWriter::with_capacity(Name::from_wire(APEX).expect("a name"), 0);
    writer.owner(APEX).expect("room");
    writer.rrset(Rtype::SOA, 3600, std::iter::once(SOA)).expect("room");
    for number in 0..names {
        let (owner, rtype, address) = host(number);
        writer.owner(&owner).expect("order");
        if number % 2 == 0 {
            writer.rrset(rtype, 3600, std::iter::once(&address[..])).expect("room");
            continue;
        }
        writer.rrset(Rtype::NS, 3600, std::iter::once(&b"\x02ns\0"[..])).expect("room");
        if number % 4 == 1 {
            let ds = [&[0, 1, 13, 2][..], &[7; 32]].concat();
            writer.rrset(Rtype::DS, 3600, std::iter::once(&ds[..])).expect("room");
        }
    }
    writer.finish().expect("a zone")
}
