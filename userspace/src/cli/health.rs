//! `sealdns health`.

use anyhow::Context;
use serde_json::json;

use super::output::{CommandResult, Exit, Output};
use super::{Global, PATIENCE};
use crate::control::protocol::Request;
use crate::daemon::health::Problem;

/// Asks the daemon what is wrong with it: its zones, their signatures, where XDP is attached.
pub fn run(global: &Global, output: &Output) -> CommandResult {
    let status = global.call(&Request::Status, PATIENCE)?;
    let problems = serde_json::from_value::<Vec<Problem>>(status["problems"].clone());
    let problems =
        problems.context("this version cannot read the problems that the daemon reports")?;
    let is_healthy = problems.is_empty();
    let data = json!({ "healthy": is_healthy, "problems": problems, "status": status });
    output.data(data, |_| {
        if is_healthy {
            format!("healthy; zones: {}\n", status["zones"])
        } else {
            problems.iter().map(|problem| format!("{problem}\n")).collect()
        }
    });
    Ok(if is_healthy { Exit::Ok } else { Exit::Problems })
}
