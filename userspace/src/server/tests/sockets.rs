//! UDP and TCP over loopback: which connections are kept, and what ends them.

use super::*;

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
    let limits = tcp::ConnectionLimits { idle_timeout: Duration::from_secs(60), ..QUICK };
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
    let limits = tcp::ConnectionLimits { idle_timeout: Duration::from_secs(60), ..QUICK };
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
fn stopping_finishes_what_was_asked_and_takes_no_more() {
    let limits = tcp::ConnectionLimits { idle_timeout: Duration::from_secs(60), ..QUICK };
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
fn tcp_says_how_long_it_waits_if_it_is_asked() {
    let limits = tcp::ConnectionLimits { idle_timeout: Duration::from_millis(2350), ..QUICK };
    let server = Running::start(Ipv4Addr::LOCALHOST.into(), 0, limits);
    let mut stream = server.connect();
    let mut exchange = |query: &Ask| {
        stream.write_all(&framed(&query.wire())).unwrap();
        receive(&mut stream).expect("a response")
    };
    let option = |value: &[u8]| [&[0, 11, 0, value.len() as u8][..], value].concat();
    for qname in ["www.example", "none.example", "elsewhere"] {
        let asked = exchange(&ask(qname, 1).with(opt(0, 0, &option(&[]))));
        assert!(asked.ends_with(&[0, 11, 0, 2, 0, 23]), "{qname}: {asked:02x?}");
        // hickory-proto reads all of it.
        let _ = read(&asked);
        // Not asked, or without EDNS.
        for query in [ask(qname, 1).with(opt(0, 0, &[])), ask(qname, 1)] {
            let silent = exchange(&query);
            assert!(!silent.windows(4).any(|octets| octets == [0, 11, 0, 2]), "{silent:02x?}");
        }
        // Only servers have a value to tell.
        for value in [&[0, 10][..], &[1], &[0; 40]] {
            let refused = read(&exchange(&ask(qname, 1).with(opt(0, 0, &option(value)))));
            assert_eq!(refused.metadata.response_code, ResponseCode::FormErr);
        }
    }
}

#[test]
fn udp_knows_no_keepalive() {
    for value in [&[][..], &[0, 10]] {
        let option = [&[0, 11, 0, value.len() as u8][..], value].concat();
        let (_, with) = reply_to(
            &ask("www.example", 1).with(opt(0, 0, &option)).wire(),
            CLIENT,
            Transport::Udp,
        );
        let (_, without) =
            reply_to(&ask("www.example", 1).with(opt(0, 0, &[])).wire(), CLIENT, Transport::Udp);
        assert_eq!(with, without);
    }
}

/// The header of a proxy for a client.
fn proxied(client: [u8; 4], query: &[u8]) -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c";
    [&head[..], &client, &[192, 0, 2, 53, 0x20, 0, 0, 53], query].concat()
}

#[test]
fn a_proxy_says_who_asks() {
    let server = Running::local();
    server.shared.set_proxies(vec!["127.0.0.9/32".parse().unwrap()]);
    let soa = ask("example", 6).wire();
    let socket_at = |ip: &str| {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect(server.udp).unwrap();
        socket
    };
    let mut room = [0; 4096];
    let (proxy, other) = (socket_at("127.0.0.9"), socket_at("127.0.0.1"));
    // Without a header, or with half of one: nothing; then the response to the one that is right.
    proxy.send(&soa).unwrap();
    proxy.send(&proxied([192, 0, 2, 1], &soa)[..20]).unwrap();
    proxy.send(&proxied([192, 0, 2, 1], &soa)).unwrap();
    let len = proxy.recv(&mut room).unwrap();
    is_soa_answer(&read(&room[..len]));
    assert_eq!(server.stats.udp().outcomes[xdp_common::Outcome::Malformed], 2);
    // From elsewhere a header is no query.
    other.send(&proxied([192, 0, 2, 1], &soa)).unwrap();
    let len = other.recv(&mut room).unwrap();
    assert_eq!(read_rcode(&room[..len]), 4, "NOTIMP");

    // A zone is for loopback addresses: for those that the proxy names, not for its own.
    let axfr = framed(&ask("example", 252).wire());
    let connect = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), 0)).into()).unwrap();
        socket.connect(&server.tcp.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    };
    for (client, rcode) in [([192, 0, 2, 1], 5), ([127, 0, 0, 1], 0)] {
        let mut stream = connect();
        // The header and the query in pieces.
        let octets = proxied(client, &axfr);
        octets.chunks(7).for_each(|part| stream.write_all(part).unwrap());
        assert_eq!(read_rcode(&receive(&mut stream).unwrap()), rcode, "{client:?}");
    }
    let mut stream = connect();
    stream.write_all(&axfr).unwrap();
    assert!(receive(&mut stream).is_none());
    // More connections than one client may have.
    let many: Vec<TcpStream> = (0..QUICK.connections_per_client + 1).map(|_| connect()).collect();
    let query = framed(&ask("www.example", 1).wire());
    for mut stream in many {
        stream.write_all(&proxied([192, 0, 2, 1], &query)).unwrap();
        assert!(receive(&mut stream).is_some());
    }
}

fn read_rcode(message: &[u8]) -> u8 {
    message[3] & 0x0f
}
