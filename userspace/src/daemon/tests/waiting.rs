//! Nobody waits for a change of a zone who need not.

use super::*;

/// Everything that may be asked without changing anything.
fn questions() -> Vec<Request> {
    vec![
        Request::Status,
        Request::ZoneList,
        Request::ZoneStatus { zone: "example".into() },
        Request::XdpStatus,
        Request::CacheStatus,
        Request::Stats,
        Request::RateLimit { request: RateLimitAction::Show },
        Request::RateLimit { request: RateLimitAction::Top },
        Request::RateLimit { request: RateLimitAction::Explain { prefix: "192.0.2.1".into() } },
    ]
}

#[test]
fn a_long_publication_holds_nobody_up() {
    let stage = Stage::new();
    let query = [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], &b"\x07example\x00\x00\x06\x00\x01"[..]];
    let query = query.concat();
    let (gate, arrival, open) = Gate::new();
    lock(&stage.calls).gate = Some(gate);
    let open = Some(open);
    std::thread::scope(|scope| {
        let reload =
            || stage.ask::<ZoneReload>(Request::ZoneReload { zone: Some("example".into()) });
        let reloading = scope.spawn(reload);
        arrival.recv().unwrap();
        let asked = scope.spawn(|| {
            for question in questions() {
                stage.tell(question);
            }
            stage.daemon.tick();
            let (client, mut response) = (([192, 0, 2, 1], 5353).into(), Vec::new());
            let (shared, stats) = (stage.daemon.presented.shared(), &stage.daemon.stats);
            let answered = udp::Answerer::new(shared, stats).answer(&query, client, &mut response);
            assert!(matches!(answered, udp::Datagram::Response));
            // What cannot do without the data plane says so.
            stage.fail(Request::XdpAttach { interface: "eth7".into() })
        });
        // Nothing lets the publication go before all of that was answered.
        let failure = asked.join();
        assert!(!reloading.is_finished());
        drop(open);
        assert_eq!(failure.expect("all was answered").code, "busy");
        assert_eq!(reloading.join().unwrap().zones[0].change, zone::Change::Loaded);
    });
    assert!(lock(&stage.calls).interfaces.is_empty());
}

#[test]
fn monitors_ask_while_zones_change() {
    const TURNS: usize = 200;
    let (stage, questions) = (Stage::new(), questions());
    let change = || stage.tell(Request::ZoneReload { zone: Some("example".into()) });
    std::thread::scope(|scope| {
        for question in &questions {
            scope.spawn(|| (0..TURNS).for_each(|_| drop(stage.tell(question.clone()))));
        }
        scope.spawn(|| (0..TURNS).for_each(|_| drop(change())));
        scope.spawn(|| (0..TURNS).for_each(|_| drop(stage.reload())));
        scope.spawn(|| {
            for turn in 0..TURNS {
                // Each turn the secrets change, and what is served follows.
                stage.daemon.presented.set_secrets(Secrets::Derived([1, 2], 7200 + turn as u32));
                stage.daemon.tick();
            }
        });
        scope.spawn(|| {
            for _ in 0..TURNS {
                let set = vec![("rate".to_owned(), "50".to_owned())];
                let request = RateLimitAction::Set { settings: set, save: false };
                stage.tell(Request::RateLimit { request });
            }
        });
    });
}
