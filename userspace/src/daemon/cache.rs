//! Looking into what is published, for the control socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xdp_common::Outcome;
use xdp_common::maps::{self, MAX_MACS, address_words};

use super::parts::Daemon;
use super::requests::{known_name, unknown_zone};
use crate::compile::inspect::client_query::ClientQuery;
use crate::compile::inspect::explain::{Explanation, explain};
use crate::compile::inspect::lookup::lookup;
use crate::compile::inspect::verify::{Findings, verify, verify_table};
use crate::control::protocol::{ExplainQuery, Failure};
use crate::control::reply::cache::{
    AnswerPiece, Bound, CacheExplain, CacheLookup, CacheVerify, DaemonAnswer, ExplainedQuery, Fate,
    KernelTrial, Stage, Transport,
};
use crate::datapath::seam::{Inspection, TestRunResult};
use crate::observe::word::Word as _;
use crate::zone::{Name, Rtype};

/// How often a zone is looked at anew that changes while it is looked at.
const ATTEMPTS: usize = 3;

/// The client where none is named, and the server where XDP is told no address: for documentation (RFC 5737
/// section 3, RFC 3849).
const CLIENTS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 53)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53)),
];
const SERVERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53)),
];

/// The MAC address of a device where XDP is attached to none.
const NO_DEVICE: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Why programs in the kernel are not tried.
const NOT_ATTACHED: &str = "XDP is not attached";

/// The port of DNS.
const PORT: u16 = 53;

impl Daemon {
    fn inspect(&self) -> Result<Inspection, Failure> {
        let nothing = || Failure::new("cache", "this daemon compiles no zones");
        self.plane.hold_soon()?.inspect().ok_or_else(nothing)
    }

    pub(super) fn cache_lookup(
        &self,
        name: &str,
        rtype: Option<&str>,
    ) -> Result<CacheLookup, Failure> {
        let name = known_name(name)?;
        let rtype = rtype.map(known_type).transpose()?;
        let inspection = self.inspect()?;
        let zone = self
            .zones
            .states()
            .keys()
            .filter(|zone| name.is_at_or_below(zone))
            .max_by_key(|zone| zone.label_count())
            .map(ToString::to_string);
        Ok(CacheLookup { zone, found: lookup(&inspection.reader, &name, rtype) })
    }

    //--- Explain

    pub(super) fn cache_explain(&self, asked: &ExplainQuery) -> Result<CacheExplain, Failure> {
        let name = known_name(&asked.name)?;
        let rtype = known_type(&asked.rtype)?;
        let Inspection { reader, whole, config, edns_settings, is_loaded } = self.inspect()?;
        let (client_query, config) = client_query_of(name, rtype, asked, &config)?;
        let frame = client_query.frame();
        // Programs that were not told the time send no signature.
        let time = if is_loaded && config.booted_at_s == 0 {
            0
        } else {
            self.clock.wall().signature_time()
        };
        let explanation = match asked.tcp {
            true => Explanation::of_tcp(),
            false => explain(&reader, &config, &edns_settings, &frame, time),
        };
        let mut said = Vec::new();
        let limit = config.payload_limit as usize;
        let limit = if asked.tcp { crate::compile::MAX_TCP_MESSAGE } else { limit };
        let outcome = whole.answer(
            &client_query.message(),
            asked.tcp,
            limit,
            self.clock.wall().signature_time(),
            &mut said,
        );
        let kernel = match (asked.tcp, is_loaded) {
            (true, _) => KernelTrial::NotTried { why: "XDP does not read TCP".to_owned() },
            (_, false) => KernelTrial::NotTried { why: NOT_ATTACHED.to_owned() },
            _ => self.try_in_kernel(&frame, &explanation),
        };
        let daemon = DaemonAnswer { outcome, response_octets: said.len() as u64 };
        let query = ExplainedQuery {
            name: client_query.name.to_string(),
            rtype: client_query.rtype.to_string(),
            payload: client_query.payload,
            dnssec_ok: client_query.dnssec_ok,
            from: client_query.from,
            to: client_query.to,
            transport: if asked.tcp { Transport::Tcp } else { Transport::Udp },
        };
        Ok(told_of(explanation, query, daemon, kernel))
    }

    /// Runs the loaded programs on the frame, and says whether they do what was foretold.
    fn try_in_kernel(&self, frame: &[u8], foretold: &Explanation) -> KernelTrial {
        let tried = match self.plane.hold_soon() {
            Ok(mut plane) => plane.try_frame(frame),
            Err(busy) => return KernelTrial::NotTried { why: busy.message },
        };
        match tried {
            None => KernelTrial::NotTried { why: NOT_ATTACHED.to_owned() },
            Some(Err(error)) => KernelTrial::NotTried { why: format!("{error:#}") },
            Some(Ok(tried)) => KernelTrial::Tried {
                action: fate_of(tried.action),
                frame_octets: tried.frame.len() as u64,
                differences: differences(&tried, foretold),
            },
        }
    }

    //--- Verify

    pub(super) fn cache_verify(&self, zone: Option<&str>) -> Result<CacheVerify, Failure> {
        let only = zone.map(known_name).transpose()?;
        let loaded: Vec<Name> = match &only {
            Some(zone) if !self.zones.states().contains_key(zone) => {
                return Err(unknown_zone(zone));
            }
            Some(zone) => vec![zone.clone()],
            None => {
                let zones = self.zones.states();
                let loaded = zones.iter().filter(|(_, state)| state.loaded.is_some());
                loaded.map(|(name, _)| name.clone()).collect()
            }
        };
        let (mut totals, mut unfinished) = (Findings::default(), Vec::new());
        let mut count = 0;
        for apex in &loaded {
            match self.verify_zone(apex)? {
                Some(found) => {
                    count += 1;
                    totals.names += found.names;
                    totals.pieces += found.pieces;
                    totals.signed_rrsets += found.signed_rrsets;
                    totals.problems.extend(found.problems);
                }
                None => unfinished.push(apex.to_string()),
            }
        }
        if only.is_none() {
            totals.problems.extend(verify_table(&self.inspect()?.reader));
        }
        Ok(CacheVerify { zones: count, unfinished, found: totals })
    }

    /// Checks a zone as it is published now; none if it changes all the while, or is not published.
    fn verify_zone(&self, apex: &Name) -> Result<Option<Findings>, Failure> {
        for _ in 0..ATTEMPTS {
            let (inspection, listing) = {
                let plane = self.plane.hold_soon()?;
                (plane.inspect(), plane.nodes(apex))
            };
            let Some(Inspection { reader, .. }) = inspection.filter(|_| !listing.nodes.is_empty())
            else {
                return Ok(None);
            };
            let found = verify(&reader, apex, &listing, self.clock.wall().signature_time());
            // The image may have moved to larger maps.
            if found.is_some() && self.inspect()?.reader.is_of(&reader) {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn known_type(text: &str) -> Result<Rtype, Failure> {
    text.parse().map_err(|_| Failure::new("type", format!("\"{text}\" is not an RR type")))
}

/// The query as it comes to a device that XDP is attached to, or would; and what the programs are told then.
fn client_query_of(
    name: Name,
    rtype: Rtype,
    asked: &ExplainQuery,
    config: &maps::Config,
) -> Result<(ClientQuery, maps::Config), Failure> {
    let mut config = *config;
    let family = asked.from.map(|from| usize::from(from.is_ipv6()));
    let known: Vec<IpAddr> = config.addresses[..config.address_count as usize]
        .iter()
        .map(|words| address_of(*words))
        .collect();
    let is_meant = |to: &IpAddr| family.is_none_or(|family| usize::from(to.is_ipv6()) == family);
    let to = match known.iter().copied().find(is_meant) {
        Some(to) => to,
        None if known.is_empty() => {
            let to = SERVERS[family.unwrap_or(0)];
            config.addresses[0] = address_words(to);
            config.address_count = 1;
            to
        }
        None => {
            let family = if family == Some(1) { "IPv6" } else { "IPv4" };
            return Err(Failure::new("address", format!("XDP answers on no {family} address")));
        }
    };
    let from = asked.from.unwrap_or(CLIENTS[usize::from(to.is_ipv6())]);
    if config.macs == [0; MAX_MACS] {
        config.macs[0] = maps::mac_word(NO_DEVICE);
    }
    if config.ports[0] == 0 {
        config.ports[0] = PORT.to_be();
    }
    let [a, b, c, d, e, f, ..] = config.macs[0].to_ne_bytes();
    let payload = Some(asked.payload).filter(|payload| *payload != 0);
    let client_query = ClientQuery {
        name,
        rtype,
        payload,
        dnssec_ok: asked.dnssec_ok && payload.is_some(),
        from,
        to,
        port: u16::from_be(config.ports[0]),
        mac: [a, b, c, d, e, f],
    };
    Ok((client_query, config))
}

/// The address that [`address_words`] has made words of.
fn address_of(words: [u64; 2]) -> IpAddr {
    let mut octets = [0; 16];
    for (place, octet) in octets.iter_mut().zip(words.iter().flat_map(|word| word.to_ne_bytes())) {
        *place = octet;
    }
    let address = Ipv6Addr::from(octets);
    address.to_ipv4_mapped().map_or(address.into(), IpAddr::V4)
}

/// What a program's return value does with the packet (`enum xdp_action` of linux/bpf.h).
fn fate_of(action: u32) -> Fate {
    match action {
        1 => Fate::Dropped,
        2 => Fate::PassedUp,
        3 => Fate::Answered,
        _ => Fate::Aborted,
    }
}

/// An explanation as it is told.
fn told_of(
    explanation: Explanation,
    query: ExplainedQuery,
    daemon: DaemonAnswer,
    kernel: KernelTrial,
) -> CacheExplain {
    let stages = explanation.stages.into_iter();
    let pieces = explanation.pieces.into_iter();
    let bounds = explanation.bounds.into_iter();
    CacheExplain {
        query,
        stages: stages
            .map(|stage| Stage { stage: stage.stage.to_owned(), found: stage.found })
            .collect(),
        pieces: pieces
            .map(|piece| AnswerPiece {
                section: piece.section.to_owned(),
                sent_octets: piece.sent_octets as u64,
                piece: piece.piece,
            })
            .collect(),
        bounds: bounds
            .map(|bound| Bound {
                bound: bound.bound.to_owned(),
                needed: bound.needed as u64,
                limit: bound.limit as u64,
            })
            .collect(),
        outcome: explanation.outcome,
        fate: explanation.outcome.into(),
        response_octets: explanation.response_octets.map(|octets| octets as u64),
        daemon,
        kernel,
    }
}

/// What the kernel did otherwise than foretold.
fn differences(tried: &TestRunResult, foretold: &Explanation) -> Vec<String> {
    // What the rate limiter decides depends on what came before, and is not foretold.
    let limited = [Outcome::Slipped, Outcome::Limited, Outcome::Blocked];
    if tried.counted.iter().any(|outcome| limited.contains(outcome)) {
        return Vec::new();
    }
    let mut differences = Vec::new();
    let did = fate_of(tried.action);
    if did != Fate::from(foretold.outcome) {
        differences.push(format!("the kernel says: {}", did.word()));
    }
    if !tried.counted.contains(&foretold.outcome) {
        let counted: Vec<&str> =
            tried.counted.iter().map(|outcome: &Outcome| outcome.word()).collect();
        differences.push(format!("the kernel counted {}", counted.join(", ")));
    }
    if tried.frame != foretold.frame {
        let (kernel, here) = (tried.frame.len(), foretold.frame.len());
        let at = tried.frame.iter().zip(&foretold.frame).position(|(a, b)| a != b);
        differences.push(match at {
            Some(at) => format!("the kernel's frame differs at octet {at}"),
            None => format!("the kernel's frame has {kernel} octets instead of {here}"),
        });
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_otherwise_is_said() {
        let foretold = Explanation::of_tcp();
        let same = TestRunResult { action: 2, frame: Vec::new(), counted: vec![Outcome::NotUdp] };
        assert_eq!(differences(&same, &foretold), [""; 0]);
        let others =
            TestRunResult { counted: vec![Outcome::Positive, Outcome::NotUdp], ..same.clone() };
        assert_eq!(differences(&others, &foretold), [""; 0]);
        let other = TestRunResult { action: 1, frame: vec![0], counted: vec![Outcome::Positive] };
        let said = ["the kernel says: dropped", "the kernel counted positive"];
        let octets = "the kernel's frame has 1 octets instead of 0";
        assert_eq!(differences(&other, &foretold), [said[0], said[1], octets]);
    }

    #[test]
    fn a_query_comes_to_what_is_served() {
        let mut config = maps::Config::new();
        let asked = |from: Option<&str>| ExplainQuery {
            name: "a.".into(),
            rtype: "A".into(),
            dnssec_ok: true,
            payload: 0,
            tcp: false,
            from: from.map(|from| from.parse().expect("an address")),
        };
        let client_query = |config: &maps::Config, from| {
            super::client_query_of(Name::root(), Rtype::A, &asked(from), config)
                .map(|(client_query, _)| client_query)
        };
        // Nothing is told: addresses for documentation.
        assert_eq!(client_query(&config, Some("2001:db8::9")).expect("any").to, SERVERS[1]);
        config.addresses[0] = address_words(IpAddr::from([203, 0, 113, 1]));
        config.address_count = 1;
        let to_served = client_query(&config, None).expect("served");
        assert_eq!((to_served.to, to_served.from), (IpAddr::from([203, 0, 113, 1]), CLIENTS[0]));
        assert_eq!((to_served.payload, to_served.dnssec_ok), (None, false));
        assert!(client_query(&config, Some("2001:db8::9")).is_err());
    }
}
