//! What falls due: signatures, and the secrets of cookies.

use super::*;

#[test]
fn zones_are_signed_again_in_time() {
    let stage = Stage::new();
    let name = testing::name("example");
    let due = |now| stage.daemon.zones.states()[&name].is_due(now, stage.clock.monotonic());
    let loaded_at = stage.status().loaded_at.unwrap();
    assert_eq!(stage.status().resign_at, Some(loaded_at + WEEK));
    assert!(!due(loaded_at) && !due(loaded_at + WEEK - 1));
    assert!(due(loaded_at + WEEK) && due(loaded_at + 3 * WEEK));
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 1);
    stage.clock.pass(Duration::from_secs(WEEK.into()));
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 2);
    assert_eq!(stage.status().loaded_at, Some(loaded_at + WEEK));

    // Signatures of five seconds are due at once, and again at the next tick.
    stage.write("zone", "2 5");
    stage.reload();
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 4);
    // A failure is not repeated every second.
    stage.write("zone", "broken");
    stage.daemon.zones.renew();
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 5);
    assert_eq!(stage.status().summary.state, ServingState::ServingOld);
    // Nor sooner since somebody sets the wall clock.
    stage.clock.set_wall(WallTime::from_seconds(stage.clock.wall().seconds() + 3600));
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 5);
    stage.clock.pass(Duration::from_secs(3600));
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), 6);
}

#[test]
fn zones_that_others_signed_are_not_signed_again() {
    let stage = Stage::new();
    stage.write("zone", "2 5");
    stage.write("sealdns.toml", &format!("{ONE_ZONE}dnssec = \"presigned\"\n"));
    stage.reload();
    let calls = stage.prepare.calls.load(Relaxed);
    stage.daemon.zones.renew();
    assert_eq!(stage.prepare.calls.load(Relaxed), calls);
    assert_eq!(stage.status().resign_at, None);
}

#[test]
fn expired_signatures_are_said() {
    let stage = Stage::new();
    assert_eq!(stage.ask::<Status>(Request::Status).zones_expired, [""; 0]);
    stage.write("zone", "2 -5");
    stage.reload();
    assert_eq!(stage.ask::<Status>(Request::Status).zones_expired, ["example."]);
}

#[test]
fn derived_secrets_follow_the_clock() {
    let stage = Stage::new();
    let said = || stage.daemon.presented.shared().get().edns();
    assert_eq!(said().secret_count, 0);
    stage.daemon.presented.set_secrets(Secrets::Derived([1, 2], 7200));
    stage.daemon.tick();
    assert_eq!((said().secret_count, lock(&stage.calls).edns_settings), (2, said()));
    // Another period, another secret.
    let before = said();
    stage.clock.pass(Duration::from_secs(7200));
    stage.daemon.tick();
    assert_ne!(said().secrets[0], before.secrets[0]);
    assert_eq!(lock(&stage.calls).edns_settings, said());
}
