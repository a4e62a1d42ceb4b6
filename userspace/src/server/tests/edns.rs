//! EDNS (RFC 8906 section 8.2): versions, options, cookies, truncation.

use xdp_common::dns::HEADER_LEN;

use super::*;

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

/// What is not the engine's to say has the options that its answers have; errors that must not be larger than
/// what they answer have none.
#[test]
fn plain_responses_have_options() {
    let mut served = served(&testing::zone(7, 0));
    let edns = &mut served.settings.edns;
    *edns = edns.with_nsid(b"node-1");
    (edns.secrets[0], edns.secret_count) = ([1, 2], 1);
    let ask = |ask: Ask| {
        let (stats, mut out) = (SocketStats::default(), Vec::new());
        let reply = respond(&served, &stats, &ask.wire(), CLIENT, Transport::Udp, NOW, &mut out);
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
        served.settings.edns.secrets[0] = [1, 2];
        served.settings.edns.secret_count = u32::from(has_secrets);
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
                let (stats, mut out) = (SocketStats::default(), Vec::new());
                let reply = respond(&served, &stats, &message, CLIENT, transport, NOW, &mut out);
                assert!(matches!(reply, Reply::Response));
                let said = read(&out);
                let low = u16::from(out[3] & 15);
                // Behind the header comes OPT, if one could be read.
                let high = out.get(HEADER_LEN + 5).map_or(0, |octet| u16::from(*octet) << 4);
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
