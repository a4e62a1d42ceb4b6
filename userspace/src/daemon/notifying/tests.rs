//! Who is told of which serial and when: over a virtual clock, with servers that lose messages, answer late, or never.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::targets::{GAP, MOST_MESSAGES, Targets};
use crate::zone::Serial;

fn server(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 53))
}

/// All messages of `targets` until a time, if nobody answers: when they were sent, in milliseconds, and of which serial.
fn unanswered(targets: &mut Targets, from: Instant, until: Duration) -> Vec<(u128, u32)> {
    let mut sent = Vec::new();
    while let Some(next) = targets.next().filter(|next| *next <= from + until) {
        let due: Vec<_> = targets.due(next).collect();
        assert!(!due.is_empty());
        for (address, serial) in due {
            if targets.send(address, next) {
                sent.push((next.duration_since(from).as_millis(), serial.0));
            }
        }
    }
    sent
}

#[test]
fn who_does_not_answer_is_told_later_and_later_and_then_no_more() {
    let (start, mut targets) = (Instant::now(), Targets::default());
    targets.follow(&[server(1)], Serial(7), start);
    let sent = unanswered(&mut targets, start, Duration::from_secs(3600));
    let seconds: Vec<u128> = sent.iter().map(|(at, _)| at / 1000).collect();
    assert_eq!(seconds, [0, 2, 6, 14, 30, 62, 122, 182, 242, 302]);
    let status = targets.status().remove(0);
    assert!(status.is_given_up && status.messages == MOST_MESSAGES);
    assert_eq!(status.error.as_deref(), Some("there is no answer"));
    // The next serial begins anew, and is acknowledged.
    let later = start + Duration::from_secs(3600);
    targets.follow(&[server(1)], Serial(8), later);
    assert!(targets.send(server(1), targets.next().unwrap()));
    targets.acknowledge(server(1), Serial(8), 1_800_000_000);
    assert_eq!(targets.next(), None);
    let status = targets.status().remove(0);
    assert_eq!((status.acknowledged, status.error), (Some(8), None));
}

#[test]
fn serials_that_come_fast_are_told_together() {
    let (start, mut targets) = (Instant::now(), Targets::default());
    let mut sent = Vec::new();
    for step in 0..1000u32 {
        let now = start + Duration::from_millis(u64::from(step) * 10);
        targets.follow(&[server(1)], Serial(step), now);
        for (address, serial) in targets.due(now).collect::<Vec<_>>() {
            assert!(targets.send(address, now));
            sent.push(serial.0);
        }
    }
    // One at once, and then one a second.
    assert_eq!(sent, (0..10).map(|second| second * 100).collect::<Vec<_>>());
    // The last one is told whatever happened before, also if an older one is acknowledged late.
    targets.acknowledge(server(1), Serial(900), 1_800_000_000);
    let sent = unanswered(&mut targets, start, Duration::from_secs(11));
    assert_eq!(sent.first(), Some(&(10_000, 999)));
}

#[test]
fn servers_come_and_go_with_the_configuration() {
    let (now, mut targets) = (Instant::now(), Targets::default());
    targets.follow(&[server(1), server(2)], Serial(7), now);
    assert_eq!(targets.due(now).count(), 2);
    assert!(targets.send(server(1), now) && targets.send(server(2), now));
    targets.acknowledge(server(1), Serial(7), 1_800_000_000);
    // The same serial is not told again to who knows it; who is new is told.
    targets.follow(&[server(1), server(3)], Serial(7), now);
    let due: Vec<_> = targets.due(now).collect();
    assert_eq!(due, [(server(3), Serial(7))]);
    targets.acknowledge(server(2), Serial(7), 1_800_000_000);
    assert_eq!(targets.status().len(), 2);
}

/// What happens to one server.
#[derive(Debug, Clone)]
enum Step {
    Serial(u8),
    Wait(u16),
    Answer,
    Refuse,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u8..4).prop_map(Step::Serial),
        (0u16..20_000).prop_map(Step::Wait),
        Just(Step::Answer),
        Just(Step::Refuse),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever happens: never two messages within a second, no more of a serial than there may be, the newest serial is
    /// always told until it is acknowledged or given up, and who knows it is left alone.
    #[test]
    fn a_server_is_told_and_not_flooded(steps in steps()) {
        let start = Instant::now();
        let (mut now, mut targets, mut serial) = (start, Targets::default(), Serial(0));
        let (mut last_sent, mut of_serial, mut knows) = (None::<Instant>, 0, None);
        targets.follow(&[server(1)], serial, now);
        let mut last_told = None;
        for step in steps {
            match step {
                Step::Serial(next) => {
                    if serial != Serial(next.into()) {
                        (serial, of_serial) = (Serial(next.into()), 0);
                        knows = None;
                    }
                    targets.follow(&[server(1)], serial, now);
                }
                Step::Answer => if let Some(told) = last_told {
                    targets.acknowledge(server(1), told, 0);
                    if told == serial { knows = Some(serial); }
                },
                Step::Refuse => if let Some(told) = last_told {
                    targets.fail(server(1), told, "it answers Server Failure".to_owned());
                },
                Step::Wait(ms) => {
                    let until = now + Duration::from_millis(ms.into());
                    while let Some(next) = targets.next().filter(|next| *next <= until) {
                        now = next.max(now);
                        if !targets.send(server(1), now) { continue; }
                        prop_assert_ne!(knows, Some(serial));
                        prop_assert!(last_sent.is_none_or(|last| now - last >= GAP));
                        of_serial += 1;
                        prop_assert!(of_serial <= MOST_MESSAGES);
                        (last_sent, last_told) = (Some(now), Some(serial));
                    }
                    now = until;
                }
            }
            let status = targets.status().remove(0);
            let is_done = status.is_given_up || knows == Some(serial);
            prop_assert_eq!(targets.next().is_some(), !is_done);
        }
    }
}
