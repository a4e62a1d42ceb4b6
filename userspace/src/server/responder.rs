//! One message in, one response out: the engine first, plain code for what it does not hold.
//!
//! | message | response |
//! |---|---|
//! | shorter than a header, a response, from port 0 | none |
//! | an opcode other than QUERY, NOTIFY and UPDATE (RFC 8906 section 3.1.4) | NOTIMP |
//! | NOTIFY (RFC 1996) by a primary of the zone | NOERROR, and the primary is asked |
//! | NOTIFY by others, or of a zone that comes from no primary | REFUSED, NOTAUTH |
//! | UPDATE (RFC 2136) signed with a key that may change something of the zone | what becomes of it, when it is durable and served |
//! | UPDATE by others, of a zone that nobody may change, of no zone here | REFUSED, NOTAUTH |
//! | more than one question (RFC 9619), malformed, answers in a query | FORMERR |
//! | no question, but a DNS cookie (RFC 7873 section 5.4) | NOERROR or BADCOOKIE, with the cookie |
//! | no question else | FORMERR |
//! | two OPT records, or one with an owner name (RFC 6891 section 6.1) | FORMERR |
//! | TSIG that is not last (RFC 8945 section 5.1) | FORMERR |
//! | a question for OPT, TSIG and other types that no zone holds | FORMERR |
//! | an EDNS version other than 0 | BADVERS |
//! | a malformed DNS cookie (RFC 7873 section 5.2.2) | FORMERR |
//! | edns-tcp-keepalive with a value, over TCP (RFC 7828 section 3.2.1) | FORMERR |
//! | TSIG by a key that is not here, or that does not fit (RFC 8945 sections 5.2.1 and 5.2.2) | NOTAUTH, BADKEY or BADSIG, unsigned |
//! | TSIG at a wrong time, or cut (sections 5.2.3 and 5.2.4) | NOTAUTH, BADTIME or BADTRUNC, signed |
//! | TSIG that is right | as without, signed |
//! | class CH: identity and version, where configured (RFC 4892) | TXT, else REFUSED |
//! | another class | REFUSED |
//! | AXFR over TCP (RFC 5936) | the zone, or REFUSED, extended error 18 |
//! | AXFR over UDP | NOTIMP |
//! | IXFR (RFC 1995) | the SOA if there is nothing newer, or over UDP no room; else what changed, or the zone where that is not known or larger; or REFUSED, extended error 18 |
//! | MAILA, MAILB | NOTIMP |
//! | a name in no zone of this server | REFUSED, extended error 20 |
//! | a name in a zone that could not be loaded | SERVFAIL, extended error 14 |
//! | an answer whose signatures have expired | SERVFAIL, extended error 7 |
//! | an answer that is withheld, since a validator would refuse it | SERVFAIL, extended error 6 |
//! | an answer that no message has room for | SERVFAIL |
//!
//! There is an OPT record in a response if and only if the query has one that could be read.
//! FORMERR, NOTIMP, NOTAUTH and BADVERS are never larger than the message they answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;
use xdp_common::dns::{HEADER_LEN, MAX_PAYLOAD};
use xdp_common::{Outcome, maps};

use super::extended_error::ExtendedError;
use super::keepalive::Keepalive;
use super::message::{CLASS_CH, CLASS_IN, Query, Question, Rcode, add_to_count};
use super::options::Requested;
use super::served::Served;
use super::stats::{SocketStats, Transport};
use super::zones::ServedZone;
use crate::clock::WallTime;
use crate::compile::{self, Answered, MAX_TCP_MESSAGE};
use crate::transfer::axfr::{self, Heading, Transferable};
use crate::transfer::ixfr::Differences;
use crate::transfer::tsig::{self, Rejection, Signer};
use crate::transfer::update::Request;
use crate::zone::{Name, Rtype};

/// The opcode of NOTIFY (RFC 1996 section 4.5).
const NOTIFY: u8 = 4;

/// The opcode of UPDATE (RFC 2136 section 1.3).
const UPDATE: u8 = 5;

/// A type for private use that no zone is likely to have (RFC 6895 section 3.1).
const NO_TYPE: Rtype = Rtype(65534);

/// The payload size of a client without EDNS (RFC 1035 section 4.2.1).
const MIN_PAYLOAD: usize = 512;

/// What is sent in return.
pub enum Reply {
    /// Nothing.
    Silent,
    /// The response that was written.
    Response,
    /// The same, signed since the query was: the client is no stranger.
    SignedResponse,
    /// What became of an update, once that is known.
    Later(Pending),
    /// A zone or what changed of it, in as many messages as it takes.
    Transfer(Transfer),
}

/// The response to an update that waits.
pub struct Pending {
    answer: oneshot::Receiver<u16>,
    /// The response, but for its response code.
    response: Vec<u8>,
    signer: Option<Signer>,
}

impl Pending {
    /// Waits until it is known what became of it.
    pub async fn response(self) -> Vec<u8> {
        let Pending { answer, mut response, signer } = self;
        // Who drops it could not do it.
        let rcode = answer.await.unwrap_or(Rcode::SERVFAIL.0);
        response[3] |= (rcode & 0x0f) as u8;
        if let Some(mut signer) = signer {
            signer.sign(&mut response, WallTime::now().seconds());
        }
        response
    }
}

/// A transfer that was granted.
pub struct Transfer {
    /// The zone as it is served.
    pub zone: Arc<dyn Transferable>,
    /// What changed since the version that the client has; `None`: all of the zone is sent.
    pub differences: Option<Differences>,
    /// What each message starts and ends with.
    pub heading: Heading,
    /// Signs the messages, if the query was signed.
    pub signer: Option<Signer>,
}

impl Transfer {
    /// Its messages, without signatures.
    pub fn messages(&self) -> axfr::Messages<'_> {
        match &self.differences {
            Some(differences) => axfr::difference_messages(&*self.zone, differences, &self.heading),
            None => axfr::messages(&*self.zone, &self.heading),
        }
    }
}

/// Answers `message` from `client`; the response is written to `out`.
pub fn respond(
    served: &Served,
    stats: &SocketStats,
    message: &[u8],
    client: SocketAddr,
    transport: Transport,
    now: WallTime,
    out: &mut Vec<u8>,
) -> Reply {
    answer(served, stats, message, client, transport, now, out).0
}

/// The same, and what else is to know of the response.
pub fn answer(
    served: &Served,
    stats: &SocketStats,
    message: &[u8],
    client: SocketAddr,
    transport: Transport,
    now: WallTime,
    out: &mut Vec<u8>,
) -> (Reply, Answered) {
    out.clear();
    // A response to port 0 can reach nobody (RFC 768), and QR=1 is never answered, lest two
    // servers answer each other for ever.
    if client.port() == 0 {
        stats.outcome(transport, Outcome::SourcePort);
        return (Reply::Silent, Answered::of(Outcome::SourcePort));
    }
    let asked = Circumstances { served, stats, client: client.ip(), transport, now };
    let is_malformed =
        transport == Transport::Tcp && Keepalive::of(message) == Keepalive::Malformed;
    let answered = match is_malformed {
        true => Answered::of(Outcome::Malformed),
        false => asked.engine(message, out),
    };
    stats.outcome(transport, answered.outcome);
    if answered.outcome.is_answered() {
        return (Reply::Response, answered);
    }
    let (reply, answered) = match Query::read(message) {
        Some(query) => {
            let mut plain = Plain::new(asked, &query, answered.outcome);
            let reply = match is_malformed {
                true => plain.error(Rcode::FORMERR, None, out),
                false => plain.answer(out),
            };
            (reply, plain.answered)
        }
        None => (Reply::Silent, answered),
    };
    if matches!(reply, Reply::Silent) {
        out.clear();
        stats.silent.fetch_add(1, Relaxed);
    }
    (reply, answered)
}

/// The circumstances of one message.
struct Circumstances<'a> {
    served: &'a Served,
    stats: &'a SocketStats,
    client: IpAddr,
    transport: Transport,
    now: WallTime,
}

impl Circumstances<'_> {
    fn engine(&self, message: &[u8], out: &mut Vec<u8>) -> Answered {
        self.served.engine.respond(message, &self.asked(), out)
    }

    /// What the engine is told.
    fn asked(&self) -> compile::QueryContext<'_> {
        let over_tcp = self.transport == Transport::Tcp;
        let limit = if over_tcp { MAX_TCP_MESSAGE } else { self.served.settings.udp_payload };
        compile::QueryContext {
            client: self.client,
            over_tcp,
            limit,
            now: self.now.signature_time(),
            edns_settings: &self.served.settings.edns,
        }
    }

    /// What options say.
    fn edns(&self) -> &maps::EdnsSettings {
        &self.served.settings.edns
    }
}

/// A message that the engine passed up, and what it is answered with.
struct Plain<'a, 'm> {
    asked: Circumstances<'a>,
    query: &'a Query<'m>,
    /// The query's options.
    options: Requested,
    /// What else is to know of the response.
    answered: Answered,
}

impl<'a, 'm> Plain<'a, 'm> {
    fn new(asked: Circumstances<'a>, query: &'a Query<'m>, outcome: Outcome) -> Plain<'a, 'm> {
        let options = Requested::read(query.options);
        let answered = Answered {
            cookie: options.cookie(asked.client, asked.edns(), asked.now.signature_time()),
            question_octets: query.question.map_or(0, |question| question.wire.len()),
            dnssec_ok: query.edns.map(|edns| edns.dnssec_ok),
            ..Answered::of(outcome)
        };
        Plain { asked, query, options, answered }
    }

    fn answer(&mut self, out: &mut Vec<u8>) -> Reply {
        let query = self.query;
        // RFC 8906 section 3.1.4: an unknown opcode is NOTIMP whatever the rest looks like.
        if !matches!(query.opcode(), 0 | NOTIFY | UPDATE) {
            return self.error(Rcode::NOTIMP, None, out);
        }
        if !query.is_well_formed {
            return self.error(Rcode::FORMERR, None, out);
        }
        let Some(record) = &query.tsig else { return self.content(None, out) };
        let (keys, now) = (&self.asked.served.settings.tsig_keys, self.asked.now.seconds());
        match tsig::verify(keys, query.message(), record, now) {
            Ok(signer) => {
                self.asked.stats.tsig_verified.fetch_add(1, Relaxed);
                let reply = self.content(Some(signer.key().name()), out);
                self.sign(reply, signer, out)
            }
            Err(rejection) => self.reject(rejection, out),
        }
    }

    /// What is answered to a message that is well-formed, and signed with this key if it is signed.
    fn content(&mut self, key: Option<&Name>, out: &mut Vec<u8>) -> Reply {
        let query = self.query;
        if query.opcode() == NOTIFY {
            return self.notify(key, out);
        }
        if query.opcode() == UPDATE {
            return self.update(key, out);
        }
        let Some(question) = query.question else { return self.cookie_alone(out) };
        if query.edns.is_some_and(|edns| edns.version != 0) {
            return self.error(Rcode::BADVERS, None, out);
        }
        if self.options.has_malformed_cookie(self.asked.edns()) {
            return self.error(Rcode::FORMERR, None, out);
        }
        match question.class {
            CLASS_IN => {}
            CLASS_CH => return self.chaos(&question, out),
            _ => return self.error(Rcode::REFUSED, None, out),
        }
        match question.rtype {
            Rtype::AXFR | Rtype::IXFR => self.transfer(&question, key, out),
            Rtype::RRSIG => self.signatures(&question, out),
            // MAILB and MAILA (RFC 1035 section 3.2.3), which nobody has.
            Rtype(253 | 254) => self.error(Rcode::NOTIMP, None, out),
            // Types that only stand in messages, never in a zone (RFC 6895 section 3.1).
            Rtype::OPT | Rtype(0 | 128..=252) => self.error(Rcode::FORMERR, None, out),
            rtype => self.again(rtype, out),
        }
    }

    /// NOTIFY (RFC 1996): a primary says that there is a newer version. What else it says of that is not believed: the primary
    /// is asked.
    fn notify(&self, key: Option<&Name>, out: &mut Vec<u8>) -> Reply {
        let is_of_soa =
            |question: &Question<'_>| question.rtype == Rtype::SOA && question.class == CLASS_IN;
        let Some(question) = self.query.question.filter(is_of_soa) else {
            return self.error(Rcode::FORMERR, None, out);
        };
        let qname = question.name.to_ascii_lowercase();
        let refused = |rcode, out: &mut Vec<u8>| {
            self.asked.stats.notify_refused.fetch_add(1, Relaxed);
            self.error(rcode, None, out)
        };
        let zone = self.asked.served.zone_at(&qname).filter(|zone| zone.notify_sources.exist());
        let Some((zone, name)) = zone.zip(Name::from_wire(&qname)) else {
            return refused(Rcode::NOTAUTH, out);
        };
        if !zone.notify_sources.include(self.asked.client, key) {
            return refused(Rcode::REFUSED, out);
        }
        self.asked.stats.notify_heeded.fetch_add(1, Relaxed);
        self.asked.served.settings.notified.add(name, self.asked.client.to_canonical());
        self.asked.stats.rcode(Rcode::NOERROR);
        self.query.begin(Rcode::NOERROR, true, out);
        self.query.finish(Rcode::NOERROR, self.payload(), &self.options(None), out);
        Reply::Response
    }

    /// UPDATE (RFC 2136): it waits for its zone, if its key may change something there. What it may, the zone decides.
    fn update(&self, key: Option<&Name>, out: &mut Vec<u8>) -> Reply {
        let request = match Request::read(self.query.message()) {
            Ok(request) => request,
            Err(_) => return self.error(Rcode::FORMERR, None, out),
        };
        let refused = |rcode, out: &mut Vec<u8>| {
            self.asked.stats.updates_refused.fetch_add(1, Relaxed);
            self.error(rcode, None, out)
        };
        let Some(zone) = self.asked.served.zone_at(request.zone.as_wire()) else {
            return refused(Rcode::NOTAUTH, out);
        };
        let Some(key) = key.filter(|key| zone.update_keys.contains(key)) else {
            return refused(Rcode::REFUSED, out);
        };
        let updates = &self.asked.served.settings.updates;
        let octets = self.query.message().len();
        let Some(answer) = updates.add(request.zone, request.update, key.clone(), octets) else {
            return self.error(Rcode::SERVFAIL, None, out);
        };
        self.asked.stats.updates_taken.fetch_add(1, Relaxed);
        self.query.begin(Rcode::NOERROR, false, out);
        self.query.finish(Rcode::NOERROR, self.payload(), &self.options(None), out);
        Reply::Later(Pending { answer, response: std::mem::take(out), signer: None })
    }

    /// No question: a client that asks for a cookie alone gets it (RFC 7873 section 5.4), all others FORMERR.
    fn cookie_alone(&self, out: &mut Vec<u8>) -> Reply {
        if self.query.edns.is_some_and(|edns| edns.version != 0) {
            return self.error(Rcode::BADVERS, None, out);
        }
        let is_malformed = self.options.has_malformed_cookie(self.asked.edns());
        let Some(cookie) = self.answered.cookie.as_ref().filter(|_| !is_malformed) else {
            return self.error(Rcode::FORMERR, None, out);
        };
        let is_good = cookie.is_valid || !self.options.has_server_part();
        self.error(if is_good { Rcode::NOERROR } else { Rcode::BADCOOKIE }, None, out)
    }

    /// Asks the engine once more, with nothing in the query but what matters to the answer.
    fn again(&mut self, rtype: Rtype, out: &mut Vec<u8>) -> Reply {
        let answered = self.asked.engine(&self.query.bare(rtype), out);
        if !answered.outcome.is_answered() {
            return self.unanswered(answered.outcome, out);
        }
        self.answered = answered;
        Reply::Response
    }

    /// What is said where the engine has no answer.
    fn unanswered(&self, outcome: Outcome, out: &mut Vec<u8>) -> Reply {
        match outcome {
            Outcome::NotOurs => self.not_ours(out),
            Outcome::Expired => self.error(Rcode::SERVFAIL, Some(self.why_expired()), out),
            _ => self.error(Rcode::SERVFAIL, None, out),
        }
    }

    /// Why signatures count as expired: in a zone of which RRsets are withheld a validator would most likely have
    /// refused these.
    fn why_expired(&self) -> ExtendedError {
        let qname = self.query.question.map(|question| question.name.to_ascii_lowercase());
        let zone = qname.as_deref().and_then(|qname| self.asked.served.zone_of(qname));
        match zone.is_some_and(|zone| zone.withholds) {
            true => ExtendedError::DNSSEC_BOGUS,
            false => ExtendedError::SIGNATURE_EXPIRED,
        }
    }

    /// REFUSED for what no zone here encloses; SERVFAIL for a zone that is ours but not loaded.
    fn not_ours(&self, out: &mut Vec<u8>) -> Reply {
        // Looking for the zone takes as many steps as the name has labels, which who floods us
        // chooses: they are taken only where they can make a difference.
        let question = self.query.question.filter(|_| self.asked.served.lacks_zones);
        let qname = question.map(|question| question.name.to_ascii_lowercase());
        match qname.and_then(|qname| self.asked.served.zone_of(&qname)) {
            Some(_) => self.error(Rcode::SERVFAIL, Some(ExtendedError::NOT_READY), out),
            None => self.error(Rcode::REFUSED, Some(ExtendedError::NOT_AUTHORITATIVE), out),
        }
    }

    fn error(&self, rcode: Rcode, error: Option<ExtendedError>, out: &mut Vec<u8>) -> Reply {
        self.asked.stats.rcode(rcode);
        self.query.begin(rcode, false, out);
        // So that it is never larger than what it answers.
        let is_bare =
            [Rcode::FORMERR, Rcode::NOTIMP, Rcode::NOTAUTH, Rcode::BADVERS].contains(&rcode);
        let options = if is_bare { Vec::new() } else { self.options(error) };
        self.query.finish(rcode, self.payload(), &options, out);
        Reply::Response
    }

    /// The options of a response that comes from no zone.
    fn options(&self, error: Option<ExtendedError>) -> Vec<u8> {
        let Circumstances { client, now, .. } = self.asked;
        self.options.response(client, self.asked.edns(), now.signature_time(), error)
    }

    /// TSIG that is wrong (RFC 8945 section 5.3.2).
    fn reject(&self, rejection: Rejection<'_>, out: &mut Vec<u8>) -> Reply {
        let Some(error) = rejection.error() else { return self.error(Rcode::FORMERR, None, out) };
        self.asked.stats.tsig_error(error);
        self.asked.stats.rcode(Rcode::NOTAUTH);
        self.query.begin(Rcode::NOTAUTH, false, out);
        self.query.finish(Rcode::NOTAUTH, self.payload(), &[], out);
        rejection.finish(out, self.asked.now.seconds());
        Reply::Response
    }

    /// Signs the response.
    fn sign(&self, reply: Reply, mut signer: Signer, out: &mut Vec<u8>) -> Reply {
        match reply {
            Reply::Silent => Reply::Silent,
            Reply::Later(pending) => Reply::Later(Pending { signer: Some(signer), ..pending }),
            Reply::Transfer(transfer) => {
                let heading = transfer.heading.with_room(signer.record_len());
                Reply::Transfer(Transfer { heading, signer: Some(signer), ..transfer })
            }
            Reply::Response | Reply::SignedResponse => {
                if out.len() + signer.record_len() > self.response_limit() {
                    // RFC 8945 section 5.3: "the server MUST alter the response so that a TSIG can be included. This
                    // response contains only the question and a TSIG record, has the TC bit set, and has an RCODE of
                    // 0 (NOERROR)."
                    self.query.begin(Rcode::NOERROR, false, out);
                    out[2] |= 0x02;
                }
                signer.sign(out, self.asked.now.seconds());
                Reply::SignedResponse
            }
        }
    }

    fn payload(&self) -> u16 {
        self.asked.served.settings.udp_payload.min(MAX_PAYLOAD.into()) as u16
    }

    /// Class CH: who this server is, if it may be told (RFC 4892).
    fn chaos(&self, question: &Question<'_>, out: &mut Vec<u8>) -> Reply {
        let settings = &self.asked.served.settings;
        let text = match question.name.to_ascii_lowercase().as_slice() {
            b"\x02id\x06server\x00" | b"\x08hostname\x04bind\x00" => settings.identity.as_deref(),
            b"\x07version\x06server\x00" | b"\x07version\x04bind\x00" => {
                settings.version.as_deref()
            }
            _ => None,
        };
        let is_txt = matches!(question.rtype, Rtype::TXT | Rtype::ANY);
        let Some(text) = text.filter(|text| is_txt && text.len() <= 255) else {
            return self.error(Rcode::REFUSED, None, out);
        };
        self.asked.stats.rcode(Rcode::NOERROR);
        self.query.begin(Rcode::NOERROR, true, out);
        // The owner is the question's name; type TXT, class CH, TTL 0: it may change any moment.
        out.extend_from_slice(&[0xc0, HEADER_LEN as u8, 0, 16, 0, 3, 0, 0, 0, 0]);
        out.extend_from_slice(&(text.len() as u16 + 1).to_be_bytes());
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
        add_to_count(out, 1);
        self.query.finish(Rcode::NOERROR, self.payload(), &self.options(None), out);
        Reply::Response
    }

    /// RRSIG: the signatures of one RRset of the name. Below a cut, and where there are none, any other type is
    /// answered alike. What became of a CNAME's target is no matter: signatures stand beside a CNAME (RFC 4035
    /// section 2.5).
    fn signatures(&mut self, question: &Question<'_>, out: &mut Vec<u8>) -> Reply {
        let query = self.query;
        let engine = &self.asked.served.engine;
        let compile::SignatureAnswer { answered, records } =
            engine.signatures(&query.bare(NO_TYPE), &self.asked.asked(), out);
        if !answered.outcome.is_answered() {
            return self.unanswered(answered.outcome, out);
        }
        self.answered.key = answered.key;
        if records == 0 {
            self.answered = answered;
            let qtype_at = HEADER_LEN + question.name.len();
            if let Some(qtype) = out.get_mut(qtype_at..qtype_at + 2) {
                qtype.copy_from_slice(&question.rtype.0.to_be_bytes());
            }
            return Reply::Response;
        }
        let signatures = std::mem::take(out);
        query.begin(Rcode::NOERROR, true, out);
        // Room for OPT, of which a query without EDNS has no need.
        let options = self.options(None);
        if out.len() + signatures.len() + 11 + options.len() > self.response_limit() {
            out[2] |= 0x02;
        } else {
            out[6..8].copy_from_slice(&records.to_be_bytes());
            out.extend_from_slice(&signatures);
        }
        self.asked.stats.rcode(Rcode::NOERROR);
        query.finish(Rcode::NOERROR, self.payload(), &options, out);
        Reply::Response
    }

    /// The largest response to this query in octets.
    fn response_limit(&self) -> usize {
        if self.asked.transport == Transport::Tcp {
            return MAX_TCP_MESSAGE;
        }
        let asked = self.query.edns.map_or(0, |edns| usize::from(edns.payload));
        asked.max(MIN_PAYLOAD).min(self.asked.served.settings.udp_payload)
    }

    /// AXFR (RFC 5936) and IXFR (RFC 1995) to who may have them.
    fn transfer(&self, question: &Question<'_>, key: Option<&Name>, out: &mut Vec<u8>) -> Reply {
        let over_tcp = self.asked.transport == Transport::Tcp;
        if question.rtype == Rtype::AXFR && !over_tcp {
            // RFC 5936 section 4.2: AXFR over UDP is not defined.
            return self.error(Rcode::NOTIMP, None, out);
        }
        let qname = question.name.to_ascii_lowercase();
        // To who may not have it, a zone that is not here looks like one that is.
        let client = self.asked.client;
        let served = self.asked.served.zone_at(&qname);
        let Some(served) = served.filter(|zone| zone.access.allows(client, key)) else {
            self.asked.stats.transfers_refused.fetch_add(1, Relaxed);
            return self.error(Rcode::REFUSED, Some(ExtendedError::PROHIBITED), out);
        };
        let ServedZone { zone: Some(zone), .. } = served else {
            return self.error(Rcode::SERVFAIL, Some(ExtendedError::NOT_READY), out);
        };
        let known = self.query.ixfr_serial.filter(|_| question.rtype == Rtype::IXFR);
        let is_current = known.is_some_and(|serial| !zone.serial().is_newer_than(serial));
        let differences = match is_current {
            true => None,
            false => known.and_then(|serial| served.past.since(serial)),
        };
        if is_current || !over_tcp && differences.is_none() {
            return self.soa_alone(&**zone, out);
        }
        self.query.begin(Rcode::NOERROR, true, out);
        let head = out.clone();
        let mut tail = vec![0; HEADER_LEN];
        self.query.finish(Rcode::NOERROR, self.payload(), &self.options(None), &mut tail);
        out.clear();
        let tail = tail.split_off(HEADER_LEN);
        let heading = Heading::new(head, tail);
        let transfer = Transfer { zone: Arc::clone(zone), differences, heading, signer: None };
        match over_tcp {
            true => Reply::Transfer(transfer),
            false => self.in_one_message(&transfer, key, out),
        }
    }

    /// The SOA record alone, which says that there is nothing newer, or, over UDP, that the client shall come back over TCP
    /// (RFC 1995 section 2).
    fn soa_alone(&self, zone: &dyn Transferable, out: &mut Vec<u8>) -> Reply {
        self.asked.stats.rcode(Rcode::NOERROR);
        self.query.begin(Rcode::NOERROR, true, out);
        axfr::push_soa(zone, out);
        self.query.finish(Rcode::NOERROR, self.payload(), &self.options(None), out);
        Reply::Response
    }

    /// What changed, if the client takes a message over UDP that has room for it.
    fn in_one_message(&self, transfer: &Transfer, key: Option<&Name>, out: &mut Vec<u8>) -> Reply {
        let keys = &self.asked.served.settings.tsig_keys;
        let signature = key.and_then(|key| keys.get(key)).map_or(0, |key| key.record_len());
        let limit = self.response_limit().saturating_sub(signature);
        let differences = transfer.differences.as_ref();
        // Owners are shorter in the message, but not by so much that it would be worth the try.
        if differences.is_some_and(|differences| differences.wire_octets() <= 2 * limit) {
            let mut messages = transfer.messages();
            let is_written = messages.next_message(out).unwrap_or(false);
            if is_written && messages.is_complete() && out.len() <= limit {
                self.asked.stats.rcode(Rcode::NOERROR);
                return Reply::Response;
            }
        }
        self.soa_alone(&*transfer.zone, out)
    }
}
