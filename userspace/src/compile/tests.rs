//! Zones published, replaced and withdrawn, and what is answered meanwhile.

mod any;
mod lasting;
mod messages;
mod signatures;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::serialize::binary::BinDecodable;
use proptest::prelude::*;
use xdp_common::Outcome;

use super::{Image, Memory, PublishError, Reader};
use crate::config::name_from_text;
use crate::datapath::memory::{Mapping, Size};
use crate::dnssec::keys::{Algorithm, KeyLayout};
use crate::dnssec::policy::{Any, Denial, SigningPolicy};
use crate::zone::{Name, Rtype, Zone, text};

pub(super) const NOW: u32 = 1_790_000_000;

fn image(slab: usize, buckets: usize) -> Image {
    Image::new(Arc::new(Mapping::anonymous(Size { slab, buckets }).expect("memory")), 0x5eed)
}

fn small_image() -> Image {
    image(16 << 16, 1 << 10)
}

pub(super) fn name(text: &str) -> Name {
    name_from_text(text).expect("a name")
}

/// A zone from its records; SOA and NS are added.
pub(super) fn zone(apex: &str, serial: u32, records: &str) -> Zone {
    let head = format!(
        "$TTL 300\n@ SOA ns.example.net. host.example.net. {serial} 4h 1h 2w 60\n@ NS ns.example.net.\n"
    );
    let apex = name(apex);
    let mut none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    text::parse(
        (head + records + "\n").into_bytes(),
        "test",
        &apex,
        text::Options::default(),
        &mut none,
    )
    .unwrap_or_else(|error| panic!("{error}"))
    .zone
}

pub(super) fn signed(zone: &Zone, denial: Denial) -> Zone {
    signed_for_any(zone, denial, Any::Rrset)
}

pub(super) fn signed_for_any(zone: &Zone, denial: Denial, any: Any) -> Zone {
    versions_for_any(&[zone], Some(denial), any).remove(0)
}

/// Versions of a zone signed by the same keys one after the other; what does not change from one to the
/// next keeps its signature.
fn versions(zones: &[&Zone], denial: Option<Denial>) -> Vec<Zone> {
    versions_for_any(zones, denial, Any::Rrset)
}

fn versions_for_any(zones: &[&Zone], denial: Option<Denial>, any: Any) -> Vec<Zone> {
    let Some(denial) = denial else { return zones.iter().copied().cloned().collect() };
    let directory = tempfile::tempdir().expect("a directory");
    let store = crate::dnssec::keys::store::KeyStore::new(directory.path());
    let (keys, _) = store
        .load_or_generate(zones[0].apex(), KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256, NOW)
        .expect("keys");
    let policy = SigningPolicy { denial, any, ..SigningPolicy::default() };
    let mut versions: Vec<Zone> = Vec::new();
    for zone in zones {
        let before = versions.last().map(|before| (before, 0));
        let signed = crate::dnssec::sign::sign_again(zone, before, &keys, &policy, NOW);
        versions.push(signed.expect("signed").0);
    }
    versions
}

/// What a question is answered with: outcome, response code, answer, authority as owner and type.
struct Said {
    outcome: Outcome,
    code: ResponseCode,
    answer: Vec<String>,
    authority: Vec<String>,
}

pub(super) fn query(wire: &[u8], rtype: Rtype) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend(wire);
    message.extend(rtype.0.to_be_bytes());
    message.extend([0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    message
}

fn ask(reader: &Reader, qname: &str, rtype: Rtype) -> Said {
    let mut response = Vec::new();
    let query = query(name(qname).as_wire(), rtype);
    let outcome = reader.answer(&query, false, 1232, NOW, &mut response);
    if !outcome.is_answered() {
        let (answer, authority) = (Vec::new(), Vec::new());
        return Said { outcome, code: ResponseCode::ServFail, answer, authority };
    }
    assert_eq!(response[..2], query[..2]);
    let message = Message::from_bytes(&response).expect("a message");
    let shown = |records: &[hickory_proto::rr::Record]| {
        records.iter().map(|record| format!("{} {}", record.name, record.record_type())).collect()
    };
    Said {
        outcome,
        code: message.metadata.response_code,
        answer: shown(&message.answers),
        authority: shown(&message.authorities),
    }
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let mut image = small_image();
    let first = zone("example.org.", 1, "a A 192.0.2.1\ngone A 192.0.2.2\nb.c.d A 192.0.2.3");
    drop(image.publish(&first).expect("published"));
    let reader = image.reader();
    assert_eq!(ask(&reader, "gone.example.org.", Rtype::A).answer.len(), 1);
    assert_eq!(ask(&reader, "c.d.example.org.", Rtype::A).outcome, Outcome::Nodata);
    assert_eq!(ask(&reader, "new.e.example.org.", Rtype::A).code, ResponseCode::NXDomain);

    let second = zone("example.org.", 2, "a A 192.0.2.1\nnew.e A 192.0.2.2");
    let (_, retired) = image.publish(&second).expect("published");
    let reader = image.reader();
    assert_eq!(ask(&reader, "gone.example.org.", Rtype::A).code, ResponseCode::NXDomain);
    assert_eq!(ask(&reader, "c.d.example.org.", Rtype::A).code, ResponseCode::NXDomain);
    assert_eq!(ask(&reader, "e.example.org.", Rtype::A).outcome, Outcome::Nodata);
    assert_eq!(ask(&reader, "new.e.example.org.", Rtype::A).answer.len(), 1);

    // Withdrawn memory comes back: the image does not grow however often a zone changes.
    image.release(retired);
    let mut most = 0;
    for serial in 3..200 {
        let records = format!("a A 192.0.2.1\nnew.e A 192.0.2.2\nn{} A 192.0.2.3", serial % 100);
        let next = zone("example.org.", serial, &records);
        let (_, retired) = image.publish(&next).expect("published");
        image.release(retired);
        if serial < 100 {
            most = image.usage().slab_octets.max(most);
        }
        assert!(serial < 100 || image.usage().slab_octets <= most, "{most}: {:?}", image.usage());
    }
    let retired = image.remove(&name("example.org."));
    image.release(retired);
    assert_eq!(ask(&image.reader(), "a.example.org.", Rtype::A).outcome, Outcome::NotOurs);
    assert_eq!((image.usage().entries, image.usage().slab_octets), (0, 0));
}

/// Called at every access of one kind, though not at those that it makes itself.
type Hook = Mutex<Option<Box<dyn FnMut() + Send>>>;

/// Memory that lets others act in between.
struct Watched {
    memory: Mapping,
    after_store: Hook,
    before_look_up: Hook,
}

impl Watched {
    fn new() -> Watched {
        let memory = Mapping::anonymous(Size { slab: 16 << 16, buckets: 1 << 10 }).expect("memory");
        Watched { memory, after_store: Mutex::default(), before_look_up: Mutex::default() }
    }
}

fn call(hook: &Hook) {
    let taken = hook.lock().expect("one thread").take();
    if let Some(mut taken) = taken {
        taken();
        hook.lock().expect("one thread").get_or_insert(taken);
    }
}

impl Memory for Watched {
    fn slab_len(&self) -> usize {
        self.memory.slab_len()
    }

    fn bucket_count(&self) -> usize {
        self.memory.bucket_count()
    }

    fn write(&self, at: usize, octets: &[u8]) {
        self.memory.write(at, octets);
    }

    fn read(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.memory.read(at, len)
    }

    fn bucket(&self, index: usize) -> xdp_common::image::Bucket {
        call(&self.before_look_up);
        self.memory.bucket(index)
    }

    fn store(&self, bucket: usize, slot: usize, entry: u64) {
        self.memory.store(bucket, slot, entry);
        call(&self.after_store);
    }

    fn replace(&self, at: usize, word: u64) {
        self.memory.replace(at, word);
        call(&self.after_store);
    }

    fn changes(&self) -> u64 {
        self.memory.changes()
    }
}

/// Two versions of a zone in which names come and go, and what is asked of them.
struct Change {
    versions: [Zone; 2],
    names: Vec<Name>,
    queries: Vec<Vec<u8>>,
    /// The answers of each version.
    expected: [Vec<Vec<u8>>; 2],
}

impl Change {
    fn new(denial: Option<Denial>) -> Change {
        // What is in both: names that stay, among them some below which much changes.
        let both = "stay A 192.0.2.9\nx.stay A 192.0.2.9\n*.wild.stay A 192.0.2.9\nto CNAME a\n\
                    over CNAME stay\nkept NS ns.kept\nns.kept A 192.0.2.9\n";
        let few = "a A 192.0.2.1\n*.w TXT few\ncut NS ns.example.net.\ngone.too.deep TXT few";
        let many = "a A 192.0.2.2\nb.c.d.e.f.g TXT many\nx.w TXT many\n*.d.e.f.g TXT many\n\
                    c2 CNAME a\nb.cut TXT many\nx.few A 192.0.2.3";
        let names: Vec<Name> = "@ a y.a w x.w y.w cut b.cut y.cut gone.too.deep too.deep deep \
                                y.too.deep y.deep b.c.d.e.f.g c.d.e.f.g y.c.d.e.f.g y.d.e.f.g \
                                e.f.g y.e.f.g f.g y.g g c2 few x.few y.few nobody y.nobody \
                                stay x.stay y.stay wild.stay y.wild.stay to over kept y.kept"
            .split_whitespace()
            .map(|label| name(&format!("{label}.example.org.").replace("@.", "")))
            .collect();
        let queries: Vec<Vec<u8>> = names
            .iter()
            .flat_map(|name| [Rtype::A, Rtype::TXT, Rtype::NS].map(|rtype| (name, rtype)))
            .map(|(name, rtype)| query(name.as_wire(), rtype))
            .collect();
        let few = zone("example.org.", 1, &format!("{both}{few}"));
        let many = zone("example.org.", 2, &format!("{both}{many}"));
        let versions = versions(&[&few, &many], denial);
        let versions = [versions[0].clone(), versions[1].clone()];
        let expected = versions.each_ref().map(|version| {
            let mut image = small_image();
            drop(image.publish(version).expect("published"));
            let reader = image.reader();
            queries.iter().map(|query| answer(&reader, query)).collect()
        });
        Change { versions, names, queries, expected }
    }

    fn check(&self, place: usize, answer: &[u8]) {
        let is_one = self.expected.iter().any(|answers| answers[place] == answer);
        assert!(is_one, "{}: {answer:02x?}", self.names[place / 3]);
    }
}

fn answer(reader: &Reader, query: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    reader.answer(query, false, 1232, NOW, &mut response);
    response
}

const DENIALS: [Option<Denial>; 4] = [
    Some(Denial::Nsec),
    Some(Denial::Nsec3 { opt_out: false }),
    Some(Denial::Nsec3 { opt_out: true }),
    None,
];

/// Between any two steps of a change, all that is asked is answered as the old version has it or as the
/// new one has it, by readers that were made before; the proofs too.
#[test]
fn every_step_of_a_change_is_one_version_or_the_other() {
    for denial in DENIALS {
        let change = Arc::new(Change::new(denial));
        let memory = Arc::new(Watched::new());
        let mut image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, 0x5eed);
        drop(image.publish(&change.versions[0]).expect("published"));
        for version in [1, 0] {
            let (reader, steps) = (image.reader(), Arc::new(AtomicUsize::new(0)));
            let (asked, counted) = (Arc::clone(&change), Arc::clone(&steps));
            let hook = move || {
                for (place, query) in asked.queries.iter().enumerate() {
                    asked.check(place, &answer(&reader, query));
                }
                counted.fetch_add(1, Relaxed);
            };
            *memory.after_store.lock().expect("one thread") = Some(Box::new(hook));
            drop(image.publish(&change.versions[version]).expect("published"));
            *memory.after_store.lock().expect("one thread") = None;
            assert!(steps.load(Relaxed) > 10, "{steps:?}");
        }
    }
}

/// A change between any two look-ups that an answer takes leaves the answer one version's.
#[test]
fn a_change_within_an_answer_is_one_version_or_the_other() {
    for denial in DENIALS {
        let change = Arc::new(Change::new(denial));
        for (place, query) in change.queries.iter().enumerate() {
            for version in [1, 0] {
                // Until an answer is complete before so many look-ups.
                for look_up in 0usize.. {
                    let memory = Arc::new(Watched::new());
                    let mut image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, 0x5eed);
                    drop(image.publish(&change.versions[1 - version]).expect("published"));
                    let reader = image.reader();
                    let (asked, happened) = (Arc::clone(&change), Arc::new(AtomicUsize::new(0)));
                    let (counted, mut left) = (Arc::clone(&happened), look_up);
                    let hook = move || {
                        if left == 0 {
                            drop(image.publish(&asked.versions[version]).expect("published"));
                            counted.fetch_add(1, Relaxed);
                        }
                        left = left.wrapping_sub(1);
                    };
                    *memory.before_look_up.lock().expect("one thread") = Some(Box::new(hook));
                    change.check(place, &answer(&reader, query));
                    *memory.before_look_up.lock().expect("one thread") = None;
                    if happened.load(Relaxed) == 0 {
                        assert!(look_up > 0, "nothing was looked up");
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn a_child_zone_hides_its_cut_but_not_the_ds() {
    let parent = "sub NS ns.sub\nns.sub A 192.0.2.9\nsub DS 1 13 2 \
                  00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\nx A 192.0.2.1";
    for child_first in [false, true] {
        let mut image = small_image();
        let parent = signed(&zone("example.org.", 1, parent), Denial::Nsec);
        let child = zone("sub.example.org.", 1, "www A 192.0.2.7");
        let order = if child_first { [&child, &parent] } else { [&parent, &child] };
        for zone in order {
            drop(image.publish(zone).expect("published"));
        }
        let reader = image.reader();
        let www = ask(&reader, "www.sub.example.org.", Rtype::A);
        assert_eq!(www.answer, ["www.sub.example.org. A"]);
        let ds = ask(&reader, "sub.example.org.", Rtype::DS);
        assert_eq!(ds.answer, ["sub.example.org. DS", "sub.example.org. RRSIG"]);
        assert_eq!(ask(&reader, "sub.example.org.", Rtype::SOA).answer.len(), 1);

        // The parent changes, the child stays; then the child goes, and the parent refers again.
        drop(image.publish(&parent).expect("published"));
        assert_eq!(ask(&image.reader(), "sub.example.org.", Rtype::DS).answer.len(), 2);
        drop(image.remove(&name("sub.example.org.")));
        let reader = image.reader();
        assert_eq!(ask(&reader, "www.sub.example.org.", Rtype::A).outcome, Outcome::Referral);
        assert_eq!(ask(&reader, "sub.example.org.", Rtype::DS).answer.len(), 2);
        drop(image.remove(&name("example.org.")));
        assert_eq!(image.usage().entries, 0);
    }
}

#[test]
fn zones_apart_do_not_see_each_other() {
    let mut image = small_image();
    drop(image.publish(&zone("example.org.", 1, "a A 192.0.2.1")).expect("published"));
    drop(image.publish(&zone("example.com.", 1, "a A 192.0.2.1")).expect("published"));
    let reader = image.reader();
    assert_eq!(ask(&reader, "a.example.com.", Rtype::A).answer.len(), 1);
    for qname in ["org.", ".", "other.org.", "example.net.", "xexample.org."] {
        assert_eq!(ask(&reader, qname, Rtype::A).outcome, Outcome::NotOurs, "{qname}");
    }
    // The root zone encloses what no other zone does.
    drop(image.publish(&zone(".", 1, "net NS ns.example.net.")).expect("published"));
    let reader = image.reader();
    assert_eq!(ask(&reader, "other.org.", Rtype::A).code, ResponseCode::NXDomain);
    assert_eq!(ask(&reader, "example.net.", Rtype::A).outcome, Outcome::Referral);
    assert_eq!(ask(&reader, "a.example.com.", Rtype::A).answer.len(), 1);
}

#[test]
fn memory_that_is_too_small_is_said_and_nothing_changes() {
    let mut image = image(2 << 16, 64);
    drop(image.publish(&zone("example.org.", 1, "a A 192.0.2.1")).expect("published"));
    let before = image.usage();
    let records: String = (0..5000).map(|n| format!("n{n} TXT \"{:0100}\"\n", n)).collect();
    let large = zone("example.org.", 2, &records);
    let Err(PublishError::Full { slab_needed, buckets_needed }) = image.publish(&large) else {
        panic!("it fits");
    };
    assert_eq!(image.usage(), before);
    assert_eq!(ask(&image.reader(), "a.example.org.", Rtype::A).answer.len(), 1);

    // What it asks for is enough, and what was there moves along.
    let size = Size { slab: slab_needed.next_multiple_of(1 << 16), buckets: buckets_needed };
    image.move_to(Arc::new(Mapping::anonymous(size).expect("memory"))).expect("moved");
    assert_eq!(ask(&image.reader(), "a.example.org.", Rtype::A).answer.len(), 1);
    drop(image.publish(&large).expect("published"));
    assert_eq!(ask(&image.reader(), "n4999.example.org.", Rtype::TXT).answer.len(), 1);
    assert_eq!(ask(&image.reader(), "a.example.org.", Rtype::A).code, ResponseCode::NXDomain);
}

#[test]
fn a_full_table_asks_for_no_slab() {
    let mut image = image(16 << 16, 8);
    let records: String = (0..200).map(|n| format!("n{n} A 192.0.2.1\n")).collect();
    let Err(PublishError::Full { slab_needed, buckets_needed }) =
        image.publish(&zone("example.org.", 1, &records))
    else {
        panic!("it fits");
    };
    assert!(slab_needed <= image.usage().slab_capacity && buckets_needed > 8);
}

#[test]
fn a_reader_sees_names_deeper_than_any_before_it() {
    let mut image = small_image();
    drop(image.publish(&zone("example.org.", 1, "a A 192.0.2.1")).expect("published"));
    let reader = image.reader();
    let deep = "e.d.c.b.a A 192.0.2.1\n*.d.c.b.a TXT \"deep\"";
    drop(image.publish(&zone("example.org.", 2, deep)).expect("published"));
    assert_eq!(ask(&reader, "x.d.c.b.a.example.org.", Rtype::TXT).outcome, Outcome::Wildcard);
}

/// However many siblings there are, and however long what they begin with is the same.
#[test]
fn a_gap_is_found_among_any_number_of_siblings() {
    let mut random = 0x9e37_79b9_u64;
    // Of few letters, half of them behind twelve octets that are the same: what the index compares.
    let mut label = || {
        let mut text = String::new();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if random >> 63 != 0 {
            text.push_str("mmmmmmmmmmmm");
        }
        for place in 0..1 + (random >> 60 & 3) {
            text.push(char::from(b'a' + 6 * (random >> (20 + 3 * place) & 3) as u8));
        }
        text
    };
    let sizes = (1..40).chain([63, 64, 65, 100, 150]);
    for size in sizes {
        let mut siblings = BTreeSet::new();
        while siblings.len() < size {
            siblings.insert(label());
        }
        let records: String = siblings.iter().map(|label| format!("{label} TXT x\n")).collect();
        let signed = signed(&zone("example.", 1, &records), Denial::Nsec);
        let mut image = small_image();
        let _ = image.publish(&signed).expect("it fits");
        let reader = image.reader();
        for _ in 0..60 {
            let asked = label();
            if siblings.contains(&asked) {
                continue;
            }
            let before = siblings.range(..asked.clone()).next_back();
            let owner = before.map_or("example.".to_owned(), |one| format!("{one}.example."));
            let said = ask(&reader, &format!("{asked}.example."), Rtype::A);
            assert_eq!(said.code, ResponseCode::NXDomain);
            assert!(
                said.authority.contains(&format!("{owner} NSEC")),
                "{asked} among {size}: {:?}, not {owner}",
                said.authority
            );
        }
    }
}

#[test]
fn expired_signatures_are_not_sent() {
    let mut image = small_image();
    let signed = signed(&zone("example.org.", 1, "a A 192.0.2.1"), Denial::Nsec);
    drop(image.publish(&signed).expect("published"));
    let mut response = Vec::new();
    let mut at = |now: u32| {
        let query = query(name("a.example.org.").as_wire(), Rtype::A);
        image.reader().answer(&query, false, 1232, now, &mut response)
    };
    let end = NOW + 14 * 86400;
    assert_eq!(at(end), Outcome::Positive);
    assert_eq!(at(end + 1), Outcome::Expired);
}

#[test]
fn chains_of_cnames_are_followed_and_circles_end() {
    let records = "a CNAME b\nb CNAME c\nc A 192.0.2.1\nround CNAME about\nabout CNAME round\n\
                   into CNAME round\n*.c CNAME x.y\nx.y CNAME z.c\nself CNAME self\nwild CNAME x.w\n\
                   *.w CNAME c\nnone CNAME nowhere\n\
                   out CNAME www.example.net.\nd DNAME sub\nx.sub A 192.0.2.2\nvia CNAME x.d";
    let mut image = small_image();
    drop(image.publish(&zone("example.org.", 1, records)).expect("published"));
    let reader = image.reader();
    let answer = |qname: &str| {
        let said = ask(&reader, &format!("{qname}.example.org."), Rtype::A);
        let owners: Vec<String> =
            said.answer.iter().map(|record| record.replace(".example.org.", "")).collect();
        (said.code, owners.join(", "))
    };
    let good = ResponseCode::NoError;
    assert_eq!(answer("a"), (good, "a CNAME, b CNAME, c A".into()));
    assert_eq!(answer("wild"), (good, "wild CNAME, x.w CNAME, c A".into()));
    assert_eq!(answer("none"), (ResponseCode::NXDomain, "none CNAME".into()));
    assert_eq!(answer("out"), (good, "out CNAME".into()));
    assert_eq!(answer("x.d"), (good, "d DNAME, x.d CNAME, x.sub A".into()));
    assert_eq!(answer("via"), (good, "via CNAME, d DNAME, x.d CNAME, x.sub A".into()));
    assert_eq!(answer("self"), (good, "self CNAME".into()));
    assert_eq!(answer("round"), (good, "round CNAME, about CNAME".into()));
    assert_eq!(answer("about"), (good, "about CNAME, round CNAME".into()));
    assert_eq!(answer("x.c"), (good, "x.c CNAME, x.y CNAME, z.c CNAME".into()));
    assert_eq!(answer("into"), (good, "into CNAME, round CNAME, about CNAME".into()));
}

#[test]
fn a_large_rrset_is_truncated_over_udp_and_whole_over_tcp() {
    let records: String = (0..300).map(|n| format!("big TXT \"{:0200}\"\n", n)).collect();
    let mut image = image(64 << 16, 64);
    drop(
        image
            .publish(&signed(&zone("example.org.", 1, &records), Denial::Nsec))
            .expect("published"),
    );
    let reader = image.reader();
    assert_eq!(ask(&reader, "big.example.org.", Rtype::TXT).outcome, Outcome::Truncated);
    let mut response = Vec::new();
    let query = query(name("big.example.org.").as_wire(), Rtype::TXT);
    assert_eq!(reader.answer(&query, true, 65535, NOW, &mut response), Outcome::Positive);
    assert!(response.len() > 300 * 200);
    assert_eq!(Message::from_bytes(&response).expect("a message").answers.len(), 301);
}

/// Which of the names of a random zone exist, by the plain reading of RFC 4592.
fn expected(zone: &Zone, qname: &Name) -> &'static str {
    let exists = |wire: &[u8]| {
        zone.owners().any(|owner| crate::zone::name::is_at_or_below(owner.name(), wire))
    };
    if exists(qname.as_wire()) {
        return "exists";
    }
    let mut encloser = qname.parent();
    while let Some(above) = encloser {
        if exists(above.as_wire()) {
            let wildcard = [b"\x01*", above.as_wire()].concat();
            return if exists(&wildcard) { "wildcard" } else { "nxdomain" };
        }
        encloser = above.parent();
    }
    "nxdomain"
}

/// What two versions have in common is not written again, and whatever changes, the newer version is
/// answered as if it were the first, and nothing is left of it in the end.
#[test]
fn a_change_is_written_and_nothing_else() {
    let records = |changed: usize| {
        (0..1000)
            .map(|n| format!("n{n:03} A 192.0.2.{}\n", u8::from(n == changed)))
            .collect::<String>()
    };
    let zones = [1, 2].map(|serial| zone("example.org.", serial, &records(serial as usize * 100)));
    for (denial, any) in DENIALS.into_iter().flat_map(|one| [(one, Any::Rrset), (one, Any::Hinfo)])
    {
        let mut image = image(64 << 16, 1 << 10);
        let versions = versions_for_any(&[&zones[0], &zones[1]], denial, any);
        let (first, retired) = image.publish(&versions[0]).expect("published");
        image.release(retired);
        assert!(first.written >= 2000 && first.kept == 0, "{first:?}");
        let (second, retired) = image.publish(&versions[1]).expect("published");
        image.release(retired);
        // Two names; the apex, its SOA twice, what stands beside it; the index; the zone's record.
        assert!(second.written <= 16, "{second:?}");
        assert!(second.written + second.kept >= 2000, "{second:?}");
        assert_eq!(second.kept + second.written, image.usage().records);
        let (third, retired) = image.publish(&versions[1]).expect("published");
        image.release(retired);
        assert_eq!((third.written, third.names), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A part of a zone answers as the whole does, or not at all; what it has, it answers.
    #[test]
    fn a_part_says_nothing_that_the_whole_does_not(
        owners in proptest::collection::vec(("([ab*]\\.){0,3}[ab*]", 0u8..6, any::<bool>()), 1..14),
        asked in proptest::collection::vec("([abc*]\\.){0,4}[abc]", 1..30),
        denial in 0usize..4,
    ) {
        let mut records = String::from("*.a.a A 192.0.2.1\n");
        for (owner, kind, _) in &owners {
            let is_cname = |(other, kind, _): &&(String, u8, bool)| other == owner && *kind > 3;
            records += &match kind {
                _ if owners.iter().any(|one| is_cname(&one)) => {
                    format!("{owner} CNAME {}\n", owners[0].0)
                }
                3 if !owner.starts_with('*') => format!("{owner} NS ns.{owner}\n"),
                kind => format!("{owner} A 192.0.2.{kind}\n"),
            };
        }
        prop_assume!(!owners.iter().any(|(owner, kind, _)| owner == "*.a.a" && *kind > 3));
        let plain = zone("example.org.", 1, &records);
        let versions = versions(&[&plain], DENIALS[denial]);
        let chosen = owners.iter().filter(|(_, _, is_chosen)| *is_chosen);
        let chosen: std::collections::BTreeSet<Name> =
            chosen.map(|(owner, ..)| name(&format!("{owner}.example.org."))).collect();
        let (mut part, mut whole) = (small_image(), small_image());
        drop(whole.publish(&versions[0]).expect("published"));
        drop(part.publish_part(&versions[0], &chosen).expect("published"));
        let (reader, expected) = (part.reader(), whole.reader());
        let mut answered = 0;
        let asked = asked.iter().map(|asked| name(&format!("{asked}.example.org.")));
        for qname in asked.chain(chosen.iter().cloned()).chain([name("example.org.")]) {
            for rtype in [Rtype::A, Rtype::NS, Rtype::NSEC, Rtype::DS, Rtype::SOA] {
                let query = query(qname.as_wire(), rtype);
                let mut response = Vec::new();
                let outcome = reader.answer(&query, false, 1232, NOW, &mut response);
                if outcome == Outcome::Miss {
                    continue;
                }
                answered += 1;
                prop_assert_eq!(&response, &answer(&expected, &query), "{} {}", qname, rtype);
            }
        }
        prop_assert!(answered >= 5, "the apex is always there");
        // The whole takes the part's place, and the other way round.
        for _ in 0..2 {
            let (_, retired) = part.publish(&versions[0]).expect("published");
            part.release(retired);
            let query = query(name("c.example.org.").as_wire(), Rtype::A);
            prop_assert_eq!(answer(&part.reader(), &query), answer(&expected, &query));
            let (_, retired) = part.publish_part(&versions[0], &chosen).expect("published");
            part.release(retired);
            prop_assert_eq!(answer(&part.reader(), &query), Vec::<u8>::new());
        }
        let retired = part.remove(&name("example.org."));
        part.release(retired);
        prop_assert_eq!((part.usage().slab_octets, part.usage().entries), (0, 0));
    }

    /// A version that is published over another one answers as it does by itself.
    #[test]
    fn versions_follow_each_other(
        owners in proptest::collection::vec(
            proptest::collection::vec(("([ab*]\\.){0,3}[ab*]", 0u8..6), 0..10), 2..5),
        asked in proptest::collection::vec("([abc*]\\.){0,4}[abc]", 1..20),
        denial in 0usize..4,
    ) {
        let zones: Vec<Zone> = owners.iter().enumerate().map(|(serial, owners)| {
            let cnames: Vec<&str> =
                owners.iter().filter(|(_, kind)| *kind > 3).map(|(owner, _)| &owner[..]).collect();
            let records: String = owners.iter().map(|(owner, kind)| match kind {
                _ if cnames.contains(&&owner[..]) => format!("{owner} CNAME {}\n", owners[0].0),
                3 if !owner.starts_with('*') => format!("{owner} NS ns.{owner}\n"),
                kind => format!("{owner} A 192.0.2.{kind}\n"),
            }).collect();
            zone("example.org.", serial as u32 + 1, &records)
        }).collect();
        let zones: Vec<&Zone> = zones.iter().collect();
        let mut image = small_image();
        for version in versions(&zones, DENIALS[denial]) {
            let (_, retired) = image.publish(&version).expect("published");
            image.release(retired);
            let mut alone = small_image();
            drop(alone.publish(&version).expect("published"));
            let (reader, expected) = (image.reader(), alone.reader());
            for qname in &asked {
                let qname = name(&format!("{qname}.example.org."));
                for rtype in [Rtype::A, Rtype::NS, Rtype::NSEC] {
                    let query = query(qname.as_wire(), rtype);
                    prop_assert_eq!(answer(&reader, &query), answer(&expected, &query), "{}", qname);
                }
            }
        }
        let retired = image.remove(&name("example.org."));
        image.release(retired);
        prop_assert_eq!((image.usage().slab_octets, image.usage().entries), (0, 0));
        prop_assert_eq!((image.usage().names, image.usage().records), (0, 0));
    }

    /// For every name asked, existence is as the zone's records say, and what is said of absence holds:
    /// the NSEC or NSEC3 chain is checked by the verifier of this crate, its use by the oracles.
    #[test]
    fn existence_is_what_the_records_say(
        owners in proptest::collection::vec("([ab*]\\.){0,3}[ab*]", 1..12),
        asked in proptest::collection::vec("([abc*]\\.){0,4}[abc]", 1..40),
        which in 0u8..3,
    ) {
        let records: String =
            owners.iter().map(|owner| format!("{owner} A 192.0.2.1\n")).collect();
        let plain = zone("example.org.", 1, &records);
        let zone = match which {
            0 => signed(&plain, Denial::Nsec),
            1 => signed(&plain, Denial::Nsec3 { opt_out: false }),
            _ => zone("example.org.", 1, &records),
        };
        let mut image = small_image();
        drop(image.publish(&zone).expect("published"));
        let reader = image.reader();
        for qname in &asked {
            let qname = format!("{qname}.example.org.");
            let said = ask(&reader, &qname, Rtype::A);
            let found = match said.outcome {
                Outcome::Positive | Outcome::Nodata => "exists",
                Outcome::Wildcard => "wildcard",
                Outcome::Nxdomain => "nxdomain",
                _ => "neither",
            };
            prop_assert_eq!(found, expected(&plain, &name(&qname)), "{} among {:?}", qname, owners);
            if which < 2 && said.outcome == Outcome::Nxdomain {
                let proofs = said.authority.iter().filter(|record| record.contains("NSEC"));
                prop_assert!(proofs.count() > 0);
            }
        }
    }
}
