//! Slow TCP: clients that connect and do nothing, or next to nothing, against the daemon as it is run. Whatever they do,
//! a new client is answered, and so is who asks over the control socket.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Uid,
};
use sealdns::{
    observe::{Connections, Snapshot},
    zone::Name,
};
use socket2::{Domain, Socket, Type};
use testbed::net::{self, Process};
use tests::{
    dns::{Message, Query},
    harness::Verdict,
    servers,
};

/// How long anything may take; what is waited for is a condition.
const PATIENCE: Duration = Duration::from_secs(30);

const APEX: &str = "slow.example";
const A: u16 = 1;
const TXT: u16 = 16;

/// The daemon over one zone, not signed, with an RRset of some 60,000 octets at `large`.
struct Stage {
    address: SocketAddr,
    process: Process,
    folder: tempfile::TempDir,
}

impl Stage {
    /// `settings` are lines of `[server]`; `wrap` stands before the command.
    fn new(settings: &str, wrap: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = testbed::servers::free_address()?;
        let large: String =
            (0..240).map(|at| format!("large TXT \"{at:03}{}\"\n", "x".repeat(240))).collect();
        fs::write(
            folder.path().join("zone"),
            format!("$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n{large}"),
        )?;
        let config = folder.path().join("sealdns.toml");
        fs::write(
            &config,
            format!(
                "version = \"v1\"\n[server]\nlisten = [\"{address}\"]\ncontrol = \"control.sock\"\n\
                 state-dir = \"state\"\n{settings}\n\
                 [[zone]]\nname = \"{APEX}\"\nfile = \"zone\"\ndnssec = \"off\"\n"
            ),
        )?;
        let binary = servers::sealdns().context("no sealdns")?;
        let words: Vec<&std::ffi::OsStr> = wrap
            .iter()
            .map(|word| std::ffi::OsStr::new(*word))
            .chain([binary.as_os_str()])
            .collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["run", "--config"]).arg(&config);
        let mut process = Process::spawn("sealdns", &mut command)?;
        process.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
        Ok(Self { address, process, folder })
    }

    /// Connects from an address of this host.
    fn connect(&self, client: Ipv4Addr) -> Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Who never reads is found out the sooner.
        socket.set_recv_buffer_size(4096)?;
        socket.bind(&SocketAddr::from((client, 0)).into())?;
        socket.connect_timeout(&self.address.into(), PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    }

    /// What the daemon counts of connections.
    fn connections(&self) -> Result<Connections> {
        let mut command = Command::new(servers::sealdns().context("no sealdns")?);
        command.args(["stats", "--json", "--config"]).arg(self.folder.path().join("sealdns.toml"));
        let output = net::output_within(&mut command, PATIENCE)?;
        Ok(servers::reply_of::<Snapshot>(&output)?.connections)
    }

    /// Waits until at least `least` connections were taken.
    fn wait_for_accepted(&self, least: u64) -> Result<()> {
        net::wait_until(&format!("{least} connections"), PATIENCE, || {
            self.connections().is_ok_and(|connections| connections.accepted >= least)
        })
    }

    /// Asks from an address over a connection of its own; an answer must come.
    fn asks(&self, client: Ipv4Addr) -> Result<()> {
        let what = || format!("a client at {client}");
        let mut stream = self.connect(client).with_context(what)?;
        stream.write_all(&framed("ns", A)).with_context(what)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).with_context(what)?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut message).with_context(what)?;
        let message = Message::read(&message)?;
        ensure!(message.rcode == 0 && message.answer.len() == 1, "{}: {message:?}", what());
        Ok(())
    }
}

/// A query with its length before it.
fn framed(label: &str, rtype: u16) -> Vec<u8> {
    let name = format!("{label}.{APEX}").parse::<Name>().expect("a name");
    let query = Query { name: name.as_wire().to_vec(), rtype, edns: None };
    let message = query.message(1);
    [&(message.len() as u16).to_be_bytes()[..], &message].concat()
}

fn client(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

/// Why these cannot run, if they cannot.
fn obstacle() -> Option<Verdict> {
    obstacle_to(4096)
}

/// Why tests with so many open files cannot run, if they cannot.
fn obstacle_to(files: u64) -> Option<Verdict> {
    let skipped = |what: &str| Some(Verdict::Skipped(what.into()));
    if servers::sealdns().is_none() {
        return skipped("no sealdns beside this test: `cargo xtask build`");
    }
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return skipped("no limits") };
    if hard < files || setrlimit(Resource::RLIMIT_NOFILE, files, hard).is_err() {
        return skipped(&format!("this process may not have {files} open files"));
    }
    None
}

/// Ten clients with 150 idle connections each, 1,000 being the most of all and 100 of one: nobody is shut out, neither
/// others nor they themselves.
pub fn idle_clients_shut_nobody_out() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("tcp-idle-timeout = \"1h\"", &[])?;
    let mut idle = Vec::new();
    for number in 0..10 {
        for _ in 0..150 {
            idle.push(stage.connect(client(number))?);
        }
        stage.asks(client(number))?;
    }
    stage.wait_for_accepted(1510)?;
    for number in 0..40 {
        stage.asks(client(number))?;
    }
    ensure!(stage.connections()?.refused == 0, "connections were refused");
    ensure!(stage.connections()?.gave_way >= 500, "{}", stage.connections()?.gave_way);
    ensure!(stage.connections()?.open <= 1000, "more than there may be");
    ensure!(stage.process.stop()?.success(), "it does not end");
    Ok(Verdict::Passed)
}

/// Clients that send a length and nothing more, an octet now and then, or never read what they asked for, each from an
/// address of its own until nobody else has a place: they are ended, and all the while others are answered.
pub fn slow_clients_are_ended_and_keep_nobody_waiting() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    const EACH: u8 = 20;
    let settings = "tcp-idle-timeout = \"2s\"\ntcp-write-timeout = \"2s\"\ntcp-connections = 90\n\
                    tcp-connections-per-client = 2";
    let stage = Stage::new(settings, &[])?;
    let mut only_lengths = Vec::new();
    for number in 0..EACH {
        let mut stream = stage.connect(client(number))?;
        stream.write_all(&[0, 40])?;
        only_lengths.push(stream);
    }
    let mut never_reading = Vec::new();
    // Ten megaoctets each, more than any socket holds.
    let queries = framed("large", TXT).repeat(200);
    for number in EACH..2 * EACH {
        let mut stream = stage.connect(client(number))?;
        stream.write_all(&queries)?;
        never_reading.push(stream);
    }
    let mut trickling = Vec::new();
    for number in 2 * EACH..3 * EACH {
        trickling.push(stage.connect(client(number))?);
    }
    let query = framed("ns", A);
    let slow = |stage: &Stage| -> Result<u64> {
        let connections = stage.connections()?;
        Ok(connections.idle + connections.slow + connections.gave_way)
    };
    for (asked, octet) in (0..).zip(&query) {
        for stream in &mut trickling {
            // It is closed after some octets.
            let _ = stream.write_all(&[*octet]);
        }
        stage.asks(client(200 + asked % 50))?;
        if slow(&stage)? == 3 * u64::from(EACH) {
            break;
        }
        // How slow they are is what the test gives.
        std::thread::sleep(Duration::from_millis(200));
    }
    net::wait_until("the slow ones to be ended", PATIENCE, || {
        slow(&stage).is_ok_and(|ended| ended == 3 * u64::from(EACH))
    })?;
    ensure!(stage.connections()?.slow == u64::from(EACH), "who does not read is cut off");
    ensure!(stage.connections()?.refused == 0, "connections were refused");
    stage.asks(client(250))?;
    ensure!(stage.process.stop()?.success(), "it does not end");
    Ok(Verdict::Passed)
}

/// A crowd that does nothing, clients that are slow, and a flood over UDP beside them (10,000, 1,000, and as many as one thread
/// sends, with `SEALDNS_HEAVY=1`): whoever else asks, over TCP, over UDP or at the control socket, is answered.
pub fn a_crowd_and_a_flood_shut_nobody_out() -> Result<Verdict> {
    let is_heavy = std::env::var("SEALDNS_HEAVY").is_ok_and(|value| value != "0");
    let (addresses, slow) = if is_heavy { (200, 1000) } else { (20, 100) };
    /// Idle connections of each address.
    const EACH: usize = 50;
    /// Of those that are slow, how many never read.
    const NEVER_READING: usize = 20;
    let crowd = addresses * EACH + slow;
    if let Some(obstacle) = obstacle_to(crowd as u64 + 1000) {
        return Ok(obstacle);
    }
    let settings = format!(
        "tcp-idle-timeout = \"1h\"\ntcp-write-timeout = \"2s\"\ntcp-connections = {}",
        2 * crowd + 200
    );
    let stage = Stage::new(&settings, &[])?;
    let of_crowd =
        |number: usize| Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250) as u8 + 1);
    let mut idle = Vec::new();
    for number in 0..addresses {
        for _ in 0..EACH {
            idle.push(stage.connect(of_crowd(number))?);
        }
    }
    let mut only_lengths = Vec::new();
    let mut never_reading = Vec::new();
    let queries = framed("large", TXT).repeat(200);
    for number in 0..slow {
        let mut stream = stage.connect(of_crowd(addresses + number))?;
        if number < NEVER_READING {
            stream.write_all(&queries)?;
            never_reading.push(stream);
        } else {
            stream.write_all(&[0, 40])?;
            only_lengths.push(stream);
        }
    }
    stage.wait_for_accepted(crowd as u64)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let flood = scope.spawn(|| -> std::io::Result<u64> {
            let socket = UdpSocket::bind((client(251), 0))?;
            socket.connect(stage.address)?;
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                sent += u64::from(socket.send(&framed("ns", A)[2..]).is_ok());
            }
            Ok(sent)
        });
        let others = || -> Result<()> {
            for number in 0..40 {
                stage.asks(client(number))?;
                asks_over_udp(&stage, client(100 + number))?;
                stage.connections()?;
            }
            net::wait_until("who never reads is cut off", PATIENCE, || {
                stage.connections().is_ok_and(|now| now.slow == NEVER_READING as u64)
            })
        };
        let served = others();
        stop.store(true, Ordering::Relaxed);
        let sent = flood.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
        served?;
        ensure!(sent > 1000, "that was no flood: {sent}");
        Ok(())
    })?;
    let connections = stage.connections()?;
    ensure!(connections.refused == 0 && connections.gave_way == 0, "{connections:?}");
    let stay = idle.len() + only_lengths.len();
    ensure!(connections.open >= stay as u64, "{connections:?}, of {stay}");
    ensure!(stage.process.stop()?.success(), "it does not end");
    Ok(Verdict::Passed)
}

/// Asks over UDP until there is an answer: in a flood some datagrams find no room.
fn asks_over_udp(stage: &Stage, client: Ipv4Addr) -> Result<()> {
    let socket = UdpSocket::bind((client, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.connect(stage.address)?;
    let answered = (0..20).any(|_| {
        let sent = socket.send(&framed("ns", A)[2..]);
        sent.is_ok() && socket.recv(&mut [0; 512]).is_ok()
    });
    ensure!(answered, "nobody answers {client} over UDP");
    Ok(())
}

/// Where there are too few descriptors for what is configured, fewer connections are taken, and none fails.
pub fn too_few_descriptors_mean_fewer_connections() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for program in ["prlimit", "setpriv"] {
        if net::find_program(program).is_none() {
            return Ok(Verdict::Skipped(format!("no {program} (Debian package util-linux)")));
        }
    }
    // Without CAP_SYS_RESOURCE root may not raise its hard limit either.
    let mut wrap = vec!["prlimit", "--nofile=220:220"];
    if Uid::effective().is_root() {
        wrap.extend(["setpriv", "--bounding-set", "-sys_resource"]);
    }
    let stage = Stage::new("tcp-idle-timeout = \"1h\"", &wrap)?;
    let said = stage.process.log();
    ensure!(said.contains("RLIMIT_NOFILE") && said.contains("LimitNOFILE="), "{said}");
    let mut idle = Vec::new();
    for number in 0..100 {
        for _ in 0..3 {
            idle.push(stage.connect(client(number))?);
        }
    }
    stage.wait_for_accepted(300)?;
    for number in 100..140 {
        stage.asks(client(number))?;
    }
    ensure!(stage.connections()?.refused == 0, "connections were refused");
    ensure!(stage.connections()?.accept_failed == 0, "descriptors ran out");
    ensure!(stage.process.stop()?.success(), "it does not end");
    // A soft limit alone is raised.
    let stage = Stage::new("tcp-connections = 2000", &["prlimit", "--nofile=256:4096"])?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", stage.process.id()))?;
    let files = limits.lines().find(|line| line.starts_with("Max open files")).context("limits")?;
    let soft: u64 = files.split_whitespace().nth(3).context("a soft limit")?.parse()?;
    ensure!((2000..=4096).contains(&soft), "{files}");
    ensure!(!stage.process.log().contains("RLIMIT_NOFILE"), "{}", stage.process.log());
    Ok(Verdict::Passed)
}

/// Where descriptors run out all the same, the longest idle connection goes, and the next client is answered.
pub fn descriptors_that_run_out_end_idle_connections() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    if net::find_program("prlimit").is_none() {
        return Ok(Verdict::Skipped("no prlimit (Debian package util-linux)".into()));
    }
    let stage = Stage::new("tcp-idle-timeout = \"1h\"", &[])?;
    let mut idle = Vec::new();
    for number in 0..50 {
        idle.push(stage.connect(client(number))?);
    }
    stage.wait_for_accepted(50)?;
    let limit = |number: usize| -> Result<()> {
        let mut command = Command::new("prlimit");
        let pid = stage.process.id().to_string();
        command.args(["--pid", &pid, &format!("--nofile={number}:4096")]);
        ensure!(net::output_within(&mut command, PATIENCE)?.status.success(), "prlimit");
        Ok(())
    };
    let open = fs::read_dir(format!("/proc/{}/fd", stage.process.id()))?.count();
    limit(open)?;
    for number in 100..105 {
        stage.asks(client(number))?;
    }
    limit(4096)?;
    ensure!(stage.connections()?.accept_failed > 0, "descriptors did not run out");
    ensure!(stage.connections()?.gave_way > 0, "no connection gave way");
    stage.asks(client(1))?;
    Ok(Verdict::Passed)
}
