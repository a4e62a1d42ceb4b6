//! The configuration is read again while the daemon serves.

use super::*;
use crate::transfer::access::TransferAccess;

#[test]
fn a_broken_configuration_changes_nothing() {
    let stage = Stage::new();
    stage.write("sealdns.toml", "version = \"v1\"\n[[zone]]\nnam = \"example\"\n");
    let failure = stage.fail(Request::ZoneReload { zone: None });
    assert_eq!(failure.code, "config");
    assert!(failure.message.contains("sealdns.toml:3:1: unknown key `nam`"), "{failure}");
    assert_eq!(failure.hint.as_deref(), Some("did you mean `name`?"));
    assert_eq!(stage.published(), Some(1));
}

#[test]
fn zones_come_and_go_with_the_configuration() {
    let stage = Stage::new();
    let second = ONE_ZONE.replace("\"example\"", "\"second\"");
    stage.write("sealdns.toml", &second);
    let changes = stage.reload();
    assert_eq!(changes.len(), 2);
    let change = |zone: &str| changes.iter().find(|change| change.zone == zone).unwrap().change;
    assert_eq!(
        (change("example."), change("second.")),
        (zone::Change::Removed, zone::Change::Loaded)
    );
    assert_eq!(stage.fail(Request::ZoneStatus { zone: "example".into() }).code, "zone");
    let served = stage.daemon.presented.shared().get();
    assert!(served.zone_at(b"\x07example\x00").is_none());
    assert!(served.zone_at(b"\x06second\x00").is_some());
}

#[test]
fn another_policy_loads_the_zone_again_and_another_acl_takes_effect() {
    let stage = Stage::new();
    let policy = "[policy.default]\ndenial = \"nsec3\"\n";
    stage.write("sealdns.toml", &format!("{ONE_ZONE}{policy}"));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    let acl = "allow-transfer = [\"192.0.2.0/24\"]\n";
    stage.write("sealdns.toml", &format!("{ONE_ZONE}{acl}{policy}"));
    assert_eq!(stage.reload()[0].change, zone::Change::Unchanged);
    let served = stage.daemon.presented.shared().get();
    let zone = served.zone_at(b"\x07example\x00").unwrap();
    let allowed = TransferAccess::of_prefixes(["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(zone.access, allowed);
}
