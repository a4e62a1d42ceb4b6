//! The daemon's responder: any octets over UDP and TCP; who sends a response gets none, errors are never
//! larger than what they answer, and all that is said is a message to the question as asked.
#![no_main]

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::fuzz_target;
use sealdns::{
    clock::WallTime,
    config::TsigAlgorithm,
    server::{
        ResponseSettings, Served, ServedZone,
        responder::{Reply, Transfer, respond},
        stats::{SocketStats, Transport},
    },
    transfer::{access::TransferAccess, axfr, notified::NotifySources, tsig},
    zone::{Version, Zone, name::wire_name_len},
};
use sealdns_fuzz::{COMPILED, Compiled, EDNS_SETTINGS, LIMIT, NOW};
use tests::dns::{HEADER_LEN, Message};

/// Without EDNS (RFC 1035 section 4.2.1).
const MIN_PAYLOAD: usize = 512;
/// FORMERR, NOTIMP, NOTAUTH. BADVERS has the low bits of NOERROR.
const NEVER_LARGER: [u8; 3] = [1, 4, 9];

static SERVED: LazyLock<[Served; 2]> = LazyLock::new(|| COMPILED.each_ref().map(served));

fn served(compiled: &Compiled) -> Served {
    let zones = compiled.zones.iter().map(|zone| {
        let allowed = "192.0.2.1/32".parse().expect("a prefix");
        (
            zone.apex().clone(),
            ServedZone {
                zone: Some(Arc::new(Version::of(Zone::clone(zone))) as _),
                past: Arc::default(),
                access: TransferAccess::of_prefixes([allowed]),
                notify_sources: NotifySources::default(),
                update_keys: Arc::default(),
                withholds: false,
            },
        )
    });
    let unloaded = "unloaded.example".parse().expect("a name");
    let primary = "192.0.2.1".parse().expect("an address");
    let unloaded = (
        unloaded,
        ServedZone {
            zone: None,
            past: Arc::default(),
            access: TransferAccess::default(),
            notify_sources: NotifySources::new([(primary, None)]),
            update_keys: Arc::default(),
            withholds: false,
        },
    );
    let edns = xdp_common::maps::EdnsSettings { refuse: 0, ..*EDNS_SETTINGS };
    let identity = Some("fuzzed".into());
    let name = "fuzzed".parse().expect("a name");
    let key = tsig::Key::new(name, TsigAlgorithm::Sha256, b"0123456789abcdef");
    let tsig_keys = Arc::new([key].into_iter().collect());
    let settings = ResponseSettings {
        identity,
        version: None,
        udp_payload: LIMIT,
        edns,
        tsig_keys,
        notified: Arc::default(),
        updates: Arc::default(),
    };
    Served::new(
        Arc::<sealdns::compile::Reader>::clone(&compiled.reader),
        zones.chain([unloaded]),
        settings,
    )
}

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, message) = input;
    let served = &SERVED[usize::from(choice & 1)];
    let transport = if choice & 2 == 0 { Transport::Udp } else { Transport::Tcp };
    let client = if choice & 4 == 0 { "192.0.2.1" } else { "192.0.2.2" };
    let port = if choice & 0x38 == 0x38 { 0 } else { 5353 };
    let client = SocketAddr::new(client.parse().expect("an address"), port);
    let mut out = Vec::new();
    let now = WallTime::from_seconds((*NOW).into());
    let reply = respond(served, &SocketStats::default(), message, client, transport, now, &mut out);
    let deserves_one = message.len() >= HEADER_LEN && message[2] & 0x80 == 0 && port != 0;
    match reply {
        Reply::Later(_) => panic!("no key may update"),
        Reply::Silent => assert!(!deserves_one && out.is_empty()),
        Reply::Response | Reply::SignedResponse => {
            assert!(deserves_one);
            check(message, &out, transport);
        }
        Reply::Transfer(transfer) => {
            assert!(deserves_one && transport == Transport::Tcp && choice & 4 == 0);
            check_transfer(message, &transfer);
        }
    }
});

fn check(message: &[u8], out: &[u8], transport: Transport) {
    check_message(message, out);
    let rcode = out[3] & 15;
    if NEVER_LARGER.contains(&rcode) {
        assert!(out.len() <= message.len(), "{} octets for {}", out.len(), message.len());
    }
    if transport == Transport::Udp {
        let has_additional = message[10..12] != [0, 0];
        let limit = if has_additional { LIMIT } else { MIN_PAYLOAD };
        assert!(out.len() <= limit, "{} octets", out.len());
    }
}

/// What every response must be.
fn check_message(message: &[u8], out: &[u8]) {
    assert!(out.len() >= HEADER_LEN);
    assert_eq!(out[..2], message[..2]);
    // QR is set; opcode and RD are the query's.
    assert_eq!(out[2] & 0xf9, message[2] & 0x79 | 0x80);
    if out[4..6] == [0, 0] {
        assert_eq!(out[6..10], [0; 4], "records without a question");
        return;
    }
    Message::read(out).unwrap_or_else(|error| panic!("{error:#}: {out:02x?}"));
    let name = wire_name_len(&out[HEADER_LEN..]).expect("a name without pointers");
    let question = HEADER_LEN..HEADER_LEN + name + 4;
    assert_eq!(out[question.clone()], message[question]);
}

fn check_transfer(query: &[u8], transfer: &Transfer) {
    let (mut message, mut count) = (Vec::new(), 0);
    let mut messages = axfr::messages(&*transfer.zone, &transfer.heading);
    while messages.next_message(&mut message).expect("records that fit") {
        assert!(message.len() <= 65535);
        assert_eq!(message[..2], query[..2]);
        count += usize::from(u16::from_be_bytes([message[6], message[7]]));
    }
    // The SOA comes first and last.
    assert_eq!(count, transfer.zone.records().count() + 1);
}
