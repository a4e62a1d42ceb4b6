//! Images looked into: whole ones, and such that were damaged octet by octet.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use xdp_common::image::children::Block;
use xdp_common::image::node::{TYPE_LEN, at};
use xdp_common::image::{Address, Bucket, TOMBSTONE, UNIT};
use xdp_common::maps::CHUNK_LEN;

use super::super::children::levels;
use super::super::tests::{NOW, name, signed_for_any, zone};
use super::super::{Image, Listing, Memory, Reader};
use super::lookup::lookup;
use super::nodes::NodeRecord;
use super::verify::{Findings, Problem, verify, verify_table};
use crate::datapath::memory::{Mapping, Size};
use crate::dnssec::policy::{AnyResponse, Denial};
use crate::zone::{Rtype, Zone};

/// Every kind of name: cuts with and without DS and with glue, a wildcard, a wildcard CNAME, a DNAME, CNAMEs that
/// lead into the zone, out of it, in a circle and nowhere, empty non-terminals.
const RECORDS: &str = "a A 192.0.2.1\na TXT text\na MX 10 b\n*.w A 192.0.2.2\n*.v CNAME a\n\
    d DNAME w\n*.r DNAME w\ni CNAME a\no CNAME a.example.net.\nx CNAME y\ny CNAME x\nn CNAME m.n.w\n\
    e.m.p.t.y TXT deep\nsec NS ns.sec\nsec DS 1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\
    ns.sec A 192.0.2.3\nins NS ns.ins\nins NS ns.sec\nns.ins AAAA 2001:db8::1";

/// Memory that notes where records were written.
struct Noted {
    memory: Mapping,
    written: Mutex<BTreeSet<usize>>,
}

impl Memory for Noted {
    fn slab_len(&self) -> usize {
        self.memory.slab_len()
    }

    fn bucket_count(&self) -> usize {
        self.memory.bucket_count()
    }

    fn write(&self, at: usize, octets: &[u8]) {
        self.written.lock().expect("one thread").extend(at..at + octets.len());
        self.memory.write(at, octets);
    }

    fn read(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.memory.read(at, len)
    }

    fn bucket(&self, index: usize) -> Bucket {
        self.memory.bucket(index)
    }

    fn store(&self, bucket: usize, slot: usize, entry: u64) {
        self.memory.store(bucket, slot, entry);
    }

    fn replace(&self, at: usize, word: u64) {
        self.memory.replace(at, word);
    }

    fn changes(&self) -> u64 {
        self.memory.changes()
    }
}

struct Held {
    memory: Arc<Noted>,
    reader: Reader,
    listing: Listing,
    zone: Zone,
}

impl Held {
    fn new(zone: Zone) -> Held {
        let size = Size { slab: 8 * CHUNK_LEN, buckets: 64 };
        let memory = Mapping::anonymous(size).expect("memory");
        let memory = Arc::new(Noted { memory, written: Mutex::default() });
        let mut image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, 0x5eed);
        drop(image.publish(&zone).expect("published"));
        Held { memory, reader: image.reader(), listing: image.nodes(zone.apex()), zone }
    }

    fn verify(&self) -> Findings {
        verify(&self.reader, self.zone.apex(), &self.listing, NOW).expect("not changed")
    }

    fn is_whole(&self) -> bool {
        self.verify().problems.is_empty() && verify_table(&self.reader).is_empty()
    }

    /// Changes octets of the slab, and says what is found to be wrong with the zone.
    fn damaged(&self, changes: &[(usize, u8)]) -> Vec<Problem> {
        self.exchange(changes);
        let problems = [self.verify().problems, verify_table(&self.reader)].concat();
        self.exchange(changes);
        problems
    }

    fn exchange(&self, changes: &[(usize, u8)]) {
        for &(at, mask) in changes {
            let octet = self.memory.read(at, 1).expect("in the slab")[0];
            self.memory.memory.write(at, &[octet ^ mask]);
        }
    }
}

fn zones() -> Vec<Held> {
    let plain = zone("example.org.", 7, RECORDS);
    // With opt-out some names have an NSEC3 and some have not.
    [(Denial::Nsec, AnyResponse::Hinfo), (Denial::Nsec3 { opt_out: true }, AnyResponse::Rrset)]
        .map(|(denial, any)| signed_for_any(&plain, denial, any))
        .into_iter()
        .chain([plain.clone()])
        .map(Held::new)
        .collect()
}

#[test]
fn what_is_published_is_right() {
    for held in zones() {
        let findings = held.verify();
        assert_eq!(findings.problems, []);
        assert_eq!(findings.names, held.listing.nodes.len());
        let is_signed = held
            .zone
            .find(name("example.org.").as_wire())
            .is_some_and(|apex| apex.rrset(Rtype::DNSKEY).is_some());
        assert_eq!(findings.signed_rrsets > 0, is_signed);
        assert_eq!(verify_table(&held.reader), []);
    }
}

/// Nodes, pieces of all kinds, the zone's record, indexes and directory: of none an octet can be another.
#[test]
fn any_damaged_octet_is_found() {
    for held in zones() {
        let written = held.memory.written.lock().expect("one thread").clone();
        assert!(written.len() > 3000);
        let is_unnoticed = |at: &usize| held.damaged(&[(*at, 1 << (at % 8))]).is_empty();
        let unnoticed: Vec<usize> = written.into_iter().filter(is_unnoticed).collect();
        assert_eq!(unnoticed, [0usize; 0]);
        assert!(held.is_whole());
    }
}

/// The index of more children than one leaf holds: entries and references of its root, and entries of its leaves.
#[test]
fn a_damaged_block_of_an_index_of_children_is_found() {
    let records: String = (0..130).map(|n| format!("as-long-as-a-key-{n:03} TXT x\n")).collect();
    let held = Held::new(signed_for_any(
        &zone("example.org.", 7, &records),
        Denial::Nsec,
        AnyResponse::Rrset,
    ));
    assert!(held.is_whole(), "{:?}", held.verify().problems);
    let apex = held.listing.nodes[0].1;
    let node = NodeRecord::read(&*held.memory, apex, held.reader.key()).expect("whole");
    let read = |address: Address, len| held.memory.read(address as usize * UNIT, len);
    let levels = levels(node.children, node.child_count, read).expect("whole");
    assert_eq!(levels.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    let places_of = |block: &Block, step| {
        let at = block.address as usize * UNIT;
        (at..at + block.octets()).step_by(step)
    };
    let shape = apex as usize * UNIT + at::CHILDREN_SHAPE;
    let places = places_of(&levels[1][0], 1).chain(shape..shape + 2);
    let places = places.chain(levels[0].iter().flat_map(|leaf| places_of(leaf, 37)));
    let is_unnoticed = |at: &usize| held.damaged(&[(*at, 1 << (at % 8))]).is_empty();
    assert_eq!(places.filter(is_unnoticed).collect::<Vec<_>>(), [0usize; 0]);
}

#[test]
fn a_damaged_entry_of_the_table_is_found() {
    for held in zones() {
        for bucket in 0..held.memory.bucket_count() {
            for (slot, entry) in held.memory.bucket(bucket).into_iter().enumerate() {
                let is_used = entry as Address != 0;
                for bit in (0..64).filter(|bit| is_used || bit % 13 == 0) {
                    held.memory.store(bucket, slot, entry ^ 1 << bit);
                    // A deleted entry's mark says nothing but where a search goes on.
                    let is_mark = entry ^ 1 << bit == TOMBSTONE;
                    assert!(!held.is_whole() || is_mark, "bit {bit} of {entry:#x}");
                }
                held.memory.store(bucket, slot, entry);
            }
        }
        assert!(held.is_whole());
    }
}

/// What stored sums do not show, a validator sees.
#[test]
fn a_wrong_signature_with_a_right_sum_is_found() {
    for held in zones().into_iter().take(2) {
        let lookup = lookup(&held.reader, &name("a.example.org."), Some(Rtype::TXT));
        let piece = lookup.nodes[0].pieces.last().expect("a piece").clone();
        assert_eq!((piece.types.as_str(), piece.problem), ("TXT RRSIG", None));
        // The same bit twice in words of the signature: one goes up, the other down.
        let end = piece.address as usize * UNIT + 24 + piece.octets[1];
        let octet = |at: usize| held.memory.read(at, 1).expect("in the slab")[0];
        let last = (0..20).map(|back| end - 1 - 2 * back);
        let places = last.clone().find_map(|up| {
            let down = last.clone().find(|down| octet(*down) & 1 != octet(up) & 1)?;
            Some([(up, 1), (down, 1)])
        });
        let problems = held.damaged(&places.expect("bits of both kinds"));
        let said: Vec<_> = problems.iter().map(|one| (&*one.name, &*one.part)).collect();
        assert_eq!(said, [("a.example.org.", "TXT")], "{problems:?}");
        assert!(problems[0].problem.contains("does not match the records"), "{problems:?}");
    }
}

/// A piece of the wildcard's own name where one of the question's must be: sent, its owner would be a pointer into
/// the middle of a label, or to a name that was not asked for.
#[test]
fn a_wildcard_whose_records_keep_their_owner_is_found() {
    for held in zones() {
        let found = lookup(&held.reader, &name("*.r.example.org."), None).nodes.remove(0);
        let node =
            NodeRecord::read(&*held.memory, found.address, held.reader.key()).expect("whole");
        let place = node.types.iter().position(|(rtype, _)| Rtype(*rtype) == Rtype::DNAME);
        let at = found.address as usize * UNIT + at::TYPES + place.expect("a DNAME") * TYPE_LEN + 4;
        let mask = (node.piece(Rtype::DNAME.0) ^ node.otherwise).to_le_bytes();
        let changes: Vec<_> = (at..).zip(mask).collect();
        assert_ne!(mask, [0; 4]);
        let problems = held.damaged(&changes);
        let is_it = |one: &Problem| (&*one.name, &*one.part) == ("*.r.example.org.", "DNAME");
        assert!(problems.iter().any(is_it), "{problems:?}");
    }
}

#[test]
fn problems_are_said_of_their_names() {
    let held = &zones()[0];
    let found = lookup(&held.reader, &name("a.example.org."), None).nodes.remove(0);
    let piece = found.pieces.iter().find(|piece| piece.part == "MX").expect("a piece");
    let body = piece.address as usize * UNIT + 40;
    let problems = held.damaged(&[(body, 0x10)]);
    assert!(problems.iter().any(|one| (&*one.name, &*one.part) == ("a.example.org.", "MX")));
    // Without its entry a name is not found, though all its records are right.
    let place = super::super::table::node_hash(name("a.example.org.").as_wire(), held.reader.key());
    assert!(super::super::table::remove(&*held.memory, place, found.address));
    let problems = held.verify().problems;
    let said: Vec<_> = problems.iter().map(|one| (&*one.name, &*one.part)).collect();
    assert_eq!(said, [("a.example.org.", "table")]);
}

#[test]
fn a_version_that_goes_is_not_judged() {
    let mut image = Image::new(
        Arc::new(Mapping::anonymous(Size { slab: 8 * CHUNK_LEN, buckets: 64 }).expect("memory")),
        1,
    );
    let first = zone("example.org.", 1, "a A 192.0.2.1");
    drop(image.publish(&first).expect("published"));
    let old = image.nodes(first.apex());
    let reader = image.reader();
    drop(image.publish(&zone("example.org.", 2, "b A 192.0.2.1")).expect("published"));
    assert_eq!(verify(&reader, first.apex(), &old, NOW), None);
    let now = verify(&reader, first.apex(), &image.nodes(first.apex()), NOW);
    assert_eq!(now.expect("the version that is there").problems, []);
}
