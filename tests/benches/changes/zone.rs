//! The zone that is changed, and its changes: a registry's.

use anyhow::{Context as _, Result};
use sealdns::zone::{
    Name, Rtype, Serial, Zone,
    difference::{Difference, RecordRef},
};
use tests::measure::zones;

/// The apex.
pub const LABELS: &[&str] = &["changes", "example"];

/// The TTL of all records that change, in seconds: that of the zone's.
pub const TTL: u32 = 3600;

/// What changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The DS RRset of a delegation.
    Ds,
    /// A delegation with DS comes.
    Come,
    /// It goes again.
    Go,
}

impl Change {
    pub const ALL: [Self; 3] = [Self::Ds, Self::Come, Self::Go];

    pub fn title(self) -> &'static str {
        match self {
            Self::Ds => "a DS RRset changed",
            Self::Come => "a delegation added",
            Self::Go => "a delegation removed",
        }
    }

    /// The records that the change of this number takes away and brings, in a zone with so many delegations.
    /// Numbers up to a quarter of these change different names.
    pub fn records(self, number: usize, names: usize) -> [Vec<Record>; 2] {
        match self {
            Self::Ds => {
                // Every other delegation has one. 7919 is a prime: places come in no order.
                let secure = 2 * (number * 7919 % (names / 2));
                let old = delegation(secure);
                let mut new = old.clone();
                // Another digest of another key.
                new[4..].fill(number as u8 ^ 0x5a);
                let name = cut(&format!("d{secure:08x}"));
                [old, new]
                    .map(|rdata| vec![Record { owner: name.clone(), rtype: Rtype::DS, rdata }])
            }
            Self::Come => [Vec::new(), new_delegation(number, names)],
            Self::Go => [new_delegation(number, names), Vec::new()],
        }
    }
}

/// A record with [`TTL`].
pub struct Record {
    /// In wire format.
    pub owner: Vec<u8>,
    pub rtype: Rtype,
    pub rdata: Vec<u8>,
}

/// The zone, not signed.
pub fn unsigned(names: usize) -> Result<Zone> {
    zones::delegations(LABELS, names)
}

/// The apex.
pub fn apex() -> Result<Name> {
    Name::from_wire(&zones::wire(LABELS)).context("no name")
}

/// What these changes make of the unsigned zone. Serials are the signer's matter.
pub fn difference(changes: &[[Vec<Record>; 2]]) -> Result<Difference> {
    let records = |which: usize| {
        changes.iter().flat_map(move |change| change[which].iter()).map(|record| RecordRef {
            owner: &record.owner,
            rtype: record.rtype,
            ttl: TTL,
            rdata: &record.rdata,
        })
    };
    Ok(Difference::of_records(&apex()?, [Serial(1), Serial(2)], records(0), records(1)))
}

/// The DS record of a delegation of [`zones::delegations`].
fn delegation(number: usize) -> Vec<u8> {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    let mut ds = vec![a, b, 13, 2];
    ds.extend([c; 32]);
    ds
}

/// A delegation that is not in the zone at first, right behind one that is.
fn new_delegation(number: usize, names: usize) -> Vec<Record> {
    let owner = cut(&format!("d{:08x}n", number * 7919 % names));
    let server = [&[2, b'n', b's'], &zones::wire(LABELS)[..]].concat();
    let ds = [&[0, 1, 13, 2][..], &[7; 32]].concat();
    vec![
        Record { owner: owner.clone(), rtype: Rtype::NS, rdata: server },
        Record { owner, rtype: Rtype::DS, rdata: ds },
    ]
}

fn cut(label: &str) -> Vec<u8> {
    [&[label.len() as u8], label.as_bytes(), &zones::wire(LABELS)].concat()
}
