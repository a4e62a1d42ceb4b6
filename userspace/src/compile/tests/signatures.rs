//! Questions for signatures: what they are answered with, and what that costs.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::time::Instant;

use xdp_common::engine::{Host, MessageContext};
use xdp_common::frame::SliceFrame;
use xdp_common::image::{Address, Bucket, Entry, Store, Window};
use xdp_common::maps::EdnsSettings;
use xdp_common::{Outcome, Scratch};

use super::super::signatures::respond;
use super::super::{QueryContext, Reader, SignatureAnswer};
use super::{DENIALS, NOW, image, name, query, signed, versions, zone};
use crate::dnssec::any::preferred_type;
use crate::dnssec::policy::Denial;
use crate::zone::{Name, Owner, Rtype, Zone, name as wire_name};

/// Of every kind of name: deep ones, wildcards, a wildcard's CNAME and DNAME, a cut, empty non-terminals.
const RECORDS: &str = "a A 192.0.2.1\na TXT text\nb TXT text\n*.w A 192.0.2.2\n*.w MX 10 a\nx.y.w A 192.0.2.3\n\
    *.v CNAME a\nd DNAME w\n*.r DNAME w\nc CNAME a\ne.m.p.t.y TXT deep\nsec NS ns.sec\nns.sec A 192.0.2.4";

/// The owner whose records answer for a name, by the plain reading of RFC 4592 section 3.3.1; none below cuts and
/// DNAMEs, and where there is no such name.
fn source<'a>(zone: &'a Zone, qname: &[u8]) -> Option<Owner<'a>> {
    let is_hash = crate::dnssec::authority::is_hash;
    let names = || zone.owners().filter(|owner| !is_hash(owner));
    let exists = |wire: &[u8]| names().any(|one| wire_name::is_at_or_below(one.name(), wire));
    let of = |wire: &[u8]| names().find(|one| one.name() == wire);
    let apex = zone.apex().as_wire();
    let mut up = Some(qname);
    let mut encloser = None;
    while let Some(above) = up.filter(|above| above.len() >= apex.len()) {
        let has = |rtype| of(above).is_some_and(|owner| owner.rrset(rtype).is_some());
        let is_cut = above != apex && has(Rtype::NS);
        if is_cut || (above != qname && has(Rtype::DNAME)) {
            return None;
        }
        if encloser.is_none() && exists(above) {
            encloser = Some(above);
        }
        up = wire_name::parent(above);
    }
    match encloser? {
        encloser if encloser == qname => of(qname),
        encloser => of(&[b"\x01*", encloser].concat()),
    }
}

fn ask(reader: &Reader, qname: &Name) -> (SignatureAnswer, Vec<u8>) {
    let asked = QueryContext {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        over_tcp: true,
        limit: 65535,
        now: NOW,
        edns_settings: &EdnsSettings::new(),
    };
    let mut out = Vec::new();
    let found = reader.signatures(&query(qname.as_wire(), Rtype(65534)), &asked, &mut out);
    (found, out)
}

#[test]
fn they_are_those_of_the_name_or_of_its_wildcard() {
    let plain = zone("example.org.", 1, RECORDS);
    for denial in DENIALS {
        let zone = versions(&[&plain], denial).remove(0);
        let mut image = image(64 << 16, 1 << 10);
        drop(image.publish(&zone).expect("published"));
        let reader = image.reader();
        let names = zone.owners().map(|owner| owner.name().to_vec());
        let below = ["", "x.", "xyz.", "a.b.", "*.", "x.y.z."];
        let mut counts = [0; 2];
        for (above, below) in names.flat_map(|above| below.map(|below| (above.clone(), below))) {
            let prefix = if below.is_empty() { Name::root() } else { name(below) };
            let prefix = &prefix.as_wire()[..prefix.as_wire().len() - 1];
            let Some(qname) = Name::from_wire(&[prefix, &above].concat()) else { continue };
            let owner = source(&zone, qname.as_wire());
            let rtype = owner.and_then(|owner| preferred_type(&owner));
            let expected: Vec<u8> = owner
                .zip(rtype)
                .into_iter()
                .flat_map(|(owner, rtype)| {
                    let ttl = owner.rrset(rtype).expect("it has it").ttl();
                    owner.signatures(rtype).flat_map(move |rdata| {
                        let len = (rdata.len() as u16).to_be_bytes();
                        let head = [0xc0, 12, 0, 46, 0, 1];
                        [&head[..], &ttl.to_be_bytes(), &len, rdata].concat()
                    })
                })
                .collect();
            let (found, out) = ask(&reader, &qname);
            assert!(found.answered.outcome.is_answered(), "{qname}: {found:?}");
            assert_eq!(found.records == 0, expected.is_empty(), "{qname}: {found:?}");
            counts[usize::from(found.records != 0)] += 1;
            if found.records != 0 {
                assert_eq!(out, expected, "{qname}");
            }
        }
        assert!(counts[0] > 5 && (counts[1] > 5) == denial.is_some(), "{counts:?}");
    }
}

/// Counts what is read of an image.
struct Counting<'a> {
    reader: &'a Reader,
    reads: Cell<usize>,
}

impl Counting<'_> {
    fn count(&self) {
        self.reads.set(self.reads.get() + 1);
    }
}

impl Store for Counting<'_> {
    const MAX_PIECES: usize = Reader::MAX_PIECES;
    const MAX_TYPES: usize = Reader::MAX_TYPES;
    const MAX_MADE: usize = Reader::MAX_MADE;
    const MAX_CHAIN: usize = Reader::MAX_CHAIN;
    const MAX_ENCLOSER_STEPS: usize = Reader::MAX_ENCLOSER_STEPS;
    const MAX_PARTS: usize = Reader::MAX_PARTS;
    const MAX_FIXUPS: usize = Reader::MAX_FIXUPS;
    const MAX_OWNERS: usize = Reader::MAX_OWNERS;
    const MAX_OPTIONS: usize = Reader::MAX_OPTIONS;
    const SYNTHESIS: bool = true;
    const UNBOUNDED: bool = true;

    fn seed(&self) -> u64 {
        self.reader.seed()
    }

    fn max_labels(&self) -> usize {
        self.reader.max_labels()
    }

    fn bucket(&self, hash: u64, probe: usize) -> Option<impl Deref<Target = Bucket>> {
        self.count();
        self.reader.bucket(hash, probe)
    }

    fn record(&self, address: Address) -> Option<&Window> {
        self.count();
        self.reader.record(address)
    }

    fn entry(&self, address: Address) -> Option<&Entry> {
        self.count();
        self.reader.entry(address)
    }
}

/// A name of so many labels below the zone's.
fn deep(labels: usize, above: &str) -> Name {
    let below: Vec<u8> = [1, b'x'].repeat(labels);
    Name::from_wire(&[&below, name(above).as_wire()].concat()).expect("short enough")
}

/// A question for signatures reads no more of the image than one for any other type, and that neither grows with
/// the zone nor with the labels that the client chooses.
#[test]
fn they_take_one_look_up() {
    let mut most = Vec::new();
    for (hosts, denial) in
        [30, 3000].into_iter().flat_map(|hosts| DENIALS.map(|denial| (hosts, denial)))
    {
        let records: String = (0..hosts).map(|n| format!("n{n} A 192.0.2.1\n")).collect();
        let plain = zone("e.", 1, &(records + "*.w A 192.0.2.2"));
        let zone = versions(&[&plain], denial).remove(0);
        let mut image = image(256 << 16, 1 << 13);
        drop(image.publish(&zone).expect("published"));
        let reader = image.reader();
        let (edns_settings, mut scratch) = (EdnsSettings::new(), Box::<Scratch>::default());
        let context = MessageContext {
            response: 65535,
            over_udp: false,
            now_s: NOW,
            payload: 1232,
            client: [0; 2],
            edns_settings: &edns_settings,
        };
        let mut room = vec![0; 65535];
        let mut reads = |qname: &Name, is_for_signatures: bool| {
            let store = Counting { reader: &reader, reads: Cell::new(0) };
            let query = query(qname.as_wire(), Rtype(65534));
            room[..query.len()].copy_from_slice(&query);
            let mut frame = SliceFrame::new(&mut room, query.len());
            let (len, context) = (query.len(), &context);
            let outcome = if is_for_signatures {
                respond(&store, &mut frame, len, context, &mut scratch, &mut Vec::new())
                    .map(|(outcome, _)| outcome)
            } else {
                (Host { store: &store, context }).answer(&mut frame, len, &mut scratch)
            };
            assert!(outcome.is_ok_and(Outcome::is_answered), "{outcome:?}");
            store.reads.get()
        };
        let mut largest = 0;
        for (above, labels) in
            ["e.", "w.e.", "n7.e."].into_iter().flat_map(|above| (0..=122).map(move |n| (above, n)))
        {
            let qname = deep(labels, above);
            let (of_any, of_signatures) = (reads(&qname, false), reads(&qname, true));
            // Node and piece once more, in place of measuring and writing.
            assert!(of_signatures <= of_any + 4, "{qname}: {of_signatures}, {of_any}");
            largest = largest.max(of_signatures);
        }
        most.push(largest);
    }
    // A child is found among a hundred times as many by seven halvings more.
    assert!(most.iter().all(|&one| one <= most[0] + 16), "{most:?}");
}

/// Prints what a question for signatures costs: run it by hand, with `--ignored --nocapture`.
#[test]
#[ignore = "it measures, and decides nothing"]
fn what_they_cost() {
    let records: String = (0..100_000).map(|n| format!("n{n} A 192.0.2.1\n")).collect();
    let zone = signed(&zone("e.", 1, &records), Denial::Nsec);
    let mut image = image(4096 << 16, 1 << 16);
    drop(image.publish(&zone).expect("published"));
    let reader = image.reader();
    for labels in [0, 1, 8, 32, 122] {
        let qname = deep(labels, "n7.e.");
        let started = Instant::now();
        const TIMES: u32 = 20_000;
        for _ in 0..TIMES {
            assert_ne!(ask(&reader, &qname).0.answered.outcome, Outcome::Broken);
        }
        println!("{labels} labels below: {} ns", (started.elapsed() / TIMES).as_nanos());
    }
}
