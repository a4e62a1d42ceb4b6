//! What is no answer: names of others, messages that are malformed, and what deserves no response.

use xdp_common::dns::HEADER_LEN;

use super::*;

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

#[test]
fn other_classes_are_refused() {
    for class in [0, 2, 4, 254, 255, 65535] {
        let message = answer(&ask("example", 6).class(class));
        assert_eq!(message.metadata.response_code, ResponseCode::Refused, "class {class}");
    }
}

#[test]
fn malformed_messages_are_formerr_with_what_could_be_read() {
    let good = ask("example", 6).wire();
    let mut two_questions = good.clone();
    two_questions[5] = 2;
    two_questions.extend_from_slice(&good[HEADER_LEN..]);
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
                Reply::Later(_) => panic!("nobody has a key"),
                Reply::Transfer(_) => assert!(out.is_empty() && client == CLIENT),
                Reply::Response | Reply::SignedResponse => {
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
