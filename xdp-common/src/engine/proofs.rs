//! Proofs of absence in a plan: those that a name's node knows, and those that wait for the end of a chain of CNAMEs.

use crate::Outcome;
use crate::image::node::Node;
use crate::image::{Address, Store};
use crate::launder::{forget, recall};
use crate::state::absence::{MAX_WAITING, Waiting};
use crate::state::plan::section;
use crate::state::{Context, Scratch};

/// Completes the plan: what waits comes behind the answers. A plan of more pieces than this host of
/// the engine sends is [`Outcome::Miss`].
#[inline(always)]
pub fn finish<S: Store>(scratch: &mut Scratch, outcome: Outcome) -> Result<Outcome, Outcome> {
    settle::<S>(scratch);
    if recall(&scratch.plan.count) as usize > S::MAX_PIECES {
        return Err(Outcome::Miss);
    }
    Ok(outcome)
}

/// Adds the proofs that wait.
#[inline(always)]
pub(super) fn settle<S: Store>(scratch: &mut Scratch) {
    const { assert!(S::MAX_CHAIN + 2 <= MAX_WAITING) };
    let waiting = recall(&scratch.absence.waiting) as usize;
    let mut index = 0;
    while index < S::MAX_CHAIN + 2 {
        if index >= waiting {
            break;
        }
        let Waiting { address, context } = scratch.absence.covers[index];
        add_proof::<S>(scratch, address, context);
        index += 1;
    }
    scratch.absence.waiting = 0;
}

/// Adds a proof, unless it is none or there already: one NSEC or NSEC3 often proves two things.
#[inline(always)]
pub(super) fn add_proof<S: Store>(scratch: &mut Scratch, address: Address, context: Context) {
    let count = recall(&scratch.plan.count) as usize;
    let (mut known, mut index) = ((address == 0) as u64, 0);
    while index < S::MAX_PIECES {
        if index >= count {
            break;
        }
        known |= (scratch.plan.parts[index].address == address) as u64;
        index += 1;
    }
    if forget(&mut scratch.slots[13], known) == 0 {
        scratch.plan.add(address, section::AUTHORITY, context);
    }
}

/// Both proofs of a node, if the client wants them.
#[inline(always)]
pub(super) fn proofs(scratch: &mut Scratch, node: Node<'_>, context: Context) {
    if recall(&scratch.query.dnssec_ok) == 0 {
        return;
    }
    let [first, second] = node.proofs();
    if first != 0 {
        scratch.plan.add(first, section::AUTHORITY, context);
    }
    if second != 0 {
        scratch.plan.add(second, section::AUTHORITY, context);
    }
}
