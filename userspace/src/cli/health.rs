//! `sealdns health`.

use serde_json::{Value, json};

use super::output::{CommandResult, Exit, Output};
use super::{Global, PATIENCE};
use crate::control::protocol::Request;

/// Asks the daemon whether every zone is served, fresh and with valid signatures.
pub fn run(global: &Global, output: &Output) -> CommandResult {
    let status = global.call(&Request::Status, PATIENCE)?;
    let mut problems = Vec::new();
    for (field, what) in [
        ("zones_failed", "could not be brought up to date (`sealdns zone status` says why)"),
        ("zones_expired", "has expired signatures"),
    ] {
        for zone in status[field].as_array().into_iter().flatten().filter_map(Value::as_str) {
            problems.push(format!("the zone {zone} {what}"));
        }
    }
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
