//! `sealdns run`.

use super::output::{CommandResult, Exit};
use super::{Global, logging};
use crate::{daemon, datapath};

/// Runs the daemon until it is told to stop.
pub fn run(global: &Global) -> CommandResult {
    logging::start(global.json);
    daemon::run(&global.config_path(), global.control.as_deref(), datapath::open)?;
    Ok(Exit::Ok)
}
