use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;

use super::*;
use crate::zone::difference::{Difference, RecordRef, Rules};
use crate::zone::{Name, Rtype, Serial, Version, ZoneBuilder};

const APEX: &[u8] = b"\x07example\0";
const BASE: Place = Place { sequence: 0, hash: [7; 32] };

fn apex() -> Name {
    Name::from_wire(APEX).unwrap()
}

fn soa(serial: u32) -> Vec<u8> {
    [b"\x02ns\0\x04mail\0", &serial.to_be_bytes()[..], &[0; 16]].concat()
}

/// The first version: serial 1, a name that goes later, with signatures of two TTLs.
fn first() -> Version {
    let mut builder = ZoneBuilder::new(apex());
    builder.push(APEX, Rtype::SOA, 60, &soa(1)).unwrap();
    let name = [b"\x01z", APEX].concat();
    for (rtype, ttl) in [(Rtype::A, 60), (Rtype::TXT, 30)] {
        builder.push(&name, rtype, ttl, b"\x03abc").unwrap();
        // Algorithm, labels, original TTL, times, key tag; then the signer.
        let fields = [13, 2, 0, 0, 0, 60, 0, 0, 0, 1, 0, 0, 0, 0, 0, 7];
        let rrsig = [&rtype.0.to_be_bytes()[..], &fields, APEX, b"signature"].concat();
        builder.push(&name, Rtype::RRSIG, ttl, &rrsig).unwrap();
    }
    Version::of(builder.finish().unwrap())
}

/// Differences from version to version: names come, and with the last one that of the first version goes.
fn differences(count: u32) -> Vec<Difference> {
    let first = first();
    let gone = first.find(&[b"\x01z", APEX].concat()).unwrap();
    let of_serial = |serial: u32| {
        let name = [&[1, b'a' + serial as u8 % 20][..], APEX].concat();
        let [old, new] = [serial, serial + 1].map(soa);
        let soa = |rdata| RecordRef { owner: APEX, rtype: Rtype::SOA, ttl: 60, rdata };
        let address = [192, 0, 2, serial as u8];
        let added = RecordRef { owner: &name, rtype: Rtype::A, ttl: 60, rdata: &address };
        let rrsets = gone.rrsets().filter(|_| serial == count);
        let removed = rrsets.flat_map(|rrset| {
            rrset.rdatas().map(move |rdata| {
                let ttl = gone.record_ttl(&rrset, rdata);
                RecordRef { owner: gone.name(), rtype: rrset.rtype(), ttl, rdata }
            })
        });
        let serials = [Serial(serial), Serial(serial + 1)];
        let removed = removed.chain([soa(&old)]);
        Difference::of_records(&apex(), serials, removed, [soa(&new), added].into_iter())
    };
    (1..=count).map(of_serial).collect()
}

fn entry(zone: &Difference) -> Entry<'_> {
    let kind = FrameKind::Update;
    // Every second one has a part beside the zone.
    let any_answers = zone.old_serial().0.is_multiple_of(2).then_some(zone);
    let facts = &b"what is known"[..zone.old_serial().0 as usize % 13];
    Entry { time: 1_800_000_000, kind, zone, any_answers, facts }
}

/// A folder, and the path of a journal in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("example.journal");
    (folder, path)
}

/// The octets of a journal with these differences, and a few zeros behind.
fn octets_of(differences: &[Difference]) -> Vec<u8> {
    let (_folder, path) = place();
    let mut journal = Journal::create(&path, &apex(), BASE, Limits::default()).unwrap();
    let entries: Vec<_> = differences.iter().map(entry).collect();
    journal.append(&entries).unwrap();
    journal.sync().unwrap();
    let mut octets = std::fs::read(&path).unwrap();
    octets.truncate(journal.octets() as usize + 32);
    octets
}

fn said(contents: &Contents) -> Vec<Difference> {
    let before = contents.header.before;
    contents.after(&before).unwrap().map(|frame| frame.differences(&apex()).unwrap().0).collect()
}

#[test]
fn what_is_appended_is_read() {
    let (differences, (_folder, path)) = (differences(12), place());
    let mut journal = Journal::create(&path, &apex(), BASE, Limits::default()).unwrap();
    for group in differences.chunks(5) {
        let entries: Vec<_> = group.iter().map(entry).collect();
        journal.append(&entries).unwrap();
        journal.sync().unwrap();
    }
    let contents = Contents::open(&path, &apex()).unwrap();
    let again = Journal::behind(&path, &contents, Limits::default());
    assert_eq!((said(&contents), contents.cut()), (differences.clone(), None));
    assert_eq!((again.last(), again.octets()), (journal.last(), journal.octets()));
    assert_eq!(contents.last(), journal.last());
    let mut version = first();
    let mut versions = vec![version.clone()];
    for (number, frame) in contents.after(&BASE).unwrap().enumerate() {
        let (zone, beside) = frame.differences(&apex()).unwrap();
        assert_eq!((frame.kind, frame.time), (FrameKind::Update, 1_800_000_000));
        assert_eq!(frame.sequence, number as u64 + 1);
        assert_eq!(frame.facts, entry(&zone).facts);
        // From each place the rest leads on; from one like it that is another, nothing does.
        let place = frame.place();
        assert_eq!(contents.after(&place).unwrap().len(), 11 - number);
        assert!(contents.after(&Place { hash: [1; 32], ..place }).is_none());
        assert!(contents.after(&Place { sequence: place.sequence + 1, ..place }).is_none());
        assert_eq!(frame.serials, [zone.old_serial(), zone.new_serial()]);
        assert_eq!(beside, zone.old_serial().0.is_multiple_of(2).then(|| zone.clone()));
        version = version.apply(&zone, Rules::Strict).unwrap();
        versions.push(version.clone());
    }
    // Each reversed leads back.
    for frame in contents.backward() {
        let back = frame.differences(&apex()).unwrap().0.reversed();
        version = version.apply(&back, Rules::Strict).unwrap();
        versions.pop();
        let there = versions.last().unwrap();
        assert_eq!(version.flat().unwrap().arrays(), there.flat().unwrap().arrays());
    }
    assert_eq!((versions.len(), contents.backward().len()), (1, 12));
}

/// Whatever bit is another one, what lies before is read and nothing else.
#[test]
fn every_flipped_bit_is_found() {
    let differences = differences(12);
    let mut file = octets_of(&differences);
    let contents = Contents::read(file.clone()).unwrap();
    let starts: Vec<usize> = contents.frames.iter().map(|frame| frame.start).collect();
    for at in 0..file.len() {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            let found = Contents::read(file.clone());
            file[at] ^= 1 << bit;
            let Some(hit) = starts.iter().rposition(|start| *start <= at) else {
                assert!(matches!(found, Err(JournalError::NoJournal)));
                continue;
            };
            let right = if at < contents.end() { hit } else { starts.len() };
            let found = found.unwrap();
            assert_eq!(said(&found), differences[..right], "{at} {bit}");
            let cut_at = if at < contents.end() { starts[hit] } else { contents.end() };
            let cut = found.cut().unwrap();
            assert_eq!((cut.at, cut.sequence), (cut_at, right as u64 + 1), "{at} {bit}");
        }
    }
}

/// Wherever the file ends, the frames that are whole are read; and what is appended then comes behind these.
#[test]
fn every_length_is_read_and_written_on() {
    let differences = differences(12);
    let file = octets_of(&differences);
    let contents = Contents::read(file.clone()).unwrap();
    for len in 0..file.len() {
        let found = Contents::read(file[..len].to_vec());
        if len < contents.frames[0].start {
            assert!(matches!(found, Err(JournalError::NoJournal)), "{len}");
            continue;
        }
        let whole = contents.frames.iter().filter(|frame| frame.end <= len).count();
        let found = found.unwrap();
        assert_eq!(said(&found), differences[..whole], "{len}");
        let Some(next) = differences.get(whole) else { continue };
        // Frames that came behind before are none that follow the new one.
        let disk = Disk::new(file.clone());
        let mut journal = Journal::on(&disk, &found, Limits::default());
        let other = next.clone().reversed();
        journal.append(&[entry(&other)]).unwrap();
        let again = Contents::read(disk.octets.borrow().clone()).unwrap();
        let expected: Vec<_> = differences[..whole].iter().chain([&other]).cloned().collect();
        assert_eq!(said(&again), expected, "{len}");
    }
}

/// A disk that fails when it is told to.
struct Disk {
    octets: RefCell<Vec<u8>>,
    /// Octets that it still takes.
    room: Cell<usize>,
    /// What it takes once it failed.
    room_then: usize,
    syncs: Cell<bool>,
}

impl Disk {
    fn new(octets: Vec<u8>) -> Disk {
        let (octets, syncs) = (RefCell::new(octets), Cell::new(true));
        Disk { octets, room: Cell::new(usize::MAX), room_then: usize::MAX, syncs }
    }
}

impl Storage for &Disk {
    fn write_at(&mut self, written: &[u8], at: u64) -> io::Result<()> {
        let len = written.len().min(self.room.get());
        let (at, mut octets) = (at as usize, self.octets.borrow_mut());
        let end = octets.len().max(at + len);
        octets.resize(end, 0);
        octets[at..at + len].copy_from_slice(&written[..len]);
        if len < written.len() {
            self.room.set(self.room_then);
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.room.get() < usize::MAX {
            self.room.set(self.room.get() - len);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.syncs.get() { Ok(()) } else { Err(io::Error::other("no")) }
    }
}

/// After however many octets the disk is full: what was there is there, what was refused is not, and what comes when
/// there is room again is.
#[test]
fn a_full_disk_loses_nothing() {
    let differences = differences(8);
    let file = octets_of(&differences[..4]);
    let contents = Contents::read(file.clone()).unwrap();
    let group: Vec<_> = differences[4..].iter().map(entry).collect();
    let whole = octets_of(&differences).len() - 32;
    // A file with room in it already, and one that has to grow: for its zeros, too, there may be no room.
    for spare in [whole, 0] {
        let mut file = file.clone();
        file.resize(file.len() + spare, 0);
        let read = Contents::read(file.clone()).unwrap();
        for room in 0..whole - contents.end() {
            for room_then in [usize::MAX, 0] {
                let disk = Disk { room: Cell::new(room), room_then, ..Disk::new(file.clone()) };
                let mut journal = Journal::on(&disk, &read, Limits::default());
                let before = (journal.octets(), *journal.last());
                assert!(matches!(journal.append(&group), Err(JournalError::Write(_))));
                assert_eq!((journal.octets(), *journal.last()), before);
                let found = || said(&Contents::read(disk.octets.borrow().clone()).unwrap());
                disk.room.set(usize::MAX);
                if journal.has_failed() {
                    // Neither the frames could be written nor taken back.
                    assert_eq!((spare > 0, room_then), (true, 0));
                    assert!(matches!(journal.append(&group), Err(JournalError::Failed)));
                    assert!(matches!(journal.sync(), Err(JournalError::Failed)));
                    continue;
                }
                assert_eq!(found(), differences[..4], "{spare} {room}");
                journal.append(&group[..1]).unwrap();
                journal.sync().unwrap();
                assert_eq!(found(), differences[..5], "{spare} {room}");
            }
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_taken() {
    let differences = differences(6);
    let file = octets_of(&differences[..4]);
    let contents = Contents::read(file.clone()).unwrap();
    let disk = Disk::new(file);
    let mut journal = Journal::on(&disk, &contents, Limits::default());
    let before = (journal.octets(), *journal.last());
    journal.append(&[entry(&differences[4])]).unwrap();
    disk.syncs.set(false);
    assert!(matches!(journal.sync(), Err(JournalError::Sync(_))));
    // That a later one succeeds says nothing of what was written before.
    disk.syncs.set(true);
    assert!(matches!(journal.sync(), Err(JournalError::Failed)));
    assert!(matches!(journal.append(&[entry(&differences[5])]), Err(JournalError::Failed)));
    assert!(journal.has_failed() && journal.is_trim_due());
    assert_eq!((journal.octets(), *journal.last()), before);
    let found = Contents::read(disk.octets.borrow().clone()).unwrap();
    assert_eq!(said(&found), differences[..4]);
}

#[test]
fn other_files_are_refused() {
    let (_folder, path) = place();
    let file = octets_of(&differences(2));
    let open = |file: &[u8], apex: &Name| {
        std::fs::write(&path, file).unwrap();
        Contents::open(&path, apex).map(|_| ())
    };
    open(&file, &apex()).unwrap();
    let other = Name::from_wire(b"\x05other\0").unwrap();
    let refused = open(&file, &other).unwrap_err();
    assert_eq!(refused.to_string(), "the journal is of example., not of other.");
    assert!(matches!(open(b"", &apex()), Err(JournalError::NoJournal)));
    assert!(matches!(open(&[0; 100], &apex()), Err(JournalError::NoJournal)));
    let mut newer = file;
    newer[8..12].copy_from_slice(&[0, 2, 0xff, 0xfd]);
    let refused = open(&newer, &apex()).unwrap_err();
    let sentence = "the journal has format 2, which a newer sealdns writes; this one knows 1";
    assert_eq!(refused.to_string(), sentence);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Contents::open(&path, &apex()), Err(JournalError::Read(_))));
}

/// For a later base: the newest frames that led to it and fit stay to lead back, those behind it all.
#[test]
fn a_trimmed_journal_keeps_the_way_back_and_all_that_leads_on() {
    let differences = differences(12);
    let len = octets_of(&differences).len() as u64;
    for part in 0..16 {
        let limits = Limits { octets: len.max(8 * len / 16 * part) };
        let (_folder, path) = place();
        let mut journal = Journal::create(&path, &apex(), BASE, limits).unwrap();
        let mut places = vec![BASE];
        for difference in &differences[..8] {
            journal.append(&[entry(difference)]).unwrap();
            journal.sync().unwrap();
            places.push(*journal.last());
        }
        // What is not synced was not acknowledged.
        journal.append(&[entry(&differences[10])]).unwrap();
        let base = places[5];
        assert!(journal.trim(&Place { hash: [9; 32], ..base }).is_err());
        journal.trim(&base).unwrap();
        assert_eq!(*journal.last(), places[8]);
        let contents = Contents::open(&path, &apex()).unwrap();
        assert_eq!((contents.cut(), contents.after(&base).unwrap().len()), (None, 3));
        let kept = contents.backward().len() - 3;
        let octets: usize = contents.frames[..kept].iter().map(|frame| frame.len()).sum();
        assert!(octets as u64 <= limits.octets / 4 && (kept == 5 || kept < 5 && part < 8));
        journal.append(&[entry(&differences[8])]).unwrap();
        journal.sync().unwrap();
        let mut contents = Contents::open(&path, &apex()).unwrap();
        let back: Vec<_> =
            contents.backward().map(|frame| frame.differences(&apex()).unwrap().0).collect();
        let expected: Vec<_> = differences[5 - kept..9].iter().rev().cloned().collect();
        assert_eq!(back, expected);
        // What fits no version is left out, and what is appended comes in its place.
        contents.cut_behind(&places[6]);
        assert_eq!(contents.cut().map(|cut| cut.sequence), Some(7));
        let mut journal = Journal::behind(&path, &contents, limits);
        journal.append(&[entry(&differences[11])]).unwrap();
        journal.sync().unwrap();
        let again = Contents::open(&path, &apex()).unwrap();
        let forward = again.after(&base).unwrap();
        let forward: Vec<_> = forward.map(|frame| frame.differences(&apex()).unwrap().0).collect();
        assert_eq!(forward, [&differences[5..6], &differences[11..]].concat());
    }
}

/// What was synced and cannot be published is taken back, and what comes then has its place.
#[test]
fn what_is_taken_back_is_not_there() {
    let differences = differences(6);
    let disk = Disk::new(octets_of(&differences[..4]));
    let contents = Contents::read(disk.octets.borrow().clone()).unwrap();
    for fails in [false, true] {
        let mut journal = Journal::on(&disk, &contents, Limits::default());
        let before = (*journal.last(), journal.octets());
        journal.append(&[entry(&differences[4])]).unwrap();
        journal.sync().unwrap();
        disk.syncs.set(!fails);
        assert_eq!(journal.retract(before.0, before.1).is_err(), fails);
        disk.syncs.set(true);
        assert_eq!((*journal.last(), journal.octets()), before);
        assert_eq!(journal.has_failed(), fails);
        assert_eq!(said(&Contents::read(disk.octets.borrow().clone()).unwrap()), differences[..4]);
        assert_eq!(journal.append(&[entry(&differences[5])]).is_err(), fails);
    }
}

#[test]
fn a_journal_has_a_size_limit() {
    let differences = differences(12);
    let len = octets_of(&differences).len() as u64;
    let (_folder, path) = place();
    let limits = Limits { octets: len / 2 };
    let mut journal = Journal::create(&path, &apex(), BASE, limits).unwrap();
    let entries: Vec<_> = differences.iter().map(entry).collect();
    assert!(matches!(journal.append(&entries), Err(JournalError::TooLarge { .. })));
    assert!(!journal.is_trim_due());
    let taken = entries.iter().take_while(|entry| journal.append(&[**entry]).is_ok()).count();
    assert!((3..12).contains(&taken) && journal.is_trim_due(), "{taken}");
    journal.sync().unwrap();
    let contents = Contents::open(&path, &apex()).unwrap();
    assert_eq!(said(&contents), differences[..taken]);
}
