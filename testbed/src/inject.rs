//! Queries as a network driver receives them: frames on pages of their own, with room around them.
//!
//! A packet that a socket sends into a veth pair reaches the other end with almost no room to grow
//! (Linux 6.18: 42 octets at the tail, 216 at the head), while drivers of network cards give a page.
//! `BPF_PROG_TEST_RUN` with live frames puts a frame on such a page and sends it, so that what is
//! tested over veth is what happens on a card. [`Relay`] puts that behind a socket, for dig and for
//! resolvers.

use std::{
    io::{self, Read, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, xdp::XdpMode},
};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};

use crate::{
    frames::Frame,
    net::{self, Namespace},
};

/// How long a client waits for an answer before it gives the query up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a thread that waits for queries looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// The largest DNS message over UDP that is relayed.
const LARGEST: usize = 4096;

//----------- Injector -------------------------------------------------------------------------------

/// Sends frames out of one interface, as a driver would.
pub struct Injector {
    /// Holds the programs; the interface keeps its program for as long.
    ebpf: Ebpf,
    index: u32,
    /// Octets that a live frame can have; 0: not asked yet.
    page: usize,
}

impl Injector {
    /// Loads the programs of `lab` (the object file), and attaches the one that passes all to
    /// `interface` of the current namespace: without a program there, a veth end does not deliver
    /// what its peer sends by XDP_TX.
    pub fn new(lab: &Path, interface: &str) -> Result<Self> {
        let mut injector = Self::sharing_program(lab, interface)?;
        let pass = xdp(&mut injector.ebpf, "pass")?;
        pass.load()?;
        pass.attach(interface, XdpMode::Driver)
            .with_context(|| format!("{interface} does not take an XDP program in its driver"))?;
        Ok(injector)
    }

    /// The same where another injector has attached a program.
    pub fn sharing_program(lab: &Path, interface: &str) -> Result<Self> {
        let object = std::fs::read(lab).with_context(|| {
            format!("{} cannot be read; `cargo xtask build` makes it", lab.display())
        })?;
        let mut ebpf = EbpfLoader::new().load(&object).context("lab programs do not load")?;
        xdp(&mut ebpf, "transmit")?.load()?;
        xdp(&mut ebpf, "strip_and_transmit")?.load()?;
        let index = nix::net::if_::if_nametoindex(interface)?;
        Ok(Self { ebpf, index, page: 0 })
    }

    /// Sends one frame. The current namespace must be the interface's.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.run("transmit", frame)
            .context("the kernel does not send live frames (Linux 5.18 and later do)")
    }

    /// Sends one frame that has `tail` octets of room behind it, and most of a page before.
    pub fn send_with_room(&mut self, frame: &[u8], tail: usize) -> Result<()> {
        if self.page == 0 {
            self.page = self.whole_page()?;
        }
        let before = self.page - tail - frame.len();
        let mut page = vec![0; before];
        page[..2].copy_from_slice(&u16::try_from(before)?.to_le_bytes());
        page.extend(frame);
        self.run("strip_and_transmit", &page)
    }

    /// The longest live frame that the kernel takes. The program strips more than there is, and sends none.
    fn whole_page(&mut self) -> Result<usize> {
        let (mut taken, mut refused) = (1024, 1 << 14);
        while refused - taken > 1 {
            let len = usize::midpoint(taken, refused);
            let fits = self.run("strip_and_transmit", &vec![0xff; len]).is_ok();
            *(if fits { &mut taken } else { &mut refused }) = len;
        }
        ensure!(taken > 2048, "a live frame has {taken} octets at most");
        Ok(taken)
    }

    fn run(&mut self, program: &str, frame: &[u8]) -> Result<()> {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex. The first three are offsets here.
        let mut context = [0u8; 24];
        context[4..8].copy_from_slice(&u32::try_from(frame.len())?.to_ne_bytes());
        context[12..16].copy_from_slice(&self.index.to_ne_bytes());
        xdp(&mut self.ebpf, program)?.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::new()
        })?;
        Ok(())
    }
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("no program {name:?}"))?;
    Ok(program.try_into()?)
}

//----------- Relay ----------------------------------------------------------------------------------

/// Where a relay takes queries, and to which server it sends them.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Where askers ask, UDP and TCP; an address of the client's namespace.
    pub listen: SocketAddr,
    /// The client's address on the wire.
    pub client: IpAddr,
    /// The server, of the same address family.
    pub server: SocketAddr,
}

/// Takes queries at sockets, sends each as a frame with room, and gives back what comes. What
/// arrives over TCP goes over TCP.
pub struct Relay {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Relay {
    /// Starts a relay inside a namespace. `interface` is the client's end of the veth pair,
    /// `server_mac` the link-layer address of the other.
    pub fn start(
        namespace: &Namespace,
        lab: &Path,
        interface: &str,
        server_mac: [u8; 6],
        routes: &[Route],
    ) -> Result<Self> {
        let mut relay = Self { over: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        namespace.enter(|| -> Result<()> {
            let injector = Arc::new(Mutex::new(Injector::new(lab, interface)?));
            let source_mac = net::mac_address(interface)?;
            for route in routes {
                relay.add(&injector, source_mac, server_mac, route)?;
            }
            Ok(())
        })??;
        Ok(relay)
    }

    /// Adds a route, inside the namespace: threads inherit it from the thread that starts them.
    fn add(
        &mut self,
        injector: &Arc<Mutex<Injector>>,
        source_mac: [u8; 6],
        destination_mac: [u8; 6],
        route: &Route,
    ) -> Result<()> {
        let asked = UdpSocket::bind(route.listen)?;
        asked.set_read_timeout(Some(LOOK))?;
        let answers = UdpSocket::bind(SocketAddr::new(route.client, 0))?;
        let template = Frame {
            source_mac,
            destination_mac,
            tags: Vec::new(),
            source: answers.local_addr()?,
            destination: route.server,
            ttl: 64,
            payload: Vec::new(),
        };
        let (over, injector) = (Arc::clone(&self.over), Arc::clone(injector));
        self.threads.push(thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if let Err(error) = relay_one(&asked, &answers, &injector, &template) {
                    eprintln!("relay: {error:#}");
                }
            }
        }));
        let listener = TcpListener::bind(route.listen)?;
        setsockopt(&listener, ReceiveTimeout, &TimeVal::milliseconds(LOOK.as_millis() as i64))?;
        let (over, server) = (Arc::clone(&self.over), route.server);
        self.threads.push(thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // Nobody came meanwhile, or who came is gone.
                let Ok((client, _)) = listener.accept() else { continue };
                thread::spawn(move || splice(client, server));
            }
        }));
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Waits shortly for a query, and sees it through.
fn relay_one(
    asked: &UdpSocket,
    answers: &UdpSocket,
    injector: &Mutex<Injector>,
    template: &Frame,
) -> Result<()> {
    let mut buffer = [0; LARGEST];
    let (length, asker) = match asked.recv_from(&mut buffer) {
        Ok(received) => received,
        Err(error) if is_timeout(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let answer = exchange(answers, injector, template, &buffer[..length])?;
    asked.send_to(&answer, asker)?;
    Ok(())
}

/// Sends one query as a frame and waits for its answer at the socket that the frame claims to be
/// from.
pub fn exchange(
    answers: &UdpSocket,
    injector: &Mutex<Injector>,
    template: &Frame,
    query: &[u8],
) -> Result<Vec<u8>> {
    exchange_by(answers, injector, template, query, Injector::send)
}

/// The same, sent by `send`.
pub fn exchange_by(
    answers: &UdpSocket,
    injector: &Mutex<Injector>,
    template: &Frame,
    query: &[u8],
    send: impl FnOnce(&mut Injector, &[u8]) -> Result<()>,
) -> Result<Vec<u8>> {
    let frame = Frame { payload: query.to_vec(), ..template.clone() };
    let mut sender = injector.lock().map_err(|_| anyhow!("a sender panicked"))?;
    send(&mut sender, &frame.encode()?)?;
    drop(sender);
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; LARGEST];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no answer within {PATIENCE:?}");
        }
        answers.set_read_timeout(Some(left))?;
        match answers.recv_from(&mut buffer) {
            // A late answer to a query that was given up has another message ID.
            Ok((length, from)) if from == template.destination && buffer[..2] == query[..2] => {
                return Ok(buffer[..length].to_vec());
            }
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Joins a TCP connection with one to the server until either ends.
fn splice(client: TcpStream, server: SocketAddr) {
    let Ok(upstream) = TcpStream::connect_timeout(&server, PATIENCE) else { return };
    let (Ok(mut from), Ok(mut to)) = (client.try_clone(), upstream.try_clone()) else { return };
    // That of the listener it has inherited.
    let _ = client.set_read_timeout(None);
    let forth = thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
    });
    let (mut from, mut to) = (upstream, client);
    let _ = copy(&mut from, &mut to);
    let _ = forth.join();
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => {
                to.shutdown(Shutdown::Write)?;
                return Ok(());
            }
            Ok(length) => to.write_all(&buffer[..length])?,
        }
    }
}
