use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::transfer::axfr::{self, Heading};
use crate::zone::{Version, ZoneFaultKind};

const APEX: &[u8] = b"\x07example\0";
const ID: u16 = 0x5ea1;

const LIMITS: Limits = Limits { octets: 1 << 20, records: 10_000, messages: 10_000 };

fn apex() -> Name {
    Name::from_wire(APEX).unwrap()
}

//--- Zones

/// A record of a small world: two zones have much in common.
type Small = (u8, u8, u8);

fn small() -> impl Strategy<Value = Vec<Small>> {
    prop::collection::vec((0..12u8, 0..6u8, 0..4u8), 0..40)
}

fn owner(number: u8) -> Vec<u8> {
    let label = [1, b'a' + number % 6];
    // Half of them below others.
    match number / 6 {
        0 => [&label, APEX].concat(),
        _ => [b"\x01x", &label[..], APEX].concat(),
    }
}

/// A record without names in its RDATA, with one or two that may be compressed, with one that may not.
fn rdata((number, rtype, value): Small) -> (Rtype, Vec<u8>) {
    let target = owner(number.wrapping_add(value) % 12);
    match rtype {
        0 => (Rtype::A, vec![192, 0, 2, value]),
        1 => (Rtype::MX, [&[0, value], &target[..]].concat()),
        2 => (Rtype(17), [&target[..], APEX].concat()),
        3 => (Rtype(35), [&[0, 1, 0, value, 1, b'u', 0, 2, b'a', b'!'], &target[..]].concat()),
        4 => (Rtype(65), [&[0, 1], &target[..]].concat()),
        _ => (Rtype(65_280), vec![0xc0, value]),
    }
}

fn soa(serial: u32) -> Vec<u8> {
    let mut rdata = b"\x02ns\x07example\0\x04mail\x07example\0".to_vec();
    rdata.extend_from_slice(&serial.to_be_bytes());
    rdata.extend_from_slice(&[0, 0, 0, 60].repeat(4));
    rdata
}

fn zone(serial: u32, records: &[Small]) -> Zone {
    let mut builder = ZoneBuilder::new(apex());
    builder.push(APEX, Rtype::SOA, 600, &soa(serial)).unwrap();
    builder.push(APEX, Rtype::NS, 600, b"\x02ns\x07example\0").unwrap();
    for &record in records {
        let (rtype, rdata) = rdata(record);
        builder.push(&owner(record.0), rtype, 300, &rdata).unwrap();
    }
    builder.finish().unwrap()
}

//--- Messages

/// A record as a test holds it.
#[derive(Clone, PartialEq, Debug)]
struct Sent {
    owner: Vec<u8>,
    rtype: Rtype,
    class: u16,
    ttl: u32,
    rdata: Vec<u8>,
}

impl Sent {
    fn of(record: RecordRef<'_>) -> Sent {
        let RecordRef { owner, rtype, ttl, rdata } = record;
        Sent { owner: owner.into(), rtype, class: 1, ttl, rdata: rdata.into() }
    }

    fn soa(serial: u32) -> Sent {
        Sent { owner: APEX.into(), rtype: Rtype::SOA, class: 1, ttl: 600, rdata: soa(serial) }
    }

    fn a(owner: &[u8]) -> Sent {
        let rdata = vec![192, 0, 2, 1];
        Sent { owner: owner.into(), rtype: Rtype::A, class: 1, ttl: 300, rdata }
    }

    fn ns() -> Sent {
        let rdata = b"\x02ns\x07example\0".to_vec();
        Sent { owner: APEX.into(), rtype: Rtype::NS, class: 1, ttl: 600, rdata }
    }
}

/// The records of a zone as AXFR has them.
fn axfr(zone: &Zone) -> Vec<Sent> {
    let records = zone.owners().flat_map(|owner| {
        owner.rrsets().flat_map(move |rrset| {
            rrset.rdatas().map(move |rdata| {
                let (owner, rtype, ttl) = (owner.name(), rrset.rtype(), rrset.ttl());
                Sent::of(RecordRef { owner, rtype, ttl, rdata })
            })
        })
    });
    let (mut soa, others): (Vec<Sent>, Vec<Sent>) =
        records.partition(|record| record.rtype == Rtype::SOA);
    soa.extend(others);
    soa.push(soa[0].clone());
    soa
}

/// Those of differences as IXFR has them.
fn ixfr(differences: &[Difference], last: &Zone) -> Vec<Sent> {
    let end = Sent::of(RecordRef {
        owner: APEX,
        rtype: Rtype::SOA,
        ttl: 600,
        rdata: last.soa().unwrap().rdatas().next().unwrap(),
    });
    let mut records = vec![end.clone()];
    records.extend(differences.iter().flat_map(Difference::sequence).map(Sent::of));
    records.push(end);
    records
}

/// A message with these records; names are compressed where that is allowed, if they are to be.
fn message(qtype: Rtype, has_question: bool, records: &[Sent], is_compressed: bool) -> Vec<u8> {
    let mut out = ID.to_be_bytes().to_vec();
    out.extend_from_slice(&[0x84, 0, 0, has_question.into()]);
    out.extend_from_slice(&(records.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    let mut names = HashMap::new();
    let mut put = |name: &[u8], out: &mut Vec<u8>| {
        let mut rest = name;
        while rest[0] != 0 {
            if let Some(&at) = names.get(rest).filter(|_| is_compressed) {
                return out.extend_from_slice(&(0xc000 | at as u16).to_be_bytes());
            }
            if out.len() < 0x4000 {
                names.insert(rest.to_vec(), out.len());
            }
            let (label, behind) = rest.split_at(1 + usize::from(rest[0]));
            out.extend_from_slice(label);
            rest = behind;
        }
        out.push(0);
    };
    if has_question {
        put(APEX, &mut out);
        out.extend_from_slice(&qtype.0.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
    }
    for Sent { owner, rtype, class, ttl, rdata } in records {
        // Whatever case a primary sends.
        put(&owner.to_ascii_uppercase(), &mut out);
        out.extend_from_slice(&rtype.0.to_be_bytes());
        out.extend_from_slice(&class.to_be_bytes());
        out.extend_from_slice(&ttl.to_be_bytes());
        let len_at = out.len();
        out.extend_from_slice(&[0, 0]);
        let (mut rest, names) = match rdata_names(*rtype, rdata) {
            Some((skipped, names)) if rdata.len() >= skipped => {
                out.extend_from_slice(&rdata[..skipped]);
                (&rdata[skipped..], names)
            }
            _ => (&rdata[..], 0),
        };
        for _ in 0..names {
            let (name, behind) = rest.split_at(crate::zone::name::wire_name_len(rest).unwrap());
            put(name, &mut out);
            rest = behind;
        }
        out.extend_from_slice(rest);
        let len = (out.len() - len_at - 2) as u16;
        out[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
    }
    out
}

use crate::zone::rdata_names;

/// The records in messages that are cut at these places.
fn cut(kind: AskedKind, records: &[Sent], cuts: &[Index], is_compressed: bool) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(records.len())).collect();
    places.extend([0, records.len()]);
    places.sort_unstable();
    places.dedup();
    let parts = places.windows(2).map(|ends| &records[ends[0]..ends[1]]);
    let message =
        |(number, part): (usize, &[Sent])| message(kind.qtype(), number == 0, part, is_compressed);
    parts.enumerate().map(message).collect()
}

fn asked(kind: AskedKind) -> Asked {
    Asked { id: ID, apex: apex(), kind }
}

/// What comes of these messages; each of them but the last must ask for more.
fn read(
    kind: AskedKind,
    messages: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Transferred, TransferError> {
    let mut stream = Stream::new(asked(kind), LIMITS);
    let mut is_whole = false;
    for message in messages {
        assert!(!is_whole, "a message behind the end");
        is_whole = stream.read(&message)?;
    }
    stream.finish()
}

/// What comes of these records in one message.
fn read_records(kind: AskedKind, records: &[Sent]) -> Result<Transferred, TransferError> {
    read(kind, [message(kind.qtype(), true, records, true)])
}

fn error(kind: AskedKind, records: &[Sent]) -> TransferError {
    read_records(kind, records).expect_err("a fault")
}

//--- What comes as it was sent

proptest! {
    #[test]
    fn a_zone_comes_as_it_was_sent(
        serial: u32,
        records in small(),
        order: u64,
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        is_compressed: bool,
        since in prop::option::of(1..1000u32),
    ) {
        let zone = zone(serial, &records);
        let mut sent = axfr(&zone);
        let middle = sent.len() - 1;
        // In any order.
        sent[1..middle].sort_by_key(|record| {
            let sum = record.owner.iter().chain(&record.rdata).fold(order, |sum, &octet| {
                (sum ^ u64::from(octet)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            });
            if order & 1 == 0 { 0 } else { sum }
        });
        let kind = match since {
            Some(steps) => AskedKind::Since(Serial(serial.wrapping_sub(steps))),
            None => AskedKind::Zone,
        };
        match read(kind, cut(kind, &sent, &cuts, is_compressed)).unwrap() {
            Transferred::Zone(read) => prop_assert_eq!(read.arrays(), zone.arrays()),
            other => prop_assert!(false, "{other:?}"),
        }
        // Of what is cut short nothing comes.
        for len in 1..sent.len() {
            let part = read(kind, cut(kind, &sent[..len], &cuts, is_compressed));
            prop_assert_eq!(part.err(), Some(TransferError::Unfinished));
        }
    }

    #[test]
    fn differences_come_as_they_were_sent(
        serial: u32,
        versions in prop::collection::vec(small(), 2..5),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        is_compressed: bool,
    ) {
        let number = |at: usize| serial.wrapping_add(at as u32 * 7);
        let zones: Vec<Zone> =
            versions.iter().enumerate().map(|(at, records)| zone(number(at), records)).collect();
        let differences: Vec<Difference> =
            zones.windows(2).map(|pair| Difference::between(&pair[0], &pair[1])).collect();
        let sent = ixfr(&differences, zones.last().unwrap());
        let kind = AskedKind::Since(Serial(serial));
        match read(kind, cut(kind, &sent, &cuts, is_compressed)).unwrap() {
            Transferred::Differences(read) => prop_assert_eq!(&read, &differences),
            other => prop_assert!(false, "{other:?}"),
        }
        for len in 1..sent.len() {
            let part = read(kind, cut(kind, &sent[..len], &cuts, is_compressed));
            prop_assert_eq!(part.err(), Some(TransferError::Unfinished));
        }
        // Where one of several is missing they do not lead on.
        for missing in 0..differences.len() {
            let mut rest = differences.clone();
            rest.remove(missing);
            let read = read(kind, cut(kind, &ixfr(&rest, zones.last().unwrap()), &cuts, true));
            let is_refused = matches!(
                read,
                Err(TransferError::Gap { .. } | TransferError::Unfinished | TransferError::Fault { .. })
            );
            prop_assert!(is_refused, "{read:?}");
        }
    }

    /// Whatever octet of a transfer is another one: an error, or a zone.
    #[test]
    fn garbled_messages_do_no_harm(
        records in small(), at: Index, octet: u8, is_whole: bool, len: Index,
    ) {
        let (old, new) = (zone(1, &[]), zone(2, &records));
        let (kind, sent) = match is_whole {
            true => (AskedKind::Zone, axfr(&new)),
            false => (AskedKind::Since(Serial(1)), ixfr(&[Difference::between(&old, &new)], &new)),
        };
        let mut message = message(kind.qtype(), true, &sent, true);
        let (at, len) = (at.index(message.len()), len.index(message.len()));
        prop_assert!(read(kind, [message[..len].to_vec()]).is_err());
        message[at] = octet;
        let _ = read(kind, [message.clone()]);
        message.truncate(len);
        // The first serial may have become one that is not newer: then nothing need follow.
        let read = read(kind, [message]);
        prop_assert!(matches!(read, Err(_) | Ok(Transferred::UpToDate(_))), "{read:?}");
    }
}

#[test]
fn what_this_server_sends_it_reads() {
    let records: Vec<Small> = (0..12).flat_map(|n| (0..6).map(move |t| (n, t, n % 4))).collect();
    let version = Version::of(zone(7, &records));
    let head = message(Rtype::AXFR, true, &[], false);
    let heading = Heading::new(head, Vec::new());
    let mut messages = axfr::messages(&version, &heading);
    let (mut out, mut all) = (Vec::new(), Vec::new());
    while messages.next_message(&mut out).unwrap() {
        all.push(out.clone());
    }
    let Transferred::Zone(read) = read(AskedKind::Zone, all).unwrap() else { panic!("a zone") };
    assert_eq!(read.arrays(), version.flat().unwrap().arrays());
}

//--- What is nothing newer, or no transfer

#[test]
fn one_soa_record_says_that_there_is_nothing_newer() {
    for (ours, theirs) in [(7, 7), (8, 7), (0, u32::MAX)] {
        let up_to_date = read_records(AskedKind::Since(Serial(ours)), &[Sent::soa(theirs)]);
        let Ok(Transferred::UpToDate(serial)) = up_to_date else { panic!("{up_to_date:?}") };
        assert_eq!(serial, Serial(theirs));
    }
    // Of a newer serial something must follow, and of a whole zone anyway.
    for kind in [AskedKind::Since(Serial(6)), AskedKind::Zone] {
        assert_eq!(error(kind, &[Sent::soa(7)]), TransferError::Unfinished);
    }
}

#[test]
fn records_that_are_no_transfer_are_refused() {
    let (whole, since) = (AskedKind::Zone, AskedKind::Since(Serial(1)));
    let www = Sent::a(b"\x03www\x07example\0");
    let (one, two, three) = (Sent::soa(1), Sent::soa(2), Sent::soa(3));
    let of = |records: &[&Sent]| records.iter().map(|record| (*record).clone()).collect::<Vec<_>>();
    let check = |kind, records: &[&Sent], expected: TransferError| {
        assert_eq!(error(kind, &of(records)), expected, "{records:?}");
    };
    for kind in [whole, since] {
        check(kind, &[&www, &two], TransferError::NoSoaFirst);
        let fault = TransferError::Fault { owner: apex(), kind: ZoneFaultKind::NoApexNs };
        check(kind, &[&two, &two], fault.clone());
        check(kind, &[&two, &www, &two], fault);
        let ns = Sent::ns();
        let changed = TransferError::SoaChanged { first: Serial(2), found: Serial(3) };
        check(kind, &[&two, &ns, &three], changed);
        check(kind, &[&two, &ns, &two, &www], TransferError::Trailing);
        let outside = Sent::a(b"\x03www\x03org\0");
        let out_of_zone = error(kind, &of(&[&two, &ns, &outside, &two]));
        let is_told = matches!(out_of_zone, TransferError::NoZone(_));
        assert!(is_told, "{out_of_zone:?}");
        let below = Sent { owner: b"\x03www\x07example\0".to_vec(), ..two.clone() };
        let name = Name::from_wire(&below.owner).unwrap();
        check(kind, &[&two, &ns, &below, &two], TransferError::OtherSoa(name));
        let chaos = Sent { class: 3, ..www.clone() };
        check(kind, &[&two, &chaos], TransferError::NoZoneRecord(Rtype::A));
        let any = Sent { rtype: Rtype::ANY, ..www.clone() };
        check(kind, &[&two, &any], TransferError::NoZoneRecord(Rtype::ANY));
        let short = Sent { rdata: vec![192, 0, 2], ..www.clone() };
        let name = Name::from_wire(&www.owner).unwrap();
        let malformed = TransferError::MalformedRdata { owner: name, rtype: Rtype::A };
        check(kind, &[&two, &short], malformed);
    }
    let gap = TransferError::Gap { reached: Serial(1), found: Serial(2) };
    check(since, &[&three, &two, &three, &three], gap);
    let past = TransferError::Past { last: Serial(2), found: Serial(3) };
    check(since, &[&two, &one, &three, &two], past);
    // A serial that is reached twice leads nowhere.
    let gap = TransferError::Gap { reached: Serial(2), found: Serial(1) };
    check(since, &[&three, &one, &two, &one, &three, &three], gap);
    let backwards = error(since, &of(&[&three, &one, &two, &two, &one, &three]));
    assert!(matches!(backwards, TransferError::Sequence(_)), "{backwards:?}");
    let outside = Sent::a(b"\x03www\x03org\0");
    let out_of_zone = error(since, &of(&[&two, &one, &two, &outside, &two]));
    assert!(matches!(out_of_zone, TransferError::Sequence(_)), "{out_of_zone:?}");
}

#[test]
fn messages_that_are_no_response_are_refused() {
    let zone = zone(7, &[(1, 0, 1)]);
    let good = message(Rtype::AXFR, true, &axfr(&zone), true);
    let with = |at: usize, octet: u8| {
        let mut other = good.clone();
        other[at] = octet;
        read(AskedKind::Zone, [other]).err()
    };
    assert!(read(AskedKind::Zone, [good.clone()]).is_ok());
    let other = Some(TransferError::OtherMessage);
    // Id, QR, opcode, QDCOUNT, QNAME, QTYPE, QCLASS.
    for (at, octet) in [(0, 0), (2, 4), (2, 0xa4), (5, 0), (5, 2), (13, b'f'), (22, 1), (24, 3)] {
        assert_eq!(with(at, octet), other, "{at}");
    }
    assert_eq!(with(2, 0x86), Some(TransferError::Truncated));
    assert_eq!(with(3, 5), Some(TransferError::Rcode(5)));
    assert_eq!(with(7, 0), Some(TransferError::Empty));
    assert_eq!(with(13, b'E'), None, "names are compared without case");
    for len in 0..12 {
        let short = read(AskedKind::Zone, [good[..len].to_vec()]).err();
        assert_eq!(short, Some(TransferError::Malformed));
    }
}

/// Pointers that lead forwards, to themselves, into the header, or one to the next without end.
#[test]
fn pointers_lead_backwards_and_not_for_ever() {
    let head = message(Rtype::AXFR, true, &[], false);
    let of_owner = |owner: &[u8]| {
        let fixed = [0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
        let mut message = [&head[..], owner, &fixed].concat();
        message[7] = 1;
        read(AskedKind::Zone, [message]).err()
    };
    let at = head.len() as u8;
    for owner in [[0xc0, at], [0xc0, at + 2], [0xc0, 4], [0xff, 0xff], [0x80, 0]] {
        assert_eq!(of_owner(&owner), Some(TransferError::Malformed), "{owner:?}");
    }
    assert_eq!(of_owner(&[0xc0, 12]), Some(TransferError::NoSoaFirst));
    let chain = |len: u16| {
        // In the RDATA of a record of a type that nobody knows: pointers, each to the one before.
        let start = head.len() as u16 + 12;
        let pointers: Vec<u8> = (0..len)
            .flat_map(|n| (0xc000 | if n == 0 { 12 } else { start + 2 * (n - 1) }).to_be_bytes())
            .collect();
        let rdata_len = (2 * len).to_be_bytes();
        let first = [&[0xc0, 12, 0xff, 0, 0, 1, 0, 0, 0, 60], &rdata_len[..], &pointers].concat();
        let last = (0xc000 | (start + 2 * (len - 1))).to_be_bytes();
        let second = [&last[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]].concat();
        let mut message = [&head[..], &first, &second].concat();
        message[7] = 2;
        let apex = apex();
        let response = Response::read(&message, ID, &apex, Rtype::AXFR, true).unwrap();
        let mut records = response.records();
        assert!(records.next().unwrap().is_some());
        records.next().err()
    };
    assert_eq!(chain(126), None);
    assert_eq!(chain(127), Some(TransferError::Malformed));
}

#[test]
fn what_goes_on_for_ever_ends_at_a_limit() {
    let endless = |limits: Limits| {
        let mut stream = Stream::new(asked(AskedKind::Zone), limits);
        let first = message(Rtype::AXFR, true, &[Sent::soa(7), Sent::ns()], true);
        let mut read = stream.read(&first);
        let mut messages = 1u64;
        while let Ok(false) = read {
            let next = Sent::a(&[b"\x03www", APEX].concat());
            read = stream.read(&message(Rtype::AXFR, false, &[next.clone(), next], true));
            messages += 1;
        }
        (read.unwrap_err(), messages)
    };
    let too_large = |what, most| TransferError::TooLarge { what, most };
    let (error, messages) = endless(Limits { records: 100, ..LIMITS });
    assert_eq!((error, messages), (too_large("records", 100), 51));
    let (error, messages) = endless(Limits { messages: 70, ..LIMITS });
    assert_eq!((error, messages), (too_large("messages", 70), 71));
    let (error, _) = endless(Limits { octets: 3000, ..LIMITS });
    assert_eq!(error, too_large("octets", 3000));
}

#[test]
fn ttls_that_are_too_large_count_as_none() {
    let large = Sent { ttl: 1 << 31, ..Sent::a(b"\x03www\x07example\0") };
    let sent = [Sent::soa(7), Sent::ns(), large.clone(), Sent::soa(7)];
    let Ok(Transferred::Zone(zone)) = read_records(AskedKind::Zone, &sent) else { panic!() };
    assert_eq!(zone.find(&large.owner).unwrap().rrset(Rtype::A).unwrap().ttl(), 0);
}
