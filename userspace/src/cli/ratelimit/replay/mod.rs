//! `sealdns ratelimit test`: a capture through the limiter's own arithmetic, by the capture's own clock.
//!
//! Responses count where they are in the capture; else every query counts as one that is answered. Which policy
//! counts and what is blocked is decided as the daemon's sockets decide it ([`CompiledLimits`](crate::ratelimit::compiled::CompiledLimits)).
//! Only the table that XDP has is kept, and the list of netblocks that were over a limit; both have bounds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use serde::Serialize;
use xdp_common::Outcome;
use xdp_common::limit::{Class, Mode, Policy, Verdict};

use super::{ask, pairs, usage};
use crate::cli::Global;
use crate::cli::output::{CliError, CommandResult, Exit, Output, cell, table, time_cell, word};
use crate::config::AddressPrefix;
use crate::config::Config;
use crate::config::ratelimit::{RateLimit, ZoneRateLimit};
use crate::control::protocol::Failure;
use crate::control::ratelimit::RateLimitAction;
use crate::control::reply::ratelimit::{BlockList, ExemptList, RateLimits, Setting, ZoneSettings};
use crate::observe::word::PerWord;
use crate::ratelimit::changes::Target;
use crate::ratelimit::limits::{Block, Limits};
use crate::ratelimit::replay::capture::{self, Datagram};
use crate::ratelimit::replay::limiter::ReplayLimiter;
use crate::ratelimit::replay::response::{self, CountedResponse};
use crate::ratelimit::settings::{BadSetting, setting};
use crate::zone::Name;

/// What to replay, and by which policy.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// The capture
    #[arg(value_name = "PCAP")]
    file: PathBuf,
    /// Settings instead of those of the configuration file, such as rate=20
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Use the settings, zones, exempt clients and blocks of the running daemon
    #[arg(long)]
    live: bool,
    /// The server's port
    #[arg(long, value_name = "PORT", default_value_t = 53)]
    port: u16,
    /// Show at most this many netblocks
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
}

/// What a query is taken to be answered with if the answer is not in the capture, in octets.
const UNKNOWN_RESPONSE: usize = 512;

/// What came of a replay.
#[derive(Default)]
struct Tally {
    responses: u64,
    other_packets: u64,
    first_ns: Option<u64>,
    last_ns: u64,
    verdicts: [[u64; Verdict::COUNT]; Class::COUNT],
    blocked: u64,
    octets_in_full: u64,
    octets_limited: u64,
}

/// Replays it and says who would be limited.
pub fn run(args: &TestArgs, global: &Global, output: &Output) -> CommandResult {
    let limits = limits(args, global)?;
    let replayed = measure(args, &limits).map_err(|message| CliError {
        exit: Exit::Failed,
        failure: Failure::new("capture", format!("{}: {message}", args.file.display())),
    })?;
    output.data(&replayed, text);
    Ok(Exit::Ok)
}

fn measure(args: &TestArgs, limits: &Limits) -> Result<ReplayReport, String> {
    // Which of the two is in the capture is known only once it is read.
    let mut has_responses = false;
    capture::read(&args.file, |datagram| has_responses |= is_response(&datagram, args.port))?;
    let mut limiter = ReplayLimiter::new(limits);
    let mut tally = Tally::default();
    let others = capture::read(&args.file, |datagram| {
        let counted = match has_responses {
            true if is_response(&datagram, args.port) => response::of_response(datagram.payload)
                .map(|counted| (datagram.destination, counted)),
            false if datagram.destination_port == args.port => {
                response::of_query(datagram.payload, UNKNOWN_RESPONSE)
                    .map(|counted| (datagram.source, counted))
            }
            _ => None,
        };
        match counted {
            Some((client, counted)) => {
                tally.count(&mut limiter, client, &counted, datagram.time_ns)
            }
            None => tally.other_packets += 1,
        }
    })?;
    tally.other_packets += others;
    if tally.responses == 0 {
        return Err(format!("there is no DNS over UDP port {} in it", args.port));
    }
    Ok(tally.report(&limiter, has_responses, args.limit))
}

fn is_response(datagram: &Datagram<'_>, port: u16) -> bool {
    datagram.source_port == port && datagram.payload.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// What is limited: as the daemon or the file says, and over it what the command line says. The mode is on, for
/// what would be done is the question; but not for a zone that says it is off.
fn limits(args: &TestArgs, global: &Global) -> Result<Limits, CliError> {
    let (mut settings, mut zones) =
        match (Config::load(&global.config_path()), global.config.is_some()) {
            (Ok(config), _) => {
                let zones = config.zones().map(|zone| (zone.name.clone(), zone.ratelimit.clone()));
                let zones = zones.filter_map(|(name, limits)| Some((name, limits?))).collect();
                (config.ratelimit, zones)
            }
            (Err(error), true) => return Err(error.into()),
            (Err(_), false) => (RateLimit::default(), BTreeMap::new()),
        };
    let mut limits = Limits::default();
    if args.live {
        let live: RateLimits = ask(global, RateLimitAction::Show)?;
        settings = live_settings(&settings, live.settings)?;
        zones = live_zones(live.zones)?;
        settings.exempt = live_exempt(&ask(global, RateLimitAction::ExemptList)?);
        live_blocks(&ask(global, RateLimitAction::BlockList)?, &mut limits)?;
    }
    let mut set = vec![("mode".to_owned(), "on".to_owned())];
    set.splice(0..0, pairs(&args.set)?);
    let set = set.iter().map(|(key, value)| setting(key, value)).collect::<Result<_, _>>();
    let settings = settings.with(&set.map_err(bad)?).map_err(bad)?;
    limits.policy = settings.policy();
    let over = |zone: &ZoneRateLimit| {
        let policy = zone.over(&settings).policy();
        let is_off = policy.mode == Mode::Off as u32;
        Policy { mode: if is_off { Mode::Off } else { Mode::On } as u32, ..policy }
    };
    limits.overrides = zones.iter().map(|(name, zone)| (name.clone(), over(zone))).collect();
    limits.exempt = settings.exempt.iter().map(|prefix| (prefix.0.trunc(), 0)).collect();
    limits.check().map_err(|error| usage(error.to_string()))?;
    Ok(limits)
}

fn bad(bad: BadSetting) -> CliError {
    CliError {
        exit: Exit::Usage,
        failure: Failure { code: "ratelimit".into(), message: bad.message, hint: bad.hint },
    }
}

/// The daemon's settings in the place of those of the file.
fn live_settings(file: &RateLimit, live: Vec<Setting>) -> Result<RateLimit, CliError> {
    let set = live.into_iter().filter_map(|setting| Some((setting.key, setting.value?)));
    file.with(&set.collect()).map_err(bad)
}

/// What zones say otherwise in the daemon.
fn live_zones(live: Vec<ZoneSettings>) -> Result<BTreeMap<Name, ZoneRateLimit>, CliError> {
    let zone = |ZoneSettings { zone, settings }: ZoneSettings| {
        Some((zone.parse().ok()?, settings.try_into().ok()?))
    };
    live.into_iter().map(zone).collect::<Option<_>>().ok_or_else(|| {
        usage("the daemon, of another version, has policies that are not known here")
    })
}

/// Who is exempt in the daemon.
fn live_exempt(live: &ExemptList) -> Vec<AddressPrefix> {
    let exempt = live.exempt.iter().filter(|one| one.exempt);
    exempt.map(|one| AddressPrefix(one.prefix)).collect()
}

/// What the daemon blocks: all of it from the capture's first second to its last, whenever that was.
fn live_blocks(live: &BlockList, limits: &mut Limits) -> Result<(), CliError> {
    for blocked in &live.blocked {
        let block = Block { until: 0, dry_run: blocked.dry_run };
        match Target::from_text(&blocked.target).map_err(usage)? {
            Target::Prefix(prefix) => drop(limits.block.insert(prefix, block)),
            Target::Name(name) => drop(limits.block_names.insert(name, block)),
        }
    }
    Ok(())
}

/// What a replay found.
#[derive(Debug, PartialEq, Serialize)]
struct ReplayReport {
    /// What each packet that counts is.
    counted: CountedAs,
    responses: u64,
    other_packets: u64,
    /// From the first to the last.
    seconds: f64,
    answered: u64,
    leaked: u64,
    slipped: u64,
    dropped: u64,
    blocked: u64,
    octets: u64,
    octets_with_limits: u64,
    classes: PerWord<Class, PerWord<Verdict>>,
    netblocks_limited: usize,
    netblocks: Vec<OverLimit>,
    netblocks_not_listed: u64,
}

/// What is counted of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum CountedAs {
    Responses,
    Queries,
}

/// A netblock that was over a limit.
#[derive(Debug, PartialEq, Serialize)]
struct OverLimit {
    netblock: IpNet,
    limit: &'static str,
    /// Whose policy it is; none: the default one.
    zone: Option<String>,
    slips: u64,
    drops: u64,
    /// In seconds since 1970.
    first: u64,
    last: u64,
}

impl Tally {
    fn count(
        &mut self,
        limiter: &mut ReplayLimiter,
        client: IpAddr,
        counted: &CountedResponse,
        time_ns: u64,
    ) {
        self.first_ns.get_or_insert(time_ns);
        self.last_ns = self.last_ns.max(time_ns);
        self.responses += 1;
        self.octets_in_full += counted.octets as u64;
        let verdict = match limiter.decide(client, counted, time_ns) {
            Ok(verdict) => verdict,
            Err(Outcome::Blocked) => {
                self.blocked += 1;
                return;
            }
            Err(_) => Verdict::Drop,
        };
        self.verdicts[counted.class.index()][verdict.index()] += 1;
        self.octets_limited += match verdict {
            Verdict::Answer | Verdict::Leak => counted.octets,
            Verdict::Slip => counted.query_octets,
            Verdict::Drop => 0,
        } as u64;
    }

    fn report(&self, limiter: &ReplayLimiter, has_responses: bool, limit: usize) -> ReplayReport {
        let classes = PerWord::new(|class: Class| {
            let counts = self.verdicts[class.index()];
            PerWord::new(|verdict: Verdict| counts[verdict.index()])
        });
        let sum = |verdict: Verdict| -> u64 {
            self.verdicts.iter().map(|counts| counts[verdict.index()]).sum()
        };
        let mut netblocks: Vec<_> = limiter.over().collect();
        netblocks.sort_by_key(|(.., over)| std::cmp::Reverse(over.slips + over.drops));
        let shown = netblocks.iter().take(limit).map(|(net, hit, zone, over)| OverLimit {
            netblock: *net,
            limit: hit.word(),
            zone: zone.map(str::to_owned),
            slips: over.slips,
            drops: over.drops,
            first: over.first_s,
            last: over.last_s,
        });
        ReplayReport {
            counted: if has_responses { CountedAs::Responses } else { CountedAs::Queries },
            responses: self.responses,
            other_packets: self.other_packets,
            seconds: self.last_ns.saturating_sub(self.first_ns.unwrap_or(0)) as f64 / 1e9,
            answered: sum(Verdict::Answer),
            leaked: sum(Verdict::Leak),
            slipped: sum(Verdict::Slip),
            dropped: sum(Verdict::Drop),
            blocked: self.blocked,
            octets: self.octets_in_full,
            octets_with_limits: self.octets_limited,
            classes,
            netblocks_limited: netblocks.len(),
            netblocks: shown.collect(),
            netblocks_not_listed: limiter.not_listed(),
        }
    }
}

fn text(replayed: &ReplayReport) -> String {
    let mut text = format!(
        "{} {} in {:.1} s: {} answered, {} leaked, {} slipped, {} dropped, {} blocked; {} octets instead of {}\n",
        replayed.responses,
        word(&replayed.counted),
        replayed.seconds,
        replayed.answered,
        replayed.leaked,
        replayed.slipped,
        replayed.dropped,
        replayed.blocked,
        replayed.octets_with_limits,
        replayed.octets,
    );
    if replayed.counted == CountedAs::Queries {
        text.push_str(
            "no responses in the capture: each query counts as an answer of 512 octets; NXDOMAIN is not \
             recognised\n",
        );
    }
    let rows = replayed.classes.iter().filter(|(_, counts)| counts.sum(|_| true) > 0);
    let rows = rows.map(|(class, counts)| {
        let counts = counts.iter().map(|(_, count)| count.to_string());
        [class.word().to_owned()].into_iter().chain(counts).collect()
    });
    let verdicts = Verdict::ALL.map(Verdict::word);
    text.push_str(&table(&[&["class"][..], &verdicts].concat(), rows));
    let rows = replayed.netblocks.iter().map(|one| {
        vec![
            one.netblock.to_string(),
            one.limit.to_owned(),
            cell(one.zone.as_ref()),
            one.slips.to_string(),
            one.drops.to_string(),
            time_cell(Some(one.first)),
            time_cell(Some(one.last)),
        ]
    });
    let head = ["netblock", "limit", "zone", "slips", "drops", "first", "last"];
    let shown = table(&head, rows);
    text.push_str(if shown.is_empty() { "nobody would be limited\n" } else { &shown });
    text
}

#[cfg(test)]
mod tests;
