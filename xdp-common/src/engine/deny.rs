//! What is said at a name that does not exist: the referral above it, the wildcard's answer, the
//! DNAME's, or NXDOMAIN with its proof (RFC 4035 section 3.1.3, RFC 5155 section 7.2).

use crate::Outcome;
use crate::dns::rcode;
use crate::engine::proofs::add_proof;
use crate::engine::{exact, find, gap};
use crate::image::Store;
use crate::image::node::{Node, flag};
use crate::image::zone::{Zone, denial};
use crate::launder::recall;
use crate::state::absence::{MAX_WAITING, Waiting};
use crate::state::plan::{QUESTION, section};
use crate::state::{Context, Scratch, Step};

/// Finds the closest encloser of a name that does not exist and stands in [`Scratch::name`]. What is
/// decided by the encloser alone is planned: the referral, the DNAME.
#[inline(always)]
pub fn enclose<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let context = scratch.absence.context();
    let labels = recall(&scratch.absence.labels) as usize & 0x7f;
    let (address, depth) = find::encloser(store, scratch, context.len as usize & 0xff, labels)?;
    if address == 0 {
        // Followed names that left all zones are the resolver's.
        return if context.from == QUESTION {
            Err(Outcome::NotOurs)
        } else {
            Ok(Step::Done(Outcome::Positive))
        };
    }
    let node = Node::new(store.record(address).ok_or(Outcome::Broken)?);
    scratch.absence.encloser = address;
    if context.from == QUESTION {
        scratch.plan.zone = node.zone();
    }
    if node.is(flag::CUT) {
        exact::referral::<S>(scratch, node, context)?;
        return Ok(Step::Done(Outcome::Referral));
    }
    if node.is(flag::HOT) {
        return Err(Outcome::Miss);
    }
    if node.is(flag::DNAME) {
        return Ok(Step::Redirect);
    }
    let labels = recall(&scratch.absence.labels) as usize;
    scratch.absence.next_closer = scratch.offsets[labels.wrapping_sub(depth + 1) & 127] as u32;
    scratch.absence.cover = 0;
    scratch.absence.is_sought = 0;
    if recall(&scratch.query.dnssec_ok) == 0 {
        return Ok(Step::Conclude);
    }
    let zone = Zone::new(store.record(node.zone()).ok_or(Outcome::Broken)?);
    match zone.denial() {
        denial::NSEC => scratch.absence.is_sought = 1,
        denial::NSEC3 if node.is(flag::NO_NSEC3) => scratch.absence.cover = node.first_cover(),
        denial::NSEC3 => return Ok(Step::Hash),
        _ => {}
    }
    Ok(Step::Conclude)
}

/// Plans what is said below the closest encloser: the wildcard's answer, or NXDOMAIN with its proof.
#[inline(always)]
pub fn conclude<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let encloser = recall(&scratch.absence.encloser);
    let encloser = Node::new(store.record(encloser).ok_or(Outcome::Broken)?);
    if recall(&scratch.absence.is_sought) != 0 {
        scratch.absence.cover = gap::nsec_cover(store, scratch, encloser)?;
    }
    let context = scratch.absence.context();
    if encloser.wildcard() != 0 {
        return wildcard(store, scratch, encloser, context);
    }
    let zone = Zone::new(store.record(encloser.zone()).ok_or(Outcome::Broken)?);
    scratch.plan.rcode = rcode::NXDOMAIN;
    scratch.plan.add(zone.soa(), section::AUTHORITY, context);
    if recall(&scratch.query.dnssec_ok) != 0 {
        add_proof::<S>(scratch, recall(&scratch.absence.cover), context);
        add_proof::<S>(scratch, encloser.encloser_match(), context);
        add_proof::<S>(scratch, encloser.wildcard_cover(), context);
    }
    Ok(Step::Done(Outcome::Nxdomain))
}

/// The wildcard's RRset as if it were the name's own, with the proof that the name itself does not
/// exist (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6), or that the wildcard does not have the
/// type (RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.5).
#[inline(always)]
fn wildcard<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    encloser: Node<'_>,
    context: Context,
) -> Result<Step, Outcome> {
    let source = Node::new(store.record(encloser.wildcard()).ok_or(Outcome::Broken)?);
    let qtype = recall(&scratch.query.qtype) as u16;
    let piece = exact::type_piece::<S>(source, qtype, scratch)?;
    if piece != 0 {
        scratch.plan.add(piece, section::ANSWER, context);
        add_proof::<S>(scratch, recall(&scratch.absence.cover), context);
        return Ok(Step::Done(Outcome::Wildcard));
    }
    if source.is(flag::CNAME) {
        let index = scratch.absence.waiting as usize & (MAX_WAITING - 1);
        let address = recall(&scratch.absence.cover);
        scratch.absence.covers[index] = Waiting { address, context };
        scratch.absence.waiting = index as u32 + 1;
        return exact::cname(store, scratch, source, context, Outcome::Wildcard);
    }
    let zone = Zone::new(store.record(encloser.zone()).ok_or(Outcome::Broken)?);
    scratch.plan.add(zone.soa(), section::AUTHORITY, context);
    if recall(&scratch.query.dnssec_ok) != 0 {
        let [first, second] = source.proofs();
        add_proof::<S>(scratch, recall(&scratch.absence.cover), context);
        add_proof::<S>(scratch, encloser.encloser_match(), context);
        add_proof::<S>(scratch, first, context);
        add_proof::<S>(scratch, second, context);
    }
    Ok(Step::Done(Outcome::Wildcard))
}
