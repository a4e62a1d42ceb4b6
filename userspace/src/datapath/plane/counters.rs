//! What programs have counted, those that were replaced and those of an earlier daemon among them.

use std::mem::offset_of;

use aya::maps::MapError;
use xdp_common::Outcome;
use xdp_common::maps::{self, Stats, Verdicts};

use crate::datapath::load::{self, Counters, HookCounters, LoadedPrograms, PinnedCounters};
use crate::observe::word::PerWord;
use crate::observe::{KernelCounters, ProgramCounters};

/// The hooks: the places of their counters.
pub(super) const HOOKS: [u32; maps::COUNTERS_COUNT as usize] =
    [maps::XDP_COUNTERS, maps::TCX_COUNTERS];

/// What was counted by programs that are not ours, or not ours any more.
pub(super) struct CarriedCounters {
    /// The counters of programs that were replaced, by hook.
    carried: HookCounters,
    /// What was decided by them.
    verdicts: Verdicts,
    /// What an earlier daemon pinned, while its programs run.
    previous: Option<PreviousPins>,
}

/// What an earlier daemon pinned.
struct PreviousPins {
    /// The set that its programs are in; none if they are not among what is pinned.
    set: Option<u32>,
    counters: Option<PinnedCounters>,
}

impl CarriedCounters {
    /// Nothing yet.
    pub(super) fn new() -> CarriedCounters {
        CarriedCounters { carried: [[0; _]; _], verdicts: Verdicts::default(), previous: None }
    }

    /// All that was counted on a hook, by these programs and before.
    pub(super) fn on(&self, hook: u32, loaded: &LoadedPrograms) -> Result<Counters, MapError> {
        let mut counters = loaded.counters(hook)?;
        load::add(&mut counters, &self.before(hook));
        Ok(counters)
    }

    /// All that was counted; of a hook none if its counters cannot be read.
    pub(super) fn all(&self, loaded: &LoadedPrograms) -> KernelCounters {
        let [xdp, tcx] = HOOKS.map(|hook| match self.on(hook, loaded) {
            Ok(words) => Some(counters_of(&words)),
            Err(error) => {
                tracing::warn!(
                    "XDP's counters cannot be read: {error} (before Linux 5.19 it takes CAP_BPF)"
                );
                None
            }
        });
        KernelCounters { xdp, tcx }
    }

    /// All that was decided.
    pub(super) fn verdicts(&self, loaded: Option<&LoadedPrograms>) -> Verdicts {
        let mut sums = self.verdicts;
        for hook in HOOKS {
            match loaded.map(|loaded| loaded.verdicts(hook)) {
                Some(Ok(verdicts)) => sums.add(&verdicts),
                Some(Err(error)) => tracing::warn!("the verdicts cannot be read: {error}"),
                None => {}
            }
        }
        sums
    }

    /// Adds what programs have counted that were replaced and run no more.
    pub(super) fn add(&mut self, replaced: &LoadedPrograms) {
        for (hook, carried) in HOOKS.into_iter().zip(&mut self.carried) {
            match replaced.counters(hook) {
                Ok(counters) => load::add(carried, &counters),
                Err(error) => {
                    tracing::warn!("the counters before the change are lost: {error}");
                }
            }
            if let Ok(verdicts) = replaced.verdicts(hook) {
                self.verdicts.add(&verdicts);
            }
        }
    }

    /// Tells a next daemon what was counted before `loaded`, now that `old` programs are replaced too.
    pub(super) fn carry(&self, loaded: Option<&mut LoadedPrograms>, old: Option<&LoadedPrograms>) {
        let sums = HOOKS.map(|hook| {
            let mut sums = self.before(hook);
            if let Some(Ok(counters)) = old.map(|old| old.counters(hook)) {
                load::add(&mut sums, &counters);
            }
            sums
        });
        if let Some(Err(error)) = loaded.map(|loaded| loaded.carry(&sums)) {
            tracing::warn!("the next daemon will not know these counters: {error}");
        }
    }

    //--- An earlier daemon

    /// Takes over what an earlier daemon pinned; `counters` opens those of a set. If a daemon was killed while it
    /// replaced programs there are two, and the later counts for both.
    pub(super) fn take_over(
        &mut self,
        set: Option<u32>,
        counters: impl FnOnce(u32) -> Option<PinnedCounters>,
    ) {
        if self.previous.as_ref().is_none_or(|previous| previous.set < set) {
            let counters = set.and_then(counters);
            self.previous = Some(PreviousPins { set, counters });
        }
    }

    /// Whether an earlier daemon's programs run.
    pub(super) fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// The set of maps and programs that those are in.
    pub(super) fn previous_set(&self) -> Option<u32> {
        self.previous.as_ref().and_then(|previous| previous.set)
    }

    /// From here on what the earlier daemon's programs have counted is ours, and they are gone.
    pub(super) fn inherit(&mut self) {
        for hook in HOOKS {
            let counted = self.by_previous(hook);
            load::add(&mut self.carried[hook as usize], &counted);
        }
        self.previous = None;
    }

    /// What was counted on a hook by others than the programs that are loaded.
    fn before(&self, hook: u32) -> Counters {
        let mut counters = self.carried[hook as usize];
        load::add(&mut counters, &self.by_previous(hook));
        counters
    }

    /// What the programs of an earlier daemon have counted, while they run.
    fn by_previous(&self, hook: u32) -> Counters {
        let previous = self.previous.as_ref().and_then(|previous| previous.counters.as_ref());
        match previous.map(|previous| previous.counters(hook)) {
            Some(Ok(counters)) => counters,
            Some(Err(error)) => {
                tracing::warn!("the counters of what is pinned cannot be read: {error}");
                [0; _]
            }
            None => [0; _],
        }
    }
}

/// The words of [`Counters`] as counters.
pub fn counters_of(words: &Counters) -> ProgramCounters {
    let sum = |offset: usize| words[offset / size_of::<u64>()];
    ProgramCounters {
        outcomes: PerWord::new(|outcome: Outcome| words[outcome.index()]),
        octets_in: sum(offset_of!(Stats, octets_in)),
        octets_out: sum(offset_of!(Stats, octets_out)),
        grown_at_head: sum(offset_of!(Stats, grown_at_head)),
    }
}

/// The places of [`HOOKS`] are those of counters.
const _: () = assert!(maps::XDP_COUNTERS == 0 && maps::TCX_COUNTERS == 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_read_from_its_place() {
        let mut words: Counters = std::array::from_fn(|index| index as u64);
        words[Outcome::Miss.index()] = 1000;
        let counters = counters_of(&words);
        assert_eq!(counters.outcomes[Outcome::Miss], 1000);
        assert_eq!(counters.outcomes[Outcome::Torn], Outcome::Torn.index() as u64);
        let sums = (counters.octets_in, counters.octets_out, counters.grown_at_head);
        assert_eq!(sums, (64, 65, 66));
    }
}
