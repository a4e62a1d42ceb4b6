//! A plan: which pieces an answer is made of, and in which section each goes.

use crate::Outcome;
use crate::image::Address;
use crate::launder::recall;

/// Places for pieces in a plan. The longest: a chain of CNAMEs through wildcards, and a denial.
pub const PLAN_LEN: usize = 32;

/// Answer, authority or additional section.
#[allow(missing_docs, reason = "the names of RFC 1035 section 4.1")]
pub mod section {
    pub const ANSWER: u32 = 0;
    pub const AUTHORITY: u32 = 1;
    pub const ADDITIONAL: u32 = 2;
}

/// The context of pieces about the question's name.
pub const QUESTION: u32 = 0;

/// One piece of an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where its record is.
    pub address: Address,
    /// One of [`section`].
    pub section: u32,
    /// [`QUESTION`], or one more than the place of the CNAME in whose RDATA the name it is about
    /// stands.
    pub context: u32,
    /// Octets of that name.
    pub context_len: u32,
    /// Where it comes in the message, in octets.
    pub at: u32,
    /// Octets that are sent of it.
    pub len: u32,
}

/// What will be said.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many of `parts` count.
    pub count: u32,
    /// The response code, extended bits included.
    pub rcode: u32,
    /// 1 if the answer is authoritative.
    pub authoritative: u32,
    /// 1 if TC is set: no piece is sent, or over TCP not all the glue.
    pub truncated: u32,
    /// 1 if the last part may be left out.
    pub last_is_optional: u32,
    /// What the answer is called: the [`Outcome::index`](crate::Outcome::index).
    pub outcome: u32,
    /// 1 if TC is set since the answer is over its rate limit.
    pub slipped: u32,
    /// The extended error (RFC 8914); 0 if there is none to tell: "Other Error" tells nothing.
    pub extended_error: u32,
    /// Octets of the whole message.
    pub total: u32,
    /// The record of the zone that encloses the question's name; 0 if none does.
    pub zone: Address,
    /// Records in the three sections, 16 bits each.
    pub counts: u64,
    /// The pieces.
    pub parts: [Part; PLAN_LEN],
}

impl Plan {
    /// Nothing to say.
    pub const fn new() -> Plan {
        let part = Part { address: 0, section: 0, context: 0, context_len: 0, at: 0, len: 0 };
        Plan {
            count: 0,
            rcode: 0,
            authoritative: 0,
            truncated: 0,
            last_is_optional: 0,
            outcome: 0,
            slipped: 0,
            extended_error: 0,
            total: 0,
            zone: 0,
            counts: 0,
            parts: [part; PLAN_LEN],
        }
    }

    /// Forgets what was planned.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.count = 0;
        self.rcode = 0;
        self.authoritative = 0;
        self.truncated = 0;
        self.last_is_optional = 0;
        self.slipped = 0;
        self.extended_error = 0;
        self.zone = 0;
    }

    /// Plans to say no more than that the client must ask over TCP, with the response code that was planned.
    #[inline(always)]
    pub fn slip(&mut self) {
        self.count = 0;
        self.truncated = 1;
        self.slipped = 1;
    }

    /// The place of the outcome, once it is known whether the answer fits.
    #[inline(always)]
    pub fn said(&self) -> usize {
        if recall(&self.slipped) != 0 {
            Outcome::Slipped.index()
        } else if recall(&self.truncated) != 0 {
            Outcome::Truncated.index()
        } else {
            recall(&self.outcome) as usize
        }
    }

    /// Adds a piece about the context's name.
    #[inline(always)]
    pub fn add(&mut self, address: Address, section: u32, context: Context) {
        let index = self.count as usize & (PLAN_LEN - 1);
        let part = &mut self.parts[index];
        part.address = address;
        part.section = section;
        part.context = context.from;
        part.context_len = context.len;
        self.count = index as u32 + 1;
    }
}

impl Default for Plan {
    fn default() -> Plan {
        Plan::new()
    }
}

/// The name that pieces are about: where it stands in the message and how long it is.
///
/// It is copied as one word, and the verifier wants words on the stack aligned.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// [`QUESTION`], or one more than the place in the plan of the CNAME that leads to it.
    pub from: u32,
    /// Octets of the name.
    pub len: u32,
}
