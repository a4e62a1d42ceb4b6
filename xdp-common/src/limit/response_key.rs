//! What of a response is counted together: its class, and the name that stands for it.

use super::Class;
pub use super::list::NameListing;
use super::list::{NameEntry, flag};
use crate::Outcome;
use crate::bytes::u8_at;
use crate::dns::name::{self, mix};
use crate::dns::rtype;
use crate::image::node::Node;
use crate::image::{Address, Store};
use crate::launder::{forget, recall};
use crate::state::plan::section;
use crate::state::scratch::QuestionRoom;
use crate::state::{Absence, Cells, LowerName, Plan, Query};

/// What of a response is counted together.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResponseKey {
    /// The [`Class::index`].
    pub class: u32,
    /// What stands for the name and the type.
    pub name: u64,
}

/// The [`Class::index`] of a planned response, given the place of its outcome.
#[inline(always)]
pub fn class(query: &Query, plan: &Plan, cells: &mut Cells, outcome: usize) -> usize {
    const POSITIVE: usize = Outcome::Positive.index();
    const NODATA: usize = Outcome::Nodata.index();
    const REFERRAL: usize = Outcome::Referral.index();
    const WILDCARD: usize = Outcome::Wildcard.index();
    const NXDOMAIN: usize = Outcome::Nxdomain.index();
    const DNAME: usize = Outcome::Dname.index();
    let is_negative = recall(&plan.parts[0].section) != section::ANSWER;
    let class = match outcome {
        NODATA => Class::Nodata,
        WILDCARD if is_negative => Class::Nodata,
        REFERRAL => Class::Referral,
        NXDOMAIN => Class::Nxdomain,
        POSITIVE | WILDCARD | DNAME => match recall(&query.qtype) as u16 {
            rtype::DNSKEY => Class::Dnskey,
            rtype::ANY => Class::Any,
            _ => Class::Positive,
        },
        _ => Class::Error,
    };
    forget(&mut cells.forgotten, class.index() as u64) as usize
}

/// What stands for the name and the type of a planned response. A name that does not exist counts as its
/// closest encloser, whether the response is NXDOMAIN, a wildcard's, a DNAME's or the referral above it: else
/// random names would each have an account. Positive responses count by type too; errors by neither.
/// `None` if the image is damaged.
#[inline(always)]
pub fn name<S: Store>(store: &S, query: &Query, absence: &Absence, class: usize) -> Option<u64> {
    const ERROR: usize = Class::Error.index();
    const NODATA: usize = Class::Nodata.index();
    const NXDOMAIN: usize = Class::Nxdomain.index();
    const REFERRAL: usize = Class::Referral.index();
    let encloser: Address = absence.encloser();
    let name =
        if encloser == 0 { recall(&query.hash) } else { Node::new(store.record(encloser)?).hash() };
    Some(match class {
        ERROR => 0,
        NODATA | NXDOMAIN | REFERRAL => name,
        _ => mix(name, recall(&query.qtype) as u64),
    })
}

/// The most labels that a listed name has: so many suffixes of a question are looked at.
pub const MAX_DEPTH: usize = 16;

/// Looks for the question's name and for what is above it in a list. `depths` has a bit for each number of
/// labels that a listed name has, `look` finds an entry by [`name::hash`]. The lower-case name and its offsets
/// are made anew: a CNAME may have been followed since the question was read.
#[inline(always)]
pub fn listed(
    question: &QuestionRoom,
    name: &mut LowerName,
    cells: &mut Cells,
    seed: u64,
    depths: u32,
    now_s: u64,
    look: impl Fn(u64) -> Option<NameEntry>,
) -> NameListing {
    let read = |place: usize| u8_at(question, place);
    let walked = name::walk(read, &mut name.offsets, &mut cells.forgotten);
    // A question that was read has a name.
    let Some((len, labels)) = walked else { return NameListing { block: 0, policy: 0 } };
    name::lowercase(question, &mut name.octets, len, seed, &mut cells.forgotten);
    cells.listed.block = 0;
    cells.listed.policy = 0;
    let mut depth = 0;
    while depth <= MAX_DEPTH {
        if depth > labels {
            break;
        }
        if depths >> depth & 1 != 0 {
            let at = recall(&name.offsets[(labels - depth) & 127]) as usize;
            let len = len.wrapping_sub(at) & 0xff;
            let hash = name::hash(&name.octets, at, len, seed);
            if let Some(entry) = look(forget(&mut cells.forgotten, hash)) {
                cells.listed.block |= entry.block(now_s) as u64;
                if entry.flags & flag::POLICY != 0 {
                    cells.listed.policy = entry.policy as u64;
                }
            }
        }
        depth += 1;
    }
    forget(&mut cells.forgotten, depth as u64);
    NameListing {
        block: recall(&cells.listed.block) as u32,
        policy: recall(&cells.listed.policy) as u32,
    }
}
