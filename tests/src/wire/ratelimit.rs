//! Rate limits as an operator has them: commands to a daemon that answers a flood, and a reflection scene.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use sealdns::control::reply::{
    FailedCommand,
    ratelimit::{
        BlockList, Netblock, NetblockExplanation, NetblockState, Origin, RateLimitChange,
        RateLimits, TopNetblocks, Verdict as Done,
    },
};
use serde_json::Value;
use testbed::{
    frames::{ETHERNET_LEN, IPV4_LEN, UDP_LEN},
    inject::Injector,
    net::{self, End, Namespace},
};
use tests::{harness::Verdict, prog_test_run::lab, servers::DEMO};

use crate::wire::{
    client::{WITH_DNSSEC, client, query, server},
    stage::{Stage, obstacle},
};

const A: u16 = 1;

/// How long commands have.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long is waited for what may still come.
const REST: Duration = Duration::from_millis(300);

/// What a flood got.
#[derive(Debug, Default, PartialEq)]
struct Got {
    /// Responses that are whole.
    whole: usize,
    /// Responses with TC that say nothing else.
    slipped: usize,
    /// The most octets that one of those had.
    largest_slip: usize,
    /// How long the flood took.
    took: Duration,
}

impl Got {
    fn dropped(&self, sent: usize) -> usize {
        sent - self.whole - self.slipped
    }
}

/// Queries a second of a flood.
const PER_SECOND: u32 = 400;

/// Sends a query so many times, evenly, and counts what comes back.
fn flood(stage: &Stage, query: &[u8], count: u32) -> Result<Got> {
    flood_from(stage, client(0)?, query, count)
}

/// The same from an address that the client has.
fn flood_from(stage: &Stage, client: IpAddr, query: &[u8], count: u32) -> Result<Got> {
    stage.pair.client.enter(|| -> Result<Got> {
        let socket = UdpSocket::bind(SocketAddr::new(client, 0))?;
        socket.connect(server(usize::from(client.is_ipv6()))?)?;
        socket.set_read_timeout(Some(REST))?;
        let mut got = Got::default();
        let start = Instant::now();
        thread::scope(|scope| -> Result<()> {
            let sender = scope.spawn(|| -> Result<Duration> {
                for number in 0..count {
                    let at = Duration::from_secs(1) * number / PER_SECOND;
                    // The rate is what the test gives.
                    thread::sleep(at.saturating_sub(start.elapsed()));
                    socket.send(query)?;
                }
                Ok(start.elapsed())
            });
            let mut buffer = [0; 4096];
            loop {
                match socket.recv(&mut buffer) {
                    Ok(len) if buffer[2] & 2 != 0 && buffer[6..8] == [0, 0] => {
                        got.slipped += 1;
                        got.largest_slip = got.largest_slip.max(len);
                    }
                    Ok(_) => got.whole += 1,
                    Err(_) if sender.is_finished() => break,
                    Err(_) => {}
                }
            }
            got.took = sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
            Ok(())
        })?;
        Ok(got)
    })?
}

/// The daemon over the demo's zone. While the injector lives there is a program on the client's end, without
/// which a veth does not take what XDP sends back.
fn stage(test: &str) -> Result<(Stage, Injector)> {
    let stage = Stage::new(test, &[(DEMO.0, DEMO.1, "")])?;
    let injector = stage.pair.client.enter(|| Injector::new(&lab(), "client"))??;
    Ok((stage, injector))
}

/// The words of `sealdns ratelimit …`.
fn words(arguments: &str) -> Vec<&str> {
    ["ratelimit"].into_iter().chain(arguments.split_whitespace()).collect()
}

/// Runs `sealdns ratelimit …` that changes something, which must succeed.
fn ratelimit(stage: &Stage, arguments: &str) -> Result<()> {
    stage.reply::<RateLimitChange>(&words(arguments)).map(drop)
}

/// What is said of the client, and the exit code.
fn explain(stage: &Stage, client: &str) -> Result<(i32, NetblockExplanation)> {
    stage.ended(&words(&format!("explain {client}")))
}

/// The row of `top` for the client's netblock and a limit.
fn row(stage: &Stage, limit: &str) -> Result<Netblock> {
    let top: TopNetblocks = stage.reply(&words("top"))?;
    let ours =
        |row: &&Netblock| row.netblock.to_string() == "198.51.100.0/24" && row.limit == limit;
    let row = top.netblocks.iter().find(ours);
    Ok(row.with_context(|| format!("no such netblock: {top:?}"))?.clone())
}

fn over(row: &Netblock) -> u64 {
    row.slips + row.drops
}

/// One rate, and nothing else that could limit.
const TEN: &str = "set mode=on rate=10 burst=10 slip=2 total-rate=0 miss-rate=0 miss-total-rate=0";

/// Every command that changes something does so within a second, in the answers that clients get; `top` and
/// `explain` name who is limited.
pub fn commands_take_effect_at_once() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let (stage, _injector) = stage("rate")?;
    let www = query("www.example.org", A, WITH_DNSSEC);
    const COUNT: u32 = 800;
    let all = COUNT as usize;

    let off = flood(&stage, &www, COUNT)?;
    ensure!(off.whole == all, "with the mode off: {off:?}");
    let answered_before = stage.sent_by_xdp()? + stage.sent_by_tcx()?;
    ensure!(answered_before >= u64::from(COUNT), "the daemon's sockets answered");

    // Over the rate: half slips, half drops.
    ratelimit(&stage, TEN)?;
    let on = flood(&stage, &www, COUNT)?;
    let allowed = 10.0 + 10.0 * on.took.as_secs_f64();
    let whole = on.whole as f64;
    ensure!((allowed * 0.85..=allowed + 3.0).contains(&whole), "{allowed} allowed: {on:?}");
    let difference = on.slipped.abs_diff(on.dropped(all));
    ensure!(difference <= all / 20, "{on:?}, {} dropped", on.dropped(all));
    ensure!(on.largest_slip <= www.len(), "a slip of {} octets: {on:?}", on.largest_slip);

    let listed = row(&stage, "positive")?;
    let expected = (all - on.whole) as u64;
    ensure!(over(&listed).abs_diff(expected) <= expected / 10, "{listed:?}, {on:?}");
    ensure!(listed.state == NetblockState::Limited, "{listed:?}");
    ensure!(listed.allowed_per_second == Some(10), "{listed:?}");
    let (code, why) = explain(&stage, "198.51.100.1")?;
    ensure!(code == 3 && why.verdict == Done::Limited, "{code} {why:?}");
    let reason = &why.reason;
    ensure!(reason.contains("198.51.100.0/24") && reason.contains("10 per second"), "{why:?}");
    ensure!(why.limits[0].since.is_some(), "{why:?}");
    let (code, other) = explain(&stage, "203.0.113.1")?;
    ensure!(code == 0 && other.verdict == Done::NotLimited, "{code} {other:?}");

    // A bad setting changes nothing; a good one counts from the next packet.
    let (code, refused): (_, FailedCommand) = stage.ended(&words("set rate=1000 slip=11"))?;
    ensure!(code == 1 && refused.error.code == "ratelimit", "{code} {refused:?}");
    ensure!(stage.reply::<RateLimits>(&words("show"))?.drift);
    let still = flood(&stage, &www, 200)?;
    ensure!(still.whole < 40, "the refused change is in effect: {still:?}");
    ratelimit(&stage, "set rate=2000 burst=0")?;
    ensure!(flood(&stage, &www, COUNT)?.whole == all, "the new rate is not in effect");

    // Exempt, and not any longer.
    ratelimit(&stage, TEN)?;
    ratelimit(&stage, "exempt add 198.51.100.1")?;
    let exempt = flood(&stage, &www, COUNT)?;
    ensure!(exempt.whole == all, "an exempt client: {exempt:?}");
    ensure!(explain(&stage, "198.51.100.1")?.1.verdict == Done::Exempt);
    ratelimit(&stage, "exempt del 198.51.100.1")?;
    ensure!(flood(&stage, &www, COUNT)?.whole < all / 4, "still exempt");

    // Blocked: a prefix, a name.
    ratelimit(&stage, "mode off")?;
    ratelimit(&stage, "block add 198.51.100.0/25")?;
    let blocked = flood(&stage, &www, 40)?;
    ensure!((blocked.whole, blocked.slipped) == (0, 0), "a blocked prefix: {blocked:?}");
    ensure!(explain(&stage, "198.51.100.1")?.1.verdict == Done::Blocked);
    ratelimit(&stage, "block del 198.51.100.0/25")?;
    ratelimit(&stage, "block add www.example.org --for 1h")?;
    let blocked = flood(&stage, &www, 40)?;
    ensure!((blocked.whole, blocked.slipped) == (0, 0), "a blocked name: {blocked:?}");
    let below = flood(&stage, &query("x.www.example.org", A, WITH_DNSSEC), 40)?;
    ensure!(below.whole == 0, "below a blocked name: {below:?}");
    let other = flood(&stage, &query("mail.example.org", A, WITH_DNSSEC), 40)?;
    ensure!(other.whole == 40, "beside a blocked name: {other:?}");
    let list: BlockList = stage.reply(&words("block list"))?;
    ensure!(list.blocked[0].target == "www.example.org.", "{list:?}");
    ensure!(list.blocked[0].until.is_some(), "{list:?}");
    ratelimit(&stage, "block add www.example.org --dry-run")?;
    ensure!(flood(&stage, &www, 40)?.whole == 40, "a block that only counts");
    ratelimit(&stage, "block del www.example.org")?;

    // Only counted.
    ratelimit(&stage, TEN)?;
    ratelimit(&stage, "mode dry-run")?;
    let before = over(&row(&stage, "positive")?);
    let dry = flood(&stage, &www, COUNT)?;
    ensure!(dry.whole == all, "dry-run: {dry:?}");
    let counted = over(&row(&stage, "positive")?).saturating_sub(before);
    ensure!(counted > COUNT as u64 * 8 / 10, "dry-run counted {counted}");
    Ok(Verdict::Passed)
}

/// A row of the table of behaviours: options in BIND's words (ours where it has none), what is asked for, and what
/// then becomes of [`ASKED`] queries in [`ASKED`] / [`PER_SECOND`] seconds.
struct Row {
    options: &'static str,
    name: &'static str,
    rtype: u16,
    /// Whole responses, at least and at most.
    whole: (usize, usize),
    /// Of the rest every so many-th is slipped; 0 for none.
    slip: usize,
}

/// Queries of a row: 200 ms of them.
const ASKED: u32 = 80;

/// What a burst of five and twenty a second allow in that time, and what a window of 15 s does of it; all.
const LIMITED: (usize, usize) = (5, 12);
const BURST: (usize, usize) = (5, 6);
const ALL: (usize, usize) = (ASKED as usize, ASKED as usize);

/// No limit but those of a row; and where it has one for a class, it is five at once and twenty a second.
const NONE: &str = "mode=on responses-per-second=0 positive-rate=rate nodata-per-second=rate \
                    nxdomains-per-second=rate referrals-per-second=rate errors-per-second=rate dnskey-rate=rate \
                    any-rate=rate burst=5 window=0s slip=2 leak=2 total-rate=0 total-burst=0 total-slip=slip \
                    ipv4-prefix-length=24 ipv6-prefix-length=56 qps-scale=0 cost=response miss-rate=0 \
                    miss-total-rate=0";

/// Each of BIND's options does over the wire what its manual says (Reference Manual, "Response Rate Limiting"), for
/// each class and family.
pub fn options_do_over_the_wire_what_binds_do() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    const WWW: &str = "www.example.org";
    const NAME: &str = "no-such-name.example.org";
    const CUT: &str = "x.partner.example.org";
    const SIP: &str = "sip.example.org";
    const NS: u16 = 2;
    const MX: u16 = 15;
    const DNSKEY: u16 = 48;
    const ANY: u16 = 255;
    let row = |options, name, rtype, whole, slip| Row { options, name, rtype, whole, slip };
    let rows = [
        // One rate for all classes, and each way to slip.
        row("responses-per-second=20 slip=0", WWW, A, LIMITED, 0),
        row("responses-per-second=20 slip=1", WWW, A, LIMITED, 1),
        row("responses-per-second=20 slip=2", WWW, A, LIMITED, 2),
        row("responses-per-second=20 slip=3", WWW, A, LIMITED, 3),
        row("responses-per-second=20 slip=10", WWW, A, LIMITED, 10),
        // Each class by itself, and that it is no other's.
        row("positive-rate=20", WWW, A, LIMITED, 2),
        row("positive-rate=20", WWW, MX, ALL, 0),
        row("nodata-per-second=20", WWW, MX, LIMITED, 2),
        row("nodata-per-second=20", WWW, A, ALL, 0),
        row("nxdomains-per-second=20", NAME, A, LIMITED, 2),
        row("nxdomains-per-second=20", WWW, MX, ALL, 0),
        row("referrals-per-second=20", CUT, A, LIMITED, 2),
        row("referrals-per-second=20", NAME, A, ALL, 0),
        row("dnskey-rate=20", "example.org", DNSKEY, LIMITED, 2),
        row("dnskey-rate=20", "example.org", NS, ALL, 0),
        row("any-rate=20", WWW, ANY, LIMITED, 2),
        row("any-rate=20", NAME, ANY, ALL, 0),
        // A class's own rate counts before that of all; 0 is no limit.
        row("responses-per-second=20 nxdomains-per-second=0", NAME, A, ALL, 0),
        row("responses-per-second=0 nxdomains-per-second=20 slip=1", NAME, A, LIMITED, 1),
        // Errors have no shorter form: some are sent whole.
        row("errors-per-second=20 leak=0", "www.example.net", A, LIMITED, 0),
        row("errors-per-second=20 leak=3", "www.example.net", A, (27, 36), 0),
        row("errors-per-second=20", WWW, A, ALL, 0),
        // Who keeps asking stays in debt.
        row("responses-per-second=20 window=15", "mail.example.org", A, BURST, 2),
        // All responses together: slipped as `slip` says, or as their own key does (BIND's all-per-second has 0).
        row("rate-limit=20 instant-limit=5", SIP, A, LIMITED, 2),
        row("rate-limit=20 instant-limit=5 slip=0", SIP, A, LIMITED, 0),
        row("rate-limit=20 instant-limit=5 slip=1", SIP, A, LIMITED, 1),
        row("rate-limit=20 instant-limit=5 slip=10", SIP, A, LIMITED, 10),
        row("rate-limit=20 instant-limit=5 total-slip=0", SIP, A, LIMITED, 0),
        row("rate-limit=20 instant-limit=5 slip=0 total-slip=1", SIP, A, LIMITED, 1),
        row("rate-limit=20 instant-limit=5 slip=1 total-slip=0", SIP, A, LIMITED, 0),
        // Only counted.
        row("log-only=yes responses-per-second=20", WWW, A, ALL, 0),
    ];
    let (stage, _injector) = stage("rateopts")?;
    for Row { options, name, rtype, whole, slip } in rows {
        ratelimit(&stage, &format!("set {NONE}"))?;
        ratelimit(&stage, &format!("set {options}"))?;
        for family in 0..2 {
            let query = query(name, rtype, WITH_DNSSEC);
            let got = flood_from(&stage, client(family)?, &query, ASKED)?;
            let what = || format!("{options}, {name} {rtype}, family {family}: {got:?}");
            ensure!((whole.0..=whole.1).contains(&got.whole), "{}", what());
            let slipped = (ASKED as usize - got.whole).checked_div(slip).unwrap_or(0);
            ensure!(got.slipped.abs_diff(slipped) <= usize::from(slip > 1), "{}", what());
            ensure!(got.largest_slip <= query.len(), "{}", what());
        }
    }

    // Netblocks: two addresses of one /24 or /64 share it, or each has its own.
    let beside = ["198.51.100.77", "2001:db8::77"];
    for (address, len) in beside.into_iter().zip([24, 64]) {
        stage.pair.client.ip(&format!("addr add {address}/{len} dev client nodad"))?;
    }
    for (options, whole) in [
        ("ipv4-prefix-length=24 ipv6-prefix-length=56", (0, 7)),
        ("ipv4-prefix-length=32 ipv6-prefix-length=128", LIMITED),
    ] {
        ratelimit(&stage, &format!("set {NONE} responses-per-second=20 {options}"))?;
        for (family, beside) in beside.into_iter().enumerate() {
            let query = query("host.example.org", A, WITH_DNSSEC);
            // In debt for half a second, so that the address beside comes in time.
            ratelimit(&stage, "set window=1")?;
            let first = flood_from(&stage, client(family)?, &query, ASKED)?;
            ensure!((BURST.0..=BURST.1).contains(&first.whole), "{options}, {family}: {first:?}");
            ratelimit(&stage, "set window=0")?;
            let other = flood_from(&stage, beside.parse()?, &query, ASKED)?;
            ensure!((whole.0..=whole.1).contains(&other.whole), "{options}, {family}: {other:?}");
        }
    }

    // All rates fall when there are more queries than `qps-scale`: 400 a second are ten times as many.
    const MANY: u32 = 3 * PER_SECOND;
    let www = query(WWW, A, WITH_DNSSEC);
    ratelimit(&stage, &format!("set {NONE} responses-per-second=200 burst=1"))?;
    let unscaled = flood(&stage, &www, MANY)?;
    ratelimit(&stage, "set qps-scale=40")?;
    let scaled = flood(&stage, &www, MANY)?;
    ensure!(unscaled.whole > 500 && scaled.whole < 400, "{unscaled:?}, scaled {scaled:?}");
    Ok(Verdict::Passed)
}

/// A restart forgets what was not saved and keeps what was; a reload forgets neither.
pub fn a_restart_keeps_what_was_saved() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let (mut stage, _injector) = stage("ratesave")?;
    let www = query("www.example.org", A, WITH_DNSSEC);
    ratelimit(&stage, &format!("{TEN} --save"))?;
    ratelimit(&stage, "set slip=0")?;
    ratelimit(&stage, "block add mail.example.org --save")?;
    ratelimit(&stage, "block add www.example.org")?;
    ratelimit(&stage, "exempt add 203.0.113.0/24")?;
    stage.command(&["zone", "reload"])?;
    let silent = flood(&stage, &www, 20)?;
    ensure!(silent.whole == 0, "a reload forgot a block: {silent:?}");
    stage.restart_in_order()?;
    let got = flood(&stage, &www, 400)?;
    ensure!(got.whole >= 10 && got.whole < 40, "the saved rate, not the unsaved block: {got:?}");
    ensure!(got.slipped > 100, "the unsaved slip=0 is in effect: {got:?}");
    let mail = flood(&stage, &query("mail.example.org", A, WITH_DNSSEC), 20)?;
    ensure!(mail.whole == 0, "the saved block is forgotten: {mail:?}");
    let shown: RateLimits = stage.reply(&words("show"))?;
    let of = |key: &str| shown.settings.iter().find(|setting| setting.key == key);
    let rate = of("rate").context("no rate")?;
    let (now, file) = (Some(10.into()), Some(50.into()));
    ensure!((&rate.value, &rate.file) == (&now, &file), "{rate:?}");
    ensure!(rate.origin == Origin::Saved, "{rate:?}");
    ensure!(of("slip").is_some_and(|slip| !slip.drift), "{shown:?}");
    ensure!(shown.exempt == 0 && shown.blocked == 1, "{shown:?}");
    Ok(Verdict::Passed)
}

//----------- Reflection -----------------------------------------------------------------------------

/// Where the victim lives, whose address the attacker forges.
const VICTIM: &str = "203.0.113.7";

/// Queries that the attacker sends.
const FORGED: u32 = 6000;
/// For how long.
const ATTACK: Duration = Duration::from_secs(3);

/// Octets that an interface received, link-layer headers included.
fn received(namespace: &Namespace, interface: &str) -> Result<u64> {
    let mut command = Command::new("ip");
    command.args(["-s", "-j", "link", "show", "dev", interface]);
    let shown = namespace.output(&mut command, PATIENCE)?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    shown[0]["stats64"]["rx"]["bytes"].as_u64().with_context(|| format!("no count: {shown}"))
}

/// An attacker who forges a victim's address, the victim, and the router between them and the server.
struct Scene {
    attacker: Namespace,
    victim: Namespace,
}

impl Scene {
    /// Joins both to the client's namespace of the stage, which becomes the router.
    fn new(stage: &Stage) -> Result<Self> {
        let router = &stage.pair.client;
        let attacker = Namespace::new("reflect-attacker")?;
        let victim = Namespace::new("reflect-victim")?;
        for (namespace, interface, own, routers) in [
            (&attacker, "attacker", "192.0.2.1/30", "192.0.2.2/30"),
            (&victim, "victim", "203.0.113.7/24", "203.0.113.1/24"),
        ] {
            let to = format!("to-{interface}");
            net::veth(
                &End { namespace: router, interface: &to, addresses: &[routers] },
                &End { namespace, interface, addresses: &[own] },
            )?;
            let gateway = net::address_of(routers)?;
            namespace.ip(&format!("route add default via {gateway}"))?;
        }
        // The attacker's network does not check where its packets claim to come from (BCP 38).
        attacker.ip(&format!("address add {VICTIM}/32 dev lo"))?;
        for setting in [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.to-attacker.rp_filter=0",
        ] {
            let set = router.output(Command::new("sysctl").args(["-w", setting]), PATIENCE)?;
            ensure!(set.status.success(), "{setting}: {set:?}");
        }
        stage.pair.server.ip("route add default via 198.51.100.1")?;
        Ok(Self { attacker, victim })
    }

    /// Asks for random names, which have the largest answers, in the victim's name; octets sent by the attacker
    /// and received by the victim, with all headers.
    fn attack(&self) -> Result<(u64, u64)> {
        let query = |number: u32| query(&format!("q{number:05}.example.org"), A, WITH_DNSSEC);
        let before = received(&self.victim, "victim")?;
        self.attacker.enter(|| -> Result<()> {
            let forged: IpAddr = VICTIM.parse()?;
            let socket = UdpSocket::bind(SocketAddr::new(forged, 4444))?;
            socket.connect(server(0)?)?;
            let start = Instant::now();
            for number in 0..FORGED {
                // The rate is what the test gives.
                thread::sleep((ATTACK * number / FORGED).saturating_sub(start.elapsed()));
                socket.send(&query(number))?;
            }
            Ok(())
        })??;
        // Nothing tells that no more comes.
        thread::sleep(REST);
        let headers = (ETHERNET_LEN + IPV4_LEN + UDP_LEN) as u64;
        let sent = (query(0).len() as u64 + headers) * u64::from(FORGED);
        Ok((sent, received(&self.victim, "victim")? - before))
    }
}

/// What a victim receives whose address an attacker forges, without limits and with the default ones: printed,
/// and with limits less than the attacker sends.
pub fn a_victim_receives_less_than_the_attacker_sends() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let (stage, _injector) = stage("reflect")?;
    let scene = Scene::new(&stage)?;
    let (sent, without) = scene.attack()?;
    ratelimit(&stage, "mode on")?;
    let (_, with) = scene.attack()?;
    ratelimit(&stage, "set slip=0")?;
    // What the attacks before have taken is paid back with time, which the test gives.
    thread::sleep(Duration::from_secs(2));
    let (_, silent) = scene.attack()?;
    let factor = |received: u64| received as f64 / sent as f64;
    println!(
        "reflection: in {ATTACK:?} the attacker sends {FORGED} queries for random names, {sent} octets; the victim \
         receives {without} octets without limits ({:.1} times as much), {with} with the default ones ({:.2} \
         times), {silent} with slip=0 ({:.2} times)",
        factor(without),
        factor(with),
        factor(silent)
    );
    ensure!(factor(without) > 3.0, "nothing was reflected");
    // Every second one over the limit is slipped, which is as large as its query.
    ensure!(factor(with) < 0.9 && with < without / 5, "{with} of {without} octets came through");
    ensure!(silent < with / 2, "{silent} octets came through without slips");
    let top: TopNetblocks = stage.reply(&words("top"))?;
    let worst = top.netblocks[0].netblock.to_string();
    ensure!(worst == "203.0.113.0/24" || worst == "203.0.113.7/32", "{top:?}");
    Ok(Verdict::Passed)
}
