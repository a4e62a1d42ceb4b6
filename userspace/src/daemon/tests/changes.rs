//! A zone that is signed, edited and signed again by what changed: whatever happens to it, what is served is what signing
//! its file as a whole would give.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use crate::config::{self, Config};
use crate::daemon::kept::{KeepableVersion, KeptFacts, RecordedChange};
use crate::daemon::prepare::ZoneFiles;
use crate::daemon::state::{CurrentVersion, Prepare, Prepared};
use crate::daemon::verified::Verification;
use crate::dnssec::keys::store::KeyStore;
use crate::dnssec::keys::{Algorithm, Key, KeyLayout, Role};
use crate::dnssec::origin::Origin;
use crate::dnssec::policy::{AnyResponse, Denial};
use crate::dnssec::rrsig::Rrsig;
use crate::dnssec::sign::sign;
use crate::dnssec::times::{SignatureTimes, is_before};
use crate::dnssec::verify::{VerifyReport, verify};
use crate::journal::{FrameKind, Place};
use crate::server::testing;
use crate::transfer::axfr::{Heading, messages};
use crate::zone::difference::Difference;
use crate::zone::text::{self, Options};
use crate::zone::{Name, Rtype, Serial, Version, Zone, soa};

const NOW: u32 = 1_800_000_000;

const OWNERS: [&str; 10] =
    ["@", "a", "b.a", "c.b.a", "*.a", "d", "f.e.d", "*.e.d", "g.f.e.d", "zz"];

const TYPES: [&str; 5] = ["A", "TXT", "NS", "DS", "DNAME"];

const DENIALS: [Denial; 3] =
    [Denial::Nsec, Denial::Nsec3 { opt_out: false }, Denial::Nsec3 { opt_out: true }];

/// What happens to a zone.
#[derive(Clone, Debug)]
enum Step {
    /// Records of the file come, or go if they are there; the file's serial may rise.
    Edit(Vec<(usize, usize, u8)>, bool),
    Denial(Denial),
    Hinfo(bool),
    Digest(bool),
    /// A key is added.
    Key,
    /// Time passes, in hours: signatures may be due afterwards, and end.
    Hours(u32),
    /// The daemon is started again.
    Restart,
    /// The file is none that can be read, and then what it was again.
    BrokenFile,
    /// Keys cannot be read, while the file changes.
    NoKeys(usize),
    /// Nothing can be kept for the next start, while the file changes.
    NoRoom(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // Addresses and cuts twice as often as the rest.
    let rtype = prop::sample::select(vec![0usize, 0, 1, 2, 2, 3, 4]);
    let record = (0..OWNERS.len(), rtype, 0..2u8);
    prop_oneof![
        12 => (prop::collection::vec(record, 1..5), any::<bool>())
            .prop_map(|(records, counts)| Step::Edit(records, counts)),
        1 => prop::sample::select(&DENIALS[..]).prop_map(Step::Denial),
        1 => any::<bool>().prop_map(Step::Hinfo),
        1 => any::<bool>().prop_map(Step::Digest),
        1 => Just(Step::Key),
        3 => (1..8u32 * 24).prop_map(Step::Hours),
        1 => (15 * 24..40u32 * 24).prop_map(Step::Hours),
        2 => Just(Step::Restart),
        1 => Just(Step::BrokenFile),
        1 => (0..OWNERS.len()).prop_map(Step::NoKeys),
        1 => (0..OWNERS.len()).prop_map(Step::NoRoom),
    ]
}

/// What is served.
struct Served {
    zone: Version,
    origin: Origin,
    verification: Option<Verification>,
    /// Where it stands in what is kept, if it is kept.
    kept_at: Option<Place>,
}

/// A zone, its file, and what keeps it served.
struct Stage {
    folder: tempfile::TempDir,
    config: Config,
    files: ZoneFiles,
    records: BTreeMap<(usize, usize), BTreeSet<u8>>,
    serial: u32,
    now: u32,
    served: Option<Served>,
    /// What the version that is served was made of: its text.
    text: String,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealdns.toml");
        let config = "version = \"v1\"\n[server]\nstate-dir = \"state\"\n\
                      [[zone]]\nname = \"example\"\nfile = \"zone\"\n";
        fs::write(&path, config).unwrap();
        let config = Config::load(&path).unwrap();
        let files = ZoneFiles::new(&config);
        let records = BTreeMap::from([((1, 0), BTreeSet::from([0]))]);
        let (served, text) = (None, String::new());
        let mut stage = Stage { folder, config, files, records, serial: 1, now: NOW, served, text };
        stage.write();
        let first = stage.prepare().unwrap();
        stage.serve(first, false);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn section(&self) -> config::Zone {
        self.config.zones().next().unwrap().clone()
    }

    fn policy(&mut self) -> &mut config::Policy {
        self.config.policies.get_mut("default").unwrap()
    }

    /// What the file says.
    fn text(&self) -> String {
        let mut text = format!(
            "$TTL 300\n@ IN SOA ns mail {} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n",
            self.serial
        );
        for ((owner, rtype), values) in &self.records {
            for value in values {
                let rdata = match TYPES[*rtype] {
                    "A" => format!("192.0.2.{value}"),
                    "DS" => format!("{value} 13 2 {}", "ab".repeat(32)),
                    "DNAME" if *value > 0 => continue,
                    other => format!("{}{value}", other.to_lowercase()),
                };
                text += &format!("{} {} {rdata}\n", OWNERS[*owner], TYPES[*rtype]);
            }
        }
        text
    }

    fn write(&self) {
        fs::write(self.path("zone"), self.text()).unwrap();
    }

    /// The file as a zone, if it is one.
    fn unsigned(&self) -> Option<Zone> {
        let read = text::load(&self.path("zone"), &testing::name("example"), Options::default());
        read.ok().map(|read| read.zone)
    }

    fn keys(&self) -> Vec<Key> {
        let store = KeyStore::new(self.config.server.key_dir());
        store.load_known(&testing::name("example"), KeyLayout::KskZsk).unwrap()
    }

    fn prepare(&self) -> anyhow::Result<Prepared> {
        let section = self.section();
        let served = self.served.as_ref();
        let before = CurrentVersion {
            serial: served.map(|served| served.zone.serial()),
            served: served.map(|served| &served.zone),
            verified: served.map(|served| &served.zone),
            verification: served.and_then(|served| served.verification.as_ref()),
            origin: served.map(|served| &served.origin),
            is_signed: served.is_some(),
            is_unchanged: false,
            instead: None,
            incoming: None,
            members: &[],
        };
        self.files.prepare(&section, &self.config.policy(&section), before, self.now)
    }

    /// Serves what was prepared, and keeps it for the next start.
    fn serve(&mut self, prepared: Prepared, is_obstructed: bool) {
        self.text = self.text();
        let origin = prepared.origin.clone().unwrap();
        if prepared.is_served {
            let served = self.served.as_ref().unwrap();
            assert!(prepared.zone.is_same(&served.zone) && served.origin == origin);
            return;
        }
        if let Some(served) = &self.served {
            assert!(prepared.zone.serial().is_newer_than(served.zone.serial()));
        }
        if let Some((change, served)) = prepared.change.as_ref().zip(self.served.as_ref()) {
            assert_eq!(*change, Difference::between_versions(&served.zone, &prepared.zone));
        }
        let kept_at = self.keep(&prepared);
        assert_eq!(kept_at.is_none(), is_obstructed);
        let verification = prepared.verification;
        self.served = Some(Served { zone: prepared.zone, origin, verification, kept_at });
        self.check();
    }

    /// Keeps a version for the next start, by what changed if that is known.
    fn keep(&self, prepared: &Prepared) -> Option<Place> {
        let (section, zone) = (self.section(), &prepared.zone);
        let known = KeptFacts::new([0; 32], prepared.verification.as_ref());
        let facts = &KeptFacts { origin: prepared.origin.clone(), ..known };
        let times = prepared.verification.as_ref().map(|known| &known.times);
        let kept_zones = self.files.kept_zones(&section).unwrap();
        let _ = self.files.note_serial(&section, zone.serial(), true);
        let served = self.served.as_ref();
        let from = served.and_then(|served| Some((served, served.kept_at?)));
        let Some(((served, from), change)) = from.zip(prepared.change.as_ref()) else {
            return kept_zones.keep(&KeepableVersion { zone, facts, times }).ok();
        };
        let beside = served.zone.any_answers().zip(zone.any_answers());
        let beside = beside.map(|(old, new)| Difference::between_versions(old, new));
        let (time, kind, any_answers) = (self.now.into(), FrameKind::File, beside.as_ref());
        let change = RecordedChange { from, time, kind, zone: change, any_answers, facts };
        kept_zones.record(&section.name, &change).ok()
    }

    /// Compares what is served with what signing its file as a whole gives, and what is known of it with what is found.
    fn check(&self) {
        let Served { zone: served, verification, .. } = self.served.as_ref().unwrap();
        let flat = served.flat().unwrap();
        let policy = self.config.policy(&self.section()).signing();
        let whole = sign(&self.unsigned().unwrap(), &self.keys(), &policy, self.now).unwrap().0;
        assert_eq!(said(&flat), said(&whole));
        let report = verify(&flat, self.now).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(report.denial, policy.denial);
        let known = verification.as_ref().unwrap();
        let [validity, counted] = [&known.times, &SignatureTimes::of(&flat)]
            .map(|times| times.validity(self.now).map(|validity| validity.expiration));
        assert_eq!(validity, counted);
        let counts = |report: &VerifyReport| {
            (report.rrsets, report.keys, report.denial, report.denials, report.opt_outs)
        };
        assert_eq!(counts(&known.report), counts(&report));
        assert!(!is_before(report.expiration, known.report.expiration));
        assert_eq!(transferred(served), transferred(&Version::of(flat)));
    }

    /// Prepares what the file says now, which can be signed; says whether it was by what changed.
    fn follow(&mut self) -> bool {
        let prepared = self.prepare().unwrap_or_else(|error| panic!("{error:#}"));
        assert!(prepared.fault.is_none());
        let is_by_difference = prepared.change.is_some();
        self.serve(prepared, false);
        is_by_difference
    }

    /// Changes a record of the file; says whether it is a zone afterwards, else it is as it was.
    fn toggle(&mut self, records: &[(usize, usize, u8)], counts: bool) -> bool {
        let before = (self.records.clone(), self.serial);
        for &(owner, rtype, value) in records {
            let values = self.records.entry((owner, rtype)).or_default();
            if !values.remove(&value) {
                values.insert(value);
            }
        }
        self.serial += u32::from(counts);
        self.write();
        let is_zone = self.unsigned().is_some();
        if !is_zone {
            (self.records, self.serial) = before;
            self.write();
        }
        is_zone
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Edit(records, counts) => {
                let is_zone = self.toggle(records, *counts);
                let has_changed = self.text != self.text();
                let is_held = self.has_current_signatures();
                // Signing again may have used the file's next serial: by that alone nothing is known to change.
                let served = self.served.as_ref().unwrap().zone.serial();
                let is_held = is_held && served != Serial(self.serial);
                let has_digest = self.policy().zonemd;
                let is_by_difference = self.follow();
                if is_zone && is_held {
                    assert_eq!(is_by_difference, has_changed && !has_digest, "{}", self.text());
                }
            }
            Step::Denial(denial) => {
                let is_other = std::mem::replace(&mut self.policy().denial, *denial) != *denial;
                assert!(!(self.follow() && is_other));
            }
            Step::Hinfo(is_hinfo) => {
                let any = if *is_hinfo { AnyResponse::Hinfo } else { AnyResponse::Rrset };
                let is_other = std::mem::replace(&mut self.policy().any, any) != any;
                assert!(!(self.follow() && is_other));
            }
            Step::Digest(has_digest) => {
                self.policy().zonemd = *has_digest;
                assert!(!(self.follow() && *has_digest));
            }
            Step::Key => {
                let store = KeyStore::new(self.config.server.key_dir());
                let (apex, algorithm) = (testing::name("example"), Algorithm::default());
                store.generate(&apex, &[Role::Zsk], algorithm, self.now).unwrap();
                assert!(!self.follow());
            }
            Step::Hours(hours) => {
                self.now += hours * 3600;
                self.follow();
            }
            Step::Restart => self.restart(),
            Step::BrokenFile => {
                fs::write(self.path("zone"), "@ SOA").unwrap();
                self.refuse();
                self.write();
                self.follow();
            }
            Step::NoKeys(owner) => {
                if !self.toggle(&[(*owner, 1, 0)], false) {
                    return;
                }
                let keys = self.config.server.key_dir();
                fs::rename(&keys, self.path("elsewhere")).unwrap();
                self.refuse();
                let _ = fs::remove_dir_all(&keys);
                fs::rename(self.path("elsewhere"), &keys).unwrap();
                self.follow();
            }
            Step::NoRoom(owner) => {
                if !self.toggle(&[(*owner, 1, 1)], false) {
                    return;
                }
                let folder = self.path("state/signed");
                fs::rename(&folder, self.path("elsewhere")).unwrap();
                fs::write(&folder, "").unwrap();
                let prepared = self.prepare().unwrap_or_else(|error| panic!("{error:#}"));
                let is_new = !prepared.is_served;
                self.serve(prepared, is_new);
                fs::remove_file(&folder).unwrap();
                fs::rename(self.path("elsewhere"), &folder).unwrap();
            }
        }
    }

    /// Whether the signatures of what is served hold now.
    fn has_current_signatures(&self) -> bool {
        let served = &self.served.as_ref().unwrap().zone;
        verify(&served.flat().unwrap(), self.now).is_ok()
    }

    /// What cannot be prepared leaves what is served as it is.
    fn refuse(&self) {
        let before = self.served.as_ref().unwrap().zone.clone();
        match self.prepare() {
            // Signatures are due, and made of the records in hand.
            Ok(prepared) => assert!(prepared.fault.is_some()),
            Err(_) => assert!(self.served.as_ref().unwrap().zone.is_same(&before)),
        }
    }

    /// What was served is served again, and then what the file says.
    fn restart(&mut self) {
        let section = self.section();
        let policy = self.config.policy(&section);
        self.files = ZoneFiles::new(&self.config);
        let last = self.files.kept(&section, &policy, self.now);
        let before = self.served.take().unwrap();
        if let Some(last) = last {
            let prepared = last.prepared;
            let [now, then] = [&prepared.zone, &before.zone].map(said_exactly);
            assert_eq!(now, then);
            let origin = prepared.origin.unwrap();
            let verification = prepared.verification;
            let kept_at = Some(last.place);
            self.served = Some(Served { zone: prepared.zone, origin, verification, kept_at });
        }
        let prepared = self.prepare().unwrap_or_else(|error| panic!("{error:#}"));
        if prepared.is_served || !prepared.zone.serial().is_newer_than(before.zone.serial()) {
            assert_eq!(said_exactly(&prepared.zone), said_exactly(&before.zone));
        }
        match self.served {
            Some(_) => self.serve(prepared, false),
            None => {
                let origin = prepared.origin.clone().unwrap();
                self.serve(prepared, false);
                assert!(self.served.as_ref().unwrap().origin == origin);
            }
        }
    }
}

/// What a signed zone says: of each record owner, type, TTL and RDATA.
fn said_exactly(version: &Version) -> Vec<(Name, Rtype, u32, Vec<u8>)> {
    let versions = std::iter::once(version).chain(version.any_answers());
    let mut said = Vec::new();
    for owner in versions.flat_map(Version::owners) {
        for rrset in owner.rrsets() {
            let records = rrset.rdatas().map(|rdata| {
                let ttl = owner.record_ttl(&rrset, rdata);
                (Name::from_wire(owner.name()).unwrap(), rrset.rtype(), ttl, rdata.to_vec())
            });
            said.extend(records);
        }
    }
    said
}

/// The same but for serials, times, signatures and digests.
fn said(zone: &Zone) -> Vec<(Name, Rtype, u32, Vec<u8>)> {
    let mut said = said_exactly(&Version::of(zone.clone()));
    for (_, rtype, _, rdata) in &mut said {
        match *rtype {
            Rtype::SOA => soa::set_serial(rdata, Serial(0)),
            Rtype::ZONEMD => rdata.truncate(0),
            Rtype::RRSIG => {
                let signature = Rrsig::parse(rdata).unwrap().signature.len();
                rdata.truncate(rdata.len() - signature);
                rdata[8..16].fill(0);
            }
            _ => {}
        }
    }
    said.sort();
    said
}

/// The messages of a transfer.
fn transferred(version: &Version) -> Vec<Vec<u8>> {
    let question = [&[0; 12], version.apex().as_wire(), &[0, 252, 0, 1]].concat();
    let heading = Heading::new(question, Vec::new());
    let (mut all, mut message) = (Vec::new(), Vec::new());
    let mut messages = messages(version, &heading);
    while messages.next_message(&mut message).unwrap() {
        all.push(message.clone());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_happens_what_is_served_is_what_signing_the_whole_gives(
        denial in prop::sample::select(&DENIALS[..]),
        steps in prop::collection::vec(step(), 1..10),
    ) {
        let mut stage = Stage::new();
        stage.step(&Step::Denial(denial));
        for step in &steps {
            stage.step(step);
        }
    }
}
