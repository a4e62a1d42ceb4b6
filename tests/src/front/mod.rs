//! In front of the servers of others, which keep port 53 and their configuration: sealdns takes their zones by transfer over
//! loopback, XDP answers what is current, and all else reaches them.
//!
//! Each server is asked at port 53, where XDP looks first, and at a port that it does not look at: both must say the same.

pub mod answers;
pub mod changes;
pub mod failures;
mod peers;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use sealdns::{
    control::reply::{read::Readable, xdp::XdpStatus, zone::ZoneStatus},
    dnssec::policy::{Denial, SerialPolicy, SigningPolicy},
    zone::Zone,
};
use testbed::{
    net::{self, Process},
    servers::ask_all,
};
use tests::{
    harness::Verdict,
    servers::{self, DEMO, signed_as},
};
use xdp_common::Outcome;

use self::peers::{Kind, Peer};
use crate::wire::{
    client::Client,
    pair::Pair,
    stage::{self, PATIENCE},
};

/// Where the server answers, and XDP with it; and from where it is asked.
const ADDRESS: &str = "198.51.100.2";
const CLIENT_ADDRESS: &str = "198.51.100.1";

/// The port at which it answers without XDP.
const SECOND_PORT: u16 = 5300;

/// Where sealdns hears of new serials.
const NOTIFY: (&str, u16) = ("127.0.0.1", 5353);

/// A server with sealdns in front of it, and a client. What runs ends before the namespaces go.
struct Scene {
    sealdns: Process,
    peer: Peer,
    /// Without a program at the client's end veth does not deliver what XDP sends back.
    _client: Client,
    pair: Pair,
    folder: tempfile::TempDir,
}

/// Why these tests cannot run, if they cannot.
fn obstacle(kind: Kind) -> Option<Verdict> {
    stage::obstacle().or_else(|| {
        let needed = [kind.program(), "dig"];
        let missing = needed.into_iter().find(|name| net::find_program(name).is_none())?;
        Some(Verdict::Skipped(format!("no {missing}: `cargo xtask setup`")))
    })
}

impl Scene {
    /// The server has all of these zones, sealdns the first one, with these lines in `[front]` and `[xdp]`.
    fn new(test: &str, kind: Kind, zones: &[&Zone], front: &str, xdp: &str) -> Result<Self> {
        let (pair, folder) = (Pair::new(test)?, tempfile::tempdir()?);
        let client = Client::new(&pair)?;
        let place = folder.path().join("server");
        fs::create_dir(&place)?;
        let peer = Peer::start(kind, &pair.server, &place, zones)?;
        let apex = zones.first().context("no zone")?.apex();
        let (notify, port) = NOTIFY;
        let config = format!(
            "version = \"v1\"\n[server]\ncontrol = \"control.sock\"\nstate-dir = \"state\"\n\
             [front]\nserver = \"127.0.0.1\"\nnotify = \"{notify}:{port}\"\n{front}\n\
             [xdp]\naddresses = [\"{ADDRESS}\"]\n{xdp}\n[[zone]]\nname = \"{apex}\"\n"
        );
        fs::write(folder.path().join("sealdns.toml"), config)?;
        let sealdns = start(&pair, folder.path())?;
        Ok(Self { sealdns, peer, _client: client, pair, folder })
    }

    /// Runs a command of `sealdns` for the daemon.
    fn command(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(servers::sealdns().context("no sealdns")?);
        command.args(words).arg("--config").arg(self.folder.path().join("sealdns.toml"));
        self.pair.server.output(&mut command, PATIENCE)
    }

    fn reply<T: Readable>(&self, words: &[&str]) -> Result<T> {
        servers::reply_of(&self.command(&[words, &["--json"]].concat())?)
    }

    /// Waits until XDP answers from the version of the zone with this serial.
    fn wait_for(&self, zone: &Zone) -> Result<()> {
        let (apex, serial) = (zone.apex().to_string(), zone.serial().0);
        let status = || self.reply::<ZoneStatus>(&["zone", "status", &apex]);
        let is_answered = |status: ZoneStatus| {
            let is_passed = status.front.is_none_or(|front| front.passed.is_some());
            status.summary.serial == Some(serial) && !is_passed
        };
        net::wait_until("XDP answers", PATIENCE, || status().is_ok_and(is_answered)).with_context(
            || {
                format!(
                    "serial {serial}: {:?}\n{}\n{}",
                    status(),
                    self.sealdns.log(),
                    self.peer.process.log()
                )
            },
        )
    }

    /// How many packets came to this, in XDP and in TCX.
    fn counted(&self, counts: impl Fn(Outcome) -> bool) -> Result<u64> {
        let counters = self.reply::<XdpStatus>(&["xdp", "status"])?.counters;
        let [xdp, tcx] = [counters.xdp, counters.tcx];
        Ok(xdp.iter().chain(&tcx).map(|one| one.outcomes.sum(&counts)).sum())
    }

    /// What the server says at one of its ports.
    fn ask(&self, port: u16, queries: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let from: IpAddr = CLIENT_ADDRESS.parse()?;
        let to = SocketAddr::new(ADDRESS.parse()?, port);
        self.pair.client.enter(|| ask_all(from, to, queries))?
    }

    /// What dig prints, asked from the client's end.
    fn dig(&self, words: &[&str]) -> Result<String> {
        let mut dig = Command::new("dig");
        dig.args(["-b", CLIENT_ADDRESS, &format!("@{ADDRESS}"), "+tries=2", "+time=5"]).args(words);
        let output = self.pair.client.output(&mut dig, PATIENCE)?;
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn start(pair: &Pair, folder: &Path) -> Result<Process> {
    let mut command = Command::new(servers::sealdns().context("no sealdns")?);
    command.args(["run", "--config"]).arg(folder.join("sealdns.toml"));
    let mut process = pair.server.spawn("sealdns", &mut command)?;
    process.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
    Ok(process)
}

/// The zone of the demo in a version, signed by somebody else.
fn version(number: u32, denial: Denial, keys: &Path) -> Result<Zone> {
    let (apex, text) = DEMO;
    let serial = 2_026_112_401 + number;
    let text = text.replace("2026112401", &serial.to_string());
    ensure!(text.contains(&serial.to_string()), "the demo has another serial");
    let text =
        format!("{text}changing 60 A 192.0.2.{}\nonly{number} 60 A 192.0.2.1\n", 1 + number % 250);
    let policy = SigningPolicy { denial, serial: SerialPolicy::Keep, ..SigningPolicy::default() };
    signed_as((apex, &text), policy, keys)
}

/// A zone that sealdns is not told of.
fn other() -> Result<Zone> {
    servers::unsigned(
        "other.example",
        "@ 300 IN SOA ns hostmaster 1 3600 900 604800 60\n@ 300 NS ns\nns 300 A 192.0.2.1\n",
    )
}
