//! `[ratelimit]`: response-rate limiting in an operator's words.
//!
//! BIND's (`rate-limit`) and Knot's (mod-rrl) words are accepted where they mean the same:
//! [`ALIASES`].

#[cfg(test)]
mod tests;
pub mod values;
mod zone;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xdp_common::limit::policy::{IPV4_LEVELS, IPV6_LEVELS};
use xdp_common::limit::{Class, Mode, Policy};

use super::error::invalid;
use super::{AddressPrefix, ConfigError};
use crate::files;
pub use values::{ClassRate, Cost, Levels, LimitMode, OneIn, PrefixLength, Rate, TotalSlip};
use values::{window, write_window};
pub use zone::ZoneRateLimit;

/// Words of BIND and Knot, and the keys that mean the same.
pub const ALIASES: [(&str, &str); 12] = [
    ("responses-per-second", "rate"),
    ("nodata-per-second", "nodata-rate"),
    ("nxdomains-per-second", "nxdomain-rate"),
    ("referrals-per-second", "referral-rate"),
    ("errors-per-second", "error-rate"),
    ("ipv4-prefix-length", "ipv4-prefix"),
    ("ipv6-prefix-length", "ipv6-prefix"),
    ("exempt-clients", "exempt"),
    ("log-only", "dry-run"),
    ("rate-limit", "total-rate"),
    ("instant-limit", "total-burst"),
    ("whitelist", "exempt"),
];

/// `[ratelimit]`. Rates are per second; 0 is no limit.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RateLimit {
    /// Whether limits are kept.
    pub mode: LimitMode,
    /// Knot's and BIND's way to say `mode = "dry-run"`; [`RateLimit::resolve`] puts it there.
    #[serde(alias = "log-only", skip_serializing)]
    dry_run: bool,
    /// Responses of a class about a name to a netblock.
    #[serde(alias = "responses-per-second")]
    pub rate: Rate,
    /// The same for data.
    pub positive_rate: ClassRate,
    /// For a name without the type that was asked for.
    #[serde(alias = "nodata-per-second")]
    pub nodata_rate: ClassRate,
    /// For names that do not exist.
    #[serde(alias = "nxdomains-per-second")]
    pub nxdomain_rate: ClassRate,
    /// For referrals.
    #[serde(alias = "referrals-per-second")]
    pub referral_rate: ClassRate,
    /// For REFUSED, FORMERR, SERVFAIL and their like.
    #[serde(alias = "errors-per-second")]
    pub error_rate: ClassRate,
    /// For answers to QTYPE DNSKEY.
    pub dnskey_rate: ClassRate,
    /// For answers to QTYPE ANY.
    pub any_rate: ClassRate,
    /// Responses of a class at once; 0 as many as its rate.
    pub burst: Rate,
    /// For how long who keeps asking stays in debt, in seconds.
    #[serde(deserialize_with = "window", serialize_with = "write_window")]
    pub window: u32,
    /// Which of the responses over the limit are sent with TC.
    pub slip: OneIn,
    /// Which of the errors over the limit are sent whole.
    pub leak: OneIn,
    /// Length of the prefix of a netblock of IPv4.
    #[serde(alias = "ipv4-prefix-length")]
    pub ipv4_prefix: PrefixLength<32>,
    /// Of IPv6.
    #[serde(alias = "ipv6-prefix-length")]
    pub ipv6_prefix: PrefixLength<128>,
    /// All responses to a netblock, times the multiplier of its level.
    #[serde(alias = "rate-limit")]
    pub total_rate: Rate,
    /// So many at once, times the multiplier; 0 as many as `total_rate`.
    #[serde(alias = "instant-limit")]
    pub total_burst: Rate,
    /// Which of the responses over the total are sent with TC.
    pub total_slip: TotalSlip,
    /// Netblocks whose totals are counted, IPv4.
    pub ipv4_levels: Levels<32, IPV4_LEVELS>,
    /// IPv6.
    pub ipv6_levels: Levels<128, IPV6_LEVELS>,
    /// Queries per second above which all limits fall in proportion; 0 never.
    pub qps_scale: Rate,
    /// What a response costs.
    pub cost: Cost,
    /// Queries of a netblock that are passed up to the daemon.
    pub miss_rate: Rate,
    /// Of all together.
    pub miss_total_rate: Rate,
    /// Clients that are never limited.
    #[serde(alias = "exempt-clients", alias = "whitelist", skip_serializing)]
    pub exempt: Vec<AddressPrefix>,
    /// A file with more of them, one a line.
    pub exempt_file: PathBuf,
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        let policy = Policy::new();
        let one_in = |n: u32| OneIn(n as u8);
        RateLimit {
            mode: LimitMode::Off,
            dry_run: false,
            rate: Rate(policy.rates[0]),
            positive_rate: ClassRate::AsRate,
            nodata_rate: ClassRate::AsRate,
            nxdomain_rate: ClassRate::AsRate,
            referral_rate: ClassRate::AsRate,
            error_rate: ClassRate::AsRate,
            dnskey_rate: ClassRate::AsRate,
            any_rate: ClassRate::AsRate,
            burst: Rate(policy.burst),
            window: policy.window_s,
            slip: one_in(policy.slip),
            leak: one_in(policy.leak),
            ipv4_prefix: PrefixLength(policy.ipv4_prefix as u8),
            ipv6_prefix: PrefixLength(policy.ipv6_prefix as u8),
            total_rate: Rate(policy.total),
            total_burst: Rate(policy.total_burst),
            total_slip: TotalSlip::AsSlip,
            ipv4_levels: Levels(policy.ipv4_levels.to_vec()),
            ipv6_levels: Levels(policy.ipv6_levels.to_vec()),
            qps_scale: Rate(policy.qps_scale),
            cost: Cost::Response,
            miss_rate: Rate(policy.passed),
            miss_total_rate: Rate(policy.passed_total),
            exempt: Vec::new(),
            exempt_file: PathBuf::new(),
        }
    }
}

impl RateLimit {
    /// As the limiters are told.
    pub fn policy(&self) -> Policy {
        let mode = match self.mode {
            LimitMode::Off => Mode::Off,
            LimitMode::DryRun => Mode::DryRun,
            LimitMode::On => Mode::On,
        };
        Policy {
            mode: mode as u32,
            rates: Class::ALL.map(|class| self.rate_of(class).or(self.rate).get()),
            burst: self.burst.get(),
            window_s: self.window,
            slip: self.slip.get(),
            leak: self.leak.get(),
            ipv4_prefix: self.ipv4_prefix.bits(),
            ipv6_prefix: self.ipv6_prefix.bits(),
            total: self.total_rate.get(),
            total_burst: self.total_burst.get(),
            total_slip: self.total_slip.or(self.slip).get(),
            ipv4_levels: self.ipv4_levels.levels(),
            ipv6_levels: self.ipv6_levels.levels(),
            qps_scale: self.qps_scale.get(),
            amplification: u32::from(self.cost == Cost::Amplification),
            passed: self.miss_rate.get(),
            passed_total: self.miss_total_rate.get(),
        }
    }

    fn rate_of(&self, class: Class) -> ClassRate {
        match class {
            Class::Positive => self.positive_rate,
            Class::Nodata => self.nodata_rate,
            Class::Nxdomain => self.nxdomain_rate,
            Class::Referral => self.referral_rate,
            Class::Error => self.error_rate,
            Class::Dnskey => self.dnskey_rate,
            Class::Any => self.any_rate,
        }
    }

    /// Says `dry-run = true` as the mode.
    pub(super) fn resolve(&mut self) {
        if std::mem::take(&mut self.dry_run) && self.mode == LimitMode::On {
            self.mode = LimitMode::DryRun;
        }
    }

    /// Reads the file of exempt prefixes, whose path is taken from `folder`.
    pub(super) fn load_exempt(&mut self, folder: &Path) -> Result<(), ConfigError> {
        if self.exempt_file.as_os_str().is_empty() {
            return Ok(());
        }
        self.exempt_file = folder.join(&self.exempt_file);
        self.exempt.extend(read_prefixes(&self.exempt_file)?);
        Ok(())
    }
}

/// Reads a file of address prefixes, one a line; `#` and `;` start comments.
fn read_prefixes(path: &Path) -> Result<Vec<AddressPrefix>, ConfigError> {
    let text = files::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let mut prefixes = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let said = line.split(['#', ';']).next().unwrap_or_default();
        let word = said.trim();
        if !word.is_empty() {
            let place = at + (said.len() - said.trim_start().len());
            let prefix = AddressPrefix::from_text(word)
                .map_err(|message| invalid(&text, path, place, message, None))?;
            prefixes.push(prefix);
        }
        at += line.len();
    }
    Ok(prefixes)
}
