//! knotd, which signs the same zone, keeps a journal, and takes changes as dynamic updates (RFC 2136).

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use sealdns::{cli::zone_file, dnssec::policy::Denial, zone::Zone};
use testbed::{
    net::{self, Process},
    servers::free_address,
};
use tests::dns::HEADER_LEN;

use super::zone::{self, Change, Record, TTL};

/// How long it may take to load and sign the zone.
pub const LOADING: Duration = Duration::from_secs(600);

/// How long it may take over one update.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bits of the header's second word: an update (RFC 2136 section 2.2), and a response.
const UPDATE: u16 = 5 << 11;
const RESPONSE: u16 = 1 << 15;

/// Classes of an update (RFC 2136 section 2.5).
const IN: u16 = 1;
const NONE: u16 = 254;

const SOA: u16 = 6;

/// A knotd that runs and has signed.
pub struct Signer {
    address: SocketAddr,
    _process: Process,
    /// From its start until it had signed and answered.
    pub started_in: Duration,
}

impl Signer {
    /// Runs it over a zone; its files lie in `directory`.
    pub fn start(directory: &Path, unsigned: &Zone, denial: Denial) -> Result<Self> {
        let file = directory.join("unsigned.zone");
        zone_file::write_zone(&file, unsigned)?;
        let (address, here) = (free_address()?, directory.display());
        let (nsec3, opt_out) = match denial {
            Denial::Nsec => ("off", "off"),
            Denial::Nsec3 { opt_out: false } => ("on", "off"),
            Denial::Nsec3 { opt_out: true } => ("on", "on"),
        };
        let config = format!(
            "server:\n  listen: {}@{}\n  rundir: {here}\n  pidfile: {here}/knotd.pid\n\
             database:\n  storage: {here}/knotd\n  journal-db-max-size: 4G\n\
             log:\n  - target: stderr\n    any: info\n\
             acl:\n  - id: here\n    address: {}\n    action: update\n\
             policy:\n  - id: same\n    algorithm: ecdsap256sha256\n    nsec3: {nsec3}\n    \
             nsec3-iterations: 0\n    nsec3-salt-length: 0\n    nsec3-opt-out: {opt_out}\n\
             zone:\n  - domain: {}\n    file: {}\n    dnssec-signing: on\n    dnssec-policy: same\n    \
             journal-content: changes\n    journal-max-usage: 2G\n    zonefile-sync: -1\n    acl: here\n",
            address.ip(),
            address.port(),
            address.ip(),
            unsigned.apex(),
            file.display(),
        );
        fs::create_dir(directory.join("knotd"))?;
        let path = directory.join("knotd.conf");
        fs::write(&path, config)?;
        let binary = net::find_program("knotd").context("no knotd: `cargo xtask setup`")?;
        let started = Instant::now();
        let mut process = Process::spawn("knotd", Command::new(binary).arg("-c").arg(&path))?;
        let said = process.wait_for_line(LOADING, |line| {
            line.contains("loaded, serial") || line.contains("error: ")
        })?;
        ensure!(!said.contains("error: "), "{said}");
        process.wait_for_line(LOADING, |line| line.contains("server started"))?;
        Ok(Self { address, _process: process, started_in: started.elapsed() })
    }

    /// How many changes a second it takes, each sent when the one before has been answered.
    pub fn per_second(&self, change: Change, changes: usize, names: usize) -> Result<f64> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let updates: Vec<_> =
            (0..changes).map(|number| update(number, &change.records(number, names))).collect();
        let mut response = [0; 512];
        let started = Instant::now();
        for update in &updates {
            socket.send(update)?;
            let len = socket.recv(&mut response).context("no response to an update")?;
            ensure!(len >= HEADER_LEN && response[..2] == update[..2], "another response");
            let flags = u16::from_be_bytes([response[2], response[3]]);
            ensure!(flags == RESPONSE | UPDATE, "an update was refused: flags {flags:04x}");
        }
        Ok(changes as f64 / started.elapsed().as_secs_f64())
    }
}

/// The message of a change (RFC 2136 section 2).
fn update(id: usize, [removed, added]: &[Vec<Record>; 2]) -> Vec<u8> {
    let mut message = Vec::new();
    let count = (removed.len() + added.len()) as u16;
    for word in [id as u16, UPDATE, 1, 0, count, 0] {
        message.extend(word.to_be_bytes());
    }
    message.extend(tests::measure::zones::wire(zone::LABELS));
    message.extend(SOA.to_be_bytes());
    message.extend(IN.to_be_bytes());
    for (records, class, ttl) in [(removed, NONE, 0), (added, IN, TTL)] {
        for Record { owner, rtype, rdata } in records {
            message.extend(owner);
            message.extend(rtype.0.to_be_bytes());
            message.extend(class.to_be_bytes());
            message.extend(ttl.to_be_bytes());
            message.extend((rdata.len() as u16).to_be_bytes());
            message.extend(rdata);
        }
    }
    message
}
