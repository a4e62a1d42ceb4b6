use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use proptest::prelude::*;

use super::facts::write_origin;
use super::*;
use crate::daemon::stamp::Stamp;
use crate::dnssec::any;
use crate::dnssec::keys::store::KeyStore;
use crate::dnssec::keys::{Algorithm, KeyLayout};
use crate::dnssec::lasting::begins_at;
use crate::dnssec::origin::Origin;
use crate::dnssec::policy::{AnyResponse, Denial, SigningPolicy};
use crate::dnssec::sign::sign_again;
use crate::dnssec::verify::{VerifyReport, first_expiration};
use crate::server::testing;
use crate::zone::difference::RecordRef;
use crate::zone::{Rtype, Serial, Zone, stored};

const SETTINGS: Digest = [3; DIGEST_LEN];
const NOW: u64 = 1_800_000_000;

fn apex() -> Name {
    testing::name("example")
}

fn origin(dnskeys: (u32, Vec<Vec<u8>>)) -> Origin {
    Origin { content: [1; DIGEST_LEN], manner: [2; DIGEST_LEN], dnskeys }
}

fn report(denial: Denial) -> KeptReport {
    let report = VerifyReport {
        rrsets: 7,
        keys: 2,
        denial,
        denials: 1 << 33,
        expiration: 1_900_000_000,
        is_expiration_exact: true,
        verified_at: NOW as u32,
        opt_outs: 5,
        beside_others: 3,
    };
    KeptReport { report, whole_at: 1_700_000_000 }
}

/// The stamp of a file that is there.
fn stamps(folder: &Path) -> Vec<Stamp> {
    let path = folder.join("a zone\u{fe}");
    fs::write(&path, "text").unwrap();
    vec![Stamp::of(&path).unwrap(); 2]
}

fn facts(origin: Option<Origin>, stamps: &[Stamp]) -> KeptFacts {
    let known = FromPrimary { serial: Serial(7), at: 1_800_000_000 };
    let from_primary = origin.as_ref().map(|_| known);
    KeptFacts {
        settings: SETTINGS,
        is_verified: true,
        origin,
        stamps: stamps.to_vec(),
        expiration: Some(1_900_000_000),
        begins_at: Some(17),
        report: Some(report(Denial::Nsec)),
        from_primary,
    }
}

/// Facts of a zone that sealdns signs, each time others.
fn facts_of(serial: u32) -> KeptFacts {
    facts(Some(origin((serial, vec![vec![9; 20]]))), &[])
}

fn keepable<'a>(zone: &'a Version, facts: &'a KeptFacts) -> KeepableVersion<'a> {
    KeepableVersion { zone, facts, times: None }
}

fn kept_in(folder: &Path) -> KeptZones {
    KeptZones::new(folder.to_owned())
}

/// All that is kept of a version.
fn content(version: &Version) -> Vec<Vec<u8>> {
    let flat = version.flat().unwrap();
    let arrays = |zone: &Zone| zone.arrays().map(<[u8]>::to_vec).concat();
    vec![arrays(&flat), flat.any_answers().map(arrays).unwrap_or_default()]
}

#[test]
fn a_version_is_kept_with_what_is_known_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let kept = kept_in(&folder.path().join("signed"));
    assert!(kept.open(&apex()).is_none() && !kept.exists(&apex()));
    let zone = Zone::clone(&testing::zone(7, 5000));
    assert!(zone.octets() > KEPT_FROM);
    let with_any = zone.clone().with_any_answers(any::unsigned(&zone).unwrap());
    let soa = (apex(), Rtype::SOA);
    let withholding = zone.clone().withholding([soa, (apex(), Rtype::NS)].into());
    let other_keys = (600, vec![vec![1, 0, 3, 13, 9], vec![2; 300]]);
    let stamps = stamps(folder.path());
    let opt_out = |opt_out| Some(report(Denial::Nsec3 { opt_out }));
    for (zone, origin, is_verified, stamps, report) in [
        (&zone, Some(origin((0, Vec::new()))), true, &stamps[..], None),
        (&zone, Some(origin(other_keys)), true, &stamps[..1], opt_out(true)),
        (&with_any, None, false, &stamps[..], opt_out(false)),
        (&withholding, None, false, &stamps[..1], None),
        (&zone, None, true, &[], Some(super::tests::report(Denial::Nsec))),
    ] {
        let facts = KeptFacts { is_verified, report, ..facts(origin, stamps) };
        let version = Version::of(zone.clone());
        let place = kept.keep_or_forget(&keepable(&version, &facts)).unwrap();
        let again = kept.open(&apex()).unwrap();
        assert_eq!((content(&again.zone), &again.facts), (content(&version), &facts));
        assert_eq!(Some(again.place), place);
        assert!(again.zone.withheld().eq(zone.withheld()));
        assert!(again.facts.stamps.iter().all(Stamp::holds));
    }
    // A small zone that is not ours to sign is not kept, and nothing older in its place.
    let small = &testing::version(8, 2);
    assert_eq!(kept.keep_or_forget(&keepable(small, &facts(None, &[]))).unwrap(), None);
    assert!(!kept.exists(&apex()));
    let other = testing::name("other");
    kept.keep_or_forget(&keepable(small, &facts_of(1))).unwrap();
    fs::rename(kept.base_of(&apex()).path(), kept.base_of(&other).path()).unwrap();
    assert!(kept.open(&other).is_none());
}

#[test]
fn a_base_that_is_cut_short_or_changed_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let kept = kept_in(folder.path());
    let origin = origin((600, vec![vec![1, 0, 3, 13, 9]]));
    let facts = facts(Some(origin), &stamps(folder.path()));
    kept.keep(&keepable(&testing::version(7, 2), &facts)).unwrap();
    let file = kept.base_of(&apex());
    let whole = fs::read(file.path()).unwrap();
    for at in 0..whole.len() {
        fs::write(file.path(), &whole[..at]).unwrap();
        assert!(file.read(&apex(), &KnownDigests::default()).is_err(), "cut at {at}");
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(file.path(), changed).unwrap();
        assert!(file.read(&apex(), &KnownDigests::default()).is_err(), "changed at {at}");
    }
    fs::write(file.path(), [&whole[..], b"more"].concat()).unwrap();
    assert!(file.read(&apex(), &KnownDigests::default()).is_err());
}

/// A large zone lies in its base from then on, whatever becomes of the name of that; what changed since lies over it.
#[test]
fn a_large_zone_is_used_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let zone = Zone::clone(&testing::zone(7, 40_000));
    let with_any = zone.clone().with_any_answers(any::unsigned(&zone).unwrap());
    for zone in [zone, with_any].map(Version::of) {
        let kept = kept_in(folder.path());
        let place = kept.keep(&keepable(&zone, &facts_of(7))).unwrap();
        let change = change(&zone, 1);
        let next = zone.apply(&change, Rules::Strict).unwrap();
        let next = match zone.any_answers() {
            Some(any_answers) => next.with_any_answers(any_answers.clone()),
            None => next,
        };
        let facts = facts_of(8);
        let (kind, any_answers) = (FrameKind::File, None);
        let change = RecordedChange {
            from: place,
            time: NOW,
            kind,
            zone: &change,
            any_answers,
            facts: &facts,
        };
        kept.record(&apex(), &change).unwrap();
        let [one, again] = [(); 2].map(|()| kept_in(folder.path()).open(&apex()).unwrap());
        kept.forget(&apex()).unwrap();
        one.files.iter().for_each(FileMap::rest);
        assert_eq!((content(&one.zone), one.files.len()), (content(&next), 1));
        assert_eq!(one.base.digest, place.hash);
        let lies_in = |part: &[u8], file: &FileMap| {
            let (part, file) = (part.as_ptr_range(), file.as_ref().as_ptr_range());
            file.start <= part.start && part.end <= file.end
        };
        let ns = [
            one.zone.find(b"\x02ns\x07example\x00"),
            next.any_answers()
                .and(one.zone.any_answers())
                .and_then(|beside| beside.find(b"\x02ns\x07example\x00")),
        ];
        assert!(ns.iter().flatten().all(|owner| lies_in(owner.name(), &one.files[0])));
        // Each start has a file of its own.
        assert!(!lies_in(ns[0].unwrap().name(), &again.files[0]));
    }
}

/// A signed zone, and beside it what is said to ANY.
fn signed() -> Zone {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::new(folder.path());
    let (keys, _) = store
        .load_or_generate(&apex(), KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256, NOW as u32)
        .unwrap();
    let policy = SigningPolicy { any: AnyResponse::Hinfo, ..SigningPolicy::default() };
    sign_again(&testing::zone(7, 1), None, &keys, &policy, NOW as u32).unwrap().0
}

/// Does with a version what the daemon does with one.
fn use_all_of(kept: &KeptVersion) {
    let now = NOW as u32;
    let flat = kept.zone.flat().unwrap();
    let records = flat.owners().flat_map(|owner| owner.rrsets()).map(|one| one.rdatas().count());
    assert_eq!(records.sum::<usize>(), flat.record_count());
    for owner in flat.owners() {
        assert!(flat.index_of(&flat.find(owner.name()).unwrap()) == flat.index_of(&owner));
    }
    let _ = kept.verify_again(now);
    let _ = (first_expiration(&flat, now), begins_at(&flat, now));
    let _ = kept.facts.origin.as_ref().map(|origin| origin.unsigned(&kept.zone));
    let _ = crate::check::check(&flat).len();
    let size = crate::datapath::memory::Size { slab: 16 << 16, buckets: 1 << 10 };
    let memory = crate::datapath::memory::Mapping::anonymous(size).unwrap();
    let _ = crate::compile::Image::new(Arc::new(memory), 0x5eed).at(now).publish(&flat);
    let next = change(&kept.zone, 3);
    let _ = kept.zone.apply(&next, Rules::Lenient).map(|next| next.flat().unwrap());
    let _ = Difference::between_versions(&kept.zone, &testing::version(9, 3));
}

/// Each octet of a base made another one under a digest that is right: it is refused, or can be used.
#[test]
fn a_base_that_is_wrong_under_a_right_digest_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let kept = kept_in(folder.path());
    let zone = Version::of(signed().withholding([(apex(), Rtype::NS)].into()));
    let times = SignatureTimes::of(&zone.flat().unwrap());
    let facts = facts(Some(origin((600, vec![vec![1, 0, 3, 13, 9]]))), &stamps(folder.path()));
    kept.keep(&KeepableVersion { zone: &zone, facts: &facts, times: Some(&times) }).unwrap();
    use_all_of(&kept.open(&apex()).unwrap());
    let file = kept.base_of(&apex());
    let mut octets = fs::read(file.path()).unwrap();
    let content = octets.len() - DIGEST_LEN;
    let written_over = fs::File::options().write(true).open(file.path()).unwrap();
    let (mut refused, mut used) = (0, 0);
    for at in 0..content {
        for flipped in [1 << (at % 8), 0xff, 0x20] {
            octets[at] ^= flipped;
            let sum = digest::digest(&digest::SHA256, &octets[..content]);
            octets[content..].copy_from_slice(sum.as_ref());
            written_over.write_all_at(&octets, 0).unwrap();
            match kept.open(&apex()) {
                Some(kept) => {
                    use_all_of(&kept);
                    used += 1;
                }
                None => refused += 1,
            }
            octets[at] ^= flipped;
        }
    }
    assert!(refused > 1000 && used > 1000, "{refused} {used}");
}

#[test]
fn older_formats_are_read_and_newer_ones_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = kept_in(folder.path()).base_of(&apex());
    let (zone, origin) = (testing::version(7, 2), origin((600, vec![vec![9; 20]])));
    let stamps = stamps(folder.path());
    for format in [1, 2, 3] {
        let mut octets = Vec::new();
        if format == 1 {
            octets.extend(b"sealdns signed zone 1\n");
            write_origin(&origin, &mut octets).unwrap();
        } else if format == 3 {
            octets.extend(b"sealdns zone 3\n\0");
            KeptFacts::new(SETTINGS, None).write(&mut octets).unwrap();
            octets.extend(0u32.to_be_bytes());
        } else {
            octets.extend(b"sealdns zone 2\n");
            octets.extend(SETTINGS);
            octets.extend([1, 1]);
            write_origin(&origin, &mut octets).unwrap();
            octets.extend(1u32.to_be_bytes());
            stamps[0].write(&mut octets).unwrap();
            // An RRset is withheld.
            octets.extend(1u32.to_be_bytes());
            stored::write_name(apex().as_wire(), &mut octets).unwrap();
            octets.extend(Rtype::NS.0.to_be_bytes());
        }
        stored::write(&zone, &mut octets).unwrap();
        octets.push(0);
        let sum = digest::digest(&digest::SHA256, &octets);
        octets.extend(sum.as_ref());
        fs::write(file.path(), &octets).unwrap();
        let again = file.read(&apex(), &KnownDigests::default()).unwrap().unwrap();
        let is_second = usize::from(format == 2);
        assert_eq!(again.zone.withheld().count(), is_second);
        assert_eq!(content(&Version::of(again.zone)), content(&zone));
        let known = (again.facts.is_verified, again.facts.origin);
        assert_eq!(known, (format < 3, (format < 3).then(|| origin.clone())));
        assert_eq!(again.facts.stamps[..], stamps[..is_second]);
        assert_eq!(again.place, Place::beginning(sum.as_ref().try_into().unwrap()));
    }
    fs::write(file.path(), [&b"sealdns zone 5\nmore"[..], &[0; 32]].concat()).unwrap();
    let error = format!("{:#}", file.read(&apex(), &KnownDigests::default()).err().unwrap());
    assert!(error.contains("it has format 5") && error.contains("formats up to 4"), "{error}");
}

//--- Changes

/// What changes a version into the next one: its serial, and a name that comes or goes.
fn change(version: &Version, name: u8) -> Difference {
    let serials = [version.serial(), version.serial().next()];
    let owner = testing::name(&format!("{}.changed.example", char::from(b'a' + name % 26)));
    let soas = serials.map(|serial| {
        let soa = version.soa().unwrap();
        let mut soa = soa.rdatas().next().unwrap().to_vec();
        crate::zone::soa::set_serial(&mut soa, serial);
        soa
    });
    let apex = apex();
    let soa_ttl = version.soa().unwrap().ttl();
    let soa = |rdata| RecordRef { owner: apex.as_wire(), rtype: Rtype::SOA, ttl: soa_ttl, rdata };
    let address = RecordRef { owner: owner.as_wire(), rtype: Rtype::A, ttl: 60, rdata: &[9; 4] };
    let is_there = version.find(owner.as_wire()).is_some();
    let [gone, come] = [is_there, !is_there].map(|is_meant| is_meant.then_some(address));
    let removed = std::iter::once(soa(&soas[0])).chain(gone);
    Difference::of_records(&apex, serials, removed, std::iter::once(soa(&soas[1])).chain(come))
}

/// A zone that changes, and all that it was.
struct Changing {
    kept: KeptZones,
    place: Place,
    versions: Vec<Version>,
}

impl Changing {
    fn new(folder: &Path) -> Changing {
        let (kept, first) = (kept_in(folder), testing::version(1, 3));
        let place = kept.keep(&keepable(&first, &facts_of(1))).unwrap();
        Changing { kept, place, versions: vec![first] }
    }

    fn last(&self) -> &Version {
        self.versions.last().unwrap()
    }

    fn change(&mut self, name: u8) {
        let zone = change(self.last(), name);
        let next = self.last().apply(&zone, Rules::Strict).unwrap();
        let facts = facts_of(next.serial().0);
        let change = RecordedChange {
            from: self.place,
            time: NOW + u64::from(next.serial().0),
            kind: FrameKind::File,
            zone: &zone,
            any_answers: None,
            facts: &facts,
        };
        self.place = self.kept.record(&apex(), &change).unwrap();
        self.versions.push(next);
    }

    /// A version, kept as another base at the place where the journal has it.
    fn rebase(&self, version: &Version, place: &Place) {
        let facts = facts_of(version.serial().0);
        let rebased = self.kept.rebase(&keepable(version, &facts), Some(*place)).unwrap();
        assert_eq!(rebased, Some(*place));
    }

    /// What the next start finds is the last version.
    fn reopen(&mut self, folder: &Path) {
        self.kept = kept_in(folder);
        let found = self.kept.open(&apex()).unwrap();
        assert_eq!(content(&found.zone), content(self.last()));
        assert_eq!(found.facts, facts_of(self.last().serial().0));
        assert_eq!(found.place, self.place);
    }

    /// What is known of earlier versions is so; returns how many changes are known.
    fn look_back(&self) -> usize {
        let history = self.kept.history(&apex(), &self.place).unwrap();
        let changes = history.changes().unwrap();
        for (change, versions) in changes.iter().zip(self.versions.windows(2).rev()) {
            let serials = [&versions[0], &versions[1]].map(Version::serial);
            assert_eq!(change.serials, serials);
            assert_eq!(change.time, NOW + u64::from(serials[1].0));
            let between = Difference::between_versions(&versions[0], &versions[1]);
            assert_eq!(change.size, crate::zone::difference::Size::of(&between));
        }
        let known = &self.versions[self.versions.len() - 1 - changes.len()..];
        for version in known {
            let [last, serial] = [self.last().serial(), version.serial()];
            let found = history.version(self.last(), serial).unwrap();
            assert_eq!(content(&found.zone)[0], content(version)[0]);
            // Of the oldest one the frame that led to it may be gone.
            let is_first = serial == known[0].serial();
            let origin = facts_of(serial.0).origin;
            assert!(found.origin == origin || is_first && found.origin.is_none());
            for [from, to] in [[serial, last], [last, serial]] {
                let found = history.difference(self.last(), from, to).unwrap();
                let ends =
                    if from == last { [self.last(), version] } else { [version, self.last()] };
                assert_eq!(found, Difference::between_versions(ends[0], ends[1]));
            }
        }
        let unknown = Serial(known[0].serial().0.wrapping_sub(1));
        assert!(matches!(history.version(self.last(), unknown), Err(HistoryError::Unknown(_))));
        changes.len()
    }
}

proptest! {
    // Each step is synced to the disk.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens to a zone, in whatever order: the next start finds the last version, and history is true.
    #[test]
    fn what_was_recorded_last_is_found(steps in prop::collection::vec((0..8u8, any::<u8>()), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut changing = Changing::new(folder.path());
        let mut snapshot = (changing.last().clone(), changing.place);
        for (step, name) in steps {
            match step {
                0..=3 => changing.change(name),
                4 => changing.reopen(folder.path()),
                // Of a version that need not be the last one.
                5 => changing.rebase(&snapshot.0, &snapshot.1),
                6 => snapshot = (changing.last().clone(), changing.place),
                _ => {
                    let before = changing.place;
                    changing.change(name);
                    changing.kept.take_back(&apex(), &before).unwrap();
                    changing.versions.pop();
                    // It cannot be taken back twice.
                    prop_assert!(changing.kept.take_back(&apex(), &before).is_err());
                    changing.place = before;
                }
            }
            changing.look_back();
        }
        changing.reopen(folder.path());
        changing.look_back();
    }
}

/// A crash between any two steps of a rebase: what is found is the last version, whichever of the files are older.
#[test]
fn a_rebase_that_is_not_finished_does_no_harm() {
    let names = ["example.signed", "example.journal"];
    for later in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let mut changing = Changing::new(folder.path());
        (0..5).for_each(|name| changing.change(name));
        let (version, place) = (changing.last().clone(), changing.place);
        (0..later).for_each(|name| changing.change(name + 5));
        let path = |name: &str| folder.path().join(name);
        let before = names.map(|name| fs::read(path(name)).unwrap());
        changing.rebase(&version, &place);
        let after = names.map(|name| fs::read(path(name)).unwrap());
        assert_ne!(before, after);
        fs::write(path("example.rebased"), &after[0][..100]).unwrap();
        for [base, journal] in [[&before[0], &before[1]], [&after[0], &before[1]]] {
            fs::write(path(names[0]), base).unwrap();
            fs::write(path(names[1]), journal).unwrap();
            changing.reopen(folder.path());
            assert_eq!(changing.look_back(), 5 + usize::from(later));
            assert!(!path("example.rebased").exists());
        }
        // The base alone is the version that it is.
        fs::write(path(names[0]), &after[0]).unwrap();
        fs::remove_file(path(names[1])).unwrap();
        let found = kept_in(folder.path()).open(&apex()).unwrap();
        assert_eq!((content(&found.zone), found.place), (content(&version), place));
    }
}

/// Each bit of a journal flipped, and each length cut: what is found is a version that was, and none before the fault is
/// lost; and the next change is found behind it.
#[test]
fn what_lies_before_a_fault_is_used() {
    for rebased in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut changing = Changing::new(folder.path());
        let journal = folder.path().join("example.journal");
        (0..3).for_each(|name| changing.change(name));
        let base = (changing.last().clone(), changing.place);
        let mut ends = vec![];
        for name in 3..7 {
            changing.change(name);
            let contents = Contents::open(&journal, &apex()).unwrap();
            ends.push(contents.octets_to(&changing.place).unwrap() as usize);
        }
        if rebased {
            changing.rebase(&base.0, &base.1);
        }
        let whole = fs::read(&journal).unwrap();
        let end = *ends.last().unwrap();
        // The first version that must be found if a fault lies at an octet.
        let least = |at: usize| {
            let forward = ends.iter().filter(|end| **end <= at).count();
            let frames = if at < ends[0] { 0 } else { forward };
            changing.versions
                [if rebased { 3 + frames } else { frames + 3 * usize::from(frames > 0) }]
            .serial()
        };
        let check = |octets: &[u8], at: usize, is_cut: bool| {
            // Written over: ext4 waits for the disk where a file is emptied first.
            let file = fs::File::options().write(true).open(&journal).unwrap();
            file.set_len(octets.len() as u64).unwrap();
            file.write_all_at(octets, 0).unwrap();
            let kept = kept_in(folder.path());
            let found = kept.open(&apex()).unwrap();
            let serial = found.zone.serial();
            let was = &changing.versions[serial.0 as usize - 1];
            assert_eq!(content(&found.zone), content(was), "{at}");
            assert_eq!(found.facts, facts_of(serial.0), "{at}");
            assert!(!least(at).is_newer_than(serial), "{at}: {serial}");
            assert!(is_cut || serial != changing.last().serial() || at >= end, "{at}: {serial}");
            (kept, found)
        };
        for at in 0..end + 16 {
            check(&whole[..at], at, true);
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            let (kept, found) = check(&flipped, at, false);
            if at % 31 != 0 {
                continue;
            }
            let zone = change(&found.zone, 20);
            let facts = facts_of(100);
            let change = RecordedChange {
                from: found.place,
                time: NOW,
                kind: FrameKind::Update,
                zone: &zone,
                any_answers: None,
                facts: &facts,
            };
            kept.record(&apex(), &change).unwrap();
            let again = kept_in(folder.path()).open(&apex()).unwrap();
            let next = found.zone.apply(&zone, Rules::Strict).unwrap();
            assert_eq!((content(&again.zone), again.facts), (content(&next), facts));
        }
    }
}

#[test]
fn another_chain_is_not_mistaken_for_the_next_changes() {
    let folder = tempfile::tempdir().unwrap();
    let mut changing = Changing::new(folder.path());
    changing.change(1);
    let journal = fs::read(folder.path().join("example.journal")).unwrap();
    // A version as a whole; its journal was not removed.
    let whole = testing::version(9, 4);
    let place = changing.kept.keep(&keepable(&whole, &facts_of(9))).unwrap();
    fs::write(folder.path().join("example.journal"), &journal).unwrap();
    (changing.place, changing.versions) = (place, vec![whole]);
    changing.reopen(folder.path());
    changing.change(2);
    changing.reopen(folder.path());
    assert_eq!(changing.look_back(), 1);
    // What is recorded behind a version that is not the last one would lead nowhere.
    let zone = change(changing.last(), 3);
    let facts = facts_of(3);
    let (time, kind, any_answers) = (NOW, FrameKind::File, None);
    let from = Place { sequence: 7, ..place };
    let change = RecordedChange { from, time, kind, zone: &zone, any_answers, facts: &facts };
    let refused = changing.kept.record(&apex(), &change).unwrap_err();
    assert!(format!("{refused:#}").contains("another version"), "{refused:#}");
    changing.reopen(folder.path());
}

#[test]
fn a_journal_of_a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut changing = Changing::new(folder.path());
    changing.change(1);
    let path = folder.path().join("example.journal");
    let mut octets = fs::read(&path).unwrap();
    octets[8..12].copy_from_slice(&[0, 2, 0xff, 0xfd]);
    fs::write(&path, &octets).unwrap();
    assert!(kept_in(folder.path()).open(&apex()).is_none());
    assert_eq!(fs::read(&path).unwrap(), octets);
}

#[test]
fn a_frame_that_fits_nothing_ends_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let mut changing = Changing::new(folder.path());
    changing.change(1);
    // Right in all but what it changes.
    let zone = change(&testing::version(77, 3), 3);
    let facts = facts_of(78);
    let (time, kind, any_answers) = (NOW, FrameKind::File, None);
    let from = changing.place;
    let change = RecordedChange { from, time, kind, zone: &zone, any_answers, facts: &facts };
    changing.kept.record(&apex(), &change).unwrap();
    changing.reopen(folder.path());
    changing.change(2);
    changing.reopen(folder.path());
}

/// What stands beside a zone changes with it.
#[test]
fn what_stands_beside_the_zone_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let kept = kept_in(folder.path());
    let with_any = |hosts| {
        let zone = Zone::clone(&testing::zone(hosts, hosts));
        let any_answers = any::unsigned(&zone).unwrap();
        Version::of(zone.with_any_answers(any_answers))
    };
    let [old, new] = [3, 5].map(with_any);
    let from = kept.keep(&keepable(&old, &facts_of(1))).unwrap();
    let zone = Difference::between_versions(&old, &new);
    let beside =
        Difference::between_versions(old.any_answers().unwrap(), new.any_answers().unwrap());
    let (facts, any_answers) = (facts_of(2), Some(&beside));
    let kind = FrameKind::File;
    let change = RecordedChange { from, time: NOW, kind, zone: &zone, any_answers, facts: &facts };
    kept.record(&apex(), &change).unwrap();
    let found = kept_in(folder.path()).open(&apex()).unwrap();
    assert_eq!(content(&found.zone), content(&new));
}

/// The files of a zone stay small, and history goes back for as long as there is room.
#[test]
fn a_journal_is_trimmed_when_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let mut changing = Changing::new(folder.path());
    let mut rebased = 0;
    for number in 0..1200u32 {
        changing.change(number as u8);
        if changing.kept.is_rebase_due(&apex()) {
            changing.rebase(&changing.last().clone(), &changing.place);
            assert!(!changing.kept.is_rebase_due(&apex()));
            rebased += 1;
        }
        let octets = fs::metadata(folder.path().join("example.journal")).unwrap().len();
        assert!(octets <= LIMITS[0], "{octets}");
    }
    assert!(rebased > 2, "{rebased}");
    changing.reopen(folder.path());
    assert!((100..1200).contains(
        &changing.kept.history(&apex(), &changing.place).unwrap().changes().unwrap().len()
    ));
}

/// A folder that cannot be written to: what was kept is what it was.
#[test]
fn what_cannot_be_written_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut changing = Changing::new(folder.path());
    changing.change(1);
    // The place of what is written first.
    let taken = folder.path().join(format!(".example.rebased.{}.new", std::process::id()));
    fs::create_dir(&taken).unwrap();
    let mut file = fs::File::create(taken.join("file")).unwrap();
    file.write_all(b"in the way").unwrap();
    let version = changing.last().clone();
    let facts = facts_of(2);
    assert!(changing.kept.rebase(&keepable(&version, &facts), Some(changing.place)).is_err());
    changing.change(2);
    changing.reopen(folder.path());
    assert_eq!(changing.look_back(), 2);
}
