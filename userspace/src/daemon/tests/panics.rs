//! A panic costs what panicked and nothing else.

use super::*;

/// A query for the SOA of a name of one label.
fn query(label: &str) -> Vec<u8> {
    let name = [&[label.len() as u8], label.as_bytes(), &[0]].concat();
    [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], &name[..], &[0, 6, 0, 1]].concat()
}

/// What a server says over TCP to one query; nothing if it closes instead.
fn ask_over_tcp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let message = [&(query.len() as u16).to_be_bytes(), query].concat();
    stream.write_all(&message).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut response = Vec::new();
    // A connection may be reset as well as closed.
    let _ = stream.read_to_end(&mut response);
    response
}

#[test]
fn a_panic_costs_what_panicked_and_nothing_else() {
    let stage = Stage::new();
    let control = stage.folder.path().join("control.sock");
    let loopback = "127.0.0.1:0".parse().unwrap();
    let (udp, listener) = (udp::bind(loopback, 1).unwrap(), tcp::bind(loopback).unwrap());
    let (over_udp, over_tcp) = (udp[0].local_addr().unwrap(), listener.local_addr().unwrap());
    let dns =
        vec![AddressSockets { endpoint: (over_udp, tcp::Security::Plain), udp, tcp: listener }];
    let sockets = Sockets { dns, control: socket::bind(&control).unwrap() };
    let daemon = Arc::clone(&stage.daemon);
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let served = runtime.block_on(daemon.serve(sockets, PATIENCE));
        runtime.shutdown_background();
        served
    });

    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        // No response to the one, and at once one to the other.
        client.send_to(&query("panic"), over_udp).unwrap();
        client.send_to(&query("example"), over_udp).unwrap();
        assert!(client.recv_from(&mut [0; 512]).unwrap().0 > 12);
        assert!(ask_over_tcp(over_tcp, &query("panic")).is_empty());
        assert!(ask_over_tcp(over_tcp, &query("example")).len() > 12);

        let attach = Request::XdpAttach { interface: "panic".into() };
        let refused = call::<XdpAttached>(&control, &attach, PATIENCE).unwrap_err();
        assert!(matches!(refused, CallError::Refused(failure) if failure.code == "internal"));
        assert!(call::<Status>(&control, &Request::Status, PATIENCE).is_ok());
    }
    let stats: Snapshot = call(&control, &Request::Stats, PATIENCE).unwrap();
    assert_eq!(stats.udp.fault, 3);

    // A zone that panics fails alone, and the older version stays.
    stage.write("zone", "panic");
    let reload = Request::ZoneReload { zone: None };
    let reloaded: ZoneReload = call(&control, &reload, PATIENCE).unwrap();
    assert_eq!(
        reloaded.zones[0].error.as_deref(),
        Some("a fault of this program, which is in the log")
    );
    assert_eq!(stage.status().summary.state, ServingState::ServingOld);

    let before = {
        let mut calls = lock(&stage.calls);
        calls.panics = 2;
        calls.ticks
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while lock(&stage.calls).ticks < before + 4 {
        assert!(Instant::now() < deadline, "the clock stands still");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(call::<Stopping>(&control, &Request::Stop, PATIENCE).is_ok());
    serving.join().unwrap().unwrap();
}
