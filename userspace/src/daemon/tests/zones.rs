//! Zones are loaded, and loaded again.

use super::*;

#[test]
fn a_zone_that_did_not_change_is_not_loaded_again() {
    let stage = Stage::new();
    assert_eq!(stage.status().summary.state, ServingState::Serving);
    assert_eq!(stage.reload()[0].change, zone::Change::Unchanged);
    assert_eq!(stage.prepare.calls.load(Relaxed), 1);
    stage.write("zone", &format!("2 {}", 2 * WEEK));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    assert_eq!((stage.published(), stage.status().summary.serial), (Some(2), Some(2)));
    // By name it is loaded whatever the file looks like.
    stage.tell(Request::ZoneReload { zone: Some("Example.".into()) });
    assert_eq!(stage.prepare.calls.load(Relaxed), 3);
}

#[test]
fn what_is_served_is_made_anew_once_a_reload() {
    let stage = Stage::new();
    let refreshed = || lock(&stage.calls).refreshed;
    assert_eq!(refreshed(), 1);
    stage.reload();
    assert_eq!(refreshed(), 2);
    stage.write("zone", &format!("2 {}", 2 * WEEK));
    stage.reload();
    assert_eq!(refreshed(), 3);
}

#[test]
fn zones_that_are_loaded_do_not_wait_for_slow_ones() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("slow"), format!("1 {}", 2 * WEEK)).unwrap();
    let zone = |name: &str, file: &str| format!("[[zone]]\nname = \"{name}\"\nfile = \"{file}\"\n");
    let config = "version = \"v1\"\n".to_owned() + &zone("a", "slow") + &zone("example", "zone");
    let stage = Stage::over(folder, &config);
    assert_eq!(lock(&stage.calls).refreshed, 2);
}

#[test]
fn a_large_zone_lies_in_one_file_until_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    std::fs::create_dir(&state_dir).unwrap();
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(state_dir.to_str().unwrap())).count()
    };
    let config = ONE_ZONE.replacen("[[zone]]", "[server]\nstate-dir = \"state\"\n[[zone]]", 1);
    let stage = Stage::of(folder, &config, &format!("1 {} 30000", 2 * WEEK));
    assert_eq!(mapped(), 1);
    stage.write("zone", &format!("2 {} 30001", 2 * WEEK));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    assert_eq!((mapped(), stage.status().summary.serial), (1, Some(2)));
    let served = stage.daemon.presented.shared().get();
    assert_eq!(served.zone_at(b"\x07example\x00").unwrap().zone.as_ref().unwrap().serial().0, 2);
    let zone = {
        let states = stage.daemon.zones.states();
        states[&testing::name("example")].loaded.as_ref().unwrap().zone.clone()
    };
    assert!(zone.find(b"\x09host30000\x07example\x00").is_some());
    stage.write("zone", &format!("3 {}", 2 * WEEK));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    // A reader of the version before still has its file.
    assert_eq!(mapped(), 1);
    assert_eq!(zone.record_count(), 30028);
    drop((served, zone));
    assert_eq!(mapped(), 0);
    assert!(std::fs::read_dir(&state_dir).unwrap().next().is_none());
}

#[test]
fn a_broken_zone_leaves_the_old_one_serving() {
    let stage = Stage::new();
    stage.write("zone", "broken");
    for _ in 0..2 {
        let change = &stage.reload()[0];
        assert_eq!(
            (change.change, change.error.as_deref()),
            (zone::Change::Failed, Some("the zone is broken"))
        );
        assert_eq!(
            (stage.status().summary.state, stage.status().summary.serial),
            (ServingState::ServingOld, Some(1))
        );
        assert_eq!(stage.published(), Some(1));
    }
    let served = stage.daemon.presented.shared().get();
    assert_eq!(served.zone_at(b"\x07example\x00").unwrap().zone.as_ref().unwrap().serial().0, 1);
    stage.write("zone", &format!("3 {}", 2 * WEEK));
    assert_eq!(stage.reload()[0].change, zone::Change::Loaded);
    assert_eq!(
        (stage.status().summary.state, stage.status().summary.error),
        (ServingState::Serving, None)
    );
}

#[test]
fn what_an_earlier_daemon_left_answers_until_a_zone_is_loaded() {
    assert_eq!(lock(&Stage::new().calls).replaced_adopted, 1);
    let stage = Stage::with("broken");
    stage.reload();
    assert_eq!(lock(&stage.calls).replaced_adopted, 0);
    stage.write("zone", &format!("1 {}", 2 * WEEK));
    stage.reload();
    assert_eq!(lock(&stage.calls).replaced_adopted, 1);
}

#[test]
fn a_zone_that_the_data_plane_refuses_leaves_the_old_one_serving() {
    let stage = Stage::new();
    lock(&stage.calls).refuse = true;
    stage.write("zone", &format!("2 {}", 2 * WEEK));
    let change = &stage.reload()[0];
    assert_eq!(change.error.as_deref(), Some("publishing the zone: the maps are full"));
    assert_eq!(stage.status().summary.serial, Some(1));
}

#[test]
fn a_file_that_goes_away_is_said() {
    let stage = Stage::new();
    std::fs::remove_file(stage.folder.path().join("zone")).unwrap();
    assert_eq!(stage.reload()[0].change, zone::Change::Failed);
    assert_eq!(stage.status().summary.state, ServingState::ServingOld);
}
