//! What is asked.

use sealdns::zone::Rtype;
use tests::{
    dns::{Edns, HEADER_LEN, Query},
    measure::{
        flood::mix::Mix,
        programs::Names,
        zones::{DIGITS_AT, host, wire},
    },
};
use xdp_common::lab::MAX_TEMPLATES;

use super::SMALL_NAMES;

/// The zone that fits into any cache.
pub const SMALL: &[&str] = &["small", "example"];
/// The zone that does not.
pub const LARGE: &[&str] = &["large", "example"];

/// What resolvers ask with: the payload size of the DNS flag day 2020, DO set.
const EDNS: Edns = Edns { payload: 1232, dnssec_ok: true };

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
