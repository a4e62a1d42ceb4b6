//! What is said at a name that exists: the RRset, the CNAME and where it leads, NODATA, the referral.

use crate::Outcome;
use crate::bytes::is_zero;
use crate::dns::rtype;
use crate::engine::proofs::{add_waiting_proofs, proofs};
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
        referral::<S>(query, plan, absence, cells, node, context)?;
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
    nodata(plan, query, zone, node, context);
    Ok(Step::Done(Outcome::Nodata))
}

/// The piece of one type, or for ANY of what stands for all; 0 if the node does not have it.
#[inline(always)]
pub(super) fn type_piece<S: Store>(
    node: Node<'_>,
    qtype: u16,
    cells: &mut Cells,
) -> Result<Address, Outcome> {
    let count = node.type_count();
    if count > S::MAX_TYPES {
        return Err(if S::UNBOUNDED { Outcome::Oversize } else { S::EXCEEDED });
    }
    let (mut found, mut index) = (0u64, 0);
    while index < S::MAX_TYPES {
        if index >= count {
            break;
        }
        let (rtype, piece) = node.type_at(index);
        if rtype == qtype {
            found = piece as u64;
            break;
        }
        index += 1;
    }
    // Arithmetic and no branch: no type of a zone is ANY, so that nothing was found.
    let is_any = 0u64.wrapping_sub(is_zero((qtype ^ rtype::ANY) as u64));
    Ok(forget(&mut cells.forgotten, found | (node.any() as u64 & is_any)) as Address)
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
fn nodata(plan: &mut Plan, query: &Query, zone: Zone<'_>, node: Node<'_>, context: Context) {
    plan.add(zone.soa(), section::AUTHORITY, context);
    proofs(plan, query, node, context);
}

/// The name servers of the delegated zone, its DS or the proof that it has none, and the addresses
/// without which nobody could ask them (RFC 4035 section 3.1.4, RFC 9471).
#[inline(always)]
pub(super) fn referral<S: Store>(
    query: &Query,
    plan: &mut Plan,
    absence: &mut Absence,
    cells: &mut Cells,
    node: Node<'_>,
    context: Context,
) -> Result<(), Outcome> {
    if context.from == QUESTION {
        plan.authoritative = 0;
    }
    plan.add(node.otherwise(), section::AUTHORITY, context);
    // The DS itself is part of the referral.
    if type_piece::<S>(node, rtype::DS, cells)? == 0 {
        proofs(plan, query, node, context);
    }
    if context.from != QUESTION {
        add_waiting_proofs::<S>(plan, absence, cells);
    }
    if node.glue() != 0 {
        plan.add(node.glue(), section::ADDITIONAL, context);
    }
    if node.optional_glue() != 0 {
        plan.add(node.optional_glue(), section::ADDITIONAL, context);
        plan.last_is_optional = 1;
    }
    Ok(())
}
