//! One datagram answered, as far as the rate limiter lets.

use std::net::SocketAddr;
use std::sync::Arc;

use xdp_common::Outcome;
use xdp_common::dns::{HEADER_LEN, MAX_PAYLOAD, QUESTION_TAIL_LEN};
use xdp_common::limit::decide::Slip;
use xdp_common::limit::response_key::ResponseKey;
use xdp_common::limit::{Class, Verdict};

use crate::clock::WallTime;
use crate::compile::Answered;
use crate::ratelimit::compiled::Response;
use crate::ratelimit::limiter::{Limiter, Moment};
use crate::server::message::{Rcode, add_opt};
use crate::server::proxy::{self, ProxyHeader};
use crate::server::responder::{self, Pending, Reply};
use crate::server::served::{Served, Shared};
use crate::server::stats::{SocketStats, Transport};

/// What is sent in return for a datagram.
pub enum Datagram {
    /// Nothing.
    None,
    /// The response that was written.
    Response,
    /// What became of an update, once that is known: those that wait have a bound
    /// ([`WaitingUpdates`](crate::transfer::update::WaitingUpdates)).
    Later(Pending),
}

/// Answers the datagrams that came together: from one version of what is served, at one time.
pub struct Answerer<'s> {
    shared: &'s Shared,
    served: Arc<Served>,
    limiter: &'s Limiter,
    stats: &'s SocketStats,
    moment: Moment,
    now: WallTime,
}

impl<'s> Answerer<'s> {
    /// For what has come now.
    pub fn new(shared: &'s Shared, stats: &'s SocketStats) -> Answerer<'s> {
        let limiter = shared.limiter();
        let moment = limiter.now();
        Answerer { shared, served: shared.get(), limiter, stats, moment, now: WallTime::now() }
    }

    /// When they are answered.
    pub fn now(&self) -> WallTime {
        self.now
    }

    /// Answers what came from this address, which may be a proxy's.
    pub fn answer_from(
        &self,
        datagram: &[u8],
        address: SocketAddr,
        response: &mut Vec<u8>,
    ) -> Datagram {
        if !self.shared.is_proxy(address.ip()) {
            return self.answer(datagram, address, response);
        }
        match proxy::read(datagram) {
            Some(ProxyHeader { client, len }) => {
                self.answer(&datagram[len..], client.unwrap_or(address), response)
            }
            None => {
                self.stats.outcome(Transport::Udp, Outcome::Malformed);
                Datagram::None
            }
        }
    }

    /// Answers one of them, as far as the rate limiter lets.
    pub fn answer(&self, query: &[u8], client: SocketAddr, response: &mut Vec<u8>) -> Datagram {
        let Answerer { limiter, stats, moment, now, .. } = *self;
        if let Err(outcome) = limiter.arrive(client.ip(), moment) {
            stats.outcome(Transport::Udp, outcome);
            return Datagram::None;
        }
        let (reply, answered) =
            responder::answer(&self.served, stats, query, client, Transport::Udp, now, response);
        let is_signed = match reply {
            Reply::Response => false,
            Reply::SignedResponse => true,
            // Nobody has it done who has no key.
            Reply::Later(pending) => return Datagram::Later(pending),
            Reply::Silent | Reply::Transfer(_) => return Datagram::None,
        };
        if !limiter.is_on() {
            return Datagram::Response;
        }
        // The question, as the response repeats it: its name, type and class.
        let question = response.get(HEADER_LEN..HEADER_LEN + answered.question_octets);
        let qname = question.and_then(|question| question.split_last_chunk::<QUESTION_TAIL_LEN>());
        let qname = qname.map_or(vec![0], |(name, _)| name.to_ascii_lowercase());
        let ready = Response {
            qname: &qname,
            key: key_of(answered.key, response),
            octets: response.len(),
            query_octets: query.len(),
            is_vouched_for: is_signed
                || answered.cookie.as_ref().is_some_and(|cookie| cookie.is_valid),
        };
        match limiter.respond(client.ip(), &ready, moment) {
            Ok(Verdict::Slip) => {
                stats.outcome(Transport::Udp, Outcome::Slipped);
                slip(&answered, response);
                Datagram::Response
            }
            Ok(_) => Datagram::Response,
            Err(outcome) => {
                stats.outcome(Transport::Udp, outcome);
                Datagram::None
            }
        }
    }
}

/// What of a response is counted together: the engine knows of its own, errors are plain code's.
fn key_of(engine: ResponseKey, response: &[u8]) -> ResponseKey {
    const NXDOMAIN: u8 = 3;
    let rcode = response.get(3).map_or(0, |octet| octet & 0x0f);
    let is_error = rcode != 0 && rcode != NXDOMAIN;
    if is_error { ResponseKey { class: Class::Error as u32, name: 0 } } else { engine }
}

/// Puts in the place of a response what is no larger than its query: BADCOOKIE, with the cookie that the client should
/// have had, or TC=1 and no record.
fn slip(answered: &Answered, response: &mut Vec<u8>) {
    const AA: u8 = 0x04;
    const TC: u8 = 0x02;
    let rcode = rcode_of(response, answered.question_octets);
    response.truncate(HEADER_LEN + answered.question_octets);
    // The question alone is left.
    response[6..HEADER_LEN].fill(0);
    let (rcode, options) = match (Slip::to(answered.cookie.is_some()), &answered.cookie) {
        (Slip::BadCookie, Some(cookie)) => {
            response[2] &= !(AA | TC);
            (Rcode::BADCOOKIE, &cookie.option[..])
        }
        _ => {
            response[2] |= TC;
            (rcode, &[][..])
        }
    };
    response[3] = response[3] & 0xf0 | (rcode.0 & 0x0f) as u8;
    if let Some(dnssec_ok) = answered.dnssec_ok {
        add_opt(rcode, MAX_PAYLOAD, dnssec_ok, options, response);
    }
}

/// The response code, with the extended bits of the OPT record. Those stand only in responses without any other record
/// (BADVERS, BADCOOKIE), and so the OPT record stands behind the question.
fn rcode_of(response: &[u8], question_octets: usize) -> Rcode {
    let low = u16::from(response[3] & 0x0f);
    match response[HEADER_LEN..].get(question_octets..) {
        Some([0, 0, 41, _, _, high, ..]) => Rcode(u16::from(*high) << 4 | low),
        _ => Rcode(low),
    }
}
