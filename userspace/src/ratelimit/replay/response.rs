//! What class a message is of, and under which name it counts, as far as the message tells.
//!
//! Captures may be cut short: what is cut off is not there, and the header's counts are not believed.

use std::hash::{DefaultHasher, Hash, Hasher};

use xdp_common::dns::HEADER_LEN;
use xdp_common::limit::Class;
use xdp_common::limit::response_key::ResponseKey;

use crate::ratelimit::compiled::Response;
use crate::zone::Rtype;

/// What is counted.
#[derive(Debug, PartialEq)]
pub struct CountedResponse {
    /// Its class.
    pub class: Class,
    /// The lower-case name of the question; the root's if there is none.
    pub qname: Vec<u8>,
    /// What stands for the name and, for data, the type.
    pub name: u64,
    /// Of the response.
    pub octets: usize,
    /// Of the query.
    pub query_octets: usize,
}

impl CountedResponse {
    /// The response as the limiter is asked about it; a capture does not tell whose cookie is valid.
    pub fn response(&self) -> Response<'_> {
        Response {
            qname: &self.qname,
            key: ResponseKey { class: self.class.index() as u32, name: self.name },
            octets: self.octets,
            query_octets: self.query_octets,
            is_vouched_for: false,
        }
    }
}

const NXDOMAIN: u8 = 3;
/// Records that are looked at: what decides stands at the front.
const MAX_RECORDS: u16 = 64;
/// Octets of an OPT record without options.
const OPT_LEN: usize = 11;

struct Question {
    name: Vec<u8>,
    rtype: Rtype,
    end: usize,
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

fn question(message: &[u8]) -> Option<Question> {
    if u16_at(message, 4)? == 0 {
        return None;
    }
    let (name, at) = name(message, HEADER_LEN)?;
    Some(Question { name, rtype: Rtype(u16_at(message, at)?), end: at + 4 })
}

/// A name in full and in lower case, and where what follows it starts (RFC 1035 section 4.1.4).
fn name(message: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut end = None;
    loop {
        let len = *message.get(at)?;
        match len {
            0 => {
                name.push(0);
                return Some((name, end.unwrap_or(at + 1)));
            }
            1..64 => {
                let label = message.get(at..at + 1 + usize::from(len))?;
                name.extend(label.iter().map(u8::to_ascii_lowercase));
                at += label.len();
            }
            192.. => {
                let target = usize::from(u16_at(message, at)? & 0x3fff);
                end.get_or_insert(at + 2);
                // Only back: so it comes to an end.
                at = Some(target).filter(|target| *target < at)?;
            }
            _ => return None,
        }
        if name.len() > crate::zone::name::MAX_NAME_LEN {
            return None;
        }
    }
}

fn hash(name: &[u8], rtype: u16) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, rtype).hash(&mut hasher);
    hasher.finish()
}

/// What a response counts as. `None` if it is none, or cut off within its question.
pub fn of_response(message: &[u8]) -> Option<CountedResponse> {
    let flags = u16_at(message, 2)?;
    let rcode = (flags & 15) as u8;
    let answers = u16_at(message, 6)?;
    let authorities = u16_at(message, 8)?;
    let Some(asked) = question(message) else {
        // An error may come without a question.
        return (rcode != 0).then_some(CountedResponse {
            class: Class::Error,
            qname: vec![0],
            name: 0,
            octets: message.len(),
            query_octets: HEADER_LEN,
        });
    };
    let found = SectionFacts::look(message, asked.end, answers, authorities);
    let is_referral =
        answers == 0 && found.soa.is_none() && found.ns.is_some() && flags & 0x0400 == 0;
    let class = match (rcode, asked.rtype) {
        (NXDOMAIN, _) => Class::Nxdomain,
        (1.., _) => Class::Error,
        _ if is_referral => Class::Referral,
        _ if answers == 0 && flags & 0x0200 == 0 => Class::Nodata,
        (_, Rtype::DNSKEY) => Class::Dnskey,
        (_, Rtype::ANY) => Class::Any,
        _ => Class::Positive,
    };
    let name = match class {
        Class::Error => 0,
        // The closest encloser is not in the message; the zone's name is.
        Class::Nxdomain => hash(found.soa.as_ref().unwrap_or(&asked.name), 0),
        Class::Referral => hash(found.ns.as_ref().unwrap_or(&asked.name), 0),
        Class::Nodata => hash(&asked.name, 0),
        _ => hash(&found.wildcard_of(&asked.name), asked.rtype.0),
    };
    let opt = if u16_at(message, 10).unwrap_or(0) > 0 { OPT_LEN } else { 0 };
    let query_octets = asked.end + opt;
    Some(CountedResponse { class, qname: asked.name, name, octets: message.len(), query_octets })
}

/// What a query counts as if it is answered with so many octets.
pub fn of_query(message: &[u8], octets: usize) -> Option<CountedResponse> {
    if message.get(2)? & 0x80 != 0 {
        return None;
    }
    let asked = question(message)?;
    let class = match asked.rtype {
        Rtype::DNSKEY => Class::Dnskey,
        Rtype::ANY => Class::Any,
        _ => Class::Positive,
    };
    Some(CountedResponse {
        class,
        name: hash(&asked.name, asked.rtype.0),
        qname: asked.name,
        octets,
        query_octets: message.len(),
    })
}

/// What was found in a response's sections.
#[derive(Default)]
struct SectionFacts {
    /// The number of labels that were signed, of the first signature in the answer.
    labels: Option<usize>,
    /// The owner of the SOA record in the authority section.
    soa: Option<Vec<u8>>,
    /// Of the NS records there.
    ns: Option<Vec<u8>>,
}

impl SectionFacts {
    fn look(message: &[u8], start: usize, answers: u16, authorities: u16) -> SectionFacts {
        let mut found = SectionFacts::default();
        let mut at = start;
        for number in 0..answers.saturating_add(authorities).min(MAX_RECORDS) {
            let Some((owner, fixed)) = name(message, at) else { break };
            let (Some(rtype), Some(len)) = (u16_at(message, fixed), u16_at(message, fixed + 8))
            else {
                break;
            };
            let rdata = fixed + 10;
            match (Rtype(rtype), number < answers) {
                // RFC 4034 section 3.1: type covered, algorithm, labels.
                (Rtype::RRSIG, true) if found.labels.is_none() => {
                    found.labels = message.get(rdata + 3).map(|labels| usize::from(*labels));
                }
                (Rtype::SOA, false) => found.soa = Some(owner),
                (Rtype::NS, false) => found.ns = Some(owner),
                _ => {}
            }
            at = rdata + usize::from(len);
        }
        found
    }

    /// The name that an answer counts under: if it was made from a wildcard, that one's parent (RFC 4035
    /// section 5.3.4: fewer labels were signed than the name has).
    fn wildcard_of(&self, qname: &[u8]) -> Vec<u8> {
        let mut name = qname;
        let labels = crate::zone::name::labels(qname).count();
        for _ in self.labels.unwrap_or(labels)..labels {
            name = crate::zone::name::parent(name).unwrap_or(name);
        }
        name.to_vec()
    }
}
