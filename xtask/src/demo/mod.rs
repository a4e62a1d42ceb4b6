//! `cargo xtask demo`: the main job, end to end, on this machine.
//!
//! Two namespaces, a veth pair, and in one of them `sealdns` with a signed zone, attached to its end
//! of the pair in the driver. From the other it is asked with dig; every answer is checked by two
//! validators, unbound and delv, that trust nothing but the zone's DS. Who answered, XDP or the
//! daemon, is not what sealdns says but what the device's driver counts.

mod kept;
mod output;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testbed::{
    inject::{Relay, Route},
    net::{self, End, Namespace, Process},
};

use testbed::shell;

use crate::{build, setup};
use output::{Security, answered, field, security_by_delv, security_of};

/// Arguments of `demo`.
#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Leave namespaces, daemon and resolver running, and say what to try
    #[arg(long)]
    keep: bool,
    /// End what --keep left running
    #[arg(long, conflicts_with_all = ["keep", "binary"])]
    down: bool,
    /// What --keep starts: run the demo, then keep the scene up until told to end
    #[arg(long, hide = true, conflicts_with = "keep")]
    stay: bool,
    /// Use this `sealdns` instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

const ZONE: &str = "example.org";
/// Signed, with a DS in its parent.
const SECURE_CHILD: &str = "secure.example.org";
/// Not signed: what is below it is insecure, and proven to be.
const INSECURE_CHILD: &str = "legacy.example.org";

// Documentation prefixes (RFC 5737, RFC 3849): inside the two namespaces they are real.
const CLIENT: [&str; 2] = ["198.51.100.1/24", "2001:db8:53::1/64"];
const SERVER: [&str; 2] = ["198.51.100.2/24", "2001:db8:53::2/64"];
/// Names of the two ends, each in its own namespace.
const CLIENT_END: &str = "client";
const SERVER_END: &str = "server";
/// The relay's sockets, of either family, in the client's namespace.
const RELAY: [&str; 2] = ["127.0.0.1:5300", "[::1]:5300"];
/// The validating resolver's port, in the client's namespace.
const UNBOUND_PORT: u16 = 5353;

/// How long the server may take until it serves, and unbound too.
const START: Duration = Duration::from_secs(30);
/// How often a scene that stays up looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long one question may take; dig itself gives up sooner.
const QUESTION: Duration = Duration::from_secs(20);

//----------- What is asked --------------------------------------------------------------------------

/// How a query travels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// On a page with room around it, as a network card's driver has it, over IPv4.
    Frame4,
    /// The same over IPv6.
    Frame6,
    /// From dig's socket straight into the veth pair, which leaves little room to grow (42 octets
    /// at the tail and 216 at the head on Linux 6.18): large answers are TCX's.
    Socket,
}

impl Way {
    fn shown(self) -> &'static str {
        match self {
            Way::Frame4 => "frame, IPv4",
            Way::Frame6 => "frame, IPv6",
            Way::Socket => "socket",
        }
    }
}

/// A question and what must hold of its answer.
struct Question {
    name: &'static str,
    qtype: &'static str,
    way: Way,
    /// XDP must answer.
    hot: bool,
    /// Validators must find proof that it is not signed, instead of a signature.
    insecure: bool,
    what: &'static str,
}

const fn hot(name: &'static str, qtype: &'static str, what: &'static str) -> Question {
    Question { name, qtype, way: Way::Frame4, hot: true, insecure: false, what }
}

const fn any(name: &'static str, qtype: &'static str, what: &'static str) -> Question {
    Question { name, qtype, way: Way::Frame4, hot: false, insecure: false, what }
}

const fn by(way: Way, question: Question) -> Question {
    Question { way, ..question }
}

const fn insecure(question: Question) -> Question {
    Question { insecure: true, ..question }
}

const QUESTIONS: &[Question] = &[
    hot("example.org", "SOA", "apex"),
    hot("example.org", "NS", "apex"),
    hot("example.org", "DNSKEY", "apex"),
    hot("example.org", "MX", "apex"),
    hot("example.org", "TXT", "apex"),
    hot("example.org", "CAA", "apex"),
    hot("example.org", "HTTPS", "apex"),
    hot("www.example.org", "A", "address"),
    hot("wWw.eXample.ORG", "AAAA", "mixed case"),
    by(Way::Frame6, hot("www.example.org", "A", "address")),
    by(Way::Frame6, hot("www.example.org", "AAAA", "address")),
    hot("_443._tcp.www.example.org", "TLSA", "DANE"),
    hot("_sip._udp.example.org", "SRV", "service"),
    hot("sip.example.org", "A", "address"),
    hot("shop.example.org", "A", "CNAME, two steps"),
    hot("www.example.org", "MX", "NODATA"),
    hot("the.woods.example.org", "A", "empty non-terminal"),
    hot("one.apps.example.org", "A", "wildcard"),
    hot("one.apps.example.org", "MX", "wildcard, NODATA"),
    hot("no.such.name.example.org", "A", "NXDOMAIN"),
    by(Way::Frame6, hot("nor.this.example.org", "AAAA", "NXDOMAIN")),
    hot("secure.example.org", "DS", "delegation with DS"),
    hot("legacy.example.org", "DS", "delegation without DS"),
    hot("www.secure.example.org", "A", "signed child zone"),
    insecure(hot("www.legacy.example.org", "A", "unsigned child zone")),
    by(Way::Socket, hot("www.example.org", "A", "little room")),
    by(Way::Socket, any("shop.example.org", "A", "little room, larger")),
];

//----------- What is answered -----------------------------------------------------------------------

/// Who answered: XDP as the driver of the server's device counted, TCX as sealdns did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answerer {
    Xdp,
    Tcx,
    Daemon,
}

/// One line of the table.
struct Row {
    question: &'static Question,
    answerer: Answerer,
    status: String,
    octets: usize,
    unbound: Security,
    delv: Security,
    /// What is wrong; empty if nothing is.
    faults: Vec<Fault>,
}

/// Something wrong, in a few words, and in those of the tool that says so.
struct Fault {
    what: String,
    details: String,
}

/// Of how many faults the tools' words are shown: they are long, and mostly of one cause.
const DETAILED: usize = 3;

/// Runs the task.
pub fn run(arguments: &Arguments) -> Result<()> {
    if !shell::is_root() {
        bail!("the demo makes network namespaces and loads programs: run this as root");
    }
    if arguments.down {
        return kept::take_down();
    }
    if !arguments.stay {
        setup::ensure(setup::Purpose::Demo)?;
        build::run(&build::Arguments { ebpf_only: arguments.binary.is_some() })?;
    }
    let binary = arguments.binary.clone().unwrap_or_else(build::sealdns);
    if arguments.keep {
        return kept::start(&binary);
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    net::sweep();
    let directory = Directory::new()?;
    let stage = shell::step("stage: namespaces, keys, zones, sealdns, unbound", || {
        Stage::set(&directory.path, &binary)
    })?;
    let counted_before = stage.answered_by_own_count("xdp")?;
    let sent_before = stage.transmitted()?;
    let mut rows = Vec::new();
    for question in QUESTIONS {
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted; all is cleaned up");
        }
        rows.push(stage.ask(question)?);
    }
    let sent = stage.transmitted()? - sent_before;
    let counted = stage.answered_by_own_count("xdp")? - counted_before;
    print_table(&rows);
    if !arguments.stay {
        let ended = stage.end()?;
        return conclude(&rows, sent, counted, Some(ended));
    }
    conclude(&rows, sent, counted, None)?;
    stage.print_what_to_try();
    kept::detach()?;
    while !interrupted.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
    stage.end().map(drop)
}

/// Fails unless every answer validates and the hot ones came from XDP.
fn conclude(rows: &[Row], sent: u64, counted: u64, ended: Option<ExitStatus>) -> Result<()> {
    let by = |answerer| rows.iter().filter(|row| row.answerer == answerer).count();
    let insecure = rows.iter().filter(|row| row.unbound == Security::Insecure).count();
    let mut faults = Vec::new();
    for row in rows {
        for fault in &row.faults {
            let Question { name, qtype, .. } = row.question;
            let details = if faults.len() < DETAILED { fault.details.trim() } else { "" };
            let gap = if details.is_empty() { "" } else { "\n" };
            faults.push(format!("{name} {qtype}: {}{gap}{details}", fault.what));
        }
    }
    if sent != counted {
        faults.push(format!("the driver sent {sent} answers of XDP, sealdns counted {counted}"));
    }
    if let Some(ended) = ended.filter(|ended| !ended.success()) {
        faults.push(format!("sealdns did not end well after SIGTERM ({ended})"));
    }
    println!(
        "{} questions: {} answered by XDP, {} by TCX, {} by the daemon; {} secure, {insecure} insecure \
         as it must be.",
        rows.len(),
        by(Answerer::Xdp),
        by(Answerer::Tcx),
        by(Answerer::Daemon),
        rows.iter().filter(|row| row.unbound == Security::Secure).count(),
    );
    println!(
        "Validators' own questions included, XDP sent {sent} answers, and sealdns counted them."
    );
    if !faults.is_empty() {
        bail!("{} faults:\n{}", faults.len(), faults.join("\n"));
    }
    println!("Every answer validates, and the hot ones came from XDP.");
    Ok(())
}

/// What the columns of the table mean that are not DNS.
const LEGEND: &str = "
How a query came to the server:
  frame   A network card's driver gives XDP each packet in a page of memory, with room for an answer around it.
          So does the demo: a relay takes the query from dig's socket and puts it into such a frame.
  socket  dig's socket sends the query straight into the pair of virtual devices (veth). The packet has 42 octets
          of room behind it and 216 before it (Linux 6.18): a larger answer is sent by TCX.
Who answered: XDP, as the device's driver counts; TCX, as sealdns counts; or the sockets of the daemon.
Which answers unbound and delv find secure: those that they validate, from the DS record of example.org alone.
";

fn print_table(rows: &[Row]) {
    println!("{LEGEND}");
    println!(
        "{:28} {:7} {:22} {:12} {:9} {:9} {:9} {:9} {:>5}",
        "question",
        "type",
        "what it is",
        "came as",
        "status",
        "answered",
        "unbound",
        "delv",
        "bytes"
    );
    for row in rows {
        let answerer = match row.answerer {
            Answerer::Xdp => "XDP",
            Answerer::Tcx => "TCX",
            Answerer::Daemon => "daemon",
        };
        println!(
            "{:28} {:7} {:22} {:12} {:9} {:9} {:9} {:9} {:>5}{}",
            row.question.name,
            row.question.qtype,
            row.question.what,
            row.question.way.shown(),
            row.status,
            answerer,
            row.unbound.shown(),
            row.delv.shown(),
            row.octets,
            if row.faults.is_empty() { "" } else { "  <--" },
        );
    }
    println!();
}

//----------- Stage ----------------------------------------------------------------------------------

/// All that runs. Fields are dropped in this order: askers before the server, processes before the
/// namespaces they live in.
struct Stage {
    _unbound: Process,
    _relay: Relay,
    sealdns: Process,
    client: Namespace,
    server: Namespace,
    directory: PathBuf,
    binary: PathBuf,
}

impl Stage {
    fn set(directory: &Path, binary: &Path) -> Result<Self> {
        let client = Namespace::new("demo-client")?;
        let server = Namespace::new("demo-server")?;
        net::veth(
            &End { namespace: &client, interface: CLIENT_END, addresses: &CLIENT },
            &End { namespace: &server, interface: SERVER_END, addresses: &SERVER },
        )?;
        let anchors = write_zones(directory, binary)?;
        let config = write_config(directory)?;
        let mut sealdns =
            server.spawn("sealdns", Command::new(binary).args(["run", "--config"]).arg(&config))?;
        sealdns.wait_for_line(START, |line| line.trim() == "ready")?;

        let server_mac = server.enter(|| net::mac_address(SERVER_END))??;
        let routes = [0, 1].map(|family| -> Result<Route> {
            Ok(Route {
                listen: RELAY[family].parse()?,
                client: net::address_of(CLIENT[family])?,
                server: server_address(family)?,
            })
        });
        let routes = routes.into_iter().collect::<Result<Vec<_>>>()?;
        let lab = build::object_path(build::LAB);
        let relay = Relay::start(&client, &lab, CLIENT_END, server_mac, &routes)?;

        let config = write_unbound_config(directory, &anchors)?;
        let mut unbound = client
            .spawn("unbound", Command::new(program("unbound")?).args(["-d", "-c"]).arg(config))?;
        unbound.wait_for_line(START, |line| line.contains("start of service"))?;
        Ok(Self {
            _unbound: unbound,
            _relay: relay,
            sealdns,
            client,
            server,
            directory: directory.to_owned(),
            binary: binary.to_owned(),
        })
    }

    /// Answers that XDP sent, as the driver counts.
    fn transmitted(&self) -> Result<u64> {
        self.server.enter(|| net::xdp_transmitted(SERVER_END))?
    }

    /// Answers that a hook (`xdp`, `tcx`) sent, as sealdns counts.
    fn answered_by_own_count(&self, hook: &str) -> Result<u64> {
        let output = self.server.output(
            Command::new(&self.binary)
                .args(["xdp", "status", "--json", "--config"])
                .arg(self.directory.join("sealdns.toml")),
            QUESTION,
        )?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "`sealdns xdp status` failed ({}): {said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let status: Value =
            serde_json::from_str(&said).with_context(|| format!("this is no JSON: {said}"))?;
        answered(&status, hook)
    }

    /// Asks one question, of the server and of the validators.
    fn ask(&self, question: &'static Question) -> Result<Row> {
        let at: SocketAddr = match question.way {
            Way::Frame4 => RELAY[0].parse()?,
            Way::Frame6 => RELAY[1].parse()?,
            Way::Socket => server_address(0)?,
        };
        let before = [self.transmitted()?, self.answered_by_own_count("tcx")?];
        let direct = self.dig(at, question, &["+norecurse", "+ignore"])?;
        let answerer = if self.transmitted()? > before[0] {
            Answerer::Xdp
        } else if self.answered_by_own_count("tcx")? > before[1] {
            Answerer::Tcx
        } else {
            Answerer::Daemon
        };

        let resolver = SocketAddr::new([127, 0, 0, 1].into(), UNBOUND_PORT);
        let resolved = self.dig(resolver, question, &[])?;
        let unbound = match security_of(&resolved) {
            // What it refuses, it gives to who does not want it checked (RFC 4035 section 3.2.2).
            Security::Failed => match security_of(&self.dig(resolver, question, &["+cdflag"])?) {
                Security::Failed => Security::Failed,
                _ => Security::Bogus,
            },
            told => told,
        };
        let validated = self.delv(RELAY[0].parse()?, question)?;
        let delv = security_by_delv(&validated);

        let status = field(&direct, "status: ").unwrap_or("none").to_owned();
        let octets = field(&direct, "MSG SIZE  rcvd: ").and_then(|size| size.parse().ok());
        let wanted = if question.insecure { Security::Insecure } else { Security::Secure };
        let mut faults = Vec::new();
        let mut fault = |what: String, details: &str| {
            faults.push(Fault { what, details: details.to_owned() });
        };
        if !matches!(status.as_str(), "NOERROR" | "NXDOMAIN") {
            fault(format!("dig finds status {status}"), &direct);
        }
        if question.hot && answerer != Answerer::Xdp {
            fault("is hot, but XDP did not answer it".into(), "");
        }
        if unbound != wanted {
            fault(format!("unbound finds it {}", unbound.shown()), &resolved);
        }
        if delv != wanted {
            fault(format!("delv finds it {}", delv.shown()), &validated);
        }
        let octets = octets.unwrap_or(0);
        Ok(Row { question, answerer, status, octets, unbound, delv, faults })
    }

    fn dig(&self, at: SocketAddr, question: &Question, more: &[&str]) -> Result<String> {
        let mut command = Command::new(program("dig")?);
        // `+noedns=…` and the like from a user's .digrc would be in the way.
        command.arg("-r").arg(format!("@{}", at.ip())).arg("-p").arg(at.port().to_string());
        command.args(["+dnssec", "+nocookie", "+bufsize=1232", "+time=3", "+tries=1"]).args(more);
        command.args([question.name, question.qtype]);
        let output = self.client.output(&mut command, QUESTION)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn delv(&self, at: SocketAddr, question: &Question) -> Result<String> {
        let mut command = Command::new(program("delv")?);
        command.arg(format!("@{}", at.ip())).arg("-p").arg(at.port().to_string());
        command.arg("-a").arg(self.directory.join("anchors")).arg(format!("+root={ZONE}"));
        command.args([question.name, question.qtype]);
        let output = self.client.output(&mut command, QUESTION)?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(format!("{said}{complained}"))
    }

    /// Says what the scene consists of, and commands that show it.
    fn print_what_to_try(&self) {
        let (client, binary) = (self.client.name(), self.binary.display());
        let directory = self.directory.display();
        let [relay, server] =
            [RELAY[0], SERVER[0]].map(|text| text.split([':', '/']).next().unwrap_or(text));
        let port = RELAY[0].rsplit(':').next().unwrap_or_default();
        println!(
            "\nThe scene stays up: sealdns answers in the namespace {server_name}, a validating resolver (unbound)\n\
             runs in {client}; zones, keys and configuration lie in {directory}.\n\n\
             Ask, as a frame, from a socket, and through the resolver (\"ad\" in its flags: validated):\n\n    \
             ip netns exec {client} dig @{relay} -p {port} www.example.org A +dnssec\n    \
             ip netns exec {client} dig @{server} shop.example.org A +dnssec\n    \
             ip netns exec {client} dig @{relay} -p {UNBOUND_PORT} no.such.name.example.org A +dnssec\n\n\
             Look inside:\n\n    \
             export SEALDNS=\"{binary} --config {directory}/sealdns.toml\"\n    \
             $SEALDNS xdp status\n    \
             $SEALDNS stats\n    \
             $SEALDNS cache explain www.example.org A\n    \
             $SEALDNS cache verify\n    \
             $SEALDNS health\n\n\
             Change something: edit {directory}/example.org.zone, raise its serial, and\n\n    \
             $SEALDNS zone reload example.org\n\n\
             Take it down:\n\n    \
             cargo xtask demo --down",
            server_name = self.server.name(),
        );
    }

    /// Asks sealdns to end, and says how it did.
    fn end(self) -> Result<ExitStatus> {
        self.sealdns.stop()
    }
}

fn server_address(family: usize) -> Result<SocketAddr> {
    Ok(SocketAddr::new(net::address_of(SERVER[family])?, 53))
}

fn program(name: &str) -> Result<PathBuf> {
    net::find_program(name).with_context(|| format!("{name} is not installed: `cargo xtask setup`"))
}

/// Makes keys, and zones that fit them. Returns the DS records that validators start from, as
/// presentation format, one a line.
fn write_zones(directory: &Path, binary: &Path) -> Result<String> {
    let keys = directory.join("state/keys");
    fs::create_dir_all(&keys)?;
    for zone in [ZONE, SECURE_CHILD] {
        for role in ["ksk", "zsk"] {
            let mut command = Command::new(binary);
            command.args(["key", "generate", zone, "--role", role, "--keys"]).arg(&keys);
            shell::output_of(&mut command)?;
        }
    }
    let ds = |zone| {
        shell::output_of(Command::new(binary).args(["key", "ds", zone, "--keys"]).arg(&keys))
    };
    let zones = shell::root().join("tests/zones");
    let parent = fs::read_to_string(zones.join("demo.zone"))?;
    let child_ds = ds(SECURE_CHILD)?;
    fs::write(
        directory.join("example.org.zone"),
        format!("{parent}\n; What `sealdns key ds {SECURE_CHILD}` says.\n{child_ds}\n"),
    )?;
    fs::copy(zones.join("secure.zone"), directory.join("secure.example.org.zone"))?;
    fs::copy(zones.join("legacy.zone"), directory.join("legacy.example.org.zone"))?;
    let anchors = ds(ZONE)?;
    fs::write(directory.join("anchors"), delv_anchors(&anchors)?)?;
    Ok(anchors)
}

fn write_config(directory: &Path) -> Result<PathBuf> {
    let state = directory.join("state");
    let listen = [server_address(0)?, server_address(1)?];
    let mut text = format!(
        "version = \"v1\"\n\
         [server]\n\
         listen = [\"{}\", \"{}\"]\n\
         control = \"{}\"\n\
         state-dir = \"{}\"\n\
         user = \"\"\n\
         [xdp]\n\
         interfaces = [\"{SERVER_END}\"]\n\
         mode = \"native\"\n\
         memory = \"64MiB\"\n",
        listen[0],
        listen[1],
        directory.join("control.sock").display(),
        state.display(),
    );
    for (zone, dnssec) in [(ZONE, "sign"), (SECURE_CHILD, "sign"), (INSECURE_CHILD, "off")] {
        text.push_str(&format!(
            "[[zone]]\nname = \"{zone}\"\nfile = \"{}\"\ndnssec = \"{dnssec}\"\n",
            directory.join(format!("{zone}.zone")).display()
        ));
    }
    let path = directory.join("sealdns.toml");
    fs::write(&path, text)?;
    Ok(path)
}

fn write_unbound_config(directory: &Path, anchors: &str) -> Result<PathBuf> {
    let relay: SocketAddr = RELAY[0].parse()?;
    let mut text = format!(
        "server:\n\
         \x20 directory: \"{0}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n\
         \x20 use-syslog: no\n  verbosity: 1\n  num-threads: 1\n\
         \x20 interface: 127.0.0.1@{UNBOUND_PORT}\n  access-control: 127.0.0.0/8 allow\n\
         \x20 module-config: \"validator iterator\"\n  val-log-level: 2\n\
         \x20 do-not-query-localhost: no\n  do-ip6: no\n  edns-buffer-size: 1232\n\
         \x20 trust-anchor-signaling: no\n  target-fetch-policy: \"0 0 0 0 0\"\n",
        directory.display(),
    );
    for ds in anchors.lines().filter(|line| !line.trim().is_empty()) {
        text.push_str(&format!("  trust-anchor: \"{}\"\n", ds.trim()));
    }
    text.push_str("remote-control:\n  control-enable: no\n");
    // Each zone by its server's address: the addresses that the zones themselves give are examples.
    for zone in [ZONE, SECURE_CHILD, INSECURE_CHILD] {
        text.push_str(&format!(
            "stub-zone:\n  name: \"{zone}\"\n  stub-addr: {}@{}\n  stub-tcp-upstream: no\n",
            relay.ip(),
            relay.port()
        ));
    }
    let path = directory.join("unbound.conf");
    fs::write(&path, text)?;
    Ok(path)
}

/// DS records as BIND's tools take trust anchors.
fn delv_anchors(records: &str) -> Result<String> {
    let mut text = String::from("trust-anchors {\n");
    for line in records.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "DS");
        let rdata = at.map_or(&[][..], |at| &words[at + 1..]);
        let [tag, algorithm, digest_type, digest @ ..] = rdata else {
            bail!("this is no DS record: {line:?}");
        };
        ensure!(!digest.is_empty(), "this DS record has no digest: {line:?}");
        text.push_str(&format!(
            "  \"{}\" static-ds {tag} {algorithm} {digest_type} \"{}\";\n",
            words[0],
            digest.concat()
        ));
    }
    text.push_str("};\n");
    Ok(text)
}

//----------- Directory ------------------------------------------------------------------------------

/// A directory of this run, removed at its end.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sealdns-demo-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_keep_a_digest_in_several_words() {
        let text = delv_anchors("example.org. 3600 IN DS 60485 13 2 D4B7 D520\n").expect("a DS");
        assert!(text.contains("\"example.org.\" static-ds 60485 13 2 \"D4B7D520\";"));
        assert!(delv_anchors("example.org. IN A 192.0.2.1").is_err());
    }
}
