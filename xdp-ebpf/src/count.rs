//! Counters: plain additions to this CPU's copy.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use xdp_common::Outcome;
use xdp_common::limit::decide::Count;
use xdp_common::maps::{self, OUTCOMES, Stats, Verdicts};

use crate::frame::pinned;
use crate::hook::Hook;

#[map]
static STATS: PerCpuArray<Stats> = PerCpuArray::with_max_entries(maps::COUNTERS_COUNT, 0);

#[map]
static VERDICTS: PerCpuArray<Verdicts> = PerCpuArray::with_max_entries(maps::COUNTERS_COUNT, 0);

#[inline(always)]
fn stats<H: Hook>() -> Option<&'static mut Stats> {
    // SAFETY: the value belongs to this CPU, and no two references to it live at a time.
    unsafe { STATS.get_ptr_mut(H::COUNTERS).map(|stats| &mut *stats) }
}

/// Counts what became of a packet.
#[inline(always)]
pub fn outcome<H: Hook>(outcome: Outcome) {
    if let Some(stats) = stats::<H>() {
        // The compiler knows that it is small, the verifier does not.
        stats.outcomes[pinned(outcome.index()) & (OUTCOMES - 1)] += 1;
    }
}

/// Counts what became of a packet, by the place of the outcome.
#[inline(always)]
pub fn outcome_at<H: Hook>(place: usize) {
    if let Some(stats) = stats::<H>() {
        stats.outcomes[place & (OUTCOMES - 1)] += 1;
    }
}

/// Counts what the limiter decided.
#[inline(always)]
pub fn verdict<H: Hook>(what: Count) {
    // SAFETY: as in `stats`.
    let verdicts = unsafe { VERDICTS.get_ptr_mut(H::COUNTERS).map(|verdicts| &mut *verdicts) };
    if let Some(verdicts) = verdicts {
        match what {
            Count::Class(class, verdict) => {
                verdicts.classes[pinned(class) & 7][pinned(verdict.index()) & 3] += 1;
            }
            Count::Total(verdict) => verdicts.totals[pinned(verdict.index()) & 3] += 1,
            Count::Exempt => verdicts.exempt += 1,
            Count::BlockedPrefix => verdicts.blocked_prefix += 1,
            Count::BlockedName => verdicts.blocked_name += 1,
        }
    }
}

/// Counts an answer: the place of its outcome, and the octets of the query and of the response.
#[inline(always)]
pub fn answer<H: Hook>(outcome: usize, query: usize, response: usize) {
    if let Some(stats) = stats::<H>() {
        stats.outcomes[outcome & (OUTCOMES - 1)] += 1;
        stats.octets_in += query as u64;
        stats.octets_out += response as u64;
    }
}

/// Counts a packet that grew into its head room.
#[inline(always)]
pub fn grown_at_head<H: Hook>() {
    if let Some(stats) = stats::<H>() {
        stats.grown_at_head += 1;
    }
}
