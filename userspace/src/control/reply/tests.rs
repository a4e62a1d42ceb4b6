//! Every request and reply as JSON, compared with samples that are kept, and replies read strictly.

mod samples;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::status::*;
use super::{KINDS, Reply, read};
use crate::control::protocol::{
    ExplainQuery, PROTOCOL, Request, TraceChoice, read_request, write_request,
};
use crate::control::ratelimit::RateLimitAction;
use samples::{net, samples};

/// Set to write the samples anew.
const WRITE: &str = "SEALDNS_WRITE_SAMPLES";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replies")
}

/// The name of a reply's kind in JSON.
fn kind(reply: &Value) -> &str {
    let kinds: Vec<&String> = reply.as_object().expect("an object").keys().collect();
    let [kind] = kinds[..] else { panic!("not one kind: {reply}") };
    kind
}

#[test]
fn every_reply_is_as_its_sample() {
    let samples: Vec<Value> =
        samples().iter().map(|reply| serde_json::to_value(reply).expect("JSON")).collect();
    let mut kinds: Vec<String> = samples.iter().map(|reply| kind(reply).to_owned()).collect();
    let mut expected: Vec<String> = KINDS.iter().map(|name| kebab(name)).collect();
    kinds.sort();
    expected.sort();
    assert_eq!(kinds, expected, "one sample of each kind");
    samples.iter().for_each(|sample| is_as_kept(kind(sample), sample));
}

#[test]
fn every_request_is_as_its_sample() {
    let requests = requests();
    let text = |request: &Request| serde_json::to_string(request).expect("JSON");
    let asked: BTreeSet<usize> = requests.iter().map(place).collect();
    assert_eq!(asked, (0..REQUESTS).collect(), "one sample of each");
    for request in &requests {
        let line = String::from_utf8(write_request(request).expect("a line")).expect("text");
        assert_eq!(read_request(&line).expect("a request"), *request);
    }
    let samples: Vec<Value> = requests
        .iter()
        .map(|request| serde_json::from_str(&text(request)).expect("JSON"))
        .collect();
    is_as_kept("requests", &Value::Array(samples));
}

/// Compares with what is kept.
fn is_as_kept(name: &str, sample: &Value) {
    let path = folder().join(format!("{name}.json"));
    let text = format!("{sample:#}\n");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text,
        kept,
        "{} is another: if that is meant, raise PROTOCOL (now {PROTOCOL}), say so in CHANGELOG.md and run this \
         test with {WRITE}=1",
        path.display()
    );
}

/// How many requests there are.
const REQUESTS: usize = 30;

/// The place of a request among all.
fn place(request: &Request) -> usize {
    match request {
        Request::Status => 0,
        Request::ZoneList => 1,
        Request::ZoneStatus { .. } => 2,
        Request::ZoneReload { .. } => 3,
        Request::XdpStatus => 4,
        Request::XdpAttach { .. } => 5,
        Request::XdpDetach { .. } => 6,
        Request::CacheStatus => 7,
        Request::CacheLookup { .. } => 8,
        Request::CacheExplain(_) => 9,
        Request::CacheVerify { .. } => 10,
        Request::Stats => 11,
        Request::Stop => 12,
        Request::RateLimit { request } => match request {
            RateLimitAction::Show => 13,
            RateLimitAction::Set { .. } => 14,
            RateLimitAction::Reset { .. } => 15,
            RateLimitAction::ExemptList => 16,
            RateLimitAction::Exempt { add: true, .. } => 17,
            RateLimitAction::Exempt { add: false, .. } => 18,
            RateLimitAction::BlockList => 19,
            RateLimitAction::BlockAdd { .. } => 20,
            RateLimitAction::BlockDel { .. } => 21,
            RateLimitAction::Top => 22,
            RateLimitAction::Explain { .. } => 23,
        },
        Request::XdpTrace(_) => 24,
        Request::XdpTraceRead { .. } => 25,
        Request::ZoneHistory { .. } => 26,
        Request::ZoneDiff { .. } => 27,
        Request::ZoneRollback { .. } => 28,
        Request::ZoneRefresh { .. } => 29,
    }
}

fn requests() -> Vec<Request> {
    let zone = || "example.com.".to_owned();
    let interface = || "eth0".to_owned();
    let prefixes = || vec!["192.0.2.0/24".to_owned()];
    let rate_limits = [
        RateLimitAction::Show,
        RateLimitAction::Set { settings: vec![("rate".into(), "5".into())], save: true },
        RateLimitAction::Reset { save: false },
        RateLimitAction::ExemptList,
        RateLimitAction::Exempt { prefixes: prefixes(), add: true, save: false },
        RateLimitAction::Exempt { prefixes: prefixes(), add: false, save: true },
        RateLimitAction::BlockList,
        RateLimitAction::BlockAdd {
            targets: prefixes(),
            seconds: Some(3600),
            dry_run: false,
            save: false,
        },
        RateLimitAction::BlockDel { targets: prefixes(), save: false },
        RateLimitAction::Top,
        RateLimitAction::Explain { prefix: "192.0.2.1".into() },
    ];
    let others = [
        Request::Status,
        Request::ZoneList,
        Request::ZoneStatus { zone: zone() },
        Request::ZoneReload { zone: Some(zone()) },
        Request::ZoneHistory { zone: zone() },
        Request::ZoneDiff { zone: zone(), from: Some(7), to: Some(8) },
        Request::ZoneRollback { zone: zone(), serial: 7 },
        Request::ZoneRefresh { zone: zone(), whole: true },
        Request::XdpStatus,
        Request::XdpAttach { interface: interface() },
        Request::XdpDetach { interface: Some(interface()) },
        Request::XdpTrace(TraceChoice {
            seconds: 10,
            outcomes: vec!["nxdomain".into()],
            client: Some(net("192.0.2.0/24")),
            sample: 100,
        }),
        Request::XdpTraceRead { trace: 7, stop: true },
        Request::CacheStatus,
        Request::CacheLookup { name: zone(), rtype: Some("A".into()) },
        Request::CacheExplain(ExplainQuery {
            name: zone(),
            rtype: "A".into(),
            dnssec_ok: true,
            payload: 1232,
            tcp: false,
            from: Some("192.0.2.1".parse().expect("an address")),
        }),
        Request::CacheVerify { zone: Some(zone()) },
        Request::Stats,
        Request::Stop,
    ];
    let rate_limits = rate_limits.map(|request| Request::RateLimit { request });
    others.into_iter().chain(rate_limits).collect()
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

/// Objects whose fields are settings by their keys.
const FREE: [&str; 2] = ["rate-limits.zones[0].settings", "rate-limit-changed.set"];

/// What a reader makes of one change to a value, at each place in turn: a field that is not there, one that is
/// called otherwise, one more.
fn for_each_change(value: &Value, check: &mut dyn FnMut(&Value, &str, &str)) {
    let mut places = Vec::new();
    objects(value, String::new(), String::new(), &mut places);
    for (pointer, path) in places.iter().filter(|(_, path)| !FREE.contains(&path.as_str())) {
        let changed = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut value = value.clone();
            let object = value.pointer_mut(pointer).expect("it is there");
            change(object.as_object_mut().expect("an object"));
            value
        };
        let object = value.pointer(pointer).and_then(Value::as_object).expect("an object");
        for field in object.keys() {
            check(&changed(&|object| drop(object.remove(field))), path, field);
            let other = format!("{field}x");
            let renamed = changed(&|object| {
                let value = object.remove(field).expect("it is there");
                object.insert(other.clone(), value);
            });
            check(&renamed, path, field);
        }
        check(&changed(&|object| drop(object.insert("more".into(), json!(1)))), path, "more");
    }
}

/// All objects in a value, as JSON pointers and as readers are told.
fn objects(value: &Value, pointer: String, path: String, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            found.push((pointer.clone(), path.clone()));
            for (field, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                objects(value, format!("{pointer}/{field}"), format!("{path}{dot}{field}"), found);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                objects(value, format!("{pointer}/{at}"), format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn no_field_is_lost_in_silence() {
    let mut changes = 0;
    for sample in samples() {
        let value = serde_json::to_value(&sample).expect("JSON");
        assert_eq!(read::from_value::<Reply>(value.clone()).as_ref(), Ok(&sample));
        for_each_change(&value, &mut |changed, path, field| {
            changes += 1;
            let error = read::from_value::<Reply>(changed.clone());
            let error = error.expect_err(&format!("{path}: {field}"));
            // Which change was made is told by a field's name: one that is missing has none.
            let has_name = !path.is_empty() && path != "rate-limit-changed";
            assert!(!has_name || error.contains(field), "{path}: {field}: {error}");
        });
    }
    assert!(changes > 1000, "{changes}");
}

#[test]
fn what_is_printed_has_a_version() {
    let stopping = Stopping { stopping: true };
    let text = crate::cli::printed(&stopping);
    assert_eq!(text, r#"{"schema":1,"stopping":true}"#);
    assert_eq!(read::printed::<Stopping>(&text), Ok(stopping));
    for (text, said) in [
        (r#"{"stopping":true}"#, "missing field `schema`"),
        (r#"{"schema":7,"stopping":true}"#, "its schema is 7"),
        (r#"{"schema":1,"stops":true}"#, "missing field `stopping`"),
        (r#"{"schema":1,"stopping":true,"when":1}"#, "unknown field `when`"),
    ] {
        let error = read::printed::<Stopping>(text).expect_err("an error");
        assert!(error.contains(said), "{error}");
    }
}
