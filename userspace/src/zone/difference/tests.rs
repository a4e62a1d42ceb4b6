use proptest::prelude::*;

use super::*;
use crate::zone::{Name, Rtype, Serial, Version, Zone, ZoneBuilder};

/// A record of a small world: among so few owners, types and values, two zones have much in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::zone) struct Small {
    owner: usize,
    rtype: usize,
    ttl: u32,
    value: u8,
}

const APEX: &[u8] = b"\x07example\0";
const OWNERS: [&[u8]; 5] = [
    APEX,
    b"\x01a\x07example\0",
    b"\x01b\x01a\x07example\0",
    b"\x01*\x01a\x07example\0",
    b"\x02aa\x07example\0",
];

/// An owner name of a larger world: the small one, then hashes, names, and names below these, in no order.
pub(in crate::zone) fn owner_name(owner: usize) -> Vec<u8> {
    if let Some(&name) = OWNERS.get(owner) {
        return name.to_vec();
    }
    let number = owner - OWNERS.len();
    // An odd factor: no two alike.
    let spread = (number / 3 * 83) % 256;
    let name = |label: &str| [&[label.len() as u8], label.as_bytes(), APEX].concat();
    match number % 3 {
        0 => name(&format!("{spread:02x}{:030}", 0)),
        1 => name(&format!("{spread:02x}")),
        _ => [b"\x01c".to_vec(), name(&format!("{spread:02x}"))].concat(),
    }
}

impl Small {
    fn rdata(self) -> (Rtype, Vec<u8>) {
        match self.rtype {
            0 => (Rtype::A, vec![192, 0, 2, self.value]),
            1 => (Rtype::TXT, vec![1, b'a' + self.value]),
            // Of two covered types, whose TTLs differ.
            2 => (Rtype::RRSIG, rrsig(Rtype::A, self.value)),
            3 => (Rtype::RRSIG, rrsig(Rtype::TXT, self.value)),
            _ => (Rtype::NSEC3, vec![1, self.value]),
        }
    }
}

fn rrsig(covered: Rtype, value: u8) -> Vec<u8> {
    let mut rdata = covered.0.to_be_bytes().to_vec();
    rdata.extend_from_slice(&[13, 2, 0, 0, 1, 44, 0, 0, 0, 1, 0, 0, 0, 0, 0, 7]);
    rdata.extend_from_slice(APEX);
    rdata.push(value);
    rdata
}

fn small() -> impl Strategy<Value = Small> {
    small_among(OWNERS.len())
}

/// A record of one of so many owners.
pub(in crate::zone) fn small_among(owners: usize) -> impl Strategy<Value = Small> {
    (0..owners, 0..5usize, 1..3u32, 0..3u8).prop_map(|(owner, rtype, ttl, value)| Small {
        owner,
        rtype,
        ttl,
        value,
    })
}

fn soa(serial: u32) -> Vec<u8> {
    let mut rdata = b"\x02ns\0\x04mail\0".to_vec();
    rdata.extend_from_slice(&serial.to_be_bytes());
    rdata.extend_from_slice(&[0; 16]);
    rdata
}

pub(in crate::zone) fn zone(serial: u32, records: &[Small]) -> Zone {
    let mut builder = ZoneBuilder::new(Name::from_wire(APEX).unwrap());
    builder.push(APEX, Rtype::SOA, 60, &soa(serial)).unwrap();
    for record in records {
        let (rtype, rdata) = record.rdata();
        builder.push(&owner_name(record.owner), rtype, record.ttl, &rdata).unwrap();
    }
    builder.finish().unwrap()
}

/// All records of a zone, with the TTLs that are sent: of signatures that of what they cover, and none of those that
/// cover nothing.
pub(in crate::zone) fn records_of(zone: &Zone) -> Records {
    let mut sent = Records::default();
    for owner in zone.owners() {
        for rrset in owner.rrsets() {
            for rdata in rrset.rdatas() {
                let covered = Rtype(u16::from_be_bytes([rdata[0], rdata[1]]));
                let is_idle = rrset.rtype() == Rtype::RRSIG && owner.rrset(covered).is_none();
                let ttl = if is_idle { 0 } else { owner.record_ttl(&rrset, rdata) };
                sent.push(RecordRef { owner: owner.name(), rtype: rrset.rtype(), ttl, rdata });
            }
        }
    }
    sent
}

fn sent(difference: &Difference) -> Vec<RecordRef<'_>> {
    difference.sequence().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A difference leads from one version to the other, back again, and over the wire; what it says is no more than
    /// what differs.
    #[test]
    fn a_difference_leads_there_and_back(
        old in prop::collection::vec(small(), 0..12),
        new in prop::collection::vec(small(), 0..12),
        serial in any::<u32>(),
        steps in 1..1_000u32,
    ) {
        let (old, new) = (zone(serial, &old), zone(serial.wrapping_add(steps), &new));
        let [of_old, of_new] = [&old, &new].map(|zone| Version::of(zone.clone()));
        let difference = Difference::between(&old, &new);
        prop_assert_eq!(records_of(&difference.apply(&old, Rules::Strict).unwrap()), records_of(&new));
        let size = Size::between_versions(&of_old, &of_new);
        let counted = [difference.removed().len(), difference.added().len()].map(|count| count as u64);
        prop_assert_eq!([size.removed, size.added], counted);
        // Twice does no harm where that is allowed.
        let once = difference.apply(&old, Rules::Lenient).unwrap();
        prop_assert_eq!(records_of(&difference.apply(&once, Rules::Lenient).unwrap()), records_of(&new));

        let mut records = sent(&difference);
        prop_assert_eq!(records.len(), difference.removed().len() + difference.added().len());
        let middle = records.iter().rposition(|record| record.rtype == Rtype::SOA).unwrap();
        // The order within a part is the sender's.
        records[1..middle].reverse();
        let read = Difference::from_sequence(old.apex(), records.into_iter()).unwrap();
        prop_assert_eq!(&read, &difference);

        // Of the zones as lists, independently: what one has and the other has not.
        let (all_old, all_new) = (records_of(&old), records_of(&new));
        for (one, other, told) in [
            (&all_old, &all_new, difference.removed()),
            (&all_new, &all_old, difference.added()),
        ] {
            let is_in = |record: &RecordRef<'_>| match record.rtype {
                Rtype::RRSIG => other.iter().any(|one| one.owner == record.owner && one.rdata == record.rdata),
                _ => other.iter().any(|one| one == *record),
            };
            let only = one.iter().filter(|record| !is_in(record));
            prop_assert!(told.iter().map(without_ttl).eq(only.map(without_ttl)));
        }
        let back = difference.reversed();
        prop_assert_eq!(records_of(&back.apply(&new, Rules::Strict).unwrap()), records_of(&old));
    }

    /// Of a version that lacks any one record which is to be removed, or has any one that is to be added, the strict
    /// rules say so and the lenient ones come to the same end.
    #[test]
    fn a_difference_that_does_not_fit_is_refused(
        old in prop::collection::vec(small(), 0..8),
        new in prop::collection::vec(small(), 0..8),
    ) {
        let (old, new) = (zone(1, &old), zone(2, &new));
        let difference = Difference::between(&old, &new);
        let without_soa = |records: &Records| -> Vec<usize> {
            (0..records.len()).filter(|&at| records.iter().nth(at).unwrap().rtype != Rtype::SOA).collect()
        };
        for at in without_soa(difference.removed()) {
            let record = difference.removed().iter().nth(at).unwrap();
            let base = altered(&old, Some(record), None);
            let refused = difference.apply(&base, Rules::Strict).err();
            let owner = Name::from_wire(record.owner).unwrap();
            prop_assert_eq!(refused, Some(ApplyError::Missing { owner, rtype: record.rtype }));
            let made = difference.apply(&base, Rules::Lenient).unwrap();
            prop_assert_eq!(records_only(&made), records_only(&new));
        }
        for at in without_soa(difference.added()) {
            let record = difference.added().iter().nth(at).unwrap();
            // Of an RRset that gets another TTL every record is there already, and leaves first.
            if records_of(&old).iter().any(|one| is_same(&one, &record)) {
                continue;
            }
            let base = altered(&old, None, Some(record));
            let refused = difference.apply(&base, Rules::Strict).err();
            let owner = Name::from_wire(record.owner).unwrap();
            prop_assert_eq!(refused, Some(ApplyError::Present { owner, rtype: record.rtype }));
            let made = difference.apply(&base, Rules::Lenient).unwrap();
            prop_assert_eq!(records_only(&made), records_only(&new));
        }
    }
}

fn without_ttl(record: RecordRef<'_>) -> RecordRef<'_> {
    RecordRef { ttl: 0, ..record }
}

fn is_same(one: &RecordRef<'_>, other: &RecordRef<'_>) -> bool {
    one.canonical_cmp(other).is_eq()
}

/// What a zone says but for the TTLs.
fn records_only(zone: &Zone) -> Vec<(Vec<u8>, Rtype, Vec<u8>)> {
    let records = records_of(zone);
    records.iter().map(|record| (record.owner.into(), record.rtype, record.rdata.into())).collect()
}

/// The zone without one record and with another.
fn altered(zone: &Zone, gone: Option<RecordRef<'_>>, come: Option<RecordRef<'_>>) -> Zone {
    let records = records_of(zone);
    let is_gone = |record: &RecordRef<'_>| gone.is_some_and(|gone| is_same(record, &gone));
    let mut builder = ZoneBuilder::new(zone.apex().clone());
    for record in records.iter().filter(|record| !is_gone(record)).chain(come) {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn serials_and_sequences_are_checked() {
    let apex = Name::from_wire(APEX).unwrap();
    let record = |serial: u32| (soa(serial), serial);
    let [one, two] = [record(1), record(2)];
    let soa = |rdata| RecordRef { owner: APEX, rtype: Rtype::SOA, ttl: 60, rdata };
    let a = RecordRef { owner: OWNERS[1], rtype: Rtype::A, ttl: 60, rdata: &[192, 0, 2, 1] };
    let read = |records: &[RecordRef<'_>]| {
        Difference::from_sequence(&apex, records.iter().copied()).map(|read| read.new_serial().0)
    };
    assert_eq!(read(&[soa(&one.0), soa(&two.0), a]), Ok(two.1));
    let none = Err(SequenceError::Soa(apex.clone()));
    assert_eq!(read(&[]), none);
    assert_eq!(read(&[a]), none);
    assert_eq!(read(&[soa(&one.0), a]), none);
    assert_eq!(read(&[a, soa(&one.0), soa(&two.0)]), none);
    assert_eq!(read(&[soa(&one.0), soa(&two.0), soa(&two.0)]), none);
    let not_newer = SequenceError::NotNewer { old: Serial(2), new: Serial(1) };
    assert_eq!(read(&[soa(&two.0), soa(&one.0)]), Err(not_newer));
    let below = RecordRef { owner: OWNERS[1], ..soa(&two.0) };
    assert_eq!(read(&[soa(&one.0), below]), none);
    let outside = RecordRef { owner: b"\x03org\0", ..a };
    let refused = read(&[soa(&one.0), outside]);
    assert!(matches!(refused, Err(SequenceError::OutOfZone { .. })), "{refused:?}");

    let zones = [zone(1, &[]), zone(3, &[])];
    let wrong = Difference::between(&zone(2, &[]), &zones[1]).apply(&zones[0], Rules::Strict).err();
    assert_eq!(wrong, Some(ApplyError::Serial { wanted: Serial(2), found: Serial(1) }));
    let same = Difference::between(&zones[0], &zones[0]);
    assert!(same.is_empty() && same.sequence().next().is_none());
}

proptest! {
    /// Differences made into one do what they do one after the other, and are what the first and the last version make.
    #[test]
    fn differences_are_condensed(
        versions in prop::collection::vec(prop::collection::vec(small(), 0..8), 2..6),
        at: prop::sample::Index,
    ) {
        let zones: Vec<Zone> =
            versions.iter().enumerate().map(|(at, records)| zone(at as u32 + 1, records)).collect();
        let differences: Vec<Difference> =
            zones.windows(2).map(|pair| Difference::between(&pair[0], &pair[1])).collect();
        let (first, last) = (&zones[0], zones.last().unwrap());
        let condensed = Difference::condensed(&differences).unwrap().unwrap();
        prop_assert_eq!(records_of(&condensed.apply(first, Rules::Strict).unwrap()), records_of(last));
        // The TTL of a signature is told of where it went and came, which may be another version than the first.
        let all = |difference: &Difference| {
            let ttl = |record: RecordRef<'_>| match record.rtype {
                Rtype::RRSIG => 0,
                _ => record.ttl,
            };
            [difference.removed(), difference.added()].map(|part| {
                let records = part.iter().map(|one| (one.owner.to_vec(), one.rtype, ttl(one), one.rdata.to_vec()));
                records.collect::<Vec<_>>()
            })
        };
        prop_assert_eq!(all(&condensed), all(&Difference::between(first, last)));
        // One that is there twice fits nothing, unless it changes the SOA record alone and that fits neither.
        let mut twice = differences.clone();
        let at = at.index(twice.len());
        twice.insert(at, twice[at].clone());
        prop_assert!(Difference::condensed(&twice).is_err());
    }
}
