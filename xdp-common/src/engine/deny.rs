//! What is said at a name that does not exist: the referral above it, the wildcard's answer, the
//! DNAME's, or NXDOMAIN with its proof (RFC 4035 section 3.1.3, RFC 5155 section 7.2).

use crate::Outcome;
use crate::dns::rcode;
use crate::engine::proofs::add_proof;
use crate::engine::referral::referral;
use crate::engine::{exact, find, gap};
use crate::image::Store;
use crate::image::node::{Node, flag};
use crate::image::zone::{Zone, denial};
use crate::launder::recall;
use crate::state::absence::{MAX_WAITING, Waiting};
use crate::state::plan::{QUESTION, section};
use crate::state::{Absence, Cells, Context, Plan, Query, Scratch, Step};

/// Finds the closest encloser of a name that does not exist and stands in [`Scratch::name`]. What is
/// decided by the encloser alone is planned: the referral, the DNAME.
#[inline(always)]
pub fn closest_encloser<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let Scratch { query, plan, absence, cells, name, .. } = scratch;
    let context = absence.context();
    let labels = recall(&absence.labels) as usize & 0x7f;
    let (address, depth) = find::encloser(store, name, cells, context.len as usize & 0xff, labels)?;
    if address == 0 {
        // Followed names that left all zones are the resolver's.
        return if context.from == QUESTION {
            Err(Outcome::NotOurs)
        } else {
            Ok(Step::Done(Outcome::Positive))
        };
    }
    let node = Node::new(store.record(address).ok_or(Outcome::Broken)?);
    absence.encloser = address;
    if context.from == QUESTION {
        plan.zone = node.zone();
    }
    if node.is(flag::CUT) {
        referral(store, query, plan, absence, cells, node, context)?;
        return Ok(Step::Done(Outcome::Referral));
    }
    if node.is(flag::PARTIAL) {
        return Err(Outcome::Miss);
    }
    if node.is(flag::DNAME) {
        return Ok(Step::Redirect);
    }
    let labels = recall(&absence.labels) as usize;
    absence.next_closer = name.offsets[labels.wrapping_sub(depth + 1) & 127] as u32;
    absence.cover = 0;
    absence.is_sought = 0;
    if recall(&query.dnssec_ok) == 0 {
        return Ok(Step::Conclude);
    }
    let zone = Zone::new(store.record(node.zone()).ok_or(Outcome::Broken)?);
    match zone.denial() {
        denial::NSEC => absence.is_sought = 1,
        denial::NSEC3 if node.is(flag::NO_NSEC3) => absence.cover = node.first_cover(),
        denial::NSEC3 => return Ok(Step::Hash),
        _ => {}
    }
    Ok(Step::Conclude)
}

/// Plans what is said below the closest encloser: the wildcard's answer, or NXDOMAIN with its proof.
#[inline(always)]
pub fn conclude<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let Scratch { query, plan, absence, cells, name, .. } = scratch;
    let encloser = recall(&absence.encloser);
    let encloser = Node::new(store.record(encloser).ok_or(Outcome::Broken)?);
    if recall(&absence.is_sought) != 0 {
        let at = recall(&absence.next_closer) as usize & 0xff;
        absence.cover = gap::nsec_cover(store, &name.octets, cells, at, encloser)?;
    }
    let context = absence.context();
    if encloser.wildcard() != 0 {
        return wildcard(store, query, plan, absence, cells, encloser, context);
    }
    let zone = Zone::new(store.record(encloser.zone()).ok_or(Outcome::Broken)?);
    plan.rcode = rcode::NXDOMAIN;
    plan.add(zone.soa(), section::AUTHORITY, context);
    if recall(&query.dnssec_ok) != 0 {
        add_proof::<S>(plan, cells, recall(&absence.cover), context);
        add_proof::<S>(plan, cells, encloser.encloser_match(), context);
        add_proof::<S>(plan, cells, encloser.wildcard_cover(), context);
    }
    Ok(Step::Done(Outcome::Nxdomain))
}

/// The wildcard's RRset as if it were the name's own, with the proof that the name itself does not
/// exist (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6), or that the wildcard does not have the
/// type (RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.5).
#[inline(always)]
fn wildcard<S: Store>(
    store: &S,
    query: &Query,
    plan: &mut Plan,
    absence: &mut Absence,
    cells: &mut Cells,
    encloser: Node<'_>,
    context: Context,
) -> Result<Step, Outcome> {
    let source = Node::new(store.record(encloser.wildcard()).ok_or(Outcome::Broken)?);
    let qtype = recall(&query.qtype) as u16;
    let piece = find::type_piece::<S>(source, qtype, cells)?;
    if piece != 0 {
        plan.add(piece, section::ANSWER, context);
        add_proof::<S>(plan, cells, recall(&absence.cover), context);
        return Ok(Step::Done(Outcome::Wildcard));
    }
    if source.is(flag::CNAME) {
        let index = absence.waiting as usize & (MAX_WAITING - 1);
        let address = recall(&absence.cover);
        absence.covers[index] = Waiting { address, context };
        absence.waiting = index as u32 + 1;
        return exact::cname(store, plan, source, context, Outcome::Wildcard);
    }
    let zone = Zone::new(store.record(encloser.zone()).ok_or(Outcome::Broken)?);
    plan.add(zone.soa(), section::AUTHORITY, context);
    if recall(&query.dnssec_ok) != 0 {
        let [first, second] = source.proofs();
        add_proof::<S>(plan, cells, recall(&absence.cover), context);
        add_proof::<S>(plan, cells, encloser.encloser_match(), context);
        add_proof::<S>(plan, cells, first, context);
        add_proof::<S>(plan, cells, second, context);
    }
    Ok(Step::Done(Outcome::Wildcard))
}
