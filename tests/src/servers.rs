//! Name servers as processes, on ports of their own: sealdns, and others to compare it with.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use sealdns::{
    cli::zone_file,
    clock::WallTime,
    control::reply::read::{self, Readable},
    dnssec::{
        keys::{Algorithm, KeyLayout, store::KeyStore},
        policy::{Denial, SigningPolicy},
        sign,
    },
    zone::{Rtype, Zone, name::write_name, text::write_record},
};
use testbed::net::{self, Process};

use crate::dns::{HEADER_LEN, Query};

/// How long a server has to start.
const START: Duration = Duration::from_secs(60);

/// How long a server has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Queries that are under way to a server at a time.
const WINDOW: usize = 48;

//----------- Zones ----------------------------------------------------------------------------------

/// The zone of the demo: what people have.
pub const DEMO: (&str, &str) = ("example.org", include_str!("../zones/demo.zone"));
/// The zone with all that is rare.
pub const CORNER: (&str, &str) = ("corner.example", include_str!("../zones/corner.zone"));
/// Every zone of a file that servers are compared with: that of the demo, that with all that is rare,
/// one that leads to others, its child, and one that is moved whole.
pub const FIXED: [(&str, &str); 5] = [
    DEMO,
    CORNER,
    ("leads.example", include_str!("../zones/leads.zone")),
    ("child.leads.example", include_str!("../zones/child.leads.zone")),
    ("moved.example", include_str!("../zones/moved.zone")),
];

/// Every way to prove that a name does not exist.
pub const DENIALS: [(&str, Denial); 3] = [
    ("NSEC", Denial::Nsec),
    ("NSEC3", Denial::Nsec3 { opt_out: false }),
    ("NSEC3 with opt-out", Denial::Nsec3 { opt_out: true }),
];

/// Signs a zone with keys made in `directory`.
pub fn signed(zone: (&str, &str), denial: Denial, directory: &Path) -> Result<Zone> {
    signed_as(zone, SigningPolicy { denial, ..SigningPolicy::default() }, directory)
}

/// The same with all that can be chosen.
pub fn signed_as(
    (apex, text): (&str, &str),
    policy: SigningPolicy,
    directory: &Path,
) -> Result<Zone> {
    let apex = apex.parse()?;
    let zone = zone_file::parse_zone(text.as_bytes(), &apex)?;
    let store = KeyStore::new(directory);
    let algorithm = Algorithm::EcdsaP256Sha256;
    let now = WallTime::now().signature_time();
    let (keys, _) = store.load_or_generate(&apex, KeyLayout::KskZsk, algorithm, now)?;
    Ok(sign::sign(&zone, &keys, &policy, now)?.0)
}

/// Reads a zone that is not signed.
pub fn unsigned(apex: &str, text: &str) -> Result<Zone> {
    let apex = apex.parse()?;
    zone_file::parse_zone(text.as_bytes(), &apex)
}

//----------- Server ---------------------------------------------------------------------------------

/// A server that runs; it ends when this is dropped.
pub struct Server {
    /// Where it listens, over UDP and TCP.
    pub address: SocketAddr,
    /// The process.
    pub process: Process,
}

/// The binary under test, if it was built like this test: `target/<profile>/sealdns`.
pub fn sealdns() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    own.ancestors().skip(1).take(2).map(|folder| folder.join("sealdns")).find(|file| file.is_file())
}

/// What a command of sealdns printed with `--json`.
pub fn said_in_json<T: Readable>(output: &Output) -> Result<T> {
    let text = std::str::from_utf8(&output.stdout)?;
    read::printed(text).map_err(|error| anyhow!("{error}: {output:?}"))
}

/// An address of this host that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    // Free a moment ago; nobody else is given it so soon.
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn is_signed(zone: &Zone) -> bool {
    let apex = zone.find(zone.apex().as_wire());
    apex.is_some_and(|apex| apex.rrset(Rtype::DNSKEY).is_some())
}

impl Server {
    /// Runs sealdns over signed zones in `directory`, where their files are written.
    pub fn sealdns(directory: &Path, zones: &[&Zone]) -> Result<Self> {
        let binary = sealdns().context("no sealdns beside this test: `cargo xtask build`")?;
        let address = free_address()?;
        let mut config = format!(
            "version = \"v1\"\n[server]\nlisten = [\"{address}\"]\n\
             control = \"control.sock\"\nstate-dir = \"state\"\n"
        );
        for zone in zones {
            let file = format!("{}zone", zone.apex());
            zone_file::write_zone(&directory.join(&file), zone)?;
            write!(
                config,
                "[[zone]]\nname = \"{}\"\nfile = \"{file}\"\ndnssec = \"{}\"\n",
                zone.apex(),
                if is_signed(zone) { "presigned" } else { "off" }
            )?;
        }
        let path = directory.join("sealdns.toml");
        fs::write(&path, config)?;
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(&path);
        let mut process = Process::spawn("sealdns", &mut command)?;
        process.wait_for_line(START, |line| line.trim() == "ready")?;
        Ok(Self { address, process })
    }

    /// Runs knotd over signed zones in `directory`, where their files are written.
    pub fn knotd(directory: &Path, zones: &[&Zone]) -> Result<Self> {
        let binary = net::find_program("knotd").context("no knotd: `cargo xtask setup`")?;
        let address = free_address()?;
        let here = directory.display();
        let mut config = format!(
            "server:\n  listen: {}@{}\n  rundir: {here}\n  pidfile: {here}/knotd.pid\n  \
             udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: {here}/knotd\n\
             log:\n  - target: stderr\n    any: info\nzone:\n",
            address.ip(),
            address.port()
        );
        for zone in zones {
            let file = directory.join(format!("{}knot.zone", zone.apex()));
            zone_file::write_zone(&file, zone)?;
            write!(
                config,
                "  - domain: {}\n    file: {}\n    zonefile-sync: -1\n    journal-content: none\n",
                zone.apex(),
                file.display()
            )?;
        }
        let path = directory.join("knotd.conf");
        fs::write(&path, config)?;
        let mut command = Command::new(binary);
        command.arg("-c").arg(&path);
        let mut process = Process::spawn("knotd", &mut command)?;
        for zone in zones {
            let apex = format!("[{}]", zone.apex());
            let is_loaded = |line: &str| line.contains(&apex) && line.contains("loaded, serial");
            process.wait_for_line(START, is_loaded)?;
        }
        process.wait_for_line(START, |line| line.contains("server started"))?;
        Ok(Self { address, process })
    }

    /// Runs nsd over signed zones in `directory`, where their files are written.
    pub fn nsd(directory: &Path, zones: &[&Zone]) -> Result<Self> {
        let binary = net::find_program("nsd").context("no nsd: `cargo xtask setup`")?;
        let address = free_address()?;
        let here = directory.display();
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
        for zone in zones {
            let file = directory.join(format!("{}nsd.zone", zone.apex()));
            zone_file::write_zone(&file, zone)?;
            write!(config, "zone:\n  name: {}\n  zonefile: {}\n", zone.apex(), file.display())?;
        }
        let path = directory.join("nsd.conf");
        fs::write(&path, config)?;
        let mut command = Command::new(binary);
        command.arg("-d").arg("-c").arg(&path);
        let mut process = Process::spawn("nsd", &mut command)?;
        for zone in zones {
            let read = format!("zone {} read with success", zone.apex());
            process.wait_for_line(START, |line| line.contains(&read))?;
        }
        process.wait_for_line(START, |line| line.contains("nsd started"))?;
        Ok(Self { address, process })
    }

    /// Runs named over signed zones in `directory`, where their files are written.
    pub fn named(directory: &Path, zones: &[&Zone]) -> Result<Self> {
        let binary = net::find_program("named").context("no named: `cargo xtask setup`")?;
        let address = free_address()?;
        let here = directory.display();
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
        for zone in zones {
            let file = directory.join(format!("{}named.zone", zone.apex()));
            zone_file::write_zone(&file, zone)?;
            let (apex, file) = (zone.apex(), file.display());
            writeln!(config, "zone \"{apex}\" {{ type primary; file \"{file}\"; }};")?;
        }
        let path = directory.join("named.conf");
        fs::write(&path, config)?;
        let mut command = Command::new(binary);
        command.args(["-g", "-n", "1", "-c"]).arg(&path);
        let mut process = Process::spawn("named", &mut command)?;
        for zone in zones {
            let apex = zone.apex().to_string();
            let read = format!("zone {}/IN: loaded serial", apex.trim_end_matches('.'));
            process.wait_for_line(START, |line| line.contains(&read))?;
        }
        process.wait_for_line(START, |line| line.trim_end().ends_with(" running"))?;
        Ok(Self { address, process })
    }

    /// Runs unbound in `directory`, a resolver that finds `zones` at `server` and trusts their keys.
    /// It knows no other names.
    pub fn unbound(directory: &Path, zones: &[&Zone], server: SocketAddr) -> Result<Self> {
        let binary = net::find_program("unbound").context("no unbound: `cargo xtask setup`")?;
        let address = free_address()?;
        let here = directory.display();
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
        let mut stubs = String::new();
        for zone in zones {
            let apex = zone.apex();
            let keys = zone.find(apex.as_wire()).and_then(|owner| owner.rrset(Rtype::DNSKEY));
            for key in keys.iter().flat_map(|keys| keys.rdatas()) {
                let record = write_record(apex.as_wire(), Rtype::DNSKEY, 3600, key);
                writeln!(config, "  trust-anchor: \"{}\"", record.trim_end().replace('\t', " "))?;
            }
            let (ip, port) = (server.ip(), server.port());
            write!(stubs, "stub-zone:\n  name: \"{apex}\"\n  stub-addr: {ip}@{port}\n")?;
        }
        let path = directory.join("unbound.conf");
        fs::write(&path, config + &stubs)?;
        let mut command = Command::new(binary);
        command.arg("-d").arg("-c").arg(&path);
        let mut process = Process::spawn("unbound", &mut command)?;
        process.wait_for_line(START, |line| line.contains("start of service"))?;
        Ok(Self { address, process })
    }

    /// Whether delv, which trusts the zone's keys, finds this server's answer secure.
    pub fn is_secure_to_delv(&self, directory: &Path, zone: &Zone, query: &Query) -> Result<bool> {
        let binary = net::find_program("delv").context("no delv: `cargo xtask setup`")?;
        let apex = zone.apex();
        let keys = zone.find(apex.as_wire()).and_then(|owner| owner.rrset(Rtype::DNSKEY));
        let mut anchors = String::from("trust-anchors {\n");
        for key in keys.iter().flat_map(|keys| keys.rdatas()) {
            let record = write_record(apex.as_wire(), Rtype::DNSKEY, 3600, key);
            let fields: Vec<&str> = record.split_whitespace().skip(4).collect();
            let [flags, protocol, algorithm, key @ ..] = fields.as_slice() else { continue };
            let key = key.concat();
            writeln!(anchors, "{apex} static-key {flags} {protocol} {algorithm} \"{key}\";")?;
        }
        let path = directory.join("delv.keys");
        fs::write(&path, anchors + "};\n")?;
        let mut name = String::new();
        write_name(&mut name, &query.name)?;
        let mut command = Command::new(binary);
        command.arg(format!("@{}", self.address.ip()));
        command.args(["-p", &self.address.port().to_string(), "-a"]).arg(&path);
        command.args([&format!("+root={apex}"), "-q", &name, "-t"]);
        command.arg(Rtype(query.rtype).to_string());
        let output = net::output_within(&mut command, START)?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("fully validated"))
    }

    /// Asks over UDP, many at a time; responses come in the order of the queries, whose identifiers
    /// are their places. A query that is lost is asked again, twice.
    pub fn ask_all(&self, queries: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address)?;
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
                    ensure!(len >= HEADER_LEN, "a response of {len} octets");
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
                ensure!(response.len() >= HEADER_LEN, "a response of {} octets", response.len());
                let place = usize::from(u16::from_be_bytes([response[0], response[1]]));
                *responses.get_mut(place).context("a response that nobody asked for")? = response;
            }
        }
        Ok(responses)
    }
}
