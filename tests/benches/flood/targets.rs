//! Who answers: sealdns, others, and a program that only sends frames back.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use aya::{Ebpf, programs::xdp::XdpMode};
use sealdns::control::reply::xdp::XdpStatus;
use testbed::net::{self, Process, output_within};
use tests::{
    measure::{
        flood::{schedule, wire::Wire},
        programs::{self, xdp},
    },
    servers,
};

use xdp_common::Outcome;

/// How long `sealdns xdp status` may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Octets of socket buffers, for all servers alike: the usual ones hold 49 queries on pages of their
/// own. sealdns asks for as much by itself.
const SOCKET_BUFFER: u32 = 4 << 20;

/// A signed zone as a file.
pub struct ZoneFile {
    /// The apex without the dot at its end.
    pub apex: String,
    pub path: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// XDP_TX with addresses swapped: the least that an answer can cost.
    Reflector,
    Sealdns,
    /// Without XDP: on veth that spares what sockets sent from being copied for it.
    SealdnsTcx,
    /// knotd with AF_XDP sockets. On veth frames are copied to them; cards can do without.
    KnotdXdp,
    Knotd,
    Nsd,
}

impl Target {
    pub const ALL: [Self; 6] =
        [Self::Reflector, Self::Sealdns, Self::SealdnsTcx, Self::KnotdXdp, Self::Knotd, Self::Nsd];

    pub fn title(self) -> &'static str {
        match self {
            Self::Reflector => "XDP_TX reflector",
            Self::Sealdns => "sealdns",
            Self::SealdnsTcx => "sealdns, TCX alone",
            Self::KnotdXdp => "knotd, AF_XDP (copy)",
            Self::Knotd => "knotd",
            Self::Nsd => "nsd",
        }
    }

    /// For names of files and fields.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
            Self::Sealdns => "sealdns",
            Self::SealdnsTcx => "sealdns-tcx",
            Self::KnotdXdp => "knotd-xdp",
            Self::Knotd => "knotd",
            Self::Nsd => "nsd",
        }
    }

    /// Starts it. It may not answer yet.
    pub fn start(self, wire: &Wire, directory: &Path, zones: &[ZoneFile]) -> Result<Serving> {
        if self == Self::Reflector {
            let programs = wire.server.enter(|| -> Result<Ebpf> {
                let mut ebpf = programs::load(&["reflect"])?;
                xdp(&mut ebpf, "reflect")?.attach(&wire.server_end, XdpMode::Driver)?;
                Ok(ebpf)
            })??;
            return Ok(Serving::Program(programs));
        }
        let (program, arguments, config) = match self {
            Self::Sealdns | Self::SealdnsTcx => {
                let binary = servers::sealdns().context("no sealdns: `cargo xtask build`")?;
                let mode = if self == Self::SealdnsTcx { "tcx" } else { "native" };
                (binary, &["run", "--config"][..], sealdns(wire, mode, zones)?)
            }
            Self::Nsd => (installed("nsd")?, &["-d", "-c"][..], nsd(directory, zones)?),
            _ => (installed("knotd")?, &["-c"][..], self.knotd(wire, directory, zones)?),
        };
        let path = directory.join("config");
        fs::write(&path, config)?;
        let mut command = schedule::on_server_core(&program);
        command.args(arguments).arg(&path);
        let _buffers = DefaultBuffers::set()?;
        let mut process = wire.server.spawn(self.word(), &mut command)?;
        let is_ours = matches!(self, Self::Sealdns | Self::SealdnsTcx);
        if self != Self::Nsd {
            let wanted = if is_ours { "ready" } else { "server started" };
            process.wait_for_line(super::START, |line| line.contains(wanted))?;
        }
        if is_ours {
            let mut status = Command::new(&program);
            status.arg("--config").arg(&path).args(["xdp", "status", "--json"]);
            return Ok(Serving::Sealdns(process, status));
        }
        Ok(Serving::Process(process))
    }

    fn knotd(self, wire: &Wire, directory: &Path, zones: &[ZoneFile]) -> Result<String> {
        let here = directory.display();
        let address = Wire::server_address()?;
        let listen = match self {
            Self::KnotdXdp => format!("xdp:\n  listen: {}@{}\n", wire.server_end, address.port()),
            _ => format!("  listen: {}@{}\n", address.ip(), address.port()),
        };
        let mut config = format!(
            "server:\n  rundir: {here}\n  pidfile: {here}/knotd.pid\n  udp-workers: 1\n  \
             tcp-workers: 1\n  background-workers: 1\n{listen}\
             database:\n  storage: {here}/knotd\nlog:\n  - target: stderr\n    any: info\nzone:\n"
        );
        for zone in zones {
            write!(
                config,
                "  - domain: {}\n    file: {}\n    zonefile-sync: -1\n    journal-content: none\n",
                zone.apex,
                zone.path.display()
            )?;
        }
        Ok(config)
    }
}

fn installed(name: &str) -> Result<PathBuf> {
    net::find_program(name).with_context(|| format!("no {name}: `cargo xtask setup`"))
}

fn sealdns(wire: &Wire, mode: &str, zones: &[ZoneFile]) -> Result<String> {
    let mut config = format!(
        "version = \"v1\"\n[server]\nlisten = [\"{}\"]\ncontrol = \"control.sock\"\n\
         state-dir = \"state\"\n[xdp]\ninterfaces = [\"{}\"]\nmode = \"{mode}\"\nmemory = \"4GiB\"\n",
        Wire::server_address()?,
        wire.server_end
    );
    for zone in zones {
        write!(
            config,
            "[[zone]]\nname = \"{}\"\nfile = \"{}\"\ndnssec = \"presigned\"\n",
            zone.apex,
            zone.path.display()
        )?;
    }
    Ok(config)
}

fn nsd(directory: &Path, zones: &[ZoneFile]) -> Result<String> {
    let here = directory.display();
    let address = Wire::server_address()?;
    // Debian's nsd limits the rate of responses, and adds what was not asked for.
    let mut config = format!(
        "server:\n  ip-address: {}\n  port: {}\n  server-count: 1\n  username: \"\"\n  \
         zonesdir: {here}\n  database: \"\"\n  pidfile: {here}/nsd.pid\n  \
         xfrdfile: {here}/xfrd.state\n  xfrdir: {here}\n  zonelistfile: {here}/zone.list\n  \
         rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  minimal-responses: yes\n  \
         receive-buffer-size: {SOCKET_BUFFER}\n  send-buffer-size: {SOCKET_BUFFER}\n\
         remote-control:\n  control-enable: no\n",
        address.ip(),
        address.port()
    );
    for zone in zones {
        write!(config, "zone:\n  name: {}\n  zonefile: {}\n", zone.apex, zone.path.display())?;
    }
    Ok(config)
}

/// A target that runs, and ends when this is dropped.
pub enum Serving {
    /// Attached for as long as it is loaded.
    Program(Ebpf),
    Process(Process),
    /// With the command that says what it has counted.
    Sealdns(Process, Command),
}

impl Serving {
    /// Fails if it has ended.
    pub fn is_alive(&mut self) -> Result<()> {
        if let Self::Process(process) | Self::Sealdns(process, _) = self
            && let Some(status) = process.ended()?
        {
            bail!("it ended ({status}); it said:\n{}", process.log());
        }
        Ok(())
    }

    pub fn log(&self) -> String {
        match self {
            Self::Program(_) => String::new(),
            Self::Process(process) | Self::Sealdns(process, _) => {
                format!("it said:\n{}", process.log())
            }
        }
    }

    /// Answers that sealdns has counted as TCX's; 0 of others.
    pub fn by_tcx(&mut self) -> Result<u64> {
        let Self::Sealdns(_, status) = self else { return Ok(0) };
        let output = output_within(status, PATIENCE)?;
        let counters = servers::reply_of::<XdpStatus>(&output)?.counters.tcx;
        Ok(counters.context("no counters of TCX")?.outcomes.sum(Outcome::is_answered))
    }

    /// Ends it, and leaves the wire as it was.
    pub fn stop(self, wire: &Wire) -> Result<()> {
        match self {
            Self::Program(programs) => drop(programs),
            Self::Process(process) | Self::Sealdns(process, _) => drop(process.stop()?),
        }
        // knotd leaves its program behind.
        wire.clear()
    }
}

//----------- Socket buffers -------------------------------------------------------------------------

const DEFAULTS: [&str; 2] = ["/proc/sys/net/core/rmem_default", "/proc/sys/net/core/wmem_default"];

/// What sockets of all namespaces have for buffers, set while a server that cannot be told opens its
/// own (knotd); and then as it was.
struct DefaultBuffers {
    before: Vec<String>,
}

impl DefaultBuffers {
    fn set() -> Result<Self> {
        let mut this = Self { before: Vec::new() };
        for path in DEFAULTS {
            this.before.push(fs::read_to_string(path).with_context(|| path.to_owned())?);
            fs::write(path, SOCKET_BUFFER.to_string()).with_context(|| path.to_owned())?;
        }
        Ok(this)
    }
}

impl Drop for DefaultBuffers {
    fn drop(&mut self) {
        for (path, before) in DEFAULTS.into_iter().zip(&self.before) {
            let _ = fs::write(path, before);
        }
    }
}
