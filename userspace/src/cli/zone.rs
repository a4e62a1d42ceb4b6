//! `sealdns zone`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{CliError, CommandResult, Exit, Output, cell, table, time_cell};
use super::{Global, PATIENCE, RELOAD_PATIENCE};
use crate::clock::now;
use crate::control::protocol::{Failure, Request};
use crate::daemon::prepare;
use crate::zone::{Name, NameError};

/// What to do with zones.
#[derive(Subcommand, Debug)]
pub enum ZoneCommand {
    /// List the daemon's zones
    List,
    /// Show one zone of the daemon; if it is not up to date, why
    Status {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: String,
    },
    /// Load a zone again; without a name the configuration and all zones whose files changed
    Reload {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: Option<String>,
    },
    /// Check a zone file, and its signatures if it is signed (exit 3 if there are problems)
    Check {
        /// The zone file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The zone's name [default: the file's name without .zone, .db or .signed]
        #[arg(long, value_name = "NAME")]
        zone: Option<String>,
    },
}

/// Does it.
pub fn run(command: &ZoneCommand, global: &Global, output: &Output) -> CommandResult {
    match command {
        ZoneCommand::List => {
            let zones = global.call(&Request::ZoneList, PATIENCE)?;
            output.data(json!({ "zones": zones }), |data| {
                let head = ["zone", "state", "dnssec", "serial", "signatures expire"];
                let zones = data["zones"].as_array().into_iter().flatten();
                let shown = table(
                    &head,
                    zones.map(|zone| {
                        let mut row: Vec<String> = ["zone", "state", "dnssec", "serial"]
                            .iter()
                            .map(|field| cell(&zone[*field]))
                            .collect();
                        row.push(time_cell(&zone["expiration"]));
                        row
                    }),
                );
                if shown.is_empty() {
                    return "no zone is configured\n".into();
                }
                format!("{shown}{}", progress(&data["zones"]))
            });
            Ok(Exit::Ok)
        }
        ZoneCommand::Status { zone } => {
            let status = global.call(&Request::ZoneStatus { zone: zone.clone() }, PATIENCE)?;
            output.data(status, status_text);
            Ok(Exit::Ok)
        }
        ZoneCommand::Reload { zone } => {
            let request = Request::ZoneReload { zone: zone.clone() };
            let changes = global.call(&request, RELOAD_PATIENCE)?;
            let failed = changes
                .as_array()
                .is_some_and(|changes| changes.iter().any(|zone| zone["change"] == "failed"));
            output.data(json!({ "zones": changes }), |data| {
                let zones = data["zones"].as_array().into_iter().flatten();
                zones
                    .map(|zone| match zone["error"].as_str() {
                        None => format!("{}: {}\n", cell(&zone["zone"]), cell(&zone["change"])),
                        Some(error) => format!("{}: failed: {error}\n", cell(&zone["zone"])),
                    })
                    .collect()
            });
            Ok(if failed { Exit::Failed } else { Exit::Ok })
        }
        ZoneCommand::Check { file, zone } => check(file, zone.as_deref(), output),
    }
}

/// How far loading is, while it is not done.
fn progress(zones: &Value) -> String {
    let zones = zones.as_array().map_or(&[][..], Vec::as_slice);
    let loading = zones.iter().filter(|zone| zone["state"] == "loading").count();
    match loading {
        0 => String::new(),
        _ => format!("loading: {} of {} zones were tried\n", zones.len() - loading, zones.len()),
    }
}

fn status_text(status: &Value) -> String {
    let fields = status.as_object().into_iter().flatten();
    fields
        .filter(|(_, value)| !value.is_null())
        .map(|(field, value)| {
            let shown = match field.as_str() {
                "expiration" | "loaded_at" | "resign_at" => time_cell(value),
                _ => cell(value),
            };
            format!("{:16} {shown}\n", field.replace('_', "-"))
        })
        .collect()
}

fn check(file: &Path, zone: Option<&str>, output: &Output) -> CommandResult {
    let apex = match zone {
        Some(text) => text.parse().map_err(|error: NameError| usage(error.to_string()))?,
        None => name_of_file(file).ok_or_else(|| {
            usage(format!("{} does not tell the zone's name: add --zone NAME", file.display()))
        })?,
    };
    let report = prepare::check(file, &apex, now());
    let is_ok = report.is_ok();
    let findings = report.findings.iter().map(|finding| {
        json!({
            "file": finding.place.file,
            // Of the file as a whole there is no line.
            "line": (finding.place.line > 0).then_some(finding.place.line),
            "column": (finding.place.line > 0).then_some(finding.place.column),
            "severity": finding.severity.word(),
            "code": finding.code,
            "message": finding.message,
        })
    });
    let data = json!({
        "ok": is_ok,
        "zone": apex.to_string(),
        "serial": report.serial,
        "records": report.records,
        "signed": report.is_signed,
        "findings": findings.collect::<Vec<_>>(),
        "more": report.has_more,
    });
    output.data(data, |_| {
        let findings = report.findings.iter().map(|finding| format!("{}\n", finding.text));
        let mut text: String = findings.collect();
        if report.has_more {
            text.push_str("and there may be more\n");
        }
        if let (true, Some(serial), Some(records)) = (is_ok, report.serial, report.records) {
            let signed = if report.is_signed { "signed and verified" } else { "not signed" };
            text.push_str(&format!("{apex} serial {serial}: {records} records, {signed}\n"));
        }
        text
    });
    Ok(if is_ok { Exit::Ok } else { Exit::Problems })
}

fn usage(message: String) -> CliError {
    CliError { exit: Exit::Usage, failure: Failure::new("usage", message) }
}

/// `example.com` of `zones/example.com.zone`.
fn name_of_file(file: &Path) -> Option<Name> {
    let name = file.file_name()?.to_str()?;
    let mut name = name.strip_prefix("db.").unwrap_or(name);
    for ending in [".signed", ".zone", ".db"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_named_by_their_files() {
        for file in
            ["z/example.com.zone", "db.example.com", "example.com.zone.signed", "example.com"]
        {
            let name = name_of_file(Path::new(file)).map(|name| name.to_string());
            assert_eq!(name.as_deref(), Some("example.com."), "{file}");
        }
    }
}
