//! Zones are signed whatever else is ill: every fault that is foreseen with every other.

use std::fs;
use std::path::Path;

use super::*;
use crate::daemon::kept::{KeepableVersion, KeptFacts};
use crate::dnssec::keys::Algorithm;
use crate::dnssec::policy::Denial;
use crate::dnssec::times::SignatureTimes;
use crate::dnssec::verify::verify;
use crate::server::testing;

const NOW: u32 = 1_800_000_000;
const HOUR: u32 = 3600;
const DAY: u32 = 86400;

const ZONE: &str = "$TTL 300\n@ IN SOA ns hostmaster 7 3600 900 604800 60\n@ NS ns\n\
                    ns A 192.0.2.1\nwww A 192.0.2.2\n*.w TXT \"any\"\n";

/// A daemon's signing over a folder with one zone.
struct Stage {
    folder: tempfile::TempDir,
    config: Config,
    signing: Signing,
}

/// What is served.
struct Served {
    zone: Version,
    origin: Origin,
    verification: Option<Verification>,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let text =
            "version = \"v1\"\n[[zone]]\nname = \"example.com\"\nfile = \"example.com.zone\"\n";
        let path = folder.path().join("sealdns.toml");
        fs::write(&path, text).unwrap();
        let mut config = Config::load(&path).unwrap();
        config.server.state_dir = folder.path().join("state");
        let stage = Stage { signing: Signing::new(&config), folder, config };
        stage.write_zone(ZONE);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_zone(&self, text: &str) {
        fs::write(self.path("example.com.zone"), text).unwrap();
    }

    /// Prepares the zone after what is served; `is_due`: because its signatures are, else since it was told to.
    fn prepare(&self, served: Option<&Served>, is_due: bool, now: u32) -> anyhow::Result<Prepared> {
        let section = self.config.zones().next().unwrap();
        let before = CurrentVersion {
            serial: served.map(|served| served.zone.serial()),
            served: served.map(|served| &served.zone),
            verified: served.map(|served| &served.zone),
            verification: served.and_then(|served| served.verification.as_ref()),
            origin: served.map(|served| &served.origin),
            is_signed: served.is_some(),
            is_unchanged: is_due && self.path("example.com.zone").exists() && self.is_original(),
            instead: None,
            incoming: None,
            members: &[],
        };
        self.signing.prepare(section, &self.config.policy(section), before, now)
    }

    fn is_original(&self) -> bool {
        fs::read_to_string(self.path("example.com.zone")).is_ok_and(|text| text == ZONE)
    }

    /// The zone as it is first served, and kept.
    fn first(&self) -> Served {
        self.serve(self.prepare(None, false, NOW).unwrap())
    }

    fn serve(&self, prepared: Prepared) -> Served {
        let _ = self.note_serial(&prepared);
        let Prepared { zone, verification, origin, .. } = prepared;
        let known = KeptFacts::new([0; 32], verification.as_ref());
        let facts = &KeptFacts { origin: origin.clone(), ..known };
        let times = verification.as_ref().map(|known| &known.times);
        let _ = self.signing.kept_zones().keep(&KeepableVersion { zone: &zone, facts, times });
        Served { zone, origin: origin.unwrap(), verification }
    }

    fn note_serial(&self, prepared: &Prepared) -> anyhow::Result<()> {
        let section = self.config.zones().next().unwrap();
        self.signing.note_serial(&section.name, prepared.zone.serial(), true)
    }
}

/// Puts a file where a folder should be: nothing can be written there, by root neither.
fn obstruct(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    fs::write(folder, "").unwrap();
}

#[test]
fn serials_go_forward_and_follow_the_file_where_it_does() {
    assert_eq!(serial_to_serve(Serial(5), None), Serial(5));
    assert_eq!(serial_to_serve(Serial(6), Some(Serial(5))), Serial(6));
    assert_eq!(serial_to_serve(Serial(5), Some(Serial(5))), Serial(6));
    assert_eq!(serial_to_serve(Serial(5), Some(Serial(9))), Serial(10));
    assert_eq!(serial_to_serve(Serial(1), Some(Serial(u32::MAX))), Serial(1));
    assert_eq!(newer(Some(Serial(1)), Some(Serial(u32::MAX))), Some(Serial(1)));
    assert_eq!(newer(None, Some(Serial(3))), Some(Serial(3)));
}

#[test]
fn a_zone_takes_another_serial_and_nothing_else_changes() {
    let zone = testing::zone(7, 3);
    let other = with_serial(Zone::clone(&zone), Serial(9)).unwrap();
    assert_eq!((zone.serial().0, other.serial().0), (7, 9));
    assert_eq!(with_serial(other, Serial(7)).unwrap().arrays(), zone.arrays());
}

/// What may be wrong with the zone file, with the serial's, with the folders of the state directory, and why the
/// zone is signed again.
#[test]
fn whatever_is_ill_signatures_that_are_due_are_made() {
    let files: [(&str, Option<&str>, bool); 4] = [
        ("as it was", Some(ZONE), false),
        ("changed", Some("$TTL 60\n@ SOA ns h 7 1 1 1 60\n@ NS ns\nns A 192.0.2.9\n"), false),
        ("broken", Some("@ SOA"), true),
        ("gone", None, true),
    ];
    let serials = [
        ("there", Some("0000000007\n")),
        ("empty", Some("")),
        ("garbled", Some("\u{fffd}x")),
        ("gone", None),
    ];
    // The time at which it is signed again: when it is due, long after its end, and before its beginning.
    let times = [("due", NOW + 8 * DAY), ("late", NOW + 40 * DAY), ("clock back", NOW - 30 * DAY)];
    for (file, text, is_fault) in files {
        for (serial, hint) in serials {
            for obstructed in [&[][..], &["serials"], &["signed"], &["serials", "signed"]] {
                for (time, now) in times {
                    let what = format!("file {file}, serial {serial}, no {obstructed:?}, {time}");
                    let stage = Stage::new();
                    let served = stage.first();
                    match text {
                        Some(text) => stage.write_zone(text),
                        None => fs::remove_file(stage.path("example.com.zone")).unwrap(),
                    }
                    let hint_path = stage.path("state/serials/example.com.serial");
                    match hint {
                        Some(hint) => fs::write(hint_path, hint).unwrap(),
                        None => fs::remove_file(hint_path).unwrap(),
                    }
                    for folder in obstructed {
                        obstruct(&stage.path("state").join(folder));
                    }
                    let again = stage.prepare(Some(&served), true, now).expect(&what);
                    assert_eq!(again.fault.is_some(), is_fault, "{what}");
                    let is_noted = stage.note_serial(&again).is_ok();
                    assert_eq!(!is_noted, obstructed.contains(&"serials"), "{what}");
                    assert!(again.zone.serial().is_newer_than(served.zone.serial()), "{what}");
                    let report = verify(&again.zone.flat().unwrap(), now).expect(&what);
                    assert_eq!(report.expiration, now + 14 * DAY, "{what}");
                    assert_eq!(again.inception, Some(now - HOUR), "{what}");
                    let www = again.zone.find(b"\x03www\x07example\x03com\x00");
                    assert_eq!(www.is_none(), file == "changed", "{what}");
                    // It is not made again and again.
                    let served = stage.serve(again);
                    let times = SignatureTimes::of(&served.zone.flat().unwrap());
                    assert_eq!(served.verification.unwrap().times, times, "{what}");
                    let validity = times.validity(now).unwrap();
                    let section = stage.config.zones().next().unwrap();
                    assert!(!is_due(validity, &stage.config.policy(section), now), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_reload_of_what_did_not_change_changes_nothing() {
    let stage = Stage::new();
    let served = stage.first();
    let again = stage.prepare(Some(&served), false, NOW + DAY).unwrap();
    assert!(again.is_served && again.fault.is_none());
    assert_eq!(
        (again.zone.serial().0, again.zone.flat().unwrap().arrays()),
        (7, served.zone.flat().unwrap().arrays())
    );
    // A file that is at fault is said; there is no need to sign.
    stage.write_zone("@ SOA");
    assert!(stage.prepare(Some(&served), false, NOW + DAY).is_err());
    // Another record is another version.
    stage.write_zone(&format!("{ZONE}new A 192.0.2.3\n"));
    let again = stage.prepare(Some(&served), false, NOW + DAY).unwrap();
    assert!(!again.is_served);
    assert_eq!(again.zone.serial().0, 8);
}

#[test]
fn a_restart_keeps_what_did_not_change() {
    for ill in ["nothing", "serial garbled", "serial gone", "file broken", "file gone"] {
        let stage = Stage::new();
        let served = stage.first();
        let serial = stage.path("state/serials/example.com.serial");
        let file = stage.path("example.com.zone");
        match ill {
            "serial garbled" => fs::write(serial, "").unwrap(),
            "serial gone" => fs::remove_file(serial).unwrap(),
            "file broken" => fs::write(file, "@ SOA").unwrap(),
            "file gone" => fs::remove_file(file).unwrap(),
            _ => {}
        }
        let again = stage.prepare(None, false, NOW + DAY).expect(ill);
        assert_eq!(
            (again.zone.serial().0, again.zone.flat().unwrap().arrays()),
            (7, served.zone.flat().unwrap().arrays()),
            "{ill}"
        );
        assert_eq!(again.fault.is_some(), ill.starts_with("file"), "{ill}");
        assert!(!again.is_served, "it is to be published");
        assert_eq!(again.expiration, Some(NOW + 14 * DAY));
    }
}

#[test]
fn after_a_restart_the_serial_rises_where_what_was_served_is_not_what_is() {
    for ill in ["kept zone garbled", "kept zone older", "kept zone gone", "due", "clock was ahead"]
    {
        let stage = Stage::new();
        let served = stage.first();
        let kept = stage.path("state/signed/example.com.signed");
        let now = match ill {
            "due" => NOW + 8 * DAY,
            "clock was ahead" => NOW - 30 * DAY,
            _ => NOW + DAY,
        };
        match ill {
            "kept zone garbled" => fs::write(kept, "sealdns signed zone 1\n").unwrap(),
            "kept zone older" => {
                fs::write(stage.path("state/serials/example.com.serial"), "8").unwrap()
            }
            "kept zone gone" => fs::remove_file(kept).unwrap(),
            _ => {}
        }
        let again = stage.prepare(None, false, now).expect(ill);
        let expected = if ill == "kept zone older" { 9 } else { 8 };
        assert_eq!(again.zone.serial().0, expected, "{ill}");
        assert!(verify(&again.zone.flat().unwrap(), now).is_ok(), "{ill}");
        assert!(again.fault.is_none());
        drop(served);
    }
}

/// Without its file and after the end of its signatures, a zone is signed from what was kept.
#[test]
fn after_a_long_rest_a_zone_without_a_file_is_signed() {
    let stage = Stage::new();
    stage.first();
    fs::remove_file(stage.path("example.com.zone")).unwrap();
    let again = stage.prepare(None, false, NOW + 60 * DAY).unwrap();
    assert_eq!((again.zone.serial().0, again.fault.is_some()), (8, true));
    assert!(verify(&again.zone.flat().unwrap(), NOW + 60 * DAY).is_ok());
}

/// A zone that was ever signed gets no new keys by itself, whatever of its state is lost with them.
#[test]
fn keys_that_are_gone_are_an_error_and_the_old_version_stays() {
    for lost in [
        "keys",
        "keys and serials",
        "keys and signed",
        "public keys",
        "keys but the mark",
        "keys and serials and signed",
    ] {
        let stage = Stage::new();
        let served = stage.first();
        let keys = stage.path("state/keys");
        let remove = |is_lost: fn(&str) -> bool| {
            for entry in fs::read_dir(&keys).unwrap().map(Result::unwrap) {
                if is_lost(&entry.file_name().to_string_lossy()) {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        };
        match lost {
            "public keys" => remove(|name| name.ends_with(".key")),
            "keys but the mark" => remove(|name| name.starts_with('K')),
            _ => fs::remove_dir_all(&keys).unwrap(),
        }
        if lost.contains("serials") || lost == "keys but the mark" {
            fs::remove_dir_all(stage.path("state/serials")).unwrap();
        }
        if lost.contains("signed") || lost == "keys but the mark" {
            fs::remove_dir_all(stage.path("state/signed")).unwrap();
        }
        let error =
            format!("{:#}", stage.prepare(Some(&served), false, NOW + DAY).err().expect(lost));
        let error_when_due = stage.prepare(Some(&served), true, NOW + 8 * DAY).err().expect(lost);
        for error in [error, format!("{error_when_due:#}")] {
            let says =
                error.contains("are gone from") || error.contains("has no .key file beside it");
            assert!(says, "{lost}: {error}");
        }
        // Started again, it serves what it served, with the error; where all is lost, it does not know it.
        let again = stage.prepare(None, false, NOW + DAY);
        match lost {
            "keys and signed" | "keys but the mark" => assert!(again.is_err(), "{lost}"),
            "keys and serials and signed" => assert!(again.is_ok()),
            _ => {
                let again = again.expect(lost);
                assert_eq!((again.zone.serial().0, again.fault.is_some()), (7, true), "{lost}");
            }
        }
    }
}

#[test]
fn another_policy_or_key_signs_the_zone_again() {
    let mut stage = Stage::new();
    let served = stage.first();
    stage.config.policies.get_mut("default").unwrap().denial = Denial::Nsec3 { opt_out: false };
    let again = stage.prepare(Some(&served), false, NOW + DAY).unwrap();
    assert_eq!(again.zone.serial().0, 8);
    let served = stage.serve(again);
    let apex = served.zone.apex().clone();
    let store = KeyStore::new(stage.path("state/keys"));
    store.generate(&apex, &[crate::dnssec::keys::Role::Zsk], Algorithm::default(), NOW).unwrap();
    let again = stage.prepare(None, false, NOW + DAY).unwrap();
    assert_eq!((again.zone.serial().0, again.is_served), (9, false));
}

#[test]
fn a_zone_is_signed_again_when_a_key_s_time_comes() {
    let stage = Stage::new();
    let served = stage.first();
    let apex = served.zone.apex().clone();
    let store = KeyStore::new(stage.path("state/keys"));
    let signers = |prepared: &Prepared| {
        let apex = prepared.zone.find(prepared.zone.apex().as_wire()).unwrap();
        let tag = |rdata: &[u8]| crate::dnssec::rrsig::Rrsig::parse(rdata).unwrap().fields.key_tag;
        let keys = apex.rrset(Rtype::DNSKEY).map_or(0, |keys| keys.len());
        (keys, apex.signatures(Rtype::SOA).map(tag).collect::<Vec<_>>())
    };
    // The next zone-signing key comes into the zone after a day, signs after two, and the old one leaves after three.
    let old = store.load(&apex).unwrap().pop().unwrap();
    let new = store.generate(&apex, &[old.role()], Algorithm::default(), NOW).unwrap().remove(0);
    let set_times = |key: &Key, times: &[(&str, u32)]| {
        let path = format!("{}.private", store.path_of(key).display());
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (name, days) in times {
            let time = jiff::Timestamp::from_second((NOW + days * DAY).into()).unwrap();
            lines.retain(|line| !line.starts_with(&format!("{name}:")));
            lines.push(format!("{name}: {}", time.strftime("%Y%m%d%H%M%S")));
        }
        fs::write(path, lines.join("\n") + "\n").unwrap();
    };
    set_times(&new, &[("Publish", 1), ("Activate", 2)]);
    set_times(&old, &[("Inactive", 2), ("Delete", 3)]);
    let (mut served, mut now) = (served, NOW + HOUR);
    for expected in [(3, old.tag()), (3, new.tag()), (2, new.tag())] {
        // Read once for what was changed by hand, it says itself when it is to be read again.
        let prepared = stage.prepare(Some(&served), true, now).unwrap();
        now = prepared.begins_at.unwrap();
        served = stage.serve(prepared);
        let prepared = stage.prepare(Some(&served), true, now).unwrap();
        assert_eq!(signers(&prepared), (expected.0, vec![expected.1]));
        assert!(verify(&prepared.zone.flat().unwrap(), now).is_ok());
        served = stage.serve(prepared);
    }
    assert_eq!(
        (now, stage.prepare(Some(&served), true, now).unwrap().begins_at),
        (NOW + 3 * DAY, None)
    );
    // Of the keys that are left none is in use: what is served stays, and what is wrong is said.
    set_times(&new, &[("Delete", 4)]);
    let ksk = store.load(&apex).unwrap().remove(0);
    set_times(&ksk, &[("Delete", 4)]);
    let error = stage.prepare(Some(&served), true, now + DAY).err().unwrap().to_string();
    assert!(
        error.contains("no key of example.com. is in use") && error.contains("deleted"),
        "{error}"
    );
}
