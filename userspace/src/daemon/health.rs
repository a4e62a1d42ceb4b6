//! What `sealdns health` says: one list of [`Problem`]s.
//!
//! # How to add a problem
//!
//! 1. Let the part that knows the fact say it as a value: the data plane in
//!    [`PlaneStatus`], the loading and signing of a zone in [`ZoneState`]. A fact, not a sentence: what
//!    operators read is written here, in one place.
//! 2. Write a finder below, a function from [`HealthInput`] to problems, and add it to `FINDERS`. A finder
//!    looks at what it is handed and at nothing else, takes no lock and asks no kernel: `health` must
//!    answer while all else is busy. `HealthInput` is made anew for each question; what the data plane says in
//!    it is at most some seconds old.
//! 3. Name a subject that an operator knows, say what is wrong and not what should be, and give the
//!    command that mends it if there is one. [`Severity`] says how bad it is.
//! 4. Test the finder at the end of this file with the smallest `HealthInput` that shows the problem, and with
//!    one that does not.

use std::collections::BTreeMap;
use std::time::Instant;

use super::life::Moment;
use super::state::ZoneState;
use crate::config::{Config, Dnssec};
use crate::control::reply::status::{Problem, Severity};
use crate::datapath::seam::PlaneStatus;
use crate::dnssec::times::is_before;
use crate::duration::Rounded;
use crate::observe::ZoneCounts;
use crate::observe::attachment::FaultKind;
use crate::zone::Name;

/// What problems are found in.
pub struct HealthInput<'a> {
    /// The configuration in effect.
    pub config: &'a Config,
    /// Every configured zone.
    pub zones: &'a BTreeMap<Name, ZoneState>,
    /// How they are, in numbers.
    pub counts: &'a ZoneCounts,
    /// What the data plane says of itself.
    pub plane: &'a PlaneStatus,
    /// Seconds since 1970, truncated to 32 bits.
    pub now: u32,
    /// The same moment on the monotonic clock.
    pub tick: Instant,
}

/// Finds problems of one kind, and adds them to the list.
type Finder = fn(&HealthInput<'_>, &mut Vec<Problem>);

/// All kinds of problems, in the order in which they are said.
const FINDERS: [Finder; 10] = [
    zones_loading,
    zones_not_loaded,
    zones_that_expire,
    zones_that_the_server_lacks,
    rrsets_withheld,
    signatures_that_end,
    interfaces_without_xdp,
    loader_lost,
    zones_not_kept,
    answers_that_do_not_leave,
];

/// All problems, the kinds in the order of `FINDERS`.
pub fn problems(input: &HealthInput<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    FINDERS.iter().for_each(|find| find(input, &mut found));
    found
}

/// Zones that are not served yet. One problem for all: there may be a hundred thousand.
fn zones_loading(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    let ZoneCounts { loading, configured, .. } = *input.counts;
    if loading > 0 {
        let what = format!("{loading} of {configured} are not loaded yet");
        found.push(Problem::new(Severity::Error, "zones", what).with_fix("sealdns zone list"));
    }
}

/// Zones whose last version could not be loaded: an older one stays, or none is served.
fn zones_not_loaded(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    for (name, state) in input.zones {
        let Some(error) = &state.error else { continue };
        let what = match &state.loaded {
            Some(loaded) => {
                let serial = loaded.zone.serial();
                format!("the older version, serial {serial}, is still served: {error}")
            }
            None => format!("it is not served: {error}"),
        };
        let problem = Problem::new(Severity::Error, zone(name), what);
        let verb = if state.section.is_transferred() { "refresh" } else { "reload" };
        found.push(problem.with_fix(format!("sealdns zone {verb} {name}")));
    }
}

/// Zones whose primaries were not heard of for long: they are not served any more soon.
fn zones_that_expire(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    for (name, state) in input.zones {
        let now = Moment { wall: input.now, tick: input.tick };
        let Some(left) = state.life.expires(now).filter(|_| state.life.is_expiring(now)) else {
            continue;
        };
        let left = Rounded(u32::try_from(left).unwrap_or(0));
        let why = state.primaries.last_failure.as_ref();
        let why = why.map(|(_, primary, why)| format!(": {primary}: {why}")).unwrap_or_default();
        let what = format!("it expires in {left}, since no primary is heard of{why}");
        let problem = Problem::new(Severity::Error, zone(name), what);
        found.push(problem.with_fix(format!("sealdns zone refresh {name}")));
    }
}

/// Zones that the server does not have in front of which they are configured.
fn zones_that_the_server_lacks(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    for (name, state) in input.zones {
        let Some(why) = state.at_server.lack() else { continue };
        let what = format!("its queries are passed to the server, which does not have it: {why}");
        found.push(Problem::new(Severity::Error, zone(name), what));
    }
}

/// Zones of which something is not sent, since a validator would refuse it.
fn rrsets_withheld(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    for (name, state) in input.zones {
        let withheld = state.loaded.as_ref().and_then(|loaded| loaded.withheld.as_ref());
        let Some(faults) = withheld else { continue };
        let what = format!("queries for some of its records are answered SERVFAIL: {faults}");
        let problem = Problem::new(Severity::Error, zone(name), what);
        found.push(problem.with_fix(format!("sealdns zone reload {name}")));
    }
}

/// Zones with a signature that ended, whose RRset is SERVFAIL therefore, or that will end soon.
fn signatures_that_end(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    for (name, state) in input.zones {
        let Some(expiration) = state.loaded.as_ref().and_then(|loaded| loaded.expiration) else {
            continue;
        };
        let warns_before = input.config.warns_before(&state.section, &state.policy);
        let (severity, what) = if is_before(expiration, input.now) {
            let what =
                "some of its signatures have expired, and the records that they cover are not sent";
            (Severity::Error, what.to_owned())
        } else if is_before(expiration, input.now.wrapping_add(warns_before)) {
            let left = Rounded(expiration.wrapping_sub(input.now));
            (Severity::Warning, format!("its first signature expires in {left}"))
        } else {
            continue;
        };
        let problem = Problem::new(severity, zone(name), what);
        found.push(match state.section.dnssec {
            Dnssec::Sign => problem.with_fix(format!("sealdns zone reload {name}")),
            // Who signs it must; a reload takes what they signed.
            Dnssec::Presigned | Dnssec::Off => problem,
        });
    }
}

/// The process that attaches and pins for a daemon without privileges is gone.
fn loader_lost(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    if let Some(why) = &input.plane.loader_lost {
        let what = format!(
            "this process, which keeps root's privileges, has ended; nothing can be attached until the daemon \
             is restarted: {why}"
        );
        found.push(Problem::new(Severity::Warning, "loader", what).with_fix("restart the daemon"));
    }
}

/// Interfaces that the configuration names and that have neither XDP nor TCX, and those that had it by command
/// and lost it.
fn interfaces_without_xdp(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    let is_attached =
        |name: &String| input.plane.attachments.iter().any(|one| one.interface == *name);
    let configured = &input.config.xdp.interfaces;
    let missing = input.plane.missing.iter().map(|one| &one.interface);
    let by_command = missing.filter(|name| !configured.contains(name));
    // What the daemon started without is told of below, with the reason.
    let is_known = |name: &String| input.plane.faults.iter().any(|one| one.interface == *name);
    let wanted = configured.iter().chain(by_command);
    for name in wanted.filter(|name| !is_attached(name) && !is_known(name)) {
        let missing = input.plane.missing.iter().find(|one| one.interface == *name);
        let what = match missing {
            Some(missing) => format!("XDP should be attached here and is not: {}", missing.why),
            None => "XDP is configured here and is not attached".into(),
        };
        let problem = Problem::new(Severity::Error, format!("interface {name}"), what);
        found.push(problem.with_fix(format!("sealdns xdp attach {name}")));
    }
}

/// Zones of which the next start would not know what was served: the disk is full, or may not be written to.
fn zones_not_kept(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    for (name, state) in input.zones {
        let Some(error) = &state.unkept else { continue };
        let what =
            format!("its serial or its signatures could not be saved for the next start: {error}");
        found.push(Problem::new(Severity::Warning, zone(name), what));
    }
}

/// Interfaces whose answers are lost, or that XDP does not answer on, with what the data plane knows of it.
fn answers_that_do_not_leave(input: &HealthInput<'_>, found: &mut Vec<Problem>) {
    for fault in &input.plane.faults {
        let subject = format!("interface {}", fault.interface);
        let severity = match fault.kind {
            FaultKind::PacketsUnseen => Severity::Warning,
            FaultKind::NotAttached | FaultKind::Obstacle | FaultKind::AnswersLost => {
                Severity::Error
            }
        };
        let problem = Problem::new(severity, subject, &fault.what);
        found.push(match &fault.fix {
            Some(fix) => problem.with_fix(fix),
            None => problem,
        });
    }
}

fn zone(name: &Name) -> String {
    format!("zone {name}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::XdpMode;
    use crate::daemon::state::LoadedZone;
    use crate::observe::attachment::{Attachment, Fault};
    use crate::server::testing;

    const NOW: u32 = 1_800_000_000;

    #[test]
    fn of_all_times_until_a_signature_ends_health_says_how_it_is() {
        use Severity::{Error, Warning};
        const DAY: i64 = 86400;
        // Zones' settings, how long before the end they are warned of, at every hour around it.
        for (zone, warned_s) in [
            ("dnssec = \"presigned\"\n", 3 * DAY),
            ("dnssec = \"presigned\"\nwarn-before = \"10d\"\n", 10 * DAY),
            ("", 3 * DAY),
            // Half of `refresh`, a week.
            ("warn-before = \"10d\"\n", 7 * DAY / 2),
            ("warn-before = \"1d\"\n", DAY),
        ] {
            for left_s in (-2 * DAY..12 * DAY).step_by(3600) {
                let expected = match left_s {
                    ..0 => vec![Error],
                    _ if left_s < warned_s => vec![Warning],
                    _ => vec![],
                };
                let said = found_of(zone, None, Some(left_s), &["eth7"]);
                let said: Vec<Severity> = said.into_iter().map(|(severity, ..)| severity).collect();
                assert_eq!(said, expected, "{zone}, {left_s} s left");
            }
        }
        let (_, _, what) = &found(None, Some(7200), &["eth7"])[0];
        assert_eq!(what, "its first signature expires in 2 hours");
    }

    /// The problems of a daemon with one zone and one interface, of which these are the facts.
    fn found(
        error: Option<&str>,
        expires_in: Option<i64>,
        attached: &[&str],
    ) -> Vec<(Severity, String, String)> {
        found_of("", error, expires_in, attached)
    }

    /// The same with more settings of the zone.
    fn found_of(
        settings: &str,
        error: Option<&str>,
        expires_in: Option<i64>,
        attached: &[&str],
    ) -> Vec<(Severity, String, String)> {
        let text = "version = \"v1\"\n[xdp]\ninterfaces = [\"eth7\"]\n\
                    [[zone]]\nname = \"example\"\nfile = \"zone\"\n";
        let text = format!("{text}{settings}");
        let config = Config::parse(&text, Path::new("")).expect("a configuration");
        let section = config.zones().next().expect("a zone").clone();
        let mut state = ZoneState::new(section.clone(), config.policy(&section));
        state.error = error.map(str::to_owned);
        state.loaded = expires_in.map(|seconds| LoadedZone {
            zone: testing::version(7, 0),
            kept_in: Vec::new(),
            loaded_at: NOW,
            expiration: Some((i64::from(NOW) + seconds) as u32),
            origin: None,
            verification: None,
            withheld: None,
            verified_before: None,
            stamps: Vec::new(),
            from_primary: None,
            kept_at: None,
            past: Default::default(),
            published: Default::default(),
        });
        let attachment = |name: &&str| Attachment {
            interface: (*name).to_owned(),
            mode: XdpMode::Native,
            tcx: false,
            pinned: false,
            adopted: false,
        };
        let attachments = attached.iter().map(attachment).collect();
        let plane = PlaneStatus { attachments, ..PlaneStatus::default() };
        let loading = state.is_loading().into();
        let counts = ZoneCounts { configured: 1, loading, ..ZoneCounts::default() };
        let zones = BTreeMap::from([(section.name.clone(), state)]);
        let input = HealthInput {
            config: &config,
            zones: &zones,
            counts: &counts,
            plane: &plane,
            now: NOW,
            tick: Instant::now(),
        };
        let problems = problems(&input).into_iter();
        problems.map(|one| (one.severity, one.subject, one.what)).collect()
    }

    #[test]
    fn each_problem_is_said_once_and_nothing_is_said_of_what_is_well() {
        assert_eq!(found(None, Some(10 * 86400), &["eth7"]), []);
        let (zone, interface) = ("zone example.".to_owned(), "interface eth7".to_owned());
        let said = found(Some("no such file"), Some(-1), &["eth8"]);
        let whats: Vec<&str> = said.iter().map(|(.., what)| what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "the older version, serial 7, is still served: no such file",
                "some of its signatures have expired, and the records that they cover are not sent",
                "XDP is configured here and is not attached",
            ]
        );
        let subjects: Vec<&String> = said.iter().map(|(_, subject, _)| subject).collect();
        assert_eq!(subjects, [&zone, &zone, &interface]);
        let (_, _, what) = &found(Some("no such file"), None, &["eth7"])[0];
        assert_eq!(what, "it is not served: no such file");
        let (_, subject, what) = &found(None, None, &["eth7"])[0];
        assert_eq!((subject.as_str(), what.as_str()), ("zones", "1 of 1 are not loaded yet"));
    }

    #[test]
    fn what_the_data_plane_knows_of_an_interface_is_said_instead_of_that_it_is_missing() {
        let text = "version = \"v1\"\n[xdp]\ninterfaces = [\"eth7\"]\n";
        let config = Config::parse(text, Path::new("")).expect("a configuration");
        let zones = BTreeMap::new();
        let said = |faults: Vec<Fault>| {
            let plane = PlaneStatus { faults, ..PlaneStatus::default() };
            let counts = ZoneCounts::default();
            let input = HealthInput {
                config: &config,
                zones: &zones,
                counts: &counts,
                plane: &plane,
                now: NOW,
                tick: Instant::now(),
            };
            problems(&input).iter().map(Problem::to_string).collect::<Vec<_>>()
        };
        let fault = |kind| Fault {
            interface: "eth7".into(),
            kind,
            what: "it is ill".into(),
            fix: Some("cure eth7".into()),
        };
        assert_eq!(said(Vec::new()).len(), 1);
        assert_eq!(
            said(vec![fault(FaultKind::NotAttached)]),
            ["error: interface eth7: it is ill; try: cure eth7"]
        );
        // Answers come, from the sockets.
        assert_eq!(
            said(vec![fault(FaultKind::PacketsUnseen)]),
            ["warning: interface eth7: it is ill; try: cure eth7"]
        );
    }
}
