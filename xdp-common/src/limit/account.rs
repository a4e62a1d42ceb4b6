//! What of a response is counted together: its class, and the name that stands for it.

use super::Class;
use super::list::{NameEntry, flag};
use crate::Outcome;
use crate::bytes::u8_at;
use crate::dns::name::{self, mix};
use crate::dns::rtype;
use crate::image::node::Node;
use crate::image::{Address, Store};
use crate::launder::{forget, recall};
use crate::state::Scratch;
use crate::state::plan::section;

/// What of a response is counted together.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// The [`Class::index`].
    pub class: u32,
    /// What stands for the name and the type.
    pub name: u64,
}

/// The [`Class::index`] of a planned response, given the place of its outcome.
#[inline(always)]
pub fn class(scratch: &mut Scratch, outcome: usize) -> usize {
    const POSITIVE: usize = Outcome::Positive.index();
    const NODATA: usize = Outcome::Nodata.index();
    const REFERRAL: usize = Outcome::Referral.index();
    const WILDCARD: usize = Outcome::Wildcard.index();
    const NXDOMAIN: usize = Outcome::Nxdomain.index();
    const DNAME: usize = Outcome::Dname.index();
    let is_negative = recall(&scratch.plan.parts[0].section) != section::ANSWER;
    let class = match outcome {
        NODATA => Class::Nodata,
        WILDCARD if is_negative => Class::Nodata,
        REFERRAL => Class::Referral,
        NXDOMAIN => Class::Nxdomain,
        POSITIVE | WILDCARD | DNAME => match recall(&scratch.query.qtype) as u16 {
            rtype::DNSKEY => Class::Dnskey,
            rtype::ANY => Class::Any,
            _ => Class::Positive,
        },
        _ => Class::Error,
    };
    forget(&mut scratch.slots[0], class.index() as u64) as usize
}

/// What stands for the name and the type of a planned response. A name that does not exist counts as its
/// closest encloser, whether the response is NXDOMAIN, a wildcard's, a DNAME's or the referral above it: else
/// random names would each have an account. Positive responses count by type too; errors by neither.
/// `None` if the image is damaged.
#[inline(always)]
pub fn name<S: Store>(store: &S, scratch: &Scratch, class: usize) -> Option<u64> {
    const ERROR: usize = Class::Error.index();
    const NODATA: usize = Class::Nodata.index();
    const NXDOMAIN: usize = Class::Nxdomain.index();
    const REFERRAL: usize = Class::Referral.index();
    let encloser: Address = scratch.absence.encloser();
    let name = if encloser == 0 {
        recall(&scratch.query.hash)
    } else {
        Node::new(store.record(encloser)?).hash()
    };
    Some(match class {
        ERROR => 0,
        NODATA | NXDOMAIN | REFERRAL => name,
        _ => mix(name, recall(&scratch.query.qtype) as u64),
    })
}

/// The most labels that a listed name has: so many suffixes of a question are looked at.
pub const MAX_DEPTH: usize = 16;

/// What is listed for the name of a question: the flags of its block, and the place of its policy.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The [`block`](NameEntry::block)s of all that is listed for it: [`flag::BLOCK`] if any of them is more than
    /// counted; 0 for none.
    pub block: u32,
    /// 0 for the default policy.
    pub policy: u32,
}

/// Looks for the question's name and for what is above it in a list. `depths` has a bit for each number of
/// labels that a listed name has, `look` finds an entry by [`name::hash`]. The lower-case name and its offsets
/// are made anew: a CNAME may have been followed since the question was read.
#[inline(always)]
pub fn listed(
    scratch: &mut Scratch,
    seed: u64,
    depths: u32,
    now_s: u64,
    look: impl Fn(u64) -> Option<NameEntry>,
) -> Listed {
    let question = &scratch.question;
    let read = |place: usize| u8_at(question, place);
    let walked = name::walk(read, &mut scratch.offsets, &mut scratch.slots);
    // A question that was read has a name.
    let Some((len, labels)) = walked else { return Listed { block: 0, policy: 0 } };
    name::lowercase(scratch, len, seed);
    scratch.slots[10] = 0;
    scratch.slots[11] = 0;
    let mut depth = 0;
    while depth <= MAX_DEPTH {
        if depth > labels {
            break;
        }
        if depths >> depth & 1 != 0 {
            let at = recall(&scratch.offsets[(labels - depth) & 127]) as usize;
            let len = len.wrapping_sub(at) & 0xff;
            let hash = name::hash(&scratch.name, at, len, seed);
            if let Some(entry) = look(forget(&mut scratch.slots[12], hash)) {
                scratch.slots[10] |= entry.block(now_s) as u64;
                if entry.flags & flag::POLICY != 0 {
                    scratch.slots[11] = entry.policy as u64;
                }
            }
        }
        depth += 1;
    }
    forget(&mut scratch.slots[12], depth as u64);
    Listed { block: recall(&scratch.slots[10]) as u32, policy: recall(&scratch.slots[11]) as u32 }
}
