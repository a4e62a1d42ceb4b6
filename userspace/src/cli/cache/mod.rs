//! `sealdns cache`.

mod explain;
mod lookup;
mod status;
mod verify;

use clap::Subcommand;

use super::output::{CommandResult, Exit, Output};
use super::{Global, PATIENCE};
use crate::control::protocol::Request;
use crate::control::reply::cache::CacheStatus;

/// What to do with compiled zones.
#[derive(Subcommand, Debug)]
pub enum CacheCommand {
    /// Show how full the maps are
    Status,
    /// Show the compiled records of a name, or of its closest encloser if the name does not exist
    Lookup(lookup::LookupArgs),
    /// Say step by step why a query is answered in XDP, passed up or dropped (exit 3 if the kernel does otherwise)
    Explain(explain::ExplainArgs),
    /// Check what the kernel would send: records, table, signatures, proofs (exit 3 if there are problems)
    Verify {
        /// The zone's name; without it all zones
        #[arg(value_name = "ZONE")]
        zone: Option<String>,
    },
}

/// Does it.
pub fn run(command: &CacheCommand, global: &Global, output: &Output) -> CommandResult {
    match command {
        CacheCommand::Status => status(global, output),
        CacheCommand::Lookup(args) => lookup::run(args, global, output),
        CacheCommand::Explain(args) => explain::run(args, global, output),
        CacheCommand::Verify { zone } => verify::run(zone.as_deref(), global, output),
    }
}

fn status(global: &Global, output: &Output) -> CommandResult {
    let status: CacheStatus = global.call(&Request::CacheStatus, PATIENCE)?;
    output.data(&status, status::shown);
    Ok(Exit::Ok)
}
