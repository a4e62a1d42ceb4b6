//! The responder, and the sockets over loopback, asked as RFC 8906 and others ask.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::*;
use tokio::sync::watch;
use xdp_common::cookie::ServerCookie;
use xdp_common::limit::{Class, Mode, Policy, Verdict};
use xdp_common::maps::address_words;

use super::limits::Limits;
use super::responder::{Reply, respond};
use super::stats::{Stats, Transport};
use super::testing::{self, served};
use super::{Shared, tcp, udp};
use crate::compile::Image;
use crate::datapath::memory::{Mapping, Size};
use crate::transfer::axfr;

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 4000);

// --- building queries ---------------------------------------------------------------------------

/// A query by octets: what libraries refuse to build is what matters here.
#[derive(Clone)]
struct Ask {
    flags: u16,
    name: Vec<u8>,
    rtype: u16,
    class: u16,
    additional: Vec<Vec<u8>>,
    authority: Vec<Vec<u8>>,
}

/// A question in the case it is written in.
fn ask(name: &str, rtype: u16) -> Ask {
    let labels =
        name.split('.').flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    Ask {
        flags: 0,
        name: labels.chain([0]).collect(),
        rtype,
        class: 1,
        additional: Vec::new(),
        authority: Vec::new(),
    }
}

/// An OPT record with version, flags and options.
fn opt(version: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 41, 0x10, 0x00, 0, version];
    record.extend_from_slice(&flags.to_be_bytes());
    record.extend_from_slice(&(options.len() as u16).to_be_bytes());
    record.extend_from_slice(options);
    record
}

impl Ask {
    fn flags(self, flags: u16) -> Ask {
        Ask { flags, ..self }
    }

    fn class(self, class: u16) -> Ask {
        Ask { class, ..self }
    }

    fn with(mut self, record: Vec<u8>) -> Ask {
        self.additional.push(record);
        self
    }

    fn wire(&self) -> Vec<u8> {
        let mut wire = vec![0xab, 0xcd];
        wire.extend_from_slice(&self.flags.to_be_bytes());
        wire.extend_from_slice(&[0, 1, 0, 0, 0, self.authority.len() as u8]);
        wire.extend_from_slice(&(self.additional.len() as u16).to_be_bytes());
        wire.extend_from_slice(&self.name);
        wire.extend_from_slice(&self.rtype.to_be_bytes());
        wire.extend_from_slice(&self.class.to_be_bytes());
        wire.extend(self.authority.concat());
        wire.extend(self.additional.concat());
        wire
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

// --- asking the responder -----------------------------------------------------------------------

fn reply_to(message: &[u8], client: SocketAddr, transport: Transport) -> (Reply, Vec<u8>) {
    let (stats, mut out) = (Stats::default(), Vec::new());
    let served = served(&testing::zone(7, 0));
    let reply = respond(&served, &stats, message, client, transport, 0, &mut out);
    (reply, out)
}

/// The response over UDP, read by hickory-proto.
fn answer(ask: &Ask) -> Message {
    let (reply, out) = reply_to(&ask.wire(), CLIENT, Transport::Udp);
    assert!(matches!(reply, Reply::Response));
    read(&out)
}

fn read(wire: &[u8]) -> Message {
    let message = Message::from_vec(wire).expect("a message");
    assert_eq!(message.metadata.id, 0xabcd);
    assert_eq!(message.metadata.message_type, MessageType::Response);
    message
}

fn extended_error(wire: &[u8]) -> Option<u16> {
    // The only option that is sent ends the message.
    let option = wire.get(wire.len() - 6..)?;
    (option[..4] == [0, 15, 0, 2]).then(|| u16::from_be_bytes([option[4], option[5]]))
}

// --- RFC 8906 section 8: the tests that a conforming server passes -------------------------------

/// What every answer with an SOA record of the zone must look like.
fn is_soa_answer(message: &Message) {
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    assert!(message.metadata.authoritative && !message.metadata.recursion_available);
    assert!(!message.metadata.authentic_data);
    assert_eq!(message.answers.len(), 1);
    assert_eq!(message.answers[0].record_type(), RecordType::SOA);
}

#[test]
fn rfc_8906_8_1_1_the_server_has_the_zone() {
    // dig +noedns +noad +norec soa $zone
    let message = answer(&ask("example", 6));
    is_soa_answer(&message);
    assert!(message.edns.is_none());
}

#[test]
fn the_case_of_the_question_is_kept() {
    for name in ["eXaMpLe", "nOne.eXample", "Example.ORG"] {
        let message = answer(&ask(name, 6));
        assert_eq!(message.queries[0].name().to_ascii(), format!("{name}."));
    }
}

#[test]
fn rfc_8906_8_1_2_unknown_types_are_no_data() {
    // dig +noedns +noad +norec type1000 $zone
    let message = answer(&ask("example", 1000));
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    assert!(message.metadata.authoritative && message.answers.is_empty());
}

#[test]
fn rfc_8906_8_1_3_header_bits_are_ignored() {
    // dig +cd, +ad, +zflag, +rec: each alone
    for flags in [0x0010, 0x0020, 0x0040, 0x0100] {
        let ask = ask("example", 6).flags(flags);
        is_soa_answer(&answer(&ask));
        let (_, out) = reply_to(&ask.wire(), CLIENT, Transport::Udp);
        assert_eq!(out[3] & 0x60, 0, "Z and AD are clear in the response to {flags:#06x}");
        assert_eq!(u16::from(out[2] & 1) << 8, flags & 0x0100, "RD is copied");
    }
}

#[test]
fn rfc_8906_8_1_4_unknown_opcodes_are_not_implemented() {
    // dig +noedns +noad +opcode=15 +norec +header-only
    for opcode in [1u16, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        let mut header_only = ask("example", 6).flags(opcode << 11).wire()[..12].to_vec();
        header_only[4..12].fill(0);
        let (reply, out) = reply_to(&header_only, CLIENT, Transport::Udp);
        assert!(matches!(reply, Reply::Response));
        assert_eq!(out.len(), 12);
        assert_eq!((out[2] & 0x80, out[2] & 0x04), (0x80, 0));
        assert_eq!((u16::from(out[2] >> 3 & 15), out[3] & 15), (opcode, 4));
        // NOTIFY and UPDATE as they are really sent have questions and records.
        let (_, out) =
            reply_to(&ask("example", 6).flags(opcode << 11).wire(), CLIENT, Transport::Udp);
        assert_eq!(out[3] & 15, 4);
    }
}

#[test]
fn rfc_8906_8_1_5_the_same_over_tcp() {
    let (_, out) = reply_to(&ask("example", 6).wire(), CLIENT, Transport::Tcp);
    is_soa_answer(&read(&out));
}

#[test]
fn rfc_8906_8_2_edns() {
    let plain = opt(0, 0, &[]);
    // 8.2.1 minimal EDNS: dig +nocookie +edns=0 +noad +norec soa $zone
    let message = answer(&ask("example", 6).with(plain.clone()));
    is_soa_answer(&message);
    assert_eq!(message.edns.as_ref().map(Edns::version), Some(0));

    // 8.2.3 unknown options: +ednsopt=100; the option must not be in the response
    let message = answer(&ask("example", 6).with(opt(0, 0, &[0, 100, 0, 0])));
    is_soa_answer(&message);
    assert!(message.edns.unwrap().options().as_ref().is_empty());

    // 8.2.4 unknown flags: +ednsflags=0x40; they must be clear in the response
    let (_, out) =
        reply_to(&ask("example", 6).with(opt(0, 0x40, &[])).wire(), CLIENT, Transport::Udp);
    let message = read(&out);
    is_soa_answer(&message);
    assert_eq!(out[out.len() - 4..out.len() - 2], [0, 0], "Z bits are clear");

    // 8.2.8 DO: +dnssec; copied
    let message = answer(&ask("example", 6).with(opt(0, 0x8000, &[])));
    is_soa_answer(&message);
    assert!(message.edns.unwrap().flags().dnssec_ok);

    // 8.2.10 several options: +nsid +subnet=0/0 +expire +cookie
    let options = [
        &[0, 3, 0, 0][..],
        &[0, 8, 0, 4, 0, 1, 0, 0],
        &[0, 9, 0, 0],
        &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
    ]
    .concat();
    is_soa_answer(&answer(&ask("example", 6).with(opt(0, 0, &options))));
}

#[test]
fn rfc_8906_8_2_other_versions_are_bad_versions() {
    // 8.2.2 version 1; 8.2.5 with unknown flags; 8.2.6 with unknown options; 8.2.9 with DO
    for (flags, options) in
        [(0, &[][..]), (0x40, &[][..]), (0, &[0, 100, 0, 0][..]), (0x8000, &[][..])]
    {
        let ask = ask("example", 6).with(opt(1, flags, options));
        let message = answer(&ask);
        let edns = message.edns.as_ref().expect("an OPT record");
        // hickory-proto leaves the high bits of RCODE in the OPT record.
        assert_eq!((edns.rcode_high(), message.metadata.response_code.low()), (1, 0));
        assert_eq!(edns.version(), 0);
        assert!(message.answers.is_empty() && !message.metadata.authoritative);
        assert!(edns.options().as_ref().is_empty());
        assert_eq!(edns.flags().dnssec_ok, flags == 0x8000);
        let (_, out) = reply_to(&ask.wire(), CLIENT, Transport::Udp);
        assert!(out.len() <= ask.wire().len());
    }
}

#[test]
fn rfc_8906_8_2_7_truncated_responses_have_an_opt_record() {
    // dig +norec +dnssec +bufsize=512 +ignore …: a large answer
    let mut small = opt(0, 0x8000, &[]);
    small[3..5].copy_from_slice(&512u16.to_be_bytes());
    let message = answer(&ask("large.example", 16).with(small));
    assert!(message.metadata.truncation);
    assert!(message.edns.is_some());
}

// --- what the engine does not hold --------------------------------------------------------------

#[test]
fn names_of_nobody_here_are_refused() {
    let with_edns = ask("example.org", 1).with(opt(0, 0, &[]));
    let (_, out) = reply_to(&with_edns.wire(), CLIENT, Transport::Udp);
    let message = read(&out);
    assert_eq!(message.metadata.response_code, ResponseCode::Refused);
    assert_eq!(extended_error(&out), Some(20));
    assert_eq!(message.queries[0].name().to_ascii(), "example.org.");
    let message = answer(&ask("example.org", 1));
    assert_eq!(message.metadata.response_code, ResponseCode::Refused);
    assert!(message.edns.is_none());
}

#[test]
fn zones_that_are_not_loaded_fail() {
    let (_, out) =
        reply_to(&ask("www.unloaded", 1).with(opt(0, 0, &[])).wire(), CLIENT, Transport::Udp);
    assert_eq!(read(&out).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(extended_error(&out), Some(14));
}

/// What is not the engine's to say has the options that its answers have; errors that must not be larger than
/// what they answer have none.
#[test]
fn plain_responses_have_options() {
    let mut served = served(&testing::zone(7, 0));
    let said = &mut served.manners.said;
    *said = said.with_nsid(b"node-1");
    (said.secrets[0], said.secret_count) = ([1, 2], 1);
    let ask = |ask: Ask| {
        let (stats, mut out) = (Stats::default(), Vec::new());
        let reply = respond(&served, &stats, &ask.wire(), CLIENT, Transport::Udp, 7, &mut out);
        assert!(matches!(reply, Reply::Response));
        out
    };
    let client = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let options = [&client[..], &[0, 3, 0, 0]].concat();
    let server = ServerCookie::new(
        &[1, 2],
        u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]),
        address_words(CLIENT.ip()),
        7,
    );
    let server = [server.head, server.hash].map(u64::to_le_bytes).concat();
    let cookie = [&[0, 10, 0, 24], &client[4..], &server].concat();
    let identity = b"\0\x03\0\x06node-1";
    let said = [&cookie[..], identity].concat();
    let refused = [&cookie[..], &[0, 15, 0, 2, 0, 20], identity].concat();
    let with = |asked: Ask| asked.with(opt(0, 0, &options));
    assert!(ask(with(self::ask("id.server", 16)).class(3)).ends_with(&said));
    assert!(ask(with(self::ask("www.example", 16)).class(4)).ends_with(&said));
    assert!(ask(with(self::ask("www.other", 1))).ends_with(&refused));
    for asked in [
        with(self::ask("www.example", 1)).flags(0x2000),
        self::ask("id.server", 16).class(3).with(opt(0, 0, &[0, 10, 0, 1, 9])),
        self::ask("www.example", 46).with(opt(0, 0, &[0, 10, 0, 1, 9])),
        with(self::ask("www.example", 252)),
        self::ask("id.server", 16).class(3).with(opt(1, 0, &options)),
    ] {
        let (asked, out) = (asked.wire(), ask(asked));
        assert!(out.ends_with(&[0, 0]) && out.len() <= asked.len(), "{out:02x?}");
    }
}

#[test]
fn other_classes_are_refused() {
    for class in [0, 2, 4, 254, 255, 65535] {
        let message = answer(&ask("example", 6).class(class));
        assert_eq!(message.metadata.response_code, ResponseCode::Refused, "class {class}");
    }
}

#[test]
fn chaos_tells_what_it_may() {
    for (name, text) in [("id.server", Some("node-1")), ("HostName.Bind", Some("node-1"))]
        .into_iter()
        .chain([("version.server", None), ("version.bind", None), ("other.bind", None)])
    {
        let message = answer(&ask(name, 16).class(3).with(opt(0, 0, &[])));
        let Some(text) = text else {
            assert_eq!(message.metadata.response_code, ResponseCode::Refused, "{name}");
            continue;
        };
        assert_eq!(message.answers[0].dns_class, DNSClass::CH);
        assert_eq!(message.answers[0].ttl, 0);
        let RData::TXT(txt) = &message.answers[0].data else { panic!("no TXT") };
        assert_eq!(&*txt.txt_data[0], text.as_bytes());
    }
    let message = answer(&ask("id.server", 1).class(3));
    assert_eq!(message.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn any_is_one_rrset() {
    for (name, rtype) in [
        ("www.example", RecordType::A),
        ("example", RecordType::NS),
        ("large.example", RecordType::TXT),
    ] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let (_, out) = reply_to(&ask(name, 255).wire(), CLIENT, transport);
            let message = read(&out);
            assert_eq!(message.queries[0].query_type(), RecordType::ANY);
            assert_eq!(message.metadata.response_code, ResponseCode::NoError);
            if !message.metadata.truncation {
                assert!(message.answers.iter().all(|record| record.record_type() == rtype));
                assert!(!message.answers.is_empty(), "{name}");
            }
        }
    }
    let message = answer(&ask("none.example", 255));
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    let message = answer(&ask("example.org", 255));
    assert_eq!(message.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn what_is_denied_to_any_counts_as_a_denial() {
    let memory = Mapping::anonymous(Size { slab: 1 << 20, buckets: 1 << 10 }).unwrap();
    let zone = testing::zone(7, 0);
    let mut image = Image::new(Arc::new(memory), 0x5eed);
    drop(image.publish(&zone).unwrap());
    let served = served(&zone);
    let said = served.said();
    let shared = Shared::new(served.with(Arc::new(image.reader()), [], said));
    let policy = Policy { mode: Mode::On as u32, ..Policy::new() };
    shared.limiter().set(&Limits { policy, ..Limits::default() }, 0);
    for (qname, class) in [
        ("www.example", Class::Any),
        ("deep.example", Class::Nodata),
        ("none.example", Class::Nxdomain),
    ] {
        let query = ask(qname, 255).wire();
        assert!(udp::answer(&shared, &Stats::default(), &query, CLIENT, &mut Vec::new()));
        let counts = shared.limiter().verdicts().classes[class.index()];
        assert_eq!(counts[Verdict::Answer.index()], 1, "{qname}");
    }
}

#[test]
fn malformed_messages_are_formerr_with_what_could_be_read() {
    let good = ask("example", 6).wire();
    let mut two_questions = good.clone();
    two_questions[5] = 2;
    two_questions.extend_from_slice(&good[12..]);
    let mut no_question = good[..12].to_vec();
    no_question[5] = 0;
    let pointer = [&good[..12], &[0xc0, 12, 0, 6, 0, 1]].concat();
    let long_label = [&good[..12], &[64], &[b'a'; 64], &[0, 0, 6, 0, 1]].concat();
    let trailing = [&good[..], &[0]].concat();
    let two_opt = ask("example", 6).with(opt(0, 0, &[])).with(opt(0, 0, &[])).wire();
    let mut named = opt(0, 0, &[]);
    named.splice(..1, *b"\x01a\x00");
    let named_opt = ask("example", 6).with(named).wire();
    let bad_option = ask("example", 6).with(opt(0, 0, &[0, 3, 0, 9])).wire();
    let mut has_answer = good.clone();
    has_answer[7] = 1;
    has_answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]);
    let meta = ask("example", 41).wire();
    for (what, message, echoes_question) in [
        ("two questions", two_questions, false),
        ("no question", no_question, false),
        ("a pointer in the question", pointer, false),
        ("a label of 64 octets", long_label, false),
        ("a question cut short", good[..good.len() - 1].to_vec(), false),
        ("octets behind the message", trailing, true),
        ("two OPT records", two_opt, true),
        ("an OPT record with a name", named_opt, true),
        ("an option longer than its record", bad_option, true),
        ("an answer in a query", has_answer, true),
        ("a question for OPT", meta, true),
    ] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let (reply, out) = reply_to(&message, CLIENT, transport);
            assert!(matches!(reply, Reply::Response), "{what}");
            assert_eq!(out[..2], message[..2], "{what}");
            assert_eq!(out[3] & 15, 1, "{what}");
            assert!(out.len() <= message.len(), "{what}");
            assert_eq!(out[5] == 1, echoes_question, "{what}");
        }
    }
}

/// RFC 7873 section 5.4: whoever sends a cookie and no question gets the cookie; nobody else gets anything.
#[test]
fn without_a_question_there_is_a_cookie_to_be_had() {
    let mut served = served(&testing::zone(7, 0));
    let client = [1, 2, 3, 4, 5, 6, 7, 8];
    let cookie =
        ServerCookie::new(&[1, 2], u64::from_le_bytes(client), address_words(CLIENT.ip()), 7);
    let server = [cookie.head, cookie.hash].map(u64::to_le_bytes).concat();
    let right = [&client[..], &server].concat();
    let option = |value: &[u8]| [&[0, 10][..], &(value.len() as u16).to_be_bytes(), value].concat();
    let bare = |additional: &[Vec<u8>]| {
        let counts = [0, 0, 0, 0, 0, 0, 0, additional.len() as u8];
        [&[0xab, 0xcd, 1, 0][..], &counts, &additional.concat()].concat()
    };
    for has_secrets in [true, false] {
        served.manners.said.secrets[0] = [1, 2];
        served.manners.said.secret_count = u32::from(has_secrets);
        let mut asked = vec![(bare(&[]), 1), (bare(&[opt(0, 0, &[])]), 1)];
        // NSID alone is no reason.
        asked.push((bare(&[opt(0, 0, &[0, 3, 0, 0])]), 1));
        asked.push((bare(&[opt(1, 0, &option(&client))]), 16));
        asked.push((bare(&[opt(0, 0, &option(&right)), opt(0, 0, &[])]), 1));
        for len in 0..=48 {
            let mut value = right.clone();
            value.resize(len, 9);
            let expected = match len {
                _ if !has_secrets => 1,
                8 | 24 => 0,
                16..=40 => 23,
                _ => 1,
            };
            asked.push((bare(&[opt(0, 0x8000, &option(&value))]), expected));
        }
        for (message, rcode) in asked {
            for transport in [Transport::Udp, Transport::Tcp] {
                let (stats, mut out) = (Stats::default(), Vec::new());
                let reply = respond(&served, &stats, &message, CLIENT, transport, 7, &mut out);
                assert!(matches!(reply, Reply::Response));
                let said = read(&out);
                let low = u16::from(out[3] & 15);
                // Behind the header comes OPT, if one could be read.
                let high = out.get(12 + 5).map_or(0, |octet| u16::from(*octet) << 4);
                assert_eq!(
                    (low | high, out[5], said.answers.len()),
                    (rcode, 0, 0),
                    "{message:02x?}"
                );
                let has_cookie = out.ends_with(&option(&right));
                assert_eq!(has_cookie, matches!(rcode, 0 | 23), "{message:02x?}: {out:02x?}");
                assert!(has_cookie || out.len() <= message.len());
            }
        }
    }
}

#[test]
fn types_that_nobody_has() {
    for rtype in [253, 254] {
        let message = answer(&ask("example", rtype));
        assert_eq!(message.metadata.response_code, ResponseCode::NotImp);
    }
    for rtype in [0, 128, 249, 250] {
        let message = answer(&ask("example", rtype));
        assert_eq!(message.metadata.response_code, ResponseCode::FormErr, "{rtype}");
    }
}

#[test]
fn what_deserves_no_response_gets_none() {
    let response = ask("example", 6).flags(0x8000).wire();
    for message in [&response[..], &response[..11], &[]] {
        let (reply, out) = reply_to(message, CLIENT, Transport::Udp);
        assert!(matches!(reply, Reply::Silent) && out.is_empty());
    }
    let to_port_0 = SocketAddr::new(CLIENT.ip(), 0);
    let (reply, _) = reply_to(&ask("example", 6).wire(), to_port_0, Transport::Udp);
    assert!(matches!(reply, Reply::Silent));
}

#[test]
fn tsig_by_a_key_that_is_not_here_is_badkey() {
    let mut tsig = b"\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00".to_vec();
    let mac = [7u8; 32];
    let rdata = [
        &b"\x0bhmac-sha256\x00"[..],
        &[0, 0, 0x65, 0, 0, 0, 1, 44, 0, 32],
        &mac,
        &[0xab, 0xcd, 0, 0, 0, 0],
    ]
    .concat();
    tsig.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    tsig.extend_from_slice(&rdata);
    let query = ask("example", 6).with(opt(0, 0, &[])).with(tsig.clone()).wire();
    let (_, out) = reply_to(&query, CLIENT, Transport::Udp);
    assert!(out.len() <= query.len());
    assert_eq!(out[3] & 15, 9);
    read(&out);
    // The query's TSIG record ends the response, without MAC, and with the error BADKEY.
    let expected = [
        &b"\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x1d\x0bhmac-sha256\x00"[..],
        &[0, 0, 0x65, 0, 0, 0, 1, 44, 0, 0, 0xab, 0xcd, 0, 17, 0, 0],
    ]
    .concat();
    assert!(out.ends_with(&expected), "{out:02x?}");
    // RFC 8945 section 5.1: in any other place it is FORMERR.
    let query = ask("example", 6).with(tsig).with(opt(0, 0, &[])).wire();
    assert_eq!(reply_to(&query, CLIENT, Transport::Udp).1[3] & 15, 1);
}

#[test]
fn other_additional_records_are_ignored() {
    let record = b"\x01a\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04".to_vec();
    is_soa_answer(&answer(&ask("example", 6).with(record).with(opt(0, 0, &[]))));
}

#[test]
fn transfers_are_for_those_who_may() {
    for (rtype, zone) in [(252, "example"), (251, "example"), (252, "other"), (252, "www.example")]
    {
        let (reply, out) = reply_to(&ask(zone, rtype).wire(), STRANGER, Transport::Tcp);
        assert!(matches!(reply, Reply::Response));
        assert_eq!(out[3] & 15, 5, "{zone}");
    }
    let (_, out) = reply_to(&ask("example", 252).wire(), CLIENT, Transport::Udp);
    assert_eq!(out[3] & 15, 4);
    let (reply, _) = reply_to(&ask("Example", 252).wire(), CLIENT, Transport::Tcp);
    assert!(matches!(reply, Reply::Transfer(_)));
}

#[test]
fn ixfr_is_the_soa_over_udp_or_when_there_is_nothing_newer() {
    // The serial of the client's SOA stands in the authority section.
    let ixfr = |serial: u32| {
        let mut soa = b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\x00\x00".to_vec();
        soa.extend_from_slice(&serial.to_be_bytes());
        soa.extend_from_slice(&[0; 16]);
        Ask { authority: vec![soa], ..ask("example", 251) }
    };
    for (serial, transport) in
        [(7, Transport::Tcp), (9, Transport::Tcp), (7, Transport::Udp), (1, Transport::Udp)]
    {
        let (reply, out) = reply_to(&ixfr(serial).wire(), CLIENT, transport);
        assert!(matches!(reply, Reply::Response));
        is_soa_answer(&read(&out));
    }
    for serial in [6, 7u32.wrapping_sub(1 << 30)] {
        let (reply, _) = reply_to(&ixfr(serial).wire(), CLIENT, Transport::Tcp);
        assert!(matches!(reply, Reply::Transfer(_)), "{serial}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever octets come: no panic, and an error response is never larger than the message.
    #[test]
    fn arbitrary_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        small_errors(&octets);
    }

    /// The same with messages that are nearly right.
    #[test]
    fn damaged_queries(
        rtype in prop_oneof![Just(6u16), Just(251), Just(252), Just(255), any::<u16>()],
        class in prop_oneof![Just(1u16), Just(3)],
        flags in any::<u16>(),
        options in proptest::collection::vec(any::<u8>(), 0..20),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let ask = ask("www.example", rtype).class(class).flags(flags & 0x7fff);
        let mut octets = ask.with(opt(0, 0x8000, &options)).wire();
        for (place, octet) in damage {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        if !whole {
            octets.truncate(cut.index(octets.len() + 1));
        }
        small_errors(&octets);
    }
}

fn small_errors(octets: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        for client in [CLIENT, STRANGER] {
            let (reply, out) = reply_to(octets, client, transport);
            match reply {
                Reply::Silent => assert!(out.is_empty()),
                Reply::Transfer(_) => assert!(out.is_empty() && client == CLIENT),
                Reply::Response => {
                    assert_eq!(out[..2], octets[..2]);
                    assert_eq!(out[2] & 0xf8, octets[2] & 0x78 | 0x80);
                    // FORMERR, NOTIMP, NOTAUTH: what malformed messages get.
                    if matches!(out[3] & 15, 1 | 4 | 9) {
                        assert!(out.len() <= octets.len());
                    }
                }
            }
        }
    }
}

// --- zone transfers -----------------------------------------------------------------------------

#[test]
fn a_transfer_has_every_record_once_between_two_soa_records() {
    let zone = testing::zone(7, 3000);
    let (stats, mut out) = (Stats::default(), Vec::new());
    let query = ask("eXample", 252).with(opt(0, 0, &[])).wire();
    let served = served(&zone);
    let reply = respond(&served, &stats, &query, CLIENT, Transport::Tcp, 0, &mut out);
    let Reply::Transfer(transfer) = reply else { panic!("no transfer") };
    let mut messages = axfr::messages(&transfer.zone, &transfer.heading);
    let mut records = Vec::new();
    let mut count = 0;
    while messages.next_message(&mut out).unwrap() {
        assert!(out.len() <= 16 * 1024);
        let message = read(&out);
        assert_eq!(message.queries[0].name().to_ascii(), "eXample.");
        assert!(message.metadata.authoritative && message.edns.is_some());
        records.extend(message.answers);
        count += 1;
    }
    assert!(count > 1);
    assert_eq!(records.len(), zone.record_count() + 1);
    assert_eq!(records[0], records[records.len() - 1]);
    assert!(records[1..records.len() - 1].iter().all(|r| r.record_type() != RecordType::SOA));
    let sent: std::collections::HashSet<String> =
        records.iter().map(|record| record.to_string().to_lowercase()).collect();
    assert_eq!(sent.len(), zone.record_count());
    let host: Name = "host2999.example.".parse().unwrap();
    let host = records.iter().find(|record| record.name == host).expect("the last host");
    assert_eq!((host.ttl, host.record_type()), (300, RecordType::A));
}

// --- sockets over loopback ----------------------------------------------------------------------

struct Running {
    udp: SocketAddr,
    tcp: SocketAddr,
    stats: Arc<Stats>,
    stop: watch::Sender<bool>,
    runtime: Option<tokio::runtime::Runtime>,
    tasks: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
}

const QUICK: tcp::Limits = tcp::Limits {
    idle_timeout: Duration::from_millis(300),
    write_timeout: Duration::from_millis(300),
    connections: 8,
    connections_per_client: 4,
};

impl Running {
    fn start(ip: IpAddr, hosts: u32, limits: tcp::Limits) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let shared = Arc::new(Shared::new(served(&testing::zone(7, hosts))));
        let stats = Arc::new(Stats::default());
        let (stop, stopped) = watch::channel(false);
        let sockets = udp::bind(SocketAddr::new(ip, 0), 2).unwrap();
        let listener = tcp::bind(SocketAddr::new(ip, 0)).unwrap();
        let (udp, tcp) = (sockets[0].local_addr().unwrap(), listener.local_addr().unwrap());
        let mut tasks = Vec::new();
        for socket in sockets {
            let (shared, stats) = (Arc::clone(&shared), Arc::clone(&stats));
            tasks.push(runtime.spawn(udp::serve(socket, shared, stats, stopped.clone())));
        }
        let context = Arc::new(tcp::Context::new(shared, Arc::clone(&stats), limits));
        tasks.push(runtime.spawn(tcp::serve(listener, context, stopped)));
        Running { udp, tcp, stats, stop, runtime: Some(runtime), tasks }
    }

    fn local() -> Running {
        Running::start(Ipv4Addr::LOCALHOST.into(), 0, QUICK)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads one message; `None` at the end of the stream.
fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    Some(message)
}

#[test]
fn udp_answers_over_both_families() {
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let server = Running::start(ip, 0, QUICK);
        let socket = UdpSocket::bind(SocketAddr::new(ip, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect(server.udp).unwrap();
        let mut buffer = [0; 4096];
        // A response, and junk, which get nothing; then a query, which gets the first response.
        socket.send(&ask("example", 6).flags(0x8000).wire()).unwrap();
        socket.send(b"junk").unwrap();
        socket.send(&ask("www.example", 1).wire()).unwrap();
        let len = socket.recv(&mut buffer).unwrap();
        let message = read(&buffer[..len]);
        assert_eq!(message.answers[0].record_type(), RecordType::A);
        assert_eq!(server.stats.silent.load(Relaxed), 2);
    }
}

#[test]
fn tcp_answers_pipelined_queries_in_order() {
    let server = Running::start(Ipv6Addr::LOCALHOST.into(), 0, QUICK);
    let mut stream = server.connect();
    let mut queries = Vec::new();
    for id in 0..500u16 {
        let mut query = ask(if id % 2 == 0 { "www.example" } else { "none.example" }, 1).wire();
        query[..2].copy_from_slice(&id.to_be_bytes());
        queries.extend(framed(&query));
    }
    stream.write_all(&queries).unwrap();
    for id in 0..500u16 {
        let response = receive(&mut stream).expect("a response");
        assert_eq!(u16::from_be_bytes([response[0], response[1]]), id);
        assert_eq!(response[3] & 15, if id % 2 == 0 { 0 } else { 3 });
    }
}

#[test]
fn tcp_waits_for_a_query_in_pieces_but_not_for_ever() {
    let server = Running::local();
    let mut stream = server.connect();
    let query = framed(&ask("www.example", 1).wire());
    for part in query.chunks(5) {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(receive(&mut stream).is_some());
    // Trickling does not extend the time for one query.
    let started = Instant::now();
    for part in query.chunks(1) {
        if stream.write_all(part).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(receive(&mut stream).is_none());
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(server.stats.tcp_idle.load(Relaxed), 1);
}

#[test]
fn tcp_answers_a_client_that_has_closed_its_end() {
    let server = Running::local();
    let mut stream = server.connect();
    let query = framed(&ask("www.example", 1).wire());
    stream.write_all(&query.repeat(3)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..3 {
        assert!(receive(&mut stream).is_some());
    }
    assert!(receive(&mut stream).is_none());
    assert_eq!(server.stats.tcp_idle.load(Relaxed), 0);
}

#[test]
fn tcp_closes_on_what_is_no_query() {
    let server = Running::local();
    for message in [&[][..], b"junk", &ask("example", 6).flags(0x8000).wire()] {
        let mut stream = server.connect();
        stream.write_all(&framed(message)).unwrap();
        assert!(receive(&mut stream).is_none());
    }
    // A length that promises more than ever comes.
    let mut stream = server.connect();
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(receive(&mut stream).is_none());
}

#[test]
fn tcp_takes_the_longest_query() {
    let server = Running::local();
    let mut stream = server.connect();
    // 65,535 octets: the rest is one option.
    let base = ask("www.example", 1).with(opt(0, 0, &[])).wire().len();
    let len = 65535 - base - 4;
    let option = [&[0, 100][..], &(len as u16).to_be_bytes(), &vec![0; len]].concat();
    let query = ask("www.example", 1).with(opt(0, 0, &option)).wire();
    assert_eq!(query.len(), 65535);
    stream.write_all(&framed(&query)).unwrap();
    let message = read(&receive(&mut stream).expect("a response"));
    assert_eq!(message.answers.len(), 1);
}

#[test]
fn tcp_closes_a_client_s_longest_idle_connection_for_its_new_one() {
    let limits = tcp::Limits { idle_timeout: Duration::from_secs(60), ..QUICK };
    let server = Running::start(Ipv4Addr::LOCALHOST.into(), 0, limits);
    let query = framed(&ask("www.example", 1).wire());
    let mut open: Vec<TcpStream> = (0..4).map(|_| server.connect()).collect();
    for stream in &mut open {
        stream.write_all(&query).unwrap();
        assert!(receive(stream).is_some());
        // Idle times are told apart by the millisecond.
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..3 {
        let mut fifth = server.connect();
        fifth.write_all(&query).unwrap();
        assert!(receive(&mut fifth).is_some());
        assert!(receive(&mut open[0]).is_none(), "the longest idle one is closed");
        open.remove(0);
        open.push(fifth);
    }
    assert_eq!(server.stats.tcp_gave_way.load(Relaxed), 3);
    assert_eq!(server.stats.tcp_refused.load(Relaxed), 0);
    assert_eq!(server.stats.tcp_connections.load(Relaxed), 4);
}

#[test]
fn tcp_serves_a_new_client_while_idle_ones_fill_the_pool() {
    let limits = tcp::Limits { idle_timeout: Duration::from_secs(60), ..QUICK };
    let server = Running::start(Ipv4Addr::LOCALHOST.into(), 0, limits);
    let query = framed(&ask("www.example", 1).wire());
    let connect = |last: u8, ask: bool| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        socket.bind(&source.into()).unwrap();
        socket.connect(&server.tcp.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        if ask {
            stream.write_all(&query).unwrap();
            assert!(receive(&mut stream).is_some(), "127.0.0.{last}");
        }
        stream
    };
    let _idle: Vec<_> = (0..8).map(|index| connect(10 + index, false)).collect();
    for last in 30..50 {
        connect(last, true);
    }
    assert_eq!(server.stats.tcp_refused.load(Relaxed), 0);
}

#[test]
fn tcp_cuts_off_a_client_that_does_not_read() {
    let server = Running::start(Ipv4Addr::LOCALHOST.into(), 0, QUICK);
    let mut stream = server.connect();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    // Each query of some 30 octets asks for 4,000; none of them is read.
    let queries = framed(&ask("large.example", 16).wire()).repeat(1000);
    let failed = (0..200).any(|_| stream.write_all(&queries).is_err());
    assert!(failed, "everything was taken");
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.stats.tcp_slow.load(Relaxed) == 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn tcp_transfers_a_zone_and_goes_on() {
    let server = Running::start(Ipv4Addr::LOCALHOST.into(), 3000, QUICK);
    let mut stream = server.connect();
    stream.write_all(&framed(&ask("example", 252).wire())).unwrap();
    stream.write_all(&framed(&ask("www.example", 1).wire())).unwrap();
    let (mut soas, mut records) = (0, 0);
    while soas < 2 {
        for record in read(&receive(&mut stream).expect("a message")).answers {
            soas += usize::from(record.record_type() == RecordType::SOA);
            records += 1;
        }
    }
    assert_eq!(records, testing::zone(7, 3000).record_count() + 1);
    let message = read(&receive(&mut stream).expect("the next response"));
    assert_eq!(message.answers[0].record_type(), RecordType::A);
    assert_eq!(server.stats.transfers.load(Relaxed), 1);
}

#[test]
fn a_secondary_of_another_make_takes_the_zone() {
    use std::process::{Child, Command, Stdio};

    struct Knot(Child);
    impl Drop for Knot {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    let limits = tcp::Limits { idle_timeout: Duration::from_secs(10), ..QUICK };
    let ip = Ipv4Addr::LOCALHOST.into();
    let zone = testing::zone(7, 3000);
    // Knot asks for the SOA and transfers from one address and port: TCP and UDP must share it.
    let server = (0..20)
        .map(|_| Running::start(ip, 3000, limits))
        .map(|server| (UdpSocket::bind(server.tcp), server))
        .find_map(|(free, server)| free.is_ok().then_some(server))
        .expect("a port that is free for UDP as well");
    let shared = Arc::new(Shared::new(served(&zone)));
    let runtime = server.runtime.as_ref().unwrap();
    for socket in udp::bind(server.tcp, 1).unwrap() {
        let (stats, stop) = (Arc::clone(&server.stats), server.stop.subscribe());
        runtime.spawn(udp::serve(socket, Arc::clone(&shared), stats, stop));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let listen = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "server:\n  rundir: {path}\n  listen: {}@{}\ndatabase:\n  storage: {path}\n\
         remote:\n  - id: primary\n    address: {}@{}\n\
         zone:\n  - domain: example.\n    storage: {path}\n    master: primary\n",
        listen.ip(),
        listen.port(),
        server.tcp.ip(),
        server.tcp.port(),
    );
    let config_path = folder.path().join("knot.conf");
    std::fs::write(&config_path, config).unwrap();
    let knot = Command::new("knotd")
        .arg("-c")
        .arg(&config_path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("knotd is installed");
    let _knot = Knot(knot);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let last_host = loop {
        assert!(Instant::now() < deadline, "knotd has not taken the zone");
        client.send_to(&ask("host2999.example", 1).wire(), listen).unwrap();
        let mut buffer = [0; 512];
        let Ok(len) = client.recv(&mut buffer) else { continue };
        let message = read(&buffer[..len]);
        if message.metadata.response_code == ResponseCode::NoError {
            break message;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(last_host.answers.len(), 1);
    assert_eq!(server.stats.transfers.load(Relaxed), 1);
}

#[test]
fn stopping_finishes_what_was_asked_and_takes_no_more() {
    let limits = tcp::Limits { idle_timeout: Duration::from_secs(60), ..QUICK };
    let mut server = Running::start(Ipv4Addr::LOCALHOST.into(), 0, limits);
    let mut stream = server.connect();
    stream.write_all(&framed(&ask("www.example", 1).wire())).unwrap();
    assert!(receive(&mut stream).is_some());
    server.stop.send_replace(true);
    let tasks = std::mem::take(&mut server.tasks);
    let runtime = server.runtime.as_ref().unwrap();
    runtime.block_on(async {
        for task in tasks {
            let ended = tokio::time::timeout(Duration::from_secs(5), task).await;
            ended.expect("the task ends").unwrap().unwrap();
        }
    });
    assert!(receive(&mut stream).is_none());
    let refused = TcpStream::connect(server.tcp).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn hickory_s_own_queries_are_understood() {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Query;
    message.metadata.id = 0xabcd;
    message.add_query(Question::query("www.example.".parse().unwrap(), RecordType::TXT));
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_dnssec_ok(true);
    message.edns = Some(edns);
    let (_, out) = reply_to(&message.to_vec().unwrap(), CLIENT, Transport::Udp);
    assert_eq!(read(&out).answers[0].record_type(), RecordType::TXT);
}
