//! Rate limits at run time: put in effect for XDP and for the sockets alike, changed and told by command.

mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::{Value, json};
use toml::Table;
use xdp_common::limit::{Limited, amplified};
use xdp_common::maps::Verdicts;
use xdp_common::{Outcome, maps};

use super::locks::{Lock, Rank};
use super::plane::{GLANCE, SharedPlane};
use crate::clock::now_s;
use crate::config::Config;
use crate::control::protocol::Failure;
use crate::control::ratelimit::RateLimitAction;
use crate::ratelimit::changes::{self, Changes, Target};
use crate::ratelimit::figures;
use crate::ratelimit::layers::RateLimits;
use crate::ratelimit::limits::Block;
use crate::ratelimit::settings::{BadSetting, setting};
use crate::server::Shared;
use crate::server::stats::Stats;

/// Rate limits, and who keeps them.
pub struct RateLimiting {
    limits: Lock<RateLimits>,
    plane: Arc<SharedPlane>,
    shared: Arc<Shared>,
    stats: Arc<Stats>,
}

impl RateLimiting {
    /// What the configuration says and was saved, in effect once it is [put there](RateLimiting::start).
    pub fn new(
        config: &Config,
        plane: &Arc<SharedPlane>,
        shared: &Arc<Shared>,
        stats: &Arc<Stats>,
    ) -> RateLimiting {
        RateLimiting {
            limits: Lock::new(Rank::Limits, RateLimits::new(config)),
            plane: Arc::clone(plane),
            shared: Arc::clone(shared),
            stats: Arc::clone(stats),
        }
    }

    /// Puts in effect what the configuration says and was saved.
    pub fn start(&self) -> Result<(), Failure> {
        self.enforce(&mut self.limits.hold())
    }

    /// How many queries a second came when that was looked at last.
    #[cfg(test)]
    fn qps(&self) -> u64 {
        self.limits.hold().qps
    }

    /// Looks at the counters about once a second, and tells XDP and the sockets alike how many queries come, where
    /// a policy is scaled by it.
    pub fn tick(&self, now: Instant) {
        // While a zone is published nothing is counted here, and the next look is over a longer time.
        let Some(counters) = self.plane.hold_if_free().map(|plane| plane.counters()) else {
            return;
        };
        let sum = |name: &str| {
            let of_tcx = counters.get(&format!("{}{name}", maps::TCX_PREFIX));
            counters.get(name).unwrap_or(&0) + of_tcx.unwrap_or(&0)
        };
        // What XDP leaves comes to TCX, and what both leave to the sockets: each query ends in one place.
        let ends = |one: &&Outcome| one.is_query() && !one.is_ours();
        let ended: u64 = Outcome::ALL.iter().filter(ends).map(|one| sum(one.word())).sum();
        let queries = ended + self.stats.udp_messages();
        let Some(mut limits) = self.limits.hold_for(GLANCE) else { return };
        let limits = &mut *limits;
        let since = limits.ticked.replace(now).map_or(Duration::ZERO, |then| now - then);
        limits.minute.tick(sum("octets_in"), sum("octets_out"), queries);
        if since.is_zero() {
            return;
        }
        limits.qps = (limits.minute.qps() as f64 / since.as_secs_f64()) as u64;
        let mut policies = limits.limits.overrides.values().chain([&limits.limits.policy]);
        if policies.any(|policy| policy.qps_scale != 0) {
            let plane = self.plane.hold_if_free();
            let told = plane.map(|mut plane| plane.set_limits(&limits.limits, limits.qps));
            if let Some(Err(error)) = told {
                tracing::error!("scaling the limits: {error:#}");
            }
            self.shared.limiter().set(&limits.limits, limits.qps);
        }
    }

    /// The response of the last minute, by XDP or by the sockets, that was largest for its query; `null` if there
    /// was none.
    pub fn worst_response(&self) -> Value {
        let of_xdp = self.plane.amplified();
        let of_sockets = self.stats.amplified();
        let worst = amplified::worst(of_xdp.iter().chain(&of_sockets), now_s() as u32);
        worst.map_or(Value::Null, |worst| {
            json!({
                "query_octets": worst.query,
                "response_octets": worst.response,
                "at": worst.second,
            })
        })
    }

    /// What was decided by name, by XDP and by the sockets.
    pub fn decisions(&self) -> BTreeMap<String, u64> {
        let mut verdicts: Verdicts = *self.plane.verdicts();
        verdicts.add(&self.shared.limiter().verdicts());
        figures::decisions(&verdicts)
    }

    /// Puts in effect what the layers say.
    fn enforce(&self, limits: &mut RateLimits) -> Result<(), Failure> {
        let compiled = Arc::new(limits.compile().map_err(failure)?);
        self.plane
            .hold_soon()?
            .set_limits(&compiled, limits.qps)
            .map_err(|error| Failure::new("ratelimit", format!("{error:#}")))?;
        // The sockets' own limiter cannot refuse.
        self.shared.limiter().set(&compiled, limits.qps);
        limits.limits = compiled;
        limits.tell_mode();
        Ok(())
    }

    /// The netblocks that are limited, by XDP and by the sockets together.
    fn limited(&self) -> Vec<Limited> {
        let of_xdp = self.plane.limited();
        figures::joined(of_xdp.iter().copied().chain(self.shared.limiter().limited()))
    }

    /// Puts in effect what a configuration says that was read again.
    pub fn follow(&self, config: &Config) -> Result<(), Failure> {
        let mut limits = self.limits.hold();
        limits.follow(config);
        self.enforce(&mut limits)
    }

    /// Does what the control socket asks for.
    pub fn handle(&self, request: RateLimitAction) -> Result<Value, Failure> {
        // Not behind `change`: zones may take minutes to load.
        let mut limits = self.limits.hold();
        match request {
            RateLimitAction::Show => report::show(&limits),
            RateLimitAction::ExemptList => Ok(report::exempt(&limits)),
            RateLimitAction::BlockList => Ok(report::blocks(&limits)),
            RateLimitAction::Top => {
                let limited = self.limited();
                let mut top = report::top(&limits, &limited, now_s());
                top["decisions"] = json!(self.decisions());
                top["worst_second"] = json!(limits.minute.worst());
                top["worst_response"] = self.worst_response();
                Ok(top)
            }
            RateLimitAction::Explain { prefix } => {
                let limited = self.limited();
                report::explain(&limits, &prefix, &limited, now_s())
            }
            RateLimitAction::Set { settings, save } => {
                let set = settings.iter().map(|(key, value)| setting(key, value));
                let set: Table = set.collect::<Result<_, _>>().map_err(failure)?;
                self.change_limits(&mut limits, save, |changes| changes.set.extend(set.clone()))?;
                Ok(json!({ "set": set, "saved": save }))
            }
            RateLimitAction::Reset { save } => {
                let before = (limits.saved.clone(), std::mem::take(&mut limits.live));
                if save {
                    limits.saved = Changes::default();
                }
                self.enforce_or_undo(&mut limits, before, save)?;
                Ok(json!({ "reset": true, "saved": save }))
            }
            RateLimitAction::Exempt { prefixes, add, save } => {
                let prefixes = changes::prefixes(&prefixes).map_err(bad_text)?;
                let there: BTreeSet<IpNet> = limits.exempt().into_keys().collect();
                if let (false, Some(missing)) =
                    (add, prefixes.iter().find(|one| !there.contains(one)))
                {
                    return Err(Failure::new("ratelimit", format!("{missing} is not exempt"))
                        .with_hint("`sealdns ratelimit exempt list` shows what is"));
                }
                self.change_limits(&mut limits, save, |changes| {
                    changes.exempt.extend(prefixes.iter().map(|prefix| (*prefix, add)));
                })?;
                Ok(json!({ if add { "added" } else { "deleted" }: prefixes, "saved": save }))
            }
            RateLimitAction::BlockAdd { targets, seconds, dry_run, save } => {
                let targets = changes::targets(&targets).map_err(bad_text)?;
                let until = seconds.map_or(0, |seconds| now_s() + u64::from(seconds));
                let block = Some(Block { until, dry_run });
                self.change_limits(&mut limits, save, |changes| {
                    changes.block.extend(targets.iter().map(|target| (target.clone(), block)));
                })?;
                Ok(json!({ "added": words(&targets), "until": until, "saved": save }))
            }
            RateLimitAction::BlockDel { targets, save } => {
                let targets = changes::targets(&targets).map_err(bad_text)?;
                let there = limits.blocks();
                if let Some(missing) = targets.iter().find(|one| !there.contains_key(one)) {
                    return Err(Failure::new("ratelimit", format!("{missing} is not blocked"))
                        .with_hint("`sealdns ratelimit block list` shows what is"));
                }
                self.change_limits(&mut limits, save, |changes| {
                    changes.block.extend(targets.iter().map(|target| (target.clone(), None)));
                })?;
                Ok(json!({ "deleted": words(&targets), "saved": save }))
            }
        }
    }

    /// Changes the upper layer, and with `save` the one below it as well.
    fn change_limits(
        &self,
        limits: &mut RateLimits,
        save: bool,
        change: impl Fn(&mut Changes),
    ) -> Result<(), Failure> {
        let before = (limits.saved.clone(), limits.live.clone());
        change(&mut limits.live);
        if save {
            change(&mut limits.saved);
            limits.live.forget(&limits.saved);
        }
        self.enforce_or_undo(limits, before, save)
    }

    /// Puts changed layers in effect and saves them; if either fails all is as before.
    fn enforce_or_undo(
        &self,
        limits: &mut RateLimits,
        before: (Changes, Changes),
        save: bool,
    ) -> Result<(), Failure> {
        limits.saved.prune(now_s());
        limits.live.prune(now_s());
        let settled = self.enforce(limits).and_then(|()| {
            if !save {
                return Ok(());
            }
            limits.saved.store(&limits.path).map_err(|error| {
                let message = format!("nothing was changed: it cannot be saved: {error:#}");
                Failure::new("ratelimit", message)
            })
        });
        if settled.is_err() {
            (limits.saved, limits.live) = before;
            if let Err(error) = self.enforce(limits) {
                tracing::error!("putting rate limits back: {error}");
            }
        }
        settled
    }
}

fn words(targets: &[Target]) -> Vec<String> {
    targets.iter().map(Target::to_string).collect()
}

fn bad_text(message: String) -> Failure {
    Failure::new("ratelimit", message)
}

fn failure(bad: BadSetting) -> Failure {
    Failure { code: "ratelimit".into(), message: bad.message, hint: bad.hint }
}
