//! The rate limiter of the real programs, run by the kernel on frames that we hand them.

use std::{collections::BTreeMap, net::IpAddr, thread};

use anyhow::{Context as _, Result, ensure};
use aya::{maps::ProgramArray, programs::Xdp};
use sealdns::{
    clock,
    datapath::limiting::ListsInMaps,
    dnssec::policy::Denial,
    ratelimit::limits::{Block, Limits},
    server::{Shared, stats::SocketStats, udp},
    zone::{Name, Zone},
};
use testbed::frames::{ETHERNET_LEN, Frame, IPV4_LEN, UDP_LEN};
use tests::{
    chance::Chance,
    dns::Message,
    harness::Verdict as Ended,
    measure::{pin_to_core, programs},
    prog_test_run::{self, Action},
    questions::questions,
    servers::{DEMO, signed},
};
use xdp_common::{
    Outcome,
    dns::HEADER_LEN,
    lab::control,
    limit::{
        Class, Hit, Mode, Policy, Verdict, amplified,
        policy::{Circumstances, Level},
    },
    maps::{self, Verdicts},
};

use crate::kernel::{Rig, edns, framed, obstacle, question};

/// A second rate so low that no test takes long enough for one more response.
const SLOW: u32 = 1;
const TXT: u16 = 16;
/// Octets of Ethernet, IPv4 and UDP.
const HEADERS_LEN: usize = ETHERNET_LEN + IPV4_LEN + UDP_LEN;
const A: u16 = 1;
const MX: u16 = 15;
const DNSKEY: u16 = 48;
const AXFR: u16 = 252;
const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const BADVERS: u16 = 16;
const BADCOOKIE: u16 = 23;

/// A policy with one class of limit at a time: those that are not asked for are off.
fn policy() -> Policy {
    Policy {
        mode: Mode::On as u32,
        rates: [0; Class::COUNT],
        total: 0,
        passed: 0,
        passed_total: 0,
        ..Policy::new()
    }
}

/// Any number of options up to eight on queries of all kinds, cookies among them that are malformed or come with a
/// version that is not known: over the limit the programs send what the daemon would, octet for octet.
pub fn slips_are_those_of_the_daemon() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let directory = tempfile::tempdir()?;
    let zone = signed(DEMO, Denial::Nsec, directory.path())?;
    let slip_all = Policy { total: SLOW, total_burst: 1, total_slip: 1, ..policy() };
    let limits = Limits { policy: slip_all, ..Limits::default() };
    let mut limited = Limited::over(&zone, &limits)?;
    let mut chance = Chance(7);
    let mut seen = BTreeMap::new();
    for edns_settings in edns::all_edns_settings() {
        limited.rig.loaded.edns_settings.write(&edns_settings);
        let shared = Shared::new(edns::served(&limited.rig, &zone, edns_settings));
        shared.limiter().set(&limits, 0);
        for (index, query) in questions(&zone, []).iter().enumerate() {
            if query.edns.is_none() {
                continue;
            }
            let mut frame = framed(Vec::new(), index % 2, &[])?;
            frame.payload = edns::message(query, frame.source.ip(), limited.rig.now, &mut chance);
            let (run, outcome) = limited.rig.run_counted(&frame.encode()?)?;
            if outcome != Outcome::Slipped {
                continue;
            }
            let from_xdp = without_time(Frame::decode(&run.frame)?.payload)?;
            // One response in a second is over no limit.
            let mut tries = (0..3).map(|_| {
                let (stats, mut sent) = (SocketStats::default(), Vec::new());
                udp::Answerer::new(&shared, &stats).answer(&frame.payload, frame.source, &mut sent);
                sent
            });
            let is_same = tries.any(|sent| without_time(sent).is_ok_and(|sent| sent == from_xdp));
            ensure!(is_same, "{query:?} {:02x?}: {from_xdp:02x?}", frame.payload);
            let version = frame.payload[HEADER_LEN + query.name.len() + 4 + 6];
            *seen.entry((Message::read(&from_xdp)?.rcode, version)).or_insert(0u32) += 1;
        }
    }
    println!("  by code and EDNS version: {seen:?}");
    for kind in [(NOERROR, 0), (FORMERR, 0), (BADVERS, 1), (BADCOOKIE, 0)] {
        ensure!(seen.contains_key(&kind), "not one of {kind:?}");
    }
    Ok(Ended::Passed)
}

/// A response with a zero for the time in its cookie, and for the hash that is made of it.
fn without_time(mut response: Vec<u8>) -> Result<Vec<u8>> {
    if Message::read(&response)?.rcode == BADCOOKIE {
        let at = response.len() - 12;
        response[at..].fill(0);
    }
    Ok(response)
}

/// Five responses of every class, and then one a second.
fn five_each() -> Policy {
    Policy { rates: [SLOW; Class::COUNT], burst: 5, ..policy() }
}

/// The programs, limited.
struct Limited {
    rig: Rig,
    written: ListsInMaps,
}

impl Limited {
    fn new(limits: &Limits) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        Self::over(&signed(DEMO, Denial::Nsec, directory.path())?, limits)
    }

    fn over(zone: &Zone, limits: &Limits) -> Result<Self> {
        let mut limited = Self { rig: Rig::new(zone)?, written: ListsInMaps::default() };
        limited.rig.config.tick_ns = clock::tick_ns()?;
        limited.set(limits)?;
        Ok(limited)
    }

    fn of(policy: Policy) -> Result<Self> {
        Self::new(&Limits { policy, ..Limits::default() })
    }

    fn set(&mut self, limits: &Limits) -> Result<()> {
        let Rig { loaded, config, .. } = &mut self.rig;
        let circumstances = Circumstances { tick_ns: config.tick_ns, qps: 0 };
        self.written.write(loaded, limits, circumstances, config)?;
        loaded.config.write(config);
        self.written.clear(loaded, limits, config.seed)
    }

    /// Asks from an address and says what became of it; what is sent must be right, and a slip not larger than
    /// its query.
    fn ask(&mut self, source: &str, name: &str, rtype: u16) -> Result<Outcome> {
        let frame = asked(source, name, rtype)?;
        let octets = frame.encode()?;
        let (run, outcome) = self.rig.run_counted(&octets)?;
        match run.action {
            Action::Tx => {
                let reply = Frame::decode(&run.frame)?;
                let is_truncated = reply.payload[2] & 2 != 0;
                ensure!(is_truncated == (outcome == Outcome::Slipped), "{outcome:?}: TC");
                if outcome == Outcome::Slipped {
                    let (len, most) = (reply.payload.len(), frame.payload.len());
                    ensure!(len <= most, "{len} octets for {most}");
                    ensure!(reply.payload[6..HEADER_LEN - 1] == [0; 5], "a slip with records");
                }
            }
            Action::Drop => {
                let expected = [Outcome::Limited, Outcome::Blocked];
                ensure!(expected.contains(&outcome), "{outcome:?} is dropped");
            }
            _ => ensure!(run.frame == octets, "changed, though passed"),
        }
        Ok(outcome)
    }

    /// Asks the same a number of times.
    fn ask_times(
        &mut self,
        times: usize,
        source: &str,
        name: &str,
        rtype: u16,
    ) -> Result<Vec<Outcome>> {
        (0..times).map(|_| self.ask(source, name, rtype)).collect()
    }

    fn verdicts(&self) -> Result<Verdicts> {
        Ok(self.rig.loaded.verdicts(maps::XDP_COUNTERS)?)
    }
}

fn asked(source: &str, name: &str, rtype: u16) -> Result<Frame> {
    let wire = name.parse::<Name>()?;
    let source: IpAddr = source.parse()?;
    let mut frame =
        framed(question(wire.as_wire(), rtype, Some(true)), usize::from(source.is_ipv6()), &[])?;
    frame.source.set_ip(source);
    Ok(frame)
}

fn count(outcomes: &[Outcome], outcome: Outcome) -> usize {
    outcomes.iter().filter(|one| **one == outcome).count()
}

const WWW: &str = "www.example.org";
const CLIENT: &str = "198.51.100.1";

/// BIND's `slip`: 0 drops all, 1 slips all, n slips each n-th.
pub fn over_the_limit_responses_are_slipped_in_turn_and_else_dropped() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for client in [CLIENT, "2001:db8::1"] {
        for (slip, slipped) in [(0, 0), (1, 20), (2, 10), (3, 6), (10, 2)] {
            let mut limited = Limited::of(Policy { slip, ..five_each() })?;
            let outcomes = limited.ask_times(25, client, WWW, A)?;
            let what = || format!("{client}, slip {slip}: {outcomes:?}");
            ensure!(outcomes[..5].iter().all(|one| *one == Outcome::Positive), "{}", what());
            ensure!(count(&outcomes, Outcome::Slipped) == slipped, "{}", what());
            ensure!(count(&outcomes, Outcome::Limited) == 20 - slipped, "{}", what());
            let class = limited.verdicts()?.classes[Class::Positive.index()];
            let counted = [5, slipped as u64, 20 - slipped as u64, 0];
            ensure!(class == counted, "{class:?}, and not {counted:?}");
            // What is limited is there to be shown, by its netblock.
            let shown = limited.rig.loaded.limited()?;
            ensure!(shown.len() == 1, "{shown:?}");
            let prefix = if client == CLIENT { 96 + 24 } else { 56 };
            ensure!(shown[0].prefix == prefix, "{shown:?}");
            ensure!(shown[0].slips + shown[0].drops == 20, "{shown:?}");
            ensure!(Hit::of_number(shown[0].hit) == Some(Hit::Class(Class::Positive)), "{shown:?}");
            ensure!(shown[0].since_s != 0, "{shown:?}");
        }
    }
    Ok(Ended::Passed)
}

/// BIND's accounting: a name and its type; what does not exist or comes from a wildcard by what is above it.
pub fn each_class_has_its_rate_and_its_name() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    // Classes, two questions that share an account, and one that does not.
    let rows = [
        (Class::Positive, (WWW, A), (WWW, A), ("mail.example.org", A)),
        (Class::Positive, ("a.apps.example.org", A), ("b.apps.example.org", A), (WWW, A)),
        (Class::Nodata, (WWW, MX), (WWW, 29), ("mail.example.org", 29)),
        (Class::Nxdomain, ("no1.example.org", A), ("no2.example.org", A), ("x.www.example.org", A)),
        (Class::Referral, ("a.partner.example.org", A), ("b.partner.example.org", A), (WWW, A)),
        (Class::Dnskey, ("example.org", DNSKEY), ("example.org", DNSKEY), (WWW, A)),
    ];
    for (class, first, same, other) in rows {
        let mut rates = [0; Class::COUNT];
        rates[class.index()] = SLOW;
        let mut limited = Limited::of(Policy { rates, burst: 5, slip: 0, ..policy() })?;
        let what = || format!("{class:?} {first:?}");
        for (index, (name, rtype)) in [first, same, first, same, first].into_iter().enumerate() {
            let outcome = limited.ask(CLIENT, name, rtype)?;
            ensure!(outcome.is_answered(), "{}: {index} {outcome:?}", what());
        }
        for (name, rtype) in [first, same] {
            let outcome = limited.ask(CLIENT, name, rtype)?;
            ensure!(outcome == Outcome::Limited, "{}: {outcome:?}", what());
        }
        let outcome = limited.ask(CLIENT, other.0, other.1)?;
        ensure!(outcome.is_answered(), "{}, another: {outcome:?}", what());
        // Another netblock has accounts of its own, another address of the same one has not.
        let elsewhere = limited.ask("203.0.113.1", first.0, first.1)?;
        ensure!(elsewhere.is_answered(), "{}, elsewhere: {elsewhere:?}", what());
        let beside = limited.ask("198.51.100.77", first.0, first.1)?;
        ensure!(beside == Outcome::Limited, "{}, beside: {beside:?}", what());
        let counted = limited.verdicts()?.classes[class.index()];
        ensure!(counted[Verdict::Drop.index()] == 3, "{}: {counted:?}", what());
    }
    Ok(Ended::Passed)
}

/// What is charged is how much larger the response is than its query, to its class and to the totals of its netblock;
/// and the worst response is known.
pub fn large_answers_cost_what_they_amplify() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for (burst, amplification) in [(30, 0), (30, 1)] {
        let mut limited = Limited::of(Policy { burst, amplification, slip: 0, ..five_each() })?;
        let frame = asked(CLIENT, WWW, A)?.encode()?;
        let (run, _) = limited.rig.run_counted(&frame)?;
        let [query, response] = [&frame, &run.frame].map(|frame| frame.len() - HEADERS_LEN);
        ensure!(response > 2 * query, "{response} octets for {query} prove nothing");
        let outcomes = limited.ask_times(burst as usize, CLIENT, WWW, A)?;
        let answered = 1 + count(&outcomes, Outcome::Positive);
        let most =
            if amplification == 0 { burst as usize } else { burst as usize * query / response };
        ensure!(answered <= most && answered + 1 >= most, "{answered} of {most}: {outcomes:?}");
        let [now, _] = limited.rig.times()?;
        let worst = amplified::worst(&limited.rig.loaded.amplified()?, now).context("no worst")?;
        let worst = [worst.query, worst.response].map(usize::from);
        ensure!(worst == [query, response], "{worst:?} of {query}, {response}");

        let totals = Policy { total: SLOW, total_burst: burst, amplification, ..policy() };
        let mut limited = Limited::of(Policy { total_slip: 0, ..totals })?;
        let outcomes = limited.ask_times(burst as usize + 1, CLIENT, WWW, A)?;
        // One is asked for when the query comes, the rest is taken when it is known what is said.
        let sixteenths = if amplification == 0 { 16 } else { (16 * response).div_ceil(query) };
        let most = (burst as usize - 1) * 16 / sixteenths + 1;
        let answered = count(&outcomes, Outcome::Positive);
        ensure!(answered == most, "totals: {answered} of {most}: {outcomes:?}");
    }
    Ok(Ended::Passed)
}

/// With `dry-run` the same is counted, and all is answered.
pub fn dry_run_counts_and_answers() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let dry = Policy {
        mode: Mode::DryRun as u32,
        total: SLOW,
        total_burst: 8,
        passed: SLOW,
        ..five_each()
    };
    let mut limited = Limited::of(Policy { total_slip: 0, ..dry })?;
    let outcomes = limited.ask_times(25, CLIENT, WWW, A)?;
    ensure!(count(&outcomes, Outcome::Positive) == 25, "{outcomes:?}");
    let verdicts = limited.verdicts()?;
    ensure!(verdicts.classes[0] == [5, 10, 10, 0], "{verdicts:?}");
    ensure!(verdicts.totals == [0, 0, 17, 0], "{verdicts:?}");
    let passed = limited.ask_times(3, CLIENT, WWW, AXFR)?;
    ensure!(count(&passed, Outcome::MetaType) == 3, "{passed:?}");
    ensure!(limited.verdicts()?.classes[maps::PASSED] == [1, 0, 2, 0], "{:?}", limited.verdicts()?);
    // Off, nothing is counted; on, it is as it was counted.
    limited
        .set(&Limits { policy: Policy { mode: Mode::Off as u32, ..dry }, ..Limits::default() })?;
    ensure!(limited.ask(CLIENT, WWW, A)? == Outcome::Positive);
    ensure!(limited.verdicts()?.classes[0] == verdicts.classes[0]);
    limited
        .set(&Limits { policy: Policy { mode: Mode::On as u32, ..dry }, ..Limits::default() })?;
    ensure!(!limited.ask(CLIENT, WWW, A)?.eq(&Outcome::Positive));
    Ok(Ended::Passed)
}

/// Exempt prefixes are answered, and counted where they would not have been.
pub fn who_is_exempt_is_answered() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut limits = Limits {
        policy: Policy {
            slip: 0,
            total: SLOW,
            total_burst: 12,
            total_slip: 0,
            passed: SLOW,
            ..five_each()
        },
        ..Limits::default()
    };
    limits.exempt.insert("198.51.100.0/25".parse()?, 0);
    limits.exempt.insert("2001:db8::/32".parse()?, 0);
    // It ended in 1970.
    limits.exempt.insert("203.0.113.0/24".parse()?, 1);
    let mut limited = Limited::new(&limits)?;
    for client in [CLIENT, "2001:db8:7::1"] {
        let outcomes = limited.ask_times(20, client, WWW, A)?;
        ensure!(count(&outcomes, Outcome::Positive) == 20, "{outcomes:?}");
        let outcomes = limited.ask_times(5, client, WWW, AXFR)?;
        ensure!(count(&outcomes, Outcome::MetaType) == 5, "{outcomes:?}");
    }
    ensure!(limited.verdicts()?.exempt != 0);
    for client in ["198.51.100.200", "203.0.113.1", "2001:db9::1"] {
        let outcomes = limited.ask_times(20, client, WWW, A)?;
        let answered = count(&outcomes, Outcome::Positive);
        // The netblock of the first is that of a client who was exempt, and counted.
        ensure!(
            answered == if client == "198.51.100.200" { 0 } else { 5 },
            "{client}: {outcomes:?}"
        );
    }
    limits.exempt.clear();
    limited.set(&limits)?;
    ensure!(limited.ask(CLIENT, WWW, A)? == Outcome::Limited);
    Ok(Ended::Passed)
}

/// A deny list of prefixes, and of names with what is below them; each entry ends, or is only counted.
pub fn blocked_prefixes_and_names_get_nothing() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let block = Block::default();
    let mut limits = Limits::default();
    limits.block.insert("198.51.100.0/24".parse()?, block);
    limits.block.insert("203.0.113.0/24".parse()?, Block { until: 1, ..block });
    limits.block.insert("192.0.2.0/24".parse()?, Block { dry_run: true, ..block });
    limits.block.insert("2001:db8::/32".parse()?, block);
    let mut limited = Limited::new(&limits)?;
    for (client, outcome) in [
        (CLIENT, Outcome::Blocked),
        ("198.51.101.1", Outcome::Positive),
        ("203.0.113.1", Outcome::Positive),
        ("192.0.2.1", Outcome::Positive),
        ("2001:db8:ffff::1", Outcome::Blocked),
        ("2001:db9::1", Outcome::Positive),
    ] {
        let said = limited.ask(client, WWW, A)?;
        ensure!(said == outcome, "{client}: {said:?}");
    }
    ensure!(limited.verdicts()?.blocked_prefix == 3, "{:?}", limited.verdicts()?);

    let name = |text: &str| text.parse::<Name>();
    let mut limits = Limits::default();
    limits.block_names.insert(name("apps.example.org")?, block);
    // Only counted, but below a name that is not.
    limits.block_names.insert(name("c.apps.example.org")?, Block { dry_run: true, ..block });
    limits.block_names.insert(name("elsewhere.example")?, block);
    limits.block_names.insert(name("mail.example.org")?, Block { until: 1, ..block });
    limits.block_names.insert(name(WWW)?, Block { dry_run: true, ..block });
    limited.set(&limits)?;
    for (asked, rtype, outcome) in [
        ("apps.example.org", A, Outcome::Blocked),
        ("APPS.example.ORG", AXFR, Outcome::Blocked),
        ("a.b.c.apps.example.org", A, Outcome::Blocked),
        ("xapps.example.org", A, Outcome::Nxdomain),
        ("example.org", TXT, Outcome::Nodata),
        ("mail.example.org", A, Outcome::Positive),
        (WWW, A, Outcome::Positive),
        ("x.elsewhere.example", A, Outcome::Blocked),
        ("x.other.example", A, Outcome::NotOurs),
    ] {
        let said = limited.ask(CLIENT, asked, rtype)?;
        let is_right = said == outcome || (said.is_answered() && outcome == Outcome::Nodata);
        ensure!(is_right, "{asked}: {said:?}");
    }
    ensure!(limited.verdicts()?.blocked_name == 5, "{:?}", limited.verdicts()?);
    limited.set(&Limits::default())?;
    ensure!(limited.rig.config.limits == 0);
    ensure!(limited.ask(CLIENT, "apps.example.org", A)?.is_answered());
    Ok(Ended::Passed)
}

/// All that goes to a netblock, whatever it is, at several prefix lengths at once.
pub fn totals_are_limited_at_each_prefix_length() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let base = Policy { total: SLOW, total_burst: 4, total_slip: 0, ..policy() };
    // Prefix length, an address of the same netblock, and one of the next.
    for (level, prefix, beside, next) in [
        (0, 32, "198.51.100.1", "198.51.100.3"),
        (1, 24, "198.51.100.3", "198.51.101.1"),
        (2, 20, "198.51.111.1", "198.51.112.1"),
        (3, 18, "198.51.127.1", "198.51.128.1"),
        (0, 128, "2001:db8::1", "2001:db8::3"),
        (1, 64, "2001:db8::3", "2001:db8:0:1::1"),
        (2, 56, "2001:db8:0:ff::1", "2001:db8:0:100::1"),
        (3, 48, "2001:db8:0:ffff::1", "2001:db8:1::1"),
        (4, 32, "2001:db8:ffff::1", "2001:db9::1"),
    ] {
        let is_ipv6 = beside.contains(':');
        let client = if is_ipv6 { "2001:db8::1" } else { CLIENT };
        let only = |all: &[Level], place: usize| {
            let mut levels = all.to_vec();
            for (index, level) in levels.iter_mut().enumerate() {
                level.multiplier = if index == place { 2 } else { 0 };
            }
            levels
        };
        let mut policy = base;
        if is_ipv6 {
            policy.ipv6_levels.copy_from_slice(&only(&base.ipv6_levels, level));
        } else {
            policy.ipv4_levels.copy_from_slice(&only(&base.ipv4_levels, level));
        }
        let mut limited = Limited::of(policy)?;
        // Eight of any kind; what is passed up counts too.
        let mut outcomes = limited.ask_times(3, client, WWW, A)?;
        outcomes.extend(limited.ask_times(3, beside, "no.example.org", MX)?);
        outcomes.extend(limited.ask_times(2, client, WWW, AXFR)?);
        ensure!(count(&outcomes, Outcome::Limited) == 0, "/{prefix}: {outcomes:?}");
        for address in [client, beside] {
            let said = limited.ask(address, "mail.example.org", A)?;
            ensure!(said == Outcome::Limited, "/{prefix} {address}: {said:?}");
        }
        let said = limited.ask(next, WWW, A)?;
        ensure!(said == Outcome::Positive, "/{prefix} {next}: {said:?}");
        ensure!(limited.verdicts()?.totals == [0, 0, 2, 0], "{:?}", limited.verdicts()?);
        let shown = limited.rig.loaded.limited()?;
        let hit = shown.first().and_then(|one| Hit::of_number(one.hit));
        ensure!(hit == Some(Hit::Total(level)), "{shown:?}");
        ensure!(shown[0].prefix == prefix + if is_ipv6 { 0 } else { 96 }, "{shown:?}");
    }
    // With Knot's multipliers the address is the first to be limited, and the totals slip if they are told.
    let mut limited = Limited::of(Policy { total_slip: 2, ..base })?;
    let outcomes = limited.ask_times(14, CLIENT, WWW, A)?;
    ensure!(count(&outcomes, Outcome::Positive) == 4, "{outcomes:?}");
    ensure!(count(&outcomes, Outcome::Slipped) == 5, "{outcomes:?}");
    ensure!(limited.ask("198.51.100.3", WWW, A)? == Outcome::Positive);
    Ok(Ended::Passed)
}

/// The daemon is not flooded through what XDP does not answer.
pub fn what_is_passed_up_has_a_budget() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut limited = Limited::of(Policy { passed: 3, passed_total: 5, ..policy() })?;
    let outcomes = limited.ask_times(6, CLIENT, WWW, AXFR)?;
    ensure!(count(&outcomes, Outcome::MetaType) == 3, "{outcomes:?}");
    ensure!(count(&outcomes, Outcome::Limited) == 3, "{outcomes:?}");
    // Two are left of what all may have.
    let mut outcomes = Vec::new();
    for client in ["203.0.113.1", "192.0.2.1", "2001:db8::1"] {
        outcomes.push(limited.ask(client, "x.other.example", A)?);
    }
    ensure!(count(&outcomes, Outcome::NotOurs) == 2, "{outcomes:?}");
    ensure!(outcomes[2] == Outcome::Limited, "{outcomes:?}");
    // Answers have nothing to do with it.
    ensure!(limited.ask(CLIENT, WWW, A)? == Outcome::Positive);
    ensure!(limited.verdicts()?.classes[maps::PASSED] == [5, 0, 4, 0], "{:?}", limited.verdicts()?);
    Ok(Ended::Passed)
}

/// The longest name in the list decides.
pub fn a_zone_may_have_a_policy_of_its_own() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let name = |text: &str| text.parse::<Name>();
    let mut limits =
        Limits { policy: Policy { burst: 2, slip: 0, ..five_each() }, ..Limits::default() };
    limits.overrides.insert(name("org")?, Policy { slip: 0, ..five_each() });
    limits.overrides.insert(name("apps.example.org")?, policy());
    let mut limited = Limited::new(&limits)?;
    for (asked, answered) in [(WWW, 5), ("x.apps.example.org", 20)] {
        let outcomes = limited.ask_times(20, CLIENT, asked, A)?;
        ensure!(count(&outcomes, Outcome::Limited) == 20 - answered, "{asked}: {outcomes:?}");
    }
    // Without the list the default counts.
    limits.overrides.clear();
    limited.set(&limits)?;
    let outcomes = limited.ask_times(5, "203.0.113.1", WWW, A)?;
    ensure!(count(&outcomes, Outcome::Positive) == 2, "{outcomes:?}");
    Ok(Ended::Passed)
}

/// Two CPUs that take queries of one netblock at the same moment allow no more than one would.
pub fn packets_of_one_netblock_may_come_on_both_cores() -> Result<Ended> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    const BURST: u32 = 2000;
    const TIMES: u32 = 20_000;
    let only_class = Policy { rates: [SLOW; Class::COUNT], burst: BURST, slip: 0, ..policy() };
    let only_total = Policy {
        total: SLOW,
        total_burst: BURST,
        total_slip: 0,
        ipv4_levels: Policy::new().ipv4_levels.map(|level| Level { multiplier: 1, ..level }),
        ..policy()
    };
    for policy in [only_class, only_total] {
        let mut limited = Limited::of(policy)?;
        let cpus = thread::available_parallelism()?.get().min(2);
        // `measure` asks anew each time, so that the programs run one right after the other.
        let mut lab = programs::load(&["measure"])?;
        programs::ask(&mut lab, &[programs::template_of(&asked(CLIENT, WWW, A)?, None)?])?;
        programs::tell(&mut lab, &[(control::TEMPLATES, 1)])?;
        let serve = limited.rig.loaded.entry()?.fd()?.try_clone()?;
        let measured = lab.map_mut("MEASURED").context("no map MEASURED")?;
        ProgramArray::try_from(measured)?.set(0, &serve, 0)?;
        let measure: &Xdp = programs::xdp(&mut lab, "measure")?;
        thread::scope(|scope| -> Result<()> {
            let on = |cpu: usize| {
                pin_to_core(cpu)?;
                prog_test_run::run(measure, &[0; 64], TIMES)
            };
            let threads: Vec<_> = (0..cpus).map(|cpu| scope.spawn(move || on(cpu))).collect();
            for thread in threads {
                thread.join().ok().context("a thread panicked")??;
            }
            Ok(())
        })?;
        let counters = limited.rig.loaded.counters(maps::XDP_COUNTERS)?;
        let answered = counters[Outcome::Positive.index()];
        let dropped = counters[Outcome::Limited.index()];
        ensure!(answered + dropped == u64::from(TIMES) * cpus as u64, "{answered} + {dropped}");
        // A response for each second that it took, and one for the other CPU.
        let most = u64::from(BURST) + 10;
        ensure!(answered >= u64::from(BURST) && answered <= most, "{answered} of {BURST}");
    }
    Ok(Ended::Passed)
}
