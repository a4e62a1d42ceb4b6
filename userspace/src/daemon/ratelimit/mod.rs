//! Rate limits at run time: put in effect for XDP and for the sockets alike, changed and told by command.

mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use toml::Table;
use xdp_common::Outcome;
use xdp_common::limit::{Limited, amplified};

use super::locks::{Lock, Rank};
use super::shared_plane::{GLANCE, PlaneCounters, SharedPlane};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::protocol::Failure;
use crate::control::ratelimit::RateLimitAction;
use crate::control::reply::Reply;
use crate::control::reply::ratelimit::{Change, RateLimitChange, TopNetblocks};
use crate::observe::{Decisions, WorstResponse};
use crate::ratelimit::changes::{self, Changes};
use crate::ratelimit::effective::EffectiveLimits;
use crate::ratelimit::figures;
use crate::ratelimit::limits::Block;
use crate::ratelimit::settings::{BadSetting, setting};
use crate::server::Shared;
use crate::server::stats::SocketStats;

/// Rate limits, and who keeps them.
pub struct RateLimiting {
    limits: Lock<EffectiveLimits>,
    plane: Arc<SharedPlane>,
    shared: Arc<Shared>,
    stats: Arc<SocketStats>,
    clock: Clock,
}

impl RateLimiting {
    /// What the configuration says and was saved, in effect once it is [put there](RateLimiting::start).
    pub fn new(
        config: &Config,
        plane: &Arc<SharedPlane>,
        shared: &Arc<Shared>,
        stats: &Arc<SocketStats>,
        clock: &Clock,
    ) -> RateLimiting {
        RateLimiting {
            limits: Lock::new(Rank::Limits, EffectiveLimits::new(config, clock.clone())),
            plane: Arc::clone(plane),
            shared: Arc::clone(shared),
            stats: Arc::clone(stats),
            clock: clock.clone(),
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
        let Some(kernel) = self.plane.hold_if_free().map(|plane| plane.counters()) else {
            return;
        };
        // What XDP leaves comes to TCX, and what both leave to the sockets: each query ends in one place.
        let ends = |outcome: Outcome| outcome.is_query() && !outcome.is_ours();
        let ended = kernel.sum(|counters| counters.outcomes.sum(ends));
        let (octets_in, octets_out) =
            (kernel.sum(|counters| counters.octets_in), kernel.sum(|counters| counters.octets_out));
        let queries = ended + self.stats.udp_messages();
        let Some(mut limits) = self.limits.hold_for(GLANCE) else { return };
        let limits = &mut *limits;
        let since = limits.ticked.replace(now).map_or(Duration::ZERO, |then| now - then);
        limits.minute.tick(octets_in, octets_out, queries);
        if since.is_zero() {
            return;
        }
        limits.qps = (limits.minute.qps() as f64 / since.as_secs_f64()) as u64;
        let mut policies = limits.limits.overrides.values().chain([&limits.limits.policy]);
        if policies.any(|policy| policy.qps_scale != 0) {
            let plane = self.plane.hold_if_free();
            let result = plane.map(|mut plane| plane.set_limits(&limits.limits, limits.qps));
            if let Some(Err(error)) = result {
                tracing::error!("scaling the limits: {error:#}");
            }
            self.shared.limiter().set(&limits.limits, limits.qps);
        }
    }

    /// The response of the last minute, by XDP or by the sockets, that was largest for its query.
    pub fn worst_response(&self, counted: &PlaneCounters) -> Option<WorstResponse> {
        let of_sockets = self.stats.amplified();
        let all = counted.amplified.iter().chain(&of_sockets);
        let worst = amplified::worst(all, self.clock.wall().signature_time());
        worst.map(WorstResponse::from)
    }

    /// What was decided by XDP, TCX and for the sockets.
    pub fn decisions(&self, counted: &PlaneCounters) -> Decisions {
        let mut verdicts = counted.verdicts;
        verdicts.add(&self.shared.limiter().verdicts());
        Decisions::from(&verdicts)
    }

    /// Puts in effect what the layers say.
    fn enforce(&self, limits: &mut EffectiveLimits) -> Result<(), Failure> {
        let compiled = Arc::new(limits.compile().map_err(failure)?);
        self.plane
            .hold_soon()?
            .set_limits(&compiled, limits.qps)
            .map_err(|error| Failure::new("ratelimit", format!("{error:#}")))?;
        // The sockets' own limiter cannot refuse.
        self.shared.limiter().set(&compiled, limits.qps);
        limits.limits = compiled;
        limits.log_mode();
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
        // Else the data plane is left alone, which may be held while a zone is published.
        let is_same = limits.compile().is_ok_and(|compiled| compiled == *limits.limits);
        if is_same { Ok(()) } else { self.enforce(&mut limits) }
    }

    /// Does what the control socket asks for.
    pub fn handle(&self, request: RateLimitAction) -> Result<Reply, Failure> {
        // Not behind `change`: zones may take minutes to load.
        let mut limits = self.limits.hold();
        match request {
            RateLimitAction::Show => report::show(&limits).map(Reply::from),
            RateLimitAction::ExemptList => Ok(report::exempt(&limits).into()),
            RateLimitAction::BlockList => Ok(report::blocks(&limits).into()),
            RateLimitAction::Top => Ok(self.top(&limits).into()),
            RateLimitAction::Explain { prefix } => {
                let limited = self.limited();
                report::explain(&limits, &prefix, &limited, self.clock.wall()).map(Reply::from)
            }
            RateLimitAction::Set { settings, save } => self.set(&mut limits, &settings, save),
            RateLimitAction::Reset { save } => {
                let before = (limits.saved.clone(), std::mem::take(&mut limits.live));
                if save {
                    limits.saved = Changes::default();
                }
                self.enforce_or_undo(&mut limits, before, save)?;
                Ok(changed(Change::Reset(true), save))
            }
            RateLimitAction::Exempt { prefixes, add, save } => {
                self.exempt(&mut limits, &prefixes, add, save)
            }
            RateLimitAction::BlockAdd { targets, seconds, dry_run, save } => {
                let until = seconds.map(|seconds| self.clock.wall().seconds() + u64::from(seconds));
                let block = Block { until: until.unwrap_or(0), dry_run };
                self.block(&mut limits, &targets, block, save)
            }
            RateLimitAction::BlockDel { targets, save } => {
                self.unblock(&mut limits, &targets, save)
            }
        }
    }

    fn top(&self, limits: &EffectiveLimits) -> TopNetblocks {
        let (mode, modes) = report::modes(&limits.limits);
        let counted = self.plane.counted();
        TopNetblocks {
            mode,
            modes,
            netblocks: report::netblocks(limits, &self.limited(), self.clock.wall()),
            decisions: self.decisions(&counted),
            worst_second: limits.minute.worst(),
            worst_response: self.worst_response(&counted),
        }
    }

    fn set(
        &self,
        limits: &mut EffectiveLimits,
        settings: &[(String, String)],
        save: bool,
    ) -> Result<Reply, Failure> {
        let set = settings.iter().map(|(key, value)| setting(key, value));
        let set: Table = set.collect::<Result<_, _>>().map_err(failure)?;
        self.change_limits(limits, save, |changes| changes.set.extend(set.clone()))?;
        Ok(changed(Change::Set(set), save))
    }

    fn exempt(
        &self,
        limits: &mut EffectiveLimits,
        prefixes: &[String],
        add: bool,
        save: bool,
    ) -> Result<Reply, Failure> {
        let prefixes = changes::prefixes(prefixes).map_err(bad_text)?;
        let there: BTreeSet<IpNet> = limits.exempt().into_keys().collect();
        if let (false, Some(missing)) = (add, prefixes.iter().find(|one| !there.contains(one))) {
            return Err(Failure::new("ratelimit", format!("{missing} is not exempt"))
                .with_hint("`sealdns ratelimit exempt list` shows what is"));
        }
        self.change_limits(limits, save, |changes| {
            changes.exempt.extend(prefixes.iter().map(|prefix| (*prefix, add)));
        })?;
        let change = if add { Change::Added } else { Change::Deleted };
        Ok(changed(change(words(&prefixes)), save))
    }

    fn block(
        &self,
        limits: &mut EffectiveLimits,
        targets: &[String],
        block: Block,
        save: bool,
    ) -> Result<Reply, Failure> {
        let targets = changes::targets(targets).map_err(bad_text)?;
        self.change_limits(limits, save, |changes| {
            changes.block.extend(targets.iter().map(|target| (target.clone(), Some(block))));
        })?;
        let (change, until) = (Change::Added(words(&targets)), report::until(&block));
        Ok(RateLimitChange { change, until, saved: save }.into())
    }

    fn unblock(
        &self,
        limits: &mut EffectiveLimits,
        targets: &[String],
        save: bool,
    ) -> Result<Reply, Failure> {
        let targets = changes::targets(targets).map_err(bad_text)?;
        let there = limits.blocks();
        if let Some(missing) = targets.iter().find(|one| !there.contains_key(one)) {
            return Err(Failure::new("ratelimit", format!("{missing} is not blocked"))
                .with_hint("`sealdns ratelimit block list` shows what is"));
        }
        self.change_limits(limits, save, |changes| {
            changes.block.extend(targets.iter().map(|target| (target.clone(), None)));
        })?;
        Ok(changed(Change::Deleted(words(&targets)), save))
    }

    /// Changes the upper layer, and with `save` the one below it as well.
    fn change_limits(
        &self,
        limits: &mut EffectiveLimits,
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
        limits: &mut EffectiveLimits,
        before: (Changes, Changes),
        save: bool,
    ) -> Result<(), Failure> {
        let now = self.clock.wall().seconds();
        limits.saved.prune(now);
        limits.live.prune(now);
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

fn words(targets: &[impl ToString]) -> Vec<String> {
    targets.iter().map(ToString::to_string).collect()
}

fn changed(change: Change, saved: bool) -> Reply {
    RateLimitChange { change, until: None, saved }.into()
}

fn bad_text(message: String) -> Failure {
    Failure::new("ratelimit", message)
}

fn failure(bad: BadSetting) -> Failure {
    Failure { code: "ratelimit".into(), message: bad.message, hint: bad.hint }
}
