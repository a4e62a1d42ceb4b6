//! Transfers: AXFR (RFC 5936) and IXFR (RFC 1995), to who may have them, whole, and to a server of another make.

use super::*;
use crate::config::{Config, TsigAlgorithm};
use crate::server::responder::Transfer;
use crate::server::{Served, ServedZone};
use crate::transfer::access::TransferAccess;
use crate::transfer::ixfr::Past;
use crate::transfer::tsig::{Key, Keys, Verifier, sign_request};
use crate::zone::difference::Difference;

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

#[test]
fn a_transfer_has_every_record_once_between_two_soa_records() {
    let zone = testing::zone(7, 3000);
    let (stats, mut out) = (SocketStats::default(), Vec::new());
    let query = ask("eXample", 252).with(opt(0, 0, &[])).wire();
    let served = served(&zone);
    let reply = respond(&served, &stats, &query, CLIENT, Transport::Tcp, NOW, &mut out);
    let Reply::Transfer(transfer) = reply else { panic!("no transfer") };
    let mut messages = axfr::messages(&*transfer.zone, &transfer.heading);
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

    let limits = tcp::ConnectionLimits { idle_timeout: Duration::from_secs(10), ..QUICK };
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

//--- Signed, and incremental

/// `example.` with a key, which alone opens it.
fn served_by_key(past: Past, hosts: u32) -> Served {
    let mut served = served(&testing::zone(7, hosts));
    let keys: Keys =
        [Key::new("key".parse().unwrap(), TsigAlgorithm::Sha256, SECRET)].into_iter().collect();
    let text = format!(
        "version = \"v1\"\n[[tsig]]\nname = \"key\"\nsecret = \"{}\"\n\
         [[zone]]\nname = \"example\"\nfile = \"f\"\nallow-transfer = [\"key key.\"]\n",
        data_encoding::BASE64.encode(SECRET)
    );
    let config = Config::parse(&text, std::path::Path::new("")).unwrap();
    let apex: crate::zone::Name = "example".parse().unwrap();
    let zone = ServedZone {
        access: TransferAccess::of(config.zones().next().unwrap()),
        past: Arc::new(past),
        ..served.zone_at(apex.as_wire()).unwrap().clone()
    };
    let edns = served.edns();
    served = served.with(Arc::clone(&served.engine), [(apex, Some(zone))], |_| edns);
    served.with_tsig_keys(Arc::new(keys))
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// What is said to a query that is signed, and what verifies that.
fn signed_reply(served: &Served, ask: &Ask, transport: Transport) -> (Reply, Vec<u8>, Verifier) {
    let (stats, mut out) = (SocketStats::default(), Vec::new());
    let mut message = ask.wire();
    let key = Arc::clone(served.tsig_keys().get(&"key".parse().unwrap()).unwrap());
    let verifier = sign_request(&key, &mut message, NOW.seconds());
    let reply = respond(served, &stats, &message, STRANGER, transport, NOW, &mut out);
    assert_eq!(stats.tsig().verified, 1);
    (reply, out, verifier)
}

/// An IXFR query of a client that has this serial.
fn ixfr(serial: u32) -> Ask {
    let mut soa = b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\x00\x00".to_vec();
    soa.extend_from_slice(&serial.to_be_bytes());
    soa.extend_from_slice(&[0; 16]);
    Ask { authority: vec![soa], ..ask("example", 251) }
}

/// The changes that led to `example.` with serial 7: a host comes with each.
fn past(first_hosts: u32, steps: u32) -> Past {
    let version = |step| testing::version(7 - steps + step, first_hosts + step);
    (0..steps).fold(Past::default(), |past, step| {
        past.with(&Difference::between_versions(&version(step), &version(step + 1)), 1 << 20)
    })
}

#[test]
fn every_kind_of_answer_to_a_signed_query_is_signed() {
    let served = served_by_key(Past::default(), 0);
    for (asked, rcode) in [
        (ask("example", 6), 0),
        (ask("example", 6).with(opt(0, 0, &[])), 0),
        (ask("nobody.example", 1), 3),
        (ask("www.example", 46), 0),
        (ask("example.org", 1), 5),
        (ask("example", 6).class(3), 5),
        (ask("example", 253), 4),
        (ask("www.example", 252), 5),
        (ixfr(7), 0),
    ] {
        let transport = if asked.rtype > 200 { Transport::Tcp } else { Transport::Udp };
        let (reply, mut out, mut verifier) = signed_reply(&served, &asked, transport);
        assert!(matches!(reply, Reply::SignedResponse), "{}", asked.rtype);
        assert_eq!(out[3] & 15, rcode, "{}", asked.rtype);
        verifier.check(&mut out, NOW.seconds()).unwrap();
        verifier.finish().unwrap();
        read(&out);
    }
    // RFC 8945 section 5.3: what has no room with TSIG is truncated, to the question.
    let asked = ask("large.example", 16).with(opt(0, 0, &[]));
    let (_, mut out, mut verifier) = signed_reply(&served, &asked, Transport::Udp);
    verifier.check(&mut out, NOW.seconds()).unwrap();
    let message = read(&out);
    assert!(message.metadata.truncation && message.answers.is_empty());
}

#[test]
fn a_key_opens_a_zone_and_each_message_is_signed() {
    let served = served_by_key(Past::default(), 3000);
    let (reply, mut out) =
        reply_to(&ask("example", 252).with(opt(0, 0, &[])).wire(), STRANGER, Transport::Tcp);
    assert!(matches!(reply, Reply::Response));
    assert_eq!((out[3] & 15, extended_error(&out)), (5, Some(18)));
    let (reply, _, mut verifier) = signed_reply(&served, &ask("example", 252), Transport::Tcp);
    let Reply::Transfer(mut transfer) = reply else { panic!("no transfer") };
    let mut signer = transfer.signer.take().unwrap();
    let (mut messages, mut records, mut count) = (transfer.messages(), 0, 0);
    while messages.next_message(&mut out).unwrap() {
        signer.sign(&mut out, NOW.seconds());
        assert!(out.len() <= 16 * 1024);
        verifier.check(&mut out, NOW.seconds()).unwrap();
        (records, count) = (records + read(&out).answers.len(), count + 1);
    }
    verifier.finish().unwrap();
    assert!(count > 1);
    assert_eq!(records, testing::zone(7, 3000).record_count() + 1);
}

#[test]
fn a_client_that_is_behind_gets_what_changed() {
    let served = served_by_key(past(10, 3), 13);
    let types = |out: &[u8]| -> Vec<(String, RecordType)> {
        let records = read(out).answers.into_iter();
        records.map(|record| (record.name.to_ascii(), record.record_type())).collect()
    };
    let example = || ("example.".to_owned(), RecordType::SOA);
    let host = |number: u32| (format!("host{number}.example."), RecordType::A);
    // SOA, older SOA, what went, newer SOA, what came, SOA: several changes as one, over both transports alike.
    for (serial, hosts) in [(6, 12..13), (5, 11..13), (4, 10..13)] {
        let expected = [vec![example(); 3], hosts.map(host).collect(), vec![example()]].concat();
        let (reply, mut over_udp, mut verifier) =
            signed_reply(&served, &ixfr(serial), Transport::Udp);
        assert!(matches!(reply, Reply::SignedResponse));
        verifier.check(&mut over_udp, NOW.seconds()).unwrap();
        assert_eq!(types(&over_udp), expected);
        let (reply, mut out, _) = signed_reply(&served, &ixfr(serial), Transport::Tcp);
        let Reply::Transfer(transfer) = reply else { panic!("no transfer") };
        let mut messages = transfer.messages();
        assert!(messages.next_message(&mut out).unwrap());
        assert_eq!(types(&out), expected);
        assert!(!messages.next_message(&mut Vec::new()).unwrap());
    }
    // Not known: the whole zone over TCP, the SOA over UDP.
    let (reply, ..) = signed_reply(&served, &ixfr(3), Transport::Tcp);
    assert!(matches!(reply, Reply::Transfer(Transfer { differences: None, .. })));
    let (_, mut out, mut verifier) = signed_reply(&served, &ixfr(3), Transport::Udp);
    verifier.check(&mut out, NOW.seconds()).unwrap();
    is_soa_answer(&read(&out));
}

#[test]
fn over_udp_what_has_no_room_is_the_soa() {
    // Each host more takes some thirty octets: at some number there is no room any more.
    let mut fitted = Vec::new();
    for hosts in 1..40 {
        let change =
            Difference::between_versions(&testing::version(6, 0), &testing::version(7, hosts));
        let served = served_by_key(Past::default().with(&change, 1 << 20), hosts);
        let (_, mut out, mut verifier) = signed_reply(&served, &ixfr(6), Transport::Udp);
        assert!(out.len() <= 512, "{hosts} hosts: {} octets", out.len());
        verifier.check(&mut out, NOW.seconds()).unwrap();
        let answers = read(&out).answers.len() as u32;
        assert!(answers == 1 || answers == hosts + 4, "{hosts} hosts: {answers} records");
        fitted.push(answers > 1);
    }
    assert!(fitted[0] && !fitted[38] && fitted.is_sorted_by(|a, b| a >= b), "{fitted:?}");
}
