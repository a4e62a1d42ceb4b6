//! What a change of a zone's file makes the daemon look at: the zone once, to compare it with the file, and no more than
//! the change else.

use std::fs;

use proptest::prelude::*;

use crate::config::{self, Config, Policy};
use crate::daemon::prepare::ZoneFiles;
use crate::daemon::state::{CurrentVersion, Prepare, Prepared};
use crate::daemon::verified::Verification;
use crate::dnssec::keys::{Algorithm, Key, NewKey, Role};
use crate::dnssec::origin::{Origin, unsigned_difference};
use crate::dnssec::policy::{AnyResponse, Denial};
use crate::dnssec::sign::sign;
use crate::dnssec::times::SignatureTimes;
use crate::dnssec::verify::verify_again;
use crate::server::testing;
use crate::zone::difference::Difference;
use crate::zone::text::{self, Options};
use crate::zone::{Version, Zone, visits};

const NOW: u32 = 1_800_000_000;

/// Names of the zone that never change.
const NAMES: usize = 5000;

/// Looks at owners that a change of a few names may take: a walk over all names takes more.
const FEW: usize = NAMES;

const OWNERS: [&str; 8] = ["@", "h17", "h99.h99", "new", "*.new", "a.b.c.new", "h3", "*.h5"];

const TYPES: [&str; 4] = ["A", "TXT", "NS", "DS"];

/// Of an owner and a type: whether the record is there.
type Records = [[bool; TYPES.len()]; OWNERS.len()];

struct Stage {
    folder: tempfile::TempDir,
    config: Config,
    files: ZoneFiles,
    /// What somebody else signs with.
    key: Key,
    serial: u32,
    records: Records,
    zone: Version,
    verification: Option<Verification>,
    origin: Option<Origin>,
}

impl Stage {
    /// A zone that is served; somebody else signs it, or sealdns does.
    fn new(dnssec: &str, denial: Denial, any: AnyResponse) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealdns.toml");
        let config = format!(
            "version = \"v1\"\n[server]\nstate-dir = \"state\"\n\
             [[zone]]\nname = \"example\"\nfile = \"zone\"\ndnssec = \"{dnssec}\"\n"
        );
        fs::write(&path, config).unwrap();
        let mut config = Config::load(&path).unwrap();
        let policy = config.policies.get_mut("default").unwrap();
        (policy.denial, policy.any) = (denial, any);
        let apex = testing::name("example");
        // Its signatures of the same records are the same.
        let key = NewKey::generate(&apex, Role::Csk, Algorithm::Ed25519, &[], NOW).unwrap().key;
        let (verification, origin) = (None, None);
        let zone = testing::version(1, 0);
        let (files, records) = (ZoneFiles::new(&config), Records::default());
        let mut stage =
            Stage { folder, config, files, key, serial: 1, records, zone, verification, origin };
        stage.write();
        let first = stage.prepare(CurrentVersion::default());
        stage.serve(first);
        stage
    }

    fn section(&self) -> (config::Zone, Policy) {
        let section = self.config.zones().next().unwrap().clone();
        let policy = self.config.policy(&section);
        (section, policy)
    }

    fn is_signed_here(&self) -> bool {
        self.section().0.dnssec == config::Dnssec::Sign
    }

    /// Writes the file.
    fn write(&self) {
        let mut text = format!(
            "$TTL 300\n@ IN SOA ns mail {} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n",
            self.serial
        );
        for name in 0..NAMES {
            text += &format!("h{name} A 192.0.2.1\n");
        }
        for (owner, types) in OWNERS.iter().zip(&self.records) {
            for (rtype, _) in TYPES.iter().zip(types).filter(|(_, is_there)| **is_there) {
                let rdata = match *rtype {
                    "A" => "192.0.2.2",
                    "DS" => {
                        "7 13 2 abababababababababababababababababababababababababababababababab"
                    }
                    _ => "other",
                };
                // The apex has its own name servers, and no parent here.
                if *owner != "@" || matches!(*rtype, "A" | "TXT") {
                    text += &format!("{owner} {rtype} {rdata}\n");
                }
            }
        }
        let path = self.folder.path().join("zone");
        fs::write(&path, text).unwrap();
        if !self.is_signed_here() {
            let policy = self.section().1.signing();
            let signed = sign(&self.read(), std::slice::from_ref(&self.key), &policy, NOW);
            let mut octets = Vec::new();
            text::write(&signed.unwrap().0, &mut octets).unwrap();
            fs::write(path, octets).unwrap();
        }
    }

    /// Reads the file.
    fn read(&self) -> Zone {
        let (path, apex) = (self.folder.path().join("zone"), testing::name("example"));
        text::load(&path, &apex, Options::default()).unwrap().zone
    }

    fn prepare(&self, before: CurrentVersion<'_>) -> Prepared {
        let (section, policy) = self.section();
        self.files.prepare(&section, &policy, before, NOW).unwrap()
    }

    fn serve(&mut self, prepared: Prepared) {
        self.zone = prepared.zone;
        self.verification = prepared.verification;
        self.origin = prepared.origin;
    }

    /// What reading the file and comparing it with what is served looks at.
    fn visits_of_comparing(&self) -> usize {
        let compared = || {
            let file = Version::of(self.read());
            match self.is_signed_here() {
                true => unsigned_difference(&self.zone, &file, usize::MAX),
                false => Difference::between_at_most(&self.zone, &file, usize::MAX, &|_, _| true),
            }
        };
        visits::of(compared).1
    }

    /// Follows the file, which changed; says what it looked at beside the file.
    fn follow(&mut self) -> usize {
        let comparing = self.visits_of_comparing();
        let prepare = || {
            self.prepare(CurrentVersion {
                serial: Some(self.zone.serial()),
                served: Some(&self.zone),
                verified: Some(&self.zone),
                verification: self.verification.as_ref(),
                origin: self.origin.as_ref(),
                is_signed: true,
                is_unchanged: false,
                instead: None,
                incoming: None,
                members: &[],
            })
        };
        let (prepared, visits) = visits::of(prepare);
        assert!(prepared.change.is_some(), "it is made of what changed");
        let before = self.zone.clone();
        self.serve(prepared);
        self.check(&before);
        visits - comparing
    }

    /// What is known of the version without a walk is what a walk finds.
    fn check(&self, before: &Version) {
        let flat = self.zone.flat().unwrap();
        let known = self.verification.as_ref().unwrap();
        let found = verify_again(&flat, Some(before), NOW).unwrap();
        let times = SignatureTimes::of(&flat);
        assert_eq!(known.times.validity(NOW), times.validity(NOW));
        let (known, found) = (known.report, found);
        assert_eq!(
            (known.rrsets, known.keys, known.denials, known.opt_outs, known.expiration),
            (found.rrsets, found.keys, found.denials, found.opt_outs, found.expiration)
        );
    }
}

fn step() -> impl Strategy<Value = (Vec<(usize, usize)>, bool)> {
    let record = (0..OWNERS.len(), 0..TYPES.len());
    (prop::collection::vec(record, 1..4), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 6, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn a_change_of_a_file_costs_no_walk_but_comparing(
        is_signed_here in any::<bool>(),
        denial in prop::sample::select(vec![
            Denial::Nsec, Denial::Nsec3 { opt_out: false }, Denial::Nsec3 { opt_out: true },
        ]),
        is_hinfo in any::<bool>(),
        steps in prop::collection::vec(step(), 2..5),
    ) {
        let dnssec = if is_signed_here { "sign" } else { "presigned" };
        let any = if is_hinfo { AnyResponse::Hinfo } else { AnyResponse::Rrset };
        let mut stage = Stage::new(dnssec, denial, any);
        // The first name that comes to a flat zone finds the hashes in it, and the keys by which names are found.
        stage.records[3][0] ^= true;
        stage.serial += 1;
        stage.write();
        stage.follow();
        for (records, _) in &steps {
            for &(owner, rtype) in records {
                stage.records[owner][rtype] ^= true;
            }
            stage.serial += 1;
            stage.write();
            let visits = stage.follow();
            prop_assert!(visits < FEW, "{visits} owners looked at: {records:?}");
        }
    }
}
