//! A reply of each kind, and what it is made of.

use xdp_common::Outcome;
use xdp_common::limit::{Mode, Verdict as LimitVerdict};

use crate::compile::inspect::lookup::{Lookup, NodeView, PieceView};
use crate::compile::inspect::verify;
use crate::config::{Dnssec, XdpMode};
use crate::control::reply::Reply;
use crate::control::reply::cache::*;
use crate::control::reply::ratelimit::{self, *};
use crate::control::reply::status::*;
use crate::control::reply::xdp::*;
use crate::control::reply::zone::{self, *};
use crate::journal::FrameKind;
use crate::observe::attachment::*;
use crate::observe::event::{EventKind, EventReason};
use crate::observe::trace::*;
use crate::observe::usage::*;
use crate::observe::word::PerWord;
use crate::observe::{KernelCounters, ProgramCounters, Snapshot, WorstResponse, ZoneCounts};

/// One reply of each kind; what may be absent is there in one of them.
pub(super) fn samples() -> Vec<Reply> {
    vec![
        status().into(),
        ZoneList { zones: vec![summary()] }.into(),
        zone_status().into(),
        zone_reload().into(),
        zone_history().into(),
        zone_diff().into(),
        ZoneRolledBack { zone: "example.com.".into(), to: 7, difference: difference() }.into(),
        ZoneRefreshing { zone: "example.com.".into(), whole: true }.into(),
        xdp_status().into(),
        XdpAttached { attached: "eth0".into() }.into(),
        XdpDetached { detached: vec!["eth0".into()], forgotten: vec!["eth1".into()] }.into(),
        XdpTraceStarted { trace: 7 }.into(),
        traced().into(),
        cache_status().into(),
        cache_lookup().into(),
        cache_explain().into(),
        cache_verify().into(),
        snapshot().into(),
        rate_limits().into(),
        exempt_list().into(),
        block_list().into(),
        top().into(),
        explained().into(),
        RateLimitChange { change: ratelimit::Change::Set(table()), until: Some(1), saved: true }
            .into(),
        Stopping { stopping: true }.into(),
    ]
}

const NOW: u32 = 1_800_000_000;

fn attachment() -> Attachment {
    Attachment {
        interface: "eth0".into(),
        mode: XdpMode::Native,
        tcx: true,
        pinned: false,
        adopted: false,
    }
}

fn traced() -> XdpTraceRead {
    let line = TraceLine {
        at: "2027-01-15T08:00:00.000001Z".into(),
        path: TracePath::Xdp,
        interface: "eth0".into(),
        client: Some(TracedClient { address: [192, 0, 2, 1].into(), port: 5353 }),
        question: Some(TracedQuestion {
            name: "no.example.com.".into(),
            class: "IN".into(),
            rtype: "AAAA".into(),
            edns: true,
            dnssec_ok: true,
        }),
        outcome: Outcome::Nxdomain,
        action: TraceAction::Answered,
        stage: "send".into(),
    };
    XdpTraceRead { lines: vec![line], lost: 1, ended: Some("its time is up".into()) }
}

fn status() -> Status {
    Status {
        version: "1.2.3".into(),
        pid: 7,
        uptime_seconds: 60,
        key_dir: Some("/var/lib/sealdns/keys".into()),
        listen: vec!["192.0.2.1:53".parse().expect("an address")],
        xdp: vec![attachment()],
        zones: 2,
        zones_not_served: 1,
        zones_loading: 0,
        zones_failed: vec!["example.net.".into()],
        zones_expired: vec!["example.com.".into()],
        problems: vec![
            Problem::new(Severity::Error, "zone example.net.", "it is not served: no such file")
                .with_fix("sealdns zone reload example.net."),
        ],
    }
}

fn summary() -> ZoneSummary {
    ZoneSummary {
        zone: "example.com.".into(),
        state: ServingState::ServingOld,
        dnssec: Dnssec::Sign,
        source: ZoneSource::Primaries,
        catalog: Some("catalog.example.".into()),
        serial: Some(7),
        expiration: Some(NOW),
        error: Some("example.com.zone:7:7: no such type".into()),
    }
}

/// Every kind of event, and every reason.
const EVENTS: [(EventKind, EventReason); 19] = [
    (EventKind::Load, EventReason::NotTried),
    (EventKind::Load, EventReason::Failed),
    (EventKind::FollowUp, EventReason::FromLastRun),
    (EventKind::Change, EventReason::Asked),
    (EventKind::Change, EventReason::SignaturesBegin),
    (EventKind::Sign, EventReason::KeysChange),
    (EventKind::Sign, EventReason::SignaturesEnd),
    (EventKind::Sign, EventReason::SignaturesAhead),
    (EventKind::Verify, EventReason::NotVerified),
    (EventKind::Verify, EventReason::Daily),
    (EventKind::Verify, EventReason::Verified),
    (EventKind::Change, EventReason::Refused),
    (EventKind::Keep, EventReason::NotKept),
    (EventKind::Keep, EventReason::JournalLong),
    (EventKind::Refresh, EventReason::NotTransferred),
    (EventKind::Refresh, EventReason::RefreshPassed),
    (EventKind::Refresh, EventReason::Notified),
    (EventKind::Change, EventReason::Transferred),
    (EventKind::Expire, EventReason::Unconfirmed),
];

fn zone_status() -> ZoneStatus {
    ZoneStatus {
        summary: summary(),
        file: "/etc/sealdns/example.com.zone".into(),
        policy: "default".into(),
        records: Some(6),
        owners: Some(3),
        loaded_at: Some(NOW),
        records_written: Some(9),
        records_kept: Some(1),
        held: Some(Completeness::Complete),
        resign_at: Some(NOW),
        unkept: Some("no space left on device".into()),
        from_last_run: true,
        verified_at: Some(1_800_000_001),
        withheld: Some(
            "a validator would reject the zone: www.example. A: there is no signature".into(),
        ),
        allow_transfer: vec!["192.0.2.0/24".into()],
        group: Some("gold".into()),
        lists: Some(CatalogStatus {
            members: 3,
            refused: 1,
            first_refused: vec![RefusedMember {
                zone: "example.org.".into(),
                why: "the configuration has a zone of this name".into(),
            }],
        }),
        front: Some(zone::FrontStatus {
            serial: Some(2_026_101_703),
            passed: Some("the server has serial 2026101703, and 2026101702 is published".into()),
        }),
        primaries: Some(zone::PrimariesStatus {
            configured: vec!["192.0.2.53:53".parse().expect("an address")],
            asked: Some("192.0.2.53:53".parse().expect("an address")),
            serial: Some(6),
            last_success: Some(NOW),
            last_failure: Some(NOW),
            failure: Some("192.0.2.53:53: connecting: nothing in 5 s".into()),
            expires_at: Some(NOW),
        }),
        notify: vec![zone::NotifyStatus {
            server: "192.0.2.54:53".parse().expect("an address"),
            serial: 8,
            messages: 3,
            is_given_up: false,
            acknowledged: Some(7),
            acknowledged_at: Some(NOW),
            error: Some("it answers Server Failure".into()),
        }],
        running: Some(EventKind::FollowUp),
        events: EVENTS.map(|(event, why)| zone::ZoneEvent { event, at: NOW, why }).to_vec(),
    }
}

fn difference() -> zone::VersionDifference {
    zone::VersionDifference { old_serial: 8, new_serial: 9, removed: 3, added: 4 }
}

fn zone_history() -> ZoneHistory {
    use FrameKind::{File, Rollback, Signing, Transfer, Update};
    let change = |why| PastZoneChange { at: NOW.into(), why, difference: difference() };
    let changes = [File, Update, Transfer, Signing, Rollback].map(change).to_vec();
    ZoneHistory { zone: "example.com.".into(), serial: 9, changes }
}

fn zone_diff() -> ZoneDiff {
    ZoneDiff {
        zone: "example.com.".into(),
        from: 7,
        to: 8,
        removed: vec!["www.example.com.\t300\tIN\tA\t192.0.2.1".into()],
        added: vec!["www.example.com.\t300\tIN\tA\t192.0.2.2".into()],
    }
}

fn zone_reload() -> ZoneReload {
    let difference =
        zone::VersionDifference { old_serial: 7, new_serial: 8, removed: 12, added: 13 };
    let change = |zone: &str, change, error: Option<&str>| ZoneChange {
        zone: zone.into(),
        change,
        difference: (change == zone::Change::Loaded).then_some(difference),
        error: error.map(str::to_owned),
    };
    ZoneReload {
        zones: vec![
            change("a.", zone::Change::Unchanged, None),
            change("b.", zone::Change::Loaded, None),
            change("c.", zone::Change::Removed, None),
            change("d.", zone::Change::Failed, Some("no such file")),
        ],
    }
}

fn kernel_counters() -> KernelCounters {
    let counters = ProgramCounters {
        outcomes: PerWord::new(|outcome: Outcome| outcome.index() as u64),
        octets_in: 100,
        octets_out: 200,
        grown_at_head: 3,
    };
    KernelCounters { xdp: Some(counters), tcx: None }
}

fn xdp_status() -> XdpStatus {
    XdpStatus {
        attachments: vec![attachment()],
        missing: vec![Missing { interface: "eth1".into(), why: "there is none".into() }],
        faults: vec![Fault {
            interface: "eth2".into(),
            kind: FaultKind::AnswersLost,
            what: "the driver drops answers".into(),
            fix: Some("mode = \"tcx\" in [xdp]".into()),
        }],
        counters: kernel_counters(),
    }
}

fn cache_status() -> CacheStatus {
    CacheStatus {
        maps: vec![MapUsage { name: "SLAB".into(), used: 1, capacity: 2, memory_octets: 3 }],
        zones: vec![ZoneUsage {
            zone: "example.com.".into(),
            held: Completeness::Partial,
            names: 10,
            names_held: 5,
            records: 20,
            octets: 3000,
            octets_held: 1500,
        }],
        memory: ImageMemory {
            image_octets: 3000,
            names: 10,
            records: 20,
            octets_per_name: Some(300),
            octets_per_record: Some(150),
        },
    }
}

fn piece() -> PieceView {
    PieceView {
        part: "A".into(),
        types: "A RRSIG".into(),
        owner: "www.example.com.".into(),
        ttl: 300,
        records: [1, 2],
        octets: [16, 120],
        not_after: Some(NOW),
        address: 64,
        problem: Some("a damaged piece".into()),
    }
}

fn cache_lookup() -> CacheLookup {
    let node = NodeView {
        name: "www.example.com.".into(),
        kind: "name".into(),
        serial: Some(7),
        address: 128,
        octets: 80,
        target: Some("host.example.com.".into()),
        pieces: vec![piece()],
    };
    CacheLookup {
        zone: Some("example.com.".into()),
        found: Lookup {
            name: "www.example.com.".into(),
            nodes: vec![node.clone()],
            closest_encloser: Some(node.clone()),
            wildcard: Some(node),
        },
    }
}

fn cache_explain() -> CacheExplain {
    CacheExplain {
        query: ExplainedQuery {
            name: "www.example.com.".into(),
            rtype: "A".into(),
            payload: Some(1232),
            dnssec_ok: true,
            from: "198.51.100.53".parse().expect("an address"),
            to: "192.0.2.53".parse().expect("an address"),
            transport: Transport::Udp,
        },
        stages: vec![Stage { stage: "decode".into(), found: "IPv4".into() }],
        pieces: vec![AnswerPiece { section: "answer".into(), sent_octets: 120, piece: piece() }],
        bounds: vec![Bound { bound: "MAX_PIECES".into(), needed: 1, limit: 16 }],
        outcome: Outcome::Positive,
        fate: Fate::Answered,
        response_octets: Some(170),
        daemon: DaemonAnswer { outcome: Outcome::Positive, response_octets: 170 },
        kernel: KernelTrial::Tried {
            action: Fate::PassedUp,
            frame_octets: 212,
            differences: vec!["the kernel says: passed up".into()],
        },
    }
}

fn cache_verify() -> CacheVerify {
    let problem = verify::Problem {
        name: "example.com.".into(),
        part: "A".into(),
        problem: "a signature is wrong".into(),
    };
    CacheVerify {
        zones: 1,
        unfinished: vec!["example.net.".into()],
        found: verify::Findings { names: 3, pieces: 9, signed_rrsets: 6, problems: vec![problem] },
    }
}

fn worst_response() -> WorstResponse {
    WorstResponse { query_octets: 40, response_octets: 1200, at: NOW }
}

fn snapshot() -> Snapshot {
    Snapshot {
        kernel: kernel_counters(),
        zones: ZoneCounts { configured: 2, not_served: 1, ..ZoneCounts::default() },
        worst_response: Some(worst_response()),
        ..Snapshot::default()
    }
}

fn table() -> toml::Table {
    toml::toml! {
        rate = 5
        mode = "on"
        ipv4-levels = ["/32 x1"]
    }
}

fn rate_limits() -> RateLimits {
    RateLimits {
        mode: Mode::On,
        drift: true,
        settings: vec![Setting {
            key: "rate".into(),
            value: Some(5.into()),
            file: Some(50.into()),
            drift: true,
            origin: Origin::UntilRestart,
        }],
        zones: vec![ZoneSettings { zone: "example.com.".into(), settings: table() }],
        exempt: 1,
        exempt_drift: false,
        blocked: 1,
        unsaved: true,
        saved_in: "/var/lib/sealdns/ratelimit.toml".into(),
    }
}

pub(super) fn net(text: &str) -> ipnet::IpNet {
    text.parse().expect("a prefix")
}

fn exempt_list() -> ExemptList {
    let prefix = net("192.0.2.0/24");
    ExemptList { exempt: vec![ExemptPrefix { prefix, origin: Origin::File, exempt: true }] }
}

fn block_list() -> BlockList {
    BlockList {
        blocked: vec![BlockedTarget {
            target: "bad.example.com.".into(),
            until: Some(NOW.into()),
            dry_run: false,
            origin: Origin::Saved,
        }],
    }
}

fn netblock() -> Netblock {
    Netblock {
        netblock: net("198.51.100.0/24"),
        state: NetblockState::Limited,
        limit: "positive".into(),
        class: Some("positive".into()),
        allowed_per_second: Some(10),
        policies: vec![Allowance {
            zone: Some("example.com.".into()),
            mode: Mode::On,
            allowed_per_second: 10,
        }],
        over_per_second: 12.5,
        since: Some(NOW.into()),
        last: NOW.into(),
        slips: 60,
        drops: 65,
    }
}

fn top() -> TopNetblocks {
    let mut decisions = crate::observe::Decisions::default();
    decisions.passed[LimitVerdict::Drop] = 4;
    TopNetblocks {
        mode: Mode::On,
        modes: vec![PolicyMode(Mode::DryRun), PolicyMode(Mode::On)],
        netblocks: vec![netblock()],
        decisions,
        worst_second: 2.5,
        worst_response: Some(worst_response()),
    }
}

fn explained() -> NetblockExplanation {
    let limits = PolicyLimits {
        zone: None,
        mode: Mode::On,
        netblock: Some(net("198.51.100.0/24")),
        classes_per_second: PerWord::new(|_| 10),
        qps_scale: Some(1000),
        total: Some(vec![TotalLimit { netblock: Some(net("198.51.100.0/24")), per_second: 50 }]),
        passed_per_second: Some(100),
    };
    NetblockExplanation {
        netblock: net("198.51.100.1/32"),
        verdict: Verdict::WouldBeLimited,
        reason: "198.51.100.0/24 is over its 10 per second".into(),
        since: Some(NOW.into()),
        mode: Mode::On,
        blocked_by: Some(BlockedBy {
            prefix: net("198.51.100.0/25"),
            until: Some(NOW.into()),
            dry_run: true,
            origin: Origin::Saved,
        }),
        exempt_by: Some(ExemptBy { prefix: net("198.51.100.0/26"), origin: Origin::File }),
        limits: vec![netblock()],
        allowed: limits.clone(),
        policies: vec![limits],
        queries_per_second: 5,
    }
}
