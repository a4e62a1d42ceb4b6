//! When a trace begins and ends.

use std::net::IpAddr;

use super::*;
use crate::control::protocol::{Request, Response};
use crate::control::reply::Kind;
use crate::daemon::tests::{OneLine, Stage, lock};

fn choice() -> TraceChoice {
    TraceChoice { seconds: 60, outcomes: Vec::new(), client: None, sample: 1 }
}

fn ask<K: Kind>(stage: &Stage, request: Request) -> Result<K, String> {
    match stage.daemon.handle(request) {
        Response::Reply(reply) => Ok(K::of(reply).expect("a reply of that kind")),
        Response::Error(failure) => Err(failure.message),
    }
}

fn start(stage: &Stage) -> Result<u64, String> {
    ask::<XdpTraceStarted>(stage, Request::XdpTrace(choice())).map(|started| started.trace)
}

fn read(stage: &Stage, trace: u64, stop: bool) -> Result<XdpTraceRead, String> {
    ask(stage, Request::XdpTraceRead { trace, stop })
}

fn is_tracing(stage: &Stage) -> bool {
    lock(&stage.calls).is_tracing
}

#[test]
fn there_is_one_trace_at_a_time() {
    let stage = Stage::new();
    let first = start(&stage).unwrap();
    assert!(is_tracing(&stage));
    let refused = start(&stage).unwrap_err();
    assert!(refused.contains("another trace goes on, for 60 s more"), "{refused}");
    assert!(is_tracing(&stage));

    let ended = read(&stage, first, true).unwrap();
    assert_eq!((ended.lines.len(), ended.lost, ended.ended), (1, 1, Some(STOPPED.into())));
    assert!(!is_tracing(&stage));
    // What was left can be read, until there is another.
    assert_eq!(read(&stage, first, false).unwrap().ended, Some(STOPPED.into()));
    let second = start(&stage).unwrap();
    assert_eq!(read(&stage, second, false).unwrap().ended, None);
    let unknown = read(&stage, first, true).unwrap_err();
    assert_eq!(unknown, format!("there is no trace {first} any more"));
    assert!(is_tracing(&stage));
}

#[test]
fn a_trace_ends_when_its_time_is_up_or_nobody_reads_it() {
    let (lines, began) = (Arc::new(OneLine), Instant::now());
    let until = began + Duration::from_secs(60);
    let seconds = Duration::from_secs;
    for (read_after, now_after, due) in [
        (seconds(0), seconds(0), None),
        (seconds(0), PATIENCE - Duration::from_millis(1), None),
        (seconds(0), PATIENCE, Some(CLIENT_GONE)),
        (seconds(40), seconds(40) + PATIENCE, Some(CLIENT_GONE)),
        (seconds(59), seconds(59), None),
        (seconds(59), seconds(60), Some(TIME_IS_UP)),
        (seconds(0), seconds(60), Some(TIME_IS_UP)),
    ] {
        let (lines, read_at) = (Arc::clone(&lines), began + read_after);
        let trace = Trace { number: 1, lines, began, until, read_at, ended: None };
        assert_eq!(trace.due(began + now_after), due, "{read_after:?} {now_after:?}");
    }
}

#[test]
fn the_tick_ends_what_is_due() {
    for (is_read, passes, why) in
        [(true, Duration::from_secs(60), TIME_IS_UP), (false, PATIENCE, CLIENT_GONE)]
    {
        let stage = Stage::new();
        let trace = start(&stage).unwrap();
        let mut passed = Duration::ZERO;
        while passed < passes {
            stage.daemon.tick();
            assert!(is_tracing(&stage), "{passed:?}");
            if is_read {
                assert_eq!(read(&stage, trace, false).unwrap().ended, None, "{passed:?}");
            }
            stage.clock.pass(Duration::from_secs(1));
            passed += Duration::from_secs(1);
        }
        stage.daemon.tick();
        assert!(!is_tracing(&stage));
        assert_eq!(read(&stage, trace, false).unwrap().ended.as_deref(), Some(why));
        start(&stage).unwrap();
    }
}

#[test]
fn a_trace_whose_programs_were_replaced_is_over() {
    let stage = Stage::new();
    let trace = start(&stage).unwrap();
    lock(&stage.calls).is_tracing = false;
    stage.daemon.tick();
    assert_eq!(read(&stage, trace, false).unwrap().ended.as_deref(), Some(REPLACED));
    start(&stage).unwrap();
}

#[test]
fn what_the_data_plane_refuses_is_no_trace() {
    let stage = Stage::new();
    lock(&stage.calls).refuse = true;
    assert_eq!(start(&stage).unwrap_err(), "no programs that trace");
    lock(&stage.calls).refuse = false;
    start(&stage).unwrap();
}

#[test]
fn a_choice_that_makes_no_sense_is_refused() {
    for (choice, said) in [
        (TraceChoice { seconds: 0, ..choice() }, "a trace of 0 s"),
        (TraceChoice { seconds: 3601, ..choice() }, "a trace of 3601 s"),
        (TraceChoice { sample: 0, ..choice() }, "1/0"),
        (TraceChoice { outcomes: vec!["nothing".into()], ..choice() }, "no outcome \"nothing\""),
    ] {
        let refused = filter_of(&choice).unwrap_err().message;
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_choice_is_what_the_programs_are_told() {
    let (_, filter) = filter_of(&choice()).unwrap();
    assert_eq!((filter.outcomes, filter.client_mask, filter.sample), (u64::MAX, [0; 2], 1));
    for outcome in Outcome::ALL {
        let outcomes = vec![outcome.word().to_owned()];
        let (_, filter) = filter_of(&TraceChoice { outcomes, ..choice() }).unwrap();
        assert_eq!(filter.outcomes, 1 << outcome.index());
    }
    let client = "192.0.2.7/24".parse().ok();
    let asked = TraceChoice { client, sample: 7, seconds: 3, ..choice() };
    let (duration, filter) = filter_of(&asked).unwrap();
    let (client, client_mask) = Filter::prefix(IpAddr::from([192, 0, 2, 0]), 24);
    assert_eq!((filter.client, filter.client_mask, filter.sample), (client, client_mask, 7));
    assert_eq!(duration, Duration::from_secs(3));
    assert_eq!(asked.to_string(), "xdp trace --for 3s --client 192.0.2.7/24 --sample 1/7");
}
