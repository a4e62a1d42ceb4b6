//! `[health]`: what `sealdns health` warns of.

use serde::Deserialize;

use crate::duration::Period;

/// `[health]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Health {
    /// How long before the earliest expiration of a zone's signatures `health` warns.
    pub warn_before: Period,
}

impl Default for Health {
    fn default() -> Health {
        // A weekend, and a day to mend it.
        Health { warn_before: Period::from_seconds(3 * 86400) }
    }
}
