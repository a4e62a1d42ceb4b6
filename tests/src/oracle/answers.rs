//! Every answer of the daemon beside knotd's, from the very same signed zones.
//!
//! Both serve the demo's zone and the zone of the corners, signed with NSEC, with NSEC3 and with
//! opt-out, and are asked for every name with every type it has and those it has not, and for names
//! made up around them; with and without EDNS and DNSSEC records; over UDP, and over TCP where UDP
//! is too small. What may differ is listed in `LEGAL`, each with its reason.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use sealdns::zone::{Rtype, Zone, name};

use crate::dns::{Edns, Message, Query, Record};
use crate::harness::Verdict;
use crate::net;
use crate::servers::{DEMO, DENIALS, Server, sealdns, signed};

/// The payload size of both servers.
const PAYLOAD: u16 = 1232;

/// What clients say of themselves.
const CLIENTS: [Option<Edns>; 3] = [
    None,
    Some(Edns { payload: PAYLOAD, dnssec_ok: false }),
    Some(Edns { payload: PAYLOAD, dnssec_ok: true }),
];

/// Types that every existing name is asked for, beside those it has.
const TYPES: [Rtype; 12] = [
    Rtype::A,
    Rtype::AAAA,
    Rtype::MX,
    Rtype::DS,
    Rtype::NS,
    Rtype::SOA,
    Rtype::NSEC,
    Rtype(52), // TLSA
    Rtype::TXT,
    Rtype::CNAME,
    Rtype::DNSKEY,
    Rtype(65280),
];

/// Types that made-up names are asked for.
const TYPES_OF_NOTHING: [Rtype; 4] = [Rtype::A, Rtype::TXT, Rtype::CNAME, Rtype::DS];

/// Differences that are shown of each zone.
const SHOWN: usize = 40;

/// A difference that is no fault.
struct Legal {
    reason: &'static str,
    covers: fn(&Pair<'_>) -> bool,
}

/// What both said to the same question.
struct Pair<'a> {
    zone: &'a Zone,
    query: &'a Query,
    ours: &'a Message,
    theirs: &'a Message,
}

const LEGAL: &[Legal] = &[
    Legal {
        reason: "of the signatures of a name those of one RRset are enough, as of ANY one RRset is \
                 (RFC 8482 section 7), and we choose another than knotd",
        covers: |pair| {
            let all_signatures = |message: &Message| {
                message.answer.iter().all(|one| Rtype(one.rtype) == Rtype::RRSIG)
                    && !message.answer.is_empty()
            };
            Rtype(pair.query.rtype) == Rtype::RRSIG
                && only(pair, &["answer"])
                && all_signatures(pair.ours)
                && all_signatures(pair.theirs)
        },
    },
    Legal {
        reason: "in a zone with NSEC3 no name has an NSEC record: a question for it follows CNAMEs as \
                 any other does (RFC 1034 section 4.3.2), and knotd does not follow",
        covers: |pair| {
            Rtype(pair.query.rtype) == Rtype::NSEC
                && pair
                    .zone
                    .find(pair.zone.apex().as_wire())
                    .is_some_and(|apex| apex.rrset(Rtype::NSEC).is_none())
                && pair.ours.is_authoritative()
                && pair.ours.answer.iter().any(|one| Rtype(one.rtype) == Rtype::CNAME)
                && pair.theirs.answer.is_empty()
        },
    },
    Legal {
        reason: "knotd adds addresses of name servers outside the delegated zone that are no glue: \
                 a resolver finds them without (RFC 9471 section 3 asks for glue alone)",
        covers: |pair| {
            only(pair, &["additional lacks"])
                && lacking(&pair.ours.additional, &pair.theirs.additional)
                    .all(|record| is_signed(pair.zone, record))
        },
    },
    Legal {
        reason: "one DNAME is followed, a second is the resolver's to follow: what is said is true \
                 (RFC 6672 section 3.2)",
        covers: |pair| {
            let dnames = pair.theirs.answer.iter().filter(|one| one.rtype == Rtype::DNAME.0);
            dnames.count() > 1
                && pair.ours.rcode == 0
                && pair.ours.is_authoritative()
                && pair.ours.authority.is_empty()
                && has_all(&pair.theirs.answer, &pair.ours.answer)
                && pair.ours.answer.iter().any(|one| one.rtype == Rtype::CNAME.0)
        },
    },
    Legal {
        reason: "knotd adds the SOA to YXDOMAIN, which is no negative answer (RFC 6672 section 2.2)",
        covers: |pair| {
            only(pair, &["authority lacks"])
                && pair.ours.rcode == 6
                && lacking(&pair.ours.authority, &pair.theirs.authority)
                    .all(|record| matches!(Rtype(record.rtype), Rtype::SOA | Rtype::RRSIG))
        },
    },
    Legal {
        reason: "knotd says more, and that does not fit",
        covers: |pair| only(pair, &["TC false, knotd true"]),
    },
    Legal {
        reason: "knotd 3.2 takes the octet 0 in a label for the end of the label, and sends the NSEC \
                 of another gap",
        covers: |pair| {
            name::labels(&pair.query.name).any(|label| label.contains(&0))
                && only(pair, &["authority"])
                && is_covered(&pair.query.name, &pair.ours.authority)
                && !is_covered(&pair.query.name, &pair.theirs.authority)
        },
    },
];

/// Whether all that differs starts with one of these words.
fn only(pair: &Pair<'_>, words: &[&str]) -> bool {
    differences(pair).iter().all(|what| words.iter().any(|word| what.starts_with(word)))
}

/// What of `theirs` is not in `ours`.
fn lacking<'a>(ours: &'a [Record], theirs: &'a [Record]) -> impl Iterator<Item = &'a Record> {
    theirs.iter().filter(|record| !ours.contains(record))
}

fn has_all(all: &[Record], some: &[Record]) -> bool {
    lacking(all, some).next().is_none()
}

/// Whether the zone signs the record's RRset: it is not below a cut.
fn is_signed(zone: &Zone, record: &Record) -> bool {
    let rtype = match record.rtype {
        46 => u16::from_be_bytes([record.rdata[0], record.rdata[1]]),
        rtype => rtype,
    };
    let owner = zone.find(&record.owner);
    owner.is_some_and(|owner| owner.signatures(Rtype(rtype)).next().is_some())
}

/// Whether one of the NSEC records says that there is nothing of this name (RFC 4034 section 4.1.1).
fn is_covered(wire: &[u8], records: &[Record]) -> bool {
    records.iter().filter(|record| record.rtype == Rtype::NSEC.0).any(|record| {
        let (Some(next_len), key) = (name::wire_name_len(&record.rdata), order_key(wire)) else {
            return false;
        };
        let (owner, next) = (order_key(&record.owner), order_key(&record.rdata[..next_len]));
        // The last NSEC leads back to the apex.
        owner < key && (key < next || next <= owner)
    })
}

/// What sorts as RFC 4034 section 6.1 has it: labels from the right, in lower case.
fn order_key(wire: &[u8]) -> Vec<Vec<u8>> {
    let mut labels: Vec<_> = name::labels(wire).map(<[u8]>::to_ascii_lowercase).collect();
    labels.reverse();
    labels
}

/// Why it cannot run, if it cannot.
fn obstacle() -> Option<Verdict> {
    if sealdns().is_none() {
        return Some(Verdict::Skipped("no sealdns beside this test: `cargo xtask build`".into()));
    }
    let missing =
        ["knotd", "unbound", "delv"].into_iter().find(|tool| net::find_program(tool).is_none());
    missing.map(|tool| Verdict::Skipped(format!("{tool} is not installed: `cargo xtask setup`")))
}

/// The comparison, for every way to deny.
pub fn the_daemon_answers_as_knotd_does() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for (denial_name, denial) in DENIALS {
        let directory = tempfile::tempdir()?;
        let zones = [DEMO]
            .map(|zone| signed(zone, denial, directory.path()))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let references: Vec<&Zone> = zones.iter().collect();
        let ours = Server::sealdns(directory.path(), &references)?;
        let theirs = Server::knotd(directory.path(), &references)?;
        for zone in &zones {
            let compared = compare(zone, &ours, &theirs)
                .with_context(|| format!("{} signed with {denial_name}", zone.apex()))?;
            println!("  {} with {denial_name}: {compared}", zone.apex());
        }
    }
    Ok(Verdict::Passed)
}

fn compare(zone: &Zone, ours: &Server, theirs: &Server) -> Result<String> {
    let queries = questions(zone);
    let messages: Vec<Vec<u8>> = queries.iter().map(|query| query.message(0)).collect();
    let mut faults = Vec::new();
    let mut legal = vec![0; LEGAL.len()];
    let mut over_tcp = Vec::new();
    let said = ours.ask_all(&messages)?.into_iter().zip(theirs.ask_all(&messages)?);
    for (query, (ours, theirs)) in queries.iter().zip(said) {
        let (ours, theirs) = (read(query, &ours)?, read(query, &theirs)?);
        let limit = query.limit().min(PAYLOAD.into());
        if ours.len > limit {
            faults.push(format!("{query:?}: {} octets, and {limit} are allowed", ours.len));
        }
        if ours.is_truncated() || theirs.is_truncated() {
            over_tcp.push(query.clone());
        }
        judge(&Pair { zone, query, ours: &ours, theirs: &theirs }, &mut legal, &mut faults);
    }
    let messages: Vec<Vec<u8>> = over_tcp.iter().map(|query| query.message(0)).collect();
    let said =
        ours.ask_all_over_tcp(&messages)?.into_iter().zip(theirs.ask_all_over_tcp(&messages)?);
    for (query, (ours, theirs)) in over_tcp.iter().zip(said) {
        let (ours, theirs) = (read(query, &ours)?, read(query, &theirs)?);
        if ours.is_truncated() {
            faults.push(format!("{query:?}: TC over TCP"));
        }
        judge(&Pair { zone, query, ours: &ours, theirs: &theirs }, &mut legal, &mut faults);
    }
    if !faults.is_empty() {
        let count = faults.len();
        faults.truncate(SHOWN);
        bail!("{count} differences of {} answers:\n{}", queries.len(), faults.join("\n"));
    }
    for (legal, count) in LEGAL.iter().zip(&legal).filter(|(_, count)| **count > 0) {
        println!("  {count} answers differ: {}", legal.reason);
    }
    Ok(format!("{} answers over UDP, {} over TCP", queries.len(), over_tcp.len()))
}

fn read(query: &Query, response: &[u8]) -> Result<Message> {
    let message = Message::read(response).with_context(|| format!("{query:?}: {response:02x?}"))?;
    let question = &query.message(0)[12..12 + query.name.len() + 4];
    ensure!(message.question == question, "{query:?}: the question is not echoed as sent");
    Ok(message)
}

fn judge(pair: &Pair<'_>, legal: &mut [usize], faults: &mut Vec<String>) {
    let differences = differences(pair);
    if differences.is_empty() {
        return;
    }
    match LEGAL.iter().position(|legal| (legal.covers)(pair)) {
        Some(place) => legal[place] += 1,
        None => faults.push(format!("{:?}: {}", pair.query, differences.join("; "))),
    }
}

/// What differs in what matters: response code, flags, OPT, answer and authority section, and in
/// referrals the additional section.
fn differences(Pair { ours, theirs, .. }: &Pair<'_>) -> Vec<String> {
    let mut said = Vec::new();
    let mut differ = |what: &str, ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        let (ours, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
        if ours != theirs {
            said.push(format!("{what} {ours}, knotd {theirs}"));
        }
    };
    differ("rcode", &ours.rcode, &theirs.rcode);
    differ("AA", &ours.is_authoritative(), &theirs.is_authoritative());
    differ("TC", &ours.is_truncated(), &theirs.is_truncated());
    differ("DO", &ours.edns.map(|e| e.dnssec_ok), &theirs.edns.map(|e| e.dnssec_ok));
    // A truncated response is worth nothing but its TC.
    if !ours.is_truncated() && !theirs.is_truncated() {
        let mut sections = vec![
            ("answer", &ours.answer, &theirs.answer),
            ("authority", &ours.authority, &theirs.authority),
        ];
        if is_referral(theirs) {
            sections.push(("additional", &ours.additional, &theirs.additional));
        }
        for (section, ours, theirs) in sections {
            let more: Vec<&Record> = lacking(theirs, ours).collect();
            let less: Vec<&Record> = lacking(ours, theirs).collect();
            if !more.is_empty() {
                said.push(format!("{section} has {more:?}"));
            }
            if !less.is_empty() {
                said.push(format!("{section} lacks {less:?}"));
            }
        }
    }
    said
}

fn is_referral(message: &Message) -> bool {
    let has = |rtype| message.authority.iter().any(|record| record.rtype == rtype);
    message.rcode == 0 && has(Rtype::NS.0) && !has(Rtype::SOA.0)
}

//----------- Questions ------------------------------------------------------------------------------

/// Every question that the zone is asked.
pub fn questions(zone: &Zone) -> Vec<Query> {
    let existing = existing(zone);
    let mut questions = BTreeSet::new();
    for wire in &existing {
        let here = zone.find(wire);
        let present = here.iter().flat_map(|owner| owner.rrsets()).map(|rrset| rrset.rtype());
        questions.extend(present.chain(TYPES).map(|rtype| (wire.clone(), rtype.0)));
    }
    for wire in made_up(&existing) {
        questions.extend(TYPES_OF_NOTHING.map(|rtype| (wire.clone(), rtype.0)));
    }
    let client = |edns| {
        let ask =
            move |(name, rtype): &(Vec<u8>, u16)| Query { name: name.clone(), rtype: *rtype, edns };
        questions.iter().map(ask)
    };
    CLIENTS.into_iter().flat_map(client).collect()
}

/// All owner names and the empty non-terminals above them. Of the many that a very deep name makes,
/// a few are enough.
fn existing(zone: &Zone) -> Vec<Vec<u8>> {
    let mut names = BTreeSet::new();
    for owner in zone.owners() {
        let mut up = Some(owner.name());
        while let Some(wire) = up.filter(|wire| name::is_at_or_below(wire, zone.apex().as_wire())) {
            let depth = name::labels(wire).count();
            if depth < 10 || depth.is_multiple_of(16) || wire == owner.name() {
                names.insert(wire.to_vec());
            }
            up = name::parent(wire);
        }
    }
    names.into_iter().collect()
}

/// Names around those that exist: below them, before and after them, deep below, wildcards by name,
/// and those that exist in other letters.
fn made_up(existing: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    let mut chance = Chance(1);
    for wire in existing {
        for prefix in [
            &b"\x01x"[..],
            b"\x01*",
            b"\x01\x00",
            b"\x01\xff",
            b"\x01a\x01*",
            b"\x04deep\x05below\x04this\x04name",
            b"\x03\xff\xff\xff\x01*\x01\x00",
        ] {
            names.insert([prefix, wire].concat());
        }
        names.insert([&chance.label()[..], wire].concat());
        let case: Vec<u8> = wire.iter().map(|&octet| chance.case(octet)).collect();
        names.insert(case);
        let (Some(label), Some(parent)) = (name::labels(wire).next(), name::parent(wire)) else {
            continue;
        };
        let beside = |label: &[u8]| [&[label.len() as u8], label, parent].concat();
        if label.len() > 1 {
            names.insert(beside(&label[..label.len() - 1]));
        }
        if label.len() < 63 {
            names.insert(beside(&[label, b"\0"].concat()));
            names.insert(beside(&[label, b"0"].concat()));
        }
        let mut last = label.to_vec();
        if let Some(octet) = last.last_mut() {
            *octet = octet.wrapping_add(1);
        }
        names.insert(beside(&last));
        names.insert([&chance.label()[..], parent].concat());
    }
    names.retain(|wire| name::wire_name_len(wire) == Some(wire.len()));
    names
}

/// Chance that is the same at every run: Knuth's MMIX generator.
struct Chance(u64);

impl Chance {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// A label with its length.
    fn label(&mut self) -> Vec<u8> {
        let len = 1 + self.throw(24) as usize;
        let mut label = vec![len as u8];
        label.extend((0..len).map(|_| self.throw(256) as u8));
        label
    }

    fn case(&mut self, octet: u8) -> u8 {
        if octet.is_ascii_lowercase() && self.throw(2) == 0 {
            octet.to_ascii_uppercase()
        } else {
            octet
        }
    }
}
