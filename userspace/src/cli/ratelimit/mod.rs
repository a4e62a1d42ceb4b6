//! `sealdns ratelimit`.

mod import;
mod replay;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::output::{CliError, CommandResult, Exit, Output, list_cell, word};
use super::{Global, PATIENCE};
use crate::control::protocol::{Failure, MAX_REQUEST, Request, write_request};
use crate::control::ratelimit::RateLimitAction;
use crate::control::reply::Kind;
use crate::control::reply::ratelimit::{
    BlockList, Change, ExemptList, NetblockExplanation, RateLimitChange, RateLimits, TopNetblocks,
    Verdict,
};
use crate::duration::Period;

/// What to do with rate limits.
#[derive(Subcommand, Debug)]
pub enum RateLimitCommand {
    /// Show the settings in effect; those that differ from the configuration file are marked
    Show,
    /// Change settings of the section ratelimit, all or none, at once and without a reload
    Set {
        /// Settings, such as rate=20 nxdomain-rate=5 window=15s
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        save: Save,
    },
    /// Switch limits on or off, or to dry-run, in which clients are only counted
    Mode {
        /// The mode
        #[arg(value_enum)]
        mode: Mode,
        #[command(flatten)]
        save: Save,
    },
    /// Undo all changes that commands have made; with --save also those that were saved
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
    /// Explain whether a netblock is limited, why, and since when (exit 3 if it is limited or blocked)
    Explain {
        /// A prefix or an address
        #[arg(value_name = "PREFIX")]
        prefix: String,
    },
    /// Replay a capture (pcap, pcapng) through the limiter, and show which clients would be slipped or dropped
    ///
    /// The capture's own times count. The policy is that of the configuration file with --set on top, and
    /// of its zones with [zone.ratelimit]; the mode is on, but not where a zone says that it is off. If responses are in the capture (UDP from port 53) their classes count. If there are only
    /// queries, each counts as an answer of 512 octets, of class any, dnskey or positive by its QTYPE:
    /// NXDOMAIN cannot be recognised.
    Test(replay::TestArgs),
    /// Print the section ratelimit for BIND's named.conf (rate-limit) or Knot's knot.conf (mod-rrl)
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
    /// Keep the change after a restart (in the daemon's state-dir)
    #[arg(long)]
    save: bool,
}

/// The modes.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Mode {
    /// Every query is answered
    Off,
    /// Every query is answered, and clients that would be limited are counted
    DryRun,
    /// Limits are enforced
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
    /// Remove prefixes from the exempt ones
    Del {
        /// Prefixes or addresses
        #[arg(value_name = "PREFIX", required = true)]
        prefixes: Vec<String>,
        #[command(flatten)]
        save: Save,
    },
    /// List the exempt prefixes
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
        /// How long, such as 1h [default: until the block is deleted]
        #[arg(long = "for", value_name = "TIME")]
        period: Option<Period>,
        /// Only count what would be dropped
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        save: Save,
    },
    /// Remove prefixes and names from the blocked ones
    Del {
        /// Prefixes, addresses or names
        #[arg(value_name = "PREFIX|NAME", required = true)]
        targets: Vec<String>,
        #[command(flatten)]
        save: Save,
    },
    /// List the blocked prefixes and names
    List,
}

/// Does it.
pub fn run(command: RateLimitCommand, global: &Global, output: &Output) -> CommandResult {
    let change = match command {
        RateLimitCommand::Show => {
            output.data::<RateLimits>(&ask(global, RateLimitAction::Show)?, show::policy);
            return Ok(Exit::Ok);
        }
        RateLimitCommand::Exempt(ExemptCommand::List) => {
            output.data::<ExemptList>(&ask(global, RateLimitAction::ExemptList)?, show::exempt);
            return Ok(Exit::Ok);
        }
        RateLimitCommand::Block(BlockCommand::List) => {
            output.data::<BlockList>(&ask(global, RateLimitAction::BlockList)?, show::blocks);
            return Ok(Exit::Ok);
        }
        RateLimitCommand::Top { limit } => return top(limit, global, output),
        RateLimitCommand::Explain { prefix } => return explain(prefix, global, output),
        RateLimitCommand::Test(args) => return replay::run(&args, global, output),
        RateLimitCommand::Import { file, from } => return import::run(&file, from, output),
        RateLimitCommand::Set { settings, save } => {
            RateLimitAction::Set { settings: pairs(&settings)?, save: save.save }
        }
        RateLimitCommand::Mode { mode, save } => {
            let word = mode
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned());
            RateLimitAction::Set { settings: vec![("mode".to_owned(), word)], save: save.save }
        }
        RateLimitCommand::Reset { save } => RateLimitAction::Reset { save: save.save },
        RateLimitCommand::Exempt(ExemptCommand::Add { prefixes, save }) => {
            RateLimitAction::Exempt { prefixes, add: true, save: save.save }
        }
        RateLimitCommand::Exempt(ExemptCommand::Del { prefixes, save }) => {
            RateLimitAction::Exempt { prefixes, add: false, save: save.save }
        }
        RateLimitCommand::Block(BlockCommand::Add { targets, period, dry_run, save }) => {
            let seconds = period.map(Period::seconds);
            RateLimitAction::BlockAdd { targets, seconds, dry_run, save: save.save }
        }
        RateLimitCommand::Block(BlockCommand::Del { targets, save }) => {
            RateLimitAction::BlockDel { targets, save: save.save }
        }
    };
    output.data::<RateLimitChange>(&ask(global, change)?, changed_text);
    Ok(Exit::Ok)
}

fn ask<K: Kind>(global: &Global, request: RateLimitAction) -> Result<K, CliError> {
    let request = Request::RateLimit { request };
    let len = write_request(&request).map_or(usize::MAX, |line| line.len());
    if len as u64 > MAX_REQUEST {
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
fn changed_text(changed: &RateLimitChange) -> String {
    let how_long = match changed.saved {
        true => "saved",
        false => "until the daemon is restarted; --save keeps it",
    };
    let what = match &changed.change {
        Change::Set(settings) => settings
            .iter()
            .map(|(key, value)| format!("{key} = {}\n", word(value)))
            .collect::<String>(),
        Change::Reset(_) => "reset\n".to_owned(),
        Change::Added(targets) => format!("added: {}\n", list_cell(targets)),
        Change::Deleted(targets) => format!("deleted: {}\n", list_cell(targets)),
    };
    format!("{what}({how_long})\n")
}

fn top(limit: usize, global: &Global, output: &Output) -> CommandResult {
    let mut top: TopNetblocks = ask(global, RateLimitAction::Top)?;
    top.netblocks.truncate(limit);
    output.data(&top, show::top);
    Ok(Exit::Ok)
}

fn explain(prefix: String, global: &Global, output: &Output) -> CommandResult {
    let explained: NetblockExplanation = ask(global, RateLimitAction::Explain { prefix })?;
    output.data(&explained, show::explained);
    let is_hit = matches!(explained.verdict, Verdict::Limited | Verdict::Blocked);
    Ok(if is_hit { Exit::Problems } else { Exit::Ok })
}

/// An error of usage.
fn usage(message: impl Into<String>) -> CliError {
    CliError { exit: Exit::Usage, failure: Failure::new("usage", message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_pairs() {
        let read = |text: &str| pairs(&[text.to_owned()]).map_err(|error| error.exit);
        assert_eq!(read("rate = 5"), Ok(vec![("rate".into(), "5".into())]));
        assert_eq!(read("a=b=c"), Ok(vec![("a".into(), "b=c".into())]));
        assert_eq!(read("rate"), Err(Exit::Usage));
    }

    #[test]
    fn what_was_changed_is_told_with_how_long_it_lasts() {
        let changed =
            |change, until, saved| changed_text(&RateLimitChange { change, until, saved });
        let settings = toml::toml! {
            mode = "on"
            rate = 5
        };
        assert_eq!(changed(Change::Set(settings), None, true), "mode = on\nrate = 5\n(saved)\n");
        let targets = vec!["192.0.2.0/24".into(), "a.".into()];
        assert_eq!(
            changed(Change::Added(targets), Some(7), false),
            "added: 192.0.2.0/24, a.\n(until the daemon is restarted; --save keeps it)\n"
        );
    }
}
