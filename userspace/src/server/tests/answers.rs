//! Answers, and the header of every response: RFC 8906 section 8.1 and what clients ask besides.

use super::*;

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
    for opcode in [1u16, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        let mut header_only = ask("example", 6).flags(opcode << 11).wire()[..12].to_vec();
        header_only[4..12].fill(0);
        let (reply, out) = reply_to(&header_only, CLIENT, Transport::Udp);
        assert!(matches!(reply, Reply::Response));
        assert_eq!(out.len(), 12);
        assert_eq!((out[2] & 0x80, out[2] & 0x04), (0x80, 0));
        assert_eq!((u16::from(out[2] >> 3 & 15), out[3] & 15), (opcode, 4));
        // UPDATE as it is really sent has questions and records.
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
    let edns = served.edns();
    let shared = Shared::new(served.with(Arc::new(image.reader()), [], |_| edns));
    let policy = Policy { mode: Mode::On as u32, ..Policy::new() };
    shared.limiter().set(&Limits { policy, ..Limits::default() }, 0);
    for (qname, class) in [
        ("www.example", Class::Any),
        ("deep.example", Class::Nodata),
        ("none.example", Class::Nxdomain),
    ] {
        let query = ask(qname, 255).wire();
        let answered = udp::Answerer::new(&shared, &SocketStats::default()).answer(
            &query,
            CLIENT,
            &mut Vec::new(),
        );
        assert!(matches!(answered, udp::Datagram::Response));
        let counts = shared.limiter().verdicts().classes[class.index()];
        assert_eq!(counts[Verdict::Answer.index()], 1, "{qname}");
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
