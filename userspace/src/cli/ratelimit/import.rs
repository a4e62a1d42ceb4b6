//! `sealdns ratelimit import`: what BIND's and Knot's configurations say of rate limits, in our words.

use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::output::{CliError, CommandResult, Exit, Output};
use crate::config::{Config, ConfigError};
use crate::control::protocol::Failure;
use crate::ratelimit::import::{self, translate};

/// Whose configuration it is.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// BIND's named.conf
    Bind,
    /// Knot's knot.conf
    Knot,
}

impl Peer {
    fn whose(self) -> import::Peer {
        match self {
            Peer::Bind => import::Peer::Bind,
            Peer::Knot => import::Peer::Knot,
        }
    }
}

/// The section that another's configuration becomes.
#[derive(Serialize)]
struct ImportReport {
    from: &'static str,
    section: String,
    /// What is not in it, since there is nothing like it.
    without_equivalent: Vec<String>,
}

/// Prints the section.
pub fn run(file: &Path, from: Option<Peer>, output: &Output) -> CommandResult {
    let failed =
        |message: String| CliError { exit: Exit::Failed, failure: Failure::new("import", message) };
    let (peer, section) =
        translate(file, from.map(Peer::whose)).map_err(|fault| failed(fault.to_string()))?;
    let written = section.write();
    // What is printed must be taken by the daemon.
    let config = format!("version = \"v1\"\n{written}");
    if let Err(ConfigError::Invalid { message, source_line, .. }) = Config::parse(&config, file) {
        return Err(failed(format!("{}: {source_line}: {message}", file.display())));
    }
    let from = if peer == import::Peer::Bind { "bind" } else { "knot" };
    let imported = ImportReport { from, section: written, without_equivalent: section.notes };
    output.data(&imported, |imported| imported.section.clone());
    Ok(Exit::Ok)
}
