//! The command line.
//!
//! Data goes to stdout, messages to stderr. With `--json` both data and errors are JSON on stdout.

mod cache;
mod config;
mod front;
mod health;
pub mod key;
mod logging;
mod output;
mod pins;
mod probe;
mod ratelimit;
mod run;
pub mod sign;
mod stats;
mod time;
mod trace;
pub mod verify;
mod xdp;
mod zone;
pub mod zone_file;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

use crate::config::{Config, DEFAULT_CONTROL, DEFAULT_PATH};
use crate::control::client;
use crate::control::protocol::{Failure, Request};
use crate::control::reply::{self, status::Stopping};
use crate::daemon;
use crate::datapath::loader::process as loader;
use output::{CliError, Exit, Output};

/// How long the daemon may take to answer what it answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the daemon may take to load zones: a few million records to sign.
const RELOAD_PATIENCE: Duration = Duration::from_secs(3600);

/// An authoritative DNS edge that answers DNSSEC-signed zones from XDP
#[derive(Parser, Debug)]
#[command(name = "sealdns", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check found problems, \
                          4 the daemon cannot be reached.";

#[derive(Args, Debug)]
struct Global {
    /// Print data and errors as JSON
    #[arg(long, global = true)]
    json: bool,
    /// The daemon's configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The daemon's control socket [default: the one that the configuration names]
    #[arg(long, global = true, value_name = "SOCKET")]
    control: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the daemon; prints "ready" to stderr when it serves
    Run,
    /// Sign a zone file offline; keys are made on first use
    Sign(sign::SignArgs),
    /// Check the signatures of a zone file and its NSEC or NSEC3 chain (exit 3 if faults are found)
    Verify(verify::VerifyArgs),
    /// Keys: generate, list, ds, dnskey
    Key(key::KeyArgs),
    /// Zones: list, status, reload, check
    #[command(subcommand)]
    Zone(zone::ZoneCommand),
    /// In front of a name server that runs on this host: init
    #[command(subcommand)]
    Front(front::FrontCommand),
    /// XDP: probe, attach, detach, status, trace
    #[command(subcommand)]
    Xdp(xdp::XdpCommand),
    /// Compiled zones in the maps: status, lookup, explain, verify
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Rate limits: show, set, mode, reset, exempt, block, top, explain, test, import
    #[command(subcommand, name = "ratelimit")]
    RateLimit(ratelimit::RateLimitCommand),
    /// Show the counters of XDP and of the daemon's sockets
    Stats(stats::StatsArgs),
    /// Show what is wrong with the daemon, its zones and XDP (exit 3 if anything is, 4 without a daemon)
    Health,
    /// Configuration: template, check
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// End the daemon: XDP is detached and open connections finish
    Stop,
    /// The daemon's process that loads programs; only the daemon starts it
    #[command(name = loader::COMMAND, hide = true)]
    Loader,
}
/// Parses the arguments, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    if let Err(error) = no_core_dumps() {
        eprintln!("warning: a crash may leave keys in a core dump: {error}");
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // The offline commands have a `--json` of their own, behind which the global one is hidden.
    let wants_json = cli.global.json || wants_json();
    let output = Output::new(wants_json);
    match cli.dispatch(&output) {
        Ok(exit) => exit,
        Err(error) => {
            output.error(&error.failure);
            error.exit.into()
        }
    }
}

/// Keys are in memory, and in what a crash would leave of it: neither a file (RLIMIT_CORE) nor a program that
/// collects crashes (core(5), which asks whether a process is dumpable) gets that, nor another process of the
/// same user (ptrace(2)).
fn no_core_dumps() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    set_dumpable(false)
}

impl Cli {
    fn dispatch(self, output: &Output) -> Result<ExitCode, CliError> {
        let global = &self.global;
        if !matches!(self.command, Command::Run) {
            daemon::let_hangup_come();
        }
        let result = match self.command {
            Command::Sign(mut args) => {
                args.json |= global.json;
                return Ok(sign::run(&args)?);
            }
            Command::Verify(mut args) => {
                args.json |= global.json;
                return Ok(verify::run(&args)?);
            }
            Command::Key(mut args) => {
                args.command.of().json |= global.json;
                key::run(&args, global)
            }
            Command::Run => run::run(global),
            Command::Zone(command) => zone::run(&command, global, output),
            Command::Xdp(command) => xdp::run(&command, global, output),
            Command::Cache(command) => cache::run(&command, global, output),
            Command::RateLimit(command) => ratelimit::run(command, global, output),
            Command::Stats(args) => stats::run(&args, global, output),
            Command::Health => health::run(global, output),
            Command::Config(command) => config::run(&command, output),
            Command::Front(command) => front::run(&command, output),
            Command::Loader => {
                loader::main()?;
                Ok(Exit::Ok)
            }
            Command::Stop => {
                let stopping: Stopping = global.call(&Request::Stop, PATIENCE)?;
                output.data(&stopping, |_| "the daemon is stopping\n".to_owned());
                Ok(Exit::Ok)
            }
        };
        result.map(ExitCode::from)
    }
}

impl Global {
    /// The configuration file: as told, or where it usually is.
    fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| DEFAULT_PATH.into())
    }

    /// The control socket: as told, or as the configuration says, or where it usually is.
    fn control_path(&self) -> Result<PathBuf, CliError> {
        if let Some(control) = &self.control {
            return Ok(control.clone());
        }
        match Config::load(&self.config_path()) {
            Ok(config) => Ok(config.server.control),
            // Only a file that was asked for must be there and right.
            Err(error) if self.config.is_some() => Err(error.into()),
            Err(_) => Ok(DEFAULT_CONTROL.into()),
        }
    }

    fn call<K: reply::Kind>(&self, request: &Request, patience: Duration) -> Result<K, CliError> {
        Ok(client::call(&self.control_path()?, request, patience)?)
    }
}

/// Data as `--json` prints it, without the end of the line.
#[cfg(test)]
pub fn printed(data: &impl serde::Serialize) -> String {
    output::json(data)
}

/// Help and version go to stdout; a wrong usage is exit code 2, in JSON if that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if wants_json() && !is_answer {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let failure = Failure::new("usage", message).with_hint("try `sealdns --help`");
        Output::new(true).error(&failure);
    } else {
        let _ = error.print();
    }
    if is_answer { Exit::Ok.into() } else { Exit::Usage.into() }
}

fn wants_json() -> bool {
    std::env::args_os().any(|argument| argument == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn json_stands_anywhere() {
        for arguments in
            [["sealdns", "--json", "zone", "list"], ["sealdns", "zone", "list", "--json"]]
        {
            assert!(Cli::try_parse_from(arguments).unwrap().global.json);
        }
    }
}
