//! Every answer of the daemon beside those of knotd and nsd, from the very same signed zones.
//!
//! All serve the demo's zone, that of the corners, others that lead to them, and zones made by chance,
//! signed with NSEC, with NSEC3 and with opt-out, and are asked for every name with every type it has
//! and those it has not, and for names made up around them; with and without EDNS and DNSSEC records;
//! over UDP, and over TCP where UDP is too small. What may differ is listed in `legal::LEGAL`, each
//! with its reason. A validator takes a sample of what is signed.

use std::env;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use sealdns::dnssec::policy::Denial;
use sealdns::zone::{Rtype, Zone, name};
use testbed::net;

use super::chains;
use super::legal::{self, LEGAL, Pair, Peer};
use super::salted;
use testbed::servers::Server;
use tests::chance::{self, Chance};
use tests::dns::{HEADER_LEN, Message, Query};
use tests::harness::Verdict;
use tests::questions::{PAYLOAD, questions};
use tests::servers::{
    DENIALS, FIXED, anchor, is_secure_to_delv, run_sealdns, sealdns, signed, zone_files,
};

/// Differences that are shown of each zone.
const SHOWN: usize = 20;

/// Questions whose answers are held at a time.
const BATCH: usize = 4096;

/// Zones made by chance for each way to deny.
const BY_CHANCE: usize = 4;

/// Questions of each zone that the validator is asked.
const SAMPLE: usize = 600;

/// CNAMEs that unbound follows, and some less: it starts anew 11 times.
const PATIENCE: usize = 8;

//----------- Tests ----------------------------------------------------------------------------------

/// The zones of files before knotd.
pub fn the_daemon_answers_as_knotd_does() -> Result<Verdict> {
    compare_all(Peer::Knotd, fixed)
}

/// The zones of files before nsd.
pub fn the_daemon_answers_as_nsd_does() -> Result<Verdict> {
    compare_all(Peer::Nsd, fixed_without_longest)
}

/// Zones made by chance before knotd.
pub fn zones_made_by_chance_are_answered_as_knotd_does() -> Result<Verdict> {
    compare_all(Peer::Knotd, by_chance)
}

/// Zones made by chance before nsd.
pub fn zones_made_by_chance_are_answered_as_nsd_does() -> Result<Verdict> {
    compare_all(Peer::Nsd, by_chance)
}

/// Chains of CNAMEs, DNAMEs and wildcards in all orders before knotd.
pub fn chains_are_followed_as_knotd_does() -> Result<Verdict> {
    compare_all(Peer::Knotd, chains::chains_of)
}

/// The same before nsd.
pub fn chains_are_followed_as_nsd_does() -> Result<Verdict> {
    compare_all(Peer::Nsd, chains::chains_of)
}

/// The same before named.
pub fn chains_are_followed_as_named_does() -> Result<Verdict> {
    compare_all(Peer::Named, chains::chains_of)
}

/// NSEC3 with every salt and with iterations, signed by others, before knotd.
pub fn salts_and_iterations_are_served_as_knotd_does() -> Result<Verdict> {
    salted_before(Peer::Knotd)
}

/// The same before nsd.
pub fn salts_and_iterations_are_served_as_nsd_does() -> Result<Verdict> {
    salted_before(Peer::Nsd)
}

fn salted_before(peer: Peer) -> Result<Verdict> {
    for tool in [peer.program(), "dnssec-signzone", "ldns-signzone"] {
        if let Some(obstacle) = obstacle(tool) {
            return Ok(obstacle);
        }
    }
    let made = salted::ways().into_iter().map(|way| {
        let zones = move |directory: &Path| Ok(vec![salted::asked(way, directory)?]);
        (format!("{way:?}"), Box::new(zones) as MakeZones)
    });
    compare_each(peer, made)
}

/// And unbound finds it secure: as many iterations as it accepts.
pub fn a_validator_accepts_salts_and_iterations() -> Result<Verdict> {
    for tool in ["unbound", "delv", "dnssec-signzone", "ldns-signzone"] {
        if let Some(obstacle) = obstacle(tool) {
            return Ok(obstacle);
        }
    }
    for way in salted::ways() {
        let directory = tempfile::tempdir()?;
        let asked = salted::asked(way, directory.path())?;
        let ours = run_sealdns(directory.path(), &[&asked.zone])?;
        let validator = Server::unbound(directory.path(), &[anchor(&asked.zone)], ours.address)?;
        let validated = validate(&asked, &ours, &validator, directory.path())
            .with_context(|| format!("{way:?}"))?;
        println!("  {way:?}: {validated}");
    }
    Ok(Verdict::Passed)
}

/// Delegations with DS in a zone that is not signed, before all.
pub fn an_unsigned_zone_refers_as_others_do() -> Result<Verdict> {
    for peer in [Peer::Knotd, Peer::Nsd] {
        match compare_all(peer, chains::unsigned_with_ds)? {
            Verdict::Passed => {}
            other => return Ok(other),
        }
    }
    Ok(Verdict::Passed)
}

/// What unbound gets from the daemon it finds secure, or else delv does.
pub fn a_validator_accepts_what_the_daemon_answers() -> Result<Verdict> {
    if let Some(obstacle) = obstacle("unbound").or_else(|| obstacle("delv")) {
        return Ok(obstacle);
    }
    for (denial_name, denial) in DENIALS {
        let directory = tempfile::tempdir()?;
        let mut asked = fixed(denial, directory.path())?;
        asked.extend(by_chance(denial, directory.path())?);
        let zones: Vec<&Zone> = asked.iter().map(|asked| &asked.zone).collect();
        let ours = run_sealdns(directory.path(), &zones)?;
        let anchors: Vec<_> = zones.iter().map(|zone| anchor(zone)).collect();
        let validator = Server::unbound(directory.path(), &anchors, ours.address)?;
        for asked in &asked {
            let validated = validate(asked, &ours, &validator, directory.path())
                .with_context(|| format!("{} signed with {denial_name}", asked.zone.apex()))?;
            println!("  {} with {denial_name}: {validated}", asked.zone.apex());
        }
    }
    Ok(Verdict::Passed)
}

/// The server to compare with, over these zones.
pub(super) fn serve(peer: Peer, directory: &Path, zones: &[&Zone]) -> Result<Server> {
    let files = zone_files(directory, zones)?;
    match peer {
        Peer::Knotd => Server::knotd(directory, &files),
        Peer::Nsd => Server::nsd(directory, &files),
        Peer::Named => Server::named(directory, &files),
    }
}

/// Why it cannot run, if it cannot.
pub(super) fn obstacle(tool: &str) -> Option<Verdict> {
    if sealdns().is_none() {
        return Some(Verdict::Skipped("no sealdns beside this test: `cargo xtask build`".into()));
    }
    net::find_program(tool)
        .is_none()
        .then(|| Verdict::Skipped(format!("{tool} is not installed: `cargo xtask setup`")))
}

//----------- Zones ----------------------------------------------------------------------------------

/// A zone and what it is asked for.
pub(super) struct ZoneQueries {
    pub zone: Zone,
    pub queries: Vec<Query>,
}

fn fixed(denial: Denial, directory: &Path) -> Result<Vec<ZoneQueries>> {
    let asked = |zone| {
        let zone = signed(zone, denial, directory)?;
        Ok(ZoneQueries { queries: questions(&zone, []), zone })
    };
    FIXED.into_iter().map(asked).collect()
}

/// Without the names on which no wildcard fits: nsd 4.6.1 ends when it hashes that of such a name.
fn fixed_without_longest(denial: Denial, directory: &Path) -> Result<Vec<ZoneQueries>> {
    let is_shorter =
        |line: &&str| line.split_whitespace().next().is_none_or(|owner| owner.len() < 200);
    let asked = |(apex, text): (&str, &str)| {
        let text: Vec<&str> = text.lines().filter(is_shorter).collect();
        let zone = signed((apex, &(text.join("\n") + "\n")), denial, directory)?;
        Ok(ZoneQueries { queries: questions(&zone, []), zone })
    };
    FIXED.into_iter().map(asked).collect()
}

/// Zones made by chance. It is the same at every run, unless `SEALDNS_SEED` says another number.
fn by_chance(denial: Denial, directory: &Path) -> Result<Vec<ZoneQueries>> {
    let seed = env::var("SEALDNS_SEED").ok().map(|seed| seed.parse()).transpose()?.unwrap_or(1);
    let place = DENIALS.iter().position(|one| one.1 == denial).unwrap_or_default();
    let mut chance = Chance(seed * DENIALS.len() as u64 + place as u64);
    let apexes: Vec<String> = (0..BY_CHANCE).map(|number| format!("r{number}.example")).collect();
    let mut all = Vec::with_capacity(BY_CHANCE);
    for apex in &apexes {
        let text = chance::zone(apex, &apexes, &mut chance);
        let zone = signed((apex, &text), denial, directory).context(text)?;
        let more = chance::names_below(zone.apex().as_wire(), &mut chance);
        all.push(ZoneQueries { queries: questions(&zone, more), zone });
    }
    Ok(all)
}

//----------- Comparison -----------------------------------------------------------------------------

fn compare_all(
    peer: Peer,
    zones: fn(Denial, &Path) -> Result<Vec<ZoneQueries>>,
) -> Result<Verdict> {
    if let Some(obstacle) = obstacle(peer.program()) {
        return Ok(obstacle);
    }
    let made = DENIALS.map(|(name, denial)| {
        let zones = move |directory: &Path| zones(denial, directory);
        (name.to_owned(), Box::new(zones) as MakeZones)
    });
    compare_each(peer, made)
}

/// Makes zones with their keys in a folder.
type MakeZones = Box<dyn Fn(&Path) -> Result<Vec<ZoneQueries>>>;

/// Compares the answers for these zones, each set served by servers of its own.
fn compare_each(
    peer: Peer,
    made: impl IntoIterator<Item = (String, MakeZones)>,
) -> Result<Verdict> {
    let mut legal = vec![0; LEGAL.len()];
    let mut faults = Vec::new();
    for (denial_name, zones) in made {
        let directory = tempfile::tempdir()?;
        let all = zones(directory.path())?;
        let zones: Vec<&Zone> = all.iter().map(|asked| &asked.zone).collect();
        let ours = run_sealdns(directory.path(), &zones)?;
        let theirs = serve(peer, directory.path(), &zones)?;
        for asked in &all {
            let mut comparison =
                Comparison { peer, zone: &asked.zone, legal: &mut legal, faults: Vec::new() };
            let compared = comparison.run(&asked.queries, &ours, &theirs)?;
            let what = format!("{} with {denial_name}: {compared}", asked.zone.apex());
            if !comparison.faults.is_empty() {
                let count = comparison.faults.len();
                comparison.faults.truncate(SHOWN);
                let faults_shown = comparison.faults.join("\n");
                faults.push(format!("{what}; {count} differences:\n{faults_shown}"));
            }
            println!("  {what}");
        }
    }
    for (legal, count) in LEGAL.iter().zip(&legal).filter(|(_, count)| **count > 0) {
        println!("  {count} answers differ: {}", legal.reason);
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(Verdict::Passed)
}

/// One zone before two servers.
struct Comparison<'a> {
    peer: Peer,
    zone: &'a Zone,
    /// How often each of [`LEGAL`] was met.
    legal: &'a mut [usize],
    faults: Vec<String>,
}

impl Comparison<'_> {
    /// Asks both over UDP, and over TCP where one of them says TC.
    fn run(&mut self, queries: &[Query], ours: &Server, theirs: &Server) -> Result<String> {
        let mut over_tcp = Vec::new();
        for batch in queries.chunks(BATCH) {
            let messages: Vec<Vec<u8>> = batch.iter().map(|query| query.message(0)).collect();
            let said = ours.ask_all(&messages)?.into_iter().zip(theirs.ask_all(&messages)?);
            for (query, (ours, theirs)) in batch.iter().zip(said) {
                let (ours, theirs) = (read(query, &ours)?, read(query, &theirs)?);
                let limit = query.response_limit().min(PAYLOAD.into());
                if ours.len > limit {
                    let fault = format!("{query:?}: {} octets, and {limit} are allowed", ours.len);
                    self.faults.push(fault);
                }
                if ours.repeats > 0 {
                    self.faults.push(format!("{query:?}: a record stands twice in a section"));
                }
                if ours.is_truncated() || theirs.is_truncated() {
                    over_tcp.push(query.clone());
                }
                self.judge(query, &ours, &theirs);
            }
        }
        let messages: Vec<Vec<u8>> = over_tcp.iter().map(|query| query.message(0)).collect();
        let said =
            ours.ask_all_over_tcp(&messages)?.into_iter().zip(theirs.ask_all_over_tcp(&messages)?);
        for (query, (ours, theirs)) in over_tcp.iter().zip(said) {
            let (ours, theirs) = (read(query, &ours)?, read(query, &theirs)?);
            if ours.is_truncated() {
                self.faults.push(format!("{query:?}: TC over TCP"));
            }
            self.judge(query, &ours, &theirs);
        }
        Ok(format!("{} answers over UDP, {} over TCP", queries.len(), over_tcp.len()))
    }

    fn judge(&mut self, query: &Query, ours: &Message, theirs: &Message) {
        let pair = Pair { peer: self.peer, zone: self.zone, query, ours, theirs };
        let differences = legal::differences(&pair);
        if differences.is_empty() {
            return;
        }
        match LEGAL.iter().position(|legal| legal.covers(&pair)) {
            Some(place) => self.legal[place] += 1,
            None => self.faults.push(format!("{query:?}: {}", differences.join("; "))),
        }
    }
}

fn read(query: &Query, response: &[u8]) -> Result<Message> {
    let message = Message::read(response).with_context(|| format!("{query:?}: {response:02x?}"))?;
    let question = &query.message(0)[HEADER_LEN..HEADER_LEN + query.name.len() + 4];
    ensure!(message.question == question, "{query:?}: the question is not echoed as sent");
    Ok(message)
}

//----------- Validation -----------------------------------------------------------------------------

/// Asks the validator for a sample of what the daemon answers with authority: it finds all of it
/// secure and comes to the same end.
fn validate(
    asked: &ZoneQueries,
    ours_at: &Server,
    validator: &Server,
    directory: &Path,
) -> Result<String> {
    let wanted = |query: &&Query| {
        let is_secure = query.edns.is_some_and(|edns| edns.dnssec_ok);
        // A resolver asks for DS above the cut, which of an apex is not here, and has no use for
        // signatures by themselves.
        let (name, apex) = (query.name.to_ascii_lowercase(), asked.zone.apex().as_wire());
        let is_here = name::is_at_or_below(&name, apex);
        let is_parents = Rtype(query.rtype) == Rtype::DS && name.len() <= apex.len();
        is_secure && is_here && !is_parents && Rtype(query.rtype) != Rtype::RRSIG
    };
    let all: Vec<&Query> = asked.queries.iter().filter(wanted).collect();
    let sample: Vec<&Query> =
        all.iter().step_by(all.len().div_ceil(SAMPLE).max(1)).copied().collect();
    let messages: Vec<Vec<u8>> = sample.iter().map(|query| query.message(0)).collect();
    let said = ours_at.ask_all_over_tcp(&messages)?;
    let mut expected = Vec::new();
    for (query, said) in sample.iter().zip(said) {
        let said = read(query, &said)?;
        if is_for_validation(query, &said, &asked.zone) {
            expected.push((*query, said));
        }
    }
    let mut messages: Vec<Vec<u8>> = expected.iter().map(|(query, _)| query.message(0)).collect();
    // RD: without it a resolver answers from its cache alone.
    messages.iter_mut().for_each(|message| message[2] |= 1);
    let found = validator.ask_all(&messages)?;
    let (mut faults, mut secure, mut by_delv) = (Vec::new(), 0, 0);
    for ((query, ours), found) in expected.iter().zip(found) {
        let found = read(query, &found)?;
        let is_secure = found.is_authentic() || legal::has_opt_out(ours);
        if found.rcode == ours.rcode && is_secure {
            secure += usize::from(found.is_authentic());
        } else if is_secure_to_delv(ours_at, directory, &asked.zone, query)? {
            // Unbound 1.17 does not understand every proof of a `*` that has others below it, nor
            // every NSEC from one to the next.
            by_delv += 1;
        } else {
            faults.push(format!("{query:?}: rcode {}, ours {}", found.rcode, ours.rcode));
        }
    }
    if !faults.is_empty() {
        let count = faults.len();
        faults.truncate(SHOWN);
        bail!("{count} of {} are not accepted:\n{}", expected.len(), faults.join("\n"));
    }
    ensure!(secure > 0, "nothing was found secure");
    Ok(format!("{secure} of {} secure, and {by_delv} to delv alone", expected.len()))
}

/// Whether a resolver that knows this zone comes to the end that the response has: not by a
/// referral, nor to other names, nor round a circle, nor along a chain that is too long for it.
fn is_for_validation(query: &Query, response: &Message, zone: &Zone) -> bool {
    let is = |rtype: Rtype| move |record: &&tests::dns::Record| record.rtype == rtype.0;
    let targets: Vec<&[u8]> = response
        .answer
        .iter()
        .filter(is(Rtype::CNAME))
        .map(|cname| cname.rdata.as_slice())
        .collect();
    // The DS of the apex is the parent's to answer, and that is not here.
    let apex = zone.apex().as_wire();
    let is_ds = Rtype(query.rtype) == Rtype::DS;
    let is_here =
        |target: &&[u8]| name::is_at_or_below(target, apex) && !(is_ds && *target == apex);
    let is_round = targets.iter().any(|target| {
        targets.iter().filter(|other| other == &target).count() > 1
            || target.eq_ignore_ascii_case(&query.name)
    });
    // For QTYPE CNAME unbound 1.17 asks for DS below the DNAME, whoever the server is.
    let is_made = Rtype(query.rtype) == Rtype::CNAME
        && response.answer.iter().any(|one| is(Rtype::DNAME)(&one));
    // Nor does it make the signed name of what a wildcard says at a name that begins with `*` itself
    // (RFC 4035 section 5.3.2).
    let is_starred = response.answer.iter().filter(is(Rtype::RRSIG)).any(|signature| {
        let labels = name::labels(&signature.owner).count();
        signature.owner.starts_with(b"\x01*") && usize::from(signature.rdata[3]) + 1 < labels
    });
    // What we leave to be followed may end anywhere.
    let is_whole = response.authority.iter().any(|record| is(Rtype::SOA)(&record))
        || response.answer.iter().any(|record| record.rtype == query.rtype);
    response.is_authoritative()
        && is_whole
        && !is_starred
        && !is_made
        && !response.authority.iter().any(|record| is(Rtype::NS)(&record))
        && targets.len() < PATIENCE
        && targets.iter().all(is_here)
        && !is_round
}
