//! What is asked for over the control socket.

use super::*;

#[test]
fn xdp_is_attached_and_detached() {
    let stage = Stage::new();
    stage.tell(Request::XdpAttach { interface: "eth7".into() });
    let status: XdpStatus = stage.ask(Request::XdpStatus);
    assert_eq!(
        status.attachments,
        [Attachment {
            interface: "eth7".into(),
            mode: XdpMode::Native,
            tcx: false,
            pinned: false,
            adopted: false,
        }]
    );
    assert_eq!(status.counters.xdp.unwrap().outcomes[Outcome::Positive], 3);
    let detached: XdpDetached = stage.ask(Request::XdpDetach { interface: None });
    assert_eq!(detached.detached, ["eth7"]);
}

struct Socket {
    runtime: Option<tokio::runtime::Runtime>,
    _stop: watch::Sender<bool>,
}

impl Socket {
    fn serve(path: &Path, daemon: &Arc<Daemon>) -> Socket {
        let listener = socket::bind(path).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let daemon = Arc::clone(daemon);
        let handler: socket::Handler = Arc::new(move |request| daemon.handle(request));
        runtime.spawn(socket::serve(listener, handler, stopped));
        Socket { runtime: Some(runtime), _stop: stop }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[test]
fn the_control_socket_answers_its_owner() {
    let stage = Stage::new();
    let path = stage.folder.path().join("control.sock");
    let unreachable = call::<Status>(&path, &Request::Status, PATIENCE).unwrap_err();
    assert!(matches!(unreachable, CallError::Unreachable { .. }));

    let socket = Socket::serve(&path, &stage.daemon);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        call::<ZoneList>(&path, &Request::ZoneList, PATIENCE).unwrap().zones[0].serial,
        Some(1)
    );
    let refused = call::<ZoneStatus>(&path, &Request::ZoneStatus { zone: "org".into() }, PATIENCE)
        .unwrap_err();
    assert!(matches!(refused, CallError::Refused(failure) if failure.code == "zone"));
    // While somebody answers, nobody takes the place; afterwards what is left is no obstacle.
    assert_eq!(socket::bind(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(socket);
    std::thread::sleep(Duration::from_millis(50));
    let _socket = Socket::serve(&path, &stage.daemon);
    assert!(call::<Snapshot>(&path, &Request::Stats, PATIENCE).is_ok());
}

#[test]
fn the_control_socket_bounds_what_it_reads() {
    let stage = Stage::new();
    let path = stage.folder.path().join("control.sock");
    let _socket = Socket::serve(&path, &stage.daemon);
    let say = |text: &[u8]| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The daemon may close before everything is written.
        let _ = stream.write_all(text);
        let mut line = String::new();
        let _ = BufReader::new(&mut stream).read_line(&mut line);
        let _ = stream.read(&mut [0]);
        line
    };
    let request = |request: &str| {
        format!("{{\"protocol\":{PROTOCOL},\"version\":\"1\",\"request\":{request}}}\n")
    };
    for (text, code) in [
        ("hello\n".to_owned(), "request"),
        (request("{\"command\":\"fly\"}"), "request"),
        (request("{\"command\":\"zone-status\"}"), "request"),
        (request("{\"command\":\"zone-status\",\"zone\":\"a\",\"more\":1}"), "request"),
        // As before there were versions, and as there may be one day.
        ("{\"command\":\"status\"}\n".to_owned(), "version"),
        ("{\"protocol\":99,\"question\":1}\n".to_owned(), "version"),
    ] {
        let response = read_response(&say(text.as_bytes())).unwrap();
        assert!(matches!(response, Response::Error(failure) if failure.code == code), "{text}");
    }
    // A line that is too long is cut, and so is no request.
    let long = say(&vec![b'x'; 2 * MAX_REQUEST as usize]);
    assert!(long.is_empty() || long.contains("\"error\""), "{long}");
    assert!(call::<Status>(&path, &Request::Status, PATIENCE).is_ok());
}
