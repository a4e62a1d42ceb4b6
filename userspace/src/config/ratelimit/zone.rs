//! `[zone.ratelimit]`: what one zone does otherwise than `[ratelimit]`.

use serde::{Deserialize, Serialize};
use toml::Table;

use super::{ClassRate, Cost, LimitMode, OneIn, PrefixLength, Rate, RateLimit};

/// What is not said here is as in `[ratelimit]`. Totals, exempt clients and what is passed up to the daemon are
/// the same for all zones: they count before it is known which zone it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ZoneRateLimit {
    mode: Option<LimitMode>,
    #[serde(alias = "responses-per-second")]
    rate: Option<Rate>,
    positive_rate: Option<ClassRate>,
    #[serde(alias = "nodata-per-second")]
    nodata_rate: Option<ClassRate>,
    #[serde(alias = "nxdomains-per-second")]
    nxdomain_rate: Option<ClassRate>,
    #[serde(alias = "referrals-per-second")]
    referral_rate: Option<ClassRate>,
    #[serde(alias = "errors-per-second")]
    error_rate: Option<ClassRate>,
    dnskey_rate: Option<ClassRate>,
    any_rate: Option<ClassRate>,
    burst: Option<Rate>,
    window: Option<Window>,
    slip: Option<OneIn>,
    leak: Option<OneIn>,
    #[serde(alias = "ipv4-prefix-length")]
    ipv4_prefix: Option<PrefixLength<32>>,
    #[serde(alias = "ipv6-prefix-length")]
    ipv6_prefix: Option<PrefixLength<128>>,
    qps_scale: Option<Rate>,
    cost: Option<Cost>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
struct Window {
    #[serde(deserialize_with = "super::window", serialize_with = "super::write_window")]
    seconds: u32,
}

impl ZoneRateLimit {
    /// What is said here, and nothing else.
    pub fn settings(&self) -> Table {
        // As in `RateLimit::settings`.
        Table::try_from(self).unwrap_or_default()
    }

    /// The zone's limits, where `all` are those of all zones.
    pub fn over(&self, all: &RateLimit) -> RateLimit {
        RateLimit {
            mode: self.mode.unwrap_or(all.mode),
            rate: self.rate.unwrap_or(all.rate),
            positive_rate: self.positive_rate.unwrap_or(all.positive_rate),
            nodata_rate: self.nodata_rate.unwrap_or(all.nodata_rate),
            nxdomain_rate: self.nxdomain_rate.unwrap_or(all.nxdomain_rate),
            referral_rate: self.referral_rate.unwrap_or(all.referral_rate),
            error_rate: self.error_rate.unwrap_or(all.error_rate),
            dnskey_rate: self.dnskey_rate.unwrap_or(all.dnskey_rate),
            any_rate: self.any_rate.unwrap_or(all.any_rate),
            burst: self.burst.unwrap_or(all.burst),
            window: self.window.map_or(all.window, |window| window.seconds),
            slip: self.slip.unwrap_or(all.slip),
            leak: self.leak.unwrap_or(all.leak),
            ipv4_prefix: self.ipv4_prefix.unwrap_or(all.ipv4_prefix),
            ipv6_prefix: self.ipv6_prefix.unwrap_or(all.ipv6_prefix),
            qps_scale: self.qps_scale.unwrap_or(all.qps_scale),
            cost: self.cost.unwrap_or(all.cost),
            ..all.clone()
        }
    }
}
