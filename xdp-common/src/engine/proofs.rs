//! Proofs of absence in a plan: those that a name's node knows, and those that wait for the end of a chain of CNAMEs.

use crate::Outcome;
use crate::image::chain::Chain;
use crate::image::node::{Node, flag};
use crate::image::zone::Zone;
use crate::image::{Address, Store};
use crate::launder::{forget, recall};
use crate::state::absence::{MAX_WAITING, Waiting};
use crate::state::plan::section;
use crate::state::{Absence, Cells, Context, Plan, Query};

/// Completes the plan: what waits comes behind the answers. A plan of more pieces than this host of
/// the engine sends is [`Outcome::Miss`].
#[inline(always)]
pub fn finish<S: Store>(
    plan: &mut Plan,
    absence: &mut Absence,
    cells: &mut Cells,
    outcome: Outcome,
) -> Result<Outcome, Outcome> {
    add_waiting_proofs::<S>(plan, absence, cells);
    if recall(&plan.count) as usize > S::MAX_PIECES {
        return Err(Outcome::Miss);
    }
    Ok(outcome)
}

/// Adds the proofs that wait.
#[inline(always)]
pub(super) fn add_waiting_proofs<S: Store>(
    plan: &mut Plan,
    absence: &mut Absence,
    cells: &mut Cells,
) {
    const { assert!(S::MAX_CHAIN + 2 <= MAX_WAITING) };
    let waiting = recall(&absence.waiting) as usize;
    let mut index = 0;
    while index < S::MAX_CHAIN + 2 {
        if index >= waiting {
            break;
        }
        let Waiting { address, context } = absence.covers[index];
        add_proof::<S>(plan, cells, address, context);
        index += 1;
    }
    absence.waiting = 0;
}

/// Adds a proof, unless it is none or there already: one NSEC or NSEC3 often proves two things.
#[inline(always)]
pub(super) fn add_proof<S: Store>(
    plan: &mut Plan,
    cells: &mut Cells,
    address: Address,
    context: Context,
) {
    let count = recall(&plan.count) as usize;
    let (mut known, mut index) = ((address == 0) as u64, 0);
    while index < S::MAX_PIECES {
        if index >= count {
            break;
        }
        known |= (plan.parts[index].address == address) as u64;
        index += 1;
    }
    if forget(&mut cells.forgotten, known) == 0 {
        plan.add(address, section::AUTHORITY, context);
    }
}

/// Both proofs of a node, if the client wants them.
#[inline(always)]
pub(super) fn proofs<S: Store>(
    store: &S,
    plan: &mut Plan,
    query: &Query,
    node: Node<'_>,
    context: Context,
) -> Result<(), Outcome> {
    if recall(&query.dnssec_ok) == 0 {
        return Ok(());
    }
    let [mut first, second] = node.proofs();
    if first == 0 && node.is(flag::NO_NSEC3) {
        let zone = Zone::new(store.record(node.zone()).ok_or(Outcome::Broken)?);
        first = Chain::new(store.record(zone.chain()).ok_or(Outcome::Broken)?).apex_match();
    }
    if first != 0 {
        plan.add(first, section::AUTHORITY, context);
    }
    if second != 0 {
        plan.add(second, section::AUTHORITY, context);
    }
    Ok(())
}
