//! An engine for tests: plain look-ups in a zone, behind the interface of the real one.

use std::sync::Arc;

use xdp_common::dns::MAX_PAYLOAD;
use xdp_common::{Outcome, maps};

use super::message::{CLASS_IN, Query, Rcode, add_to_count};
use super::{ResponseSettings, Served, ServedZone};
use crate::compile::{Answered, Engine, QueryContext};
use crate::dnssec::any::preferred_type;
use crate::transfer::access::TransferAccess;
use crate::transfer::notified::NotifySources;
use crate::transfer::tsig::Keys;
use crate::zone::{Name, Rtype, Version, Zone, ZoneBuilder, name};

/// Exact matches, NODATA and NXDOMAIN of one zone, or of none. It is as strict as XDP is: a query
/// with options, or longer than 300 octets, is passed up.
pub struct Plain(pub Option<Arc<Zone>>);

impl Engine for Plain {
    fn respond(
        &self,
        message: &[u8],
        asked: &QueryContext<'_>,
        response: &mut Vec<u8>,
    ) -> Answered {
        let query = Query::read(message);
        let question = query.as_ref().and_then(|query| query.question);
        Answered {
            question_octets: question.map_or(0, |question| question.wire.len()),
            dnssec_ok: query.and_then(|query| query.edns).map(|edns| edns.dnssec_ok),
            ..Answered::of(self.outcome(message, asked, response))
        }
    }
}

impl Plain {
    fn outcome(&self, message: &[u8], asked: &QueryContext<'_>, response: &mut Vec<u8>) -> Outcome {
        response.clear();
        let Some(query) = Query::read(message) else { return Outcome::Malformed };
        let Some(question) = query.question.filter(|_| query.is_well_formed) else {
            return Outcome::Malformed;
        };
        let bare = query.bare(question.rtype);
        if query.opcode() != 0 {
            return Outcome::Opcode;
        } else if question.class != CLASS_IN {
            return Outcome::Class;
        } else if bare.len() != message.len() {
            return Outcome::TooLong;
        } else if query.edns.is_some_and(|edns| edns.version != 0) {
            return Outcome::Malformed;
        } else if matches!(question.rtype.0, 0 | 41 | 128..=254) {
            return Outcome::MetaType;
        }
        let qname = question.name.to_ascii_lowercase();
        let Some(zone) =
            self.0.as_ref().filter(|zone| name::is_at_or_below(&qname, zone.apex().as_wire()))
        else {
            return Outcome::NotOurs;
        };
        let Some(owner) = zone.find(&qname) else {
            query.begin(Rcode(3), true, response);
            query.finish(Rcode(3), MAX_PAYLOAD, &[], response);
            return Outcome::Nxdomain;
        };
        query.begin(Rcode::NOERROR, true, response);
        let rtype = match question.rtype {
            Rtype::ANY => preferred_type(&owner).unwrap_or(Rtype::A),
            rtype => rtype,
        };
        let rrset = owner.rrset(rtype);
        for rdata in rrset.iter().flat_map(|rrset| rrset.rdatas()) {
            response.extend_from_slice(&[0xc0, 12]);
            response.extend_from_slice(&rtype.0.to_be_bytes());
            response.extend_from_slice(&[0, 1, 0, 0, 1, 44]);
            response.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            response.extend_from_slice(rdata);
            add_to_count(response, 1);
        }
        query.finish(Rcode::NOERROR, MAX_PAYLOAD, &[], response);
        let takes = query.edns.map_or(512, |edns| usize::from(edns.payload.max(512)));
        if !asked.over_tcp && response.len() > asked.limit.min(takes) {
            query.begin(Rcode::NOERROR, true, response);
            response[2] |= 2;
            query.finish(Rcode::NOERROR, MAX_PAYLOAD, &[], response);
            return Outcome::Truncated;
        }
        if rrset.is_some() { Outcome::Positive } else { Outcome::Nodata }
    }
}

/// A name in presentation format.
pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A zone `example.` with this serial; `hosts` names with an A record each make it large.
pub fn zone(serial: u32, hosts: u32) -> Arc<Zone> {
    let mut builder = ZoneBuilder::new(name("example"));
    let mut push = |owner: &str, rtype, rdata: &[u8]| {
        builder.push(name(owner).as_wire(), rtype, 300, rdata).unwrap();
    };
    let mut soa = b"\x02ns\x07example\x00\x04mail\x07example\x00".to_vec();
    soa.extend_from_slice(&serial.to_be_bytes());
    soa.extend_from_slice(&[0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 60]);
    push("example", Rtype::SOA, &soa);
    push("example", Rtype::NS, b"\x02ns\x07example\x00");
    push("ns.example", Rtype::A, &[192, 0, 2, 53]);
    push("www.example", Rtype::A, &[192, 0, 2, 1]);
    push("www.example", Rtype::TXT, b"\x02hi");
    push("*.wild.example", Rtype::MX, b"\x00\x0a\x04mail\x07example\x00");
    push("a.deep.example", Rtype::TXT, b"\x01a");
    for part in 0..20u8 {
        push("large.example", Rtype::TXT, &[&[200, part], &[b'x'; 199][..]].concat());
    }
    for host in 0..hosts {
        push(&format!("host{host}.example"), Rtype::A, &host.to_be_bytes());
    }
    Arc::new(builder.finish().unwrap())
}

/// The same as a version.
pub fn version(serial: u32, hosts: u32) -> Version {
    Version::of(Zone::clone(&zone(serial, hosts)))
}

/// `example.` served, to be transferred by loopback addresses; `unloaded.` configured, not loaded, with the primary
/// 192.0.2.53.
pub fn served(zone: &Arc<Zone>) -> Served {
    let loopback = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).to_vec();
    let primary = "192.0.2.53".parse().unwrap();
    let zones = [
        (
            name("example"),
            ServedZone {
                zone: Some(Arc::new(Version::of(Zone::clone(zone))) as _),
                past: Arc::default(),
                access: TransferAccess::of_prefixes(loopback),
                notify_sources: NotifySources::default(),
                update_keys: Arc::default(),
                withholds: false,
            },
        ),
        (
            name("unloaded"),
            ServedZone {
                zone: None,
                past: Arc::default(),
                access: TransferAccess::default(),
                notify_sources: NotifySources::new([(primary, None)]),
                update_keys: Arc::default(),
                withholds: false,
            },
        ),
    ];
    let settings = ResponseSettings {
        identity: Some("node-1".into()),
        version: None,
        udp_payload: MAX_PAYLOAD.into(),
        edns: maps::EdnsSettings::new(),
        tsig_keys: Arc::new(Keys::default()),
        notified: Arc::default(),
        updates: Arc::default(),
    };
    Served::new(Arc::new(Plain(Some(Arc::clone(zone)))), zones, settings)
}
