//! The daemon with a large zone that it signs: its first start, a reload after one line of the file changed, a start
//! with what was kept, and its memory.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use sealdns::{
    cli::zone_file,
    dnssec::policy::Denial,
    zone::{
        Rtype,
        text::{self, Options},
    },
};
use serde_json::{Value, json};
use testbed::{
    net::{self, Process},
    servers::free_address,
};
use tests::{
    dns::{Edns, Message, Query},
    measure::{figures::Figures, zones},
    servers,
};

use super::{knot, zone};

/// How often a line changes.
const RELOADS: usize = 5;

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long to wait for an answer before it is asked for again.
const ASKED_AGAIN: Duration = Duration::from_millis(20);

/// A daemon that runs.
struct Daemon {
    process: Process,
    /// From its start until it answered for the zone.
    answered_in: Duration,
}

/// Where it is, and with what it runs.
struct Place {
    binary: PathBuf,
    config: PathBuf,
    address: SocketAddr,
}

/// What all of it takes with so many delegations, NSEC.
pub fn measured(names: usize) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    let unsigned = zone::unsigned(names)?;
    let records = unsigned.record_count();
    eprintln!("files: knotd's start");
    let knotd = {
        let directory = tempfile::tempdir()?;
        knot::Signer::start(directory.path(), &unsigned, Denial::Nsec)?.started_in
    };
    let file = directory.path().join("unsigned.zone");
    zone_file::write_zone(&file, &unsigned)?;
    drop(unsigned);
    let place = Place::new(directory.path(), &file)?;
    eprintln!("files: the first start");
    let mut daemon = place.start()?;
    let first_start = daemon.answered_in;
    daemon.process.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
    let peak = memory(daemon.process.id(), "VmHWM:")?;
    let resident = memory(daemon.process.id(), "RssAnon:")?;
    let [mut read, mut reload, mut no_change] = [const { Figures(Vec::new()) }; 3];
    for number in 0..RELOADS {
        eprintln!("files: reload {} of {RELOADS}", number + 1);
        let started = Instant::now();
        let zone = text::load(&file, &zone::apex()?, Options::default())?.zone;
        read.0.push(started.elapsed().as_secs_f64());
        drop(zone);
        let mut text = fs::OpenOptions::new().append(true).open(&file)?;
        writeln!(text, "new-{number}.{} 3600 IN A 192.0.2.{number}", zone::apex()?)?;
        drop(text);
        reload.0.push(place.reload()?.as_secs_f64());
        no_change.0.push(place.reload()?.as_secs_f64());
        let name = zones::wire(&[&[&format!("new-{number}")[..]], zone::LABELS].concat());
        let answer = place.ask(name, Rtype::A)?.context("no answer for what was added")?;
        ensure!(!answer.answer.is_empty(), "what was added is not served");
    }
    daemon.process.signal(Signal::SIGTERM)?;
    daemon.process.stop()?;
    eprintln!("files: a start with what was kept");
    let again = place.start()?;
    let restart = again.answered_in;
    let restart_peak = memory(again.process.id(), "VmHWM:")?;
    Ok(json!({
        "records": records,
        "knotd_start_s": knotd.as_secs_f64(),
        "start_s": first_start.as_secs_f64(),
        "restart_s": restart.as_secs_f64(),
        "read_s": read.json(),
        "reload_s": reload.json(),
        "reload_unchanged_s": no_change.json(),
        "peak_octets": peak,
        "resident_octets": resident,
        "restart_peak_octets": restart_peak,
    }))
}

impl Place {
    fn new(directory: &Path, file: &Path) -> Result<Self> {
        let binary =
            servers::sealdns().context("no sealdns beside this bench: `cargo xtask build`")?;
        let address = free_address()?;
        let config = directory.join("sealdns.toml");
        let text = format!(
            "version = \"v1\"\n[server]\nlisten = [\"{address}\"]\ncontrol = \"control.sock\"\n\
             state-dir = \"state\"\n[[zone]]\nname = \"{}\"\nfile = \"{}\"\ndnssec = \"sign\"\n",
            zone::apex()?,
            file.display(),
        );
        fs::write(&config, text)?;
        Ok(Self { binary, config, address })
    }

    /// Starts the daemon; returns when it answers for the zone.
    fn start(&self) -> Result<Daemon> {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--config"]).arg(&self.config);
        let started = Instant::now();
        let mut process = Process::spawn("sealdns", &mut command)?;
        loop {
            let answer = self.ask(zones::wire(zone::LABELS), Rtype::SOA)?;
            if answer.is_some_and(|answer| !answer.answer.is_empty()) {
                return Ok(Daemon { process, answered_in: started.elapsed() });
            }
            let ended = process.ended()?;
            ensure!(ended.is_none(), "sealdns ended: {ended:?}\n{}", process.log());
            ensure!(started.elapsed() < PATIENCE, "no answer:\n{}", process.log());
            thread::sleep(ASKED_AGAIN);
        }
    }

    /// One question over UDP; `None` if it is not answered in time.
    fn ask(&self, name: Vec<u8>, rtype: Rtype) -> Result<Option<Message>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(ASKED_AGAIN))?;
        let edns = Some(Edns { payload: 1232, dnssec_ok: true });
        socket.send(&Query { name, rtype: rtype.0, edns }.message(1))?;
        let mut buffer = [0; 4096];
        match socket.recv(&mut buffer) {
            Ok(len) => Ok(Some(Message::read(&buffer[..len])?)),
            // Nobody listens yet, or it is not served yet.
            Err(_) => Ok(None),
        }
    }

    /// Has the zone read again, and waits until that is done.
    fn reload(&self) -> Result<Duration> {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(&self.config).args(["zone", "reload"]);
        command.arg(zone::apex()?.to_string());
        let started = Instant::now();
        let output = net::output_within(&mut command, PATIENCE)?;
        ensure!(output.status.success(), "{output:?}");
        Ok(started.elapsed())
    }
}

/// A field of what the kernel tells of a process's memory, in octets.
fn memory(process: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value =
        status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    let kibibytes: u64 = value.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes << 10)
}
