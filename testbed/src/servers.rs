//! Name servers of others as processes, on ports of their own of the loopback address, and who asks them.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    frames::DNS_LEN,
    net::{Process, find_program},
};

/// How long a server has to start.
pub const START: Duration = Duration::from_secs(60);

/// How long a server has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Queries that are under way to a server at a time.
const WINDOW: usize = 48;

/// A server that runs; it ends when this is dropped.
pub struct Server {
    /// Where it listens, over UDP and TCP.
    pub address: SocketAddr,
    /// The process.
    pub process: Process,
}

/// A zone that a server is to serve.
pub struct ZoneFile {
    /// Its apex, with the dot at its end.
    pub apex: String,
    /// Its master file.
    pub path: PathBuf,
}

/// A key that two servers share (TSIG, hmac-sha256).
#[derive(Clone, Copy)]
pub struct SharedKey<'a> {
    /// Its name, with the dot at its end.
    pub name: &'a str,
    /// The secret in base64.
    pub secret: &'a str,
}

/// A zone that a server is to take from another.
#[derive(Clone, Copy)]
pub struct Secondary<'a> {
    /// Its apex.
    pub apex: &'a str,
    /// The server that has it.
    pub primary: SocketAddr,
    /// What transfers and NOTIFY messages are signed with.
    pub key: SharedKey<'a>,
}

/// A zone that a resolver is to find secure.
pub struct Anchor {
    /// Its apex, with the dot at its end.
    pub apex: String,
    /// Its keys, a DNSKEY record each as master files have it.
    pub keys: Vec<String>,
}

/// An address of this host that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    // Free a moment ago; nobody else is given it so soon.
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A server's program, and what it writes to its log.
struct Program {
    name: &'static str,
    /// Before the path of its configuration.
    arguments: &'static [&'static str],
    /// Whether a line says that the zone with this apex is loaded.
    has_loaded: fn(&str, &str) -> bool,
    /// Whether a line says that it serves.
    has_started: fn(&str) -> bool,
}

impl Program {
    /// Runs it over a configuration, which is written to `directory`; returns once it serves the zones.
    fn run(
        &self,
        directory: &Path,
        config: &str,
        address: SocketAddr,
        zones: &[ZoneFile],
    ) -> Result<Server> {
        let name = self.name;
        let binary =
            find_program(name).with_context(|| format!("no {name}: `cargo xtask setup`"))?;
        let path = directory.join(format!("{name}.conf"));
        fs::write(&path, config)?;
        let mut process =
            Process::spawn(name, Command::new(binary).args(self.arguments).arg(&path))?;
        for zone in zones {
            process.wait_for_line(START, |line| (self.has_loaded)(line, &zone.apex))?;
        }
        process.wait_for_line(START, self.has_started)?;
        Ok(Server { address, process })
    }
}

const KNOTD: Program = Program {
    name: "knotd",
    arguments: &["-c"],
    has_loaded: |line, apex| line.contains(&format!("[{apex}]")) && line.contains("loaded, serial"),
    has_started: |line| line.contains("server started"),
};

const NSD: Program = Program {
    name: "nsd",
    arguments: &["-d", "-c"],
    has_loaded: |line, apex| line.contains(&format!("zone {apex} read with success")),
    has_started: |line| line.contains("nsd started"),
};

const NAMED: Program = Program {
    name: "named",
    arguments: &["-g", "-n", "1", "-c"],
    has_loaded: |line, apex| {
        line.contains(&format!("zone {}/IN: loaded serial", apex.trim_end_matches('.')))
    },
    has_started: |line| line.trim_end().ends_with(" running"),
};

const UNBOUND: Program = Program {
    name: "unbound",
    arguments: &["-d", "-c"],
    has_loaded: |_, _| true,
    has_started: |line| line.contains("start of service"),
};

impl Server {
    /// Runs knotd over zones; its files lie in `directory`.
    pub fn knotd(directory: &Path, zones: &[ZoneFile]) -> Result<Self> {
        let (address, here) = (free_address()?, directory.display());
        let mut config = format!(
            "server:\n  listen: {}@{}\n  rundir: {here}\n  pidfile: {here}/knotd.pid\n  \
             udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: {here}/knotd\n\
             log:\n  - target: stderr\n    any: info\nzone:\n",
            address.ip(),
            address.port()
        );
        for ZoneFile { apex, path } in zones {
            write!(
                config,
                "  - domain: {apex}\n    file: {}\n    zonefile-sync: -1\n    journal-content: none\n",
                path.display()
            )?;
        }
        KNOTD.run(directory, &config, address, zones)
    }

    /// Runs nsd over zones; its files lie in `directory`.
    pub fn nsd(directory: &Path, zones: &[ZoneFile]) -> Result<Self> {
        let (address, here) = (free_address()?, directory.display());
        // Debian's has a rate limit, which a test would run into.
        let mut config = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{here}\"\n  \
             database: \"\"\n  pidfile: \"{here}/nsd.pid\"\n  xfrdfile: \"{here}/nsd.xfrd\"\n  \
             zonelistfile: \"{here}/nsd.list\"\n  xfrdir: \"{here}\"\n  server-count: 1\n  \
             verbosity: 2\n  ipv4-edns-size: 1232\n  minimal-responses: yes\n  rrl-ratelimit: 0\n  \
             rrl-whitelist-ratelimit: 0\nremote-control:\n  control-enable: no\n",
            address.ip(),
            address.port()
        );
        for ZoneFile { apex, path } in zones {
            write!(config, "zone:\n  name: {apex}\n  zonefile: {}\n", path.display())?;
        }
        NSD.run(directory, &config, address, zones)
    }

    /// Runs named over zones; its files lie in `directory`.
    pub fn named(directory: &Path, zones: &[ZoneFile]) -> Result<Self> {
        let (address, here) = (free_address()?, directory.display());
        // It shall take every zone that we take, and say no more than it is asked for.
        let mut config = format!(
            "options {{\n  directory \"{here}\";\n  pid-file none;\n  session-keyfile none;\n  \
             listen-on port {} {{ {}; }};\n  listen-on-v6 {{ none; }};\n  recursion no;\n  notify no;\n  \
             empty-zones-enable no;\n  minimal-responses yes;\n  max-udp-size 1232;\n  edns-udp-size 1232;\n  \
             answer-cookie no;\n  tcp-clients 200;\n  max-records-per-type 0;\n  max-types-per-name 0;\n  \
             check-names primary ignore;\n  check-integrity no;\n  check-mx ignore;\n  check-mx-cname ignore;\n  \
             check-srv-cname ignore;\n  check-sibling no;\n  check-wildcard no;\n  check-dup-records ignore;\n}};\n\
             controls {{ }};\n",
            address.port(),
            address.ip(),
        );
        for ZoneFile { apex, path } in zones {
            let file = path.display();
            writeln!(config, "zone \"{apex}\" {{ type primary; file \"{file}\"; }};")?;
        }
        NAMED.run(directory, &config, address, zones)
    }

    /// Runs knotd at `address`, which takes zones from another server; loopback addresses may transfer them.
    pub fn knotd_secondary(
        directory: &Path,
        address: SocketAddr,
        zones: &[Secondary<'_>],
    ) -> Result<Self> {
        let here = directory.display();
        let mut config = format!(
            "server:\n  listen: {}@{}\n  rundir: {here}\n  pidfile: {here}/knotd.pid\n  \
             udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: {here}/knotd\n\
             log:\n  - target: stderr\n    any: info\n",
            address.ip(),
            address.port()
        );
        let (mut remotes, mut sections) = (String::new(), String::new());
        for (place, Secondary { apex, primary, key }) in zones.iter().enumerate() {
            if place == 0 {
                let SharedKey { name, secret } = key;
                write!(
                    config,
                    "key:\n  - id: {name}\n    algorithm: hmac-sha256\n    secret: {secret}\n\
                     acl:\n  - id: told\n    address: 127.0.0.1\n    key: {name}\n    action: notify\n  \
                     - id: given\n    address: 127.0.0.1\n    action: transfer\n"
                )?;
            }
            let (ip, port, name) = (primary.ip(), primary.port(), key.name);
            write!(remotes, "  - id: primary{place}\n    address: {ip}@{port}\n    key: {name}\n")?;
            write!(
                sections,
                "  - domain: {apex}\n    file: {here}/{apex}.zone\n    master: primary{place}\n    \
                 acl: [told, given]\n"
            )?;
        }
        write!(config, "remote:\n{remotes}zone:\n{sections}")?;
        // Where its journal goes, which it does not make.
        fs::create_dir_all(directory.join("knotd"))?;
        KNOTD.run(directory, &config, address, &[])
    }

    /// Runs nsd at `address`, which takes zones from another server; loopback addresses may transfer them.
    pub fn nsd_secondary(
        directory: &Path,
        address: SocketAddr,
        zones: &[Secondary<'_>],
    ) -> Result<Self> {
        let here = directory.display();
        let mut config = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{here}\"\n  \
             database: \"\"\n  pidfile: \"{here}/nsd.pid\"\n  xfrdfile: \"{here}/nsd.xfrd\"\n  \
             zonelistfile: \"{here}/nsd.list\"\n  xfrdir: \"{here}\"\n  server-count: 1\n  \
             xfrd-reload-timeout: 0\n  verbosity: 2\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n\
             remote-control:\n  control-enable: no\n",
            address.ip(),
            address.port()
        );
        for (place, Secondary { apex, primary, key }) in zones.iter().enumerate() {
            let SharedKey { name, secret } = key;
            if place == 0 {
                write!(
                    config,
                    "key:\n  name: \"{name}\"\n  algorithm: hmac-sha256\n  secret: \"{secret}\"\n"
                )?;
            }
            let (ip, port) = (primary.ip(), primary.port());
            write!(
                config,
                "zone:\n  name: {apex}\n  zonefile: \"{apex}.zone\"\n  request-xfr: {ip}@{port} {name}\n  \
                 allow-notify: 127.0.0.1 {name}\n  provide-xfr: 127.0.0.1 NOKEY\n"
            )?;
        }
        NSD.run(directory, &config, address, &[])
    }

    /// Runs named at `address`, which takes zones from another server; loopback addresses may transfer them.
    pub fn named_secondary(
        directory: &Path,
        address: SocketAddr,
        zones: &[Secondary<'_>],
    ) -> Result<Self> {
        let here = directory.display();
        let mut config = format!(
            "options {{\n  directory \"{here}\";\n  pid-file none;\n  session-keyfile none;\n  \
             listen-on port {} {{ {}; }};\n  listen-on-v6 {{ none; }};\n  recursion no;\n  notify no;\n  \
             empty-zones-enable no;\n  allow-transfer {{ 127.0.0.1; }};\n  min-refresh-time 1;\n}};\n\
             controls {{ }};\n",
            address.port(),
            address.ip(),
        );
        for (place, Secondary { apex, primary, key }) in zones.iter().enumerate() {
            let SharedKey { name, secret } = key;
            if place == 0 {
                writeln!(
                    config,
                    "key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};"
                )?;
            }
            let (ip, port) = (primary.ip(), primary.port());
            writeln!(
                config,
                "zone \"{apex}\" {{ type secondary; primaries {{ {ip} port {port} key \"{name}\"; }}; \
                 allow-notify {{ key \"{name}\"; }}; file \"{apex}.zone\"; }};"
            )?;
        }
        NAMED.run(directory, &config, address, &[])
    }

    /// Runs unbound in `directory`, a resolver that finds zones at `server` and trusts their keys.
    /// It knows no other names.
    pub fn unbound(directory: &Path, anchors: &[Anchor], server: SocketAddr) -> Result<Self> {
        let (address, here) = (free_address()?, directory.display());
        // What it could conclude from other answers (RFC 8198) it shall ask for.
        let mut config = format!(
            "server:\n  interface: {}@{}\n  directory: \"{here}\"\n  chroot: \"\"\n  username: \"\"\n  \
             pidfile: \"{here}/unbound.pid\"\n  use-syslog: no\n  verbosity: 1\n  num-threads: 1\n  \
             do-ip6: no\n  do-not-query-localhost: no\n  module-config: \"validator iterator\"\n  \
             qname-minimisation: no\n  aggressive-nsec: no\n  neg-cache-size: 0\n  trust-anchor-signaling: no\n  \
             target-fetch-policy: \"0 0 0 0 0\"\n  outgoing-range: 256\n  \
             outgoing-interface: 127.0.0.1\n",
            address.ip(),
            address.port()
        );
        for key in anchors.iter().flat_map(|anchor| &anchor.keys) {
            writeln!(config, "  trust-anchor: \"{key}\"")?;
        }
        let (ip, port) = (server.ip(), server.port());
        for Anchor { apex, .. } in anchors {
            write!(config, "stub-zone:\n  name: \"{apex}\"\n  stub-addr: {ip}@{port}\n")?;
        }
        UNBOUND.run(directory, &config, address, &[])
    }

    /// As [`ask_all`], from the loopback address.
    pub fn ask_all(&self, queries: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        ask_all(Ipv4Addr::LOCALHOST.into(), self.address, queries)
    }

    /// Asks over one TCP connection, some at a time (RFC 7766 section 6.2.1.1); responses come in the
    /// order of the queries.
    pub fn ask_all_over_tcp(&self, queries: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let mut responses = vec![Vec::new(); queries.len()];
        for (window, responses) in queries.chunks(8).zip(responses.chunks_mut(8)) {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut out = Vec::new();
            for (place, query) in window.iter().enumerate() {
                out.extend((query.len() as u16).to_be_bytes());
                out.extend((place as u16).to_be_bytes());
                out.extend(&query[2..]);
            }
            stream.write_all(&out)?;
            for _ in window {
                let mut len = [0; 2];
                stream.read_exact(&mut len).context("no response over TCP")?;
                let mut response = vec![0; usize::from(u16::from_be_bytes(len))];
                stream.read_exact(&mut response)?;
                ensure!(response.len() >= DNS_LEN, "a response of {} octets", response.len());
                let place = usize::from(u16::from_be_bytes([response[0], response[1]]));
                *responses.get_mut(place).context("a response that nobody asked for")? = response;
            }
        }
        Ok(responses)
    }
}

/// Asks a server over UDP from an address of this host, many at a time; responses come in the order of the queries, whose
/// identifiers are their places. A query that is lost is asked again, twice.
pub fn ask_all(from: IpAddr, to: SocketAddr, queries: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut responses = vec![Vec::new(); queries.len()];
    let mut buffer = vec![0; 65535];
    for (window, responses) in queries.chunks(WINDOW).zip(responses.chunks_mut(WINDOW)) {
        for attempt in 0.. {
            for (place, query) in window.iter().enumerate() {
                if responses[place].is_empty() {
                    let query = [&(place as u16).to_be_bytes(), &query[2..]].concat();
                    socket.send(&query)?;
                }
            }
            while responses.iter().any(Vec::is_empty) {
                let Ok(len) = socket.recv(&mut buffer) else { break };
                ensure!(len >= DNS_LEN, "a response of {len} octets");
                let place = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
                *responses.get_mut(place).context("a response that nobody asked for")? =
                    buffer[..len].to_vec();
            }
            match responses.iter().position(Vec::is_empty) {
                None => break,
                Some(place) if attempt == 2 => {
                    bail!("no response to {:02x?}", &window[place])
                }
                Some(_) => {}
            }
        }
    }
    Ok(responses)
}
