//! Referrals: at a zone cut, and for all names below it.

use crate::Outcome;
use crate::dns::rtype;
use crate::engine::find::type_piece;
use crate::engine::proofs::{add_waiting_proofs, proofs};
use crate::image::Store;
use crate::image::node::Node;
use crate::state::plan::{QUESTION, section};
use crate::state::{Absence, Cells, Context, Plan, Query};

/// The name servers of the delegated zone, its DS or the proof that it has none, and the addresses
/// without which nobody could ask them (RFC 4035 section 3.1.4, RFC 9471).
#[inline(always)]
pub(super) fn referral<S: Store>(
    store: &S,
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
        proofs(store, plan, query, node, context)?;
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
