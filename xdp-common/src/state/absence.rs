//! What is known of a name that does not exist, from one step of planning to the next.

use super::plan::{Context, QUESTION};
use super::step::Step;
use crate::image::Address;
use crate::launder::recall;

/// Proofs that can wait for the end of a chain of CNAMEs.
pub const MAX_WAITING: usize = 16;

/// What is known of a name that does not exist, from one stage of planning to the next. In the kernel
/// each stage is a program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    /// The name.
    pub context: Context,
    /// Its labels, the root not counted.
    pub labels: u32,
    /// The node that a CNAME leads to; 0 if it must be looked for.
    pub target: Address,
    /// The node of the closest encloser.
    pub encloser: Address,
    /// Where the next closer name starts in [`Scratch::name`](super::Scratch::name).
    pub next_closer: u32,
    /// The NSEC3 index of its zone.
    pub chain: Address,
    /// The proof that the next closer name does not exist, or 0.
    pub cover: Address,
    /// 1 if `cover` must be searched for in the index of the encloser's children.
    pub is_sought: u32,
    /// How many CNAMEs were made from DNAMEs.
    pub made: u32,
    /// How many CNAMEs were followed by [`follow`](crate::engine::alias::follow).
    pub hops: u32,
    /// How many of `covers` count.
    pub waiting: u32,
    /// Proofs of wildcards whose CNAMEs are followed: they come behind the answers that are not yet
    /// found.
    pub covers: [Waiting; MAX_WAITING],
}

/// A proof that waits, and the name that it is about.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// The proof.
    pub address: Address,
    /// The name.
    pub context: Context,
}

impl Absence {
    /// Nothing is known.
    pub const fn new() -> Absence {
        let context = Context { from: QUESTION, len: 0 };
        Absence {
            context,
            labels: 0,
            target: 0,
            encloser: 0,
            next_closer: 0,
            chain: 0,
            cover: 0,
            is_sought: 0,
            made: 0,
            hops: 0,
            waiting: 0,
            covers: [Waiting { address: 0, context }; MAX_WAITING],
        }
    }

    /// Forgets what was known.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.encloser = 0;
        self.made = 0;
        self.hops = 0;
        self.waiting = 0;
    }

    /// Notes what the next stage needs to know of a step.
    #[inline(always)]
    pub fn note(&mut self, step: &Step) {
        match *step {
            Step::Absent(labels, context) => {
                self.labels = labels as u32;
                self.context = context;
            }
            Step::At(address, context) => {
                self.target = address;
                self.context = context;
            }
            Step::Chase(context) => {
                self.target = 0;
                self.context = context;
            }
            Step::Done(_) | Step::Redirect | Step::Hash | Step::Conclude => {}
        }
    }

    /// The node of the closest encloser of a name that was found not to exist, or the cut or the owner of a DNAME
    /// above it; 0 if all names exist.
    #[inline(always)]
    pub fn encloser(&self) -> Address {
        recall(&self.encloser)
    }

    /// Whether the plan has a CNAME in it that was [`made`](super::made).
    #[inline(always)]
    pub fn is_redirected(&self) -> bool {
        recall(&self.made) != 0
    }

    /// The name that does not exist, or that is followed.
    #[inline(always)]
    pub fn context(&self) -> Context {
        Context { from: recall(&self.context.from), len: recall(&self.context.len) }
    }

    /// Where the next closer name starts in [`Scratch::name`](super::Scratch::name).
    pub fn next_closer(&self) -> usize {
        self.next_closer as usize & 0xff
    }

    /// The proof that the next closer name does not exist; 0 if there is none, or it is not yet found.
    pub fn cover(&self) -> Address {
        self.cover
    }
}

impl Default for Absence {
    fn default() -> Absence {
        Absence::new()
    }
}
