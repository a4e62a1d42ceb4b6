//! Name servers of others, each at port 53 of its addresses as it would run without sealdns, and at a second port that XDP does not
//! look at.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use sealdns::{cli::zone_file, zone::Zone};
use testbed::net::{self, Namespace, Process};

use super::{ADDRESS, CLIENT_ADDRESS, NOTIFY, PATIENCE, SECOND_PORT};

/// A server that stands behind sealdns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Knotd,
    Nsd,
    Named,
}

impl Kind {
    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Kind::Knotd => "knotd",
            Kind::Nsd => "nsd",
            Kind::Named => "named",
        }
    }

    /// Its configuration, how it is told where that is, and what its log says once it serves.
    fn set_up(
        self,
        folder: &Path,
        zones: &[&str],
    ) -> Result<(String, &'static [&'static str], &'static str)> {
        Ok(match self {
            Kind::Knotd => (knotd(folder, zones)?, &["-c"], "server started"),
            Kind::Nsd => (nsd(folder, zones)?, &["-d", "-c"], "nsd started"),
            Kind::Named => (named(folder, zones)?, &["-g", "-n", "1", "-c"], " running"),
        })
    }
}

/// One that runs.
pub struct Peer {
    pub process: Process,
    folder: PathBuf,
}

impl Peer {
    /// Runs it over zones.
    pub fn start(
        kind: Kind,
        namespace: &Namespace,
        folder: &Path,
        zones: &[&Zone],
    ) -> Result<Self> {
        let names: Vec<String> = zones.iter().map(|zone| name_of(zone)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (config, arguments, started) = kind.set_up(folder, &names)?;
        let path = folder.join("server.conf");
        fs::write(&path, config)?;
        fs::create_dir(folder.join("knotd"))?;
        for zone in zones {
            zone_file::write_zone(&file_of(folder, zone), zone)?;
        }
        let binary = net::find_program(kind.program()).context("no such program")?;
        let mut command = Command::new(binary);
        let mut process = namespace.spawn(kind.program(), command.args(arguments).arg(&path))?;
        process.wait_for_line(PATIENCE, |line| line.contains(started))?;
        Ok(Self { process, folder: folder.to_owned() })
    }

    /// Has it serve another version of a zone.
    pub fn change(&self, zone: &Zone) -> Result<()> {
        let path = file_of(&self.folder, zone);
        let before = fs::metadata(&path)?.modified()?;
        zone_file::write_zone(&path, zone)?;
        // nsd looks at whole seconds of the time of the file.
        let file = fs::File::options().write(true).open(&path)?;
        file.set_modified(before + Duration::from_secs(2))?;
        self.process.signal(Signal::SIGHUP)
    }
}

/// The name of a zone, without the dot at its end.
fn name_of(zone: &Zone) -> String {
    zone.apex().to_string().trim_end_matches('.').to_owned()
}

fn file_of(folder: &Path, zone: &Zone) -> PathBuf {
    folder.join(format!("{}.zone", name_of(zone)))
}

fn knotd(folder: &Path, zones: &[&str]) -> Result<String> {
    let here = folder.display();
    let (notify, port) = NOTIFY;
    let mut config = format!(
        "server:\n  listen: [127.0.0.1@53, {ADDRESS}@53, {ADDRESS}@{SECOND_PORT}]\n  rundir: {here}\n  \
         pidfile: {here}/knotd.pid\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {here}/knotd\nlog:\n  - target: stderr\n    any: info\n\
         remote:\n  - id: sealdns\n    address: {notify}@{port}\n    via: 127.0.0.1\n\
         acl:\n  - id: transfer\n    address: [127.0.0.1, {CLIENT_ADDRESS}]\n    action: transfer\nzone:\n"
    );
    for zone in zones {
        write!(
            config,
            "  - domain: {zone}.\n    file: {here}/{zone}.zone\n    zonefile-sync: -1\n    \
             zonefile-load: difference\n    journal-content: changes\n    notify: sealdns\n    \
             acl: transfer\n"
        )?;
    }
    Ok(config)
}

fn nsd(folder: &Path, zones: &[&str]) -> Result<String> {
    let here = folder.display();
    let (notify, port) = NOTIFY;
    // Debian's has a rate limit, which a test would run into.
    let mut config = format!(
        "server:\n  ip-address: 127.0.0.1\n  ip-address: {ADDRESS}\n  ip-address: {ADDRESS}@{SECOND_PORT}\n  \
         username: \"\"\n  chroot: \"\"\n  zonesdir: \"{here}\"\n  database: \"\"\n  \
         pidfile: \"{here}/nsd.pid\"\n  xfrdfile: \"{here}/nsd.xfrd\"\n  \
         zonelistfile: \"{here}/nsd.list\"\n  xfrdir: \"{here}\"\n  server-count: 1\n  verbosity: 2\n  \
         ipv4-edns-size: 1232\n  minimal-responses: yes\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n\
         remote-control:\n  control-enable: no\n"
    );
    for zone in zones {
        write!(
            config,
            "zone:\n  name: {zone}\n  zonefile: {zone}.zone\n  provide-xfr: 127.0.0.1 NOKEY\n  \
             provide-xfr: {CLIENT_ADDRESS} NOKEY\n  notify: {notify}@{port} NOKEY\n"
        )?;
    }
    Ok(config)
}

fn named(folder: &Path, zones: &[&str]) -> Result<String> {
    let here = folder.display();
    let (notify, port) = NOTIFY;
    let mut config = format!(
        "options {{\n  directory \"{here}\";\n  pid-file none;\n  session-keyfile none;\n  \
         listen-on port 53 {{ 127.0.0.1; {ADDRESS}; }};\n  listen-on port {SECOND_PORT} {{ {ADDRESS}; }};\n  \
         listen-on-v6 {{ none; }};\n  recursion no;\n  empty-zones-enable no;\n  minimal-responses yes;\n  \
         notify explicit;\n  notify-delay 0;\n  notify-source 127.0.0.1;\n  \
         allow-transfer {{ 127.0.0.1; {CLIENT_ADDRESS}; }};\n}};\ncontrols {{ }};\n"
    );
    for zone in zones {
        writeln!(
            config,
            "zone \"{zone}\" {{ type primary; file \"{here}/{zone}.zone\"; also-notify {{ {notify} port {port}; }}; }};"
        )?;
    }
    Ok(config)
}
