//! DNS messages: what the engine says is a message, to the question as asked, no larger than allowed, and
//! its code and sections go together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealdns::compile::QueryContext;
use sealdns_fuzz::{COMPILED, EDNS_SETTINGS, LIMIT, NOW};
use tests::dns::{HEADER_LEN, Message, Record};
use xdp_common::Outcome;

const SOA: u16 = 6;
const NS: u16 = 2;
const CNAME: u16 = 5;
/// RRSIG, NSEC, NSEC3.
const PROOFS: [u16; 3] = [46, 47, 50];
const FORMERR: u16 = 1;
const NXDOMAIN: u16 = 3;
const REFUSED: u16 = 5;
const YXDOMAIN: u16 = 6;
const BADVERS: u16 = 16;

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, query) = input;
    let compiled = &COMPILED[usize::from(choice & 1)];
    let over_tcp = choice & 2 != 0;
    let limit = match choice >> 2 & 3 {
        _ if over_tcp => 65535,
        0 => 512,
        _ => LIMIT,
    };
    let mut said = Vec::new();
    let client = "192.0.2.1".parse().expect("an address");
    let asked = QueryContext { client, over_tcp, limit, now: *NOW, edns_settings: &EDNS_SETTINGS };
    let outcome = compiled.reader.respond(query, &asked, &mut said).outcome;
    assert!(!matches!(outcome, Outcome::Torn | Outcome::Broken), "{outcome:?}");
    if !outcome.is_answered() {
        assert!(said.is_empty());
        return;
    }
    let message = Message::read(&said).unwrap_or_else(|error| panic!("{error:#}"));
    check_head(query, &message, over_tcp, limit);
    check_sections(outcome, &message, rtype(&message));
});

fn rtype(message: &Message) -> u16 {
    let at = message.question.len() - 4;
    u16::from_be_bytes([message.question[at], message.question[at + 1]])
}

fn check_head(query: &[u8], message: &Message, over_tcp: bool, limit: usize) {
    assert_eq!(query[2] & 0xf8, 0, "an answer to what is no query");
    assert_eq!(message.id.to_be_bytes(), query[..2]);
    assert_eq!(message.question, query[HEADER_LEN..HEADER_LEN + message.question.len()]);
    // QR is set; RD and CD are the query's, AD and RA are not.
    assert_eq!(
        message.flags & 0xf9b0,
        0x8000 | u16::from(query[2] & 1) << 8 | u16::from(query[3] & 0x10)
    );
    assert_eq!(message.edns.is_some(), query[11] == 1);
    assert!(message.len <= limit, "{} octets", message.len);
    if !over_tcp {
        // The root's octet and the type stand before the payload size.
        let asked = match message.edns {
            None => 512,
            Some(_) => {
                let at = HEADER_LEN + message.question.len() + 3;
                usize::from(u16::from_be_bytes([query[at], query[at + 1]])).max(512)
            }
        };
        assert!(message.len <= asked, "{} octets, {asked} asked", message.len);
    }
}

fn check_sections(outcome: Outcome, message: &Message, rtype: u16) {
    let has = |section: &[Record], rtype| section.iter().any(|record| record.rtype == rtype);
    assert_eq!(message.is_truncated(), outcome == Outcome::Truncated);
    assert_eq!(message.rcode == BADVERS, outcome == Outcome::BadVersion);
    assert_eq!(message.rcode == REFUSED, outcome == Outcome::Refused);
    assert_eq!(message.rcode == FORMERR, outcome == Outcome::FormErr);
    let codes = [0, FORMERR, NXDOMAIN, REFUSED, YXDOMAIN, BADVERS];
    assert!(codes.contains(&message.rcode), "{message:?}");
    if outcome == Outcome::Truncated || ![0, NXDOMAIN, YXDOMAIN].contains(&message.rcode) {
        let sections = [&message.answer, &message.authority, &message.additional];
        assert!(sections.iter().all(|section| section.is_empty()), "{message:?}");
        return;
    }
    let wants_proofs = message.edns.is_some_and(|edns| edns.dnssec_ok);
    for section in [&message.answer, &message.authority, &message.additional] {
        for record in section {
            let is_asked = record.rtype == rtype;
            assert!(wants_proofs || is_asked || !PROOFS.contains(&record.rtype), "{message:?}");
        }
    }
    let denies = has(&message.authority, SOA);
    match outcome {
        Outcome::Positive => {
            assert!(!message.answer.is_empty() && message.is_authoritative(), "{message:?}");
        }
        Outcome::Nodata => assert!(denies && message.rcode == 0, "{message:?}"),
        Outcome::Nxdomain => assert!(denies && message.rcode == NXDOMAIN, "{message:?}"),
        Outcome::Referral => {
            assert!(has(&message.authority, NS) && !denies && message.rcode == 0, "{message:?}");
        }
        // What a wildcard says is an answer or that it does not have the type.
        Outcome::Wildcard => assert!(denies || !message.answer.is_empty(), "{message:?}"),
        Outcome::Dname => {
            assert!(message.rcode == YXDOMAIN || has(&message.answer, CNAME), "{message:?}")
        }
        _ => unreachable!("{outcome:?} is no answer"),
    }
}
