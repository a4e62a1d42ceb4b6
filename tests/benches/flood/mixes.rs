//! What is asked.

use anyhow::Result;
use sealdns::zone::Rtype;
use testbed::frames::Frame;
use tests::{
    dns::{Edns, HEADER_LEN, Query},
    measure::{
        programs::{Names, template_of},
        zones::{DIGITS_AT, host, wire},
    },
};
use xdp_common::lab::{MAX_TEMPLATES, Template};

use super::{SMALL_NAMES, wire::Wire};

/// The zone that fits into any cache.
pub const SMALL: &[&str] = &["small", "example"];
/// The zone that does not.
pub const LARGE: &[&str] = &["large", "example"];

/// What resolvers ask with: the payload size of the DNS flag day 2020, DO set.
const EDNS: Edns = Edns { payload: 1232, dnssec_ok: true };

/// A query to be sent through a socket.
pub struct Message {
    pub octets: Vec<u8>,
    pub names: Option<Names>,
}

/// Questions of one kind.
pub struct Mix {
    pub title: &'static str,
    /// They are sent through a socket: on veth, XDP has no room for the answers to such packets.
    pub by_socket: bool,
    /// Response codes that answers have; all of them.
    pub rcode: usize,
    questions: Vec<(Query, Option<Names>)>,
}

impl Mix {
    /// The questions as frames on a wire.
    pub fn templates(&self, wire: &Wire) -> Result<Vec<Template>> {
        let frame = |query: &Query| -> Result<Frame> {
            Ok(Frame {
                source_mac: wire.client_mac,
                destination_mac: wire.server_mac,
                tags: Vec::new(),
                source: Wire::client_address()?,
                destination: Wire::server_address()?,
                ttl: 64,
                payload: query.message(0x1234),
            })
        };
        let templates = self.questions.iter();
        templates.map(|(query, names)| template_of(&frame(query)?, *names)).collect()
    }

    /// The questions as messages.
    pub fn messages(&self) -> Vec<Message> {
        let messages = self.questions.iter();
        messages
            .map(|(query, names)| Message { octets: query.message(0x1234), names: *names })
            .collect()
    }
}

/// All mixes; `names` is how many hosts the large zone has.
pub fn all(names: u32) -> Vec<Mix> {
    let query = |label: &str, zone: &[&str]| Query {
        name: wire(&[&[label], zone].concat()),
        rtype: Rtype::A.0,
        edns: Some(EDNS),
    };
    let hot = query(&host(7), SMALL);
    let uniform = query(&host(0), LARGE);
    // Names behind hosts all over the zone, each asked once in four thousand million.
    let absent = || {
        let questions = (0..MAX_TEMPLATES).map(|number| {
            let host = host(number * SMALL_NAMES / MAX_TEMPLATES);
            let names = Names { digits_at: HEADER_LEN + 1 + host.len(), count: u32::MAX };
            (query(&format!("{host}00000000"), SMALL), Some(names))
        });
        questions.collect()
    };
    let uniform = vec![(uniform, Some(Names { digits_at: DIGITS_AT, count: names }))];
    let mix = |title, rcode, questions| Mix { title, by_socket: false, rcode, questions };
    vec![
        mix("hot positive", 0, vec![(hot, None)]),
        mix("positive, uniform", 0, uniform),
        mix("NXDOMAIN", 3, absent()),
        Mix { by_socket: true, ..mix("NXDOMAIN, from sockets", 3, absent()) },
    ]
}
