//! Changes at run time: in effect at once, as drift, beyond a restart or not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xdp_common::Outcome;
use xdp_common::limit::account::Account;
use xdp_common::limit::policy::UNITS_PER_SECOND;
use xdp_common::limit::{Mode, Verdict};

use super::super::tests::{Stage, lock};
use crate::control::protocol::{Failure, Request};
use crate::control::ratelimit::RateLimitAction as Action;
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
    account: Account { class: 0, name: 0 },
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

fn ask(stage: &Stage, request: Action) -> Value {
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
fn told(stage: &Stage) -> Limits {
    Limits::clone(&lock(&stage.told).limits)
}

/// Settings that differ from the file: key, value, where that was said.
fn drift(stage: &Stage) -> Vec<(Value, Value, Value)> {
    let shown = ask(stage, Action::Show);
    let rows = shown["settings"].as_array().unwrap().iter().filter(|row| row["drift"] == true);
    rows.map(|row| (row["key"].clone(), row["value"].clone(), row["origin"].clone())).collect()
}

#[test]
fn the_file_is_in_effect_from_the_start() {
    let stage = stage();
    let limits = told(&stage);
    assert_eq!((limits.policy.mode, limits.policy.rates), (Mode::On as u32, [40; 7]));
    let zone = limits.overrides.get(&"example".parse().unwrap());
    assert_eq!(zone.unwrap().rates, [7; 7]);
    assert!(limits.exempt.contains_key(&"192.0.2.0/24".parse().unwrap()));
    assert_eq!(drift(&stage), []);
    assert_eq!(ask(&stage, Action::Show)["drift"], false);
}

#[test]
fn settings_change_together_or_not_at_all() {
    let stage = stage();
    let bad = fail(&stage, set(&[("rate", "5"), ("slip", "11")], false));
    assert_eq!(bad.message, "slip: 11 is out of range: choose a number from 0 (none) to 10");
    assert_eq!((told(&stage).policy.rates[0], drift(&stage)), (40, vec![]));
    ask(&stage, set(&[("responses-per-second", "5"), ("slip", "3")], false));
    assert_eq!((told(&stage).policy.rates[0], told(&stage).policy.slip), (5, 3));
    let until_restart = json!("until-restart");
    let expected = [("rate", 5), ("slip", 3)]
        .map(|(key, value)| (json!(key), json!(value), until_restart.clone()));
    assert_eq!(drift(&stage), expected);
    // The zone's own rate stays.
    assert_eq!(told(&stage).overrides.values().next().unwrap().rates, [7; 7]);
    ask(&stage, Action::Reset { save: false });
    assert_eq!((told(&stage).policy.rates[0], drift(&stage)), (40, vec![]));
}

#[test]
fn a_restart_forgets_what_was_not_saved() {
    let stage = stage();
    ask(&stage, set(&[("rate", "5")], true));
    ask(&stage, set(&[("slip", "3")], false));
    ask(&stage, exempt("198.51.100.0/24", true, true));
    ask(&stage, exempt("192.0.2.0/24", false, true));
    ask(&stage, exempt("203.0.113.0/24", true, false));
    ask(&stage, block("203.0.113.7", None, true));
    ask(&stage, block("bad.example", Some(3600), true));
    ask(&stage, block("worse.example", None, false));
    assert_eq!((told(&stage).block.len(), told(&stage).block_names.len()), (1, 2));
    let stage = restarted(stage);
    let limits = told(&stage);
    assert_eq!((limits.policy.rates[0], limits.policy.slip), (5, 2));
    let exempt: Vec<String> = limits.exempt.keys().map(ToString::to_string).collect();
    assert_eq!(exempt, ["198.51.100.0/24"]);
    assert_eq!((limits.block.len(), limits.block_names.len()), (1, 1));
    assert!(limits.block_names.values().next().unwrap().until > 0);
    assert_eq!(drift(&stage), [(json!("rate"), json!(5), json!("saved"))]);
    ask(&stage, Action::Reset { save: true });
    let stage = restarted(stage);
    assert_eq!((told(&stage).policy.rates[0], told(&stage).block.len()), (40, 0));
}

#[test]
fn what_is_not_there_cannot_be_deleted() {
    let stage = stage();
    assert!(fail(&stage, exempt("203.0.113.0/24", false, false)).message.contains("not exempt"));
    let del = |target: &str| Action::BlockDel { targets: vec![target.into()], save: false };
    assert!(fail(&stage, del("a.example")).message.contains("a.example. is not blocked"));
    ask(&stage, block("a.example", None, false));
    ask(&stage, del("A.Example"));
    assert_eq!(ask(&stage, Action::BlockList)["blocked"], json!([]));
    // All or none.
    let both = Action::BlockAdd {
        targets: vec!["b.example".into(), "192.0.2.300".into()],
        seconds: None,
        dry_run: false,
        save: false,
    };
    assert!(fail(&stage, both).message.contains("192.0.2.300"));
    assert!(told(&stage).block_names.is_empty());
}

#[test]
fn a_reload_follows_the_file_and_keeps_what_was_changed() {
    let stage = stage();
    ask(&stage, set(&[("slip", "3")], false));
    stage.write("sealdns.toml", &CONFIG.replace("rate = 40", "rate = 41"));
    stage.reload();
    assert_eq!((told(&stage).policy.rates[0], told(&stage).policy.slip), (41, 3));
}

#[test]
fn what_cannot_be_saved_is_not_in_effect() {
    let stage = stage();
    // A folder where the file should be.
    std::fs::create_dir(stage.folder.path().join("ratelimit.toml")).unwrap();
    let failure = fail(&stage, set(&[("rate", "5")], true));
    assert!(failure.message.contains("nothing was changed"), "{failure}");
    assert_eq!((told(&stage).policy.rates[0], drift(&stage)), (40, vec![]));
}

#[test]
fn xdp_and_the_sockets_are_scaled_by_the_same_number() {
    let stage = started(tempfile::tempdir().unwrap(), &CONFIG.replace("rate = 7", "qps-scale = 9"));
    let start = Instant::now();
    stage.daemon.limits.tick(start);
    // What XDP passes up is counted where it ends, and what is no query is not counted.
    let counters = [
        ("nodata", 50),
        ("limited", 20),
        ("tcx_positive", 10),
        ("miss", 120),
        ("not-udp", 1000),
        ("response", 1000),
    ];
    lock(&stage.told).counters = counters.map(|(name, count)| (name.to_owned(), count)).into();
    for _ in 0..120 {
        stage.daemon.stats.outcome(Transport::Udp, Outcome::Positive);
    }
    stage.daemon.limits.tick(start + Duration::from_secs(2));
    let qps = stage.daemon.limits.qps();
    assert_eq!((qps, lock(&stage.told).qps), (100, 100));
    // Nine hundredths of 40 a second are three, and so many may come at once.
    let limiter = stage.daemon.presented.shared().limiter();
    let client = "198.51.100.1".parse().unwrap();
    let answered = (0..100 * 10).filter(|number| {
        let now = Moment { units: 1 + number * UNITS_PER_SECOND / 100, seconds: number / 100 };
        limiter.arrive(client, now).unwrap();
        limiter.respond(client, &SMALL, now) == Ok(Verdict::Answer)
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
    let said = ask(&stage, Action::Explain { prefix: "198.51.100.1".into() });
    let expected = "198.51.100.0/24 is over its 7 or 40 per second of the default or of a zone's \
                    policy: responses of class positive about one name";
    assert_eq!((&said["verdict"], &said["reason"]), (&json!("limited"), &json!(expected)));
    assert_eq!(said["since"], json!(now.seconds));
    let policies = said["policies"].as_array().unwrap();
    let rates = policies
        .iter()
        .map(|policy| (policy["zone"].clone(), policy["classes_per_second"]["positive"].clone()));
    let rates: Vec<_> = rates.collect();
    assert_eq!(rates, [(Value::Null, json!(40)), (json!("example."), json!(7))]);
    let row = &ask(&stage, Action::Top)["netblocks"][0];
    assert_eq!((&row["allowed_per_second"], &row["limit"]), (&Value::Null, &json!("positive")));
    assert_eq!(row["policies"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_explanation_names_what_decides() {
    let stage = stage();
    let explain = |prefix: &str| {
        let data = ask(&stage, Action::Explain { prefix: prefix.into() });
        (data["verdict"].clone(), data["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(explain("192.0.2.7"), (json!("exempt"), "192.0.2.0/24 is exempt".to_owned()));
    ask(&stage, block("192.0.2.0/28", None, false));
    assert_eq!(explain("192.0.2.7"), (json!("blocked"), "192.0.2.0/28 is blocked".to_owned()));
    assert_eq!(explain("198.51.100.1").0, "not-limited");
    let bad = fail(&stage, Action::Explain { prefix: "x".into() });
    assert!(bad.message.contains("not an address prefix"));
}
