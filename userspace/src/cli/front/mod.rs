//! `sealdns front`: in front of a name server that already runs on this host.

mod init;

use std::path::PathBuf;

use clap::Subcommand;

use super::output::{CommandResult, Output};

/// What to do about the server that sealdns stands in front of.
#[derive(Subcommand, Debug)]
pub enum FrontCommand {
    /// Read the server's configuration (named.conf, knot.conf, nsd.conf or pdns.conf), and print one for sealdns and the
    /// lines that the server needs
    Init {
        /// The server's configuration file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose it is [default: what it looks like]
        #[arg(long, value_name = "SERVER")]
        from: Option<init::Server>,
        /// A file with further zones, a name in each line; `-`: standard input
        #[arg(long, value_name = "FILE")]
        zones: Option<PathBuf>,
        /// Do not ask the server which zones are signed
        #[arg(long)]
        offline: bool,
    },
}

/// Does it.
pub fn run(command: &FrontCommand, output: &Output) -> CommandResult {
    match command {
        FrontCommand::Init { file, from, zones, offline } => {
            init::run(file, *from, zones.as_deref(), *offline, output)
        }
    }
}
