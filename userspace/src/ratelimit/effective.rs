//! Rate limits at run time: the configuration, and over it what was changed by command.
//!
//! There are three layers: the file's section, what was changed and saved, and what was changed until the
//! next start. Saved changes lie in a file of their own in `state-dir`, not in the configuration: that one
//! is the operator's, who may keep it under version control, and the daemon, which has given up root, may
//! not write it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use xdp_common::limit::Mode;

use super::changes::{Changes, Target};
use super::figures::Minute;
use super::limits::{Block, Limits};
use super::settings::BadSetting;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::ratelimit::{RateLimit, ZoneRateLimit};
use crate::zone::Name;

/// The file of saved changes, in `state-dir`.
const FILE: &str = "ratelimit.toml";

/// The layers of what is limited.
pub struct EffectiveLimits {
    /// The configuration's section.
    pub file: RateLimit,
    /// Those of its zones.
    pub zones: BTreeMap<Name, ZoneRateLimit>,
    /// What was changed and saved.
    pub saved: Changes,
    /// What was changed until the next start.
    pub live: Changes,
    /// The file of saved changes.
    pub path: PathBuf,
    /// What is in effect.
    pub limits: Arc<Limits>,
    /// When blocks end is a time of its wall clock.
    clock: Clock,
    /// The mode that the log tells.
    logged_mode: Option<u32>,
    /// What is looked back on.
    pub minute: Minute,
    /// When the counters were looked at last.
    pub ticked: Option<Instant>,
    /// How many queries a second came then.
    pub qps: u64,
}

/// Where something that is in effect was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    File,
    /// The file of saved changes.
    Saved,
    /// A command.
    UntilRestart,
}

impl EffectiveLimits {
    /// What the configuration says, and over it what was saved.
    pub fn new(config: &Config, clock: Clock) -> EffectiveLimits {
        let path = config.server.state_dir.join(FILE);
        let saved = Changes::load(&path).unwrap_or_else(|error| {
            tracing::error!("saved changes of rate limits are not in effect: {error:#}");
            Changes::default()
        });
        let mut limits = EffectiveLimits {
            clock,
            file: RateLimit::default(),
            zones: BTreeMap::new(),
            saved,
            live: Changes::default(),
            path,
            limits: Arc::default(),
            logged_mode: None,
            minute: Minute::default(),
            ticked: None,
            qps: 0,
        };
        limits.follow(config);
        limits
    }

    /// Takes the file's layer from a configuration.
    pub fn follow(&mut self, config: &Config) {
        self.file = config.ratelimit.clone();
        let zones = config.zones().map(|zone| (zone.name.clone(), zone.ratelimit.clone()));
        self.zones = zones.filter_map(|(name, limits)| Some((name, limits?))).collect();
    }

    /// The settings in effect.
    pub fn settings(&self) -> Result<RateLimit, BadSetting> {
        self.file.with(&self.saved.set)?.with(&self.live.set)
    }

    /// Says in the log which mode is in effect, at start and when it has changed, by the file or by a command.
    pub fn log_mode(&mut self) {
        let mode = self.limits.policy.mode;
        if self.logged_mode.replace(mode) == Some(mode) {
            return;
        }
        let zones =
            self.limits.overrides.values().filter(|zone| zone.mode != Mode::Off as u32).count();
        if mode == Mode::On as u32 {
            tracing::info!("rate limits are on");
        } else if mode == Mode::DryRun as u32 {
            tracing::info!(
                "rate limits are in dry-run mode: every query is answered, and limited clients are counted"
            );
        } else {
            tracing::warn!(
                zones_that_have_their_own = zones,
                "rate limits are off: an attacker who forges the address of a victim makes this server send \
                 answers to it; `mode` in [ratelimit] turns them on"
            );
        }
    }

    /// All layers as one.
    pub fn compile(&self) -> Result<Limits, BadSetting> {
        let settings = self.settings()?;
        let over = |zone: &ZoneRateLimit| zone.over(&settings).policy();
        let mut limits = Limits {
            policy: settings.policy(),
            overrides: self.zones.iter().map(|(name, zone)| (name.clone(), over(zone))).collect(),
            exempt: self.exempt().into_keys().map(|prefix| (prefix, 0)).collect(),
            ..Limits::default()
        };
        for (target, (block, _)) in self.blocks() {
            match target {
                Target::Prefix(prefix) => drop(limits.block.insert(prefix, block)),
                Target::Name(name) => drop(limits.block_names.insert(name, block)),
            }
        }
        limits.check().map_err(|error| BadSetting { message: error.to_string(), hint: None })?;
        Ok(limits)
    }

    /// The exempt prefixes, and where that was said.
    pub fn exempt(&self) -> BTreeMap<IpNet, Origin> {
        let file = self.file.exempt.iter().map(|prefix| (prefix.0.trunc(), Origin::File));
        let mut exempt: BTreeMap<IpNet, Origin> = file.collect();
        for (changes, origin) in [(&self.saved, Origin::Saved), (&self.live, Origin::UntilRestart)]
        {
            for (prefix, is_exempt) in &changes.exempt {
                if *is_exempt {
                    exempt.entry(*prefix).or_insert(origin);
                } else {
                    exempt.remove(prefix);
                }
            }
        }
        exempt
    }

    /// What is blocked, and where that was said.
    pub fn blocks(&self) -> BTreeMap<Target, (Block, Origin)> {
        let now = self.clock.wall().seconds();
        let mut blocks = BTreeMap::new();
        for (changes, origin) in [(&self.saved, Origin::Saved), (&self.live, Origin::UntilRestart)]
        {
            for (target, block) in &changes.block {
                match block {
                    Some(block) if block.until == 0 || block.until > now => {
                        blocks.insert(target.clone(), (*block, origin));
                    }
                    _ => drop(blocks.remove(target)),
                }
            }
        }
        blocks
    }
}
