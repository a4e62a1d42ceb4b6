//! What can be asked of the daemon about rate limits.

use serde::{Deserialize, Serialize};

use crate::duration::Exact;

/// Changes last until the daemon is restarted, or with `save` beyond.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RateLimitAction {
    /// What is in effect, and what of it the configuration file says otherwise.
    Show,
    /// Sets these, all or none.
    Set {
        /// Keys of `[ratelimit]`, and values.
        settings: Vec<(String, String)>,
        /// Beyond a restart.
        save: bool,
    },
    /// Goes back to what the configuration file says.
    Reset {
        /// Forget what was saved too.
        save: bool,
    },
    /// All exempt prefixes.
    ExemptList,
    /// Exempts prefixes, or not any longer.
    Exempt {
        /// Prefixes or addresses.
        prefixes: Vec<String>,
        /// Whether they become exempt.
        add: bool,
        /// Beyond a restart.
        save: bool,
    },
    /// All that is blocked.
    BlockList,
    /// Blocks prefixes and names.
    BlockAdd {
        /// Prefixes, addresses or names.
        targets: Vec<String>,
        /// For how long; none: for ever.
        seconds: Option<u32>,
        /// Only count.
        dry_run: bool,
        /// Beyond a restart.
        save: bool,
    },
    /// Does not block them any longer.
    BlockDel {
        /// Prefixes, addresses or names.
        targets: Vec<String>,
        /// Beyond a restart.
        save: bool,
    },
    /// Netblocks that are limited, or near it.
    Top,
    /// What is done to a netblock, and why.
    Explain {
        /// A prefix or an address.
        prefix: String,
    },
}

/// Targets that are told in one line; more are only counted.
const TOLD: usize = 10;

impl RateLimitAction {
    /// What is changed, as the command that asks for it; none if it only asks.
    pub fn action(&self) -> Option<String> {
        let (words, save) = match self {
            RateLimitAction::Set { settings, save } => {
                let set: Vec<String> =
                    settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
                (format!("set {}", abridged(&set)), save)
            }
            RateLimitAction::Reset { save } => ("reset".to_owned(), save),
            RateLimitAction::Exempt { prefixes, add, save } => (
                format!("exempt {} {}", if *add { "add" } else { "del" }, abridged(prefixes)),
                save,
            ),
            RateLimitAction::BlockAdd { targets, seconds, dry_run, save } => {
                let time = seconds
                    .map_or_else(String::new, |seconds| format!(" --for {}", Exact(seconds)));
                let dry_run = if *dry_run { " --dry-run" } else { "" };
                (format!("block add {}{time}{dry_run}", abridged(targets)), save)
            }
            RateLimitAction::BlockDel { targets, save } => {
                (format!("block del {}", abridged(targets)), save)
            }
            RateLimitAction::Show
            | RateLimitAction::ExemptList
            | RateLimitAction::BlockList
            | RateLimitAction::Top
            | RateLimitAction::Explain { .. } => return None,
        };
        Some(format!("ratelimit {words}{}", if *save { " --save" } else { "" }))
    }
}

/// What a client lists, for a line of the log.
fn abridged(list: &[String]) -> String {
    let more = list.len().saturating_sub(TOLD);
    let first = list[..list.len() - more].join(" ");
    // What a client sends may not make a line of its own in the log.
    let first = first.escape_debug();
    if more == 0 { first.to_string() } else { format!("{first} and {more} more") }
}
