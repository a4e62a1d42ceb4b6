//! `sealdns ratelimit`.

mod import;
mod replay;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::output::{CliError, CommandResult, Exit, Output, cell};
use super::{Global, PATIENCE};
use crate::config::Period;
use crate::control::protocol::{Failure, MAX_REQUEST, Request};
use crate::control::ratelimit::RateLimitAction;

/// What to do with rate limits.
#[derive(Subcommand, Debug)]
pub enum RateLimitCommand {
    /// Show what is in effect; what differs from the configuration file is marked
    Show,
    /// Change settings of [ratelimit], all or none, at once and without a reload
    Set {
        /// Settings, such as rate=20 nxdomain-rate=5 window=15s
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        save: Save,
    },
    /// Switch limits off or on, or only count
    Mode {
        /// The mode
        #[arg(value_enum)]
        mode: Mode,
        #[command(flatten)]
        save: Save,
    },
    /// Forget what was changed; with --save also what was saved
    Reset {
        #[command(flatten)]
        save: Save,
    },
    /// Clients that are never limited: add, del, list
    #[command(subcommand)]
    Exempt(ExemptCommand),
    /// Prefixes and names that get no answer: add, del, list
    #[command(subcommand)]
    Block(BlockCommand),
    /// List netblocks that are limited, or near it
    Top {
        /// Show at most this many
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        limit: usize,
    },
    /// Say what is done to a netblock, and since when (exit 3 if it is limited or blocked)
    Explain {
        /// A prefix or an address
        #[arg(value_name = "PREFIX")]
        prefix: String,
    },
    /// Replay a capture (pcap, pcapng) through the limiter: who would be slipped or dropped
    ///
    /// The capture's own times count. The policy is that of the configuration file with --set on top, and
    /// of its zones with [zone.ratelimit]; the mode is on, but not where a zone says that it is off. If responses are in the capture (UDP from port 53) their classes count. If there are only
    /// queries, each counts as an answer of 512 octets, of class any, dnskey or positive by its QTYPE:
    /// names that do not exist cannot be told.
    Test(replay::TestArgs),
    /// Print the [ratelimit] section for BIND's named.conf (rate-limit) or Knot's knot.conf (mod-rrl)
    Import {
        /// The configuration file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Which server the file is of [default: recognised by its content]
        #[arg(long, value_enum)]
        from: Option<import::Peer>,
    },
}

/// How long a change lasts.
#[derive(Args, Debug)]
pub struct Save {
    /// Keep it beyond a restart (in the daemon's state-dir)
    #[arg(long)]
    save: bool,
}

/// The modes.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Mode {
    /// Everybody is answered
    Off,
    /// Everybody is answered, and clients that would be limited are counted
    DryRun,
    /// Limits are kept
    On,
}

/// What to do with exempt prefixes.
#[derive(Subcommand, Debug)]
pub enum ExemptCommand {
    /// Exempt prefixes
    Add {
        /// Prefixes or addresses
        #[arg(value_name = "PREFIX", required = true)]
        prefixes: Vec<String>,
        #[command(flatten)]
        save: Save,
    },
    /// Do not exempt them any longer
    Del {
        /// Prefixes or addresses
        #[arg(value_name = "PREFIX", required = true)]
        prefixes: Vec<String>,
        #[command(flatten)]
        save: Save,
    },
    /// List them
    List,
}

/// What to do with blocks.
#[derive(Subcommand, Debug)]
pub enum BlockCommand {
    /// Drop queries from prefixes, and for names and what is below them
    Add {
        /// Prefixes, addresses or names
        #[arg(value_name = "PREFIX|NAME", required = true)]
        targets: Vec<String>,
        /// For so long, such as 1h [default: until it is deleted]
        #[arg(long = "for", value_name = "TIME", value_parser = period)]
        period: Option<Period>,
        /// Only count what would be dropped
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        save: Save,
    },
    /// Do not block them any longer
    Del {
        /// Prefixes, addresses or names
        #[arg(value_name = "PREFIX|NAME", required = true)]
        targets: Vec<String>,
        #[command(flatten)]
        save: Save,
    },
    /// List them
    List,
}

fn period(text: &str) -> Result<Period, String> {
    Period::from_text(text).ok_or_else(|| "write for example \"10m\", \"1h30m\", \"2w\"".to_owned())
}

/// Does it.
pub fn run(command: RateLimitCommand, global: &Global, output: &Output) -> CommandResult {
    let (request, text): (RateLimitAction, fn(&Value) -> String) = match command {
        RateLimitCommand::Show => (RateLimitAction::Show, show::policy),
        RateLimitCommand::Set { settings, save } => {
            (RateLimitAction::Set { settings: pairs(&settings)?, save: save.save }, done)
        }
        RateLimitCommand::Mode { mode, save } => {
            let word = mode
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned());
            let settings = vec![("mode".to_owned(), word)];
            (RateLimitAction::Set { settings, save: save.save }, done)
        }
        RateLimitCommand::Reset { save } => (RateLimitAction::Reset { save: save.save }, done),
        RateLimitCommand::Exempt(ExemptCommand::List) => {
            (RateLimitAction::ExemptList, show::exempt)
        }
        RateLimitCommand::Exempt(ExemptCommand::Add { prefixes, save }) => {
            (RateLimitAction::Exempt { prefixes, add: true, save: save.save }, done)
        }
        RateLimitCommand::Exempt(ExemptCommand::Del { prefixes, save }) => {
            (RateLimitAction::Exempt { prefixes, add: false, save: save.save }, done)
        }
        RateLimitCommand::Block(BlockCommand::List) => (RateLimitAction::BlockList, show::blocks),
        RateLimitCommand::Block(BlockCommand::Add { targets, period, dry_run, save }) => {
            let seconds = period.map(Period::seconds);
            (RateLimitAction::BlockAdd { targets, seconds, dry_run, save: save.save }, done)
        }
        RateLimitCommand::Block(BlockCommand::Del { targets, save }) => {
            (RateLimitAction::BlockDel { targets, save: save.save }, done)
        }
        RateLimitCommand::Top { limit } => return top(limit, global, output),
        RateLimitCommand::Explain { prefix } => return explain(prefix, global, output),
        RateLimitCommand::Test(args) => return replay::run(&args, global, output),
        RateLimitCommand::Import { file, from } => return import::run(&file, from, output),
    };
    output.data(ask(global, request)?, text);
    Ok(Exit::Ok)
}

fn ask(global: &Global, request: RateLimitAction) -> Result<Value, CliError> {
    let request = Request::RateLimit { request };
    let len = serde_json::to_string(&request).map_or(usize::MAX, |text| text.len());
    if len as u64 >= MAX_REQUEST {
        let failure = Failure::new("usage", "this list is too long for one request")
            .with_hint("give it in parts, or name its file as `exempt-file` in [ratelimit]");
        return Err(CliError { exit: Exit::Usage, failure });
    }
    global.call(&request, PATIENCE)
}

/// `rate=5` as key and value.
fn pairs(settings: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let pair = |setting: &String| match setting.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => {
            let failure = Failure::new("usage", format!("\"{setting}\" is not KEY=VALUE"))
                .with_hint("write for example rate=50");
            Err(CliError { exit: Exit::Usage, failure })
        }
    };
    settings.iter().map(pair).collect()
}

/// What was changed, and for how long.
fn done(data: &Value) -> String {
    let how_long = match data["saved"].as_bool() {
        Some(true) => "saved",
        _ => "until the daemon is restarted; --save keeps it",
    };
    let fields = data.as_object().into_iter().flatten();
    let told = fields.filter(|(field, _)| !matches!(field.as_str(), "saved" | "until"));
    let told = told.map(|(field, value)| match value {
        Value::Object(settings) => settings
            .iter()
            .map(|(key, value)| format!("{key} = {}\n", cell(value)))
            .collect::<String>(),
        Value::Bool(_) => format!("{field}\n"),
        value => format!("{field}: {}\n", cell(value)),
    });
    format!("{}({how_long})\n", told.collect::<String>())
}

fn top(limit: usize, global: &Global, output: &Output) -> CommandResult {
    let mut data = ask(global, RateLimitAction::Top)?;
    if let Some(netblocks) = data["netblocks"].as_array_mut() {
        netblocks.truncate(limit);
    }
    output.data(data, show::top);
    Ok(Exit::Ok)
}

fn explain(prefix: String, global: &Global, output: &Output) -> CommandResult {
    let data = ask(global, RateLimitAction::Explain { prefix })?;
    let is_hit = matches!(data["verdict"].as_str(), Some("limited" | "blocked"));
    output.data(data, show::explained);
    Ok(if is_hit { Exit::Problems } else { Exit::Ok })
}

/// A JSON object's field as text, for tables.
fn fields(row: &Value, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| cell(&row[*name])).collect()
}

/// An error of usage.
fn usage(message: impl Into<String>) -> CliError {
    CliError { exit: Exit::Usage, failure: Failure::new("usage", message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_pairs() {
        let read = |text: &str| pairs(&[text.to_owned()]).map_err(|error| error.exit);
        assert_eq!(read("rate = 5"), Ok(vec![("rate".into(), "5".into())]));
        assert_eq!(read("a=b=c"), Ok(vec![("a".into(), "b=c".into())]));
        assert_eq!(read("rate"), Err(Exit::Usage));
    }

    #[test]
    fn what_was_changed_is_told_with_how_long_it_lasts() {
        let set = json!({ "set": { "rate": 5, "mode": "on" }, "saved": true });
        assert_eq!(done(&set), "mode = on\nrate = 5\n(saved)\n");
        let added = done(&json!({ "added": ["192.0.2.0/24", "a."], "until": 7, "saved": false }));
        assert_eq!(
            added,
            "added: 192.0.2.0/24, a.\n(until the daemon is restarted; --save keeps it)\n"
        );
    }
}
