//! Changes of an NSEC3 chain published as differences: signatures that are renewed, names that come and go with opt-out and
//! without, and in a chain of many records what is written of its index.

use proptest::sample::Index;

use super::incremental::{index_records, publish_all, questions};
use super::*;
use crate::compile::hashes::HashIndex;
use crate::compile::inspect::verify::verify;
use crate::compile::{ChangeError, WholeReason};
use crate::dnssec::denial::{hash_owner, nsec3_hash};
use crate::dnssec::incremental::{RenewalLimits, renew};
use crate::zone::difference::{Difference as Changes, Rules};

/// Names of all kinds: what is denied at and below them depends on records of the chain in all ways there are.
const RECORDS: &str = "a A 192.0.2.1\n*.w TXT w\n*.*.w TXT w\nto CNAME a\nd.e.f TXT e\ncut NS ns.example.net.\n\
    secure NS ns.example.net.\n\
    secure DS 1 13 2 0707070707070707070707070707070707070707070707070707070707070707\naway DNAME d";

/// Signatures that are made again a few names at a time, of the chain's records and of all others.
#[test]
fn renewed_signatures_are_published_by_themselves() {
    for denial in DENIALS.into_iter().flatten() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = crate::dnssec::keys::store::KeyStore::new(directory.path());
        let plain = zone("example.org.", 1, RECORDS);
        let (keys, _) = store
            .load_or_generate(plain.apex(), KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256, NOW)
            .expect("keys");
        let policy = SigningPolicy { denial, ..SigningPolicy::default() };
        let signed = crate::dnssec::sign::sign_again(&plain, None, &keys, &policy, NOW - 1000);
        let mut version = Version::of(signed.expect("signed").0);
        let mut versions = vec![version.flat().expect("a zone")];
        let limits = RenewalLimits { names: 1, looked_at: 100 };
        let mut from = Some(plain.apex().clone());
        while let Some(name) = from {
            let least = policy.validity;
            let renewal = renew(&version, &name, limits, least, &keys, &policy, NOW).expect("made");
            if let Some(difference) = renewal.difference {
                version = version.apply(&difference.zone, Rules::Strict).expect("it fits");
                versions.push(version.flat().expect("a zone"));
            }
            from = renewal.next;
        }
        assert!(versions.len() > 8, "{}", versions.len());
        let questions = questions(&["@", "a", "w", "x.w", "to", "e.f", "cut", "secure", "away"]);
        let counted = publish_all(&versions, questions);
        assert_eq!((counted.by_themselves, counted.whole), (versions.len() - 1, vec![]));
    }
}

//--- Chains that nobody has signed: for many names, and for signers that leave out more than ours

/// What has an NSEC3 record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    /// Every name.
    Full,
    /// Every name but delegations.
    OptOut,
    /// Every name but delegations and what stands above nothing else.
    OptOutAbove,
}

/// A zone with the records of these lines, owner and type first, in a chain that nobody has signed.
fn chained(serial: u32, lines: &BTreeSet<String>, chain: Chain) -> Zone {
    let apex = name("example.");
    let mut types: std::collections::BTreeMap<Name, BTreeSet<&str>> = Default::default();
    types.insert(apex.clone(), BTreeSet::from(["NS", "SOA", "NSEC3PARAM"]));
    for line in lines {
        let mut words = line.split(' ');
        let (owner, rtype) = (words.next().expect("an owner"), words.next().expect("a type"));
        let owner = name(&format!("{owner}.example."));
        let is_left_out = chain != Chain::Full && rtype == "NS";
        let mut above = owner.parent();
        while let Some(ancestor) = above.filter(|ancestor| ancestor != &apex) {
            if !(chain == Chain::OptOutAbove && is_left_out) {
                types.entry(ancestor.clone()).or_default();
            }
            above = ancestor.parent();
        }
        if !is_left_out {
            types.entry(owner).or_default().insert(rtype);
        }
    }
    let mut hashed: Vec<_> =
        types.iter().map(|(owner, types)| (nsec3_hash(owner.as_wire(), 0, &[]), types)).collect();
    hashed.sort_unstable();
    let label = |hash| {
        let owner = hash_owner(hash, &apex).to_string();
        owner.strip_suffix(".example.").expect("below the apex").to_owned()
    };
    let mut records = "@ NSEC3PARAM 1 0 0 -\n".to_owned();
    let flags = u8::from(chain != Chain::Full);
    for (place, (hash, types)) in hashed.iter().enumerate() {
        let (next, _) = &hashed[(place + 1) % hashed.len()];
        let types: Vec<&str> = types.iter().copied().collect();
        let (own, next, types) = (label(hash), label(next), types.join(" "));
        records += &format!("{own} NSEC3 1 {flags} 0 - {next} {types}\n");
    }
    for line in lines {
        records += line;
        records.push('\n');
    }
    zone("example.", serial, &records)
}

/// An image of a zone that changes, and a reader of it.
struct Changing {
    image: Image,
    chain: Chain,
    lines: BTreeSet<String>,
    published: Option<(Zone, Version)>,
    serial: u32,
}

impl Changing {
    fn new(chain: Chain, lines: BTreeSet<String>, size: Size) -> Changing {
        let memory = Arc::new(Mapping::anonymous(size).expect("memory"));
        let image = Image::new(memory, 0x5eed);
        Changing { image, chain, lines, published: None, serial: 0 }
    }

    /// Publishes what there is: the first time whole, then as a difference.
    fn publish(&mut self) -> Difference {
        self.serial += 1;
        let zone = chained(self.serial, &self.lines, self.chain);
        let (next, published) = match self.published.take() {
            None => (Version::of(zone.clone()), self.image.publish(&zone).expect("published")),
            Some((before, version)) => {
                let changes = Changes::between(&before, &zone);
                let next = version.apply(&changes, Rules::Strict).expect("it fits");
                let published = self.image.publish_change(&next, &changes);
                (next, published.expect("without the rest of the zone"))
            }
        };
        self.image.release(published.1);
        self.published = Some((zone, next));
        published.0
    }

    /// Whether it is what it would be had it been published first.
    fn check(&self, asked: &[String]) {
        let (zone, _) = self.published.as_ref().expect("published");
        let apex = zone.apex();
        let (reader, nodes) = (self.image.reader(), self.image.nodes(apex));
        let findings = verify(&reader, apex, &nodes, NOW).expect("one version");
        // Nobody has signed it.
        let mut problems = findings.problems.iter().filter(|problem| problem.part != "DNSKEY");
        assert_eq!(problems.next(), None, "{}", self.serial);
        let mut fresh = image(1024 << 16, 1 << 14);
        drop(fresh.publish(zone).expect("published"));
        for asked in asked {
            let asked = name(&format!("{asked}.example."));
            for rtype in [Rtype::A, Rtype::NS, Rtype::DS, Rtype::TXT] {
                let query = query(asked.as_wire(), rtype);
                let said = answer(&reader, &query);
                assert_eq!(said, answer(&fresh.reader(), &query), "{}: {asked}", self.serial);
            }
        }
        let counted = |image: &Image| {
            let records = image.usage_of(apex).expect("published").records;
            records - index_records(image, apex) - image.zones[apex].records.len()
        };
        assert_eq!(counted(&self.image), counted(&fresh));
        let by_hash = |image: &Image| image.zones[apex].by_hash.len();
        assert_eq!(by_hash(&self.image), by_hash(&fresh));
        let dependents = |image: &Image| image.zones[apex].dependents;
        assert_eq!(dependents(&self.image), dependents(&fresh));
    }
}

/// What may be in a small zone.
const LINES: [&str; 16] = [
    "a A 192.0.2.1",
    "a TXT a",
    "b.a A 192.0.2.1",
    "c NS ns.example.net.",
    "d NS ns.example.net.",
    "e.f NS ns.example.net.",
    "g.f NS ns.example.net.",
    "h.g.f.i NS ns.example.net.",
    "i TXT a",
    "*.i TXT a",
    "*.*.i TXT a",
    "k.*.a NS ns.example.net.",
    "l.m.n TXT a",
    "m.n TXT a",
    "o.n NS ns.example.net.",
    "*.p NS ns.example.net.",
];

const ASKED: [&str; 24] = [
    "a", "x.a", "b.a", "x.b.a", "c", "x.c", "f", "x.f", "e.f", "x.e.f", "g.f.i", "x.g.f.i", "i",
    "x.i", "x.x.i", "*.a", "x.*.a", "n", "x.n", "m.n", "x.m.n", "o.n", "p", "x.p",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Names that come and go, with all that may be left out of a chain.
    #[test]
    fn any_chains_follow_each_other(
        first in proptest::collection::vec(any::<bool>(), LINES.len()),
        steps in proptest::collection::vec(proptest::collection::vec(0..LINES.len(), 1..4), 1..8),
        chain in prop::sample::select(vec![Chain::Full, Chain::OptOut, Chain::OptOutAbove]),
    ) {
        let first = LINES.iter().zip(first).filter(|(_, is_there)| *is_there);
        let lines = first.map(|(line, _)| (*line).to_owned()).collect();
        let mut changing = Changing::new(chain, lines, Size { slab: 16 << 16, buckets: 1 << 10 });
        changing.publish();
        let asked = ASKED.map(str::to_owned);
        for step in steps {
            for line in step {
                if !changing.lines.remove(LINES[line]) {
                    changing.lines.insert(LINES[line].to_owned());
                }
            }
            changing.publish();
            changing.check(&asked);
        }
    }
}

/// Names in a chain of some thousand records, whose index has several pages.
#[test]
fn a_record_of_the_chain_changes_one_range_and_its_neighbour() {
    let lines = (0..5000).map(|number| format!("n{number:04} TXT same")).collect();
    let size = Size { slab: 1024 << 16, buckets: 1 << 14 };
    let mut changing = Changing::new(Chain::Full, lines, size);
    changing.publish();
    let mut random = 0x9e37_79b9_u64;
    let mut most = 0;
    for step in 0..100 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let line = format!("n{:04} TXT same", (random >> 33) % 6000);
        if !changing.lines.remove(&line) {
            changing.lines.insert(line.clone());
        }
        let difference = changing.publish();
        most = most.max(difference.written);
        if step % 25 == 24 {
            let number = &line[1..5];
            changing.check(&[
                format!("n{number}"),
                format!("x.n{number}"),
                "n-".into(),
                "@".replace('@', "x"),
            ]);
        }
    }
    // The name, its RRset and record, the record before; nodes of which the wildcard is behind these, and the apex; the
    // SOA twice; two ranges, the one behind, two pages, the root; the zone's record.
    assert!(most <= 40, "{most}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Many records that come and go at once: ranges become empty and full.
    #[test]
    fn many_records_come_and_go_at_once(
        steps in proptest::collection::vec((any::<Index>(), 0usize..150), 1..6),
    ) {
        let all: Vec<String> = (0..400).map(|number| format!("n{number:03} TXT same")).collect();
        let lines = all[..200].iter().cloned().collect();
        let mut changing = Changing::new(Chain::Full, lines, Size { slab: 64 << 16, buckets: 1 << 10 });
        changing.publish();
        for (first, count) in steps {
            let first = first.index(all.len());
            for line in all[first..].iter().take(count) {
                if !changing.lines.remove(line) {
                    changing.lines.insert(line.clone());
                }
            }
            // With less than a record for each range the index is made anew.
            changing.lines.extend(all.iter().step_by(5).cloned());
            changing.publish();
            changing.check(&["n000".into(), "n199x".into(), "x.n200".into(), "n399".into()]);
        }
    }
}

/// An index that has become too small for its chain is made anew with the whole zone, and no other.
#[test]
fn ranges_that_are_crowded_are_made_anew() {
    let lines = |count| (0..count).map(|number| format!("n{number} TXT same")).collect();
    let zones = [20, 400].map(|count| chained(count, &lines(count), Chain::Full));
    let mut image = image(64 << 16, 1 << 10);
    drop(image.publish(&zones[0]).expect("published"));
    let changes = Changes::between(&zones[0], &zones[1]);
    let version = Version::of(zones[0].clone());
    let next = version.apply(&changes, Rules::Strict).expect("it fits");
    let refused = image.publish_change(&next, &changes);
    assert!(matches!(refused, Err(ChangeError::Whole(WholeReason::Denial))));
    drop(image.publish(&zones[1]).expect("published"));
    let bits = |image: &Image| {
        let record = image.zones[zones[1].apex()].records[0];
        let record = crate::compile::memory::window(&*image.memory, record).expect("in the slab");
        let root = xdp_common::image::zone::Zone::new(record).chain();
        HashIndex::new(&*image.memory, root).expect("an index").bits
    };
    assert_eq!(bits(&image), 6);
}
