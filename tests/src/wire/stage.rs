//! The daemon as it is run, at the server's end of a pair: what nearly all tests over a wire stand on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use sealdns::control::reply::{read::Readable, xdp::XdpStatus};
use testbed::{
    net::{self, Process},
    servers::Server,
};
use tests::{harness::Verdict, servers};
use xdp_common::Outcome;

use super::{
    client::{client, server},
    pair::{self, Pair},
};

/// How long a process has for what it is told. It costs time only where something fails, so it is long enough for a
/// machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends, and the daemon at one of them. It is ended before its namespace goes.
pub struct Stage {
    pub server: Server,
    binary: PathBuf,
    pub pair: Pair,
    pub folder: tempfile::TempDir,
    /// How long it may take to be ready.
    patience: Duration,
}

/// Lines for `[server]` and `[xdp]`, and sections besides.
#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    pub server: &'a str,
    pub xdp: &'a str,
    pub sections: &'a str,
}

impl Settings<'static> {
    /// In the driver, or not at all.
    pub const NATIVE: Self = Settings { server: "", xdp: "mode = \"native\"", sections: "" };
}

/// A zone to be served: apex, file's text, further settings.
pub type Section<'a> = (&'a str, &'a str, &'a str);

/// Why a test that runs the daemon beside XDP cannot run, if it cannot.
pub fn obstacle() -> Option<Verdict> {
    pair::obstacle().or_else(|| {
        let missing = "no sealdns beside this test: `cargo xtask build`";
        servers::sealdns().is_none().then(|| Verdict::Skipped(missing.into()))
    })
}

impl Stage {
    /// Runs the daemon over these zones, with XDP on its end of the pair, and TCX behind it.
    pub fn new(test: &str, zones: &[Section<'_>]) -> Result<Self> {
        Self::with(&Settings::NATIVE, test, zones)
    }

    /// As [`Stage::new`], with these settings.
    pub fn with(settings: &Settings<'_>, test: &str, zones: &[Section<'_>]) -> Result<Self> {
        Self::with_patience(PATIENCE, settings, test, zones)
    }

    /// As [`Stage::with`]; loading the zones may take `patience`.
    pub fn with_patience(
        patience: Duration,
        settings: &Settings<'_>,
        test: &str,
        zones: &[Section<'_>],
    ) -> Result<Self> {
        let binary = servers::sealdns().context("no sealdns")?;
        Self::start(binary, patience, settings, test, zones)
    }

    /// As [`Stage::with`], by another program than the one that was built.
    pub fn by(
        binary: PathBuf,
        settings: &Settings<'_>,
        test: &str,
        zones: &[Section<'_>],
    ) -> Result<Self> {
        Self::start(binary, PATIENCE, settings, test, zones)
    }

    fn start(
        binary: PathBuf,
        patience: Duration,
        settings: &Settings<'_>,
        test: &str,
        zones: &[Section<'_>],
    ) -> Result<Self> {
        let (pair, folder) = (Pair::new(test)?, tempfile::tempdir()?);
        configure(folder.path(), settings, zones)?;
        let process = start(&binary, &pair, folder.path(), patience)?;
        let server = Server { address: server(0)?, process };
        Ok(Self { server, binary, pair, folder, patience })
    }

    /// Runs the daemon again, after it has ended.
    pub fn restart(&mut self) -> Result<()> {
        self.server.process = start(&self.binary, &self.pair, self.folder.path(), self.patience)?;
        Ok(())
    }

    /// Ends the daemon and runs it again over the same files.
    pub fn restart_in_order(&mut self) -> Result<()> {
        self.server.process.signal(Signal::SIGTERM)?;
        let ended = || self.server.process.ended().is_ok_and(|status| status.is_some());
        net::wait_until("the daemon has ended", PATIENCE, ended)?;
        self.restart()
    }

    /// How often XDP has sent a frame back, as the driver counts.
    pub fn sent_by_xdp(&self) -> Result<u64> {
        self.pair.server.enter(|| net::xdp_transmitted("server"))?
    }

    /// How many answers TCX has sent, as the daemon counts.
    pub fn sent_by_tcx(&self) -> Result<u64> {
        let counters = self.reply::<XdpStatus>(&["xdp", "status"])?.counters.tcx;
        Ok(counters.context("no counters of TCX")?.outcomes.sum(Outcome::is_answered))
    }

    /// Runs a command that must succeed, and reads what it says in JSON.
    pub fn reply<T: Readable>(&self, arguments: &[&str]) -> Result<T> {
        let (code, said) = self.ended(arguments)?;
        ensure!(code == 0, "{arguments:?}: {code}");
        Ok(said)
    }

    /// The same with the exit code, whatever it is.
    pub fn ended<T: Readable>(&self, arguments: &[&str]) -> Result<(i32, T)> {
        let output = self.command(&[arguments, &["--json"]].concat())?;
        let code = output.status.code().with_context(|| format!("{arguments:?}: {output:?}"))?;
        Ok((code, servers::reply_of(&output).with_context(|| format!("{arguments:?}"))?))
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs a command of `sealdns` for this daemon.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--config").arg(self.folder.path().join("sealdns.toml"));
        self.pair.server.output(&mut command, PATIENCE)
    }

    /// As [`Stage::command`], but without reading the configuration, which may have many zones.
    pub fn command_by_socket(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--control").arg(self.folder.path().join("control.sock"));
        self.pair.server.output(&mut command, PATIENCE)
    }

    /// What dig prints about a transfer of the zone, asked for from this address of the client.
    pub fn transfer(&self, zone: &str, family: usize) -> Result<String> {
        let mut dig = Command::new("dig");
        dig.args(["-b", &client(family)?.to_string(), &format!("@{}", server(family)?.ip())])
            .args([zone, "AXFR", "+noall", "+answer", "+comments", "+tries=1", "+time=5"]);
        let output = self.pair.client.output(&mut dig, PATIENCE)?;
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Writes the daemon's configuration, and the files of its zones.
pub fn configure(folder: &Path, settings: &Settings<'_>, zones: &[Section<'_>]) -> Result<()> {
    let Settings { server: server_lines, xdp, sections } = settings;
    let mut config = format!(
        "version = \"v1\"\n[server]\nlisten = [\"{}\", \"{}\"]\ncontrol = \"control.sock\"\n\
         state-dir = \"state\"\n{server_lines}\n[xdp]\ninterfaces = [\"server\"]\n{xdp}\n{sections}\n",
        server(0)?,
        server(1)?
    );
    for (apex, text, more) in zones {
        fs::write(folder.join(format!("{apex}.zone")), text)?;
        config += &format!("[[zone]]\nname = \"{apex}\"\nfile = \"{apex}.zone\"\n{more}\n");
    }
    Ok(fs::write(folder.join("sealdns.toml"), config)?)
}

fn start(binary: &Path, pair: &Pair, folder: &Path, patience: Duration) -> Result<Process> {
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(folder.join("sealdns.toml"));
    let mut process = pair.server.spawn("sealdns", &mut command)?;
    process.wait_for_line(patience, |line| line.trim() == "ready")?;
    Ok(process)
}
