//! What commands print, and how they end.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::config::ConfigError;
use crate::control::client::CallError;
use crate::control::protocol::Failure;

/// The version of the JSON that commands print.
const SCHEMA: u32 = 1;

/// Exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// A check found problems.
    Problems = 3,
    /// The daemon cannot be reached.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// How a command ends that did what it should.
pub type CommandResult = Result<Exit, CliError>;

/// How a command ends that did not.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What is printed.
    pub failure: Failure,
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> CliError {
        match error {
            CallError::Refused(failure) => CliError { exit: Exit::Failed, failure },
            CallError::Unreachable { ref source, .. } => {
                let hint = match source.kind() {
                    std::io::ErrorKind::PermissionDenied => {
                        "only the daemon's user and root may use the control socket"
                    }
                    _ => "is it running (`sealdns run`), and is --config or --control right?",
                };
                let failure = Failure::new("unreachable", error.to_string()).with_hint(hint);
                CliError { exit: Exit::Unreachable, failure }
            }
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> CliError {
        let hint = error.hint().map(str::to_owned);
        let failure = Failure { code: "config".into(), message: error.to_string(), hint };
        CliError { exit: Exit::Failed, failure }
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> CliError {
        match error.downcast::<ConfigError>() {
            Ok(error) => error.into(),
            Err(error) => CliError {
                exit: Exit::Failed,
                failure: Failure::new("failed", format!("{error:#}")),
            },
        }
    }
}

/// Where data and errors go.
pub struct Output {
    json: bool,
}

impl Output {
    /// As JSON or as text.
    pub fn new(json: bool) -> Output {
        Output { json }
    }

    /// Prints `data` as one line of JSON, or as `text` makes it, which ends its lines itself.
    pub fn data(&self, data: Value, text: impl FnOnce(&Value) -> String) {
        if self.json {
            print(&format!("{}\n", with_schema(data)));
        } else {
            print(&text(&data));
        }
    }

    /// Prints an error.
    pub fn error(&self, failure: &Failure) {
        if self.json {
            print(&format!("{}\n", json!({ "schema": SCHEMA, "error": failure })));
            return;
        }
        let mut text = format!("error: {}\n", failure.message);
        if let Some(hint) = &failure.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// Prints a line to stdout.
pub(super) fn print_line(line: impl Display) {
    print(&format!("{line}\n"));
}

/// Prints to stdout. Who reads it may go away early (`| head`): that is no failure of ours.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn with_schema(data: Value) -> Value {
    match data {
        Value::Object(mut fields) => {
            fields.insert("schema".into(), SCHEMA.into());
            Value::Object(fields)
        }
        list => json!({ "schema": SCHEMA, "items": list }),
    }
}

/// A table without borders; empty if there are no rows.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    if table.row_count() == 0 { String::new() } else { format!("{}\n", table.trim_fmt()) }
}

/// A value as it stands in a table.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Seconds since 1970 as a date and time in UTC; `-` for none.
pub fn time_cell(value: &Value) -> String {
    value
        .as_i64()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "-".into(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
