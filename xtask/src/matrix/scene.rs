//! In a guest: two namespaces that a pair of devices joins, the daemon in one of them, and who asks in the other.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use testbed::{
    frames::Frame,
    inject::Injector,
    net::{self, End, Namespace, Process},
};
use xdp_common::Outcome;

use super::{
    cookies::{Cookies, server_cookie},
    questions::{self, NSEC, NSEC3, Question},
};
use testbed::guest::cards::Card;

/// The device that is served, and the one that is asked from.
const SERVED: &str = "server";
const ASKING: &str = "client";

/// Addresses of both ends, IPv4 and IPv6, from the documentation prefixes (RFC 5737, RFC 3849).
const CLIENTS: [&str; 2] = ["198.51.100.1/24", "2001:db8:53::1/64"];
const SERVERS: [&str; 2] = ["198.51.100.2/24", "2001:db8:53::2/64"];
/// The same in a VLAN on the devices, and its number.
const TAGGED_CLIENTS: [&str; 2] = ["203.0.113.1/24", "2001:db8:54::1/64"];
const TAGGED_SERVERS: [&str; 2] = ["203.0.113.2/24", "2001:db8:54::2/64"];
const VLAN: u16 = 5;

/// The port that programs answer on, and one that only the daemon does.
const PORT: u16 = 53;
const DAEMON_PORT: u16 = 5300;

/// How long something may take that takes a second where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

//----------- Scene ----------------------------------------------------------------------------------

/// Two namespaces and the devices that join them.
pub struct Scene {
    client: Namespace,
    server: Namespace,
    folder: PathBuf,
    binary: PathBuf,
    is_tagged: bool,
}

impl Scene {
    /// Joined by a pair of network cards of this kind, or by a veth pair.
    pub fn new(card: Option<Card>, binary: &Path) -> Result<Scene> {
        let (client, server) = (Namespace::new(ASKING)?, Namespace::new(SERVED)?);
        match card {
            None => net::veth(
                &End { namespace: &client, interface: ASKING, addresses: &CLIENTS },
                &End { namespace: &server, interface: SERVED, addresses: &SERVERS },
            )?,
            Some(card) => {
                let [one, other] = cards(card.driver)?;
                place(&one, &client, ASKING, &CLIENTS)?;
                place(&other, &server, SERVED, &SERVERS)?;
            }
        }
        let folder = PathBuf::from("/tmp/round");
        fs::create_dir_all(&folder)?;
        for apex in [NSEC, NSEC3] {
            fs::write(folder.join(format!("{apex}.zone")), questions::zone(apex))?;
        }
        Ok(Scene { client, server, folder, binary: binary.to_owned(), is_tagged: false })
    }

    /// Adds a VLAN at both ends.
    pub fn tag(&mut self) -> Result<()> {
        let ends = [(&self.client, ASKING, TAGGED_CLIENTS), (&self.server, SERVED, TAGGED_SERVERS)];
        for (namespace, device, addresses) in ends {
            let name = format!("{device}.{VLAN}");
            namespace.ip(&format!("link add link {device} name {name} type vlan id {VLAN}"))?;
            raise(namespace, &name, &addresses)?;
        }
        self.is_tagged = true;
        Ok(())
    }

    /// Removes what [`Scene::tag`] added.
    pub fn untag(&mut self) -> Result<()> {
        for (namespace, device) in [(&self.client, ASKING), (&self.server, SERVED)] {
            namespace.ip(&format!("link delete {device}.{VLAN}"))?;
        }
        self.is_tagged = false;
        Ok(())
    }

    /// Switches a private flag of the served device; `false` if its driver has none of this name.
    pub fn set_flag(&self, flag: &str, on: bool) -> Result<bool> {
        let ethtool = |arguments: &[&str]| {
            self.server.output(Command::new("ethtool").args(arguments), PATIENCE)
        };
        let shown = ethtool(&["--show-priv-flags", SERVED])?;
        if !String::from_utf8_lossy(&shown.stdout).lines().any(|line| line.starts_with(flag)) {
            return Ok(false);
        }
        let set = ["--set-priv-flags", SERVED, flag, if on { "on" } else { "off" }];
        let set = ethtool(&set)?;
        ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr).trim());
        Ok(true)
    }

    /// The addresses at each end, in pairs.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let tagged = TAGGED_CLIENTS.into_iter().zip(TAGGED_SERVERS).filter({
            let is_tagged = self.is_tagged;
            move |_| is_tagged
        });
        CLIENTS.into_iter().zip(SERVERS).chain(tagged)
    }

    fn configure(&self, mode: &str) -> Result<PathBuf> {
        let mut listen = Vec::new();
        for (_, server) in self.addresses() {
            for port in [PORT, DAEMON_PORT] {
                listen.push(format!("\"{}\"", SocketAddr::new(net::address_of(server)?, port)));
            }
        }
        let folder = self.folder.display();
        let mut text = format!(
            "version = \"v1\"\n[server]\nlisten = [{}]\ncontrol = \"{folder}/control.sock\"\n\
             state-dir = \"{folder}/state\"\nuser = \"\"\n[xdp]\ninterfaces = [\"{SERVED}\"]\n\
             mode = \"{mode}\"\nrequired = true\nmemory = \"16MiB\"\nports = [{PORT}]\n\
             [policy.nsec3]\ndenial = \"nsec3\"\n",
            listen.join(", ")
        );
        for (apex, policy) in [(NSEC, "default"), (NSEC3, "nsec3")] {
            text += &format!(
                "[[zone]]\nname = \"{apex}\"\nfile = \"{folder}/{apex}.zone\"\npolicy = \"{policy}\"\n"
            );
        }
        let path = self.folder.join("sealdns.toml");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Runs the daemon; an error quotes what it said if it does not serve.
    pub fn serve(&self, mode: &str) -> Result<Daemon<'_>> {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--config"]).arg(self.configure(mode)?);
        let mut process = self.server.spawn("sealdns", &mut command)?;
        process.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
        Ok(Daemon { process, scene: self })
    }

    /// Who asks: by sockets, and by frames with room around them if that is wanted.
    pub fn asker(&self, by_frames: bool) -> Result<Asker<'_>> {
        let server_mac = self.server.enter(|| net::mac_address(SERVED))??;
        let injector = |lab: &Path| self.client.enter(|| Injector::new(lab, ASKING))?;
        let injector = by_frames.then(|| injector(Path::new(super::LAB))).transpose()?;
        let ends = self.client.enter(|| -> Result<Vec<ClientPath>> {
            let source_mac = net::mac_address(ASKING)?;
            let end = |(client, server): (&str, &str)| -> Result<ClientPath> {
                let socket = UdpSocket::bind((net::address_of(client)?, 0))?;
                let server = net::address_of(server)?;
                let frame = Frame {
                    source_mac,
                    destination_mac: server_mac,
                    tags: Vec::new(),
                    source: socket.local_addr()?,
                    destination: SocketAddr::new(server, PORT),
                    ttl: 64,
                    payload: Vec::new(),
                };
                let daemon_address = SocketAddr::new(server, DAEMON_PORT);
                Ok(ClientPath {
                    socket,
                    frame,
                    daemon_address,
                    cookie: vec![],
                    cookies: Cookies::default(),
                })
            };
            self.addresses().map(end).collect()
        })??;
        Ok(Asker { client: &self.client, ends, injector, id: 0 })
    }
}

/// The two network cards with this driver.
fn cards(driver: &str) -> Result<[String; 2]> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        let link = fs::read_link(entry.path().join("device/driver")).unwrap_or_default();
        if link.file_name().is_some_and(|name| name == driver) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.try_into().map_err(|names| anyhow!("two cards of {driver} are wanted: {names:?}"))
}

/// Moves a device into a namespace, where it has this name and these addresses.
fn place(device: &str, namespace: &Namespace, name: &str, addresses: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["link", "set", device, "name", name, "netns", namespace.name()]);
    let output = net::output_within(&mut command, PATIENCE)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    raise(namespace, name, addresses)
}

fn raise(namespace: &Namespace, device: &str, addresses: &[&str]) -> Result<()> {
    for address in addresses {
        // An IPv6 address is of no use while its uniqueness is being asked for.
        let nodad = if address.contains(':') { "nodad" } else { "" };
        namespace.ip(&format!("address add {address} dev {device} {nodad}"))?;
    }
    namespace.ip(&format!("link set {device} up"))
}

//----------- Daemon ---------------------------------------------------------------------------------

/// The daemon, as it serves.
pub struct Daemon<'a> {
    process: Process,
    scene: &'a Scene,
}

/// What the daemon's control socket speaks (`sealdns::control::protocol::PROTOCOL`); another is refused.
const PROTOCOL: u32 = 9;

/// What was counted by those who could have answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Answers of XDP, as the daemon reads the programs' counters.
    pub xdp: u64,
    /// Those of TCX.
    pub tcx: u64,
    /// Datagrams that the kernel gave to sockets of the namespace, which are the daemon's.
    pub sockets: u64,
}

impl Daemon<'_> {
    /// What was counted so far.
    pub fn counts(&self) -> Result<Counts> {
        let status = self.ask("xdp-status")?;
        let counters = status["counters"].as_object().context("the status has no counters")?;
        // A hook that is not used has none.
        let sum = |hook: &str| -> Result<u64> {
            let counters = match counters.get(hook).context("the status has no such hook")? {
                Value::Null => return Ok(0),
                counters => counters,
            };
            let answers = Outcome::ALL.iter().filter(|outcome| outcome.is_answered());
            let counts = answers.map(|outcome| {
                let count = counters[outcome.word()].as_u64();
                count.with_context(|| format!("the status does not count {}", outcome.word()))
            });
            counts.sum()
        };
        Ok(Counts { xdp: sum("xdp")?, tcx: sum("tcx")?, sockets: self.datagrams()? })
    }

    /// What was counted once that is so many more than before, or after a while. While the daemon is busy with its programs
    /// it tells what they had counted before.
    pub fn counts_after(&self, before: Counts, more: u64) -> Result<Counts> {
        let deadline = Instant::now() + ANSWER;
        let sum = |counts: Counts| counts.xdp + counts.tcx + counts.sockets;
        loop {
            let now = self.counts()?;
            if sum(now) >= sum(before) + more || Instant::now() > deadline {
                return Ok(now);
            }
        }
    }

    /// Answers that the driver of a veth says were sent back by XDP.
    pub fn sent_by_veth(&self) -> Result<u64> {
        self.scene.server.enter(|| net::xdp_transmitted(SERVED))?
    }

    /// Asks the daemon by its control socket: a program for each question would take longer than the questions.
    fn ask(&self, command: &str) -> Result<Value> {
        let mut stream = UnixStream::connect(self.scene.folder.join("control.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = json!({
            "protocol": PROTOCOL, "version": "matrix", "request": { "command": command }
        });
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let mut response: Value = serde_json::from_str(&line)?;
        ensure!(response["reply"][command].is_object(), "the daemon says {line}");
        Ok(response["reply"][command].take())
    }

    fn datagrams(&self) -> Result<u64> {
        let folder = Path::new("/proc").join(self.process.id().to_string()).join("net");
        let (old, new) = (folder.join("snmp"), folder.join("snmp6"));
        datagrams(&fs::read_to_string(old)?, &fs::read_to_string(new)?)
    }

    /// What `sealdns health` says if it is not content.
    pub fn complaint(&self) -> Result<Option<String>> {
        let mut command = Command::new(&self.scene.binary);
        command.args(["health", "--config"]).arg(self.scene.folder.join("sealdns.toml"));
        let output = self.scene.server.output(&mut command, PATIENCE)?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((!output.status.success()).then_some(said))
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "sealdns did not end well after SIGTERM ({status})");
        Ok(())
    }
}

/// UDP datagrams that sockets were given, from the kernel's tables of IPv4 and IPv6 (RFC 4113).
fn datagrams(snmp: &str, snmp6: &str) -> Result<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next(), lines.next());
    let (names, values) = names.zip(values).context("no table of UDP")?;
    let place = names.split_whitespace().position(|name| name == "InDatagrams");
    let old = place.and_then(|place| values.split_whitespace().nth(place));
    let new = snmp6.lines().find_map(|line| line.strip_prefix("Udp6InDatagrams"));
    let (old, new) = old.zip(new).context("no count of datagrams")?;
    Ok(old.parse::<u64>()? + new.trim().parse::<u64>()?)
}

//----------- Asker ----------------------------------------------------------------------------------

/// Asks from the client's namespace.
pub struct Asker<'a> {
    client: &'a Namespace,
    ends: Vec<ClientPath>,
    injector: Option<Injector>,
    id: u16,
}

/// From one address to another.
struct ClientPath {
    socket: UdpSocket,
    /// A query as a frame.
    frame: Frame,
    /// Where the daemon answers alone.
    daemon_address: SocketAddr,
    /// The server's cookie for this client.
    cookie: Vec<u8>,
    /// Those that the daemon gave.
    cookies: Cookies,
}

impl Asker<'_> {
    /// How many pairs of addresses there are.
    pub fn ends(&self) -> usize {
        self.ends.len()
    }

    /// Waits until the daemon answers at every address: devices come up again after programs were attached, and neighbours
    /// are found. Keeps the cookie that each client is given.
    pub fn wait_for_daemon(&mut self) -> Result<()> {
        let first = questions::first();
        for place in 0..self.ends.len() {
            let deadline = Instant::now() + PATIENCE;
            let answer = loop {
                match self.ask_daemon(place, &first, Duration::from_secs(1))? {
                    Some(answer) => break answer,
                    None if Instant::now() > deadline => bail!("the daemon does not answer"),
                    None => {}
                }
            };
            let cookie = server_cookie(&answer).context("the daemon gives no cookie")?;
            self.ends[place].cookie = cookie.to_vec();
        }
        Ok(())
    }

    /// The daemon's own answer.
    pub fn daemon_answer(&mut self, place: usize, question: &Question) -> Result<Vec<u8>> {
        let answer = self.ask_daemon(place, question, ANSWER)?;
        let answer = answer.context("the daemon did not answer")?;
        self.ends[place].cookies.learn(&answer);
        Ok(answer)
    }

    /// The cookies that the daemon gave to a client.
    pub fn cookies(&mut self, place: usize) -> &mut Cookies {
        &mut self.ends[place].cookies
    }

    fn ask_daemon(
        &mut self,
        place: usize,
        question: &Question,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>> {
        let path = &self.ends[place];
        self.id = self.id.wrapping_add(1);
        path.socket.send_to(&question.message(self.id, &path.cookie), path.daemon_address)?;
        path.receive(path.daemon_address, self.id, patience)
    }

    /// The answer to a query that programs see, but for its identifier; `None` if there is none.
    pub fn ask(&mut self, place: usize, question: &Question) -> Result<Option<Vec<u8>>> {
        let path = &self.ends[place];
        self.id = self.id.wrapping_add(1);
        let payload = question.message(self.id, &path.cookie);
        match &mut self.injector {
            Some(injector) => {
                let frame = Frame { payload, ..path.frame.clone() }.encode()?;
                self.client.enter(|| injector.send(&frame))??;
            }
            None => drop(path.socket.send_to(&payload, path.frame.destination)?),
        }
        path.receive(path.frame.destination, self.id, ANSWER)
    }
}

impl ClientPath {
    /// Waits for the answer with this identifier from there, and returns it without the identifier. What is late is
    /// passed over.
    fn receive(&self, from: SocketAddr, id: u16, patience: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.recv_from(&mut buffer) {
                Ok((len, source)) if source == from && buffer[..2] == id.to_be_bytes() => {
                    return Ok(Some(buffer[2..len].to_vec()));
                }
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_both_families_are_counted() {
        let snmp = "Ip: Forwarding DefaultTTL\nIp: 1 64\n\
                    Udp: InDatagrams NoPorts InErrors\nUdp: 40 1 2\nUdpLite: InDatagrams\nUdpLite: 9\n";
        let snmp6 = "Ip6InReceives 7\nUdp6InDatagrams                 \t2\nUdp6NoPorts 5\n";
        assert_eq!(datagrams(snmp, snmp6).ok(), Some(42));
        assert!(datagrams("Ip: 1\n", snmp6).is_err());
    }
}
