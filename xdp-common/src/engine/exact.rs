//! What is said at a name that exists: the RRset, the CNAME and where it leads, NODATA; at a zone cut the referral.

use crate::Outcome;
use crate::dns::rtype;
use crate::engine::find::type_piece;
use crate::engine::proofs::proofs;
use crate::engine::referral::referral;
use crate::image::node::{Node, flag};
use crate::image::zone::Zone;
use crate::image::{Address, Store};
use crate::launder::{forget, recall};
use crate::state::plan::{PLAN_LEN, QUESTION, section};
use crate::state::{Absence, Cells, Context, Plan, Query, Step};

/// Starts to plan the answer to the question at the node of its name; `found` is 0 if it has none.
#[inline(always)]
pub fn first(query: &Query, plan: &mut Plan, absence: &mut Absence, found: Address) -> Step {
    plan.authoritative = 1;
    absence.clear();
    let context = Context { from: QUESTION, len: recall(&query.name_len) };
    if found == 0 {
        Step::Absent(recall(&query.labels) as usize, context)
    } else {
        Step::At(found, context)
    }
}

/// Takes steps as long as they lead from node to node.
#[inline(always)]
pub fn run<S: Store>(
    store: &S,
    query: &Query,
    plan: &mut Plan,
    absence: &mut Absence,
    cells: &mut Cells,
    first: Address,
    context: Context,
) -> Result<Step, Outcome> {
    let (mut address, mut context) = (first, context);
    let mut hop = 0;
    while hop <= S::MAX_CHAIN {
        if is_full::<S>(plan, absence) {
            break;
        }
        match at_node(store, query, plan, absence, cells, address, context)? {
            Step::At(next, of) => {
                address = forget(&mut cells.forgotten, next as u64) as Address;
                context = of;
            }
            step => return Ok(step),
        }
        hop += 1;
    }
    end_of_chain::<S>()
}

/// Whether a plan may lack room for what one more name adds. Where chains are bounded it never does.
#[inline(always)]
pub(super) fn is_full<S: Store>(plan: &Plan, absence: &Absence) -> bool {
    let parts = plan.count + absence.waiting;
    S::UNBOUNDED && parts as usize >= PLAN_LEN - 6
}

/// A longer chain is the host's, and past its bound the resolver's: what was found is true.
#[inline(always)]
pub(super) fn end_of_chain<S: Store>() -> Result<Step, Outcome> {
    if S::UNBOUNDED { Ok(Step::Done(Outcome::Positive)) } else { Err(Outcome::Miss) }
}

/// One step at a node.
#[inline(always)]
pub fn at_node<S: Store>(
    store: &S,
    query: &Query,
    plan: &mut Plan,
    absence: &mut Absence,
    cells: &mut Cells,
    address: Address,
    context: Context,
) -> Result<Step, Outcome> {
    let node = Node::new(store.record(address).ok_or(Outcome::Broken)?);
    let qtype = recall(&query.qtype) as u16;
    if node.is(flag::VIRTUAL) {
        return Ok(Step::Absent(node.labels(), context));
    }
    if context.from == QUESTION {
        plan.zone = node.zone();
    }
    if node.is(flag::CUT) && qtype != rtype::DS {
        referral(store, query, plan, absence, cells, node, context)?;
        return Ok(Step::Done(Outcome::Referral));
    }
    let piece = type_piece::<S>(node, qtype, cells)?;
    if piece != 0 {
        plan.add(piece, section::ANSWER, context);
        return Ok(Step::Done(Outcome::Positive));
    }
    if node.is(flag::CNAME) {
        return cname(store, plan, node, context, Outcome::Positive);
    }
    let zone = Zone::new(store.record(node.zone()).ok_or(Outcome::Broken)?);
    nodata(store, plan, query, zone, node, context)?;
    Ok(Step::Done(Outcome::Nodata))
}

/// The CNAME, and where it leads (RFC 1034 section 4.3.2 step 3a). Names outside the zone are the
/// resolver's to follow. `outcome` is what an answer that ends here is called.
#[inline(always)]
pub(super) fn cname<S: Store>(
    store: &S,
    plan: &mut Plan,
    node: Node<'_>,
    context: Context,
    outcome: Outcome,
) -> Result<Step, Outcome> {
    plan.add(node.otherwise(), section::ANSWER, context);
    let from = recall(&plan.count);
    if node.target() != 0 {
        let target = Node::new(store.record(node.target()).ok_or(Outcome::Broken)?);
        return Ok(Step::At(node.target(), Context { from, len: target.name_len() as u32 }));
    }
    if node.is(flag::CHASE) {
        return Ok(Step::Chase(Context { from, len: 0 }));
    }
    Ok(Step::Done(outcome))
}

/// The SOA, and the proof that the type is absent (RFC 4035 section 3.1.3.1, RFC 5155 section
/// 7.2.3, with opt-out 7.2.4).
#[inline(always)]
fn nodata<S: Store>(
    store: &S,
    plan: &mut Plan,
    query: &Query,
    zone: Zone<'_>,
    node: Node<'_>,
    context: Context,
) -> Result<(), Outcome> {
    plan.add(zone.soa(), section::AUTHORITY, context);
    proofs(store, plan, query, node, context)
}
