//! All counters at one moment.

use serde::{Deserialize, Serialize};
use xdp_common::Outcome;
use xdp_common::limit::amplified::Amplified;
use xdp_common::limit::{Class, Verdict};
use xdp_common::maps::{PASSED, Verdicts};

use super::word::PerWord;

/// All that is counted. Counters only grow while the daemon runs, but for [`Connections::open`], [`ZoneCounts`] and
/// [`WorstResponse`], which say how it is now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What XDP and TCX count.
    #[serde(flatten)]
    pub kernel: KernelCounters,
    /// The daemon's sockets, over UDP.
    pub udp: Udp,
    /// Over TCP.
    pub tcp: Tcp,
    /// TCP connections.
    pub connections: Connections,
    /// Responses of the daemon that consist of a header, by what they say.
    pub response: Responses,
    /// Transfers of zones.
    pub transfer: Transfers,
    /// Messages with TSIG.
    pub tsig: Tsig,
    /// What the rate limiter decided, in XDP, TCX and for the sockets together.
    pub ratelimit: Decisions,
    /// Zones now.
    pub zones: ZoneCounts,
    /// The response of the last minute that was largest for its query; none if there was none.
    pub worst_response: Option<WorstResponse>,
}

/// What the programs of each hook count; none if no programs are loaded, or if their counters cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounters {
    /// On XDP.
    pub xdp: Option<ProgramCounters>,
    /// On TCX.
    pub tcx: Option<ProgramCounters>,
}

/// What programs in the kernel count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProgramCounters {
    /// Packets by what became of them.
    #[serde(flatten)]
    pub outcomes: PerWord<Outcome>,
    /// Octets of DNS messages received that were answered.
    pub octets_in: u64,
    /// Octets of DNS messages sent.
    pub octets_out: u64,
    /// Answers for which the packet grew into its head room.
    pub grown_at_head: u64,
}

/// Messages over UDP that the daemon's sockets took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Udp {
    /// Messages by what became of them.
    #[serde(flatten)]
    pub outcomes: PerWord<Outcome>,
    /// Octets of queries that were answered.
    pub octets_in: u64,
    /// Octets of responses.
    pub octets_out: u64,
    /// Responses that the system did not take.
    pub send_failed: u64,
    /// Queries at which the program failed: faults of it, each in the log.
    pub fault: u64,
}

/// Messages over TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// Messages by what became of them.
    #[serde(flatten)]
    pub outcomes: PerWord<Outcome>,
}

/// TCP connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Taken.
    pub accepted: u64,
    /// Closed at once: too many, all together or of one client, and none of them idle.
    pub refused: u64,
    /// Closed, mostly idle ones, because their places were needed for others.
    pub gave_way: u64,
    /// That could not be taken, as when descriptors run out.
    pub accept_failed: u64,
    /// Closed because no whole query came in time.
    pub idle: u64,
    /// Closed because the client did not take its response in time.
    pub slow: u64,
}

/// Responses of the daemon by plain code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Responses {
    /// FORMERR.
    pub formerr: u64,
    /// SERVFAIL.
    pub servfail: u64,
    /// NOTIMP.
    pub notimp: u64,
    /// REFUSED.
    pub refused: u64,
    /// NOTAUTH.
    pub notauth: u64,
    /// BADVERS.
    pub badvers: u64,
    /// No error: CHAOS, and the SOA for IXFR.
    pub plain: u64,
    /// Messages that deserve no response.
    pub silent: u64,
}

/// Transfers of zones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfers {
    /// Zones sent whole.
    pub sent: u64,
    /// What changed of zones sent (IXFR) over TCP.
    pub incremental: u64,
    /// Transfers that ended early.
    pub failed: u64,
    /// Transfers that were asked for by who may not have them.
    pub refused: u64,
    /// NOTIFY messages by which primaries said that there is a newer version.
    pub notified: u64,
    /// NOTIFY messages by others.
    pub notify_refused: u64,
    /// Dynamic updates signed with a key whose holder may change something of the zone.
    pub updates: u64,
    /// Dynamic updates by others.
    pub updates_refused: u64,
}

/// Messages with TSIG that the daemon's sockets took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tsig {
    /// Those that were what who has the key sent.
    pub verified: u64,
    /// By a key that is not configured.
    pub badkey: u64,
    /// With a wrong signature.
    pub badsig: u64,
    /// Signed at another time: clocks that are wrong, or messages that were sent before.
    pub badtime: u64,
    /// With a signature that was cut.
    pub badtrunc: u64,
}

/// What the rate limiter decided. With `dry-run` it is what would have been done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decisions {
    /// Of responses, by class.
    #[serde(flatten)]
    pub classes: PerWord<Class, PerWord<Verdict>>,
    /// Of what XDP would pass up.
    pub passed: PerWord<Verdict>,
    /// Of queries over the total of a netblock.
    pub total: PerWord<Verdict>,
    /// Responses over a limit that were sent since the client is exempt.
    pub exempt: u64,
    /// Queries from blocked prefixes.
    pub blocked_prefix: u64,
    /// Queries for blocked names.
    pub blocked_name: u64,
}

/// How zones are now, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ZoneCounts {
    /// Zones of the configuration.
    pub configured: u64,
    /// Those that nothing is answered for.
    pub not_served: u64,
    /// Those that were not tried yet.
    pub loading: u64,
    /// Those whose last version could not be loaded.
    pub failed: u64,
    /// Those with an expired signature.
    pub expired: u64,
}

/// A response and its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorstResponse {
    /// Octets of the query.
    pub query_octets: u16,
    /// Octets of the response.
    pub response_octets: u16,
    /// When, in seconds since 1970.
    pub at: u32,
}

impl From<Amplified> for WorstResponse {
    fn from(worst: Amplified) -> WorstResponse {
        WorstResponse {
            query_octets: worst.query,
            response_octets: worst.response,
            at: worst.second,
        }
    }
}

impl From<&Verdicts> for Decisions {
    fn from(verdicts: &Verdicts) -> Decisions {
        let by_verdict = |counts: [u64; Verdict::COUNT]| {
            PerWord::new(|verdict: Verdict| counts[verdict.index()])
        };
        Decisions {
            classes: PerWord::new(|class: Class| by_verdict(verdicts.classes[class.index()])),
            passed: by_verdict(verdicts.classes[PASSED]),
            total: by_verdict(verdicts.totals),
            exempt: verdicts.exempt,
            blocked_prefix: verdicts.blocked_prefix,
            blocked_name: verdicts.blocked_name,
        }
    }
}

impl KernelCounters {
    /// The sum of a counter over the hooks.
    pub fn sum(&self, counter: impl Fn(&ProgramCounters) -> u64) -> u64 {
        [&self.xdp, &self.tcx].into_iter().flatten().map(counter).sum()
    }
}

impl Snapshot {
    /// Every counter with its name, in the order of the fields here.
    pub fn named(&self) -> Vec<(String, u64)> {
        named(self)
    }
}

/// The numbers of a value with their names: the fields that lead to each, with dots between.
pub fn named(counters: &impl Serialize) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    // It is made of numbers, words and objects of these: nothing that JSON has not.
    collect(&serde_json::to_value(counters).unwrap_or_default(), "", &mut found);
    found
}

fn collect(value: &serde_json::Value, name: &str, found: &mut Vec<(String, u64)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                collect(value, &format!("{name}{dot}{field}"), found);
            }
        }
        value => found.extend(value.as_u64().map(|count| (name.to_owned(), count))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_counter_has_a_name_of_its_own() {
        let programs = Some(ProgramCounters::default());
        let snapshot = Snapshot {
            kernel: KernelCounters { xdp: programs.clone(), tcx: programs },
            ..Snapshot::default()
        };
        let named = snapshot.named();
        let names: BTreeSet<&String> = named.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), named.len());
        let outcomes = Outcome::ALL.len();
        // XDP and TCX, UDP, TCP; connections, responses, transfers, TSIG; the limiter's; zones.
        let decisions = (Class::COUNT + 2) * Verdict::COUNT + 3;
        assert_eq!(
            named.len(),
            2 * (outcomes + 3) + outcomes + 4 + outcomes + 7 + 8 + 8 + 5 + decisions + 5
        );
        for outcome in Outcome::ALL {
            for path in ["xdp", "tcx", "udp", "tcp"] {
                assert!(names.contains(&format!("{path}.{}", outcome.word())));
            }
        }
    }

    #[test]
    fn every_decision_has_a_name() {
        let mut verdicts = Verdicts::default();
        verdicts.classes[Class::Nodata.index()][Verdict::Slip.index()] = 3;
        verdicts.classes[PASSED][Verdict::Drop.index()] = 4;
        verdicts.totals[Verdict::Drop.index()] = 5;
        let decisions = Decisions::from(&verdicts);
        assert_eq!(decisions.classes[Class::Nodata][Verdict::Slip], 3);
        let counted: Vec<(String, u64)> =
            named(&decisions).into_iter().filter(|(_, count)| *count > 0).collect();
        let expected = [("nodata.slip", 3), ("passed.drop", 4), ("total.drop", 5)];
        assert_eq!(counted, expected.map(|(name, count)| (name.to_owned(), count)));
    }
}
