//! What commands print, and how they end.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::config::ConfigError;
use crate::control::client::CallError;
use crate::control::protocol::{Failure, SAME_VERSION};
use crate::control::reply::{FailedCommand, SCHEMA};

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
            CallError::Misunderstood { .. } => {
                let failure = Failure::new("version", error.to_string()).with_hint(SAME_VERSION);
                CliError { exit: Exit::Failed, failure }
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
    pub fn data<T: Serialize>(&self, data: &T, text: impl FnOnce(&T) -> String) {
        if self.json {
            print_json(data);
        } else {
            print(&text(data));
        }
    }

    /// The same for one of many, of which the last that is read is the last that is wanted: the error says that nobody
    /// reads any more.
    pub fn stream<T: Serialize>(
        &self,
        data: &T,
        text: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        let text = if self.json { format!("{}\n", json(data)) } else { text(data) };
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Prints an error.
    pub fn error(&self, failure: &Failure) {
        if self.json {
            print_json(&FailedCommand { error: failure.clone() });
            return;
        }
        let mut text = format!("error: {}\n", failure.message);
        if let Some(hint) = &failure.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// What commands print, with the version of it.
#[derive(Serialize)]
struct WithSchema<'a, T> {
    schema: u32,
    #[serde(flatten)]
    data: &'a T,
}

/// Data as one line of JSON.
pub(super) fn json(data: &impl Serialize) -> String {
    // It is made of numbers, words, lists and objects of these: nothing that JSON has not.
    serde_json::to_string(&WithSchema { schema: SCHEMA, data }).unwrap_or_default()
}

/// Prints data as one line of JSON.
pub(super) fn print_json(data: &impl Serialize) {
    print_line(json(data));
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

/// A table without borders; empty if there are no rows.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    if table.row_count() == 0 { String::new() } else { format!("{}\n", table.trim_fmt()) }
}

/// A value as it stands in a table; `-` for none.
pub fn cell(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Values as they stand in a table; `-` for none.
pub fn list_cell(values: &[impl Display]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    if values.is_empty() { "-".into() } else { values.join(", ") }
}

/// The word for a value of one of a few kinds, as JSON has it; what else is text, without quotes.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Seconds since 1970 as a date and time in UTC; `-` for none.
pub fn time_cell(seconds: Option<impl Into<u64>>) -> String {
    seconds
        .and_then(|seconds| i64::try_from(seconds.into()).ok())
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "-".into(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
