//! `sealdns health`.

use super::output::{CommandResult, Exit, Output};
use super::{Global, PATIENCE};
use crate::control::protocol::Request;
use crate::control::reply::status::{Health, Status};

/// Asks the daemon what is wrong with it: its zones, their signatures, where XDP is attached.
pub fn run(global: &Global, output: &Output) -> CommandResult {
    let status: Status = global.call(&Request::Status, PATIENCE)?;
    let health = Health::from(status);
    output.data(&health, text);
    Ok(if health.healthy { Exit::Ok } else { Exit::Problems })
}

fn text(health: &Health) -> String {
    if health.healthy {
        format!("healthy; zones: {}\n", health.status.zones)
    } else {
        health.problems.iter().map(|problem| format!("{problem}\n")).collect()
    }
}
