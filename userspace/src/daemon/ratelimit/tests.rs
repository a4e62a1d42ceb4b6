//! Changes at run time: in effect at once, as drift, beyond a restart or not.

use std::time::{Duration, Instant};

use toml::Value;
use xdp_common::Outcome;
use xdp_common::limit::policy::UNITS_PER_SECOND;
use xdp_common::limit::response_key::ResponseKey;
use xdp_common::limit::{Class, Mode, Verdict as Decision};

use super::super::tests::{Stage, lock};
use crate::control::protocol::{Failure, Request};
use crate::control::ratelimit::RateLimitAction as Action;
use crate::control::reply::Kind;
use crate::control::reply::ratelimit::{
    BlockList, NetblockExplanation, Origin, RateLimits, TopNetblocks, Verdict,
};
use crate::observe::{KernelCounters, ProgramCounters};
use crate::ratelimit::limiter::{Moment, Response};
use crate::ratelimit::limits::Limits;
use crate::server::stats::Transport;

const CONFIG: &str = "version = \"v1\"\n[server]\nstate-dir = \".\"\n\
                      [ratelimit]\nmode = \"on\"\nrate = 40\nexempt = [\"192.0.2.0/24\"]\n\
                      [[zone]]\nname = \"example\"\nfile = \"zone\"\n\
                      [zone.ratelimit]\nrate = 7\n";

/// A response that is as large as its query.
const SMALL: Response<'_> = Response {
    qname: b"\x07example\0",
    key: ResponseKey { class: 0, name: 0 },
    octets: 40,
    query_octets: 40,
    is_vouched_for: false,
};

fn stage() -> Stage {
    started(tempfile::tempdir().unwrap(), CONFIG)
}

fn started(folder: tempfile::TempDir, config: &str) -> Stage {
    let stage = Stage::over(folder, config);
    stage.daemon.limits.start().unwrap();
    stage
}

/// The daemon ends, and another starts over the same files.
fn restarted(stage: Stage) -> Stage {
    let Stage { folder, .. } = stage;
    started(folder, CONFIG)
}

fn tell(stage: &Stage, request: Action) {
    stage.tell(Request::RateLimit { request });
}

fn ask<K: Kind>(stage: &Stage, request: Action) -> K {
    stage.ask(Request::RateLimit { request })
}

fn fail(stage: &Stage, request: Action) -> Failure {
    stage.fail(Request::RateLimit { request })
}

fn set(settings: &[(&str, &str)], save: bool) -> Action {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Action::Set { settings: settings.iter().map(pair).collect(), save }
}

fn exempt(prefix: &str, add: bool, save: bool) -> Action {
    Action::Exempt { prefixes: vec![prefix.into()], add, save }
}

fn block(target: &str, seconds: Option<u32>, save: bool) -> Action {
    Action::BlockAdd { targets: vec![target.into()], seconds, dry_run: false, save }
}

/// What the data plane was told.
fn limits_set(stage: &Stage) -> Limits {
    Limits::clone(&lock(&stage.calls).limits)
}

/// Settings that differ from the file: key, value, where that was said.
fn drift(stage: &Stage) -> Vec<(String, Value, Origin)> {
    let shown: RateLimits = ask(stage, Action::Show);
    let differing = shown.settings.into_iter().filter(|setting| setting.drift);
    differing.map(|one| (one.key, one.value.unwrap(), one.origin)).collect()
}

#[test]
fn the_file_is_in_effect_from_the_start() {
    let stage = stage();
    let limits = limits_set(&stage);
    assert_eq!((limits.policy.mode, limits.policy.rates), (Mode::On as u32, [40; 7]));
    let zone = limits.overrides.get(&"example".parse().unwrap());
    assert_eq!(zone.unwrap().rates, [7; 7]);
    assert!(limits.exempt.contains_key(&"192.0.2.0/24".parse().unwrap()));
    assert_eq!(drift(&stage), []);
    assert!(!ask::<RateLimits>(&stage, Action::Show).drift);
}

#[test]
fn settings_change_together_or_not_at_all() {
    let stage = stage();
    let bad = fail(&stage, set(&[("rate", "5"), ("slip", "11")], false));
    assert_eq!(bad.message, "slip: 11 is out of range: choose a number from 0 (none) to 10");
    assert_eq!((limits_set(&stage).policy.rates[0], drift(&stage)), (40, vec![]));
    tell(&stage, set(&[("responses-per-second", "5"), ("slip", "3")], false));
    assert_eq!((limits_set(&stage).policy.rates[0], limits_set(&stage).policy.slip), (5, 3));
    let expected = [("rate", 5), ("slip", 3)]
        .map(|(key, value)| (key.to_owned(), Value::from(value), Origin::UntilRestart));
    assert_eq!(drift(&stage), expected);
    // The zone's own rate stays.
    assert_eq!(limits_set(&stage).overrides.values().next().unwrap().rates, [7; 7]);
    tell(&stage, Action::Reset { save: false });
    assert_eq!((limits_set(&stage).policy.rates[0], drift(&stage)), (40, vec![]));
}

#[test]
fn a_restart_forgets_what_was_not_saved() {
    let stage = stage();
    tell(&stage, set(&[("rate", "5")], true));
    tell(&stage, set(&[("slip", "3")], false));
    tell(&stage, exempt("198.51.100.0/24", true, true));
    tell(&stage, exempt("192.0.2.0/24", false, true));
    tell(&stage, exempt("203.0.113.0/24", true, false));
    tell(&stage, block("203.0.113.7", None, true));
    tell(&stage, block("bad.example", Some(3600), true));
    tell(&stage, block("worse.example", None, false));
    assert_eq!((limits_set(&stage).block.len(), limits_set(&stage).block_names.len()), (1, 2));
    let stage = restarted(stage);
    let limits = limits_set(&stage);
    assert_eq!((limits.policy.rates[0], limits.policy.slip), (5, 2));
    let exempt: Vec<String> = limits.exempt.keys().map(ToString::to_string).collect();
    assert_eq!(exempt, ["198.51.100.0/24"]);
    assert_eq!((limits.block.len(), limits.block_names.len()), (1, 1));
    assert!(limits.block_names.values().next().unwrap().until > 0);
    assert_eq!(drift(&stage), [("rate".to_owned(), Value::from(5), Origin::Saved)]);
    tell(&stage, Action::Reset { save: true });
    let stage = restarted(stage);
    assert_eq!((limits_set(&stage).policy.rates[0], limits_set(&stage).block.len()), (40, 0));
}

#[test]
fn what_is_not_there_cannot_be_deleted() {
    let stage = stage();
    assert!(fail(&stage, exempt("203.0.113.0/24", false, false)).message.contains("not exempt"));
    let del = |target: &str| Action::BlockDel { targets: vec![target.into()], save: false };
    assert!(fail(&stage, del("a.example")).message.contains("a.example. is not blocked"));
    tell(&stage, block("a.example", None, false));
    tell(&stage, del("A.Example"));
    assert_eq!(ask::<BlockList>(&stage, Action::BlockList).blocked, []);
    // All or none.
    let both = Action::BlockAdd {
        targets: vec!["b.example".into(), "192.0.2.300".into()],
        seconds: None,
        dry_run: false,
        save: false,
    };
    assert!(fail(&stage, both).message.contains("192.0.2.300"));
    assert!(limits_set(&stage).block_names.is_empty());
}

#[test]
fn a_reload_follows_the_file_and_keeps_what_was_changed() {
    let stage = stage();
    tell(&stage, set(&[("slip", "3")], false));
    stage.write("sealdns.toml", &CONFIG.replace("rate = 40", "rate = 41"));
    stage.reload();
    assert_eq!((limits_set(&stage).policy.rates[0], limits_set(&stage).policy.slip), (41, 3));
}

#[test]
fn what_cannot_be_saved_is_not_in_effect() {
    let stage = stage();
    // A folder where the file should be.
    std::fs::create_dir(stage.folder.path().join("ratelimit.toml")).unwrap();
    let failure = fail(&stage, set(&[("rate", "5")], true));
    assert!(failure.message.contains("nothing was changed"), "{failure}");
    assert_eq!((limits_set(&stage).policy.rates[0], drift(&stage)), (40, vec![]));
}

#[test]
fn xdp_and_the_sockets_are_scaled_by_the_same_number() {
    let stage = started(tempfile::tempdir().unwrap(), &CONFIG.replace("rate = 7", "qps-scale = 9"));
    let start = Instant::now();
    stage.daemon.limits.tick(start);
    // What XDP passes up is counted where it ends, and what is no query is not counted.
    let counters = |counts: &[(Outcome, u64)]| {
        let mut counters = ProgramCounters::default();
        counts.iter().for_each(|(outcome, count)| counters.outcomes[*outcome] = *count);
        Some(counters)
    };
    let xdp = counters(&[
        (Outcome::Nodata, 50),
        (Outcome::Limited, 20),
        (Outcome::Miss, 120),
        (Outcome::NotUdp, 1000),
        (Outcome::Response, 1000),
    ]);
    let tcx = counters(&[(Outcome::Positive, 10)]);
    lock(&stage.calls).counters = KernelCounters { xdp, tcx };
    for _ in 0..120 {
        stage.daemon.stats.outcome(Transport::Udp, Outcome::Positive);
    }
    stage.daemon.limits.tick(start + Duration::from_secs(2));
    let qps = stage.daemon.limits.qps();
    assert_eq!((qps, lock(&stage.calls).qps), (100, 100));
    // Nine hundredths of 40 a second are three, and so many may come at once.
    let limiter = stage.daemon.presented.shared().limiter();
    let client = "198.51.100.1".parse().unwrap();
    let answered = (0..100 * 10).filter(|number| {
        let now = Moment { units: 1 + number * UNITS_PER_SECOND / 100, seconds: number / 100 };
        limiter.arrive(client, now).unwrap();
        limiter.respond(client, &SMALL, now) == Ok(Decision::Answer)
    });
    let answered = answered.count();
    assert!((29..=33).contains(&answered), "{answered}");
}

#[test]
fn a_hit_is_explained_by_the_policies_that_it_may_be_of() {
    let stage = stage();
    let limiter = stage.daemon.presented.shared().limiter();
    let client = "198.51.100.1".parse().unwrap();
    let now = limiter.now();
    for _ in 0..20 {
        limiter.arrive(client, now).unwrap();
        let _ = limiter.respond(client, &SMALL, now);
    }
    let said: NetblockExplanation = ask(&stage, Action::Explain { prefix: "198.51.100.1".into() });
    let expected = "198.51.100.0/24 is over its 7 or 40 per second of the default or of a zone's \
                    policy: responses of class positive about one name";
    assert_eq!((said.verdict, said.reason.as_str()), (Verdict::Limited, expected));
    assert_eq!(said.since, Some(now.seconds));
    let rates = said.policies.iter();
    let rates =
        rates.map(|policy| (policy.zone.as_deref(), policy.classes_per_second[Class::Positive]));
    let rates: Vec<_> = rates.collect();
    assert_eq!(rates, [(None, 40), (Some("example."), 7)]);
    let row = &ask::<TopNetblocks>(&stage, Action::Top).netblocks[0];
    assert_eq!((row.allowed_per_second, row.limit.as_str()), (None, "positive"));
    assert_eq!(row.policies.len(), 2);
}

#[test]
fn an_explanation_names_what_decides() {
    let stage = stage();
    let explain = |prefix: &str| {
        let said: NetblockExplanation = ask(&stage, Action::Explain { prefix: prefix.into() });
        (said.verdict, said.reason)
    };
    assert_eq!(explain("192.0.2.7"), (Verdict::Exempt, "192.0.2.0/24 is exempt".to_owned()));
    tell(&stage, block("192.0.2.0/28", None, false));
    assert_eq!(explain("192.0.2.7"), (Verdict::Blocked, "192.0.2.0/28 is blocked".to_owned()));
    assert_eq!(explain("198.51.100.1").0, Verdict::NotLimited);
    let bad = fail(&stage, Action::Explain { prefix: "x".into() });
    assert!(bad.message.contains("not an address prefix"));
}
