//! What can be asked of the daemon about rate limits.

use serde::{Deserialize, Serialize};

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
