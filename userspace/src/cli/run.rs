//! `sealdns run`.

use super::output::{CommandResult, Exit};
use super::{Global, logging};
use crate::{daemon, datapath};

/// What is printed to stderr when all is served; with `--json` every line there is JSON.
const READY: &str = "ready";
const READY_JSON: &str = r#"{"schema":1,"ready":true}"#;

/// Runs the daemon until it is told to stop.
pub fn run(global: &Global) -> CommandResult {
    logging::start(global.json);
    let ready = if global.json { READY_JSON } else { READY };
    daemon::run(&global.config_path(), global.control.as_deref(), ready, datapath::open)?;
    Ok(Exit::Ok)
}
